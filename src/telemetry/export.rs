//! The way to Application Insights: bounded queues, each emptied by a thread of its own.

use std::{sync::Arc, thread, time::Duration};

use opentelemetry::{
    KeyValue, global,
    trace::{SpanKind, Status},
};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_application_insights::Exporter;
use opentelemetry_sdk::{
    Resource,
    logs::{self, BatchLogProcessor, SdkLoggerProvider},
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{self, BatchSpanProcessor, SpanData, SpanProcessor},
};
use tokio::{sync::oneshot, time::timeout};
use tracing::Subscriber;
use tracing_subscriber::{Layer, registry::LookupSpan};

use super::{
    ingestion::{Bearer, Ingestion, Target},
    lines, log, process,
};

/// Rows that wait; some 2 KiB each.
const MAX_ROWS: usize = 4_096;
/// Records that wait.
const MAX_RECORDS: usize = 2_048;
/// Rows and records that go out together.
const BATCH: usize = 512;
/// How long they wait for company; what a killed process loses.
const DELAY: Duration = Duration::from_secs(2);
/// How often the process is measured. Without it for longer, an instance was dead or frozen.
const MEASURED: Duration = Duration::from_secs(30);
/// How long the end of the process waits for what is still to be sent.
const FLUSH: Duration = Duration::from_secs(3);
/// A call that takes longer is kept like one that failed.
const SLOW: Duration = Duration::from_millis(500);

/// Where rows go, and which of them.
pub struct Export {
    /// Application Insights' connection string.
    pub connection: String,
    /// Never waits without an end, and was made outside of any async runtime.
    pub client: reqwest::blocking::Client,
    /// Proves who we are, where the instrumentation key alone is not enough.
    pub bearer: Option<Bearer>,
    /// What the platform calls this instance.
    pub instance: String,
    /// Of 100 fast, successful calls to other services, those that are kept. Requests and failures are kept always.
    pub sample: u8,
}

/// The queues.
pub(super) struct Pipeline {
    /// Of what is kept always.
    full: BatchSpanProcessor,
    /// Of what stands for others like it.
    rest: BatchSpanProcessor,
    sample: u128,
    logs: SdkLoggerProvider,
    meters: SdkMeterProvider,
    ingestion: Arc<Ingestion>,
}

impl Pipeline {
    /// None if the connection string makes no sense.
    pub(super) fn new(export: Export) -> Option<Self> {
        let target = Target::parse(&export.connection)?;
        let ingestion = Arc::new(Ingestion::new(export.client, &target, export.bearer));
        let exporter = || {
            let client = Shared(Arc::clone(&ingestion));
            Exporter::new_from_connection_string(&target.connection, client).ok()
        };
        let sample = export.sample.clamp(1, 100);
        let rest = exporter()?.with_sample_rate(f64::from(sample) / 100.0);
        let (full, records, metrics) = (exporter()?, exporter()?, exporter()?);
        let resource = resource(export.instance);
        let reader = PeriodicReader::builder(metrics).with_interval(MEASURED).build();
        let meters = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(resource.clone())
            .build();
        // Before the queues, which count what they drop.
        global::set_meter_provider(meters.clone());
        process::measure(&ingestion);
        let records = BatchLogProcessor::builder(records).with_batch_config(
            logs::BatchConfigBuilder::default()
                .with_max_queue_size(MAX_RECORDS)
                .with_max_export_batch_size(BATCH)
                .with_scheduled_delay(DELAY)
                .build(),
        );
        let logs = SdkLoggerProvider::builder()
            .with_log_processor(log::Enriched(records.build()))
            .with_resource(resource.clone())
            .build();
        Some(Self {
            full: queue(full, &resource),
            rest: queue(rest, &resource),
            sample: u128::from(sample),
            logs,
            meters,
            ingestion,
        })
    }

    pub(super) fn bearer(&self) -> Option<&Bearer> {
        self.ingestion.bearer()
    }

    /// Takes a row in, or counts that there was no room.
    pub(super) fn take(&self, row: SpanData) {
        let took = row.end_time.duration_since(row.start_time).unwrap_or_default();
        let is_call = row.span_kind == SpanKind::Client;
        if !is_call || matches!(row.status, Status::Error { .. }) || took > SLOW {
            self.full.on_end(row);
            return;
        }
        // By its trace: what is kept of a request is all of it.
        let trace = u128::from_be_bytes(row.span_context.trace_id().to_bytes());
        if trace % 100 < self.sample {
            self.rest.on_end(row);
        }
    }

    /// Takes in what is logged.
    pub(super) fn log_layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        OpenTelemetryTracingBridge::new(&self.logs).with_filter(lines::exported())
    }

    /// Sends what waits.
    pub(super) async fn stop(&'static self) {
        let ends: [fn(&Self); 4] = [
            |all| drop(all.full.shutdown_with_timeout(FLUSH)),
            |all| drop(all.rest.shutdown_with_timeout(FLUSH)),
            |all| drop(all.logs.shutdown_with_timeout(FLUSH)),
            |all| drop(all.meters.shutdown_with_timeout(FLUSH)),
        ];
        flush(ends.map(|end| move || end(self))).await;
    }
}

/// Ends all queues at once, as each may wait for an endpoint that does not answer, and waits for them as long as is promised.
async fn flush(ends: [impl FnOnce() + Send + 'static; 4]) {
    let ended = ends.map(|end| {
        let (done, is_done) = oneshot::channel();
        thread::spawn(move || {
            end();
            let _ = done.send(());
        });
        is_done
    });
    let all = async {
        for one in ended {
            let _ = one.await;
        }
    };
    let _ = timeout(FLUSH, all).await;
}

/// One client for all queues.
#[derive(Debug)]
struct Shared(Arc<Ingestion>);

#[async_trait::async_trait]
impl opentelemetry_http::HttpClient for Shared {
    async fn send_bytes(
        &self,
        request: opentelemetry_http::Request<opentelemetry_http::Bytes>,
    ) -> Result<opentelemetry_http::Response<opentelemetry_http::Bytes>, opentelemetry_http::HttpError> {
        self.0.post(request)
    }
}

fn queue(exporter: Exporter<Shared>, resource: &Resource) -> BatchSpanProcessor {
    let bounds = trace::BatchConfigBuilder::default()
        .with_max_queue_size(MAX_ROWS)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY);
    let mut queue = BatchSpanProcessor::builder(exporter)
        .with_batch_config(bounds.build())
        .build();
    queue.set_resource(resource);
    queue
}

/// What every row says of its origin: `cloud_RoleName` is `scim.handler`.
fn resource(instance: String) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.namespace", "scim"),
            KeyValue::new("service.name", "handler"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
            // An instance's processes follow one another, and tell of themselves each.
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build()
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::Instant;

    use super::flush;

    /// What is promised (ARCHITECTURE.md), whatever becomes of the endpoint.
    #[tokio::test(start_paused = true)]
    async fn the_end_waits_three_seconds_for_an_endpoint_that_does_not_answer() {
        let began = Instant::now();
        let queues = [(); 4].map(|()| mpsc::channel::<()>());
        let (answers, ends): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
        let ends: [_; 4] = ends.try_into().unwrap();
        flush(ends.map(|answered| move || answered.recv().unwrap_or_default())).await;
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        drop(answers);
    }
}
