//! The client's side of the story: every request and what came of it, one JSON object a line, to be
//! compared with what the cluster knows.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use api::v1;
use serde::Serialize;

use super::calls::{Answer, Failed, Request};
use super::stats::{code_name, micros};
use crate::failure::Failure;

/// A file of requests and answers.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// The file, until a write fails; then why.
    file: Mutex<Result<BufWriter<File>, std::io::Error>>,
}

/// Who asked, and when: microseconds on a clock that begins with the load.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    pub holder: &'a str,
    pub epoch: u64,
    pub sent: Duration,
    pub answered: Duration,
}

#[derive(Serialize)]
struct Line<'a> {
    holder: &'a str,
    epoch: u64,
    seq: u64,
    request: RequestLine,
    #[serde(flatten)]
    outcome: OutcomeLine<'a>,
    sent_us: u64,
    answered_us: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum RequestLine {
    Take {
        region: String,
        wanted: u64,
    },
    Renew {
        lease_id: u64,
        kept: u64,
        wanted: u64,
    },
    Return {
        lease_id: u64,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeLine<'a> {
    /// The cluster acknowledged the request.
    Granted {
        lease_id: u64,
        slots: u64,
        target: u64,
        ttl_ms: u64,
    },
    /// The cluster acknowledged the return.
    Returned { slots: u64 },
    /// The try failed. Whether the request was carried out is known by a later line with the same
    /// number, and else by nobody here.
    Failed {
        code: &'static str,
        reason: Option<&'a str>,
        message: &'a str,
    },
}

impl Record {
    /// A new file, in the place of one that is there.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path)
            .map_err(|e| Failure::usage(format!("--record: can't write {path:?}: {e}")))?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(Ok(BufWriter::new(file))),
        })
    }

    /// Writes one request and what came of it.
    pub fn write(&self, sender: Sender<'_>, request: &Request, outcome: &Result<Answer, Failed>) {
        let (seq, request) = request_line(request);
        let line = Line {
            holder: sender.holder,
            epoch: sender.epoch,
            seq,
            request,
            outcome: outcome_line(outcome),
            sent_us: micros(sender.sent),
            answered_us: micros(sender.answered),
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(out) = file.as_mut()
            && let Err(error) = write_line(out, &line)
        {
            *file = Err(error);
        }
    }

    /// Writes what is still in memory. Fails where any line could not be written.
    pub fn finish(&self) -> Result<(), Failure> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = match file.as_mut() {
            Ok(out) => out.flush().map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        flushed.map_err(|e| {
            Failure::operation(format!(
                "can't write {:?}: {e}; the record is not complete",
                self.path
            ))
        })
    }
}

fn write_line(out: &mut BufWriter<File>, line: &Line<'_>) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn request_line(request: &Request) -> (u64, RequestLine) {
    match request {
        Request::Take(take) => (
            take.seq,
            RequestLine::Take {
                region: take.region.clone(),
                wanted: take.wanted,
            },
        ),
        Request::Renew(renew) => (
            renew.seq,
            RequestLine::Renew {
                lease_id: renew.lease_id,
                kept: renew.kept,
                wanted: renew.wanted,
            },
        ),
        // What it says of those who wait is no part of the record.
        Request::Report(report) => (
            report.seq,
            RequestLine::Renew {
                lease_id: report.lease_id,
                kept: report.kept,
                wanted: report.in_use + report.spare + users(report),
            },
        ),
        Request::Return(give_back) => (
            give_back.seq,
            RequestLine::Return {
                lease_id: give_back.lease_id,
            },
        ),
    }
}

/// Those who wait, by a report.
fn users(report: &v1::ReportRequest) -> u64 {
    let buckets = report.waiting.iter().flat_map(|class| &class.buckets);
    buckets.map(|bucket| bucket.users).sum()
}

fn outcome_line(outcome: &Result<Answer, Failed>) -> OutcomeLine<'_> {
    match outcome {
        Ok(Answer::Granted(grant)) => OutcomeLine::Granted {
            lease_id: grant.lease_id,
            slots: grant.slots,
            target: grant.target,
            ttl_ms: grant.ttl_ms,
        },
        Ok(Answer::Returned { slots }) => OutcomeLine::Returned { slots: *slots },
        Err(failed) => OutcomeLine::Failed {
            code: code_name(failed.code),
            reason: failed.reason.as_deref(),
            message: &failed.message,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1;

    #[test]
    fn every_line_is_a_json_object_that_tells_the_whole_call() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.jsonl");
        let record = Record::create(&path).unwrap();
        let sender = Sender {
            holder: "bench-1",
            epoch: 7,
            sent: Duration::from_micros(10),
            answered: Duration::from_micros(250),
        };
        let renew = Request::Renew(v1::RenewRequest {
            lease_id: 3,
            seq: 2,
            kept: 4,
            wanted: 5,
        });
        let grant = v1::Grant {
            lease_id: 3,
            slots: 4,
            target: 5,
            ttl_ms: 10_000,
            drift_ppm: 10_000,
        };
        record.write(sender, &renew, &Ok(Answer::Granted(grant)));
        record.write(sender, &renew, &Err(tonic::Status::unavailable("x").into()));
        record.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"holder\":\"bench-1\",\"epoch\":7,\"seq\":2,\
             \"request\":{\"renew\":{\"lease_id\":3,\"kept\":4,\"wanted\":5}},\
             \"granted\":{\"lease_id\":3,\"slots\":4,\"target\":5,\"ttl_ms\":10000},\
             \"sent_us\":10,\"answered_us\":250}\n\
             {\"holder\":\"bench-1\",\"epoch\":7,\"seq\":2,\
             \"request\":{\"renew\":{\"lease_id\":3,\"kept\":4,\"wanted\":5}},\
             \"failed\":{\"code\":\"UNAVAILABLE\",\"reason\":null,\"message\":\"x\"},\
             \"sent_us\":10,\"answered_us\":250}\n"
        );
    }

    #[test]
    fn a_file_that_cant_be_written_is_named() {
        let message = Record::create(Path::new("/no/such/dir/x")).unwrap_err();
        assert!(message.to_string().contains("\"/no/such/dir/x\""));
    }
}
