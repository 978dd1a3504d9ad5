//! `preau leader`: who leads.

use api::v1;
use clap::Subcommand;
use serde::Serialize;

use crate::cluster::{self, cluster as service};
use crate::failure::Failure;
use crate::output::Output;

/// Choose who leads.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Transfer(Transfer),
}

/// Hand leadership to another voter, such as before its node is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau leader transfer           # to the voter that is most up to date
  preau leader transfer --to 2")]
struct Transfer {
    /// The voter's id.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    #[command(flatten)]
    cluster: cluster::Args,
}

#[derive(Debug, Serialize)]
struct Leads {
    leader_id: u64,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let Command::Transfer(args) = &args.command;
    let request = v1::TransferLeaderRequest {
        node_id: args.to.unwrap_or(0),
    };
    let cluster = args.cluster.cluster()?;
    let answer = cluster
        .call(|channel| async move { service(channel).transfer_leader(request).await })
        .await?;
    let leads = Leads {
        leader_id: answer.leader_id,
    };
    output.show(&leads, |leads| format!("node {} leads", leads.leader_id))
}
