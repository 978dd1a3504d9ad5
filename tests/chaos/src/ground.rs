//! What can be had on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Args;
use crate::cluster::Ground;
use crate::disk::Disk;
use crate::network::Network;
use crate::sandbox::{Sandbox, sh};

/// What it takes for a node to end with this program where no namespace sees to that.
const LEASH: &[&str] = &["setpriv", "--pdeathsig", "KILL", "--"];

/// What can be had of networks, disks and clocks.
pub async fn ground(args: &Args, sandbox: &Sandbox, files: &Path) -> Ground {
    // Below the ports that the system gives to outgoing connections.
    let port = 10_000 + u16::try_from(sandbox.pid * 61 % 20_000).unwrap_or(0);
    let leashed = sh(LEASH[0], &[&LEASH[1..], &["true"]].concat()).is_ok();
    let leash = match &sandbox.namespaces {
        Err(_) if leashed => LEASH,
        Err(_) => {
            eprintln!(
                "NODES ARE LEFT BEHIND WHERE THIS IS KILLED: there is no {}",
                LEASH[0]
            );
            &[]
        }
        Ok(()) => &[],
    };
    Ground {
        dir: sandbox.dir.clone(),
        logs: files.to_owned(),
        network: network(args, sandbox, port),
        disks: disks(sandbox).await,
        clock: libfaketime(),
        port,
        leash,
    }
}

/// The best network that can be had; said where it is not the best of all.
fn network(args: &Args, sandbox: &Sandbox, port: u16) -> Result<Network, String> {
    let own = sandbox.namespaces.clone();
    let network = own.and_then(|()| Network::interfaces(args.seed)).or_else(|why| {
        eprintln!("NO NETWORKS OF THEIR OWN FOR NODES: {why}");
        Network::proxies(args.seed, port).map_err(|also| {
            format!("needs network namespaces and TUN devices ({why}), or to tell who calls on loopback ({also})")
        })
    });
    if let Ok(network) = &network {
        eprintln!("nodes are {}", network.described());
    }
    network
}

/// Whether nodes can have disks of their own: one is made, and all done to it that faults do.
async fn disks(sandbox: &Sandbox) -> Result<(), String> {
    if let Err(why) = &sandbox.namespaces {
        return Err(format!("needs a file system for each node: {why}"));
    }
    let dir = sandbox.dir.join("trial");
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let tried = match Disk::new(&dir) {
        Ok(disk) => disk.try_out().await,
        Err(why) => Err(why),
    };
    tried.map_err(|why| format!("needs a file system for each node (as root): {why}"))
}

fn libfaketime() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut places: Vec<PathBuf> = libraries
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .collect();
    places.push("/usr/lib/faketime/libfaketimeMT.so.1".into());
    let found = places.into_iter().find(|path| path.is_file())?;
    // Shown to work before it is relied on: a program believes that it is tomorrow.
    let date = |fake: &str| {
        let mut command = Command::new("date");
        command.arg("+%s").env("LD_PRELOAD", &found);
        let said = command.env("FAKETIME", fake).output().ok()?.stdout;
        String::from_utf8(said).ok()?.trim().parse::<i64>().ok()
    };
    let jumped = date("+86400")? - date("+0")?;
    (jumped > 80_000).then_some(found)
}

/// The binary under test.
pub fn binary(args: &Args) -> Result<PathBuf, String> {
    let beside = || {
        let program = std::env::current_exe().ok()?;
        Some(program.parent()?.join("preau"))
    };
    let given = args.preau.clone().or_else(beside);
    let found = given.filter(|path| path.is_file());
    let found = found.ok_or("no preau beside this program: build it with cargo build -p preau")?;
    found.canonicalize().map_err(|e| e.to_string())
}
