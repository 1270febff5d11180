#![expect(clippy::needless_pass_by_value, reason = "the cases are JSON literals")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::attributes::{Attributes, accept_edited};
use super::super::error::Rule;
use super::super::limits::{MAX_PATCH_OPERATIONS, MAX_VALUES};
use super::super::normalize::{Quirk, Trace};
use super::super::schema::{Catalog, ENTERPRISE_USER_URN, Extension, ResourceType, Schema};
use super::*;

const EXTRA_URN: &str = "urn:example:2.0:Extra";

/// The type User with an extension that has what the standard schemas lack.
fn user() -> ResourceType {
    let mut rt = (**Catalog::standard().resource_type("User").unwrap()).clone();
    let schema = Schema::from_json(&json!({"id": EXTRA_URN, "attributes": [
        {"name": "level", "type": "integer"},
        {"name": "tags", "type": "string", "multiValued": true},
        {"name": "badge", "type": "string", "mutability": "immutable"},
        {"name": "keys", "type": "complex", "multiValued": true, "subAttributes": [
            {"name": "value", "type": "string", "mutability": "immutable"},
            {"name": "note", "type": "string"},
            {"name": "door", "type": "string", "required": true},
        ]},
        {"name": "door", "type": "complex", "subAttributes": [
            {"name": "marks", "type": "string", "multiValued": true},
        ]},
    ]}));
    rt.extensions.push(Extension {
        schema: schema.unwrap().into(),
        required: false,
    });
    rt
}

fn bjensen() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "externalId": "701984",
        "userName": "bjensen@example.com",
        "name": {"familyName": "Jensen", "givenName": "Barbara"},
        "title": "Tour Guide",
        "active": true,
        "emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ],
        "roles": [{"value": "guide"}],
        ENTERPRISE_USER_URN: {"employeeNumber": "701984", "manager": {"value": "26118915"}},
        EXTRA_URN: {"tags": ["red"], "badge": "17", "keys": [{"value": "k1", "door": "front"}]},
    })
}

fn accept(rt: &ResourceType, document: Value, trace: &mut Trace) -> Result<Attributes, Error> {
    attributes::accept(rt, document, trace).map(without_members)
}

fn apply(rt: &ResourceType, before: &Attributes, body: Value, trace: &mut Trace) -> Result<Attributes, Error> {
    super::apply(rt, before, body, trace).map(without_members)
}

#[track_caller]
fn without_members(accepted: Accepted) -> Attributes {
    assert!(accepted.members.is_empty(), "a user has no members");
    accepted.attributes
}

fn accepted(document: Value) -> Attributes {
    accept(&user(), document, &mut Trace::default()).unwrap()
}

fn message(operations: &Value) -> Value {
    json!({"schemas": [PATCH_OP_URN], "Operations": operations})
}

fn operation(op: &str, path: &str, value: &Value) -> Value {
    let mut operation = Map::new();
    operation.insert("op".into(), op.into());
    if !path.is_empty() {
        operation.insert("path".into(), path.into());
    }
    if *value != json!("(none)") {
        operation.insert("value".into(), value.clone());
    }
    operation.into()
}

/// What an operation makes of bjensen; `expected` are the attributes that differ from before, null for one that is gone.
#[track_caller]
fn check(op: &str, path: &str, value: Value, expected: Value) -> Trace {
    check_all(json!([operation(op, path, &value)]), expected)
}

#[track_caller]
fn check_all(operations: Value, expected: Value) -> Trace {
    let before = accepted(bjensen());
    let mut trace = Trace::default();
    let after = apply(&user(), &before, message(&operations), &mut trace)
        .unwrap_or_else(|error| panic!("{operations} is refused: {error}"));
    let mut wanted = before.as_map().clone();
    let Value::Object(expected) = expected else {
        unreachable!()
    };
    for (name, value) in expected {
        match value {
            Value::Null => _ = wanted.shift_remove(&name),
            value => _ = wanted.insert(name, value),
        }
    }
    assert_eq!(Value::from(after.as_map().clone()), Value::from(wanted), "{operations}");
    trace
}

/// As `check`, and these quirks are noted.
#[track_caller]
fn check_noted(op: &str, path: &str, value: Value, expected: Value, quirks: &[Quirk]) {
    let trace = check(op, path, value, expected);
    let noted: Vec<Quirk> = trace.notes().iter().map(|note| note.quirk).collect();
    assert_eq!(noted, quirks, "{op} {path}");
}

#[track_caller]
fn check_refused(op: &str, path: &str, value: Value, rule: Rule, detail_has: &str) {
    let operations = json!([operation(op, path, &value)]);
    let refusal = apply(
        &user(),
        &accepted(bjensen()),
        message(&operations),
        &mut Trace::default(),
    );
    let error = refusal.expect_err(&operations.to_string());
    assert_eq!(error.rule(), rule, "{operations}: {error}");
    assert!(
        error.detail().contains(detail_has),
        "{operations}: {error} should name {detail_has}"
    );
}

