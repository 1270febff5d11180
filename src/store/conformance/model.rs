//! Random histories against a `BTreeMap`.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::{
    prelude::{Just, Strategy, any, prop_oneof},
    sample,
    strategy::ValueTree,
    test_runner::TestRunner,
};

use super::{Change, ETag, Partition, Row, Store, write};

/// Histories of one run.
const HISTORIES: usize = 30;
/// Most tries to make a history that fails shorter.
const MAX_SHRINKS: usize = 300;

/// A change before it is known which etags the store gives.
#[derive(Clone, Debug)]
enum Step {
    Insert(Content),
    Replace(Content, Guard),
    Stamp(u8, Option<Guard>),
    Touch,
    Upsert(Content),
    Delete(Option<Guard>),
}

/// Of the row's etag.
#[derive(Clone, Copy, Debug)]
enum Guard {
    Current,
    Stale,
}

/// A stamp and a body: so many bytes, beginning with this one.
#[derive(Clone, Copy, Debug)]
struct Content {
    first: u8,
    stamp: usize,
    body: usize,
}

/// A commit: changes of the rows with these numbers; of a number that comes twice, the first.
type Batch = Vec<(u8, Step)>;

pub(super) async fn histories(store: &dyn Store) {
    let mut runner = TestRunner::default();
    let strategy = proptest::collection::vec(batch(), 1..12);
    for _ in 0..HISTORIES {
        let mut tree = strategy.new_tree(&mut runner).expect("the strategy rejects nothing");
        let Err(mut failure) = replay(store, &tree.current()).await else {
            continue;
        };
        let mut shortest = tree.current();
        let mut shorter = tree.simplify();
        for _ in 0..MAX_SHRINKS {
            if !shorter {
                break;
            }
            shorter = match replay(store, &tree.current()).await {
                Ok(()) => tree.complicate(),
                Err(error) => {
                    (failure, shortest) = (error, tree.current());
                    tree.simplify()
                }
            };
        }
        panic!("{failure}\nafter {shortest:#?}");
    }
}

fn batch() -> impl Strategy<Value = Batch> {
    let content = || {
        // Around the size where Table Storage needs a second property.
        let body = sample::select(vec![0, 1, 100, 65_536, 65_537, 140_000]);
        let content = (any::<u8>(), sample::select(vec![0, 1, 1024]), body);
        content.prop_map(|(first, stamp, body)| Content { first, stamp, body })
    };
    let guard = || prop_oneof![4 => Just(Guard::Current), 1 => Just(Guard::Stale)];
    let step = prop_oneof![
        4 => content().prop_map(Step::Insert),
        3 => (content(), guard()).prop_map(|(content, guard)| Step::Replace(content, guard)),
        2 => (any::<u8>(), proptest::option::of(guard())).prop_map(|(first, guard)| Step::Stamp(first, guard)),
        1 => Just(Step::Touch),
        3 => content().prop_map(Step::Upsert),
        2 => proptest::option::of(guard()).prop_map(Step::Delete),
    ];
    proptest::collection::vec((0..6_u8, step), 1..5)
}

async fn replay(store: &dyn Store, batches: &[Batch]) -> Result<(), String> {
    let rows = Partition::new(store);
    let mut model = Model::default();
    // An etag that no other row ever has.
    rows.check(&[super::insert("~first")], "done").await;
    model.adopt(rows.all().await)?;
    for batch in batches {
        let mut keys = HashSet::new();
        let steps = batch.iter().filter(|(number, _)| keys.insert(*number));
        let changes: Vec<Change> = steps.map(|(number, step)| model.change(*number, step)).collect();
        let expected = model.apply(&changes);
        let found = rows.commit(&changes).await;
        if found != expected {
            return Err(format!("{found:?} instead of {expected:?} in the last batch"));
        }
        model.adopt(rows.all().await)?;
    }
    Ok(())
}

/// What the store must hold.
#[derive(Default)]
struct Model {
    rows: BTreeMap<String, Row>,
    /// Rows of which the store has given no etag yet: those that the last commit wrote.
    written: HashSet<String>,
    /// All etags that a row has had.
    etags: HashMap<String, Vec<ETag>>,
}

