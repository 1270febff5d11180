//! What a refusal says (RFC 7644 §3.12).

use serde_json::json;

use crate::{
    answer::Answer,
    case::cases,
    tenant::{SCIM_JSON, Tenant, patch_op, user},
    world::{SUPPORT, Setup, Way},
};

cases![
    every_refusal_is_a_scim_error_with_a_reference,
    a_body_that_does_not_come_is_408.only(
        Way::Direct,
        "the host reads a whole body before it passes the request on"
    ),
    the_reference_continues_the_callers_trace,
    a_traceparent_that_is_none_is_not_repeated,
    every_refusal_has_a_reference_of_its_own,
    a_client_gets_its_own_id_back,
    support_is_named_where_the_client_can_do_nothing.with(Setup::Support),
    a_detail_and_a_header_name_places_and_no_values,
];

type Headers<'a> = &'a [(&'a str, &'a str)];

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Trace and span at the end of a detail.
#[track_caller]
pub(super) fn reference(answer: &Answer) -> (String, String) {
    let end = answer.detail().rsplit_once(" Reference ").map(|(_, end)| end);
    let (trace, span) = end
        .and_then(|end| end.split_once('-'))
        .unwrap_or_else(|| panic!("no reference: {answer}"));
    for (part, length) in [(trace, 32), (span, 16)] {
        let digits = part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(part.len() == length && digits, "{answer}");
    }
    (trace.to_owned(), span.to_owned())
}

/// R-GEN-11, E-LIFE-07: every status that a client can bring about on its own. 408 is below, 503 is `no_store`'s,
/// and 500 would be a bug.
async fn every_refusal_is_a_scim_error_with_a_reference(t: &Tenant) {
    let bjensen = t.user("bjensen").await.place();
    let again = user("bjensen").to_string();
    let large = " ".repeat(1024 * 1024 + 1);
    let patch = patch_op(json!([{ "op": "replace", "path": "title", "value": "Tour Guide" }])).to_string();
    let json = ("Content-Type", SCIM_JSON);
    let requests: [(u16, &str, &str, Headers<'_>, &str); 10] = [
        (400, "POST", "/Users", &[json], "{"),
        (401, "GET", "/Users", &[("Authorization", "Bearer wrong")], ""),
        (403, "GET", "/Schemas?filter=id%20pr", &[], ""),
        (404, "GET", "/Users/2819c223", &[], ""),
        (405, "DELETE", "/Users", &[], ""),
        (409, "POST", "/Users", &[json], &again),
        (412, "PATCH", &bjensen, &[json, ("If-Match", "W/\"earlier\"")], &patch),
        (413, "POST", "/Users", &[json], &large),
        (415, "POST", "/Users", &[("Content-Type", "text/plain")], &again),
        (400, "GET", "/Users?filter=userName%20eq", &[], ""),
    ];
    for (status, method, path, headers, body) in requests {
        reference(&t.raw(method, path, headers, body).await.is(status));
    }
    assert_eq!(t.users().await, 1);
}

/// RFC 9110 §15.5.9; design §7: said, before anybody in front loses patience.
async fn a_body_that_does_not_come_is_408(t: &Tenant) {
    let head = t.head("POST", "/Users");
    let request = format!("{head}Content-Type: {SCIM_JSON}\r\nContent-Length: 100\r\n\r\n{{");
    let answer = t.wire(request).await.linted(&t.world.origin);
    reference(&answer.refused(408, "", &["10 seconds"]));
    assert_eq!(t.users().await, 0);
}

/// E-AUTH-06; W3C Trace Context §3.2.2; §3.2.2.1 also for versions to come. The span is this service's own.
async fn the_reference_continues_the_callers_trace(t: &Tenant) {
    for traceparent in [
        format!("00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-00"),
        format!("cc-{TRACE}-{SPAN}-01-what-comes-later"),
    ] {
        let answer = t.raw("GET", "/Users/none", &[("traceparent", &traceparent)], "").await;
        let (trace, span) = reference(&answer.is(404));
        assert_eq!(trace, TRACE, "{traceparent}");
        assert_ne!(span, SPAN, "{traceparent}");
    }
}

/// Microsoft Azure REST API Guidelines, "Distributed Tracing & Telemetry": but only what is an identifier.
async fn a_client_gets_its_own_id_back(t: &Tenant) {
    for (name, value, comes_back) in [
        ("client-request-id", "9C4D50EE-2D56-4CD3-8152-34347DC9F2B0", true),
        ("x-ms-client-request-id", "a.b_c:d/e-f", true),
        ("client-request-id", "two words", false),
        ("client-request-id", "7".repeat(129).as_str(), false),
        ("request-id", "7", false),
    ] {
        for path in ["/Users", "/Users/none"] {
            let answer = t.raw("GET", path, &[(name, value)], "").await;
            assert_eq!(answer.header(name).as_deref(), comes_back.then_some(value), "{answer}");
        }
    }
}

/// W3C Trace Context §3.2.2.3, §3.2.2.4: what is not valid is as good as not there.
async fn a_traceparent_that_is_none_is_not_repeated(t: &Tenant) {
    let (zeros, upper) = ("0".repeat(32), TRACE.to_uppercase());
    for traceparent in [
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("zz-{TRACE}-{SPAN}-01"),
        format!("0-{TRACE}-{SPAN}-01"),
        format!("00-{zeros}-{SPAN}-01"),
        format!("00-{upper}-{SPAN}-01"),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("00-{TRACE}-zzzzzzzzzzzzzzzz-01"),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}0-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", &TRACE[1..]),
        "'; DROP TABLE traces".to_owned(),
        "-".repeat(1_000),
    ] {
        let answer = t.raw("GET", "/Users/none", &[("traceparent", &traceparent)], "").await;
        let (trace, _) = reference(&answer.is(404));
        assert!(trace != TRACE && trace != zeros, "{traceparent} gives {trace}");
    }
}

