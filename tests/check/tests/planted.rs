//! Small histories, right and wrong, for the rules that a single state machine can't break.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use check::history::*;
use check::{Limits, Rule, judge};

const S: u64 = 1_000_000_000;

fn run() -> Record {
    Record::Run(Run {
        format: FORMAT,
        by: "test".into(),
        seed: 1,
        nodes: vec![1, 2, 3],
    })
}

/// The rules that a history breaks.
fn broken(records: impl IntoIterator<Item = Record>) -> Vec<Rule> {
    let history: Vec<Record> = std::iter::once(run()).chain(records).collect();
    let found = judge(&history, &Limits::default());
    found.into_iter().map(|violation| violation.rule).collect()
}

fn operation(invoke_ns: u64, return_ns: u64, call: Call, answer: Answer) -> Record {
    Record::Operation(Operation {
        client: 1,
        invoke_ns,
        return_ns,
        call,
        answer,
    })
}

fn capacity(id: &str, slots: u64, at_ns: u64, answer: Answer) -> Record {
    let changes = vec![Change::Capacity {
        pool: "ent".into(),
        capacity: slots,
    }];
    let call = Call::Configure {
        request_id: id.into(),
        expected_revision: None,
        changes,
    };
    operation(at_ns, at_ns + 1, call, answer)
}

fn set(revision: u64) -> Answer {
    Answer::Configured { revision }
}

fn unknown() -> Answer {
    Answer::Unknown("timed out".into())
}

fn uses(lease: u64, slots: u64, from_ns: u64, until_ns: u64, floor: u64) -> Record {
    Record::Use(Use {
        at_ns: from_ns,
        pool: "ent".into(),
        holder: format!("portal-{lease}"),
        lease,
        slots,
        until_ns,
        floor,
    })
}

#[test]
fn budget_adds_up_what_holders_may_use() {
    let two = |second_from| {
        [
            capacity("a", 10, 0, set(1)),
            uses(1, 6, S, 3 * S, 0),
            uses(2, 5, second_from, 4 * S, 0),
        ]
    };
    assert_eq!(broken(two(3 * S)), []);
    assert_eq!(broken(two(3 * S - 1)), [Rule::Budget]);
    // A floor goes on after the lease.
    let floor = |slots| {
        [
            capacity("a", 10, 0, set(1)),
            uses(1, 6, S, 2 * S, 4),
            uses(2, slots, 3 * S, 4 * S, 0),
        ]
    };
    assert_eq!(broken(floor(6)), []);
    assert_eq!(broken(floor(7)), [Rule::Budget]);
    assert_eq!(broken([uses(1, 6, S, 3 * S, 0)]), [Rule::Undecided]);
}

#[test]
fn a_lowered_capacity_drains_and_never_grows() {
    let lasts = |lease, slots, from| uses(lease, slots, from, from + 2 * S, 0);
    // Both keep what they have, the second after a gap.
    let lowered = |more: Vec<Record>| {
        let mut records = vec![
            capacity("a", 10, 0, set(1)),
            capacity("b", 5, 2 * S, set(2)),
            lasts(1, 6, S),
            lasts(1, 6, 3 * S),
            lasts(1, 6, 5 * S),
            lasts(2, 4, S),
            lasts(2, 4, 4 * S),
            lasts(2, 4, 6 * S - 1),
        ];
        records.extend(more);
        broken(records)
    };
    assert_eq!(lowered(vec![]), []);
    assert_eq!(lowered(vec![lasts(2, 5, 6 * S)]), [Rule::Budget]);
    // Once it has come down it stays down: 6 are left of 10, and not 7.
    assert_eq!(lowered(vec![lasts(1, 2, 6 * S), lasts(2, 4, 7 * S)]), []);
    let up = vec![lasts(1, 2, 6 * S), lasts(2, 4, 7 * S), lasts(1, 3, 7 * S)];
    assert_eq!(lowered(up), [Rule::Budget]);
    // One that ran out for its holder, or of which it gave up a part, may be renewed as it was: the cluster need not
    // have heard of that. Once an answer has told of less it may not.
    let back = |slots, until| {
        let gone = uses(1, slots, 6 * S, until, 0);
        lowered(vec![gone, lasts(2, 4, 7 * S), lasts(1, 6, 7 * S)])
    };
    assert_eq!(back(0, 6 * S), []);
    assert_eq!(back(2, 7 * S), []);
    assert_eq!(back(0, 7 * S + 1), [Rule::Budget]);
    // But not for ever.
    let late = |at| {
        let keeps = (7..at / S).map(|at| lasts(2, 4, at * S));
        lowered(keeps.chain([lasts(1, 6, at)]).collect())
    };
    assert_eq!(late(36 * S), []);
    assert_eq!(late(38 * S), [Rule::Budget]);
    // Where nobody knows whether it was raised, it may have been.
    let raised = [
        capacity("a", 10, 0, set(1)),
        capacity("b", 20, S, unknown()),
        uses(1, 20, 2 * S, 3 * S, 0),
    ];
    assert_eq!(broken(raised), []);
}

