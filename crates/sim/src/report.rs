//! A page with plots: one file that needs no other, the same for the same figures.

use std::fmt::Write as _;

use plotters::prelude::*;

use crate::clock::TimeOfDay;
use crate::figures::{Figures, Morning};
use crate::meter::Sample;
use crate::page::{Area, COLOURS, Drawn, FONT, escaped, svg};

/// What is drawn of a region's sample.
type Value = fn(&Sample, usize) -> u64;

const SEATED: RGBColor = COLOURS[2];
const WAITING: RGBColor = COLOURS[1];
const LOST: RGBColor = COLOURS[4];
/// Plots in a row of the regions' plots.
const COLUMNS: usize = 6;

/// Draws the legend of a chart whose type can't be written down.
macro_rules! legend {
    ($chart:ident) => {{
        $chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .label_font((FONT, 13))
            .draw()?;
        Ok(())
    }};
}

/// The page for the runs of a morning.
///
/// # Errors
/// Where a plot can't be drawn.
pub fn report(morning: &Morning, runs: &[Figures]) -> Result<String, String> {
    page(morning, runs).map_err(|e| format!("can't draw the report: {e}"))
}

fn page(morning: &Morning, runs: &[Figures]) -> Result<String, Box<dyn std::error::Error>> {
    let name = escaped(&morning.scenario().name);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}, replayed</title>\n<style>{STYLE}</style>\n<h1>{name}, replayed</h1>\n"
    );
    let users = morning.scenario().users;
    let capacity = morning.scenario().capacity;
    writeln!(
        html,
        "<p>{users} users in {} regions, room for {capacity} at a time, seed {}. Every policy meets the \
         same users. What each figure means, and what is assumed, is in the book's chapter on the replay.</p>",
        morning.scenario().region.len(),
        morning.seed()
    )?;
    html += &figures_table(runs);
    html += "<h2>Use of the capacity</h2>\n";
    html += &svg(900, 320, |area| use_of_capacity(morning, runs, area))?;
    html += "<h2>How long users waited</h2>\n<p>The part of those seated who had waited no longer.</p>\n";
    html += &svg(900, 320, |area| waits(runs, area))?;
    html += "<h2>Who was seated in order</h2>\n<p>Of a hundred seatings, those at which someone of the \
             same region and class waited who had come in an earlier second.</p>\n";
    html += &svg(900, 280, |area| order(runs, area))?;
    for run in runs {
        writeln!(html, "<h2>{}, by region</h2>", run.policy)?;
        html += "<p><b class=\"s\">seated</b>, <b class=\"w\">waiting</b> and \
                 <b class=\"l\">lost or given up so far</b>, in thousands, by the region's own clock.</p>\n";
        let rows = morning.scenario().region.len().div_ceil(COLUMNS) as u32;
        html += &svg(1_320, 190 * rows, |area| regions(morning, run, area))?;
        html += &regions_table(morning, run);
    }
    html += "</html>\n";
    Ok(html)
}

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:1340px;margin:2rem auto;padding:0 1rem;color:#222}\
 table{border-collapse:collapse;font-size:14px}th,td{text-align:right;padding:.2rem .8rem;border-bottom:1px solid #ddd}\
 th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}\
 .s{color:#009e73}.w{color:#b87f00}.l{color:#d55e00}details{margin:.5rem 0}";

/// What is drawn of the day: the hours of those regions which share the scenario's clock.
fn window(morning: &Morning) -> (u32, u32) {
    let scenario = morning.scenario();
    let from = morning.ms_of(scenario.from.seconds);
    (
        from,
        from + (scenario.to.seconds - scenario.from.seconds) * 1_000,
    )
}

/// Minutes of the local day of a region whose part of it began at `begins`: so that the axis has round times.
fn minutes(morning: &Morning, begins: u32, ms: u32) -> f64 {
    let seconds = f64::from(ms.saturating_sub(begins)) / 1_000.0;
    (f64::from(morning.scenario().from.seconds) + seconds) / 60.0
}

fn clock(minutes: f64) -> String {
    TimeOfDay::of((minutes * 60.0).round() as u32).to_string()
}

fn colour(at: usize) -> RGBColor {
    COLOURS[at % COLOURS.len()]
}

fn use_of_capacity(morning: &Morning, runs: &[Figures], area: &Area<'_>) -> Drawn {
    let (from, to) = window(morning);
    let at = |ms| minutes(morning, from, ms);
    let inside = |s: &&Sample| (from..=to).contains(&s.at);
    let most = runs
        .iter()
        .flat_map(|run| &run.plots.samples)
        .filter(inside);
    let most = most
        .map(|s| s.used.iter().sum::<u64>().max(s.capacity))
        .max()
        .unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(at(from)..at(to), 0.0..most as f64 * 1.05)?;
    chart
        .configure_mesh()
        .x_label_formatter(&|minutes| clock(*minutes))
        .y_label_formatter(&|n| thousands(*n))
        .label_style((FONT, 13))
        .x_labels(13)
        .light_line_style(TRANSPARENT)
        .draw()?;
    if let Some(run) = runs.first() {
        let line = run
            .plots
            .samples
            .iter()
            .filter(inside)
            .map(|s| (at(s.at), s.capacity as f64));
        chart
            .draw_series(LineSeries::new(line, BLACK.mix(0.4)))?
            .label("capacity")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLACK.mix(0.4)));
    }
    for (i, run) in runs.iter().enumerate() {
        let samples = run.plots.samples.iter().filter(inside);
        let line = samples.map(|s| (at(s.at), s.used.iter().sum::<u64>() as f64));
        chart
            .draw_series(LineSeries::new(line, colour(i).stroke_width(2)))?
            .label(run.policy)
            .legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 16, y)], colour(i).stroke_width(2))
            });
    }
    legend!(chart)
}

