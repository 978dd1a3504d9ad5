//! The log on the disk: a row of databases, each named by the first index in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;

use crate::Options;
use crate::failure::Failure;
use crate::files;
use crate::journal::Journaled;
use crate::segment::{self, Database, cost};
use crate::shared::lock;

/// Databases kept open beside the one that is written to.
const OPEN: usize = 2;

/// The databases, for those who read.
pub(crate) struct Row {
    dir: PathBuf,
    slots: RwLock<Vec<Arc<Slot>>>,
    /// Those that readers opened, the latest last.
    recent: Mutex<Vec<Arc<Slot>>>,
}

struct Slot {
    first: u64,
    path: PathBuf,
    open: Mutex<Open>,
}

enum Open {
    No,
    Yes(Arc<Database>),
    /// It was removed, and must not come back.
    Gone,
}

impl Slot {
    fn new(dir: &Path, first: u64) -> Arc<Self> {
        Arc::new(Self {
            first,
            path: dir.join(format!("{first:020}")),
            open: Mutex::new(Open::No),
        })
    }

    /// Its database; `None` once it was removed.
    fn database(&self) -> Result<Option<Arc<Database>>, Failure> {
        let mut open = lock(&self.open);
        match &*open {
            Open::Yes(database) => Ok(Some(database.clone())),
            Open::Gone => Ok(None),
            Open::No => {
                let database = Arc::new(Database::open(&self.path)?);
                *open = Open::Yes(database.clone());
                Ok(Some(database))
            }
        }
    }

    /// Makes its database.
    fn create(&self) -> Result<Arc<Database>, Failure> {
        let database = Arc::new(Database::create(&self.path)?);
        *lock(&self.open) = Open::Yes(database.clone());
        Ok(database)
    }

    /// Removes it from the disk.
    fn remove(&self) -> Result<(), Failure> {
        let open = std::mem::replace(&mut *lock(&self.open), Open::Gone);
        segment::release(&self.path, open);
        files::remove_dir(&self.path)
    }

    /// Closes its database unless someone is using it.
    fn close(&self) {
        let mut open = lock(&self.open);
        if matches!(&*open, Open::Yes(database) if Arc::strong_count(database) == 1) {
            segment::release(&self.path, std::mem::replace(&mut *open, Open::No));
        }
    }
}

