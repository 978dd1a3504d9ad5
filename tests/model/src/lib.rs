//! The lease protocol as a model: a coordinator whose leaders change, holders that start anew, clocks that drift, and
//! a network that loses, delays, reorders and duplicates.
//!
//! What a message may do it may do at any time and any number of times, so a message that is late, sent twice
//! or lost needs no step of its own. Raft is taken for granted: what the coordinator carries out is
//! decided, and a new leader goes on from it.

pub mod coordinator;
pub mod holder;

use coordinator::{Ask, Coordinator, Phase, Reply, Request};
use holder::Holder;
use stateright::{Model, Property};

/// Bugs that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// The coordinator ends leases a tick too soon.
    ExpireEarly,
    /// Holders use a grant for its whole time to live.
    ForgetDrift,
    /// Holders count a grant's time from its answer.
    CountFromAnswer,
    /// A lowered target counts before it is confirmed.
    CountLowered,
    /// A retry is carried out once more.
    SkipDedup,
    /// The lease of a holder that has started anew counts no more.
    ForgetClosing,
    /// A holder goes on using what it has said that it gives back, until the answer.
    CapLate,
    /// A new leader counts time by its wall clock, which shows more.
    WallClock,
    /// Leases never run out.
    NeverExpire,
    /// A lowered capacity is taken from the leases at once.
    TakeAway,
    /// A lease grows to its target before others have confirmed that they came down to theirs.
    GrowUnconfirmed,
    /// A request is answered before it is decided, and lost where another leader takes over.
    AnswerUndecided,
}

/// How far the model goes.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Slots of the pool.
    pub capacity: u8,
    /// What an operator may lower them to, once.
    pub lowered: u8,
    /// For each holder, how many lives it has, and how many requests in each.
    pub holders: Vec<(u8, u8)>,
    /// A lease's time to live in ticks of the fastest clock.
    pub ttl_ticks: u8,
    /// What is wrong with it.
    pub bug: Option<Bug>,
}

/// A tick of the fastest and of the slowest clock: a fifth apart, the widest drift that a pool can have.
pub const FAST: u8 = 5;
/// As above.
pub const SLOW: u8 = 4;

impl Bounds {
    /// A lease's time to live.
    pub fn ttl(&self) -> u8 {
        match self.bug {
            Some(Bug::ExpireEarly) => (self.ttl_ticks - 1) * FAST,
            Some(Bug::NeverExpire) => u8::MAX,
            _ => self.ttl_ticks * FAST,
        }
    }

    /// For how long a holder uses a grant: the time to live less the drift.
    pub fn holds(&self) -> u8 {
        match self.bug {
            Some(Bug::ForgetDrift) => self.ttl_ticks * FAST,
            _ => self.ttl_ticks * SLOW,
        }
    }
}

/// Where all stand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// What is decided.
    pub coordinator: Coordinator,
    /// How far the leader's clock is ahead of the time of the last decision.
    pub ahead: u8,
    /// The holders.
    pub holders: Vec<Holder>,
    /// The last two requests of each holder, which may arrive at any time.
    pub requests: Vec<Vec<Request>>,
    /// Answers to each holder's last request.
    pub answers: Vec<Vec<(u8, u8, Reply)>>,
    /// With [`Bug::AnswerUndecided`], what another leader goes back to.
    pub decided: Option<Coordinator>,
    /// What has gone wrong in a step, if anything ever has.
    pub wrong: Option<Wrong>,
}

/// What can go wrong in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A request was carried out twice.
    Twice,
    /// More was given than there is.
    GaveTooMuch,
    /// A holder kept more than the coordinator counts for it.
    KeptTooMuch,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Time goes on, for the holders by the slowest clock, and for the leader by so much: the fastest clock, or
    /// nothing while nobody leads. A holder with a faster clock only stops sooner, and a slower leader is as one
    /// that stops now and then.
    Tick(u8),
    /// The leader has the time decided, and nothing else.
    Upkeep,
    /// Another leader goes on from the time of the last decision.
    LeaderChange,
    /// A holder asks something new.
    Send(usize, Ask),
    /// A request arrives and is carried out.
    Arrives(usize, Request),
    /// An answer arrives.
    Answered(usize, (u8, u8, Reply)),
    /// An operator lowers the capacity.
    Lower,
    /// A holder starts anew, whether its life before has ended or not.
    StartAnew(usize),
}

