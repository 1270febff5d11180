//! What a PATCH message is about, by name: for whoever compares requests, not for carrying it out.

use serde_json::Value;

use super::super::{normalize::Trace, path::Path, schema::ResourceType};

/// Most names of a message.
const MAX_NAMES: usize = 8;

/// How many operations a message seems to have, and the attributes that they name, spelled as the schemas do; what the
/// schemas do not have is `?`, as it may be anything.
pub fn touched(rt: &ResourceType, message: &Value) -> (usize, Vec<String>) {
    let operations = member(message, "Operations").and_then(Value::as_array);
    let operations = operations.map_or(&[][..], Vec::as_slice);
    let mut names = Vec::new();
    for operation in operations {
        if let Some(path) = member(operation, "path").and_then(Value::as_str) {
            add(&mut names, rt, path);
        } else if let Some(value) = member(operation, "value").and_then(Value::as_object) {
            for key in value.keys() {
                add(&mut names, rt, key);
            }
        }
        if names.len() >= MAX_NAMES {
            break;
        }
    }
    names.truncate(MAX_NAMES);
    (operations.len(), names)
}

fn add(names: &mut Vec<String>, rt: &ResourceType, path: &str) {
    let path = Path::parse(rt, path, &mut Trace::default()).ok().flatten();
    let name = path.map_or_else(|| "?".to_owned(), |path| path.name());
    if names.len() < MAX_NAMES && !names.contains(&name) {
        names.push(name);
    }
}

fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let mut members = value.as_object()?.iter();
    members
        .find(|(given, _)| given.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::touched;
    use crate::scim::schema::Catalog;

    #[test]
    fn no_value_is_among_the_names() {
        let catalog = Catalog::standard();
        let user = catalog.by_endpoint("/Users").unwrap();
        let message = json!({ "operations": [
            { "op": "replace", "Path": "emails[type eq \"work\"].value", "value": "bjensen@example.com" },
            { "op": "replace", "path": "bjensen", "value": "x" },
            { "op": "add", "value": { "NAME.givenName": "Barbara", "active": true, "Jensen": 1 } },
            { "op": "add", "path": "active" }
        ] });
        let names = ["emails.value", "?", "name.givenName", "active"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(touched(user, &message), (4, names));
        for nothing in [
            json!(1),
            json!({}),
            json!({ "Operations": 1 }),
            json!({ "Operations": [1] }),
        ] {
            assert!(touched(user, &nothing).1.is_empty());
        }
    }
}
