//! Loads that are cut off, come twice at once, or begin anew with another file.

use std::{
    path::Path,
    sync::{OnceLock, atomic::AtomicUsize},
};

use async_trait::async_trait;
use tokio::{sync::Semaphore, time::sleep};

use super::{
    copied::{File, Paced, export, loader, memory, rows_of},
    *,
};
use crate::{
    backup::{Error as BackupError, Exporter, Loaded, Loader, Target},
    rows::CONTROL,
    store::{
        self, Page,
        counting::CountingStore,
        faults::{Call, Fault, FaultStore},
    },
    tenants::KeptDays,
};

const PATIENCE: Duration = Duration::from_mins(5);

type Rows = BTreeMap<String, (Vec<u8>, Vec<u8>)>;

/// A store with two tenants, all of it in one file.
struct Source {
    worlds: Vec<World>,
    store: Arc<dyn Store>,
    file: File,
}

impl Source {
    /// The first one has so many users more.
    async fn new(tenants: usize, users: usize) -> Self {
        let store = memory();
        let mut worlds = Vec::new();
        for at in 0..tenants {
            let (world, _) = World::with_damages(Arc::clone(&store)).await;
            for number in 0..if at == 0 { users } else { 0 } {
                world.user(&format!("user{number}")).await;
            }
            world.directory.shared.idle().await;
            worlds.push(world);
        }
        let tenants = Tenants::new(Arc::clone(&store), Arc::new(System));
        let days = KeptDays {
            deleted: 60,
            history: 100,
        };
        let noted = tenants.note_settings(days, Duration::from_secs(15), Instant::now() + PATIENCE);
        noted.await.unwrap();
        let file = File::new();
        export_all(&store, &file.path()).await;
        Self { worlds, store, file }
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.worlds.iter().map(|world| &*world.directory.access.tenant.id)
    }

    /// All of it is in this store, and nothing else.
    async fn check(&self, there: &Arc<dyn Store>, why: &str) {
        for partition in self.ids().chain([CONTROL]) {
            let rows = rows_of(there, partition).await;
            let expected = rows_of(&self.store, partition).await;
            let differs = |key: &&String| rows.get(*key) != expected.get(*key);
            let differ: Vec<_> = rows.keys().chain(expected.keys()).filter(differs).collect();
            assert!(differ.is_empty(), "{why}: {partition}: {differ:?}");
        }
    }
}

async fn export_all(store: &Arc<dyn Store>, file: &Path) {
    let exporter = Exporter {
        store: Arc::clone(store),
        tenants: Tenants::new(Arc::clone(store), Arc::new(System)),
        ambient: Arc::new(System),
        patience: PATIENCE,
        progress: |_, _| {},
    };
    exporter.write(None, Target::file(file).unwrap()).await.unwrap();
}

async fn load(store: &Arc<dyn Store>, file: &File, discards: bool) -> Result<Vec<Loaded>, BackupError> {
    let loader = Loader {
        discards,
        ..loader(store)
    };
    loader.load(std::fs::File::open(file.path()).unwrap(), None).await
}

/// A store that fails for good after so many commits.
fn cut(rows: &Arc<dyn Store>, commits: usize) -> Arc<dyn Store> {
    let broken = FaultStore::new(Arc::clone(rows));
    broken.inject(Call::Commit, commits + 1.., Fault::LoseRequest);
    Arc::new(broken)
}

/// How many commits a load takes that nothing disturbs.
async fn commits(file: &File) -> usize {
    let counting = Arc::new(CountingStore::new(memory()));
    let store: Arc<dyn Store> = Arc::clone(&counting) as Arc<dyn Store>;
    load(&store, file, false).await.unwrap();
    counting.counts().commits
}

/// Cut off after any commit, then again: exact result, the log too.
#[tokio::test(start_paused = true)]
async fn loading_that_was_cut_off_goes_on() {
    let source = Source::new(2, 100).await;
    let commits = commits(&source.file).await;
    assert!(commits > 20, "{commits}");
    for after in 0..commits {
        let rows = memory();
        load(&cut(&rows, after), &source.file, false).await.unwrap_err();
        let loaded = load(&rows, &source.file, false).await.unwrap();
        for one in loaded {
            assert!(one.report.is_none_or(|report| report.mended.is_empty()), "{after}");
        }
        source.check(&rows, &format!("cut off after {after}")).await;
    }
}

