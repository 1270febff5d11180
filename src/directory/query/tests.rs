//! Queries by cursor, sorted ones, and those on several types.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{
    Error, Found, MAX_SCANNED, Shown,
    tests::{World, refusal},
};
use crate::scim::{
    limits::MAX_PAGE_BYTES,
    list::{ListQuery, Paging, SortBy},
    normalize::Trace,
    schema::{ResourceType, Schema},
};

fn id(number: usize) -> String {
    format!("id-{number:06}")
}

/// Users whose numbers are in their names, every thousandth with a title; the names' order is not that of the ids.
async fn filled(users: usize) -> World {
    let mut world = World::new().await;
    world.directory.deadline = Instant::now() + Duration::from_mins(10);
    let user = |number: usize| {
        let mut user = json!({ "userName": format!("u{:06}", users - number), "active": number.is_multiple_of(2) });
        if number.is_multiple_of(1_000) {
            user["title"] = json!(format!("T{}", number / 1_000));
        }
        (id(number), user)
    };
    world.fill("u", (0..users).map(user)).await;
    world
}

fn by_cursor(filter: Option<&str>, count: usize) -> ListQuery {
    ListQuery {
        filter: filter.map(str::to_owned),
        paging: Paging::Cursor(None),
        count,
        ..ListQuery::default()
    }
}

fn by(attribute: &str, descending: bool) -> SortBy {
    let attribute = attribute.to_owned();
    SortBy { attribute, descending }
}

fn ids(found: &Found) -> Vec<String> {
    let id = |document: &serde_json::Map<String, Value>| document["id"].as_str().unwrap().to_owned();
    found.resources.iter().map(|shown| id(&shown.document)).collect()
}

/// A made-up second type, whose rows are those of groups.
fn group() -> Arc<ResourceType> {
    let schema = json!({ "id": "urn:example:group", "attributes": [{ "name": "displayName" }, { "name": "colour" }] });
    Arc::new(ResourceType {
        name: "Group".to_owned(),
        endpoint: "/Groups".to_owned(),
        description: String::new(),
        schema: Arc::new(Schema::from_json(&schema).unwrap()),
        extensions: Vec::new(),
    })
}

impl World {
    async fn everywhere(&self, query: &ListQuery) -> Result<Found, Error> {
        let types = [Arc::clone(&self.users), group()];
        self.directory
            .query(
                &types,
                query,
                &[Shown::default(); 2],
                "https://example.com/scim/acme",
                &mut Trace::default(),
            )
            .await
    }
}

/// All pages of a query by cursor, and the round trips of each; `between` is run before every further one.
async fn pages(
    world: &World,
    mut query: ListQuery,
    everywhere: bool,
    mut between: impl AsyncFnMut(usize),
) -> Vec<(Found, usize)> {
    let mut pages: Vec<(Found, usize)> = Vec::new();
    loop {
        world.directory.shared.idle().await;
        world.store.take();
        // Each page by another process.
        let process = world.elsewhere();
        let found = if everywhere {
            process.everywhere(&query).await
        } else {
            process.find(&query).await
        };
        let found = found.unwrap();
        let cost = process.store.take().round_trips;
        let next = found.next_cursor.clone();
        pages.push((found, cost));
        let Some(next) = next else { return pages };
        query.paging = Paging::Cursor(Some(next));
        between(pages.len()).await;
    }
}

fn all(pages: &[(Found, usize)]) -> Vec<String> {
    pages.iter().flat_map(|(found, _)| ids(found)).collect()
}

/// R-PAGE-02 (RFC 9865 §2): each page but the last leads to the next; design §4: it costs what a first page costs.
#[tokio::test]
async fn a_cursor_walks_through_everything() {
    const USERS: usize = 3_000;
    let world = filled(USERS).await;
    let everything: Vec<String> = (0..USERS).map(id).collect();
    for (count, number) in [(1_000, 3), (999, 4), (300, 10), (2_999, 2)] {
        let pages = pages(&world, by_cursor(None, count.min(1_000)), false, async |_| {}).await;
        assert_eq!(all(&pages), everything, "{count} a page");
        assert!(pages.iter().all(|(found, _)| found.total == Some(USERS)));
        assert!(pages.iter().all(|(_, cost)| *cost == 1), "{count} a page");
        if count <= 1_000 {
            assert_eq!(pages.len(), number, "{count} a page");
        }
    }
    let empty = World::new().await.find(&by_cursor(None, 10)).await.unwrap();
    assert_eq!((empty.total, empty.next_cursor), (Some(0), None));
}

