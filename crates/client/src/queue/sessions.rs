//! How long sessions last.

use super::slab::{NONE, State};
use super::{Event, Grant, Queue, Session, Why};

impl Queue {
    /// A user, who holds a slot, begins the session, or goes on with it.
    pub(super) fn sit(&mut self, at: u32, now_s: u32) {
        let entry = &mut self.users[at];
        entry.state = State::Seated;
        if entry.start == NONE {
            entry.start = now_s;
        }
        let start = entry.start;
        self.sessions.push(&mut self.users, at, start);
        if start < self.noticed_until {
            self.apply_when_waiting(at, now_s);
        }
        self.schedule_end(at);
    }

    pub(super) fn session(&self, at: u32, now_s: u32) -> Session {
        let ends = self.ends(at);
        Session {
            start_s: self.users[at].start,
            ends_s: (ends != NONE).then_some(ends),
            notice: ends != NONE && ends <= now_s.saturating_add(self.rules.notice_s),
        }
    }

    /// Looks at a user whose time has come, by one rule or another.
    pub(super) fn come_due(&mut self, at: u32, now_s: u32) {
        let entry = self.users[at];
        if entry.state == State::Seated {
            let why = if entry.ends <= now_s {
                Why::Waiting
            } else if self.ends(at) <= now_s {
                Why::Limit
            } else if self.idle_end(at) <= now_s {
                Why::Idle
            } else {
                return self.schedule_end(at);
            };
            return self.end(at, why);
        }
        let silence = self.settings.silence_s.unwrap_or(NONE);
        if entry.seen.saturating_add(silence) <= now_s {
            let user = self.user(at);
            self.remove(at);
            self.events.push(Event::Abandoned(user));
        } else {
            self.expect_sign(at, entry.seen);
        }
    }

    /// Takes on the rules of a grant. A limit that has changed applies to sessions that go on, too.
    pub(super) fn set_session_rules(&mut self, grant: &Grant) {
        if self.others_wait && !grant.others_wait {
            self.noticed_until = 0;
        }
        self.others_wait = grant.others_wait;
        if self.rules == grant.session {
            return;
        }
        self.rules = grant.session;
        self.noticed_until = 0;
        let seated: Vec<u32> = self.sessions.within(&self.users, ..).collect();
        for at in seated {
            self.schedule_end(at);
        }
    }

    /// While others wait, tells the sessions that reach the shorter limit within the time of notice.
    pub(super) fn tell_that_others_wait(&mut self, now_s: u32) {
        let Some(limit) = self.rules.when_waiting_s.filter(|_| self.others_wait) else {
            return;
        };
        let Some(last) = now_s.saturating_add(self.rules.notice_s).checked_sub(limit) else {
            return;
        };
        if last < self.noticed_until {
            return;
        }
        let told: Vec<u32> = self
            .sessions
            .within(&self.users, self.noticed_until..=last)
            .collect();
        for at in told {
            self.apply_when_waiting(at, now_s);
        }
        self.noticed_until = last.saturating_add(1);
    }

    /// Applies the shorter limit to the newest sessions, until so many are under it.
    pub(super) fn shorten(&mut self, now_s: u32, sessions: u64) {
        if self.rules.when_waiting_s.is_none() || self.shortened >= sessions {
            return;
        }
        let most = usize::try_from(sessions).unwrap_or(usize::MAX);
        let newest: Vec<u32> = self.sessions.newest(&self.users).take(most).collect();
        for at in newest {
            if !self.users[at].shortened {
                self.users[at].shortened = true;
                self.shortened += 1;
                self.apply_when_waiting(at, now_s);
            }
        }
    }

    pub(super) fn forget_shortened(&mut self, at: u32) {
        let entry = &self.users[at];
        if entry.shortened {
            self.shortened -= 1;
        }
    }

    /// Ends sessions, the newest first, that nothing covers; those who were called and have not come go
    /// before them.
    pub(crate) fn end_newest(&mut self, sessions: u64) {
        let most = usize::try_from(sessions).unwrap_or(usize::MAX);
        if most == 0 {
            return;
        }
        let called = self
            .users
            .places()
            .filter(|&at| self.users[at].state == State::Called);
        let newest: Vec<u32> = called
            .chain(self.sessions.newest(&self.users))
            .take(most)
            .collect();
        for at in newest {
            self.end(at, Why::Uncovered);
        }
    }

    /// The session is to end at `when_waiting_s`, but not without notice nor before the least. What was
    /// said to a user once is not taken back.
    fn apply_when_waiting(&mut self, at: u32, now_s: u32) {
        let Some(limit) = self.rules.when_waiting_s else {
            return;
        };
        let entry = &mut self.users[at];
        let ends = entry
            .start
            .saturating_add(limit.max(self.rules.least_s))
            .max(now_s.saturating_add(self.rules.notice_s));
        if entry.ends != NONE
            || ends
                >= entry
                    .start
                    .saturating_add(self.rules.limit_s.unwrap_or(NONE))
        {
            return;
        }
        entry.ends = ends;
        self.schedule_end(at);
        self.events.push(Event::Notice(self.user(at), ends));
    }

    fn end(&mut self, at: u32, why: Why) {
        let user = self.user(at);
        self.remove(at);
        self.events.push(Event::Ended(user, why));
    }

    /// When the session ends whatever its user does.
    fn ends(&self, at: u32) -> u32 {
        let entry = &self.users[at];
        let limit = self.rules.limit_s.unwrap_or(NONE);
        entry.ends.min(entry.start.saturating_add(limit))
    }

    fn idle_end(&self, at: u32) -> u32 {
        self.users[at]
            .seen
            .saturating_add(self.rules.idle_s.unwrap_or(NONE))
    }

    fn schedule_end(&mut self, at: u32) {
        let due = self.ends(at).min(self.idle_end(at));
        self.schedule(at, due);
    }
}
