//! The one thread that writes. It takes all that is queued, writes it, syncs once, and says so.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::Purge;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::log::Log;
use crate::progress::{Progress, SYNC_EVERY};
use crate::segment::cost;
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

/// The thread's own state.
pub(crate) struct Writer {
    /// Let go of when all is written.
    directory: Directory,
    state: State,
    progress: Progress,
    log: Log,
    shared: Arc<Shared>,
    /// Those who wait for what was written and is not synced, in order.
    pending: Vec<Done>,
    committed: Option<Bytes>,
    /// The truncations and purges that the log has seen.
    epoch: u64,
}

impl Writer {
    pub(crate) fn new(
        directory: Directory,
        state: State,
        progress: Progress,
        log: Log,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            directory,
            state,
            progress,
            log,
            shared,
            pending: Vec::new(),
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
                    self.append(first, &records)?;
                    self.epoch = epoch;
                    written += records.iter().map(cost).sum::<u64>();
                    if written >= ANSWER_EVERY {
                        self.commit()?;
                        written = 0;
                    }
                }
                Job::Committed(committed) => self.committed = Some(committed),
                Job::Close => {
                    self.commit()?;
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

    fn append(&mut self, first: u64, records: &[Bytes]) -> Result<(), Failure> {
        if self.log.end() == self.log.start() && first != self.log.start() && !records.is_empty() {
            self.progress.lower(first)?;
            self.state.start = first;
            self.state.save(self.directory.path())?;
            self.log.begin(first)?;
        }
        for record in records {
            self.log.append(record)?;
        }
        Ok(())
    }

    /// Syncs what was appended, and tells those who wait for it.
    fn commit(&mut self) -> Result<(), Failure> {
        self.log.sync()?;
        self.progress
            .advance(self.log.end(), self.committed.take())?;
        self.shared.durable(self.log.end(), self.epoch)?;
        for done in self.pending.drain(..) {
            done(Ok(()));
        }
        Ok(())
    }

    /// Does a job that stands alone.
    fn one(&mut self, job: Job) -> Result<(), Failure> {
        match job {
            Job::Truncate { end, epoch, done } => {
                self.pending.push(done);
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
