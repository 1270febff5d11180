//! Of connections, TLS and HTTP/2.

use super::row;
use crate::doctor::fault::{
    Effect, Entry, Fault,
    Severity::{Error, Note},
};

pub(in crate::doctor) const ENTRIES: &[Entry] = &[
    row(
        Fault::NoConnection,
        "no-connection",
        Error,
        "No connection",
        Effect::NoConnection,
        "Check the name, the port, the firewall, and whether the process runs.",
    ),
    row(
        Fault::TenantUrl,
        "tenant-url",
        Error,
        "The Tenant URL is that of no SCIM endpoint",
        Effect::Says(
            "Clients add /Users and the like by themselves, so every request goes to a path that is none: Test Connection fails.",
        ),
        "Paste the Tenant URL that was handed out, or that was seen to be meant: of scimgate https://<host>/scim/<tenant>, with or \
         without /v2 behind it, or a path that SCIMGATE_BASE_PATHS names. A front end may also take a part of the path away. \
         Nothing else was looked at.",
    ),
    row(
        Fault::PlainHttp,
        "plain-http",
        Note,
        "The URL is not https",
        Effect::Says("Entra accepts https only. As a check of one hop behind the TLS front end this is fine."),
        "Use the public https URL to check what Entra sees.",
    ),
    row(
        Fault::PlainPort,
        "plain-port",
        Error,
        "The URL says https, and the port speaks HTTP without TLS",
        Effect::NoConnection,
        "To look at this hop, paste the http: URL that was seen to be meant. Entra gets the https: URL of whatever ends TLS in front; if \
         nothing does, something must.",
    ),
    row(
        Fault::ThroughProxy,
        "through-proxy",
        Note,
        "The way to the endpoint goes through this machine's proxy",
        Effect::Says(
            "Who ends connections, when and how, may be the proxy's doing. The bytes inside of TLS are the endpoint's, unless the \
             proxy opens TLS with a certificate of its own.",
        ),
        "Where the machine gets out without it, set NO_PROXY to the name of the endpoint; or run it elsewhere, and compare.",
    ),
    row(
        Fault::Certificate,
        "certificate",
        Error,
        "The certificate is not accepted",
        Effect::Says("Entra refuses to connect. A proxy that verifies it answers 503 \"… TLS_error: …\"."),
        "Send the whole chain of a public authority, for this very name, not expired. For a private authority \
         give --ca.",
    ),
    row(
        Fault::Handshake,
        "handshake",
        Error,
        "The TLS handshake fails",
        Effect::NoConnection,
        "See what was said, and which versions and ciphers the server offers.",
    ),
    row(
        Fault::Tls12Missing,
        "tls12-missing",
        Error,
        "TLS 1.2 is not offered",
        Effect::Says(
            "Microsoft's documentation names TLS 1.2 and its ciphers for provisioning: customers may not connect.",
        ),
        "Offer TLS 1.2 with ECDHE and AES-GCM beside TLS 1.3.",
    ),
    row(
        Fault::Tls13Missing,
        "tls13-missing",
        Note,
        "TLS 1.3 is not offered",
        Effect::Says("Nothing fails today."),
        "Offer it.",
    ),
    row(
        Fault::VersionsDiffer,
        "versions-differ",
        Error,
        "The same request is answered differently, depending on the TLS or HTTP version",
        Effect::Says(
            "Customers fail or not depending on what stands between: the kind of fault that some customers see \
         and nobody can reproduce.",
        ),
        "Find which hop serves the version that differs (another listener, another backend, another limit).",
    ),
    row(
        Fault::Http2Missing,
        "http2-missing",
        Note,
        "HTTP/2 is not spoken",
        Effect::Says(
            "A proxy that is told to use HTTP/2 for this hop answers 502 \"… reset reason: protocol error\" to \
         every request.",
        ),
        "Make sure that whatever is in front uses HTTP/1.1 for this hop (App Service: HTTP version; Container \
         Apps: transport).",
    ),
    row(
        Fault::Http2Text,
        "http2-text",
        Error,
        "HTTP/2 was agreed on, and HTTP/1.1 is spoken",
        Effect::Collateral,
        "TLS promises (ALPN) what the server behind does not speak: correct the front end's protocol list or \
         the backend's HTTP version.",
    ),
    row(
        Fault::Http2Malformed,
        "http2-malformed",
        Error,
        "An answer in HTTP/2 is malformed",
        Effect::Collateral,
        "Look at the bytes for a header that HTTP/2 forbids (connection, keep-alive, transfer-encoding, \
         upgrade, capital letters, control characters), a missing or second :status, a Content-Length that is \
         wrong or none, or a body of a 204 (RFC 9113 §8).",
    ),
    row(
        Fault::Http2Broken,
        "http2-broken",
        Error,
        "The HTTP/2 connection breaks the protocol",
        Effect::Collateral,
        "The bytes show the frame that breaks it: a header with capital letters or control characters, frames in the \
         wrong order or on a stream that is none, a window of nothing. Update the server or the proxy that ends HTTP/2.",
    ),
    row(
        Fault::Http2ResetProtocol,
        "http2-reset-protocol",
        Error,
        "A request is reset as PROTOCOL_ERROR",
        Effect::ProtocolError,
        "The server's HTTP/2 library calls the request malformed, or its answer: see its log.",
    ),
    row(
        Fault::Http2Reset,
        "http2-reset",
        Error,
        "A request is reset",
        Effect::RemoteReset,
        "See the server's log for the code.",
    ),
    row(
        Fault::Http2GoAway,
        "http2-goaway",
        Error,
        "The connection is given up (GOAWAY) with a request unanswered",
        Effect::RemoteReset,
        "See the server's log for the code; HTTP_1_1_REQUIRED means that this port must not be spoken to in \
         HTTP/2.",
    ),
    row(
        Fault::Http2Closed,
        "http2-closed",
        Error,
        "The HTTP/2 connection ends with a request unanswered",
        Effect::Termination,
        "Look for crashes and restarts.",
    ),
    row(
        Fault::Http2NoAnswer,
        "http2-no-answer",
        Error,
        "No answer came over HTTP/2 in time",
        Effect::TimeOut,
        "Compare with HTTP/1.1; if only HTTP/2 hangs, the front end's connection to the application is to \
         blame.",
    ),
    row(
        Fault::Http2Bodiless,
        "http2-body-of-204",
        Error,
        "A 204, 304 or HEAD has a body or a length in HTTP/2",
        Effect::ProtocolError,
        "Give these answers no body and a 204 no Content-Length, in one outermost middleware.",
    ),
    row(
        Fault::Http2LengthTwice,
        "http2-content-length-twice",
        Error,
        "Content-Length stands there twice in HTTP/2",
        Effect::ProtocolError,
        "Set it once, in the HTTP library.",
    ),
    row(
        Fault::Http2Flood,
        "http2-flood",
        Error,
        "Thousands of control frames or interim answers come before an answer",
        Effect::Collateral,
        "Look for a keep-alive of HTTP/2 that pings without a pause, or a loop that sends 102 or 103.",
    ),
    row(
        Fault::Http2StreamsLost,
        "http2-streams-lost",
        Error,
        "Of many requests at once on one HTTP/2 connection not all are answered",
        Effect::Collateral,
        "One bad answer takes all others on the connection with it: see the findings about single answers, \
         and the server's limit of concurrent streams.",
    ),
];