#[track_caller]
fn check_message_refused(body: Value, rule: Rule) {
    let text = body.to_string();
    let refusal = apply(&user(), &accepted(bjensen()), body, &mut Trace::default());
    assert_eq!(refusal.expect_err(&text).rule(), rule, "{text}");
}

fn none() -> Value {
    json!("(none)")
}

fn enterprise(members: Value) -> Value {
    json!({ENTERPRISE_USER_URN: members})
}

/// A leaver must not come back, nor anyone be locked out, because a client clears everything (E-USER-15).
#[test]
fn active_is_changed_but_never_cleared() {
    let mut document = bjensen();
    document["active"] = json!(false);
    let before = accepted(document);
    for operation in [
        json!({"op": "replace", "path": "active", "value": ""}),
        json!({"op": "replace", "path": "active", "value": null}),
        json!({"op": "remove", "path": "active"}),
        json!({"op": "replace", "value": {"active": null}}),
    ] {
        let mut trace = Trace::default();
        let after = apply(&user(), &before, message(&json!([operation])), &mut trace).expect("it is accepted");
        assert_eq!(after, before, "{operation}");
        assert!(
            trace.notes().iter().any(|note| note.quirk == Quirk::ActiveKept),
            "{operation}"
        );
    }
}

/// R-PATCH-03.
#[test]
fn add_makes_replaces_and_appends() {
    // RFC 7644 §3.5.2.1.
    check("add", "nickName", json!("Babs"), json!({"nickName": "Babs"}));
    check("add", "title", json!("Chief"), json!({"title": "Chief"}));
    check(
        "add",
        "name",
        json!({"honorificPrefix": "Ms."}),
        json!({"name": {"familyName": "Jensen", "givenName": "Barbara", "honorificPrefix": "Ms."}}),
    );
    check(
        "add",
        "name.middleName",
        json!("Jane"),
        json!({"name": {
            "familyName": "Jensen", "givenName": "Barbara", "middleName": "Jane",
        }}),
    );
    check(
        "add",
        "roles",
        json!([{"value": "driver"}]),
        json!({"roles": [{"value": "guide"}, {"value": "driver"}]}),
    );
    check(
        "add",
        "ims",
        json!([{"value": "babs", "type": "aim"}]),
        json!({"ims": [{"value": "babs", "type": "aim"}]}),
    );
    check(
        "add",
        "",
        json!({"nickName": "Babs", "roles": [{"value": "driver"}]}),
        json!({"nickName": "Babs", "roles": [{"value": "guide"}, {"value": "driver"}]}),
    );
}

/// R-PATCH-03.
#[test]
fn add_of_what_is_there_changes_nothing() {
    // RFC 7644 §3.5.2.1: "If the value already exists, no change".
    check("add", "title", json!("Tour Guide"), json!({}));
    check(
        "add",
        "roles",
        json!([{"value": "guide"}, {"value": "guide"}]),
        json!({}),
    );
    check("add", "emails", json!([{"value": "babs@jensen.org"}]), json!({}));
    check(
        "add",
        "emails",
        json!([{"value": "BABS@jensen.org", "type": "home"}]),
        json!({"emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
            {"value": "BABS@jensen.org", "type": "home"},
        ]}),
    );
    check("add", &format!("{EXTRA_URN}:tags"), json!(["Red"]), json!({}));
    check("add", "roles", json!([]), json!({}));
    check("add", "roles", Value::Null, json!({}));
    check(
        "replace",
        "",
        json!({"userName": "bjensen@example.com", "active": true}),
        json!({}),
    );
    check("remove", "nickName", none(), json!({}));
    check("remove", "emails[type eq \"other\"]", none(), json!({}));
}

