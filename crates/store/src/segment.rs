//! One segment of the log: a sled database of its own.
//!
//! It is written to after the [journal](crate::journal), and flushed once for many records, before the
//! journal forgets them. Of sled's files only `db`, the log that it recovers from, and `conf`, its
//! parameters, matter. `conf` is synced once, when the database is made; `db` after every flush, through a
//! second handle, for sled's own flush stops at the page cache. The rest does not count:
//! - `snap.*` only shortens recovery. sled does not sync its directory when it replaces one, and takes one
//!   half written for corruption, so they are removed before a database is opened: it recovers from `db`.
//! - `blobs` stays empty: values are too small for it ([`crate::record::PIECE`]).
//!
//! sled uses space again once it has written what replaces it, and does not wait for that to be durable.
//! But it never does before it has begun a second of its segments, and no more than a part of one
//! ([`UNSYNCED`]) is ever written between two syncs.

use std::fs::{self, File};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::failure::Failure;
use crate::files;
use crate::record::{self, Partial, Step};
use crate::shared::lock;

/// Bytes of the segments that sled divides its file into.
pub(crate) const SLED_SEGMENT: usize = 2 << 20;

/// Most bytes of records that are written before they are synced. sled writes each up to some five times.
pub(crate) const UNSYNCED: u64 = (SLED_SEGMENT / 8) as u64;

/// What sled may keep in memory of a database.
const CACHE: u64 = 4 << 20;

/// How long to wait for a database to be let go by a reader that is just closing it.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// A database that is open.
pub(crate) struct Database {
    path: PathBuf,
    db: sled::Db,
    /// sled's own file, opened again to be synced.
    file: File,
    /// Bytes written and not synced. Held to insert and to read: sled can lose the wake-up for a failed write if a reader makes it seal
    /// the buffer that is being written to.
    using: Mutex<u64>,
}

/// What a look at every record found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// One past the last whole record.
    pub end: u64,
    /// Bytes of the records.
    pub bytes: u64,
    /// There is a part of one more.
    pub torn: bool,
}

