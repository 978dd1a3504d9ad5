//! What calendars say, proposed when it is due by the leader's wall clock. The state remembers each entry's
//! last occurrence, so that it does no harm where two nodes think that they lead, or a clock jumps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::v1;
use quota::{Command, Due, EntryView, State, When};

use crate::calendar::{DEFAULT_ZONE, Rule, zone};
use crate::core::Core;
use crate::propose::ProposeError;

/// How often a leader looks at its clock.
const LOOK: Duration = Duration::from_millis(250);

/// This machine's wall clock, in seconds since 1970.
pub(crate) fn wall_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Proposes what is due, whenever this node leads, until it stops.
pub(crate) async fn drive(core: Core) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen: Option<Look> = None;
    loop {
        look.tick().await;
        if !core.leader().is_some_and(|leader| leader.is_me) {
            seen = None;
            continue;
        }
        let now_s = wall_s();
        let revision = core.with_state(State::revision);
        if seen
            .as_ref()
            .is_some_and(|seen| seen.holds(revision, now_s))
        {
            continue;
        }
        let (due, next) = core.with_state(|state| look_up(state, now_s));
        let mut done = true;
        for due in due {
            match core.propose(Command::Due(due.clone())).await {
                Ok(Ok(_)) => tracing::info!(?due, "a calendar entry took effect"),
                // It has changed, or its pool, since it was looked up.
                Ok(Err(refusal)) => tracing::warn!(?due, %refusal, "a calendar entry was refused"),
                Err(ProposeError::Stopped(_)) => return,
                Err(error) => {
                    tracing::warn!(?due, %error, "a calendar entry is proposed again");
                    done = false;
                    break;
                }
            }
        }
        seen = done.then_some(Look {
            revision,
            now_s,
            next,
        });
    }
}

/// What was seen: it holds until an entry is due, the budget changes or the clock goes back.
struct Look {
    revision: u64,
    now_s: i64,
    next: Option<i64>,
}

impl Look {
    fn holds(&self, revision: u64, now_s: i64) -> bool {
        self.revision == revision
            && self.now_s <= now_s
            && self.next.is_none_or(|next| now_s < next)
    }
}

/// What is due, in the order in which it came to be, and when the next will be.
fn look_up(state: &State, now_s: i64) -> (Vec<Due>, Option<i64>) {
    let (mut due, mut next) = (Vec::new(), None::<i64>);
    for entry in state.calendars() {
        let Some(rule) = rule(&entry) else {
            continue;
        };
        if let Some(occurrence_s) = rule.due(Some(entry.scheduled.after_s()), now_s) {
            due.push(Due {
                pool: entry.pool.into(),
                entry: entry.scheduled.entry.name.clone(),
                occurrence_s,
            });
        }
        let then = rule.next(now_s);
        next = next.map_or(then, |next| Some(then.map_or(next, |then| then.min(next))));
    }
    due.sort_by_key(|due| due.occurrence_s);
    (due, next)
}

/// The zone that an entry goes by.
fn zone_name<'a>(entry: &EntryView<'a>) -> &'a str {
    let own = match &entry.scheduled.entry.when {
        When::Weekly { zone, .. } => zone.as_deref(),
        When::At { .. } => None,
    };
    own.or(entry.zone).unwrap_or(DEFAULT_ZONE)
}

/// When an entry takes effect; `None` where this version does not know its zone, which one that set it did.
fn rule(entry: &EntryView<'_>) -> Option<Rule> {
    Some(match &entry.scheduled.entry.when {
        When::At { unix_s } => Rule::At(*unix_s),
        When::Weekly { days, minute, .. } => Rule::Weekly {
            days: *days,
            minute: *minute,
            zone: zone(zone_name(entry))?,
        },
    })
}

/// How an entry stands by this machine's clock.
pub(crate) fn status(entry: &EntryView<'_>, now_s: i64) -> v1::CalendarStatus {
    let after_s = entry.scheduled.after_s().max(now_s);
    v1::CalendarStatus {
        entry: Some(entry.scheduled.entry.clone().into()),
        last_unix_s: entry.scheduled.last_s,
        next_unix_s: rule(entry).and_then(|rule| rule.next(after_s)),
        zone: zone_name(entry).into(),
    }
}

#[cfg(test)]
mod tests {
    use quota::{Action, Batch, CalendarEntry, Change, Configure, SetPool, SetRegion};

    use super::*;

    const NOW: i64 = 1_800_000_000; // Friday 15 January 2027, 08:00 in UTC

    fn entry(name: &str, region: Option<&str>, when: When, action: Action) -> CalendarEntry {
        CalendarEntry {
            name: name.into(),
            region: region.map(Into::into),
            when,
            action,
        }
    }

