//! Versions and preconditions (RFC 7644 §3.14, RFC 9110 §13.1).

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    answer::Answer,
    case::cases,
    tenant::{SCIM_JSON, Tenant, patch_op, user_with},
};

cases![
    every_answer_has_the_version,
    every_change_has_a_version_of_its_own,
    lists_have_the_versions_too,
    a_known_version_is_not_sent_again,
    a_changed_version_is_sent_again,
    a_known_version_of_what_is_gone_is_not_found,
    a_condition_that_holds_lets_a_change_through,
    a_condition_that_fails_stops_every_change,
    a_failed_condition_stops_what_changes_nothing_too,
    a_condition_on_what_is_not_there_is_404,
    conditions_mean_nothing_to_create_and_list,
];

async fn change(t: &Tenant, method: &str, place: &str, if_match: &str, title: &str) -> Answer {
    let body = match method {
        "PATCH" => patch_op(json!([{ "op": "replace", "path": "title", "value": title }])).to_string(),
        "PUT" => user_with("bjensen@example.com", json!({ "title": title })).to_string(),
        _ => String::new(),
    };
    let headers = [("Content-Type", SCIM_JSON), ("If-Match", if_match)];
    let headers = if body.is_empty() { &headers[1..] } else { &headers };
    t.raw(method, place, headers, body).await
}

