//! A cluster, a gate, and the portal behind it.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crowd::{Crowd, Tally};

use crate::harness::{Cluster, eventually, free_port, preau, said};
use crate::portal::Portal;
use crate::probe::Visitor;

pub const POOL: &str = "ent";
pub const REGION: &str = "normandie";
/// What a portal on plain HTTP has.
pub const COOKIE_NAME: &str = "preau-ent";

/// All of it. Processes are killed when it is dropped.
pub struct Site {
    pub cluster: Cluster,
    pub portal: Portal,
    pub gate_port: u16,
    pub ext_authz_port: u16,
    admin_port: u16,
    gate: Option<Child>,
}

impl Site {
    /// A pool of so many sessions, all of one region, and one gate that is ready.
    pub async fn start(capacity: usize) -> Self {
        let cluster = Cluster::start(&[]).await;
        let budget = format!(
            "[[pool]]\nname = \"{POOL}\"\ncapacity = {capacity}\nttl_ms = 10_000\n\
             [pool.session]\nlimit_s = 900\nleast_s = 60\n\
             [[pool.class]]\nname = \"everyone\"\n\
             [[pool.region]]\nname = \"{REGION}\"\nnominal = {capacity}\n"
        );
        std::fs::write(cluster.file("budget.toml"), budget).unwrap();
        cluster.run(&["apply", "-f", cluster.file("budget.toml").to_str().unwrap()]);
        let key = preau().args(["key", "new"]).output().unwrap();
        assert!(key.status.success(), "{}", said(&key));
        std::fs::write(cluster.file("keys"), key.stdout).unwrap();

        let mut this = Self {
            portal: Portal::start(&cluster.file("keys")).await,
            cluster,
            gate_port: free_port(),
            ext_authz_port: free_port(),
            admin_port: free_port(),
            gate: None,
        };
        this.configure();
        this.spawn_gate();
        this.ready().await;
        this
    }

    fn configure(&self) {
        let nodes = self.cluster.addresses();
        // All of the crowd comes from this machine, and is in a hurry.
        let config = format!(
            "pool = \"{POOL}\"\nregion = \"{REGION}\"\nname = \"gate-1\"\nnodes = {nodes:?}\nkeys = {keys:?}\n\
             state = {state:?}\n\
             listen = \"127.0.0.1:{gate}\"\nadmin = \"127.0.0.1:{admin}\"\next_authz = \"127.0.0.1:{ext}\"\n\
             upstream = \"http://127.0.0.1:{portal}\"\n\
             [cookie]\nsecure = false\n\
             [limits.rates]\naddress_per_s = 5_000\nnetwork_per_s = 5_000\nticket_per_s = 50\n",
            keys = self.cluster.file("keys"),
            state = self.cluster.file("gate.state"),
            gate = self.gate_port,
            admin = self.admin_port,
            ext = self.ext_authz_port,
            portal = self.portal.port,
        );
        std::fs::write(self.config(), config).unwrap();
    }

    pub fn spawn_gate(&mut self) {
        assert!(self.gate.is_none(), "the gate runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.cluster.file("gate.log"))
            .unwrap();
        let gate = preau()
            .args(["gate", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("preau gate");
        self.gate = Some(gate);
    }

    /// kill -9.
    pub fn kill_gate(&mut self) {
        end(&mut self.gate.take().expect("a gate that runs"));
    }

    /// Waits until the gate has heard the coordinator.
    pub async fn ready(&self) {
        let visitor = Visitor::new(self.admin_port);
        eventually("the gate is ready", || async {
            let answer = visitor.clone().get("/readyz", &[]).await?;
            let status = answer.status.as_u16();
            (status == 200).then_some(()).ok_or(format!("{status}"))
        })
        .await;
    }

    fn config(&self) -> PathBuf {
        self.cluster.file("gate.toml")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(gate) = &mut self.gate {
            end(gate);
        }
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.cluster.file("gate.log")).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
            eprintln!("the gate said last:\n  {last}");
        }
    }
}

/// kill -9, of one that may have ended already.
pub fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// A crowd that is let in quickly, and leaves.
pub fn crowd(port: u16, people: usize) -> Crowd {
    Crowd {
        people,
        rate: 200.0,
        stay: Duration::from_millis(200)..=Duration::from_millis(600),
        pages: 2,
        assets: 2,
        leave: 1.0,
        hurry: 20.0,
        patience: Duration::from_secs(120),
        ..Crowd::at(&format!("http://127.0.0.1:{port}")).unwrap()
    }
}

/// What must be true of any crowd, once all have gone.
#[track_caller]
pub fn check(what: &str, site: &Site, tally: &Tally, capacity: usize, overtaking_s: u32) {
    let seen = site.portal.seen();
    let (most, overtaken) = (seen.most_at_once(), seen.longest_overtaking_s());
    println!("{what}: {tally}\n{what}: {most} at once, overtaken by {overtaken} s at the most");
    assert_eq!(
        tally.seated,
        tally.passages.len() as u64,
        "not all were let in"
    );
    assert_eq!((tally.gave_up, tally.thrown_out), (0, 0));
    assert!(
        seen.strangers.is_empty(),
        "not seated: {:?}",
        seen.strangers
    );
    assert!(most <= capacity, "{most} at once");
    assert!(
        most * 2 > capacity,
        "only {most} at once: nothing was put to the test"
    );
    assert!(overtaken <= overtaking_s, "overtaken by {overtaken} s");
    let let_in: u64 = tally.presses.range(200..300).map(|(_, n)| n).sum();
    assert_eq!(let_in, 0, "who keep no cookies were let in");
}

/// Runs the command, or says why it can't.
pub fn run(command: &mut Command) -> Result<String, String> {
    match command.output() {
        Ok(ran) if ran.status.success() => {
            Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
        }
        Ok(ran) => Err(format!("{command:?}: {}", said(&ran))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
