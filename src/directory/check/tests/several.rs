//! Backups of several tenants: whoever can't be read, or is called otherwise meanwhile; and a file that is another one.

use std::sync::Mutex;

use async_trait::async_trait;

use super::{
    copied::{File, export, export_all, loader, memory, rows_of},
    *,
};
use crate::{
    ambient::{Ambient, Skewed},
    backup::Error as BackupError,
    rows::CONTROL,
    store::{self, Page},
    tenants,
};

const PATIENCE: Duration = Duration::from_mins(5);

/// Before a scan of a partition that begins so, or a commit anywhere, something is done: once, or each time.
struct Hooked {
    rows: Arc<dyn Store>,
    at: (String, String),
    deeds: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl Hooked {
    async fn next(&self) {
        let deed = self.deeds.lock().unwrap().pop();
        if let Some(deed) = deed {
            deed.await;
        }
    }
}

#[async_trait]
impl Store for Hooked {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, store::Error> {
        self.rows.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, store::Error> {
        if partition == self.at.0 && from.starts_with(&self.at.1) {
            self.next().await;
        }
        self.rows.scan(partition, from, until, limit).await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), store::Error> {
        self.next().await;
        self.rows.commit(partition, changes).await
    }
}

/// While this partition is scanned from such a key, the last of these is done, then the one before it.
fn hooked(rows: &Arc<dyn Store>, at: (&str, &str), deeds: Vec<BoxFuture<'static, ()>>) -> Arc<dyn Store> {
    Arc::new(Hooked {
        rows: Arc::clone(rows),
        at: (at.0.to_owned(), at.1.to_owned()),
        deeds: Mutex::new(deeds),
    })
}

fn opened(file: &File) -> std::fs::File {
    std::fs::File::open(file.path()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Two tenants in a store, and their names.
async fn two() -> (Arc<dyn Store>, [World; 2], [String; 2]) {
    let store = memory();
    let worlds = [
        World::new(Arc::clone(&store)).await,
        World::new(Arc::clone(&store)).await,
    ];
    let names = worlds
        .each_ref()
        .map(|world| world.directory.access.tenant.name.clone());
    for world in &worlds {
        world.user("somebody").await;
        world.directory.shared.idle().await;
    }
    (store, worlds, names)
}

/// The others are in the file, which says who is not.
async fn check_missing(store: Arc<dyn Store>, missing: &str, there: &str, why: &str) {
    let file = File::new();
    let exported = export_all(&store, &file).await;
    assert_eq!(exported.tenants, [there]);
    assert_eq!(exported.missing.len(), 1);
    assert!(
        exported.missing[0].0 == missing && exported.missing[0].1.contains(why),
        "{exported:?}"
    );
    let other = memory();
    let loaded = loader(&other).load(opened(&file), None).await.unwrap();
    let told: Vec<_> = loaded.iter().map(|one| (&*one.name, one.missing.is_some())).collect();
    assert_eq!(told, [(there, false), (missing, true)]);
    let other = memory();
    let refused = loader(&other).load(opened(&file), Some(missing)).await.unwrap_err();
    assert!(matches!(refused, BackupError::Missing(_, _)), "{refused}");
    assert!(rows_of(&other, CONTROL).await.is_empty());
    loader(&other).load(opened(&file), Some(there)).await.unwrap();
}

#[tokio::test]
async fn one_tenant_that_cannot_be_read_keeps_none_of_the_others_from_a_backup() {
    let (store, worlds, names) = two().await;
    for broken in [
        format!("tenant~{}", names[0]),
        format!("id~{}", worlds[0].directory.access.tenant.id),
    ] {
        let was = store.get(CONTROL, &[&broken]).await.unwrap().remove(0).unwrap();
        let write = |body: &[u8]| {
            Change::Upsert(Write {
                key: broken.clone(),
                stamp: Vec::new(),
                body: body.to_vec(),
            })
        };
        store.commit(CONTROL, &[write(b"{}")]).await.unwrap();
        check_missing(Arc::clone(&store), &names[0], &names[1], "cannot be read").await;
        store.commit(CONTROL, &[write(&was.body)]).await.unwrap();
    }
}

/// Whatever is read of it has changed once more.
#[tokio::test]
async fn one_tenant_that_outruns_its_backup_keeps_none_of_the_others_from_it() {
    let (store, worlds, names) = two().await;
    let [busy, _] = &worlds;
    let id = busy.directory.access.tenant.id.clone();
    let mut deeds: Vec<BoxFuture<'static, ()>> = Vec::new();
    for number in 0..1_000 {
        let (store, id) = (Arc::clone(&store), id.clone());
        deeds.push(Box::pin(async move {
            let operation = Operation::new(System.now(), number, System.secret());
            let event = EventBody::new("patch", ("User", "somebody"), "test", operation.time());
            let event = Change::Insert(write(rows::event_key(&operation), &event));
            store.commit(&id, &[event]).await.unwrap();
        }));
    }
    let busy = hooked(&store, (&id, "o~"), deeds);
    check_missing(busy, &names[0], &names[1], "faster than the backup").await;
}

/// Removes it, all steps in one.
async fn remove(store: &Arc<dyn Store>, name: &str) {
    let tenants = Tenants::new(Arc::clone(store), Arc::new(System));
    tenants.remove(name, "test", soon()).await.unwrap();
    let later = Skewed(Arc::new(System), time::Duration::HOUR);
    let tenants = Tenants::new(Arc::clone(store), Arc::new(later));
    let mut removal = tenants.remove(name, "test", soon()).await.unwrap();
    while removal.step(soon()).await.unwrap() != tenants::Progress::Done {}
}

/// docs/recovery.md: what was damaged is deleted, then loaded.
#[tokio::test]
async fn a_tenant_that_was_deleted_comes_back_as_it_was() {
    let (store, worlds, names) = two().await;
    let file = File::new();
    export_all(&store, &file).await;
    let id = &worlds[0].directory.access.tenant.id;
    let was = rows_of(&store, id).await;
    worlds[0].user("after the backup").await;
    let refused = loader(&store).load(opened(&file), Some(&names[0])).await.unwrap_err();
    assert!(refused.to_string().contains("in this store already"), "{refused}");
    remove(&store, &names[0]).await;
    assert!(rows_of(&store, id).await.is_empty());
    let others = rows_of(&store, &worlds[1].directory.access.tenant.id).await;
    let loaded = loader(&store).load(opened(&file), Some(&names[0])).await.unwrap();
    assert!(loaded[0].report.as_ref().is_some_and(Report::is_sound));
    assert_eq!(rows_of(&store, id).await, was);
    assert_eq!(rows_of(&store, &worlds[1].directory.access.tenant.id).await, others);
}

/// An operator's event that nobody can read is in a backup of all, and no tenant's; a load that ended badly has left its fence.
#[tokio::test]
async fn what_is_no_tenants_keeps_none_from_coming_back() {
    let (store, worlds, names) = two().await;
    let odd = |key: &str, body: &[u8]| {
        Change::Insert(Write {
            key: key.to_owned(),
            stamp: Vec::new(),
            body: body.to_vec(),
        })
    };
    let event = rows::event_key(&Operation::new(System.now(), 0, System.secret()));
    store.commit(CONTROL, &[odd(&event, b"{")]).await.unwrap();
    let id = &worlds[0].directory.access.tenant.id;
    let was = rows_of(&store, id).await;
    store.commit(id, &[odd("load~somebody", b"")]).await.unwrap();
    let [all, one] = [File::new(), File::new()];
    export_all(&store, &all).await;
    export(Arc::clone(&store), &worlds[0], &one.path()).await.unwrap();
    for file in [&all, &one] {
        let other = memory();
        loader(&other).load(opened(file), Some(&names[0])).await.unwrap();
        assert_eq!(rows_of(&other, id).await, was);
        assert!(!rows_of(&other, CONTROL).await.contains_key(&event));
    }
}

/// No file is made that has nothing in it.
#[tokio::test]
async fn of_a_tenant_that_is_removed_meanwhile_there_is_no_backup() {
    let (store, [world, _], [name, _]) = two().await;
    let (below, removed) = (Arc::clone(&store), name.clone());
    let deed: BoxFuture<'static, ()> = Box::pin(async move { remove(&below, &removed).await });
    let file = File::new();
    let hooked = hooked(&store, (&world.directory.access.tenant.id, ""), vec![deed]);
    let refused = export(hooked, &world, &file.path()).await.unwrap_err();
    assert!(
        refused.to_string().starts_with(&format!("there is no tenant '{name}'")),
        "{refused}"
    );
    assert!(!file.path().exists());
}

/// While another one is read, and while it is read itself: it is in the file once, by the name that it has at the end.
#[tokio::test]
async fn a_tenant_that_gets_another_name_meanwhile_is_in_the_backup_by_that() {
    for renamed in [0, 1] {
        let (store, worlds, mut names) = two().await;
        let mut order = [0, 1];
        order.sort_by_key(|at| names[*at].clone());
        let to = format!("a{}", names[renamed]);
        let tenants = Tenants::new(Arc::clone(&store), Arc::new(System));
        let (from, deed_to) = (names[renamed].clone(), to.clone());
        let rename: BoxFuture<'static, ()> = Box::pin(async move {
            tenants.rename(&from, &deed_to, "test", soon()).await.unwrap();
        });
        let first = &worlds[order[0]].directory.access.tenant.id;
        let file = File::new();
        let exported = export_all(&hooked(&store, (first, ""), vec![rename]), &file).await;
        names[renamed].clone_from(&to);
        assert_eq!(exported.tenants, order.map(|at| names[at].clone()));
        assert_eq!((exported.removed.len(), exported.missing.len()), (0, 0));
        let other = memory();
        let loaded = loader(&other).load(opened(&file), Some(&to)).await.unwrap();
        assert_eq!((loaded.len(), &loaded[0].name), (1, &to));
        let id = &worlds[renamed].directory.access.tenant.id;
        assert_eq!(rows_of(&other, id).await, rows_of(&store, id).await);
    }
}

/// A process whose clock is late writes what one with a right clock builds upon.
#[tokio::test]
async fn what_a_process_with_a_late_clock_writes_meanwhile_is_in_the_backup() {
    let (store, [world, _], [name, _]) = two().await;
    let group = world.group("everybody", &[]).await;
    let tenant = world.directory.access.tenant.id.clone();
    let made = Arc::new(Mutex::new(String::new()));
    let (late, right, of) = (world.directory(), world.directory(), Arc::clone(&world.users));
    let (groups, made_now, of_group) = (Arc::clone(&world.groups), Arc::clone(&made), group.clone());
    let deed: BoxFuture<'static, ()> = Box::pin(async move {
        let late = Directory {
            ambient: Arc::new(Skewed(Arc::new(System), -time::Duration::minutes(14))),
            ..late
        };
        let (shown, mut trace) = (Shown::written(&of, &Selection::default()), Trace::default());
        let user = json!({ "schemas": [of.schema.id], "userName": "late" });
        let user = late.create(&of, shown, user, &mut trace).await.unwrap().envelope.id;
        let shown = Shown::written(&groups, &Selection::default());
        let message = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "add", "path": "members", "value": [{ "value": user }] }],
        });
        let patched = right.patch(&groups, &of_group, &Precondition::None, shown, &message, &mut trace);
        patched.await.unwrap();
        *made_now.lock().unwrap() = user;
    });
    // Its rows have been read when what is left to do is looked at again.
    let nothing: BoxFuture<'static, ()> = Box::pin(async {});
    let file = File::new();
    export_all(&hooked(&store, (&tenant, "pend~"), vec![deed, nothing]), &file).await;
    let other = memory();
    let loaded = loader(&other).load(opened(&file), Some(&name)).await.unwrap().remove(0);
    assert!(loaded.report.unwrap().is_sound());
    let user = made.lock().unwrap().clone();
    let there = rows_of(&other, &tenant).await;
    for key in [rows::resource_key("u", &user), rows::member_key(&group, &user)] {
        assert!(there.contains_key(&key), "{key}");
    }
}

