//! Front-ends that report: what each has, believes and is promised, checked against the rules after every
//! command.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use quota::limits::STALE_MS;
use quota::{
    Batch, Bucket, Change, Class, Command, LeaseId, Mode, Outcome, Reclaim, Reply, Report,
    Reported, Rules, SessionRules, State,
};

use super::*;

pub const REGIONS: [&str; 3] = ["bretagne", "corse", "normandie"];
/// Two front-ends a region.
pub const FRONTS: usize = 6;
pub const OVERTAKE_S: u32 = 6;

/// What happens next.
#[derive(Debug, Clone)]
pub enum Event {
    Wait(u64),
    Arrive {
        front: usize,
        class: u8,
        users: u32,
    },
    Leave {
        front: usize,
        percent: u64,
    },
    GiveUp {
        front: usize,
        percent: u32,
    },
    Report {
        front: usize,
        spare: u64,
        idle: bool,
        coarse: u32,
        lost: bool,
    },
    Retry {
        front: usize,
    },
    Restart {
        front: usize,
    },
    Return {
        front: usize,
    },
    Remove {
        front: usize,
    },
    Capacity(u64),
    Mode {
        region: Option<usize>,
        mode: Mode,
    },
    /// A holder that makes no reports takes or renews.
    Plain {
        kept_percent: u64,
        wanted: u64,
    },
    Floor {
        region: usize,
        front: Option<usize>,
        slots: u64,
    },
}

pub fn event() -> impl Strategy<Value = Event> {
    let front = 0..FRONTS;
    let mode = prop_oneof![
        4 => Just(Mode::Open),
        1 => prop::sample::select(vec![Mode::Paused, Mode::Frozen, Mode::Closed, Mode::Draining]),
    ];
    prop_oneof![
        6 => prop_oneof![0u64..400, Just(1_000), Just(1_000), 0u64..12_000].prop_map(Event::Wait),
        5 => (front.clone(), 0u8..3, 1u32..12)
            .prop_map(|(front, class, users)| Event::Arrive { front, class, users }),
        4 => (front.clone(), 0u64..=100).prop_map(|(front, percent)| Event::Leave { front, percent }),
        1 => (front.clone(), 0u32..=100).prop_map(|(front, percent)| Event::GiveUp { front, percent }),
        16 => (front.clone(), 0u64..3, prop::bool::weighted(0.2), 0u32..4, prop::bool::weighted(0.15))
            .prop_map(|(front, spare, idle, coarse, lost)| Event::Report { front, spare, idle, coarse, lost }),
        1 => front.clone().prop_map(|front| Event::Retry { front }),
        1 => front.clone().prop_map(|front| Event::Restart { front }),
        1 => front.clone().prop_map(|front| Event::Return { front }),
        1 => front.clone().prop_map(|front| Event::Remove { front }),
        1 => (0u64..60).prop_map(Event::Capacity),
        1 => (prop::option::of(0..REGIONS.len()), mode).prop_map(|(region, mode)| Event::Mode { region, mode }),
        2 => (0u64..=100, 0u64..30).prop_map(|(kept_percent, wanted)| Event::Plain { kept_percent, wanted }),
        1 => (0..REGIONS.len(), prop::option::of(front), 0u64..5)
            .prop_map(|(region, front, slots)| Event::Floor { region, front, slots }),
    ]
}

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

pub fn rules() -> Rules {
    let class = |name: &str, weight, first| Class {
        name: name.into(),
        weight,
        first,
    };
    Rules {
        classes: vec![
            class("teachers", 1, true),
            class("exams", 3, false),
            class("everyone", 1, false),
        ],
        overtake_s: OVERTAKE_S,
        session: SessionRules {
            when_waiting_s: Some(60),
            ..SessionRules::default()
        },
        reclaim: Reclaim::Shorten,
    }
}

