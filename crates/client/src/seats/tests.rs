//! What a ledger does, with one word and with several.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

const fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Of one word, of two purses, and of as many as there can be.
fn each() -> [Ledger; 3] {
    [1, 2, 1_000].map(Ledger::for_threads)
}

fn usage(in_use: u64, limit: u64) -> Usage {
    Usage { in_use, limit }
}

#[test]
fn admits_up_to_the_limit_and_again_as_seats_are_freed() {
    for ledger in each() {
        assert!(Seat::take(&ledger, || at(0)).is_none(), "nothing granted");
        ledger.open(2, at(100));
        let first = Seat::take(&ledger, || at(1)).unwrap();
        let _second = Seat::take(&ledger, || at(1)).unwrap();
        assert!(Seat::take(&ledger, || at(1)).is_none());
        assert_eq!(ledger.unserved(), 2);
        drop(first);
        let _third = Seat::take(&ledger, || at(1)).unwrap();
        assert_eq!(ledger.usage(), usage(2, 2));
    }
}

#[test]
fn admits_nobody_at_the_deadline_or_after_it() {
    for ledger in each() {
        ledger.open(10, at(100));
        assert!(ledger.admit(|| at(100) - Duration::from_nanos(1)));
        assert!(!ledger.admit(|| at(100)));
        assert!(!ledger.admit(|| at(5_000)));
        assert_eq!(ledger.usage().in_use, 1, "a refused try holds no slot");
    }
}

#[test]
fn a_limit_never_goes_with_a_later_grants_deadline() {
    // The new deadline is published between the slow thread's swap and its look at the clock: the
    // old limit was over by then, and it must not admit.
    for ledger in each() {
        ledger.open(5, at(100));
        let admitted = ledger.admit(|| {
            ledger.open(1, at(10_000));
            at(150)
        });
        assert!(!admitted);
        assert_eq!(ledger.usage(), usage(0, 1));
    }
}

#[test]
fn a_deadline_that_comes_earlier_than_the_last_binds_every_slot() {
    for ledger in each() {
        ledger.open(40, Duration::MAX);
        ledger.open(40, at(100));
        for _ in 0..40 {
            assert!(!ledger.admit(|| at(100)));
            assert!(ledger.admit(|| at(99)));
        }
    }
}

#[test]
fn a_cap_says_what_is_in_use_and_binds_from_then_on() {
    for ledger in each() {
        ledger.open(10, at(100));
        for _ in 0..6 {
            assert!(ledger.admit(|| at(0)));
        }
        assert_eq!(ledger.cap(4), usage(6, 4));
        assert_eq!(ledger.cap(8), usage(6, 4), "never raises");
        ledger.release();
        ledger.release();
        assert!(!ledger.admit(|| at(0)), "4 of 4");
        ledger.release();
        assert!(ledger.admit(|| at(0)));
    }
}

#[test]
fn waiting_users_count_in_place_of_refusals_once_said() {
    for ledger in each() {
        assert!(!ledger.admit(|| at(0)));
        assert_eq!(ledger.unserved(), 1);
        ledger.forget_refusals();
        assert_eq!(ledger.unserved(), 0);
        assert!(!ledger.admit(|| at(0)));
        ledger.set_waiting(40);
        assert_eq!(ledger.unserved(), 40);
        ledger.set_waiting(0);
        assert_eq!(ledger.unserved(), 0);
    }
}

#[test]
fn a_limit_beyond_the_most_is_the_most() {
    for ledger in each() {
        ledger.open(u64::MAX, at(1));
        assert_eq!(ledger.usage(), usage(0, MAX_SEATS));
        assert!(ledger.admit(|| at(0)));
        ledger.open(0, at(1));
        assert_eq!(ledger.usage(), usage(1, 0));
    }
}

#[test]
fn a_seat_may_go_on_another_thread_and_after_the_ledger() {
    for ledger in each() {
        ledger.open(1, at(100));
        let seat = Seat::take(&ledger, || at(0)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(Seat::take(&ledger, || at(0)).is_none());
                drop(seat);
            });
        });
        let last = Seat::take(&ledger, || at(0)).unwrap();
        drop(ledger);
        drop(last);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit { own: usize, late: bool },
    Release { own: usize },
    Open { limit: u64 },
    Cap { most: u64 },
}

