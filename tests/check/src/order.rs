//! The order of seating: inside a region and class, nobody is seated while somebody waits who came in an earlier
//! second.
//!
//! What is promised is that of front-ends that are in touch with the cluster. One that can't say who waits there,
//! or hear who is next, is not waited for; and who comes to a front-end with an old ticket is not known before it
//! has reported. So whoever is passed must have waited for longer than a slack, and both front-ends have been in
//! touch for as long: then the cluster knew of both users when it decided, and each front-end had time to hear of
//! its own before the first of them was seated. Whoever comes to a front-end with an older ticket takes a slot that
//! was meant for another, and so on down the line: those behind wait as if they had just come. So do all when a
//! front-end is back in touch where somebody waits who came no later.
//!
//! From there on the turns of two seconds are as exact as the front-ends' idea of the time: [`SHARPNESS_NS`], and as
//! much as the quickest of the last few answers to a front-end was slow, with how clocks have drifted since. There
//! are two cases in which somebody may wait until the front-end has heard once more, [`TOUCH_NS`]. One is after a
//! change of leader: cluster time stood still meanwhile, and not all know that yet. The other is among those whose
//! seconds had their turn before, as they came with older tickets or found no slot: a slot is kept for each, and who
//! hears of it is seated. So may anybody's be who has seen a front-end of the region lose touch: what it did not hear
//! has moved the turns on.
//!
//! A front-end is in touch while its reports are answered as often as they should be, once a second: after an answer
//! without a next one it may stand still. Answers show as uses whose end moves on; one that no use tells of is taken
//! to be in touch.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Record, Use, Waits};
use crate::verdict::{Rule, Violation, violation};

/// The longest time between two answers to a front-end that is in touch: the second between two reports, and the
/// way there and back. Those who are admitted have their turn a second and a half after that is decided, so that
/// no front-end in touch hears of it too late.
const TOUCH_NS: u64 = 1_250_000_000;
/// How exactly front-ends seat users at the time that was decided, and tell of it.
const SHARPNESS_NS: u64 = 100_000_000;

/// By how many of its last answers a front-end goes, the quickest of which tells the time.
const ANSWERS: usize = 8;
/// Clocks part by up to one part of so many.
const DRIFT: u64 = 50;

/// Checks it, with so much slack.
pub fn check(history: &[Record], slack_ns: u64) -> Vec<Violation> {
    let lines = judged(history, slack_ns).into_iter();
    lines.filter_map(|line| line.passed).collect()
}

/// How many users were seated while others waited who could have been passed.
pub fn seated_in_order(history: &[Record], slack_ns: u64) -> u64 {
    let lines = judged(history, slack_ns).into_iter();
    lines.map(|line| line.seated).sum()
}

/// What is seen in a line up to the first who is passed.
#[derive(Default)]
struct Judged {
    seated: u64,
    passed: Option<Violation>,
}

fn judged(history: &[Record], slack_ns: u64) -> Vec<Judged> {
    let mut served: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
    let mut lines: BTreeMap<(&str, &str, &str), Vec<&Waits>> = BTreeMap::new();
    let mut uses: BTreeMap<(&str, &str), Vec<&Use>> = BTreeMap::new();
    let mut leads: Vec<u64> = Vec::new();
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
            Record::Use(using) => {
                let holder = (using.pool.as_str(), using.holder.as_str());
                uses.entry(holder).or_default().push(using);
            }
            Record::Leads(leader) => leads.push(leader.at_ns),
            _ => {}
        }
    }
    leads.sort_unstable();
    uses.values_mut()
        .for_each(|uses| uses.sort_by_key(|using| using.at_ns));
    let of_each = || uses.iter().map(|(&holder, uses)| (holder, &uses[..]));
    let all = Lines {
        served,
        touch: of_each()
            .map(|(h, uses)| (h, firm(uses, slack_ns)))
            .collect(),
        answers: of_each().map(|(h, uses)| (h, answers(uses))).collect(),
        leads,
        slack_ns,
    };
    let lines = lines.into_values();
    lines.map(|users| all.check(&users)).collect()
}

