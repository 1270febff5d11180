//! A visit to an endpoint: what all checks share.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::client::TlsStream;

use super::{
    Pace, Plan,
    checks::{Check, Made},
    connection::{Answer, Connection},
    endpoint::Endpoint,
    fault::{Fault, Flaw},
    proxy::Proxy,
    report::{Finding, Findings, hop},
    request::Ask,
    tls::{Alpn, Trust, Version},
    wire::{self, Response},
};
use crate::{
    ambient::Ambient,
    explain::{explain, message::Message},
};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Requests of a whole visit; what no setting goes beyond.
const MAX_REQUESTS: usize = 5_000;

pub(super) struct Visit {
    pub(super) endpoint: Endpoint,
    pub(super) token: Option<String>,
    pub(super) proxy: Option<Proxy>,
    /// Whether accounts may be made.
    pub(super) may_write: bool,
    pub(super) pace: Pace,
    pub(super) ambient: Arc<dyn Ambient>,
    pub(super) made: Mutex<Vec<Made>>,
    /// What nobody learns from a report, though an endpoint may send it back.
    secrets: Vec<Vec<u8>>,
    trust: Option<Trust>,
    findings: Mutex<Findings>,
    requests: AtomicUsize,
    /// When the next request may go out.
    slot: Mutex<Instant>,
    until: Instant,
    check: Mutex<Check>,
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Time or requests ran out.
#[derive(Debug)]
pub(super) struct Spent;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Visit {
    pub(super) fn new(plan: Plan, ambient: Arc<dyn Ambient>) -> Result<Self, rustls::Error> {
        let Plan {
            endpoint,
            token,
            proxy,
            authorities,
            may_write,
            pace,
        } = plan;
        let trust = endpoint.is_https.then(|| Trust::new(authorities)).transpose()?;
        let now = Instant::now();
        let keys = endpoint.values().into_iter().filter(|value| value.len() >= MIN_KEY);
        let mut secrets: Vec<_> = keys.chain(token.clone()).map(String::into_bytes).collect();
        let authorization = proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref());
        secrets.extend(authorization.map(|value| value.as_bytes().to_vec()));
        Ok(Self {
            secrets,
            trust,
            findings: Mutex::default(),
            made: Mutex::default(),
            requests: AtomicUsize::new(0),
            slot: Mutex::new(now),
            until: now + pace.total,
            check: Mutex::new(Check::Reach),
            proxy: proxy.filter(|_| endpoint.is_https),
            endpoint,
            token,
            may_write,
            pace,
            ambient,
        })
    }

    /// Findings belong to this check from now on.
    pub(super) fn begin(&self, check: Check) {
        *lock(&self.check) = check;
    }

    pub(super) fn found(&self, at: &str, flaw: Flaw, response: Option<&Response>) {
        let body = response.map_or(&b""[..], |response| &response.body);
        let is_of_body = wire::contains(body, &flaw.bytes);
        let Flaw { fault, seen, bytes } = wire::without_resources(flaw, if is_of_body { body } else { b"" });
        let hop = hop(&self.endpoint.authority, self.endpoint.is_local(), response);
        let finding = Finding {
            fault,
            check: *lock(&self.check),
            at: self.shown(at),
            when: self.ambient.now(),
            hop: self.shown(&hop),
            seen: self.shown(&seen),
            bytes: self.without_secrets(&bytes),
            times: 1,
            also: Vec::new(),
        };
        lock(&self.findings).add(finding);
    }

