//! Users of a region are seated in the order of their seconds, whichever front-end they wait at and whenever
//! that one reports, while another region takes what it can get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::BTreeMap;

use common::*;
use proptest::prelude::*;
use quota::{Bucket, Change, Class, Command, LeaseId, Reply, Report, Rules, State};

const CLASSES: u8 = 2;
/// One more class, that few are served of: somebody of it waits all the time, so that the region stays ordered.
const CROWD: u8 = CLASSES;

struct Front {
    lease: LeaseId,
    seq: u64,
    in_use: u64,
    /// When it reports, within each second.
    phase_ms: u64,
    queue: BTreeMap<(u8, u32), u32>,
}

impl Front {
    fn new(state: &mut State, region: &str, name: &str, phase_ms: u64) -> Self {
        let lease = granted(run(state, 0, take(region, name, 1, 1, 0))).lease;
        let queue = BTreeMap::new();
        Self {
            lease,
            seq: 1,
            in_use: 0,
            phase_ms,
            queue,
        }
    }

    /// Reports, and says when users of which class and second are seated.
    fn report(&mut self, state: &mut State, now_s: u32, leave: u64) -> Vec<(u8, u32, u64)> {
        self.seq += 1;
        let left = leave.min(self.in_use);
        self.in_use -= left;
        let bucket = |(&(class, second), &users): (&(u8, u32), &u32)| Bucket {
            class,
            second,
            users,
        };
        let report = Report {
            lease: self.lease,
            seq: self.seq,
            kept: self.in_use,
            in_use: self.in_use,
            spare: 0,
            waiting: self.queue.iter().map(bucket).collect(),
            exact_until_s: now_s + 1,
            left,
            floor: 0,
            claims: Vec::new(),
            released: Vec::new(),
            refused: Vec::new(),
        };
        let now_ms = u64::from(now_s) * 1_000 + self.phase_ms;
        let Ok(Reply::Reported(said)) = run(state, now_ms, Command::ReportV2(report)) else {
            panic!("the report of {:?} was refused", self.lease);
        };
        let mut seated = Vec::new();
        for admission in &said.admit {
            let mut left = admission.users;
            for (&(class, second), users) in &mut self.queue {
                if class == admission.class && second <= admission.until_s {
                    let now = left.min(*users);
                    (*users, left) = (*users - now, left - now);
                    let at_ms = admission.at_ms.max(now_ms);
                    seated.extend((0..now).map(|_| (class, second, at_ms)));
                }
            }
            assert_eq!(left, 0, "more were admitted than wait");
        }
        self.queue.retain(|_, users| *users > 0);
        self.in_use += seated.len() as u64;
        assert!(said.grant.slots >= self.in_use);
        seated
    }
}

fn started(slots: u64) -> State {
    let mut state = State::default();
    let class = |name: &str, weight| Class {
        name: name.into(),
        weight,
        first: false,
    };
    let rules = Rules {
        classes: vec![class("a", 500), class("b", 1_000), class("crowd", 1)],
        overtake_s: 86_400,
        ..Rules::default()
    };
    let changes = vec![
        set_pool("ent", slots),
        set_region("normandie", slots / 2, None, 1),
        set_region("bretagne", slots / 4, None, 1),
        Change::SetRules {
            pool: "ent".into(),
            rules,
        },
    ];
    run(&mut state, 0, configure("start", changes)).unwrap();
    state
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn who_came_earlier_is_seated_earlier(
        slots in 4u64..40,
        mut phases in prop::collection::vec(0u64..1_000, 2..5),
        // At which front-end who comes, before it reports in that second or after, and how many leave there.
        seconds in prop::collection::vec(
            prop::collection::vec((0usize..4, 0..CLASSES, 0u32..5, any::<bool>(), 0u64..8), 1..6), 10..60),
        others in prop::collection::vec(0u32..30, 60),
    ) {
        let mut state = started(slots);
        phases.sort_unstable();
        let mut fronts: Vec<Front> = (0..).zip(phases)
            .map(|(at, phase)| Front::new(&mut state, "normandie", &format!("front-{at}"), phase))
            .collect();
        let mut other = Front::new(&mut state, "bretagne", "other", 500);
        let (mut came, mut seated) = (Vec::new(), Vec::new());
        let count = fronts.len();
        for (now_s, (events, others)) in (1..).zip(seconds.iter().zip(&others)) {
            let mut late = Vec::new();
            for &(at, class, users, early, _) in events {
                let arrival = (at % count, class, users);
                came.extend((0..users).map(|_| (class, now_s)));
                if early {
                    *fronts[arrival.0].queue.entry((class, now_s)).or_default() += users;
                } else {
                    late.push(arrival);
                }
            }
            *fronts[0].queue.entry((CROWD, 1)).or_default() += 2 * slots as u32;
            *other.queue.entry((0, now_s)).or_default() += others;
            let mut has_reported = false;
            for (at, front) in fronts.iter_mut().enumerate() {
                if front.phase_ms > other.phase_ms && !has_reported {
                    has_reported = true;
                    other.queue.retain(|_, users| *users > 0);
                    other.report(&mut state, now_s, u64::from(others / 2));
                }
                front.queue.retain(|_, users| *users > 0);
                let leave = events.iter().filter(|e| e.0 % count == at).map(|e| e.4).sum();
                seated.extend(front.report(&mut state, now_s, leave));
                for &(_, class, users) in late.iter().filter(|arrival| arrival.0 == at) {
                    *front.queue.entry((class, now_s)).or_default() += users;
                }
            }
        }
        for class in 0..CLASSES {
            let mut of: Vec<(u64, u32)> = seated.iter().filter(|s| s.0 == class).map(|s| (s.2, s.1)).collect();
            of.sort_unstable();
            prop_assert!(of.is_sorted_by_key(|&(_, second)| second), "{of:?}");
            // And whoever still waits came after all of those who were seated a while ago.
            let all = came.iter().filter(|c| c.0 == class).map(|c| c.1);
            let mut waits: BTreeMap<u32, usize> = BTreeMap::new();
            all.for_each(|second| *waits.entry(second).or_default() += 1);
            of.iter().for_each(|(_, second)| *waits.get_mut(second).unwrap() -= 1);
            let oldest = waits.iter().find(|&(_, &users)| users > 0).map(|(&second, _)| second);
            let end_ms = (seconds.len() as u64 + 1) * 1_000;
            let passed = of.iter().find(|&&(at_ms, second)| at_ms < end_ms && Some(second) > oldest && oldest.is_some());
            prop_assert!(passed.is_none(), "{passed:?} before {oldest:?}");
        }
    }
}
