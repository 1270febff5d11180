//! Requests that HTTP/2 calls malformed (RFC 9113 §8.1.1), answered.
//!
//! h2 resets the stream of a request whose authority or path is none, as a protocol error, before anybody is asked. A
//! proxy that let such a request through then says 502, as if it had not understood this service. So the reset goes out as
//! the answer that the RFC allows and HTTP/1.1 gives: 400, without a body.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};

// Frames (RFC 9113 §4.1, §6): three bytes of length, type, flags, four of stream; a reset has four bytes of payload.
const FRAME: usize = 9;
const RESET: usize = FRAME + 4;
const HEADERS_TYPE: u8 = 1;
const RESET_TYPE: u8 = 3;
/// The flags of a frame that is a whole answer: end of stream, end of headers.
const WHOLE: u8 = 5;
const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];
/// `:status: 400`, `content-length: 0` (RFC 7541, appendix A), in a form that leaves the connection's compression as it is.
const BAD_REQUEST: &[u8] = b"\x8c\x0f\x0d\x010";

/// A connection whose outgoing frames are looked at.
#[derive(Debug)]
pub(super) struct Answering<S> {
    stream: S,
    frames: Frames,
    /// How much of what is ready has been written.
    written: usize,
}

/// Outgoing frames as they pass.
#[derive(Debug, Default)]
struct Frames {
    /// The start of a frame, as much as has come.
    start: Vec<u8>,
    /// What is left of the frame's payload.
    left: usize,
    /// The last stream with an answer; no later one has any.
    answered: u32,
    /// What is to be written.
    ready: Vec<u8>,
}

impl<S> Answering<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            written: 0,
        }
    }
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (into, wanted) = if self.left > 0 {
                (&mut self.ready, self.left)
            } else {
                let whole = if is_reset(&self.start) { RESET } else { FRAME };
                let wanted = whole - self.start.len();
                (&mut self.start, wanted)
            };
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            into.extend_from_slice(now);
            bytes = later;
            if self.left > 0 {
                self.left -= now.len();
            } else if now.len() == wanted && (self.start.len() == RESET || !is_reset(&self.start)) {
                self.begin();
            }
        }
    }

    /// Passes the start of a frame on, or what stands for it.
    fn begin(&mut self) {
        let start = std::mem::take(&mut self.start);
        let stream = [start[5], start[6], start[7], start[8]];
        let id = u32::from_be_bytes(stream);
        if start[FRAME..] == PROTOCOL_ERROR && id > self.answered {
            tracing::warn!("a malformed HTTP/2 request was answered 400");
            let length = u8::try_from(BAD_REQUEST.len()).expect("five bytes");
            self.ready.extend([0, 0, length, HEADERS_TYPE, WHOLE]);
            self.ready.extend(stream);
            self.ready.extend(BAD_REQUEST);
            // RFC 9113 §8.1: with no error, what is left of the request is not wanted.
            self.ready.extend_from_slice(&start[..FRAME]);
            self.ready.extend([0; 4]);
        } else {
            let length = u32::from_be_bytes([0, start[0], start[1], start[2]]) as usize;
            self.left = length - (start.len() - FRAME);
            self.ready.extend_from_slice(&start);
        }
        if start[3] == HEADERS_TYPE || start[3] == RESET_TYPE {
            self.answered = self.answered.max(id);
        }
    }
}

fn is_reset(start: &[u8]) -> bool {
    start.get(..4) == Some(&[0, 0, 4, RESET_TYPE])
}

impl<S: Write + Unpin> Answering<S> {
    /// Writes what is ready.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.frames.ready.len() {
            let wrote = Pin::new(&mut self.stream).poll_write(context, &self.frames.ready[self.written..]);
            match ready!(wrote)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                wrote => self.written += wrote,
            }
        }
        self.frames.ready.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for Answering<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ready(context))?;
        this.frames.pass(bytes);
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

impl<S: Read + Unpin> Read for Answering<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    /// SETTINGS, an answer on stream 3 with a body, resets of streams 1, 5, 5 again and 7 with these codes.
    fn outgoing(codes: [u8; 4]) -> Vec<u8> {
        let mut all = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x80".to_vec();
        all.extend(b"\0\0\x01\x01\x04\0\0\0\x03\x88\0\0\x0d\0\x01\0\0\0\x03\0\0\x04\x03\0\0\0\0\x09\0\0\0\x01");
        for (stream, code) in [1, 5, 5, 7].into_iter().zip(codes) {
            all.extend([0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, code]);
        }
        all
    }

    /// The answers here are to 5 and 7: 1 may have been answered, the second reset of 5 comes behind its answer.
    #[test]
    fn a_reset_before_any_answer_becomes_one_however_it_is_cut() {
        let all = outgoing([1, 1, 1, 1]);
        let answer = |stream: u8| {
            let headers = [0, 0, 5, 1, 5, 0, 0, 0, stream, 0x8c, 0x0f, 0x0d, 1, b'0'];
            [&headers[..], &[0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, 0]].concat()
        };
        let resets = all.len() - 4 * 13;
        let expected = [
            &all[..resets + 13],
            &answer(5),
            &all[resets + 26..resets + 39],
            &answer(7),
        ]
        .concat();
        for size in [1, 2, 3, 9, 13, all.len()] {
            let mut frames = Frames::default();
            all.chunks(size).for_each(|piece| frames.pass(piece));
            assert_eq!(frames.ready, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn everything_else_passes_unchanged() {
        let all = outgoing([0, 2, 7, 8]);
        for size in [1, 5, all.len()] {
            let mut frames = Frames::default();
            all.chunks(size).for_each(|piece| frames.pass(piece));
            assert_eq!(frames.ready, all, "in pieces of {size}");
        }
    }
}
