//! How many seats are open and how many may be, for many threads at once.
//!
//! The free slots are in purses: a pot that is everybody's, and one purse for each so many threads. A thread
//! takes from its own, and looks at the others only where that is empty; it frees into its own. So threads that
//! come and go share no cache line, and yet no slot is out of anybody's reach. Slots are put into purses and
//! taken out of use in place, never carried from one to another: there is no instant at which one is nowhere.
//!
//! Free slots and seats in use add up to the limit. Where it is lowered below what is in use, the difference is
//! owed: the pot goes below zero, all purses are empty by then, and what is freed goes to the pot alone, until the
//! limit is next opened with nothing owed. That is the ledger of one word, which a ledger without purses always is.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::purse::{Apart, Deadlines, MAX_SEATS, Purse};
use super::sync::{AtomicU64, Ordering, yield_now};

/// Most purses beside the pot: all are looked through before anybody is refused.
const MOST_PURSES: usize = 16;
/// Stands for a front-end that has never said how many wait.
const UNSAID: u64 = u64::MAX;

/// Seats in use and seats allowed at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Seats open.
    pub in_use: u64,
    /// Seats that may be open.
    pub limit: u64,
}

/// The seats of one holder. Any thread admits and releases; one task alone changes the limit.
#[derive(Debug)]
pub struct Ledger {
    /// The pot first.
    purses: Box<[Arc<Purse>]>,
    deadlines: Deadlines,
    limit: AtomicU64,
    /// Odd while the limit is being changed.
    changes: AtomicU64,
    /// Users who wait, plus one; 0 where the front-end never said.
    waiting: Apart<AtomicU64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::for_threads(1)
    }
}

impl Ledger {
    /// A ledger that admits nobody yet, made for this many threads at a time.
    pub fn for_threads(threads: usize) -> Self {
        let pot = Arc::new(Purse::new(None));
        let others = match threads {
            0 | 1 => 0,
            _ => threads.min(MOST_PURSES).next_power_of_two(),
        };
        let purse = |_| Arc::new(Purse::new(Some(Arc::clone(&pot))));
        let others: Vec<_> = (0..others).map(purse).collect();
        Self {
            purses: std::iter::once(pot).chain(others).collect(),
            deadlines: Deadlines::new(),
            limit: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            waiting: Apart(AtomicU64::new(0)),
        }
    }

    /// Admits one user, unless no slot is free or the deadline has come. `now` is read after the slot
    /// is counted, so that a thread that slept in between admits nobody past the deadline.
    pub fn admit(&self, now: impl FnOnce() -> Duration) -> bool {
        self.admit_to(self.own(), now)
    }

