//! A front-end's queue, without I/O: the time goes in with every call, and what is to be told to the
//! coordinator comes out as a [`Report`], whose answer goes in as a [`Grant`].
//!
//! While the region is *open*, an arrival gets a free slot at once. While it is not, nobody is seated but
//! by a grant's admissions, and every report gives idle slots back. Between a report and its answer no more
//! is used than the report kept. Within a class, who arrived in an earlier second goes first.
//!
//! A user takes 56 bytes, eight more in the seconds before their turn, and each second and class in which
//! somebody waits or began a session at most 56 more. Every step takes constant time, or the logarithm of the number of those seconds.

mod accuracy;
mod before;
mod buckets;
mod claims;
mod clock;
mod opening;
mod sessions;
mod slab;
mod slots;
#[cfg(test)]
mod tests;
mod turns;
mod types;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::seats::Ledger;
use clock::ClusterClock;
use opening::Opening;
use quota::limits::MAX_CLASSES;
use quota::{Flow, Mode, SessionRules, Wait};
use slab::{Entry, Line, NONE, Slab, State};

pub use accuracy::Accuracy;
pub use before::BACK_WITHIN_S;
pub use types::{
    Arrival, Event, Grant, NoEntry, Place, Report, Session, Shown, Standing, User, Why,
};

/// Most users, waiting and seated, of one front-end.
pub const MAX_USERS: u32 = 1 << PLACE_BITS;
/// Bits of an id that say where its user is kept; the others are drawn.
const PLACE_BITS: u32 = 24;
/// Who comes while the region is closed is drawn a second among so many.
const DRAW_S: u32 = 120;
/// The peak of the arrivals fades to three quarters from second to second.
const FADE: u64 = 4;

/// What never changes in a queue's life.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// A user who waits, or was called, and gives no sign for so long is dropped. `None`: never.
    pub silence_s: Option<u32>,
    /// Slots wanted ready for arrivals while the region is open, at least.
    pub reserve: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            silence_s: Some(60),
            reserve: 16,
        }
    }
}

/// The queue and the sessions of one front-end.
#[derive(Debug)]
pub struct Queue {
    settings: Settings,
    random: fastrand::Rng,
    clock: ClusterClock,
    /// When the last report was made.
    reported: Duration,
    ledger: Ledger,
    users: Slab,
    /// Who waits, by class and second of arrival.
    waiting: Vec<Line<0>>,
    /// Which classes are served before all others.
    first: Vec<bool>,
    /// Who is seated, by the second in which the session began.
    sessions: Line<0>,
    /// Whom to look at again, by when.
    wheel: Line<1>,
    claims: claims::Claims,
    before: before::Before,
    events: Vec<Event>,
    /// Slots granted, less those given back since.
    slots: u64,
    /// They are used before this only.
    deadline: Duration,
    /// Whether the lease has reported: from then on a token goes elsewhere only once it was asked for here.
    heard: bool,
    /// The floor gone by, and the one last granted.
    floor: u64,
    floor_granted: u64,
    /// Whether arrivals are seated at once.
    open: bool,
    /// Whether they are, by the last grant, over time.
    opening: Opening,
    /// Whose turn it is when, in cluster time.
    turns: BTreeMap<Duration, Vec<u64>>,
    /// No node can be reached and the lease has run out: the floor is used.
    alone: bool,
    /// Nobody is let in any more.
    stopping: bool,
    mode: Mode,
    reason: Arc<str>,
    closed_s: Option<u32>,
    rules: SessionRules,
    others_wait: bool,
    /// Sessions that began before this second have been told that others wait.
    noticed_until: u32,
    /// Sessions under [`Grant::shorten`].
    shortened: u64,
    flows: Vec<Flow>,
    /// The second in which places were last counted.
    counted: u32,
    accuracy: Accuracy,
    /// Arrivals in this second, and the most in one second lately.
    arrivals: u64,
    arrivals_s: u32,
    peak: u64,
    left: u64,
    /// `left` as the last report had it.
    left_told: u64,
}

