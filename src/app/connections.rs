//! The connections to storage: never more of them than requests that are under way at a time.
//!
//! The pools of reqwest and hyper-util open a connection for a request while the one that it could have is still on its
//! way back, and close what a request left behind some time later: 32 requests at a time had up to 40 connections in fair
//! weather, and 88 sockets where answers stayed out. Each socket is a port of those that Azure lends an instance. Here a
//! connection is its request's own, and is back, or gone, before the request's end is known.

use std::{
    fmt, io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    Bytes,
    error::{Error, ErrorKind},
    http::{AsyncRawResponse, Body, HttpClient, Request, Url, headers::Headers},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
    stream,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use rustls_platform_verifier::ConfigVerifierExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

/// Azure's load balancers forget a silent connection after 4 minutes.
const KEEP_IDLE: Duration = Duration::from_mins(2);
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// HTTP/1.1 to whom the URLs name. Follows no redirects, knows no proxies, sends every request once.
pub(super) struct Connections {
    idle: Arc<Idle>,
    tls: TlsConnector,
    connect_time: Duration,
}

/// Connections that wait for a request.
#[derive(Default)]
struct Idle(Mutex<Vec<Connection>>);

/// One connection. It is served by who uses it, so that it is closed when they go away; nobody serves it while it is idle.
struct Connection {
    origin: String,
    sender: SendRequest<Full<Bytes>>,
    /// Ends with the connection.
    served: BoxFuture<'static, hyper::Result<()>>,
    last_used: Instant,
    /// Where it was idle, until it is known that it still works.
    taken_from: Option<Arc<Idle>>,
}

impl Connections {
    /// None yet. Making one, TLS and all, may take so long.
    ///
    /// # Errors
    /// The system's trusted certificates can't be read.
    pub(super) fn new(connect_time: Duration) -> Result<Self, rustls::Error> {
        // Another client may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            idle: Arc::default(),
            tls: TlsConnector::from(Arc::new(ClientConfig::with_platform_verifier()?)),
            connect_time,
        })
    }

    async fn connect(&self, url: &Url) -> io::Result<Connection> {
        let host = url.host_str().unwrap_or_default();
        let address = (
            host.trim_matches(['[', ']']),
            url.port_or_known_default().unwrap_or(443),
        );
        let found = lookup_host(address).await?.take(MAX_ADDRESSES);
        let tcp = first(found.map(TcpStream::connect).collect(), self.connect_time).await?;
        tcp.set_nodelay(true)?;
        // A socket that is closed in the middle of an answer gives its port back at once.
        tcp.set_zero_linger()?;
        if url.scheme() == "http" {
            return Connection::over(url, tcp).await;
        }
        let name = ServerName::try_from(address.0.to_owned()).map_err(io::Error::other)?;
        Connection::over(url, self.tls.connect(name, tcp).await?).await
    }
}

#[async_trait]
impl HttpClient for Connections {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request.url();
        let mut connection = if let Some(idle) = self.idle.take(&origin(url)) {
            idle
        } else {
            let connected = timeout(self.connect_time, self.connect(url)).await;
            let connected = connected.unwrap_or_else(|late| Err(late.into()));
            connected.map_err(|error| Error::new(ErrorKind::Connection, error))?
        };
        let (head, body) = connection.send(spelled(request)?).await.map_err(failed)?.into_parts();
        let mut headers = Headers::new();
        for (name, value) in &head.headers {
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
        let rest = (connection, body, Arc::clone(&self.idle));
        let body = stream::try_unfold(rest, |(mut connection, mut body, idle)| async move {
            while let Some(frame) = connection.serve(body.frame()).await {
                if let Ok(bytes) = frame.map_err(failed)?.into_data() {
                    return Ok(Some((bytes, (connection, body, idle))));
                }
            }
            idle.keep(connection);
            Ok(None)
        });
        Ok(AsyncRawResponse::new(
            head.status.as_u16().into(),
            headers,
            Box::pin(body),
        ))
    }
}

impl Connection {
    async fn over(url: &Url, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Self> {
        let (sender, served) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Self {
            origin: origin(url),
            sender,
            served: served.boxed(),
            last_used: Instant::now(),
            taken_from: None,
        })
    }

    async fn send(&mut self, request: hyper::Request<Full<Bytes>>) -> hyper::Result<hyper::Response<Incoming>> {
        let answer = self.sender.send_request(request);
        self.serve(answer).await
    }

    /// Does the connection's work until this is done.
    async fn serve<T>(&mut self, work: impl Future<Output = T>) -> T {
        match select(pin!(work), &mut self.served).await {
            Either::Left((done, _)) => done,
            Either::Right((_, work)) => {
                // It ended, and what waits for it is to know.
                self.served = futures::future::pending().boxed();
                work.await
            }
        }
    }

    /// Whether another request can be sent, as far as is known.
    fn is_open(&mut self) -> bool {
        (&mut self.served).now_or_never().is_none() && self.sender.is_ready()
    }
}

impl Drop for Connection {
    /// A path that died without a word took with it whatever was silent for longer; one try finds that out for all of them.
    fn drop(&mut self) {
        if let Some(idle) = self.taken_from.take() {
            idle.lock().retain(|one| one.last_used > self.last_used);
        }
    }
}

