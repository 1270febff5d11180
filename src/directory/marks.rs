//! Marks: behind which key a page begins, so that index paging in sequence costs no more than its pages, also when each
//! page reaches another process. The process remembers where its own pages ended; rows tell the others.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::{Directory, Error};
use crate::{
    rows::{self, FORMAT, FormatError, MarkBody},
    store::{self, Change, MAX_CHANGES, Row, Store, settle},
};

/// How long a mark is of use: pages in sequence follow one another faster.
const KEPT: Duration = Duration::HOUR;
/// Resources between two marks in rows, at least: as many are passed over in the round trip that fetches a page.
const MARK_EVERY: usize = 100;
/// Marks looked at: in a range of some thousand resources one is true, if anything was listed there since the last change.
const MAX_LOOKED_AT: usize = 32;
/// The longest walk, in resources, from a mark that is true while there is a nearer one that was true once.
const MAX_DETOUR: usize = 2_000;
/// Marks that a process remembers.
const MAX_RECENT: usize = 1_024;
/// Of so many marks that are written, one makes its writer remove those that are no longer of use.
const ONE_IN: usize = 64;

/// A place among the resources of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// How many resources there are up to here.
    pub(super) position: usize,
    /// The last of them; none at the start.
    pub(super) key: Option<String>,
    /// The changes of the total with which this is true; none if it may never have been quite true.
    pub(super) changes: Option<u64>,
}

impl Mark {
    pub(super) const START: Self = Self {
        position: 0,
        key: None,
        changes: None,
    };

    /// Whether this is true after so many changes of the total.
    pub(super) fn is_true(&self, changes: u64) -> bool {
        self.key.is_none() || self.changes == Some(changes)
    }
}

/// The best of `marks`, all at or before `position`, to begin a walk to it: the nearest that is true. A nearer one that was
/// true before the last change is taken only to save a long walk: clients that page while others write expect no exact
/// pages (RFC 7644 §3.4.2.4).
pub(super) fn choose(mut marks: Vec<Mark>, position: usize, changes: u64) -> Mark {
    marks.push(Mark {
        changes: Some(changes),
        ..Mark::START
    });
    let nearest = |is_good: &dyn Fn(&Mark) -> bool| {
        let good = marks.iter().filter(|mark| mark.position <= position && is_good(mark));
        good.max_by_key(|mark| mark.position).cloned().unwrap_or(Mark::START)
    };
    let exact = nearest(&|mark| mark.is_true(changes));
    if position - exact.position > MAX_DETOUR {
        nearest(&|_| true)
    } else {
        exact
    }
}

/// What a process remembers, the newest last.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Remembered>>);

#[derive(Debug)]
struct Remembered {
    partition: String,
    kind: &'static str,
    mark: Mark,
    until: OffsetDateTime,
}

impl Recent {
    pub(super) fn remember(&self, partition: &str, kind: &'static str, mark: Mark, now: OffsetDateTime) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.mark.position != mark.position || one.kind != kind || one.partition != partition);
        if all.len() >= MAX_RECENT {
            all.pop_front();
        }
        all.push_back(Remembered {
            partition: partition.to_owned(),
            kind,
            mark,
            until: now + KEPT,
        });
    }

    /// The nearest at or before a position.
    pub(super) fn nearest(&self, partition: &str, kind: &str, position: usize, now: OffsetDateTime) -> Option<Mark> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = all.iter().filter(|one| {
            one.mark.position <= position && one.until > now && one.kind == kind && one.partition == partition
        });
        usable.max_by_key(|one| one.mark.position).map(|one| one.mark.clone())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Directory {
    /// The nearest mark at or before a position that this process remembers.
    pub(super) fn recent_mark(&self, kind: &str, position: usize) -> Option<Mark> {
        self.shared
            .recent
            .nearest(&self.access.tenant.id, kind, position, self.ambient.now())
    }

    /// The nearest marks at or before a position; one round trip.
    pub(super) async fn marks_before(&self, kind: &str, position: usize) -> Result<Vec<Mark>, Error> {
        let (_, until) = rows::range(&rows::mark_key_prefix(kind));
        let from = rows::mark_key(kind, position);
        let range = (from.as_str(), until.as_str());
        let page = settle::patient_scan(
            &*self.store,
            &self.access.tenant.id,
            range,
            MAX_LOOKED_AT,
            self.deadline,
        )
        .await?;
        let now = self.ambient.now();
        let bodies = page
            .rows
            .iter()
            .map(rows::body::<MarkBody>)
            .collect::<Result<Vec<_>, FormatError>>()?;
        let usable = bodies.into_iter().filter(|body| !is_old(body, now));
        Ok(usable
            .map(|body| Mark {
                position: body.position,
                key: Some(body.key),
                changes: body.changes,
            })
            .collect())
    }

    /// Remembers a mark, and beside the request writes it down for other processes, if it is far enough from `used`, the one
    /// from which the walk to it began.
    pub(super) fn leave_mark(&self, kind: &'static str, mark: Mark, used: &Mark) {
        let Some(key) = mark.key.clone() else { return };
        let (now, partition) = (self.ambient.now(), self.access.tenant.id.clone());
        let is_far = mark.position - used.position >= MARK_EVERY;
        let body = MarkBody {
            format: FORMAT,
            position: mark.position,
            key,
            changes: mark.changes,
            time: now,
        };
        self.shared.recent.remember(&partition, kind, mark, now);
        if !is_far {
            return;
        }
        let (store, deadline) = (Arc::clone(&self.store), self.deadline);
        self.shared.run(async move {
            let write = Change::Upsert(rows::write(rows::mark_key(kind, body.position), &body));
            if let Err(error) = store.commit(&partition, &[write]).await {
                tracing::debug!(%error, "a mark was not written");
            }
            if fastrand::usize(..ONE_IN) == 0
                && let Err(error) = remove_old(&*store, &partition, kind, now, deadline).await
            {
                tracing::debug!(%error, "old marks were not removed");
            }
        });
    }
}

/// Removes marks that are no longer of use: as many as one commit takes, of those that one round trip shows. Returns how many.
///
/// # Errors
///
/// As the store fails; that one of them was written anew is no failure, and removes none.
pub(super) async fn remove_old(
    store: &dyn Store,
    partition: &str,
    kind: &str,
    now: OffsetDateTime,
    deadline: Instant,
) -> Result<usize, store::Error> {
    let (from, until) = rows::range(&rows::mark_key_prefix(kind));
    let page = settle::patient_scan(store, partition, (&from, &until), 1_000, deadline).await?;
    let is_old = |row: &Row| rows::body::<MarkBody>(row).is_ok_and(|body| is_old(&body, now));
    let old = page.rows.into_iter().filter(is_old).take(MAX_CHANGES);
    // With the etag, so that one that was written anew stays.
    let changes: Vec<Change> = old.map(|row| Change::Delete(row.key, Some(row.etag))).collect();
    if changes.is_empty() {
        return Ok(0);
    }
    match settle::patient_commit(store, partition, &changes, deadline).await {
        Ok(()) => Ok(changes.len()),
        Err(store::Error::Changed(_) | store::Error::Missing(_)) => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_old(body: &MarkBody, now: OffsetDateTime) -> bool {
    now - body.time >= KEPT
}
