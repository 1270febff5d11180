//! Every text of the table is recognised, and none by two rows.

use std::collections::HashSet;

use time::macros::datetime;

use super::{
    Explanation,
    cause::{OWN, Reached, causes, known},
    explain,
    log::record::Action,
    message::Message,
    query::{Filling, Query},
};

const BEFORE: &str = "upstream connect error or disconnect/reset before headers. ";
const GATEWAY: &str = "</center>\n<hr><center>Microsoft-Azure-Application-Gateway/v2</center>\n</body>\n</html>";
const REFERENCE: &str = "Reference 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

/// What Envoy says behind "reset reason:", and the cause.
const REASONS: &[(&str, &str)] = &[
    ("protocol error", "envoy-protocol-error"),
    ("connection termination", "envoy-connection-termination"),
    ("remote connection failure", "envoy-connection-failure"),
    ("connection failure", "envoy-connection-failure"),
    ("local connection failure", "envoy-connection-failure"),
    (
        "remote connection failure, transport failure reason: TLS_error:|268435703:SSL routines:WRONG_VERSION_NUMBER",
        "envoy-connection-failure",
    ),
    (
        "connection failure, transport failure reason: delayed connect error: 111",
        "envoy-connection-failure",
    ),
    ("connection timeout", "envoy-connection-timeout"),
    ("remote reset", "envoy-remote-reset"),
    ("remote refused stream reset", "envoy-remote-reset"),
    ("remote error with CONNECT request", "envoy-remote-reset"),
    ("overflow", "envoy-overflow"),
    ("local reset", "envoy-local-reset"),
    ("something new", "envoy-other"),
];

/// Other texts, as they come from whoever writes them: with the cause, and the status that each names.
const TEXTS: &[(&str, &str, Option<u16>)] = &[
    (BEFORE, "envoy-other", None),
    (
        "upstream_reset_before_response_started{protocol_error}",
        "envoy-protocol-error",
        None,
    ),
    ("upstream request timeout", "envoy-timeout", None),
    (
        "exceeded request buffer limit while retrying upstream",
        "envoy-buffer",
        None,
    ),
    ("no healthy upstream", "envoy-no-healthy-upstream", None),
    ("503 Function host is not running.", "functions-not-running", Some(503)),
    ("500", "functions-empty-500", Some(500)),
    ("HTTP/1.1 500 Internal Server Error", "functions-empty-500", Some(500)),
    ("401 Unauthorized", "functions-unauthorized", Some(401)),
    ("504 Gateway Timeout", "empty-answer", Some(504)),
    (
        "<h2>502 - Web server received an invalid response while acting as a gateway or proxy server.</h2>",
        "web-server-502",
        Some(502),
    ),
    (
        "<title>500 - The request timed out.</title> The web server failed to respond within the specified time.",
        "app-service-timeout",
        Some(500),
    ),
    (
        "<h2>Service Unavailable</h2><hr><p>HTTP Error 503. The service is unavailable.</p>",
        "app-service-unavailable",
        Some(503),
    ),
    (
        "<title>Web App - Unavailable</title> :( Application Error If you are the application administrator, you can \
             access the diagnostic resources.",
        "app-service-application-error",
        None,
    ),
    (
        "The specified CGI application encountered an error and the server terminated the process.",
        "app-service-process-ended",
        None,
    ),
    ("Error 403 - This web app is stopped.", "app-service-stopped", Some(403)),
    ("404 Web Site not found.", "app-service-no-site", Some(404)),
    (
        "Our services aren\u{2019}t available right now We're working to restore all services as soon as possible.",
        "front-door-unavailable",
        None,
    ),
    ("The request is blocked.", "front-door-firewall", None),
    ("<html><hr><center>nginx/1.25.3</center></html>", "nginx", None),
    ("An error occurred while sending the request.", "entra-no-answer", None),
    ("<html><title>Oops</title></html>", "unknown-page", None),
    ("The user is missing a licence", "unknown", None),
];

/// Titles of Application Gateway's pages.
const TITLES: &[(&str, &str, u16)] = &[
    ("502 Bad Gateway", "application-gateway-502", 502),
    ("504 Gateway Time-out", "application-gateway-504", 504),
    ("403 Forbidden", "application-gateway-firewall", 403),
    ("413 Request Entity Too Large", "application-gateway-other", 413),
];

/// All texts, with the cause and the status each has.
fn samples() -> Vec<(String, &'static str, Option<u16>)> {
    let mut samples = Vec::new();
    for (reason, cause) in REASONS {
        let status = if *cause == "envoy-protocol-error" {
            "502 bad gateway"
        } else {
            "503 service unavailable"
        };
        samples.push((format!("{BEFORE}reset reason: {reason}"), *cause, None));
        samples.push((
            format!("{status}: {BEFORE}retried and the latest reset reason: {reason}"),
            cause,
            status[..3].parse().ok(),
        ));
    }
    for (text, cause, status) in TEXTS {
        samples.push(((*text).to_owned(), cause, *status));
    }
    for (title, cause, status) in TITLES {
        let page = format!("<html>\n<head><title>{title}</title></head>\n<body>\n<center><h1>{title}</h1>{GATEWAY}");
        samples.push((page, cause, Some(*status)));
    }
    samples
}

