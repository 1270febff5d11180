//! The door's tests: what comes in, what is stored, what is noted.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::error::{Error, Rule};
use super::super::limits::{MAX_EMAILS, MAX_MEMBERS, MAX_STRING_BYTES, MAX_VALUES};
use super::super::members::{Member, Plan};
use super::super::normalize::{Quirk, Trace};
use super::super::schema::{
    Catalog, ENTERPRISE_USER_URN as ENTERPRISE, Extension, GROUP_URN, ResourceType, Schema, USER_URN,
};
use super::{Accepted, Attributes, accept_edited, check_immutable};

const TYPO: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User";
const BADGE: &str = "urn:example:badge";

/// Users, with an extension that has every type and an immutable attribute.
fn user() -> ResourceType {
    let mut user = ResourceType::clone(Catalog::standard().resource_type("User").unwrap());
    let badge = json!({ "id": BADGE, "name": "Badge", "attributes": [
        { "name": "serial", "type": "integer", "mutability": "immutable" },
        { "name": "weight", "type": "decimal" },
        { "name": "issued", "type": "dateTime" },
        { "name": "colours", "multiValued": true },
        { "name": "doors", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value" }, { "name": "kind", "mutability": "immutable" }, { "name": "floor", "required": true },
        ] },
    ] });
    user.extensions.push(Extension {
        schema: Schema::from_json(&badge).unwrap().into(),
        required: false,
    });
    user
}

fn accept(rt: &ResourceType, document: Value, trace: &mut Trace) -> Result<Attributes, Error> {
    super::accept(rt, document, trace).map(without_members)
}

fn replace(rt: &ResourceType, before: &Attributes, put: Value, trace: &mut Trace) -> Result<Attributes, Error> {
    super::replace(rt, before, put, trace).map(without_members)
}

#[track_caller]
fn without_members(accepted: Accepted) -> Attributes {
    assert!(accepted.members.is_empty(), "a user has no members");
    accepted.attributes
}

/// `fields` with what every create needs.
fn with_required(fields: Value) -> Value {
    let document = json!({ "schemas": [USER_URN], "userName": "bjensen", "active": true });
    joined(document, fields)
}

fn joined(mut one: Value, other: Value) -> Value {
    let Value::Object(members) = other else {
        panic!("members")
    };
    one.as_object_mut().unwrap().extend(members);
    one
}

fn accepted(document: Value) -> (Result<Value, Rule>, Vec<Quirk>) {
    let mut trace = Trace::default();
    let result = accept(&user(), document, &mut trace);
    let quirks = trace.notes().iter().map(|note| note.quirk).collect();
    (
        result
            .map(|attributes| Value::Object(attributes.0))
            .map_err(|error| error.rule()),
        quirks,
    )
}

/// Accepting `fields` stores `stored`, beside what every user has, and notes `quirks`.
#[track_caller]
fn check(fields: Value, stored: Value, quirks: &[Quirk]) {
    let mut expected = with_required(stored);
    expected.as_object_mut().unwrap().shift_remove("schemas");
    assert_eq!(accepted(with_required(fields)), (Ok(expected), quirks.to_vec()));
}

/// Accepting `fields` is refused with this detail.
#[track_caller]
fn check_refused(fields: Value, rule: Rule, detail: &str) {
    let error = accept(&user(), with_required(fields), &mut Trace::default()).unwrap_err();
    assert_eq!((error.rule(), error.detail().as_str()), (rule, detail));
}

/// R-GEN-03.
#[test]
fn names_get_their_canonical_spelling() {
    check(
        json!({ "NickName": "Babs", "NAME": { "GIVENNAME": "Barbara" }, "Roles": [{ "VALUE": "x", "Primary": true }] }),
        json!({ "nickName": "Babs", "name": { "givenName": "Barbara" }, "roles": [{ "value": "x", "primary": true }] }),
        &[],
    );
}

