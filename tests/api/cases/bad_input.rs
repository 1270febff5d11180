//! Bodies that are refused as a whole: no JSON, no object, too large, of another kind. Nothing comes of any of them.

use serde_json::json;

use crate::{
    case::cases,
    tenant::{SCIM_JSON, Tenant, patch_op, user},
    world::Way,
};

cases![
    a_body_that_is_no_json_is_refused_where_it_breaks,
    a_body_that_is_no_object_is_refused,
    a_body_in_another_encoding_is_refused,
    nesting_without_end_is_refused,
    a_body_may_have_a_mebibyte_and_not_a_byte_more,
    a_body_of_very_many_values_is_refused_before_it_fills_the_memory,
    another_media_type_is_415,
    json_by_any_of_its_names_is_accepted,
    an_encoded_body_is_415_and_not_guessed_at.not_in(
        Way::Forward,
        "HttpClient drops Content-Encoding",
        "the_forwarding_host_hides_the_encoding"
    ),
    the_forwarding_host_hides_the_encoding.only(Way::Forward, "there compressed bytes come without a word about it"),
    a_name_that_stands_twice_is_refused,
    schemas_of_another_endpoint_are_refused,
    schemas_that_nobody_knows_are_refused,
    a_patch_message_that_is_none_is_refused,
    a_refused_body_changes_nothing,
];

/// A create that is refused: nothing came into being, and the next request is answered.
pub(super) async fn refuses(t: &Tenant, body: impl Into<Vec<u8>>, refusal: (u16, &str), words: &[&str]) {
    let answer = t.raw("POST", "/Users", &[("Content-Type", SCIM_JSON)], body).await;
    answer.refused(refusal.0, refusal.1, words);
    assert_eq!(t.users().await, 0);
}

const SYNTAX: (u16, &str) = (400, "invalidSyntax");

/// RFC 7644 §3.12; the position makes a trailing comma of a hand-written request findable.
async fn a_body_that_is_no_json_is_refused_where_it_breaks(t: &Tenant) {
    for (body, position) in [
        ("{\"userName\":}", "line 1, column 13"),
        ("\n\n{\"userName\":\"a\",}", "line 3, column 17"),
        ("{\"userName\":\"a\"}}", "line 1, column 17"),
        ("{\"userName\":\"a\"} trailing", "line 1, column 18"),
        ("{'userName':'a'}", "line 1, column 2"),
        ("{\"active\":tru}", "line 1, column 14"),
        ("{\"active\":True}", "line 1, column 11"),
        ("{\"userName\":\"a\tb\"}", "line 1, column 15"),
        ("{\"userName\":\"a\0b\"}", "line 1, column 15"),
        ("{\r\n\"userName\":\"a\"\r\n", "line 3"),
        ("{\"userName\":\"\\x41\"}", "line 1, column 15"),
        ("{\"userName\":NaN}", "line 1, column 13"),
        ("{\"userName\":1e400}", "line 1"),
        ("{\"userName\":01}", "line 1"),
        ("// a comment\n{}", "line 1, column 1"),
        ("userName=bjensen", "line 1, column 1"),
        ("<User/>", "line 1, column 1"),
        ("{", "line 1"),
        (" ", "line 1"),
        ("", "line 1"),
    ] {
        refuses(t, body, SYNTAX, &["not JSON", position]).await;
    }
}

async fn a_body_that_is_no_object_is_refused(t: &Tenant) {
    let bodies = ["null", "true", "1", "\"a\"", "[]", "[{}]"];
    for body in bodies {
        refuses(t, body, SYNTAX, &["must be a JSON object"]).await;
    }
    let created = t.user("bjensen").await;
    for method in ["PUT", "PATCH"] {
        for body in bodies {
            let answer = t
                .raw(method, &created.place(), &[("Content-Type", SCIM_JSON)], body)
                .await;
            answer.refused(400, "invalidSyntax", &["must be a JSON object"]);
        }
    }
    assert_eq!(t.get(&created.place()).await.body, created.body);
}

