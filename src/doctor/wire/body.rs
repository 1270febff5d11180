//! Where the body of an answer ends (RFC 9112 §6).

use super::{End, Response};
use crate::doctor::fault::{Fault, Flaw};

/// Bytes of a chunk's size line.
const MAX_SIZE_LINE: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Nothing,
    Length(usize),
    Chunks,
    /// Up to the end of the connection.
    Rest,
    /// What the head says makes no sense: all that came belongs to it.
    Unknown,
}

impl Framing {
    /// Whether the connection can go on behind such a body.
    pub(super) fn keeps(&self) -> bool {
        !matches!(self, Self::Rest | Self::Unknown)
    }
}

/// A body, and how many bytes it took with its framing.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) used: usize,
}

/// What stands in the head of an answer that has no body and must not announce one: 1xx and 204.
pub(super) fn check_bodiless(response: &Response, head: &[u8], flaws: &mut Vec<Flaw>) {
    let status = response.status;
    if response.values("transfer-encoding").next().is_some() {
        let seen = format!("a {status} with Transfer-Encoding");
        flaws.push(Flaw::new(Fault::BodilessChunked, seen, head));
    }
    if let Some(length) = response.values("content-length").find(|length| *length != "0") {
        let seen = format!("a {status} with Content-Length: {}", length.escape_debug());
        flaws.push(Flaw::new(Fault::BodilessLength, seen, head));
    }
}

/// How the body is framed; what is wrong with how the head says it.
pub(super) fn framing(response: &Response, is_head: bool, head: &[u8], flaws: &mut Vec<Flaw>) -> Framing {
    if response.status < 200 || response.status == 204 {
        check_bodiless(response, head, flaws);
        return Framing::Nothing;
    }
    let before = flaws.len();
    let lengths: Vec<_> = response.values("content-length").collect();
    let encodings: Vec<_> = response.values("transfer-encoding").collect();
    if lengths.len() > 1 {
        flaws.push(Flaw::new(Fault::LengthTwice, lengths.join(" and "), head));
    }
    let mut numbers = lengths.iter().map(|length| number(length));
    let length = numbers.next().flatten();
    if !lengths.is_empty() && (length.is_none() || numbers.any(|number| number.is_none())) {
        let seen = format!("Content-Length: {}", lengths.join(", ").escape_debug());
        flaws.push(Flaw::new(Fault::LengthInvalid, seen, head));
    }
    let is_chunked = matches!(encodings[..], [one] if one.eq_ignore_ascii_case("chunked"));
    if !encodings.is_empty() && !is_chunked {
        let seen = format!("Transfer-Encoding: {}", encodings.join(" and ").escape_debug());
        flaws.push(Flaw::new(Fault::TransferEncoding, seen, head));
    }
    if !lengths.is_empty() && !encodings.is_empty() {
        flaws.push(Flaw::new(Fault::LengthAndChunked, "both are in the head", head));
    }
    if is_head || response.status == 304 {
        return Framing::Nothing;
    }
    match length {
        _ if flaws.len() > before => Framing::Unknown,
        _ if !encodings.is_empty() => Framing::Chunks,
        Some(length) => Framing::Length(length),
        None => Framing::Rest,
    }
}

fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The body at the start of `bytes`; none while more is to come.
pub(super) fn read(framing: &Framing, bytes: &[u8], end: End) -> Result<Option<Body>, Flaw> {
    let all = |count: usize| Body {
        bytes: bytes[..count].to_vec(),
        used: count,
    };
    match framing {
        Framing::Nothing => Ok(Some(all(0))),
        Framing::Unknown => Ok(Some(all(bytes.len()))),
        Framing::Rest => Ok((end != End::Open).then(|| all(bytes.len()))),
        Framing::Length(length) if bytes.len() >= *length => Ok(Some(all(*length))),
        Framing::Length(length) if end != End::Open => Err(Flaw::new(
            Fault::BodyCutOff,
            format!("{} of {length} bytes came", bytes.len()),
            bytes,
        )),
        Framing::Length(_) => Ok(None),
        Framing::Chunks => chunks(bytes, end),
    }
}

/// RFC 9112 §7.1
fn chunks(bytes: &[u8], end: End) -> Result<Option<Body>, Flaw> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some((line, next)) = line(rest) else {
            if rest.len() > MAX_SIZE_LINE {
                return Err(Flaw::new(Fault::ChunkInvalid, "no size of a chunk", rest));
            }
            return more(rest, end);
        };
        let digits = line
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii_end();
        let size = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
        let Some(size) = size.and_then(|text| usize::from_str_radix(text, 16).ok()) else {
            return Err(Flaw::new(Fault::ChunkInvalid, "a chunk's size is no number", rest));
        };
        at += next;
        if size == 0 {
            return trailers(bytes, at, body, end);
        }
        let Some(data) = bytes.get(at..at.saturating_add(size)) else {
            return more(&bytes[at..], end);
        };
        match bytes.get(at + size..at + size + 2) {
            Some(b"\r\n") => {}
            Some(other) => {
                let seen = "a chunk's data does not end where its size says";
                return Err(Flaw::new(Fault::ChunkInvalid, seen, other));
            }
            None => return more(&bytes[at..], end),
        }
        body.extend_from_slice(data);
        at += size + 2;
    }
}

/// The lines behind the last chunk, up to the empty one.
fn trailers(bytes: &[u8], mut at: usize, body: Vec<u8>, end: End) -> Result<Option<Body>, Flaw> {
    loop {
        let rest = &bytes[at..];
        let Some((line, next)) = line(rest) else {
            return more(rest, end);
        };
        at += next;
        if line.is_empty() {
            return Ok(Some(Body { bytes: body, used: at }));
        }
        if !line.contains(&b':') {
            return Err(Flaw::new(Fault::TrailerInvalid, "a line without a colon", rest));
        }
    }
}

fn more(rest: &[u8], end: End) -> Result<Option<Body>, Flaw> {
    match end {
        End::Open => Ok(None),
        End::Closed | End::Reset => Err(Flaw::new(
            Fault::BodyCutOff,
            "the connection ended before the last chunk",
            rest,
        )),
    }
}

/// A line without its end, and where the next one begins.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}
