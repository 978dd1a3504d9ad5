//! How people wait, by hand and from a file, on a real node: modes, rules, floors, the calendar, and tokens.

mod common;

use client::keys::Keys;
use client::tokens::{Scope, SeatTerm, Token};
use common::cluster::{Cluster, eventually};
use common::preau;
use jiff::Timestamp;
use serde_json::json;

const FILE: &str = r#"
[[pool]]
name = "ent"
capacity = 1000
ttl_ms = 3600000
overtake_s = 300
reclaim = "shorten"
[pool.session]
limit_s = 3600
when_waiting_s = 1200
least_s = 600
[[pool.class]]
name = "teachers"
first = true
[[pool.class]]
name = "everyone"
weight = 4
[[pool.calendar]]
name = "morning"
for_each_region = true
days = "mon-fri"
time = "08:45"
action = "open"
[[pool.calendar]]
name = "repairs"
at = "2099-07-01 22:00"
action = "pause"
reason = "repairs"
[[pool.region]]
name = "a"
nominal = 400
zone = "Indian/Reunion"
floor = 20
[[pool.region.holder]]
name = "portal-1"
floor = 5
[[pool.region]]
name = "b"
nominal = 300
"#;

#[test]
fn a_file_says_how_people_wait() {
    let cluster = Cluster::of(1);
    let added = "\
+ pool \"ent\": capacity 1,000, ttl_ms 3,600,000, drift_ppm 10,000, overtake_s 300, reclaim shorten, \
session.limit_s 3,600, session.when_waiting_s 1,200, session.least_s 600, class \"teachers\" no. 1, weight 1, first, \
class \"everyone\" no. 2, weight 4, calendar \"morning/a\" mon-fri 08:45 local: open (region \"a\"), \
calendar \"morning/b\" mon-fri 08:45 local: open (region \"b\"), \
calendar \"repairs\" Wed 2099-07-01 22:00:00 Europe/Paris: pause, \"repairs\"
+ region \"a\" of pool \"ent\": nominal 400, weight 1, zone Indian/Reunion, floor 20, floor of \"portal-1\" 5
+ region \"b\" of pool \"ent\": nominal 300, weight 1
";
    let dry = cluster
        .run_with(&["apply", "-f", "-", "--dry-run"], FILE)
        .ok();
    assert_eq!(
        dry,
        format!("{added}not applied; the budget is at revision 0\n")
    );
    cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    let again = cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    assert_eq!(again, "nothing to change; the budget is at revision 1\n");

    let pool = cluster.json(&["pool", "show", "ent"]);
    assert_eq!(pool["set_aside"], 25);
    assert_eq!(
        pool["rules"],
        json!({
            "overtake_s": 300, "reclaim": "shorten", "limit_s": 3600, "idle_s": null, "when_waiting_s": 1200,
            "notice_s": 0, "least_s": 600, "classes": [
                {"name": "teachers", "weight": 1, "first": true},
                {"name": "everyone", "weight": 4, "first": false},
            ],
        })
    );
    assert_eq!(
        pool["regions"][0]["floors"],
        json!([
            {"holder": null, "slots": 20, "told": 0},
            {"holder": "portal-1", "slots": 5, "told": 0},
        ])
    );
    let calendar = &pool["calendar"];
    assert_eq!(
        (calendar[0]["zone"].as_str(), calendar[1]["zone"].as_str()),
        (Some("Indian/Reunion"), Some("Europe/Paris"))
    );
    let next = calendar[0]["next"].as_str().unwrap();
    assert!(next.ends_with("08:45:00 Indian/Reunion"), "{next}");
    assert_eq!(calendar[2]["next"], "Wed 2099-07-01 22:00:00 Europe/Paris");
    let shown = cluster.run(&["pool", "show", "ent"]).ok();
    for part in [
        "teachers",
        "portal-1",
        "morning/a",
        "while others wait 1,200 s",
        "reclaim: shorten",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    // What a file no longer says has its default; what changes is shown field by field.
    let less = FILE.replace(
        "floor = 20\n[[pool.region.holder]]\nname = \"portal-1\"\nfloor = 5\n",
        "",
    );
    let less = less
        .replace("overtake_s = 300\n", "")
        .replace("weight = 4", "weight = 2");
    let less = less.replace("22:00", "23:00");
    let changes = "\
~ pool \"ent\": overtake_s 300 -> 600, class \"everyone\" no. 2, weight 4 -> no. 2, weight 2, \
calendar \"repairs\" Wed 2099-07-01 22:00:00 Europe/Paris: pause, \"repairs\" -> \
Wed 2099-07-01 23:00:00 Europe/Paris: pause, \"repairs\"
~ region \"a\" of pool \"ent\": floor 20 -> none, floor of \"portal-1\" 5 -> none
";
    let made = cluster.run_with(&["apply", "-f", "-"], &less).ok();
    assert_eq!(
        made,
        format!("{changes}applied; the budget is at revision 2\n")
    );
    assert_eq!(cluster.json(&["pool", "show", "ent"])["set_aside"], 0);
    // A region that the calendar named goes with its entries.
    let (one, _) = less.rsplit_once("[[pool.region]]").unwrap();
    let pruned = cluster.run_with(&["apply", "-f", "-", "--prune"], one).ok();
    assert!(
        pruned.contains("- region \"b\" of pool \"ent\""),
        "{pruned}"
    );
}

#[test]
fn an_operator_opens_and_closes_by_hand() {
    let cluster = Cluster::of(1);
    cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    let set = cluster
        .run(&["pool", "pause", "ent", "--reason", "repairs until 9"])
        .ok();
    assert_eq!(set, "pool \"ent\" is paused; the budget is at revision 2\n");
    let same = cluster
        .run(&["pool", "pause", "ent", "--reason", "repairs until 9"])
        .ok();
    assert_eq!(same, "nothing to change; the budget is at revision 2\n");
    let modes = [
        ("freeze", "frozen"),
        ("drain", "draining"),
        ("close", "closed"),
    ];
    for (verb, mode) in modes {
        let args = ["pool", verb, "ent", "--region", "a", "--reason", "why"];
        let set = cluster.run(&args).ok();
        assert!(
            set.starts_with(&format!("region \"a\" of pool \"ent\" is {mode};")),
            "{set}"
        );
    }
    let pool = cluster.json(&["pool", "show", "ent"]);
    assert_eq!(
        (pool["mode"].as_str(), pool["reason"].as_str()),
        (Some("paused"), Some("repairs until 9"))
    );
    let region = &pool["regions"][0];
    assert_eq!(
        (region["mode"].as_str(), region["reason"].as_str()),
        (Some("closed"), Some("why"))
    );
    let shown = cluster.run(&["pool", "show", "ent"]).ok();
    assert!(
        shown.contains("the pool is paused: repairs until 9\nregion \"a\" is closed: why"),
        "{shown}"
    );
    let watched = cluster.run(&["watch", "--count", "1"]).ok();
    assert!(watched.contains("queued 0, paused"), "{watched}");
    cluster.run(&["pool", "open", "ent"]).ok();
    assert_eq!(cluster.json(&["pool", "show", "ent"])["mode"], "open");

    let cut = cluster.run(&["pool", "capacity", "ent", "350"]).ok();
    assert!(
        cut.starts_with("pool \"ent\" has a capacity of 350;"),
        "{cut}"
    );
    assert_eq!(cluster.json(&["pool", "show", "ent"])["capacity"], 350);

    let revision = cluster.json(&["pool", "list"])["revision"].clone();
    let refused: [(&[&str], i32, &str); 14] = [
        (
            &["pool", "pause", "ent"],
            2,
            "--reason: nothing given, expected why",
        ),
        (
            &["pool", "close", "ent", "--region", "a"],
            2,
            "--reason: nothing given",
        ),
        (
            &["pool", "drain", "ent", "--reason", &"x".repeat(257)],
            2,
            "--reason: 257 bytes given, expected at most 256",
        ),
        (
            &["pool", "pause", "none", "--reason", "x"],
            1,
            "pool \"none\" does not exist",
        ),
        (
            &["pool", "open", "ent", "--region", "z"],
            1,
            "region \"z\" does not exist in pool \"ent\"",
        ),
        (
            &["pool", "capacity", "none", "5"],
            1,
            "pool \"none\" does not exist",
        ),
        (&["pool", "capacity", "ent", "-1"], 2, "unexpected argument"),
        (
            &["pool", "set", "ent", "--class", "x,weight=0"],
            2,
            "\"weight=0\": expected \"first\" or \"weight=N\"",
        ),
        (
            &["pool", "set", "ent", "--class", "x", "--class", "x"],
            1,
            "rules.classes[1].name",
        ),
        (
            &["pool", "set", "ent", "--idle-s", "3601"],
            2,
            "--idle-s: 3601 given, expected at most the limit_s of 3600",
        ),
        (
            &["pool", "set", "ent", "--when-waiting-s", "0"],
            2,
            "--reclaim: shorten given, expected drain",
        ),
        (
            &["region", "set", "ent", "a", "--zone", "Paris"],
            1,
            "set_zone.zone: \"Paris\" given, expected a time zone",
        ),
        (
            &["region", "set", "ent", "a", "--floor", "400"],
            1,
            "[FLOORS_OVER_CAPACITY]",
        ),
        (
            &["region", "set", "ent", "a", "--holder-floor", "h"],
            2,
            "expected HOLDER=SLOTS",
        ),
    ];
    for (args, code, expected) in refused {
        let err = cluster.run(args).failed(code);
        assert!(err.contains(expected), "{args:?}: {err}");
    }
    assert_eq!(cluster.json(&["pool", "list"])["revision"], revision);

    cluster.run(&["pool", "capacity", "ent", "1000"]).ok();
    cluster
        .run(&[
            "pool",
            "set",
            "ent",
            "--class",
            "exams,weight=3,first",
            "--idle-s",
            "60",
            "--reclaim",
            "drain",
        ])
        .ok();
    cluster
        .run(&[
            "region",
            "set",
            "ent",
            "b",
            "--zone",
            "Indian/Mayotte",
            "--holder-floor",
            "p=3",
        ])
        .ok();
    let pool = cluster.json(&["pool", "show", "ent"]);
    assert_eq!(
        pool["rules"]["classes"],
        json!([{"name": "exams", "weight": 3, "first": true}])
    );
    assert_eq!(
        (
            pool["rules"]["idle_s"].as_u64(),
            pool["rules"]["limit_s"].as_u64()
        ),
        (Some(60), Some(3_600))
    );
    assert_eq!(pool["regions"][1]["zone"], "Indian/Mayotte");
    assert_eq!(pool["regions"][1]["set_aside"], 3);
}

#[test]
fn a_calendar_acts_once_and_not_for_what_was_before_it() {
    let cluster = Cluster::of(1);
    let now = Timestamp::now().as_second();
    let soon = Timestamp::from_second(now + 2).unwrap();
    let past = Timestamp::from_second(now - 60).unwrap();
    let file = format!(
        "[[pool]]\nname = \"ent\"\ncapacity = 1000\n\
         [[pool.calendar]]\nname = \"cut\"\nat = \"{soon}\"\naction = \"capacity\"\ncapacity = 600\n\
         [[pool.calendar]]\nname = \"old\"\nat = \"{past}\"\naction = \"pause\"\nreason = \"over\"\n"
    );
    cluster.run_with(&["apply", "-f", "-"], &file).ok();
    eventually("the capacity is cut", || {
        cluster.json(&["pool", "show", "ent"])["capacity"] == 600
    });
    let pool = cluster.json(&["pool", "show", "ent"]);
    assert_eq!(pool["calendar"][0]["last_unix_s"], now + 2);
    assert_eq!(pool["calendar"][0]["next"], serde_json::Value::Null);
    // What was over when the calendar was set is left alone.
    assert_eq!(pool["calendar"][1]["last_unix_s"], serde_json::Value::Null);
    assert_eq!(pool["mode"], "open");
    assert_eq!(cluster.json(&["pool", "list"])["revision"], 2);
}

#[test]
fn tokens_are_shown_where_they_are_good() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    let line = preau(&["key", "new", "--id", "7"]).ok();
    assert!(line.starts_with("7 = "), "{line}");
    assert_ne!(line, preau(&["key", "new", "--id", "7"]).ok());
    std::fs::write(&file, &line).unwrap();
    let keys = Keys::parse(&line).unwrap();
    let seat = Token {
        issuer: 0xabcd,
        class: 1,
        second: 90,
        issued_s: 100,
        id: 0x1234,
        seat: Some(SeatTerm {
            start_s: 95,
            limit_s: Some(50),
        }),
    };
    let text = Scope::new("ent", "a").sign(&keys, &seat);
    let file = file.to_str().unwrap();
    let show = |region: &str, now: &str, output: &str| {
        preau(&[
            "ticket", "show", &text, "--keys", file, "--pool", "ent", "--region", region, "--now",
            now, "--output", output,
        ])
    };
    assert_eq!(
        show("a", "120", "table").ok(),
        "a good seat of pool \"ent\", region \"a\", class no. 2\n\
         id 0000000000001234, issued by 0000abcd\n\
         arrived in second 90, 30 s ago\n\
         seated in second 95, 25 s ago, for 50 s at most\n\
         issued in second 100, 20 s ago; good for another 25 s\n"
    );
    assert_eq!(show("a", "120", "json").json()["expires_s"], 145);
    for (region, now, expected) in [("b", "120", "another region"), ("a", "145", "expired")] {
        let err = show(region, now, "table").failed(1);
        assert!(err.contains(expected), "{err}");
    }
    let err = preau(&[
        "ticket", "show", &text, "--keys", "/nowhere", "--pool", "ent", "--region", "a", "--now",
        "1",
    ])
    .failed(2);
    assert!(err.contains("/nowhere"), "{err}");

    // A cluster knows the time and the classes' names.
    let cluster = Cluster::of(1);
    cluster.run_with(&["apply", "-f", "-"], FILE).ok();
    let fresh = Token {
        issued_s: 0,
        second: 0,
        seat: None,
        ..seat
    };
    let text = Scope::new("ent", "a").sign(&keys, &fresh);
    let shown = cluster.json(&[
        "ticket", "show", &text, "--keys", file, "--pool", "ent", "--region", "a",
    ]);
    assert_eq!(shown["class_name"], "everyone");
    assert_eq!(shown["kind"], "ticket");
}
