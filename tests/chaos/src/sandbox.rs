//! Namespaces of this run's own: its processes, networks and mounts end with it, however it ends.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set for the process inside: the process id by which the run's directory is named.
const INSIDE: &str = "PREAU_CHAOS_INSIDE";
const PREFIX: &str = "preau-chaos-";

/// Ways in, the best first: as root, and as a user who may be root of namespaces of their own.
const WAYS: [&[&str]; 2] = [
    &["--mount", "--net", "--pid", "--fork", "--kill-child"],
    &[
        "--map-root-user",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
    ],
];

/// Where the run is.
#[derive(Debug)]
pub struct Sandbox {
    /// The run's directory, removed with this.
    pub dir: PathBuf,
    /// Whether there are namespaces; or why not.
    pub namespaces: Result<(), String>,
    /// The process id of the outermost process, to draw ports by.
    pub pid: u32,
}

/// Goes into namespaces of its own, where they are wanted and can be had: then this does not return, and the same
/// program runs again inside.
pub fn enter(wanted: bool) -> Result<Sandbox, String> {
    let inside = std::env::var(INSIDE).ok().and_then(|pid| pid.parse().ok());
    if let Some(pid) = inside {
        prepare()?;
        return Sandbox::make(pid, Ok(()));
    }
    sweep();
    let outside = |why| Sandbox::make(std::process::id(), Err(why));
    if !wanted {
        return outside("--ground loopback is given".to_owned());
    }
    let mut why = String::new();
    let program = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    for way in WAYS {
        if let Err(error) = sh("unshare", &[way, &["true"]].concat()) {
            why = format!("no namespaces can be had: {error}");
            continue;
        }
        // The process stays the same one: its id names what it makes.
        let error = Command::new("unshare")
            .args(way)
            .args(["--mount-proc", "--"])
            .arg(program)
            .args(std::env::args_os().skip(1))
            .env(INSIDE, std::process::id().to_string())
            .exec();
        return Err(format!("unshare: {error}"));
    }
    outside(why)
}

/// Mounts are seen by those who enter a node's network later, and go for them too; nobody outside sees any.
fn prepare() -> Result<(), String> {
    sh("mount", &["--make-rshared", "/"])?;
    std::fs::create_dir_all("/run/netns").map_err(|e| format!("/run/netns: {e}"))?;
    sh("mount", &["-t", "tmpfs", "none", "/run/netns"])?;
    sh("ip", &["link", "set", "lo", "up"]).map(drop)
}

impl Sandbox {
    fn make(pid: u32, namespaces: Result<(), String>) -> Result<Self, String> {
        let dir = std::env::temp_dir().join(format!("{PREFIX}{pid}"));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Self {
            dir,
            namespaces,
            pid,
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("{} can't be removed: {error}", self.dir.display());
        }
    }
}

/// Removes the directories of runs that were killed.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Whoever may not remove it leaves it.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Runs a program to its end: what it printed, or what it complained of.
pub fn sh(program: &str, args: &[&str]) -> Result<String, String> {
    let what = || format!("{program} {}", args.join(" "));
    let ran = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{}: {e}", what()))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(format!("{}: {}: {}", what(), ran.status, said.trim()))
}
