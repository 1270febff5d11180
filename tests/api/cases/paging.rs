//! Pages of a list (RFC 7644 §3.4.2.4).

use std::collections::BTreeSet;

use futures::{StreamExt, future::join_all, stream};
use serde_json::json;

use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, encoded, user, user_with},
    world::Way,
};

cases![
    each_user_is_on_one_page,
    pages_have_the_numbers_that_microsofts_validator_expects,
    edge_values_are_read_as_the_rfc_says,
    a_page_without_resources_counts,
    totals_are_exact_after_every_change,
    a_page_has_at_most_what_is_advertised.only(
        Way::Direct,
        "a thousand users take long to make, and the way does not matter"
    ),
];

/// So many users, of whom every third is inactive; all share an e-mail address.
async fn fill(t: &Tenant, users: usize) -> BTreeSet<String> {
    let create = async |number: usize| {
        let attributes = json!({ "active": !number.is_multiple_of(3), "emails": [{ "value": "info@example.com" }] });
        let name = format!("user{number}@example.com");
        let created = t.post("/Users", user_with(&name, attributes)).await.is(201);
        created.id().to_owned()
    };
    join_all((0..users).map(create)).await.into_iter().collect()
}

async fn page(t: &Tenant, filter: &str, start: usize, count: usize) -> Answer {
    let filter = if filter.is_empty() {
        String::new()
    } else {
        format!("&filter={}", encoded(filter))
    };
    t.get(&format!("/Users?startIndex={start}&count={count}{filter}"))
        .await
        .is(200)
}

/// R-PAGE-01: stable order across pages, however the resources are found.
async fn each_user_is_on_one_page(t: &Tenant) {
    let all = fill(t, 25).await;
    for filter in [
        "",
        "userName sw \"user\"",
        "emails eq \"info@example.com\"",
        "emails.value eq \"INFO@example.com\"",
    ] {
        let mut seen = Vec::new();
        for start in [1, 8, 15, 22, 29] {
            let page = page(t, filter, start, 7).await;
            assert_eq!(page.total(), 25, "{filter}");
            assert_eq!(page.body["startIndex"], start, "{filter}");
            seen.extend(page.listed("/id"));
        }
        assert_eq!(seen.len(), 25, "{filter}");
        assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), all, "{filter}");
        let mut whole = page(t, filter, 1, 100).await.listed("/id");
        assert_eq!(whole, seen, "{filter}");
        whole.dedup();
        assert_eq!(whole.len(), 25, "{filter}");
    }
}

/// R-PAGE-01: MS validator: `startIndex` of the answer is page * 5 + 1; at least 11 users.
async fn pages_have_the_numbers_that_microsofts_validator_expects(t: &Tenant) {
    fill(t, 12).await;
    for (start, items) in [(1, 5), (6, 5), (11, 2), (16, 0)] {
        let page = page(t, "", start, 5).await;
        assert_eq!(page.total(), 12);
        assert_eq!(
            (&page.body["startIndex"], &page.body["itemsPerPage"]),
            (&json!(start), &json!(items))
        );
    }
}

/// R-PAGE-01.
async fn edge_values_are_read_as_the_rfc_says(t: &Tenant) {
    fill(t, 5).await;
    for (query, start, items) in [
        ("startIndex=0", 1, 5),
        ("startIndex=-3", 1, 5),
        ("startIndex=5", 5, 1),
        ("startIndex=6", 6, 0),
        ("startIndex=1000000", 1_000_000, 0),
        ("count=0", 1, 0),
        ("count=-1", 1, 0),
        ("count=5", 1, 5),
        ("count=4", 1, 4),
        ("count=1000000", 1, 5),
        ("count=99999999999999999999999999", 1, 5),
        ("startIndex=2&count=2", 2, 2),
        ("count=2&startIndex=5", 5, 1),
        ("startIndex=-9223372036854775809&count=1", 1, 1),
        ("count=%201%20", 1, 1),
    ] {
        for filter in [
            "",
            "&filter=userName+sw+%22user%22",
            "&filter=emails+eq+%22info@example.com%22",
        ] {
            let list = t.get(&format!("/Users?{query}{filter}")).await.is(200);
            assert_eq!(list.total(), 5, "{query}{filter}");
            assert_eq!(list.body["startIndex"], start, "{query}{filter}");
            assert_eq!(list.body["itemsPerPage"], items, "{query}{filter}");
        }
    }
    let end = t.get("/Users?startIndex=99999999999999999999999999").await.is(200);
    assert_eq!((end.total(), &end.body["itemsPerPage"]), (5, &json!(0)));
}

/// R-PAGE-01; RFC 7644 §3.4.2.4: `count=0` asks for the total only.
async fn a_page_without_resources_counts(t: &Tenant) {
    fill(t, 7).await;
    for (filter, total) in [
        ("", 7),
        ("&filter=active+eq+false", 3),
        ("&filter=userName+eq+%22USER1@example.com%22", 1),
        ("&filter=emails+eq+%22info@example.com%22", 7),
        ("&filter=emails+eq+%22info@example.com%22+and+active+eq+true", 4),
        ("&filter=title+pr", 0),
    ] {
        let list = t.get(&format!("/Users?count=0{filter}")).await.is(200);
        assert_eq!((list.total(), &list.body["Resources"]), (total, &json!([])), "{filter}");
    }
}

/// design §4: also right behind a change.
async fn totals_are_exact_after_every_change(t: &Tenant) {
    let mut places = Vec::new();
    for number in 0..6 {
        places.push(t.user(&format!("user{number}@example.com")).await.place());
        assert_eq!(t.users().await, places.len() as u64);
    }
    t.post("/Users", user("USER3@example.com")).await.is(409);
    assert_eq!(t.users().await, 6);
    t.put(&places[0], user("renamed@example.com")).await.is(200);
    assert_eq!(t.users().await, 6);
    while let Some(place) = places.pop() {
        t.delete(&place).await.is(204);
        assert_eq!(t.users().await, places.len() as u64);
    }
}

/// R-DISC-01, `filter.maxResults`.
async fn a_page_has_at_most_what_is_advertised(t: &Tenant) {
    let config = t.get("/ServiceProviderConfig").await.is(200);
    let limit = config.body["filter"]["maxResults"]
        .as_u64()
        .expect("maxResults is a number");
    let names = (0..=limit).map(|number| format!("user{number}@example.com"));
    let created = stream::iter(names)
        .map(async |name| t.user(&name).await)
        .buffer_unordered(16);
    assert_eq!(created.count().await as u64, limit + 1);
    let mut seen = BTreeSet::new();
    for filter in ["", "&filter=userName+sw+%22user%22"] {
        for (query, items) in [
            (format!("count={}", limit + 1), limit),
            (format!("count={limit}&startIndex=2"), limit),
            (format!("count={}&startIndex={}", limit + 1, limit + 1), 1),
            ("startIndex=1".to_owned(), limit.min(100)),
        ] {
            let list = t.get(&format!("/Users?attributes=id&{query}{filter}")).await.is(200);
            assert_eq!(
                (list.total(), &list.body["itemsPerPage"]),
                (limit + 1, &json!(items)),
                "{query}{filter}"
            );
            seen.extend(list.listed("/id"));
        }
    }
    assert_eq!(seen.len() as u64, limit + 1);
}
