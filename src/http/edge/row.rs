//! What is told of a request: its row begins when it arrives, and is sent whatever becomes of it.

use std::{borrow::Cow, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    http::{Method, Version, header},
};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    app::App,
    http::{
        address::shown, call::origin, console::is_ours, correlation::Given, normalized::NORMALIZED,
        reference::Reference,
    },
    telemetry::Scope,
};

/// The `error.type` of a request whose connection was gone before it was answered.
const CANCELLED: &str = "cancelled";

/// A request that is not answered yet.
pub(super) struct Row {
    scope: Arc<Scope>,
    began: OffsetDateTime,
    since: Instant,
    answered: bool,
}

impl Row {
    pub(super) fn begin(app: &App, request: &HttpRequest, reference: Reference, given: &Given) -> Self {
        let scope = Scope::new(reference.ids());
        scope.note("scim.correlation_id", reference.id().to_string());
        given.note(&scope);
        scope.note("http.request.method", method(request.method()));
        scope.note("http.route", "{unknown}");
        scope.note("url.path", shown(request.path(), app.base_paths()));
        if let Some((scheme, host)) = origin(app, request)
            .ok()
            .as_deref()
            .and_then(|origin| origin.split_once("://"))
        {
            scope.note("url.scheme", scheme.to_owned());
            scope.note("http.request.header.host", host.to_owned());
        }
        scope.note("network.protocol.version", version(request.version()));
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        scope.note("http.request.body.size", length.unwrap_or(0_i64));
        Self {
            scope,
            began: app.ambient.now(),
            since: Instant::now(),
            answered: false,
        }
    }

    pub(super) fn scope(&self) -> Arc<Scope> {
        Arc::clone(&self.scope)
    }

    /// It is answered; `flaw` says what the handler's own answer lacked.
    pub(super) fn end(mut self, response: &HttpResponse, flaw: Option<&'static str>) {
        let status = response.status();
        self.scope.note("http.response.status_code", i64::from(status.as_u16()));
        let size = match response.body().size() {
            BodySize::Sized(size) => i64::try_from(size).unwrap_or(i64::MAX),
            BodySize::None | BodySize::Stream => 0,
        };
        self.scope.note("http.response.body.size", size);
        for (attribute, name) in [
            ("http.response.header.retry-after", header::RETRY_AFTER),
            ("scim.normalized", NORMALIZED),
        ] {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            if let Some(value) = value {
                self.scope.note(attribute, value.to_owned());
            }
        }
        let failed = flaw.map(Cow::from);
        let failed = failed.or_else(|| is_ours(status).then(|| format!("http_{}", status.as_u16()).into()));
        self.send(failed);
    }

    fn send(&mut self, failed: Option<Cow<'static, str>>) {
        self.answered = true;
        self.scope.end(self.began, self.since.elapsed(), failed);
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if !self.answered {
            self.send(Some(CANCELLED.into()));
        }
    }
}

/// What SCIM has a use for; whatever else a client makes up is one.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "_OTHER",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
