//! Real nodes: `preau serve` as processes, on loopback.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Ran, command, preau};

/// Longer than anything here takes.
const WITHIN: Duration = Duration::from_secs(30);

/// A node process.
pub struct Node {
    pub id: u64,
    pub address: String,
    pub dir: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// A node that is not started yet.
    pub fn new(id: u64, dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self {
            id,
            address: format!("127.0.0.1:{port}"),
            dir: dir.join(format!("node-{id}")),
            process: None,
        }
    }

    /// A node that answers.
    pub fn start(id: u64, dir: &Path) -> Self {
        let mut node = Self::new(id, dir);
        node.again();
        node
    }

    /// Starts the process, and waits until it answers.
    pub fn again(&mut self) {
        self.start_with(&[]);
        eventually("the node answers", || self.run(&["status"]).code == 0);
    }

    /// Starts the process.
    pub fn start_with(&mut self, flags: &[&str]) {
        let process = command()
            .args([
                "serve",
                "--node-id",
                &self.id.to_string(),
                "--listen",
                &self.address,
            ])
            .args(["--log-filter", "warn", "--data-dir"])
            .arg(&self.dir)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A file: a pipe that nobody empties would make the node wait.
            .stderr(File::create(self.log()).unwrap())
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    fn log(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// Runs a command against this node.
    pub fn run(&self, args: &[&str]) -> Ran {
        preau(&[args, &["--nodes", &self.address]].concat())
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().unwrap().id().try_into().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for the process to end: its exit code and stderr.
    pub fn wait(&mut self) -> (i32, String) {
        let mut process = self.process.take().unwrap();
        let end = Instant::now() + WITHIN;
        while process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "node {} does not end", self.id);
            std::thread::sleep(Duration::from_millis(10));
        }
        let err = std::fs::read_to_string(self.log()).unwrap();
        (process.wait().unwrap().code().unwrap_or(-1), err)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Nodes that are a cluster.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts nodes 1 to `count`, and makes them a cluster with a leader.
    pub fn of(count: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nodes = (1..=count).map(|id| Node::start(id, dir.path())).collect();
        let cluster = Self { nodes, dir };
        cluster.run(&["init"]).ok();
        cluster.leader();
        cluster
    }

    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self
            .nodes
            .iter()
            .map(|node| node.address.as_str())
            .collect();
        addresses.join(",")
    }

    /// Runs a command against the cluster.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    /// As [`Cluster::run`], with something on stdin.
    pub fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let nodes = self.addresses();
        super::preau_with(
            &[args, &["--nodes", &nodes, "--timeout-ms", "15000"]].concat(),
            input,
        )
    }

    /// The answer to a command as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--output", "json"]].concat()).json()
    }

    /// Who leads, once someone does.
    pub fn leader(&self) -> u64 {
        let mut leader = None;
        eventually("there is a leader", || {
            leader = self.json(&["status"])["leader_id"].as_u64();
            leader.is_some()
        });
        leader.unwrap()
    }

    /// The budget's terms: what nothing but a change of it changes.
    pub fn terms(&self) -> String {
        let budget = self.json(&["pool", "list"]);
        let terms = |v: &Value, names: &[&str]| -> Vec<Value> {
            names.iter().map(|name| v[name].clone()).collect()
        };
        let mut all = vec![budget["revision"].clone()];
        for pool in budget["pools"].as_array().unwrap() {
            all.extend(terms(pool, &["name", "capacity", "ttl_ms", "drift_ppm"]));
            for region in pool["regions"].as_array().unwrap() {
                all.extend(terms(region, &["name", "nominal", "ceiling", "weight"]));
            }
        }
        serde_json::to_string(&all).unwrap()
    }
}

/// Waits until `holds`.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
