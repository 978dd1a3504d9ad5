//! Nodes as processes of their own: this same program, run as `preau serve`.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Home;
use crate::failure::Failure;

/// How long a node may take to end by itself once it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines of a node's log that are shown where it ended too soon.
const LAST_LINES: usize = 10;

/// Three nodes, each a process. They are stopped when this is dropped.
#[derive(Debug)]
pub struct Children {
    children: Vec<Node>,
    home: Home,
}

#[derive(Debug)]
struct Node {
    id: u64,
    log: PathBuf,
    process: Child,
}

impl Children {
    /// Starts the nodes and makes them a cluster. `flags` go to each `preau serve`.
    pub async fn start(home: Home, flags: &[String]) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|e| Failure::operation(format!("can't find this program's file: {e}")))?;
        let mut this = Self {
            children: Vec::new(),
            home,
        };
        for (id, address) in this.home.nodes() {
            let dir = this.home.node_dir(id);
            let log = dir.with_extension("log");
            let mut command = Command::new(&program);
            command
                .arg("serve")
                .args(["--node-id", &id.to_string()])
                .args(["--listen", &address.to_string()])
                .arg("--data-dir")
                .arg(&dir)
                .args(flags)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                // A group of its own: Ctrl-C is for us, who then stop the nodes once the load is over.
                .process_group(0);
            // What the environment says is for the cluster that its owner works with, not for this one.
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("PREAU_") {
                    command.env_remove(name);
                }
            }
            let no_start = |e| Failure::operation(format!("can't start node {id}: {e}"));
            let process = command
                .stderr(File::create(&log).map_err(no_start)?)
                .spawn()
                .map_err(no_start)?;
            this.children.push(Node { id, log, process });
        }
        let formed = tokio::select! {
            formed = this.home.form() => formed,
            ended = ended(&mut this.children) => Err(ended),
        };
        formed.map(|()| this)
    }

    /// Where the nodes are reached.
    pub fn addresses(&self) -> Vec<String> {
        self.home.addresses()
    }
}

impl Node {
    fn check(&mut self) -> Result<(), Failure> {
        let how = match self.process.try_wait() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => format!("ended with {status}"),
            Err(error) => format!("can't be watched: {error}"),
        };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        Err(Failure::operation(format!(
            "node {} {how}:\n  {last}",
            self.id
        )))
    }
}

/// Resolves when a node has ended that should run.
async fn ended(children: &mut [Node]) -> Failure {
    loop {
        if let Err(failure) = children.iter_mut().try_for_each(Node::check) {
            return failure;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Drop for Children {
    /// Asks all of them to end, waits, and ends whoever takes too long.
    fn drop(&mut self) {
        for node in &self.children {
            if let Some(pid) = i32::try_from(node.process.id())
                .ok()
                .and_then(Pid::from_raw)
            {
                // One that has ended already is not there to be asked. It is still ours: its id is not
                // given to another process before we have waited for it.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let end = Instant::now() + STOP_WITHIN;
        for node in &mut self.children {
            while matches!(node.process.try_wait(), Ok(None)) {
                if Instant::now() >= end {
                    tracing::warn!(node = node.id, "does not end by itself; killed");
                    let _ = node.process.kill();
                    let _ = node.process.wait();
                    break;
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
}
