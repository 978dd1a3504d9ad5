//! Nodes as processes: `serve`, `init`, `member`, `leader`, `status`.

#![allow(clippy::unwrap_used, reason = "tests")]

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
    // Whom the new leader may choose has to have answered it.
    let mut next = None;
    eventually("leadership moves on", || {
        let ran = cluster.run(&["leader", "transfer", "--output", "json"]);
        next = (ran.code == 0).then(|| ran.json()["leader_id"].as_u64().unwrap());
        next.is_some()
    });
    assert_ne!(next, Some(to));

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
    cluster.nodes[away].again();
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
        cluster.nodes[0].again();
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

#[test]
fn without_a_majority_status_works_and_a_second_signal_ends_a_node() {
    let mut cluster = Cluster::of(3);
    cluster.run(&["pool", "set", "ent", "--capacity", "5"]).ok();
    let leader = cluster.leader();
    for node in cluster.nodes.iter_mut().filter(|node| node.id != leader) {
        node.signal(Signal::KILL);
        node.wait();
    }
    let at = cluster.nodes.iter().position(|node| node.id == leader);
    let node = &mut cluster.nodes[at.unwrap()];
    // It waits for another to lead, which none can: time enough for a second signal.
    node.signal(Signal::TERM);
    std::thread::sleep(std::time::Duration::from_millis(300));
    node.signal(Signal::TERM);
    let (code, err) = node.wait();
    assert_eq!(code, 1, "{err}");
    let said = format!("error: node {leader} ended at once, by a second SIGTERM");
    assert!(err.contains(&said), "{err}");

    node.again();
    let brief = ["--timeout-ms", "1000", "--output", "json"];
    let status = node.run(&[&["status"][..], &brief].concat()).json();
    assert_eq!(status["stale"], true);
    assert_eq!(status["budget"]["pools"][0]["capacity"], 5);
    let set = ["pool", "set", "ent", "--capacity", "6"];
    node.run(&[&set[..], &brief].concat()).failed(3);
}

#[test]
fn with_tls_every_connection_has_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let [ca, cert, key] = certificates(dir.path());
    let tls = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
    let node_flags = [&tls[..], &["--tls-require-client-certificates", "true"]].concat();
    let mut node = Node::new(1, dir.path());
    node.start_with(&node_flags);
    let run = |args: &[&str], tls: &[&str]| {
        let at = ["--nodes", &node.address, "--timeout-ms", "2000"];
        preau(&[args, tls, &at].concat())
    };
    eventually("the node answers", || run(&["status"], &tls).code == 0);
    let member = format!("1={}", node.address);
    run(&["init", "--member", &member], &tls).ok();
    eventually("it leads", || {
        run(&["pool", "set", "ent", "--capacity", "5"], &tls).code == 0
    });
    let listed = run(&["pool", "list", "--output", "json"], &tls).json();
    assert_eq!(listed["pools"][0]["name"], "ent");

    run(&["pool", "list"], &[]).failed(3);
    // The node says why as it closes the connection; whether that is still read is the system's affair.
    let err = run(&["pool", "list"], &["--tls-ca", &ca]).failed(3);
    let refused = [
        "CertificateRequired",
        "connection closed",
        "reset",
        "broken pipe",
    ];
    assert!(refused.iter().any(|why| err.contains(why)), "{err}");
    let err = run(&["pool", "list"], &["--tls-ca", &ca, "--tls-cert", &cert]).err;
    assert!(err.contains("--tls-key"), "{err}");
}

/// An authority, and a certificate for 127.0.0.1 that it has signed, with its key: paths of PEM files.
fn certificates(dir: &std::path::Path) -> [String; 3] {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::CertifiedIssuer::self_signed(authority, authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let params = rcgen::CertificateParams::new(names).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    [
        ("ca.pem", issuer.pem()),
        ("cert.pem", cert.pem()),
        ("key.pem", key.serialize_pem()),
    ]
    .map(|(name, pem)| {
        let path = dir.join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    })
}
