//! Changes of the budget as a sequential model: its revision, and the capacities. What they were before the history
//! began is learnt from what is read first.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Answer, Call, Change, Operation};
use crate::wgl::Model;

/// The model.
#[derive(Debug)]
pub struct Admin<'a> {
    /// Requests that were sent more than once.
    pub retried: &'a BTreeSet<&'a str>,
}

/// The budget between two steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State<'a> {
    /// None while nothing has said it.
    revision: Option<u64>,
    /// Capacities that are known; a pool that is known not to be there has none.
    capacities: BTreeMap<&'a str, Option<u64>>,
    /// The revisions that retried requests led to.
    done: BTreeMap<&'a str, Option<u64>>,
}

impl<'a> Model for Admin<'a> {
    type State = State<'a>;
    type Operation = &'a Operation;

    fn initial(&self) -> State<'a> {
        State::default()
    }

    fn step(&self, state: &State<'a>, operation: &&'a Operation) -> Vec<State<'a>> {
        let legal = |legal: bool| if legal { vec![state.clone()] } else { vec![] };
        match (&operation.call, &operation.answer) {
            (
                Call::Configure {
                    request_id,
                    expected_revision,
                    changes,
                },
                answer,
            ) => {
                let at = state.revision;
                let stale = expected_revision.filter(|r| at.is_some_and(|at| at != *r));
                if let Answer::Refused(refused) = answer {
                    let fresh = expected_revision.is_none() || expected_revision == &at;
                    return legal(refused.reason != "REVISION_MISMATCH" || !fresh);
                }
                let answered = match answer {
                    Answer::Configured { revision } => Some(*revision),
                    _ => None,
                };
                if let Some(&before) = state.done.get(request_id.as_str()) {
                    let same = answered.is_none() || before.is_none() || answered == before;
                    return legal(same);
                }
                let next = at.map(|at| at + 1).or(answered);
                if stale.is_some() || (answered.is_some() && answered != next) {
                    return legal(answered.is_none());
                }
                vec![self.changed(state, next, request_id, changes)]
            }
            (
                Call::Budget { .. },
                Answer::Budget {
                    revision,
                    capacities,
                },
            ) => self
                .read(state, *revision, capacities)
                .into_iter()
                .collect(),
            (_, answer) => legal(matches!(answer, Answer::Unknown(_) | Answer::Refused(_))),
        }
    }
}

impl<'a> Admin<'a> {
    fn changed(
        &self,
        state: &State<'a>,
        revision: Option<u64>,
        id: &'a str,
        changes: &'a [Change],
    ) -> State<'a> {
        let mut state = state.clone();
        state.revision = revision;
        if self.retried.contains(id) {
            state.done.insert(id, revision);
        }
        for change in changes {
            match change {
                Change::Capacity { pool, capacity } => {
                    state.capacities.insert(pool, Some(*capacity));
                }
                Change::RemovePool { pool } => {
                    state.capacities.insert(pool, None);
                }
                Change::Other(_) => {}
            }
        }
        state
    }

    /// The state as it is read, where that may be.
    fn read(
        &self,
        state: &State<'a>,
        revision: u64,
        read: &'a [(String, u64)],
    ) -> Option<State<'a>> {
        let mut after = state.clone();
        after.revision = Some(revision);
        for (pool, capacity) in read {
            let known = *after.capacities.entry(pool).or_insert(Some(*capacity));
            if known != Some(*capacity) {
                return None;
            }
        }
        let shown = |pool: &str| read.iter().any(|(name, _)| name == pool);
        let mut known = after
            .capacities
            .iter()
            .filter(|(_, capacity)| capacity.is_some());
        let all = known.all(|(pool, _)| shown(pool));
        (all && state.revision.is_none_or(|at| at == revision)).then_some(after)
    }
}
