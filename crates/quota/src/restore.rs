//! The whole state from bytes. A checksum tells damage from chance; what it can't tell is whether the
//! state is one that can be, so each thing is checked as it is put in its place.

use smol_str::SmolStr;

use crate::batch::DecodeError;
use crate::calendar::{CalendarEntry, check_entries};
use crate::check;
use crate::lease::{Lease, MAX_LEASE_NUMBER, Phase};
use crate::limits::{
    DRIFT_PPM, MAX_CLOSING_PER_HOLDER, MAX_LEASES, MAX_POOLS, MAX_REGIONS_PER_POOL, MAX_SLOTS,
    TTL_MS,
};
use crate::pool::Pool;
use crate::requests::Requests;
use crate::restore_region::{floors_sum, restore_region};
use crate::snapshot::{FORMAT, HolderV3, LeaseV3, MAGIC, PoolV3, StateV3};
use crate::snapshot_v1::StateV1;
use crate::snapshot_v2::StateV2;
use crate::state::State;

const WHAT: &str = "snapshot";

pub(crate) fn damaged(why: impl Into<String>) -> DecodeError {
    let why = why.into();
    DecodeError::Damaged { what: WHAT, why }
}

/// Reads one format.
fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    let (state, left) =
        postcard::take_from_bytes::<T>(body).map_err(|error| damaged(error.to_string()))?;
    that(left.is_empty(), || "bytes follow its end".into())?;
    Ok(state)
}

/// Refuses what can't be, naming it.
pub(crate) fn that(holds: bool, what: impl FnOnce() -> String) -> Result<(), DecodeError> {
    if holds { Ok(()) } else { Err(damaged(what())) }
}

