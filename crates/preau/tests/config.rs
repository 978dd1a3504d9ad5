//! `preau config check`: what a node is told, and where each value may come from.

mod common;

use common::{Ran, command, preau, preau_with};

const GOOD: &str = "node_id = 1\ndata_dir = \"/var/lib/preau\"\nlisten = \"0.0.0.0:4501\"\nadvertise = \"node-1:4501\"\n";

fn check(input: &str) -> Ran {
    preau_with(&["config", "check", "-c", "-"], input)
}

#[test]
fn a_good_file_is_told_back() {
    let expected = "ok: node 1, data in /var/lib/preau, listens on 0.0.0.0:4501 without TLS, reached at node-1:4501\n";
    assert_eq!(check(GOOD).ok(), expected);
    let flags = [
        "config",
        "check",
        "--node-id",
        "7",
        "--data-dir",
        "d",
        "--output",
        "json",
    ];
    let told = preau(&flags).json();
    assert_eq!(told["node_id"], 7);
    assert_eq!(told["listen"], "127.0.0.1:4501");
}

#[test]
fn a_flag_beats_the_environment_and_that_beats_the_file() {
    let run = |flags: &[&str], variable: Option<&str>| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, GOOD).unwrap();
        let mut command = command();
        command
            .args(["config", "check", "--output", "json", "-c"])
            .arg(path)
            .args(flags);
        if let Some(value) = variable {
            command.env("PREAU_NODE_ID", value);
        }
        Ran::from(command.output().unwrap())
    };
    assert_eq!(run(&[], None).json()["node_id"], 1);
    assert_eq!(run(&[], Some("2")).json()["node_id"], 2);
    assert_eq!(run(&["--node-id", "3"], Some("2")).json()["node_id"], 3);

    let err = run(&[], Some("two")).failed(2);
    assert!(
        err.contains("node_id: \"two\" given, expected a whole number")
            && err.contains("(PREAU_NODE_ID)"),
        "{err}"
    );
    let err = run(&["--raft-heartbeat-ms", "9"], None).failed(2);
    assert!(
        err.contains("raft.heartbeat_ms: 9 given, expected 10 to 10000 (--raft-heartbeat-ms)"),
        "{err}"
    );
}

#[test]
fn each_refusal_names_field_value_and_what_was_expected() {
    let with = |more: &str| format!("{GOOD}{more}\n");
    let cases = [
        (
            "data_dir = \"d\"".to_owned(),
            "node_id: nothing given, expected a number, at least 1; set it in the file, by --node-id or by PREAU_NODE_ID",
        ),
        (
            "node_id = 1".into(),
            "data_dir: nothing given, expected a directory",
        ),
        (
            "node_id = 0\ndata_dir = \"d\"".into(),
            "node_id: 0 given, expected at least 1 (line 1 of the file)",
        ),
        (
            "node_id = -1\ndata_dir = \"d\"".into(),
            "node_id: \"-1\" given, expected a whole number",
        ),
        (
            "node_id = \"1\"\ndata_dir = \"d\"".into(),
            "line 1: node_id: \"1\" given, expected a whole number",
        ),
        (
            "node_id = 1.0\ndata_dir = \"d\"".into(),
            "line 1: node_id: 1.0 given, expected a whole number",
        ),
        (
            "node_id = 1\ndata_dir = 5".into(),
            "line 2: data_dir: 5 given, expected text",
        ),
        (
            "node_id = 1\ndata_dir = \"d\"\nlisten = \"nowhere\"".into(),
            "listen: \"nowhere\" given, expected IP:port, such as 127.0.0.1:4501 (line 3 of the file)",
        ),
        (
            "node_id = 1\ndata_dir = \"d\"\nlisten = \"0.0.0.0:1\"".into(),
            "advertise: nothing given, expected host:port",
        ),
        (
            with("node = 2"),
            "line 5: node: unknown key; expected one of node_id, data_dir, listen,",
        ),
        (
            with("[raft]\nheartbeat = 2"),
            "line 6: raft.heartbeat: unknown key",
        ),
        (with("[[raft]]\nheartbeat_ms = 2"), "raft: unknown key"),
        (
            with("[raft]\nelection_min_ms = 300"),
            "raft.election_min_ms: 300 given, expected 750 to 59999 (line 6",
        ),
        (
            with("[limits]\nin_flight = 0"),
            "limits.in_flight: 0 given, expected 1 to 1000000",
        ),
        (
            with("[tls]\nca = \"ca.pem\""),
            "tls.cert: nothing given, expected a PEM file, for tls.ca is given",
        ),
        (
            with("[tls]\nrequire_client_certificates = true"),
            "tls.require_client_certificates: true given, expected tls.ca, tls.cert and tls.key with it",
        ),
        (
            with("[tls]\nrequire_client_certificates = 1"),
            "expected true or false",
        ),
        ("node_id".into(), "TOML parse error at line 1"),
    ];
    for (input, expected) in cases {
        let err = check(&input).failed(2);
        assert!(
            err.contains(expected),
            "{input}\n{err}\nexpected: {expected}"
        );
    }
}
