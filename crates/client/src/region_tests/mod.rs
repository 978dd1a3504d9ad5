//! A region of front-ends, each a keeper with its queue, and the real rules; time is simulated, and the
//! network is perfect but for what a test breaks.

mod chance;
mod restarts;
mod stories;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use quota::{
    Batch, Change, Class, Command, Configure, LeaseId, Outcome, Refusal, Reply, Rules,
    SessionRules, SetPool, SetRegion, State,
};

use crate::front::Front;
use crate::keeper::{Keeper, Settings};
use crate::queue::{self, Arrival, Event, Queue, Session, Shown, Standing, User, Why};
use crate::requests::{Answer, Grant, Refused, Request, Tag};

/// How often every front-end looks.
const STEP_MS: u64 = 50;

struct FrontEnd {
    name: String,
    keeper: Keeper,
    queue: Queue,
    runs: bool,
    /// Whether it reaches a node.
    connected: bool,
    /// Whether the next answer to it is lost.
    loses: bool,
}

impl FrontEnd {
    const SETTINGS: Settings = Settings {
        reserve: 2,
        report_every: None,
    };

    fn new(at: usize, seed: u64) -> Self {
        let with = queue::Settings {
            reserve: 2,
            ..queue::Settings::default()
        };
        Self {
            name: format!("portal-{at}"),
            keeper: Keeper::new(Self::SETTINGS, 1),
            queue: Queue::new(with, seed),
            runs: true,
            connected: true,
            loses: false,
        }
    }

    fn issuer(&self) -> u32 {
        quota::issuer(&self.name, self.keeper.epoch())
    }
}

struct Region {
    state: State,
    now_ms: u64,
    fronts: Vec<FrontEnd>,
    capacity: u64,
    /// Which classes go first.
    firsts: Vec<bool>,
    /// The second of arrival of everybody who waits, by class and id.
    waiting: BTreeMap<u64, (u8, u32)>,
    /// Who was called, where, and the second of arrival.
    called: Vec<(usize, u64, u32)>,
    ended: Vec<(u64, Why)>,
    /// Who waits although a later one of the class was called, and since when.
    passed: BTreeMap<u64, u64>,
    /// Whether those who are next are seated in the order of their seconds all over the region, as they are by now,
    /// rather than as each front-end reports, which is easier to foretell.
    in_turn: bool,
    /// Whether things break, or classes take turns, so that who is called may not be who came first.
    loose: bool,
}

fn configure(id: &str, changes: Vec<Change>) -> Command {
    Command::Configure(Configure {
        request_id: id.into(),
        expected_revision: None,
        changes,
    })
}

impl Region {
    fn new(capacity: u64, fronts: usize) -> Self {
        Self::with(capacity, fronts, Rules::default())
    }

    fn with(capacity: u64, fronts: usize, rules: Rules) -> Self {
        let firsts: Vec<bool> = rules.classes.iter().map(|class| class.first).collect();
        let rules = Change::SetRules {
            pool: "ent".into(),
            rules,
        };
        let mut region = Self {
            state: State::default(),
            now_ms: 1_000_000,
            fronts: Vec::new(),
            capacity,
            firsts: firsts.clone(),
            waiting: BTreeMap::new(),
            called: Vec::new(),
            ended: Vec::new(),
            passed: BTreeMap::new(),
            in_turn: false,
            loose: false,
        };
        let pool = SetPool {
            name: "ent".into(),
            capacity,
            ttl_ms: None,
            drift_ppm: None,
        };
        let normandie = SetRegion {
            pool: "ent".into(),
            name: "normandie".into(),
            nominal: capacity,
            ceiling: None,
            weight: 1,
        };
        let changes = vec![Change::SetPool(pool), Change::SetRegion(normandie), rules];
        region.configure("pool", changes);
        for _ in 0..fronts {
            let at = region.start();
            let queue = &mut region.fronts[at].queue;
            queue.set_classes(firsts.iter().copied());
            region.run(330);
        }
        region.run(2_000);
        region
    }

    fn configure(&mut self, id: &str, changes: Vec<Change>) {
        self.apply(configure(id, changes)).unwrap();
    }