    /// What the other side said, made harmless for a terminal.
    pub(super) fn shown(&self, text: &str) -> String {
        let text = self.without_secrets(&text.as_bytes()[..text.len().min(MAX_TEXT)]);
        let escaped = |c: char| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                String::from(c)
            }
        };
        String::from_utf8_lossy(&text).chars().map(escaped).collect()
    }

    fn without_secrets(&self, bytes: &[u8]) -> Vec<u8> {
        let hide = |bytes: Vec<u8>, secret: &Vec<u8>| without_secret(&bytes, secret);
        self.secrets.iter().fold(bytes.to_vec(), hide)
    }

    pub(super) fn has_found(&self, fault: Fault) -> bool {
        lock(&self.findings).has(fault)
    }

    /// Every fault that was found so far.
    pub(super) fn faults(&self) -> Vec<Fault> {
        lock(&self.findings).faults().collect()
    }

    pub(super) fn take_findings(&self) -> Findings {
        std::mem::take(&mut *lock(&self.findings))
    }

    /// One more has been sent.
    pub(super) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits until the next request may go out.
    pub(super) async fn turn(&self) -> Result<(), Spent> {
        self.turn_after(self.pace.spacing).await
    }

    /// The same with another pause between requests.
    pub(super) async fn turn_after(&self, spacing: Duration) -> Result<(), Spent> {
        let at = {
            let mut slot = lock(&self.slot);
            let at = (*slot).max(Instant::now());
            *slot = at + spacing;
            at
        };
        if at >= self.until || self.requests() >= MAX_REQUESTS {
            return Err(Spent);
        }
        sleep_until(at).await;
        Ok(())
    }

    /// Nothing goes out for so long: what a 429 asks for.
    pub(super) fn hold(&self, time: Duration) {
        let mut slot = lock(&self.slot);
        *slot = (*slot).max(Instant::now() + time);
    }

    async fn tcp(&self) -> Result<TcpStream, Flaw> {
        let connecting = async {
            let (host, port) = match &self.proxy {
                Some(proxy) => (&proxy.host, proxy.port),
                None => (&self.endpoint.host, self.endpoint.port),
            };
            let stream = TcpStream::connect((host.as_str(), port)).await;
            let stream = stream.map_err(|error| error.to_string())?;
            // Fails on a connection that has ended already, which is found out soon enough.
            let _ = stream.set_nodelay(true);
            match &self.proxy {
                Some(proxy) => proxy.tunnel(stream, &self.endpoint).await,
                None => Ok(stream),
            }
        };
        let connected = timeout(CONNECT, connecting).await;
        connected
            .unwrap_or_else(|_| Err(format!("no answer within {} s", CONNECT.as_secs())))
            .map_err(|why| {
                let through = self.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}"));
                let seen = format!("{}{}: {why}", self.endpoint.authority, through.unwrap_or_default());
                Flaw::new(Fault::NoConnection, seen, b"")
            })
    }

    /// TLS in one version, offering one protocol.
    pub(super) async fn tls(&self, version: Version, alpn: Alpn) -> Result<TlsStream<TcpStream>, Flaw> {
        let stream = self.tcp().await?;
        let trust = self.trust.as_ref().expect("TLS is spoken with https only");
        match timeout(CONNECT, trust.connect(stream, &self.endpoint.host, version, alpn)).await {
            Ok(connected) => connected,
            // It may speak this version of TLS, or not: nobody knows.
            Err(_) => Err(Flaw::new(
                Fault::NoConnection,
                format!(
                    "{}, {}: no end within {} s",
                    version.name(),
                    alpn.name(),
                    CONNECT.as_secs()
                ),
                b"",
            )),
        }
    }

    /// A connection that speaks what most clients do.
    pub(super) async fn connect(&self) -> Result<Connection, Flaw> {
        if self.endpoint.is_https {
            let stream = self.tls(Version::Any, Alpn::Http1).await?;
            return Ok(Connection::new(Box::new(stream)));
        }
        Ok(Connection::new(Box::new(self.tcp().await?)))
    }

    /// A connection without TLS.
    pub(super) async fn plain(&self) -> Result<TcpStream, Flaw> {
        self.tcp().await
    }

    /// Asks on a connection, and writes down what is wrong with the answer.
    pub(super) async fn exchange(&self, connection: &mut Connection, ask: &Ask) -> Answer {
        let mut answer = self.send(connection, ask).await;
        let is_of_connection = |flaw: &Flaw| matches!(flaw.fault, Fault::ReuseFails | Fault::LateBytes);
        // Whether the connection is to blame or the request, a new connection tells.
        if !ask.changes
            && answer.flaws.iter().any(is_of_connection)
            && let Ok(mut other) = self.connect().await
        {
            let again = self.send(&mut other, ask).await;
            if again.response.is_none() {
                answer = again;
            }
            *connection = other;
        }
        self.judge(&ask.title(), &answer);
        answer
    }

    /// Asks; what is wrong with the answer is still to be judged.
    pub(super) async fn send(&self, connection: &mut Connection, ask: &Ask) -> Answer {
        self.count();
        let mut bytes = ask.head(&self.endpoint, self.token.as_deref());
        bytes.extend(ask.body.iter().flatten());
        let patience = self.pace.patience;
        // Whether it failed, the answer tells.
        if timeout(patience, connection.send(&bytes)).await.is_err() {
            let seen = format!("the request is not taken within {:.1} s", patience.as_secs_f64());
            return Answer {
                flaws: vec![Flaw::new(Fault::NoAnswer, seen, b"")],
                took: patience,
                ..Answer::default()
            };
        }
        connection.answer(ask.is_head(), patience).await
    }

    /// Writes down what is wrong with an answer, whoever asked.
    pub(super) fn judge(&self, at: &str, answer: &Answer) {
        let response = answer.response.as_ref();
        for flaw in &answer.flaws {
            self.found(at, flaw.clone(), response);
        }
        let Some(response) = response else { return };
        if let Some(flaw) = of_server(response) {
            self.found(at, flaw, Some(response));
        }
        if answer.took > SLOW {
            let flaw = Flaw::new(Fault::Slow, format!("{:.1} s", answer.took.as_secs_f64()), b"");
            self.found(at, flaw, Some(response));
        }
    }
}

