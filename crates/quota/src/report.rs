//! What front-ends report, and what they are answered: a region's freed slots go to those of its users who
//! have waited longest, whichever front-end they wait at.
//!
//! While a region has all that it asks for it is *open*: its front-ends seat arrivals at once. As soon as it
//! has not it is *ordered*: nobody is seated but those who are admitted here, idle slots are given back with
//! each report, and go to whoever is next in the [order of service](crate::order). Those of them who wait at
//! another front-end have their slots kept until that one reports.

use crate::check::{self, invalid};
use crate::claims::KEPT;
use crate::command::{Bucket, Report};
use crate::floors::Floors;
use crate::lease::{Asked, Decided, Given, Lease, Phase};
use crate::limits::{MAX_BUCKETS, MAX_CLAIMS_PER_REPORT, MAX_SLOTS, STALE_MS};
use crate::order::{self, Terms};
use crate::outcome::{Admission, Claimed, LeaseId, Outcome, Refusal};
use crate::pool::{Pool, Region};
use crate::rules::{Mode, Reclaim};
use crate::state::State;
use crate::waiting::Waiting;

/// Names a life of a holder as the issuer of tokens: a fingerprint, which two may share by chance.
pub fn issuer(holder: &str, epoch: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&epoch.to_le_bytes()), holder.as_bytes())
}

/// When those whom a report's answer admits are seated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// When it comes.
    AtOnce,
    /// In the order of their seconds all over the region.
    InTurn,
}

/// Who is seated by the answer to a report.
#[derive(Debug)]
pub(crate) struct Seating {
    pub open: bool,
    pub turns_ms: u64,
    pub admit: Vec<Admission>,
    /// Slots that the holder has from here on.
    pub slots: u64,
}

impl State {
    pub(crate) fn report(&mut self, report: &Report, way: Way) -> Outcome {
        let place = self.leases.find(report.lease)?;
        check_fields(report)?;
        let no_lease = || Refusal::NoSuchLease {
            lease: report.lease,
        };
        let lease = self.leases.get(place).ok_or_else(no_lease)?;
        if lease.retried(report.seq)? {
            return Ok(self.answered(place));
        }
        match lease.phase {
            Phase::Ended => {
                return Err(Refusal::LeaseEnded {
                    lease: report.lease,
                });
            }
            Phase::Closing => {
                return Err(Refusal::LeaseClosing {
                    lease: report.lease,
                });
            }
            Phase::Live => {}
        }
        let pool = self.pool_at(lease.pool.into())?;
        let region = pool.regions[lease.region as usize].as_ref();
        let region = region.ok_or_else(no_lease)?;
        check_against(report, lease, pool, region)?;

        let before = lease.slots;
        self.hear(place, report, way);
        if let Some((given, decided)) = self.decide(place, report, before, way) {
            self.answer(place, report.seq, Asked::Report, given);
            if let Some((lease, _)) = self.lease_and_pool(place)
                && let Some(reporting) = lease.reporting.as_mut()
            {
                reporting.decided = decided;
            }
        }
        Ok(self.answered(place))
    }

    /// Takes in what a report says.
    fn hear(&mut self, place: u32, report: &Report, way: Way) {
        let (now_ms, now_s) = (self.now_ms, self.now_s());
        self.make_reporting(place);
        let (mut began_to_speak, mut is_alone) = (false, true);
        if let Some((lease, pool)) = self.lease_and_pool(place)
            && let Some(reporting) = lease.reporting.as_mut()
            && let Some(region) = pool.regions[lease.region as usize].as_mut()
        {
            is_alone = region.reporting <= 1;
            region.departures.add(now_s, report.left);
            region.waiting.replace(&reporting.buckets, &report.waiting);
            let exact = Some(report.exact_until_s);
            region.waiting.set_exact(reporting.exact_until_s, exact);
            began_to_speak = reporting.exact_until_s.is_none();
            reporting.exact_until_s = exact;
            reporting.buckets.clone_from(&report.waiting);
            reporting.reported_ms = now_ms;
            pool.count_owed(lease.region as usize);
        }
        if began_to_speak {
            self.speaking.add(place, now_ms.saturating_add(STALE_MS));
        }
        self.change(place, |lease| {
            let (in_use, spare) = (report.in_use, report.spare);
            if let Some(reporting) = lease.reporting.as_mut() {
                (reporting.in_use, reporting.spare) = (in_use, spare);
                // Twice the spare slots: one lot is lent, and the other there for as long as it takes the
                // front-ends of a region to turn to the order.
                let ready = match way {
                    Way::InTurn if !is_alone => 2 * spare,
                    Way::InTurn | Way::AtOnce => spare,
                };
                let wanted = in_use + reporting.waiting() + ready;
                (lease.slots, lease.wanted) = (report.kept, wanted.min(MAX_SLOTS));
            }
        });
    }

