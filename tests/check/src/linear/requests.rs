//! What is known of numbered requests from all the times that they were sent.

use std::collections::BTreeMap;

use super::calls::removed;
use super::{FORGETS_NS, Index};
use crate::history::{Answer, Call, Operation};
use crate::lease::Asked;

impl<'a> Index<'a> {
    /// What is known of each numbered request from all the times that it was sent.
    pub fn requests(&self, operations: &[&'a Operation]) -> BTreeMap<Asked<'a>, Request> {
        let mut requests: BTreeMap<Asked<'a>, Request> = BTreeMap::new();
        let mut of_lease = Passed::default();
        let mut of_life = Passed::default();
        let mut of_holder = Passed::default();
        for operation in operations {
            let Some(asked) = self.names(&operation.call) else {
                continue;
            };
            let request = requests
                .entry(asked)
                .or_insert_with(|| Request::of(&operation.call));
            request.invoke_ns = request.invoke_ns.min(operation.invoke_ns);
            match (&operation.call, &operation.answer) {
                (_, Answer::Granted(granted)) => {
                    let per_ms = 1_000_000 - u64::from(granted.drift_ppm.min(1_000_000));
                    request.lasts_ns = Some(granted.ttl_ms.saturating_mul(per_ms));
                    request.lease = Some(granted.lease);
                    request.answered_ns = request.answered_ns.min(operation.return_ns);
                }
                (_, Answer::Returned { .. }) => {}
                _ => continue,
            }
            let Asked { holder, epoch, seq } = asked;
            if let Some(lease) = request.lease {
                of_lease.add(lease, seq, operation.return_ns);
            }
            of_life.add((holder, epoch), seq, operation.return_ns);
            of_holder.add(holder, (epoch, seq), operation.return_ns);
        }
        // Of a holder who was forgotten an older life may come again.
        let mut lives = Passed::default();
        if !removed(operations) {
            for (asked, request) in &requests {
                if request.invoke_ns.saturating_add(FORGETS_NS) > self.end_ns {
                    lives.add(asked.holder, asked.epoch, request.answered_ns);
                }
            }
        }
        for (asked, request) in &mut requests {
            let Asked { holder, epoch, seq } = *asked;
            let by_lease = request.lease.map(|lease| of_lease.after(&lease, seq));
            request.carried_out_by_ns =
                by_lease.unwrap_or_else(|| of_life.after(&(holder, epoch), seq));
            if !request.returns {
                // With a later life there the lease is closing at most: it can be returned and nothing else.
                let over = lives.after(&holder, epoch);
                request.carried_out_by_ns = request.carried_out_by_ns.min(over);
            }
            request.expires_by_ns = match request.returns {
                true => 0,
                false => by_lease.unwrap_or(u64::MAX),
            };
            request.forgets_by_ns = of_holder.after(&holder, (epoch, seq));
        }
        requests
    }
}

/// A numbered request, from all the times that it was sent.
pub struct Request {
    pub returns: bool,
    /// When it was first sent, and first answered with a grant.
    pub invoke_ns: u64,
    pub answered_ns: u64,
    /// How long its grant lasts at least from then on, where it is known.
    pub lasts_ns: Option<u64>,
    /// The lease, where it is known.
    pub lease: Option<u64>,
    /// From then on it can't be carried out any more, its lease can't run out with it as the last request, and
    /// its holder can't be forgotten with it as the last.
    pub carried_out_by_ns: u64,
    pub expires_by_ns: u64,
    pub forgets_by_ns: u64,
}

impl Request {
    fn of(call: &Call) -> Self {
        let lease = match call {
            Call::Renew { lease, .. } | Call::Report { lease, .. } | Call::Return { lease, .. } => {
                Some(*lease)
            }
            _ => None,
        };
        Self {
            returns: matches!(call, Call::Return { .. }),
            invoke_ns: u64::MAX,
            answered_ns: u64::MAX,
            lasts_ns: None,
            lease,
            carried_out_by_ns: u64::MAX,
            expires_by_ns: u64::MAX,
            forgets_by_ns: u64::MAX,
        }
    }
}

/// When a request after a given one was surely carried out, in each of several rows of requests.
struct Passed<K, N>(BTreeMap<K, BTreeMap<N, u64>>);

impl<K, N> Default for Passed<K, N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, N: Ord + Copy> Passed<K, N> {
    fn add(&mut self, row: K, number: N, return_ns: u64) {
        let row = self.0.entry(row).or_default();
        // What is carried out has passed all numbers before it: later ones count only where they were sooner.
        let sooner = row
            .range(number..)
            .next()
            .is_some_and(|(_, &at)| at <= return_ns);
        if !sooner {
            row.insert(number, return_ns);
            let passed: Vec<N> = row
                .range(..number)
                .rev()
                .take_while(|&(_, &at)| at >= return_ns)
                .map(|(&before, _)| before)
                .collect();
            for before in passed {
                row.remove(&before);
            }
        }
    }

    /// When a request with a higher number was first known to be carried out.
    fn after(&self, row: &K, number: N) -> u64 {
        use std::ops::Bound::{Excluded, Unbounded};
        let row = self.0.get(row);
        let after = row.and_then(|row| row.range((Excluded(number), Unbounded)).next());
        after.map_or(u64::MAX, |(_, &at)| at)
    }
}
