//! Removing a tenant: refused at once, its rows in steps, resumable at any point.

use time::{Duration, OffsetDateTime};
use tokio::time::{Instant, sleep};

use super::{
    CACHED, Error, Tenants, alias_key, credentials, lately::Counted, parse_name, replace, schemas::schemas_key,
    seen_key, tenant_key, try_again,
};
use crate::{
    rows::CONTROL,
    store::{self, Change, MAX_CHANGES, settle},
};

/// How long a busy store is left alone.
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// How far a removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many rows are gone; there are more.
    Removed(usize),
    /// Nothing more can be done before this time: other instances may still let requests in, or have just done so.
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
    /// How long requests may go on that were let in before.
    last_request: Duration,
    removed: usize,
}

impl Tenants {
    /// Refuses the tenant's requests from now on (elsewhere within 60 s) and begins, or goes on, to remove its rows.
    pub async fn remove(&self, name: &str, by: &str, deadline: Instant) -> Result<Removal<'_>, Error> {
        let name = parse_name(name)?;
        let (id, since) = loop {
            let (row, mut body) = self.row(&name, deadline).await?;
            if let Some(since) = body.deleting {
                break (body.id, since);
            }
            let since = self.ambient.now();
            body.deleting = Some(since);
            let changes = [
                self.event("tenant-delete", ("Tenant", &body.id), &body.id, by),
                replace(row.key, row.etag, &body),
            ];
            match self.settle(&changes, deadline).await {
                Ok(()) => break (body.id, since),
                Err(error) => try_again(error, deadline)?,
            }
        };
        for (_, hash) in self.held(&id, deadline).await? {
            self.cache.forget(&hash);
        }
        Ok(Removal {
            last_request: self.last_request(deadline).await?,
            tenants: self,
            name,
            tenant: id,
            since,
            removed: 0,
        })
    }
}

impl Removal<'_> {
    /// Goes one step on. No row goes before every instance refuses the tenant: a request that still came in would find a
    /// user gone, and make it anew.
    pub async fn step(&mut self, deadline: Instant) -> Result<Progress, Error> {
        let tenants = self.tenants;
        let refused = self.since + CACHED;
        if tenants.ambient.now() < refused {
            return Ok(Progress::Until(refused));
        }
        let range = ("-", "~");
        let page = settle::patient_scan(&*tenants.store, &self.tenant, range, MAX_CHANGES, deadline).await?;
        if !page.rows.is_empty() {
            let removed = page.rows.len();
            let changes: Vec<Change> = page.rows.into_iter().map(|row| Change::Delete(row.key, None)).collect();
            self.removed += if self.gone(&self.tenant, &changes, deadline).await? {
                removed
            } else {
                0
            };
            return Ok(Progress::Removed(self.removed));
        }
        let quiet = refused + self.last_request;
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
        keys.extend(Counted::EVERY.map(|of| of.key(&self.tenant)));
        // The tenant's own row goes last: as long as it is there, the removal can be taken up again.
        keys.extend([
            seen_key(&self.tenant),
            schemas_key(&self.name),
            alias_key(&self.tenant),
            tenant_key(&self.name),
        ]);
        for key in keys {
            self.gone(CONTROL, &[Change::Delete(key, None)], deadline).await?;
        }
        Ok(Progress::Done)
    }

    /// Removes rows, however often that takes; false when one of them was gone already, and then so may be the others.
    async fn gone(&self, partition: &str, changes: &[Change], deadline: Instant) -> Result<bool, Error> {
        loop {
            match self.tenants.store.commit(partition, changes).await {
                Ok(()) => return Ok(true),
                Err(store::Error::Missing(_)) => return Ok(false),
                Err(store::Error::Busy(_) | store::Error::Unknown(_)) if Instant::now() < deadline => {
                    sleep(BUSY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
