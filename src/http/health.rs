//! Whether the process is there, and whether it can work.

use std::time::Duration;

use actix_web::HttpResponse;
use tokio::time::timeout;

use crate::{app::App, rows::CONTROL, scim::error::Rule};

use super::call::Failure;

/// How long the store may take to be called ready.
const READY_TIME: Duration = Duration::from_secs(3);

/// The process is there. The Functions host asks at `/`, often, and takes any answer.
pub(super) fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain")
        .body("scimgate is running\n")
}

/// The store answers, and the process is not about to stop.
pub(super) async fn ready(app: &App) -> Result<HttpResponse, Failure> {
    let service = app
        .service()
        .filter(|_| !app.is_draining())
        .ok_or_else(|| Rule::Starting.error())?;
    let probe = service.store.get(CONTROL, &["ready"]);
    match timeout(READY_TIME, probe).await {
        Ok(Ok(_)) => Ok(HttpResponse::Ok()
            .content_type("text/plain")
            .body("scimgate is ready\n")),
        _ => Err(Rule::StorageUnavailable.error().into()),
    }
}
