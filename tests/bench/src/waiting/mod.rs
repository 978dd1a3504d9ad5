//! A hundred thousand people who wait at one gate: what each takes, how many can ask how they stand, how long whoever
//! is in waits for being let through, and what a flood of strangers changes of that.

mod alarm;
mod arrivals;
mod http;
mod load;
mod servers;
mod show;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use preau::parts::Failure;
use serde::Serialize;

use self::arrivals::Arrivals;
use self::http::{Connection, failed};
use self::load::{Person, Rank, Rate, Seated, Strangers, Waiting, arrive, home, queue, work};
use self::servers::Servers;
use crate::figures::Figures;
use crate::ground::{Ground, progress};
use crate::machine::busy_percent;
use crate::process::taken;
use crate::report::Report;
use crate::targets::cluster::{Cluster, pool};

/// The pool, its one region, and the cookie that follows from the pool's name.
const POOL: &str = "bench";
const REGION: &str = "region";
const COOKIE: &str = "preau-bench";
/// How long a lease is good for: the gate renews it all the time.
const TTL_S: u64 = 60;
/// How long whoever is to be in may take to be.
const SEATED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Connections on which people arrive and ask.
const CONNECTIONS: usize = 64;
/// Pause before each measurement, so that what was before is over.
const CALM: Duration = Duration::from_secs(1);
/// How many times the requests of everybody else the flood is.
const FLOOD: u32 = 50;

/// How to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// People who wait.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    people: u32,
    /// People who are in.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    seats: u32,
    /// Requests a second of those who are in.
    #[arg(long, value_name = "N", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: u32,
    /// Requests a second of those who wait, while those who are in are looked at.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    polls: u32,
    /// How long those who are in are looked at without and under the flood, in seconds: their slowest hundredth is to
    /// be of some thousands.
    #[arg(long, value_name = "S", default_value_t = 17, value_parser = clap::value_parser!(u32).range(1..=600))]
    flood_seconds: u32,
    #[command(flatten)]
    ground: crate::ground::Args,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    people: u32,
    seats: u32,
    /// Arrivals a second, two requests each.
    arrivals_per_second: f64,
    /// The gate's memory before anybody came, with all who wait, and at the end, in bytes.
    memory: [u64; 3],
    /// More of it for each who waits.
    bytes_a_person: f64,
    /// In all runs,
    runs: Vec<Run>,
    /// and what failed in them, by what it was.
    errors: BTreeMap<String, u64>,
}

/// One run: everything once.
#[derive(Debug, Clone, Serialize)]
struct Run {
    /// People who wait ask as often as they are answered.
    polls: Figures,
    /// And the gate's processor time for one, in microseconds.
    poll_cpu_us: f64,
    /// People who are in, through nginx, which asks an empty answer,
    empty: Figures,
    /// through nginx, which asks the gate,
    gated: Figures,
    /// and asked of the gate itself.
    direct: Figures,
    /// Whether that came after the flood.
    direct_last: bool,
    #[serde(flatten)]
    flood: Flood,
}

/// What a flood comes to.
#[derive(Debug, Clone, Serialize)]
struct Flood {
    /// The same as `direct`, while strangers flood,
    flooded: Figures,
    /// so much.
    flood: Figures,
    /// The gate's processor time for one of their requests, in microseconds, everybody else's counted in,
    flood_cpu_us: f64,
    /// and the load's.
    flood_load_cpu_us: f64,
    /// The whole machine's part that is busy meanwhile, the load's included, in percent.
    flood_busy_percent: f64,
}

