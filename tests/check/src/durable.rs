//! Durability: what was answered OK is there afterwards, and what a node told others that it holds it still has
//! when it has started anew.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Answer, Call, Listed, Operation, Record};
use crate::verdict::{Rule, Violation, violation};

/// Checks it.
pub fn check(history: &[Record]) -> Vec<Violation> {
    let mut found = disks(history);
    found.extend(entries(history));
    let operations: Vec<&Operation> = history
        .iter()
        .filter_map(|record| match record {
            Record::Operation(operation) => Some(operation),
            _ => None,
        })
        .collect();
    found.extend(revisions(&operations));
    found.extend(leases(&operations));
    found
}

/// What each node held is on its disk when it starts. Its last entry never goes back in the order of term
/// and index: only a later leader takes entries away, by its own.
fn disks(history: &[Record]) -> Vec<Violation> {
    let mut in_time: Vec<&Record> = history.iter().collect();
    in_time.sort_by_key(|record| match record {
        Record::Stored(stored) => stored.at_ns,
        Record::Started(started) => started.at_ns,
        _ => 0,
    });
    let mut held: BTreeMap<u64, ((u64, u64), u64)> = BTreeMap::new();
    let mut found = Vec::new();
    for record in in_time {
        match record {
            Record::Stored(stored) => {
                let (last, vote) = held.entry(stored.node).or_default();
                *last = (*last).max((stored.term, stored.index));
                *vote = (*vote).max(stored.vote);
            }
            Record::Started(started) => {
                let ((term, index), vote) = held.get(&started.node).copied().unwrap_or_default();
                if (started.term, started.index) < (term, index) || started.vote < vote {
                    let what = format!(
                        "node {} held entry {index} of term {term} and a vote of term {vote}, and \
                         started with entry {} of term {} and a vote of term {}",
                        started.node, started.index, started.term, started.vote
                    );
                    found.push(violation(Rule::Durable, started.at_ns, what));
                }
            }
            _ => {}
        }
    }
    found
}

/// What any node has applied, which is decided for good, some node has applied at the end.
fn entries(history: &[Record]) -> Option<Violation> {
    let applied = || {
        history.iter().filter_map(|record| match record {
            Record::Applied(applied) => Some(applied),
            _ => None,
        })
    };
    let highest = applied().max_by_key(|applied| applied.index)?;
    let mut last: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for applied in applied() {
        let last = last.entry(applied.node).or_default();
        *last = (*last).max((applied.at_ns, applied.index));
    }
    let (at_ns, index) = last.into_values().max_by_key(|(_, index)| *index)?;
    (index < highest.index).then(|| {
        let what = format!(
            "node {} applied entry {}, and at the end no node has more than {index}",
            highest.node, highest.index
        );
        violation(Rule::Durable, at_ns, what)
    })
}

/// A revision that was answered is there for every later read.
fn revisions(operations: &[&Operation]) -> Vec<Violation> {
    let mut answered: Vec<(u64, u64)> = operations
        .iter()
        .filter_map(|operation| match operation.answer {
            Answer::Configured { revision } => Some((operation.return_ns, revision)),
            _ => None,
        })
        .collect();
    answered.sort_unstable();
    let mut highest = 0;
    for (_, revision) in &mut answered {
        highest = highest.max(*revision);
        *revision = highest;
    }
    let read =
        operations
            .iter()
            .filter_map(|operation| match (&operation.call, &operation.answer) {
                (Call::Budget { stale: false }, Answer::Budget { revision, .. }) => {
                    let before = answered.partition_point(|(at, _)| *at < operation.invoke_ns);
                    let known = before.checked_sub(1).map_or(0, |last| answered[last].1);
                    (*revision < known).then(|| {
                        let what = format!(
                            "revision {known} was answered, and {revision} read after that"
                        );
                        violation(Rule::Durable, operation.return_ns, what)
                    })
                }
                _ => None,
            });
    read.collect()
}

/// A lease that was granted is there for every read while it lasts, unless something may have ended it.
fn leases(operations: &[&Operation]) -> Vec<Violation> {
    // A grant is good from the first time that it was asked for.
    let mut sent: HashMap<&Call, u64> = HashMap::new();
    for operation in operations {
        let first = sent.entry(&operation.call).or_insert(u64::MAX);
        *first = (*first).min(operation.invoke_ns);
    }
    let mut lives: BTreeMap<u64, Life<'_>> = BTreeMap::new();
    for operation in operations {
        if let Answer::Granted(granted) = &operation.answer {
            let (pool, seq) = match &operation.call {
                Call::Take { pool, seq, .. }
                | Call::Renew { pool, seq, .. }
                | Call::Report { pool, seq, .. } => (pool.as_str(), *seq),
                _ => continue,
            };
            let lasts_ns = granted
                .ttl_ms
                .saturating_mul(1_000_000 - u64::from(granted.drift_ppm.min(1_000_000)));
            let life = lives.entry(granted.lease).or_insert(Life {
                pool,
                grants: Vec::new(),
                ends_ns: u64::MAX,
            });
            let until = sent[&operation.call].saturating_add(lasts_ns);
            life.grants
                .push((operation.return_ns, until, seq, granted.slots));
        }
    }
    for operation in operations {
        // Without slots it may end at any time.
        let ends = match &operation.call {
            Call::Return { lease, .. } => Some(lease),
            Call::Renew { lease, kept: 0, .. } | Call::Report { lease, kept: 0, .. } => Some(lease),
            _ => None,
        };
        if let Some(life) = ends.and_then(|lease| lives.get_mut(lease)) {
            life.ends_ns = life.ends_ns.min(operation.invoke_ns);
        }
    }
    let mut found = Vec::new();
    for operation in operations {
        let (Call::Leases { pool, stale: false }, Answer::Leases(listed)) =
            (&operation.call, &operation.answer)
        else {
            continue;
        };
        let shown: BTreeMap<u64, &Listed> = listed.iter().map(|l| (l.lease, l)).collect();
        for (&lease, life) in lives.iter().filter(|(_, life)| life.pool == pool) {
            let Some(seq) = life.seq_at(operation) else {
                continue;
            };
            // One without slots ends when its holder starts anew.
            let kept = shown.get(&lease).is_some_and(|shown| shown.seq >= seq);
            if !kept {
                let what = format!(
                    "request {seq} of lease {lease} was granted, and {:?} read while it lasted",
                    shown.get(&lease)
                );
                found.push(violation(Rule::Durable, operation.return_ns, what));
            }
        }
    }
    found
}

/// The grants of a lease.
struct Life<'a> {
    pool: &'a str,
    /// When answered, how long good at least, number, slots.
    grants: Vec<(u64, u64, u64, u64)>,
    /// When it may have been returned or left without slots.
    ends_ns: u64,
}

impl Life<'_> {
    /// The last request that a read must show, where it must show any.
    fn seq_at(&self, read: &Operation) -> Option<u64> {
        if self.ends_ns <= read.return_ns {
            return None;
        }
        let answered = self.grants.iter().filter(|(at, ..)| *at < read.invoke_ns);
        let good = answered
            .clone()
            .any(|(_, until, ..)| *until > read.return_ns);
        let last = answered.max_by_key(|(.., seq, _)| *seq)?;
        (good && last.3 > 0).then_some(last.2)
    }
}
