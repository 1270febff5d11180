//! A request's body, read within limits of size and time.

use std::time::Duration;

use actix_web::{HttpRequest, http::header, web::Payload};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use super::{call::Failure, console};
use crate::{
    app::App,
    directory::Held,
    scim::{
        error::{Error as Refused, Rule},
        json,
        limits::{MAX_BODY_BYTES, MAX_BODY_MEMORY},
    },
    telemetry,
};

/// How long a body may take to arrive.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);

/// A request's body that nobody has read yet.
pub(super) struct Body<'a> {
    pub(super) app: &'a App,
    pub(super) request: &'a HttpRequest,
    pub(super) payload: Payload,
    pub(super) held: &'a Held,
}

impl Body<'_> {
    /// Reads a JSON object (RFC 7644 §3.8).
    pub(super) async fn object(self) -> Result<Value, Failure> {
        let Self {
            app,
            request,
            payload,
            held,
        } = self;
        media_type(request)?;
        not_encoded(request)?;
        let late = || Rule::BodyLate.error().with("limit", BODY_TIME.as_secs().to_string());
        let bytes = timeout(BODY_TIME, bytes(request, payload, held))
            .await
            .map_err(|_| late())??;
        telemetry::count("http.request.body.size", bytes.len());
        console::show_request(app, &bytes);
        let memory = json::memory(&bytes);
        if memory > MAX_BODY_MEMORY {
            let limit = (MAX_BODY_MEMORY / 1024 / 1024).to_string();
            return Err(Rule::BodyTooManyValues.error().with("limit", limit).into());
        }
        held.add(memory)?;
        let value = json::parse(&bytes)?;
        if value.is_object() {
            Ok(value)
        } else {
            Err(Rule::BodyNotObject.error().into())
        }
    }
}

/// `application/scim+json` or `application/json`, whatever its parameters; none at all is taken as JSON.
fn media_type(request: &HttpRequest) -> Result<(), Refused> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or("?")
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/scim+json" | "application/json" | "" => Ok(()),
        _ => Err(Rule::BadMediaType.error()),
    }
}

/// Nothing is decompressed here: a small body could become a huge one (RFC 9110 §8.4, §15.5.16).
fn not_encoded(request: &HttpRequest) -> Result<(), Refused> {
    let mut lines = request.headers().get_all(header::CONTENT_ENCODING);
    if lines.all(|line| line.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(Rule::BodyEncoded.error())
}

async fn bytes(request: &HttpRequest, mut payload: Payload, held: &Held) -> Result<Vec<u8>, Failure> {
    let too_large = || Rule::BodyTooLarge.error().with("limit", MAX_BODY_BYTES.to_string());
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY_BYTES) {
        return Err(too_large().into());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        // The connection broke off; whoever reads the answer sees a body that ends early.
        let chunk = chunk.map_err(|_| Rule::BodyNotJson.error().with("position", "its end, which never came"))?;
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(too_large().into());
        }
        held.add(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
