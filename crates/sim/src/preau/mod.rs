//! `preau`: the state machine and the front-ends' queues as they are, on a modelled network.

mod coordinator;
mod front_end;
mod policy;

use std::collections::BTreeMap;
use std::ops::Range;

use client::queue::{Arrival, Event, NoEntry, Shown, Standing, User};
use quota::{Outcome, Reply};

use crate::play::{Play, Stage};
use crate::random::{Draw, rng};
use crate::scenario::Scenario;
use crate::users::{Ms, by_population, retry_ms};
use coordinator::Coordinator;
use front_end::{FrontEnd, at};

/// Front-ends start so long before their region's part of the day begins, where there is such a time.
const BEFORE_MS: Ms = 5_000;
/// A user whose front-end knows no time yet, or is gone, asks again after this.
const AGAIN_MS: Ms = 1_000;
/// Where arrivals press, this many reports in the place of one.
const EAGER: Ms = 4;
/// No front-end keeps a user whose place this is.
const NOWHERE: u16 = u16::MAX;
/// Errors of an estimate are told apart up to this.
const MOST_PERCENT: usize = 1_000;

/// One run.
#[derive(Debug)]
pub struct Preau {
    coordinator: Coordinator,
    front_ends: Vec<FrontEnd>,
    /// The front-ends of each region, those that were killed at the end.
    of_region: Vec<Range<usize>>,
    running: Vec<usize>,
    cut_off: Vec<bool>,
    /// Each user's front-end, and what they are called there.
    place: Vec<u16>,
    id: Vec<u64>,
    /// Who was called after they had fallen silent, and when.
    kept_for: BTreeMap<u32, Ms>,
    /// Tokens shown at another front-end, and whose they are.
    shown: BTreeMap<u64, u32>,
    /// What is left of the sessions of users whose front-end was killed.
    interrupted: BTreeMap<u32, Ms>,
    /// The wait that a user was told on arrival, 50 %, in seconds; 0 where none was.
    told_s: Vec<u16>,
    /// How far off it was in per cent of the wait: users by that.
    off_percent: Vec<u64>,
    random: fastrand::Rng,
    /// Slots with a user on them, in the queues' own count; and the most beyond the budget.
    allowed: u64,
    max_over: u64,
}

/// What the policy puts on the calendar, in 32 bits: what, which front-end, and the number of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tick {
    /// A front-end's time to report.
    Report,
    /// A request comes to the coordinator.
    Deliver,
    /// Its answer comes to the front-end.
    Answer,
    /// It has not come.
    Timeout,
    /// A lease runs out.
    RunOut,
    /// It is somebody's turn at a front-end.
    Turn,
    /// A second is over.
    Second,
}
const NUMBER_BITS: u32 = 14;
const PLACE_BITS: u32 = 14;

fn packed(tick: Tick, front_end: usize, seq: u64) -> u32 {
    (tick as u32) << (NUMBER_BITS + PLACE_BITS) | (front_end as u32) << NUMBER_BITS | number_of(seq)
}

fn unpacked(of: u32) -> (Tick, usize, u32) {
    let tick = match of >> (NUMBER_BITS + PLACE_BITS) {
        0 => Tick::Report,
        1 => Tick::Deliver,
        2 => Tick::Answer,
        3 => Tick::Timeout,
        4 => Tick::RunOut,
        5 => Tick::Turn,
        _ => Tick::Second,
    };
    let front_end = (of >> NUMBER_BITS) as usize & ((1 << PLACE_BITS) - 1);
    (tick, front_end, of & ((1 << NUMBER_BITS) - 1))
}

