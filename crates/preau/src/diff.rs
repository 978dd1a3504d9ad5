//! What stands between the budget as it is and as a file says it.

use std::collections::{BTreeMap, BTreeSet};

use api::v1;
use quota::limits::MAX_CHANGES;
use serde::Serialize;

use crate::budget::{Budget, Pool, Region, Value, Values, in_order};
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
    wire: Vec<v1::Change>,
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
    field: String,
    from: Option<Value>,
    to: Option<Value>,
}

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
        let changes = diff.changes.iter().map(|step| step.wire.len());
        let changes: usize = changes.sum();
        if changes > MAX_CHANGES {
            return Err(Failure::usage(format!(
                "the file asks for {} changes; the most at a time is {}: apply it in parts",
                thousands(changes as u64),
                thousands(MAX_CHANGES as u64)
            )));
        }
        Ok(diff)
    }

    fn pool(&mut self, found: Option<&v1::Pool>, to: &Pool, prune: bool) -> Result<(), Failure> {
        let from = found.map(Pool::from);
        self.step(
            Place::pool(&to.name),
            from.as_ref().map(Pool::values),
            to.values_at_first(),
            to.values(),
            to.changes(from.as_ref()),
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
            let wire = region.changes(&to.name, from.as_ref());
            let from = from.as_ref().map(Region::values);
            self.step(place, from, Values::new(), region.values(), wire);
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
        let nominals = left + to.regions.iter().map(|r| r.terms.nominal).sum::<u64>();
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

    /// A pool or region that becomes `to`, by the changes in `wire`. What is new begins with what it has
    /// `at_first`.
    fn step(
        &mut self,
        place: Place,
        from: Option<Values>,
        at_first: Values,
        to: Values,
        wire: Vec<v1::Change>,
    ) {
        let new = from.is_none();
        let mut before: BTreeMap<String, Option<Value>> =
            from.unwrap_or(at_first).into_iter().collect();
        let mut fields: Vec<Field> = to
            .into_iter()
            .map(|(field, to)| Field {
                from: before.remove(&field).flatten(),
                field,
                to,
            })
            .collect();
        fields.extend(before.into_iter().map(|(field, from)| Field {
            field,
            from,
            to: None,
        }));
        fields.retain(|field| field.from != field.to);
        let action = match (new, wire.is_empty()) {
            (true, _) => Action::Add,
            (false, false) => Action::Change,
            (false, true) => return,
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
            wire: vec![v1::Change {
                change: Some(change),
            }],
        });
        Ok(())
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes as a call makes them.
    pub fn wire(&self) -> Vec<v1::Change> {
        let steps = self.changes.iter();
        in_order(steps.flat_map(|step| step.wire.clone()).collect())
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
        let shown = |value: &Option<Value>| match value {
            Some(Value::Number(number)) => thousands(*number),
            Some(Value::Text(text)) => text.clone(),
            None => "none".into(),
        };
        let field = |f: &Field| match self.action {
            Action::Change => format!("{} {} -> {}", f.field, shown(&f.from), shown(&f.to)),
            _ => format!("{} {}", f.field, shown(&f.to)),
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
