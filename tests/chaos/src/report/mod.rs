//! What came of a run: figures, a verdict, and one page with the run drawn.

mod timeline;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use check::history::{Answer, Record};
use check::{Limits, Rule, progress};
use serde::Serialize;
use sim::page::{escaped, svg};

use self::timeline::timeline;
use crate::Args;

const SECOND: u64 = 1_000_000_000;
const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:1340px;margin:2rem auto;padding:0 1rem;color:#222}\
 table{border-collapse:collapse;font-size:14px}th,td{text-align:left;padding:.2rem .8rem;border-bottom:1px solid #ddd}\
 svg{max-width:100%;height:auto}.good{color:#007a5a}.open{color:#8a5a00}.bad{color:#b30000}pre{white-space:pre-wrap}";

/// What a run knows beside its history.
pub struct Run {
    pub ground: &'static str,
    pub missing: Vec<String>,
    pub files: PathBuf,
    /// Until when there was load.
    pub until_ns: u64,
    pub packets_dropped: u64,
    pub damaged_refused: u64,
    pub damaged_unharmed: u64,
    pub wrong: Vec<String>,
}

/// What a run shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Right,
    /// Nothing wrong was found, but not all could be judged: never as good as right.
    Undecided,
    Wrong,
}

impl Verdict {
    /// How the page shows it.
    fn class(self) -> &'static str {
        match self {
            Self::Right => "good",
            Self::Undecided => "open",
            Self::Wrong => "bad",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "right",
            Self::Undecided => "undecided: nothing wrong was found, but not all could be judged",
            Self::Wrong => "WRONG",
        })
    }
}

/// The figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Of all that was drawn by lot.
    pub seed: u64,
    /// Nodes at a time.
    pub nodes: u64,
    /// How long all took, in seconds.
    pub seconds: u64,
    /// Requests by what came of them.
    pub operations: BTreeMap<&'static str, u64>,
    /// Faults made, by kind.
    pub faults: BTreeMap<String, u64>,
    /// What the nodes stood on.
    pub ground: &'static str,
    /// What can't be tested here, and why.
    pub not_tested: Vec<String>,
    /// Packets that faults stopped or lost; on loopback pieces of streams, each time.
    pub packets_dropped: u64,
    /// Damaged nodes that refused to start, and said what to do.
    pub damaged_refused: u64,
    /// Damaged nodes that started and had lost nothing.
    pub damaged_unharmed: u64,
    /// Terms in which somebody led.
    pub leaders: u64,
    /// The longest time in which nothing was carried out, in milliseconds.
    pub longest_gap_ms: u64,
    /// When it began, in milliseconds.
    pub longest_gap_at_ms: u64,
    /// From each healing to the first request carried out, in milliseconds, the shortest first.
    pub recoveries_ms: Vec<u64>,
    /// What is wrong; nothing where all is right.
    pub wrong: Vec<String>,
    /// Searches that were given up: neither right nor wrong.
    pub undecided: Vec<String>,
    /// Where the history and the nodes' logs are.
    pub files: PathBuf,
}