/// Measures.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let ground = Ground::new(&args.ground.place, vec![servers::version()?])?;
    let mut report = Report::new(
        "gate",
        "A hundred thousand people at one gate",
        &ground.machine,
    );
    report.busy_before_percent.push(busy_percent().await);
    let dir = ground.dir()?;
    let mut cluster = Cluster::start(&ground.preau, dir.path(), &[]).await?;
    let slots = std::iter::once((REGION.to_owned(), args.seats.into()));
    cluster
        .configure(pool(POOL, slots, TTL_S).collect())
        .await?;
    let addresses = cluster.children.addresses();
    let mut servers = Servers::start(&ground.preau, dir.path(), &addresses).await?;
    let pid = servers.pid()?;

    let mut scene = Scene {
        seated: seat(&servers.gate, args.seats).await?,
        waiting: Vec::new(),
    };
    let before = taken(pid)?.resident;
    let began = Instant::now();
    let people = queue(&servers.gate, args.people as usize, CONNECTIONS).await?;
    let arrivals_per_second = f64::from(args.people) / began.elapsed().as_secs_f64();
    tokio::time::sleep(CALM).await;
    let with_all = taken(pid)?.resident;
    scene.waiting = Waiting::share(people, CONNECTIONS);

    let bar = progress(args.ground.runs as usize);
    bar.set_message("runs");
    let (mut runs, mut errors) = (Vec::new(), BTreeMap::new());
    for number in 0..args.ground.runs {
        let mut load = Load {
            args,
            servers: &servers,
            pid,
            scene: &mut scene,
            number,
        };
        let run = load.run().await?;
        for (what, figures) in run.all() {
            for (error, times) in &figures.errors {
                *errors.entry(format!("{what}: {error}")).or_default() += times;
            }
        }
        runs.push(run);
        servers.processes.check()?;
        cluster.children.check()?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let measured = Measured {
        people: args.people,
        seats: args.seats,
        arrivals_per_second,
        memory: [before, with_all, taken(pid)?.resident],
        bytes_a_person: with_all.saturating_sub(before) as f64 / f64::from(args.people),
        runs,
        errors,
    };
    report.keep(&measured)?;
    show::show(&measured, args, &mut report);
    report.finish(&ground.out)
}

/// Who is there.
struct Scene {
    seated: Vec<Person>,
    waiting: Vec<Waiting>,
}

