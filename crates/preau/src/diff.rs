//! What stands between the budget as it is and as a file says it.

use std::collections::{BTreeMap, BTreeSet};

use api::v1;
use quota::limits::MAX_CHANGES;
use serde::Serialize;

use crate::budget::{Budget, Pool, Region};
use crate::failure::Failure;
use crate::output::thousands;

/// What stands between the budget as it is and as a file says it.
#[derive(Debug, Serialize)]
pub struct Diff {
    changes: Vec<Step>,
    /// What is there and the file does not name.
    left_alone: Vec<Place>,
}

/// A pool, or a region of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Place {
    pool: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
}

/// One change.
#[derive(Debug, Serialize)]
struct Step {
    action: Action,
    #[serde(flatten)]
    place: Place,
    /// Those that change; all of what is new.
    fields: Vec<Field>,
    #[serde(skip)]
    wire: v1::Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Add,
    Change,
    Remove,
}

/// A field that changes, with `None` where there is no such value: of what is new, or no ceiling.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Field {
    field: &'static str,
    from: Option<u64>,
    to: Option<u64>,
}

type Values = [(&'static str, Option<u64>); 3];

impl Diff {
    /// The difference. What `file` does not name is removed where `prune`, and left alone otherwise.
    ///
    /// # Errors
    /// Where the cluster would refuse what it comes to.
    pub fn between(now: &[v1::Pool], file: &Budget, prune: bool) -> Result<Self, Failure> {
        let mut diff = Self {
            changes: Vec::new(),
            left_alone: Vec::new(),
        };
        let status = |pool: &v1::Pool| pool.status.clone().unwrap_or_default();
        for pool in &file.pools {
            let found = now.iter().find(|found| status(found).name == pool.name);
            diff.pool(found, pool, prune)?;
        }
        let named: BTreeSet<&str> = file.pools.iter().map(|pool| pool.name.as_str()).collect();
        for pool in now
            .iter()
            .map(status)
            .filter(|pool| !named.contains(pool.name.as_str()))
        {
            let place = Place::pool(&pool.name);
            diff.unnamed(place, pool.held, prune, "capacity and nominals")?;
        }
        if diff.changes.len() > MAX_CHANGES {
            return Err(Failure::usage(format!(
                "the file asks for {} changes; the most at a time is {}: apply it in parts",
                thousands(diff.changes.len() as u64),
                thousands(MAX_CHANGES as u64)
            )));
        }
        Ok(diff)
    }

    fn pool(&mut self, found: Option<&v1::Pool>, to: &Pool, prune: bool) -> Result<(), Failure> {
        let from = found
            .and_then(|found| found.status.as_ref())
            .map(Pool::from);
        let place = Place::pool(&to.name);
        self.step(
            place,
            from.as_ref().map(Pool::values),
            to.values(),
            to.change(),
        );
        let regions: BTreeMap<&str, &v1::RegionStatus> = found
            .iter()
            .flat_map(|found| &found.regions)
            .map(|region| (region.name.as_str(), region))
            .collect();
        for region in &to.regions {
            let from = regions
                .get(region.name.as_str())
                .map(|found| Region::from(*found));
            let place = Place::region(&to.name, &region.name);
            let from = from.as_ref().map(Region::values);
            self.step(place, from, region.values(), region.change(&to.name));
        }
        let named: BTreeSet<&str> = to.regions.iter().map(|r| r.name.as_str()).collect();
        let mut left = 0;
        for region in regions
            .into_values()
            .filter(|r| !named.contains(r.name.as_str()))
        {
            left += region.nominal;
            let place = Place::region(&to.name, &region.name);
            self.unnamed(place, region.held, prune, "nominal and ceiling")?;
        }
        let nominals = left + to.regions.iter().map(|region| region.nominal).sum::<u64>();
        if !prune && nominals > to.capacity {
            return Err(Failure::operation(format!(
                "pool {:?}: capacity: {} given, expected at least {nominals}, which the nominals of the \
                 file's regions and of those that it does not name ({left}) add up to\nname them in \
                 the file, or remove them with --prune",
                to.name, to.capacity
            )));
        }
        Ok(())
    }

    fn step(&mut self, place: Place, from: Option<Values>, to: Values, wire: v1::Change) {
        let fields: Vec<Field> = to
            .into_iter()
            .enumerate()
            .map(|(i, (field, to))| Field {
                field,
                from: from.and_then(|from| from[i].1),
                to,
            })
            .filter(|field| field.from != field.to)
            .collect();
        let action = match (from, fields.is_empty()) {
            (None, _) => Action::Add,
            (Some(_), false) => Action::Change,
            (Some(_), true) => return,
        };
        self.changes.push(Step {
            action,
            place,
            fields,
            wire,
        });
    }

    /// What is there and the file does not name.
    fn unnamed(
        &mut self,
        place: Place,
        held: u64,
        prune: bool,
        lower: &str,
    ) -> Result<(), Failure> {
        if !prune {
            self.left_alone.push(place);
            return Ok(());
        }
        if held > 0 {
            return Err(Failure::operation(format!(
                "{place} has {} slots out and can't be removed; set its {lower} to 0, wait until they \
                 have drained, then apply again",
                thousands(held)
            )));
        }
        let change = match place.region.clone() {
            Some(name) => v1::change::Change::RemoveRegion(v1::RemoveRegion {
                pool: place.pool.clone(),
                name,
            }),
            None => v1::change::Change::RemovePool(v1::RemovePool {
                name: place.pool.clone(),
            }),
        };
        self.changes.push(Step {
            action: Action::Remove,
            place,
            fields: Vec::new(),
            wire: v1::Change {
                change: Some(change),
            },
        });
        Ok(())
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes as a call makes them.
    pub fn wire(&self) -> Vec<v1::Change> {
        self.changes.iter().map(|step| step.wire.clone()).collect()
    }

    /// In lines: `+` for what is added, `~` for what changes, `-` for what is removed.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = self.changes.iter().map(Step::text).collect();
        if !self.left_alone.is_empty() {
            let left: Vec<_> = self.left_alone.iter().map(Place::to_string).collect();
            lines.push(format!(
                "not in the file, and left alone (--prune removes them): {}",
                left.join(", ")
            ));
        }
        lines.join("\n")
    }
}

impl Step {
    fn text(&self) -> String {
        let sign = match self.action {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        let shown = |value: Option<u64>| value.map_or("none".into(), thousands);
        let field = |f: &Field| match self.action {
            Action::Change => format!("{} {} -> {}", f.field, shown(f.from), shown(f.to)),
            _ => format!("{} {}", f.field, shown(f.to)),
        };
        let fields: Vec<_> = self.fields.iter().map(field).collect();
        let colon = if fields.is_empty() { "" } else { ": " };
        format!("{sign} {}{colon}{}", self.place, fields.join(", "))
    }
}

impl Place {
    fn pool(pool: &str) -> Self {
        Self {
            pool: pool.into(),
            region: None,
        }
    }

    fn region(pool: &str, region: &str) -> Self {
        Self {
            pool: pool.into(),
            region: Some(region.into()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.region {
            Some(region) => write!(f, "region {region:?} of pool {:?}", self.pool),
            None => write!(f, "pool {:?}", self.pool),
        }
    }
}

impl Pool {
    fn values(&self) -> Values {
        [
            ("capacity", Some(self.capacity)),
            ("ttl_ms", Some(self.ttl_ms)),
            ("drift_ppm", Some(self.drift_ppm.into())),
        ]
    }
}

impl Region {
    fn values(&self) -> Values {
        [
            ("nominal", Some(self.nominal)),
            ("ceiling", self.ceiling),
            ("weight", Some(self.weight.into())),
        ]
    }
}