/// RFC 8259 §8.1: UTF-8, without a byte order mark.
async fn a_body_in_another_encoding_is_refused(t: &Tenant) {
    let text = user("Bj\u{e9}nsen").to_string();
    let latin_1: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
        .collect();
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat();
    let overlong = text
        .as_bytes()
        .split(|b| *b == b'B')
        .collect::<Vec<_>>()
        .join(b"\xc0\x8a".as_slice());
    let half = [b"{\"userName\":\"".as_slice(), b"\xed\xa0\x80\"}"].concat();
    for body in [latin_1, utf_16, marked, overlong, half] {
        refuses(t, body, SYNTAX, &["not JSON"]).await;
    }
}

/// A reader that recurses would end the process here, and all tenants with it.
async fn nesting_without_end_is_refused(t: &Tenant) {
    let depth = 10_000;
    let array = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for body in [
        array.clone(),
        "[".repeat(200_000),
        format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)),
        format!("{{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"userName\":\"a\",\"b\":{array}}}"),
    ] {
        refuses(t, body, SYNTAX, &["line 1, column"]).await;
    }
}

/// design §7: the limit is named.
async fn a_body_may_have_a_mebibyte_and_not_a_byte_more(t: &Tenant) {
    let padded = |name: &str, length: usize| {
        let text = user(name).to_string();
        format!("{}{text}", " ".repeat(length - text.len()))
    };
    let limit = 1024 * 1024;
    refuses(t, padded("bjensen", limit + 1), (413, ""), &["1048576 bytes"]).await;
    refuses(t, padded("bjensen", 10 * limit), (413, ""), &["1048576 bytes"]).await;
    let json = [("Content-Type", SCIM_JSON)];
    for (name, length) in [("bjensen", limit), ("other", limit - 1)] {
        t.raw("POST", "/Users", &json, padded(name, length)).await.is(201);
    }
    assert_eq!(t.users().await, 2);
}

/// design §7: a megabyte of these would be ninety.
async fn a_body_of_very_many_values_is_refused_before_it_fills_the_memory(t: &Tenant) {
    let body = format!("{{\"a\":[{}0]}}", "{\"\":0},".repeat(100_000));
    refuses(t, body, (413, ""), &["64 MiB"]).await;
}

/// R-GEN-01, RFC 9110 §15.5.16.
async fn another_media_type_is_415(t: &Tenant) {
    let new = user("bjensen").to_string();
    let created = t.neighbour().await.user("other").await;
    for media_type in [
        "text/plain",
        "text/html",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/octet-stream",
        "application/jsonp",
        "application/scim",
        "text/json",
        "json",
        "*/*",
        "application/*",
        "application/json, text/plain",
        "application/json-patch+json",
    ] {
        let headers = [("Content-Type", media_type)];
        for (method, path) in [
            ("POST", "/Users".to_owned()),
            ("PUT", created.place()),
            ("PATCH", created.place()),
        ] {
            let answer = t.raw(method, &path, &headers, new.as_str()).await;
            answer.refused(415, "", &["application/scim+json"]);
        }
    }
    assert_eq!(t.users().await, 0);
}

/// R-GEN-01; azure-docs#116775: never 415 because of a parameter.
async fn json_by_any_of_its_names_is_accepted(t: &Tenant) {
    for (number, media_type) in [
        "application/scim+json",
        "application/json",
        "application/scim+json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json; charset=\"utf-8\"",
        "APPLICATION/SCIM+JSON ; Charset=utf-8",
        "application/json; odata.metadata=minimal",
    ]
    .into_iter()
    .enumerate()
    {
        let new = user(&format!("bjensen{number}")).to_string();
        t.raw("POST", "/Users", &[("Content-Type", media_type)], new)
            .await
            .is(201);
    }
    t.raw("POST", "/Users", &[], user("without").to_string()).await.is(201);
}

/// `{}` and some more, compressed.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00";

