//! The budget: at every instant, what all holders may use by their own clocks adds up to at most what the pool
//! can carry.
//!
//! A capacity that an operator lowers comes into force as holders hear of it: what was granted before may still
//! come in for as long as a lease lasts. After that what is out may only come down until it is within the
//! capacity. A change whose outcome is unknown may have raised a capacity for good.
//!
//! What a holder gives up may come back where the cluster never hears of that. So may a lease that has run out by its
//! holder's clock, by a late renewal, as the cluster's time stands still while nobody leads: until [`LATE_NS`] have
//! passed since, or the holder has its next lease, it counts as out.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Answer, Call, Change, Operation, Record, Use};
use crate::verdict::{Rule, Violation, violation};

/// For so long after its time a lease may be renewed.
const LATE_NS: u64 = 30_000_000_000;

/// Checks it; the first violation of each pool is given.
pub fn check(history: &[Record]) -> Vec<Violation> {
    let mut uses: BTreeMap<&str, Vec<&Use>> = BTreeMap::new();
    for record in history {
        if let Record::Use(using) = record {
            uses.entry(&using.pool).or_default().push(using);
        }
    }
    let pools = uses.into_iter();
    pools
        .filter_map(|(pool, uses)| check_pool(pool, uses, capacities(history, pool)))
        .collect()
}

/// A capacity that may have been in force from one time to another.
#[derive(Debug, Clone, Copy)]
struct Capacity {
    slots: u64,
    from: u64,
    until: u64,
}

/// All capacities of a pool and when they may have been in force.
fn capacities(history: &[Record], pool: &str) -> Vec<Capacity> {
    let operations = history.iter().filter_map(|record| match record {
        Record::Operation(operation) => Some(operation),
        _ => None,
    });
    let changes: Vec<(&Operation, &str, u64)> = operations
        .filter_map(|operation| match &operation.call {
            Call::Configure {
                request_id,
                changes,
                ..
            } => Some((operation, request_id.as_str(), set_to(changes, pool)?)),
            _ => None,
        })
        .collect();
    // Of those that were carried out it is known in which order. A retry says when it was at the latest.
    let mut known: BTreeMap<u64, Capacity> = BTreeMap::new();
    let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
    for &(operation, id, _) in &changes {
        let first = sent.entry(id).or_insert(u64::MAX);
        *first = (*first).min(operation.invoke_ns);
    }
    let mut answered = BTreeSet::new();
    for &(operation, id, slots) in &changes {
        if let Answer::Configured { revision } = operation.answer {
            answered.insert(id);
            let from = sent[id];
            let until = operation.return_ns;
            let known = known
                .entry(revision)
                .or_insert(Capacity { slots, from, until });
            known.until = known.until.min(until);
        }
    }
    let mut capacities: Vec<Capacity> = known.into_values().collect();
    for at in 0..capacities.len() {
        capacities[at].until = capacities.get(at + 1).map_or(u64::MAX, |next| next.until);
    }
    if capacities.is_empty() {
        // It was set before the history began: what is read says what it was.
        let read = history.iter().filter_map(|record| read_of(record, pool));
        capacities.extend(read.map(|slots| Capacity {
            slots,
            from: 0,
            until: u64::MAX,
        }));
    }
    let unknown = changes.iter().filter(|(operation, id, _)| {
        matches!(operation.answer, Answer::Unknown(_)) && !answered.contains(id)
    });
    capacities.extend(unknown.map(|&(operation, _, slots)| Capacity {
        slots,
        from: operation.invoke_ns,
        until: u64::MAX,
    }));
    capacities
}

/// What a record reads of a pool's capacity, where it does.
fn read_of(record: &Record, pool: &str) -> Option<u64> {
    let Record::Operation(operation) = record else {
        return None;
    };
    match (&operation.call, &operation.answer) {
        (Call::Inspect { pool: of, .. }, Answer::Inspected { capacity, .. }) if of == pool => {
            Some(*capacity)
        }
        (Call::Budget { .. }, Answer::Budget { capacities, .. }) => {
            let of_pool = capacities.iter().find(|(of, _)| of == pool);
            of_pool.map(|(_, capacity)| *capacity)
        }
        _ => None,
    }
}

/// What changes set a pool's capacity to, where they do.
fn set_to(changes: &[Change], of: &str) -> Option<u64> {
    changes.iter().rev().find_map(|change| match change {
        Change::Capacity { pool, capacity } if pool == of => Some(*capacity),
        Change::RemovePool { pool } if pool == of => Some(0),
        _ => None,
    })
}

