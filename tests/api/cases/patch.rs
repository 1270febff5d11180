//! PATCH (RFC 7644 §3.5.2), as far as it takes HTTP to see it; the operations themselves are tested beside their code.

use serde_json::{Value, json};

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, Tenant, USER_URN, bjensen, patch_op, user, user_with},
};

cases![
    a_patched_user_is_answered_and_found,
    operations_take_effect_in_their_order,
    a_change_is_a_new_version,
    what_changes_nothing_is_no_new_version,
    all_of_it_or_nothing,
    okta_repeats_the_id,
    an_unknown_id_is_not_found,
    a_rename_frees_the_old_name,
    a_taken_name_is_refused,
    a_leaver_is_seen_to_be_inactive,
    active_cannot_be_cleared,
    old_values_are_not_found_any_more,
    an_extension_comes_and_goes_with_its_attributes,
    malformed_operations_are_refused,
    what_the_service_sets_cannot_be_patched,
    values_have_their_attributes_types,
    unknown_attributes_are_left_out_and_named,
];

fn replace(path: &str, value: impl Into<Value>) -> Value {
    let mut operation = json!({ "op": "replace", "path": path });
    operation["value"] = value.into();
    operation
}

/// R-PATCH-09: 200 with the whole resource.
async fn a_patched_user_is_answered_and_found(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    let message = patch_op(json!([
        replace("emails[type eq \"work\"].value", "updated@example.com"),
        replace("name.familyName", "Smith"),
    ]));
    let mut expected = before.body.clone();
    expected["emails"][0]["value"] = json!("updated@example.com");
    expected["name"]["familyName"] = json!("Smith");
    let patched = t.patch(&before.place(), message).await.is(200);
    expected["meta"] = patched.body["meta"].clone();
    assert_eq!(patched.body, expected);
    assert_eq!(t.get(&before.place()).await.is(200).body, expected);
}

/// R-PATCH-01: "sequentially"; op and member names in any case.
async fn operations_take_effect_in_their_order(t: &Tenant) {
    let before = t.user("bjensen@example.com").await;
    let message = json!({
        "SCHEMAS": ["URN:ietf:params:scim:api:messages:2.0:PatchOp"],
        "operations": [
            { "op": "Add", "path": "title", "value": "1" },
            { "OP": "REMOVE", "Path": "TITLE" },
            { "op": "Replace", "path": "title", "VALUE": "2" },
            { "op": "add", "path": "emails", "value": [{ "type": "work", "value": "a@example.com" }] },
            { "op": "add", "path": "emails", "value": [{ "type": "home", "value": "b@example.com" }] },
            { "op": "remove", "path": "emails[type eq \"work\"]" },
            { "op": "replace", "path": "emails[type eq \"home\"].value", "value": "c@example.com" },
        ],
    });
    let expected = json!({ "title": "2", "emails": [{ "type": "home", "value": "c@example.com" }] });
    t.patch(&before.place(), message).await.is(200).has(&expected);
}

/// RFC 7643 §3.1.
async fn a_change_is_a_new_version(t: &Tenant) {
    let before = t.user("bjensen@example.com").await;
    let mut versions = vec![before.etag()];
    let mut modified = before.text("/meta/lastModified").to_owned();
    // Two changes within a millisecond look the same in lastModified.
    for turn in 0.. {
        assert!(turn < 1_000, "lastModified stays {modified}");
        let message = patch_op(json!([replace("title", turn.to_string())]));
        let after = t.patch(&before.place(), message).await.is(200);
        assert!(!versions.contains(&after.etag()), "{after}");
        versions.push(after.etag());
        assert_eq!(after.text("/meta/created"), before.text("/meta/created"));
        assert!(after.text("/meta/lastModified") >= modified.as_str(), "{after}");
        if after.text("/meta/lastModified") > modified.as_str() {
            break;
        }
        after.text("/meta/lastModified").clone_into(&mut modified);
    }
}

