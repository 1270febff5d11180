//! The head of an answer, line by line.

use super::{MAX_HEAD, MAX_LINES, Response};
use crate::doctor::fault::{Fault, Flaw};

pub(super) struct Head {
    pub(super) response: Response,
    pub(super) flaws: Vec<Flaw>,
    /// In bytes, with the empty line.
    pub(super) length: usize,
}

/// Whether the bytes can become an answer at all.
pub(super) fn check_start(bytes: &[u8]) -> Result<(), Flaw> {
    let begun = bytes
        .iter()
        .zip(b"HTTP/")
        .take_while(|(is, should)| is == should)
        .count();
    if begun == bytes.len().min(5) {
        return Ok(());
    }
    Err(match bytes {
        [0x15 | 0x16, 3, ..] => Flaw::new(Fault::TlsBytes, "a TLS record", bytes),
        // A frame is length, type, flags, stream (RFC 9113 §4.1): SETTINGS or GOAWAY of the connection.
        [0, 0, _, 4 | 7, _, 0, 0, 0, 0, ..] => Flaw::new(Fault::Http2Frames, "an HTTP/2 frame", bytes),
        [b'\r' | b'\n', ..] => Flaw::new(Fault::BytesBefore, "a line end", bytes),
        [0xef, 0xbb, 0xbf, ..] => Flaw::new(Fault::BytesBefore, "a byte order mark", bytes),
        _ => Flaw::new(Fault::NotHttp, "the first bytes are no status line", bytes),
    })
}

/// Up to and with the empty line.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    for (at, _) in ends {
        match &bytes[at + 1..] {
            [b'\n', ..] => return Some(at + 2),
            [b'\r', b'\n', ..] => return Some(at + 3),
            _ => {}
        }
    }
    None
}

/// Reads a head that is there to its end.
pub(super) fn read(head: &[u8]) -> Result<Head, Flaw> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let mut flaws = Vec::new();
    if head.len() > MAX_HEAD {
        flaws.push(Flaw::new(Fault::HeadTooLarge, format!("{} bytes", head.len()), head));
    }
    let (minor, status) =
        status_line(trimmed(first)).ok_or_else(|| Flaw::new(Fault::StatusLine, "the first line", first))?;
    if !(100..600).contains(&status) {
        flaws.push(Flaw::new(Fault::StatusRange, format!("status {status}"), first));
    }
    let mut headers = Vec::new();
    let lines: Vec<_> = lines.filter(|line| !trimmed(line).is_empty()).collect();
    if lines.len() > MAX_LINES {
        flaws.push(Flaw::new(Fault::TooManyHeaders, format!("{} lines", lines.len()), head));
    }
    if head
        .split_inclusive(|byte| *byte == b'\n')
        .any(|line| !line.ends_with(b"\r\n"))
    {
        flaws.push(Flaw::new(
            Fault::BareLineFeed,
            "a line ends with a line feed only",
            head,
        ));
    }
    for line in lines {
        flaws.extend(header(line, &mut headers));
    }
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
        keeps: false,
    };
    response.keeps = !has_option(&response, "close") && (minor != b'0' || has_option(&response, "keep-alive"));
    Ok(Head {
        response,
        flaws,
        length: head.len(),
    })
}

/// Whether one of the `Connection` fields says so: together they are one list (RFC 9110 §5.3, §7.6.1).
fn has_option(response: &Response, option: &str) -> bool {
    let mut options = response.values("connection").flat_map(|value| value.split(','));
    options.any(|one| one.trim().eq_ignore_ascii_case(option))
}

/// The minor version and the status: `HTTP/1.1 200 OK`, the phrase optional.
fn status_line(line: &[u8]) -> Option<(u8, u16)> {
    let rest = line.strip_prefix(b"HTTP/")?;
    let [b'0'..=b'9', b'.', minor @ b'0'..=b'9', b' ', rest @ ..] = rest else {
        return None;
    };
    let status = rest.split(|byte| *byte == b' ').next()?;
    if status.is_empty() || !status.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More digits than a status has are no status of HTTP either.
    let status = std::str::from_utf8(status).ok()?.parse().unwrap_or(u16::MAX);
    Some((*minor, status))
}

/// Takes a line of the head apart; what is wrong with it.
fn header(line: &[u8], headers: &mut Vec<(String, String)>) -> Vec<Flaw> {
    let text = trimmed(line);
    if matches!(text, [b' ' | b'\t', ..]) {
        return vec![Flaw::new(Fault::FoldedHeader, "a line begins with a space", line)];
    }
    let Some(colon) = text.iter().position(|byte| *byte == b':') else {
        return vec![Flaw::new(Fault::HeaderNoColon, "a line without a colon", line)];
    };
    let (name, value) = (&text[..colon], text[colon + 1..].trim_ascii());
    let mut flaws = Vec::new();
    if name.is_empty() || !name.iter().copied().all(is_token) {
        flaws.push(Flaw::new(
            Fault::HeaderName,
            "the part before the colon is no name",
            line,
        ));
    }
    if value.contains(&b'\r') {
        flaws.push(Flaw::new(Fault::BareCarriageReturn, "inside a value", line));
    }
    let is_control = |byte: &u8| matches!(byte, 0..=8 | 10..=12 | 14..=31 | 127);
    if value.iter().any(is_control) {
        flaws.push(Flaw::new(Fault::HeaderValue, "a control character", line));
    }
    if value.iter().any(|byte| *byte >= 0x80) {
        flaws.push(Flaw::new(Fault::HeaderNotAscii, "bytes beyond ASCII", line));
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    headers.push((text(name), text(value)));
    flaws
}

/// RFC 9110 §5.6.2
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Without the line end.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
