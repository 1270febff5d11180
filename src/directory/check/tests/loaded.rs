//! Loads that are cut off, or begin anew with another file.

use super::{
    copied::{File, export, export_all, loader, memory, rows_of},
    *,
};
use crate::{
    backup::{Error as BackupError, Loaded, Loader},
    rows::CONTROL,
    store::{
        counting::CountingStore,
        faults::{Call, Fault, FaultStore},
    },
    tenants::KeptDays,
};

const PATIENCE: Duration = Duration::from_mins(5);

type Rows = BTreeMap<String, (Vec<u8>, Vec<u8>)>;

/// A store with two tenants, all of it in one file.
pub(super) struct Source {
    pub(super) worlds: Vec<World>,
    pub(super) store: Arc<dyn Store>,
    pub(super) file: File,
}

impl Source {
    /// The first one has so many users more.
    pub(super) async fn new(tenants: usize, users: usize) -> Self {
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
        export_all(&store, &file).await;
        Self { worlds, store, file }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.worlds.iter().map(|world| &*world.directory.access.tenant.id)
    }

    /// All of it is in this store, and nothing else.
    pub(super) async fn check(&self, there: &Arc<dyn Store>, why: &str) {
        for partition in self.ids().chain([CONTROL]) {
            let rows = rows_of(there, partition).await;
            let expected = rows_of(&self.store, partition).await;
            let differs = |key: &&String| rows.get(*key) != expected.get(*key);
            let differ: Vec<_> = rows.keys().chain(expected.keys()).filter(differs).collect();
            assert!(differ.is_empty(), "{why}: {partition}: {differ:?}");
        }
    }
}

pub(super) async fn load(store: &Arc<dyn Store>, file: &File, discards: bool) -> Result<Vec<Loaded>, BackupError> {
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
