//! Any PATCH message: it is refused, or makes a user that a create would have made too.
//!
//! An input is JSON, the message as it is or its operations alone, or a line for each operation, which keeps more of what
//! a mutation does to it: `replace emails[type eq "work"].value = "bjensen@example.com"`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scimgate_fuzz::scim::attributes::accept_edited;
use scimgate_fuzz::scim::normalize::Trace;
use scimgate_fuzz::scim::patch;
use scimgate_fuzz::{user, user_type};
use serde_json::{Value, json};

fuzz_target!(|text: &str| {
    let operations = match serde_json::from_str(text) {
        Ok(message @ Value::Object(_)) => return check(message),
        Ok(operations) => operations,
        Err(_) => text.lines().map(operation).collect(),
    };
    check(json!({"schemas": [patch::PATCH_OP_URN], "Operations": operations}));
});

fn operation(line: &str) -> Value {
    let (target, value) = match line.split_once(" = ") {
        Some((target, value)) => (
            target,
            serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
        ),
        None => (line, Value::Null),
    };
    let (op, path) = target.split_once(' ').unwrap_or((target, ""));
    json!({"op": op, "path": path, "value": value})
}

fn check(body: Value) {
    match patch::apply(user_type(), user(), body, &mut Trace::default()) {
        Ok(after) => {
            let again = accept_edited(user_type(), after.as_map().clone(), &mut Trace::default());
            assert_eq!(again.expect("what a PATCH makes is acceptable"), after);
            let nothing = json!({"schemas": [patch::PATCH_OP_URN], "Operations": [{"op": "add", "value": {}}]});
            let unchanged = patch::apply(user_type(), &after, nothing, &mut Trace::default());
            assert_eq!(unchanged.expect("nothing to refuse"), after);
        }
        Err(error) => assert!(error.detail().is_ascii()),
    }
}
