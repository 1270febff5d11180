//! A tenant's own extensions (RFC 7643 §3.3, §7): every characteristic in every part of the protocol, and what becomes of
//! values whose schema is another one by now.

use std::time::Duration;

use scimgate::tenants::{Counted, NewExtension};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, Tenant, USER_URN, encoded, patch_op, user, user_with},
};

cases![
    an_extension_is_discovered_by_its_tenant_only,
    its_values_are_created_read_replaced_and_named_in_schemas,
    its_names_are_found_in_every_spelling,
    a_patch_adds_and_removes_the_urn,
    values_have_their_types,
    filters_know_types_and_case,
    an_attribute_is_returned_as_its_schema_says,
    an_attribute_is_changed_as_its_schema_says,
    values_with_parts_are_patched_one_by_one,
    what_is_required_must_be_there,
    groups_are_extended_too,
    a_removed_extension_breaks_nothing,
    a_changed_type_hides_what_does_not_fit,
    what_no_schema_has_is_dropped_and_counted,
    the_enterprise_extension_keeps_its_names,
];

const BADGE: &str = "urn:ietf:params:scim:schemas:extension:example:2.0:User";

/// Something of every type and with every characteristic.
fn attributes() -> Value {
    json!([
        { "name": "serial", "caseExact": true, "mutability": "immutable", "returned": "always" },
        { "name": "title2", "description": "What stands on it." },
        { "name": "lost", "type": "boolean" },
        { "name": "rate", "type": "decimal" },
        { "name": "level", "type": "integer" },
        { "name": "issued", "type": "dateTime" },
        { "name": "photo", "type": "binary", "returned": "request" },
        { "name": "page", "type": "reference", "referenceTypes": ["external"] },
        { "name": "pin", "mutability": "writeOnly", "returned": "never" },
        { "name": "seen", "mutability": "readOnly" },
        { "name": "colours", "multiValued": true },
        { "name": "doors", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value", "caseExact": true }, { "name": "type" }, { "name": "primary", "type": "boolean" },
            { "name": "floors", "type": "integer", "multiValued": true },
            { "name": "code", "returned": "never" },
        ] },
        { "name": "owner", "type": "complex", "subAttributes": [
            { "name": "value" }, { "name": "$ref", "type": "reference", "referenceTypes": ["User"] },
        ] },
    ])
}

async fn extended(t: &Tenant) -> Tenant {
    t.extended("User", BADGE, attributes()).await
}

/// A user with these values of the extension.
fn holder(name: &str, values: Value) -> Value {
    let extension = Map::from_iter([(BADGE.to_owned(), values)]);
    let mut user = user_with(name, Value::Object(extension));
    user["schemas"] = json!([USER_URN, BADGE]);
    user
}

fn path(name: &str) -> String {
    format!("{BADGE}:{name}")
}

fn one(op: &str, path: &str, value: Value) -> Value {
    let mut operation = json!({ "op": op, "path": path });
    operation["value"] = value;
    patch_op(Value::Array(vec![operation]))
}

