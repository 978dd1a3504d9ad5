//! `preau bench`: load, and figures.

mod calls;
mod holder;
mod record;
mod report;
mod stats;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::v1;
use api::v1::change::Change;
use client::{Nodes, Options};
use tokio::task::JoinSet;

use crate::cluster;
use crate::failure::Failure;
use crate::local::children::Children;
use crate::local::leader::Leaders;
use crate::local::{Home, Ports};
use crate::output::Output;
use crate::signals::Signals;

use calls::Way;
use holder::{End, Holder, Run};
use record::Record;
use report::{Progress, Report};
use stats::Stats;

pub use stats::code_name;

/// The pool that the load works on.
const POOL: &str = "bench";
/// Regions of that pool, at most.
const REGIONS: u64 = 16;
/// One connection carries this many holders, where nothing else is said.
const HOLDERS_PER_CONNECTION: usize = 64;
/// Connections, where nothing else is said, at most.
const MOST_CONNECTIONS: usize = 16;
/// How long a call that prepares the load may take.
const PREPARE_WITHIN: Duration = Duration::from_secs(10);

/// Put load on a cluster and measure it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Lease(Lease),
}

/// Holders that take a lease each, change its size as fast as they are answered, and give it back.
///
/// Without --nodes it starts a cluster of its own: three processes on loopback, with a disk that is
/// really written to, stopped and removed at the end. PREAU_NODES is ignored, so that no load comes upon
/// a cluster by accident. Each holder wants 0 to twice --slots, by chance, of a pool `bench` that has
/// --slots for each holder: about half of the time there is not enough for all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau bench lease --holders 64 --seconds 10
  preau bench lease --holders 1024 --seconds 10 --group-commands 1 --output json
  preau bench lease --holders 1024 --stream --report 64
  preau bench lease --holders 16 --seconds 60 --nodes 127.0.0.1:4501 --record calls.jsonl --keep")]
struct Lease {
    /// Holders at work at the same time.
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    holders: u32,
    /// How long to measure.
    #[arg(long, value_name = "S", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// A cluster that runs already, comma separated, each host:port. A pool `bench` is made there, and
    /// removed at the end.
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',', conflicts_with_all = ["data", "group_commands"])]
    nodes: Vec<String>,
    /// Make the calls over long streams (Hold) that many holders share.
    #[arg(long)]
    stream: bool,
    /// Report users who wait and arrived in up to so many seconds, in place of renewing.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=128))]
    report: Option<u32>,
    /// Connections to the cluster; by default one for every 64 holders, up to 16.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    connections: Option<u8>,
    /// Slots that a holder wants on average.
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    slots: u64,
    /// A lease's time to live, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    ttl_ms: u64,
    /// Commands that a node of the own cluster groups into one log entry; 1 switches grouping off.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    group_commands: Option<u32>,
    /// Write every request and what came of it to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Give no lease back at the end, and leave the pool.
    #[arg(long)]
    keep: bool,
    /// Keep the own cluster's data here.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What chance begins with: the same seed asks for the same sizes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// A cluster that is ready for the load.
struct Ready {
    own: Option<Children>,
    addresses: Vec<String>,
    nodes: Nodes,
    leaders: Leaders,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.what {
        What::Lease(lease) => output.show(&lease.run().await?, Report::table),
    }
}

impl Lease {
    async fn run(&self) -> Result<Report, Failure> {
        if let Some(secure) = self.nodes.iter().find(|node| node.contains("https://")) {
            return Err(Failure::usage(format!(
                "--nodes: {secure} given, expected host:port: the load is put on plain connections only"
            )));
        }
        let record = self.record.as_deref().map(Record::create).transpose()?;
        let mut signals = Signals::new()?;
        let Ready {
            own,
            addresses,
            nodes,
            mut leaders,
        } = tokio::select! {
            ready = self.prepare() => ready?,
            name = signals.next() => return Err(Failure::operation(format!("ended by {name}"))),
        };
        let connections = self.connections();
        let run = Arc::new(Run {
            pool: POOL.into(),
            slots: self.slots,
            epoch: epoch_now(),
            buckets: self.report,
            keep: self.keep,
            stats: Stats::start(Duration::from_secs(self.seconds.into()))?,
            record,
            stop: AtomicBool::new(false),
        });
        let applied_before = leaders.seen().map_or(0, |leader| leader.applied);
        let mut holders = JoinSet::new();
        for holder in self.holders(&addresses, connections, &run)? {
            holders.spawn(holder.work());
        }
        let ends = self
            .watch(&run, &mut leaders, holders, &mut signals)
            .await?;
        let figures = run.stats.figures()?;
        leaders.look().await;
        if let Some(record) = &run.record {
            record.finish()?;
        }
        if own.is_none() && !self.keep {
            clear(&nodes).await;
        }
        let count = |which| ends.iter().filter(|end| **end == which).count() as u64;
        Ok(Report {
            own_cluster: own.is_some(),
            holders: self.holders,
            connections,
            stream: self.stream,
            report: self.report,
            group_commands: self.group_commands,
            figures,
            leader: leaders.seen().map_or(0, |leader| leader.node_id),
            leader_changes: leaders.changes(),
            entries: leaders
                .seen()
                .map_or(0, |leader| leader.applied.saturating_sub(applied_before)),
            returned: count(End::Returned),
            kept: count(End::Kept),
            left: count(End::Left),
            nodes: addresses,
        })
    }

    fn serve_flags(&self) -> Vec<String> {
        self.group_commands
            .map(|commands| vec!["--limits-group-commands".into(), commands.to_string()])
            .unwrap_or_default()
    }

