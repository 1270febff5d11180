//! Restarts that are watched: what is lost is named, with its time, and of a good one nothing is said.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use scimgate::{
    ambient::System,
    doctor::{
        self,
        report::{Outcome, Report},
    },
};
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    spawn,
    sync::Notify,
    time::sleep,
};

use crate::{clean::Service, ids, is_said, plan, tls, upstream};

/// How the application restarts.
#[derive(Clone, Copy, Debug)]
enum Restart {
    /// Not at all.
    Never,
    /// Each connection gets its answer, and is told that it is the last one.
    Drains,
    /// Requests are read, and their connections end.
    Dies,
    /// The same with a reset.
    DiesReset,
    /// These bytes are the last ones.
    Breaks(&'static str),
    /// Dies, and nobody listens for a while.
    Leaves,
    /// For a while this is the answer.
    Answers(&'static str),
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    restart: Restart,
    is_http2: bool,
    /// Of these the first must be found, and nothing worse than a note but these; nothing: it is clean.
    finds: &'static [&'static str],
    /// Stands in what is said of the first.
    says: &'static str,
}

const fn row(
    name: &'static str,
    restart: Restart,
    is_http2: bool,
    finds: &'static [&'static str],
    says: &'static str,
) -> Row {
    Row {
        name,
        restart,
        is_http2,
        finds,
        says,
    }
}

const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 95\r\n\r\n\
    upstream connect error or disconnect/reset before headers. reset reason: connection termination";
const NOT_LOADED: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

pub(crate) const ROWS: &[Row] = &[
    row("none", Restart::Never, true, &[], ""),
    row("drains", Restart::Drains, false, &[], ""),
    row("drains_http2", Restart::Drains, true, &[], ""),
    row(
        "dies",
        Restart::Dies,
        false,
        &["requests-lost", "closed-without-answer", "reuse-fails"],
        "reuse-fails on an old connection",
    ),
    row(
        "dies_with_a_reset",
        Restart::DiesReset,
        false,
        &["requests-lost", "closed-without-answer", "reuse-fails"],
        "closed-without-answer on a new connection",
    ),
    row(
        "dies_http2",
        Restart::Dies,
        true,
        &["requests-lost", "http2-closed", "closed-without-answer", "reuse-fails"],
        "http2-closed on an old HTTP/2 connection",
    ),
    row(
        "half_a_head",
        Restart::Breaks("HTTP/1.1 200 OK\r\ncontent-le"),
        false,
        &["head-cut-off", "requests-lost"],
        "of a head",
    ),
    row(
        "half_a_body",
        Restart::Breaks("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"schemas\":"),
        false,
        &["body-cut-off", "requests-lost"],
        "",
    ),
    row(
        "nobody_listens",
        Restart::Leaves,
        false,
        &[
            "requests-lost",
            "no-connection",
            "closed-without-answer",
            "reuse-fails",
            "idle-reset",
        ],
        "no-connection on a new connection",
    ),
    row(
        "a_proxy_answers",
        Restart::Answers(BAD_GATEWAY),
        false,
        &["proxy-text", "requests-lost"],
        "written by a proxy: Envoy",
    ),
    row(
        "the_host_is_there_first",
        Restart::Answers(NOT_LOADED),
        false,
        &["answer-changes", "requests-lost"],
        "status 404",
    ),
];

/// Requests before it restarts, those that meet the restart, and those after which enough is seen.
const BEFORE: usize = 40;
const MET: usize = 20;
const ENOUGH: usize = 100;
/// How long nobody listens.
const AWAY: Duration = Duration::from_millis(700);

struct Application {
    restart: Restart,
    is_http2: bool,
    asked: AtomicUsize,
    /// Ends who listens, and its connections.
    leaves: Notify,
    ends: Notify,
    enough: Notify,
}