/// R-GEN-04; RFC 7643 §2.5.
#[test]
fn null_and_empty_are_unassigned() {
    let nothing =
        json!({ "title": null, "emails": [], "name": {}, "addresses": [null], "roles": [{}], ENTERPRISE: null });
    check(nothing, json!({}), &[]);
    check(
        json!({ "name": { "givenName": null }, ENTERPRISE: { "department": null } }),
        json!({}),
        &[],
    );
    check(json!({ "isSoftDeleted": null }), json!({}), &[]);
}

/// E-USER-15: Microsoft's validators send `""` for every optional attribute.
#[test]
fn the_empty_string_clears() {
    check(json!({ "title": "" }), json!({}), &[Quirk::EmptyStringCleared]);
    check(json!({ "emails": "" }), json!({}), &[Quirk::EmptyStringCleared; 1]);
    check(
        json!({ "name": { "givenName": "", "familyName": "J" } }),
        json!({ "name": { "familyName": "J" } }),
        &[Quirk::EmptyStringCleared],
    );
    check(
        json!({ ENTERPRISE: { "manager": { "value": "" } } }),
        json!({}),
        &[Quirk::EmptyStringCleared],
    );
    check(
        json!({ ENTERPRISE: { "manager": "" } }),
        json!({}),
        &[Quirk::EmptyStringCleared],
    );
    check(
        json!({ "emails": [{ "type": "work", "primary": true, "value": "" }] }),
        json!({}),
        &[Quirk::EmptyStringCleared, Quirk::EmptyValueDropped],
    );
}

/// R-GEN-06: Entra without its flag, and Microsoft's validator.
#[test]
fn values_get_their_schemas_type() {
    use Quirk::{BooleanString, NumberString, TextFromLiteral};
    check(
        json!({ "active": "False" }),
        json!({ "active": false }),
        &[BooleanString],
    );
    check(json!({ "active": "tRUE" }), json!({ "active": true }), &[BooleanString]);
    let emails = json!([{ "value": "b@example.com", "primary": "true" }]);
    check(
        json!({ "emails": emails }),
        json!({ "emails": [{ "value": "b@example.com", "primary": true }] }),
        &[BooleanString],
    );
    check(
        json!({ BADGE: { "serial": "-7" } }),
        json!({ BADGE: { "serial": -7 } }),
        &[NumberString],
    );
    check(
        json!({ BADGE: { "weight": "1.5" } }),
        json!({ BADGE: { "weight": 1.5 } }),
        &[NumberString],
    );
    check(
        json!({ BADGE: { "weight": 3 } }),
        json!({ BADGE: { "weight": 3 } }),
        &[],
    );
    check(
        json!({ ENTERPRISE: { "employeeNumber": 701_984 } }),
        json!({ ENTERPRISE: { "employeeNumber": "701984" } }),
        &[TextFromLiteral],
    );
    for issued in [
        "2008-01-23T04:56:22Z",
        "2008-01-23T04:56:22.123+01:00",
        "2008-01-23T04:56:22",
    ] {
        check(
            json!({ BADGE: { "issued": issued } }),
            json!({ BADGE: { "issued": issued } }),
            &[],
        );
    }
}

/// R-GEN-06.
#[test]
fn a_value_of_another_type_is_refused() {
    let wrong = |path: &str, expected: &str| format!("{path} has a value of the wrong type: expected {expected}.");
    for (fields, path, expected) in [
        (json!({ "active": "yes" }), "active", "true or false"),
        (json!({ "active": 1 }), "active", "true or false"),
        (json!({ "title": { "value": "Tour Guide" } }), "title", "a string"),
        (json!({ "title": ["Tour", "Guide"] }), "title", "a single value"),
        (json!({ "profileUrl": 7 }), "profileUrl", "a string"),
        (json!({ "name": "Barbara" }), "name", "an object"),
        (json!({ "emails": [["b@example.com"]] }), "emails", "an object"),
        (json!({ "emails": [7] }), "emails", "an object"),
        (
            json!({ "emails": [{ "value": "b@example.com", "primary": "maybe" }] }),
            "emails.primary",
            "true or false",
        ),
        (json!({ ENTERPRISE: "Sales" }), ENTERPRISE, "an object"),
        (json!({ ENTERPRISE: [{}] }), ENTERPRISE, "an object"),
        (
            json!({ BADGE: { "serial": 1.5 } }),
            "urn:example:badge:serial",
            "a whole number",
        ),
        (
            json!({ BADGE: { "serial": "1.5" } }),
            "urn:example:badge:serial",
            "a whole number",
        ),
        (
            json!({ BADGE: { "weight": "heavy" } }),
            "urn:example:badge:weight",
            "a number",
        ),
        (
            json!({ BADGE: { "weight": "NaN" } }),
            "urn:example:badge:weight",
            "a number",
        ),
    ] {
        check_refused(fields, Rule::WrongType, &wrong(path, expected));
    }
    for issued in [
        json!("2008-01-23"),
        json!("yesterday"),
        json!(1_201_064_182),
        json!("2008-02-30T00:00:00Z"),
    ] {
        let (result, _) = accepted(with_required(json!({ BADGE: { "issued": issued } })));
        assert_eq!(result, Err(Rule::WrongType), "{issued}");
    }
}

