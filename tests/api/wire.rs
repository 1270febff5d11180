//! HTTP by hand, for what no client sends and for what none shows.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::answer::{Answer, Asked};

/// How long an answer may take before a case fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, and what came on it that is not read yet.
pub(crate) struct Connection {
    stream: TcpStream,
    come: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).await.expect("the service listens");
        Connection {
            stream,
            come: Vec::new(),
        }
    }

    /// Sends; a peer that has closed already is found out by the answer.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next answer, framed as RFC 9112 §6 says. `method` is the request's.
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let answer = timeout(PATIENCE, self.read(method)).await;
        answer.unwrap_or_else(|_| panic!("no answer in {} s; came {}", PATIENCE.as_secs(), lossy(&self.come)))
    }

    /// Whether nothing more comes: the peer closes, or says nothing for a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let more = timeout(Duration::from_millis(200), self.more()).await;
        self.come.is_empty() && !matches!(more, Ok(true))
    }

    /// Whether the peer ends the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let ended = timeout(PATIENCE, self.more()).await;
        self.come.is_empty() && matches!(ended, Ok(false))
    }

    /// The status of the next head, which has no body (RFC 9110 §15.2).
    pub(crate) async fn interim(&mut self) -> u16 {
        let head = timeout(PATIENCE, self.head()).await;
        parse(&head.unwrap_or_else(|_| panic!("no answer in {} s", PATIENCE.as_secs()))).0
    }

    async fn read(&mut self, method: &str) -> Answer {
        loop {
            let head = self.head().await;
            let (status, headers) = parse(&head);
            if status == 100 {
                continue;
            }
            let answer = Answer::new(Asked::new(method, "by hand"), status, headers, Vec::new());
            let length = answer
                .header("content-length")
                .map(|text| text.parse().expect("a length is a number"));
            let body = match length {
                _ if method == "HEAD" || status == 204 || status == 304 => Vec::new(),
                Some(length) => self.take(length).await,
                None if answer.header("transfer-encoding").is_some() => self.chunks().await,
                None => {
                    while self.more().await {}
                    std::mem::take(&mut self.come)
                }
            };
            return Answer::new(answer.asked, status, answer.headers, body);
        }
    }

    async fn head(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.come.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.more().await,
                "the connection ended in a head: {}",
                lossy(&self.come)
            );
        };
        lossy(&self.take(end).await)
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = self.come.windows(2).position(|window| window == b"\r\n") {
                    break at + 2;
                }
                assert!(self.more().await, "the connection ended in a chunk's size");
            };
            let size = lossy(&self.take(end).await);
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size is hexadecimal");
            body.extend(self.take(size).await);
            self.take(2).await;
            if size == 0 {
                return body;
            }
        }
    }

    /// So many bytes, whatever they are.
    pub(crate) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.come.len() < length {
            assert!(
                self.more().await,
                "the connection ended {} bytes early",
                length - self.come.len()
            );
        }
        self.come.drain(..length).collect()
    }

    /// Waits for bytes; false at the end.
    async fn more(&mut self) -> bool {
        self.come.reserve(16 * 1024);
        self.stream.read_buf(&mut self.come).await.unwrap_or_default() > 0
    }
}

fn parse(head: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|version| version.split(' ').nth(1))
        .and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {first}"));
    let header = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
    };
    (status, lines.filter_map(header).collect())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