/// Those that stay are on one page, whatever comes and goes between the pages; also when the last of a page goes.
#[tokio::test]
async fn a_cursor_goes_on_while_others_write() {
    const USERS: usize = 500;
    let world = filled(USERS).await;
    let between = async |page: usize| {
        // Of the page before its last, and two that are still to come.
        for number in [page * 50 - 1, page * 50 + 7, USERS - page] {
            world.delete(&id(number)).await;
        }
        world.create(json!({ "userName": format!("new{page}") })).await.unwrap();
    };
    let pages = pages(&world, by_cursor(None, 50), false, between).await;
    let mut seen = all(&pages);
    seen.retain(|id| id.starts_with("id-"));
    let number = seen.len();
    seen.dedup();
    assert!(seen.is_sorted() && seen.len() == number, "none twice");
    let kept = |number: &usize| !seen.contains(&id(*number));
    let missing: Vec<usize> = (0..USERS).filter(kept).collect();
    assert!(
        missing.iter().all(|number| number % 50 == 7 || *number > USERS - 12),
        "{missing:?}"
    );
}

/// A filter over a tenant of any size: page by page, as far as one answer may look; by index it is refused.
#[tokio::test]
async fn a_filter_is_walked_by_cursor_however_many_users_there_are() {
    const USERS: usize = 2 * MAX_SCANNED + 500;
    let world = filled(USERS).await;
    let filter = "title pr";
    let refused = world.query(Some(filter), 10).await.unwrap_err();
    assert_eq!(refusal(&refused), "too-many");
    let titled: Vec<String> = (0..USERS).step_by(1_000).map(id).collect();
    for (count, number) in [(100, 3), (3, 7)] {
        let pages = pages(&world, by_cursor(Some(filter), count), false, async |_| {}).await;
        assert_eq!(all(&pages), titled, "{count} a page");
        assert_eq!(pages.len(), number, "{count} a page");
        assert!(
            pages.iter().all(|(found, _)| found.total.is_none()),
            "nobody counted them"
        );
        assert!(pages.iter().all(|(_, cost)| *cost <= 10), "{count} a page");
    }
    let none = pages(&world, by_cursor(Some("title eq \"T77\""), 10), false, async |_| {}).await;
    assert_eq!((none.len(), all(&none).len()), (3, 0));
    let indexed = pages(
        &world,
        by_cursor(Some("userName eq \"U000001\""), 10),
        false,
        async |_| {},
    )
    .await;
    assert_eq!((indexed.len(), indexed[0].1, indexed[0].0.total), (1, 2, Some(1)));
}

/// What one answer may look at ends the page, not the walk; a single resource that is too much is refused.
#[tokio::test]
async fn a_filter_of_many_conditions_is_walked_by_cursor() {
    let world = World::new().await;
    let large = |number: usize| {
        let user = json!({ "userName": format!("u{number}"), "title": "y".repeat(400 * 1024) });
        (id(number), user)
    };
    world.fill("u", (0..10).map(large)).await;
    let conditions = |number: usize| format!("title pr{}", " and title pr".repeat(number - 1));
    let filter = conditions(100);
    assert_eq!(refusal(&world.query(Some(&filter), 10).await.unwrap_err()), "too-many");
    let pages = pages(&world, by_cursor(Some(&filter), 10), false, async |_| {}).await;
    assert_eq!(all(&pages), (0..10).map(id).collect::<Vec<_>>());
    assert_eq!(
        pages.iter().map(|(found, _)| found.resources.len()).collect::<Vec<_>>(),
        [3, 3, 3, 1]
    );
    let refused = world.find(&by_cursor(Some(&conditions(400)), 10)).await.unwrap_err();
    assert_eq!(refusal(&refused), "too-many");
}

