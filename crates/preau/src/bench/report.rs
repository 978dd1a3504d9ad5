//! What is said of a run: a line while it goes on, and a report in the end.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use super::holder::Run;
use super::stats::Figures;
use crate::local::leader::Leaders;
use crate::output::{table, thousands};

/// What a run came to.
#[derive(Debug, Serialize)]
pub struct Report {
    pub nodes: Vec<String>,
    pub own_cluster: bool,
    pub holders: u32,
    pub connections: usize,
    pub stream: bool,
    /// Seconds in which users arrived, by the reports that were made; null where leases were renewed.
    pub report: Option<u32>,
    /// As given to the own cluster; null for the node's default.
    pub group_commands: Option<u32>,
    #[serde(flatten)]
    pub figures: Figures,
    pub leader: u64,
    pub leader_changes: u64,
    /// Log entries that the load made.
    pub entries: u64,
    /// Leases given back at the end, left to the cluster as asked, and left because they could not be
    /// given back.
    pub returned: u64,
    pub kept: u64,
    pub left: u64,
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let figures = &self.figures;
        let whole = |value: f64| thousands(value.round() as u64);
        let errors: Vec<String> = figures
            .errors
            .iter()
            .map(|(code, count)| format!("{code} {}", thousands(*count)))
            .collect();
        let mut table = table(&["figure", ">value"]);
        table.add_rows([
            ["holders", &thousands(self.holders.into())],
            ["seconds", &format!("{:.1}", figures.seconds)],
            ["operations/s", &whole(figures.operations_per_second)],
            ["slots/s", &whole(figures.slots_per_second)],
            ["p50 µs", &thousands(figures.p50_us)],
            ["p99 µs", &thousands(figures.p99_us)],
            ["p99.9 µs", &thousands(figures.p99_9_us)],
            ["longest µs", &thousands(figures.max_us)],
            ["longest gap ms", &format!("{:.1}", figures.gap_ms)],
            ["leader changes", &thousands(self.leader_changes)],
            ["log entries", &thousands(self.entries)],
            [
                "errors",
                &if errors.is_empty() {
                    "none".into()
                } else {
                    errors.join(", ")
                },
            ],
        ]);
        table.trim_fmt()
    }
}

/// One line on a terminal's stderr that tells how the load goes.
#[derive(Debug, Default)]
pub struct Progress {
    operations: u64,
    shown: bool,
}

impl Progress {
    /// Shows how it stands.
    pub fn show(&mut self, run: &Run, leaders: &Leaders) {
        let operations = run.stats.operations();
        let new = operations - self.operations;
        self.operations = operations;
        if std::io::stderr().is_terminal() {
            self.shown = true;
            let leader = leaders.seen().map_or(0, |leader| leader.node_id);
            // Nobody is told where stderr can't be written.
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[K{:4.0} s  {:>9} operations/s  leader {leader}",
                run.stats.now().as_secs_f64(),
                thousands(new),
            );
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
