//! A node that starts again with a long log and many leases, and all three of them at the same time.

mod show;

use std::path::Path;
use std::time::{Duration, Instant};

use api::v1;
use api::v1::lease_service_client::LeaseServiceClient;
use indicatif::ProgressBar;
use jiff::Timestamp;
use preau::parts::{Failure, thousands};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::millis;
use crate::ground::{Ground, Place, progress};
use crate::load::{Bounds, Phase, lazily, phase};
use crate::machine::busy_percent;
use crate::process::disk;
use crate::report::Report;
use crate::targets::cluster::Cluster;
use crate::targets::nodes::{Door, FLAGS, Nodes, inspect, region, take};

/// Clients that make the log long, each one call at a time.
const CLIENTS: u64 = 1_024;
/// How long that may take, and how long whatever is to come back.
const FILLED_WITHIN: Duration = Duration::from_secs(3_600);
const BACK_WITHIN: Duration = Duration::from_secs(600);
/// How often it is tried whether it is back, and how long a try may take.
const TRY_EVERY: Duration = Duration::from_millis(5);
const TRY_WITHIN: Duration = Duration::from_secs(1);
/// What a node says when it has opened its store, and when it serves.
const OPENED: &str = "store opened";
const SERVES: &str = "the node serves";

/// How to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Entries in the log.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=9_000_000))]
    entries: u64,
    /// Holders with a lease each.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=900_000))]
    holders: u64,
    /// Entries between two snapshots, the node's default where not given; with more than there are entries there is
    /// none, and the whole log is carried out again.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    snapshot_every: u64,
    /// How often each is measured: more than two show how much chance there is.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    #[command(flatten)]
    place: Place,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    entries: u64,
    holders: u64,
    snapshot_every: u64,
    /// Bytes of a node's directory.
    disk: u64,
    /// Entries made in a second, one request each.
    filled_per_second: f64,
    /// A node that was stopped while the others went on, one for each run.
    node: Vec<NodeBack>,
    /// All nodes that were killed, one for each run.
    all: Vec<AllBack>,
}

/// How long a node took, from the start of its process, in milliseconds.
#[derive(Debug, Clone, Serialize)]
struct NodeBack {
    node_id: u64,
    said: Said,
    /// Until it answered a read that is as new as the call.
    read_ms: f64,
    /// Until it had applied what the leader had when it was started.
    caught_up_ms: f64,
}

/// How long all nodes took, from the start of the first process, in milliseconds.
#[derive(Debug, Clone, Serialize)]
struct AllBack {
    /// The slowest of them.
    said: Said,
    /// Until a lease was granted, by whichever.
    granted_ms: f64,
}

/// What a node's log tells of its beginning, in milliseconds; none where it does not.
#[derive(Debug, Clone, Copy, Serialize)]
struct Said {
    /// Until the store was open: all that is in it is read and checked.
    opened_ms: Option<f64>,
    /// Until it served: the snapshot is taken up, and what came after it is carried out, as far as it was known to
    /// be committed.
    serves_ms: Option<f64>,
}

