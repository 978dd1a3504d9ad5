//! Nodes as processes of their own, each `preau serve`.

use std::path::Path;
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
}

impl Children {
    /// Starts the nodes by the binary `preau`, and makes them a cluster. `flags` go to each `preau serve`.
    pub async fn start(preau: &Path, home: Home, flags: &[String]) -> Result<Self, Failure> {
        let mut this = Self {
            processes: Processes::default(),
            home,
        };
        for (id, address) in this.home.nodes() {
            let dir = this.home.node_dir(id);
            let mut command = Command::new(preau);
            command
                .arg("serve")
                .args(["--node-id", &id.to_string()])
                .args(["--listen", &address.to_string()])
                .arg("--data-dir")
                .arg(&dir)
                .args(flags);
            // What the environment says is for the cluster that its owner works with, not for this one.
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("PREAU_") {
                    command.env_remove(name);
                }
            }
            let log = dir.with_extension("log");
            this.processes.start(format!("node {id}"), command, log)?;
        }
        let formed = tokio::select! {
            formed = this.home.form() => formed,
            ended = this.processes.ended() => Err(ended),
        };
        formed.map(|()| this)
    }

    /// Where the nodes are reached.
    pub fn addresses(&self) -> Vec<String> {
        self.home.addresses()
    }

    /// Resolves when a node has ended that should run.
    pub async fn ended(&mut self) -> Failure {
        self.processes.ended().await
    }
}
