//! The same for people.

use preau::parts::thousands;

use super::{Args, FLOOD, Measured, Run};
use crate::figures::{Figures, Spread};
use crate::plots::{Picture, Series};
use crate::report::{Goal, Report, Table};

/// How much longer the slowest hundredth of those who are in may take under a flood.
const WORSE: f64 = 2.0;

type Pick = fn(&Run) -> &Figures;

const KINDS: [(&str, Pick); 6] = [
    ("whoever waits asks, as fast as answers come", |run| {
        &run.polls
    }),
    ("whoever is in, let through by the gate", |run| &run.direct),
    ("the same under the flood", |run| &run.flood.flooded),
    ("by nginx, which asks an empty answer", |run| &run.empty),
    ("by nginx, which asks the gate", |run| &run.gated),
    ("the flood", |run| &run.flood.flood),
];

/// Fills in a report.
pub fn show(measured: &Measured, args: &Args, report: &mut Report) {
    report.tables = vec![table(&measured.runs)];
    report.pictures = vec![picture(&measured.runs)];
    let ratio = |above: Pick, below: Pick| {
        let ratio = |run: &Run| above(run).p99_us as f64 / below(run).p99_us.max(1) as f64;
        Spread::of(measured.runs.iter().map(ratio))
    };
    let worse = ratio(|run| &run.flood.flooded, |run| &run.direct);
    let what = "p99 of who is in under the flood, of that without".to_owned();
    report.goals.extend(Goal::at_most(WORSE, what, worse));
    report.findings = findings(measured);
    if let Some(ratio) = ratio(|run| &run.gated, |run| &run.empty) {
        report.findings.push(format!(
            "By nginx, the gate's answer takes {:.2} times as long as an empty one, by p99 ({:.2} to {:.2}).",
            ratio.median, ratio.lowest, ratio.highest
        ));
    }
    report.notes = notes(args);
}

fn table(runs: &[Run]) -> Table {
    let row = |(name, of): &(&str, Pick)| {
        let spread =
            |figure: fn(&Figures) -> f64| Spread::of(runs.iter().map(|run| figure(of(run))));
        let failed = runs.iter().flat_map(|run| of(run).errors.values()).sum();
        vec![
            (*name).to_owned(),
            shown(spread(|f| f.per_second)),
            shown(spread(|f| f.p50_us as f64)),
            shown(spread(|f| f.p99_us as f64)),
            shown(spread(|f| f.p99_9_us as f64)),
            thousands(failed),
        ]
    };
    Table {
        title: "Medians of all runs, with the lowest and the highest".into(),
        columns: vec![
            "what",
            ">a second",
            ">p50 µs",
            ">p99 µs",
            ">p99.9 µs",
            ">failed",
        ],
        rows: KINDS.iter().map(row).collect(),
    }
}

fn shown(spread: Option<Spread>) -> String {
    let whole = |figure: f64| thousands(figure.round().max(0.0) as u64);
    spread.map_or(String::new(), |spread| {
        let (lowest, highest) = (whole(spread.lowest), whole(spread.highest));
        format!("{} ({lowest} to {highest})", whole(spread.median))
    })
}

fn picture(runs: &[Run]) -> Picture {
    let of = |(name, of): &(&str, Pick)| Series {
        name: (*name).to_owned(),
        points: (1..)
            .zip(runs)
            .map(|(at, run)| (f64::from(at), of(run).p99_us as f64 / 1e3))
            .collect(),
        line: true,
    };
    Picture {
        caption: "The slowest hundredth".into(),
        x: "run",
        y: "p99, in ms",
        log: false,
        series: KINDS[1..5].iter().map(of).collect(),
    }
}

fn findings(measured: &Measured) -> Vec<String> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let [before, with_all, end] = measured.memory;
    let spread = |figure: fn(&Run) -> f64| {
        Spread::of(measured.runs.iter().map(figure)).map_or(String::new(), |spread| {
            format!(
                "{:.1} ({:.1} to {:.1})",
                spread.median, spread.lowest, spread.highest
            )
        })
    };
    let mut findings = vec![
        format!(
            "{} people arrive at {} a second, two requests each.",
            thousands(measured.people.into()),
            thousands(measured.arrivals_per_second as u64)
        ),
        format!(
            "The gate takes {:.1} MiB before, {:.1} MiB with all who wait, {:.1} MiB at the end: {:.0} bytes a person.",
            mib(before),
            mib(with_all),
            mib(end),
            measured.bytes_a_person
        ),
        format!(
            "A poll takes {} µs of the gate's processor time; a request under the flood {} µs, and {} µs of the load's. The \
             machine is busy by {} % then, the load and the cluster included.",
            spread(|run| run.poll_cpu_us),
            spread(|run| run.flood.flood_cpu_us),
            spread(|run| run.flood.flood_load_cpu_us),
            spread(|run| run.flood.flood_busy_percent)
        ),
    ];
    for (error, times) in &measured.errors {
        findings.push(format!("Failed, {} times: {error}.", thousands(*times)));
    }
    findings
}

fn notes(args: &Args) -> Vec<String> {
    vec![
        format!(
            "Three nodes, one gate, one nginx and the load share the machine. {} people are in and make {} requests a second; \
             {} wait, and their pages ask {} times a second while those who are in are looked at. Each has an address of their own, \
             which the load says as a trusted proxy does.",
            args.seats, args.requests, thousands(args.people.into()), args.polls
        ),
        "Requests at a rate come at random, as those of many people do: a Poisson process, to the microsecond, with the same times in all \
         measurements of a run and others in each run. Each is sent at its time on one of many connections; where the one before is not \
         answered by then, the next counts from when it was due."
            .into(),
        format!(
            "The flood is {FLOOD} times as many requests as everybody else makes, from a hundred addresses, by a thread of its own: \
             for letting through, for a place, for how one stands, and with the token of somebody who is in, signed by nobody. Without it and \
             under it whoever is in is looked at for {} s each, one next to the other, and by turns the one and the other first.",
            args.flood_seconds
        ),
        "With nginx, who is let through gets nginx's empty picture; what is asked first is the gate's /preau/auth, or another \
         server of the same nginx that says 204 to everything. Connections are kept, everywhere.".into(),
        "A person's memory is what the gate's resident memory has grown by once all wait, all else included.".into(),
    ]
}
