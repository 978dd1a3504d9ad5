//! Nodes as processes of their own, each `preau serve`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Home;
use super::processes::Processes;
use crate::failure::Failure;

/// Three nodes, each a process. They are stopped when this is dropped.
#[derive(Debug)]
pub struct Children {
    // Ends before its home is removed.
    processes: Processes,
    home: Home,
    preau: PathBuf,
    flags: Vec<String>,
}

impl Children {
    /// Starts the nodes by the binary `preau`, and makes them a cluster. `flags` go to each `preau serve`.
    pub async fn start(preau: &Path, home: Home, flags: &[String]) -> Result<Self, Failure> {
        let mut this = Self {
            processes: Processes::default(),
            home,
            preau: preau.to_owned(),
            flags: flags.to_vec(),
        };
        for (id, _) in this.home.nodes() {
            this.start_node(id)?;
        }
        let formed = tokio::select! {
            formed = this.home.form() => formed,
            ended = this.processes.ended() => Err(ended),
        };
        formed.map(|()| this)
    }

    /// Starts a node that does not run; its log begins anew.
    ///
    /// # Errors
    /// Where there is no such node, or it can't be started.
    pub fn start_node(&mut self, id: u64) -> Result<(), Failure> {
        let node = self.home.nodes().find(|(known, _)| *known == id);
        let (_, address) =
            node.ok_or_else(|| Failure::operation(format!("there is no node {id}")))?;
        let mut command = Command::new(&self.preau);
        command
            .arg("serve")
            .args(["--node-id", &id.to_string()])
            .args(["--listen", &address.to_string()])
            .arg("--data-dir")
            .arg(self.data(id))
            .args(&self.flags);
        // What the environment says is for the cluster that its owner works with, not for this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PREAU_") {
                command.env_remove(name);
            }
        }
        self.processes.start(name(id), command, self.log(id))
    }

    /// Asks a node to stop, and waits until it has.
    ///
    /// # Errors
    /// Where it does not run, or takes too long.
    pub async fn stop_node(&mut self, id: u64) -> Result<(), Failure> {
        self.processes.stop(&name(id)).await
    }

    /// Ends a node at once, as a crash would.
    ///
    /// # Errors
    /// As [`Children::stop_node`].
    pub async fn kill_node(&mut self, id: u64) -> Result<(), Failure> {
        self.processes.kill(&name(id)).await
    }

    /// The process of a node, where it runs.
    pub fn pid(&self, id: u64) -> Option<u32> {
        self.processes.pid(&name(id))
    }

    /// Where a node keeps its data.
    pub fn data(&self, id: u64) -> PathBuf {
        self.home.node_dir(id)
    }

    /// What a node has said since it was last started.
    pub fn log(&self, id: u64) -> PathBuf {
        self.data(id).with_extension("log")
    }

    /// Where the nodes are reached, by id from 1.
    pub fn addresses(&self) -> Vec<String> {
        self.home.addresses()
    }

    /// Resolves when a node has ended that should run.
    pub async fn ended(&mut self) -> Failure {
        self.processes.ended().await
    }

    /// Whether all nodes run that should.
    ///
    /// # Errors
    /// Where one has ended.
    pub fn check(&mut self) -> Result<(), Failure> {
        self.processes.check()
    }
}

fn name(id: u64) -> String {
    format!("node {id}")
}
