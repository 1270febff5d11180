//! Filters and paths that are refused, and where (RFC 7644 §3.4.2.2, §3.5.2).

use serde_json::json;

use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, patch_op, user},
    world::Way,
};

cases![
    a_filter_that_cannot_be_read_is_refused_where_it_breaks,
    a_filter_that_makes_no_sense_is_refused_by_the_attributes_name,
    control_characters_in_a_filter_are_no_way_around_anything,
    a_path_that_cannot_be_read_is_refused,
    depth_and_length_have_limits,
    a_filter_ten_thousand_deep_is_refused.only(Way::Direct, "Kestrel refuses request lines of more than 8 KiB"),
    a_filter_with_too_much_to_look_at_is_refused,
    a_parameter_that_is_no_number_is_refused,
    what_is_no_parameter_is_ignored,
];

async fn filter(t: &Tenant, filter: &str) -> Answer {
    let value: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    t.get(&format!("/Users?filter={value}")).await
}

/// Pain 10: a position is what makes a value with a quotation mark findable.
async fn a_filter_that_cannot_be_read_is_refused_where_it_breaks(t: &Tenant) {
    t.user("bjensen").await;
    for (text, words) in [
        ("userName", ["character 9", "an operator"]),
        ("userName eq", ["character 12", "a value"]),
        ("userName eq )", ["character 13", "a value"]),
        ("userName is \"bjensen\"", ["character 10", "no operator"]),
        ("userName = \"bjensen\"", ["character 10", "no operator"]),
        ("userName eq \"bjensen", ["character 13", "closing quotation mark"]),
        ("userName eq \"bjen\"sen\"", ["character 19", "and, or, or the end"]),
        ("userName eq \"bjensen\\\"", ["character 13", "closing quotation mark"]),
        ("userName eq \"b\\jensen\"", ["character 13", "escape"]),
        ("userName eq \"a\" trailing", ["character 17", "and, or, or the end"]),
        ("userName eq \"a\")", ["character 16", "and, or, or the end"]),
        ("userName eq \"a\" title pr", ["character 17", "and, or, or the end"]),
        ("(userName eq \"a\"", ["character 17", "closing parenthesis"]),
        ("not userName eq \"a\"", ["character 5", "opening parenthesis"]),
        ("emails[type eq \"work\"", ["character 22", "closing bracket"]),
        ("userName eq \"a\" and", ["character 20", "an attribute name"]),
        ("\"bjensen\" eq userName", ["character 1", "an attribute name"]),
        ("()", ["character 2", "an attribute name"]),
        ("userName.. eq \"a\"", ["character 1", "an attribute name"]),
        // In characters, not in bytes.
        (
            "displayName eq \"\u{1f600}\" x",
            ["character 20", "and, or, or the end"],
        ),
    ] {
        filter(t, text).await.refused(400, "invalidFilter", &words);
    }
}

/// R-FILTER-02, R-FILTER-07.
async fn a_filter_that_makes_no_sense_is_refused_by_the_attributes_name(t: &Tenant) {
    t.user("bjensen").await;
    for (text, word) in [
        ("nonsense eq \"a\"", "nonsense"),
        ("name.nonsense eq \"a\"", "name.nonsense"),
        ("userName.value eq \"a\"", "userName.value"),
        (
            "urn:ietf:params:scim:schemas:core:2.0:Group:displayName eq \"a\"",
            "displayName",
        ),
        ("emails[nonsense eq \"a\"]", "nonsense"),
        ("active gt true", "active"),
        ("active co \"tru\"", "active"),
        ("active eq \"perhaps\"", "active"),
        ("name eq \"Barbara\"", "name"),
        ("meta.created gt \"yesterday\"", "meta.created"),
        ("userName gt null", "userName"),
        ("x509Certificates.value gt \"a\"", "x509Certificates"),
    ] {
        filter(t, text).await.refused(400, "invalidFilter", &[word]);
    }
}

async fn control_characters_in_a_filter_are_no_way_around_anything(t: &Tenant) {
    t.user("bjensen").await;
    for text in [
        "userName eq \"bjensen\0\"",
        "userName eq \"bjen\nsen\"",
        "userName eq \"a\tb\"",
        "userName\0 eq \"bjensen\"",
        "userName eq \"bjensen\"\0",
        "userName eq \"\\ud83d\"",
    ] {
        filter(t, text).await.refused(400, "invalidFilter", &[]);
    }
    for text in [
        "userName eq \"bjensen\\u0000\"",
        "userName eq \"\\u0000bjensen\"",
        "userName co \"\\u0000\"",
    ] {
        assert_eq!(filter(t, text).await.is(200).total(), 0, "{text}");
    }
    // Not UTF-8, and not percent-encoding.
    for raw in [
        "userName%20eq%20%22bjensen%ff%22",
        "userName%20eq%20%22%c0%22",
        "userName%20eq%20%22bjensen%zz%22",
    ] {
        assert_eq!(t.get(&format!("/Users?filter={raw}")).await.is(200).total(), 0, "{raw}");
    }
    let spaced = filter(t, " \u{a0}userName   eq\t\"BJENSEN\"  ").await;
    assert!(matches!(spaced.status, 200 | 400), "{spaced}");
}

