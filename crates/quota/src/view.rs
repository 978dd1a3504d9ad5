//! What can be read of the state.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::calendar::Scheduled;
use crate::floors::Floors;
use crate::lease::{Lease, Phase};
use crate::limits::REMEMBER_ENDED_MS;
use crate::outcome::LeaseId;
use crate::pool::{Pool, Region};
use crate::rules::{Mode, Rules};
use crate::share::{Part, fill};
use crate::state::State;

/// A pool and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// The pool's name.
    pub name: String,
    /// Slots that it can carry.
    pub capacity: u64,
    /// A lease's time to live in milliseconds.
    pub ttl_ms: u64,
    /// The clocks' drift in parts per million.
    pub drift_ppm: u32,
    /// Slots counted against the capacity.
    pub held: u64,
    /// Slots wanted by the holders of live leases.
    pub wanted: u64,
    /// Leases that count.
    pub leases: u64,
    /// Whether it seats anyone, before what its regions say.
    pub mode: Mode,
    /// Why, for users to read.
    pub reason: String,
    /// The rules by which its users wait.
    pub rules: Rules,
    /// Says when the rules have changed; at least 1.
    pub rules_revision: u64,
    /// Slots that floors take off the capacity.
    pub set_aside: u64,
}

/// A region and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionView {
    /// The region's name.
    pub name: String,
    /// Slots guaranteed.
    pub nominal: u64,
    /// Most slots.
    pub ceiling: Option<u64>,
    /// The part in what is lent.
    pub weight: u32,
    /// Slots counted against the region.
    pub held: u64,
    /// Slots wanted by the holders of live leases.
    pub wanted: u64,
    /// Slots that the sharing rules give the region.
    pub target: u64,
    /// The part of `held` above `nominal`.
    pub borrowed: u64,
    /// The part of `nominal` that other regions hold.
    pub lent: u64,
    /// Leases that count.
    pub leases: u64,
    /// Whether it seats anyone, before what its pool says.
    pub mode: Mode,
    /// Why, for users to read.
    pub reason: String,
    /// The time zone by its IANA name; empty where none was set.
    pub zone: String,
    /// Slots that its floors take off the capacity.
    pub set_aside: u64,
    /// Floors that were set or told: the one that all share first, then by holder.
    pub floors: Vec<FloorView>,
}

/// A floor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloorView {
    /// The holder, or all that report.
    pub holder: Option<String>,
    /// Slots that were set.
    pub slots: u64,
    /// Slots that the holder was told, in all of its lives.
    pub told: u64,
}

/// An entry of a calendar and where it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryView<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The entry.
    pub scheduled: &'a Scheduled,
    /// The time zone of its region, where it has one that has one.
    pub zone: Option<&'a str>,
}

/// A lease and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// The lease.
    pub lease: LeaseId,
    /// The pool's name.
    pub pool: String,
    /// The region's name.
    pub region: String,
    /// The holder's name.
    pub holder: String,
    /// The holder's epoch.
    pub epoch: u64,
    /// The last request carried out.
    pub seq: u64,
    /// Slots counted.
    pub slots: u64,
    /// Slots wanted.
    pub wanted: u64,
    /// Slots that the sharing rules give it.
    pub target: u64,
    /// Cluster time when it runs out, in milliseconds.
    pub expires_ms: u64,
    /// Whether it can still be renewed.
    pub phase: LeasePhase,
}

/// Whether a lease can still be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasePhase {
    /// It can.
    Live,
    /// It counts until it runs out or is returned.
    Closing,
}

impl State {
    /// Cluster time reached, in milliseconds since the cluster began.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Cluster time when the passing of time alone will next change something, in milliseconds, where that is by
    /// the time given. The less far off that is the less has to be looked at.
    pub fn next_event_ms(&self, by_ms: u64) -> Option<u64> {
        let rounds = self.pools.iter().flatten().filter_map(Pool::round_due_ms);
        let silent = |place| self.leases.get(place)?.silent_ms();
        let forget = self
            .leases
            .first_ended_ms()
            .map(|at| at.saturating_add(REMEMBER_ENDED_MS));
        let silence = self.speaking.first(by_ms, silent);
        let leases = self.leases.first_due_ms(by_ms);
        let events = rounds.chain(leases).chain(forget).chain(silence);
        events.min().filter(|&at| at <= by_ms)
    }