/// R-PATCH-06.
#[test]
fn replace_sets_merges_and_replaces() {
    // RFC 7644 §3.5.2.3.
    check("replace", "userName", json!("babs"), json!({"userName": "babs"}));
    check(
        "replace",
        "name",
        json!({"givenName": "Babs"}),
        json!({"name": {
            "familyName": "Jensen", "givenName": "Babs",
        }}),
    );
    check(
        "replace",
        "roles",
        json!([{"value": "driver"}]),
        json!({"roles": [{"value": "driver"}]}),
    );
    check(
        "replace",
        "emails[type eq \"work\"].value",
        json!("b@example.com"),
        json!({"emails": [
            {"value": "b@example.com", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ]}),
    );
    check(
        "replace",
        "emails[type eq \"work\"]",
        json!({"value": "b@example.com"}),
        json!({"emails": [
            {"value": "b@example.com", "type": "work"},
            {"value": "babs@jensen.org", "type": "home"},
        ]}),
    );
    check(
        "add",
        "emails[type eq \"work\"]",
        json!({"display": "B"}),
        json!({"emails": [
            {"value": "bjensen@example.com", "display": "B", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ]}),
    );
    check(
        "replace",
        "emails.display",
        json!("B"),
        json!({"emails": [
            {"value": "bjensen@example.com", "display": "B", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "display": "B", "type": "home"},
        ]}),
    );
    check(
        "replace",
        "phoneNumbers.value",
        json!("555"),
        json!({"phoneNumbers": [{"value": "555"}]}),
    );
    check(
        "replace",
        "emails[primary eq true].type",
        json!("other"),
        json!({"emails": [
            {"value": "bjensen@example.com", "type": "other", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ]}),
    );
}

/// R-PATCH-05.
#[test]
fn remove_takes_all_the_chosen_or_a_part() {
    // RFC 7644 §3.5.2.2.
    check("remove", "title", none(), json!({"title": null}));
    check("remove", "name", none(), json!({"name": null}));
    check(
        "remove",
        "name.familyName",
        none(),
        json!({"name": {"givenName": "Barbara"}}),
    );
    check("remove", "emails", none(), json!({"emails": null}));
    check(
        "remove",
        "emails[type eq \"home\"]",
        none(),
        json!({"emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
        ]}),
    );
    check(
        "remove",
        "emails[type eq \"work\" or type eq \"home\"]",
        none(),
        json!({"emails": null}),
    );
    check(
        "remove",
        "emails[type eq \"home\"].type",
        none(),
        json!({"emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
            {"value": "babs@jensen.org"},
        ]}),
    );
    check(
        "remove",
        "emails[type eq \"work\"].value",
        none(),
        json!({"emails": [
            {"value": "babs@jensen.org", "type": "home"},
        ]}),
    );
    check("remove", ENTERPRISE_USER_URN, none(), enterprise(Value::Null));
    check(
        "remove",
        &format!("{EXTRA_URN}:tags[value eq \"red\"]"),
        none(),
        json!({EXTRA_URN: {
            "badge": "17", "keys": [{"value": "k1", "door": "front"}],
        }}),
    );
}

/// E-GROUP-04; azure-docs#30826: the whole group was emptied.
#[test]
fn remove_with_values_removes_only_those() {
    let quirk = &[Quirk::RemoveWithValue];
    let home_left = json!({"emails": [{"value": "babs@jensen.org", "type": "home"}]});
    check_noted(
        "Remove",
        "emails",
        json!([{"$ref": null, "value": "BJENSEN@example.com"}]),
        home_left,
        quirk,
    );
    check_noted("remove", "roles", json!([{"value": "driver"}]), json!({}), quirk);
    check_noted("remove", "roles", json!([]), json!({}), quirk);
    check_noted(
        "remove",
        "roles",
        json!(["guide"]),
        json!({"roles": null}),
        &[quirk[0], Quirk::PlainValue],
    );
    check("remove", "roles", Value::Null, json!({"roles": null}));
    check(
        "remove",
        "emails",
        json!([{"value": "babs@jensen.org", "type": "work"}]),
        json!({}),
    );
    check(
        "remove",
        "emails[type eq \"work\"]",
        json!([{"value": "babs@jensen.org"}]),
        json!({}),
    );
    check_noted("Remove", "title", json!("anything"), json!({"title": null}), quirk);
}

/// E-USER-11.
#[test]
fn manager_comes_in_every_form() {
    let path = format!("{ENTERPRISE_USER_URN}:manager");
    let set = || enterprise(json!({"employeeNumber": "701984", "manager": {"value": "2819c223"}}));
    let gone = || enterprise(json!({"employeeNumber": "701984"}));
    let reference = "https://example.com/scim/Users/2819c223";
    check_noted("Add", &path, json!("2819c223"), set(), &[Quirk::ManagerString]);
    check(
        "Add",
        "manager",
        json!([{"$ref": reference, "value": "2819c223"}]),
        set(),
    );
    check("replace", &path, json!({"value": "2819c223"}), set());
    check("replace", &path, json!({"$ref": reference}), set());
    check("replace", &format!("{path}.value"), json!("2819c223"), set());
    check("replace", "", json!({(path.as_str()): "2819c223"}), set());
    check(
        "replace",
        "",
        json!({ENTERPRISE_USER_URN: {"manager": "2819c223"}}),
        set(),
    );
    check(
        "replace",
        "",
        json!({ENTERPRISE_USER_URN: {"manager": {"value": "2819c223", "displayName": "M"}}}),
        set(),
    );
    check("replace", &path, json!(""), gone());
    check("replace", &path, Value::Null, gone());
    check("replace", &path, json!({"value": ""}), gone());
    check("Remove", &path, none(), gone());
    check("Remove", &path, json!("26118915"), gone());
    check("remove", "manager[value eq \"26118915\"]", none(), gone());
    check("remove", "manager[value eq \"other\"]", none(), json!({}));
    check_refused(
        "replace",
        "manager.displayName",
        json!("M"),
        Rule::ReadOnly,
        "manager.displayName",
    );
    check_refused("replace", "manager", json!(["1", "2"]), Rule::WrongType, "manager");
}

/// E-USER-05; scimmy#86, tuist#13238.
#[test]
fn active_is_a_boolean_however_it_comes() {
    for value in [json!(false), json!("False"), json!("false"), json!("FALSE")] {
        check("Replace", "active", value.clone(), json!({"active": false}));
        check("replace", "", json!({"active": value}), json!({"active": false}));
    }
    check_noted("Add", "active", json!("True"), json!({}), &[Quirk::BooleanString]);
    check_refused("replace", "active", json!("no"), Rule::WrongType, "active");
}

/// R-PATCH-04, E-USER-07, E-USER-08; scim-for-keycloak#26.
#[test]
fn keys_of_a_path_less_value_are_paths() {
    let trace = check(
        "replace",
        "",
        json!({
            "displayName": "Babs",
            "name.givenName": "Babs",
            "emails[type eq \"work\"].value": "b@example.com",
            "phoneNumbers[type eq \"mobile\"].value": "555",
            "urn:ietf:params:scim:schemas:core:2.0:User:nickName": "B",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "Tours",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0User": {"costCenter": "4130"},
        }),
        json!({
            "displayName": "Babs",
            "name": {"familyName": "Jensen", "givenName": "Babs"},
            "emails": [
                {"value": "b@example.com", "type": "work", "primary": true},
                {"value": "babs@jensen.org", "type": "home"},
            ],
            "phoneNumbers": [{"value": "555", "type": "mobile"}],
            "nickName": "B",
            ENTERPRISE_USER_URN: {
                "employeeNumber": "701984", "costCenter": "4130", "department": "Tours",
                "manager": {"value": "26118915"},
            },
        }),
    );
    let noted: Vec<_> = trace
        .notes()
        .iter()
        .map(|note| (note.quirk, note.path.as_str()))
        .collect();
    assert_eq!(
        noted,
        [
            (Quirk::DottedKey, "name.givenName"),
            (Quirk::FilteredKey, "emails.value"),
            (Quirk::FilteredKey, "phoneNumbers.value"),
            (Quirk::CreatedOnMiss, "phoneNumbers.value"),
            (Quirk::QualifiedKey, "nickName"),
            (
                Quirk::QualifiedKey,
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"
            ),
            (Quirk::TypoUrn, ENTERPRISE_USER_URN),
        ]
    );
}

/// R-PATCH-04.
#[test]
fn an_extension_is_merged_and_cleared() {
    check(
        "add",
        ENTERPRISE_USER_URN,
        json!({"division": "Parks", "employeeNumber": ""}),
        enterprise(json!({"division": "Parks", "manager": {"value": "26118915"}})),
    );
    check("replace", ENTERPRISE_USER_URN, Value::Null, enterprise(Value::Null));
    check("add", ENTERPRISE_USER_URN, Value::Null, json!({}));
    check("replace", "", json!({ENTERPRISE_USER_URN: ""}), enterprise(Value::Null));
    check_noted(
        "add",
        "",
        json!({ENTERPRISE_USER_URN: {"colour": "red", "": 1}}),
        json!({}),
        &[Quirk::UnknownAttribute, Quirk::UnknownAttribute],
    );
    check_refused(
        "replace",
        ENTERPRISE_USER_URN,
        json!("x"),
        Rule::WrongType,
        ENTERPRISE_USER_URN,
    );
}

/// E-USER-09, E-USER-10; RFC 7644 §3.5.2.3 has noTarget, which stops Entra.
#[test]
fn a_filter_that_matches_nothing_makes_what_it_describes() {
    let quirk = &[Quirk::CreatedOnMiss];
    let phone = json!({"phoneNumbers": [{"value": "555", "type": "work"}]});
    check_noted(
        "Replace",
        "phoneNumbers[type eq \"work\"].value",
        json!("555"),
        phone.clone(),
        quirk,
    );
    check_noted(
        "Add",
        "phoneNumbers[type eq \"work\"]",
        json!({"value": "555"}),
        phone,
        quirk,
    );
    check_noted(
        "replace",
        "roles[primary eq \"True\"].value",
        json!("driver"),
        json!({"roles": [{"value": "guide"}, {"value": "driver", "primary": true}]}),
        &[Quirk::QuotedLiteral, Quirk::CreatedOnMiss],
    );
    check_noted(
        "replace",
        "phoneNumbers[primary eq true].display",
        json!("555"),
        json!({"phoneNumbers": [{"display": "555", "primary": true}]}),
        quirk,
    );
    check_noted(
        "replace",
        "addresses[type eq \"work\" and country eq \"USA\"].postalCode",
        json!("91608"),
        json!({"addresses": [{"postalCode": "91608", "country": "USA", "type": "work"}]}),
        quirk,
    );
    check("replace", "phoneNumbers[type eq \"work\"].value", json!(""), json!({}));
    for filter in [
        "type ne \"home\"",
        "type eq \"a\" or type eq \"b\"",
        "type eq \"a\" and type eq \"b\"",
        "value co \"5\"",
    ] {
        let path = format!("phoneNumbers[{filter}].display");
        check_refused("replace", &path, json!("x"), Rule::NoTarget, "phoneNumbers.display");
    }
    check_refused(
        "replace",
        "emails[value eq \"a\"].value",
        json!("b"),
        Rule::NoTarget,
        "emails.value",
    );
    check_refused(
        "replace",
        "manager[value eq \"a\"].$ref",
        json!("b"),
        Rule::NoTarget,
        "manager",
    );
    check_refused(
        "replace",
        &format!("{EXTRA_URN}:tags[value eq \"a\"]"),
        json!("b"),
        Rule::NoTarget,
        "tags",
    );
}

/// E-USER-18.
#[test]
fn parts_come_in_separate_operations() {
    check_all(
        json!([
            {"op": "add", "path": "phoneNumbers[type eq \"home\"].primary", "value": "true"},
            {"op": "add", "path": "phoneNumbers[type eq \"home\"].display", "value": "At home"},
            {"op": "add", "path": "phoneNumbers[type eq \"home\"].value", "value": "555"},
        ]),
        json!({"phoneNumbers": [{"value": "555", "display": "At home", "type": "home", "primary": true}]}),
    );
    check_all(
        json!([
            {"op": "remove", "path": "title"},
            {"op": "add", "path": "title", "value": "Chief"},
            {"op": "replace", "path": "title", "value": "Tour Guide"},
        ]),
        json!({}),
    );
}

/// R-PATCH-07.
#[test]
fn a_new_primary_takes_it_from_the_old() {
    // RFC 7644 §3.5.2.
    let moved = |last: Value| {
        json!({"emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": false},
            last,
        ]})
    };
    let home = json!({"value": "babs@jensen.org", "type": "home", "primary": true});
    check_noted(
        "replace",
        "emails[type eq \"home\"].primary",
        json!(true),
        moved(home.clone()),
        &[Quirk::PrimaryMoved],
    );
    check("add", "emails", json!([home]), moved(home.clone()));
    check("replace", "emails[type eq \"work\"].primary", json!(true), json!({}));
    check_refused(
        "replace",
        "emails.primary",
        json!(true),
        Rule::SeveralPrimaries,
        "emails",
    );
}

