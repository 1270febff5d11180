//! One tenant's resources: the only room that knows both SCIM and the store.
//!
//! Reading order: this file (the operations), `write` (the one way every change takes), `index` (which values can be
//! looked up), `edges` and `pending` (memberships as they are read), `members`, `memberships` and `journal` (and as they are
//! written), `names` (of other resources); then queries: `query` (what is asked for), `list` (everything), `marks` (where its
//! pages begin), `sift` (what a filter matches), `plan` (by which way), `sorted`, `page`, `cursor`, and `shared` (between
//! requests), `held` (memory), `gone` (what is deleted); last `handover`, `survey` (schemas that change), `check`, `history`,
//! `import`.

use std::{fmt, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, future::try_join, stream};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    ambient::Ambient,
    rows::{self, FormatError, ResourceBody, Stamp},
    scim::{
        attributes::{self, Attributes},
        error::{Error as Refused, Rule},
        limits::MAX_RESOURCE_BYTES,
        members::{Member, mentioned, placeholder},
        normalize::Trace,
        patch,
        resource::{self, Envelope},
        schema::ResourceType,
        write::Write,
    },
    store::{self, ETag, Row, Store},
    tenants::Access,
    totals,
};

pub mod check;
mod cursor;
mod edges;
mod edit;
mod gone;
mod handover;
mod held;
pub mod history;
pub mod import;
mod index;
mod journal;
#[cfg(test)]
mod linear;
mod linked;
mod links;
mod list;
mod marks;
mod members;
mod memberships;
mod names;
mod page;
mod pending;
mod plan;
mod query;
mod shared;
mod sift;
mod sorted;
mod spread;
pub mod subject;
mod survey;
#[cfg(test)]
mod tests;
mod write;

pub use gone::{Denied, Erased, Kept, Purged, Restorable, Restored};
use handover::agreed;
pub use held::{Budget, Held};
use links::Links;
pub use links::Shown;
pub use page::{Found, Listed};
pub use shared::Shared;
pub use sift::MAX_SCANNED;
pub use survey::Survey;

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

    /// A row makes no sense: to come back is of no use.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Format(FormatError::Broken { .. }))
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
            store::Error::TooLarge(_) => Self::Refused(
                Rule::ResourceTooLarge
                    .error()
                    .with("limit", MAX_RESOURCE_BYTES.to_string()),
            ),
            error => Self::Store(error),
        }
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

/// Most calls to the store that one request has under way at a time.
const MAX_PARALLEL: usize = 8;

impl From<totals::Error> for Error {
    fn from(error: totals::Error) -> Self {
        match error {
            totals::Error::Store(error) => error.into(),
            totals::Error::Format(error) => error.into(),
            totals::Error::Torn => store::Error::Busy(None).into(),
        }
    }
}

/// A resource as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// `id`, times and version.
    pub envelope: Envelope,
    /// Everything the client gave.
    pub attributes: Attributes,
    /// Its memberships, if they were read.
    links: Option<Links>,
    /// The newest stamp of the row, for the hybrid clock.
    stamp: u64,
    /// Of a group: the operation that changed its memberships last; empty if that was another resource's, or a version
    /// that did not note it.
    members: String,
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
            links: None,
            stamp: stamp.stamp,
            members: stamp.members,
            etag: row.etag.clone(),
            unknown: body.unknown,
        })
    }

    /// The complete SCIM document; `base_url` is where the client found us.
    pub fn document(&self, resource_type: &ResourceType, base_url: &str) -> Map<String, Value> {
        let mut document = resource::document(resource_type, &self.envelope, &self.attributes, base_url);
        match (&self.links, self.many_members()) {
            (_, Some((attribute, _))) => _ = document.insert(attribute.to_owned(), placeholder()),
            (Some(links), None) => links.add_to(&mut document, base_url),
            (None, None) => {}
        }
        document
    }

    /// The members of a group that has many, and the name of the attribute: [`Self::document`] holds a placeholder for
    /// them, to be written as a [`LongDocument`](crate::scim::members::LongDocument).
    pub fn many_members(&self) -> Option<(&'static str, &[Member])> {
        self.links.as_ref()?.many_members()
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
    /// Whether a resource of this version is as expected.
    pub fn is_met_by(&self, version: &str) -> bool {
        match self {
            Self::None | Self::Exists => true,
            Self::Version(versions) => versions.iter().any(|one| one == version),
        }
    }

    fn check(&self, version: &str) -> Result<(), Refused> {
        let met = self.is_met_by(version);
        met.then_some(()).ok_or_else(|| Rule::PreconditionFailed.error())
    }
}

/// One tenant's resources, for the time of one request.
#[derive(Clone)]
pub struct Directory {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Time and ids.
    pub ambient: Arc<dyn Ambient>,
    /// Whose they are, and who asks.
    pub access: Arc<Access>,
    /// Until when an answer is worth something.
    pub deadline: Instant,
    /// What the process's other requests have found out.
    pub shared: Arc<Shared>,
    /// What the request holds in memory.
    pub held: Arc<Held>,
    /// The Functions host's id of the request, the same when the host sends it again.
    pub invocation: Option<Uuid>,
}

