//! The one way every change of a resource takes: event, resource, index and membership rows in one commit.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Directory, Error, Stored,
    index::{self, Entry},
    journal::Journal,
    memberships::Memberships,
    pause,
};
use crate::{
    rows::{self, EventBody, FORMAT, GoneStamp, IndexBody, MembersBody, Operation, ResourceBody, Stamp, TraceBody},
    scim::{
        attributes::Attributes,
        error::{Error as Refused, Rule},
        resource::Envelope,
        schema::ResourceType,
    },
    store::{self, Change, Write, settle},
    telemetry, totals,
};

/// What a write does; stands in its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Import(Imported),
    Replace,
    Patch,
    Delete,
    Restore,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Import(_) => "import",
            Self::Replace => "replace",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Restore => "restore",
        }
    }
}

/// What an import says of a resource that another service had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Imported {
    /// When it was made there; nothing: it is now.
    pub(super) created: Option<OffsetDateTime>,
    /// When it was changed there last; nothing: it is now.
    pub(super) modified: Option<OffsetDateTime>,
    /// It is new to the application.
    pub(super) is_new: bool,
}

/// A write that has no time yet: from `before` to `after`, either of which may be nothing. What is restored was its
/// tombstone before.
pub(super) struct Draft<'d> {
    pub(super) of: &'d ResourceType,
    pub(super) id: &'d str,
    pub(super) kind: Kind,
    pub(super) before: Option<&'d Stored>,
    pub(super) after: Option<&'d Attributes>,
    pub(super) memberships: Memberships,
    /// It must be as it was read, although what is written does not need that.
    pub(super) guarded: bool,
}

impl<'d> Draft<'d> {
    /// The resource that is there before it.
    fn there(&self) -> Option<&'d Stored> {
        self.before.filter(|_| self.kind != Kind::Restore)
    }

    /// How many resources more or fewer there are afterwards.
    fn counts(&self) -> Option<i64> {
        match (self.there(), self.after) {
            (None, Some(_)) => Some(1),
            (Some(_), None) => Some(-1),
            _ => None,
        }
    }
}

/// A write that has its time: what one commit, or a part of one, consists of.
pub(super) struct Prepared {
    /// The event first.
    pub(super) changes: Vec<Change>,
    /// The keys of values that nobody else may hold, and of which attribute.
    unique: BTreeMap<String, &'static str>,
    written: Written,
}

/// A written resource, and what of its memberships, or of a deleted one's, is decided but not done yet.
pub(super) struct Written {
    pub(super) stored: Stored,
    pub(super) journal: Option<Journal>,
    pub(super) left: Option<TraceBody>,
}

