//! What is wrong on purpose in HTTP/1.1, by the names of the measured table, and what the doctor must say.

use std::net::SocketAddr;

use crate::{
    named, plan,
    upstream::{Act, When, Wrong},
    visit,
};

/// One way to be wrong.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) wrong: Wrong,
    /// The first must be found; nothing worse than a note but these may be.
    pub(crate) finds: &'static [&'static str],
}

/// Most faults are in the answer to a DELETE: nobody reads it, and it is a 204 mostly.
const DELETE: When = When::Asked("DELETE /scim/acme/Users/");
const HEAD: When = When::Asked("HEAD ");
const GET: When = When::Asked("GET /scim/acme/Schemas");

fn row(name: &'static str, when: When, act: Act, finds: &'static [&'static str]) -> Row {
    let wrong = Wrong { when, act };
    Row { name, wrong, finds }
}

fn ok(lines: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{lines}\r\n{body}").into_bytes()
}

fn no_content(lines: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 204 No Content\r\n{lines}\r\n{body}").into_bytes()
}

fn say(bytes: impl Into<Vec<u8>>) -> Act {
    Act::Say(bytes.into())
}

fn close(bytes: impl Into<Vec<u8>>) -> Act {
    Act::SayAndClose(bytes.into())
}

/// A line in the head.
fn header(name: &'static str, line: &str, finds: &'static [&'static str]) -> Row {
    row(
        name,
        GET,
        say(ok(&format!("{line}\r\ncontent-length: 2\r\n"), "{}")),
        finds,
    )
}

fn framing(name: &'static str, lines: &str, body: &str, finds: &'static [&'static str]) -> Row {
    row(name, GET, close(ok(lines, body)), finds)
}

/// What comes late may be read together with the answer on a busy machine: then it is a part of it, or a second one.
pub(crate) fn rows() -> Vec<Row> {
    [
        connections(),
        uploads(),
        refused(),
        bodiless(),
        heads(),
        framings(),
        encodings(),
        foreign(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn connections() -> Vec<Row> {
    let status = b"HTTP/1.1 204 No Content\r\n";
    let request_timeout = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    vec![
        row(
            "close_on_accept",
            When::Connected,
            close(""),
            &["closed-without-answer", "early-answer-lost"],
        ),
        row("close_after_head", DELETE, close(""), &["closed-without-answer"]),
        row(
            "rst_after_head",
            DELETE,
            Act::SayAndReset(Vec::new()),
            &["closed-without-answer"],
        ),
        row("never", GET, say(""), &["no-answer"]),
        row("reuse_fin", When::Again, close(""), &["reuse-fails"]),
        row("reuse_rst", When::Again, Act::SayAndReset(Vec::new()), &["reuse-fails"]),
        row(
            "idle_408",
            GET,
            Act::SayLaterAndClose(request_timeout.to_vec()),
            &["unasked-answer|second-answer"],
        ),
        row(
            "stray_late",
            When::Again,
            Act::SayFirst(b"hello".to_vec()),
            &["late-bytes"],
        ),
        row(
            "stray_idle",
            GET,
            Act::SayLater(b"hello".to_vec()),
            &["late-bytes|bytes-after-answer"],
        ),
        row(
            "stray_crlf",
            When::Again,
            Act::SayFirst(b"\r\n".to_vec()),
            &["late-bytes"],
        ),
        row(
            "half_headers_fin",
            DELETE,
            close(*b"HTTP/1.1 204 No Content\r\nx-requ"),
            &["head-cut-off"],
        ),
        row(
            "half_headers_rst",
            DELETE,
            Act::SayAndReset(b"HTTP/1.1 204 No Content\r\nx-requ".to_vec()),
            &["head-cut-off"],
        ),
        row("status_line_only_fin", DELETE, close(*status), &["head-cut-off"]),
        row(
            "nohdr_fin",
            GET,
            Act::SayLaterAndClose(Vec::new()),
            &["close-unannounced|reuse-fails"],
        ),
    ]
}

fn uploads() -> Vec<Row> {
    let too_large = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n".to_vec();
    let lost: &[&str] = &["early-answer-lost", "wrong-status"];
    vec![
        row(
            "early413_noclosehdr_fin",
            When::Large,
            Act::SayAndReset(too_large),
            lost,
        ),
        row("early_noresp_fin", When::Large, Act::SayAndReset(Vec::new()), lost),
    ]
}

/// A firewall's page says nothing about the token.
fn refused() -> Vec<Row> {
    let page = "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center><h1>403 Forbidden</h1></center>\r\n\
                <hr><center>Microsoft-Azure-Application-Gateway/v2</center>\r\n</body>\r\n</html>";
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
        page.len()
    );
    vec![row(
        "a_firewall_says_403",
        When::Asked("GET /scim/acme/Users?filter="),
        say(answer),
        &["proxy-text", "test-connection", "wrong-status"],
    )]
}

fn bodiless() -> Vec<Row> {
    let not_modified = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello";
    vec![
        row(
            "204_cl5_nobody",
            DELETE,
            say(no_content("content-length: 5\r\n", "")),
            &["length-of-204"],
        ),
        row(
            "204_cl5_body",
            DELETE,
            say(no_content("content-length: 5\r\n", "hello")),
            &["length-of-204", "body-of-204"],
        ),
        row("204_body_nocl", DELETE, say(no_content("", "hello")), &["body-of-204"]),
        row(
            "204_body_late",
            DELETE,
            Act::SayLate(no_content("", ""), b"hello".to_vec()),
            &["late-bytes|body-of-204"],
        ),
        row(
            "204_te_empty",
            DELETE,
            say(no_content("transfer-encoding: chunked\r\n", "0\r\n\r\n")),
            &["transfer-encoding-of-204", "body-of-204"],
        ),
        row(
            "204_te_nobody",
            DELETE,
            say(no_content("transfer-encoding: chunked\r\n", "")),
            &["transfer-encoding-of-204"],
        ),
        row("304_body", GET, say(*not_modified), &["body-of-204", "wrong-status"]),
        row(
            "head_body",
            HEAD,
            say(ok("content-length: 5\r\n", "hello")),
            &["body-of-204", "wrong-status"],
        ),
        row(
            "head_chunked",
            HEAD,
            say(ok("transfer-encoding: chunked\r\n", "0\r\n\r\n")),
            &["body-of-204", "wrong-status"],
        ),
    ]
}

/// Of answers that only a condition leads to, on the test user.
pub(crate) fn conditions() -> Vec<Row> {
    let (unchanged, stale) = (When::Condition("if-none-match"), When::Condition("if-match"));
    let not_modified = |lines: &str| format!("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n{lines}\r\n").into_bytes();
    let failed = |lines: &str| format!("HTTP/1.1 412 Precondition Failed\r\n{lines}\r\n").into_bytes();
    vec![
        row("304_sound", unchanged, say(not_modified("content-length: 5\r\n")), &[]),
        row(
            "304_body",
            unchanged,
            say([&not_modified("content-length: 5\r\n")[..], b"hello"].concat()),
            &["body-of-204"],
        ),
        row(
            "304_body_late",
            unchanged,
            Act::SayLate(not_modified(""), b"hello".to_vec()),
            &["late-bytes|body-of-204"],
        ),
        row(
            "304_cl_twice",
            unchanged,
            say(not_modified("content-length: 5\r\ncontent-length: 5\r\n")),
            &["content-length-twice"],
        ),
        row(
            "412_cl_twice",
            stale,
            close(failed("content-length: 0\r\ncontent-length: 0\r\n")),
            &["content-length-twice"],
        ),
        row("412_half_fin", stale, close(*b"HTTP/1.1 412 Prec"), &["head-cut-off"]),
        row(
            "412_is_409",
            stale,
            say(*b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n"),
            &["wrong-status"],
        ),
    ]
}

fn heads() -> Vec<Row> {
    let many = vec!["x-a: 1"; 101].join("\r\n");
    vec![
        header("hdr_space_name", "x y: 1", &["header-name"]),
        header("hdr_space_colon", "x-a : 1", &["header-name"]),
        header("hdr_empty_name", ": 1", &["header-name"]),
        header("hdr_no_colon", "no colon", &["header-without-colon"]),
        header("hdr_val_lf", "x-a: a\nb", &["header-without-colon", "bare-line-feed"]),
        header("hdr_val_nul", "x-a: a\0b", &["header-value"]),
        header("hdr_val_del", "x-a: a\x7fb", &["header-value"]),
        header("hdr_fold", "x-a: a\r\n b", &["folded-header"]),
        header("hdr_101", &many, &["too-many-headers"]),
        header(
            "hdr_big_81k",
            &format!("x-a: {}", "a".repeat(81 * 1024)),
            &["head-too-large"],
        ),
        row(
            "st_abc",
            GET,
            say(*b"HTTP/1.1 abc\r\ncontent-length: 0\r\n\r\n"),
            &["status-line"],
        ),
        row(
            "st_lower",
            GET,
            say(*b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            &["not-http"],
        ),
        row(
            "st_http2",
            GET,
            say(*b"HTTP/2 200\r\ncontent-length: 0\r\n\r\n"),
            &["status-line"],
        ),
        row(
            "st_999",
            GET,
            say(*b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n"),
            &["status-range", "wrong-status"],
        ),
        row(
            "102_flood",
            GET,
            say([&b"HTTP/1.1 102 Processing\r\n\r\n".repeat(500)[..], &no_content("", "")].concat()),
            &["interim-flood", "wrong-status"],
        ),
        row(
            "100_fin",
            GET,
            close(*b"HTTP/1.1 100 Continue\r\n\r\n"),
            &["interim-only"],
        ),
        row(
            "101_unasked",
            GET,
            say(*b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            &["switching-protocols", "wrong-status"],
        ),
        row(
            "two_responses",
            GET,
            Act::SayAfter(ok("content-length: 2\r\n", "{}")),
            &["second-answer"],
        ),
    ]
}

fn framings() -> Vec<Row> {
    let chunked = "transfer-encoding: chunked\r\n";
    vec![
        framing(
            "cl_and_te",
            &format!("{chunked}content-length: 2\r\n"),
            "0\r\n\r\n",
            &["content-length-and-chunked"],
        ),
        framing(
            "two_cl_same",
            "content-length: 2\r\ncontent-length: 2\r\n",
            "{}",
            &["content-length-twice"],
        ),
        framing(
            "two_cl_diff",
            "content-length: 2\r\ncontent-length: 3\r\n",
            "{}",
            &["content-length-twice"],
        ),
        framing(
            "cl_list_same",
            "content-length: 2, 2\r\n",
            "{}",
            &["content-length-invalid"],
        ),
        framing(
            "cl_negative",
            "content-length: -1\r\n",
            "{}",
            &["content-length-invalid"],
        ),
        framing("cl_plus", "content-length: +2\r\n", "{}", &["content-length-invalid"]),
        framing(
            "cl_huge",
            "content-length: 99999999999999999999\r\n",
            "{}",
            &["content-length-invalid"],
        ),
        framing("body_short_fin", "content-length: 10\r\n", "{}", &["body-cut-off"]),
        framing(
            "body_long_same",
            "content-length: 2\r\n",
            "{}EXTRA",
            &["bytes-after-answer"],
        ),
        row(
            "body_long_late",
            GET,
            Act::SayLate(ok("content-length: 2\r\n", "{}"), b"EXTRA".to_vec()),
            &["late-bytes|bytes-after-answer"],
        ),
        row("body_nocl_keep", GET, say(ok("", "{}")), &["body-without-end"]),
        row(
            "403_cl_twice",
            When::Asked("GET /scim/acme/ResourceTypes?filter="),
            close(*b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n"),
            &["content-length-twice"],
        ),
        row(
            "413_body_long",
            When::Asked("POST /scim/acme/Bulk"),
            close(*b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\n{}EXTRA"),
            &["bytes-after-answer"],
        ),
    ]
}

fn encodings() -> Vec<Row> {
    let chunked = "transfer-encoding: chunked\r\n";
    let twice = "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n";
    vec![
        framing("chunk_bad_size", chunked, "5\r\n{}\r\n0\r\n\r\n", &["chunk-invalid"]),
        framing("chunk_not_hex", chunked, "xyz\r\n{}\r\n0\r\n\r\n", &["chunk-invalid"]),
        framing("chunk_no_final_fin", chunked, "2\r\n{}\r\n", &["body-cut-off"]),
        framing("chunk_raw_body", chunked, "{}\n", &["chunk-invalid"]),
        framing(
            "chunk_bad_trailer",
            chunked,
            "2\r\n{}\r\n0\r\nbad\r\n\r\n",
            &["trailer-invalid"],
        ),
        framing(
            "te_gzip_chunked",
            "transfer-encoding: gzip, chunked\r\n",
            "0\r\n\r\n",
            &["transfer-encoding"],
        ),
        framing(
            "te_identity",
            "transfer-encoding: identity\r\n",
            "{}",
            &["transfer-encoding"],
        ),
        framing("te_twice", twice, "0\r\n\r\n", &["transfer-encoding"]),
    ]
}

/// What is no HTTP/1.1 at all.
fn foreign() -> Vec<Row> {
    let settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    vec![
        row("http09", GET, close(*b"hello"), &["not-http"]),
        row("json_raw", GET, close(*b"{\"Resources\":[]}"), &["not-http"]),
        row(
            "log_then_ok",
            GET,
            Act::SayFirst(b"INFO GET /Schemas\n".to_vec()),
            &["not-http"],
        ),
        row(
            "crlf_then_ok",
            GET,
            Act::SayFirst(b"\r\n".to_vec()),
            &["bytes-before-answer"],
        ),
        row(
            "bom_then_ok",
            GET,
            Act::SayFirst(b"\xef\xbb\xbf".to_vec()),
            &["bytes-before-answer"],
        ),
        row(
            "tls_vs_plain",
            When::Connected,
            close(*b"\x15\x03\x01\x00\x02\x02\x46"),
            &["tls-bytes", "not-http"],
        ),
        row(
            "h1client_h2server",
            When::Connected,
            close(*settings),
            &["http2-frames", "http2-closed", "http2-streams-lost"],
        ),
    ]
}

/// Nobody has given a token, so that 401 is right.
pub(crate) async fn without_token(service: SocketAddr) -> Result<(), String> {
    let mut plan = plan(&format!("http://{service}"), true);
    plan.token = None;
    named(&visit(plan).await, &[])
}
