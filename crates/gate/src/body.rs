//! Bodies that somebody looks after while they are taken.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// What comes of asking a body for its next part.
pub type Part = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// Looks after a body, for as long as there is one.
pub trait Watch: Unpin {
    /// A part was asked for: gives what comes of that, which may be something else.
    fn see(&mut self, cx: &mut Context<'_>, part: Part) -> Part;
}

/// A body, and what looks after it.
#[derive(Debug)]
pub struct Watched<B, W> {
    body: B,
    watch: W,
}

impl<B, W> Watched<B, W> {
    /// Has `watch` look after `body`.
    pub const fn new(body: B, watch: W) -> Self {
        Self { body, watch }
    }
}

impl<B, W> Body for Watched<B, W>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    W: Watch,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Part {
        let this = &mut *self;
        let part = Pin::new(&mut this.body).poll_frame(cx);
        let part = part.map(|part| part.map(|frame| frame.map_err(Into::into)));
        this.watch.see(cx, part)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
