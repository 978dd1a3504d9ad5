//! Nodes inside this process, with everything real but the processes: own disks, own sockets.

use std::time::Duration;

use node::{Config, Node};

use super::Home;
use crate::failure::Failure;

/// How long the nodes may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// Three nodes in this process, a cluster.
pub struct Embedded {
    nodes: Vec<Node>,
    home: Home,
}

impl Embedded {
    /// Starts the nodes and makes them a cluster.
    pub async fn start(home: Home) -> Result<Self, Failure> {
        let mut this = Self {
            nodes: Vec::new(),
            home,
        };
        for (node_id, address) in this.home.nodes() {
            let config = Config::new(node_id, this.home.node_dir(node_id), address);
            match Node::start(config).await {
                Ok(node) => this.nodes.push(node),
                Err(error) => {
                    this.shutdown().await;
                    return Err(Failure::operation(format!(
                        "can't start node {node_id} at {address}: {error}"
                    )));
                }
            }
        }
        match this.home.form().await {
            Ok(()) => Ok(this),
            Err(failure) => {
                this.shutdown().await;
                Err(failure)
            }
        }
    }

    /// Where the nodes are reached.
    pub fn addresses(&self) -> Vec<String> {
        self.home.addresses()
    }

    /// Resolves when a node has stopped by itself, and says why.
    pub async fn stopped(&self) -> Failure {
        let [first, second, third] = self.nodes.as_slice() else {
            return Failure::operation("the cluster has lost a node");
        };
        let why = tokio::select! {
            why = first.stopped() => why,
            why = second.stopped() => why,
            why = third.stopped() => why,
        };
        Failure::operation(format!("a node stopped: {why}"))
    }

    /// Stops all nodes at the same time. The leader would wait long for somebody to take over where all
    /// others end, too: it is not waited for, and loses nothing, for what it has answered is on its disk.
    pub async fn shutdown(self) {
        let mut stopping = tokio::task::JoinSet::new();
        for node in self.nodes {
            stopping.spawn(node.shutdown());
        }
        let _ = tokio::time::timeout(STOP_WITHIN, stopping.join_all()).await;
    }
}
