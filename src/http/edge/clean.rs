//! What of an answer goes out: a whole body with one length or none, and headers that every proxy takes.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{self, BodySize, BoxBody, MessageBody},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};

/// Most header lines of an answer: 50 with `Cache-Control` and those of [`super::correlation`]. Envoy takes 100, with those that the protocol and other
/// proxies add.
const MAX_HEADER_LINES: usize = 50 - 5;
/// Most bytes of an answer's header lines. Envoy takes 60 KiB with HTTP/2 and 80 KiB with HTTP/1.1, others 16.
const MAX_HEADER_BYTES: usize = 15 * 1024;
/// Bytes of a body that an engine is given at a time: it copies them, or puts them into a queue.
const PIECE: usize = 32 * 1024;

/// What belongs to one connection (RFC 9110 §7.6.1) or frames a message: the edge's own business, and forbidden in HTTP/2
/// (RFC 9113 §8.2.2), where one such header ends all requests of a connection.
const OF_THE_CONNECTION: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What goes out before anything else where there is too much.
const FIRST: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    header::ETAG,
    header::ALLOW,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
];

/// Why there is nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The handler panicked.
    Panic,
    /// The HTTP framework made an error of its own, whose text is none of ours.
    Framework,
    /// No final status (RFC 9110 §15).
    Status(u16),
    /// The body would come in parts: what comes after the head can break off.
    Streamed,
}

impl Flaw {
    /// The `error.type` of the request's row.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Framework => "framework",
            Self::Status(_) => "no_final_status",
            Self::Streamed => "streamed",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.write_str("it panicked"),
            Self::Framework => f.write_str("the framework refused it"),
            Self::Status(status) => write!(f, "{status} is no final status"),
            Self::Streamed => f.write_str("its body is a stream"),
        }
    }
}

/// The answer that goes out. Nothing of the old one is left but status, sound headers and the bytes of its body.
pub(super) fn answer<B: MessageBody>(response: HttpResponse<B>) -> Result<HttpResponse, Flaw> {
    if response.error().is_some() {
        return Err(Flaw::Framework);
    }
    let (head, body) = response.into_parts();
    let status = head.status();
    if !(200..600).contains(&status.as_u16()) {
        return Err(Flaw::Status(status.as_u16()));
    }
    let has_body = has_body(status);
    // A body that nobody will see may be endless.
    let bytes = if has_body {
        body.try_into_bytes().map_err(|_| Flaw::Streamed)?
    } else {
        Bytes::new()
    };
    let mut clean = HttpResponse::build(status);
    for (name, value) in sound(head.headers(), !bytes.is_empty()) {
        clean.append_header((name, value));
    }
    if !has_body && status != StatusCode::RESET_CONTENT {
        let clean = clean.message_body(body::None::new());
        return Ok(clean.expect("the headers are sound").map_into_boxed_body());
    }
    Ok(clean.body(pieces(bytes)))
}

/// Whether an answer with this status has content (RFC 9110 §6.4.1, §15.3.6).
fn has_body(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// A whole body in pieces, so that most of it stays here until its client takes it.
pub(super) fn pieces(bytes: Bytes) -> BoxBody {
    BoxBody::new(Pieces(bytes))
}

struct Pieces(Bytes);

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = self.0.len().min(PIECE);
        Poll::Ready((piece > 0).then(|| Ok(self.0.split_to(piece))))
    }
}

/// The headers that go out. One that is left out makes an answer poorer; one too many, or with a byte that a proxy
/// refuses, takes it away.
fn sound(headers: &HeaderMap, has_body: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut left = (MAX_HEADER_LINES, MAX_HEADER_BYTES);
    let mut sound = Vec::new();
    let mut given: Vec<_> = headers.iter().collect();
    given.sort_by_key(|(name, _)| !FIRST.contains(name));
    for (name, value) in given {
        if OF_THE_CONNECTION.contains(name) || !has_body && name == header::CONTENT_TYPE {
            continue;
        }
        // `name: value` and the end of the line.
        let bytes = name.as_str().len() + value.len() + 4;
        if left.0 == 0 || left.1 < bytes || !is_text(value) {
            tracing::error!(%name, "a header was left out: it is too many or too long, or its value is not plain text");
            continue;
        }
        left = (left.0 - 1, left.1 - bytes);
        sound.push((name.clone(), value.clone()));
    }
    sound
}

/// Visible ASCII, spaces and tabs: .NET's server refuses whatever else RFC 9110 §5.5 leaves open.
fn is_text(value: &HeaderValue) -> bool {
    value.to_str().is_ok()
}
