//! The waist: rows in partitions. Knows nothing of SCIM.
//!
//! The shape is Table Storage's own: partition = `PartitionKey`, key = `RowKey`, [`Store::commit`] = one entity
//! group transaction. Every store enforces the same limits, so that what works locally is accepted by Azure.
//! Reading order: this file, then `sqlite` and `tables` (the stores), `turns` (how many requests to a service are under
//! way), `settle` (one commit, carried to its end),
//! `faults` and `counting` (test doubles), `conformance` (what every store must do).

use std::{fmt, time::Duration};

use async_trait::async_trait;

#[cfg(test)]
pub(crate) mod conformance;
pub mod counting;
pub mod faults;
pub mod settle;
pub mod sqlite;
pub mod tables;
pub mod turns;

/// Most changes in one commit (Table Storage, entity group transactions).
pub const MAX_CHANGES: usize = 100;
/// Most bytes of bodies and stamps in one commit; leaves room for the envelope in Table Storage's 4 MiB of base64.
pub const MAX_COMMIT_BYTES: usize = 5 * 1024 * 1024 / 2;
/// Most bytes in one row's body.
pub const MAX_BODY_BYTES: usize = 512 * 1024;
/// Most bytes in one row's stamp.
pub const MAX_STAMP_BYTES: usize = 1024;
/// Most bytes in a key or a partition's name.
pub const MAX_KEY_BYTES: usize = 255;
/// Bytes of stamps and bodies behind which a [`Store::scan`] ends: it may go beyond by what the service gives at once.
pub const MAX_SCAN_BYTES: usize = 16 * 1024 * 1024;
/// Most keys in one [`Store::get`].
pub const MAX_GET_KEYS: usize = 200;

/// One row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row's key inside its partition.
    pub key: String,
    /// Changes with every write of the row; opaque.
    pub etag: ETag,
    /// At most [`MAX_STAMP_BYTES`]; can be written without touching the body.
    pub stamp: Vec<u8>,
    /// At most [`MAX_BODY_BYTES`].
    pub body: Vec<u8>,
}

/// A row's version as the store tells it; only ever compared by the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes a row; fails with [`Error::Exists`] when there is one.
    Insert(Write),
    /// Overwrites stamp and body; fails with [`Error::Changed`] unless the row is there with this etag.
    Replace(Write, ETag),
    /// Overwrites the stamp only; fails with [`Error::Missing`] without a row, with [`Error::Changed`] on another etag.
    Stamp(String, Vec<u8>, Option<ETag>),
    /// Changes nothing but the etag; fails with [`Error::Missing`] without a row: "this row exists when I commit".
    Touch(String),
    /// Makes or overwrites a row, whatever was there.
    Upsert(Write),
    /// Removes a row; fails with [`Error::Missing`] without one, with [`Error::Changed`] on another etag.
    Delete(String, Option<ETag>),
}

/// A whole row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The row's key inside its partition.
    pub key: String,
    /// At most [`MAX_STAMP_BYTES`].
    pub stamp: Vec<u8>,
    /// At most [`MAX_BODY_BYTES`].
    pub body: Vec<u8>,
}

impl Row {
    /// Bytes of stamp and body.
    pub fn bytes(&self) -> usize {
        self.stamp.len() + self.body.len()
    }
}

impl From<Write> for Row {
    /// As it is to be read again, but for its etag, which only the store gives.
    fn from(write: Write) -> Self {
        Self {
            key: write.key,
            etag: ETag(String::new()),
            stamp: write.stamp,
            body: write.body,
        }
    }
}

impl Change {
    /// The key of the row that this changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Insert(write) | Self::Replace(write, _) | Self::Upsert(write) => &write.key,
            Self::Stamp(key, ..) | Self::Touch(key) | Self::Delete(key, _) => key,
        }
    }

    /// Bytes of stamp and body that this writes.
    pub fn bytes(&self) -> usize {
        let (stamp, body) = self.sizes();
        stamp + body
    }

    /// Bytes of the stamp and of the body that this writes.
    fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Insert(write) | Self::Replace(write, _) | Self::Upsert(write) => {
                (write.stamp.len(), write.body.len())
            }
            Self::Stamp(_, stamp, _) => (stamp.len(), 0),
            Self::Touch(_) | Self::Delete(..) => (0, 0),
        }
    }
}

/// Why a call to a store failed.
///
/// Of several changes that fail, every store names the first.
#[derive(Debug)]
pub enum Error {
    /// An [`Change::Insert`] met a row with this key.
    Exists(String),
    /// The row with this key has another etag than the change expected; for [`Change::Replace`] also: there is none.
    Changed(String),
    /// There is no row with this key.
    Missing(String),
    /// A limit of this module is exceeded; the text names it.
    TooLarge(String),
    /// The store asks to come back later (after this long, if it says so), or a concurrent write got in the way of an
    /// unconditional change. Nothing was written.
    Busy(Option<Duration>),
    /// The answer was lost: the commit may have taken effect, may still do so later, or never.
    Unknown(Source),
    /// The store could not be reached, or refused for a reason no retry of this request can heal. Nothing was written.
    Unavailable(Source),
}