#[test]
fn nodes_agree() {
    let applied = |node, index, term, hash| {
        Record::Applied(Applied {
            at_ns: S + index,
            node,
            index,
            term,
            hash,
        })
    };
    let same = [
        applied(1, 7, 1, 70),
        applied(2, 7, 1, 70),
        applied(2, 8, 1, 80),
    ];
    assert_eq!(broken(same), []);
    for other in [applied(2, 7, 1, 71), applied(2, 7, 2, 70)] {
        assert_eq!(broken([applied(1, 7, 1, 70), other]), [Rule::Agreement]);
    }
}

#[test]
fn disks_keep_what_was_promised() {
    let stored = |index, term, vote| {
        Record::Stored(Stored {
            at_ns: S,
            node: 1,
            index,
            term,
            vote,
        })
    };
    let started = |index, term, vote| {
        Record::Started(Started {
            at_ns: 2 * S,
            node: 1,
            index,
            term,
            vote,
        })
    };
    assert_eq!(broken([stored(9, 3, 3), started(9, 3, 3)]), []);
    assert_eq!(broken([stored(9, 3, 3), started(8, 3, 3)]), [Rule::Durable]);
    assert_eq!(broken([stored(9, 3, 4), started(9, 3, 3)]), [Rule::Durable]);
    // A later leader has taken entries away before it went down.
    assert_eq!(
        broken([stored(9, 3, 3), stored(6, 4, 4), started(6, 4, 4)]),
        []
    );
    assert_eq!(
        broken([stored(9, 3, 3), stored(6, 4, 4), started(9, 3, 4)]),
        [Rule::Durable]
    );
    let applied = |node, index, at_ns| {
        Record::Applied(Applied {
            at_ns,
            node,
            index,
            term: 1,
            hash: index,
        })
    };
    assert_eq!(
        broken([applied(1, 9, 1), applied(1, 4, 2), applied(2, 9, 3)]),
        []
    );
    assert_eq!(
        broken([applied(1, 9, 1), applied(1, 4, 2), applied(2, 8, 3)]),
        [Rule::Durable]
    );
}

