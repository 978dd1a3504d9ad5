//! Préau beside others that share something out: the same load on each, in turns.

use std::time::Duration;

use indicatif::ProgressBar;
use preau::parts::Failure;

use crate::figures::{Figures, Rows, ratio};
use crate::ground::{self, Ground, progress};
use crate::load::{Bounds, Client, Phase, give_back, phase};
use crate::machine::busy_percent;
use crate::report::{Goal, Report};
use crate::targets::etcd::{self, Etcd};
use crate::targets::nodes::{FLAGS, Nodes};
use crate::targets::semaphore::{self, Fsync, Redis};
use crate::targets::{BATCH, version};

/// Clients that take leases so long before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// Leases that clients take in all at most, before that and then: a cluster of Préau has room for 1,000,000.
const WARM_UP_LEASES: u64 = 100_000;
const MOST_LEASES: u64 = 800_000;

const ETCD: &str = "etcd";
const PREAU: &str = "Préau";
const STREAMS: &str = "Préau, streams";
const BATCHES: &str = "Préau, 64 a call";
/// At how many clients it is compared.
const COMPARED: usize = 256;

/// How to compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ground: ground::Args,
    /// Clients at a time, comma separated: each takes, keeps and gives back one lease a call.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,64,256,1024", value_parser = clients())]
    clients: Vec<u64>,
    /// Clients that do so by streams of Préau, each of which up to 64 of them share.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "64,256,1024", value_parser = clients())]
    stream_clients: Vec<u64>,
    /// Clients that do so with 64 leases a call, on Préau and Redis.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "16,256", value_parser = clients())]
    batch_clients: Vec<u64>,
}

fn clients() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=2_048)
}

/// A run under way.
struct Run<'a> {
    args: &'a Args,
    ground: &'a Ground,
    rows: &'a mut Rows,
    bar: &'a ProgressBar,
}

/// What Préau is measured beside.
#[derive(Clone, Copy)]
enum Other {
    Etcd,
    Redis(Fsync),
}

/// A way to make requests of Préau.
#[derive(Clone, Copy)]
enum Way {
    Calls,
    Streams,
    Batches,
}

/// Has the others and then Préau take turns, as often as there are runs.
async fn take_turns(
    args: &Args,
    ground: &Ground,
    report: &mut Report,
    others: &[Other],
) -> Result<(), Failure> {
    let bar = progress(args.steps(others));
    for _ in 0..args.ground.runs {
        report.busy_before_percent.push(busy_percent().await);
        let mut run = Run {
            args,
            ground,
            rows: &mut report.rows,
            bar: &bar,
        };
        for &other in others {
            match other {
                Other::Etcd => run.on_etcd().await?,
                Other::Redis(sync) => {
                    run.on_redis(sync, false).await?;
                    run.on_redis(sync, true).await?;
                }
            }
        }
        for way in [Way::Calls, Way::Streams, Way::Batches] {
            run.on_nodes(way).await?;
        }
    }
    bar.finish_and_clear();
    report.notes = args.notes();
    Ok(())
}

/// Beside three members of etcd.
pub async fn etcd(args: &Args) -> Result<(), Failure> {
    let ground = Ground::new(
        &args.ground.place,
        vec![version(etcd::PROGRAM, etcd::PACKAGE)?],
    )?;
    let mut report = Report::new("beside-etcd", "Préau beside etcd", &ground.machine);
    take_turns(args, &ground, &mut report, &[Other::Etcd]).await?;
    report.goals = goals_beside_etcd(&report.rows);
    report.notes.push(
        "etcd keeps its keepalives in its leader's memory: none is replicated or synced, and after a change of \
         leader every lease has its full time again. Each of Préau's keepalives is a command in the log, on the \
         disks of a majority before it is answered. Grants and revokes are that in both."
            .into(),
    );
    report.notes.push(
        "etcd's members have every default but a larger --quota-backend-bytes, and clients call its leader.".into(),
    );
    report.finish(&ground.out)
}

/// Beside one Redis.
pub async fn redis(args: &Args) -> Result<(), Failure> {
    let installed = version(semaphore::PROGRAM, semaphore::PACKAGE)?;
    let ground = Ground::new(&args.ground.place, vec![installed])?;
    let mut report = Report::new("beside-redis", "Préau beside Redis", &ground.machine);
    let others = Fsync::ALL.map(Other::Redis);
    take_turns(args, &ground, &mut report, &others).await?;
    report.goals = goals_beside_redis(&report.rows, args);
    report.notes.push(
        "Redis is one process on one disk: what it has is gone with that, and nothing takes over. With \
         appendfsync always it syncs before it answers, with everysec up to a second of answers is lost in a \
         power cut. A grant is a Lua script that takes out those whose time is over and adds one where the \
         sorted set has room. Préau's grants are on the disks of two of three nodes."
            .into(),
    );
    report.finish(&ground.out)
}

