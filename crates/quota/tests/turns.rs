//! Whose turn it is over time: how long anyone waits behind others, what each class gets by its weight, and
//! that a calendar does each thing once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::BTreeMap;

use common::*;
use proptest::prelude::*;
use quota::{
    Action, Bucket, CalendarEntry, Change, Class, Command, Due, LeaseId, Reply, Report, Reported,
    Rules, State, When,
};

/// A region with some front-ends, each with people who wait. Whoever is seated leaves at once, so that the
/// same slots come free with every report.
struct Region {
    state: State,
    now_s: u32,
    leases: Vec<LeaseId>,
    seq: u64,
    queues: Vec<BTreeMap<(u8, u32), u32>>,
    /// Who was seated: class, arrival, and when.
    seated: Vec<(u8, u32, u32)>,
}

impl Region {
    fn new(fronts: usize, slots: u64, classes: Vec<Class>, overtake_s: u32) -> Self {
        let mut state = State::default();
        let pool = "ent".into();
        let rules = Rules {
            classes,
            overtake_s,
            ..Rules::default()
        };
        let changes = vec![
            set_pool("ent", slots),
            set_region("corse", 0, None, 1),
            Change::SetRules { pool, rules },
        ];
        run(&mut state, 0, configure("start", changes)).unwrap();
        let take = |at| take("corse", &format!("front-{at}"), 1, 1, 0);
        let leases = (0..fronts).map(|at| granted(run(&mut state, 0, take(at))).lease);
        let leases = leases.collect();
        Self {
            state,
            now_s: 0,
            leases,
            seq: 1,
            queues: vec![BTreeMap::new(); fronts],
            seated: Vec::new(),
        }
    }

    fn arrive(&mut self, front: usize, class: u8, users: u32) {
        if users > 0 {
            *self.queues[front].entry((class, self.now_s)).or_default() += users;
        }
    }

    /// Each front-end reports once.
    fn round(&mut self) {
        self.seq += 1;
        for front in 0..self.leases.len() {
            let reported = self.report(front);
            for admission in &reported.admit {
                let mut left = admission.users;
                for (&(class, second), users) in &mut self.queues[front] {
                    if class == admission.class && second <= admission.until_s {
                        let seated = left.min(*users);
                        (*users, left) = (*users - seated, left - seated);
                        let seated = (0..seated).map(|_| (class, second, self.now_s));
                        self.seated.extend(seated);
                    }
                }
                assert_eq!(left, 0, "more were admitted than wait");
            }
            self.queues[front].retain(|_, users| *users > 0);
        }
    }

    fn report(&mut self, front: usize) -> Reported {
        let bucket = |(&(class, second), &users): (&(u8, u32), &u32)| Bucket {
            class,
            second,
            users,
        };
        let report = Report {
            lease: self.leases[front],
            seq: self.seq,
            kept: 0,
            in_use: 0,
            spare: 0,
            waiting: self.queues[front].iter().map(bucket).collect(),
            exact_until_s: self.now_s + 1,
            left: 0,
            floor: 0,
            claims: Vec::new(),
            released: Vec::new(),
            refused: Vec::new(),
        };
        let time_ms = u64::from(self.now_s) * 1_000 + front as u64;
        match run(&mut self.state, time_ms, Command::ReportV2(report)) {
            Ok(Reply::Reported(reported)) => *reported,
            other => panic!("{other:?}"),
        }
    }
}

fn class(name: &str, weight: u32, first: bool) -> Class {
    Class {
        name: name.into(),
        weight,
        first,
    }
}

