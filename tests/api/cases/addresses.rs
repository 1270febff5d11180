//! What a URL means, and what it is built on (RFC 7644 §3.2, §3.13).

use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, user},
    world::{Setup, Way},
};

cases![
    the_tenant_url_may_be_pasted_in_several_ways,
    a_percent_encoded_path_is_the_same_path,
    an_unknown_endpoint_is_404_with_every_method,
    a_tenant_url_in_a_browser_says_what_it_is_for,
    a_tenant_url_pasted_wrongly_says_what_is_wrong,
    an_id_that_nobody_has_is_404,
    a_path_too_long_for_the_host_is_404
        .not_in(
            Way::Proxy,
            "Kestrel refuses request lines of more than 8 KiB",
            "the_proxying_host_refuses_a_long_path"
        )
        .not_in(
            Way::Forward,
            "Kestrel refuses request lines of more than 8 KiB",
            "the_forwarding_host_refuses_a_long_path"
        ),
    the_proxying_host_refuses_a_long_path.only(Way::Proxy, "there the host refuses it itself"),
    the_forwarding_host_refuses_a_long_path.only(Way::Forward, "there the host refuses it itself"),
    no_path_leads_into_another_tenant,
    an_earlier_endpoints_places_keep_working.with(Setup::BasePaths),
    without_a_tenant_in_the_path_the_credential_names_it.with(Setup::BasePaths),
    a_tenant_in_an_earlier_path_needs_its_own_credential.with(Setup::BasePaths),
];

/// R-GEN-02, E-USER-07: what Entra makes of a Tenant URL with a slash at its end, with `/v2`, or with the flag that
/// its documentation names.
async fn the_tenant_url_may_be_pasted_in_several_ways(t: &Tenant) {
    let bearer = format!("Bearer {}", t.secret);
    let headers = [("Authorization", bearer.as_str())];
    let created = t.user("bjensen").await;
    let (upper, path, id) = (t.name.to_uppercase(), t.path(), created.id());
    for base in [
        path.clone(),
        format!("{path}/"),
        format!("{path}//"),
        format!("/{path}"),
        format!("{path}/v2"),
        format!("{path}/v2/"),
        format!("/scim/{upper}"),
        format!("//scim//{}//v2", t.name),
    ] {
        // The harness checks that locations stand on the URL that was asked.
        t.at("GET", &format!("{base}/Users/{id}"), &headers, "").await.is(200);
        t.at("GET", &format!("{base}/Users/{id}/"), &headers, "").await.is(200);
        let listed = t
            .at("GET", &format!("{base}/Users/?aadOptscim062020"), &headers, "")
            .await
            .is(200);
        assert_eq!(listed.listed("/id"), [id], "{base}");
        t.at("GET", &format!("{base}/ServiceProviderConfig"), &headers, "")
            .await
            .is(200);
    }
}

/// RFC 3986 §6.2.2.2; colons in schemas' URNs are often encoded.
async fn a_percent_encoded_path_is_the_same_path(t: &Tenant) {
    let created = t.user("bjensen").await;
    let encoded = t.name.replace('t', "%74").replace('-', "%2D");
    let bearer = format!("Bearer {}", t.secret);
    let path = format!("/scim/{encoded}/%55sers/{}", created.id());
    let found = t
        .unlinted("GET", &path, &[("Authorization", &bearer)], "")
        .await
        .is(200);
    assert_eq!(found.body, created.body);
    for schema in [
        "urn:ietf:params:scim:schemas:core:2.0:User",
        "urn%3Aietf%3Aparams%3Ascim%3Aschemas%3Acore%3A2.0%3AUser",
    ] {
        t.get(&format!("/Schemas/{schema}")).await.is(200);
    }
}

/// R-GEN-02.
async fn an_unknown_endpoint_is_404_with_every_method(t: &Tenant) {
    for path in [
        "/Nonsense",
        "/Nonsense/1",
        "/Users/1/2",
        "/Schemas/1/2",
        "/v2/v2/Users",
        "/Users%20",
        "/Users;a=b",
        "/scim",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = t.raw(method, path, &[], "").await.is(404);
            assert!(
                method == "HEAD" || answer.detail().contains("no such endpoint"),
                "{answer}"
            );
        }
    }
}

