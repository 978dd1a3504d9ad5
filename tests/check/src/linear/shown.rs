//! What reads of all leases tell of single ones: until when a lease that is shown can't have run out, and when one
//! that is not shown any more must have. All of it follows from the reads being right, and so takes no order away.

use std::collections::BTreeMap;

use crate::history::{Answer, Call, Operation};
use crate::lease::Asked;

/// The reads of one pool, by holder.
#[derive(Default)]
pub struct Shown<'a>(BTreeMap<&'a str, Vec<Read>>);

/// What one read shows of one holder.
struct Read {
    invoke_ns: u64,
    return_ns: u64,
    /// The last request of each of its leases.
    seqs: BTreeMap<u64, u64>,
}

impl<'a> Shown<'a> {
    /// Of these operations, for the holders named.
    pub fn of(operations: &[&'a Operation], holders: impl Iterator<Item = &'a str>) -> Self {
        let mut shown: BTreeMap<&str, Vec<Read>> = holders.map(|name| (name, vec![])).collect();
        for operation in operations {
            let (Call::Leases { .. }, Answer::Leases(listed)) =
                (&operation.call, &operation.answer)
            else {
                continue;
            };
            for reads in shown.values_mut() {
                reads.push(Read {
                    invoke_ns: operation.invoke_ns,
                    return_ns: operation.return_ns,
                    seqs: BTreeMap::new(),
                });
            }
            for lease in listed {
                let reads = shown.get_mut(lease.holder.as_str());
                if let Some(read) = reads.and_then(|reads| reads.last_mut()) {
                    read.seqs.insert(lease.lease, lease.seq);
                }
            }
        }
        for reads in shown.values_mut() {
            reads.sort_by_key(|read| read.invoke_ns);
        }
        Self(shown)
    }

    fn reads(&self, holder: &str) -> &[Read] {
        self.0.get(holder).map_or(&[], Vec::as_slice)
    }

    /// When a request whose outcome is unknown can have been carried out at the earliest, where its lease is known.
    pub fn carried_out_from(&self, asked: Asked<'_>, lease: Option<u64>, from: u64) -> u64 {
        let before = |read: &&Read| {
            let last = lease.and_then(|lease| read.seqs.get(&lease));
            last.is_some_and(|&last| last < asked.seq)
        };
        let read = self.reads(asked.holder).iter().rev().find(before);
        read.map_or(from, |read| from.max(read.invoke_ns))
    }

    /// Within which bounds a lease can have run out with this as its last request, which was answered then.
    pub fn expires_within(
        &self,
        asked: Asked<'_>,
        lease: Option<u64>,
        answered_ns: u64,
        (mut from, mut until): (u64, u64),
    ) -> (u64, u64) {
        let Some(lease) = lease else {
            return (from, until);
        };
        for read in self.reads(asked.holder) {
            if read.invoke_ns > until {
                break;
            }
            match read.seqs.get(&lease) {
                Some(&last) if last <= asked.seq => from = from.max(read.invoke_ns),
                None if answered_ns > read.invoke_ns => {}
                // Another request was carried out since, or it is gone.
                _ => until = until.min(read.return_ns),
            }
        }
        (from, until)
    }
}
