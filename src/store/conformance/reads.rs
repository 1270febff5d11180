//! `get` and `scan`.

use super::{
    super::{MAX_BODY_BYTES, MAX_CHANGES, MAX_GET_KEYS, MAX_SCAN_BYTES},
    Change, Error, Partition, Row, Store, insert, write,
};

pub(super) async fn get(store: &dyn Store) {
    let rows = Partition::new(store);
    let names: Vec<String> = (0..MAX_GET_KEYS).map(|n| format!("row-{n:03}")).collect();
    let even: Vec<_> = names.iter().step_by(2).map(|key| insert(key)).collect();
    rows.check(&even, "done").await;

    // Neither ascending nor descending; 7 and the number of keys have no common divisor.
    let mixed: Vec<&str> = (0..MAX_GET_KEYS).map(|n| &*names[n * 7 % MAX_GET_KEYS]).collect();
    let found = rows.get(&mixed).await;
    assert_eq!(found.len(), mixed.len());
    for (key, row) in mixed.iter().zip(found) {
        let present = even.iter().any(|change| change.key() == *key);
        assert_eq!(row.map(|row| row.key), present.then(|| (*key).to_owned()));
    }
    let twice = rows.get(&["row-000", "row-001", "row-000"]).await;
    assert!(twice[0].is_some() && twice[0] == twice[2] && twice[1].is_none());
    assert_eq!(rows.get(&[]).await, []);
    assert_eq!(Partition::new(store).get(&["row-000"]).await, [None]);

    let too_many: Vec<&str> = mixed.iter().copied().chain(["one-more"]).collect();
    let refused = store.get(&rows.name, &too_many).await;
    assert!(matches!(refused, Err(Error::TooLarge(_))), "{} keys", too_many.len());
}

pub(super) async fn order(store: &dyn Store) {
    let rows = Partition::new(store);
    let sorted = [
        "-", "--", "-~", ".", "0", "00", "09", "1", "10", "9", "A", "A-a", "AA", "Z", "_", "a", "a-", "a-b", "a.",
        "a0", "aA", "a_", "aa", "a~", "a~-", "a~~", "b", "z", "~", "~-",
    ];
    let mut shuffled = sorted.map(insert);
    fastrand::shuffle(&mut shuffled);
    for part in shuffled.chunks(7) {
        rows.check(part, "done").await;
    }
    let found: Vec<_> = rows.all().await.into_iter().map(|row| row.key).collect();
    assert_eq!(found, sorted);
    for (at, from) in sorted.iter().enumerate() {
        let found = rows.scan(from, "~~~~", 3).await.rows;
        let found: Vec<_> = found.iter().map(|row| &*row.key).collect();
        assert_eq!(found, sorted[at..sorted.len().min(at + 3)], "from {from}");
    }
}

pub(super) async fn ranges(store: &dyn Store) {
    let rows = Partition::new(store);
    rows.check(&["b", "d", "d~1", "d~2", "f"].map(insert), "done").await;
    let check = async |from: &str, until: &str, limit: usize, expected: &[&str], exhausted: bool| {
        let page = rows.scan(from, until, limit).await;
        let found: Vec<_> = page.rows.iter().map(|row| &*row.key).collect();
        assert_eq!(found, expected, "{from}..{until}, at most {limit}");
        if exhausted {
            assert!(
                !page.more || found.len() == limit,
                "{from}..{until}, at most {limit}: no row is behind"
            );
        } else {
            assert!(page.more, "{from}..{until}, at most {limit}: a row is behind");
        }
    };
    check("", "~", 9, &["b", "d", "d~1", "d~2", "f"], true).await;
    check("", "~", 5, &["b", "d", "d~1", "d~2", "f"], true).await;
    check("", "~", 4, &["b", "d", "d~1", "d~2"], false).await;
    check("b", "f", 9, &["b", "d", "d~1", "d~2"], true).await;
    check("c", "e", 9, &["d", "d~1", "d~2"], true).await;
    check("d", "d~2", 9, &["d", "d~1"], true).await;
    check("d~", "e", 9, &["d~1", "d~2"], true).await;
    check("d~1", "e", 1, &["d~1"], false).await;
    check("d~1", "d~2", 1, &["d~1"], true).await;
    check("", "f", 1, &["b"], false).await;
    check("", "b", 9, &[], true).await;
    check("g", "~", 9, &[], true).await;
    check("d", "d", 9, &[], true).await;
    check("f", "b", 9, &[], true).await;
    check("", "", 9, &[], true).await;
    assert_eq!(rows.scan("", "~", 0).await.rows, []);
    assert_eq!(Partition::new(store).scan("", "~", 9).await.rows, []);
}