/// R-PAGE-02: many who share an indexed value.
#[tokio::test]
async fn matches_of_an_indexed_value_are_walked_by_cursor() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for number in 0..70 {
        let user = json!({ "userName": format!("u{number}"), "emails": [{ "value": "info@example.com" }],
                           "active": number % 7 != 0 });
        let id = world.create(user).await.unwrap();
        if number % 7 != 0 {
            expected.push(id);
        }
    }
    let filter = r#"emails eq "info@example.com" and active eq true"#;
    for count in [1, 20, 59, 60, 100] {
        let pages = pages(&world, by_cursor(Some(filter), count), false, async |_| {}).await;
        assert_eq!(all(&pages), expected, "{count} a page");
        assert_eq!(
            pages.len(),
            60_usize.div_ceil(count),
            "the last page is known to be the last"
        );
        assert_eq!(pages[0].0.total, (count >= 60).then_some(60));
    }
}

/// R-PAGE-02: so many that they are not looked up one by one.
#[tokio::test]
async fn matches_of_an_indexed_value_are_walked_by_cursor_however_many_they_are() {
    const USERS: usize = MAX_SCANNED + 1_500;
    let mut world = World::new().await;
    world.directory.deadline = Instant::now() + Duration::from_mins(10);
    let user = |number: usize| {
        let shared = if number.is_multiple_of(500) { "y" } else { "x" };
        (
            id(number),
            json!({ "userName": format!("u{number}"), "externalId": shared, "active": number > 9 }),
        )
    };
    world.fill("u", (0..USERS).map(user)).await;
    let filter = r#"externalId eq "x" and active eq false"#;
    assert_eq!(refusal(&world.query(Some(filter), 10).await.unwrap_err()), "too-many");
    let found = pages(&world, by_cursor(Some(filter), 4), false, async |_| {}).await;
    assert_eq!(all(&found), (1..10).map(id).collect::<Vec<_>>());
    let sorted = ListQuery {
        sort: Some(by("userName", false)),
        ..by_cursor(Some(filter), 4)
    };
    assert_eq!(refusal(&world.find(&sorted).await.unwrap_err()), "too-many");
}

/// A cursor of one query is none of another; see `cursor` for all the ways to get it wrong.
#[tokio::test]
async fn a_cursor_of_another_query_is_refused() {
    let world = filled(20).await;
    let cursor = world.find(&by_cursor(None, 5)).await.unwrap().next_cursor;
    assert!(cursor.is_some());
    let with = |query: ListQuery| ListQuery {
        paging: Paging::Cursor(cursor.clone()),
        ..query
    };
    assert_eq!(
        ids(&world.find(&with(by_cursor(None, 7))).await.unwrap())[0],
        id(5),
        "the size may change"
    );
    for query in [
        by_cursor(Some("title pr"), 5),
        ListQuery {
            sort: Some(by("userName", false)),
            ..by_cursor(None, 5)
        },
    ] {
        assert_eq!(refusal(&world.find(&with(query)).await.unwrap_err()), "invalid-cursor");
    }
    assert_eq!(
        refusal(&world.everywhere(&with(by_cursor(None, 5))).await.unwrap_err()),
        "invalid-cursor"
    );
}

/// R-SORT-01 (RFC 7644 §3.4.2.3): ties are in the order of the ids, in either direction.
#[tokio::test]
async fn what_is_sorted_comes_in_order_page_by_page() {
    const USERS: usize = 2_500;
    let world = filled(USERS).await;
    let numbers = |numbers: Vec<usize>| numbers.into_iter().map(id).collect::<Vec<_>>();
    let (even, odd) = ((0..USERS).step_by(2), (1..USERS).step_by(2));
    for (attribute, descending, expected) in [
        ("userName", false, (0..USERS).rev().collect()),
        ("userName", true, (0..USERS).collect()),
        ("active", false, odd.clone().chain(even.clone()).collect()),
        ("active", true, even.chain(odd).collect::<Vec<_>>()),
    ] {
        let expected = numbers(expected);
        let query = ListQuery {
            sort: Some(by(attribute, descending)),
            ..by_cursor(None, 700)
        };
        let pages = pages(&world, query, false, async |_| {}).await;
        assert!(all(&pages) == expected, "{attribute} by cursor");
        assert!(pages.iter().all(|(found, _)| found.total == Some(USERS)) && pages.len() == 4);
        let query = ListQuery {
            sort: Some(by(attribute, descending)),
            paging: Paging::Index(1_234),
            count: 5,
            ..ListQuery::default()
        };
        let found = world.find(&query).await.unwrap();
        assert_eq!(
            (ids(&found), found.total),
            (expected[1_233..1_238].to_vec(), Some(USERS))
        );
    }
    let filtered = ListQuery {
        filter: Some("title pr".to_owned()),
        sort: Some(by("title", true)),
        ..ListQuery::default()
    };
    assert_eq!(
        ids(&world.find(&filtered).await.unwrap()),
        numbers(vec![2_000, 1_000, 0])
    );
}

