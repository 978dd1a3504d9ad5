//! The log with people who wait.

use quota::{
    Action, Batch, Bucket, CalendarEntry, Change, Class, Command, Due, LeaseId, Mode, Reclaim,
    Report, Rules, SessionRules, TokenClaim, When,
};

use crate::common::*;

const ROUEN: LeaseId = LeaseId(1 << 20);
const CAEN: LeaseId = LeaseId((2 << 20) + 1);

fn at(time_ms: u64, commands: Vec<Command>) -> Batch {
    Batch { time_ms, commands }
}

fn rules() -> Rules {
    let class = |name: &str, weight, first| Class {
        name: name.into(),
        weight,
        first,
    };
    Rules {
        classes: vec![
            class("enseignants", 1, true),
            class("élèves", 3, false),
            class("autres", 1, false),
        ],
        overtake_s: 60,
        session: SessionRules {
            limit_s: Some(3_600),
            idle_s: Some(600),
            when_waiting_s: Some(900),
            notice_s: 60,
            least_s: 300,
        },
        reclaim: Reclaim::Shorten,
    }
}

fn entries() -> Vec<CalendarEntry> {
    let entry = |name: &str, region: Option<&str>, when, action| CalendarEntry {
        name: name.into(),
        region: region.map(Into::into),
        when,
        action,
    };
    let unix_s = 1_617_692_400;
    let weekly = |zone: Option<&str>| When::Weekly {
        days: 31,
        minute: 525,
        zone: zone.map(Into::into),
    };
    let reason = || "ouvre à 8 h 45".to_owned();
    vec![
        entry("less", None, When::At { unix_s }, Action::SetCapacity(12)),
        entry("open", Some("normandie"), weekly(None), Action::Open),
        entry(
            "close",
            None,
            weekly(Some("Indian/Reunion")),
            Action::Close { reason: reason() },
        ),
        entry(
            "pause",
            None,
            weekly(None),
            Action::Pause { reason: reason() },
        ),
        entry("resume", None, weekly(None), Action::Resume),
    ]
}

fn start() -> Vec<Change> {
    let (pool, region) = (|| "ent".to_owned(), || "normandie".to_owned());
    let mode = |region, mode, reason: &str| Change::SetMode {
        pool: pool(),
        region,
        mode,
        reason: reason.into(),
    };
    vec![
        set_pool("ent", 20),
        set_region("normandie", 6, Some(18), 2),
        set_region("corse", 2, None, 1),
        Change::SetRules {
            pool: pool(),
            rules: rules(),
        },
        mode(Some(region()), Mode::Closed, "ouvre à 8 h 45"),
        mode(None, Mode::Open, ""),
        Change::SetZone {
            pool: pool(),
            region: region(),
            zone: "Europe/Paris".into(),
        },
        Change::SetFloor {
            pool: pool(),
            region: region(),
            holder: None,
            slots: 3,
        },
        Change::SetFloor {
            pool: pool(),
            region: region(),
            holder: Some("rouen-1".into()),
            slots: 1,
        },
        Change::SetCalendar {
            pool: pool(),
            entries: entries(),
            since_s: 1_617_600_000,
        },
    ]
}

fn report(lease: LeaseId, seq: u64, kept: u64, in_use: u64, waiting: &[(u8, u32, u32)]) -> Report {
    let bucket = |&(class, second, users)| Bucket {
        class,
        second,
        users,
    };
    Report {
        lease,
        seq,
        kept,
        in_use,
        spare: 1,
        waiting: waiting.iter().map(bucket).collect(),
        exact_until_s: 70,
        left: 0,
        floor: 0,
        claims: Vec::new(),
        released: Vec::new(),
        refused: Vec::new(),
    }
}

fn due(entry: &str, occurrence_s: i64) -> Command {
    let (pool, entry) = ("ent".into(), entry.into());
    Command::Due(Due {
        pool,
        entry,
        occurrence_s,
    })
}

pub fn story() -> Vec<Batch> {
    let claim = |id| TokenClaim {
        id,
        issuer: quota::issuer("rouen-1", 7),
    };
    let capacity = Change::SetCapacity {
        pool: "ent".into(),
        capacity: 17,
    };
    vec![
        at(1_000, vec![configure("start", start())]),
        at(
            2_000,
            vec![
                take("normandie", "rouen-1", 7, 1, 0),
                take("normandie", "caen-1", 1, 1, 0),
                take("corse", "bastia-1", 1, 1, 3),
                Command::Report(report(ROUEN, 2, 0, 0, &[(0, 2, 1), (1, 1, 9)])),
            ],
        ),
        at(
            3_000,
            vec![
                due("open", 1_617_690_000),
                due("open", 1_617_690_000),
                due("nothing", 1),
                Command::Report(report(CAEN, 2, 0, 0, &[(1, 2, 4), (2, 1, 6)])),
                Command::Report(report(ROUEN, 3, 0, 0, &[(0, 2, 1), (1, 1, 9)])),
            ],
        ),
        at(
            3_500,
            vec![
                Command::Report(Report {
                    claims: vec![claim(77), claim(78)],
                    left: 2,
                    ..report(CAEN, 3, 3, 2, &[(1, 2, 4), (2, 1, 3)])
                }),
                Command::Report(Report {
                    floor: 2,
                    ..report(ROUEN, 4, 8, 8, &[(1, 1, 2)])
                }),
                configure("smaller", vec![capacity]),
                due("less", 1_617_692_400),
                due("pause", 4),
                due("resume", 5),
            ],
        ),
        at(
            4_500,
            vec![
                Command::Report(Report {
                    floor: 2,
                    released: vec![77],
                    refused: vec![78],
                    left: 3,
                    ..report(ROUEN, 5, 5, 5, &[(1, 1, 2), (2, 4, 1)])
                }),
                Command::Report(Report {
                    claims: vec![claim(77), claim(78), claim(79)],
                    ..report(CAEN, 4, 2, 2, &[(1, 2, 4), (2, 1, 3)])
                }),
                Command::Report(report(CAEN, 4, 9, 9, &[])),
                renew(CAEN, 5, 2, 9),
            ],
        ),
        at(4_800, Vec::new()),
    ]
}

pub fn tail() -> Vec<Batch> {
    vec![
        at(
            5_200,
            vec![Command::Report(Report {
                floor: 1,
                ..report(CAEN, 5, 2, 2, &[(1, 2, 4), (2, 1, 3)])
            })],
        ),
        at(8_000, vec![due("close", 6), give_back(ROUEN, 6)]),
        at(9_000, vec![remove_holder("gone", "caen-1")]),
    ]
}

/// The same, where those who are admitted are seated in turn.
pub fn in_turn(mut batches: Vec<Batch>) -> Vec<Batch> {
    for command in batches.iter_mut().flat_map(|batch| &mut batch.commands) {
        if let Command::Report(report) = command {
            *command = Command::ReportV2(report.clone());
        }
    }
    batches
}
