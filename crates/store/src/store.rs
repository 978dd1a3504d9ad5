//! The store as its users see it: what they ask is queued, and read from memory at once.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;

use crate::directory::Directory;
use crate::failure::{Failure, FailureKind, OpenError};
use crate::io::{Job, Writer};
use crate::log::{Log, Row};
use crate::progress::{MAX_COMMITTED, Progress};
use crate::record::MAX_RECORD;
use crate::segment::cost;
use crate::snapshot::Snapshots;
use crate::tail::Tail;
use crate::{Bounds, MAX_NOTE, Options, Purge, files};

/// Told when something is durable, or why it is not. Called once, from the thread that writes, in the
/// order of the requests; where a request is refused at once, from the caller's own thread.
pub type Done = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// Told of the failure that ended a store.
pub type OnFailure = Box<dyn FnOnce(Failure) + Send>;

/// The Raft log, vote and snapshots of one node. Cheap to clone; closed when the last clone goes.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    snapshots: Snapshots,
    row: Arc<Row>,
    node_id: u64,
    thread: Mutex<Option<JoinHandle<()>>>,
    directory: Mutex<Option<Directory>>,
}

/// What callers and the writing thread share.
pub(crate) struct Shared {
    dir: PathBuf,
    options: Options,
    inner: Mutex<Inner>,
    /// There is work.
    work: Condvar,
    /// There is room in the queue.
    room: Condvar,
}

struct Inner {
    jobs: VecDeque<Job>,
    /// Bytes and entries queued, or being written.
    queued: (u64, u64),
    writing: (u64, u64),
    tail: Tail,
    start: u64,
    purged: Option<Purge>,
    /// Truncations and purges so far: whoever reads the disk meanwhile has to look again.
    epoch: u64,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    cluster_id: Option<String>,
    failure: Option<Failure>,
    listeners: Vec<OnFailure>,
}

