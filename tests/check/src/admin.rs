//! Changes of the budget as a sequential model: its revision, and the capacities.

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
    revision: u64,
    capacities: BTreeMap<&'a str, u64>,
    /// The revisions that retried requests led to.
    done: BTreeMap<&'a str, u64>,
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
                let expected = expected_revision.is_none_or(|r| r == state.revision);
                if let Answer::Refused(refused) = answer {
                    return legal(refused.reason != "REVISION_MISMATCH" || !expected);
                }
                let revision = match answer {
                    Answer::Configured { revision } => Some(*revision),
                    _ => None,
                };
                if let Some(&before) = state.done.get(request_id.as_str()) {
                    return legal(revision.is_none_or(|revision| revision == before));
                }
                let next = state.revision + 1;
                if !expected || revision.is_some_and(|revision| revision != next) {
                    return legal(revision.is_none());
                }
                vec![self.changed(state, request_id, changes)]
            }
            (
                Call::Budget { .. },
                Answer::Budget {
                    revision,
                    capacities,
                },
            ) => {
                let same = capacities.len() == state.capacities.len()
                    && capacities.iter().all(|(pool, capacity)| {
                        state.capacities.get(pool.as_str()) == Some(capacity)
                    });
                legal(*revision == state.revision && same)
            }
            (_, answer) => legal(matches!(answer, Answer::Unknown(_) | Answer::Refused(_))),
        }
    }
}

impl<'a> Admin<'a> {
    fn changed(&self, state: &State<'a>, id: &'a str, changes: &'a [Change]) -> State<'a> {
        let mut state = state.clone();
        state.revision += 1;
        if self.retried.contains(id) {
            state.done.insert(id, state.revision);
        }
        for change in changes {
            match change {
                Change::Capacity { pool, capacity } => {
                    state.capacities.insert(pool, *capacity);
                }
                Change::RemovePool { pool } => {
                    state.capacities.remove(pool.as_str());
                }
                Change::Other(_) => {}
            }
        }
        state
    }
}
