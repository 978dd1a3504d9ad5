//! Reports, rules and entries, there and back.

use quota::{Admission, Flow, Grant};

use super::*;

fn rules() -> Rules {
    let class = |name: &str, first| Class {
        name: name.into(),
        weight: 2,
        first,
    };
    Rules {
        classes: vec![class("teachers", true), class("everyone", false)],
        ..Rules::default()
    }
}

fn of(class: &str, buckets: &[(u32, u64)]) -> v1::Waiting {
    let bucket = |&(second, users): &(u32, u64)| v1::Bucket { second, users };
    v1::Waiting {
        class: class.into(),
        buckets: buckets.iter().map(bucket).collect(),
    }
}

#[test]
fn classes_go_by_their_place_whatever_order_they_are_said_in() {
    let said = v1::ReportRequest {
        lease_id: 7,
        waiting: vec![of("everyone", &[(5, 2), (6, 1)]), of("teachers", &[(9, 3)])],
        ..v1::ReportRequest::default()
    };
    let report = report(said, &rules()).expect("all is right");
    let buckets: Vec<_> = report
        .waiting
        .iter()
        .map(|b| (b.class, b.second, b.users))
        .collect();
    assert_eq!(buckets, [(0, 9, 3), (1, 5, 2), (1, 6, 1)]);
    assert_eq!(report.lease, LeaseId(7));
}

#[test]
fn a_report_that_can_not_be_is_refused_by_its_field() {
    let many: Vec<(u32, u64)> = (0..=MAX_BUCKETS as u32).map(|second| (second, 1)).collect();
    let waiting = |waiting| v1::ReportRequest {
        waiting,
        ..v1::ReportRequest::default()
    };
    let ids = |n: usize| v1::ReportRequest {
        claims: vec![v1::Claim::default(); 200],
        released: vec![1; 50],
        refused: vec![2; n],
        ..v1::ReportRequest::default()
    };
    let cases = [
        (
            waiting(vec![of("pupils", &[(1, 1)])]),
            "waiting[0].class: \"pupils\" given, expected a class of the pool's rules: \
             [\"teachers\", \"everyone\"]",
        ),
        (
            waiting(vec![of("everyone", &[]), of("everyone", &[])]),
            "waiting[1].class: \"everyone\" twice given, expected each class once",
        ),
        (
            waiting(vec![of("everyone", &[(1, 1), (2, 0)])]),
            "waiting[0].buckets[1].users: 0 given, expected 1 to 4294967295",
        ),
        (
            waiting(vec![of("everyone", &[(1, 1 << 32)])]),
            "waiting[0].buckets[0].users: 4294967296 given, expected 1 to 4294967295",
        ),
        (
            waiting(vec![of("everyone", &[(5, 1), (5, 1)])]),
            "waiting[0].buckets[1].second: 5 given, expected above 5, which is before it",
        ),
        (
            waiting(vec![of("everyone", &many)]),
            "waiting: 129 buckets given, expected at most 128 in all",
        ),
        (
            ids(7),
            "claims: 257 with released and refused given, expected at most 256 together",
        ),
    ];
    for (said, expected) in cases {
        let refusal = report(said, &rules()).expect_err(expected);
        assert_eq!(refusal.to_string(), expected);
    }
    assert!(report(ids(6), &rules()).is_ok());
    assert!(report(waiting(vec![of("everyone", &many[1..])]), &rules()).is_ok());
}

