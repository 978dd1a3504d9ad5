//! Every error that a call can end with, in one table: a gRPC status code, and a reason that stays the
//! same for programs to go by. The reason and its metadata travel as `google.rpc.ErrorInfo`, the field of
//! a bad request as `google.rpc.BadRequest`, and a pause that is asked for as `google.rpc.RetryInfo`.

use std::collections::HashMap;
use std::time::Duration;

use quota::Refusal;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "preau";

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Which error this is.
    pub reason: Reason,
    /// The reason of the `ErrorInfo`.
    pub name: &'static str,
    /// The status code.
    pub code: Code,
    /// Keys of the `ErrorInfo`'s metadata.
    pub metadata: &'static [&'static str],
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub action: &'static str,
}

macro_rules! table {
    ($($reason:ident $name:literal $code:ident [$($key:literal),*] $meaning:literal $action:literal;)+) => {
        /// Why a call failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each has its row in the table")]
        pub enum Reason {
            $($reason,)+
        }

        /// The table, in the order of [`Reason`].
        pub const TABLE: &[Row] = &[$(Row {
            reason: Reason::$reason,
            name: $name,
            code: Code::$code,
            metadata: &[$($key),*],
            meaning: $meaning,
            action: $action,
        },)+];
    };
}

table! {
    InvalidField "INVALID_FIELD" InvalidArgument ["field"]
        "A field has a value that can't be. The message names the field, the value and what was expected."
        "Correct the field; the same request will fail again.";
    NoSuchPool "NO_SUCH_POOL" NotFound ["pool"]
        "There is no pool of this name."
        "Correct the name, or make the pool: preau pool set.";
    NoSuchRegion "NO_SUCH_REGION" NotFound ["pool", "region"]
        "The pool has no region of this name."
        "Correct the name, or make the region: preau region set.";
    NoSuchHolder "NO_SUCH_HOLDER" NotFound ["holder"]
        "The holder has no lease, and had none in the last 15 minutes."
        "Look for its name: preau holder list.";
    NoSuchLease "NO_SUCH_LEASE" NotFound ["lease_id"]
        "The lease ended more than 15 minutes ago, or never was."
        "Take a new lease.";
    LeaseEnded "LEASE_ENDED" FailedPrecondition ["lease_id"]
        "The lease ran out or was returned. Its slots are no longer the holder's."
        "Stop using its slots and take a new lease.";
    LeaseClosing "LEASE_CLOSING" FailedPrecondition ["lease_id"]
        "The holder was removed or has started anew; this lease counts until it runs out."
        "Return it once its sessions have ended, or take a new lease.";
    StaleEpoch "STALE_EPOCH" FailedPrecondition ["current_epoch"]
        "The holder has started anew under a higher epoch."
        "Stop, where another instance has taken over; else take a lease with a higher epoch.";
    StaleSeq "STALE_SEQ" FailedPrecondition ["current_seq"]
        "A later request of this epoch has been carried out; the answer to this one is no longer known."
        "Go on with higher numbers, or take a lease with a higher epoch.";
    SeqReused "SEQ_REUSED" FailedPrecondition []
        "Another kind of request was carried out under this number."
        "Give each new request a higher number; keep it for retries only.";
    NominalsOverCapacity "NOMINALS_OVER_CAPACITY" FailedPrecondition ["pool"]
        "The slots guaranteed to a pool's regions would add up to more than its capacity."
        "Raise the capacity or lower nominals, in one request where both change.";
    FloorsOverCapacity "FLOORS_OVER_CAPACITY" FailedPrecondition ["pool"]
        "The slots guaranteed to a pool's regions and those set aside for floors would add up to more than its capacity."
        "Raise the capacity, or lower nominals or floors, in one request where several change.";
    LeaseReports "LEASE_REPORTS" FailedPrecondition ["lease_id"]
        "The holder of this lease reports who waits, and a renewal says nothing of that."
        "Report; or take a lease with a higher epoch, to renew that.";
    InUse "IN_USE" FailedPrecondition ["slots"]
        "A pool or region that is to go has slots out."
        "Set its capacity or ceiling to 0, wait until it has drained, then remove it.";
    TooMany "TOO_MANY" ResourceExhausted ["most"]
        "A bound of the budget is reached, such as the number of pools or leases."
        "Remove what is no longer needed; a retry alone does not help.";
    RevisionMismatch "REVISION_MISMATCH" Aborted ["current_revision"]
        "The budget has changed since it was read."
        "Read it again, decide again, and send that.";
    NotLeader "NOT_LEADER" Unavailable ["leader_id", "leader_address"]
        "This node does not lead and did not forward the call, which had been forwarded already."
        "Send the same request to the leader's address.";
    NoLeader "NO_LEADER" Unavailable []
        "No leader is known: an election is under way, or a majority of the nodes can't be reached."
        "Send the same request again, to any node; elections take about two seconds.";
    LeaderUnreachable "LEADER_UNREACHABLE" Unavailable ["leader_id"]
        "This node forwarded the call and got no answer. It may have been carried out."
        "Send the same request again, to any node: it has one effect.";
    NoCluster "NO_CLUSTER" Unavailable []
        "This node belongs to no cluster yet."
        "Make one (preau init), or add the node to one (preau member add).";
    OutcomeUnknown "OUTCOME_UNKNOWN" Unavailable []
        "Leadership changed under the call. It may have been carried out."
        "Send the same request again, to any node: it has one effect.";
    ShuttingDown "SHUTTING_DOWN" Unavailable []
        "This node is being stopped. The call was not carried out."
        "Send the same request to another node.";
    NodeStopped "NODE_STOPPED" Unavailable []
        "This node has stopped because it can't go on safely, such as on a full disk."
        "Send the same request to another node; the message and the node's log say what to mend.";
    TooBusy "TOO_BUSY" ResourceExhausted ["limit"]
        "The node has as much at work as it may. Nothing was carried out."
        "Wait as long as the RetryInfo says, with jitter, and send the same request again.";
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded []
        "The call's time was up before its answer. It may have been carried out."
        "Send the same request again: it has one effect.";
    NoSuchMember "NO_SUCH_MEMBER" NotFound ["node_id"]
        "The cluster has no member of this id."
        "Look at the members: preau member list.";
    MembershipRefused "MEMBERSHIP_REFUSED" FailedPrecondition []
        "The cluster or a node is not in a state for this change: it has a cluster already, lacks entries, is the only voter, or another change is under way. The message says which."
        "Do what the message says, and send the request again.";
    MemberUnreachable "MEMBER_UNREACHABLE" FailedPrecondition []
        "A node that the request names does not answer."
        "See that it runs and that its address is right, and send the request again.";
    NoCertificate "NO_CERTIFICATE" Unauthenticated []
        "The call needs a client certificate of the cluster's authority."
        "Give the caller a certificate that the node's ca signed.";
    Internal "INTERNAL" Internal []
        "The node met what should not be."
        "Report it with the node's log.";
}

