//! Where a store is used by a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tempfile::TempDir;

use crate::load::Kind;
use crate::trace::{self, Event};

/// What a worker is to do, in its environment.
pub const LOAD: &str = "STORE_TEST_LOAD";

/// A place for a store, its history beside it.
pub struct Place {
    pub root: TempDir,
    pub notes: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self {
            root: scratch(),
            notes: scratch(),
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub fn history(&self) -> PathBuf {
        self.notes.path().join("history")
    }

    /// The worker, to be run with `command` before it.
    pub fn worker(
        &self,
        command: Option<Command>,
        kind: Kind,
        seed: u64,
        from: u64,
        steps: u64,
    ) -> Child {
        let this = std::env::current_exe().unwrap();
        let mut command = match command {
            Some(mut command) => {
                command.arg(this);
                command
            }
            None => Command::new(this),
        };
        let kind = match kind {
            Kind::Short => "short",
            Kind::Long => "long",
        };
        let (dir, history) = (self.dir(), self.history());
        let load = format!(
            "{}\n{}\n{kind}\n{seed}\n{from}\n{steps}",
            dir.display(),
            history.display()
        );
        command.args(["--exact", "worker", "--ignored", "--nocapture", "--quiet"]);
        command
            .env(LOAD, load)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Makes a closed store one of the format before the journal.
    pub fn forget_journal(&self) {
        let (state, journal) = (self.dir().join("state"), self.dir().join("journal"));
        let mut bytes = fs::read(&state).unwrap();
        bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
        bytes.truncate(bytes.len() - 8 - 4);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend(crc.to_le_bytes());
        fs::write(state, bytes).unwrap();
        fs::remove_file(journal).unwrap();
    }

    /// Runs the worker to its end under strace.
    pub fn traced(&self, kind: Kind, seed: u64, from: u64, steps: u64) -> Vec<Event> {
        let trace = self.notes.path().join("trace");
        let status = self
            .worker(Some(trace::command(&trace)), kind, seed, from, steps)
            .wait();
        assert!(status.unwrap().success(), "the worker failed");
        let events = trace::read(&trace);
        fs::remove_file(trace).unwrap();
        events
    }
}

/// A directory in memory where there is one: what these tests look at is not this disk.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::new_in(memory).unwrap()
    } else {
        TempDir::new().unwrap()
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub fn same(a: &Path, b: &Path) {
    let names = |dir: &Path| {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(a), names(b), "in {}", b.display());
    for name in names(a) {
        let (a, b) = (a.join(&name), b.join(&name));
        if a.is_dir() {
            same(&a, &b);
        } else {
            assert!(
                fs::read(&a).unwrap() == fs::read(&b).unwrap(),
                "{} differs",
                b.display()
            );
        }
    }
}