    fn connections(&self) -> usize {
        self.connections.map_or_else(
            || {
                (self.holders as usize)
                    .div_ceil(HOLDERS_PER_CONNECTION)
                    .min(MOST_CONNECTIONS)
            },
            usize::from,
        )
    }

    fn regions(&self) -> u64 {
        REGIONS.min(self.holders.into())
    }

    /// Starts a cluster where none is given, and makes the pool.
    async fn prepare(&self) -> Result<Ready, Failure> {
        let own = if self.nodes.is_empty() {
            let program = std::env::current_exe()
                .map_err(|e| Failure::operation(format!("can't find this program's file: {e}")))?;
            let home = Home::new(self.data.as_deref(), Ports::Free)?;
            Some(Children::start(&program, home, &self.serve_flags()).await?)
        } else {
            None
        };
        let mut addresses = own
            .as_ref()
            .map_or_else(|| self.nodes.clone(), Children::addresses);
        let mut leaders = Leaders::new(&addresses)?;
        leaders.wait(PREPARE_WITHIN).await?;
        // The leader first: a follower would only forward to it.
        if let Some(leader) = leaders.seen() {
            addresses.sort_by_key(|address| *address != leader.address);
        }
        let nodes = Nodes::new(&addresses).map_err(|e| Failure::usage(format!("--nodes: {e}")))?;
        self.make_pool(&nodes).await?;
        Ok(Ready {
            own,
            addresses,
            nodes,
            leaders,
        })
    }

    /// Makes the pool and its regions: half of the capacity is guaranteed, in equal parts.
    async fn make_pool(&self, nodes: &Nodes) -> Result<(), Failure> {
        let capacity = self.slots * u64::from(self.holders);
        let pool = Change::SetPool(v1::SetPool {
            name: POOL.into(),
            capacity,
            ttl_ms: Some(self.ttl_ms),
            drift_ppm: None,
        });
        let regions = (0..self.regions()).map(|number| {
            Change::SetRegion(v1::SetRegion {
                pool: POOL.into(),
                name: region_name(number),
                nominal: capacity / 2 / self.regions(),
                ceiling: None,
                weight: None,
            })
        });
        configure(nodes, std::iter::once(pool).chain(regions)).await
    }

    fn holders(
        &self,
        addresses: &[String],
        connections: usize,
        run: &Arc<Run>,
    ) -> Result<Vec<Holder>, Failure> {
        let nodes = |connections| {
            let options = Options {
                connections,
                tls: None,
                dial: None,
            };
            Nodes::with(addresses, options).map_err(|e| Failure::usage(format!("--nodes: {e}")))
        };
        let ways = if self.stream {
            (0..connections)
                .map(|_| Ok(Way::stream(nodes(1)?)))
                .collect::<Result<Vec<_>, Failure>>()?
        } else {
            vec![Way::Calls(nodes(connections)?)]
        };
        let holder = |number: u32| {
            let region = region_name(u64::from(number) % self.regions());
            let way = ways[number as usize % ways.len()].clone();
            Holder::new(number as usize, region, way, self.seed, Arc::clone(run))
        };
        Ok((0..self.holders).map(holder).collect())
    }

    /// Looks on until every holder has ended. Ctrl-C ends the load early, and once more ends it at once.
    async fn watch(
        &self,
        run: &Run,
        leaders: &mut Leaders,
        mut holders: JoinSet<End>,
        signals: &mut Signals,
    ) -> Result<Vec<End>, Failure> {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let mut progress = Progress::default();
        let mut ends = Vec::with_capacity(self.holders as usize);
        loop {
            tokio::select! {
                end = holders.join_next() => match end {
                    Some(Ok(end)) => ends.push(end),
                    Some(Err(error)) => {
                        return Err(Failure::operation(format!("a holder ended badly: {error}")));
                    }
                    None => break,
                },
                _ = second.tick() => {
                    leaders.look().await;
                    progress.show(run, leaders);
                }
                name = signals.next() => {
                    if run.stop.swap(true, Ordering::Relaxed) {
                        return Err(Failure::operation(format!(
                            "ended at once, by a second {name}: leases are left to run out"
                        )));
                    }
                }
            }
        }
        progress.clear();
        Ok(ends)
    }
}

async fn configure(
    nodes: &Nodes,
    changes: impl IntoIterator<Item = Change>,
) -> Result<(), Failure> {
    let request = v1::ConfigureRequest {
        changes: changes
            .into_iter()
            .map(|change| v1::Change {
                change: Some(change),
            })
            .collect(),
        expected_revision: 0,
        request_id: cluster::request_id(),
    };
    nodes
        .call(PREPARE_WITHIN, |channel| {
            let request = request.clone();
            async move { cluster::budget(channel).configure(request).await }
        })
        .await?;
    Ok(())
}

/// Takes the pool away from a cluster that is not ours.
async fn clear(nodes: &Nodes) {
    let remove = Change::RemovePool(v1::RemovePool { name: POOL.into() });
    if let Err(failure) = configure(nodes, [remove]).await {
        eprintln!(
            "warning: pool {POOL:?} is still there: {failure}\n\
             remove it once its leases have run out: preau pool remove {POOL}"
        );
    }
}

fn region_name(number: u64) -> String {
    format!("region-{number:02}")
}

/// Milliseconds since 1970: higher than that of any run before.
fn epoch_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|time| u64::try_from(time.as_millis()).ok())
        .unwrap_or(1)
}
