//! The write-ahead log: copied into the file now and then, and begun anew.
//!
//! SQLite does the same at the end of a commit, which waits for it, and only while no other process writes: between
//! two busy ones the log is never copied whole, and grows without end (measured: 500 MiB in 3 s).

use rusqlite::Connection;

use super::file;

/// The log is copied when so many of its pages (4 KiB) are not.
const COPY_PAGES: i64 = 1_000;
/// From so many pages on, whoever writes is held up until the log is copied whole.
const MAX_PAGES: i64 = 4_000;
/// Most pauses while another process writes, or while reads still need the log; during the latter nobody writes.
const MAX_PAUSES: i32 = 50;
/// Most bytes that the log keeps on disk when it begins anew.
const MAX_IDLE_BYTES: i64 = 16 * 1024 * 1024;

pub(super) fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "journal_size_limit", MAX_IDLE_BYTES)?;
    // The pragma answers with a row.
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))
}

/// To be called after each transaction. That it fails, as on a full disk, costs nobody a commit: the log holds them
/// all, and the next call tries again.
pub(super) fn keep_short(db: &mut Connection) {
    if let Err(error) = copy(db) {
        tracing::warn!(%error, "the log of SCIMGATE_STORE could not be copied into its file");
    }
}

fn copy(db: &mut Connection) -> rusqlite::Result<()> {
    let (pages, copied) = checkpoint(db, "PRAGMA wal_checkpoint(NOOP)")?;
    if pages - copied >= COPY_PAGES {
        checkpoint(db, "PRAGMA wal_checkpoint(PASSIVE)")?;
    }
    if pages >= MAX_PAGES {
        // Only what came while the rest was copied is left.
        db.busy_handler(Some(wait))?;
        let done = checkpoint(db, "PRAGMA wal_checkpoint(RESTART)");
        db.busy_handler(None::<fn(i32) -> bool>)?;
        done?;
    }
    Ok(())
}

fn wait(pauses: i32) -> bool {
    file::pause();
    pauses < MAX_PAUSES
}

/// Gives the pages of the log, and how many of them are in the file. Another process in the way is no failure.
fn checkpoint(db: &Connection, pragma: &str) -> rusqlite::Result<(i64, i64)> {
    db.prepare_cached(pragma)?
        .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
}
