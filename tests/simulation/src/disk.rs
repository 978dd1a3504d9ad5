//! A disk: what was written is on it once it was flushed. When the machine ends, what was not flushed is lost,
//! or there in part. Snapshots are real files.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use store::{Bounds, Done, Failure, OnFailure, Purge, Snapshots, Storage};

use crate::system;
use crate::trace::Trace;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is on a disk.
#[derive(Debug, Clone, Default)]
struct Content {
    cluster_id: Option<String>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    start: u64,
    purged: Option<Purge>,
    log: BTreeMap<u64, Bytes>,
}

enum Job {
    Append(u64, Vec<Bytes>),
    Truncate(u64),
    Purge(Purge),
    Vote(Bytes),
    Committed(Bytes),
}

impl Content {
    fn end(&self) -> u64 {
        self.log
            .last_key_value()
            .map_or(self.start, |(last, _)| last + 1)
    }

    /// Carries a job out, or as many of its `records` as reached the disk.
    fn apply(&mut self, job: &Job, records: usize) {
        match job {
            Job::Append(first, all) => {
                if self.log.is_empty() {
                    self.start = *first;
                }
                let entries = (*first..).zip(all.iter().take(records).cloned());
                self.log.extend(entries);
            }
            Job::Truncate(end) => drop(self.log.split_off(end)),
            Job::Purge(purge) => {
                if self
                    .purged
                    .as_ref()
                    .is_none_or(|old| old.index < purge.index)
                {
                    self.start = self.start.max(purge.index + 1);
                    self.log = self.log.split_off(&self.start);
                    self.purged = Some(purge.clone());
                }
            }
            Job::Vote(vote) => self.vote = Some(vote.clone()),
            Job::Committed(committed) => self.committed = Some(committed.clone()),
        }
    }
}

/// How quick a disk is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Speed {
    /// It is slow until then.
    pub slow_until_ns: u64,
    /// It does nothing until then.
    pub stuck_until_ns: u64,
}

/// A machine's disk, which outlives its processes. Cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    node_id: u64,
    trace: Trace,
    snapshots: Snapshots,
    inner: Mutex<Inner>,
}

struct Inner {
    random: fastrand::Rng,
    /// What would be there after a power cut.
    safe: Content,
    /// What the process sees.
    seen: Content,
    jobs: VecDeque<(Job, Option<Done>)>,
    /// When those jobs that are being flushed are safe, and how many they are.
    flushing: Option<(u64, usize)>,
    speed: Speed,
    closed: bool,
}

impl Disk {
    /// An empty one, whose snapshots are kept in `dir`.
    ///
    /// # Errors
    /// Where that directory can't be made.
    pub fn new(node_id: u64, dir: &Path, seed: u64, trace: Trace) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self(Arc::new(Shared {
            node_id,
            trace,
            snapshots: Snapshots::open(dir)?,
            inner: Mutex::new(Inner {
                random: fastrand::Rng::with_seed(seed),
                safe: Content::default(),
                seen: Content::default(),
                jobs: VecDeque::new(),
                flushing: None,
                speed: Speed::default(),
                closed: false,
            }),
        })))
    }

    /// Sets how quick it is.
    pub fn set_speed(&self, speed: Speed) {
        lock(&self.0.inner).speed = speed;
    }

    /// Flushes what is due, and tells those who wait for it.
    pub fn step(&self, now_ns: u64) {
        let told: Vec<Done> = {
            let mut inner = lock(&self.0.inner);
            match inner.flushing {
                Some((due_ns, count)) if due_ns.max(inner.speed.stuck_until_ns) <= now_ns => {
                    inner.flushing = None;
                    let told = inner.flush(count);
                    self.0.trace.note(&[self.0.node_id, count as u64]);
                    inner.begin(now_ns);
                    told
                }
                None => {
                    inner.begin(now_ns);
                    Vec::new()
                }
                _ => Vec::new(),
            }
        };
        for done in told {
            done(Ok(()));
        }
    }

    /// The machine ends: what was not flushed is lost, but for a part that got there.
    pub fn crash(&self) {
        let mut inner = lock(&self.0.inner);
        let inner = &mut *inner;
        inner.flushing = None;
        let jobs = std::mem::take(&mut inner.jobs);
        let whole = inner.random.usize(0..=jobs.len());
        for (at, (job, _)) in jobs.iter().enumerate() {
            match (at < whole, job) {
                (true, _) => inner.safe.apply(job, usize::MAX),
                (false, Job::Append(_, records)) if at == whole && records.len() > 1 => {
                    let part = inner.random.usize(0..records.len());
                    if part > 0 {
                        self.0.trace.count("write torn by a crash");
                    }
                    inner.safe.apply(job, part);
                }
                (false, Job::Committed(_)) => {}
                (false, _) => self.0.trace.count("write lost in a crash"),
            }
            if at >= whole {
                break;
            }
        }
        let lost = jobs.len().saturating_sub(whole + 1);
        for _ in 0..lost {
            self.0.trace.count("write lost in a crash");
        }
        // Those who waited are gone with their process.
        drop(jobs);
        inner.seen = inner.safe.clone();
        inner.closed = true;
    }

    /// A new process opens it.
    pub fn open(&self) -> Arc<dyn Storage> {
        let mut inner = lock(&self.0.inner);
        inner.closed = false;
        inner.seen = inner.safe.clone();
        Arc::new(self.clone())
    }

    fn queue(&self, job: Job, done: Option<Done>) {
        let mut inner = lock(&self.0.inner);
        if inner.closed {
            drop(inner);
            if let Some(done) = done {
                done(Err(Failure::closed()));
            }
            return;
        }
        if !matches!(job, Job::Vote(_)) {
            inner.seen.apply(&job, usize::MAX);
        }
        inner.jobs.push_back((job, done));
        if inner.flushing.is_none() {
            inner.begin(system::now_ns());
        }
    }
}

