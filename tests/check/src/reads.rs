//! What is read of all leases of a pool at once was so at one instant: after all requests that it shows were sent,
//! and before any that it does not show was answered.
//!
//! With the histories of single holders explained one by one this makes the whole linearizable.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Answer, Call, Listed, Operation, Record};
use crate::verdict::{Rule, Violation, violation};

/// Checks it.
pub fn check(history: &[Record]) -> Vec<Violation> {
    let operations: Vec<&Operation> = history
        .iter()
        .filter_map(|record| match record {
            Record::Operation(operation) => Some(operation),
            _ => None,
        })
        .collect();
    let lives = lives(&operations);
    let read =
        operations
            .iter()
            .filter_map(|operation| match (&operation.call, &operation.answer) {
                (Call::Leases { pool, stale: false }, Answer::Leases(listed)) => {
                    instant(operation, pool, listed, &lives)
                }
                _ => None,
            });
    read.collect()
}

/// A request that was carried out: when it was first sent and first answered, and until when its grant is good.
#[derive(Debug, Clone, Copy)]
struct Done {
    sent_ns: u64,
    answered_ns: u64,
    good_until_ns: u64,
    /// Whether the lease has slots from it, so that nothing but time and its return ends it.
    holds: bool,
}

/// What is known of a lease.
struct Life<'a> {
    pool: &'a str,
    /// By number; the lease was returned by the last where `returned`.
    done: BTreeMap<u64, Done>,
    returned: bool,
    /// Whether anything was asked of it whose outcome nobody knows.
    unsure: bool,
}

fn lives<'a>(operations: &[&'a Operation]) -> BTreeMap<u64, Life<'a>> {
    let mut sent: HashMap<&Call, u64> = HashMap::new();
    for operation in operations {
        let first = sent.entry(&operation.call).or_insert(u64::MAX);
        *first = (*first).min(operation.invoke_ns);
    }
    let mut lives: BTreeMap<u64, Life<'a>> = BTreeMap::new();
    for operation in operations {
        let (pool, named, seq) = match &operation.call {
            Call::Take { pool, seq, .. } => (pool, None, *seq),
            Call::Renew {
                pool, lease, seq, ..
            }
            | Call::Report {
                pool, lease, seq, ..
            }
            | Call::Return { pool, lease, seq } => (pool, Some(*lease), *seq),
            _ => continue,
        };
        let (lease, lasts_ns, holds) = match &operation.answer {
            Answer::Granted(granted) => {
                let per_ms = 1_000_000 - u64::from(granted.drift_ppm.min(1_000_000));
                let lasts_ns = granted.ttl_ms.saturating_mul(per_ms);
                (Some(granted.lease), lasts_ns, granted.slots > 0)
            }
            _ => (named, 0, false),
        };
        let Some(lease) = lease else {
            continue;
        };
        let life = lives.entry(lease).or_insert(Life {
            pool,
            done: BTreeMap::new(),
            returned: false,
            unsure: false,
        });
        match operation.answer {
            Answer::Granted(_) => {}
            Answer::Returned { .. } => life.returned = true,
            Answer::Unknown(_) => {
                life.unsure = true;
                continue;
            }
            _ => continue,
        }
        let sent_ns = sent[&operation.call];
        let done = life.done.entry(seq).or_insert(Done {
            sent_ns,
            answered_ns: operation.return_ns,
            good_until_ns: sent_ns.saturating_add(lasts_ns),
            holds,
        });
        done.answered_ns = done.answered_ns.min(operation.return_ns);
    }
    lives
}

/// Says where there was no instant at which a read was right.
fn instant(
    read: &Operation,
    pool: &str,
    listed: &[Listed],
    lives: &BTreeMap<u64, Life<'_>>,
) -> Option<Violation> {
    let shown: BTreeMap<u64, u64> = listed
        .iter()
        .map(|lease| (lease.lease, lease.seq))
        .collect();
    // After the first of these, and before the second.
    let mut after = (read.invoke_ns, 0, 0);
    let mut before = (read.return_ns, 0, 0);
    for (&lease, life) in lives.iter().filter(|(_, life)| life.pool == pool) {
        let mut saw = |seq: u64, done: &Done| after = after.max((done.sent_ns, lease, seq));
        let mut missed =
            |seq: u64, done: &Done| before = before.min((done.answered_ns, lease, seq));
        let last = life.done.last_key_value();
        if let Some(&seq) = shown.get(&lease) {
            if let Some(done) = life.done.get(&seq) {
                saw(seq, done);
            }
            if let Some((&later, done)) = life
                .done
                .range(seq + 1..)
                .min_by_key(|(_, d)| d.answered_ns)
            {
                missed(later, done);
            }
            continue;
        }
        // It is not there yet, or no more: which of them is sure only while its grants were good.
        let good = life
            .done
            .values()
            .all(|d| d.holds && d.good_until_ns > read.return_ns);
        let Some((&first, taken)) = life.done.first_key_value() else {
            continue;
        };
        if taken.sent_ns > read.invoke_ns && !life.returned && !life.unsure && good {
            missed(first, taken);
        } else if let Some((&seq, done)) = last.filter(|_| life.returned && !life.unsure) {
            let grants = life.done.range(..seq);
            let counted = grants
                .last()
                .is_some_and(|(_, d)| d.holds && d.good_until_ns > read.return_ns);
            if counted && taken.answered_ns < read.invoke_ns {
                saw(seq, done);
            }
        }
    }
    (after.0 > before.0).then(|| {
        let what = format!(
            "a read of pool {pool:?} shows request {} of lease {}, which was sent after request {} of \
             lease {}, which it does not show, was answered",
            after.2, after.1, before.2, before.1
        );
        violation(Rule::Linearizable, read.return_ns, what)
    })
}
