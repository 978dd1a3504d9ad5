//! A region of front-ends, each a keeper with its queue, and the real rules; time is simulated, and the
//! network is perfect but for what a test breaks.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use quota::{
    Batch, Change, Class, Command, Configure, LeaseId, Outcome, Refusal, Reply, Rules,
    SessionRules, SetPool, SetRegion, State,
};

use crate::front::Front;
use crate::keeper::{Answer, Grant, Keeper, Refused, Request, Settings, Tag};
use crate::queue::{self, Arrival, Event, Queue, Session, Shown, Standing, User, Why};

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
    fn issuer(&self) -> u32 {
        quota::issuer(&self.name, self.keeper.epoch())
    }
}

struct Region {
    state: State,
    now_ms: u64,
    fronts: Vec<FrontEnd>,
    capacity: u64,
    /// The second of arrival of everybody who waits, by class and id.
    waiting: BTreeMap<u64, (u8, u32)>,
    /// Who was called, where, and the second of arrival.
    called: Vec<(usize, u64, u32)>,
    ended: Vec<(u64, Why)>,
    /// Who waits although a later one of the class was called, and since when.
    passed: BTreeMap<u64, u64>,
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
            waiting: BTreeMap::new(),
            called: Vec::new(),
            ended: Vec::new(),
            passed: BTreeMap::new(),
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
        let settings = Settings {
            reserve: 2,
            report_every: None,
        };
        let with = queue::Settings {
            reserve: 2,
            ..queue::Settings::default()
        };
        self.fronts.push(FrontEnd {
            name: format!("portal-{at}"),
            keeper: Keeper::new(settings, 1),
            queue: Queue::new(with, at as u64),
            runs: true,
            connected: true,
            loses: false,
        });
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
                holder: self.fronts[at].name.clone(),
                epoch,
                seq,
                wanted,
            }),
            Request::Report { lease, seq, report } => Command::Report(quota::Report {
                lease: LeaseId(lease),
                seq,
                kept: report.kept,
                in_use: report.in_use,
                spare: report.spare,
                waiting: report.waiting,
                exact_until_s: report.exact_until_s,
                left: report.left,
                floor: report.floor,
                claims: report.claims,
                released: report.released,
                refused: report.refused,
            }),
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
        other => panic!("{other}"),
    }
}

#[test]
fn open_seats_everybody_and_one_user_too_many_waits() {
    let mut region = Region::new(10, 2);
    region.arrivals(10, 400);
    assert_eq!(region.waiting.len(), 0, "there is room for all");
    let last = region.arrive(1, 0).unwrap();
    region.run(3_000);
    assert_eq!(region.waiting.keys().collect::<Vec<_>>(), [&last.id]);
}

#[test]
fn the_oldest_second_is_served_first_whichever_front_end_it_waits_at() {
    let mut region = Region::new(10, 3);
    let seated = region.fill(10);
    // They come at uneven front-ends: two of three at the first.
    for n in 0..45 {
        region.arrive([0, 0, 1, 0, 2, 0][n % 6], 0);
        region.run(350);
    }
    assert_eq!(region.waiting.len(), 45);
    let mut leaving: Vec<_> = seated.iter().map(|user| user.id).collect();
    while !region.waiting.is_empty() {
        let id = leaving.remove(0);
        let at = (0..3).find(|&at| region.fronts[at].queue.arrival(id).is_some());
        region.leave(at.unwrap(), id);
        let before = region.called.len();
        region.run(1_700);
        assert!(
            region.called.len() > before || region.waiting.is_empty(),
            "no slot idles"
        );
        leaving.extend(region.called[before..].iter().map(|called| called.1));
    }
    let seconds: Vec<_> = region.called.iter().map(|called| called.2).collect();
    assert!(seconds.is_sorted(), "{seconds:?}");
    for at in 0..3 {
        assert!(region.called.iter().any(|called| called.0 == at));
    }
}