/// E-USER-15; RFC 7643 §2.5.
#[test]
fn empty_clears() {
    for empty in [json!(""), Value::Null] {
        check("replace", "title", empty.clone(), json!({"title": null}));
        check(
            "replace",
            "name.givenName",
            empty.clone(),
            json!({"name": {"familyName": "Jensen"}}),
        );
        check("replace", "emails", empty.clone(), json!({"emails": null}));
        check("replace", "name", empty.clone(), json!({"name": null}));
        check(
            "replace",
            "",
            json!({"title": empty, "roles": []}),
            json!({"title": null, "roles": null}),
        );
        let home_left = json!({"emails": [{"value": "babs@jensen.org", "type": "home"}]});
        check(
            "replace",
            "emails[type eq \"work\"].value",
            empty.clone(),
            home_left.clone(),
        );
        check("replace", "emails[type eq \"work\"]", empty.clone(), home_left);
        check_refused("replace", "userName", empty, Rule::RequiredMissing, "userName");
    }
}

/// E-USER-14; zulip#39773.
#[test]
fn what_the_schema_lacks_is_left_out_and_noted() {
    let quirk = &[Quirk::UnknownAttribute];
    check_noted(
        "Add",
        "urn:ietf:params:scim:schemas:core:2.0:User:role",
        json!("x"),
        json!({}),
        quirk,
    );
    check_noted(
        "Add",
        "urn:ietf:params:scim:schemas:core:2.0:User:title",
        json!("x"),
        json!({"title": "x"}),
        &[],
    );
    check_noted(
        "replace",
        "urn:example:unknown:2.0:User:x",
        json!("x"),
        json!({}),
        quirk,
    );
    check_noted("replace", "name.nick", json!("x"), json!({}), quirk);
    check_noted(
        "replace",
        "colours[type eq \"red\"].value",
        json!("x"),
        json!({}),
        quirk,
    );
    check_noted(
        "replace",
        "emails[type eq \"work\"].colour",
        json!("x"),
        json!({}),
        quirk,
    );
    check_noted("remove", "colour", none(), json!({}), quirk);
    check_noted(
        "replace",
        "",
        json!({"colour": "red", "a b": 1}),
        json!({}),
        &[quirk[0], quirk[0]],
    );
    check_noted("replace", "name", json!({"nick": "x"}), json!({}), quirk);
}

