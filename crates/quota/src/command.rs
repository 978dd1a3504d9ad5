//! What can be asked of the state machine.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::calendar::CalendarEntry;
use crate::codec;
use crate::outcome::LeaseId;
use crate::rules::{Mode, Rules};

/// One request. New commands are added at the end, and none is ever changed or taken away: their
/// positions are their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Take a lease.
    Take(Take),
    /// Keep and resize a lease.
    Renew(Renew),
    /// Give a lease back.
    Return(Return),
    /// End the leases of a holder.
    RemoveHolder(RemoveHolder),
    /// Change pools and regions.
    Configure(Configure),
    /// Keep a lease, and say who sits and who waits: those admitted are seated as soon as they are.
    Report(Report),
    /// Do what a calendar says.
    Due(Due),
    /// Keep a lease, and say who sits and who waits: those admitted are seated in the order of their seconds
    /// all over the region.
    ReportV2(Report),
}

/// Takes a lease, or takes over the one that the holder has in this pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// The pool's name.
    pub pool: SmolStr,
    /// The region's name.
    pub region: SmolStr,
    /// The holder's name, unique within the pool.
    pub holder: SmolStr,
    /// Which life of the holder this is, at least 1.
    pub epoch: u64,
    /// The request's number within the epoch, at least 1.
    pub seq: u64,
    /// Slots wanted, at most [`MAX_SLOTS`](crate::limits::MAX_SLOTS).
    pub wanted: u64,
}

/// Keeps a lease for another time to live, gives back slots above `kept`, and says what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// The lease.
    pub lease: LeaseId,
    /// The request's number within the holder's epoch.
    pub seq: u64,
    /// Slots that the holder still uses or may use.
    pub kept: u64,
    /// Slots wanted.
    pub wanted: u64,
}

/// Gives a lease back with all of its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// The lease.
    pub lease: LeaseId,
    /// The request's number within the holder's epoch.
    pub seq: u64,
}

/// Ends the leases of a holder; their slots count until they would have run out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveHolder {
    /// Names the request among its retries.
    pub request_id: String,
    /// The holder's name.
    pub holder: String,
    /// One pool alone, or all.
    pub pool: Option<String>,
}

/// Changes pools and regions, all or nothing, checked on the state that the changes lead to together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// Names the request among its retries: another with the same id is refused.
    pub request_id: String,
    /// Refuse unless the budget is at this revision.
    pub expected_revision: Option<u64>,
    /// At most [`MAX_CHANGES`](crate::limits::MAX_CHANGES).
    pub changes: Vec<Change>,
}

/// One change of a [`Configure`]. New ones are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Make or change a pool.
    SetPool(SetPool),
    /// Remove a pool with its regions; refused while slots are out.
    RemovePool {
        /// The pool's name.
        name: String,
    },
    /// Make or change a region.
    SetRegion(SetRegion),
    /// Remove a region; refused while slots are out.
    RemoveRegion {
        /// The pool's name.
        pool: String,
        /// The region's name.
        name: String,
    },
    /// Set the rules by which a pool's users wait. While any front-end of the pool reports, the classes
    /// there are keep their places: others may follow them.
    SetRules {
        /// The pool's name.
        pool: String,
        /// The rules.
        rules: Rules,
    },
    /// Open, close, pause, drain or freeze a pool or one of its regions.
    SetMode {
        /// The pool's name.
        pool: String,
        /// A region, or the pool itself.
        region: Option<String>,
        /// The mode.
        mode: Mode,
        /// Why, for users to read; it may be empty with [`Mode::Open`] alone.
        reason: String,
    },
    /// Set a capacity now, whatever the nominals add up to: where they are over it each region is guaranteed
    /// its proportional part.
    SetCapacity {
        /// The pool's name.
        pool: String,
        /// Slots.
        capacity: u64,
    },
    /// Set a region's time zone, which calendars go by.
    SetZone {
        /// The pool's name.
        pool: String,
        /// The region's name.
        region: String,
        /// The IANA's name; none where empty.
        zone: String,
    },
    /// Set slots aside for a holder, or for all that report in a region, to use when cut off.
    SetFloor {
        /// The pool's name.
        pool: String,
        /// The region's name.
        region: String,
        /// One holder, or all that report, alike.
        holder: Option<String>,
        /// Slots; none where 0.
        slots: u64,
    },
    /// Replace a pool's calendar.
    SetCalendar {
        /// The pool's name.
        pool: String,
        /// At most [`MAX_CALENDAR`](crate::limits::MAX_CALENDAR).
        entries: Vec<CalendarEntry>,
        /// Of entries that are new or have changed, occurrences up to this one do not count: seconds since
        /// 1970, by the clock of whoever sets them.
        since_s: i64,
    },
}

