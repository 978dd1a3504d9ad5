//! Changes of the budget: checked as a whole on a draft, then made.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{self, invalid};
use crate::command::{Change, Configure, SetPool, SetRegion};
use crate::lease::Phase;
use crate::limits::{
    DEFAULT_DRIFT_PPM, DEFAULT_TTL_MS, DRIFT_PPM, MAX_CHANGES, MAX_POOLS, MAX_REGIONS_PER_POOL,
    MAX_WEIGHT, TTL_MS,
};
use crate::outcome::{Configured, Draining, Outcome, Refusal, Reply};
use crate::pool::{Pool, Region};
use crate::state::State;

/// A pool as it is to be.
#[derive(Debug, Clone)]
struct PoolDraft {
    capacity: u64,
    ttl_ms: u64,
    drift_ppm: u32,
    regions: BTreeMap<String, RegionDraft>,
    /// Whether it was removed on the way, so that it is another pool of the same name.
    anew: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RegionDraft {
    nominal: u64,
    ceiling: Option<u64>,
    weight: u32,
}

/// The pools that a request touches: `None` where they are to be gone.
type Draft = BTreeMap<String, Option<PoolDraft>>;

impl State {
    /// Makes all changes, or none.
    pub(crate) fn configure(&mut self, configure: &Configure, asked: u32) -> Outcome {
        let Configure {
            request_id,
            expected_revision,
            changes,
        } = configure;
        if let Some(reply) = self.requests.answered(request_id, asked)? {
            return Ok(reply);
        }
        if changes.is_empty() || changes.len() > MAX_CHANGES {
            let given = format!("{} changes", changes.len());
            return Err(invalid("changes", given, format!("1 to {MAX_CHANGES}")));
        }
        if let Some(expected) = expected_revision.filter(|&r| r != self.revision) {
            return Err(Refusal::RevisionMismatch {
                expected,
                current: self.revision,
            });
        }

        let mut draft = Draft::new();
        for (i, change) in changes.iter().enumerate() {
            self.draft(&mut draft, i, change)?;
        }
        self.check(&draft)?;

        let draining = draft
            .into_iter()
            .filter_map(|(name, to)| self.commit(name, to))
            .collect();
        self.revision += 1;
        let answer = Configured {
            revision: self.revision,
            draining,
        };
        self.requests.configured(request_id, asked, answer.clone());
        Ok(Reply::Configured(answer))
    }

    /// Adds one change to the draft.
    fn draft(&self, draft: &mut Draft, i: usize, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::SetPool(set) => {
                let field = |name: &str| format!("changes[{i}].set_pool.{name}");
                check_pool(set, field)?;
                let pool = draft
                    .entry(set.name.clone())
                    .or_insert_with(|| self.drafted(&set.name));
                let pool = pool.get_or_insert_with(|| PoolDraft {
                    capacity: 0,
                    ttl_ms: DEFAULT_TTL_MS,
                    drift_ppm: DEFAULT_DRIFT_PPM,
                    regions: BTreeMap::new(),
                    anew: true,
                });
                pool.capacity = set.capacity;
                pool.ttl_ms = set.ttl_ms.unwrap_or(pool.ttl_ms);
                pool.drift_ppm = set.drift_ppm.unwrap_or(pool.drift_ppm);
            }
            Change::RemovePool { name } => {
                check::name(&format!("changes[{i}].remove_pool.name"), name)?;
                self.drafted_pool(draft, name)?;
                draft.insert(name.clone(), None);
            }
            Change::SetRegion(set) => {
                let field = |name: &str| format!("changes[{i}].set_region.{name}");
                check_region(set, field)?;
                let &SetRegion {
                    nominal,
                    ceiling,
                    weight,
                    ..
                } = set;
                let regions = &mut self.drafted_pool(draft, &set.pool)?.regions;
                regions.insert(
                    set.name.clone(),
                    RegionDraft {
                        nominal,
                        ceiling,
                        weight,
                    },
                );
            }
            Change::RemoveRegion { pool, name } => {
                check::name(&format!("changes[{i}].remove_region.pool"), pool)?;
                check::name(&format!("changes[{i}].remove_region.name"), name)?;
                let removed = self.drafted_pool(draft, pool)?.regions.remove(name);
                removed.ok_or_else(|| Refusal::NoSuchRegion {
                    pool: pool.clone(),
                    region: name.clone(),
                })?;
            }
        }
        Ok(())
    }

