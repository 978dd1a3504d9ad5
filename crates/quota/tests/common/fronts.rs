//! Front-ends that report: what each has, believes and is promised, checked against the rules after every
//! command.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use quota::{Batch, Bucket, Change, Command, LeaseId, Outcome, Reply, Report, Reported, State};

pub use super::events::*;
use super::seating::{admit, check_oldest};
use super::*;

/// One front-end.
#[derive(Debug, Default)]
pub struct Front {
    pub lease: Option<LeaseId>,
    pub epoch: u64,
    pub seq: u64,
    /// What it may use until `until_ms`, as far as it knows.
    pub slots: u64,
    pub until_ms: u64,
    pub in_use: u64,
    pub floor: u64,
    pub queue: BTreeMap<(u8, u32), u32>,
    /// Those of its queue that the rules know of, and since when.
    pub known: BTreeMap<(u8, u32), u32>,
    pub reported_ms: u64,
    pub last: Option<(Report, Reported)>,
}

/// Floors that were told and can still be gone by, by lives that have ended: holder, epoch, slots.
type Cut = BTreeMap<(usize, u64), u64>;

pub struct Fronts {
    pub state: State,
    pub now_ms: u64,
    pub fronts: Vec<Front>,
    pub log: Vec<Batch>,
    pub requests: u64,
    pub cut: Cut,
    /// Earlier lives, which may use so many slots until then.
    pub earlier: Vec<(u64, u64)>,
    pub plain: Plain,
}

/// The holder of the first region that makes no reports.
#[derive(Debug, Default)]
pub struct Plain {
    pub lease: Option<LeaseId>,
    pub seq: u64,
    pub slots: u64,
    pub wanted: u64,
    pub until_ms: u64,
}

impl Fronts {
    pub fn new() -> Self {
        let mut fronts = Self {
            state: State::default(),
            now_ms: 1_000,
            fronts: (0..FRONTS).map(|_| Front::default()).collect(),
            log: Vec::new(),
            requests: 0,
            cut: Cut::new(),
            earlier: Vec::new(),
            plain: Plain::default(),
        };
        let mut changes = vec![set_pool("ent", 40)];
        changes.extend(REGIONS.map(|name| set_region(name, 5, None, 1)));
        let pool = "ent".into();
        changes.push(Change::SetRules {
            pool,
            rules: rules(),
        });
        fronts.configure(changes).unwrap();
        fronts
    }

    pub fn now_s(&self) -> u32 {
        (self.now_ms / 1_000) as u32
    }

    fn configure(&mut self, changes: Vec<Change>) -> Outcome {
        self.requests += 1;
        let id = self.requests.to_string();
        self.apply(super::configure(&id, changes))
    }

    /// Slots that may be used, by what each life of each front-end knows: leases, and floors of those that
    /// are cut off. The most that can be so at once counts.
    fn usable(&self) -> u64 {
        let earlier = self
            .earlier
            .iter()
            .filter(|(_, until_ms)| *until_ms > self.now_ms);
        let mut all: u64 = earlier.map(|(slots, _)| slots).sum();
        all += self.cut.values().sum::<u64>();
        all += if self.plain.until_ms > self.now_ms {
            self.plain.slots
        } else {
            0
        };
        for front in &self.fronts {
            let live = front.lease.is_some() && front.until_ms > self.now_ms;
            all += front.floor.max(if live { front.slots } else { 0 });
        }
        all
    }

    pub fn apply(&mut self, command: Command) -> Outcome {
        let held = |state: &State| {
            let told = state
                .regions("ent")
                .iter()
                .flat_map(|r| r.floors.clone())
                .map(|f| f.told)
                .sum::<u64>();
            state.pool("ent").map_or(0, |pool| pool.held) + told
        };
        let before = held(&self.state);
        let batch = Batch {
            time_ms: self.now_ms,
            commands: vec![command],
        };
        let outcome = self.state.apply(&batch).pop().unwrap();
        self.log.push(batch);
        let after = held(&self.state);
        if let Some(pool) = self.state.pool("ent") {
            assert!(
                after <= pool.capacity.max(before),
                "over budget: {after} of {}",
                pool.capacity
            );
        }
        outcome
    }

    /// What must hold at any time.
    fn check(&self) {
        let pool = self.state.pool("ent").unwrap();
        let told: u64 = self
            .state
            .regions("ent")
            .iter()
            .flat_map(|r| r.floors.clone())
            .map(|f| f.told)
            .sum();
        let usable = self.usable();
        assert!(
            usable <= pool.held + told,
            "{usable} may be used, {} and {told} count",
            pool.held
        );
    }