/// What lies behind an [`Error`]: for logs, never for clients.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(key) => write!(f, "row {key} exists"),
            Self::Changed(key) => write!(f, "row {key} was changed meanwhile"),
            Self::Missing(key) => write!(f, "row {key} is missing"),
            Self::TooLarge(limit) => write!(f, "beyond a limit of the store: {limit}"),
            Self::Busy(_) => write!(f, "the store is busy"),
            Self::Unknown(source) => write!(f, "the store's answer was lost: {source}"),
            Self::Unavailable(source) => write!(f, "the store is unavailable: {source}"),
        }
    }
}

impl std::error::Error for Error {}

/// One answer of [`Store::scan`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In ascending byte order of their keys.
    pub rows: Vec<Row>,
    /// A limit ended the scan: there may be rows behind the last one. False: the range is exhausted.
    pub more: bool,
    /// The rows came in several answers of the service, and commits may have come between: they are not of one moment.
    pub split: bool,
}

/// Rows in partitions. Object-safe, so that rooms hold an `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The rows with these keys, in the order asked for; `None` where there is no row. At most [`MAX_GET_KEYS`] keys.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::Unavailable`], or [`Error::TooLarge`] beyond a limit.
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error>;

    /// The first `limit` rows with `from <= key < until`, in key order (bytes). Loops over the service's short pages
    /// itself: fewer than `limit` rows come back only when the range is exhausted, or when they are [`MAX_SCAN_BYTES`].
    /// The bounds are made of the alphabet of keys too; an empty `from` is the partition's start, and no key lies below
    /// an empty `until`. A `limit` of 0 gives no rows; any other gives at least one if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::Unavailable`], or [`Error::TooLarge`] beyond a limit.
    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error>;

    /// Applies all changes or none. Each key at most once. What waits inside for its turn to be sent to a service is
    /// given up with [`Error::Busy`] at the deadline of the [`settle::settle`] that calls.
    ///
    /// # Errors
    ///
    /// Every [`Error`]; only [`Error::Unknown`] leaves open whether the changes took effect. A caller that stops
    /// waiting knows as little.
    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error>;

    /// How requests to a service waited for their turn since this was asked last. Where there is no service, none did.
    fn take_waits(&self) -> Waits {
        Waits::default()
    }
}

/// Requests to a storage service that found as many under way as there may be. OpenTelemetry calls these times
/// `db.client.connection.wait_time`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many waited.
    pub count: u64,
    /// How many of them in vain: they were never sent.
    pub in_vain: u64,
    /// All their time.
    pub total: Duration,
    /// The longest of their times.
    pub longest: Duration,
}

impl Waits {
    fn count(&mut self, time: Duration, was_sent: bool) {
        self.count += 1;
        self.in_vain += u64::from(!was_sent);
        self.total += time;
        self.longest = self.longest.max(time);
    }
}

/// Checks what every store checks before it does anything.
pub(crate) fn check_commit(partition: &str, changes: &[Change]) -> Result<(), Error> {
    check_key(partition)?;
    if changes.is_empty() || changes.len() > MAX_CHANGES {
        return Err(Error::TooLarge(format!(
            "{} changes, 1 to {MAX_CHANGES} are allowed",
            changes.len()
        )));
    }
    let mut bytes = 0;
    let mut keys = std::collections::HashSet::with_capacity(changes.len());
    for change in changes {
        check_key(change.key())?;
        if !keys.insert(change.key()) {
            return Err(Error::TooLarge(format!("key {} twice in one commit", change.key())));
        }
        let (stamp, body) = change.sizes();
        if stamp > MAX_STAMP_BYTES {
            return Err(Error::TooLarge(format!(
                "a stamp of {stamp} bytes, {MAX_STAMP_BYTES} are allowed"
            )));
        }
        if body > MAX_BODY_BYTES {
            return Err(Error::TooLarge(format!(
                "a body of {body} bytes, {MAX_BODY_BYTES} are allowed"
            )));
        }
        bytes += stamp + body;
    }
    if bytes > MAX_COMMIT_BYTES {
        return Err(Error::TooLarge(format!(
            "{bytes} bytes, {MAX_COMMIT_BYTES} are allowed in one commit"
        )));
    }
    Ok(())
}

/// The first key that can stand behind this one: where a scan goes on.
pub fn behind(key: &str) -> String {
    // `-` is the first character of the key alphabet.
    format!("{key}-")
}

/// Keys and partitions: 1 to [`MAX_KEY_BYTES`] of `[0-9A-Za-z._~-]`, which every store takes as they are.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    let fits = (1..=MAX_KEY_BYTES).contains(&key.len());
    if fits && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)) {
        return Ok(());
    }
    Err(Error::TooLarge(format!(
        "a key of {} bytes outside [0-9A-Za-z._~-]{{1,{MAX_KEY_BYTES}}}",
        key.len()
    )))
}

/// Checks the arguments of [`Store::get`].
pub(crate) fn check_get(partition: &str, keys: &[&str]) -> Result<(), Error> {
    check_key(partition)?;
    if keys.len() > MAX_GET_KEYS {
        return Err(Error::TooLarge(format!(
            "{} keys, {MAX_GET_KEYS} are allowed",
            keys.len()
        )));
    }
    keys.iter().try_for_each(|key| check_key(key))
}

/// Checks the arguments of [`Store::scan`]; a bound may be empty, which is before every key.
pub(crate) fn check_scan(partition: &str, from: &str, until: &str) -> Result<(), Error> {
    check_key(partition)?;
    [from, until]
        .into_iter()
        .filter(|bound| !bound.is_empty())
        .try_for_each(check_key)
}
