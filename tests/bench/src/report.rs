//! What came of a run: a table for whoever waits for it, JSON for programs, a page for everybody else.

use std::path::Path;

use preau::parts::{Failure, print_line, table, thousands};
use serde::Serialize;

use crate::figures::{Rows, Spread};
use crate::machine::Machine;
use crate::page;
use crate::plots::Picture;

/// All of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What the files are called.
    #[serde(skip)]
    name: &'static str,
    pub title: &'static str,
    /// The command that made it.
    pub command: String,
    /// When it began, in UTC.
    pub began: String,
    pub machine: Machine,
    /// How busy others kept the processors before each run, in percent of all.
    pub busy_before_percent: Vec<f64>,
    /// What clients did, in runs that compare them.
    #[serde(skip_serializing_if = "Rows::is_empty")]
    pub rows: Rows,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<Goal>,
    /// Parts of the time of one client's grant, which add up to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// What else was measured, for programs.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub measured: serde_json::Value,
    /// The same for people, in tables
    #[serde(skip)]
    pub tables: Vec<Table>,
    /// and pictures.
    #[serde(skip)]
    pub pictures: Vec<Picture>,
    /// What it comes to, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    pub notes: Vec<String>,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    pub title: String,
    /// The columns' names; those of numbers begin with `>`.
    pub columns: Vec<&'static str>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// A part of a time.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    pub what: String,
    /// Microseconds.
    pub us: f64,
}

/// What is to be reached, and what was.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// What is compared, as a ratio.
    pub what: String,
    /// In words.
    pub wanted: String,
    pub reached: Spread,
    /// Whether the median is as wanted,
    pub met: bool,
    /// and whether all runs are.
    pub met_in_every_run: bool,
}

impl Goal {
    /// A ratio that is to be as high as this; none where it was not measured.
    pub fn at_least(bound: f64, what: String, reached: Option<Spread>) -> Option<Self> {
        reached.map(|reached| Self {
            what,
            wanted: format!("at least {bound}"),
            reached,
            met: reached.median >= bound,
            met_in_every_run: reached.lowest >= bound,
        })
    }

    /// A ratio that is to be as low as this; none where it was not measured.
    pub fn at_most(bound: f64, what: String, reached: Option<Spread>) -> Option<Self> {
        reached.map(|reached| Self {
            what,
            wanted: format!("at most {bound}"),
            reached,
            met: reached.median <= bound,
            met_in_every_run: reached.highest <= bound,
        })
    }
}

impl Report {
    /// One that begins now.
    pub fn new(name: &'static str, title: &'static str, machine: &Machine) -> Self {
        let words = std::env::args().skip(1);
        let words: Vec<String> = std::iter::once("preau-bench".into()).chain(words).collect();
        Self {
            name,
            title,
            command: words.join(" "),
            began: jiff::Timestamp::now().strftime("%F %R UTC").to_string(),
            machine: machine.clone(),
            busy_before_percent: Vec::new(),
            rows: Rows::default(),
            goals: Vec::new(),
            layers: Vec::new(),
            measured: serde_json::Value::Null,
            tables: Vec::new(),
            pictures: Vec::new(),
            findings: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Keeps what was measured, for programs.
    pub fn keep(&mut self, measured: &impl Serialize) -> Result<(), Failure> {
        self.measured = serde_json::to_value(measured)
            .map_err(|e| Failure::operation(format!("can't write JSON: {e}")))?;
        Ok(())
    }

    /// Writes the files into `out`, and the table to stdout.
    pub fn finish(&self, out: &Path) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|e| Failure::operation(format!("can't write JSON: {e}")))?;
        let page = page::html(self)
            .map_err(|e| Failure::operation(format!("can't draw the page: {e}")))?;
        print_line(&self.text())?;
        for (kind, text) in [("json", json), ("html", page)] {
            let path = out.join(self.name).with_extension(kind);
            std::fs::write(&path, text)
                .map_err(|e| Failure::operation(format!("{}: {e}", path.display())))?;
            print_line(&format!("written: {}", path.display()))?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = format!("{}, {}\n", self.title, self.began);
        for (name, value) in self.facts() {
            text += &format!("{name}: {value}\n");
        }
        for Table {
            title,
            columns,
            rows,
        } in self.tables()
        {
            let mut table = table(&columns);
            for row in rows {
                table.add_row(row);
            }
            text += &format!("\n{title}\n{}\n", table.trim_fmt());
        }
        text += "\n";
        for goal in &self.goals {
            text += &format!("{}\n", goal.line());
        }
        for layer in &self.layers {
            text += &format!("{:>7.0} µs  {}\n", layer.us, layer.what);
        }
        for finding in &self.findings {
            text += &format!("{finding}\n");
        }
        text
    }

    /// What is to be known of the run before its figures.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let busy = self.busy_before_percent.iter();
        let busy: Vec<String> = busy.map(|percent| format!("{percent:.0} %")).collect();
        vec![
            ("command", self.command.clone()),
            ("machine", self.machine.line()),
            ("versions", self.machine.versions.join("; ")),
            ("busy with other things before each run", busy.join(", ")),
        ]
    }

    /// All tables, with the one of what clients did.
    pub fn tables(&self) -> Vec<Table> {
        let mut tables = self.tables.clone();
        if !self.rows.is_empty() {
            tables.insert(0, compared(&self.rows));
        }
        tables
    }
}