impl State {
    /// Carries out what has arrived, at the leader's time.
    fn arrives(&mut self, of: usize, request: Request, bounds: &Bounds) {
        self.decide_time(bounds);
        let before = self.coordinator.clone();
        let reply = self.coordinator.apply(of, request, bounds);
        if bounds.bug == Some(Bug::AnswerUndecided) {
            self.decided = Some(before.clone());
        }
        let passed = before.leases[of].iter().any(|lease| {
            let same = match request.ask {
                Ask::Take { .. } => lease.name.epoch == request.epoch,
                Ask::Renew { lease: name, .. } | Ask::Return { lease: name } => lease.name == name,
            };
            same && lease.seq >= request.seq
        });
        if passed && before != self.coordinator {
            self.wrong = Some(Wrong::Twice);
        }
        let counted = self.coordinator.counted();
        if counted > before.counted().max(self.coordinator.capacity) {
            self.wrong = Some(Wrong::GaveTooMuch);
        }
        if reply == Reply::TooMuchKept {
            self.wrong = Some(Wrong::KeptTooMuch);
        }
        let asked = (request.epoch, request.seq);
        let last = self.holders[of]
            .flight
            .map(|f| (f.request.epoch, f.request.seq));
        if last == Some(asked) {
            let answer = (request.epoch, request.seq, reply);
            if !self.answers[of].contains(&answer) {
                self.answers[of].push(answer);
                self.answers[of].sort_unstable();
            }
        }
    }

    fn decide_time(&mut self, bounds: &Bounds) {
        let ahead = std::mem::take(&mut self.ahead);
        if bounds.bug != Some(Bug::NeverExpire) {
            self.coordinator.advance(ahead);
        }
    }

    /// Forgets what nobody can ask for any more: older leases that have ended.
    fn forget(&mut self) {
        for (of, leases) in self.coordinator.leases.iter_mut().enumerate() {
            let last = leases.last().map(|lease| lease.name);
            let known = self.holders[of].lease.map(|(name, _)| name);
            let asked = |name| self.requests[of].iter().any(|request| request.names(name));
            leases.retain(|lease| {
                let name = lease.name;
                let kept = Some(name) == last || Some(name) == known || asked(name);
                kept || lease.phase != Phase::Ended
            });
        }
    }

    /// Slots that all holders may use now.
    pub fn used(&self) -> u8 {
        self.holders.iter().map(Holder::uses).sum()
    }
}