/// From when to when a front-end was in touch, the first answer to the last, without the slack at the beginning of
/// each time: the beginning may come after the end.
fn firm(uses: &[&Use], slack_ns: u64) -> Vec<(u64, u64)> {
    let mut firm: Vec<(u64, u64)> = Vec::new();
    let mut until_ns = 0;
    for using in uses {
        if using.until_ns <= using.at_ns {
            // It has ended, or its lease has.
            until_ns = 0;
            continue;
        }
        if using.until_ns > until_ns {
            let goes_on = until_ns > 0;
            until_ns = using.until_ns;
            let last = firm.last_mut();
            match last.filter(|last| goes_on && last.1 + TOUCH_NS >= using.at_ns) {
                Some(last) => last.1 = using.at_ns,
                None => firm.push((using.at_ns.saturating_add(slack_ns), using.at_ns)),
            }
        }
    }
    firm
}

/// When a front-end was answered, and by how much slower than ever.
fn answers(uses: &[&Use]) -> Vec<(u64, u64)> {
    let mut until_ns = 0;
    let answers = uses.iter().filter(|using| {
        let last_ns = std::mem::replace(&mut until_ns, using.until_ns);
        using.until_ns > last_ns.max(using.at_ns)
    });
    let left: Vec<_> = answers
        .map(|using| (using.at_ns, using.until_ns - using.at_ns))
        .collect();
    let most_ns = left.iter().map(|&(_, left_ns)| left_ns).max().unwrap_or(0);
    let slow = left.into_iter();
    slow.map(|(at, left_ns)| (at, most_ns - left_ns)).collect()
}

