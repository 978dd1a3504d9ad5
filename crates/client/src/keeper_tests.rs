//! Scenarios, and a search for interleavings in which more is used than the cluster counts.

use proptest::prelude::*;

use super::*;

const SETTINGS: Settings = Settings {
    reserve: 4,
    report_every: None,
};

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn grant(lease: u64, slots: u64, target: u64) -> Answer {
    Answer::Granted(Grant {
        lease,
        slots,
        target,
        ttl_ms: 10_000,
        drift_ppm: 10_000,
    })
}

/// A keeper with a lease of `slots`, granted at once at the time 0.
fn with_lease(slots: u64) -> (Keeper, Ledger) {
    let (mut keeper, ledger) = (Keeper::new(SETTINGS, 7), Ledger::default());
    let (tag, _) = keeper.poll(at(0), &ledger).unwrap();
    keeper.answered(at(0), tag, grant(1, slots, slots), &ledger);
    (keeper, ledger)
}

fn admit(ledger: &Ledger, now: Duration, users: u64) -> u64 {
    (0..users).filter(|_| ledger.admit(|| now)).count() as u64
}

#[test]
fn the_usable_time_is_the_ttl_less_the_drift_to_the_nanosecond() {
    assert_eq!(usable(10_000, 10_000), Duration::from_millis(9_900));
    assert_eq!(usable(1, 1), Duration::from_nanos(999_999));
    assert_eq!(usable(3_600_000, 0), Duration::from_secs(3_600));
    assert_eq!(usable(10_000, 1_000_000), Duration::ZERO);
    assert_eq!(
        usable(10_000, u32::MAX),
        Duration::ZERO,
        "nonsense grants nothing"
    );
    assert_eq!(usable(u64::MAX, 0), Duration::from_nanos(u64::MAX));
}

#[test]
fn takes_a_lease_then_renews_it_five_times_in_a_time_to_live() {
    let (mut keeper, ledger) = (Keeper::new(SETTINGS, 7), Ledger::default());
    let (tag, request) = keeper.poll(at(0), &ledger).unwrap();
    assert_eq!(
        request,
        Request::Take {
            epoch: 7,
            seq: 1,
            wanted: 4
        }
    );
    assert_eq!(
        keeper.poll(at(5_000), &ledger),
        None,
        "one request at a time"
    );
    let short = Answer::Granted(Grant {
        lease: 9,
        slots: 4,
        target: 4,
        ttl_ms: 2_000,
        drift_ppm: 10_000,
    });
    keeper.answered(at(10), tag, short, &ledger);
    assert_eq!(keeper.poll(at(399), &ledger), None);
    let (_, request) = keeper.poll(at(400), &ledger).unwrap();
    assert_eq!(
        request,
        Request::Renew {
            lease: 9,
            seq: 2,
            kept: 4,
            wanted: 4
        }
    );
}

#[test]
fn counts_from_the_first_sending_and_not_from_a_retry_or_the_answer() {
    let (mut keeper, ledger) = (Keeper::new(SETTINGS, 7), Ledger::default());
    let (tag, first) = keeper.poll(at(1_000), &ledger).unwrap();
    keeper.failed(at(2_000), tag, at(100));
    assert_eq!(keeper.poll(at(2_050), &ledger), None, "pauses first");
    let (again, second) = keeper.poll(at(2_100), &ledger).unwrap();
    assert_eq!((again, second), (tag, first), "the same request");
    keeper.answered(at(3_000), again, grant(1, 10, 10), &ledger);
    assert_eq!(admit(&ledger, at(10_899), 1), 1);
    assert_eq!(admit(&ledger, at(10_900), 1), 0);
}

#[test]
fn an_answer_that_comes_after_its_own_deadline_opens_nothing() {
    let (mut keeper, ledger) = (Keeper::new(SETTINGS, 7), Ledger::default());
    let (tag, _) = keeper.poll(at(0), &ledger).unwrap();
    keeper.answered(at(9_900), tag, grant(1, 10, 10), &ledger);
    assert_eq!(admit(&ledger, at(9_900), 1), 0);
    let (_, request) = keeper.poll(at(9_900), &ledger).unwrap();
    assert!(
        matches!(request, Request::Renew { kept: 0, .. }),
        "{request:?}"
    );
}

