//! Values that are refused, and values that only look as if they should be.

use serde_json::{Value, json};

use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, patch_op, user},
};

use super::bad_input::refuses;

cases![
    a_value_of_the_wrong_type_is_refused_by_its_attributes_name,
    a_required_attribute_cannot_be_left_out,
    a_control_character_is_refused,
    half_a_surrogate_pair_is_refused,
    a_string_may_have_32_kib,
    a_number_for_a_string_keeps_its_digits,
    a_name_that_would_break_a_key_is_a_name,
    an_external_id_and_an_address_may_be_anything_too,
    nothing_in_a_value_is_a_pattern_or_a_command,
    a_name_spelled_differently_is_taken,
    a_name_that_only_looks_alike_is_free,
];

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn query(filter: &str) -> String {
    let value: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    format!("/Users?filter={value}")
}

/// Users whose attribute equals a value; JSON's escapes are the filter's (RFC 7644 §3.4.2.2).
async fn find(t: &Tenant, attribute: &str, value: &str) -> Answer {
    t.get(&query(&format!("{attribute} eq {}", json!(value)))).await.is(200)
}

/// RFC 7643 §2.3, R-GEN-06.
async fn a_value_of_the_wrong_type_is_refused_by_its_attributes_name(t: &Tenant) {
    for (attribute, value, named) in [
        ("userName", json!({ "value": "bjensen" }), "userName"),
        ("userName", json!(["bjensen", "other"]), "userName"),
        ("displayName", json!({ "formatted": "Babs" }), "displayName"),
        ("displayName", json!([["Babs"]]), "displayName"),
        ("active", json!("yes"), "active"),
        ("active", json!(1), "active"),
        ("active", json!({ "value": true }), "active"),
        ("active", json!([true, false]), "active"),
        ("name", json!("Barbara Jensen"), "name"),
        ("name", json!(1), "name"),
        ("name", json!(true), "name"),
        ("name", json!([{ "givenName": "Barbara" }, { "givenName": "Babs" }]), "name"),
        ("name", json!({ "givenName": { "value": "Barbara" } }), "name.givenName"),
        ("name", json!({ "familyName": ["Jensen", "Smith"] }), "name.familyName"),
        ("profileUrl", json!(1), "profileUrl"),
        ("profileUrl", json!({ "value": "https://example.com" }), "profileUrl"),
        ("emails", json!(1), "emails"),
        ("emails", json!([true]), "emails"),
        ("emails", json!([["bjensen@example.com"]]), "emails"),
        ("emails", json!([{ "value": { "value": "bjensen@example.com" } }]), "emails.value"),
        ("emails", json!([{ "value": "bjensen@example.com", "primary": "perhaps" }]), "emails.primary"),
        ("emails", json!([{ "value": "bjensen@example.com", "primary": 1 }]), "emails.primary"),
        ("emails", json!([{ "value": "bjensen@example.com", "type": ["work", "home"] }]), "emails.type"),
        ("photos", json!([{ "value": 1 }]), "photos.value"),
        ("x509Certificates", json!([{ "value": 1 }]), "x509Certificates.value"),
        ("addresses", json!(["100 Universal City Plaza"]), "addresses"),
        (ENTERPRISE, json!("Sales"), ENTERPRISE),
        (ENTERPRISE, json!([{ "department": "Sales" }]), ENTERPRISE),
        (ENTERPRISE, json!({ "department": { "value": "Sales" } }), "department"),
        (ENTERPRISE, json!({ "manager": 1 }), "manager"),
        (ENTERPRISE, json!({ "manager": { "value": {"value": "26118915"} } }), "manager.value"),
    ] {
        let mut body = user("bjensen");
        body[attribute] = value;
        refuses(t, body.to_string(), (400, "invalidValue"), &[named, "wrong type"]).await;
    }
}

/// RFC 7643 §2.2: empty and blank are as good as missing.
async fn a_required_attribute_cannot_be_left_out(t: &Tenant) {
    let mut missing = user("");
    missing.as_object_mut().expect("an object").remove("userName");
    let bodies = [missing, user(""), user(" "), user("\u{a0}\u{3000}"), unassigned(json!(null)), unassigned(json!([]))];
    for body in &bodies {
        refuses(t, body.to_string(), (400, "invalidValue"), &["userName is required"]).await;
    }
    let created = t.user("bjensen").await;
    for body in bodies {
        t.put(&created.place(), body).await.refused(400, "invalidValue", &["userName is required"]);
    }
    for operation in [
        json!({ "op": "remove", "path": "userName" }),
        json!({ "op": "replace", "path": "userName", "value": "" }),
        json!({ "op": "replace", "path": "userName", "value": null }),
        json!({ "op": "replace", "value": { "userName": " " } }),
    ] {
        t.patch(&created.place(), patch_op(json!([operation]))).await.is(400);
    }
    assert_eq!(t.get(&created.place()).await.body, created.body);
}