enum Event<'a> {
    /// From now on, and until then, this user must not be passed.
    Waits(&'a Waits, u64),
    Leaves(&'a Waits),
    Seated(&'a Waits),
}

struct Lines<'a> {
    served: BTreeMap<u64, (u64, bool)>,
    touch: BTreeMap<(&'a str, &'a str), Vec<(u64, u64)>>,
    answers: BTreeMap<(&'a str, &'a str), Vec<(u64, u64)>>,
    /// When leaders began to lead.
    leads: Vec<u64>,
    slack_ns: u64,
}

impl Lines<'_> {
    /// When the front-end where a user waits was in touch.
    fn firm<'l>(&'l self, user: &'l Waits) -> &'l [(u64, u64)] {
        let holder = (user.pool.as_str(), user.holder.as_str());
        self.touch
            .get(&holder)
            .map_or(&[(0, u64::MAX)], Vec::as_slice)
    }

    /// How far a user's front-end may be behind the cluster's time.
    fn lag_ns(&self, user: &Waits, at_ns: u64) -> u64 {
        let holder = (user.pool.as_str(), user.holder.as_str());
        let answers = self.answers.get(&holder).map_or(&[][..], Vec::as_slice);
        let known = answers.partition_point(|(answered_ns, _)| *answered_ns <= at_ns);
        let last = answers[known.saturating_sub(ANSWERS)..known].iter();
        last.map(|(answered_ns, slow_ns)| slow_ns + (at_ns - answered_ns) / DRIFT)
            .min()
            .unwrap_or(0)
    }

    /// What happens in a line, in order.
    fn events<'u>(&self, users: &[&'u Waits], older: &[&Waits]) -> Vec<(u64, Event<'u>)> {
        let back = self.back(users);
        let mut events: Vec<(u64, Event<'u>)> = Vec::new();
        for &user in users {
            let served = self.served.get(&user.user).copied();
            let (until, seated) = served.unwrap_or((u64::MAX, false));
            let first = older.iter().map(|w| (w.at_ns, w.second));
            let first = first.chain(back.iter().copied());
            let after = first.filter(|&(at, second)| second <= user.second && at > user.at_ns);
            let mut begins: Vec<u64> = [user.at_ns]
                .into_iter()
                .chain(after.map(|(at, _)| at))
                .collect();
            begins.sort_unstable();
            for (at, &begin_ns) in begins.iter().enumerate() {
                let next_ns = begins.get(at + 1).copied().unwrap_or(u64::MAX);
                for &(from, to) in self.firm(user) {
                    let from = from.max(begin_ns.saturating_add(self.slack_ns));
                    let to = to.min(until).min(next_ns);
                    if from < to {
                        events.push((from, Event::Waits(user, to)));
                        events.push((to, Event::Leaves(user)));
                    }
                }
            }
            let in_touch = |&(from, to): &(u64, u64)| from <= until && until < to;
            if seated && self.firm(user).iter().any(in_touch) {
                events.push((until, Event::Seated(user)));
            }
        }
        events.sort_by_key(|(at, event)| {
            let last = !matches!(event, Event::Leaves(_));
            (*at, last)
        });
        events
    }

    fn check(&self, users: &[&Waits]) -> Judged {
        let mut judged = Judged::default();
        let seated = users.iter().filter_map(|user| {
            let (at, seated) = *self.served.get(&user.user)?;
            seated.then_some((at, user.second))
        });
        let mut seated: Vec<(u64, u32)> = seated.collect();
        seated.sort_unstable();
        let mut seated = seated.into_iter().peekable();
        let lost = self.lost(users);
        let older = older(users);
        // Up to which second all have had their turn.
        let mut reached = None;
        let mut waiting: BTreeMap<(u32, u64), (&Waits, u64)> = BTreeMap::new();
        for (at, event) in self.events(users, &older) {
            match event {
                Event::Waits(user, to) => {
                    waiting.insert((user.second, user.user), (user, to));
                }
                Event::Leaves(user) => {
                    waiting.remove(&(user.second, user.user));
                }
                Event::Seated(user) => {
                    while let Some((_, second)) =
                        seated.next_if(|(before, _)| before + SHARPNESS_NS < at)
                    {
                        reached = reached.max(Some(second));
                    }
                    judged.seated += u64::from(!waiting.is_empty());
                    // Others may have had their turn and not heard of it.
                    let came_ns = user.at_ns.saturating_sub(self.slack_ns);
                    let is_late = older.iter().any(|w| w.user == user.user)
                        || lost.range(came_ns..=at).next().is_some()
                        || self.has_new_leader(at);
                    let mut earlier = waiting.range(..(user.second, 0));
                    let passed = earlier.find(|((second, _), (first, to))| {
                        let hears = is_late || reached >= Some(*second);
                        let late_ns = if hears {
                            TOUCH_NS
                        } else {
                            SHARPNESS_NS + self.lag_ns(first, at)
                        };
                        *to > at + late_ns
                    });
                    if let Some((_, (first, _))) = passed {
                        judged.passed = Some(passed_by(at, user, first));
                        return judged;
                    }
                }
            }
        }
        judged
    }

    /// When a front-end of a line was in touch again, and the earliest second of those who waited there.
    fn back(&self, users: &[&Waits]) -> Vec<(u64, u32)> {
        let mut here: BTreeMap<&str, Vec<&Waits>> = BTreeMap::new();
        for user in users {
            here.entry(&user.holder).or_default().push(user);
        }
        let back = here.into_values().flat_map(|users| {
            let firm = users.first().map_or(&[][..], |user| self.firm(user));
            firm.iter().filter_map(move |&(from, _)| {
                let at = from.saturating_sub(self.slack_ns);
                let waits = users.iter().filter(|user| {
                    let served = self.served.get(&user.user);
                    user.at_ns <= at && served.is_none_or(|&(served, _)| served > at)
                });
                Some((at, waits.map(|user| user.second).min()?))
            })
        });
        back.collect()
    }

    /// When a front-end of a line was no more in touch.
    fn lost(&self, users: &[&Waits]) -> BTreeSet<u64> {
        let holders: BTreeSet<(&str, &str)> = users
            .iter()
            .map(|user| (user.pool.as_str(), user.holder.as_str()))
            .collect();
        let touch = holders.iter().filter_map(|holder| self.touch.get(holder));
        touch.flatten().map(|(_, until)| *until).collect()
    }

    /// Whether front-ends may not all have heard of the leader yet.
    fn has_new_leader(&self, at_ns: u64) -> bool {
        let after = self.leads.partition_point(|leads| *leads <= at_ns);
        let last = after.checked_sub(1).map(|last| self.leads[last]);
        last.is_some_and(|last| last + TOUCH_NS > at_ns)
    }
}

/// Whoever came to a front-end with an older ticket than somebody before.
fn older<'a>(users: &[&'a Waits]) -> Vec<&'a Waits> {
    let mut users = users.to_vec();
    users.sort_by_key(|user| user.at_ns);
    let mut latest: BTreeMap<&str, u32> = BTreeMap::new();
    users.retain(|user| {
        let latest = latest.entry(&user.holder).or_default();
        let is_older = user.second < *latest;
        *latest = user.second.max(*latest);
        is_older
    });
    users
}

fn passed_by(at_ns: u64, user: &Waits, first: &Waits) -> Violation {
    let what = format!(
        "user {} of second {} was seated at {:?}, before user {} of second {} who waits at {:?} (pool {:?}, region \
         {:?}, class {:?})",
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
    violation(Rule::Order, at_ns, what)
}
