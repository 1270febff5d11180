//! What each change does, when it fails, and what is left then.

use std::collections::HashSet;

use super::{Change, ETag, Partition, Row, Store, delete, insert, replace, stamp, touch, upsert, write};

const OLD: (&[u8], &[u8]) = (b"stamp", b"body");
const NEW: (&[u8], &[u8]) = (b"another stamp", b"another body");

pub(super) async fn take_effect(store: &dyn Store) {
    let rows = Partition::new(store);
    let check = async |change: Change, expected: Option<(&[u8], &[u8])>| {
        let before = rows.get(&["row"]).await.pop().flatten();
        rows.check(std::slice::from_ref(&change), "done").await;
        let after = rows.get(&["row"]).await.pop().flatten();
        let content = after.as_ref().map(|row| (&row.stamp[..], &row.body[..]));
        assert_eq!(content, expected, "after {change:?}");
        if let (Some(before), Some(after)) = (before, after) {
            assert_ne!(before.etag, after.etag, "after {change:?}");
        }
    };
    let etag = async || rows.row("row").await.etag;

    check(insert("row"), Some(OLD)).await;
    check(touch("row"), Some(OLD)).await;
    check(stamp("row", None), Some((NEW.0, OLD.1))).await;
    check(replace("row", &etag().await), Some(NEW)).await;
    check(Change::Upsert(write("row", OLD.0, OLD.1)), Some(OLD)).await;
    check(stamp("row", Some(&etag().await)), Some((NEW.0, OLD.1))).await;
    check(delete("row", None), None).await;
    check(upsert("row"), Some(NEW)).await;
    check(delete("row", Some(&etag().await)), None).await;
    check(insert("row"), Some(OLD)).await;
}

/// Of two rows changed in one commit and one beside them, each gets its own.
pub(super) async fn keep_the_rest(store: &dyn Store) {
    let rows = Partition::new(store);
    rows.check(&["a", "b", "c", "d"].map(insert), "done").await;
    let before = rows.all().await;
    rows.check(&[stamp("a", None), touch("b"), delete("c", None), insert("e")], "done")
        .await;
    let after = rows.all().await;
    let found: Vec<_> = after.iter().map(|row| (&row.key[..], &row.stamp[..])).collect();
    let expected = [("a", NEW.0), ("b", OLD.0), ("d", OLD.0), ("e", OLD.0)];
    assert_eq!(found, expected);
    assert_eq!(after[2], before[3], "a row that no change names");
}

/// Rows `here-1` and `here-2` with their etags, and etags that they had before.
struct Scene {
    current: [ETag; 2],
    stale: [ETag; 2],
}

impl Scene {
    async fn set(rows: &Partition<'_>) -> Self {
        rows.check(&[insert("here-1"), insert("here-2")], "done").await;
        let stale = [rows.row("here-1").await.etag, rows.row("here-2").await.etag];
        rows.check(&[touch("here-1"), touch("here-2")], "done").await;
        let current = [rows.row("here-1").await.etag, rows.row("here-2").await.etag];
        Self { current, stale }
    }

    /// Every way for a change to fail, on the rows of this number (1 or 2).
    fn failures(&self, number: usize) -> Vec<(Change, String)> {
        let (here, gone) = (format!("here-{number}"), format!("gone-{number}"));
        let (current, stale) = (&self.current[number - 1], &self.stale[number - 1]);
        vec![
            (insert(&here), format!("{here} exists")),
            (replace(&here, stale), format!("{here} changed")),
            (replace(&gone, current), format!("{gone} changed")),
            (stamp(&here, Some(stale)), format!("{here} changed")),
            (stamp(&gone, None), format!("{gone} missing")),
            (stamp(&gone, Some(current)), format!("{gone} missing")),
            (touch(&gone), format!("{gone} missing")),
            (delete(&here, Some(stale)), format!("{here} changed")),
            (delete(&gone, None), format!("{gone} missing")),
            (delete(&gone, Some(current)), format!("{gone} missing")),
        ]
    }
}

pub(super) async fn first_failing_is_named(store: &dyn Store) {
    let rows = Partition::new(store);
    let scene = Scene::set(&rows).await;
    for (first, expected) in scene.failures(1) {
        rows.check(std::slice::from_ref(&first), &expected).await;
        for (second, _) in scene.failures(2) {
            let changes = [insert("new"), first.clone(), upsert("new-2"), second];
            rows.check(&changes, &expected).await;
        }
    }
}

pub(super) async fn all_or_none(store: &dyn Store) {
    let rows = Partition::new(store);
    let scene = Scene::set(&rows).await;
    rows.check(&[insert("other"), insert("third")], "done").await;
    let before = rows.all().await;
    for (failing, expected) in scene.failures(1) {
        let others = [insert("new"), upsert("other"), delete("third", None), touch("here-2")];
        for position in 0..=others.len() {
            let mut changes = others.to_vec();
            changes.insert(position, failing.clone());
            rows.check(&changes, &expected).await;
        }
        assert_eq!(rows.all().await, before, "after {failing:?}");
    }
}

pub(super) async fn etags_never_come_again(store: &dyn Store) {
    let rows = Partition::new(store);
    let mut seen = HashSet::new();
    for _ in 0..10 {
        rows.check(&[insert("row")], "done").await;
        let Row { etag: first, .. } = rows.row("row").await;
        rows.check(&[delete("row", None)], "done").await;
        rows.check(&[insert("row")], "done").await;
        rows.check(&[replace("row", &first)], "row changed").await;
        rows.check(&[delete("row", Some(&first))], "row changed").await;
        let Row { etag: second, .. } = rows.row("row").await;
        rows.check(&[delete("row", Some(&second))], "done").await;
        assert!(seen.insert(first) && seen.insert(second), "an etag came again");
    }
}

pub(super) async fn partitions_are_apart(store: &dyn Store) {
    let one = Partition::new(store);
    // Names that begin alike, and sort next to each other.
    let others = ["-", "~", "0", "~row"].map(|end| Partition {
        store,
        name: format!("{}{end}", one.name),
    });
    one.check(&[insert("row")], "done").await;
    for other in &others {
        assert_eq!(other.get(&["row"]).await, [None]);
        assert_eq!(other.all().await, []);
        other.check(&[touch("row")], "row missing").await;
        other.check(&[insert("row"), insert("row-2")], "done").await;
    }
    assert_eq!(one.all().await.len(), 1);
    one.check(&[delete("row", None)], "done").await;
    for other in &others {
        assert_eq!(other.all().await.len(), 2);
    }
}

pub(super) async fn bytes_come_back(store: &dyn Store) {
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let contents: [&[u8]; 6] = [
        b"",
        b"\0",
        &every,
        b"\r\n--batch\r\n\r\n",
        "\u{feff}\u{10ffff}".as_bytes(),
        b"\xff\xfe",
    ];
    let rows = Partition::new(store);
    let row = |number: usize| format!("row-{number}");
    for (number, content) in contents.into_iter().enumerate() {
        rows.check(&[Change::Insert(write(&row(number), content, content))], "done")
            .await;
        rows.check(&[Change::Stamp(row(number), b"short".to_vec(), None)], "done")
            .await;
        rows.check(&[Change::Stamp(row(number), content.to_vec(), None)], "done")
            .await;
    }
    for (number, content) in contents.into_iter().enumerate() {
        let found = rows.row(&row(number)).await;
        assert_eq!((&found.stamp[..], &found.body[..]), (content, content));
    }
    assert_eq!(rows.all().await.len(), contents.len());
}
