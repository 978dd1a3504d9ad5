//! All states of the model within small bounds, and the bugs that are found there.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Instant;

use model::{Bounds, Bug};
use stateright::{Checker, HasDiscoveries, Model};

/// Holders by lives and requests in each life, slots, ticks of a lease.
fn bounds(holders: &[(u8, u8)], capacity: u8, ttl_ticks: u8) -> Bounds {
    let (holders, lowered, bug) = (holders.to_vec(), capacity, None);
    Bounds {
        lowered,
        holders,
        capacity,
        ttl_ticks,
        bug,
    }
}

/// Goes through all states, and returns how many there are.
fn all_states_are_right(bounds: Bounds) -> usize {
    let begun = Instant::now();
    let checker = bounds.clone().checker().threads(2).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!(
        "{bounds:?}: {states} states, {depth} steps deep, in {:?}",
        begun.elapsed()
    );
    assert!(checker.is_done());
    checker.assert_properties();
    states
}

#[test]
fn one_holder_starts_anew() {
    assert_eq!(
        all_states_are_right(bounds(&[(2, 2), (1, 2)], 2, 2)),
        2_131_898
    );
}

#[test]
fn longer_leases_and_a_slot_that_does_not_divide() {
    assert_eq!(
        all_states_are_right(bounds(&[(1, 2), (1, 2)], 3, 3)),
        721_808
    );
}

#[test]
fn three_holders() {
    assert_eq!(
        all_states_are_right(bounds(&[(1, 1), (1, 1), (1, 2)], 2, 2)),
        460_920
    );
}

#[test]
fn a_capacity_that_is_lowered() {
    let bounds = Bounds {
        lowered: 1,
        ..bounds(&[(1, 2), (1, 2)], 2, 2)
    };
    assert_eq!(all_states_are_right(bounds), 645_586);
}

#[test]
#[ignore = "takes minutes: the same with wider bounds"]
fn wider_bounds() {
    for holders in [[(1, 3), (1, 2)], [(2, 2), (2, 2)]] {
        all_states_are_right(bounds(&holders, 2, 2));
    }
}

/// What is broken first by a bug, and in how many steps.
fn broken_by(bug: Bug) -> Option<(&'static str, usize)> {
    let lowered = if bug == Bug::TakeAway { 1 } else { 2 };
    let bounds = Bounds {
        bug: Some(bug),
        lowered,
        ..bounds(&[(2, 2), (1, 2)], 2, 2)
    };
    let checker = bounds
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let broken = checker.discoveries().into_iter();
    let mut broken: Vec<(usize, &'static str)> = broken
        .filter(|(name, _)| checker.discovery_classification(name).to_string() == "counterexample")
        .map(|(name, path)| (path.into_states().len() - 1, name))
        .collect();
    broken.sort_unstable();
    broken.first().map(|&(steps, name)| (name, steps))
}

#[test]
fn planted_bugs_are_found() {
    let bugs = [
        Bug::ExpireEarly,
        Bug::ForgetDrift,
        Bug::CountFromAnswer,
        Bug::CountLowered,
        Bug::SkipDedup,
        Bug::ForgetClosing,
        Bug::CapLate,
        Bug::WallClock,
        Bug::NeverExpire,
        Bug::TakeAway,
        Bug::GrowUnconfirmed,
        Bug::AnswerUndecided,
    ];
    for bug in bugs {
        let begun = Instant::now();
        let broken = broken_by(bug);
        println!("{bug:?}: {broken:?} in {:?}", begun.elapsed());
        assert!(broken.is_some(), "{bug:?} is not found");
    }
}
