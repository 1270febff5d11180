//! Requests in HTTP/2, many at once on one connection, with an eye on the bytes that come.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use h2::{
    Reason,
    client::{self, Builder, SendRequest},
};
use http::{Request, Version};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, timeout},
};

use super::{
    connection::{Answer, MAX_ANSWER, Quiet, Stream},
    fault::{Fault, Flaw},
    request::Ask,
    visit::{Visit, lock},
    wire::{End, Response},
};

/// Bytes kept of the start and of the end of what came.
const KEPT: usize = 160;
/// Bytes of all bodies that come on a connection.
const MAX_BODIES: usize = 4 * MAX_ANSWER;
/// Bytes of a head that an Envoy accepts.
const MAX_HEAD: u32 = 80 * 1024;
/// Control frames that a peer may send while one answer or many are waited for; an Envoy accepts some more.
const MAX_CONTROLS: usize = 1_000;
/// Length, type, flags, stream (RFC 9113 §4.1).
const FRAME: usize = 9;

/// What came on a connection.
#[derive(Debug, Default)]
struct Seen {
    first: Vec<u8>,
    last: Vec<u8>,
    /// SETTINGS, PINGs and heads: interim answers are heads, too.
    controls: usize,
    start: Vec<u8>,
    left: usize,
    /// Whether what is left is a body's: it may be about persons, and is not kept.
    is_data: bool,
    /// Bytes of the bodies.
    bodies: usize,
}

