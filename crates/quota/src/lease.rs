//! Leases, where they are kept, and the order in which they end.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::command::Bucket;
use crate::holder::Holder;
use crate::limits::{MAX_LEASES, MAX_POOLS, MAX_REGIONS_PER_POOL, STALE_MS, TTL_MS};
use crate::outcome::{Admission, Claimed, Grant, LeaseId, Refusal};
use crate::places::Places;
use crate::soonest::Soonest;

/// Bits of a lease's id that say where it is kept; the others are a number that is never used twice.
pub(crate) const PLACE_BITS: u32 = 20;
const _: () = assert!(MAX_LEASES <= 1 << PLACE_BITS);
const _: () = assert!(MAX_POOLS <= 1 << u16::BITS && MAX_REGIONS_PER_POOL <= 1 << u16::BITS);
const _: () = assert!(*TTL_MS.end() <= u32::MAX as u64);
/// The highest of those numbers; the first is 1, so that no lease has the id 0.
pub(crate) const MAX_LEASE_NUMBER: u64 = u64::MAX >> PLACE_BITS;

/// Slots of one holder. There are as many of these as of anything, so that each byte counts.
#[derive(Debug)]
pub(crate) struct Lease {
    pub id: LeaseId,
    pub pool: u16,
    pub region: u16,
    pub holder: SmolStr,
    pub epoch: u64,
    /// The last request carried out, and its answer.
    pub seq: u64,
    pub asked: Asked,
    pub given: Given,
    pub phase: Phase,
    /// Slots counted against the budget.
    pub slots: u64,
    /// Slots wanted; 0 unless live.
    pub wanted: u64,
    /// Cluster time when it runs out or, once ended, when it ended.
    pub until_ms: u64,
    /// What it has reported, if it does.
    pub reporting: Option<Box<Reporting>>,
}

/// What a lease that reports has said last, and was answered.
#[derive(Debug, Default)]
pub(crate) struct Reporting {
    pub in_use: u64,
    pub spare: u64,
    /// Who waits, by class and second: none once it has been silent for too long.
    pub buckets: Vec<Bucket>,
    /// From which second on they are coarse; none where it is silent.
    pub exact_until_s: Option<u32>,
    pub reported_ms: u64,
    pub decided: Decided,
}

/// What a report was answered, as far as a retry must get the same; the slots are in [`Lease::given`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub open: bool,
    pub turns_ms: u64,
    pub admit: Box<[Admission]>,
    pub shorten: u64,
    pub floor: u64,
    pub claims: Box<[(u64, Claimed)]>,
}

impl Reporting {
    /// Users who wait.
    pub fn waiting(&self) -> u64 {
        self.buckets.iter().map(|b| u64::from(b.users)).sum()
    }
}

/// A lease's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It can be renewed.
    Live,
    /// It counts until it runs out or is returned.
    Closing,
    /// It counts no more, and is remembered for the sake of retries.
    Ended,
}

/// What a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To take or renew.
    Keep,
    Return,
    Report,
}

/// What a request was answered, so that a retry gets the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// Slots granted; to a return those freed, and nothing else.
    pub slots: u64,
    pub target: u64,
    pub ttl_ms: u32,
    pub drift_ppm: u32,
}

impl Lease {
    /// What the lease asks of its region: what it wants or, where it has more than that, what it has.
    pub fn demand(&self) -> u64 {
        match self.phase {
            Phase::Live => self.slots.max(self.wanted),
            Phase::Closing => self.slots,
            Phase::Ended => 0,
        }
    }

    /// Whether the request with this number is the last one that was carried out, again.
    ///
    /// Once the lease has ended a grant is not repeated: its time has passed for whoever first sent the
    /// request, and anyone else would take it for slots that nothing counts any more.
    pub fn retried(&self, seq: u64) -> Result<bool, Refusal> {
        let granted = self.asked != Asked::Return;
        match seq.cmp(&self.seq) {
            Ordering::Greater => Ok(false),
            Ordering::Equal if mutation::on("skip-dedup") => Ok(false),
            Ordering::Equal if self.phase == Phase::Ended && granted => {
                Err(Refusal::LeaseEnded { lease: self.id })
            }
            Ordering::Equal => Ok(true),
            Ordering::Less => Err(Refusal::StaleSeq {
                given: seq,
                current: self.seq,
            }),
        }
    }

    /// What the last request was granted, where it was a take, renewal or report.
    pub fn grant(&self) -> Grant {
        Grant {
            lease: self.id,
            slots: self.given.slots,
            target: self.given.target,
            ttl_ms: self.given.ttl_ms.into(),
            drift_ppm: self.given.drift_ppm,
        }
    }

    /// Whether it reports, and counts as such.
    pub fn reports(&self) -> bool {
        self.phase == Phase::Live && self.reporting.is_some()
    }

    /// When it falls silent, unless it reports again or is silent.
    pub fn silent_ms(&self) -> Option<u64> {
        let reporting = self.reporting.as_ref()?;
        let speaks = reporting.exact_until_s.is_some();
        speaks.then(|| reporting.reported_ms.saturating_add(STALE_MS))
    }
}

/// A lease before it has a place.
pub(crate) struct NewLease {
    pub pool: u32,
    pub region: u32,
    pub holder: SmolStr,
    pub epoch: u64,
    pub seq: u64,
    pub wanted: u64,
    pub until_ms: u64,
}

