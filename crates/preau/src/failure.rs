//! Why a command failed, and the exit code that says so to scripts.

use std::process::ExitCode;

use api::status::{Reason, TABLE};
use tonic::{Code, Status};

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    /// The reason of the status that it was, as the table of errors has it.
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing more to say, and nothing went wrong: whoever read our output has gone.
    Closed = 0,
    Operation = 1,
    Usage = 2,
    Unreachable = 3,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            reason: None,
        }
    }

    /// The operation was tried and failed.
    pub fn operation(message: impl Into<String>) -> Self {
        Self::new(Kind::Operation, message)
    }

    /// Flags or a file are wrong; nothing was tried.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// No node could be reached, or none could serve the call.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, message)
    }

    /// Stdout could not be written.
    pub fn stdout(error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::BrokenPipe => Kind::Closed,
            _ => Kind::Operation,
        };
        Self::new(kind, format!("can't write to stdout: {error}"))
    }

    /// Whether it is the error of this reason.
    pub fn is(&self, reason: Reason) -> bool {
        self.reason.as_deref() == Some(reason.row().name)
    }

    /// Says it on stderr, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if self.kind != Kind::Closed {
            eprintln!("error: {self}");
        }
        ExitCode::from(self.kind as u8)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let reason = client::reason(&status);
        let row = TABLE.iter().find(|row| Some(row.name) == reason.as_deref());
        // A connection that broke under the call: the status is made here, with its cause.
        let broken = row.is_none() && std::error::Error::source(&status).is_some();
        let code = if broken {
            Code::Unavailable
        } else {
            status.code()
        };
        let (kind, action) = match (code, row) {
            // A node was reached and has said what it is.
            (_, Some(row)) if matches!(row.reason, Reason::NoCluster | Reason::OutcomeUnknown) => {
                (Kind::Operation, row.action)
            }
            (Code::Unavailable | Code::DeadlineExceeded, row) => (
                Kind::Unreachable,
                row.map_or(
                    "No node answered in time: check that a majority of the nodes run, that --nodes or \
                     PREAU_NODES has their addresses, and that --tls-ca is given where they use TLS.",
                    |row| row.action,
                ),
            ),
            (_, Some(row)) => (Kind::Operation, row.action),
            (Code::Unimplemented, None) => (
                Kind::Operation,
                "The node does not know this call: it runs another version of preau.",
            ),
            (_, None) => (Kind::Operation, ""),
        };
        let said = said(&status);
        // A message that names a command to run needs no other advice.
        let action = if said.contains("preau ") { "" } else { action };
        let message = match (&reason, action) {
            (Some(reason), "") => format!("{said} [{reason}]"),
            (Some(reason), action) => format!("{said} [{reason}]\n{action}"),
            (None, "") => said,
            (None, action) => format!("{said}\n{action}"),
        };
        Self {
            kind,
            message,
            reason,
        }
    }
}

/// A status in words: its message, or its code and cause where the message is empty or of the transport.
fn said(status: &Status) -> String {
    let mut said = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_the_exit_code_that_scripts_expect() {
        let kind = |status: Status| Failure::from(status).kind;
        assert_eq!(kind(Status::unavailable("x")), Kind::Unreachable);
        assert_eq!(kind(Status::deadline_exceeded("x")), Kind::Unreachable);
        assert_eq!(kind(Status::not_found("x")), Kind::Operation);
        assert_eq!(kind(Status::invalid_argument("x")), Kind::Operation);
        let said = Failure::from(Status::not_found("pool \"x\" does not exist")).to_string();
        assert_eq!(said, "pool \"x\" does not exist");
    }
}
