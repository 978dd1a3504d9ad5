//! The coordinator's side: one pool with one region, as the replicated state machine keeps it.
//!
//! Time is relative: a lease knows how long it has left, so that states which differ in the date alone are one.

use crate::{Bounds, Bug};

/// Names a lease: the epoch and number of the request that took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName {
    /// The holder's life.
    pub epoch: u8,
    /// The request's number.
    pub seq: u8,
}

/// What a holder asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// The holder's life.
    pub epoch: u8,
    /// The request's number in it.
    pub seq: u8,
    /// What is asked.
    pub ask: Ask,
}

impl Request {
    /// Whether it is about this lease.
    pub fn names(&self, name: LeaseName) -> bool {
        match self.ask {
            Ask::Take { .. } => (self.epoch, self.seq) == (name.epoch, name.seq),
            Ask::Renew { lease, .. } | Ask::Return { lease } => lease == name,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// Take a lease.
    Take {
        /// Slots wanted.
        wanted: u8,
    },
    /// Keep a lease.
    Renew {
        /// Which.
        lease: LeaseName,
        /// Slots kept.
        kept: u8,
        /// Slots wanted.
        wanted: u8,
    },
    /// Give a lease back.
    Return {
        /// Which.
        lease: LeaseName,
    },
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reply {
    /// To take and renew.
    Granted {
        /// Which lease.
        lease: LeaseName,
        /// Slots to use.
        slots: u8,
        /// Slots to come to.
        target: u8,
    },
    /// To return.
    Returned {
        /// Slots freed.
        slots: u8,
    },
    /// The lease has ended, or is not known.
    Ended,
    /// The lease can be returned only.
    Closing,
    /// A later request was carried out.
    StaleSeq,
    /// A later life of the holder has begun.
    StaleEpoch,
    /// More was kept than the lease has: no holder that keeps to the protocol is ever told so.
    TooMuchKept,
}

/// A lease's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It can be renewed.
    Live,
    /// It counts until it runs out.
    Closing,
    /// It counts no more.
    Ended,
}

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// Its name.
    pub name: LeaseName,
    /// The last request carried out, and its answer.
    pub seq: u8,
    /// As above.
    pub answer: Reply,
    /// Its life.
    pub phase: Phase,
    /// Slots counted.
    pub slots: u8,
    /// Slots wanted.
    pub wanted: u8,
    /// Cluster time until it runs out.
    pub left: u8,
}

/// The coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Coordinator {
    /// Slots that it may give.
    pub capacity: u8,
    /// The leases of each holder, oldest first: the last is the one that the holder has.
    pub leases: Vec<Vec<Lease>>,
    /// The holders by when their last lease was made: where slots do not divide, the newest of those who want
    /// most goes first.
    pub made: Vec<u8>,
}

impl Coordinator {
    /// One that has given nothing yet.
    pub fn new(holders: usize, capacity: u8) -> Self {
        Self {
            capacity,
            leases: vec![Vec::new(); holders],
            made: Vec::new(),
        }
    }

    /// Slots counted for one holder.
    pub fn counted_for(&self, holder: usize) -> u8 {
        self.leases[holder].iter().map(|lease| lease.slots).sum()
    }

    /// Slots that closing leases count.
    pub fn closing(&self) -> u8 {
        self.leases.iter().flatten().map(Lease::closing).sum()
    }

    /// Slots counted for all.
    pub fn counted(&self) -> u8 {
        (0..self.leases.len())
            .map(|holder| self.counted_for(holder))
            .sum()
    }

    /// Lets cluster time go on.
    pub fn advance(&mut self, by: u8) {
        for lease in self.leases.iter_mut().flatten() {
            lease.left = lease.left.saturating_sub(by);
            if lease.left == 0 {
                lease.end();
            }
        }
    }

    /// Carries out a request.
    pub fn apply(&mut self, holder: usize, request: Request, bounds: &Bounds) -> Reply {
        let Request { epoch, seq, ask } = request;
        match ask {
            Ask::Take { wanted } => self.take(holder, (epoch, seq), wanted, bounds),
            Ask::Renew {
                lease,
                kept,
                wanted,
            } => {
                let Some(at) = self.find(holder, lease) else {
                    return Reply::Ended;
                };
                let lease = self.leases[holder][at];
                match lease.dedup(seq, bounds) {
                    Some(reply) => return reply,
                    None if lease.phase == Phase::Ended => return Reply::Ended,
                    None if lease.phase == Phase::Closing => return Reply::Closing,
                    None if kept > lease.slots => return Reply::TooMuchKept,
                    None => {}
                }
                self.keep(holder, seq, kept, wanted, bounds)
            }
            Ask::Return { lease } => {
                let Some(at) = self.find(holder, lease) else {
                    return Reply::Ended;
                };
                let lease = &mut self.leases[holder][at];
                match lease.dedup(seq, bounds) {
                    Some(reply) => return reply,
                    None if lease.phase == Phase::Ended => return Reply::Ended,
                    None => {}
                }
                let slots = lease.slots;
                lease.end();
                (lease.seq, lease.answer) = (seq, Reply::Returned { slots });
                lease.answer
            }
        }
    }

