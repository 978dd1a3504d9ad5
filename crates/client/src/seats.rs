//! How many seats are open and how many may be: one atomic word, so that admitting a user takes one
//! compare-and-swap and no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most seats that one holder can have open; slots granted above this go unused.
pub const MAX_SEATS: u64 = (1 << COUNT_BITS) - 1;

/// Bits of each of the two counts in the word.
const COUNT_BITS: u32 = 28;
/// How many generations' deadlines are kept. A thread that is slower than this many changes finds that
/// the word has changed under it, and looks again.
const DEADLINES: usize = 8;
/// Stands for a front-end that has never said how many wait.
const UNSAID: u64 = u64::MAX;

/// The word: 8 bits of generation, 28 of limit, 28 of seats in use. The generation names the deadline
/// that goes with the limit, so that no thread can pair one grant's limit with another's deadline.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    fn new(generation: u64, limit: u64, in_use: u64) -> Self {
        Self((generation & 0xff) << (2 * COUNT_BITS) | limit.min(MAX_SEATS) << COUNT_BITS | in_use)
    }
    fn in_use(self) -> u64 {
        self.0 & MAX_SEATS
    }
    fn limit(self) -> u64 {
        self.0 >> COUNT_BITS & MAX_SEATS
    }
    fn generation(self) -> u64 {
        self.0 >> (2 * COUNT_BITS)
    }
    fn slot(self) -> usize {
        (self.generation() % DEADLINES as u64) as usize
    }
}

/// Seats in use and seats allowed at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Seats open.
    pub in_use: u64,
    /// Seats that may be open.
    pub limit: u64,
}

/// The seats of one holder. Any thread admits and releases; one task alone changes the limit.
#[derive(Debug, Default)]
pub struct Ledger {
    word: AtomicU64,
    /// Nanoseconds on the holder's clock, by generation.
    deadlines: [AtomicU64; DEADLINES],
    /// Refusals since they were last asked for.
    refused: AtomicU64,
    /// Users who wait, plus one; 0 where the front-end never said.
    waiting: AtomicU64,
}

impl Ledger {
    /// Admits one user, unless no slot is free or the deadline has come. `now` is read after the slot
    /// is counted, so that a thread that slept in between admits nobody past the deadline.
    pub fn admit(&self, now: impl FnOnce() -> Duration) -> bool {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let word = Word(seen);
            if word.in_use() >= word.limit() {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            let deadline = self.deadlines[word.slot()].load(Ordering::Acquire);
            match self.word.compare_exchange_weak(
                seen,
                seen + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    let in_time = nanos(now()) < deadline;
                    if !in_time {
                        self.release();
                        self.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    return in_time;
                }
                Err(current) => seen = current,
            }
        }
    }

    /// Frees the slot of one admitted user.
    pub fn release(&self) {
        self.word.fetch_sub(1, Ordering::AcqRel);
    }

    /// Allows up to `limit` seats until `deadline`.
    pub fn open(&self, limit: u64, deadline: Duration) {
        let next = Word(self.word.load(Ordering::Acquire)).generation() + 1;
        // Written before the word that names it, which is what publishes it.
        self.deadlines[Word::new(next, 0, 0).slot()].store(nanos(deadline), Ordering::Release);
        self.change(|word| Word::new(next, limit, word.in_use()));
    }

    /// Lowers the limit to `most` where it is higher, and says how many seats are in use at that very
    /// instant: from here on there can't be more than the larger of the two.
    pub fn cap(&self, most: u64) -> Usage {
        let word =
            self.change(|word| Word::new(word.generation(), word.limit().min(most), word.in_use()));
        Usage {
            in_use: word.in_use(),
            limit: word.limit().min(most),
        }
    }

    /// Admits nobody from here on.
    pub fn shut(&self) -> Usage {
        self.cap(0)
    }

    /// Seats in use and allowed.
    pub fn usage(&self) -> Usage {
        let word = Word(self.word.load(Ordering::Acquire));
        Usage {
            in_use: word.in_use(),
            limit: word.limit(),
        }
    }

    /// Says how many users wait.
    pub fn set_waiting(&self, users: u64) {
        self.waiting
            .store(users.min(UNSAID - 1) + 1, Ordering::Relaxed);
    }

    /// Users who found no seat: those who wait where the front-end says so, or else refusals since they
    /// were last forgotten.
    pub fn unserved(&self) -> u64 {
        match self.waiting.load(Ordering::Relaxed) {
            0 => self.refused.load(Ordering::Relaxed),
            waiting => waiting - 1,
        }
    }

    /// Forgets the refusals so far.
    pub fn forget_refusals(&self) {
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Changes the word, and gives back what it was.
    fn change(&self, f: impl Fn(Word) -> Word) -> Word {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            match self.word.compare_exchange_weak(
                seen,
                f(Word(seen)).0,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(before) => return Word(before),
                Err(current) => seen = current,
            }
        }
    }
}