impl Idle {
    /// The one that was used last.
    fn take(self: &Arc<Self>, origin: &str) -> Option<Connection> {
        let mut idle = self.lock();
        idle.retain_mut(|one| one.last_used.elapsed() < KEEP_IDLE && one.is_open());
        let found = idle.iter().rposition(|one| one.origin == origin)?;
        let mut taken = idle.remove(found);
        taken.taken_from = Some(Arc::clone(self));
        Some(taken)
    }

    fn keep(&self, mut connection: Connection) {
        connection.taken_from = None;
        if connection.is_open() {
            connection.last_used = Instant::now();
            self.lock().push(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first of these ways that leads somewhere; each has its part of the time, so that one that leads nowhere leaves some to
/// the others.
async fn first<T>(ways: Vec<impl Future<Output = io::Result<T>>>, time: Duration) -> io::Result<T> {
    let part = time / u32::try_from(ways.len().max(1)).unwrap_or(u32::MAX);
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for way in ways {
        match timeout(part, way).await.unwrap_or_else(|late| Err(late.into())) {
            Ok(there) => return Ok(there),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn spelled(request: &Request) -> azure_core::Result<hyper::Request<Full<Bytes>>> {
    let Body::Bytes(body) = request.body() else {
        return Err(Error::with_message(ErrorKind::Other, "a request with a stream"));
    };
    let url = request.url();
    let mut spelled = hyper::Request::builder()
        .method(request.method().as_ref())
        .uri(request.path_and_query())
        .header(HOST, url.authority());
    for (name, value) in request.headers().iter() {
        spelled = spelled.header(name.as_str(), value.as_str());
    }
    spelled
        .body(Full::new(body.clone()))
        .map_err(|error| Error::new(ErrorKind::Other, error))
}

/// What was never sent is told from what may have been.
fn failed(error: hyper::Error) -> Error {
    let kind = if error.is_canceled() {
        ErrorKind::Connection
    } else {
        ErrorKind::Io
    };
    Error::new(kind, error)
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;
    use futures::future::{join_all, pending, ready};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::mpsc,
    };

    use super::*;

    /// Answers what comes on its connections; those before the number `silent` say nothing, and it is told here.
    struct Peer {
        url: Url,
        silent: Arc<Mutex<usize>>,
        unanswered: mpsc::UnboundedReceiver<()>,
    }

    impl Peer {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let silent = Arc::<Mutex<usize>>::default();
            let (tell, unanswered) = mpsc::unbounded_channel();
            let until = Arc::clone(&silent);
            tokio::spawn(async move {
                for number in 0.. {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(answer(stream, number, Arc::clone(&until), tell.clone()));
                }
            });
            Self {
                url: url.parse().unwrap(),
                silent,
                unanswered,
            }
        }
    }

    async fn answer(mut stream: TcpStream, number: usize, silent: Arc<Mutex<usize>>, tell: mpsc::UnboundedSender<()>) {
        let mut request = Vec::new();
        while let Ok(1..) = stream.read_buf(&mut request).await {
            if !request.ends_with(b"\r\n\r\n") {
                continue;
            }
            request.clear();
            if number < *silent.lock().unwrap() {
                tell.send(()).unwrap();
            } else {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    }

    async fn ask(connections: &Connections, peer: &Url) {
        let request = Request::new(peer.clone(), Method::Get);
        let answer = connections.execute_request(&request).await.unwrap();
        answer.try_into_raw_response().await.unwrap();
    }

    /// Private DNS may name an endpoint that is gone beside the one that is there.
    #[tokio::test(start_paused = true)]
    async fn an_address_that_says_nothing_leaves_time_for_the_next() {
        let time = Duration::from_secs(2);
        let began = Instant::now();
        let refused = || ready(Err(io::ErrorKind::ConnectionRefused.into())).boxed();
        let ways = vec![
            pending().boxed(),
            refused(),
            ready(Ok("there")).boxed(),
            pending().boxed(),
        ];
        assert_eq!(first(ways, time).await.unwrap(), "there");
        assert_eq!(began.elapsed(), time / 4);
        let ways: Vec<BoxFuture<'static, io::Result<&str>>> = vec![pending().boxed(), refused()];
        let failed = first(ways, time).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// After a failover of the network they are all dead, and nothing says so.
    #[tokio::test]
    async fn one_try_finds_out_that_the_idle_connections_died_in_silence() {
        let mut peer = Peer::start().await;
        let connections = Connections::new(Duration::from_secs(2)).unwrap();
        join_all((0..3).map(|_| ask(&connections, &peer.url))).await;
        assert_eq!(connections.idle.lock().len(), 3);
        *peer.silent.lock().unwrap() = 3;
        tokio::select! {
            () = ask(&connections, &peer.url) => panic!("a dead connection answers"),
            told = peer.unanswered.recv() => told.unwrap(),
        }
        tokio::select! {
            () = ask(&connections, &peer.url) => {}
            _ = peer.unanswered.recv() => panic!("another dead connection was used"),
        }
        // What works is kept.
        ask(&connections, &peer.url).await;
        assert_eq!(connections.idle.lock().len(), 1);
    }
}
