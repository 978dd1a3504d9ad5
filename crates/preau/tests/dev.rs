//! `preau dev`, run as a user runs it: a morning is played, and its figures are looked at.

mod common;

use common::{number, preau, preau_with};
use serde_json::Value;

#[test]
fn the_morning_is_played_within_the_budget() {
    let summary = preau(&["dev", "--seconds", "6", "--port", "0", "--output", "json"]).json();
    let figure = |field| number(&summary, field);
    assert_eq!((figure("scale"), figure("capacity")), (1_000, 4_000));
    assert_eq!(figure("over_budget"), 0);
    assert!(figure("peak_in_use") <= 4_000);
    assert!(figure("peak_held") <= 4_000);
    assert!(figure("peak_held") >= 3_000, "{summary}");
    assert!(figure("admitted") > 3_000, "{summary}");
    assert!(figure("peak_borrowed") > 0, "{summary}");
    assert!(figure("peak_lent") > 0, "{summary}");
    assert!(figure("peak_waiting") > 0, "{summary}");
    assert_eq!(
        figure("arrived"),
        figure("admitted") + figure("waiting") + figure("lost"),
        "everybody who came is in, has left, or waits: {summary}"
    );
    assert_eq!((figure("lost"), figure("cut_short")), (0, 0), "{summary}");
    assert!(figure("entries") > 0);
    assert!((1..=3).contains(&figure("leader")));

    let regions = summary["regions"].as_array().unwrap();
    assert_eq!(regions.len(), 18);
    for region in regions {
        let figure = |field| number(region, field);
        assert!(figure("peak_held") <= figure("capacity"), "{region}");
        assert!(figure("peak_lent") <= figure("nominal"), "{region}");
    }
    let admitted: u64 = regions.iter().map(|r| number(r, "admitted")).sum();
    assert_eq!(admitted, figure("admitted"));

    let classes = summary["classes"].as_array().unwrap();
    let names: Vec<&str> = classes.iter().filter_map(|c| c["class"].as_str()).collect();
    assert_eq!(names, ["teachers", "exams", "everyone"]);
    let in_part = |class: &Value| number(class, "admitted") * 100 / number(class, "arrived").max(1);
    let parts: Vec<u64> = classes.iter().map(in_part).collect();
    assert!(
        parts[0] >= parts[1] && parts[1] > parts[2],
        "teachers first, exams before everyone: {parts:?} {summary}"
    );
}

#[test]
fn what_cant_be_is_refused_by_name() {
    for (args, named) in [
        (
            &["dev", "--port", "65534"] as &[&str],
            "--port: 65534 given, expected 1 to 65533",
        ),
        (&["dev", "--scale", "0"], "--scale"),
        (
            &["dev", "--file", "/no/such/file.toml"],
            "/no/such/file.toml",
        ),
    ] {
        let errors = preau(args).failed(2);
        assert!(errors.contains(named), "{args:?}: {errors}");
    }
}

#[test]
fn a_region_without_known_pupils_is_named() {
    let budget = "[[pool]]\nname = \"p\"\ncapacity = 10\n\
                  [[pool.region]]\nname = \"atlantide\"\nnominal = 1\n";
    let errors = preau_with(&["dev", "--file", "-"], budget).failed(2);
    assert!(
        errors.contains("region \"atlantide\" of the file"),
        "{errors}"
    );
}

#[test]
fn an_idle_cluster_says_where_it_is_and_keeps_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let run = || {
        preau(&[
            "dev",
            "--no-load",
            "--seconds",
            "1",
            "--port",
            "0",
            "--data",
            data,
        ])
        .ok()
    };
    let first = run();
    assert!(
        first.starts_with("export PREAU_NODES=127.0.0.1:"),
        "{first}"
    );
    assert_eq!(first.lines().count(), 1);
    assert_eq!(run(), first, "the same cluster, at the same place");
}
