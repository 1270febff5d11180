//! `GET /` to the handler: readiness and later pings.

use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, header};
use http_body_util::BodyExt;

use crate::outgoing::{Content, Outgoing, Source};
use crate::pool::{Error, Pool};

/// .NET's `MaxAutomaticRedirections`.
const MAX_REDIRECTS: usize = 50;

/// Whether the handler answers `GET /`: with any response, read to its end, or with any failure other than of the
/// connect (a reset is an `IOException` around the `SocketException`, which the host does not look into; inferred).
/// Redirects within the handler are followed if the host follows them; those to elsewhere are not.
pub(crate) async fn answers(pool: &Pool, follows_redirects: bool) -> bool {
    let mut target = Uri::from_static("/");
    for _ in 0..MAX_REDIRECTS {
        let mut headers = HeaderMap::new();
        if let Ok(host) = HeaderValue::try_from(pool.address().to_string()) {
            headers.insert(header::HOST, host);
        }
        let outgoing = Outgoing {
            method: Method::GET,
            target,
            headers,
            extensions: Extensions::new(),
            body: Source::new(Content::Empty, None, 0),
        };
        let (response, lease) = match pool.send(&outgoing).await {
            Ok(answer) => answer,
            Err(Error::Connect(_)) => return false,
            Err(_) => return true,
        };
        let (head, body) = response.into_parts();
        if body.collect().await.is_ok() {
            lease.done();
        }
        let location = head.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        match location.and_then(|location| within(pool, location)) {
            Some(next) if follows_redirects && head.status.is_redirection() => target = next,
            _ => return true,
        }
    }
    true
}

fn within(pool: &Pool, location: &str) -> Option<Uri> {
    let own = format!("http://{}", pool.address());
    location
        .strip_prefix(own.as_str())
        .unwrap_or(location)
        .parse()
        .ok()
        .filter(|uri: &Uri| uri.scheme().is_none())
}
