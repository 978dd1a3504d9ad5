//! Regions from bytes, and what their leases reported.

use smol_str::SmolStr;

use crate::batch::DecodeError;
use crate::check;
use crate::floors::Floors;
use crate::lease::{Phase, Reporting};
use crate::limits::{
    MAX_BUCKETS, MAX_CLAIMS, MAX_CLAIMS_PER_REPORT, MAX_FLOORS, MAX_SLOTS, MAX_WEIGHT,
    MAX_ZONE_BYTES, STALE_MS,
};
use crate::pool::{Pool, Region};
use crate::report::{check_buckets, issuer};
use crate::restore::{damaged, that};
use crate::snapshot::{FloorsV3, RegionV3, ReportingV3};
use crate::state::State;

/// What floors come to, set and told together, where it is a number that can be.
pub(crate) fn floors_sum(from: &FloorsV3<'_>) -> Option<u64> {
    let of = from.of.iter().map(|(_, slots)| *slots);
    let told = from.told.iter().map(|(_, _, slots)| *slots);
    let mut all = of.chain(told).chain([from.shared]);
    all.try_fold(0, |sum: u64, slots| sum.checked_add(slots))
}

pub(crate) fn restore_region(
    from: RegionV3<'_>,
    pool: &Pool,
    now_s: u32,
) -> Result<Region, DecodeError> {
    let name = &from.name;
    let what = || {
        let pool = &pool.name;
        format!("region {name:?} of pool {pool:?} can't be as it is said to be")
    };
    let zone = from.zone.is_empty() || check::text("zone", &from.zone, MAX_ZONE_BYTES).is_ok();
    that(
        check::name("name", name).is_ok()
            && from.nominal <= MAX_SLOTS
            && from
                .ceiling
                .is_none_or(|ceiling| (from.nominal..=MAX_SLOTS).contains(&ceiling))
            && (1..=MAX_WEIGHT).contains(&from.weight)
            && from.shared <= pool.capacity
            && zone
            && from.gate.is_sound(now_s)
            && from.departures.is_sound(now_s)
            && from.tokens.len() <= MAX_CLAIMS
            && from.tokens.iter().all(|(_, token)| token.is_sound(now_s))
            && from.tokens.windows(2).all(|two| two[0].0 < two[1].0)
            && !pool.region_index.contains_key(&**name),
        what,
    )?;
    let mut region = Region::new(name, from.nominal, from.ceiling, from.weight);
    region.shared = from.shared;
    region.door = from.door;
    region.gate = from.gate.into_owned();
    region.zone = from.zone.into_owned();
    region.departures = from.departures.into_owned();
    region.floors = restore_floors(from.floors).ok_or_else(|| {
        let pool = &pool.name;
        damaged(format!(
            "the floors of region {:?} of pool {pool:?} can't be",
            region.name
        ))
    })?;
    for (id, token) in from.tokens {
        region.claims.set(id, token.since_s, token.holding);
    }
    Ok(region)
}

fn restore_floors(from: FloorsV3<'_>) -> Option<Floors> {
    let mut floors = Floors {
        shared: from.shared,
        ..Floors::default()
    };
    let named = |name: &str, slots: u64| {
        check::name("holder", name).is_ok() && (1..=MAX_SLOTS).contains(&slots)
    };
    for (name, slots) in &from.of {
        let twice = floors.of.insert(SmolStr::from(&**name), *slots);
        (named(name, *slots) && twice.is_none()).then_some(())?;
    }
    for (name, epoch, slots) in &from.told {
        let holder = SmolStr::from(&**name);
        (named(name, *slots) && floors.told(&holder, *epoch) == 0).then_some(())?;
        floors.set_told(&holder, *epoch, *slots);
    }
    (floors.of.len() <= MAX_FLOORS).then_some(floors)
}

impl State {
    /// Puts in its place what a lease reported. The lease is counted after this.
    pub(crate) fn restore_reporting(&mut self, place: u32, from: ReportingV3<'_>) -> Option<()> {
        let now_ms = self.now_ms;
        let (lease, pool) = self.lease_and_pool(place)?;
        let region = pool.regions[lease.region as usize].as_mut()?;
        let due_ms = from.reported_ms.saturating_add(STALE_MS);
        let sound = lease.phase != Phase::Ended
            && from.in_use <= lease.slots
            && from.spare <= MAX_SLOTS
            && from.reported_ms <= now_ms
            && check_buckets(&from.buckets, pool.rules.classes.len()).is_ok()
            && from.decided.admit.len() <= MAX_BUCKETS
            && from.decided.claims.len() <= MAX_CLAIMS_PER_REPORT
            && match from.exact_until_s {
                Some(_) => lease.phase == Phase::Live && now_ms < due_ms,
                None => from.buckets.is_empty() && lease.wanted == 0,
            };
        sound.then_some(())?;
        region.waiting.replace(&[], &from.buckets);
        region.waiting.set_exact(None, from.exact_until_s);
        region
            .issuers
            .insert((issuer(&lease.holder, lease.epoch), place));
        lease.reporting = Some(Box::new(Reporting {
            in_use: from.in_use,
            spare: from.spare,
            buckets: from.buckets.into_owned(),
            exact_until_s: from.exact_until_s,
            reported_ms: from.reported_ms,
            decided: from.decided.into_owned(),
        }));
        if from.exact_until_s.is_some() {
            self.speaking.add(place, due_ms);
        }
        Some(())
    }
}