/// What changes at an instant.
enum Event<'a> {
    Uses(&'a Use),
    /// The time of this record is over.
    Ends(&'a Use),
    /// Nor does a renewal bring it back.
    Lapses(&'a Use),
    Holds(u64),
    /// The capacity is not in force any more, and nothing granted under it is good any more.
    Fades(u64),
}

fn check_pool(pool: &str, mut uses: Vec<&Use>, capacities: Vec<Capacity>) -> Option<Violation> {
    uses.sort_by_key(|using| using.at_ns);
    let first_ns = uses.first()?.at_ns;
    if capacities.is_empty() {
        let what = format!("the history does not say what pool {pool:?} can carry");
        return Some(violation(Rule::Undecided, first_ns, what));
    }
    let longest = uses
        .iter()
        .map(|using| using.until_ns - using.at_ns)
        .max()?;
    let mut events: Vec<(u64, Event<'_>)> = Vec::new();
    for using in &uses {
        events.push((using.at_ns, Event::Uses(using)));
        events.push((using.until_ns, Event::Ends(using)));
        let lapses = using.until_ns.saturating_add(LATE_NS);
        events.push((lapses, Event::Lapses(using)));
    }
    for capacity in capacities {
        events.push((capacity.from, Event::Holds(capacity.slots)));
        let fades = capacity.until.saturating_add(longest);
        events.push((fades, Event::Fades(capacity.slots)));
    }
    events.sort_by_key(|(at, _)| *at);

    let mut sweep = Sweep::default();
    let mut events = events.into_iter().peekable();
    while let Some((at, event)) = events.next() {
        sweep.apply(at, event);
        let last = events.peek().is_none_or(|(next, _)| *next > at);
        if last && at < u64::MAX && !sweep.holds() {
            let what = format!(
                "the holders of pool {pool:?} may use {} slots, of {} at most: {}",
                sweep.used,
                sweep.allowed,
                sweep.who()
            );
            return Some(violation(Rule::Budget, at, what));
        }
    }
    None
}

/// What is known of a lease.
struct Held<'a> {
    /// The last record.
    last: &'a Use,
    /// What may be used by it now.
    used: u64,
    /// What may be used again after a renewal.
    nominal: u64,
}

/// By holder and lease.
type Leases<'a> = BTreeMap<(&'a str, u64), Held<'a>>;

fn key(using: &Use) -> (&str, u64) {
    (&using.holder, using.lease)
}

/// The lease of a record. One that was replaced in time says nothing any more.
fn current<'l, 'a>(leases: &'l mut Leases<'a>, using: &'a Use) -> Option<&'l mut Held<'a>> {
    let held = leases.get_mut(&key(using));
    held.filter(|held| std::ptr::eq(held.last, using))
}

#[derive(Default)]
struct Sweep<'a> {
    leases: Leases<'a>,
    /// Sum of what may be used now.
    used: u64,
    /// The same where no time had run out: what may come back by a renewal.
    nominal: u64,
    /// Capacities that may be in force, and how often.
    capacities: BTreeMap<u64, u64>,
    allowed: u64,
}

impl<'a> Sweep<'a> {
    fn apply(&mut self, at: u64, event: Event<'a>) {
        match event {
            Event::Uses(using) => {
                self.ends_before(key(using));
                let new = Held {
                    last: using,
                    used: 0,
                    nominal: 0,
                };
                let held = self.leases.entry(key(using)).or_insert(new);
                let over = using.until_ns <= at;
                let used = if over { using.floor } else { using.slots };
                let mut nominal = using.slots.max(using.floor);
                // Only an answer, which moves the end on, says that the cluster knows of less.
                if over || using.until_ns <= held.last.until_ns {
                    nominal = nominal.max(held.nominal);
                }
                self.used = self.used - held.used + used;
                self.nominal = self.nominal - held.nominal + nominal;
                *held = Held {
                    last: using,
                    used,
                    nominal,
                };
            }
            Event::Ends(using) => {
                if let Some(held) = current(&mut self.leases, using) {
                    self.used = self.used - held.used + using.floor;
                    held.used = using.floor;
                }
            }
            Event::Lapses(using) => {
                if let Some(held) = current(&mut self.leases, using) {
                    self.nominal = self.nominal - held.nominal + using.floor;
                    held.nominal = using.floor;
                }
            }
            Event::Holds(slots) => *self.capacities.entry(slots).or_default() += 1,
            Event::Fades(slots) => {
                if let Some(count) = self.capacities.get_mut(&slots) {
                    *count -= 1;
                }
                self.capacities.retain(|_, count| *count > 0);
            }
        }
    }

    /// A holder has one lease at a time: the one before this is not renewed any more.
    fn ends_before(&mut self, (holder, lease): (&'a str, u64)) {
        let mut older = self.leases.range_mut((holder, 0)..(holder, lease));
        if let Some((_, held)) = older.next_back() {
            self.nominal -= held.nominal;
            held.nominal = held.used.max(held.last.floor);
            self.nominal += held.nominal;
        }
    }

    /// Whether all is well at this instant.
    fn holds(&mut self) -> bool {
        let capacity = self
            .capacities
            .last_key_value()
            .map_or(0, |(&slots, _)| slots);
        self.allowed = capacity.max(self.allowed.min(self.nominal));
        self.used <= self.allowed
    }

    /// Who uses how much.
    fn who(&self) -> String {
        let using = self.leases.iter().filter(|(_, held)| held.used > 0);
        let each = using.map(|((holder, lease), held)| format!("{holder} {} ({lease})", held.used));
        each.collect::<Vec<_>>().join(", ")
    }
}
