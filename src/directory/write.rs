//! The one way every change of a resource takes: event, resource and index rows in one commit.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::{
    rows::{self, EventBody, FORMAT, IndexBody, Operation, ResourceBody, Stamp},
    scim::{
        attributes::Attributes,
        error::{Error as Refused, Rule},
        resource::Envelope,
        schema::ResourceType,
    },
    store::{self, Change, Write, settle},
};

use super::{Directory, Error, Stored, index, pause};

/// What a write does; stands in its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Replace,
    Patch,
    Delete,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

impl Directory {
    /// Takes a resource from `before` to `after` in one commit; either may be nothing. Fails with
    /// [`store::Error::Changed`] when somebody wrote the resource since it was read.
    pub(super) async fn write(
        &self,
        of: &ResourceType,
        id: &str,
        kind: Kind,
        before: Option<&Stored>,
        after: Option<Attributes>,
    ) -> Result<Stored, Error> {
        loop {
            let newest_read = before.map_or(0, |before| before.stamp);
            let operation = Operation::new(self.ambient.now(), newest_read, self.ambient.secret());
            let mut changes = vec![self.event(of, id, kind, &operation, before, after.as_ref())];
            let stored = resource_changes(of, id, &operation, before, after.as_ref(), &mut changes);
            let unique = self.index_changes(of, id, before, after.as_ref(), &mut changes);
            let done = settle::settle(&*self.store, &self.access.tenant.id, &changes, self.deadline).await;
            match done {
                Ok(()) => return Ok(stored),
                Err(store::Error::Exists(key)) if unique.contains(&key) => {
                    // Whoever held the value may have let go of it meanwhile; then the write is tried again.
                    match self.taken(of, &key).await? {
                        Some(refused) => return Err(refused.into()),
                        None if self.deadline <= Instant::now() => return Err(store::Error::Busy(None).into()),
                        None => pause().await,
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn event(
        &self,
        of: &ResourceType,
        id: &str,
        kind: Kind,
        operation: &Operation,
        before: Option<&Stored>,
        after: Option<&Attributes>,
    ) -> Change {
        let body = EventBody {
            format: FORMAT,
            kind: kind.name().to_owned(),
            resource_type: of.name.clone(),
            id: id.to_owned(),
            actor: self.access.credential.clone(),
            paths: changed_paths(before.map(|before| &before.attributes), after),
            time: operation.time(),
        };
        Change::Insert(rows::write(rows::event_key(operation), &body))
    }

    /// Adds the changes of the index rows; returns the keys of values that must not be held by anyone else.
    fn index_changes(
        &self,
        of: &ResourceType,
        id: &str,
        before: Option<&Stored>,
        after: Option<&Attributes>,
        changes: &mut Vec<Change>,
    ) -> Vec<String> {
        let entries = |attributes: Option<&Attributes>| {
            attributes.map_or_else(BTreeMap::new, |attributes| {
                index::entries(of, &self.access.tenant, id, attributes)
            })
        };
        let old = entries(before.map(|before| &before.attributes));
        let new = entries(after);
        let mut unique = Vec::new();
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            changes.push(Change::Delete(key.clone(), None));
        }
        for (key, (is_unique, value)) in new {
            if old.get(&key).is_some_and(|(_, old)| *old == value) {
                continue;
            }
            let row = rows::write(
                key.clone(),
                &IndexBody {
                    format: FORMAT,
                    id: id.to_owned(),
                    value,
                },
            );
            if is_unique && !old.contains_key(&key) {
                changes.push(Change::Insert(row));
                unique.push(key);
            } else {
                // Ours already, spelled differently; the resource's etag guards it.
                changes.push(Change::Upsert(row));
            }
        }
        unique
    }

    /// The refusal that names who holds a unique value, or nothing if nobody does any more.
    async fn taken(&self, of: &ResourceType, key: &str) -> Result<Option<Refused>, Error> {
        let row = settle::patient_get(&*self.store, &self.access.tenant.id, &[key], self.deadline)
            .await?
            .pop()
            .flatten();
        let Some(row) = row else { return Ok(None) };
        let holder: IndexBody = rows::body(&row)?;
        let Some(stored) = self.read_all(of, &[&holder.id]).await?.pop().flatten() else {
            return Ok(None);
        };
        let active = stored
            .attributes
            .as_map()
            .get("active")
            .is_none_or(|active| active == true);
        let state = if active { "active" } else { "inactive" };
        Ok(Some(
            Rule::UniqueTaken
                .at("userName")
                .with("id", holder.id)
                .with("state", state),
        ))
    }
}

/// Adds the change of the resource's own row, and its tombstone when it goes.
fn resource_changes(
    of: &ResourceType,
    id: &str,
    operation: &Operation,
    before: Option<&Stored>,
    after: Option<&Attributes>,
    changes: &mut Vec<Change>,
) -> Stored {
    let created = before.map_or(operation.time(), |before| before.envelope.created);
    let version = operation.to_string();
    let stamp = Stamp {
        format: FORMAT,
        version: version.clone(),
        stamp: operation.stamp,
        modified: operation.time(),
    };
    let attributes = after
        .or(before.map(|before| &before.attributes))
        .cloned()
        .unwrap_or_default();
    let unknown = before.map(|before| before.unknown.clone()).unwrap_or_default();
    let body = ResourceBody {
        format: FORMAT,
        id: id.to_owned(),
        created,
        attributes: attributes.as_map().clone(),
        unknown: unknown.clone(),
    };
    let key = rows::resource_key(index::kind(of), id);
    let write = |key| Write {
        key,
        stamp: rows::encode(&stamp),
        body: rows::encode(&body),
    };
    match (before, after) {
        (None, _) => changes.push(Change::Insert(write(key))),
        (Some(before), Some(_)) => changes.push(Change::Replace(write(key), before.etag.clone())),
        (Some(before), None) => {
            changes.push(Change::Delete(key, Some(before.etag.clone())));
            changes.push(Change::Upsert(write(rows::gone_key(id))));
        }
    }
    Stored {
        envelope: Envelope {
            id: id.to_owned(),
            created,
            last_modified: operation.time(),
            version,
        },
        attributes,
        stamp: operation.stamp,
        etag: store::ETag(String::new()),
        unknown,
    }
}

/// The top-level attributes that differ, in order.
fn changed_paths(before: Option<&Attributes>, after: Option<&Attributes>) -> Vec<String> {
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
