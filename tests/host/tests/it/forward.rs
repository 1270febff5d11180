//! FORWARD mode.

use functions_test_host::Mode;

use crate::support::{Fixture, Request, Running};

async fn start() -> Running {
    Fixture::new(Mode::Forward).start().await
}

#[tokio::test]
async fn path_and_query_arrive_rebuilt() {
    let running = start().await;
    for (sent, expected) in [
        ("/Users/a%20b", "/Users/a%20b"),
        (
            "/Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
            "/Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
        ),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2520b", "/a%20b"),
        ("/a%3Fb/c", "/a"),
        ("/a%23b", "/a"),
        ("/a%5Cb", "/a/b"),
        ("/a?x=1&x=2", "/a?x=1%2C2"),
        ("/a?X=1&y&x=2", "/a?X=1%2C2&y="),
        ("/a?filter=userName+eq+%22x%22", "/a?filter=userName%20eq%20%22x%22"),
        ("/a?", "/a"),
    ] {
        let echo = running.echo(format!("GET {sent}").as_str()).await;
        assert_eq!(echo.text("target"), expected, "{sent}");
    }
}

#[tokio::test]
async fn host_and_forwarded_headers_arrive_as_received() {
    let request = Request::from("GET /x")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X-Forwarded-Host", "a.example.com")
        .header("X-Forwarded-Proto", "https");
    let echo = start().await.echo(request).await;
    assert_eq!(echo.headers("host"), ["scim.example.com"]);
    assert_eq!(echo.headers("x-forwarded-for"), ["203.0.113.7"]);
    assert_eq!(echo.headers("x-forwarded-host"), ["a.example.com"]);
    assert_eq!(echo.headers("x-forwarded-proto"), ["https"]);
    assert!(echo.headers("x-ms-invocation-id").is_empty());
}

#[tokio::test]
async fn content_headers_are_dropped() {
    let dropped = [
        "Content-Encoding",
        "Content-Language",
        "Content-Disposition",
        "Content-Location",
        "Content-Range",
        "Content-MD5",
        "Allow",
        "Expires",
        "Last-Modified",
    ];
    let mut request = Request::from("POST /x").header("Content-Type", "application/scim+json");
    for name in dropped {
        request = request.header(name, "1");
    }
    let echo = start().await.echo(request.body("hello")).await;
    for name in dropped {
        assert!(echo.headers(name).is_empty(), "{name}");
    }
    assert_eq!(echo.headers("content-type"), ["application/scim+json"]);
    assert_eq!(echo.headers("content-length"), ["5"]);
    assert_eq!(echo.text("body"), "hello");
}

#[tokio::test]
async fn without_a_body_the_content_type_is_dropped_too() {
    let running = start().await;
    let echo = running
        .echo(Request::from("GET /x").header("Content-Type", "a/b"))
        .await;
    assert!(echo.headers("content-type").is_empty());
    assert!(echo.headers("content-length").is_empty());
    let echo = running
        .echo(Request::from("POST /x").header("Content-Type", "a/b").body(""))
        .await;
    assert!(echo.headers("content-type").is_empty());
    assert_eq!(echo.headers("content-length"), ["0"]);
}

#[tokio::test]
async fn other_headers_are_copied_also_hop_by_hop_ones() {
    let copied = [
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Upgrade", "x"),
        ("Proxy-Authorization", "x"),
        ("If-Match", "W/\"1\""),
        ("If-None-Match", "*"),
        ("Authorization", "Bearer x"),
        ("Accept", "application/scim+json"),
        ("Cookie", "a=b"),
    ];
    let mut request = Request::from("GET /x").header("X-CaSe", "1").header("X-CaSe", "2");
    for (name, value) in copied {
        request = request.header(name, value);
    }
    let echo = start().await.echo(request).await;
    for (name, value) in copied {
        assert_eq!(echo.headers(name), [value], "{name}");
    }
    assert_eq!(echo.headers("x-case"), ["1, 2"]);
    assert!(echo.names().contains(&"X-CaSe"));
}

#[tokio::test]
async fn the_clients_connection_close_closes_the_handlers_connection() {
    let running = start().await;
    let first = running
        .echo(Request::from("GET /x").header("Connection", "close"))
        .await;
    assert_eq!(first.headers("connection"), ["close"]);
    let second = running.echo("GET /x").await;
    assert_ne!(first.number("connection"), second.number("connection"));
    let third = running.echo("GET /x").await;
    assert_eq!(second.number("connection"), third.number("connection"));
}

#[tokio::test]
async fn invocation_headers_and_user_agent_are_appended() {
    let request = Request::from("GET /x")
        .header("X-Azure-Functions-InvocationId", "forged")
        .header("X-Azure-Functions-HostVersion", "forged")
        .header("User-Agent", "probe/1");
    let running = start().await;
    let echo = running.echo(request).await;
    let id = echo.headers("x-azure-functions-invocationid");
    assert!(
        id[0].starts_with("forged, ") && id[0].len() == "forged, ".len() + 36,
        "{id:?}"
    );
    assert!(echo.headers("x-azure-functions-hostversion")[0].starts_with("forged, 4."));
    assert!(echo.headers("user-agent")[0].starts_with("probe/1 Azure-Functions-Host/4."));
    let echo = running.echo("GET /x").await;
    assert_eq!(echo.headers("x-azure-functions-invocationid")[0].len(), 36);
    assert!(echo.headers("user-agent")[0].starts_with("Azure-Functions-Host/4."));
}

#[tokio::test]
async fn a_chunked_body_is_a_500_and_never_arrives() {
    let running = start().await;
    running
        .send(Request::from("POST /x").chunked("hello"))
        .await
        .assert_bare(500);
    running.flush().await;
    assert_eq!(running.count("POST /x"), 0);
}