/// R-ETAG-01, E-LIFE-01, R-PATCH-03, R-PATCH-05: removing what is not there is a success.
async fn what_changes_nothing_is_no_new_version(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    for operations in [
        json!([replace("title", "Tour Guide")]),
        json!([{ "op": "add", "path": "emails", "value": [{ "value": "bjensen@example.com", "type": "work" }] }]),
        json!([{ "op": "replace", "value": { "displayName": "Babs Jensen", "active": true } }]),
        json!([{ "op": "remove", "path": "nickName" }]),
        json!([{ "op": "remove", "path": "phoneNumbers[type eq \"work\"]" }]),
        json!([{ "op": "remove", "path": "emails", "value": [{ "value": "nobody@example.com" }] }]),
        json!([replace("title", "Guide"), replace("title", "Tour Guide")]),
        json!([replace("active", "True")]),
        json!([{ "op": "add", "value": {} }]),
        json!([{ "op": "replace", "value": before.body }]),
    ] {
        let patched = t.patch(&before.place(), patch_op(operations.clone())).await.is(200);
        assert_eq!(patched.body, before.body, "{operations}");
        assert_eq!(patched.etag(), before.etag(), "{operations}");
    }
}

/// R-PATCH-01; RFC 7644 §3.5.2: "if a single operation encounters an error … the original resource is restored".
async fn all_of_it_or_nothing(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    let other = t.user("jsmith@example.com").await;
    let good = || {
        vec![
            replace("title", "Guide"),
            replace("userName", "babs@example.com"),
            replace("active", false),
        ]
    };
    for (last, status, scim_type) in [
        (replace("active", "maybe"), 400, "invalidValue"),
        (replace("userName", "jsmith@example.com"), 409, "uniqueness"),
        (replace("id", "1"), 400, "mutability"),
        (
            replace("emails[type ne \"work\" and type ne \"home\"].value", "1"),
            400,
            "noTarget",
        ),
        (json!({ "op": "remove", "path": "userName" }), 400, "mutability"),
        (json!({ "op": "remove" }), 400, "noTarget"),
        (json!({ "op": "move", "path": "title" }), 400, "invalidSyntax"),
    ] {
        let mut operations = good();
        operations.push(last.clone());
        let answer = t.patch(&before.place(), patch_op(operations.into())).await;
        assert_eq!(answer.status, status, "{last}: {answer}");
        answer.refused(status, scim_type, &[]);
        assert_eq!(t.get(&before.place()).await.is(200).body, before.body, "{last}");
    }
    assert_eq!(t.find("userName eq \"babs@example.com\"").await.is(200).total(), 0);
    assert_eq!(t.get(&other.place()).await.is(200).body, other.body);
    t.patch(&before.place(), patch_op(good().into())).await.is(200);
}

/// Okta: `{"op":"replace","value":{"id":"…","displayName":"…"}}`.
async fn okta_repeats_the_id(t: &Tenant) {
    let before = t.user("bjensen@example.com").await;
    for id in [before.id(), "2819c223"] {
        let value = json!({ "id": id, "displayName": format!("Babs {id}") });
        let message = patch_op(json!([{ "op": "replace", "value": value }]));
        let patched = t.patch(&before.place(), message).await.is(200);
        assert_eq!(patched.id(), before.id());
        assert_eq!(patched.text("/displayName"), format!("Babs {id}"));
        assert_eq!(
            patched.header("scimgate-normalized").as_deref(),
            Some("read-only-ignored id")
        );
    }
}

async fn an_unknown_id_is_not_found(t: &Tenant) {
    let message = patch_op(json!([replace("title", "Guide")]));
    t.patch("/Users/2819c223", message).await.refused(404, "", &["User"]);
    assert_eq!(t.users().await, 0);
}

/// E-USER-04.
async fn a_rename_frees_the_old_name(t: &Tenant) {
    let renamed = t.user("bjensen@example.com").await;
    let message = patch_op(json!([{ "op": "Replace", "value": { "userName": "babs@example.com" } }]));
    t.patch(&renamed.place(), message).await.is(200);
    let new = t.user("bjensen@example.com").await;
    for (name, id) in [("bjensen@example.com", new.id()), ("babs@example.com", renamed.id())] {
        let found = t.find(&format!("userName eq \"{name}\"")).await.is(200);
        assert_eq!(found.listed("/id"), [id], "{name}");
    }
}

async fn a_taken_name_is_refused(t: &Tenant) {
    let holder = t
        .post("/Users", user_with("bjensen@example.com", json!({ "active": false })))
        .await
        .is(201);
    let other = t.user("jsmith@example.com").await;
    let taken = format!("the inactive resource {}", holder.id());
    t.patch(
        &other.place(),
        patch_op(json!([replace("userName", "BJensen@example.com")])),
    )
    .await
    .refused(409, "uniqueness", &["userName", &taken]);
    assert_eq!(t.get(&other.place()).await.is(200).body, other.body);
    t.patch(
        &other.place(),
        patch_op(json!([replace("userName", "JSMITH@example.com")])),
    )
    .await
    .is(200);
    t.post("/Users", user("jsmith@example.com"))
        .await
        .refused(409, "uniqueness", &[other.id()]);
}

