//! The file: making, opening, format, and how long to wait for other processes.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior, config::DbConfig};

use super::{Error, Shared, log, network, shared};

/// Marks the file as this program's ("scim").
const APPLICATION_ID: i32 = 0x7363_696D;
/// The format that this version reads and writes; 0 is an empty file.
const FORMAT: i32 = 1;
/// Longest wait for other processes before a call gives up as [`Error::Busy`].
const MAX_WAIT: Duration = Duration::from_secs(2);
/// Between two tries, at random. SQLite's own busy handler sleeps ever longer and so starves beside a busy process.
const PAUSE_MICROS: std::ops::RangeInclusive<u64> = 200..=1000;

/// Makes the file unless it is there, readable by its owner only; gives its full path.
pub(super) fn make(path: &Path) -> Result<PathBuf, Error> {
    let refused = |error: std::io::Error| unavailable(format!("SCIMGATE_STORE: {}: {error}", path.display()));
    let full = full_path(path).map_err(refused)?;
    network::refuse_share(&full)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(&full) {
        Ok(_) => Ok(full),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(full),
        Err(error) => Err(refused(error)),
    }
}

/// Without symbolic links and relative parts, so that neither SQLite's special names nor a later change of the working
/// directory matter.
fn full_path(path: &Path) -> std::io::Result<PathBuf> {
    if let Ok(full) = path.canonicalize() {
        return Ok(full);
    }
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    Ok(directory.canonicalize()?.join(name))
}

/// A connection to the file, which has this version's format afterwards.
pub(super) fn connect(path: &Path) -> Result<Shared, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    patiently(|| {
        configure(&db)?;
        prepare(&mut db)
    })?;
    Ok(shared(db))
}

/// The only connection to a store in memory.
pub(super) fn memory() -> Result<Shared, Error> {
    let mut db = Connection::open_in_memory()?;
    configure(&db)?;
    create(&mut db)?;
    Ok(shared(db))
}

/// Refuses to go on in a file that a newer version has written: two versions overlap at each deployment.
pub(super) fn check_format(db: &Connection) -> Result<(), Error> {
    match format(db)? {
        FORMAT => Ok(()),
        0 => Err(unavailable("the file of SCIMGATE_STORE was emptied".into())),
        newer => Err(unavailable(format!(
            "the file of SCIMGATE_STORE has format {newer}, this version of scimgate knows {FORMAT}: a newer version \
             has written it"
        ))),
    }
}

/// Calls until the answer is not [`Error::Busy`], or for [`MAX_WAIT`].
pub(super) fn patiently<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        match call() {
            Err(Error::Busy(_)) if start.elapsed() < MAX_WAIT => {
                pause();
            }
            answer => return answer,
        }
    }
}

/// The pause between two tries of what another process is in the way of.
pub(super) fn pause() {
    thread::sleep(Duration::from_micros(fastrand::u64(PAUSE_MICROS)));
}

fn configure(db: &Connection) -> Result<(), Error> {
    db.busy_timeout(Duration::ZERO)?;
    db.set_prepared_statement_cache_capacity(32);
    // Or each statement with a range is prepared anew for other values, though there is one way only to go.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    Ok(log::configure(db)?)
}

/// Looks before it writes: a file that is not this version's stays as it is.
fn prepare(db: &mut Connection) -> Result<(), Error> {
    if format(db)? != 0 {
        check_format(db)?;
    }
    if db.is_readonly(MAIN_DB)? {
        return Err(unavailable("the file of SCIMGATE_STORE is write-protected".into()));
    }
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(unavailable(format!(
            "SQLite keeps journal mode {mode} for SCIMGATE_STORE"
        )));
    }
    if format(db)? == 0 { create(db) } else { Ok(()) }
}

/// The format's number; 0 for an empty file.
fn format(db: &Connection) -> Result<i32, Error> {
    let number = |pragma: &str| -> rusqlite::Result<i32> { db.prepare_cached(pragma)?.query_row([], |row| row.get(0)) };
    if number("PRAGMA application_id")? == APPLICATION_ID {
        return Ok(number("PRAGMA user_version")?);
    }
    // In one statement, so in one snapshot: another process may be making the file right now.
    let sql =
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
                      (SELECT count(*) FROM sqlite_schema)";
    let row: (i32, i32, i32) = db.prepare_cached(sql)?.query_row([], |row| row.try_into())?;
    match row {
        (APPLICATION_ID, format, _) => return Ok(format),
        (0, 0, 0) => return Ok(0),
        _ => {}
    }
    Err(unavailable(
        "the file of SCIMGATE_STORE is another program's database".into(),
    ))
}

/// Several processes may come here at once: the second finds the work done.
fn create(db: &mut Connection) -> Result<(), Error> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if format(&transaction)? == 0 {
        transaction.execute_batch(
            "CREATE TABLE rows (
                 partition TEXT NOT NULL,
                 key TEXT NOT NULL,
                 etag TEXT NOT NULL,
                 stamp BLOB NOT NULL,
                 body BLOB NOT NULL,
                 PRIMARY KEY (partition, key)
             ) WITHOUT ROWID, STRICT",
        )?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    Ok(transaction.commit()?)
}

fn unavailable(text: String) -> Error {
    Error::Unavailable(text.into())
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let what = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                return Self::Busy(None);
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "the file of SCIMGATE_STORE is damaged: restore it from a backup"
            }
            Some(ErrorCode::DiskFull) => "the disk that holds SCIMGATE_STORE is full",
            _ => "SQLite failed on SCIMGATE_STORE",
        };
        unavailable(format!("{what} ({error})"))
    }
}