proptest! {
    #![proptest_config(cases(150))]

    /// Teachers come faster than there are slots, for ever, and exam candidates have a hundred times the
    /// weight. Still, once somebody has waited `overtake_s`, nobody who came later is seated before them: not
    /// of any class, and not at another front-end. Whose slot is there and whose front-end has yet to report
    /// sits down with that report, within a second.
    #[test]
    fn nobody_starves(
        arrivals in prop::collection::vec((0usize..3, 0u8..3, 0u32..6), 30..120),
        slots in 1u64..6,
        overtake_s in 2u32..12,
    ) {
        let classes = vec![class("teachers", 1, true), class("exams", 100, false), class("everyone", 1, false)];
        let mut region = Region::new(3, slots, classes, overtake_s);
        for arrivals in arrivals.chunks(3) {
            region.now_s += 1;
            region.arrive(0, 0, slots as u32 + 1);
            for &(front, class, users) in arrivals {
                region.arrive(front, class, users);
            }
            region.round();
        }
        for (i, &(_, came, seated)) in region.seated.iter().enumerate() {
            // Those who were seated in a later second were still waiting then.
            let overtaken = |&(_, other, later): &(u8, u32, u32)| {
                other < came && other + overtake_s <= seated && later > seated + 1
            };
            let by = region.seated[i..].iter().find(|other| overtaken(other));
            prop_assert!(by.is_none(), "who came at {came} was seated at {seated}, before {by:?}");
        }
        let waiting = region.queues.iter().flat_map(|queue| queue.keys());
        for &(_, came) in waiting {
            let passed = |&(_, other, seated): &(u8, u32, u32)| {
                came < other && came + overtake_s <= seated && seated + 1 < region.now_s
            };
            prop_assert!(!region.seated.iter().any(passed), "who came at {came} was passed over");
        }
    }

    /// While all have somebody who waits, no two classes are further apart than one slot of the lighter, each
    /// counted by its weight.
    #[test]
    fn each_class_has_its_weight(
        weights in prop::collection::vec(prop_oneof![1u32..8, 1u32..1_000_000], 2..6),
        fronts in 1usize..4,
        slots in prop::collection::vec(1u64..40, 1..20),
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let classes: Vec<Class> = weights.iter().zip(names).map(|(&weight, name)| class(name, weight, false)).collect();
        let mut region = Region::new(fronts, 1, classes, 86_400);
        let count = weights.len();
        for front in 0..fronts {
            for at in 0..count {
                region.arrive(front, at as u8, 10_000);
            }
        }
        for (i, slots) in slots.into_iter().enumerate() {
            region.now_s += 1;
            let time_ms = u64::from(region.now_s) * 1_000;
            let change = Change::SetCapacity { pool: "ent".into(), capacity: slots };
            run(&mut region.state, time_ms, configure(&i.to_string(), vec![change])).unwrap();
            region.round();
            let mut served = vec![0_u64; count];
            for &(class, ..) in &region.seated {
                served[usize::from(class)] += 1;
            }
            for a in 0..count {
                for b in 0..count {
                    // a / w_a is ahead of b / w_b by one slot of a at most.
                    let (had, other) = (served[a] * u64::from(weights[b]), served[b] * u64::from(weights[a]));
                    let slot = u64::from(weights[b]);
                    prop_assert!(had <= other + slot + slot / 10_000, "{served:?} by {weights:?}");
                }
            }
        }
    }

    /// However often and in whatever order an entry is said to be due, each occurrence counts once.
    #[test]
    fn a_calendar_does_each_thing_once(said in prop::collection::vec((0usize..2, 0i64..9), 0..40)) {
        let mut state = State::default();
        let entry = |name: &str, slots| CalendarEntry {
            name: name.into(),
            region: None,
            when: When::Weekly { days: 127, minute: 0, zone: None },
            action: Action::SetCapacity(slots),
        };
        let entries = vec![entry("less", 10), entry("more", 20)];
        let set = Change::SetCalendar { pool: "ent".into(), entries, since_s: 0 };
        run(&mut state, 0, configure("start", vec![set_pool("ent", 5), set])).unwrap();
        let mut last = [None; 2];
        for (at, occurrence_s) in said {
            let due = Command::Due(Due {
                pool: "ent".into(),
                entry: ["less", "more"][at].into(),
                occurrence_s,
            });
            let before = state.snapshot();
            let Ok(Reply::Due(done)) = run(&mut state, 0, due) else { panic!("not due") };
            prop_assert_eq!(done.applied, last[at].is_none_or(|last| occurrence_s > last));
            prop_assert_eq!(done.revision, state.revision());
            if done.applied {
                last[at] = Some(occurrence_s);
                prop_assert_eq!(state.pool("ent").unwrap().capacity, [10, 20][at]);
            } else {
                prop_assert_eq!(state.snapshot(), before);
            }
        }
    }
}
