//! Bodies of responses to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::wire::Wire;
use crate::{Body, BoxError};

pub(crate) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body without bytes which hyper does not know to be none, so that it writes an explicit `Content-Length: 0`.
pub(crate) fn no_bytes() -> Body {
    NoBytes.boxed_unsync()
}

pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(nothing());
    *response.status_mut() = status;
    response
}

/// A body that resets the client's connection when it fails, and keeps `held` as long as it lasts.
pub(crate) fn guarded<T: Send + Unpin + 'static>(body: Body, wire: Arc<Wire>, held: T) -> Body {
    Guarded {
        body,
        wire,
        _held: held,
    }
    .boxed_unsync()
}

/// A body that fails at the deadline, after calling `expired` once.
pub(crate) fn limited(body: Body, deadline: Option<Instant>, expired: impl FnOnce() + Send + Unpin + 'static) -> Body {
    match deadline {
        None => body,
        Some(deadline) => Timed {
            body,
            deadline: Box::pin(sleep_until(deadline)),
            expired: Some(expired),
        }
        .boxed_unsync(),
    }
}

struct Timed<F> {
    body: Body,
    deadline: Pin<Box<Sleep>>,
    expired: Option<F>,
}

impl<F: FnOnce() + Unpin> hyper::body::Body for Timed<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            self.expired.take().into_iter().for_each(|expired| expired());
            self.body = nothing();
            return Poll::Ready(Some(Err("the function ran out of time".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Guarded<T> {
    body: Body,
    wire: Arc<Wire>,
    _held: T,
}

impl<T: Unpin> hyper::body::Body for Guarded<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(frame, Some(Err(_))) {
            self.wire.reset();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct NoBytes;

impl hyper::body::Body for NoBytes {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}
