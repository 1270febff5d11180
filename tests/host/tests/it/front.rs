//! What the host itself answers: limits, routing, keys, throttling, its own endpoints.

use std::time::Duration;

use functions_test_host::{Keys, Mode};
use serde_json::{Value, json};

use crate::support::{BOTH, Fixture, Request};

/// A function `users` for GET and POST, with keys when given.
fn users(level: &str, keys: Option<Keys>) -> Fixture {
    let mut fixture = Fixture::new(Mode::Proxy);
    std::fs::remove_dir_all(fixture.root().join("catch")).unwrap();
    fixture.function(
        "users",
        &json!({ "authLevel": level, "route": "users/{id?}", "methods": ["get", "post"] }),
    );
    fixture.options.keys = keys;
    fixture
}

#[tokio::test]
async fn no_route_or_method_is_an_empty_404() {
    let running = users("anonymous", None).start().await;
    assert_eq!(running.send("GET /users/1").await.status, 200);
    assert_eq!(running.send("POST /USERS").await.status, 200);
    // Never 405; HEAD and OPTIONS are not implied by GET.
    for line in [
        "GET /other",
        "GET /users/1/2",
        "DELETE /users",
        "OPTIONS /users",
        "POST /",
    ] {
        let answer = running.send(line).await;
        answer.assert_bare(404);
        assert_eq!(answer.header("allow"), None);
    }
    let mut client = running.connect().await;
    client.write(&Request::from("HEAD /users").bytes()).await;
    assert!(client.read_head().await.starts_with("http/1.1 404"));
}

#[tokio::test]
async fn the_root_is_the_homepage_unless_a_function_takes_it() {
    let answer = users("anonymous", None).start().await.send("GET /").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html")));
    let running = users("anonymous", None)
        .set("AzureWebJobsDisableHomepage", "true")
        .start()
        .await;
    running.send("GET /").await.assert_bare(204);
    let running = Fixture::new(Mode::Proxy).start().await;
    assert_eq!(running.echo("GET /").await.text("target"), "/");
}

#[tokio::test]
async fn keys_are_asked_for_by_level() {
    let keys = [
        ("users", "own"),
        ("default", "host"),
        ("_master", "master"),
        ("other", "foreign"),
    ];
    let keys: Keys = keys.map(|(name, key)| (name.to_owned(), key.to_owned())).into();
    for (level, key, expected) in [
        ("anonymous", None, 200),
        ("anonymous", Some("wrong"), 200),
        ("function", None, 401),
        ("function", Some("wrong"), 401),
        ("function", Some("foreign"), 401),
        ("function", Some("own"), 200),
        ("function", Some("host"), 200),
        ("function", Some("master"), 200),
        ("admin", Some("host"), 401),
        ("admin", Some("master"), 200),
    ] {
        let running = users(level, Some(keys.clone())).start().await;
        let in_header = Request::from("GET /users");
        let in_header = key
            .into_iter()
            .fold(in_header, |request, key| request.header("x-functions-key", key));
        let in_query = key.map_or_else(|| "GET /users".to_owned(), |key| format!("GET /users?code={key}"));
        for request in [in_header, Request::from(in_query.as_str())] {
            let answer = running.send(request).await;
            assert_eq!(answer.status, expected, "{level} {key:?}");
            assert!(expected == 200 || answer.body.is_empty());
        }
    }
}

#[tokio::test]
async fn without_keys_every_level_is_open() {
    let running = users("admin", None).start().await;
    assert_eq!(running.send("GET /users").await.status, 200);
}

#[tokio::test]
async fn the_key_is_not_stripped() {
    let echo = Fixture::new(Mode::Proxy).start().await.echo("GET /x?code=secret").await;
    assert_eq!(echo.text("target"), "/x?code=secret");
}

#[tokio::test]
async fn the_hosts_own_endpoints_come_before_functions() {
    let running = Fixture::new(Mode::Proxy).start().await;
    let status: Value = serde_json::from_slice(&running.send("GET /admin/host/status").await.body).unwrap();
    assert_eq!(status["state"], "Running");
    running.send("GET /admin/host/ping").await.assert_bare(200);
    running.send("POST /admin/host/ping").await.assert_bare(200);
    assert_eq!(
        running.echo("GET /admin/foo").await.text("target"),
        "/admin/foo",
        "unmatched ones fall through"
    );
}

