//! Rows: what came in, what went out, what happened.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Event, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    PIPELINE,
    scope::{Ids, Scope},
};
use crate::ambient::{Ambient, System};

const STATUS: &str = "http.response.status_code";
/// What an outgoing call ends with when it is dropped halfway.
const GIVEN_UP: &str = "timeout";

/// A row before it has a form that `OpenTelemetry` knows.
struct Row {
    kind: SpanKind,
    name: Cow<'static, str>,
    ids: Ids,
    began: SystemTime,
    took: Duration,
    attributes: Vec<KeyValue>,
    events: SpanEvents,
    status: Status,
}

impl Row {
    /// The form that goes out. No `Tracer` makes it: identifiers and times are those that the client and the logs know, and
    /// whether it is kept is not the caller's to decide (the Functions host sends `traceparent: …-00`).
    fn send(self) {
        let Some(pipeline) = PIPELINE.get() else { return };
        let trace = TraceId::from_bytes(self.ids.trace);
        let span = SpanId::from_bytes(self.ids.span);
        pipeline.take(SpanData {
            span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: self.ids.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: matches!(self.kind, SpanKind::Server),
            span_kind: self.kind,
            name: self.name,
            start_time: self.began,
            end_time: self.began + self.took,
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: self.events,
            links: SpanLinks::default(),
            status: self.status,
            instrumentation_scope: InstrumentationScope::default(),
        });
    }
}

/// The row of a request that has ended.
pub(super) fn request(scope: &Scope, began: OffsetDateTime, took: Duration, failed: Option<Cow<'static, str>>) {
    if PIPELINE.get().is_none() {
        return;
    }
    let mut attributes = scope.all();
    unanswered(&mut attributes);
    let status = status(failed.clone());
    attributes.extend(failed.map(|how| KeyValue::new("error.type", how)));
    Row {
        kind: SpanKind::Server,
        name: "request".into(),
        ids: scope.ids(),
        began: began.into(),
        took,
        attributes,
        events: SpanEvents::default(),
        status,
    }
    .send();
}

/// A call to another service, from its beginning on. Its row is sent when it ends, also when it is given up.
#[derive(Debug)]
pub struct Outgoing {
    scope: Option<Arc<Scope>>,
    name: String,
    began: OffsetDateTime,
    since: Instant,
    attributes: Vec<KeyValue>,
    ended: bool,
}

impl Outgoing {
    /// A call that begins now; nothing where nobody is to know.
    pub fn begin(name: impl FnOnce() -> (String, Vec<(&'static str, String)>)) -> Option<Self> {
        PIPELINE.get()?;
        let (name, facts) = name();
        let scope = Scope::current();
        let tried = scope.as_ref().map_or(0, |scope| scope.tried(&name));
        let facts = facts.into_iter().map(|(name, value)| KeyValue::new(name, value));
        let facts = facts.chain([KeyValue::new("http.request.resend_count", tried)]);
        Some(Self {
            scope,
            name,
            began: System.now(),
            since: Instant::now(),
            attributes: facts.collect(),
            ended: false,
        })
    }

    /// Its answer's status.
    pub fn status(&mut self, status: u16) {
        let status = i64::from(status);
        self.attributes.push(KeyValue::new(STATUS, status));
    }

    /// It is over; `failed` is its `error.type`, if it has one.
    pub fn end(mut self, failed: Option<Cow<'static, str>>) {
        self.send(failed);
    }

    fn send(&mut self, failed: Option<Cow<'static, str>>) {
        self.ended = true;
        let mut attributes = std::mem::take(&mut self.attributes);
        let mut ids = new_ids();
        if let Some(scope) = &self.scope {
            scope.called(&self.name, failed.is_some());
            attributes.extend(scope.shared());
            ids.trace = scope.ids().trace;
            ids.parent = Some(scope.ids().span);
        }
        unanswered(&mut attributes);
        let status = status(failed.clone());
        attributes.extend(failed.map(|how| KeyValue::new("error.type", how)));
        Row {
            kind: SpanKind::Client,
            name: std::mem::take(&mut self.name).into(),
            ids,
            began: self.began.into(),
            took: self.since.elapsed(),
            attributes,
            events: SpanEvents::default(),
            status,
        }
        .send();
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.ended {
            self.send(Some(GIVEN_UP.into()));
        }
    }
}

/// Something that happened to the process, for `customEvents`.
pub fn event(name: &'static str, facts: impl IntoIterator<Item = (&'static str, String)>) {
    if PIPELINE.get().is_none() {
        return;
    }
    let began = System.now().into();
    let facts = facts.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let attributes = std::iter::once(KeyValue::new("ai.customEvent.name", name)).chain(facts);
    let mut events = SpanEvents::default();
    events
        .events
        .push(Event::new("ai.custom", began, attributes.collect(), 0));
    Row {
        // The exporter makes such a row of a span's event only.
        kind: SpanKind::Internal,
        name: name.into(),
        ids: new_ids(),
        began,
        took: Duration::ZERO,
        attributes: Vec::new(),
        events,
        status: Status::Ok,
    }
    .send();
}

/// No status at all is 0; the exporter would make up another.
fn unanswered(attributes: &mut Vec<KeyValue>) {
    if !attributes.iter().any(|one| one.key.as_str() == STATUS) {
        attributes.push(KeyValue::new(STATUS, 0));
    }
}

/// The exporter leaves `success` out where nothing is said.
fn status(failed: Option<Cow<'static, str>>) -> Status {
    failed.map_or(Status::Ok, Status::error)
}

fn new_ids() -> Ids {
    let secret = System.secret();
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    trace.copy_from_slice(&secret[..16]);
    span.copy_from_slice(&secret[16..24]);
    Ids {
        trace,
        span,
        parent: None,
    }
}
