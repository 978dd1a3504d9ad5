//! Requests of which nobody knows what came, and later ones that overtake them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use check::history::*;
use check::{Rule, linear};

const S: u64 = 1_000_000_000;
/// Few: what is remembered by the state is not searched in all its ways.
const MOST_STEPS: u64 = 100_000;

/// The rules that a history breaks.
fn broken(records: &[Record]) -> Vec<Rule> {
    let found = linear::check(records, MOST_STEPS);
    found.into_iter().map(|violation| violation.rule).collect()
}

/// A request that takes a tenth of a second.
fn at(invoke_ns: u64, call: Call, answer: Answer) -> Record {
    Record::Operation(Operation {
        client: 1,
        invoke_ns,
        return_ns: invoke_ns + S / 10,
        call,
        answer,
    })
}

fn unknown() -> Answer {
    Answer::Unknown("timed out".into())
}

fn granted(lease: u64, slots: u64) -> Answer {
    Answer::Granted(Granted {
        lease,
        slots,
        target: slots,
        ttl_ms: 600_000,
        drift_ppm: 10_000,
        floor: 0,
    })
}

fn take(holder: u64, epoch: u64, seq: u64, wanted: u64) -> Call {
    Call::Take {
        pool: "ent".into(),
        region: "corse".into(),
        holder: format!("portal-{holder}"),
        epoch,
        seq,
        wanted,
    }
}

fn renew(lease: u64, seq: u64, kept: u64, wanted: u64) -> Call {
    Call::Renew {
        pool: "ent".into(),
        lease,
        seq,
        kept,
        wanted,
    }
}

fn gives_back(lease: u64, seq: u64) -> Call {
    Call::Return {
        pool: "ent".into(),
        lease,
        seq,
    }
}

fn configure(id: &str, change: Change) -> Call {
    Call::Configure {
        request_id: id.into(),
        expected_revision: None,
        changes: vec![change],
    }
}

fn capacity(id: &str) -> Call {
    capacity_of(id, 300)
}

fn capacity_of(id: &str, capacity: u64) -> Call {
    let pool = "ent".into();
    configure(id, Change::Capacity { pool, capacity })
}

/// A read that shows these: of which holder, which life, which request, how many slots. Leases are named by holder
/// and life.
fn leases(at_ns: u64, shown: &[(u64, u64, u64, u64)]) -> Record {
    let listed = shown.iter().map(|&(holder, epoch, seq, slots)| Listed {
        lease: 10 * holder + epoch,
        holder: format!("portal-{holder}"),
        epoch,
        seq,
        slots,
    });
    let call = Call::Leases {
        pool: "ent".into(),
        stale: false,
    };
    at(at_ns, call, Answer::Leases(listed.collect()))
}

fn figures(at_ns: u64, held: u64, leases: u64) -> Record {
    let call = Call::Inspect {
        pool: "ent".into(),
        stale: false,
    };
    let answer = Answer::Inspected {
        capacity: 300,
        held,
        leases,
        cluster_time_ms: at_ns / 1_000_000,
    };
    at(at_ns, call, answer)
}

/// Three holders, each with a lease of ten slots, renewals of it that may all have been carried out or not, and a
/// second life.
fn three_holders() -> Vec<Record> {
    let mut records = vec![at(0, capacity("a"), Answer::Configured { revision: 1 })];
    for holder in 1..=3 {
        let lease = 10 * holder + 1;
        records.push(at(holder * S, take(holder, 1, 1, 10), granted(lease, 10)));
        for seq in 2..=6 {
            let call = renew(lease, seq, 10, 10 * seq);
            records.push(at(holder * S + seq * S / 2, call, unknown()));
        }
        let later = take(holder, 2, 1, 10);
        records.push(at((10 + holder) * S, later, granted(lease + 1, 0)));
    }
    records
}

#[test]
fn what_may_have_been_is_added_up() {
    let with = |record| {
        let mut records = three_holders();
        records.push(record);
        broken(&records)
    };
    // Old leases of ten to sixty slots each, and new ones of none.
    for held in [30, 31, 120, 180] {
        assert_eq!(with(figures(20 * S, held, 6)), []);
    }
    assert_eq!(with(figures(20 * S, 29, 6)), [Rule::Linearizable]);
    assert_eq!(with(figures(20 * S, 181, 6)), [Rule::Linearizable]);
    assert_eq!(with(figures(20 * S, 120, 7)), [Rule::Linearizable]);
    // The last of the renewals may have grown to sixty, the first to twenty.
    let read = |seq, slots| {
        let old = (1..=3).map(|holder| (holder, 1, seq, slots));
        let new = (1..=3).map(|holder| (holder, 2, 1, 0));
        leases(20 * S, &old.chain(new).collect::<Vec<_>>())
    };
    assert_eq!(with(read(6, 60)), []);
    assert_eq!(with(read(2, 20)), []);
    assert_eq!(with(read(2, 21)).first(), Some(&Rule::Linearizable));
}

