//! Values by their attribute's characteristics (RFC 7643 §2.2 to §2.4).

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use super::super::error::{Error, Rule};
use super::super::limits::{MAX_EMAILS, MAX_STRING_BYTES, MAX_VALUES};
use super::super::normalize::{Quirk, Trace};
use super::super::resource::parse_date_time;
use super::super::schema::{Attribute, Mutability, Type, Uniqueness};
use super::{ACTIVE, Identity, is_unassigned, put};

/// Moves an attribute from what was `sent` to what is `accepted`.
pub(super) fn accept_attribute(
    attribute: &Attribute,
    path: &str,
    sent: &mut Map<String, Value>,
    accepted: &mut Map<String, Value>,
    trace: &mut Trace,
) -> Result<(), Error> {
    if attribute.mutability == Mutability::ReadOnly {
        return Ok(());
    }
    let value = match sent.shift_remove(&attribute.name) {
        Some(value) => accept_value(attribute, path, value, trace)?,
        None => None,
    };
    match value {
        Some(value) => _ = accepted.insert(attribute.name.clone(), value),
        None if attribute.required && path != ACTIVE => return Err(Rule::RequiredMissing.at(path)),
        None => {}
    }
    Ok(())
}

/// The value an attribute stores for what a client sent; none if that is unassigned.
pub(in super::super) fn accept_value(
    attribute: &Attribute,
    path: &str,
    value: Value,
    trace: &mut Trace,
) -> Result<Option<Value>, Error> {
    if attribute.multi_valued {
        return accept_values(attribute, path, value, trace);
    }
    let value = match value {
        Value::Array(values) if values.len() > 1 => return Err(wrong_type(path, "a single value")),
        Value::Array(mut values) => {
            trace.note(Quirk::ArrayForSingle, path);
            values.pop().unwrap_or_default()
        }
        value => value,
    };
    accept_single(attribute, path, value, trace)
}

fn accept_values(attribute: &Attribute, path: &str, value: Value, trace: &mut Trace) -> Result<Option<Value>, Error> {
    let sent = listed(path, value, trace);
    let limit = if attribute.name == "emails" {
        MAX_EMAILS
    } else {
        MAX_VALUES
    };
    if sent.len() > limit {
        return Err(Rule::TooManyValues.at(path).with("limit", limit.to_string()));
    }
    let mut values = Vec::with_capacity(sent.len());
    for value in sent {
        if let Some(value) = accept_single(attribute, path, value, trace)? {
            if is_label_only(attribute, &value) {
                trace.note(Quirk::EmptyValueDropped, path);
            } else {
                values.push(value);
            }
        }
    }
    let values = join_duplicates(attribute, path, values, trace);
    if values.iter().filter(|value| value["primary"] == true).count() > 1 {
        return Err(Rule::SeveralPrimaries.at(path));
    }
    Ok((!values.is_empty()).then_some(Value::Array(values)))
}

/// The values that a client sends for a multi-valued attribute; one may come without its array.
pub(super) fn listed(path: &str, value: Value, trace: &mut Trace) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        Value::Null => Vec::new(),
        Value::String(text) if text.is_empty() => {
            trace.note(Quirk::EmptyStringCleared, path);
            Vec::new()
        }
        value => {
            trace.note(Quirk::SingleForArray, path);
            vec![value]
        }
    }
}

/// Whether nothing but the label is left of a value, as after clearing `emails[type eq "work"].value`.
fn is_label_only(attribute: &Attribute, value: &Value) -> bool {
    let label = |name: &str| name == "type" || name == "primary";
    attribute.sub_attributes.iter().any(|sub| !label(&sub.name))
        && value
            .as_object()
            .is_some_and(|members| members.keys().all(|name| label(name)))
}

/// Joins values that have the same `type` and `value` (RFC 7643 §2.4); the later one's parts win.
pub(in super::super) fn join_duplicates(
    attribute: &Attribute,
    path: &str,
    values: Vec<Value>,
    trace: &mut Trace,
) -> Vec<Value> {
    let mut seen = HashMap::new();
    let mut joined: Vec<Value> = Vec::with_capacity(values.len());
    for value in values {
        let identity = Identity::of(&value, attribute);
        if let Some(&index) = seen.get(&identity) {
            trace.note(Quirk::DuplicateValue, path);
            let earlier: &mut Value = &mut joined[index];
            if let (Some(earlier), Value::Object(later)) = (earlier.as_object_mut(), value) {
                earlier.extend(later);
            }
        } else {
            seen.insert(identity, joined.len());
            joined.push(value);
        }
    }
    joined
}

/// One value, whether the attribute has several or not.
pub(super) fn accept_single(
    attribute: &Attribute,
    path: &str,
    value: Value,
    trace: &mut Trace,
) -> Result<Option<Value>, Error> {
    match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => {
            trace.note(Quirk::EmptyStringCleared, path);
            return Ok(None);
        }
        _ => {}
    }
    let accepted = match attribute.kind {
        Type::Complex => return accept_complex(attribute, path, value, trace),
        Type::String | Type::Binary | Type::Reference => accept_text(attribute, path, value, trace)?,
        Type::Boolean => accept_boolean(path, &value, trace)?,
        Type::Integer | Type::Decimal => accept_number(attribute, path, value, trace)?,
        Type::DateTime => match &value {
            Value::String(text) if parse_date_time(text).is_some() => value,
            _ => return Err(wrong_type(path, "a date and time such as 2026-01-31T08:00:00Z")),
        },
    };
    let blank = attribute.required && accepted.as_str().is_some_and(|text| text.trim().is_empty());
    Ok((!blank).then_some(accepted))
}

