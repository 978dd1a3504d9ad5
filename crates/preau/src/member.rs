//! `preau member`: the nodes of a cluster.

use std::str::FromStr;

use api::v1;
use clap::Subcommand;
use serde::Serialize;

use crate::cluster::{self, cluster as service};
use crate::failure::Failure;
use crate::output::{Output, table, thousands};

/// Add, promote, remove and list the cluster's nodes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    Promote(Promote),
    Remove(Remove),
    List(List),
}

/// Add a node that runs and has no cluster yet. It gets the log, and no vote until it is promoted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau member add 4=10.0.0.4:4501
  preau member list          # until it is close to the leader
  preau member promote 4")]
struct Add {
    /// The node's id, and host:port as other nodes and front-ends reach it.
    #[arg(value_name = "ID=HOST:PORT")]
    member: Member,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Give a vote to a node that has caught up.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau member promote 4")]
struct Promote {
    /// The node's id.
    #[arg(value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    node_id: u64,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// Remove a node from the cluster, for good: its id is not used again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  preau member remove 1")]
struct Remove {
    /// The node's id.
    #[arg(value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    node_id: u64,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// List the cluster's nodes as the leader sees them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau member list
  preau member list --output json")]
struct List {
    #[command(flatten)]
    cluster: cluster::Args,
}

/// A node and where it is reached, as ID=HOST:PORT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    pub node_id: u64,
    pub address: String,
}

impl FromStr for Member {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected ID=HOST:PORT, such as 1=10.0.0.1:4501";
        let (id, address) = text.split_once('=').ok_or(EXPECTED)?;
        let node_id = id.parse().ok().filter(|&id| id >= 1).ok_or(EXPECTED)?;
        let (host, port) = address.rsplit_once(':').ok_or(EXPECTED)?;
        let port: u16 = port.parse().map_err(|_| EXPECTED)?;
        if host.is_empty() || host.contains('/') || port == 0 {
            return Err(EXPECTED);
        }
        Ok(Self {
            node_id,
            address: address.to_owned(),
        })
    }
}

impl From<&Member> for v1::MemberAddress {
    fn from(member: &Member) -> Self {
        Self {
            node_id: member.node_id,
            address: member.address.clone(),
        }
    }
}

/// What was done to a member.
#[derive(Debug, Serialize)]
struct Done {
    node_id: u64,
    done: &'static str,
}

#[derive(Debug, Serialize)]
struct Members {
    cluster_id: String,
    leader_id: Option<u64>,
    members: Vec<Listed>,
}

/// A member as the leader sees it.
#[derive(Debug, Serialize)]
struct Listed {
    node_id: u64,
    address: String,
    voter: bool,
    leader: bool,
    /// Entries that the leader has and this node is not known to have; null where the leader did not say.
    behind: Option<u64>,
    /// Milliseconds since it answered the leader; null where the leader did not say.
    last_seen_ms: Option<u64>,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.command {
        Command::Add(args) => {
            let request = v1::AddMemberRequest {
                member: Some((&args.member).into()),
            };
            let cluster = args.cluster.cluster()?;
            let added = cluster.call(|channel| {
                let request = request.clone();
                async move { service(channel).add_member(request).await }
            });
            added.await?;
            done(args.member.node_id, "added as a learner", output)
        }
        Command::Promote(args) => {
            let request = v1::PromoteMemberRequest {
                node_id: args.node_id,
            };
            let cluster = args.cluster.cluster()?;
            cluster
                .call(|channel| async move { service(channel).promote_member(request).await })
                .await?;
            done(args.node_id, "promoted to a voter", output)
        }
        Command::Remove(args) => {
            let request = v1::RemoveMemberRequest {
                node_id: args.node_id,
            };
            let cluster = args.cluster.cluster()?;
            cluster
                .call(|channel| async move { service(channel).remove_member(request).await })
                .await?;
            done(args.node_id, "removed", output)
        }
        Command::List(args) => list(args, output).await,
    }
}

fn done(node_id: u64, done: &'static str, output: Output) -> Result<(), Failure> {
    output.show(&Done { node_id, done }, |d| {
        format!("node {} {}", d.node_id, d.done)
    })
}

async fn list(args: &List, output: Output) -> Result<(), Failure> {
    let status = args.cluster.cluster()?.leader_status().await?;
    let listed = |m: &v1::Member| {
        let leader = m.node_id == status.leader_id;
        Listed {
            node_id: m.node_id,
            address: m.address.clone(),
            voter: m.voter,
            leader,
            behind: match leader {
                true => Some(0),
                false => m
                    .matched_index
                    .map(|at| status.last_log_index.saturating_sub(at)),
            },
            last_seen_ms: m.last_seen_ms,
        }
    };
    let members = Members {
        leader_id: (status.leader_id != 0).then_some(status.leader_id),
        members: status.members.iter().map(listed).collect(),
        cluster_id: status.cluster_id,
    };
    output.show(&members, |members| {
        let mut rows = table(&[">NODE", "ADDRESS", "ROLE", ">BEHIND", ">SEEN MS AGO"]);
        let known = |number: Option<u64>| number.map_or("-".into(), thousands);
        for m in &members.members {
            let role = match (m.leader, m.voter) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            };
            rows.add_row([
                m.node_id.to_string(),
                m.address.clone(),
                role.to_owned(),
                known(m.behind),
                known(m.last_seen_ms),
            ]);
        }
        rows.trim_fmt()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_an_id_and_an_address() {
        let member: Member = "4=node-4.example:4501".parse().unwrap();
        assert_eq!(
            (member.node_id, member.address.as_str()),
            (4, "node-4.example:4501")
        );
        assert!("4=[::1]:4501".parse::<Member>().is_ok());
        for bad in [
            "",
            "4",
            "0=a:1",
            "x=a:1",
            "4=a",
            "4=:1",
            "4=a:0",
            "4=a:99999",
            "4=http://a:1",
        ] {
            assert!(bad.parse::<Member>().is_err(), "{bad}");
        }
    }
}
