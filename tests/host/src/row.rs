//! The host's own telemetry, as far as it tells of requests: one row in `requests` for each invocation, of the category
//! `Host.Results`, sent to the ingestion endpoint of `APPLICATIONINSIGHTS_CONNECTION_STRING`.
//!
//! Not imitated: other rows, sampling, batches (a row goes out when its invocation ends), and endpoints other than
//! `http://` with an address. An invocation ends with the response's head; one whose client goes away in PROXY mode has no row.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::identifier;
use crate::inbound::Inbound;
use crate::log::Level;

/// Where rows go, and what all of them say.
pub(crate) struct Rows {
    endpoint: SocketAddr,
    key: String,
    role: String,
    instance: String,
    host_instance: String,
    /// The lowest level of `Host.Results` that passes.
    level: Level,
}

/// The row of an invocation that has begun.
pub(crate) struct Row {
    rows: Arc<Rows>,
    began: OffsetDateTime,
    since: Instant,
    /// The envelope without what only its end tells.
    envelope: Value,
}

impl Rows {
    /// Nothing where no connection string names an endpoint that can be reached.
    pub(crate) fn new(environment: &BTreeMap<String, String>, level: Level) -> Option<Self> {
        let connection = environment.get("APPLICATIONINSIGHTS_CONNECTION_STRING")?;
        let fields: BTreeMap<_, _> = connection
            .split(';')
            .filter_map(|field| field.split_once('='))
            .collect();
        let endpoint = fields.get("IngestionEndpoint")?.strip_prefix("http://")?;
        let first = |names: &[&str]| names.iter().find_map(|name| environment.get(*name)).cloned();
        Some(Self {
            endpoint: endpoint.trim_end_matches('/').parse().ok()?,
            key: (*fields.get("InstrumentationKey")?).to_owned(),
            role: first(&["WEBSITE_CLOUD_ROLENAME", "WEBSITE_SITE_NAME"]).unwrap_or_default(),
            instance: first(&["WEBSITE_INSTANCE_ID", "COMPUTERNAME", "CONTAINER_NAME"]).unwrap_or_default(),
            host_instance: identifier::guid(),
            level,
        })
    }

    #[expect(clippy::disallowed_methods, reason = "the host has the clock of its machine")]
    pub(crate) fn begin(self: &Arc<Self>, function: &str, inbound: &Inbound) -> Row {
        let mut trace = inbound.trace.split('-').skip(1).map(str::to_owned);
        let (operation, parent) = (trace.next(), trace.next());
        let envelope = json!({
            "name": "Microsoft.ApplicationInsights.Request",
            "iKey": self.key,
            "tags": {
                "ai.cloud.role": self.role,
                "ai.cloud.roleInstance": self.instance,
                "ai.operation.id": operation,
                "ai.operation.parentId": parent,
                "ai.operation.name": function,
            },
            "data": { "baseType": "RequestData", "baseData": {
                "ver": 2,
                "id": identifier::span(),
                "name": function,
                "url": format!("{}://{}{}", inbound.scheme, inbound.host, inbound.path),
                "properties": {
                    "InvocationId": inbound.invocation_id,
                    "HttpMethod": inbound.method.as_str(),
                    "HttpPath": inbound.path,
                    "Category": "Host.Results",
                    "ProcessId": std::process::id().to_string(),
                    "HostInstanceId": self.host_instance,
                },
            }},
        });
        Row {
            rows: Arc::clone(self),
            began: OffsetDateTime::now_utc(),
            since: Instant::now(),
            envelope,
        }
    }
}

impl Row {
    /// The invocation has ended; without a status of the handler's it has failed, which is an error to the host's log.
    pub(crate) fn end(mut self, status: Option<StatusCode>) {
        let level = if status.is_some() {
            Level::Information
        } else {
            Level::Error
        };
        if level < self.rows.level {
            return;
        }
        let took = self.since.elapsed();
        let (seconds, micros) = (took.as_secs(), took.subsec_micros());
        let (minutes, hours) = (seconds / 60, seconds / 3_600);
        let duration = format!("{:02}:{:02}:{:02}.{micros:06}", hours, minutes % 60, seconds % 60);
        self.envelope["time"] = self.began.format(&Rfc3339).unwrap_or_default().into();
        let data = &mut self.envelope["data"]["baseData"];
        data["duration"] = duration.into();
        data["success"] = status.is_some().into();
        data["responseCode"] = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).as_str().into();
        data["properties"]["LogLevel"] = format!("{level:?}").into();
        // Whether it arrives is nobody's concern.
        tokio::spawn(async move { self.rows.send(&self.envelope).await.ok() });
    }
}

impl Rows {
    async fn send(&self, row: &Value) -> Result<(), crate::BoxError> {
        let mut body = GzEncoder::new(Vec::new(), Compression::fast());
        body.write_all(row.to_string().as_bytes())?;
        let request = Request::post("/v2/track")
            .header(header::HOST, self.endpoint.to_string())
            .header(header::CONTENT_TYPE, "application/x-json-stream")
            .header(header::CONTENT_ENCODING, "gzip")
            .body(Full::new(Bytes::from(body.finish()?)))?;
        let stream = TokioIo::new(TcpStream::connect(self.endpoint).await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        sender.send_request(request).await?;
        connection.abort();
        Ok(())
    }
}