fn step(purses: usize) -> impl Strategy<Value = Step> {
    let limit = prop_oneof![3 => 0..12_u64, 1 => 0..200_u64];
    prop_oneof![
        8 => (0..purses, prop::bool::weighted(0.1)).prop_map(|(own, late)| Step::Admit { own, late }),
        6 => (0..purses).prop_map(|own| Step::Release { own }),
        1 => limit.clone().prop_map(|limit| Step::Open { limit }),
        1 => limit.prop_map(|most| Step::Cap { most }),
    ]
}

proptest! {
    #[test]
    fn several_words_do_what_two_numbers_would(steps in prop::collection::vec(step(5), 1..200)) {
        let ledger = Ledger::for_threads(4);
        let (mut in_use, mut limit, mut refused) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Admit { own, late } => {
                    let admits = in_use < limit && !late;
                    prop_assert_eq!(ledger.admit_to(own, || at(if late { 100 } else { 99 })), admits);
                    in_use += u64::from(admits);
                    refused += u64::from(!admits);
                }
                Step::Release { own } if in_use > 0 => {
                    ledger.purse(own).release();
                    in_use -= 1;
                }
                Step::Release { .. } => {}
                Step::Open { limit: new } => {
                    ledger.open(new, at(100));
                    limit = new;
                }
                Step::Cap { most } => {
                    limit = limit.min(most);
                    prop_assert_eq!(ledger.cap(most), usage(in_use, limit));
                }
            }
            prop_assert_eq!(ledger.usage(), usage(in_use, limit));
            prop_assert_eq!(ledger.unserved(), refused);
        }
    }
}

/// Counts seats from outside: from after each was taken to before it is freed, so never too many.
#[derive(Debug, Default)]
struct Outside {
    held: AtomicU64,
    wrong: AtomicBool,
}

impl Outside {
    fn sit(&self, ledger: &Ledger, most: u64) -> bool {
        let Some(seat) = Seat::take(ledger, || at(1)) else {
            return false;
        };
        if self.held.fetch_add(1, Ordering::SeqCst) >= most {
            self.wrong.store(true, Ordering::Relaxed);
        }
        std::hint::spin_loop();
        self.held.fetch_sub(1, Ordering::SeqCst);
        drop(seat);
        true
    }
}

#[test]
fn threads_never_hold_more_than_a_moving_limit_and_lose_no_slot() {
    for ledger in each() {
        ledger.open(50, at(1_000));
        let outside = Outside::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut kept = Vec::new();
                    for round in 0..20_000_u32 {
                        outside.sit(&ledger, 50);
                        // Some are held for longer, so that limits are lowered below what is in use.
                        kept.truncate(round as usize % 16);
                        if let Some(seat) = Seat::take(&ledger, || at(1)) {
                            outside.held.fetch_add(1, Ordering::SeqCst);
                            kept.push(Held(seat, &outside));
                        }
                        if round % 64 == 0 {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            scope.spawn(|| {
                for round in 0..2_000_u64 {
                    ledger.open(round % 51, at(1_000));
                    let seen = ledger.cap(round % 37);
                    let most = seen.in_use.max(seen.limit);
                    for _ in 0..20 {
                        if outside.held.load(Ordering::SeqCst) > most {
                            outside.wrong.store(true, Ordering::Relaxed);
                        }
                    }
                    if ledger.usage().in_use > most {
                        outside.wrong.store(true, Ordering::Relaxed);
                    }
                }
                ledger.open(50, at(1_000));
            });
        });
        assert!(!outside.wrong.load(Ordering::Relaxed));
        assert_eq!(ledger.usage(), usage(0, 50));
        assert_eq!((0..60).filter(|_| ledger.admit(|| at(1))).count(), 50);
    }
}

/// A seat that is counted from outside.
struct Held<'a>(#[allow(dead_code)] Seat, &'a Outside);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // The seat itself goes after this.
        self.1.held.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn nobody_is_refused_while_there_are_as_many_slots_as_threads() {
    const THREADS: u64 = 4;
    for ledger in each() {
        ledger.open(THREADS, at(1_000));
        let outside = Outside::default();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if !outside.sit(&ledger, THREADS + 3) {
                            outside.wrong.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
            // Renewed all the time, for some more or for no more.
            scope.spawn(|| {
                for round in 0..4_000_u64 {
                    ledger.open(THREADS + round % 4, at(1_000));
                    ledger.cap(THREADS);
                }
            });
        });
        assert!(!outside.wrong.load(Ordering::Relaxed));
        assert_eq!(ledger.usage(), usage(0, THREADS));
    }
}
