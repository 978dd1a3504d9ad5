//! What happened: a hash of all of it, how often each fault happened, and the history for the checkers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use check::history::{Fault, Record};

use crate::system;

/// Where everything is noted. Cheap to clone.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    hash: u64,
    counts: BTreeMap<&'static str, u64>,
    history: Vec<Record>,
    failures: Vec<String>,
    verbose: bool,
}

impl Trace {
    /// An empty one; a verbose one tells everything as it happens.
    pub fn new(verbose: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            hash: 0xcbf2_9ce4_8422_2325,
            counts: BTreeMap::new(),
            history: Vec::new(),
            failures: Vec::new(),
            verbose,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes numbers.
    pub fn note(&self, numbers: &[u64]) {
        let mut inner = self.lock();
        inner.mix(system::now_ns());
        for number in numbers {
            inner.mix(*number);
        }
    }

    /// Notes bytes.
    pub fn bytes(&self, bytes: &[u8]) {
        let hash = hash(bytes);
        self.lock().mix(hash);
    }

    /// Counts something that happened.
    pub fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    /// Counts a fault, and notes it in the history.
    pub fn fault(&self, kind: &'static str, what: impl Into<String>) {
        self.count(kind);
        self.record(Record::Fault(Fault {
            at_ns: system::now_ns(),
            kind: kind.into(),
            what: what.into(),
            begins: true,
        }));
    }

    /// Adds a line to the history.
    pub fn record(&self, record: Record) {
        let mut inner = self.lock();
        let text = format!("{record:?}");
        let hash = hash(text.as_bytes());
        inner.mix(hash);
        if inner.verbose && !matches!(record, Record::Applied(_)) {
            eprintln!("{:>10.3} {text}", system::now_ns() as f64 / 1e9);
        }
        inner.history.push(record);
    }

    /// Notes something that must not be, beside what the checkers look for.
    pub fn failed(&self, what: impl Into<String>) {
        let what = what.into();
        let mut inner = self.lock();
        if inner.verbose {
            eprintln!("{:>10.3} FAILED {what}", system::now_ns() as f64 / 1e9);
        }
        inner.failures.push(what);
    }

    /// The hash, the counts, the history and what must not be.
    pub fn finish(&self) -> (u64, BTreeMap<&'static str, u64>, Vec<Record>, Vec<String>) {
        let inner = self.lock();
        (
            inner.hash,
            inner.counts.clone(),
            inner.history.clone(),
            inner.failures.clone(),
        )
    }
}

impl Inner {
    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
