//! The outermost room: what every answer keeps to, whatever made it, so that no proxy in front has cause for a 502.
//!
//! Reading order: this file (a request from one side to the other), `clean` (what of an answer goes out), `server` (the
//! port), `row` (what is told of a request), `h1` and `h2` (what each HTTP version adds), `stall` (who does not read),
//! `turn` (who sends requests ahead), `malformed` (what HTTP/2 would refuse without an answer).

use std::{panic::AssertUnwindSafe, sync::Arc};

use actix_http::ConnectionType;
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{CACHE_CONTROL, HeaderValue},
    middleware::Next,
    web::Data,
};
use futures::FutureExt;

use super::{
    answer,
    correlation::{self, Given},
    reference::Reference,
};
use crate::{app::App, telemetry::within};

mod clean;
mod h1;
mod h2;
mod malformed;
mod row;
mod server;
mod stall;
#[cfg(test)]
mod tests;
mod turn;

pub(super) use server::serve;

use clean::Flaw;
use row::Row;
use turn::Gate;

/// Makes a complete, clean answer of whatever the handler does, also of a panic or of a body that comes in parts.
///
/// Nothing is sent before all of an answer is known: what fails later than that would end a connection in the middle of a
/// response, or leave bytes on it that the next request's client takes for its own answer.
async fn guard(request: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let original = request.request().clone();
    let app = Arc::clone(original.app_data::<Data<Arc<App>>>().expect("every server has its app"));
    let reference = Reference::new(original.headers(), &*app.ambient);
    original.extensions_mut().insert(reference);
    let given = Given::new(original.headers());
    original.extensions_mut().insert(given.clone());
    let _turn = Gate::of(&original);
    let row = Row::begin(&app, &original, reference, &given);
    let handled = async {
        let response = next.call(request).await.map_err(|_| Flaw::Framework)?;
        clean::answer(response.into_parts().1)
    };
    let answered = async {
        // A panic's own text may quote the request and goes no further.
        let answer = AssertUnwindSafe(handled).catch_unwind().await;
        match answer.unwrap_or(Err(Flaw::Panic)) {
            Ok(response) => (response, None),
            Err(flaw) => (no_answer(&app, &original, flaw, reference, &given), Some(flaw.name())),
        }
    };
    let (mut response, flaw) = within(row.scope(), answered).await;
    correlation::stamp(&mut response, original.headers(), reference);
    // RFC 9111 §3.5 forbids shared caches what came for a credential; not all of them know.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    row.end(&response, flaw);
    if app.is_draining() {
        // Who keeps the connection would be about to use it when it is closed.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(ServiceResponse::new(original, response))
}

/// What goes out when there is nothing else to send.
fn no_answer(app: &App, request: &HttpRequest, flaw: Flaw, reference: Reference, given: &Given) -> HttpResponse {
    if flaw == Flaw::Panic {
        // The panic hook has told of the failure, but of no request.
        tracing::warn!(%flaw, %reference, ids = %given, "an answer was no answer");
    } else {
        tracing::error!(%flaw, %reference, ids = %given, "an answer was no answer");
    }
    clean::answer(answer::internal(app, request)).expect("our own refusals are answers")
}
