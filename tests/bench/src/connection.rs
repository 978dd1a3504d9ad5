//! A gRPC connection that takes as little as it can of the processors that the load and the servers share: a call goes
//! into HTTP/2 as it is, by no queue, task or timer of its own. Once it is lost, all calls fail.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use api::connect::Gathered;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{RecvStream, SendStream};
use http_body::{Body as _, Frame};
use preau::parts::Failure;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::http::uri::{Authority, Scheme, Uri};
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service, StdError};

/// How long a connection may take to come up.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Bytes that servers may send ahead: more than all answers to the calls under way.
const WINDOW: u32 = 8 << 20;
/// Calls at a time until the server has said how many it takes, which it does at once.
const CALLS_AT_FIRST: usize = 0;

/// A connection, which many may share. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    calls: SendRequest<Bytes>,
    server: Authority,
}

impl Connection {
    /// Connects to `address`, which is `host:port`.
    pub async fn open(address: &str) -> Result<Self, Failure> {
        let opened = tokio::time::timeout(CONNECT_WITHIN, Self::connect(address)).await;
        let opened =
            opened.unwrap_or_else(|_| Err(format!("not within {CONNECT_WITHIN:?}").into()));
        opened.map_err(|e| Failure::operation(format!("can't connect to {address}: {e}")))
    }

    async fn connect(address: &str) -> Result<Self, StdError> {
        let server = address.parse()?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (calls, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .initial_max_send_streams(CALLS_AT_FIRST)
            .handshake(Gathered::new(stream))
            .await?;
        // Why it ends is told by the calls that it ends.
        tokio::spawn(connection);
        Ok(Self { calls, server })
    }

    /// Begins a call.
    fn begin(
        &mut self,
        request: Request<Body>,
    ) -> Result<(h2::client::ResponseFuture, Up), StdError> {
        let (mut head, messages) = request.into_parts();
        let mut uri = head.uri.into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.server.clone());
        head.uri = Uri::from_parts(uri)?;
        let request = Request::from_parts(head, ());
        let (response, stream) = self.calls.send_request(request, false)?;
        Ok((response, Up(Some((messages, stream)))))
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Down>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, StdError>;

    /// Waits where the server has as many calls as it takes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.calls.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let begun = self.begin(request);
        Box::pin(async move {
            let (mut response, mut up) = begun?;
            let answered = poll_fn(|cx| {
                up.send(cx)?;
                Pin::new(&mut response).poll(cx).map_err(StdError::from)
            });
            Ok(answered.await?.map(|stream| Down { stream, up }))
        })
    }
}

/// What a call has yet to send, as long as there may be more. Whoever waits for the call's answers sends it, so that
/// it takes no task.
struct Up(Option<(Body, SendStream<Bytes>)>);

impl Up {
    /// Sends what is there: in one frame what comes at once, and its end with it. What the window has no room for is kept
    /// by the connection, which is little, as clients wait for answers.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), StdError> {
        let mut held = None;
        while let Some((messages, stream)) = &mut self.0 {
            let next = Pin::new(messages).poll_frame(cx);
            let over = matches!(next, Poll::Ready(None));
            if over || held.is_some() {
                let data = held.take().unwrap_or_default();
                // Where the server takes no more its answer says why.
                if stream.send_data(data, over).is_err() || over {
                    self.0 = None;
                }
            }
            match next {
                Poll::Ready(Some(frame)) => held = frame?.into_data().ok(),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(())
    }
}

/// What a call is answered.
pub struct Down {
    stream: RecvStream,
    up: Up,
}

impl http_body::Body for Down {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        self.up.send(cx)?;
        if let Some(data) = ready!(self.stream.poll_data(cx)) {
            let data = data?;
            self.stream.flow_control().release_capacity(data.len())?;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

#[cfg(test)]
pub mod tests;