/// Table Storage gives 1,000 rows a page.
pub(super) async fn many_rows(store: &dyn Store) {
    const ROWS: usize = 2_100;
    let rows = Partition::new(store);
    let names: Vec<String> = (0..ROWS).map(|n| format!("row-{n:05}")).collect();
    for part in names.chunks(MAX_CHANGES) {
        let changes: Vec<_> = part.iter().map(|key| insert(key)).collect();
        rows.check(&changes, "done").await;
    }
    for limit in [
        1,
        999,
        1_000,
        1_001,
        1_999,
        2_000,
        2_001,
        ROWS - 1,
        ROWS,
        ROWS + 1,
        9_999,
    ] {
        let page = rows.scan("", "~", limit).await;
        let found: Vec<_> = page.rows.iter().map(|row| &row.key).collect();
        assert_eq!(found, names.iter().take(limit).collect::<Vec<_>>(), "at most {limit}");
        assert!(page.more || limit >= ROWS, "at most {limit}: rows are behind");
        assert!(!page.more || limit <= ROWS, "at most {limit}: no rows are behind");
    }
    let mut walked = Vec::new();
    let mut from = String::new();
    loop {
        let page = rows.scan(&from, "~", 700).await;
        walked.extend(page.rows.into_iter().map(|row| row.key));
        if !page.more {
            break;
        }
        // The next key after the last one: nothing of the alphabet is below `-`.
        from = format!("{}-", walked.last().map_or("", String::as_str));
    }
    assert_eq!(walked, names);
}

/// More bytes than any service answers at once.
pub(super) async fn large_rows(store: &dyn Store) {
    let rows = Partition::new(store);
    let body = |n: u8| vec![n; MAX_BODY_BYTES];
    let names: Vec<String> = (0..12).map(|n| format!("row-{n:02}")).collect();
    for (n, key) in (0..).zip(&names) {
        rows.check(&[Change::Insert(write(key, b"", &body(n)))], "done").await;
    }
    let found = rows.all().await;
    assert_eq!(found.len(), names.len());
    for (n, row) in (0..).zip(&found) {
        assert!(row.body == body(n), "{} came back otherwise", row.key);
    }
    let wanted: Vec<&str> = names.iter().map(|key| &**key).collect();
    let got: Vec<_> = rows.get(&wanted).await.into_iter().flatten().collect();
    assert!(got == found, "get and scan differ");
}

/// More bytes than anyone should hold at once: the scan ends early, says so, and goes on where it ended.
pub(super) async fn many_bytes(store: &dyn Store) {
    const ROWS: usize = MAX_SCAN_BYTES / MAX_BODY_BYTES * 2 + 8;
    let rows = Partition::new(store);
    let names: Vec<String> = (0..ROWS).map(|n| format!("row-{n:02}")).collect();
    let body = vec![7; MAX_BODY_BYTES];
    for part in names.chunks(4) {
        let changes: Vec<_> = part.iter().map(|key| Change::Insert(write(key, b"", &body))).collect();
        rows.check(&changes, "done").await;
    }
    let (mut walked, mut from, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = rows.scan(&from, "~", usize::MAX).await;
        let bytes: usize = page.rows.iter().map(Row::bytes).sum();
        assert!(bytes < MAX_SCAN_BYTES * 2, "{bytes} bytes at once");
        assert!(bytes >= MAX_SCAN_BYTES || !page.more, "{bytes} bytes, and more to come");
        walked.extend(page.rows.into_iter().map(|row| row.key));
        pages += 1;
        if !page.more {
            break;
        }
        from = format!("{}-", walked[walked.len() - 1]);
    }
    assert_eq!(walked, names);
    assert!(pages >= 2, "all in {pages} page");
    assert_eq!(rows.scan("", "~", 3).await.rows.len(), 3);
}