/// Points of the curve of waits, at most.
const POINTS: usize = 400;

fn waits(runs: &[Figures], area: &Area<'_>) -> Drawn {
    let longest = runs
        .iter()
        .map(|run| run.plots.waits.len())
        .max()
        .unwrap_or(0)
        .max(600);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..longest as f64 / 600.0, 0.0..100.0)?;
    chart
        .configure_mesh()
        .x_desc("minutes waited")
        .y_label_formatter(&|part| format!("{part:.0} %"))
        .label_style((FONT, 13))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (at, run) in runs.iter().enumerate() {
        let all: u64 = run.plots.waits.iter().map(|&n| u64::from(n)).sum();
        let step = (longest / POINTS).max(1);
        let mut seen = 0;
        let mut line = vec![(0.0, 0.0)];
        for (i, chunk) in run.plots.waits.chunks(step).enumerate() {
            seen += chunk.iter().map(|&n| u64::from(n)).sum::<u64>();
            let minutes = ((i + 1) * step) as f64 / 600.0;
            line.push((minutes, 100.0 * seen as f64 / all.max(1) as f64));
        }
        line.push((
            longest as f64 / 600.0,
            100.0 * seen as f64 / all.max(1) as f64,
        ));
        chart
            .draw_series(LineSeries::new(line, colour(at).stroke_width(2)))?
            .label(run.policy)
            .legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 16, y)], colour(at).stroke_width(2))
            });
    }
    legend!(chart)
}

fn order(runs: &[Figures], area: &Area<'_>) -> Drawn {
    let names: Vec<&str> = runs.iter().map(|run| run.policy).collect();
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d((0..runs.len()).into_segmented(), 0.0..100.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|at| match at {
            SegmentValue::CenterOf(at) => names.get(*at).copied().unwrap_or("").to_owned(),
            _ => String::new(),
        })
        .y_label_formatter(&|part| format!("{part:.0} %"))
        .label_style((FONT, 13))
        .draw()?;
    chart.draw_series(runs.iter().enumerate().flat_map(|(at, run)| {
        let out = run.inversions_per_million / 10_000.0;
        let bar = |from: f64, to: f64, colour: RGBColor| {
            let mut bar = Rectangle::new(
                [
                    (SegmentValue::Exact(at), to),
                    (SegmentValue::Exact(at + 1), from),
                ],
                colour.mix(0.8).filled(),
            );
            bar.set_margin(0, 0, 24, 24);
            bar
        };
        [bar(0.0, out, LOST), bar(out, 100.0, SEATED)]
    }))?;
    Ok(())
}