impl Seen {
    fn pass(&mut self, bytes: &[u8]) {
        let room = KEPT - self.first.len();
        self.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.left > 0 {
                let (now, later) = rest.split_at(self.left.min(rest.len()));
                self.left -= now.len();
                rest = later;
                if !self.is_data {
                    self.keep(now);
                }
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(FRAME - self.start.len()));
            self.start.extend_from_slice(now);
            self.keep(now);
            rest = later;
            if let [high, middle, low, kind, flags, _, _, _, _] = self.start[..] {
                self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.is_data = kind == 0;
                // What is acknowledged was sent from here.
                self.controls += usize::from(kind == 1 || matches!(kind, 4 | 6) && flags & 1 == 0);
                self.start.clear();
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
        self.last.drain(..self.last.len().saturating_sub(KEPT));
    }

    /// Whether the peer began as one that speaks HTTP/2: with SETTINGS.
    fn is_http2(&self) -> bool {
        self.first.get(3) == Some(&4) && self.first.first() == Some(&0)
    }

    fn has_text(&self) -> bool {
        let has = |bytes: &[u8]| bytes.windows(7).any(|window| window == b"HTTP/1.");
        has(&self.first) || has(&self.last)
    }
}

/// A stream whose incoming bytes are looked at.
struct Tap {
    stream: Box<dyn Stream>,
    seen: Arc<Mutex<Seen>>,
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        let mut seen = lock(&self.seen);
        seen.pass(&into.filled()[before..]);
        if seen.controls > MAX_CONTROLS {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What a connection led to.
#[derive(Debug)]
pub(super) struct Conversation {
    /// In the order of the requests.
    pub(super) answers: Vec<Answer>,
    /// Whether the peer speaks HTTP/2 at all.
    pub(super) is_http2: bool,
}

/// A connection in HTTP/2.
pub(super) struct Multiplexed {
    sender: SendRequest<Bytes>,
    connection: Pin<Box<client::Connection<Tap, Bytes>>>,
    seen: Arc<Mutex<Seen>>,
    has_ended: bool,
}

impl Multiplexed {
    pub(super) async fn open(visit: &Visit, stream: Box<dyn Stream>) -> Result<Self, Flaw> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let tap = Tap {
            stream,
            seen: Arc::clone(&seen),
        };
        let handshake = Builder::new()
            .enable_push(false)
            // Until the peer's SETTINGS say how many it takes at once.
            .initial_max_send_streams(1)
            .max_header_list_size(MAX_HEAD)
            .handshake(tap);
        match timeout(visit.pace.patience, handshake).await {
            Ok(Ok((sender, connection))) => Ok(Self {
                sender,
                connection: Box::pin(connection),
                seen,
                has_ended: false,
            }),
            Ok(Err(error)) => Err(flaw(&error, &lock(&seen))),
            Err(_) => Err(Flaw::new(Fault::Http2NoAnswer, "no SETTINGS", b"")),
        }
    }

    /// Sends all requests at once; the answers in their order.
    pub(super) async fn ask(&mut self, visit: &Visit, asks: &[Ask]) -> Vec<Answer> {
        let seen = &self.seen;
        lock(seen).controls = 0;
        let asking = join_all(asks.iter().map(|ask| one(visit, self.sender.clone(), ask, seen)));
        tokio::pin!(asking);
        tokio::select! {
            // What is to be sent is sent before it is known that the peer is about to end.
            biased;
            answers = &mut asking => answers,
            ended = &mut self.connection => {
                self.has_ended = true;
                match timeout(visit.pace.silence, &mut asking).await {
                    // Most streams are told why their connection ends.
                    Ok(answers) => answers,
                    Err(_) => asks.iter().map(|_| failed(end(&ended, &lock(seen)))).collect(),
                }
            }
        }
    }

    /// Waits without asking anything; also for its end, when the peer has said that it is near (GOAWAY).
    pub(super) async fn quiet(&mut self, time: Duration) -> Quiet {
        if self.has_ended {
            return Quiet::Ended(End::Closed);
        }
        lock(&self.seen).controls = 0;
        let Ok(ended) = timeout(time, &mut self.connection).await else {
            return Quiet::Silent;
        };
        self.has_ended = true;
        match ended {
            Ok(()) => Quiet::Ended(End::Closed),
            Err(error) if error.get_io().is_some_and(is_reset) => Quiet::Ended(End::Reset),
            Err(error) if error.is_io() || error.is_remote() => Quiet::Ended(End::Closed),
            Err(error) => Quiet::Spoke(flaw(&error, &lock(&self.seen))),
        }
    }

    /// Whether the peer speaks HTTP/2 at all.
    fn is_http2(&self) -> bool {
        lock(&self.seen).is_http2()
    }
}

fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

/// Sends all requests at once on one connection.
pub(super) async fn converse(visit: &Visit, stream: Box<dyn Stream>, asks: &[Ask]) -> Conversation {
    match Multiplexed::open(visit, stream).await {
        Ok(mut connection) => Conversation {
            answers: connection.ask(visit, asks).await,
            is_http2: connection.is_http2(),
        },
        Err(flaw) => Conversation {
            answers: vec![failed(flaw)],
            is_http2: false,
        },
    }
}

fn failed(flaw: Flaw) -> Answer {
    Answer {
        flaws: vec![flaw],
        ..Answer::default()
    }
}

async fn one(visit: &Visit, sender: SendRequest<Bytes>, ask: &Ask, seen: &Mutex<Seen>) -> Answer {
    visit.count();
    let began = Instant::now();
    let answered = timeout(visit.pace.patience, exchange(visit, sender, ask, seen)).await;
    let mut answer = match answered {
        Ok(Ok(Some(response))) => {
            let flaws = flaws(&response, ask.is_head(), &lock(seen));
            Answer {
                response: Some(response),
                flaws,
                ..Answer::default()
            }
        }
        Ok(Ok(None)) => {
            let much = format!("no end within {MAX_BODIES} bytes of all answers");
            failed(Flaw::new(Fault::Http2NoAnswer, much, &lock(seen).last))
        }
        Ok(Err(error)) => failed(flaw(&error, &lock(seen))),
        Err(_) if lock(seen).controls > MAX_CONTROLS => failed(flood(&lock(seen))),
        Err(_) => {
            let waited = format!("nothing in {:.1} s", visit.pace.patience.as_secs_f64());
            failed(Flaw::new(Fault::Http2NoAnswer, waited, &lock(seen).last))
        }
    };
    answer.took = began.elapsed();
    answer
}

/// None where more comes than is read.
async fn exchange(
    visit: &Visit,
    sender: SendRequest<Bytes>,
    ask: &Ask,
    seen: &Mutex<Seen>,
) -> Result<Option<Response>, h2::Error> {
    let endpoint = &visit.endpoint;
    let scheme = if endpoint.is_https { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", endpoint.authority, endpoint.target(&ask.path));
    let mut request = Request::builder().method(ask.method).uri(uri).version(Version::HTTP_2);
    for (name, value) in ask.headers(visit.token.as_deref()) {
        request = request.header(name, value);
    }
    let request = request.body(()).map_err(|_| h2::Error::from(Reason::INTERNAL_ERROR))?;
    let mut sender = sender.ready().await?;
    let (response, mut sending) = sender.send_request(request, ask.body.is_none())?;
    if let Some(body) = &ask.body {
        sending.send_data(Bytes::from(body.clone()), true)?;
    }
    let (head, mut incoming) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(bytes) = incoming.data().await {
        let bytes = bytes?;
        lock(seen).bodies += bytes.len();
        if lock(seen).bodies > MAX_BODIES {
            return Ok(None);
        }
        body.extend_from_slice(&bytes);
        incoming.flow_control().release_capacity(bytes.len())?;
    }
    incoming.trailers().await?;
    let headers = head.headers.iter();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Some(Response {
        status: head.status.as_u16(),
        headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
        body,
        keeps: true,
    }))
}

/// What the library lets pass and an Envoy does not.
fn flaws(response: &Response, is_head: bool, seen: &Seen) -> Vec<Flaw> {
    let status = response.status;
    let lengths = response.headers.iter().filter(|(name, _)| name == "content-length");
    let lengths: Vec<_> = lengths.map(|(_, value)| value.as_str()).collect();
    let mut flaws = Vec::new();
    if lengths.len() > 1 {
        flaws.push(Flaw::new(Fault::Http2LengthTwice, lengths.join(" and "), &seen.last));
    }
    let has_length = status == 204 && lengths.iter().any(|length| *length != "0");
    let has_body = (is_head || matches!(status, 204 | 304)) && !response.body.is_empty();
    if has_length || has_body {
        let seen_length = format!(
            "a {status} with {} bytes, length {}",
            response.body.len(),
            lengths.join(", ")
        );
        flaws.push(Flaw::new(Fault::Http2Bodiless, seen_length, &seen.last));
    }
    if seen.controls > MAX_CONTROLS {
        flaws.push(flood(seen));
    }
    flaws
}

fn end(ended: &Result<(), h2::Error>, seen: &Seen) -> Flaw {
    match ended {
        Err(error) => flaw(error, seen),
        Ok(()) => Flaw::new(Fault::Http2Closed, "closed", &seen.last),
    }
}

fn flood(seen: &Seen) -> Flaw {
    Flaw::new(
        Fault::Http2Flood,
        format!("{} SETTINGS, PINGs and heads", seen.controls),
        &seen.last,
    )
}

fn flaw(error: &h2::Error, seen: &Seen) -> Flaw {
    let fault = match error.reason() {
        _ if seen.controls > MAX_CONTROLS => return flood(seen),
        _ if seen.has_text() => Fault::Http2Text,
        _ if error.is_io() => Fault::Http2Closed,
        Some(Reason::PROTOCOL_ERROR) if error.is_remote() && error.is_reset() => Fault::Http2ResetProtocol,
        _ if error.is_remote() && error.is_reset() => Fault::Http2Reset,
        _ if error.is_remote() && error.is_go_away() => Fault::Http2GoAway,
        _ if error.is_reset() => Fault::Http2Malformed,
        Some(_) => Fault::Http2Broken,
        None => Fault::Http2Closed,
    };
    Flaw::new(fault, error.to_string(), &seen.last)
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn bodies_are_no_bytes_to_be_shown() {
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let data = [&[0, 0, 7, 0, 1, 0, 0, 0, 1][..], b"HTTP/1."].concat();
        let mut seen = Seen::default();
        for byte in [&ping[..], &data, &ping].concat() {
            seen.pass(&[byte]);
        }
        assert_eq!(seen.last, [&ping[..], &data[..9], &ping].concat());
        assert_eq!(seen.controls, 2);
    }
}
