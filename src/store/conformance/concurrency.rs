//! Commits at the same time.

use futures::future::join_all;

use super::{Change, Partition, Store, insert, write};

/// Commits at the same time.
const CALLERS: u8 = 8;

pub(super) async fn replaces(store: &dyn Store) {
    let rows = Partition::new(store);
    rows.check(&[insert("row")], "done").await;
    for _ in 0..5 {
        let etag = rows.row("row").await.etag;
        one_wins(&rows, "row changed", |caller| {
            Change::Replace(write("row", &[caller], &[caller]), etag.clone())
        })
        .await;
    }
}

pub(super) async fn inserts(store: &dyn Store) {
    for _ in 0..5 {
        let rows = Partition::new(store);
        one_wins(&rows, "row exists", |caller| {
            Change::Insert(write("row", &[caller], &[caller]))
        })
        .await;
    }
}

/// Every caller brings a row of its own too, of which only the winner's may be there.
async fn one_wins(rows: &Partition<'_>, loser: &str, change: impl Fn(u8) -> Change) {
    let run = format!("{:08x}", fastrand::u32(..));
    let commits: Vec<_> = (0..CALLERS)
        .map(|caller| [insert(&format!("own-{run}-{caller}")), change(caller)])
        .collect();
    let outcomes = join_all(commits.iter().map(|changes| rows.commit(changes))).await;
    let winners: Vec<_> = (0..CALLERS)
        .zip(&outcomes)
        .filter(|(_, outcome)| *outcome == "done")
        .collect();
    let [(winner, _)] = winners[..] else {
        panic!("not one winner: {outcomes:?}");
    };
    let losers = outcomes.iter().filter(|outcome| *outcome == loser).count();
    assert_eq!(losers, usize::from(CALLERS) - 1, "{outcomes:?}");
    assert_eq!(rows.row("row").await.body, [winner]);
    let own = rows.scan(&format!("own-{run}"), &format!("own-{run}~"), 9).await.rows;
    let own: Vec<_> = own.into_iter().map(|row| row.key).collect();
    assert_eq!(own, [format!("own-{run}-{winner}")]);
}

/// A conflict on an unconditional change may make the store busy, but fails nobody.
pub(super) async fn stamps(store: &dyn Store) {
    let rows = Partition::new(store);
    rows.check(&[insert("row"), insert("row-2")], "done").await;
    let commits: Vec<_> = (0..CALLERS)
        .map(|caller| {
            [
                insert(&format!("own-{caller}")),
                Change::Stamp("row".to_owned(), vec![caller], None),
                Change::Touch("row-2".to_owned()),
            ]
        })
        .collect();
    let outcomes = join_all(commits.iter().map(|changes| rows.commit(changes))).await;
    assert!(outcomes.iter().all(|outcome| outcome == "done"), "{outcomes:?}");
    assert_eq!(rows.all().await.len(), usize::from(CALLERS) + 2);
    assert!(rows.row("row").await.stamp[0] < CALLERS);
}
