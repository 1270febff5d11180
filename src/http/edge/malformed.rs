//! Requests that HTTP/2 calls malformed (RFC 9113 §8.1.1), answered.
//!
//! h2 resets the stream of a request whose authority or path is none, as a protocol error, before anybody is asked. A
//! proxy that let such a request through then says 502, as if it had not understood this service. So the reset goes out as
//! the answer that the RFC allows and HTTP/1.1 gives: 400, without a body. Of many resets on one connection h2 makes an error
//! of that connection, so it is told before (`enough`).

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use super::server::PREFACE;

// Frames (RFC 9113 §4.1, §6): three bytes of length, type, flags, four of stream.
const FRAME: usize = 9;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
/// The flags of a frame that is a whole answer: end of stream, end of headers.
const WHOLE: u8 = 5;
const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];
/// The most bytes of a frame that h2 takes.
const MAX_PAYLOAD: usize = 16 * 1024;
/// One of SETTINGS (RFC 9113 §6.5.1): two bytes of name, four of value.
const SETTING: usize = 6;
const HEADER_TABLE_SIZE: [u8; 2] = [0, 1];
/// The largest dynamic table that h2 compresses with, whatever a client offers.
const MAX_TABLE: u32 = 4096;
/// `:status: 400`, `content-length: 0` (RFC 7541, appendix A), in a form that leaves the connection's compression as it is.
const BAD_REQUEST: &[u8] = b"\x8c\x0f\x0d\x010";

/// A connection whose frames are looked at.
#[derive(Debug)]
pub(super) struct Answering<S> {
    stream: S,
    passing: Passing,
    /// How much of what is ready has been written.
    written: usize,
}

/// What the frames that passed tell, and what goes out instead of some.
#[derive(Debug)]
struct Passing {
    incoming: Frames,
    outgoing: Frames,
    /// The dynamic table that each SETTINGS of the client's asks for that h2 has not acknowledged.
    asked: VecDeque<Option<u32>>,
    /// The smallest that h2 has acknowledged and not spelled out in a header block yet, which the next one has to begin with.
    table: Option<u32>,
    /// The last stream with an answer; no later one has any.
    answered: u32,
    /// Resets that may pass until it is enough.
    resets_left: usize,
    enough: Rc<Notify>,
    /// What is to be written.
    ready: Vec<u8>,
}

/// One direction, cut into frames whatever pieces it comes in.
#[derive(Debug)]
struct Frames {
    /// The start of a frame, as much as has come.
    start: Vec<u8>,
    /// What is left of the frame.
    left: usize,
    /// Whether all of a frame with this head is its start.
    is_whole: fn(&[u8]) -> bool,
}

enum Piece<'b> {
    /// A frame's head, and all that follows of a whole one.
    Start(Vec<u8>),
    /// What follows of others.
    Rest(&'b [u8]),
}

impl<S> Answering<S> {
    /// Tells `enough` when so many resets have passed.
    pub(super) fn new(stream: S, resets: usize, enough: Rc<Notify>) -> Self {
        Self {
            stream,
            passing: Passing::new(resets, enough),
            written: 0,
        }
    }
}

impl Passing {
    fn new(resets: usize, enough: Rc<Notify>) -> Self {
        Self {
            incoming: Frames::new(PREFACE.len(), asks),
            outgoing: Frames::new(0, |head| head[3] == RESET),
            asked: VecDeque::new(),
            table: None,
            answered: 0,
            resets_left: resets,
            enough,
            ready: Vec::new(),
        }
    }

    /// Looks at what the client sends.
    fn come(&mut self, mut bytes: &[u8]) {
        while let Some(piece) = self.incoming.next(&mut bytes) {
            if let Piece::Start(frame) = piece
                && asks(&frame)
            {
                self.asked.push_back(table_asked(&frame));
            }
        }
    }

    /// Makes ready what h2 sends, or what stands for it.
    fn go(&mut self, mut bytes: &[u8]) {
        while let Some(piece) = self.outgoing.next(&mut bytes) {
            match piece {
                Piece::Start(start) => self.begin(&start),
                Piece::Rest(rest) => self.ready.extend_from_slice(rest),
            }
        }
    }

