//! openraft's log storage over the store: entries as `preau.v1.Entry`, answered when they are durable.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use bytes::Bytes;
use futures_util::{Stream, stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use prost::Message as _;
use store::Done;
use tokio::sync::oneshot;

use crate::types::{
    Disk, Entry, LogId, TypeConfig, Vote, decode, decode_entry, encode_entry, log_id_from,
    log_id_to, vote_from, vote_to,
};

/// Bytes read from the log at a time, and so sent in one request: one entry may be larger, and together
/// they stay below the 4 MiB that a message may have.
const READ_BYTES: usize = 1 << 20;

/// The log. Reads come from memory or the page cache, a bounded piece at a time, and so run in place.
#[derive(Clone)]
pub(crate) struct Log {
    store: Disk,
}

impl Log {
    pub fn new(store: Disk) -> Self {
        Self { store }
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<Entry>, io::Error> {
        let records = self.store.read(range, READ_BYTES)?;
        let entries: Result<Vec<Entry>, _> = records.into_iter().map(decode_entry).collect();
        Ok(entries?)
    }

    fn log_id_at(&self, index: u64) -> Result<Option<LogId>, io::Error> {
        let entry = self.read(index..index + 1)?.pop();
        Ok(entry.map(|entry| entry.log_id))
    }

    /// The part of `range` that the log may have.
    fn clamp(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let bounds = self.store.bounds();
        let first = bounds.purged.map_or(0, |purge| purge.index + 1);
        let end = bounds.last.map_or(first, |last| last + 1);
        let from = match range.start_bound() {
            Bound::Included(&from) => from,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&to) => to,
            Bound::Unbounded => u64::MAX,
        };
        from.max(first)..to.min(end).max(from.max(first))
    }
}

/// Waits for a write to be durable.
async fn durable(write: impl FnOnce(Done)) -> Result<(), io::Error> {
    let (told, result) = oneshot::channel();
    write(Box::new(move |done| {
        let _ = told.send(done);
    }));
    match result.await {
        Ok(done) => Ok(done?),
        Err(_) => Err(io::Error::other("the store is closed")),
    }
}

fn note(id: &LogId) -> Bytes {
    log_id_to(id).encode_to_vec().into()
}

fn read_note(note: Bytes) -> Result<LogId, io::Error> {
    Ok(log_id_from(decode("log id", note)?))
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let mut range = self.clamp(&range);
        let mut entries = Vec::new();
        while !range.is_empty() {
            let read = self.read(range.clone())?;
            let Some(last) = read.last() else { break };
            range.start = last.log_id.index + 1;
            entries.extend(read);
        }
        Ok(entries)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let range = self.clamp(&range);
        let state = Some((self.clone(), range, VecDeque::new()));
        stream::unfold(state, |state| async move {
            let (log, mut range, mut read) = state?;
            if read.is_empty() && !range.is_empty() {
                match log.read(range.clone()) {
                    Ok(entries) => {
                        let last = entries.last().map(|entry| entry.log_id.index);
                        range.start = last.map_or(range.end, |last| last + 1);
                        read.extend(entries);
                    }
                    Err(error) => return Some((Err(error), None)),
                }
            }
            let entry = read.pop_front()?;
            Some((Ok(entry), Some((log, range, read))))
        })
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(self.clamp(&(start..end)))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let Some(vote) = self.store.vote() else {
            return Ok(None);
        };
        Ok(Some(vote_from(Some(decode("vote", vote)?))?))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let bounds = self.store.bounds();
        let purged = bounds.purged.map(|purge| read_note(purge.note));
        let last_purged_log_id = purged.transpose()?;
        let last_log_id = match bounds.last {
            Some(last) => self.log_id_at(last)?,
            None => last_purged_log_id,
        };
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        if mutation::on("forget-vote") {
            return Ok(());
        }
        let vote = vote_to(vote).encode_to_vec();
        durable(|done| self.store.save_vote(vote.into(), done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        match committed {
            Some(committed) => Ok(self.store.save_committed(note(&committed))?),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.store.committed().map(read_note).transpose()
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut entries = entries.into_iter().peekable();
        let Some(first) = entries.peek().map(|entry| entry.log_id.index) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let records = entries.map(|entry| encode_entry(&entry)).collect();
        if mutation::on("answer-before-flush") {
            callback.io_completed(Ok(()));
            self.store.append(first, records, Box::new(|_| {}));
            return Ok(());
        }
        let done = move |done: Result<(), store::Failure>| {
            callback.io_completed(done.map_err(io::Error::from));
        };
        self.store.append(first, records, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let last = last.map(|id| id.index);
        durable(|done| self.store.truncate_after(last, done)).await
    }

    /// Not waited for: whole segments are deleted, and what openraft asks next is queued behind it.
    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let done = move |done: Result<(), store::Failure>| {
            if let Err(error) = done {
                tracing::error!(%upto, %error, "the log was not purged");
            }
        };
        self.store.purge(upto.index, note(&upto), Box::new(done));
        Ok(())
    }
}
