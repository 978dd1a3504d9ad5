//! One run: a cluster, load on it, faults one after the other, and the judgement.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use check::Limits;
use check::history::{Answer, Applied, Moment, Record};
use clap::ValueEnum as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::admin::{Operator, POOLS, TTL_MS};
use crate::cluster::{Cluster, status};
use crate::doors::{Doors, request, within};
use crate::faults::{Kind, Means};
use crate::ground::{binary, ground};
use crate::load::{Holder, Load, Order};
use crate::nemesis::{Made, Nemesis};
use crate::network::Network;
use crate::record::Recorder;
use crate::report::{self, Summary, Verdict};
use crate::sandbox::Sandbox;
use crate::watcher::Watcher;
use crate::{Args, Output, repair};

/// How long a fault is on, in milliseconds, and how long the cluster is left alone after it.
const FAULT_MS: std::ops::Range<u64> = 4_000..9_000;
const CALM: Duration = Duration::from_secs(2);
/// A healed cluster carries something out within this.
pub const RECOVER: Duration = Duration::from_secs(15);
/// All slots are free so long after the last holder has gone.
const DRAIN: Duration = Duration::from_millis(2 * TTL_MS);
/// Longer than any request of a holder takes to end.
const REST: Duration = Duration::from_millis(2_500);
/// What nodes are on where nothing between them can be stopped.
const NO_NETWORK: &str = "on loopback, and nothing between nodes can be stopped";
/// Of every so many holders one is in the small pool, up to as many as its whole history is searched for.
const SMALL: u64 = 4;

/// Runs, prints and writes the report, and says what came of it.
pub fn run(args: &Args, sandbox: Sandbox) -> Result<Verdict, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let summary = runtime.block_on(async {
        tokio::select! {
            done = torture(args, &sandbox) => done,
            _ = tokio::signal::ctrl_c() => Err("interrupted; everything that was made is removed".into()),
            () = terminated() => Err("told to stop; everything that was made is removed".into()),
        }
    });
    // Whatever still runs of it holds files and processes.
    runtime.shutdown_timeout(Duration::from_secs(5));
    drop(sandbox);
    let summary = summary?;
    match args.output {
        Output::Text => print!("{summary}"),
        Output::Json => println!("{}", summary.json()?),
    }
    Ok(summary.verdict())
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => std::future::pending().await,
    }
}