impl Directory {
    /// Performs one write: the resource as it is then, with the memberships that are `shown`; none after a removal. What
    /// `expected` says does not apply to what is not there yet.
    pub async fn perform(
        &self,
        of: &ResourceType,
        write: Write,
        expected: &Precondition,
        shown: Shown,
        trace: &mut Trace,
    ) -> Result<Option<Stored>, Error> {
        self.note_sent(of, &write);
        match write {
            Write::Create { document } => self.create(of, shown, document, trace).await.map(Some),
            Write::Replace { id, document } => {
                let replaced = self.replace(of, &id, expected, shown, &document, trace).await;
                replaced.map(Some)
            }
            Write::Patch { id, message } => {
                let patched = self.patch(of, &id, expected, shown, &message, trace).await;
                patched.map(Some)
            }
            Write::Delete { id } => self.delete(of, &id, expected).await.map(|()| None),
        }
    }

    /// Makes a resource (RFC 7644 §3.3).
    pub async fn create(
        &self,
        of: &ResourceType,
        shown: Shown,
        document: Value,
        trace: &mut Trace,
    ) -> Result<Stored, Error> {
        let otherwise = self.beside(of)?;
        let otherwise = otherwise.map(|of| attributes::accept(of, document.clone(), &mut Trace::default()));
        let accepted = agreed(attributes::accept(of, document, trace), otherwise)?;
        let id = self.ambient.new_id().to_string();
        self.make(of, &id, shown, &accepted, trace).await
    }

    /// The resource with this id (RFC 7644 §3.4.1).
    pub async fn read(&self, of: &ResourceType, id: &str, shown: Shown) -> Result<Stored, Error> {
        let Some(range) = shown.range(of, id) else {
            return self.read_one(of, id).await;
        };
        let limit = shown.limit(of);
        let (mut stored, mut seen) = try_join(self.read_one(of, id), self.edges(&range, limit)).await?;
        if of.members().is_some() && !self.agree(&stored, &seen) {
            (stored, seen) = Box::pin(self.read_until_they_agree(of, id, (&range, limit))).await?;
        }
        stored.links = self.links(of, seen, shown).await?;
        Ok(stored)
    }

    /// Puts a document in a resource's place (RFC 7644 §3.5.1).
    pub async fn replace(
        &self,
        of: &ResourceType,
        id: &str,
        expected: &Precondition,
        shown: Shown,
        document: &Value,
        trace: &mut Trace,
    ) -> Result<Stored, Error> {
        let edit = |of: &_, before: &_, trace: &mut _| attributes::replace(of, before, document.clone(), trace);
        let request = edit::Request {
            of,
            id,
            kind: write::Kind::Replace,
            expected,
            shown,
            mentioned: Vec::new(),
        };
        self.edit(&request, edit, trace).await
    }

    /// Applies a PATCH message to a resource: all of it or nothing (RFC 7644 §3.5.2).
    pub async fn patch(
        &self,
        of: &ResourceType,
        id: &str,
        expected: &Precondition,
        shown: Shown,
        message: &Value,
        trace: &mut Trace,
    ) -> Result<Stored, Error> {
        let edit = |of: &_, before: &_, trace: &mut _| patch::apply(of, before, message.clone(), trace);
        let request = edit::Request {
            of,
            id,
            kind: write::Kind::Patch,
            expected,
            shown,
            mentioned: of
                .members()
                .map_or_else(Vec::new, |members| mentioned(&members.name, message)),
        };
        self.edit(&request, edit, trace).await
    }

    async fn read_one(&self, of: &ResourceType, id: &str) -> Result<Stored, Error> {
        let found = self.noted(of, self.read_all(of, &[id]).await?.pop().flatten());
        found.ok_or_else(|| Rule::NotFound.at(of.name.as_str()).into())
    }

    /// The resources with these ids, in one round trip.
    async fn read_all(&self, of: &ResourceType, ids: &[&str]) -> Result<Vec<Option<Stored>>, Error> {
        let keys: Vec<String> = ids.iter().map(|id| rows::resource_key(index::kind(of), id)).collect();
        let rows = self.rows(&keys).await?;
        self.hold(rows.iter().flatten())?;
        let read = |(row, id): (Option<Row>, &&str)| match row.as_ref().map(Stored::read) {
            // Two ids could share a key only if one was made to: the id itself decides.
            Some(Ok(stored)) => Ok(Some(stored).filter(|stored| stored.envelope.id == **id)),
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        };
        rows.into_iter().zip(ids).map(read).collect()
    }
}

/// The results of as many calls as one request may have, in order.
async fn in_parallel<T>(calls: Vec<impl Future<Output = Result<T, Error>>>) -> Result<Vec<T>, Error> {
    stream::iter(calls).buffered(MAX_PARALLEL).try_collect().await
}

/// Before the next try against writers who got in between: at random, so that two who met don't meet again.
async fn pause() {
    sleep(Duration::from_micros(fastrand::u64(500..5_000))).await;
}
