//! Whose turn it is.

use std::time::Duration;

use quota::Admission;

use super::slab::{Entry, Line, NONE, State};
use super::{Event, Queue};

impl Queue {
    /// Puts a user, who was last seen then, in line.
    pub(super) fn line_up(&mut self, at: u32, seen: u32) {
        let Entry { class, second, .. } = self.users[at];
        self.users[at].state = State::Waiting;
        self.waiting[usize::from(class)].push(&mut self.users, at, second);
        self.expect_sign(at, seen);
    }

    /// Takes a user out of line, who is given another state.
    pub(super) fn leave_line(&mut self, at: u32) {
        let Entry { class, second, .. } = self.users[at];
        self.waiting[usize::from(class)].remove(&mut self.users, at, second);
    }

    pub(super) fn expect_sign(&mut self, at: u32, seen: u32) {
        if let Some(silence) = self.settings.silence_s {
            self.schedule(at, seen.saturating_add(silence));
        }
    }

    /// Opens, or no longer is open, where the moment has come.
    pub(super) fn turn(&mut self, now: Duration) {
        let time = self.clock.time(now);
        self.open = time.is_some_and(|time| self.opening.is_open(time));
    }

    /// Whether who came in a second may be seated without being admitted.
    pub(super) fn walks_in(&self, now: Duration, second: u32) -> bool {
        let seats = |time| {
            self.opening
                .seats(second, time)
                .is_some_and(|at| at <= time)
        };
        self.alone || self.clock.time(now).is_some_and(seats)
    }

    /// Gives free slots to who waits, where this front-end may decide that by itself.
    pub(super) fn serve(&mut self, now: Duration) {
        if !(self.open || self.alone) {
            return;
        }
        let Some(now_s) = self.clock.second(now) else {
            return;
        };
        while let Some(at) = self.next() {
            if !self.walks_in(now, self.users[at].second) || !self.ledger.admit(|| now) {
                return;
            }
            self.leave_line(at);
            self.call(at, now_s);
        }
    }

    /// Seats whom a grant admits, now or when their turn is.
    pub(super) fn admit(&mut self, now: Duration, now_s: u32, admission: &Admission) {
        let Some(time) = self.clock.time(now) else {
            return;
        };
        let class = usize::from(admission.class);
        let turn = Duration::from_millis(admission.at_ms);
        let turn = self.opening.admits(admission.until_s, turn, time);
        for _ in 0..admission.users {
            let head = self.waiting.get(class).and_then(Line::first);
            let Some((_, at)) = head.filter(|&(second, _)| second <= admission.until_s) else {
                return;
            };
            if !self.ledger.admit(|| now) {
                return;
            }
            self.leave_line(at);
            if turn <= time {
                self.call(at, now_s);
            } else {
                self.users[at].state = State::Next;
                let id = self.users[at].id;
                self.turns.entry(turn).or_default().push(id);
            }
        }
    }

    /// Calls those whose turn it is.
    pub(super) fn take_turns(&mut self, now: Duration, now_s: u32) {
        let Some(time) = self.clock.time(now) else {
            return;
        };
        while let Some(entry) = self.turns.first_entry()
            && time >= *entry.key()
        {
            for id in entry.remove() {
                if let Some(at) = self.find_next(id) {
                    self.call(at, now_s);
                }
            }
        }
    }

    /// Where a user is kept who has a slot and is still to be called.
    fn find_next(&self, id: u64) -> Option<u32> {
        self.find(id)
            .filter(|&at| self.users[at].state == State::Next)
    }

    /// Whoever was to be called waits again: their slots are gone.
    pub(super) fn recall(&mut self) {
        for id in std::mem::take(&mut self.turns).into_values().flatten() {
            if let Some(at) = self.find_next(id) {
                self.ledger.release();
                self.line_up(at, self.users[at].seen);
            }
        }
    }

    /// When to call [`Queue::tick`] next for somebody's turn, on the own clock.
    pub fn turn_at(&self, now: Duration) -> Option<Duration> {
        let time = self.clock.time(now)?;
        let admitted = self.turns.keys().next().copied();
        let walks_in = self.next().filter(|_| self.opening.open).and_then(|at| {
            let at = self.opening.seats(self.users[at].second, time)?;
            (at > time).then_some(at)
        });
        let soonest = [admitted, self.opening.turns(time), walks_in];
        self.clock.when(soonest.into_iter().flatten().min()?)
    }

    /// Who is to be seated next: of the classes that go first, then of all, the oldest.
    pub(super) fn next(&self) -> Option<u32> {
        let heads = self.waiting.iter().zip(&self.first).enumerate();
        heads
            .filter_map(|(class, (line, &first))| {
                let (second, at) = line.first()?;
                let rank = if first {
                    (0, class as u32)
                } else {
                    (1, second)
                };
                Some((rank, class, at))
            })
            .min()
            .map(|(_, _, at)| at)
    }

    /// A slot, already counted, goes to a user who waits.
    pub(super) fn call(&mut self, at: u32, now_s: u32) {
        self.unschedule(at);
        self.accuracy.count(&self.users[at], now_s);
        self.users[at].state = State::Called;
        self.expect_sign(at, now_s);
        self.events.push(Event::Called(self.user(at)));
    }

    /// Takes a user out of everything.
    pub(super) fn remove(&mut self, at: u32) {
        let Entry {
            id,
            start,
            second,
            state,
            ..
        } = self.users[at];
        self.unschedule(at);
        match state {
            State::Waiting => self.leave_line(at),
            State::Seated => self.sessions.remove(&mut self.users, at, start),
            State::Checking | State::Next | State::Called | State::Free => {}
        }
        if matches!(state, State::Next | State::Called | State::Seated) {
            self.ledger.release();
            self.left += 1;
        }
        self.forget_shortened(at);
        self.claims.withdraw(id);
        self.claims.forget_place(id, at);
        self.before.leave(id, second);
        self.users.remove(at);
    }

    /// Looks at a user again at `due`, and not at what was said before.
    pub(super) fn schedule(&mut self, at: u32, due: u32) {
        self.unschedule(at);
        if due != NONE {
            self.users[at].due = due;
            self.wheel.push(&mut self.users, at, due);
        }
    }

    pub(super) fn unschedule(&mut self, at: u32) {
        let due = std::mem::replace(&mut self.users[at].due, NONE);
        if due != NONE {
            self.wheel.remove(&mut self.users, at, due);
        }
    }
}
