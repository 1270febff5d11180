//! PROXY mode: YARP's forwarder with the host's retrying client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::sleep;

use crate::activity::Activity;
use crate::body::nothing;
use crate::decode::proxied_path;
use crate::inbound::Inbound;
use crate::invocation::{Failure, HOST_VERSION, HOST_VERSION_HEADER, INVOCATION_ID_HEADER};
use crate::outgoing::{Content, Outgoing, Source};
use crate::pool::{Error, Lease, Pool};
use crate::{Body, BoxError, Timing, identifier};

/// Attempts of `RetryProxyHandler`, the first included.
const MAX_ATTEMPTS: usize = 10;

/// Not copied, in either direction.
const SKIPPED: [&str; 17] = [
    "connection",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-features",
    "proxy-instruction",
    "security-scheme",
    "alpn",
    "close",
    "http2-settings",
    "upgrade-insecure-requests",
    "te",
    "alt-svc",
];

/// Sends the request on and gives the response as soon as its first byte of body is there. Dropping the future
/// closes the connection to the handler.
pub(crate) async fn exchange(
    pool: &Pool,
    inbound: Inbound,
    timing: &Timing,
    body_limit: u64,
) -> Result<Response<Body>, Failure> {
    let activity = Activity::new(timing.activity_timeout);
    let outgoing = outgoing(pool, inbound, &activity, body_limit)?;
    let attempts = attempts(pool, &outgoing, timing);
    let (response, lease) = tokio::select! {
        answer = attempts => answer.map_err(Failure::from)?,
        () = Arc::clone(&activity).expired() => return Err(Failure::Timeout),
    };
    activity.touch();
    let (mut head, body) = response.into_parts();
    for name in SKIPPED {
        head.headers.remove(name);
    }
    if matches!(head.status.as_u16(), 100..=199 | 204 | 205)
        && head
            .headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length == "0")
    {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    let expiry = Box::pin(Arc::clone(&activity).expired());
    let mut body = Streamed {
        body,
        lease: Some(lease),
        first: None,
        activity,
        expiry,
    };
    // YARP starts the response with the first bytes of the body: what fails before them is a 500 (from memory).
    body.first = body.frame().await.transpose().map_err(|_| Failure::Broken)?;
    let is_empty = body.first.is_none();
    Ok(Response::from_parts(
        head,
        if is_empty { nothing() } else { body.boxed_unsync() },
    ))
}

async fn attempts(pool: &Pool, outgoing: &Outgoing, timing: &Timing) -> Result<(Response<Incoming>, Lease), Error> {
    let mut attempt = 1;
    loop {
        match pool.send(outgoing).await {
            Err(Error::Connect(_) | Error::Exchange(_)) if attempt < MAX_ATTEMPTS => {
                sleep(timing.retry_delay * delay_factor(attempt)).await;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

/// 50, 100, 200, then 250 ms in units of 50 ms.
fn delay_factor(attempt: usize) -> u32 {
    [1, 2, 4].get(attempt - 1).copied().unwrap_or(5)
}

fn outgoing(pool: &Pool, inbound: Inbound, activity: &Arc<Activity>, body_limit: u64) -> Result<Outgoing, Failure> {
    let mut target = proxied_path(&inbound.path);
    if target.is_empty() {
        target.push('/');
    }
    if let Some(query) = &inbound.query {
        target = format!("{target}?{query}");
    }
    let mut headers = inbound.headers;
    for name in SKIPPED {
        headers.remove(name);
    }
    headers.remove("forwarded");
    for (name, value) in [
        ("host", pool.address().to_string()),
        ("x-forwarded-for", inbound.peer.ip().to_string()),
        ("x-forwarded-host", inbound.host),
        ("x-forwarded-proto", inbound.scheme),
        (HOST_VERSION_HEADER, HOST_VERSION.to_owned()),
        (INVOCATION_ID_HEADER, inbound.invocation_id.clone()),
        ("x-ms-invocation-id", inbound.invocation_id),
    ] {
        set(&mut headers, name, &value)?;
    }
    identifier::inject_trace(&mut headers, &inbound.trace);
    if !headers.values().all(|value| value.as_bytes().is_ascii()) {
        // HttpClient writes only ASCII (from memory).
        return Err(Failure::Broken);
    }
    if matches!(inbound.body, Content::Stream(_)) {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(Outgoing {
        method: inbound.method,
        target: target.parse().map_err(|_| Failure::Broken)?,
        headers,
        extensions: inbound.extensions,
        body: Source::new(inbound.body, Some(Arc::clone(activity)), body_limit),
    })
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), Failure> {
    let value = HeaderValue::try_from(value).map_err(|_| Failure::Broken)?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

/// The handler's body on its way to the client.
struct Streamed {
    body: Incoming,
    lease: Option<Lease>,
    first: Option<Frame<Bytes>>,
    activity: Arc<Activity>,
    expiry: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.lease.is_none() {
            return Poll::Ready(None);
        }
        if self.expiry.as_mut().poll(cx).is_ready() {
            self.lease = None;
            return Poll::Ready(Some(Err("nothing moved for too long".into())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.activity.touch();
        match frame {
            Some(Ok(frame)) => {
                // hyper does not ask for more once all of a Content-Length is there.
                if self.body.is_end_stream() {
                    self.lease.take().into_iter().for_each(Lease::done);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                self.lease.take().into_iter().for_each(Lease::done);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none() && self.first.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let first = self
            .first
            .as_ref()
            .and_then(Frame::data_ref)
            .map_or(0, |data| data.len() as u64);
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(rest + first),
            None => SizeHint::default(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Connect(_) => Self::Unreachable,
            Error::Exchange(_) | Error::Consumed => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_attempts_take_almost_two_seconds() {
        let delays = (1..MAX_ATTEMPTS).map(|attempt| Timing::default().retry_delay * delay_factor(attempt));
        let delays: Vec<u128> = delays.map(|delay| delay.as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 250, 250, 250, 250, 250, 250]);
        assert_eq!(delays.iter().sum::<u128>(), 1850);
    }
}
