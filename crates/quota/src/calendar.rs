//! What is done at set times. The leader knows the wall clock and says when an entry is due; here each
//! occurrence has its effect once, whoever says so and however often.

use serde::{Deserialize, Serialize};

use crate::check::{self, invalid};
use crate::command::Due;
use crate::limits::{MAX_CALENDAR, MAX_ZONE_BYTES};
use crate::outcome::{DueDone, Outcome, Refusal, Reply};
use crate::rules::{Gate, Mode, check_reason};
use crate::state::State;

/// One thing that is done, once or again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarEntry {
    /// Unique in its calendar.
    pub name: String,
    /// A region, or the pool itself.
    pub region: Option<String>,
    /// When it is done.
    pub when: When,
    /// What is done.
    pub action: Action,
}

/// A time, or times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Once.
    At {
        /// Seconds since 1970 began in UTC.
        unix_s: i64,
    },
    /// On some days of each week.
    Weekly {
        /// A bit for each day, the lowest for Monday: 1 to 127.
        days: u8,
        /// The minute of the local day, 0 to 1,439.
        minute: u16,
        /// The time zone by its IANA name; else the region's, else Europe/Paris.
        zone: Option<String>,
    },
}

/// What is done. A mode set by hand that is stricter stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Sets the pool's capacity; not for a region.
    SetCapacity(u64),
    /// Opens what is closed.
    Open,
    /// Closes until an opening.
    Close {
        /// Why, for users to read.
        reason: String,
    },
    /// Pauses.
    Pause {
        /// Why, for users to read.
        reason: String,
    },
    /// Ends a pause.
    Resume,
}

/// An entry, and the last of its occurrences that took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// The entry.
    pub entry: CalendarEntry,
    /// When it was set as it is: occurrences up to this one do not count. Seconds since 1970 began in UTC.
    pub since_s: i64,
    /// Seconds since 1970 began in UTC.
    pub last_s: Option<i64>,
}

impl Action {
    /// What the action makes of a mode: another mode and why, or nothing.
    pub(crate) fn apply(&self, gate: &mut Gate, now_s: u32) {
        let stricter = |mode: Mode| mode.strictness() > gate.mode.strictness();
        match self {
            Self::Open if gate.mode == Mode::Closed => gate.set(Mode::Open, "", now_s),
            Self::Resume if gate.mode == Mode::Paused => gate.set(Mode::Open, "", now_s),
            Self::Close { reason } if stricter(Mode::Closed) => {
                gate.set(Mode::Closed, reason, now_s);
            }
            Self::Pause { reason } if stricter(Mode::Paused) => {
                gate.set(Mode::Paused, reason, now_s);
            }
            _ => {}
        }
    }
}

impl State {
    pub(crate) fn due(&mut self, due: &Due) -> Outcome {
        check::name("pool", &due.pool)?;
        check::name("entry", &due.entry)?;
        let at = self.pool_place(&due.pool)?;
        let (now_s, now_ms) = (self.now_s(), self.now_ms);
        let Some(pool) = self.pools[at as usize].as_mut() else {
            return Err(Refusal::NoSuchPool {
                pool: due.pool.clone(),
            });
        };
        let known = pool.calendar.iter_mut();
        let Some(scheduled) = known.into_iter().find(|s| s.entry.name == due.entry) else {
            return Err(Refusal::NoSuchEntry {
                pool: due.pool.clone(),
                entry: due.entry.clone(),
            });
        };
        if let When::At { unix_s } = scheduled.entry.when
            && unix_s != due.occurrence_s
        {
            let expected = format!("{unix_s}, its one occurrence");
            return Err(invalid("occurrence_s", due.occurrence_s, expected));
        }
        let applied = scheduled.last_s.is_none_or(|last| due.occurrence_s > last);
        if applied {
            scheduled.last_s = Some(due.occurrence_s);
            let CalendarEntry { region, action, .. } = scheduled.entry.clone();
            match (&action, region) {
                (Action::SetCapacity(slots), _) => pool.capacity = *slots,
                (action, None) => action.apply(&mut pool.gate, now_s),
                // A region that is gone has no mode: its entry does nothing.
                (action, Some(name)) => {
                    let region = pool.region_index.get(name.as_str()).copied();
                    if let Some(region) = region.and_then(|at| pool.regions[at as usize].as_mut()) {
                        action.apply(&mut region.gate, now_s);
                    }
                }
            }
            pool.regate();
            pool.round(now_ms);
            self.revision += 1;
        }
        Ok(Reply::Due(DueDone {
            revision: self.revision,
            applied,
        }))
    }
}

impl CalendarEntry {
    /// Whether each value may be. `field` makes a field's path of its name.
    pub(crate) fn check(&self, field: impl Fn(&str) -> String) -> Result<(), Refusal> {
        check::name(&field("name"), &self.name)?;
        if let Some(region) = &self.region {
            check::name(&field("region"), region)?;
        }
        if let When::Weekly { days, minute, zone } = &self.when {
            check::number(&field("weekly.days"), *days, &(1..=127))?;
            check::number(&field("weekly.minute"), *minute, &(0..=1_439))?;
            if let Some(zone) = zone {
                check::text(&field("weekly.zone"), zone, MAX_ZONE_BYTES)?;
            }
        }
        match (&self.action, &self.region) {
            (Action::SetCapacity(_), Some(region)) => {
                let expected = "none: a capacity is the pool's";
                Err(invalid(&field("region"), format!("{region:?}"), expected))
            }
            (Action::SetCapacity(slots), None) => check::slots(&field("set_capacity"), *slots),
            (Action::Close { reason }, _) => {
                check_reason(&field("close.reason"), Mode::Closed, reason)
            }
            (Action::Pause { reason }, _) => {
                check_reason(&field("pause.reason"), Mode::Paused, reason)
            }
            (Action::Open | Action::Resume, _) => Ok(()),
        }
    }
}

/// Whether the entries may be together.
pub(crate) fn check_entries(
    entries: &[CalendarEntry],
    field: impl Fn(&str) -> String,
) -> Result<(), Refusal> {
    if entries.len() > MAX_CALENDAR {
        let given = format!("{} entries", entries.len());
        let expected = format!("at most {MAX_CALENDAR}");
        return Err(invalid(&field("entries"), given, expected));
    }
    let mut names = std::collections::BTreeSet::new();
    for (i, entry) in entries.iter().enumerate() {
        let of = |name: &str| field(&format!("entries[{i}].{name}"));
        entry.check(of)?;
        if !names.insert(entry.name.as_str()) {
            let expected = "a name that no other entry has";
            return Err(invalid(&of("name"), format!("{:?}", entry.name), expected));
        }
    }
    Ok(())
}

/// The entries in the place of those before: one of the same name goes on from its last occurrence, and
/// one that is just as it was goes on altogether.
pub(crate) fn replaced(
    before: &[Scheduled],
    entries: &[CalendarEntry],
    since_s: i64,
) -> Vec<Scheduled> {
    let scheduled = entries.iter().map(|entry| {
        let old = before.iter().find(|old| old.entry.name == entry.name);
        Scheduled {
            since_s: match old {
                Some(old) if old.entry == *entry => old.since_s,
                _ => since_s,
            },
            last_s: old.and_then(|old| old.last_s),
            entry: entry.clone(),
        }
    });
    scheduled.collect()
}

impl Scheduled {
    /// Only occurrences after this one are to take effect: seconds since 1970 began in UTC.
    pub fn after_s(&self) -> i64 {
        self.last_s
            .map_or(self.since_s, |last| last.max(self.since_s))
    }
}
