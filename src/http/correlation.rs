//! How one request is found in several logs: the identifiers that others gave it are recorded, and ours goes back.

use std::fmt;

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};

use super::reference::Reference;
use crate::telemetry::Scope;

/// Who sends one and who gets one by what name, as Azure's services do (Microsoft Azure REST API Guidelines, "Distributed
/// Tracing & Telemetry"); they hold the Reference without its name.
pub(super) const OURS: [HeaderName; 2] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-ms-request-id"),
];

/// A client's own identifier, which it gets back as it is.
const ECHOED: [&str; 2] = ["client-request-id", "x-ms-client-request-id"];

/// Headers by which clients, proxies, Azure's front ends and the Functions host name a request, or say what they did to it.
/// No public document says which of them Entra sends.
///
/// With the attribute of the request's row; of several headers for one attribute the first that is there counts.
const RECORDED: [(&str, &str); 15] = [
    (ECHOED[0], "client_request_id"),
    (ECHOED[1], "client_request_id"),
    ("request-id", "edge.request_id"),
    ("x-request-id", "edge.x_request_id"),
    ("x-ms-request-id", "edge.x_ms_request_id"),
    ("x-ms-correlation-id", "edge.x_ms_correlation_id"),
    ("x-correlation-id", "edge.x_correlation_id"),
    ("traceparent", "edge.traceparent"),
    ("x-azure-functions-invocationid", "faas.invocation_id"),
    ("x-arr-log-id", "edge.x_arr_log_id"),
    ("x-azure-ref", "edge.x_azure_ref"),
    ("x-envoy-attempt-count", "edge.x_envoy_attempt_count"),
    ("x-envoy-expected-rq-timeout-ms", "edge.x_envoy_expected_rq_timeout_ms"),
    ("x-ms-coldstart", "faas.coldstart"),
    ("user-agent", "user_agent.original"),
];

/// Most characters of one that are recorded.
const MAX_CHARS: usize = 128;

/// What others call a request: `x-azure-ref=0Zq…, user-agent=…`.
#[derive(Clone, Debug)]
pub(super) struct Given(Vec<(&'static str, String)>);

impl Given {
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let given = RECORDED.into_iter().filter_map(|(name, _)| {
            // The host adds its own behind what a client sent by the same name.
            let value = headers.get_all(name).last()?;
            Some((name, plain(value)))
        });
        Self(given.collect())
    }

    /// The same as facts of the request's row.
    pub(super) fn note(&self, scope: &Scope) {
        for (name, value) in self.0.iter().rev() {
            let recorded = RECORDED.iter().find(|(header, _)| header == name);
            if let Some((_, attribute)) = recorded {
                scope.note(attribute, value.clone());
            }
        }
    }

    /// What the edge found of this request.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (name, value)) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

/// What of a header may stand in a log: a part of what identifiers are made of, whatever was sent.
fn plain(value: &HeaderValue) -> String {
    let bytes = value.as_bytes().iter().take(MAX_CHARS);
    bytes
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'/' | b'-' => char::from(*byte),
            _ => '_',
        })
        .collect()
}

/// Gives an answer our identifier, and the client its own.
pub(super) fn stamp<B>(response: &mut HttpResponse<B>, headers: &HeaderMap, reference: Reference) {
    let id = HeaderValue::from_str(&reference.id().to_string()).expect("hexadecimal digits and a hyphen");
    for name in OURS {
        response.headers_mut().insert(name, id.clone());
    }
    for name in ECHOED {
        let sound = headers
            .get(name)
            .filter(|value| plain(value).as_bytes() == value.as_bytes());
        if let Some(value) = sound {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::Given;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: &str) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(HeaderName::from_static(name), value);
        }
        assert_eq!(Given::new(&map).to_string(), expected);
    }

    #[test]
    fn what_identifies_a_request_is_recorded_and_nothing_else() {
        check(&[("authorization", "Bearer secret"), ("x-other", "1")], "");
        check(
            &[("x-azure-ref", "0aB-c_9.:/"), ("client-request-id", "7")],
            "client-request-id=7, x-azure-ref=0aB-c_9.:/",
        );
        check(&[("user-agent", "a b\"c@d,é=\t")], "user-agent=a_b_c_d_____");
        let long = "7".repeat(129);
        check(&[("request-id", &long)], &format!("request-id={}", &long[..128]));
        check(
            &[
                ("x-azure-functions-invocationid", "a-clients"),
                ("x-azure-functions-invocationid", "the-hosts"),
            ],
            "x-azure-functions-invocationid=the-hosts",
        );
    }
}
