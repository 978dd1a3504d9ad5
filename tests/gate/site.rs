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

/// Where the portal's login says who somebody is, and what it signs that with.
pub const IDENTITY: &str = "x-preau-identity";
pub const SECRET: &str = "a secret that the login and the gates share";

/// All of it. Processes are killed when it is dropped.
pub struct Site {
    pub cluster: Cluster,
    pub portal: Portal,
    gates: Vec<Gate>,
}

/// A gate's process, and where it is reached.
pub struct Gate {
    pub port: u16,
    pub ext_authz_port: u16,
    admin_port: u16,
    process: Option<Child>,
}

impl Site {
    /// A pool of so many sessions, all of one region, and so many gates of it that are ready.
    pub async fn start(capacity: usize, gates: usize) -> Self {
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
        std::fs::write(cluster.file("identity"), SECRET).unwrap();

        let mut this = Self {
            portal: Portal::start(&cluster.file("keys")).await,
            cluster,
            gates: Vec::new(),
        };
        for nth in 0..gates {
            this.gates.push(Gate {
                port: free_port(),
                ext_authz_port: free_port(),
                admin_port: free_port(),
                process: None,
            });
            this.configure(nth);
            this.spawn_gate(nth);
            this.ready(nth).await;
        }
        this
    }

    pub fn gate(&self, nth: usize) -> &Gate {
        &self.gates[nth]
    }

    pub fn second_gate(&self) -> Option<&Gate> {
        self.gates.get(1)
    }

    fn configure(&self, nth: usize) {
        let nodes = self.cluster.addresses();
        let gate = self.gate(nth);
        // All of the crowd comes from this machine, and is in a hurry.
        let config = format!(
            "pool = \"{POOL}\"\nregion = \"{REGION}\"\nname = \"gate-{nth}\"\nnodes = {nodes:?}\nkeys = {keys:?}\n\
             state = {state:?}\n\
             listen = \"127.0.0.1:{gate}\"\nadmin = \"127.0.0.1:{admin}\"\next_authz = \"127.0.0.1:{ext}\"\n\
             upstream = \"http://127.0.0.1:{portal}\"\n\
             [cookie]\nsecure = false\n\
             [limits.rates]\naddress_per_s = 5_000\nnetwork_per_s = 5_000\nticket_per_s = 50\n\
             [identity]\nheader = \"{IDENTITY}\"\nsecret = {secret:?}\n",
            secret = self.cluster.file("identity"),
            keys = self.cluster.file("keys"),
            state = self.of_gate(nth, "state"),
            gate = gate.port,
            admin = gate.admin_port,
            ext = gate.ext_authz_port,
            portal = self.portal.port,
        );
        std::fs::write(self.of_gate(nth, "toml"), config).unwrap();
    }

    pub fn spawn_gate(&mut self, nth: usize) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.of_gate(nth, "log"))
            .unwrap();
        let process = preau()
            .args(["gate", "--config"])
            .arg(self.of_gate(nth, "toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("preau gate");
        let before = self.gates[nth].process.replace(process);
        assert!(before.is_none(), "gate {nth} runs already");
    }

    /// kill -9.
    pub fn kill_gate(&mut self, nth: usize) {
        let process = self.gates[nth].process.take();
        end(&mut process.expect("a gate that runs"));
    }

    /// Gives the gate, which is to be started then, another's name.
    pub fn rename_gate(&self, nth: usize, other: usize) {
        let path = self.of_gate(nth, "toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let (own, name) = (
            format!("name = \"gate-{nth}\""),
            format!("name = \"gate-{other}\""),
        );
        assert!(config.contains(&own));
        std::fs::write(path, config.replace(&own, &name)).unwrap();
    }

    /// Waits until the gate has heard the coordinator.
    pub async fn ready(&self, nth: usize) {
        self.says(nth, 200).await;
    }

    /// Waits until the gate answers so when it is asked whether people should be sent there.
    pub async fn says(&self, nth: usize, wanted: u16) {
        let visitor = Visitor::new(self.gate(nth).admin_port);
        eventually("whether the gate is ready", || async {
            let answer = visitor.clone().get("/readyz", &[]).await?;
            let status = answer.status.as_u16();
            (status == wanted).then_some(()).ok_or(format!("{status}"))
        })
        .await;
    }

    fn of_gate(&self, nth: usize, what: &str) -> PathBuf {
        self.cluster.file(&format!("gate-{nth}.{what}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for gate in &mut self.gates {
            if let Some(process) = &mut gate.process {
                end(process);
            }
        }
        if std::thread::panicking() {
            for nth in 0..self.gates.len() {
                let said = std::fs::read_to_string(self.of_gate(nth, "log")).unwrap_or_default();
                let lines: Vec<_> = said.lines().collect();
                let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
                eprintln!("gate {nth} said last:\n  {last}");
            }
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
        hurry: 10.0,
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
