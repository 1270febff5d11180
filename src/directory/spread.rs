//! Finishing what was decided: in the request that decided it while there is time, else by a task of any process.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::try_join;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

use super::{
    Directory, Error,
    edges::{self, Edge, Side},
    in_parallel,
    journal::{self, Journal},
    memberships::Sizes,
    pending::{Gone, Joins, Pending},
};
use crate::{
    rows::{self, EdgeBody, FORMAT, Key, MembersBody, Operation, Stamp, TraceBody, TraceStamp},
    scim::members::Kind,
    store::{self, Change, Row, settle::Tries},
};

/// Kept free of a request's time for its answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long the spreading that a request began may go on behind it.
const SPREAD_TIME: Duration = Duration::from_mins(2);
/// How long it is remembered that something was spread: longer than any request takes that may have seen half of it.
const REMEMBERED: time::Duration = time::Duration::minutes(1);
/// Deleted groups whose edges stand, so that they are restored at once: every reader fetches a row for each of them.
const MAX_GONE_GROUPS: usize = 100;
/// A decision this old is not being spread by the request that made it, or that request is slow.
const LEFT_BEHIND: time::Duration = time::Duration::seconds(20);

/// Whether a deleted resource's tombstone lists the group that it was in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Yes,
    /// Once the membership has ended: it was made while the resource was being deleted.
    Now,
}

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
            // It may outlast what the request holds.
            held: Arc::new(self.held.part(0)),
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

    /// Whether a request may be under way still that began before this.
    pub(super) fn is_recent(&self, time: OffsetDateTime) -> bool {
        time + REMEMBERED > self.ambient.now()
    }

    /// Finishes what this tenant's requests left behind. Returns how much was left.
    pub async fn finish_pending(&self) -> Result<usize, Error> {
        let pending = self.pending().await?;
        let now = self.ambient.now();
        let mut done = 0;
        let mut failed = None;
        for pointer in &pending.journals {
            if Operation::time_of(&pointer.operation).is_none_or(|time| time + LEFT_BEHIND <= now) {
                // One that can't be finished must not keep the others from it.
                match self.finish(&pointer.operation).await {
                    Ok(()) => done += 1,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        let is_old = |joins: &&Joins| joins.body.time + LEFT_BEHIND <= now;
        let (joined, error) = self.finish_joins(pending.joins.iter().filter(is_old)).await;
        done += joined;
        failed = failed.or(error);
        done += self.forget_spread(&pending).await?;
        let mut gone: Vec<&Gone> = pending
            .gone
            .values()
            .filter(|gone| gone.trace.time + REMEMBERED <= now)
            .collect();
        gone.sort_by_key(|gone| gone.trace.time);
        let is_group = |gone: &Gone| gone.trace.resource_type == "Group";
        let groups = gone.iter().filter(|gone| is_group(gone)).count();
        let mut too_many = groups.saturating_sub(MAX_GONE_GROUPS);
        for gone in gone {
            let lays_down = is_group(gone) && too_many > 0;
            too_many -= usize::from(lays_down);
            match self.end_gone(gone, lays_down).await {
                Ok(ended) => done += ended,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(done), Err)
    }

    /// Ends memberships of what is deleted, or does what comes when none is left. Returns how many.
    async fn end_gone(&self, gone: &Gone, lays_down: bool) -> Result<usize, Error> {
        let ended = self.end_memberships(&gone.trace).await?;
        if ended > 0 {
            // Whether all have ended, the next round tells.
            return Ok(ended);
        }
        if lays_down {
            return self.lay_down_members(gone).await;
        }
        if gone.trace.resource_type != "Group" {
            self.show_again(gone).await?;
        }
        Ok(0)
    }

    /// Stops hiding what a deleted resource has no more, unless something happened to it since it was read: whoever began
    /// before the last edge went must be done.
    pub(super) async fn show_again(&self, gone: &Gone) -> Result<(), Error> {
        let delete = Change::Delete(gone.trace.edges_left_key(), Some(gone.etag.clone()));
        self.commit_if_unchanged(&[delete]).await.map(|_| ())
    }

    /// Removes the edges of a deleted group's members, as long as the row is there that lists them, if they are to come back:
    /// a restore takes that away when it has written the edges again.
    pub(super) async fn end_members(
        &self,
        gone: &TraceBody,
        edges: &[Edge],
        list: Option<&String>,
    ) -> Result<(), Error> {
        let ends = edges.chunks(Sizes::now().chunk()).map(|chunk| {
            let edges = chunk.iter().flat_map(|edge| journal::leaves(&edge.group, &edge.member));
            let list = list.map(|key| Change::Touch(key.clone()));
            self.while_gone(gone, edges.chain(list).collect())
        });
        in_parallel(ends.collect()).await.map(|_| ())
    }

    /// Removes the memberships of a deleted resource. Those of a deleted group's members stay for its restore, hidden by
    /// the row that says that the group is gone.
    pub(super) async fn end_memberships(&self, gone: &TraceBody) -> Result<usize, Error> {
        let beside = rows::gone_groups_range(&gone.id);
        let range = Side::Groups.of(&gone.id);
        let (edges, beside) = try_join(self.standing(&range), self.all_rows(&beside)).await?;
        let listed = groups_listed(&beside, gone)?;
        let count = edges.len();
        let (listed, others): (Vec<Edge>, Vec<Edge>) = edges.into_iter().partition(|edge| listed.contains(&edge.group));
        let chunks = listed.chunks(Sizes::now().chunk());
        in_parallel(chunks.map(|chunk| self.end_some(gone, chunk, Listed::Yes)).collect()).await?;
        if !others.is_empty() {
            // Whom a decided change removes is not to be listed, and has no edge then.
            let groups: Vec<String> = others.iter().map(|edge| edge.group.clone()).collect();
            self.open_gates(&groups).await?;
            let chunks = others.chunks(Sizes::now().listing_chunk());
            in_parallel(chunks.map(|chunk| self.end_some(gone, chunk, Listed::Now)).collect()).await?;
        }
        Ok(count)
    }

    async fn end_some(&self, gone: &TraceBody, edges: &[Edge], listed: Listed) -> Result<(), Error> {
        let groups: Vec<String> = edges.iter().map(|edge| rows::resource_key("g", &edge.group)).collect();
        let stamp_of = |row: Option<&Row>| Ok(row.map(rows::stamp).transpose()?.map(|stamp| stamp.stamp));
        let there: Vec<Option<u64>> = self.each(&groups, stamp_of).await?;
        let newest = there.iter().flatten().copied().max().unwrap_or_default();
        let operation = Operation::new(self.ambient.now(), newest, self.ambient.secret());
        let stamp = Stamp::of(&operation, String::new());
        let absent = edges.iter().zip(&there).filter(|(_, group)| group.is_none());
        let absent = absent.map(|(edge, _)| (edge.group.clone(), Kind::Group)).collect();
        // The next round looks again if one of them came back.
        let Some((kept, _)) = self.kept(absent).await? else {
            return Ok(());
        };
        let mut changes = Vec::new();
        for ((edge, key), group) in edges.iter().zip(groups).zip(there) {
            changes.extend(journal::leaves(&edge.group, &edge.member));
            if group.is_some() {
                changes.push(Change::Stamp(key, rows::encode(&stamp), None));
            } else if kept.contains(&edge.group) {
                changes.push(Change::Touch(rows::gone_key(&edge.group)));
            }
            if listed == Listed::Now {
                changes.extend(group.map(|_| Change::Touch(rows::gate_key(&edge.group))));
                let row = rows::gone_edge_key(&gone.id, &edge.group);
                changes.push(Change::Upsert(rows::write(row, &edges::body(edge))));
            }
        }
        if listed == Listed::Now {
            changes.push(Change::Touch(rows::gone_key(&gone.id)));
        }
        self.while_gone(gone, changes).await
    }

    /// Commits as long as the resource is deleted: what an earlier try sent, and lands late, must find nothing to do.
    pub(super) async fn while_gone(&self, gone: &TraceBody, mut changes: Vec<Change>) -> Result<(), Error> {
        let mut tries = Tries::until(self.deadline)?;
        let last = changes.len();
        loop {
            // When it happens, not when it was first tried.
            let stamp = TraceStamp {
                format: FORMAT,
                time: self.ambient.now(),
            };
            changes.truncate(last);
            changes.push(Change::Stamp(gone.edges_left_key(), rows::encode(&stamp), None));
            match self.store.commit(&self.access.tenant.id, &changes).await {
                // Somebody else is at it, or was: the next round looks again.
                Ok(()) | Err(store::Error::Missing(_) | store::Error::Exists(_)) => return Ok(()),
                Err(error) => self.wait_out(&mut tries, error).await?,
            }
        }
    }

    /// Forgets what was spread long ago: every reader of memberships reads of it. Returns how much that was.
    pub(super) async fn forget_spread(&self, pending: &Pending) -> Result<usize, Error> {
        let now = self.ambient.now();
        let old = pending.spread.iter().filter(|spread| spread.time + REMEMBERED <= now);
        let keys: Vec<String> = old.map(|spread| rows::spread_key(&spread.id)).collect();
        self.forget(&keys).await?;
        Ok(keys.len())
    }

    /// Removes rows that nobody needs any more, if they are there.
    async fn forget(&self, keys: &[String]) -> Result<(), Error> {
        for key in keys {
            self.commit_if_unchanged(&[Change::Delete(key.clone(), None)]).await?;
        }
        Ok(())
    }
}

/// The groups that these rows beside a deleted resource's tombstone tell of.
fn groups_listed(beside: &[Row], gone: &TraceBody) -> Result<HashSet<String>, Error> {
    let mut groups = HashSet::new();
    for row in beside {
        match Key::parse(&row.key) {
            Some(Key::TombstoneEdge(_)) => _ = groups.insert(rows::body::<EdgeBody>(row)?.group),
            Some(Key::TombstonePart(_)) => {
                let part: MembersBody = rows::body(row)?;
                groups.extend(part.groups.iter().filter(|_| part.is_of(&gone.operation)).cloned());
            }
            _ => return Err(rows::unknown(row).into()),
        }
    }
    Ok(groups)
}