#[tokio::test]
async fn a_health_ping_reaches_the_handler() {
    let running = Fixture::new(Mode::Proxy).start().await;
    let pings = || {
        running
            .host
            .log()
            .iter()
            .filter(|line| line.text == "answered GET /")
            .count()
    };
    running.send("GET /admin/host/ping").await;
    running.flush().await;
    assert_eq!(pings(), 1, "the readiness probe's");
    running
        .send(Request::from("GET /admin/host/ping").header("User-Agent", "ElasticScaleController"))
        .await;
    running.send("GET /admin/host/ping?checkHealth=1").await;
    running.flush().await;
    assert_eq!(pings(), 3);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let running = Fixture::new(Mode::Proxy).start().await;
    let line_of = |length: usize| format!("GET /{}", "a".repeat(length - "GET / HTTP/1.1\r\n".len()));
    assert_eq!(running.send(line_of(8192).as_str()).await.status, 200);
    running.send(line_of(8193).as_str()).await.assert_bare(414);
    let many = |count: usize| (1..count).fold(Request::from("GET /x"), |request, _| request.header("A", "b"));
    assert_eq!(running.send(many(100)).await.status, 200);
    running.send(many(101)).await.assert_bare(431);
    let host = "Host: scim.example.com\r\n".len();
    let bytes = |length: usize| Request::from("GET /x").header("A", &"b".repeat(length - host - "A: \r\n".len()));
    assert_eq!(running.send(bytes(32 * 1024)).await.status, 200);
    running.send(bytes(32 * 1024 + 1)).await.assert_bare(431);
}

#[tokio::test]
async fn a_null_byte_in_the_path_is_a_400() {
    let running = Fixture::new(Mode::Proxy).start().await;
    running.send("GET /a%00b").await.assert_bare(400);
}