/// RFC 9110 §15.5.16 and §12.5.3: 415 that says which codings there are, also when the bytes happen to be JSON.
async fn an_encoded_body_is_415_and_not_guessed_at(t: &Tenant) {
    let plain = user("bjensen").to_string();
    for (encoding, body) in [
        ("gzip", GZIP),
        ("gzip", plain.as_bytes()),
        ("br", plain.as_bytes()),
        ("identity, gzip", GZIP),
    ] {
        let headers = [("Content-Type", SCIM_JSON), ("Content-Encoding", encoding)];
        let answer = t
            .raw("POST", "/Users", &headers, body)
            .await
            .refused(415, "", &["Content-Encoding"]);
        assert_eq!(
            answer.header("accept-encoding").as_deref(),
            Some("identity"),
            "{answer}"
        );
    }
    assert_eq!(t.users().await, 0);
    let lines = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")];
    t.raw("POST", "/Users", &lines, plain.as_str())
        .await
        .refused(415, "", &["Content-Encoding"]);
    assert_eq!(t.users().await, 0);
    let headers = [("Content-Type", SCIM_JSON), ("Content-Encoding", "identity")];
    t.raw("POST", "/Users", &headers, plain).await.is(201);
}

/// Bytes without the word gzip are no JSON, and that is all that can be said of them; never are they stored.
async fn the_forwarding_host_hides_the_encoding(t: &Tenant) {
    let headers = [("Content-Type", SCIM_JSON), ("Content-Encoding", "gzip")];
    t.raw("POST", "/Users", &headers, GZIP)
        .await
        .refused(400, "invalidSyntax", &["not JSON", "column 1"]);
    assert_eq!(t.users().await, 0);
}

/// RFC 8259 §4 leaves open which one counts, and whoever looks at the request on the way may take the other; design §6:
/// nothing is ignored silently.
async fn a_name_that_stands_twice_is_refused(t: &Tenant) {
    let schemas = "\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"]";
    for members in [
        "\"userName\":\"a\",\"userName\":\"b\"",
        "\"userName\":\"a\",\"userName\":\"a\"",
        "\"userName\":\"a\",\"USERNAME\":\"b\"",
        "\"userName\":\"a\",\"user\\u004eame\":\"b\"",
        "\"userName\":\"a\",\"active\":false,\"active\":true",
        "\"userName\":\"a\",\"name\":{\"givenName\":\"a\",\"givenName\":\"b\"}",
        "\"userName\":\"a\",\"emails\":[{\"value\":\"a@example.com\",\"Value\":\"b@example.com\"}]",
    ] {
        refuses(t, format!("{{{schemas},{members}}}"), SYNTAX, &["twice"]).await;
    }
}

/// R-GEN-08.
async fn schemas_of_another_endpoint_are_refused(t: &Tenant) {
    const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0";
    let group = json!({ "schemas": [format!("{CORE}:Group")], "displayName": "Tour Guides", "members": [] });
    refuses(
        t,
        group.to_string(),
        SYNTAX,
        &["Group", "another endpoint", "core:2.0:User"],
    )
    .await;
    let mut posing = user("bjensen");
    posing["schemas"] = json!([format!("{CORE}:Group")]);
    refuses(t, posing.to_string(), SYNTAX, &["another endpoint"]).await;
    let patch = patch_op(json!([{ "op": "add", "path": "userName", "value": "bjensen" }]));
    refuses(t, patch.to_string(), (400, "invalidValue"), &["PatchOp"]).await;
}

