//! A real Envoy on loopback, and what it says of the service behind it.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use scimgate::app;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// How long Envoy may take to start.
const START_TIME: Duration = Duration::from_secs(30);

/// How often it asks whether an upstream is ready.
const CHECK: Duration = Duration::from_millis(250);

/// The compression table that Envoy asks for by itself.
const MAX_TABLE: u32 = 4096;

/// What must be zero of what Envoy counts about its upstream: each is an answer that was none.
const FAULTS: [&str; 7] = [
    "upstream_cx_protocol_error",
    "upstream_rq_tx_reset",
    "upstream_rq_rx_reset",
    "upstream_cx_destroy_remote_with_active_rq",
    "http2.rx_messaging_error",
    "http2.tx_reset",
    "http2.rx_reset",
];

/// Flags of Envoy's access log that say nothing about the upstream: none at all, and that its own client's request was none.
const HARMLESS: [&str; 2] = ["-", "DPE"];

/// What Envoy speaks to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Http1,
    /// With prior knowledge, without TLS.
    Http2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Http1 => "h1",
            Version::Http2 => "h2",
        })
    }
}

/// Where Envoy is, when somebody said so.
pub(crate) fn program() -> Option<PathBuf> {
    let named = functions_test_host::process_environment().remove("SCIMGATE_ENVOY");
    named.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A running Envoy; ends with the value.
pub(crate) struct Envoy {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    admin: String,
    client: reqwest::Client,
    folder: TempDir,
}

impl Envoy {
    /// Starts one with a single thread, so that all clients share one pool of connections to the upstream; if that is
    /// several, requests go to those that say they are ready.
    pub(crate) async fn start(upstreams: &[SocketAddr], version: Version, retries: bool) -> Result<Envoy, String> {
        Envoy::start_with_table(upstreams, version, retries, MAX_TABLE).await
    }

    /// The same; with HTTP/2 it asks for a compression table of so many bytes (RFC 7541 §4.2).
    pub(crate) async fn start_with_table(
        upstreams: &[SocketAddr],
        version: Version,
        retries: bool,
        table: u32,
    ) -> Result<Envoy, String> {
        let program = program().ok_or("SCIMGATE_ENVOY is not set")?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = |name: &str| folder.path().join(name);
        let configuration = configuration(upstreams, version, retries, table, &file("access.log"));
        fs::write(file("envoy.json"), configuration.to_string()).map_err(|error| error.to_string())?;
        let child = Command::new(program)
            .arg("--config-path")
            .arg(file("envoy.json"))
            .arg("--admin-address-path")
            .arg(file("admin"))
            .arg("--log-path")
            .arg(file("envoy.log"))
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut envoy = Envoy {
            child,
            address: upstreams[0],
            admin: String::new(),
            client: app::http_client().map_err(|error| error.to_string())?,
            folder,
        };
        let listens = timeout(START_TIME, envoy.listens()).await;
        listens.map_err(|_| format!("Envoy does not start: {}", envoy.file("envoy.log")))?;
        envoy.until_ready(upstreams.len()).await?;
        Ok(envoy)
    }

    /// Waits until it has told its addresses.
    async fn listens(&mut self) {
        loop {
            let admin = self.file("admin");
            self.admin = format!("http://{}", admin.trim());
            if let Some(port) = self.port().await {
                self.address.set_port(port);
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn port(&self) -> Option<u16> {
        let listeners = self.ask("/listeners?format=json").await?;
        let listeners: Value = serde_json::from_str(&listeners).ok()?;
        let ready = self.ask("/ready").await?;
        let port = listeners.pointer("/listener_statuses/0/local_address/socket_address/port_value")?;
        u16::try_from(port.as_u64()?).ok().filter(|_| ready.trim() == "LIVE")
    }

    async fn ask(&self, path: &str) -> Option<String> {
        let answer = self.client.get(format!("{}{path}", self.admin)).send().await.ok()?;
        answer.text().await.ok()
    }

    /// Waits until so many of the upstreams are ready, as far as it knows.
    pub(crate) async fn until_ready(&self, upstreams: usize) -> Result<(), String> {
        let line = format!("cluster.upstream.membership_healthy: {upstreams}");
        let ready = async {
            while self
                .ask("/stats?filter=membership_healthy")
                .await
                .unwrap_or_default()
                .trim()
                != line
            {
                sleep(CHECK / 5).await;
            }
        };
        let ready = timeout(START_TIME, ready).await;
        ready.map_err(|_| format!("never {upstreams} upstreams are ready"))
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// What it says of the upstream, at the end of everything.
    pub(crate) async fn stop(mut self) -> Findings {
        let stats = self.ask("/stats?filter=%5Ecluster%5C.upstream%5C.").await;
        let Some(stats) = stats else {
            panic!(
                "Envoy is gone ({:?}): {}",
                self.child.try_wait(),
                self.file("envoy.log")
            );
        };
        let number = |line: &str| {
            let (name, value) = line.strip_prefix("cluster.upstream.")?.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let stats = stats.lines().filter_map(number).collect();
        let quit = self.client.post(format!("{}/quitquitquit", self.admin)).send().await;
        quit.expect("Envoy can be told to end");
        self.child.wait().expect("Envoy ends");
        let log = File::open(self.folder.path().join("access.log")).expect("Envoy writes its log");
        let mut findings = Findings {
            stats,
            requests: 0,
            flagged: Vec::new(),
        };
        for line in BufReader::new(log).lines() {
            findings.read(line.expect("Envoy writes text"));
        }
        findings
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an Envoy saw of its upstream.
#[derive(Debug)]
pub(crate) struct Findings {
    stats: BTreeMap<String, u64>,
    /// Requests that came in.
    pub(crate) requests: usize,
    /// Lines of the log with a flag: `<flags> <status> <details> <method> <path>`.
    flagged: Vec<String>,
}

impl Findings {
    /// A statistic of the upstream; what Envoy never counted is not listed.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        self.stats.get(name).copied().unwrap_or_default()
    }

    /// One line of the access log, which is one request.
    fn read(&mut self, line: String) {
        self.requests += 1;
        let flags = line.split(' ').next().unwrap_or_default();
        if !HARMLESS.contains(&flags) || line.contains("protocol_error") {
            self.flagged.push(line);
        }
    }

    /// Everything that the upstream did wrong; empty is clean.
    pub(crate) fn faults(&self) -> Vec<String> {
        let counted = FAULTS.iter().map(|name| (name, self.stat(name)));
        let counted = counted.filter(|(_, count)| *count > 0);
        counted
            .map(|(name, count)| format!("{name}: {count}"))
            .chain(self.flagged.iter().cloned())
            .collect()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests on {} connections, protocol errors {}, resets sent {}, faults {}",
            self.requests,
            self.stat("upstream_cx_total"),
            self.stat("upstream_cx_protocol_error"),
            self.stat("upstream_rq_tx_reset"),
            self.faults().len(),
        )
    }
}

fn configuration(upstreams: &[SocketAddr], version: Version, retries: bool, table: u32, log: &Path) -> Value {
    let address = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let (spoken, codec) = match version {
        Version::Http1 => (json!({ "http_protocol_options": {} }), "HTTP1"),
        Version::Http2 => (
            json!({ "http2_protocol_options": { "hpack_table_size": table } }),
            "HTTP2",
        ),
    };
    let every = format!("{}s", CHECK.as_secs_f64());
    let check = json!({
        "timeout": "5s",
        "interval": every,
        "no_traffic_interval": every,
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "http_health_check": { "path": "/health/ready", "codec_client_type": codec },
    });
    let checks = if upstreams.len() > 1 { vec![check] } else { Vec::new() };
    let endpoints = upstreams
        .iter()
        .map(|upstream| json!({ "endpoint": { "address": address(upstream.port()) } }));
    let endpoints: Vec<Value> = endpoints.collect();
    let mut route = json!({ "cluster": "upstream", "timeout": "60s" });
    if retries {
        // What `Findings` must not see: here only for counter-proofs.
        route["retry_policy"] = json!({ "retry_on": "reset", "num_retries": 2 });
    }
    let extensions = "type.googleapis.com/envoy.extensions";
    let manager = json!({
        "@type": format!("{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "http_protocol_options": { "accept_http_10": true },
        "access_log": [{ "name": "file", "typed_config": {
            "@type": format!("{extensions}.access_loggers.file.v3.FileAccessLog"),
            "path": log,
            "log_format": { "text_format_source": { "inline_string":
                "%RESPONSE_FLAGS% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %REQ(:METHOD)% %REQ(:PATH)%\n" } },
        } }],
        "route_config": { "virtual_hosts": [
            { "name": "all", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": route }] },
        ] },
        "http_filters": [{ "name": "router", "typed_config": {
            "@type": format!("{extensions}.filters.http.router.v3.Router"),
            "suppress_envoy_headers": true,
        } }],
    });
    let protocol = json!({
        "@type": format!("{extensions}.upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": spoken,
    });
    json!({
        "admin": { "address": address(0) },
        "static_resources": {
            "listeners": [{ "name": "in", "address": address(0), "filter_chains": [{ "filters": [
                { "name": "http", "typed_config": manager },
            ] }] }],
            "clusters": [{
                "name": "upstream",
                "type": "STATIC",
                "connect_timeout": "5s",
                "circuit_breakers": { "thresholds": [{ "max_retries": 1_000 }] },
                "health_checks": checks,
                "load_assignment": { "cluster_name": "upstream", "endpoints": [{ "lb_endpoints": endpoints }] },
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol,
                },
            }],
        },
    })
}