/// E-AUTH-06.
async fn every_refusal_has_a_reference_of_its_own(t: &Tenant) {
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let ask = async |headers: &[(&str, &str)]| reference(&t.raw("GET", "/Users/none", headers, "").await.is(404));
    assert_ne!(ask(&[]).await.0, ask(&[]).await.0, "traces");
    let same = [("traceparent", traceparent.as_str())];
    assert_ne!(ask(&same).await.1, ask(&same).await.1, "spans");
}

/// E-LIFE-07: an administrator can do nothing about a token that is not accepted, but can correct a mapping.
async fn support_is_named_where_the_client_can_do_nothing(t: &Tenant) {
    let support = format!("Support: {SUPPORT}. Reference ");
    t.anonymous("GET", "/Users").await.refused(401, "", &[&support]);
    let own_fault = t
        .raw("POST", "/Users", &[], "{")
        .await
        .refused(400, "invalidSyntax", &[]);
    assert!(!own_fault.detail().contains("Support"), "{own_fault}");
}

/// design §8: no personal data in logs, and Entra's provisioning log is one.
async fn a_detail_and_a_header_name_places_and_no_values(t: &Tenant) {
    const PRIVATE: &str = "bjensen";
    let taken = t.user("bjensen@example.com").await.place();
    let filters = [
        "userName eq \"bjensen@example.com",
        "userName is \"bjensen@example.com\"",
        "userName eq \"bjensen@example.com\" bjensen",
        "userName eq bjensen bjensen",
        "active eq \"bjensen\"",
        "meta.created gt \"bjensen\"",
        "emails[value eq \"bjensen\"].nonsense eq \"bjensen\"",
    ];
    let query = |filter: &str| form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>();
    let mut answers = Vec::new();
    for filter in filters {
        answers.push(t.get(&format!("/Users?filter={}", query(filter))).await);
    }
    let mut bad = user("bjensen");
    bad["active"] = "bjensen".into();
    for body in [
        user("bjensen@example.com"),
        user("bjensen\u{0}"),
        user(&"bjensen".repeat(10_000)),
        bad,
    ] {
        answers.push(t.post("/Users", body).await);
    }
    for path in [
        "emails[value eq \"bjensen@example.com\"].nonsense",
        "emails[value eq \"bjensen@example.com",
        "emails[value sw \"bjensen\"].display",
        "name[familyName eq \"bjensen\"].nonsense",
    ] {
        let operations = json!([{ "op": "replace", "path": path, "value": "bjensen" }]);
        answers.push(t.patch(&taken, patch_op(operations)).await);
    }
    answers.push(t.get("/Users/bjensen").await);
    answers.push(t.get("/Users?count=bjensen").await);
    answers.push(
        t.raw("GET", "/Users", &[("Authorization", "Bearer bjensen bjensen")], "")
            .await,
    );
    for answer in answers {
        let told = answer.headers.iter().any(|(_, value)| value.contains(PRIVATE));
        assert!(!told && !answer.detail().contains(PRIVATE), "{answer}");
    }
}
