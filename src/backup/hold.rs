//! Who is loading what, and how far that has come.
//!
//! A row of the control partition says it (the mark, with a row that is named after who holds it), and one among the tenant's own
//! (the fence); what is written there or here asserts them. Whoever takes a tenant over takes the mark first, then the fence:
//! then the other one can neither write any more nor let requests in. Repairs have a fence of their own, in the place of the first:
//! no row of the file that is late is written over what was mended. Before a tenant is let in that goes too.

use serde::{Deserialize, Serialize};

use super::{Error, Range, load::Load};
use crate::{
    rows::{self, CONTROL},
    store::{self, Change, ETag, MAX_CHANGES, settle},
};

/// How far the load of one tenant has come, or of all.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MarkBody {
    format: u32,
    /// The file's checksum.
    pub(super) file: String,
    /// Up to this line everything is written.
    pub(super) line: u64,
    /// Who is at it, or was.
    run: String,
    /// The tenant takes requests; what is left is the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) adopted: bool,
}

/// A mark as it was read.
pub(super) struct Mark {
    pub(super) body: MarkBody,
    etag: ETag,
}

/// The mark of a load of all tenants; no tenant's id.
pub(super) const ALL: &str = "-";
/// What the keys of marks and fences begin with.
const PREFIX: &str = "load~";
/// The file of a mark while there still may be rows of any.
pub(super) const NO_FILE: &str = "";
/// How often a fence is put up before whoever tears it down has won.
const TRIES: usize = 10;

/// Changes beside the one that asserts the fence.
pub(super) const MAX_FENCED: usize = MAX_CHANGES - 1;

pub(super) fn another_file(what: &str) -> Error {
    Error::NotEmpty(format!(
        "another file was being loaded into {what} and is not finished: finish that, or remove what it left with --discard"
    ))
}

/// Whether no file may hold it: it is ours, and goes before the tenant is let in.
pub(super) fn is_fence(key: &str) -> bool {
    key.starts_with(PREFIX)
}

