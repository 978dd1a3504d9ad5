//! Who comes when: the same for every policy.

use std::ops::Range;

use crate::random::{Draw, exponential, normal, open_unit, rng};
use crate::scenario::{Class, Scenario, Shape};

/// The replayed time, in milliseconds since the first region's part of the day began.
pub type Ms = u32;

/// A region's place on the clock of the replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// When the region's part of the day begins.
    pub begins: Ms,
    /// The ids of its users, in the order in which they come.
    pub users: Range<u32>,
}

/// All users, one field an array: 6 bytes each.
#[derive(Debug)]
pub struct Users {
    /// When a user comes.
    pub arrival: Vec<Ms>,
    /// Their region, by its place in the scenario.
    pub region: Vec<u8>,
    /// Their class, by its place among [`Scenario::classes`].
    pub class: Vec<u8>,
    /// Where each region lies.
    pub places: Vec<Place>,
    /// When all is over.
    pub ends: Ms,
    /// What is written about each user, where they are not drawn.
    pub script: Option<Vec<Visit>>,
}

/// One user of a scripted morning, whose patience has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// When they come, in milliseconds of the replay.
    pub at_ms: u32,
    /// Their class, by its place in the scenario.
    pub class: u8,
    /// Which front-end of the region they come to, from 0.
    pub front_end: u16,
    /// How long they stay once they are seated, in milliseconds.
    pub stays_ms: u32,
}

/// A region's user while they are being put in order: when they come, by their region's clock, and their
/// class. Times of a day take 27 bits, classes 4.
fn packed(ms: u32, class: usize) -> u32 {
    ms << CLASS_BITS | class as u32
}
const CLASS_BITS: u32 = 4;

impl Users {
    /// Draws all users.
    pub fn draw(scenario: &Scenario, seed: u64) -> Self {
        let offsets: Vec<i64> = scenario
            .region
            .iter()
            .map(|r| utc_offset(scenario, r))
            .collect();
        let own = i64::from(scenario.utc_offset.seconds);
        let eastmost = offsets.iter().copied().fold(own, i64::max);
        let counts = by_population(scenario, scenario.users);
        let times = scenario
            .strangers
            .as_ref()
            .map_or(0, |s| u64::from(s.times));
        let all = (scenario.users * (1 + times)) as usize;
        let mut users = Self {
            arrival: Vec::with_capacity(all),
            region: Vec::with_capacity(all),
            class: Vec::with_capacity(all),
            places: Vec::with_capacity(counts.len()),
            ends: 0,
            script: None,
        };
        let length = (scenario.to.seconds - scenario.from.seconds) * 1_000;
        let classes = scenario.classes();
        let mut drawn = 0;
        for (region, count) in counts.into_iter().enumerate() {
            let begins = (eastmost - offsets[region]) as u32 * 1_000;
            let mut stagger = rng(seed, Draw::Stagger, region as u64);
            let shift = scenario.arrivals.stagger_s * (2.0 * stagger.f64() - 1.0);
            let mut come: Vec<u32> = (drawn..drawn + count)
                .map(|i| {
                    let (at_s, class) =
                        arrival(scenario, &classes, shift, &mut rng(seed, Draw::Arrival, i));
                    // Who would come outside of the part that is played comes at its edge.
                    let ms = (at_s * 1_000.0).clamp(0.0, f64::from(length - 1)) as u32;
                    packed(ms, class)
                })
                .collect();
            drawn += count;
            come.extend((drawn..drawn + count * times).map(|i| {
                let at_s =
                    stranger_comes(scenario, offsets[region], &mut rng(seed, Draw::Arrival, i));
                let ms = (at_s * 1_000.0).clamp(0.0, f64::from(length - 1)) as u32;
                packed(ms, classes.len() - 1)
            }));
            drawn += count * times;
            come.sort_unstable();
            let first = users.arrival.len() as u32;
            users
                .arrival
                .extend(come.iter().map(|p| begins + (p >> CLASS_BITS)));
            users
                .class
                .extend(come.iter().map(|p| (p & ((1 << CLASS_BITS) - 1)) as u8));
            users.region.resize(users.arrival.len(), region as u8);
            users.ends = users.ends.max(begins + length);
            users.places.push(Place {
                begins,
                users: first..users.arrival.len() as u32,
            });
        }
        users
    }

    /// The users of a script, all of the scenario's first region.
    pub fn scripted(scenario: &Scenario, mut script: Vec<Visit>) -> Self {
        script.sort_by_key(|visit| visit.at_ms);
        let users = script.len() as u32;
        let place = |at: usize| Place {
            begins: 0,
            users: if at == 0 { 0..users } else { users..users },
        };
        Self {
            arrival: script.iter().map(|visit| visit.at_ms).collect(),
            region: vec![0; script.len()],
            class: script.iter().map(|visit| visit.class).collect(),
            places: (0..scenario.region.len()).map(place).collect(),
            ends: (scenario.to.seconds - scenario.from.seconds) * 1_000,
            script: Some(script),
        }
    }

