//! Pages by cursor (RFC 9865).

use futures::future::join_all;
use serde_json::json;

use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, encoded, user_with},
};

cases![
    a_cursor_leads_from_page_to_page,
    each_user_is_on_one_page_while_others_come_and_go,
    a_filter_and_an_order_go_with_the_cursor,
    a_cursor_works_in_a_search_message,
    what_is_no_cursor_of_this_query_is_refused,
    a_cursor_is_refused_by_another_tenant,
    a_count_is_within_what_is_advertised,
    a_cursor_and_a_start_index_exclude_each_other,
    the_last_page_may_be_full,
];

/// So many users, of whom every third is inactive.
async fn fill(t: &Tenant, users: usize) -> Vec<String> {
    let create = async |number: usize| {
        let attributes = json!({ "active": !number.is_multiple_of(3), "title": format!("T{}", number % 4) });
        let name = format!("user{number:03}@example.com");
        t.post("/Users", user_with(&name, attributes))
            .await
            .is(201)
            .id()
            .to_owned()
    };
    let mut ids = join_all((0..users).map(create)).await;
    ids.sort();
    ids
}

/// All pages of a query, beginning with an empty cursor.
async fn pages(t: &Tenant, query: &str) -> Vec<Answer> {
    let mut pages: Vec<Answer> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = t.get(&format!("/Users?{query}&cursor={cursor}")).await.is(200);
        let next = page.body["nextCursor"].as_str().map(str::to_owned);
        pages.push(page);
        assert!(pages.len() < 100, "no end");
        match next {
            Some(next) => cursor = next,
            None => return pages,
        }
    }
}

fn all(pages: &[Answer], pointer: &str) -> Vec<String> {
    pages.iter().flat_map(|page| page.listed(pointer)).collect()
}

async fn next(t: &Tenant, query: &str) -> String {
    t.get(&format!("/Users?{query}&cursor"))
        .await
        .is(200)
        .text("/nextCursor")
        .to_owned()
}

/// R-PAGE-02 (RFC 9865 §2): `nextCursor` on every page but the last, the exact total on each, no `startIndex`.
async fn a_cursor_leads_from_page_to_page(t: &Tenant) {
    let ids = fill(t, 25).await;
    for (count, sizes) in [(10, vec![10, 10, 5]), (24, vec![24, 1]), (100, vec![25])] {
        let pages = pages(t, &format!("count={count}")).await;
        assert_eq!(all(&pages, "/id"), ids, "{count} a page");
        for (page, size) in pages.iter().zip(&sizes) {
            assert_eq!(page.body["itemsPerPage"], *size, "{page}");
            assert_eq!(page.total(), 25);
            assert_eq!(
                (page.body.get("startIndex"), page.body.get("previousCursor")),
                (None, None),
                "{page}"
            );
        }
        assert_eq!(pages.len(), sizes.len());
    }
    let plain = t.get("/Users").await.is(200);
    assert_eq!(
        plain.body.get("nextCursor"),
        None,
        "who does not ask for cursors gets none"
    );
    let empty = t.neighbour().await.get("/Users?cursor=").await.is(200);
    assert_eq!((empty.total(), empty.body.get("nextCursor")), (0, None));
}

/// R-PAGE-02: no cursor leads to nothing.
async fn the_last_page_may_be_full(t: &Tenant) {
    let ids = fill(t, 6).await;
    for (count, number) in [(6, 1), (3, 2), (2, 3), (1, 6)] {
        let pages = pages(t, &format!("count={count}")).await;
        assert_eq!(
            (all(&pages, "/id"), pages.len()),
            (ids.clone(), number),
            "{count} a page"
        );
    }
}

