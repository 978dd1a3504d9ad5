//! The `journal`: entries that are durable, and are not yet in the log's databases.
//!
//! sled's flush takes twice as long as the disk, and most of a small append's time. So entries are written
//! here, synced and acknowledged, and only then put into the log, which is flushed once for many of them.
//!
//! The file never grows and was written as a whole when it was made, so that a sync writes its data and
//! nothing of the file system's own. What is appended together is a batch, at the next block: what was
//! synced is not written again before the log has it. Once the log has all, it goes on at the beginning.
//!
//! A batch counts if its checksum is right, its generation is that of the `state` file, and its entries
//! follow on those of the batch before. Within a generation indexes only grow, so that a batch that was
//! left behind never follows on a new one. Whatever else could let one do so begins a new generation: a
//! truncation, and every start, since a power cut may have left batches behind one that it tore.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, BufMut as _, Bytes};

use crate::failure::Failure;
use crate::files;
use crate::state::State;

pub(crate) const NAME: &str = "journal";

/// Bytes of the file.
pub(crate) const SIZE: usize = 4 << 20;

/// Where less than this is left, it is time to let it go on at its beginning.
const SPARE: usize = SIZE / 4;

/// The most that file systems and disks write at once. Batches begin at a multiple of it.
const BLOCK: usize = 4 << 10;
const _: () = assert!(SIZE.is_multiple_of(BLOCK));

/// A batch begins with its checksum, its length without this header, its generation and its first index.
const HEADER: usize = 24;

/// What a batch has for each record beside its bytes: their number.
const LENGTH: usize = 4;

/// The journal, to be written.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    generation: u64,
    /// Where the next batch goes.
    at: usize,
}

impl Journal {
    /// Begins a new generation, durably. All that is there must be in the log; it does not count any more.
    pub(crate) fn begin(dir: &Path, state: &mut State) -> Result<Self, Failure> {
        let path = dir.join(NAME);
        if state.generation == 0 {
            files::replace(&path, &vec![0; SIZE])?;
        }
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(|e| Failure::io("open", &path, &e))?;
        let mut journal = Self {
            path,
            file,
            generation: 0,
            at: 0,
        };
        journal.renew(dir, state)?;
        Ok(journal)
    }

    /// Begins a new generation, as [`Self::begin`] does.
    pub(crate) fn renew(&mut self, dir: &Path, state: &mut State) -> Result<(), Failure> {
        state.generation += 1;
        state.save(dir)?;
        self.generation = state.generation;
        self.at = 0;
        Ok(())
    }

    /// Goes on at the beginning. All that is there must be in the log, durably.
    pub(crate) fn restart(&mut self) {
        self.at = 0;
    }

    /// Whether it should go on at its beginning soon.
    pub(crate) fn is_nearly_full(&self) -> bool {
        SIZE - self.at < SPARE
    }

    /// Adds records from index `first` on, which must be one past the last since it began or restarted.
    /// Durable on return. Where there is no room for them it does nothing, and returns false.
    pub(crate) fn write(&mut self, first: u64, records: &[Bytes]) -> Result<bool, Failure> {
        if records.is_empty() {
            return Ok(true);
        }
        let body = records.iter().map(|r| LENGTH + r.len()).sum::<usize>();
        if HEADER + body > SIZE - self.at {
            return Ok(false);
        }
        let batch = encode(self.generation, first, records, body);
        self.file
            .write_all_at(&batch, self.at as u64)
            .map_err(|e| Failure::io("write", &self.path, &e))?;
        self.file
            .sync_data()
            .map_err(|e| Failure::io("sync", &self.path, &e))?;
        self.at += batch.len();
        Ok(true)
    }
}

