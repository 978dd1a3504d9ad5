//! Pools as a configuration would leave them, built change by change.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::calendar::{Scheduled, check_entries, replaced};
use crate::check::{self, invalid};
use crate::command::{Change, SetPool, SetRegion};
use crate::floors::Floors;
use crate::limits::{
    DEFAULT_DRIFT_PPM, DEFAULT_TTL_MS, DRIFT_PPM, MAX_FLOORS, MAX_WEIGHT, MAX_ZONE_BYTES, TTL_MS,
};
use crate::outcome::Refusal;
use crate::pool::{Pool, Region};
use crate::rules::{Gate, Rules, check_reason};
use crate::state::State;

/// A pool as it is to be.
#[derive(Debug, Clone)]
pub(crate) struct PoolDraft {
    pub capacity: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
    pub rules: Rules,
    pub gate: Gate,
    pub calendar: Vec<Scheduled>,
    pub regions: BTreeMap<String, RegionDraft>,
    /// Whether it was removed on the way, so that it is another pool of the same name.
    pub anew: bool,
    /// Whether nominals and floors have to be within the capacity.
    pub sums: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RegionDraft {
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
    pub gate: Gate,
    pub zone: String,
    /// What is set of its floors.
    pub floors: Floors,
}

/// The pools that a request touches: `None` where they are to be gone.
#[derive(Debug, Default)]
pub(crate) struct Draft(pub BTreeMap<String, Option<PoolDraft>>);

impl Draft {
    /// Adds one change.
    pub fn change(&mut self, state: &State, i: usize, change: &Change) -> Result<(), Refusal> {
        let field = |path: &str| format!("changes[{i}].{path}");
        match change {
            Change::SetPool(set) => {
                check_pool(set, |name| field(&format!("set_pool.{name}")))?;
                let pool = self.0.entry(set.name.clone());
                let pool = pool.or_insert_with(|| drafted(state, &set.name));
                let pool = pool.get_or_insert_with(PoolDraft::new);
                pool.capacity = set.capacity;
                pool.ttl_ms = set.ttl_ms.unwrap_or(pool.ttl_ms);
                pool.drift_ppm = set.drift_ppm.unwrap_or(pool.drift_ppm);
                pool.sums = true;
            }
            Change::RemovePool { name } => {
                check::name(&field("remove_pool.name"), name)?;
                self.pool(state, name)?;
                self.0.insert(name.clone(), None);
            }
            Change::SetRegion(set) => {
                check_region(set, |name| field(&format!("set_region.{name}")))?;
                let pool = self.pool(state, &set.pool)?;
                let region = pool.regions.entry(set.name.clone()).or_default();
                (region.nominal, region.ceiling, region.weight) =
                    (set.nominal, set.ceiling, set.weight);
                pool.sums = true;
            }
            Change::RemoveRegion { pool, name } => {
                check::name(&field("remove_region.pool"), pool)?;
                check::name(&field("remove_region.name"), name)?;
                let draft = self.pool(state, pool)?;
                draft.region(pool, name)?;
                draft.regions.remove(name);
            }
            Change::SetRules { pool, rules } => {
                check::name(&field("set_rules.pool"), pool)?;
                rules.check(|name| field(&format!("set_rules.rules.{name}")))?;
                self.pool(state, pool)?.rules = rules.clone();
            }
            Change::SetMode {
                pool,
                region,
                mode,
                reason,
            } => {
                check::name(&field("set_mode.pool"), pool)?;
                check_reason(&field("set_mode.reason"), *mode, reason)?;
                let draft = self.pool(state, pool)?;
                let gate = match region {
                    None => &mut draft.gate,
                    Some(region) => {
                        check::name(&field("set_mode.region"), region)?;
                        &mut draft.region(pool, region)?.gate
                    }
                };
                gate.set(*mode, reason, state.now_s());
            }
            Change::SetCapacity { pool, capacity } => {
                check::name(&field("set_capacity.pool"), pool)?;
                check::slots(&field("set_capacity.capacity"), *capacity)?;
                self.pool(state, pool)?.capacity = *capacity;
            }
            Change::SetZone { pool, region, zone } => {
                check::name(&field("set_zone.pool"), pool)?;
                check::name(&field("set_zone.region"), region)?;
                if !zone.is_empty() {
                    check::text(&field("set_zone.zone"), zone, MAX_ZONE_BYTES)?;
                }
                let draft = self.pool(state, pool)?.region(pool, region)?;
                draft.zone.clone_from(zone);
            }
            Change::SetFloor {
                pool,
                region,
                holder,
                slots,
            } => {
                check::name(&field("set_floor.pool"), pool)?;
                check::name(&field("set_floor.region"), region)?;
                if let Some(holder) = holder {
                    check::name(&field("set_floor.holder"), holder)?;
                }
                check::slots(&field("set_floor.slots"), *slots)?;
                let draft = self.pool(state, pool)?;
                draft.sums = true;
                let region = draft.region(pool, region)?;
                set_floor(&mut region.floors, holder.as_deref(), *slots)?;
            }
            Change::SetCalendar {
                pool,
                entries,
                since_s,
            } => {
                check::name(&field("set_calendar.pool"), pool)?;
                check_entries(entries, |name| field(&format!("set_calendar.{name}")))?;
                let draft = self.pool(state, pool)?;
                draft.calendar = replaced(&draft.calendar, entries, *since_s);
            }
        }
        Ok(())
    }