/// R-GEN-10, R-GEN-13; RFC 7644 §3.3: what the client cannot set is ignored, without a word.
#[test]
fn what_only_the_service_sets_is_dropped() {
    check(
        json!({ "id": "1", "meta": { "resourceType": "User" }, "groups": [{ "value": "g" }] }),
        json!({}),
        &[],
    );
    check(
        json!({ ENTERPRISE: { "manager": { "value": "26118915", "displayName": "John Smith" } } }),
        json!({ ENTERPRISE: { "manager": { "value": "26118915" } } }),
        &[],
    );
    // A client whose mapping fills the wrong part has no manager, and is told.
    check(
        json!({ ENTERPRISE: { "manager": { "displayName": "John Smith" } } }),
        json!({}),
        &[Quirk::ReadOnlyIgnored],
    );
}

#[test]
fn what_the_schema_lacks_is_dropped_and_noted() {
    check(
        json!({ "password": "t1meMa$heen" }),
        json!({}),
        &[Quirk::UnknownAttribute],
    );
    check(
        json!({ "urn:example:shoes": { "size": 38 } }),
        json!({}),
        &[Quirk::UnknownAttribute],
    );
    check(
        json!({ format!("{USER_URN}:shoeSize"): 38 }),
        json!({}),
        &[Quirk::UnknownAttribute],
    );
    let mut trace = Trace::default();
    let fields = json!({ "name": { "nick": "B" }, ENTERPRISE: { "room": "1", "manager": { "mood": "good" } } });
    accept(&user(), with_required(fields), &mut trace).unwrap();
    let paths: Vec<&str> = trace.notes().iter().map(|note| note.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            &format!("{ENTERPRISE}:room"),
            "name.nick",
            &format!("{ENTERPRISE}:manager.mood")
        ]
    );
}

/// E-USER-14; RFC 7644 §3.10 has them in paths; Entra's custom mappings send them as keys.
#[test]
fn keys_are_known_with_and_without_their_urn() {
    let nick = json!({ "nickName": "Babs" });
    check(
        json!({ format!("{USER_URN}:nickName"): "Babs" }),
        nick.clone(),
        &[Quirk::QualifiedKey],
    );
    check(
        json!({ format!("{}:NICKNAME", USER_URN.to_uppercase()): "Babs" }),
        nick,
        &[Quirk::QualifiedKey],
    );
    let sales = json!({ ENTERPRISE: { "department": "Sales" } });
    check(
        json!({ format!("{ENTERPRISE}:department"): "Sales" }),
        sales.clone(),
        &[Quirk::QualifiedKey],
    );
    check(
        json!({ ENTERPRISE.to_lowercase(): { "Department": "Sales" } }),
        sales.clone(),
        &[],
    );
    check(
        json!({ TYPO: { "department": "Sales" } }),
        sales.clone(),
        &[Quirk::TypoUrn],
    );
    check(json!({ "department": "Sales" }), sales, &[Quirk::UnqualifiedKey]);
    check(
        json!({ ENTERPRISE: { "department": "Sales" }, format!("{ENTERPRISE}:division"): "East" }),
        json!({ ENTERPRISE: { "department": "Sales", "division": "East" } }),
        &[Quirk::QualifiedKey],
    );
}

