//! Pausing a tenant: each of its requests is answered 503, and nothing of it is read or written, until it goes on.

use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::{CACHED, Error, Tenant, TenantBody, Tenants};

/// A pause has reached the store so long after its time at the latest, also by another operator's clock.
const LANDING: Duration = Duration::minutes(5);

/// A tenant is paused, and this is known of it.
pub struct Pause {
    /// Which tenant.
    pub tenant: Tenant,
    /// Since when.
    pub since: OffsetDateTime,
    /// When it was in the store, at the latest.
    stood: OffsetDateTime,
    /// How long requests may go on that were let in before.
    last_request: Duration,
}

impl Pause {
    /// From when on no instance lets a request in.
    pub fn in_force(&self) -> OffsetDateTime {
        self.stood + CACHED
    }

    /// From when on none is under way that was let in before: nobody but operators changes anything then.
    pub fn quiet(&self) -> OffsetDateTime {
        self.in_force() + self.last_request
    }
}

impl Tenants {
    /// Has each of a tenant's requests answered 503 until [`Self::resume`], on every instance within 60 s. Whose pause goes on
    /// already keeps its beginning.
    pub async fn pause(&self, name: &str, by: &str, deadline: Instant) -> Result<Pause, Error> {
        let began = self.ambient.now();
        let pause = |body: &mut TenantBody| {
            let is_new = body.paused.is_none();
            body.paused.get_or_insert(began);
            is_new
        };
        let (tenant, _) = self.amend(name, pause, ("tenant-pause", by), deadline).await?;
        let since = tenant.paused.unwrap_or(began);
        Ok(Pause {
            last_request: self.last_request(deadline).await?,
            tenant,
            since,
            stood: self.ambient.now().min(since + LANDING),
        })
    }

    /// Lets a paused tenant go on, on every instance within 60 s; whether it was paused.
    pub async fn resume(&self, name: &str, by: &str, deadline: Instant) -> Result<(Tenant, bool), Error> {
        let resume = |body: &mut TenantBody| body.paused.take().is_some();
        self.amend(name, resume, ("tenant-resume", by), deadline).await
    }
}

#[cfg(test)]
mod tests;
