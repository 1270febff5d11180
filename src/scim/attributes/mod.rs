//! The door: a client's JSON becomes [`Attributes`], or is refused.
//!
//! Inside, every name has its canonical spelling, every value its schema's type, nothing is null or empty, nothing is
//! read-only and everything required is there. So the rest of the code indexes by exact name and trusts what it finds.

mod identity;
mod immutable;
mod members;
mod stored;
mod values;

pub(super) use self::identity::Identity;
pub use self::immutable::check_immutable;
pub(super) use self::members::accept_members;
pub use self::stored::{Misfit, misfits};
pub(super) use self::values::{accept_value, join_duplicates, referred};

use std::collections::HashMap;

use serde_json::{Map, Value};

use self::immutable::keep_immutable;
use self::values::{accept_attribute, wrong_type};
use super::error::{Error, Rule};
use super::limits::MAX_RESOURCE_BYTES;
use super::members::{Edits, Member};
use super::normalize::{Quirk, Trace};
use super::schema::{Attribute, Extension, Mutability, ResourceType, Type};

/// Entra adds a schema of its own to `schemas` of groups, and means nothing by it.
const ADSCIM_PREFIX: &str = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/";

/// What all core schemas' URNs begin with: tells a schema of another endpoint from one nobody knows.
const CORE_PREFIX: &str = "urn:ietf:params:scim:schemas:core:2.0:";

/// A resource's attributes as they are stored: `externalId` and the core ones at the top, an extension's in an object
/// under its URN. Never a group's members, which are kept apart. Made by this module only. Those of extensions may be of
/// an earlier schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Map<String, Value>);

/// Every user has it, so it is required; but who leaves it out leaves it as it was, and a new user is active.
pub(super) const ACTIVE: &str = "active";

impl Attributes {
    /// The attributes by canonical name; never null, `[]` or `{}`.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The attributes that [`Self::as_map`] gave when they were stored. Not for what a client sent.
    pub fn from_stored(map: Map<String, Value>) -> Attributes {
        Attributes(map)
    }
}

/// What a request makes of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// What is stored of it.
    pub attributes: Attributes,
    /// What becomes of its members, which are kept apart; empty for a type that has none.
    pub members: Edits,
}

/// Accepts the body of a create (RFC 7644 §3.3). A user without `active` is active.
pub fn accept(rt: &ResourceType, document: Value, trace: &mut Trace) -> Result<Accepted, Error> {
    let (attributes, sent) = accept_any_number(rt, document, trace)?;
    let mut members = Edits::default();
    members.add(sent);
    let members = members.checked()?;
    Ok(Accepted { attributes, members })
}

/// The same with any number of members, which nothing is known of: for a group that grew elsewhere.
pub fn accept_any_number(
    rt: &ResourceType,
    document: Value,
    trace: &mut Trace,
) -> Result<(Attributes, Vec<Member>), Error> {
    let (mut attributes, members) = accept_document(rt, document, trace)?;
    if has_active(rt) {
        attributes.0.entry(ACTIVE).or_insert(Value::Bool(true));
    }
    Ok((attributes, members))
}

/// Accepts the body of a replace (RFC 7644 §3.5.1) of a resource that was `before`.
///
/// `active` left out keeps its value: Okta's PUT often lacks it, and neither a leaver must come back nor anyone be
/// locked out by that. Immutable attributes left out keep theirs too, and so does what the schemas do not show. Members
/// left out are members no longer.
pub fn replace(rt: &ResourceType, before: &Attributes, document: Value, trace: &mut Trace) -> Result<Accepted, Error> {
    let (stored, before) = (before, &*before.visible(rt));
    let (mut after, sent) = accept_document(rt, document, trace)?;
    keep_immutable(rt, before, &mut after);
    keep_active(rt, before, &mut after);
    check_immutable(rt, before, &after)?;
    after.keep_hidden(stored, before);
    let mut members = Edits::default();
    if rt.members().is_some() {
        members.replace(sent);
    }
    Ok(Accepted {
        attributes: after,
        members: members.checked()?,
    })
}

/// Gives `active` the value it had where a change left it out; true if it did. There is no third state: someone who was
/// neither active nor inactive would be let in by whoever asks "is it false?".
pub(super) fn keep_active(rt: &ResourceType, before: &Attributes, after: &mut Attributes) -> bool {
    let keeps = has_active(rt) && !after.0.contains_key(ACTIVE);
    if keeps {
        let active = before.0.get(ACTIVE).cloned().unwrap_or(Value::Bool(true));
        after.0.insert(ACTIVE.into(), active);
    }
    keeps
}

