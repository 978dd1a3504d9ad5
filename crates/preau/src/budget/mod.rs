//! The budget as a file says it: pools and their regions, their rules and their calendar.

mod calendar;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use api::v1;
use api::v1::change::Change as Made;
use jiff::Timestamp;
use quota::limits::{
    DEFAULT_DRIFT_PPM, DEFAULT_TTL_MS, DRIFT_PPM, MAX_FLOORS, MAX_POOLS, MAX_REGIONS_PER_POOL,
    MAX_SLOTS, MAX_WEIGHT, TTL_MS,
};

pub use calendar::{next_text, what_text, when_text};
pub use rules::{Class, MAX_LIMIT_S, MAX_OVERTAKE_S, check_reclaim, check_session, reclaim_name};

use crate::failure::Failure;
use crate::fields::{self, Fields};

/// What the budget is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// In the order of the file.
    pub pools: Vec<Pool>,
}

/// A pool, all of it: what the file does not say has its default.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub name: String,
    pub capacity: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
    pub rules: v1::Rules,
    /// In the order of the file.
    pub regions: Vec<Region>,
    /// By name.
    pub calendar: Vec<v1::CalendarEntry>,
}

/// A region, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    pub name: String,
    pub terms: Terms,
    /// Empty where none is set.
    pub zone: String,
    /// What the region's holders share.
    pub floor: u64,
    /// Floors of holders, by name.
    pub holders: BTreeMap<String, u64>,
}

/// What a region may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
}

/// What a field of the budget is set to, for people and programs to compare.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    Number(u64),
    Text(String),
}

/// The fields of a pool or region by name; `None` where there is no such value.
pub type Values = Vec<(String, Option<Value>)>;

impl Budget {
    /// Reads a file, or stdin where the path is `-`.
    pub fn read(path: &str) -> Result<Self, Failure> {
        Self::parse(&fields::read(path)?)
            .map_err(|why| Failure::usage(format!("{}: {why}", fields::shown_path(path))))
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// The first thing that can't be, with its place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut top = Fields::parse(text)?;
        let mut names = HashSet::new();
        let mut pools = Vec::new();
        for mut fields in top.tables("pool", MAX_POOLS)? {
            let pool = Pool::take(&mut fields)?;
            if !names.insert(pool.name.clone()) {
                let given = format!("{:?} twice", pool.name);
                return Err(fields.refuse("name", &given, "one pool of a name"));
            }
            fields.done()?;
            pools.push(pool);
        }
        top.done()?;
        Ok(Self { pools })
    }

    /// The changes that make all of it.
    pub fn changes(&self) -> Vec<v1::Change> {
        let pools = self.pools.iter();
        in_order(
            pools
                .flat_map(|pool| {
                    let regions = pool.regions.iter();
                    let regions = regions.flat_map(|region| region.changes(&pool.name, None));
                    pool.changes(None).into_iter().chain(regions)
                })
                .collect(),
        )
    }
}

/// Changes in an order in which each finds what it names: calendars once all regions are made, and
/// before any is removed.
pub fn in_order(mut changes: Vec<v1::Change>) -> Vec<v1::Change> {
    changes.sort_by_key(|change| match change.change {
        Some(Made::SetCalendar(_)) => 1,
        Some(Made::RemoveRegion(_) | Made::RemovePool(_)) => 2,
        _ => 0,
    });
    changes
}

fn wire(change: Made) -> v1::Change {
    v1::Change {
        change: Some(change),
    }
}

impl Pool {
    fn take(fields: &mut Fields<'_>) -> Result<Self, String> {
        let name = fields.required_name("name")?;
        fields.name(format!("pool {name:?}"));
        let drift = u64::from(*DRIFT_PPM.start())..=u64::from(*DRIFT_PPM.end());
        let mut pool = Self {
            capacity: fields.required_number("capacity", 0..=MAX_SLOTS)?,
            ttl_ms: fields.number("ttl_ms", TTL_MS)?.unwrap_or(DEFAULT_TTL_MS),
            drift_ppm: fields
                .number("drift_ppm", drift)?
                .and_then(|ppm| u32::try_from(ppm).ok())
                .unwrap_or(DEFAULT_DRIFT_PPM),
            rules: rules::take(fields)?,
            regions: Vec::new(),
            calendar: Vec::new(),
            name,
        };
        let mut names = HashSet::new();
        for mut fields in fields.tables("region", MAX_REGIONS_PER_POOL)? {
            let region = Region::take(&pool.name, &mut fields)?;
            if !names.insert(region.name.clone()) {
                let given = format!("{:?} twice", region.name);
                return Err(fields.refuse("name", &given, "one region of a name in a pool"));
            }
            fields.done()?;
            pool.regions.push(region);
        }
        pool.calendar = calendar::take(fields, &pool.regions)?;
        let nominals: u64 = pool.regions.iter().map(|region| region.terms.nominal).sum();
        if nominals > pool.capacity {
            let expected =
                format!("at least {nominals}, which the nominals of its regions add up to");
            return Err(fields.refuse("capacity", &pool.capacity.to_string(), &expected));
        }
        let floors: u64 = pool.regions.iter().map(Region::floors).sum();
        if nominals.saturating_add(floors) > pool.capacity {
            let expected = format!(
                "at least {}, which the nominals ({nominals}) and floors ({floors}) of its regions add up to",
                nominals.saturating_add(floors)
            );
            return Err(fields.refuse("capacity", &pool.capacity.to_string(), &expected));
        }
        Ok(pool)
    }

