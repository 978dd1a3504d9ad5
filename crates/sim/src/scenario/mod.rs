//! What a scenario file says, and what it may say.
//!
//! A file may have a `base`, another file beside it: its tables are laid over those of the base, key by key,
//! and its arrays take the place of the base's. So a variant of a morning says only what differs.

mod check;
mod load;

use serde::Deserialize;

use crate::clock::{Offset, TimeOfDay};

/// Most users of a scenario, strangers included.
pub const MAX_USERS: u64 = 64_000_000;
/// Most regions.
pub const MAX_REGIONS: usize = 256;
/// Most front-ends of all regions together.
pub const MAX_FRONT_ENDS: u32 = 16_384;
/// Most faults.
pub const MAX_FAULTS: usize = 64;
/// Most classes, strangers included.
pub const MAX_CLASSES: usize = 16;

/// A morning to be replayed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the report is headed with.
    pub name: String,
    /// Users who have an identity, in all regions together.
    pub users: u64,
    /// Sessions that the pool carries at a time.
    pub capacity: u64,
    /// The part of the day that is played in each region, by its own clock.
    pub from: TimeOfDay,
    /// Where that part ends.
    pub to: TimeOfDay,
    /// The clock that faults are told by, ahead of UTC.
    pub utc_offset: Offset,
    /// When users come.
    pub arrivals: Arrivals,
    /// How long they stay.
    pub sessions: Sessions,
    /// How long they wait before they give up.
    pub patience: Patience,
    /// When they try again where nobody keeps their place.
    pub retry: Retry,
    /// How a portal behaves past its capacity.
    pub overload: Overload,
    /// The pool's rules of waiting.
    #[serde(default)]
    pub rules: Rules,
    /// Front-ends and the network between them and the coordinator.
    pub front_ends: FrontEnds,
    /// Classes of users, in the order of the pool's rules.
    #[serde(default)]
    pub class: Vec<Class>,
    /// Clients without an identity.
    pub strangers: Option<Strangers>,
    /// The regions.
    pub region: Vec<Region>,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Fault>,
}

/// When users come: half of a region's have come by `opens`, by its own clock.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// When school begins.
    pub opens: TimeOfDay,
    /// The curve of arrivals.
    pub shape: Shape,
    /// Its scale in seconds: of a logistic curve, 76 % come within twice it of the middle; of a normal one
    /// it is the standard deviation; of a uniform one half the width.
    pub spread_s: f64,
    /// A region's curve lies up to this much earlier or later, by chance.
    pub stagger_s: f64,
    /// The part of users who come at any time of the morning instead, 0 to 1.
    pub strays: f64,
}

/// The curve of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A crowd before the hour, and its latecomers.
    Logistic,
    /// As errors are distributed.
    Normal,
    /// All of an interval alike.
    Uniform,
}

/// Sessions end at random, as a phone call does, within bounds. In seconds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// The mean before the bounds are applied.
    pub mean_s: f64,
    /// The shortest.
    pub shortest_s: f64,
    /// The longest.
    pub longest_s: f64,
}

/// A user gives up at random after `mean_s` of waiting on average, never before `shortest_s`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patience {
    /// The mean, above the shortest.
    pub mean_s: f64,
    /// The shortest.
    pub shortest_s: f64,
    /// The part of those who give up who say so (the page tells the front-end as it closes), 0 to 1. The
    /// others fall silent.
    pub says_so: f64,
}

/// A user who was turned away tries again at random after `mean_s` on average, never before `shortest_s`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The mean, above the shortest.
    pub mean_s: f64,
    /// The shortest.
    pub shortest_s: f64,
}

/// A portal with n sessions on room for c serves each at the speed (c / n) ^ `exponent`, where n > c.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overload {
    /// 1: it slows in proportion; above: it also wastes work on answers that nobody waits for any longer.
    pub exponent: f64,
    /// It falls over once n has been over this many times c...
    pub falls_over_at: f64,
    /// ... for this many seconds without a break. All its sessions are lost.
    pub after_s: u32,
    /// It is back after this many seconds.
    pub back_after_s: u32,
}

/// The pool's rules of waiting.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Whoever has waited this many seconds comes before every class.
    pub overtake_s: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { overtake_s: 600 }
    }
}