/// Whoever opens it learns what to do with it, and not whether there is such a tenant.
async fn a_tenant_url_in_a_browser_says_what_it_is_for(t: &Tenant) {
    let browser = [
        ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
        ("Cookie", "a=b"),
    ];
    for path in [
        t.path(),
        format!("{}/", t.path()),
        format!("{}/v2", t.path()),
        format!("{}?aadOptscim062020", t.path()),
        "/scim/no-such-tenant".to_owned(),
    ] {
        let answer = t.at("GET", &path, &browser, "").await;
        answer.refused(404, "", &["pasted into the identity provider"]);
    }
}

async fn a_tenant_url_pasted_wrongly_says_what_is_wrong(t: &Tenant) {
    let bearer = format!("Bearer {}", t.secret);
    let path = t.path();
    for (path, told) in [
        (format!("{path}/Users/Users"), "ends in /Users"),
        (format!("{path}/Users/Users/1"), "ends in /Users"),
        (format!("{path}/Users/Schemas"), "ends in /Users"),
        (format!("{path}/Users/ServiceProviderConfig"), "ends in /Users"),
        (format!("{path}/Groups/Users"), "ends in /Groups"),
        (format!("{path}/v2/Users/Users"), "ends in /Users"),
        ("/scim/Users".to_owned(), "names no tenant"),
        ("/scim/v2/Users".to_owned(), "names no tenant"),
        ("/scim".to_owned(), "names no tenant"),
        ("/scim/".to_owned(), "names no tenant"),
        ("/scim/Schemas".to_owned(), "names no tenant"),
        ("/favicon.ico".to_owned(), "no such endpoint"),
        ("/health".to_owned(), "no such endpoint"),
        ("/manage/tenants".to_owned(), "no such endpoint"),
        (format!("/SCIM/{}/Users", t.name), "no such endpoint"),
    ] {
        t.at("GET", &path, &[("Authorization", &bearer)], "")
            .await
            .refused(404, "", &[told]);
    }
}

/// Ids are opaque: nothing about one is malformed.
async fn an_id_that_nobody_has_is_404(t: &Tenant) {
    t.user("bjensen").await;
    let long = "a".repeat(6_000);
    for id in [
        "1",
        "*",
        "~",
        "-",
        "_",
        "'",
        "null",
        "undefined",
        "%22",
        "%01",
        "%7f",
        "%0d%0aSet-Cookie:%20a=b",
        "%20",
        "a%2Fb",
        "..%2f..%2fscim",
        "%F0%9F%98%80",
        "%D7%A9",
        "%ff",
        "%c0%ae",
        "%",
        "%zz",
        "u~bjensen",
        "userName",
        "o~1",
        "{id}",
        "1' OR '1'='1",
        "$filter",
        "a%25b",
        "00000000-0000-0000-0000-000000000000",
        &long,
    ] {
        for method in ["GET", "DELETE"] {
            let answer = t.raw(method, &format!("/Users/{id}"), &[], "").await;
            assert_eq!(answer.status, 404, "{id}: {answer}");
        }
    }
    assert_eq!(t.users().await, 1);
}

async fn a_path_too_long_for_the_host_is_404(t: &Tenant) {
    t.get(&format!("/Users/{}", "a".repeat(10_000)))
        .await
        .refused(404, "", &["no User"]);
}

async fn the_proxying_host_refuses_a_long_path(t: &Tenant) {
    the_host_refuses_a_long_path(t).await;
}

async fn the_forwarding_host_refuses_a_long_path(t: &Tenant) {
    the_host_refuses_a_long_path(t).await;
}

async fn the_host_refuses_a_long_path(t: &Tenant) {
    let path = format!("{}/Users/{}", t.path(), "a".repeat(10_000));
    let bearer = format!("Bearer {}", t.secret);
    let answer = t
        .unlinted("GET", &path, &[("Authorization", &bearer)], "")
        .await
        .is(414);
    assert!(answer.bytes.is_empty(), "{answer}");
    t.get("/Users").await.is(200);
}

