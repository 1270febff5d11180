//! Answers on the wire (RFC 9110, RFC 9112): what a proxy in front relies on, and where it would otherwise say 502.

use crate::{
    case::cases,
    tenant::{SCIM_JSON, Tenant, user},
    wire::Connection,
    world::{ENVOY, Way},
};

cases![
    head_has_the_headers_of_get_and_no_body,
    allow_names_what_is_not_405,
    whether_it_runs_is_told_to_everybody,
    an_answer_without_body_leaves_the_connection_clean,
    after_a_refusal_the_connection_is_clean_or_announced_as_ending,
    pipelined_requests_are_answered_in_order,
    http_1_0_is_answered_and_closed,
    connection_close_is_kept,
    an_absolute_target_is_a_path_too,
    an_upgrade_is_not_taken_up.not_in(ENVOY, "Envoy refuses upgrades", "an_envoy_refuses_an_upgrade"),
    an_envoy_refuses_an_upgrade.only(ENVOY, "there it is refused without us"),
    a_head_that_cant_be_read_is_announced_as_the_last.only(Way::Direct, "what is in front reads it first"),
    a_target_that_an_envoy_passes_on_and_is_none_is_400.only(ENVOY, "the Functions host encodes it anew"),
];

/// A create as bytes; `extra` is more of the head.
pub(super) fn create(t: &Tenant, name: &str, extra: &str) -> String {
    let (head, body) = (t.head("POST", "/Users"), user(name).to_string());
    format!(
        "{head}Content-Type: {SCIM_JSON}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn read(t: &Tenant, path: &str) -> String {
    format!("{}\r\n", t.head("GET", path))
}

pub(super) async fn connect(t: &Tenant) -> Connection {
    Connection::open(t.world.address).await
}

/// RFC 9110 §9.3.2. A body behind a HEAD would be read as the next answer.
async fn head_has_the_headers_of_get_and_no_body(t: &Tenant) {
    let place = t.user("bjensen").await.place();
    let mut connection = connect(t).await;
    for path in [
        "/Users",
        &place,
        &format!("{place}?attributes=userName"),
        "/Users?filter=userName%20eq%20%22nobody%22",
        "/Schemas",
        "/ServiceProviderConfig",
        "/ResourceTypes/User",
        "/Users/none",
        "/Nonsense",
        "/Users?filter=nonsense",
    ] {
        connection.write(read(t, path).as_bytes()).await;
        let get = connection.answer("GET").await;
        connection
            .write(format!("{}\r\n", t.head("HEAD", path)).as_bytes())
            .await;
        let head = connection.answer("HEAD").await;
        assert_eq!(
            (head.status, head.lasting_headers()),
            (get.status, get.lasting_headers()),
            "{path}"
        );
        assert_eq!(
            head.header("content-length"),
            Some(get.bytes.len().to_string()),
            "{path}"
        );
        assert!(connection.is_quiet().await, "{path}");
    }
}

/// R-GEN-02; RFC 9110 §10.2.1, §15.5.6.
async fn allow_names_what_is_not_405(t: &Tenant) {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    for path in [
        "/Users",
        "/Users/none",
        "/Schemas",
        "/ResourceTypes",
        "/ResourceTypes/User",
        "/ServiceProviderConfig",
    ] {
        let options = t.raw("OPTIONS", path, &[], "").await.is(204);
        let allow = options.header("allow").unwrap_or_default();
        let allowed: Vec<&str> = allow.split(',').map(str::trim).collect();
        for method in methods {
            let answer = t.raw(method, path, &[], "").await;
            assert_eq!(answer.status == 405, !allowed.contains(&method), "{allow}, {answer}");
            if answer.status == 405 {
                assert_eq!(answer.header("allow"), Some(allow.clone()), "{answer}");
                assert!(method == "HEAD" || answer.detail().contains(method), "{answer}");
            }
        }
    }
    assert_eq!(t.users().await, 0);
}

/// The Functions host asks at `/`, and takes no redirect and no credential (functions-host §1.3).
async fn whether_it_runs_is_told_to_everybody(t: &Tenant) {
    for path in ["/", "/health/live", "/health/ready"] {
        let get = t.unlinted("GET", path, &[], "").await.is(200);
        assert_eq!(get.header("content-type").as_deref(), Some("text/plain"), "{get}");
        let head = t.unlinted("HEAD", path, &[], "").await.is(200);
        assert_eq!(
            (head.bytes.len(), head.lasting_headers()),
            (0, get.lasting_headers()),
            "{path}"
        );
        t.unlinted(
            "GET",
            path,
            &[("Authorization", "Bearer wrong"), ("Host", "a.example")],
            "",
        )
        .await
        .is(200);
    }
}

/// RFC 9112 §6.3: a byte too many here is the "protocol error" of somebody else's request.
async fn an_answer_without_body_leaves_the_connection_clean(t: &Tenant) {
    let mut connection = connect(t).await;
    for _ in 0..20 {
        connection.write(create(t, "bjensen", "").as_bytes()).await;
        let created = connection.answer("POST").await.is(201);
        connection
            .write(format!("{}\r\n", t.head("DELETE", &created.place())).as_bytes())
            .await;
        let deleted = connection.answer("DELETE").await.linted(&t.world.origin).is(204);
        assert_eq!(deleted.header("transfer-encoding"), None, "{deleted}");
        let known = format!("{}If-None-Match: *\r\n\r\n", t.head("GET", &created.place()));
        connection.write(known.as_bytes()).await;
        connection.answer("GET").await.is(404);
    }
    connection
        .write(format!("{}\r\n", t.head("OPTIONS", "/Users")).as_bytes())
        .await;
    connection.answer("OPTIONS").await.linted(&t.world.origin).is(204);
    connection.write(create(t, "bjensen", "").as_bytes()).await;
    let place = connection.answer("POST").await.is(201).place();
    connection
        .write(format!("{}If-None-Match: *\r\n\r\n", t.head("GET", &place)).as_bytes())
        .await;
    connection.answer("GET").await.linted(&t.world.origin).is(304);
    assert!(connection.is_quiet().await);
    connection.write(read(t, &place).as_bytes()).await;
    connection.answer("GET").await.is(200);
}

async fn after_a_refusal_the_connection_is_clean_or_announced_as_ending(t: &Tenant) {
    let wrong = "Authorization: Bearer wrong\r\n";
    let (path, host) = (t.path(), t.world.address);
    let post = |headers: &str, body: &str| {
        format!(
            "POST {path}/Users HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let own = format!("Authorization: Bearer {}\r\n", t.secret);
    let new = user("bjensen").to_string();
    for (request, status) in [
        (post(&own, "{"), 400),
        (post(&own, "[]"), 400),
        (post(wrong, &new), 401),
        (post("", &new), 401),
        (post(&format!("{own}Content-Type: text/plain\r\n"), &new), 415),
        (post(&own, &" ".repeat(1024 * 1024 + 1)), 413),
        (post(&own, &new).replacen("POST", "DELETE", 1), 405),
        (post(&own, &new).replacen("/Users", "/Nonsense", 1), 404),
        (read(t, "/Users/none"), 404),
    ] {
        let mut connection = connect(t).await;
        connection.write(request.as_bytes()).await;
        let answer = connection.answer("POST").await.linted("").is(status);
        if answer
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
        {
            assert!(connection.is_closed().await, "{answer}");
        } else {
            assert!(connection.is_quiet().await, "{answer}");
            connection.write(read(t, "/Users?count=0").as_bytes()).await;
            assert_eq!(connection.answer("GET").await.is(200).total(), 0);
        }
    }
}

/// RFC 9112 §9.3.2.
async fn pipelined_requests_are_answered_in_order(t: &Tenant) {
    let mut connection = connect(t).await;
    let head = format!("{}\r\n", t.head("HEAD", "/Users"));
    let requests = [
        create(t, "bjensen", ""),
        read(t, "/Users"),
        head,
        read(t, "/Nonsense"),
        create(t, "bjensen", ""),
    ];
    connection.write(requests.concat().as_bytes()).await;
    connection.answer("POST").await.is(201);
    assert_eq!(connection.answer("GET").await.is(200).total(), 1);
    connection.answer("HEAD").await.is(200);
    connection.answer("GET").await.is(404);
    connection.answer("POST").await.is(409);
    assert!(connection.is_quiet().await);
}

/// RFC 9112 §9.3: old probes and load balancers.
async fn http_1_0_is_answered_and_closed(t: &Tenant) {
    for request in [read(t, "/Users"), create(t, "bjensen", "")] {
        let mut connection = connect(t).await;
        connection
            .write(request.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes())
            .await;
        let answer = connection.answer("GET").await;
        assert!(matches!(answer.status, 200 | 201), "{answer}");
        assert_eq!(answer.header("transfer-encoding"), None, "{answer}");
        assert!(connection.is_closed().await, "{answer}");
    }
    assert_eq!(t.users().await, 1);
}

/// RFC 9112 §9.6.
async fn connection_close_is_kept(t: &Tenant) {
    for (number, spelling) in ["close", "Close", "keep-alive, close"].into_iter().enumerate() {
        let mut connection = connect(t).await;
        let extra = format!("Connection: {spelling}\r\n");
        connection
            .write(create(t, &format!("bjensen{number}"), &extra).as_bytes())
            .await;
        connection.answer("POST").await.is(201);
        assert!(connection.is_closed().await, "{spelling}");
    }
}

/// RFC 9112 §3.2.2: must be accepted.
async fn an_absolute_target_is_a_path_too(t: &Tenant) {
    let request = read(t, "/Users").replacen("GET /", &format!("GET http://{}/", t.world.address), 1);
    assert_eq!(t.wire(request).await.is(200).total(), 0);
}

/// RFC 9110 §7.8: an offer may be ignored.
async fn an_upgrade_is_not_taken_up(t: &Tenant) {
    for (upgrade, settings) in [
        ("h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"),
        ("websocket", ""),
        ("TLS/1.2", ""),
    ] {
        let mut connection = connect(t).await;
        let head = t.head("GET", "/Users");
        let request = format!("{head}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n{settings}\r\n");
        connection.write(request.as_bytes()).await;
        assert_eq!(connection.answer("GET").await.is(200).total(), 0);
        assert!(connection.is_quiet().await, "{upgrade}");
    }
}

async fn an_envoy_refuses_an_upgrade(t: &Tenant) {
    let mut connection = connect(t).await;
    let request = format!(
        "{}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        t.head("GET", "/Users")
    );
    connection.write(request.as_bytes()).await;
    assert!(connection.answer("GET").await.is(403).bytes.is_empty());
}

/// RFC 9113 §8.1.1: what HTTP/2 calls malformed is no 502 of ours, and nothing is done.
async fn a_target_that_an_envoy_passes_on_and_is_none_is_400(t: &Tenant) {
    for path in [
        "/Users?filter=userName+eq+\"bjensen\"",
        "/Users?filter=userName+eq+%22a<b%22",
        "/Users/a<b",
        "/Users/a`b",
    ] {
        t.wire(read(t, path)).await.is(400);
        t.wire(read(t, path).replacen("GET", "DELETE", 1)).await.is(400);
    }
    assert_eq!(t.users().await, 0);
}

/// RFC 9112 §9.6: unannounced, whoever pools connections sends another client's request on this one.
async fn a_head_that_cant_be_read_is_announced_as_the_last(t: &Tenant) {
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(200));
    for request in [read(t, "/Users/a<b"), many] {
        for before in 0..3 {
            let mut connection = connect(t).await;
            for _ in 0..before {
                connection.write(read(t, "/Users").as_bytes()).await;
                connection.answer("GET").await.is(200);
            }
            connection.write(request.as_bytes()).await;
            let answer = connection.answer("GET").await;
            assert_eq!(answer.header("connection").as_deref(), Some("close"), "{answer}");
            assert!(connection.is_closed().await, "{answer}");
        }
    }
}
