//! The budget on a real node: `apply`, `pool`, `region`, `lease`, `holder`.

mod common;

use common::cluster::{Cluster, eventually};
use common::preau_with;

const FILE: &str = r#"
[[pool]]
name = "ent"
capacity = 1000
ttl_ms = 3600000
[[pool.region]]
name = "a"
nominal = 400
[[pool.region]]
name = "b"
nominal = 300
ceiling = 800
weight = 2
"#;

#[test]
fn apply_shows_the_difference_and_makes_it_once() {
    let cluster = Cluster::of(1);
    let added = "\
+ pool \"ent\": capacity 1,000, ttl_ms 3,600,000, drift_ppm 10,000
+ region \"a\" of pool \"ent\": nominal 400, weight 1
+ region \"b\" of pool \"ent\": nominal 300, ceiling 800, weight 2
";
    let dry = cluster
        .run_with(&["apply", "-f", "-", "--dry-run"], FILE)
        .ok();
    assert_eq!(
        dry,
        format!("{added}not applied; the budget is at revision 0\n")
    );
    assert_eq!(cluster.terms(), "[0]");

    let made = cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    assert_eq!(
        made,
        format!("{added}applied; the budget is at revision 1\n")
    );
    let terms = cluster.terms();
    assert_eq!(
        terms,
        r#"[1,"ent",1000,3600000,10000,"a",400,null,1,"b",300,800,2]"#
    );
    let again = cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    assert_eq!(again, "nothing to change; the budget is at revision 1\n");
    assert_eq!(cluster.terms(), terms);

    // Another file: one region changes, one is new, one is not named.
    let other = FILE.replace("\"a\"\nnominal = 400", "\"c\"\nnominal = 100");
    let other = other.replace("ceiling = 800\nweight = 2", "weight = 3");
    let left =
        "not in the file, and left alone (--prune removes them): region \"a\" of pool \"ent\"\n";
    let changes = "\
+ region \"c\" of pool \"ent\": nominal 100, weight 1
~ region \"b\" of pool \"ent\": ceiling 800 -> none, weight 2 -> 3
";
    let dry = cluster
        .run_with(&["apply", "-f", "-", "--dry-run"], &other)
        .ok();
    assert_eq!(
        dry,
        format!("{changes}{left}not applied; the budget is at revision 1\n")
    );
    let pruned = cluster
        .run_with(&["apply", "-f", "-", "--prune"], &other)
        .ok();
    assert_eq!(
        pruned,
        format!("{changes}- region \"a\" of pool \"ent\"\napplied; the budget is at revision 2\n")
    );
    assert_eq!(
        cluster.terms(),
        r#"[2,"ent",1000,3600000,10000,"b",300,null,3,"c",100,null,1]"#
    );
    let told = cluster
        .run_with(&["apply", "-f", "-", "--dry-run", "--output", "json"], FILE)
        .json();
    assert_eq!(told["applied"], false);
    assert_eq!(told["left_alone"][0]["region"], "c");
    assert_eq!(told["changes"][0]["action"], "add");
    assert_eq!(
        told["changes"][1]["fields"][0],
        serde_json::json!({"field": "ceiling", "from": null, "to": 800})
    );
}

