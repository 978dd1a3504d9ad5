//! Every bound of the state machine, in one place.

/// Most slots of one pool, region or lease.
pub const MAX_SLOTS: u64 = 1_000_000_000_000;
/// Most bytes of a name of a pool, region or holder.
pub const MAX_NAME_BYTES: usize = 128;
/// Most bytes of a request id.
pub const MAX_REQUEST_ID_BYTES: usize = 64;
/// Highest weight of a region; the lowest is 1.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// Most pools.
pub const MAX_POOLS: usize = 1_024;
/// Most regions of one pool.
pub const MAX_REGIONS_PER_POOL: usize = 4_096;
/// Most leases of all pools together, those that only await their end included.
pub const MAX_LEASES: usize = 1_000_000;
/// Most changes of one [`Configure`](crate::Configure).
pub const MAX_CHANGES: usize = 5_000;
/// Most commands of one [`Batch`](crate::Batch).
pub const MAX_COMMANDS: usize = 4_096;
/// Most bytes of an encoded [`Batch`](crate::Batch).
pub const MAX_BATCH_BYTES: usize = 2 << 20;
/// Most bytes of the commands of one [`Batch`](crate::Batch), which leaves room for its head: the format,
/// the time and how many commands there are.
pub const MAX_COMMANDS_BYTES: usize = MAX_BATCH_BYTES - 16;
/// Shortest and longest time to live of a lease, in milliseconds.
pub const TTL_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
/// A lease's time to live where nothing else is said, in milliseconds.
pub const DEFAULT_TTL_MS: u64 = 10_000;
/// Bounds of the clocks' drift, in parts per million.
pub const DRIFT_PPM: std::ops::RangeInclusive<u32> = 0..=200_000;
/// The clocks' drift where nothing else is said, in parts per million: 1 %.
pub const DEFAULT_DRIFT_PPM: u32 = 10_000;
/// How long an ended lease is remembered so that a retry gets the same answer, in milliseconds of
/// cluster time.
pub const REMEMBER_ENDED_MS: u64 = 15 * 60 * 1_000;
/// How many admin requests are remembered so that a retry has one effect.
pub const REMEMBERED_REQUESTS: usize = 1_024;
/// Most leases of one holder in one pool that were superseded and still count.
pub const MAX_CLOSING_PER_HOLDER: usize = 64;
/// Most classes of one pool.
pub const MAX_CLASSES: usize = 16;
/// Most buckets of one report, of all classes together.
pub const MAX_BUCKETS: usize = 128;
/// Most bytes of the reason for a mode.
pub const MAX_REASON_BYTES: usize = 256;
/// Most bytes of a time zone's name.
pub const MAX_ZONE_BYTES: usize = 64;
/// Most entries of a pool's calendar.
pub const MAX_CALENDAR: usize = 256;
/// Most holders of one region for which a floor is set.
pub const MAX_FLOORS: usize = 4_096;
/// Bounds of a pool's `overtake_s`, in seconds.
pub const OVERTAKE_S: std::ops::RangeInclusive<u32> = 1..=86_400;
/// A pool's `overtake_s` where nothing else is said: ten minutes.
pub const DEFAULT_OVERTAKE_S: u32 = 600;
/// Bounds of the limits of a session, in seconds: up to seven days.
pub const SESSION_S: std::ops::RangeInclusive<u32> = 1..=604_800;
/// How long a holder's waiting users count without a report, in milliseconds of cluster time.
pub const STALE_MS: u64 = 3_000;
/// Most claims, releases and refusals of one report together.
pub const MAX_CLAIMS_PER_REPORT: usize = 256;
/// Most claims that a region remembers.
pub const MAX_CLAIMS: usize = 65_536;
/// How long a claim is remembered, in seconds of cluster time: a token is good for as long at most.
pub const CLAIM_REMEMBER_S: u32 = 4 * 60 * 60;
/// Shortest time between two rounds of sharing in a pool whose front-ends report, in milliseconds.
pub const REPORTING_ROUND_MS: u64 = 100;
/// How long after it is decided, whom to seat takes effect where several front-ends report, in milliseconds
/// of cluster time: so long that each has reported once a second and heard, also where a message was lost.
pub const SETTLE_MS: u64 = 1_500;
/// So far apart those of one second and the next are seated at least, unless too many seconds are reached.
pub const STEP_MS: u64 = 20;
/// Nobody is seated later than this after [`SETTLE_MS`].
pub const SPREAD_MS: u64 = 6_000;
/// A region has to have all that it asks for, and as much again, for so long to open.
pub const CALM_MS: u64 = 5_000;
