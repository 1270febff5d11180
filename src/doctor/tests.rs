use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Notify};

use super::{
    Check, Pace, Plan,
    endpoint::Endpoint,
    fault::{Fault, Flaw},
    reason_to_skip,
    report::{Finding, Outcome},
    request::Ask,
    visit::Visit,
    wire::Response,
};
use crate::ambient::System;

const TOKEN: &str = "sg_0123456789abcdef";

fn visit(url: &str, token: Option<&str>) -> Visit {
    let plan = Plan {
        endpoint: Endpoint::parse(url).unwrap(),
        token: token.map(str::to_owned),
        proxy: None,
        authorities: Vec::new(),
        may_write: true,
        pace: Pace {
            patience: Duration::from_millis(50),
            ..Pace::standard()
        },
    };
    Visit::new(plan, Arc::new(System)).unwrap()
}

#[track_caller]
fn check_skipped(token: Option<&str>, met: &[Fault], check: Check, reason: Option<&str>) {
    let visit = visit("http://127.0.0.1:8080/scim", token);
    assert_eq!(reason_to_skip(&visit, check, met), reason, "{check:?}");
}

#[test]
fn what_test_connection_met_is_what_stops_other_checks() {
    let token = Some(TOKEN);
    let front = Some("something in front of the application refuses Test Connection");
    check_skipped(token, &[], Check::Entra, None);
    check_skipped(
        token,
        &[Fault::NoConnection],
        Check::Idle,
        Some("there is no connection"),
    );
    check_skipped(
        token,
        &[Fault::CredentialRefused],
        Check::Burst,
        Some("the token is refused"),
    );
    check_skipped(token, &[Fault::CredentialRefused], Check::Wire, None);
    check_skipped(token, &[Fault::ProxyText, Fault::TestConnection], Check::Entra, front);
    check_skipped(token, &[Fault::ProxyText], Check::Entra, None);
    check_skipped(None, &[], Check::Burst, Some("no token was given"));
    check_skipped(None, &[], Check::Wire, None);
}

#[test]
fn a_later_failure_stops_nothing() {
    let visit = visit("http://127.0.0.1:8080/scim", Some(TOKEN));
    for fault in [
        Fault::NoConnection,
        Fault::Handshake,
        Fault::Certificate,
        Fault::NoAnswer,
    ] {
        visit.found("now and then", Flaw::new(fault, "", b""), None);
    }
    for row in super::CHECKS {
        assert_eq!(reason_to_skip(&visit, row.check, &[]), None, "{}", row.id);
    }
}

#[tokio::test]
async fn who_has_said_429_is_not_asked_25_times_a_second() {
    let visit = visit("http://127.0.0.1:8080/scim", Some(TOKEN));
    visit.found("GET /Users", Flaw::new(Fault::Throttled, "", b""), None);
    assert_eq!(
        Check::Burst.run(&visit, &Notify::new()).await,
        Outcome::Skipped("throttled already")
    );
}

#[track_caller]
fn check_shown(at: &str, bytes: &[u8], body: &[u8], expected: (&str, &[u8])) {
    let visit = visit("https://example.com/scim?code=a-key%2Fof-ours&flag=true", Some(TOKEN));
    let response = Response {
        body: body.to_vec(),
        ..Response::default()
    };
    let flaw = Flaw::new(Fault::WrongStatus, at, bytes);
    visit.found(at, flaw, Some(&response));
    let [Finding { at, seen, bytes, .. }] = &visit.take_findings().sorted()[..] else {
        panic!("it is one");
    };
    assert_eq!((at.as_str(), &bytes[..]), expected);
    assert_eq!(seen, at);
}

#[test]
fn a_report_has_no_secrets_and_no_persons() {
    let no_body = b"";
    check_shown("GET /Users", b"{}", no_body, ("GET /Users", b"{}"));
    check_shown(
        "GET /Users/sg_0123456789abcdef\x1b",
        b"?code=a-key%2Fof-ours&flag=true",
        no_body,
        ("GET /Users/(a secret)\\u{1b}", b"?code=(a secret)&flag=true"),
    );
    check_shown("a-key/of-ours", b"a-key/of", no_body, ("(a secret)", b"(a secret)"));
    let list = br#"{"schemas":["a"],"Resources":[{"userName":"bjensen"}]}"#;
    check_shown(
        "GET /Users",
        &list[..20],
        list,
        ("GET /Users", b"(a list of resources)"),
    );
}

#[tokio::test]
async fn a_request_that_nobody_takes_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let visit = visit(&format!("http://{address}"), Some(TOKEN));
    let mut connection = visit.connect().await.unwrap();
    let ask = Ask::new("POST", "/Users").raw("application/scim+json", &vec![b' '; 32 * 1024 * 1024]);
    let answer = visit.exchange(&mut connection, &ask).await;
    assert_eq!(answer.flaws[0].fault, Fault::NoAnswer);
    assert!(answer.flaws[0].seen.starts_with("the request is not taken"));
}
