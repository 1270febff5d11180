//! Totals against what was written, with folds in between, and behind the back of readers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use time::OffsetDateTime;

use super::*;
use crate::store::{
    Page,
    counting::CountingStore,
    faults::{Call, Fault, FaultStore},
    sqlite::SqliteStore,
};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Each has another key; those of an instance whose clock is behind sort before all others.
fn operation(is_behind: bool) -> Operation {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    let seconds = if is_behind { 0 } else { 1_000_000 + number };
    Operation::new(OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds), 0, secret)
}

async fn add(store: &dyn Store, n: i64) {
    let change = count("u", &operation(n < 0), n);
    store.commit("p", &[change]).await.unwrap();
}

async fn total(store: &dyn Store) -> (u64, u64) {
    let tally = tally(store, "p", "u", soon()).await.unwrap();
    (tally.total(), tally.changes)
}

async fn loose(store: &dyn Store) -> usize {
    tally(store, "p", "u", soon()).await.unwrap().loose
}

#[tokio::test]
async fn a_total_is_the_sum_of_its_rows_folded_or_not() {
    let store = SqliteStore::memory().unwrap();
    assert_eq!(total(&store).await, (0, 0));
    assert_eq!(fold(&store, "p", "u").await.unwrap(), 0);
    for _ in 0..150 {
        add(&store, 1).await;
    }
    for _ in 0..30 {
        add(&store, -1).await;
    }
    assert_eq!((total(&store).await, loose(&store).await), ((120, 180), 180));
    for (folded, left) in [(98, 82), (82, 0), (0, 0)] {
        assert_eq!(fold(&store, "p", "u").await.unwrap(), folded);
        assert_eq!((total(&store).await, loose(&store).await), ((120, 180), left));
    }
    add(&store, 1).await;
    assert_eq!(total(&store).await, (121, 181));
    for (partition, kind) in [("p", "g"), ("q", "u")] {
        let other = tally(&store, partition, kind, soon()).await.unwrap();
        assert_eq!(other, Tally::default(), "{kind} in {partition}");
    }
}

#[tokio::test]
async fn what_is_long_is_folded_to_the_end() {
    let store = CountingStore::new(Arc::new(SqliteStore::memory().unwrap()));
    for _ in 0..MANY {
        add(&store, 1).await;
    }
    assert!(!tally(&store, "p", "u", soon()).await.unwrap().is_long());
    add(&store, 1).await;
    assert!(tally(&store, "p", "u", soon()).await.unwrap().is_long());
    store.take();
    assert_eq!(total(&store).await, (501, 501));
    assert_eq!(store.take().round_trips, 1);
    fold_all(&store, "p", "u").await.unwrap();
    assert_eq!((total(&store).await, loose(&store).await), ((501, 501), 0));
}

/// Whoever waits for others to finish asks ever less often.
#[tokio::test(start_paused = true)]
async fn a_torn_total_is_read_a_few_times_until_the_deadline() {
    let store = CountingStore::new(Arc::new(SqliteStore::memory().unwrap()));
    add(&store, 1).await;
    fold_all(&store, "p", "u").await.unwrap();
    let seal = Change::Delete(rows::sum_seal_key("u"), None);
    store.commit("p", &[seal]).await.unwrap();
    store.take();
    assert!(matches!(tally(&store, "p", "u", soon()).await, Err(Error::Torn)));
    let scans = store.take().scans;
    assert!((10..100).contains(&scans), "{scans} scans in 20 s");
}

#[test]
fn of_64_operations_one_folds() {
    let due = (0..6_400).filter(|_| is_due(&operation(false))).count();
    assert!((90..110).contains(&due), "{due} of 6,400");
}

/// Of those that fold at the same time one wins, and none adds twice.
#[tokio::test]
async fn folds_at_once_count_once() {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::memory().unwrap());
    for _ in 0..400 {
        add(&*store, 1).await;
    }
    let folds = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { fold_all(&*store, "p", "u").await })
    });
    for done in futures::future::join_all(folds).await {
        done.unwrap().unwrap();
    }
    fold_all(&*store, "p", "u").await.unwrap();
    assert_eq!((total(&*store).await, loose(&*store).await), ((400, 400), 0));
}

/// A fold is never sent again: whoever comes next reads anew.
#[tokio::test]
async fn a_fold_whose_answer_is_lost_counts_once_or_not_at_all() {
    for fault in [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::LandLater,
        Fault::LandBefore(2),
        Fault::Unavailable,
    ] {
        let store = FaultStore::new(Arc::new(SqliteStore::memory().unwrap()));
        for _ in 0..120 {
            add(&store, 1).await;
        }
        store.inject(Call::Commit, 1..=1, fault);
        assert!(fold(&store, "p", "u").await.is_err());
        add(&store, 1).await;
        fold_all(&store, "p", "u").await.unwrap();
        store.land().await;
        assert_eq!(total(&store).await, (121, 121), "{fault:?}");
    }
}

