//! What can be read of the state.

use std::ops::Bound;

use crate::lease::{Lease, Phase};
use crate::limits::REMEMBER_ENDED_MS;
use crate::outcome::LeaseId;
use crate::pool::{Pool, Region};
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

    /// Cluster time when the passing of time alone will next change something, in milliseconds.
    pub fn next_event_ms(&self) -> Option<u64> {
        let rounds = self.pools.iter().flatten().filter_map(Pool::round_due_ms);
        let forget = self
            .leases
            .first_ended_ms()
            .map(|at| at.saturating_add(REMEMBER_ENDED_MS));
        rounds.chain(self.leases.first_due_ms()).chain(forget).min()
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
        let idle: Vec<Part<'_>> = regions
            .iter()
            .map(|r| Part {
                name: &r.name,
                want: r.nominal.saturating_sub(r.held),
                weight: 1,
            })
            .collect();
        let lent = fill(
            borrowed.saturating_sub(pool.capacity.saturating_sub(nominals)),
            &idle,
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
                lent,
                leases: region.leases,
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
            .range::<str, _>((from, to))
            .flat_map(|(_, holder)| {
                let mut places = holder.older.clone();
                places.push(holder.current);
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
    }
}
