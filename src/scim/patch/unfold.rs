//! Entra's `SingleAppRoleAssignment` puts a whole role into the text of its `value`:
//! `{"value": "{\"id\":\"06b07648-…\",\"value\":\"25\",\"displayName\":\"Role1234\"}"}`. The role's own value and name are taken out.

use serde_json::{Map, Value};

use super::super::normalize::{Quirk, Trace};
use super::super::schema::{Attribute, Type};

/// Unfolds each value of what was sent for an attribute.
pub(super) fn values(definition: &Attribute, name: &str, sent: Value, trace: &mut Trace) -> Value {
    match sent {
        Value::Array(values) => values
            .into_iter()
            .map(|sent| value(definition, name, sent, trace))
            .collect(),
        sent => value(definition, name, sent, trace),
    }
}

/// Unfolds one value: an object whose `value` is such a text, or the text alone.
pub(super) fn value(definition: &Attribute, name: &str, sent: Value, trace: &mut Trace) -> Value {
    let Value::Object(mut members) = sent else {
        return text(definition, name, &sent, trace).unwrap_or(sent);
    };
    let folded = members.iter().find(|(key, _)| key.eq_ignore_ascii_case("value"));
    let unfolded = folded.and_then(|(key, folded)| Some((key.clone(), text(definition, name, folded, trace)?)));
    if let Some((key, Value::Object(unfolded))) = unfolded {
        members.shift_remove(&key);
        for (part, value) in unfolded {
            if !members.keys().any(|there| there.eq_ignore_ascii_case(&part)) {
                members.insert(part, value);
            }
        }
    }
    Value::Object(members)
}

/// The `value` and `display` in the text, if it is such a one.
pub(super) fn text(definition: &Attribute, name: &str, sent: &Value, trace: &mut Trace) -> Option<Value> {
    if !definition.multi_valued || definition.kind != Type::Complex {
        return None;
    }
    let folded = sent.as_str().filter(|text| text.starts_with('{'))?;
    let role: Map<String, Value> = serde_json::from_str(folded).ok()?;
    let mut parts = Map::new();
    parts.insert(
        "value".into(),
        role.get("value").filter(|value| value.is_string())?.clone(),
    );
    if let Some(display) = role.get("displayName").filter(|display| display.is_string())
        && definition.sub_attribute("display").is_some()
    {
        parts.insert("display".into(), display.clone());
    }
    trace.note(Quirk::StringifiedValue, name);
    Some(Value::Object(parts))
}