#[test]
fn one_attribute_under_two_spellings_is_refused() {
    let twice =
        |path: &str| format!("{path} appears twice in the body, in one or in different spellings: send it once.");
    check_refused(
        json!({ "title": "a", "Title": "b" }),
        Rule::AttributeTwice,
        &twice("Title"),
    );
    check_refused(
        json!({ "name": { "givenName": "a", "GivenName": "b" } }),
        Rule::AttributeTwice,
        &twice("name.givenName"),
    );
    let (result, _) = accepted(with_required(
        json!({ "department": "a", ENTERPRISE: { "department": "b" } }),
    ));
    assert_eq!(result, Err(Rule::AttributeTwice));
    check(
        json!({ "department": null, ENTERPRISE: { "department": "b" } }),
        json!({ ENTERPRISE: { "department": "b" } }),
        &[],
    );
}

/// E-USER-11: Entra's forms of `manager`.
#[test]
fn a_manager_is_known_in_every_form() {
    let stored = json!({ ENTERPRISE: { "manager": { "value": "26118915" } } });
    let check =
        |manager: Value, quirks: &[Quirk]| check(json!({ ENTERPRISE: { "manager": manager } }), stored.clone(), quirks);
    check(json!({ "value": "26118915" }), &[]);
    check(json!("26118915"), &[Quirk::ManagerString]);
    check(
        json!([{ "$ref": "http://example.com/scim/Users/26118915", "value": "26118915" }]),
        &[Quirk::ArrayForSingle],
    );
    check(
        json!({ "$ref": "https://example.com/scim/Users/26118915/" }),
        &[Quirk::ValueFromReference],
    );
    check(json!({ "$ref": null, "value": "26118915" }), &[]);
}

#[test]
fn one_value_and_an_array_of_one_are_the_same() {
    let emails = json!({ "emails": [{ "value": "b@example.com" }] });
    check(
        json!({ "emails": { "value": "b@example.com" } }),
        emails.clone(),
        &[Quirk::SingleForArray],
    );
    check(
        json!({ "emails": ["b@example.com"] }),
        emails.clone(),
        &[Quirk::PlainValue],
    );
    check(
        json!({ "emails": "b@example.com" }),
        emails,
        &[Quirk::SingleForArray, Quirk::PlainValue],
    );
    check(
        json!({ "title": ["Guide"] }),
        json!({ "title": "Guide" }),
        &[Quirk::ArrayForSingle],
    );
    check(
        json!({ BADGE: { "colours": "red" } }),
        json!({ BADGE: { "colours": ["red"] } }),
        &[Quirk::SingleForArray],
    );
}

/// E-USER-13: Entra's `SingleAppRoleAssignment` sends an object as a string; it is the role's value.
#[test]
fn a_role_in_a_string_stays_a_string() {
    let role = json!({ "roles": [{ "value": "{\"id\":\"06b07648\",\"value\":\"25\"}" }] });
    check(role.clone(), role, &[]);
    check(
        json!({ "roles": [{ "primary": "True", "type": "WindowsAzureActiveDirectoryRole", "value": "Admin" }] }),
        json!({ "roles": [{ "value": "Admin", "type": "WindowsAzureActiveDirectoryRole", "primary": true }] }),
        &[Quirk::BooleanString],
    );
}

/// E-USER-09: Microsoft's validator sends made-up text for certificates and addresses of profiles.
#[test]
fn binaries_and_references_are_kept_as_they_come() {
    let certificate = |value: &str| json!({ "x509Certificates": [{ "value": value }] });
    check(
        certificate("MIIDQzCCAqygAwIBAgICEAA="),
        certificate("MIIDQzCCAqygAwIBAgICEAA="),
        &[],
    );
    check(
        certificate("not base64!"),
        certificate("not base64!"),
        &[Quirk::NotBase64],
    );
    check(
        json!({ "profileUrl": "https://example.com/b" }),
        json!({ "profileUrl": "https://example.com/b" }),
        &[],
    );
    check(
        json!({ "profileUrl": "DELLXYZ" }),
        json!({ "profileUrl": "DELLXYZ" }),
        &[Quirk::NotUri],
    );
}

