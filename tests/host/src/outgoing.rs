//! A request to the handler that can be made again as long as its body was not begun.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Request, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::BoxError;
use crate::activity::Activity;

/// A request to the handler.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    /// hyper keeps the spelling of header names here.
    pub(crate) extensions: Extensions,
    pub(crate) body: Arc<Source>,
}

/// The body of a request, which can be read once.
pub(crate) struct Source {
    length: Length,
    content: Mutex<Option<Content>>,
    has_begun: AtomicBool,
    is_written: AtomicBool,
    activity: Option<Arc<Activity>>,
    /// The most bytes a body of unknown length may have.
    limit: u64,
}

/// Where a body comes from.
pub(crate) enum Content {
    /// There is none.
    Empty,
    /// Read before.
    Whole(Bytes),
    /// Passed on as it comes.
    Stream(Incoming),
}

#[derive(Clone, Copy, PartialEq)]
enum Length {
    None,
    Known(u64),
    Unknown,
}

impl Outgoing {
    /// The request for one attempt; `None` when its body was consumed by an earlier one.
    pub(crate) fn request(&self) -> Option<Request<OutgoingBody>> {
        if self.has_begun_body() {
            return None;
        }
        self.body.is_written.store(false, Ordering::Release);
        let body = OutgoingBody {
            source: Arc::clone(&self.body),
            content: None,
            passed: 0,
            has_ended: false,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        Some(request)
    }

    pub(crate) fn has_begun_body(&self) -> bool {
        self.body.has_begun.load(Ordering::Acquire)
    }
}

impl Source {
    pub(crate) fn new(content: Content, activity: Option<Arc<Activity>>, limit: u64) -> Arc<Self> {
        let length = match &content {
            Content::Empty => Length::None,
            Content::Whole(bytes) => Length::Known(bytes.len() as u64),
            Content::Stream(_) => Length::Unknown,
        };
        Arc::new(Self {
            length,
            content: Mutex::new(Some(content)),
            has_begun: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
            activity,
            limit,
        })
    }
}

impl Source {
    /// Whether the newest attempt needs the body no more.
    pub(crate) fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Acquire)
    }

    fn take(&self) -> Option<Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body of one attempt. It takes its source's content with the first poll.
pub(crate) struct OutgoingBody {
    source: Arc<Source>,
    content: Option<Content>,
    passed: u64,
    has_ended: bool,
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        self.source.is_written.store(true, Ordering::Release);
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.source.has_begun.swap(true, Ordering::AcqRel) {
            let content = self.source.take();
            self.content = content;
        }
        let frame = match &mut self.content {
            None => Some(Err("the body was already consumed".into())),
            Some(Content::Empty) => None,
            Some(Content::Whole(bytes)) => {
                let bytes = std::mem::take(bytes);
                self.has_ended = true;
                (!bytes.is_empty()).then_some(Ok(Frame::data(bytes)))
            }
            Some(Content::Stream(incoming)) => {
                ready!(Pin::new(incoming).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
        };
        if let Some(Ok(frame)) = &frame {
            self.passed += frame.data_ref().map_or(0, |data| data.len() as u64);
            self.source.activity.iter().for_each(|activity| activity.touch());
        }
        if self.passed > self.source.limit {
            return Poll::Ready(Some(Err("Request body too large.".into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.length == Length::None || self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        match self.source.length {
            Length::None => SizeHint::with_exact(0),
            Length::Known(length) => SizeHint::with_exact(length - if self.has_ended { length } else { 0 }),
            Length::Unknown => SizeHint::default(),
        }
    }
}