impl Reason {
    /// Its row in the table.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// An error of this reason. `message` says what, in the case at hand.
    pub fn because(self, message: impl Into<String>) -> Error {
        Error {
            reason: self,
            message: message.into(),
            metadata: HashMap::new(),
            retry_after: None,
            violation: None,
        }
    }
}

/// A status in the making.
#[derive(Debug, Clone)]
pub struct Error {
    reason: Reason,
    message: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
    violation: Option<(String, String)>,
}

impl Error {
    /// Adds metadata for programs; the key is one of the row's.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        debug_assert!(self.reason.row().metadata.contains(&key), "{key}");
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Asks for a pause before the retry.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    fn violation(mut self, field: &str, description: String) -> Self {
        self.violation = Some((field.into(), description));
        self
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let row = error.reason.row();
        let mut details = ErrorDetails::with_error_info(row.name, DOMAIN, error.metadata);
        if let Some((field, description)) = error.violation {
            details.add_bad_request_violation(field, description);
        }
        if let Some(pause) = error.retry_after {
            details.set_retry_info(Some(pause));
        }
        Status::with_error_details(row.code, error.message, details)
    }
}

/// The refusal of a field that was found bad before the rules saw it.
pub fn invalid(field: &str, value: impl std::fmt::Display, expected: impl Into<String>) -> Refusal {
    Refusal::Invalid {
        field: field.into(),
        value: value.to_string(),
        expected: expected.into(),
    }
}

