//! Backups that are made while somebody comes back: with all groups, there and deleted, or not yet; and of a group with all members.

use std::sync::{Mutex, atomic::AtomicUsize};

use async_trait::async_trait;
use tokio::{sync::Semaphore, task::yield_now};

use super::{
    copied::{Between, File, Paced, export, load, memory, rows_of},
    *,
};
use crate::store::{self, Page};

const GROUPS: usize = 60;
const RETENTION: time::Duration = time::Duration::days(30);

/// The user's groups in a store: those that it is in, and those that it would be in with them.
async fn groups_of(world: &World, store: &Arc<dyn Store>, user: &str) -> BTreeSet<String> {
    let rows = rows_of(store, &world.directory.access.tenant.id).await;
    let prefix = rows::memberships_prefix(user);
    rows.keys()
        .filter_map(|key| key.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect()
}

/// Brings back in a copy what is not back there yet.
async fn restore_in(world: &World, store: &Arc<dyn Store>, id: &str) {
    let directory = Directory {
        store: Arc::clone(store),
        shared: Arc::default(),
        ..world.directory()
    };
    match directory.restore(id, RETENTION, false).await {
        Ok(_) | Err(crate::directory::Denied::There(_)) => {}
        Err(error) => panic!("{id}: {error:?}"),
    }
}

/// Whether the user was back in the copy, as it was made when others had so many reads behind them.
async fn check(from: usize) -> (bool, usize) {
    let rows = memory();
    let turns = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2));
    let world = World::new(Arc::new(Paced(Arc::clone(&rows), Arc::clone(&turns)))).await;
    let user = world.user("back").await;
    let mut groups = BTreeSet::new();
    for number in 0..GROUPS {
        groups.insert(
            world
                .group(&format!("group{number}"), std::slice::from_ref(&user))
                .await,
        );
    }
    world.delete(&world.users, &user).await;
    let gone: Vec<&String> = groups.iter().step_by(10).collect();
    for group in &gone {
        world.delete(&world.groups, group).await;
    }
    turns.forget_permits(usize::MAX);
    let between = Arc::new(Between {
        rows: Arc::clone(&rows),
        others: Arc::clone(&turns),
        reads: AtomicUsize::new(0),
        every: 1,
        from,
    });
    let file = File::new();
    let backup = async {
        let exported = export(Arc::clone(&between) as Arc<dyn Store>, &world, &file.path()).await;
        turns.add_permits(Semaphore::MAX_PERMITS / 2);
        exported.unwrap();
    };
    let restore = async {
        yield_now().await;
        world.directory().restore(&user, RETENTION, false).await.unwrap();
    };
    futures::join!(backup, restore);

    let other = memory();
    let loaded = load(&other, &world, &file.path()).await.unwrap();
    let report = loaded.report.unwrap();
    assert!(report.is_sound(), "from {from}: {:?}", report.findings);
    let there = rows_of(&other, &world.directory.access.tenant.id).await;
    let is_back = there.contains_key(&rows::resource_key("u", &user));
    assert_ne!(is_back, there.contains_key(&rows::gone_key(&user)), "from {from}");
    restore_in(&world, &other, &user).await;
    for group in gone {
        restore_in(&world, &other, group).await;
    }
    assert_eq!(groups_of(&world, &other, &user).await, groups, "from {from}, {is_back}");
    (is_back, between.reads.load(Ordering::Relaxed))
}

/// At every moment of the backup: before it has read what is to be done, and after.
#[tokio::test]
async fn a_backup_has_all_groups_of_who_comes_back_meanwhile() {
    let (is_back, reads) = check(usize::MAX).await;
    assert!(!is_back && reads > 20, "{reads}");
    let mut copies = (0, 0);
    for from in (0..reads).step_by(2) {
        let (is_back, _) = check(from).await;
        copies.0 += usize::from(is_back);
        copies.1 += 1;
    }
    assert!(copies.0 > 3 && copies.1 > copies.0, "{copies:?}");
}

/// A tenant with a deleted group whose members still have their edges, but for one that was deleted before it.
async fn with_deleted_group() -> (World, String, String, BTreeSet<String>) {
    let world = World::new(memory()).await;
    let mut users = Vec::new();
    for number in 0..24 {
        users.push(world.user(&format!("member{number}")).await);
    }
    let group = world.group("gone", &users).await;
    world.delete(&world.groups, &group).await;
    world.delete(&world.users, &users[0]).await;
    (world, group, users[0].clone(), users.into_iter().collect())
}

