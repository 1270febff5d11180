//! Sorted lists (RFC 7644 §3.4.2.3).

use serde_json::{Value, json};

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, Tenant, encoded, user_with},
};

cases![
    values_come_in_the_order_of_their_type,
    missing_values_come_last_or_first,
    of_several_values_the_primary_counts,
    pages_of_a_sorted_list_fit_together,
    an_order_without_attribute_means_nothing,
    what_cannot_be_sorted_by_is_refused_by_name,
    what_is_sorted_by_need_not_be_shown,
];

async fn three(t: &Tenant) {
    for (name, attributes) in [
        (
            "bob@example.com",
            json!({ "externalId": "B", "active": true, "title": "guide", "name": { "familyName": "Straße" },
                    "emails": [{ "value": "z@example.com" }, { "value": "m@example.com", "primary": true }],
                    ENTERPRISE_URN: { "department": "Tours", "manager": { "value": "m2" } } }),
        ),
        (
            "ADA@example.com",
            json!({ "externalId": "a", "active": false, "title": "Boss", "name": { "familyName": "STRASSA" },
                    "emails": [{ "value": "N@example.com" }, { "value": "a@example.com" }],
                    ENTERPRISE_URN: { "department": "Accounts", "manager": { "value": "m1" } } }),
        ),
        ("cid@example.com", json!({ "externalId": "C", "active": false })),
    ] {
        t.post("/Users", user_with(name, attributes)).await.is(201);
    }
}

async fn sorted(t: &Tenant, by: &str, order: &str) -> Vec<String> {
    let list = t
        .get(&format!("/Users?sortBy={}&sortOrder={order}", encoded(by)))
        .await
        .is(200);
    let names = list.listed("/userName");
    names.iter().map(|name| name[..3].to_lowercase()).collect()
}

/// R-SORT-01: `caseExact` is honoured, as are types; ascending is the default.
async fn values_come_in_the_order_of_their_type(t: &Tenant) {
    three(t).await;
    for (by, expected) in [
        ("userName", ["ada", "bob", "cid"]),
        ("USERNAME", ["ada", "bob", "cid"]),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User:userName",
            ["ada", "bob", "cid"],
        ),
        ("externalId", ["bob", "cid", "ada"]),
        ("title", ["ada", "bob", "cid"]),
        ("name.familyName", ["ada", "bob", "cid"]),
        (&format!("{ENTERPRISE_URN}:department"), ["ada", "bob", "cid"]),
        (&format!("{ENTERPRISE_URN}:manager"), ["ada", "bob", "cid"]),
        (&format!("{ENTERPRISE_URN}:manager.value"), ["ada", "bob", "cid"]),
        ("manager.value", ["ada", "bob", "cid"]),
        ("meta.created", ["bob", "ada", "cid"]),
        ("meta.resourceType", ["bob", "ada", "cid"]),
    ] {
        for order in ["", "ascending", "Ascending"] {
            assert_eq!(sorted(t, by, order).await, expected, "{by} {order}");
        }
    }
    assert_eq!(sorted(t, "userName", "descending").await, ["cid", "bob", "ada"]);
    assert_eq!(sorted(t, "active", "ascending").await, ["ada", "cid", "bob"]);
    assert_eq!(
        sorted(t, "active", "DESCENDING").await,
        ["bob", "ada", "cid"],
        "ties stay in their order"
    );
}

/// R-SORT-01.
async fn missing_values_come_last_or_first(t: &Tenant) {
    three(t).await;
    for by in ["title", "name.familyName", "emails", "manager"] {
        assert_eq!(sorted(t, by, "ascending").await[2], "cid", "{by}");
        assert_eq!(sorted(t, by, "descending").await[0], "cid", "{by}");
    }
}

/// R-SORT-01: of one's e-mail addresses the primary one, of another's the first.
async fn of_several_values_the_primary_counts(t: &Tenant) {
    three(t).await;
    for by in ["emails", "emails.value", "Emails.Value"] {
        assert_eq!(sorted(t, by, "ascending").await, ["bob", "ada", "cid"], "{by}");
    }
}

/// R-SORT-01, R-PAGE-01.
async fn pages_of_a_sorted_list_fit_together(t: &Tenant) {
    let names: Vec<String> = (0..17)
        .map(|number| format!("user{:02}@example.com", number * 7 % 17))
        .collect();
    for name in &names {
        t.post("/Users", user_with(name, json!({ "title": name[..5].to_owned() })))
            .await
            .is(201);
    }
    let mut expected = names.clone();
    expected.sort();
    for filter in ["", "&filter=userName+sw+%22user%22"] {
        let mut seen = Vec::new();
        for start in [1, 6, 11, 16, 21] {
            let query = format!("sortBy=userName&startIndex={start}&count=5{filter}");
            let page = t.get(&format!("/Users?{query}")).await.is(200);
            assert_eq!((page.total(), &page.body["startIndex"]), (17, &json!(start)));
            seen.extend(page.listed("/userName"));
        }
        assert_eq!(seen, expected, "{filter}");
    }
    // Ten of them share a title: each is on one page all the same.
    let mut seen = Vec::new();
    for start in [1, 5, 9, 13, 17] {
        let page = t
            .get(&format!("/Users?sortBy=title&startIndex={start}&count=4"))
            .await
            .is(200);
        seen.extend(page.listed("/userName"));
    }
    seen.sort();
    assert_eq!(seen, expected);
}

async fn an_order_without_attribute_means_nothing(t: &Tenant) {
    three(t).await;
    let plain = t.get("/Users").await.is(200).listed("/id");
    for query in ["sortOrder=descending", "sortBy=&sortOrder=descending", "sortBy=%20"] {
        assert_eq!(
            t.get(&format!("/Users?{query}")).await.is(200).listed("/id"),
            plain,
            "{query}"
        );
    }
}

/// R-SORT-01.
async fn what_cannot_be_sorted_by_is_refused_by_name(t: &Tenant) {
    for (query, scim_type, words) in [
        ("sortBy=shoeSize", "invalidPath", ["sortBy", "shoeSize"]),
        ("sortBy=name.nick", "invalidPath", ["sortBy", "name.nick"]),
        ("sortBy=userName,title", "invalidPath", ["sortBy", "userName,title"]),
        (
            "sortBy=emails%5Btype+eq+%22work%22%5D.value",
            "invalidPath",
            ["sortBy", "emails"],
        ),
        ("sortBy=name", "invalidPath", ["name", "formatted"]),
        ("sortBy=addresses", "invalidPath", ["addresses", "such as"]),
        ("sortBy=password", "invalidPath", ["sortBy", "password"]),
        (
            "sortBy=userName&sortOrder=up",
            "invalidValue",
            ["ascending", "descending"],
        ),
        ("sortOrder=up", "invalidValue", ["ascending", "descending"]),
    ] {
        t.get(&format!("/Users?{query}")).await.refused(400, scim_type, &words);
    }
}

async fn what_is_sorted_by_need_not_be_shown(t: &Tenant) {
    three(t).await;
    let list = t.get("/Users?sortBy=title&attributes=active").await.is(200);
    let shown: Vec<&Value> = list.body["Resources"].as_array().expect("a list").iter().collect();
    assert_eq!(
        shown.iter().map(|user| &user["active"]).collect::<Vec<_>>(),
        [false, true, false]
    );
    assert!(shown.iter().all(|user| user.get("title").is_none()));
}