fn mark_key(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// The key of the row that is beside a mark as long as this run holds it.
fn run_key(id: &str, run: &str) -> String {
    format!("{PREFIX}{id}~{run}")
}

fn empty(key: String) -> Change {
    let (stamp, body) = (Vec::new(), Vec::new());
    Change::Insert(store::Write { key, stamp, body })
}

/// The mark was changed by somebody else, or its change had taken effect before.
fn is_moved(error: &store::Error) -> bool {
    matches!(
        error,
        store::Error::Exists(_) | store::Error::Changed(_) | store::Error::Missing(_)
    )
}

impl Load<'_> {
    pub(super) fn is_ours(&self, mark: &Mark) -> bool {
        mark.body.file == self.file
    }

    pub(super) async fn mark(&self, id: &str) -> Result<Option<Mark>, Error> {
        let key = mark_key(id);
        let row = settle::patient_get(&*self.to.store, CONTROL, &[&key], self.to.deadline()).await?;
        let row = row.into_iter().flatten().next();
        let mark = |row: store::Row| -> Result<Mark, Error> {
            let body = rows::body(&row)?;
            Ok(Mark { body, etag: row.etag })
        };
        row.map(mark).transpose()
    }

    /// The ids of what others' marks are of.
    pub(super) async fn marked(&self) -> Result<Vec<String>, Error> {
        let range = rows::range(PREFIX);
        let rows = settle::patient_scan_all(&*self.to.store, CONTROL, &range, self.to.deadline()).await?;
        let ids = rows.into_iter().map(|row| row.key[PREFIX.len()..].to_owned());
        Ok(ids.filter(|id| id != ALL && !id.contains('~')).collect())
    }

    /// Takes the mark, as it was found, for this run.
    pub(super) async fn take(&self, id: &str, found: Option<Mark>, file: &str, line: u64) -> Result<(), Error> {
        let body = self.body(id, file, line, false);
        let own = run_key(id, &self.run);
        let changes = match found {
            Some(mark) if mark.body.run == self.run => vec![Change::Replace(body, mark.etag)],
            Some(mark) => vec![
                Change::Replace(body, mark.etag),
                Change::Delete(run_key(id, &mark.body.run), None),
                empty(own),
            ],
            None => vec![Change::Insert(body), empty(own)],
        };
        match settle::patient_commit(&*self.to.store, CONTROL, &changes, self.to.deadline()).await {
            Ok(()) => Ok(()),
            // Unless it is the answer that was lost.
            Err(error) if is_moved(&error) => self.held(id).await.map(drop),
            Err(error) => Err(error.into()),
        }
    }

    /// This run's mark; fails if another run has taken it.
    pub(super) async fn held(&self, id: &str) -> Result<Mark, Error> {
        match self.mark(id).await? {
            Some(mark) if mark.body.run == self.run => Ok(mark),
            _ => Err(Error::Overtaken),
        }
    }

    /// Up to this line of the file everything is written.
    pub(super) async fn note(&self, id: &str, line: u64) -> Result<(), Error> {
        let mark = self.held(id).await?;
        self.take(id, Some(mark), &self.file, line).await
    }

    /// What asserts of each commit that this run's mark is not taken.
    pub(super) fn holding(&self, id: &str) -> Change {
        Change::Touch(run_key(id, &self.run))
    }

    /// What asserts, together with the change that lets requests in, that nobody else has taken the tenant over, or all.
    pub(super) async fn adopting(&self, id: &str, line: u64) -> Result<Vec<Change>, Error> {
        let own = self.held(id).await?;
        if self.only.is_some() {
            return Ok(vec![Change::Replace(self.body(id, &self.file, line, true), own.etag)]);
        }
        let all = self.held(ALL).await?;
        let again = self.body(ALL, &self.file, 0, false);
        Ok(vec![
            Change::Delete(mark_key(id), Some(own.etag)),
            Change::Delete(run_key(id, &self.run), None),
            Change::Replace(again, all.etag),
        ])
    }

    /// Removes the mark of what is done, unless others are at it.
    pub(super) async fn forget(&self, id: &str) -> Result<(), Error> {
        let ends = |mark: &Mark| mark.body.run == self.run || (mark.body.adopted && self.is_ours(mark));
        let Some(mark) = self.mark(id).await?.filter(ends) else {
            return Ok(());
        };
        let run = run_key(id, &mark.body.run);
        let delete = [Change::Delete(mark_key(id), Some(mark.etag)), Change::Delete(run, None)];
        match settle::patient_commit(&*self.to.store, CONTROL, &delete, self.to.deadline()).await {
            Err(error) if !is_moved(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn body(&self, id: &str, file: &str, line: u64, adopted: bool) -> store::Write {
        let body = MarkBody {
            format: rows::FORMAT,
            file: file.to_owned(),
            line,
            run: self.run.clone(),
            adopted,
        };
        rows::write(mark_key(id), &body)
    }

    fn fence_key(&self) -> String {
        format!("{PREFIX}{}", self.run)
    }

    /// The key of the fence behind which only repairs write.
    pub(super) fn repairs_key(&self) -> String {
        format!("{}~repairs", self.fence_key())
    }

    /// Puts up this run's fence in the tenant's partition, in the place of others; its mark must have been taken.
    pub(super) async fn fence(&self, id: &str) -> Result<(), Error> {
        let own = self.fence_key();
        self.held(id).await?;
        for _ in 0..TRIES {
            let range = rows::range(PREFIX);
            let found = settle::patient_scan_all(&*self.to.store, id, &range, self.to.deadline()).await?;
            let (own_ones, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.key == own);
            let mut changes: Vec<Change> = others
                .into_iter()
                .map(|row| Change::Delete(row.key, None))
                .take(MAX_FENCED)
                .collect();
            if changes.is_empty() && !own_ones.is_empty() {
                // Whoever took the mark meanwhile may not have seen this fence.
                let held = self.held(id).await.map(drop);
                if held.is_err() {
                    let own = [Change::Delete(own, None)];
                    let _ = settle::patient_commit(&*self.to.store, id, &own, self.to.deadline()).await;
                }
                return held;
            }
            if own_ones.is_empty() {
                changes.push(empty(own.clone()));
            }
            match settle::patient_commit(&*self.to.store, id, &changes, self.to.deadline()).await {
                Err(error) if !is_moved(&error) => return Err(error.into()),
                _ => {}
            }
        }
        Err(Error::Overtaken)
    }

    /// From here on only repairs write: what is late of the file finds its fence gone.
    pub(super) async fn fence_repairs(&self, id: &str) -> Result<(), Error> {
        let changes = [Change::Delete(self.fence_key(), None), empty(self.repairs_key())];
        self.change_fence(id, &changes).await
    }

    /// Removes this run's fence, and what others have left; nobody's who has taken the tenant over.
    pub(super) async fn unfence(&self, id: &str) -> Result<(), Error> {
        let range = rows::range(PREFIX);
        let found = settle::patient_scan_all(&*self.to.store, id, &range, self.to.deadline()).await?;
        // Somebody tore it down, and what was to be mended behind it is not.
        if !found.iter().any(|row| row.key.starts_with(&self.fence_key())) {
            return Err(Error::Overtaken);
        }
        let fences = found.into_iter().map(|row| Change::Delete(row.key, None));
        let fences: Vec<Change> = fences.take(MAX_CHANGES).collect();
        self.change_fence(id, &fences).await
    }

    async fn change_fence(&self, id: &str, changes: &[Change]) -> Result<(), Error> {
        match settle::patient_commit(&*self.to.store, id, changes, self.to.deadline()).await {
            // An answer was lost, or it is another's now.
            Err(error) if is_moved(&error) => self.held(id).await.map(drop),
            done => Ok(done?),
        }
    }

    /// Commits into the tenant's partition as long as this run's fence stands; at most [`MAX_FENCED`] changes.
    pub(super) async fn write(&self, id: &str, changes: &[Change]) -> Result<(), Error> {
        let fence = self.fence_key();
        let mut all = vec![Change::Touch(fence.clone())];
        all.extend_from_slice(changes);
        match settle::patient_commit(&*self.to.store, id, &all, self.to.deadline()).await {
            Err(store::Error::Missing(key)) if key == fence => Err(Error::Overtaken),
            done => Ok(done?),
        }
    }

    /// Removes all rows in a range.
    pub(super) async fn clear(&self, id: &str, Range { from, until }: &Range) -> Result<(), Error> {
        loop {
            let range = (&**from, &**until);
            let page = settle::patient_scan(&*self.to.store, id, range, MAX_FENCED, self.to.deadline()).await?;
            let rows = page.rows.into_iter().filter(|row| !is_fence(&row.key));
            let changes: Vec<Change> = rows.map(|row| Change::Delete(row.key, None)).collect();
            if changes.is_empty() {
                return Ok(());
            }
            match self.write(id, &changes).await {
                // An answer was lost; the next scan tells what is left.
                Ok(()) | Err(Error::Tenants(crate::tenants::Error::Store(store::Error::Missing(_)))) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the partition has rows of a tenant.
    pub(super) async fn has_rows(&self, id: &str) -> Result<bool, Error> {
        let (mut from, until) = rows::range("");
        loop {
            let page = settle::patient_scan(&*self.to.store, id, (&from, &until), 2, self.to.deadline()).await?;
            match page.rows.last() {
                None => return Ok(false),
                _ if page.rows.iter().any(|row| !is_fence(&row.key)) => return Ok(true),
                Some(last) => from = rows::behind(&last.key),
            }
        }
    }
}
