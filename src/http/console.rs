//! What a person watching the process sees of each request.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, body::MessageBody, http::StatusCode};

use super::{address::shown, correlation::Given, normalized::NORMALIZED, reference::Reference};
use crate::app::App;

/// Which rule refused a request; travels with the response.
pub(super) struct RefusedBy(pub(super) &'static str);

/// Says in one line what became of a request; the query is left out, as it holds names and addresses, unless they are to be
/// shown.
pub(super) fn tell(app: &App, request: &HttpRequest, response: &HttpResponse, took: Duration) {
    let outcome = match response.extensions().get::<RefusedBy>() {
        Some(RefusedBy(rule)) => rule,
        None => response.status().canonical_reason().unwrap_or(""),
    };
    let quirks = response
        .headers()
        .get(NORMALIZED)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let separator = if quirks.is_empty() { "" } else { " | " };
    let target = match request.uri().path_and_query() {
        Some(all) if app.settings.show_bodies => all.as_str().to_owned(),
        _ => shown(request.path(), app.base_paths()),
    };
    let refused = response.status().is_client_error() || response.status().is_server_error();
    let reference = Reference::of(request)
        .filter(|_| refused)
        .map(|reference| format!(", {reference}"));
    let line = format!(
        "{} {} {} {} ms {outcome}{separator}{quirks}{}",
        request.method(),
        printable(&target),
        response.status().as_u16(),
        took.as_millis(),
        reference.unwrap_or_default(),
    );
    let ids = Given::of(request).map(tracing::field::display);
    if is_ours(response.status()) {
        tracing::warn!(target: "scimgate::request", ids, "{line}");
    } else {
        tracing::info!(target: "scimgate::request", ids, "{line}");
    }
}

/// Whether a status says that we failed: 501 is what this service does not do.
pub(super) fn is_ours(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
}

/// Shows a response's body, which holds personal data: only with `--show-bodies`.
pub(super) fn show_response(app: &App, response: HttpResponse) -> HttpResponse {
    if !app.settings.show_bodies {
        return response;
    }
    let (response, body) = response.into_parts();
    match body.try_into_bytes() {
        Ok(bytes) => {
            if !bytes.is_empty() {
                println!("< {}", String::from_utf8_lossy(&bytes));
            }
            response.set_body(bytes).map_into_boxed_body()
        }
        Err(body) => response.set_body(body).map_into_boxed_body(),
    }
}

/// The same for a request's body.
pub(super) fn show_request(app: &App, bytes: &[u8]) {
    if app.settings.show_bodies {
        println!("> {}", String::from_utf8_lossy(bytes));
    }
}

/// A path as it may stand in a terminal: no control characters, not endless.
fn printable(path: &str) -> String {
    path.chars()
        .take(200)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
