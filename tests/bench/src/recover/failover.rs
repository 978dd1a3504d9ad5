//! Clients at work, and a leader that is killed: how long it takes until the next one answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api::v1;
use api::v1::lease_service_client::LeaseServiceClient;
use preau::parts::{Failure, thousands};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Status;

use super::{millis, whole};
use crate::figures::Spread;
use crate::ground::{Ground, Place, progress};
use crate::load::{ANSWER_WITHIN, PAUSE, micros};
use crate::machine::busy_percent;
use crate::plots::{Picture, Series};
use crate::report::{Report, Table};
use crate::targets::cluster::Cluster;
use crate::targets::nodes::{Nodes, region, take};
use crate::targets::told;

/// How long everybody works before the first kill, and after each once all nodes are there again.
const CALM: Duration = Duration::from_secs(2);
/// How long an answer may take after a kill, and how long the node that comes back.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
const BACK_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Regions that clients are in.
const REGIONS: usize = 16;
/// What has not come about.
const NEVER: u64 = u64::MAX;

/// How to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often the leader is killed.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    kills: u32,
    /// Clients at work, each a holder with one call under way.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    clients: u32,
    #[command(flatten)]
    place: Place,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    clients: u32,
    /// Operations a second, all that came between included.
    per_second: f64,
    /// Calls that failed for good, by why; each was made again.
    errors: BTreeMap<String, u64>,
    kills: Vec<Kill>,
    /// Of the times from a kill to the next answer, in milliseconds: half are at most,
    p50_ms: f64,
    /// and all.
    highest_ms: f64,
}

/// One kill.
#[derive(Debug, Clone, Serialize)]
struct Kill {
    /// Who led,
    killed: u64,
    /// and who led next.
    next: u64,
    /// From the kill until the first operation was answered that began once the node was dead, in milliseconds.
    answered_ms: f64,
    /// From the start of the node until it had applied what the leader had then, in milliseconds.
    caught_up_ms: f64,
}

/// What clients and whoever kills share. Times are in microseconds since the beginning.
struct Watch {
    began: Instant,
    /// When the leader was dead.
    dead_us: AtomicU64,
    /// When the first operation was answered that began after that.
    first_us: AtomicU64,
    answered: AtomicU64,
    over: AtomicBool,
}

impl Watch {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            dead_us: AtomicU64::new(NEVER),
            first_us: AtomicU64::new(NEVER),
            answered: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    fn now_us(&self) -> u64 {
        micros(self.began.elapsed())
    }

    /// An operation was answered.
    fn answered(&self, begun_us: u64, now_us: u64) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if begun_us >= self.dead_us.load(Ordering::SeqCst) {
            self.first_us.fetch_min(now_us, Ordering::SeqCst);
        }
    }

    /// What is answered from here on counts for nothing, until somebody is dead.
    fn forget(&self) {
        self.dead_us.store(NEVER, Ordering::SeqCst);
        self.first_us.store(NEVER, Ordering::SeqCst);
    }

    /// The leader is dead.
    fn is_dead(&self) {
        self.dead_us.store(self.now_us(), Ordering::SeqCst);
    }

    /// When the first operation was answered that began after that.
    fn first_us(&self) -> Option<u64> {
        let first_us = self.first_us.load(Ordering::SeqCst);
        (first_us != NEVER).then_some(first_us)
    }
}