    fn find(&self, holder: usize, name: LeaseName) -> Option<usize> {
        self.leases[holder]
            .iter()
            .position(|lease| lease.name == name)
    }

    fn take(
        &mut self,
        holder: usize,
        (epoch, seq): (u8, u8),
        wanted: u8,
        bounds: &Bounds,
    ) -> Reply {
        if let Some(current) = self.leases[holder].last_mut() {
            if epoch < current.name.epoch {
                return Reply::StaleEpoch;
            }
            if epoch == current.name.epoch {
                if let Some(reply) = current.dedup(seq, bounds) {
                    return reply;
                }
                if current.phase == Phase::Live {
                    let kept = current.slots;
                    return self.keep(holder, seq, kept, wanted, bounds);
                }
            }
            if current.phase == Phase::Live {
                current.supersede(bounds);
            }
        }
        let name = LeaseName { epoch, seq };
        self.leases[holder].push(Lease {
            name,
            seq,
            answer: Reply::Ended,
            phase: Phase::Live,
            slots: 0,
            wanted: 0,
            left: bounds.ttl(),
        });
        self.made.retain(|&other| usize::from(other) != holder);
        self.made.push(holder as u8);
        self.keep(holder, seq, 0, wanted, bounds)
    }

    /// Keeps slots of the holder's live lease, and lets it grow towards its target by what is free.
    fn keep(&mut self, holder: usize, seq: u8, kept: u8, wanted: u8, bounds: &Bounds) -> Reply {
        let Some(lease) = self.leases[holder].last_mut() else {
            return Reply::Ended;
        };
        (lease.slots, lease.wanted, lease.left) = (kept, wanted, bounds.ttl());
        let target = self.target(holder).min(wanted);
        let demands: u8 = self.leases.iter().flatten().map(Lease::demand).sum();
        let room = demands.min(self.capacity).saturating_sub(self.counted());
        let room = if bounds.bug == Some(Bug::GrowUnconfirmed) {
            u8::MAX
        } else {
            room
        };
        let slots = kept + target.saturating_sub(kept).min(room);
        let Some(lease) = self.leases[holder].last_mut() else {
            return Reply::Ended;
        };
        lease.slots = match bounds.bug {
            Some(Bug::CountLowered) => slots.min(target),
            _ => slots,
        };
        lease.seq = seq;
        lease.answer = Reply::Granted {
            lease: lease.name,
            slots,
            target,
        };
        lease.answer
    }

    /// What is shared falls evenly to all who want it; who wants less than that has what they want.
    fn target(&self, holder: usize) -> u8 {
        let closing = self.closing();
        let demand = |of: usize| {
            let live = self.leases[of]
                .last()
                .filter(|lease| lease.phase == Phase::Live);
            live.map(Lease::demand)
        };
        let mut claims: Vec<(u8, usize, usize)> = (0..self.leases.len())
            .filter_map(|of| {
                let made = self
                    .made
                    .iter()
                    .position(|&other| usize::from(other) == of)?;
                Some((demand(of)?, made, of))
            })
            .collect();
        claims.sort_unstable();
        let demands: u8 = claims.iter().map(|(demand, ..)| demand).sum();
        let mut amount = (demands + closing)
            .min(self.capacity)
            .saturating_sub(closing);
        let mut sharers = claims.len() as u8;
        for (demand, _, of) in claims {
            // Those who come later have what does not divide.
            let part = demand.min(amount / sharers);
            if of == holder {
                return part;
            }
            amount -= part;
            sharers -= 1;
        }
        0
    }
}

impl Lease {
    /// The answer to a request that is the last one again, or one before it.
    fn dedup(&self, seq: u8, bounds: &Bounds) -> Option<Reply> {
        if bounds.bug == Some(Bug::SkipDedup) {
            return None;
        }
        if seq < self.seq {
            return Some(Reply::StaleSeq);
        }
        let granted = matches!(self.answer, Reply::Granted { .. });
        let over = self.phase == Phase::Ended && granted;
        (seq == self.seq).then_some(if over { Reply::Ended } else { self.answer })
    }

    fn supersede(&mut self, bounds: &Bounds) {
        if self.slots == 0 || bounds.bug == Some(Bug::ForgetClosing) {
            self.end();
        } else {
            (self.phase, self.wanted) = (Phase::Closing, 0);
        }
    }

    fn end(&mut self) {
        (self.phase, self.slots, self.wanted, self.left) = (Phase::Ended, 0, 0, 0);
    }

    fn demand(&self) -> u8 {
        match self.phase {
            Phase::Live => self.slots.max(self.wanted),
            _ => self.slots,
        }
    }

    fn closing(&self) -> u8 {
        if self.phase == Phase::Closing {
            self.slots
        } else {
            0
        }
    }
}