/// As bytes on the wire, since clients take dot segments out themselves. Who takes them out on the way may lead to the
/// own tenant, never to another's.
async fn no_path_leads_into_another_tenant(t: &Tenant) {
    let other = t.neighbour().await;
    let theirs = other.user("theirs").await;
    let (mine, their) = (&t.name, &other.name);
    for path in [
        format!("/scim/{mine}/../{their}/Users"),
        format!("/scim/{mine}/%2e%2e/{their}/Users"),
        format!("/scim/{mine}/.%2E/{their}/Users/{}", theirs.id()),
        format!("/scim/{mine}/..%2f{their}/Users"),
        format!("/scim/{mine}%2f..%2f{their}/Users"),
        format!("/scim/{mine}/..%5c{their}/Users"),
        format!("/scim/{mine}/Users/../../{their}/Users"),
        format!("/scim/{mine}/./../{their}/./Users"),
        format!("/scim/{their}/Users?tenant={mine}"),
        format!("/scim/{their}/{mine}/Users"),
        format!("/scim/{their}%00{mine}/Users"),
        format!("/scim/{their}/Users#/scim/{mine}/Users"),
        format!("/scim/{their};{mine}/Users"),
        format!("/scim/{their},{mine}/Users"),
        format!("/health/live/../../scim/{their}/Users"),
    ] {
        let (host, secret) = (t.world.address, &t.secret);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n\r\n");
        let answer = t.wire(request).await;
        assert!(matches!(answer.status, 400 | 401 | 404), "{path}: {answer}");
        assert!(
            !String::from_utf8_lossy(&answer.bytes).contains("theirs"),
            "{path}: {answer}"
        );
    }
}

/// A request to a place below the origin with the tenant's credential.
async fn place(t: &Tenant, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {}", t.secret);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/scim+json"),
    ];
    t.at(method, path, &headers, body).await
}

/// design §1: customers move without touching Entra, so every URL they have goes on working, and so do the locations.
async fn an_earlier_endpoints_places_keep_working(t: &Tenant) {
    let bases = [
        "/api/scim".to_owned(),
        "/api/scim/v2".to_owned(),
        format!("/api/{}/scim/v2", t.name),
        format!("/api/{}/scim/v2", t.name.to_uppercase()),
        t.path(),
    ];
    for (number, base) in bases.iter().enumerate() {
        let new = user(&format!("bjensen{number}")).to_string();
        let created = place(t, "POST", &format!("{base}/Users"), &new).await.is(201);
        let location = created.header("location").unwrap_or_default();
        let path = location.strip_prefix(&t.world.origin).unwrap_or_default();
        assert_eq!(path, format!("{base}/Users/{}", created.id()));
        let found = place(t, "GET", path, "").await.is(200);
        assert_eq!(found.body, created.body);
        for base in &bases {
            place(t, "GET", &format!("{base}/Users/{}", created.id()), "")
                .await
                .is(200);
        }
        let types = place(t, "GET", &format!("{base}/ResourceTypes"), "").await.is(200);
        let expected = format!("{}{base}/ResourceTypes/User", t.world.origin);
        assert_eq!(types.listed("/meta/location")[0], expected);
    }
    assert_eq!(t.users().await, 5);
}

async fn without_a_tenant_in_the_path_the_credential_names_it(t: &Tenant) {
    let other = t.neighbour().await;
    let theirs = other.user("theirs").await;
    let listed = place(t, "GET", "/api/scim/Users", "").await.is(200);
    assert_eq!(listed.total(), 0);
    let path = format!("/api/scim/Users/{}", theirs.id());
    place(t, "GET", &path, "").await.refused(404, "", &[]);
    place(&other, "GET", &path, "").await.is(200);
    t.at("GET", "/api/scim/Users", &[], "")
        .await
        .refused(401, "", &["no credential"]);
    t.at("GET", "/api/scim/Users", &[("Authorization", "Bearer wrong")], "")
        .await
        .refused(401, "", &["not valid"]);
    let revoked = t.issue(None, &scimgate::tenants::Terms::default()).await;
    t.revoke(&revoked.credential.id).await;
    let bearer = format!("Bearer {}", revoked.secret);
    t.at("GET", "/api/scim/Users", &[("Authorization", &bearer)], "")
        .await
        .refused(401, "", &["revoked on"]);
    t.at("GET", "/api/scim", &[], "")
        .await
        .refused(404, "", &["pasted into the identity provider"]);
}

async fn a_tenant_in_an_earlier_path_needs_its_own_credential(t: &Tenant) {
    let other = t.neighbour().await;
    for name in [&other.name, "no-such-tenant", "scim"] {
        let path = format!("/api/{name}/scim/v2/Users");
        place(t, "GET", &path, "")
            .await
            .refused(401, "", &["not valid for this tenant"]);
    }
    place(t, "GET", &format!("/api/{}/Users", t.name), "")
        .await
        .refused(404, "", &["no such endpoint"]);
    place(t, "GET", &format!("/api/{}/scim/Users", t.name), "")
        .await
        .refused(404, "", &["no such endpoint"]);
}