    fn begin(&mut self, start: &[u8]) {
        let stream = [start[5], start[6], start[7], start[8]];
        let id = u32::from_be_bytes(stream);
        let is_answered = id <= self.answered;
        match start[3] {
            SETTINGS if start[4] & ACK != 0 => {
                if let Some(asked) = self.asked.pop_front().flatten() {
                    self.table = Some(self.table.map_or(asked, |table| table.min(asked)));
                }
            }
            HEADERS => (self.answered, self.table) = (self.answered.max(id), None),
            RESET => {
                self.answered = self.answered.max(id);
                self.resets_left = self.resets_left.saturating_sub(1);
                if self.resets_left == 0 {
                    self.enough.notify_one();
                }
            }
            _ => {}
        }
        if start[FRAME..] == PROTOCOL_ERROR && !is_answered {
            tracing::warn!("a malformed HTTP/2 request was answered 400");
            let block = [&self.table.map(size_update).unwrap_or_default(), BAD_REQUEST].concat();
            let length = u8::try_from(block.len()).expect("eight bytes at most");
            self.ready.extend([0, 0, length, HEADERS, WHOLE]);
            self.ready.extend(stream);
            self.ready.extend(block);
            // RFC 9113 §8.1: with no error, what is left of the request is not wanted.
            self.ready.extend_from_slice(&start[..FRAME]);
            self.ready.extend([0; 4]);
        } else {
            self.ready.extend_from_slice(start);
        }
    }
}

impl Frames {
    /// The first frame begins behind so many bytes.
    fn new(behind: usize, is_whole: fn(&[u8]) -> bool) -> Self {
        Self {
            start: Vec::new(),
            left: behind,
            is_whole,
        }
    }

    /// Takes the next piece of these bytes; nothing if more have to come.
    fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Option<Piece<'b>> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let rest = bytes.split_off(..self.left.min(bytes.len()))?;
                self.left -= rest.len();
                return Some(Piece::Rest(rest));
            }
            let wanted = self.wanted() - self.start.len();
            self.start
                .extend_from_slice(bytes.split_off(..wanted.min(bytes.len()))?);
            if self.start.len() == self.wanted() {
                self.left = FRAME + payload(&self.start) - self.start.len();
                return Some(Piece::Start(std::mem::take(&mut self.start)));
            }
        }
        None
    }

    /// The length of a start, as far as is known.
    fn wanted(&self) -> usize {
        let is_whole = self.start.len() >= FRAME && (self.is_whole)(&self.start);
        if is_whole { FRAME + payload(&self.start) } else { FRAME }
    }
}

/// Bytes behind a frame's head.
fn payload(start: &[u8]) -> usize {
    u32::from_be_bytes([0, start[0], start[1], start[2]]) as usize
}

/// Whether a frame is SETTINGS that are acknowledged; h2 ends the connection of larger ones.
fn asks(start: &[u8]) -> bool {
    start[3] == SETTINGS && start[4] & ACK == 0 && payload(start) <= MAX_PAYLOAD
}

/// The dynamic table that SETTINGS ask for, as h2 understands them.
fn table_asked(frame: &[u8]) -> Option<u32> {
    let last = frame[FRAME..]
        .chunks_exact(SETTING)
        .rfind(|setting| setting[..2] == HEADER_TABLE_SIZE)?;
    Some(u32::from_be_bytes([last[2], last[3], last[4], last[5]]).min(MAX_TABLE))
}

/// The dynamic table has this size from here on (RFC 7541 §4.2, §6.3). Its reader drops nothing that h2 refers to later: h2's own
/// next block begins with the same size, or with that one first, and until then h2 adds nothing.
fn size_update(size: u32) -> Vec<u8> {
    let Some(mut rest) = size.checked_sub(31) else {
        return vec![0x20 | size.to_le_bytes()[0]];
    };
    let mut bytes = vec![0x3f];
    while rest > 0x7f {
        bytes.push(0x80 | rest.to_le_bytes()[0]);
        rest >>= 7;
    }
    bytes.push(rest.to_le_bytes()[0]);
    bytes
}

