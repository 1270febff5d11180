//! Whether the process is there, and whether it can work.

use actix_web::HttpResponse;

use crate::{app::App, scim::error::Rule};

use super::call::Failure;

/// The process is there. The Functions host asks at `/`, often, and takes any answer.
pub(super) fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain")
        .body("scimgate is running\n")
}

/// The store answers, and the process is not about to stop.
pub(super) async fn ready(app: &App) -> Result<HttpResponse, Failure> {
    if app.is_draining() {
        return Err(Rule::Stopping.error().into());
    }
    let service = app.service().ok_or_else(|| Rule::Starting.error())?;
    if !service.readiness.of(&service.store).await {
        return Err(Rule::StorageUnavailable.error().into());
    }
    Ok(HttpResponse::Ok()
        .content_type("text/plain")
        .body("scimgate is ready\n"))
}
