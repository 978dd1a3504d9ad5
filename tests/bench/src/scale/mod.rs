//! What it costs that holders report once a second, by how many there are, and by how many regions and pools.

mod holders;
mod round;
mod show;

use std::collections::BTreeMap;
use std::time::Duration;

use api::v1::hold_request::Request as Up;
use api::v1::lease_service_client::LeaseServiceClient;
use preau::parts::Failure;
use quota::limits::MAX_SLOTS;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::holders::{Lot, NOMINAL, Tally, batch, first, lots, pool_name, region_name};
use crate::connection::Connection;
use crate::figures::{Figures, Spread};
use crate::ground::{Ground, Place, progress};
use crate::load::connect;
use crate::machine::busy_percent;
use crate::process::{Taken, disk, taken};
use crate::report::Report;
use crate::targets::cluster::{Cluster, pool};
use crate::targets::nodes::FLAGS;
use crate::targets::{TTL_S, told};

/// Regions of the one pool with which holders are counted up: as many as France has.
const FRANCE: (usize, usize) = (1, 18);
/// Seconds of reports before anything is measured, and before all the rest is wanted: until then every holder has
/// what it asks for.
const WARM_UP: u64 = 10;
const SETTLED: Duration = Duration::from_secs(6);
/// The region of each pool whose one holder wants all that there is, so that there is never enough, and each
/// change of a demand means to share anew.
const REST: &str = "rest";

/// How to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Holders in the 18 regions of one pool, comma separated.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "10,100,1000,10000,100000", value_parser = count(500_000))]
    holders: Vec<u64>,
    /// Regions of each pool, comma separated: each of these numbers with each of --pools.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,10,100,1000", value_parser = count(1_000))]
    regions: Vec<u64>,
    /// Pools, comma separated.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,10,100", value_parser = count(100))]
    pools: Vec<u64>,
    /// Holders in those.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = count(500_000))]
    spread_holders: u64,
    /// How often each is measured: more than two show how much chance there is.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// How long each is measured, in seconds. From 2 minutes on memory and disk are told by the minute.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    #[command(flatten)]
    place: Place,
}

fn count(most: u64) -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=most)
}

/// How many there are: pools, regions of each, and holders of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Shape {
    pools: usize,
    regions: usize,
    holders: usize,
}

impl Shape {
    /// The pool and the region of a holder, all by number.
    fn place(&self, holder: usize) -> (usize, usize) {
        (holder % self.pools, holder / self.pools % self.regions)
    }

    /// Most holders of one region.
    fn in_a_region(&self) -> usize {
        self.holders.div_ceil(self.pools * self.regions)
    }
}

/// What was measured of one shape.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    shape: Shape,
    /// What a round of sharing costs in a pool of so many regions, in microseconds: by the rules alone.
    round_us: f64,
    /// One for each run, in their order.
    runs: Vec<Point>,
}

/// What was measured once.
#[derive(Debug, Clone, Serialize)]
struct Point {
    /// Reports that were due.
    due: u64,
    /// Reports that were not made, for those of a second before were not answered yet.
    late: u64,
    /// Those that were answered, and how long that took from when they were due.
    reports: Figures,
    /// Processors that the leader kept busy, and each of the others on average.
    leader_cores: f64,
    follower_cores: f64,
    /// The leader's processor time for one report, in microseconds, with all that it does besides.
    leader_us_per_report: f64,
    /// Memory of the leader in the end, and of the others on average, in bytes.
    leader_resident: u64,
    follower_resident: u64,
    /// What the leader had taken after each minute.
    minutes: Vec<Minute>,
    /// Bytes by which the leader's directory grew.
    disk_growth: i64,
    /// Entries applied.
    entries: u64,
    /// How often it changed who leads. Where it did, that which led at first counts as the leader.
    leader_changes: u64,
}

/// What a node has at a time, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
struct Minute {
    resident: u64,
    disk: u64,
}

impl Row {
    /// One figure over all runs.
    fn spread(&self, figure: impl Fn(&Point) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(figure)).unwrap_or(Spread {
            median: 0.0,
            lowest: 0.0,
            highest: 0.0,
        })
    }
}