/// R-GEN-07; RFC 7643 §2.4.
#[test]
fn the_same_type_and_value_is_one_value() {
    check(
        json!({ "emails": [
            { "type": "work", "value": "b@example.com", "display": "old" },
            { "type": "home", "value": "b@example.com" },
            { "type": "Work", "value": "B@Example.com", "primary": true, "display": "new" },
        ] }),
        json!({ "emails": [
            { "type": "Work", "value": "B@Example.com", "display": "new", "primary": true },
            { "type": "home", "value": "b@example.com" },
        ] }),
        &[Quirk::DuplicateValue],
    );
    let address = |locality: &str| json!({ "type": "work", "locality": locality });
    check(
        json!({ "addresses": [address("A"), address("B"), address("A")] }),
        json!({ "addresses": [address("A"), address("B")] }),
        &[Quirk::DuplicateValue],
    );
    let colours = json!({ BADGE: { "colours": ["red", "blue", "red"] } });
    check(
        colours,
        json!({ BADGE: { "colours": ["red", "blue"] } }),
        &[Quirk::DuplicateValue],
    );
}

/// R-GEN-07; RFC 7643 §2.4.
#[test]
fn one_value_is_primary_at_most() {
    let emails =
        |second: bool| json!({ "emails": [{ "value": "a", "primary": true }, { "value": "b", "primary": second }] });
    check(emails(false), emails(false), &[]);
    check_refused(
        emails(true),
        Rule::SeveralPrimaries,
        "emails has more than one value with primary true: mark one only.",
    );
}

#[test]
fn what_is_required_must_be_there() {
    let detail = "userName is required, and is missing or empty: send a value.";
    for name in [Value::Null, json!(""), json!("  "), json!([])] {
        check_refused(json!({ "userName": name }), Rule::RequiredMissing, detail);
    }
    let (result, _) = accepted(json!({ "schemas": [USER_URN] }));
    assert_eq!(result, Err(Rule::RequiredMissing));
    let doors = json!({ BADGE: { "doors": [{ "value": "a" }] } });
    check_refused(
        doors,
        Rule::RequiredMissing,
        "urn:example:badge:doors.floor is required, and is missing or empty: send a value.",
    );
}

#[test]
fn limits_hold() {
    let many = |count: usize| {
        (0..count)
            .map(|n| json!({ "value": format!("{n}@example.com") }))
            .collect::<Value>()
    };
    assert!(accepted(with_required(json!({ "emails": many(MAX_EMAILS) }))).0.is_ok());
    check_refused(
        json!({ "emails": many(MAX_EMAILS + 1) }),
        Rule::TooManyValues,
        "emails has more than 40 values: send fewer.",
    );
    assert!(accepted(with_required(json!({ "roles": many(MAX_VALUES) }))).0.is_ok());
    assert_eq!(
        accepted(with_required(json!({ "roles": many(MAX_VALUES + 1) }))).0,
        Err(Rule::TooManyValues)
    );
    let long = "x".repeat(MAX_STRING_BYTES);
    assert!(accepted(with_required(json!({ "title": long }))).0.is_ok());
    assert_eq!(
        accepted(with_required(json!({ "title": format!("{long}x") }))).0,
        Err(Rule::ValueTooLong)
    );
    let large: Value = (0..17)
        .map(|n| json!({ "value": format!("{n}{}", &long[2..]) }))
        .collect();
    let (result, _) = accepted(with_required(json!({ "roles": large })));
    assert_eq!(result, Err(Rule::ResourceTooLarge));
}

#[test]
fn control_characters_are_refused_but_line_breaks_in_addresses() {
    let address = json!({ "addresses": [{ "formatted": "100 Universal City Plaza\r\nHollywood" }] });
    check(address.clone(), address, &[]);
    for text in ["a\0b", "a\u{1b}b", "a\u{7f}", "a\u{85}b"] {
        check_refused(
            json!({ "displayName": text }),
            Rule::ControlCharacter,
            "displayName has a control character in its value: remove it.",
        );
    }
    assert_eq!(
        accepted(with_required(json!({ "userName": "a\nb" }))).0,
        Err(Rule::ControlCharacter)
    );
}

