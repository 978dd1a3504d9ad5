//! `preau bench`, run as a user runs it: a load is measured on a cluster of its own, and its figures are
//! looked at.

mod common;

use common::{number, preau};
use serde_json::Value;

#[test]
fn a_load_is_measured_on_a_cluster_of_its_own() {
    let ways: [&[&str]; 5] = [
        &[],
        &["--stream"],
        &["--group-commands", "1"],
        &["--report", "128"],
        &["--stream", "--report", "8"],
    ];
    for way in ways {
        let args = [
            &[
                "bench",
                "lease",
                "--holders",
                "16",
                "--seconds",
                "2",
                "--output",
                "json",
            ],
            way,
        ];
        let report = preau(&args.concat()).json();
        let figure = |field| number(&report, field);
        assert_eq!(report["errors"], serde_json::json!({}), "{report}");
        assert_eq!(report["own_cluster"], true);
        assert_eq!((figure("holders"), figure("takes")), (16, 16));
        assert_eq!(figure("operations"), figure("takes") + figure("renews"));
        assert!(figure("renews") > 16, "{report}");
        assert!(figure("p50_us") > 0);
        assert!(figure("p50_us") <= figure("p99_us"));
        assert!(figure("p99_us") <= figure("p99_9_us"));
        assert!(figure("p99_9_us") <= figure("max_us"));
        assert!(report["slots_per_second"].as_f64().unwrap() > 0.0);
        assert!(report["gap_ms"].as_f64().unwrap() < 2_000.0);
        assert_eq!(figure("leader_changes"), 0, "{report}");
        assert_eq!(
            (figure("returned"), figure("kept"), figure("left")),
            (16, 0, 0)
        );
        assert_eq!(report["nodes"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn every_call_is_recorded_and_kept_leases_stay() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("calls.jsonl");
    let report = preau(&[
        "bench",
        "lease",
        "--holders",
        "4",
        "--seconds",
        "1",
        "--keep",
        "--output",
        "json",
        "--record",
        record.to_str().unwrap(),
    ])
    .json();
    assert_eq!(number(&report, "kept"), 4);
    let text = std::fs::read_to_string(&record).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() as u64 >= number(&report, "operations"));
    for number_of_holder in 0..4 {
        let name = format!("bench-{number_of_holder}");
        let mine: Vec<_> = lines
            .iter()
            .filter(|line| line["holder"] == *name)
            .collect();
        let seqs: Vec<u64> = mine.iter().map(|line| number(line, "seq")).collect();
        assert!(seqs.is_sorted(), "{name}: {seqs:?}");
        assert!(mine[0]["request"]["take"]["wanted"].is_u64());
        assert!(mine.iter().all(|line| line["granted"]["slots"].is_u64()));
        assert!(
            mine.iter()
                .all(|line| number(line, "sent_us") <= number(line, "answered_us"))
        );
    }
}

#[test]
fn what_cant_be_is_refused_by_name() {
    for (args, named) in [
        (
            &["--nodes", "127.0.0.1:1", "--group-commands", "1"] as &[&str],
            "--group-commands",
        ),
        (&["--holders", "0"], "--holders"),
        (
            &["--nodes", "https://a:1"],
            "--nodes: https://a:1 given, expected host:port",
        ),
        (&["--record", "/no/such/dir/file"], "/no/such/dir/file"),
    ] {
        let args = [&["bench", "lease"], args].concat();
        let errors = preau(&args).failed(2);
        assert!(errors.contains(named), "{args:?}: {errors}");
    }
}
