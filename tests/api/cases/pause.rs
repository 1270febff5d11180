//! A tenant that an operator has paused: every request is answered 503, and nothing is read or written.

use std::time::Duration;

use scimgate::tenants::Terms;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    case::cases,
    tenant::{Tenant, patch_op, user},
};

cases![
    a_paused_tenant_gets_503_whatever_it_asks,
    a_pause_is_seen_by_nobody_else,
    a_resumed_tenant_goes_on_where_it_stopped,
];

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(15)
}

/// A tenant with a user, paused, and with a credential that no instance has seen: for that one the pause is in force at once.
async fn paused(t: &Tenant) -> (Tenant, String) {
    let earlier = t.neighbour().await;
    let place = earlier.user("bjensen").await.place();
    let paused = t.world.tenants.pause(&earlier.name, "test", soon()).await;
    assert!(paused.is_ok(), "the tenant can't be paused");
    (anew(&earlier).await, place)
}

/// The same tenant with a credential that no instance has seen.
async fn anew(t: &Tenant) -> Tenant {
    Tenant {
        world: std::sync::Arc::clone(&t.world),
        name: t.name.clone(),
        secret: t.issue(None, &Terms::default()).await.secret,
    }
}

/// E-NET-02: Entra waits for what is 503. Reads too, or a look-up during an import would find nobody, and a create follow it.
async fn a_paused_tenant_gets_503_whatever_it_asks(t: &Tenant) {
    let (t, place) = paused(t).await;
    let change = patch_op(json!([{ "op": "replace", "path": "active", "value": false }])).to_string();
    let new = user("other").to_string();
    for (method, path, body) in [
        ("GET", "/Users?filter=userName%20eq%20%22e85bb0d8%22", ""),
        ("GET", place.as_str(), ""),
        ("HEAD", &place, ""),
        ("GET", "/Groups", ""),
        ("GET", "?filter=userName%20pr", ""),
        ("POST", "/Users", new.as_str()),
        ("POST", "/Users", "no JSON"),
        ("PUT", &place, &new),
        ("PATCH", &place, &change),
        ("DELETE", &place, ""),
        ("POST", "/Bulk", "{}"),
        ("POST", "/.search", "{}"),
        ("GET", "/ServiceProviderConfig", ""),
        ("GET", "/Schemas", ""),
        ("GET", "/ResourceTypes/User", ""),
        ("GET", "/Me", ""),
        ("GET", "/Nonsense", ""),
        ("OPTIONS", "/Users", ""),
    ] {
        let headers = [("Content-Type", "application/scim+json")];
        let answer = t.raw(method, path, &headers, body).await.is(503);
        assert_eq!(answer.header("retry-after").as_deref(), Some("60"), "{answer}");
        if method != "HEAD" {
            answer.refused(
                503,
                "",
                &["has paused the provisioning of this tenant", "goes on by itself"],
            );
        }
    }
}

/// Who has no valid credential learns nothing, and no other tenant notices.
async fn a_pause_is_seen_by_nobody_else(t: &Tenant) {
    let (paused, _) = paused(t).await;
    paused
        .anonymous("GET", "/Users")
        .await
        .refused(401, "", &["no credential"]);
    let wrong = [("Authorization", "Bearer wrong")];
    paused
        .raw("GET", "/Users", &wrong, "")
        .await
        .refused(401, "", &["not valid for this tenant"]);
    t.get("/Users").await.is(200);
    t.user("bjensen").await;
    t.unlinted("GET", "/health/ready", &[], "").await.is(200);
}

/// What was refused meanwhile was not done, and is done when it comes again.
async fn a_resumed_tenant_goes_on_where_it_stopped(t: &Tenant) {
    let (t, place) = paused(t).await;
    t.post("/Users", user("other")).await.is(503);
    t.delete(&place).await.is(503);
    let resumed = t.world.tenants.resume(&t.name, "test", soon()).await;
    assert!(resumed.is_ok_and(|(_, was_paused)| was_paused));
    let t = anew(&t).await;
    assert_eq!(t.users().await, 1);
    t.get(&place).await.is(200);
    t.user("other").await;
    t.delete(&place).await.is(204);
}
