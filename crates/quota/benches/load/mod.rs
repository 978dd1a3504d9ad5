//! Front-ends of a country, and what they send: batches as a node groups them, at times as a leader stamps them.
#![allow(dead_code, clippy::expect_used, missing_docs)]

use std::time::{Duration, Instant};

use quota::{
    Batch, Bucket, Change, Class, Command, Configure, LeaseId, Outcome, Renew, Reply, Report,
    Return, Rules, SetPool, SetRegion, State, Take,
};

/// Commands of one batch, as a node groups them.
pub const GROUP: usize = 64;
/// How often a front-end renews its lease: a third of the time to live.
const RENEWS_MS: u64 = 3_000;
/// How often it reports.
const REPORTS_MS: u64 = 1_000;

/// How many there are: pools, regions of each pool, and holders of all.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub pools: usize,
    pub regions: usize,
    pub holders: usize,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            pools,
            regions,
            holders,
        } = self;
        write!(f, "{holders} holders, {pools}x{regions}")
    }
}

/// Each number of holders in one region, in the regions of one pool and in those of many.
pub fn shapes() -> impl Iterator<Item = Shape> {
    [10, 1_000, 100_000].into_iter().flat_map(|holders| {
        [(1, 1), (1, 1_000), (100, 10)].map(|(pools, regions)| Shape {
            pools,
            regions,
            holders,
        })
    })
}

/// Numbers that look random and are always the same (Knuth's MMIX generator).
pub struct Numbers(u64);

impl Numbers {
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

pub fn set_pool(name: &str, capacity: u64) -> Change {
    Change::SetPool(SetPool {
        name: name.into(),
        capacity,
        ttl_ms: None,
        drift_ppm: None,
    })
}

pub fn set_region(pool: &str, name: &str) -> Change {
    Change::SetRegion(SetRegion {
        pool: pool.into(),
        name: name.into(),
        nominal: 0,
        ceiling: None,
        weight: 1,
    })
}

pub fn configure(state: &mut State, changes: &[Change]) {
    for part in changes.chunks(quota::limits::MAX_CHANGES) {
        let configure = Configure {
            request_id: format!("revision-{}", state.revision()),
            expected_revision: None,
            changes: part.to_vec(),
        };
        let batch = Batch {
            time_ms: state.now_ms(),
            commands: vec![Command::Configure(configure)],
        };
        let outcome = state.apply(&batch).remove(0);
        outcome.expect("the pools and regions of a bench can be");
    }
}

/// Takes for the holder of this number.
pub fn take(shape: Shape, holder: usize, seq: u64, wanted: u64) -> Command {
    let (pool, region) = (holder % shape.pools, holder / shape.pools % shape.regions);
    Command::Take(Take {
        pool: format!("pool-{pool:02}").into(),
        region: format!("region-{region:02}").into(),
        holder: format!("gate-{holder:05}").into(),
        epoch: 1,
        seq,
        wanted,
    })
}

#[derive(Debug, Clone, Copy)]
struct Front {
    lease: LeaseId,
    slots: u64,
    wanted: u64,
}

/// What is asked of a renewal.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    /// The same as before.
    Same,
    /// Anything, at random.
    Other,
}

/// Front-ends with a lease each.
pub struct Country {
    pub shape: Shape,
    pub state: State,
    fronts: Vec<Front>,
    numbers: Numbers,
    /// How many requests there were.
    sent: u64,
    /// Whose commands the last batch has.
    turn: Vec<usize>,
    /// Milliseconds that the country's requests take in which each has one.
    round_ms: u64,
}

impl Country {
    /// With `capacity` slots for each holder; each wants 1 to 200.
    pub fn new(shape: Shape, capacity: u64) -> Self {
        let mut country = Self::without_leases(shape, capacity);
        let mut numbers = Numbers(7);
        country.take_all(|| 1 + numbers.below(200));
        country
    }

    /// Front-ends that report, and wait for the first of them to be heard.
    pub fn reporting(shape: Shape, capacity: u64) -> Self {
        let mut country = Self::without_leases(shape, capacity);
        country.round_ms = REPORTS_MS;
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
        let set_rules = |pool| Change::SetRules {
            pool: format!("pool-{pool:02}"),
            rules: rules.clone(),
        };
        let changes: Vec<Change> = (0..shape.pools).map(set_rules).collect();
        configure(&mut country.state, &changes);
        // Whoever waits has come since the cluster began.
        country.sent = 1_000 * shape.holders as u64;
        country.take_all(|| 0);
        country
    }

