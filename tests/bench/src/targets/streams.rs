//! Préau by `Hold`: clients that share a stream, each with one request under way, as clients of Redis share a connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use api::v1;
use api::v1::hold_request::Request as Up;
use api::v1::hold_response::Response as Down;
use api::v1::lease_service_client::LeaseServiceClient;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::Status;

use super::nodes::Held;
use super::told;
use crate::connection::Connection;
use crate::load::{Client, Phase};

/// An answer; or why the stream has ended.
type Answer = Result<v1::HoldResponse, String>;

/// A client that makes a request of its own for each lease, on a stream.
pub struct Streamer {
    held: Held,
    requests: UnboundedSender<v1::HoldRequest>,
    answers: UnboundedReceiver<Answer>,
    /// Of the last request. What is left of it, divided by how many share the stream, is this client's place there.
    tag: u64,
    sharing: u64,
}

/// Clients that share one stream of this connection, for those leases.
pub fn share(client: LeaseServiceClient<Connection>, held: Vec<Held>) -> Vec<Streamer> {
    let sharing = held.len() as u64;
    let (requests, all_requests) = unbounded_channel();
    let streamer = |(tag, held)| {
        let (place, answers) = unbounded_channel();
        let requests = requests.clone();
        let streamer = Streamer {
            held,
            requests,
            answers,
            tag,
            sharing,
        };
        (place, streamer)
    };
    let (places, streamers) = (0..).zip(held).map(streamer).unzip();
    let requests = Together {
        requests: all_requests,
        put_off: false,
    };
    tokio::spawn(carry(client, requests, places));
    streamers
}

/// Requests, once all who are ready have added theirs: they go out in one frame.
struct Together {
    requests: UnboundedReceiver<v1::HoldRequest>,
    /// Those who are ready have had their turn.
    put_off: bool,
}

impl tokio_stream::Stream for Together {
    type Item = v1::HoldRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<v1::HoldRequest>> {
        if !self.put_off && !self.requests.is_empty() {
            self.put_off = true;
            // A task that wakes itself is run again once those have that are ready now.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let request = self.requests.poll_recv(cx);
        self.put_off &= request.is_ready();
        request
    }
}

/// Carries requests up, and hands out the answers, until the stream ends.
async fn carry(
    client: LeaseServiceClient<Connection>,
    requests: Together,
    places: Vec<UnboundedSender<Answer>>,
) {
    let ended = hand_out(client, requests, &places).await;
    let why = ended
        .err()
        .map_or("the stream has ended".into(), |e| told(&e));
    for place in places {
        // Whoever is gone needs to hear nothing.
        let _ = place.send(Err(why.clone()));
    }
}

async fn hand_out(
    mut client: LeaseServiceClient<Connection>,
    requests: Together,
    places: &[UnboundedSender<Answer>],
) -> Result<(), Status> {
    let mut answers = client.hold(requests).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        // A notice is nobody's.
        if answer.tag == 0 {
            continue;
        }
        let place = answer.tag % places.len() as u64;
        let _ = places[place as usize].send(Ok(answer));
    }
    Ok(())
}

impl Streamer {
    async fn exchange(&mut self, request: Up) -> Result<Down, String> {
        let gone = || "the stream has ended".to_owned();
        self.tag += self.sharing;
        let request = v1::HoldRequest {
            tag: self.tag,
            request: Some(request),
        };
        self.requests.send(request).map_err(|_| gone())?;
        loop {
            let answer = self.answers.recv().await.ok_or_else(gone)??;
            // One that came too late is for a request that was given up.
            if answer.tag == self.tag {
                return answer.response.ok_or_else(|| "an empty answer".into());
            }
        }
    }
}

impl Client for Streamer {
    async fn call(&mut self, phase: Phase) -> Result<u64, String> {
        let Some(request) = self.held.ask(phase) else {
            return Ok(0);
        };
        let answer = self.exchange(request).await?;
        self.held.settle(phase, answer).map(|()| 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::serve;
    use crate::targets::nodes::region;

    async fn two() -> [Streamer; 2] {
        let (address, _) = serve().await;
        let connection = Connection::open(&address.to_string()).await.unwrap();
        let held = ["a", "b"].map(|name| Held::new(name.into(), region(0)));
        let streamers = share(LeaseServiceClient::new(connection), held.into());
        streamers.try_into().ok().unwrap()
    }

    #[tokio::test]
    async fn answers_find_those_who_asked_in_whatever_order_they_come() {
        let [mut a, mut b] = two().await;
        for phase in [Phase::Grant, Phase::Keep] {
            for _ in 0..50 {
                let (first, second) = tokio::join!(a.call(phase), b.call(phase));
                assert_eq!((first, second), (Ok(1), Ok(1)));
            }
        }
        assert_eq!(a.tag, 200);
        let refused = Err("NO_LEASE: there is none".to_owned());
        let (first, second) = tokio::join!(a.call(Phase::Revoke), b.call(Phase::Revoke));
        assert_eq!((&first, &second), (&refused, &refused));
    }

    #[tokio::test]
    async fn a_late_answer_is_nobodys() {
        let [mut a, mut b] = two().await;
        let soon = std::time::Duration::from_millis(20);
        // Without the other's request there is no answer.
        let given_up = tokio::time::timeout(soon, a.call(Phase::Grant));
        assert!(given_up.await.is_err());
        assert_eq!(b.call(Phase::Grant).await, Ok(1));
        let (first, second) = tokio::join!(a.call(Phase::Grant), b.call(Phase::Grant));
        assert_eq!((first, second), (Ok(1), Ok(1)));
        assert!(a.answers.try_recv().is_err());
    }

    #[tokio::test]
    async fn all_who_share_a_stream_hear_why_it_ends() {
        let [mut a, mut b] = two().await;
        a.requests.send(v1::HoldRequest::default()).unwrap();
        let (first, second) = tokio::join!(a.call(Phase::Grant), b.call(Phase::Grant));
        let why = Err("Aborted: about nothing".to_owned());
        assert_eq!((&first, &second), (&why, &why));
        assert!(a.call(Phase::Grant).await.is_err());
    }
}
