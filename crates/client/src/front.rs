//! What a keeper gets slots for: seats that are taken as they come, or a queue.

use std::time::Duration;

use crate::queue::Queue;
use crate::seats::Ledger;

/// One of the two.
#[derive(Debug)]
pub enum Front<'a> {
    /// Seats alone.
    Seats(&'a Ledger),
    /// A queue.
    Queue(&'a mut Queue),
}

impl<'a> From<&'a Ledger> for Front<'a> {
    fn from(ledger: &'a Ledger) -> Self {
        Self::Seats(ledger)
    }
}

impl<'a> From<&'a mut Queue> for Front<'a> {
    fn from(queue: &'a mut Queue) -> Self {
        Self::Queue(queue)
    }
}

impl Front<'_> {
    /// How many seats are open, and how many may be.
    pub fn ledger(&self) -> &Ledger {
        match self {
            Self::Seats(ledger) => ledger,
            Self::Queue(queue) => queue.ledger(),
        }
    }

    /// Admits nobody until there is another grant.
    pub fn shut(&mut self) {
        match self {
            Self::Seats(ledger) => {
                ledger.shut();
            }
            Self::Queue(queue) => queue.shut(),
        }
    }

    /// Admits nobody any more.
    pub fn stop(&mut self) {
        match self {
            Self::Seats(ledger) => {
                ledger.shut();
            }
            Self::Queue(queue) => queue.stop(),
        }
    }

    /// Nobody keeps the lease any more: a queue's sessions end.
    pub fn end(&mut self) {
        self.stop();
        if let Self::Queue(queue) = self {
            queue.end_newest(u64::MAX);
        }
    }

    /// The lease has ended, and there will be another.
    pub fn lose(&mut self) {
        match self {
            Self::Seats(ledger) => {
                ledger.shut();
            }
            Self::Queue(queue) => queue.lose(),
        }
    }

    /// Forgets everybody: another life begins, and what the last one issued is not its own.
    pub fn forget(&mut self) {
        match self {
            Self::Seats(ledger) => {
                ledger.shut();
            }
            Self::Queue(queue) => queue.forget(),
        }
    }

    /// When somebody's turn comes, where nothing else happens before.
    pub fn turn_at(&self, now: Duration) -> Option<Duration> {
        match self {
            Self::Seats(_) => None,
            Self::Queue(queue) => queue.turn_at(now),
        }
    }

    /// Lets time go on.
    pub fn tick(&mut self, now: Duration) {
        if let Self::Queue(queue) = self {
            queue.tick(now);
        }
    }

    /// Slots that are covered whatever becomes of the lease.
    pub fn floor(&self) -> u64 {
        match self {
            Self::Seats(_) => 0,
            Self::Queue(queue) => queue.floor(),
        }
    }

    /// The cluster may have given the floor to others: somebody vouched that this holder had stopped.
    pub fn drop_floor(&mut self) {
        if let Self::Queue(queue) = self {
            queue.drop_floor();
        }
    }

    /// No lease can be used now. Says whether that is news.
    pub fn run_out(&mut self, now: Duration, unreachable: bool) -> bool {
        match self {
            Self::Seats(ledger) => {
                ledger.usage().limit > 0 && {
                    ledger.shut();
                    true
                }
            }
            Self::Queue(queue) => {
                let news = queue.may_use_slots() || unreachable && queue.has_floor_to_use();
                if news {
                    queue.run_out(now, unreachable);
                }
                news
            }
        }
    }
}
