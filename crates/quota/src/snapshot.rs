//! The whole state as bytes.
//!
//! `PREAUQ`, a format byte, the state in postcard's encoding, and a CRC-32C of all of it, little-endian.
//! Figures that follow from the leases are not written: they are worked out anew. A format once written
//! is read for ever; see `tests/golden/`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::lease::{Answer, Phase};
use crate::outcome::LeaseId;
use crate::pool::{Holder, Pool};
use crate::requests::Request;
use crate::state::State;

pub(crate) const MAGIC: &str = "PREAUQ";
pub(crate) const FORMAT: u8 = 1;

/// Format 1. Never to change.
#[derive(Serialize, Deserialize)]
pub(crate) struct StateV1<'a> {
    pub now_ms: u64,
    pub revision: u64,
    pub next_number: u64,
    /// Oldest first.
    #[serde(borrow)]
    pub requests: Vec<Request<'a>>,
    /// By place.
    #[serde(borrow)]
    pub pools: Vec<PoolV1<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PoolV1<'a> {
    pub place: u32,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub capacity: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
    pub dirty: bool,
    pub round_ms: u64,
    /// By place.
    #[serde(borrow)]
    pub regions: Vec<RegionV1<'a>>,
    /// By name.
    #[serde(borrow)]
    pub holders: Vec<HolderV1<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RegionV1<'a> {
    pub place: u32,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
    pub shared: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct HolderV1<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub epoch: u64,
    /// At least one, the current one last.
    pub leases: Vec<LeaseV1>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LeaseV1 {
    pub id: LeaseId,
    /// The region's place; one that ended may outlast it.
    pub region: u32,
    pub epoch: u64,
    pub seq: u64,
    pub answer: Answer,
    pub phase: Phase,
    pub slots: u64,
    pub wanted: u64,
    pub until_ms: u64,
}

impl State {
    /// The whole state as bytes, equal on every replica that has applied the same batches.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = MAGIC.as_bytes().to_vec();
        bytes.push(FORMAT);
        let mut bytes = codec::append(bytes, &self.to_v1());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn to_v1(&self) -> StateV1<'_> {
        let pools = (0..).zip(&self.pools);
        StateV1 {
            now_ms: self.now_ms,
            revision: self.revision,
            next_number: self.leases.next_number,
            requests: self.requests.iter().collect(),
            pools: pools
                .filter_map(|(place, pool)| Some(self.pool_v1(place, pool.as_ref()?)))
                .collect(),
        }
    }

    fn pool_v1<'a>(&'a self, place: u32, pool: &'a Pool) -> PoolV1<'a> {
        let regions = (0..).zip(&pool.regions).filter_map(|(place, region)| {
            let region = region.as_ref()?;
            Some(RegionV1 {
                place,
                name: Cow::from(&*region.name),
                nominal: region.nominal,
                ceiling: region.ceiling,
                weight: region.weight,
                shared: region.shared,
            })
        });
        let holders = pool.holders.iter().map(|(name, holder)| HolderV1 {
            name: Cow::from(&**name),
            epoch: holder.epoch,
            leases: self.leases_v1(holder),
        });
        PoolV1 {
            place,
            name: Cow::from(&*pool.name),
            capacity: pool.capacity,
            ttl_ms: pool.ttl_ms,
            drift_ppm: pool.drift_ppm,
            dirty: pool.dirty,
            round_ms: pool.round_ms,
            regions: regions.collect(),
            holders: holders.collect(),
        }
    }

    fn leases_v1(&self, holder: &Holder) -> Vec<LeaseV1> {
        let places = holder.older.iter().chain([&holder.current]);
        places
            .filter_map(|&place| {
                let lease = self.leases.get(place)?;
                Some(LeaseV1 {
                    id: lease.id,
                    region: lease.region,
                    epoch: lease.epoch,
                    seq: lease.seq,
                    answer: lease.answer,
                    phase: lease.phase,
                    slots: lease.slots,
                    wanted: lease.wanted,
                    until_ms: lease.until_ms,
                })
            })
            .collect()
    }
}
