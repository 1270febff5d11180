//! Backups: what is in one, and that it fits together whatever others write while it is made.

use std::{path::Path, sync::atomic::AtomicUsize};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::{sync::Semaphore, task::yield_now};

use super::{live::write_at_random, *};
use crate::{
    backup::{Error as BackupError, Exported, Exporter, Loaded, Loader, Target},
    rows::{CONTROL, Key},
    store::{
        self, Page,
        faults::{Call, Fault, FaultStore},
        tables::tests::azurite,
    },
};

const PATIENCE: Duration = Duration::from_mins(5);

/// Rows come a few at a time, and with every so many reads, others may go one call on.
pub(super) struct Between {
    pub(super) rows: Arc<dyn Store>,
    pub(super) others: Arc<Semaphore>,
    pub(super) reads: AtomicUsize,
    pub(super) every: usize,
    /// Reads before they may begin.
    pub(super) from: usize,
}

impl Between {
    async fn others(&self) {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        if read >= self.from && read.is_multiple_of(self.every) {
            self.others.add_permits(1);
        }
        yield_now().await;
    }
}

#[async_trait]
impl Store for Between {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, store::Error> {
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            self.others().await;
            rows.extend(self.rows.get(partition, &[key]).await?);
        }
        Ok(rows)
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, store::Error> {
        self.others().await;
        self.rows.scan(partition, from, until, 20.min(limit)).await
    }

    async fn commit(&self, _: &str, _: &[Change]) -> Result<(), store::Error> {
        panic!("who makes a backup writes nothing")
    }
}

/// Others, each call of whom waits until it may go on.
pub(super) struct Paced(pub(super) Arc<dyn Store>, pub(super) Arc<Semaphore>);

impl Paced {
    async fn turn(&self) {
        if let Ok(permit) = self.1.acquire().await {
            permit.forget();
        }
    }
}