/// A store whose scans take several pages of a few rows, and between two pages somebody else writes.
struct Paging {
    inner: SqliteStore,
    page: usize,
    between: Vec<Between>,
    done: AtomicUsize,
}

/// What is done between two pages.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Between {
    Nothing,
    Add,
    Remove,
    Fold,
}

impl Paging {
    async fn between(&self) {
        let at = self.done.fetch_add(1, Ordering::Relaxed);
        match self.between.get(at) {
            None | Some(Between::Nothing) => {}
            Some(Between::Add) => add(&self.inner, 1).await,
            Some(Between::Remove) => add(&self.inner, -1).await,
            Some(Between::Fold) => {
                fold(&self.inner, "p", "u").await.unwrap();
            }
        }
    }

    /// How often this was done so far.
    fn number(&self, what: Between) -> u64 {
        let done = self.done.load(Ordering::Relaxed).min(self.between.len());
        self.between[..done].iter().filter(|one| **one == what).count() as u64
    }
}

#[async_trait]
impl Store for Paging {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, store::Error> {
        self.inner.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, store::Error> {
        let mut all = Page::default();
        let mut from = from.to_owned();
        loop {
            let wanted = self.page.min(limit - all.rows.len());
            let page = self.inner.scan(partition, &from, until, wanted).await?;
            all.rows.extend(page.rows);
            all.more = page.more;
            self.between().await;
            match all.rows.last() {
                Some(last) if all.more && all.rows.len() < limit => from = rows::behind(&last.key),
                _ => return Ok(all),
            }
        }
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), store::Error> {
        self.inner.commit(partition, changes).await
    }
}

/// Whatever is written and folded between the pages of a scan, the total is one that could be true meanwhile; and once it is
/// quiet, it is the number of resources.
#[test]
fn a_reader_is_right_whatever_happens_behind_its_back() {
    let step = prop_oneof![
        3 => Just(Between::Nothing),
        2 => Just(Between::Add),
        1 => Just(Between::Remove),
        3 => Just(Between::Fold),
    ];
    let strategy = (150_u64..350, 1_usize..60, proptest::collection::vec(step, 0..40));
    let mut runner = TestRunner::default();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    for _ in 0..40 {
        let (before, page, between) = strategy.new_tree(&mut runner).unwrap().current();
        runtime.block_on(async {
            let store = Paging {
                inner: SqliteStore::memory().unwrap(),
                page,
                between,
                done: AtomicUsize::new(0),
            };
            for _ in 0..before {
                add(&store.inner, 1).await;
            }
            while store.done.load(Ordering::Relaxed) < store.between.len() {
                let found = total(&store).await.0;
                let (added, removed) = (store.number(Between::Add), store.number(Between::Remove));
                let possible = before - removed..=before + added;
                assert!(
                    possible.contains(&found),
                    "{found}, not {possible:?}: {:?}",
                    store.between
                );
            }
            let exact = before + store.number(Between::Add) - store.number(Between::Remove);
            assert_eq!(total(&store).await.0, exact, "{:?}", store.between);
            fold_all(&store.inner, "p", "u").await.unwrap();
            assert_eq!(total(&store).await.0, exact, "{:?}", store.between);
        });
    }
}

#[tokio::test]
async fn a_scan_that_a_fold_divides_is_read_again() {
    let store = Paging {
        inner: SqliteStore::memory().unwrap(),
        page: 50,
        between: vec![Between::Nothing, Between::Fold],
        done: AtomicUsize::new(0),
    };
    for _ in 0..200 {
        add(&store.inner, 1).await;
    }
    assert_eq!(total(&store).await, (200, 200));
    assert!(store.done.load(Ordering::Relaxed) > 4, "it was read twice");
}

/// Two versions overlap at every deployment.
#[tokio::test]
async fn rows_of_a_newer_format_are_neither_counted_nor_folded() {
    let store = SqliteStore::memory().unwrap();
    add(&store, 1).await;
    let newer = SumBody {
        format: FORMAT + 1,
        n: 1,
    };
    let change = Change::Insert(rows::write(rows::sum_key("u", &operation(false)), &newer));
    store.commit("p", &[change]).await.unwrap();
    assert!(matches!(tally(&store, "p", "u", soon()).await, Err(Error::Format(_))));
    assert!(matches!(fold(&store, "p", "u").await, Err(Error::Format(_))));
}
