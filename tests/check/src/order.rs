//! The order of seating: inside a region and class, nobody is seated while somebody waits who came in an earlier
//! second.
//!
//! Front-ends report once a second, so the order holds to a slack: whoever is passed has waited for longer than
//! it before, and waits for longer than it afterwards.

use std::collections::BTreeMap;

use crate::history::{Record, Waits};
use crate::verdict::{Rule, Violation, violation};

/// Checks it, with so much slack.
pub fn check(history: &[Record], slack_ns: u64) -> Vec<Violation> {
    let mut served: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
    let mut lines: BTreeMap<(&str, &str, &str), Vec<&Waits>> = BTreeMap::new();
    for record in history {
        match record {
            Record::Served(user) => {
                served.insert(user.user, (user.at_ns, user.seated));
            }
            Record::Waits(user) => {
                let line = (
                    user.pool.as_str(),
                    user.region.as_str(),
                    user.class.as_str(),
                );
                lines.entry(line).or_default().push(user);
            }
            _ => {}
        }
    }
    let lines = lines.into_values();
    lines
        .filter_map(|line| check_line(&line, &served, slack_ns))
        .collect()
}

enum Event<'a> {
    /// From now on this user must not be passed.
    Waits(&'a Waits),
    /// This user may be passed again.
    Leaves(&'a Waits),
    Seated(&'a Waits),
}

fn check_line(
    line: &[&Waits],
    served: &BTreeMap<u64, (u64, bool)>,
    slack_ns: u64,
) -> Option<Violation> {
    let mut events: Vec<(u64, Event<'_>)> = Vec::new();
    for &user in line {
        let (until, seated) = served.get(&user.user).copied().unwrap_or((u64::MAX, false));
        let firm = user.at_ns.saturating_add(slack_ns);
        let leaves = until.saturating_sub(slack_ns);
        if firm < leaves {
            events.push((firm, Event::Waits(user)));
            events.push((leaves, Event::Leaves(user)));
        }
        if seated {
            events.push((until, Event::Seated(user)));
        }
    }
    events.sort_by_key(|(at, event)| {
        let last = !matches!(event, Event::Leaves(_));
        (*at, last)
    });
    let mut waiting: BTreeMap<(u32, u64), &Waits> = BTreeMap::new();
    for (at, event) in events {
        match event {
            Event::Waits(user) => {
                waiting.insert((user.second, user.user), user);
            }
            Event::Leaves(user) => {
                waiting.remove(&(user.second, user.user));
            }
            Event::Seated(user) => {
                let (_, first) = waiting.first_key_value()?;
                if first.second < user.second {
                    let what = format!(
                        "user {} of second {} was seated at {:?}, before user {} of second {} who \
                         waits at {:?} (pool {:?}, region {:?}, class {:?})",
                        user.user,
                        user.second,
                        user.holder,
                        first.user,
                        first.second,
                        first.holder,
                        user.pool,
                        user.region,
                        user.class
                    );
                    return Some(violation(Rule::Order, at, what));
                }
            }
        }
    }
    None
}
