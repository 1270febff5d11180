//! What every answer keeps to, whatever made it: the outermost layer.

use std::{panic::AssertUnwindSafe, sync::Arc};

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
    },
    middleware::Next,
    web::Data,
};
use futures::FutureExt;

use super::{answer, reference::Reference};
use crate::app::App;

/// Makes a complete SCIM 500 of a panic or an error, and takes the body from answers that must have none.
///
/// A panic would otherwise close the connection without an answer, which a proxy in front reports as a 502.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let original = request.request().clone();
    let app = Arc::clone(request.app_data::<Data<Arc<App>>>().expect("every server has its app"));
    let reference = Reference::new(request.headers(), &*app.ambient);
    request.extensions_mut().insert(reference);
    let response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => response.map_into_boxed_body(),
        Ok(Err(error)) => {
            tracing::error!(%error, "a request failed outside its handler");
            ServiceResponse::new(original.clone(), answer::internal(&app, &original))
        }
        // The panic's own text was written by the panic hook; it may quote the request and goes no further.
        Err(_) => ServiceResponse::new(original.clone(), answer::internal(&app, &original)),
    };
    Ok(bodiless(response))
}

/// 1xx, 204 and 304 have neither body nor framing headers (RFC 9110 §6.4.1, §8.6).
fn bodiless(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let empty = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !empty {
        return response;
    }
    let mut response = response.map_body(|_, _| BoxBody::new(()));
    for name in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
    response
}
