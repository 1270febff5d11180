//! A connection of our own, on which every byte is seen.

use std::{fmt, io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use super::{
    fault::{Fault, Flaw},
    wire::{self, End, Read, Response},
};

/// Bytes of an answer that are read.
pub(super) const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Bytes that nobody asked for, and that are read all the same.
const MAX_UNASKED: usize = 64 * 1024;
/// Longest that a large body is sent, as long as it is taken.
pub(super) const MAX_UPLOAD: Duration = Duration::from_mins(1);

/// TCP, or TLS on it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What one request led to.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) response: Option<Response>,
    pub(super) flaws: Vec<Flaw>,
    pub(super) took: Duration,
}

/// How a connection on which nothing is asked passes its time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Quiet {
    Silent,
    /// Bytes came.
    Spoke(Flaw),
    Ended(End),
}

/// What became of a large body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// It is not taken any more, and the connection stays open.
    Stuck,
    /// It is taken still, so slowly that the rest was kept.
    Slow,
    /// The connection ended with a part of it unread.
    Refused,
}

/// A connection in HTTP/1.1.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    come: Vec<u8>,
    end: End,
    /// Whether an answer has been read on it.
    pub(super) is_used: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            come: Vec::new(),
            end: End::Open,
            is_used: false,
        }
    }

    /// Sends; a peer that has closed already is found out by the answer.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends while it reads, as the answer may come before all is sent. Where nothing is taken for so long, it is stuck.
    pub(super) async fn send_large(&mut self, bytes: &[u8], patience: Duration) -> Sent {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let (come, end) = (&mut self.come, &mut self.end);
        let reading = async {
            while *end == End::Open && come.len() <= MAX_ANSWER && matches!(wire::read(come, *end, false), Read::More) {
                *end = more(&mut reader, come).await;
            }
        };
        let mut rest = bytes;
        let both = async {
            tokio::select! {
                sent = push(&mut writer, &mut rest, patience) => sent,
                () = reading => push(&mut writer, &mut rest, SENT_AFTER_ANSWER).await,
            }
        };
        timeout(MAX_UPLOAD, both).await.unwrap_or(Sent::Slow)
    }

    /// The next answer.
    pub(super) async fn answer(&mut self, is_head: bool, patience: Duration) -> Answer {
        let began = Instant::now();
        let until = began + patience;
        loop {
            let (response, flaws) = match wire::read(&self.come, self.end, is_head) {
                Read::More => {
                    let stuck = match timeout_at(until, self.more()).await {
                        Ok(()) if self.come.len() <= MAX_ANSWER => continue,
                        Ok(()) => Flaw::new(Fault::NoAnswer, format!("no end within {MAX_ANSWER} bytes"), &self.come),
                        Err(_) => self.stuck(is_head, patience),
                    };
                    (None, vec![stuck])
                }
                Read::Whole { response, flaws, .. } => (Some(response), flaws),
                Read::Broken(flaws) => (None, flaws),
            };
            let flaws = flaws.into_iter().map(|flaw| self.of_neighbour(flaw));
            let flaws = flaws.map(|flaw| wire::without_resources(flaw, &self.come)).collect();
            self.come = Vec::new();
            self.is_used = true;
            return Answer {
                response,
                flaws,
                took: began.elapsed(),
            };
        }
    }

    /// Bytes before the second answer belong to the first one.
    fn of_neighbour(&self, flaw: Flaw) -> Flaw {
        let fault = match flaw.fault {
            Fault::NotHttp | Fault::BytesBefore if self.is_used => Fault::LateBytes,
            Fault::ClosedWithoutAnswer if self.is_used => Fault::ReuseFails,
            fault => fault,
        };
        Flaw { fault, ..flaw }
    }

    fn stuck(&self, is_head: bool, patience: Duration) -> Flaw {
        let waited = format!("{} bytes in {:.1} s", self.come.len(), patience.as_secs_f64());
        match wire::read(&self.come, End::Closed, is_head) {
            Read::Whole { .. } => Flaw::new(Fault::BodyWithoutEnd, format!("{waited}, and no end"), &self.come),
            _ => Flaw::new(Fault::NoAnswer, waited, &self.come),
        }
    }

    /// Waits without asking anything.
    pub(super) async fn quiet(&mut self, time: Duration) -> Quiet {
        let until = Instant::now() + time;
        while self.end == End::Open && self.come.len() < MAX_UNASKED && timeout_at(until, self.more()).await.is_ok() {}
        if !self.come.is_empty() {
            let come = std::mem::take(&mut self.come);
            return Quiet::Spoke(wire::unasked(&come));
        }
        match self.end {
            End::Open => Quiet::Silent,
            end => Quiet::Ended(end),
        }
    }

    async fn more(&mut self) {
        self.end = more(&mut self.stream, &mut self.come).await;
    }

    /// Closes orderly, if the peer lets it.
    pub(super) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.stream.shutdown()).await;
    }
}

/// Nothing may be taken for so long of what is left of a large body when the answer is there.
const SENT_AFTER_ANSWER: Duration = Duration::from_secs(3);

async fn push(writer: &mut (impl AsyncWrite + Unpin), rest: &mut &[u8], patience: Duration) -> Sent {
    while !rest.is_empty() {
        match timeout(patience, writer.write(rest)).await {
            Ok(Ok(taken)) if taken > 0 => *rest = &rest[taken..],
            Ok(_) => return Sent::Refused,
            Err(_) => return Sent::Stuck,
        }
    }
    match timeout(patience, writer.flush()).await {
        Ok(Ok(())) => Sent::All,
        Ok(Err(_)) => Sent::Refused,
        Err(_) => Sent::Stuck,
    }
}

async fn more(stream: &mut (impl AsyncRead + Unpin), come: &mut Vec<u8>) -> End {
    come.reserve(16 * 1024);
    match stream.read_buf(come).await {
        Ok(0) => End::Closed,
        Ok(_) => End::Open,
        // Many servers end TLS without saying so.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => End::Closed,
        Err(_) => End::Reset,
    }
}

#[cfg(test)]
mod tests;
