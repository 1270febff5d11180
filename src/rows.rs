//! How keys are spelled and what rows hold. Every row names its format, so that versions of scimgate can overlap.
//!
//! A tenant's rows share one partition, named by a random id. `~` separates the parts of a key and is in no part:
//!
//! | key | row |
//! |---|---|
//! | `u~<id>` | a User |
//! | `n~<hmac>` | who holds this userName (unique) |
//! | `x~<hmac>~<id>`, `e~<hmac>~<id>` | who has this externalId, this e-mail address |
//! | `o~<operation>` | what the operation changed: change log, outbox and audit in one |
//! | `gone~<id>` | a deleted resource, kept for its retention time |
//!
//! The control partition holds tenants (`tenant~<name>`), where to find one by its id (`id~<tenant>`), credentials by
//! the hash of their secret (`token~<sha256>`), a tenant's credentials (`of~<tenant>~<credential>`), when a tenant was
//! last heard of (`seen~<tenant>`) and operators' events (`o~<operation>`).

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::store::{Row, Write};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The partition of tenants and credentials.
pub const CONTROL: &str = "control";

/// Ids up to this length stand in keys as they are; longer ones as a hash, so that a key with two ids fits.
const MAX_PLAIN_ID_BYTES: usize = 100;

/// The part of a key that stands for an id, which may have any characters and length that an identity provider chose.
///
/// It is never parsed: the id itself stands in the row.
pub fn id_part(id: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if (1..=MAX_PLAIN_ID_BYTES).contains(&id.len()) && id.bytes().all(plain) {
        return id.to_owned();
    }
    format!("_{}", &HEXLOWER.encode(&Sha256::digest(id))[..40])
}

/// What the keys of a resource type's resources begin with.
pub fn resource_key_prefix(kind: &str) -> String {
    format!("{kind}~")
}

/// The key of a resource, for example `u~<id>`; `kind` is the resource type's letter.
pub fn resource_key(kind: &str, id: &str) -> String {
    format!("{kind}~{}", id_part(id))
}

/// The key of a deleted resource's tombstone.
pub fn gone_key(id: &str) -> String {
    format!("gone~{}", id_part(id))
}

/// The key of an operation's event row.
pub fn event_key(operation: &Operation) -> String {
    format!("o~{operation}")
}

/// The bounds of a scan over all keys that begin with `prefix`, which ends in `~`.
pub fn range(prefix: &str) -> (String, String) {
    // `~` is the last character of the key alphabet and begins no part.
    (prefix.to_owned(), format!("{prefix}~"))
}

/// The first key that can stand behind this one: where a scan goes on.
pub fn behind(key: &str) -> String {
    // `-` is the first character of the key alphabet.
    format!("{key}-")
}

/// One write: its id is the event row's key and the version of what it wrote.
///
/// Spelled as 16 hex digits of time and 16 random ones, so that events sort in the order of their stamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Microseconds since 1970 of a hybrid clock: later than everything this operation has read.
    pub stamp: u64,
    random: [u8; 8],
}

impl Operation {
    /// An operation after `newest_read`, the newest stamp that the request has seen.
    pub fn new(now: OffsetDateTime, newest_read: u64, secret: [u8; 32]) -> Self {
        let micros = u64::try_from(now.unix_timestamp_nanos() / 1000).unwrap_or(0);
        let mut random = [0; 8];
        random.copy_from_slice(&secret[..8]);
        Self {
            stamp: micros.max(newest_read + 1),
            random,
        }
    }

    /// The time of the stamp, cut to milliseconds as SCIM shows it.
    pub fn time(&self) -> OffsetDateTime {
        let nanos = i128::from(self.stamp / 1000) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{}", self.stamp, HEXLOWER.encode(&self.random))
    }
}

/// The small part of a resource row: what changes with every change of the resource or of its memberships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The row's format.
    pub format: u32,
    /// The operation that wrote last; the resource's version.
    pub version: String,
    /// That operation's stamp, for the hybrid clock.
    pub stamp: u64,
    /// `meta.lastModified`.
    #[serde(with = "time::serde::rfc3339")]
    pub modified: OffsetDateTime,
}

/// The body of a resource row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceBody {
    /// The row's format.
    pub format: u32,
    /// The resource's id, which the key may only hint at.
    pub id: String,
    /// `meta.created`.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// The attributes as they were accepted.
    pub attributes: Map<String, Value>,
    /// What a later version wrote beside them.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The body of an index row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexBody {
    /// The row's format.
    pub format: u32,
    /// Whose value it is.
    pub id: String,
    /// The value as it was given; the key holds only its keyed hash.
    pub value: String,
}

/// The body of an event row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBody {
    /// The row's format.
    pub format: u32,
    /// What was done: `create`, `replace`, `patch`, `delete`; for operators `tenant-create` and the like.
    pub kind: String,
    /// The resource type, or `Tenant` or `Token`.
    pub resource_type: String,
    /// The resource's id.
    pub id: String,
    /// The credential that did it, or the operator.
    pub actor: String,
    /// Which attributes changed; paths only, no values.
    pub paths: Vec<String>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
}

/// Why a row could not be read.
#[derive(Debug)]
pub enum FormatError {
    /// A newer version of scimgate wrote it: it may be read again after the upgrade, and must not be overwritten now.
    Newer {
        /// Which row.
        key: String,
        /// Its format.
        format: u64,
    },
    /// It is not what this version or an earlier one writes.
    Broken {
        /// Which row.
        key: String,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { key, format } => {
                write!(
                    f,
                    "row {key} has format {format}, this version reads up to {FORMAT}: upgrade scimgate"
                )
            }
            Self::Broken { key } => write!(f, "row {key} cannot be read"),
        }
    }
}

impl std::error::Error for FormatError {}

/// Reads a row's body.
pub fn body<T: DeserializeOwned>(row: &Row) -> Result<T, FormatError> {
    decode(&row.key, &row.body)
}

/// Reads a resource row's stamp.
pub fn stamp(row: &Row) -> Result<Stamp, FormatError> {
    decode(&row.key, &row.stamp)
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, FormatError> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let broken = || FormatError::Broken { key: key.to_owned() };
    // A newer format may have another shape altogether, so its number is read by itself first.
    let Format { format } = serde_json::from_slice(bytes).map_err(|_| broken())?;
    if format > u64::from(FORMAT) {
        return Err(FormatError::Newer {
            key: key.to_owned(),
            format,
        });
    }
    serde_json::from_slice(bytes).map_err(|_| broken())
}

/// A row to write; `stamp` is empty for all but resources.
pub fn write<T: Serialize>(key: String, body: &T) -> Write {
    Write {
        key,
        stamp: Vec::new(),
        body: encode(body),
    }
}

/// The bytes of a stamp or body.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("rows are plain JSON with string keys")
}
