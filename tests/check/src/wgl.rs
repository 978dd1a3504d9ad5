//! Linearizability by the method of Wing, Gong and Lowe: is there an order of the operations, each taking
//! effect at one instant between its invocation and its return, in which the sequential model gives the
//! answers that were given?
//!
//! The search goes through the returns in the order of time, and makes an operation take effect only when its
//! return can't be passed without it ("just in time"). What was seen of where and in which state is never
//! searched twice. Operations whose outcome is unknown may take effect or not.
//!
//! The first searches make only those take effect early that the model says may help whoever has to return, and
//! few before any one return: what was not needed is left for later. That finds an order quickly in most
//! histories that have one; where it does not, all is tried.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// What the operations should do, one after another.
pub trait Model {
    /// The state between operations.
    type State: Clone + Eq + Hash;
    /// An operation with its answer.
    type Operation;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The states that an operation with its answer may lead to: none where it can't be answered so.
    fn step(&self, state: &Self::State, operation: &Self::Operation) -> Vec<Self::State>;

    /// Whether the state tells if an operation that may have been took effect: then it changes nothing once more, and
    /// the search need not remember it besides.
    fn remembers(&self, _operation: &Self::Operation) -> bool {
        false
    }

    /// Whether `other`, taking effect first, may change what comes of an operation in this state: for the first
    /// search alone, so that it need not be exact.
    fn may_help(
        &self,
        _state: &Self::State,
        _operation: &Self::Operation,
        _other: &Self::Operation,
    ) -> bool {
        true
    }
}

/// An operation and when it may take effect.
#[derive(Debug, Clone)]
pub struct Timed<T> {
    /// Not before this.
    pub from: u64,
    /// Not after this.
    pub until: u64,
    /// Whether it did take effect; else it may have.
    pub surely: bool,
    /// The operation.
    pub operation: T,
}

/// What the search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There is such an order.
    Linearizable,
    /// There is none: the return of this operation can't be passed.
    Not {
        /// Its place in the slice.
        stuck: usize,
    },
    /// The search was given up after the most steps that it may take.
    Undecided {
        /// The operation whose return was not passed until then.
        stuck: usize,
    },
}

/// How many operations may take effect before one return in the first searches.
const FEW: [usize; 6] = [1, 2, 3, 5, 8, usize::MAX];
/// How many steps each of them takes before the next has its turn: one that is lost stays lost for long.
const ROUNDS: [u64; 3] = [10_000, 100_000, 1_000_000];

/// How many searches in an order by lot come after those, and how many steps each takes: where the first choices
/// were wrong others are soon right.
const LOTS: (u64, u64) = (100, 100_000);

/// Searches for an order, in at most so many steps of the model for each search.
pub fn check<M: Model>(model: &M, operations: &[Timed<M::Operation>], most_steps: u64) -> Found {
    let returns = returns(operations);
    let search = |most_early, all, lot: Option<u64>, steps_left| {
        let mut search = Search {
            model,
            operations,
            returns: &returns,
            most_early,
            all,
            lot: lot.map(fastrand::Rng::with_seed),
            seen: HashSet::new(),
            steps_left,
        };
        search.run()
    };
    let mut undecided = FEW.to_vec();
    for steps in ROUNDS {
        for few in std::mem::take(&mut undecided) {
            match search(few, false, None, steps.min(most_steps)) {
                Found::Linearizable => return Found::Linearizable,
                Found::Undecided { .. } => undecided.push(few),
                Found::Not { .. } => {}
            }
        }
    }
    if !undecided.is_empty() {
        let (lots, steps) = LOTS;
        for lot in 0..lots {
            let few = FEW[lot as usize % FEW.len()];
            if search(few, false, Some(lot), steps.min(most_steps)) == Found::Linearizable {
                return Found::Linearizable;
            }
        }
    }
    search(usize::MAX, true, None, most_steps)
}

/// A return that has to be passed, and which operations may take effect before it.
struct Return {
    operation: u32,
    pending: Vec<u32>,
}

/// The returns in the order of time.
fn returns<T>(operations: &[Timed<T>]) -> Vec<Return> {
    let mut by_start: Vec<u32> = (0..operations.len() as u32).collect();
    by_start.sort_by_key(|&at| operations[at as usize].from);
    let mut ends: Vec<u32> = (0..operations.len() as u32)
        .filter(|&at| operations[at as usize].surely)
        .collect();
    ends.sort_by_key(|&at| operations[at as usize].until);

    let mut starting = by_start.into_iter().peekable();
    let mut pending: Vec<u32> = Vec::new();
    let mut returns = Vec::new();
    for operation in ends {
        let now = operations[operation as usize].until;
        while let Some(at) = starting.next_if(|&at| operations[at as usize].from <= now) {
            pending.push(at);
        }
        pending.retain(|&at| operations[at as usize].until >= now);
        // Whoever has to return soonest is tried first.
        let mut others: Vec<u32> = pending
            .iter()
            .copied()
            .filter(|&at| at != operation)
            .collect();
        others.sort_by_key(|&at| {
            (
                !operations[at as usize].surely,
                operations[at as usize].until,
            )
        });
        returns.push(Return {
            operation,
            pending: others,
        });
        pending.retain(|&at| at != operation);
    }
    returns
}