impl Args {
    /// What is measured in all, beside those others.
    fn steps(&self, others: &[Other]) -> usize {
        let (one_by_one, batches) = (self.clients.len(), self.batch_clients.len());
        let of = |other: &Other| match other {
            Other::Etcd => one_by_one,
            Other::Redis(_) => one_by_one + batches,
        };
        let of_others: usize = others.iter().map(of).sum();
        let of_ours = one_by_one + self.stream_clients.len() + batches;
        (of_others + of_ours) * Phase::ALL.len() * self.ground.runs as usize
    }

    fn notes(&self) -> Vec<String> {
        vec![
            format!(
                "Each client makes one call, waits for its answer, and makes the next: grants of new leases for \
                 {0} s after {1} s that are not counted (or up to {MOST_LEASES} leases), keepalives of those for \
                 {0} s, revokes for {0} s or until the first client has none left. Targets take turns within \
                 each of the {2} runs, each time with new processes and empty disks.",
                self.ground.time().as_secs(),
                WARM_UP.as_secs(),
                self.ground.runs,
            ),
            format!(
                "One process makes the load for all, with as many threads as there are cores, over the same \
                 number of connections: one for every 64 clients, up to 16. Streams of Préau are one Hold for each \
                 connection: all clients of the connection share it, each with one request for one lease on its way \
                 at a time. {BATCH} a call is a LeaseBatch of as many requests, each for a lease of a holder of its \
                 own; with Redis it is a pipeline of as many commands.",
            ),
            "Préau's nodes have every default but the requests that they take on at a time, and clients call \
             their leader. Nothing is encrypted anywhere."
                .into(),
        ]
    }
}

impl Run<'_> {
    async fn on_etcd(&mut self) -> Result<(), Failure> {
        let dir = self.ground.dir()?;
        let Etcd {
            mut processes,
            door,
        } = Etcd::start(dir.path()).await?;
        let load = self.load((ETCD, 1), &self.args.clients, async |n| {
            door.clients(n).await
        });
        tokio::select! {
            loaded = load => loaded,
            failure = processes.ended() => Err(failure),
        }
    }

    async fn on_redis(&mut self, sync: Fsync, pipelines: bool) -> Result<(), Failure> {
        let dir = self.ground.dir()?;
        let Redis {
            mut processes,
            mut door,
        } = Redis::start(dir.path(), sync).await?;
        let args = self.args;
        let load = async {
            if pipelines {
                let clients = async |n| door.pipeliners(n).await;
                let target = (sync.pipelined(), BATCH);
                self.load(target, &args.batch_clients, clients).await
            } else {
                let clients = async |n| door.clients(n).await;
                self.load((sync.target(), 1), &args.clients, clients).await
            }
        };
        tokio::select! {
            loaded = load => loaded,
            failure = processes.ended() => Err(failure),
        }
    }

    async fn on_nodes(&mut self, way: Way) -> Result<(), Failure> {
        let dir = self.ground.dir()?;
        let nodes = Nodes::start(&self.ground.preau, dir.path(), &FLAGS);
        let Nodes { mut cluster, door } = nodes.await?;
        let args = self.args;
        let load = async {
            match way {
                Way::Calls => {
                    let clients = async |n| door.callers(n).await;
                    self.load((PREAU, 1), &args.clients, clients).await
                }
                Way::Streams => {
                    let clients = async |n| door.streamers(n).await;
                    self.load((STREAMS, 1), &args.stream_clients, clients).await
                }
                Way::Batches => {
                    let clients = async |n| door.batchers(n).await;
                    let target = (BATCHES, BATCH);
                    self.load(target, &args.batch_clients, clients).await
                }
            }
        };
        tokio::select! {
            loaded = load => loaded,
            failure = cluster.children.ended() => Err(failure),
        }
    }

    /// All phases, with each number of clients.
    async fn load<C: Client>(
        &mut self,
        target: (&str, usize),
        clients: &[u64],
        mut make: impl AsyncFnMut(usize) -> Result<Vec<C>, Failure>,
    ) -> Result<(), Failure> {
        let time = self.args.ground.time();
        for count in clients.iter().map(|n| *n as usize) {
            let warm_up = Bounds {
                time: WARM_UP,
                leases: WARM_UP_LEASES,
            };
            let (mut all, _) = phase(make(count).await?, Phase::Grant, warm_up).await?;
            for what in Phase::ALL {
                let (name, _) = target;
                let said = format!("{name}, {count} clients, {}", what.name());
                self.bar.set_message(said.clone());
                let leases = match what {
                    Phase::Grant => MOST_LEASES,
                    Phase::Keep | Phase::Revoke => u64::MAX,
                };
                let figures: Figures;
                (all, figures) = phase(all, what, Bounds { time, leases }).await?;
                if figures.calls == 0 {
                    let why = figures.errors.keys().next();
                    let why = why.map_or("no answer", String::as_str);
                    return Err(Failure::operation(format!("{said}: {why}")));
                }
                self.rows.add(target, what.name(), count, figures);
                self.bar.inc(1);
            }
            give_back(all, time * 3).await;
        }
        Ok(())
    }
}

