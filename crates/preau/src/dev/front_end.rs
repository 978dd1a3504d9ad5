//! The front-ends of the regions: a real one each, and the users who come, wait their turn, enter and leave.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use client::queue::{Accuracy, Event};
use client::{QueueStatus, Turn};
use quota::Wait;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::morning::{Assumed, Pupils};

/// How long all front-ends together may take to give their leases back.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// A page gives a sign of life once in so many ticks of the load.
const POLL_TICKS: usize = 500;

/// What is counted of the users of one class at one front-end, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users who came.
    pub arrived: u64,
    /// Users who got a seat.
    pub admitted: u64,
    /// Users for whom there was none when they came, and who then waited.
    pub refused: u64,
    /// Sessions ended before their time: by a limit, or because no lease covered them any more.
    pub cut_short: u64,
    /// Users who went without a seat: nobody was let in or might queue.
    pub lost: u64,
    /// Users who wait now.
    pub waiting: u64,
    /// Sessions open now.
    pub in_use: u64,
    /// What the last who came and had to wait was told.
    pub told: Option<Wait>,
}

/// Sessions of all front-ends together, against what the cluster may have out.
#[derive(Debug, Default)]
pub struct Books {
    pub in_use: u64,
    pub peak_in_use: u64,
    /// The most sessions that were ever open beyond the budget.
    pub over_budget: u64,
    /// Slots that may be out, as of the last look and the one before.
    allowed: [u64; 2],
}

impl Books {
    /// Goes by what a look at the pool found: its capacity, and by how much more is out while it drains
    /// down to a lowered one.
    pub fn allow(&mut self, capacity: u64, over_by: u64) {
        self.allowed = [self.allowed[1], capacity + over_by];
    }

    fn admit(&mut self) {
        self.in_use += 1;
        self.peak_in_use = self.peak_in_use.max(self.in_use);
        let allowed = self.allowed[0].max(self.allowed[1]);
        self.over_budget = self.over_budget.max(self.in_use.saturating_sub(allowed));
    }
}

/// Whoever waits or is in: the class, and the token to come back with.
#[derive(Debug)]
struct User {
    class: usize,
    token: String,
    seated: bool,
}

/// When a session ends, in nanoseconds of the morning, and whose it is.
type End = Reverse<(u64, u64)>;

/// The front-end of one region.
#[derive(Debug)]
pub struct FrontEnd {
    door: client::FrontEnd,
    events: Receiver<Event>,
    pupils: Pupils,
    assumed: Assumed,
    rng: fastrand::Rng,
    /// The names of the classes, and the part of the users that is up to each class and those before it.
    classes: Vec<(String, f64)>,
    /// Those who are still to come this morning, the next one last; and which morning it is.
    coming_s: Vec<f64>,
    mornings: u64,
    /// By id.
    users: BTreeMap<u64, User>,
    /// Whose page gives a sign of life next.
    polls: VecDeque<u64>,
    ends: BinaryHeap<End>,
    counts: Vec<Counts>,
}