#[test]
fn what_a_report_gives_back_is_out_of_use_before_it_is_sent() {
    let (mut keeper, ledger) = with_lease(100);
    assert_eq!(admit(&ledger, at(1), 3), 3);
    let (tag, request) = keeper.poll(at(1_000), &ledger).unwrap();
    let Request::Renew { kept, wanted, .. } = request else {
        panic!("{request:?}");
    };
    assert_eq!((kept, wanted), (7, 7), "3 in use and 4 in reserve");
    assert_eq!(admit(&ledger, at(1_001), 100), 4, "no more than kept");
    keeper.answered(at(1_010), tag, grant(1, 9, 9), &ledger);
    assert_eq!(admit(&ledger, at(1_011), 100), 2);
}

#[test]
fn an_abandoned_report_still_binds() {
    let (mut keeper, ledger) = with_lease(100);
    let (tag, _) = keeper.poll(at(1_000), &ledger).unwrap();
    keeper.failed(at(6_000), tag, at(0));
    let (fresh, request) = keeper.poll(at(6_001), &ledger).unwrap();
    assert_ne!(fresh, tag);
    assert!(
        matches!(
            request,
            Request::Renew {
                seq: 3,
                kept: 4,
                ..
            }
        ),
        "{request:?}"
    );
    assert_eq!(admit(&ledger, at(6_002), 100), 4);
    keeper.answered(at(6_003), tag, grant(1, 100, 100), &ledger);
    assert_eq!(
        admit(&ledger, at(6_004), 100),
        0,
        "its late answer is ignored"
    );
}

#[test]
fn shrinks_as_sessions_end_and_admits_none_above_the_target() {
    let (mut keeper, ledger) = with_lease(100);
    admit(&ledger, at(1), 100);
    let (tag, _) = keeper.poll(at(1_000), &ledger).unwrap();
    keeper.answered(at(1_001), tag, grant(1, 100, 40), &ledger);
    ledger.release();
    assert_eq!(admit(&ledger, at(1_002), 1), 0);
    assert_eq!(keeper.poll(at(1_100), &ledger), None);
    let (tag, request) = keeper.poll(at(1_300), &ledger).unwrap();
    assert!(
        matches!(request, Request::Renew { kept: 99, .. }),
        "{request:?}"
    );
    keeper.answered(at(1_301), tag, grant(1, 99, 40), &ledger);
    assert_eq!(
        keeper.poll(at(1_900), &ledger),
        None,
        "nothing more to confirm"
    );
    for _ in 0..60 {
        ledger.release();
    }
    assert_eq!(
        admit(&ledger, at(2_000), 5),
        1,
        "39 in use and a target of 40"
    );
}

#[test]
fn a_jump_in_demand_is_told_early() {
    let (mut keeper, ledger) = with_lease(4);
    assert_eq!(keeper.poll(at(300), &ledger), None);
    ledger.set_waiting(500);
    assert_eq!(keeper.poll(at(200), &ledger), None, "but not at any rate");
    let (_, request) = keeper.poll(at(300), &ledger).unwrap();
    assert!(
        matches!(request, Request::Renew { wanted: 504, .. }),
        "{request:?}"
    );
}

#[test]
fn a_lease_that_ran_out_with_seats_open_leaves_them_overdue() {
    let (mut keeper, ledger) = with_lease(10);
    admit(&ledger, at(1), 8);
    let (tag, _) = keeper.poll(at(1_000), &ledger).unwrap();
    assert_eq!(keeper.standing(at(9_899), &ledger).overdue, 0);
    let standing = keeper.standing(at(9_900), &ledger);
    assert_eq!((standing.overdue, standing.slots), (8, 0));
    keeper.refused(at(9_950), tag, Refused::Ended, &ledger);
    let (tag, request) = keeper.poll(at(9_950), &ledger).unwrap();
    assert!(
        matches!(
            request,
            Request::Take {
                epoch: 7,
                seq: 3,
                ..
            }
        ),
        "{request:?}"
    );
    keeper.answered(at(9_960), tag, grant(2, 5, 5), &ledger);
    assert_eq!(keeper.standing(at(9_961), &ledger).overdue, 3);
    assert_eq!(admit(&ledger, at(9_961), 1), 0);
}

