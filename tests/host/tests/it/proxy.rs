//! PROXY mode.

use functions_test_host::Mode;

use crate::support::{Fixture, Request, Running};

async fn start() -> Running {
    Fixture::new(Mode::Proxy).start().await
}

#[tokio::test]
async fn path_and_query_arrive_as_yarp_writes_them() {
    let running = start().await;
    for (sent, expected) in [
        ("/Users/a%20b", "/Users/a%20b"),
        ("/a%2Fb", "/a%252Fb"),
        ("/a%3Fb%23c%2520d", "/a%3Fb%23c%2520d"),
        ("/a[0]|", "/a%5B0%5D%7C"),
        ("/a/../b/./c", "/b/c"),
        ("/", "/"),
        (
            "/Users?filter=userName+eq%20%22x%22&A=1&a=2&a=3&flag",
            "/Users?filter=userName+eq%20%22x%22&A=1&a=2&a=3&flag",
        ),
        ("/Users?", "/Users?"),
    ] {
        let echo = running.echo(format!("GET {sent}").as_str()).await;
        assert_eq!(echo.text("target"), expected, "{sent}");
    }
}

#[tokio::test]
async fn host_and_forwarded_headers_are_replaced() {
    let running = start().await;
    let request = Request::from("GET /x")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X-Forwarded-Host", "evil.example.com")
        .header("X-Forwarded-Proto", "https")
        .header("Forwarded", "for=203.0.113.7")
        .header("CLIENT-IP", "203.0.113.7:1234");
    let echo = running.echo(request).await;
    assert!(echo.headers("host")[0].starts_with("127.0.0.1:"));
    assert_eq!(echo.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echo.headers("x-forwarded-host"), ["scim.example.com"]);
    assert_eq!(echo.headers("x-forwarded-proto"), ["http"]);
    assert!(echo.headers("forwarded").is_empty());
    assert_eq!(echo.headers("client-ip"), ["203.0.113.7:1234"]);
}

