//! The host's own HTTP server: limits on the way in, rules on the way out.
//!
//! hyper parses and writes. Not imitated, because hyper's parser decides first: a header line that is no HTTP gets
//! hyper's own 400; a `#` in a request line ends the target; `<`, `>` and a grave accent in a target get 400; header
//! lines keep their spelling and repetition, but not the order of lines of different names; there is no minimum body
//! rate, and one time-out serves for idle connections and for slow request heads. On the way out, hyper drops a
//! `Content-Length` above 0 from a 304, and passes trailers only to a client that asked for them with `TE: trailers`.
//! The names of headers added by the host are written `Like-This`, whatever the real host's spelling.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::Body;
use crate::body::{empty, no_bytes, nothing};

/// Bytes of a request line with its CRLF (from memory).
const MAX_REQUEST_LINE: usize = 8 * 1024;

/// Bytes of all request header lines (from memory).
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Request header lines (from memory).
const MAX_HEADER_LINES: usize = 100;

/// More than any head Kestrel accepts, so that hyper leaves the answer to [`refusal`].
pub(crate) const PARSER_BUFFER: usize = 256 * 1024;

/// See [`PARSER_BUFFER`].
pub(crate) const PARSER_HEADER_LINES: usize = 256;

/// The status with which Kestrel refuses the request's head, if it does.
pub(crate) fn refusal<T>(request: &Request<T>) -> Option<StatusCode> {
    let line = request.method().as_str().len() + request.uri().to_string().len() + "  HTTP/1.1\r\n".len();
    if line > MAX_REQUEST_LINE {
        return Some(StatusCode::URI_TOO_LONG);
    }
    let headers = request.headers();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    if bytes > MAX_HEADER_BYTES || headers.len() > MAX_HEADER_LINES {
        return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    // One Host line, as RFC 9112 section 3.2 asks (from memory).
    let hosts = headers.get_all(header::HOST).iter().count();
    let may_lack_host = request.version() == http::Version::HTTP_10;
    (hosts > 1 || hosts == 0 && !may_lack_host).then_some(StatusCode::BAD_REQUEST)
}

/// Kestrel's answer to a head it refuses: no body, and the connection is closed.
pub(crate) fn refuse(status: StatusCode) -> Response<Body> {
    let mut response = empty(status);
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether Kestrel throws on writing this head: a header value that is not ASCII, or a length on a response that
/// cannot have content (from memory).
pub(crate) fn throws(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_no_content = status.is_informational() || matches!(status.as_u16(), 204 | 205);
    let length = headers.get(header::CONTENT_LENGTH);
    has_no_content && length.is_some_and(|length| length != "0")
        || headers.values().any(|value| !value.as_bytes().is_ascii())
}

/// What Kestrel does to every response it can write.
pub(crate) fn finish(response: &mut Response<Body>, method: &Method) {
    let status = response.status();
    let headers = response.headers_mut();
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    if !headers.contains_key(header::SERVER) {
        headers.insert(header::SERVER, HeaderValue::from_static("Kestrel"));
    }
    if *method == Method::HEAD || matches!(status.as_u16(), 204 | 205) {
        // Whatever the handler sent as a body is not written.
        *response.body_mut() = nothing();
    } else if status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = no_bytes();
    }
}
