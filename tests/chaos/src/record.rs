//! The history, as it comes in.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use check::history::{Answer, Call, FORMAT, Fault, Operation, Record, Run, Writer};

/// Takes records in, and writes them to a file as well.
pub struct Recorder {
    begun: Instant,
    kept: Mutex<Kept>,
}

struct Kept {
    records: Vec<Record>,
    /// None once it is finished.
    file: Option<Writer<BufWriter<File>>>,
    failed: Option<String>,
}

impl Recorder {
    /// Begins a history.
    pub fn new(path: &Path, seed: u64, nodes: Vec<u64>) -> Result<Self, String> {
        let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let recorder = Self {
            begun: Instant::now(),
            kept: Mutex::new(Kept {
                records: Vec::new(),
                file: Some(Writer::new(BufWriter::new(file))),
                failed: None,
            }),
        };
        recorder.push(Record::Run(Run {
            format: FORMAT,
            by: "chaos".into(),
            seed,
            nodes,
        }));
        Ok(recorder)
    }

    /// Nanoseconds since the beginning, on this machine's monotonic clock.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Adds a record.
    pub fn push(&self, record: Record) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let written = kept.file.as_mut().map(|file| file.write(&record));
        if let Some(Err(error)) = written {
            kept.failed = Some(error.to_string());
        }
        kept.records.push(record);
    }

    /// Adds a request that was sent at `invoke_ns` and has come to its end now.
    pub fn operation(&self, client: u64, invoke_ns: u64, call: Call, answer: Answer) {
        self.push(Record::Operation(Operation {
            client,
            invoke_ns,
            return_ns: self.now(),
            call,
            answer,
        }));
    }

    /// Adds the beginning or end of a fault.
    pub fn fault(&self, kind: &str, what: &str, begins: bool) {
        let at_ns = self.now();
        let (kind, what) = (kind.to_owned(), what.to_owned());
        self.push(Record::Fault(Fault {
            at_ns,
            kind,
            what,
            begins,
        }));
    }

    /// Whether anything that was sent after then was carried out.
    pub fn served_since(&self, at_ns: u64) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let operations = kept.records.iter().rev().filter_map(|record| match record {
            Record::Operation(operation) => Some(operation),
            _ => None,
        });
        operations
            .take_while(|operation| operation.return_ns >= at_ns)
            .any(|operation| operation.invoke_ns >= at_ns && operation.carried_out())
    }

    /// All records; the file has them too, and is complete.
    pub fn finish(&self) -> Result<Vec<Record>, String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &kept.failed {
            return Err(format!("the history can't be written: {why}"));
        }
        if let Some(file) = kept.file.take() {
            file.finish().map_err(|e| e.to_string())?;
        }
        Ok(kept.records.clone())
    }
}