#[test]
fn read_only_attributes_are_refused_by_path_and_ignored_without() {
    // RFC 7644 §3.5.2; Okta repeats the id.
    check_refused("replace", "id", json!("x"), Rule::ReadOnly, "id");
    check_refused("add", "groups", json!([{"value": "x"}]), Rule::ReadOnly, "groups");
    check_refused("replace", "meta.version", json!("x"), Rule::ReadOnly, "meta.version");
    check_refused("remove", "groups[value eq \"x\"]", none(), Rule::ReadOnly, "groups");
    check_refused("remove", "schemas", none(), Rule::RequiredRemoved, "schemas");
    check_noted(
        "replace",
        "",
        json!({"id": "x", "title": "Chief", "meta": {"version": "x"}, "groups": []}),
        json!({"title": "Chief"}),
        &[Quirk::ReadOnlyIgnored; 3],
    );
}

/// R-PATCH-05, R-PATCH-10.
#[test]
fn required_and_immutable_attributes_stay() {
    check_refused("remove", "userName", none(), Rule::RequiredRemoved, "userName");
    check_refused(
        "replace",
        &format!("{EXTRA_URN}:badge"),
        json!("18"),
        Rule::Immutable,
        "badge",
    );
    check_refused(
        "remove",
        &format!("{EXTRA_URN}:badge"),
        none(),
        Rule::Immutable,
        "badge",
    );
    check("add", &format!("{EXTRA_URN}:badge"), json!("17"), json!({}));
    // In place no, as a whole yes.
    let keys = format!("{EXTRA_URN}:keys");
    let chosen = format!("{keys}[value eq \"k1\"]");
    check_refused(
        "replace",
        &format!("{chosen}.value"),
        json!("k2"),
        Rule::Immutable,
        "keys.value",
    );
    check_refused(
        "remove",
        &format!("{chosen}.value"),
        none(),
        Rule::Immutable,
        "keys.value",
    );
    check_refused(
        "remove",
        &format!("{chosen}.door"),
        none(),
        Rule::RequiredRemoved,
        "keys.door",
    );
    check(
        "replace",
        &format!("{chosen}.note"),
        json!("new"),
        json!({EXTRA_URN: {
            "tags": ["red"], "badge": "17", "keys": [{"value": "k1", "note": "new", "door": "front"}],
        }}),
    );
    check(
        "remove",
        &chosen,
        none(),
        json!({EXTRA_URN: {"tags": ["red"], "badge": "17"}}),
    );
}