impl Summary {
    /// Judges a history.
    pub fn new(args: &Args, run: Run, records: &[Record], limits: &Limits) -> Self {
        let mut operations: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut faults: BTreeMap<String, u64> = BTreeMap::new();
        let (mut served, mut leaders, mut end_ns) = (Vec::new(), 0, 0);
        for record in records {
            match record {
                Record::Operation(operation) => {
                    *operations.entry(outcome(&operation.answer)).or_default() += 1;
                    end_ns = end_ns.max(operation.return_ns);
                    if operation.carried_out() && operation.return_ns <= run.until_ns {
                        served.push(operation.return_ns);
                    }
                }
                Record::Fault(fault) if fault.begins => {
                    *faults.entry(fault.kind.clone()).or_default() += 1;
                }
                Record::Leads(_) => leaders += 1,
                _ => {}
            }
        }
        served.sort_unstable();
        let gap = served
            .windows(2)
            .map(|two| (two[1] - two[0], two[0]))
            .max()
            .unwrap_or((end_ns, 0));
        let mut recoveries_ms: Vec<u64> = progress::recoveries(records)
            .into_iter()
            .filter_map(|recovery| Some((recovery.served_ns? - recovery.healed_ns) / 1_000_000))
            .collect();
        recoveries_ms.sort_unstable();
        let (mut wrong, mut undecided) = (run.wrong, Vec::new());
        for violation in check::judge(records, limits) {
            match violation.rule {
                Rule::Undecided => undecided.push(violation.to_string()),
                _ => wrong.push(violation.to_string()),
            }
        }
        Self {
            seed: args.seed,
            nodes: args.nodes,
            seconds: end_ns / SECOND,
            operations,
            faults,
            ground: run.ground,
            not_tested: run.missing,
            packets_dropped: run.packets_dropped,
            damaged_refused: run.damaged_refused,
            damaged_unharmed: run.damaged_unharmed,
            leaders,
            longest_gap_ms: gap.0 / 1_000_000,
            longest_gap_at_ms: gap.1 / 1_000_000,
            recoveries_ms,
            wrong,
            undecided,
            files: run.files,
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let counts = |counts: Vec<(String, u64)>| {
            let each = counts.iter().map(|(name, count)| format!("{name} {count}"));
            each.collect::<Vec<_>>().join(", ")
        };
        let named = |(name, count): (&&str, &u64)| ((*name).to_owned(), *count);
        let recovery = |part: usize| {
            let at = (self.recoveries_ms.len() * part / 100)
                .min(self.recoveries_ms.len().saturating_sub(1));
            self.recoveries_ms.get(at).copied().unwrap_or(0)
        };
        vec![
            ("seed", self.seed.to_string()),
            ("time", format!("{} s", self.seconds)),
            (
                "requests",
                counts(self.operations.iter().map(named).collect()),
            ),
            ("faults", counts(self.faults.clone().into_iter().collect())),
            ("nodes", format!("{}, {}", self.nodes, self.ground)),
            ("not tested here", self.not_tested.join("; ")),
            (
                "packets or pieces stopped",
                self.packets_dropped.to_string(),
            ),
            (
                "damaged nodes",
                format!(
                    "{} refused to start, {} started with nothing lost",
                    self.damaged_refused, self.damaged_unharmed
                ),
            ),
            ("terms with a leader", self.leaders.to_string()),
            (
                "longest time without service",
                format!(
                    "{} ms, at {} s",
                    self.longest_gap_ms,
                    self.longest_gap_at_ms / 1_000
                ),
            ),
            (
                "served again after healing",
                format!(
                    "{} times; half within {} ms, all within {} ms",
                    self.recoveries_ms.len(),
                    recovery(50),
                    recovery(100)
                ),
            ),
            ("files", self.files.display().to_string()),
        ]
    }

    /// Right only where nothing is wrong and nothing was left undecided.
    pub fn verdict(&self) -> Verdict {
        match (self.wrong.is_empty(), self.undecided.is_empty()) {
            (false, _) => Verdict::Wrong,
            (true, false) => Verdict::Undecided,
            (true, true) => Verdict::Right,
        }
    }

    /// For programs.
    pub fn json(&self) -> Result<String, String> {
        #[derive(Serialize)]
        struct Printed<'a> {
            verdict: Verdict,
            #[serde(flatten)]
            figures: &'a Summary,
        }
        let printed = Printed {
            verdict: self.verdict(),
            figures: self,
        };
        serde_json::to_string_pretty(&printed).map_err(|e| e.to_string())
    }

