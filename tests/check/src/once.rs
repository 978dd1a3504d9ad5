//! Exactly once: a request that is sent again has one effect, and gets the same answer.

use std::collections::BTreeMap;

use crate::history::{Answer, Call, Granted, Operation, Record};
use crate::verdict::{Rule, Violation, violation};

/// Checks it.
pub fn check(history: &[Record]) -> Vec<Violation> {
    let operations = || {
        history.iter().filter_map(|record| match record {
            Record::Operation(operation) => Some(operation),
            _ => None,
        })
    };
    let mut once = Once::default();
    operations().for_each(|operation| once.lives(operation));
    operations().for_each(|operation| once.answers(operation));
    once.found
}

/// What a request was answered, as far as a retry must get the same.
#[derive(Debug, PartialEq, Eq)]
enum Same {
    Granted(Granted),
    Returned(u64),
}

#[derive(Default)]
struct Once<'a> {
    found: Vec<Violation>,
    /// Whose leases are which.
    owners: BTreeMap<u64, (&'a str, &'a str, u64)>,
    /// The answers of each life of a holder, by number.
    numbered: BTreeMap<(&'a str, &'a str, u64, u64), Same>,
    admin: BTreeMap<&'a str, &'a Answer>,
    revisions: BTreeMap<u64, &'a str>,
}

impl<'a> Once<'a> {
    /// A lease is of one life of one holder.
    fn lives(&mut self, operation: &'a Operation) {
        if let (
            Call::Take {
                pool,
                holder,
                epoch,
                ..
            },
            Answer::Granted(granted),
        ) = (&operation.call, &operation.answer)
        {
            let owner = (pool.as_str(), holder.as_str(), *epoch);
            let known = *self.owners.entry(granted.lease).or_insert(owner);
            if known != owner {
                let what = format!(
                    "lease {} was given to {known:?} and {owner:?}",
                    granted.lease
                );
                self.found
                    .push(violation(Rule::Once, operation.return_ns, what));
            }
        }
    }

    /// All answers to one request are the same.
    fn answers(&mut self, operation: &'a Operation) {
        let at_ns = operation.return_ns;
        match (&operation.call, &operation.answer) {
            (
                Call::Take { seq, .. } | Call::Renew { seq, .. } | Call::Report { seq, .. },
                Answer::Granted(granted),
            ) => {
                // What is told of floors is as things stand.
                let granted = Granted {
                    floor: 0,
                    ..*granted
                };
                self.numbered(granted.lease, *seq, Same::Granted(granted), at_ns);
            }
            (Call::Return { lease, seq, .. }, Answer::Returned { slots }) => {
                self.numbered(*lease, *seq, Same::Returned(*slots), at_ns);
            }
            (
                Call::Configure { request_id, .. } | Call::RemoveHolder { request_id, .. },
                answer @ (Answer::Configured { .. } | Answer::HolderRemoved { .. }),
            ) => {
                let before = *self.admin.entry(request_id).or_insert(answer);
                if before != answer {
                    let what = format!("request {request_id:?} got {before:?} and {answer:?}");
                    self.found.push(violation(Rule::Once, at_ns, what));
                }
                if let Answer::Configured { revision } = answer {
                    let first = *self.revisions.entry(*revision).or_insert(request_id);
                    if first != request_id {
                        let what =
                            format!("revision {revision} is of {first:?} and of {request_id:?}");
                        self.found.push(violation(Rule::Once, at_ns, what));
                    }
                }
            }
            _ => {}
        }
    }

    fn numbered(&mut self, lease: u64, seq: u64, answer: Same, at_ns: u64) {
        let Some(&(pool, holder, epoch)) = self.owners.get(&lease) else {
            return;
        };
        let key = (pool, holder, epoch, seq);
        let before = self.numbered.get(&key);
        if let Some(before) = before.filter(|before| **before != answer) {
            let what = format!(
                "request {seq} of {holder:?}, epoch {epoch}, got {before:?} and {answer:?}"
            );
            self.found.push(violation(Rule::Once, at_ns, what));
        } else {
            self.numbered.insert(key, answer);
        }
    }
}
