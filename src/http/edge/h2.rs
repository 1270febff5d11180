//! HTTP/2 with prior knowledge, by hyper: actix's own rests on h2 0.3 (RUSTSEC-2026-0258).

use std::{cell::RefCell, convert::Infallible, io, net::SocketAddr, pin::Pin, rc::Rc, task, time::Duration};

use actix_http::{BoxedPayloadStream, Payload, Request, error::PayloadError};
use actix_web::{
    Error,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Service, ServiceResponse},
    http::{
        Method, Uri, Version,
        header::{HeaderName, HeaderValue},
    },
    rt,
    web::Bytes,
};
use futures::{Stream, StreamExt, stream};
use hyper::{
    body::{Body, Frame, Incoming},
    header::CONTENT_LENGTH,
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::timeout,
};

use super::{malformed::Answering, stall::Timely};

/// Most requests at once on one connection, as many as proxies ask for by default.
const MAX_STREAMS: u32 = 128;
/// Most bytes of a request's headers.
const MAX_HEAD_BYTES: u32 = 64 * 1024;
/// Resets of a connection, as malformed requests cause, behind which it ends as when the server stops: a proxy begins another one,
/// and none of its customers notices.
const MANY_RESETS: usize = 10_000;
/// Behind so many h2 ends it with an error; never met by who asks less at once than lies between the two.
const MAX_MALFORMED: usize = 10 * MANY_RESETS;
/// Most requests of a connection that are taken back before we have begun with them; h2 ends it behind them, and with it the
/// requests of everybody whom a proxy has put on it, and its own default is 20. Bounds the work that such requests can make
/// (CVE-2023-44487).
const MAX_TAKEN_BACK: usize = 1_000;
/// What a request, and a connection, may send ahead of who reads it; bounds memory.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// How often a silent client is asked whether it is still there, and how long it may think about that.
const PING: Duration = Duration::from_mins(5);
const PING_TIME: Duration = Duration::from_secs(20);
/// How much, and how long, a body is read on that no handler wanted. A response before the end of its request makes a proxy
/// reset the stream, and count that as a fault.
const MAX_UNREAD_BYTES: usize = 16 * 1024 * 1024;
const UNREAD_TIME: Duration = Duration::from_secs(10);

/// How long a request may take until its answer is read: longer than any deadline.
const STREAM_TIME: Duration = Duration::from_mins(5);

/// Runs on the worker's own thread, as the handlers do.
#[derive(Clone)]
struct Here;

impl<F: Future + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        rt::spawn(async move {
            // Its stream is reset then; the others of the connection go on.
            let _ = timeout(STREAM_TIME, future).await;
        });
    }
}

/// Answers what comes on a connection, until its client has had enough, or it has had many resets, or the server stops.
pub(super) async fn serve<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Option<SocketAddr>,
    service: Rc<S>,
    stopping: impl Future<Output = ()>,
) -> Result<(), ()>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    let answer = service_fn(move |request| {
        let service = Rc::clone(&service);
        async move { Ok::<_, Infallible>(answer(&*service, request, peer).await) }
    });
    let enough = Rc::<Notify>::default();
    let stream = Answering::new(Timely::new(stream), MANY_RESETS, Rc::clone(&enough));
    let connection = http2::Builder::new(Here)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_local_error_reset_streams(MAX_MALFORMED)
        .max_pending_accept_reset_streams(MAX_TAKEN_BACK)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIME)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended.map_err(drop),
        () = stopping => {}
        () = enough.notified() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await.map_err(drop)
}

async fn answer<S>(
    service: &S,
    request: hyper::Request<Incoming>,
    peer: Option<SocketAddr>,
) -> hyper::Response<Outgoing>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    let is_head = request.method() == hyper::Method::HEAD;
    let (head, body) = request.into_parts();
    let body = Rc::new(RefCell::new(body));
    let payload: BoxedPayloadStream = Box::pin(chunks(Rc::clone(&body)));
    let Some(request) = translate(&head, Payload::Stream { payload }, peer) else {
        return empty(hyper::StatusCode::BAD_REQUEST);
    };
    // Of many requests whose bodies are waited for, the heads would be much.
    drop(head);
    let response = service
        .call(request)
        .await
        .map(|response| translated(response, is_head));
    let unread = chunks(body).scan(MAX_UNREAD_BYTES, |left, chunk| {
        *left = left.saturating_sub(chunk.as_ref().map_or(*left, Bytes::len));
        std::future::ready((*left > 0).then_some(()))
    });
    let _ = timeout(UNREAD_TIME, unread.for_each(std::future::ready)).await;
    response.unwrap_or_else(|_| empty(hyper::StatusCode::INTERNAL_SERVER_ERROR))
}

/// A body as it comes; whoever holds one of these sees what no other has taken.
fn chunks(body: Rc<RefCell<Incoming>>) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    stream::poll_fn(move |context| {
        loop {
            let frame = task::ready!(Pin::new(&mut *body.borrow_mut()).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => return task::Poll::Ready(Some(Ok(data))),
                // Trailers.
                Some(Ok(Err(_))) => {}
                Some(Err(_)) => return task::Poll::Ready(Some(Err(PayloadError::Incomplete(None)))),
                None => return task::Poll::Ready(None),
            }
        }
    })
}

/// The request as the handlers know requests; none where it can't be one.
fn translate(head: &http::request::Parts, payload: Payload, peer: Option<SocketAddr>) -> Option<Request> {
    let mut request = Request::with_payload(payload);
    let translated = request.head_mut();
    translated.method = Method::from_bytes(head.method.as_str().as_bytes()).ok()?;
    translated.uri = Uri::try_from(head.uri.to_string()).ok()?;
    translated.version = Version::HTTP_2;
    translated.peer_addr = peer;
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        translated
            .headers
            .append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(request)
}

/// The response as it goes out: the guard has made it whole and clean.
fn translated(response: ServiceResponse<BoxBody>, is_head: bool) -> hyper::Response<Outgoing> {
    let (head, body) = response.into_parts().1.into_parts();
    let mut translated = hyper::Response::builder().status(head.status().as_u16());
    for (name, value) in head.headers() {
        translated = translated.header(name.as_str(), value.as_bytes());
    }
    if let BodySize::Sized(length) = body.size() {
        translated = translated.header(CONTENT_LENGTH, length);
    }
    let body = if is_head { BoxBody::new(()) } else { body };
    translated
        .body(Outgoing(body))
        .unwrap_or_else(|_| empty(hyper::StatusCode::INTERNAL_SERVER_ERROR))
}

/// A response's body as hyper knows bodies.
struct Outgoing(BoxBody);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = Pin::new(&mut self.0).poll_next(context);
        // Ours never fail.
        next.map(|piece| {
            piece.map(|piece| {
                piece
                    .map(Frame::data)
                    .map_err(|error| io::Error::other(error.to_string()))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0.size(), BodySize::None | BodySize::Sized(0))
    }
}

fn empty(status: hyper::StatusCode) -> hyper::Response<Outgoing> {
    let mut response = hyper::Response::new(Outgoing(BoxBody::new(())));
    *response.status_mut() = status;
    response
}
