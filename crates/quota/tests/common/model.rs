//! Random steps, and a state with all that holders were promised, checked after each step.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use quota::limits::REMEMBER_ENDED_MS;
use quota::{Batch, Change, Command, Grant, Outcome, Reply, State};

use super::*;

pub const REGIONS: [&str; 4] = ["bretagne", "corse", "mayotte", "normandie"];

/// A step, made a command by what came before it.
#[derive(Debug, Clone)]
pub enum Step {
    Wait(u64),
    /// The next batch is stamped so much earlier than time has come.
    Behind(u64),
    Take {
        region: usize,
        holder: u8,
        new_epoch: bool,
        wanted: u64,
    },
    Renew {
        lease: usize,
        kept_percent: u64,
        wanted: u64,
    },
    Return {
        lease: usize,
    },
    Retry {
        back: usize,
    },
    RemoveHolder {
        holder: u8,
    },
    Capacity(u64),
    Region {
        region: usize,
        nominal: u64,
        ceiling: Option<u64>,
        weight: u32,
    },
    RemoveRegion {
        region: usize,
    },
    Ttl(u64),
    RemakePool,
}

pub fn step() -> impl Strategy<Value = Step> {
    let region = 0..REGIONS.len();
    prop_oneof![
        3 => prop_oneof![0u64..40, 0u64..3_000, Just(9_999), Just(10_000), Just(1_000_000)].prop_map(Step::Wait),
        1 => (1u64..30_000).prop_map(Step::Behind),
        6 => (region.clone(), 0u8..8, prop::bool::weighted(0.3), 0u64..60)
            .prop_map(|(region, holder, new_epoch, wanted)| Step::Take { region, holder, new_epoch, wanted }),
        9 => (any::<usize>(), prop_oneof![Just(100), 0u64..=100], 0u64..60)
            .prop_map(|(lease, kept_percent, wanted)| Step::Renew { lease, kept_percent, wanted }),
        2 => any::<usize>().prop_map(|lease| Step::Return { lease }),
        2 => any::<usize>().prop_map(|back| Step::Retry { back }),
        1 => (0u8..8).prop_map(|holder| Step::RemoveHolder { holder }),
        1 => (0u64..150).prop_map(Step::Capacity),
        1 => (region.clone(), 0u64..40, prop::option::of(0u64..80), 1u32..4)
            .prop_map(|(region, nominal, ceiling, weight)| Step::Region { region, nominal, ceiling, weight }),
        1 => region.prop_map(|region| Step::RemoveRegion { region }),
        1 => (1_000u64..20_000).prop_map(Step::Ttl),
        1 => prop::bool::weighted(0.2).prop_map(|yes| if yes { Step::RemakePool } else { Step::Wait(1) }),
    ]
}

/// A run: the state, the log that led to it, and what was answered.
#[derive(Default)]
pub struct Run {
    pub state: State,
    pub time_ms: u64,
    /// How far behind the next batch's stamp is.
    pub behind_ms: u64,
    pub log: Vec<Batch>,
    /// What was sent at which time, and what was answered.
    pub sent: Vec<(u64, Command, Outcome)>,
    pub grants: Vec<Grant>,
    pub epochs: BTreeMap<u8, u64>,
    pub seq: u64,
    /// What each lease's holder may use, whether it had the answer or not, and until when.
    pub promised: BTreeMap<u64, Promise>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Promise {
    pub slots: u64,
    pub until_ms: u64,
}

impl Run {
    pub fn new() -> Self {
        let mut run = Self {
            seq: 1,
            ..Self::default()
        };
        let mut changes = vec![set_pool("ent", 100)];
        changes.extend(REGIONS.map(|name| set_region(name, 20, None, 1)));
        run.apply(configure("first", changes)).unwrap();
        run
    }

