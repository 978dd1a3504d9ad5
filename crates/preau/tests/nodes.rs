//! Nodes as processes: `serve`, `init`, `member`, `leader`, `status`.

mod common;

use common::cluster::{Cluster, Node, eventually};
use common::{command, preau};
use rustix::process::Signal;

#[test]
fn members_come_and_go_and_leadership_moves() {
    let mut cluster = Cluster::of(3);
    let members = cluster.json(&["member", "list"]);
    assert_eq!(members["members"].as_array().unwrap().len(), 3);
    assert_eq!(members["leader_id"], cluster.leader());

    let to = cluster.leader() % 3 + 1;
    let moved = cluster.json(&["leader", "transfer", "--to", &to.to_string()]);
    assert_eq!(moved["leader_id"], to);
    let moved = cluster.json(&["leader", "transfer"])["leader_id"]
        .as_u64()
        .unwrap();
    assert_ne!(moved, to);

    let fourth = Node::start(4, cluster.dir.path());
    let member = format!("4={}", fourth.address);
    let added = cluster.run(&["member", "add", &member]).ok();
    assert_eq!(added, "node 4 added as a learner\n");
    let role = |cluster: &Cluster| {
        let listed = cluster.json(&["member", "list"]);
        let listed = listed["members"].as_array().unwrap().clone();
        listed
            .iter()
            .find(|m| m["node_id"] == 4)
            .map(|m| m["voter"] == true)
    };
    assert_eq!(role(&cluster), Some(false));
    eventually("the learner is promoted", || {
        cluster.run(&["member", "promote", "4"]).code == 0
    });
    assert_eq!(role(&cluster), Some(true));

    let refused: [(&[&str], &str); 4] = [
        (
            &["member", "add", "4=127.0.0.1:9"],
            "node 4 is a member already",
        ),
        (&["member", "promote", "9"], "[NO_SUCH_MEMBER]"),
        (&["member", "remove", "9"], "[NO_SUCH_MEMBER]"),
        (&["init"], "a cluster is made once"),
    ];
    for (args, expected) in refused {
        let err = cluster.run(args).failed(1);
        assert!(err.contains(expected), "{args:?}: {err}");
    }

    let gone = cluster.nodes.remove(0);
    cluster.nodes.push(fourth);
    let removed = cluster.run(&["member", "remove", "1"]).ok();
    assert_eq!(removed, "node 1 removed\n");
    drop(gone);
    let ids = |cluster: &Cluster| {
        let listed = cluster.json(&["member", "list"]);
        let ids = listed["members"].as_array().unwrap().clone();
        ids.iter()
            .map(|m| m["node_id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&cluster), [2, 3, 4]);

    // One of three is away: the others serve, and status says who is missing.
    let leader = cluster.leader();
    let away = cluster
        .nodes
        .iter()
        .position(|node| node.id != leader)
        .unwrap();
    let id = cluster.nodes[away].id;
    cluster.nodes[away].signal(Signal::KILL);
    cluster.nodes[away].wait();
    let status = cluster.json(&["status"]);
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        assert_eq!(node["reachable"], node["node_id"] != id, "{node}");
    }
    cluster.run(&["pool", "set", "ent", "--capacity", "5"]).ok();
    cluster.nodes[away].again(&[]);
    eventually("it has caught up", || {
        let read = cluster.nodes[away].run(&["pool", "list", "--stale"]);
        read.code == 0 && read.out.contains("ent")
    });
}

#[test]
fn a_node_stops_in_good_order_and_keeps_its_data() {
    let mut cluster = Cluster::of(1);
    cluster.run(&["pool", "set", "ent", "--capacity", "5"]).ok();
    let terms = cluster.terms();
    for signal in [Signal::TERM, Signal::INT] {
        cluster.nodes[0].signal(signal);
        let (code, err) = cluster.nodes[0].wait();
        assert_eq!(code, 0, "{err}");
        assert!(!err.contains("panicked"), "{err}");
        cluster.nodes[0].again(&[]);
        cluster.leader();
        assert_eq!(cluster.terms(), terms);
    }
    // Another node's directory is refused, and so is a directory in use.
    let dir = cluster.nodes[0].dir.to_str().unwrap().to_owned();
    let flags = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        &dir,
        "--node-id",
    ];
    for id in ["2", "1"] {
        let err = preau(&[&flags[..], &[id]].concat()).err;
        assert!(
            err.contains(&format!("error: node {id} can't start: ")),
            "{err}"
        );
    }
    cluster.nodes[0].signal(Signal::TERM);
    assert_eq!(cluster.nodes[0].wait().0, 0);
    let ran = preau(&[&flags[..], &["2"]].concat());
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("node 2 can't start"), "{}", ran.err);
}

#[test]
fn serve_refuses_what_it_is_told_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let serve = |flags: &[&str]| {
        let mut command = command();
        command
            .args(["serve", "--node-id", "1", "--data-dir"])
            .arg(&data);
        common::Ran::from(command.args(flags).output().unwrap())
    };
    let err = serve(&["--listen", &listen]).failed(1);
    assert!(
        err.contains(&format!("listen: can't listen on {listen}")),
        "{err}"
    );
    let err = serve(&["--raft-heartbeat-ms", "x"]).failed(2);
    assert!(
        err.contains("raft.heartbeat_ms: \"x\" given, expected a whole number"),
        "{err}"
    );
    let err = serve(&["--config", "/none.toml"]).failed(2);
    assert!(err.contains("can't read /none.toml"), "{err}");
    let err = serve(&["--log-format", "xml"]).failed(2);
    assert!(
        err.contains("log.format: \"xml\" given, expected text or json"),
        "{err}"
    );
    let tls = [
        "--tls-ca",
        "/ca.pem",
        "--tls-cert",
        "/cert.pem",
        "--tls-key",
        "/key.pem",
    ];
    let err = serve(&tls).failed(2);
    assert!(err.contains("/ca.pem"), "{err}");
    assert!(!data.exists(), "nothing was made");
}
