//! What the cluster answers, as JSON and tables show it.

use api::v1;
use comfy_table::Table;
use serde::Serialize;

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
}

/// Pools, one a line.
pub fn pools_table<'a>(pools: impl IntoIterator<Item = &'a Pool>) -> Table {
    let mut rows = table(&[
        "POOL",
        ">CAPACITY",
        ">HELD",
        ">WANTED",
        ">WAITING",
        ">OVER BY",
        ">REGIONS",
        ">LEASES",
        ">TTL MS",
        ">DRIFT PPM",
    ]);
    for pool in pools {
        let numbers = [
            pool.capacity,
            pool.held,
            pool.wanted,
            pool.waiting(),
            pool.over_by,
            pool.regions.len() as u64,
            pool.leases,
            pool.ttl_ms,
            pool.drift_ppm.into(),
        ];
        rows.add_row(row([&pool.name], numbers));
    }
    rows
}

/// Regions of pools, one a line.
pub fn regions_table<'a>(pools: impl IntoIterator<Item = &'a Pool>) -> Table {
    let mut rows = table(&[
        "POOL",
        "REGION",
        ">NOMINAL",
        ">CEILING",
        ">WEIGHT",
        ">HELD",
        ">TARGET",
        ">BORROWED",
        ">LENT",
        ">WANTED",
        ">WAITING",
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
                region.leases,
            ];
            let terms = [
                pool.name.clone(),
                region.name.clone(),
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
    names: impl IntoIterator<Item = &'a String>,
    numbers: impl IntoIterator<Item = u64>,
) -> Vec<String> {
    let names = names.into_iter().cloned();
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
