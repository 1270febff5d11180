//! References to operations of the same request: `bulkId:qwerty` where an id would stand (RFC 7644 §3.7.2).

use std::{collections::HashSet, ops::Range};

use serde_json::{Map, Value};

const PREFIX: &str = "bulkId:";

/// The bulkId that a text is a reference to.
pub(super) fn bulk_id(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)
}

/// The bulkIds that a document refers to: each once, in order. A megabyte has room for a hundred thousand.
pub(super) fn all(document: &Value) -> Vec<String> {
    let mut known = HashSet::new();
    let mut found: Vec<String> = Vec::new();
    resolved(document, &mut |bulk_id| {
        if known.insert(bulk_id.to_owned()) {
            found.push(bulk_id.to_owned());
        }
        None
    });
    found
}

/// The document with an id in place of each reference that `id_of` knows.
///
/// A reference is a text of its own anywhere; the last segment of a `$ref`; a quoted text in a PATCH path, such as
/// `members[value eq "bulkId:qwerty"]`.
pub(super) fn resolved(document: &Value, id_of: &mut impl FnMut(&str) -> Option<String>) -> Value {
    resolved_at("", document, id_of)
}

fn resolved_at(key: &str, value: &Value, id_of: &mut impl FnMut(&str) -> Option<String>) -> Value {
    match value {
        Value::String(text) => resolved_text(key, text, id_of).map_or_else(|| value.clone(), Value::String),
        Value::Array(values) => values.iter().map(|value| resolved_at(key, value, id_of)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), resolved_at(key, value, id_of)))
            .collect(),
        other => other.clone(),
    }
}

fn resolved_text(key: &str, text: &str, id_of: &mut impl FnMut(&str) -> Option<String>) -> Option<String> {
    if let Some(bulk_id) = bulk_id(text) {
        return id_of(bulk_id);
    }
    if key.eq_ignore_ascii_case("$ref") {
        let (endpoint, last) = text.rsplit_once('/')?;
        let id = id_of(bulk_id(last)?)?;
        return Some(format!("{endpoint}/{id}"));
    }
    key.eq_ignore_ascii_case("path").then(|| resolved_path(text, id_of))
}

fn resolved_path(path: &str, id_of: &mut impl FnMut(&str) -> Option<String>) -> String {
    let (mut resolved, mut rest) = (String::with_capacity(path.len()), path);
    while let Some(literal) = next_literal(rest) {
        let text: Option<String> = serde_json::from_str(&rest[literal.clone()]).ok();
        let id = text.as_deref().and_then(bulk_id).and_then(&mut *id_of);
        resolved.push_str(&rest[..literal.start]);
        match id {
            Some(id) => resolved.push_str(&Value::String(id).to_string()),
            None => resolved.push_str(&rest[literal.clone()]),
        }
        rest = &rest[literal.end..];
    }
    resolved + rest
}

/// Where the first quoted text is, with its quotation marks; a backslash escapes what follows it.
fn next_literal(text: &str) -> Option<Range<usize>> {
    let start = text.find('"')?;
    let mut escaped = false;
    let ends = |c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    let inside = text[start + 1..].find(ends)?;
    Some(start..start + inside + 2)
}

/// Takes out of a new resource what refers to one of `these`: one value of a multi-valued attribute, else the whole
/// attribute. Added to what is left, it makes the resource complete.
pub(super) fn take_out(document: &mut Map<String, Value>, these: &[String]) -> Map<String, Value> {
    let mut taken = Map::new();
    for (key, value) in std::mem::take(document) {
        if !mentions(&key, &value, these) {
            document.insert(key, value);
            continue;
        }
        match value {
            // An extension's attributes stand under its URN.
            Value::Object(mut members) if key.contains(':') => {
                taken.insert(key.clone(), take_out(&mut members, these).into());
                document.insert(key, members.into());
            }
            Value::Array(values) => {
                let (out, kept): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| mentions(&key, value, these));
                taken.insert(key.clone(), out.into());
                document.insert(key, kept.into());
            }
            value => _ = taken.insert(key, value),
        }
    }
    taken
}

/// Whether what stands under `key` refers to one of `these`.
pub(super) fn mentions(key: &str, value: &Value, these: &[String]) -> bool {
    let mut found = false;
    resolved_at(key, value, &mut |bulk_id| {
        found |= these.iter().any(|one| one == bulk_id);
        None
    });
    found
}
