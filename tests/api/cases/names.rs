//! Values that look as if they had to break something, and do not.

use serde_json::json;

use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, patch_op, user},
};

cases![
    a_name_that_would_break_a_key_is_a_name,
    an_external_id_and_an_address_may_be_anything_too,
    nothing_in_a_value_is_a_pattern_or_a_command,
    a_name_spelled_differently_is_taken,
    a_name_that_only_looks_alike_is_free,
];

fn query(filter: &str) -> String {
    let value: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    format!("/Users?filter={value}")
}

/// Users whose attribute equals a value; JSON's escapes are the filter's (RFC 7644 §3.4.2.2).
async fn find(t: &Tenant, attribute: &str, value: &str) -> Answer {
    t.get(&query(&format!("{attribute} eq {}", json!(value)))).await.is(200)
}

/// What stands in a key, a URL, a filter or a shell for something else.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "/",
        "\\",
        "#",
        "?",
        "a/b",
        "a\\b",
        "a#b",
        "a?b",
        "%",
        "%2F",
        "%00",
        "..",
        "../../etc/passwd",
        "~",
        "u~1",
        "'",
        "''",
        "\"",
        "b'jensen",
        "\"quoted\"",
        "a\\\"b",
        "`",
        "$(id)",
        "${jndi:ldap://example.com/a}",
        "{{7*7}}",
        "<script>",
        "&amp;",
        "a&b=c",
        "a+b",
        "a b",
        "a;b",
        "a,b",
        "(a)",
        "[a]",
        "{a}",
        "|",
        "*",
        "null",
        "true",
        "0",
        "-",
        "_",
        "@",
        ":",
        "=",
        "^",
        "undefined",
        "eq",
        "userName eq \"a\"",
        "\u{1f600}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{5d1}\u{5e8}\u{5d1}\u{5e8}\u{5d4}",
        "\u{202e}abc",
        "a\u{200b}b",
        "\u{feff}a",
        "\u{fffd}",
        "\u{10ffff}",
        "\u{0301}\u{0301}\u{0301}",
    ]
    .map(str::to_owned)
    .into();
    names.push("\u{fdfa}".repeat(500));
    names
}

/// E-LIFE-08: created, read, found, refused to others, renamed and removed like any other.
async fn a_name_that_would_break_a_key_is_a_name(t: &Tenant) {
    for name in odd_names() {
        let created = t.user(&name).await;
        assert_eq!(t.get(&created.place()).await.is(200).text("/userName"), name);
        let found = find(t, "userName", &name).await;
        assert_eq!(found.listed("/id"), [created.id()], "{name:?}");
        t.post("/Users", user(&name))
            .await
            .refused(409, "uniqueness", &[created.id()]);
        let rename = |to: &str| patch_op(json!([{ "op": "replace", "path": "userName", "value": to }]));
        t.patch(&created.place(), rename("bjensen")).await.is(200);
        assert_eq!(find(t, "userName", &name).await.total(), 0, "{name:?}");
        assert_eq!(
            t.patch(&created.place(), rename(&name)).await.is(200).text("/userName"),
            name
        );
        t.delete(&created.place()).await.is(204);
    }
    assert_eq!(t.users().await, 0);
}

async fn an_external_id_and_an_address_may_be_anything_too(t: &Tenant) {
    for (number, value) in odd_names().into_iter().enumerate() {
        let mut body = user(&format!("bjensen{number}"));
        body["externalId"] = json!(value);
        body["emails"] = json!([{ "type": "work", "value": value }]);
        let created = t.post("/Users", body).await.is(201);
        for attribute in ["externalId", "emails.value", "emails[type eq \"work\"].value"] {
            assert_eq!(
                find(t, attribute, &value).await.listed("/id"),
                [created.id()],
                "{attribute} {value:?}"
            );
        }
        let path = format!("emails[value eq {}].type", json!(value));
        let operations = json!([{ "op": "replace", "path": path, "value": "home" }]);
        let patched = t.patch(&created.place(), patch_op(operations)).await.is(200);
        assert_eq!(patched.text("/emails/0/type"), "home", "{value:?}");
    }
}

async fn nothing_in_a_value_is_a_pattern_or_a_command(t: &Tenant) {
    t.user("bjensen").await;
    for value in [
        "*",
        "%",
        "_",
        "bj*",
        "bj%",
        "b_ensen",
        ".*",
        "' or '1'='1",
        "\" or userName pr",
        "'; DROP TABLE rows; --",
    ] {
        for operator in ["eq", "co", "sw", "ew"] {
            let found = t
                .get(&query(&format!("userName {operator} {}", json!(value))))
                .await
                .is(200);
            assert_eq!(found.total(), 0, "{operator} {value:?}");
        }
    }
    assert_eq!(find(t, "userName", "BJENSEN").await.total(), 1);
}

/// RFC 7643 §4.1.1 (`caseExact` false, `uniqueness` server); design §4: one fold for keys, uniqueness and `eq`.
async fn a_name_spelled_differently_is_taken(t: &Tenant) {
    for (name, same) in [
        ("bjensen@example.com", "BJensen@Example.COM"),
        ("stra\u{df}e", "STRASSE"),
        ("stra\u{df}e2", "Stra\u{1e9e}e2"),
        ("caf\u{e9}", "cafe\u{301}"),
        ("\u{c5}ngstr\u{f6}m", "A\u{30a}NGSTRO\u{308}M"),
        (
            "fullwidth",
            "\u{ff26}\u{ff35}\u{ff2c}\u{ff2c}\u{ff37}\u{ff29}\u{ff24}\u{ff34}\u{ff28}",
        ),
        ("\u{fb01}le", "FILE"),
        (
            "\u{3c3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c2}",
            "\u{3a3}\u{38a}\u{3a3}\u{3a5}\u{3a6}\u{39f}\u{3a3}",
        ),
        ("kelvin", "\u{212a}elvin"),
    ] {
        let created = t.user(name).await;
        t.post("/Users", user(same))
            .await
            .refused(409, "uniqueness", &["userName", created.id()]);
        assert_eq!(find(t, "userName", same).await.listed("/userName"), [name]);
        // Its own holder may change the spelling.
        let operations = json!([{ "op": "replace", "path": "userName", "value": same }]);
        assert_eq!(
            t.patch(&created.place(), patch_op(operations))
                .await
                .is(200)
                .text("/userName"),
            same
        );
        assert_eq!(find(t, "userName", name).await.listed("/userName"), [same]);
    }
    assert_eq!(t.users().await, 9);
}

async fn a_name_that_only_looks_alike_is_free(t: &Tenant) {
    let names = [
        "i", "\u{131}", "e", "\u{e9}", "o", "\u{f8}", "a", "\u{430}", "l", "1", "rn", "m", "\u{130}x", "ix",
    ];
    for name in names {
        t.user(name).await;
    }
    for name in names {
        assert_eq!(find(t, "userName", name).await.listed("/userName"), [name]);
    }
}
