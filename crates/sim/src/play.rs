//! One run: the clock, the users, and what befalls them. A [`Policy`] decides who is seated.

use crate::calendar::{Calendar, Event, Kind};
use crate::meter::{Meter, Seating};
use crate::scenario::{Fault, Scenario};
use crate::users::{self, Ms, Users};

/// Where a user is. In one byte, with whether they have had a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Has not come yet, or has left.
    Away,
    /// Has come and wants a seat.
    Waiting,
    /// Has one.
    Seated,
    /// Has given up.
    GaveUp,
}

/// A way of deciding.
pub trait Policy {
    /// Before anyone comes.
    fn begin(&mut self, _play: &mut Play<'_>) {}
    /// A user has come (or come back, after a lost session) and waits; the policy may seat them at once.
    fn arrive(&mut self, play: &mut Play<'_>, user: u32);
    /// A user tries again, who was turned away by [`Play::turn_away`].
    fn retry(&mut self, _play: &mut Play<'_>, _user: u32) {}
    /// A session has ended, and its seat is free.
    fn ended(&mut self, play: &mut Play<'_>, user: u32);
    /// A user has given up who waited; and says so, or falls silent.
    fn gave_up(&mut self, _play: &mut Play<'_>, _user: u32, _says_so: bool) {}
    /// A user shows to have gone, as [`Play::falls_silent`] has it.
    fn silent(&mut self, _play: &mut Play<'_>, _user: u32) {}
    /// What the policy has put on the calendar by [`Play::tick`].
    fn tick(&mut self, _play: &mut Play<'_>, _of: u32) {}
    /// A fault begins or ends. The pool's capacity has been changed already.
    fn fault(&mut self, _play: &mut Play<'_>, _fault: &Fault, _begins: bool) {}
    /// Slots that are out, where those are not just the seats in use.
    fn out(&self) -> u64 {
        0
    }
    /// Figures of the policy's own.
    fn end(&mut self, _play: &Play<'_>) -> Own {
        Own::default()
    }
}

/// Figures that not every policy has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// Messages between front-ends and the coordinator, both ways, and their bytes.
    pub messages: u64,
    /// See [`Own::messages`].
    pub bytes: u64,
    /// The most slots in use beyond the budget, by the policy's own count.
    pub max_over_budget: u64,
    /// How far off the estimated waits were.
    pub estimates: Option<Estimates>,
}

/// How far off the estimated waits were.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Estimates {
    /// Users who were told an estimate as they came, and were seated.
    pub made: u64,
    /// The part of them who waited no longer than the 50 % figure, and than the 90 % one.
    pub within_p50: f64,
    /// See [`Estimates::within_p50`].
    pub within_p90: f64,
    /// The median of |waited - p50| / waited, in per cent.
    pub error_percent: f64,
}

/// One run.
#[derive(Debug)]
pub struct Play<'a> {
    /// What is played.
    pub scenario: &'a Scenario,
    /// The seed of all chance.
    pub seed: u64,
    /// The time.
    pub now: Ms,
    /// What the pool can carry now.
    pub capacity: u64,
    /// Who there is.
    pub users: &'a Users,
    /// What is counted.
    pub meter: Meter,
    /// Events so far.
    pub events: u64,
    /// Who was seated, in order, and when; kept of a script alone.
    pub seatings: Vec<(u32, Ms)>,
    stage: Vec<Stage>,
    /// When a user came, or came back after a lost session.
    since: Vec<Ms>,
    /// When a user who waits gives up; when the session of one who is seated ends.
    due: Vec<Ms>,
    had_a_seat: Vec<u64>,
    calendar: Calendar,
    faults: Vec<(Fault, bool)>,
}

impl<'a> Play<'a> {
    /// A run that has not begun.
    pub fn new(scenario: &'a Scenario, seed: u64, users: &'a Users) -> Self {
        let mut play = Self {
            scenario,
            seed,
            now: 0,
            capacity: scenario.capacity,
            users,
            meter: Meter::new(scenario, users),
            events: 0,
            seatings: Vec::new(),
            stage: vec![Stage::Away; users.len()],
            since: users.arrival.clone(),
            due: vec![0; users.len()],
            had_a_seat: vec![0; users.len().div_ceil(64)],
            calendar: Calendar::new(users.ends),
            faults: Vec::new(),
        };
        for fault in &scenario.fault {
            match fault {
                Fault::LeaderLost { at, for_s } => {
                    let at = users::ms_of(scenario, at.seconds);
                    play.put_fault(at, fault, true);
                    play.put_fault(at + (for_s * 1_000.0) as Ms, fault, false);
                }
                Fault::RegionCutOff { from, to, .. } => {
                    play.put_fault(users::ms_of(scenario, from.seconds), fault, true);
                    play.put_fault(users::ms_of(scenario, to.seconds), fault, false);
                }
                Fault::Capacity { at, .. } | Fault::FrontEndsKilled { at, .. } => {
                    play.put_fault(users::ms_of(scenario, at.seconds), fault, true);
                }
            }
        }
        play
    }

    fn put_fault(&mut self, at: Ms, fault: &Fault, begins: bool) {
        self.calendar.put(at, Kind::Fault, self.faults.len() as u32);
        self.faults.push((fault.clone(), begins));
    }

    /// Plays it to its end. `progress` is told each second of the replay that is over, and how many there
    /// are.
    pub fn run(&mut self, policy: &mut dyn Policy, progress: &mut dyn FnMut(u64, u64)) -> Own {
        policy.begin(self);
        let seconds = (self.users.ends / 1_000) as usize;
        let mut next: Vec<u32> = self.users.places.iter().map(|p| p.users.start).collect();
        for second in 0..seconds {
            let over = (second as Ms + 1) * 1_000;
            let users = self.users;
            for (next, place) in next.iter_mut().zip(&users.places) {
                while *next < place.users.end && users.arrival[*next as usize] < over {
                    let at = users.arrival[*next as usize];
                    self.calendar.put(at, Kind::Arrive, *next);
                    *next += 1;
                }
            }
            self.calendar.turn_to(second);
            while let Some(event) = self.calendar.take() {
                self.happen(policy, event);
            }
            self.now = over;
            self.meter.second(over, self.capacity, policy.out());
            progress(second as u64 + 1, seconds as u64);
        }
        policy.end(self)
    }

    fn happen(&mut self, policy: &mut dyn Policy, event: Event) {
        self.now = event.at;
        self.events += 1;
        let user = event.of;
        let place = user as usize;
        match event.kind {
            Kind::Arrive => {
                self.wait(user);
                if self.now >= self.patience_ends(user) {
                    // Back after a lost session, and has had enough.
                    self.give_up(policy, user);
                } else {
                    policy.arrive(self, user);
                }
            }
            Kind::End => {
                if self.stage[place] == Stage::Seated && self.due[place] == self.now {
                    self.finish(user);
                    policy.ended(self, user);
                }
            }
            Kind::GiveUp => {
                if self.stage[place] == Stage::Waiting && self.due[place] == self.now {
                    self.give_up(policy, user);
                }
            }
            Kind::Retry => {
                if self.stage[place] == Stage::Waiting {
                    policy.retry(self, user);
                }
            }
            Kind::Tick => policy.tick(self, event.of),
            Kind::Silent => policy.silent(self, user),
            Kind::Fault => {
                let (fault, begins) = self.faults[place].clone();
                if let Fault::Capacity { capacity, .. } = fault {
                    self.capacity = capacity;
                    self.meter.capacity_is(capacity, policy.out());
                }
                policy.fault(self, &fault, begins);
            }
        }
    }

    fn give_up(&mut self, policy: &mut dyn Policy, user: u32) {
        self.stage[user as usize] = Stage::GaveUp;
        let (region, class, since) = (self.region(user), self.class(user), self.since(user));
        self.meter.gives_up(region, class, since, self.now);
        let (_, says_so) = users::patience(self.scenario, self.seed, user);
        policy.gave_up(self, user, says_so);
    }

    /// When a user has had enough, however often they have been turned away. Machines have all the
    /// patience in the world.
    fn patience_ends(&self, user: u32) -> Ms {
        if self.is_stranger(user) || self.users.script.is_some() {
            return Ms::MAX;
        }
        let (patience, _) = users::patience(self.scenario, self.seed, user);
        self.users.arrival[user as usize].saturating_add(patience)
    }

    /// A user's region, by its place in the scenario.
    pub fn region(&self, user: u32) -> usize {
        self.users.region[user as usize].into()
    }

    /// A user's class.
    pub fn class(&self, user: u32) -> u8 {
        self.users.class[user as usize]
    }

    /// When a user came, or came back after a lost session.
    pub fn since(&self, user: u32) -> Ms {
        self.since[user as usize]
    }

    /// Where a user is.
    pub fn stage(&self, user: u32) -> Stage {
        self.stage[user as usize]
    }

    fn is_stranger(&self, user: u32) -> bool {
        self.meter.is_stranger(self.class(user))
    }

    fn wait(&mut self, user: u32) {
        let (region, class) = (self.region(user), self.class(user));
        self.since[user as usize] = self.now;
        self.stage[user as usize] = Stage::Waiting;
        self.meter.waits(region, class, self.now);
    }

    /// A user's ticket says that they came in another second, as the clock of who wrote it had it. That is
    /// what their order is measured by.
    pub fn ticket_says(&mut self, user: u32, second: u32) {
        let (place, region, class) = (user as usize, self.region(user), self.class(user));
        if self.stage[place] != Stage::Waiting || self.since[place] / 1_000 == second {
            return;
        }
        self.meter.moves(region, class, self.since[place], second);
        self.since[place] = self.since[place].clamp(second * 1_000, second * 1_000 + 999);
    }

    /// A user who came and was not seated at once stays, until they lose patience.
    pub fn stays(&mut self, user: u32) {
        let due = self.patience_ends(user);
        self.due[user as usize] = due;
        self.calendar.put(due, Kind::GiveUp, user);
    }

    /// A user is turned away, and tries again after `ms`.
    pub fn turn_away(&mut self, user: u32, ms: Ms) {
        self.calendar.put(self.now + ms, Kind::Retry, user);
    }

    /// How long the session of a user lasts, where nothing slows it.
    pub fn session_ms(&self, user: u32) -> Ms {
        match self.users.visit(user) {
            Some(visit) => visit.stays_ms,
            None => users::session_ms(self.scenario, self.seed, user, self.is_stranger(user)),
        }
    }

    /// Seats a user who waits; their session ends by itself.
    pub fn seat(&mut self, user: u32) {
        let due = self.now.saturating_add(self.session_ms(user));
        self.seat_open(user);
        self.due[user as usize] = due;
        self.calendar.put(due, Kind::End, user);
    }

    /// Seats a user who waits; the policy says when their session has ended.
    pub fn seat_open(&mut self, user: u32) {
        let place = user as usize;
        let (word, bit) = (place / 64, 1 << (place % 64));
        let first = self.had_a_seat[word] & bit == 0;
        self.had_a_seat[word] |= bit;
        self.stage[place] = Stage::Seated;
        self.due[place] = Ms::MAX;
        if self.users.script.is_some() {
            self.seatings.push((user, self.now));
        }
        self.meter.seats(Seating {
            region: self.users.region[place].into(),
            class: self.users.class[place],
            since: self.since[place],
            now: self.now,
            first,
        });
    }

    /// A user's session comes to its end.
    pub fn finish(&mut self, user: u32) {
        self.stage[user as usize] = Stage::Away;
        self.meter
            .unseats(self.region(user), self.class(user), false);
    }

    /// A user loses their session before its end, and comes back after a while, as one who comes now.
    pub fn lose(&mut self, user: u32, back_after: Ms) {
        self.stage[user as usize] = Stage::Away;
        self.meter
            .unseats(self.region(user), self.class(user), true);
        self.calendar.put(self.now + back_after, Kind::Arrive, user);
    }

    /// A user has given up without a word, which shows after `ms`.
    pub fn falls_silent(&mut self, user: u32, ms: Ms) {
        self.calendar.put(self.now + ms, Kind::Silent, user);
    }

    /// A user's session is interrupted, and they wait to go on with it: for so long.
    pub fn interrupt(&mut self, user: u32) -> Ms {
        let place = user as usize;
        self.stage[place] = Stage::Waiting;
        let left = self.due[place].saturating_sub(self.now);
        self.due[place] = Ms::MAX;
        let (region, class) = (self.region(user), self.class(user));
        self.meter.interrupts(region, class, self.since[place]);
        left
    }

    /// A user goes on with an interrupted session.
    pub fn resume(&mut self, user: u32, left: Ms) {
        let due = self.now.saturating_add(left);
        self.seat_open(user);
        self.due[user as usize] = due;
        self.calendar.put(due, Kind::End, user);
    }

    /// Has the policy ticked at a time.
    pub fn tick(&mut self, at: Ms, of: u32) {
        self.calendar.put(at, Kind::Tick, of);
    }
}