    fn start(&mut self) -> usize {
        let at = self.fronts.len();
        self.fronts.push(FrontEnd::new(at, at as u64));
        at
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms)
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let time_ms = self.now_ms - 1_000_000;
        let commands = vec![command];
        self.state.apply(&Batch { time_ms, commands }).remove(0)
    }

    /// Lets time go on, and everybody who waits or was called give signs of life.
    fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += STEP_MS;
            for at in 0..self.fronts.len() {
                self.look(at);
                self.fronts[at].queue.check();
            }
            let running = self.fronts.iter().filter(|front| front.runs);
            let used: u64 = running.map(|front| front.queue.in_use()).sum();
            assert!(used <= self.capacity, "{used} of {} in use", self.capacity);
            self.passed.retain(|id, _| self.waiting.contains_key(id));
            for (id, &ms) in &self.passed {
                let (late, user) = (self.now_ms - ms, self.waiting[id]);
                assert!(late <= 1_200, "{user:?} waits {late} ms after a later one");
            }
        }
    }

    fn look(&mut self, at: usize) {
        let now = self.now();
        let front = &mut self.fronts[at];
        if !front.runs {
            return;
        }
        match front.keeper.poll(now, &mut front.queue) {
            Some((tag, request)) if front.connected => self.carry_out(at, tag, request),
            Some((tag, _)) => front.keeper.failed(now, tag, Duration::from_millis(200)),
            None => {}
        }
        self.look_after_events(at);
    }

    fn carry_out(&mut self, at: usize, tag: Tag, request: Request) {
        let command = self.command(at, request);
        let outcome = self.apply(command);
        let now = self.now();
        let front = &mut self.fronts[at];
        if std::mem::take(&mut front.loses) {
            return front.keeper.failed(now, tag, Duration::from_millis(700));
        }
        match outcome {
            Ok(reply) => front
                .keeper
                .answered(now, tag, answer(&reply), &mut front.queue),
            Err(refusal) => front
                .keeper
                .refused(now, tag, refused(&refusal), &mut front.queue),
        }
    }

    fn command(&self, at: usize, request: Request) -> Command {
        match request {
            Request::Take { epoch, seq, wanted } => Command::Take(quota::Take {
                pool: "ent".into(),
                region: "normandie".into(),
                holder: self.fronts[at].name.clone().into(),
                epoch,
                seq,
                wanted,
            }),
            Request::Report { lease, seq, report } => {
                let report = report.of(LeaseId(lease), seq);
                match self.in_turn {
                    true => Command::ReportV2(report),
                    false => Command::Report(report),
                }
            }
            Request::Return { lease, seq } => Command::Return(quota::Return {
                lease: LeaseId(lease),
                seq,
            }),
            Request::Renew { .. } => unreachable!("a queue reports"),
        }
    }

    /// Whoever is called takes the seat.
    fn look_after_events(&mut self, at: usize) {
        let now = self.now();
        let events: Vec<_> = self.fronts[at].queue.events().collect();
        for event in events {
            match event {
                Event::Called(User { id, .. }) => {
                    let Some((class, second)) = self.waiting.remove(&id) else {
                        assert!(self.loose, "called twice");
                        continue;
                    };
                    self.pass(at, class, second);
                    self.called.push((at, id, second));
                    self.fronts[at].queue.poll(now, id);
                }
                Event::Ended(user, why) => self.ended.push((user.id, why)),
                Event::Abandoned(user) => assert!(self.loose, "{user:?} was abandoned"),
                Event::Moved(_) | Event::Adopted(_) | Event::Notice(..) => {}
            }
        }
        for &id in self.waiting.keys() {
            if self.fronts[at].queue.arrival(id).is_some() {
                self.fronts[at].queue.poll(now, id);
            }
        }
    }

    /// A user is called at a front-end that asked for it. Whoever of the class came in an earlier second
    /// is next, too, and hears of it when their own front-end reports, within a second.
    fn pass(&mut self, at: usize, class: u8, second: u32) {
        // An open front-end seats its own without asking, a moment before it hears that others wait.
        if self.loose || self.fronts[at].queue.is_open() {
            return;
        }
        for (&id, &(other, since)) in &self.waiting {
            if other == class && since < second && self.is_heard(id) {
                self.passed.entry(id).or_insert(self.now_ms);
            }
        }
    }

    /// Whether somebody waits where the coordinator knows of it.
    fn is_heard(&self, id: u64) -> bool {
        let mut heard = self
            .fronts
            .iter()
            .filter(|front| front.runs && front.connected);
        heard.any(|front| front.queue.arrival(id).is_some())
    }

    fn arrive(&mut self, at: usize, class: u8) -> Option<Shown> {
        let now = self.now();
        let front = &mut self.fronts[at];
        let issuer = front.issuer();
        let (user, seated) = match front.queue.arrive(now, class) {
            Arrival::Seated(user) => (user, true),
            Arrival::Waiting(user, _) => (user, false),
            Arrival::Refused(why) => panic!("{why}"),
        };
        let (class, second) = front.queue.arrival(user.id)?;
        if !seated {
            self.waiting.insert(user.id, (class, second));
        }
        Some(Shown {
            id: user.id,
            issuer,
            class,
            second,
            start_s: seated.then_some(second),
        })
    }

    /// The region is full, and a while later nobody waits.
    fn fill(&mut self, slots: usize) -> Vec<Shown> {
        let seated = self.arrivals(slots, 400);
        self.run(3_000);
        assert!(self.waiting.is_empty());
        self.called.clear();
        seated
    }

    /// So many users of the first class arrive at each front-end in turn, one every `every_ms`.
    fn arrivals(&mut self, users: usize, every_ms: u64) -> Vec<Shown> {
        let mut shown = Vec::new();
        for n in 0..users {
            shown.extend(self.arrive(n % self.fronts.len(), 0));
            self.run(every_ms);
        }
        shown
    }

    fn leave(&mut self, at: usize, id: u64) {
        let now = self.now();
        assert!(self.fronts[at].queue.leave(now, id));
    }

    fn waiting_at(&self, at: usize) -> u64 {
        self.fronts[at].queue.waiting()
    }
}

fn answer(reply: &Reply) -> Answer {
    let grant = |grant: quota::Grant| Grant {
        lease: grant.lease.0,
        slots: grant.slots,
        target: grant.target,
        ttl_ms: grant.ttl_ms,
        drift_ppm: grant.drift_ppm,
    };
    match reply {
        Reply::Grant(taken) => Answer::Granted(grant(*taken)),
        Reply::Reported(reported) => {
            let more = queue::Grant::from(&**reported);
            Answer::Reported(grant(reported.grant), Box::new(more))
        }
        Reply::Returned(_) => Answer::Returned,
        other => panic!("{other:?}"),
    }
}

fn refused(refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::LeaseEnded { .. } | Refusal::NoSuchLease { .. } => Refused::Ended,
        Refusal::LeaseClosing { .. } => Refused::Closing,
        _ => Refused::Other,
    }
}
