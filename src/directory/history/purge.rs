//! What of a log is older than it is kept.

use std::{collections::HashSet, sync::Arc};

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    directory::Error,
    rows::{self, CONTROL, JournalBody, Key},
    store::{Change, MAX_CHANGES, Row, Store, settle},
};

/// Removes the oldest events from before a time, at most a commit of them; says how many rows went, 0 when there are no more.
///
/// Those that still say what is to be spread over a group's members stay, and so does whatever is behind them. Nothing else reads
/// old events: a bar (`store/settle.rs`) outlasts the request that it stops by far, and who was told of a deletion is known by its
/// tombstone. Who delivers events asks for no time before the last one delivered.
///
/// # Errors
/// [`Error::Store`] when the store does not answer in time: what is left goes with the next step.
pub async fn forget(
    store: &Arc<dyn Store>,
    partition: &str,
    before: OffsetDateTime,
    deadline: Instant,
) -> Result<usize, Error> {
    let (from, until) = (rows::events_from(OffsetDateTime::UNIX_EPOCH), rows::events_from(before));
    let page = settle::patient_scan(&**store, partition, (&from, &until), MAX_CHANGES, deadline).await?;
    if page.rows.is_empty() {
        return Ok(0);
    }
    let needed = needed(store, partition, deadline).await?;
    let is_free = |row: &&Row| !operation(row).is_some_and(|operation| needed.contains(operation));
    let mut free: Vec<Row> = page.rows.iter().take_while(is_free).cloned().collect();
    if page.more {
        keep_together(&mut free);
    }
    let changes: Vec<Change> = free.into_iter().map(|row| Change::Delete(row.key, None)).collect();
    if changes.is_empty() {
        return Ok(0);
    }
    match settle::patient_commit(&**store, partition, &changes, deadline).await {
        // Missing: another process is at it.
        Ok(()) | Err(crate::store::Error::Missing(_)) => Ok(changes.len()),
        Err(error) => Err(error.into()),
    }
}

/// The same for what operators did with tenants.
///
/// # Errors
/// As [`forget`].
pub async fn forget_deeds(store: &Arc<dyn Store>, before: OffsetDateTime, deadline: Instant) -> Result<usize, Error> {
    forget(store, CONTROL, before, deadline).await
}

/// Operations whose changes are not spread yet.
async fn needed(store: &Arc<dyn Store>, partition: &str, deadline: Instant) -> Result<HashSet<String>, Error> {
    let range = rows::range(&rows::journal_key(""));
    let journals = settle::patient_scan_all(&**store, partition, &range, deadline).await?;
    let operation = |row: &Row| rows::body::<JournalBody>(row).map(|body| body.operation);
    Ok(journals.iter().map(operation).collect::<Result<_, _>>()?)
}

/// Leaves the last event to the next step, unless it is the only one: the page may have ended among its parts.
fn keep_together(rows: &mut Vec<Row>) {
    let Some(last) = rows.last().and_then(operation).map(str::to_owned) else {
        return;
    };
    let before = rows.iter().take_while(|row| operation(row) != Some(&last)).count();
    if before > 0 {
        rows.truncate(before);
    }
}

fn operation(row: &Row) -> Option<&str> {
    match Key::parse(&row.key)? {
        Key::Event(operation) | Key::EventPart(operation, _) => Some(operation),
        _ => None,
    }
}
