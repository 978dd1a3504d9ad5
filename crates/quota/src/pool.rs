//! Pools and their regions: what is counted, and what the sharing rules give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::calendar::Scheduled;
use crate::claims::Claims;
use crate::door::Door;
use crate::floors::Floors;
use crate::holder::Holders;
use crate::lease::Given;
use crate::limits::REPORTING_ROUND_MS;
use crate::ranked::Ranked;
use crate::rules::{Gate, Mode, Rules};
use crate::share::{Claim, Part, fill, guaranteed, share_by_name};
use crate::state::Counted;
use crate::wait::Departures;
use crate::waiting::Waiting;

/// A budget and who shares it.
#[derive(Debug)]
pub(crate) struct Pool {
    pub name: SmolStr,
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
    pub region_index: BTreeMap<SmolStr, u32>,
    pub regions: Vec<Option<Region>>,
    pub holders: Holders,
    /// Shared with whoever answers a report by them, outside of the state.
    pub rules: Arc<Rules>,
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
    /// Sum of the regions' [`Region::owed`].
    pub owed: u64,
}

/// A region's terms and figures.
#[derive(Debug)]
pub(crate) struct Region {
    pub name: SmolStr,
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
    /// Demands of the leases that are live and do not report, in order.
    pub ranks: Ranked,
    /// What the last round gave.
    pub shared: u64,
    pub gate: Gate,
    /// Whether the region's and the pool's mode let slots be given.
    pub seats: bool,
    /// Its time zone; empty where none was set.
    pub zone: String,
    pub floors: Floors,
    /// Leases that are live and do not report.
    pub plain: u64,
    /// Leases that report, and their part in `held`, in `demand` and of those slots in use.
    pub reporting: u64,
    pub reporting_held: u64,
    pub reporting_demand: u64,
    /// Users who wait and came before somebody who was admitted: a slot is kept for each.
    pub owed: u64,
    /// The spare slots that its reporting leases ask for.
    pub spare: u64,
    pub door: Door,
    pub in_use: u64,
    pub waiting: Waiting,
    pub departures: Departures,
    pub claims: Claims,
    /// The places of leases that report or have done, by what names them as issuers.
    pub issuers: BTreeSet<(u32, u32)>,
}

