//! Tenants, their credentials and their extension schemas: rows of the control partition. `authenticate` turns a credential into an [`Access`],
//! without which no other room can reach a tenant's resources.

use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    ambient::Ambient,
    rows::{self, CONTROL, EventBody, FORMAT, FormatError, Operation},
    store::{self, Change, ETag, Row, Store, settle},
};

mod authenticate;
mod credentials;
mod error;
mod kept;
mod lately;
mod listed;
mod pause;
mod record;
mod removal;
mod schemas;
#[cfg(test)]
mod tests;

pub use authenticate::{Access, CACHED, Holder, Refusal};
pub use credentials::{Credential, Expiry, Issued, MAX_LABEL_BYTES, Origin, Terms};
pub use error::Error;
pub use kept::KeptDays;
pub use lately::{ALL_WRITES, Count, Counted, MORE, Refused};
pub use listed::Listed;
pub use pause::Pause;
pub use record::Unfit;
pub use removal::{Progress, Removal};
pub use schemas::{CLOCKS, Catalogs, Coming, NewExtension, SchemaChange, Schemas, TenantExtension};

/// Names that mean something else at their place in a URL.
const RESERVED_NAMES: &[&str] = &[
    "bulk",
    "groups",
    "me",
    "resourcetypes",
    "schemas",
    "serviceproviderconfig",
    "users",
    "v2",
];

/// A customer of the vendor: its resources are one partition of the store.
#[derive(Clone)]
pub struct Tenant {
    /// Names the partition; random, never changes.
    pub id: String,
    /// Stands in the Tenant URL; may change.
    pub name: String,
    /// For people.
    pub title: String,
    /// Whom to write to at the customer's.
    pub contact: String,
    /// When it was made.
    pub created: OffsetDateTime,
    /// Requests a second that it may send to each process, if it is not what all others may; 0 is no limit.
    pub rate: Option<u32>,
    /// Since when its requests are answered 503, until an operator lets it go on.
    pub paused: Option<OffsetDateTime>,
    /// Keys the hashes in index rows, so that no personal data stands in keys.
    pub index_key: [u8; 32],
    /// Seals cursors, so that any instance knows them again and nobody makes one up.
    pub cursor_key: [u8; 32],
}

/// What an operator wants a tenant to be.
#[derive(Clone, Debug, Default)]
pub struct NewTenant {
    /// 2 to 63 characters of `[a-z0-9-]`; letters may be given in either case.
    pub name: String,
    /// For people.
    pub title: String,
    /// Whom to write to at the customer's.
    pub contact: String,
}

/// The row of a tenant, found by its name.
#[derive(Clone, Serialize, Deserialize)]
struct TenantBody {
    format: u32,
    id: String,
    name: String,
    title: String,
    contact: String,
    #[serde(with = "time::serde::rfc3339")]
    created: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    paused: Option<OffsetDateTime>,
    /// 32 bytes, hexadecimal; HKDF makes the tenant's keys of it.
    secret: String,
    /// Since when it is being removed.
    #[serde(with = "time::serde::rfc3339::option")]
    deleting: Option<OffsetDateTime>,
    /// What a later version wrote beside them.
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// The row that leads from a tenant's id to its name.
#[derive(Serialize, Deserialize)]
struct AliasBody {
    format: u32,
    name: String,
}

/// The row that says when a tenant was last heard of.
#[derive(Serialize, Deserialize)]
struct SeenBody {
    format: u32,
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
}

impl TenantBody {
    fn tenant(&self, key: &str) -> Result<Tenant, FormatError> {
        let broken = || FormatError::Broken { key: key.to_owned() };
        let secret = HEXLOWER.decode(self.secret.as_bytes()).map_err(|_| broken())?;
        let kdf = Hkdf::<Sha256>::new(None, &secret);
        let key = |label: &[u8]| {
            let mut key = [0; 32];
            kdf.expand(label, &mut key).map_err(|_| broken()).map(|()| key)
        };
        Ok(Tenant {
            id: self.id.clone(),
            name: self.name.clone(),
            title: self.title.clone(),
            contact: self.contact.clone(),
            created: self.created,
            rate: self.rate,
            paused: self.paused,
            index_key: key(b"index")?,
            cursor_key: key(b"cursor")?,
        })
    }
}

/// All tenants of a store.
#[derive(Clone)]
pub struct Tenants {
    store: Arc<dyn Store>,
    ambient: Arc<dyn Ambient>,
    cache: Arc<authenticate::Cache>,
    lately: Arc<lately::Lately>,
}

impl Tenants {
    /// The tenants in this store.
    pub fn new(store: Arc<dyn Store>, ambient: Arc<dyn Ambient>) -> Self {
        Self {
            cache: Arc::new(authenticate::Cache::new(&store)),
            store,
            ambient,
            lately: Arc::default(),
        }
    }