impl Database {
    /// Makes one. It gets its name once it is durable, so that one with a name is whole.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let new = path.with_extension(files::NEW);
        if new.exists() {
            fs::remove_dir_all(&new).map_err(|e| Failure::io("remove", &new, &e))?;
        }
        let made = Self::start(&new)?;
        *lock(&made.using) = 1;
        made.flush()?;
        for file in ["conf", "blobs", "."] {
            files::sync_dir(&new.join(file))?;
        }
        files::rename(&new, path)?;
        Ok(Self {
            path: path.into(),
            ..made
        })
    }

    /// Opens one that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        for name in ["db", "conf"] {
            let file = path.join(name);
            match fs::metadata(&file) {
                Ok(metadata) if metadata.len() > 0 => {}
                Ok(_) => return Err(Failure::corruption(&file, "it is empty")),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Failure::corruption(&file, "it is missing"));
                }
                Err(e) => return Err(Failure::io("read", &file, &e)),
            }
        }
        // What an earlier process wrote may be in memory only; sled must not build on that.
        let db = path.join("db");
        File::open(&db)
            .and_then(|file| file.sync_all())
            .map_err(|e| Failure::io("sync", &db, &e))?;
        for file in files::list(path)? {
            let name = file.file_name().and_then(|n| n.to_str());
            if name.is_some_and(|name| name.starts_with("snap.")) {
                fs::remove_file(&file).map_err(|e| Failure::io("remove", &file, &e))?;
            }
        }
        let database = Self::start(path)?;
        database.sync()?;
        Ok(database)
    }

    fn start(path: &Path) -> Result<Self, Failure> {
        let config = sled::Config::new()
            .path(path)
            .segment_size(SLED_SEGMENT)
            .cache_capacity(CACHE)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None);
        let waiting = Instant::now();
        let db = loop {
            match guard(path, "open", || config.open())? {
                Ok(db) => break db,
                Err(sled::Error::Io(e))
                    if e.to_string().contains("acquire lock") && waiting.elapsed() < LOCK_WAIT =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => return Err(Failure::sled("open", path, &e)),
            }
        };
        let file = path.join("db");
        Ok(Self {
            path: path.into(),
            file: File::open(&file).map_err(|e| Failure::io("open", &file, &e))?,
            db,
            using: Mutex::new(0),
        })
    }

    /// Adds a record. It is durable after the next [`Self::flush`].
    pub(crate) fn insert(&self, index: u64, bytes: &Bytes) -> Result<(), Failure> {
        for (piece, value) in record::pieces(index, bytes) {
            let mut unsynced = lock(&self.using);
            let key = record::key(index, piece);
            guard(&self.path, "write", || self.db.insert(key, &*value))?
                .map_err(|e| Failure::sled("write", &self.path, &e))?;
            *unsynced += cost(&value);
            let full = *unsynced >= UNSYNCED;
            drop(unsynced);
            if full {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Removes all records from `from` on, the last first. Durable on return.
    pub(crate) fn remove_from(&self, from: u64) -> Result<(), Failure> {
        let failed = |e| Failure::sled("remove entries in", &self.path, &e);
        loop {
            let mut unsynced = lock(&self.using);
            let over = guard(&self.path, "remove entries in", || {
                for item in self.db.range(record::key(from, 0)..).rev() {
                    let (key, value) = item?;
                    self.db.remove(key)?;
                    *unsynced += value.len() as u64 + ENTRY_OVERHEAD;
                    if *unsynced >= UNSYNCED {
                        return Ok(false);
                    }
                }
                Ok(true)
            })?
            .map_err(failed)?;
            drop(unsynced);
            self.flush()?;
            if over {
                return Ok(());
            }
        }
    }

    /// Makes all that was written durable.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        if *lock(&self.using) == 0 {
            return Ok(());
        }
        guard(&self.path, "flush", || self.db.flush())?
            .map_err(|e| Failure::sled("flush", &self.path, &e))?;
        self.sync()?;
        *lock(&self.using) = 0;
        Ok(())
    }

    fn sync(&self) -> Result<(), Failure> {
        self.file
            .sync_data()
            .map_err(|e| Failure::io("sync", &self.path.join("db"), &e))
    }

    /// Reads every record, which must follow on each other from `first` on.
    pub(crate) fn scan(&self, first: u64) -> Result<Scan, Failure> {
        let mut scan = Scan {
            end: first,
            ..Scan::default()
        };
        scan.torn = self.each(first..u64::MAX, |record| {
            scan.end += 1;
            scan.bytes += cost(&record);
            true
        })?;
        Ok(scan)
    }

    /// Reads records in order while `take` wants more, beginning with the first of `range`. Returns whether
    /// there is a part of one more, which there is only if there is nothing after it.
    pub(crate) fn each(
        &self,
        range: Range<u64>,
        mut take: impl FnMut(Bytes) -> bool,
    ) -> Result<bool, Failure> {
        let damaged = |what: String| Failure::corruption(&self.path, &what);
        let mut next = range.start;
        let mut partial: Option<Partial> = None;
        let keys = record::key(range.start, 0)..record::key(range.end, 0);
        let mut items = guard(&self.path, "read", || self.db.range(keys))?;
        let mut next_item = || {
            let _using = lock(&self.using);
            guard(&self.path, "read", || items.next())
        };
        while let Some(item) = next_item()? {
            let (key, value) = item.map_err(|e| Failure::sled("read", &self.path, &e))?;
            let (index, piece) = record::parse_key(&key)
                .ok_or_else(|| damaged("it has a key that no entry has".into()))?;
            let step = match partial.take() {
                Some(partial) => partial.add(index, piece, &value),
                None if index == next => Partial::begin(index, piece, &value),
                None => Err(format!(
                    "entry {next} is missing, and entry {index} is there"
                )),
            };
            match step.map_err(damaged)? {
                Step::More(more) => partial = Some(more),
                Step::Whole(record) => {
                    next += 1;
                    if !take(record) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(partial.is_some())
    }
}

/// Bytes that an entry counts for beside its own, wherever entries are limited by bytes.
pub const ENTRY_OVERHEAD: u64 = 64;

/// Bytes that a record counts for.
pub(crate) fn cost(record: &Bytes) -> u64 {
    record.len() as u64 + ENTRY_OVERHEAD
}

/// Lets go of a database. sled flushes and syncs once more, and panics if it can't; nothing that was
/// acknowledged waits for that.
pub(crate) fn release<T>(path: &Path, database: T) {
    if let Err(failure) = guard(path, "close", || drop(database)) {
        tracing::warn!(%failure, "a database was not closed as it should be");
    }
}

/// sled panics where it finds what it did not expect; here that is an error like another.
fn guard<T>(path: &Path, doing: &str, f: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Failure::corruption(
            path,
            &format!("sled gave up when asked to {doing} it ({said})"),
        )
    })
}
