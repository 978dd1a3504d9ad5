//! What came of a run: figures, a verdict, and one page with the run drawn.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use check::history::{Answer, Record};
use check::{Limits, Rule, progress};
use plotters::prelude::*;
use serde::Serialize;
use sim::page::{Area, Drawn, FONT, escaped, svg};

use crate::Args;

const SERVED: RGBColor = RGBColor(0, 158, 115);
const UNKNOWN: RGBColor = RGBColor(213, 94, 0);
const LEADER: RGBColor = RGBColor(0, 114, 178);
const FAULT: RGBColor = RGBColor(230, 159, 0);
const SECOND: u64 = 1_000_000_000;
const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:1340px;margin:2rem auto;padding:0 1rem;color:#222}\
 table{border-collapse:collapse;font-size:14px}th,td{text-align:left;padding:.2rem .8rem;border-bottom:1px solid #ddd}\
 svg{max-width:100%;height:auto}.good{color:#007a5a}.bad{color:#b30000}pre{white-space:pre-wrap}";

/// What a run knows beside its history.
pub struct Run {
    pub missing: Vec<String>,
    pub files: PathBuf,
    /// Until when there was load.
    pub until_ns: u64,
    pub packets_dropped: u64,
    pub damaged_refused: u64,
    pub damaged_unharmed: u64,
    pub wrong: Vec<String>,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
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
    /// Faults that can't be had here, and why.
    pub not_tested: Vec<String>,
    /// Packets that faults stopped or lost.
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
            ("nodes", self.nodes.to_string()),
            ("time", format!("{} s", self.seconds)),
            (
                "requests",
                counts(self.operations.iter().map(named).collect()),
            ),
            ("faults", counts(self.faults.clone().into_iter().collect())),
            ("not tested here", self.not_tested.join("; ")),
            ("packets lost to faults", self.packets_dropped.to_string()),
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

    fn verdict(&self) -> &'static str {
        match (self.wrong.is_empty(), self.undecided.is_empty()) {
            (false, _) => "WRONG",
            (true, false) => "nothing wrong found, and not all decided",
            (true, true) => "right",
        }
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
        for why in self.wrong.iter().chain(&self.undecided) {
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
    let class = if summary.wrong.is_empty() {
        "good"
    } else {
        "bad"
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Préau under chaos, seed {}</title>\n<style>{STYLE}</style>\n\
         <h1>Préau under chaos</h1>\n<p>Verdict: <b class=\"{class}\">{}</b>.</p>\n<table>\n",
        summary.seed,
        summary.verdict()
    );
    for (name, value) in summary.rows() {
        writeln!(html, "<tr><th>{name}</th><td>{}</td></tr>", escaped(&value))?;
    }
    html += "</table>\n";
    for why in summary.wrong.iter().chain(&summary.undecided) {
        writeln!(html, "<pre class=\"bad\">{}</pre>", escaped(why))?;
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

fn timeline(summary: &Summary, records: &[Record], area: &Area<'_>) -> Drawn {
    let (requests, rest) = area.split_vertically(300);
    let (faults, leaders) = rest.split_vertically(300);
    let end = summary.seconds as f64 + 1.0;
    draw_requests(summary, records, &requests, end)?;
    draw_faults(summary, records, &faults, end)?;
    draw_leaders(records, &leaders, end)
}

fn draw_requests(summary: &Summary, records: &[Record], area: &Area<'_>, end: f64) -> Drawn {
    let seconds = usize::try_from(summary.seconds)? + 2;
    let (mut served, mut unknown) = (vec![0_u64; seconds], vec![0_u64; seconds]);
    for record in records {
        if let Record::Operation(operation) = record {
            let at = usize::try_from(operation.return_ns / SECOND)?.min(seconds - 1);
            if operation.carried_out() {
                served[at] += 1;
            } else if matches!(operation.answer, Answer::Unknown(_)) {
                unknown[at] += 1;
            }
        }
    }
    let most = served.iter().chain(&unknown).max().copied().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption(
            "carried out (green) and of unknown outcome (red), in a second",
            (FONT, 15),
        )
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..end, 0..most.max(1))?;
    chart.configure_mesh().label_style((FONT, 12)).draw()?;
    for (values, colour) in [(&served, SERVED), (&unknown, UNKNOWN)] {
        let points = values.iter().enumerate().map(|(at, y)| (at as f64, *y));
        chart.draw_series(LineSeries::new(points, &colour))?;
    }
    Ok(())
}

fn draw_faults(summary: &Summary, records: &[Record], area: &Area<'_>, end: f64) -> Drawn {
    let kinds: Vec<&String> = summary.faults.keys().collect();
    let mut chart = ChartBuilder::on(area)
        .caption("faults", (FONT, 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..end, 0.0..kinds.len().max(1) as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .label_style((FONT, 12))
        .draw()?;
    let mut begun: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    let mut bars: Vec<(usize, f64, f64)> = Vec::new();
    for record in records {
        let Record::Fault(fault) = record else {
            continue;
        };
        let at = fault.at_ns as f64 / SECOND as f64;
        let key = (fault.kind.as_str(), fault.what.as_str());
        let row = kinds.iter().position(|kind| **kind == fault.kind);
        if fault.begins {
            begun.insert(key, at);
        } else if let (Some(from), Some(row)) = (begun.remove(&key), row) {
            bars.push((row, from, at));
        }
    }
    chart.draw_series(bars.iter().map(|(row, from, to)| {
        let row = *row as f64;
        let corners = [(*from, row + 0.15), (to.max(from + 0.5), row + 0.85)];
        Rectangle::new(corners, FAULT.filled())
    }))?;
    for (row, kind) in kinds.iter().enumerate() {
        let (_, y) = chart.backend_coord(&(0.0, row as f64 + 0.7));
        let (left, top) = area.get_base_pixel();
        area.draw_text(
            kind,
            &(FONT, 12).into_text_style(area),
            (8 - left.min(0), y - top),
        )?;
    }
    Ok(())
}

fn draw_leaders(records: &[Record], area: &Area<'_>, end: f64) -> Drawn {
    let mut leads: Vec<(f64, u64)> = Vec::new();
    for record in records {
        if let Record::Leads(one) = record {
            let at = one.at_ns as f64 / SECOND as f64;
            if let Some((_, before)) = leads.last().copied() {
                leads.push((at, before));
            }
            leads.push((at, one.node));
        }
    }
    if let Some((_, last)) = leads.last().copied() {
        leads.push((end, last));
    }
    let most = leads.iter().map(|(_, node)| *node).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption("the node that was last seen to lead", (FONT, 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..end, 0..most + 1)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .label_style((FONT, 12))
        .draw()?;
    chart.draw_series(LineSeries::new(leads, LEADER.stroke_width(2)))?;
    Ok(())
}