    pub fn apply(&mut self, command: Command) -> Outcome {
        let batch = Batch {
            time_ms: self.stamp(),
            commands: vec![command.clone()],
        };
        let before = self.out();
        let bytes = self.state.snapshot();
        let outcome = self.state.apply(&batch).pop().unwrap();
        self.log.push(batch);
        match &outcome {
            // Only time may have gone on.
            Err(_) => {
                let mut untouched = State::restore(&bytes).unwrap();
                untouched.apply(&Batch {
                    time_ms: self.time_ms,
                    commands: Vec::new(),
                });
                assert_eq!(
                    untouched.snapshot(),
                    self.state.snapshot(),
                    "a refusal changed something"
                );
            }
            Ok(Reply::Grant(grant)) => {
                let counted = self.state.lease(grant.lease).map_or(0, |lease| lease.slots);
                let retried = self.sent.iter().any(|(_, sent, _)| *sent == command);
                assert!(
                    retried || grant.slots <= counted,
                    "granted more than is counted"
                );
                if !retried {
                    // A holder that sent how much it keeps may use no more than that until the answer
                    // comes, and then what the answer says.
                    let until_ms = self.time_ms + grant.ttl_ms;
                    let promise = self.promised.entry(grant.lease.0).or_default();
                    promise.slots = grant.slots;
                    promise.until_ms = promise.until_ms.max(until_ms);
                    self.grants.push(*grant);
                }
            }
            Ok(Reply::Returned(_)) => {
                if let Command::Return(give) = &command {
                    self.promised.remove(&give.lease.0);
                }
            }
            Ok(_) => {}
        }
        // What is promised is settled first: a lease that was given back need not last.
        self.check(before);
        self.sent.push((self.time_ms, command, outcome.clone()));
        outcome
    }

    pub fn take_step(&mut self, step: &Step) {
        self.seq += 1;
        let seq = self.seq;
        let command = match *step {
            Step::Wait(ms) => {
                self.time_ms += ms;
                let before = self.out();
                let batch = Batch {
                    time_ms: self.stamp(),
                    commands: Vec::new(),
                };
                self.state.apply(&batch);
                self.log.push(batch);
                return self.check(before);
            }
            Step::Behind(ms) => {
                self.behind_ms = ms;
                return;
            }
            Step::Take {
                region,
                holder,
                new_epoch,
                wanted,
            } => {
                let epoch = self.epochs.entry(holder).or_insert(1);
                *epoch += u64::from(new_epoch);
                take(
                    REGIONS[region],
                    &format!("front-{holder}"),
                    *epoch,
                    seq,
                    wanted,
                )
            }
            Step::Renew {
                lease,
                kept_percent,
                wanted,
            } => match self.pick(lease) {
                Some(grant) => renew(grant.lease, seq, grant.slots * kept_percent / 100, wanted),
                None => return,
            },
            Step::Return { lease } => match self.pick(lease) {
                Some(grant) => give_back(grant.lease, seq),
                None => return,
            },
            Step::Retry { back } => return self.retry(back),
            Step::RemoveHolder { holder } => {
                remove_holder(&seq.to_string(), &format!("front-{holder}"))
            }
            Step::Capacity(capacity) => {
                configure(&seq.to_string(), vec![set_pool("ent", capacity)])
            }
            Step::Ttl(ttl_ms) => {
                let capacity = self.state.pool("ent").map_or(0, |pool| pool.capacity);
                let (name, ttl_ms, drift_ppm) = ("ent".into(), Some(ttl_ms), None);
                let set = quota::SetPool {
                    name,
                    capacity,
                    ttl_ms,
                    drift_ppm,
                };
                configure(&seq.to_string(), vec![Change::SetPool(set)])
            }
            Step::Region {
                region,
                nominal,
                ceiling,
                weight,
            } => configure(
                &seq.to_string(),
                vec![set_region(REGIONS[region], nominal, ceiling, weight)],
            ),
            Step::RemakePool => {
                let pool = self.state.pool("ent").map_or(0, |pool| pool.held);
                let mut changes = vec![
                    Change::RemovePool { name: "ent".into() },
                    set_pool("ent", 100),
                ];
                changes.extend(REGIONS.map(|name| set_region(name, 20, None, 1)));
                if self.apply(configure(&seq.to_string(), changes)).is_ok() {
                    assert_eq!(pool, 0, "a pool was removed with slots out");
                    // It is another pool, and remembers nothing of this one.
                    self.sent.clear();
                    self.grants.clear();
                    self.promised.clear();
                }
                return;
            }
            Step::RemoveRegion { region } => {
                let (pool, name) = ("ent".into(), REGIONS[region].into());
                configure(&seq.to_string(), vec![Change::RemoveRegion { pool, name }])
            }
        };
        let _ = self.apply(command);
    }

