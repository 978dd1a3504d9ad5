//! The front-ends of the regions: a real holder each, and the users who come, wait, enter and leave.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use client::{Holder, Seat, Status};
use tokio::sync::watch;

use super::morning::{Assumed, Pupils};

/// How long all front-ends together may take to give their leases back.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What is counted of one front-end, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users who came.
    pub arrived: u64,
    /// Users who got a seat.
    pub admitted: u64,
    /// Users for whom there was none when they came, and who then waited.
    pub refused: u64,
    /// Sessions ended before their time, because no lease covered them any more. Their users wait again.
    pub cut_short: u64,
    /// Users who wait now, and the most who ever did.
    pub waiting: u64,
    pub peak_waiting: u64,
    /// Sessions open now.
    pub in_use: u64,
}

/// Sessions of all front-ends together, against what the cluster may have out.
#[derive(Debug, Default)]
pub struct Books {
    pub in_use: u64,
    pub peak_in_use: u64,
    /// The most sessions that were ever open beyond the budget.
    pub over_budget: u64,
    /// Slots that may be out, as of the last look and the one before.
    allowed: [u64; 2],
}

impl Books {
    /// Goes by what a look at the pool found: its capacity, and by how much more is out while it drains
    /// down to a lowered one.
    pub fn allow(&mut self, capacity: u64, over_by: u64) {
        self.allowed = [self.allowed[1], capacity + over_by];
    }

    fn admit(&mut self) {
        self.in_use += 1;
        self.peak_in_use = self.peak_in_use.max(self.in_use);
        let allowed = self.allowed[0].max(self.allowed[1]);
        self.over_budget = self.over_budget.max(self.in_use.saturating_sub(allowed));
    }
}

/// An open session. Ordered by when it ends.
#[derive(Debug)]
struct Session {
    ends_s: f64,
    _seat: Seat,
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Session {}
impl PartialOrd for Session {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Session {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.ends_s.total_cmp(&other.ends_s)
    }
}

/// The front-end of one region.
#[derive(Debug)]
pub struct FrontEnd {
    holder: Holder,
    status: watch::Receiver<Status>,
    pupils: Pupils,
    assumed: Assumed,
    rng: fastrand::Rng,
    /// Those who are still to come this morning, the next one last; and which morning it is.
    coming_s: Vec<f64>,
    mornings: u64,
    /// When each of those who wait came.
    waiting: VecDeque<f64>,
    sessions: BinaryHeap<Reverse<Session>>,
    counts: Counts,
}

impl FrontEnd {
    pub fn new(holder: Holder, pupils: Pupils, assumed: Assumed, rng: fastrand::Rng) -> Self {
        Self {
            status: holder.watch(),
            holder,
            pupils,
            assumed,
            rng,
            coming_s: Vec::new(),
            mornings: 0,
            waiting: VecDeque::new(),
            sessions: BinaryHeap::new(),
            counts: Counts::default(),
        }
    }

    /// Lets the time go on to `now_s`, in seconds since the first morning began: sessions end, users come,
    /// and those enter for whom there is a seat, in the order in which they came.
    pub fn step(&mut self, now_s: f64, books: &mut Books) {
        while self.sessions.peek().is_some_and(|s| s.0.ends_s <= now_s) {
            self.sessions.pop();
            books.in_use -= 1;
        }
        self.cut_short(now_s, books);
        while let Some(arrived_s) = self.next_arrival(now_s) {
            self.counts.arrived += 1;
            self.waiting.push_back(arrived_s);
            if self.waiting.len() > 1 || !self.admit_next(now_s, books) {
                self.counts.refused += 1;
            }
        }
        while self.admit_next(now_s, books) {}
        self.holder.set_waiting(self.waiting.len() as u64);
        self.counts.waiting = self.waiting.len() as u64;
        self.counts.peak_waiting = self.counts.peak_waiting.max(self.counts.waiting);
        self.counts.in_use = self.sessions.len() as u64;
    }

    /// The next user who has come by `now_s`.
    fn next_arrival(&mut self, now_s: f64) -> Option<f64> {
        let length = self.assumed.length_s();
        while self.coming_s.is_empty() && self.mornings as f64 * length <= now_s {
            let begins = self.mornings as f64 * length;
            self.coming_s = self.pupils.arrivals(&self.assumed, &mut self.rng);
            self.coming_s.reverse();
            self.coming_s.iter_mut().for_each(|time| *time += begins);
            self.mornings += 1;
        }
        self.coming_s.pop_if(|time| *time <= now_s)
    }

    /// Lets in whoever has waited longest, if there is anybody and a seat.
    fn admit_next(&mut self, now_s: f64, books: &mut Books) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let Some(seat) = self.holder.try_seat() else {
            return false;
        };
        self.waiting.pop_front();
        books.admit();
        self.counts.admitted += 1;
        self.sessions.push(Reverse(Session {
            ends_s: now_s + self.assumed.session_s(&mut self.rng),
            _seat: seat,
        }));
        true
    }

    /// Ends the sessions that no lease covers any more. Their users are the next to enter.
    fn cut_short(&mut self, now_s: f64, books: &mut Books) {
        // Only news counts: what was said before has been acted upon.
        if !self.status.has_changed().unwrap_or(false) {
            return;
        }
        let overdue = self.status.borrow_and_update().overdue;
        for _ in 0..overdue {
            if self.sessions.pop().is_none() {
                break;
            }
            books.in_use -= 1;
            self.counts.cut_short += 1;
            self.waiting.push_front(now_s);
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the cluster answered the last request.
    pub fn connected(&self) -> bool {
        self.holder.status().connected
    }
}

/// Sends everybody home and gives all leases back.
pub async fn close(front_ends: Vec<FrontEnd>) {
    let mut closing = tokio::task::JoinSet::new();
    for front_end in front_ends {
        let FrontEnd {
            holder, sessions, ..
        } = front_end;
        drop(sessions);
        closing.spawn(holder.close());
    }
    // Where there is no leader to give them to, the leases run out.
    let _ = tokio::time::timeout(CLOSE_WITHIN, closing.join_all()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_see_every_session_beyond_the_budget() {
        let mut books = Books::default();
        books.allow(2, 0);
        (0..2).for_each(|_| books.admit());
        assert_eq!(books.over_budget, 0);
        books.admit();
        assert_eq!((books.over_budget, books.peak_in_use), (1, 3));
    }

    #[test]
    fn a_lowered_capacity_may_drain() {
        let mut books = Books::default();
        books.allow(5, 0);
        (0..5).for_each(|_| books.admit());
        // Front-ends go on within what they hold until they hear of it, one look later at most.
        books.allow(3, 2);
        books.in_use -= 1;
        books.admit();
        assert_eq!(books.over_budget, 0);
        books.allow(3, 0);
        books.allow(3, 0);
        books.in_use -= 1;
        books.admit();
        assert_eq!(books.over_budget, 2);
    }
}
