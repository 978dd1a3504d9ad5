//! The `progress` file: how far the log is known to be durable, and the committed index. Written after
//! every sync and synced only now and then, so it may lag and never leads.
//!
//! sled cuts a log off at its first unreadable message, and the journal ends at its first unreadable batch,
//! be it one that a power cut tore or one that the disk damaged. What tells them apart is this file: a log
//! that ends before it was once durable is damaged.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::failure::Failure;
use crate::files;

pub(crate) const NAME: &str = "progress";

/// How long what was written may stay unsynced: the time before a power cut in which damage to the
/// log's last entries can't be told from a torn write.
pub(crate) const SYNC_EVERY: Duration = Duration::from_millis(200);

/// Most bytes of the committed index: with it, a slot fits one sector.
pub const MAX_COMMITTED: usize = 400;

/// Two slots, in sectors of their own. The one last synced is never overwritten before the other is synced.
const SLOTS: [u64; 2] = [0, 4096];
const SLOT: usize = 512;
const FILE: usize = 8192;

pub(crate) struct Progress {
    path: PathBuf,
    file: File,
    /// The slot written to until the next sync.
    slot: usize,
    sequence: u64,
    /// All entries below this one are durable.
    end: u64,
    committed: Option<Bytes>,
    /// When it was last synced, if it was written since.
    unsynced: bool,
    synced: Instant,
}

impl Progress {
    pub(crate) fn create(dir: &Path) -> Result<(), Failure> {
        let mut bytes = vec![0; FILE];
        bytes[..SLOT].copy_from_slice(&encode(1, 0, None));
        files::replace(&dir.join(NAME), &bytes)
    }

    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| Failure::io("open", &path, &e))?;
        // What an earlier process wrote may be in memory only, and is about to be relied on.
        file.sync_all()
            .map_err(|e| Failure::io("sync", &path, &e))?;
        let mut newest = None;
        for (slot, offset) in SLOTS.into_iter().enumerate() {
            let mut bytes = [0; SLOT];
            file.read_exact_at(&mut bytes, offset)
                .map_err(|e| match e.kind() {
                    std::io::ErrorKind::UnexpectedEof => {
                        Failure::corruption(&path, "it is too short")
                    }
                    _ => Failure::io("read", &path, &e),
                })?;
            if let Some((sequence, end, committed)) = decode(&bytes)
                && newest.as_ref().is_none_or(|(_, s, _, _)| *s < sequence)
            {
                newest = Some((slot, sequence, end, committed));
            }
        }
        let (slot, sequence, end, committed) = newest.ok_or_else(|| {
            Failure::corruption(&path, "the checksums of both its halves are wrong")
        })?;
        Ok(Self {
            path,
            file,
            slot: 1 - slot,
            sequence,
            end,
            committed,
            unsynced: false,
            synced: Instant::now(),
        })
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn committed(&self) -> Option<&Bytes> {
        self.committed.as_ref()
    }

    /// Whether it was written and not synced since.
    pub(crate) fn unsynced(&self) -> bool {
        self.unsynced
    }

    /// Notes that the log is durable up to `end`, and the committed index where it changed.
    pub(crate) fn advance(&mut self, end: u64, committed: Option<Bytes>) -> Result<(), Failure> {
        if end == self.end && committed.is_none() {
            return Ok(());
        }
        self.end = end;
        if committed.is_some() {
            self.committed = committed;
        }
        self.write()?;
        if self.synced.elapsed() >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Takes back, durably, what was said of entries from `end` on, which are about to be removed.
    pub(crate) fn lower(&mut self, end: u64) -> Result<(), Failure> {
        if end < self.end {
            self.end = end;
            self.write()?;
            self.sync()?;
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if self.unsynced {
            self.file
                .sync_data()
                .map_err(|e| Failure::io("sync", &self.path, &e))?;
            self.slot = 1 - self.slot;
            self.unsynced = false;
        }
        self.synced = Instant::now();
        Ok(())
    }

    /// Writes both slots, so that damage to one of them tells nothing wrong.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        self.sync()?;
        self.write()?;
        self.sync()
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.sequence += 1;
        let bytes = encode(self.sequence, self.end, self.committed.as_ref());
        self.file
            .write_all_at(&bytes, SLOTS[self.slot])
            .map_err(|e| Failure::io("write", &self.path, &e))?;
        self.unsynced = true;
        Ok(())
    }
}

fn encode(sequence: u64, end: u64, committed: Option<&Bytes>) -> BytesMut {
    let mut out = BytesMut::with_capacity(SLOT);
    out.put_u64_le(sequence);
    out.put_u64_le(end);
    out.put_u8(committed.is_some().into());
    let committed = committed.map_or(&[][..], |c| c);
    out.put_u16_le(committed.len() as u16);
    out.put_slice(committed);
    out.put_bytes(0, SLOT - 4 - out.len());
    let crc = crc32c::crc32c(&out);
    out.put_u32_le(crc);
    out
}

fn decode(slot: &[u8; SLOT]) -> Option<(u64, u64, Option<Bytes>)> {
    let (body, crc) = slot.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut from = body;
    let sequence = from.try_get_u64_le().ok()?;
    let end = from.try_get_u64_le().ok()?;
    let some = from.try_get_u8().ok()? == 1;
    let length = from.try_get_u16_le().ok()? as usize;
    let committed = from.get(..length)?;
    // All of a blank file checks out but for this. No store writes often enough to come past the half.
    (sequence > 0 && sequence <= u64::MAX / 2).then(|| {
        (
            sequence,
            end,
            some.then(|| Bytes::copy_from_slice(committed)),
        )
    })
}
