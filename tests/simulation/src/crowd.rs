//! Users who wait: they come, ask again now and then, sit for a while and go. Some give up, some just stay
//! away, and whoever gets no answer goes to another front-end of the region with the same ticket.
//!
//! They are on no machine. A front-end that runs looks who is at its door, and so nobody is answered by one that
//! is down or stands still.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::v1;
use check::history::{Record, Served, Waits};
use client::keys::Keys;
use client::queue::Event;
use client::tokens::{Scope, TokenError};
use client::{FrontEnd, Turn};

use crate::fronts;
use crate::system;
use crate::trace::Trace;

/// The pool that its front-ends share, and no others.
pub const POOL: &str = "line";
/// Its slots: few, so that people wait.
pub const CAPACITY: u64 = 15;
/// Those of them that are set aside for the front-ends of a region that are cut off, to share.
pub const FLOOR: u64 = 3;
/// The class of all users.
const CLASS: &str = "everyone";
/// Whoever gives no sign for so long is dropped: longer than a front-end stands still.
pub const SILENCE_S: u32 = 15;
/// A front-end that gives no answer for so long is given up.
const ANSWER_NS: u64 = 1_500 * MS;
/// Whoever waits is seated within this once all is whole again.
const SERVED_NS: u64 = 60_000 * MS;
/// For so long after that people still come, so that there is order to be seen while nothing is broken.
const COME_NS: u64 = 10_000 * MS;
const MS: u64 = 1_000_000;

/// The region of a front-end: three share one, and one has its own.
pub fn region(door: u64) -> &'static str {
    match door % 4 {
        3 => "south",
        _ => "north",
    }
}

/// The pool's rules: one class, and a seat whose user can't be heard is free in the end.
pub fn rules() -> v1::SetRules {
    let everyone = v1::Class {
        name: CLASS.into(),
        ..v1::Class::default()
    };
    let session = v1::SessionRules {
        idle_s: Some(SILENCE_S),
        ..v1::SessionRules::default()
    };
    v1::SetRules {
        pool: POOL.into(),
        rules: Some(v1::Rules {
            classes: vec![everyone],
            session: Some(session),
            ..v1::Rules::default()
        }),
    }
}

/// All users. Cheap to clone.
#[derive(Clone)]
pub struct Crowd(Arc<Mutex<Inner>>);

struct Inner {
    random: fastrand::Rng,
    trace: Trace,
    keys: Keys,
    doors: BTreeMap<u64, Door>,
    people: BTreeMap<u64, Person>,
    tickets: BTreeMap<u64, Ticket>,
    /// Who waits where, by ticket and front-end, and as whom in the history.
    waits: BTreeMap<(u64, u64), u64>,
    /// Where a ticket has a seat.
    seats: BTreeMap<u64, u64>,
    came: u64,
    waited: u64,
    next_ns: u64,
    /// Between two who come, on average.
    gap_ms: u64,
    healed_ns: Option<u64>,
}

/// A front-end.
#[derive(Debug, Clone, Copy, Default)]
struct Door {
    /// Until when it may use its slots.
    until_ns: u64,
}

/// What is known of a ticket.
#[derive(Debug, Clone, Copy)]
struct Ticket {
    /// The second of arrival that it says.
    second: u32,
    /// Whether its user was told that the place or the seat is gone.
    dropped: bool,
}

struct Person {
    door: u64,
    /// The ticket's id, once there is one, and the token to show.
    ticket: Option<(u64, String)>,
    /// When they ask next.
    asks_ns: u64,
    /// When they have had enough of waiting.
    gives_up_ns: u64,
    /// Whether they just stay away then.
    silently: bool,
    sits_ns: u64,
    /// When they go, once they sit.
    goes_ns: Option<u64>,
    /// Whether the last answer was that their token is good no more.
    refused: bool,
}

