//! The lease of the gate that ran here before, under the same name. A file that is locked for as long as a gate runs
//! says that nobody uses it any more: then the next one goes on with it, and with everybody who was in.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use client::{Life, Status};
use fs2::FileExt as _;

/// The file's first word: another format has another.
const FORMAT: &str = "preau-gate-1";
/// The file is as long as this, in bytes: it is written over in place, for the lock is on it.
const BYTES: usize = 64;

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LastLifeError {
    /// It can't be opened, read or locked.
    #[error("state: {path}: {why}; expected a file that can be written, of no other use")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        why: std::io::Error,
    },
    /// Another gate has it.
    #[error("state: {path}: another gate that runs has it; expected one file for each")]
    Taken {
        /// The file.
        path: String,
    },
    /// It is no such file.
    #[error("state: {path}: it is no gate's; expected an empty file, or none")]
    Foreign {
        /// The file.
        path: String,
    },
}

/// Keeps others out of the file for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: Arc<File>,
}

/// The file, locked.
#[derive(Debug)]
pub struct LastLife {
    file: Arc<File>,
    /// What the file says.
    life: Option<Life>,
}

impl LastLife {
    /// Opens the file, which is made where there is none, and keeps others out.
    ///
    /// # Errors
    /// Where it can't be used, or another gate uses it.
    pub fn open(path: &Path) -> Result<Self, LastLifeError> {
        let shown = path.display().to_string();
        let unusable = |why| LastLifeError::Unusable {
            path: shown.clone(),
            why,
        };
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let file = file.map_err(unusable)?;
        if let Err(why) = file.try_lock_exclusive() {
            return Err(match why.kind() == fs2::lock_contended_error().kind() {
                true => LastLifeError::Taken { path: shown },
                false => unusable(why),
            });
        }
        let mut bytes = Vec::new();
        let read = (&file).take(BYTES as u64 + 1).read_to_end(&mut bytes);
        read.map_err(unusable)?;
        let life = parse(&bytes).map_err(|Foreign| LastLifeError::Foreign { path: shown })?;
        let file = Arc::new(file);
        Ok(Self { file, life })
    }

    /// The lock by itself.
    pub fn lock(&self) -> Lock {
        let _file = Arc::clone(&self.file);
        Lock { _file }
    }

    /// The last life that had a lease.
    pub fn life(&self) -> Option<Life> {
        self.life
    }

    /// Notes this life's lease for the next.
    pub fn note(&mut self, status: Status) {
        let Status {
            lease_id, epoch, ..
        } = status;
        let life = Life { lease_id, epoch };
        if lease_id == 0 || self.life == Some(life) {
            return;
        }
        match self.write(life) {
            Ok(()) => self.life = Some(life),
            Err(error) => tracing::warn!(%error, "state: the lease can't be noted"),
        }
    }

    fn write(&self, life: Life) -> std::io::Result<()> {
        let text = format!("{FORMAT} {} {}", life.lease_id, life.epoch);
        let line = format!("{text:<width$}\n", width = BYTES - 1);
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(line.as_bytes())
    }
}

/// Of another use.
#[derive(Debug, PartialEq, Eq)]
struct Foreign;

/// What a file says. One that the machine left half written when it stopped says nothing: its lease runs out by itself.
fn parse(bytes: &[u8]) -> Result<Option<Life>, Foreign> {
    let text = std::str::from_utf8(bytes).map_err(|_| Foreign)?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let mut words = text.split(' ');
    let format = words.next().unwrap_or_default();
    let numbers: Result<Vec<u64>, _> = words.map(str::parse).collect();
    match (format, numbers.as_deref()) {
        (FORMAT, Ok(&[lease_id, epoch])) => Ok(Some(Life { lease_id, epoch })),
        (FORMAT, Ok([] | [_])) => Ok(None),
        (cut, Ok([])) if FORMAT.starts_with(cut) => Ok(None),
        _ => Err(Foreign),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lease_id: u64, epoch: u64) -> Status {
        Status {
            lease_id,
            epoch,
            ..Status::default()
        }
    }

    #[test]
    fn one_gate_at_a_time_has_the_file_and_the_next_reads_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut first = LastLife::open(&path).unwrap();
        assert_eq!(first.life(), None);
        first.note(of(u64::MAX, u64::MAX));
        first.note(of(8, 9));
        first.note(of(0, 9));
        let lock = first.lock();
        drop(first);
        let taken = LastLife::open(&path);
        assert!(matches!(taken, Err(LastLifeError::Taken { .. })));
        drop(lock);
        let (lease_id, epoch) = (8, 9);
        let life = LastLife::open(&path).unwrap().life();
        assert_eq!(life, Some(Life { lease_id, epoch }));
    }

    #[test]
    fn a_file_that_was_cut_off_by_a_power_failure_says_nothing() {
        for text in [
            "",
            "\n",
            "\0\0\0\0",
            "preau",
            "preau-gate-1",
            "preau-gate-1 12",
            "preau-gate-1 12\0\0",
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn a_file_of_some_other_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let long = "a".repeat(1_000);
        for text in [
            "keys",
            "preau-gate-2 1 2",
            "preau-gate-1 1 2 3",
            "preau-gate-1 a 2",
            "p 1",
            &long,
        ] {
            std::fs::write(&path, text).unwrap();
            let opened = LastLife::open(&path);
            assert!(
                matches!(opened, Err(LastLifeError::Foreign { .. })),
                "{text}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(LastLife::open(&path).is_err());
    }
}
