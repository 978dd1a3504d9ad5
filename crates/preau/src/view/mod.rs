//! What the cluster answers, as JSON and tables show it.

mod waiting;

use api::v1;
use comfy_table::Table;
use serde::Serialize;

pub use waiting::{Entry, Floor, Queue, Rules};

use crate::mode;
use crate::output::{table, thousands};

/// The budget: pools with their regions.
#[derive(Debug, Clone, Serialize)]
pub struct Budget {
    pub revision: u64,
    pub cluster_time_ms: u64,
    pub pools: Vec<Pool>,
}

/// A pool with its regions, as `PoolStatus` of the protocol has it.
#[derive(Debug, Clone, Serialize)]
pub struct Pool {
    pub name: String,
    pub capacity: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
    pub held: u64,
    pub wanted: u64,
    pub over_by: u64,
    pub leases: u64,
    pub mode: &'static str,
    /// Why, in words for users; empty where nothing was said.
    pub reason: String,
    /// Slots that are kept for floors.
    pub set_aside: u64,
    pub rules_revision: u64,
    pub rules: Rules,
    pub calendar: Vec<Entry>,
    pub regions: Vec<Region>,
}

/// A region, as `RegionStatus` of the protocol has it.
#[derive(Debug, Clone, Serialize)]
pub struct Region {
    pub name: String,
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
    pub held: u64,
    pub wanted: u64,
    pub target: u64,
    pub borrowed: u64,
    pub lent: u64,
    pub waiting: u64,
    pub leases: u64,
    pub mode: &'static str,
    /// Why, in words for users; empty where nothing was said.
    pub reason: String,
    /// Empty where none is set.
    pub zone: String,
    /// Slots that are kept for floors.
    pub set_aside: u64,
    pub floors: Vec<Floor>,
    /// Slots with a session, by what front-ends report.
    pub in_use: u64,
    /// Whether arrivals are seated at once.
    pub open: bool,
    /// Who waits, by class.
    pub queues: Vec<Queue>,
}

/// A pool above its capacity.
#[derive(Debug, Clone, Serialize)]
pub struct Draining {
    pub pool: String,
    pub over_by: u64,
}

impl From<v1::ListPoolsResponse> for Budget {
    fn from(response: v1::ListPoolsResponse) -> Self {
        Self {
            revision: response.revision,
            cluster_time_ms: response.cluster_time_ms,
            pools: response.pools.into_iter().map(Pool::from).collect(),
        }
    }
}

impl From<v1::Pool> for Pool {
    fn from(pool: v1::Pool) -> Self {
        let status = pool.status.unwrap_or_default();
        Self {
            name: status.name,
            capacity: status.capacity,
            ttl_ms: status.ttl_ms,
            drift_ppm: status.drift_ppm,
            held: status.held,
            wanted: status.wanted,
            over_by: status.over_by,
            leases: status.leases,
            mode: mode::name(v1::Mode::try_from(status.mode).unwrap_or_default()),
            reason: status.reason,
            set_aside: status.set_aside,
            rules_revision: status.rules_revision,
            rules: status.rules.unwrap_or_default().into(),
            calendar: pool.calendar.into_iter().map(Entry::from).collect(),
            regions: pool.regions.into_iter().map(Region::from).collect(),
        }
    }
}

impl From<v1::RegionStatus> for Region {
    fn from(status: v1::RegionStatus) -> Self {
        Self {
            name: status.name,
            nominal: status.nominal,
            ceiling: status.ceiling,
            weight: status.weight,
            held: status.held,
            wanted: status.wanted,
            target: status.target,
            borrowed: status.borrowed,
            lent: status.lent,
            waiting: status.waiting,
            leases: status.leases,
            mode: mode::name(v1::Mode::try_from(status.mode).unwrap_or_default()),
            reason: status.reason,
            zone: status.zone,
            set_aside: status.set_aside,
            floors: status.floors.into_iter().map(Floor::from).collect(),
            in_use: status.in_use,
            open: status.open,
            queues: status.classes.into_iter().map(Queue::from).collect(),
        }
    }
}

impl From<v1::Draining> for Draining {
    fn from(draining: v1::Draining) -> Self {
        Self {
            pool: draining.pool,
            over_by: draining.over_by,
        }
    }
}

impl Pool {
    /// Slots wanted that the pool's regions do not have.
    pub fn waiting(&self) -> u64 {
        self.regions.iter().map(|region| region.waiting).sum()
    }

    /// Users who wait for a seat.
    pub fn queued(&self) -> u64 {
        self.regions.iter().map(Region::queued).sum()
    }
}

impl Region {
    /// Users who wait for a seat.
    pub fn queued(&self) -> u64 {
        self.queues.iter().map(|queue| queue.waiting).sum()
    }
}

/// Pools, one a line.
pub fn pools_table<'a>(pools: impl IntoIterator<Item = &'a Pool>) -> Table {
    let mut rows = table(&[
        "POOL",
        "MODE",
        ">CAPACITY",
        ">SET ASIDE",
        ">HELD",
        ">WANTED",
        ">WAITING",
        ">QUEUED",
        ">OVER BY",
        ">REGIONS",
        ">LEASES",
        ">TTL MS",
        ">DRIFT PPM",
    ]);
    for pool in pools {
        let numbers = [
            pool.capacity,
            pool.set_aside,
            pool.held,
            pool.wanted,
            pool.waiting(),
            pool.queued(),
            pool.over_by,
            pool.regions.len() as u64,
            pool.leases,
            pool.ttl_ms,
            pool.drift_ppm.into(),
        ];
        rows.add_row(row([pool.name.as_str(), pool.mode], numbers));
    }
    rows
}

/// Regions of pools, one a line.
pub fn regions_table<'a>(pools: impl IntoIterator<Item = &'a Pool>) -> Table {
    let mut rows = table(&[
        "POOL",
        "REGION",
        "MODE",
        ">NOMINAL",
        ">CEILING",
        ">WEIGHT",
        ">HELD",
        ">TARGET",
        ">BORROWED",
        ">LENT",
        ">WANTED",
        ">WAITING",
        ">QUEUED",
        ">LEASES",
    ]);
    for pool in pools {
        for region in &pool.regions {
            let ceiling = region.ceiling.map_or("-".into(), thousands);
            let numbers = [
                region.held,
                region.target,
                region.borrowed,
                region.lent,
                region.wanted,
                region.waiting,
                region.queued(),
                region.leases,
            ];
            let terms = [
                pool.name.clone(),
                region.name.clone(),
                region.mode.to_owned(),
                thousands(region.nominal),
                ceiling,
                thousands(region.weight.into()),
            ];
            rows.add_row(terms.into_iter().chain(numbers.into_iter().map(thousands)));
        }
    }
    rows
}

/// A row of names and then numbers.
pub fn row<'a>(
    names: impl IntoIterator<Item = &'a str>,
    numbers: impl IntoIterator<Item = u64>,
) -> Vec<String> {
    let names = names.into_iter().map(str::to_owned);
    names.chain(numbers.into_iter().map(thousands)).collect()
}

/// Lines about pools that drain; empty where none does.
pub fn draining_text(draining: &[Draining]) -> String {
    let line = |d: &Draining| {
        format!(
            "\npool {:?} drains: {} slots are out above its capacity, and come back as sessions end",
            d.pool,
            thousands(d.over_by)
        )
    };
    draining.iter().map(line).collect()
}