    /// The stamp of the next batch, where time may have come further. Waiting makes up for it.
    pub fn stamp(&mut self) -> u64 {
        let reached = self.state.now_ms();
        let behind_ms = std::mem::take(&mut self.behind_ms);
        if reached == self.time_ms {
            reached.saturating_sub(behind_ms)
        } else {
            self.time_ms
        }
    }

    /// What counts, and what holders may use.
    pub fn out(&self) -> (u64, u64) {
        let held = self.state.pool("ent").map_or(0, |pool| pool.held);
        let now_ms = self.state.now_ms();
        let promised = self.promised.values().filter(|p| p.until_ms > now_ms);
        (held, promised.map(|p| p.slots).sum())
    }

    pub fn pick(&self, nth: usize) -> Option<Grant> {
        let recent = self.grants.len().saturating_sub(12);
        let recent = &self.grants[recent..];
        (!recent.is_empty()).then(|| recent[nth % recent.len()])
    }

    /// The last request of a lease again gets the answer it got, and an older one none.
    pub fn retry(&mut self, back: usize) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.sent.len() - 1 - back % self.sent.len().min(6);
        let (sent_ms, command, before) = self.sent[at].clone();
        // A lease that ended is remembered for this long, and so at least as long are its requests.
        if before.is_err() || self.time_ms - sent_ms >= REMEMBER_ENDED_MS {
            return;
        }
        let bytes = self.state.snapshot();
        let again = self.apply(command.clone());
        if again.is_ok() {
            assert_eq!(again, before, "a retry got another answer");
        }
        let mut untouched = State::restore(&bytes).unwrap();
        untouched.apply(&Batch {
            time_ms: self.time_ms,
            commands: Vec::new(),
        });
        assert_eq!(
            untouched.snapshot(),
            self.state.snapshot(),
            "a retry had an effect"
        );
    }

    /// What must hold at any time.
    pub fn check(&self, before: (u64, u64)) {
        let Some(pool) = self.state.pool("ent") else {
            return;
        };
        assert_eq!(
            self.state.now_ms(),
            self.time_ms,
            "time goes on, and never back"
        );
        // Where a capacity was lowered, at least no slot comes on top.
        let (held, promised) = self.out();
        assert!(held <= pool.capacity.max(before.0), "over budget: {pool:?}");
        assert!(
            promised <= pool.capacity.max(before.1),
            "over budget: {promised} of {pool:?}"
        );
        assert!(promised <= held, "{promised} may be used, and {held} count");
        let leases = self.state.leases("ent", None, None, None, usize::MAX);
        assert_eq!(leases.iter().map(|l| l.slots).sum::<u64>(), pool.held);
        assert_eq!(leases.len() as u64, pool.leases);
        for region in self.state.regions("ent") {
            let mine = || leases.iter().filter(|l| l.region == region.name);
            assert_eq!(mine().map(|l| l.slots).sum::<u64>(), region.held);
            assert_eq!(mine().map(|l| l.wanted).sum::<u64>(), region.wanted);
            assert_eq!(mine().count() as u64, region.leases);
        }
        for lease in &leases {
            assert!(
                lease.expires_ms > self.state.now_ms(),
                "counts past its end: {lease:?}"
            );
        }
        // Nothing that was granted ends early.
        for (&id, promise) in &self.promised {
            if promise.slots > 0 && promise.until_ms > self.state.now_ms() {
                let counted = leases.iter().find(|lease| lease.lease.0 == id);
                assert!(
                    counted.is_some_and(|lease| {
                        lease.expires_ms >= promise.until_ms && lease.slots >= promise.slots
                    }),
                    "lease {id} ended before {promise:?}"
                );
            }
        }
    }
}
