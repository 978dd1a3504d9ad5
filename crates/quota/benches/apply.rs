//! What the rules cost: nanoseconds for each command, by how many holders there are; the sharing rounds;
//! and snapshots. `cargo bench -p quota` prints the medians of several runs.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::{Duration, Instant};

use quota::{
    Batch, Bucket, Change, Class, Command, Configure, LeaseId, Renew, Reply, Report, Return, Rules,
    SetPool, SetRegion, State, Take,
};

/// Pools, and regions of each.
type Shape = (usize, usize);
const COUNTRY: Shape = (100, 10);
const ONE_REGION: Shape = (1, 1);
/// A country's regions in one pool.
const MORNING: Shape = (1, 18);
/// Commands of one batch, as a node groups them.
const GROUP: usize = 64;
const RUNS: usize = 9;

/// Numbers that look random and are always the same (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn set_pool(name: &str, capacity: u64) -> Change {
    Change::SetPool(SetPool {
        name: name.into(),
        capacity,
        ttl_ms: Some(3_600_000),
        drift_ppm: None,
    })
}

fn set_region(pool: &str, name: &str) -> Change {
    Change::SetRegion(SetRegion {
        pool: pool.into(),
        name: name.into(),
        nominal: 0,
        ceiling: None,
        weight: 1,
    })
}

fn apply(state: &mut State, time_ms: u64, commands: Vec<Command>) -> Vec<quota::Outcome> {
    state.apply(&Batch { time_ms, commands })
}

fn configure(state: &mut State, id: &str, changes: Vec<Change>) {
    for (i, part) in changes.chunks(5_000).enumerate() {
        let configure = Configure {
            request_id: format!("{id}-{i}"),
            expected_revision: None,
            changes: part.to_vec(),
        };
        let now_ms = state.now_ms();
        apply(state, now_ms, vec![Command::Configure(configure)])
            .remove(0)
            .unwrap();
    }
}

/// A state with so many holders, each with a lease.
struct Country {
    shape: Shape,
    state: State,
    leases: Vec<(LeaseId, u64)>,
    numbers: Numbers,
    seq: u64,
}

impl Country {
    /// With `capacity` slots for each holder; each wants 1 to 200.
    fn new(shape: Shape, holders: usize, capacity: u64) -> Self {
        let (pools, regions) = shape;
        let mut state = State::default();
        let mut changes = Vec::new();
        for pool in 0..pools {
            let name = format!("pool-{pool}");
            let share = capacity * holders as u64 / pools as u64;
            changes.push(set_pool(&name, share));
            changes.extend((0..regions).map(|r| set_region(&name, &format!("region-{r}"))));
        }
        configure(&mut state, "start", changes);
        let mut numbers = Numbers(7);
        let mut leases = Vec::new();
        for i in 0..holders {
            let take = take(shape, i, 1, 1 + numbers.below(200));
            match apply(&mut state, i as u64 / 100, vec![take]).remove(0) {
                Ok(Reply::Grant(grant)) => leases.push((grant.lease, grant.slots)),
                other => unreachable!("{other:?}"),
            }
        }
        Self {
            shape,
            state,
            leases,
            numbers,
            seq: 1,
        }
    }

    /// Nanoseconds for each renewal of random holders, which all want something else than before.
    fn renew(&mut self, commands: usize) -> f64 {
        let mut took = Duration::ZERO;
        for _ in 0..commands / GROUP {
            self.seq += 1;
            let seq = self.seq;
            let which: Vec<usize> = (0..GROUP)
                .map(|_| self.numbers.below(self.leases.len() as u64) as usize)
                .collect();
            let renewals = which.iter().map(|&i| {
                let (lease, kept) = self.leases[i];
                let wanted = 1 + self.numbers.below(200);
                Command::Renew(Renew {
                    lease,
                    seq,
                    kept: kept.min(wanted),
                    wanted,
                })
            });
            let commands = renewals.collect();
            let time_ms = self.state.now_ms() + 1;
            let batch = Batch { time_ms, commands };
            let start = Instant::now();
            let outcomes = self.state.apply(&batch);
            took += start.elapsed();
            for (i, outcome) in which.into_iter().zip(outcomes) {
                if let Ok(Reply::Grant(grant)) = outcome {
                    self.leases[i].1 = grant.slots;
                }
            }
        }
        took.as_nanos() as f64 / commands as f64
    }

