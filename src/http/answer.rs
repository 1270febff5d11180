//! What goes out. Every failure becomes a SCIM error here, and nowhere else.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{
            ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
            WWW_AUTHENTICATE,
        },
    },
    web::Bytes,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    call::Failure,
    console::{self, RefusedBy},
    normalized::{self, NORMALIZED},
    reference::Reference,
};
use crate::{
    app::App,
    directory::{self, Held},
    scim::{
        error::{Error as Refused, Rule},
        normalize::Trace,
    },
    store::Error as StoreError,
    telemetry,
};

/// The media type of every SCIM body (RFC 7644 §3.8).
const SCIM_JSON: &str = "application/scim+json";

/// After how long to come back when nothing better is known.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);

/// Bytes that are counted as held while they are there.
struct Counted {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A success.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    /// JSON.
    body: Option<Bytes>,
    /// What was done to the request.
    trace: Trace,
}

impl Answer {
    /// 200 with a body.
    pub(super) fn ok(body: impl Serialize) -> Self {
        let mut bytes = serde_json::to_vec(&body).expect("answers are plain JSON with string keys");
        // As many are counted as held.
        bytes.shrink_to_fit();
        Self {
            body: Some(bytes.into()),
            ..Self::empty(StatusCode::OK)
        }
    }

    /// 201 instead; the body's `meta.location` is the `Location`.
    #[must_use]
    pub(super) fn created(mut self, location: String) -> Self {
        self.status = StatusCode::CREATED;
        self.with(LOCATION, location)
    }

    /// 204.
    pub(super) fn done() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// 304: the client has this version.
    pub(super) fn not_modified() -> Self {
        Self::empty(StatusCode::NOT_MODIFIED)
    }

    /// 204 with the methods that the endpoint takes.
    pub(super) fn options(allowed: &'static str) -> Self {
        Self::done().with(ALLOW, allowed.to_owned())
    }

    /// The version of the resource (RFC 7644 §3.14).
    #[must_use]
    pub(super) fn version(self, version: &str) -> Self {
        self.with(ETAG, format!("W/\"{version}\""))
    }

    /// What was done to the request.
    #[must_use]
    pub(super) fn normalized(self, trace: &Trace) -> Self {
        Self {
            trace: trace.clone(),
            ..self
        }
    }

    /// What [`Self::normalized`] was told.
    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// When to come back with what could not be done now.
    #[must_use]
    pub(super) fn retry_after(self, asked: Option<Duration>) -> Self {
        self.with(RETRY_AFTER, seconds(asked))
    }

    /// Counts its bytes as held until they are written: as a part of what its request held, as far as that goes. The answer
    /// of a write that `is_done` is given in any case.
    ///
    /// # Errors
    /// [`Rule::Overloaded`].
    pub(super) fn holding(mut self, held: &Held, is_done: bool) -> Result<Self, directory::Error> {
        let bytes = self.len();
        let missing = bytes.saturating_sub(held.bytes());
        if is_done {
            held.add_anyway(missing);
        } else {
            held.add(missing)?;
        }
        let held = held.part(bytes);
        self.body = self.body.map(|bytes| Bytes::from_owner(Counted { bytes, _held: held }));
        Ok(self)
    }

    /// Bytes of its body.
    pub(super) fn len(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }

    fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
            trace: Trace::default(),
        }
    }

    fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The HTTP response.
    pub(super) fn respond(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        let notes = (!self.trace.notes().is_empty()).then(|| (NORMALIZED, normalized::spell(&self.trace)));
        for (name, value) in self.headers.into_iter().chain(notes) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.insert_header((name, value));
            } else {
                // Without it the answer is poorer; with it there would be none.
                tracing::error!(%name, "a header was left out: its value can't be one");
            }
        }
        match self.body {
            Some(body) => response.insert_header((CONTENT_TYPE, SCIM_JSON)).body(body),
            None => response.finish(),
        }
    }
}