#[test]
fn refusals_of_apply_change_nothing() {
    let cluster = Cluster::of(1);
    cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    cluster
        .run(&["lease", "take", "ent", "a", "h", "--wanted", "5"])
        .ok();
    let terms = cluster.terms();
    let cases = [
        // The file is wrong.
        (
            2,
            "[[pool]]\nname = \"ent\"\ncapacity = -1",
            "line 3: pool \"ent\": capacity: -1 given",
        ),
        (
            2,
            "[[pool]]\nname = \"ent\"\ncapacity = 1\nslots = 2",
            "slots: unknown field",
        ),
        (
            2,
            "[[pool]]\nname = \"ent\"\ncapacity = 1\n[[pool.region]]\nname = \"a\"\nnominal = 2",
            "pool \"ent\": capacity: 1 given, expected at least 2",
        ),
        (2, "nonsense", "TOML parse error"),
        // The file is right, and does not fit what is there.
        (
            1,
            "[[pool]]\nname = \"ent\"\ncapacity = 500\n[[pool.region]]\nname = \"b\"\nnominal = 200",
            "pool \"ent\": capacity: 500 given, expected at least 600, which the nominals of the file's regions and of those that it does not name (400) add up to",
        ),
    ];
    for (code, file, expected) in cases {
        for dry in [&["--dry-run"][..], &[]] {
            let err = cluster
                .run_with(&[&["apply", "-f", "-"], dry].concat(), file)
                .failed(code);
            assert!(err.contains(expected), "{err}\nexpected: {expected}");
        }
    }
    // What would be removed is in use.
    let without =
        "[[pool]]\nname = \"ent\"\ncapacity = 1000\n[[pool.region]]\nname = \"b\"\nnominal = 200";
    let err = cluster
        .run_with(&["apply", "-f", "-", "--prune"], without)
        .failed(1);
    assert!(err.contains("region \"a\" of pool \"ent\" has 5 slots out and can't be removed; set its nominal and ceiling to 0"), "{err}");
    let err = cluster
        .run_with(&["apply", "-f", "-", "--prune"], "")
        .failed(1);
    assert!(
        err.contains(
            "pool \"ent\" has 5 slots out and can't be removed; set its capacity and nominals to 0"
        ),
        "{err}"
    );
    assert_eq!(cluster.terms(), terms);
}

