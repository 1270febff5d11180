//! What of an answer goes out: a whole body with one length or none, and headers that every proxy takes.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse,
    body::{self, MessageBody},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use tokio::time::timeout;

/// Most header lines of an answer: 50 with those of [`super::correlation`]. Envoy takes 100, with those that the protocol and other
/// proxies add.
const MAX_HEADER_LINES: usize = 50 - 4;
/// Most bytes of an answer's header lines. Envoy takes 60 KiB with HTTP/2 and 80 KiB with HTTP/1.1, others 16.
const MAX_HEADER_BYTES: usize = 15 * 1024;
/// Most bytes of a body that a handler streams; ours are in memory already.
const MAX_STREAMED_BYTES: usize = 16 * 1024 * 1024;
/// How long a handler may stream.
const STREAM_TIME: Duration = Duration::from_secs(5);

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
    /// The handler panicked, or its body did.
    Panic,
    /// The HTTP framework made an error of its own, whose text is none of ours.
    Framework,
    /// No final status (RFC 9110 §15).
    Status(u16),
    /// The body ended with an error.
    BodyBroke,
    /// The body was longer than [`MAX_STREAMED_BYTES`].
    BodyTooLong,
    /// The body took longer than [`STREAM_TIME`].
    BodyLate,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.write_str("it panicked"),
            Self::Framework => f.write_str("the framework refused it"),
            Self::Status(status) => write!(f, "{status} is no final status"),
            Self::BodyBroke => f.write_str("its body broke off"),
            Self::BodyTooLong => write!(f, "its body has more than {MAX_STREAMED_BYTES} bytes"),
            Self::BodyLate => write!(f, "its body took more than {} s", STREAM_TIME.as_secs()),
        }
    }
}

/// The answer that goes out. Nothing of the old one is left but status, sound headers and the bytes of its body.
pub(super) async fn answer<B: MessageBody>(response: HttpResponse<B>) -> Result<HttpResponse, Flaw> {
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
    let bytes = if has_body { whole(body).await? } else { Bytes::new() };
    let mut clean = HttpResponse::build(status);
    for (name, value) in sound(head.headers(), !bytes.is_empty()) {
        clean.append_header((name, value));
    }
    if has_body || status == StatusCode::RESET_CONTENT {
        return Ok(clean.body(bytes));
    }
    Ok(clean
        .message_body(body::None::new())
        .expect("the headers are sound")
        .map_into_boxed_body())
}

/// Whether an answer with this status has content (RFC 9110 §6.4.1, §15.3.6).
fn has_body(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// All of a body, which is nearly always there already.
async fn whole(body: impl MessageBody) -> Result<Bytes, Flaw> {
    let body = match body.try_into_bytes() {
        Ok(bytes) => return Ok(bytes),
        Err(body) => body,
    };
    match timeout(STREAM_TIME, body::to_bytes_limited(body, MAX_STREAMED_BYTES)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_))) => Err(Flaw::BodyBroke),
        Ok(Err(_)) => Err(Flaw::BodyTooLong),
        Err(_) => Err(Flaw::BodyLate),
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