impl FrontEnd {
    pub fn new(
        door: client::FrontEnd,
        classes: &[(String, f64)],
        pupils: Pupils,
        assumed: Assumed,
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            events: door.events(),
            door,
            pupils,
            assumed,
            rng,
            counts: vec![Counts::default(); classes.len()],
            classes: classes.to_vec(),
            coming_s: Vec::new(),
            mornings: 0,
            users: BTreeMap::new(),
            polls: VecDeque::new(),
            ends: BinaryHeap::new(),
        }
    }

    /// Lets the time go on to `now_s`, in seconds since the first morning began: sessions end, users come
    /// and are seated or told to wait, and whoever's turn it is takes the seat.
    pub fn step(&mut self, now_s: f64, books: &mut Books) {
        while let Some(&Reverse((end, id))) = self.ends.peek()
            && end <= nanos(now_s)
        {
            self.ends.pop();
            self.leave(id, books);
        }
        self.follow(now_s, books);
        while self.next_arrival(now_s).is_some() {
            self.arrive(now_s, books);
        }
        for _ in 0..self.polls.len().div_ceil(POLL_TICKS) {
            if let Some(id) = self.polls.pop_front() {
                self.poll(id, now_s, books);
            }
        }
    }

    /// Takes in what has happened to users without their asking.
    fn follow(&mut self, now_s: f64, books: &mut Books) {
        loop {
            match self.events.try_recv() {
                Ok(Event::Called(user)) => self.poll(user.id, now_s, books),
                Ok(Event::Ended(user, _)) => {
                    if let Some(gone) = self.users.remove(&user.id)
                        && gone.seated
                    {
                        self.counts[gone.class].cut_short += 1;
                        self.counts[gone.class].in_use -= 1;
                        books.in_use -= 1;
                    }
                }
                Ok(_) => {}
                // What was missed comes to light when the pages give their next signs of life.
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn arrive(&mut self, now_s: f64, books: &mut Books) {
        let drawn = self.rng.f64();
        let class = self.classes.partition_point(|&(_, up_to)| up_to <= drawn);
        let class = class.min(self.classes.len() - 1);
        self.counts[class].arrived += 1;
        let turn = match self.door.arrive(&self.classes[class].0) {
            Ok(turn) => turn,
            Err(_) => {
                self.counts[class].lost += 1;
                return;
            }
        };
        let token = match &turn {
            Turn::Seated { seat, .. } => seat,
            Turn::Waiting { ticket, place } => {
                self.counts[class].refused += 1;
                self.counts[class].told = place.wait;
                ticket
            }
            // Only for those who come from elsewhere.
            Turn::Checking => return,
        };
        let Ok(id) = self.door.id(token) else {
            return;
        };
        let user = User {
            class,
            token: token.clone(),
            seated: false,
        };
        self.users.insert(id, user);
        self.polls.push_back(id);
        match turn {
            Turn::Seated { .. } => self.sit(id, now_s, books),
            _ => self.counts[class].waiting += 1,
        }
    }

    /// A user's page asks how things stand.
    fn poll(&mut self, id: u64, now_s: f64, books: &mut Books) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        let (class, seated) = (user.class, user.seated);
        match self.door.poll(&user.token) {
            Ok(Turn::Seated { seat, .. }) => {
                user.token = seat;
                self.polls.push_back(id);
                if !seated {
                    self.counts[class].waiting -= 1;
                    self.sit(id, now_s, books);
                }
            }
            Ok(Turn::Waiting { .. } | Turn::Checking) => self.polls.push_back(id),
            Err(_) => {
                // The session is over, which an event says as well; or the place is lost.
                if !seated {
                    self.users.remove(&id);
                    self.counts[class].waiting -= 1;
                    self.counts[class].lost += 1;
                }
            }
        }
    }

    /// A user is in, for as long as chance has it.
    fn sit(&mut self, id: u64, now_s: f64, books: &mut Books) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        user.seated = true;
        self.counts[user.class].admitted += 1;
        self.counts[user.class].in_use += 1;
        books.admit();
        let end = now_s + self.assumed.session_s(&mut self.rng);
        self.ends.push(Reverse((nanos(end), id)));
    }

    /// A session ends by itself.
    fn leave(&mut self, id: u64, books: &mut Books) {
        let Some(user) = self.users.remove(&id) else {
            return;
        };
        // Where the door says that it is over already, so it is.
        let _ = self.door.leave(&user.token);
        self.counts[user.class].in_use -= 1;
        books.in_use -= 1;
    }

    /// The next user who has come by `now_s`.
    fn next_arrival(&mut self, now_s: f64) -> Option<f64> {
        let length = self.assumed.length_s();
        while self.coming_s.is_empty() && self.mornings as f64 * length <= now_s {
            let begins = self.mornings as f64 * length;
            self.coming_s = self.pupils.arrivals(&self.assumed, &mut self.rng);
            self.coming_s.reverse();
            self.coming_s.iter_mut().for_each(|time| *time += begins);
            self.mornings += 1;
        }
        self.coming_s.pop_if(|time| *time <= now_s)
    }

    /// By class.
    pub fn counts(&self) -> &[Counts] {
        &self.counts
    }

    /// How the front-end itself says that it stands.
    pub fn status(&self) -> QueueStatus {
        self.door.status()
    }
}

/// Nanoseconds of a time of the morning.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Adds up how far off the foretold waits were.
pub fn accuracy(front_ends: &[FrontEnd]) -> Accuracy {
    let mut all = Accuracy::default();
    for front_end in front_ends {
        let one = front_end.status().accuracy;
        all.told += one.told;
        all.within_p50 += one.within_p50;
        all.within_p90 += one.within_p90;
    }
    all
}

/// Sends everybody home and gives all leases back.
pub async fn close(front_ends: Vec<FrontEnd>) {
    let mut closing = tokio::task::JoinSet::new();
    for front_end in front_ends {
        for user in front_end.users.values() {
            // Where it is over already, so it is.
            let _ = front_end.door.leave(&user.token);
        }
        closing.spawn(front_end.door.close());
    }
    // Where there is no leader to give them to, the leases run out.
    let _ = tokio::time::timeout(CLOSE_WITHIN, closing.join_all()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_see_every_session_beyond_the_budget() {
        let mut books = Books::default();
        books.allow(2, 0);
        (0..2).for_each(|_| books.admit());
        assert_eq!(books.over_budget, 0);
        books.admit();
        assert_eq!((books.over_budget, books.peak_in_use), (1, 3));
    }

    #[test]
    fn a_lowered_capacity_may_drain() {
        let mut books = Books::default();
        books.allow(5, 0);
        (0..5).for_each(|_| books.admit());
        // Front-ends go on within what they hold until they hear of it, one look later at most.
        books.allow(3, 2);
        books.in_use -= 1;
        books.admit();
        assert_eq!(books.over_budget, 0);
        books.allow(3, 0);
        books.allow(3, 0);
        books.in_use -= 1;
        books.admit();
        assert_eq!(books.over_budget, 2);
    }
}