pub fn region_of(front: usize) -> &'static str {
    REGIONS[front % REGIONS.len()]
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

    pub fn plain(&mut self, kept_percent: u64, wanted: u64) {
        self.plain.seq += 1;
        let seq = self.plain.seq;
        let live = self
            .plain
            .lease
            .filter(|_| self.plain.until_ms > self.now_ms);
        let kept = self.plain.slots * kept_percent / 100;
        let command = match live {
            Some(lease) => renew(lease, seq, kept, wanted),
            None => take(REGIONS[0], "plain", 1, seq, wanted),
        };
        let grant = granted(self.apply(command));
        self.plain = Plain {
            lease: Some(grant.lease),
            seq,
            slots: grant.slots,
            wanted,
            until_ms: self.now_ms + grant.ttl_ms,
        };
    }

    /// Takes a lease where there is none that lives.
    fn ensure(&mut self, at: usize) {
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
        let reported = match self.apply(Command::Report(report.clone())) {
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
        match self.apply(Command::Report(report)) {
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

    /// The process is killed, and another takes its place. The first may live on, cut off from everyone.
    fn restart(&mut self, at: usize) {
        let front = &mut self.fronts[at];
        self.earlier.push((front.slots, front.until_ms));
        if front.floor > 0 {
            self.cut.insert((at, front.epoch), front.floor);
        }
        let (epoch, queue) = (front.epoch.max(1) + 1, std::mem::take(&mut front.queue));
        *front = Front {
            epoch,
            queue,
            ..Front::default()
        };
        self.ensure(at);
    }

    fn give_back(&mut self, at: usize) {
        let front = &mut self.fronts[at];
        let Some(lease) = front.lease else { return };
        front.seq += 1;
        let seq = front.seq;
        if self.apply(super::give_back(lease, seq)).is_ok() {
            let front = &mut self.fronts[at];
            (front.lease, front.slots, front.in_use, front.floor) = (None, 0, 0, 0);
            front.known.clear();
        }
    }

    /// The operator vouches that it has stopped.
    fn remove(&mut self, at: usize) {
        self.requests += 1;
        let command = remove_holder(&self.requests.to_string(), &format!("front-{at}"));
        if self.apply(command).is_ok() {
            self.cut.retain(|(front, _), _| *front != at);
            self.fronts[at].floor = 0;
            self.fronts[at].known.clear();
        }
    }

    /// Nobody is seated while another of the region has to go first and has no slot to come.
    fn check_order(&self, at: usize, reported: &Reported) {
        if reported.mode != Mode::Open {
            return assert!(reported.mode == Mode::Frozen || reported.admit.is_empty());
        }
        let region = self
            .state
            .regions("ent")
            .into_iter()
            .find(|r| r.name == region_of(at))
            .unwrap();
        let pool = self.state.pool("ent").unwrap();
        // Beside a holder that makes no reports the region's figures do not tell what is left for the others.
        if region.name == REGIONS[0] && self.plain.until_ms > self.now_ms {
            return;
        }
        let room = pool.capacity.saturating_sub(pool.set_aside + pool.held);
        // What is still to come to the others: what is free, and what its front-ends have idle.
        let mine = (0..FRONTS).filter(|&front| region_of(front) == region_of(at));
        let idle: u64 = mine.map(|front| self.idle(front)).sum();
        let free = region.target.saturating_sub(region.held).min(room) + idle;
        let overdue = |second: u32| {
            self.opened_s(reported) + OVERTAKE_S <= self.now_s()
                && second + OVERTAKE_S <= self.now_s()
        };
        let others = (0..FRONTS).filter(|&other| other != at && region_of(other) == region_of(at));
        let mut passed = 0;
        for other in others {
            let other = &self.fronts[other];
            let speaks = other.lease.is_some_and(|lease| {
                self.state
                    .report_of(lease)
                    .is_some_and(|r| r.reported_ms + STALE_MS > self.now_ms)
            });
            if let Some((said, _)) = other.last.as_ref().filter(|_| speaks && !reported.open) {
                // Of those who came then or later it is not known yet whether there are others.
                let exact = said.exact_until_s;
                assert!(
                    reported.admit.iter().all(|a| a.until_s < exact),
                    "{reported:?} past {exact}"
                );
            }
            for (&(class, second), &users) in other.known.iter().filter(|_| speaks) {
                let jumped = |a: &quota::Admission| {
                    second < a.until_s && (a.class == class || overdue(second))
                };
                if reported.open || reported.admit.iter().any(jumped) {
                    passed += u64::from(users);
                }
            }
        }
        assert!(
            passed <= free,
            "{passed} were passed over, and {free} slots are left: {reported:?}"
        );
    }

    /// Slots of a front-end that neither a session nor an admitted user has, as far as the rules know.
    fn idle(&self, at: usize) -> u64 {
        let Some((report, reported)) = &self.fronts[at].last else {
            return 0;
        };
        let counted = self
            .state
            .lease(reported.grant.lease)
            .map_or(0, |lease| lease.slots);
        let admitted: u64 = reported.admit.iter().map(|a| u64::from(a.users)).sum();
        counted.saturating_sub(report.in_use + admitted)
    }

    fn opened_s(&self, reported: &Reported) -> u32 {
        reported.opened_s.unwrap_or(0)
    }
}

/// Of one class a front-end is told to seat its oldest.
fn check_oldest(queue: &BTreeMap<(u8, u32), u32>, admission: &quota::Admission) {
    let mine = queue
        .iter()
        .filter(|((class, _), _)| *class == admission.class);
    let (mut before, mut within) = (0, 0);
    for (&(_, second), &users) in mine {
        before += if second < admission.until_s { users } else { 0 };
        within += if second <= admission.until_s {
            users
        } else {
            0
        };
    }
    assert!(
        (before..=within).contains(&admission.users),
        "{admission:?} of {queue:?}"
    );
}

/// Takes those who are admitted out of a queue; says how many there were.
fn admit(queue: &mut BTreeMap<(u8, u32), u32>, admission: &quota::Admission) -> u64 {
    let mut left = admission.users;
    for ((class, second), users) in queue.iter_mut() {
        if *class == admission.class && *second <= admission.until_s {
            let seated = left.min(*users);
            *users -= seated;
            left -= seated;
        }
    }
    queue.retain(|_, users| *users > 0);
    u64::from(admission.users - left)
}