#[test]
fn who_waits_at_a_front_end_that_dies_keeps_the_place_at_another() {
    let mut region = Region::new(6, 2);
    let seated = region.fill(6);
    let waiting = region.arrivals(40, 500);
    assert_eq!((region.waiting_at(0), region.waiting_at(1)), (20, 20));
    region.fronts[0].runs = false;
    // They come to the other one within a few seconds, the last first, and come again until it knows them.
    let lost: Vec<_> = waiting.iter().step_by(2).rev().copied().collect();
    for _ in 0..20 {
        for &shown in &lost {
            let now = region.now();
            region.fronts[1].queue.show(now, shown);
        }
        region.run(1_000);
    }
    assert_eq!(region.waiting_at(1) as usize, 40 - region.called.len());
    // The dead front-end's seats are free by now; those of the living one leave one by one.
    let mut at_one: Vec<_> = seated
        .iter()
        .skip(1)
        .step_by(2)
        .map(|user| user.id)
        .collect();
    while !region.waiting.is_empty() {
        let before = region.called.len();
        region.run(1_500);
        at_one.extend(region.called[before..].iter().map(|called| called.1));
        if !at_one.is_empty() {
            let id = at_one.remove(0);
            region.leave(1, id);
        }
    }
    let order: Vec<_> = region.called.iter().map(|called| called.1).collect();
    let mut seconds: Vec<_> = region.called.iter().map(|called| called.2).collect();
    assert_eq!(order.len(), 40, "nobody is lost");
    assert!(seconds.is_sorted(), "{seconds:?}");
    seconds.dedup();
    assert!(seconds.len() > 15, "they came in many seconds");
}

#[test]
fn a_ticket_shown_at_two_front_ends_is_at_one_only_and_seated_once() {
    let mut region = Region::new(4, 3);
    let seated = region.fill(4);
    let ticket = region.arrive(0, 0).unwrap();
    region.run(1_200);
    for round in 0..12 {
        for at in 1..3 {
            let now = region.now();
            region.fronts[at].queue.show(now, ticket);
        }
        region.run(500);
        let places = (0..3).filter(|&at| region.fronts[at].queue.arrival(ticket.id).is_some());
        assert!(places.count() <= 1, "round {round}");
    }
    let now = region.now();
    let at = (0..3).find(|&at| region.fronts[at].queue.arrival(ticket.id).is_some());
    // It may be on its way between the two that ask for it; it comes to rest once one of them alone does.
    let at = at.unwrap_or(1);
    region.fronts[at].queue.show(now, ticket);
    region.run(4_000);
    region.leave(1, seated[1].id);
    for _ in 0..10 {
        let now = region.now();
        region.fronts[at].queue.show(now, ticket);
        region.run(500);
    }
    assert_eq!(region.called.len(), 1);
    // Over: the ticket is good nowhere any more.
    let now = region.now();
    let at = region.called[0].0;
    assert!(matches!(
        region.fronts[at].queue.poll(now, ticket.id),
        Standing::Seated(_)
    ));
    region.leave(at, ticket.id);
    let other = (at + 1) % 3;
    for _ in 0..10 {
        let now = region.now();
        region.fronts[other].queue.show(now, ticket);
        region.run(500);
    }
    let now = region.now();
    assert_eq!(region.fronts[other].queue.show(now, ticket), Standing::Gone);
    assert_eq!(region.called.len(), 1);
}

#[test]
fn a_seat_goes_on_at_another_front_end_with_its_start() {
    let mut region = Region::new(4, 2);
    let seats = region.fill(4);
    let waits = region.arrive(1, 0).unwrap();
    region.run(2_000);
    let seat = seats[0];
    region.waiting.insert(seat.id, (0, seat.second));
    for _ in 0..12 {
        let now = region.now();
        region.fronts[1].queue.show(now, seat);
        region.run(500);
    }
    let now = region.now();
    let standing = region.fronts[1].queue.show(now, seat);
    assert!(
        matches!(standing, Standing::Seated(Session { start_s, .. }) if Some(start_s) == seat.start_s),
        "{standing:?}"
    );
    assert!(
        region.waiting.contains_key(&waits.id),
        "and takes nobody's turn"
    );
    let now = region.now();
    assert_eq!(region.fronts[0].queue.poll(now, seat.id), Standing::Gone);
}