/// Accepts a resource's attributes: every check but `schemas`, which are derived, not stored.
pub fn accept_edited(rt: &ResourceType, document: Map<String, Value>, trace: &mut Trace) -> Result<Attributes, Error> {
    Ok(accept_all(rt, document, None, trace)?.0)
}

/// Accepts what a PATCH made of the attributes of `before`. What an extension requires and `before` lacks already is not
/// asked for: a schema that was changed must not keep a leaver from being deactivated.
pub(super) fn accept_patched(
    rt: &ResourceType,
    document: Map<String, Value>,
    before: &Attributes,
    trace: &mut Trace,
) -> Result<Attributes, Error> {
    Ok(accept_all(rt, document, Some(before), trace)?.0)
}

/// The attributes that are stored, and the members that are not.
fn accept_all(
    rt: &ResourceType,
    document: Map<String, Value>,
    before: Option<&Attributes>,
    trace: &mut Trace,
) -> Result<(Attributes, Vec<Member>), Error> {
    let mut sorted = Sorted::default();
    for (key, value) in document {
        sorted.place(rt, &key, value, trace)?;
    }
    let members = match rt.members() {
        Some(attribute) => {
            let sent = sorted.core.shift_remove(&attribute.name).unwrap_or_default();
            accept_members(attribute, None, sent, trace)?
        }
        None => Vec::new(),
    };
    let mut map = Map::new();
    let external_id = rt
        .attribute("externalId")
        .filter(|attribute| attribute.mutability != Mutability::ReadOnly);
    for attribute in external_id.into_iter().chain(&rt.schema.attributes) {
        accept_attribute(attribute, &attribute.name, &mut sorted.core, &mut map, trace)?;
    }
    for extension in &rt.extensions {
        accept_extension(extension, &mut sorted, before, &mut map, trace)?;
    }
    let bytes = serde_json::to_vec(&map).map_or(usize::MAX, |json| json.len());
    if bytes > MAX_RESOURCE_BYTES {
        return Err(Rule::ResourceTooLarge
            .error()
            .with("limit", MAX_RESOURCE_BYTES.to_string()));
    }
    Ok((Attributes(map), members))
}

fn accept_document(rt: &ResourceType, document: Value, trace: &mut Trace) -> Result<(Attributes, Vec<Member>), Error> {
    let Value::Object(mut document) = document else {
        return Err(Rule::BodyNotObject.error());
    };
    let spelled = document.keys().find(|key| key.eq_ignore_ascii_case("schemas")).cloned();
    check_schemas(rt, spelled.and_then(|key| document.shift_remove(&key)), trace)?;
    accept_all(rt, document, None, trace)
}

fn has_active(rt: &ResourceType) -> bool {
    rt.schema
        .attribute(ACTIVE)
        .is_some_and(|attribute| attribute.kind == Type::Boolean)
}

/// `schemas` must be there and name nothing but this type's schemas (RFC 7643 §3).
fn check_schemas(rt: &ResourceType, schemas: Option<Value>, trace: &mut Trace) -> Result<(), Error> {
    let urns = match schemas {
        Some(Value::Array(urns)) => urns,
        Some(Value::String(urn)) if !urn.is_empty() => {
            trace.note(Quirk::SingleForArray, "schemas");
            vec![Value::String(urn)]
        }
        None | Some(Value::Null | Value::String(_)) => Vec::new(),
        Some(_) => return Err(wrong_type("schemas", "an array of URNs")),
    };
    if urns.is_empty() {
        return Err(Rule::SchemasMissing.error().with("expected", &rt.schema.id));
    }
    let mut core = false;
    let mut foreign = None;
    for urn in &urns {
        let urn = urn.as_str().ok_or_else(|| wrong_type("schemas", "an array of URNs"))?;
        if urn.eq_ignore_ascii_case(&rt.schema.id) {
            core = true;
        } else if let Some(extension) = rt.extension(urn) {
            if !extension.schema.id.eq_ignore_ascii_case(urn) {
                trace.note(Quirk::TypoUrn, "schemas");
            }
        } else if urn
            .get(..ADSCIM_PREFIX.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(ADSCIM_PREFIX))
        {
            trace.note(Quirk::ForeignSchema, "schemas");
        } else {
            foreign = foreign.or(Some(urn));
        }
    }
    if let Some(urn) = foreign {
        let other = !core
            && urn
                .get(..CORE_PREFIX.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(CORE_PREFIX));
        let rule = if other {
            Rule::OtherResourceType
        } else {
            Rule::UnknownSchema
        };
        return Err(rule.at(urn).with("expected", &rt.schema.id));
    }
    if !core {
        trace.note(Quirk::CoreSchemaMissing, "schemas");
    }
    Ok(())
}

