//! What all messages have in common (RFC 7644 §8.2): a URN in `schemas`, and members by name.

use serde_json::{Map, Value};

use super::error::{Error, Rule};
use super::normalize::{Quirk, Trace};

/// Whether a message's `schemas` name this URN; in any case, also without an array.
pub(super) fn names(schemas: Option<&Value>, urn: &str) -> bool {
    let is_urn = |value: &Value| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(urn));
    match schemas {
        Some(Value::Array(urns)) => urns.iter().any(is_urn),
        Some(urn) => is_urn(urn),
        None => false,
    }
}

/// Takes the members `names` out of an object, whatever their case (Entra writes `Operations`, others `operations`).
pub(super) fn members<const N: usize>(
    object: Map<String, Value>,
    names: [&str; N],
    place: &str,
    trace: &mut Trace,
) -> Result<[Option<Value>; N], Error> {
    let mut found = [const { None }; N];
    for (key, value) in object {
        match names.iter().position(|name| name.eq_ignore_ascii_case(&key)) {
            None => trace.note(Quirk::UnknownMember, format!("{place}{key}")),
            Some(index) if found[index].is_none() => found[index] = Some(value),
            Some(_) => return Err(Rule::AttributeTwice.at(format!("{place}{key}"))),
        }
    }
    Ok(found)
}
