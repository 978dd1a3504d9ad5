//! The budget as a file says it: pools and their regions.

use std::collections::HashSet;

use api::v1;
use quota::limits::{
    DEFAULT_DRIFT_PPM, DEFAULT_TTL_MS, DRIFT_PPM, MAX_POOLS, MAX_REGIONS_PER_POOL, MAX_SLOTS,
    MAX_WEIGHT, TTL_MS,
};

use crate::failure::Failure;
use crate::fields::{self, Fields};

/// What the budget is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// In the order of the file.
    pub pools: Vec<Pool>,
}

/// A pool, all of it: what the file does not say has its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub name: String,
    pub capacity: u64,
    pub ttl_ms: u64,
    pub drift_ppm: u32,
    /// In the order of the file.
    pub regions: Vec<Region>,
}

/// A region, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    pub name: String,
    pub nominal: u64,
    pub ceiling: Option<u64>,
    pub weight: u32,
}

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
        pools
            .flat_map(|pool| {
                let regions = pool.regions.iter().map(|region| region.change(&pool.name));
                std::iter::once(pool.change()).chain(regions)
            })
            .collect()
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
            regions: Vec::new(),
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
        let nominals: u64 = pool.regions.iter().map(|region| region.nominal).sum();
        if nominals > pool.capacity {
            let expected =
                format!("at least {nominals}, which the nominals of its regions add up to");
            return Err(fields.refuse("capacity", &pool.capacity.to_string(), &expected));
        }
        Ok(pool)
    }

    /// The change that makes the pool as it is here, without its regions.
    pub fn change(&self) -> v1::Change {
        let set = v1::SetPool {
            name: self.name.clone(),
            capacity: self.capacity,
            ttl_ms: Some(self.ttl_ms),
            drift_ppm: Some(self.drift_ppm),
        };
        v1::Change {
            change: Some(v1::change::Change::SetPool(set)),
        }
    }
}

impl Region {
    fn take(pool: &str, fields: &mut Fields<'_>) -> Result<Self, String> {
        let name = fields.required_name("name")?;
        fields.name(format!("pool {pool:?}: region {name:?}"));
        let nominal = fields.required_number("nominal", 0..=MAX_SLOTS)?;
        let ceiling = fields.number("ceiling", 0..=MAX_SLOTS)?;
        if let Some(ceiling) = ceiling.filter(|&ceiling| ceiling < nominal) {
            let expected = format!("at least the nominal of {nominal}");
            return Err(fields.refuse("ceiling", &ceiling.to_string(), &expected));
        }
        let weight = fields.number("weight", 1..=MAX_WEIGHT.into())?.unwrap_or(1);
        Ok(Self {
            name,
            nominal,
            ceiling,
            weight: u32::try_from(weight).unwrap_or(MAX_WEIGHT),
        })
    }

    /// The change that makes the region as it is here.
    pub fn change(&self, pool: &str) -> v1::Change {
        let set = v1::SetRegion {
            pool: pool.into(),
            name: self.name.clone(),
            nominal: self.nominal,
            ceiling: self.ceiling,
            weight: Some(self.weight),
        };
        v1::Change {
            change: Some(v1::change::Change::SetRegion(set)),
        }
    }
}

impl From<&v1::PoolStatus> for Pool {
    /// The pool as the cluster has it, without its regions.
    fn from(status: &v1::PoolStatus) -> Self {
        Self {
            name: status.name.clone(),
            capacity: status.capacity,
            ttl_ms: status.ttl_ms,
            drift_ppm: status.drift_ppm,
            regions: Vec::new(),
        }
    }
}

