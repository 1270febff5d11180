//! PUT (RFC 7644 §3.5.1).

use serde_json::{Value, json};

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, Tenant, USER_URN, bjensen, user, user_with},
};

cases![
    a_replaced_user_is_answered_and_found,
    what_is_left_out_is_cleared,
    active_left_out_stays,
    the_services_own_attributes_are_ignored,
    a_missing_user_name_is_refused,
    a_malformed_replacement_is_refused,
    an_unknown_id_is_not_found_and_not_made,
    a_rename_frees_the_old_name,
    a_taken_name_is_refused,
    ones_own_name_may_change_its_case,
    the_same_again_is_no_change,
    a_replacement_is_a_new_version,
    unknown_attributes_are_dropped_and_named,
    old_values_are_not_found_any_more,
];

/// R-PUT-01.
async fn a_replaced_user_is_answered_and_found(t: &Tenant) {
    let before = t.user("jsmith@example.com").await;
    let replaced = t.put(&before.place(), bjensen()).await.is(200).has(&bjensen());
    assert_eq!(replaced.id(), before.id());
    assert_eq!(t.get(&before.place()).await.is(200).body, replaced.body);
    assert_eq!(t.users().await, 1);
}

/// R-PUT-01: "attributes whose mutability is readWrite that are omitted … MAY be assumed to be cleared".
async fn what_is_left_out_is_cleared(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    let left = json!({ "title": "Guide", "emails": null, "addresses": [], "nickName": "" });
    let replaced = t
        .put(&before.place(), user_with("bjensen@example.com", left))
        .await
        .is(200);
    let mut expected = before.body.clone();
    let members = expected.as_object_mut().expect("a user is an object");
    members.retain(|name, _| ["id", "userName", "active", "meta"].contains(&name.as_str()));
    expected["schemas"] = json!([USER_URN]);
    expected["title"] = json!("Guide");
    expected["meta"] = replaced.body["meta"].clone();
    assert_eq!(replaced.body, expected);
    assert_eq!(t.get(&before.place()).await.is(200).body, expected);
}

/// R-PUT-02: Okta's PUT often lacks it; nobody comes back and nobody is locked out by that.
async fn active_left_out_stays(t: &Tenant) {
    for active in [true, false] {
        let name = format!("{active}@example.com");
        let before = t
            .post("/Users", user_with(&name, json!({ "active": active })))
            .await
            .is(201);
        for left_out in [json!({ "title": "1" }), json!({ "title": "2", "active": null })] {
            let replaced = t.put(&before.place(), user_with(&name, left_out)).await.is(200);
            assert_eq!(replaced.body["active"], active);
        }
        let turned = user_with(&name, json!({ "active": !active }));
        assert_eq!(t.put(&before.place(), turned).await.is(200).body["active"], !active);
        assert_eq!(t.get(&before.place()).await.is(200).body["active"], !active);
    }
}

/// RFC 7644 §3.5.1: "any values provided SHALL be ignored".
async fn the_services_own_attributes_are_ignored(t: &Tenant) {
    let before = t.user("bjensen@example.com").await;
    let sent = json!({
        "id": "2819c223", "groups": [{ "value": "e9e30dba" }],
        "meta": { "created": "2001-01-01T00:00:00Z", "resourceType": "Group", "version": "W/\"1\"" },
    });
    let replaced = t
        .put(&before.place(), user_with("bjensen@example.com", sent))
        .await
        .is(200);
    assert_eq!(replaced.body, before.body);
    t.get("/Users/2819c223").await.is(404);
}

/// R-PUT-01.
async fn a_missing_user_name_is_refused(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    for name in [Value::Null, json!(""), json!("  ")] {
        let sent = json!({ "schemas": [USER_URN], "userName": name, "title": "Guide" });
        t.put(&before.place(), sent)
            .await
            .refused(400, "invalidValue", &["userName"]);
    }
    assert_eq!(t.get(&before.place()).await.is(200).body, before.body);
}

/// The same door as for new users: nothing gets in by PUT that POST keeps out, and nothing in part.
async fn a_malformed_replacement_is_refused(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    for (wrong, scim_type, name) in [
        (json!({ "schemas": [] }), "invalidSyntax", "schemas"),
        (
            json!({ "schemas": ["urn:example:badge"] }),
            "invalidValue",
            "urn:example:badge",
        ),
        (json!({ "active": "maybe" }), "invalidValue", "active"),
        (
            json!({ "title": "Guide", "Title": "Tour Guide" }),
            "invalidSyntax",
            "Title",
        ),
        (
            json!({ "title": "Guide", "emails": [{ "value": {} }, 7] }),
            "invalidValue",
            "emails",
        ),
    ] {
        t.put(&before.place(), user_with("bjensen@example.com", wrong))
            .await
            .refused(400, scim_type, &[name]);
    }
    assert_eq!(t.get(&before.place()).await.is(200).body, before.body);
}

/// R-PUT-01: "MUST NOT create"; Entra makes the user itself when it sees the 404.
async fn an_unknown_id_is_not_found_and_not_made(t: &Tenant) {
    let id = "/Users/2819c223-7f76-453a-919d-413861904646";
    t.put(id, bjensen()).await.refused(404, "", &["User"]);
    t.get(id).await.is(404);
    assert_eq!(t.users().await, 0);
    t.user("bjensen@example.com").await;
}

