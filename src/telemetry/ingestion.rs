//! The HTTP of an export: how the endpoint is reached, and what of that fails.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use opentelemetry_http::{Bytes, Request, Response};

/// What of a connection string says where rows go.
const FIELDS: [&str; 4] = ["instrumentationkey", "ingestionendpoint", "endpointsuffix", "location"];

/// What a connection string says.
pub(super) struct Target {
    /// As the exporter reads it: nothing else in it, no separator at its end.
    pub(super) connection: String,
    /// The endpoint is on this machine and has no TLS; only ever for tests.
    plain: bool,
}

impl Target {
    /// None without a key.
    pub(super) fn parse(connection: &str) -> Option<Self> {
        let fields: Vec<(String, &str)> = connection
            .split(';')
            .filter_map(|field| field.split_once('='))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
            .filter(|(name, value)| FIELDS.contains(&name.as_str()) && !value.is_empty() && !value.contains('='))
            .collect();
        let is = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        is("instrumentationkey")?;
        let host = is("ingestionendpoint").and_then(|url| url.strip_prefix("http://"));
        let plain = host.is_some_and(|host| ["127.0.0.1", "[::1]", "localhost"].iter().any(|own| is_host(host, own)));
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some(Self {
            connection: fields.join(";"),
            plain,
        })
    }
}

fn is_host(authority: &str, host: &str) -> bool {
    let rest = authority.strip_prefix(host);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
}

/// A token that somebody else keeps fresh.
#[derive(Clone, Default)]
pub struct Bearer(Arc<RwLock<Option<String>>>);

impl Bearer {
    /// The one that is good from now on.
    pub fn set(&self, token: String) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    fn token(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

/// The endpoint.
#[derive(Debug)]
pub(super) struct Ingestion {
    client: reqwest::blocking::Client,
    plain: bool,
    bearer: Option<Bearer>,
    failures: AtomicU64,
    failing: AtomicBool,
}

impl Ingestion {
    pub(super) fn new(client: reqwest::blocking::Client, target: &Target, bearer: Option<Bearer>) -> Self {
        Self {
            client,
            plain: target.plain,
            bearer,
            failures: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    pub(super) fn bearer(&self) -> Option<&Bearer> {
        self.bearer.as_ref()
    }

    /// Tries that brought nothing home.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Sends what the exporter made; waits, on the exporter's own thread.
    pub(super) fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Box<dyn Error + Send + Sync>> {
        let answer = self.try_post(request);
        match &answer {
            Ok(answer) if answer.status().as_u16() == 200 => self.went(None),
            Ok(answer) => self.went(Some(&format!("it answered {}", answer.status().as_u16()))),
            Err(error) => self.went(Some(&error.to_string())),
        }
        answer
    }

    fn try_post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Box<dyn Error + Send + Sync>> {
        let (head, body) = request.into_parts();
        let mut url = head.uri.to_string();
        if self.plain {
            // The exporter knows nothing but TLS.
            url = url.replacen("https://", "http://", 1);
        }
        if self.bearer.is_some() {
            // What takes tokens is another version of the interface.
            url = url.replacen("/v2/track", "/v2.1/track", 1);
        }
        let mut post = self.client.post(url).headers(head.headers).body(body);
        if let Some(bearer) = &self.bearer {
            post = post.bearer_auth(bearer.token().ok_or("there is no token yet")?);
        }
        let answer = post.send().map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        let body = answer.bytes().map_err(reqwest::Error::without_url)?;
        Ok(Response::builder().status(status).body(body)?)
    }

    /// Says it once when it begins to fail, and once when it works again.
    fn went(&self, wrong: Option<&str>) {
        let failed = wrong.is_some();
        self.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
        if self.failing.swap(failed, Ordering::Relaxed) == failed {
            return;
        }
        if let Some(reason) = wrong {
            tracing::warn!(reason, "telemetry can't be sent");
        } else {
            tracing::warn!("telemetry is sent again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[track_caller]
    fn check(connection: &str, expected: Option<(&str, bool)>) {
        let target = Target::parse(connection);
        let found = target.as_ref().map(|target| (target.connection.as_str(), target.plain));
        assert_eq!(found, expected, "{connection}");
    }

    #[test]
    fn a_connection_string_is_taken_as_the_portal_shows_it() {
        check("", None);
        check("nonsense", None);
        check("IngestionEndpoint=https://a.example", None);
        check("InstrumentationKey=;", None);
        check("InstrumentationKey=1", Some(("instrumentationkey=1", false)));
        check(
            " InstrumentationKey=1; IngestionEndpoint=https://a.example/;LiveEndpoint=https://b.example/;ApplicationId=2;\n",
            Some(("instrumentationkey=1;ingestionendpoint=https://a.example/", false)),
        );
    }

    /// Elsewhere the exporter makes TLS of it.
    #[test]
    fn an_endpoint_without_tls_is_on_this_machine() {
        for (endpoint, plain) in [
            ("http://127.0.0.1:7900/", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("http://127.0.0.1.example", false),
            ("http://a.example", false),
            ("https://127.0.0.1:7900", false),
        ] {
            let target = Target::parse(&format!("InstrumentationKey=1;IngestionEndpoint={endpoint}")).unwrap();
            assert_eq!(target.plain, plain, "{endpoint}");
        }
    }
}