#[test]
fn whoever_came_earlier_is_seated_earlier() {
    let waits = |user, second, at_ns| {
        Record::Waits(Waits {
            at_ns,
            user,
            pool: "ent".into(),
            region: "corse".into(),
            class: "everyone".into(),
            holder: "portal-1".into(),
            second,
        })
    };
    let served = |user, at_ns, seated| {
        Record::Served(Served {
            at_ns,
            user,
            seated,
        })
    };
    let two = |first: Option<Record>| {
        let mut records = vec![
            waits(1, 10, 10 * S),
            waits(2, 11, 11 * S),
            served(2, 20 * S, true),
        ];
        records.extend(first);
        broken(records)
    };
    assert_eq!(two(None), [Rule::Order]);
    assert_eq!(two(Some(served(1, 24 * S, true))), [Rule::Order]);
    // No later than clocks differ, and who has gone.
    assert_eq!(two(Some(served(1, 20 * S + S / 5, true))), [Rule::Order]);
    assert_eq!(two(Some(served(1, 20 * S + S / 20, true))), []);
    assert_eq!(two(Some(served(1, 12 * S, false))), []);
    // Of one second, and of the time before anybody could know.
    assert_eq!(
        broken([
            waits(1, 10, 10 * S),
            waits(2, 10, 11 * S),
            served(2, 20 * S, true)
        ]),
        []
    );
    assert_eq!(
        broken([
            waits(1, 10, 18 * S),
            waits(2, 11, 11 * S),
            served(2, 20 * S, true)
        ]),
        []
    );
}

#[test]
fn who_waits_where_nobody_is_in_touch_is_not_waited_for() {
    let waits = |user, second, at, holder: &str| {
        Record::Waits(Waits {
            at_ns: at * S,
            user,
            pool: "ent".into(),
            region: "corse".into(),
            class: "everyone".into(),
            holder: holder.into(),
            second,
        })
    };
    let seated = |user, at_ns| {
        Record::Served(Served {
            at_ns,
            user,
            seated: true,
        })
    };
    // An answer every second from the fourth on.
    let touch = |holder: &'static str, until: u64| {
        (4..=until).map(move |at| {
            Record::Use(Use {
                at_ns: at * S,
                pool: "ent".into(),
                holder: holder.into(),
                lease: 1,
                slots: 9,
                until_ns: (at + 5) * S,
                floor: 0,
            })
        })
    };
    let judged = |first: &[Record], more: &[Record]| {
        let mut records = vec![capacity("a", 100, S, set(1)), waits(1, 10, 10, "portal-1")];
        records.extend_from_slice(first);
        records.extend(touch("portal-2", 30));
        records.extend([waits(2, 11, 11, "portal-2"), seated(2, 20 * S)]);
        records.extend_from_slice(more);
        broken(records)
    };
    let found = |more: &[Record], until: u64| {
        let first: Vec<_> = touch("portal-1", until).collect();
        judged(&first, more)
    };
    let soon = seated(1, 21 * S);
    assert_eq!(found(std::slice::from_ref(&soon), 30), [Rule::Order]);
    // It may lag by as much as its answers were slow, all but the quickest of the last few.
    let lags = |quick: u64, after_ns| {
        let mut answers: Vec<_> = touch("portal-1", 30).collect();
        for answer in &mut answers {
            let Record::Use(it) = answer else { continue };
            let is_slow = it.at_ns > 5 * S && it.at_ns != quick * S;
            it.at_ns += if is_slow { S / 5 } else { 0 };
        }
        judged(&answers, &[seated(1, 20 * S + after_ns)])
    };
    assert_eq!(lags(5, S / 4), []);
    assert_eq!(lags(5, S / 2), [Rule::Order]);
    assert_eq!(lags(18, S / 4), [Rule::Order]);
    // The front-end where the first waits has fallen silent, or was not back for long.
    assert_eq!(found(&[], 18), []);
    // So it is where somebody with an older ticket has just come to another front-end.
    let other = |came, served| {
        let [new, old] = [waits(3, 12, 12, "portal-2"), waits(4, 5, came, "portal-2")];
        [
            new,
            seated(3, 30 * S),
            old,
            seated(4, served),
            seated(1, 24 * S),
        ]
    };
    assert_eq!(found(&other(18, 22 * S), 30), []);
    assert_eq!(found(&other(18, 18 * S + S / 2), 30), []);
    assert_eq!(found(&other(16, 22 * S), 30), [Rule::Order]);
    // One has come back where somebody waits who came no later: they have the next slots.
    let back = |second| {
        let more = [waits(3, second, 13, "portal-3"), seated(3, 22 * S)];
        let back = touch("portal-3", 30).filter(
            |use_| matches!(use_, Record::Use(u) if u.at_ns <= 14 * S || u.at_ns >= 19 * S),
        );
        let back = back.chain(more).chain([seated(1, 24 * S)]);
        found(&back.collect::<Vec<_>>(), 30)
    };
    assert_eq!(back(9), []);
    assert_eq!(back(10), []);
    assert_eq!(back(11), [Rule::Order]);
    // Somebody came there with an older ticket, and had the slot.
    let older = [waits(3, 5, 19, "portal-1"), seated(3, 20 * S)];
    assert_eq!(found(&older, 30), []);
    // Others of that second, or of a later one, had their turn before: who hears is seated.
    let turn = [waits(3, 12, 12, "portal-2"), seated(3, 19 * S)];
    let late = |at_ns| [turn[0].clone(), turn[1].clone(), seated(1, at_ns)];
    assert_eq!(
        found(&late(20 * S), 30),
        [Rule::Order],
        "passed by the other"
    );
    let turn = [waits(3, 11, 12, "portal-2"), seated(3, 12 * S + S / 2)];
    let late = |at_ns| [turn[0].clone(), turn[1].clone(), seated(1, at_ns)];
    assert_eq!(found(&late(21 * S), 30), []);
    assert_eq!(found(&late(22 * S), 30), [Rule::Order]);
    // So it is where a leader is new.
    let leads = Record::Leads(Leads {
        at_ns: 19 * S,
        node: 1,
        term: 2,
    });
    assert_eq!(found(&[leads.clone(), soon], 30), []);
    assert_eq!(found(&[leads, seated(1, 22 * S)], 30), [Rule::Order]);
}

