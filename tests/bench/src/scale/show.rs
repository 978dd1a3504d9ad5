//! What was measured, for people.

use preau::parts::thousands;

use super::{Args, FRANCE, Minute, Point, Row, WARM_UP};
use crate::figures::power;
use crate::plots::{Picture, Series};
use crate::report::{Report, Table};

/// From so many holders on the slope is told by itself: with fewer, what a node does anyway is most of it.
const MANY: usize = 1_000;
const MIB: f64 = 1024.0 * 1024.0;

/// Fills a report in.
pub fn fill(report: &mut Report, rows: &[Row], args: &Args) {
    let by_holders: Vec<&Row> = rows.iter().filter(|row| is_france(row)).collect();
    let spread: Vec<&Row> = rows
        .iter()
        .filter(|row| row.shape.holders as u64 == args.spread_holders)
        .collect();
    report.tables = vec![
        table("By holders, in 18 regions of one pool", &by_holders),
        table("By pools and regions", &spread),
    ];
    report.findings = findings(&by_holders);
    report.findings.extend(rows.iter().filter_map(growth));
    report.pictures = vec![
        cores(&by_holders),
        latencies(&by_holders),
        per_report(&spread),
    ];
    report.pictures.extend(by_the_minute(rows));
    report.notes = notes(args);
}

fn is_france(row: &Row) -> bool {
    (row.shape.pools, row.shape.regions) == FRANCE
}

