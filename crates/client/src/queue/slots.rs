//! What a queue tells the coordinator, and what it does with the slots that it is given.

use std::sync::Arc;
use std::time::Duration;

use quota::Mode;

use super::before::Before;
use super::opening::Opening;
use super::slab::NONE;
use super::{Event, FADE, Grant, Queue, Report, buckets};
use crate::seats::MAX_SEATS;

impl Queue {
    /// What to tell the coordinator now. From here on, until the answer, no more is used than it keeps.
    pub fn report(&mut self, now: Duration) -> Report {
        self.tick(now);
        self.reported = now;
        let spare = if self.stopping { 0 } else { self.spare() };
        let (seated, awaited) = (self.ledger.usage().in_use, self.before.awaited());
        let used = seated + awaited;
        let idle = match (self.opening.open, self.open) {
            (true, _) => spare + self.waiting(),
            (false, true) => spare,
            (false, false) => 0,
        };
        let usage = self.ledger.cap(seated + idle);
        let kept = used.max(usage.limit + awaited).min(self.slots);
        let in_use = used.min(kept);
        self.slots = kept;
        // Sessions on the floor stay there until there are slots for them.
        let on_floor = used - in_use;
        self.floor = self.floor_granted.max(self.floor.min(on_floor));
        self.left_told = self.left;
        let (waiting, exact_until_s) = match self.clock.second(now) {
            Some(now_s) if !self.stopping => buckets::buckets(&self.waiting, now_s),
            // There is nobody to wait for.
            _ => (Vec::new(), NONE),
        };
        // Nobody is next anywhere before those who are being asked about.
        let exact_until_s = self.claims.oldest_kept().unwrap_or(NONE).min(exact_until_s);
        let (claims, released, refused) = self.claims.report();
        Report {
            kept,
            in_use,
            spare: spare + on_floor,
            waiting,
            exact_until_s,
            left: self.left,
            floor: self.floor,
            claims,
            released,
            refused,
        }
    }

    /// The answer to the last report. Its slots are used before `deadline` only, on the same clock as `now`.
    pub fn granted(&mut self, now: Duration, deadline: Duration, grant: &Grant) {
        self.clock.learn(self.reported, now, grant.cluster_ms);
        let Some(now_s) = self.clock.second(now) else {
            return;
        };
        (self.slots, self.deadline) = (grant.slots.min(MAX_SEATS), deadline);
        (self.floor_granted, self.alone) = (grant.floor, false);
        self.floor = self.floor.max(grant.floor);
        self.opening = match self.stopping {
            true => Opening::default(),
            false => self.opening.after(grant),
        };
        self.mode = grant.mode;
        self.reason = Arc::clone(&grant.reason);
        self.closed_s = grant.closed_s;
        self.flows.clone_from(&grant.flows);
        self.left -= std::mem::take(&mut self.left_told);
        self.set_session_rules(grant);
        if !std::mem::replace(&mut self.heard, true) {
            self.keep_all();
        }
        self.settle_claims(now_s, grant);
        self.await_until(now_s, grant);
        self.turn(now);
        if !self.seats_anyone() {
            self.recall();
        }
        if now < deadline && !self.stopping {
            // Who sits on the floor takes no slot from whoever is admitted.
            let admitted: u64 = grant.admit.iter().map(|a| u64::from(a.users)).sum();
            let needed = (self.in_use() + admitted).min(self.slots + self.floor);
            let back = self.take_back();
            let open = self.slots.max(needed) - self.before.awaited();
            self.ledger.open(open, deadline);
            self.seat_again(now, now_s, back);
        }
        for admission in &grant.admit {
            self.admit(now, now_s, admission);
        }
        self.ledger.cap(self.slots - self.before.awaited());
        self.shorten(now_s, grant.shorten);
        self.serve(now);
        self.tick(now);
    }

    /// The lease has run out, or has ended: its slots can't be used any more. Sessions that the floor does
    /// not cover end, the newest first. Where no node can be reached, the floor is used from here on, until
    /// the next grant.
    pub fn run_out(&mut self, now: Duration, unreachable: bool) {
        (self.slots, self.open) = (0, false);
        self.opening = Opening::default();
        self.recall();
        self.before.lose();
        self.ledger.shut();
        let in_use = self.ledger.usage().in_use;
        self.end_newest(in_use.saturating_sub(self.floor));
        self.alone = unreachable && !self.stopping && self.seats_anyone();
        if self.alone {
            self.ledger.open(self.floor, Duration::MAX);
            self.serve(now);
        }
    }

    /// Makes sure that slots whose time is over are not used, whoever comes first after a pause.
    pub(super) fn lapse(&mut self, now: Duration) {
        if now >= self.deadline && self.may_use_slots() {
            self.run_out(now, false);
        }
    }

    /// Lets nobody in or queue any more. Sessions go on, and who waits is left to other front-ends.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.shut();
    }

    /// Lets nobody in until the next grant.
    pub fn shut(&mut self) {
        (self.slots, self.open, self.alone) = (0, false, false);
        self.opening = Opening::default();
        self.recall();
        self.ledger.shut();
    }

    /// Drops everybody. Who shows a token from before is claimed as if it were another front-end's.
    pub(crate) fn forget(&mut self) {
        self.shut();
        self.before = Before::default();
        self.claims.withdraw_kept();
        // What was told to the last life is not told to the next.
        self.drop_floor();
        for at in self.users.places().collect::<Vec<_>>() {
            let user = self.user(at);
            self.remove(at);
            self.events.push(Event::Moved(user));
        }
    }

    /// Goes by no floor until the next grant.
    pub(crate) fn drop_floor(&mut self) {
        (self.floor, self.floor_granted) = (0, 0);
    }

    /// Whether a report should go out soon: arrivals are about to use up what is free.
    pub fn is_pressed(&self) -> bool {
        let usage = self.ledger.usage();
        let free = usage.limit.saturating_sub(usage.in_use);
        let short = self.open && (self.waiting() > 0 || free < self.spare() / 2);
        short || self.claims.is_pressed()
    }

    /// Whether there may be more in use than the floor.
    pub(crate) fn may_use_slots(&self) -> bool {
        let usage = self.ledger.usage();
        let most = usage.limit.max(usage.in_use) + self.before.held();
        !self.alone && most > self.floor || self.open
    }

    /// Whether the floor would let somebody in that is not let in now.
    pub(crate) fn has_floor_to_use(&self) -> bool {
        !self.alone && !self.stopping && self.floor > 0 && self.seats_anyone()
    }

    /// Slots that would do.
    pub(crate) fn wanted(&self) -> u64 {
        self.in_use() + self.waiting() + self.spare()
    }

    /// Goes on to this second with the count of arrivals.
    pub(super) fn fade_arrivals(&mut self, now_s: u32) {
        let passed = now_s.saturating_sub(self.arrivals_s);
        if passed == 0 {
            return;
        }
        for _ in 0..passed.min(64) {
            self.peak = self.arrivals.max(self.peak - self.peak.div_ceil(FADE));
            self.arrivals = 0;
        }
        self.arrivals_s = now_s;
    }

    /// Arrivals of a second, with something to spare.
    pub(super) fn spare(&self) -> u64 {
        let peak = self.peak.max(self.arrivals);
        self.settings.reserve.max(peak + peak / 2)
    }

    pub(super) fn seats_anyone(&self) -> bool {
        matches!(self.mode, Mode::Open | Mode::Frozen)
    }
}