/// Has people arrive until as many are in.
async fn seat(gate: &str, seats: u32) -> Result<Vec<Person>, Failure> {
    // Addresses that nobody else has.
    let from = |number: u32| home(0x00FF_0000 + number as usize);
    let mut connection = Connection::new(gate);
    let mut people: Vec<Person> = (0..seats)
        .map(|number| Person {
            from: from(number),
            token: String::new(),
        })
        .collect();
    let end = Instant::now() + SEATED_WITHIN;
    loop {
        let mut all = true;
        for person in &mut people {
            all &= arrive(&mut connection, person)
                .await
                .map_err(failed("an arrival"))?;
        }
        if all {
            return Ok(people);
        }
        if Instant::now() > end {
            return Err(Failure::operation(format!(
                "not all {seats} are in after {SEATED_WITHIN:.0?}"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What one run needs.
struct Load<'a> {
    args: &'a Args,
    servers: &'a Servers,
    /// The gate's process.
    pid: u32,
    scene: &'a mut Scene,
    /// Of the run.
    number: u32,
}

/// Whose requests are not to come when those of others do.
#[derive(Clone, Copy)]
enum Kind {
    Waiting,
    Seated,
    Strangers,
}

impl Load<'_> {
    async fn run(&mut self) -> Result<Run, Failure> {
        let (time, nginx) = (self.args.ground.time(), self.servers.nginx.as_str());
        tokio::time::sleep(CALM).await;
        let cpu = taken(self.pid)?.cpu_s;
        let waiting = std::mem::take(&mut self.scene.waiting);
        let (waiting, polls) =
            work(&self.servers.gate, waiting, Rate::Full, time, Rank::Timed).await?;
        self.scene.waiting = waiting;
        let poll_cpu_us = (taken(self.pid)?.cpu_s - cpu) * 1e6 / polls.calls.max(1) as f64;
        let empty = self.looked_at(nginx, ("/let", 200), time).await?;
        let gated = self.looked_at(nginx, ("/gated", 200), time).await?;
        // Next to each other in time, and by turns the one and the other first: what goes up or down with time is
        // not taken for the flood's.
        let direct_last = !self.number.is_multiple_of(2);
        let (direct, flood) = if direct_last {
            let flood = self.flood().await?;
            (self.direct().await?, flood)
        } else {
            (self.direct().await?, self.flood().await?)
        };
        Ok(Run {
            polls,
            poll_cpu_us,
            empty,
            gated,
            direct,
            direct_last,
            flood,
        })
    }

    async fn direct(&mut self) -> Result<Figures, Failure> {
        let time = Duration::from_secs(self.args.flood_seconds.into());
        tokio::time::sleep(CALM).await;
        let gate = self.servers.gate.as_str();
        self.looked_at(gate, ("/preau/auth", 204), time).await
    }

    /// The same amid a flood, which begins before and ends after.
    async fn flood(&mut self) -> Result<Flood, Failure> {
        let time = Duration::from_secs(self.args.flood_seconds.into());
        let rate = self.arrivals(
            FLOOD * (self.args.requests + self.args.polls),
            Kind::Strangers,
        );
        let forged = forge(&self.scene.seated);
        let strangers = (0..CONNECTIONS as u32)
            .map(|number| Strangers {
                number: 7 * number,
                forged: forged.clone(),
            })
            .collect();
        let (gate, pid) = (self.servers.gate.as_str(), self.pid);
        let flood = async {
            let both = || Ok::<_, Failure>([taken(pid)?.cpu_s, taken(std::process::id())?.cpu_s]);
            tokio::time::sleep(CALM).await;
            let before = both()?;
            let (_, flood) = work(gate, strangers, rate, time + 2 * CALM, Rank::Elsewhere).await?;
            let after = both()?;
            let for_one = |at: usize| (after[at] - before[at]) * 1e6 / flood.calls.max(1) as f64;
            let (gate_us, load_us) = (for_one(0), for_one(1));
            Ok::<_, Failure>((flood, gate_us, load_us))
        };
        let busy = async {
            tokio::time::sleep(3 * CALM).await;
            Ok::<_, Failure>(busy_percent().await)
        };
        let looked_at = async {
            // After this and its own pause the flood has run for a while, as it does at the end.
            tokio::time::sleep(CALM).await;
            self.direct().await
        };
        let ((flood, flood_cpu_us, flood_load_cpu_us), flooded, flood_busy_percent) =
            tokio::try_join!(flood, looked_at, busy)?;
        Ok(Flood {
            flooded,
            flood,
            flood_cpu_us,
            flood_load_cpu_us,
            flood_busy_percent,
        })
    }

    /// Has those who are in ask at `path`, while those who wait ask as well.
    async fn looked_at(
        &mut self,
        address: &str,
        (path, status): (&'static str, u16),
        time: Duration,
    ) -> Result<Figures, Failure> {
        let people = std::mem::take(&mut self.scene.seated).into_iter();
        let seated = people
            .map(|person| Seated {
                person,
                path,
                status,
            })
            .collect();
        let waiting = std::mem::take(&mut self.scene.waiting);
        let polls = self.arrivals(self.args.polls, Kind::Waiting);
        let requests = self.arrivals(self.args.requests, Kind::Seated);
        let (polls, seated) = tokio::try_join!(
            work(&self.servers.gate, waiting, polls, time, Rank::Elsewhere),
            work(address, seated, requests, time, Rank::Timed),
        )?;
        self.scene.waiting = polls.0;
        self.scene.seated = seated.0.into_iter().map(|seated| seated.person).collect();
        Ok(seated.1)
    }

    /// The same in all of a run, so that what is compared was asked at the same times; others in each run.
    fn arrivals(&self, rate: u32, kind: Kind) -> Rate {
        let seed = u64::from(self.number) << 8 | kind as u64;
        Rate::Each(Arrivals { rate, seed })
    }
}

/// A cookie as of somebody who is in, by another key.
fn forge(seated: &[Person]) -> String {
    let token = seated
        .first()
        .map(|person| person.token.clone())
        .unwrap_or_default();
    // Its end is the signature's.
    let kept = token.len().saturating_sub(4);
    format!("{COOKIE}={}AAAA", &token[..kept])
}

impl Run {
    fn all(&self) -> [(&'static str, &Figures); 6] {
        [
            ("polls", &self.polls),
            ("let through by an empty answer, by nginx", &self.empty),
            ("let through by the gate, by nginx", &self.gated),
            ("let through by the gate", &self.direct),
            ("let through under flood", &self.flood.flooded),
            ("the flood", &self.flood.flood),
        ]
    }
}
