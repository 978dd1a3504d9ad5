//! Whose turn it is.

use std::time::Duration;

use quota::Admission;

use super::slab::{Entry, Line, NONE, State};
use super::{Event, Queue};

impl Queue {
    /// Puts a user, who has just come, in line.
    pub(super) fn line_up(&mut self, at: u32, now_s: u32) {
        let Entry { class, second, .. } = self.users[at];
        self.users[at].state = State::Waiting;
        self.waiting[usize::from(class)].push(&mut self.users, at, second);
        self.expect_sign(at, now_s);
    }

    pub(super) fn expect_sign(&mut self, at: u32, seen: u32) {
        if let Some(silence) = self.settings.silence_s {
            self.schedule(at, seen.saturating_add(silence));
        }
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
            if !self.ledger.admit(|| now) {
                return;
            }
            self.call(at, now_s);
        }
    }

    pub(super) fn admit(&mut self, now: Duration, now_s: u32, admission: &Admission) {
        let class = usize::from(admission.class);
        for _ in 0..admission.users {
            let head = self.waiting.get(class).and_then(Line::first);
            let Some((_, at)) = head.filter(|&(second, _)| second <= admission.until_s) else {
                return;
            };
            if !self.ledger.admit(|| now) {
                return;
            }
            self.call(at, now_s);
        }
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
        let Entry { class, second, .. } = self.users[at];
        self.waiting[usize::from(class)].remove(&mut self.users, at, second);
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
            class,
            second,
            start,
            state,
            ..
        } = self.users[at];
        self.unschedule(at);
        match state {
            State::Waiting => {
                self.waiting[usize::from(class)].remove(&mut self.users, at, second);
            }
            State::Seated => self.sessions.remove(&mut self.users, at, start),
            State::Called | State::Free => {}
        }
        if matches!(state, State::Called | State::Seated) {
            self.ledger.release();
            self.left += 1;
        }
        self.forget_shortened(at);
        self.claims.forget_place(id, at);
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
