//! A request as the host holds it after Kestrel and the trigger's binding.

use std::net::SocketAddr;

use http::{Extensions, HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use crate::identifier;
use crate::invocation::Failure;
use crate::outgoing::Content;

/// A request to a function.
pub(crate) struct Inbound {
    pub(crate) method: Method,
    /// As Kestrel decoded it.
    pub(crate) path: String,
    /// As it came.
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: Extensions,
    pub(crate) body: Content,
    pub(crate) peer: SocketAddr,
    /// The `Host` the host believes in.
    pub(crate) host: String,
    pub(crate) scheme: String,
    pub(crate) invocation_id: String,
    /// A W3C `traceparent`.
    pub(crate) trace: String,
}

impl Inbound {
    /// Takes the request over, and reads its body when it has a `Content-Length` above 0. A body over the
    /// limit is an exception, hence 500 (inferred). `app_service` is the header fix-up of Linux App Service.
    pub(crate) async fn read(
        request: Request<Incoming>,
        path: String,
        peer: SocketAddr,
        body_limit: u64,
        app_service: bool,
    ) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        let mut headers = head.headers;
        let mut scheme = "http".to_owned();
        if app_service {
            if let Some(host) = headers.get("disguised-host").cloned() {
                headers.insert(header::HOST, host);
            }
            if let Some(proto) = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()) {
                proto.clone_into(&mut scheme);
            }
        }
        let host = headers
            .get(header::HOST)
            .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let body = match length {
            _ if headers.contains_key(header::TRANSFER_ENCODING) => Content::Stream(body),
            None | Some(0) => Content::Empty,
            Some(length) if length > body_limit => return Err(Failure::Broken),
            Some(_) => {
                let limit = usize::try_from(body_limit).unwrap_or(usize::MAX);
                let body = Limited::new(body, limit).collect().await.map_err(|_| Failure::Broken)?;
                Content::Whole(body.to_bytes())
            }
        };
        Ok(Self {
            trace: identifier::trace(&headers),
            method: head.method,
            path,
            query: head.uri.query().map(str::to_owned),
            headers,
            extensions: head.extensions,
            body,
            peer,
            host: host.unwrap_or_default(),
            scheme,
            invocation_id: identifier::guid(),
        })
    }
}