impl From<&v1::RegionStatus> for Region {
    /// The region as the cluster has it.
    fn from(status: &v1::RegionStatus) -> Self {
        Self {
            name: status.name.clone(),
            nominal: status.nominal,
            ceiling: status.ceiling,
            weight: status.weight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRANCE: &str = include_str!("../../../deploy/france.toml");
    const REGIONS: &str = include_str!("../../../deploy/data/regions.csv");
    const GUARANTEED: u64 = 3_000_000;

    #[test]
    fn france_follows_its_data() {
        let budget = Budget::parse(FRANCE).unwrap();
        let [pool] = budget.pools.as_slice() else {
            panic!("one pool expected");
        };
        assert_eq!((pool.name.as_str(), pool.capacity), ("ent", 4_000_000));
        let rows: Vec<Vec<&str>> = REGIONS
            .lines()
            .skip(1)
            .map(|line| line.split(',').collect())
            .collect();
        assert_eq!((rows.len(), pool.regions.len()), (18, 18));
        let population = |row: &[&str]| row[3].parse::<u64>().unwrap();
        let all: u64 = rows.iter().map(|row| population(row)).sum();

        // Largest remainder, then by name.
        let mut due: Vec<(u64, u64, &str)> = rows
            .iter()
            .map(|row| {
                let due = GUARANTEED * population(row);
                (due / all, due % all, row[1])
            })
            .collect();
        let left = GUARANTEED - due.iter().map(|(whole, ..)| whole).sum::<u64>();
        due.sort_by(|a, b| b.1.cmp(&a.1).then(a.2.cmp(b.2)));
        for (whole, ..) in due.iter_mut().take(usize::try_from(left).unwrap()) {
            *whole += 1;
        }
        for (row, region) in rows.iter().zip(&pool.regions) {
            let (nominal, ..) = due.iter().find(|(_, _, name)| *name == row[1]).unwrap();
            let expected = Region {
                name: row[1].into(),
                nominal: *nominal,
                ceiling: None,
                weight: u32::try_from((population(row) + 500) / 1_000).unwrap(),
            };
            assert_eq!(*region, expected);
        }
        let nominals: u64 = pool.regions.iter().map(|region| region.nominal).sum();
        assert_eq!(nominals, GUARANTEED);
    }

    #[test]
    fn each_refusal_names_pool_region_and_field() {
        let pool = |more: &str| format!("[[pool]]\nname = \"p\"\ncapacity = 10\n{more}");
        let region = |more: &str| pool(&format!("[[pool.region]]\nname = \"a\"\n{more}"));
        let cases = [
            (
                "pools = 1".to_owned(),
                "line 1: pools: unknown field; expected one of pool",
            ),
            (
                "[pool]".into(),
                "pool: a table given, expected [[pool]] tables",
            ),
            ("[[pool]]".into(), "pool 1: name: nothing given"),
            (
                "[[pool]]\nname = \"p\"".into(),
                "pool \"p\": capacity: nothing given",
            ),
            (
                pool("ttl_ms = 999"),
                "line 4: pool \"p\": ttl_ms: 999 given, expected a whole number, 1000 to 3600000",
            ),
            (
                pool("drift_ppm = 200001"),
                "pool \"p\": drift_ppm: 200001 given",
            ),
            (
                pool("nominal = 1"),
                "line 4: pool \"p\": nominal: unknown field",
            ),
            (
                pool("[[pool]]\nname = \"p\"\ncapacity = 1"),
                "pool \"p\": name: \"p\" twice given",
            ),
            (
                pool("[[pool.region]]\nnominal = 1"),
                "pool \"p\": region 1: name: nothing given",
            ),
            (
                region(""),
                "pool \"p\": region \"a\": nominal: nothing given",
            ),
            (
                region("nominal = -1"),
                "line 6: pool \"p\": region \"a\": nominal: -1 given",
            ),
            (
                region("nominal = 3\nceiling = 2"),
                "pool \"p\": region \"a\": ceiling: 2 given, expected at least the nominal of 3",
            ),
            (
                region("nominal = 3\nweight = 0"),
                "pool \"p\": region \"a\": weight: 0 given, expected a whole number, 1 to 1000000",
            ),
            (
                region("nominal = 3\nwait = 0"),
                "pool \"p\": region \"a\": wait: unknown field",
            ),
            (
                region("nominal = 11"),
                "pool \"p\": capacity: 10 given, expected at least 11, which the nominals of its regions add up to",
            ),
            (
                region("nominal = 1\n[[pool.region]]\nname = \"a\"\nnominal = 1"),
                "pool \"p\": region \"a\": name: \"a\" twice given, expected one region of a name in a pool",
            ),
        ];
        for (text, expected) in cases {
            let why = Budget::parse(&text).unwrap_err();
            assert!(
                why.contains(expected),
                "{text}\n{why}\nexpected: {expected}"
            );
        }
    }
}