/// It is read twice: what was looked at must be what is loaded.
#[tokio::test]
async fn a_file_that_is_changed_while_it_is_loaded_lets_nobody_in() {
    let (store, worlds, [name, _]) = two().await;
    for number in 0..60 {
        worlds[0].user(&format!("user{number}")).await;
    }
    worlds[0].directory.shared.idle().await;
    let file = File::new();
    export_all(&store, &file).await;
    let whole = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let half = lines[..lines.len() / 4].concat();
    let less = crate::backup::sealed(&[&lines[..60], &lines[61..]].concat().concat());
    let other_user = whole.replace("user59", "user00");
    for text in [half, less, other_user] {
        std::fs::write(file.path(), &whole).unwrap();
        let path = file.path();
        let change: BoxFuture<'static, ()> = Box::pin(async move { std::fs::write(path, text).unwrap() });
        let rows = memory();
        let changed = hooked(&rows, ("nowhere", ""), vec![change]);
        let refused = loader(&changed)
            .load(opened(&file), Some(&name))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("while it was read") || refused.contains("none of a backup"),
            "{refused}"
        );
        let control = rows_of(&rows, CONTROL).await;
        assert!(
            control.keys().all(|key| key.starts_with("load~")),
            "{:?}",
            control.keys()
        );
    }
}