fn regions(morning: &Morning, run: &Figures, area: &Area<'_>) -> Drawn {
    let scenario = morning.scenario();
    let rows = scenario.region.len().div_ceil(COLUMNS);
    let length = (scenario.to.seconds - scenario.from.seconds) * 1_000;
    let cells = area.split_evenly((rows, COLUMNS));
    for (at, (region, cell)) in scenario.region.iter().zip(&cells).enumerate() {
        let begins = morning.begins(at);
        let x = |ms| minutes(morning, begins, ms);
        let inside: Vec<&Sample> = run
            .plots
            .samples
            .iter()
            .filter(|s| (begins..=begins + length).contains(&s.at))
            .collect();
        let highest = |s: &&&Sample| s.used[at].max(s.waiting[at]).max(s.lost[at]);
        let most = inside.iter().map(|s| highest(&s)).max().unwrap_or(0).max(1);
        let mut chart = ChartBuilder::on(cell)
            .margin(6)
            .caption(&region.name, (FONT, 13))
            .x_label_area_size(20)
            .y_label_area_size(40)
            .build_cartesian_2d(x(begins)..x(begins + length), 0.0..most as f64 * 1.05)?;
        chart
            .configure_mesh()
            .x_label_formatter(&|minutes| clock(*minutes))
            .y_label_formatter(&|n| format!("{:.0}", n / 1_000.0))
            .x_labels(4)
            .y_labels(4)
            .label_style((FONT, 11))
            .light_line_style(TRANSPARENT)
            .draw()?;
        let lines: [(RGBColor, Value); 3] = [
            (SEATED, |s, at| s.used[at]),
            (WAITING, |s, at| s.waiting[at]),
            (LOST, |s, at| s.lost[at]),
        ];
        for (colour, value) in lines {
            let line = inside.iter().map(|s| (x(s.at), value(s, at) as f64));
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        }
    }
    Ok(())
}

fn thousands(number: f64) -> String {
    format!("{:.0} k", number / 1_000.0)
}

fn figures_table(runs: &[Figures]) -> String {
    let times: Vec<&String> = runs
        .first()
        .map(|r| r.seated_by.keys().collect())
        .unwrap_or_default();
    let mut html = String::from("<table>\n<tr><th>policy");
    for time in &times {
        let _ = write!(html, "<th>seated by {time}");
    }
    html += "<th>seated<th>gave up<th>lost<th>wait p50<th>p90<th>p99<th>inversions per million\
             <th>lasting ones<th>Jain, waits<th>Jain, service<th>use while someone waits<th>most over budget<th>messages\n";
    for run in runs {
        let _ = write!(html, "<tr><td>{}", run.policy);
        for time in &times {
            let _ = write!(
                html,
                "<td>{}",
                run.seated_by.get(*time).copied().unwrap_or(0)
            );
        }
        let _ = writeln!(
            html,
            "<td>{}<td>{}<td>{}<td>{:.1} s<td>{:.1} s<td>{:.1} s<td>{:.0}<td>{:.0}<td>{:.3}<td>{:.3}<td>{:.2} %<td>{}<td>{}",
            run.seated,
            run.gave_up,
            run.lost,
            run.wait_p50_s,
            run.wait_p90_s,
            run.wait_p99_s,
            run.inversions_per_million,
            run.lasting_inversions_per_million,
            run.jain_regions,
            run.jain_service,
            100.0 * run.utilisation_while_waiting,
            run.max_over_budget,
            run.messages,
        );
    }
    html + "</table>\n"
}

fn regions_table(morning: &Morning, run: &Figures) -> String {
    let mut html = String::from(
        "<details><summary>In figures</summary>\n<table>\n<tr><th>region<th>seated<th>gave up<th>lost\
         <th>mean wait<th>seated out of order\n",
    );
    let plots = &run.plots;
    for (at, region) in morning.scenario().region.iter().enumerate() {
        let _ = writeln!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.1} s<td>{}",
            escaped(&region.name),
            plots.seated[at],
            plots.gave_up[at],
            plots.lost[at],
            plots.mean_wait_s[at],
            plots.inversions[at],
        );
    }
    html + "</table></details>\n"
}