/// R-PATCH-02.
#[test]
fn malformed_paths_are_refused() {
    for path in [
        "name.",
        ".name",
        "emails[type eq \"work\"]value",
        "emails[type eq \"work\"].",
        "a b",
        "emails.value.x",
        "1st",
    ] {
        check_refused("replace", path, json!("x"), Rule::PathSyntax, "");
    }
    check_refused(
        "replace",
        "userName[value eq \"x\"]",
        json!("x"),
        Rule::PathFilterNotAllowed,
        "userName",
    );
    check_refused(
        "replace",
        "emails.value[type eq \"x\"]",
        json!("x"),
        Rule::PathFilterNotAllowed,
        "emails",
    );
    check_refused(
        "replace",
        "emails[type is \"work\"].value",
        json!("x"),
        Rule::PathFilter,
        "character 13",
    );
    check_refused(
        "replace",
        "emails[type eq \"work].value",
        json!("x"),
        Rule::PathFilter,
        "character 16",
    );
    check_refused(
        "replace",
        "emails[colour eq \"red\"].value",
        json!("x"),
        Rule::PathFilter,
        "colour",
    );
    check_refused(
        "replace",
        "colours[type eq].value",
        json!("x"),
        Rule::PathFilter,
        "character 16",
    );
    check_refused(
        "replace",
        "",
        json!({"emails[type eq \"work\"": "x"}),
        Rule::PathFilter,
        "character 22",
    );
    check("replace", "  title ", json!("Chief"), json!({"title": "Chief"}));
}

/// R-PATCH-08.
#[test]
fn malformed_messages_are_refused() {
    let operations = json!([{"op": "add", "path": "title", "value": "x"}]);
    check_message_refused(json!([]), Rule::BodyNotObject);
    check_message_refused(json!({"Operations": operations}), Rule::NotPatchOp);
    check_message_refused(
        json!({"schemas": ["urn:x"], "Operations": operations}),
        Rule::NotPatchOp,
    );
    check_message_refused(message(&json!([])), Rule::NoOperations);
    check_message_refused(message(&json!({})), Rule::NoOperations);
    check_message_refused(json!({"schemas": [PATCH_OP_URN]}), Rule::NoOperations);
    check_message_refused(
        json!({"schemas": [PATCH_OP_URN], "Operations": operations, "operations": operations}),
        Rule::AttributeTwice,
    );
    check_message_refused(message(&json!(["add"])), Rule::OperationSyntax);
    check_message_refused(
        message(&json!([{"path": "title", "value": "x"}])),
        Rule::OperationSyntax,
    );
    check_message_refused(
        message(&json!([{"op": "add", "path": 1, "value": "x"}])),
        Rule::OperationSyntax,
    );
    check_message_refused(
        message(&json!([{"op": "move", "path": "title", "value": "x"}])),
        Rule::UnknownOp,
    );
    check_message_refused(message(&json!([{"op": "add", "path": "title"}])), Rule::ValueMissing);
    check_message_refused(message(&json!([{"op": "add", "value": "x"}])), Rule::ValueNotObject);
    check_message_refused(message(&json!([{"op": "remove"}])), Rule::RemoveWithoutPath);
    check_message_refused(
        message(&json!([{"op": "remove", "path": "", "value": {"title": "x"}}])),
        Rule::RemoveWithoutPath,
    );
    let many = vec![operations[0].clone(); MAX_PATCH_OPERATIONS + 1];
    check_message_refused(message(&json!(many)), Rule::TooManyOperations);
}

