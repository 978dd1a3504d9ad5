//! The store as its users see it: what they ask is queued, and read from memory at once.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::{self, JoinHandle, ThreadId};

use bytes::Bytes;

use crate::directory::Directory;
use crate::failure::{Failure, FailureKind, OpenError};
use crate::io::{Job, Writer};
use crate::journal::{Journal, Journaled};
use crate::log::{Log, Row};
use crate::progress::{MAX_COMMITTED, Progress};
use crate::shared::{Inner, Shared, lock};
use crate::snapshot::Snapshots;
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
    threads: Mutex<Vec<JoinHandle<()>>>,
    thread_ids: Vec<ThreadId>,
}

impl Store {
    /// Opens a node's directory, or makes it where there is none or an empty one. Reads and checks all
    /// that is in it.
    ///
    /// # Errors
    /// Where the directory is not this node's, is in use, is damaged or can't be read and written.
    pub fn open(dir: &Path, node_id: u64, options: Options) -> Result<Self, OpenError> {
        options.validate().map_err(OpenError::Options)?;
        let (directory, mut state) = Directory::open(dir, node_id)?;
        let dir = &directory.path().to_path_buf();
        let progress = Progress::open(dir)?;
        let snapshots = Snapshots::open(&directory.snapshots())?;
        let journaled = Journaled::read(dir, state.generation)?;
        let (path, durable) = (directory.log(), progress.end());
        let log = Log::open(&path, &options, state.start, durable, journaled)?;
        let journal = Journal::begin(dir, &mut state)?;
        let (start, end) = (log.start(), log.end());
        tracing::info!(dir = %dir.display(), node_id, start, end, "store opened");
        let shared = Arc::new(Shared::new(dir, options, &state, &progress, end));
        let row = log.row();
        let writer = Writer::new(directory, state, progress, journal, log, shared.clone());
        let (writing, watching) = (shared.clone(), shared.clone());
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into()).spawn(work);
            thread.map_err(|e| Failure::io("start a thread for", &shared.dir, &e))
        };
        let write = Box::new(move || {
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                writing.fail(&Failure::panicked(&writing.dir), Vec::new());
            }
            writing.end();
        });
        let threads = vec![
            spawn("store-watch", Box::new(move || watching.watch()))?,
            spawn("store", write).inspect_err(|_| shared.end())?,
        ];
        Ok(Self {
            handle: Arc::new(Handle {
                snapshots,
                row,
                node_id,
                thread_ids: threads.iter().map(|thread| thread.thread().id()).collect(),
                threads: Mutex::new(threads),
                shared,
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
        let shared = &self.handle.shared;
        shared.queue(shared.inner(), Job::Cluster(id.into(), done));
        answer.recv().unwrap_or_else(|_| Err(Failure::closed()))
    }

    /// Where the log begins and ends.
    pub fn bounds(&self) -> Bounds {
        self.inner().bounds()
    }

    /// Adds records from index `first` on, which must be one past the last; an empty log that was never
    /// purged may begin anywhere. They can be read on return, and are durable when `done` is called.
    /// Appends that come together share one sync.
    ///
    /// Waits while more than [`Options::queue_bytes`] or [`Options::queue_entries`] are queued. A record has
    /// at most [`MAX_RECORD`] bytes. What can't be appended is refused through `done`, and changes nothing.
    pub fn append(&self, first: u64, records: Vec<Bytes>, done: Done) {
        self.handle.shared.append(first, records, done);
    }

    /// Removes all records after `last`, or all there are. Those removed can't be read from now on; they are
    /// gone from the disk when `done` is called.
    pub fn truncate_after(&self, last: Option<u64>, done: Done) {
        self.handle.shared.truncate(last, done);
    }

    /// Removes all records up to and with `upto`, which may be past the last. `note`, of at most
    /// [`MAX_NOTE`] bytes, is kept with the index. What was purged before stays so.
    pub fn purge(&self, upto: u64, note: Bytes, done: Done) {
        if note.len() > MAX_NOTE {
            let what = format!(
                "a purge's note of {} bytes; the most is {MAX_NOTE}",
                note.len()
            );
            return done(Err(Failure::refused(what)));
        }
        if upto == u64::MAX {
            let what = format!("can't purge up to entry {upto}: indexes end before it");
            return done(Err(Failure::refused(what)));
        }
        let purge = Purge { index: upto, note };
        self.handle.shared.purge(purge, done);
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
            let read = self.handle.row.read(on_disk, |record| found.take(record));
            if self.inner().epoch != epoch {
                // The log changed meanwhile; what was read may be from before and after.
                found = Found::new(max_bytes);
                continue;
            }
            if let Err(failure) = read {
                self.handle.shared.fail(&failure, Vec::new());
                return Err(failure);
            }
            if found.full {
                return Ok(found.records);
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
        let shared = &self.handle.shared;
        shared.queue(shared.inner(), Job::Vote(vote, done));
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
        self.handle.shared.save_committed(committed)
    }

    /// Bytes that the directory takes on the disk, snapshots included.
    pub fn disk_bytes(&self) -> u64 {
        files::disk_bytes(&self.handle.shared.dir)
    }

    /// The failure that ended the store, if one did.
    pub fn failure(&self) -> Option<Failure> {
        let failure = self.inner().alive().err();
        failure.filter(|failure| failure.kind() != FailureKind::Closed)
    }

    /// Calls `f` once the store fails; at once, where it has. A store that is closed calls nobody.
    pub fn on_failure(&self, f: OnFailure) {
        self.handle.shared.on_failure(f);
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
        self.shared.queue(self.shared.inner(), Job::Close);
        // The last clone may go in a callback, on one of the threads.
        if self.shared.stalled() || self.thread_ids.contains(&thread::current().id()) {
            return;
        }
        let mut threads = lock(&self.threads);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        self.row.close();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