#[test]
fn pools_and_regions_are_set_by_hand_and_refused_by_name() {
    let cluster = Cluster::of(1);
    let err = cluster.run(&["pool", "set", "ent"]).failed(2);
    assert!(
        err.contains("--capacity: not given, expected a number of slots, for pool \"ent\" is new"),
        "{err}"
    );
    let set = cluster
        .run(&["pool", "set", "ent", "--capacity", "100"])
        .ok();
    assert_eq!(set, "pool \"ent\" set; the budget is at revision 1\n");
    let same = cluster
        .run(&["pool", "set", "ent", "--capacity", "100"])
        .ok();
    assert_eq!(same, "nothing to change; the budget is at revision 1\n");
    cluster
        .run(&["pool", "set", "ent", "--ttl-ms", "3600000"])
        .ok();
    cluster
        .run(&[
            "region",
            "set",
            "ent",
            "a",
            "--nominal",
            "60",
            "--ceiling",
            "90",
        ])
        .ok();
    cluster
        .run(&["region", "set", "ent", "a", "--weight", "7"])
        .ok();
    assert_eq!(
        cluster.terms(),
        r#"[4,"ent",100,3600000,10000,"a",60,90,7]"#
    );
    cluster
        .run(&["region", "set", "ent", "a", "--no-ceiling"])
        .ok();
    let terms = cluster.terms();
    assert_eq!(terms, r#"[5,"ent",100,3600000,10000,"a",60,null,7]"#);

    cluster
        .run(&["lease", "take", "ent", "a", "h", "--wanted", "80"])
        .ok();
    let refused: [(&[&str], i32, &str); 12] = [
        (
            &["pool", "set", "ent", "--capacity", "59"],
            1,
            "pool \"ent\": the nominals of its regions add up to 60, over its capacity of 59 [NOMINALS_OVER_CAPACITY]",
        ),
        (
            &["pool", "set", " x", "--capacity", "1"],
            1,
            "[INVALID_FIELD]",
        ),
        (
            &["pool", "set", "x", "--capacity", "1000000000001"],
            2,
            "--capacity",
        ),
        (&["pool", "set", "ent", "--ttl-ms", "999"], 2, "--ttl-ms"),
        (
            &["pool", "set", "ent", "--drift-ppm", "200001"],
            2,
            "--drift-ppm",
        ),
        (&["pool", "show", "none"], 1, "pool \"none\" does not exist"),
        (
            &["pool", "remove", "none"],
            1,
            "pool \"none\" does not exist [NO_SUCH_POOL]",
        ),
        (
            &["pool", "remove", "ent"],
            1,
            "pool \"ent\" has 80 slots out; set its capacity and nominals to 0",
        ),
        (
            &["region", "set", "ent", "a", "--ceiling", "59"],
            1,
            "ceiling: 59 given, expected at least the nominal of 60",
        ),
        (
            &["region", "set", "none", "a", "--nominal", "1"],
            1,
            "pool \"none\" does not exist",
        ),
        (
            &["region", "remove", "ent", "a"],
            1,
            "region \"a\" of pool \"ent\" has 80 slots out; set its nominal and ceiling to 0",
        ),
        (
            &["region", "show", "ent", "none"],
            1,
            "region \"none\" does not exist in pool \"ent\"",
        ),
    ];
    for (args, code, expected) in refused {
        let err = cluster.run(args).failed(code);
        assert!(err.contains(expected), "{args:?}: {err}");
    }
    assert_eq!(
        cluster
            .run(&["region", "set", "ent", "a", "--weight", "0"])
            .code,
        2
    );
    assert_eq!(cluster.terms(), terms);

    let drains = cluster
        .run(&["pool", "set", "ent", "--capacity", "70"])
        .ok();
    assert!(
        drains.contains("pool \"ent\" drains: 10 slots are out above its capacity"),
        "{drains}"
    );
    let region = cluster.json(&["region", "show", "ent", "a"]);
    assert_eq!(
        (region["held"].as_u64(), region["target"].as_u64()),
        (Some(80), Some(70))
    );
    let shown = cluster.run(&["pool", "show", "ent"]).ok();
    assert!(
        shown.contains("POOL") && shown.contains("REGION"),
        "{shown}"
    );
    assert!(cluster.run(&["region", "list"]).ok().contains("ent   a"));
    cluster
        .run(&["pool", "set", "spare", "--capacity", "1"])
        .ok();
    assert!(
        cluster
            .run(&["pool", "remove", "spare"])
            .ok()
            .starts_with("pool \"spare\" removed")
    );
}

#[test]
fn leases_are_taken_kept_and_returned_by_hand() {
    let cluster = Cluster::of(1);
    cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    let take = [
        "lease", "take", "ent", "a", "h", "--wanted", "700", "--epoch", "5",
    ];
    let grant = cluster.json(&take);
    assert_eq!(
        (grant["slots"].as_u64(), grant["seq"].as_u64()),
        (Some(700), Some(1))
    );
    // The same request again has the same answer.
    assert_eq!(cluster.json(&take), grant);
    let id = grant["lease_id"].to_string();

    let renewed = cluster.json(&["lease", "renew", &id, "--kept", "100", "--wanted", "200"]);
    assert_eq!(
        (renewed["slots"].as_u64(), renewed["seq"].as_u64()),
        (Some(200), Some(2))
    );
    let renewed = cluster.json(&["lease", "renew", &id]);
    assert_eq!(
        (renewed["slots"].as_u64(), renewed["seq"].as_u64()),
        (Some(200), Some(3))
    );
    let lease = &cluster.json(&["lease", "list", "--holder", "h"])["leases"][0];
    assert_eq!(
        (lease["state"].as_str(), lease["wanted"].as_u64()),
        (Some("live"), Some(200))
    );
    let holders = cluster.json(&["holder", "list"]);
    assert_eq!(holders["holders"][0]["slots"], 200);
    assert_eq!(
        cluster.json(&["lease", "list", "--region", "b"])["leases"],
        serde_json::json!([])
    );

    let refused: [(&[&str], &str); 7] = [
        (
            &["lease", "take", "none", "a", "h", "--wanted", "1"],
            "[NO_SUCH_POOL]",
        ),
        (
            &["lease", "take", "ent", "none", "h", "--wanted", "1"],
            "[NO_SUCH_REGION]",
        ),
        (
            &[
                "lease", "take", "ent", "a", "h", "--wanted", "1", "--epoch", "4",
            ],
            "[STALE_EPOCH]",
        ),
        (
            &[
                "lease", "renew", &id, "--seq", "2", "--kept", "1", "--wanted", "1",
            ],
            "[STALE_SEQ]",
        ),
        (&["lease", "renew", &id, "--kept", "201"], "kept"),
        (&["lease", "renew", "77"], "lease 77 is not known"),
        (&["holder", "remove", "none"], "[NO_SUCH_HOLDER]"),
    ];
    for (args, expected) in refused {
        let err = cluster.run(args).failed(1);
        assert!(err.contains(expected), "{args:?}: {err}");
    }
    assert_eq!(
        cluster
            .run(&["lease", "take", "ent", "a", "h", "--wanted", "-1"])
            .code,
        2
    );
    assert_eq!(
        cluster.json(&["lease", "list", "--pool", "ent"])["leases"][0]["slots"],
        200
    );

    let returned = cluster.run(&["lease", "return", &id]).ok();
    assert_eq!(returned, format!("lease {id} returned: 200 slots freed\n"));
    cluster
        .run(&["lease", "take", "ent", "b", "gone", "--wanted", "9"])
        .ok();
    let removed = cluster.run(&["holder", "remove", "gone"]).ok();
    assert_eq!(
        removed,
        "holder \"gone\" removed: 1 leases close, 9 slots come free as they run out\n"
    );
    let state = cluster.json(&["lease", "list", "--holder", "gone"])["leases"][0]["state"].clone();
    assert_eq!(state, "closing");
}

#[test]
fn status_and_watch_show_the_budget() {
    let cluster = Cluster::of(1);
    cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    cluster
        .run(&["lease", "take", "ent", "a", "h", "--wanted", "500"])
        .ok();
    let status = cluster.json(&["status"]);
    assert_eq!(status["budget"]["pools"][0]["regions"][0]["borrowed"], 100);
    assert_eq!(status["nodes"][0]["role"], "leader");
    assert!(status["nodes"][0]["disk_bytes"].as_u64().unwrap() > 0);
    let looks = cluster
        .run(&[
            "watch",
            "--interval-ms",
            "100",
            "--count",
            "3",
            "--output",
            "json",
        ])
        .ok();
    assert_eq!(looks.lines().count(), 3);
    for look in looks.lines() {
        let look: serde_json::Value = serde_json::from_str(look).unwrap();
        assert_eq!(look["pools"][0]["held"], 500);
    }
    let line = cluster.run(&["watch", "--count", "1"]).ok();
    assert!(
        line.contains("ent: held 500 of 1,000, wanted 500, waiting 0"),
        "{line}"
    );
    eventually("stale reads catch up", || {
        let read = cluster.json(&["pool", "show", "ent", "--stale"]);
        read["held"].as_u64() == Some(500)
    });
}

#[test]
fn nothing_that_needs_a_node_works_without_one() {
    // Nobody listens on port 1.
    let at = ["--nodes", "127.0.0.1:1", "--timeout-ms", "300"];
    let commands: [&[&str]; 14] = [
        &["init"],
        &["init", "--member", "1=127.0.0.1:1"],
        &["member", "list"],
        &["member", "add", "4=127.0.0.1:2"],
        &["member", "remove", "4"],
        &["leader", "transfer"],
        &["pool", "list"],
        &["pool", "set", "ent", "--capacity", "5"],
        &["region", "list"],
        &["apply", "-f", "-"],
        &["lease", "take", "ent", "a", "h", "--wanted", "1"],
        &["holder", "list"],
        &["status"],
        &["watch"],
    ];
    for args in commands {
        let err = preau_with(&[args, &at].concat(), FILE).failed(3);
        assert!(
            err.contains("No node answered in time: check that"),
            "{args:?}: {err}"
        );
    }
    let usage: [(&[&str], &str); 4] = [
        (
            &["--nodes", "nowhere"],
            "--nodes: node address \"nowhere\": it has no port",
        ),
        (
            &["--nodes", "https://a:1"],
            "--tls-ca: not given, expected the certificate authority of https://a:1",
        ),
        (
            &["--nodes", "a:1", "--tls-ca", "/none.pem"],
            "--tls-ca: can't read \"/none.pem\"",
        ),
        (
            &["--nodes", "http://a:1", "--tls-ca", "/none.pem"],
            "--nodes: http://a:1 given, expected https://",
        ),
    ];
    for (flags, expected) in usage {
        let err = preau_with(&[&["pool", "list"], flags].concat(), "").failed(2);
        assert!(err.contains(expected), "{err}");
    }
}