    /// What is wrong, and what could not be decided, each with how it is shown.
    fn complaints(&self) -> impl Iterator<Item = (Verdict, &String)> {
        let wrong = self.wrong.iter().map(|why| (Verdict::Wrong, why));
        let undecided = self.undecided.iter();
        wrong.chain(undecided.map(|why| (Verdict::Undecided, why)))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            if !value.is_empty() {
                writeln!(f, "{name:<30} {value}")?;
            }
        }
        writeln!(f, "{:<30} {}", "verdict", self.verdict())?;
        for (_, why) in self.complaints() {
            writeln!(f, "  {why}")?;
        }
        Ok(())
    }
}

fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::Refused(_) => "refused",
        Answer::Failed(_) => "not carried out",
        Answer::Unknown(_) => "unknown",
        _ => "answered",
    }
}

/// The page.
///
/// # Errors
/// Where a plot can't be drawn.
pub fn page(summary: &Summary, records: &[Record]) -> Result<String, String> {
    html(summary, records).map_err(|e| format!("can't draw the report: {e}"))
}

fn html(summary: &Summary, records: &[Record]) -> Result<String, Box<dyn std::error::Error>> {
    let verdict = summary.verdict();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Préau under chaos, seed {}</title>\n<style>{STYLE}</style>\n\
         <h1>Préau under chaos</h1>\n<p>Verdict: <b class=\"{}\">{verdict}</b>.</p>\n<table>\n",
        summary.seed,
        verdict.class()
    );
    for (name, value) in summary.rows() {
        writeln!(html, "<tr><th>{name}</th><td>{}</td></tr>", escaped(&value))?;
    }
    html += "</table>\n";
    for (verdict, why) in summary.complaints() {
        let class = verdict.class();
        writeln!(html, "<pre class=\"{class}\">{}</pre>", escaped(why))?;
    }
    html += "<h2>Requests, faults and leaders</h2>\n";
    html += &svg(1_320, 760, |area| timeline(summary, records, area))?;
    html += "<h2>What was done</h2>\n<table>\n<tr><th>second</th><th>fault</th><th></th></tr>\n";
    for record in records {
        if let Record::Fault(fault) = record
            && fault.begins
        {
            let (second, what) = (fault.at_ns / SECOND, escaped(&fault.what));
            writeln!(
                html,
                "<tr><td>{second}</td><td>{}</td><td>{what}</td></tr>",
                fault.kind
            )?;
        }
    }
    html += "</table>\n</html>\n";
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undecided_is_neither_good_nor_wrong() {
        let some = || vec!["a search was given up".to_owned()];
        let none = Vec::new;
        let cases = [
            (none(), none(), Verdict::Right, "good"),
            (none(), some(), Verdict::Undecided, "open"),
            (some(), none(), Verdict::Wrong, "bad"),
            (some(), some(), Verdict::Wrong, "bad"),
        ];
        for (wrong, undecided, verdict, class) in cases {
            let summary = Summary {
                wrong,
                undecided,
                ..Summary::default()
            };
            assert_eq!(summary.verdict(), verdict);
            let page = page(&summary, &[]).unwrap();
            let shown = format!("Verdict: <b class=\"{class}\">{verdict}</b>");
            assert!(page.contains(&shown), "{verdict:?}");
            let printed: serde_json::Value =
                serde_json::from_str(&summary.json().unwrap()).unwrap();
            assert_eq!(printed["verdict"], serde_json::to_value(verdict).unwrap());
            let ends_well = crate::exit_code(summary.verdict()) == 0;
            assert_eq!(ends_well, verdict == Verdict::Right);
        }
    }

    #[test]
    fn undecided_is_said_plainly() {
        let summary = Summary {
            undecided: vec!["too many steps".to_owned()],
            ..Summary::default()
        };
        let said = summary.to_string();
        assert!(
            said.contains("verdict                        undecided"),
            "{said}"
        );
        assert!(said.contains("too many steps"), "{said}");
        let page = page(&summary, &[]).unwrap();
        assert!(page.contains("<pre class=\"open\">too many steps</pre>"));
    }
}
