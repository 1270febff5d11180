//! The parts of one complex value.

use std::mem::take;

use serde_json::{Map, Value};

use super::super::attributes::{accept_value, join_duplicates, referred};
use super::super::error::{Error, Rule};
use super::super::limits::MAX_VALUES;
use super::super::normalize::{Quirk, Trace};
use super::super::schema::{Attribute, Mutability};
use super::message::Kind;

/// Sets the parts that `value` has and leaves the others. Empties `parts` if that is what `value` means, or if nothing but
/// labels is left.
pub(super) fn merge(
    kind: Kind,
    parts: &mut Map<String, Value>,
    definition: &Attribute,
    name: &str,
    value: Value,
    trace: &mut Trace,
) -> Result<(), Error> {
    let members = match value {
        Value::Object(members) => members,
        Value::Array(mut values) if values.len() <= 1 => {
            trace.note(Quirk::ArrayForSingle, name);
            return merge(kind, parts, definition, name, values.pop().unwrap_or_default(), trace);
        }
        Value::Null => {
            parts.clear();
            return Ok(());
        }
        Value::String(text) if text.is_empty() => {
            trace.note(Quirk::EmptyStringCleared, name);
            parts.clear();
            return Ok(());
        }
        value @ Value::String(_) if definition.sub_attribute("value").is_some() => {
            let is_manager = definition.name == "manager";
            trace.note(
                if is_manager {
                    Quirk::ManagerString
                } else {
                    Quirk::PlainValue
                },
                name,
            );
            Map::from_iter([("value".to_owned(), value)])
        }
        _ => return Err(Rule::WrongType.at(name).with("expected", "an object")),
    };
    let names_value = members
        .iter()
        .any(|(key, value)| key.eq_ignore_ascii_case("value") && !value.is_null());
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in members {
        let Some(part) = definition.sub_attribute(&key) else {
            trace.note(Quirk::UnknownAttribute, format!("{name}.{key}"));
            continue;
        };
        if seen.contains(&part.name.as_str()) {
            return Err(Rule::AttributeTwice.at(format!("{name}.{key}")));
        }
        seen.push(&part.name);
        if part.mutability == Mutability::ReadOnly {
            trace.note(Quirk::ReadOnlyIgnored, format!("{name}.{}", part.name));
        } else if !(names_value && part.refers_to_resources()) {
            set(kind, parts, definition, part, name, value, trace)?;
        }
    }
    Ok(())
}

/// Sets one part, or takes it away: by [`Kind::Remove`], or because `value` is empty. Empties `parts` if nothing but labels
/// is left.
pub(super) fn set(
    kind: Kind,
    parts: &mut Map<String, Value>,
    definition: &Attribute,
    part: &Attribute,
    name: &str,
    value: Value,
    trace: &mut Trace,
) -> Result<(), Error> {
    if part.refers_to_resources() {
        return set_reference(kind, parts, definition, name, &value, trace);
    }
    let path = format!("{name}.{}", part.name);
    let value = match kind {
        Kind::Remove => None,
        Kind::Add | Kind::Replace => accept_value(part, &path, value, trace)?,
    };
    let before = parts.get(&part.name);
    if part.mutability == Mutability::Immutable && before.is_some() && before != value.as_ref() {
        return Err(Rule::Immutable.at(path));
    }
    match (value, parts.get_mut(&part.name)) {
        (Some(Value::Array(added)), Some(Value::Array(there))) if kind == Kind::Add => {
            there.extend(added);
            // To add what is there already is nothing to be noted.
            *there = join_duplicates(part, &path, take(there), &mut Trace::default());
            if there.len() > MAX_VALUES {
                return Err(Rule::TooManyValues.at(path).with("limit", MAX_VALUES.to_string()));
            }
        }
        (Some(value), _) => _ = parts.insert(part.name.clone(), value),
        (None, None) => {}
        (None, Some(_)) if part.required && kind == Kind::Remove => return Err(Rule::RequiredRemoved.at(path)),
        (None, Some(_)) => {
            parts.shift_remove(&part.name);
            if part.name == "value" && parts.keys().all(|name| is_label(name)) {
                parts.clear();
            }
        }
    }
    Ok(())
}

/// A `$ref` to a resource is never stored: it follows from `value`, and names it.
fn set_reference(
    kind: Kind,
    parts: &mut Map<String, Value>,
    definition: &Attribute,
    name: &str,
    value: &Value,
    trace: &mut Trace,
) -> Result<(), Error> {
    let (Some(id), Some(part)) = (referred(value), definition.sub_attribute("value")) else {
        trace.note(Quirk::ReadOnlyIgnored, format!("{name}.$ref"));
        return Ok(());
    };
    trace.note(Quirk::ValueFromReference, name);
    set(kind, parts, definition, part, name, id.into(), trace)
}

/// What says nothing without the `value` it belongs to.
fn is_label(name: &str) -> bool {
    matches!(name, "type" | "primary" | "display")
}
