//! What PATCH messages of every client make of a group (RFC 7644 §3.5.2; Entra, Okta).

#![expect(clippy::needless_pass_by_value, reason = "the cases are JSON literals")]

use serde_json::{Value, json};

use super::super::super::attributes::{Accepted, Attributes, accept};
use super::super::super::error::{Error, Rule};
use super::super::super::limits::{MAX_MEMBERS, MAX_PATCH_OPERATIONS};
use super::super::super::members::{Change, Kind, Member, Plan};
use super::super::super::normalize::{Quirk, Trace};
use super::super::super::schema::{Catalog, GROUP_URN, ResourceType};
use super::super::{PATCH_OP_URN, apply};

const ENTRA_ID: &str = "f648f8d5ea4e4cd38e9c";

fn group() -> std::sync::Arc<ResourceType> {
    Catalog::standard().resource_type("Group").expect("groups").clone()
}

fn guides() -> Attributes {
    let document = json!({"schemas": [GROUP_URN], "displayName": "Tour Guides", "externalId": "8aa1a0c0"});
    accept(&group(), document, &mut Trace::default())
        .expect("a group")
        .attributes
}

fn patched(operations: Value, trace: &mut Trace) -> Result<Accepted, Error> {
    let message = json!({"schemas": [PATCH_OP_URN], "Operations": operations});
    apply(&group(), &guides(), message, trace)
}

fn member(id: &str, kind: Option<Kind>) -> Member {
    Member {
        id: id.to_owned(),
        kind,
    }
}

/// `+` and `-` before ids that come and go, `=` alone or before those that stay, `?` before those that may come.
fn plan(text: &str) -> Plan {
    let ids = |sign: &str| -> Vec<String> {
        let marked = text.split_whitespace().filter_map(|word| word.strip_prefix(sign));
        marked.filter(|id| !id.is_empty()).map(str::to_owned).collect()
    };
    let named = |sign: &str| ids(sign).iter().map(|id| member(id, None)).collect::<Vec<_>>();
    if text.is_empty() {
        Plan::Nothing
    } else if text.contains('?') {
        Plan::Matching(named("?"))
    } else if text.contains('=') {
        Plan::Whole(named("="))
    } else {
        Plan::Named(Change {
            add: named("+"),
            remove: ids("-"),
        })
    }
}

/// These operations edit the members so, change nothing else, and these quirks are noted.
#[track_caller]
fn check(operations: Value, expected: &str, quirks: &[Quirk]) {
    let mut trace = Trace::default();
    let text = operations.to_string();
    let accepted = patched(operations, &mut trace).expect(&text);
    assert_eq!(accepted.members.plan(), plan(expected), "{text}");
    assert_eq!(accepted.attributes, guides(), "{text}");
    let noted: Vec<Quirk> = trace.notes().iter().map(|note| note.quirk).collect();
    assert_eq!(noted, quirks, "{text}");
}

#[track_caller]
fn check_refused(operations: Value, rule: Rule, detail: &str) {
    let text = operations.to_string();
    let error = patched(operations, &mut Trace::default()).expect_err(&text);
    assert_eq!((error.rule(), error.detail().as_str()), (rule, detail), "{text}");
}

/// E-GROUP-03.
#[test]
fn members_are_added_in_every_form() {
    let add = |value: Value| json!([{"op": "Add", "path": "members", "value": value}]);
    let added = format!("+{ENTRA_ID}");
    check(add(json!([{"$ref": null, "value": ENTRA_ID}])), &added, &[]);
    check(
        add(json!([{"value": ENTRA_ID}, {"value": "b"}])),
        &format!("{added} +b"),
        &[],
    );
    check(add(json!([{"value": ENTRA_ID, "display": "Babs"}])), &added, &[]);
    check(add(json!([{"VALUE": ENTRA_ID, "Type": null}])), &added, &[]);
    check(add(json!({"value": ENTRA_ID})), &added, &[Quirk::SingleForArray]);
    check(
        add(json!([ENTRA_ID, "b"])),
        &format!("{added} +b"),
        &[Quirk::PlainValue],
    );
    check(
        add(json!(ENTRA_ID)),
        &added,
        &[Quirk::SingleForArray, Quirk::PlainValue],
    );
    check(
        add(json!([{"$ref": format!("https://example.com/scim/demo/Users/{ENTRA_ID}")}])),
        &added,
        &[Quirk::ValueFromReference],
    );
    check(
        add(json!([{"value": "a", "shoeSize": 7}])),
        "+a",
        &[Quirk::UnknownAttribute],
    );
    check(
        add(json!([{"value": "a"}, {"value": "b"}, "a"])),
        "+a +b",
        &[Quirk::PlainValue, Quirk::DuplicateValue],
    );
    check(add(json!([])), "", &[]);
    check(add(json!(null)), "", &[]);
    check(add(json!("")), "", &[Quirk::EmptyStringCleared]);
}