/// All leases.
#[derive(Debug)]
pub(crate) struct Leases {
    places: Places,
    /// Free places before the end of `places`: the lowest is used first.
    free: BTreeSet<u32>,
    /// The number in the next lease's id.
    pub next_number: u64,
    /// When those that count run out.
    queue: Soonest,
    /// Leases that ended, oldest first.
    ended: BTreeSet<(u64, u32)>,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            places: Places::default(),
            free: BTreeSet::new(),
            next_number: 1,
            queue: Soonest::default(),
            ended: BTreeSet::new(),
        }
    }
}

impl LeaseId {
    fn new(number: u64, place: u32) -> Self {
        Self(number << PLACE_BITS | u64::from(place))
    }

    /// Where the lease is kept.
    pub(crate) fn place(self) -> u32 {
        (self.0 & ((1 << PLACE_BITS) - 1)) as u32
    }

    /// The number that no other lease has.
    pub(crate) fn number(self) -> u64 {
        self.0 >> PLACE_BITS
    }
}

impl Leases {
    /// The place of a lease that is known.
    pub fn find(&self, id: LeaseId) -> Result<u32, Refusal> {
        let place = id.place();
        match self.get(place) {
            Some(lease) if lease.id == id => Ok(place),
            _ => Err(Refusal::NoSuchLease { lease: id }),
        }
    }

    pub fn get(&self, place: u32) -> Option<&Lease> {
        self.places.get(place)
    }

    pub fn get_mut(&mut self, place: u32) -> Option<&mut Lease> {
        self.places.get_mut(place)
    }

    /// The highest epoch of a holder that was seen.
    pub fn epoch_of(&self, holder: Holder<'_>) -> u64 {
        let newest = self.get(holder.newest);
        holder.epoch(newest.map_or(0, |lease| lease.epoch))
    }

    /// Where the next lease will be, once the oldest of those that ended is forgotten where it must be; none
    /// where there can be no other.
    pub fn next(&self) -> Option<u32> {
        if self.are_used_up() {
            None
        } else if self.is_full() {
            self.oldest_ended()
        } else {
            Some(self.free_place())
        }
    }

    /// The lowest place that has no lease.
    fn free_place(&self) -> u32 {
        let free = self.free.first().copied();
        free.unwrap_or(self.places.len())
    }

    /// Whether all numbers that leases can have were used.
    pub fn are_used_up(&self) -> bool {
        self.next_number > MAX_LEASE_NUMBER
    }

    /// Whether another lease can be made without forgetting one that ended.
    pub fn is_full(&self) -> bool {
        self.free.is_empty() && self.places.len() as usize >= MAX_LEASES
    }

    /// The lease that ended first of all that are remembered.
    pub fn oldest_ended(&self) -> Option<u32> {
        self.ended.first().map(|&(_, place)| place)
    }

    /// The leases that ended at or before a time are due to be forgotten.
    pub fn ended_by(&self, time_ms: u64) -> Option<u32> {
        self.ended
            .first()
            .filter(|&&(at, _)| at <= time_ms)
            .map(|&(_, place)| place)
    }

    /// When the oldest lease ended.
    pub fn first_ended_ms(&self) -> Option<u64> {
        self.ended.first().map(|&(at, _)| at)
    }

    /// When the next lease runs out, where that is by a time.
    pub fn first_due_ms(&self, by_ms: u64) -> Option<u64> {
        self.queue
            .first(by_ms, |place| runs_out_ms(&self.places, place))
    }

    /// Makes a live lease without slots. The caller has seen that there is room.
    pub fn insert(&mut self, new: NewLease) -> u32 {
        let place = self.free_place();
        let id = LeaseId::new(self.next_number, place);
        self.next_number += 1;
        let NewLease {
            pool,
            region,
            holder,
            epoch,
            seq,
            wanted,
            until_ms,
        } = new;
        let lease = Lease {
            id,
            pool: pool as u16,
            region: region as u16,
            holder,
            epoch,
            seq,
            asked: Asked::Keep,
            given: Given::default(),
            phase: Phase::Live,
            slots: 0,
            wanted,
            until_ms,
            reporting: None,
        };
        self.put(place, lease);
        place
    }

    /// Puts a lease where it belongs, and queues it.
    pub fn put(&mut self, place: u32, lease: Lease) {
        if lease.phase == Phase::Ended {
            self.ended.insert((lease.until_ms, place));
        } else {
            self.queue.add(place, lease.until_ms);
        }
        self.free.extend(self.places.len()..place);
        self.free.remove(&place);
        self.places.put(place, lease);
    }

    /// Remembers a lease as ended at `now_ms`. Its slots and its phase are the caller's to settle.
    pub fn end(&mut self, place: u32, now_ms: u64) {
        if let Some(lease) = self.places.get_mut(place) {
            self.ended.remove(&(lease.until_ms, place));
            lease.until_ms = now_ms;
            self.ended.insert((now_ms, place));
        }
    }

    /// Frees a place.
    pub fn forget(&mut self, place: u32) -> Option<Lease> {
        let lease = self.places.take(place)?;
        self.ended.remove(&(lease.until_ms, place));
        self.free.insert(place);
        // Places at the end shrink away, so that what is kept depends on the leases alone.
        let len = self.places.len();
        while self.free.last().is_some_and(|&last| last >= len) {
            self.free.pop_last();
        }
        Some(lease)
    }

    /// The leases that have run out by `now_ms`, in order.
    pub fn run_out(&mut self, now_ms: u64) -> Vec<u32> {
        self.queue
            .due(now_ms, |place| runs_out_ms(&self.places, place))
    }
}

/// When the lease at a place runs out, if there is one that counts.
fn runs_out_ms(places: &Places, place: u32) -> Option<u64> {
    let lease = places.get(place)?;
    (lease.phase != Phase::Ended).then_some(lease.until_ms)
}
