//! What the budget's revision tells of changes whose outcome is unknown: while it stays the same none is carried out.

use crate::history::{Answer, Operation};

/// When which revision was seen.
#[derive(Default)]
pub struct Revisions {
    /// By when it was there, and which.
    reached: Vec<(u64, u64)>,
    /// From when on it was still there, and which.
    still: Vec<(u64, u64)>,
}

impl Revisions {
    pub fn of(operations: &[&Operation]) -> Self {
        let mut revisions = Self::default();
        for operation in operations {
            match operation.answer {
                Answer::Budget { revision, .. } => {
                    revisions.reached.push((operation.return_ns, revision));
                    revisions.still.push((operation.invoke_ns, revision));
                }
                // Who asks again is told of the change as it was: nothing of what came since.
                Answer::Configured { revision } => {
                    revisions.reached.push((operation.return_ns, revision));
                }
                _ => {}
            }
        }
        revisions
    }

    /// When a change that was asked for then can have been carried out at the earliest.
    pub fn changed_from(&self, invoke_ns: u64) -> u64 {
        let reached = self.reached.iter().filter(|&&(at, _)| at <= invoke_ns);
        let Some(before) = reached.map(|&(_, revision)| revision).max() else {
            return invoke_ns;
        };
        let still = self.still.iter().filter(|&&(_, seen)| seen <= before);
        still.map(|&(at, _)| at).fold(invoke_ns, u64::max)
    }
}
