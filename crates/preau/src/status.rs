//! `preau status`: how every node and the budget stand.

use std::collections::BTreeMap;
use std::time::Duration;

use api::v1;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::cluster::{self, Cluster, host_port};
use crate::failure::Failure;
use crate::output::{Output, bytes, table, thousands};
use crate::view::{Budget, pools_table, regions_table};

/// A node that has not answered after this long counts as unreachable.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);

/// Show how every node and the budget stand: who leads, terms, lag, disk, slots by region.
///
/// Works without a majority too, from what the nodes that answer have; the budget is then marked as stale.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau status
  preau status --nodes 10.0.0.1:4501 --output json")]
pub struct Args {
    #[command(flatten)]
    cluster: cluster::Args,
}

#[derive(Debug, Serialize)]
struct Status {
    cluster_id: String,
    /// Null where the nodes that answer know of none.
    leader_id: Option<u64>,
    nodes: Vec<Node>,
    /// Null where no node could tell.
    budget: Option<Budget>,
    /// Whether the budget is what one node has, which may be out of date.
    stale: bool,
}

/// A node, as it says itself.
#[derive(Debug, Serialize)]
struct Node {
    /// Null where nothing but its address is known.
    node_id: Option<u64>,
    address: String,
    reachable: bool,
    role: &'static str,
    term: u64,
    version: String,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    purged_index: u64,
    /// Committed entries that it has not applied, by the most that any node knows to be committed.
    lag: u64,
    disk_bytes: u64,
    uptime_ms: u64,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let cluster = args.cluster.cluster()?;
    let status = gather(&cluster).await?;
    output.show(&status, Status::text)
}

async fn gather(cluster: &Cluster) -> Result<Status, Failure> {
    let (mut told, mut silent) = ask(cluster, cluster.addresses()).await?;
    let known: BTreeMap<u64, String> = told
        .values()
        .flat_map(|(_, status)| &status.members)
        .map(|m| (m.node_id, m.address.clone()))
        .collect();
    // Members that --nodes does not name.
    let others = known
        .iter()
        .filter(|(id, address)| !told.contains_key(id) && !silent.iter().any(|s| is(s, address)));
    let others = others.map(|(_, address)| address.clone()).collect();
    let (more, more_silent) = ask(cluster, others).await?;
    told.extend(more);
    silent.extend(more_silent);
    if told.is_empty() {
        // Say why, as any call would.
        cluster.status().await?;
    }

    let newest = told
        .values()
        .map(|(_, status)| status)
        .max_by_key(|s| (s.term, s.committed_index));
    let leader_id = newest.map_or(0, |status| status.leader_id);
    let cluster_id = newest.map_or(String::new(), |status| status.cluster_id.clone());
    let committed = told
        .values()
        .map(|(_, s)| s.committed_index)
        .max()
        .unwrap_or(0);
    let mut nodes: Vec<Node> = told
        .into_values()
        .map(|(address, status)| Node::told(address, &status, committed))
        .collect();
    nodes.extend(silent.into_iter().map(|address| {
        let member = known.iter().find(|(_, known)| is(&address, known));
        Node::silent(member.map(|(id, _)| *id), address)
    }));
    nodes.sort_by_key(|node| (node.node_id.is_none(), node.node_id));

    let (budget, stale) = match cluster_id.is_empty() {
        true => (None, false),
        false => match cluster.pools("", false).await {
            Ok(budget) => (Some(budget.into()), false),
            Err(_) => (cluster.pools("", true).await.ok().map(Budget::from), true),
        },
    };
    Ok(Status {
        cluster_id,
        leader_id: (leader_id != 0).then_some(leader_id),
        nodes,
        budget,
        stale,
    })
}

/// Whether an address with a scheme is that of a member, which has none.
fn is(address: &str, member: &str) -> bool {
    host_port(address) == member
}

/// Nodes that answered, by id, with their address.
type Told = BTreeMap<u64, (String, v1::StatusResponse)>;

/// Asks every address at once: what they told, and those that did not answer.
async fn ask(cluster: &Cluster, addresses: Vec<String>) -> Result<(Told, Vec<String>), Failure> {
    let mut asked = JoinSet::new();
    for address in addresses {
        let node = cluster.only(&address)?.within(ANSWER_WITHIN);
        asked.spawn(async move { (address, node.status().await) });
    }
    let (mut told, mut silent) = (Told::new(), Vec::new());
    for (address, answer) in asked.join_all().await {
        match answer {
            Ok(status) => {
                told.insert(status.node_id, (address, status));
            }
            Err(_) => silent.push(address),
        }
    }
    Ok((told, silent))
}

impl Node {
    fn told(address: String, status: &v1::StatusResponse, committed: u64) -> Self {
        Self {
            node_id: Some(status.node_id),
            address: host_port(&address).to_owned(),
            reachable: true,
            role: match status.role() {
                v1::NodeRole::Leader => "leader",
                v1::NodeRole::Follower => "follower",
                v1::NodeRole::Candidate => "candidate",
                v1::NodeRole::Learner => "learner",
                v1::NodeRole::Uninitialized => "uninitialized",
                v1::NodeRole::Unspecified => "unknown",
            },
            term: status.term,
            version: status.version.clone(),
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            purged_index: status.purged_index,
            lag: committed.saturating_sub(status.applied_index),
            disk_bytes: status.disk_bytes,
            uptime_ms: status.uptime_ms,
        }
    }

    fn silent(node_id: Option<u64>, address: String) -> Self {
        Self {
            address: host_port(&address).to_owned(),
            reachable: false,
            role: "unreachable",
            ..Self::told(String::new(), &v1::StatusResponse::default(), 0)
        }
        .with_id(node_id)
    }

    fn with_id(self, node_id: Option<u64>) -> Self {
        Self { node_id, ..self }
    }

    fn row(&self) -> Vec<String> {
        let id = self.node_id.map_or("?".into(), |id| id.to_string());
        let mut row = vec![id, self.address.clone(), self.role.to_owned()];
        if self.reachable {
            let indexes = [
                self.last_log_index,
                self.applied_index,
                self.lag,
                self.snapshot_index,
            ];
            row.push(self.term.to_string());
            row.extend(indexes.map(thousands));
            row.push(bytes(self.disk_bytes));
            row.push(format!("{} s", thousands(self.uptime_ms / 1_000)));
            row.push(self.version.clone());
        }
        row
    }
}

impl Status {
    fn text(&self) -> String {
        let leader = match (self.leader_id, self.cluster_id.is_empty()) {
            (_, true) => "no cluster yet; make one with: preau init".to_owned(),
            (Some(id), _) => format!("cluster {}: node {id} leads", self.cluster_id),
            (None, _) => format!("cluster {}: no leader", self.cluster_id),
        };
        let mut nodes = table(&[
            ">NODE",
            "ADDRESS",
            "ROLE",
            ">TERM",
            ">LOG",
            ">APPLIED",
            ">LAG",
            ">SNAPSHOT",
            ">DISK",
            ">UP",
            "VERSION",
        ]);
        for node in &self.nodes {
            nodes.add_row(node.row());
        }
        let mut text = format!("{leader}\n\n{}", nodes.trim_fmt());
        if let Some(budget) = self
            .budget
            .as_ref()
            .filter(|budget| !budget.pools.is_empty())
        {
            if self.stale {
                text += "\n\nNo leader answered: the budget is what one node has, and may be out of date.";
            }
            let pools = pools_table(&budget.pools).trim_fmt();
            let regions = regions_table(&budget.pools).trim_fmt();
            text += &format!("\n\n{pools}\n\n{regions}");
        }
        text
    }
}