    /// Makes a tenant and its first credential in one commit.
    pub async fn create(
        &self,
        new: &NewTenant,
        secret: Option<String>,
        terms: &Terms,
        by: &str,
        deadline: Instant,
    ) -> Result<(Tenant, Issued), Error> {
        let name = parse_name(&new.name)?;
        if [&new.title, &new.contact].iter().any(|text| !is_label(text)) {
            return Err(Error::BadLabel);
        }
        let now = self.ambient.now();
        let body = TenantBody {
            format: FORMAT,
            id: format!(
                "t{}",
                BASE32_NOPAD.encode(&self.ambient.secret()[..15]).to_ascii_lowercase()
            ),
            name: name.clone(),
            title: new.title.clone(),
            contact: new.contact.clone(),
            created: now,
            rate: None,
            paused: None,
            secret: HEXLOWER.encode(&self.ambient.secret()),
            deleting: None,
            unknown: Map::new(),
        };
        let key = tenant_key(&name);
        let tenant = body.tenant(&key)?;
        let alias = AliasBody {
            format: FORMAT,
            name: name.clone(),
        };
        let (issued, credential_rows) = self.issue(&tenant.id, secret, terms)?;
        let mut changes = vec![
            self.event("tenant-create", ("Tenant", &tenant.id), &tenant.id, by),
            Change::Insert(rows::write(key.clone(), &body)),
            Change::Insert(rows::write(alias_key(&tenant.id), &alias)),
        ];
        changes.extend(credential_rows);
        match self.settle(&changes, deadline).await {
            Ok(()) => Ok((tenant, issued)),
            Err(store::Error::Exists(taken)) if taken == key => {
                let (_, body) = self.row(&name, deadline).await?;
                Err(if body.deleting.is_some() {
                    Error::BeingDeleted(name)
                } else {
                    Error::NameTaken(name)
                })
            }
            Err(store::Error::Exists(_)) => Err(Error::SecretTaken),
            Err(error) => Err(error.into()),
        }
    }

    /// The tenant of this name.
    pub async fn find(&self, name: &str, deadline: Instant) -> Result<Tenant, Error> {
        let (row, body) = self.row(&parse_name(name)?, deadline).await?;
        if body.deleting.is_some() {
            return Err(Error::BeingDeleted(body.name));
        }
        Ok(body.tenant(&row.key)?)
    }

    /// Gives a tenant another name. Its old Tenant URL stops working within 60 s; ids and tokens stay.
    pub async fn rename(&self, name: &str, to: &str, by: &str, deadline: Instant) -> Result<Tenant, Error> {
        let (name, to) = (parse_name(name)?, parse_name(to)?);
        loop {
            let (row, mut body) = self.row(&name, deadline).await?;
            if body.deleting.is_some() {
                return Err(Error::BeingDeleted(body.name));
            }
            if body.name == to {
                return Ok(body.tenant(&row.key)?);
            }
            body.name.clone_from(&to);
            let key = tenant_key(&to);
            let mut changes = vec![
                self.event("tenant-rename", ("Tenant", &body.id), &body.id, by),
                Change::Insert(rows::write(key.clone(), &body)),
                Change::Delete(row.key, Some(row.etag)),
                Change::Upsert(rows::write(
                    alias_key(&body.id),
                    &AliasBody {
                        format: FORMAT,
                        name: to.clone(),
                    },
                )),
            ];
            changes.extend(self.moved_schemas(&name, &to, deadline).await?);
            match self.settle(&changes, deadline).await {
                Ok(()) => return Ok(body.tenant(&key)?),
                Err(store::Error::Exists(_)) => return Err(Error::NameTaken(to)),
                Err(error) => try_again(error, deadline)?,
            }
        }
    }