#[tokio::test]
async fn on_app_service_host_and_scheme_are_the_front_ends() {
    let mut fixture = Fixture::new(Mode::Proxy);
    fixture.options.app_service = true;
    let running = fixture.start().await;
    let request = Request::from("GET /x")
        .header("DISGUISED-HOST", "app.example.com")
        .header("X-Forwarded-Proto", "https");
    let echo = running.echo(request).await;
    assert_eq!(echo.headers("x-forwarded-host"), ["app.example.com"]);
    assert_eq!(echo.headers("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn hop_by_hop_headers_of_the_request_are_dropped() {
    let running = start().await;
    let dropped = [
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Proxy-Authenticate",
        "Proxy-Features",
        "Upgrade",
        "Upgrade-Insecure-Requests",
        "HTTP2-Settings",
        "TE",
        "Alt-Svc",
        "ALPN",
        "Close",
        "Security-Scheme",
    ];
    let mut request = Request::from("GET /x")
        .header("Connection", "X-Named")
        .header("X-Named", "stays");
    for name in dropped {
        request = request.header(name, "1");
    }
    let echo = running.echo(request).await;
    for name in dropped {
        assert!(echo.headers(name).is_empty(), "{name}");
    }
    assert!(echo.headers("connection").is_empty());
    assert_eq!(
        echo.headers("x-named"),
        ["stays"],
        "headers named in Connection are not removed additionally"
    );
}

#[tokio::test]
async fn other_headers_arrive_with_spelling_and_repetition() {
    let running = start().await;
    let request = Request::from("POST /x")
        .header("Content-Encoding", "gzip")
        .header("Content-Language", "de")
        .header("If-Match", "W/\"1\"")
        .header("X-CaSe", "1")
        .header("X-CaSe", "2")
        .header("User-Agent", "probe/1")
        .header("Authorization", "Bearer x")
        .body("body");
    let echo = running.echo(request).await;
    assert_eq!(echo.headers("content-encoding"), ["gzip"]);
    assert_eq!(echo.headers("content-language"), ["de"]);
    assert_eq!(echo.headers("if-match"), ["W/\"1\""]);
    assert_eq!(echo.headers("x-case"), ["1", "2"]);
    assert!(echo.names().contains(&"X-CaSe"));
    assert_eq!(echo.headers("user-agent"), ["probe/1"], "the user agent is not touched");
    assert_eq!(echo.headers("authorization"), ["Bearer x"]);
}

#[tokio::test]
async fn invocation_headers_override_the_clients() {
    let running = start().await;
    let request = Request::from("GET /x")
        .header("X-Azure-Functions-InvocationId", "forged")
        .header("X-Azure-Functions-HostVersion", "forged")
        .header("x-ms-invocation-id", "forged");
    let echo = running.echo(request).await;
    let id = echo.headers("x-azure-functions-invocationid");
    assert_eq!(id.len(), 1);
    assert_eq!(id[0].len(), 36);
    assert_eq!(echo.headers("x-ms-invocation-id"), id);
    assert!(echo.headers("x-azure-functions-hostversion")[0].starts_with("4."));
}

#[tokio::test]
async fn a_body_with_a_length_keeps_it() {
    let echo = start()
        .await
        .echo(Request::from("POST /x").header("Content-Type", "a/b").body("hello"))
        .await;
    assert_eq!(echo.headers("content-length"), ["5"]);
    assert_eq!(echo.headers("content-type"), ["a/b"]);
    assert!(echo.headers("transfer-encoding").is_empty());
    assert_eq!(echo.text("body"), "hello");
}

#[tokio::test]
async fn a_chunked_body_stays_chunked() {
    for method in ["POST", "GET", "DELETE"] {
        let request = Request::from(format!("{method} /x").as_str()).chunked("hello");
        let echo = start().await.echo(request).await;
        assert_eq!(echo.headers("transfer-encoding"), ["chunked"], "{method}");
        assert!(echo.headers("content-length").is_empty(), "{method}");
        assert_eq!(echo.text("body"), "hello", "{method}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_has_no_framing() {
    let running = start().await;
    for method in ["GET", "DELETE"] {
        let echo = running.echo(format!("{method} /x").as_str()).await;
        assert!(echo.headers("transfer-encoding").is_empty(), "{method}");
        assert!(echo.headers("content-length").is_empty(), "{method}");
    }
}

#[tokio::test]
async fn the_response_is_passed_on_unparsed() {
    let running = start().await;
    let response = "HTTP/1.1 201 Made\r\nContent-Type: application/scim+json;charset=utf-8\r\nVary: A, B\r\n\
                    Set-Cookie: a\r\nSet-Cookie: b\r\nLocation: HTTP://Example.com:80\r\nETag: W/\"1\"\r\n\
                    Content-Length: 2\r\n\r\nok";
    let answer = running.send(Request::from("GET /x").answered(response)).await;
    assert_eq!((answer.status, answer.reason.as_str()), (201, "Made"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/scim+json;charset=utf-8")
    );
    assert_eq!(answer.all("vary"), ["A, B"]);
    assert_eq!(answer.all("set-cookie"), ["a", "b"]);
    assert_eq!(answer.header("location"), Some("HTTP://Example.com:80"));
    assert_eq!(answer.header("etag"), Some("W/\"1\""));
    assert_eq!(answer.body, b"ok");
}

#[tokio::test]
async fn hop_by_hop_headers_of_the_response_are_dropped() {
    let running = start().await;
    let response = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nAlt-Svc: x\r\n\
                    Connection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = running.send(Request::from("GET /x").answered(response)).await;
    for name in ["keep-alive", "proxy-authenticate", "alt-svc", "connection"] {
        assert_eq!(answer.header(name), None);
    }
}

#[tokio::test]
async fn a_chunked_response_is_streamed() {
    let running = start().await;
    let mut client = running.connect().await;
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    client.write(&Request::from("GET /x").answered(response).bytes()).await;
    // The handler never ends this response: what arrives, arrives before its end.
    let head = client.read_head().await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    client.read_until(b"3\r\nabc\r\n").await;
}

#[tokio::test]
async fn a_length_of_0_is_dropped_from_204() {
    let running = start().await;
    for length in ["", "Content-Length: 0\r\n"] {
        let response = format!("HTTP/1.1 204 No Content\r\n{length}\r\n");
        let answer = running.send(Request::from("GET /x").answered(response)).await;
        assert_eq!((answer.status, answer.header("content-length")), (204, None));
        assert_eq!(answer.header("transfer-encoding"), None);
    }
}

#[tokio::test]
async fn head_and_304_keep_the_handlers_length() {
    let running = start().await;
    for (method, status, length) in [("HEAD", "200 OK", 17), ("GET", "304 Not Modified", 0)] {
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
        let mut client = running.connect().await;
        client
            .write(
                &Request::from(format!("{method} /x").as_str())
                    .answered(response)
                    .bytes(),
            )
            .await;
        let head = client.read_head().await;
        assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn a_response_ended_by_its_connection_becomes_chunked() {
    let running = start().await;
    let request = Request::from("GET /x")
        .answered("HTTP/1.1 200 OK\r\n\r\nabc")
        .header("Echo-Then", "close");
    let answer = running.send(request).await;
    assert_eq!(
        (answer.header("transfer-encoding"), answer.is_complete),
        (Some("chunked"), true)
    );
    assert!(answer.body.starts_with(b"3\r\nabc\r\n"));
}
