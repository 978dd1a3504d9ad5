//! `preau holder`: front-ends that hold leases.

use std::collections::BTreeMap;

use api::v1;
use clap::Subcommand;
use serde::Serialize;

use crate::cluster::{self, budget, request_id};
use crate::failure::Failure;
use crate::lease::Filter;
use crate::output::{Output, table, thousands};
use crate::view::row;

/// List and remove holders.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Remove(Remove),
}

/// List holders, and what they hold in each pool.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau holder list
  preau holder list --pool ent --region normandie")]
struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    cluster: cluster::Args,
}

/// End the leases of a holder that will not do so itself.
///
/// Its slots count until its leases would have run out, for it may not know yet. The floors that it was told come free
/// at once: see to it first that it has stopped, for one that is cut off goes by its floor.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau holder remove portal-7
  preau holder remove portal-7 --pool ent")]
struct Remove {
    /// The holder's name.
    holder: String,
    /// In one pool alone.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    #[command(flatten)]
    cluster: cluster::Args,
}

#[derive(Debug, Serialize)]
struct Holders {
    cluster_time_ms: u64,
    holders: Vec<Holder>,
}

#[derive(Debug, Serialize)]
struct Holder {
    pool: String,
    region: String,
    holder: String,
    leases: u64,
    closing: u64,
    slots: u64,
    wanted: u64,
}

#[derive(Debug, Serialize)]
struct Removed {
    holder: String,
    leases: u64,
    slots: u64,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.command {
        Command::List(args) => list(args, output).await,
        Command::Remove(args) => remove(args, output).await,
    }
}

async fn list(args: &List, output: Output) -> Result<(), Failure> {
    let cluster = args.cluster.cluster()?;
    let listed = cluster.leases(&args.filter.request(), |_| false).await?;
    let mut holders = BTreeMap::new();
    for lease in listed.leases {
        let closing = lease.state() == v1::LeaseState::Closing;
        let key = (
            lease.pool.clone(),
            lease.region.clone(),
            lease.holder.clone(),
        );
        let holder = holders.entry(key).or_insert_with(|| Holder {
            pool: lease.pool,
            region: lease.region,
            holder: lease.holder,
            leases: 0,
            closing: 0,
            slots: 0,
            wanted: 0,
        });
        holder.leases += 1;
        holder.closing += u64::from(closing);
        holder.slots += lease.slots;
        holder.wanted += if closing { 0 } else { lease.wanted };
    }
    let holders = Holders {
        cluster_time_ms: listed.cluster_time_ms,
        holders: holders.into_values().collect(),
    };
    output.show(&holders, |holders| {
        let header = [
            "POOL", "REGION", "HOLDER", ">LEASES", ">CLOSING", ">SLOTS", ">WANTED",
        ];
        let mut rows = table(&header);
        for h in &holders.holders {
            let numbers = [h.leases, h.closing, h.slots, h.wanted];
            rows.add_row(row([h.pool.as_str(), &h.region, &h.holder], numbers));
        }
        rows.trim_fmt()
    })
}

async fn remove(args: &Remove, output: Output) -> Result<(), Failure> {
    let request = v1::RemoveHolderRequest {
        holder: args.holder.clone(),
        pool: args.pool.clone().unwrap_or_default(),
        request_id: request_id(),
    };
    let cluster = args.cluster.cluster()?;
    let answer = cluster.call(|channel| {
        let request = request.clone();
        async move { budget(channel).remove_holder(request).await }
    });
    let answer = answer.await?;
    let removed = Removed {
        holder: args.holder.clone(),
        leases: answer.leases,
        slots: answer.slots,
    };
    output.show(&removed, |r| {
        let (leases, slots) = (thousands(r.leases), thousands(r.slots));
        format!(
            "holder {:?} removed: {leases} leases close, {slots} slots come free as they run out",
            r.holder
        )
    })
}
