//! Byte strings, and what is found in them: the rows of the measured table of what an Envoy makes of each.

use super::{End, Read, Response, read, unasked, without_resources};
use crate::doctor::fault::{Fault, Flaw};

/// Names of what is found in the answer to a GET, behind which the connection was closed.
#[track_caller]
fn check(bytes: &[u8], expected: &[&str]) {
    assert_eq!(found(bytes, End::Closed, false), expected, "{}", bytes.escape_ascii());
}

fn found(bytes: &[u8], end: End, is_head: bool) -> Vec<&'static str> {
    let flaws = match read(bytes, end, is_head) {
        Read::More => return vec!["(more)"],
        Read::Whole { flaws, .. } | Read::Broken(flaws) => flaws,
    };
    flaws.iter().map(|flaw| flaw.fault.entry().id).collect()
}

#[track_caller]
fn check_header(line: &str, expected: &[&str]) {
    check(
        format!("HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: 2\r\n\r\nok").as_bytes(),
        expected,
    );
}

#[track_caller]
fn check_framing(lines: &str, body: &str, expected: &[&str]) {
    check(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{body}").as_bytes(), expected);
}

#[test]
fn what_an_envoy_passes_on_is_clean() {
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", &[]);
    check(b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", &[]);
    check(b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", &[]);
    check(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", &[]);
    check(b"HTTP/1.1 204 No Content\r\n\r\n", &[]);
    check(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", &[]);
    check(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", &[]);
    check(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        &[],
    );
    check_framing(
        "Transfer-Encoding: Chunked",
        "2;x=1\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n",
        &[],
    );
    check_header("x-tab: a\tb", &[]);
    check_header("x_underscore: 1", &[]);
    check_header("x-empty:", &[]);
    assert_eq!(
        found(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", End::Open, true),
        [""; 0]
    );
}

#[test]
fn what_is_no_answer_is_named() {
    check(b"hello", &["not-http"]);
    check(b"{\"id\":\"1\"}", &["not-http"]);
    check(
        b"INFO listening\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        &["not-http"],
    );
    check(b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", &["not-http"]);
    check(
        b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        &["bytes-before-answer"],
    );
    check(
        b"\xef\xbb\xbfHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        &["bytes-before-answer"],
    );
    check(b"\x15\x03\x01\x00\x02\x02\x46", &["tls-bytes"]);
    check(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00", &["http2-frames"]);
    check(b"HTTP/2 200\r\n\r\n", &["status-line"]);
    check(b"HTTP/1.1 abc OK\r\n\r\n", &["status-line"]);
    check(b"HTTP/1.1 99 X\r\ncontent-length: 0\r\n\r\n", &["status-range"]);
    check(b"HTTP/1.1 1000 X\r\ncontent-length: 0\r\n\r\n", &["status-range"]);
    check(b"", &["closed-without-answer"]);
    check(b"HTTP/1.1 200 OK\r\nconte", &["head-cut-off"]);
    check(b"HTTP/1.1 200 OK\r\n", &["head-cut-off"]);
    check(b"HTTP/1.1 100 Continue\r\n\r\n", &["interim-only"]);
    let interim = b"HTTP/1.1 102 Processing\ncontent-length: 5\r\n\r\n".repeat(21);
    let told = ["bare-line-feed", "length-of-204", "interim-flood"];
    assert_eq!(
        found(&interim, End::Open, false),
        told,
        "each is told once, and no more is read"
    );
    assert_eq!(
        found(
            &[&interim[..], b"HTTP/1.1 204 No Content\r\n\r\n"].concat(),
            End::Open,
            false
        ),
        told
    );
    check(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &["switching-protocols"]);
}

#[test]
fn bad_headers_are_named() {
    check_header("x y: 1", &["header-name"]);
    check_header("x-a : 1", &["header-name"]);
    check_header(": 1", &["header-name"]);
    check_header("x(a): 1", &["header-name"]);
    check_header("x-\u{e4}: 1", &["header-name"]);
    check_header("no colon", &["header-without-colon"]);
    check_header("x-a: a\0b", &["header-value"]);
    check_header("x-a: a\x01b", &["header-value"]);
    check_header("x-a: a\x1bb", &["header-value"]);
    check_header("x-a: a\x7fb", &["header-value"]);
    check_header("x-a: a\nb", &["bare-line-feed", "header-without-colon"]);
    check_header("x-a: a\nx-b: 1", &["bare-line-feed"]);
    check_header("x-a: a\rb", &["bare-carriage-return"]);
    check_header("x-a: a\r\n  b", &["folded-header"]);
    check_header("location: /M\u{fc}ller", &["header-not-ascii"]);
    check_header(&["x: 1"; 100].join("\r\n"), &["too-many-headers"]);
    check_header(&["x: 1"; 99].join("\r\n"), &[]);
    check_header(&format!("x: {}", "y".repeat(81 * 1024)), &["head-too-large"]);
    check_header(&format!("x: {}", "y".repeat(79 * 1024)), &[]);
    assert_eq!(
        found(
            &[b"HTTP/1.1 200 ", &vec![b'y'; 90 * 1024][..]].concat(),
            End::Open,
            false
        ),
        ["head-too-large"]
    );
}

#[test]
fn bad_framing_is_named() {
    check_framing(
        "content-length: 2\r\ncontent-length: 2",
        "ok",
        &["content-length-twice"],
    );
    check_framing(
        "content-length: 2\r\ncontent-length: 3",
        "ok",
        &["content-length-twice"],
    );
    for length in ["5, 5", "-1", "abc", "+5", "", "99999999999999999999"] {
        check_framing(&format!("content-length: {length}"), "ok", &["content-length-invalid"]);
    }
    let both = "transfer-encoding: chunked\r\ncontent-length:";
    check_framing(&format!("{both} 5"), "0\r\n\r\n", &["content-length-and-chunked"]);
    check_framing(&format!("{both} 0"), "0\r\n\r\n", &["content-length-and-chunked"]);
    check_framing("transfer-encoding: gzip, chunked", "0\r\n\r\n", &["transfer-encoding"]);
    check_framing("transfer-encoding: identity", "ok", &["transfer-encoding"]);
    check_framing(
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "0\r\n\r\n",
        &["transfer-encoding"],
    );
    check_framing("content-length: 10", "hello", &["body-cut-off"]);
    check_framing("content-length: 2", "okEXTRA", &["bytes-after-answer"]);
    check_framing("content-length: 2", "okHTTP/1.1 200 OK\r\n\r\n", &["second-answer"]);
    for chunks in [
        "xyz\r\nok\r\n",
        "5\r\nok\r\n0\r\n\r\n",
        "1\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "\r\n",
    ] {
        check_framing("transfer-encoding: chunked", chunks, &["chunk-invalid"]);
    }
    check_framing("transfer-encoding: chunked", "2\r\nok\r\n", &["body-cut-off"]);
    check_framing(
        "transfer-encoding: chunked",
        "2\r\nok\r\n0\r\nbad\r\n\r\n",
        &["trailer-invalid"],
    );
    check(
        b"HTTP/1.1 205 Reset Content\r\ncontent-length: 2\r\n\r\nok",
        &["body-of-205"],
    );
}

#[test]
fn an_answer_without_a_body_has_none() {
    let no_content = |lines: &str, body: &str| format!("HTTP/1.1 204 No Content\r\n{lines}\r\n{body}").into_bytes();
    check(&no_content("content-length: 5\r\n", ""), &["length-of-204"]);
    check(
        &no_content("content-length: 5\r\n", "hello"),
        &["length-of-204", "body-of-204"],
    );
    check(&no_content("", "hello"), &["body-of-204"]);
    check(
        &no_content("transfer-encoding: chunked\r\n", ""),
        &["transfer-encoding-of-204"],
    );
    let chunked = no_content("transfer-encoding: chunked\r\n", "0\r\n\r\n");
    check(&chunked, &["transfer-encoding-of-204", "body-of-204"]);
    check(
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello",
        &["body-of-204"],
    );
    check(
        b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        &["length-of-204"],
    );
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(found(head, End::Open, true), ["body-of-204"]);
}

/// However the bytes are cut, a whole answer comes out of the last ones only.
#[test]
fn a_part_of_an_answer_waits_for_more() {
    let whole: &[u8] =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for cut in 0..whole.len() {
        assert_eq!(read(&whole[..cut], End::Open, false), Read::More, "{cut}");
    }
    let Read::Whole { response, flaws, used } = read(whole, End::Open, false) else {
        panic!("it is whole");
    };
    let Response {
        status, body, keeps, ..
    } = response;
    assert_eq!(
        (status, body.as_slice(), keeps, used),
        (200, &b"ok"[..], true, whole.len())
    );
    assert!(flaws.is_empty(), "{flaws:?}");
    let until_the_end = b"HTTP/1.1 200 OK\r\n\r\nok";
    assert_eq!(read(until_the_end, End::Open, false), Read::More);
}

#[test]
fn bytes_that_nobody_asked_for_are_named() {
    assert_eq!(unasked(b"hello").fault, Fault::LateBytes);
    assert_eq!(unasked(b"HTTP/1.1 408 Request Timeout\r\n\r\n").fault, Fault::Unasked);
}

/// All `Connection` fields are one list of whole words (RFC 9110 §5.3, §7.6.1).
#[test]
fn a_connection_goes_on_unless_a_field_says_that_it_closes() {
    #[track_caller]
    fn check(version: &str, lines: &str, expected: bool) {
        let bytes = format!("{version} 200 OK\r\n{lines}content-length: 0\r\n\r\n");
        let Read::Whole { response, .. } = read(bytes.as_bytes(), End::Open, false) else {
            panic!("it is whole");
        };
        assert_eq!(response.keeps, expected, "{bytes}");
    }
    check("HTTP/1.1", "", true);
    check("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false);
    check("HTTP/1.1", "Connection: Upgrade,Close\r\n", false);
    check("HTTP/1.1", "Connection: x-close-reason\r\n", true);
    check("HTTP/1.0", "", false);
    check("HTTP/1.0", "Connection: Keep-Alive\r\n", true);
    check("HTTP/1.0", "Connection: close, keep-alive\r\n", false);
}

#[test]
fn of_a_list_of_resources_only_the_head_is_shown() {
    #[track_caller]
    fn check(answer: &str, bytes: &str, shown: &str) {
        let flaw = without_resources(Flaw::new(Fault::NotHttp, "", bytes.as_bytes()), answer.as_bytes());
        assert_eq!(String::from_utf8(flaw.bytes).unwrap(), shown);
    }
    let head = "HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n";
    let list = r#"{"Resources":[{"userName":"bjensen"}]}"#;
    let answer = format!("{head}{list}");
    check(&answer, &answer, head);
    check(&answer, "x y: 1\r\n", "x y: 1\r\n");
    check(&answer, "bjensen", "(a list of resources)");
    check(list, &list[..20], "(a list of resources)");
    check("", list, "(a list of resources)");
    check("", "", "");
    check("{}", "hello", "hello");
}