/// R-SCHEMA-04, R-DISC-02, R-DISC-03, R-GEN-05 (RFC 7643 §2.2: defaults are told), E-TEST-02 (Entra: no nulls).
async fn an_extension_is_discovered_by_its_tenant_only(t: &Tenant) {
    let neighbour = t.neighbour().await;
    let t = extended(t).await;
    let schema = t.get(&format!("/Schemas/{}", BADGE.to_uppercase())).await.is(200);
    assert_eq!((schema.text("/id"), schema.text("/name")), (BADGE, BADGE));
    let told = schema.body["attributes"].as_array().expect("attributes");
    for (told, given) in std::iter::zip(told, attributes().as_array().expect("attributes")) {
        let characteristic =
            |name: &str, default: Value| (told[name].clone(), given.get(name).cloned().unwrap_or(default));
        for (told, given) in [
            characteristic("name", json!(null)),
            characteristic("type", json!("string")),
            characteristic("multiValued", json!(false)),
            characteristic("required", json!(false)),
            characteristic("mutability", json!("readWrite")),
            characteristic("returned", json!("default")),
            characteristic("uniqueness", json!("none")),
        ] {
            assert_eq!(told, given);
        }
    }
    assert!(!String::from_utf8_lossy(&schema.bytes).contains("null"));
    let list = t.get("/Schemas").await.is(200);
    assert!(
        list.body["Resources"]
            .as_array()
            .expect("a list")
            .contains(&schema.body)
    );
    let expected = json!({ "schema": BADGE, "required": false });
    let has = |list: &Value| list.as_array().is_some_and(|list| list.contains(&expected));
    assert!(has(
        &t.get("/ResourceTypes/User").await.is(200).body["schemaExtensions"]
    ));
    assert!(!has(
        &t.get("/ResourceTypes/Group").await.is(200).body["schemaExtensions"]
    ));
    neighbour.get(&format!("/Schemas/{BADGE}")).await.is(404);
    assert!(!has(
        &neighbour.get("/ResourceTypes/User").await.is(200).body["schemaExtensions"]
    ));
    neighbour
        .post("/Users", holder("bjensen", json!({ "title2": "x" })))
        .await
        .refused(400, "invalidValue", &[BADGE]);
}

/// R-SCHEMA-04 (RFC 7643 §3.3).
async fn its_values_are_created_read_replaced_and_named_in_schemas(t: &Tenant) {
    let t = extended(t).await;
    let values = json!({
        "serial": "A17", "title2": "Guide", "lost": false, "rate": 2.5, "level": 3, "issued": "2026-01-31T08:00:00Z",
        "page": "https://example.com/17", "colours": ["red", "green"],
        "doors": [{ "value": "d1", "type": "front", "primary": true, "floors": [1, 2] }],
    });
    let created = t.post("/Users", holder("bjensen", values.clone())).await.is(201);
    assert_eq!(created.header("scimgate-normalized"), None, "{created}");
    assert_eq!(created.body[BADGE], values);
    assert_eq!(created.body["schemas"], json!([USER_URN, BADGE]));
    let read = t.get(&created.place()).await.is(200);
    assert_eq!(read.body, created.body);
    assert_eq!(t.find(&format!("schemas eq \"{BADGE}\"")).await.is(200).total(), 1);
    let replaced = t
        .put(&created.place(), holder("bjensen", json!({ "serial": "A17" })))
        .await
        .is(200);
    assert_eq!(replaced.body[BADGE], json!({ "serial": "A17" }));
    // What is immutable stays, so the extension does (RFC 7644 §3.5.1).
    let without = t.put(&created.place(), user("bjensen")).await.is(200);
    assert_eq!(without.body[BADGE], json!({ "serial": "A17" }));
    let other = t.post("/Users", holder("jsmith", json!({ "level": 1 }))).await.is(201);
    let bare = t.put(&other.place(), user("jsmith")).await.is(200);
    assert_eq!(
        (bare.body.get(BADGE), &bare.body["schemas"]),
        (None, &json!([USER_URN]))
    );
}