impl Store {
    /// Opens a node's directory, or makes it where there is none or an empty one. Reads and checks all
    /// that is in it.
    ///
    /// # Errors
    /// Where the directory is not this node's, is in use, is damaged or can't be read and written.
    pub fn open(dir: &Path, node_id: u64, options: Options) -> Result<Self, OpenError> {
        options.validate().map_err(OpenError::Options)?;
        let (directory, state) = Directory::open(dir, node_id)?;
        let progress = Progress::open(dir)?;
        let snapshots = Snapshots::open(&directory.snapshots())?;
        let log = Log::open(&directory.log(), &options, state.start, progress.end())?;
        tracing::info!(dir = %dir.display(), node_id, start = log.start(), end = log.end(), "store opened");
        let shared = Arc::new(Shared {
            dir: dir.into(),
            options,
            inner: Mutex::new(Inner {
                jobs: VecDeque::new(),
                queued: (0, 0),
                writing: (0, 0),
                tail: Tail::new(log.end()),
                start: log.start(),
                purged: state.purged.clone(),
                epoch: 0,
                vote: state.vote.clone(),
                committed: progress.committed().cloned(),
                cluster_id: state.cluster_id.clone(),
                failure: None,
                listeners: Vec::new(),
            }),
            work: Condvar::new(),
            room: Condvar::new(),
        });
        let row = log.row();
        let writer = Writer {
            dir: dir.into(),
            state,
            progress,
            log,
            shared: shared.clone(),
            pending: Vec::new(),
            committed: None,
            epoch: 0,
        };
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run())
            .map_err(|e| Failure::io("start the thread that writes", dir, &e))?;
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                snapshots,
                row,
                node_id,
                thread: Mutex::new(Some(thread)),
                directory: Mutex::new(Some(directory)),
            }),
        })
    }

    /// Whose store it is.
    pub fn node_id(&self) -> u64 {
        self.handle.node_id
    }

    /// The cluster that the node belongs to, once it is known.
    pub fn cluster_id(&self) -> Option<String> {
        self.inner().cluster_id.clone()
    }

    /// Says which cluster the node belongs to; durable on return. At most [`MAX_NOTE`] bytes.
    ///
    /// # Errors
    /// Where it belongs to another one, or the disk refuses.
    pub fn set_cluster_id(&self, id: &str) -> Result<(), Failure> {
        if id.is_empty() || id.len() > MAX_NOTE {
            let what = format!("cluster id {id:?} is empty or longer than {MAX_NOTE} bytes");
            return Err(Failure::refused(what));
        }
        match self.cluster_id() {
            Some(there) if there == id => return Ok(()),
            Some(there) => {
                return Err(Failure::refused(format!(
                    "{} belongs to cluster {there:?} and can't join {id:?}; give the node an empty directory and a \
                     new node id",
                    self.handle.shared.dir.display()
                )));
            }
            None => {}
        }
        let (told, answer) = mpsc::sync_channel(1);
        let done: Done = Box::new(move |result| drop(told.send(result)));
        self.queue(Job::Cluster(id.into(), done));
        answer.recv().unwrap_or_else(|_| Err(Failure::closed()))
    }

    /// Where the log begins and ends.
    pub fn bounds(&self) -> Bounds {
        let inner = self.inner();
        Bounds {
            purged: inner.purged.clone(),
            last: inner.last(),
        }
    }

    /// Adds records from index `first` on, which must be one past the last; an empty log that was never
    /// purged may begin anywhere. They can be read on return, and are durable when `done` is called.
    /// Appends that come together share one sync.
    ///
    /// Waits while more than [`Options::queue_bytes`] or [`Options::queue_entries`] are queued. A record has
    /// at most [`MAX_RECORD`] bytes. What can't be appended is refused through `done`, and changes nothing.
    pub fn append(&self, first: u64, records: Vec<Bytes>, done: Done) {
        let shared = &self.handle.shared;
        let mut inner = shared.wait_for_room();
        if let Err(failure) = inner.may_append(first, &records) {
            drop(inner);
            return done(Err(failure));
        }
        if inner.last().is_none() && inner.start != first && !records.is_empty() {
            inner.start = first;
            inner.tail = Tail::new(first);
        }
        let bytes: u64 = records.iter().map(cost).sum();
        inner.queued.0 += bytes;
        inner.queued.1 += records.len() as u64;
        for record in &records {
            inner.tail.push(record.clone());
        }
        let epoch = inner.epoch;
        inner.jobs.push_back(Job::Append {
            first,
            records,
            epoch,
            done,
        });
        shared.work.notify_one();
    }

    /// Removes all records after `last`, or all there are. Those removed can't be read from now on; they are
    /// gone from the disk when `done` is called.
    pub fn truncate_after(&self, last: Option<u64>, done: Done) {
        let mut inner = self.inner();
        let end = last
            .map_or(inner.start, |last| last.saturating_add(1))
            .max(inner.start);
        inner.epoch += 1;
        inner.tail.truncate(end);
        let epoch = inner.epoch;
        drop(inner);
        self.queue(Job::Truncate { end, epoch, done });
    }

    /// Removes all records up to and with `upto`, which may be past the last. `note`, of at most
    /// [`MAX_NOTE`] bytes, is kept with the index. What was purged before stays so.
    pub fn purge(&self, upto: u64, note: Bytes, done: Done) {
        let mut inner = self.inner();
        if note.len() > MAX_NOTE || upto == u64::MAX {
            drop(inner);
            let what = format!("can't purge up to {upto} with a note longer than {MAX_NOTE} bytes");
            return done(Err(Failure::refused(what)));
        }
        let purge = Purge { index: upto, note };
        if inner.purged.as_ref().is_none_or(|old| old.index < upto) {
            inner.purged = Some(purge.clone());
            inner.start = inner.start.max(upto + 1);
            inner.epoch += 1;
            let start = inner.start;
            inner.tail.purge(start);
        }
        drop(inner);
        self.queue(Job::Purge { purge, done });
    }

    /// Reads the records of `range`, those at its beginning that are together at most `max_bytes`; at least
    /// one, where the range holds any.
    ///
    /// # Errors
    /// Where the disk refuses, or a record is damaged; that ends the store.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Bytes>, Failure> {
        let mut found = Found::new(max_bytes);
        loop {
            let (on_disk, epoch) = {
                let inner = self.inner();
                let start = range.start.max(inner.start);
                let next = start + found.records.len() as u64;
                let in_memory = inner.tail.first();
                if next >= in_memory {
                    inner
                        .tail
                        .range(next..range.end)
                        .all(|record| found.take(record.clone()));
                    return Ok(found.records);
                }
                (next..range.end.min(in_memory), inner.epoch)
            };
            if on_disk.is_empty() {
                return Ok(found.records);
            }
            let before = found.records.len();
            let read = self
                .handle
                .row
                .read(on_disk.clone(), |record| found.take(record));
            if self.inner().epoch != epoch {
                // The log changed meanwhile; what was read may be from before and after.
                found = Found::new(max_bytes);
                continue;
            }
            let missing = || {
                let what = format!("entry {} is missing", on_disk.start);
                Failure::corruption(&self.handle.shared.dir.join("log"), &what)
            };
            match read {
                Ok(()) if found.full => return Ok(found.records),
                Ok(()) if found.records.len() > before => {}
                damaged => {
                    let failure = damaged.err().unwrap_or_else(missing);
                    self.handle.shared.fail(&failure, Vec::new());
                    return Err(failure);
                }
            }
        }
    }

    /// The vote saved last.
    pub fn vote(&self) -> Option<Bytes> {
        self.inner().vote.clone()
    }

    /// Saves the vote, of at most [`MAX_NOTE`] bytes; durable when `done` is called.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        if vote.len() > MAX_NOTE {
            let what = format!("a vote of {} bytes; the most is {MAX_NOTE}", vote.len());
            return done(Err(Failure::refused(what)));
        }
        self.queue(Job::Vote(vote, done));
    }

    /// The committed index saved last; after a power cut, an earlier one.
    pub fn committed(&self) -> Option<Bytes> {
        self.inner().committed.clone()
    }

    /// Saves the committed index, of at most [`MAX_COMMITTED`] bytes. It becomes durable within a fraction
    /// of a second, and never before the entries that were appended before it.
    ///
    /// # Errors
    /// Where it is too long, or the store is closed or failed.
    pub fn save_committed(&self, committed: Bytes) -> Result<(), Failure> {
        if committed.len() > MAX_COMMITTED {
            let bytes = committed.len();
            let what = format!("a committed index of {bytes} bytes; the most is {MAX_COMMITTED}");
            return Err(Failure::refused(what));
        }
        let mut inner = self.inner();
        if let Some(failure) = &inner.failure {
            return Err(failure.clone());
        }
        inner.committed = Some(committed.clone());
        // One is enough, and none wakes the thread for itself alone but the first.
        if let Some(Job::Committed(last)) = inner.jobs.back_mut() {
            *last = committed;
        } else {
            inner.jobs.push_back(Job::Committed(committed));
            self.handle.shared.work.notify_one();
        }
        Ok(())
    }

    /// Bytes that the directory takes on the disk, snapshots included.
    pub fn disk_bytes(&self) -> u64 {
        files::disk_bytes(&self.handle.shared.dir)
    }

    /// The failure that ended the store, if one did.
    pub fn failure(&self) -> Option<Failure> {
        let failure = self.inner().failure.clone();
        failure.filter(|failure| failure.kind() != FailureKind::Closed)
    }

    /// Calls `f` once the store fails; at once, where it has. A store that is closed calls nobody.
    pub fn on_failure(&self, f: OnFailure) {
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

    /// The snapshots.
    pub fn snapshots(&self) -> &Snapshots {
        &self.handle.snapshots
    }

    /// Makes durable what is queued, stops the thread and lets go of the directory. What is asked
    /// afterwards is refused.
    pub fn close(&self) {
        self.handle.close();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.handle.shared.inner()
    }

    fn queue(&self, job: Job) {
        let mut inner = self.inner();
        match inner.failure.clone() {
            None => {
                inner.jobs.push_back(job);
                self.handle.shared.work.notify_one();
            }
            Some(failure) => {
                drop(inner);
                if let Some(done) = job.done() {
                    done(Err(failure));
                }
            }
        }
    }
}

