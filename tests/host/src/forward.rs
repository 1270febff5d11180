//! FORWARD mode: the request rebuilt for .NET's `HttpClient`, the response buffered.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use http_body_util::BodyExt;

use crate::body::whole;
use crate::decode::{forwarded_path, forwarded_query};
use crate::inbound::Inbound;
use crate::invocation::{Failure, HOST_VERSION, HOST_VERSION_HEADER, INVOCATION_ID_HEADER};
use crate::outgoing::{Content, Outgoing, Source};
use crate::pool::Pool;
use crate::{Body, dotnet_headers, identifier};

/// What .NET takes for headers of a content and so refuses on a request. Length and type are set with the content.
const CONTENT_HEADERS: [&str; 11] = [
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "expires",
    "last-modified",
];

/// Sends the request and gives the whole response.
pub(crate) async fn exchange(pool: &Pool, inbound: Inbound) -> Result<Response<Body>, Failure> {
    let is_head = inbound.method == Method::HEAD;
    let (response, lease) = pool.send(&outgoing(inbound)?).await?;
    let (mut head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Failure::Broken)?.to_bytes();
    lease.done();
    let mut headers = HeaderMap::new();
    for (name, value) in &head.headers {
        if name != header::TRANSFER_ENCODING {
            for value in dotnet_headers::enumerate(name, value) {
                headers.append(name, value);
            }
        }
    }
    // A length without content stays as the handler wrote it; without one, there is a computed one (304: inferred).
    let has_no_content = is_head || matches!(head.status.as_u16(), 204 | 205 | 304);
    if !(has_no_content && headers.contains_key(header::CONTENT_LENGTH)) {
        headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    head.headers = headers;
    Ok(Response::from_parts(head, whole(body)))
}

fn outgoing(inbound: Inbound) -> Result<Outgoing, Failure> {
    if inbound.headers.contains_key(header::TRANSFER_ENCODING) {
        // "'Transfer-Encoding: chunked' header can not be used when content object is not specified"
        return Err(Failure::Broken);
    }
    let target = match inbound.query.as_deref().map(forwarded_query) {
        Some(query) if !query.is_empty() => format!("{}?{query}", forwarded_path(&inbound.path)),
        _ => forwarded_path(&inbound.path),
    };
    let mut headers = request_headers(&inbound.headers)?;
    for (name, value) in [
        (HOST_VERSION_HEADER, HOST_VERSION),
        (INVOCATION_ID_HEADER, inbound.invocation_id.as_str()),
        ("user-agent", &format!("Azure-Functions-Host/{HOST_VERSION}")),
    ] {
        append(&mut headers, &HeaderName::from_static(name), value.as_bytes())?;
    }
    identifier::inject_trace(&mut headers, &inbound.trace);
    match &inbound.body {
        Content::Whole(bytes) => content_headers(&mut headers, &inbound.headers, bytes),
        // .NET writes a length of 0 for methods that usually have a body (from memory).
        _ if ![Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE].contains(&inbound.method) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        _ => {}
    }
    Ok(Outgoing {
        method: inbound.method,
        target: target.parse().map_err(|_| Failure::Broken)?,
        headers,
        extensions: inbound.extensions,
        body: Source::new(inbound.body, None, u64::MAX),
    })
}

/// All but the content headers; the lines of one name joined into one, as .NET writes them (from memory).
fn request_headers(received: &HeaderMap) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in received {
        if CONTENT_HEADERS.contains(&name.as_str()) {
            continue;
        }
        if !value.as_bytes().is_ascii() {
            // "Request headers must contain only ASCII characters" (from memory).
            return Err(Failure::Broken);
        }
        append(&mut headers, name, value.as_bytes())?;
    }
    Ok(headers)
}

fn content_headers(headers: &mut HeaderMap, received: &HeaderMap, body: &Bytes) {
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    if let Some(value) = received.get(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, value.clone());
    }
}

fn append(headers: &mut HeaderMap, name: &HeaderName, value: &[u8]) -> Result<(), Failure> {
    let separator: &[u8] = match name.as_str() {
        "cookie" => b"; ",
        "user-agent" => b" ",
        _ => b", ",
    };
    let joined = match headers.get(name) {
        Some(earlier) => [earlier.as_bytes(), value].join(separator),
        None => value.to_vec(),
    };
    headers.insert(name, HeaderValue::from_bytes(&joined).map_err(|_| Failure::Broken)?);
    Ok(())
}