/// R-GEN-03, E-USER-07, E-USER-14: in any case, with the URN before it, or without one.
async fn its_names_are_found_in_every_spelling(t: &Tenant) {
    let t = extended(t).await;
    for (number, key) in ["TITLE2", &path("title2"), &path("Title2").to_uppercase(), "title2"]
        .into_iter()
        .enumerate()
    {
        let name = format!("u{number}");
        let created = t
            .post("/Users", user_with(&name, json!({ key: "Guide" })))
            .await
            .is(201);
        assert_eq!(created.body[BADGE], json!({ "title2": "Guide" }), "{key}");
        let patched = t
            .patch(&created.place(), one("Replace", key, json!("Chief")))
            .await
            .is(200);
        assert_eq!(patched.body[BADGE]["title2"], "Chief", "{key}");
        let pathless = patch_op(json!([{ "op": "replace", "value": { key: "Driver" } }]));
        let patched = t.patch(&created.place(), pathless).await.is(200);
        assert_eq!(patched.body[BADGE]["title2"], "Driver", "{key}");
        let found = t
            .find(&format!("userName eq \"{name}\" and {key} eq \"driver\""))
            .await
            .is(200);
        assert_eq!(found.total(), 1, "{key}");
        let selected = t
            .get(&format!("{}?attributes={}", created.place(), encoded(key)))
            .await
            .is(200);
        assert_eq!(selected.body[BADGE]["title2"], "Driver", "{key}");
        assert_eq!(selected.body.get("userName"), None, "{key}");
    }
    let core = format!("{USER_URN}:title2");
    let created = t
        .post("/Users", user_with("u9", json!({ core.as_str(): "Guide" })))
        .await
        .is(201);
    assert_eq!(created.body.get(BADGE), None, "the core schema has no such attribute");
    let note = format!("unknown-attribute {core}");
    assert_eq!(created.header("scimgate-normalized"), Some(note));
}

/// R-SCHEMA-04 (RFC 7644 §3.5.2): `schemas` follows from what is there.
async fn a_patch_adds_and_removes_the_urn(t: &Tenant) {
    let t = extended(t).await;
    let user = t.user("bjensen").await;
    let schemas = |answer: &crate::answer::Answer| answer.body["schemas"].clone();
    let added = t
        .patch(&user.place(), one("add", &path("level"), json!(3)))
        .await
        .is(200);
    assert_eq!(schemas(&added), json!([USER_URN, BADGE]));
    let more = t
        .patch(&user.place(), one("add", BADGE, json!({ "lost": true })))
        .await
        .is(200);
    assert_eq!(more.body[BADGE], json!({ "lost": true, "level": 3 }));
    let less = patch_op(json!([{ "op": "remove", "path": path("level") }]));
    assert_eq!(
        schemas(&t.patch(&user.place(), less).await.is(200)),
        json!([USER_URN, BADGE])
    );
    let last = patch_op(json!([{ "op": "remove", "path": path("lost") }]));
    let removed = t.patch(&user.place(), last).await.is(200);
    assert_eq!((schemas(&removed), removed.body.get(BADGE)), (json!([USER_URN]), None));
    t.patch(&user.place(), one("add", BADGE, json!({ "lost": true, "level": 3 })))
        .await
        .is(200);
    let whole = patch_op(json!([{ "op": "remove", "path": BADGE }]));
    assert_eq!(schemas(&t.patch(&user.place(), whole).await.is(200)), json!([USER_URN]));
    let same = t.get(&user.place()).await.is(200);
    let nothing = patch_op(json!([{ "op": "remove", "path": path("level") }]));
    assert_eq!(
        t.patch(&user.place(), nothing).await.is(200).etag(),
        same.etag(),
        "a no-op"
    );
}

/// R-GEN-06: what Entra sends as a string is typed; what cannot be is refused by name.
async fn values_have_their_types(t: &Tenant) {
    let t = extended(t).await;
    let sent = json!({ "lost": "True", "rate": "2.5", "level": "3", "title2": 7, "colours": "red" });
    let created = t.post("/Users", holder("bjensen", sent)).await.is(201);
    let typed = json!({ "title2": "7", "lost": true, "rate": 2.5, "level": 3, "colours": ["red"] });
    assert_eq!(created.body[BADGE], typed);
    for (name, value) in [
        ("lost", json!("perhaps")),
        ("rate", json!("much")),
        ("level", json!(2.5)),
        ("issued", json!("2026-01-31")),
        ("page", json!(7)),
        ("photo", json!({ "a": 1 })),
        ("title2", json!(["a", "b"])),
        ("colours", json!([{ "value": "red" }])),
        ("doors", json!([7])),
    ] {
        let refused = t.post("/Users", holder("jsmith", json!({ name: value }))).await;
        refused.refused(400, "invalidValue", &[&path(name)]);
        t.patch(&created.place(), one("replace", &path(name), value))
            .await
            .refused(400, "invalidValue", &[&path(name)]);
    }
    assert_eq!(t.get(&created.place()).await.is(200).body[BADGE], typed);
}