#[async_trait]
impl Store for Paced {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, store::Error> {
        self.turn().await;
        self.0.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, store::Error> {
        self.turn().await;
        self.0.scan(partition, from, until, limit).await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), store::Error> {
        self.turn().await;
        self.0.commit(partition, changes).await
    }
}

pub(super) fn memory() -> Arc<dyn Store> {
    Arc::new(SqliteStore::memory().unwrap())
}

fn exporter(store: &Arc<dyn Store>) -> Exporter {
    Exporter {
        store: Arc::clone(store),
        tenants: Tenants::new(Arc::clone(store), Arc::new(System)),
        ambient: Arc::new(System),
        patience: PATIENCE,
        progress: |_, _| {},
    }
}

/// Makes a backup of the tenant.
pub(super) async fn export(store: Arc<dyn Store>, world: &World, file: &Path) -> Result<(), BackupError> {
    let tenant = &world.directory.access.tenant;
    exporter(&store)
        .write(Some(tenant), Target::file(file)?)
        .await
        .map(drop)
}

/// Makes a backup of the whole store.
pub(super) async fn export_all(store: &Arc<dyn Store>, file: &File) -> Exported {
    exporter(store)
        .write(None, Target::file(&file.path()).unwrap())
        .await
        .unwrap()
}

pub(super) fn loader(store: &Arc<dyn Store>) -> Loader {
    Loader {
        store: Arc::clone(store),
        tenants: Tenants::new(Arc::clone(store), Arc::new(System)),
        ambient: Arc::new(System),
        patience: PATIENCE,
        by: "test".to_owned(),
        progress: |_, _, _| {},
        discards: false,
    }
}

pub(super) async fn load(store: &Arc<dyn Store>, world: &World, file: &Path) -> Result<Loaded, BackupError> {
    let name = &world.directory.access.tenant.name;
    let mut loaded = loader(store).load(std::fs::File::open(file)?, Some(name)).await?;
    Ok(loaded.remove(0))
}

/// All rows but etags, marks, and what a load notes in the log.
pub(super) async fn rows_of(store: &Arc<dyn Store>, partition: &str) -> BTreeMap<String, (Vec<u8>, Vec<u8>)> {
    let page = store.scan(partition, "", "~", 100_000).await.unwrap();
    let rows = page
        .rows
        .into_iter()
        .filter(|row| !matches!(Key::parse(&row.key), Some(Key::Mark(_))))
        .filter(|row| !String::from_utf8_lossy(&row.body).contains(r#""kind":"tenant-load""#));
    rows.map(|row| (row.key, (row.stamp, row.body))).collect()
}

async fn inspected(store: &Arc<dyn Store>, world: &World) -> Report {
    let directory = Directory {
        store: Arc::clone(store),
        shared: Arc::default(),
        ..world.directory()
    };
    Inspection::new(directory, PATIENCE, 5, |_| {}).check().await.unwrap()
}

pub(super) struct File(TempDir);

impl File {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.0.path().join("backup.jsonl")
    }
}

/// From one store to another, row by row: versions, tombstones, events, credentials.
async fn check_copy(from: Arc<dyn Store>, to: Arc<dyn Store>) {
    let (world, _) = World::with_damages(from).await;
    let file = File::new();
    export(Arc::clone(&world.store), &world, &file.path()).await.unwrap();
    let loaded = load(&to, &world, &file.path()).await.unwrap();
    let report = loaded.report.unwrap();
    assert!(report.is_sound() && report.mended.is_empty(), "{report:?}");
    let id = &world.directory.access.tenant.id;
    let rows = rows_of(&to, id).await;
    assert!(rows.len() > 40, "{}", rows.len());
    assert_eq!(rows, rows_of(&world.store, id).await);
    for (key, row) in rows_of(&world.store, CONTROL).await {
        if key.contains(id) || key.contains(&world.directory.access.tenant.name) {
            assert_eq!(rows_of(&to, CONTROL).await.get(&key), Some(&row), "{key}");
        }
    }
    assert!(inspected(&to, &world).await.is_sound());
    let again = load(&to, &world, &file.path()).await.unwrap_err();
    assert!(again.to_string().contains("in this store already"), "{again}");
}

#[tokio::test]
async fn what_is_loaded_is_what_was_there() {
    check_copy(memory(), memory()).await;
}

#[tokio::test]
async fn what_is_loaded_into_another_kind_of_store_is_what_was_there() {
    if let (Some(one), Some(other)) = (azurite().await, azurite().await) {
        check_copy(memory(), Arc::new(one)).await;
        check_copy(Arc::new(other), memory()).await;
    }
}

/// Each user is as its newest event in the backup left it: whole, or gone whole.
fn check_users(rows: &BTreeMap<String, (Vec<u8>, Vec<u8>)>) {
    let mut newest: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (key, (_, body)) in rows.iter().filter(|(key, _)| key.starts_with("o~")) {
        if let (Some(Key::Event(operation)), Ok(event)) = (Key::parse(key), serde_json::from_slice::<EventBody>(body))
            && event.resource_type == "User"
            && event.kind != "repair"
        {
            newest.insert(event.id, (operation.to_owned(), event.kind));
        }
    }
    assert!(newest.len() > 20);
    for (id, (operation, kind)) in newest {
        let live = rows.get(&rows::resource_key("u", &id));
        let gone = rows.get(&rows::gone_key(&id));
        assert_eq!(
            (live.is_some(), gone.is_some()),
            (kind != "delete", kind == "delete"),
            "{id}"
        );
        let stamp: rows::Stamp = serde_json::from_slice(&live.or(gone).unwrap().0).unwrap();
        assert_eq!(stamp.version, operation, "{id}: the newest event is a {kind}");
    }
}

/// The rows that a write of before left, of resources that nobody touched since.
async fn untouched(world: &World) -> BTreeMap<String, (Vec<u8>, Vec<u8>)> {
    let mut users = Vec::new();
    for number in 0..40 {
        users.push(world.user(&format!("before{number}")).await);
    }
    let group = world.group("before", &users).await;
    let rows = rows_of(&world.store, &world.directory.access.tenant.id).await;
    let named = |key: &String| users.iter().chain([&group]).any(|id| key.contains(&**id));
    rows.into_iter()
        .filter(|(key, _)| named(key) && !key.starts_with("pend~"))
        .collect()
}

#[tokio::test]
async fn a_backup_of_a_store_in_use_fits_together_and_lacks_nothing_that_was_answered_before() {
    for seed in 0..3 {
        fastrand::seed(seed);
        let rows = memory();
        let turns = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2));
        let world = World::new(Arc::new(Paced(Arc::clone(&rows), Arc::clone(&turns)))).await;
        let before = untouched(&world).await;
        let group = world.group("all", &[]).await;
        turns.forget_permits(usize::MAX);
        let between = Between {
            rows: Arc::clone(&rows),
            others: Arc::clone(&turns),
            reads: AtomicUsize::new(0),
            every: 4,
            from: 0,
        };
        let stop = AtomicBool::new(false);
        let write = || write_at_random(&world, &group, &stop);
        let file = File::new();
        let backup = async {
            // Something has just been changed, and is being changed.
            turns.add_permits(800);
            while turns.available_permits() > 0 {
                yield_now().await;
            }
            let exported = export(Arc::new(between), &world, &file.path()).await;
            stop.store(true, Ordering::Relaxed);
            turns.add_permits(Semaphore::MAX_PERMITS / 2);
            exported.unwrap();
        };
        futures::join!(backup, write(), write(), write());

        let other = memory();
        let loaded = load(&other, &world, &file.path()).await.unwrap();
        let report = loaded.report.unwrap();
        assert!(report.is_sound(), "seed {seed}: {:?}", report.findings);
        let report = inspected(&other, &world).await;
        assert!(report.is_sound(), "seed {seed}: {:?}", report.findings);
        let there = rows_of(&other, &world.directory.access.tenant.id).await;
        for (key, row) in before {
            assert!(there.get(&key) == Some(&row), "seed {seed}: {key}");
        }
        check_users(&there);
    }
}

