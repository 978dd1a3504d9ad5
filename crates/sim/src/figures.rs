//! What came of a run, in figures.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::central::{Central, Order, Sharing};
use crate::clock::TimeOfDay;
use crate::meter::{Meter, Sample};
use crate::play::{Estimates, Own, Play, Policy};
use crate::portals::{NoLimit, Static};
use crate::preau::Preau;
use crate::scenario::Scenario;
use crate::users::{self, Users, Visit};

/// A way of deciding who is seated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everyone is let in.
    NoLimit,
    /// Each region its fixed share, and whoever reloads gets in: what was done.
    Static,
    /// Each region its fixed share, and a queue.
    StaticFifo,
    /// The capacity shared, and a waiting room by lot.
    Random,
    /// The state machine and the front-ends' queues as they are.
    Preau,
    /// One queue that knows everything at once.
    Ideal,
}

impl Way {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 6] = [
        Self::NoLimit,
        Self::Static,
        Self::StaticFifo,
        Self::Random,
        Self::Preau,
        Self::Ideal,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoLimit => "no-limit",
            Self::Static => "static",
            Self::StaticFifo => "static-fifo",
            Self::Random => "random",
            Self::Preau => "preau",
            Self::Ideal => "ideal",
        }
    }

    fn policy(self, scenario: &Scenario, seed: u64) -> Box<dyn Policy> {
        match self {
            Self::NoLimit => Box::new(NoLimit::new(seed)),
            Self::Static => Box::new(Static::new(seed)),
            Self::StaticFifo => Box::new(Central::new(Sharing::Fixed, Order::Fifo, seed)),
            Self::Random => Box::new(Central::new(Sharing::Shared, Order::Lot, seed)),
            Self::Preau => Box::new(Preau::new(scenario, seed)),
            Self::Ideal => Box::new(Central::new(Sharing::Shared, Order::Fifo, seed)),
        }
    }
}

/// A morning whose users have been drawn, to be played under one way after another.
#[derive(Debug)]
pub struct Morning {
    scenario: Scenario,
    seed: u64,
    users: Users,
}

impl Morning {
    /// Draws the users.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        let users = Users::draw(&scenario, seed);
        Self {
            scenario,
            seed,
            users,
        }
    }

    /// A morning whose users are written out, all of the scenario's first region.
    pub fn scripted(scenario: Scenario, seed: u64, script: Vec<Visit>) -> Self {
        let users = Users::scripted(&scenario, script);
        Self {
            scenario,
            seed,
            users,
        }
    }

    /// Plays a script, and says who was seated, by their place in the order of arrival, and after how many
    /// milliseconds.
    pub fn seatings(&self, way: Way) -> Vec<(u32, u32)> {
        let mut play = Play::new(&self.scenario, self.seed, &self.users);
        play.run(
            way.policy(&self.scenario, self.seed).as_mut(),
            &mut |_, _| {},
        );
        play.seatings
    }

    /// What is played.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The seed of all chance.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// When it is that time by the scenario's clock, in milliseconds of the replay.
    pub(crate) fn ms_of(&self, seconds: u32) -> u32 {
        users::ms_of(&self.scenario, seconds)
    }

    /// When a region's part of the day begins.
    pub(crate) fn begins(&self, region: usize) -> u32 {
        self.users.places[region].begins
    }

    /// Plays it. `progress` is told each second of the replay that is over, and how many there are.
    pub fn play(&self, way: Way, progress: &mut dyn FnMut(u64, u64)) -> Figures {
        let mut play = Play::new(&self.scenario, self.seed, &self.users);
        let own = play.run(way.policy(&self.scenario, self.seed).as_mut(), progress);
        Figures::of(way, &self.scenario, &play, own)
    }
}