#[test]
fn an_answer_names_classes_and_has_the_rules_where_they_are_news() {
    let answer = || Reported {
        grant: Grant {
            lease: LeaseId(7),
            slots: 5,
            target: 6,
            ttl_ms: 10_000,
            drift_ppm: 10_000,
        },
        open: false,
        turns_ms: 12_500,
        admit: vec![Admission {
            class: 1,
            users: 4,
            until_s: 9,
            at_ms: 11_500,
        }],
        shorten: 1,
        floor: 2,
        claims: vec![(11, Claimed::Granted), (12, Claimed::TooMany)],
        mode: Mode::Frozen,
        reason: "repairs".into(),
        others_wait: true,
        session: SessionRules::default(),
        reclaim: Reclaim::Drain,
        now_ms: 1_234,
        closed_s: Some(3),
        opened_s: None,
        overtake_s: 600,
        rules_revision: 4,
        flows: vec![Flow {
            class: 0,
            waiting: 8,
            rate: 900,
            low_rate: 300,
        }],
        asked: vec![13],
    };
    let told = reported(answer(), &rules(), 4, 3);
    let [admission] = told.admissions.as_slice() else {
        panic!("one admission");
    };
    assert_eq!(
        (
            admission.class.as_str(),
            admission.users,
            admission.until_s,
            admission.at_ms
        ),
        ("everyone", 4, 9, 11_500)
    );
    assert_eq!((told.open, told.turns_ms), (false, 12_500));
    assert_eq!(told.flows[0].class, "teachers");
    assert_eq!(told.mode(), v1::Mode::Frozen);
    assert_eq!(
        (told.grant.expect("a grant").slots, told.shorten, told.floor),
        (5, 1, 2)
    );
    let states: Vec<_> = told.claims.iter().map(|c| (c.id, c.state())).collect();
    assert_eq!(
        states,
        [(11, v1::ClaimState::Granted), (12, v1::ClaimState::TooMany)]
    );
    let known = told.rules.expect("they are news");
    assert_eq!(known.classes.len(), 2);
    assert_eq!(reported(answer(), &rules(), 4, 4).rules, None);
}

#[test]
fn rules_and_entries_come_back_as_they_were() {
    let all = Rules {
        session: SessionRules {
            limit_s: Some(7_200),
            idle_s: Some(600),
            when_waiting_s: Some(1_200),
            notice_s: 60,
            least_s: 300,
        },
        reclaim: Reclaim::Shorten,
        overtake_s: 30,
        ..rules()
    };
    assert_eq!(super::rules("rules", (&all).into()), Ok(all));
    let whens = [
        When::At { unix_s: -5 },
        When::Weekly {
            days: 31,
            minute: 525,
            zone: Some("Indian/Reunion".into()),
        },
    ];
    let reason = || "why".to_owned();
    let actions = [
        Action::SetCapacity(9),
        Action::Open,
        Action::Close { reason: reason() },
        Action::Pause { reason: reason() },
        Action::Resume,
    ];
    for when in whens {
        for action in &actions {
            let known = CalendarEntry {
                name: "e".into(),
                region: Some("r".into()),
                when: when.clone(),
                action: action.clone(),
            };
            assert_eq!(entry("entry", known.clone().into()), Ok(known));
        }
    }
    for mode in [
        Mode::Open,
        Mode::Paused,
        Mode::Draining,
        Mode::Frozen,
        Mode::Closed,
    ] {
        assert_eq!(super::mode("mode", v1::Mode::from(mode).into()), Ok(mode));
    }
    for (said, expected) in [
        (super::mode("mode", 0), "mode: 0 given, expected open (1)"),
        (super::mode("mode", 6), "mode: 6 given, expected open (1)"),
    ] {
        let refusal = said.expect_err("no mode").to_string();
        assert!(refusal.starts_with(expected), "{refusal}");
    }
    let nothing = entry("entries[2]", v1::CalendarEntry::default()).expect_err("no time");
    assert!(
        nothing
            .to_string()
            .starts_with("entries[2].when: nothing given")
    );
    // Over its range stays over it.
    let over = v1::CalendarEntry {
        when: Some(v1::calendar_entry::When::Weekly(v1::Weekly {
            days: 256 + 1,
            minute: 65_536,
            zone: String::new(),
        })),
        action: Some(v1::calendar_entry::Action::Resume(v1::ResumeAction {})),
        ..v1::CalendarEntry::default()
    };
    let When::Weekly { days, minute, .. } = entry("e", over).expect("for the rules").when else {
        panic!("weekly");
    };
    assert_eq!((days, minute), (u8::MAX, u16::MAX));
}