impl Row {
    /// Reads entries that are on the disk, those in one database, while `take` wants more.
    ///
    /// # Errors
    /// Where one is missing or damaged, or was removed meanwhile.
    pub(crate) fn read(
        &self,
        range: Range<u64>,
        mut take: impl FnMut(Bytes) -> bool,
    ) -> Result<(), Failure> {
        let missing = |path: &Path, index| {
            Err(Failure::corruption(
                path,
                &format!("entry {index} is missing"),
            ))
        };
        let found = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            let after = slots.partition_point(|slot| slot.first <= range.start);
            let end = slots.get(after).map_or(u64::MAX, |next| next.first);
            let slot = after.checked_sub(1).and_then(|at| slots.get(at)).cloned();
            slot.map(|slot| (slot, end.min(range.end)))
        };
        let Some((slot, end)) = found else {
            return missing(&self.dir, range.start);
        };
        let Some(database) = slot.database()? else {
            return missing(&slot.path, range.start);
        };
        let mut next = range.start;
        let mut more = true;
        database.each(range.start..end, |record| {
            next += 1;
            more = take(record);
            more
        })?;
        drop(database);
        if more && next < end {
            return missing(&slot.path, next);
        }
        self.used(slot);
        Ok(())
    }

    /// Keeps the databases used last open, and no more.
    fn used(&self, slot: Arc<Slot>) {
        let mut recent = lock(&self.recent);
        recent.retain(|other| !Arc::ptr_eq(other, &slot));
        recent.push(slot);
        while recent.len() > OPEN + 1 {
            recent.remove(0).close();
        }
    }

    /// Closes all that nobody is using.
    pub(crate) fn close(&self) {
        lock(&self.recent).clear();
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().for_each(|slot| slot.close());
    }

    fn edit<T>(&self, f: impl FnOnce(&mut Vec<Arc<Slot>>) -> T) -> T {
        f(&mut self.slots.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The log as the I/O thread sees it.
pub(crate) struct Log {
    row: Arc<Row>,
    options: Options,
    /// The last database, which is written to.
    active: Option<Active>,
    /// The first index that the log has or would have, and one past the last.
    start: u64,
    end: u64,
}

struct Active {
    first: u64,
    database: Arc<Database>,
    bytes: u64,
}

impl Log {
    /// Opens what is there and reads all of it, and takes in what is in the journal only; durable on return.
    /// `start` is where the log begins, and `durable` how far both are known to have reached.
    pub(crate) fn open(
        dir: &Path,
        options: &Options,
        start: u64,
        durable: u64,
        journaled: Journaled,
    ) -> Result<Self, Failure> {
        files::remove_leftovers(dir)?;
        let mut firsts = Vec::new();
        for path in files::list(dir)? {
            let name = path.file_name().and_then(|name| name.to_str());
            match name.filter(|n| n.len() == 20).and_then(|n| n.parse().ok()) {
                Some(first) => firsts.push(first),
                None => tracing::warn!(path = %path.display(), "not part of the log; left alone"),
            }
        }
        // A purge that was cut short.
        while firsts.get(1).is_some_and(|second| *second <= start) {
            Slot::new(dir, firsts.remove(0)).remove()?;
        }
        let slots: Vec<_> = firsts.iter().map(|first| Slot::new(dir, *first)).collect();
        if let Some(slot) = slots.first().filter(|slot| slot.first > start) {
            let what = format!("the entries from {start} to {} are missing", slot.first - 1);
            return Err(Failure::corruption(
                dir,
                &format!("{what} before {}", slot.path.display()),
            ));
        }
        let mut log = Self {
            row: Arc::new(Row {
                dir: dir.into(),
                slots: RwLock::new(slots.clone()),
                recent: Mutex::new(Vec::new()),
            }),
            options: options.clone(),
            active: None,
            start,
            end: start,
        };
        log.check(&slots, durable, &journaled)?;
        if log.end <= log.start && log.active.is_some() {
            log.end = log.start;
            log.drop_active()?;
        }
        for (index, record) in (journaled.first..).zip(&journaled.records) {
            if index == log.end {
                log.append(record)?;
            }
        }
        log.sync()?;
        Ok(log)
    }

    fn check(
        &mut self,
        slots: &[Arc<Slot>],
        durable: u64,
        journaled: &Journaled,
    ) -> Result<(), Failure> {
        let mut end = self.start;
        let mut torn = false;
        for (at, slot) in slots.iter().enumerate() {
            let Some(database) = slot.database()? else {
                continue;
            };
            let scan = database.scan(slot.first)?;
            end = scan.end;
            match slots.get(at + 1) {
                Some(next) if scan.end != next.first => {
                    let what = format!(
                        "entry {} is missing, and the log goes on with entry {}",
                        scan.end, next.first
                    );
                    return Err(Failure::corruption(&slot.path, &what));
                }
                Some(_) => {
                    drop(database);
                    slot.close();
                }
                None => {
                    torn = scan.torn;
                    self.active = Some(Active {
                        first: slot.first,
                        database,
                        bytes: scan.bytes,
                    });
                }
            }
        }
        self.end = end;
        let last = slots.last().map_or(&self.row.dir, |slot| &slot.path);
        let from = end.max(self.start);
        let more = journaled.end() > from;
        if more && journaled.first > from {
            let what = format!(
                "the log ends before entry {from}, and the journal goes on with entry {}",
                journaled.first
            );
            return Err(Failure::corruption(last, &what));
        }
        let reached = if more { journaled.end() } else { end };
        if durable > self.start && durable > reached {
            let path = match journaled.should_have(reached) {
                true => &journaled.path,
                false => last,
            };
            let what = format!(
                "the log ends before entry {reached}, and was durable up to entry {}",
                durable - 1
            );
            return Err(Failure::corruption(path, &what));
        }
        // What a power cut left of an entry that was never acknowledged, or that the journal has.
        if let Some(active) = self.active.as_ref().filter(|_| torn) {
            active.database.remove_from(end)?;
        }
        Ok(())
    }

    pub(crate) fn row(&self) -> Arc<Row> {
        self.row.clone()
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// One past the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Lets an empty log begin elsewhere.
    pub(crate) fn begin(&mut self, start: u64) -> Result<(), Failure> {
        self.drop_active()?;
        self.start = start;
        self.end = start;
        Ok(())
    }

    /// Adds the next entry; it is durable after [`Self::sync`].
    pub(crate) fn append(&mut self, record: &Bytes) -> Result<(), Failure> {
        let full = self.active.as_ref().is_none_or(|active| {
            active.bytes >= self.options.segment_bytes
                || self.end - active.first >= self.options.segment_entries
        });
        if full {
            self.roll()?;
        }
        let index = self.end;
        if let Some(active) = &mut self.active {
            active.database.insert(index, record)?;
            active.bytes += cost(record);
            self.end += 1;
        }
        Ok(())
    }

    /// Makes all that was appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        self.active
            .as_ref()
            .map_or(Ok(()), |active| active.database.flush())
    }

    /// Goes on with a new database; the one before is durable as a whole.
    fn roll(&mut self) -> Result<(), Failure> {
        self.sync()?;
        let slot = Slot::new(&self.row.dir, self.end);
        let database = slot.create()?;
        let before = self.row.edit(|slots| {
            slots.push(slot);
            slots.len().checked_sub(2).map(|at| slots[at].clone())
        });
        self.active = Some(Active {
            first: self.end,
            database,
            bytes: 0,
        });
        if let Some(before) = before {
            self.row.used(before);
        }
        tracing::debug!(first = self.end, "a new segment of the log");
        Ok(())
    }

    /// Removes all entries from `end` on, the last first. Durable on return.
    pub(crate) fn truncate(&mut self, end: u64) -> Result<(), Failure> {
        self.sync()?;
        let end = end.max(self.start);
        while let Some(active) = &self.active
            && self.end > end
        {
            if active.first >= end {
                self.end = active.first;
                self.drop_active()?;
            } else {
                active.database.remove_from(end)?;
                self.end = end;
            }
        }
        self.end = self.end.min(end);
        Ok(())
    }

    /// Removes the databases with nothing from `start` on.
    pub(crate) fn purge(&mut self, start: u64) -> Result<(), Failure> {
        self.sync()?;
        self.start = self.start.max(start);
        let all = self.end <= self.start;
        if all {
            self.end = self.start;
            self.active = None;
        }
        while let Some(old) = self.row.edit(|slots| {
            let done = slots.get(1).is_some_and(|second| second.first <= start);
            (done || all && !slots.is_empty()).then(|| slots.remove(0))
        }) {
            self.remove(&old)?;
        }
        Ok(())
    }

    /// Removes the last database, and goes on with the one before.
    fn drop_active(&mut self) -> Result<(), Failure> {
        self.active = None;
        let Some(last) = self.row.edit(Vec::pop) else {
            return Ok(());
        };
        self.remove(&last)?;
        if let Some(slot) = self.row.edit(|slots| slots.last().cloned())
            && let Some(database) = slot.database()?
        {
            let scan = database.scan(slot.first)?;
            self.active = Some(Active {
                first: slot.first,
                database,
                bytes: scan.bytes,
            });
        }
        Ok(())
    }

    fn remove(&self, slot: &Arc<Slot>) -> Result<(), Failure> {
        lock(&self.row.recent).retain(|other| !Arc::ptr_eq(other, slot));
        slot.remove()
    }
}
