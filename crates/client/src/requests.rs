//! What a keeper asks, and what it is answered.

use crate::queue;

/// A request, complete but for the names that never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Take a lease.
    Take {
        /// The holder's epoch.
        epoch: u64,
        /// The request's number.
        seq: u64,
        /// Slots wanted.
        wanted: u64,
    },
    /// Keep it.
    Renew {
        /// The lease.
        lease: u64,
        /// The request's number.
        seq: u64,
        /// Slots still used.
        kept: u64,
        /// Slots wanted.
        wanted: u64,
    },
    /// Keep it, and say who waits.
    Report {
        /// The lease.
        lease: u64,
        /// The request's number.
        seq: u64,
        /// The rest.
        report: Box<queue::Report>,
    },
    /// Give it back.
    Return {
        /// The lease.
        lease: u64,
        /// The request's number.
        seq: u64,
    },
}

/// Names a request among all that a keeper sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

/// What the cluster granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The lease.
    pub lease: u64,
    /// Slots that may be used.
    pub slots: u64,
    /// Slots to come down to, or that will come.
    pub target: u64,
    /// Milliseconds from before the request was first sent.
    pub ttl_ms: u64,
    /// The clocks' drift in parts per million.
    pub drift_ppm: u32,
}

/// An answer that carries out the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To take and renew.
    Granted(Grant),
    /// To report.
    Reported(Grant, Box<queue::Grant>),
    /// To return.
    Returned,
}

/// An answer that refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The lease has ended, or is not known.
    Ended,
    /// The lease was superseded or removed: it counts until it runs out.
    Closing,
    /// The holder's epoch is higher.
    StaleEpoch {
        /// The holder's epoch, where the answer says it.
        current: Option<u64>,
    },
    /// Somebody else used our epoch with a higher number.
    StaleSeq,
    /// Anything else, such as a pool that does not exist.
    Other,
}
