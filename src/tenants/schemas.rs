//! A tenant's extension schemas: one row, read together with the credential, so that no request costs more for them.
//!
//! A change is first announced and comes into force later, everywhere at the same moment: by then every instance has read
//! the announcement, as none believes what it read for longer than [`CACHED`], and no request goes by it for longer than
//! [`REQUEST`]. Shortly before that moment, for as long as clocks may differ, no instance makes a change to a resource
//! unless both schemas make the same of it. So no instance drops an attribute that another one accepts already, as long as
//! clocks differ by less than [`CLOCKS`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::{CACHED, Error, Tenant, Tenants, replace, tenant_key};
use crate::{
    rows::{self, CONTROL, FORMAT, FormatError},
    scim::schema::{Catalog, Extension, Schema},
    store::{self, Change, ETag, Row, Write, settle},
};

mod change;
#[cfg(test)]
mod tests;

pub use change::{NewExtension, SchemaChange};

/// How far the clocks of two processes may be apart.
pub const CLOCKS: Duration = Duration::seconds(5);

/// How long after its credential was looked at a request may change something.
const REQUEST: Duration = Duration::seconds(15);

/// How long an announcement is sent again when it fails.
const TRIES: std::time::Duration = std::time::Duration::from_secs(5);

/// When an announcement has reached the store, or never will: [`TRIES`], and the time-out of the last one.
const LANDING: Duration = Duration::seconds(10);

/// The row of a tenant's extensions.
#[derive(Clone, Default, Serialize, Deserialize)]
struct SchemasBody {
    format: u32,
    extensions: Vec<TenantExtension>,
    coming: Option<Coming>,
    /// What a later version wrote beside them.
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// An extension that a tenant has, or is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantExtension {
    /// The name of the resource type that it extends.
    pub resource_type: String,
    /// Whether each resource must have it.
    pub required: bool,
    /// What it consists of; stored as RFC 7643 §7 has it.
    #[serde(with = "document")]
    pub schema: Arc<Schema>,
}

/// A change of one extension that is announced and not in force yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    /// When it is in force.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The extension's URN.
    pub urn: String,
    /// What it becomes; nothing: it is removed.
    pub extension: Option<TenantExtension>,
}

/// A tenant's extensions as they were read.
pub struct Schemas {
    /// Whose they are.
    pub tenant: Tenant,
    /// Those in force.
    pub extensions: Vec<TenantExtension>,
    /// A change that is not in force everywhere yet.
    pub coming: Option<Coming>,
    /// All schemas in force.
    pub catalog: Catalog,
    unknown: Map<String, Value>,
    etag: Option<ETag>,
}

/// What a tenant's resources look like: now, and from an announced moment on.
#[derive(Clone, Debug)]
pub struct Catalogs {
    /// When the row was read.
    read: Instant,
    now: Arc<Catalog>,
    coming: Option<(OffsetDateTime, Arc<Catalog>)>,
}

impl Catalogs {
    /// The standard, for work that no schema decides.
    pub fn standard() -> Self {
        Self {
            read: Instant::now(),
            now: Arc::new(Catalog::standard()),
            coming: None,
        }
    }

    /// The same, read now.
    #[cfg(test)]
    pub(crate) fn read_again(&self) -> Self {
        Self {
            read: Instant::now(),
            ..self.clone()
        }
    }

    /// What the tenant's row says; without a row, the standard. Nothing was known of it before `read`.
    pub(super) fn new(row: Option<&Row>, read: Instant) -> Result<Self, FormatError> {
        let SchemasBody {
            mut extensions, coming, ..
        } = row.map(rows::body).transpose()?.unwrap_or_default();
        let now = Arc::new(catalog(&extensions));
        let coming = coming.map(|coming| {
            apply(&mut extensions, &coming.urn, coming.extension);
            (coming.from, Arc::new(catalog(&extensions)))
        });
        Ok(Self { read, now, coming })
    }

    /// Whether these may have changed unnoticed: for a request that took too long.
    pub fn are_old(&self) -> bool {
        self.read.elapsed() > (CACHED + REQUEST).unsigned_abs()
    }

    /// The one in force at a time.
    pub fn at(&self, time: OffsetDateTime) -> &Arc<Catalog> {
        match &self.coming {
            Some((from, catalog)) if *from <= time => catalog,
            _ => &self.now,
        }
    }

    /// The announced one, from shortly before it comes into force: elsewhere it may be in force already, so that what a
    /// resource becomes is right only if this one makes the same of it.
    pub fn beside(&self, time: OffsetDateTime) -> Option<&Arc<Catalog>> {
        let (from, catalog) = self.coming.as_ref()?;
        (*from - CLOCKS <= time).then_some(catalog)
    }
}

