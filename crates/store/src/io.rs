//! The one thread that writes. It takes all that is queued, writes it, syncs once, and says so.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::Purge;
use crate::failure::Failure;
use crate::log::Log;
use crate::progress::{Progress, SYNC_EVERY};
use crate::state::State;
use crate::store::{Done, Shared};

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
        done: Done,
    },
    Vote(Bytes, Done),
    Cluster(String, Done),
    Committed(Bytes),
    Close,
}

/// The thread's own state.
pub(crate) struct Writer {
    pub dir: PathBuf,
    pub state: State,
    pub progress: Progress,
    pub log: Log,
    pub shared: Arc<Shared>,
    /// Written and not synced, in order.
    pub pending: Vec<Done>,
    pub committed: Option<Bytes>,
    /// The truncations that the log has seen.
    pub epoch: u64,
}

impl Writer {
    /// Runs until the store is closed or fails.
    pub(crate) fn run(mut self) {
        let failure = loop {
            // Nothing to do: a good time to sync what may lag.
            let wait = self.progress.unsynced().then_some(SYNC_EVERY);
            let jobs = self.shared.take_jobs(wait);
            let idle = jobs.is_empty();
            let mut jobs = jobs.into_iter();
            let result = match idle {
                true => self.progress.sync().map(|()| false),
                false => self.work(&mut jobs),
            };
            match result {
                Ok(false) => {}
                Ok(true) => break Failure::closed(),
                Err(failure) => {
                    let done = self.pending.drain(..).chain(jobs.filter_map(Job::done));
                    self.shared.fail(&failure, done.collect());
                    break failure;
                }
            }
        };
        let dones = std::mem::take(&mut self.pending);
        self.shared.stop(failure, dones);
    }

    /// Does all, and answers all. True when asked to close.
    fn work(&mut self, jobs: &mut impl Iterator<Item = Job>) -> Result<bool, Failure> {
        for job in jobs.by_ref() {
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
                }
                Job::Committed(committed) => self.committed = Some(committed),
                Job::Close => {
                    self.commit()?;
                    self.progress.sync()?;
                    return Ok(true);
                }
                job => {
                    self.commit()?;
                    self.one(job)?;
                    self.commit()?;
                }
            }
        }
        self.commit()?;
        Ok(false)
    }

    fn append(&mut self, first: u64, records: &[Bytes]) -> Result<(), Failure> {
        if self.log.end() == self.log.start() && first != self.log.start() && !records.is_empty() {
            self.progress.lower(first)?;
            self.state.start = first;
            self.state.save(&self.dir)?;
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
        self.shared.durable(self.log.end(), self.epoch);
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
            Job::Purge { purge, done } => {
                self.pending.push(done);
                let old = self.state.purged.as_ref();
                if old.is_some_and(|old| old.index >= purge.index) {
                    return Ok(());
                }
                let start = self.state.start.max(purge.index + 1);
                self.state.start = start;
                self.state.purged = Some(purge);
                self.state.save(&self.dir)?;
                self.log.purge(start)?;
            }
            Job::Vote(vote, done) => {
                self.pending.push(done);
                self.state.vote = Some(vote.clone());
                self.state.save(&self.dir)?;
                self.shared.voted(vote);
            }
            Job::Cluster(id, done) => {
                self.pending.push(done);
                self.state.cluster_id = Some(id.clone());
                self.state.save(&self.dir)?;
                self.shared.joined(id);
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