/// The tag without `W/` and quotation marks.
fn bare(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// Ways to write a condition that a version meets.
fn spellings(etag: &str) -> Vec<String> {
    let bare = bare(etag);
    vec![
        etag.to_owned(),
        "*".to_owned(),
        format!("\"{bare}\""),
        bare.clone(),
        format!("W/\"1\", {etag}"),
        format!("\"1\",\"{bare}\",\"2\""),
        format!("  {etag}  "),
        format!("{bare}, 1"),
    ]
}

/// Ways to write a condition that no version meets.
fn misses(etag: &str) -> Vec<String> {
    let bare = bare(etag);
    vec![
        "W/\"1\"".to_owned(),
        "\"1\", \"2\"".to_owned(),
        "1".to_owned(),
        "\"\"".to_owned(),
        format!("W/\"{}\"", &bare[1..]),
        format!("\"{bare}0\""),
        format!("W/\"{}\"", bare.to_uppercase()),
        // Not the asterisk, but the tag that is spelled so (RFC 9110 §13.1.1).
        "\"*\"".to_owned(),
        "W/\"*\"".to_owned(),
    ]
}

/// R-ETAG-01.
async fn every_answer_has_the_version(t: &Tenant) {
    let created = t.user("bjensen@example.com").await;
    let place = created.place();
    assert_eq!(created.text("/meta/version"), created.etag());
    for answer in [t.get(&place).await, t.raw("HEAD", &place, &[], "").await] {
        assert_eq!(answer.is(200).etag(), created.etag());
    }
    for method in ["PATCH", "PUT"] {
        let changed = change(t, method, &place, "*", method).await.is(200);
        assert_eq!(changed.text("/meta/version"), changed.etag());
        assert_eq!(t.get(&place).await.is(200).etag(), changed.etag());
    }
}

/// A version never comes back, not even with the same content.
async fn every_change_has_a_version_of_its_own(t: &Tenant) {
    let (one, other) = (t.user("bjensen@example.com").await, t.user("jsmith@example.com").await);
    let mut versions = BTreeSet::from([one.etag(), other.etag()]);
    for method in ["PATCH", "PUT", "PATCH", "PUT"] {
        for title in ["Guide", "Tour Guide"] {
            versions.insert(change(t, method, &one.place(), "*", title).await.is(200).etag());
        }
    }
    assert_eq!(versions.len(), 2 + 8);
    assert_eq!(t.get(&other.place()).await.is(200).etag(), other.etag());
}

async fn lists_have_the_versions_too(t: &Tenant) {
    let users = [t.user("bjensen@example.com").await, t.user("jsmith@example.com").await];
    change(t, "PATCH", &users[0].place(), "*", "Guide").await.is(200);
    let list = t.get("/Users").await.is(200);
    for user in &users {
        let at = list.listed("/id").iter().position(|id| id == user.id());
        let version = at.map(|at| list.listed("/meta/version")[at].clone());
        assert_eq!(version, Some(t.get(&user.place()).await.is(200).etag()));
    }
}

/// R-ETAG-01; RFC 9110 §13.1.2, §15.4.5: 304 without a body, with the version.
async fn a_known_version_is_not_sent_again(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    for condition in spellings(&user.etag()) {
        for (method, query) in [("GET", ""), ("HEAD", ""), ("GET", "?attributes=userName")] {
            let path = format!("{}{query}", user.place());
            let answer = t.raw(method, &path, &[("If-None-Match", &condition)], "").await;
            assert_eq!(answer.status, 304, "{condition}: {answer}");
            assert_eq!(answer.etag(), user.etag(), "{condition}");
            assert!(answer.bytes.is_empty(), "{condition}: {answer}");
        }
    }
}

async fn a_changed_version_is_sent_again(t: &Tenant) {
    let old = t.user("bjensen@example.com").await;
    let new = change(t, "PATCH", &old.place(), "*", "Guide").await.is(200);
    for condition in std::iter::once(old.etag()).chain(misses(&new.etag())) {
        let answer = t.raw("GET", &old.place(), &[("If-None-Match", &condition)], "").await;
        assert_eq!(answer.status, 200, "{condition}: {answer}");
        assert_eq!(answer.body, new.body, "{condition}");
    }
    t.raw("GET", &old.place(), &[("If-None-Match", &new.etag())], "")
        .await
        .is(304);
}

async fn a_known_version_of_what_is_gone_is_not_found(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    t.delete(&user.place()).await.is(204);
    for condition in [user.etag().as_str(), "*"] {
        t.raw("GET", &user.place(), &[("If-None-Match", condition)], "")
            .await
            .is(404);
    }
}

/// R-ETAG-01; RFC 7644 §3.14; compared weakly, since all versions are weak.
async fn a_condition_that_holds_lets_a_change_through(t: &Tenant) {
    let mut user = t.user("bjensen@example.com").await;
    let number = spellings(&user.etag()).len();
    for way in 0..number {
        for method in ["PATCH", "PUT"] {
            let condition = spellings(&user.etag()).swap_remove(way);
            let title = format!("{method} {way}");
            let changed = change(t, method, &user.place(), &condition, &title).await;
            assert_eq!(changed.status, 200, "{condition}: {changed}");
            assert_eq!(changed.text("/title"), title);
            user = changed;
        }
    }
    for way in 0..number {
        let user = t.user(&format!("{way}@example.com")).await;
        let condition = spellings(&user.etag()).swap_remove(way);
        change(t, "DELETE", &user.place(), &condition, "").await.is(204);
    }
}

/// R-ETAG-01; RFC 7644 §3.14, §3.12: 412.
async fn a_condition_that_fails_stops_every_change(t: &Tenant) {
    let old = t.user("bjensen@example.com").await;
    let user = change(t, "PATCH", &old.place(), &old.etag(), "Guide").await.is(200);
    for condition in std::iter::once(old.etag()).chain(misses(&user.etag())) {
        for method in ["PATCH", "PUT", "DELETE"] {
            let answer = change(t, method, &user.place(), &condition, "Tour Guide").await;
            assert_eq!(answer.status, 412, "{method} {condition}: {answer}");
            answer.refused(412, "", &["If-Match"]);
        }
    }
    assert_eq!(t.get(&user.place()).await.is(200).body, user.body);
}

async fn a_failed_condition_stops_what_changes_nothing_too(t: &Tenant) {
    let old = t.user("bjensen@example.com").await;
    let user = change(t, "PATCH", &old.place(), &old.etag(), "Guide").await.is(200);
    for method in ["PATCH", "PUT"] {
        change(t, method, &user.place(), &old.etag(), "Guide").await.is(412);
        let same = change(t, method, &user.place(), &user.etag(), "Guide").await.is(200);
        assert_eq!((same.etag(), same.body), (user.etag(), user.body.clone()));
    }
}

/// RFC 7644 §3.12: Entra has to learn that its cached id is gone.
async fn a_condition_on_what_is_not_there_is_404(t: &Tenant) {
    for method in ["PATCH", "PUT", "DELETE"] {
        for condition in ["W/\"1\"", "*"] {
            change(t, method, "/Users/2819c223", condition, "Guide")
                .await
                .refused(404, "", &["User"]);
        }
    }
}

/// RFC 7644 §3.14 has conditions on resources only.
async fn conditions_mean_nothing_to_create_and_list(t: &Tenant) {
    let headers = [("Content-Type", SCIM_JSON), ("If-Match", "W/\"1\"")];
    let sent = user_with("bjensen@example.com", json!({})).to_string();
    let user = t.raw("POST", "/Users", &headers, sent).await.is(201);
    for condition in ["*", user.etag().as_str()] {
        let list = t
            .raw("GET", "/Users", &[("If-None-Match", condition)], "")
            .await
            .is(200);
        assert_eq!(list.total(), 1);
    }
}
