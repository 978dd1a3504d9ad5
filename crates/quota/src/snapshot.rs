//! The whole state as bytes, and back.
//!
//! `PREAUQ`, a format byte, the state in postcard's encoding, and a CRC-32C of all of it, little-endian.
//! Figures that follow from the leases are not written: they are worked out anew. A format once written
//! is read for ever; see `tests/golden/`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::command::DecodeError;
use crate::lease::{Answer, Lease, Phase};
use crate::outcome::LeaseId;
use crate::pool::{Holder, Pool, Region};
use crate::requests::{Request, Requests};
use crate::state::State;

const WHAT: &str = "snapshot";
const MAGIC: &str = "PREAUQ";
const FORMAT: u8 = 1;

/// Format 1. Never to change.
#[derive(Serialize, Deserialize)]
struct StateV1<'a> {
    now_ms: u64,
    revision: u64,
    next_number: u64,
    requests: Vec<Request<'a>>,
    pools: Vec<PoolV1<'a>>,
    leases: Vec<LeaseV1<'a>>,
}

#[derive(Serialize, Deserialize)]
struct PoolV1<'a> {
    place: u32,
    name: Cow<'a, str>,
    capacity: u64,
    ttl_ms: u64,
    drift_ppm: u32,
    dirty: bool,
    round_ms: u64,
    regions: Vec<RegionV1<'a>>,
}

#[derive(Serialize, Deserialize)]
struct RegionV1<'a> {
    place: u32,
    name: Cow<'a, str>,
    nominal: u64,
    ceiling: Option<u64>,
    weight: u32,
    shared: u64,
}

