//! What FORWARD and PROXY mode have in common.

use functions_test_host::Mode;

use crate::support::{Fixture, Request, Running};

async fn start_both() -> [Running; 2] {
    [
        Fixture::new(Mode::Forward).start().await,
        Fixture::new(Mode::Proxy).start().await,
    ]
}

#[tokio::test]
async fn any_method_arrives() {
    for running in start_both().await {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
            let echo = running.echo(format!("{method} /x").as_str()).await;
            assert_eq!(echo.text("method"), method);
        }
    }
}

#[tokio::test]
async fn a_204_with_a_length_is_a_500() {
    let response = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello";
    for running in start_both().await {
        let request = Request::from("GET /x").answered(response);
        running.send(request).await.assert_bare(500);
    }
}

#[tokio::test]
async fn a_request_header_that_is_not_ascii_is_a_500() {
    for running in start_both().await {
        let request = Request::from("GET /x").raw_header(b"X-Name: J\xc3\xb6rg");
        running.send(request).await.assert_bare(500);
        running.flush().await;
        assert_eq!(running.count("GET /x"), 0);
    }
}

#[tokio::test]
async fn interim_responses_are_ignored() {
    let response = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for running in start_both().await {
        let answer = running.send(Request::from("GET /x").answered(response)).await;
        assert_eq!((answer.status, answer.header("link")), (200, None));
    }
}

#[tokio::test]
async fn redirects_are_passed_on() {
    let response = "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n";
    for running in start_both().await {
        let answer = running.send(Request::from("GET /x").answered(response)).await;
        assert_eq!((answer.status, answer.header("location")), (302, Some("/y")));
        running.flush().await;
        assert_eq!(running.count("GET /y"), 0);
    }
}
