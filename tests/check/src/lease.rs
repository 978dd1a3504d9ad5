//! The leases of one pool as a sequential model: what may be answered, one request after another.
//!
//! Left open is what a history does not tell: how many slots the sharing rules give (any number up to what was
//! wanted and what the pool has), and when within its bounds a lease runs out. A grant whose answer was lost
//! is a range of slots.

mod grant;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::history::{Answer, Call, Change, Listed};
use crate::wgl::Model;
use state::{Lease, Phase, State};

/// One step of the model.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A request and its answer.
    Asked(&'a Call, &'a Answer),
    /// A lease has run out, where this was its last request.
    Expires(Asked<'a>),
    /// A holder is forgotten, long after its last lease ended.
    Forgets(Asked<'a>),
}

/// Names a request of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked<'a> {
    /// The holder.
    pub holder: &'a str,
    /// Its life.
    pub epoch: u64,
    /// The request's number.
    pub seq: u64,
}

/// The model of one pool.
#[derive(Debug)]
pub struct Leases<'a> {
    /// The pool.
    pub pool: &'a str,
    /// One holder alone: nothing is added up then.
    pub holder: Option<&'a str>,
    /// Whose leases are which.
    pub owners: &'a BTreeMap<u64, (&'a str, u64)>,
    /// Admin requests that were sent more than once.
    pub retried: &'a BTreeSet<&'a str>,
    /// Whether holders can be forgotten, so that an old request is a new one again.
    pub forgets: bool,
}

impl<'a> Model for Leases<'a> {
    type State = State<'a>;
    type Operation = Step<'a>;

    fn initial(&self) -> State<'a> {
        State::default()
    }

    fn step(&self, state: &State<'a>, step: &Step<'a>) -> Vec<State<'a>> {
        match *step {
            Step::Asked(call, answer) => self.asked(state, call, answer),
            Step::Expires(asked) => state.expire(asked).into_iter().collect(),
            Step::Forgets(asked) => state.forget(asked).into_iter().collect(),
        }
    }

    /// Numbers only rise, and what has run out is no more.
    fn remembers(&self, step: &Step<'a>) -> bool {
        !self.forgets
            && match step {
                Step::Asked(call, _) => matches!(
                    call,
                    Call::Take { .. }
                        | Call::Renew { .. }
                        | Call::Report { .. }
                        | Call::Return { .. }
                ),
                Step::Expires(_) => true,
                Step::Forgets(_) => false,
            }
    }

    fn may_help(&self, state: &State<'a>, step: &Step<'a>, other: &Step<'a>) -> bool {
        let holder = match step {
            Step::Expires(asked) | Step::Forgets(asked) => asked.holder,
            Step::Asked(call, answer) => match (call, answer) {
                (Call::Leases { .. }, Answer::Leases(listed)) => match self.listed(state, listed) {
                    Ok(_) => return false,
                    Err(holder) => holder,
                },
                (Call::Take { holder, .. } | Call::RemoveHolder { holder, .. }, _) => holder,
                (
                    Call::Renew { lease, .. }
                    | Call::Report { lease, .. }
                    | Call::Return { lease, .. },
                    _,
                ) => match self.owners.get(lease) {
                    Some((holder, _)) => holder,
                    None => return true,
                },
                _ => return true,
            },
        };
        if self.is_about(other, holder) {
            return true;
        }
        // Or it makes room for what is granted.
        let takes = matches!(other, Step::Asked(Call::Take { .. }, _));
        let full = State {
            capacity: Some(0),
            ..state.clone()
        };
        let free = State {
            capacity: None,
            ..state.clone()
        };
        !takes
            && state.capacity.is_some()
            && self.step(state, step).is_empty()
            && self.step(&full, step).len() < self.step(&free, step).len()
    }
}

