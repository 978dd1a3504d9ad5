//! Changes of the budget, as operators ask for them.

use quota::{Change, Configure, Refusal, SetPool, SetRegion};

use crate::convert::said;
use crate::status::invalid;
use crate::v1;
use crate::waiting::{entry, mode, rules};

impl TryFrom<v1::ConfigureRequest> for Configure {
    type Error = Refusal;

    /// # Errors
    /// Where one of the changes says nothing.
    fn try_from(request: v1::ConfigureRequest) -> Result<Self, Refusal> {
        let changes = request.changes.into_iter().enumerate();
        Ok(Self {
            request_id: request.request_id,
            expected_revision: Some(request.expected_revision).filter(|&revision| revision != 0),
            changes: changes
                .map(|(i, change)| self::change(i, change))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn change(i: usize, change: v1::Change) -> Result<Change, Refusal> {
    use v1::change::Change as Said;
    let Some(change) = change.change else {
        let expected = "one of set_pool, remove_pool, set_region, remove_region, set_rules, set_mode, \
                        set_capacity, set_zone, set_floor and set_calendar";
        return Err(invalid(
            &format!("changes[{i}].change"),
            "nothing",
            expected,
        ));
    };
    Ok(match change {
        Said::SetPool(set) => Change::SetPool(SetPool {
            name: set.name,
            capacity: set.capacity,
            ttl_ms: set.ttl_ms,
            drift_ppm: set.drift_ppm,
        }),
        Said::RemovePool(remove) => Change::RemovePool { name: remove.name },
        Said::SetRegion(set) => Change::SetRegion(SetRegion {
            pool: set.pool,
            name: set.name,
            nominal: set.nominal,
            ceiling: set.ceiling,
            weight: set.weight.unwrap_or(1),
        }),
        Said::RemoveRegion(remove) => Change::RemoveRegion {
            pool: remove.pool,
            name: remove.name,
        },
        Said::SetRules(set) => {
            let field = format!("changes[{i}].set_rules.rules");
            Change::SetRules {
                pool: set.pool,
                rules: rules(&field, set.rules.unwrap_or_default())?,
            }
        }
        Said::SetMode(set) => Change::SetMode {
            pool: set.pool,
            region: said(set.region),
            mode: mode(&format!("changes[{i}].set_mode.mode"), set.mode)?,
            reason: set.reason,
        },
        Said::SetCapacity(set) => Change::SetCapacity {
            pool: set.pool,
            capacity: set.capacity,
        },
        Said::SetZone(set) => Change::SetZone {
            pool: set.pool,
            region: set.region,
            zone: set.zone,
        },
        Said::SetFloor(set) => Change::SetFloor {
            pool: set.pool,
            region: set.region,
            holder: said(set.holder),
            slots: set.slots,
        },
        Said::SetCalendar(set) => {
            let entries = set.entries.into_iter().enumerate();
            let field = |n: usize| format!("changes[{i}].set_calendar.entries[{n}]");
            Change::SetCalendar {
                pool: set.pool,
                entries: entries
                    .map(|(n, said)| entry(&field(n), said))
                    .collect::<Result<_, _>>()?,
                since_s: set.since_unix_s,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use quota::RemoveHolder;

    use super::*;

    #[test]
    fn a_change_that_says_nothing_is_named() {
        let set = v1::SetPool {
            name: "ent".into(),
            capacity: 5,
            ..v1::SetPool::default()
        };
        let request = v1::ConfigureRequest {
            changes: vec![
                v1::Change {
                    change: Some(v1::change::Change::SetPool(set)),
                },
                v1::Change { change: None },
            ],
            ..v1::ConfigureRequest::default()
        };
        let refusal = Configure::try_from(request).expect_err("nothing is no change");
        assert_eq!(
            refusal.to_string(),
            "changes[1].change: nothing given, expected one of set_pool, remove_pool, set_region, \
             remove_region, set_rules, set_mode, set_capacity, set_zone, set_floor and set_calendar"
        );
    }

    #[test]
    fn what_is_not_said_takes_its_default() {
        let set = v1::SetRegion {
            pool: "ent".into(),
            name: "normandie".into(),
            ..v1::SetRegion::default()
        };
        let request = v1::ConfigureRequest {
            changes: vec![v1::Change {
                change: Some(v1::change::Change::SetRegion(set)),
            }],
            expected_revision: 0,
            request_id: "r".into(),
        };
        let configure = Configure::try_from(request).expect("all is said");
        assert_eq!(configure.expected_revision, None);
        let Change::SetRegion(set) = &configure.changes[0] else {
            panic!("another change: {configure:?}");
        };
        assert_eq!((set.weight, set.ceiling, set.nominal), (1, None, 0));
        let remove = RemoveHolder::from(v1::RemoveHolderRequest::default());
        assert_eq!(remove.pool, None);
    }
}