/// What came of a run. Users are those with an identity, where nothing else is said; waits are of those
/// who were seated, up to their first seat.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// The way of deciding.
    pub policy: &'static str,
    /// Users in all.
    pub users: u64,
    /// Users who were seated.
    pub seated: u64,
    /// Users who gave up while they waited, or once a session was lost under them.
    pub gave_up: u64,
    /// Sessions that ended in good order, and sessions that their users lost.
    pub finished: u64,
    /// See [`Figures::finished`].
    pub lost: u64,
    /// Half of those seated waited no longer than this, in seconds.
    pub wait_p50_s: f64,
    /// Nine of ten.
    pub wait_p90_s: f64,
    /// 99 of 100.
    pub wait_p99_s: f64,
    /// 90 % of each class waited no longer than this.
    pub wait_p90_s_by_class: BTreeMap<String, f64>,
    /// Of a million seatings, those at which someone of the same region and class waited who had come in an
    /// earlier second.
    pub inversions_per_million: f64,
    /// Those of them that lasted: whoever was passed over still waited at the end of the next second.
    pub lasting_inversions_per_million: f64,
    /// Jain's index over the regions' mean waits of all their users, seated or not: 1 where all are equal.
    pub jain_regions: f64,
    /// Jain's index over the parts of the regions' users who were seated.
    pub jain_service: f64,
    /// Over the seconds in which someone waits, seats in use to seats that could have been.
    pub utilisation_while_waiting: f64,
    /// The most seats that were out beyond what may be.
    pub max_over_budget: u64,
    /// Users seated before a time of their own clock.
    pub seated_by: BTreeMap<String, u64>,
    /// Strangers that were seated.
    pub strangers_seated: u64,
    /// Messages between front-ends and the coordinator, both ways.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// How far off the estimated waits were.
    pub estimates: Option<Estimates>,
    /// How long the run took, in seconds: the one figure that differs between two runs.
    pub wall_s: f64,
    /// Events that were played.
    pub events: u64,
    /// For plots.
    #[serde(skip)]
    pub plots: Plots,
}

/// What is drawn of a run.
#[derive(Clone, PartialEq, Default)]
pub struct Plots {
    /// Every few seconds.
    pub samples: Vec<Sample>,
    /// Users by the tenths of a second that they waited.
    pub waits: Vec<u32>,
    /// By region: seatings that were inversions.
    pub inversions: Vec<u64>,
    /// By region: users seated, who gave up, and sessions lost.
    pub seated: Vec<u64>,
    /// See [`Plots::seated`].
    pub gave_up: Vec<u64>,
    /// See [`Plots::seated`].
    pub lost: Vec<u64>,
    /// By region: the mean wait in seconds.
    pub mean_wait_s: Vec<f64>,
}

impl std::fmt::Debug for Plots {
    /// Thousands of numbers tell nobody anything.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plots").finish_non_exhaustive()
    }
}

/// Minutes after the opening at which those seated are counted.
const SEATED_BY_MIN: [u32; 4] = [5, 15, 30, 60];

impl Figures {
    fn of(way: Way, scenario: &Scenario, play: &Play<'_>, own: Own) -> Self {
        let meter = &play.meter;
        let all = sum_waits(&meter.waits);
        let by_class = scenario.class.iter().zip(&meter.waits);
        let users: Vec<u64> = users_by_region(play);
        let mean_wait_s: Vec<f64> = (meter.waited.iter().zip(&users))
            .map(|(&tenths, &users)| tenths as f64 / 10.0 / users.max(1) as f64)
            .collect();
        let service: Vec<f64> = (meter.seated.iter().zip(&users))
            .map(|(&seated, &users)| seated as f64 / users.max(1) as f64)
            .collect();
        Self {
            policy: way.name(),
            users: scenario.users,
            seated: meter.seated.iter().sum(),
            gave_up: meter.gave_up.iter().sum(),
            finished: meter.finished.iter().sum(),
            lost: meter.lost.iter().sum(),
            wait_p50_s: percentile(&all, 0.5),
            wait_p90_s: percentile(&all, 0.9),
            wait_p99_s: percentile(&all, 0.99),
            wait_p90_s_by_class: by_class
                .map(|(class, waits)| (class.name.clone(), percentile(waits, 0.9)))
                .collect(),
            inversions_per_million: ratio(
                meter.inversions as f64 * 1e6,
                meter.seatings as f64,
                0.0,
            ),
            lasting_inversions_per_million: ratio(
                meter.lasting_inversions as f64 * 1e6,
                meter.seatings as f64,
                0.0,
            ),
            jain_regions: jain(&mean_wait_s),
            jain_service: jain(&service),
            utilisation_while_waiting: ratio(
                meter.used_while_waiting as f64,
                meter.usable_while_waiting as f64,
                1.0,
            ),
            max_over_budget: meter.max_over_budget.max(own.max_over_budget),
            seated_by: seated_by(scenario, meter),
            strangers_seated: meter.strangers_seated,
            messages: own.messages,
            message_bytes: own.bytes,
            estimates: own.estimates,
            wall_s: 0.0,
            events: play.events,
            plots: Plots {
                samples: meter.samples.clone(),
                waits: all,
                inversions: meter.region_inversions.clone(),
                seated: meter.seated.clone(),
                gave_up: meter.gave_up.clone(),
                lost: meter.lost.clone(),
                mean_wait_s,
            },
        }
    }
}