/// RFC 7644 §3.4.2.4 promises less for `startIndex`.
async fn each_user_is_on_one_page_while_others_come_and_go(t: &Tenant) {
    let ids = fill(t, 20).await;
    let first = t.get("/Users?count=5&cursor").await.is(200);
    // The last one of this page, and one of a page to come.
    for gone in [&ids[4], &ids[12]] {
        t.delete(&format!("/Users/{gone}")).await.is(204);
    }
    t.user("new@example.com").await;
    let mut seen = first.listed("/id");
    let mut cursor = first.text("/nextCursor").to_owned();
    loop {
        let page = t.get(&format!("/Users?count=5&cursor={cursor}")).await.is(200);
        assert_eq!(page.total(), 19);
        seen.extend(page.listed("/id"));
        match page.body["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    let kept: Vec<&String> = ids.iter().filter(|id| **id != ids[12]).collect();
    assert!(
        kept.iter().all(|id| seen.iter().filter(|seen| seen == id).count() == 1),
        "{seen:?}"
    );
    assert!(!seen.contains(&ids[12]));
}

/// R-PAGE-02, R-SORT-01.
async fn a_filter_and_an_order_go_with_the_cursor(t: &Tenant) {
    fill(t, 12).await;
    for (query, expected) in [
        (
            format!("filter={}", encoded("active eq false")),
            vec!["000", "003", "006", "009"],
        ),
        (
            format!(
                "filter={}",
                encoded("active eq false and userName ne \"user003@example.com\"")
            ),
            vec!["000", "006", "009"],
        ),
        (
            format!(
                "sortBy=userName&sortOrder=descending&filter={}",
                encoded("title eq \"T1\"")
            ),
            vec!["009", "005", "001"],
        ),
        (
            format!("filter={}", encoded("userName eq \"USER007@example.com\"")),
            vec!["007"],
        ),
        (format!("filter={}", encoded("title eq \"none\"")), vec![]),
    ] {
        let mut found = all(
            &pages(t, &format!("{query}&count=2&attributes=userName")).await,
            "/userName",
        );
        if !query.contains("sortBy") {
            found.sort();
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|number| format!("user{number}@example.com"))
            .collect();
        assert_eq!(found, expected, "{query}");
    }
    let sorted = pages(t, "sortBy=title&count=5").await;
    assert!(all(&sorted, "/title").is_sorted() && sorted.iter().all(|page| page.total() == 12));
}

/// RFC 9865 §3.
async fn a_cursor_works_in_a_search_message(t: &Tenant) {
    let ids = fill(t, 5).await;
    let search = async |cursor: &str| {
        let urn = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
        let message = json!({ "schemas": [urn], "count": 2, "cursor": cursor });
        t.post("/Users/.search", message).await.is(200)
    };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for items in [2, 2, 1] {
        let page = search(&cursor).await;
        assert_eq!(page.body["itemsPerPage"], items);
        seen.extend(page.listed("/id"));
        let next = page.body["nextCursor"].as_str().unwrap_or_default();
        next.clone_into(&mut cursor);
    }
    assert_eq!((seen, cursor.as_str()), (ids, ""));
    // One of a URL is one of a message.
    let cursor = next(t, "count=2").await;
    assert_eq!(search(&cursor).await.body["itemsPerPage"], 2);
}

/// R-PAGE-02 (RFC 9865 §2.1): forged, cut off, of another query.
async fn what_is_no_cursor_of_this_query_is_refused(t: &Tenant) {
    fill(t, 5).await;
    let cursor = next(t, "count=2").await;
    t.get(&format!("/Users?count=3&cursor={cursor}")).await.is(200);
    let flipped = if cursor.ends_with('A') { "B" } else { "A" };
    let filter = encoded("title pr");
    for query in [
        "/Users?cursor=x".to_owned(),
        "/Users?cursor=%20".to_owned(),
        format!("/Users?cursor={}", "A".repeat(4_000)),
        format!("/Users?cursor={}", &cursor[1..]),
        format!("/Users?cursor={}", &cursor[..cursor.len() - 1]),
        format!("/Users?cursor={}{flipped}", &cursor[..cursor.len() - 1]),
        format!("/Users?cursor={cursor}A"),
        format!("/Users?cursor={cursor}%3D"),
        format!("/Users?cursor={cursor}&filter={filter}"),
        format!("/Users?cursor={cursor}&sortBy=userName"),
    ] {
        t.get(&query).await.refused(400, "invalidCursor", &["empty cursor"]);
    }
    let filtered = next(t, &format!("count=2&filter={filter}")).await;
    for query in [
        format!("cursor={filtered}"),
        format!("cursor={filtered}&filter={}", encoded("title sw \"T\"")),
    ] {
        t.get(&format!("/Users?{query}"))
            .await
            .refused(400, "invalidCursor", &[]);
    }
    t.get(&format!("/Users?cursor={filtered}&filter={filter}&attributes=id"))
        .await
        .is(200);
}

/// R-PAGE-02: re-authorised on each page.
async fn a_cursor_is_refused_by_another_tenant(t: &Tenant) {
    let other = t.neighbour().await;
    fill(t, 3).await;
    fill(&other, 3).await;
    let cursor = next(t, "count=2").await;
    other
        .get(&format!("/Users?cursor={cursor}"))
        .await
        .refused(400, "invalidCursor", &[]);
    other
        .get(&format!("/Users?cursor={}", next(&other, "count=2").await))
        .await
        .is(200);
    t.anonymous("GET", &format!("/Users?cursor={cursor}")).await.is(401);
}

/// R-PAGE-02 (RFC 9865 §2.1): `invalidCount`.
async fn a_count_is_within_what_is_advertised(t: &Tenant) {
    for count in ["0", "-1", "1001", "ten", "", "1.5"] {
        let refused = t.get(&format!("/Users?cursor=&count={count}")).await;
        refused.refused(400, "invalidCount", &["count", "1000"]);
    }
    for count in ["1", "1000", "%2B7"] {
        t.get(&format!("/Users?cursor=&count={count}")).await.is(200);
    }
}

async fn a_cursor_and_a_start_index_exclude_each_other(t: &Tenant) {
    for query in ["cursor=&startIndex=1", "startIndex=1&count=5&cursor=x"] {
        let refused = t.get(&format!("/Users?{query}")).await;
        refused.refused(400, "invalidValue", &["cursor", "startIndex"]);
    }
}
