//! Many small writes made into one.
//!
//! HTTP/2 flushes each time that it is woken. Where an entry of the log answers dozens of requests, their tasks are
//! woken together, and each wakes the connection for a few bytes: a system call for each, and a reader woken for each.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};

/// A stream that puts off each flush once, until whatever is ready already has run and may have added to it.
#[derive(Debug)]
pub struct Gathered<S: AsyncWrite + Unpin> {
    stream: BufWriter<S>,
    /// The flush under way has been put off.
    put_off: bool,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Gathers what is written to `stream`.
    pub fn new(stream: S) -> Self {
        Self {
            stream: BufWriter::new(stream),
            put_off: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> Drop for Gathered<S> {
    /// TLS says why it refuses a peer in a last record that it writes and does not flush: what goes out at once does.
    fn drop(&mut self) {
        if !self.stream.buffer().is_empty() {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut self.stream).poll_flush(&mut cx);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.put_off && !self.stream.buffer().is_empty() {
            self.put_off = true;
            // A task that wakes itself is run again once those have that are ready now.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.put_off = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Takes down each write by itself.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncRead for Writes {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(buf.into());
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_comes_before_a_flush_is_looked_at_again_goes_with_it() {
        let mut stream = Gathered::new(Writes::default());
        let mut cx = Context::from_waker(Waker::noop());
        for round in 1..=2 {
            for text in ["one ", "two "] {
                let written = Pin::new(&mut stream).poll_write(&mut cx, text.as_bytes());
                assert!(matches!(written, Poll::Ready(Ok(4))));
                let flushed = Pin::new(&mut stream).poll_flush(&mut cx);
                assert_eq!(flushed.is_ready(), text == "two ", "round {round}, {text}");
            }
            assert_eq!(stream.stream.get_ref().0.len(), round);
        }
        assert_eq!(stream.stream.get_ref().0, [b"one two ", b"one two "]);
    }

    #[test]
    fn where_there_is_nothing_to_write_nothing_is_put_off() {
        let mut stream = Gathered::new(Writes::default());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_ready());
        assert!(stream.stream.get_ref().0.is_empty());
    }

    #[tokio::test]
    async fn what_was_not_flushed_goes_out_at_the_end() {
        let (near, mut far) = tokio::io::duplex(100);
        let mut stream = Gathered::new(near);
        stream.write_all(b"no").await.expect("room for as much");
        drop(stream);
        let mut received = String::new();
        far.read_to_string(&mut received)
            .await
            .expect("an open stream");
        assert_eq!(received, "no");
    }

    #[tokio::test]
    async fn all_arrives_in_order_and_before_the_end() {
        let (near, mut far) = tokio::io::duplex(1_000);
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let all = sent.clone();
        let sender = tokio::spawn(async move {
            let mut stream = Gathered::new(near);
            // Below and above what is gathered.
            for piece in all.chunks(7).take(1_000).chain(all[7_000..].chunks(30_000)) {
                stream.write_all(piece).await?;
                if piece.len() > 7 {
                    stream.flush().await?;
                }
            }
            stream.shutdown().await
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received)
            .await
            .expect("an open stream");
        assert!(received == sent);
        assert!(matches!(sender.await, Ok(Ok(()))));
    }
}
