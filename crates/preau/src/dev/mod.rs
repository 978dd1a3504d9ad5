//! `preau dev`: a whole cluster in one process, with the morning's load on it.

mod front_end;
mod looks;
mod morning;
mod portal;
mod screen;
mod view;

use std::time::{Duration, Instant};

use api::v1;
use client::queue::Accuracy;
use client::{Holder, Nodes};

use crate::bench::code_name;
use crate::budget::Budget;
use crate::cluster;
use crate::failure::Failure;
use crate::local::embedded::Embedded;
use crate::local::{FIRST_PORT, Home, Ports};
use crate::output::{Output, print_line};
use crate::signals::Signals;

use front_end::{Books, Counts, FrontEnd};
use looks::{Look, Looks};
use morning::{Assumed, Pupils};
use portal::Portal;
use screen::Screen;
use view::{Class, Region, Summary};

/// The budget that is loaded where no other file is given.
const FRANCE: &str = include_str!("../../../../deploy/france.toml");
/// How much smaller than life the load is where nothing else is said: 12,000 pupils, 4,000 sessions.
const SCALE: u64 = 1_000;
/// The load's clock ticks this often.
const TICK: Duration = Duration::from_millis(10);
/// How often the table is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// Front-ends report this often, for their time is short.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Most people before the demonstration portal.
const MAX_CROWD: usize = 10_000;
/// How long a call that prepares the load may take.
const PREPARE_WITHIN: Duration = Duration::from_secs(10);

/// Run a whole cluster here, with the load of a morning on it.
///
/// Three nodes in one process, each with its own disk and real connections to the others; a budget for
/// France; and one front-end for each region, at which the 12 million pupils of the morning of 6 April 2021
/// arrive, scaled down and speeded up. The curve of their arrivals, their classes and the length of their
/// sessions are assumed; --output json states how. What the rules say in seconds passes as much faster, and
/// the calendar stays out of it: the morning's clock is its own.
///
/// Beside them stands a small portal for demonstration, with a waiting room before it, in real time: open its address in
/// a browser. --crowd sends that many people before you.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau dev
  preau dev --crowd 300
  preau dev --seconds 10 --output json
  preau dev --no-load --data ./cluster     then, in another shell: preau status")]
pub struct Args {
    /// End after this long, with a summary. Without it, Ctrl-C ends the run.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: Option<u32>,
    /// Start no front-ends: an idle cluster for other shells.
    #[arg(long)]
    no_load: bool,
    /// Simulated people who come to the demonstration portal before you do: you wait, and get in.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "no_load", value_parser = crowd_size)]
    crowd: usize,
    /// The budget to load, instead of France's.
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    /// Divide the budget and the pupils by this. 1,000 where nothing is said, and 1 with --no-load.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    scale: Option<u64>,
    /// Seconds of the morning that pass in one.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    speed: u64,
    /// What chance begins with: the same seed brings the same pupils at the same times.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep the nodes' data here; a cluster that is there goes on.
    #[arg(long, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
    /// The first node's port; the others take the next two; 0 for any that are free. 4501 where nothing is
    /// said, and any where that is taken.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

pub async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let scale = args.scale.unwrap_or(if args.no_load { 1 } else { SCALE });
    let mut budget = scaled(args.budget()?, scale);
    if !args.no_load {
        hasten(&mut budget, args.speed);
    }
    let ports = match args.port {
        None => Ports::RatherFrom(FIRST_PORT),
        Some(0) => Ports::Free,
        Some(port) => Ports::From(port),
    };
    let load = match args.no_load {
        true => None,
        false => Some(Load::new(args, scale, &budget)?),
    };
    let mut signals = Signals::new()?;
    let home = Home::new(args.data.as_deref(), ports)?;
    let cluster = tokio::select! {
        cluster = Embedded::start(home) => cluster?,
        name = signals.next() => return Err(Failure::operation(format!("ended by {name}"))),
    };
    let end = args.end(&mut signals);
    let outcome = tokio::select! {
        outcome = work(load, budget, &cluster, output, end) => outcome,
        stopped = cluster.stopped() => Err(stopped),
    };
    cluster.shutdown().await;
    outcome
}

impl Args {
    fn budget(&self) -> Result<Budget, Failure> {
        match &self.file {
            Some(path) => Budget::read(path),
            None => Budget::parse(FRANCE)
                .map_err(|why| Failure::operation(format!("France's own budget: {why}"))),
        }
    }

    /// Resolves when the run is to end.
    async fn end(&self, signals: &mut Signals) {
        let over = async {
            match self.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => {}
            _ = signals.next() => {}
        }
    }
}

