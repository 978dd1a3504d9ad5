//! What was done, and what comes of doing nothing: each portal on its own, and nobody keeps a place.

use crate::play::{Play, Policy};
use crate::random::{Draw, rng};
use crate::scenario::Fault;
use crate::users::{Ms, retry_ms};

/// What a region's portal carries on its own, as the pool's capacity now is.
pub fn portal(play: &Play<'_>, region: usize) -> u64 {
    let whole = u128::from(play.scenario.capacity);
    let own = u128::from(play.scenario.region[region].portal);
    (own * u128::from(play.capacity) / whole) as u64
}

/// `static`: each region its fixed share, and whoever reloads at the right moment gets in.
#[derive(Debug)]
pub struct Static {
    rng: fastrand::Rng,
    shares: Vec<u64>,
}

impl Static {
    /// For one run.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: rng(seed, Draw::Retry, 0),
            shares: Vec::new(),
        }
    }

    fn share_out(&mut self, play: &Play<'_>) {
        self.shares = (0..play.scenario.region.len())
            .map(|r| portal(play, r))
            .collect();
    }
}

impl Policy for Static {
    fn begin(&mut self, play: &mut Play<'_>) {
        self.share_out(play);
    }

    fn arrive(&mut self, play: &mut Play<'_>, user: u32) {
        let region = play.region(user);
        if play.meter.used[region] < self.shares[region] {
            play.seat(user);
        } else {
            play.stays(user);
            play.turn_away(user, retry_ms(play.scenario, &mut self.rng));
        }
    }

    fn retry(&mut self, play: &mut Play<'_>, user: u32) {
        let region = play.region(user);
        if play.meter.used[region] < self.shares[region] {
            play.seat(user);
        } else {
            play.turn_away(user, retry_ms(play.scenario, &mut self.rng));
        }
    }

    fn ended(&mut self, _play: &mut Play<'_>, _user: u32) {}

    fn fault(&mut self, play: &mut Play<'_>, _fault: &Fault, _begins: bool) {
        self.share_out(play);
    }
}

/// How often a portal's speed is worked out anew.
const STEP_MS: Ms = 1_000;

/// `no-limit`: everyone is let in, and past its capacity a portal slows as an overloaded server does, until
/// it falls over.
#[derive(Debug)]
pub struct NoLimit {
    rng: fastrand::Rng,
    portals: Vec<Portal>,
}

/// A portal without a limit. Its sessions share its speed, so that it has a time of its own which goes on
/// at that speed: a session of ten minutes ends ten of these minutes after it began.
#[derive(Debug, Default)]
struct Portal {
    own_ms: f64,
    /// Sessions by the second of that time in which they end.
    ends: Vec<Vec<u32>>,
    /// Seconds for which it has been loaded too much.
    loaded_s: u32,
    /// It is down until then.
    down_until: Ms,
}

impl NoLimit {
    /// For one run.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: rng(seed, Draw::Retry, 0),
            portals: Vec::new(),
        }
    }

    fn let_in(&mut self, play: &mut Play<'_>, user: u32) -> bool {
        let portal = &mut self.portals[play.region(user)];
        if play.now < portal.down_until {
            play.turn_away(user, retry_ms(play.scenario, &mut self.rng));
            return false;
        }
        let end_s = ((portal.own_ms + f64::from(play.session_ms(user))) / 1_000.0) as usize;
        if portal.ends.len() <= end_s {
            portal.ends.resize_with(end_s + 1, Vec::new);
        }
        portal.ends[end_s].push(user);
        play.seat_open(user);
        true
    }

    fn step(&mut self, play: &mut Play<'_>, region: usize) {
        let overload = &play.scenario.overload;
        let (sessions, carries) = (play.meter.used[region], portal(play, region));
        let portal = &mut self.portals[region];
        if sessions as f64 > overload.falls_over_at * carries as f64 {
            portal.loaded_s += 1;
        } else {
            portal.loaded_s = 0;
        }
        let from = (portal.own_ms / 1_000.0) as usize;
        if portal.loaded_s >= overload.after_s {
            portal.loaded_s = 0;
            portal.down_until = play.now + overload.back_after_s * 1_000;
            for user in portal.ends.iter_mut().skip(from).flat_map(std::mem::take) {
                play.lose(user, retry_ms(play.scenario, &mut self.rng));
            }
            return;
        }
        let speed = match sessions {
            0 => 1.0,
            n => (carries as f64 / n as f64).min(1.0).powf(overload.exponent),
        };
        portal.own_ms += f64::from(STEP_MS) * speed;
        let to = (portal.own_ms / 1_000.0) as usize;
        for second in from..to.min(portal.ends.len()) {
            for user in std::mem::take(&mut portal.ends[second]) {
                play.finish(user);
            }
        }
    }
}

impl Policy for NoLimit {
    fn begin(&mut self, play: &mut Play<'_>) {
        self.portals
            .resize_with(play.scenario.region.len(), Portal::default);
        play.tick(STEP_MS, 0);
    }

    fn arrive(&mut self, play: &mut Play<'_>, user: u32) {
        if !self.let_in(play, user) {
            play.stays(user);
        }
    }

    fn retry(&mut self, play: &mut Play<'_>, user: u32) {
        self.let_in(play, user);
    }

    fn ended(&mut self, _play: &mut Play<'_>, _user: u32) {}

    fn tick(&mut self, play: &mut Play<'_>, _of: u32) {
        for region in 0..self.portals.len() {
            self.step(play, region);
        }
        play.tick(play.now + STEP_MS, 0);
    }
}