#[test]
fn a_closing_lease_covers_its_seats_until_it_runs_out() {
    let (mut keeper, ledger) = with_lease(10);
    admit(&ledger, at(1), 8);
    let (tag, _) = keeper.poll(at(1_000), &ledger).unwrap();
    keeper.refused(at(1_001), tag, Refused::Closing, &ledger);
    assert_eq!(admit(&ledger, at(1_002), 1), 0);
    assert_eq!(keeper.standing(at(1_002), &ledger).overdue, 0);
    let (tag, request) = keeper.poll(at(1_002), &ledger).unwrap();
    assert!(matches!(request, Request::Take { .. }), "{request:?}");
    keeper.answered(at(1_003), tag, grant(2, 5, 5), &ledger);
    assert_eq!(keeper.standing(at(9_899), &ledger).overdue, 0);
    assert_eq!(keeper.standing(at(9_900), &ledger).overdue, 3);
}

#[test]
fn a_clock_set_back_begins_above_the_known_epoch_and_a_younger_life_wins() {
    let (mut keeper, ledger) = (Keeper::new(SETTINGS, 7), Ledger::default());
    let (tag, _) = keeper.poll(at(0), &ledger).unwrap();
    keeper.refused(
        at(1),
        tag,
        Refused::StaleEpoch { current: Some(90) },
        &ledger,
    );
    let (tag, request) = keeper.poll(at(1), &ledger).unwrap();
    assert!(
        matches!(request, Request::Take { epoch: 91, .. }),
        "{request:?}"
    );
    keeper.answered(at(2), tag, grant(1, 4, 4), &ledger);

    let (tag, _) = keeper.poll(at(1_100), &ledger).unwrap();
    keeper.refused(at(1_101), tag, Refused::Closing, &ledger);
    let (tag, _) = keeper.poll(at(1_101), &ledger).unwrap();
    keeper.refused(
        at(1_102),
        tag,
        Refused::StaleEpoch { current: Some(120) },
        &ledger,
    );
    assert!(keeper.standing(at(1_103), &ledger).superseded);
    assert_eq!(keeper.poll(at(60_000), &ledger), None, "it does not fight");
}

#[test]
fn a_sequence_that_somebody_else_used_begins_a_new_life() {
    let (mut keeper, ledger) = with_lease(4);
    let (tag, _) = keeper.poll(at(1_000), &ledger).unwrap();
    keeper.refused(at(1_001), tag, Refused::StaleSeq, &ledger);
    assert_eq!(admit(&ledger, at(1_002), 1), 0);
    let (_, request) = keeper.poll(at(1_002), &ledger).unwrap();
    assert!(
        matches!(request, Request::Take { epoch: 8, .. }),
        "{request:?}"
    );
}

#[test]
fn closing_waits_for_the_seats_and_then_returns() {
    let (mut keeper, ledger) = with_lease(10);
    admit(&ledger, at(1), 2);
    keeper.close(&ledger);
    assert_eq!(admit(&ledger, at(2), 1), 0);
    let (tag, request) = keeper.poll(at(300), &ledger).unwrap();
    assert!(
        matches!(
            request,
            Request::Renew {
                kept: 2,
                wanted: 0,
                ..
            }
        ),
        "{request:?}"
    );
    keeper.answered(at(301), tag, grant(1, 2, 0), &ledger);
    ledger.release();
    ledger.release();
    let (tag, request) = keeper.poll(at(302), &ledger).unwrap();
    assert!(
        matches!(request, Request::Return { lease: 1, .. }),
        "{request:?}"
    );
    keeper.answered(at(303), tag, Answer::Returned, &ledger);
    assert!(keeper.is_done());
}

#[test]
fn a_return_that_nobody_answers_ends_with_the_lease() {
    let (mut keeper, ledger) = with_lease(10);
    keeper.close(&ledger);
    let (tag, _) = keeper.poll(at(100), &ledger).unwrap();
    keeper.failed(at(3_000), tag, at(0));
    assert!(keeper.poll(at(3_000), &ledger).is_some());
    keeper.failed(at(9_900), tag, at(0));
    assert_eq!(keeper.poll(at(9_900), &ledger), None);
    assert!(keeper.is_done());
}

/// The cluster's side, as the protocol promises it to one holder, with arbitrary luck in what is free.
#[derive(Debug, Default)]
struct Cluster {
    epoch: u64,
    seq: u64,
    last: Option<Result<Answer, Refused>>,
    live: Option<(u64, u64, Duration)>,
    closing: Vec<(u64, Duration)>,
    leases: u64,
}

const TTL: Duration = Duration::from_millis(10_000);

impl Cluster {
    /// Slots counted against the budget at `now`.
    fn counts(&self, now: Duration) -> u64 {
        let live = self
            .live
            .iter()
            .map(|&(_, slots, expires)| (slots, expires));
        live.chain(self.closing.iter().copied())
            .filter(|&(_, expires)| now < expires)
            .map(|(slots, _)| slots)
            .sum()
    }

