//! The holder's side: what a front-end asks, and what it may use by its own clock.

use crate::coordinator::{Ask, LeaseName, Reply, Request};
use crate::{Bounds, Bug};

/// A holder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Which life of the holder it is, from 1.
    pub epoch: u8,
    /// The number of its last request.
    pub seq: u8,
    /// The lease that it knows of, and the slots that it may keep of it.
    pub lease: Option<(LeaseName, u8)>,
    /// Slots that it may use, while any time is left.
    pub limit: u8,
    /// Time left on its own clock.
    pub left: u8,
    /// The request that is not answered yet.
    pub flight: Option<Flight>,
    /// Slots that the life before it may still use, and the time that it has left: it may only have been cut off
    /// or paused when this one began.
    pub before: (u8, u8),
}

/// A request that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flight {
    /// The request.
    pub request: Request,
    /// Time on the holder's own clock since it was first sent.
    pub since: u8,
}

impl Holder {
    /// One that has just started, for the first time.
    pub fn new() -> Self {
        Self {
            epoch: 1,
            ..Self::default()
        }
    }

    /// Slots that it may use now.
    pub fn uses(&self) -> u8 {
        let own = if self.left > 0 { self.limit } else { 0 };
        let (before, left) = self.before;
        own + if left > 0 { before } else { 0 }
    }

    /// Lets its own clock go on.
    pub fn tick(&mut self, by: u8, bounds: &Bounds) {
        self.left = self.left.saturating_sub(by);
        if self.left == 0 {
            self.limit = 0;
        }
        self.before.1 = self.before.1.saturating_sub(by);
        if self.before.1 == 0 {
            self.before.0 = 0;
        }
        if let Some(flight) = &mut self.flight {
            flight.since = (flight.since + by).min(bounds.holds());
        }
    }

    /// Another life of it begins, while this one may go on for as long as its lease.
    pub fn start_anew(&mut self) {
        let before = (self.limit, self.left);
        *self = Self {
            epoch: self.epoch + 1,
            before,
            ..Self::default()
        };
    }

    /// What it may ask now. A request that is not answered may be given up for another at any time.
    pub fn asks(&self, requests: u8, wanted: u8) -> Vec<Ask> {
        if self.seq >= requests {
            return Vec::new();
        }
        match self.lease {
            None => vec![Ask::Take { wanted }],
            Some((lease, slots)) => {
                let renews = (0..=slots).map(|kept| Ask::Renew {
                    lease,
                    kept,
                    wanted,
                });
                let idle = Ask::Renew {
                    lease,
                    kept: 0,
                    wanted: 0,
                };
                renews.chain([idle, Ask::Return { lease }]).collect()
            }
        }
    }

    /// Sends a request: from before that it uses no more than the request says that it keeps.
    pub fn send(&mut self, ask: Ask, bounds: &Bounds) -> Request {
        self.seq += 1;
        let request = Request {
            epoch: self.epoch,
            seq: self.seq,
            ask,
        };
        self.flight = Some(Flight { request, since: 0 });
        let kept = match ask {
            Ask::Take { .. } => return request,
            Ask::Renew { kept, .. } => kept,
            Ask::Return { .. } => 0,
        };
        if let Some((_, slots)) = &mut self.lease {
            *slots = kept.min(*slots);
        }
        if bounds.bug != Some(Bug::CapLate) {
            self.limit = self.limit.min(kept);
        }
        request
    }

    /// Hears an answer; one to another request than its last says nothing.
    pub fn hear(&mut self, epoch: u8, seq: u8, reply: Reply, bounds: &Bounds) {
        let flight = self
            .flight
            .filter(|flight| (flight.request.epoch, flight.request.seq) == (epoch, seq));
        let Some(flight) = flight else {
            return;
        };
        self.flight = None;
        match reply {
            Reply::Granted { lease, slots, .. } => {
                let since = match bounds.bug {
                    Some(Bug::CountFromAnswer) => 0,
                    _ => flight.since,
                };
                self.lease = Some((lease, slots));
                self.left = bounds.holds().saturating_sub(since);
                self.limit = if self.left > 0 { slots } else { 0 };
            }
            Reply::Returned { .. } | Reply::Ended | Reply::Closing | Reply::TooMuchKept => {
                (self.lease, self.limit, self.left) = (None, 0, 0);
            }
            // How its lease stands it can't know: it uses nothing of it any more, and begins a new life.
            Reply::StaleSeq | Reply::StaleEpoch => {
                let before = self.before;
                *self = Self {
                    epoch: self.epoch + 1,
                    before,
                    ..Self::default()
                };
            }
        }
    }
}