/// RFC 7644, table 9: tooMany.
#[tokio::test]
async fn what_is_too_much_to_sort_is_refused() {
    let sorted = |filter: Option<&str>| ListQuery {
        filter: filter.map(str::to_owned),
        sort: Some(by("userName", false)),
        ..ListQuery::default()
    };
    let world = filled(MAX_SCANNED).await;
    assert_eq!(ids(&world.find(&sorted(None)).await.unwrap())[0], id(MAX_SCANNED - 1));
    world.create(json!({ "userName": "one too many" })).await.unwrap();
    let refused = world.find(&sorted(None)).await.unwrap_err();
    assert_eq!(refusal(&refused), "too-many-to-sort");
    assert!(refused.to_string().contains("10000 resources"), "{refused}");
    let by_cursor = ListQuery {
        paging: Paging::Cursor(None),
        ..sorted(None)
    };
    assert_eq!(refusal(&world.find(&by_cursor).await.unwrap_err()), "too-many-to-sort");
    assert_eq!(
        refusal(&world.find(&sorted(Some("title pr"))).await.unwrap_err()),
        "too-many"
    );
    assert!(world.find(&sorted(Some("userName eq \"u000001\""))).await.is_ok());
}

async fn users_and_groups() -> World {
    let world = filled(250).await;
    let named = |number: usize| {
        (
            id(number),
            json!({ "displayName": format!("G{number}"), "colour": "red" }),
        )
    };
    world.fill("g", (0..150).map(named)).await;
    world
}

fn of(found: &Found) -> (usize, usize) {
    let groups = found.resources.iter().filter(|shown| shown.of == 1).count();
    (found.resources.len() - groups, groups)
}

/// R-SEARCH-01 (RFC 7644 §3.4.2.1): users, then groups, as one list.
#[tokio::test]
async fn all_types_are_one_list() {
    let world = users_and_groups().await;
    for (start, count, expected) in [
        (1, 100, (100, 0)),
        (201, 100, (50, 50)),
        (251, 100, (0, 100)),
        (351, 100, (0, 50)),
        (401, 100, (0, 0)),
        (1, 1_000, (250, 150)),
        (1, 0, (0, 0)),
    ] {
        let query = ListQuery {
            paging: Paging::Index(start),
            count,
            ..ListQuery::default()
        };
        let found = world.everywhere(&query).await.unwrap();
        assert_eq!((of(&found), found.total), (expected, Some(400)), "{count} from {start}");
    }
    for (count, number) in [(100, 4), (50, 8), (250, 2), (400, 1), (399, 2)] {
        let pages = pages(&world, by_cursor(None, count), true, async |_| {}).await;
        let expected: Vec<String> = (0..250).chain(0..150).map(id).collect();
        assert_eq!(all(&pages), expected, "{count} a page");
        assert_eq!(pages.len(), number, "{count} a page");
        let locations = pages.iter().flat_map(|(found, _)| &found.resources);
        let groups = locations.filter(|shown| {
            let location = shown.document["meta"]["location"].as_str().unwrap();
            assert_eq!(location.contains("/Groups/"), shown.of == 1);
            shown.of == 1
        });
        assert_eq!(groups.count(), 150);
    }
}

