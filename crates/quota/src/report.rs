//! What front-ends report, and what they are answered: a region's freed slots go to those of its users who
//! have waited longest, whichever front-end they wait at.
//!
//! While a region has all that it asks for it is *open*: its front-ends seat arrivals at once. As soon as it
//! has not it is *ordered*: nobody is seated but those who are admitted here, idle slots are given back with
//! each report, and go to whoever is next in the [order of service](crate::order). Those of them who wait at
//! another front-end have their slots kept until that one reports.

use std::sync::Arc;

use crate::check::{self, invalid};
use crate::command::{Bucket, Report};
use crate::floors::Floors;
use crate::lease::{Answer, Decided, Lease, Phase};
use crate::limits::{MAX_BUCKETS, MAX_CLAIMS_PER_REPORT, MAX_SLOTS, STALE_MS};
use crate::order::{self, Terms};
use crate::outcome::{Admission, Claimed, LeaseId, Outcome, Refusal};
use crate::pool::{Pool, Region};
use crate::rules::{Mode, Reclaim};
use crate::state::State;
use crate::waiting::Line;

/// Names a life of a holder as the issuer of tokens: a fingerprint, which two may share by chance.
pub fn issuer(holder: &str, epoch: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&epoch.to_le_bytes()), holder.as_bytes())
}

impl State {
    pub(crate) fn report(&mut self, report: &Report) -> Outcome {
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
        let pool = self.pool_at(lease.pool)?;
        let region = pool.regions[lease.region as usize].as_ref();
        let region = region.ok_or_else(no_lease)?;
        check_against(report, lease, pool, region)?;

        let before = lease.slots;
        self.hear(place, report);
        if let Some((answer, decided)) = self.decide(place, report, before) {
            self.answer(place, report.seq, answer);
            if let Some((lease, _)) = self.lease_and_pool(place)
                && let Some(reporting) = lease.reporting.as_mut()
            {
                reporting.decided = decided;
            }
        }
        Ok(self.answered(place))
    }

    /// Takes in what a report says.
    fn hear(&mut self, place: u32, report: &Report) {
        let (now_ms, now_s) = (self.now_ms, self.now_s());
        self.make_reporting(place);
        let mut queue_at = None;
        if let Some((lease, pool)) = self.lease_and_pool(place)
            && let Some(reporting) = lease.reporting.as_mut()
            && let Some(region) = pool.regions[lease.region as usize].as_mut()
        {
            region.departures.add(now_s, report.left);
            region.waiting.replace(&reporting.buckets, &report.waiting);
            let exact = Some(report.exact_until_s);
            region
                .waiting
                .set_exact(place, reporting.exact_until_s, exact);
            reporting.exact_until_s = exact;
            reporting.buckets.clone_from(&report.waiting);
            reporting.spare = report.spare;
            reporting.reported_ms = now_ms;
            if reporting.queued_ms.is_none() {
                let at = now_ms.saturating_add(STALE_MS);
                reporting.queued_ms = Some(at);
                queue_at = Some(at);
            }
        }
        if let Some(at) = queue_at {
            self.speaking.insert((at, place));
        }
        self.change(place, |lease| {
            let (in_use, spare) = (report.in_use, report.spare);
            if let Some(reporting) = lease.reporting.as_mut() {
                reporting.in_use = in_use;
                let wanted = in_use + reporting.waiting() + spare;
                (lease.slots, lease.wanted) = (report.kept, wanted.min(MAX_SLOTS));
            }
        });
    }

    /// Decides what a report is answered, and counts what it is given. `before` is what the lease had.
    fn decide(&mut self, place: u32, report: &Report, before: u64) -> Option<(Answer, Decided)> {
        let (now_ms, now_s) = (self.now_ms, self.now_s());
        let lease = self.leases.get(place)?;
        let (at, lease_region) = (lease.pool as usize, lease.region as usize);
        self.pool_of(place)?.round_if_due(now_ms);
        let (pool, lease) = (self.pools[at].as_ref()?, self.leases.get(place)?);
        let region = pool.regions[lease_region].as_ref()?;
        let mode = pool.gate.stricter(&region.gate).mode;
        let parts = pool.parts(region, &self.ranks).reporting;
        let idle = report.kept - report.in_use;
        let open = is_open(pool, region, parts);
        let (free, in_turn) = match mode {
            // Nobody else is given what this holder has.
            Mode::Frozen => (before - report.in_use, false),
            // Its idle slots are there for whoever is next.
            Mode::Open => {
                let held = region.reporting_held - idle;
                let room = pool.usable().saturating_sub(pool.held - idle);
                let due = parts.saturating_sub(held);
                // What the pool has not for all regions is no region's to keep for those of other holders who
                // come first: nobody may pass them, for another region may have it by then.
                (due.min(room), room < due)
            }
            Mode::Paused | Mode::Draining | Mode::Closed => (0, false),
        };
        let wanted = lease.wanted;

        let admit = if open {
            self.admit_all(place, now_s)
        } else if free > 0 && !report.waiting.is_empty() {
            self.admit_next(place, mode, free, in_turn, now_s)
        } else {
            Vec::new()
        };
        let users: u64 = admit
            .iter()
            .map(|admission| u64::from(admission.users))
            .sum();
        let slots = if open { wanted } else { report.in_use + users };
        let slots = slots.max(report.kept);
        self.change(place, |lease| lease.slots = slots);

        let claims = self.claim(place, report, now_s);
        let (pool, lease) = (self.pools[at].as_ref()?, self.leases.get(place)?);
        let region = pool.regions[lease_region].as_ref()?;
        let over = excess(region, parts);
        let part = part_of(over, slots, region.reporting_held);
        let target = match mode {
            Mode::Draining => 0,
            _ => slots - part.min(slots),
        };
        let shorten = match pool.rules.reclaim {
            Reclaim::Shorten => part.min(report.in_use),
            Reclaim::Drain => 0,
        };
        let (ttl_ms, drift_ppm) = (pool.ttl_ms, pool.drift_ppm);
        let (holder, epoch) = (Arc::clone(&lease.holder), lease.epoch);
        let sharers = region.reporting;
        let room = pool.capacity.saturating_sub(pool.held + pool.told);
        let tell = |floors: &mut Floors| floors.tell(&holder, epoch, report.floor, sharers, room);
        let floor = self
            .pool_of(place)?
            .with_floors(lease_region as u32, tell)?;
        let answer = Answer::Reported {
            slots,
            target,
            ttl_ms,
            drift_ppm,
        };
        let decided = Decided {
            open,
            admit,
            shorten,
            floor,
            claims,
        };
        Some((answer, decided))
    }