/// R-GEN-08; RFC 7643 §3.
#[test]
fn schemas_name_this_type_and_its_extensions() {
    #[track_caller]
    fn check(schemas: &Value, expected: Result<&[Quirk], Rule>) {
        let (result, quirks) = accepted(json!({ "Schemas": schemas, "userName": "bjensen" }));
        assert_eq!(result.map(|_| quirks), expected.map(<[Quirk]>::to_vec), "{schemas}");
    }
    let adscim = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/User";
    let group = "urn:ietf:params:scim:schemas:core:2.0:Group";
    check(&json!([USER_URN]), Ok(&[]));
    check(&json!([USER_URN.to_uppercase(), ENTERPRISE.to_uppercase()]), Ok(&[]));
    check(&json!([USER_URN, TYPO]), Ok(&[Quirk::TypoUrn]));
    check(&json!([USER_URN, adscim]), Ok(&[Quirk::ForeignSchema]));
    check(&json!([ENTERPRISE]), Ok(&[Quirk::CoreSchemaMissing]));
    check(&json!(USER_URN), Ok(&[Quirk::SingleForArray]));
    check(&json!([USER_URN, "urn:example:shoes"]), Err(Rule::UnknownSchema));
    check(&json!([USER_URN, group]), Err(Rule::UnknownSchema));
    check(&json!([group]), Err(Rule::OtherResourceType));
    check(&json!(["urn:example:shoes"]), Err(Rule::UnknownSchema));
    check(&json!([]), Err(Rule::SchemasMissing));
    check(&json!(""), Err(Rule::SchemasMissing));
    check(&Value::Null, Err(Rule::SchemasMissing));
    check(&json!([7]), Err(Rule::WrongType));
    check(&json!({}), Err(Rule::WrongType));
    let error = accept(&user(), json!({ "schemas": [group] }), &mut Trace::default()).unwrap_err();
    assert_eq!(
        error.detail(),
        format!("schemas names {group}, which belongs to another endpoint: this one takes {USER_URN}.")
    );
}

#[test]
fn a_body_is_an_object() {
    for body in [json!([]), json!("User"), Value::Null] {
        assert_eq!(accepted(body).0, Err(Rule::BodyNotObject));
    }
}

fn stored(fields: Value) -> Attributes {
    accept(&user(), with_required(fields), &mut Trace::default()).unwrap()
}

/// R-PUT-01, R-PUT-02; RFC 7644 §3.5.1: what is left out is cleared. Okta's PUT leaves out `active`, which must
/// neither bring a leaver back nor lock anyone out.
#[test]
fn a_replace_clears_all_but_active_and_what_is_immutable() {
    #[track_caller]
    fn check(before: Value, put: Value, after: Value) {
        let result = replace(&user(), &stored(before), put, &mut Trace::default());
        let expected = joined(json!({ "userName": "bjensen" }), after);
        assert_eq!(result.map(|attributes| Value::Object(attributes.0)), Ok(expected));
    }
    let bare = || json!({ "schemas": [USER_URN], "userName": "bjensen" });
    check(
        json!({ "title": "Guide", "active": true }),
        bare(),
        json!({ "active": true }),
    );
    check(
        json!({ "active": false, ENTERPRISE: { "department": "Sales" } }),
        bare(),
        json!({ "active": false }),
    );
    check(
        json!({ "active": false }),
        with_required(json!({ "active": null })),
        json!({ "active": false }),
    );
    check(
        json!({ "active": false }),
        with_required(json!({ "active": true })),
        json!({ "active": true }),
    );
    check(
        json!({ BADGE: { "serial": 7, "weight": 1 } }),
        with_required(json!({})),
        json!({ "active": true, BADGE: { "serial": 7 } }),
    );
    check(
        json!({ BADGE: { "serial": 7 } }),
        with_required(json!({ BADGE: { "serial": "7", "weight": 2 } })),
        json!({ "active": true, BADGE: { "serial": 7, "weight": 2 } }),
    );
}

