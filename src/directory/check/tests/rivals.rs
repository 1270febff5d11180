//! Two loads at once, stopped before any call, and a load whose fence is torn down.

use std::sync::{OnceLock, atomic::AtomicUsize};

use async_trait::async_trait;
use tokio::{sync::Semaphore, time::sleep};

use super::{
    copied::{File, Paced, export_all, memory, rows_of},
    loaded::{Source, load},
    *,
};
use crate::{
    backup::{Error as BackupError, Loaded},
    rows::CONTROL,
    store::{self, Page},
};

/// Counts the calls that have been answered.
struct Done(Arc<dyn Store>, AtomicUsize);

#[async_trait]
impl Store for Done {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, store::Error> {
        let answer = self.0.get(partition, keys).await;
        self.1.fetch_add(1, Ordering::Relaxed);
        answer
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, store::Error> {
        let answer = self.0.scan(partition, from, until, limit).await;
        self.1.fetch_add(1, Ordering::Relaxed);
        answer
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), store::Error> {
        let answer = self.0.commit(partition, changes).await;
        self.1.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

/// A load that stands still anywhere, is overtaken by another one, and goes on when the tenant is in use: it changes nothing.
#[tokio::test(start_paused = true)]
async fn of_two_loads_at_once_none_writes_over_what_is_in_use() {
    let source = Source::new(1, 10).await;
    let world = &source.worlds[0];
    let tenant = &world.directory.access.tenant;
    let mut overtaken = 0;
    for calls in 0.. {
        let rows = memory();
        let turns = Arc::new(Semaphore::new(calls));
        let done = Arc::new(Done(Arc::clone(&rows), AtomicUsize::new(0)));
        let slow: Arc<dyn Store> = Arc::new(Paced(Arc::clone(&done) as Arc<dyn Store>, Arc::clone(&turns)));
        let late = load(&slow, &source.file, false);
        let other = async {
            while done.1.load(Ordering::Relaxed) < calls {
                sleep(Duration::from_millis(1)).await;
            }
            if load(&rows, &source.file, false).await.is_err() {
                // The first one has come to its end.
                turns.add_permits(Semaphore::MAX_PERMITS / 2);
                return None;
            }
            let live = world.over(&rows);
            live.user("later").await;
            live.directory.shared.idle().await;
            let partitions = [&*tenant.id, CONTROL];
            let before = [rows_of(&rows, partitions[0]).await, rows_of(&rows, partitions[1]).await];
            turns.add_permits(Semaphore::MAX_PERMITS / 2);
            Some(before)
        };
        let (late, before) = futures::join!(late, other);
        let Some(before) = before else {
            late.unwrap();
            assert!(calls > 20 && overtaken > calls / 2, "{overtaken} of {calls}");
            return;
        };
        overtaken += usize::from(late.is_err());
        let after = [rows_of(&rows, &tenant.id).await, rows_of(&rows, CONTROL).await];
        for (before, after) in before.iter().zip(&after) {
            let differs = |key: &&String| before.get(*key) != after.get(*key);
            let differ: Vec<_> = before.keys().chain(after.keys()).filter(differs).collect();
            assert!(differ.is_empty(), "{calls}: {differ:?} {late:?}");
        }
    }
}

/// A load, each call of which waits for its turn.
struct Slow<'f> {
    file: &'f File,
    turns: Arc<Semaphore>,
    done: Arc<Done>,
    result: OnceLock<Result<Vec<Loaded>, BackupError>>,
}

impl<'f> Slow<'f> {
    fn new(rows: &Arc<dyn Store>, file: &'f File) -> Self {
        Self {
            file,
            turns: Arc::new(Semaphore::new(0)),
            done: Arc::new(Done(Arc::clone(rows), AtomicUsize::new(0))),
            result: OnceLock::new(),
        }
    }

    async fn run(&self) {
        let store: Arc<dyn Store> = Arc::new(Paced(Arc::clone(&self.done) as Arc<dyn Store>, Arc::clone(&self.turns)));
        let _ = self.result.set(load(&store, self.file, true).await);
    }