/// Nanoseconds of a time on the holder's clock; enough for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One user's session, using one slot of a holder's lease. Dropping it frees the slot.
#[derive(Debug)]
#[must_use = "dropping the seat ends the session"]
pub struct Seat {
    ledger: Arc<Ledger>,
}

impl Seat {
    /// Admits one user, where a slot is free and the deadline has not come.
    pub(crate) fn take(ledger: &Arc<Ledger>, now: impl FnOnce() -> Duration) -> Option<Self> {
        ledger.admit(now).then(|| Self {
            ledger: Arc::clone(ledger),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.ledger.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn admits_up_to_the_limit_and_again_as_seats_are_freed() {
        let ledger = Arc::new(Ledger::default());
        assert!(Seat::take(&ledger, || at(0)).is_none(), "nothing granted");
        ledger.open(2, at(100));
        let first = Seat::take(&ledger, || at(1)).unwrap();
        let _second = Seat::take(&ledger, || at(1)).unwrap();
        assert!(Seat::take(&ledger, || at(1)).is_none());
        assert_eq!(ledger.unserved(), 2);
        drop(first);
        let _third = Seat::take(&ledger, || at(1)).unwrap();
        assert_eq!(
            ledger.usage(),
            Usage {
                in_use: 2,
                limit: 2
            }
        );
    }

    #[test]
    fn admits_nobody_at_the_deadline_or_after_it() {
        let ledger = Ledger::default();
        ledger.open(10, at(100));
        assert!(ledger.admit(|| at(100) - Duration::from_nanos(1)));
        assert!(!ledger.admit(|| at(100)));
        assert!(!ledger.admit(|| at(5_000)));
        assert_eq!(ledger.usage().in_use, 1, "a refused try holds no slot");
    }

    #[test]
    fn a_limit_never_goes_with_a_later_grants_deadline() {
        // The new deadline is published between the slow thread's swap and its look at the clock: the
        // old limit was over by then, and it must not admit.
        let ledger = Ledger::default();
        ledger.open(5, at(100));
        let admitted = ledger.admit(|| {
            ledger.open(1, at(10_000));
            at(150)
        });
        assert!(!admitted);
        assert_eq!(
            ledger.usage(),
            Usage {
                in_use: 0,
                limit: 1
            }
        );
    }

    #[test]
    fn a_cap_says_what_is_in_use_and_binds_from_then_on() {
        let ledger = Ledger::default();
        ledger.open(10, at(100));
        for _ in 0..6 {
            assert!(ledger.admit(|| at(0)));
        }
        assert_eq!(
            ledger.cap(4),
            Usage {
                in_use: 6,
                limit: 4
            }
        );
        assert_eq!(
            ledger.cap(8),
            Usage {
                in_use: 6,
                limit: 4
            },
            "never raises"
        );
        ledger.release();
        ledger.release();
        assert!(!ledger.admit(|| at(0)), "4 of 4");
        ledger.release();
        assert!(ledger.admit(|| at(0)));
    }

    #[test]
    fn waiting_users_count_in_place_of_refusals_once_said() {
        let ledger = Ledger::default();
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

    #[test]
    fn a_limit_beyond_the_most_is_the_most() {
        let ledger = Ledger::default();
        ledger.open(u64::MAX, at(1));
        assert_eq!(
            ledger.usage(),
            Usage {
                in_use: 0,
                limit: MAX_SEATS
            }
        );
    }

    #[test]
    fn threads_never_hold_more_than_a_moving_limit_and_lose_no_slot() {
        let ledger = Arc::new(Ledger::default());
        ledger.open(50, at(1_000));
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_000_u32 {
                        let Some(seat) = Seat::take(&ledger, || at(1)) else {
                            continue;
                        };
                        // 50 is the highest limit there ever is.
                        if ledger.usage().in_use > 50 {
                            over.store(true, Ordering::Relaxed);
                        }
                        if round % 64 == 0 {
                            std::thread::yield_now();
                        }
                        drop(seat);
                    }
                });
            }
            scope.spawn(|| {
                for round in 0..2_000_u64 {
                    ledger.open(round % 51, at(1_000));
                    let seen = ledger.cap(round % 7);
                    let after = ledger.usage().in_use;
                    if after > seen.in_use.max(seen.limit) {
                        over.store(true, Ordering::Relaxed);
                    }
                }
                ledger.open(50, at(1_000));
            });
        });
        assert!(!over.load(Ordering::Relaxed));
        assert_eq!(
            ledger.usage(),
            Usage {
                in_use: 0,
                limit: 50
            }
        );
    }
}
