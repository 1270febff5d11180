//! What nobody needs any more goes, a bounded step at a time.

use std::ops::AddAssign;

use time::Duration;
use tokio::sync::Mutex;

use super::{
    super::{Directory, Error, edges::Side, history, in_parallel, index, marks},
    Denied, Remains,
};
use crate::{
    rows::{self, Key},
    scim::members::Kind,
    store::{Change, MAX_CHANGES, Row},
};

/// Where a step begins that has only events and marks left; others begin at a key.
const OTHERS: &str = "";
/// Tombstones that one step removes at most.
const MAX_REMOVED: usize = 100;

/// How long is kept what is past.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// What was deleted.
    pub deleted: Duration,
    /// The log of changes.
    pub events: std::time::Duration,
}

/// What a step, or several, did away with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Rows of tombstones and of their parts that were looked at.
    pub looked_at: usize,
    /// Tombstones of resources whose retention is over.
    pub tombstones: usize,
    /// Edges of deleted groups, which go before their tombstones.
    pub memberships: usize,
    /// Marks for pages that nobody goes on with.
    pub marks: usize,
    /// Rows of the log.
    pub events: usize,
    /// What requests had left behind: decided changes, and traces of such.
    pub left_behind: usize,
    /// Tombstones that go some minutes after their edges.
    pub later: usize,
}

impl Purged {
    /// How much was due and is gone.
    pub fn removed(&self) -> usize {
        self.tombstones + self.memberships + self.marks + self.events
    }
}

impl AddAssign for Purged {
    fn add_assign(&mut self, other: Self) {
        self.looked_at += other.looked_at;
        self.tombstones += other.tombstones;
        self.memberships += other.memberships;
        self.marks += other.marks;
        self.events += other.events;
        self.left_behind += other.left_behind;
        self.later += other.later;
    }
}

impl Directory {
    /// One step: what is left behind, what marks are old, a commit of old events, and of the tombstones behind `from` what one
    /// round trip shows. Returns where the next step begins; nothing at the end, when nothing is due but what goes later.
    ///
    /// # Errors
    ///
    /// When the store fails; what was done until then is done.
    pub async fn purge(&self, kept: Kept, from: Option<&str>) -> Result<(Purged, Option<String>), Error> {
        let mut purged = Purged::default();
        if from.is_none() {
            purged.left_behind = none_of_nonsense(self.finish_pending().await)?;
        }
        let next = match from {
            Some(OTHERS) => None,
            from => self.forget_tombstones(kept.deleted, from, &mut purged).await?,
        };
        let before = self.ambient.now() - kept.events;
        let forgotten = history::forget(&self.store, &self.access.tenant.id, before, self.deadline).await;
        purged.events = none_of_nonsense(forgotten)?;
        if next.is_some() {
            return Ok((purged, next));
        }
        purged.marks = self.forget_marks().await?;
        let has_more = purged.events + purged.marks > 0;
        Ok((purged, has_more.then(|| OTHERS.to_owned())))
    }

    async fn forget_marks(&self) -> Result<usize, Error> {
        let mut forgotten = 0;
        for kind in [Kind::User, Kind::Group] {
            let kind = index::kind(&self.type_of(kind));
            let (partition, now) = (&self.access.tenant.id, self.ambient.now());
            forgotten += marks::remove_old(&*self.store, partition, kind, now, self.deadline).await?;
        }
        Ok(forgotten)
    }

    async fn forget_tombstones(
        &self,
        retention: Duration,
        from: Option<&str>,
        purged: &mut Purged,
    ) -> Result<Option<String>, Error> {
        let (first, until) = rows::range(rows::GONE_PREFIX);
        let page = self.tombstones((from.unwrap_or(&first), &until)).await?;
        let mut next = page.rows.last().filter(|_| page.more).map(|row| rows::behind(&row.key));
        let mut due = Vec::new();
        for row in page.rows {
            if due.len() >= MAX_REMOVED {
                next = Some(row.key);
                break;
            }
            purged.looked_at += 1;
            if self.is_due(&row, retention) {
                due.push(row);
            }
        }
        let alone = Mutex::new(());
        for forgotten in in_parallel(due.iter().map(|row| self.forget_due(row, &alone)).collect()).await? {
            *purged += forgotten;
        }
        Ok(next)
    }

    /// What makes no sense must not keep the others from going; a check tells of it.
    fn is_due(&self, row: &Row, retention: Duration) -> bool {
        let is_tombstone = matches!(Key::parse(&row.key), Some(Key::Tombstone(_)));
        is_tombstone && rows::gone_stamp(row).is_ok_and(|gone| gone.stamp.modified + retention <= self.ambient.now())
    }

    async fn forget_due(&self, row: &Row, alone: &Mutex<()>) -> Result<Purged, Error> {
        match self.forget_one(row, alone).await {
            Ok(purged) => Ok(purged),
            Err(Denied::Failed(error)) if !matches!(error, Error::Format(_)) => Err(error),
            // It is there again, or gone for good, or makes no sense.
            Err(_) => Ok(Purged::default()),
        }
    }

    /// The edges go first; the row that hides them stays for as long as a request takes that may have seen one. Who has edges
    /// left is `alone`: they may be a hundred thousand.
    async fn forget_one(&self, row: &Row, alone: &Mutex<()>) -> Result<Purged, Denied> {
        let mut purged = Purged::default();
        let id = Remains::read(row)?.was.envelope.id;
        let remains = self.remains(&id).await?;
        if let Some(hidden) = &remains.hidden {
            let _alone = alone.lock().await;
            let members = self.standing(&Side::Members.of(&id)).await?;
            if !members.is_empty() {
                self.end_members(&hidden.trace, &members, None).await?;
                purged.memberships = members.len();
            }
            if !members.is_empty() || !remains.standing.is_empty() || self.is_recent(hidden.trace.time) {
                purged.later = 1;
                return Ok(purged);
            }
        }
        purged.tombstones = usize::from(self.forget_remains(remains).await?);
        Ok(purged)
    }

    /// False if somebody has changed anything of it since.
    async fn forget_remains(&self, remains: Remains) -> Result<bool, Error> {
        // The tombstone last: as long as it is there, the others are found.
        let mut changes: Vec<Change> = Vec::new();
        let delete = |key, etag| Change::Delete(key, Some(etag));
        let others = remains.parts.into_iter().chain(remains.hiding);
        changes.extend(others.map(|(key, etag)| delete(key, etag)));
        changes.push(delete(rows::gone_key(&remains.was.envelope.id), remains.was.etag));
        for some in changes.chunks(MAX_CHANGES) {
            if !self.commit_if_unchanged(some).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What makes no sense must not keep the rest for ever; a check tells of it.
fn none_of_nonsense(done: Result<usize, Error>) -> Result<usize, Error> {
    match done {
        Err(Error::Format(error)) => {
            tracing::warn!(%error, "something that was left behind makes no sense");
            Ok(0)
        }
        done => done,
    }
}