#[test]
fn who_is_first_goes_first_and_weights_share_the_rest() {
    let class = |name: &str, weight, first| Class {
        name: name.into(),
        weight,
        first,
    };
    let classes = vec![
        class("pupils", 3, false),
        class("others", 1, false),
        class("teachers", 1, true),
    ];
    let rules = Rules {
        classes,
        ..Rules::default()
    };
    let mut region = Region::with(8, 2, rules);
    region.loose = true;
    let mut seated: Vec<_> = region.fill(8).iter().map(|user| user.id).collect();
    for n in 0..60 {
        region.arrive(n % 2, (n % 3) as u8);
        region.run(200);
    }
    let classes: BTreeMap<u64, u8> = region
        .waiting
        .iter()
        .map(|(&id, &(class, _))| (id, class))
        .collect();
    while region.called.len() < 44 {
        let id = seated.remove(0);
        let at = (0..2).find(|&at| region.fronts[at].queue.arrival(id).is_some());
        region.leave(at.unwrap(), id);
        let before = region.called.len();
        region.run(1_500);
        seated.extend(region.called[before..].iter().map(|called| called.1));
    }
    let order: Vec<_> = region
        .called
        .iter()
        .map(|called| classes[&called.1])
        .collect();
    assert!(order[..20].iter().all(|&class| class == 2), "{order:?}");
    let pupils = order[20..44].iter().filter(|&&class| class == 0).count();
    assert!(
        (17..=19).contains(&pupils),
        "{pupils} of 24 by weight 3 to 1"
    );
}

#[test]
fn cut_off_a_front_end_goes_to_its_end_then_by_its_floor_and_comes_back() {
    let mut region = Region::new(10, 2);
    let floor = Change::SetFloor {
        pool: "ent".into(),
        region: "normandie".into(),
        holder: Some("portal-0".into()),
        slots: 2,
    };
    let smaller = SetRegion {
        pool: "ent".into(),
        name: "normandie".into(),
        nominal: 8,
        ceiling: None,
        weight: 1,
    };
    region.configure("floor", vec![Change::SetRegion(smaller), floor]);
    region.run(3_000);
    assert_eq!(region.fronts[0].queue.floor(), 2);
    let seated = region.fill(8);
    region.arrivals(8, 500);
    assert!(!region.waiting.is_empty());
    region.fronts[0].connected = false;
    region.run(20_000);
    assert_eq!(
        region.fronts[0].queue.in_use(),
        2,
        "what its floor covers goes on"
    );
    assert!(region.ended.iter().all(|ended| ended.1 == Why::Uncovered));
    let covered = seated
        .iter()
        .find(|user| region.fronts[0].queue.arrival(user.id).is_some());
    let id = covered.unwrap().id;
    region
        .waiting
        .retain(|id, _| region.fronts[0].queue.arrival(*id).is_some());
    region.leave(0, id);
    let before = region.called.len();
    region.run(1_000);
    assert_eq!(
        region.called.len(),
        before + 1,
        "the floor's slot is used again"
    );
    region.fronts[0].connected = true;
    region.run(5_000);
    let standing = {
        let front = &mut region.fronts[0];
        front.keeper.standing(
            Duration::from_millis(region.now_ms),
            Front::Queue(&mut front.queue),
        )
    };
    assert!(standing.expires_in > Duration::from_secs(5), "{standing:?}");
    assert_eq!(standing.overdue, 0);
}

/// Something that happens in a region.
#[derive(Debug, Clone)]
enum Happens {
    Arrive {
        at: usize,
        class: u8,
    },
    /// The user who has sat longest at a front-end leaves.
    Leave {
        at: usize,
    },
    Wait {
        ms: u64,
    },
    /// The link to the nodes breaks or mends.
    Link {
        at: usize,
        connected: bool,
    },
    /// The next answer to a front-end is lost, though its request was carried out.
    Lose {
        at: usize,
    },
    Kill {
        at: usize,
    },
    /// Somebody who came first to one front-end shows the token at another.
    Show {
        at: usize,
        which: usize,
    },
}

