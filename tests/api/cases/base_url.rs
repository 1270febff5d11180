//! Scheme and host of every location (design §2).

use serde_json::json;

use crate::{
    answer::Answer,
    case::cases,
    tenant::{SCIM_JSON, Tenant, user},
    world::{ENVOY, PUBLIC_URL, Setup, Way},
};

cases![
    the_public_url_stands_before_everything_else.with(Setup::PublicUrl),
    without_settings_locations_stand_on_the_host_that_was_asked,
    a_clients_forwarded_headers_are_not_believed.not_in(
        Way::Forward,
        "X-Forwarded-Host comes as the client sent it",
        "the_forwarding_host_lets_a_client_name_the_host"
    ),
    the_forwarding_host_lets_a_client_name_the_host.only(
        Way::Forward,
        "there nothing tells the front end's header from the client's"
    ),
    a_trusted_proxy_names_the_origin.with(Setup::TrustProxy).not_in(
        Way::Proxy,
        "the host replaces X-Forwarded-*",
        "the_proxying_host_is_believed_and_nobody_behind_it"
    ),
    the_proxying_host_is_believed_and_nobody_behind_it
        .with(Setup::TrustProxy)
        .only(Way::Proxy, "there the host replaces X-Forwarded-*"),
    a_proxys_nonsense_is_400_and_nothing_is_written
        .with(Setup::TrustProxy)
        .not_in(
            Way::Proxy,
            "the host replaces X-Forwarded-*",
            "the_proxying_host_is_believed_and_nobody_behind_it"
        ),
    a_host_that_is_none_is_400_and_nothing_is_written.not_in(
        ENVOY,
        "Envoy refuses some of them itself",
        "an_envoy_refuses_a_host_that_is_none"
    ),
    an_envoy_refuses_a_host_that_is_none.only(ENVOY, "there some are refused without us"),
    a_request_without_one_host_is_400.only(Way::Direct, "the host in front has a Host of its own"),
    the_targets_own_host_stands_before_the_header.only(Way::Direct, "the host in front makes a target of its own"),
];

/// An answer to a request with these headers beside the credential; not linted, as locations stand on another origin.
async fn ask(t: &Tenant, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let bearer = format!("Bearer {}", t.secret);
    let mut all = vec![("Authorization", bearer.as_str()), ("Content-Type", SCIM_JSON)];
    all.extend(headers);
    t.unlinted(method, &format!("{}/Users", t.path()), &all, body).await
}

