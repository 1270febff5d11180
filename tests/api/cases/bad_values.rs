//! Values that are refused, each by its attribute's name.

use serde_json::{Value, json};

use crate::{
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
    too_much_is_refused_with_the_limit,
    what_is_ignored_cannot_break_a_header,
    a_number_for_a_string_keeps_its_digits,
];

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

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
        (
            "name",
            json!([{ "givenName": "Barbara" }, { "givenName": "Babs" }]),
            "name",
        ),
        ("name", json!({ "givenName": { "value": "Barbara" } }), "name.givenName"),
        (
            "name",
            json!({ "familyName": ["Jensen", "Jensen II"] }),
            "name.familyName",
        ),
        ("profileUrl", json!(1), "profileUrl"),
        ("profileUrl", json!({ "value": "https://example.com" }), "profileUrl"),
        ("emails", json!(1), "emails"),
        ("emails", json!([true]), "emails"),
        ("emails", json!([["bjensen@example.com"]]), "emails"),
        (
            "emails",
            json!([{ "value": { "value": "bjensen@example.com" } }]),
            "emails.value",
        ),
        (
            "emails",
            json!([{ "value": "bjensen@example.com", "primary": "perhaps" }]),
            "emails.primary",
        ),
        (
            "emails",
            json!([{ "value": "bjensen@example.com", "primary": 1 }]),
            "emails.primary",
        ),
        (
            "emails",
            json!([{ "value": "bjensen@example.com", "type": ["work", "home"] }]),
            "emails.type",
        ),
        ("photos", json!([{ "value": 1 }]), "photos.value"),
        ("x509Certificates", json!([{ "value": 1 }]), "x509Certificates.value"),
        ("addresses", json!(["100 Universal City Plaza"]), "addresses"),
        (ENTERPRISE, json!("Sales"), ENTERPRISE),
        (ENTERPRISE, json!([{ "department": "Sales" }]), ENTERPRISE),
        (ENTERPRISE, json!({ "department": { "value": "Sales" } }), "department"),
        (ENTERPRISE, json!({ "manager": 1 }), "manager"),
        (
            ENTERPRISE,
            json!({ "manager": { "value": {"value": "26118915"} } }),
            "manager.value",
        ),
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
    let bodies = [
        missing,
        user(""),
        user(" "),
        user("\u{a0}\u{3000}"),
        unassigned(json!(null)),
        unassigned(json!([])),
    ];
    for body in &bodies {
        refuses(t, body.to_string(), (400, "invalidValue"), &["userName is required"]).await;
    }
    let created = t.user("bjensen").await;
    for body in bodies {
        t.put(&created.place(), body)
            .await
            .refused(400, "invalidValue", &["userName is required"]);
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
    for c in [
        '\0', '\u{1}', '\u{8}', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}',
    ] {
        for name in [format!("bjensen{c}"), format!("{c}bjensen"), format!("b{c}jensen")] {
            refuses(
                t,
                user(&name).to_string(),
                (400, "invalidValue"),
                &["userName", "control character"],
            )
            .await;
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
        refuses(
            t,
            body.to_string(),
            (400, "invalidValue"),
            &[named, "control character"],
        )
        .await;
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
    for name in [
        "a".repeat(limit + 1),
        format!("a{}", "\u{e9}".repeat(limit / 2)),
        "\u{1f600}".repeat(limit / 4 + 1),
    ] {
        refuses(
            t,
            user(&name).to_string(),
            (400, "invalidValue"),
            &["userName", "32768 bytes"],
        )
        .await;
    }
    for name in ["a".repeat(limit), "\u{e9}".repeat(limit / 2)] {
        let created = t.user(&name).await;
        assert_eq!(t.get(&created.place()).await.is(200).text("/userName"), name);
        t.post("/Users", user(&name.to_uppercase()))
            .await
            .refused(409, "uniqueness", &[created.id()]);
        t.delete(&created.place()).await.is(204);
    }
    t.user(&"a".repeat(limit)).await;
}

/// Up to the limit it is kept, whatever the store's rows can hold.
async fn too_much_is_refused_with_the_limit(t: &Tenant) {
    let many = |count: usize, length: usize| -> Vec<Value> {
        let value = |number: usize| json!({ "value": format!("{number:0length$}@example.com") });
        (0..count).map(value).collect()
    };
    for (attribute, values, refusal, words) in [
        ("emails", many(41, 1), (400, "invalidValue"), ["emails", "40 values"]),
        ("roles", many(1_001, 1), (400, "invalidValue"), ["roles", "1000 values"]),
        ("photos", many(1_000, 600), (413, ""), ["larger than", "512000 bytes"]),
    ] {
        let mut body = user("bjensen");
        body[attribute] = json!(values);
        refuses(t, body.to_string(), refusal, &words).await;
    }
    let mut body = user("bjensen");
    (body["emails"], body["roles"], body["photos"]) =
        (json!(many(40, 1)), json!(many(1_000, 1)), json!(many(900, 400)));
    let created = t.post("/Users", body.clone()).await.is(201);
    let found = t.get(&created.place()).await.is(200);
    for attribute in ["emails", "roles", "photos"] {
        assert_eq!(found.body[attribute], body[attribute], "{attribute}");
    }
    let operations = json!([{ "op": "add", "path": "emails", "value": [{ "value": "one-more@example.com" }] }]);
    t.patch(&created.place(), patch_op(operations))
        .await
        .refused(400, "invalidValue", &["emails", "40 values"]);
    assert_eq!(t.get(&created.place()).await.body, created.body);
}

/// The names of unknown attributes come back in a header, and what comes back may be anything (RFC 9110 §5.5).
async fn what_is_ignored_cannot_break_a_header(t: &Tenant) {
    let mut odd = user("bjensen");
    for name in [
        "a\r\nSet-Cookie: a=b",
        "\u{e9}\u{202e}",
        "a\0b",
        "",
        "\"",
        "bjensen@example.com",
        &"x".repeat(100_000),
    ] {
        odd[name] = json!(1);
    }
    let created = t.post("/Users", odd).await.is(201);
    let normalized = created.header("scimgate-normalized").unwrap_or_default();
    assert!(
        normalized.contains("unknown-attribute") && normalized.len() < 2_000,
        "{normalized}"
    );
    assert!(!normalized.contains("bjensen"), "{normalized}");
    assert_eq!(created.header("set-cookie"), None, "{created}");
    let mut many = user("other");
    for number in 0..20_000 {
        many[format!("unknown{number}")] = json!(number);
    }
    let created = t.post("/Users", many).await.is(201);
    let normalized = created.header("scimgate-normalized").unwrap_or_default();
    assert!(normalized.contains("more") && normalized.len() < 2_000, "{normalized}");
    assert_eq!(
        t.get(&created.place()).await.is(200).header("scimgate-normalized"),
        None
    );
}

/// An employee's number is a name made of digits: kept as it stands or refused, never rounded.
async fn a_number_for_a_string_keeps_its_digits(t: &Tenant) {
    for (count, number) in [
        "701984",
        "0",
        "-1",
        "18446744073709551615",
        "-9223372036854775808",
        "18446744073709551616",
        "123456789012345678901234567890",
        "0.1",
        "1.10",
        "1e3",
        "1.7976931348623157e308",
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
