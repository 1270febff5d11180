//! Why an operator's command failed, in the operator's words.

use std::fmt;

use time::{OffsetDateTime, macros::format_description};

use super::{MAX_LABEL_BYTES, RESERVED_NAMES};
use crate::{
    rows::FormatError,
    scim::{limits::MAX_EXTENSIONS, schema::check::Fault},
    store, totals,
};

/// Why an operator's command failed.
#[derive(Debug)]
pub enum Error {
    /// The name is not 2 to 63 characters of `[a-z0-9-]`, or it is reserved.
    BadName,
    /// Another tenant has this name.
    NameTaken(String),
    /// There is no tenant of this name.
    NoTenant(String),
    /// The tenant is being removed.
    BeingDeleted(String),
    /// The tenant has no credential with this id.
    NoCredential(String),
    /// The secret is already a credential, of this tenant or of another.
    SecretTaken,
    /// The secret cannot stand in an `Authorization` header; the text says why.
    BadSecret(&'static str),
    /// The label is longer than [`MAX_LABEL_BYTES`] or has control characters.
    BadLabel,
    /// The schema document cannot be an extension.
    Schema(Fault),
    /// The tenant has as many extensions as it may have.
    TooManyExtensions,
    /// The tenant has no extension with this URN.
    NoExtension(String),
    /// There is no such resource type to extend; these there are.
    NoResourceType(String, String),
    /// The extension with this URN extends another resource type, this one.
    ExtendsAnother(String, String),
    /// A change of the tenant's extensions is announced, and in force everywhere at this time.
    SchemasChanging(OffsetDateTime),
    /// Somebody else changed the tenant's extensions, or its name, in between.
    SchemasChanged,
    /// A row cannot be read.
    Format(FormatError),
    /// The store failed.
    Store(store::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => write!(
                f,
                "a tenant's name is 2 to 63 characters of a-z, 0-9 and '-', begins and ends with a letter or digit, \
                 and is none of {}",
                RESERVED_NAMES.join(", ")
            ),
            Self::NameTaken(name) => write!(f, "there is a tenant '{name}' already"),
            Self::NoTenant(name) => write!(f, "there is no tenant '{name}'; 'scimgate tenant list' shows all"),
            Self::BeingDeleted(name) => {
                write!(
                    f,
                    "tenant '{name}' is being removed; 'scimgate tenant delete {name}' goes on with it"
                )
            }
            Self::NoCredential(id) => write!(f, "the tenant has no token '{id}'; 'scimgate token list' shows all"),
            Self::SecretTaken => write!(f, "this secret is in use already; every token belongs to one tenant"),
            Self::BadSecret(why) => write!(f, "this secret cannot be used: {why}"),
            Self::BadLabel => write!(
                f,
                "a label, title or contact is at most {MAX_LABEL_BYTES} bytes without control characters"
            ),
            Self::Schema(fault) => write!(f, "{fault}"),
            Self::TooManyExtensions => write!(f, "a tenant has at most {MAX_EXTENSIONS} extensions"),
            Self::NoExtension(urn) => {
                write!(f, "the tenant has no extension {urn}; 'scimgate schema list' shows all")
            }
            Self::NoResourceType(name, known) => write!(f, "there is no resource type '{name}'; there are {known}"),
            Self::ExtendsAnother(urn, resource_type) => {
                write!(
                    f,
                    "{urn} extends {resource_type} already: remove it there first, or choose another URN"
                )
            }
            Self::SchemasChanging(from) => write!(
                f,
                "another change of this tenant's schemas is announced, and in force everywhere at {} UTC: try again then",
                from.time()
                    .format(format_description!("[hour]:[minute]:[second]"))
                    .unwrap_or_default()
            ),
            Self::SchemasChanged => write!(
                f,
                "somebody else changed this tenant or its schemas just now: try again"
            ),
            Self::Format(error) => write!(f, "{error}"),
            Self::Store(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<totals::Error> for Error {
    fn from(error: totals::Error) -> Self {
        match error {
            totals::Error::Store(error) => error.into(),
            totals::Error::Format(error) => error.into(),
            totals::Error::Torn => store::Error::Busy(None).into(),
        }
    }
}
