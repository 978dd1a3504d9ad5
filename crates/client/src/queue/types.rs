//! What goes into a queue and comes out of it.

use std::fmt;
use std::sync::Arc;

use quota::{
    Admission, Bucket, Claimed, Flow, LeaseId, Mode, Reported, SessionRules, TokenClaim, Wait,
};

/// A user as the queue knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The id that the ticket and the seat carry.
    pub id: u64,
    /// Where the user is kept: small, and another user's once this one has gone.
    pub index: u32,
}

/// What comes of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Come in.
    Seated(User),
    /// Please wait your turn.
    Waiting(User, Place),
    /// Nobody may come in or queue.
    Refused(NoEntry),
}

/// Why somebody may neither come in nor queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEntry {
    /// The cluster has not said its time yet: in a moment.
    NotReady,
    /// The pool or region is being drained, or this front-end is.
    Draining,
    /// The front-end holds [`MAX_USERS`](super::MAX_USERS).
    Full,
    /// The pool's rules have no such class.
    NoSuchClass,
}

impl fmt::Display for NoEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReady => "the front-end has not heard from the cluster yet; try again shortly",
            Self::Draining => "nobody is let in or may queue now",
            Self::Full => "the front-end's queue is full; try another",
            Self::NoSuchClass => "class: the pool's rules have none of this name",
        })
    }
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Users of the same class who wait at this front-end and came in an earlier second.
    pub ahead: u64,
    /// How long it may take; `None` while nothing is known.
    pub wait: Option<Wait>,
}

/// How a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the queue.
    Waiting(Place),
    /// In.
    Seated(Session),
    /// The user came from another front-end, and the region is being asked about the token.
    Checking,
    /// Not known here: the token was used up, the session is over, or the user was silent for too long.
    Gone,
}

/// A session. Seconds are of cluster time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// When it began.
    pub start_s: u32,
    /// When it ends at the latest, as far as is known now; `None` without a limit.
    pub ends_s: Option<u32>,
    /// Whether it ends so soon that its user should be told.
    pub notice: bool,
}

/// What happened to a user without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A waiting user has a seat. It begins with the user's next poll.
    Called(User),
    /// A session will end at this second of cluster time; its user should be told.
    Notice(User, u32),
    /// A session is over.
    Ended(User, Why),
    /// Somebody who waited, or was called, was silent for too long.
    Abandoned(User),
    /// Another front-end of the region has the user now.
    Moved(User),
    /// A user from another front-end is known here from now on.
    Adopted(User),
}

impl Event {
    /// Whom it happened to.
    pub fn user(&self) -> User {
        match *self {
            Self::Called(user)
            | Self::Notice(user, _)
            | Self::Ended(user, _)
            | Self::Abandoned(user)
            | Self::Moved(user)
            | Self::Adopted(user) => user,
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It reached the limit.
    Limit,
    /// Its user gave no sign for too long.
    Idle,
    /// Others wait, or its region has to give slots back.
    Waiting,
    /// No lease covers it any more.
    Uncovered,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// Slots that may be used.
    pub slots: u64,
    /// Whether arrivals may be seated at once.
    pub open: bool,
    /// When `open` turns into its opposite, in cluster time; 0 where it does not.
    pub turns_ms: u64,
    /// The stricter of the pool's and the region's mode.
    pub mode: Mode,
    /// Why, in words for users.
    pub reason: Arc<str>,
    /// Whom to seat now.
    pub admit: Vec<Admission>,
    /// Sessions, from the newest, to which `when_waiting_s` applies whoever waits.
    pub shorten: u64,
    /// Whether somebody of the region waits.
    pub others_wait: bool,
    /// Slots that may be used where no node can be reached and the lease has run out.
    pub floor: u64,
    /// How long sessions may last.
    pub session: SessionRules,
    /// Cluster time of the answer, in milliseconds.
    pub cluster_ms: u64,
    /// When the region was closed.
    pub closed_s: Option<u32>,
    /// How fast the region's queue moves.
    pub flows: Vec<Flow>,
    /// What came of the report's claims.
    pub claims: Vec<(u64, Claimed)>,
    /// Ids that other front-ends claim from this one.
    pub asked: Vec<u64>,
}

impl From<&Reported> for Grant {
    fn from(reported: &Reported) -> Self {
        Self {
            slots: reported.grant.slots,
            open: reported.open,
            turns_ms: reported.turns_ms,
            mode: reported.mode,
            reason: reported.reason.as_str().into(),
            admit: reported.admit.clone(),
            shorten: reported.shorten,
            others_wait: reported.others_wait,
            floor: reported.floor,
            session: reported.session,
            cluster_ms: reported.now_ms,
            closed_s: reported.closed_s,
            flows: reported.flows.clone(),
            claims: reported.claims.clone(),
            asked: reported.asked.clone(),
        }
    }
}

/// What the coordinator is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Slots kept, in use or idle.
    pub kept: u64,
    /// Slots with a user on them.
    pub in_use: u64,
    /// Slots wanted ready beyond those in use and those who wait.
    pub spare: u64,
    /// Who waits, by class and second.
    pub waiting: Vec<Bucket>,
    /// From this second on others may still arrive here.
    pub exact_until_s: u32,
    /// Slots that users have left since the last report that was answered.
    pub left: u64,
    /// The floor gone by.
    pub floor: u64,
    /// Tokens from elsewhere.
    pub claims: Vec<TokenClaim>,
    /// Ids asked for and dropped here.
    pub released: Vec<u64>,
    /// Ids asked for and used up here.
    pub refused: Vec<u64>,
}

impl Report {
    /// The command that reports this for a lease.
    pub fn of(self, lease: LeaseId, seq: u64) -> quota::Report {
        quota::Report {
            lease,
            seq,
            kept: self.kept,
            in_use: self.in_use,
            spare: self.spare,
            waiting: self.waiting,
            exact_until_s: self.exact_until_s,
            left: self.left,
            floor: self.floor,
            claims: self.claims,
            released: self.released,
            refused: self.refused,
        }
    }
}

/// A token from another front-end, its signature verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: u64,
    /// The fingerprint of who issued it.
    pub issuer: u32,
    /// The user's class, by its position in the rules.
    pub class: u8,
    /// The second of cluster time in which the user arrived.
    pub second: u32,
    /// When the session began, where the token is a seat.
    pub start_s: Option<u32>,
}
