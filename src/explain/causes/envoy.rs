//! Texts that Envoy writes when it has no answer to pass on. Measured with Envoy 1.40 in 229 ways of failing; older wordings
//! from its source (`router.cc`, `resetReasonToString`).

use super::{ENTRA_RETRIES, MAYBE_DONE, MAYBE_PROCESSED, NOT_DONE, WAIT};
use crate::explain::{
    cause::{Author::Envoy, Cause, Reached, Sign, says},
    query::Query,
};

const OURS_OR_NOT: &str = "\
    Envoy stands before the service, or on the customer's way out: the text does not say which. Ask where it was seen. If only \
    Entra's log shows it and query 04 finds no request, the fault lies before the application.";
const LOOK_INTO: &str = "We are looking for the request, and at what stood between Entra and our application.";

/// Reasons that have a row of their own; any other one is `envoy-other`.
const REASONS: &[&str] = &[
    "reset reason: protocol error",
    "reset reason: connection termination",
    "connection failure",
    "reset reason: connection timeout",
    "reset reason: remote re",
    "reset reason: remote error with connect request",
    "reset reason: overflow",
    "reset reason: local re",
];

pub(in crate::explain) const CAUSES: &[Cause] = &[
    Cause {
        name: "envoy-protocol-error",
        author: Envoy,
        signs: &[
            says(&["reset reason: protocol error"]),
            says(&["upstream_reset_before_response_started{protocol_error"]),
        ],
        reached: Reached::Perhaps,
        means: "The proxy received bytes that are no valid answer in the HTTP version it was speaking: an invalid or half head, a \
                204 with a body or a length, both kinds of framing at once, HTTP/1.1 where HTTP/2 was agreed on (or the reverse), TLS's \
                own alerts where plain HTTP is spoken, \
                or HTTP/2's own PROTOCOL_ERROR. The request that shows it can be innocent: bytes left behind by the answer before \
                it on the same connection, or one bad answer among many on an HTTP/2 connection, fail it.",
        excludes: "Measured: never a slow server, a refused or closed connection, an idle connection that was just closed, a \
                   crash before the first byte, or a restart. Read in the source: nor a TLS handshake that fails, as with an expired \
                   certificate. Those read differently (503 \"connection termination\" or \"connection failure\", 504 \"upstream \
                   request timeout\").",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look whether the request reached the application (query 04), then what the same connection or instance answered \
               just before it: the culprit is the neighbour more often than the victim. Check every 204 for bytes behind its \
               head, and whether all hops agree on HTTP/1.1 or HTTP/2. A 409 on a create right after an empty look-up, or a 404 \
               on a first DELETE, is the same fault in disguise.",
        queries: &[Query::Around, Query::HostOnly, Query::Gaps, Query::Restarts],
        customer: [
            "A proxy between Microsoft Entra and our application could not read an answer; the text in your log is the proxy's, \
             not our application's.",
            "Your data is safe: the change was either completed or not begun, and Entra's next try finds out which.",
            WAIT,
        ],
    },
    Cause {
        name: "envoy-connection-termination",
        author: Envoy,
        signs: &[
            says(&["reset reason: connection termination"]),
            says(&["upstream_reset_before_response_started{connection_termination"]),
        ],
        reached: Reached::Perhaps,
        means: "The connection was closed before the first byte of an answer: the server closed an idle connection at the moment \
                it was used again, the process crashed or was ended, it answered early and closed with the body unread, or it \
                speaks TLS where the proxy does not.",
        excludes: "Not a malformed answer (that is 502 \"protocol error\"), and not a server that nobody listens on.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look for restarts at that time. If there were none, compare the server's keep-alive with the proxy's idle time-out: \
               the server must never be the one that closes first.",
        queries: &[Query::Around, Query::Restarts, Query::HostOnly],
        customer: [
            "The connection between a proxy and our application was closed before an answer came back.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "envoy-connection-failure",
        author: Envoy,
        signs: &[
            says(&["reset reason: remote connection failure"]),
            says(&["reset reason: local connection failure"]),
            says(&["reset reason: connection failure"]),
            says(&["upstream_reset_before_response_started{remote_connection_failure"]),
            says(&["upstream_reset_before_response_started{connection_failure"]),
        ],
        reached: Reached::No,
        means: "No connection came about: nothing listened (a start, a restart, a wrong port), or the TLS handshake failed; what \
                follows \"transport failure reason\" says which.",
        excludes: "No byte of the request was sent, so the application and its data are not at fault in this attempt.",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: "Look for restarts, scaling in and deployments at that time; with \"TLS_error\" at certificates and at http/https of \
               the target port.",
        queries: &[Query::Restarts, Query::Around],
        customer: [
            "For a moment nothing accepted connections behind a proxy in front of our application.",
            "This request was not processed, so nothing is half done.",
            WAIT,
        ],
    },
    Cause {
        name: "envoy-connection-timeout",
        author: Envoy,
        signs: &[says(&["reset reason: connection timeout"])],
        reached: Reached::No,
        means: "The proxy's attempt to connect was not answered in time: a machine that is gone or overloaded, or a firewall that \
                drops packets.",
        excludes: "Not a slow answer: no connection existed yet. (Read in Envoy's source, not measured.)",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: "Look at the health of instances and at network rules between the proxy and them.",
        queries: &[Query::Restarts, Query::Load],
        customer: [
            "A proxy in front of our application could not reach it in time.",
            "This request was not processed, so nothing is half done.",
            WAIT,
        ],
    },
    Cause {
        name: "envoy-remote-reset",
        author: Envoy,
        signs: &[
            says(&["reset reason: remote reset"]),
            says(&["reset reason: remote refused stream reset"]),
            says(&["reset reason: remote error with connect request"]),
            says(&["upstream_reset_before_response_started{remote_re"]),
        ],
        reached: Reached::Perhaps,
        means: "The server, speaking HTTP/2, gave up this one request (RST_STREAM or GOAWAY): it is shutting down, refuses more \
                streams, or its answer's head was too large. With \"refused stream\" it promises not to have begun.",
        excludes: "Not a malformed answer, and not HTTP/1.1 behind that proxy.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look for restarts at that time and for the server's limit of parallel streams.",
        queries: &[Query::Around, Query::Restarts],
        customer: [
            "A server behind a proxy gave up this request before it answered.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "envoy-overflow",
        author: Envoy,
        signs: &[
            says(&["reset reason: overflow"]),
            says(&["upstream_reset_before_response_started{overflow"]),
        ],
        reached: Reached::No,
        means: "The proxy's own circuit breaker: it has as many connections or waiting requests to the service as it is allowed.",
        excludes: "The application did not refuse anything: the request did not leave the proxy.",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: "Look for a burst, or for slow answers that keep connections occupied; then at the proxy's circuit breaker limits.",
        queries: &[Query::Load, Query::Around],
        customer: [
            "A proxy in front of our application had more requests than it may pass on at a time.",
            "This request was not processed, so nothing is half done.",
            WAIT,
        ],
    },
    Cause {
        name: "envoy-local-reset",
        author: Envoy,
        signs: &[says(&["reset reason: local re"])],
        reached: Reached::Perhaps,
        means: "The proxy gave up the request itself, for reasons of its own (a limit, a shutdown, a changed configuration).",
        excludes: "Not something the application answered.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: OURS_OR_NOT,
        queries: &[Query::Around],
        customer: [
            "A proxy between Microsoft Entra and our application gave up the request by itself.",
            LOOK_INTO,
            WAIT,
        ],
    },
    Cause {
        name: "envoy-timeout",
        author: Envoy,
        signs: &[says(&["upstream request timeout"])],
        reached: Reached::Perhaps,
        means: "No complete head of an answer came within the proxy's time (15 s unless set otherwise).",
        excludes: "Not a closed connection and not a malformed answer. scimgate answers 503 itself after its deadline.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look for slow requests and slow storage at that time, then for processes that fell silent. The proxy must wait longer \
               than scimgate's deadline (15 s unless set otherwise).",
        queries: &[Query::Load, Query::Around, Query::Restarts],
        customer: [
            "An answer took longer than a proxy in front of our application waits.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "envoy-buffer",
        author: Envoy,
        signs: &[says(&["exceeded request buffer limit while retrying upstream"])],
        reached: Reached::Perhaps,
        means: "A first attempt failed, and the body was too large for the proxy to keep for a second one.",
        excludes: "It does not say why the first attempt failed.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look what the first attempt met at that time; large bodies are usually groups with many members, or long texts.",
        queries: &[Query::Around, Query::Restarts],
        customer: [
            "A proxy in front of our application could not repeat a large request after a first attempt failed.",
            LOOK_INTO,
            WAIT,
        ],
    },
    Cause {
        name: "envoy-no-healthy-upstream",
        author: Envoy,
        signs: &[Sign::Says {
            all: &["no healthy upstream"],
            none: &["upstream connect error"],
        }],
        reached: Reached::No,
        means: "The proxy has no instance of the service that it believes to be healthy: none is running, or all fail its check.",
        excludes: "No instance was asked, so nothing was written. (Envoy's wording for the flag UH; not among what was measured.)",
        lost: NOT_DONE,
        entra: ENTRA_RETRIES,
        next: "Look whether any instance ran, and what the health check asks: scimgate's is /health/ready.",
        queries: &[Query::Restarts, Query::Around],
        customer: [
            "For a while no instance of our application was available behind a proxy.",
            "This request was not processed, so nothing is half done.",
            WAIT,
        ],
    },
    Cause {
        name: "envoy-other",
        author: Envoy,
        signs: &[Sign::Says {
            all: &["upstream connect error or disconnect/reset before headers"],
            none: REASONS,
        }],
        reached: Reached::Perhaps,
        means: "The proxy got no answer to pass on, for a reason that the text leaves out (old versions) or that is not known here.",
        excludes: "The application did not write this: it is the proxy's own text.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: OURS_OR_NOT,
        queries: &[Query::Around, Query::Restarts],
        customer: [
            "A proxy between Microsoft Entra and our application got no answer to pass on.",
            LOOK_INTO,
            WAIT,
        ],
    },
];