#[test]
fn a_create_without_active_is_active_and_an_edit_is_left_alone() {
    let created = accept(
        &user(),
        json!({ "schemas": [USER_URN], "userName": "b" }),
        &mut Trace::default(),
    )
    .unwrap();
    assert_eq!(created.as_map()["active"], true);
    let mut edited = created.as_map().clone();
    edited.shift_remove("active");
    let edited = accept_edited(&user(), edited, &mut Trace::default()).unwrap();
    assert!(!edited.as_map().contains_key("active"));
}

/// R-PATCH-10; RFC 7643 §7.
#[test]
fn what_is_immutable_is_set_once() {
    #[track_caller]
    fn check(before: Value, after: Value, refused: Option<&str>) {
        let [before, after] =
            [before, after].map(|badge| stored(Value::Object([(BADGE.to_owned(), badge)].into_iter().collect())));
        let result = check_immutable(&user(), &before, &after);
        let detail = refused
            .map(|path| format!("{path} cannot be changed once it has a value: leave it out, or make a new resource."));
        assert_eq!(result.err().map(|error| error.detail()), detail);
    }
    check(json!({}), json!({ "serial": 7 }), None);
    check(json!({ "serial": 7 }), json!({ "serial": "7" }), None);
    check(
        json!({ "serial": 7 }),
        json!({ "serial": 8 }),
        Some("urn:example:badge:serial"),
    );
    check(json!({ "serial": 7 }), json!({}), Some("urn:example:badge:serial"));
    let door = |value: &str, kind: &str, floor: &str| json!({ "value": value, "kind": kind, "floor": floor });
    let doors = |doors: &[Value]| json!({ "doors": doors });
    check(
        doors(&[door("a", "glass", "1")]),
        doors(&[door("b", "wood", "1"), door("a", "glass", "2")]),
        None,
    );
    check(doors(&[door("a", "glass", "1")]), doors(&[]), None);
    check(doors(&[door("a", "", "1")]), doors(&[door("a", "wood", "1")]), None);
    check(
        doors(&[door("a", "glass", "1")]),
        doors(&[door("a", "wood", "1")]),
        Some("urn:example:badge:doors.kind"),
    );
}

/// E-GROUP-01; RFC 7644 §3.3, §3.5.1: a group's attributes, and what a create and a replace make of its members.
#[test]
fn members_are_no_attributes_of_a_group() {
    #[track_caller]
    fn check(fields: Value, stored: Value, ids: &str, quirks: &[Quirk]) {
        let catalog = Catalog::standard();
        let group = catalog.resource_type("Group").unwrap();
        let document = joined(json!({ "schemas": [GROUP_URN], "displayName": "Tour Guides" }), fields);
        let stored = joined(json!({ "displayName": "Tour Guides" }), stored);
        let named = |members: Vec<Member>| {
            let ids: Vec<String> = members.into_iter().map(|member| member.id).collect();
            ids.join(" ")
        };
        let mut trace = Trace::default();
        let created = super::accept(group, document.clone(), &mut trace).unwrap();
        assert_eq!(Value::Object(created.attributes.0.clone()), stored, "{document}");
        assert_eq!(
            trace.notes().iter().map(|note| note.quirk).collect::<Vec<_>>(),
            quirks,
            "{document}"
        );
        match created.members.plan() {
            Plan::Nothing => assert!(created.members.is_empty() && ids.is_empty(), "{document}"),
            Plan::Named(change) => assert_eq!((named(change.add).as_str(), change.remove), (ids, vec![]), "{document}"),
            other => panic!("a create makes {other:?} of {document}"),
        }
        let put = super::replace(group, &created.attributes, document.clone(), &mut Trace::default()).unwrap();
        assert_eq!(Value::Object(put.attributes.0), stored, "{document}");
        let Plan::Whole(members) = put.members.plan() else {
            panic!("a replace leaves members of {document}")
        };
        assert_eq!(named(members), ids, "{document}");
    }
    const ADSCIM: &str = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";
    check(json!({}), json!({}), "", &[]);
    check(
        json!({ "schemas": [GROUP_URN, ADSCIM], "externalId": "8aa1a0c0", "meta": { "resourceType": "Group" } }),
        json!({ "externalId": "8aa1a0c0" }),
        "",
        &[Quirk::ForeignSchema],
    );
    check(json!({ "members": [] }), json!({}), "", &[]);
    check(json!({ "members": null }), json!({}), "", &[]);
    check(
        json!({ "members": [{ "value": "a", "$ref": null }, { "value": "b" }] }),
        json!({}),
        "a b",
        &[],
    );
    check(
        json!({ "members": [{ "value": "a" }, { "value": "a" }] }),
        json!({}),
        "a",
        &[Quirk::DuplicateValue],
    );
    check(json!({ "MEMBERS": ["a", "b"] }), json!({}), "a b", &[Quirk::PlainValue]);
    check(
        json!({ format!("{GROUP_URN}:members"): [{ "value": "a" }] }),
        json!({}),
        "a",
        &[Quirk::QualifiedKey],
    );
}

