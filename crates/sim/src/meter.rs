//! What is counted while a policy runs, whichever it is: the truth, as the users see it.

use crate::scenario::Scenario;
use crate::users::{Ms, Users};

/// A tenth of a second: how finely waits are told apart.
const TENTH: Ms = 100;
/// Seconds between two samples for the plots.
pub const SAMPLE_S: u32 = 15;

/// Counts of one run.
#[derive(Debug)]
pub struct Meter {
    /// By region: seats in use, and users who wait. Strangers are in both.
    pub used: Vec<u64>,
    /// See [`Meter::used`].
    pub waiting: Vec<u64>,
    /// Their sums.
    pub all_used: u64,
    /// See [`Meter::all_used`].
    pub all_waiting: u64,
    /// Users by region who were seated once at least; who gave up; whose session was lost under them; and
    /// who came to the end of theirs.
    pub seated: Vec<u64>,
    /// See [`Meter::seated`].
    pub gave_up: Vec<u64>,
    /// See [`Meter::seated`].
    pub lost: Vec<u64>,
    /// See [`Meter::seated`].
    pub finished: Vec<u64>,
    /// Tenths of a second that users of a region waited, seated in the end or not.
    pub waited: Vec<u64>,
    /// Strangers that were seated.
    pub strangers_seated: u64,
    /// Users seated, by tenths of a second that they had waited; one array a class.
    pub waits: Vec<Vec<u32>>,
    /// Seatings, those after a lost session included, and how many of them were inversions.
    pub seatings: u64,
    /// See [`Meter::seatings`].
    pub inversions: u64,
    /// Inversions that lasted: whoever was passed over still waited at the end of the next second.
    pub lasting_inversions: u64,
    /// Inversions by region.
    pub region_inversions: Vec<u64>,
    /// Seconds in which someone waits: the sum of seats in use, and of what could have been.
    pub used_while_waiting: u128,
    /// See [`Meter::used_while_waiting`].
    pub usable_while_waiting: u128,
    /// The most seats that were given out over what could be.
    pub max_over_budget: u64,
    /// What is given out at most: the capacity, or what was out when it was cut and has not ended yet.
    allowed: u64,
    /// By second since a region's part of the day began: users seated in it.
    pub seated_in: Vec<Vec<u32>>,
    /// For the plots, every [`SAMPLE_S`] seconds.
    pub samples: Vec<Sample>,
    /// Users who wait by arrival second, for each region and class.
    lines: Vec<Line>,
    classes: usize,
    stranger: u8,
    begins: Vec<Ms>,
}

/// The state at one moment, by region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Ms,
    /// Seats in use.
    pub used: Vec<u64>,
    /// Users who wait.
    pub waiting: Vec<u64>,
    /// Sessions lost and users who gave up so far.
    pub lost: Vec<u64>,
    /// The pool's capacity.
    pub capacity: u64,
}

/// How many wait, by the second in which they came.
#[derive(Debug, Default)]
struct Line {
    by_second: Vec<u32>,
    /// Nobody waits who came before this second.
    oldest: usize,
    /// Those seated in the second that is played, and in the one before, by the second in which they came.
    seated: [Vec<(u32, u32)>; 2],
}

impl Line {
    fn add(&mut self, second: usize) {
        if self.by_second.len() <= second {
            self.by_second.resize(second + 1, 0);
        }
        self.by_second[second] += 1;
        self.oldest = self.oldest.min(second);
    }

    fn remove(&mut self, second: usize) {
        self.by_second[second] -= 1;
    }

    /// One who came in that second is seated.
    fn seat(&mut self, second: usize) {
        let now = &mut self.seated[0];
        match now.last_mut().filter(|last| last.0 == second as u32) {
            Some((_, count)) => *count += 1,
            None => now.push((second as u32, 1)),
        }
    }

    /// A second is over: of those seated in the one before it, how many had somebody before them who waits
    /// even now.
    fn second(&mut self) -> u64 {
        let before = std::mem::take(&mut self.seated[1]);
        let mut passed = 0;
        for &(second, count) in &before {
            if self.any_before(second as usize) {
                passed += u64::from(count);
            }
        }
        self.seated.swap(0, 1);
        passed
    }

    /// Whether someone waits who came before that second.
    fn any_before(&mut self, second: usize) -> bool {
        let end = second.min(self.by_second.len());
        while self.oldest < end && self.by_second[self.oldest] == 0 {
            self.oldest += 1;
        }
        self.oldest < end
    }
}

impl Meter {
    /// Nothing counted yet.
    pub fn new(scenario: &Scenario, users: &Users) -> Self {
        let regions = scenario.region.len();
        let classes = scenario.classes().len();
        let length = (scenario.to.seconds - scenario.from.seconds) as usize;
        let zeros = || vec![0; regions];
        Self {
            used: zeros(),
            waiting: zeros(),
            all_used: 0,
            all_waiting: 0,
            seated: zeros(),
            gave_up: zeros(),
            lost: zeros(),
            finished: zeros(),
            waited: zeros(),
            strangers_seated: 0,
            waits: vec![Vec::new(); classes],
            seatings: 0,
            inversions: 0,
            lasting_inversions: 0,
            region_inversions: zeros(),
            used_while_waiting: 0,
            usable_while_waiting: 0,
            max_over_budget: 0,
            allowed: scenario.capacity,
            seated_in: vec![vec![0; length + 1]; regions],
            samples: Vec::new(),
            lines: (0..regions * classes).map(|_| Line::default()).collect(),
            classes,
            stranger: scenario
                .strangers
                .as_ref()
                .map_or(u8::MAX, |_| classes as u8 - 1),
            begins: users.places.iter().map(|place| place.begins).collect(),
        }
    }