/// E-LIFE-02, E-USER-05: every shape in which Entra and Okta deactivate, and the way back.
async fn a_leaver_is_seen_to_be_inactive(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    for (operation, active) in [
        (json!({ "op": "Replace", "path": "active", "value": "False" }), false),
        (json!({ "op": "Add", "path": "active", "value": "True" }), true),
        (json!({ "op": "replace", "path": "active", "value": false }), false),
        (json!({ "op": "replace", "value": { "active": true } }), true),
        (json!({ "op": "replace", "value": { "Active": "false" } }), false),
        (
            json!({ "op": "replace", "path": format!("{USER_URN}:active"), "value": "true" }),
            true,
        ),
    ] {
        let patched = t.patch(&user.place(), patch_op(json!([operation]))).await.is(200);
        assert_eq!(patched.body["active"], active, "{operation}");
        assert_eq!(t.get(&user.place()).await.is(200).body["active"], active, "{operation}");
        assert_eq!(
            t.find("active eq true").await.is(200).total(),
            u64::from(active),
            "{operation}"
        );
    }
}

/// Microsoft's validator clears everything; by that nobody comes back and nobody is locked out.
async fn active_cannot_be_cleared(t: &Tenant) {
    for active in [true, false] {
        let user = user_with(&format!("{active}@example.com"), json!({ "active": active }));
        let user = t.post("/Users", user).await.is(201);
        for operation in [
            json!({ "op": "remove", "path": "active" }),
            replace("active", ""),
            replace("active", Value::Null),
            json!({ "op": "replace", "value": { "active": "" } }),
        ] {
            let patched = t.patch(&user.place(), patch_op(json!([operation]))).await.is(200);
            assert_eq!(
                (patched.etag(), &patched.body),
                (user.etag(), &user.body),
                "{operation}"
            );
            let notes = patched.header("scimgate-normalized").unwrap_or_default();
            assert!(notes.contains("active-kept active"), "{operation}: {patched}");
        }
    }
}

async fn old_values_are_not_found_any_more(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    let message = patch_op(json!([
        replace("externalId", "7"),
        replace("emails[type eq \"work\"].value", "updated@example.com"),
        { "op": "remove", "path": "emails[type eq \"home\"]" },
    ]));
    t.patch(&before.place(), message).await.is(200);
    for (filter, total) in [
        ("externalId eq \"701984\"", 0),
        ("emails.value eq \"bjensen@example.com\"", 0),
        ("emails[type eq \"home\"].value eq \"babs@jensen.example.org\"", 0),
        ("externalId eq \"7\"", 1),
        ("emails[type eq \"work\"].value eq \"updated@example.com\"", 1),
        ("userName eq \"bjensen@example.com\"", 1),
    ] {
        assert_eq!(t.find(filter).await.is(200).total(), total, "{filter}");
    }
}

/// R-SCHEMA-04.
async fn an_extension_comes_and_goes_with_its_attributes(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    let path = format!("{ENTERPRISE_URN}:department");
    let message = patch_op(json!([{ "op": "add", "path": path, "value": "Tour Operations" }]));
    let patched = t.patch(&user.place(), message).await.is(200);
    assert_eq!(patched.body["schemas"], json!([USER_URN, ENTERPRISE_URN]));
    assert_eq!(patched.body[ENTERPRISE_URN], json!({ "department": "Tour Operations" }));
    let message = patch_op(json!([{ "op": "remove", "path": path }]));
    let patched = t.patch(&user.place(), message).await.is(200);
    assert_eq!(patched.body["schemas"], json!([USER_URN]));
    assert_eq!(patched.body.get(ENTERPRISE_URN), None);
}

