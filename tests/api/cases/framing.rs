//! Requests on the wire (RFC 9112): bodies in every frame there is, and in some that there must not be.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    case::cases,
    tenant::{SCIM_JSON, Tenant, user},
    world::Way,
};

use super::wire::{connect, create};

cases![
    a_large_body_that_nobody_reads_still_gets_its_401,
    a_401_does_not_wait_for_the_body.only(
        Way::Direct,
        "the host reads a whole body before it passes the request on"
    ),
    a_chunked_body_is_a_body.not_in(
        Way::Forward,
        "HttpClient refuses Transfer-Encoding",
        "a_chunked_body_ends_in_the_forwarding_host"
    ),
    a_chunked_body_ends_in_the_forwarding_host.only(Way::Forward, "there the host fails before the handler is asked"),
    who_expects_100_gets_it_and_then_the_answer,
    a_slow_body_arrives,
    ambiguous_framing_is_400_and_nothing_of_it_is_done.only(Way::Direct, "the host frames requests anew"),
    what_is_no_http_gets_a_complete_answer.only(Way::Direct, "the host refuses it itself"),
    http_2_with_prior_knowledge_is_answered_in_http_2.only(Way::Direct, "the host speaks HTTP/1.1 to the handler"),
];

/// design §7: the client reads why it was refused, however much it sends meanwhile.
async fn a_large_body_that_nobody_reads_still_gets_its_401(t: &Tenant) {
    for length in [100_000, 5_000_000] {
        for headers in [
            vec![("Authorization", "Bearer wrong")],
            vec![("Authorization", "Basic YTpi")],
        ] {
            t.raw("POST", "/Users", &headers, vec![b' '; length])
                .await
                .refused(401, "", &[]);
        }
    }
    t.raw(
        "POST",
        "/Users",
        &[("Content-Type", "text/plain")],
        vec![b' '; 5_000_000],
    )
    .await
    .refused(415, "", &[]);
}

async fn a_401_does_not_wait_for_the_body(t: &Tenant) {
    let (path, host) = (t.path(), t.world.address);
    let head = format!("POST {path}/Users HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n");
    let mut connection = connect(t).await;
    connection.write(head.as_bytes()).await;
    let answer = connection
        .answer("POST")
        .await
        .linted("")
        .refused(401, "", &["no credential"]);
    assert_eq!(answer.header("connection").as_deref(), Some("close"), "{answer}");
    // While the edge lingers, what is still sent does no harm.
    connection.write(&[b' '; 10_000]).await;
    assert!(connection.is_closed().await, "{answer}");
}

/// The same text in chunks of seven bytes and what is left.
fn chunked(text: &str) -> String {
    let chunk = |bytes: &[u8]| {
        format!(
            "{:x};extension=\"a\"\r\n{}\r\n",
            bytes.len(),
            String::from_utf8_lossy(bytes)
        )
    };
    let chunks: Vec<String> = text.as_bytes().chunks(7).map(chunk).collect();
    chunks.concat() + "0\r\n\r\n"
}

/// RFC 9112 §7.1: .NET and Java clients stream their JSON.
async fn a_chunked_body_is_a_body(t: &Tenant) {
    let head = format!(
        "{}Content-Type: {SCIM_JSON}\r\nTransfer-Encoding: chunked\r\n\r\n",
        t.head("POST", "/Users")
    );
    let mut connection = connect(t).await;
    for name in ["bjensen", "other"] {
        connection
            .write(format!("{head}{}", chunked(&user(name).to_string())).as_bytes())
            .await;
        assert_eq!(connection.answer("POST").await.is(201).text("/userName"), name);
    }
    connection.write(format!("{head}0\r\n\r\n").as_bytes()).await;
    connection
        .answer("POST")
        .await
        .refused(400, "invalidSyntax", &["not JSON"]);
    assert!(connection.is_quiet().await);
    let large = format!(
        "{head}{:x}\r\n{}\r\n0\r\n\r\n",
        1024 * 1024 + 1,
        " ".repeat(1024 * 1024 + 1)
    );
    connection.write(large.as_bytes()).await;
    connection.answer("POST").await.refused(413, "", &["1048576 bytes"]);
    assert_eq!(t.users().await, 2);
}

async fn a_chunked_body_ends_in_the_forwarding_host(t: &Tenant) {
    let head = format!(
        "{}Content-Type: {SCIM_JSON}\r\nTransfer-Encoding: chunked\r\n\r\n",
        t.head("POST", "/Users")
    );
    let answer = t
        .wire(format!("{head}{}", chunked(&user("bjensen").to_string())))
        .await
        .is(500);
    assert!(answer.bytes.is_empty(), "{answer}");
    assert_eq!(t.users().await, 0);
}

