//! Files that hold resources, but not on lines of their own: what to do with them is told at once, not line by line.

use std::{
    fmt,
    io::{self, BufRead, Read, Seek},
};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Failed,
    lines::{BYTE_ORDER_MARK, Lines},
};

/// How a file is made that has no lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One JSON array.
    Array,
    /// What a GET of `/Users` answers, or several of these.
    List,
    /// JSON that people read: one resource goes over several lines.
    Spread,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is, filter) = match self {
            Self::Array => ("is one JSON array", ".[]"),
            Self::List => ("is a list, as a GET answers it", ".Resources[]"),
            Self::Spread => ("has resources that go over several lines", "."),
        };
        write!(
            f,
            "the file {is}, and each resource must stand on a line of its own. This makes lines of it: \
             jq --compact-output '{filter}' FILE > LINES"
        )
    }
}

/// What tells a list from a resource.
#[derive(Deserialize)]
struct Object {
    #[serde(rename = "Resources", alias = "resources")]
    resources: Option<IgnoredAny>,
}

/// Looks at the beginning of a file; the next line is the first one again.
pub(super) fn check<R: Read + Seek>(lines: &mut Lines<R>) -> Result<(), Failed> {
    let Some(first) = lines.next()? else {
        return Err(Failed::Empty);
    };
    let shape = match first.text.as_deref() {
        Some(text) if text.trim_ascii_start().starts_with(b"[") => Some(Shape::Array),
        Some(text) => match serde_json::from_slice::<Object>(text) {
            Ok(object) => object.resources.map(|_| Shape::List),
            Err(error) if error.is_eof() => of_bytes(lines.restart()?, Some(Shape::Spread))?,
            Err(_) => None,
        },
        None => of_bytes(lines.restart()?, None)?,
    };
    lines.restart()?;
    shape.map_or(Ok(()), |shape| Err(Failed::Shape(shape)))
}

/// Of a file whose first value does not end with its first line, or whose first line is too long; `object`: what an object
/// is that is no list.
fn of_bytes(input: &mut impl BufRead, object: Option<Shape>) -> io::Result<Option<Shape>> {
    loop {
        let head = input.fill_buf()?;
        match head.first() {
            _ if head.starts_with(BYTE_ORDER_MARK) => input.consume(BYTE_ORDER_MARK.len()),
            Some(byte) if byte.is_ascii_whitespace() => input.consume(1),
            Some(b'[') => return Ok(Some(Shape::Array)),
            _ => break,
        }
    }
    let value = serde_json::Deserializer::from_reader(input)
        .into_iter::<Object>()
        .next();
    Ok(match value {
        Some(Ok(Object { resources: Some(_) })) => Some(Shape::List),
        Some(Ok(_)) => object,
        Some(Err(_)) | None => None,
    })
}