pub(crate) async fn watched(row: &Row) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let application = Arc::new(Application {
        restart: row.restart,
        is_http2: row.is_http2,
        asked: AtomicUsize::new(0),
        leaves: Notify::new(),
        ends: Notify::new(),
        enough: Notify::new(),
    });
    spawn(Arc::clone(&application).serve(listener, address));
    let report = visit(&format!("http://{address}"), &application.enough).await;
    is_told(&report, row.finds, row.says)?;
    let told = told(&report);
    let is_left_alone = matches!(row.restart, Restart::Never);
    if told.contains("it did not reach this far") != is_left_alone
        || told.contains("HTTP/2 is not spoken") == row.is_http2
    {
        return Err(format!("{report:#?}"));
    }
    let lasted = times(&report).and_then(|times| times.rsplit(" times in ").next()?.split(' ').next()?.parse().ok());
    match row.restart {
        Restart::Leaves if lasted.is_none_or(|seconds: f64| seconds < AWAY.as_secs_f64() - 0.2) => {
            Err(format!("it took {lasted:?}: {report:#?}"))
        }
        _ => Ok(()),
    }
}

/// What is said of refused connections.
fn times(report: &Report) -> Option<&str> {
    let lost = report
        .findings
        .iter()
        .find(|finding| finding.fault.entry().id == "requests-lost")?;
    lost.seen
        .split([',', ';'])
        .find(|part| part.contains("no-connection on a new connection"))
}

/// TLS with both versions, in front of the service; nothing restarts.
pub(crate) async fn behind_tls(service: SocketAddr) -> Result<(), String> {
    let mut fronts = tls::fronts().into_iter();
    let sound = fronts.find(|front| front.name == "sound").expect("it is one of them");
    let (address, authorities) = tls::serve(sound, service).await;
    let mut plan = plan(&format!("https://localhost:{}", address.port()), false);
    plan.authorities = authorities;
    plan.pace = plan.pace.with_watch(Duration::from_secs(1));
    let report = doctor::run(plan, Arc::new(System), &|_| (), &Notify::new()).await?;
    is_told(&report, &[], "")?;
    if told(&report).contains("HTTP/2 is not spoken") || !report.is_complete {
        return Err(format!("{report:#?}"));
    }
    Ok(())
}

/// The one instance is killed, and the other one is there a while later.
pub(crate) async fn service_is_killed() -> Result<(), String> {
    let report = of_the_service(async |first, front, second| {
        drop(first);
        front.connections(MET).await;
        front.leads_to(second);
    });
    let finds = [
        "requests-lost",
        "closed-without-answer",
        "reuse-fails",
        "http2-closed",
        "idle-reset",
    ];
    is_told(&report.await, &finds, "closed-without-answer on a new connection")
}

/// The other instance is there when the one is asked to stop.
#[cfg(unix)]
pub(crate) async fn service_is_replaced() -> Result<(), String> {
    let report = of_the_service(async |mut first, front, second| {
        front.leads_to(second);
        first.stop().await;
    });
    let report = report.await;
    is_told(&report, &[], "")?;
    if told(&report).contains("the other side ended connections") {
        return Ok(());
    }
    Err(format!("{report:#?}"))
}