/// R-FILTER-02, R-FILTER-04, R-FILTER-05.
async fn filters_know_types_and_case(t: &Tenant) {
    let t = extended(t).await;
    let values = json!({
        "serial": "A17", "title2": "Guide", "lost": false, "rate": 2.5, "level": 30, "pin": "1234",
        "issued": "2026-01-31T08:00:00Z", "colours": ["red", "green"],
        "doors": [{ "value": "D1", "type": "front", "floors": [1, 2] }, { "value": "d2", "type": "back" }],
    });
    t.post("/Users", holder("bjensen", values)).await.is(201);
    t.user("jsmith").await;
    for (filter, total) in [
        ("serial eq \"A17\"", 1),
        ("serial eq \"a17\"", 0),
        ("title2 eq \"GUIDE\"", 1),
        ("title2 pr", 1),
        ("not (title2 pr)", 1),
        ("lost eq false", 1),
        ("lost eq \"False\"", 1),
        ("level gt 4", 1),
        ("level lt 4", 0),
        ("rate ge 2.5", 1),
        ("issued lt \"2026-01-31T10:00:00+01:00\"", 1),
        ("colours eq \"GREEN\"", 1),
        ("colours co \"blu\"", 0),
        ("doors eq \"D1\"", 1),
        ("doors.value eq \"d1\"", 0),
        ("doors.floors eq 2", 1),
        ("doors[type eq \"Front\" and value eq \"D1\"]", 1),
        ("doors[type eq \"front\" and value eq \"d2\"]", 0),
        ("doors[type eq \"back\"].value eq \"d2\"", 1),
    ] {
        for filter in [filter.to_owned(), qualified(filter)] {
            assert_eq!(t.find(&filter).await.is(200).total(), total, "{filter}");
        }
    }
    for (filter, status, scim_type) in [
        ("lost gt false", 400, "invalidFilter"),
        ("level co 3", 400, "invalidFilter"),
        ("level eq \"three\"", 400, "invalidFilter"),
        ("colour eq \"red\"", 400, "invalidFilter"),
        ("doors.colour eq \"red\"", 400, "invalidFilter"),
        ("pin eq \"1234\"", 403, "sensitive"),
        ("doors.code pr", 403, "sensitive"),
    ] {
        t.find(&qualified(filter)).await.refused(status, scim_type, &[]);
    }
}

/// The filter with its first attribute qualified by the URN.
fn qualified(filter: &str) -> String {
    match filter.strip_prefix("not (") {
        Some(rest) => format!("not ({BADGE}:{rest}"),
        None => format!("{BADGE}:{filter}"),
    }
}

/// R-PROJ-01 (RFC 7643 §7, `returned`).
async fn an_attribute_is_returned_as_its_schema_says(t: &Tenant) {
    let t = extended(t).await;
    let values = json!({
        "serial": "A17", "title2": "Guide", "photo": "TUlJ", "pin": "1234", "level": 3,
        "doors": [{ "value": "d1", "code": "99" }],
    });
    let created = t.post("/Users", holder("bjensen", values)).await.is(201);
    let default = json!({ "serial": "A17", "title2": "Guide", "level": 3, "doors": [{ "value": "d1" }] });
    assert_eq!(created.body[BADGE], default);
    for (query, expected) in [
        (String::new(), default.clone()),
        ("?attributes=userName".to_owned(), json!({ "serial": "A17" })),
        (
            format!("?attributes={}", path("photo")),
            json!({ "serial": "A17", "photo": "TUlJ" }),
        ),
        (
            format!("?attributes={},pin,doors.code", path("level")),
            json!({ "serial": "A17", "level": 3 }),
        ),
        (
            "?attributes=doors.value".to_owned(),
            json!({ "serial": "A17", "doors": [{ "value": "d1" }] }),
        ),
        (
            format!("?attributes={BADGE}"),
            json!({ "serial": "A17", "title2": "Guide", "level": 3, "photo": "TUlJ",
            "doors": [{ "value": "d1" }] }),
        ),
        (
            format!("?excludedAttributes={}", path("level")),
            json!({ "serial": "A17", "title2": "Guide",
            "doors": [{ "value": "d1" }] }),
        ),
        (format!("?excludedAttributes={BADGE}"), json!({ "serial": "A17" })),
    ] {
        assert_eq!(
            t.get(&format!("{}{query}", created.place())).await.is(200).body[BADGE],
            expected,
            "{query}"
        );
    }
}

