//! The ledger's own source, on loom's atomics: every order in which a few threads can meet (up to three forced
//! switches), and every value that a weak memory could show them.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
#[path = "../src/seats/ledger.rs"]
mod ledger;
#[allow(dead_code)]
#[path = "../src/seats/purse.rs"]
mod purse;
mod sync {
    pub use loom::sync::atomic::{AtomicU64, Ordering};
    pub use loom::thread::yield_now;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use ledger::{Ledger, Usage};

const fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What is known from outside. Loom switches threads at its own atomics alone, so that these change at the same
/// instant as the swap that admits or frees.
#[derive(Default)]
struct World {
    held: AtomicU64,
    /// The most that may be held, plus one; 0 where nothing is said.
    bound: AtomicU64,
    /// Milliseconds.
    time: AtomicU64,
}

impl World {
    fn check(&self) {
        let (held, bound) = (self.held.load(SeqCst), self.bound.load(SeqCst));
        assert!(
            bound == 0 || held < bound,
            "{held} held, and {bound} is one too many"
        );
    }

    fn bind(&self, usage: Usage) {
        self.bound.store(usage.in_use.max(usage.limit) + 1, SeqCst);
        self.check();
    }

    fn admit(&self, ledger: &Ledger, own: usize) -> bool {
        let admitted = ledger.admit_to(own, || {
            // The slot is counted, and the clock still to be read.
            loom::thread::yield_now();
            at(self.time.load(SeqCst))
        });
        if admitted {
            self.held.fetch_add(1, SeqCst);
            self.check();
        }
        admitted
    }

    fn release(&self, ledger: &Ledger, own: usize) {
        ledger.purse(own).release();
        self.held.fetch_sub(1, SeqCst);
    }

    /// No slot is lost and none has been made up.
    fn check_all(&self, ledger: &Ledger, limit: u64) {
        let held = self.held.load(SeqCst);
        assert_eq!(
            ledger.usage(),
            Usage {
                in_use: held,
                limit
            }
        );
        let more = (0..9).filter(|_| ledger.admit_to(2, || at(0))).count() as u64;
        assert_eq!(more, limit.saturating_sub(held));
    }
}

/// Runs the threads against a ledger of two purses and a pot, of which this many seats are in use, and the
/// changes on a thread of their own; ends with this limit.
fn explore(
    limit: u64,
    in_use: u64,
    threads: &'static [fn(&World, &Ledger)],
    changes: fn(&World, &Ledger),
    limit_after: u64,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let shared = Arc::new((World::default(), Ledger::for_threads(2)));
        let (world, ledger) = &*shared;
        ledger.open(limit, at(100));
        for number in 0..in_use {
            assert!(world.admit(ledger, 1 + number as usize % 2));
        }
        let threads: Vec<_> = threads
            .iter()
            .map(|run| {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || run(&shared.0, &shared.1))
            })
            .collect();
        changes(world, ledger);
        for thread in threads {
            thread.join().unwrap();
        }
        world.check_all(ledger, limit_after);
    });
}

fn come_and_go(world: &World, ledger: &Ledger, own: usize) {
    if world.admit(ledger, own) {
        world.release(ledger, own);
    }
}

#[test]
fn one_slot_is_never_held_twice() {
    explore(
        1,
        0,
        &[|w, l| come_and_go(w, l, 1), |w, l| come_and_go(w, l, 2)],
        |world, _| world.bound.store(2, SeqCst),
        1,
    );
}

#[test]
fn a_cap_below_what_is_in_use_binds_while_seats_go_and_come() {
    explore(
        3,
        2,
        &[
            |w, l| {
                w.release(l, 1);
                w.admit(l, 1);
            },
            |w, l| {
                w.release(l, 2);
                w.admit(l, 2);
            },
        ],
        |world, ledger| world.bind(ledger.cap(1)),
        1,
    );
}

#[test]
fn a_cap_above_what_is_in_use_binds_while_users_come() {
    explore(
        4,
        0,
        &[
            |w, l| {
                w.admit(l, 1);
                w.admit(l, 1);
            },
            |w, l| {
                w.admit(l, 2);
                w.admit(l, 2);
            },
        ],
        |world, ledger| world.bind(ledger.cap(2)),
        2,
    );
}

#[test]
fn what_is_owed_is_paid_before_anybody_is_admitted_and_then_purses_fill_again() {
    explore(
        3,
        3,
        &[
            |w, l| {
                w.release(l, 1);
                w.release(l, 2);
                w.admit(l, 1);
            },
            |w, l| w.release(l, 2),
        ],
        |world, ledger| {
            world.bind(ledger.cap(1));
            world.bound.store(0, SeqCst);
            ledger.open(3, at(100));
        },
        3,
    );
}

#[test]
fn who_was_counted_under_one_grant_is_not_admitted_by_the_next_ones_deadline() {
    // Two slots until 100, then, from 150 on, one.
    fn come(world: &World, ledger: &Ledger, own: usize) {
        if world.admit(ledger, own) && world.time.load(SeqCst) == 150 {
            assert_eq!(world.held.load(SeqCst), 1);
        }
    }
    explore(
        2,
        0,
        &[|w, l| come(w, l, 1), |w, l| come(w, l, 2)],
        |world, ledger| {
            world.time.store(150, SeqCst);
            ledger.open(1, at(10_000));
        },
        1,
    );
}

#[test]
fn nobody_is_refused_while_a_slot_is_free_wherever_it_goes_meanwhile() {
    /// Holds at most one of two slots, and frees it where a thread has just looked.
    fn wander(ledger: &Ledger) {
        for (from, to) in [(2, 1), (2, 2), (1, 1), (2, 2)] {
            if !ledger.admit_to(from, || at(0)) {
                return;
            }
            ledger.purse(to).release();
        }
    }
    let mut model = loom::model::Builder::new();
    model.preemption_bound = None;
    model.check(|| {
        let ledger = Arc::new(Ledger::for_threads(2));
        ledger.open(2, at(100));
        assert!(ledger.admit_to(1, || at(0)));
        ledger.purse(2).release();
        let other = Arc::clone(&ledger);
        let other = loom::thread::spawn(move || wander(&other));
        assert!(ledger.admit_to(1, || at(0)), "a slot was free all the time");
        other.join().unwrap();
    });
}
