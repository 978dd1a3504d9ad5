//! `preau init`: make a cluster of nodes that run.

use api::v1;
use serde::Serialize;

use crate::cluster::{self, cluster as service, host_port};
use crate::failure::Failure;
use crate::member::Member;
use crate::output::Output;

/// Make a new cluster of nodes that run and have none yet, once.
///
/// Either state each node with its id, or give their addresses by --nodes and they are asked for their ids.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau init --member 1=10.0.0.1:4501 --member 2=10.0.0.2:4501 --member 3=10.0.0.3:4501
  preau init --nodes 10.0.0.1:4501,10.0.0.2:4501,10.0.0.3:4501")]
pub struct Args {
    /// A node of the new cluster: its id, and host:port as other nodes and front-ends reach it.
    #[arg(long = "member", value_name = "ID=HOST:PORT")]
    members: Vec<Member>,
    #[command(flatten)]
    cluster: cluster::Args,
}

#[derive(Debug, Serialize)]
struct Made {
    cluster_id: String,
    members: Vec<Member>,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let mut cluster = args.cluster.cluster()?;
    let members = if args.members.is_empty() {
        let mut members = Vec::new();
        for address in cluster.addresses() {
            let status = cluster.only(&address)?.status().await?;
            members.push(Member {
                node_id: status.node_id,
                address: host_port(&address).to_owned(),
            });
        }
        members
    } else {
        // Ask the nodes named, wherever --nodes points.
        cluster = cluster.at(args.members.iter().map(|m| m.address.as_str()))?;
        args.members.clone()
    };
    let request = v1::InitRequest {
        members: members.iter().map(Into::into).collect(),
    };
    cluster
        .call(|channel| {
            let request = request.clone();
            async move { service(channel).init(request).await }
        })
        .await?;
    let made = Made {
        cluster_id: cluster.status().await?.cluster_id,
        members,
    };
    output.show(&made, |made| {
        let nodes = made.members.iter();
        let nodes: Vec<_> = nodes
            .map(|m| format!("{} at {}", m.node_id, m.address))
            .collect();
        format!(
            "cluster {} made of nodes {}",
            made.cluster_id,
            nodes.join(", ")
        )
    })
}
