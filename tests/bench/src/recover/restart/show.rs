//! What was measured, for people.

use preau::parts::thousands;

use super::super::whole;
use super::{AllBack, Args, Measured, NodeBack};
use crate::figures::Spread;
use crate::report::{Report, Table};

/// Fills a report in.
pub fn fill(report: &mut Report, measured: &Measured, args: &Args) {
    report.tables = vec![nodes_table(&measured.node), all_table(&measured.all)];
    report.findings = findings(measured);
    report.notes = notes(args);
}

fn maybe(ms: Option<f64>) -> String {
    ms.map_or("not said".into(), whole)
}

fn nodes_table(runs: &[NodeBack]) -> Table {
    let row = |run: &NodeBack| {
        vec![
            run.node_id.to_string(),
            maybe(run.said.opened_ms),
            maybe(run.said.serves_ms),
            whole(run.read_ms),
            whole(run.caught_up_ms),
        ]
    };
    Table {
        title: "A node that was stopped, in ms from its start".into(),
        columns: vec![
            "node",
            ">store opened",
            ">serves",
            ">first read",
            ">caught up",
        ],
        rows: runs.iter().map(row).collect(),
    }
}

fn all_table(runs: &[AllBack]) -> Table {
    let row = |run: &AllBack| {
        vec![
            maybe(run.said.opened_ms),
            maybe(run.said.serves_ms),
            whole(run.granted_ms),
        ]
    };
    Table {
        title: "All three killed, in ms from their start".into(),
        columns: vec![">last store opened", ">last serves", ">lease granted"],
        rows: runs.iter().map(row).collect(),
    }
}

fn findings(measured: &Measured) -> Vec<String> {
    let spread = |what: &str, values: Vec<f64>| {
        let spread = Spread::of(values)?;
        Some(format!(
            "{what}: {} ms ({} to {})",
            whole(spread.median),
            whole(spread.lowest),
            whole(spread.highest)
        ))
    };
    let node = measured.node.iter();
    let size = format!(
        "{} entries and {} leases, {} MiB on each node's disk; made by {} requests a second",
        thousands(measured.entries),
        thousands(measured.holders),
        measured.disk >> 20,
        whole(measured.filled_per_second)
    );
    let found = [
        Some(size),
        spread(
            "A node answers reads again",
            node.clone().map(|run| run.read_ms).collect(),
        ),
        spread(
            "and has caught up",
            node.map(|run| run.caught_up_ms).collect(),
        ),
        spread(
            "All three killed: a lease is granted again",
            measured.all.iter().map(|run| run.granted_ms).collect(),
        ),
    ];
    found.into_iter().flatten().collect()
}

fn notes(args: &Args) -> Vec<String> {
    vec![
        format!(
            "Leases are taken and then renewed, each request an entry of its own, until there are {} entries; \
             a snapshot is taken every {}, and the log is kept all the same. Then, {} times: a node that follows \
             is told to stop and started again once it has, and all three are ended by SIGKILL and started again. \
             There is no load meanwhile.",
            thousands(args.entries),
            thousands(args.snapshot_every),
            args.runs
        ),
        "Times are from the start of the process. A store is open once all that is in it has been read and \
         checked; a node serves once it has taken up its snapshot and carried out what came after; a read is one \
         that is as new as the call (Inspect), so that the node knows a leader; it has caught up with what the \
         leader had applied when it was started. The first two are from the node's own log."
            .into(),
        "The nodes share this machine's disk and processors, and what they read is in the page cache.".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Said;
    use super::*;

    #[test]
    fn findings_have_the_median_and_both_ends() {
        let back = |ms: f64| NodeBack {
            node_id: 2,
            said: Said {
                opened_ms: None,
                serves_ms: Some(ms),
            },
            read_ms: ms,
            caught_up_ms: 2.0 * ms,
        };
        let measured = Measured {
            entries: 1_000_000,
            holders: 100_000,
            snapshot_every: 50_000,
            disk: 300 << 20,
            filled_per_second: 20_000.0,
            node: vec![back(1_000.0), back(1_400.0), back(3_000.0)],
            all: Vec::new(),
        };
        let found = findings(&measured);
        assert_eq!(
            found[1],
            "A node answers reads again: 1,400 ms (1,000 to 3,000)"
        );
        assert_eq!(found[2], "and has caught up: 2,800 ms (2,000 to 6,000)");
        assert_eq!(found.len(), 3);
        let table = nodes_table(&measured.node);
        assert_eq!(table.rows[0], ["2", "not said", "1,000", "1,000", "2,000"]);
    }
}
