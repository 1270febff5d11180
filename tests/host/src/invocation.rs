//! One invocation of a function: held until the handler is ready, sent in the mode of host.json, ended by the
//! function's time-out (§1.3, §1.4, §2).

use std::sync::Arc;

use http::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::body::{empty, limited};
use crate::host::JobHost;
use crate::inbound::Inbound;
use crate::log::Log;
use crate::worker::Worker;
use crate::{Body, Mode, Timing, forward, proxy};

pub(crate) const HOST_VERSION: &str = "4.1052.200.0";
pub(crate) const HOST_VERSION_HEADER: &str = "x-azure-functions-hostversion";
pub(crate) const INVOCATION_ID_HEADER: &str = "x-azure-functions-invocationid";

/// Why there is no response: whatever it is, the client gets 500 with an empty body (`ExceptionMiddleware`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The handler cannot be connected to.
    Unreachable,
    /// The exchange broke, or could not be begun.
    Broken,
    /// Nothing moved for too long.
    Timeout,
    /// The function ran out of time.
    FunctionTimeout,
    /// The handler never became ready.
    NotReady,
}

/// Runs one invocation.
pub(crate) async fn run(job_host: &Arc<JobHost>, inbound: Inbound, timing: &Timing, log: &Log) -> Response<Body> {
    let Some(worker) = job_host.worker.clone() else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let deadline = job_host
        .settings
        .function_timeout
        .map(|timeout| Instant::now() + timeout);
    let answer = match job_host.settings.mode {
        Mode::Proxy => proxied(job_host, &worker, inbound, deadline, timing, log).await,
        Mode::Forward => {
            // Nothing tells the handler that the client has gone: the exchange runs to its end all the same.
            let (worker, log) = (Arc::clone(&worker), log.clone());
            let exchange = tokio::spawn(async move { forwarded(&worker, inbound, deadline, &log).await });
            exchange.await.unwrap_or(Err(Failure::Broken))
        }
    };
    answer.unwrap_or_else(|failure| {
        log.error(format!("Executed function (Failed): {failure:?}"));
        empty(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

async fn proxied(
    job_host: &JobHost,
    worker: &Arc<Worker>,
    inbound: Inbound,
    deadline: Option<Instant>,
    timing: &Timing,
    log: &Log,
) -> Result<Response<Body>, Failure> {
    let exchange = async {
        if !worker.ready(log).await {
            return Err(Failure::NotReady);
        }
        proxy::exchange(worker.pool(), inbound, timing, job_host.settings.body_limit).await
    };
    let response = before(deadline, worker, log, exchange).await?;
    let (worker, log) = (Arc::clone(worker), log.clone());
    Ok(response.map(|body| limited(body, deadline, move || kill(&worker, &log))))
}

async fn forwarded(
    worker: &Worker,
    inbound: Inbound,
    deadline: Option<Instant>,
    log: &Log,
) -> Result<Response<Body>, Failure> {
    let exchange = async {
        if !worker.ready(log).await {
            return Err(Failure::NotReady);
        }
        forward::exchange(worker.pool(), inbound).await
    };
    before(deadline, worker, log, exchange).await
}

/// The exchange's outcome, unless the function's time is over before: then the handler's process is killed, for
/// everybody, and started again (not counted as an error; inferred).
async fn before(
    deadline: Option<Instant>,
    worker: &Worker,
    log: &Log,
    exchange: impl Future<Output = Result<Response<Body>, Failure>>,
) -> Result<Response<Body>, Failure> {
    let Some(deadline) = deadline else {
        return exchange.await;
    };
    timeout_at(deadline, exchange).await.unwrap_or_else(|_| {
        kill(worker, log);
        Err(Failure::FunctionTimeout)
    })
}

fn kill(worker: &Worker, log: &Log) {
    log.error("Timeout value was exceeded by a function: restarting the worker process.");
    worker.restart();
}
