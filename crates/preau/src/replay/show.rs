//! The figures of a replay as a table: a row a figure, a column a policy.

use sim::Figures;

use crate::output::{bytes, table, thousands};

/// All runs, side by side.
pub fn table_of(runs: &[Figures]) -> String {
    let policies: Vec<String> = runs.iter().map(|run| format!(">{}", run.policy)).collect();
    let mut header = vec![""];
    header.extend(policies.iter().map(String::as_str));
    let mut rows = table(&header);
    let mut row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        let cells = runs.iter().map(cell);
        rows.add_row(std::iter::once(name.to_owned()).chain(cells));
    };
    row("users", &|run| thousands(run.users));
    let times: Vec<&String> = runs
        .first()
        .map(|run| run.seated_by.keys().collect())
        .unwrap_or_default();
    for time in times {
        let seated = |run: &Figures| thousands(run.seated_by.get(time).copied().unwrap_or(0));
        row(&format!("seated by {time}"), &seated);
    }
    row("seated", &|run| thousands(run.seated));
    row("gave up", &|run| thousands(run.gave_up));
    row("sessions finished", &|run| thousands(run.finished));
    row("sessions lost", &|run| thousands(run.lost));
    row("wait p50", &|run| seconds(run.wait_p50_s));
    row("wait p90", &|run| seconds(run.wait_p90_s));
    row("wait p99", &|run| seconds(run.wait_p99_s));
    let classes: Vec<&String> = runs
        .first()
        .map(|run| run.wait_p90_s_by_class.keys().collect())
        .unwrap_or_default();
    for class in classes.iter().filter(|_| classes.len() > 1) {
        let wait =
            |run: &Figures| seconds(run.wait_p90_s_by_class.get(*class).copied().unwrap_or(0.0));
        row(&format!("wait p90, {class}"), &wait);
    }
    row("inversions per million", &|run| {
        format!("{:.0}", run.inversions_per_million)
    });
    row("lasting ones per million", &|run| {
        format!("{:.0}", run.lasting_inversions_per_million)
    });
    row("Jain, waits of regions", &|run| {
        format!("{:.3}", run.jain_regions)
    });
    row("Jain, service of regions", &|run| {
        format!("{:.3}", run.jain_service)
    });
    row("use while someone waits", &|run| {
        format!("{:.2} %", 100.0 * run.utilisation_while_waiting)
    });
    row("most over budget", &|run| thousands(run.max_over_budget));
    if runs.iter().any(|run| run.strangers_seated > 0) {
        row("strangers seated", &|run| thousands(run.strangers_seated));
    }
    if runs.iter().any(|run| run.messages > 0) {
        row("messages", &|run| thousands(run.messages));
        row("message bytes", &|run| bytes(run.message_bytes));
    }
    if runs.iter().any(|run| run.estimates.is_some()) {
        let part = |part: f64| format!("{:.1} %", 100.0 * part);
        let of = |run: &Figures, f: &dyn Fn(sim::Estimates) -> String| {
            run.estimates.map_or_else(String::new, f)
        };
        row("waits within the 50 % told", &|run| {
            of(run, &|e| part(e.within_p50))
        });
        row("waits within the 90 % told", &|run| {
            of(run, &|e| part(e.within_p90))
        });
        row("estimates off by, median", &|run| {
            of(run, &|e| format!("{:.1} %", e.error_percent))
        });
    }
    row("took", &|run| format!("{:.1} s", run.wall_s));
    row("events", &|run| thousands(run.events));
    rows.trim_fmt()
}

/// Seconds, or minutes where they are many.
fn seconds(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_read_easily() {
        assert_eq!(seconds(0.04), "0.0 s");
        assert_eq!(seconds(119.9), "119.9 s");
        assert_eq!(seconds(605.4), "10 min 05 s");
    }
}