    /// Admits all who wait at a holder.
    fn admit_all(&mut self, place: u32, now_s: u32) -> Vec<Admission> {
        let Some((lease, pool)) = self.lease_and_pool(place) else {
            return Vec::new();
        };
        let region = pool.regions[lease.region as usize].as_mut();
        let (Some(reporting), Some(region)) = (lease.reporting.as_mut(), region) else {
            return Vec::new();
        };
        let admit = order::admit_all(&reporting.buckets, now_s);
        region.waiting.count(now_s, &admit);
        region.waiting.replace(&reporting.buckets, &[]);
        reporting.buckets.clear();
        admit
    }

    /// Admits those of a holder who are next in the region, where there are so many free slots.
    fn admit_next(
        &mut self,
        place: u32,
        mode: Mode,
        free: u64,
        in_turn: bool,
        now_s: u32,
    ) -> Vec<Admission> {
        let Some((lease, pool)) = self.lease_and_pool(place) else {
            return Vec::new();
        };
        let region = pool.regions[lease.region as usize].as_mut();
        let (Some(reporting), Some(region)) = (lease.reporting.as_mut(), region) else {
            return Vec::new();
        };
        let opened_s = pool.gate.opening(&region.gate).1.unwrap_or(0);
        let overtake_s = pool.rules.overtake_s;
        let terms = Terms {
            rules: &pool.rules,
            horizon: region.waiting.horizon().unwrap_or(u32::MAX),
            // Nobody waits before the opening.
            overdue_s: now_s
                .checked_sub(overtake_s)
                .filter(|&overdue_s| overdue_s >= opened_s),
            in_turn,
        };
        let mut rest = Vec::new();
        let lines = &mut region.waiting.lines;
        let admit = if mode == Mode::Frozen {
            // Only its own users come next, since nobody else's can have its slots.
            let mut own = lines_of(&reporting.buckets, lines);
            let served = order::serve(&own, terms, free);
            let admit = order::admit(&mut own, terms, &served, &reporting.buckets, &mut rest);
            for (line, own) in lines.iter_mut().zip(own) {
                line.pass = own.pass;
            }
            admit
        } else {
            let served = order::serve(lines, terms, free);
            order::admit(lines, terms, &served, &reporting.buckets, &mut rest)
        };
        if !admit.is_empty() {
            region.waiting.count(now_s, &admit);
            region.waiting.replace(&reporting.buckets, &rest);
            reporting.buckets = rest;
        }
        admit
    }

    /// Settles what the holder was asked for, and what it claims.
    fn claim(&mut self, place: u32, report: &Report, now_s: u32) -> Vec<(u64, Claimed)> {
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
                let of = (claim.issuer, LeaseId(0))..=(claim.issuer, LeaseId(u64::MAX));
                region.issuers.range(of).map(|&(_, lease)| lease).collect()
            };
            let came = region.claims.claim(*claim, id, now_s, gone, issuers);
            (claim.id, came)
        });
        claims.collect()
    }
}

/// Whether a region has all that it asks for, and room for what is still to be given. `part` is what its
/// reporting leases may have.
pub(crate) fn is_open(pool: &Pool, region: &Region, part: u64) -> bool {
    let outstanding = region.reporting_demand - region.reporting_held;
    region.seats && part >= region.reporting_demand && pool.free() >= outstanding
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

/// A holder's users as lines of their own, which go on from the region's.
fn lines_of(buckets: &[Bucket], lines: &[Line]) -> Vec<Line> {
    let mut own: Vec<Line> = lines
        .iter()
        .map(|line| Line {
            pass: line.pass,
            ..Line::default()
        })
        .collect();
    for bucket in buckets {
        if let Some(line) = own.get_mut(usize::from(bucket.class)) {
            line.seconds.insert(bucket.second, bucket.users.into());
            line.total += u64::from(bucket.users);
        }
    }
    own
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
