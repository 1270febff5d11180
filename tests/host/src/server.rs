//! The host's front: what a request meets before a function.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;

use crate::body::{empty, guarded, whole};
use crate::decode::{decode_path, query_value};
use crate::function::{AuthLevel, Function};
use crate::host::{JobHost, Shared};
use crate::inbound::Inbound;
use crate::invocation::{HOST_VERSION, run};
use crate::kestrel;
use crate::probe;
use crate::wire::{Wire, WireStream};
use crate::{Body, Keys};

const HOMEPAGE: &str = "<!DOCTYPE html>\n<title>Functions</title>\n<p>Your Functions 4.0 app is up and running</p>\n";

/// Serves one connection to its end.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let wire = Arc::<Wire>::default();
    let io = TokioIo::new(WireStream::new(stream, Arc::clone(&wire)));
    let keep_alive = shared.options.timing.keep_alive;
    let service = service_fn(move |request| {
        let (shared, wire) = (Arc::clone(&shared), Arc::clone(&wire));
        async move { Ok::<_, std::convert::Infallible>(respond(&shared, peer, &wire, request).await) }
    });
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .title_case_headers(true)
        .max_buf_size(kestrel::PARSER_BUFFER)
        .max_headers(kestrel::PARSER_HEADER_LINES)
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .serve_connection(io, service);
    // The client has gone, or a started response had to be aborted.
    let _ = connection.await;
}

async fn respond(shared: &Shared, peer: SocketAddr, wire: &Arc<Wire>, request: Request<Incoming>) -> Response<Body> {
    if let Some(status) = kestrel::refusal(&request) {
        return kestrel::refuse(status);
    }
    // `OPTIONS *` has an empty path.
    let raw = if request.uri().path() == "*" {
        ""
    } else {
        request.uri().path()
    };
    let Some(path) = decode_path(raw) else {
        return kestrel::refuse(StatusCode::BAD_REQUEST);
    };
    let method = request.method().clone();
    let mut response = middlewares(shared, peer, wire, path, request).await;
    if kestrel::throws(response.status(), response.headers()) {
        response = empty(StatusCode::INTERNAL_SERVER_ERROR);
    }
    kestrel::finish(&mut response, &method);
    response
}

async fn middlewares(
    shared: &Shared,
    peer: SocketAddr,
    wire: &Arc<Wire>,
    path: String,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(job_host) = shared.running().await else {
        let mut response = Response::new(whole("Function host is not running."));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let mut permit = None;
    if is_below(&path, "/admin") {
        if let Some(response) = built_in(shared, &job_host, &path, &request).await {
            return response;
        }
    } else {
        permit = job_host.throttle.enter().await;
        if permit.is_none() {
            let mut response = empty(StatusCode::TOO_MANY_REQUESTS);
            response
                .headers_mut()
                .insert("x-function-scaleout", HeaderValue::from_static("1"));
            return response;
        }
    }
    let in_flight = job_host.enter();
    let response = function(shared, &job_host, peer, path, request).await;
    let wire = Arc::clone(wire);
    response.map(|body| guarded(body, wire, (permit, in_flight)))
}

/// Routes to a function and invokes it: 404 when there is none, 401 when the key is missing, both without a body.
async fn function(
    shared: &Shared,
    job_host: &Arc<JobHost>,
    peer: SocketAddr,
    path: String,
    request: Request<Incoming>,
) -> Response<Body> {
    let matching = |function: &&Function| function.template.matches(&path) && function.accepts(request.method());
    let Some(function) = job_host.functions.iter().find(matching) else {
        return if path == "/" && request.method() == Method::GET {
            homepage(job_host.settings.homepage)
        } else {
            empty(StatusCode::NOT_FOUND)
        };
    };
    let keys = shared.options.keys.as_ref();
    if function.disabled && !keys.is_some_and(|keys| may(keys, &function.name, AuthLevel::Admin, &request)) {
        return empty(StatusCode::NOT_FOUND);
    }
    if keys.is_some_and(|keys| !may(keys, &function.name, function.level, &request)) {
        return empty(StatusCode::UNAUTHORIZED);
    }
    let limit = job_host.settings.body_limit;
    match Inbound::read(request, path, peer, limit, shared.options.app_service).await {
        Ok(inbound) => run(job_host, &function.name, inbound, &shared.options.timing, &shared.log).await,
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn homepage(is_shown: bool) -> Response<Body> {
    if !is_shown {
        return empty(StatusCode::NO_CONTENT);
    }
    let mut response = Response::new(whole(HOMEPAGE));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// The host's own endpoints as far as they are imitated; others fall through to the functions.
async fn built_in(
    shared: &Shared,
    job_host: &JobHost,
    path: &str,
    request: &Request<Incoming>,
) -> Option<Response<Body>> {
    let query = request.uri().query().unwrap_or_default();
    if path.eq_ignore_ascii_case("/admin/host/ping") {
        let agent = text(request.headers(), "user-agent").unwrap_or_default();
        let checks = query_value(query, "checkHealth").is_some_and(|value| value != "0" && value != "false")
            || ["HttpScaleManager", "ElasticScaleController"]
                .iter()
                .any(|name| agent.contains(name));
        if let Some(worker) = job_host.worker.as_ref().filter(|_| checks) {
            probe::answers(worker.probe_pool(), !job_host.settings.forwarding).await;
        }
        return Some(empty(StatusCode::OK));
    }
    if !path.eq_ignore_ascii_case("/admin/host/status") || request.method() != Method::GET {
        return None;
    }
    if shared
        .options
        .keys
        .as_ref()
        .is_some_and(|keys| !may(keys, "", AuthLevel::Admin, request))
    {
        return Some(empty(StatusCode::UNAUTHORIZED));
    }
    let status = json!({ "id": "functions-test-host", "state": "Running", "version": HOST_VERSION });
    let mut response = Response::new(whole(status.to_string()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    Some(response)
}

/// Whether the request's key, in `x-functions-key` or `code`, opens a function of that level.
fn may(keys: &Keys, function: &str, level: AuthLevel, request: &Request<Incoming>) -> bool {
    let key = text(request.headers(), "x-functions-key").map(str::to_owned);
    let key = key.or_else(|| query_value(request.uri().query()?, "code"));
    let opens = |name: &str| key.is_some() && keys.get(name) == key.as_ref();
    match level {
        AuthLevel::Anonymous => true,
        AuthLevel::Function => opens(function) || opens("default") || opens("_master"),
        AuthLevel::Admin => opens("_master"),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_below(path: &str, parent: &str) -> bool {
    let start = path
        .get(..parent.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(parent));
    start && matches!(path.as_bytes().get(parent.len()), None | Some(b'/'))
}