    /// Decides what a report is answered, and counts what it is given. `before` is what the lease had.
    fn decide(
        &mut self,
        place: u32,
        report: &Report,
        before: u64,
        way: Way,
    ) -> Option<(Given, Decided)> {
        let (now_ms, now_s) = (self.now_ms, self.now_s());
        let lease = self.leases.get(place)?;
        let (at, lease_region) = (lease.pool as usize, lease.region as usize);
        self.pool_of(place)?.round_if_due(now_ms);
        let seating = match way {
            Way::AtOnce => self.seat_at_once(place, report, before)?,
            Way::InTurn => self.seat_in_turn(place, report, before)?,
        };
        let slots = seating.slots.max(report.kept);
        self.change(place, |lease| lease.slots = slots);

        let claims = self.claim(place, report, way, now_s);
        let (pool, lease) = (self.pools[at].as_ref()?, self.leases.get(place)?);
        let region = pool.regions[lease_region].as_ref()?;
        let mode = pool.gate.stricter(&region.gate).mode;
        let over = excess(region, pool.parts(region).reporting);
        let part = part_of(over, slots, region.reporting_held);
        let target = match mode {
            Mode::Draining => 0,
            _ => slots - part.min(slots),
        };
        let shorten = match pool.rules.reclaim {
            Reclaim::Shorten => part.min(report.in_use),
            Reclaim::Drain => 0,
        };
        let given = pool.grant(slots, target);
        let (holder, epoch) = (lease.holder.clone(), lease.epoch);
        let sharers = region.reporting;
        let room = pool.capacity.saturating_sub(pool.held + pool.told);
        let tell = |floors: &mut Floors| floors.tell(&holder, epoch, report.floor, sharers, room);
        let floor = self
            .pool_of(place)?
            .with_floors(lease_region as u32, tell)?;
        let decided = Decided {
            open: seating.open,
            turns_ms: seating.turns_ms,
            admit: seating.admit.into(),
            shorten,
            floor,
            claims: claims.into(),
        };
        Some((given, decided))
    }

    /// Admits all who wait at a holder.
    pub(crate) fn admit_all(&mut self, place: u32) -> Vec<Admission> {
        let now_s = self.now_s();
        self.admit_with(place, |_, _, buckets, _| order::admit_all(buckets, now_s))
    }

