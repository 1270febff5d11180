//! What is accepted, to the byte: a store must not take what another refuses.

use super::{
    super::{MAX_BODY_BYTES, MAX_CHANGES, MAX_COMMIT_BYTES, MAX_KEY_BYTES, MAX_STAMP_BYTES},
    Change, Error, Partition, Store, delete, insert, touch, write,
};

pub(super) async fn rows(store: &dyn Store) {
    let rows = Partition::new(store);
    let check = async |key: &str, stamp: usize, body: usize, expected: &str| {
        let change = Change::Upsert(write(key, &noise(stamp), &noise(body)));
        rows.check(&[change], expected).await;
        if expected == "done" {
            let row = rows.row(key).await;
            assert!(
                row.stamp == noise(stamp) && row.body == noise(body),
                "{key} came back otherwise"
            );
        }
    };
    // Where Table Storage's properties of 64 KiB end.
    for body in [65_535, 65_536, 65_537, 131_072, 131_073] {
        check("split", 0, body, "done").await;
    }
    check("full", MAX_STAMP_BYTES, MAX_BODY_BYTES, "done").await;
    check("full", 0, 0, "done").await;
    check("more", MAX_STAMP_BYTES + 1, 0, "too large").await;
    check("more", 0, MAX_BODY_BYTES + 1, "too large").await;
    let stamp = Change::Stamp("full".to_owned(), noise(MAX_STAMP_BYTES + 1), None);
    rows.check(&[stamp], "too large").await;
    assert_eq!(rows.get(&["more"]).await, [None]);
}

pub(super) async fn commits(store: &dyn Store) {
    let rows = Partition::new(store);
    rows.check(&[], "too large").await;
    rows.check(&[insert("row"), delete("row", None)], "too large").await;

    let many = |count: usize| -> Vec<Change> { (0..count).map(|n| insert(&format!("many-{n:03}"))).collect() };
    rows.check(&many(MAX_CHANGES + 1), "too large").await;
    assert_eq!(rows.all().await, []);
    rows.check(&many(MAX_CHANGES), "done").await;
    let touches: Vec<_> = many(MAX_CHANGES).iter().map(|change| touch(change.key())).collect();
    rows.check(&touches, "done").await;
    let deletes: Vec<_> = touches.iter().map(|change| delete(change.key(), None)).collect();
    rows.check(&deletes, "done").await;

    let body = noise(MAX_BODY_BYTES);
    let full = |stamp: usize| -> Vec<Change> {
        let bodies = MAX_COMMIT_BYTES / MAX_BODY_BYTES;
        let rows = (0..bodies).map(|n| Change::Insert(write(&format!("full-{n}"), &[], &body)));
        rows.chain([Change::Upsert(write("stamp", &noise(stamp), &[]))])
            .collect()
    };
    rows.check(&full(1 + MAX_COMMIT_BYTES % MAX_BODY_BYTES), "too large")
        .await;
    assert_eq!(rows.all().await, []);
    rows.check(&full(MAX_COMMIT_BYTES % MAX_BODY_BYTES), "done").await;
    assert!(
        rows.all()
            .await
            .iter()
            .all(|row| row.key == "stamp" || row.body == body)
    );
}

pub(super) async fn keys(store: &dyn Store) {
    const ALPHABET: &str = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
    let longest = "k".repeat(MAX_KEY_BYTES);
    let rows = Partition::new(store);
    for key in [ALPHABET, &longest, "~", ".", "..", "-", "0", "A", "a"] {
        rows.check(&[insert(key)], "done").await;
        assert_eq!(rows.row(key).await.key, key);
        // Upper and lower case are different keys.
        rows.check(&[touch(key)], "done").await;
    }
    let too_long = "k".repeat(MAX_KEY_BYTES + 1);
    let refused = [
        "", "a b", "a/b", "a\\b", "a#b", "a?b", "a%b", "a'b", "a\"b", "a+b", "a:b", "a@b", "a\nb", "a\0", "\u{e4}",
        &too_long,
    ];
    for key in refused {
        rows.check(&[insert("row"), insert(key)], "too large").await;
        refuses(&store.get(&rows.name, &["row", key]).await, key);
        refuses(&store.get(key, &["row"]).await, key);
        refuses(&store.scan(key, "", "~", 1).await, key);
        refuses(&store.commit(key, &[insert("row")]).await, key);
        if !key.is_empty() {
            refuses(&store.scan(&rows.name, key, "~", 1).await, key);
            refuses(&store.scan(&rows.name, "", key, 1).await, key);
        }
    }
    assert_eq!(rows.get(&["row"]).await, [None]);
}

#[track_caller]
fn refuses<T>(answer: &Result<T, Error>, key: &str) {
    assert!(matches!(answer, Err(Error::TooLarge(_))), "{key:?} is taken");
}

/// So many bytes that no compression shortens and no text encoding takes.
fn noise(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}
