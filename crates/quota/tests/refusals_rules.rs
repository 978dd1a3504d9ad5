//! What is refused of rules, modes, floors and calendars: each limit at its edge, with the words that are said,
//! and nothing changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::refused::*;
use common::*;
use quota::limits::*;
use quota::{
    Action, CalendarEntry, Change, Class, Command, Due, Mode, Reclaim, Rules, SessionRules, When,
};

fn rules(change: impl FnOnce(&mut Rules)) -> Command {
    let mut rules = Rules::default();
    change(&mut rules);
    let pool = "ent".into();
    configure("rules", vec![Change::SetRules { pool, rules }])
}

#[track_caller]
fn rules_refused(change: impl FnOnce(&mut Rules), field: &str, words: &str) {
    let words = format!("changes[0].set_rules.rules.{field}: {words}");
    refused(&mut fixture(), rules(change), &words);
}

#[test]
fn rules_at_their_edges() {
    let class = |name: String, weight| Class {
        name,
        weight,
        first: false,
    };
    let classes = |count: usize| -> Vec<Class> {
        (0..count)
            .map(|i| class(i.to_string(), MAX_WEIGHT))
            .collect()
    };
    let ok = |change: fn(&mut Rules)| run(&mut fixture().state, NOW, rules(change)).is_ok();
    assert!(
        run(
            &mut fixture().state,
            NOW,
            rules(|r| r.classes = classes(MAX_CLASSES))
        )
        .is_ok()
    );
    rules_refused(
        |r| r.classes = classes(17),
        "classes",
        "17 classes given, expected 1 to 16",
    );
    rules_refused(
        |r| r.classes = Vec::new(),
        "classes",
        "0 classes given, expected 1 to 16",
    );
    rules_refused(
        |r| r.classes = vec![class(" ".into(), 1)],
        "classes[0].name",
        &format!("\" \" given, {A_NAME}"),
    );
    for weight in [0, MAX_WEIGHT + 1] {
        let words = format!("{weight} given, expected 1 to 1000000");
        rules_refused(
            |r| r.classes[0].weight = weight,
            "classes[0].weight",
            &words,
        );
    }
    assert!(ok(|r| r.overtake_s = 86_400));
    for overtake_s in [0, 86_401] {
        let words = format!("{overtake_s} given, expected 1 to 86400");
        rules_refused(|r| r.overtake_s = overtake_s, "overtake_s", &words);
    }
    assert!(ok(|r| r.session.limit_s = Some(604_800)));
    for limit in [0, 604_801] {
        let words = format!("{limit} given, expected 1 to 604800");
        rules_refused(
            |r| r.session.limit_s = Some(limit),
            "session.limit_s",
            &words,
        );
        rules_refused(|r| r.session.idle_s = Some(limit), "session.idle_s", &words);
        rules_refused(
            |r| r.session.when_waiting_s = Some(limit),
            "session.when_waiting_s",
            &words,
        );
    }
    let words = "604801 given, expected 0 to 604800";
    rules_refused(|r| r.session.notice_s = 604_801, "session.notice_s", words);
    rules_refused(|r| r.session.least_s = 604_801, "session.least_s", words);
    assert!(ok(|r| {
        r.reclaim = Reclaim::Shorten;
        r.session = SessionRules {
            limit_s: Some(9),
            idle_s: Some(9),
            when_waiting_s: Some(9),
            notice_s: 9,
            least_s: 9,
        };
    }));
}

fn one(change: Change) -> Command {
    configure("one", vec![change])
}

fn mode(mode: Mode, region: Option<&str>, reason: String) -> Command {
    one(Change::SetMode {
        pool: "ent".into(),
        region: region.map(Into::into),
        mode,
        reason,
    })
}

#[test]
fn modes() {
    let text = |most: usize| {
        format!("expected 1 to {most} bytes of printable text without white space at either end")
    };
    let reason = "x".repeat(MAX_REASON_BYTES);
    assert!(
        run(
            &mut fixture().state,
            NOW,
            mode(Mode::Frozen, None, reason.clone())
        )
        .is_ok()
    );
    let words = format!(
        "changes[0].set_mode.reason: \"{reason}\"… given, {}",
        text(256)
    );
    refused(
        &mut fixture(),
        mode(Mode::Frozen, None, reason.clone() + "x"),
        &words,
    );
    refused(&mut fixture(), mode(Mode::Open, None, reason + "x"), &words);
    let words = format!("changes[0].set_mode.reason: \"\" given, {}", text(256));
    for shut in [Mode::Paused, Mode::Frozen, Mode::Closed, Mode::Draining] {
        refused(
            &mut fixture(),
            mode(shut, Some("corse"), String::new()),
            &words,
        );
    }
    assert!(
        run(
            &mut fixture().state,
            NOW,
            mode(Mode::Open, None, String::new())
        )
        .is_ok()
    );
    let words = "region \"mars\" does not exist in pool \"ent\"";
    refused(
        &mut fixture(),
        mode(Mode::Open, Some("mars"), String::new()),
        words,
    );

    let zone = |zone: String| {
        one(Change::SetZone {
            pool: "ent".into(),
            region: "corse".into(),
            zone,
        })
    };
    let long = "Z".repeat(MAX_ZONE_BYTES);
    assert!(run(&mut fixture().state, NOW, zone(long.clone())).is_ok());
    assert!(run(&mut fixture().state, NOW, zone(String::new())).is_ok());
    let words = format!("changes[0].set_zone.zone: \"{long}\"… given, {}", text(64));
    refused(&mut fixture(), zone(long + "Z"), &words);

    let capacity = |pool: &str, capacity| {
        one(Change::SetCapacity {
            pool: pool.into(),
            capacity,
        })
    };
    assert!(run(&mut fixture().state, NOW, capacity("ent", 0)).is_ok());
    refused(
        &mut fixture(),
        capacity("mars", 0),
        "pool \"mars\" does not exist",
    );
    let words =
        "changes[0].set_capacity.capacity: 1000000000001 given, expected 0 to 1000000000000";
    refused(&mut fixture(), capacity("ent", MAX_SLOTS + 1), words);
}