/// A store with the same rows.
async fn copy(world: &World) -> Arc<dyn Store> {
    let store = memory();
    for partition in [&*world.directory.access.tenant.id, rows::CONTROL] {
        let rows = rows_of(&world.store, partition).await.into_iter();
        let rows = rows.map(|(key, (stamp, body))| Change::Insert(Write { key, stamp, body }));
        for rows in rows.collect::<Vec<_>>().chunks(50) {
            store.commit(partition, rows).await.unwrap();
        }
    }
    store
}

/// Whoever has this store is cut off before its change is decided.
struct NoEvents(Arc<dyn Store>);

#[async_trait]
impl Store for NoEvents {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, store::Error> {
        self.0.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, store::Error> {
        self.0.scan(partition, from, until, limit).await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), store::Error> {
        match changes.iter().find(|change| change.key().starts_with("o~")) {
            Some(event) => Err(store::Error::TooLarge(event.key().to_owned())),
            None => self.0.commit(partition, changes).await,
        }
    }
}

/// Rows come a few at a time; before these reads something is done.
struct Moving {
    rows: Arc<dyn Store>,
    reads: AtomicUsize,
    deeds: Mutex<Vec<(usize, BoxFuture<'static, ()>)>>,
}

impl Moving {
    async fn count(&self) {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        while let Some((_, deed)) = self.due(read) {
            deed.await;
        }
    }

    fn due(&self, read: usize) -> Option<(usize, BoxFuture<'static, ()>)> {
        self.deeds.lock().unwrap().pop_if(|(at, _)| *at == read)
    }
}

#[async_trait]
impl Store for Moving {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, store::Error> {
        self.count().await;
        self.rows.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, store::Error> {
        self.count().await;
        self.rows.scan(partition, from, until, 7.min(limit)).await
    }

    async fn commit(&self, _: &str, _: &[Change]) -> Result<(), store::Error> {
        panic!("who makes a backup writes nothing")
    }
}

/// Members are laid down, and taken up again by a restore that is cut off then, before these reads of the backup.
async fn check_moves(
    (world, group, deleted, users): &(World, String, String, BTreeSet<String>),
    down: usize,
    up: usize,
) -> usize {
    let rows = copy(world).await;
    let (laying, taking) = (
        world.over(&rows),
        world.over(&(Arc::new(NoEvents(Arc::clone(&rows))) as _)),
    );
    let [down_group, up_group] = [group.clone(), group.clone()];
    let lay_down: BoxFuture<'static, ()> = Box::pin(async move {
        let gone = laying
            .directory()
            .pending()
            .await
            .unwrap()
            .gone
            .remove(&down_group)
            .unwrap();
        laying.directory().lay_down_members(&gone).await.unwrap();
    });
    let take_up: BoxFuture<'static, ()> = Box::pin(async move {
        taking
            .directory()
            .restore(&up_group, RETENTION, false)
            .await
            .unwrap_err();
    });
    let moving = Arc::new(Moving {
        rows,
        reads: AtomicUsize::new(0),
        deeds: Mutex::new(vec![(up, take_up), (down, lay_down)]),
    });
    let file = File::new();
    export(Arc::clone(&moving) as Arc<dyn Store>, world, &file.path())
        .await
        .unwrap();

    let other = memory();
    let report = load(&other, world, &file.path()).await.unwrap().report.unwrap();
    assert!(report.is_sound(), "{down}, {up}: {:?}", report.findings);
    for id in [deleted, group] {
        restore_in(world, &other, id).await;
    }
    let members: BTreeSet<String> = rows_of(&other, &world.directory.access.tenant.id)
        .await
        .into_keys()
        .filter_map(|key| key.strip_prefix(&rows::members_prefix(group)).map(str::to_owned))
        .filter(|member| member != "-")
        .collect();
    assert_eq!(
        members, *users,
        "laid down before read {down}, taken up before read {up}"
    );
    moving.reads.load(Ordering::Relaxed)
}

/// No event tells of that.
#[tokio::test(start_paused = true)]
async fn a_backup_has_all_members_of_a_group_that_lays_them_down_and_takes_them_up() {
    let world = with_deleted_group().await;
    let reads = check_moves(&world, usize::MAX, usize::MAX).await;
    assert!(reads > 20, "{reads}");
    // The rounds begin after the last read but some thirty.
    let ups = (0..reads).filter(|up| up % 5 == 0 || (reads - 40..reads - 25).contains(up));
    for up in ups {
        for down in (0..up.min(16)).step_by(5) {
            check_moves(&world, down, up).await;
        }
    }
}
