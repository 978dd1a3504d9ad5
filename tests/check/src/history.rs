//! The history of a run: what was asked and answered, what holders might use, what nodes came to, who was
//! seated, and which faults were made.
//!
//! All times are nanoseconds of one monotonic clock, that of whoever records: in a simulation the true time,
//! on one machine its monotonic clock. On disk a history is lines of JSON, one [`Record`] each, the first of
//! them [`Record::Run`].

use serde::{Deserialize, Serialize};

/// The format that is written. Readers refuse any other.
pub const FORMAT: u32 = 1;

/// One line of a history. The order of lines says nothing: their times do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// What was run: the first line, and no other.
    Run(Run),
    /// A request and what came of it.
    Operation(Operation),
    /// What a holder may use from now on.
    Use(Use),
    /// A node has applied the log up to an entry.
    Applied(Applied),
    /// A node began to lead.
    Leads(Leads),
    /// A node holds its log safely, as far as it says.
    Stored(Stored),
    /// A node has started, and found this on its disk.
    Started(Started),
    /// A user began to wait.
    Waits(Waits),
    /// A user waits no more.
    Served(Served),
    /// A fault began or ended.
    Fault(Fault),
    /// No fault is on any more, and a majority runs: the cluster must serve again.
    Healed(Moment),
    /// No holder asks for anything any more: each has returned its leases, or is gone. All slots must come free.
    Drained(Moment),
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// [`FORMAT`].
    pub format: u32,
    /// What recorded it, such as `chaos` or `simulation`.
    pub by: String,
    /// The seed of whatever was drawn by lot.
    pub seed: u64,
    /// The ids of the nodes at the beginning.
    pub nodes: Vec<u64>,
}

/// An instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// When.
    pub at_ns: u64,
}

/// A request and what came of it. A retry is an operation of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Who asked: a number for each line of requests that come one after another.
    pub client: u64,
    /// When it was sent.
    pub invoke_ns: u64,
    /// When it was answered or given up; after an unknown outcome it may still take effect later.
    pub return_ns: u64,
    /// What was asked.
    pub call: Call,
    /// What came of it.
    pub answer: Answer,
}

impl Operation {
    /// Whether it is a change that went through a majority.
    pub fn carried_out(&self) -> bool {
        matches!(
            self.answer,
            Answer::Granted(_)
                | Answer::Returned { .. }
                | Answer::HolderRemoved { .. }
                | Answer::Configured { .. }
        )
    }
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Take a lease.
    Take {
        /// The pool.
        pool: String,
        /// The region.
        region: String,
        /// The holder.
        holder: String,
        /// The holder's life.
        epoch: u64,
        /// The request's number.
        seq: u64,
        /// Slots wanted.
        wanted: u64,
    },
    /// Keep a lease.
    Renew {
        /// The pool, for the checkers: the request names the lease alone.
        pool: String,
        /// The lease.
        lease: u64,
        /// The request's number.
        seq: u64,
        /// Slots kept.
        kept: u64,
        /// Slots wanted.
        wanted: u64,
    },
    /// Keep a lease, and say who waits.
    Report {
        /// As in `Renew`.
        pool: String,
        /// The lease.
        lease: u64,
        /// The request's number.
        seq: u64,
        /// Slots kept.
        kept: u64,
        /// Slots with a session on them.
        in_use: u64,
        /// In use, waited for and spare together: what it may grow to.
        wanted: u64,
        /// The floor that the holder goes by.
        floor: u64,
    },
    /// Give a lease back.
    Return {
        /// As in `Renew`.
        pool: String,
        /// The lease.
        lease: u64,
        /// The request's number.
        seq: u64,
    },
    /// End the leases of a holder.
    RemoveHolder {
        /// Names the request among its retries.
        request_id: String,
        /// One pool alone, or all.
        pool: Option<String>,
        /// The holder.
        holder: String,
    },
    /// Change the budget. Everything that raises its revision must be in the history: no pool of it may have a
    /// calendar that comes due meanwhile.
    Configure {
        /// Names the request among its retries.
        request_id: String,
        /// Refuse unless at this revision.
        expected_revision: Option<u64>,
        /// The changes, as far as a checker follows them.
        changes: Vec<Change>,
    },
    /// Read a pool's figures.
    Inspect {
        /// The pool.
        pool: String,
        /// Whether a node was asked for what it knows itself, out of date or not.
        stale: bool,
    },
    /// Read the leases of a pool that count, all of them.
    Leases {
        /// The pool.
        pool: String,
        /// As in `Inspect`.
        stale: bool,
    },
    /// Read the budget's revision and its capacities.
    Budget {
        /// As in `Inspect`.
        stale: bool,
    },
}

