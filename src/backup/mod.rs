//! Backups: a store's rows in a file, and back into any store.
//!
//! A file is lines of JSON, one for each row, so that it can be made and read with little memory at any size:
//!
//! ```json
//! {"begin":{"format":1,"rows":1,"version":"0.1.0","begun":"2026-11-23T08:00:00Z","tenants":"all","contains":"…"}}
//! {"tenant":{"id":"t…","name":"acme"}}
//! {"row":{"key":"u~…","stamp":"{…}","body":"{…}"}}
//! {"clear":{"from":"m~…","until":"m~…"}}
//! {"control":{"key":"token~…","body":"{…}"}}
//! {"log":{"key":"o~…","body":"{…}"}}
//! {"kept":{"key":"kept","body":"{…}"}}
//! {"missing":{"name":"globex","why":"…"}}
//! {"end":{"tenants":1,"rows":5,"lines":6,"sha256":"…"}}
//! ```
//!
//! `row`s are of the tenant named last, `control` rows belong to it in the control partition, `log` rows are operators' events, and
//! `kept` is what the service has noted of its settings, such as for how long it keeps what is deleted.
//! What comes later in the file holds: a row takes the place of an earlier one with its key, and `clear` makes everything void
//! that was said of keys in its range. A tenant without `control` rows is not in the backup; `missing` says of one why. It is
//! called what its own row says, at the end of what is read of it. The last line tells that nothing else is missing.
//!
//! The rows of a store in use are not of one moment when they have been read. How they come to be, `recent` says. What rows
//! say twice (index rows, totals, the members' side of memberships) may still differ then, which loading mends.
//!
//! Reading order: this file, `export`, `recent` with `event` (what changed while it was read), `file` (lines, written and read),
//! `load`, `section` (one tenant), with `batch`, `hold` (who loads what) and `fenced` (mending it).

use std::{fmt, io};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    directory, rows,
    store::{self, Row, Write},
    tenants,
};

mod batch;
mod event;
mod export;
mod fenced;
mod file;
mod hold;
mod load;
mod recent;
mod section;

pub use export::{Exported, Exporter};
pub use file::{Target, is_one};
pub use load::{Loaded, Loader};
pub use recent::LATE;

#[cfg(test)]
pub(crate) use file::sealed;

/// The format of backups that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// Says to whoever looks into a file, or leaves it lying about, what it is.
const CONTAINS: &str = "personal data of every user, the tenants' keys, and the hashes of their credentials: keep it like the store itself";

/// A line of a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    /// The first one.
    Begin(Begin),
    /// What follows is of this tenant.
    Tenant(Named),
    /// A row of its partition.
    Row(Saved),
    /// What was said before of keys in `from..until` is void.
    Clear(Range),
    /// A row of the control partition that belongs to the tenant.
    Control(Saved),
    /// An operator's event.
    Log(Saved),
    /// What the service has noted of its settings: how long it keeps what is past.
    Kept(Saved),
    /// A tenant that could not be read.
    Missing(Missing),
    /// The last one.
    End(End),
}

#[derive(Debug, Serialize, Deserialize)]
struct Begin {
    format: u32,
    /// The newest format that a row may have.
    rows: u32,
    /// Of the scimgate that wrote it.
    version: String,
    #[serde(with = "time::serde::rfc3339")]
    begun: OffsetDateTime,
    /// A tenant's name, or `all`.
    tenants: String,
    contains: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    id: String,
    name: String,
}

impl Named {
    /// What stands in keys, and is shown to people, is what we would have made.
    fn may_be(&self) -> bool {
        let is_id = (1..=64).contains(&self.id.len()) && self.id.bytes().all(|b| b.is_ascii_alphanumeric());
        is_id && self.id != rows::CONTROL && tenants::parse_name(&self.name).is_ok_and(|name| name == self.name)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Missing {
    name: String,
    why: String,
}

/// A row without its etag, which is the store's.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    key: String,
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    stamp: Bytes,
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    body: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
struct Range {
    from: String,
    until: String,
}

impl Range {
    fn all() -> Self {
        let (from, until) = rows::range("");
        Self { from, until }
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    tenants: u64,
    /// `row`, `control` and `log` lines.
    rows: u64,
    /// All lines before this one.
    lines: u64,
    /// Of all lines before this one.
    sha256: String,
}

/// Bytes that are text as far as anybody knows today; what is none is spelled in base64.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    #[default]
    None,
    Text(String),
    Other {
        base64: String,
    },
}

impl Bytes {
    fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    fn of(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() {
            return Self::None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(other) => Self::Other {
                base64: data_encoding::BASE64.encode(other.as_bytes()),
            },
        }
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::None => Some(Vec::new()),
            Self::Text(text) => Some(text.into_bytes()),
            Self::Other { base64 } => data_encoding::BASE64.decode(base64.as_bytes()).ok(),
        }
    }
}

impl Saved {
    fn of(row: Row) -> Self {
        Self {
            key: row.key,
            stamp: Bytes::of(row.stamp),
            body: Bytes::of(row.body),
        }
    }

    /// Nothing if its base64 is none.
    fn write(self) -> Option<Write> {
        Some(Write {
            key: self.key,
            stamp: self.stamp.bytes()?,
            body: self.body.bytes()?,
        })
    }
}

/// Why a backup was not made or not loaded.
#[derive(Debug)]
pub enum Error {
    /// The file can't be read or written.
    File(io::Error),
    /// The file is no whole backup: at this line, for this reason.
    Broken(u64, String),
    /// A newer version of scimgate wrote the file.
    Newer(String),
    /// The file has no tenant of this name.
    NotInside(String),
    /// The tenant of this name could not be read when the file was made, for this reason.
    Missing(String, String),
    /// The store has something already where this was to be loaded; the text says what, and what to do.
    NotEmpty(String),
    /// The same is being loaded by somebody who came later.
    Overtaken,
    /// Others write so much that the backup does not catch up.
    Outrun(String),
    /// About tenants, or the store.
    Tenants(tenants::Error),
    /// What was loaded can't be looked at.
    Directory(directory::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::Broken(line, why) => write!(f, "the file is no whole backup: line {line}: {why}"),
            Self::Newer(version) => write!(
                f,
                "scimgate {version} wrote this backup, in a newer format: upgrade scimgate"
            ),
            Self::NotInside(name) => write!(f, "the file has no tenant '{name}'"),
            Self::Missing(name, why) => write!(
                f,
                "tenant '{name}' is not in the file: it could not be read when that was made: {why}"
            ),
            Self::NotEmpty(what) => write!(f, "{what}"),
            Self::Overtaken => write!(f, "another 'scimgate load' has taken over"),
            Self::Outrun(name) => write!(
                f,
                "tenant '{name}' is changed faster than the backup can follow: try again when less is written, or pause it"
            ),
            Self::Tenants(error) => write!(f, "{error}"),
            Self::Directory(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// It tells of one tenant only: others may be read.
    fn is_of_one(&self) -> bool {
        matches!(self, Self::Outrun(_) | Self::Tenants(tenants::Error::Format(_)))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<tenants::Error> for Error {
    fn from(error: tenants::Error) -> Self {
        Self::Tenants(error)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Tenants(error.into())
    }
}

impl From<rows::FormatError> for Error {
    fn from(error: rows::FormatError) -> Self {
        Self::Tenants(error.into())
    }
}

impl From<directory::Error> for Error {
    fn from(error: directory::Error) -> Self {
        Self::Directory(error)
    }
}
