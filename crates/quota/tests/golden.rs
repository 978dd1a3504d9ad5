//! Bytes that were written once are read for ever, and mean what they meant.
//!
//! `tests/golden/v1-batches.txt` is a log: each batch as hexadecimal bytes, and after it what came of each
//! command. `v1-snapshot.txt` is the state that it leads to, and `v1-tail.txt` what comes after it. None is
//! ever written anew: a new format gets files of its own, and what the log had new then is in them. Where a
//! file is missing the test writes it, and fails once.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;
#[path = "golden/waiting.rs"]
mod waiting;

use std::fmt::Write as _;
use std::path::PathBuf;

use common::*;
use quota::{Batch, Change, Command, LeaseId, SetPool, State};

/// Every command and change, and most of what can come of them.
fn story() -> Vec<Batch> {
    let at = |time_ms, commands| Batch { time_ms, commands };
    let (first, second, third) = (
        LeaseId(1 << 20),
        LeaseId((2 << 20) + 1),
        LeaseId((3 << 20) + 2),
    );
    let timed = Change::SetPool(SetPool {
        name: "ent".into(),
        capacity: 100,
        ttl_ms: Some(20_000),
        drift_ppm: Some(5_000),
    });
    let cned = Change::SetPool(SetPool {
        name: "cned".into(),
        capacity: 1_000_000_000_000,
        ttl_ms: None,
        drift_ppm: None,
    });
    let region = |pool: &str, name: &str| Change::RemoveRegion {
        pool: pool.into(),
        name: name.into(),
    };
    vec![
        at(
            1_000,
            vec![
                configure(
                    "first",
                    vec![
                        timed,
                        set_region("Île-de-France", 40, Some(80), 3),
                        set_region("normandie", 20, None, 1),
                        set_region("corse", 0, Some(10), 1),
                        cned,
                    ],
                ),
                take("Île-de-France", "paris-1", 1_617_692_400_000, 1, 50),
                take("normandie", "rouen-1", 1, 1, 70),
                take("corse", "bastia-1", 1, 1, 4),
                take("bretagne", "brest-1", 1, 1, 4),
            ],
        ),
        at(
            3_000,
            vec![renew(first, 2, 50, 80), renew(second, 2, 50, 70)],
        ),
        at(
            2_500,
            vec![renew(second, 2, 50, 70), renew(second, 1, 0, 0)],
        ),
        at(4_000, vec![give_back(third, 2), give_back(third, 2)]),
        at(
            5_000,
            vec![
                configure("no-corse", vec![region("ent", "corse")]),
                take("normandie", "rouen-1", 2, 1, 70),
                renew(second, 3, 10, 10),
                take("normandie", "rouen-1", 1, 4, 70),
            ],
        ),
        at(
            6_000,
            vec![
                remove_holder("out", "paris-1"),
                remove_holder("out", "paris-1"),
                remove_holder("out", "rouen-1"),
                configure(
                    "smaller",
                    vec![
                        set_region("Île-de-France", 10, None, 3),
                        set_region("normandie", 10, None, 1),
                        set_pool("ent", 30),
                    ],
                ),
                configure("gone", vec![Change::RemovePool { name: "ent".into() }]),
                configure(
                    "gone-2",
                    vec![
                        Change::RemovePool {
                            name: "cned".into(),
                        },
                        set_pool("cned", 5),
                    ],
                ),
                give_back(first, 3),
            ],
        ),
        at(7_000, Vec::new()),
    ]
}

/// What follows the snapshot.
fn tail() -> Vec<Batch> {
    vec![
        Batch {
            time_ms: 24_999,
            commands: vec![take("normandie", "caen-1", 9, 1, 30)],
        },
        Batch {
            time_ms: 25_000,
            commands: vec![
                take("normandie", "caen-1", 9, 2, 30),
                take("normandie", "rouen-1", 2, 1, 70),
                remove_holder("out", "paris-1"),
            ],
        },
    ]
}

fn path(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    dir.join(name)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (i, byte) in bytes.iter().enumerate() {
        let end = if i % 40 == 39 { "\n" } else { "" };
        write!(text, "{byte:02x}{end}").unwrap();
    }
    text.trim_end().into()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
        .collect()
}