impl Crowd {
    /// Nobody has come yet, to any of these front-ends.
    pub fn new(seed: u64, trace: Trace, keys: Keys, doors: impl Iterator<Item = u64>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self(Arc::new(Mutex::new(Inner {
            gap_ms: [500, 800, 1_600][random.usize(0..3)],
            random,
            trace,
            keys,
            doors: doors.map(|door| (door, Door::default())).collect(),
            people: BTreeMap::new(),
            tickets: BTreeMap::new(),
            waits: BTreeMap::new(),
            seats: BTreeMap::new(),
            came: 0,
            waited: 0,
            next_ns: 0,
            healed_ns: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A front-end may use its slots until then.
    pub fn may_use(&self, door: u64, until_ns: u64) {
        self.lock().doors.entry(door).or_default().until_ns = until_ns;
    }

    /// All is whole again.
    pub fn healed(&self) {
        self.lock().healed_ns = Some(system::now_ns());
    }

    /// A front-end has died: whoever was there sits and waits nowhere.
    pub fn died(&self, door: u64) {
        let inner = &mut *self.lock();
        let here: Vec<u64> = inner
            .waits
            .keys()
            .filter(|key| key.1 == door)
            .map(|key| key.0)
            .collect();
        for ticket in here {
            inner.waits_no_more(ticket, door, false);
        }
        inner.seats.retain(|_, at| *at != door);
        inner.doors.entry(door).or_default().until_ns = 0;
    }

    /// Something has happened to a user of a front-end.
    pub fn happened(&self, door: u64, event: Event) {
        let inner = &mut *self.lock();
        let ticket = event.user().id;
        match event {
            Event::Called(_) => inner.sits(ticket, door),
            Event::Adopted(_) => {
                inner.trace.count("ticket taken over");
                inner.waits(ticket, door);
            }
            Event::Moved(_) => inner.is_away(ticket, door),
            Event::Ended(..) | Event::Abandoned(_) => {
                inner.is_away(ticket, door);
                if let Some(ticket) = inner.tickets.get_mut(&ticket) {
                    ticket.dropped = true;
                }
            }
            Event::Notice(..) => {}
        }
    }

    /// Everybody at a front-end's door does what they do now. Says whether there is nobody who could still
    /// come to it.
    pub fn turn_to(&self, door: u64, front: &FrontEnd) -> bool {
        let inner = &mut *self.lock();
        let now_ns = system::now_ns();
        inner.come(now_ns);
        let due = inner.people.iter().filter(|(_, person)| {
            let elsewhere = person.door != door && region(person.door) == region(door);
            let waits_ns = if elsewhere { ANSWER_NS } else { 0 };
            (person.door == door || elsewhere) && person.asks_ns + waits_ns <= now_ns
        });
        let due: Vec<u64> = due.map(|(&person, _)| person).collect();
        for number in due {
            if let Some(mut person) = inner.people.remove(&number) {
                if person.door != door && person.ticket.is_some() {
                    inner.trace.count("ticket taken elsewhere");
                }
                person.door = door;
                if inner.acts(&mut person, front, now_ns) {
                    inner.people.insert(number, person);
                }
            }
        }
        let comes = inner
            .healed_ns
            .is_none_or(|healed_ns| now_ns < healed_ns + COME_NS);
        !comes
            && !inner
                .people
                .values()
                .any(|person| region(person.door) == region(door))
    }

    /// Looks whether everybody was served in time.
    pub fn look(&self) {
        let inner = &mut *self.lock();
        let now_ns = system::now_ns();
        let Some(healed_ns) = inner.healed_ns else {
            return;
        };
        if now_ns < healed_ns + SERVED_NS
            || inner.people.values().all(|person| person.goes_ns.is_some())
        {
            return;
        }
        let left = inner
            .people
            .values()
            .filter(|person| person.goes_ns.is_none());
        let left = left.map(|person| format!("{:?} at {}", person.ticket, person.door));
        let left = left.collect::<Vec<_>>().join(", ");
        inner
            .trace
            .failed(format!("the line does not move: they still wait: {left}"));
        inner.people.clear();
    }
}

impl Inner {
    /// Whoever comes by now is at a door, of no front-end that has to be up.
    fn come(&mut self, now_ns: u64) {
        if self.next_ns == 0 {
            self.next_ns = now_ns;
        }
        let last_ns = self
            .healed_ns
            .map_or(u64::MAX, |healed_ns| healed_ns + COME_NS);
        while self.next_ns <= now_ns && self.next_ns < last_ns {
            // Many come in the calm, for a short while each: who is next is decided all the time then.
            let calm = self.healed_ns.is_some_and(|at| self.next_ns > at);
            let (gap_ms, longest_ms) = match (calm, self.random.u32(0..12)) {
                (true, _) => (400, 1_000),
                (_, 0) => (12 * self.gap_ms, 5_000),
                _ => (self.gap_ms, 5_000),
            };
            let asks_ns = self.next_ns;
            self.next_ns += self.random.u64(0..gap_ms) * MS;
            let doors: Vec<u64> = self.doors.keys().copied().collect();
            let gives_up_ms = match self.random.u32(0..8) {
                0 => self.random.u64(500..12_000),
                _ => u64::from(u32::MAX),
            };
            let person = Person {
                door: doors[self.random.usize(0..doors.len())],
                ticket: None,
                asks_ns,
                gives_up_ns: asks_ns + gives_up_ms * MS,
                silently: self.random.bool(),
                sits_ns: self.random.u64(300..longest_ms) * MS,
                goes_ns: None,
                refused: false,
            };
            self.came += 1;
            self.people.insert(self.came, person);
            self.trace.count("user came");
        }
    }

    /// What somebody does at a front-end's door. Says whether they stay.
    fn acts(&mut self, person: &mut Person, front: &FrontEnd, now_ns: u64) -> bool {
        let ends_ns = person.goes_ns.unwrap_or(person.gives_up_ns);
        if ends_ns <= now_ns {
            self.goes(person, front);
            return false;
        }
        let turn = match &person.ticket {
            None => match front.arrive(CLASS) {
                Ok(turn) => turn,
                // Nobody may queue here now.
                Err(_) => {
                    person.asks_ns = now_ns + self.random.u64(300..1_500) * MS;
                    return true;
                }
            },
            Some((id, token)) => match front.poll(token) {
                Ok(turn) => turn,
                // Why may still be to be told.
                Err(_) if !person.refused => {
                    person.refused = true;
                    person.asks_ns = now_ns + 300 * MS;
                    return true;
                }
                Err(why) => {
                    self.is_refused(*id, person.door, why);
                    return false;
                }
            },
        };
        person.refused = false;
        match turn {
            Turn::Checking => person.asks_ns = now_ns + 1_000 * MS,
            Turn::Waiting { ticket, .. } => {
                let id = self.keeps(person, ticket, front);
                if let Some(goes_ns) = person.goes_ns.take() {
                    // The front-end where they sat is gone, and they go on where they are now.
                    person.sits_ns = goes_ns - now_ns;
                }
                self.waits(id, person.door);
                person.asks_ns = now_ns + self.random.u64(600..2_500) * MS;
                if self.random.u32(0..20) == 0 {
                    self.walks_on(person);
                }
            }
            Turn::Seated { seat, .. } => {
                let id = self.keeps(person, seat, front);
                let walked_in = person.goes_ns.is_none() && !self.is_known(id, person.door);
                if walked_in {
                    self.waits(id, person.door);
                }
                // What happened may still be to be told.
                self.sits(id, person.door);
                let goes_ns = *person.goes_ns.get_or_insert(now_ns + person.sits_ns);
                person.asks_ns = goes_ns.min(now_ns + 2_000 * MS);
            }
        }
        true
    }

    /// Goes away for good: says so, or just asks no more.
    fn goes(&mut self, person: &Person, front: &FrontEnd) {
        let sat = person.goes_ns.is_some();
        if person.silently && !sat {
            return self.trace.count("user stayed away");
        }
        self.trace
            .count(if sat { "user was in" } else { "user gave up" });
        if let Some((id, token)) = &person.ticket
            && front.leave(token).is_ok()
        {
            self.is_away(*id, person.door);
        }
    }

    /// Shows the ticket at another front-end from now on, though this one is there.
    fn walks_on(&mut self, person: &mut Person) {
        let others = self.doors.keys().copied();
        let others =
            others.filter(|&door| door != person.door && region(door) == region(person.door));
        let others: Vec<u64> = others.collect();
        if !others.is_empty() {
            self.trace.count("user walked on");
            person.door = others[self.random.usize(0..others.len())];
        }
    }

    /// The token of the last answer takes the place of the one before.
    fn keeps(&mut self, person: &mut Person, token: String, front: &FrontEnd) -> u64 {
        let scope = Scope::new(POOL, region(person.door));
        let read = match scope.read(&self.keys, &token, front.status().second) {
            Ok(read) => read,
            Err(why) => {
                self.trace
                    .failed(format!("a token that was just issued is refused: {why}"));
                return 0;
            }
        };
        let (id, second) = (read.id, read.second);
        let first = Ticket {
            second,
            dropped: false,
        };
        let known = *self.tickets.entry(id).or_insert(first);
        let same = person
            .ticket
            .as_ref()
            .is_none_or(|(before, _)| *before == id);
        if !same || known.second != second {
            let what = format!(
                "a ticket of second {} became another's of second {second}",
                known.second
            );
            self.trace.failed(what);
        }
        person.ticket = Some((id, token));
        id
    }

    fn is_refused(&mut self, ticket: u64, door: u64, why: TokenError) {
        match self.tickets.get(&ticket) {
            Some(known) if !known.dropped => {
                let what = format!(
                    "the ticket {ticket:x} of second {} is refused at {door}: {why}",
                    known.second
                );
                self.trace.failed(what);
            }
            _ => self.trace.count("user was dropped"),
        }
    }

    /// Whether somebody waits or sits there, as far as is known.
    fn is_known(&self, ticket: u64, door: u64) -> bool {
        self.waits.contains_key(&(ticket, door)) || self.seats.get(&ticket) == Some(&door)
    }

    /// A ticket waits at a front-end from now on, unless that is known: an answer may be quicker than the news that it
    /// was taken over.
    fn waits(&mut self, ticket: u64, door: u64) {
        let Some(&Ticket { second, .. }) = self.tickets.get(&ticket) else {
            return;
        };
        if self.waits.contains_key(&(ticket, door)) {
            return;
        }
        self.waited += 1;
        self.waits.insert((ticket, door), self.waited);
        self.trace.record(Record::Waits(Waits {
            at_ns: system::now_ns(),
            user: self.waited,
            pool: POOL.into(),
            region: region(door).into(),
            class: CLASS.into(),
            holder: fronts::name(door),
            second,
        }));
    }

    fn waits_no_more(&mut self, ticket: u64, door: u64, seated: bool) {
        if let Some(user) = self.waits.remove(&(ticket, door)) {
            self.trace.record(Record::Served(Served {
                at_ns: system::now_ns(),
                user,
                seated,
            }));
        }
    }

    /// A ticket has a seat at a front-end, and must have none elsewhere that may still be used. Only a front-end that
    /// is cut off and goes by its floor can't know that the ticket was taken elsewhere.
    fn sits(&mut self, ticket: u64, door: u64) {
        self.waits_no_more(ticket, door, true);
        let now_ns = system::now_ns();
        let may_use = |door| self.doors.get(door).is_some_and(|it| it.until_ns > now_ns);
        let has_lease = may_use(&door);
        if !has_lease {
            self.trace.count("seat on a floor");
        }
        let Some(other) = self
            .seats
            .insert(ticket, door)
            .filter(|&other| other != door)
        else {
            return;
        };
        self.trace.count("seat taken over");
        if has_lease && may_use(&other) {
            let what =
                format!("the ticket {ticket:x} has a seat at {door}, and another at {other}");
            self.trace.failed(what);
        }
    }

    fn is_away(&mut self, ticket: u64, door: u64) {
        self.waits_no_more(ticket, door, false);
        if self.seats.get(&ticket) == Some(&door) {
            self.seats.remove(&ticket);
        }
    }
}
