//! What there is of a resource now: itself, what its tombstone keeps, or nothing.

use std::{collections::BTreeSet, sync::Arc, time::Duration as Step};

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use super::log::Event;
use crate::{
    directory::{Directory, Error, Shown, Stored, subject},
    rows::{self, IndexBody, Key, ResourceBody},
    scim::{attributes::Attributes, error::Rule, projection::Selection, resource::is_id, schema::ResourceType},
    store::Row,
};

/// Most resources that one value leads to.
const MAX_FOUND: usize = 100;

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A user who may come in.
    Active,
    /// A user who may not.
    Inactive,
    /// A group.
    There,
    /// It was deleted; what it was is still kept.
    Deleted,
    /// It was deleted, and what was kept of it erased.
    Erased,
    /// Only events tell of it.
    Gone,
}

/// One resource that has, or had, the name.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// `User` or `Group`; empty if only refusals name it.
    pub resource_type: String,
    /// What became of it.
    pub state: State,
    /// What people call it: `userName`, a group's `displayName`.
    pub name: Option<String>,
    /// The groups that it is in, with their names.
    pub groups: Vec<(String, Option<String>)>,
    /// When it was made.
    pub created: Option<OffsetDateTime>,
    /// When it was deleted, if something of it is kept.
    pub deleted: Option<OffsetDateTime>,
    /// The event of its last change, if that is kept.
    pub last: Option<Event>,
}

impl Directory {
    /// The ids of what has this name now.
    pub(super) async fn holders(&self, name: &str) -> Result<BTreeSet<String>, Error> {
        let mut ids = BTreeSet::new();
        for index in subject::names() {
            let key = index.key(&self.access.tenant, name);
            let found = if index.unique {
                self.rows(&[key]).await?.into_iter().flatten().collect()
            } else {
                self.all_rows(&rows::range(&key)).await?
            };
            for row in found.iter().take(MAX_FOUND) {
                let body: IndexBody = rows::body(row)?;
                ids.extend(index.same(&body.value, name).then_some(body.id));
            }
        }
        Ok(ids)
    }

    /// The ids of what is deleted and had this name: the log may not go back so far.
    pub(super) async fn deleted_holders(&self, name: &str, step: Step) -> Result<BTreeSet<String>, Error> {
        let mut ids = BTreeSet::new();
        self.look_at(rows::GONE_PREFIX, step, |row| {
            let is_tombstone = matches!(Key::parse(&row.key), Some(Key::Tombstone(_)));
            // What can't be read a check tells of.
            if is_tombstone
                && ids.len() < MAX_FOUND
                && let Ok(body) = rows::body::<ResourceBody>(row)
            {
                let is_it = subject::names().any(|index| {
                    let value = body.attributes.get(index.attribute()).and_then(Value::as_str);
                    value.is_some_and(|value| index.same(value, name))
                });
                ids.extend(is_it.then_some(body.id));
            }
        })
        .await?;
        Ok(ids)
    }

    /// Whether something is there, or kept of it, that has this id. It may be somebody's name instead, so storage is asked only for
    /// how its key begins.
    pub(super) async fn is_id(&self, text: &str, step: Step) -> Result<bool, Error> {
        if !is_id(text) {
            return Ok(false);
        }
        let mut is_found = false;
        for key in [
            rows::resource_key("u", text),
            rows::resource_key("g", text),
            rows::gone_key(text),
        ] {
            self.look_at(beginning(&key), step, |row| is_found |= row.key == key)
                .await?;
        }
        Ok(is_found)
    }

    async fn look_at(&self, prefix: &str, step: Step, mut look: impl FnMut(&Row)) -> Result<(), Error> {
        let (mut from, until) = rows::range(prefix);
        loop {
            let page = self.at(step).tombstones((&from, &until)).await?;
            page.rows.iter().for_each(&mut look);
            match page.rows.last() {
                Some(last) if page.more => from = rows::behind(&last.key),
                _ => return Ok(()),
            }
        }
    }