#[derive(Serialize, Deserialize)]
struct LeaseV1<'a> {
    place: u32,
    id: LeaseId,
    pool: u32,
    region: u32,
    holder: Cow<'a, str>,
    /// How many newer leases of the same holder there are: 0 for the current one.
    age: u32,
    epoch: u64,
    seq: u64,
    answer: Answer,
    phase: Phase,
    slots: u64,
    wanted: u64,
    until_ms: u64,
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

    /// Reads what [`State::snapshot`] wrote, in this version or an older one.
    ///
    /// # Errors
    /// Where the bytes are damaged, or of a newer format.
    pub fn restore(bytes: &[u8]) -> Result<Self, DecodeError> {
        let damaged = |why: &str| DecodeError::Damaged {
            what: WHAT,
            why: why.into(),
        };
        let Some(rest) = bytes.strip_prefix(MAGIC.as_bytes()) else {
            let found =
                String::from_utf8_lossy(&bytes[..bytes.len().min(MAGIC.len())]).into_owned();
            return Err(DecodeError::Magic {
                what: WHAT,
                expected: MAGIC,
                found,
            });
        };
        match rest.first() {
            None => return Err(damaged("it ends after its first bytes")),
            Some(&found) if found > FORMAT => {
                return Err(DecodeError::Newer {
                    what: WHAT,
                    found,
                    newest: FORMAT,
                });
            }
            Some(0) => return Err(damaged("its format is 0")),
            Some(_) => {}
        }
        let (body, checksum) = rest[1..]
            .split_last_chunk::<4>()
            .ok_or_else(|| damaged("it has no checksum"))?;
        let expected = u32::from_le_bytes(*checksum);
        let found = crc32c::crc32c(&bytes[..bytes.len() - 4]);
        if found != expected {
            return Err(DecodeError::Checksum {
                what: WHAT,
                expected,
                found,
            });
        }
        let (state, left) = postcard::take_from_bytes::<StateV1<'_>>(body)
            .map_err(|error| damaged(&error.to_string()))?;
        if !left.is_empty() {
            return Err(damaged("bytes follow its end"));
        }
        Self::from_v1(state)
            .ok_or_else(|| damaged("it names a pool, region or lease that it lacks"))
    }

    fn to_v1(&self) -> StateV1<'_> {
        let pools = (0..).zip(&self.pools).filter_map(|(place, pool)| {
            let pool = pool.as_ref()?;
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
            Some(PoolV1 {
                place,
                name: Cow::from(&*pool.name),
                capacity: pool.capacity,
                ttl_ms: pool.ttl_ms,
                drift_ppm: pool.drift_ppm,
                dirty: pool.dirty,
                round_ms: pool.round_ms,
                regions: regions.collect(),
            })
        });
        let leases = self.leases.iter().map(|(place, lease)| LeaseV1 {
            place,
            id: lease.id,
            pool: lease.pool,
            region: lease.region,
            holder: Cow::from(&*lease.holder),
            age: self.age(place, lease),
            epoch: lease.epoch,
            seq: lease.seq,
            answer: lease.answer,
            phase: lease.phase,
            slots: lease.slots,
            wanted: lease.wanted,
            until_ms: lease.until_ms,
        });
        StateV1 {
            now_ms: self.now_ms,
            revision: self.revision,
            next_number: self.leases.next_number,
            requests: self.requests.iter().collect(),
            pools: pools.collect(),
            leases: leases.collect(),
        }
    }

    fn age(&self, place: u32, lease: &Lease) -> u32 {
        let pool = self.pools[lease.pool as usize].as_ref();
        let Some(holder) = pool.and_then(|pool| pool.holders.get(&lease.holder)) else {
            return 0;
        };
        let older = holder.older.iter().rposition(|&older| older == place);
        older.map_or(0, |at| (holder.older.len() - at) as u32)
    }

    fn from_v1(from: StateV1<'_>) -> Option<Self> {
        let mut state = Self {
            now_ms: from.now_ms,
            revision: from.revision,
            ..Self::default()
        };
        state.leases.next_number = from.next_number;
        state.requests = Requests::restore(from.requests)?;
        for from in from.pools {
            let mut pool = Pool::new(&from.name, from.capacity, from.ttl_ms, from.drift_ppm);
            (pool.dirty, pool.round_ms) = (from.dirty, from.round_ms);
            for from in from.regions {
                let mut region = Region::new(&from.name, from.nominal, from.ceiling, from.weight);
                region.shared = from.shared;
                pool.region_index
                    .insert(Arc::clone(&region.name), from.place);
                put(&mut pool.regions, from.place, region)?;
            }
            state.pool_index.insert(Arc::clone(&pool.name), from.place);
            put(&mut state.pools, from.place, pool)?;
        }
        // Newest first, so that each holder begins with its current lease and goes back from there.
        type AgeAndPlace = (u32, u32);
        let mut ages: BTreeMap<(u32, Arc<str>), Vec<AgeAndPlace>> = BTreeMap::new();
        for from in from.leases {
            let pool = state.pools.get_mut(from.pool as usize)?.as_mut()?;
            // A lease that ended outlasts its region.
            if from.phase != Phase::Ended {
                pool.regions.get(from.region as usize)?.as_ref()?;
            }
            let holder: Arc<str> = Arc::from(&*from.holder);
            ages.entry((from.pool, Arc::clone(&holder)))
                .or_default()
                .push((from.age, from.place));
            state.restore_lease(from, holder);
        }
        for ((pool, holder), mut leases) in ages {
            leases.sort_unstable_by(|a, b| b.cmp(a));
            let mut older: Vec<u32> = leases.into_iter().map(|(_, place)| place).collect();
            let current = older.pop()?;
            let pool = state.pools[pool as usize].as_mut()?;
            pool.holders.insert(holder, Holder { current, older });
        }
        Some(state)
    }

    fn restore_lease(&mut self, from: LeaseV1<'_>, holder: Arc<str>) {
        let LeaseV1 {
            place,
            id,
            pool,
            region,
            epoch,
            seq,
            answer,
            phase,
            ..
        } = from;
        let (slots, wanted, until_ms, queued_ms) =
            (from.slots, from.wanted, from.until_ms, from.until_ms);
        let lease = Lease {
            id,
            pool,
            region,
            holder,
            epoch,
            seq,
            answer,
            phase,
            slots,
            wanted,
            until_ms,
            queued_ms,
        };
        let dirty = self.pools[pool as usize]
            .as_ref()
            .is_some_and(|pool| pool.dirty);
        self.leases.put(place, lease);
        self.count_new(place);
        if let Some(pool) = self.pools[pool as usize].as_mut() {
            pool.dirty = dirty;
        }
    }
}

/// Puts an item where it was. Places are small: they are bounded by how many there may be.
fn put<T>(places: &mut Vec<Option<T>>, place: u32, item: T) -> Option<()> {
    const MOST: usize = crate::limits::MAX_REGIONS_PER_POOL;
    let place = place as usize;
    if place >= MOST {
        return None;
    }
    while places.len() <= place {
        places.push(None);
    }
    places[place] = Some(item);
    Some(())
}