/// The status of a refusal by the rules.
pub fn refused(refusal: &Refusal) -> Status {
    let error = |reason: Reason| reason.because(refusal.to_string());
    match refusal {
        Refusal::Invalid {
            field,
            value,
            expected,
        } => error(Reason::InvalidField)
            .with("field", field)
            .violation(field, format!("{value} given, expected {expected}")),
        Refusal::NoSuchPool { pool } => error(Reason::NoSuchPool).with("pool", pool),
        Refusal::NoSuchRegion { pool, region } => error(Reason::NoSuchRegion)
            .with("pool", pool)
            .with("region", region),
        Refusal::NoSuchHolder { holder } => error(Reason::NoSuchHolder).with("holder", holder),
        Refusal::NoSuchLease { lease } => error(Reason::NoSuchLease).with("lease_id", lease),
        Refusal::LeaseEnded { lease } => error(Reason::LeaseEnded).with("lease_id", lease),
        Refusal::LeaseClosing { lease } => error(Reason::LeaseClosing).with("lease_id", lease),
        Refusal::StaleEpoch { current, .. } => {
            error(Reason::StaleEpoch).with("current_epoch", current)
        }
        Refusal::StaleSeq { current, .. } => error(Reason::StaleSeq).with("current_seq", current),
        Refusal::NominalsOverCapacity { pool, .. } => {
            error(Reason::NominalsOverCapacity).with("pool", pool)
        }
        Refusal::FloorsOverCapacity { pool, .. } => {
            error(Reason::FloorsOverCapacity).with("pool", pool)
        }
        Refusal::LeaseReports { lease } => error(Reason::LeaseReports).with("lease_id", lease),
        // What is due is proposed by nodes alone, which read the calendar before.
        Refusal::NoSuchEntry { .. } => error(Reason::Internal),
        Refusal::InUse { slots, .. } => error(Reason::InUse).with("slots", slots),
        Refusal::TooMany { most, .. } => error(Reason::TooMany).with("most", most),
        Refusal::RevisionMismatch { current, .. } => {
            error(Reason::RevisionMismatch).with("current_revision", current)
        }
    }
    .into()
}