async fn a_rename_frees_the_old_name(t: &Tenant) {
    let renamed = t.user("bjensen@example.com").await;
    let answer = t.put(&renamed.place(), user("babs@example.com")).await.is(200);
    assert_eq!(answer.text("/userName"), "babs@example.com");
    let new = t.user("bjensen@example.com").await;
    assert_ne!(new.id(), renamed.id());
    for (name, id) in [("bjensen@example.com", new.id()), ("babs@example.com", renamed.id())] {
        let found = t.find(&format!("userName eq \"{name}\"")).await.is(200);
        assert_eq!(found.listed("/id"), [id], "{name}");
    }
    t.post("/Users", user("Babs@example.com"))
        .await
        .refused(409, "uniqueness", &["userName", renamed.id()]);
}

/// R-GEN-13.
async fn a_taken_name_is_refused(t: &Tenant) {
    let holder = t.user("bjensen@example.com").await;
    let other = t.user("jsmith@example.com").await;
    let taken = format!("the active resource {}", holder.id());
    t.put(
        &other.place(),
        user_with("BJENSEN@example.com", json!({ "title": "Guide" })),
    )
    .await
    .refused(409, "uniqueness", &["userName", &taken]);
    assert_eq!(t.get(&other.place()).await.is(200).body, other.body);
    assert_eq!(t.get(&holder.place()).await.is(200).body, holder.body);
}

/// RFC 7643 §2.1: compared without case, kept as it came.
async fn ones_own_name_may_change_its_case(t: &Tenant) {
    let before = t.user("bjensen@example.com").await;
    let replaced = t.put(&before.place(), user("BJensen@example.com")).await.is(200);
    assert_eq!(replaced.text("/userName"), "BJensen@example.com");
    let found = t.find("userName eq \"bjensen@EXAMPLE.com\"").await.is(200);
    assert_eq!(found.listed("/userName"), ["BJensen@example.com"]);
    t.post("/Users", user("bjensen@example.com"))
        .await
        .refused(409, "uniqueness", &[]);
}

/// E-LIFE-01, R-ETAG-01: clients that write everything in each cycle make no changes.
async fn the_same_again_is_no_change(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    let mut reordered = bjensen();
    let members = reordered.as_object_mut().expect("a user is an object");
    members.sort_keys();
    for same in [bjensen(), reordered, before.body.clone()] {
        let replaced = t.put(&before.place(), same).await.is(200);
        assert_eq!((replaced.etag(), &replaced.body), (before.etag(), &before.body));
    }
}

/// RFC 7643 §3.1.
async fn a_replacement_is_a_new_version(t: &Tenant) {
    let before = t.user("bjensen@example.com").await;
    let mut versions = vec![before.etag()];
    let mut modified = before.text("/meta/lastModified").to_owned();
    for title in ["Guide", "Tour Guide", "Guide"] {
        let sent = user_with("bjensen@example.com", json!({ "title": title }));
        let after = t.put(&before.place(), sent).await.is(200);
        assert!(!versions.contains(&after.etag()), "{after}");
        versions.push(after.etag());
        assert_eq!(after.text("/meta/created"), before.text("/meta/created"));
        assert!(after.text("/meta/lastModified") >= modified.as_str(), "{after}");
        after.text("/meta/lastModified").clone_into(&mut modified);
    }
}

/// design §6, "never silently accept".
async fn unknown_attributes_are_dropped_and_named(t: &Tenant) {
    let before = t.user("bjensen@example.com").await;
    let sent = json!({ "shoeSize": 43, ENTERPRISE_URN: { "floor": "3" } });
    let replaced = t
        .put(&before.place(), user_with("bjensen@example.com", sent))
        .await
        .is(200);
    let notes = format!("unknown-attribute shoeSize, unknown-attribute {ENTERPRISE_URN}:floor");
    assert_eq!(replaced.header("scimgate-normalized"), Some(notes));
    assert_eq!(replaced.body, before.body);
}

async fn old_values_are_not_found_any_more(t: &Tenant) {
    let before = t.post("/Users", bjensen()).await.is(201);
    let now = json!({ "externalId": "7", "emails": [{ "value": "babs@example.com" }] });
    t.put(&before.place(), user_with("babs@example.com", now)).await.is(200);
    for (filter, total) in [
        ("userName eq \"bjensen@example.com\"", 0),
        ("externalId eq \"701984\"", 0),
        ("emails.value eq \"bjensen@example.com\"", 0),
        ("emails.value eq \"babs@jensen.example.org\"", 0),
        ("userName eq \"babs@example.com\"", 1),
        ("externalId eq \"7\"", 1),
        ("emails.value eq \"babs@example.com\"", 1),
    ] {
        assert_eq!(t.find(filter).await.is(200).total(), total, "{filter}");
    }
    let respelled = json!({ "externalId": "a", "emails": [{ "value": "Babs@Example.com" }] });
    t.put(&before.place(), user_with("babs@example.com", respelled))
        .await
        .is(200);
    let respelled = json!({ "externalId": "A", "emails": [{ "value": "babs@example.COM" }] });
    t.put(&before.place(), user_with("babs@example.com", respelled))
        .await
        .is(200);
    for (filter, total) in [
        ("externalId eq \"A\"", 1),
        ("externalId eq \"a\"", 0),
        ("emails.value eq \"BABS@example.com\"", 1),
    ] {
        assert_eq!(t.find(filter).await.is(200).total(), total, "{filter}");
    }
}