/// R-GEN-03: Microsoft's Postman collection is in PascalCase.
#[test]
fn names_are_read_in_any_case() {
    let before = accepted(bjensen());
    let body = json!({"Schemas": [PATCH_OP_URN], "operations": [
        {"OP": "REPLACE", "Path": "EMAILS[Type EQ \"work\"].Value", "VALUE": "b@example.com"},
        {"op": "Add", "value": {"NickName": "B", "NAME": {"GivenName": "B"}}},
    ]});
    let after = apply(&user(), &before, body, &mut Trace::default()).unwrap();
    assert_eq!(after.as_map()["emails"][0]["value"], "b@example.com");
    assert_eq!(after.as_map()["nickName"], "B");
    assert_eq!(after.as_map()["name"]["givenName"], "B");
}

/// A multi-valued part of a complex attribute, as only extensions have it.
#[test]
fn values_of_a_part_are_told_apart_and_bounded() {
    let mut bjensen = bjensen();
    bjensen[EXTRA_URN]["door"] = json!({"marks": ["red", "Blue"]});
    let before = accepted(bjensen);
    let add = |marks: &[String]| {
        let operation = json!([{"op": "add", "path": format!("{EXTRA_URN}:door.marks"), "value": marks}]);
        apply(&user(), &before, message(&operation), &mut Trace::default())
    };
    let after = add(&["RED".to_owned(), "green".to_owned()]).unwrap();
    assert_eq!(
        after.as_map()[EXTRA_URN]["door"]["marks"],
        json!(["red", "Blue", "green"])
    );
    let many: Vec<String> = (0..MAX_VALUES).map(|number| number.to_string()).collect();
    assert_eq!(add(&many).expect_err("too many").rule(), Rule::TooManyValues);
}

/// RFC 7643 §2.4: a new resource has the same notion of it as an edit.
#[test]
fn the_same_value_in_another_case_is_no_other_value() {
    let mut bjensen = bjensen();
    bjensen[EXTRA_URN]["tags"] = json!(["red", "Red"]);
    let before = accepted(bjensen);
    assert_eq!(before.as_map()[EXTRA_URN]["tags"], json!(["red"]));
}

#[test]
fn work_and_size_are_bounded() {
    let many: Vec<Value> = (0..MAX_VALUES)
        .map(|number| json!({"value": number.to_string()}))
        .collect();
    let before = apply(
        &user(),
        &accepted(bjensen()),
        message(&json!([{"op": "replace", "path": "roles", "value": many}])),
        &mut Trace::default(),
    );
    let before = before.unwrap();
    let refused = |operation: Value| {
        let refusal = apply(&user(), &before, message(&json!([operation])), &mut Trace::default());
        refusal.expect_err("too much").rule()
    };
    assert_eq!(
        refused(json!({"op": "add", "path": "roles", "value": [{"value": "more"}]})),
        Rule::TooManyValues
    );
    let filters = vec!["display co \"x\""; 500].join(" or ");
    let costly = json!({"op": "remove", "path": format!("roles[{filters}]")});
    let refusal = apply(
        &user(),
        &before,
        message(&json!(vec![costly; 10])),
        &mut Trace::default(),
    );
    assert_eq!(refusal.expect_err("too costly").rule(), Rule::PatchTooCostly);
    let text = "x".repeat(1_000);
    assert_eq!(
        refused(json!({"op": "replace", "path": "roles.display", "value": text})),
        Rule::ResourceTooLarge
    );
}

