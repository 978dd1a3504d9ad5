//! What a node lets in: so many requests at a time, each with its deadline, and none once it stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api::status::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::config::Limits;

/// Set on a call that another node has forwarded, so that it is never forwarded again.
pub(crate) const FORWARDED: &str = "preau-forwarded";
/// How long a caller waits before it tries a busy node again.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// The answer to a call whose time is up leaves this much earlier, so that the caller gets it and not
/// only the silence; or a tenth of its time where that is less.
const HEAD_START: Duration = Duration::from_millis(20);

/// The node's door.
#[derive(Debug)]
pub(crate) struct Gate {
    requests: Arc<Semaphore>,
    in_flight: u32,
    streams: Arc<Semaphore>,
    hold_streams: u64,
    longest: Duration,
    closed: watch::Sender<bool>,
}

/// A request that was let in, until it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    pub deadline: Instant,
    pub forwarded: bool,
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    pub fn new(limits: &Limits) -> Self {
        let in_flight = u32::try_from(limits.in_flight).unwrap_or(u32::MAX);
        let places = |count: u64| {
            let count = usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
        };
        Self {
            requests: places(u64::from(in_flight)),
            in_flight,
            streams: places(limits.hold_streams),
            hold_streams: limits.hold_streams,
            longest: Duration::from_millis(limits.request_ms),
            closed: watch::Sender::new(false),
        }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// Where as many are at work as may be, or the node stops.
    pub fn enter(&self, metadata: &MetadataMap) -> Result<Call, Status> {
        self.enter_with(metadata, 1)
    }

    /// Lets a call in that makes so many requests.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub fn enter_with(&self, metadata: &MetadataMap, requests: u32) -> Result<Call, Status> {
        self.check_open()?;
        let permit = Arc::clone(&self.requests)
            .try_acquire_many_owned(requests)
            .map_err(|_| {
                busy(
                    "in_flight",
                    u64::from(self.in_flight),
                    "requests are at work",
                )
            })?;
        let given = grpc_timeout(metadata)
            .unwrap_or(self.longest)
            .min(self.longest);
        Ok(Call {
            deadline: Instant::now() + given.saturating_sub(HEAD_START.min(given / 10)),
            forwarded: metadata.contains_key(FORWARDED),
            _permit: permit,
        })
    }

    /// For how many requests there is room now.
    pub fn room(&self) -> usize {
        self.requests.available_permits()
    }

    /// Lets a stream in, until the permit is dropped.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub fn enter_stream(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.check_open()?;
        Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_| busy("hold_streams", self.hold_streams, "streams are open"))
    }

    fn check_open(&self) -> Result<(), Status> {
        if *self.closed.borrow() {
            return Err(shutting_down());
        }
        Ok(())
    }

    /// Lets nothing in any more, and tells the streams to end.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Turns true when the node stops.
    pub fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Waits until no request is at work.
    pub async fn idle(&self) {
        // The semaphore is never closed.
        let _ = self.requests.acquire_many(self.in_flight).await;
    }
}

impl Call {
    /// Does the work, where there is time for it.
    ///
    /// # Errors
    /// Those of the work, and `DEADLINE_EXCEEDED`.
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let in_time = tokio::time::timeout_at(self.deadline, work).await;
        in_time.unwrap_or_else(|_| {
            let what =
                "the call's time is up; it may have been carried out: send it again as it was";
            Err(Reason::DeadlineExceeded.because(what).into())
        })
    }
}

pub(crate) fn shutting_down() -> Status {
    let what = "this node is being stopped; send the request to another";
    Reason::ShuttingDown.because(what).into()
}

fn busy(limit: &str, most: u64, what: &str) -> Status {
    Reason::TooBusy
        .because(format!("{most} {what}, as many as may be (limits.{limit})"))
        .with("limit", limit)
        .retry_after(BUSY_PAUSE)
        .into()
}

/// The caller's own bound: up to eight digits and a unit. What can't be read counts as not said.
fn grpc_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    fn metadata(timeout: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", timeout.parse().expect("ascii"));
        metadata
    }

    #[test]
    fn reads_the_callers_bound() {
        let read = |text: &str| grpc_timeout(&metadata(text));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1_500)));
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        for bad in ["", "S", "5", "-1S", "123456789n", "1é"] {
            assert_eq!(grpc_timeout_of(bad), None, "{bad:?}");
        }
    }

    fn grpc_timeout_of(text: &str) -> Option<Duration> {
        let value = tonic::metadata::MetadataValue::try_from(text.as_bytes().to_vec()).ok()?;
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", value);
        grpc_timeout(&metadata)
    }

    #[tokio::test]
    async fn over_the_bound_the_answer_is_busy_and_says_when_to_come_back() {
        let gate = Gate::new(&Limits {
            in_flight: 1,
            hold_streams: 1,
            ..Limits::default()
        });
        let call = gate.enter(&MetadataMap::new()).expect("the first");
        let refused = gate.enter(&MetadataMap::new()).expect_err("the second");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(
            refused.message(),
            "1 requests are at work, as many as may be (limits.in_flight)"
        );
        let pause = refused
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        assert_eq!(pause, Some(BUSY_PAUSE));
        drop(call);
        gate.enter(&MetadataMap::new())
            .expect("there is room again");

        let stream = gate.enter_stream().expect("the first");
        assert_eq!(
            gate.enter_stream().expect_err("the second").code(),
            Code::ResourceExhausted
        );
        drop(stream);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_when_its_time_is_up() {
        let gate = Gate::new(&Limits::default());
        let call = gate.enter(&metadata("1S")).expect("room");
        let began = Instant::now();
        let work = call.within(std::future::pending::<Result<(), Status>>());
        let status = work.await.expect_err("no end to it");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(began.elapsed(), Duration::from_secs(1) - HEAD_START);
    }

    #[tokio::test]
    async fn closing_lets_nothing_in_and_waits_for_what_is_at_work() {
        let gate = Gate::new(&Limits::default());
        let call = gate.enter(&MetadataMap::new()).expect("open");
        gate.close();
        for refused in [
            gate.enter(&MetadataMap::new()).expect_err("closed"),
            gate.enter_stream().expect_err("closed"),
        ] {
            assert_eq!(refused.code(), Code::Unavailable);
            let reason = refused.get_details_error_info().map(|info| info.reason);
            assert_eq!(reason.as_deref(), Some("SHUTTING_DOWN"));
        }
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, gate.idle()).await.is_err());
        drop(call);
        gate.idle().await;
    }
}
