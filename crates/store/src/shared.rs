//! What callers and the thread that writes share: the queue, the end of the log in memory, and the failure
//! that ends it all.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::failure::{Failure, FailureKind};
use crate::io::Job;
use crate::progress::Progress;
use crate::record::MAX_RECORD;
use crate::segment::cost;
use crate::state::State;
use crate::store::{Done, OnFailure};
use crate::tail::Tail;
use crate::{Bounds, Options, Purge};

/// A write that has not come back after this long never will.
const STALLED: Duration = Duration::from_secs(30);

pub(crate) struct Shared {
    pub dir: PathBuf,
    options: Options,
    inner: Mutex<Inner>,
    /// There is work.
    work: Condvar,
    /// There is room in the queue.
    room: Condvar,
    /// The thread that writes has ended.
    ended: Condvar,
}

pub(crate) struct Inner {
    jobs: VecDeque<Job>,
    /// Bytes and entries that are queued, and those being written.
    queued: Load,
    writing: Load,
    /// Since when the thread has been at it.
    busy: Option<Instant>,
    pub tail: Tail,
    pub start: u64,
    purged: Option<Purge>,
    /// Truncations and purges so far: whoever reads the disk meanwhile has to look again.
    pub epoch: u64,
    pub vote: Option<Bytes>,
    pub committed: Option<Bytes>,
    pub cluster_id: Option<String>,
    failure: Option<Failure>,
    listeners: Vec<OnFailure>,
    ended: bool,
    stalled: bool,
}

#[derive(Clone, Copy, Default)]
struct Load {
    bytes: u64,
    entries: u64,
}