    /// Whether that class is the strangers'.
    pub fn is_stranger(&self, class: u8) -> bool {
        class == self.stranger
    }

    fn line(&mut self, region: usize, class: u8) -> &mut Line {
        &mut self.lines[region * self.classes + usize::from(class)]
    }

    /// A user begins to wait who came at `since`.
    pub fn waits(&mut self, region: usize, class: u8, since: Ms) {
        self.waiting[region] += 1;
        self.all_waiting += 1;
        self.line(region, class).add(since as usize / 1_000);
    }

    /// A user who waits since `since` is taken to have come in another second.
    pub fn moves(&mut self, region: usize, class: u8, since: Ms, second: u32) {
        let line = self.line(region, class);
        line.remove(since as usize / 1_000);
        line.add(second as usize);
    }

    fn waits_no_more(&mut self, region: usize, class: u8, since: Ms) {
        self.waiting[region] -= 1;
        self.all_waiting -= 1;
        self.line(region, class).remove(since as usize / 1_000);
    }

    /// A user who waits gives up.
    pub fn gives_up(&mut self, region: usize, class: u8, since: Ms, now: Ms) {
        self.waits_no_more(region, class, since);
        if !self.is_stranger(class) {
            self.gave_up[region] += 1;
            self.waited[region] += u64::from((now - since) / TENTH);
        }
    }

    /// A user is seated who came at `since`; for the first time, where `first`.
    pub fn seats(&mut self, seating: Seating) {
        let Seating {
            region,
            class,
            since,
            now,
            first,
        } = seating;
        self.waits_no_more(region, class, since);
        self.used[region] += 1;
        self.all_used += 1;
        self.max_over_budget = self
            .max_over_budget
            .max(self.all_used.saturating_sub(self.allowed));
        if self.is_stranger(class) {
            self.strangers_seated += 1;
            return;
        }
        self.seatings += 1;
        let second = since as usize / 1_000;
        self.line(region, class).seat(second);
        if self.line(region, class).any_before(second) {
            self.inversions += 1;
            self.region_inversions[region] += 1;
        }
        if !first {
            return;
        }
        self.seated[region] += 1;
        let tenths = (now - since) / TENTH;
        self.waited[region] += u64::from(tenths);
        let waits = &mut self.waits[usize::from(class)];
        if waits.len() <= tenths as usize {
            waits.resize(tenths as usize + 1, 0);
        }
        waits[tenths as usize] += 1;
        let second = (now - self.begins[region]) as usize / 1_000;
        if let Some(count) = self.seated_in[region].get_mut(second) {
            *count += 1;
        }
    }

    /// A seat is free again: its session has ended, or was `lost`.
    pub fn unseats(&mut self, region: usize, class: u8, lost: bool) {
        self.used[region] -= 1;
        self.all_used -= 1;
        if !self.is_stranger(class) {
            let count = if lost {
                &mut self.lost
            } else {
                &mut self.finished
            };
            count[region] += 1;
        }
    }

    /// A session is interrupted, and its user waits to go on with it.
    pub fn interrupts(&mut self, region: usize, class: u8, since: Ms) {
        self.used[region] -= 1;
        self.all_used -= 1;
        self.waits(region, class, since);
    }

    /// A second is over, in which the pool could carry `capacity`; so many slots are `out`.
    pub fn second(&mut self, now: Ms, capacity: u64, out: u64) {
        self.lasting_inversions += self.lines.iter_mut().map(Line::second).sum::<u64>();
        // After a cut, what was out drains, and may not grow again.
        self.capacity_is(capacity, out);
        if self.all_waiting > 0 {
            let usable = capacity.min(self.all_used + self.all_waiting);
            self.used_while_waiting += u128::from(self.all_used.min(usable));
            self.usable_while_waiting += u128::from(usable);
        }
        if (now / 1_000).is_multiple_of(SAMPLE_S) {
            let lost = self
                .lost
                .iter()
                .zip(&self.gave_up)
                .map(|(lost, gave_up)| lost + gave_up);
            self.samples.push(Sample {
                at: now,
                used: self.used.clone(),
                waiting: self.waiting.clone(),
                lost: lost.collect(),
                capacity,
            });
        }
    }

    /// The pool can carry that much from now on; so many slots are `out`.
    pub fn capacity_is(&mut self, capacity: u64, out: u64) {
        self.allowed = capacity.max(self.all_used.max(out).min(self.allowed));
    }
}

/// A user takes a seat.
#[derive(Debug, Clone, Copy)]
pub struct Seating {
    /// The user's region.
    pub region: usize,
    /// Their class.
    pub class: u8,
    /// When they came.
    pub since: Ms,
    /// When they are seated.
    pub now: Ms,
    /// Whether it is their first seat.
    pub first: bool,
}
