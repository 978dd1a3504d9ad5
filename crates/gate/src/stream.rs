//! What a connection may hold up: one whose other end takes none of its answer, or sends none of a body that it has
//! announced, ends after a while, and so does a body for the gate itself that takes long as a whole. One that is silent because nobody has anything to say does not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::body::{Part, Watch, Watched};

/// A connection, and something that is kept as long as it is: whatever it is upgraded to.
#[derive(Debug)]
pub struct Held<S, K> {
    stream: S,
    stall: Stall,
    _kept: K,
}

impl<S, K> Held<S, K> {
    /// `time` is how long the other end may take nothing of what it is sent.
    pub fn new(stream: S, time: Duration, kept: K) -> Self {
        Self {
            stream,
            stall: Stall::new(time),
            _kept: kept,
        }
    }

    /// The connection.
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin, K: Unpin> AsyncRead for Held<S, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, K: Unpin> AsyncWrite for Held<S, K> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let wrote = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.stall.watch(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.stall.watch(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.stall.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.stall.watch(cx, shut)
    }
}

/// A request's body, each part of which comes within `time` of being asked for.
pub const fn fed(body: Incoming, time: Duration) -> Watched<Incoming, Stall> {
    Watched::new(body, Stall::new(time))
}

/// A request's body that has to be there as a whole within `time` of first being asked for.
pub fn whole(body: Body, time: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let timer = None;
    Body::new(Watched::new(body, Whole { time, timer }))
}

#[derive(Debug)]
struct Whole {
    time: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watch for Whole {
    fn see(&mut self, cx: &mut Context<'_>, part: Part) -> Part {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.time)));
        match timer.as_mut().poll(cx) {
            Poll::Pending => part,
            Poll::Ready(()) => {
                let late: io::Error = io::ErrorKind::TimedOut.into();
                Poll::Ready(Some(Err(late.into())))
            }
        }
    }
}

/// How long the other end has been waited for. There is a timer from the first wait on only, which most connections
/// never have.
#[derive(Debug)]
pub struct Stall {
    time: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Stall {
    const fn new(time: Duration) -> Self {
        Self {
            time,
            timer: None,
            waits: false,
        }
    }

    /// Gives up what has been pending for too long.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waits = false;
            return outcome;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.time)));
        if !self.waits {
            self.waits = true;
            timer.as_mut().reset(Instant::now() + self.time);
        }
        ready!(timer.as_mut().poll(cx));
        self.waits = false;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Watch for Stall {
    fn see(&mut self, cx: &mut Context<'_>, part: Part) -> Part {
        match ready!(self.watch(cx, part.map(Ok))) {
            Ok(part) => Poll::Ready(part),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}

/// A body for tests that comes slowly.
#[cfg(test)]
pub mod slow {
    use super::*;
    use std::convert::Infallible;

    use axum::body::HttpBody;
    use bytes::Bytes;
    use hyper::body::Frame;
    use tokio::time::{Interval, interval};

    /// So many parts of four bytes, with a pause after each.
    pub struct Slow(usize, Interval);

    impl Slow {
        /// As such a body.
        pub fn body(parts: usize, pause: Duration) -> Body {
            Body::new(Self(parts, interval(pause)))
        }
    }

    impl HttpBody for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.0 == 0 {
                return Poll::Ready(None);
            }
            ready!(self.1.poll_tick(cx));
            self.0 -= 1;
            Poll::Ready(Some(Ok(Frame::data("part".into()))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    const TIME: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_who_is_slow_is_not() {
        let (mut near, far) = duplex(16);
        let mut far = Held::new(far, TIME, ());
        let sent = tokio::spawn(async move { far.write_all(&[0; 64]).await });
        for _ in 0..3 {
            tokio::time::sleep(TIME * 9 / 10).await;
            assert_eq!(near.read_exact(&mut [0; 16]).await.unwrap(), 16);
        }
        assert!(sent.await.unwrap().is_ok());
        let (near, far) = duplex(16);
        let mut far = Held::new(far, TIME, ());
        let began = Instant::now();
        let error = far.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), TIME.as_secs());
        drop(near);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_no_stall_and_what_is_kept_goes_with_the_stream() {
        let (mut near, far) = duplex(16);
        let kept = Arc::new(());
        let mut far = Held::new(far, TIME, Arc::clone(&kept));
        let heard = tokio::spawn(async move { far.read_u8().await.map(|byte| (byte, far)) });
        tokio::time::sleep(TIME * 100).await;
        near.write_u8(7).await.unwrap();
        let (byte, far) = heard.await.unwrap().unwrap();
        assert_eq!((byte, Arc::strong_count(&kept)), (7, 2));
        drop(far);
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_has_to_be_whole_is_so_in_time_or_not_at_all() {
        use http_body_util::BodyExt as _;
        let whole = |parts| whole(slow::Slow::body(parts, TIME / 10), TIME).collect();
        assert_eq!(whole(9).await.unwrap().to_bytes().len(), 36);
        let began = Instant::now();
        assert!(whole(1_000).await.is_err());
        assert_eq!(began.elapsed().as_secs(), TIME.as_secs());
    }
}
