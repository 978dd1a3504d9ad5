//! The end of the log in memory: all that is not yet in its databases, and the latest of what is.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::segment::cost;

#[derive(Debug, Default)]
pub(crate) struct Tail {
    records: VecDeque<Bytes>,
    /// The index of the first.
    first: u64,
    bytes: u64,
    /// Those below this index are in the log's databases, and can be read there.
    stored: u64,
}

impl Tail {
    /// An empty one: the log's databases end before `end`.
    pub(crate) fn new(end: u64) -> Self {
        Self {
            first: end,
            stored: end,
            ..Self::default()
        }
    }

    /// The index of the first record here; those before are in the databases.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    pub(crate) fn push(&mut self, record: Bytes) {
        self.bytes += cost(&record);
        self.records.push_back(record);
    }

    /// Forgets all from `end` on.
    pub(crate) fn truncate(&mut self, end: u64) {
        while self.end() > end
            && let Some(record) = self.records.pop_back()
        {
            self.bytes -= cost(&record);
        }
        self.first = self.first.min(end);
        self.stored = self.stored.min(end);
    }

    /// Forgets all below `start`.
    pub(crate) fn purge(&mut self, start: u64) {
        while self.first < start && self.pop() {}
        if self.records.is_empty() {
            self.first = self.first.max(start);
        }
        self.stored = self.stored.max(self.first);
    }

    /// Those below `end` are stored; the oldest of them that are more than `keep` bytes are forgotten.
    pub(crate) fn stored(&mut self, end: u64, keep: u64) {
        self.stored = self.stored.max(end).min(self.end());
        while self.bytes > keep && self.first < self.stored && self.pop() {}
    }

    /// The records of `range`, or those that are here.
    pub(crate) fn range(&self, range: Range<u64>) -> impl Iterator<Item = &Bytes> {
        let at = |index: u64| (index.clamp(self.first, self.end()) - self.first) as usize;
        let (start, end) = (at(range.start), at(range.end));
        self.records.range(start..end.max(start))
    }

    fn pop(&mut self) -> bool {
        let Some(record) = self.records.pop_front() else {
            return false;
        };
        self.bytes -= cost(&record);
        self.first += 1;
        true
    }
}