fn accept_text(attribute: &Attribute, path: &str, value: Value, trace: &mut Trace) -> Result<Value, Error> {
    let text = match value {
        Value::String(text) => text,
        // A number with a fraction or beyond 64 bits has lost the digits that it came with.
        Value::Bool(_) | Value::Number(_) if attribute.kind == Type::String && !value.is_f64() => {
            trace.note(Quirk::TextFromLiteral, path);
            value.to_string()
        }
        _ => return Err(wrong_type(path, "a string")),
    };
    if text.len() > MAX_STRING_BYTES {
        return Err(Rule::ValueTooLong.at(path).with("limit", MAX_STRING_BYTES.to_string()));
    }
    // An address has line breaks (RFC 7643 §4.1.2), a name to sign in with has not.
    let one_line = attribute.uniqueness != Uniqueness::None;
    if text
        .chars()
        .any(|c| c.is_control() && (one_line || !matches!(c, '\t' | '\n' | '\r')))
    {
        return Err(Rule::ControlCharacter.at(path));
    }
    if attribute.kind == Type::Binary && !is_base64(&text) {
        trace.note(Quirk::NotBase64, path);
    }
    if attribute.kind == Type::Reference
        && attribute.reference_types.iter().any(|t| t == "external" || t == "uri")
        && !is_uri(&text)
    {
        trace.note(Quirk::NotUri, path);
    }
    Ok(Value::String(text))
}

fn accept_boolean(path: &str, value: &Value, trace: &mut Trace) -> Result<Value, Error> {
    match value {
        Value::Bool(boolean) => Ok(Value::Bool(*boolean)),
        Value::String(text) if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") => {
            trace.note(Quirk::BooleanString, path);
            Ok(Value::Bool(text.eq_ignore_ascii_case("true")))
        }
        _ => Err(wrong_type(path, "true or false")),
    }
}

fn accept_number(attribute: &Attribute, path: &str, value: Value, trace: &mut Trace) -> Result<Value, Error> {
    let integer = attribute.kind == Type::Integer;
    let number = match value {
        Value::Number(number) => Some(number),
        Value::String(text) => {
            trace.note(Quirk::NumberString, path);
            let decimal = || text.parse().ok().and_then(Number::from_f64);
            text.parse::<i64>().ok().map(Number::from).or_else(decimal)
        }
        _ => None,
    };
    number
        .filter(|number| !integer || number.is_i64())
        .map(Value::Number)
        .ok_or_else(|| wrong_type(path, if integer { "a whole number" } else { "a number" }))
}

fn accept_complex(attribute: &Attribute, path: &str, value: Value, trace: &mut Trace) -> Result<Option<Value>, Error> {
    let members = match value {
        Value::Object(members) => members,
        Value::String(_) if attribute.sub_attribute("value").is_some() => {
            trace.note(
                if attribute.name == "manager" {
                    Quirk::ManagerString
                } else {
                    Quirk::PlainValue
                },
                path,
            );
            Map::from_iter([("value".to_owned(), value)])
        }
        _ => return Err(wrong_type(path, "an object")),
    };
    let mut sent = Map::new();
    for (name, value) in members {
        if is_unassigned(&value) {
            continue;
        }
        match attribute.sub_attribute(&name) {
            Some(sub) => put(&mut sent, sub, &format!("{path}.{}", sub.name), value)?,
            None => trace.note(Quirk::UnknownAttribute, format!("{path}.{name}")),
        }
    }
    derive_reference(attribute, path, &mut sent, trace);
    let mut accepted = Map::new();
    for sub in &attribute.sub_attributes {
        accept_attribute(sub, &format!("{path}.{}", sub.name), &mut sent, &mut accepted, trace)?;
    }
    // What is left of what was sent is read-only, and mostly an echo of what we said; unless there is nothing else.
    if let (true, Some(name)) = (accepted.is_empty(), sent.keys().next()) {
        trace.note(Quirk::ReadOnlyIgnored, format!("{path}.{name}"));
    }
    Ok((!accepted.is_empty()).then_some(Value::Object(accepted)))
}

/// A `$ref` to a resource is derived from `value` on the way out, so it is not stored; without `value` it names it.
fn derive_reference(attribute: &Attribute, path: &str, sent: &mut Map<String, Value>, trace: &mut Trace) {
    if !attribute
        .sub_attribute("$ref")
        .is_some_and(Attribute::refers_to_resources)
    {
        return;
    }
    let Some(reference) = sent.shift_remove("$ref") else {
        return;
    };
    if let (false, Some(id)) = (sent.contains_key("value"), referred(&reference)) {
        trace.note(Quirk::ValueFromReference, path);
        sent.insert("value".into(), id.into());
    }
}

/// The id of the resource that a `$ref` names.
pub(in super::super) fn referred(reference: &Value) -> Option<&str> {
    let id = reference.as_str()?.trim_end_matches('/').rsplit('/').next();
    id.filter(|id| !id.is_empty())
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let (padding, characters) = (
        text.len() - digits.len(),
        digits.bytes().filter(|byte| !byte.is_ascii_whitespace()),
    );
    let characters: Vec<u8> = characters.collect();
    padding <= 2
        && (characters.len() + padding).is_multiple_of(4)
        && characters
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte))
}

/// Whether `text` begins like an absolute URI: a scheme (RFC 3986 §3.1), a colon, and no blanks.
fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && !rest.is_empty()
            && !text.contains(char::is_whitespace)
    })
}

pub(super) fn wrong_type(path: &str, expected: &str) -> Error {
    Rule::WrongType.at(path).with("expected", expected)
}