#[test]
fn a_later_life_overtakes_requests_and_not_returns() {
    let lives = |between: Option<Record>, after: &[Record]| {
        let mut records = vec![
            at(0, capacity("a"), Answer::Configured { revision: 1 }),
            at(S, take(1, 1, 1, 10), granted(11, 10)),
            at(2 * S, renew(11, 2, 10, 30), unknown()),
            at(3 * S, gives_back(11, 3), unknown()),
        ];
        records.extend(between);
        records.push(at(5 * S, take(1, 2, 1, 10), granted(12, 10)));
        records.extend_from_slice(after);
        broken(&records)
    };
    let first = |seq, slots| (1, 1, seq, slots);
    let second = (1, 2, 1, 10);
    let not_yet = || Some(leases(4 * S, &[first(1, 10)]));
    // It may have been carried out before the second life began, and not afterwards.
    assert_eq!(lives(None, &[leases(6 * S, &[first(2, 30), second])]), []);
    let before = leases(6 * S, &[first(1, 10), second]);
    let late = leases(7 * S, &[first(2, 30), second]);
    assert_eq!(lives(None, std::slice::from_ref(&before)), []);
    let wrong = lives(None, &[before.clone(), late.clone()]);
    assert_eq!(wrong.first(), Some(&Rule::Linearizable));
    assert_eq!(lives(not_yet(), &[late]), []);
    // What is closing can be returned at any time, once.
    let returned = leases(8 * S, &[second]);
    assert_eq!(lives(not_yet(), &[before.clone(), returned.clone()]), []);
    let again = leases(9 * S, &[first(1, 10), second]);
    let wrong = lives(not_yet(), &[before, returned, again]);
    assert_eq!(wrong.first(), Some(&Rule::Linearizable));
}

#[test]
fn an_older_life_may_come_when_the_pool_was_removed() {
    let pool = || "ent".to_string();
    let history = |removed: bool| {
        let mut records = vec![
            at(0, capacity("a"), Answer::Configured { revision: 1 }),
            at(S, take(1, 1, 1, 10), unknown()),
            at(2 * S, take(1, 2, 1, 10), granted(12, 10)),
            at(3 * S, gives_back(12, 2), Answer::Returned { slots: 10 }),
        ];
        if removed {
            let removes = configure("b", Change::RemovePool { pool: pool() });
            records.push(at(4 * S, removes, Answer::Configured { revision: 2 }));
            records.push(at(5 * S, capacity("c"), Answer::Configured { revision: 3 }));
        }
        records.extend([
            leases(6 * S, &[]),
            leases(7 * S, &[(1, 1, 1, 10)]),
            figures(8 * S, 10, 1),
        ]);
        broken(&records)
    };
    assert_eq!(history(true), []);
    assert_eq!(history(false).first(), Some(&Rule::Linearizable));
}

#[test]
fn nothing_is_changed_while_the_revision_stays_the_same() {
    let budget = |at_ns, revision, capacity| {
        let capacities = vec![("ent".to_string(), capacity)];
        let answer = Answer::Budget {
            revision,
            capacities,
        };
        at(at_ns, Call::Budget { stale: false }, answer)
    };
    let inspected = |at_ns, capacity| {
        let Record::Operation(mut read) = figures(at_ns, 0, 0) else {
            panic!("a read is an operation");
        };
        if let Answer::Inspected {
            capacity: shown, ..
        } = &mut read.answer
        {
            *shown = capacity;
        }
        Record::Operation(read)
    };
    let after = |reads: &[Record]| {
        let mut records = vec![at(0, capacity("a"), Answer::Configured { revision: 1 })];
        for n in 1..=3_u64 {
            let change = capacity_of(&format!("b-{n}"), 300 + n);
            records.push(at(n * S, change, unknown()));
        }
        records.extend_from_slice(reads);
        broken(&records)
    };
    let same = || budget(6 * S, 1, 300);
    assert_eq!(after(&[inspected(5 * S, 300), same()]), []);
    assert_eq!(after(&[inspected(5 * S, 302), budget(6 * S, 2, 302)]), []);
    // They are under way for as long as they like.
    let late = [
        inspected(7 * S, 301),
        inspected(8 * S, 303),
        budget(9 * S, 3, 303),
    ];
    assert_eq!(after(&[&[same()], &late[..]].concat()), []);
    // What the pool shows was never the budget's.
    let wrong = after(&[inspected(5 * S, 302), same(), inspected(7 * S, 300)]);
    assert_eq!(wrong, [Rule::Linearizable]);
    assert_eq!(
        after(&[inspected(5 * S, 302), same()]),
        [Rule::Linearizable]
    );
    // A change that was asked for before anything told the revision may have been the first.
    let first = [
        at(0, capacity_of("a", 200), unknown()),
        budget(S, 1, 200),
        inspected(2 * S, 200),
    ];
    assert_eq!(broken(&first), []);
}