    pub fn play(&mut self, event: &Event) {
        match *event {
            Event::Wait(ms) => {
                self.now_ms += ms;
                let batch = Batch {
                    time_ms: self.now_ms,
                    commands: Vec::new(),
                };
                self.state.apply(&batch);
                self.log.push(batch);
            }
            Event::Arrive {
                front,
                class,
                users,
            } => {
                let second = self.now_s();
                *self.fronts[front].queue.entry((class, second)).or_default() += users;
            }
            Event::Leave { front, percent } => {
                let front = &mut self.fronts[front];
                front.in_use -= front.in_use * percent / 100;
            }
            Event::GiveUp { front, percent } => {
                for users in self.fronts[front].queue.values_mut() {
                    *users -= *users * percent / 100;
                }
                self.fronts[front].queue.retain(|_, users| *users > 0);
            }
            Event::Report {
                front,
                spare,
                idle,
                coarse,
                lost,
            } => self.report(front, spare, idle, coarse, lost),
            Event::Retry { front } => self.retry(front),
            Event::Restart { front } => self.restart(front),
            Event::Return { front } => self.give_back(front),
            Event::Remove { front } => self.remove(front),
            Event::Capacity(capacity) => {
                let pool = "ent".into();
                self.configure(vec![Change::SetCapacity { pool, capacity }])
                    .unwrap();
            }
            Event::Mode { region, mode } => {
                let set = Change::SetMode {
                    pool: "ent".into(),
                    region: region.map(|at| REGIONS[at].into()),
                    mode,
                    reason: "because".into(),
                };
                self.configure(vec![set]).unwrap();
            }
            Event::Plain {
                kept_percent,
                wanted,
            } => self.plain(kept_percent, wanted),
            Event::Floor {
                region,
                front,
                slots,
            } => {
                let set = Change::SetFloor {
                    pool: "ent".into(),
                    region: REGIONS[region].into(),
                    holder: front.map(|front| format!("front-{front}")),
                    slots,
                };
                let _ = self.configure(vec![set]);
            }
        }
        self.check();
    }

    /// Takes a lease where there is none that lives.
    pub fn ensure(&mut self, at: usize) {
        let front = &mut self.fronts[at];
        if front.lease.is_some() && front.until_ms > self.now_ms {
            return;
        }
        front.seq += 1;
        front.epoch = front.epoch.max(1);
        let command = take(
            region_of(at),
            &format!("front-{at}"),
            front.epoch,
            front.seq,
            0,
        );
        let grant = granted(self.apply(command));
        let front = &mut self.fronts[at];
        (front.lease, front.slots) = (Some(grant.lease), grant.slots);
        front.until_ms = self.now_ms + grant.ttl_ms;
        front.in_use = front.in_use.min(front.slots);
        (front.last, front.known) = (None, BTreeMap::new());
    }

    /// What a front-end would report.
    fn says(&mut self, at: usize, spare: u64, idle: bool, coarse: u32) -> Report {
        let now_s = self.now_s();
        let front = &mut self.fronts[at];
        front.seq += 1;
        let bucket = |(&(class, second), &users): (&(u8, u32), &u32)| Bucket {
            class,
            second,
            users,
        };
        let kept = if idle { front.slots } else { front.in_use };
        // What it does not keep it may use no more.
        front.slots = kept;
        Report {
            lease: front.lease.unwrap(),
            seq: front.seq,
            kept,
            in_use: front.in_use,
            spare,
            waiting: front.queue.iter().map(bucket).collect(),
            exact_until_s: (now_s + 1).saturating_sub(coarse),
            left: 1,
            floor: front.floor,
            claims: Vec::new(),
            released: Vec::new(),
            refused: Vec::new(),
        }
    }

    pub fn report(&mut self, at: usize, spare: u64, idle: bool, coarse: u32, lost: bool) {
        self.ensure(at);
        let report = self.says(at, spare, idle, coarse);
        let reported = match self.apply(Command::ReportV2(report.clone())) {
            Ok(Reply::Reported(reported)) => *reported,
            // It was removed, and starts anew.
            Err(_) => return self.restart(at),
            other => panic!("{other:?}"),
        };
        let front = &mut self.fronts[at];
        front.known = report
            .waiting
            .iter()
            .map(|b| ((b.class, b.second), b.users))
            .collect();
        front.reported_ms = self.now_ms;
        for admission in &reported.admit {
            check_oldest(&front.known, admission);
            admit(&mut front.known, admission);
        }
        front.last = Some((report.clone(), reported.clone()));
        self.check_order(at, &reported);
        if !lost {
            self.hear(at, &reported);
        }
    }

    /// A front-end takes in an answer.
    fn hear(&mut self, at: usize, reported: &Reported) {
        let front = &mut self.fronts[at];
        front.slots = reported.grant.slots;
        front.until_ms = front.until_ms.max(self.now_ms + reported.grant.ttl_ms);
        front.floor = reported.floor;
        for admission in &reported.admit {
            front.in_use += admit(&mut front.queue, admission);
        }
        if reported.open {
            while front.in_use < front.slots
                && let Some(mut first) = front.queue.first_entry()
            {
                *first.get_mut() -= 1;
                if *first.get() == 0 {
                    first.remove();
                }
                front.in_use += 1;
            }
        }
        assert!(
            front.in_use <= front.slots,
            "{} sit on {} slots",
            front.in_use,
            front.slots
        );
    }

    fn retry(&mut self, at: usize) {
        let front = &self.fronts[at];
        let Some((report, before)) = front.last.clone() else {
            return;
        };
        if front.seq != report.seq {
            return;
        }
        match self.apply(Command::ReportV2(report)) {
            Ok(Reply::Reported(again)) => {
                let counts = |r: &Reported| {
                    (
                        r.grant,
                        r.open,
                        r.admit.clone(),
                        r.shorten,
                        r.floor,
                        r.claims.clone(),
                    )
                };
                assert_eq!(
                    counts(&again),
                    counts(&before),
                    "a retry got another answer"
                );
            }
            Err(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
