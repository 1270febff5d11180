//! The last answer of an HTTP/1.1 connection says that it is (RFC 9112 §9.6).
//!
//! actix-http answers a head that it can't parse itself and closes the connection, but says so only when there was no request
//! before. A proxy then puts the connection back into its pool, and somebody else's request ends on it with a 503.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    stall::Timely,
    turn::{Gate, Incoming},
};

/// How such an answer begins: 400 or 431, and no body; ours have one always.
const STARTS: [&[u8]; 2] = [
    b"HTTP/1.1 400 Bad Request\r\n",
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
];
const NO_BODY: &[u8] = b"content-length: 0\r\n";
const CLOSE: &[u8] = b"connection: close\r\n";
/// More than such an answer has.
const MAX_ANSWER: usize = 200;

/// A connection whose bytes are looked at, out and in.
#[derive(Debug)]
pub(super) struct Announcing {
    stream: Timely<TcpStream>,
    incoming: Incoming,
    /// An answer with what it lacked, until it is written.
    ready: Vec<u8>,
}

impl Announcing {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Timely::new(stream),
            incoming: Incoming::default(),
            ready: Vec::new(),
        }
    }

    /// What the requests on it wait for.
    pub(super) fn gate(&self) -> &Gate {
        self.incoming.gate()
    }

    /// Writes what is ready.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ready.is_empty() {
            let wrote = ready!(Pin::new(&mut self.stream).poll_write(context, &self.ready))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ready.drain(..wrote);
        }
        Poll::Ready(Ok(()))
    }
}

/// The same bytes with the announcement, where they end with an answer that lacks it. Bodies are JSON, in which no line ends
/// like a header's, so nothing else looks like one.
fn announced(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let tail = &bytes[bytes.len().saturating_sub(MAX_ANSWER)..];
    let contains = |part: &[u8], word: &[u8]| part.windows(word.len()).any(|window| window == word);
    let (last, start) = STARTS
        .iter()
        .filter_map(|start| {
            let at = tail.windows(start.len()).rposition(|window| window == *start)?;
            Some((&tail[at..], start))
        })
        .min_by_key(|(last, _)| last.len())?;
    // The end of a head is the end of these bytes.
    let is_one = contains(last, NO_BODY) && !contains(last, CLOSE) && !contains(&last[..last.len() - 1], b"\r\n\r\n");
    let at = bytes.len() - last.len() + start.len();
    is_one.then(|| [&bytes[..at], CLOSE, &bytes[at..]].concat())
}

impl AsyncWrite for Announcing {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ready(context))?;
        let Some(announced) = announced(bytes) else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        this.ready = announced;
        match this.poll_ready(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What is left is written by the next flush.
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_ready(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_ready(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Announcing {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.incoming.poll_read(&mut this.stream, context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::announced;

    #[track_caller]
    fn check(given: &str, expected: Option<&str>) {
        assert_eq!(
            announced(given.as_bytes()).as_deref(),
            expected.map(str::as_bytes),
            "{given}"
        );
    }

    #[test]
    fn only_an_answer_of_the_librarys_own_that_lacks_it_gets_the_announcement() {
        let before = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let rest = "content-length: 0\r\ndate: now\r\n\r\n";
        let bad = "HTTP/1.1 400 Bad Request\r\n";
        let large = "HTTP/1.1 431 Request Header Fields Too Large\r\n";
        for start in [bad, large] {
            let said = format!("{start}connection: close\r\n{rest}");
            check(&format!("{start}{rest}"), Some(&said));
            check(&format!("{before}{start}{rest}"), Some(&format!("{before}{said}")));
            check(&said, None);
        }
        check(before, None);
        check(&format!("HTTP/1.1 204 No Content\r\n{rest}"), None);
        check(&format!("HTTP/1.1 200 OK\r\n{rest}"), None);
        check(&format!("{bad}content-length: 5\r\n\r\n"), None);
        check(&format!("{bad}{rest}HTTP/1.1 200 OK\r\n{rest}"), None);
    }
}