/// One tenant, cut off after any commit, then again.
#[tokio::test(start_paused = true)]
async fn loading_one_tenant_that_was_cut_off_goes_on() {
    let source = Source::new(1, 10).await;
    let tenant = &source.worlds[0].directory.access.tenant;
    let file = || std::fs::File::open(source.file.path()).unwrap();
    for after in 0.. {
        let rows = memory();
        let was_cut = loader(&cut(&rows, after))
            .load(file(), Some(&tenant.name))
            .await
            .is_err();
        if was_cut {
            loader(&rows).load(file(), Some(&tenant.name)).await.unwrap();
        }
        let control = rows_of(&rows, CONTROL).await;
        for (key, row) in rows_of(&source.store, CONTROL).await {
            assert!(key == "kept" || control.get(&key) == Some(&row), "{after}: {key}");
        }
        assert!(!control.keys().any(|key| key.starts_with("load~")), "{after}");
        assert_eq!(
            rows_of(&rows, &tenant.id).await,
            rows_of(&source.store, &tenant.id).await
        );
        if !was_cut {
            assert!(after > 10);
            return;
        }
    }
}

/// What is left of the first file goes with --discard, which may be cut off too, and with nothing else.
#[tokio::test(start_paused = true)]
async fn another_file_leaves_nothing_of_the_first_one() {
    let [first, second] = [Source::new(2, 10).await, Source::new(1, 0).await];
    let commits = commits(&first.file).await;
    let mut in_use = 0;
    for after in 1..commits {
        let rows = memory();
        load(&cut(&rows, after), &first.file, false).await.unwrap_err();
        let refused = load(&rows, &second.file, false).await.unwrap_err().to_string();
        assert!(refused.contains("--discard"), "{after}: {refused}");
        let done = load(&cut(&rows, after % 5), &second.file, true).await.unwrap_err();
        if done.to_string().contains("is in use") {
            in_use += 1;
            continue;
        }
        load(&rows, &second.file, true).await.unwrap();
        second.check(&rows, &format!("another file after {after}")).await;
        for id in first.ids() {
            assert_eq!(rows_of(&rows, id).await, Rows::new(), "{after}");
        }
    }
    assert!(in_use > 0 && in_use < commits / 2 + 5, "{in_use} of {commits}");
}

/// The same tenant as it was at two times: of the first file nothing is left, no credential and no row.
#[tokio::test(start_paused = true)]
async fn another_file_of_the_same_tenant_takes_its_place() {
    let source = Source::new(1, 10).await;
    let world = &source.worlds[0];
    let tenant = &world.directory.access.tenant;
    let deadline = || Instant::now() + PATIENCE;
    let tenants = Tenants::new(Arc::clone(&source.store), Arc::new(System));
    for label in ["one", "two"] {
        let terms = Terms {
            label: label.to_owned(),
            ..Terms::default()
        };
        tenants
            .add_credential(&tenant.name, None, &terms, "test", deadline())
            .await
            .unwrap();
    }
    let [first, second] = [File::new(), File::new()];
    export(Arc::clone(&source.store), world, &first.path()).await.unwrap();
    let old = tenants.credentials(&tenant.name, deadline()).await.unwrap();
    for credential in old {
        tenants
            .revoke(&tenant.name, &credential.id, "test", deadline())
            .await
            .unwrap();
    }
    for number in 0..30 {
        world.user(&format!("later{number}")).await;
    }
    world.directory.shared.idle().await;
    export(Arc::clone(&source.store), world, &second.path()).await.unwrap();
    let load = async |store: &Arc<dyn Store>, file: &File, discards| {
        let loader = Loader {
            discards,
            ..loader(store)
        };
        let file = std::fs::File::open(file.path()).unwrap();
        loader.load(file, Some(&tenant.name)).await
    };
    for after in 0.. {
        let rows = memory();
        if load(&cut(&rows, after), &first, false).await.is_ok() {
            assert!(after > 8, "{after}");
            return;
        }
        let is_there = rows_of(&rows, CONTROL).await.contains_key(&format!("id~{}", tenant.id));
        if after > 0 && !is_there {
            let refused = load(&rows, &second, false).await.unwrap_err().to_string();
            assert!(refused.contains("--discard"), "{after}: {refused}");
        }
        let done = load(&cut(&rows, after % 7), &second, true)
            .await
            .unwrap_err()
            .to_string();
        if is_there {
            assert!(done.contains("in this store already"), "{after}: {done}");
            continue;
        }
        load(&rows, &second, true).await.unwrap();
        assert_eq!(
            rows_of(&rows, &tenant.id).await,
            rows_of(&source.store, &tenant.id).await
        );
        let of_tenant = |(key, _): &(&String, &(Vec<u8>, Vec<u8>))| !key.starts_with("o~") && *key != "kept";
        let there = rows_of(&rows, CONTROL).await;
        let expected = rows_of(&source.store, CONTROL).await;
        assert!(
            there.iter().filter(of_tenant).eq(expected.iter().filter(of_tenant)),
            "{after}"
        );
    }
}

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
    export_all(&source.store, &file.path()).await;
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
    export_all(&source.store, &second.path()).await;
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
