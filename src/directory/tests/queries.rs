//! Queries that meet much: large users, expensive filters, the deadline.

use std::time::Duration as Span;

use serde_json::json;

use super::{World, refusal};
use crate::{
    directory::{MAX_SCANNED, sift::Stride},
    scim::{
        limits::{MAX_FILTER_WORK, MAX_PAGE_BYTES},
        list::{ListQuery, Paging},
    },
    store::{ETag, Row},
};

impl World {
    /// Makes a user of so many KiB; the names sort in no particular order.
    async fn create_large(&self, name: &str, kib: usize) -> String {
        let entitlements: Vec<_> = (0..kib.div_ceil(16))
            .map(|n| json!({ "value": format!("{n}{}", "y".repeat(16 * 1024)) }))
            .collect();
        let emails = json!([{ "value": "info@example.com" }]);
        let user = json!({ "userName": name, "emails": emails, "entitlements": entitlements });
        self.create(user).await.unwrap()
    }
}

/// A filter that no user of [`World::create_large`] fulfils, and says so by its first condition.
fn conditions(number: usize) -> String {
    let mut filter = "title pr".to_owned();
    filter.push_str(&" and roles co z".repeat(number - 1));
    filter
}

/// RFC 7644 §3.4.2.4: a page may be shorter than asked for; whoever goes on behind it meets each resource once.
#[tokio::test]
async fn pages_of_large_users_are_shorter_and_miss_none() {
    let world = World::new().await;
    let mut all = Vec::new();
    for number in 0..45 {
        // Small ones between the large ones must not slip into the page before.
        let kib = if number % 5 == 4 { 1 } else { 448 };
        all.push(world.create_large(&format!("u{number}"), kib).await);
    }
    for filter in [
        None,
        Some(r#"userName sw "u""#),
        Some(r#"emails eq "info@example.com""#),
    ] {
        let (mut seen, mut pages) = (Vec::new(), Vec::new());
        while seen.len() < all.len() {
            let query = ListQuery {
                filter: filter.map(str::to_owned),
                paging: Paging::Index(seen.len() + 1),
                count: 1_000,
                ..ListQuery::default()
            };
            let found = world.find(&query).await.unwrap();
            assert_eq!(found.total, Some(all.len()));
            let users = found.resources.iter().map(|user| &user.document);
            let bytes: usize = users.clone().map(|user| json!(user).to_string().len()).sum();
            assert!(bytes < MAX_PAGE_BYTES + 64 * 1024, "{bytes} bytes on a page");
            assert!(!found.resources.is_empty());
            pages.push(found.resources.len());
            seen.extend(users.map(|user| user["id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(seen, all, "{filter:?}");
        assert_eq!(pages, [22, 23], "{filter:?}");
    }
    assert_eq!(world.query(None, 7).await.unwrap().resources.len(), 7);
}

/// Rows known to be large are fetched in smaller steps.
#[tokio::test]
async fn rows_are_fetched_by_key_as_many_as_there_is_room_for() {
    let row = |bytes| Row {
        key: String::new(),
        etag: ETag(String::new()),
        stamp: Vec::new(),
        body: vec![0; bytes],
    };
    for (bytes, rows) in [(0, 32), (2_048, 64), (80 * 1024, 64), (448 * 1024, 36), (32 << 20, 1)] {
        let mut stride = Stride::of(32);
        stride.learn(&[row(bytes), row(bytes)]);
        assert_eq!(stride.rows, rows, "{bytes} bytes each");
        stride.learn(&[]);
        assert_eq!(stride.rows, rows, "no rows tell nothing");
    }
}

/// R-FILTER-09; RFC 7644, table 9: tooMany.
#[tokio::test]
async fn a_filter_that_is_too_much_work_is_refused() {
    const {
        assert!(
            5 * MAX_SCANNED * 2048 < MAX_FILTER_WORK,
            "ordinary filters on ordinary users pass"
        );
    };
    let world = World::new().await;
    for number in 0..10 {
        world.create_large(&format!("u{number}"), 400).await;
    }
    // 10 users of 400 KiB: 3.9 MiB for each condition, of which 128 MiB are allowed.
    for (terms, passes) in [(1, true), (5, true), (32, true), (33, false), (500, false)] {
        for start in ["", r#"emails eq "info@example.com" and "#] {
            let terms = if start.is_empty() { terms } else { terms - 1 };
            let filter = if terms == 0 {
                start.trim_end_matches(" and ").to_owned()
            } else {
                format!("{start}{}", conditions(terms))
            };
            match world.query(Some(&filter), 10).await {
                Ok(_) => assert!(passes, "{terms} conditions"),
                Err(error) => {
                    assert!(!passes, "{terms} conditions: {error}");
                    assert_eq!(refusal(&error), "too-many");
                    assert!(error.to_string().contains("128 MiB of resources"), "{error}");
                }
            }
        }
    }
}

/// design §7: nobody waits for an answer behind the deadline.
#[tokio::test(start_paused = true)]
async fn a_filter_ends_at_the_deadline_between_two_users() {
    let world = World::new().await;
    for number in 0..10 {
        world.create_large(&format!("u{number}"), 400).await;
    }
    world.store.take();
    let filter = conditions(10);
    let passing_time = async {
        while world.store.counts().bytes_read == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Span::from_mins(3)).await;
    };
    let (found, ()) = futures::join!(world.query(Some(&filter), 10), passing_time);
    assert_eq!(refusal(&found.unwrap_err()), "deadline-exceeded");
    assert_eq!(world.store.take().scans, 1);
}
