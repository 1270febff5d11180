//! Records of what is logged: of whose request, and which of them are failures.

use std::{fmt::Write, time::Duration};

use opentelemetry::{
    InstrumentationScope, SpanId, TraceId,
    logs::{AnyValue, LogRecord, Severity},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{BatchLogProcessor, LogProcessor, SdkLogRecord},
};

use super::scope::Scope;

/// Adds to each record what the request's rows share, and makes an exception of an error.
#[derive(Debug)]
pub(super) struct Enriched(pub(super) BatchLogProcessor);

impl LogProcessor for Enriched {
    fn emit(&self, record: &mut SdkLogRecord, instrumentation: &InstrumentationScope) {
        if record
            .severity_number()
            .is_some_and(|severity| severity >= Severity::Error)
        {
            let (kind, message) = exception(record);
            record.add_attribute("exception.type", kind);
            record.add_attribute("exception.message", message);
        }
        if let Some(scope) = Scope::current() {
            let ids = scope.ids();
            record.set_trace_context(TraceId::from_bytes(ids.trace), SpanId::from_bytes(ids.span), None);
            for fact in scope.shared() {
                record.add_attribute(fact.key, fact.value.to_string());
            }
        }
        self.0.emit(record, instrumentation);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// Where an error was met, and all that was said of it: of an exception nothing else of the record is kept as a text.
fn exception(record: &SdkLogRecord) -> (String, String) {
    let target = record.target().map_or("", |target| target.as_ref());
    let kind = target.strip_prefix("scimgate::").unwrap_or(target).to_owned();
    let mut message = record.body().map(text).unwrap_or_default();
    for (name, value) in record.attributes_iter() {
        if matches!(name.as_str(), "error" | "flaw" | "place") {
            let _ = write!(message, ": {}", text(value));
        }
    }
    (kind, message)
}

fn text(value: &AnyValue) -> String {
    match value {
        AnyValue::String(text) => text.as_str().to_owned(),
        _ => String::new(),
    }
}
