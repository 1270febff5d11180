//! Changes in the dialects in which Entra writes them, and what must be there afterwards.

use serde_json::{Value, json};

use super::ENTERPRISE;

/// One change.
pub(super) struct Patch {
    pub(super) title: &'static str,
    operations: Value,
    /// What a GET shows then: a pointer, or `list#type`; null where it must be gone.
    pub(super) expected: Vec<(String, Value)>,
}

impl Patch {
    pub(super) fn body(&self) -> Value {
        json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": self.operations })
    }
}

/// Nobody is ever made active: that may send an invitation or cost a licence.
pub(super) fn patches(user_name: &str) -> Vec<Patch> {
    let mut patches = of_attributes(user_name);
    patches.extend(of_elements());
    patches.extend(that_disable());
    patches
}

fn patch(title: &'static str, operations: Value, expected: &[(&str, Value)]) -> Patch {
    let expected = expected
        .iter()
        .map(|(pointer, value)| ((*pointer).to_owned(), value.clone()));
    Patch {
        title,
        operations,
        expected: expected.collect(),
    }
}

fn of_attributes(user_name: &str) -> Vec<Patch> {
    let urn = |name: &str| format!("{ENTERPRISE}:{name}");
    let enterprise = |name: &str| format!("/{ENTERPRISE}/{name}");
    let other_mail = format!("other-{user_name}");
    vec![
        patch(
            "Replace with a path, capital",
            json!([{ "op": "Replace", "path": "displayName", "value": "doctor 1" }]),
            &[("/displayName", json!("doctor 1"))],
        ),
        patch(
            "Replace of a sub-attribute and of an element",
            json!([
                { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": other_mail },
                { "op": "Replace", "path": "name.familyName", "value": "doctor 2" },
            ]),
            &[
                ("emails#work", json!(other_mail)),
                ("/name/familyName", json!("doctor 2")),
            ],
        ),
        patch(
            "replace without a path, dotted keys",
            json!([{ "op": "replace", "value": {
                "displayName": "doctor 3", "name.givenName": "dotted", urn("employeeNumber"): "3" } }]),
            &[
                ("/displayName", json!("doctor 3")),
                ("/name/givenName", json!("dotted")),
                (&enterprise("employeeNumber"), json!("3")),
            ],
        ),
        patch(
            "Add of an extension's attribute",
            json!([{ "op": "Add", "path": urn("department"), "value": "doctors" }]),
            &[(&enterprise("department"), json!("doctors"))],
        ),
    ]
}

fn of_elements() -> Vec<Patch> {
    vec![
        patch(
            "Replace of an element that is not there yet",
            json!([{ "op": "Replace", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+1 555 0100" }]),
            &[("phoneNumbers#mobile", json!("+1 555 0100"))],
        ),
        patch(
            "replace without a path, keys with filters, as with aadOptscim062020",
            json!([{ "op": "replace", "value": { "phoneNumbers[type eq \"mobile\"].value": "+1 555 0101" } }]),
            &[("phoneNumbers#mobile", json!("+1 555 0101"))],
        ),
        patch(
            "Add and Remove of a title",
            json!([{ "op": "Add", "path": "title", "value": "test" }, { "op": "Remove", "path": "title" }]),
            &[("/title", Value::Null)],
        ),
    ]
}

fn that_disable() -> Vec<Patch> {
    let inactive = [("/active", json!(false))];
    vec![
        patch(
            "disable with \"False\"",
            json!([{ "op": "Replace", "path": "active", "value": "False" }]),
            &inactive,
        ),
        patch(
            "disable with false",
            json!([{ "op": "replace", "path": "active", "value": false }]),
            &inactive,
        ),
        patch(
            "disable without a path",
            json!([{ "op": "Replace", "value": { "active": false } }]),
            &inactive,
        ),
    ]
}