fn unassigned(value: Value) -> Value {
    let mut body = user("");
    body["userName"] = value;
    body
}

/// RFC 8265 for names; in other texts line breaks and tabs have a meaning (RFC 7643 §4.1.2, addresses).
async fn a_control_character_is_refused(t: &Tenant) {
    for c in ['\0', '\u{1}', '\u{8}', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}'] {
        for name in [format!("bjensen{c}"), format!("{c}bjensen"), format!("b{c}jensen")] {
            refuses(t, user(&name).to_string(), (400, "invalidValue"), &["userName", "control character"]).await;
        }
    }
    for (attribute, value, named) in [
        ("externalId", json!("a\0b"), "externalId"),
        ("displayName", json!("Babs\u{1b}[31m"), "displayName"),
        ("name", json!({ "familyName": "Jen\0sen" }), "name.familyName"),
        ("emails", json!([{ "value": "bjensen\0@example.com" }]), "emails.value"),
        (ENTERPRISE, json!({ "department": "Sal\u{7f}es" }), "department"),
    ] {
        let mut body = user("bjensen");
        body[attribute] = value;
        refuses(t, body.to_string(), (400, "invalidValue"), &[named, "control character"]).await;
    }
    let mut lines = user("bjensen");
    lines["addresses"] = json!([{ "formatted": "100 Universal City Plaza\r\nHollywood,\tCA 91608" }]);
    let created = t.post("/Users", lines.clone()).await.is(201);
    assert_eq!(created.body["addresses"], lines["addresses"]);
}

/// RFC 8259 §8.2.
async fn half_a_surrogate_pair_is_refused(t: &Tenant) {
    for escape in ["\\ud83d", "\\ude00", "\\ude00\\ud83d", "\\ud83d\\u0041", "\\ud83dx"] {
        let body = user("NAME").to_string().replace("NAME", escape);
        refuses(t, body, (400, "invalidSyntax"), &["not JSON", "line 1"]).await;
    }
    let whole = user("NAME").to_string().replace("NAME", "\\ud83d\\ude00");
    let created = t.raw("POST", "/Users", &[], whole).await.is(201);
    assert_eq!(created.text("/userName"), "\u{1f600}");
}

/// Bytes of UTF-8, not characters.
async fn a_string_may_have_32_kib(t: &Tenant) {
    let limit = 32 * 1024;
    for name in ["a".repeat(limit + 1), format!("a{}", "\u{e9}".repeat(limit / 2)), "\u{1f600}".repeat(limit / 4 + 1)] {
        refuses(t, user(&name).to_string(), (400, "invalidValue"), &["userName", "32768 bytes"]).await;
    }
    for name in ["a".repeat(limit), "\u{e9}".repeat(limit / 2)] {
        let created = t.user(&name).await;
        assert_eq!(t.get(&created.place()).await.is(200).text("/userName"), name);
        t.post("/Users", user(&name.to_uppercase())).await.refused(409, "uniqueness", &[created.id()]);
        t.delete(&created.place()).await.is(204);
    }
    t.user(&"a".repeat(limit)).await;
}

/// An employee's number is a name made of digits: kept as it stands or refused, never rounded.
async fn a_number_for_a_string_keeps_its_digits(t: &Tenant) {
    for (count, number) in [
        "701984", "0", "-1", "18446744073709551615", "-9223372036854775808", "18446744073709551616",
        "123456789012345678901234567890", "0.1", "1.10", "1e3", "1.7976931348623157e308",
    ]
    .into_iter()
    .enumerate()
    {
        let body = user(&format!("bjensen{count}")).to_string();
        let body = format!("{},\"externalId\":{number}}}", body.trim_end_matches('}'));
        let answer = t.raw("POST", "/Users", &[], body).await;
        if answer.status == 201 {
            assert_eq!(answer.text("/externalId"), number, "{answer}");
            assert!(answer.header("scimgate-normalized").is_some(), "{answer}");
        } else {
            answer.refused(400, "invalidValue", &["externalId"]);
        }
    }
}

