//! What `/Schemas` says of attributes (RFC 7643 §7, §8.7.1), and that it is true of each.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, Tenant, USER_URN, encoded, patch_op, user, user_with},
};

cases![
    the_user_schema_is_the_rfcs_without_password,
    the_enterprise_schema_is_the_rfcs,
    characteristics_are_spelled_as_in_the_rfc,
    what_is_advertised_can_be_created,
    what_is_advertised_can_be_patched_searched_selected_and_removed,
    what_is_read_only_is_ignored,
];

/// RFC 7643 §8.7.1: each attribute with its type and what is not the default of §2.2. `password` is not supported,
/// and `active` is required, as every user has it.
const USER: &str = "\
    userName string required server
    name complex: formatted familyName givenName middleName honorificPrefix honorificSuffix
    displayName string
    nickName string
    profileUrl reference
    title string
    userType string
    preferredLanguage string
    locale string
    timezone string
    active boolean required
    emails complex multiValued: value display type primary/boolean
    phoneNumbers complex multiValued: value display type primary/boolean
    ims complex multiValued: value display type primary/boolean
    photos complex multiValued: value/reference display type primary/boolean
    addresses complex multiValued: formatted streetAddress locality region postalCode country type
    groups complex multiValued readOnly: value $ref/reference display type
    entitlements complex multiValued: value display type primary/boolean
    roles complex multiValued: value display type primary/boolean
    x509Certificates complex multiValued: value/binary display type primary/boolean";

/// RFC 7643 §8.7.1.
const ENTERPRISE: &str = "\
    employeeNumber string
    costCenter string
    organization string
    division string
    department string
    manager complex: value $ref/reference displayName";

async fn attributes(t: &Tenant, urn: &str) -> Vec<Value> {
    let schema = t.get(&format!("/Schemas/{urn}")).await.is(200);
    schema.body["attributes"].as_array().expect("attributes").clone()
}