/// Makes the log, and then measures.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let ground = Ground::new(&args.place, Vec::new())?;
    let mut report = Report::new(
        "recover-restart",
        "How long nodes take to come back",
        &ground.machine,
    );
    report.busy_before_percent.push(busy_percent().await);
    let dir = ground.dir()?;
    let every = args.snapshot_every.to_string();
    // The leases' entries are among those that are kept.
    let keep = (args.entries + CLIENTS).to_string();
    let flags = [
        ["--limits-group-commands", "1"],
        ["--raft-snapshot-every", &every],
        ["--raft-keep-entries", &keep],
    ];
    let flags = [FLAGS.as_slice(), flags.as_flattened()].concat();
    let nodes = Nodes::start(&ground.preau, dir.path(), &flags).await?;
    let Nodes { mut cluster, door } = nodes;

    let bar = progress(args.entries as usize);
    bar.set_message("entries made");
    let began = Instant::now();
    let filled = tokio::select! {
        filled = fill(args, &door) => filled,
        failure = watch(&mut cluster, &bar) => Err(failure),
    };
    filled?;
    bar.finish_and_clear();
    let leader = cluster.leader().await?;
    let mut measured = Measured {
        entries: leader.applied,
        holders: args.holders,
        snapshot_every: args.snapshot_every,
        disk: disk(&cluster.children.data(leader.node_id)),
        filled_per_second: leader.applied as f64 / began.elapsed().as_secs_f64(),
        node: Vec::new(),
        all: Vec::new(),
    };

    let bar = progress(2 * args.runs as usize);
    for run in 0..args.runs {
        bar.set_message("a node is stopped, and starts again");
        measured.node.push(one(&mut cluster).await?);
        bar.inc(1);
        bar.set_message("all nodes are killed, and start again");
        measured.all.push(all(&mut cluster, run).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    report.keep(&measured)?;
    show::fill(&mut report, &measured, args);
    report.finish(&ground.out)
}

/// Makes as many leases and entries as there are to be: one request each.
async fn fill(args: &Args, door: &Door) -> Result<(), Failure> {
    let clients = door.callers(args.holders.min(CLIENTS) as usize).await?;
    let until = |leases| Bounds {
        time: FILLED_WITHIN,
        leases,
    };
    let (clients, taken) = phase(clients, Phase::Grant, until(args.holders)).await?;
    let left = args.entries.saturating_sub(taken.leases).max(1);
    let (_, kept) = phase(clients, Phase::Keep, until(left)).await?;
    if taken.leases < args.holders || kept.leases < left {
        let errors = [taken.errors, kept.errors];
        let why = errors.iter().flat_map(|errors| errors.keys()).next();
        return Err(Failure::operation(format!(
            "{} entries were not made within {FILLED_WITHIN:.0?}: {}",
            thousands(args.entries),
            why.map_or("too slow", String::as_str)
        )));
    }
    Ok(())
}

/// Tells how many entries there are, and resolves where a node has ended.
async fn watch(cluster: &mut Cluster, bar: &ProgressBar) -> Failure {
    loop {
        sleep(Duration::from_millis(500)).await;
        match cluster.leader().await.and_then(|leader| {
            cluster.children.check()?;
            Ok(leader.applied)
        }) {
            Ok(applied) => bar.set_position(applied),
            Err(failure) => return failure,
        }
    }
}

/// Stops a node that follows, and starts it again.
async fn one(cluster: &mut Cluster) -> Result<NodeBack, Failure> {
    let leads = cluster.leader().await?.node_id;
    let id = cluster.ids().find(|id| *id != leads);
    let id = id.ok_or_else(|| Failure::operation("no node follows"))?;
    cluster.children.stop_node(id).await?;
    let target = cluster.leader().await?.applied;
    let address = cluster.address(id)?;
    let (since, began) = (Timestamp::now(), Instant::now());
    cluster.children.start_node(id)?;
    let read = async {
        let mut client = LeaseServiceClient::new(lazily(&address)?);
        let what = format!("node {id} answers no read");
        again(began, &what, async || {
            client.inspect(inspect()).await.map(drop)
        })
        .await
    };
    let (read, applied) = tokio::join!(read, cluster.applied(id, target, BACK_WITHIN));
    Ok(NodeBack {
        node_id: id,
        read_ms: millis(read?),
        caught_up_ms: millis(applied?),
        said: Said::of(&cluster.children.log(id), since),
    })
}

/// Kills all nodes, and starts them again.
async fn all(cluster: &mut Cluster, run: u32) -> Result<AllBack, Failure> {
    let target = cluster.leader().await?.applied;
    for id in cluster.ids() {
        cluster.children.kill_node(id).await?;
    }
    let (since, began) = (Timestamp::now(), Instant::now());
    for id in cluster.ids() {
        cluster.children.start_node(id)?;
    }
    let addresses = cluster.children.addresses();
    let [first, second, third] = addresses.as_slice() else {
        return Err(Failure::operation("there are not three nodes"));
    };
    // The same request to each: it has one effect.
    let request = take(&region(0), format!("after-{run}"));
    let granted = tokio::select! {
        granted = grant(first, &request, began) => granted?,
        granted = grant(second, &request, began) => granted?,
        granted = grant(third, &request, began) => granted?,
        failure = cluster.children.ended() => return Err(failure),
    };
    let mut said = Said {
        opened_ms: None,
        serves_ms: None,
    };
    for id in cluster.ids() {
        cluster.applied(id, target, BACK_WITHIN).await?;
        said = said.slowest(Said::of(&cluster.children.log(id), since));
    }
    Ok(AllBack {
        said,
        granted_ms: millis(granted),
    })
}

/// Asks a node for a lease until it is granted, and says how long that was after `began`.
async fn grant(
    address: &str,
    request: &v1::LeaseRequest,
    began: Instant,
) -> Result<Duration, Failure> {
    let mut client = LeaseServiceClient::new(lazily(address)?);
    again(began, "no lease is granted", async || {
        client.lease(request.clone()).await.map(drop)
    })
    .await
}

/// Tries until it comes about, and says how long that was after `began`.
async fn again(
    began: Instant,
    what: &str,
    mut call: impl AsyncFnMut() -> Result<(), tonic::Status>,
) -> Result<Duration, Failure> {
    let mut why = String::from("no try was made");
    while began.elapsed() < BACK_WITHIN {
        match timeout(TRY_WITHIN, call()).await {
            Ok(Ok(())) => return Ok(began.elapsed()),
            Ok(Err(status)) => why = status.message().to_owned(),
            Err(_) => why = format!("no answer within {TRY_WITHIN:?}"),
        }
        sleep(TRY_EVERY).await;
    }
    Err(Failure::operation(format!(
        "{what} after {BACK_WITHIN:.0?}: {why}"
    )))
}

impl Said {
    /// Out of a node's log.
    fn of(log: &Path, since: Timestamp) -> Self {
        let log = std::fs::read_to_string(log).unwrap_or_default();
        Self {
            opened_ms: said_ms(&log, OPENED, since),
            serves_ms: said_ms(&log, SERVES, since),
        }
    }

    /// The later one of each.
    fn slowest(self, other: Self) -> Self {
        let later = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        Self {
            opened_ms: later(self.opened_ms, other.opened_ms),
            serves_ms: later(self.serves_ms, other.serves_ms),
        }
    }
}

/// How long after `since` a node's log first has a line with `what`, which begins with its time.
fn said_ms(log: &str, what: &str, since: Timestamp) -> Option<f64> {
    let line = log.lines().find(|line| line.contains(what))?;
    let at: Timestamp = line.split_whitespace().next()?.parse().ok()?;
    Some(at.duration_since(since).as_millis_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-02T03:04:05.500000Z  INFO store::store: store opened dir=/d node_id=1 start=1 end=9\n\
                       2026-01-02T03:04:06.750000Z  INFO preau::serve: the node serves node_id=1\n\
                       thread main says: the node serves nothing\n";

    #[test]
    fn a_log_tells_when_what_was_done() {
        let since: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(said_ms(LOG, OPENED, since), Some(500.0));
        assert_eq!(said_ms(LOG, SERVES, since), Some(1_750.0));
        assert_eq!(said_ms(LOG, "nothing", since), None, "no time before it");
        assert_eq!(said_ms("", OPENED, since), None);
    }

    #[test]
    fn the_slowest_of_all_counts() {
        let said = |opened_ms, serves_ms| Said {
            opened_ms,
            serves_ms,
        };
        let slowest = said(Some(1.0), None).slowest(said(Some(0.5), Some(7.0)));
        assert_eq!(
            (slowest.opened_ms, slowest.serves_ms),
            (Some(1.0), Some(7.0))
        );
    }
}
