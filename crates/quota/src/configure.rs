//! Changes of the budget: checked as a whole on a draft, then made.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::invalid;
use crate::command::Configure;
use crate::draft::{Draft, PoolDraft, RegionDraft};
use crate::lease::Phase;
use crate::limits::{MAX_CHANGES, MAX_POOLS, MAX_REGIONS_PER_POOL};
use crate::outcome::{Configured, Draining, Outcome, Refusal, Reply};
use crate::pool::{Pool, Region};
use crate::rules::Rules;
use crate::state::State;

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

        let mut draft = Draft::default();
        for (i, change) in changes.iter().enumerate() {
            draft.change(self, i, change)?;
        }
        let Draft(draft) = draft;
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

    /// Whether what the changes lead to may be.
    fn check(&self, draft: &BTreeMap<String, Option<PoolDraft>>) -> Result<(), Refusal> {
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
                check_sums(name, to)?;
                self.check_rules(name, to)?;
            }
            self.check_unused(name, to.as_ref())?;
        }
        Ok(())
    }

    /// A class keeps its place while front-ends report by it.
    fn check_rules(&self, name: &str, to: &PoolDraft) -> Result<(), Refusal> {
        let pool = self.find_pool(name).filter(|pool| pool.reporting > 0);
        match pool.filter(|pool| !to.anew && !to.rules.keeps_classes_of(&pool.rules)) {
            None => Ok(()),
            Some(pool) => {
                let names = |rules: &Rules| {
                    let names = rules.classes.iter().map(|class| class.name.as_str());
                    format!("{:?}", names.collect::<Vec<_>>())
                };
                let expected = format!(
                    "the classes {} first, others behind them: front-ends report by them",
                    names(&pool.rules)
                );
                Err(invalid("rules.classes", names(&to.rules), expected))
            }
        }
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
            let what = format!("pool {name:?}");
            in_use(what.clone(), pool.held, "capacity and nominals")?;
            return in_use(what, pool.told, "floors");
        };
        for region in pool
            .regions_by_name()
            .filter(|r| !to.regions.contains_key(&*r.name))
        {
            let what = format!("region {:?} of pool {name:?}", region.name);
            in_use(what.clone(), region.held, "nominal and ceiling")?;
            in_use(what, region.floors.told_sum, "floors")?;
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
                let index = pool.name.clone();
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
        (pool.gate, pool.calendar) = (to.gate, to.calendar);
        if *pool.rules != to.rules {
            pool.set_rules(to.rules);
        }
        for (region, terms) in to.regions {
            pool.set_region(&region, terms);
        }
        pool.regate();
        pool.round(now_ms);
        let over_by = (pool.held + pool.told).saturating_sub(pool.capacity);
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
            if lease.is_some_and(|l| l.phase != Phase::Ended && gone.contains(&u32::from(l.region)))
            {
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
                pool.nominals -= gone.nominal;
                pool.set_aside -= gone.floors.set_aside();
                pool.told -= gone.floors.told_sum;
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
            .flat_map(|pool| pool.holders.iter());
        holders.flat_map(|holder| holder.leases()).collect()
    }
}

impl Pool {
    /// Takes on other rules.
    fn set_rules(&mut self, rules: Rules) {
        self.rules = rules.into();
        self.rules_revision += 1;
    }

    /// Makes or changes a region.
    fn set_region(&mut self, name: &str, terms: RegionDraft) {
        let at = match self.region_index.get(name) {
            Some(&at) => at,
            None => {
                let region = Region::new(name, 0, None, 1);
                let index = region.name.clone();
                let at = insert_lowest(&mut self.regions, region);
                self.region_index.insert(index, at);
                at
            }
        };
        if let Some(region) = self.regions[at as usize].as_mut() {
            self.claimed -= region.limit();
            self.nominals = self.nominals - region.nominal + terms.nominal;
            (region.nominal, region.ceiling, region.weight) =
                (terms.nominal, terms.ceiling, terms.weight);
            (region.gate, region.zone) = (terms.gate, terms.zone);
            self.claimed += region.limit();
        }
        self.with_floors(at, |floors| {
            (floors.shared, floors.of) = (terms.floors.shared, terms.floors.of);
        });
    }
}

/// Nominals, and floors with them, are within the capacity.
fn check_sums(name: &str, to: &PoolDraft) -> Result<(), Refusal> {
    let nominals: u64 = to.regions.values().map(|region| region.nominal).sum();
    let floors = to.regions.values().map(|region| region.floors.configured());
    let floors: u64 = floors.fold(0, u64::saturating_add);
    let (pool, capacity) = (name.to_owned(), to.capacity);
    if !to.sums || nominals.saturating_add(floors) <= capacity {
        return Ok(());
    }
    if floors == 0 {
        return Err(Refusal::NominalsOverCapacity {
            pool,
            nominals,
            capacity,
        });
    }
    Err(Refusal::FloorsOverCapacity {
        pool,
        nominals,
        floors,
        capacity,
    })
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
