//! The budget as a file says it: pools and their regions, their rules and their calendar.

mod calendar;
mod region;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use api::v1;
use api::v1::change::Change as Made;
use jiff::Timestamp;
use quota::limits::{
    DEFAULT_DRIFT_PPM, DEFAULT_TTL_MS, DRIFT_PPM, MAX_POOLS, MAX_REGIONS_PER_POOL, MAX_SLOTS,
    TTL_MS,
};

pub use calendar::{next_text, what_text, when_text};
pub use region::{Region, Terms};
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
