//! One queue that knows everything at once: `ideal`, and what it is when its order or its sharing is another.

use std::collections::VecDeque;

use crate::play::{Play, Policy, Stage};
use crate::portals::portal;
use crate::random::{Draw, rng};
use crate::scenario::{Class, Fault};
use crate::users::Ms;

/// What each region may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Its own portal, and no more.
    Fixed,
    /// What the sharing rules give for the demands of this very moment.
    Shared,
}

/// Who of a region is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Whoever came first, by the rules of classes.
    Fifo,
    /// Anyone of those who wait.
    Lot,
}

/// How often the capacity is shared out anew: as often as the coordinator's own rounds.
const ROUND_MS: Ms = 100;
/// A pass of stride scheduling at weight 1.
const STRIDE: u64 = 1 << 32;

/// A central queue.
#[derive(Debug)]
pub struct Central {
    sharing: Sharing,
    order: Order,
    rng: fastrand::Rng,
    classes: Vec<Class>,
    overtake_ms: Ms,
    /// By region.
    targets: Vec<u64>,
    lines: Vec<Lines>,
    changed: bool,
}

/// Those who wait in a region, by class; by lot all are in one class. Who has given up is still in there.
#[derive(Debug)]
struct Lines {
    lines: Vec<VecDeque<u32>>,
    passes: Vec<u64>,
}

impl Central {
    /// For one run.
    pub fn new(sharing: Sharing, order: Order, seed: u64) -> Self {
        Self {
            sharing,
            order,
            rng: rng(seed, Draw::Lot, 0),
            classes: Vec::new(),
            overtake_ms: 0,
            targets: Vec::new(),
            lines: Vec::new(),
            changed: false,
        }
    }

    /// Works out what each region may have.
    fn round(&mut self, play: &Play<'_>) {
        let regions = &play.scenario.region;
        self.targets = match self.sharing {
            Sharing::Fixed => (0..regions.len()).map(|r| portal(play, r)).collect(),
            Sharing::Shared => {
                let nominals: u64 = regions.iter().map(|r| r.nominal).sum();
                let scaled = |nominal: u64| match nominals > play.capacity {
                    true => {
                        (u128::from(nominal) * u128::from(play.capacity) / u128::from(nominals))
                            as u64
                    }
                    false => nominal,
                };
                let claims: Vec<quota::Claim<'_>> = regions
                    .iter()
                    .enumerate()
                    .map(|(at, region)| quota::Claim {
                        name: &region.name,
                        demand: play.meter.used[at] + play.meter.waiting[at],
                        nominal: scaled(region.nominal),
                        ceiling: None,
                        weight: region.weight,
                    })
                    .collect();
                quota::share(play.capacity, &claims)
            }
        };
        self.changed = false;
    }

    /// Seats whoever may be in a region.
    fn serve(&mut self, play: &mut Play<'_>, region: usize) {
        while play.meter.waiting[region] > 0 && play.meter.used[region] < self.targets[region] {
            if self.sharing == Sharing::Shared && play.meter.all_used >= play.capacity {
                return;
            }
            let Some(user) = self.next(play, region) else {
                return;
            };
            play.seat(user);
        }
    }

    fn serve_all(&mut self, play: &mut Play<'_>) {
        for region in 0..self.lines.len() {
            self.serve(play, region);
        }
    }

    /// Takes out whoever is next.
    fn next(&mut self, play: &Play<'_>, region: usize) -> Option<u32> {
        let Lines { lines, passes } = &mut self.lines[region];
        if self.order == Order::Lot {
            let line = &mut lines[0];
            while !line.is_empty() {
                let user = line.swap_remove_back(self.rng.usize(..line.len()))?;
                if play.stage(user) == Stage::Waiting {
                    return Some(user);
                }
            }
            return None;
        }
        for line in lines.iter_mut() {
            while line
                .front()
                .is_some_and(|&user| play.stage(user) != Stage::Waiting)
            {
                line.pop_front();
            }
        }
        let heads = || {
            lines
                .iter()
                .enumerate()
                .filter_map(|(class, line)| Some((class, *line.front()?)))
        };
        let overdue = heads()
            .filter(|&(_, user)| play.now - play.since(user) >= self.overtake_ms)
            .min_by_key(|&(class, user)| (play.since(user) / 1_000, class));
        let first = || heads().find(|&(class, _)| self.classes[class].first);
        let by_weight = || heads().min_by_key(|&(class, _)| passes[class]);
        let (class, user) = overdue.or_else(first).or_else(by_weight)?;
        if !self.classes[class].first {
            passes[class] += STRIDE / u64::from(self.classes[class].weight);
        }
        lines[class].pop_front();
        Some(user)
    }

    fn join(&mut self, play: &Play<'_>, user: u32) {
        let Lines { lines, passes } = &mut self.lines[play.region(user)];
        let class = match self.order {
            Order::Fifo => usize::from(play.class(user)),
            Order::Lot => 0,
        };
        if lines[class].is_empty() {
            // Whoever was away has saved nothing up.
            let active = (0..lines.len()).filter(|&c| !lines[c].is_empty());
            let least = active.map(|c| passes[c]).min().unwrap_or(0);
            passes[class] = passes[class].max(least);
        }
        lines[class].push_back(user);
    }
}

impl Policy for Central {
    fn begin(&mut self, play: &mut Play<'_>) {
        self.classes = play.scenario.classes();
        self.overtake_ms = play.scenario.rules.overtake_s * 1_000;
        let classes = self.classes.len();
        self.lines
            .resize_with(play.scenario.region.len(), || Lines {
                lines: vec![VecDeque::new(); classes],
                passes: vec![0; classes],
            });
        self.round(play);
        play.tick(ROUND_MS, 0);
    }

    fn arrive(&mut self, play: &mut Play<'_>, user: u32) {
        self.changed = true;
        let region = play.region(user);
        // Where all have room there is nothing to share out.
        if self.sharing == Sharing::Shared
            && play.meter.all_used + play.meter.all_waiting <= play.capacity
        {
            self.targets[region] = play.meter.used[region] + play.meter.waiting[region];
        }
        self.join(play, user);
        self.serve(play, region);
        if play.stage(user) == Stage::Waiting {
            play.stays(user);
        }
    }

    fn ended(&mut self, play: &mut Play<'_>, user: u32) {
        self.changed = true;
        self.serve(play, play.region(user));
        if self.sharing == Sharing::Shared && play.meter.all_used < play.capacity {
            self.serve_all(play);
        }
    }

    fn tick(&mut self, play: &mut Play<'_>, _of: u32) {
        if self.changed {
            self.round(play);
            self.serve_all(play);
        }
        play.tick(play.now + ROUND_MS, 0);
    }

    fn gave_up(&mut self, _play: &mut Play<'_>, _user: u32, _says_so: bool) {
        self.changed = true;
    }

    fn fault(&mut self, play: &mut Play<'_>, _fault: &Fault, _begins: bool) {
        self.round(play);
    }
}