/// R-SEARCH-01, R-PAGE-02: a page that large users have filled, and the first group begins the next one.
#[tokio::test]
async fn a_page_full_of_large_users_leads_to_the_groups() {
    const LARGE: usize = 400 * 1024;
    let world = World::new().await;
    let users = MAX_PAGE_BYTES / (LARGE + 1_000);
    let user = |number: usize| {
        (
            id(number),
            json!({ "userName": format!("u{number}"), "title": "y".repeat(LARGE) }),
        )
    };
    world.fill("u", (0..users).map(user)).await;
    let group = |number: usize| {
        (
            id(number),
            json!({ "displayName": format!("{number}{}", "y".repeat(LARGE)) }),
        )
    };
    world.fill("g", (0..3).map(group)).await;
    let found = pages(&world, by_cursor(None, 100), true, async |_| {}).await;
    assert_eq!(
        found.iter().map(|(found, _)| of(found)).collect::<Vec<_>>(),
        [(users, 0), (0, 3)]
    );
}

/// R-FILTER-08; RFC 7644 §3.4.2.2: what a type does not have, its resources have no value of.
#[tokio::test]
async fn a_filter_on_all_types_knows_the_attributes_of_each() {
    let world = users_and_groups().await;
    for (filter, expected) in [
        ("meta.resourceType eq \"User\"", (250, 0)),
        ("meta.resourceType eq \"Group\"", (0, 150)),
        ("meta.resourceType eq \"group\"", (0, 0)),
        ("meta.resourceType ne \"User\"", (0, 150)),
        ("meta.resourceType eq \"Printer\"", (0, 0)),
        ("colour eq \"RED\"", (0, 150)),
        ("colour pr or title pr", (1, 150)),
        ("not (colour pr)", (250, 0)),
        ("displayName eq \"g7\"", (0, 1)),
        ("userName eq \"u000001\"", (1, 0)),
        ("userName eq \"u000001\" or displayName eq \"g7\"", (1, 1)),
        ("id eq \"id-000003\"", (1, 1)),
        ("id eq \"id-000200\"", (1, 0)),
        ("emails[type eq \"work\"] or displayName sw \"G1\"", (0, 61)),
        ("schemas eq \"urn:example:GROUP\"", (0, 150)),
    ] {
        let query = ListQuery {
            filter: Some(filter.to_owned()),
            count: 1_000,
            ..ListQuery::default()
        };
        let found = world
            .everywhere(&query)
            .await
            .unwrap_or_else(|error| panic!("{filter}: {error}"));
        let total = Some(expected.0 + expected.1);
        assert_eq!((of(&found), found.total), (expected, total), "{filter}");
        let pages = pages(&world, by_cursor(Some(filter), 40), true, async |_| {}).await;
        let counts = pages
            .iter()
            .map(|(found, _)| of(found))
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(counts, expected, "{filter} by cursor");
    }
    let unknown = ListQuery {
        filter: Some("shoeSize eq 43".to_owned()),
        ..ListQuery::default()
    };
    assert_eq!(
        refusal(&world.everywhere(&unknown).await.unwrap_err()),
        "unknown-filter-attribute"
    );
    let only_groups = ListQuery {
        filter: Some("colour pr".to_owned()),
        ..ListQuery::default()
    };
    assert_eq!(
        refusal(&world.find(&only_groups).await.unwrap_err()),
        "unknown-filter-attribute"
    );
}

/// R-SORT-01, R-SEARCH-01: missing values last, those who have none in the order of types and ids.
#[tokio::test]
async fn all_types_are_sorted_as_one() {
    let world = users_and_groups().await;
    let sorted = async |attribute: &str, descending| {
        let query = ListQuery {
            sort: Some(by(attribute, descending)),
            count: 1_000,
            ..ListQuery::default()
        };
        world.everywhere(&query).await
    };
    let found = sorted("displayName", false).await.unwrap();
    let kinds: Vec<usize> = found.resources.iter().map(|shown| shown.of).collect();
    assert!(kinds[..150].iter().all(|of| *of == 1) && kinds[150..].iter().all(|of| *of == 0));
    assert_eq!(ids(&found)[..3], [id(0), id(1), id(10)], "G0, G1, G10");
    let found = sorted("userName", true).await.unwrap();
    let kinds: Vec<usize> = found.resources.iter().map(|shown| shown.of).collect();
    assert!(
        kinds[..150].iter().all(|of| *of == 1),
        "without a user name: first when descending"
    );
    assert_eq!(ids(&found)[150], id(0));
    assert_eq!(
        refusal(&sorted("shoeSize", false).await.unwrap_err()),
        "unknown-sort-attribute"
    );
}