#[tokio::test]
async fn one_host_header_is_needed() {
    let running = Fixture::new(Mode::Proxy).start().await;
    running
        .send(Request::from("GET /x").header("Host", "other.example.com"))
        .await
        .assert_bare(400);
    let mut client = running.connect().await;
    client.write(b"GET /x HTTP/1.1\r\n\r\n").await;
    client.read().await.assert_bare(400);
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_500() {
    for mode in BOTH {
        let running = Fixture::new(mode).start().await;
        let mut client = running.connect().await;
        // The length alone decides: nothing needs to be sent.
        client
            .write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 104857601\r\n\r\n")
            .await;
        client.read().await.assert_bare(500);
        running.flush().await;
        assert_eq!(running.count("POST /x"), 0);
    }
}

#[tokio::test]
async fn the_body_limit_can_be_set_and_holds_for_chunks() {
    let running = Fixture::new(Mode::Proxy)
        .set("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "5")
        .start()
        .await;
    assert_eq!(running.send(Request::from("POST /x").body("12345")).await.status, 200);
    running
        .send(Request::from("POST /x").body("123456"))
        .await
        .assert_bare(500);
    assert_eq!(
        running.send(Request::from("POST /x").chunked("12345")).await.status,
        200
    );
    running
        .send(Request::from("POST /x").chunked("123456"))
        .await
        .assert_bare(500);
}

#[tokio::test]
async fn a_body_with_a_length_is_read_before_the_handler_is_asked() {
    for mode in BOTH {
        let running = Fixture::new(mode).start().await;
        let mut client = running.connect().await;
        client
            .write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
            .await;
        // Another request overtakes it.
        running.echo("GET /overtakes").await;
        running.flush().await;
        assert_eq!(running.count("POST /x"), 0);
        client.write(b"2").await;
        assert_eq!(client.read().await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    for mode in BOTH {
        let running = Fixture::new(mode).start().await;
        let mut client = running.connect().await;
        client
            .write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            .await;
        assert!(client.read_head().await.starts_with("http/1.1 100"));
        client.write(b"ok").await;
        let answer = client.read().await;
        let echo: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(echo["body"], "ok");
    }
}

#[tokio::test]
async fn too_many_outstanding_requests_are_a_429() {
    let fixture = Fixture::new(Mode::Proxy).job_host("extensions__http__maxOutstandingRequests", "1");
    let running = fixture.start().await;
    let slow = Request::from("GET /slow").header("Echo-Delay", "20000");
    let mut client = running.connect().await;
    client.write(&slow.bytes()).await;
    running.until("GET /slow", 1).await;
    let answer = running.send("GET /x").await;
    answer.assert_bare(429);
    assert_eq!(answer.header("x-function-scaleout"), Some("1"));
    running.send("GET /admin/host/ping").await.assert_bare(200);
    drop(client);
    running.until("cancelled GET /slow", 1).await;
    running.echo("GET /x").await;
}

#[tokio::test]
async fn more_than_the_concurrent_requests_wait() {
    let fixture = Fixture::new(Mode::Proxy).job_host("extensions__http__maxConcurrentRequests", "1");
    let running = fixture.start().await;
    let slow = Request::from("GET /slow").header("Echo-Delay", "200");
    let (first, second) = tokio::join!(running.echo(slow), async {
        running.until("GET /slow", 1).await;
        running.echo("GET /next").await
    });
    assert_eq!((first.text("target"), second.text("target")), ("/slow", "/next"));
    running.flush().await;
    let log = running.host.log();
    let at = |text: &str| log.iter().position(|line| line.text == text).unwrap();
    assert!(at("answered GET /slow") < at("GET /next"));
}

#[tokio::test]
async fn a_trace_context_is_injected_unless_there_is_one() {
    for mode in BOTH {
        let running = Fixture::new(mode).start().await;
        let echo = running.echo("GET /x").await;
        let injected = echo.headers("traceparent")[0];
        let lengths: Vec<usize> = injected.split('-').map(str::len).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{injected}");
        assert!(
            injected
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        );
        let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request = Request::from("GET /x")
            .header("traceparent", own)
            .header("tracestate", "a=b");
        let echo = running.echo(request).await;
        assert_eq!(echo.headers("traceparent"), [own]);
        assert_eq!(echo.headers("tracestate"), ["a=b"]);
    }
}

#[tokio::test]
async fn connections_are_kept_and_reused_on_both_sides() {
    for mode in BOTH {
        let running = Fixture::new(mode).start().await;
        let mut client = running.connect().await;
        let mut connections = Vec::new();
        for _ in 0..3 {
            client.write(&Request::from("POST /x").body("hello").bytes()).await;
            let echo: Value = serde_json::from_slice(&client.read().await.body).unwrap();
            connections.push(echo["connection"].clone());
        }
        connections.dedup();
        assert_eq!(connections.len(), 1);
    }
}

#[tokio::test]
async fn an_unsolicited_408_on_a_spare_connection_hurts_nobody_later() {
    let mut fixture = Fixture::new(Mode::Proxy).set("ECHO_UNSOLICITED", "50");
    fixture.options.timing.spare_every = 1;
    let running = fixture.start().await;
    running.echo("GET /x").await;
    running.until("unsolicited", 1).await;
    for _ in 0..3 {
        running.echo("GET /x").await;
    }
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_not_used_again() {
    let mut fixture = Fixture::new(Mode::Proxy);
    fixture.options.timing.idle_timeout = Duration::from_nanos(4);
    let running = fixture.start().await;
    let first = running.echo("GET /x").await;
    let second = running.echo("GET /x").await;
    assert_ne!(first.number("connection"), second.number("connection"));
}

#[tokio::test]
async fn an_asterisk_is_the_root() {
    for mode in BOTH {
        assert_eq!(
            Fixture::new(mode).start().await.echo("OPTIONS *").await.text("target"),
            "/"
        );
    }
}

#[tokio::test]
async fn many_requests_at_once_each_get_their_own_answer() {
    for mode in BOTH {
        let mut fixture = Fixture::new(mode);
        fixture.options.timing.spare_every = 4;
        let running = std::sync::Arc::new(fixture.start().await);
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..100 {
            let running = std::sync::Arc::clone(&running);
            requests.spawn(async move {
                let body = format!("body {number}");
                for _ in 0..5 {
                    let echo = running.echo(Request::from("POST /x").body(&body)).await;
                    assert_eq!(echo.text("body"), body);
                }
            });
        }
        while let Some(outcome) = requests.join_next().await {
            outcome.unwrap();
        }
    }
}