/// A batch in whole blocks: none of them has to be read to be written.
fn encode(generation: u64, first: u64, records: &[Bytes], body: usize) -> Vec<u8> {
    let whole = (HEADER + body).next_multiple_of(BLOCK);
    let mut out = Vec::with_capacity(whole);
    out.put_u32_le(0);
    out.put_u32_le(body as u32);
    out.put_u64_le(generation);
    out.put_u64_le(first);
    for record in records {
        out.put_u32_le(record.len() as u32);
        out.put_slice(record);
    }
    let crc = crc32c::crc32c(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out.resize(whole, 0);
    out
}

/// What a journal was found to hold: records that follow on each other.
#[derive(Debug)]
pub(crate) struct Journaled {
    pub path: PathBuf,
    /// The index of the first.
    pub first: u64,
    pub records: Vec<Bytes>,
    /// It begins with something that is no batch of any generation.
    broken: bool,
}

impl Journaled {
    /// Reads the journal in `dir`, which holds those of `generation`.
    pub(crate) fn read(dir: &Path, generation: u64) -> Result<Self, Failure> {
        let mut found = Self {
            path: dir.join(NAME),
            first: 0,
            records: Vec::new(),
            broken: false,
        };
        if generation == 0 {
            return Ok(found);
        }
        let bytes = std::fs::read(&found.path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Failure::corruption(&found.path, "it is missing"),
            _ => Failure::io("read", &found.path, &e),
        })?;
        if bytes.len() != SIZE {
            let what = format!("it has {} bytes; expected {SIZE}", bytes.len());
            return Err(Failure::corruption(&found.path, &what));
        }
        found.take(Bytes::from(bytes), generation);
        Ok(found)
    }

    fn take(&mut self, mut bytes: Bytes, generation: u64) {
        self.broken = bytes.iter().take(HEADER).any(|byte| *byte != 0);
        while let Some(batch) = Batch::decode(&bytes) {
            self.broken = false;
            let follows = self.records.is_empty() || batch.first == self.end();
            if batch.generation != generation || !follows {
                return;
            }
            if self.records.is_empty() {
                self.first = batch.first;
            }
            self.records.extend(batch.records);
            bytes.advance(batch.blocks.min(bytes.len()));
        }
    }

    /// One past the last.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Whether entry `index` and those after it would be here rather than in a log that ends before it.
    pub(crate) fn should_have(&self, index: u64) -> bool {
        match self.records.is_empty() {
            true => self.broken,
            false => self.end() >= index,
        }
    }
}

struct Batch {
    generation: u64,
    first: u64,
    records: Vec<Bytes>,
    /// Bytes of the blocks that it takes.
    blocks: usize,
}

