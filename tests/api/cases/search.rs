//! Queries by POST, and at the root (RFC 7644 §3.4.2.1, §3.4.3).

use serde_json::{Value, json};

use crate::{
    case::cases,
    tenant::{SCIM_JSON, Tenant, USER_URN, bjensen, encoded, user, user_with},
};

cases![
    a_message_asks_what_a_url_asks,
    every_resource_type_can_be_searched,
    what_stands_in_the_url_means_nothing,
    names_are_an_array_or_a_text,
    the_root_searches_all_types,
    the_root_is_asked_by_url_too,
    what_no_type_has_is_refused_at_the_root,
    a_message_that_cannot_be_read_is_refused,
    a_search_is_posted,
    a_search_needs_the_credential,
];

fn message(members: Value) -> Value {
    let mut message = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"] });
    let (Some(all), Value::Object(members)) = (message.as_object_mut(), members) else {
        panic!("members are an object")
    };
    all.extend(members);
    message
}

async fn some(t: &Tenant) {
    t.post("/Users", bjensen()).await.is(201);
    for name in ["jsmith@example.com", "ada@example.com"] {
        t.post("/Users", user_with(name, json!({ "active": false })))
            .await
            .is(201);
    }
}

/// R-SEARCH-01.
async fn a_message_asks_what_a_url_asks(t: &Tenant) {
    some(t).await;
    for (members, query) in [
        (json!({}), String::new()),
        (
            json!({ "filter": "active eq false" }),
            format!("filter={}", encoded("active eq false")),
        ),
        (
            json!({ "Filter": "title pr", "COUNT": 1 }),
            format!("count=1&filter={}", encoded("title pr")),
        ),
        (
            json!({ "startIndex": 2, "count": 1 }),
            "startIndex=2&count=1".to_owned(),
        ),
        (
            json!({ "startIndex": 0, "count": -1 }),
            "startIndex=0&count=-1".to_owned(),
        ),
        (
            json!({ "sortBy": "userName", "sortOrder": "descending", "attributes": ["userName", "active"] }),
            "sortBy=userName&sortOrder=descending&attributes=userName,active".to_owned(),
        ),
        (
            json!({ "excludedAttributes": ["emails", "meta"] }),
            "excludedAttributes=emails,meta".to_owned(),
        ),
        (
            json!({ "filter": null, "attributes": null, "count": null }),
            String::new(),
        ),
        (json!({ "filter": "", "attributes": [] }), String::new()),
    ] {
        let searched = t.post("/Users/.search", message(members.clone())).await.is(200);
        let listed = t.get(&format!("/Users?{query}")).await.is(200);
        assert_eq!(searched.body, listed.body, "{members}");
        assert_eq!(searched.header("scimgate-normalized"), None, "{members}");
    }
    let notes = t
        .post("/Users/.search", message(json!({ "count": "1", "shoeSize": 43 })))
        .await
        .is(200);
    let expected = "unknown-member shoeSize, number-string count";
    assert_eq!(notes.header("scimgate-normalized").as_deref(), Some(expected));
}

/// R-SEARCH-01: also those that a later version adds.
async fn every_resource_type_can_be_searched(t: &Tenant) {
    some(t).await;
    let types = t.get("/ResourceTypes").await.is(200);
    for endpoint in types.listed("/endpoint") {
        let searched = t
            .post(&format!("{endpoint}/.search"), message(json!({ "count": 2 })))
            .await
            .is(200);
        assert_eq!(
            searched.body,
            t.get(&format!("{endpoint}?count=2")).await.is(200).body,
            "{endpoint}"
        );
    }
    for endpoint in ["/ServiceProviderConfig", "/Printers", "/Me"] {
        t.post(&format!("{endpoint}/.search"), message(json!({})))
            .await
            .refused(404, "", &[]);
    }
}

/// Entra adds its flag to every URL; nothing that is personal need stand in one (RFC 7644 §7.5.2).
async fn what_stands_in_the_url_means_nothing(t: &Tenant) {
    some(t).await;
    let url = format!("/Users/.search?aadOptscim062020&count=0&filter={}", encoded("title pr"));
    let found = t
        .post(&url, message(json!({ "filter": "active eq false" })))
        .await
        .is(200);
    assert_eq!((found.total(), found.listed("/id").len()), (2, 2));
}

/// R-PROJ-01, R-SEARCH-01.
async fn names_are_an_array_or_a_text(t: &Tenant) {
    some(t).await;
    let expected = t.get("/Users?attributes=userName,name.familyName").await.is(200).body;
    for names in [
        json!(["userName", "name.familyName"]),
        json!("userName,name.familyName"),
        json!("USERNAME name.familyname"),
        json!(["userName,name.familyName"]),
    ] {
        let found = t
            .post("/Users/.search", message(json!({ "attributes": names })))
            .await
            .is(200);
        assert_eq!(found.body, expected, "{names}");
    }
    let both = json!({ "attributes": ["userName"], "excludedAttributes": ["meta"] });
    t.post("/Users/.search", message(both))
        .await
        .refused(400, "invalidValue", &["exclude"]);
}