    /// As [`Ledger::admit`], for a thread whose own purse is the one with this number.
    pub fn admit_to(&self, own: usize, now: impl FnOnce() -> Duration) -> bool {
        let purse = &self.purses[own];
        let slot = purse.take(&self.deadlines).ok();
        if let Some(deadline) = slot.or_else(|| self.find(own)) {
            if nanos(now()) < deadline {
                return true;
            }
            purse.release();
        }
        purse.refused.0.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Frees the slot of one admitted user.
    pub fn release(&self) {
        self.purses[self.own()].release();
    }

    /// The number of this thread's own purse.
    pub fn own(&self) -> usize {
        match self.purses.len() - 1 {
            0 => 0,
            // A power of two.
            others => 1 + (thread_number() & (others - 1)),
        }
    }

    /// The purse with this number.
    pub fn purse(&self, own: usize) -> &Arc<Purse> {
        &self.purses[own]
    }

    /// Takes a slot wherever there is one, and gives its deadline. `None` only where there was an instant
    /// at which none was free: all purses were empty twice, with nothing freed in between.
    fn find(&self, own: usize) -> Option<u64> {
        let (before, from) = self.purses.split_at(own);
        let mut last = None;
        loop {
            let mut versions = 0_u64;
            for purse in from.iter().chain(before) {
                match purse.take(&self.deadlines) {
                    Ok(deadline) => return Some(deadline),
                    Err(version) => versions = versions.wrapping_add(version),
                }
            }
            if last.replace(versions) == Some(versions) {
                return None;
            }
        }
    }

    /// Allows up to `limit` seats until `deadline`.
    pub fn open(&self, limit: u64, deadline: Duration) {
        let limit = limit.min(MAX_SEATS);
        self.change_limit(|before| {
            self.take_away(before.saturating_sub(limit));
            let (pot, others) = self.pot_and_others();
            let generation = pot.generation() + 1;
            // Written before the words that name it, which is what publishes it.
            self.deadlines.set(generation, nanos(deadline));
            let more = limit.saturating_sub(before);
            let not_owed = more.saturating_sub(owed(pot));
            let share = not_owed.checked_div(others.len() as u64).unwrap_or(0);
            pot.open(generation, more - share * others.len() as u64, false);
            let owes = owed(pot) > 0;
            for purse in others {
                purse.open(generation, share, owes);
            }
            limit
        });
    }

    /// Lowers the limit to `most` where it is higher, and says how many seats are in use: from here on there
    /// can't be more than the larger of the two. Where more are in use than allowed, that is how many there
    /// were at one instant.
    pub fn cap(&self, most: u64) -> Usage {
        self.change_limit(|before| {
            self.take_away(before.saturating_sub(most));
            before.min(most)
        });
        self.usage()
    }

    /// Admits nobody from here on.
    pub fn shut(&self) -> Usage {
        self.cap(0)
    }

    /// Seats in use and allowed. With several purses and seats that come and go meanwhile, those in use may be off
    /// by as many, where they are not more than the limit.
    pub fn usage(&self) -> Usage {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            if changes.is_multiple_of(2) {
                let usage = self.count();
                if self.changes.load(Ordering::Acquire) == changes {
                    return usage;
                }
            }
            yield_now();
        }
    }

    fn count(&self) -> Usage {
        let limit = self.limit.load(Ordering::Acquire);
        let (pot, others) = self.pot_and_others();
        let in_use = match pot.free() {
            // Everything is empty then.
            owed @ ..0 => limit + owed.unsigned_abs(),
            free => {
                let others: u64 = others.iter().map(|purse| purse.free().unsigned_abs()).sum();
                limit.saturating_sub(free.unsigned_abs() + others)
            }
        };
        Usage { in_use, limit }
    }

    /// Says how many users wait.
    pub fn set_waiting(&self, users: u64) {
        self.waiting
            .0
            .store(users.min(UNSAID - 1) + 1, Ordering::Relaxed);
    }

    /// Users who found no seat: those who wait where the front-end says so, or else refusals since they
    /// were last forgotten.
    pub fn unserved(&self) -> u64 {
        match self.waiting.0.load(Ordering::Relaxed) {
            0 => {
                let refused = |purse: &Arc<Purse>| purse.refused.0.load(Ordering::Relaxed);
                self.purses.iter().map(refused).sum()
            }
            waiting => waiting - 1,
        }
    }

    /// Forgets the refusals so far.
    pub fn forget_refusals(&self) {
        for purse in &self.purses {
            purse.refused.0.store(0, Ordering::Relaxed);
        }
    }

    /// Takes this many slots out of use: free ones where there are so many, or else what is in use is owed.
    fn take_away(&self, slots: u64) {
        let (pot, others) = self.pot_and_others();
        let mut left = slots;
        for purse in &self.purses {
            if left == 0 {
                return;
            }
            left -= purse.take_away(left, false);
        }
        // The rest is in use, or was freed behind this thread. Once no purse takes any, the pot tells which.
        for purse in others {
            left -= purse.take_away(left, true);
        }
        pot.owe(left);
    }

    /// Changes the limit from what it was to what `f` says.
    fn change_limit(&self, f: impl FnOnce(u64) -> u64) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        let limit = f(self.limit.load(Ordering::Acquire));
        self.limit.store(limit, Ordering::Release);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn pot_and_others(&self) -> (&Purse, &[Arc<Purse>]) {
        (&self.purses[0], &self.purses[1..])
    }
}

/// Seats in use beyond the limit.
fn owed(pot: &Purse) -> u64 {
    pot.free().min(0).unsigned_abs()
}

/// Nanoseconds of a time on the holder's clock; enough for 584 years.
fn nanos(time: Duration) -> u64 {
    time.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(time.subsec_nanos().into())
}

/// A number for each thread that asks: 0 for the first, and so on.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|number| *number)
}