/// RFC 9110 §10.1.1; curl asks so before bodies of more than a few KiB.
async fn who_expects_100_gets_it_and_then_the_answer(t: &Tenant) {
    let request = create(t, "bjensen", "Expect: 100-continue\r\n");
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or_default();
    let mut connection = connect(t).await;
    connection.write(format!("{head}\r\n\r\n").as_bytes()).await;
    assert_eq!(connection.interim().await, 100);
    connection.write(body.as_bytes()).await;
    connection.answer("POST").await.is(201);
    connection
        .write(create(t, "other", "Expect: 100-continue\r\n").as_bytes())
        .await;
    connection.answer("POST").await.is(201);
    assert!(connection.is_quiet().await);
    assert_eq!(t.users().await, 2);
}

/// Ten seconds are allowed; this takes one.
async fn a_slow_body_arrives(t: &Tenant) {
    let mut connection = connect(t).await;
    for piece in create(t, "bjensen", "").as_bytes().chunks(16) {
        connection.write(piece).await;
        sleep(Duration::from_millis(50)).await;
    }
    connection.answer("POST").await.is(201);
}

/// RFC 9112 §6.1, §6.3, §11.2: whoever frames it otherwise would take a part of the body for another's request.
async fn ambiguous_framing_is_400_and_nothing_of_it_is_done(t: &Tenant) {
    let head = t.head("POST", "/Users");
    let body = user("bjensen").to_string();
    let (length, chunks) = (body.len(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    let smuggled = create(t, "smuggled", "");
    for (framing, body) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            format!("{chunks}{smuggled}"),
        ),
        (
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            chunks.clone(),
        ),
        (
            format!("Content-Length: {length}\r\nContent-Length: 5\r\n"),
            body.clone(),
        ),
        (format!("Content-Length: {length}, 5\r\n"), body.clone()),
        (format!("Content-Length: +{length}\r\n"), body.clone()),
        (format!("Content-Length: -{length}\r\n"), body.clone()),
        (format!("Content-Length: 0x{length:x}\r\n"), body.clone()),
        (format!("Content-Length : {length}\r\n"), body.clone()),
        ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), chunks.clone()),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), chunks.clone()),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), chunks.clone()),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
            chunks.clone(),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            chunks.clone(),
        ),
        ("Transfer-Encoding:\r\n chunked\r\n".to_owned(), chunks.clone()),
        (format!("X: a\r\n Content-Length: {length}\r\n"), body.clone()),
    ] {
        let mut connection = connect(t).await;
        connection.write(format!("{head}{framing}\r\n{body}").as_bytes()).await;
        connection.answer("POST").await.is(400);
        assert!(connection.is_closed().await, "{framing}");
        assert_eq!(t.users().await, 0, "{framing}");
    }
}

/// A port scanner, a browser that wants TLS: nothing hangs, and what is said has a length.
async fn what_is_no_http_gets_a_complete_answer(t: &Tenant) {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(2_000));
    for request in [
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{3f}\u{3}\u{3}",
        "HELO example.com\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        "G\u{0}T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        long.as_str(),
        many.as_str(),
    ] {
        let mut connection = connect(t).await;
        connection.write(request.as_bytes()).await;
        let answer = connection.answer("GET").await;
        assert!(matches!(answer.status, 400 | 414 | 431 | 505), "{answer}");
        assert_eq!(answer.header("content-length").as_deref(), Some("0"), "{answer}");
    }
    t.get("/Users").await.is(200);
}

/// RFC 9113 §3.3, §3.4: a front end that was told to speak HTTP/2 to this service is answered in HTTP/2, whichever way its
/// first bytes are cut.
async fn http_2_with_prior_knowledge_is_answered_in_http_2(t: &Tenant) {
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for cut in [0, 1, 3, 23, 24] {
        let mut connection = connect(t).await;
        connection.write(&begin[..cut]).await;
        sleep(Duration::from_millis(50)).await;
        connection.write(&begin[cut..]).await;
        let frame = connection.take(9).await;
        assert_eq!((frame[3], &frame[5..]), (4, &[0; 4][..]), "no SETTINGS: {frame:?}");
    }
    let mut connection = connect(t).await;
    connection.write(b"PRI * HTTP/1.1\r\n\r\n").await;
    connection.answer("PRI").await.is(400);
}
