//! DELETE (RFC 7644 §3.6).

use serde_json::json;

use crate::{
    case::cases,
    tenant::{Tenant, bjensen, patch_op, user},
};

cases![
    a_deleted_user_is_gone_for_every_verb,
    an_unknown_id_is_not_found,
    a_deleted_user_is_in_no_list,
    the_name_is_free_again_and_the_id_is_not,
    a_name_may_be_used_again_and_again,
    others_may_take_the_name,
    the_others_stay,
    a_body_is_ignored,
];

/// R-GEN-15, E-USER-06, E-LIFE-03.
async fn a_deleted_user_is_gone_for_every_verb(t: &Tenant) {
    let place = t.user("bjensen@example.com").await.place();
    t.delete(&place).await.is(204);
    t.get(&place).await.refused(404, "", &["User"]);
    t.raw("HEAD", &place, &[], "").await.is(404);
    t.put(&place, user("bjensen@example.com"))
        .await
        .refused(404, "", &["User"]);
    let message = patch_op(json!([{ "op": "replace", "path": "active", "value": true }]));
    t.patch(&place, message).await.refused(404, "", &["User"]);
    t.delete(&place).await.refused(404, "", &["User"]);
    t.get(&place).await.refused(404, "", &["User"]);
}

async fn an_unknown_id_is_not_found(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    for id in ["2819c223", "bjensen@example.com", &user.id().to_uppercase()] {
        t.delete(&format!("/Users/{id}")).await.refused(404, "", &["User"]);
    }
    t.delete("/Users").await.refused(405, "", &["DELETE"]);
    assert_eq!(t.users().await, 1);
}

/// R-GEN-15: "MUST omit the resource from future query results".
async fn a_deleted_user_is_in_no_list(t: &Tenant) {
    let user = t.post("/Users", bjensen()).await.is(201);
    let by_id = format!("id eq \"{}\"", user.id());
    let filters = [
        "userName eq \"bjensen@example.com\"",
        "externalId eq \"701984\"",
        "emails eq \"bjensen@example.com\"",
        "emails[type eq \"home\"].value eq \"babs@jensen.example.org\"",
        "displayName sw \"Babs\"",
        &by_id,
    ];
    for filter in filters {
        assert_eq!(t.find(filter).await.is(200).total(), 1, "{filter}");
    }
    t.delete(&user.place()).await.is(204);
    for filter in filters {
        assert_eq!(t.find(filter).await.is(200).total(), 0, "{filter}");
    }
    let list = t.get("/Users").await.is(200);
    assert_eq!((list.total(), &list.body["Resources"]), (0, &json!([])));
}

/// E-LIFE-03, R-GEN-15: "not in conflict calculation"; R-GEN-09: an id is never assigned again.
async fn the_name_is_free_again_and_the_id_is_not(t: &Tenant) {
    let old = t.post("/Users", bjensen()).await.is(201);
    t.delete(&old.place()).await.is(204);
    let new = t.post("/Users", bjensen()).await.is(201);
    assert_ne!(new.id(), old.id());
    assert_ne!(new.etag(), old.etag());
    t.get(&old.place()).await.is(404);
    t.delete(&old.place()).await.is(404);
    assert_eq!(t.get(&new.place()).await.is(200).body, new.body);
    for filter in ["userName eq \"bjensen@example.com\"", "externalId eq \"701984\""] {
        assert_eq!(t.find(filter).await.is(200).listed("/id"), [new.id()], "{filter}");
    }
}

async fn a_name_may_be_used_again_and_again(t: &Tenant) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        let user = t.user("bjensen@example.com").await;
        assert!(!ids.contains(&user.id().to_owned()), "{user}");
        ids.push(user.id().to_owned());
        t.delete(&user.place()).await.is(204);
    }
    assert_eq!(t.users().await, 0);
}

async fn others_may_take_the_name(t: &Tenant) {
    let (first, second) = (t.user("bjensen").await, t.user("jsmith").await);
    let third = t.user("babs").await;
    t.delete(&first.place()).await.is(204);
    t.put(&second.place(), user("BJensen")).await.is(200);
    t.delete(&second.place()).await.is(204);
    let message = patch_op(json!([{ "op": "replace", "path": "userName", "value": "bjensen" }]));
    t.patch(&third.place(), message).await.is(200);
    assert_eq!(
        t.find("userName eq \"bjensen\"").await.is(200).listed("/id"),
        [third.id()]
    );
}

/// Those who share a value with the deleted one, too.
async fn the_others_stay(t: &Tenant) {
    let mut other = bjensen();
    other["userName"] = json!("babs@example.com");
    let (deleted, other) = (
        t.post("/Users", bjensen()).await.is(201),
        t.post("/Users", other).await.is(201),
    );
    t.delete(&deleted.place()).await.is(204);
    assert_eq!(t.get(&other.place()).await.is(200).body, other.body);
    for filter in [
        "externalId eq \"701984\"",
        "emails eq \"bjensen@example.com\"",
        "title pr",
    ] {
        assert_eq!(t.find(filter).await.is(200).listed("/id"), [other.id()], "{filter}");
    }
    assert_eq!(t.users().await, 1);
}

/// RFC 9110 §9.3.5: it means nothing.
async fn a_body_is_ignored(t: &Tenant) {
    let place = t.user("bjensen@example.com").await.place();
    let headers = [("Content-Type", "application/scim+json")];
    t.raw("DELETE", &place, &headers, "{}").await.is(204);
    t.get(&place).await.is(404);
}