/// Kills as often as is to be.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let ground = Ground::new(&args.place, Vec::new())?;
    let mut report = Report::new(
        "recover-failover",
        "How soon the next leader answers",
        &ground.machine,
    );
    report.busy_before_percent.push(busy_percent().await);
    let dir = ground.dir()?;
    let Nodes { mut cluster, .. } = Nodes::start(&ground.preau, dir.path(), &[]).await?;
    let watch = Arc::new(Watch::new());
    let mut clients = JoinSet::new();
    for number in 0..args.clients as usize {
        let nodes = client::Nodes::new(cluster.children.addresses());
        let nodes = nodes.map_err(|e| Failure::operation(e.to_string()))?;
        clients.spawn(work(nodes, number, Arc::clone(&watch)));
    }

    let bar = progress(args.kills as usize);
    bar.set_message("leaders killed");
    let mut kills = Vec::new();
    for _ in 0..args.kills {
        sleep(CALM).await;
        kills.push(kill(&mut cluster, &watch).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let per_second = {
        let answered = watch.answered.load(Ordering::Relaxed);
        answered as f64 / watch.began.elapsed().as_secs_f64()
    };
    watch.over.store(true, Ordering::Relaxed);
    let mut errors = BTreeMap::new();
    while let Some(ended) = clients.join_next().await {
        let ended = ended.map_err(|e| Failure::operation(format!("a client ended badly: {e}")))?;
        for (error, times) in ended {
            *errors.entry(error).or_default() += times;
        }
    }
    let spread = Spread::of(kills.iter().map(|kill| kill.answered_ms));
    let measured = Measured {
        clients: args.clients,
        per_second,
        errors,
        p50_ms: spread.map_or(0.0, |spread| spread.median),
        highest_ms: spread.map_or(0.0, |spread| spread.highest),
        kills,
    };
    report.keep(&measured)?;
    report.tables = vec![table(&measured.kills)];
    report.pictures = vec![picture(&measured.kills)];
    report.findings = findings(&measured);
    report.notes = notes(args);
    report.finish(&ground.out)
}

/// Kills the leader, waits for an answer of the next one, and for the node to come back.
async fn kill(cluster: &mut Cluster, watch: &Watch) -> Result<Kill, Failure> {
    let killed = cluster.leader().await?.node_id;
    watch.forget();
    let killed_us = watch.now_us();
    cluster.children.kill_node(killed).await?;
    watch.is_dead();
    let until = Instant::now() + ANSWERED_WITHIN;
    let first_us = loop {
        if let Some(first_us) = watch.first_us() {
            break first_us;
        }
        cluster.children.check()?;
        if Instant::now() > until {
            return Err(Failure::operation(format!(
                "nothing is answered {ANSWERED_WITHIN:.0?} after node {killed} was killed"
            )));
        }
        sleep(LOOK_EVERY).await;
    };
    let next = loop {
        // A node may still tell of the one before.
        let leader = cluster.leader().await?;
        if leader.node_id != killed {
            break leader;
        }
        sleep(LOOK_EVERY).await;
    };
    cluster.children.start_node(killed)?;
    let caught_up = cluster.applied(killed, next.applied, BACK_WITHIN).await?;
    Ok(Kill {
        killed,
        next: next.node_id,
        answered_ms: first_us.saturating_sub(killed_us) as f64 / 1e3,
        caught_up_ms: millis(caught_up),
    })
}

/// A holder as a front-end has it: it takes a lease and keeps it, one call after the other, at whichever node can
/// answer. Tells which calls failed for good: each was made again, as it was.
async fn work(nodes: client::Nodes, number: usize, watch: Arc<Watch>) -> BTreeMap<String, u64> {
    let (mut lease, mut errors) = (None, BTreeMap::new());
    while !watch.over.load(Ordering::Relaxed) {
        let begun_us = watch.now_us();
        let answer = match lease {
            None => first(&nodes, number).await,
            Some((id, seq)) => renew(&nodes, id, seq).await,
        };
        match answer {
            Ok(id) => {
                watch.answered(begun_us, watch.now_us());
                lease = Some((id, lease.map_or(1, |(_, seq)| seq) + 1));
            }
            Err(status) => {
                *errors.entry(told(&status)).or_default() += 1;
                sleep(PAUSE).await;
            }
        }
    }
    errors
}

async fn first(nodes: &client::Nodes, number: usize) -> Result<u64, Status> {
    let request = take(&region(number % REGIONS), format!("client-{number}"));
    let take = |channel| {
        let request = request.clone();
        async move { LeaseServiceClient::new(channel).lease(request).await }
    };
    let answer = nodes.call(ANSWER_WITHIN, take).await?;
    Ok(answer.into_inner().grant.unwrap_or_default().lease_id)
}

async fn renew(nodes: &client::Nodes, lease_id: u64, seq: u64) -> Result<u64, Status> {
    let renew = |channel| async move {
        let request = v1::RenewRequest {
            lease_id,
            seq,
            kept: 1,
            wanted: 1,
        };
        LeaseServiceClient::new(channel).renew(request).await
    };
    nodes.call(ANSWER_WITHIN, renew).await?;
    Ok(lease_id)
}

fn table(kills: &[Kill]) -> Table {
    let row = |(number, kill): (u64, &Kill)| {
        vec![
            number.to_string(),
            kill.killed.to_string(),
            kill.next.to_string(),
            whole(kill.answered_ms),
            whole(kill.caught_up_ms),
        ]
    };
    Table {
        title: "Each kill".into(),
        columns: vec![
            ">kill",
            ">node killed",
            ">next leader",
            ">answered ms",
            ">caught up ms",
        ],
        rows: (1..).zip(kills).map(row).collect(),
    }
}

fn picture(kills: &[Kill]) -> Picture {
    let of = |name: &str, figure: fn(&Kill) -> f64| Series {
        name: name.into(),
        points: (1_u32..)
            .zip(kills)
            .map(|(number, kill)| (number.into(), figure(kill)))
            .collect(),
        line: false,
    };
    Picture {
        caption:
            "Each kill of the leader: ms until the next one answers, and until the node is back"
                .into(),
        x: "kill",
        y: "ms",
        log: false,
        series: vec![
            of("answered", |kill| kill.answered_ms),
            of("caught up, from its start", |kill| kill.caught_up_ms),
        ],
    }
}

fn findings(measured: &Measured) -> Vec<String> {
    let values: Vec<String> = measured
        .kills
        .iter()
        .map(|kill| whole(kill.answered_ms))
        .collect();
    let failed: u64 = measured.errors.values().sum();
    vec![
        format!(
            "From a kill of the leader to the next leader's answer: p50 {} ms, highest {} ms of {} kills",
            whole(measured.p50_ms),
            whole(measured.highest_ms),
            measured.kills.len()
        ),
        format!("All values in ms: {}", values.join(", ")),
        format!(
            "{} operations a second over all, {} calls failed for good",
            whole(measured.per_second),
            thousands(failed)
        ),
    ]
}

fn notes(args: &Args) -> Vec<String> {
    vec![
        format!(
            "{} clients, each a holder that renews its lease, one call after the other, by the front-end's own \
             way to the nodes: connections to all three, the next node where one fails, the leader where one \
             tells of it, and growing pauses once all have been tried. Nodes have every default: a follower \
             stands for election after 1 to 1.5 s of silence.",
            args.clients
        ),
        "The leader is ended by SIGKILL. Time is from just before that until the first operation is answered that \
         began once the process was gone: only the next leader can have carried it out. Then the node is started \
         again, and nothing else is done until it has applied what the leader had then, and 2 s more."
            .into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_the_leader_was_dead_does_not_count() {
        let watch = Watch::new();
        watch.answered(0, 5);
        assert_eq!(watch.first_us(), None, "nobody is dead");
        watch.is_dead();
        let dead_us = watch.dead_us.load(Ordering::SeqCst);
        if dead_us > 0 {
            watch.answered(dead_us - 1, dead_us + 1);
        }
        assert_eq!(watch.first_us(), None);
        watch.answered(dead_us + 3, dead_us + 9);
        watch.answered(dead_us, dead_us + 7);
        watch.answered(dead_us + 8, dead_us + 8_000);
        assert_eq!(watch.first_us(), Some(dead_us + 7));
        watch.forget();
        watch.answered(dead_us + 10, dead_us + 20);
        assert_eq!(watch.first_us(), None);
    }

    #[test]
    fn findings_have_all_values() {
        let kill = |answered_ms| Kill {
            killed: 1,
            next: 2,
            answered_ms,
            caught_up_ms: 400.0,
        };
        let measured = Measured {
            clients: 64,
            per_second: 12_345.0,
            errors: BTreeMap::from([("Unavailable: x".into(), 3)]),
            kills: vec![kill(1_200.4), kill(900.0), kill(1_500.0)],
            p50_ms: 1_200.4,
            highest_ms: 1_500.0,
        };
        let found = findings(&measured);
        assert!(
            found[0].contains("p50 1,200 ms, highest 1,500 ms of 3"),
            "{found:?}"
        );
        assert_eq!(found[1], "All values in ms: 1,200, 900, 1,500");
        assert!(found[2].contains("3 calls failed"), "{found:?}");
        assert_eq!(
            table(&measured.kills).rows[2],
            ["3", "1", "2", "1,500", "400"]
        );
        assert_eq!(picture(&measured.kills).series[0].points.len(), 3);
    }
}
