//! Real nodes on loopback, each with a directory and a port of its own.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::expect_used, reason = "a test may")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::cluster_service_client::ClusterServiceClient;
use api::v1::lease_service_client::LeaseServiceClient;
use node::{Config, Node};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Longer than anything here takes, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Nodes 1 to n, some of which may be down.
pub struct Cluster {
    nodes: Vec<Option<Node>>,
    configs: Vec<Config>,
    addresses: Vec<String>,
    _dir: TempDir,
}

pub fn config(dir: &TempDir, node_id: u64) -> Config {
    let data: PathBuf = dir.path().join(format!("node-{node_id}"));
    Config::new(node_id, data, SocketAddr::from(([127, 0, 0, 1], 0)))
}

impl Cluster {
    /// `count` nodes that make one cluster, with a leader.
    pub async fn start(count: u64) -> Self {
        Self::start_with(count, |_| {}).await
    }

    /// As [`Cluster::start`], with other settings.
    pub async fn start_with(count: u64, change: impl Fn(&mut Config)) -> Self {
        let cluster = Self::start_apart(count, change).await;
        let members = cluster.members();
        ClusterServiceClient::new(cluster.channel(0))
            .init(v1::InitRequest { members })
            .await
            .expect("a new cluster");
        cluster.leader().await;
        cluster
    }

    /// `count` nodes that have no cluster yet.
    pub async fn start_apart(count: u64, change: impl Fn(&mut Config)) -> Self {
        let dir = TempDir::new().expect("a directory");
        let (mut nodes, mut configs, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for node_id in 1..=count {
            let mut config = config(&dir, node_id);
            change(&mut config);
            let node = Node::start(config.clone()).await.expect("a node");
            config.listen = node.address();
            addresses.push(node.address().to_string());
            configs.push(config);
            nodes.push(Some(node));
        }
        Self {
            nodes,
            configs,
            addresses,
            _dir: dir,
        }
    }

    pub fn members(&self) -> Vec<v1::MemberAddress> {
        (1..)
            .zip(&self.addresses)
            .map(|(node_id, address)| v1::MemberAddress {
                node_id,
                address: address.clone(),
            })
            .collect()
    }

    pub fn address(&self, at: usize) -> &str {
        &self.addresses[at]
    }

    pub fn channel(&self, at: usize) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.addresses[at]));
        endpoint.expect("an address").connect_lazy()
    }

    pub fn leases(&self, at: usize) -> LeaseServiceClient<Channel> {
        LeaseServiceClient::new(self.channel(at))
    }

    pub fn budget(&self, at: usize) -> BudgetServiceClient<Channel> {
        BudgetServiceClient::new(self.channel(at))
    }

    pub fn cluster(&self, at: usize) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel(at))
    }

    /// Which nodes are up.
    pub fn up(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&at| self.nodes[at].is_some())
            .collect()
    }

    /// Who leads, once all that are up agree.
    pub async fn leader(&self) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut said = Vec::new();
            for at in self.up() {
                let status = self.cluster(at).status(v1::StatusRequest {}).await;
                said.push(status.map_or(0, |status| status.into_inner().leader_id));
            }
            let leader = said.first().copied().unwrap_or(0);
            let led = usize::try_from(leader)
                .ok()
                .and_then(|id| id.checked_sub(1));
            match led {
                Some(at) if said.iter().all(|id| *id == leader) && self.nodes[at].is_some() => {
                    return at;
                }
                _ => assert!(Instant::now() < end, "no leader: {said:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A node that follows.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.up()
            .into_iter()
            .find(|&at| at != leader)
            .expect("a follower")
    }

    /// Stops a node in good order.
    pub async fn stop(&mut self, at: usize) {
        let node = self.nodes[at].take().expect("it is up");
        node.shutdown().await;
    }

    /// Starts a node that was stopped, on its old directory and address.
    pub async fn restart(&mut self, at: usize) {
        let node = Node::start(self.configs[at].clone())
            .await
            .expect("the node again");
        self.nodes[at] = Some(node);
    }

    /// Makes pool "ent" of 100 slots with regions "normandie" (nominal 40) and "bretagne".
    pub async fn make_pool(&self) {
        let set_pool = v1::SetPool {
            name: "ent".into(),
            capacity: 100,
            ttl_ms: Some(60_000),
            drift_ppm: None,
        };
        let region = |name: &str, nominal| {
            v1::change::Change::SetRegion(v1::SetRegion {
                pool: "ent".into(),
                name: name.into(),
                nominal,
                ceiling: None,
                weight: None,
            })
        };
        let changes = [
            v1::change::Change::SetPool(set_pool),
            region("normandie", 40),
            region("bretagne", 0),
        ];
        let request = v1::ConfigureRequest {
            changes: changes
                .map(|change| v1::Change {
                    change: Some(change),
                })
                .into(),
            expected_revision: 0,
            request_id: "make".into(),
        };
        let leader = self.leader().await;
        self.budget(leader)
            .configure(request)
            .await
            .expect("a pool");
    }

    /// All that the budget is, but for the time.
    pub async fn budget_now(&self, at: usize) -> (v1::ListPoolsResponse, v1::ListLeasesResponse) {
        let mut budget = self.budget(at);
        let pools = budget.list_pools(v1::ListPoolsRequest::default()).await;
        let leases = budget.list_leases(v1::ListLeasesRequest::default()).await;
        let (mut pools, mut leases) = (
            pools.expect("pools").into_inner(),
            leases.expect("leases").into_inner(),
        );
        (pools.cluster_time_ms, leases.cluster_time_ms) = (0, 0);
        (pools, leases)
    }

    pub async fn shutdown(mut self) {
        let nodes = self.nodes.drain(..).flatten();
        futures_util::future::join_all(nodes.map(Node::shutdown)).await;
    }
}

pub fn take(holder: &str, seq: u64, wanted: u64) -> v1::LeaseRequest {
    v1::LeaseRequest {
        pool: "ent".into(),
        region: "normandie".into(),
        holder: holder.into(),
        epoch: 1,
        seq,
        wanted,
    }
}

pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

pub fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.remove(key)
}

/// Asserts what a refused call ended with.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    why: &str,
    message: &str,
) {
    let status = answer.expect_err(why);
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(reason(&status), why, "{status:?}");
    assert_eq!(status.message(), message);
}