impl Model for Bounds {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            coordinator: Coordinator::new(self.holders.len(), self.capacity),
            ahead: 0,
            holders: vec![Holder::new(); self.holders.len()],
            requests: vec![Vec::new(); self.holders.len()],
            answers: vec![Vec::new(); self.holders.len()],
            decided: None,
            wrong: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend([0, FAST].map(Step::Tick));
        if state.ahead > 0 {
            steps.push(Step::Upkeep);
        }
        let odd = matches!(self.bug, Some(Bug::WallClock | Bug::AnswerUndecided));
        if state.ahead > 0 || odd {
            steps.push(Step::LeaderChange);
        }
        if state.coordinator.capacity > self.lowered {
            steps.push(Step::Lower);
        }
        for (of, holder) in state.holders.iter().enumerate() {
            let (lives, requests) = self.holders[of];
            if holder.epoch > lives {
                continue;
            }
            steps.extend(
                holder
                    .asks(requests, self.capacity)
                    .into_iter()
                    .map(|ask| Step::Send(of, ask)),
            );
            steps.extend(
                state.answers[of]
                    .iter()
                    .map(|&answer| Step::Answered(of, answer)),
            );
            if holder.epoch < lives && holder.seq > 0 && holder.before.0 == 0 {
                steps.push(Step::StartAnew(of));
            }
        }
        for (of, requests) in state.requests.iter().enumerate() {
            steps.extend(requests.iter().map(|&request| Step::Arrives(of, request)));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Tick(leader) => {
                next.ahead = (next.ahead + leader).min(self.ttl_ticks * FAST);
                next.holders
                    .iter_mut()
                    .for_each(|holder| holder.tick(SLOW, self));
            }
            Step::Upkeep => next.decide_time(self),
            Step::LeaderChange => {
                next.coordinator = next.decided.take().unwrap_or(next.coordinator);
                next.ahead = match self.bug {
                    Some(Bug::WallClock) => self.ttl_ticks * FAST,
                    _ => 0,
                };
            }
            Step::Send(of, ask) => {
                let request = next.holders[of].send(ask, self);
                next.answers[of].clear();
                next.requests[of].push(request);
                if next.requests[of].len() > 2 {
                    next.requests[of].remove(0);
                }
            }
            Step::Arrives(of, request) => next.arrives(of, request, self),
            Step::Answered(of, (epoch, seq, reply)) => {
                next.holders[of].hear(epoch, seq, reply, self);
                next.answers[of].clear();
            }
            Step::Lower => {
                next.decide_time(self);
                next.coordinator.capacity = self.lowered;
                if self.bug == Some(Bug::TakeAway) {
                    let leases = next.coordinator.leases.iter_mut().flatten();
                    leases.for_each(|lease| lease.slots = lease.slots.min(self.lowered));
                }
            }
            Step::StartAnew(of) => {
                next.holders[of].start_anew();
                next.answers[of].clear();
            }
        }
        next.forget();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never over budget", |bounds: &Bounds, state: &State| {
                // One that is lowered drains; what is given on top of it is seen in the step that gives it.
                state.used() <= bounds.capacity
                    && state.coordinator.counted() <= bounds.capacity
                    && state.wrong != Some(Wrong::GaveTooMuch)
            }),
            Property::always("what is used is counted", |_, state: &State| {
                let counted = |of| state.coordinator.counted_for(of);
                let mut holders = state.holders.iter().enumerate();
                holders.all(|(of, holder)| holder.uses() <= counted(of))
                    && state.wrong != Some(Wrong::KeptTooMuch)
            }),
            Property::always("exactly once", |_, state: &State| {
                state.wrong != Some(Wrong::Twice)
            }),
            Property::always("no slot is lost", |bounds: &Bounds, state: &State| {
                comes_free(bounds, state)
            }),
            Property::always("shares settle", |bounds: &Bounds, state: &State| {
                settles(bounds, state)
            }),
            Property::sometimes("two use slots at once", |_, state: &State| {
                state
                    .holders
                    .iter()
                    .filter(|holder| holder.uses() > 0)
                    .count()
                    > 1
            }),
            Property::sometimes("a slot counts that nobody can use", |_, state: &State| {
                state.used() < state.coordinator.counted()
            }),
            Property::sometimes("a holder uses all", |bounds: &Bounds, state: &State| {
                state
                    .holders
                    .iter()
                    .any(|holder| holder.uses() == bounds.capacity)
            }),
            Property::sometimes("a lease has ended", |_, state: &State| {
                let mut leases = state.coordinator.leases.iter().flatten();
                leases.any(|lease| lease.phase == Phase::Ended)
            }),
        ]
    }
}

/// Where nobody asks any more, all slots come free with time; and whoever asks then gets them.
fn comes_free(bounds: &Bounds, state: &State) -> bool {
    let mut later = state.clone();
    later.ahead = bounds.ttl_ticks * FAST;
    later.decide_time(bounds);
    let free = later.coordinator.counted() == 0;
    let ask = Ask::Take {
        wanted: bounds.capacity,
    };
    let request = Request {
        epoch: u8::MAX,
        seq: 1,
        ask,
    };
    let reply = later.coordinator.apply(0, request, bounds);
    free && matches!(reply, Reply::Granted { slots, .. } if slots == later.coordinator.capacity)
}

/// Where holders come down to their targets they have them, and nothing idles, after a few rounds.
fn settles(bounds: &Bounds, state: &State) -> bool {
    let mut coordinator = state.coordinator.clone();
    let mut seq = 100;
    let mut ask = |coordinator: &mut Coordinator, of: usize| {
        let lease = *coordinator.leases[of].last()?;
        let Reply::Granted { target, .. } = lease.answer else {
            return None;
        };
        seq += 1;
        let (kept, wanted) = (lease.slots.min(target), bounds.capacity);
        let ask = Ask::Renew {
            lease: lease.name,
            kept,
            wanted,
        };
        match coordinator.apply(
            of,
            Request {
                epoch: lease.name.epoch,
                seq,
                ask,
            },
            bounds,
        ) {
            Reply::Granted { slots, target, .. } => Some((slots, target)),
            _ => None,
        }
    };
    let mut granted = Vec::new();
    for _ in 0..4 {
        granted = (0..bounds.holders.len())
            .filter_map(|of| ask(&mut coordinator, of))
            .collect();
    }
    let settled = granted.iter().all(|(slots, target)| slots == target);
    let all = coordinator.capacity.max(coordinator.closing());
    settled && (granted.is_empty() || coordinator.counted() == all)
}