fn scim(status: u16, detail: &str) -> String {
    format!(
        "{{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:Error\"],\"status\":\"{status}\",\"detail\":\"{detail}\"}}"
    )
}

/// As Entra's log shows an answer.
fn wrapped(status: &str, body: &str) -> String {
    format!(
        "StatusCode: {status} Message: Processing of the HTTP request resulted in an exception. Please see the HTTP response \
         returned by the 'Response' property of this exception for details. Web Response: {body}. This operation was retried 3 \
         times. It will be retried again after this date: 2026-11-22T11:22:07.6507375Z UTC"
    )
}

#[track_caller]
fn check<'t>(text: &'t str, cause: &str) -> Explanation<'t> {
    let explained = explain(Message::read(text));
    assert_eq!(explained.cause.name, cause, "{text}");
    explained
}

#[test]
fn every_text_is_recognised_bare_and_as_entra_shows_it() {
    for (text, cause, status) in samples() {
        let explained = check(&text, cause);
        assert!(
            status.is_none() || explained.message.status == status,
            "{text}: {:?}",
            explained.message.status
        );
        // What is only a status has no body to be wrapped.
        if !explained.message.body.is_empty() {
            let wrapped = wrapped("BadGateway", &text);
            let explained = check(&wrapped, cause);
            assert_eq!(explained.message.status, Some(502));
            assert_eq!(explained.message.retries, Some(3));
            let again = explained.message.again.unwrap();
            assert_eq!(again.replace_nanosecond(0).unwrap(), datetime!(2026-11-22 11:22:07 UTC));
        }
    }
}

#[test]
fn no_text_is_recognised_by_two_rows() {
    for (text, ..) in samples() {
        let names: Vec<_> = known(&Message::read(&text)).iter().map(|cause| cause.name).collect();
        assert!(names.len() <= 1, "{text}: {names:?}");
    }
}

#[test]
fn every_row_of_the_table_has_a_text_here_and_is_complete() {
    let mut met: HashSet<_> = samples().iter().map(|(_, cause, _)| *cause).collect();
    met.extend([OWN, "conflict-on-create", "missing-on-delete", "scim-without-reference"]);
    let mut names = HashSet::new();
    for cause in causes() {
        assert!(met.contains(cause.name), "{} has no text", cause.name);
        assert!(names.insert(cause.name), "{} stands twice", cause.name);
        let texts = [cause.means, cause.excludes, cause.lost, cause.entra, cause.next];
        for text in texts.iter().chain(&cause.customer) {
            assert!(
                text.trim_end_matches(')').ends_with(['.', '?']) && !text.contains("  "),
                "{}: {text}",
                cause.name
            );
        }
        assert!(
            cause.reached != Reached::Yes || !cause.name.starts_with("envoy"),
            "{}",
            cause.name
        );
    }
    assert_eq!(met.len(), names.len());
}

/// The question this command is there for.
#[test]
fn retries_of_the_proxy_are_told_from_none() {
    let retried = "502 bad gateway: upstream connect error or disconnect/reset before headers. retried and the latest reset \
                   reason: protocol error";
    let explained = check(retried, "envoy-protocol-error");
    assert!(explained.message.was_retried_by_proxy());
    assert_eq!(explained.message.status, Some(502));
    assert_eq!(explained.notes.len(), 1);
    let once = check(
        "502 upstream connect error or disconnect/reset before headers. reset reason: protocol error",
        "envoy-protocol-error",
    );
    assert!(!once.message.was_retried_by_proxy());
    assert_eq!(once.notes.len(), 1);
    assert_ne!(explained.notes, once.notes);
}

/// The text is about the last attempt; an earlier one may have got through.
#[test]
fn a_retried_request_may_have_got_through_before() {
    let text = |retried: &str| format!("{BEFORE}{retried}reset reason: remote connection failure");
    let (once, twice) = (text(""), text("retried and the latest "));
    let once = check(&once, "envoy-connection-failure");
    let twice = check(&twice, "envoy-connection-failure");
    assert_eq!((once.reached(), twice.reached()), (Reached::No, Reached::Perhaps));
    assert_ne!(once.lost(), twice.lost());
    assert_ne!(once.customer()[1], twice.customer()[1]);
}