    /// Admits those of a holder's buckets whom `admit` says, which writes down what is left of them.
    pub(crate) fn admit_with(
        &mut self,
        place: u32,
        admit: impl FnOnce(Terms<'_>, &mut Waiting, &[Bucket], &mut Vec<Bucket>) -> Vec<Admission>,
    ) -> Vec<Admission> {
        let now_s = self.now_s();
        let Some((lease, pool)) = self.lease_and_pool(place) else {
            return Vec::new();
        };
        let region = pool.regions[lease.region as usize].as_mut();
        let (Some(reporting), Some(region)) = (lease.reporting.as_mut(), region) else {
            return Vec::new();
        };
        let opened_s = pool.gate.opening(&region.gate).1.unwrap_or(0);
        let overdue_s = now_s.checked_sub(pool.rules.overtake_s);
        let terms = Terms {
            rules: &pool.rules,
            horizon: region.waiting.horizon().unwrap_or(u32::MAX),
            // Nobody waits before the opening.
            overdue_s: overdue_s.filter(|&overdue_s| overdue_s >= opened_s),
            in_turn: false,
            each_second: false,
        };
        let mut rest = Vec::new();
        let admitted = admit(terms, &mut region.waiting, &reporting.buckets, &mut rest);
        if !admitted.is_empty() {
            region.waiting.count(now_s, &admitted);
            region.waiting.replace(&reporting.buckets, &rest);
            reporting.buckets = rest;
            pool.count_owed(lease.region as usize);
        }
        admitted
    }

    /// Settles what the holder was asked for, and what it claims.
    fn claim(&mut self, place: u32, report: &Report, way: Way, now_s: u32) -> Vec<(u64, Claimed)> {
        let Some((id, at, region)) = self.leases.get(place).map(|l| (l.id, l.pool, l.region))
        else {
            return Vec::new();
        };
        let pool = self.pools[at as usize].as_mut();
        let Some(region) = pool.and_then(|pool| pool.regions[region as usize].as_mut()) else {
            return Vec::new();
        };
        let answers = report.released.iter().map(|&token| (token, true));
        for (token, released) in answers.chain(report.refused.iter().map(|&token| (token, false))) {
            region.claims.settle(token, id, released, now_s);
        }
        let leases = &self.leases;
        let gone = |lease| {
            let known = leases.find(lease).ok().and_then(|place| leases.get(place));
            known.is_none_or(|lease| lease.phase == Phase::Ended)
        };
        let claims = report.claims.iter().map(|claim| {
            let issuers = || {
                let of = (claim.issuer, 0)..=(claim.issuer, u32::MAX);
                let places = region.issuers.range(of).map(|&(_, place)| place);
                let ids = places.filter_map(|place| Some(leases.get(place)?.id));
                let mut ids: Vec<LeaseId> = ids.collect();
                ids.sort_unstable();
                ids
            };
            let came = if way == Way::InTurn && claim.issuer == KEPT {
                region.claims.reclaim(claim.id, id, now_s, gone)
            } else {
                region.claims.claim(*claim, id, now_s, gone, issuers)
            };
            (claim.id, came)
        });
        claims.collect()
    }
}

/// What the reporting leases of a region have over their part.
pub(crate) fn excess(region: &Region, part: u64) -> u64 {
    if region.seats {
        region.reporting_held.saturating_sub(part)
    } else {
        0
    }
}

/// The part of an excess that falls to a holder by its slots, rounded up.
fn part_of(over: u64, slots: u64, held: u64) -> u64 {
    if held == 0 {
        return 0;
    }
    let part = (u128::from(over) * u128::from(slots)).div_ceil(u128::from(held));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Whether each field may be, whatever the state.
fn check_fields(report: &Report) -> Result<(), Refusal> {
    check::positive("seq", report.seq)?;
    check::slots("spare", report.spare)?;
    check::slots("left", report.left)?;
    if report.in_use > report.kept {
        let expected = format!("at most the {} slots kept", report.kept);
        return Err(invalid("in_use", report.in_use, expected));
    }
    let tokens = report.claims.len() + report.released.len() + report.refused.len();
    if tokens > MAX_CLAIMS_PER_REPORT {
        let given = format!("{tokens} claims, released and refused");
        let expected = format!("at most {MAX_CLAIMS_PER_REPORT}");
        return Err(invalid("claims", given, expected));
    }
    Ok(())
}

/// Whether buckets are in order, and of classes that there are.
pub(crate) fn check_buckets(buckets: &[Bucket], classes: usize) -> Result<(), Refusal> {
    if buckets.len() > MAX_BUCKETS {
        let given = format!("{} buckets", buckets.len());
        let expected = format!("at most {MAX_BUCKETS}");
        return Err(invalid("waiting", given, expected));
    }
    let mut last = None;
    for (i, bucket) in buckets.iter().enumerate() {
        let key = (bucket.class, bucket.second);
        if last.is_some_and(|last| key <= last) {
            let given = format!("class {}, second {}", bucket.class, bucket.second);
            let expected = "buckets by class and then second, none twice";
            return Err(invalid(&format!("waiting[{i}]"), given, expected));
        }
        if bucket.users == 0 {
            return Err(invalid(&format!("waiting[{i}].users"), 0, "at least 1"));
        }
        last = Some(key);
    }
    // They are in order, so that the last has the highest class.
    match buckets.last() {
        Some(last) if usize::from(last.class) >= classes => {
            let field = format!("waiting[{}].class", buckets.len() - 1);
            let expected = format!("below the {classes} classes of the pool");
            Err(invalid(&field, last.class, expected))
        }
        _ => Ok(()),
    }
}

/// Whether a report may be of this lease.
fn check_against(
    report: &Report,
    lease: &Lease,
    pool: &Pool,
    region: &Region,
) -> Result<(), Refusal> {
    if report.kept > lease.slots {
        let expected = format!("at most the {} slots of the lease", lease.slots);
        return Err(invalid("kept", report.kept, expected));
    }
    check_buckets(&report.waiting, pool.rules.classes.len())?;
    region
        .floors
        .check(&lease.holder, lease.epoch, report.floor)
}
