//! One invocation of a function: held until the handler is ready, sent in the mode of host.json, ended by the
//! function's time-out.

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

/// Runs one invocation of the function of that name.
pub(crate) async fn run(
    job_host: &JobHost,
    function: &str,
    inbound: Inbound,
    timing: &Timing,
    log: &Log,
) -> Response<Body> {
    let Some(worker) = job_host.worker.clone() else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let settings = &job_host.settings;
    let row = settings.rows.as_ref().map(|rows| rows.begin(function, &inbound));
    let deadline = settings.function_timeout.map(|timeout| Instant::now() + timeout);
    let invocation = Invocation {
        pid: worker.pid(),
        worker,
        deadline,
        log: log.clone(),
    };
    let answer = match settings.mode {
        Mode::Proxy => {
            let exchange = proxy::exchange(invocation.worker.pool(), inbound, timing, settings.body_limit);
            let response = invocation.limit(exchange).await;
            response.map(|response| response.map(|body| limited(body, deadline, move || invocation.kill())))
        }
        Mode::Forward => {
            // Nothing tells the handler that the client has gone: the exchange runs to its end all the same.
            let exchange = tokio::spawn(async move {
                invocation
                    .limit(forward::exchange(invocation.worker.pool(), inbound))
                    .await
            });
            exchange.await.unwrap_or(Err(Failure::Broken))
        }
    };
    if let Some(row) = row {
        row.end(answer.as_ref().ok().map(Response::status));
    }
    answer.unwrap_or_else(|failure| {
        log.error(format!("Executed function (Failed): {failure:?}"));
        empty(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

struct Invocation {
    worker: Arc<Worker>,
    /// The process when the invocation began.
    pid: Option<u32>,
    deadline: Option<Instant>,
    log: Log,
}

impl Invocation {
    /// The outcome of an exchange that begins when the handler is ready, and must end before the function's time is
    /// over.
    async fn limit(
        &self,
        exchange: impl Future<Output = Result<Response<Body>, Failure>>,
    ) -> Result<Response<Body>, Failure> {
        let held = async {
            if !self.worker.ready(&self.log).await {
                return Err(Failure::NotReady);
            }
            exchange.await
        };
        let Some(deadline) = self.deadline else {
            return held.await;
        };
        timeout_at(deadline, held).await.unwrap_or_else(|_| {
            self.kill();
            Err(Failure::FunctionTimeout)
        })
    }

    /// The function's time is over: the handler's process is killed, for everybody, and started again, which does
    /// not count as an error (inferred).
    fn kill(&self) {
        self.log
            .error("Timeout value was exceeded by a function: restarting the worker process.");
        self.worker.restart(self.pid);
    }
}