    fn without_leases(shape: Shape, capacity: u64) -> Self {
        let mut state = State::default();
        let mut changes = Vec::new();
        for pool in 0..shape.pools {
            let name = format!("pool-{pool:02}");
            let share = (capacity * shape.holders as u64).div_ceil(shape.pools as u64);
            changes.push(set_pool(&name, share));
            let regions = (0..shape.regions).map(|r| set_region(&name, &format!("region-{r:02}")));
            changes.extend(regions);
        }
        configure(&mut state, &changes);
        Self {
            shape,
            state,
            fronts: Vec::new(),
            numbers: Numbers(11),
            sent: 0,
            turn: Vec::new(),
            round_ms: RENEWS_MS,
        }
    }

    fn take_all(&mut self, mut wanted: impl FnMut() -> u64) {
        let holders: Vec<usize> = (0..self.shape.holders).collect();
        for some in holders.chunks(GROUP) {
            let wanted: Vec<u64> = some.iter().map(|_| wanted()).collect();
            let takes = some.iter().zip(&wanted);
            let commands = takes.map(|(&i, &wanted)| take(self.shape, i, 1, wanted));
            let batch = self.batch(commands.collect());
            for (outcome, wanted) in self.state.apply(&batch).into_iter().zip(wanted) {
                let (lease, slots) = granted(outcome);
                self.fronts.push(Front {
                    lease,
                    slots,
                    wanted,
                });
            }
        }
    }

    /// The commands as the next batch: time goes on as it does where each front-end has its turn.
    fn batch(&self, commands: Vec<Command>) -> Batch {
        let time_ms = self.sent * self.round_ms / self.shape.holders as u64;
        let time_ms = time_ms.max(self.state.now_ms());
        Batch { time_ms, commands }
    }

    /// Whose turn it is, and for which time: all of them one after the other, in an order that is none of memory's.
    fn next(&mut self, most: usize) -> Vec<(usize, u64)> {
        let holders = self.fronts.len() as u64;
        let from = self.sent;
        self.sent += holders.min(most as u64);
        // A prime that divides no number of holders here.
        let turns =
            (from..self.sent).map(|i| ((i % holders * 7_919 % holders) as usize, i / holders));
        turns.collect()
    }

    /// Each of the next front-ends renews.
    pub fn renewals(&mut self, wish: Wish) -> Batch {
        let turns = self.next(GROUP);
        self.turn = turns.iter().map(|&(i, _)| i).collect();
        let renewals = turns.into_iter().map(|(i, round)| {
            let front = &mut self.fronts[i];
            if matches!(wish, Wish::Other) {
                front.wanted = 1 + self.numbers.below(200);
            }
            Command::Renew(Renew {
                lease: front.lease,
                seq: 2 + round,
                kept: front.slots.min(front.wanted),
                wanted: front.wanted,
            })
        });
        let commands = renewals.collect();
        self.batch(commands)
    }

    /// Each of the next front-ends gives its lease back and takes another.
    pub fn turnover(&mut self) -> Batch {
        let turns = self.next(GROUP / 2);
        self.turn = turns.iter().flat_map(|&(i, _)| [i, i]).collect();
        let requests = turns.into_iter().flat_map(|(i, round)| {
            let (lease, seq) = (self.fronts[i].lease, 2 + 2 * round);
            let give = Command::Return(Return { lease, seq });
            let wanted = 1 + self.numbers.below(200);
            [give, take(self.shape, i, seq + 1, wanted)]
        });
        let commands = requests.collect();
        self.batch(commands)
    }

    /// Each of the next front-ends reports: a twentieth of its sessions has ended, and three users wait who came in
    /// each of so many seconds, the last of them just now.
    pub fn reports(&mut self, buckets: u32) -> Batch {
        let turns = self.next(GROUP);
        self.turn = turns.iter().map(|&(i, _)| i).collect();
        let reports = turns.into_iter().map(|(i, round)| {
            let Front { lease, slots, .. } = self.fronts[i];
            let in_use = slots - slots / 20;
            let newest = u32::try_from(round).expect("not that many seconds");
            let bucket = |i| Bucket {
                class: u8::from(i >= buckets / 8) + u8::from(i >= buckets / 4),
                second: newest - buckets + i,
                users: 3,
            };
            Command::ReportV2(Report {
                lease,
                seq: round,
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
        let commands = reports.collect();
        self.batch(commands)
    }

    /// Applies the last batch, and says how long that took.
    pub fn apply(&mut self, batch: &Batch) -> Duration {
        let began = Instant::now();
        let outcomes = self.state.apply(batch);
        let took = began.elapsed();
        for (&i, outcome) in self.turn.iter().zip(outcomes) {
            if !matches!(outcome, Ok(Reply::Returned(_))) {
                let front = &mut self.fronts[i];
                (front.lease, front.slots) = granted(outcome);
            }
        }
        took
    }
}

fn granted(outcome: Outcome) -> (LeaseId, u64) {
    match outcome {
        Ok(Reply::Grant(grant)) => (grant.lease, grant.slots),
        Ok(Reply::Reported(reported)) => (reported.grant.lease, reported.grant.slots),
        other => unreachable!("{other:?}"),
    }
}