    /// What is written about a user.
    pub fn visit(&self, user: u32) -> Option<&Visit> {
        self.script.as_ref()?.get(user as usize)
    }

    /// How many there are, strangers included.
    pub fn len(&self) -> usize {
        self.arrival.len()
    }
}

/// Users, or whatever else there is, of each region by population: whole ones by largest remainder, then by
/// name.
pub fn by_population(scenario: &Scenario, users: u64) -> Vec<u64> {
    let claims: Vec<quota::Claim<'_>> = scenario
        .region
        .iter()
        .map(|region| quota::Claim {
            name: &region.name,
            demand: u64::from(u32::MAX),
            nominal: 0,
            ceiling: None,
            weight: region.population,
        })
        .collect();
    quota::share(users, &claims)
}

/// How far a region's clock is ahead of UTC, in seconds.
fn utc_offset(scenario: &Scenario, region: &crate::scenario::Region) -> i64 {
    region
        .utc_offset
        .unwrap_or(scenario.utc_offset)
        .seconds
        .into()
}

/// When it is that time by the scenario's clock.
pub fn ms_of(scenario: &Scenario, seconds: u32) -> Ms {
    let own = i64::from(scenario.utc_offset.seconds);
    let offsets = scenario
        .region
        .iter()
        .map(|region| utc_offset(scenario, region));
    let ahead = offsets.fold(own, i64::max) - own;
    (i64::from(seconds) + ahead - i64::from(scenario.from.seconds)).max(0) as Ms * 1_000
}

/// When a user comes, in seconds after their region's part of the day begins, and their class.
fn arrival(
    scenario: &Scenario,
    classes: &[Class],
    shift: f64,
    rng: &mut fastrand::Rng,
) -> (f64, usize) {
    let mut lot = rng.f64();
    let class = classes
        .iter()
        .position(|class| {
            lot -= class.share;
            lot < 0.0
        })
        .unwrap_or(0);
    let arrivals = &scenario.arrivals;
    if rng.f64() < arrivals.strays {
        let length = scenario.to.seconds - scenario.from.seconds;
        return (rng.f64() * f64::from(length), class);
    }
    let around = match arrivals.shape {
        Shape::Logistic => {
            let part = open_unit(rng);
            (part / (1.0 - part)).ln()
        }
        Shape::Normal => normal(rng),
        Shape::Uniform => 2.0 * rng.f64() - 1.0,
    };
    let middle = f64::from(arrivals.opens.seconds - scenario.from.seconds);
    let at = middle + shift + around * arrivals.spread_s - classes[class].early_s;
    (at, class)
}

fn stranger_comes(scenario: &Scenario, utc_offset: i64, rng: &mut fastrand::Rng) -> f64 {
    let Some(strangers) = &scenario.strangers else {
        return 0.0;
    };
    let ahead = (utc_offset - i64::from(scenario.utc_offset.seconds)) as f64;
    let width = f64::from(strangers.to.seconds - strangers.from.seconds);
    let from = f64::from(strangers.from.seconds) - f64::from(scenario.from.seconds);
    from + ahead + rng.f64() * width
}

/// How long a user's session lasts.
pub fn session_ms(scenario: &Scenario, seed: u64, user: u32, stranger: bool) -> Ms {
    let sessions = &scenario.sessions;
    let seconds = match &scenario.strangers {
        Some(strangers) if stranger => strangers.session_s,
        _ => exponential(&mut rng(seed, Draw::Session, user.into()), sessions.mean_s)
            .clamp(sessions.shortest_s, sessions.longest_s),
    };
    (seconds * 1_000.0).max(1.0) as Ms
}

/// How long a user waits before they give up, and whether they say so.
pub fn patience(scenario: &Scenario, seed: u64, user: u32) -> (Ms, bool) {
    let patience = &scenario.patience;
    let mut rng = rng(seed, Draw::Patience, user.into());
    let more = (patience.mean_s - patience.shortest_s).max(0.001);
    let seconds = patience.shortest_s + exponential(&mut rng, more);
    let says_so = rng.f64() < patience.says_so;
    ((seconds * 1_000.0).clamp(1.0, 86_400_000.0) as Ms, says_so)
}

/// How long until a user who was turned away tries again.
pub fn retry_ms(scenario: &Scenario, rng: &mut fastrand::Rng) -> Ms {
    let retry = &scenario.retry;
    let more = (retry.mean_s - retry.shortest_s).max(0.001);
    ((retry.shortest_s + exponential(rng, more)) * 1_000.0).min(86_400_000.0) as Ms
}
