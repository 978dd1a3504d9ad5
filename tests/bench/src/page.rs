//! A run as one page that needs no other file.

use std::fmt::Write as _;

use preau::parts::thousands;
use sim::page::{escaped, svg};

use crate::plots::{by_clients, colour, colour_of, points, stacked, targets};
use crate::report::{Report, Table};

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:1340px;margin:2rem auto;padding:0 1rem;color:#222}\
 table{border-collapse:collapse;font-size:14px}th,td{text-align:left;padding:.2rem .8rem;border-bottom:1px solid #ddd}\
 td.n,th.n{text-align:right}td.n{white-space:nowrap}.wide{overflow-x:auto}svg{max-width:100%;height:auto}.met{color:#007a5a}.missed{color:#b30000}";

/// The page.
///
/// # Errors
/// Where a plot can't be drawn.
pub fn html(report: &Report) -> Result<String, Box<dyn std::error::Error>> {
    let title = escaped(report.title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<table>\n\
         <tr><th>when</th><td>{}</td></tr>\n",
        report.began
    );
    for (name, value) in report.facts() {
        writeln!(html, "<tr><th>{name}</th><td>{}</td></tr>", escaped(&value))?;
    }
    html += "</table>\n";
    goals(report, &mut html)?;
    if !report.layers.is_empty() {
        html += "<h2>One client's grant, layer by layer</h2>\n";
        html += &svg(1_320, 60 + 34 * report.layers.len() as u32, |area| {
            stacked(&report.layers, area)
        })?;
    } else if !report.rows.is_empty() {
        plots(report, &mut html)?;
    }
    for finding in &report.findings {
        writeln!(html, "<p>{}</p>", escaped(finding))?;
    }
    pictures(report, &mut html)?;
    for table in report.tables() {
        figures(&table, &mut html)?;
    }
    let calls = report.rows.0.iter().flat_map(|row| &row.runs);
    let calls: u64 = calls.map(|run| run.calls).sum();
    if calls > 0 {
        writeln!(html, "<p>{} calls in all.</p>", thousands(calls))?;
    }
    html += "<h2>How it was measured</h2>\n";
    for note in &report.notes {
        writeln!(html, "<p>{}</p>", escaped(note))?;
    }
    html += "</html>\n";
    Ok(html)
}

fn goals(report: &Report, html: &mut String) -> std::fmt::Result {
    if report.goals.is_empty() {
        return Ok(());
    }
    *html += "<h2>What is to be reached</h2>\n<table>\n\
              <tr><th>ratio</th><th class=\"n\">median</th><th class=\"n\">of all runs</th><th>wanted</th><th></th></tr>\n";
    for goal in &report.goals {
        let class = if goal.met { "met" } else { "missed" };
        let said = goal.said().to_lowercase();
        let reached = goal.reached;
        writeln!(
            html,
            "<tr><td>{}</td><td class=\"n\">{:.2}</td><td class=\"n\">{:.2} to {:.2}</td><td>{}</td>\
             <td class=\"{class}\">{said}</td></tr>",
            escaped(&goal.what),
            reached.median,
            reached.lowest,
            reached.highest,
            goal.wanted,
        )?;
    }
    *html += "</table>\n";
    Ok(())
}

/// Who has which colour.
fn legend<'a>(
    all: impl Iterator<Item = (&'a str, (u8, u8, u8))>,
    html: &mut String,
) -> std::fmt::Result {
    *html += "<p>";
    for (name, (r, g, b)) in all {
        let name = escaped(name);
        write!(
            html,
            "<b style=\"color:rgb({r},{g},{b})\">⬤ {name}</b> &nbsp; "
        )?;
    }
    *html += "</p>\n";
    Ok(())
}

fn pictures(report: &Report, html: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    for picture in &report.pictures {
        writeln!(html, "<h2>{}</h2>", escaped(&picture.caption))?;
        let names = picture.series.iter().map(|series| series.name.as_str());
        legend(names.zip((0..).map(colour)), html)?;
        *html += &svg(1_320, 420, |area| points(picture, area))?;
    }
    Ok(())
}

/// For each thing that was done, how many a second and how long the slowest hundredth took, by clients.
fn plots(report: &Report, html: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let rows = &report.rows.0;
    let mut done: Vec<&str> = Vec::new();
    for row in rows {
        if !done.contains(&row.what.as_str()) {
            done.push(&row.what);
        }
    }
    let all = targets(rows).into_iter();
    legend(all.map(|target| (target, colour_of(rows, target))), html)?;
    *html += "<p>Medians of all runs, with the lowest and the highest. Both axes that go up are \
              logarithmic.</p>\n";
    for what in done {
        writeln!(html, "<h2>{}</h2>", escaped(what))?;
        *html += &svg(1_320, 360, |area| {
            let (left, right) = area.split_horizontally(660);
            by_clients(rows, what, "leases a second", |run| run.per_second, &left)?;
            let p99 = |run: &crate::figures::Figures| run.p99_us as f64;
            by_clients(rows, what, "p99 of a call, in µs", p99, &right)
        })?;
    }
    Ok(())
}

fn figures(table: &Table, html: &mut String) -> std::fmt::Result {
    let class = |column: &str| match column.starts_with('>') {
        true => " class=\"n\"",
        false => "",
    };
    let title = escaped(&table.title);
    write!(
        html,
        "<h2>{title}</h2>\n<div class=\"wide\">\n<table>\n<tr>"
    )?;
    for column in &table.columns {
        let name = column.trim_start_matches('>');
        write!(html, "<th{}>{name}</th>", class(column))?;
    }
    *html += "</tr>\n";
    for cells in &table.rows {
        *html += "<tr>";
        for (cell, column) in cells.iter().zip(&table.columns) {
            write!(html, "<td{}>{}</td>", class(column), escaped(cell))?;
        }
        *html += "</tr>\n";
    }
    *html += "</table>\n</div>\n";
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::{Picture, Series};
    use crate::report::Layer;
    use crate::report::tests::report;

    #[test]
    fn the_page_has_all_and_needs_nothing_else() {
        let page = html(&report()).unwrap();
        assert_eq!(
            page.matches("<svg").count(),
            2,
            "one for grants, one for revokes"
        );
        for part in [
            "a &lt;fast> one",
            "<h2>revokes</h2>",
            "class=\"met\">reached",
            "class=\"missed\">missed",
            "Préau, 64 a call",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        for foreign in ["http://", "https://", "<script", "<link"] {
            let rest = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!rest.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn layers_are_one_bar() {
        let mut report = report();
        let layer = |what: &str, us| Layer {
            what: what.into(),
            us,
        };
        report.layers = vec![layer("disk", 200.0), layer("gRPC", 100.0), layer("no", 0.0)];
        let page = html(&report).unwrap();
        assert_eq!(page.matches("<svg").count(), 1);
        assert!(page.contains("disk: 200 µs, 67 %"), "{page}");
    }

    #[test]
    fn pictures_and_tables_of_other_runs_are_there() {
        let mut report = report();
        report.rows = crate::figures::Rows::default();
        report.goals = Vec::new();
        report.findings = vec!["slope <1".into()];
        report.tables = vec![Table {
            title: "Each kill".into(),
            columns: vec!["node", ">ms"],
            rows: vec![vec!["2".into(), "1,234".into()]],
        }];
        let series = |name: &str, points: &[(f64, f64)]| Series {
            name: name.into(),
            points: points.to_vec(),
            line: true,
        };
        for log in [true, false] {
            report.pictures.push(Picture {
                caption: "by <holders>".into(),
                x: "holders",
                y: "cores",
                log,
                series: vec![
                    series("leader", &[(10.0, 0.01), (100_000.0, 1.5)]),
                    series("nothing", &[]),
                ],
            });
        }
        let page = html(&report).unwrap();
        assert_eq!(page.matches("<svg").count(), 2);
        for part in [
            "<p>slope &lt;1</p>",
            "<h2>by &lt;holders></h2>",
            "<h2>Each kill</h2>",
            "<td class=\"n\">1,234</td>",
            "⬤ leader",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("Medians of all runs"), "{page}");
        report.pictures.truncate(1);
        report.pictures[0].series.clear();
        assert_eq!(html(&report).unwrap().matches("<svg").count(), 1);
    }
}