    /// The budget's revision: how many times it was configured.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All pools by name.
    pub fn pools(&self) -> impl Iterator<Item = PoolView> + '_ {
        self.pool_index
            .values()
            .filter_map(|&at| self.pools[at as usize].as_ref())
            .map(pool_view)
    }

    /// One pool.
    pub fn pool(&self, name: &str) -> Option<PoolView> {
        self.find_pool(name).map(pool_view)
    }

    /// The regions of a pool by name; empty where there is no such pool.
    pub fn regions(&self, pool: &str) -> Vec<RegionView> {
        let Some(pool) = self.find_pool(pool) else {
            return Vec::new();
        };
        let regions: Vec<&Region> = pool.regions_by_name().collect();
        // What is borrowed comes first from what is guaranteed to nobody, then from idle nominals alike.
        let nominals: u64 = regions.iter().map(|r| r.nominal).sum();
        let borrowed: u64 = regions
            .iter()
            .map(|r| r.held.saturating_sub(r.nominal))
            .sum();
        let mut lent: Vec<Part> = regions
            .iter()
            .map(|r| Part {
                has: 0,
                want: r.nominal.saturating_sub(r.held),
                weight: 1,
            })
            .collect();
        fill(
            borrowed.saturating_sub(pool.capacity.saturating_sub(nominals)),
            &mut lent,
        );
        regions
            .into_iter()
            .zip(lent)
            .map(|(region, lent)| RegionView {
                name: region.name.to_string(),
                nominal: region.nominal,
                ceiling: region.ceiling,
                weight: region.weight,
                held: region.held,
                wanted: region.wanted,
                target: pool.target(region),
                borrowed: region.held.saturating_sub(region.nominal),
                lent: lent.has,
                leases: region.leases,
                mode: region.gate.mode,
                reason: region.gate.reason.clone(),
                zone: region.zone.clone(),
                set_aside: region.floors.set_aside(),
                floors: floor_views(&region.floors),
            })
            .collect()
    }

    /// Leases of a pool that count, by holder and then id, from after the holder and lease given: at
    /// most `limit`, of one region or one holder where stated.
    pub fn leases(
        &self,
        pool: &str,
        region: Option<&str>,
        holder: Option<&str>,
        after: Option<(&str, LeaseId)>,
        limit: usize,
    ) -> Vec<LeaseView> {
        let Some(pool) = self.find_pool(pool) else {
            return Vec::new();
        };
        let from = match (holder, after) {
            (Some(holder), _) => Bound::Included(holder),
            (None, Some((holder, _))) => Bound::Included(holder),
            (None, None) => Bound::Unbounded,
        };
        let to = holder.map_or(Bound::Unbounded, Bound::Included);
        pool.holders
            .range(from, to)
            .flat_map(|holder| {
                let mut places: Vec<u32> = holder.leases().collect();
                places.sort_by_key(|&place| self.leases.get(place).map(|lease| lease.id));
                places
            })
            .filter_map(|place| self.lease_view(place))
            .filter(|lease| region.is_none_or(|region| lease.region == region))
            .filter(|lease| after.is_none_or(|after| (lease.holder.as_str(), lease.lease) > after))
            .take(limit)
            .collect()
    }

    /// One lease that counts.
    pub fn lease(&self, lease: LeaseId) -> Option<LeaseView> {
        self.lease_view(self.leases.find(lease).ok()?)
    }

    /// The target of a live lease now, in O(log n).
    pub fn lease_target(&self, lease: LeaseId) -> Option<u64> {
        let place = self.leases.find(lease).ok()?;
        let live = self.leases.get(place)?.phase == Phase::Live;
        live.then(|| self.target(place).0)
    }

    /// The rules by which the users of a lease wait, and their revision, in O(log n).
    pub fn lease_rules(&self, lease: LeaseId) -> Option<(&Arc<Rules>, u64)> {
        let lease = self.leases.get(self.leases.find(lease).ok()?)?;
        let pool = self.pools[lease.pool as usize].as_ref()?;
        Some((&pool.rules, pool.rules_revision))
    }

    /// The calendars of all pools, by pool.
    pub fn calendars(&self) -> impl Iterator<Item = EntryView<'_>> {
        let pools = self.pool_index.values();
        let pools = pools.filter_map(|&at| self.pools[at as usize].as_ref());
        pools.flat_map(Pool::calendar)
    }

    /// The calendar of one pool; empty where there is no such pool.
    pub fn calendar(&self, pool: &str) -> Vec<EntryView<'_>> {
        let pool = self.find_pool(pool);
        pool.map_or_else(Vec::new, |pool| pool.calendar().collect())
    }

    pub(crate) fn find_pool(&self, name: &str) -> Option<&Pool> {
        self.pools[*self.pool_index.get(name)? as usize].as_ref()
    }

    fn lease_view(&self, place: u32) -> Option<LeaseView> {
        let lease: &Lease = self.leases.get(place)?;
        let phase = match lease.phase {
            Phase::Live => LeasePhase::Live,
            Phase::Closing => LeasePhase::Closing,
            Phase::Ended => return None,
        };
        let pool = self.pools[lease.pool as usize].as_ref()?;
        let region = pool.regions[lease.region as usize].as_ref()?;
        Some(LeaseView {
            lease: lease.id,
            pool: pool.name.to_string(),
            region: region.name.to_string(),
            holder: lease.holder.to_string(),
            epoch: lease.epoch,
            seq: lease.seq,
            slots: lease.slots,
            wanted: lease.wanted,
            target: self.target(place).0,
            expires_ms: lease.until_ms,
            phase,
        })
    }
}