fn happens(faults: bool) -> impl Strategy<Value = Happens> {
    let at = || 0..3_usize;
    let calm = prop_oneof![
        6 => (at(), 0..3_u8).prop_map(|(at, class)| Happens::Arrive { at, class }),
        4 => at().prop_map(|at| Happens::Leave { at }),
        5 => (1..40_u64).prop_map(|steps| Happens::Wait { ms: steps * STEP_MS }),
    ];
    let fault = prop_oneof![
        3 => (at(), any::<bool>()).prop_map(|(at, connected)| Happens::Link { at, connected }),
        3 => at().prop_map(|at| Happens::Lose { at }),
        1 => at().prop_map(|at| Happens::Kill { at }),
        6 => (at(), 0..100_usize).prop_map(|(at, which)| Happens::Show { at, which }),
    ];
    prop_oneof![20 => calm, u32::from(faults) * 6 => fault]
}

impl Region {
    /// A region of two ordinary classes and one that goes first, with a floor at one of its front-ends.
    fn eventful() -> Self {
        let class = |name: &str, weight, first| Class {
            name: name.into(),
            weight,
            first,
        };
        let rules = Rules {
            classes: vec![
                class("a", 2, false),
                class("b", 1, false),
                class("c", 1, true),
            ],
            session: SessionRules {
                limit_s: Some(60),
                when_waiting_s: Some(20),
                notice_s: 5,
                least_s: 5,
                ..SessionRules::default()
            },
            ..Rules::default()
        };
        let mut region = Self::with(12, 3, rules);
        let smaller = SetRegion {
            pool: "ent".into(),
            name: "normandie".into(),
            nominal: 9,
            ceiling: None,
            weight: 1,
        };
        let floor = Change::SetFloor {
            pool: "ent".into(),
            region: "normandie".into(),
            holder: Some("portal-0".into()),
            slots: 3,
        };
        region.configure("floor", vec![Change::SetRegion(smaller), floor]);
        region.run(2_000);
        region
    }

    /// Whether before long every slot that is not set aside is used, or nobody waits. Sessions end in the
    /// meantime, and so it may be for a moment only.
    fn fills_up(&mut self) -> bool {
        (0..200).any(|_| {
            self.run(STEP_MS);
            let running = || self.fronts.iter().filter(|front| front.runs);
            let in_use: u64 = running().map(|front| front.queue.in_use()).sum();
            in_use >= 9 || running().all(|front| front.queue.waiting() == 0)
        })
    }

    fn happen(&mut self, happens: &Happens, tokens: &mut Vec<Shown>) {
        match *happens {
            Happens::Arrive { at, class } if self.fronts[at].runs => {
                tokens.extend(self.arrive(at, class));
            }
            Happens::Leave { at } if self.fronts[at].runs => {
                let queue = &self.fronts[at].queue;
                let seated = tokens.iter().find(|token| {
                    queue.arrival(token.id).is_some() && !self.waiting.contains_key(&token.id)
                });
                if let Some(&Shown { id, .. }) = seated {
                    self.leave(at, id);
                }
            }
            Happens::Wait { ms } => self.run(ms),
            Happens::Link { at, connected } => self.fronts[at].connected = connected,
            Happens::Lose { at } => self.fronts[at].loses = true,
            Happens::Kill { at } if at > 0 => self.fronts[at].runs = false,
            Happens::Show { at, which } if self.fronts[at].runs && which < tokens.len() => {
                let now = self.now();
                self.fronts[at].queue.show(now, tokens[which]);
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every call along the way is checked for who else waits, and every step for the budget.
    #[test]
    fn who_came_earlier_is_called_earlier(
        happens in proptest::collection::vec(happens(false), 1..250),
    ) {
        let (mut region, mut tokens) = (Region::eventful(), Vec::new());
        for event in &happens {
            // Of several classes, another may be next by the time that a front-end asks.
            let event = match *event {
                Happens::Arrive { at, .. } => Happens::Arrive { at, class: 0 },
                ref other => other.clone(),
            };
            region.happen(&event, &mut tokens);
        }
        prop_assert!(region.fills_up(), "slots idle while somebody waits");
    }

    #[test]
    fn whatever_breaks_the_budget_holds(
        happens in proptest::collection::vec(happens(true), 1..250),
    ) {
        let (mut region, mut tokens) = (Region::eventful(), Vec::new());
        region.loose = true;
        for event in &happens {
            region.happen(event, &mut tokens);
        }
        for front in &mut region.fronts {
            (front.connected, front.loses) = (true, false);
        }
        region.run(15_000);
        prop_assert!(region.fills_up(), "slots idle while somebody waits");
    }
}
