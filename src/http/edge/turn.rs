//! One request of a connection at a time: what a client sends ahead waits until its turn.
//!
//! actix-http reads requests ahead, and remembers only of the last one it has read whether it is a HEAD: of a HEAD and a GET
//! in one piece the first is answered with a body, or the second without, and everything behind that is nonsense to its reader.
//! RFC 9112 §9.3.2 lets a client do that. Only behind a chunked body, whose end the engine alone knows, nothing waits.

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
    /// Bytes of its body that have not passed yet.
    body: u64,
    /// Nobody but the HTTP engine knows where its body ends.
    chunked: bool,
    /// Who is to read on.
    reader: Option<Waker>,
}

/// A request's time to be answered; ends when it is dropped.
pub(super) struct Turn(Gate);

impl Gate {
    /// The turn of a request, on a connection that knows them.
    pub(super) fn of(request: &HttpRequest) -> Option<Turn> {
        let gate = request.conn_data::<Self>()?.clone();
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let chunked = request.chunked().unwrap_or(true);
        gate.begin(length.unwrap_or(0), chunked);
        Some(Turn(gate))
    }

    fn begin(&self, body: u64, chunked: bool) {
        let mut state = self.0.borrow_mut();
        (state.busy, state.body, state.chunked) = (true, body, chunked);
        state.wake();
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
    /// So many bytes of a body.
    Body(u64),
    /// What comes, to the end of a head.
    Head,
    All,
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
            Pass::Body(left) => here.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            Pass::Head => end_of_head(here, &mut self.line_ended).map_or(here.len(), |end| {
                self.passed = true;
                end
            }),
            Pass::All => here.len(),
        };
        buffer.put_slice(&here[..passes]);
        self.gate.passed(passes as u64);
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
        match *state {
            State { body: left @ 1.., .. } => Pass::Body(left),
            State { busy: false, .. } => Pass::Head,
            State { chunked: true, .. } => Pass::All,
            _ => {
                state.reader = Some(context.waker().clone());
                Pass::Nothing
            }
        }
    }

    fn passed(&self, bytes: u64) {
        let mut state = self.0.borrow_mut();
        state.body = state.body.saturating_sub(bytes);
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
