//! One tenant's resources: the only room that knows both SCIM and the store.
//!
//! Reading order: this file (the operations), `write` (the one way every change takes), `index` (which values can be
//! looked up), `query` (which rows a filter needs), `names` (of other resources).

use std::{fmt, sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use crate::{
    ambient::Ambient,
    rows::{self, FormatError, ResourceBody, Stamp},
    scim::{
        attributes::{self, Attributes},
        error::{Error as Refused, Rule},
        normalize::Trace,
        patch,
        resource::{self, Envelope},
        schema::ResourceType,
    },
    store::{self, ETag, Row, Store, settle},
    tenants::Access,
};

mod index;
mod names;
mod query;
#[cfg(test)]
mod tests;
mod write;

pub use names::refers_to_others;
pub use query::{Found, MAX_SCANNED};

/// Why an operation failed.
#[derive(Debug)]
pub enum Error {
    /// The client was refused, and is told why.
    Refused(Refused),
    /// The store failed until the deadline; the client comes back.
    Store(store::Error),
    /// A row cannot be read by this version.
    Format(FormatError),
}

impl Error {
    /// How long the store asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Store(store::Error::Busy(retry_after)) => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Format(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<Refused> for Error {
    fn from(error: Refused) -> Self {
        Self::Refused(error)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            // The limits of a row are the limits of a resource, in the client's words.
            store::Error::TooLarge(_) => Self::Refused(Rule::ResourceTooLarge.error()),
            error => Self::Store(error),
        }
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

/// A resource as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// `id`, times and version.
    pub envelope: Envelope,
    /// Everything the client gave.
    pub attributes: Attributes,
    /// The newest stamp of the row, for the hybrid clock.
    stamp: u64,
    /// Guards the next write.
    etag: ETag,
    /// What a later version wrote beside the attributes.
    unknown: Map<String, Value>,
}

impl Stored {
    fn read(row: &Row) -> Result<Self, FormatError> {
        let stamp: Stamp = rows::stamp(row)?;
        let body: ResourceBody = rows::body(row)?;
        Ok(Self {
            envelope: Envelope {
                id: body.id,
                created: body.created,
                last_modified: stamp.modified,
                version: stamp.version,
            },
            attributes: Attributes::from_stored(body.attributes),
            stamp: stamp.stamp,
            etag: row.etag.clone(),
            unknown: body.unknown,
        })
    }

    /// The complete SCIM document; `base_url` is where the client found us.
    pub fn document(&self, resource_type: &ResourceType, base_url: &str) -> Map<String, Value> {
        resource::document(resource_type, &self.envelope, &self.attributes, base_url)
    }
}

/// What a client said of the version it expects: `If-Match` (RFC 7644 §3.14).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: the last write wins, but none is lost.
    #[default]
    None,
    /// Any version, as long as the resource exists.
    Exists,
    /// One of these versions.
    Version(Vec<String>),
}

impl Precondition {
    fn check(&self, version: &str) -> Result<(), Refused> {
        match self {
            Self::Version(versions) if !versions.iter().any(|one| one == version) => {
                Err(Rule::PreconditionFailed.error())
            }
            _ => Ok(()),
        }
    }
}

/// One tenant's resources, for the time of one request.
pub struct Directory {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Time and ids.
    pub ambient: Arc<dyn Ambient>,
    /// Whose they are, and who asks.
    pub access: Arc<Access>,
    /// Until when an answer is worth something.
    pub deadline: Instant,
}

impl Directory {
    /// Makes a resource (RFC 7644 §3.3).
    pub async fn create(&self, of: &ResourceType, document: Value, trace: &mut Trace) -> Result<Stored, Error> {
        let attributes = attributes::accept(of, document, trace)?.attributes;
        let id = self.ambient.new_id().to_string();
        self.write(of, &id, write::Kind::Create, None, Some(attributes)).await
    }