    fn remove_holder(&mut self) {
        self.closing
            .extend(self.live.take().map(|(_, slots, expires)| (slots, expires)));
    }

    fn carry_out(
        &mut self,
        now: Duration,
        request: Request,
        free: u64,
        target: u64,
    ) -> Result<Answer, Refused> {
        self.live = self.live.filter(|&(_, _, expires)| now < expires);
        let seq = match request {
            Request::Take { epoch, seq, .. } => {
                if epoch < self.epoch {
                    return Err(Refused::StaleEpoch {
                        current: Some(self.epoch),
                    });
                }
                if epoch > self.epoch {
                    self.remove_holder();
                    (self.epoch, self.seq, self.last) = (epoch, 0, None);
                }
                seq
            }
            Request::Renew { lease, seq, .. }
            | Request::Report { lease, seq, .. }
            | Request::Return { lease, seq } => {
                if self.last.as_ref().is_none_or(|_| seq > self.seq)
                    && self.live.is_none_or(|(id, ..)| id != lease)
                {
                    let closing = self.closing.iter().any(|&(_, expires)| now < expires);
                    return Err(if closing {
                        Refused::Closing
                    } else {
                        Refused::Ended
                    });
                }
                seq
            }
        };
        match &self.last {
            Some(last) if seq == self.seq => return last.clone(),
            _ if seq <= self.seq => return Err(Refused::StaleSeq),
            _ => {}
        }
        let answer = match request {
            Request::Return { .. } => {
                self.live = None;
                Ok(Answer::Returned)
            }
            Request::Take { wanted, .. } => {
                let id = self.live.map_or(self.leases + 1, |(id, ..)| id);
                self.leases = self.leases.max(id);
                Ok(self.give(now, id, wanted.min(free), target))
            }
            Request::Renew {
                lease,
                kept,
                wanted,
                ..
            } => {
                let had = self.live.map_or(0, |(_, slots, _)| slots);
                let keeps = had.min(kept);
                let more = wanted.saturating_sub(keeps).min(free);
                Ok(self.give(now, lease, keeps + more, target))
            }
            Request::Report { .. } => unreachable!("there is no queue"),
        };
        (self.seq, self.last) = (seq, Some(answer.clone()));
        answer
    }

    fn give(&mut self, now: Duration, lease: u64, slots: u64, target: u64) -> Answer {
        self.live = Some((lease, slots, now + TTL));
        grant(lease, slots, target)
    }
}

#[derive(Debug, Clone)]
enum Event {
    Pass {
        ms: u64,
    },
    Poll,
    /// The request at this place among those under way reaches the cluster; maybe twice.
    Arrive {
        which: usize,
        again: bool,
        free: u64,
        target: u64,
    },
    /// The answer at this place among those under way reaches the holder; maybe twice.
    Answer {
        which: usize,
        again: bool,
    },
    LoseRequest {
        which: usize,
    },
    LoseAnswer {
        which: usize,
    },
    /// The holder gives up waiting.
    GiveUp,
    Admit {
        users: u64,
    },
    Leave {
        users: u64,
    },
    Wait {
        users: u64,
    },
    RemoveHolder,
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..4_usize;
    prop_oneof![
        4 => prop_oneof![4 => 1..400_u64, 1 => 400..12_000_u64].prop_map(|ms| Event::Pass { ms }),
        6 => Just(Event::Poll),
        6 => (which.clone(), prop::bool::weighted(0.2), 0..30_u64, 0..40_u64)
            .prop_map(|(which, again, free, target)| Event::Arrive { which, again, free, target }),
        6 => (which.clone(), prop::bool::weighted(0.2)).prop_map(|(which, again)| Event::Answer { which, again }),
        1 => which.clone().prop_map(|which| Event::LoseRequest { which }),
        1 => which.prop_map(|which| Event::LoseAnswer { which }),
        2 => Just(Event::GiveUp),
        4 => (1..20_u64).prop_map(|users| Event::Admit { users }),
        2 => (1..20_u64).prop_map(|users| Event::Leave { users }),
        1 => (0..60_u64).prop_map(|users| Event::Wait { users }),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Event::RemoveHolder } else { Event::Poll }),
        1 => prop::bool::weighted(0.05).prop_map(|yes| if yes { Event::Close } else { Event::Poll }),
    ]
}

