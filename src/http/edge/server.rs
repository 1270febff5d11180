//! The port: HTTP/1.1, and HTTP/2 for who begins with it (RFC 9113 §3.3), side by side.

use std::{io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use actix_http::{HttpService, Request};
use actix_server::GracefulShutdownSignal;
use actix_service::{IntoServiceFactory, map_config};
use actix_web::{
    App as Actix, Error,
    body::BoxBody,
    dev::{AppConfig, Server, Service, ServiceFactory, ServiceResponse, fn_factory, fn_service},
    middleware::from_fn,
    rt::{self, net::TcpStream},
    web::{Data, ServiceConfig},
};
use tokio::time::{Instant, sleep, timeout};

use super::{guard, h1::Announcing, h2};
use crate::{app::App, telemetry};

/// An idle connection is closed by whoever is in front of us, never by us: closing one that is about to be used again
/// fails the request on it. Longer than any front end keeps one.
pub(super) const KEEP_ALIVE: Duration = Duration::from_mins(65);
/// How long the first head of a connection may take from its first byte on. Before that byte there is no HTTP: nothing is ever
/// said to who has said nothing.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection that has had its last answer is read on, so that who is still sending gets to read it.
const LINGER: Duration = Duration::from_secs(2);
/// How long requests may go on after the server was told to stop, at least; those which may take longer have so much more than
/// their deadline, for an answer to arrive.
const DRAIN: Duration = Duration::from_secs(20);
const BEHIND_DEADLINE: Duration = Duration::from_secs(5);
/// Most connections, shared by the worker threads; bounds memory. Those behind them wait to be accepted.
const MAX_CONNECTIONS: usize = 16_000;
/// How an HTTP/2 connection begins (RFC 9113 §3.4); no HTTP/1.1 request does.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long the rest of a preface may take.
const PREFACE_TIME: Duration = Duration::from_secs(10);
/// Pause between two looks at a preface that has begun.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);

/// The HTTP server on a listener, with these routes; it runs while the returned future is polled.
pub(in crate::http) fn serve(
    app: &Arc<App>,
    listener: TcpListener,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Server> {
    let app = Arc::clone(app);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(MAX_CONNECTIONS / workers)
        .shutdown_timeout(drain_time(app.settings.deadline()).as_secs())
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let worker = move || {
        let (app, routes, stopping) = (Arc::clone(&app), routes.clone(), stopping.clone());
        fn_factory(move || worker(Arc::clone(&app), routes.clone(), stopping.clone()))
    };
    Ok(server.listen("scimgate", listener, worker)?.run())
}

pub(super) fn drain_time(deadline: Duration) -> Duration {
    DRAIN.max(deadline + BEHIND_DEADLINE)
}

/// One thread's part: what it does with each connection.
async fn worker(
    app: Arc<App>,
    routes: impl Fn(&mut ServiceConfig) + Clone + 'static,
    stopping: GracefulShutdownSignal,
) -> Result<impl Service<TcpStream, Response = (), Error = ()>, ()> {
    rt::spawn(telemetry::watch_scheduler());
    let h1 = {
        let stopping = stopping.clone();
        let stops = move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        };
        let http = HttpService::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIME)
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(|connection: &Announcing, data| {
                data.insert(connection.gate().clone());
            })
            .graceful_shutdown_signal(stops);
        http.h1(map_config(actix(Arc::clone(&app), routes.clone()), |()| {
            AppConfig::default()
        }))
    };
    let h1 = Rc::new(h1.new_service(()).await.map_err(drop)?);
    let h2 = actix(app, routes).new_service(AppConfig::default());
    let h2 = Rc::new(h2.await?);
    Ok(fn_service(move |stream: TcpStream| {
        let (h1, h2, stopping) = (Rc::clone(&h1), Rc::clone(&h2), stopping.clone());
        async move {
            // It only ever makes answers later.
            let _ = stream.set_nodelay(true);
            let peer = stream.peer_addr().ok();
            let preface = timeout(KEEP_ALIVE, begins_with_the_preface(&stream));
            let speaks_http_2 = tokio::select! {
                biased;
                preface = preface => preface,
                // Nobody has asked anything on it.
                () = stopping.notified() => return Ok(()),
            };
            // A connection that broke is nothing to report: its client is gone.
            match speaks_http_2 {
                Ok(Ok(true)) => h2::serve(stream, peer, h2, stopping.notified()).await,
                Ok(Ok(false)) => h1.call((Announcing::new(stream), peer)).await.map_err(drop),
                Ok(Err(_)) | Err(_) => Ok(()),
            }
        }
    }))
}

/// The handlers with the guard around all of them.
fn actix(
    app: Arc<App>,
    routes: impl Fn(&mut ServiceConfig),
) -> impl ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>
{
    Actix::new()
        .app_data(Data::new(app))
        .wrap(from_fn(guard))
        .configure(routes)
        .into_factory()
}

/// Whether the client speaks HTTP/2; waits for its first bytes and takes none of them.
async fn begins_with_the_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    let mut until = None;
    loop {
        let length = stream.peek(&mut seen).await?;
        if length == 0 || seen[..length] != PREFACE[..length] {
            return Ok(false);
        }
        let until = *until.get_or_insert_with(|| Instant::now() + PREFACE_TIME);
        if length == PREFACE.len() || Instant::now() > until {
            return Ok(length == PREFACE.len());
        }
        // What was seen stays there to be seen, so only time tells whether more has come.
        sleep(PREFACE_PAUSE).await;
    }
}