async fn schemas_that_nobody_knows_are_refused(t: &Tenant) {
    const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
    for (schemas, refusal, word) in [
        (
            json!([CORE, "urn:example:params:scim:schemas:1.0:Badge"]),
            (400, "invalidValue"),
            "Badge",
        ),
        (
            json!([CORE, "urn:ietf:params:scim:schemas:core:2.0:Group"]),
            (400, "invalidValue"),
            "Group",
        ),
        (json!(["User"]), (400, "invalidValue"), "schemas"),
        (
            json!(["\u{e9}\r\nX: y\0".repeat(500)]),
            (400, "invalidValue"),
            "schemas",
        ),
        (json!([""]), (400, "invalidValue"), "schemas"),
        (json!([]), SYNTAX, "schemas is missing"),
        (json!(null), SYNTAX, "schemas is missing"),
        (json!(""), SYNTAX, "schemas is missing"),
        (json!([1]), (400, "invalidValue"), "schemas"),
        (json!([null]), (400, "invalidValue"), "schemas"),
        (json!({ "0": CORE }), (400, "invalidValue"), "schemas"),
        (json!(true), (400, "invalidValue"), "schemas"),
    ] {
        let body = json!({ "schemas": schemas, "userName": "bjensen" });
        refuses(t, body.to_string(), refusal, &[word]).await;
    }
    refuses(
        t,
        json!({ "userName": "bjensen" }).to_string(),
        SYNTAX,
        &["schemas is missing"],
    )
    .await;
}

/// RFC 7644 §3.5.2.
async fn a_patch_message_that_is_none_is_refused(t: &Tenant) {
    let created = t.user("bjensen").await;
    let place = created.place();
    let op = json!({ "op": "replace", "path": "title", "value": "Tour Guide" });
    let many: Vec<_> = std::iter::repeat_n(op.clone(), 1_001).collect();
    for (message, status) in [
        (json!({}), 400),
        (user("bjensen"), 400),
        (json!({ "Operations": [op] }), 400),
        (
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [op] }),
            400,
        ),
        (patch_op(json!([])), 400),
        (patch_op(json!(null)), 400),
        (patch_op(json!("replace")), 400),
        (patch_op(json!([null])), 400),
        (patch_op(json!([[op]])), 400),
        (patch_op(json!(["replace"])), 400),
        (patch_op(json!([{ "op": 1, "path": "title", "value": "a" }])), 400),
        (patch_op(json!([{ "op": "move", "path": "title", "value": "a" }])), 400),
        (patch_op(json!([{ "op": "", "path": "title", "value": "a" }])), 400),
        (patch_op(json!([{ "path": "title", "value": "a" }])), 400),
        (patch_op(json!([{ "op": "replace", "path": 1, "value": "a" }])), 400),
        (
            patch_op(json!([{ "op": "replace", "path": ["title"], "value": "a" }])),
            400,
        ),
        // One that is good does not help one that is not (RFC 7644 §3.5.2: all or nothing).
        (
            patch_op(json!([op, { "op": "replace", "path": "nonsense[", "value": "a" }])),
            400,
        ),
        (patch_op(json!(many)), 413),
    ] {
        t.patch(&place, message).await.is(status);
    }
    assert_eq!(t.get(&place).await.body, created.body);
}

/// Version and time included.
async fn a_refused_body_changes_nothing(t: &Tenant) {
    let created = t.user("bjensen").await;
    let json = [("Content-Type", SCIM_JSON)];
    for (method, body) in [
        ("PUT", "{".to_owned()),
        ("PUT", "{}".to_owned()),
        ("PUT", user("").to_string()),
        ("PUT", user("a\u{1}").to_string()),
        ("PUT", " ".repeat(2 * 1024 * 1024)),
        ("PATCH", "{\"schemas\"".to_owned()),
        (
            "PATCH",
            patch_op(json!([{ "op": "remove", "path": "userName" }])).to_string(),
        ),
        (
            "PATCH",
            patch_op(json!([{ "op": "replace", "path": "userName", "value": "a\u{0}" }])).to_string(),
        ),
        (
            "PATCH",
            patch_op(json!([{ "op": "replace", "path": "id", "value": "1" }])).to_string(),
        ),
    ] {
        let answer = t.raw(method, &created.place(), &json, body).await;
        assert!((400..=413).contains(&answer.status), "{answer}");
        let found = t.get(&created.place()).await.is(200);
        assert_eq!((&found.body, found.etag()), (&created.body, created.etag()));
    }
}
