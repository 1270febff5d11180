//! Reads answers in HTTP/1.1 as strictly as a proxy does, and says what is wrong with their bytes. No I/O.

use super::fault::{Fault, Flaw};

mod body;
mod head;

use body::Framing;
use head::Head;

/// Bytes of a head that an Envoy accepts.
const MAX_HEAD: usize = 80 * 1024;
/// Lines of a head that an Envoy accepts.
const MAX_LINES: usize = 100;
/// Interim answers before the final one: more are a flood.
const MAX_INTERIM: usize = 20;

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More may come.
    Open,
    /// The peer has closed its side.
    Closed,
    /// The peer has reset the connection.
    Reset,
}

/// An answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Names as they were sent, and values.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Whether it belongs to a connection that goes on.
    pub keeps: bool,
}

impl Response {
    /// The value of the first header of this name, whatever its case.
    pub fn header<'r>(&'r self, name: &'r str) -> Option<&'r str> {
        self.values(name).next()
    }

    /// The values of all headers of this name, whatever their case.
    pub fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        let headers = self.headers.iter();
        headers
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as a text, as far as it is one.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the bytes on a connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// The start of an answer, or nothing yet.
    More,
    /// An answer to its end.
    Whole {
        /// The answer.
        response: Response,
        /// What is wrong with it.
        flaws: Vec<Flaw>,
        /// How many of the bytes it is.
        used: usize,
    },
    /// No answer.
    Broken(Vec<Flaw>),
}

/// Reads the answer at the start of `bytes` to a request that was a HEAD or not.
pub fn read(bytes: &[u8], end: End, is_head: bool) -> Read {
    let mut flaws: Vec<Flaw> = Vec::new();
    let mut start = 0;
    let mut interim = 0;
    loop {
        let head = match one_head(&bytes[start..], end, start > 0) {
            Ok(Some(head)) => head,
            Ok(None) if interim <= MAX_INTERIM => return Read::More,
            Ok(None) => {
                flaws.push(flood(interim, bytes));
                return Read::Broken(flaws);
            }
            Err(flaw) => {
                flaws.push(flaw);
                return Read::Broken(flaws);
            }
        };
        let Head {
            response,
            flaws: mut found,
            length,
        } = head;
        let here = &bytes[start..start + length];
        // Interim answers come before the final one (RFC 9110 §15.2).
        let is_interim = (100..200).contains(&response.status) && response.status != 101;
        if is_interim {
            body::check_bodiless(&response, here, &mut found);
        }
        found.retain(|flaw| flaws.iter().all(|known| known.fault != flaw.fault));
        flaws.extend(found);
        start += length;
        if !is_interim {
            if interim > MAX_INTERIM {
                flaws.push(flood(interim, bytes));
            }
            return rest(response, flaws, bytes, start, end, is_head, here);
        }
        interim += 1;
    }
}

fn flood(interim: usize, bytes: &[u8]) -> Flaw {
    Flaw::new(Fault::InterimFlood, format!("{interim} interim answers"), bytes)
}

fn one_head(bytes: &[u8], end: End, is_behind_interim: bool) -> Result<Option<Head>, Flaw> {
    if bytes.is_empty() && end != End::Open {
        let how = if end == End::Reset {
            "a reset"
        } else {
            "an orderly close"
        };
        let fault = if is_behind_interim {
            Fault::InterimOnly
        } else {
            Fault::ClosedWithoutAnswer
        };
        return Err(Flaw::new(
            fault,
            format!("the connection ended with {how}, before any answer"),
            bytes,
        ));
    }
    head::check_start(bytes)?;
    let Some(length) = head::length(bytes) else {
        return match end {
            _ if bytes.len() > MAX_HEAD => Err(Flaw::new(
                Fault::HeadTooLarge,
                format!("{} bytes, and no end of the head", bytes.len()),
                bytes,
            )),
            End::Open => Ok(None),
            End::Closed | End::Reset => Err(Flaw::new(
                Fault::HeadCutOff,
                format!("the connection ended behind {} bytes of a head", bytes.len()),
                bytes,
            )),
        };
    };
    head::read(&bytes[..length]).map(Some)
}

/// The body behind the head, which ends at `start`.
fn rest(
    mut response: Response,
    mut flaws: Vec<Flaw>,
    bytes: &[u8],
    start: usize,
    end: End,
    is_head: bool,
    head: &[u8],
) -> Read {
    if response.status == 101 {
        flaws.push(Flaw::new(Fault::SwitchingProtocols, "status 101", head));
    }
    let framing = body::framing(&response, is_head, head, &mut flaws);
    let behind = &bytes[start..];
    let whole = match body::read(&framing, behind, end) {
        Ok(Some(body)) => body,
        Ok(None) => return Read::More,
        Err(flaw) => {
            flaws.push(flaw);
            return Read::Broken(flaws);
        }
    };
    if response.status == 205 && !whole.bytes.is_empty() {
        flaws.push(Flaw::new(
            Fault::BodyOf205,
            format!("{} bytes of body", whole.bytes.len()),
            head,
        ));
    }
    response.body = whole.bytes;
    let used = start + whole.used;
    let is_bodiless = framing == Framing::Nothing;
    if used < bytes.len() {
        flaws.push(behind_end(&bytes[used..], is_bodiless, response.status));
    }
    response.keeps &= framing.keeps() && used == bytes.len();
    Read::Whole { response, flaws, used }
}

/// Bytes that came with an answer and are not its own.
fn behind_end(extra: &[u8], is_bodiless: bool, status: u16) -> Flaw {
    let count = extra.len();
    if extra.starts_with(b"HTTP/") {
        return Flaw::new(Fault::SecondAnswer, "behind the answer stands another one", extra);
    }
    let seen = format!("{count} bytes behind the end of a {status}");
    let fault = if is_bodiless {
        Fault::BytesAfterBodiless
    } else {
        Fault::BytesAfterAnswer
    };
    Flaw::new(fault, seen, extra)
}

/// What is wrong with an answer or its body, without bytes of a list of resources: they are persons. The head is shown.
pub fn without_resources(flaw: Flaw, answer: &[u8]) -> Flaw {
    let is_list = contains(answer, RESOURCES) || contains(&flaw.bytes, RESOURCES);
    if !is_list || contains(head_of(answer), &flaw.bytes) {
        return flaw;
    }
    let shown = match head_of(&flaw.bytes) {
        [] => NOT_SHOWN,
        head => head,
    };
    Flaw {
        bytes: shown.to_vec(),
        ..flaw
    }
}

fn head_of(bytes: &[u8]) -> &[u8] {
    let is_answer = bytes.starts_with(b"HTTP/");
    let length = head::length(bytes).unwrap_or(bytes.len());
    if is_answer { &bytes[..length] } else { b"" }
}

const RESOURCES: &[u8] = b"\"Resources\"";
const NOT_SHOWN: &[u8] = b"(a list of resources)";

/// Whether the one stands in the other.
pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

/// Bytes on a connection on which nothing was asked.
pub fn unasked(bytes: &[u8]) -> Flaw {
    let fault = if bytes.starts_with(b"HTTP/") {
        Fault::Unasked
    } else {
        Fault::LateBytes
    };
    Flaw::new(fault, format!("{} bytes while nothing was asked", bytes.len()), bytes)
}

#[cfg(test)]
mod tests;