/// RFC 7643 §7, `mutability`.
async fn an_attribute_is_changed_as_its_schema_says(t: &Tenant) {
    let t = extended(t).await;
    let created = t
        .post("/Users", holder("bjensen", json!({ "seen": "now", "level": 3 })))
        .await
        .is(201);
    assert_eq!(created.body[BADGE], json!({ "level": 3 }), "readOnly is left out");
    let place = created.place();
    t.patch(&place, one("replace", &path("seen"), json!("now")))
        .await
        .refused(400, "mutability", &[&path("seen")]);
    t.patch(&place, one("add", &path("serial"), json!("A17"))).await.is(200);
    t.patch(&place, one("replace", &path("serial"), json!("A17")))
        .await
        .is(200);
    t.patch(&place, one("replace", &path("serial"), json!("B18")))
        .await
        .refused(400, "mutability", &[&path("serial")]);
    t.patch(&place, patch_op(json!([{ "op": "remove", "path": path("serial") }])))
        .await
        .refused(400, "mutability", &[&path("serial")]);
    t.put(&place, holder("bjensen", json!({ "serial": "B18" })))
        .await
        .refused(400, "mutability", &[&path("serial")]);
    let before = t.get(&place).await.is(200);
    let set = t
        .patch(&place, one("replace", &path("pin"), json!("1234")))
        .await
        .is(200);
    assert_ne!(set.etag(), before.etag(), "it was written");
    assert_eq!(set.body[BADGE], before.body[BADGE], "and nobody sees it");
}

/// R-PATCH-03, R-PATCH-06, R-PATCH-07, E-USER-10 on an extension's values.
async fn values_with_parts_are_patched_one_by_one(t: &Tenant) {
    let t = extended(t).await;
    let front = json!({ "value": "d1", "type": "front", "primary": true });
    let created = t
        .post("/Users", holder("bjensen", json!({ "doors": [front] })))
        .await
        .is(201);
    let place = created.place();
    let patched = async |body: Value| t.patch(&place, body).await.is(200).body[BADGE].clone();
    let back = json!({ "value": "d2", "type": "back", "primary": true });
    let both = patched(one("add", &path("doors"), json!([back]))).await;
    assert_eq!(both["doors"][0]["primary"], false);
    assert_eq!(both["doors"].as_array().map(Vec::len), Some(2));
    let floors = patched(one("replace", &path("doors[type eq \"back\"].floors"), json!(["4", 5]))).await;
    assert_eq!(floors["doors"][1]["floors"], json!([4, 5]));
    let made = patched(one("Replace", &path("doors[type eq \"side\"].value"), json!("d3"))).await;
    assert_eq!(made["doors"][2], json!({ "value": "d3", "type": "side" }));
    let removed = patch_op(json!([{ "op": "Remove", "path": path("doors"), "value": [{ "value": "d1" }] }]));
    assert_eq!(patched(removed).await["doors"].as_array().map(Vec::len), Some(2));
    let owner = patched(one("add", &path("owner"), json!("26118915"))).await;
    let address = format!("{}/Users/26118915", t.url());
    assert_eq!(owner["owner"], json!({ "value": "26118915", "$ref": address }));
}

