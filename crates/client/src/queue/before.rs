//! Users from before a restart: they are on the lease that goes on, and nothing is known of them until they show
//! their tokens.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::slab::{NONE, State};
use super::{Grant, Queue};
use crate::tokens::{AHEAD_S, TOKEN_LIFE_S};

/// Slots are kept for whoever was in for as long as a session may idle, and for so long at most: whoever has gone to
/// another front-end meanwhile waits there until they are given up.
pub const BACK_WITHIN_S: u32 = 120;
/// Most users who have gone since that are remembered: of those whose tokens may be from before, and of others.
const MAX_GONE: (usize, usize) = (1 << 18, 1 << 16);

/// What is known of them.
#[derive(Debug, Default)]
pub struct Before {
    /// Whether there may be any.
    resumed: bool,
    /// The second in which it went on. The clock of the process before may have been ahead of it.
    since_s: Option<u32>,
    /// Slots of sessions whose users have not come back yet.
    awaited: u64,
    until_s: u32,
    /// Who has come back with a seat since the last grant.
    back: Vec<u64>,
    /// Who has gone since it went on: their tokens are good for nothing.
    gone: [Gone; 2],
}

/// Users, the longest ago first.
#[derive(Debug, Default)]
struct Gone {
    ids: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Gone {
    fn note(&mut self, id: u64, most: usize) {
        if self.ids.insert(id) {
            self.order.push_back(id);
            if self.order.len() > most
                && let Some(oldest) = self.order.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
    }
}

impl Before {
    /// Slots that are kept for sessions whose users have not come back yet.
    pub fn awaited(&self) -> u64 {
        self.awaited
    }

    /// The same, where a grant has said that they are this front-end's.
    pub fn held(&self) -> u64 {
        self.since_s.map_or(0, |_| self.awaited)
    }

    /// Whether somebody who is not known here may be one of them.
    pub fn may_be(&self, id: u64) -> bool {
        self.resumed && !self.gone.iter().any(|gone| gone.ids.contains(&id))
    }

    /// Whether what was issued or arrived in that second may be from before.
    fn covers(&self, second: u32) -> bool {
        let last = |since: u32| since.saturating_add(AHEAD_S);
        self.since_s.is_none_or(|since| second <= last(since))
    }

    /// A user, who arrived in that second, is known here no more.
    pub fn leave(&mut self, id: u64, second: u32) {
        if !self.resumed {
            return;
        }
        let covered = self.covers(second);
        let [before, since] = &mut self.gone;
        match covered {
            true => before.note(id, MAX_GONE.0),
            false => since.note(id, MAX_GONE.1),
        }
    }

    /// One of them has come back with a seat.
    pub fn welcome(&mut self, id: u64) {
        if self.awaited > 0 {
            self.back.push(id);
        }
    }

    /// The slots are lost.
    pub fn lose(&mut self) {
        self.awaited = 0;
        self.back.clear();
    }
}

impl Queue {
    /// Goes on with the lease of a process that has stopped, as the coordinator has it: with so many slots, of which
    /// so many had a session on them. Those are kept for a while, for whoever shows a seat of that time.
    pub fn resume(&mut self, slots: u64, in_use: u64) {
        self.slots = slots;
        self.before = Before {
            resumed: true,
            awaited: in_use.min(slots),
            until_s: NONE,
            ..Before::default()
        };
    }

    /// Whether a token that this front-end issued then is of a user from before a restart, who is still to be
    /// asked about.
    pub fn is_from_before(&self, id: u64, issued_s: u32) -> bool {
        self.before.covers(issued_s) && self.before.may_be(id) && self.find(id).is_none()
    }

    /// Takes in what the first grant says of the time, and what every one says of the slots.
    pub(super) fn await_until(&mut self, now_s: u32, grant: &Grant) {
        let before = &mut self.before;
        if before.resumed && before.since_s.is_none() {
            before.since_s = Some(now_s);
            let idle = grant.session.idle_s.unwrap_or(NONE);
            before.until_s = now_s.saturating_add(idle.min(BACK_WITHIN_S));
        }
        let rest = self.slots.saturating_sub(self.ledger.usage().in_use);
        before.awaited = before.awaited.min(rest);
    }

    /// Those who have come back, for whom there is a slot that was kept: as many kept less.
    pub(super) fn take_back(&mut self) -> Vec<u32> {
        let back = std::mem::take(&mut self.before.back);
        let mut found = Vec::new();
        for id in back {
            let at = self.find(id);
            let at = at.filter(|&at| self.users[at].state == State::Waiting);
            if let Some(at) = at.filter(|_| self.before.awaited > 0) {
                self.before.awaited -= 1;
                found.push(at);
            }
        }
        found
    }

    /// They go on with their sessions, each on a slot that is theirs.
    pub(super) fn seat_again(&mut self, now: Duration, now_s: u32, back: Vec<u32>) {
        for at in back {
            if !self.ledger.admit(|| now) {
                return;
            }
            self.leave_line(at);
            self.unschedule(at);
            self.sit(at, now_s);
        }
    }

    /// Whoever has not come back by now has left; and in the end no token is from before.
    pub(super) fn give_up_awaiting(&mut self, now_s: u32) {
        if now_s >= self.before.until_s {
            self.before.awaited = 0;
        }
        let over = |since: u32| since.saturating_add(AHEAD_S).saturating_add(TOKEN_LIFE_S);
        if self
            .before
            .since_s
            .is_some_and(|since| now_s >= over(since))
        {
            self.before = Before::default();
        }
    }

    /// Slots that are kept for those who have not come back.
    pub(crate) fn held(&self) -> u64 {
        self.before.held()
    }
}
