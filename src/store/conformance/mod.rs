//! What every store must do.
//!
//! A backend's test is one line, `conformance::run(&store).await`. Every case works in partitions of its own with
//! random names, so that runs may share a store.

mod changes;
mod concurrency;
mod limits;
mod model;
mod reads;

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::Instant;

use super::{Change, ETag, Error, Page, Row, Store, Write, settle};

/// A case; panics when the store fails it.
pub(crate) type Case = for<'a> fn(&'a dyn Store) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// All cases with their names.
pub(crate) const CASES: &[(&str, Case)] = &[
    ("changes take effect", |store| Box::pin(changes::take_effect(store))),
    ("changes keep what they don't name", |store| {
        Box::pin(changes::keep_the_rest(store))
    }),
    ("the first failing change is named", |store| {
        Box::pin(changes::first_failing_is_named(store))
    }),
    ("a failing commit leaves nothing behind", |store| {
        Box::pin(changes::all_or_none(store))
    }),
    ("an etag never comes again", |store| {
        Box::pin(changes::etags_never_come_again(store))
    }),
    ("partitions are apart", |store| {
        Box::pin(changes::partitions_are_apart(store))
    }),
    ("bytes come back as they are", |store| {
        Box::pin(changes::bytes_come_back(store))
    }),
    ("rows up to their limits", |store| Box::pin(limits::rows(store))),
    ("commits up to their limits", |store| Box::pin(limits::commits(store))),
    ("keys of the alphabet only", |store| Box::pin(limits::keys(store))),
    ("get keeps order and holes", |store| Box::pin(reads::get(store))),
    ("scan is in the order of bytes", |store| Box::pin(reads::order(store))),
    ("scan keeps to its range", |store| Box::pin(reads::ranges(store))),
    ("scan goes on over the service's pages", |store| {
        Box::pin(reads::many_rows(store))
    }),
    ("scan takes rows of full size", |store| {
        Box::pin(reads::large_rows(store))
    }),
    ("scan ends before it is too much", |store| {
        Box::pin(reads::many_bytes(store))
    }),
    ("of replaces on one etag one wins", |store| {
        Box::pin(concurrency::replaces(store))
    }),
    ("of inserts of one key one wins", |store| {
        Box::pin(concurrency::inserts(store))
    }),
    ("unconditional changes all take effect", |store| {
        Box::pin(concurrency::stamps(store))
    }),
    ("a random history matches the model", |store| {
        Box::pin(model::histories(store))
    }),
];

/// Runs all cases, one after another.
///
/// # Panics
///
/// When the store fails one; the name of the case is the last line before.
pub(crate) async fn run(store: &dyn Store) {
    for (name, case) in CASES {
        println!("store conformance: {name}");
        case(store).await;
    }
}

/// A partition of a case's own.
struct Partition<'a> {
    store: &'a dyn Store,
    name: String,
}

impl<'a> Partition<'a> {
    fn new(store: &'a dyn Store) -> Self {
        let name = format!("conformance-{:016x}", fastrand::u64(..));
        Self { store, name }
    }

    /// The outcome as [`outcome`] spells it.
    async fn commit(&self, changes: &[Change]) -> String {
        for _ in 0..MAX_BUSY {
            let answer = self.store.commit(&self.name, changes).await;
            if !matches!(answer, Err(Error::Busy(_))) {
                return outcome(&answer);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        "busy for too long".to_owned()
    }

    #[track_caller]
    fn check(&self, changes: &[Change], expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let found = self.commit(changes).await;
            assert_eq!(found, expected, "at {caller}: {}", keys(changes));
        }
    }

    async fn get(&self, keys: &[&str]) -> Vec<Option<Row>> {
        // Azurite closes connections that were idle for some seconds; whoever reads then reads again.
        let rows = settle::patient_get(self.store, &self.name, keys, soon()).await;
        rows.unwrap_or_else(|error| panic!("get {keys:?}: {error:?}"))
    }

    async fn row(&self, key: &str) -> Row {
        let row = self.get(&[key]).await.pop().flatten();
        row.unwrap_or_else(|| panic!("row {key} is missing"))
    }

    async fn scan(&self, from: &str, until: &str, limit: usize) -> Page {
        let page = settle::patient_scan(self.store, &self.name, (from, until), limit, soon()).await;
        page.unwrap_or_else(|error| panic!("scan {from}..{until}: {error:?}"))
    }

    /// All rows: no key of a case is above `~~~~`.
    async fn all(&self) -> Vec<Row> {
        self.scan("", "~~~~", usize::MAX).await.rows
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

/// Most tries of a commit whose store is busy.
const MAX_BUSY: usize = 500;

fn outcome(answer: &Result<(), Error>) -> String {
    match answer {
        Ok(()) => "done".to_owned(),
        Err(Error::Exists(key)) => format!("{key} exists"),
        Err(Error::Changed(key)) => format!("{key} changed"),
        Err(Error::Missing(key)) => format!("{key} missing"),
        Err(Error::TooLarge(_)) => "too large".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

fn keys(changes: &[Change]) -> String {
    let names: Vec<_> = changes.iter().map(Change::key).take(5).collect();
    format!("{} changes: {}", changes.len(), names.join(" "))
}

fn write(key: &str, stamp: &[u8], body: &[u8]) -> Write {
    Write {
        key: key.to_owned(),
        stamp: stamp.to_owned(),
        body: body.to_owned(),
    }
}

fn insert(key: &str) -> Change {
    Change::Insert(write(key, b"stamp", b"body"))
}

fn replace(key: &str, etag: &ETag) -> Change {
    Change::Replace(write(key, b"another stamp", b"another body"), etag.clone())
}

fn stamp(key: &str, etag: Option<&ETag>) -> Change {
    Change::Stamp(key.to_owned(), b"another stamp".to_vec(), etag.cloned())
}

fn touch(key: &str) -> Change {
    Change::Touch(key.to_owned())
}

fn upsert(key: &str) -> Change {
    Change::Upsert(write(key, b"another stamp", b"another body"))
}

fn delete(key: &str, etag: Option<&ETag>) -> Change {
    Change::Delete(key.to_owned(), etag.cloned())
}