impl Model {
    fn change(&self, number: u8, step: &Step) -> Change {
        let key = format!("row-{number}");
        let full = |content: &Content| {
            let fill = |bytes| (content.first..=u8::MAX).cycle().take(bytes).collect::<Vec<u8>>();
            write(&key, &fill(content.stamp), &fill(content.body))
        };
        match step {
            Step::Insert(content) => Change::Insert(full(content)),
            Step::Replace(content, guard) => Change::Replace(full(content), self.etag(&key, *guard)),
            Step::Stamp(first, guard) => {
                Change::Stamp(key.clone(), vec![*first], guard.map(|guard| self.etag(&key, guard)))
            }
            Step::Touch => Change::Touch(key),
            Step::Upsert(content) => Change::Upsert(full(content)),
            Step::Delete(guard) => Change::Delete(key.clone(), guard.map(|guard| self.etag(&key, guard))),
        }
    }

    fn etag(&self, key: &str, guard: Guard) -> ETag {
        let current = self.rows.get(key).map(|row| &row.etag);
        let seen = self.etags.get(key).into_iter().flatten();
        let stale = seen.rev().find(|etag| Some(*etag) != current);
        let wanted = match guard {
            Guard::Current => current.or(stale),
            Guard::Stale => stale,
        };
        wanted.unwrap_or(&self.rows["~first"].etag).clone()
    }

    /// Applies all or none; gives the outcome as the store has to.
    fn apply(&mut self, changes: &[Change]) -> String {
        let before = self.rows.clone();
        for change in changes {
            if let Err(failure) = self.apply_one(change) {
                self.rows = before;
                return failure;
            }
        }
        self.written = changes.iter().map(|change| change.key().to_owned()).collect();
        "done".to_owned()
    }

    fn apply_one(&mut self, change: &Change) -> Result<(), String> {
        let key = change.key();
        let there = self.rows.get_mut(key);
        match (change, there) {
            (Change::Insert(_), Some(_)) => return Err(format!("{key} exists")),
            (Change::Replace(_, etag) | Change::Stamp(_, _, Some(etag)) | Change::Delete(_, Some(etag)), Some(row))
                if row.etag != *etag =>
            {
                return Err(format!("{key} changed"));
            }
            (Change::Replace(..), None) => return Err(format!("{key} changed")),
            (Change::Stamp(..) | Change::Touch(_) | Change::Delete(..), None) => return Err(format!("{key} missing")),
            (Change::Insert(write) | Change::Replace(write, _) | Change::Upsert(write), _) => {
                let row = Row {
                    key: key.to_owned(),
                    etag: ETag(String::new()),
                    stamp: write.stamp.clone(),
                    body: write.body.clone(),
                };
                self.rows.insert(key.to_owned(), row);
            }
            (Change::Stamp(_, stamp, _), Some(row)) => row.stamp.clone_from(stamp),
            (Change::Touch(_), Some(_)) => {}
            (Change::Delete(..), Some(_)) => {
                self.rows.remove(key);
            }
        }
        Ok(())
    }

    /// Compares with what the store holds, and takes over the etags that it gave.
    fn adopt(&mut self, found: Vec<Row>) -> Result<(), String> {
        if self.rows.is_empty() {
            self.written.insert("~first".to_owned());
            self.rows = found.iter().map(|row| (row.key.clone(), row.clone())).collect();
        }
        if !found.iter().map(|row| &row.key).eq(self.rows.keys()) {
            return Err("other rows than expected".to_owned());
        }
        for (row, expected) in found.into_iter().zip(self.rows.values_mut()) {
            if (&row.stamp, &row.body) != (&expected.stamp, &expected.body) {
                return Err(format!("{} has another content than expected", row.key));
            }
            let seen = self.etags.entry(row.key.clone()).or_default();
            if !self.written.contains(&row.key) {
                if row.etag != expected.etag {
                    return Err(format!("{} was not written and has another etag", row.key));
                }
                continue;
            }
            if seen.contains(&row.etag) {
                return Err(format!("{} has an etag for the second time", row.key));
            }
            seen.push(row.etag.clone());
            expected.etag = row.etag;
        }
        self.written.clear();
        Ok(())
    }
}
