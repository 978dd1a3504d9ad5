//! A run as one page that needs no other file.

use std::fmt::Write as _;

use preau::parts::thousands;
use sim::page::{escaped, svg};

use crate::plots::{by_clients, colour_of, stacked, targets};
use crate::report::{COLUMNS, Report};

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:1340px;margin:2rem auto;padding:0 1rem;color:#222}\
 table{border-collapse:collapse;font-size:14px}th,td{text-align:left;padding:.2rem .8rem;border-bottom:1px solid #ddd}\
 td.n,th.n{text-align:right}svg{max-width:100%;height:auto}.met{color:#007a5a}.missed{color:#b30000}";

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
    if report.layers.is_empty() {
        plots(report, &mut html)?;
    } else {
        html += "<h2>One client's grant, layer by layer</h2>\n";
        html += &svg(1_320, 60 + 34 * report.layers.len() as u32, |area| {
            stacked(&report.layers, area)
        })?;
    }
    figures(report, &mut html)?;
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
        let (class, said) = match goal.met {
            true => ("met", "reached"),
            false => ("missed", "missed"),
        };
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

/// For each thing that was done, how many a second and how long the slowest hundredth took, by clients.
fn plots(report: &Report, html: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let rows = &report.rows.0;
    let mut done: Vec<&str> = Vec::new();
    for row in rows {
        if !done.contains(&row.what.as_str()) {
            done.push(&row.what);
        }
    }
    *html += "<p>";
    for target in targets(rows) {
        let (r, g, b) = colour_of(rows, target);
        let target = escaped(target);
        write!(
            html,
            "<b style=\"color:rgb({r},{g},{b})\">⬤ {target}</b> &nbsp; "
        )?;
    }
    *html += "</p>\n<p>Medians of all runs, with the lowest and the highest. Both axes that go up are \
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

fn figures(report: &Report, html: &mut String) -> std::fmt::Result {
    let class = |column: &str| match column.starts_with('>') {
        true => " class=\"n\"",
        false => "",
    };
    *html += "<h2>All figures</h2>\n<table>\n<tr>";
    for column in COLUMNS {
        let name = column.trim_start_matches('>');
        write!(html, "<th{}>{name}</th>", class(column))?;
    }
    *html += "</tr>\n";
    for cells in report.cells() {
        *html += "<tr>";
        for (cell, column) in cells.iter().zip(COLUMNS) {
            write!(html, "<td{}>{}</td>", class(column), escaped(cell))?;
        }
        *html += "</tr>\n";
    }
    let calls = report.rows.0.iter().flat_map(|row| &row.runs);
    let calls: u64 = calls.map(|run| run.calls).sum();
    writeln!(html, "</table>\n<p>{} calls in all.</p>", thousands(calls))
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