impl<S: AsyncWrite + Unpin> Answering<S> {
    /// Writes what is ready.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.passing.ready.len() {
            let wrote = Pin::new(&mut self.stream).poll_write(context, &self.passing.ready[self.written..]);
            match ready!(wrote)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                wrote => self.written += wrote,
            }
        }
        self.passing.ready.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Answering<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ready(context))?;
        this.passing.go(bytes);
        // What can't be written now is by the next write or flush.
        if let Poll::Ready(Err(error)) = this.poll_ready(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
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

impl<S: AsyncRead + Unpin> AsyncRead for Answering<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.passing.come(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn passing() -> Passing {
        Passing::new(usize::MAX, Rc::default())
    }

    /// SETTINGS, an answer on stream 3 with a body, resets of streams 1, 5, 5 again and 7 with these codes.
    fn outgoing(codes: [u8; 4]) -> Vec<u8> {
        let mut all = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x80".to_vec();
        all.extend(b"\0\0\x01\x01\x04\0\0\0\x03\x88\0\0\x0d\0\x01\0\0\0\x03\0\0\x04\x03\0\0\0\0\x09\0\0\0\x01");
        for (stream, code) in [1, 5, 5, 7].into_iter().zip(codes) {
            all.extend([0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, code]);
        }
        all
    }

    /// What goes out for a reset of this stream, with these bytes before the block.
    fn answer(stream: u8, update: &[u8]) -> Vec<u8> {
        let length = 5 + u8::try_from(update.len()).unwrap();
        let head = [0, 0, length, 1, 5, 0, 0, 0, stream];
        let rest = [0x8c, 0x0f, 0x0d, 1, b'0', 0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, 0];
        [&head, update, &rest].concat()
    }

    /// The answers here are to 5 and 7: 1 may have been answered, the second reset of 5 comes behind its answer.
    #[test]
    fn a_reset_before_any_answer_becomes_one_however_it_is_cut() {
        let all = outgoing([1, 1, 1, 1]);
        let resets = all.len() - 4 * 13;
        let expected = [
            &all[..resets + 13],
            &answer(5, b""),
            &all[resets + 26..resets + 39],
            &answer(7, b""),
        ]
        .concat();
        for size in [1, 2, 3, 9, 13, all.len()] {
            let mut passing = passing();
            all.chunks(size).for_each(|piece| passing.go(piece));
            assert_eq!(passing.ready, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn everything_else_passes_unchanged() {
        let all = outgoing([0, 2, 7, 8]);
        for size in [1, 5, all.len()] {
            let mut passing = passing();
            all.chunks(size).for_each(|piece| passing.go(piece));
            assert_eq!(passing.ready, all, "in pieces of {size}");
        }
    }

    /// RFC 7541 §4.2: a client that makes its table smaller expects the next block to say so. SETTINGS with `asked` as sizes come,
    /// one with none before them and requests all around; h2 acknowledges the first of them, and then the others.
    #[track_caller]
    fn check(asked: &[u32], update: &[u8]) {
        const RESET_5: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 1];
        const ACKNOWLEDGED: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
        let mut come = [PREFACE, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255]].concat();
        for size in asked {
            come.extend(b"\0\0\x02\x01\x05\0\0\0\x01\x82\x86\0\0\x0c\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x01");
            come.extend(size.to_be_bytes());
            come.extend(ACKNOWLEDGED);
        }
        for size in [1, 7, come.len()] {
            let mut passing = passing();
            come.chunks(size).for_each(|piece| passing.come(piece));
            let mut answered = |before: &[u8]| {
                passing.answered = 0;
                passing.go(before);
                passing.ready.clear();
                passing.go(RESET_5);
                passing.ready.clone()
            };
            assert_eq!(answered(ACKNOWLEDGED), answer(5, b""), "not acknowledged, {asked:?}");
            let all = ACKNOWLEDGED.repeat(asked.len());
            assert_eq!(answered(&all), answer(5, update), "{asked:?} in pieces of {size}");
            assert_eq!(
                answered(b""),
                answer(5, update),
                "{asked:?}: the table of h2 is as it was"
            );
            let headers = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
            assert_eq!(answered(&headers), answer(5, b""), "{asked:?}: h2 has said it");
        }
    }

    #[test]
    fn an_answer_begins_with_the_size_that_the_table_was_asked_to_have() {
        check(&[0], &[0x20]);
        check(&[30], &[0x3e]);
        check(&[31], &[0x3f, 0]);
        check(&[158], &[0x3f, 0x7f]);
        check(&[159], &[0x3f, 0x80, 1]);
        check(&[1337], &[0x3f, 0x9a, 10]);
        check(&[4096], &[0x3f, 0xe1, 0x1f]);
        check(&[65_536], &[0x3f, 0xe1, 0x1f]);
        check(&[100, 4096], &[0x3f, 0x45]);
        check(&[4096, 100], &[0x3f, 0x45]);
    }

    #[test]
    fn it_is_told_when_it_is_enough() {
        for (resets, told) in [(4, true), (5, false)] {
            let enough = Rc::<Notify>::default();
            Passing::new(resets, Rc::clone(&enough)).go(&outgoing([0, 1, 2, 7]));
            assert_eq!(enough.notified().now_or_never().is_some(), told, "{resets}");
        }
    }
}
