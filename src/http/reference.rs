//! The end of every error's detail: by it one request is found again.
//!
//! Entra's provisioning log prints a response's body and none of its headers, so the identifier stands in the text. A text
//! without it was not written by us.

use std::fmt;

use actix_web::{HttpMessage, HttpRequest, http::header::HeaderMap};
use data_encoding::HEXLOWER;

use crate::{ambient::Ambient, telemetry::Ids};

/// Trace and span of one request (W3C Trace Context §3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    trace: [u8; 16],
    span: [u8; 8],
    /// The span of whoever called.
    parent: Option<[u8; 8]>,
}

impl Reference {
    /// A new span, in the trace that the caller is in, if it says so.
    pub(super) fn new(headers: &HeaderMap, ambient: &dyn Ambient) -> Self {
        let secret = ambient.secret();
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&secret[..16]);
        span.copy_from_slice(&secret[16..24]);
        let parent = headers.get("traceparent").and_then(|value| parse(value.to_str().ok()?));
        Self {
            trace: parent.map_or(trace, |(trace, _)| trace),
            span,
            parent: parent.map(|(_, span)| span),
        }
    }

    /// The same for whoever tells of the request.
    pub(super) fn ids(&self) -> Ids {
        Ids {
            trace: self.trace,
            span: self.span,
            parent: self.parent,
        }
    }

    /// `<trace>-<span>` in hexadecimal digits.
    pub(super) fn id(&self) -> impl fmt::Display {
        format!("{}-{}", HEXLOWER.encode(&self.trace), HEXLOWER.encode(&self.span))
    }

    /// The one that the edge gave this request.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().copied()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference {}", self.id())
    }
}

/// Trace and span of a `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`; later versions may have more behind it. What its flags
/// say of sampling is not heeded: the Functions host says "not sampled" of all there is.
fn parse(text: &str) -> Option<([u8; 16], [u8; 8])> {
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    let &[version, trace, span, flags, ref rest @ ..] = parts.as_slice() else {
        return None;
    };
    let is_hex = |text: &str, bytes: usize| HEXLOWER.decode(text.as_bytes()).is_ok_and(|hex| hex.len() == bytes);
    let known = is_hex(version, 1) && version != "ff" && (rest.is_empty() || version != "00");
    let trace: [u8; 16] = HEXLOWER.decode(trace.as_bytes()).ok()?.try_into().ok()?;
    let span: [u8; 8] = HEXLOWER.decode(span.as_bytes()).ok()?.try_into().ok()?;
    (known && is_hex(flags, 1) && trace != [0; 16] && span != [0; 8]).then_some((trace, span))
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// W3C Trace Context §3.2.2.3.
    #[test]
    fn a_trace_is_taken_from_a_valid_parent_only() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (parent, valid) in [
            (format!("00-{trace}-00f067aa0ba902b7-01"), true),
            (format!("00-{trace}-00f067aa0ba902b7-00"), true),
            (format!("cc-{trace}-00f067aa0ba902b7-01-what-the-future-brings"), true),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), false),
            (format!("00-{}-00f067aa0ba902b7-01", &trace[1..]), false),
            (format!("00-{trace}"), false),
            (format!("00-{trace}-00f067aa0ba902b7"), false),
            (format!("00-{trace}-00f067aa0ba902b7-01-more"), false),
            (format!("zz-{trace}-00f067aa0ba902b7-01"), false),
            (format!("00-{trace}-0000000000000000-01"), false),
            (format!("00-{trace}-00f067aa0ba902bz-01"), false),
            (String::new(), false),
        ] {
            assert_eq!(parse(&parent).is_some(), valid, "{parent}");
        }
    }
}
