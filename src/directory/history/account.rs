//! What there is of a resource now: itself, what its tombstone keeps, or nothing.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::log::Event;
use crate::{
    directory::{Directory, Error, Shown, Stored, subject},
    rows::{self, IndexBody, Key, ResourceBody},
    scim::{attributes::Attributes, error::Rule, projection::Selection, schema::ResourceType},
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
    pub(super) async fn deleted_holders(&self, name: &str) -> Result<BTreeSet<String>, Error> {
        let (mut from, until) = rows::range(rows::GONE_PREFIX);
        let mut ids = BTreeSet::new();
        loop {
            let page = self.tombstones((&from, &until)).await?;
            for row in &page.rows {
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
            }
            match page.rows.last() {
                Some(last) if page.more => from = rows::behind(&last.key),
                _ => return Ok(ids),
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
        let erased = rows::gone_stamp(&row)?.erased;
        let is_user = erased || attributes.as_map().contains_key("userName");
        let of = catalog.resource_type(if is_user { "User" } else { "Group" });
        let subjects = of.map(|of| self.subjects(of, [Some(&attributes)])).unwrap_or_default();
        let account = Account {
            state: if erased { State::Gone } else { State::Deleted },
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
    /// One of which nothing but events is left.
    pub(super) fn gone(id: &str, resource_type: &str) -> Self {
        Self {
            id: id.to_owned(),
            resource_type: resource_type.to_owned(),
            state: State::Gone,
            name: None,
            groups: Vec::new(),
            created: None,
            last: None,
        }
    }
}

fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    map.get(name)?.as_str().map(str::to_owned)
}