/// RFC 9112 by hand, so that `Host` may be anything.
async fn with_host(t: &Tenant, method: &str, host: &str, body: &str) -> Answer {
    let (path, secret, length) = (t.path(), &t.secret, body.len());
    let head = format!("{method} {path}/Users HTTP/1.1\r\n{host}Authorization: Bearer {secret}\r\n");
    t.wire(format!(
        "{head}Content-Type: {SCIM_JSON}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
    .await
}

async fn the_public_url_stands_before_everything_else(t: &Tenant) {
    let headers = [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "http"),
        ("Forwarded", "host=evil.example"),
    ];
    // The harness expects the public URL in every location.
    ask(t, "POST", &headers, &user("bjensen").to_string())
        .await
        .is(201)
        .linted(PUBLIC_URL);
    ask(t, "GET", &headers, "").await.is(200).linted(PUBLIC_URL);
    let created = with_host(t, "POST", "Host: internal.example:81\r\n", &user("other").to_string())
        .await
        .is(201);
    let expected = format!("{PUBLIC_URL}{}/Users/{}", t.path(), created.id());
    assert_eq!(created.text("/meta/location"), expected);
    assert_eq!(created.header("location").as_deref(), Some(expected.as_str()));
    for path in [
        "/ServiceProviderConfig",
        "/ResourceTypes/User",
        "/Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
    ] {
        let location = t.get(path).await.is(200).text("/meta/location").to_owned();
        assert_eq!(location, format!("{PUBLIC_URL}{}{path}", t.path()));
    }
}

async fn without_settings_locations_stand_on_the_host_that_was_asked(t: &Tenant) {
    for host in [
        "scim.example.com",
        "SCIM.example.com:8443",
        "localhost",
        "10.0.0.1:80",
        "[::1]:7071",
        "a_b.example",
    ] {
        let line = format!("Host: {host}\r\n");
        let created = with_host(t, "POST", &line, &user(host).to_string()).await.is(201);
        let expected = format!("http://{host}{}/Users/{}", t.path(), created.id());
        assert!(
            created.text("/meta/location").eq_ignore_ascii_case(&expected),
            "{created}"
        );
    }
}

async fn a_clients_forwarded_headers_are_not_believed(t: &Tenant) {
    let headers = [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "99"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", "host=evil.example;proto=https"),
        ("X-Original-Host", "evil.example"),
    ];
    ask(t, "POST", &headers, &user("bjensen").to_string())
        .await
        .is(201)
        .linted(&t.world.origin);
    ask(t, "GET", &[("X-Forwarded-Host", "<script>")], "")
        .await
        .is(200)
        .linted(&t.world.origin);
}

/// Only this answer is concerned: locations are never stored (design §2). A public URL ends it.
async fn the_forwarding_host_lets_a_client_name_the_host(t: &Tenant) {
    let headers = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")];
    let created = ask(t, "POST", &headers, &user("bjensen").to_string())
        .await
        .is(201)
        .linted("https://evil.example");
    t.get(&created.place()).await.is(200);
}

/// Of a list, the last element is what the hop next to this service saw; of several lines too (RFC 9110 §5.3).
async fn a_trusted_proxy_names_the_origin(t: &Tenant) {
    let own = t.world.address.to_string();
    for (number, (headers, origin)) in [
        (vec![], format!("http://{own}")),
        (
            vec![("X-Forwarded-Host", "scim.example.com")],
            "http://scim.example.com".to_owned(),
        ),
        (vec![("X-Forwarded-Proto", "https")], format!("https://{own}")),
        (
            vec![
                ("X-Forwarded-Host", "scim.example.com:8443"),
                ("X-Forwarded-Proto", "https"),
            ],
            "https://scim.example.com:8443".to_owned(),
        ),
        (
            vec![("X-Forwarded-Host", "[2001:db8::1]:443")],
            "http://[2001:db8::1]:443".to_owned(),
        ),
        (
            vec![
                ("X-Forwarded-Host", "evil.example, scim.example.com"),
                ("X-Forwarded-Proto", "http, https"),
            ],
            "https://scim.example.com".to_owned(),
        ),
        (
            vec![
                ("X-Forwarded-Host", "evil.example"),
                ("X-Forwarded-Host", "scim.example.com"),
            ],
            "http://scim.example.com".to_owned(),
        ),
        // RFC 3986 §3.1: a scheme has no case.
        (vec![("X-Forwarded-Proto", "HTTPS")], format!("https://{own}")),
    ]
    .into_iter()
    .enumerate()
    {
        ask(t, "POST", &headers, &user(&format!("bjensen{number}")).to_string())
            .await
            .is(201)
            .linted(&origin);
        ask(t, "GET", &headers, "").await.is(200).linted(&origin);
    }
}

async fn the_proxying_host_is_believed_and_nobody_behind_it(t: &Tenant) {
    for host in ["evil.example", "<script>"] {
        let headers = [("X-Forwarded-Host", host), ("X-Forwarded-Proto", "https")];
        ask(t, "GET", &headers, "").await.is(200).linted(&t.world.origin);
        ask(t, "POST", &headers, &user(host).to_string())
            .await
            .is(201)
            .linted(&t.world.origin);
    }
}

/// What no host name has in it; a browser or a log would do something with it.
const NO_HOSTS: [&str; 13] = [
    "a b",
    "<script>alert(1)</script>",
    "bjensen:secret@example.com",
    "example.com:80:81",
    "example.com:99999",
    "example.com:",
    "example.com/path",
    "example.com?a",
    "example.com#a",
    "exa\"mple.com",
    "::1",
    "[::1",
    "*",
];

async fn a_proxys_nonsense_is_400_and_nothing_is_written(t: &Tenant) {
    let new = user("bjensen").to_string();
    for host in NO_HOSTS {
        let answer = ask(t, "POST", &[("X-Forwarded-Host", host)], &new).await.linted("");
        answer.refused(400, "", &[]);
    }
    for scheme in ["javascript", "ftp", "https://", "https:", "http https", "<script>"] {
        let answer = ask(t, "POST", &[("X-Forwarded-Proto", scheme)], &new).await.linted("");
        answer.refused(400, "", &[]);
    }
    assert_eq!(t.users().await, 0);
}

/// RFC 9112 §3.2.
async fn an_envoy_refuses_a_host_that_is_none(t: &Tenant) {
    for host in NO_HOSTS {
        let line = format!("Host: {host}\r\n");
        with_host(t, "POST", &line, &user("bjensen").to_string()).await.is(400);
    }
    assert_eq!(t.users().await, 0);
}

async fn a_host_that_is_none_is_400_and_nothing_is_written(t: &Tenant) {
    let new = user("bjensen").to_string();
    let long = "a".repeat(300);
    for host in NO_HOSTS.into_iter().chain([long.as_str()]) {
        let line = format!("Host: {host}\r\n");
        let answer = with_host(t, "POST", &line, &new).await;
        answer.linted("").refused(400, "", &["Host"]);
        with_host(t, "GET", &line, "").await.is(400);
    }
    assert_eq!(t.users().await, 0);
}

/// RFC 9112 §3.2: none, an empty one, or two.
async fn a_request_without_one_host_is_400(t: &Tenant) {
    let new = user("bjensen").to_string();
    for lines in [
        "",
        "Host:\r\n",
        "Host: a.example\r\nHost: b.example\r\n",
        "Host: a.example\r\nHost: a.example\r\n",
    ] {
        with_host(t, "POST", lines, &new).await.is(400);
    }
    assert_eq!(t.users().await, 0);
}

/// RFC 9112 §3.2.2: what a proxy is asked for; then `Host` is to be ignored.
async fn the_targets_own_host_stands_before_the_header(t: &Tenant) {
    let (path, secret) = (t.path(), &t.secret);
    t.user("bjensen").await;
    let target = format!("http://scim.example.com{path}/Users");
    let request = format!("GET {target} HTTP/1.1\r\nHost: other.example\r\nAuthorization: Bearer {secret}\r\n\r\n");
    let listed = t.wire(request).await.is(200);
    let location = listed.listed("/meta/location").remove(0);
    assert!(location.starts_with(&target), "{location}");
    assert_eq!(
        listed.body["schemas"],
        json!(["urn:ietf:params:scim:api:messages:2.0:ListResponse"])
    );
}