    /// The draft of a pool that must be there.
    fn drafted_pool<'d>(
        &self,
        draft: &'d mut Draft,
        name: &str,
    ) -> Result<&'d mut PoolDraft, Refusal> {
        let pool = draft
            .entry(name.into())
            .or_insert_with(|| self.drafted(name));
        pool.as_mut()
            .ok_or_else(|| Refusal::NoSuchPool { pool: name.into() })
    }

    /// A pool as it is.
    fn drafted(&self, name: &str) -> Option<PoolDraft> {
        let pool = self.pools[*self.pool_index.get(name)? as usize].as_ref()?;
        let regions = pool.regions_by_name().map(|r| {
            let draft = RegionDraft {
                nominal: r.nominal,
                ceiling: r.ceiling,
                weight: r.weight,
            };
            (r.name.to_string(), draft)
        });
        Some(PoolDraft {
            capacity: pool.capacity,
            ttl_ms: pool.ttl_ms,
            drift_ppm: pool.drift_ppm,
            regions: regions.collect(),
            anew: false,
        })
    }

    /// Whether what the changes lead to may be.
    fn check(&self, draft: &Draft) -> Result<(), Refusal> {
        let added = draft
            .iter()
            .filter(|(name, to)| to.is_some() && !self.has_pool(name))
            .count();
        let gone = draft
            .iter()
            .filter(|(name, to)| to.is_none() && self.has_pool(name))
            .count();
        if added > 0 && self.pool_index.len() + added - gone > MAX_POOLS {
            return Err(Refusal::TooMany {
                what: "pools".into(),
                most: MAX_POOLS as u64,
            });
        }
        for (name, to) in draft {
            if let Some(to) = to {
                if to.regions.len() > MAX_REGIONS_PER_POOL {
                    return Err(Refusal::TooMany {
                        what: format!("regions of pool {name:?}"),
                        most: MAX_REGIONS_PER_POOL as u64,
                    });
                }
                let nominals: u64 = to.regions.values().map(|region| region.nominal).sum();
                if nominals > to.capacity {
                    let (pool, capacity) = (name.clone(), to.capacity);
                    return Err(Refusal::NominalsOverCapacity {
                        pool,
                        nominals,
                        capacity,
                    });
                }
            }
            self.check_unused(name, to.as_ref())?;
        }
        Ok(())
    }

    fn has_pool(&self, name: &str) -> bool {
        self.pool_index.contains_key(name)
    }

    /// Nothing that goes away may have slots out.
    fn check_unused(&self, name: &str, to: Option<&PoolDraft>) -> Result<(), Refusal> {
        let Some(pool) = self
            .pool_index
            .get(name)
            .and_then(|&at| self.pools[at as usize].as_ref())
        else {
            return Ok(());
        };
        let in_use = |what: String, slots: u64, lower: &str| {
            let lower = lower.to_owned();
            if slots == 0 {
                Ok(())
            } else {
                Err(Refusal::InUse { what, slots, lower })
            }
        };
        let Some(to) = to.filter(|to| !to.anew) else {
            return in_use(format!("pool {name:?}"), pool.held, "capacity and nominals");
        };
        for region in pool
            .regions_by_name()
            .filter(|r| !to.regions.contains_key(&*r.name))
        {
            let what = format!("region {:?} of pool {name:?}", region.name);
            in_use(what, region.held, "nominal and ceiling")?;
        }
        Ok(())
    }

    /// Makes a pool as drafted, and says whether it drains.
    fn commit(&mut self, name: String, to: Option<PoolDraft>) -> Option<Draining> {
        if to.as_ref().is_none_or(|to| to.anew) {
            self.drop_pool(&name);
        }
        let to = to?;
        let place = match self.pool_index.get(name.as_str()) {
            Some(&place) => place,
            None => {
                let pool = Pool::new(&name, to.capacity, to.ttl_ms, to.drift_ppm);
                let index = std::sync::Arc::clone(&pool.name);
                let place = insert_lowest(&mut self.pools, pool);
                self.pool_index.insert(index, place);
                place
            }
        };
        let gone: BTreeSet<u32> = self.pools[place as usize]
            .iter()
            .flat_map(|pool| pool.region_index.iter())
            .filter(|(region, _)| !to.regions.contains_key(&***region))
            .map(|(_, &at)| at)
            .collect();
        self.drop_regions(place, &gone);
        let now_ms = self.now_ms;
        let pool = self.pools[place as usize].as_mut()?;
        (pool.capacity, pool.ttl_ms, pool.drift_ppm) = (to.capacity, to.ttl_ms, to.drift_ppm);
        for (region, terms) in to.regions {
            pool.set_region(&region, terms.nominal, terms.ceiling, terms.weight);
        }
        pool.round(now_ms);
        let over_by = pool.held.saturating_sub(pool.capacity);
        (over_by > 0).then_some(Draining {
            pool: name,
            over_by,
        })
    }

    fn drop_pool(&mut self, name: &str) {
        let Some(place) = self.pool_index.remove(name) else {
            return;
        };
        // Its leases have no slots, and are remembered with it alone.
        for lease in self.leases_of(place) {
            self.set(lease, Phase::Ended, 0, 0);
            self.forget(lease);
        }
        self.pools[place as usize] = None;
        while self.pools.last().is_some_and(Option::is_none) {
            self.pools.pop();
        }
    }

    fn drop_regions(&mut self, at: u32, gone: &BTreeSet<u32>) {
        if gone.is_empty() {
            return;
        }
        // Their leases have no slots. They are remembered, so that a retry has no second effect.
        for place in self.leases_of(at) {
            let lease = self.leases.get(place);
            if lease.is_some_and(|l| l.phase != Phase::Ended && gone.contains(&l.region)) {
                self.end(place);
            }
        }
        let Some(pool) = self.pools[at as usize].as_mut() else {
            return;
        };
        for &region in gone {
            if let Some(gone) = pool.regions[region as usize].take() {
                pool.region_index.remove(&gone.name);
                pool.claimed -= gone.limit();
            }
        }
        while pool.regions.last().is_some_and(Option::is_none) {
            pool.regions.pop();
        }
    }

    /// Places of the leases of a pool.
    fn leases_of(&self, pool: u32) -> Vec<u32> {
        let holders = self.pools[pool as usize]
            .iter()
            .flat_map(|p| p.holders.values());
        holders
            .flat_map(|holder| holder.older.iter().chain([&holder.current]).copied())
            .collect()
    }
}

impl Pool {
    /// Makes or changes a region.
    pub(crate) fn set_region(
        &mut self,
        name: &str,
        nominal: u64,
        ceiling: Option<u64>,
        weight: u32,
    ) {
        let known = self.region_index.get(name).copied();
        match known.and_then(|at| self.regions[at as usize].as_mut()) {
            Some(region) => {
                self.claimed -= region.limit();
                (region.nominal, region.ceiling, region.weight) = (nominal, ceiling, weight);
                self.claimed += region.limit();
            }
            None => {
                let region = Region::new(name, nominal, ceiling, weight);
                let index = std::sync::Arc::clone(&region.name);
                let at = insert_lowest(&mut self.regions, region);
                self.region_index.insert(index, at);
            }
        }
    }
}

/// Puts an item in the lowest free place.
fn insert_lowest<T>(places: &mut Vec<Option<T>>, item: T) -> u32 {
    match places.iter().position(Option::is_none) {
        Some(at) => {
            places[at] = Some(item);
            at as u32
        }
        None => {
            places.push(Some(item));
            places.len() as u32 - 1
        }
    }
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