/// RFC 7643 §8.7.1: `type` is User or Group; Okta and Entra leave it out, Keycloak and Webex send it.
#[test]
fn a_type_is_kept_in_any_case() {
    let members = json!([{"value": "a", "type": "User"}, {"value": "b", "type": "GROUP"}, {"value": "c", "type": ""}]);
    let accepted = patched(
        json!([{"op": "add", "path": "members", "value": members}]),
        &mut Trace::default(),
    );
    let expected = [("a", Some(Kind::User)), ("b", Some(Kind::Group)), ("c", None)];
    assert_eq!(
        accepted.expect("it is accepted").members.plan(),
        Plan::Named(Change {
            add: expected.map(|(id, kind)| member(id, kind)).into(),
            remove: vec![],
        })
    );
    check_refused(
        json!([{"op": "add", "path": "members", "value": [{"value": "a", "type": "Device"}]}]),
        Rule::WrongType,
        "members.type (value 1 of operation 1) has a value of the wrong type: expected User or Group.",
    );
}

/// E-GROUP-04; azure-docs#30826: the whole group was emptied.
#[test]
fn only_listed_or_chosen_members_are_removed() {
    let remove = |path: &str| json!([{"op": "Remove", "path": path}]);
    let listed = |value: Value| json!([{"op": "Remove", "path": "members", "value": value}]);
    check(
        listed(json!([{"$ref": null, "value": "a"}])),
        "-a",
        &[Quirk::RemoveWithValue],
    );
    check(
        listed(json!({"value": "a"})),
        "-a",
        &[Quirk::RemoveWithValue, Quirk::SingleForArray],
    );
    check(
        listed(json!("a")),
        "-a",
        &[Quirk::RemoveWithValue, Quirk::SingleForArray, Quirk::PlainValue],
    );
    check(
        listed(json!(["a", "b"])),
        "-a -b",
        &[Quirk::RemoveWithValue, Quirk::PlainValue],
    );
    check(listed(json!([])), "", &[Quirk::RemoveWithValue]);
    check(
        listed(json!("")),
        "",
        &[Quirk::RemoveWithValue, Quirk::EmptyStringCleared],
    );
    check(remove("members"), "=", &[]);
    check(listed(json!(null)), "=", &[]);
    check(remove("members[value eq \"a\"]"), "-a", &[]);
    check(remove("members[VALUE EQ \"a\"]"), "-a", &[]);
    check(remove("members[value eq a]"), "-a", &[Quirk::UnquotedString]);
    check(
        remove("members[value eq \"a\" or (value eq \"b\" or value eq \"c\")]"),
        "-a -b -c",
        &[],
    );
    check(remove("members[value eq \"a b\"]"), "", &[]);
    check(
        json!([{"op": "remove", "path": "members[value eq \"a\" or value eq \"b\"]", "value": [{"value": "a"}]}]),
        "-a",
        &[Quirk::RemoveWithValue],
    );
}

#[test]
fn other_filters_wait_for_the_present_members() {
    for (filter, goes) in [
        ("type eq \"User\"", "a b"),
        ("type eq \"group\"", "g"),
        ("value ne \"a\"", "b g"),
        ("value eq \"a\" and type eq \"User\"", "a"),
        ("value pr", "a b g"),
    ] {
        let operations = json!([{"op": "remove", "path": format!("members[{filter}]")}]);
        let edits = patched(operations, &mut Trace::default()).expect(filter).members;
        assert_eq!(edits.plan(), Plan::Matching(vec![]), "{filter}");
        let kinds = [("a", Kind::User), ("b", Kind::User), ("g", Kind::Group)];
        let present = kinds.map(|(id, kind)| member(id, Some(kind)));
        let change = edits.apply(&present, |_| None).expect("little work");
        assert_eq!(change.remove.join(" "), goes, "{filter}");
    }
    check_refused(
        json!([{"op": "remove", "path": "members[$ref co \"Users\"]"}]),
        Rule::FilterOnDerived,
        "The filter names members.$ref, which is not stored but added when a resource is shown: compare members.value \
         instead.",
    );
    check_refused(
        json!([{"op": "remove", "path": "members[display eq \"Babs\"]"}]),
        Rule::FilterOnDerived,
        "The filter names members.display, which is not stored but added when a resource is shown: compare members.value \
         instead.",
    );
}