/// A status as the answer to one request of a stream.
pub fn failure(status: &Status) -> v1::HoldFailure {
    let info = status.get_details_error_info();
    let pause = status
        .get_details_retry_info()
        .and_then(|retry| retry.retry_delay);
    let epoch = info
        .as_ref()
        .and_then(|info| info.metadata.get("current_epoch")?.parse().ok());
    v1::HoldFailure {
        code: status.code().into(),
        message: status.message().into(),
        reason: info.map(|info| info.reason).unwrap_or_default(),
        retry_after_ms: pause.map_or(0, |pause| {
            u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
        }),
        current_epoch: epoch.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use quota::LeaseId;

    use super::*;

    /// One of each; the compiler sees to it in [`refused`], and this list to the rest.
    fn refusals() -> Vec<(Refusal, &'static str)> {
        let (pool, region, holder) = (
            String::from("ent"),
            String::from("normandie"),
            String::from("h"),
        );
        let lease = LeaseId(7);
        vec![
            (invalid("seq", 0, "at least 1"), "INVALID_FIELD"),
            (Refusal::NoSuchPool { pool: pool.clone() }, "NO_SUCH_POOL"),
            (
                Refusal::NoSuchRegion {
                    pool: pool.clone(),
                    region,
                },
                "NO_SUCH_REGION",
            ),
            (Refusal::NoSuchHolder { holder }, "NO_SUCH_HOLDER"),
            (Refusal::NoSuchLease { lease }, "NO_SUCH_LEASE"),
            (Refusal::LeaseEnded { lease }, "LEASE_ENDED"),
            (Refusal::LeaseClosing { lease }, "LEASE_CLOSING"),
            (
                Refusal::StaleEpoch {
                    given: 1,
                    current: 2,
                },
                "STALE_EPOCH",
            ),
            (
                Refusal::StaleSeq {
                    given: 1,
                    current: 2,
                },
                "STALE_SEQ",
            ),
            (
                Refusal::NominalsOverCapacity {
                    pool,
                    nominals: 2,
                    capacity: 1,
                },
                "NOMINALS_OVER_CAPACITY",
            ),
            (
                Refusal::FloorsOverCapacity {
                    pool: "ent".into(),
                    nominals: 2,
                    floors: 1,
                    capacity: 2,
                },
                "FLOORS_OVER_CAPACITY",
            ),
            (Refusal::LeaseReports { lease }, "LEASE_REPORTS"),
            (
                Refusal::NoSuchEntry {
                    pool: "ent".into(),
                    entry: "opening".into(),
                },
                "INTERNAL",
            ),
            (
                Refusal::InUse {
                    what: "pool \"ent\"".into(),
                    slots: 3,
                    lower: "capacity".into(),
                },
                "IN_USE",
            ),
            (
                Refusal::TooMany {
                    what: "pools".into(),
                    most: 1_024,
                },
                "TOO_MANY",
            ),
            (
                Refusal::RevisionMismatch {
                    expected: 1,
                    current: 2,
                },
                "REVISION_MISMATCH",
            ),
        ]
    }

    #[test]
    fn the_table_is_complete_and_in_order() {
        let mut names = HashSet::new();
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.reason as usize, i);
            assert_eq!(row.reason.row().name, row.name);
            assert!(names.insert(row.name), "{} twice", row.name);
            assert!(row.meaning.ends_with('.') && row.action.ends_with('.'));
            let camel = format!("{:?}", row.reason).to_uppercase();
            assert_eq!(row.name.replace('_', ""), camel);
            assert_ne!(row.code, Code::Ok);
        }
    }

    #[test]
    fn every_refusal_has_its_row() {
        let mut seen = HashSet::new();
        for (refusal, name) in refusals() {
            let status = refused(&refusal);
            let row = TABLE
                .iter()
                .find(|row| row.name == name)
                .expect("in the table");
            assert_eq!(status.code(), row.code, "{name}");
            assert_eq!(status.message(), refusal.to_string());
            let info = status.get_details_error_info().expect("an ErrorInfo");
            assert_eq!((info.domain.as_str(), info.reason.as_str()), (DOMAIN, name));
            let mut keys: Vec<_> = info.metadata.keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, row.metadata, "{name}");
            assert!(
                seen.insert(std::mem::discriminant(&refusal)),
                "{name} twice"
            );
        }
        // The last row that is the rules' own: what follows is the node's.
        assert_eq!(seen.len(), 16);
    }

    #[test]
    fn a_bad_field_is_named_for_programs_too() {
        let status = refused(&invalid("changes[2].set_region.weight", 0, "1 to 1000000"));
        let violations = status
            .get_details_bad_request()
            .expect("a BadRequest")
            .field_violations;
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].field, "changes[2].set_region.weight");
        assert_eq!(violations[0].description, "0 given, expected 1 to 1000000");
    }

    #[test]
    fn a_busy_node_asks_for_a_pause() {
        let error = Reason::TooBusy.because("4,096 requests are at work");
        let status = Status::from(
            error
                .with("limit", 4_096)
                .retry_after(Duration::from_millis(50)),
        );
        assert_eq!(status.code(), Code::ResourceExhausted);
        let pause = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        assert_eq!(pause, Some(Duration::from_millis(50)));
    }

    #[test]
    fn a_stream_answers_with_what_the_call_would_have_ended_with() {
        let refusal = Refusal::StaleEpoch {
            given: 1,
            current: 2,
        };
        let failure = failure(&refused(&refusal));
        assert_eq!(failure.code, Code::FailedPrecondition as i32);
        assert_eq!(failure.message, refusal.to_string());
        assert_eq!(
            (failure.reason.as_str(), failure.current_epoch),
            ("STALE_EPOCH", 2)
        );
        assert_eq!(failure.retry_after_ms, 0);

        let busy = Reason::TooBusy
            .because("busy")
            .retry_after(Duration::from_millis(70));
        let failure = super::failure(&busy.into());
        assert_eq!(
            (failure.reason.as_str(), failure.retry_after_ms),
            ("TOO_BUSY", 70)
        );
    }

    /// A row as the book has it.
    fn in_the_book(row: &Row) -> String {
        let mut code = String::new();
        for letter in format!("{:?}", row.code).chars() {
            if letter.is_uppercase() && !code.is_empty() {
                code.push('_');
            }
            code.push(letter.to_ascii_uppercase());
        }
        let keys: Vec<String> = row.metadata.iter().map(|key| format!("`{key}`")).collect();
        format!(
            "| `{code}` | `{}` | {} | {} | {} |",
            row.name,
            keys.join(", "),
            row.meaning,
            row.action
        )
    }

    #[test]
    fn the_book_has_the_table() {
        const BOOK: &str = include_str!("../../../docs/src/errors.md");
        let head = "| --- | --- | --- | --- | --- |";
        let rows = BOOK.lines().skip_while(|line| *line != head).skip(1);
        let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
        let expected: Vec<String> = TABLE.iter().map(in_the_book).collect();
        assert_eq!(rows, expected);
    }
}