/// One change of the budget.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Make a pool or change its capacity.
    Capacity {
        /// The pool.
        pool: String,
        /// Slots.
        capacity: u64,
    },
    /// Remove a pool.
    RemovePool {
        /// The pool.
        pool: String,
    },
    /// Anything that changes no capacity, in words.
    Other(String),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// To take, renew and report.
    Granted(Granted),
    /// To return.
    Returned {
        /// Slots freed.
        slots: u64,
    },
    /// To remove holder.
    HolderRemoved {
        /// Leases that were live.
        leases: u64,
        /// Their slots.
        slots: u64,
    },
    /// To configure.
    Configured {
        /// The budget's revision.
        revision: u64,
    },
    /// To inspect.
    Inspected {
        /// Slots that the pool can carry.
        capacity: u64,
        /// Slots counted, without floors.
        held: u64,
        /// Leases that count.
        leases: u64,
        /// Cluster time.
        cluster_time_ms: u64,
    },
    /// To leases.
    Leases(Vec<Listed>),
    /// To budget.
    Budget {
        /// The revision.
        revision: u64,
        /// The capacities by pool.
        capacities: Vec<(String, u64)>,
    },
    /// Refused by the rules, with the `reason` of its ErrorInfo: nothing was done.
    Refused(Refused),
    /// Surely not done, whatever the reason: it was never sent, or the node says that it was not proposed.
    Failed(String),
    /// Timed out or cut off: it may have been done, or be done yet.
    Unknown(String),
}

/// What a holder was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    /// The lease.
    pub lease: u64,
    /// Slots that may be used.
    pub slots: u64,
    /// Slots to come to.
    pub target: u64,
    /// For so long.
    pub ttl_ms: u64,
    /// The clocks' drift.
    pub drift_ppm: u32,
    /// The floor that was told; 0 to take and renew.
    pub floor: u64,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The reason of the error, such as `STALE_EPOCH`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A lease that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The lease.
    pub lease: u64,
    /// The holder.
    pub holder: String,
    /// The holder's life.
    pub epoch: u64,
    /// The last request carried out.
    pub seq: u64,
    /// Slots counted.
    pub slots: u64,
}

/// What a holder may use by its own clock, from `at_ns` on: in the place of what was said of this lease before.
/// Recorded at every change: when a grant comes in, *before* a request is sent that gives slots back, when
/// the lease is shut. Two leases of one holder count together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// From when on.
    pub at_ns: u64,
    /// The pool.
    pub pool: String,
    /// The holder.
    pub holder: String,
    /// The lease.
    pub lease: u64,
    /// Slots that it may use.
    pub slots: u64,
    /// Until then: its own clock's deadline, on the clock of the history.
    pub until_ns: u64,
    /// Slots that it may use after that: its floor.
    pub floor: u64,
}

/// A node has applied the log up to an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// When it was seen.
    pub at_ns: u64,
    /// The node.
    pub node: u64,
    /// The entry's index.
    pub index: u64,
    /// The entry's term.
    pub term: u64,
    /// A hash of the state then, such as that of its snapshot.
    pub hash: u64,
}

/// A node began to lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leads {
    /// When it was seen.
    pub at_ns: u64,
    /// The node.
    pub node: u64,
    /// The term.
    pub term: u64,
}

/// A node holds its log safely up to an entry: it has said so to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// When.
    pub at_ns: u64,
    /// The node.
    pub node: u64,
    /// The last entry's index.
    pub index: u64,
    /// The last entry's term.
    pub term: u64,
    /// The term that it has voted in or follows.
    pub vote: u64,
}

/// A node has started, and found this on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// When.
    pub at_ns: u64,
    /// The node.
    pub node: u64,
    /// The last entry's index, in the log or the snapshot; 0 for none.
    pub index: u64,
    /// The last entry's term.
    pub term: u64,
    /// The term that it has voted in or follows.
    pub vote: u64,
}

/// A user began to wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waits {
    /// When the front-end took the user in.
    pub at_ns: u64,
    /// Names the user in this history.
    pub user: u64,
    /// The pool.
    pub pool: String,
    /// The region.
    pub region: String,
    /// The class.
    pub class: String,
    /// The front-end where the user waits.
    pub holder: String,
    /// The second of arrival that the ticket says.
    pub second: u32,
}

/// A user waits no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Served {
    /// When.
    pub at_ns: u64,
    /// The user.
    pub user: u64,
    /// Whether with a seat; else the user left, or the front-end died and nobody came back with the ticket.
    pub seated: bool,
}

/// A fault began or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When.
    pub at_ns: u64,
    /// Its kind, such as `kill` or `partition`: counted by this.
    pub kind: String,
    /// To what, and how, in words.
    pub what: String,
    /// Whether it begins; one that is over at once only begins.
    pub begins: bool,
}

mod file;
pub use file::{ReadError, Writer, read, read_file};