/// E-GROUP-04.
#[test]
fn a_replace_is_the_whole_list() {
    let replace = |value: Value| json!([{"op": "Replace", "path": "members", "value": value}]);
    check(replace(json!([{"value": "a"}, {"value": "b"}])), "=a =b", &[]);
    check(replace(json!([])), "=", &[]);
    check(replace(json!(null)), "=", &[]);
    check(replace(json!("")), "=", &[Quirk::EmptyStringCleared]);
    check(replace(json!({"value": "a"})), "=a", &[Quirk::SingleForArray]);
}

#[test]
fn members_are_a_key_of_a_path_less_operation() {
    let op = |op: &str, value: Value| json!([{"op": op, "value": value}]);
    check(op("add", json!({"members": [{"value": "a"}]})), "+a", &[]);
    check(op("replace", json!({"Members": [{"value": "a"}]})), "=a", &[]);
    check(
        op("add", json!({format!("{GROUP_URN}:members"): [{"value": "a"}]})),
        "+a",
        &[Quirk::QualifiedKey],
    );
    check(
        op("replace", json!({"members[value eq \"a\"]": ""})),
        "-a",
        &[Quirk::FilteredKey, Quirk::EmptyStringCleared],
    );
    check(
        json!([{"op": "add", "path": format!("{GROUP_URN}:members"), "value": ["a"]}]),
        "+a",
        &[Quirk::PlainValue],
    );
    // Okta pushes a group so.
    check(
        op("replace", json!({"id": "abf4dd94", "displayName": "Tour Guides"})),
        "",
        &[Quirk::ReadOnlyIgnored],
    );
    check_refused(
        op("add", json!({"members": ["a"], "MEMBERS": ["b"]})),
        Rule::AttributeTwice,
        "members appears twice in the body, in one or in different spellings: send it once.",
    );
}

/// E-GROUP-06.
#[test]
fn operations_take_effect_in_order() {
    let message = |operations: &[(&str, &str)]| -> Value {
        operations
            .iter()
            .map(|(op, id)| json!({"op": op, "path": "members", "value": [{"value": id}]}))
            .collect()
    };
    let listed = &[Quirk::RemoveWithValue];
    check(message(&[("add", "a"), ("remove", "b")]), "+a -b", listed);
    check(message(&[("add", "a"), ("remove", "a")]), "-a", listed);
    check(message(&[("remove", "a"), ("add", "a")]), "+a", listed);
    check(message(&[("add", "a"), ("replace", "b"), ("add", "c")]), "=b =c", &[]);
    check(
        json!([{"op": "remove", "path": "members"}, {"op": "add", "path": "members", "value": [{"value": "a"}]}]),
        "=a",
        &[],
    );
    check(
        json!([
            {"op": "add", "path": "members", "value": [{"value": "a"}]},
            {"op": "remove", "path": "members[type eq \"Group\"]"},
        ]),
        "?a",
        &[],
    );
}

/// R-PATCH-10.
#[test]
fn a_member_is_made_no_other_one() {
    let chosen = "members[value eq \"a\"]";
    let changed =
        |name: &str| format!("members.{name} of a member cannot be changed: remove the member and add another.");
    for (path, name) in [
        (format!("{chosen}.value"), "value"),
        (format!("{chosen}.$ref"), "$ref"),
        (format!("{chosen}.type"), "type"),
        ("members.value".to_owned(), "value"),
    ] {
        for op in ["add", "replace", "remove"] {
            let operations = json!([{"op": op, "path": path, "value": "b"}]);
            check_refused(operations, Rule::MemberChanged, &changed(name));
        }
    }
    for op in ["add", "replace", "remove"] {
        let operations = json!([{"op": op, "path": format!("{chosen}.display"), "value": "b"}]);
        let error = patched(operations, &mut Trace::default()).expect_err(op);
        assert_eq!(error.rule(), Rule::ReadOnly);
        assert!(error.detail().starts_with("members.display "), "{error}");
    }
    for path in [chosen, "members[type eq \"User\"]"] {
        let operations = json!([{"op": "replace", "path": path, "value": {"value": "b"}}]);
        check_refused(operations, Rule::MemberChanged, &changed("value"));
    }
    check(
        json!([{"op": "add", "path": chosen, "value": [{"value": "a"}]}]),
        "+a",
        &[],
    );
    check(json!([{"op": "replace", "path": chosen, "value": null}]), "-a", &[]);
    check(json!([{"op": "add", "path": chosen, "value": []}]), "", &[]);
    check_refused(
        json!([{"op": "replace", "path": chosen, "value": {}}]),
        Rule::MemberWithoutValue,
        "members (value 1 of operation 1) names nobody: send the id of a user or a group as value.",
    );
}