/// What stands in a key, a URL, a filter or a shell for something else.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "/", "\\", "#", "?", "a/b", "a\\b", "a#b", "a?b", "%", "%2F", "%00", "..", "../../etc/passwd", "~", "u~1", "'", "''",
        "\"", "O'Brien", "\"quoted\"", "a\\\"b", "`", "$(id)", "${jndi:ldap://example.com/a}", "{{7*7}}", "<script>", "&amp;",
        "a&b=c", "a+b", "a b", "a;b", "a,b", "(a)", "[a]", "{a}", "|", "*", "null", "true", "0", "-", "_", "@", ":", "=", "^",
        "undefined", "eq", "userName eq \"a\"", "\u{1f600}", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{5d1}\u{5e8}\u{5d1}\u{5e8}\u{5d4}", "\u{202e}abc", "a\u{200b}b", "\u{feff}a", "\u{fffd}", "\u{10ffff}",
        "\u{0301}\u{0301}\u{0301}",
    ]
    .map(str::to_owned)
    .into();
    names.push("\u{fdfa}".repeat(500));
    names
}

/// Created, read, found, refused to others, renamed and removed like any other.
async fn a_name_that_would_break_a_key_is_a_name(t: &Tenant) {
    for name in odd_names() {
        let created = t.user(&name).await;
        assert_eq!(t.get(&created.place()).await.is(200).text("/userName"), name);
        let found = find(t, "userName", &name).await;
        assert_eq!(found.listed("/id"), [created.id()], "{name:?}");
        t.post("/Users", user(&name)).await.refused(409, "uniqueness", &[created.id()]);
        let rename = |to: &str| patch_op(json!([{ "op": "replace", "path": "userName", "value": to }]));
        t.patch(&created.place(), rename("bjensen")).await.is(200);
        assert_eq!(find(t, "userName", &name).await.total(), 0, "{name:?}");
        assert_eq!(t.patch(&created.place(), rename(&name)).await.is(200).text("/userName"), name);
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
            assert_eq!(find(t, attribute, &value).await.listed("/id"), [created.id()], "{attribute} {value:?}");
        }
        let path = format!("emails[value eq {}].type", json!(value));
        let operations = json!([{ "op": "replace", "path": path, "value": "home" }]);
        let patched = t.patch(&created.place(), patch_op(operations)).await.is(200);
        assert_eq!(patched.text("/emails/0/type"), "home", "{value:?}");
    }
}

async fn nothing_in_a_value_is_a_pattern_or_a_command(t: &Tenant) {
    t.user("bjensen").await;
    for value in ["*", "%", "_", "bj*", "bj%", "b_ensen", ".*", "' or '1'='1", "\" or userName pr", "'; DROP TABLE rows; --"] {
        for operator in ["eq", "co", "sw", "ew"] {
            let found = t.get(&query(&format!("userName {operator} {}", json!(value)))).await.is(200);
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
        ("ren\u{e9}", "rene\u{301}"),
        ("\u{c5}ngstr\u{f6}m", "A\u{30a}NGSTRO\u{308}M"),
        ("fullwidth", "\u{ff26}\u{ff35}\u{ff2c}\u{ff2c}\u{ff37}\u{ff29}\u{ff24}\u{ff34}\u{ff28}"),
        ("\u{fb01}ona", "FIONA"),
        ("\u{3c3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c2}", "\u{3a3}\u{38a}\u{3a3}\u{3a5}\u{3a6}\u{39f}\u{3a3}"),
        ("kelvin", "\u{212a}elvin"),
    ] {
        let created = t.user(name).await;
        t.post("/Users", user(same)).await.refused(409, "uniqueness", &["userName", created.id()]);
        assert_eq!(find(t, "userName", same).await.listed("/userName"), [name]);
        // Its own holder may change the spelling.
        let operations = json!([{ "op": "replace", "path": "userName", "value": same }]);
        assert_eq!(t.patch(&created.place(), patch_op(operations)).await.is(200).text("/userName"), same);
        assert_eq!(find(t, "userName", name).await.listed("/userName"), [same]);
    }
    assert_eq!(t.users().await, 9);
}

async fn a_name_that_only_looks_alike_is_free(t: &Tenant) {
    let names = ["i", "\u{131}", "e", "\u{e9}", "o", "\u{f8}", "a", "\u{430}", "l", "1", "rn", "m", "\u{130}x", "ix"];
    for name in names {
        t.user(name).await;
    }
    for name in names {
        assert_eq!(find(t, "userName", name).await.listed("/userName"), [name]);
    }
}
