//! GET of one (RFC 7644 §3.4.1).

use serde_json::json;

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, Tenant, encoded, patch_op, user_with},
};

cases![
    an_unknown_id_is_not_found,
    ids_are_case_exact,
    an_id_may_be_percent_encoded,
    an_inactive_user_is_visible,
    head_is_get_without_a_body,
    reading_changes_nothing,
    unknown_parameters_are_ignored,
    the_managers_name_is_shown_as_it_is_now,
];

/// RFC 7644 §3.12; E-USER-02: by this Entra knows that its cached id is gone.
async fn an_unknown_id_is_not_found(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    let others = [
        "2819c223-7f76-453a-919d-413861904646".to_owned(),
        format!("{}0", user.id()),
        user.id()[1..].to_owned(),
        "bjensen@example.com".to_owned(),
        "%C3%A9".to_owned(),
        "a%20b".to_owned(),
        "~".to_owned(),
        "x".repeat(128),
        "x".repeat(1_000),
    ];
    for id in others {
        t.get(&format!("/Users/{id}"))
            .await
            .refused(404, "", &["no User", "Reference "]);
    }
}

/// RFC 7643 §3.1: `id` is case-exact.
async fn ids_are_case_exact(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    let other = user.id().to_uppercase();
    assert_ne!(other, user.id());
    t.get(&format!("/Users/{other}")).await.refused(404, "", &["User"]);
    let filter = encoded(&format!("id eq \"{other}\""));
    assert_eq!(t.get(&format!("/Users?filter={filter}")).await.is(200).total(), 0);
}

/// RFC 3986 §6.2.2.2.
async fn an_id_may_be_percent_encoded(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    for spelled in [user.id().replace('-', "%2D"), user.id().replace('7', "%37")] {
        assert_ne!(spelled, user.id());
        assert_eq!(
            t.get(&format!("/Users/{spelled}")).await.is(200).body,
            user.body,
            "{spelled}"
        );
    }
}

/// E-USER-17, E-LIFE-03, E-USER-05: whether somebody is deactivated has to be seen.
async fn an_inactive_user_is_visible(t: &Tenant) {
    let sent = user_with(
        "bjensen@example.com",
        json!({ "active": false, "externalId": "701984" }),
    );
    let user = t.post("/Users", sent).await.is(201);
    assert_eq!(t.get(&user.place()).await.is(200).body, user.body);
    for list in [
        t.get("/Users").await,
        t.find("userName eq \"bjensen@example.com\"").await,
        t.find("externalId eq \"701984\"").await,
        t.find("active eq false").await,
    ] {
        assert_eq!(list.is(200).body["Resources"], json!([user.body]));
    }
}

/// RFC 9110 §9.3.2.
async fn head_is_get_without_a_body(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    let got = t.get(&user.place()).await.is(200);
    let head = t.raw("HEAD", &user.place(), &[], "").await.is(200);
    for name in ["etag", "content-type"] {
        assert_eq!(head.header(name), got.header(name), "{name}");
    }
    t.raw("HEAD", "/Users", &[], "").await.is(200);
    t.raw("HEAD", "/Users/none", &[], "").await.is(404);
}

async fn reading_changes_nothing(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    for _ in 0..3 {
        let again = t.get(&user.place()).await.is(200);
        assert_eq!((again.etag(), &again.body), (user.etag(), &user.body));
    }
}

/// R-GEN-12; Entra's flag stands in the Tenant URL.
async fn unknown_parameters_are_ignored(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    for query in [
        "?aadOptscim062020",
        "?shoeSize=43&x",
        "?&&=",
        "?filter=title+pr&count=0",
    ] {
        let found = t.get(&format!("{}{query}", user.place())).await.is(200);
        assert_eq!(found.body, user.body, "{query}");
    }
}

/// RFC 7643 §4.3: `manager.displayName` is read-only; a name is never out of date.
async fn the_managers_name_is_shown_as_it_is_now(t: &Tenant) {
    let named = json!({ "displayName": "John Smith" });
    let manager = t.post("/Users", user_with("jsmith@example.com", named)).await.is(201);
    let under = json!({ ENTERPRISE_URN: { "manager": { "value": manager.id(), "displayName": "Nobody" } } });
    let user = t.post("/Users", user_with("bjensen@example.com", under)).await.is(201);
    let shown = |name: &str| {
        json!({ ENTERPRISE_URN: { "manager": {
            "value": manager.id(), "$ref": manager.text("/meta/location"), "displayName": name,
        } } })
    };
    let version = t.get(&user.place()).await.is(200).has(&shown("John Smith")).etag();
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "J. Smith" }]);
    t.patch(&manager.place(), patch_op(rename)).await.is(200);
    let found = t.get(&user.place()).await.is(200).has(&shown("J. Smith"));
    assert_eq!(found.etag(), version);
    t.delete(&manager.place()).await.is(204);
    let found = t.get(&user.place()).await.is(200);
    assert_eq!(
        found.body[ENTERPRISE_URN]["manager"].get("displayName"),
        None,
        "{found}"
    );
    assert_eq!(found.body[ENTERPRISE_URN]["manager"]["value"], manager.id());
}
