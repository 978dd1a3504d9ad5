//! What comes of a command: a [`Reply`], or a [`Refusal`] that changed nothing.

use serde::{Deserialize, Serialize};

/// What came of one command.
pub type Outcome = Result<Reply, Refusal>;

/// Names a lease for its whole life; never reused for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeaseId(pub u64);

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a command answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To take and renew.
    Grant(Grant),
    /// To return.
    Returned(Returned),
    /// To remove holder.
    HolderRemoved(HolderRemoved),
    /// To configure.
    Configured(Configured),
}

/// What a holder may use, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The lease.
    pub lease: LeaseId,
    /// Slots that the holder may use.
    pub slots: u64,
    /// Slots to come down to where lower; more will come where higher.
    pub target: u64,
    /// How long, in milliseconds from before the request was first sent.
    pub ttl_ms: u64,
    /// The clocks' drift in parts per million.
    pub drift_ppm: u32,
}

/// What a return freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// Slots freed.
    pub slots: u64,
}

/// What the removal of a holder began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderRemoved {
    /// Leases that were live and now close.
    pub leases: u64,
    /// Slots that come free as they run out.
    pub slots: u64,
}

/// What a configuration came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The budget's revision now.
    pub revision: u64,
    /// Pools with more out than they can carry.
    pub draining: Vec<Draining>,
}

/// A pool with more out than it can carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// The pool's name.
    pub pool: String,
    /// Slots above the capacity.
    pub over_by: u64,
}

/// Why a command was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// A field has a value that can't be.
    #[error("{field}: {value} given, expected {expected}")]
    Invalid {
        /// The field's path, such as `changes[2].set_region.weight`.
        field: String,
        /// The value given, quoted where it is text.
        value: String,
        /// What would have been right.
        expected: String,
    },
    /// No such pool.
    #[error("pool {pool:?} does not exist")]
    NoSuchPool {
        /// The name given.
        pool: String,
    },
    /// No such region.
    #[error("region {region:?} does not exist in pool {pool:?}")]
    NoSuchRegion {
        /// The pool's name.
        pool: String,
        /// The name given.
        region: String,
    },
    /// No such holder.
    #[error("holder {holder:?} has no lease")]
    NoSuchHolder {
        /// The name given.
        holder: String,
    },
    /// The lease is unknown: it ended long ago, or never was.
    #[error("lease {lease} is not known: it ended, or never was; take a new one")]
    NoSuchLease {
        /// The id given.
        lease: LeaseId,
    },
    /// The lease has ended: it ran out, or was returned.
    #[error("lease {lease} has ended; take a new one")]
    LeaseEnded {
        /// The id given.
        lease: LeaseId,
    },
    /// The lease was superseded by a higher epoch, or its holder was removed. It can be returned only.
    #[error(
        "lease {lease} is closing: its holder was removed or started anew; return it, or take a new one"
    )]
    LeaseClosing {
        /// The id given.
        lease: LeaseId,
    },
    /// The holder has started anew since.
    #[error("epoch: {given} given, and the holder is at {current}; take a lease with a higher one")]
    StaleEpoch {
        /// The epoch given.
        given: u64,
        /// The holder's epoch.
        current: u64,
    },
    /// A later request of the same epoch has been carried out.
    #[error(
        "seq: {given} given, and the holder is at {current}; the answer to it is no longer known"
    )]
    StaleSeq {
        /// The sequence number given.
        given: u64,
        /// The last one carried out.
        current: u64,
    },
    /// The sum of the nominals is over the capacity.
    #[error(
        "pool {pool:?}: the nominals of its regions add up to {nominals}, over its capacity of {capacity}"
    )]
    NominalsOverCapacity {
        /// The pool's name.
        pool: String,
        /// The sum.
        nominals: u64,
        /// The capacity.
        capacity: u64,
    },
    /// Slots are still out.
    #[error(
        "{what} has {slots} slots out; set its {lower} to 0, wait until they have drained, then remove it"
    )]
    InUse {
        /// Such as `pool "ent"`.
        what: String,
        /// Slots out.
        slots: u64,
        /// What to set to 0, such as `nominal and ceiling`.
        lower: String,
    },
    /// A bound of the state machine is reached.
    #[error("{what}: the most is {most}")]
    TooMany {
        /// Such as `pools`.
        what: String,
        /// The bound.
        most: u64,
    },
    /// The budget has changed since it was read.
    #[error("expected_revision: {expected} given, and the budget is at {current}; read it again")]
    RevisionMismatch {
        /// The revision given.
        expected: u64,
        /// The revision now.
        current: u64,
    },
}
