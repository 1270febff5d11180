//! Connections to the handler, pooled by the rules of .NET's `SocketsHttpHandler`.
//!
//! HTTP/1.1 keep-alive, idle for at most 60 s, any number. A request without an idle connection opens one, and takes
//! whichever is free first, that one or another's: so under load a connection is opened that nobody uses, which a
//! handler may meet with an unsolicited 408. A request is sent once more only when a **reused** connection broke
//! before the first byte of the response and the request's body was not begun.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::Timing;
use crate::outgoing::{self, Outgoing, OutgoingBody};
use crate::wire::{Wire, WireStream};

/// How often the request of a broken reused connection is sent again (.NET: `MaxConnectionFailureRetries`; from
/// memory).
const MAX_RETRIES: u32 = 3;

/// `MaxResponseHeadersLength`, 64 KB (from memory); hyper counts the status line too.
const MAX_RESPONSE_HEAD: usize = 64 * 1024;

/// .NET counts bytes of headers, not lines; hyper needs a number.
const MAX_RESPONSE_HEADERS: usize = 1024;

#[derive(Clone)]
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    idle_timeout: Duration,
    /// Every so many requests one more connection is opened and left unused; 0: never.
    spare_every: u64,
    requests: AtomicU64,
    stock: Mutex<Stock>,
}

#[derive(Default)]
struct Stock {
    /// The newest last, taken first.
    idle: Vec<Connection>,
    waiting: VecDeque<(u64, oneshot::Sender<io::Result<Connection>>)>,
    tickets: u64,
}

struct Connection {
    sender: http1::SendRequest<OutgoingBody>,
    _task: AbortOnDrop,
    wire: Arc<Wire>,
    was_used: bool,
    idle_since: Instant,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// .NET: a `SocketException` in an `HttpRequestException`.
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    /// .NET: an `IOException` in an `HttpRequestException`, or a malformed response.
    #[error("exchange: {0}")]
    Exchange(#[source] hyper::Error),
    /// .NET: `InvalidOperationException`, "Stream was already consumed".
    #[error("the request's body was already consumed")]
    Consumed,
}

/// The connection of an exchange under way. Dropping it closes the connection, [`Lease::done`] gives it back.
pub(crate) struct Lease {
    connection: Connection,
    pool: Pool,
    body: Arc<outgoing::Source>,
}

impl Pool {
    /// A pool for the handler at `address`. Needs a running tokio.
    pub(crate) fn new(address: SocketAddr, timing: &Timing) -> Self {
        let shared = Arc::new(Shared {
            address,
            idle_timeout: timing.idle_timeout,
            spare_every: timing.spare_every,
            requests: AtomicU64::new(0),
            stock: Mutex::default(),
        });
        tokio::spawn(scavenge(Arc::downgrade(&shared), timing.idle_timeout / 4));
        Self(shared)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Sends the request, by the rules of the module's head.
    pub(crate) async fn send(&self, outgoing: &Outgoing) -> Result<(Response<Incoming>, Lease), Error> {
        self.open_spare();
        let mut retries = 0;
        loop {
            let mut connection = self.connection().await.map_err(Error::Connect)?;
            let request = outgoing.request().ok_or(Error::Consumed)?;
            let received = connection.wire.received();
            let is_reused = std::mem::replace(&mut connection.was_used, true);
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    return Ok((
                        response,
                        Lease {
                            connection,
                            pool: self.clone(),
                            body: Arc::clone(&outgoing.body),
                        },
                    ));
                }
                Err(mut error) => {
                    let was_sent = error.take_message().is_none();
                    let was_answered = connection.wire.received() != received;
                    let may_retry = is_reused && !(was_sent && was_answered) && !outgoing.has_begun_body();
                    if !may_retry || retries == MAX_RETRIES {
                        return Err(Error::Exchange(error.into_error()));
                    }
                    retries += 1;
                }
            }
        }
    }

    async fn connection(&self) -> io::Result<Connection> {
        while let Some(mut connection) = self.newest_idle() {
            // One that was just given back may need a moment; one that was closed meanwhile fails.
            if connection.sender.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let (sender, receiver) = oneshot::channel();
        let ticket = {
            let mut stock = self.stock();
            stock.tickets += 1;
            let ticket = stock.tickets;
            stock.waiting.push_back((ticket, sender));
            ticket
        };
        let pool = self.clone();
        tokio::spawn(async move {
            match pool.connect().await {
                Ok(connection) => pool.put(connection),
                Err(error) => pool.refuse(ticket, error),
            }
        });
        receiver
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
    }

    fn newest_idle(&self) -> Option<Connection> {
        let mut stock = self.stock();
        while let Some(connection) = stock.idle.pop() {
            if connection.is_usable(self.0.idle_timeout) {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.0.address).await?;
        stream.set_nodelay(true)?;
        let wire = Arc::<Wire>::default();
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .title_case_headers(true)
            .max_buf_size(MAX_RESPONSE_HEAD)
            .max_headers(MAX_RESPONSE_HEADERS)
            .handshake(TokioIo::new(WireStream::new(stream, Arc::clone(&wire))))
            .await
            .map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            // What goes wrong here, the exchange is told too.
            let _ = connection.await;
        });
        let task = AbortOnDrop(task.abort_handle());
        Ok(Connection {
            sender,
            _task: task,
            wire,
            was_used: false,
            idle_since: Instant::now(),
        })
    }

    /// Gives a free connection to the request that has waited longest, else keeps it.
    fn put(&self, mut connection: Connection) {
        let mut stock = self.stock();
        while let Some((_, waiting)) = stock.waiting.pop_front() {
            match waiting.send(Ok(connection)) {
                Err(Ok(unwanted)) => connection = unwanted,
                _ => return,
            }
        }
        connection.idle_since = Instant::now();
        stock.idle.push(connection);
    }

    /// Fails the request that asked for this connection, unless it has got another one.
    fn refuse(&self, ticket: u64, error: io::Error) {
        let mut stock = self.stock();
        if let Some(at) = stock.waiting.iter().position(|(waiting, _)| *waiting == ticket)
            && let Some((_, waiting)) = stock.waiting.remove(at)
        {
            // The request may have been cancelled.
            let _ = waiting.send(Err(error));
        }
    }

    fn open_spare(&self) {
        let count = self.0.requests.fetch_add(1, Ordering::Relaxed);
        if self.0.spare_every != 0 && count % self.0.spare_every == self.0.spare_every - 1 {
            let pool = self.clone();
            tokio::spawn(async move {
                if let Ok(connection) = pool.connect().await {
                    pool.put(connection);
                }
            });
        }
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.0.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Whether nothing came in while it was idle, neither the end nor data, and it was not idle too long.
    fn is_usable(&self, idle_timeout: Duration) -> bool {
        !self.sender.is_closed() && self.idle_since.elapsed() < idle_timeout
    }
}

impl Lease {
    /// The response was read to its end: the connection serves the next request, if it may be kept; at once, or when
    /// the request's body is written to its end too.
    pub(crate) fn done(self) {
        let Self {
            mut connection,
            pool,
            body,
        } = self;
        if body.is_written() {
            return pool.put(connection);
        }
        tokio::spawn(async move {
            if connection.sender.ready().await.is_ok() {
                pool.put(connection);
            }
        });
    }
}

async fn scavenge(pool: Weak<Shared>, interval: Duration) {
    loop {
        sleep(interval).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut stock = pool.stock.lock().unwrap_or_else(PoisonError::into_inner);
        stock.idle.retain(|connection| connection.is_usable(pool.idle_timeout));
    }
}