/// As many people as one machine can play without playing nothing else.
fn crowd_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| *size <= MAX_CROWD);
    size.ok_or_else(|| format!("expected 0 to {MAX_CROWD}"))
}

/// Loads the budget, and lets the load run until `end`.
async fn work(
    load: Option<Load>,
    budget: Budget,
    cluster: &Embedded,
    output: Output,
    end: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let addresses = cluster.addresses();
    let nodes = Nodes::new(&addresses).map_err(|e| Failure::operation(e.to_string()))?;
    configure(&nodes, budget.changes()).await?;
    match load {
        Some(mut load) => {
            let portal = Portal::start(&nodes, &addresses, load.crowd).await?;
            load.summary.portal = portal.address();
            eprintln!(
                "a portal, with a waiting room before it: {}",
                portal.address()
            );
            let outcome = load.run(addresses, nodes, output, end).await;
            portal.shutdown().await;
            outcome
        }
        None => {
            print_line(&format!("export PREAU_NODES={}", addresses.join(",")))?;
            eprintln!("the cluster is ready, and idle; Ctrl-C ends it");
            end.await;
            Ok(())
        }
    }
}

async fn configure(nodes: &Nodes, changes: Vec<v1::Change>) -> Result<(), Failure> {
    let request = v1::ConfigureRequest {
        changes,
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

/// The budget divided by `scale`: no nominal is rounded up, so that they still fit into the capacity.
fn scaled(mut budget: Budget, scale: u64) -> Budget {
    for pool in &mut budget.pools {
        pool.capacity /= scale;
        for region in &mut pool.regions {
            region.terms.nominal /= scale;
            region.terms.ceiling = region.terms.ceiling.map(|most| most.div_ceil(scale));
            region.floor /= scale;
            region
                .holders
                .values_mut()
                .for_each(|floor| *floor /= scale);
            region.holders.retain(|_, floor| *floor > 0);
        }
    }
    budget
}

/// Makes the rules' seconds pass as fast as the morning's, and leaves out what goes by the wall clock.
fn hasten(budget: &mut Budget, speed: u64) {
    let speed = u32::try_from(speed).unwrap_or(u32::MAX);
    for pool in &mut budget.pools {
        pool.calendar.clear();
        let limit = |seconds: Option<u32>| seconds.map(|seconds| (seconds / speed).max(1));
        pool.rules.overtake_s = limit(pool.rules.overtake_s);
        if let Some(session) = &mut pool.rules.session {
            session.limit_s = limit(session.limit_s);
            session.idle_s = limit(session.idle_s);
            session.when_waiting_s = limit(session.when_waiting_s);
            session.notice_s /= speed;
            session.least_s /= speed;
        }
    }
}

/// The load: who comes, and what is known of it so far.
struct Load {
    assumed: Assumed,
    rng: fastrand::Rng,
    pupils: Vec<Pupils>,
    /// People before the demonstration portal.
    crowd: usize,
    /// Each class, and the part of the users that is up to it and those before it.
    classes: Vec<(String, f64)>,
    summary: Summary,
}

impl Load {
    /// The pupils of the regions of the first pool.
    fn new(args: &Args, scale: u64, budget: &Budget) -> Result<Self, Failure> {
        let Some(pool) = budget.pools.first().filter(|pool| !pool.regions.is_empty()) else {
            return Err(Failure::usage(
                "the file's first pool has no region; expected at least one, for the load's front-ends",
            ));
        };
        let names: Vec<String> = pool.regions.iter().map(|r| r.name.clone()).collect();
        let assumed = Assumed::default();
        let regions = names.iter().map(|name| Region {
            region: name.clone(),
            ..Region::default()
        });
        let classes: Vec<String> = pool.rules.classes.iter().map(|c| c.name.clone()).collect();
        let rows = classes.iter().map(|name| Class {
            class: name.clone(),
            ..Class::default()
        });
        Ok(Self {
            assumed,
            rng: fastrand::Rng::with_seed(args.seed),
            pupils: morning::pupils(&names, scale, &assumed)?,
            crowd: args.crowd,
            classes: assumed.classes(&classes),
            summary: Summary {
                pool: pool.name.clone(),
                scale,
                speed: args.speed,
                seed: args.seed,
                assumed,
                capacity: pool.capacity,
                regions: regions.collect(),
                classes: rows.collect(),
                ..Summary::default()
            },
        })
    }

    /// Runs until `end`, and says what came of it.
    async fn run(
        mut self,
        addresses: Vec<String>,
        nodes: Nodes,
        output: Output,
        end: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let mut front_ends = self.open(&nodes).await?;
        let mut looks = Looks::start(&addresses, nodes, self.summary.pool.clone())?;
        self.summary.nodes = addresses;
        let screen = Screen::new(output);
        let mut books = Books::default();
        books.allow(self.summary.capacity, 0);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut draw = tokio::time::interval_at((Instant::now() + DRAW_EVERY).into(), DRAW_EVERY);
        let started = Instant::now();
        let mut drawn = started;
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                _ = tick.tick() => {
                    let now_s = started.elapsed().as_secs_f64() * self.summary.speed as f64;
                    for front_end in &mut front_ends {
                        front_end.step(now_s, &mut books);
                    }
                    self.note_peaks(&front_ends, &books);
                }
                Some(look) = looks.next() => self.note(look, &front_ends, &mut books),
                _ = draw.tick() => {
                    self.count(&front_ends, drawn.elapsed());
                    drawn = Instant::now();
                    self.summary.seconds = seconds(started);
                    screen.draw(&self.summary)?;
                }
            }
        }
        self.count(&front_ends, drawn.elapsed());
        self.summary.seconds = seconds(started);
        self.summary.average();
        drop(screen);
        front_end::close(front_ends).await;
        output.show(&self.summary, Summary::table)
    }

    /// Opens the front-ends.
    async fn open(&mut self, nodes: &Nodes) -> Result<Vec<FrontEnd>, Failure> {
        let mut front_ends = Vec::with_capacity(self.pupils.len());
        for (region, pupils) in self.summary.regions.iter().zip(&self.pupils) {
            let region = &region.region;
            let door = Holder::on(Ok(nodes.clone()))
                .pool(&self.summary.pool)
                .region(region)
                .name(format!("portal-{region}"))
                .reserve(1)
                .report_every(REPORT_EVERY)
                .front_end()
                .await
                .map_err(|e| Failure::operation(format!("front-end of {region}: {e}")))?;
            let rng = self.rng.fork();
            let front_end = FrontEnd::new(door, &self.classes, pupils.clone(), self.assumed, rng);
            front_ends.push(front_end);
        }
        Ok(front_ends)
    }

    /// Takes a look in.
    fn note(&mut self, look: Look, front_ends: &[FrontEnd], books: &mut Books) {
        let summary = &mut self.summary;
        summary.leader = look.leader;
        summary.leader_changes = look.leader_changes;
        summary.entries = look.entries;
        summary.unconnected += front_ends
            .iter()
            .filter(|f| !f.status().lease.connected)
            .count() as u64;
        let seen = match look.seen {
            Ok(seen) => seen,
            Err(status) => {
                *summary.errors.entry(code_name(status.code())).or_default() += 1;
                return;
            }
        };
        let Some(pool) = seen.pool else {
            return;
        };
        books.allow(pool.capacity, pool.over_by);
        summary.capacity = pool.capacity;
        summary.held = pool.held;
        summary.peak_held = summary.peak_held.max(pool.held);
        for region in &mut summary.regions {
            if let Some(status) = seen.regions.iter().find(|s| s.name == region.region) {
                region.look(status, pool.capacity);
            }
        }
        summary.add_up();
    }

    /// Takes in what the front-ends have counted since the last time.
    fn count(&mut self, front_ends: &[FrontEnd], since: Duration) {
        let seconds = since.as_secs_f64();
        for (region, front_end) in self.summary.regions.iter_mut().zip(front_ends) {
            region.count(front_end, seconds);
        }
        for (at, class) in self.summary.classes.iter_mut().enumerate() {
            let counts: Vec<Counts> = front_ends.iter().map(|f| f.counts()[at]).collect();
            class.count(&counts, seconds);
        }
        let Accuracy {
            told,
            within_p50,
            within_p90,
            ..
        } = front_end::accuracy(front_ends);
        (self.summary.told, self.summary.within_p50) = (told, within_p50);
        self.summary.within_p90 = within_p90;
        self.summary.add_up();
    }

    fn note_peaks(&mut self, front_ends: &[FrontEnd], books: &Books) {
        let counts = front_ends.iter().flat_map(|f| f.counts());
        let waiting = counts.map(|counts| counts.waiting).sum();
        self.summary.peak_waiting = self.summary.peak_waiting.max(waiting);
        self.summary.in_use = books.in_use;
        self.summary.peak_in_use = books.peak_in_use;
        self.summary.over_budget = books.over_budget;
    }
}

/// Seconds since then, to the millisecond.
fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn france_fits_at_every_scale() {
        for scale in [1, 7, 1_000, 100_000] {
            let budget = scaled(Budget::parse(FRANCE).unwrap(), scale);
            let pool = &budget.pools[0];
            assert_eq!(pool.capacity, 4_000_000 / scale);
            let set = pool.regions.iter().map(|r| r.terms.nominal + r.floors());
            assert!(set.sum::<u64>() <= pool.capacity);
        }
    }
}