fn users_by_region(play: &Play<'_>) -> Vec<u64> {
    let places = &play.users.places;
    let of_region = |range: std::ops::Range<u32>| {
        let classes = &play.users.class[range.start as usize..range.end as usize];
        classes
            .iter()
            .filter(|&&class| !play.meter.is_stranger(class))
            .count() as u64
    };
    places
        .iter()
        .map(|place| of_region(place.users.clone()))
        .collect()
}

fn sum_waits(by_class: &[Vec<u32>]) -> Vec<u32> {
    let mut all = vec![0; by_class.iter().map(Vec::len).max().unwrap_or(0)];
    for (tenths, count) in by_class.iter().flat_map(|waits| waits.iter().enumerate()) {
        all[tenths] += count;
    }
    all
}

/// The wait in seconds that this part of the users did not exceed; 0 where there are none.
fn percentile(waits: &[u32], part: f64) -> f64 {
    let users: u64 = waits.iter().map(|&n| u64::from(n)).sum();
    let rank = (users as f64 * part).ceil() as u64;
    let mut seen = 0;
    for (tenths, &count) in waits.iter().enumerate() {
        seen += u64::from(count);
        if seen >= rank && count > 0 {
            return tenths as f64 / 10.0;
        }
    }
    0.0
}

/// Jain's index of fairness: 1 where all are equal, 1/n where one has everything.
fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|v| v * v).sum();
    ratio(sum * sum, values.len() as f64 * squares, 1.0)
}

fn ratio(part: f64, whole: f64, of_nothing: f64) -> f64 {
    if whole > 0.0 {
        part / whole
    } else {
        of_nothing
    }
}

fn seated_by(scenario: &Scenario, meter: &Meter) -> BTreeMap<String, u64> {
    let opens = scenario.arrivals.opens.seconds;
    let times = SEATED_BY_MIN.map(|min| opens + min * 60);
    times
        .into_iter()
        .filter(|&time| time <= scenario.to.seconds)
        .map(|time| {
            let seconds = (time - scenario.from.seconds) as usize;
            let of_region = |counts: &Vec<u32>| {
                counts
                    .iter()
                    .take(seconds)
                    .map(|&n| u64::from(n))
                    .sum::<u64>()
            };
            (
                TimeOfDay::of(time).to_string(),
                meter.seated_in.iter().map(of_region).sum(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_those_seated() {
        assert_eq!(percentile(&[], 0.9), 0.0);
        let mut waits = vec![0; 100];
        (waits[0], waits[50], waits[99]) = (5, 4, 1);
        assert_eq!(percentile(&waits, 0.5), 0.0);
        assert_eq!(percentile(&waits, 0.9), 5.0);
        assert_eq!(percentile(&waits, 0.99), 9.9);
    }

    #[test]
    fn jains_index_is_one_of_equals_and_a_fraction_of_one_among_many() {
        assert_eq!(jain(&[3.0, 3.0]), 1.0);
        assert_eq!(jain(&[1.0, 0.0, 0.0, 0.0]), 0.25);
        assert_eq!(jain(&[0.0, 0.0]), 1.0);
    }
}
