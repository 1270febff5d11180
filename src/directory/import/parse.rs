//! From a line to what is to be stored.

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use time::{OffsetDateTime, UtcOffset};

use super::conflict::Why;
use crate::{
    directory::{Directory, index},
    scim::{
        attributes::{Attributes, accept_any_number},
        error::Rule,
        json,
        members::{Kind, Member},
        normalize::{Quirk, Trace},
        resource::{is_id, parse_date_time},
        schema::{Catalog, ENTERPRISE_USER_URN, ResourceType},
    },
};

/// Bytes of memory that a line takes as JSON ([`json::memory`]).
const MAX_LINE_MEMORY: usize = 512 * 1024 * 1024;

/// A resource as a line describes it.
pub(super) struct Described {
    pub(super) of: Arc<ResourceType>,
    pub(super) kind: Kind,
    pub(super) id: Option<String>,
    pub(super) created: Option<OffsetDateTime>,
    pub(super) modified: Option<OffsetDateTime>,
    pub(super) attributes: Attributes,
    pub(super) members: Vec<Member>,
}

/// A line that describes nothing that could be stored.
pub(super) struct Odd {
    /// Whom it seems to be about.
    pub(super) id: Option<String>,
    pub(super) why: Why,
}

impl From<Why> for Odd {
    fn from(why: Why) -> Self {
        Self { id: None, why }
    }
}

/// Reads a line that another service, or this one, has written.
pub(super) fn describe(text: &[u8], catalog: &Catalog, now: OffsetDateTime) -> Result<Described, Odd> {
    let mut document = document(text)?;
    let id = match take(&mut document, "id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if is_id(&id) && id != "." && id != ".." => Some(id),
        Some(Value::Number(id)) if id.is_u64() => Some(id.to_string()),
        Some(_) => return Err(Why::Id.into()),
    };
    resource(document, id.clone(), catalog, now).map_err(|why| Odd { id, why })
}

fn document(text: &[u8]) -> Result<Map<String, Value>, Why> {
    if json::memory(text) > MAX_LINE_MEMORY {
        return Err(Why::TooLong);
    }
    match json::parse(text) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(_) => Err(Why::NoType),
        Err(error) if error.rule() == Rule::BodyNotJson => Err(Why::NotJson(column(text))),
        Err(error) => Err(Why::refused(&error)),
    }
}

fn resource(
    mut document: Map<String, Value>,
    id: Option<String>,
    catalog: &Catalog,
    now: OffsetDateTime,
) -> Result<Described, Why> {
    let meta = take(&mut document, "meta");
    let kind = kind(&document, meta.as_ref(), catalog)?;
    let times = |name| time(meta.as_ref(), name, now);
    let created = times("created").map_err(|()| Why::Time("meta.created"))?;
    let modified = times("lastModified").map_err(|()| Why::Time("meta.lastModified"))?;
    let of = type_of(kind, catalog);
    if !has(&document, "schemas") {
        document.insert("schemas".to_owned(), vec![of.schema.id.as_str()].into());
    }
    let mut trace = Trace::default();
    let (attributes, members) =
        accept_any_number(of, Value::Object(document), &mut trace).map_err(|error| Why::refused(&error))?;
    let unknown = trace
        .notes()
        .iter()
        .filter(|note| note.quirk == Quirk::UnknownAttribute);
    let unknown: Vec<String> = unknown.map(|note| note.path.clone()).collect();
    if !unknown.is_empty() {
        return Err(Why::Unknown(unknown));
    }
    // Some that found no room may have been of that kind.
    if trace.dropped() > 0 {
        return Err(Why::Unclear);
    }
    if id.is_some() && members.iter().any(|member| Some(&member.id) == id.as_ref()) {
        return Err(Why::OwnMember);
    }
    Ok(Described {
        of: Arc::clone(of),
        kind,
        id,
        created: created.or(modified),
        modified: modified.map(|modified| created.map_or(modified, |created| modified.max(created))),
        attributes,
        members,
    })
}

impl Described {
    /// What it names as its manager.
    pub(super) fn manager(&self) -> Option<&str> {
        let extension = self.attributes.as_map().get(ENTERPRISE_USER_URN)?;
        extension.get("manager")?.get("value")?.as_str()
    }
}

impl Directory {
    /// The key of the row that says who has what only one resource may have, and what that is.
    pub(super) fn unique_key(&self, of: &ResourceType, attributes: &Attributes) -> Option<(String, &'static str)> {
        let mut entries = index::entries(of, &self.access.tenant, "", attributes).into_iter();
        let (key, entry) = entries.find(|(_, entry)| entry.index.unique)?;
        Some((key, entry.index.name()))
    }
}

/// Where the text stops being JSON.
fn column(text: &[u8]) -> usize {
    serde_json::from_slice::<IgnoredAny>(text.trim_ascii_end()).map_or_else(|error| error.column(), |_| text.len())
}

fn take(document: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = document.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()?;
    document.shift_remove(&key)
}

fn has(document: &Map<String, Value>, name: &str) -> bool {
    document.keys().any(|key| key.eq_ignore_ascii_case(name))
}

fn type_of(kind: Kind, catalog: &Catalog) -> &Arc<ResourceType> {
    catalog
        .resource_type(kind.keyword())
        .expect("every catalog has users and groups")
}

/// What the line says that it is; else what its attributes let nobody else be. A user who lacks a `userName` is refused as
/// one, not taken for a group.
fn kind(document: &Map<String, Value>, meta: Option<&Value>, catalog: &Catalog) -> Result<Kind, Why> {
    let schemas = document.iter().find(|(key, _)| key.eq_ignore_ascii_case("schemas"));
    let schemas = schemas.map_or(&[][..], |(_, urns)| match urns {
        Value::Array(urns) => urns,
        urn => std::slice::from_ref(urn),
    });
    let has_schema = |kind: &Kind| {
        let urn = &type_of(*kind, catalog).schema.id;
        schemas
            .iter()
            .any(|one| one.as_str().is_some_and(|one| one.eq_ignore_ascii_case(urn)))
    };
    let is_of = |kind, key: &str| {
        let of = type_of(kind, catalog);
        of.attribute(key).is_some() || of.extension(key).is_some() || of.extension_of(key).is_some()
    };
    let is_users = |key: &String| is_of(Kind::User, key) && !is_of(Kind::Group, key);
    let told = meta.and_then(|meta| meta.get("resourceType")).and_then(Value::as_str);
    told.and_then(Kind::from_keyword)
        .or_else(|| [Kind::User, Kind::Group].into_iter().find(has_schema))
        .or_else(|| has(document, "userName").then_some(Kind::User))
        .or_else(|| has(document, "members").then_some(Kind::Group))
        .or_else(|| document.keys().any(is_users).then_some(Kind::User))
        .or_else(|| has(document, "displayName").then_some(Kind::Group))
        .ok_or(Why::NoType)
}

fn time(meta: Option<&Value>, name: &str, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, ()> {
    match meta.and_then(|meta| meta.get(name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let time = parse_date_time(text).filter(|time| *time <= now).ok_or(())?;
            // As every time of ours.
            let time = time.to_offset(UtcOffset::UTC);
            Ok(time.replace_millisecond(time.millisecond()).ok())
        }
        Some(_) => Err(()),
    }
}
