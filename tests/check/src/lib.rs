//! What a run of Préau recorded, and the checkers that judge it.

mod admin;
pub mod agree;
pub mod budget;
pub mod durable;
pub mod history;
mod lease;
pub mod linear;
pub mod once;
pub mod order;
pub mod progress;
pub mod reads;
mod verdict;
pub mod wgl;

pub use verdict::{Rule, Violation};

use history::Record;

/// What a history is held to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Steps that one search for an order may take before it is given up.
    pub most_steps: u64,
    /// How exactly the order of seating holds.
    pub order_slack_ns: u64,
    /// A healed cluster serves again within this.
    pub recover_ns: u64,
    /// All slots are free within this once nobody holds any: the longest time to live, and more for leaders
    /// that change.
    pub drain_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            most_steps: 20_000_000,
            order_slack_ns: 3_000_000_000,
            recover_ns: 15_000_000_000,
            drain_ns: 30_000_000_000,
        }
    }
}

impl Limits {
    /// Those for who recorded the history: simulated leases are short.
    pub fn of(history: &[Record]) -> Self {
        match history.first() {
            Some(Record::Run(run)) if run.by == "simulation" => Self {
                drain_ns: 10_000_000_000,
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

/// Holds a history to all rules. What comes back is empty where all is well.
pub fn judge(history: &[Record], limits: &Limits) -> Vec<Violation> {
    let mut found = budget::check(history);
    found.extend(once::check(history));
    found.extend(agree::check(history));
    found.extend(durable::check(history));
    found.extend(order::check(history, limits.order_slack_ns));
    found.extend(progress::check(history, limits.recover_ns, limits.drain_ns));
    found.extend(reads::check(history));
    found.extend(linear::check(history, limits.most_steps));
    found
}