    /// The draft of a pool that must be there.
    fn pool(&mut self, state: &State, name: &str) -> Result<&mut PoolDraft, Refusal> {
        let pool = self.0.entry(name.into());
        let pool = pool.or_insert_with(|| drafted(state, name));
        pool.as_mut()
            .ok_or_else(|| Refusal::NoSuchPool { pool: name.into() })
    }
}

impl PoolDraft {
    fn new() -> Self {
        Self {
            capacity: 0,
            ttl_ms: DEFAULT_TTL_MS,
            drift_ppm: DEFAULT_DRIFT_PPM,
            rules: Rules::default(),
            gate: Gate::default(),
            calendar: Vec::new(),
            regions: BTreeMap::new(),
            anew: true,
            sums: true,
        }
    }

    /// The draft of a region that must be there.
    fn region(&mut self, pool: &str, name: &str) -> Result<&mut RegionDraft, Refusal> {
        self.regions
            .get_mut(name)
            .ok_or_else(|| Refusal::NoSuchRegion {
                pool: pool.into(),
                region: name.into(),
            })
    }
}

/// A pool as it is.
fn drafted(state: &State, name: &str) -> Option<PoolDraft> {
    let pool: &Pool = state.find_pool(name)?;
    let region = |r: &Region| RegionDraft {
        nominal: r.nominal,
        ceiling: r.ceiling,
        weight: r.weight,
        gate: r.gate.clone(),
        zone: r.zone.clone(),
        floors: r.floors.clone(),
    };
    let regions = pool
        .regions_by_name()
        .map(|r| (r.name.to_string(), region(r)));
    Some(PoolDraft {
        capacity: pool.capacity,
        ttl_ms: pool.ttl_ms,
        drift_ppm: pool.drift_ppm,
        rules: Rules::clone(&pool.rules),
        gate: pool.gate.clone(),
        calendar: pool.calendar.clone(),
        regions: regions.collect(),
        anew: false,
        sums: false,
    })
}

fn set_floor(floors: &mut Floors, holder: Option<&str>, slots: u64) -> Result<(), Refusal> {
    match holder {
        None => floors.shared = slots,
        Some(holder) if slots == 0 => {
            floors.of.remove(holder);
        }
        Some(holder) if !floors.of.contains_key(holder) && floors.of.len() >= MAX_FLOORS => {
            return Err(Refusal::TooMany {
                what: "floors of one region".into(),
                most: MAX_FLOORS as u64,
            });
        }
        Some(holder) => {
            floors.of.insert(SmolStr::from(holder), slots);
        }
    }
    Ok(())
}

fn check_pool(set: &SetPool, field: impl Fn(&str) -> String) -> Result<(), Refusal> {
    check::name(&field("name"), &set.name)?;
    check::slots(&field("capacity"), set.capacity)?;
    if let Some(ttl_ms) = set.ttl_ms {
        check::number(&field("ttl_ms"), ttl_ms, &TTL_MS)?;
    }
    if let Some(drift_ppm) = set.drift_ppm {
        check::number(&field("drift_ppm"), drift_ppm, &DRIFT_PPM)?;
    }
    Ok(())
}

fn check_region(set: &SetRegion, field: impl Fn(&str) -> String) -> Result<(), Refusal> {
    check::name(&field("pool"), &set.pool)?;
    check::name(&field("name"), &set.name)?;
    check::slots(&field("nominal"), set.nominal)?;
    check::number(&field("weight"), set.weight, &(1..=MAX_WEIGHT))?;
    if let Some(ceiling) = set.ceiling {
        check::slots(&field("ceiling"), ceiling)?;
        if ceiling < set.nominal {
            let expected = format!("at least the nominal of {}", set.nominal);
            return Err(invalid(&field("ceiling"), ceiling, expected));
        }
    }
    Ok(())
}