#[test]
fn refusals_hold_no_values() {
    for operation in [
        json!({"op": "replace", "path": "emails[value eq \"secret]\"].value", "value": "x"}),
        json!({"op": "replace", "path": "emails[value eq \"secret\"", "value": "x"}),
        json!({"op": "replace", "path": "emails[value co \"secret\"].display", "value": "secret"}),
        json!({"op": "replace", "path": "active", "value": "secret"}),
        json!({"op": "replace", "path": "name", "value": "secret"}),
        json!({"op": "replace", "path": "userName[value eq \"secret\"]", "value": "secret"}),
    ] {
        let refusal = apply(
            &user(),
            &accepted(bjensen()),
            message(&json!([operation])),
            &mut Trace::default(),
        );
        let error = refusal.expect_err(&operation.to_string());
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

/// Operations, sensible and not.
fn any_operation() -> impl Strategy<Value = Value> {
    let op = prop::sample::select(vec!["add", "Replace", "remove", "REMOVE", "replace", "Add"]);
    let path = prop::sample::select(vec![
        "",
        "userName",
        "title",
        "active",
        "name",
        "name.givenName",
        "emails",
        "emails.value",
        "emails.primary",
        "emails[type eq \"work\"]",
        "emails[type eq \"work\"].value",
        "emails[type eq \"other\"].primary",
        "emails[value co \"e\"].display",
        "roles",
        "roles[primary eq \"True\"].value",
        "manager",
        "manager.value",
        "manager[value eq \"26118915\"]",
        "addresses[type eq \"home\"].locality",
        "phoneNumbers",
        "colour",
        "id",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        "urn:example:2.0:Extra:tags",
        "urn:example:2.0:Extra:tags[value eq \"red\"]",
        "urn:example:2.0:Extra:keys",
        "urn:example:2.0:Extra:level",
        "urn:example:2.0:Extra:keys[value eq \"k1\"].note",
        "externalId",
        "x509Certificates",
        "schemas",
    ]);
    let value = prop::sample::select(vec![
        json!("x"),
        json!(""),
        json!(true),
        json!("False"),
        json!(7),
        json!("7"),
        Value::Null,
        json!([]),
        json!({}),
        none(),
        json!(["red", "x"]),
        json!({"value": "x"}),
        json!({"value": ""}),
        json!([{"value": "x", "primary": true}]),
        json!([{"value": "x", "type": "work"}, {"value": "Y", "type": "other", "primary": "true"}]),
        json!({"givenName": "x", "familyName": null}),
        json!({"type": "work", "display": "x"}),
        json!({"name.givenName": "x", "emails[type eq \"work\"].value": "y", "id": "z", "colour": 1}),
        json!({"manager": "x", "department": "y"}),
        json!([{"value": "k2", "door": "back"}]),
        json!([[["x"]]]),
    ]);
    (op, path, value).prop_map(|(op, path, value)| operation(op, path, &value))
}

/// A JSON value with the names that matter and some that don't.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "schemas",
        "Operations",
        "op",
        "path",
        "value",
        "userName",
        "emails",
        "type",
        "primary",
        "x",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
        Just(json!(PATCH_OP_URN)),
        Just(json!("add")),
        Just(json!("emails")),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..5).prop_map(|members| Value::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

/// The resource as a client would send it.
fn sent(attributes: &Attributes) -> Value {
    let mut document = attributes.as_map().clone();
    document.insert(
        "schemas".into(),
        json!([
            "urn:ietf:params:scim:schemas:core:2.0:User",
            ENTERPRISE_USER_URN,
            EXTRA_URN
        ]),
    );
    document.into()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_it_panic(body in any_json(), operations in any_json(), path in "\\PC*", value in any_json()) {
        let before = accepted(bjensen());
        let operation = json!([{"op": "replace", "path": path, "value": value}]);
        for body in [body, message(&operations), message(&operation)] {
            let _ = apply(&user(), &before, body, &mut Trace::default());
        }
    }

    #[test]
    fn what_a_patch_makes_is_accepted_unchanged(operations in prop::collection::vec(any_operation(), 1..6)) {
        let rt = user();
        if let Ok(after) = apply(&rt, &accepted(bjensen()), message(&json!(operations)), &mut Trace::default()) {
            let again = accept_edited(&rt, after.as_map().clone(), &mut Trace::default()).unwrap();
            prop_assert_eq!(&again, &after);
            if after.as_map().contains_key("active") {
                prop_assert_eq!(&accept(&rt, sent(&after), &mut Trace::default()).unwrap(), &after);
            }
            let nothing = message(&json!([{"op": "replace", "value": {"colour": "red"}}]));
            prop_assert_eq!(&apply(&rt, &after, nothing, &mut Trace::default()).unwrap(), &after);
        }
    }

    /// R-PATCH-01.
    #[test]
    fn a_failing_operation_refuses_the_whole(mut operations in prop::collection::vec(any_operation(), 0..5)) {
        operations.push(json!({"op": "replace", "path": "active", "value": "neither"}));
        prop_assert!(apply(&user(), &accepted(bjensen()), message(&json!(operations)), &mut Trace::default()).is_err());
    }

    #[test]
    fn one_operation_twice_is_one_operation_once(operation in any_operation()) {
        let rt = user();
        if let Ok(once) = apply(&rt, &accepted(bjensen()), message(&json!([operation])), &mut Trace::default()) {
            // What was required for the first may be gone for the second, which is then refused.
            if let Ok(twice) = apply(&rt, &once, message(&json!([operation])), &mut Trace::default()) {
                prop_assert_eq!(twice, once);
            }
        }
    }
}
