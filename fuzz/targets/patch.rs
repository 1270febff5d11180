//! Any PATCH message: it is refused, or makes a user, or a group, that a create would have made too.
//!
//! An input is JSON, the message as it is or its operations alone, or a line for each operation, which keeps more of what
//! a mutation does to it: `replace emails[type eq "work"].value = "bjensen@example.com"`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scimgate_fuzz::scim::attributes::{Attributes, accept_edited};
use scimgate_fuzz::scim::members::{Change, Edits, Kind, Member, Plan};
use scimgate_fuzz::scim::normalize::Trace;
use scimgate_fuzz::scim::patch;
use scimgate_fuzz::scim::schema::ResourceType;
use scimgate_fuzz::{group, group_type, user, user_type};
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
    check_on(user_type(), user(), body.clone());
    check_on(group_type(), group(), body);
}

fn check_on(rt: &ResourceType, before: &Attributes, body: Value) {
    match patch::apply(rt, before, body, &mut Trace::default()) {
        Ok(after) => {
            assert!(rt.members().is_some() || after.members.is_empty());
            check_edits(&after.members);
            let after = after.attributes;
            let again = accept_edited(rt, after.as_map().clone(), &mut Trace::default());
            assert_eq!(again.expect("what a PATCH makes is acceptable"), after);
            let nothing = json!({"schemas": [patch::PATCH_OP_URN], "Operations": [{"op": "add", "value": {}}]});
            let unchanged = patch::apply(rt, &after, nothing, &mut Trace::default()).expect("nothing to refuse");
            assert_eq!(unchanged.attributes, after);
            assert!(unchanged.members.is_empty());
        }
        Err(error) => assert!(error.detail().is_ascii()),
    }
}

/// What is told without the present members is what they change.
fn check_edits(edits: &Edits) {
    let present = [("a", Kind::User), ("b", Kind::User), ("g", Kind::Group)].map(|(id, kind)| Member {
        id: id.to_owned(),
        kind: Some(kind),
    });
    let Ok(change) = edits.apply(&present, |_| None) else {
        return;
    };
    let is_present = |id: &str| present.iter().any(|member| member.id == id);
    assert!(change.add.iter().all(|member| !is_present(&member.id)));
    assert!(change.remove.iter().all(|id| is_present(id)));
    match edits.plan() {
        Plan::Nothing => assert_eq!(change, Change::default()),
        Plan::Named(named) => {
            assert!(
                change
                    .add
                    .iter()
                    .all(|member| named.add.iter().any(|it| it.id == member.id))
            );
            assert!(change.remove.iter().all(|id| named.remove.contains(id)));
        }
        Plan::Whole(members) => assert!(change.remove.iter().all(|id| members.iter().all(|it| it.id != *id))),
        Plan::Matching(may_come) => {
            assert!(
                change
                    .add
                    .iter()
                    .all(|member| may_come.iter().any(|it| it.id == member.id))
            );
        }
    }
}