/// What clients did, as a table.
fn compared(rows: &Rows) -> Table {
    let whole = |value: f64| thousands(value.round() as u64);
    let cells = rows.0.iter().map(|row| {
        let per_second = row.per_second();
        vec![
            row.target.clone(),
            row.what.clone(),
            thousands(row.clients as u64),
            whole(per_second.median),
            format!(
                "{} to {}",
                whole(per_second.lowest),
                whole(per_second.highest)
            ),
            whole(row.spread(|run| run.p50_us as f64).median),
            whole(row.spread(|run| run.p99_us as f64).median),
            thousands(row.failed()),
        ]
    });
    Table {
        title: "All figures".into(),
        columns: vec![
            "target",
            "what",
            ">clients",
            ">a second",
            ">of all runs",
            ">p50 µs",
            ">p99 µs",
            ">failed",
        ],
        rows: cells.collect(),
    }
}

impl Goal {
    /// In one line.
    pub fn line(&self) -> String {
        format!(
            "{}: {:.2} ({:.2} to {:.2}), wanted {}: {}",
            self.what,
            self.reached.median,
            self.reached.lowest,
            self.reached.highest,
            self.wanted,
            self.said()
        )
    }

    /// How it came out.
    pub const fn said(&self) -> &'static str {
        match (self.met, self.met_in_every_run) {
            (true, true) => "reached",
            (true, false) => "reached by the median, not in every run",
            (false, _) => "MISSED",
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::figures::tests::figures;

    /// A report with two runs of three targets, of which one was not measured with every number of clients.
    pub fn report() -> Report {
        let machine = Machine {
            cpu: "a <fast> one".into(),
            cores: 2,
            memory: 24 << 30,
            kernel: "6.1".into(),
            filesystem: "ext4".into(),
            versions: vec!["etcd 3".into(), "preau 0".into()],
        };
        let mut report = Report::new("beside-etcd", "Préau beside etcd", &machine);
        report.busy_before_percent = vec![1.4, 2.6];
        for run in 1..=2 {
            for clients in [1, 64] {
                let count = 100 * run * clients as u32;
                for what in ["grants", "revokes"] {
                    report
                        .rows
                        .add(("etcd", 1), what, clients, figures(count, 1.0));
                    report
                        .rows
                        .add(("Préau", 1), what, clients, figures(6 * count, 1.0));
                }
            }
            report
                .rows
                .add(("Préau, 64 a call", 64), "grants", 64, figures(90_000, 1.0));
        }
        let reached = Spread::of([5.5, 6.5]);
        report.goals = Goal::at_least(5.0, "grants".into(), reached)
            .into_iter()
            .collect();
        report
            .goals
            .extend(Goal::at_most(1.5, "p50".into(), reached));
        report
    }

    #[test]
    fn the_table_has_medians_and_their_spread() {
        let text = report().text();
        let line = text.lines().find(|line| line.starts_with("etcd "));
        let words: Vec<&str> = line.unwrap().split_whitespace().collect();
        assert_eq!(
            words[..7],
            ["etcd", "grants", "1", "150", "100", "to", "200"]
        );
        assert!(text.contains("2 cores (a <fast> one), 24 GiB of memory, Linux 6.1, data on ext4"));
        assert!(text.contains("before each run: 1 %, 3 %"), "{text}");
        assert!(text.contains("grants: 6.00 (5.50 to 6.50), wanted at least 5: reached"));
        assert!(text.contains("p50: 6.00 (5.50 to 6.50), wanted at most 1.5: MISSED"));
    }

    #[test]
    fn a_goal_that_some_runs_miss_is_not_simply_reached() {
        let at_least = |bound, runs: &[f64]| {
            Goal::at_least(bound, "a".into(), Spread::of(runs.iter().copied())).unwrap()
        };
        let at_most = |bound, runs: &[f64]| {
            Goal::at_most(bound, "a".into(), Spread::of(runs.iter().copied())).unwrap()
        };
        let not_in_every_run = "reached by the median, not in every run";
        for (goal, said) in [
            (at_least(2.0, &[2.0, 2.5, 3.0]), "reached"),
            (at_least(2.0, &[1.9, 2.5, 3.0]), not_in_every_run),
            (at_least(2.0, &[1.0, 1.9, 3.0]), "MISSED"),
            (at_most(2.0, &[1.0, 1.5, 2.0]), "reached"),
            (at_most(2.0, &[1.0, 1.5, 2.1]), not_in_every_run),
            (at_most(2.0, &[1.0, 2.1, 2.2]), "MISSED"),
        ] {
            assert_eq!(goal.said(), said, "{goal:?}");
            assert!(goal.line().ends_with(said), "{}", goal.line());
        }
    }

    #[test]
    fn the_json_has_every_run() {
        let json = serde_json::to_value(report()).unwrap();
        let row = &json["rows"][0];
        assert_eq!(
            (&row["target"], &row["clients"]),
            (&"etcd".into(), &1.into())
        );
        assert_eq!(row["runs"].as_array().unwrap().len(), 2);
        assert_eq!(row["runs"][1]["calls"], 200);
        assert_eq!(json["machine"]["cores"], 2);
        assert_eq!(json["goals"][0]["met"], true);
    }
}