async fn a_path_that_cannot_be_read_is_refused(t: &Tenant) {
    let created = t.user("bjensen").await;
    for (path, scim_type) in [
        ("name..givenName", "invalidPath"),
        (".name", "invalidPath"),
        ("name.", "invalidPath"),
        ("name givenName", "invalidPath"),
        ("/name/givenName", "invalidPath"),
        ("$.name", "invalidPath"),
        ("emails[type eq \"work\"]value", "invalidPath"),
        ("userName[type eq \"work\"]", "invalidFilter"),
        ("emails[0].value", "invalidFilter"),
        ("emails[]", "invalidFilter"),
        ("emails[type eq \"work\"", "invalidFilter"),
        ("emails[type eq \"work].value", "invalidFilter"),
        ("emails[nonsense eq \"work\"].value", "invalidFilter"),
        ("emails[type is \"work\"].value", "invalidFilter"),
    ] {
        let operations = json!([{ "op": "replace", "path": path, "value": "a" }]);
        let answer = t.patch(&created.place(), patch_op(operations)).await;
        assert_eq!(
            (answer.status, answer.text("/scimType")),
            (400, scim_type),
            "{path}: {answer}"
        );
    }
    assert_eq!(t.get(&created.place()).await.body, created.body);
}

/// A reader that recurses would end the process here; the body has room for what no URL has.
async fn depth_and_length_have_limits(t: &Tenant) {
    t.user("bjensen").await;
    let nested = |depth: usize| format!("{}userName pr{}", "(".repeat(depth), ")".repeat(depth));
    filter(t, &nested(50)).await.is(200);
    filter(t, &nested(51))
        .await
        .refused(400, "invalidFilter", &["50 levels"]);
    filter(t, &"(".repeat(2_000))
        .await
        .refused(400, "invalidFilter", &["50 levels"]);
    filter(t, &"not (".repeat(1_000))
        .await
        .refused(400, "invalidFilter", &["50 levels"]);
    let wide = vec!["userName eq \"a\""; 300].join(" or ");
    assert_eq!(filter(t, &wide).await.is(200).total(), 0);
    let created = t.user("other").await;
    for (path, scim_type, words) in [
        (format!("emails[{}", "(".repeat(9_990)), "invalidFilter", "50 levels"),
        (format!("emails[{}", "emails[".repeat(1_000)), "invalidFilter", ""),
        (format!("emails[{}", "(".repeat(10_000)), "invalidPath", "10000 bytes"),
        ("a".repeat(500_000), "invalidPath", "10000 bytes"),
    ] {
        let operations = json!([{ "op": "remove", "path": path }]);
        t.patch(&created.place(), patch_op(operations))
            .await
            .refused(400, scim_type, &[words]);
    }
    assert_eq!(t.get(&created.place()).await.body, created.body);
}

async fn a_filter_ten_thousand_deep_is_refused(t: &Tenant) {
    t.user("bjensen").await;
    let path = |filter: &str| format!("/Users?filter={filter}");
    t.get(&path(&"(".repeat(10_000)))
        .await
        .refused(400, "invalidFilter", &["50 levels"]);
    t.get(&path(&"(".repeat(10_001)))
        .await
        .refused(400, "invalidFilter", &["10000 bytes"]);
    t.get(&path(&"not(".repeat(10_000)))
        .await
        .refused(400, "invalidFilter", &["10000 bytes"]);
    assert_eq!(t.users().await, 1);
}

/// R-FILTER-09, design §7: a filter keeps no other tenant waiting. A large user may be looked at a few times, not four
/// hundred times.
async fn a_filter_with_too_much_to_look_at_is_refused(t: &Tenant) {
    let photo = |number: usize| json!({ "value": format!("https://example.com/{number:01000}") });
    let mut large = user("bjensen");
    large["photos"] = (0..450).map(photo).collect();
    t.post("/Users", large).await.is(201);
    let conditions = |count: usize| vec!["title pr"; count].join(" or ");
    assert_eq!(filter(t, &conditions(20)).await.is(200).total(), 0);
    filter(t, &conditions(400))
        .await
        .refused(400, "tooMany", &["fewer conditions"]);
    assert_eq!(filter(t, "userName eq \"bjensen\"").await.is(200).total(), 1);
}

/// R-PAGE-01; RFC 7644 §3.4.2.4.
async fn a_parameter_that_is_no_number_is_refused(t: &Tenant) {
    for name in ["count", "startIndex"] {
        for value in [
            "a", "1.5", "1e3", "", "%20", "--1", "0x10", "1%002", "%D9%A1", "NaN", "1,000",
        ] {
            t.get(&format!("/Users?{name}={value}"))
                .await
                .refused(400, "invalidValue", &[name, "whole number"]);
        }
        for value in [
            "-1",
            "0",
            "99999999999999999999",
            "%2B1",
            "-99999999999999999999",
            "007",
        ] {
            t.get(&format!("/Users?{name}={value}")).await.is(200);
        }
    }
}

/// R-GEN-12; `code` and `clientId` are the Functions host's own.
async fn what_is_no_parameter_is_ignored(t: &Tenant) {
    t.user("bjensen").await;
    for query in [
        "?",
        "?&&&",
        "?=",
        "?a",
        "?aadOptscim062020",
        "?code=x&clientId=y",
        "?%00=%00",
        "?filter=",
        "?filter=%20",
        "?$filter=x",
    ] {
        assert_eq!(t.get(&format!("/Users{query}")).await.is(200).total(), 1, "{query}");
    }
}
