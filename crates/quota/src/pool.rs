//! Pools and their regions: what is counted, and what the sharing rules give.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::calendar::Scheduled;
use crate::floors::Floors;
use crate::ranked::{NIL, Ranked};
use crate::rules::{Gate, Mode, Rules};
use crate::share::{Claim, share};
use crate::state::Counted;

/// A budget and who shares it.
#[derive(Debug)]
pub(crate) struct Pool {
    pub name: Arc<str>,
    pub capacity: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
    /// Slots counted against the capacity.
    pub held: u64,
    /// Sum of the regions' [`Region::limit`].
    pub claimed: u64,
    /// Whether a claim has changed since the last round.
    pub dirty: bool,
    /// Cluster time of the last round.
    pub round_ms: u64,
    pub region_index: BTreeMap<Arc<str>, u32>,
    pub regions: Vec<Option<Region>>,
    pub holders: BTreeMap<Arc<str>, Holder>,
    pub rules: Rules,
    /// How many times the rules were set, from 1.
    pub rules_revision: u64,
    pub gate: Gate,
    pub calendar: Vec<Scheduled>,
    /// Sum of the regions' nominals.
    pub nominals: u64,
    /// Sum of what the regions' floors take off the capacity.
    pub set_aside: u64,
    /// Sum of the floors that holders were told.
    pub told: u64,
    /// Leases that report.
    pub reporting: u64,
}

/// A region's terms and figures.
#[derive(Debug)]
pub(crate) struct Region {
    pub name: Arc<str>,
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
    /// Slots counted against the region, those of closing leases included.
    pub held: u64,
    /// Slots counted by closing leases.
    pub closing: u64,
    /// Slots wanted by live leases.
    pub wanted: u64,
    /// Sum of the leases' demands, closing ones included.
    pub demand: u64,
    /// Leases that count.
    pub leases: u64,
    /// Demands of live leases, in order.
    pub ranks: u32,
    /// What the last round gave.
    pub shared: u64,
    pub gate: Gate,
    /// Whether the region's and the pool's mode let slots be given.
    pub seats: bool,
    /// Its time zone; empty where none was set.
    pub zone: String,
    pub floors: Floors,
}

/// The leases of one holder.
#[derive(Debug)]
pub(crate) struct Holder {
    /// The highest epoch seen, which outlasts the lease that was taken with it.
    pub epoch: u64,
    /// The newest lease, live or not.
    pub current: u32,
    /// Leases that it superseded and that are still known.
    pub older: Vec<u32>,
}

impl Pool {
    pub fn new(name: &str, capacity: u64, ttl_ms: u64, drift_ppm: u32) -> Self {
        Self {
            name: name.into(),
            capacity,
            ttl_ms,
            drift_ppm,
            held: 0,
            claimed: 0,
            dirty: false,
            round_ms: 0,
            region_index: BTreeMap::new(),
            regions: Vec::new(),
            holders: BTreeMap::new(),
            rules: Rules::default(),
            rules_revision: 1,
            gate: Gate::default(),
            calendar: Vec::new(),
            nominals: 0,
            set_aside: 0,
            told: 0,
            reporting: 0,
        }
    }

    /// Slots that can be shared: those that no floor takes.
    pub fn usable(&self) -> u64 {
        self.capacity.saturating_sub(self.set_aside)
    }

    /// Slots that nobody has.
    pub fn free(&self) -> u64 {
        self.usable().saturating_sub(self.held)
    }

    /// Whether the regions claim more than there is.
    pub fn contended(&self) -> bool {
        self.claimed > self.usable()
    }

    /// Changes the floors of a region, and what follows from them.
    pub fn with_floors<T>(
        &mut self,
        region: u32,
        change: impl FnOnce(&mut Floors) -> T,
    ) -> Option<T> {
        let region = self.regions.get_mut(region as usize)?.as_mut()?;
        let (aside, told) = (region.floors.set_aside(), region.floors.told_sum);
        let changed = change(&mut region.floors);
        self.told = self.told - told + region.floors.told_sum;
        if aside != region.floors.set_aside() {
            self.set_aside = self.set_aside - aside + region.floors.set_aside();
            self.dirty = true;
        }
        Some(changed)
    }