/// RFC 7643 §7, `required`, and §6, `schemaExtensions.required`.
async fn what_is_required_must_be_there(t: &Tenant) {
    let early = t.user("early").await;
    let new = NewExtension {
        document: json!({ "id": BADGE, "attributes": [{ "name": "serial", "required": true }, { "name": "level" }] }),
        required: true,
        allow_required: true,
        ..NewExtension::default()
    };
    let t = t.reschemed(60, |schemas| schemas.set(&new)).await;
    let told = t.get("/ResourceTypes/User").await.is(200);
    let extensions = told.body["schemaExtensions"].as_array().expect("extensions");
    assert!(extensions.contains(&json!({ "schema": BADGE, "required": true })));
    t.post("/Users", user("bjensen"))
        .await
        .refused(400, "invalidValue", &[BADGE, "required"]);
    t.post("/Users", holder("bjensen", json!({ "level": "3" })))
        .await
        .refused(400, "invalidValue", &[&path("serial"), "required"]);
    let created = t
        .post("/Users", holder("bjensen", json!({ "serial": "17" })))
        .await
        .is(201);
    for removed in [BADGE, &path("serial")] {
        t.patch(&created.place(), patch_op(json!([{ "op": "remove", "path": removed }])))
            .await
            .refused(400, "mutability", &[BADGE]);
    }
    // Who was there before can be deactivated all the same.
    let gone = t
        .patch(&early.place(), one("replace", "active", json!(false)))
        .await
        .is(200);
    assert_eq!(gone.body["active"], false);
}

/// R-SCHEMA-04 on groups: beside their members.
async fn groups_are_extended_too(t: &Tenant) {
    let urn = "urn:example:2.0:Cost";
    let t = t
        .extended(
            "Group",
            urn,
            json!([{ "name": "centre", "caseExact": true }, { "name": "level", "type": "integer" }]),
        )
        .await;
    let group_urn = "urn:ietf:params:scim:schemas:core:2.0:Group";
    let member = t.user("bjensen").await;
    let group = json!({
        "schemas": [group_urn, urn], "displayName": "Guides", urn: { "centre": "C1", "level": "3" },
        "members": [{ "value": member.id() }],
    });
    let created = t.post("/Groups", group).await.is(201);
    assert_eq!(created.body[urn], json!({ "centre": "C1", "level": 3 }));
    assert_eq!(created.body["schemas"], json!([group_urn, urn]));
    let filter = encoded(&format!("{urn}:centre eq \"C1\""));
    assert_eq!(t.get(&format!("/Groups?filter={filter}")).await.is(200).total(), 1);
    t.find(&format!("{urn}:centre pr"))
        .await
        .refused(400, "invalidFilter", &[urn]);
    let level = one("replace", &format!("{urn}:level"), json!(4));
    let patched = t.patch(&created.place(), level).await.is(200);
    assert_eq!(
        (&patched.body[urn]["level"], &patched.body["members"][0]["value"]),
        (&json!(4), &json!(member.id()))
    );
}

/// The data stays, unseen, breaks nothing, and is there again when the extension is.
async fn a_removed_extension_breaks_nothing(t: &Tenant) {
    let t = extended(t).await;
    let values = json!({ "serial": "A17", "level": 3 });
    let created = t.post("/Users", holder("bjensen", values.clone())).await.is(201);
    let place = created.place();
    let t = t.reschemed(50, |schemas| schemas.remove(BADGE)).await;
    let shown = t.get(&place).await.is(200);
    assert_eq!(
        (shown.body.get(BADGE), &shown.body["schemas"]),
        (None, &json!([USER_URN]))
    );
    assert_eq!(shown.etag(), created.etag(), "nothing was written");
    assert_eq!(t.get("/Users").await.is(200).total(), 1);
    t.get(&format!("/Schemas/{BADGE}")).await.is(404);
    t.find(&format!("{} eq 3", path("level")))
        .await
        .refused(400, "invalidFilter", &[BADGE]);
    let dropped = t.patch(&place, one("replace", &path("level"), json!(4))).await.is(200);
    assert_eq!(dropped.etag(), created.etag(), "nothing to change");
    let note = format!("unknown-attribute {}", path("level"));
    assert_eq!(dropped.header("scimgate-normalized"), Some(note));
    t.patch(&place, one("replace", "active", json!(false))).await.is(200);
    t.put(&place, user_with("bjensen", json!({ "title": "Guide" })))
        .await
        .is(200);
    let t = t.extended_again(40, BADGE, attributes()).await;
    let back = t.get(&place).await.is(200);
    assert_eq!((&back.body[BADGE], &back.body["title"]), (&values, &json!("Guide")));
    t.delete(&place).await.is(204);
}