/// The response to a request that failed.
pub(super) fn failed(app: &App, request: &HttpRequest, failure: &Failure) -> HttpResponse {
    let reference = Reference::of(request);
    let (error, retry_after) = refused(failure, reference);
    let mut response = refusal(app, &error, reference, retry_after);
    if let Failure::Method(_, allowed) = failure {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// What the client is told of a failure, and how long the store asks to be left alone.
pub(super) fn refused(failure: &Failure, reference: Option<Reference>) -> (Refused, Option<Duration>) {
    match failure {
        Failure::Refused(error) | Failure::Method(error, _) | Failure::Directory(directory::Error::Refused(error)) => {
            (error.clone(), None)
        }
        Failure::Later(error, after) => (error.clone(), Some(*after)),
        Failure::Directory(error) => {
            tracing::error!(%error, reference = reference.map(tracing::field::display), "a request failed");
            let rule = match error {
                directory::Error::Store(StoreError::Changed(_) | StoreError::Missing(_) | StoreError::Exists(_)) => {
                    Rule::Conflict
                }
                error if error.is_broken() => Rule::Internal,
                _ => Rule::StorageUnavailable,
            };
            (rule.error(), error.retry_after())
        }
    }
}

/// The response to a request whose handler panicked or failed outside our own code.
pub(super) fn internal(app: &App, request: &HttpRequest) -> HttpResponse {
    refusal(app, &Rule::Internal.error(), Reference::of(request), None)
}

fn refusal(app: &App, error: &Refused, reference: Option<Reference>, retry_after: Option<Duration>) -> HttpResponse {
    let status = StatusCode::from_u16(error.status()).expect("the table holds HTTP statuses");
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, SCIM_JSON));
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((WWW_AUTHENTICATE, challenge(error.rule())));
    }
    if error.rule() == Rule::BodyEncoded {
        response.insert_header((ACCEPT_ENCODING, "identity"));
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.insert_header((RETRY_AFTER, seconds(retry_after)));
    }
    let rule = error.rule().entry().name;
    response.extensions_mut().insert(RefusedBy(rule));
    telemetry::note("scim.error.rule", rule);
    for (name, value) in [
        ("scim.error_type", error.scim_type()),
        ("scim.error.attribute", error.attribute()),
    ] {
        if let Some(value) = value {
            telemetry::note(name, value.to_owned());
        }
    }
    response.body(error_body(app, error, reference).to_string())
}

/// The error message (RFC 7644 §3.12) with what the client needs to have its request found.
pub(super) fn error_body(app: &App, error: &Refused, reference: Option<Reference>) -> Value {
    let is_ours = StatusCode::from_u16(error.status()).is_ok_and(console::is_ours);
    let wants_support = is_ours || error.status() == StatusCode::UNAUTHORIZED.as_u16();
    let support = app.settings.support.as_deref().filter(|_| wants_support);
    let suffix = [
        support.map(|support| format!("Support: {support}.")),
        reference.map(|one| one.to_string()),
    ];
    let suffix = suffix.into_iter().flatten().collect::<Vec<_>>().join(" ");
    error.body(Some(suffix.as_str()).filter(|suffix| !suffix.is_empty()))
}

/// The value of `Retry-After`.
fn seconds(retry_after: Option<Duration>) -> String {
    retry_after.unwrap_or(RETRY_AFTER_DEFAULT).as_secs().max(1).to_string()
}

/// RFC 6750 §3: at least one parameter, and no error where no credential was shown.
fn challenge(rule: Rule) -> &'static str {
    match rule {
        Rule::NoCredential => "Bearer realm=\"scim\"",
        _ => "Bearer realm=\"scim\", error=\"invalid_token\"",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::body::MessageBody;

    use super::*;
    use crate::directory::Budget;

    /// RFC 7644 §4: whoever asks for schemas makes us hold nothing but the answer.
    #[test]
    fn an_answer_is_counted_until_it_is_written_whatever_its_request_held() {
        let answer = || Answer::ok("x".repeat(98));
        for (before, room, is_done, fits) in [
            (0, 100, false, true),
            (0, 99, false, false),
            (0, 99, true, true),
            (40, 100, false, true),
            (40, 99, false, false),
            (40, 99, true, true),
            (300, 300, false, true),
        ] {
            let case = format!("{before} of {room} held, done: {is_done}");
            let budget = Arc::new(Budget::new(room, None));
            let free = || Held::of(Arc::clone(&budget)).add(room).is_ok();
            let held = Held::of(Arc::clone(&budget));
            held.add(before).unwrap();
            let answer = answer().holding(&held, is_done);
            drop(held);
            assert_eq!(answer.is_ok(), fits, "{case}");
            let body = answer.map(|answer| answer.respond().into_body());
            let rest = Held::of(Arc::clone(&budget)).add(room.saturating_sub(99)).is_ok();
            assert_eq!(rest, !fits, "{case}: it is counted");
            let body = body.ok().and_then(|body| body.try_into_bytes().ok());
            assert_eq!(body.as_ref().map(Bytes::len), fits.then_some(100), "{case}");
            drop(body);
            assert!(free(), "{case}: it is given back");
        }
    }
}