#[test]
fn a_read_is_of_one_instant() {
    let take = |lease: u64, at_ns| {
        let call = Call::Take {
            pool: "ent".into(),
            region: "corse".into(),
            holder: format!("portal-{lease}"),
            epoch: 1,
            seq: 1,
            wanted: 1,
        };
        let (slots, target) = (1, 1);
        let granted = Granted {
            lease,
            slots,
            target,
            ttl_ms: 60_000,
            drift_ppm: 10_000,
            floor: 0,
        };
        operation(at_ns, at_ns + S, call, Answer::Granted(granted))
    };
    let read = |leases: &[u64]| {
        let listed = leases.iter().map(|&lease| Listed {
            lease,
            holder: format!("portal-{lease}"),
            epoch: 1,
            seq: 1,
            slots: 1,
        });
        let call = Call::Leases {
            pool: "ent".into(),
            stale: false,
        };
        operation(S, 20 * S, call, Answer::Leases(listed.collect()))
    };
    // The second was taken after the first was answered: no read shows the second alone.
    let (first, second) = (take(1, 2 * S), take(2, 5 * S));
    for right in [&[][..], &[1], &[1, 2]] {
        assert_eq!(broken([first.clone(), second.clone(), read(right)]), []);
    }
    let wrong = broken([first.clone(), second.clone(), read(&[2])]);
    assert!(!wrong.is_empty() && wrong.iter().all(|rule| *rule == Rule::Linearizable));
    let many = (3..9).map(|lease| take(lease, 8 * S));
    let wrong = broken([first, second, read(&[2])].into_iter().chain(many));
    assert_eq!(wrong, [Rule::Linearizable]);
}