    /// The resource with this id (RFC 7644 §3.4.1).
    pub async fn read(&self, of: &ResourceType, id: &str) -> Result<Stored, Error> {
        let found = self.read_all(of, &[id]).await?.pop().flatten();
        found.ok_or_else(|| Rule::NotFound.at(of.name.as_str()).into())
    }

    /// Puts a document in a resource's place (RFC 7644 §3.5.1).
    pub async fn replace(
        &self,
        of: &ResourceType,
        id: &str,
        expected: &Precondition,
        document: &Value,
        trace: &mut Trace,
    ) -> Result<Stored, Error> {
        let edit = |before: &Attributes, trace: &mut Trace| {
            attributes::replace(of, before, document.clone(), trace).map(|accepted| accepted.attributes)
        };
        self.edit(of, id, write::Kind::Replace, expected, edit, trace).await
    }

    /// Applies a PATCH message to a resource: all of it or nothing (RFC 7644 §3.5.2).
    pub async fn patch(
        &self,
        of: &ResourceType,
        id: &str,
        expected: &Precondition,
        message: &Value,
        trace: &mut Trace,
    ) -> Result<Stored, Error> {
        let edit = |before: &Attributes, trace: &mut Trace| {
            patch::apply(of, before, message.clone(), trace).map(|accepted| accepted.attributes)
        };
        self.edit(of, id, write::Kind::Patch, expected, edit, trace).await
    }

    /// Removes a resource (RFC 7644 §3.6).
    pub async fn delete(&self, of: &ResourceType, id: &str, expected: &Precondition) -> Result<(), Error> {
        loop {
            let before = self.read(of, id).await?;
            expected.check(&before.envelope.version)?;
            match self.write(of, id, write::Kind::Delete, Some(&before), None).await {
                Err(error) if self.worth_another_try(&error) => pause().await,
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Reads, edits and writes until nobody writes in between. A result equal to what was there is not written: it keeps
    /// version and lastModified and makes no event.
    async fn edit(
        &self,
        of: &ResourceType,
        id: &str,
        kind: write::Kind,
        expected: &Precondition,
        edit: impl Fn(&Attributes, &mut Trace) -> Result<Attributes, Refused>,
        trace: &mut Trace,
    ) -> Result<Stored, Error> {
        loop {
            let before = self.read(of, id).await?;
            expected.check(&before.envelope.version)?;
            let mut notes = Trace::default();
            let after = edit(&before.attributes, &mut notes)?;
            if after == before.attributes {
                *trace = notes;
                return Ok(before);
            }
            match self.write(of, id, kind, Some(&before), Some(after)).await {
                Err(error) if self.worth_another_try(&error) => pause().await,
                other => {
                    *trace = notes;
                    return other;
                }
            }
        }
    }

    /// The resource was written by someone else after we read it, and there is time to look again.
    fn worth_another_try(&self, error: &Error) -> bool {
        let changed = matches!(error, Error::Store(store::Error::Changed(_) | store::Error::Missing(_)));
        changed && Instant::now() < self.deadline
    }

    /// The resources with these ids, in one round trip.
    async fn read_all(&self, of: &ResourceType, ids: &[&str]) -> Result<Vec<Option<Stored>>, Error> {
        let keys: Vec<String> = ids.iter().map(|id| rows::resource_key(index::kind(of), id)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let rows = settle::patient_get(&*self.store, &self.access.tenant.id, &keys, self.deadline).await?;
        let read = |(row, id): (Option<Row>, &&str)| match row.as_ref().map(Stored::read) {
            // Two ids could share a key only if one was made to: the id itself decides.
            Some(Ok(stored)) => Ok(Some(stored).filter(|stored| stored.envelope.id == **id)),
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        };
        rows.into_iter().zip(ids).map(read).collect()
    }
}

/// Before the next try against writers who got in between: at random, so that two who met don't meet again.
async fn pause() {
    sleep(Duration::from_micros(fastrand::u64(500..5_000))).await;
}
