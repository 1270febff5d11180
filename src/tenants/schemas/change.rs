//! What an operator wants of a tenant's extensions, and what they become.

use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;

use super::{CLOCKS, Coming, Schemas, TenantExtension, apply, catalog};
use crate::{
    scim::{
        limits::MAX_EXTENSIONS,
        schema::{Catalog, ResourceType, check},
    },
    tenants::Error,
};

/// What an operator wants to be an extension.
#[derive(Clone, Debug, Default)]
pub struct NewExtension {
    /// RFC 7643 §7.
    pub document: Value,
    /// The resource type; nothing: the one that it extends already, else User.
    pub resource_type: Option<String>,
    /// Whether each resource must have it.
    pub required: bool,
    /// Whether its attributes may be required.
    pub allow_required: bool,
}

/// What one extension is to become.
pub struct SchemaChange<'s> {
    /// What it changes.
    pub schemas: &'s Schemas,
    /// The extension's URN.
    pub urn: String,
    /// What it becomes; nothing: it is removed.
    pub extension: Option<TenantExtension>,
    /// All schemas then.
    pub catalog: Catalog,
    /// When it is in force, if somebody has announced just this already.
    pub announced: Option<OffsetDateTime>,
}

impl Schemas {
    /// Adds an extension, or changes the one with its URN.
    ///
    /// # Errors
    /// [`Error::Schema`] with the position of the fault, [`Error::TooManyExtensions`], [`Error::NoResourceType`],
    /// [`Error::ExtendsAnother`]; [`Error::SchemasChanging`] while another change is not in force yet.
    pub fn set(&self, new: &NewExtension) -> Result<SchemaChange<'_>, Error> {
        let urn = new.document["id"].as_str().unwrap_or_default();
        let before = self.extension(urn);
        let mut others = self.extensions.clone();
        apply(&mut others, urn, None);
        let schema = check::read(&new.document, &catalog(&others), new.allow_required).map_err(Error::Schema)?;
        if others.len() >= MAX_EXTENSIONS {
            return Err(Error::TooManyExtensions);
        }
        let extended = before.map(|before| before.resource_type.as_str());
        let wanted = new.resource_type.as_deref().or(extended).unwrap_or("User");
        let known = self.catalog.resource_type(wanted);
        let resource_type = known.ok_or_else(|| self.no_resource_type(wanted))?.name.clone();
        if let Some(extended) = extended.filter(|extended| *extended != resource_type) {
            return Err(Error::ExtendsAnother(urn.to_owned(), extended.to_owned()));
        }
        let extension = TenantExtension {
            resource_type,
            required: new.required,
            schema: Arc::new(schema),
        };
        self.change(urn, Some(extension))
    }

    /// Removes an extension.
    ///
    /// # Errors
    /// [`Error::NoExtension`]; [`Error::SchemasChanging`] while another change is not in force yet.
    pub fn remove(&self, urn: &str) -> Result<SchemaChange<'_>, Error> {
        let comes = |coming: &&Coming| coming.urn == urn;
        match (self.extension(urn), self.coming.as_ref().filter(comes)) {
            (None, Some(coming)) => return Err(Error::SchemasChanging(coming.from + CLOCKS)),
            (None, None) => return Err(Error::NoExtension(urn.to_owned())),
            (Some(_), _) => {}
        }
        self.change(urn, None)
    }

    /// The extension in force with this URN.
    pub fn extension(&self, urn: &str) -> Option<&TenantExtension> {
        self.extensions.iter().find(|extension| extension.schema.id == urn)
    }

    fn change(&self, urn: &str, extension: Option<TenantExtension>) -> Result<SchemaChange<'_>, Error> {
        let announced = match &self.coming {
            Some(coming) if coming.urn == urn && coming.extension == extension => Some(coming.from),
            Some(coming) => return Err(Error::SchemasChanging(coming.from + CLOCKS)),
            None => None,
        };
        let mut then = self.extensions.clone();
        apply(&mut then, urn, extension.clone());
        Ok(SchemaChange {
            schemas: self,
            urn: urn.to_owned(),
            extension,
            catalog: catalog(&then),
            announced,
        })
    }

    fn no_resource_type(&self, wanted: &str) -> Error {
        let known = self.catalog.resource_types.iter().map(|rt| rt.name.as_str());
        Error::NoResourceType(wanted.to_owned(), known.collect::<Vec<_>>().join(", "))
    }
}

impl SchemaChange<'_> {
    /// Whether everything stays as it is.
    pub fn is_nothing(&self) -> bool {
        self.before() == self.extension.as_ref()
    }

    /// Whether stored values may not fit any more. An extension that is new and asks for nothing has none.
    pub fn may_misfit(&self) -> bool {
        self.before().is_some() || self.extension.as_ref().is_some_and(|extension| extension.required)
    }

    /// The resource type that is extended, as it is and as it is to be.
    pub fn resource_types(&self) -> Option<(&ResourceType, &ResourceType)> {
        let name = &self.before().or(self.extension.as_ref())?.resource_type;
        Some((
            self.schemas.catalog.resource_type(name)?,
            self.catalog.resource_type(name)?,
        ))
    }

    fn before(&self) -> Option<&TenantExtension> {
        self.schemas.extension(&self.urn)
    }
}
