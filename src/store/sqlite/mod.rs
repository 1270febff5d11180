//! The embedded store: one SQLite file, or memory.
//!
//! Commits go through one writer at a time (`writer`), which puts what waits under one fsync. Reads have their own
//! connections (`readers`) and wait for no writer. Several processes may hold the file: the CLI beside a server, and
//! the Functions host starts the new process before it stops the old one.
//!
//! All of it runs on tokio's blocking threads and none on a thread of its own: an idle store costs nothing, a dropped
//! one leaves nothing behind, and paused time (tokio's `test-util`) stands still while the store works.

mod file;
mod log;
mod network;
mod readers;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row as Columns};

use self::{readers::Readers, writer::Writer};
use super::{Change, ETag, Error, MAX_SCAN_BYTES, Page, Row, Store, check_commit, check_get, check_scan};

/// Connections for reads: as many reads as run at the same time.
const MAX_READERS: usize = 4;

/// Rows in one SQLite file, or in memory.
///
/// The file holds personal data and secrets: it is made readable by its owner only. Processes share it safely on one
/// machine, not over a network share. While a store is open, its process must not open the file by other means:
/// closing any handle of it drops the locks that SQLite holds (POSIX advisory locks belong to the process).
pub struct SqliteStore {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
}

impl SqliteStore {
    /// Opens the file, or makes it in a directory that is there. Blocks: for milliseconds, or 2 s when other
    /// processes keep the file locked.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the path can't be opened or lies on a network share, when the file is damaged, not
    /// this program's, or written by a newer version; [`Error::Busy`] when other processes kept it locked. Nothing
    /// of the file was changed, and opening it again later may succeed.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = file::make(path)?;
        let readers = (0..MAX_READERS).map(|_| file::connect(&path));
        let writer = file::connect(&path)?;
        Ok(Self {
            readers: Arc::new(Readers::new(readers.collect::<Result<_, _>>()?)),
            writer: Arc::new(Writer::new(writer)),
        })
    }

    /// An empty store that lives as long as this value.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when there is no memory.
    pub fn memory() -> Result<Self, Error> {
        let only = file::memory()?;
        Ok(Self {
            readers: Arc::new(Readers::new(vec![Arc::clone(&only)])),
            writer: Arc::new(Writer::new(only)),
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        check_get(partition, keys)?;
        let partition = partition.to_owned();
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        self.readers.read(move |db| rows_by_key(db, &partition, &keys)).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        check_scan(partition, from, until)?;
        let [partition, from, until] = [partition, from, until].map(str::to_owned);
        self.readers
            .read(move |db| rows_in_range(db, &partition, &from, &until, limit))
            .await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        check_commit(partition, changes)?;
        let answer = self.writer.submit(partition, changes)?;
        // Without an answer the writer panicked half-way: nobody knows how far it came.
        answer
            .await
            .unwrap_or_else(|_| Err(Error::Unknown("the writer ended without an answer".into())))
    }
}

fn rows_by_key(db: &Connection, partition: &str, keys: &[String]) -> Result<Vec<Option<Row>>, Error> {
    let sql = "SELECT key, etag, stamp, body FROM rows WHERE partition = ?1 AND key = ?2";
    let mut select = db.prepare_cached(sql)?;
    keys.iter()
        .map(|key| Ok(select.query_row((partition, key), row).optional()?))
        .collect()
}

fn rows_in_range(db: &Connection, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
    let sql = "SELECT key, etag, stamp, body FROM rows
               WHERE partition = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4";
    // One row more tells whether there is more.
    let limit_and_one = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut select = db.prepare_cached(sql)?;
    let mut found = select.query((partition, from, until, limit_and_one))?;
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(columns) = found.next()? {
        if page.rows.len() == limit || bytes >= MAX_SCAN_BYTES {
            page.more = true;
            break;
        }
        let row = row(columns)?;
        bytes += row.bytes();
        page.rows.push(row);
    }
    Ok(page)
}

fn row(columns: &Columns<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        key: columns.get(0)?,
        etag: ETag(columns.get(1)?),
        stamp: columns.get(2)?,
        body: columns.get(3)?,
    })
}

/// A connection that several threads use, one after another.
type Shared = Arc<Mutex<Connection>>;

fn shared(connection: Connection) -> Shared {
    Arc::new(Mutex::new(connection))
}

/// Locks also after a panic: what the mutexes of this store guard is put right by whoever comes next.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