/// Front-ends, and the network between them and the coordinator.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnds {
    /// In all regions together, by their users; each region has two at least.
    pub count: u32,
    /// A lease's time to live in milliseconds.
    pub ttl_ms: u64,
    /// How often each reports, in milliseconds.
    pub report_ms: u32,
    /// The least time that a message is under way, in milliseconds.
    pub delay_ms: f64,
    /// What comes on top, at random, on average.
    pub jitter_ms: f64,
    /// The part of messages that are lost, 0 to 1.
    pub loss: f64,
    /// A report without an answer is sent again after this many milliseconds.
    pub timeout_ms: u32,
    /// A user who has said nothing for this many seconds has left.
    pub silence_s: u32,
    /// Slots set aside for front-ends that are cut off, as a part of each region's nominal, 0 to 1.
    #[serde(default)]
    pub floor: f64,
}

/// A class of users.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its part of the users; the parts add up to 1.
    pub share: f64,
    /// Its weight where several classes wait.
    pub weight: u32,
    /// Whether it is served before all others.
    #[serde(default)]
    pub first: bool,
    /// How many seconds earlier than the others it comes; negative where later.
    #[serde(default)]
    pub early_s: f64,
}

/// Clients without an identity, as a flood of requests is made of. They are counted apart from the users.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strangers {
    /// How many there are to a user.
    pub times: u32,
    /// From when on they come, evenly, by the clock of the scenario.
    pub from: TimeOfDay,
    /// Until when.
    pub to: TimeOfDay,
    /// How long one of them keeps a seat, in seconds.
    pub session_s: f64,
    /// The weight of their class, which is the last.
    pub weight: u32,
}

/// A region: its users, and what is its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Inhabitants; users are in proportion.
    pub population: u32,
    /// Its clock, ahead of UTC; the scenario's where none is given.
    pub utc_offset: Option<Offset>,
    /// Slots guaranteed to it.
    pub nominal: u64,
    /// Its part in what is lent.
    pub weight: u32,
    /// Sessions that its portal carries on its own, where nothing is shared.
    pub portal: u64,
}

/// What goes wrong, by the clock of the scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The coordinator's leader is lost: no report is answered for a time.
    LeaderLost {
        /// When.
        at: TimeOfDay,
        /// Until there is a new one, in seconds.
        for_s: f64,
    },
    /// The front-ends of a region reach no node.
    RegionCutOff {
        /// The region.
        region: String,
        /// From when.
        from: TimeOfDay,
        /// Until when.
        to: TimeOfDay,
    },
    /// The pool carries this many sessions from now on; portals lose in proportion.
    Capacity {
        /// When.
        at: TimeOfDay,
        /// The capacity.
        capacity: u64,
    },
    /// Front-ends of a region are gone for good; their users go to the others.
    FrontEndsKilled {
        /// When.
        at: TimeOfDay,
        /// The region.
        region: String,
        /// How many; one at least is left.
        count: u32,
    },
}

impl Scenario {
    /// Classes with the strangers' as the last.
    pub fn classes(&self) -> Vec<Class> {
        let mut classes = self.class.clone();
        if classes.is_empty() {
            classes.push(Class {
                name: "everyone".into(),
                share: 1.0,
                weight: 1,
                first: false,
                early_s: 0.0,
            });
        }
        if let Some(strangers) = &self.strangers {
            classes.push(Class {
                name: "strangers".into(),
                share: 0.0,
                weight: strangers.weight,
                first: false,
                early_s: 0.0,
            });
        }
        classes
    }

    /// The scenario at another size: users, capacity and front-ends all times `factor`.
    ///
    /// # Errors
    /// Where the factor is none, or leaves nothing.
    pub fn scaled(&self, factor: f64) -> Result<Self, String> {
        if !(factor.is_finite() && factor > 0.0 && factor <= 16.0) {
            return Err(format!(
                "scale: {factor} given, expected a number above 0, up to 16"
            ));
        }
        let times = |n: u64| (n as f64 * factor).floor() as u64;
        let mut scaled = self.clone();
        scaled.users = times(self.users);
        scaled.capacity = times(self.capacity);
        scaled.front_ends.count = (times(self.front_ends.count.into()) as u32).max(1);
        for region in &mut scaled.region {
            region.nominal = times(region.nominal);
            region.portal = times(region.portal);
        }
        for fault in &mut scaled.fault {
            if let Fault::Capacity { capacity, .. } = fault {
                *capacity = times(*capacity);
            }
        }
        scaled
            .check()
            .map_err(|why| format!("scale: {factor} given, which leaves {why}"))?;
        Ok(scaled)
    }
}