impl Pool {
    fn calendar(&self) -> impl Iterator<Item = EntryView<'_>> {
        let zone = |region: &str| {
            let region = self.regions[*self.region_index.get(region)? as usize].as_ref()?;
            Some(region.zone.as_str()).filter(|zone| !zone.is_empty())
        };
        self.calendar.iter().map(move |scheduled| EntryView {
            pool: &self.name,
            scheduled,
            zone: scheduled.entry.region.as_deref().and_then(zone),
        })
    }
}

fn floor_views(floors: &Floors) -> Vec<FloorView> {
    let mut told: BTreeMap<&str, u64> = floors.of.keys().map(|holder| (&**holder, 0)).collect();
    for ((holder, _), slots) in &floors.told {
        *told.entry(holder).or_default() += slots;
    }
    let shared = (floors.shared > 0).then_some(FloorView {
        holder: None,
        slots: floors.shared,
        told: 0,
    });
    let holders = told.into_iter().map(|(holder, told)| FloorView {
        holder: Some(holder.into()),
        slots: floors.of.get(holder).copied().unwrap_or(0),
        told,
    });
    shared.into_iter().chain(holders).collect()
}

fn pool_view(pool: &Pool) -> PoolView {
    let sum = |figure: fn(&Region) -> u64| pool.regions_by_name().map(figure).sum();
    PoolView {
        name: pool.name.to_string(),
        capacity: pool.capacity,
        ttl_ms: pool.ttl_ms,
        drift_ppm: pool.drift_ppm,
        held: pool.held,
        wanted: sum(|region| region.wanted),
        leases: sum(|region| region.leases),
        mode: pool.gate.mode,
        reason: pool.gate.reason.clone(),
        rules: Rules::clone(&pool.rules),
        rules_revision: pool.rules_revision,
        set_aside: pool.set_aside,
    }
}
