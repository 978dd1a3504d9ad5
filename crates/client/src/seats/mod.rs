//! Seats: one for each user who is in, admitted without a lock.

mod ledger;
mod purse;

/// What the ledger is made of: a test that goes through the orders in which threads can meet gives it its own.
mod sync {
    pub use std::sync::atomic::{AtomicU64, Ordering};
    pub use std::thread::yield_now;
}

use std::sync::Arc;
use std::time::Duration;

pub use ledger::{Ledger, Usage};
pub use purse::MAX_SEATS;
use purse::Purse;

/// One user's session, using one slot of a holder's lease. Dropping it, on any thread, frees the slot.
#[derive(Debug)]
#[must_use = "dropping the seat ends the session"]
pub struct Seat {
    /// That of the thread which took the seat: the count of who shares it stays with that thread as well.
    purse: Arc<Purse>,
}

impl Seat {
    /// Admits one user, where a slot is free and the deadline has not come.
    pub(crate) fn take(ledger: &Ledger, now: impl FnOnce() -> Duration) -> Option<Self> {
        let own = ledger.own();
        ledger.admit_to(own, now).then(|| Self {
            purse: Arc::clone(ledger.purse(own)),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.purse.release();
    }
}

#[cfg(test)]
mod tests;