/// How far one line of the search has come.
struct Place<S> {
    /// The next return to pass.
    at: usize,
    state: Rc<S>,
    /// Operations that have taken effect before their return, in ascending order.
    done: Rc<Vec<u32>>,
    /// How many took effect since the last return.
    early: usize,
}

/// A place, and what is tried from there.
struct Frame<S> {
    place: Place<S>,
    /// What is still to be tried here, last first.
    untried: Vec<Place<S>>,
    /// Operations to make take effect, the one that returns first, and which is the next.
    candidates: Vec<u32>,
    next: usize,
}

impl<S> Frame<S> {
    fn at(place: Place<S>) -> Self {
        let (untried, candidates) = (Vec::new(), Vec::new());
        Self {
            place,
            untried,
            candidates,
            next: 0,
        }
    }
}

struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [Timed<M::Operation>],
    returns: &'a [Return],
    /// How many may take effect before one return.
    most_early: usize,
    /// Whether all are tried.
    all: bool,
    /// What draws the order in which they are, where it is drawn.
    lot: Option<fastrand::Rng>,
    seen: HashSet<(u64, u64)>,
    steps_left: u64,
}

impl<M: Model> Search<'_, M> {
    fn run(&mut self) -> Found {
        let mut furthest = 0;
        let mut stack = vec![Frame::at(Place {
            at: 0,
            state: Rc::new(self.model.initial()),
            done: Rc::default(),
            early: 0,
        })];
        while let Some(frame) = stack.last_mut() {
            let place = &frame.place;
            furthest = furthest.max(place.at);
            let Some(end) = self.returns.get(place.at) else {
                return Found::Linearizable;
            };
            if let Some(place) = frame.untried.pop() {
                if self.seen.insert(fingerprint(&place)) {
                    stack.push(Frame::at(place));
                }
                continue;
            }
            if frame.candidates.is_empty() {
                if place.done.contains(&end.operation) {
                    // It has taken effect already: its return is passed, and nothing need be tried before that.
                    let state = Rc::clone(&place.state);
                    let passed = self.passed(place, end.operation, state);
                    stack.pop();
                    if self.seen.insert(fingerprint(&passed)) {
                        stack.push(Frame::at(passed));
                    }
                    continue;
                }
                frame.candidates.push(end.operation);
                if self.all {
                    frame.candidates.extend(&end.pending);
                }
            }
            let Some(&operation) = frame.candidates.get(frame.next) else {
                stack.pop();
                continue;
            };
            frame.next += 1;
            let passes = operation == end.operation;
            if place.done.contains(&operation) || (!passes && place.early >= self.most_early) {
                continue;
            }
            if self.steps_left == 0 {
                let stuck = self.returns[furthest].operation as usize;
                return Found::Undecided { stuck };
            }
            self.steps_left -= 1;
            let timed = &self.operations[operation as usize];
            let mut states = self.model.step(&place.state, &timed.operation);
            if !self.all && (passes || states.is_empty()) {
                let known = frame.candidates.len();
                for &other in &end.pending {
                    let helps = &self.operations[other as usize].operation;
                    if !frame.candidates.contains(&other)
                        && self.model.may_help(&place.state, &timed.operation, helps)
                    {
                        frame.candidates.push(other);
                    }
                }
                if let Some(lot) = &mut self.lot {
                    lot.shuffle(&mut frame.candidates[known..]);
                }
            }
            // What may or may not have been and changes nothing need not have been.
            states.retain(|state| timed.surely || *state != *place.state);
            if let Some(lot) = &mut self.lot {
                lot.shuffle(&mut states);
            }
            for state in states.into_iter().rev() {
                frame.untried.push(match passes {
                    true => self.passed(place, operation, Rc::new(state)),
                    false => Place {
                        at: place.at,
                        state: Rc::new(state),
                        done: match !timed.surely && self.model.remembers(&timed.operation) {
                            true => Rc::clone(&place.done),
                            false => Rc::new(with(&place.done, operation)),
                        },
                        early: place.early + 1,
                    },
                });
            }
        }
        Found::Not {
            stuck: self.returns[furthest].operation as usize,
        }
    }

    /// Past the return of an operation. Of those that have taken effect only those are kept that may still be told
    /// from those that have not.
    fn passed(
        &self,
        place: &Place<M::State>,
        operation: u32,
        state: Rc<M::State>,
    ) -> Place<M::State> {
        let until = |at: u32| self.operations[at as usize].until;
        let open = |&at: &u32| at != operation && until(at) >= until(operation);
        Place {
            at: place.at + 1,
            state,
            done: Rc::new(place.done.iter().copied().filter(open).collect()),
            early: 0,
        }
    }
}

fn with(done: &[u32], operation: u32) -> Vec<u32> {
    let mut done = done.to_vec();
    let at = done.partition_point(|&other| other < operation);
    done.insert(at, operation);
    done
}

/// Stands for a place in the search: 128 bits, so that no two are taken for one another.
fn fingerprint<S: Hash>(place: &Place<S>) -> (u64, u64) {
    let hash = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, place.at, &*place.state, &*place.done).hash(&mut hasher);
        hasher.finish()
    };
    (hash(1), hash(2))
}
