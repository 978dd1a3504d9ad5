//! A region as a file says it: its terms, its time zone and its floors.

use std::collections::BTreeMap;

use api::v1;
use api::v1::change::Change as Made;
use quota::limits::{MAX_FLOORS, MAX_SLOTS, MAX_WEIGHT};

use super::calendar::{ZONE_EXPECTED, zone_name};
use super::{Value, Values, wire};
use crate::fields::Fields;

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
    pub fn take(pool: &str, fields: &mut Fields<'_>) -> Result<Self, String> {
        let name = fields.required_name("name")?;
        fields.name(format!("pool {pool:?}: region {name:?}"));
        let mut region = Self {
            terms: Terms::take(fields, true)?,
            zone: fields
                .parsed("zone", ZONE_EXPECTED, zone_name)?
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