/// What is kept under a name, which `first` makes where there is nothing yet.
fn golden(name: &str, first: impl FnOnce() -> String) -> String {
    let path = path(name);
    if !path.exists() {
        std::fs::write(&path, first()).unwrap();
        assert!(
            path.as_os_str().is_empty(),
            "{name} is new: look at it, and keep it"
        );
    }
    std::fs::read_to_string(path).unwrap()
}

fn written(batches: Vec<Batch>, state: &mut State) -> String {
    let mut text = String::new();
    for batch in batches {
        writeln!(text, "{}\n", hex(&batch.encode().unwrap())).unwrap();
        writeln!(text, "at {} ms", batch.time_ms).unwrap();
        for (command, outcome) in batch.commands.iter().zip(state.apply(&batch)) {
            // What later formats have added, where it says nothing.
            let outcome = format!("{outcome:?}")
                .replace(", turns_ms: 0", "")
                .replace(", at_ms: 0", "");
            writeln!(text, "{command:?}\n  -> {outcome}").unwrap();
        }
        writeln!(text, "----").unwrap();
    }
    text
}

/// Applies what a golden log says, and returns the same text made anew from it.
fn replayed(text: &str, state: &mut State) -> String {
    let batches = text.split_terminator("----\n").map(|part| {
        let (hex, _) = part.split_once("\n\n").unwrap();
        Batch::decode(&bytes(hex)).unwrap()
    });
    written(batches.collect(), state)
}

/// A log leads where it did, and so does a snapshot of its time.
fn means_what_it_meant(version: &str, story: fn() -> Vec<Batch>, tail: fn() -> Vec<Batch>) {
    let log = golden(&format!("{version}-batches.txt"), || {
        written(story(), &mut State::default())
    });
    let after = golden(&format!("{version}-tail.txt"), || {
        let mut state = State::default();
        written(story(), &mut state);
        written(tail(), &mut state)
    });
    let snapshot = golden(&format!("{version}-snapshot.txt"), || {
        let mut state = State::default();
        written(story(), &mut state);
        hex(&state.snapshot()) + "\n"
    });

    let mut state = State::default();
    assert_eq!(replayed(&log, &mut state), log);
    let mut restored = State::restore(&bytes(&snapshot)).unwrap();
    assert_eq!(hex(&restored.snapshot()), hex(&state.snapshot()));
    if version == NEWEST {
        assert_eq!(hex(&state.snapshot()) + "\n", snapshot);
    }
    assert_eq!(replayed(&after, &mut restored), after);
    assert_eq!(replayed(&after, &mut state), after);
    assert_eq!(state.snapshot(), restored.snapshot());
}

/// The format that snapshots are written in.
const NEWEST: &str = "v3";

#[test]
fn a_log_of_format_1_means_what_it_meant() {
    means_what_it_meant("v1", story, tail);
}

#[test]
fn a_log_with_people_who_wait_means_what_it_meant() {
    means_what_it_meant("v2", waiting::story, waiting::tail);
}

#[test]
fn a_log_with_people_who_are_seated_in_turn_means_what_it_meant() {
    let story = || waiting::in_turn(waiting::story());
    let tail = || waiting::in_turn(waiting::tail());
    means_what_it_meant("v3", story, tail);
}

#[test]
fn the_logs_have_every_command_and_change() {
    let all = [
        story(),
        waiting::story(),
        waiting::in_turn(waiting::story()),
    ];
    let commands: Vec<Command> = all.into_iter().flatten().flat_map(|b| b.commands).collect();
    let seen = |which: fn(&Command) -> bool| commands.iter().any(which);
    assert!(seen(|c| matches!(c, Command::Take(_))));
    assert!(seen(|c| matches!(c, Command::Renew(_))));
    assert!(seen(|c| matches!(c, Command::Return(_))));
    assert!(seen(|c| matches!(c, Command::RemoveHolder(_))));
    assert!(seen(|c| matches!(c, Command::Report(_))));
    assert!(seen(|c| matches!(c, Command::Due(_))));
    assert!(seen(|c| matches!(c, Command::ReportV2(_))));
    let changes = commands.iter().filter_map(|command| match command {
        Command::Configure(configure) => Some(&configure.changes),
        _ => None,
    });
    let kinds = changes.flatten().map(std::mem::discriminant);
    assert_eq!(kinds.collect::<std::collections::HashSet<_>>().len(), 10);
}
