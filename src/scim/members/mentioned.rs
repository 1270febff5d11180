//! Which members a PATCH message seems to name: a guess, for reading ahead.

use serde_json::Value;

use super::super::{limits::MAX_MEMBERS, resource::is_id};

/// The texts of a PATCH message that may be ids of members, which the attribute `name` holds. There may be others among
/// them, and not all need be: what the message means is decided elsewhere. None when there are more than a message may
/// name: it will be refused, and nobody need be looked for.
pub fn mentioned(name: &str, message: &Value) -> Vec<String> {
    let operations = member(message, "operations").and_then(Value::as_array);
    let mut found = Vec::new();
    for operation in operations.into_iter().flatten() {
        let path = member(operation, "path").and_then(Value::as_str);
        let value = member(operation, "value");
        match path {
            Some(path) if contains(path, name) => {
                found.extend(path.split('"').skip(1).step_by(2).map(str::to_owned));
                texts(value, &mut found);
            }
            Some(_) => {}
            None => {
                let parts = value.and_then(Value::as_object).into_iter().flatten();
                parts
                    .filter(|(key, _)| contains(key, name))
                    .for_each(|(_, value)| texts(Some(value), &mut found));
            }
        }
    }
    found.retain(|text| is_id(text));
    found.sort_unstable();
    found.dedup();
    if found.len() > MAX_MEMBERS {
        found.clear();
    }
    found
}

fn member<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let mut members = object.as_object()?.iter();
    members
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn contains(text: &str, name: &str) -> bool {
    text.to_ascii_lowercase().contains(&name.to_ascii_lowercase())
}

/// The value itself, each of a list, or what each calls its `value`.
fn texts(value: Option<&Value>, found: &mut Vec<String>) {
    match value {
        Some(Value::String(text)) => found.push(text.clone()),
        Some(Value::Array(values)) => values.iter().for_each(|value| texts(Some(value), found)),
        Some(object @ Value::Object(_)) => {
            found.extend(member(object, "value").and_then(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MAX_MEMBERS, mentioned};

    #[track_caller]
    fn check(operations: &Value, expected: &[&str]) {
        assert_eq!(
            mentioned("members", &json!({ "Operations": operations })),
            expected,
            "{operations}"
        );
    }

    /// E-GROUP-03, E-GROUP-04 and Okta's forms.
    #[test]
    fn every_form_of_naming_a_member_is_seen() {
        check(
            &json!([{ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": "b" }, { "value": "a" }] }]),
            &["a", "b"],
        );
        check(
            &json!([{ "op": "remove", "path": "Members[value eq \"a\" or value eq \"b\"]" }]),
            &["a", "b"],
        );
        check(
            &json!([{ "op": "add", "value": { "members": ["a", "b"], "displayName": "c" } }]),
            &["a", "b"],
        );
        check(
            &json!([{ "OP": "add", "PATH": "urn:x:Group:members", "VALUE": "a" }]),
            &["a"],
        );
        check(&json!([{ "op": "replace", "path": "displayName", "value": "a" }]), &[]);
        check(&json!([{ "op": "remove", "path": "members" }, 5, { "path": 5 }]), &[]);
        check(
            &json!([{ "op": "add", "path": "members", "value": [{ "value": "no id" }, { "value": 5 }] }]),
            &[],
        );
    }

    #[test]
    fn nobody_is_looked_for_of_more_than_a_message_may_name() {
        for (named, expected) in [(MAX_MEMBERS, MAX_MEMBERS), (MAX_MEMBERS + 1, 0)] {
            let ids: Vec<String> = (0..named).map(|number| number.to_string()).collect();
            let operations = json!([{ "op": "add", "path": "members", "value": ids }]);
            let found = mentioned("members", &json!({ "Operations": operations }));
            assert_eq!(found.len(), expected);
        }
    }
}