    /// Brings what follows from the modes up to date.
    pub fn regate(&mut self) {
        for region in self.regions.iter_mut().flatten() {
            let limit = region.limit();
            region.seats = self.gate.stricter(&region.gate).mode == Mode::Open;
            if limit != region.limit() {
                self.claimed = self.claimed - limit + region.limit();
                self.dirty = true;
            }
        }
    }

    /// Slots that the sharing rules give a region.
    pub fn target(&self, region: &Region) -> u64 {
        if self.contended() {
            region.shared
        } else {
            region.limit()
        }
    }

    /// Regions by name.
    pub fn regions_by_name(&self) -> impl Iterator<Item = &Region> {
        self.region_index
            .values()
            .filter_map(|&at| self.regions[at as usize].as_ref())
    }

    /// Puts `after` in the place of `before` in the figures of a region and of the pool.
    pub fn count(
        &mut self,
        region: usize,
        place: u32,
        before: Counted,
        after: Counted,
        ranks: &mut Ranked,
    ) {
        let Some(region) = self.regions.get_mut(region).and_then(Option::as_mut) else {
            return;
        };
        let limit = region.limit();
        let change = |figure: &mut u64, old: u64, new: u64| *figure = *figure - old + new;
        change(&mut self.held, before.slots, after.slots);
        change(&mut region.held, before.slots, after.slots);
        change(&mut region.closing, before.closing, after.closing);
        change(&mut region.wanted, before.wanted, after.wanted);
        change(&mut region.demand, before.demand, after.demand);
        change(&mut region.leases, before.lease, after.lease);
        if before.ranked != after.ranked {
            if let Some(demand) = before.ranked {
                region.ranks = ranks.remove(region.ranks, place, demand);
            }
            if let Some(demand) = after.ranked {
                region.ranks = ranks.insert(region.ranks, place, demand);
            }
        }
        if limit != region.limit() {
            change(&mut self.claimed, limit, region.limit());
            self.dirty = true;
        }
    }

    /// When the next round is due, where one is. A round costs as much as there are regions, so that the
    /// more there are the rarer it is: at most every 4,096 / 64 = 64 ms.
    pub fn round_due_ms(&self) -> Option<u64> {
        let interval = self.region_index.len() as u64 / REGIONS_PER_ROUND_MS;
        (self.dirty && self.contended()).then(|| self.round_ms.saturating_add(interval))
    }

    /// Shares the capacity out anew, where a round is due.
    pub fn round_if_due(&mut self, now_ms: u64) {
        if self.round_due_ms().is_some_and(|due| due <= now_ms) {
            self.round(now_ms);
        }
    }

    /// Shares the capacity out anew.
    pub fn round(&mut self, now_ms: u64) {
        let places: Vec<u32> = self.region_index.values().copied().collect();
        let claims: Vec<Claim<'_>> = self
            .regions_by_name()
            .map(|r| Claim {
                name: &r.name,
                demand: r.wants(),
                nominal: r.nominal,
                ceiling: r.ceiling,
                weight: r.weight,
            })
            .collect();
        let granted = share(self.usable(), &claims);
        for (place, slots) in places.into_iter().zip(granted) {
            if let Some(region) = &mut self.regions[place as usize] {
                region.shared = slots;
            }
        }
        self.dirty = false;
        self.round_ms = now_ms;
    }
}

/// How many regions a pool has for every millisecond between its rounds.
const REGIONS_PER_ROUND_MS: u64 = 64;

impl Region {
    pub fn new(name: &str, nominal: u64, ceiling: Option<u64>, weight: u32) -> Self {
        Self {
            name: name.into(),
            nominal,
            ceiling,
            weight,
            held: 0,
            closing: 0,
            wanted: 0,
            demand: 0,
            leases: 0,
            ranks: NIL,
            shared: 0,
            gate: Gate::default(),
            seats: true,
            zone: String::new(),
            floors: Floors::default(),
        }
    }

    /// What the region asks for: nothing new while its mode gives nothing.
    pub fn wants(&self) -> u64 {
        if self.seats { self.demand } else { self.held }
    }

    /// Slots that the region can come to: what it asks for under its ceiling.
    pub fn limit(&self) -> u64 {
        self.wants().min(self.ceiling.unwrap_or(u64::MAX))
    }
}