/// A document's values, each under the canonical name of its attribute, as they came.
#[derive(Default)]
struct Sorted {
    core: Map<String, Value>,
    /// By URN.
    extensions: HashMap<String, Map<String, Value>>,
}

impl Sorted {
    fn place(&mut self, rt: &ResourceType, key: &str, value: Value, trace: &mut Trace) -> Result<(), Error> {
        if is_unassigned(&value) {
            return Ok(());
        }
        if let Some(attribute) = rt.attribute(key) {
            return put(&mut self.core, attribute, key, value);
        }
        if let Some(extension) = rt.extension(key) {
            return self.place_extension(extension, key, value, trace);
        }
        let (extension, attribute, quirk) = match (rt.split_urn(key), rt.extension_of(key)) {
            (Some((None, name)), _) => (None, rt.schema.attribute(name), Quirk::QualifiedKey),
            (Some((Some(extension), name)), _) => {
                (Some(extension), extension.schema.attribute(name), Quirk::QualifiedKey)
            }
            (None, Some((extension, attribute))) => (Some(extension), Some(attribute), Quirk::UnqualifiedKey),
            (None, None) => (None, None, Quirk::UnknownAttribute),
        };
        let Some(attribute) = attribute else {
            trace.note(Quirk::UnknownAttribute, key);
            return Ok(());
        };
        trace.note(quirk, key);
        put(self.of(extension), attribute, key, value)
    }

    fn place_extension(
        &mut self,
        extension: &Extension,
        key: &str,
        value: Value,
        trace: &mut Trace,
    ) -> Result<(), Error> {
        let urn = &extension.schema.id;
        if !urn.eq_ignore_ascii_case(key) {
            trace.note(Quirk::TypoUrn, urn);
        }
        let Value::Object(members) = value else {
            return if value == "" {
                Ok(())
            } else {
                Err(wrong_type(urn, "an object"))
            };
        };
        for (name, value) in members {
            if is_unassigned(&value) {
                continue;
            }
            let path = format!("{urn}:{name}");
            match extension.schema.attribute(&name) {
                Some(attribute) => put(self.of(Some(extension)), attribute, &path, value)?,
                None => trace.note(Quirk::UnknownAttribute, path),
            }
        }
        Ok(())
    }

    fn of(&mut self, extension: Option<&Extension>) -> &mut Map<String, Value> {
        match extension {
            Some(extension) => self.extensions.entry(extension.schema.id.clone()).or_default(),
            None => &mut self.core,
        }
    }
}

/// Unassigned on the wire (RFC 7643 §2.5); `""` depends on the attribute.
fn is_unassigned(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn put(map: &mut Map<String, Value>, attribute: &Attribute, path: &str, value: Value) -> Result<(), Error> {
    match map.insert(attribute.name.clone(), value) {
        None => Ok(()),
        Some(_) => Err(Rule::AttributeTwice.at(path)),
    }
}

fn accept_extension(
    extension: &Extension,
    sorted: &mut Sorted,
    before: Option<&Attributes>,
    map: &mut Map<String, Value>,
    trace: &mut Trace,
) -> Result<(), Error> {
    let urn = &extension.schema.id;
    let mut sent = sorted.extensions.remove(urn).unwrap_or_default();
    let before = before.map(|before| before.0.get(urn));
    if sent.is_empty() && (!extension.required || before == Some(None)) {
        return Ok(());
    }
    let mut members = Map::new();
    for attribute in &extension.schema.attributes {
        let path = format!("{urn}:{}", attribute.name);
        let lacked = before
            .flatten()
            .is_some_and(|before| before.get(&attribute.name).is_none());
        if !lacked || sent.contains_key(&attribute.name) {
            accept_attribute(attribute, &path, &mut sent, &mut members, trace)?;
        }
    }
    if !members.is_empty() {
        map.insert(urn.clone(), Value::Object(members));
    } else if extension.required {
        return Err(Rule::RequiredMissing.at(urn));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