    /// So many calls, or all that are left.
    async fn go(&self, calls: usize) {
        let until = self.done.1.load(Ordering::Relaxed).saturating_add(calls);
        self.turns.add_permits(calls);
        while self.done.1.load(Ordering::Relaxed) < until && self.result.get().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn is_done(&self) -> bool {
        self.result.get().is_some_and(Result::is_ok)
    }
}

const TO_THE_END: usize = Semaphore::MAX_PERMITS / 2;

/// Somebody who came late tore it down: no tenant is let in of which something is not mended.
#[tokio::test(start_paused = true)]
async fn a_load_without_its_fence_ends_and_may_be_repeated() {
    let source = Source::new(1, 10).await;
    let id = source.ids().next().unwrap();
    let mut keys = rows_of(&source.store, id).await.into_keys();
    let lacking = keys.find(|key| key.starts_with("n~")).unwrap();
    let delete = [Change::Delete(lacking.clone(), None)];
    source.store.commit(id, &delete).await.unwrap();
    let file = File::new();
    export_all(&source.store, &file).await;
    let mut ended = 0;
    for calls in 0.. {
        let rows = memory();
        let one = Slow::new(&rows, &file);
        let turns = async {
            one.go(calls).await;
            let fences = rows.scan(id, "load~", "load~~", 10).await.unwrap().rows;
            let torn: Vec<Change> = fences.into_iter().map(|row| Change::Delete(row.key, None)).collect();
            if !torn.is_empty() {
                rows.commit(id, &torn).await.unwrap();
            }
            one.go(TO_THE_END).await;
        };
        futures::join!(one.run(), turns);
        let is_there = rows_of(&rows, CONTROL).await.contains_key(&format!("id~{id}"));
        assert_eq!(is_there, one.is_done(), "{calls}: {:?}", one.result);
        if !is_there {
            ended += 1;
            load(&rows, &file, false).await.unwrap();
        }
        assert!(
            rows_of(&rows, id).await.contains_key(&lacking),
            "{calls}: {:?}",
            one.result
        );
        if is_there && one.done.1.load(Ordering::Relaxed) <= calls {
            assert!(ended > 10, "{ended}");
            return;
        }
    }
}

/// While one mends what it has loaded, another one comes, whose rows are not all there yet: whichever comes to its end, all is there.
/// When each has stopped the other, a third one may.
#[tokio::test(start_paused = true)]
async fn nothing_is_mended_of_rows_that_another_load_is_bringing() {
    let source = Source::new(1, 40).await;
    let second = File::new();
    export_all(&source.store, &second).await;
    let alone = memory();
    let alone = Slow::new(&alone, &source.file);
    futures::join!(alone.run(), alone.go(TO_THE_END));
    let calls = alone.done.1.load(Ordering::Relaxed);
    let [mut first_ones, mut second_ones] = [0, 0];
    for before in (calls * 3 / 5..calls).step_by(4) {
        for meanwhile in (0..calls).step_by(4) {
            let rows = memory();
            let [one, other] = [&source.file, &second].map(|file| Slow::new(&rows, file));
            let turns = async {
                one.go(before).await;
                other.go(meanwhile).await;
                one.go(TO_THE_END).await;
                other.go(TO_THE_END).await;
            };
            futures::join!(one.run(), other.run(), turns);
            let why = format!("{before}, {meanwhile}: {:?} {:?}", one.result, other.result);
            assert!(!one.is_done() || !other.is_done(), "{why}");
            if !one.is_done() && !other.is_done() {
                load(&rows, &second, true).await.unwrap();
            }
            source.check(&rows, &why).await;
            first_ones += usize::from(one.is_done());
            second_ones += usize::from(other.is_done());
        }
    }
    assert!(first_ones > 0 && second_ones > 10, "{first_ones}, {second_ones}");
}
