//! Histories on disk.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use super::{FORMAT, Operation, Record, Use};

/// Why a history can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be read.
    #[error("history can't be read: {0}")]
    Io(#[from] io::Error),
    /// A line is no record.
    #[error("line {line}: not a record of a history: {why}; was the file cut short?")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: serde_json::Error,
    },
    /// A line says what can't be.
    #[error("line {line}: {field}: {value} given, expected {expected}")]
    Invalid {
        /// From 1.
        line: usize,
        /// The field.
        field: &'static str,
        /// The value given.
        value: String,
        /// What would have been right.
        expected: String,
    },
}

/// Reads a whole history; lines that are empty are passed over.
pub fn read(from: impl BufRead) -> Result<Vec<Record>, ReadError> {
    let mut records = Vec::new();
    for (at, line) in from.lines().enumerate() {
        let (line, at) = (line?, at + 1);
        if line.trim().is_empty() {
            continue;
        }
        let record =
            serde_json::from_str(&line).map_err(|why| ReadError::Line { line: at, why })?;
        check(&record, records.is_empty(), at)?;
        records.push(record);
    }
    if records.is_empty() {
        return Err(invalid(1, "record", "nothing", "a run"));
    }
    Ok(records)
}

/// Reads a whole history from a file.
pub fn read_file(path: &Path) -> Result<Vec<Record>, ReadError> {
    read(BufReader::new(File::open(path)?))
}

fn check(record: &Record, first: bool, line: usize) -> Result<(), ReadError> {
    match record {
        Record::Run(run) if !first => {
            Err(invalid(line, "record", run.by.as_str(), "one run alone"))
        }
        Record::Run(run) if run.format != FORMAT => {
            Err(invalid(line, "format", run.format, FORMAT))
        }
        Record::Run(_) => Ok(()),
        _ if first => Err(invalid(line, "record", "another", "the run first")),
        Record::Operation(Operation {
            invoke_ns,
            return_ns,
            ..
        }) if return_ns < invoke_ns => {
            let expected = format!("at least invoke_ns, {invoke_ns}");
            Err(invalid(line, "return_ns", return_ns, expected))
        }
        Record::Use(Use {
            at_ns, until_ns, ..
        }) if until_ns < at_ns => {
            let expected = format!("at least at_ns, {at_ns}");
            Err(invalid(line, "until_ns", until_ns, expected))
        }
        _ => Ok(()),
    }
}

fn invalid(
    line: usize,
    field: &'static str,
    value: impl ToString,
    expected: impl ToString,
) -> ReadError {
    ReadError::Invalid {
        line,
        field,
        value: value.to_string(),
        expected: expected.to_string(),
    }
}

/// Writes a history, a line for each record.
#[derive(Debug)]
pub struct Writer<W: Write>(W);

impl<W: Write> Writer<W> {
    /// Writes to `to`, which should be buffered.
    pub fn new(to: W) -> Self {
        Self(to)
    }

    /// Writes one record.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, record)?;
        self.0.write_all(b"\n")
    }

    /// Hands on all that was written, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Call, Moment, Run};
    use super::*;

    fn run() -> Record {
        Record::Run(Run {
            format: FORMAT,
            by: "test".into(),
            seed: 7,
            nodes: vec![1, 2, 3],
        })
    }

    fn operation(invoke_ns: u64, return_ns: u64) -> Record {
        Record::Operation(Operation {
            client: 1,
            invoke_ns,
            return_ns,
            call: Call::Return {
                pool: "ent".into(),
                lease: 1 << 20,
                seq: u64::MAX,
            },
            answer: Answer::Returned { slots: 3 },
        })
    }

    fn written(records: &[Record]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for record in records {
            writer.write(record).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let records = [run(), operation(1, 2), Record::Healed(Moment { at_ns: 3 })];
        assert_eq!(read(&*written(&records)).unwrap(), records);
    }

    #[test]
    fn bad_lines_are_named() {
        let why = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        let torn = written(&[run(), operation(1, 2)]);
        assert!(why(&torn[..torn.len() - 9]).starts_with("line 2: not a record of a history: EOF"));
        assert_eq!(why(b"\n"), "line 1: record: nothing given, expected a run");
        assert_eq!(
            why(&written(&[operation(1, 2)])),
            "line 1: record: another given, expected the run first"
        );
        assert_eq!(
            why(&written(&[run(), operation(2, 1)])),
            "line 2: return_ns: 1 given, expected at least invoke_ns, 2"
        );
        let newer = String::from_utf8(written(&[run()])).unwrap();
        let newer = newer.replace("\"format\":1", "\"format\":2");
        assert_eq!(why(newer.as_bytes()), "line 1: format: 2 given, expected 1");
        let unknown = br#"{"healed":{"at_ns":1,"of":2}}"#;
        assert!(why(unknown).contains("unknown field `of`"));
    }
}