impl State {
    /// Reads what [`State::snapshot`] wrote, in this version or an older one.
    ///
    /// # Errors
    /// Where the bytes are damaged, of a newer format, or say what can't be.
    pub fn restore(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some(rest) = bytes.strip_prefix(MAGIC.as_bytes()) else {
            let found = &bytes[..bytes.len().min(MAGIC.len())];
            return Err(DecodeError::Magic {
                what: WHAT,
                expected: MAGIC,
                found: String::from_utf8_lossy(found).into_owned(),
            });
        };
        let Some((&found, rest)) = rest.split_first() else {
            return Err(damaged("it ends after its first bytes"));
        };
        match found {
            0 => return Err(damaged("its format is 0")),
            1..=FORMAT => {}
            _ => {
                return Err(DecodeError::Newer {
                    what: WHAT,
                    found,
                    newest: FORMAT,
                });
            }
        }
        let Some((body, checksum)) = rest.split_last_chunk::<4>() else {
            return Err(damaged("it has no checksum"));
        };
        let expected = u32::from_le_bytes(*checksum);
        let found = crc32c::crc32c(&bytes[..bytes.len() - 4]);
        if found != expected {
            return Err(DecodeError::Checksum {
                what: WHAT,
                expected,
                found,
            });
        }
        match bytes.get(MAGIC.len()) {
            Some(1) => Self::from_v3(StateV2::from(read::<StateV1<'_>>(body)?).into()),
            Some(2) => Self::from_v3(read::<StateV2<'_>>(body)?.into()),
            _ => Self::from_v3(read::<StateV3<'_>>(body)?),
        }
    }

    fn from_v3(from: StateV3<'_>) -> Result<Self, DecodeError> {
        let number = from.next_number;
        that((1..=MAX_LEASE_NUMBER + 1).contains(&number), || {
            format!("its next lease has number {number}")
        })?;
        let mut state = Self {
            now_ms: from.now_ms,
            revision: from.revision,
            requests: Requests::restore(from.requests)
                .ok_or_else(|| damaged("it remembers a request twice, or too many"))?,
            ..Self::default()
        };
        state.leases.next_number = number;
        for pool in from.pools {
            state.restore_pool(pool)?;
        }
        Ok(state)
    }

    fn restore_pool(&mut self, from: PoolV3<'_>) -> Result<(), DecodeError> {
        let name = from.name;
        let what = || format!("pool {name:?} can't be as it is said to be");
        let in_all = from.regions.iter().try_fold(0, |sum: u64, region| {
            let guaranteed = sum.checked_add(region.nominal)?;
            guaranteed.checked_add(floors_sum(&region.floors)?)
        });
        let entries: Vec<CalendarEntry> = from.calendar.iter().map(|s| s.entry.clone()).collect();
        let unnamed = |_: &str| String::new();
        that(
            check::name("name", &name).is_ok()
                && from.capacity <= MAX_SLOTS
                && in_all.is_some_and(|sum| sum <= 2 * MAX_SLOTS)
                && TTL_MS.contains(&from.ttl_ms)
                && DRIFT_PPM.contains(&from.drift_ppm)
                && from.round_ms <= self.now_ms
                && from.rules_revision >= 1
                && from.rules.check(unnamed).is_ok()
                && from.gate.is_sound(self.now_s())
                && check_entries(&entries, unnamed).is_ok()
                && !self.pool_index.contains_key(&*name),
            what,
        )?;
        let mut pool = Pool::new(&name, from.capacity, from.ttl_ms, from.drift_ppm);
        pool.round_ms = from.round_ms;
        pool.rules = from.rules.into_owned().into();
        pool.rules_revision = from.rules_revision;
        pool.gate = from.gate.into_owned();
        pool.calendar = from.calendar.into_owned();
        let mut served = Vec::with_capacity(from.regions.len());
        for mut region in from.regions {
            let place = region.place;
            served.push((place, std::mem::take(&mut region.served)));
            let region = restore_region(region, &pool, self.now_s())?;
            pool.nominals += region.nominal;
            pool.told += region.floors.told_sum;
            pool.set_aside += region.floors.set_aside();
            pool.region_index.insert(region.name.clone(), place);
            put(&mut pool.regions, MAX_REGIONS_PER_POOL, place, region)
                .ok_or_else(|| damaged(format!("a region of pool {name:?} has place {place}")))?;
        }
        pool.regate();
        let at = from.place;
        self.pool_index.insert(pool.name.clone(), at);
        put(&mut self.pools, MAX_POOLS, at, pool)
            .ok_or_else(|| damaged(format!("pool {name:?} has place {at}")))?;
        for holder in from.holders {
            self.restore_holder(at, holder)?;
        }
        let now_ms = self.now_ms;
        if let Some(pool) = self.pools[at as usize].as_mut() {
            pool.dirty = from.dirty;
            for (place, served) in served {
                // Behind all who wait: their coming changes whose turn it is.
                if let Some(region) = pool.regions[place as usize].as_mut() {
                    that(region.waiting.set_served(served, now_ms), what)?;
                }
                pool.count_owed(place as usize);
            }
        }
        Ok(())
    }

    fn restore_holder(&mut self, at: u32, from: HolderV3<'_>) -> Result<(), DecodeError> {
        let name = SmolStr::from(&*from.name);
        let what = || format!("holder {name:?} can't be as it is said to be");
        that(
            check::name("name", &name).is_ok()
                && from.leases.len() <= MAX_CLOSING_PER_HOLDER
                && from
                    .leases
                    .iter()
                    .all(|l| (1..=from.epoch).contains(&l.epoch)),
            what,
        )?;
        let mut older = Vec::with_capacity(from.leases.len());
        let newest = from.leases.len().saturating_sub(1);
        for (i, lease) in from.leases.into_iter().enumerate() {
            let live = lease.phase == Phase::Live;
            that(i == newest || !live, what)?;
            older.push(self.restore_lease(at, &name, lease)?);
        }
        let newest = older.pop().ok_or_else(|| damaged(what()))?;
        let epoch = self.leases.get(newest).map(|lease| lease.epoch);
        let Some(pool) = self.pools[at as usize].as_mut() else {
            return Ok(());
        };
        that(pool.holders.get(&name).is_none(), what)?;
        pool.holders.take(name.clone(), newest, from.epoch);
        if !older.is_empty() || epoch != Some(from.epoch) {
            pool.holders.remember(name, from.epoch, older);
        }
        Ok(())
    }

    fn restore_lease(
        &mut self,
        pool: u32,
        holder: &SmolStr,
        from: LeaseV3<'_>,
    ) -> Result<u32, DecodeError> {
        let (id, place) = (from.id, from.id.place());
        let (region, answer) = (u16::try_from(from.region).ok(), from.answer.given());
        let regions = self.pools[pool as usize].as_ref().map(|p| &p.regions);
        let in_region = regions
            .and_then(|regions| regions.get(from.region as usize))
            .is_some_and(Option::is_some);
        let counts = from.phase != Phase::Ended;
        let sound = (1..self.leases.next_number).contains(&id.number())
            && (place as usize) < MAX_LEASES
            && self.leases.get(place).is_none()
            && from.seq >= 1
            && from.slots <= MAX_SLOTS
            && from.wanted <= MAX_SLOTS
            && (counts || from.slots == 0)
            && (from.phase == Phase::Live || from.wanted == 0)
            && (in_region || !counts)
            && (from.until_ms <= self.now_ms) != (counts && self.now_ms < u64::MAX);
        let (Some(region), Some((asked, given)), true) = (region, answer, sound) else {
            let why = format!("lease {id} of holder {holder:?} can't be as it is said to be");
            return Err(damaged(why));
        };
        let lease = Lease {
            id,
            pool: pool as u16,
            region,
            holder: holder.clone(),
            epoch: from.epoch,
            seq: from.seq,
            asked,
            given,
            phase: from.phase,
            slots: from.slots,
            wanted: from.wanted,
            until_ms: from.until_ms,
            reporting: None,
        };
        self.leases.put(place, lease);
        if let Some(reporting) = from.reporting {
            let sound = self.restore_reporting(place, reporting);
            that(sound.is_some(), || {
                format!(
                    "the report of lease {id} of holder {holder:?} can't be as it is said to be"
                )
            })?;
        }
        self.count_new(place);
        Ok(place)
    }
}

/// Puts an item where it was, among at most `most`, unless something is there.
fn put<T>(places: &mut Vec<Option<T>>, most: usize, place: u32, item: T) -> Option<()> {
    let place = place as usize;
    if place >= most || places.get(place).is_some_and(Option::is_some) {
        return None;
    }
    while places.len() <= place {
        places.push(None);
    }
    places[place] = Some(item);
    Some(())
}
