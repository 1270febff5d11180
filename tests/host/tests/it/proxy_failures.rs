//! PROXY mode when something goes wrong: retries, aborts, cancellation.

use std::time::Duration;

use functions_test_host::Mode;

use crate::support::{Fixture, Request, Running};

async fn start() -> Running {
    Fixture::new(Mode::Proxy).start().await
}

#[tokio::test]
async fn a_response_header_that_is_not_ascii_is_a_500() {
    let response = b"HTTP/1.1 200 OK\r\nX-Name: J\xc3\xb6rg\r\nContent-Length: 0\r\n\r\n";
    start()
        .await
        .send(Request::from("GET /x").answered(response))
        .await
        .assert_bare(500);
}

#[tokio::test]
async fn a_broken_exchange_without_a_body_is_sent_again() {
    let running = start().await;
    for (number, line) in ["GET /get", "DELETE /delete", "POST /post"].into_iter().enumerate() {
        let request = Request::from(line)
            .header("Echo-If", "first")
            .header("Echo-Raw", "none");
        let then = if number == 0 { "reset" } else { "close" };
        running.echo(request.header("Echo-Then", then)).await;
        // Once for each delivery; "answered" for each answer, the empty one included.
        running.until(&format!("answered {line}"), 2).await;
        running.flush().await;
        assert_eq!(
            running.count(line) - running.count(&format!("answered {line}")),
            2,
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_broken_exchange_is_tried_ten_times() {
    let running = start().await;
    let request = Request::from("GET /x")
        .header("Echo-Raw", "none")
        .header("Echo-Then", "close");
    running.send(request).await.assert_bare(500);
    running.until("answered GET /x", 10).await;
    running.flush().await;
    assert_eq!(running.count("answered GET /x"), 10);
}

#[tokio::test]
async fn a_body_is_sent_once() {
    let running = start().await;
    for request in [
        Request::from("POST /x").body("hello"),
        Request::from("POST /x").chunked("hello"),
    ] {
        let request = request.header("Echo-Raw", "none").header("Echo-Then", "close");
        running.send(request).await.assert_bare(500);
    }
    running.until("answered POST /x", 2).await;
    running.flush().await;
    assert_eq!(running.count("answered POST /x"), 2);
}

#[tokio::test]
async fn a_body_not_begun_is_sent_when_the_handler_is_back() {
    let running = start().await;
    running.echo("GET /x").await;
    // The connection is refused until the new process listens; the body is not begun meanwhile.
    running.host.kill_handler().await;
    let echo = running.echo(Request::from("POST /x").body("hello")).await;
    assert_eq!(echo.text("body"), "hello");
}

#[tokio::test]
async fn a_malformed_response_is_a_500() {
    let running = start().await;
    for response in ["nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        let request = Request::from("GET /x").answered(response).header("Echo-Then", "close");
        running.send(request).await.assert_bare(500);
    }
}

#[tokio::test]
async fn a_response_broken_before_its_first_byte_is_a_500() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let request = Request::from("GET /x").answered(response).header("Echo-Then", "close");
    let running = start().await;
    running.send(request).await.assert_bare(500);
    running.flush().await;
    assert_eq!(running.count("answered GET /x"), 1, "after the head there is no retry");
}

#[tokio::test]
async fn a_started_response_is_aborted() {
    let running = start().await;
    for framing in [
        "Content-Length: 5\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{framing}");
        let mut client = running.connect().await;
        let request = Request::from("GET /x").answered(response).header("Echo-Then", "reset");
        client.write(&request.bytes()).await;
        assert!(client.end().await.is_err(), "a reset, not an end");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_handler() {
    let running = start().await;
    for (line, request) in [
        ("GET /x", Request::from("GET /x")),
        ("POST /x", Request::from("POST /x").body("hello")),
    ] {
        let mut client = running.connect().await;
        client.write(&request.header("Echo-Delay", "20000").bytes()).await;
        running.until(line, 1).await;
        drop(client);
        running.until(&format!("cancelled {line}"), 1).await;
    }
}

#[tokio::test]
async fn nothing_moving_for_too_long_is_a_500_without_retry() {
    let mut fixture = Fixture::new(Mode::Proxy);
    fixture.options.timing.activity_timeout = Duration::from_millis(100);
    let running = fixture.start().await;
    running
        .send(Request::from("GET /x").header("Echo-Delay", "20000"))
        .await
        .assert_bare(500);
    running.until("cancelled GET /x", 1).await;
}

#[tokio::test]
async fn a_response_that_stalls_is_aborted() {
    let mut fixture = Fixture::new(Mode::Proxy);
    fixture.options.timing.activity_timeout = Duration::from_millis(100);
    let running = fixture.start().await;
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc";
    let answer = running.send(Request::from("GET /x").answered(response)).await;
    assert_eq!((answer.status, answer.is_complete), (200, false));
}