/// A string that should be a number by now is neither shown nor in the way.
async fn a_changed_type_hides_what_does_not_fit(t: &Tenant) {
    let t = t
        .extended("User", BADGE, json!([{ "name": "level" }, { "name": "serial" }]))
        .await;
    let created = t
        .post("/Users", holder("bjensen", json!({ "level": "three", "serial": "17" })))
        .await
        .is(201);
    let numbers = json!([{ "name": "level", "type": "integer" }, { "name": "serial" }]);
    let t = t.extended_again(50, BADGE, numbers).await;
    assert_eq!(
        t.get(&created.place()).await.is(200).body[BADGE],
        json!({ "serial": "17" })
    );
    assert_eq!(t.find("level pr").await.is(200).total(), 0);
    t.patch(&created.place(), one("replace", "active", json!(false)))
        .await
        .is(200);
    let set = t
        .patch(&created.place(), one("replace", &path("level"), json!("4")))
        .await
        .is(200);
    assert_eq!(set.body[BADGE], json!({ "level": 4, "serial": "17" }));
    assert_eq!(t.find("level gt 3").await.is(200).total(), 1);
}

/// E-USER-14: never silently; what the operator needs to write the schema.
async fn what_no_schema_has_is_dropped_and_counted(t: &Tenant) {
    let sent = json!({ "department2": "Tour", "not a name": 1, ENTERPRISE_URN: { "badge": "17" } });
    let created = t.post("/Users", user_with("bjensen", sent)).await.is(201);
    let notes = created.header("scimgate-normalized").unwrap_or_default();
    assert!(notes.contains("unknown-attribute department2"), "{notes}");
    let tenant = t.world.tenants.find(&t.name, soon()).await.expect("the tenant");
    let patience = soon();
    let mut dropped = Vec::new();
    // It is written beside the request.
    while dropped.is_empty() && Instant::now() < patience {
        dropped = t
            .world
            .tenants
            .lately(Counted::Dropped, &tenant.id, soon())
            .await
            .expect("a row");
        sleep(Duration::from_millis(20)).await;
    }
    let names: Vec<&str> = dropped.iter().map(|dropped| dropped.name.as_str()).collect();
    assert_eq!(names, ["department2", &format!("{ENTERPRISE_URN}:badge")]);
    assert!(dropped.iter().all(|dropped| dropped.requests == 1));
}

/// Entra names `manager` without a URN: what that means must not change with an extension of the tenant's.
async fn the_enterprise_extension_keeps_its_names(t: &Tenant) {
    let t = t
        .extended("User", BADGE, json!([{ "name": "manager" }, { "name": "department" }]))
        .await;
    let user = t.user("bjensen").await;
    let manager = json!([{ "value": "26118915" }]);
    let patched = t.patch(&user.place(), one("Add", "manager", manager)).await.is(200);
    assert_eq!(patched.body[ENTERPRISE_URN]["manager"]["value"], "26118915");
    let own = t
        .patch(&user.place(), one("Add", &path("manager"), json!("Smith")))
        .await
        .is(200);
    assert_eq!(own.body[BADGE], json!({ "manager": "Smith" }));
    assert_eq!(t.find("manager eq \"26118915\"").await.is(200).total(), 1);
    assert_eq!(
        t.find(&format!("{} eq \"smith\"", path("manager")))
            .await
            .is(200)
            .total(),
        1
    );
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(15)
}
