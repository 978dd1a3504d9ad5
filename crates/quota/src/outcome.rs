//! What comes of a command: a [`Reply`], or a [`Refusal`] that changed nothing.

use serde::{Deserialize, Serialize};

use crate::rules::{Mode, Reclaim, SessionRules};

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
    /// To report.
    Reported(Box<Reported>),
    /// To due.
    Due(DueDone),
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

/// What a report is answered. What comes before `mode` is decided once, and told again to a retry; the rest is
/// as things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// What the holder may use.
    pub grant: Grant,
    /// Whether arrivals may be seated from idle slots without being asked for. Where not, `admit` alone seats
    /// anyone, and idle slots are given back with the next report.
    pub open: bool,
    /// When `open` turns into its opposite, in cluster time; 0 where it does not.
    pub turns_ms: u64,
    /// Whom to seat, each class at most once.
    pub admit: Vec<Admission>,
    /// To so many of its newest sessions the holder applies `when_waiting_s`.
    pub shorten: u64,
    /// The most that the holder may go by when it is cut off: it reaches no node, and its lease has run out.
    pub floor: u64,
    /// What came of the claims, in their order.
    pub claims: Vec<(u64, Claimed)>,
    /// The stricter of the pool's mode and the region's.
    pub mode: Mode,
    /// Why, for users to read.
    pub reason: String,
    /// Whether somebody of the region waits, or the region has more than its part, so that `when_waiting_s`
    /// applies.
    pub others_wait: bool,
    /// How long a session may last.
    pub session: SessionRules,
    /// What is done where the region has more than its part.
    pub reclaim: Reclaim,
    /// Cluster time in milliseconds.
    pub now_ms: u64,
    /// The second in which the region was last closed before an opening.
    pub closed_s: Option<u32>,
    /// The second in which it was then opened; none while it is closed.
    pub opened_s: Option<u32>,
    /// As in [`Rules`](crate::Rules).
    pub overtake_s: u32,
    /// Says when the pool's rules have changed; at least 1.
    pub rules_revision: u64,
    /// How fast the classes that wait at this holder move.
    pub flows: Vec<Flow>,
    /// Tokens that another holder claims from this one, to be released or refused with the next report: at
    /// most [`MAX_CLAIMS_PER_REPORT`](crate::limits::MAX_CLAIMS_PER_REPORT), the others later.
    pub asked: Vec<u64>,
}

/// Whom to seat of one class: the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The class's place in the pool's rules.
    pub class: u8,
    /// How many at most.
    pub users: u32,
    /// None who arrived after this second.
    pub until_s: u32,
    /// Not before this, in cluster time: 0 for at once.
    pub at_ms: u64,
}

/// How fast a class moves in the region, in thousandths of a user per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The class's place in the pool's rules.
    pub class: u8,
    /// Users of the class who wait in the region.
    pub waiting: u64,
    /// As is usual, over the last five minutes; 0 where it is not known yet.
    pub rate: u64,
    /// In a slow tenth of the time.
    pub low_rate: u64,
}

/// What came of the claim of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claimed {
    /// Whoever has it is being asked: claim it again.
    Pending,
    /// It is this holder's now.
    Granted,
    /// It is used up.
    Refused,
    /// The region remembers as many claims as it can: claim it again later.
    TooMany,
}

/// What came of a calendar entry that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueDone {
    /// The budget's revision now.
    pub revision: u64,
    /// Whether this occurrence took effect now; else it had before.
    pub applied: bool,
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
    /// The nominals and what is set aside for floors are over the capacity.
    #[error(
        "pool {pool:?}: nominals of {nominals} and floors of {floors} are over its capacity of {capacity}"
    )]
    FloorsOverCapacity {
        /// The pool's name.
        pool: String,
        /// The sum of the nominals.
        nominals: u64,
        /// The sum of the floors.
        floors: u64,
        /// The capacity.
        capacity: u64,
    },
    /// No such calendar entry.
    #[error("entry {entry:?} does not exist in the calendar of pool {pool:?}")]
    NoSuchEntry {
        /// The pool's name.
        pool: String,
        /// The name given.
        entry: String,
    },
    /// The lease reports who waits, and a renewal says nothing of that.
    #[error("lease {lease} reports: report again, or take another with a higher epoch")]
    LeaseReports {
        /// The id given.
        lease: LeaseId,
    },
}
