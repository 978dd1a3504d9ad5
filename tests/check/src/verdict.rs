//! What a checker says of a history.

use std::fmt;

/// A rule that a history breaks, or that could not be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// When it shows, on the clock of the history.
    pub at_ns: u64,
    /// What is wrong, in words.
    pub what: String,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// What all holders may use adds up to at most the capacity.
    Budget,
    /// There is an order of the requests that explains all answers.
    Linearizable,
    /// What was answered, or told to other nodes, is still there.
    Durable,
    /// A retried request has one effect, and one answer.
    Once,
    /// All nodes are in the same state at the same entry, of the same term.
    Agreement,
    /// Whoever came earlier is seated earlier.
    Order,
    /// A healed cluster serves again, and no slot is lost.
    Progress,
    /// The search was given up: neither right nor wrong.
    Undecided,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at_ns as f64 / 1e9;
        write!(f, "{:?} at {seconds:.6} s: {}", self.rule, self.what)
    }
}

pub(crate) fn violation(rule: Rule, at_ns: u64, what: impl Into<String>) -> Violation {
    let what = what.into();
    Violation { rule, at_ns, what }
}