#[track_caller]
fn named<'a>(attributes: &'a [Value], name: &str) -> &'a Value {
    let found = attributes.iter().find(|attribute| attribute["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn subs(attribute: &Value) -> &[Value] {
    attribute["subAttributes"].as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
fn check(attributes: &[Value], expected: &str) {
    for line in expected.lines() {
        let (head, parts) = line.split_once(':').unwrap_or((line, ""));
        let mut words = head.split_whitespace();
        let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let flags: Vec<_> = words.collect();
        let attribute = named(attributes, name);
        assert_eq!(attribute["type"], kind, "{name}");
        for flag in ["multiValued", "required"] {
            assert_eq!(attribute[flag], flags.contains(&flag), "{name}.{flag}");
        }
        let mutability = if flags.contains(&"readOnly") {
            "readOnly"
        } else {
            "readWrite"
        };
        assert_eq!(attribute["mutability"], mutability, "{name}");
        let uniqueness = if flags.contains(&"server") { "server" } else { "none" };
        assert_eq!(attribute["uniqueness"], uniqueness, "{name}");
        assert_eq!(attribute["returned"], "default", "{name}");
        for part in parts.split_whitespace() {
            let (part, kind) = part.split_once('/').unwrap_or((part, "string"));
            let sub = named(subs(attribute), part);
            assert_eq!(
                (&sub["type"], &sub["multiValued"]),
                (&json!(kind), &json!(false)),
                "{name}.{part}"
            );
        }
    }
}

/// R-GEN-16, R-SCHEMA-01.
async fn the_user_schema_is_the_rfcs_without_password(t: &Tenant) {
    let attributes = attributes(t, USER_URN).await;
    check(&attributes, USER);
    assert_eq!(attributes.len(), USER.lines().count());
    for (name, types) in [
        ("emails", json!(["work", "home", "other"])),
        (
            "phoneNumbers",
            json!(["work", "home", "mobile", "fax", "pager", "other"]),
        ),
        (
            "ims",
            json!(["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"]),
        ),
        ("photos", json!(["photo", "thumbnail"])),
        ("addresses", json!(["work", "home", "other"])),
        ("groups", json!(["direct", "indirect"])),
    ] {
        assert_eq!(
            named(subs(named(&attributes, name)), "type")["canonicalValues"],
            types,
            "{name}"
        );
    }
}

/// R-SCHEMA-03.
async fn the_enterprise_schema_is_the_rfcs(t: &Tenant) {
    let attributes = attributes(t, ENTERPRISE_URN).await;
    check(&attributes, ENTERPRISE);
    assert_eq!(attributes.len(), ENTERPRISE.lines().count());
    let manager = subs(named(&attributes, "manager"));
    assert_eq!(named(manager, "displayName")["mutability"], "readOnly");
    assert_eq!(named(manager, "$ref")["referenceTypes"], json!(["User"]));
}

/// R-DISC-03: Entra refuses a schema with nulls or with keywords in another case.
async fn characteristics_are_spelled_as_in_the_rfc(t: &Tenant) {
    let keywords = [
        (
            "type",
            [
                "string",
                "boolean",
                "decimal",
                "integer",
                "dateTime",
                "binary",
                "reference",
                "complex",
            ]
            .as_slice(),
        ),
        ("mutability", &["readOnly", "readWrite", "immutable", "writeOnly"]),
        ("returned", &["always", "never", "default", "request"]),
        ("uniqueness", &["none", "server", "global"]),
    ];
    let list = t.get("/Schemas").await.is(200);
    for schema in list.body["Resources"].as_array().expect("a list") {
        assert_eq!(
            schema["schemas"],
            json!(["urn:ietf:params:scim:schemas:core:2.0:Schema"])
        );
        assert!(
            schema["name"].is_string() && schema["description"].is_string(),
            "{schema}"
        );
        let mut all: Vec<&Value> = schema["attributes"].as_array().expect("attributes").iter().collect();
        let parts: Vec<&Value> = all.iter().flat_map(|attribute| subs(attribute)).collect();
        assert!(parts.iter().all(|part| part["type"] != "complex"), "RFC 7643 §2.3.8");
        all.extend(parts);
        for attribute in all {
            for (characteristic, known) in keywords {
                let keyword = attribute[characteristic].as_str().unwrap_or_default();
                assert!(known.contains(&keyword), "{characteristic} of {attribute}");
            }
            for flag in ["multiValued", "required"] {
                assert!(attribute[flag].is_boolean(), "{flag} of {attribute}");
            }
            assert!(
                attribute["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{attribute}"
            );
            let kind = attribute["type"].as_str().unwrap_or_default();
            assert_eq!(kind == "complex", !subs(attribute).is_empty(), "{attribute}");
            assert_eq!(
                kind == "reference",
                attribute["referenceTypes"].is_array(),
                "{attribute}"
            );
            assert!(kind != "string" || attribute["caseExact"].is_boolean(), "{attribute}");
        }
        let names = schema["attributes"].as_array().expect("attributes").iter();
        let names: Vec<_> = names
            .map(|one| one["name"].as_str().unwrap_or_default().to_lowercase())
            .collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }
}

/// A value of the attribute's type; none if it is not the client's to give.
fn sample(attribute: &Value) -> Option<Value> {
    let to_a_resource = attribute["referenceTypes"]
        .as_array()
        .is_some_and(|types| types.contains(&json!("User")));
    if attribute["mutability"] == "readOnly" || to_a_resource {
        return None;
    }
    let one = match attribute["type"].as_str().unwrap_or_default() {
        "boolean" => json!(true),
        "integer" => json!(7),
        "decimal" => json!(7.5),
        "dateTime" => json!("2026-01-31T08:00:00Z"),
        "binary" => json!("MIIDQzCCAqygAwIBAgICEAAwDQYJKoZIhvcNAQEFBQA="),
        "reference" => json!("https://example.com/1"),
        "complex" => {
            let parts = subs(attribute).iter();
            let parts = parts.filter_map(|part| Some((part["name"].as_str()?.to_owned(), sample(part)?)));
            Value::Object(parts.collect())
        }
        _ => attribute["canonicalValues"]
            .get(0)
            .unwrap_or(&attribute["name"])
            .clone(),
    };
    Some(if attribute["multiValued"] == true {
        json!([one])
    } else {
        one
    })
}

/// Every attribute that a client may give, by its path, with a value.
async fn samples(t: &Tenant) -> Vec<(&'static str, String, Value)> {
    let mut all = Vec::new();
    for urn in [USER_URN, ENTERPRISE_URN] {
        for attribute in attributes(t, urn).await {
            let name = attribute["name"].as_str().unwrap_or_default().to_owned();
            all.extend(sample(&attribute).map(|value| (urn, name, value)));
        }
    }
    assert!(all.len() > 20, "{all:?}");
    all
}

/// A document with this attribute alone.
fn holding(urn: &str, name: &str, value: Value) -> Value {
    let inner = Value::Object(Map::from_iter([(name.to_owned(), value)]));
    if urn == USER_URN { inner } else { json!({ urn: inner }) }
}

/// R-SCHEMA-01: nothing advertised is dropped.
async fn what_is_advertised_can_be_created(t: &Tenant) {
    let mut sent = json!({ "schemas": [USER_URN, ENTERPRISE_URN], ENTERPRISE_URN: {} });
    for (urn, name, value) in samples(t).await {
        if urn == USER_URN {
            sent[name] = value;
        } else {
            sent[urn][name] = value;
        }
    }
    let created = t.post("/Users", sent.clone()).await.is(201).has(&sent);
    assert_eq!(created.header("scimgate-normalized"), None, "{created}");
    t.get(&created.place()).await.is(200).has(&sent);
    t.put(&created.place(), user("jsmith@example.com")).await.is(200);
    t.put(&created.place(), sent.clone()).await.is(200).has(&sent);
}

/// R-SCHEMA-01: each by its URN-qualified path, in the case of the schema.
async fn what_is_advertised_can_be_patched_searched_selected_and_removed(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    let found = async |path: &str| t.find(&format!("{path} pr")).await.is(200).total();
    for (urn, name, value) in samples(t).await {
        let path = format!("{urn}:{name}");
        let expected = holding(urn, &name, value.clone());
        let set = patch_op(json!([{ "op": "replace", "path": path, "value": value }]));
        let patched = t.patch(&user.place(), set).await.is(200).has(&expected);
        assert_eq!(patched.header("scimgate-normalized"), None, "{path}: {patched}");
        assert_eq!(found(&path).await, 1, "{path}");
        let selected = t.get(&format!("{}?attributes={}", user.place(), encoded(&path))).await;
        let selected = selected.is(200).has(&expected);
        assert_eq!(selected.body.as_object().map(Map::len), Some(3), "{path}: {selected}");
        // The one is required, the other has no third state.
        if name == "userName" || name == "active" {
            continue;
        }
        let remove = patch_op(json!([{ "op": "remove", "path": path }]));
        let removed = t.patch(&user.place(), remove).await.is(200);
        let holder = if urn == USER_URN {
            Some(&removed.body)
        } else {
            removed.body.get(urn)
        };
        assert_eq!(holder.and_then(|holder| holder.get(&name)), None, "{path}: {removed}");
        assert_eq!(found(&path).await, 0, "{path}");
    }
}

/// RFC 7644 §3.3, §3.5.1.
async fn what_is_read_only_is_ignored(t: &Tenant) {
    let sent = user_with(
        "bjensen@example.com",
        json!({
            "groups": [{ "value": "e9e30dba", "display": "Tour Guides", "type": "direct" }],
            ENTERPRISE_URN: { "manager": { "displayName": "John Smith" } },
        }),
    );
    let created = t.post("/Users", sent.clone()).await.is(201);
    for answer in [t.put(&created.place(), sent).await, t.get(&created.place()).await] {
        assert_eq!(answer.is(200).body, created.body);
    }
    for name in ["groups", ENTERPRISE_URN] {
        assert_eq!(created.body.get(name), None, "{created}");
    }
}