/// Measures all shapes, one after the other, as often as there are runs.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let ground = Ground::new(&args.place, Vec::new())?;
    let mut report = Report::new("scale", "What reports cost", &ground.machine);
    let mut rows = Vec::new();
    for shape in args.plan() {
        rows.push(Row {
            shape,
            round_us: 1e6 * round::cost(shape.regions)?.as_secs_f64(),
            runs: Vec::new(),
        });
    }
    let bar = progress(rows.len() * args.runs as usize);
    for _ in 0..args.runs {
        report.busy_before_percent.push(busy_percent().await);
        for row in &mut rows {
            let Shape {
                pools,
                regions,
                holders,
            } = row.shape;
            bar.set_message(format!("{holders} holders, {pools} x {regions} regions"));
            let point = measure(&ground, row.shape, args.seconds.into()).await?;
            row.runs.push(point);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    report.keep(&rows)?;
    show::fill(&mut report, &rows, args);
    report.finish(&ground.out)
}

impl Args {
    /// Every shape, each once.
    fn plan(&self) -> Vec<Shape> {
        let (pools, regions) = FRANCE;
        let by_holders = self.holders.iter().map(|&holders| Shape {
            pools,
            regions,
            holders: holders as usize,
        });
        let spread = self.pools.iter().flat_map(|&pools| {
            self.regions.iter().map(move |&regions| Shape {
                pools: pools as usize,
                regions: regions as usize,
                holders: self.spread_holders as usize,
            })
        });
        let mut plan: Vec<Shape> = Vec::new();
        for shape in by_holders.chain(spread) {
            if !plan.contains(&shape) {
                plan.push(shape);
            }
        }
        plan
    }
}

/// Measures one shape on a new cluster.
async fn measure(ground: &Ground, shape: Shape, seconds: u64) -> Result<Point, Failure> {
    let dir = ground.dir()?;
    let mut cluster = Cluster::start(&ground.preau, dir.path(), &FLAGS).await?;
    cluster.configure(changes(shape)).await?;
    let leader = cluster.leader().await?;
    let lots = lots(shape.holders);
    let connections = connect(&leader.address, lots).await?;

    let mut taking = JoinSet::new();
    for number in 0..lots {
        let connection = connections[number % connections.len()].clone();
        taking.spawn(Lot::take(connection, shape, number));
    }
    let mut ready = Vec::with_capacity(lots);
    while let Some(lot) = taking.join_next().await {
        ready.push(lot.map_err(ended_badly)??);
    }

    let start = Instant::now();
    let mut working = JoinSet::new();
    for lot in ready {
        working.spawn(lot.work(start, WARM_UP..WARM_UP + seconds));
    }
    sleep_until(start + SETTLED).await;
    take_the_rest(connections.first(), shape.pools).await?;
    sleep_until(start + Duration::from_secs(WARM_UP)).await;
    let before = look(&mut cluster).await?;
    let mut minutes = Vec::new();
    for minute in 1..=seconds / 60 {
        sleep_until(start + Duration::from_secs(WARM_UP + 60 * minute)).await;
        let nodes = look(&mut cluster).await?.nodes;
        minutes.extend(nodes.get(&leader.node_id).map(|(taken, disk)| Minute {
            resident: taken.resident,
            disk: *disk,
        }));
    }
    sleep_until(start + Duration::from_secs(WARM_UP + seconds)).await;
    let after = look(&mut cluster).await?;
    let took = (after.at - before.at).as_secs_f64();

    let mut tally = Tally::default();
    while let Some(lot) = working.join_next().await {
        tally.append(lot.map_err(ended_badly)?);
    }
    let of = |id: &u64| compare(&before.nodes, &after.nodes, *id, took);
    let leads = of(&leader.node_id);
    let others: Vec<Used> = cluster
        .ids()
        .filter(|id| *id != leader.node_id)
        .map(|id| of(&id))
        .collect();
    let mean = |figure: fn(&Used) -> f64| {
        others.iter().map(figure).sum::<f64>() / others.len().max(1) as f64
    };
    let answered = tally.answered;
    let failed = tally.errors;
    Ok(Point {
        due: tally.due,
        late: tally.late,
        reports: tally.latencies.figures(seconds as f64, answered, failed)?,
        leader_cores: leads.cores,
        follower_cores: mean(|used| used.cores),
        leader_us_per_report: 1e6 * leads.cores * took / answered.max(1) as f64,
        leader_resident: leads.resident,
        follower_resident: mean(|used| used.resident as f64) as u64,
        minutes,
        disk_growth: leads.disk_growth,
        entries: after.applied.saturating_sub(before.applied),
        leader_changes: cluster.leader_changes(),
    })
}

fn ended_badly(error: tokio::task::JoinError) -> Failure {
    Failure::operation(format!("a lot of holders ended badly: {error}"))
}

/// All pools, with regions that have room for twice what their holders ask for, and one for the rest.
fn changes(shape: Shape) -> Vec<api::v1::change::Change> {
    let nominal = NOMINAL * shape.in_a_region() as u64;
    let pools = (0..shape.pools).flat_map(|number| {
        let regions = (0..shape.regions).map(|number| (region_name(number), nominal));
        let regions = regions.chain([(REST.to_owned(), 0)]);
        pool(&pool_name(number), regions, TTL_S).collect::<Vec<_>>()
    });
    pools.collect()
}

/// In each pool somebody wants all that there is.
async fn take_the_rest(connection: Option<&Connection>, pools: usize) -> Result<(), Failure> {
    let connection = connection.ok_or_else(|| Failure::operation("there is no connection"))?;
    let mut client = LeaseServiceClient::new(connection.clone());
    let takes = (0..pools).map(|pool| Up::Lease(first(pool, REST.into(), REST.into(), MAX_SLOTS)));
    let taken = client.lease_batch(batch(takes.collect())).await;
    let taken = taken.map_err(|e| Failure::operation(told(&e)))?;
    for response in taken.into_inner().responses {
        if let Some(api::v1::hold_response::Response::Failure(failure)) = response.response {
            return Err(Failure::operation(failure.message));
        }
    }
    Ok(())
}

/// How a cluster stands.
struct Look {
    at: Instant,
    /// What each node has taken, and the bytes of its directory.
    nodes: BTreeMap<u64, (Taken, u64)>,
    applied: u64,
}

/// Looks at all nodes.
async fn look(cluster: &mut Cluster) -> Result<Look, Failure> {
    cluster.children.check()?;
    let applied = cluster.leader().await?.applied;
    let (at, mut nodes) = (Instant::now(), BTreeMap::new());
    for id in cluster.ids() {
        let pid = cluster.children.pid(id);
        let pid = pid.ok_or_else(|| Failure::operation(format!("node {id} does not run")))?;
        nodes.insert(id, (taken(pid)?, disk(&cluster.children.data(id))));
    }
    Ok(Look { at, nodes, applied })
}

/// What a node has used between two looks.
struct Used {
    cores: f64,
    resident: u64,
    disk_growth: i64,
}

fn compare(
    before: &BTreeMap<u64, (Taken, u64)>,
    after: &BTreeMap<u64, (Taken, u64)>,
    id: u64,
    seconds: f64,
) -> Used {
    let nothing = Taken {
        cpu_s: 0.0,
        resident: 0,
    };
    let of = |look: &BTreeMap<u64, (Taken, u64)>| look.get(&id).copied().unwrap_or((nothing, 0));
    let ((before, disk_before), (after, disk_after)) = (of(before), of(after));
    Used {
        cores: (after.cpu_s - before.cpu_s) / seconds.max(1e-6),
        resident: after.resident,
        disk_growth: disk_after.cast_signed() - disk_before.cast_signed(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn plan(words: &[&str]) -> Vec<Shape> {
        let words = [&["scale"], words].concat();
        Line::try_parse_from(words).unwrap().args.plan()
    }

    #[test]
    fn every_shape_is_measured_once() {
        let all = plan(&[]);
        assert_eq!(all.len(), 5 + 12);
        let shape = |pools, regions, holders| Shape {
            pools,
            regions,
            holders,
        };
        assert_eq!(all[0], shape(1, 18, 10));
        assert_eq!(all[4], shape(1, 18, 100_000));
        assert_eq!(all[5], shape(1, 1, 10_000));
        assert_eq!(all[16], shape(100, 1_000, 10_000));
        let words = "--holders 10,50 --regions 18 --pools 1 --spread-holders 50";
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(plan(&words), [shape(1, 18, 10), shape(1, 18, 50)]);
        assert!(Line::try_parse_from(["scale", "--pools", "101"]).is_err());
    }

    #[test]
    fn holders_go_to_all_regions_of_all_pools_alike() {
        let shape = Shape {
            pools: 10,
            regions: 7,
            holders: 1_000,
        };
        let mut counts = BTreeMap::<(usize, usize), usize>::new();
        for holder in 0..shape.holders {
            *counts.entry(shape.place(holder)).or_default() += 1;
        }
        assert_eq!(counts.len(), 70);
        assert!(counts.values().all(|count| *count <= shape.in_a_region()));
        assert_eq!(changes(shape).len(), 10 * (1 + 7 + 1));
    }
}