    fn at(unix_s: i64) -> When {
        When::At { unix_s }
    }

    fn weekly(hour: u16, zone: Option<&str>) -> When {
        When::Weekly {
            days: 127,
            minute: hour * 60,
            zone: zone.map(Into::into),
        }
    }

    fn state(entries: Vec<CalendarEntry>, since_s: i64) -> State {
        let pool = || "ent".to_owned();
        let changes = vec![
            Change::SetPool(SetPool {
                name: pool(),
                capacity: 100,
                ttl_ms: None,
                drift_ppm: None,
            }),
            Change::SetRegion(SetRegion {
                pool: pool(),
                name: "la-reunion".into(),
                nominal: 0,
                ceiling: None,
                weight: 1,
            }),
            Change::SetZone {
                pool: pool(),
                region: "la-reunion".into(),
                zone: "Indian/Reunion".into(),
            },
            Change::SetCalendar {
                pool: pool(),
                entries,
                since_s,
            },
        ];
        let mut state = State::default();
        propose(
            &mut state,
            Command::Configure(Configure {
                request_id: "r".into(),
                expected_revision: None,
                changes,
            }),
        );
        state
    }

    fn propose(state: &mut State, command: Command) {
        let batch = Batch {
            time_ms: 1_000,
            commands: vec![command],
        };
        let outcome = state.apply(&batch).pop();
        assert!(matches!(outcome, Some(Ok(_))), "{outcome:?}");
    }

    #[test]
    fn what_was_missed_comes_in_its_order_and_once() {
        let pause = Action::Pause {
            reason: "repairs".into(),
        };
        let entries = vec![
            entry("a", None, at(NOW - 10), Action::Resume),
            entry("b", None, at(NOW - 20), pause),
            entry("c", None, at(NOW + 30), Action::SetCapacity(50)),
            entry("d", None, at(NOW - 100), Action::SetCapacity(60)),
        ];
        let mut state = state(entries, NOW - 50);
        let (due, next) = look_up(&state, NOW);
        let names: Vec<_> = due.iter().map(|due| due.entry.as_str()).collect();
        // The last was over before the calendar was set.
        assert_eq!((names, next), (vec!["b", "a"], Some(NOW + 30)));
        for due in due {
            propose(&mut state, Command::Due(due));
        }
        assert_eq!(look_up(&state, NOW), (Vec::new(), Some(NOW + 30)));
        assert_eq!(
            look_up(&state, NOW - 15).0,
            Vec::new(),
            "a clock that goes back"
        );
        let capacity = |state: &State| state.pool("ent").map(|pool| pool.capacity);
        assert_eq!(capacity(&state), Some(100));
        for due in look_up(&state, NOW + 31).0 {
            propose(&mut state, Command::Due(due));
        }
        assert_eq!(capacity(&state), Some(50));
        assert_eq!(look_up(&state, NOW + 31), (Vec::new(), None));
    }

    #[test]
    fn an_entry_goes_by_its_own_zone_its_regions_or_that_of_paris() {
        let entries = vec![
            entry(
                "own",
                Some("la-reunion"),
                weekly(9, Some("UTC")),
                Action::Open,
            ),
            entry("region", Some("la-reunion"), weekly(9, None), Action::Open),
            entry("pool", None, weekly(9, None), Action::Open),
            entry("gone", Some("gone"), weekly(9, None), Action::Open),
        ];
        let state = state(entries, 0);
        // At 08:00 in UTC it is 09:00 in Paris and 12:00 in La Réunion.
        let statuses: Vec<_> = state
            .calendar("ent")
            .iter()
            .map(|entry| status(entry, NOW))
            .map(|status| (status.zone, status.next_unix_s.map(|at| at - NOW)))
            .collect();
        let day = 86_400;
        assert_eq!(
            statuses,
            [
                ("UTC".to_owned(), Some(3_600)),
                ("Indian/Reunion".to_owned(), Some(day - 3 * 3_600)),
                ("Europe/Paris".to_owned(), Some(day)),
                ("Europe/Paris".to_owned(), Some(day)),
            ]
        );
    }

    #[test]
    fn a_look_holds_until_something_may_have_changed() {
        let look = Look {
            revision: 4,
            now_s: 100,
            next: Some(110),
        };
        assert!(look.holds(4, 100) && look.holds(4, 109));
        assert!(!look.holds(4, 110), "an entry is due");
        assert!(!look.holds(5, 105), "the budget has changed");
        assert!(!look.holds(4, 99), "the clock went back");
    }
}
