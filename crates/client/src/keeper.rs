//! The holder's side of a lease, as a pure state machine: events and the time go in, requests come out.
//!
//! What makes it safe is a rule on each side of every request. *Before* a report is sent, admission is
//! capped at the `kept` that it carries, for the cluster may give the rest away from that moment. *After*
//! it is answered, the grant is used until `sent + ttl x (1 - drift)`, with `sent` from before the first
//! time that it was sent. An answer to any request but the last one is ignored.

use std::time::Duration;

use crate::front::Front;
use crate::queue;
use crate::requests::{Answer, Grant, Refused, Request, Tag};
use crate::seats::{Ledger, MAX_SEATS, Usage};
use crate::sizing::{Demand, Sizing};

/// A lease's time to live is taken for this until a grant says it.
const ASSUMED_TTL: Duration = Duration::from_secs(10);
/// Longest pause between two reports where nothing else is said.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Reports in one time to live, at least.
const REPORTS_PER_TTL: u32 = 5;
/// Where more is to come or to go, or demand has jumped, this many reports in the place of one.
const EAGER: u32 = 4;
/// A request unanswered for this part of a time to live is given up for a fresh one, whose answer will
/// be good for longer.
const STALE_PART: u32 = 2;
/// More requests than a keeper that has stopped can have under way still: none of them has a number of ours.
const UNDER_WAY: u64 = 1 << 16;
/// A pause after a refusal that time alone may mend.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What never changes in a keeper's life.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Slots kept ready beyond those in use.
    pub reserve: u64,
    /// The pause between two reports; by the time to live where `None`.
    pub report_every: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    id: u64,
    slots: u64,
    target: u64,
    ttl: Duration,
    /// Its slots are used before this only.
    deadline: Duration,
}

/// The last request, until it is answered.
#[derive(Debug, Clone)]
struct Flight {
    request: Request,
    tag: Tag,
    first_sent: Duration,
    /// Whether an answer may still come without sending it again.
    out: bool,
    retry_at: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Admits nobody, and returns the lease once the last seat is free.
    Draining,
    Done,
    /// Another life of this holder has begun elsewhere.
    Superseded,
}

/// How a keeper stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Slots that may be used now.
    pub slots: u64,
    /// Slots that the sharing rules give this holder.
    pub target: u64,
    /// Slots last asked for.
    pub wanted: u64,
    /// Seats open.
    pub in_use: u64,
    /// Open seats that no lease covers: their sessions should end now.
    pub overdue: u64,
    /// How long the slots may be used without another grant.
    pub expires_in: Duration,
    /// Whether another life of this holder has begun elsewhere.
    pub superseded: bool,
    /// The lease, as the cluster names it; 0 where there is none.
    pub lease_id: u64,
    /// The number of this life.
    pub epoch: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Keeper {
    settings: Settings,
    epoch: u64,
    seq: u64,
    phase: Phase,
    ever_granted: bool,
    lease: Option<Lease>,
    /// A lease that can't be renewed any more and still covers seats: slots, and until when.
    closing: Option<(u64, Duration)>,
    flight: Option<Flight>,
    sizing: Sizing,
    /// Whether the last try reached no node.
    unreachable: bool,
    last_sent: Duration,
    next_report: Duration,
}

impl Keeper {
    /// A keeper that has nothing yet. `epoch` is this life of the holder, at least 1.
    pub fn new(settings: Settings, epoch: u64) -> Self {
        Self {
            settings,
            epoch: epoch.max(1),
            seq: 0,
            phase: Phase::Serving,
            ever_granted: false,
            lease: None,
            closing: None,
            flight: None,
            sizing: Sizing::new(settings.reserve.min(MAX_SEATS)),
            unreachable: false,
            last_sent: Duration::ZERO,
            next_report: Duration::ZERO,
        }
    }

    /// Goes on with the lease of a keeper that has stopped, in the life that it was of. `seq` is the number of the
    /// last request that was carried out. Nothing may be used before the first answer.
    pub fn resume(mut self, lease: u64, epoch: u64, seq: u64, slots: u64) -> Self {
        self.epoch = epoch;
        self.seq = seq.saturating_add(UNDER_WAY);
        self.lease = Some(Lease {
            id: lease,
            slots,
            target: slots,
            ttl: ASSUMED_TTL,
            deadline: Duration::ZERO,
        });
        self
    }