    /// Lets a tenant send so many requests a second to each process; nothing is what all others may send. In force within
    /// 60 s.
    pub async fn limit(&self, name: &str, rate: Option<u32>, by: &str, deadline: Instant) -> Result<Tenant, Error> {
        let limit = |body: &mut TenantBody| {
            body.rate = rate;
            true
        };
        let (tenant, _) = self.amend(name, limit, ("tenant-limit", by), deadline).await?;
        Ok(tenant)
    }

    /// Changes a tenant's row, unless `change` says that there is nothing to change; whether there was.
    async fn amend(
        &self,
        name: &str,
        change: impl Fn(&mut TenantBody) -> bool,
        (kind, by): (&str, &str),
        deadline: Instant,
    ) -> Result<(Tenant, bool), Error> {
        let name = parse_name(name)?;
        loop {
            let (row, mut body) = self.row(&name, deadline).await?;
            if body.deleting.is_some() {
                return Err(Error::BeingDeleted(body.name));
            }
            if !change(&mut body) {
                return Ok((body.tenant(&row.key)?, false));
            }
            let changes = [
                self.event(kind, ("Tenant", &body.id), &body.id, by),
                replace(row.key.clone(), row.etag, &body),
            ];
            match self.settle(&changes, deadline).await {
                Ok(()) => return Ok((body.tenant(&row.key)?, true)),
                Err(error) => try_again(error, deadline)?,
            }
        }
    }

    /// Whether there is no tenant at all.
    pub async fn is_empty(&self, deadline: Instant) -> Result<bool, Error> {
        let (from, until) = rows::range("tenant~");
        let page = settle::patient_scan(&*self.store, CONTROL, (&from, &until), 1, deadline).await?;
        Ok(page.rows.is_empty())
    }

    async fn row(&self, name: &str, deadline: Instant) -> Result<(Row, TenantBody), Error> {
        let key = tenant_key(name);
        let row = settle::patient_get(&*self.store, CONTROL, &[&key], deadline)
            .await?
            .pop()
            .flatten();
        let row = row.ok_or_else(|| Error::NoTenant(name.to_owned()))?;
        let body = rows::body(&row)?;
        Ok((row, body))
    }

    async fn rows(&self, prefix: &str, deadline: Instant) -> Result<Vec<Row>, Error> {
        Ok(settle::patient_scan_all(&*self.store, CONTROL, &rows::range(prefix), deadline).await?)
    }

    async fn settle(&self, changes: &[Change], deadline: Instant) -> Result<(), store::Error> {
        settle::settle(&*self.store, CONTROL, changes, deadline).await
    }

    /// What an operator does to a tenant.
    fn event(&self, kind: &str, resource: (&str, &str), tenant: &str, by: &str) -> Change {
        let operation = Operation::new(self.ambient.now(), 0, self.ambient.secret());
        let body = EventBody {
            tenant: Some(tenant.to_owned()),
            ..EventBody::new(kind, resource, by, operation.time())
        };
        Change::Insert(rows::write(rows::event_key(&operation), &body))
    }
}

/// A tenant's name in lower case, if it is one.
pub fn parse_name(text: &str) -> Result<String, Error> {
    let name = text.to_ascii_lowercase();
    let inner = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let ends = !name.starts_with('-') && !name.ends_with('-');
    if inner && ends && (2..=63).contains(&name.len()) && !RESERVED_NAMES.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(Error::BadName)
}

/// Whether a text can be shown to people in one line of a table.
fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL_BYTES && !text.chars().any(char::is_control)
}

fn tenant_key(name: &str) -> String {
    format!("tenant~{name}")
}

fn alias_key(tenant: &str) -> String {
    format!("id~{tenant}")
}

fn seen_key(tenant: &str) -> String {
    format!("seen~{tenant}")
}

/// Nothing, when somebody else wrote the row in between and there is time to read it again; else the error.
fn try_again(error: store::Error, deadline: Instant) -> Result<(), Error> {
    match error {
        store::Error::Changed(_) | store::Error::Missing(_) if Instant::now() < deadline => Ok(()),
        error => Err(error.into()),
    }
}

/// The change that writes `body` over the row that was read.
fn replace<T: Serialize>(key: String, etag: ETag, body: &T) -> Change {
    Change::Replace(rows::write(key, body), etag)
}