impl Queue {
    /// An empty queue of one class. Everything that it draws follows from `seed`.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            random: fastrand::Rng::with_seed(seed),
            clock: ClusterClock::default(),
            reported: Duration::ZERO,
            ledger: Ledger::default(),
            users: Slab::default(),
            waiting: vec![Line::default()],
            first: vec![false],
            sessions: Line::default(),
            wheel: Line::default(),
            claims: claims::Claims::default(),
            before: before::Before::default(),
            events: Vec::new(),
            slots: 0,
            deadline: Duration::ZERO,
            heard: false,
            floor: 0,
            floor_granted: 0,
            open: false,
            opening: Opening::default(),
            turns: BTreeMap::new(),
            alone: false,
            stopping: false,
            mode: Mode::Open,
            reason: Arc::default(),
            closed_s: None,
            rules: SessionRules::default(),
            others_wait: false,
            noticed_until: 0,
            shortened: 0,
            flows: Vec::new(),
            counted: NONE,
            accuracy: Accuracy::default(),
            arrivals: 0,
            arrivals_s: 0,
            peak: 0,
            left: 0,
            left_told: 0,
        }
    }

    /// Sets the classes: for each, in the order of the pool's rules, whether it is served before those
    /// that are not. A class keeps its place for ever; new ones come at the end.
    pub fn set_classes(&mut self, first: impl IntoIterator<Item = bool>) {
        self.first = first.into_iter().take(MAX_CLASSES).collect();
        let count = self.first.len().max(self.waiting.len());
        self.first.resize(count, false);
        self.waiting.resize_with(count, Line::default);
    }

    /// A user comes. They are seated at once where the region is open, a slot is free and nobody of the
    /// class waits here.
    pub fn arrive(&mut self, now: Duration, class: u8) -> Arrival {
        let Some(now_s) = self.clock.second(now) else {
            return Arrival::Refused(NoEntry::NotReady);
        };
        if usize::from(class) >= self.waiting.len() {
            return Arrival::Refused(NoEntry::NoSuchClass);
        }
        if self.stopping || self.mode == Mode::Draining {
            return Arrival::Refused(NoEntry::Draining);
        }
        if self.users.len() >= MAX_USERS {
            return Arrival::Refused(NoEntry::Full);
        }
        self.lapse(now);
        self.turn(now);
        self.fade_arrivals(now_s);
        self.arrivals += 1;
        let second = match (self.mode, self.closed_s) {
            (Mode::Closed, Some(closed)) => closed
                .saturating_add(self.random.u32(..DRAW_S))
                .min(NONE - 1),
            _ => now_s,
        };
        let at = self.users.next();
        let id = self.random.u64(..) << PLACE_BITS | u64::from(at);
        self.users.insert(Entry::new(id, class, second, now_s));
        let user = User { id, index: at };
        let nobody_waits = self.waiting[usize::from(class)].is_empty();
        if self.walks_in(now, second) && nobody_waits && self.ledger.admit(|| now) {
            self.sit(at, now_s);
            return Arrival::Seated(user);
        }
        self.line_up(at, now_s);
        let place = self.place(at, now_s);
        if second == now_s {
            self.users[at].foretell(place.wait);
        }
        Arrival::Waiting(user, place)
    }

    /// A sign of a user, and how they stand. Whoever was called takes the seat by it.
    pub fn poll(&mut self, now: Duration, id: u64) -> Standing {
        self.lapse(now);
        let (Some(at), Some(now_s)) = (self.find(id), self.clock.second(now)) else {
            return self.claims.standing(id);
        };
        self.users[at].seen = now_s;
        match self.users[at].state {
            State::Waiting | State::Next => Standing::Waiting(self.place(at, now_s)),
            State::Called => {
                self.unschedule(at);
                self.sit(at, now_s);
                Standing::Seated(self.session(at, now_s))
            }
            State::Seated => Standing::Seated(self.session(at, now_s)),
            State::Checking => {
                self.claims.reclaim(&self.users[at]);
                Standing::Checking
            }
            State::Free => Standing::Gone,
        }
    }

    /// How a user stands, which is no sign of them, and seats nobody.
    pub fn look(&mut self, now: Duration, id: u64) -> Standing {
        self.lapse(now);
        let (Some(at), Some(now_s)) = (self.find(id), self.clock.second(now)) else {
            return self.claims.standing(id);
        };
        match self.users[at].state {
            State::Waiting | State::Next | State::Called => {
                Standing::Waiting(self.place(at, now_s))
            }
            State::Seated => Standing::Seated(self.session(at, now_s)),
            State::Checking => Standing::Checking,
            State::Free => Standing::Gone,
        }
    }

    /// Whether a token was given up to another front-end lately: it is to be shown, not polled.
    pub fn gave_up(&self, id: u64) -> bool {
        self.find(id).is_none() && self.claims.gave_up(id)
    }

    /// A user goes, out of the queue or out of the session. Says whether the user was known.
    pub fn leave(&mut self, now: Duration, id: u64) -> bool {
        let Some(at) = self.find(id) else {
            return self.claims.withdraw(id);
        };
        self.remove(at);
        self.serve(now);
        true
    }

    /// Lets time go on: drops the silent, and ends sessions that are over.
    pub fn tick(&mut self, now: Duration) {
        let Some(now_s) = self.clock.second(now) else {
            return;
        };
        self.lapse(now);
        self.turn(now);
        self.fade_arrivals(now_s);
        self.give_up_awaiting(now_s);
        self.take_turns(now, now_s);
        while let Some((_, at)) = self.wheel.first().filter(|&(due, _)| due <= now_s) {
            self.unschedule(at);
            self.come_due(at, now_s);
        }
        self.tell_that_others_wait(now_s);
        self.serve(now);
    }

    /// What has happened since it was last asked, in order.
    pub fn events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// Users who wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.iter().map(Line::len).sum()
    }

    /// Users of a class who wait.
    pub fn waiting_in(&self, class: u8) -> u64 {
        self.waiting.get(usize::from(class)).map_or(0, Line::len)
    }

    /// The class of a user, and the second of arrival.
    pub fn arrival(&self, id: u64) -> Option<(u8, u32)> {
        let entry = &self.users[self.find(id)?];
        Some((entry.class, entry.second))
    }

    /// Slots with a user on them, those of whoever is still to come back after a restart among them.
    pub fn in_use(&self) -> u64 {
        self.ledger.usage().in_use + self.before.held()
    }

    /// Whether arrivals are seated at once.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The mode, and the reason for it in words for users.
    pub fn mode(&self) -> (Mode, &Arc<str>) {
        (self.mode, &self.reason)
    }

    /// How far off the foretold waits were.
    pub fn accuracy(&self) -> &Accuracy {
        &self.accuracy
    }

    /// The floor gone by.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The second of cluster time; `None` before the first grant.
    pub fn second(&self, now: Duration) -> Option<u32> {
        self.clock.second(now)
    }

    /// How many slots there are, and until when.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether everybody stands where they should, and nobody twice.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let count = |state| {
            self.users
                .places()
                .filter(|&at| self.users[at].state == state)
                .count()
        };
        let all: usize = self
            .waiting
            .iter()
            .map(|line| line.check(&self.users))
            .sum();
        assert_eq!(all, count(State::Waiting));
        assert_eq!(self.sessions.check(&self.users), count(State::Seated));
        let due = self.users.places().filter(|&at| self.users[at].due != NONE);
        assert_eq!(self.wheel.check(&self.users), due.count());
        let slots = count(State::Seated) + count(State::Called) + count(State::Next);
        assert_eq!(self.ledger.usage().in_use, slots as u64);
        let shortened = self.users.places().filter(|&at| self.users[at].shortened);
        assert_eq!(self.shortened, shortened.count() as u64);
    }

    fn find(&self, id: u64) -> Option<u32> {
        let at = id as u32 & (MAX_USERS - 1);
        match self.users.find(at, id) {
            Some(_) => Some(at),
            None => self.claims.place(id),
        }
    }

    fn user(&self, at: u32) -> User {
        User {
            id: self.users[at].id,
            index: at,
        }
    }

    fn place(&mut self, at: u32, now_s: u32) -> Place {
        let Entry { class, second, .. } = self.users[at];
        let class = usize::from(class);
        let ahead = self.waiting[class]
            .ahead_of_last(second)
            .unwrap_or_else(|| {
                if self.counted != now_s {
                    self.waiting.iter_mut().for_each(Line::count);
                    self.counted = now_s;
                }
                self.waiting[class].ahead(second)
            });
        Place {
            ahead,
            wait: self.wait(class, ahead),
        }
    }

    /// How long somebody of a class waits who has so many ahead at this front-end: its part of those who
    /// wait in the region is taken to be the same at every second.
    fn wait(&self, class: usize, ahead: u64) -> Option<Wait> {
        let flow = self
            .flows
            .iter()
            .find(|flow| usize::from(flow.class) == class)?;
        let here = u128::from(self.waiting[class].len().max(1));
        let there = u128::from(flow.waiting).max(here);
        let ahead = (u128::from(ahead) * there).div_ceil(here);
        quota::estimate(
            ahead.try_into().unwrap_or(u64::MAX),
            flow.rate,
            flow.low_rate,
        )
    }
}
