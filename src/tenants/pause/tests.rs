//! Pauses under a clock that moves only when told.

use std::sync::Arc;

use time::Duration;

use crate::{
    ambient::Ambient,
    rows::{self, CONTROL, EventBody},
    store::{Store, counting::CountingStore, sqlite::SqliteStore},
    tenants::{
        Error, Expiry, KeptDays, Progress, Terms,
        tests::{World, outcome, soon},
    },
};

/// What operators did to tenants: kind and who it was, in order.
async fn deeds(world: &World) -> Vec<(String, String)> {
    let (from, until) = rows::range("o~");
    let page = world.store.scan(CONTROL, &from, &until, 100).await.unwrap();
    let events = page.rows.iter().map(|row| rows::body::<EventBody>(row).unwrap());
    events.map(|event| (event.kind, event.actor)).collect()
}

/// design §4: cached for at most 60 s, so both are in force everywhere by then.
#[tokio::test]
async fn a_pause_and_its_end_are_in_force_on_every_instance_after_60_s() {
    let world = World::new();
    let (_, secret) = world.tenant("acme", None).await;
    let (_, other) = world.tenant("globex", None).await;
    let instances = [&world.elsewhere(), &world.elsewhere()];
    let [first, _] = instances;
    assert_eq!(outcome(first, Some("acme"), &secret).await, "let in");
    let pause = world.tenants.pause("acme", "test", soon()).await.unwrap();
    assert_eq!(pause.in_force(), world.clock.now() + Duration::seconds(60));
    assert_eq!(pause.quiet(), world.clock.now() + Duration::seconds(120));
    world.clock.pass(Duration::seconds(59));
    assert_eq!(outcome(first, Some("acme"), &secret).await, "let in");
    world.clock.pass(Duration::seconds(1));
    for tenants in instances {
        // By a path without the tenant too.
        for name in [Some("acme"), None] {
            assert_eq!(outcome(tenants, name, &secret).await, "paused");
        }
        assert_eq!(outcome(tenants, Some("globex"), &other).await, "let in");
    }
    world.tenants.resume("acme", "test", soon()).await.unwrap();
    world.clock.pass(Duration::seconds(59));
    assert_eq!(outcome(first, Some("acme"), &secret).await, "paused");
    world.clock.pass(Duration::seconds(1));
    for tenants in instances {
        assert_eq!(outcome(tenants, Some("acme"), &secret).await, "let in");
    }
}

/// As long as the service's own requests may take, whatever is set where the command runs.
#[tokio::test]
async fn who_pauses_waits_for_the_longest_request() {
    let world = World::new();
    world.tenant("acme", None).await;
    for (deadline, seconds) in [(0, 60), (15, 60), (60, 65), (200, 205)] {
        if deadline > 0 {
            let days = KeptDays {
                deleted: 30,
                history: 365,
            };
            let deadline = std::time::Duration::from_secs(deadline);
            world.tenants.note_settings(days, deadline, soon()).await.unwrap();
        }
        let pause = world.tenants.pause("acme", "test", soon()).await.unwrap();
        assert_eq!(pause.quiet() - pause.in_force(), Duration::seconds(seconds));
    }
    world.tenants.remove("acme", "test", soon()).await.unwrap();
    world.clock.pass(Duration::seconds(60));
    let mut removal = world.tenants.remove("acme", "test", soon()).await.unwrap();
    let refused = world.clock.now();
    loop {
        match removal.step(soon()).await.unwrap() {
            Progress::Removed(_) => {}
            Progress::Until(quiet) => break assert_eq!(quiet - refused, Duration::seconds(205)),
            Progress::Done => panic!("requests may be under way"),
        }
    }
}

/// Nobody learns from a pause what he may not know, and whose credential is over has to be told.
#[tokio::test]
async fn only_a_valid_credential_is_told_of_a_pause() {
    let world = World::new();
    let soon_over = Expiry::At(world.clock.now() + Duration::seconds(90));
    let (_, expiring) = world.tenant("acme", Some(soon_over)).await;
    let terms = Terms::default();
    let issued = world.tenants.add_credential("acme", None, &terms, "test", soon()).await;
    let revoked = issued.unwrap();
    let id = &revoked.credential.id;
    world.tenants.revoke("acme", id, "test", soon()).await.unwrap();
    world.tenants.pause("acme", "test", soon()).await.unwrap();
    for (secret, expected) in [
        (expiring.as_str(), "paused"),
        (&revoked.secret, "revoked"),
        ("wrong", "unknown"),
    ] {
        assert_eq!(outcome(&world.tenants, Some("acme"), secret).await, expected);
    }
    world.clock.pass(Duration::seconds(90));
    assert_eq!(outcome(&world.tenants, Some("acme"), &expiring).await, "expired");
}

/// design §4: a credential check costs 1 round trip cold and none warm; a pause is no reason for more.
#[tokio::test]
async fn a_paused_tenant_s_request_costs_no_more_than_another() {
    let counting = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let world = World::on(Arc::clone(&counting) as Arc<dyn Store>);
    let (_, secret) = world.tenant("acme", None).await;
    world.tenants.pause("acme", "test", soon()).await.unwrap();
    counting.take();
    for gets in [1, 0] {
        assert_eq!(outcome(&world.tenants, Some("acme"), &secret).await, "paused");
        let counts = counting.take();
        assert_eq!((counts.gets, counts.scans), (gets, 0));
    }
}

#[tokio::test]
async fn a_pause_is_written_down_once_and_keeps_its_beginning() {
    let world = World::new();
    world.tenant("acme", None).await;
    let began = world.clock.now();
    for (minutes, in_force) in [(0, 60), (1, 120), (60, 360)] {
        world.clock.pass(Duration::minutes(minutes));
        let pause = world.tenants.pause("acme", "operator one", soon()).await.unwrap();
        assert_eq!(pause.since, began);
        // Who comes much later does not wait for what has long been in force.
        assert_eq!(pause.in_force(), began + Duration::seconds(in_force));
    }
    for was_paused in [true, false] {
        let (tenant, paused) = world.tenants.resume("acme", "operator two", soon()).await.unwrap();
        assert_eq!((paused, tenant.paused), (was_paused, None));
    }
    let deed = |kind: &str, by: &str| (kind.to_owned(), by.to_owned());
    let expected = [
        deed("tenant-create", "test"),
        deed("tenant-pause", "operator one"),
        deed("tenant-resume", "operator two"),
    ];
    assert_eq!(deeds(&world).await, expected);
}

#[tokio::test]
async fn a_pause_outlasts_every_other_change_of_a_tenant_but_its_removal() {
    let world = World::new();
    let (_, secret) = world.tenant("acme", None).await;
    world.tenants.pause("acme", "test", soon()).await.unwrap();
    world.tenants.limit("acme", Some(25), "test", soon()).await.unwrap();
    world.tenants.rename("acme", "globex", "test", soon()).await.unwrap();
    assert_eq!(outcome(&world.tenants, Some("globex"), &secret).await, "paused");
    let listed = world.tenants.list(soon()).await.unwrap();
    assert!(listed[0].tenant.paused.is_some());
    world.tenants.remove("globex", "test", soon()).await.unwrap();
    assert_eq!(outcome(&world.tenants, Some("globex"), &secret).await, "unknown");
    for changed in [
        world.tenants.pause("globex", "test", soon()).await.err(),
        world.tenants.resume("globex", "test", soon()).await.err(),
    ] {
        assert!(matches!(changed, Some(Error::BeingDeleted(_))), "{changed:?}");
    }
}