impl Preau {
    /// For one run.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let first: Vec<bool> = scenario.classes().iter().map(|class| class.first).collect();
        let mut random = rng(seed, Draw::FrontEnd, 0);
        let mut front_ends = Vec::new();
        let mut of_region = Vec::new();
        for (at, (region, count)) in scenario.region.iter().zip(counts(scenario)).enumerate() {
            let begin = front_ends.len();
            for i in 1..=count {
                let name = format!("{}-{i}", region.name);
                let phase = random.u32(..scenario.front_ends.report_ms);
                let seed = random.u64(..);
                front_ends.push(FrontEnd::new(name, at, &region.name, phase, &first, seed));
            }
            of_region.push(begin..front_ends.len());
        }
        Self {
            coordinator: Coordinator::new(scenario, seed),
            running: of_region.iter().map(Range::len).collect(),
            cut_off: vec![false; of_region.len()],
            front_ends,
            of_region,
            place: Vec::new(),
            id: Vec::new(),
            kept_for: BTreeMap::new(),
            shown: BTreeMap::new(),
            told_s: Vec::new(),
            off_percent: vec![0; MOST_PERCENT + 1],
            interrupted: BTreeMap::new(),
            random: rng(seed, Draw::Retry, 1),
            allowed: scenario.capacity,
            max_over: 0,
        }
    }

    /// The front-end that a user comes to.
    fn choose(&self, play: &Play<'_>, user: u32) -> usize {
        let region = play.region(user);
        let running = self.running[region];
        let chosen = match play.users.visit(user) {
            Some(visit) => usize::from(visit.front_end) % running,
            None => rng(play.seed, Draw::FrontEnd, u64::from(user) + 1).usize(..running),
        };
        self.of_region[region].start + chosen
    }

    fn line_up(&mut self, play: &mut Play<'_>, user: u32) {
        let chosen = self.choose(play, user);
        let front_end = &mut self.front_ends[chosen];
        let class = play.class(user);
        if let Some(second) = front_end.queue.second(at(play.now)) {
            play.ticket_says(user, Coordinator::second_of(second));
        }
        match front_end.queue.arrive(at(play.now), class) {
            Arrival::Seated(place) => {
                front_end.know(place.index, user);
                (self.place[user as usize], self.id[user as usize]) = (chosen as u16, place.id);
                play.seat(user);
            }
            Arrival::Waiting(place, ahead) => {
                let told_s = ahead.wait.map_or(0, |wait| wait.p50_s);
                self.told_s[user as usize] = u16::try_from(told_s).unwrap_or(u16::MAX);
                front_end.know(place.index, user);
                (self.place[user as usize], self.id[user as usize]) = (chosen as u16, place.id);
            }
            Arrival::Refused(why) => {
                debug_assert_eq!(why, NoEntry::NotReady);
                self.place[user as usize] = NOWHERE;
                play.turn_away(user, AGAIN_MS);
            }
        }
        let report_ms = play.scenario.front_ends.report_ms;
        let front_end = &self.front_ends[chosen];
        if front_end.asked.is_none()
            && play.now >= front_end.reported + report_ms / EAGER
            && front_end.queue.is_pressed()
        {
            self.ask(play, chosen);
        }
    }

    /// A user leaves the queue or the session.
    fn leave(&mut self, play: &mut Play<'_>, user: u32) {
        let place = std::mem::replace(&mut self.place[user as usize], NOWHERE);
        if place == NOWHERE || !self.front_ends[usize::from(place)].runs {
            return;
        }
        let front_end = &mut self.front_ends[usize::from(place)];
        front_end.queue.leave(at(play.now), self.id[user as usize]);
        self.happen(play, place.into());
    }

    /// Follows up what has happened in a queue.
    fn happen(&mut self, play: &mut Play<'_>, place: usize) {
        for event in self.front_ends[place].events() {
            match event {
                Event::Called(called) => self.called(play, place, called),
                Event::Ended(ended, _) => {
                    let user = self.front_ends[place].users[ended.index as usize];
                    self.place[user as usize] = NOWHERE;
                    if play.stage(user) == Stage::Seated {
                        play.lose(user, retry_ms(play.scenario, &mut self.random));
                    }
                }
                Event::Adopted(adopted) => {
                    if let Some(user) = self.shown.remove(&adopted.id) {
                        self.front_ends[place].know(adopted.index, user);
                    }
                }
                Event::Notice(..) | Event::Abandoned(_) | Event::Moved(_) => {}
            }
        }
        self.wake(play, place);
    }

    /// Sees to it that a front-end looks at its queue when it is somebody's turn.
    fn wake(&mut self, play: &mut Play<'_>, place: usize) {
        let front_end = &mut self.front_ends[place];
        let Some(due) = front_end.queue.turn_at(at(play.now)) else {
            return;
        };
        let due = (due.as_nanos().div_ceil(1_000_000) as Ms).max(play.now + 1);
        if front_end.wakes <= play.now || due < front_end.wakes {
            front_end.wakes = due;
            play.tick(due, packed(Tick::Turn, place, 0));
        }
    }

    fn called(&mut self, play: &mut Play<'_>, place: usize, called: User) {
        let front_end = &mut self.front_ends[place];
        let user = front_end.users[called.index as usize];
        if play.stage(user) != Stage::Waiting {
            // The slot is kept for somebody who is not there any more.
            self.kept_for.insert(user, play.now);
            return;
        }
        // The page holds a request open, and hears at once.
        let standing = front_end.queue.poll(at(play.now), called.id);
        debug_assert!(matches!(standing, Standing::Seated(_)), "{standing:?}");
        let told_s = std::mem::take(&mut self.told_s[user as usize]);
        if told_s > 0 {
            let waited = f64::from(play.now - play.since(user)) / 1_000.0;
            let off = (waited - f64::from(told_s)).abs() / waited.max(1.0) * 100.0;
            self.off_percent[(off.round() as usize).min(MOST_PERCENT)] += 1;
        }
        match self.interrupted.remove(&user) {
            Some(left) => play.resume(user, left),
            None => play.seat(user),
        }
    }

    /// Counts what the queues themselves say is in use.
    fn check_budget(&mut self, play: &Play<'_>) {
        let used: u64 = self
            .front_ends
            .iter()
            .filter(|f| f.runs)
            .map(|f| f.queue.in_use())
            .sum();
        let out = used.max(self.coordinator.held());
        self.allowed = play.capacity.max(self.allowed.min(out));
        self.max_over = self.max_over.max(used.saturating_sub(self.allowed));
    }

    /// A front-end makes its next request.
    fn ask(&mut self, play: &mut Play<'_>, place: usize) {
        self.front_ends[place].ask(play.now);
        self.happen(play, place);
        self.send(play, place);
    }

    /// Sends a front-end's request, for the first time or again.
    fn send(&mut self, play: &mut Play<'_>, place: usize) {
        let front_end = &self.front_ends[place];
        let Some(asked) = &front_end.asked else {
            return;
        };
        let (seq, bytes) = (asked.seq, asked.command.encoded_len());
        let comes = self.coordinator.send(play, bytes);
        if let Some(comes) = comes.filter(|_| !self.cut_off[front_end.region]) {
            play.tick(comes, packed(Tick::Deliver, place, seq));
        }
        let timeout = play.now + play.scenario.front_ends.timeout_ms;
        play.tick(timeout, packed(Tick::Timeout, place, seq));
    }

    /// A request comes to the coordinator, which answers it.
    fn deliver(&mut self, play: &mut Play<'_>, place: usize, number: u32) {
        let front_end = &self.front_ends[place];
        let asked = front_end.asked.as_ref();
        let Some(asked) = asked.filter(|asked| number_of(asked.seq) == number) else {
            // Sent twice, and answered already.
            return;
        };
        if self.cut_off[front_end.region] || play.now < self.coordinator.lost_until {
            return;
        }
        let seq = asked.seq;
        let Some(outcome) = self.coordinator.apply(play.now, asked.command.clone()) else {
            return;
        };
        if let Some(comes) = self.coordinator.send(play, answer_bytes(&outcome)) {
            self.front_ends[place].answers.push((seq, outcome));
            play.tick(comes, packed(Tick::Answer, place, seq));
        }
    }

    fn report_due(&mut self, play: &mut Play<'_>, place: usize) {
        let report_ms = play.scenario.front_ends.report_ms;
        let front_end = &mut self.front_ends[place];
        if !front_end.runs {
            return;
        }
        let region_place = &play.users.places[front_end.region];
        let length = (play.scenario.to.seconds - play.scenario.from.seconds) * 1_000;
        let over = play.now >= region_place.begins + length;
        if over && front_end.queue.in_use() == 0 && front_end.queue.waiting() == 0 {
            // The region's part of the day is over, and the last user has gone.
            front_end.runs = false;
            return;
        }
        front_end.queue.tick(at(play.now));
        let stale = front_end.asked.as_ref().is_none_or(|asked| {
            u64::from(play.now - asked.sent) >= play.scenario.front_ends.ttl_ms / 2
        });
        if front_end.deadline > play.now && front_end.deadline <= play.now + report_ms {
            play.tick(front_end.deadline, packed(Tick::RunOut, place, 0));
        }
        play.tick(play.now + report_ms, packed(Tick::Report, place, 0));
        self.happen(play, place);
        if stale {
            self.ask(play, place);
        }
    }

    /// Front-ends of a region are gone, with all that they knew. Their users go to the others and show
    /// their tokens.
    fn kill(&mut self, play: &mut Play<'_>, region: usize, count: usize) {
        let first = self.of_region[region].start;
        for _ in 0..count.min(self.running[region] - 1) {
            self.running[region] -= 1;
            let killed = first + self.running[region];
            let issuer = self.front_ends[killed].issuer();
            self.front_ends[killed].runs = false;
            for user in play.users.places[region].users.clone() {
                if usize::from(self.place[user as usize]) != killed {
                    continue;
                }
                let start_s = match play.stage(user) {
                    Stage::Waiting => None,
                    Stage::Seated => {
                        self.interrupted.insert(user, play.interrupt(user));
                        Some(Coordinator::cluster_s(play.now))
                    }
                    Stage::Away | Stage::GaveUp => continue,
                };
                let chosen = self.choose(play, user);
                let id = self.id[user as usize];
                let shown = Shown {
                    id,
                    issuer,
                    class: play.class(user),
                    second: Coordinator::cluster_s(play.since(user)),
                    start_s,
                };
                self.front_ends[chosen].queue.show(at(play.now), shown);
                self.place[user as usize] = chosen as u16;
                self.shown.insert(id, user);
            }
        }
    }
}

fn number_of(seq: u64) -> u32 {
    seq as u32 & ((1 << NUMBER_BITS) - 1)
}

/// What an answer takes on the wire, about: each number of it two bytes, as small ones are written, and a
/// tag of one.
fn answer_bytes(outcome: &Outcome) -> usize {
    const NUMBER: usize = 3;
    match outcome {
        Ok(Reply::Reported(reported)) => {
            let rows = 3 * reported.admit.len() + 4 * reported.flows.len();
            let tokens = 2 * reported.claims.len() + reported.asked.len();
            20 * NUMBER + rows * NUMBER + tokens * 10 + reported.reason.len()
        }
        Ok(_) => 5 * NUMBER,
        Err(refusal) => refusal.to_string().len(),
    }
}

/// Front-ends of each region, in proportion to its users, two at least.
fn counts(scenario: &Scenario) -> Vec<usize> {
    let shared = by_population(scenario, scenario.front_ends.count.into());
    shared
        .into_iter()
        .map(|count| (count as usize).max(2))
        .collect()
}
