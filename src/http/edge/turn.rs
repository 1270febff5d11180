//! One request of a connection at a time: what a client sends ahead waits until its turn.
//!
//! actix-http reads requests ahead, and remembers only of the last one it has read whether it is a HEAD: of a HEAD and a GET
//! in one piece the first is answered with a body, or the second without, and everything behind that is nonsense to its reader.
//! RFC 9112 §9.3.2 lets a client do that.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use actix_web::{
    HttpMessage, HttpRequest,
    http::header,
    web::{Buf, BytesMut},
};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that are read at a time.
const PIECE: usize = 8 * 1024;

/// What a connection's bytes wait for; shared by the connection and the request that is answered on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    /// A request is answered.
    busy: bool,
    /// What of its body has not passed yet.
    body: Body,
    /// Who is to read on.
    reader: Option<Waker>,
}

/// The rest of a request's body. Of a chunked one (RFC 9112 §7.1) that is where in it the next byte stands, as the HTTP engine reads
/// it: what the engine refuses may be anything here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Body {
    /// None.
    #[default]
    End,
    /// So many bytes.
    Length(u64),
    /// Among the digits of a chunk's size.
    Size(u64),
    /// Behind them, in the same line.
    Extension(u64),
    /// So many bytes before the next chunk's size.
    Chunk(u64),
    /// At the start of a line behind the last chunk.
    Trailers,
    /// In one that is not empty.
    Trailer,
    /// At the end of one that is not empty.
    TrailerEnd,
    /// At the end of one that is.
    LastEnd,
}

/// A request's time to be answered; ends when it is dropped.
pub(super) struct Turn(Gate);

impl Gate {
    /// The turn of a request, on a connection that knows them.
    pub(super) fn of(request: &HttpRequest) -> Option<Turn> {
        let gate = request.conn_data::<Self>()?.clone();
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let is_chunked = request.chunked().unwrap_or(false);
        let chunked = is_chunked.then_some(Body::Size(0));
        gate.begin(chunked.or(length.map(Body::Length)).unwrap_or_default());
        Some(Turn(gate))
    }

    fn begin(&self, body: Body) {
        let mut state = self.0.borrow_mut();
        (state.busy, state.body) = (true, body);
        state.wake();
    }
}

impl Body {
    /// How many of these bytes are its own, which pass.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let (Some(byte), false) = (bytes.get(passed), self.is_over()) {
            passed += match self {
                Self::Length(left) | Self::Chunk(left) => {
                    let now = (bytes.len() - passed).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= now as u64;
                    now
                }
                _ => 1,
            };
            *self = self.behind(*byte);
        }
        passed
    }

    fn is_over(self) -> bool {
        matches!(self, Self::End | Self::Length(0))
    }

    fn behind(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size(0) | Self::Extension(0), b'\n') | (Self::TrailerEnd, _) => Self::Trailers,
            // And the line's end behind it.
            (Self::Size(size) | Self::Extension(size), b'\n') => Self::Chunk(size.saturating_add(2)),
            (Self::Size(size), _) => match char::from(byte).to_digit(16) {
                Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(digit.into())),
                None => Self::Extension(size),
            },
            (Self::Chunk(0), _) => Self::Size(0),
            (Self::Trailers, b'\r') => Self::LastEnd,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::Trailers, _) => Self::Trailer,
            (Self::LastEnd, _) => Self::End,
            (same, _) => same,
        }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.busy = false;
        state.wake();
    }
}

/// What the HTTP engine may read now.
enum Pass {
    Nothing,
    /// What comes, to the end of a body.
    Body,
    /// What comes, to the end of a head.
    Head,
}

/// The bytes of a connection, of which the HTTP engine sees one request at a time.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    gate: Gate,
    /// What came and has to wait.
    come: BytesMut,
    /// The last byte ended a line, so that one more end of a line is the end of a head.
    line_ended: bool,
    /// The end of a head has passed, and the engine has not had the time to find out.
    passed: bool,
}

impl Incoming {
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Reads from the stream what has its turn.
    pub(super) fn poll_read(
        &mut self,
        stream: impl AsyncRead + Unpin,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.passed) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let pass = self.gate.pass(context);
        if matches!(pass, Pass::Nothing) {
            return Poll::Pending;
        }
        if self.come.is_empty() {
            self.come = ready!(piece(stream, context))?;
        }
        let here = &self.come[..self.come.len().min(buffer.remaining())];
        let passes = match pass {
            Pass::Nothing => 0,
            Pass::Body => self.gate.0.borrow_mut().body.pass(here),
            Pass::Head => end_of_head(here, &mut self.line_ended).map_or(here.len(), |end| {
                self.passed = true;
                end
            }),
        };
        buffer.put_slice(&here[..passes]);
        self.come.advance(passes);
        if self.come.is_empty() {
            self.come = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Gate {
    fn pass(&self, context: &Context<'_>) -> Pass {
        let mut state = self.0.borrow_mut();
        if !state.body.is_over() {
            return Pass::Body;
        }
        if !state.busy {
            return Pass::Head;
        }
        state.reader = Some(context.waker().clone());
        Pass::Nothing
    }
}

/// What has come; nothing at the end.
fn piece(mut stream: impl AsyncRead + Unpin, context: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
    let mut bytes = BytesMut::zeroed(PIECE);
    let mut read = ReadBuf::new(&mut bytes);
    ready!(Pin::new(&mut stream).poll_read(context, &mut read))?;
    let length = read.filled().len();
    bytes.truncate(length);
    Poll::Ready(Ok(bytes))
}

/// Where a head ends in these bytes: behind an empty line, of which a carriage return is no part (RFC 9112 §2.2).
fn end_of_head(bytes: &[u8], line_ended: &mut bool) -> Option<usize> {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if *line_ended => {
                *line_ended = false;
                return Some(at + 1);
            }
            b'\n' => *line_ended = true,
            b'\r' => {}
            _ => *line_ended = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::Body;

    /// A body with this much behind it, of which none is to pass.
    #[track_caller]
    fn check(body: Body, bytes: &str) {
        let all = format!("{bytes}0\r\n\r\nGET");
        for size in [1, 2, 3, all.len()] {
            let (mut left, mut passed) = (body, 0);
            for piece in all.as_bytes().chunks(size) {
                passed += left.pass(piece);
            }
            assert_eq!(&all[..passed], bytes, "in pieces of {size}");
        }
    }

    /// RFC 9112 §7.1: sizes in either case, with extensions; data that looks like the end; trailers.
    #[test]
    fn a_body_passes_and_nothing_behind_it() {
        check(Body::End, "");
        check(Body::Length(0), "");
        check(Body::Length(5), "0\r\n\r\n");
        for bytes in [
            "0\r\n\r\n",
            "5\r\n0\r\n\r\n\r\n0\r\n\r\n",
            "00a;n=\"f\"\r\n0123456789\r\n1 \r\nx\r\n000;last\r\na: b\r\nab: \n\r\n\r\n",
            "1A\r\nabcdefghijklmnopqrstuvwxyz\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
        ] {
            check(Body::Size(0), bytes);
        }
    }
}