/// R-SEARCH-01, R-FILTER-08.
async fn the_root_searches_all_types(t: &Tenant) {
    some(t).await;
    for (filter, expected) in [
        ("meta.resourceType eq \"User\"", 3),
        ("meta.resourceType eq \"Printer\"", 0),
        ("meta.resourceType ne \"User\"", 0),
        ("userName eq \"JSMITH@example.com\"", 1),
        ("meta.resourceType eq \"User\" and active eq false", 2),
        (&format!("schemas eq \"{USER_URN}\""), 3),
        ("meta.lastModified gt \"2011-05-13T04:42:34Z\"", 3),
        ("externalId eq \"701984\"", 1),
    ] {
        let found = t.post("/.search", message(json!({ "filter": filter }))).await.is(200);
        assert_eq!(found.total(), expected, "{filter}");
        for (id, location) in std::iter::zip(found.listed("/id"), found.listed("/meta/location")) {
            assert_eq!(location, format!("{}/Users/{id}", t.url()));
        }
    }
    let message = message(json!({ "attributes": ["userName"], "sortBy": "userName", "count": 2 }));
    let found = t.post("/v2/.search", message).await.is(200);
    assert_eq!(found.listed("/userName"), ["ada@example.com", "bjensen@example.com"]);
}

/// R-SEARCH-01 (RFC 7644 §3.4.2.1); without a query the same URL is one that a person opened.
async fn the_root_is_asked_by_url_too(t: &Tenant) {
    some(t).await;
    let filter = encoded("meta.resourceType eq \"User\" and title pr");
    for url in [
        format!("?filter={filter}"),
        format!("/?FILTER={filter}"),
        format!("/v2?filter={filter}"),
    ] {
        let found = t.get(&url).await.is(200);
        assert_eq!(found.listed("/userName"), ["bjensen@example.com"], "{url}");
    }
    assert_eq!(t.get("?startIndex=2&count=1").await.is(200).listed("/id").len(), 1);
    t.raw("HEAD", "?count=0", &[], "").await.is(200);
    t.anonymous("GET", &format!("?filter={filter}")).await.is(401);
    t.anonymous("GET", "").await.is(404);
    t.get("?aadOptscim062020")
        .await
        .refused(404, "", &["pasted into the identity provider"]);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        t.raw(method, "?count=1", &[], "{}").await.refused(405, "", &[method]);
    }
}

/// R-FILTER-07, R-SORT-01.
async fn what_no_type_has_is_refused_at_the_root(t: &Tenant) {
    for (members, scim_type, word) in [
        (json!({ "filter": "shoeSize eq 43" }), "invalidFilter", "shoeSize"),
        (json!({ "filter": "userName eq" }), "invalidFilter", "character"),
        (json!({ "sortBy": "shoeSize" }), "invalidPath", "shoeSize"),
    ] {
        t.post("/.search", message(members))
            .await
            .refused(400, scim_type, &[word]);
    }
}

/// R-SEARCH-01.
async fn a_message_that_cannot_be_read_is_refused(t: &Tenant) {
    for (body, word) in [
        (json!({}), "SearchRequest"),
        (json!({ "schemas": [] }), "SearchRequest"),
        (json!({ "schemas": [USER_URN], "filter": "title pr" }), "SearchRequest"),
        (message(json!({ "filter": 5 })), "filter"),
        (message(json!({ "sortBy": ["userName"] })), "sortBy"),
        (message(json!({ "sortOrder": true })), "sortOrder"),
        (message(json!({ "attributes": [1] })), "attributes"),
        (message(json!({ "excludedAttributes": {} })), "excludedAttributes"),
        (message(json!({ "count": 1.5 })), "count"),
        (message(json!({ "startIndex": [1] })), "startIndex"),
        (message(json!({ "cursor": 1 })), "cursor"),
        (json!([]), "object"),
        (json!("filter"), "object"),
    ] {
        for path in ["/Users/.search", "/.search"] {
            t.post(path, body.clone()).await.refused(400, "invalidSyntax", &[word]);
        }
    }
    for (members, scim_type, word) in [
        (json!({ "count": "ten" }), "invalidValue", "count"),
        (json!({ "sortOrder": "up" }), "invalidValue", "sortOrder"),
        (json!({ "cursor": "", "startIndex": 1 }), "invalidValue", "startIndex"),
        (json!({ "cursor": "", "count": 0 }), "invalidCount", "count"),
        (json!({ "cursor": "x" }), "invalidCursor", "cursor"),
        (json!({ "filter": "title" }), "invalidFilter", "operator"),
    ] {
        t.post("/Users/.search", message(members))
            .await
            .refused(400, scim_type, &[word]);
    }
    let text = message(json!({})).to_string();
    t.raw(
        "POST",
        "/Users/.search",
        &[("Content-Type", "text/plain")],
        text.clone(),
    )
    .await
    .refused(415, "", &["Content-Type"]);
    t.raw(
        "POST",
        "/Users/.search",
        &[("Content-Type", SCIM_JSON)],
        &text.as_bytes()[1..],
    )
    .await
    .refused(400, "invalidSyntax", &["JSON"]);
}

/// RFC 7644 §3.4.3; R-GEN-02.
async fn a_search_is_posted(t: &Tenant) {
    let user = t.post("/Users", user("bjensen@example.com")).await.is(201);
    for path in ["/.search", "/Users/.search", "/v2/Users/.search/"] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let refused = t.raw(method, path, &[("Content-Type", SCIM_JSON)], "{}").await;
            assert_eq!(refused.header("allow").as_deref(), Some("OPTIONS, POST"), "{refused}");
            refused.refused(405, "", &[method, "POST"]);
        }
        t.raw("HEAD", path, &[], "").await.is(405);
    }
    t.get(&user.place()).await.is(200);
}

async fn a_search_needs_the_credential(t: &Tenant) {
    let other = t.neighbour().await;
    let wrong = format!("Bearer {}", other.secret);
    for path in ["/.search", "/Users/.search"] {
        t.anonymous("POST", path).await.is(401);
        let body = message(json!({})).to_string();
        t.raw("POST", path, &[("Authorization", &wrong)], body).await.is(401);
    }
}
