//! What operators see of all tenants.

use std::collections::HashMap;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Error, SeenBody, Tenant, TenantBody, Tenants};
use crate::{
    rows::{self, FormatError},
    totals,
};

/// What `tenant list` shows of a tenant.
pub struct Listed {
    /// The tenant.
    pub tenant: Tenant,
    /// When a request with a valid credential last came, to the minute.
    pub last_request: Option<OffsetDateTime>,
    /// When the first of its valid credentials expires.
    pub next_expiry: Option<OffsetDateTime>,
    /// It is being removed.
    pub deleting: bool,
}

impl Tenants {
    /// All tenants, by name.
    pub async fn list(&self, deadline: Instant) -> Result<Vec<Listed>, Error> {
        let mut expiries: HashMap<String, OffsetDateTime> = HashMap::new();
        let now = self.ambient.now();
        for (tenant, credential) in self.all_credentials(deadline).await? {
            if credential.is_valid(now)
                && let Some(expires) = credential.expires
            {
                expiries
                    .entry(tenant)
                    .and_modify(|first| *first = expires.min(*first))
                    .or_insert(expires);
            }
        }
        let mut seen = HashMap::new();
        for row in self.rows("seen~", deadline).await? {
            let body: SeenBody = rows::body(&row)?;
            seen.insert(row.key["seen~".len()..].to_owned(), body.time);
        }
        let mut tenants = Vec::new();
        for row in self.rows("tenant~", deadline).await? {
            let body: TenantBody = rows::body(&row)?;
            tenants.push(Listed {
                last_request: seen.remove(&body.id),
                next_expiry: expiries.remove(&body.id),
                deleting: body.deleting.is_some(),
                tenant: body.tenant(&row.key)?,
            });
        }
        Ok(tenants)
    }

    /// All tenants that are not being removed.
    pub async fn all(&self, deadline: Instant) -> Result<Vec<Tenant>, Error> {
        let each = self.each(deadline).await?.into_iter();
        Ok(each.map(|(_, tenant)| tenant).collect::<Result<_, _>>()?)
    }

    /// The same by their names, with those whose rows cannot be read.
    pub async fn each(&self, deadline: Instant) -> Result<Vec<(String, Result<Tenant, FormatError>)>, Error> {
        let mut tenants = Vec::new();
        for row in self.rows("tenant~", deadline).await? {
            let read = rows::body::<TenantBody>(&row);
            let tenant = match read {
                Ok(body) if body.deleting.is_some() => continue,
                read => read.and_then(|body| body.tenant(&row.key)),
            };
            tenants.push((row.key["tenant~".len()..].to_owned(), tenant));
        }
        Ok(tenants)
    }

    /// How many users a tenant has.
    pub async fn count_users(&self, tenant: &str, deadline: Instant) -> Result<u64, Error> {
        Ok(totals::tally(&*self.store, tenant, "u", deadline).await?.total())
    }
}
