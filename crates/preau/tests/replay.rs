//! `preau replay`: what scripts may rely on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::preau;
use serde_json::Value;

const QUIET: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/scenarios/quiet-day.toml"
);

fn replay(more: &[&str]) -> Value {
    let args = [
        &["replay", QUIET, "--scale", "0.0005", "--output", "json"],
        more,
    ]
    .concat();
    preau(&args).json()
}

#[test]
fn one_policy_is_an_object_and_several_are_an_array_with_the_promised_keys() {
    let one = replay(&["--policy", "ideal"]);
    for key in [
        "policy",
        "users",
        "seated",
        "gave_up",
        "wait_p50_s",
        "wait_p90_s",
        "wait_p99_s",
        "inversions_per_million",
        "jain_regions",
        "utilisation_while_waiting",
        "max_over_budget",
        "seated_by",
        "wall_s",
        "events",
    ] {
        assert!(one.get(key).is_some(), "{key}: {one}");
    }
    assert!(one["seated_by"]["09:15"].is_u64(), "{one}");
    let several = replay(&["--policy", "static,ideal"]);
    let names: Vec<_> = several
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["policy"])
        .collect();
    assert_eq!(names, ["static", "ideal"]);
}

#[test]
fn the_same_seed_gives_the_same_figures_and_the_same_page() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let path = dir.path().join(name);
        let mut figures = replay(&[
            "--policy",
            "ideal",
            "--seed",
            "7",
            "--report",
            path.to_str().unwrap(),
        ]);
        figures["wall_s"] = Value::Null;
        (figures, std::fs::read_to_string(path).unwrap())
    };
    let (first, second) = (run("first.html"), run("second.html"));
    assert_eq!(first.0, second.0);
    assert!(first.1 == second.1, "the pages differ");
    assert!(first.1.contains("<svg"));
}

#[test]
fn a_scenario_that_can_not_be_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrong.toml");
    std::fs::write(&path, format!("base = {QUIET:?}\nusers = 0\n")).unwrap();
    let message = preau(&["replay", path.to_str().unwrap()]).failed(2);
    assert!(
        message.contains("users: 0 given, expected a whole number"),
        "{message}"
    );
}
