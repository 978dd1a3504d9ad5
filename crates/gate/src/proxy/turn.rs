//! Whose turn it is while a request goes to the portal: its sender's, who has more of the body to send, or the
//! portal's, which has to take what is there and to begin its answer. Only the portal's turns count against its time;
//! how long a sender may be silent is bounded where the body comes in.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use tokio::time::{Instant, sleep_until};

use crate::body::{Part, Watch, Watched};

/// One request's.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Since when it is the portal's turn; `None` while it is the sender's.
    since: Arc<Mutex<Option<Instant>>>,
}

impl Turn {
    /// The portal's: it has to take the connection and the head.
    pub fn portals() -> Self {
        Self {
            since: Arc::new(Mutex::new(Some(Instant::now()))),
        }
    }

    /// The request's body, which says whose turn it is.
    pub fn passing(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Watched::new(body, Passing(self.clone())))
    }

    /// Ends once a turn of the portal's has taken so long.
    pub async fn overdue(&self, within: Duration) {
        let mut due = Instant::now() + within;
        loop {
            sleep_until(due).await;
            let now = Instant::now();
            due = self.since().unwrap_or(now) + within;
            if due <= now {
                return;
            }
        }
    }

    fn since(&self) -> Option<Instant> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

#[derive(Debug)]
struct Passing(Turn);

impl Watch for Passing {
    fn see(&mut self, _: &mut Context<'_>, part: Part) -> Part {
        self.0.set(part.is_ready().then(Instant::now));
        part
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // Nobody waits for the sender any more.
        if self.0.since().is_none() {
            self.0.set(Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;
    use axum::body::HttpBody;
    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use hyper::body::Frame;
    use tokio::sync::mpsc;

    const WITHIN: Duration = Duration::from_secs(60);

    /// A body whose parts come when they come.
    struct Parts(mpsc::Receiver<Bytes>);

    impl HttpBody for Parts {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            let part = self.0.poll_recv(cx);
            part.map(|part| part.map(|part| Ok(Frame::data(part))))
        }
    }

    async fn overdue_after(turn: &Turn) -> u64 {
        let began = Instant::now();
        turn.overdue(WITHIN).await;
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_senders_time_is_not_the_portals() {
        let turn = Turn::portals();
        let (sender, parts) = mpsc::channel(1);
        let mut body = turn.passing(Body::new(Parts(parts)));
        tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(WITHIN * 9 / 10).await;
                sender.send("part".into()).await.unwrap();
            }
        });
        let taken = tokio::spawn(async move {
            while let Some(Ok(_)) = body.frame().await {}
            body
        });
        assert_eq!(overdue_after(&turn).await, 54 * 10 + 60);
        drop(taken.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_portal_that_takes_nothing_is_overdue_and_so_is_one_that_wants_no_more() {
        let turn = Turn::portals();
        let untaken = turn.passing("a body".into());
        assert_eq!(overdue_after(&turn).await, 60);
        drop(untaken);
        let turn = Turn::portals();
        let (_sender, parts) = mpsc::channel(1);
        let mut body = turn.passing(Body::new(Parts(parts)));
        let waited = tokio::time::timeout(2 * WITHIN, body.frame()).await;
        assert!(waited.is_err(), "nothing was sent");
        drop(body);
        assert_eq!(overdue_after(&turn).await, 60);
    }
}
