//! Histories of the real state machine are found right, and wrong as soon as a bug is planted in the world
//! around it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod world;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::{Command, Output};

use check::history::{Record, Writer};
use check::{Limits, Rule, judge};
use world::Bug;

const LIMITS: Limits = Limits {
    most_steps: 2_000_000,
    order_slack_ns: 0,
    recover_ns: 1_000_000_000,
    drain_ns: 2_200_000_000,
};

#[test]
fn right_histories_are_found_right() {
    for seed in 0..60 {
        let found = judge(&world::run(seed, Bug::Nothing, 4, 15_000), &LIMITS);
        assert!(
            found.is_empty(),
            "seed {seed}: {:#?}",
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
    }
}

/// The rules that a bug breaks in any of the first seeds.
fn broken_by(bug: Bug) -> BTreeSet<Rule> {
    let histories = (0..10).map(|seed| world::run(seed, bug, 4, 15_000));
    histories
        .flat_map(|history| judge(&history, &LIMITS))
        .map(|v| v.rule)
        .collect()
}

#[test]
fn planted_bugs_are_found() {
    use Rule::*;
    let expected: [(Bug, &[Rule]); 8] = [
        (Bug::EarlyExpiry, &[Budget, Linearizable]),
        (Bug::CountFromTheAnswer, &[Budget]),
        (Bug::CountLowered, &[Budget, Linearizable]),
        (Bug::Overcommit, &[Budget, Linearizable]),
        (Bug::SkipDedup, &[Once, Linearizable]),
        (Bug::Rollback, &[Durable, Linearizable]),
        (Bug::StaleReads, &[Durable, Linearizable]),
        (Bug::Leak, &[Progress]),
    ];
    for (bug, rules) in expected {
        let broken = broken_by(bug);
        println!("{bug:?}: {broken:?}");
        for rule in rules {
            assert!(
                broken.contains(rule),
                "{bug:?} breaks {broken:?}, not {rule:?}"
            );
        }
    }
}

#[test]
fn many_holders_for_longer() {
    let found = judge(&world::run(7, Bug::Nothing, 40, 40_000), &LIMITS);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_command_judges_histories_on_disk() {
    let command = |file: &Path| -> Output {
        Command::new(env!("CARGO_BIN_EXE_preau-check"))
            .arg(file)
            .output()
            .unwrap()
    };
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (bug, code) in [(Bug::Nothing, 0), (Bug::Overcommit, 1)] {
        let file = directory.join(format!("{bug:?}.jsonl"));
        let mut writer = Writer::new(BufWriter::new(File::create(&file).unwrap()));
        let history = world::run(1, bug, 4, 15_000);
        // The end of these is too short for what a run is usually held to.
        for record in history
            .iter()
            .filter(|record| !matches!(record, Record::Drained(_)))
        {
            writer.write(record).unwrap();
        }
        writer.finish().unwrap();
        let output = command(&file);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("test, seed 1: "), "{text}");
        assert_eq!(text.contains("Budget at "), code == 1, "{text}");
    }
    let output = command(&directory.join("none.jsonl"));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("history can't be read")
    );
}
