//! Backups that are made while somebody comes back: with all groups, there and deleted, or not yet.

use std::sync::atomic::AtomicUsize;

use tokio::{sync::Semaphore, task::yield_now};

use super::{
    copied::{Between, File, Paced, export, load, memory, rows_of},
    *,
};

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
