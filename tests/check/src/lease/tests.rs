//! What the state remembers, whatever else happens meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::history::Granted;

/// A request of a holder of two lives, with two leases in each; or that an operator ends them.
fn call(random: &mut fastrand::Rng) -> Call {
    let (pool, epoch, seq) = (String::from("ent"), random.u64(1..3), random.u64(1..7));
    let (lease, kept) = (10 * epoch + random.u64(0..2), random.u64(0..4));
    let (holder, wanted) = (String::from("portal"), random.u64(0..4));
    match random.u8(0..9) {
        0..=2 => Call::Take {
            pool,
            region: "corse".into(),
            holder,
            epoch,
            seq,
            wanted,
        },
        3..=5 => Call::Renew {
            pool,
            lease,
            seq,
            kept,
            wanted,
        },
        6..=7 => Call::Return { pool, lease, seq },
        _ => Call::RemoveHolder {
            request_id: "a".into(),
            pool: Some(pool),
            holder,
        },
    }
}

fn answer(call: &Call, random: &mut fastrand::Rng) -> Answer {
    let granted = |lease, slots| {
        Answer::Granted(Granted {
            lease,
            slots,
            target: slots,
            ttl_ms: 1_000,
            drift_ppm: 0,
            floor: 0,
        })
    };
    let slots = random.u64(0..4);
    match *call {
        Call::Take { epoch, .. } if random.bool() => granted(10 * epoch + random.u64(0..2), slots),
        Call::Renew { lease, .. } if random.bool() => granted(lease, slots),
        Call::Return { .. } if random.bool() => Answer::Returned { slots },
        _ => Answer::Unknown("timed out".into()),
    }
}

#[test]
fn what_took_effect_changes_nothing_once_more() {
    let mut random = fastrand::Rng::with_seed(1);
    let owners: BTreeMap<u64, (&str, u64)> = [10, 11, 20, 21]
        .map(|lease| (lease, ("portal", lease / 10)))
        .into();
    let retried = BTreeSet::new();
    let model = Leases {
        pool: "ent",
        holder: None,
        owners: &owners,
        retried: &retried,
        forgets: false,
    };
    let mut checked = BTreeMap::new();
    for _ in 0..4_000 {
        let asked: Vec<(Call, Answer)> = (0..60)
            .map(|_| {
                let call = call(&mut random);
                let answer = answer(&call, &mut random);
                (call, answer)
            })
            .collect();
        let mut state = model.initial();
        let mut done: Vec<Step<'_>> = Vec::new();
        for (call, answer) in &asked {
            let step = match random.u8(0..6) {
                0 => Step::Expires(Asked {
                    holder: "portal",
                    epoch: random.u64(1..3),
                    seq: random.u64(1..7),
                }),
                _ => Step::Asked(call, answer),
            };
            let next = model.step(&state, &step);
            let Some(next) = random.choice(next) else {
                continue;
            };
            let unsure =
                !matches!(step, Step::Asked(_, answer) if !matches!(answer, Answer::Unknown(_)));
            if next != state && unsure && model.remembers(&step) {
                done.push(step);
            }
            state = next;
            for step in &done {
                let again = model.step(&state, step);
                assert!(
                    again.iter().all(|after| *after == state),
                    "{step:?} in {state:?}"
                );
                let of = match step {
                    Step::Asked(Call::Take { .. }, _) => "take",
                    Step::Asked(Call::Renew { .. }, _) => "renew",
                    Step::Asked(..) => "return",
                    _ => "expires",
                };
                *checked.entry(of).or_insert(0) += 1;
            }
        }
    }
    assert!(
        checked.len() == 4 && checked.values().all(|&n| n > 1_000),
        "{checked:?}"
    );
}

#[test]
fn who_may_be_forgotten_is_not_remembered() {
    let (owners, retried) = (BTreeMap::new(), BTreeSet::new());
    let call = Call::Take {
        pool: "ent".into(),
        region: "corse".into(),
        holder: "portal".into(),
        epoch: 1,
        seq: 1,
        wanted: 2,
    };
    let answer = Answer::Unknown("timed out".into());
    let (take, asked) = (
        Step::Asked(&call, &answer),
        Asked {
            holder: "portal",
            epoch: 1,
            seq: 1,
        },
    );
    let model = Leases {
        pool: "ent",
        holder: None,
        owners: &owners,
        retried: &retried,
        forgets: true,
    };
    let mut state = model.initial();
    for step in [take, Step::Expires(asked), Step::Forgets(asked)] {
        assert!(!model.remembers(&step));
        state = model.step(&state, &step).remove(0);
    }
    // It takes effect once more: the search has to know that it did.
    assert!(
        model
            .step(&state, &take)
            .iter()
            .any(|after| *after != state)
    );
}