#[test]
fn what_a_closing_lease_shows_says_nothing_of_the_next() {
    let (pool, holder) = ("ent".to_owned(), "portal-1".to_owned());
    let take = |lease, seq, at_ns| {
        let call = Call::Take {
            pool: pool.clone(),
            region: "corse".into(),
            holder: holder.clone(),
            epoch: 1,
            seq,
            wanted: 8,
        };
        let granted = Granted {
            lease,
            slots: 8,
            target: 8,
            ttl_ms: 60_000,
            drift_ppm: 10_000,
            floor: 0,
        };
        operation(at_ns, at_ns + S, call, Answer::Granted(granted))
    };
    let (removed, remove) = (
        Answer::HolderRemoved {
            leases: 1,
            slots: 8,
        },
        Call::RemoveHolder {
            request_id: "a".into(),
            pool: Some(pool.clone()),
            holder: holder.clone(),
        },
    );
    let renew = Call::Renew {
        pool: pool.clone(),
        lease: 2,
        seq: 3,
        kept: 8,
        wanted: 20,
    };
    let returned = |slots| {
        let (pool, lease, seq) = (pool.clone(), 2, 4);
        let call = Call::Return { pool, lease, seq };
        operation(7 * S, 8 * S, call, Answer::Returned { slots })
    };
    let listed = Listed {
        lease: 1,
        holder: holder.clone(),
        epoch: 1,
        seq: 1,
        slots: 8,
    };
    let read = Call::Leases {
        pool: pool.clone(),
        stale: false,
    };
    let found = |slots| {
        broken([
            take(1, 1, S),
            operation(2 * S, 3 * S, remove.clone(), removed.clone()),
            take(2, 2, 4 * S),
            operation(5 * S, 6 * S, renew.clone(), unknown()),
            returned(slots),
            operation(
                9 * S,
                10 * S,
                read.clone(),
                Answer::Leases(vec![listed.clone()]),
            ),
        ])
    };
    // The renewal was carried out, or not.
    assert_eq!((found(20), found(8)), (vec![], vec![]));
    assert_eq!(found(21), [Rule::Linearizable]);
}

#[test]
fn a_healed_cluster_serves_again() {
    let fault = |at_ns| {
        let (kind, what) = ("kill".into(), "node 1".into());
        Record::Fault(Fault {
            at_ns,
            kind,
            what,
            begins: true,
        })
    };
    let healed = |at_ns| Record::Healed(Moment { at_ns });
    let end = |at_ns| operation(at_ns, at_ns + 1, Call::Budget { stale: true }, unknown());
    let within = |at_ns| {
        [
            fault(S),
            healed(2 * S),
            capacity("a", 5, at_ns, set(1)),
            end(60 * S),
        ]
    };
    assert_eq!(broken(within(16 * S)), []);
    assert_eq!(broken(within(18 * S)), [Rule::Progress]);
    // Sent before the healing, or cut short by the next fault, says nothing.
    assert_eq!(broken(within(S)), [Rule::Progress]);
    assert_eq!(broken([healed(2 * S), fault(9 * S), end(60 * S)]), []);
}

#[test]
fn all_slots_come_free() {
    let drained = Record::Drained(Moment { at_ns: 10 * S });
    let take = Call::Take {
        pool: "ent".into(),
        region: "corse".into(),
        holder: "portal-1".into(),
        epoch: 1,
        seq: 1,
        wanted: 0,
    };
    let (lease, slots, target) = (1 << 20, 0, 0);
    let granted = Granted {
        lease,
        slots,
        target,
        ttl_ms: 5_000,
        drift_ppm: 10_000,
        floor: 0,
    };
    let take = operation(S, 2 * S, take, Answer::Granted(granted));
    let look = |at_ns, leases| {
        let call = Call::Inspect {
            pool: "ent".into(),
            stale: false,
        };
        let (capacity, held, cluster_time_ms) = (10, 0, 0);
        let answer = Answer::Inspected {
            capacity,
            held,
            leases,
            cluster_time_ms,
        };
        operation(at_ns, at_ns + 1, call, answer)
    };
    assert_eq!(broken([take.clone(), drained.clone(), look(41 * S, 0)]), []);
    assert_eq!(
        broken([take.clone(), drained.clone(), look(41 * S, 1)]),
        [Rule::Progress]
    );
    assert_eq!(broken([take, drained, look(39 * S, 0)]), [Rule::Progress]);
}