    /// Nanoseconds for each return and the take that follows it.
    fn turn_over(&mut self, commands: usize) -> f64 {
        let mut took = Duration::ZERO;
        for _ in 0..commands / GROUP {
            self.seq += 2;
            let seq = self.seq;
            let which: std::collections::BTreeSet<usize> = (0..GROUP / 2)
                .map(|_| self.numbers.below(self.leases.len() as u64) as usize)
                .collect();
            let commands = which.iter().flat_map(|&i| {
                let lease = self.leases[i].0;
                let give = Command::Return(Return { lease, seq });
                [
                    give,
                    take(self.shape, i, seq + 1, 1 + self.numbers.below(200)),
                ]
            });
            let commands = commands.collect();
            let time_ms = self.state.now_ms() + 1;
            let batch = Batch { time_ms, commands };
            let start = Instant::now();
            let outcomes = self.state.apply(&batch);
            took += start.elapsed();
            let grants = outcomes.into_iter().filter_map(|outcome| match outcome {
                Ok(Reply::Grant(grant)) => Some(grant),
                _ => None,
            });
            for (i, grant) in which.into_iter().zip(grants) {
                self.leases[i] = (grant.lease, grant.slots);
            }
        }
        took.as_nanos() as f64 / commands as f64
    }
}

fn take((pools, regions): Shape, holder: usize, seq: u64, wanted: u64) -> Command {
    let (pool, region) = (holder % pools, holder / pools % regions);
    Command::Take(Take {
        pool: format!("pool-{pool}"),
        region: format!("region-{region}"),
        holder: format!("front-end-{holder}"),
        epoch: 1,
        seq,
        wanted,
    })
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn timed(mut run: impl FnMut()) -> f64 {
    let runs = (0..RUNS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos() as f64
    });
    median(runs.collect())
}

fn commands(what: &str, shape: Shape) {
    println!("\nnanoseconds a command, in batches of {GROUP}: {what}\n");
    println!("   holders   renew (idle)   renew (contended)   return + take");
    for holders in [1_000, 10_000, 100_000] {
        let run = |capacity, what: fn(&mut Country, usize) -> f64| {
            let mut country = Country::new(shape, holders, capacity);
            what(&mut country, 20_000);
            median((0..RUNS).map(|_| what(&mut country, 20_000)).collect())
        };
        let (idle, contended) = (run(300, Country::renew), run(60, Country::renew));
        let turn = run(60, Country::turn_over);
        println!("{holders:>10}   {idle:>12.0}   {contended:>17.0}   {turn:>13.0}");
    }
}

/// Front-ends that report once a second, each with so many buckets of people who wait.
struct Morning {
    state: State,
    leases: Vec<(LeaseId, u64)>,
    buckets: u32,
    second: u32,
}

impl Morning {
    fn new((pools, regions): Shape, holders: usize, buckets: u32) -> Self {
        let mut state = State::default();
        let mut changes = Vec::new();
        for pool in 0..pools {
            let name = format!("pool-{pool}");
            changes.push(set_pool(&name, 60 * holders as u64 / pools as u64));
            changes.extend((0..regions).map(|r| set_region(&name, &format!("region-{r}"))));
            let class = |name: &str, weight, first| Class {
                name: name.into(),
                weight,
                first,
            };
            let rules = Rules {
                classes: vec![
                    class("teachers", 1, true),
                    class("exams", 3, false),
                    class("everyone", 1, false),
                ],
                ..Rules::default()
            };
            changes.push(Change::SetRules { pool: name, rules });
        }
        configure(&mut state, "start", changes);
        let second = 1_000;
        let time_ms = u64::from(second) * 1_000;
        let leases = (0..holders).map(|i| {
            let take = take((pools, regions), i, 1, 0);
            match apply(&mut state, time_ms, vec![take]).remove(0) {
                Ok(Reply::Grant(grant)) => (grant.lease, 0),
                other => unreachable!("{other:?}"),
            }
        });
        let leases = leases.collect();
        Self {
            state,
            leases,
            buckets,
            second,
        }
    }