async fn torture(args: &Args, sandbox: &Sandbox) -> Result<Summary, String> {
    let files = files_of(&args.report)?;
    let ground = ground(args, sandbox, &files).await;
    let means = Means {
        network: ground.network.as_ref().map(drop).map_err(Clone::clone),
        disks: ground.disks.clone(),
        clock: ground.clock.is_some(),
        nodes: args.nodes,
        old_release: args.upgrade_from.is_some(),
    };
    let (kinds, mut missing) = kinds(args, &means)?;
    let less = ground.network.as_ref().ok().and_then(Network::leaves_out);
    missing.extend(less.map(ToOwned::to_owned));
    for why in &missing {
        eprintln!("NOT TESTED HERE: {why}");
    }
    let new = binary(args)?;
    let old = args.upgrade_from.clone().unwrap_or_else(|| new.clone());

    let history = files.join("history.jsonl");
    let recorder = Recorder::new(&history, args.seed, (1..=args.nodes).collect())?;
    let recorder = Arc::new(recorder);
    let doors = Arc::new(Doors::default());
    let mut cluster = Cluster::new(ground, Arc::clone(&doors), old);
    cluster.start(args.nodes).await?;
    repair::whole(&cluster).await?;
    let operator =
        |number| Operator::new(number, Arc::clone(&recorder), Arc::clone(&doors), args.seed);
    let mut chief = operator(0);
    chief.set_up().await?;

    let (orders, order) = watch::channel(Order::Work);
    let load = Arc::new(Load {
        recorder: Arc::clone(&recorder),
        doors: Arc::clone(&doors),
        order,
    });
    let mut working = JoinSet::new();
    for number in 0..args.holders {
        working.spawn(holder(number, args.seed, &load).work());
    }
    working.spawn(operator(1).work(Arc::clone(&load), args.holders));
    let watcher = Arc::new(Watcher::new(Arc::clone(&recorder), Arc::clone(&doors)));
    let watching = tokio::spawn(Arc::clone(&watcher).watch());

    let mut nemesis = Nemesis {
        cluster,
        recorder: Arc::clone(&recorder),
        watcher,
        rng: fastrand::Rng::with_seed(args.seed),
        wrong: Vec::new(),
        refused: 0,
        unharmed: 0,
    };
    sleep(CALM).await;
    let end = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let mut left: Vec<Kind> = Vec::new();
    let mut first_round = true;
    while Instant::now() < end {
        if left.is_empty() {
            left = kinds.clone();
            nemesis.rng.shuffle(&mut left);
        }
        let mut now: Vec<Kind> = left.pop().into_iter().collect();
        if !first_round {
            mix(&mut now, &kinds, &mut nemesis.rng);
        }
        first_round &= !left.is_empty();
        if now.contains(&Kind::Upgrade) {
            nemesis.cluster.binary = new.clone();
        }
        phase(&mut nemesis, &now).await?;
    }

    let until_ns = recorder.now();
    let _ = orders.send(Order::Rest);
    sleep(REST).await;
    if let Err(why) = compare(&nemesis).await {
        nemesis.wrong.push(why);
    }
    let _ = orders.send(Order::Leave);
    while working.join_next().await.is_some() {}
    let at_ns = recorder.now();
    recorder.push(Record::Drained(Moment { at_ns }));
    sleep(DRAIN).await;
    for pool in &POOLS {
        for _ in 0..20 {
            if let Answer::Inspected { .. } = chief.inspect(pool.name, false).await {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
    watching.abort();
    let records = recorder.finish()?;
    let network = &nemesis.cluster.ground.network;
    let summary = Summary::new(
        args,
        report::Run {
            missing,
            files,
            until_ns,
            ground: network.as_ref().map_or(NO_NETWORK, Network::described),
            packets_dropped: nemesis.cluster.weather().map_or(0, |w| w.dropped()),
            damaged_refused: nemesis.refused,
            damaged_unharmed: nemesis.unharmed,
            wrong: std::mem::take(&mut nemesis.wrong),
        },
        &records,
        &limits(),
    );
    let page = report::page(&summary, &records)?;
    fs::write(&args.report, page).map_err(|e| format!("{}: {e}", args.report.display()))?;
    Ok(summary)
}

fn limits() -> Limits {
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Limits {
        recover_ns: ns(RECOVER),
        drain_ns: ns(DRAIN),
        ..Limits::default()
    }
}

/// One or more faults at a time, then all is whole again.
async fn phase(nemesis: &mut Nemesis, kinds: &[Kind]) -> Result<(), String> {
    let mut made: Vec<Made> = Vec::new();
    for kind in kinds {
        match nemesis.make(*kind).await {
            Ok(one) => {
                let at_s = nemesis.recorder.now() / 1_000_000_000;
                eprintln!("{at_s:>6} s  {} {}", kind.name(), one.what);
                made.push(one);
            }
            Err(why) => nemesis.wrong.push(format!("{}: {why}", kind.name())),
        }
    }
    let time = nemesis.rng.u64(FAULT_MS);
    sleep(Duration::from_millis(time)).await;
    nemesis.look_for_dead(&made)?;
    // Those that need the cluster to serve come last.
    made.sort_by_key(Made::needs_service);
    for one in made {
        if let Err(why) = nemesis.undo(one).await {
            nemesis.wrong.push(why);
        }
    }
    let at_ns = nemesis.recorder.now();
    nemesis.recorder.push(Record::Healed(Moment { at_ns }));
    sleep(CALM).await;
    let end = Instant::now() + RECOVER;
    while !nemesis.recorder.served_since(at_ns) && Instant::now() < end {
        sleep(CALM / 10).await;
    }
    nemesis.look_for_dead(&[])?;
    if let Err(why) = repair::whole(&nemesis.cluster).await {
        nemesis.wrong.push(why);
    }
    Ok(())
}

/// Adds up to two more, of those that leave enough to stand on.
fn mix(now: &mut Vec<Kind>, kinds: &[Kind], rng: &mut fastrand::Rng) {
    for _ in 0..rng.u32(0..3) {
        let Some(more) = rng.choice(kinds).copied() else {
            return;
        };
        let fits = now
            .iter()
            .all(|one| *one != more && one.goes_with(more) && more.goes_with(*one));
        if fits {
            now.push(more);
        }
    }
    // Steps of an operator are made while the others are on.
    now.sort_by_key(|kind| kind.needs_service());
}

fn holder(number: u64, seed: u64, load: &Arc<Load>) -> Holder {
    let small = number < SMALL;
    let pool = &POOLS[usize::from(small)];
    let regions = pool.regions;
    Holder {
        number,
        pool: pool.name,
        region: regions[number as usize % regions.len()],
        reports: !small && number.is_multiple_of(4),
        // Together they want about twice what there is.
        most: 4 * pool.capacity / if small { SMALL } else { 20 },
        rng: fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9).wrapping_add(number)),
        load: Arc::clone(load),
    }
}

/// While nothing is asked: every node has applied the same entries, and is in the same state.
async fn compare(nemesis: &Nemesis) -> Result<(), String> {
    let end = Instant::now() + RECOVER;
    loop {
        let mut seen = Vec::new();
        for id in nemesis.cluster.ids() {
            seen.push(state_of(&nemesis.cluster.doors, id).await);
        }
        let states: Option<Vec<Applied>> = seen.into_iter().collect();
        if let Some(mut states) = states
            && states.windows(2).all(|two| two[0].index == two[1].index)
        {
            for state in &mut states {
                state.at_ns = nemesis.recorder.now();
                nemesis.recorder.push(Record::Applied(state.clone()));
            }
            return Ok(());
        }
        if Instant::now() > end {
            return Err("without load the nodes do not come to the same entry".into());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// What a node answers of its pools and leases by itself, if its log stands still meanwhile.
async fn state_of(doors: &Doors, id: u64) -> Option<Applied> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let before = status(doors, id).await.ok()?;
    let mut budget = BudgetServiceClient::new(doors.to(id)?);
    let pools = v1::ListPoolsRequest {
        stale: true,
        ..v1::ListPoolsRequest::default()
    };
    let pools = within(budget.list_pools(request(pools))).await.ok()?;
    let leases = v1::ListLeasesRequest {
        stale: true,
        ..v1::ListLeasesRequest::default()
    };
    let leases = within(budget.list_leases(request(leases))).await.ok()?;
    let after = status(doors, id).await.ok()?;
    let mut hasher = DefaultHasher::new();
    format!("{pools:?} {leases:?}").hash(&mut hasher);
    (before.applied_index == after.applied_index).then(|| Applied {
        at_ns: 0,
        node: id,
        index: after.applied_index,
        // Of which term the entry is does not show.
        term: 0,
        hash: hasher.finish(),
    })
}

/// The faults to make, and those that can't be had, with why.
fn kinds(args: &Args, means: &Means) -> Result<(Vec<Kind>, Vec<String>), String> {
    let (mut can, mut missing) = (Vec::new(), Vec::new());
    for kind in Kind::value_variants() {
        let asked = args.faults.contains(kind);
        match kind.lacks(means) {
            Some(why) if asked => return Err(format!("{} can't be had here: {why}", kind.name())),
            Some(why) => missing.push(format!("{}: {why}", kind.name())),
            None if asked || args.faults.is_empty() => can.push(*kind),
            None => {}
        }
    }
    if !args.faults.is_empty() {
        missing.clear();
    }
    Ok((can, missing))
}

/// The directory beside the report for everything else, empty.
fn files_of(report: &Path) -> Result<PathBuf, String> {
    let mut name = report.file_stem().unwrap_or_default().to_owned();
    name.push("-files");
    let dir = std::path::absolute(report.with_file_name(name)).map_err(|e| e.to_string())?;
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_leaves_what_steps_need() {
        let mut rng = fastrand::Rng::with_seed(1);
        let kinds = Kind::value_variants();
        let mut mixed = 0;
        for _ in 0..10_000 {
            let mut now = vec![kinds[rng.usize(..kinds.len())]];
            mix(&mut now, kinds, &mut rng);
            mixed += usize::from(now.len() > 1);
            let steps = now.iter().filter(|kind| kind.needs_service()).count();
            assert!(now.len() <= 3 && steps <= 1, "{now:?}");
            if steps == 1 {
                let last = now.pop().unwrap();
                assert!(
                    last.needs_service() && !now.contains(&Kind::Split),
                    "{now:?}"
                );
            }
        }
        assert!(mixed > 2_000, "{mixed}");
    }
}