/// R-PATCH-08: each with the `scimType` that RFC 7644 §3.5.2 gives it.
async fn malformed_operations_are_refused(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    for (operation, scim_type) in [
        (json!("replace"), "invalidSyntax"),
        (json!({}), "invalidSyntax"),
        (json!({ "path": "title", "value": "Guide" }), "invalidSyntax"),
        (json!({ "op": 1, "path": "title", "value": "Guide" }), "invalidSyntax"),
        (
            json!({ "op": "update", "path": "title", "value": "Guide" }),
            "invalidSyntax",
        ),
        (json!({ "op": "add", "path": 1, "value": "Guide" }), "invalidSyntax"),
        (
            json!({ "op": "add", "path": ["title"], "value": "Guide" }),
            "invalidSyntax",
        ),
        (json!({ "op": "add", "path": "title" }), "invalidValue"),
        (json!({ "op": "replace" }), "invalidValue"),
        (json!({ "op": "replace", "value": "Guide" }), "invalidValue"),
        (json!({ "op": "add", "value": [{ "title": "Guide" }] }), "invalidValue"),
        (json!({ "op": "remove" }), "noTarget"),
        (json!({ "op": "remove", "path": "", "value": "Guide" }), "noTarget"),
        (replace("emails[", "1"), "invalidFilter"),
        (replace("emails[type is \"work\"].value", "1"), "invalidFilter"),
        (replace("emails[colour eq \"red\"].value", "1"), "invalidFilter"),
        (replace("name..familyName", "1"), "invalidPath"),
        (replace("name.familyName.more", "1"), "invalidPath"),
        (replace("1title", "1"), "invalidPath"),
        (replace("emails[type eq \"work\"].value.more", "1"), "invalidPath"),
        (replace("title[value eq \"1\"]", "1"), "invalidPath"),
        (replace("phoneNumbers[value co \"555\"].value", "1"), "noTarget"),
    ] {
        let answer = t.patch(&before.place(), patch_op(json!([operation]))).await;
        assert_eq!(
            (answer.status, answer.body["scimType"].as_str()),
            (400, Some(scim_type)),
            "{operation}: {answer}"
        );
    }
    assert_eq!(t.get(&before.place()).await.is(200).body, before.body);
}

/// RFC 7644 §3.5.2, "mutability".
async fn what_the_service_sets_cannot_be_patched(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    for path in ["id", "meta.created", "meta", "groups", "schemas"] {
        for op in ["add", "replace", "remove"] {
            let message = patch_op(json!([{ "op": op, "path": path, "value": "1" }]));
            let name = path.split('.').next().unwrap_or_default();
            t.patch(&before.place(), message)
                .await
                .refused(400, "mutability", &[name]);
        }
    }
    let message = patch_op(json!([{ "op": "remove", "path": "userName" }]));
    t.patch(&before.place(), message)
        .await
        .refused(400, "mutability", &["userName"]);
    assert_eq!(t.get(&before.place()).await.is(200).body, before.body);
}

/// R-GEN-06.
async fn values_have_their_attributes_types(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    let primaries = json!([{ "value": "1", "primary": true }, { "value": "2", "primary": true }]);
    for (path, value) in [
        ("active", json!("maybe")),
        ("userName", json!("")),
        ("userName", Value::Null),
        ("title", json!({ "value": "Guide" })),
        ("name", json!("Barbara Jensen")),
        ("emails", primaries),
        ("emails[type eq \"work\"].primary", json!("perhaps")),
        (ENTERPRISE_URN, json!("Tour Operations")),
    ] {
        let name = path.split('[').next().unwrap_or_default();
        t.patch(&before.place(), patch_op(json!([replace(path, value)])))
            .await
            .refused(400, "invalidValue", &[name]);
    }
    assert_eq!(t.get(&before.place()).await.is(200).body, before.body);
}

/// design §6, "never silently accept": one row too many in a mapping must not stop all the others.
async fn unknown_attributes_are_left_out_and_named(t: &Tenant) {
    let before = t.user("bjensen@example.com").await;
    let message = patch_op(json!([
        { "op": "Add", "path": "shoeSize", "value": 43 },
        { "op": "Add", "path": "title", "value": "Guide" },
        { "op": "replace", "value": { "name.nick": "Babs" } },
        { "op": "Replace", "path": "emails[type eq \"work\"].verified", "value": true },
    ]));
    let patched = t.patch(&before.place(), message).await.is(200);
    let notes = patched.header("scimgate-normalized").unwrap_or_default();
    for name in ["shoeSize", "name.nick", "emails[...].verified"] {
        let note = format!("unknown-attribute {name}");
        assert!(notes.split(", ").any(|one| one == note), "no '{note}' in: {patched}");
    }
    assert_eq!(patched.text("/title"), "Guide");
    for gone in ["shoeSize", "name", "emails"] {
        assert_eq!(patched.body.get(gone), None, "{patched}");
    }
}