    /// Nanoseconds for each report of all holders in turn, in one second.
    fn second(&mut self) -> f64 {
        let mut took = Duration::ZERO;
        self.second += 1;
        let buckets = self.buckets;
        for (group, holders) in self.leases.chunks_mut(GROUP).enumerate() {
            let newest = self.second;
            let commands = holders.iter().map(|&(lease, slots)| {
                // A twentieth of the sessions has ended; the oldest bucket has gone, and a new one come.
                let in_use = slots - slots / 20;
                let bucket = |i| Bucket {
                    class: u8::from(i >= buckets / 8) + u8::from(i >= buckets / 4),
                    second: newest - buckets + i,
                    users: 3,
                };
                Command::ReportV2(Report {
                    lease,
                    seq: u64::from(newest),
                    kept: in_use,
                    in_use,
                    spare: 2,
                    waiting: (0..buckets).map(bucket).collect(),
                    exact_until_s: newest,
                    left: slots / 20,
                    floor: 0,
                    claims: Vec::new(),
                    released: Vec::new(),
                    refused: Vec::new(),
                })
            });
            let commands = commands.collect();
            let share = group * GROUP * 1_000 / 100_000;
            let time_ms = u64::from(newest) * 1_000 + share as u64;
            let batch = Batch { time_ms, commands };
            let start = Instant::now();
            let outcomes = self.state.apply(&batch);
            took += start.elapsed();
            for ((_, slots), outcome) in holders.iter_mut().zip(outcomes) {
                match outcome {
                    Ok(Reply::Reported(reported)) => *slots = reported.grant.slots,
                    other => unreachable!("{other:?}"),
                }
            }
        }
        took.as_nanos() as f64 / self.leases.len() as f64
    }
}

fn reports(what: &str, shape: Shape, most: usize) {
    println!("\nnanoseconds a report, in batches of {GROUP}: {what}\n");
    println!("   holders   nobody waits   8 buckets   64 buckets   128 buckets");
    for holders in [1_000, 10_000, 100_000] {
        if holders > most {
            continue;
        }
        let run = |buckets| {
            let mut morning = Morning::new(shape, holders, buckets);
            morning.second();
            median((0..RUNS).map(|_| morning.second()).collect())
        };
        let [none, few, many, most] = [0, 8, 64, 128].map(run);
        println!("{holders:>10}   {none:>12.0}   {few:>9.0}   {many:>10.0}   {most:>11.0}");
    }
}

fn rounds() {
    println!("\nmicroseconds a sharing round, and what it adds to a busy second at most\n");
    println!("   regions   round   share of a second");
    for regions in [18, 63, 100, 1_000, 4_096] {
        let mut state = State::default();
        let mut changes = vec![set_pool("ent", 1_000_000)];
        changes.extend((0..regions).map(|r| set_region("ent", &format!("region-{r}"))));
        configure(&mut state, "start", changes);
        for r in 0..regions {
            let take = Take {
                pool: "ent".into(),
                region: format!("region-{r}"),
                holder: format!("front-end-{r}"),
                epoch: 1,
                seq: 1,
                wanted: 1_000_000 + 7 * r,
            };
            apply(&mut state, 0, vec![Command::Take(take)]);
        }
        let mut id = 0;
        let round = timed(|| {
            // A change of the capacity shares anew; the rest of what it does is small beside that.
            id += 1;
            let change = set_pool("ent", 1_000_000 + id);
            configure(&mut state, &format!("more-{id}"), vec![change]);
        });
        let interval_ms = (regions / 64).max(1);
        let part = round / 1e6 / interval_ms as f64 * 100.0;
        println!("{regions:>10}   {:>5.0}   {part:>15.1} %", round / 1e3);
    }
    let mut state = State::default();
    let pools = (0..1_024).map(|p| set_pool(&format!("pool-{p}"), 1));
    configure(&mut state, "start", pools.collect());
    let many = timed(|| {
        for _ in 0..1_000 {
            apply(&mut state, 1, Vec::new());
        }
    });
    println!(
        "\nan empty batch over 1,024 pools: {:.2} microseconds",
        many / 1e6
    );
}

fn snapshots() {
    let country = Country::new(COUNTRY, 100_000, 60);
    let bytes = country.state.snapshot();
    let write = timed(|| {
        std::hint::black_box(country.state.snapshot());
    });
    let read = timed(|| {
        std::hint::black_box(State::restore(&bytes).unwrap());
    });
    println!(
        "\nsnapshot of 100,000 holders: {:.1} MB, written in {:.0} ms, read in {:.0} ms",
        bytes.len() as f64 / 1e6,
        write / 1e6,
        read / 1e6
    );
}

fn main() {
    commands("100 pools, 1,000 regions", COUNTRY);
    commands("all in one region", ONE_REGION);
    reports("100 pools, 1,000 regions", COUNTRY, 100_000);
    reports("one pool, 18 regions", MORNING, 100_000);
    reports("all in one region", ONE_REGION, 10_000);
    rounds();
    snapshots();
}