#[test]
fn members_are_refused_with_their_position() {
    #[track_caller]
    fn check(fields: Value, rule: Rule, detail: &str) {
        let catalog = Catalog::standard();
        let group = catalog.resource_type("Group").unwrap();
        let document = joined(json!({ "schemas": [GROUP_URN], "displayName": "Tour Guides" }), fields);
        let error = super::accept(group, document, &mut Trace::default()).unwrap_err();
        assert_eq!((error.rule(), error.detail().as_str()), (rule, detail));
    }
    check(
        json!({ "members": [{ "value": "a" }, { "display": "Babs" }] }),
        Rule::MemberWithoutValue,
        "members (value 2) names nobody: send the id of a user or a group as value.",
    );
    check(
        json!({ "members": 7 }),
        Rule::WrongType,
        "members (value 1) has a value of the wrong type: expected an object.",
    );
    check(
        json!({ "members": [{ "value": "bjensen@example.com " }] }),
        Rule::UnknownMember,
        "There is no user and no group with the id ...  to be a member: provision it first.",
    );
    check(
        json!({ "displayName": " " }),
        Rule::RequiredMissing,
        "displayName is required, and is missing or empty: send a value.",
    );
    let many: Vec<String> = (0..=MAX_MEMBERS).map(|number| number.to_string()).collect();
    check(
        json!({ "members": many }),
        Rule::TooManyMembers,
        "The request names more than 10000 members: send them in several requests. The group may have more.",
    );
}

proptest! {
    /// What was accepted once is accepted again unchanged, so a PATCH that edits nothing changes nothing.
    #[test]
    fn accepting_is_idempotent(document in any_document()) {
        if let Ok(once) = accept(&user(), document, &mut Trace::default()) {
            let mut trace = Trace::default();
            let twice = accept_edited(&user(), once.as_map().clone(), &mut trace);
            prop_assert_eq!(twice.as_ref(), Ok(&once));
            prop_assert!(!serde_json::to_string(once.as_map()).unwrap().contains("null"));
        }
    }
}

/// Documents of names the schemas have, with values that often fit.
fn any_document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "work",
            "True",
            "b@example.com",
            "ß",
            "SS",
            "1.5",
            "2008-01-23T04:56:22Z"
        ])
        .prop_map(Value::from),
    ];
    let names = vec![
        "value",
        "VALUE",
        "type",
        "primary",
        "display",
        "$ref",
        "givenName",
        "floor",
        "kind",
        "manager",
        "department",
        "serial",
        "weight",
        "issued",
        "colours",
        "doors",
    ];
    let value = leaf.prop_recursive(3, 24, 4, move |inner| {
        let names = prop::sample::select(names.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((names, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())),
        ]
    });
    let names = vec![
        "name",
        "title",
        "emails",
        "addresses",
        "roles",
        "x509Certificates",
        "profileUrl",
        "department",
        "active",
        "externalId",
        ENTERPRISE,
        BADGE,
        TYPO,
    ];
    prop::collection::vec((prop::sample::select(names), value), 0..5).prop_map(|members| {
        with_required(Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        ))
    })
}