/// What a read has found.
struct Found {
    records: Vec<Bytes>,
    left: usize,
    full: bool,
}

impl Found {
    fn new(max_bytes: usize) -> Self {
        Self {
            records: Vec::new(),
            left: max_bytes,
            full: false,
        }
    }

    /// Whether there was room for it.
    fn take(&mut self, record: Bytes) -> bool {
        self.full |= record.len() > self.left && !self.records.is_empty();
        if !self.full {
            self.left = self.left.saturating_sub(record.len());
            self.records.push(record);
        }
        !self.full
    }
}

impl Handle {
    fn close(&self) {
        {
            let mut inner = self.shared.inner();
            inner.jobs.push_back(Job::Close);
            self.shared.work.notify_one();
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the store panicked");
        }
        self.row.close();
        *lock(&self.directory) = None;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn last(&self) -> Option<u64> {
        let end = self.tail.end();
        (end > self.start).then(|| end - 1)
    }

    fn may_append(&self, first: u64, records: &[Bytes]) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let next = self.last().map_or(self.start, |last| last + 1);
        let anywhere = self.last().is_none() && self.purged.is_none();
        if first != next && !anywhere {
            let what = format!(
                "can't append entry {first}: the next one is {next}, and a log has no holes"
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

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn wait_for_room(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner();
        while inner.failure.is_none()
            && (inner.queued.0 + inner.writing.0 >= self.options.queue_bytes
                || inner.queued.1 + inner.writing.1 >= self.options.queue_entries)
        {
            inner = self
                .room
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        inner
    }

    /// All jobs that are queued; waits for some, but no longer than `wait`.
    pub(crate) fn take_jobs(&self, wait: Option<Duration>) -> Vec<Job> {
        let mut inner = self.inner();
        inner.writing = (0, 0);
        self.room.notify_all();
        while inner.jobs.is_empty() {
            inner = match wait {
                None => self
                    .work
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    let waited = self.work.wait_timeout(inner, wait);
                    let (inner, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        return inner_jobs(inner);
                    }
                    inner
                }
            };
        }
        inner_jobs(inner)
    }

    /// The log is durable before `end`, as of truncation `epoch`.
    pub(crate) fn durable(&self, end: u64, epoch: u64) {
        let mut inner = self.inner();
        // Entries that were appended since a later truncation only look durable.
        if inner.epoch == epoch {
            inner.tail.durable(end, self.options.cache_bytes);
        }
    }

    pub(crate) fn voted(&self, vote: Bytes) {
        self.inner().vote = Some(vote);
    }

    pub(crate) fn joined(&self, cluster_id: String) {
        self.inner().cluster_id = Some(cluster_id);
    }

    /// Ends the store: tells all who wait, and those who asked to be told.
    pub(crate) fn fail(&self, failure: &Failure, waiting: Vec<Done>) {
        tracing::error!(%failure, "the store failed and writes nothing more");
        let mut inner = self.inner();
        let failure = inner.failure.get_or_insert_with(|| failure.clone()).clone();
        let listeners = std::mem::take(&mut inner.listeners);
        let queued: Vec<_> = inner.jobs.drain(..).filter_map(Job::done).collect();
        drop(inner);
        self.room.notify_all();
        for done in waiting.into_iter().chain(queued) {
            done(Err(failure.clone()));
        }
        for listener in listeners {
            listener(failure.clone());
        }
    }

    /// The thread has ended.
    pub(crate) fn stop(&self, failure: Failure, waiting: Vec<Done>) {
        let mut inner = self.inner();
        let failure = inner.failure.get_or_insert(failure).clone();
        inner.listeners.clear();
        let queued: Vec<_> = inner.jobs.drain(..).filter_map(Job::done).collect();
        drop(inner);
        self.room.notify_all();
        for done in waiting.into_iter().chain(queued) {
            done(Err(failure.clone()));
        }
    }
}

fn inner_jobs(mut inner: MutexGuard<'_, Inner>) -> Vec<Job> {
    inner.writing = std::mem::take(&mut inner.queued);
    inner.jobs.drain(..).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