impl Tenants {
    /// A tenant's extensions. A change is in force here when it is by every clock.
    pub async fn schemas(&self, name: &str, deadline: Instant) -> Result<Schemas, Error> {
        let tenant = self.find(name, deadline).await?;
        let key = schemas_key(&tenant.name);
        let row = settle::patient_get(&*self.store, CONTROL, &[&key], deadline)
            .await?
            .pop()
            .flatten();
        let body = row.as_ref().map(rows::body::<SchemasBody>).transpose()?;
        let mut body = body.unwrap_or_default();
        let now = self.ambient.now();
        if let Some(done) = body.coming.take_if(|coming| coming.from + CLOCKS <= now) {
            apply(&mut body.extensions, &done.urn, done.extension);
        }
        Ok(Schemas {
            tenant,
            catalog: catalog(&body.extensions),
            extensions: body.extensions,
            coming: body.coming,
            unknown: body.unknown,
            etag: row.map(|row| row.etag),
        })
    }

    /// As [`Self::schemas`], of the tenant with this id, whatever its name is by now.
    pub async fn schemas_of(&self, id: &str, deadline: Instant) -> Result<Schemas, Error> {
        let mut before = None;
        loop {
            let Some((name, _)) = self.alias(id, deadline).await? else {
                return Err(Error::NoTenant(before.unwrap_or_else(|| id.to_owned())));
            };
            match self.schemas(&name, deadline).await {
                Ok(schemas) if schemas.tenant.id == id => return Ok(schemas),
                // It may have been renamed between the two looks.
                Ok(_) | Err(Error::NoTenant(_)) if before.as_ref() != Some(&name) => before = Some(name),
                Ok(_) => return Err(Error::NoTenant(name)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Announces a change; returns when it is in force, which is the same moment for every instance.
    ///
    /// # Errors
    /// [`Error::SchemasChanged`] when somebody else was faster: then the change is to be made anew.
    pub async fn announce(
        &self,
        change: &SchemaChange<'_>,
        by: &str,
        deadline: Instant,
    ) -> Result<OffsetDateTime, Error> {
        let schemas = change.schemas;
        let from = self.ambient.now() + LANDING + CACHED + REQUEST + CLOCKS;
        let body = SchemasBody {
            format: FORMAT,
            extensions: schemas.extensions.clone(),
            coming: Some(Coming {
                from,
                urn: change.urn.clone(),
                extension: change.extension.clone(),
            }),
            unknown: schemas.unknown.clone(),
        };
        let kind = match change.extension {
            Some(_) => "schema-set",
            None => "schema-remove",
        };
        let key = schemas_key(&schemas.tenant.name);
        let changes = [
            self.event(kind, ("Schema", &change.urn), &schemas.tenant.id, by),
            // Whoever renames the tenant takes its row along.
            Change::Touch(tenant_key(&schemas.tenant.name)),
            match &schemas.etag {
                Some(etag) => replace(key, etag.clone(), &body),
                None => Change::Insert(rows::write(key, &body)),
            },
        ];
        match self.settle(&changes, deadline.min(Instant::now() + TRIES)).await {
            Ok(()) => Ok(from),
            Err(store::Error::Changed(_) | store::Error::Missing(_) | store::Error::Exists(_)) => {
                Err(Error::SchemasChanged)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What moves a tenant's row when the tenant gets another name. Who announces a change touches the tenant's own row, so
    /// that a commit with these changes meets no row that was not read.
    pub(super) async fn moved_schemas(&self, name: &str, to: &str, deadline: Instant) -> Result<Vec<Change>, Error> {
        let key = schemas_key(name);
        let row = settle::patient_get(&*self.store, CONTROL, &[&key], deadline)
            .await?
            .pop()
            .flatten();
        let Some(row) = row else { return Ok(Vec::new()) };
        let moved = Write {
            key: schemas_key(to),
            stamp: row.stamp,
            body: row.body,
        };
        Ok(vec![Change::Insert(moved), Change::Delete(key, Some(row.etag))])
    }
}

/// The standard schemas with these extensions.
fn catalog(extensions: &[TenantExtension]) -> Catalog {
    let extensions = extensions.iter().map(|extension| {
        let TenantExtension { required, schema, .. } = extension.clone();
        (extension.resource_type.clone(), Extension { schema, required })
    });
    Catalog::standard().extended(extensions)
}

/// Puts an extension in its place, or takes it away.
fn apply(extensions: &mut Vec<TenantExtension>, urn: &str, extension: Option<TenantExtension>) {
    let place = extensions.iter().position(|extension| extension.schema.id == urn);
    match (place, extension) {
        (Some(place), Some(extension)) => extensions[place] = extension,
        (Some(place), None) => _ = extensions.remove(place),
        (None, Some(extension)) => extensions.push(extension),
        (None, None) => {}
    }
}

/// By name, as it is read before the tenant's id is known.
pub(super) fn schemas_key(name: &str) -> String {
    format!("schemas~{name}")
}

/// A schema in a row.
mod document {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use serde_json::Value;

    use super::Schema;

    pub(super) fn serialize<S: Serializer>(schema: &Schema, to: S) -> Result<S::Ok, S::Error> {
        schema.document().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Schema>, D::Error> {
        let document = Value::deserialize(from)?;
        Schema::from_json(&document).map(Arc::new).map_err(de::Error::custom)
    }
}
