//! A proxy before Azurite that does to each request what the network or the service might do.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use reqwest::{
    Client,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// The service answers.
    Pass,
    /// It answers after this time.
    Late(Duration),
    /// It never hears of the request; nobody answers.
    Stall,
    /// It takes the request; nobody answers.
    Swallow,
    /// Nobody answers, and the service takes the request after this time, when whoever sent it has given up.
    LandLater(Duration),
    /// The service never hears of it; the connection is reset.
    Reset,
    /// The service takes it; the connection is reset.
    ResetAfter,
    /// Half of the service's answer comes, then the end of the connection.
    Half,
    /// The service asks to be left alone for so many seconds.
    Busy(u64),
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "passed",
            Self::Late(_) => "late",
            Self::Stall => "stalled",
            Self::Swallow => "answer swallowed",
            Self::LandLater(_) => "landed later",
            Self::Reset => "reset",
            Self::ResetAfter => "reset after it was taken",
            Self::Half => "answered by half",
            Self::Busy(_) => "503 ServerBusy",
        }
    }
}

/// Decides about each request that comes.
pub(crate) type Weather = Box<dyn FnMut() -> Fate + Send>;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    client: Client,
    weather: Mutex<Weather>,
    fates: Mutex<BTreeMap<&'static str, usize>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    /// Requests that the service may still take.
    under_way: AtomicUsize,
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Counts down when it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, SeqCst);
        Self(number)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Proxy {
    /// A proxy before this service (scheme, host and port) on a port of its own, in fair weather.
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client: scimgate::app::http_client().unwrap(),
            weather: Mutex::new(Box::new(|| Fate::Pass)),
            fates: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepting).serve(stream));
            }
        });
        Self { address, shared }
    }

    /// From the next request on.
    pub(crate) fn set(&self, weather: impl FnMut() -> Fate + Send + 'static) {
        *self.shared.weather.lock().unwrap() = Box::new(weather);
    }

    pub(crate) fn clear(&self) {
        self.set(|| Fate::Pass);
    }

    /// How many requests met which fate.
    pub(crate) fn fates(&self) -> String {
        let fates = self.shared.fates.lock().unwrap();
        let words = fates.iter().map(|(name, number)| format!("{number} {name}"));
        words.collect::<Vec<_>>().join(", ")
    }

    /// Connections made so far, and most that were open at a time.
    pub(crate) fn connections(&self) -> (usize, usize) {
        (self.shared.connections.load(SeqCst), self.shared.most.load(SeqCst))
    }

    /// Until there is nothing that the service may still take.
    pub(crate) async fn idle(&self) {
        let mut quiet = 0;
        while quiet < 20 {
            sleep(Duration::from_millis(20)).await;
            quiet = if self.shared.under_way.load(SeqCst) == 0 {
                quiet + 1
            } else {
                0
            };
        }
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        self.connections.fetch_add(1, SeqCst);
        let _open = Counted::new(&self.open);
        self.most.fetch_max(self.open.load(SeqCst), SeqCst);
        let mut stream = BufReader::new(stream);
        while let Some(request) = Request::read(&mut stream).await {
            let fate = (self.weather.lock().unwrap())();
            *self.fates.lock().unwrap().entry(fate.name()).or_default() += 1;
            if !self.meet(fate, request, &mut stream).await {
                return;
            }
        }
    }

    /// Whether the connection goes on.
    async fn meet(self: &Arc<Self>, fate: Fate, request: Request, stream: &mut BufReader<TcpStream>) -> bool {
        let answer = match fate {
            Fate::Pass => self.forward(request).await,
            Fate::Late(time) => {
                // Whoever goes away meanwhile is not noticed: the service takes the request all the same.
                let shared = Arc::clone(self);
                let late = tokio::spawn(async move {
                    let _under_way = Counted::new(&shared.under_way);
                    sleep(time).await;
                    shared.forward(request).await
                });
                late.await.unwrap()
            }
            Fate::Busy(seconds) => busy(seconds),
            Fate::Stall => return until_closed(stream).await,
            Fate::Swallow => {
                self.forward(request).await;
                return until_closed(stream).await;
            }
            Fate::LandLater(time) => {
                let shared = Arc::clone(self);
                tokio::spawn(async move {
                    let _under_way = Counted::new(&shared.under_way);
                    sleep(time).await;
                    shared.forward(request).await
                });
                return until_closed(stream).await;
            }
            Fate::Reset => return reset(stream),
            Fate::ResetAfter => {
                self.forward(request).await;
                return reset(stream);
            }
            Fate::Half => {
                let answer = self.forward(request).await;
                let _ = stream.write_all(&answer[..answer.len() / 2]).await;
                return false;
            }
        };
        !answer.is_empty() && stream.write_all(&answer).await.is_ok()
    }

    /// The service's answer; nothing if it gives none.
    async fn forward(&self, request: Request) -> Vec<u8> {
        let _under_way = Counted::new(&self.under_way);
        let method = request.method.parse().unwrap();
        let mut forwarded = self
            .client
            .request(method, format!("{}{}", self.upstream, request.target));
        for (name, value) in &request.headers {
            if ![HOST, CONNECTION, CONTENT_LENGTH]
                .iter()
                .any(|own| own.as_str() == name)
            {
                forwarded = forwarded.header(name, value);
            }
        }
        // The test may be over, and its service with it.
        let Ok(answer) = forwarded.body(request.body).send().await else {
            return Vec::new();
        };
        let status = answer.status();
        let mut bytes = format!("HTTP/1.1 {} Word\r\n", status.as_u16()).into_bytes();
        for (name, value) in answer.headers() {
            if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
            }
        }
        let Ok(body) = answer.bytes().await else {
            return Vec::new();
        };
        if status != 204 {
            bytes.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body);
        bytes
    }
}

impl Request {
    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut first = lines.first()?.split(' ').map(str::to_owned);
        let (method, target) = (first.next()?, first.next()?);
        let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
        stream.read_exact(&mut body).await.ok()?;
        Some(Self {
            method,
            target,
            headers,
            body,
        })
    }
}

async fn until_closed(stream: &mut BufReader<TcpStream>) -> bool {
    let _ = stream.read_u8().await;
    false
}

fn reset(stream: &BufReader<TcpStream>) -> bool {
    stream.get_ref().set_zero_linger().unwrap();
    false
}

fn busy(seconds: u64) -> Vec<u8> {
    let body = r#"{"odata.error":{"code":"ServerBusy","message":{"lang":"en-US","value":"The server is busy.\nRequestId:1"}}}"#;
    let length = body.len();
    format!("HTTP/1.1 503 Word\r\nretry-after: {seconds}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}
