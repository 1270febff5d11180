//! Removing a tenant: refused at once, its rows in steps, resumable at any point.

use time::{Duration, OffsetDateTime};
use tokio::time::{Instant, sleep};

use super::{
    CACHED, Error, Tenants, alias_key, changed_by_someone, credentials, parse_name, replace, seen_key, tenant_key,
};
use crate::{
    rows::CONTROL,
    store::{self, Change, MAX_CHANGES, settle},
};

/// Requests that were let in just before the credential was refused have ended by then.
const LAST_REQUEST: Duration = Duration::seconds(60);

/// How long a busy store is left alone.
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// How far a removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many rows are gone; there are more.
    Removed(usize),
    /// All rows are gone that can be seen; other instances may let requests in until this time.
    Until(OffsetDateTime),
    /// Nothing is left.
    Done,
}

/// A removal under way; dropping it loses nothing.
pub struct Removal<'a> {
    tenants: &'a Tenants,
    name: String,
    tenant: String,
    since: OffsetDateTime,
    removed: usize,
}

impl Tenants {
    /// Refuses the tenant's requests from now on (elsewhere within 60 s) and begins, or goes on, to remove its rows.
    pub async fn remove(&self, name: &str, by: &str, deadline: Instant) -> Result<Removal<'_>, Error> {
        let name = parse_name(name)?;
        let (row, mut body) = self.row(&name, deadline).await?;
        let since = body.deleting.unwrap_or_else(|| self.ambient.now());
        if body.deleting.is_none() {
            body.deleting = Some(since);
            let changes = [
                self.event("tenant-delete", "Tenant", &body.id, by),
                replace(row.key, row.etag, &body),
            ];
            self.settle(&changes, deadline)
                .await
                .map_err(changed_by_someone(&name))?;
            for (_, hash) in self.held(&body.id, deadline).await? {
                self.cache.forget(&hash);
            }
        }
        Ok(Removal {
            tenants: self,
            name,
            tenant: body.id,
            since,
            removed: 0,
        })
    }
}

impl Removal<'_> {
    /// Goes one step on.
    pub async fn step(&mut self, deadline: Instant) -> Result<Progress, Error> {
        let tenants = self.tenants;
        let page = settle::patient_scan(&*tenants.store, &self.tenant, ("-", "~"), MAX_CHANGES, deadline).await?;
        if !page.rows.is_empty() {
            let removed = page.rows.len();
            let changes: Vec<Change> = page.rows.into_iter().map(|row| Change::Delete(row.key, None)).collect();
            self.removed += if self.gone(&self.tenant, &changes).await? {
                removed
            } else {
                0
            };
            return Ok(Progress::Removed(self.removed));
        }
        let quiet = self.since + CACHED + LAST_REQUEST;
        if tenants.ambient.now() < quiet {
            return Ok(Progress::Until(quiet));
        }
        self.finish(deadline).await
    }

    async fn finish(&mut self, deadline: Instant) -> Result<Progress, Error> {
        let mut keys = Vec::new();
        for (id, hash) in self.tenants.held(&self.tenant, deadline).await? {
            keys.extend([credentials::token_key(&hash), credentials::held_key(&self.tenant, &id)]);
        }
        // The tenant's own row goes last: as long as it is there, the removal can be taken up again.
        keys.extend([seen_key(&self.tenant), alias_key(&self.tenant), tenant_key(&self.name)]);
        for key in keys {
            self.gone(CONTROL, &[Change::Delete(key, None)]).await?;
        }
        Ok(Progress::Done)
    }

    /// Removes rows; false when nobody knows, or some were gone already: the next scan tells.
    async fn gone(&self, partition: &str, changes: &[Change]) -> Result<bool, Error> {
        match self.tenants.store.commit(partition, changes).await {
            Ok(()) => Ok(true),
            Err(store::Error::Missing(_)) => Ok(false),
            Err(store::Error::Busy(_) | store::Error::Unknown(_)) => {
                sleep(BUSY_PAUSE).await;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