#[tokio::test]
async fn the_response_is_parsed_and_written_again() {
    let response = "HTTP/1.1 201 Made\r\nContent-Type: application/scim+json;charset=utf-8\r\nVary: A, B\r\n\
                    Set-Cookie: a\r\nSet-Cookie: b\r\nLocation: HTTP://Example.com:80\r\nETag: W/\"1\"\r\n\
                    WWW-Authenticate: Bearer realm=\"x\", error=\"y\"\r\nRetry-After: 5\r\nContent-Encoding: x\r\n\
                    Content-Length: 2\r\n\r\nok";
    let answer = start().await.send(Request::from("GET /x").answered(response)).await;
    assert_eq!((answer.status, answer.reason.as_str()), (201, "Made"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/scim+json; charset=utf-8")
    );
    assert_eq!(answer.all("vary"), ["A", "B"]);
    assert_eq!(answer.all("set-cookie"), ["a", "b"]);
    assert_eq!(answer.header("location"), Some("http://example.com/"));
    assert_eq!(answer.header("etag"), Some("W/\"1\""));
    assert_eq!(answer.all("www-authenticate"), ["Bearer realm=\"x\", error=\"y\""]);
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(answer.header("content-encoding"), Some("x"));
    assert_eq!(answer.body, b"ok");
}

#[tokio::test]
async fn a_response_always_has_a_length() {
    let running = start().await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: x\r\n\r\n";
    let answer = running.send(Request::from("GET /x").answered(chunked)).await;
    assert_eq!(
        (answer.header("content-length"), answer.header("transfer-encoding")),
        (Some("3"), None)
    );
    assert_eq!(answer.body, b"abc");
    let closed = Request::from("GET /x")
        .answered("HTTP/1.1 200 OK\r\n\r\nabc")
        .header("Echo-Then", "close");
    let answer = running.send(closed).await;
    assert_eq!(
        (answer.header("content-length"), answer.body.as_slice()),
        (Some("3"), b"abc".as_slice())
    );
}

#[tokio::test]
async fn connection_close_of_the_handler_reaches_the_client() {
    let running = start().await;
    let mut client = running.connect().await;
    let response = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    client.write(&Request::from("GET /x").answered(response).bytes()).await;
    let answer = client.read().await;
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_204_is_empty_without_a_length() {
    let running = start().await;
    for length in ["", "Content-Length: 0\r\n"] {
        let response = format!("HTTP/1.1 204 No Content\r\n{length}\r\n");
        let answer = running.send(Request::from("GET /x").answered(response)).await;
        assert_eq!((answer.status, answer.header("content-length")), (204, None));
    }
}

#[tokio::test]
async fn a_304_gets_a_length_of_0() {
    let answer = start()
        .await
        .send(Request::from("GET /x").answered("HTTP/1.1 304 Not Modified\r\n\r\n"))
        .await;
    assert_eq!((answer.status, answer.header("content-length")), (304, Some("0")));
}

#[tokio::test]
async fn head_keeps_the_handlers_length() {
    let running = start().await;
    for (length, expected) in [("Content-Length: 17\r\n", "17"), ("", "0")] {
        let mut client = running.connect().await;
        let response = format!("HTTP/1.1 200 OK\r\n{length}\r\n");
        client.write(&Request::from("HEAD /x").answered(response).bytes()).await;
        let head = client.read_head().await;
        assert!(head.contains(&format!("content-length: {expected}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn whatever_breaks_is_an_empty_500() {
    let running = start().await;
    for response in [
        b"HTTP/1.1 200 OK\r\nX-Name: J\xc3\xb6rg\r\nContent-Length: 0\r\n\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"nonsense\r\n\r\n",
    ] {
        let request = Request::from("GET /x").answered(response).header("Echo-Then", "close");
        running.send(request).await.assert_bare(500);
    }
    let reset = Request::from("GET /x")
        .header("Echo-Raw", "none")
        .header("Echo-Then", "reset");
    running.send(reset).await.assert_bare(500);
}

#[tokio::test]
async fn a_stale_connection_is_survived_without_a_body_only() {
    let running = start().await;
    for (request, expected) in [
        (Request::from("GET /x"), 200),
        (Request::from("DELETE /x"), 200),
        (Request::from("POST /x").body("hello"), 500),
    ] {
        // The last one used serves again: this makes it a reused connection.
        running.echo("GET /warm").await;
        let request = request
            .header("Echo-If", "reused")
            .header("Echo-Raw", "none")
            .header("Echo-Then", "close");
        assert_eq!(running.send(request).await.status, expected);
    }
}

#[tokio::test]
async fn a_new_connection_that_breaks_is_not_replaced() {
    let running = start().await;
    // The prober's connection closes with this answer, so that the next request needs a new one.
    running
        .echo(Request::from("GET /warm").header("Connection", "close"))
        .await;
    let request = Request::from("GET /x")
        .header("Echo-Raw", "none")
        .header("Echo-Then", "close");
    running.send(request).await.assert_bare(500);
    running.flush().await;
    assert_eq!(running.count("answered GET /x"), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_matter() {
    let running = start().await;
    let mut client = running.connect().await;
    client
        .write(
            &Request::from("POST /x")
                .header("Echo-Delay", "300")
                .body("hello")
                .bytes(),
        )
        .await;
    running.until("POST /x", 1).await;
    drop(client);
    running.until("answered POST /x", 1).await;
    running.flush().await;
    assert_eq!(running.count("cancelled"), 0);
}