/// Answers that are lost, commits that come twice.
#[tokio::test(start_paused = true)]
async fn faults_of_storage_do_no_harm() {
    let (world, _) = World::with_damages(memory()).await;
    let file = File::new();
    let faulty = Arc::new(FaultStore::new(Arc::clone(&world.store)));
    faulty.inject(Call::Any, 2..=3, Fault::Unavailable);
    export(faulty, &world, &file.path()).await.unwrap();
    let rows = memory();
    let faulty = Arc::new(FaultStore::new(Arc::clone(&rows)));
    for number in [1, 3, 4, 7, 9, 12] {
        faulty.inject(Call::Commit, number..=number, Fault::LoseAnswer);
    }
    let faulty: Arc<dyn Store> = faulty;
    load(&faulty, &world, &file.path()).await.unwrap();
    let id = &world.directory.access.tenant.id;
    assert_eq!(rows_of(&rows, id).await, rows_of(&world.store, id).await);
}

/// A file is input from outside: it is believed when it is whole, and writes only where its tenant is.
#[tokio::test(start_paused = true)]
async fn a_file_that_is_no_whole_backup_changes_nothing() {
    let (world, _) = World::with_damages(memory()).await;
    let file = File::new();
    export(Arc::clone(&world.store), &world, &file.path()).await.unwrap();
    let whole = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let cut = whole.split_inclusive('\n').take(20).collect::<String>();
    let first_row = lines.iter().position(|line| line.starts_with("{\"row\"")).unwrap();
    let without = |at: usize| {
        let kept = whole
            .split_inclusive('\n')
            .enumerate()
            .filter(|(number, _)| *number != at);
        kept.map(|(_, line)| line).collect::<String>()
    };
    let newer = whole.replacen("\"format\":1", "\"format\":2", 1);
    for (text, says) in [
        (String::new(), "does not begin"),
        ("{}\n".to_owned(), "none of a backup's lines"),
        (cut, "cut off"),
        (whole[..whole.len() - 1].to_owned(), "cut off"),
        (whole.replacen("user", "USER", 1), "does not confirm"),
        (without(first_row), "does not confirm"),
        (format!("{whole}{{}}\n"), "follows the end"),
        (newer, "upgrade scimgate"),
    ] {
        let other = memory();
        std::fs::write(file.path(), text).unwrap();
        let refused = load(&other, &world, &file.path()).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{says}: {refused}");
        assert!(rows_of(&other, CONTROL).await.is_empty());
    }
}

/// With a checksum of its own making, a file can't reach another tenant.
#[tokio::test(start_paused = true)]
async fn a_file_reaches_no_other_tenant() {
    let (world, _) = World::with_damages(memory()).await;
    let file = File::new();
    export(Arc::clone(&world.store), &world, &file.path()).await.unwrap();
    let whole = std::fs::read_to_string(file.path()).unwrap();
    let id = &world.directory.access.tenant.id;
    for (from, to) in [
        (format!("\"id~{id}\""), "\"id~another\"".to_owned()),
        (format!("\"of~{id}~"), "\"of~another~".to_owned()),
        (
            "{\"control\":{\"key\":\"token~".to_owned(),
            "{\"control\":{\"key\":\"tenant~another".to_owned(),
        ),
        (
            format!("{{\"tenant\":{{\"id\":\"{id}\""),
            "{\"tenant\":{\"id\":\"control\"".to_owned(),
        ),
        (
            format!("{{\"tenant\":{{\"id\":\"{id}\""),
            "{\"tenant\":{\"id\":\"a/b\"".to_owned(),
        ),
        // What people are shown, and a credential that nothing names.
        (
            "\\\"label\\\":\\\"".to_owned(),
            "\\\"label\\\":\\\"\\\\u001b".to_owned(),
        ),
        (
            "\\\"contact\\\":\\\"".to_owned(),
            "\\\"contact\\\":\\\"\\\\n".to_owned(),
        ),
        (format!("\"key\":\"of~{id}~"), "\"key\":\"dropped~".to_owned()),
        (format!("\"key\":\"of~{id}~"), format!("\"key\":\"of~{id}~x")),
    ] {
        let forged = crate::backup::sealed(&whole.replacen(&from, &to, 1));
        assert_ne!(forged, whole);
        std::fs::write(file.path(), forged).unwrap();
        let other = memory();
        let name = &world.directory.access.tenant.name;
        let opened = std::fs::File::open(file.path()).unwrap();
        assert!(loader(&other).load(opened, Some(name)).await.is_err(), "{to}");
        let control = rows_of(&other, CONTROL).await;
        assert!(
            control.keys().all(|key| key.starts_with("load~")),
            "{:?}",
            control.keys()
        );
    }
}