/// What must be reached where three nodes, the load and all syncs share two cores.
fn goals_beside_etcd(rows: &Rows) -> Vec<Goal> {
    let grants = Phase::Grant.name();
    let find = |target| rows.find(target, grants, COMPARED);
    let Some(etcd) = find(ETCD) else {
        return Vec::new();
    };
    let per_second = |run: &Figures| run.per_second;
    let p99 = |run: &Figures| run.p99_us as f64;
    let ours = find(PREAU);
    let goals = [
        Goal::at_least(
            5.0,
            format!("grants/s of {COMPARED} clients, to etcd's"),
            ours.and_then(|ours| ratio(ours, etcd, per_second)),
        ),
        Goal::at_most(
            1.0,
            "p99 of those, to etcd's".into(),
            ours.and_then(|ours| ratio(ours, etcd, p99)),
        ),
        Goal::at_least(
            50.0,
            format!("grants/s of {COMPARED} clients in batches of {BATCH}, to etcd's one a call"),
            find(BATCHES).and_then(|ours| ratio(ours, etcd, per_second)),
        ),
    ];
    goals.into_iter().flatten().collect()
}

/// As much as Redis that syncs always, by each way: one lease a message on connections that are shared, many a message,
/// and one a call.
fn goals_beside_redis(rows: &Rows, args: &Args) -> Vec<Goal> {
    let always = Fsync::Always;
    let ways = [
        (STREAMS, always.target(), &args.stream_clients),
        (BATCHES, always.pipelined(), &args.batch_clients),
        (PREAU, always.target(), &args.clients),
    ];
    let mut goals = Vec::new();
    for (ours, theirs, clients) in ways {
        for clients in clients.iter().map(|n| *n as usize) {
            for what in Phase::ALL {
                let find = |target| rows.find(target, what.name(), clients);
                let compared = find(ours)
                    .zip(find(theirs))
                    .and_then(|(ours, theirs)| ratio(ours, theirs, |run| run.per_second));
                let what = what.name();
                let said = format!("{what}/s of {clients} clients, \"{ours}\" to \"{theirs}\"");
                goals.extend(Goal::at_least(1.0, said, compared));
            }
        }
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::figures;

    #[test]
    fn goals_are_held_against_what_was_measured() {
        let mut rows = Rows::default();
        rows.add((ETCD, 1), "grants", COMPARED, figures(100, 1.0));
        assert_eq!(goals_beside_etcd(&rows).len(), 0);
        rows.add((PREAU, 1), "grants", COMPARED, figures(600, 1.0));
        rows.add((BATCHES, BATCH), "grants", COMPARED, figures(4_000, 1.0));
        let met: Vec<bool> = goals_beside_etcd(&rows)
            .iter()
            .map(|goal| goal.met)
            .collect();
        assert_eq!(met, [true, false, false]);
    }

    #[test]
    fn each_way_is_held_against_the_same_way_of_redis() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let words = "redis --clients 1,256 --stream-clients 256 --batch-clients 16";
        let Line { args } = clap::Parser::parse_from(words.split(' '));
        let mut rows = Rows::default();
        for (target, batch, clients, calls) in [
            (Fsync::Always.target(), 1, 256, 200),
            (Fsync::Always.pipelined(), BATCH, 16, 300),
            (PREAU, 1, 256, 100),
            (STREAMS, 1, 256, 400),
            (BATCHES, BATCH, 16, 300),
        ] {
            rows.add((target, batch), "grants", clients, figures(calls, 1.0));
        }
        let goals = goals_beside_redis(&rows, &args);
        let reached: Vec<f64> = goals.iter().map(|goal| goal.reached.median).collect();
        assert_eq!(reached, [2.0, 1.0, 0.5]);
    }
}