/// What the two kinds of leases of a region may have together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub plain: u64,
    pub reporting: u64,
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
            holders: Holders::default(),
            rules: Arc::default(),
            rules_revision: 1,
            gate: Gate::default(),
            calendar: Vec::new(),
            nominals: 0,
            set_aside: 0,
            told: 0,
            reporting: 0,
            owed: 0,
        }
    }

    /// Slots that can be shared: those that no floor takes.
    pub fn usable(&self) -> u64 {
        match mutation::on("floors-uncounted") {
            true => self.capacity,
            false => self.capacity.saturating_sub(self.set_aside),
        }
    }

    /// So many slots, on the pool's terms.
    pub fn grant(&self, slots: u64, target: u64) -> Given {
        Given {
            slots,
            target,
            ttl_ms: self.ttl_ms as u32,
            drift_ppm: self.drift_ppm,
        }
    }

    /// Slots that nobody has and that are kept for nobody.
    pub fn free(&self) -> u64 {
        self.usable().saturating_sub(self.held + self.owed)
    }

    /// Brings up to date for how many of a region's users a slot is kept.
    pub fn count_owed(&mut self, region: usize) {
        if let Some(region) = self.regions[region].as_mut() {
            let owed = region.waiting.owed();
            self.owed = self.owed - region.owed + owed;
            region.owed = owed;
        }
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
        if !self.contended() {
            region.limit()
        } else if self.reporting > 0 {
            // Rounds are further apart then, and what is guaranteed need not wait for one.
            let guaranteed = guaranteed(region.nominal, self.usable(), self.nominals.into());
            region.shared.max(region.limit().min(guaranteed))
        } else {
            region.shared
        }
    }

    /// What the sharing rules give the live leases of a region: the plain ones and those that report. Where
    /// it has both they share as two regions would, by their numbers.
    pub fn parts(&self, region: &Region) -> Parts {
        // What closing leases hold is spoken for.
        let amount = self.target(region).saturating_sub(region.closing);
        let (plain, reporting) = match (region.plain, region.reporting) {
            (_, 0) => (amount, 0),
            (0, _) => (0, amount),
            (plain, reporting) => {
                let part = |want, leases: u64| Part {
                    has: 0,
                    want,
                    weight: u32::try_from(leases).unwrap_or(u32::MAX),
                };
                let mut parts = [
                    part(region.ranks.sum(), plain),
                    part(region.reporting_demand, reporting),
                ];
                fill(amount, &mut parts);
                (parts[0].has, parts[1].has)
            }
        };
        Parts { plain, reporting }
    }

    /// Regions by name.
    pub fn regions_by_name(&self) -> impl Iterator<Item = &Region> + Clone {
        self.region_index
            .values()
            .filter_map(|&at| self.regions[at as usize].as_ref())
    }

    /// Puts `after` in the place of `before` in the figures of a region and of the pool.
    pub fn count(&mut self, region: usize, place: u32, before: Counted, after: Counted) {
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
        change(&mut region.plain, before.plain, after.plain);
        change(&mut region.reporting, before.reporting, after.reporting);
        change(&mut self.reporting, before.reporting, after.reporting);
        change(
            &mut region.reporting_held,
            before.slots * before.reporting,
            after.slots * after.reporting,
        );
        change(
            &mut region.reporting_demand,
            before.demand * before.reporting,
            after.demand * after.reporting,
        );
        change(&mut region.in_use, before.in_use, after.in_use);
        change(&mut region.spare, before.spare, after.spare);
        if before.ranked != after.ranked {
            if let Some(demand) = before.ranked {
                region.ranks.remove(place, demand);
            }
            if let Some(demand) = after.ranked {
                region.ranks.insert(place, demand);
            }
        }
        if limit != region.limit() {
            change(&mut self.claimed, limit, region.limit());
            self.dirty = true;
        }
    }

    /// When the next round is due, where one is. A round costs as much as there are regions, so that the
    /// more there are the rarer it is: at most every 4,096 / 64 = 64 ms, and where front-ends report, whose
    /// demands change with every report, every 100 ms.
    pub fn round_due_ms(&self) -> Option<u64> {
        if !self.dirty || !self.contended() {
            return None;
        }
        let regions = self.region_index.len() as u64 / REGIONS_PER_ROUND_MS;
        let interval = match self.reporting {
            0 => regions,
            _ => regions.max(REPORTING_ROUND_MS),
        };
        Some(self.round_ms.saturating_add(interval))
    }

    /// Shares the capacity out anew, where a round is due.
    pub fn round_if_due(&mut self, now_ms: u64) {
        if self.round_due_ms().is_some_and(|due| due <= now_ms) {
            self.round(now_ms);
        }
    }

    /// Shares the capacity out anew.
    pub fn round(&mut self, now_ms: u64) {
        let claims = self.regions_by_name().map(|r| Claim {
            name: &r.name,
            demand: r.wants(),
            nominal: r.nominal,
            ceiling: r.ceiling,
            weight: r.weight,
        });
        let parts = share_by_name(self.usable(), claims);
        for (&place, part) in self.region_index.values().zip(parts) {
            if let Some(region) = &mut self.regions[place as usize] {
                region.shared = part.has;
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
            ranks: Ranked::default(),
            shared: 0,
            gate: Gate::default(),
            seats: true,
            zone: String::new(),
            floors: Floors::default(),
            plain: 0,
            reporting: 0,
            reporting_held: 0,
            reporting_demand: 0,
            owed: 0,
            spare: 0,
            door: Door::default(),
            in_use: 0,
            waiting: Waiting::default(),
            departures: Departures::default(),
            claims: Claims::default(),
            issuers: BTreeSet::new(),
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