fn table(title: &str, rows: &[&Row]) -> Table {
    let columns = vec![
        ">pools",
        ">regions each",
        ">holders",
        ">due/s",
        ">answered/s",
        ">late",
        ">failed",
        ">p50 µs",
        ">p99 µs",
        ">leader cores",
        ">of all runs",
        ">follower cores",
        ">leader µs a report",
        ">round µs",
        ">leader MiB",
        ">follower MiB",
        ">disk KiB/s",
        ">entries/s",
        ">leader changes",
    ];
    Table {
        title: title.into(),
        columns,
        rows: rows.iter().map(|row| cells(row)).collect(),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let whole = |figure: fn(&Point) -> f64| {
        let median = row.spread(figure).median.round();
        let sign = if median < 0.0 { "-" } else { "" };
        format!("{sign}{}", thousands(median.abs() as u64))
    };
    let sum = |figure: fn(&Point) -> u64| thousands(row.runs.iter().map(figure).sum());
    let cores = row.spread(|run| run.leader_cores);
    vec![
        thousands(row.shape.pools as u64),
        thousands(row.shape.regions as u64),
        thousands(row.shape.holders as u64),
        whole(|run| run.due as f64 / run.reports.seconds),
        whole(|run| run.reports.per_second),
        sum(|run| run.late),
        sum(|run| run.reports.errors.values().sum()),
        whole(|run| run.reports.p50_us as f64),
        whole(|run| run.reports.p99_us as f64),
        format!("{:.3}", cores.median),
        format!("{:.3} to {:.3}", cores.lowest, cores.highest),
        format!("{:.3}", row.spread(|run| run.follower_cores).median),
        format!("{:.1}", row.spread(|run| run.leader_us_per_report).median),
        format!("{:.1}", row.round_us),
        whole(|run| run.leader_resident as f64 / MIB),
        whole(|run| run.follower_resident as f64 / MIB),
        whole(|run| run.disk_growth as f64 / 1_024.0 / run.reports.seconds),
        whole(|run| run.entries as f64 / run.reports.seconds),
        sum(|run| run.leader_changes),
    ]
}

/// Holders, and the cores that the leader kept busy.
fn leader_cores(rows: &[&Row]) -> Vec<(f64, f64)> {
    let point = |row: &&Row| {
        let cores = row.spread(|run| run.leader_cores).median;
        (row.shape.holders as f64, cores)
    };
    rows.iter().map(point).collect()
}

fn findings(rows: &[&Row]) -> Vec<String> {
    let many: Vec<&Row> = rows
        .iter()
        .filter(|row| row.shape.holders >= MANY)
        .copied()
        .collect();
    let from = format!("from {} holders on", thousands(MANY as u64));
    let mut findings = Vec::new();
    for (which, rows) in [
        ("all numbers of holders", rows),
        (from.as_str(), many.as_slice()),
    ] {
        if let Some(power) = power(&leader_cores(rows)) {
            findings.push(format!(
                "The leader's processor time grows with the holders to the power of {:.2} ({which}; 1 is in proportion)",
                power.slope
            ));
        }
    }
    for row in rows {
        let answered = row.spread(|run| run.reports.leases as f64 / run.due.max(1) as f64);
        if answered.median < 0.99 {
            findings.push(format!(
                "Of {} holders' reports {:.0} % were answered: this machine does not carry more",
                thousands(row.shape.holders as u64),
                100.0 * answered.median
            ));
        }
    }
    findings
}

/// The minutes of a row's last run, where there are enough to tell how it went.
fn minutes(row: &Row) -> Option<&[Minute]> {
    let minutes = &row.runs.last()?.minutes;
    (minutes.len() >= 2).then_some(minutes)
}

/// What the leader's memory and disk did from the middle on: until then there is more and more to remember.
fn growth(row: &Row) -> Option<String> {
    let minutes = minutes(row)?;
    let (earlier, later) = minutes.split_at(minutes.len() / 2);
    let lowest_to_highest = |minutes: &[Minute], figure: fn(&Minute) -> u64| {
        let mib = |bytes: u64| bytes as f64 / MIB;
        let all = || minutes.iter().map(figure);
        let (lowest, highest) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        format!("{:.1} to {:.1} MiB", mib(lowest), mib(highest))
    };
    let of = |figure| {
        let [earlier, later] = [earlier, later].map(|part| lowest_to_highest(part, figure));
        format!("{earlier} in the first half and {later} in the second")
    };
    Some(format!(
        "In {} minutes with {} holders the leader's memory was {}, its directory {}",
        minutes.len(),
        thousands(row.shape.holders as u64),
        of(|minute| minute.resident),
        of(|minute| minute.disk),
    ))
}

fn by_the_minute(rows: &[Row]) -> Option<Picture> {
    let of = |row: &Row, name: &str, figure: fn(&Minute) -> u64| {
        let minutes = (1..).zip(minutes(row)?);
        let point = |(minute, at): (u32, &Minute)| (minute.into(), figure(at) as f64 / MIB);
        Some(Series {
            name: format!("{name}, {} holders", thousands(row.shape.holders as u64)),
            points: minutes.map(point).collect(),
            line: true,
        })
    };
    let series: Vec<Series> = rows
        .iter()
        .flat_map(|row| {
            let memory = of(row, "memory", |minute| minute.resident);
            let disk = of(row, "disk", |minute| minute.disk);
            memory.into_iter().chain(disk)
        })
        .collect();
    (!series.is_empty()).then(|| Picture {
        caption: "The leader's memory and directory, in MiB, by the minute".into(),
        x: "minutes",
        y: "MiB",
        log: false,
        series,
    })
}

fn cores(rows: &[&Row]) -> Picture {
    let leader = leader_cores(rows);
    let follower = rows.iter().map(|row| {
        let cores = row.spread(|run| run.follower_cores).median;
        (row.shape.holders as f64, cores)
    });
    let mut series = vec![
        Series {
            name: "leader".into(),
            points: leader.clone(),
            line: false,
        },
        Series {
            name: "each follower".into(),
            points: follower.collect(),
            line: false,
        },
    ];
    if let Some(power) = power(&leader) {
        let ends = leader
            .iter()
            .map(|(holders, _)| (*holders, power.at(*holders)));
        series.push(Series {
            name: format!("the leader's by its slope, {:.2}", power.slope),
            points: ends.collect(),
            line: true,
        });
    }
    Picture {
        caption: "Processors kept busy, by holders that report once a second".into(),
        x: "holders",
        y: "cores",
        log: true,
        series,
    }
}

fn latencies(rows: &[&Row]) -> Picture {
    let of = |name: &str, figure: fn(&Point) -> u64| Series {
        name: name.into(),
        points: rows
            .iter()
            .map(|row| {
                let us = row.spread(|run| figure(run) as f64).median;
                (row.shape.holders as f64, us)
            })
            .collect(),
        line: true,
    };
    Picture {
        caption: "From when a report is due until it is answered, in µs, by holders".into(),
        x: "holders",
        y: "µs",
        log: true,
        series: vec![
            of("p50", |run| run.reports.p50_us),
            of("p99", |run| run.reports.p99_us),
        ],
    }
}

fn per_report(rows: &[&Row]) -> Picture {
    let mut pools: Vec<usize> = rows.iter().map(|row| row.shape.pools).collect();
    pools.sort_unstable();
    pools.dedup();
    let series = pools.into_iter().map(|pools| {
        let of = rows.iter().filter(|row| row.shape.pools == pools);
        let mut points: Vec<(f64, f64)> = of
            .map(|row| {
                let us = row.spread(|run| run.leader_us_per_report).median;
                (row.shape.regions as f64, us)
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series {
            name: format!("{pools} pools"),
            points,
            line: true,
        }
    });
    Picture {
        caption: "The leader's processor time for one report, in µs, by regions of each pool"
            .into(),
        x: "regions",
        y: "µs",
        log: true,
        series: series.collect(),
    }
}

fn notes(args: &Args) -> Vec<String> {
    vec![
        format!(
            "Every holder reports once a second, spread evenly over it: in up to 100 lots, one every 10 ms, and \
             more where there are more than 1,000 holders a lot. A lot is one LeaseBatch to the leader, which is \
             what costs the nodes least: one call, one turn in the queue and one part of a log entry for all. \
             Holders keep what they have; nobody waits; a session begins and ends every other second, so that \
             demands change with each report. In each pool one more holder wants all that there is, so that the \
             pool is shared anew up to ten times a second. {} s are measured after {WARM_UP} s that are not, \
             {} times, each time with new processes and empty disks.",
            args.seconds, args.runs
        ),
        "Due is what was to be reported, answered what was. A lot has one call under way: where it is not \
         answered when the next is due, those reports are not made, and counted as late. Times are from when a \
         lot was due, so that a late beginning counts."
            .into(),
        "Processor time is that of each node's process by the kernel, with all that it does besides: heartbeats, \
         snapshots, and the log. The load, three nodes and all syncs are on this machine, so that whatever is \
         above its cores is not carried."
            .into(),
        "What a round of sharing costs can't be told from outside: it is one renewal and the round after it, by \
         the rules alone in this process, in a pool of as many regions with a holder each."
            .into(),
        "Nodes have every default but the requests that they take on at a time. The load has one connection for \
         every 64 lots, so that the usual limit of open files is enough by far; what connections cost that each \
         holder would have of its own is not in here."
            .into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Shape;
    use super::*;
    use crate::figures::tests::figures;

    fn row(holders: usize, cores: f64) -> Row {
        let point = Point {
            due: 2 * holders as u64,
            late: 1,
            reports: figures(holders as u32, 2.0),
            leader_cores: cores,
            follower_cores: cores / 2.0,
            leader_us_per_report: 10.0,
            leader_resident: 64 << 20,
            follower_resident: 32 << 20,
            minutes: Vec::new(),
            disk_growth: -4_096,
            entries: 200,
            leader_changes: 0,
        };
        Row {
            shape: Shape {
                pools: 1,
                regions: 18,
                holders,
            },
            round_us: 3.25,
            runs: vec![point.clone(), point],
        }
    }

    #[test]
    fn a_table_has_a_cell_for_each_column() {
        let row = row(1_000, 0.25);
        let table = table("x", &[&row]);
        assert_eq!(table.columns.len(), table.rows[0].len());
        let cell = |name: &str| {
            let at = table.columns.iter().position(|column| *column == name);
            table.rows[0][at.unwrap()].as_str()
        };
        assert_eq!(cell(">due/s"), "1,000");
        assert_eq!(cell(">answered/s"), "500");
        assert_eq!(cell(">late"), "2");
        assert_eq!(cell(">leader cores"), "0.250");
        assert_eq!(cell(">leader MiB"), "64");
        assert_eq!(cell(">disk KiB/s"), "-2");
        assert_eq!(cell(">entries/s"), "100");
    }

    #[test]
    fn memory_over_time_is_told_where_there_is_time() {
        let mut row = row(1_000, 0.25);
        assert!(growth(&row).is_none() && by_the_minute(&[]).is_none());
        let minute = |mib: u64| Minute {
            resident: mib << 20,
            disk: 7 << 20,
        };
        row.runs[1].minutes = [60, 63, 64, 62].map(minute).to_vec();
        let told = growth(&row).unwrap();
        let memory = "60.0 to 63.0 MiB in the first half and 62.0 to 64.0 MiB in the second";
        assert!(told.contains(memory), "{told}");
        let picture = by_the_minute(&[row]).unwrap();
        assert_eq!(picture.series.len(), 2);
        assert_eq!(picture.series[0].points[3], (4.0, 62.0));
    }

    #[test]
    fn the_slope_and_what_is_not_carried_are_told() {
        let rows = [row(100, 0.1), row(1_000, 0.1), row(10_000, 1.0)];
        let rows: Vec<&Row> = rows.iter().collect();
        let findings = findings(&rows);
        assert!(findings[0].contains("power of 0.50"), "{findings:?}");
        assert!(findings[1].contains("power of 1.00"), "{findings:?}");
        assert_eq!(findings.len(), 2 + 3);
        assert!(
            findings[4].contains("10,000 holders' reports 50 %"),
            "{findings:?}"
        );
        assert_eq!(cores(&rows).series.len(), 3);
    }
}
