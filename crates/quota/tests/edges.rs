//! The largest numbers there can be.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::*;
use quota::limits::*;
use quota::{Batch, Bucket, Claim, Command, Report, State, TokenClaim, share};

#[test]
fn sums_of_the_most_slots_of_all() {
    let mut state = State::default();
    let changes = vec![
        set_pool("ent", MAX_SLOTS),
        set_region("corse", MAX_SLOTS, None, MAX_WEIGHT),
        set_region("mayotte", 0, None, 1),
    ];
    run(&mut state, 0, configure("start", changes)).unwrap();
    let commands = (0..MAX_COMMANDS).map(|i| {
        let region = if i % 2 == 0 { "corse" } else { "mayotte" };
        take(region, &i.to_string(), 1, 1, MAX_SLOTS)
    });
    let commands = commands.collect();
    let time_ms = 0;
    state.apply(&Batch { time_ms, commands });
    let pool = state.pool("ent").unwrap();
    assert_eq!(pool.wanted, MAX_COMMANDS as u64 * MAX_SLOTS);
    assert_eq!(pool.held, MAX_SLOTS);
    let again = State::restore(&state.snapshot()).unwrap();
    assert_eq!(again.snapshot(), state.snapshot());
}

#[test]
fn nominals_that_add_up_to_far_too_much() {
    let mut state = State::default();
    let mut changes = vec![set_pool("ent", MAX_SLOTS)];
    let regions = (0..MAX_REGIONS_PER_POOL).map(|i| set_region(&i.to_string(), MAX_SLOTS, None, 1));
    changes.extend(regions);
    let refusal = run(&mut state, 0, configure("start", changes)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "pool \"ent\": the nominals of its regions add up to 4096000000000000, over its capacity of 1000000000000"
    );
}

#[test]
fn claims_as_high_as_numbers_go() {
    let claim = |name, weight| Claim {
        name,
        demand: u64::MAX,
        nominal: 0,
        ceiling: None,
        weight,
    };
    let claims = [claim("a", u32::MAX), claim("b", 1)];
    let granted = share(u64::MAX, &claims);
    assert_eq!(
        granted.iter().map(|&g| u128::from(g)).sum::<u128>(),
        u64::MAX.into()
    );
}

/// Nothing overflows at the end of time: what is granted there has run out by the next batch.
#[test]
fn the_end_of_time() {
    let mut state = State::default();
    let changes = vec![set_pool("ent", 10), set_region("corse", 0, None, 1)];
    run(&mut state, 0, configure("start", changes)).unwrap();
    let end = u64::MAX;
    granted(run(&mut state, end - 1, take("corse", "ajaccio", 1, 1, 5)));
    let lease = granted(run(
        &mut state,
        end,
        take("corse", "bastia", u64::MAX, u64::MAX, 5),
    ));
    let mut again = State::restore(&state.snapshot()).unwrap();
    assert!(run(&mut again, end, renew(lease.lease, u64::MAX, 5, 5)).is_err());
    assert_eq!(again.pool("ent").unwrap().held, 0);
    assert_eq!(again.next_event_ms(end), Some(end));
}

#[test]
fn reports_at_the_end_of_time() {
    let mut state = State::default();
    let changes = vec![set_pool("ent", MAX_SLOTS), set_region("corse", 0, None, 1)];
    run(&mut state, 0, configure("start", changes)).unwrap();
    for time_ms in [u64::MAX - 1, u64::MAX] {
        let holder = time_ms.to_string();
        let lease = granted(run(&mut state, time_ms, take("corse", &holder, 1, 1, 0))).lease;
        for seq in 2..4 {
            let bucket = |second| Bucket {
                class: 0,
                second,
                users: u32::MAX,
            };
            let report = Report {
                lease,
                seq,
                kept: 0,
                in_use: 0,
                spare: MAX_SLOTS,
                waiting: vec![bucket(0), bucket(u32::MAX)],
                exact_until_s: u32::MAX,
                left: MAX_SLOTS,
                floor: 0,
                claims: vec![TokenClaim { id: 1, issuer: 1 }],
                released: vec![1],
                refused: vec![2],
            };
            let _ = run(&mut state, time_ms, Command::ReportV2(report));
            let again = State::restore(&state.snapshot()).unwrap();
            assert_eq!(again.snapshot(), state.snapshot());
            state.queues("ent");
        }
    }
}