impl Shared {
    pub(crate) fn new(
        dir: &Path,
        options: Options,
        state: &State,
        progress: &Progress,
        end: u64,
    ) -> Self {
        Self {
            dir: dir.into(),
            options,
            inner: Mutex::new(Inner {
                jobs: VecDeque::new(),
                queued: Load::default(),
                writing: Load::default(),
                busy: None,
                tail: Tail::new(end),
                start: state.start,
                purged: state.purged.clone(),
                epoch: 0,
                vote: state.vote.clone(),
                committed: progress.committed().cloned(),
                cluster_id: state.cluster_id.clone(),
                failure: None,
                listeners: Vec::new(),
                ended: false,
                stalled: false,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    pub(crate) fn append(&self, first: u64, records: Vec<Bytes>, done: Done) {
        let mut inner = self.inner();
        while inner.failure.is_none() && self.is_full(&inner) {
            inner = self
                .room
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Err(failure) = inner.may_append(first, &records) {
            drop(inner);
            return done(Err(failure));
        }
        if inner.bounds().last.is_none() && inner.start != first && !records.is_empty() {
            inner.start = first;
            inner.tail = Tail::new(first);
        }
        inner.queued.bytes += records.iter().map(cost).sum::<u64>();
        inner.queued.entries += records.len() as u64;
        for record in &records {
            inner.tail.push(record.clone());
        }
        let epoch = inner.epoch;
        let job = Job::Append {
            first,
            records,
            epoch,
            done,
        };
        self.queue(inner, job);
    }

    pub(crate) fn truncate(&self, last: Option<u64>, done: Done) {
        let mut inner = self.inner();
        let end = last.map_or(0, |last| last.saturating_add(1));
        let end = end.max(inner.start);
        if inner.failure.is_none() {
            inner.epoch += 1;
            inner.tail.truncate(end);
        }
        let epoch = inner.epoch;
        self.queue(inner, Job::Truncate { end, epoch, done });
    }

    pub(crate) fn purge(&self, purge: Purge, done: Done) {
        let mut inner = self.inner();
        let old = inner.purged.as_ref();
        if inner.failure.is_none() && old.is_none_or(|old| old.index < purge.index) {
            inner.purged = Some(purge.clone());
            inner.start = inner.start.max(purge.index + 1);
            inner.epoch += 1;
            let start = inner.start;
            inner.tail.purge(start);
        }
        let epoch = inner.epoch;
        self.queue(inner, Job::Purge { purge, epoch, done });
    }

    pub(crate) fn save_committed(&self, committed: Bytes) -> Result<(), Failure> {
        let mut inner = self.inner();
        inner.alive()?;
        inner.committed = Some(committed.clone());
        match inner.jobs.back_mut() {
            // The latest is enough.
            Some(Job::Committed(last)) => *last = committed,
            _ => self.queue(inner, Job::Committed(committed)),
        }
        Ok(())
    }

    /// Queues a job, or answers it with the failure there was.
    pub(crate) fn queue(&self, mut inner: MutexGuard<'_, Inner>, job: Job) {
        match inner.failure.clone() {
            None => {
                inner.jobs.push_back(job);
                self.work.notify_one();
            }
            Some(failure) => {
                drop(inner);
                if let Some(done) = job.done() {
                    done(Err(failure));
                }
            }
        }
    }

    fn is_full(&self, inner: &Inner) -> bool {
        inner.queued.bytes + inner.writing.bytes >= self.options.queue_bytes
            || inner.queued.entries + inner.writing.entries >= self.options.queue_entries
    }

    /// All jobs that are queued; waits for some, but no longer than `wait`.
    ///
    /// # Errors
    /// The failure, once there is one.
    pub(crate) fn take_jobs(&self, wait: Option<Duration>) -> Result<VecDeque<Job>, Failure> {
        let mut inner = self.inner();
        inner.writing = Load::default();
        inner.busy = None;
        self.room.notify_all();
        let idle = |inner: &mut Inner| inner.jobs.is_empty() && inner.failure.is_none();
        let mut inner = match wait {
            None => self
                .work
                .wait_while(inner, idle)
                .unwrap_or_else(PoisonError::into_inner),
            Some(wait) => {
                let waited = self.work.wait_timeout_while(inner, wait, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        inner.alive()?;
        inner.writing = std::mem::take(&mut inner.queued);
        inner.busy = Some(Instant::now());
        Ok(std::mem::take(&mut inner.jobs))
    }

    /// The log has what is before `end`, as of truncation or purge `epoch`.
    pub(crate) fn stored(&self, end: u64, epoch: u64) {
        let mut inner = self.inner();
        // Entries that were appended since a later truncation only look as if it had them.
        if inner.epoch == epoch {
            inner.tail.stored(end, self.options.cache_bytes);
        }
    }

    /// Ends the store: answers all who wait, and tells those who asked to be told.
    pub(crate) fn fail(&self, failure: &Failure, waiting: Vec<Done>) {
        let mut inner = self.inner();
        let first = inner.failure.is_none();
        let failure = inner.failure.get_or_insert_with(|| failure.clone()).clone();
        let listeners = std::mem::take(&mut inner.listeners);
        let queued = std::mem::take(&mut inner.jobs);
        drop(inner);
        self.work.notify_all();
        self.room.notify_all();
        for done in waiting
            .into_iter()
            .chain(queued.into_iter().filter_map(Job::done))
        {
            done(Err(failure.clone()));
        }
        if failure.kind() == FailureKind::Closed {
            return;
        }
        if first {
            tracing::error!(%failure, "the store failed and writes nothing more");
        }
        for listener in listeners {
            listener(failure.clone());
        }
    }

    pub(crate) fn on_failure(&self, f: OnFailure) {
        let mut inner = self.inner();
        match inner.failure.clone() {
            None => inner.listeners.push(f),
            Some(failure) => {
                drop(inner);
                if failure.kind() != FailureKind::Closed {
                    f(failure);
                }
            }
        }
    }

    /// The thread that writes has ended.
    pub(crate) fn end(&self) {
        self.inner().ended = true;
        self.ended.notify_all();
    }

    /// Watches the thread that writes until it ends: a disk can hang, and sled can miss that a write failed.
    pub(crate) fn watch(&self) {
        let mut inner = self.inner();
        while !inner.ended {
            if inner.busy.is_some_and(|since| since.elapsed() > STALLED) {
                inner.stalled = true;
                drop(inner);
                return self.fail(&Failure::stalled(&self.dir, STALLED), Vec::new());
            }
            let waited = self.ended.wait_timeout(inner, Duration::from_secs(1));
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the thread that writes hangs, so that there is no waiting for it.
    pub(crate) fn stalled(&self) -> bool {
        self.inner().stalled
    }
}

impl Inner {
    pub(crate) fn bounds(&self) -> Bounds {
        let end = self.tail.end();
        Bounds {
            purged: self.purged.clone(),
            last: (end > self.start).then(|| end - 1),
        }
    }

    /// The failure, if there was one.
    pub(crate) fn alive(&self) -> Result<(), Failure> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn may_append(&self, first: u64, records: &[Bytes]) -> Result<(), Failure> {
        self.alive()?;
        let last = self.bounds().last;
        let next = last.map_or(self.start, |last| last + 1);
        let anywhere = last.is_none() && self.purged.is_none();
        if first != next && !anywhere {
            return Err(Failure::refused(format!(
                "can't append entry {first}: the next one is {next}, and a log has no holes"
            )));
        }
        if first.checked_add(records.len() as u64).is_none() {
            let what = format!(
                "can't append at entry {first}: indexes end at {}",
                u64::MAX - 1
            );
            return Err(Failure::refused(what));
        }
        match records.iter().position(|record| record.len() > MAX_RECORD) {
            Some(at) => Err(Failure::refused(format!(
                "entry {} has {} bytes; the most is {MAX_RECORD}",
                first + at as u64,
                records[at].len()
            ))),
            None => Ok(()),
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