#[test]
fn our_own_answer_is_led_back_to_its_rule() {
    let detail = format!("userName is required, and is missing or empty: send a value. {REFERENCE}");
    let body = scim(400, &detail);
    for text in [
        body.clone(),
        wrapped("BadRequest", &body),
        wrapped("BadRequest", &body.replace('"', "\\\"")),
    ] {
        let explained = check(&text, OWN);
        assert_eq!(explained.rule.map(|rule| rule.name), Some("required-missing"), "{text}");
        assert_eq!(explained.name(), "scimgate required-missing");
        let (trace, _) = explained.message.reference.unwrap();
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    }
    // Whoever copies the sentence alone is told what to do, too.
    for alone in [detail.clone(), format!("400 Bad Request: {detail}")] {
        let explained = check(&alone, OWN);
        assert_eq!(
            explained.rule.map(|rule| rule.name),
            Some("required-missing"),
            "{alone}"
        );
        assert_eq!(explained.customer()[2], explained.rule.unwrap().advice);
    }
    assert!(check(&format!("cut off ... {REFERENCE}"), OWN).rule.is_none());
    check(&scim(409, "User must be Active."), "scim-without-reference");
    // A reference is 32 and 16 digits, not anything that looks alike.
    check("Reference 4bf92f-00f0", "unknown");
}

#[test]
fn a_502_in_disguise_is_called_one() {
    let taken = scim(409, &format!("userName is already taken. {REFERENCE}"));
    let gone = scim(
        404,
        &format!("There is no User with this id: it was deleted, or never existed here. {REFERENCE}"),
    );
    let mistyped = "The Tenant URL ends in /Users, and the client adds that itself: paste the Tenant URL without it.";
    let mistyped = scim(404, &format!("{mistyped} {REFERENCE}"));
    for (text, action, cause) in [
        (&taken, Some(Action::Create), "conflict-on-create"),
        (&taken, Some(Action::Update), OWN),
        (&gone, Some(Action::Delete), "missing-on-delete"),
        // The account is still there: the address is none.
        (&mistyped, Some(Action::Delete), OWN),
        (&gone, Some(Action::Update), OWN),
    ] {
        let message = Message::read(text).during(action);
        let names: Vec<_> = known(&message).iter().map(|cause| cause.name).collect();
        assert_eq!(names, [cause], "{text}");
        assert!(explain(message).notes.is_empty());
    }
    // Who was at work is not known: then it is said beside the answer.
    for text in [&taken, &gone] {
        assert_eq!(check(text, OWN).notes.len(), 1);
    }
}

#[test]
fn an_answer_that_quotes_a_proxy_is_still_the_endpoint_s() {
    check(&scim(400, "reset reason: protocol error"), "scim-without-reference");
    check(&wrapped("InternalServerError", ""), "functions-empty-500");
    check(&wrapped("BadGateway", ""), "empty-answer");
    let unanswered = check(
        "StatusCode: 0 Message: Unable to connect to the remote server.",
        "entra-no-answer",
    );
    assert_eq!(unanswered.message.status, None);
}

/// Whatever is pasted.
#[test]
fn no_text_breaks_it() {
    let whole = wrapped("Conflict", &scim(409, &format!("Stra\u{df}e \u{1f600} {REFERENCE}")));
    for end in 0..=whole.len() {
        if let Some(text) = whole.get(..end) {
            explain(Message::read(text));
        }
        if let Some(text) = whole.get(end..) {
            explain(Message::read(text));
        }
    }
    for text in [
        "",
        "{",
        "[",
        "\"",
        "StatusCode:",
        "StatusCode: Message:",
        "50\u{df}",
        "502\u{df}",
        "\u{0}",
    ] {
        explain(Message::read(text));
    }
}

#[test]
fn a_query_takes_what_is_known_and_leaves_the_rest_open() {
    let open = Query::Around.text(&Filling::default());
    assert!(
        open.contains("datetime({from}) .. datetime({to})") && open.contains("\"{tenant}\""),
        "{open}"
    );
    let at = super::log::moment::moment("2026-11-22T10:42:07Z").unwrap();
    let filled = Query::Around.text(&Filling {
        span: Some((at, at)),
        tenant: Some("a\"b\\c\n".to_owned()),
        ..Filling::default()
    });
    assert!(
        filled.contains("datetime(2026-11-22T10:40:07Z) .. datetime(2026-11-22T10:44:07Z)"),
        "{filled}"
    );
    assert!(filled.contains(r#"== "a\"b\\c""#), "{filled}");
}

/// What is printed can be found in the workbook and in `infra/kql`.
#[test]
fn a_query_has_the_number_and_the_title_of_its_file() {
    for (query, head) in [
        (Query::HostOnly, "// 03 which requests did the Functions host have"),
        (Query::Rows, "// 04 which rows of the customer's provisioning log"),
        (Query::Gaps, "// 05 was an instance dead"),
        (Query::Restarts, "// 12 did processes start or stop"),
        (Query::Reference, "// 15 what happened to this one request?\n"),
        (Query::Around, "// did a request reach the application"),
    ] {
        let text = query.text(&Filling::default());
        assert!(text.starts_with(head), "{text}");
        assert!(!text.contains("{TimeRange") && !text.contains("{Tenant}"), "{text}");
    }
}