impl Directory {
    /// Writes in one commit. Fails with [`store::Error::Changed`], [`store::Error::Missing`] or [`store::Error::Exists`]
    /// when somebody wrote one of the rows since they were read.
    pub(super) async fn write(&self, draft: &Draft<'_>) -> Result<Written, Error> {
        loop {
            let operation = self.operation(draft);
            let counted = draft.counts();
            let prepared = self.prepare(draft, &operation, counted);
            let changes = &prepared.changes;
            let done = settle::settle(&*self.store, &self.access.tenant.id, changes, self.deadline).await;
            match done {
                Ok(()) => {
                    if counted.is_some() && totals::is_due(&operation) {
                        self.fold(index::kind(draft.of));
                    }
                    return Ok(prepared.written);
                }
                Err(store::Error::Exists(key)) if prepared.unique.contains_key(&key) => {
                    // Whoever held the value may have let go of it meanwhile; then the write is tried again.
                    match self.taken(draft.of, &key, prepared.unique[&key]).await? {
                        Some(refused) => return Err(refused.into()),
                        None if self.deadline <= Instant::now() => return Err(store::Error::Busy(None).into()),
                        None => pause().await,
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The operation that a write is from now on.
    pub(super) fn operation(&self, draft: &Draft<'_>) -> Operation {
        let newest_read = draft.before.map_or(0, |before| before.stamp);
        Operation::new(self.ambient.now(), newest_read, self.ambient.secret())
    }

    /// The changes of a write; `counted`: what its commit adds to the total.
    pub(super) fn prepare(&self, draft: &Draft<'_>, operation: &Operation, counted: Option<i64>) -> Prepared {
        let mut changes = Vec::new();
        let unique = self.index_changes(draft, &mut changes);
        changes.extend(counted.map(|n| totals::count(index::kind(draft.of), operation, n)));
        // The event and the resource itself are still to come, and the tombstone of one that goes or comes back.
        let has_tombstone = matches!(draft.kind, Kind::Delete | Kind::Restore);
        let others = changes.len() + if has_tombstone { 3 } else { 2 };
        let memberships = draft.memberships.changes(draft, operation, others);
        let guarded = draft.guarded || memberships.guarded;
        let (mut all, stored) = resource_changes(draft, operation, guarded, self.invocation);
        all.insert(
            0,
            self.event(draft, operation, memberships.inline, memberships.parts.len()),
        );
        all.extend(changes);
        all.extend(
            memberships.parts.iter().enumerate().map(|(part, body)| {
                Change::Insert(rows::write(rows::event_part_key(&operation.to_string(), part), body))
            }),
        );
        all.extend(memberships.rows);
        Prepared {
            changes: all,
            unique,
            written: Written {
                stored,
                journal: memberships.journal,
                left: memberships.left,
            },
        }
    }

    fn event(&self, draft: &Draft<'_>, operation: &Operation, members: Option<MembersBody>, parts: usize) -> Change {
        let mut paths = changed_paths(draft.there().map(|there| &there.attributes), draft.after);
        if members.is_some() || parts > 0 {
            paths.push("members".to_owned());
        }
        let body = EventBody {
            paths,
            members,
            parts,
            groups: draft.memberships.rejoined(),
            subjects: self.subjects(draft.of, [draft.before.map(|before| &before.attributes), draft.after]),
            reference: telemetry::noted("scim.correlation_id"),
            is_new: matches!(draft.kind, Kind::Import(imported) if imported.is_new),
            ..self.event_of(draft.kind.name(), (&draft.of.name, draft.id), operation)
        };
        Change::Insert(rows::write(rows::event_key(operation), &body))
    }

    /// What whoever asks does to a resource, given as its type and id.
    pub(super) fn event_of(&self, kind: &str, resource: (&str, &str), operation: &Operation) -> EventBody {
        EventBody::new(kind, resource, &self.access.credential, operation.time())
    }

    /// Adds the changes of the index rows; returns the keys of values that nobody else may hold, and of which attribute.
    fn index_changes(&self, draft: &Draft<'_>, changes: &mut Vec<Change>) -> BTreeMap<String, &'static str> {
        let entries = |attributes: Option<&Attributes>| {
            attributes.map_or_else(BTreeMap::new, |attributes| {
                index::entries(draft.of, &self.access.tenant, draft.id, attributes)
            })
        };
        let old = entries(draft.there().map(|there| &there.attributes));
        let new = entries(draft.after);
        let mut unique = BTreeMap::new();
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            changes.push(Change::Delete(key.clone(), None));
        }
        for (key, Entry { index, value }) in new {
            if old.get(&key).is_some_and(|old| old.value == value) {
                continue;
            }
            let row = rows::write(
                key.clone(),
                &IndexBody {
                    format: FORMAT,
                    id: draft.id.to_owned(),
                    value,
                },
            );
            if index.unique && !old.contains_key(&key) {
                changes.push(Change::Insert(row));
                unique.insert(key, index.attribute());
            } else {
                // Ours already, spelled differently; the resource's etag guards it.
                changes.push(Change::Upsert(row));
            }
        }
        unique
    }

    /// The refusal that names who holds a unique value, or nothing if nobody does any more.
    pub(super) async fn taken(&self, of: &ResourceType, key: &str, attribute: &str) -> Result<Option<Refused>, Error> {
        let row = settle::patient_get(&*self.store, &self.access.tenant.id, &[key], self.deadline)
            .await?
            .pop()
            .flatten();
        let Some(row) = row else { return Ok(None) };
        let holder: IndexBody = rows::body(&row)?;
        let Some(stored) = self.read_all(of, &[&holder.id]).await?.pop().flatten() else {
            return Ok(None);
        };
        let refused = match stored.attributes.as_map().get("active") {
            Some(active) => {
                let state = if active == true { "active" } else { "inactive" };
                Rule::UniqueTaken.at(attribute).with("state", state)
            }
            None => Rule::GroupTaken.at(attribute),
        };
        Ok(Some(refused.with("id", holder.id)))
    }
}

/// The change of the resource's own row, and its tombstone when it goes.
fn resource_changes(
    draft: &Draft<'_>,
    operation: &Operation,
    guarded: bool,
    invocation: Option<Uuid>,
) -> (Vec<Change>, Stored) {
    let before = draft.before;
    let (created, modified) = times(draft, operation);
    let version = operation.to_string();
    let stamp = Stamp {
        modified,
        ..Stamp::of(
            operation,
            match &draft.memberships {
                Memberships::Turn(_) | Memberships::Return(_) => version.clone(),
                _ => before.map(|before| before.members.clone()).unwrap_or_default(),
            },
        )
    };
    let attributes = draft
        .after
        .or(before.map(|before| &before.attributes))
        .cloned()
        .unwrap_or_default();
    let unknown = before.map(|before| before.unknown.clone()).unwrap_or_default();
    let body = ResourceBody {
        format: FORMAT,
        id: draft.id.to_owned(),
        created,
        attributes: attributes.as_map().clone(),
        unknown: unknown.clone(),
    };
    let key = rows::resource_key(index::kind(draft.of), draft.id);
    let write = |key| Write {
        key,
        stamp: rows::encode(&stamp),
        body: rows::encode(&body),
    };
    let changes = match (before, draft.after) {
        (None, _) => vec![Change::Insert(write(key))],
        (Some(tombstone), _) if draft.kind == Kind::Restore => vec![
            Change::Insert(write(key)),
            Change::Delete(rows::gone_key(draft.id), Some(tombstone.etag.clone())),
        ],
        (Some(before), Some(after)) if *after == before.attributes => {
            let etag = guarded.then(|| before.etag.clone());
            vec![Change::Stamp(key, rows::encode(&stamp), etag)]
        }
        (Some(before), Some(_)) => vec![Change::Replace(write(key), before.etag.clone())],
        (Some(before), None) => vec![
            Change::Delete(key, Some(before.etag.clone())),
            Change::Upsert(tombstone(&stamp, &body, invocation)),
        ],
    };
    let stored = Stored {
        envelope: Envelope {
            id: draft.id.to_owned(),
            created,
            last_modified: modified,
            version,
        },
        attributes,
        links: None,
        stamp: operation.stamp,
        members: stamp.members.clone(),
        etag: store::ETag(String::new()),
        unknown,
    };
    (changes, stored)
}

/// When the resource was made, and when it is changed.
fn times(draft: &Draft<'_>, operation: &Operation) -> (OffsetDateTime, OffsetDateTime) {
    let now = operation.time();
    if let Kind::Import(Imported { created, modified, .. }) = draft.kind {
        return (created.unwrap_or(now), modified.unwrap_or(now));
    }
    (draft.before.map_or(now, |before| before.envelope.created), now)
}

fn tombstone(stamp: &Stamp, body: &ResourceBody, invocation: Option<Uuid>) -> Write {
    let stamp = GoneStamp {
        stamp: stamp.clone(),
        invocation: invocation.map(|id| id.to_string()),
        erased: false,
    };
    Write {
        key: rows::gone_key(&body.id),
        stamp: rows::encode(&stamp),
        body: rows::encode(body),
    }
}

/// The top-level attributes that differ, in order.
pub(super) fn changed_paths(before: Option<&Attributes>, after: Option<&Attributes>) -> Vec<String> {
    let empty = Attributes::default();
    let (before, after) = (before.unwrap_or(&empty).as_map(), after.unwrap_or(&empty).as_map());
    let mut paths: Vec<String> = before
        .iter()
        .filter(|(name, value)| after.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    paths.extend(after.keys().filter(|name| !before.contains_key(*name)).cloned());
    paths.sort();
    paths
}