    /// Begins to give everything back: admits nobody from here on.
    pub fn close<'a>(&mut self, front: impl Into<Front<'a>>) {
        if self.phase == Phase::Serving {
            self.phase = Phase::Draining;
            front.into().stop();
        }
    }

    /// This life of the holder.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Superseded)
    }

    /// Whether a grant has ever come.
    pub fn ever_granted(&self) -> bool {
        self.ever_granted
    }

    /// The lease's time to live, as far as it is known.
    pub fn ttl(&self) -> Duration {
        self.lease.map_or(ASSUMED_TTL, |lease| lease.ttl)
    }

    /// Lets time go on to `now`, and gives the request that is to be sent, if any. It is followed by one
    /// of [`Keeper::answered`], [`Keeper::refused`] and [`Keeper::failed`] with its tag.
    pub fn poll<'a>(
        &mut self,
        now: Duration,
        front: impl Into<Front<'a>>,
    ) -> Option<(Tag, Request)> {
        let mut front = front.into();
        self.expire(now, &mut front);
        if self.is_done() {
            return None;
        }
        if let Some(flight) = &self.flight {
            if flight.out || now < flight.retry_at {
                return None;
            }
            let stale = now.saturating_sub(flight.first_sent) >= self.ttl() / STALE_PART;
            let giving_back = matches!(flight.request, Request::Return { .. });
            if !stale || giving_back {
                return self.send_again(now);
            }
            // What it asked may have been done or not: the cap that went before it stays.
            self.flight = None;
        }
        match (self.phase, self.lease) {
            (Phase::Draining, None) => {
                self.phase = Phase::Done;
                None
            }
            (Phase::Draining, Some(lease)) if front.ledger().usage().in_use == 0 => {
                Some(self.send(now, |_, seq| Request::Return {
                    lease: lease.id,
                    seq,
                }))
            }
            _ if self.is_due(now, &front) => Some(self.report(now, &mut front)),
            _ => None,
        }
    }

    /// The request was carried out.
    pub fn answered<'a>(
        &mut self,
        now: Duration,
        tag: Tag,
        answer: Answer,
        front: impl Into<Front<'a>>,
    ) {
        let mut front = front.into();
        let Some(flight) = self.take_flight(tag) else {
            return;
        };
        match answer {
            Answer::Granted(grant) => self.granted(now, &flight, grant, None, &mut front),
            Answer::Reported(grant, more) => {
                self.granted(now, &flight, grant, Some(*more), &mut front);
            }
            Answer::Returned => {
                self.lease = None;
                front.stop();
                self.phase = Phase::Done;
            }
        }
    }

    /// The request was refused, for good.
    pub fn refused<'a>(
        &mut self,
        now: Duration,
        tag: Tag,
        refused: Refused,
        front: impl Into<Front<'a>>,
    ) {
        let mut front = front.into();
        let Some(flight) = self.take_flight(tag) else {
            return;
        };
        self.next_report = now;
        match refused {
            Refused::Ended => {
                self.lease = None;
                front.lose();
            }
            Refused::Closing => {
                self.closing = self.lease.take().map(|lease| (lease.slots, lease.deadline));
                front.lose();
                front.drop_floor();
            }
            Refused::StaleEpoch { current } => {
                let current = current.unwrap_or(self.epoch);
                if self.ever_granted && current > self.epoch {
                    // The younger life of this holder is the one that counts.
                    self.phase = Phase::Superseded;
                    front.stop();
                } else {
                    // A wall clock that shows less than it did at the last start.
                    self.epoch = current.max(self.epoch).saturating_add(1);
                }
            }
            Refused::StaleSeq => {
                // How the lease stands can't be known: begin a new life, which supersedes it.
                self.epoch = self.epoch.saturating_add(1);
                self.lease = None;
                front.forget();
            }
            Refused::Other => {
                front.drop_floor();
                self.next_report = now + REFUSED_PAUSE;
            }
        }
        if self.phase == Phase::Draining && matches!(flight.request, Request::Return { .. }) {
            self.phase = Phase::Done;
        }
    }

    /// The request may have been carried out or not: it is sent again after `pause`, unless it has
    /// become stale by then.
    pub fn failed(&mut self, now: Duration, tag: Tag, pause: Duration) {
        if let Some(flight) = self.flight.as_mut().filter(|flight| flight.tag == tag) {
            flight.out = false;
            flight.retry_at = now + pause;
            self.unreachable = true;
        }
    }

    /// How things stand at `now`.
    pub fn standing<'a>(&self, now: Duration, front: impl Into<Front<'a>>) -> Standing {
        let front = front.into();
        let Usage { in_use, limit } = front.ledger().usage();
        let live = self.lease.filter(|lease| now < lease.deadline);
        let (wanted, held) = match &front {
            Front::Seats(_) => (self.sizing.wanted(), 0),
            Front::Queue(queue) => (queue.wanted(), queue.held()),
        };
        Standing {
            slots: live.map_or(0, |_| limit + held),
            target: live.map_or(0, |lease| lease.target),
            wanted,
            in_use,
            overdue: self.overdue(now, &front),
            expires_in: live.map_or(Duration::ZERO, |lease| lease.deadline - now),
            superseded: self.phase == Phase::Superseded,
            lease_id: self.lease.map_or(0, |lease| lease.id),
            epoch: self.epoch,
        }
    }

    /// Open seats that nothing covers.
    fn overdue(&self, now: Duration, front: &Front<'_>) -> u64 {
        let live = self.lease.filter(|lease| now < lease.deadline);
        let closing = self.closing.filter(|(_, deadline)| now < *deadline);
        let covered = live.map_or(0, |lease| lease.slots)
            + closing.map_or(0, |(slots, _)| slots)
            + front.floor();
        front.ledger().usage().in_use.saturating_sub(covered)
    }

    /// A grant, with `more` where it answers a report.
    fn granted(
        &mut self,
        now: Duration,
        flight: &Flight,
        grant: Grant,
        more: Option<queue::Grant>,
        front: &mut Front<'_>,
    ) {
        let lease = Lease {
            id: grant.lease,
            slots: grant.slots.min(MAX_SEATS),
            target: grant.target.min(MAX_SEATS),
            ttl: Duration::from_millis(grant.ttl_ms.max(1)),
            deadline: match mutation::on("deadline-from-answer") {
                true => now + usable(grant.ttl_ms, grant.drift_ppm),
                false => flight.first_sent + usable(grant.ttl_ms, grant.drift_ppm),
            },
        };
        self.ever_granted = true;
        self.lease = Some(lease);
        self.next_report = self.last_sent + self.report_every();
        let in_time = now < lease.deadline;
        if !in_time {
            // The answer took so long that its slots may be somebody else's. Renew at once.
            front.shut();
            self.next_report = now;
        }
        match (front, more) {
            (Front::Queue(queue), Some(more)) => queue.granted(now, lease.deadline, &more),
            // A lease is only taken, and has nothing yet: what it is for is told now.
            (Front::Queue(queue), None) => {
                queue.lose();
                self.next_report = now;
            }
            (Front::Seats(ledger), _) if in_time && self.phase == Phase::Serving => {
                ledger.open(lease.slots.min(lease.target), lease.deadline);
            }
            (Front::Seats(_), _) => {}
        }
    }

    /// Stops the use of slots whose time is over. The lease itself may still live: the cluster counts
    /// longer than its holder, and only it can say that it has ended.
    fn expire(&mut self, now: Duration, front: &mut Front<'_>) {
        self.closing = self.closing.filter(|(_, deadline)| now < *deadline);
        let news = if self.lease.is_some_and(|lease| now < lease.deadline) {
            false
        } else if self.closing.is_some() {
            let admits = front.ledger().usage().limit > 0;
            front.shut();
            admits
        } else {
            front.run_out(now, self.unreachable)
        };
        if news {
            self.next_report = now;
        }
        let overdue = self.overdue(now, front);
        if let Front::Queue(queue) = front {
            queue.end_newest(overdue);
        }
        front.tick(now);
    }

    fn report_every(&self) -> Duration {
        let by_ttl = self.ttl() / REPORTS_PER_TTL;
        self.settings
            .report_every
            .unwrap_or(REPORT_EVERY)
            .min(by_ttl)
    }

    fn is_due(&self, now: Duration, front: &Front<'_>) -> bool {
        if now >= self.next_report {
            return true;
        }
        let Some(lease) = self.lease else {
            return false;
        };
        let soon = now >= self.last_sent + self.report_every() / EAGER;
        soon && match front {
            Front::Seats(ledger) => {
                let more_to_come = lease.target > lease.slots;
                let less_to_confirm = ledger.usage().in_use.max(lease.target) < lease.slots;
                more_to_come || less_to_confirm || self.sizing.jumped(demand(ledger))
            }
            Front::Queue(queue) => queue.is_pressed(),
        }
    }

    /// Takes a lease where there is none, or keeps the one there is.
    fn report(&mut self, now: Duration, front: &mut Front<'_>) -> (Tag, Request) {
        match (front, self.lease) {
            (Front::Seats(ledger), lease) => self.renew(now, ledger, lease),
            (Front::Queue(_), None) => {
                let wanted = 0;
                self.send(now, |epoch, seq| Request::Take { epoch, seq, wanted })
            }
            (Front::Queue(queue), Some(lease)) => {
                let (lease, report) = (lease.id, Box::new(queue.report(now)));
                self.send(now, |_, seq| Request::Report { lease, seq, report })
            }
        }
    }

    fn renew(&mut self, now: Duration, ledger: &Ledger, lease: Option<Lease>) -> (Tag, Request) {
        let wanted = match self.phase {
            Phase::Serving => self.sizing.update(now, demand(ledger)).min(MAX_SEATS),
            _ => 0,
        };
        ledger.forget_refusals();
        let Some(lease) = lease else {
            return self.send(now, |epoch, seq| Request::Take { epoch, seq, wanted });
        };
        let usage = ledger.cap(lease.target.min(wanted));
        let kept = usage.in_use.max(usage.limit).min(lease.slots);
        self.send(now, |_, seq| Request::Renew {
            lease: lease.id,
            seq,
            kept,
            wanted,
        })
    }

    fn send(&mut self, now: Duration, make: impl FnOnce(u64, u64) -> Request) -> (Tag, Request) {
        self.seq += 1;
        let (epoch, seq) = (self.epoch, self.seq);
        let (tag, request) = (Tag { epoch, seq }, make(epoch, seq));
        self.flight = Some(Flight {
            request: request.clone(),
            tag,
            first_sent: now,
            out: true,
            retry_at: now,
        });
        self.last_sent = now;
        self.next_report = now + self.report_every();
        (tag, request)
    }

    /// The same request once more: same number, same content, and the time of its first sending.
    fn send_again(&mut self, now: Duration) -> Option<(Tag, Request)> {
        let flight = self.flight.as_mut()?;
        // A return that can't be delivered is as good as done once the lease has run out.
        let over = self.lease.is_none_or(|lease| now >= lease.deadline);
        if matches!(flight.request, Request::Return { .. }) && over {
            self.flight = None;
            self.phase = Phase::Done;
            return None;
        }
        flight.out = true;
        self.last_sent = now;
        Some((flight.tag, flight.request.clone()))
    }

    fn take_flight(&mut self, tag: Tag) -> Option<Flight> {
        let flight = self.flight.take_if(|flight| flight.tag == tag)?;
        self.unreachable = false;
        Some(flight)
    }
}

/// How long the slots of a grant may be used, from before its request was first sent:
/// `ttl x (1 - drift)`, to the nanosecond and rounded down.
pub fn usable(ttl_ms: u64, drift_ppm: u32) -> Duration {
    const MILLION: u64 = 1_000_000;
    // A millisecond is a million nanoseconds, so the product is the part in nanoseconds.
    let drift_ppm = if mutation::on("forget-drift") {
        0
    } else {
        drift_ppm
    };
    let kept_ppm = MILLION.saturating_sub(u64::from(drift_ppm));
    Duration::from_nanos(ttl_ms.saturating_mul(kept_ppm))
}

fn demand(ledger: &Ledger) -> Demand {
    Demand {
        in_use: ledger.usage().in_use,
        unserved: ledger.unserved(),
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