    /// A pool of which only what must be said has been.
    pub fn new(name: &str, capacity: u64) -> Self {
        Self {
            name: name.into(),
            capacity,
            ttl_ms: DEFAULT_TTL_MS,
            drift_ppm: DEFAULT_DRIFT_PPM,
            rules: rules::default(),
            regions: Vec::new(),
            calendar: Vec::new(),
        }
    }

    /// The changes that make the pool as it is here, without its regions, from what it is; where it is
    /// new, from nothing.
    pub fn changes(&self, from: Option<&Self>) -> Vec<v1::Change> {
        let mut changes = Vec::new();
        let base = |pool: &Self| (pool.capacity, pool.ttl_ms, pool.drift_ppm);
        if from.map(base) != Some(base(self)) {
            changes.push(Made::SetPool(v1::SetPool {
                name: self.name.clone(),
                capacity: self.capacity,
                ttl_ms: Some(self.ttl_ms),
                drift_ppm: Some(self.drift_ppm),
            }));
        }
        let new = Self::new(&self.name, self.capacity);
        let from = from.unwrap_or(&new);
        if from.rules != self.rules {
            changes.push(Made::SetRules(v1::SetRules {
                pool: self.name.clone(),
                rules: Some(self.rules.clone()),
            }));
        }
        if from.calendar != self.calendar {
            changes.push(Made::SetCalendar(v1::SetCalendar {
                pool: self.name.clone(),
                entries: self.calendar.clone(),
                since_unix_s: Timestamp::now().as_second(),
            }));
        }
        changes.into_iter().map(wire).collect()
    }

    /// The pool's fields.
    pub fn values(&self) -> Values {
        let number = |name: &str, value: u64| (name.to_owned(), Some(Value::Number(value)));
        let mut values = vec![
            number("capacity", self.capacity),
            number("ttl_ms", self.ttl_ms),
            number("drift_ppm", self.drift_ppm.into()),
        ];
        values.extend(self.values_set(&self.calendar));
        values
    }

    /// The fields that a new pool has by itself.
    pub fn values_at_first(&self) -> Values {
        Self::new(&self.name, self.capacity).values_set(&[])
    }

    fn values_set(&self, calendar: &[v1::CalendarEntry]) -> Values {
        let mut values = rules::values(&self.rules);
        values.extend(calendar.iter().map(|entry| {
            let text = format!("{}: {}", when_text(entry), what_text(entry));
            (
                format!("calendar {:?}", entry.name),
                Some(Value::Text(text)),
            )
        }));
        values
    }
}

impl Terms {
    /// Reads a region's terms; `required` where its nominal must be said.
    pub fn take(fields: &mut Fields<'_>, required: bool) -> Result<Self, String> {
        let nominal = if required {
            fields.required_number("nominal", 0..=MAX_SLOTS)?
        } else {
            fields.number("nominal", 0..=MAX_SLOTS)?.unwrap_or(0)
        };
        let ceiling = fields.number("ceiling", 0..=MAX_SLOTS)?;
        if let Some(ceiling) = ceiling.filter(|&ceiling| ceiling < nominal) {
            let expected = format!("at least the nominal of {nominal}");
            return Err(fields.refuse("ceiling", &ceiling.to_string(), &expected));
        }
        let weight = fields.number("weight", 1..=MAX_WEIGHT.into())?.unwrap_or(1);
        Ok(Self {
            nominal,
            ceiling,
            weight: u32::try_from(weight).unwrap_or(MAX_WEIGHT),
        })
    }
}