/// Two instances of the service, and what leads to the first one until it leads to the second one.
async fn of_the_service(restarts: impl AsyncFnOnce(Service, &Front, SocketAddr)) -> Report {
    let (first, second) = (Service::start_with(&["--drain=1"]), Service::start());
    let front = Arc::new(Front {
        target: Mutex::new(first.address),
        taken: AtomicUsize::new(0),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    spawn(Arc::clone(&front).serve(listener));
    let (origin, enough) = (format!("http://{address}"), Notify::new());
    let (report, ()) = tokio::join!(visit(&origin, &enough), async {
        front.connections(BEFORE).await;
        restarts(first, &front, second.address).await;
        front.connections(BEFORE).await;
        enough.notify_one();
    });
    report
}

struct Front {
    target: Mutex<SocketAddr>,
    taken: AtomicUsize,
}

impl Front {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            self.taken.fetch_add(1, Ordering::Relaxed);
            let target = *self.target.lock().expect("nobody panics with it");
            spawn(async move {
                let mut behind = TcpStream::connect(target).await?;
                behind.set_nodelay(true)?;
                stream.set_nodelay(true)?;
                io::copy_bidirectional(&mut stream, &mut behind).await.map(drop)
            });
        }
    }

    fn leads_to(&self, target: SocketAddr) {
        *self.target.lock().expect("nobody panics with it") = target;
    }

    /// Waits for so many more.
    async fn connections(&self, more: usize) {
        let before = self.taken.load(Ordering::Relaxed);
        while self.taken.load(Ordering::Relaxed) < before + more {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn visit(origin: &str, enough: &Notify) -> Report {
    let mut plan = plan(origin, false);
    plan.pace = plan.pace.with_watch(Duration::from_secs(30));
    let report = doctor::run(plan, Arc::new(System), &|_| (), enough).await;
    report.expect("a visit can be made")
}

fn is_told(report: &Report, finds: &[&str], says: &str) -> Result<(), String> {
    let ids = ids(report);
    if let Some(first) = finds.first() {
        is_said(report, first, says)?;
    }
    let is_told = ids.iter().all(|id| finds.contains(id));
    let is_lost = ids.contains(&"requests-lost") == finds.contains(&"requests-lost");
    if is_told && is_lost && report.is_complete {
        return Ok(());
    }
    Err(format!("expected {finds:?}, found {ids:?}: {report:#?}"))
}

/// What the watch tells.
fn told(report: &Report) -> String {
    match report.checks.last() {
        Some((_, Outcome::Done(told))) => told.join("; "),
        other => format!("{other:?}"),
    }
}

impl Application {
    async fn serve(self: Arc<Self>, mut listener: TcpListener, address: SocketAddr) {
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("connections can be taken");
                    let application = Arc::clone(&self);
                    spawn(async move {
                        tokio::select! {
                            // A client that goes away is no failure of the application.
                            ended = application.converse(stream) => drop(ended),
                            () = application.ends.notified() => {}
                        }
                    });
                }
                () = self.leaves.notified() => {
                    drop(listener);
                    self.ends.notify_waiters();
                    sleep(AWAY).await;
                    listener = TcpListener::bind(address).await.expect("the port is still free");
                }
            }
        }
    }

    /// Counts one more request; whether it meets the restart.
    fn meets(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked == ENOUGH {
            self.enough.notify_one();
        }
        (BEFORE..BEFORE + MET).contains(&asked)
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut first = [0; 3];
        stream.peek(&mut first).await?;
        if &first == b"PRI" {
            if self.is_http2 {
                return self.http2(stream).await.map_err(io::Error::other);
            }
            let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            return stream.write_all(refusal).await;
        }
        loop {
            let asked = upstream::head(&mut stream).await?;
            stream.read_exact(&mut vec![0; asked.length]).await?;
            match (self.meets(), self.restart) {
                (false, _) | (_, Restart::Never) => stream.write_all(&list("")).await?,
                (_, Restart::Drains) => {
                    stream.write_all(&list("connection: close\r\n")).await?;
                    return stream.shutdown().await;
                }
                (_, Restart::Dies) => return stream.shutdown().await,
                (_, Restart::DiesReset) => return stream.set_zero_linger(),
                (_, Restart::Breaks(bytes)) => {
                    stream.write_all(bytes.as_bytes()).await?;
                    return stream.shutdown().await;
                }
                (_, Restart::Leaves) => {
                    // Once: whoever comes later meets the application that is there again.
                    self.asked.fetch_add(MET, Ordering::Relaxed);
                    self.leaves.notify_one();
                    return Ok(());
                }
                (_, Restart::Answers(bytes)) => stream.write_all(bytes.as_bytes()).await?,
            }
        }
    }

    async fn http2(&self, stream: TcpStream) -> Result<(), h2::Error> {
        let mut connection = h2::server::handshake(stream).await?;
        while let Some(asked) = connection.accept().await {
            let (_, mut respond) = asked?;
            match (self.meets(), self.restart) {
                (true, Restart::Dies) => return Ok(()),
                (true, Restart::Drains) => connection.graceful_shutdown(),
                _ => {}
            }
            let head = http::Response::new(());
            let mut body = respond.send_response(head, false)?;
            body.send_data(Bytes::from_static(LIST), true)?;
        }
        Ok(())
    }
}

const LIST: &[u8] =
    br#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":0,"Resources":[]}"#;

fn list(lines: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n", LIST.len());
    [head.as_bytes(), LIST].concat()
}
