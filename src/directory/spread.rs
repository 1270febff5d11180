//! Finishing what was decided: in the request that decided it while there is time, else by a task of any process.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

use super::{
    Directory, Error,
    edges::{Edge, Side},
    in_parallel,
    journal::{self, Journal},
};
use crate::{
    rows::{self, FORMAT, Operation, Stamp, TraceBody},
    store::{self, Change, MAX_CHANGES},
};

/// Kept free of a request's time for its answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long the spreading that a request began may go on behind it.
const SPREAD_TIME: Duration = Duration::from_mins(2);
/// How long it is remembered that something was spread: longer than any request takes that may have seen half of it.
const REMEMBERED: time::Duration = time::Duration::minutes(1);
/// A decision this old is not being spread by the request that made it, or that request is slow.
const LEFT_BEHIND: time::Duration = time::Duration::seconds(20);

impl Directory {
    /// Spreads a decided change; comes back when that is done or the answer must go out. A failure is not the request's:
    /// it has succeeded, and the rest is done later.
    pub(super) async fn spread_in_time(&self, journal: Journal) {
        self.in_time(|directory| async move { directory.spread(&journal).await })
            .await;
    }

    /// As [`Self::spread_in_time`], for the memberships of a deleted resource.
    pub(super) async fn end_in_time(&self, gone: TraceBody) {
        self.in_time(|directory| async move { directory.end_memberships(&gone).await.map(|_| ()) })
            .await;
    }

    async fn in_time<F>(&self, finish: impl FnOnce(Self) -> F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let finishing = finish(Self {
            deadline: Instant::now() + SPREAD_TIME,
            ..self.clone()
        });
        let finishing = tokio::spawn(async move {
            if let Err(error) = finishing.await {
                tracing::warn!(%error, "a change of memberships is decided, and will be spread later");
            }
        });
        let until = self.deadline.checked_sub(ANSWER_TIME).unwrap_or(self.deadline);
        let _ = timeout_at(until, finishing).await;
    }

    /// The edges in a range as they stand, whatever is decided beside them.
    pub(super) async fn standing(&self, range: &super::edges::Range) -> Result<Vec<Edge>, Error> {
        Ok(self.scan_edges(range, usize::MAX).await?.edges)
    }

    /// Finishes what this tenant's requests left behind. Returns how much was left.
    pub async fn finish_pending(&self) -> Result<usize, Error> {
        let pending = self.pending().await?;
        let now = self.ambient.now();
        let mut done = 0;
        for pointer in &pending.journals {
            if Operation::time_of(&pointer.operation).is_none_or(|time| time + LEFT_BEHIND <= now) {
                self.spread(&self.journal(pointer).await?).await?;
                done += 1;
            }
        }
        let old = pending.spread.iter().filter(|spread| spread.time + REMEMBERED <= now);
        let keys: Vec<String> = old.map(|spread| rows::spread_key(&spread.id)).collect();
        done += keys.len();
        self.forget(&keys).await?;
        for gone in pending.gone.values().filter(|gone| gone.time + REMEMBERED <= now) {
            done += self.end_memberships(gone).await?;
        }
        Ok(done)
    }

    /// Removes the memberships of a deleted resource. Those of a deleted group's members stay for its restore, hidden by
    /// the row that says that the group is gone.
    async fn end_memberships(&self, gone: &TraceBody) -> Result<usize, Error> {
        let now = self.ambient.now();
        let edges = self.standing(&Side::Groups.of(&gone.id)).await?;
        let chunks = edges.chunks((MAX_CHANGES - 1) / 3);
        in_parallel(chunks.map(|chunk| self.end_some(gone, chunk, now)).collect()).await?;
        // Every reader that saw the last edge is done when nothing was left a minute later.
        if gone.resource_type == "User" && edges.is_empty() && gone.time + REMEMBERED <= now {
            self.forget(&[rows::edges_left_key(&gone.id)]).await?;
        }
        Ok(edges.len())
    }

    async fn end_some(&self, gone: &TraceBody, edges: &[Edge], now: OffsetDateTime) -> Result<(), Error> {
        let operation = Operation::new(now, 0, self.ambient.secret());
        let stamp = Stamp {
            format: FORMAT,
            version: operation.to_string(),
            stamp: operation.stamp,
            modified: operation.time(),
        };
        let groups: Vec<String> = edges.iter().map(|edge| rows::resource_key("g", &edge.group)).collect();
        let there = self.rows(&groups).await?;
        // Late requests of an earlier try must find nothing to do.
        let mut changes = vec![Change::Touch(rows::edges_left_key(&gone.id))];
        for ((edge, key), group) in edges.iter().zip(groups).zip(there) {
            changes.extend(journal::leaves(&edge.group, &edge.member));
            if group.is_some() {
                changes.push(Change::Stamp(key, rows::encode(&stamp), None));
            }
        }
        match self.store.commit(&self.access.tenant.id, &changes).await {
            // Somebody else is at it, or was: the next pass looks again.
            Ok(()) | Err(store::Error::Missing(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes rows that nobody needs any more, if they are there.
    async fn forget(&self, keys: &[String]) -> Result<(), Error> {
        for key in keys {
            match self
                .store
                .commit(&self.access.tenant.id, &[Change::Delete(key.clone(), None)])
                .await
            {
                Ok(()) | Err(store::Error::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