/// The front-end, the network and the cluster around one keeper.
struct World {
    /// Real time, which the cluster's clock keeps; the holder's is slower by the whole drift.
    real: Duration,
    keeper: Keeper,
    ledger: Ledger,
    cluster: Cluster,
    requests: Vec<(Tag, Request)>,
    answers: Vec<(Tag, Result<Answer, Refused>)>,
    out: Option<Tag>,
    granted: u64,
}

impl World {
    fn new() -> Self {
        Self {
            real: Duration::ZERO,
            keeper: Keeper::new(SETTINGS, 5),
            ledger: Ledger::default(),
            cluster: Cluster::default(),
            requests: Vec::new(),
            answers: Vec::new(),
            out: None,
            granted: 0,
        }
    }

    fn clock(&self) -> Duration {
        self.real * 99 / 100
    }

    fn step(&mut self, event: &Event) {
        let now = self.clock();
        match *event {
            Event::Pass { ms } => self.real += at(ms),
            Event::Poll => {
                if let Some((tag, request)) = self.keeper.poll(now, &self.ledger) {
                    self.out = Some(tag);
                    self.requests.push((tag, request));
                }
            }
            Event::Arrive {
                which,
                again,
                free,
                target,
            } => {
                let Some((tag, request)) = self.requests.get(which).cloned() else {
                    return;
                };
                if !again {
                    self.requests.remove(which);
                }
                let answer = self.cluster.carry_out(self.real, request, free, target);
                self.answers.push((tag, answer));
            }
            Event::Answer { which, again } => {
                let Some((tag, answer)) = self.answers.get(which).cloned() else {
                    return;
                };
                if !again {
                    let _ = self.answers.remove(which);
                }
                if self.out == Some(tag) {
                    self.out = None;
                }
                match answer {
                    Ok(answer) => {
                        self.granted += 1;
                        self.keeper.answered(now, tag, answer, &self.ledger);
                    }
                    Err(refused) => self.keeper.refused(now, tag, refused, &self.ledger),
                }
            }
            Event::LoseRequest { which } if which < self.requests.len() => {
                self.requests.remove(which);
            }
            Event::LoseAnswer { which } if which < self.answers.len() => {
                let _ = self.answers.remove(which);
            }
            Event::LoseRequest { .. } | Event::LoseAnswer { .. } => {}
            Event::GiveUp => {
                if let Some(tag) = self.out.take() {
                    self.keeper.failed(now, tag, at(20));
                }
            }
            Event::Admit { users } => {
                admit(&self.ledger, now, users);
            }
            Event::Leave { users } => {
                for _ in 0..users.min(self.ledger.usage().in_use) {
                    self.ledger.release();
                }
            }
            Event::Wait { users } => self.ledger.set_waiting(users),
            Event::RemoveHolder => self.cluster.remove_holder(),
            Event::Close => self.keeper.close(&self.ledger),
        }
        // A front-end ends the sessions that no lease covers any more.
        for _ in 0..self.keeper.standing(self.clock(), &self.ledger).overdue {
            self.ledger.release();
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (used, counted) = (self.ledger.usage().in_use, self.cluster.counts(self.real));
        prop_assert!(
            used <= counted,
            "{used} seats are open and the cluster counts {counted} at {:?}: {:?} {:?}",
            self.real,
            self.keeper,
            self.cluster
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_more_is_used_than_the_cluster_counts(events in prop::collection::vec(event(), 1..160)) {
        let mut world = World::new();
        for event in &events {
            world.step(event);
            world.check()?;
        }
    }

    #[test]
    fn after_any_trouble_a_quiet_network_brings_a_lease_back(
        events in prop::collection::vec(event().prop_filter("it goes on", |e| !matches!(e, Event::Close)), 0..120),
    ) {
        let mut world = World::new();
        for event in &events {
            world.step(event);
        }
        let before = world.granted;
        for _ in 0..400 {
            world.step(&Event::Pass { ms: 100 });
            world.step(&Event::Poll);
            while !world.requests.is_empty() {
                world.step(&Event::Arrive { which: 0, again: false, free: 30, target: 30 });
            }
            while !world.answers.is_empty() {
                world.step(&Event::Answer { which: 0, again: false });
            }
            if world.out.is_some() {
                world.step(&Event::GiveUp);
            }
            world.check()?;
        }
        prop_assert!(world.granted > before, "{:?}", world.keeper);
        prop_assert!(world.keeper.standing(world.clock(), &world.ledger).slots > 0);
    }
}
