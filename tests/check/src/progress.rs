//! Progress: a healed cluster serves again within a stated time, and once nobody holds anything all slots are free.

use std::collections::BTreeSet;

use crate::history::{Answer, Call, Record};
use crate::verdict::{Rule, Violation, violation};

/// How long it took to serve again after a healing: until the first request sent after it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// When all was whole again.
    pub healed_ns: u64,
    /// When a request was carried out; none where none was before the next fault, or the end.
    pub served_ns: Option<u64>,
    /// When the next fault began, or the history ended.
    pub until_ns: u64,
}

/// All healings.
pub fn recoveries(history: &[Record]) -> Vec<Recovery> {
    let mut faults: Vec<u64> = Vec::new();
    let mut healed: Vec<u64> = Vec::new();
    let mut served: Vec<(u64, u64)> = Vec::new();
    let mut end_ns = 0;
    for record in history {
        match record {
            Record::Fault(fault) if fault.begins => faults.push(fault.at_ns),
            Record::Healed(moment) => healed.push(moment.at_ns),
            Record::Drained(moment) => end_ns = end_ns.max(moment.at_ns),
            Record::Operation(operation) => {
                end_ns = end_ns.max(operation.return_ns);
                if operation.carried_out() {
                    served.push((operation.invoke_ns, operation.return_ns));
                }
            }
            _ => {}
        }
    }
    faults.sort_unstable();
    served.sort_unstable();
    let recovery = |healed_ns: u64| {
        let next = faults.partition_point(|at| *at <= healed_ns);
        let until_ns = faults.get(next).copied().unwrap_or(end_ns.max(healed_ns));
        let first = served.partition_point(|(invoke, _)| *invoke < healed_ns);
        let served_ns = served[first..].iter().map(|(_, at)| *at).min();
        Recovery {
            healed_ns,
            served_ns: served_ns.filter(|at| *at <= until_ns),
            until_ns,
        }
    };
    healed.into_iter().map(recovery).collect()
}

/// Checks it: served within `recover_ns` of each healing that lasts so long, and all slots free within
/// `drain_ns` after the last holder has gone.
pub fn check(history: &[Record], recover_ns: u64, drain_ns: u64) -> Vec<Violation> {
    let late = recoveries(history).into_iter().filter_map(|recovery| {
        let due_ns = recovery.healed_ns.saturating_add(recover_ns);
        let served = recovery.served_ns.is_some_and(|at| at <= due_ns);
        (!served && recovery.until_ns > due_ns).then(|| {
            let seconds = recover_ns as f64 / 1e9;
            let what = format!("nothing was carried out for {seconds} s after all was whole again");
            violation(Rule::Progress, due_ns, what)
        })
    });
    late.chain(drained(history, drain_ns)).collect()
}

/// Once nobody holds anything and all leases had time to run out, no pool has a slot out.
fn drained(history: &[Record], drain_ns: u64) -> Vec<Violation> {
    let last = history.iter().filter_map(|record| match record {
        Record::Drained(moment) => Some(moment.at_ns),
        _ => None,
    });
    let Some(at_ns) = last.max() else {
        return Vec::new();
    };
    let due_ns = at_ns.saturating_add(drain_ns);
    let mut found = Vec::new();
    let (mut pools, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for record in history {
        let Record::Operation(operation) = record else {
            continue;
        };
        match (&operation.call, &operation.answer) {
            (Call::Take { pool, .. }, Answer::Granted(_)) => {
                pools.insert(pool.as_str());
            }
            (Call::Inspect { pool, stale: false }, Answer::Inspected { held, leases, .. })
                if operation.invoke_ns >= due_ns =>
            {
                seen.insert(pool.as_str());
                if *held > 0 || *leases > 0 {
                    let what = format!(
                        "pool {pool:?} counts {held} slots in {leases} leases, and nobody has any"
                    );
                    found.push(violation(Rule::Progress, operation.return_ns, what));
                }
            }
            _ => {}
        }
    }
    let unseen = pools.difference(&seen).map(|pool| {
        let what = format!("nobody has looked whether the slots of pool {pool:?} came free");
        violation(Rule::Progress, due_ns, what)
    });
    found.extend(unseen);
    found
}