impl<'a> Leases<'a> {
    fn asked(&self, state: &State<'a>, call: &'a Call, answer: &'a Answer) -> Vec<State<'a>> {
        let unchanged = |legal: bool| if legal { vec![state.clone()] } else { vec![] };
        if let Answer::Refused(refused) = answer {
            return unchanged(self.may_refuse(state, call, &refused.reason));
        }
        match call {
            Call::Take {
                holder,
                epoch,
                seq,
                wanted,
                ..
            } => {
                let asked = Asked {
                    holder,
                    epoch: *epoch,
                    seq: *seq,
                };
                self.take(state, asked, *wanted, answer)
            }
            Call::Renew {
                lease,
                seq,
                kept,
                wanted,
                ..
            }
            | Call::Report {
                lease,
                seq,
                kept,
                wanted,
                ..
            } => self.keep(state, *lease, *seq, (*kept, *wanted), answer),
            Call::Return { lease, seq, .. } => self.give_back(state, *lease, *seq, answer),
            Call::RemoveHolder {
                request_id,
                holder,
                pool,
            } => {
                let Some(state) = self.first_time(state, request_id) else {
                    return unchanged(true);
                };
                state.remove(holder, pool.is_some(), answer)
            }
            Call::Configure {
                request_id,
                changes,
                ..
            } => {
                let Some(state) = self.first_time(state, request_id) else {
                    return unchanged(true);
                };
                self.configure(state, changes).into_iter().collect()
            }
            Call::Inspect { .. } => match answer {
                Answer::Inspected {
                    capacity,
                    held,
                    leases,
                    ..
                } => unchanged(state.shows(*capacity, *held, *leases)),
                _ => unchanged(matches!(answer, Answer::Unknown(_))),
            },
            Call::Leases { .. } => match answer {
                Answer::Leases(listed) => self.listed(state, listed).into_iter().collect(),
                _ => unchanged(matches!(answer, Answer::Unknown(_))),
            },
            Call::Budget { .. } => unchanged(true),
        }
    }

    /// Whether a request may be refused so in this state; of reasons that the model does not know it may.
    fn may_refuse(&self, state: &State<'a>, call: &Call, reason: &str) -> bool {
        match call {
            Call::Take {
                holder, epoch, seq, ..
            } => {
                let current = state.holders.get(holder.as_str()).map(|h| &h.current);
                match (reason, current) {
                    ("STALE_EPOCH", current) => current.is_some_and(|c| c.epoch > *epoch),
                    ("STALE_SEQ", current) => {
                        current.is_some_and(|c| c.epoch == *epoch && c.seq > *seq)
                    }
                    ("LEASE_ENDED", current) => current
                        .is_some_and(|c| (c.epoch, c.seq, c.phase) == (*epoch, *seq, Phase::Ended)),
                    _ => true,
                }
            }
            Call::Renew { lease, seq, .. }
            | Call::Report { lease, seq, .. }
            | Call::Return { lease, seq, .. } => {
                let known = self.find(state, *lease).filter(|l| l.phase != Phase::Ended);
                // One of a name that is not known yet may be this one or not.
                let known = known.filter(|l| l.id.is_some());
                match reason {
                    "LEASE_ENDED" | "NO_SUCH_LEASE" => known.is_none(),
                    "LEASE_CLOSING" => known.is_none_or(|l| l.phase == Phase::Closing),
                    "STALE_SEQ" => known.is_none_or(|l| l.seq > *seq),
                    _ => true,
                }
            }
            Call::RemoveHolder { holder, .. } if reason == "NO_SUCH_HOLDER" => {
                !state.holders.contains_key(holder.as_str())
            }
            _ => true,
        }
    }

    /// The state in which the request is remembered, unless it was carried out before.
    fn first_time(&self, state: &State<'a>, request_id: &'a str) -> Option<State<'a>> {
        let mut state = state.clone();
        let retried = self.retried.contains(request_id);
        (!retried || state.asked.insert(request_id)).then_some(state)
    }

    fn configure(&self, mut state: State<'a>, changes: &[Change]) -> Option<State<'a>> {
        for change in changes {
            match change {
                Change::Capacity { pool, capacity } if pool == self.pool => {
                    state.capacity = Some(*capacity).filter(|_| self.holder.is_none());
                }
                Change::RemovePool { pool } if pool == self.pool => {
                    if state.counted().0 > 0 {
                        return None;
                    }
                    (state.capacity, state.holders) = (None, BTreeMap::new());
                }
                _ => {}
            }
        }
        Some(state)
    }

    /// The state in which just these leases count; or a holder of whom that can't be.
    fn listed(&self, state: &State<'a>, listed: &'a [Listed]) -> Result<State<'a>, &'a str> {
        let mut shown: BTreeMap<&'a str, Vec<&'a Listed>> = BTreeMap::new();
        for lease in listed {
            if self.holder.is_none_or(|holder| holder == lease.holder) {
                shown.entry(&lease.holder).or_default().push(lease);
            }
        }
        let mut state = state.clone();
        for (&name, holder) in &mut state.holders {
            let shown = shown.remove(name).unwrap_or_default();
            if let Some(after) = holder.listed(&shown).ok_or(name)? {
                *holder = Rc::new(after);
            }
        }
        match shown.keys().next() {
            None => Ok(state),
            Some(unknown) => Err(unknown),
        }
    }

    /// Whether a step is about this holder.
    fn is_about(&self, step: &Step<'a>, holder: &str) -> bool {
        match step {
            Step::Expires(asked) | Step::Forgets(asked) => asked.holder == holder,
            Step::Asked(call, _) => match call {
                Call::Take { holder: of, .. } | Call::RemoveHolder { holder: of, .. } => {
                    of == holder
                }
                Call::Renew { lease, .. }
                | Call::Report { lease, .. }
                | Call::Return { lease, .. } => {
                    self.owners.get(lease).is_some_and(|(of, _)| *of == holder)
                }
                // A read may have to come before whoever changes what it shows.
                Call::Configure { .. } | Call::Inspect { .. } | Call::Leases { .. } => true,
                Call::Budget { .. } => false,
            },
        }
    }

    fn find<'s>(&self, state: &'s State<'a>, id: u64) -> Option<&'s Lease> {
        let (holder, epoch) = self.owners.get(&id)?;
        let holder = state.holders.get(holder)?;
        holder.leases().nth(holder.place(Some(id), *epoch)?)
    }
}
