//! What the process tells about itself: lines on standard output, and rows in Application Insights where a connection
//! string names one. The only importer of `OpenTelemetry`.
//!
//! A request's row is built at its end, of facts that any room notes on the way ([`note`]); its identifiers are those that
//! the client is told. Nothing here waits for the network: rows wait in bounded queues, and what finds no room is counted.
//!
//! Reading order: `scope` (what is known of the current request), `row` (requests, calls to others, events), `export` (the
//! way to Application Insights) with `ingestion` (its HTTP), `log` (records), `lines` (standard output), `panics`, `process`
//! (what is measured every 30 s) with `container` (what is around it).

use std::sync::OnceLock;

mod container;
mod export;
mod ingestion;
mod lines;
mod log;
mod panics;
mod process;
mod row;
mod scope;

pub use export::Export;
pub use ingestion::Bearer;
pub use process::{storage_waited, uptime, watch_scheduler};
pub use row::{Outgoing, event};
pub use scope::{Ids, Scope, count, note, note_once, noted, requests_under_way, same_request, within};

use export::Pipeline;

/// Where rows go; nothing where nobody is to have them. As global as tracing's subscriber, which it belongs to.
static PIPELINE: OnceLock<Pipeline> = OnceLock::new();

/// What is to be told.
pub struct Setup {
    /// A line for each request, not only for those that we failed at.
    pub requests: bool,
    /// Every line becomes a row of the Functions host's log: with an `export` of our own, those from WARN on are enough.
    pub hosted: bool,
    /// Where rows go.
    pub export: Option<Export>,
}

/// Begins to tell. Once in a process, outside of any async runtime.
pub fn start(setup: Setup) {
    uptime();
    let asked = setup.export.is_some();
    let pipeline = setup.export.and_then(Pipeline::new);
    let exports = pipeline.is_some();
    let pipeline = pipeline.map(|pipeline| PIPELINE.get_or_init(|| pipeline));
    lines::start(
        setup.requests,
        setup.hosted && exports,
        pipeline.map(Pipeline::log_layer),
    );
    panics::report();
    if asked && !exports {
        tracing::warn!(
            "APPLICATIONINSIGHTS_CONNECTION_STRING makes no sense, so there is no telemetry; expected \
             InstrumentationKey=…;IngestionEndpoint=https://…"
        );
    }
}

/// The token that rows are sent with, where one is asked for; somebody is to keep it fresh.
pub fn bearer() -> Option<&'static Bearer> {
    PIPELINE.get()?.bearer()
}

/// Sends what waits, for at most 3 s; for the end of the process.
pub async fn stop() {
    if let Some(pipeline) = PIPELINE.get() {
        pipeline.stop().await;
    }
}
