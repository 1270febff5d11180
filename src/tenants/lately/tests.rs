//! What is counted, and what it costs.

use std::sync::Arc;

use time::Duration;

use super::{Count, Counted, MAX_NAMES, Refused};
use crate::{
    rows::{self, CONTROL, EventBody},
    store::{
        Store,
        counting::CountingStore,
        faults::{Call, Fault, FaultStore},
        sqlite::SqliteStore,
    },
    tenants::{
        Holder, Tenants,
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

fn refused(tenant: &str, subject: &str) -> Refused {
    Refused {
        rule: "unique-taken",
        attribute: Some("userName".to_owned()),
        request: "POST /scim/{tenant}/Users".to_owned(),
        resource_type: "User".to_owned(),
        id: String::new(),
        subjects: vec![subject.to_owned()],
        holder: Holder {
            tenant: tenant.to_owned(),
            credential: "abc".to_owned(),
        },
        reference: Some(format!("of {subject}")),
    }
}

/// What the log says of refusals: of whom, by which rule, how often.
async fn refusals(world: &World, tenant: &str) -> Vec<(String, String, u64)> {
    let rows = world.store.scan(tenant, "o~", "p", 1_000).await.unwrap().rows;
    let told = rows.iter().map(|row| {
        let body: EventBody = rows::body(row).unwrap();
        let told = body.refused.unwrap();
        (body.subjects.concat(), told.rule, told.count)
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

fn told(subject: &str, rule: &str, count: u64) -> (String, String, u64) {
    (subject.to_owned(), rule.to_owned(), count)
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_refused_alike_are_one_row_an_hour_whichever_process_refused_them() {
    let store = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let world = World::on(Arc::clone(&store) as Arc<dyn Store>);
    let tenant = tenant(&world).await;
    store.take();
    for tenants in [&world.tenants, &world.elsewhere()] {
        for subject in ["a", "a", "b"] {
            tenants.refused(refused(&tenant, subject));
        }
        settle(tenants).await;
    }
    assert_eq!(store.take().commits, 2, "nobody waits, and they are written together");
    let mut expected = vec![told("a", "unique-taken", 4), told("b", "unique-taken", 2)];
    assert_eq!(refusals(&world, &tenant).await, expected);
    world.clock.pass(Duration::hours(1));
    world.tenants.refused(refused(&tenant, "a"));
    settle(&world.tenants).await;
    expected.insert(0, told("a", "unique-taken", 1));
    assert_eq!(refusals(&world, &tenant).await, expected);
}

/// Whom requests are about is the client's to choose.
#[tokio::test(start_paused = true)]
async fn refusals_of_an_hour_are_bounded_and_the_others_counted_together() {
    let world = World::new();
    let tenant = tenant(&world).await;
    for round in 0..3 {
        for n in 0..60 {
            world.tenants.refused(refused(&tenant, &format!("{round}x{n}")));
        }
        settle(&world.tenants).await;
    }
    let all = refusals(&world, &tenant).await;
    assert_eq!(all.len(), 100);
    assert_eq!(all[0], told("", "more", 81));
}

/// Which of several commits took effect nobody knows when its answer is lost, or lands late.
#[tokio::test(start_paused = true)]
async fn no_refusal_is_counted_twice_when_an_answer_is_lost() {
    for fault in [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::LandBefore(1),
        Fault::LandBefore(2),
    ] {
        for lost in 1..=4 {
            let faults = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
            let world = World::on(Arc::clone(&faults) as Arc<dyn Store>);
            let tenant = tenant(&world).await;
            for n in 0..100 {
                world.tenants.refused(refused(&tenant, &format!("{n:03}")));
            }
            faults.inject(Call::Commit, 1..=lost, fault);
            settle(&world.tenants).await;
            faults.heal();
            world.tenants.refused(refused(&tenant, "000"));
            settle(&world.tenants).await;
            let all = refusals(&world, &tenant).await;
            let counts: u64 = all.iter().map(|(.., count)| count).sum();
            assert_eq!((all.len(), counts), (100, 101), "{fault:?} {lost}");
        }
    }
}

/// The row remembers of each process the write that it sent last, however many others write before that one knows of it.
#[tokio::test(start_paused = true)]
async fn no_refusal_is_counted_twice_however_many_processes_come_between() {
    let faults = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let world = World::on(Arc::clone(&faults) as Arc<dyn Store>);
    let tenant = tenant(&world).await;
    faults.inject(Call::Commit, 1..=1, Fault::LoseAnswer);
    faults.inject(Call::Get, 4.., Fault::Busy(None));
    world.tenants.refused(refused(&tenant, "a"));
    settle(&world.tenants).await;
    faults.heal();
    assert_eq!(refusals(&world, &tenant).await, [told("a", "unique-taken", 1)]);
    for _ in 0..40 {
        let elsewhere = world.elsewhere();
        elsewhere.refused(refused(&tenant, "a"));
        elsewhere.write_counts().await;
    }
    world.tenants.refused(refused(&tenant, "a"));
    settle(&world.tenants).await;
    assert_eq!(refusals(&world, &tenant).await, [told("a", "unique-taken", 42)]);
}

/// Whether it waits for its minute, is being written, or was not taken by storage.
#[tokio::test(start_paused = true)]
async fn who_stops_writes_what_was_gathered() {
    for (fault, started) in [
        (None, false),
        (Some(Fault::Delay(std::time::Duration::from_secs(4))), true),
        (Some(Fault::Unavailable), true),
    ] {
        let faults = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
        let world = World::on(Arc::clone(&faults) as Arc<dyn Store>);
        let tenant = tenant(&world).await;
        if let Some(fault) = fault {
            faults.inject(Call::Commit, 1..=1, fault);
        }
        world.tenants.refused(refused(&tenant, "a"));
        if started {
            tokio::time::sleep(std::time::Duration::from_secs(62)).await;
        }
        world.tenants.write_counts().await;
        assert_eq!(
            refusals(&world, &tenant).await,
            [told("a", "unique-taken", 1)],
            "{fault:?}"
        );
    }
}

/// Storage that is ill is left alone; what it would not take comes with what is refused next.
#[tokio::test(start_paused = true)]
async fn what_storage_did_not_take_is_written_later() {
    let faults = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let world = World::on(Arc::clone(&faults) as Arc<dyn Store>);
    let tenant = tenant(&world).await;
    faults.inject(Call::Get, .., Fault::Busy(None));
    world.tenants.refused(refused(&tenant, "a"));
    settle(&world.tenants).await;
    faults.heal();
    assert_eq!(refusals(&world, &tenant).await, []);
    world.tenants.refused(refused(&tenant, "b"));
    settle(&world.tenants).await;
    let expected = [told("a", "unique-taken", 1), told("b", "unique-taken", 1)];
    assert_eq!(refusals(&world, &tenant).await, expected);
}

#[tokio::test(start_paused = true)]
async fn no_refusal_is_left_behind_by_a_tenant_that_is_being_removed() {
    let world = World::new();
    let tenant = tenant(&world).await;
    world.tenants.remove("acme", "test", soon()).await.unwrap();
    for tenant in [&tenant, "tgone"] {
        world.tenants.refused(refused(tenant, "a"));
        settle(&world.tenants).await;
        assert_eq!(refusals(&world, tenant).await, []);
    }
}
