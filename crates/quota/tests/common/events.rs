//! What happens to front-ends, at random, and the rules that they live by.

use proptest::prelude::*;
use quota::{Class, Mode, Reclaim, Rules, SessionRules};

pub const REGIONS: [&str; 3] = ["bretagne", "corse", "normandie"];
/// Two front-ends a region.
pub const FRONTS: usize = 6;
pub const OVERTAKE_S: u32 = 6;

/// What happens next.
#[derive(Debug, Clone)]
pub enum Event {
    Wait(u64),
    Arrive {
        front: usize,
        class: u8,
        users: u32,
    },
    Leave {
        front: usize,
        percent: u64,
    },
    GiveUp {
        front: usize,
        percent: u32,
    },
    Report {
        front: usize,
        spare: u64,
        idle: bool,
        coarse: u32,
        lost: bool,
    },
    Retry {
        front: usize,
    },
    Restart {
        front: usize,
    },
    Return {
        front: usize,
    },
    Remove {
        front: usize,
    },
    Capacity(u64),
    Mode {
        region: Option<usize>,
        mode: Mode,
    },
    /// A holder that makes no reports takes or renews.
    Plain {
        kept_percent: u64,
        wanted: u64,
    },
    Floor {
        region: usize,
        front: Option<usize>,
        slots: u64,
    },
}

pub fn event() -> impl Strategy<Value = Event> {
    let front = 0..FRONTS;
    let mode = prop_oneof![
        4 => Just(Mode::Open),
        1 => prop::sample::select(vec![Mode::Paused, Mode::Frozen, Mode::Closed, Mode::Draining]),
    ];
    prop_oneof![
        6 => prop_oneof![0u64..400, Just(1_000), Just(1_000), 0u64..12_000].prop_map(Event::Wait),
        5 => (front.clone(), 0u8..3, 1u32..12)
            .prop_map(|(front, class, users)| Event::Arrive { front, class, users }),
        4 => (front.clone(), 0u64..=100).prop_map(|(front, percent)| Event::Leave { front, percent }),
        1 => (front.clone(), 0u32..=100).prop_map(|(front, percent)| Event::GiveUp { front, percent }),
        16 => (front.clone(), 0u64..3, prop::bool::weighted(0.2), 0u32..4, prop::bool::weighted(0.15))
            .prop_map(|(front, spare, idle, coarse, lost)| Event::Report { front, spare, idle, coarse, lost }),
        1 => front.clone().prop_map(|front| Event::Retry { front }),
        1 => front.clone().prop_map(|front| Event::Restart { front }),
        1 => front.clone().prop_map(|front| Event::Return { front }),
        1 => front.clone().prop_map(|front| Event::Remove { front }),
        1 => (0u64..60).prop_map(Event::Capacity),
        1 => (prop::option::of(0..REGIONS.len()), mode).prop_map(|(region, mode)| Event::Mode { region, mode }),
        2 => (0u64..=100, 0u64..30).prop_map(|(kept_percent, wanted)| Event::Plain { kept_percent, wanted }),
        1 => (0..REGIONS.len(), prop::option::of(front), 0u64..5)
            .prop_map(|(region, front, slots)| Event::Floor { region, front, slots }),
    ]
}

pub fn rules() -> Rules {
    let class = |name: &str, weight, first| Class {
        name: name.into(),
        weight,
        first,
    };
    Rules {
        classes: vec![
            class("teachers", 1, true),
            class("exams", 3, false),
            class("everyone", 1, false),
        ],
        overtake_s: OVERTAKE_S,
        session: SessionRules {
            when_waiting_s: Some(60),
            ..SessionRules::default()
        },
        reclaim: Reclaim::Shorten,
    }
}

pub fn region_of(front: usize) -> &'static str {
    REGIONS[front % REGIONS.len()]
}