impl Region {
    fn take(pool: &str, fields: &mut Fields<'_>) -> Result<Self, String> {
        let name = fields.required_name("name")?;
        fields.name(format!("pool {pool:?}: region {name:?}"));
        let mut region = Self {
            terms: Terms::take(fields, true)?,
            zone: fields
                .parsed("zone", calendar::ZONE_EXPECTED, calendar::zone_name)?
                .unwrap_or_default(),
            floor: fields.number("floor", 0..=MAX_SLOTS)?.unwrap_or(0),
            holders: BTreeMap::new(),
            name,
        };
        for mut fields in fields.tables("holder", MAX_FLOORS)? {
            let name = fields.required_name("name")?;
            let floor = fields.required_number("floor", 1..=MAX_SLOTS)?;
            if region.holders.insert(name.clone(), floor).is_some() {
                let given = format!("{name:?} twice");
                return Err(fields.refuse("name", &given, "one holder of a name in a region"));
            }
            fields.done()?;
        }
        Ok(region)
    }

    /// A region of which nothing has been said.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            terms: Terms {
                nominal: 0,
                ceiling: None,
                weight: 1,
            },
            zone: String::new(),
            floor: 0,
            holders: BTreeMap::new(),
        }
    }

    /// Slots that its floors set aside.
    pub fn floors(&self) -> u64 {
        self.holders
            .values()
            .fold(self.floor, |sum, &floor| sum.saturating_add(floor))
    }

    /// The changes that make the region as it is here from what it is; where it is new, from nothing.
    pub fn changes(&self, pool: &str, from: Option<&Self>) -> Vec<v1::Change> {
        let mut changes = Vec::new();
        if from.map(|from| from.terms) != Some(self.terms) {
            changes.push(Made::SetRegion(v1::SetRegion {
                pool: pool.into(),
                name: self.name.clone(),
                nominal: self.terms.nominal,
                ceiling: self.terms.ceiling,
                weight: Some(self.terms.weight),
            }));
        }
        let new = Self::new(&self.name);
        let from = from.unwrap_or(&new);
        if from.zone != self.zone {
            changes.push(Made::SetZone(v1::SetZone {
                pool: pool.into(),
                region: self.name.clone(),
                zone: self.zone.clone(),
            }));
        }
        let floor = |holder: &str, slots: u64| {
            Made::SetFloor(v1::SetFloor {
                pool: pool.into(),
                region: self.name.clone(),
                holder: holder.into(),
                slots,
            })
        };
        if from.floor != self.floor {
            changes.push(floor("", self.floor));
        }
        let gone = from
            .holders
            .keys()
            .filter(|name| !self.holders.contains_key(*name));
        changes.extend(gone.map(|holder| floor(holder, 0)));
        for (holder, &slots) in &self.holders {
            if from.holders.get(holder) != Some(&slots) {
                changes.push(floor(holder, slots));
            }
        }
        changes.into_iter().map(wire).collect()
    }

    /// The region's fields.
    pub fn values(&self) -> Values {
        let number = |name: &str, value: Option<u64>| (name.to_owned(), value.map(Value::Number));
        let mut values = vec![
            number("nominal", Some(self.terms.nominal)),
            number("ceiling", self.terms.ceiling),
            number("weight", Some(self.terms.weight.into())),
        ];
        let zone = Some(self.zone.clone()).filter(|zone| !zone.is_empty());
        values.push(("zone".into(), zone.map(Value::Text)));
        values.push(number("floor", Some(self.floor).filter(|&floor| floor > 0)));
        let holders = self.holders.iter();
        values.extend(
            holders.map(|(name, &slots)| number(&format!("floor of {name:?}"), Some(slots))),
        );
        values
    }
}

impl From<&v1::Pool> for Pool {
    /// The pool as the cluster has it, without its regions.
    fn from(pool: &v1::Pool) -> Self {
        let status = pool.status.clone().unwrap_or_default();
        Self {
            name: status.name,
            capacity: status.capacity,
            ttl_ms: status.ttl_ms,
            drift_ppm: status.drift_ppm,
            rules: status.rules.map_or_else(rules::default, rules::all_said),
            regions: Vec::new(),
            calendar: pool
                .calendar
                .iter()
                .filter_map(|known| known.entry.clone())
                .collect(),
        }
    }
}

impl From<&v1::RegionStatus> for Region {
    /// The region as the cluster has it.
    fn from(status: &v1::RegionStatus) -> Self {
        let floors = status.floors.iter();
        let mut holders: BTreeMap<String, u64> = floors
            .filter(|floor| floor.slots > 0)
            .map(|floor| (floor.holder.clone(), floor.slots))
            .collect();
        Self {
            name: status.name.clone(),
            terms: Terms {
                nominal: status.nominal,
                ceiling: status.ceiling,
                weight: status.weight,
            },
            zone: status.zone.clone(),
            floor: holders.remove("").unwrap_or(0),
            holders,
        }
    }
}
