//! Agreement: whoever has applied the log up to the same entry is in the same state, by an entry of the same term.
//!
//! Two may lead in one term, one after the other: openraft numbers leaders by their term and their node together.

use std::collections::BTreeMap;

use crate::history::{Applied, Record};
use crate::verdict::{Rule, Violation, violation};

/// Checks it.
pub fn check(history: &[Record]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut entries: BTreeMap<u64, &Applied> = BTreeMap::new();
    for record in history {
        let Record::Applied(applied) = record else {
            continue;
        };
        let first = *entries.entry(applied.index).or_insert(applied);
        if (first.term, first.hash) != (applied.term, applied.hash) {
            let what = format!(
                "at entry {} node {} has term {} and state {:016x}, node {} term {} and state \
                 {:016x}",
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
    found
}