/// Shortest value of the Tenant URL's query that is hidden; shorter ones are flags.
const MIN_KEY: usize = 6;
/// Bytes of a text that are shown.
const MAX_TEXT: usize = 4 * 1024;
/// Shortest part of a secret that is hidden.
const MIN_SECRET: usize = 8;

/// Parts of the secret are hidden, too: what is shown of an answer may begin or end inside of it.
fn without_secret(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let common = |at: usize| {
            rest.iter()
                .zip(&secret[at..])
                .take_while(|(shown, hidden)| shown == hidden)
                .count()
        };
        let longest = (0..secret.len()).map(common).max().unwrap_or_default();
        if longest > 0 && longest >= MIN_SECRET.min(secret.len()) {
            shown.extend_from_slice(b"(a secret)");
            rest = &rest[longest..];
        } else {
            shown.push(*first);
            rest = &rest[1..];
        }
    }
    shown
}

/// More than this is slow for an answer.
const SLOW: Duration = Duration::from_secs(5);

/// What an answer says that no application should have to say.
pub(super) fn of_server(response: &Response) -> Option<Flaw> {
    let (status, text) = (response.status, response.text());
    let answer = format!("HTTP/1.1 {status} {text}");
    let explained = explain(Message::read(&answer));
    let cause = explained.cause;
    let (fault, seen) = match status {
        400..=599 if cause.is_of_component() => {
            let author = cause.author.says();
            let seen = format!("status {status}, written by {author} ({}): {}", cause.name, cause.means);
            (Fault::ProxyText, seen)
        }
        501 | 505 => return None,
        503 if explained.rule.is_some_and(|rule| rule.name == "tenant-paused") => {
            (Fault::TenantPaused, format!("status {status}"))
        }
        500..=599 => (Fault::ServerError, format!("status {status}")),
        _ => return None,
    };
    Some(Flaw::new(fault, seen, text.as_bytes()))
}

#[cfg(test)]
mod tests;