#[test]
fn what_is_no_member_is_refused_with_its_place() {
    let second = |value: Value| {
        json!([
            {"op": "replace", "path": "displayName", "value": "Guides"},
            {"op": "add", "path": "members", "value": [{"value": "a"}, value]},
        ])
    };
    let nobody = "members (value 2 of operation 2) names nobody: send the id of a user or a group as value.";
    for value in [
        json!({}),
        json!({"$ref": null}),
        json!({"value": ""}),
        json!({"display": "Babs"}),
        json!(null),
        json!(""),
    ] {
        check_refused(second(value), Rule::MemberWithoutValue, nobody);
    }
    for value in [json!(7), json!(true), json!([])] {
        let error = patched(second(value), &mut Trace::default()).expect_err("no member");
        assert_eq!(error.rule(), Rule::WrongType);
        assert!(
            error.detail().starts_with("members (value 2 of operation 2) "),
            "{error}"
        );
    }
    check_refused(
        second(json!({"value": {"id": "b"}})),
        Rule::WrongType,
        "members.value (value 2 of operation 2) has a value of the wrong type: expected a string.",
    );
    check_refused(
        json!([{"op": "replace", "value": {"members": true}}]),
        Rule::WrongType,
        "members (value 1 of operation 1) has a value of the wrong type: expected an object.",
    );
    check_refused(
        second(json!({"value": "a/b"})),
        Rule::UnknownMember,
        "There is no user and no group with the id a/b to be a member: provision it first.",
    );
    check_refused(
        json!([{"op": "add", "path": "members"}]),
        Rule::ValueMissing,
        "Operation 1 of the PATCH message needs a value for members.",
    );
}

/// E-GROUP-05, and the attributes that a group shares with users.
#[test]
fn attributes_change_beside_the_members() {
    let operations = json!([
        {"op": "Replace", "path": "displayName", "value": "updatedDisplayName"},
        {"op": "add", "path": "members", "value": [{"value": "a"}]},
        {"op": "replace", "value": {"externalId": "8aa1a0c1", "title": "none"}},
    ]);
    let mut trace = Trace::default();
    let accepted = patched(operations, &mut trace).expect("it is accepted");
    assert_eq!(
        Value::from(accepted.attributes.as_map().clone()),
        json!({"externalId": "8aa1a0c1", "displayName": "updatedDisplayName"})
    );
    assert_eq!(accepted.members.plan(), plan("+a"));
    assert_eq!(trace.notes()[0].quirk, Quirk::UnknownAttribute);
    check_refused(
        json!([{"op": "remove", "path": "displayName"}]),
        Rule::RequiredRemoved,
        "displayName is required and cannot be removed: replace its value instead.",
    );
}

#[test]
fn many_members_cost_little_each() {
    let members = |count: usize| -> Value {
        (0..count)
            .map(|number| json!({"value": format!("m{number}")}))
            .collect()
    };
    let add = |members: Value| json!({"op": "add", "path": "members", "value": members});
    let accepted = patched(json!([add(members(MAX_MEMBERS))]), &mut Trace::default()).expect("the limit");
    let Plan::Named(change) = accepted.members.plan() else {
        panic!("they are named")
    };
    assert_eq!(change.add.len(), MAX_MEMBERS);
    let error = patched(
        json!([add(members(MAX_MEMBERS)), add(json!(["more"]))]),
        &mut Trace::default(),
    );
    assert_eq!(error.expect_err("one too many").rule(), Rule::TooManyMembers);
    let operations: Vec<Value> = (0..MAX_PATCH_OPERATIONS)
        .map(|number| match number % 2 {
            0 => add(json!([{"value": number.to_string()}])),
            _ => json!({"op": "remove", "path": format!("members[value eq \"{}\"]", number - 1)}),
        })
        .collect();
    let accepted = patched(operations.into(), &mut Trace::default()).expect("so many operations");
    let Plan::Named(change) = accepted.members.plan() else {
        panic!("they are named")
    };
    assert_eq!((change.add.len(), change.remove.len()), (0, MAX_PATCH_OPERATIONS / 2));
}