#[test]
fn floors() {
    let floor = |holder: Option<&str>, slots| Change::SetFloor {
        pool: "ent".into(),
        region: "corse".into(),
        holder: holder.map(Into::into),
        slots,
    };
    // The nominals are 70 of 100.
    assert!(run(&mut fixture().state, NOW, one(floor(None, 30))).is_ok());
    let over = "pool \"ent\": nominals of 70 and floors of 31 are over its capacity of 100";
    refused(&mut fixture(), one(floor(None, 31)), over);
    let both = configure("both", vec![floor(None, 30), floor(Some("x"), 1)]);
    refused(&mut fixture(), both, over);
    let words = "changes[0].set_floor.slots: 1000000000001 given, expected 0 to 1000000000000";
    refused(&mut fixture(), one(floor(None, MAX_SLOTS + 1)), words);
    let words = format!("changes[0].set_floor.holder: \"\" given, {A_NAME}");
    refused(&mut fixture(), one(floor(Some(""), 1)), &words);

    let mut state = fixture().state;
    run(
        &mut state,
        NOW,
        configure("room", vec![set_pool("ent", MAX_SLOTS)]),
    )
    .unwrap();
    let names: Vec<String> = (0..=MAX_FLOORS).map(|i| i.to_string()).collect();
    let changes: Vec<Change> = names.iter().map(|name| floor(Some(name), 1)).collect();
    run(
        &mut state,
        NOW,
        configure("all", changes[..MAX_FLOORS].to_vec()),
    )
    .unwrap();
    let refusal = run(
        &mut state,
        NOW,
        configure("one-more", changes[MAX_FLOORS..].to_vec()),
    )
    .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "floors of one region: the most is 4096"
    );
    assert!(run(&mut state, NOW, configure("same", changes[..1].to_vec())).is_ok());
}

#[test]
fn calendars() {
    let entry = |name: String| CalendarEntry {
        name,
        region: None,
        when: When::Weekly {
            days: 1,
            minute: 0,
            zone: None,
        },
        action: Action::Open,
    };
    let set = |entries: Vec<CalendarEntry>| {
        one(Change::SetCalendar {
            pool: "ent".into(),
            entries,
            since_s: 0,
        })
    };
    let entries = |count: usize| (0..count).map(|i| entry(i.to_string())).collect::<Vec<_>>();
    assert!(run(&mut fixture().state, NOW, set(entries(MAX_CALENDAR))).is_ok());
    let words = "changes[0].set_calendar.entries: 257 entries given, expected at most 256";
    refused(&mut fixture(), set(entries(MAX_CALENDAR + 1)), words);
    let refused_with = |change: fn(&mut CalendarEntry), words: &str| {
        let mut entry = entry("a".into());
        change(&mut entry);
        let words = format!("changes[0].set_calendar.entries[0].{words}");
        refused(&mut fixture(), set(vec![entry]), &words);
    };
    let weekly = |days, minute, zone| When::Weekly { days, minute, zone };
    let mut most = entry("a".into());
    most.when = weekly(127, 1_439, Some("Z".repeat(MAX_ZONE_BYTES)));
    assert!(run(&mut fixture().state, NOW, set(vec![most])).is_ok());
    refused_with(
        |e| {
            e.when = When::Weekly {
                days: 0,
                minute: 0,
                zone: None,
            }
        },
        "weekly.days: 0 given, expected 1 to 127",
    );
    refused_with(
        |e| {
            e.when = When::Weekly {
                days: 128,
                minute: 0,
                zone: None,
            }
        },
        "weekly.days: 128 given, expected 1 to 127",
    );
    refused_with(
        |e| {
            e.when = When::Weekly {
                days: 1,
                minute: 1_440,
                zone: None,
            }
        },
        "weekly.minute: 1440 given, expected 0 to 1439",
    );
    refused_with(
        |e| {
            e.when = When::Weekly {
                days: 1,
                minute: 0,
                zone: Some(String::new()),
            }
        },
        "weekly.zone: \"\" given, expected 1 to 64 bytes of printable text without white space at either end",
    );
    refused_with(
        |e| e.action = Action::SetCapacity(MAX_SLOTS + 1),
        "set_capacity: 1000000000001 given, expected 0 to 1000000000000",
    );
    refused_with(
        |e| {
            e.action = Action::Close {
                reason: String::new(),
            }
        },
        "close.reason: \"\" given, expected 1 to 256 bytes of printable text without white space at either end",
    );
    refused_with(
        |e| {
            e.action = Action::Pause {
                reason: "\n".into(),
            }
        },
        "pause.reason: \"\\n\" given, expected 1 to 256 bytes of printable text without white space at either end",
    );

    let due = |pool: &str, entry: &str| {
        let (pool, entry) = (pool.into(), entry.into());
        Command::Due(Due {
            pool,
            entry,
            occurrence_s: 1,
        })
    };
    refused(
        &mut fixture(),
        due("mars", "a"),
        "pool \"mars\" does not exist",
    );
    let words = "entry \"a\" does not exist in the calendar of pool \"ent\"";
    refused(&mut fixture(), due("ent", "a"), words);
    refused(
        &mut fixture(),
        due("", "a"),
        &format!("pool: \"\" given, {A_NAME}"),
    );
    refused(
        &mut fixture(),
        due("ent", ""),
        &format!("entry: \"\" given, {A_NAME}"),
    );
}
