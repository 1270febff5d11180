//! What is counted, and what it costs.

use std::sync::Arc;

use time::Duration;

use super::{Count, Counted, MAX_NAMES};
use crate::{
    rows::CONTROL,
    store::{Store, counting::CountingStore, sqlite::SqliteStore},
    tenants::{
        Tenants,
        tests::{World, soon},
    },
};

async fn dropped(tenants: &Tenants, tenant: &str) -> Vec<Count> {
    tenants.lately(Counted::Dropped, tenant, soon()).await.unwrap()
}

fn note(tenants: &Tenants, tenant: &str, names: &[&str]) {
    tenants.count(Counted::Dropped, tenant, names.iter().map(|name| (*name).to_owned()));
}

/// Lets time pass until the tasks beside the requests have written what there was.
async fn settle(tenants: &Tenants) {
    while tenants.lately.lock().values().any(|pending| pending.is_waiting) {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    // The last one may be writing still.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
}

async fn tenant(world: &World) -> String {
    world.tenant("acme", None).await;
    world.tenants.find("acme", soon()).await.unwrap().id
}

fn counted(name: &str, requests: u64) -> Count {
    Count {
        name: name.to_owned(),
        requests,
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_name_with_one_write_a_minute() {
    let store = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let world = World::on(Arc::clone(&store) as Arc<dyn Store>);
    let tenant = tenant(&world).await;
    store.take();
    note(&world.tenants, &tenant, &["department2"]);
    settle(&world.tenants).await;
    for _ in 0..131 {
        note(&world.tenants, &tenant, &["department2", "urn:example:2.0:User:badge"]);
    }
    note(&world.tenants, &tenant, &[]);
    settle(&world.tenants).await;
    assert_eq!(store.counts().commits, 2);
    let expected = [counted("department2", 132), counted("urn:example:2.0:User:badge", 131)];
    assert_eq!(dropped(&world.tenants, &tenant).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_day_later_it_is_forgotten() {
    let world = World::new();
    let tenant = tenant(&world).await;
    note(&world.tenants, &tenant, &["a", "b"]);
    settle(&world.tenants).await;
    world.clock.pass(Duration::hours(22));
    note(&world.tenants, &tenant, &["b"]);
    settle(&world.tenants).await;
    assert_eq!(
        dropped(&world.tenants, &tenant).await,
        [counted("b", 2), counted("a", 1)]
    );
    world.clock.pass(Duration::hours(3));
    assert_eq!(dropped(&world.tenants, &tenant).await, [counted("b", 1)]);
    world.clock.pass(Duration::hours(22));
    assert_eq!(dropped(&world.tenants, &tenant).await, []);
}

/// Names are the client's to choose, so that there may be any number of them.
#[tokio::test(start_paused = true)]
async fn names_are_bounded_and_the_others_are_counted_together() {
    let world = World::new();
    let tenant = tenant(&world).await;
    for round in 0..2 {
        let names: Vec<String> = (0..MAX_NAMES).map(|n| format!("a{round}x{n}")).collect();
        for name in names.iter().chain([&"late".to_owned()]) {
            note(&world.tenants, &tenant, &[name]);
        }
        settle(&world.tenants).await;
    }
    let all = dropped(&world.tenants, &tenant).await;
    assert_eq!(all.len(), MAX_NAMES + 1);
    let others = u64::try_from(MAX_NAMES).unwrap() + 2;
    assert_eq!(all[0], counted("", others));
}

#[tokio::test(start_paused = true)]
async fn processes_add_to_one_count() {
    let world = World::new();
    let tenant = tenant(&world).await;
    let elsewhere = [world.elsewhere(), world.elsewhere(), world.elsewhere()];
    for tenants in &elsewhere {
        note(tenants, &tenant, &["a"]);
    }
    for tenants in &elsewhere {
        settle(tenants).await;
    }
    assert_eq!(dropped(&world.tenants, &tenant).await, [counted("a", 3)]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_behind_by_a_removed_tenant() {
    let world = World::new();
    note(&world.tenants, "tgone", &["a"]);
    settle(&world.tenants).await;
    let rows = world.store.scan(CONTROL, "", "~", 10).await.unwrap().rows;
    assert!(rows.is_empty(), "{rows:?}");
}