impl Inner {
    fn begin(&mut self, now_ns: u64) {
        if self.jobs.is_empty() || self.flushing.is_some() {
            return;
        }
        let longest = match self.speed.slow_until_ns > now_ns {
            true => 400_000_000,
            false => 4_000_000,
        };
        let due_ns = now_ns + self.random.u64(200_000..longest);
        self.flushing = Some((due_ns, self.jobs.len()));
    }

    fn flush(&mut self, count: usize) -> Vec<Done> {
        let mut told = Vec::new();
        for (job, done) in self.jobs.drain(..count) {
            self.safe.apply(&job, usize::MAX);
            if let Job::Vote(vote) = job {
                self.seen.vote = Some(vote);
            }
            told.extend(done);
        }
        told
    }
}

impl Storage for Disk {
    fn node_id(&self) -> u64 {
        self.0.node_id
    }

    fn cluster_id(&self) -> Option<String> {
        lock(&self.0.inner).seen.cluster_id.clone()
    }

    fn set_cluster_id(&self, id: &str) -> Result<(), Failure> {
        let mut inner = lock(&self.0.inner);
        inner.safe.cluster_id = Some(id.into());
        inner.seen.cluster_id = Some(id.into());
        Ok(())
    }

    fn bounds(&self) -> Bounds {
        let inner = lock(&self.0.inner);
        let (start, end) = (inner.seen.start, inner.seen.end());
        Bounds {
            purged: inner.seen.purged.clone(),
            last: (end > start).then(|| end - 1),
        }
    }

    fn append(&self, first: u64, records: Vec<Bytes>, done: Done) {
        let (next, anywhere) = {
            let inner = lock(&self.0.inner);
            let seen = &inner.seen;
            (seen.end(), seen.log.is_empty() && seen.purged.is_none())
        };
        if first != next && !anywhere {
            self.0.trace.failed(format!(
                "node {} appends entry {first} where {next} is due",
                self.0.node_id
            ));
        }
        self.queue(Job::Append(first, records), Some(done));
    }

    fn truncate_after(&self, last: Option<u64>, done: Done) {
        let end = last.map_or(0, |last| last + 1);
        self.queue(Job::Truncate(end), Some(done));
    }

    fn purge(&self, index: u64, note: Bytes, done: Done) {
        if index >= lock(&self.0.inner).seen.end() {
            self.0.trace.count("snapshot from another node taken up");
        }
        self.queue(Job::Purge(Purge { index, note }), Some(done));
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Bytes>, Failure> {
        let inner = lock(&self.0.inner);
        let (mut records, mut left) = (Vec::new(), max_bytes);
        for (_, record) in inner.seen.log.range(range) {
            if record.len() > left && !records.is_empty() {
                break;
            }
            left = left.saturating_sub(record.len());
            records.push(record.clone());
        }
        Ok(records)
    }

    fn vote(&self) -> Option<Bytes> {
        lock(&self.0.inner).seen.vote.clone()
    }

    fn save_vote(&self, vote: Bytes, done: Done) {
        self.queue(Job::Vote(vote), Some(done));
    }

    fn committed(&self) -> Option<Bytes> {
        lock(&self.0.inner).seen.committed.clone()
    }

    fn save_committed(&self, committed: Bytes) -> Result<(), Failure> {
        self.queue(Job::Committed(committed), None);
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn failure(&self) -> Option<Failure> {
        None
    }

    fn on_failure(&self, _: OnFailure) {}

    fn snapshots(&self) -> &Snapshots {
        &self.0.snapshots
    }

    fn close(&self) {
        let told = {
            let mut inner = lock(&self.0.inner);
            inner.closed = true;
            inner.flushing = None;
            let count = inner.jobs.len();
            inner.flush(count)
        };
        for done in told {
            done(Ok(()));
        }
    }
}
