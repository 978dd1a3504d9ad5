//! `preau-check FILE...`: holds recorded histories to all rules.

use std::path::Path;
use std::process::ExitCode;

use check::history::{self, Record};
use check::{Limits, judge, progress};

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!(
            "usage: preau-check FILE...   (histories as preau-chaos and preau-sim record them)"
        );
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let history = match history::read_file(Path::new(&file)) {
            Ok(history) => history,
            Err(why) => {
                eprintln!("{file}: {why}");
                return ExitCode::from(2);
            }
        };
        let found = judge(&history, &Limits::of(&history));
        println!("{file}: {}", summary(&history));
        for violation in &found {
            println!("  {violation}");
        }
        if !found.is_empty() {
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// What a history is of, in a line.
fn summary(history: &[Record]) -> String {
    let count = |of: fn(&Record) -> bool| history.iter().filter(|record| of(record)).count();
    let operations = count(|record| matches!(record, Record::Operation(_)));
    let uses = count(|record| matches!(record, Record::Use(_)));
    let faults = count(|record| matches!(record, Record::Fault(fault) if fault.begins));
    let recoveries = progress::recoveries(history);
    let took = recoveries
        .iter()
        .filter_map(|r| Some(r.served_ns? - r.healed_ns));
    let longest = took.max().map_or(String::new(), |longest| {
        format!(", longest recovery {:.3} s", longest as f64 / 1e9)
    });
    let run = match history.first() {
        Some(Record::Run(run)) => format!("{}, seed {}: ", run.by, run.seed),
        _ => String::new(),
    };
    format!("{run}{operations} operations, {uses} uses, {faults} faults{longest}")
}
