//! The one thread that writes. It takes all that is queued, writes it to the journal, syncs once, and says
//! so. Then it puts the entries into the log, which it flushes and syncs now and then.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::Purge;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::journal::Journal;
use crate::log::Log;
use crate::progress::{Progress, SYNC_EVERY};
use crate::segment::{UNSYNCED, cost};
use crate::shared::Shared;
use crate::state::State;
use crate::store::Done;

/// What the thread is asked to do, in order.
pub(crate) enum Job {
    Append {
        first: u64,
        records: Vec<Bytes>,
        epoch: u64,
        done: Done,
    },
    Truncate {
        end: u64,
        epoch: u64,
        done: Done,
    },
    Purge {
        purge: Purge,
        epoch: u64,
        done: Done,
    },
    Vote(Bytes, Done),
    Cluster(String, Done),
    Committed(Bytes),
    Close,
}

/// Bytes written before those who wait for them are told, however much more is queued.
const ANSWER_EVERY: u64 = 1 << 20;

/// Bytes in the log that are in the journal still, at which the log is flushed: less than those at which it
/// would do so by itself.
const LOT: u64 = UNSYNCED / 4 * 3;

/// The thread's own state.
pub(crate) struct Writer {
    /// Let go of when all is written.
    directory: Directory,
    state: State,
    progress: Progress,
    journal: Journal,
    log: Log,
    shared: Arc<Shared>,
    /// Entries that follow on the log's, to be written.
    staged: Vec<Bytes>,
    /// Those who wait for what was staged or done, in order.
    pending: Vec<Done>,
    /// Bytes of the entries in the log that may be durable in the journal only.
    unsettled: u64,
    committed: Option<Bytes>,
    /// The truncations and purges that the log has seen.
    epoch: u64,
}

impl Writer {
    pub(crate) fn new(
        directory: Directory,
        state: State,
        progress: Progress,
        journal: Journal,
        log: Log,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            directory,
            state,
            progress,
            journal,
            log,
            shared,
            staged: Vec::new(),
            pending: Vec::new(),
            unsettled: 0,
            committed: None,
            epoch: 0,
        }
    }

    /// Runs until the store is closed or fails.
    pub(crate) fn run(mut self) {
        loop {
            let wait = self.progress.unsynced().then_some(SYNC_EVERY);
            let (result, left) = match self.shared.take_jobs(wait) {
                // Nothing to do: a good time to sync what may lag.
                Ok(jobs) if jobs.is_empty() => (self.progress.sync(), jobs),
                Ok(mut jobs) => (self.work(&mut jobs), jobs),
                Err(failure) => (Err(failure), VecDeque::new()),
            };
            if let Err(failure) = result {
                let left = left.into_iter().filter_map(Job::done);
                let waiting = self.pending.drain(..).chain(left).collect();
                return self.shared.fail(&failure, waiting);
            }
        }
    }

    /// Does all, and answers all. Being asked to close is the last failure.
    fn work(&mut self, jobs: &mut VecDeque<Job>) -> Result<(), Failure> {
        let mut written = 0;
        while let Some(job) = jobs.pop_front() {
            match job {
                Job::Append {
                    first,
                    records,
                    epoch,
                    done,
                } => {
                    self.pending.push(done);
                    written += records.iter().map(cost).sum::<u64>();
                    self.append(first, records)?;
                    self.epoch = epoch;
                    if written >= ANSWER_EVERY {
                        self.commit()?;
                        written = 0;
                    }
                }
                Job::Committed(committed) => self.committed = Some(committed),
                Job::Close => {
                    self.commit()?;
                    self.forget()?;
                    self.progress.settle()?;
                    return Err(Failure::closed());
                }
                job => {
                    self.commit()?;
                    self.one(job)?;
                    self.commit()?;
                }
            }
        }
        self.commit()
    }

    fn append(&mut self, first: u64, records: Vec<Bytes>) -> Result<(), Failure> {
        let empty = self.end() == self.log.start();
        if empty && first != self.log.start() && !records.is_empty() {
            self.settle()?;
            self.progress.lower(first)?;
            self.state.start = first;
            self.state.save(self.directory.path())?;
            self.log.begin(first)?;
        }
        self.staged.extend(records);
        Ok(())
    }

    /// One past the last entry.
    fn end(&self) -> u64 {
        self.log.end() + self.staged.len() as u64
    }

    /// Makes durable what was staged, and tells those who wait for it.
    fn commit(&mut self) -> Result<(), Failure> {
        // What the journal has no room for is durable once the log is.
        if !self.journal.write(self.log.end(), &self.staged)? {
            self.put()?;
            self.settle()?;
        }
        self.progress.advance(self.end(), self.committed.take())?;
        self.shared.inner().alive()?;
        for done in self.pending.drain(..) {
            done(Ok(()));
        }
        // Nobody waits for the rest.
        self.put()?;
        if self.unsettled >= LOT || self.journal.is_nearly_full() {
            self.settle()?;
        }
        Ok(())
    }

    /// Puts what was staged into the log, where it can be read from now on.
    fn put(&mut self) -> Result<(), Failure> {
        for record in self.staged.drain(..) {
            self.log.append(&record)?;
            self.unsettled += cost(&record);
        }
        self.shared.stored(self.log.end(), self.epoch);
        Ok(())
    }

    /// Makes the log durable, so that the journal is not needed for what is there.
    fn settle(&mut self) -> Result<(), Failure> {
        self.log.sync()?;
        self.journal.restart();
        self.unsettled = 0;
        Ok(())
    }

    /// Settles, and lets nothing that is in the journal count any more, durably.
    fn forget(&mut self) -> Result<(), Failure> {
        self.settle()?;
        self.journal.renew(self.directory.path(), &mut self.state)
    }

    /// Does a job that stands alone.
    fn one(&mut self, job: Job) -> Result<(), Failure> {
        match job {
            Job::Truncate { end, epoch, done } => {
                self.pending.push(done);
                self.forget()?;
                self.progress.lower(end)?;
                self.log.truncate(end)?;
                self.epoch = epoch;
            }
            Job::Purge { purge, epoch, done } => {
                self.pending.push(done);
                let old = self.state.purged.as_ref();
                if old.is_some_and(|old| old.index >= purge.index) {
                    return Ok(());
                }
                // The next entry may be further on, and begins the journal then.
                self.settle()?;
                let start = self.state.start.max(purge.index + 1);
                self.state.start = start;
                self.state.purged = Some(purge);
                self.state.save(self.directory.path())?;
                self.log.purge(start)?;
                self.epoch = epoch;
            }
            Job::Vote(vote, done) => {
                self.pending.push(done);
                self.state.vote = Some(vote.clone());
                self.state.save(self.directory.path())?;
                self.shared.inner().vote = Some(vote);
            }
            Job::Cluster(id, done) => {
                self.pending.push(done);
                self.state.cluster_id = Some(id.clone());
                self.state.save(self.directory.path())?;
                self.shared.inner().cluster_id = Some(id);
            }
            Job::Append { .. } | Job::Committed(_) | Job::Close => {}
        }
        Ok(())
    }
}

impl Job {
    /// Who waits for it.
    pub(crate) fn done(self) -> Option<Done> {
        match self {
            Self::Append { done, .. }
            | Self::Truncate { done, .. }
            | Self::Purge { done, .. }
            | Self::Vote(_, done)
            | Self::Cluster(_, done) => Some(done),
            Self::Committed(_) | Self::Close => None,
        }
    }
}