impl Batch {
    /// The one that `bytes` begin with, if it is whole.
    fn decode(bytes: &Bytes) -> Option<Self> {
        let mut from = bytes.clone();
        let crc = from.try_get_u32_le().ok()?;
        let body = from.try_get_u32_le().ok()? as usize;
        let whole = HEADER.checked_add(body).filter(|n| *n <= bytes.len())?;
        if crc32c::crc32c(&bytes[4..whole]) != crc {
            return None;
        }
        let generation = from.try_get_u64_le().ok()?;
        let first = from.try_get_u64_le().ok()?;
        from.truncate(body);
        let mut records = Vec::new();
        while !from.is_empty() {
            let length = from.try_get_u32_le().ok()? as usize;
            if length > from.len() {
                return None;
            }
            records.push(from.split_to(length));
        }
        first.checked_add(records.len() as u64)?;
        Some(Self {
            generation,
            first,
            records,
            blocks: whole.next_multiple_of(BLOCK),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::failure::FailureKind;
    use crate::record::MAX_RECORD;

    fn new() -> (TempDir, Journal, State) {
        let dir = TempDir::new().unwrap();
        let mut state = State::new(1);
        let journal = Journal::begin(dir.path(), &mut state).unwrap();
        (dir, journal, state)
    }

    fn record(index: u64) -> Bytes {
        Bytes::from(vec![index as u8; (index as usize * 37) % 700])
    }

    /// One batch with the records of these indexes.
    fn write(journal: &mut Journal, indexes: std::ops::Range<u64>) {
        let records: Vec<_> = indexes.clone().map(record).collect();
        assert!(journal.write(indexes.start, &records).unwrap());
    }

    /// The indexes of what is found.
    fn found(dir: &TempDir, state: &State) -> std::ops::Range<u64> {
        let found = Journaled::read(dir.path(), state.generation).unwrap();
        let range = found.first..found.end();
        let expected: Vec<_> = range.clone().map(record).collect();
        assert_eq!(found.records, expected);
        range
    }

    fn change(dir: &TempDir, change: impl FnOnce(&mut Vec<u8>)) {
        let path = dir.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    }

    #[test]
    fn what_was_written_is_found() {
        let (dir, mut journal, state) = new();
        assert_eq!(found(&dir, &state), 0..0);
        let mut end = 7;
        for n in [1, 2, 1, 40, 300, 1] {
            write(&mut journal, end..end + n);
            end += n;
            assert_eq!(found(&dir, &state), 7..end);
        }
        write(&mut journal, end..end);
        assert_eq!(found(&dir, &state), 7..end);
    }

    #[test]
    fn what_was_left_behind_does_not_follow() {
        let (dir, mut journal, state) = new();
        (0..10).for_each(|n| write(&mut journal, n..n + 1));
        journal.restart();
        assert_eq!(found(&dir, &state), 0..10);
        for n in 10..14 {
            write(&mut journal, n..n + 1);
            assert_eq!(found(&dir, &state), 10..n + 1);
        }
        // The first was lost, and the one before is there still.
        change(&dir, |bytes| {
            let old = encode(state.generation, 0, &[record(0)], LENGTH);
            bytes[..BLOCK].copy_from_slice(&old);
        });
        assert_eq!(found(&dir, &state), 0..1);
    }

    #[test]
    fn an_older_generation_does_not_count() {
        let (dir, mut journal, mut state) = new();
        (0..10).for_each(|n| write(&mut journal, n..n + 1));
        journal.renew(dir.path(), &mut state).unwrap();
        assert_eq!(found(&dir, &state), 0..0);
        write(&mut journal, 0..1);
        assert_eq!(found(&dir, &state), 0..1);

        // Opened again it begins another, and is the same file.
        let before = state.generation;
        drop(Journal::begin(dir.path(), &mut state).unwrap());
        assert_eq!(found(&dir, &state), 0..0);
        state.generation = before;
        assert_eq!(found(&dir, &state), 0..1);
    }

    #[test]
    fn a_batch_is_whole_or_not_there() {
        let (dir, mut journal, state) = new();
        write(&mut journal, 0..20);
        let second = journal.at;
        write(&mut journal, 20..60);
        let length = HEADER + (20..60).map(|n| LENGTH + record(n).len()).sum::<usize>();
        assert!(length > 2 * BLOCK);
        for at in (second..second + length).step_by(197) {
            change(&dir, |bytes| bytes[at] ^= 0x10);
            assert_eq!(found(&dir, &state), 0..20, "byte {at}");
            change(&dir, |bytes| bytes[at] ^= 0x10);
        }
        change(&dir, |bytes| bytes[second + length] ^= 0x10);
        assert_eq!(found(&dir, &state), 0..60);
        // Without the first the second is nothing.
        change(&dir, |bytes| bytes[40] ^= 0x10);
        assert_eq!(found(&dir, &state), 0..0);
        let found = Journaled::read(dir.path(), state.generation).unwrap();
        assert!(found.should_have(0));
    }

    #[test]
    fn it_is_filled_to_the_last_byte_and_never_grows() {
        let (dir, mut journal, state) = new();
        let length = || fs::metadata(dir.path().join(NAME)).unwrap().len();
        let zeros = |n: usize| [Bytes::from(vec![0; n])];
        let room = SIZE - HEADER - LENGTH;
        assert!(!journal.write(0, &zeros(room + 1)).unwrap());
        assert!(!journal.write(0, &zeros(MAX_RECORD)).unwrap());
        assert!(journal.write(0, &zeros(room)).unwrap());
        assert!(journal.is_nearly_full());
        assert!(!journal.write(1, &zeros(0)).unwrap());
        let read = || Journaled::read(dir.path(), state.generation).unwrap();
        assert_eq!((read().end(), length()), (1, SIZE as u64));

        journal.restart();
        let mut end = 1;
        while journal.write(end, &zeros(0)).unwrap() {
            end += 1;
        }
        assert_eq!(end as usize - 1, SIZE / BLOCK);
        assert_eq!((read().first, read().end()), (1, end));
        assert_eq!(length(), SIZE as u64);
    }

    #[test]
    fn another_length_is_damage() {
        let (dir, _, state) = new();
        let path = dir.path().join(NAME);
        let read = || Journaled::read(dir.path(), state.generation).unwrap_err();
        for length in [0, BLOCK, SIZE - 1, SIZE + 1] {
            fs::write(&path, vec![0; length]).unwrap();
            assert_eq!(read().kind(), FailureKind::Corruption);
            let what = format!("journal is damaged: it has {length} bytes; expected {SIZE}");
            assert!(read().to_string().contains(&what), "{}", read());
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(read().kind(), FailureKind::Corruption);
        assert!(
            read()
                .to_string()
                .contains("journal is damaged: it is missing")
        );
    }
}
