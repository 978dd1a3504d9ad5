//! Agreement: whoever has applied the log up to the same entry is in the same state, and no two lead in one term.

use std::collections::BTreeMap;

use crate::history::{Applied, Record};
use crate::verdict::{Rule, Violation, violation};

/// Checks it.
pub fn check(history: &[Record]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut entries: BTreeMap<u64, &Applied> = BTreeMap::new();
    let mut leaders: BTreeMap<u64, u64> = BTreeMap::new();
    for record in history {
        match record {
            Record::Applied(applied) => {
                let first = *entries.entry(applied.index).or_insert(applied);
                if (first.term, first.hash) != (applied.term, applied.hash) {
                    let what = format!(
                        "at entry {} node {} has term {} and state {:016x}, node {} term {} and \
                         state {:016x}",
                        applied.index,
                        first.node,
                        first.term,
                        first.hash,
                        applied.node,
                        applied.term,
                        applied.hash
                    );
                    found.push(violation(Rule::Agreement, applied.at_ns, what));
                }
            }
            Record::Leads(leads) => {
                let first = *leaders.entry(leads.term).or_insert(leads.node);
                if first != leads.node {
                    let what = format!(
                        "nodes {first} and {} both lead in term {}",
                        leads.node, leads.term
                    );
                    found.push(violation(Rule::Agreement, leads.at_ns, what));
                }
            }
            _ => {}
        }
    }
    found
}
