//! Imitates the Azure Functions host, version 4, around a custom handler, in both modes in which it passes HTTP
//! requests on: PROXY (`enableProxyingHttpRequest`) and FORWARD (`enableForwardingHttpRequest`).
//!
//! It follows a reading of the sources of azure-functions-host 4, YARP, ASP.NET and core tools, distortions included,
//! and never bends to what a handler would like. It was not compared with a running host. What that reading only
//! inferred, or took from memory, is marked so in comments.
//!
//! Not imitated: JSON mode (timers, queues and every function with other bindings are refused), functions from
//! `customHandler.http.routes`, watching files ([`Host::restart_job_host`] stands for it), CORS, HSTS and
//! `customHeaders`, dynamic throttles, `ASPNETCORE_FORWARDEDHEADERS_ENABLED`, the time `HttpClient` waits for a 100
//! (a body follows its head at once), and what the heads of `kestrel`, `dotnet_headers` and `route` name. A
//! response is malformed when hyper says so.
//!
//! A request's way: `server` → `kestrel` → `decode` → `throttle` → `route` → `inbound` → `invocation` →
//! `proxy` or `forward` → `outgoing` → `pool` → the handler. Beside it, `settings` and `function` load,
//! `worker` and `process` keep the handler running, `row` tells Application Insights.

mod activity;
mod body;
mod command_line;
mod config;
mod decode;
mod dotnet_headers;
mod forward;
mod function;
mod host;
mod identifier;
mod inbound;
mod invocation;
mod kestrel;
mod log;
mod outgoing;
mod pool;
mod probe;
mod process;
mod proxy;
mod route;
mod row;
mod server;
mod settings;
mod throttle;
mod wire;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

pub use crate::host::Host;
pub use crate::log::{Level, Line, Sink, Source};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Access keys by what they open: a function's name, `default` (the host key: any function), `_master` (everything).
pub type Keys = BTreeMap<String, String>;

/// How to start a host.
#[derive(Clone)]
pub struct Options {
    /// The script root: the folder with host.json, local.settings.json and a folder a function.
    pub root: PathBuf,
    /// Overrides host.json, through the app settings an operator would use.
    pub mode: Option<Mode>,
    /// The host's environment, that is the app settings: complete, nothing is inherited from this process (see
    /// [`process_environment`]). What it sets, local.settings.json does not.
    pub environment: BTreeMap<String, String>,
    /// Where to listen; port 0: any free one.
    pub listen: SocketAddr,
    /// `None`: no authorisation, as with `func start` without `--enableAuth`.
    pub keys: Option<Keys>,
    /// The header fix-up of Linux App Service: `DISGUISED-HOST` replaces `Host`, `X-Forwarded-Proto` sets the scheme.
    pub app_service: bool,
    /// Called with every line of the log.
    pub log: Option<Sink>,
    /// Time-outs and delays.
    pub timing: Timing,
}

impl Options {
    /// The options of a host for that script root, on a free loopback port.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            mode: None,
            environment: BTreeMap::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            keys: None,
            app_service: false,
            log: None,
            timing: Timing::default(),
        }
    }
}

/// How HTTP requests reach the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `enableProxyingHttpRequest`: streamed, by YARP.
    Proxy,
    /// `enableForwardingHttpRequest`: rebuilt and buffered, by `HttpClient`.
    Forward,
}

/// Time-outs and delays, with the real host's values as default.
#[derive(Clone, Debug)]
pub struct Timing {
    /// How long the handler may take until it answers `GET /`; requests are held four times as long. `None`:
    /// host.json's, else 30 s.
    pub initialization_timeout: Option<Duration>,
    /// Between two readiness probes: 25 ms.
    pub probe_interval: Duration,
    /// How long a request waits for a job host that restarts before it gets 503: 30 s.
    pub availability_timeout: Duration,
    /// Within which of each other the handler's errors add up: 30 min.
    pub error_window: Duration,
    /// How long requests may go on when the job host restarts: 10 s.
    pub stop_grace: Duration,
    /// PROXY: ends a request when nothing moves: 240 s.
    pub activity_timeout: Duration,
    /// PROXY: the delay before the first retry, 50 ms; later ones are 2, 4, 5, 5, … times as long.
    pub retry_delay: Duration,
    /// How long an unused connection to the handler is kept: 60 s (from memory).
    pub idle_timeout: Duration,
    /// Every so many requests a connection to the handler is opened and left unused; 0: never. By default 16. The
    /// real host has such connections under load; this makes them certain.
    pub spare_every: u64,
    /// How long a client's connection may be idle, or take for a request's head: 130 s (from memory; for the head
    /// Kestrel has 30 s).
    pub keep_alive: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            initialization_timeout: None,
            probe_interval: Duration::from_millis(25),
            availability_timeout: Duration::from_secs(30),
            error_window: Duration::from_mins(30),
            stop_grace: Duration::from_secs(10),
            activity_timeout: Duration::from_mins(4),
            retry_delay: Duration::from_millis(50),
            idle_timeout: Duration::from_mins(1),
            spare_every: 16,
            keep_alive: Duration::from_secs(130),
        }
    }
}

/// Why the host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file says what the host refuses, or what is not imitated.
    #[error("{}: {problem}", file.display())]
    Invalid {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The address is not to be had.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The fixed port of `customHandler.port` is not to be had.
    #[error("Unable to bind to port {port}: {source}")]
    Port {
        /// Which.
        port: u16,
        /// Why.
        source: io::Error,
    },
}

/// The environment of this process, for [`Options::environment`].
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