    /// What there is of a resource of any type, deleted or not, and the hashes of its names.
    pub(super) async fn account(&self, id: &str) -> Result<Option<(Account, Vec<String>)>, Error> {
        let catalog = Arc::clone(self.access.catalogs.at(self.ambient.now()));
        for of in &catalog.resource_types {
            let shown = if of.members().is_some() {
                Shown::default()
            } else {
                Shown::read(of, &Selection::default())
            };
            match self.read(of, id, shown).await {
                Ok(stored) => {
                    let subjects = self.subjects(of, [Some(&stored.attributes)]);
                    return Ok(Some((self.there(of, &stored).await?, subjects)));
                }
                Err(Error::Refused(refused)) if refused.rule() == Rule::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let Some(row) = self.rows(&[rows::gone_key(id)]).await?.pop().flatten() else {
            return Ok(None);
        };
        let body: ResourceBody = rows::body(&row)?;
        let attributes = Attributes::from_stored(body.attributes);
        // Nothing is left of who was erased, and only users are.
        let stamp = rows::gone_stamp(&row)?;
        let erased = stamp.erased;
        let is_user = erased || attributes.as_map().contains_key("userName");
        let of = catalog.resource_type(if is_user { "User" } else { "Group" });
        let subjects = of.map(|of| self.subjects(of, [Some(&attributes)])).unwrap_or_default();
        let account = Account {
            state: if erased { State::Erased } else { State::Deleted },
            deleted: Some(stamp.stamp.modified),
            name: text(attributes.as_map(), if is_user { "userName" } else { "displayName" }),
            created: Some(body.created),
            ..Account::gone(&body.id, if is_user { "User" } else { "Group" })
        };
        Ok(Some((account, subjects)))
    }

    async fn there(&self, of: &ResourceType, stored: &Stored) -> Result<Account, Error> {
        let mut document = stored.document(of, "");
        self.name_others(of, &mut document, &Selection::default()).await?;
        let active = stored.attributes.as_map().get("active");
        let state = match active {
            _ if of.members().is_some() => State::There,
            Some(Value::Bool(true)) => State::Active,
            _ => State::Inactive,
        };
        let groups = document.get("groups").and_then(Value::as_array).into_iter().flatten();
        let groups = groups.filter_map(Value::as_object);
        Ok(Account {
            state,
            name: text(
                &document,
                if of.members().is_some() {
                    "displayName"
                } else {
                    "userName"
                },
            ),
            groups: groups
                .filter_map(|group| Some((text(group, "value")?, text(group, "display"))))
                .collect(),
            created: Some(stored.envelope.created),
            ..Account::gone(&stored.envelope.id, &of.name)
        })
    }
}

impl Account {
    /// Until when it can be restored, if what was deleted is kept for so long.
    pub fn until(&self, retention: Duration) -> Option<OffsetDateTime> {
        let deleted = self.deleted.filter(|_| self.state == State::Deleted);
        deleted.map(|deleted| deleted + retention)
    }

    /// One of which nothing but events is left.
    pub(super) fn gone(id: &str, resource_type: &str) -> Self {
        Self {
            id: id.to_owned(),
            resource_type: resource_type.to_owned(),
            state: State::Gone,
            name: None,
            groups: Vec::new(),
            created: None,
            deleted: None,
            last: None,
        }
    }
}

/// So much of a resource's key as names nobody: of an id the first character, of an id's hash what thousands have in common.
fn beginning(key: &str) -> &str {
    let id = key.find('~').map_or(0, |end| end + 1);
    let length = if key[id..].starts_with('_') { 4 } else { 1 };
    &key[..id + length]
}

fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    map.get(name)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{beginning, rows};

    /// It goes into the address of a call to storage.
    #[test]
    fn no_name_is_told_by_the_beginning_of_a_key() {
        assert_eq!(beginning(&rows::resource_key("u", "bjensen")), "u~b");
        assert_eq!(beginning(&rows::gone_key("b")), "gone~b");
        let hashed = rows::resource_key("u", "bjensen@example.com");
        assert_eq!(beginning(&hashed), &hashed[.."u~_abc".len()]);
    }
}