/// Makes or changes a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPool {
    /// The pool's name.
    pub name: String,
    /// Slots that it can carry.
    pub capacity: u64,
    /// A lease's time to live in milliseconds; as it was, or the default, where `None`.
    pub ttl_ms: Option<u64>,
    /// The clocks' drift in parts per million; as it was, or the default, where `None`.
    pub drift_ppm: Option<u32>,
}

/// Makes or changes a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRegion {
    /// The pool's name.
    pub pool: String,
    /// The region's name.
    pub name: String,
    /// Slots guaranteed.
    pub nominal: u64,
    /// Most slots, borrowing included; no bound but the capacity where `None`.
    pub ceiling: Option<u64>,
    /// The region's part in what is lent, 1 to [`MAX_WEIGHT`](crate::limits::MAX_WEIGHT).
    pub weight: u32,
}

/// Keeps a lease for another time to live, gives back slots above `kept`, and says who sits and who waits.
/// With its first report a lease becomes a reporting one, for good: it can't be renewed, and taken again it
/// is given nothing on top until it next reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The lease.
    pub lease: LeaseId,
    /// The request's number within the holder's epoch.
    pub seq: u64,
    /// Slots that the holder keeps, in use or idle: at least `in_use`, at most those of the lease.
    pub kept: u64,
    /// Slots with a session on them.
    pub in_use: u64,
    /// Slots wanted ready beyond those in use and those waited for.
    pub spare: u64,
    /// Who waits, by class and then second, no two buckets of the same: at most
    /// [`MAX_BUCKETS`](crate::limits::MAX_BUCKETS).
    pub waiting: Vec<Bucket>,
    /// Nobody who arrived before this second is still to be reported. A bucket may stand for its second and
    /// later ones: it counts as its second, and an admission from it ends with that. Where the region is
    /// ordered nobody of it who arrived at or after the lowest of these is seated.
    pub exact_until_s: u32,
    /// Sessions that have ended since the last report.
    pub left: u64,
    /// The floor that the holder goes by, at most what it was told.
    pub floor: u64,
    /// Tokens that came here and were issued by another holder: at most
    /// [`MAX_CLAIMS_PER_REPORT`](crate::limits::MAX_CLAIMS_PER_REPORT), as the two fields below have together.
    pub claims: Vec<TokenClaim>,
    /// Ids that were asked for and have been dropped here, or were not here.
    pub released: Vec<u64>,
    /// Ids that were asked for and are used up.
    pub refused: Vec<u64>,
}

/// Users of one class who arrived in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The class's place in the pool's rules.
    pub class: u8,
    /// The second of cluster time.
    pub second: u32,
    /// How many, at least 1.
    pub users: u32,
}

/// A ticket or seat that was shown to another holder than the one that issued it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaim {
    /// The token's random id.
    pub id: u64,
    /// Who issued it, as [`issuer`](crate::issuer) tells it; [`KEPT`](crate::KEPT) where the claimer has had it
    /// all along, and its lease had ended.
    pub issuer: u32,
}

/// Does what a calendar entry says, once for each of its occurrences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// The pool's name.
    pub pool: String,
    /// The entry's name.
    pub entry: String,
    /// When it came due, in seconds since 1970 began in UTC. One that is not after the last has no effect.
    pub occurrence_s: i64,
}

impl Command {
    /// Bytes that the command takes in an encoded batch. Commands that take at most
    /// [`MAX_COMMANDS_BYTES`](crate::limits::MAX_COMMANDS_BYTES) together fit in one.
    pub fn encoded_len(&self) -> usize {
        codec::size(self)
    }

    /// Tells one request from another of the same id.
    pub(crate) fn checksum(&self) -> u32 {
        crc32c::crc32c(&codec::append(Vec::new(), self))
    }
}
