//! What a connection may hold up: one whose other end takes none of its answer, or sends none of a body that it has
//! announced, ends after a while, and so does a body for the gate itself that takes long as a whole. One that is silent because nobody has anything to say does not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

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

/// A request's body, each part of which comes within a time of being asked for.
#[derive(Debug)]
pub struct Fed {
    body: Incoming,
    stall: Stall,
}

impl Fed {
    /// `time` is how long each part may be waited for.
    pub fn new(body: Incoming, time: Duration) -> Self {
        let stall = Stall::new(time);
        Self { body, stall }
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(cx).map(Ok);
        match ready!(this.stall.watch(cx, frame)) {
            Ok(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body that has to be there as a whole within a time of first being asked for.
#[derive(Debug)]
pub struct Whole {
    body: axum::body::Body,
    time: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Whole {
    /// `time` is that.
    pub fn within(time: Duration, body: axum::body::Body) -> axum::body::Body {
        if body.is_end_stream() {
            return body;
        }
        axum::body::Body::new(Self {
            body,
            time,
            timer: None,
        })
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(this.time)));
        if timer.as_mut().poll(cx).is_ready() {
            let late: io::Error = io::ErrorKind::TimedOut.into();
            return Poll::Ready(Some(Err(late.into())));
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long the other end has been waited for. There is a timer from the first wait on only, which most connections
/// never have.
#[derive(Debug)]
struct Stall {
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

/// A body for tests that comes slowly.
#[cfg(test)]
pub mod slow {
    use super::*;
    use std::convert::Infallible;
    use tokio::time::{Interval, interval};

    /// So many parts of four bytes, with a pause after each.
    pub struct Slow(usize, Interval);

    impl Slow {
        /// As such a body.
        pub fn body(parts: usize, pause: Duration) -> axum::body::Body {
            axum::body::Body::new(Self(parts, interval(pause)))
        }
    }

    impl Body for Slow {
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
        let whole = |parts| Whole::within(TIME, slow::Slow::body(parts, TIME / 10)).collect();
        assert_eq!(whole(9).await.unwrap().to_bytes().len(), 36);
        let began = Instant::now();
        assert!(whole(1_000).await.is_err());
        assert_eq!(began.elapsed().as_secs(), TIME.as_secs());
    }
}
