//! Changes under clocks that move only when told, one for each process.

use std::sync::Arc;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{CLOCKS, Catalogs, LANDING, NewExtension, REQUEST, TRIES};
use crate::{
    ambient::{Ambient, Skewed},
    rows::{self, CONTROL},
    scim::limits::MAX_EXTENSIONS,
    store::{
        Change, Store,
        counting::CountingStore,
        faults::{Call, Fault, FaultStore},
        sqlite::SqliteStore,
    },
    tenants::{
        CACHED, Error, Progress, Refusal, Tenants,
        tests::{World, soon},
    },
};

const BADGE: &str = "urn:example:2.0:Badge";

/// One process of the service.
struct Instance {
    tenants: Tenants,
    ambient: Arc<dyn Ambient>,
}

impl Instance {
    fn new(world: &World, skew: Duration) -> Self {
        let ambient: Arc<dyn Ambient> = Arc::new(Skewed(world.clock.clone(), skew));
        Self {
            tenants: Tenants::new(Arc::clone(&world.store), Arc::clone(&ambient)),
            ambient,
        }
    }

    async fn catalogs(&self, secret: &str) -> Catalogs {
        let access = self.tenants.authenticate(Some("acme"), secret, soon()).await;
        access.unwrap_or_else(|_| panic!("let in")).catalogs.clone()
    }

    /// What it does with an attribute of the extension: drops it, accepts it, or neither for the moment.
    async fn follows(&self, secret: &str) -> &'static str {
        let catalogs = self.catalogs(secret).await;
        let now = self.ambient.now();
        let is_there = |catalog: &crate::scim::schema::Catalog| {
            let user = catalog.resource_type("User").unwrap();
            user.extension(BADGE).is_some()
        };
        let (here, beside) = (
            is_there(catalogs.at(now)),
            catalogs.beside(now).map(|there| is_there(there)),
        );
        match (here, beside) {
            (here, Some(there)) if here != there => "neither",
            (true, _) => "accepts",
            (false, _) => "drops",
        }
    }
}

fn extension(urn: &str, attributes: &[&str]) -> NewExtension {
    let attributes: Vec<Value> = attributes.iter().map(|name| json!({ "name": name })).collect();
    NewExtension {
        document: json!({ "id": urn, "attributes": attributes }),
        ..NewExtension::default()
    }
}

async fn set(tenants: &Tenants, new: &NewExtension) -> Result<OffsetDateTime, Error> {
    let schemas = tenants.schemas("acme", soon()).await?;
    tenants.announce(&schemas.set(new)?, "test", soon()).await
}

async fn remove(tenants: &Tenants, urn: &str) -> Result<OffsetDateTime, Error> {
    let schemas = tenants.schemas("acme", soon()).await?;
    tenants.announce(&schemas.remove(urn)?, "test", soon()).await
}

async fn urns(tenants: &Tenants) -> Vec<String> {
    let schemas = tenants.schemas("acme", soon()).await.unwrap();
    schemas.extensions.iter().map(|one| one.schema.id.clone()).collect()
}

/// The 60 s rule, with clocks that differ as much as they may: from the moment on at which the first instance follows a
/// change, none does the opposite; all follow it when `schema set` returns.
#[tokio::test]
async fn no_instance_drops_what_another_accepts() {
    for skews in [[0, 0, 0], [0, 4, -1], [-2, 2, 0], [4, 0, 2]] {
        let world = World::new();
        let (_, secret) = world.tenant("acme", None).await;
        let operator = Instance::new(&world, Duration::seconds(skews[0]));
        let instances = skews.map(|skew| Instance::new(&world, Duration::seconds(skew)));
        for (before, after) in [("drops", "accepts"), ("accepts", "drops")] {
            let from = match after {
                "accepts" => set(&operator.tenants, &extension(BADGE, &["serial"])).await,
                _ => remove(&operator.tenants, BADGE).await,
            };
            let returns = from.unwrap() + CLOCKS;
            let mut anyone = false;
            loop {
                let mut now = Vec::new();
                // They are asked at different times, so that they remember what was there at different times.
                for (number, instance) in instances.iter().enumerate() {
                    if world.clock.now().unix_timestamp() % (i64::try_from(number).unwrap() + 1) == 0 {
                        now.push(instance.follows(&secret).await);
                    }
                }
                anyone |= now.contains(&after);
                assert!(!(anyone && now.contains(&before)), "{skews:?}: {now:?}");
                if operator.ambient.now() >= returns {
                    break;
                }
                world.clock.pass(Duration::SECOND);
            }
            for instance in &instances {
                assert_eq!(
                    instance.follows(&secret).await,
                    after,
                    "{skews:?}: all, when it is said so"
                );
            }
            assert!(anyone);
        }
    }
}

/// The parts of the waiting time: see the module's documentation.
#[test]
fn the_moment_leaves_time_for_everything_before_it() {
    let one_try = std::time::Duration::from_secs(3);
    assert!(LANDING >= Duration::try_from(TRIES + one_try).unwrap());
    assert!(CLOCKS < CACHED);
}

/// A request that goes by what was read 60 s ago, and takes its time, must not act on it any more.
#[tokio::test(start_paused = true)]
async fn a_slow_request_notices_that_its_schemas_are_old() {
    let catalogs = Catalogs::new(None, soon() - std::time::Duration::from_secs(10)).unwrap();
    tokio::time::advance((CACHED + REQUEST).unsigned_abs()).await;
    assert!(!catalogs.are_old());
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert!(catalogs.are_old());
}

/// Cost (design §4): the credential's own round trip, and none while it is remembered.
#[tokio::test]
async fn schemas_cost_no_round_trip() {
    let store = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let world = World::on(Arc::clone(&store) as Arc<dyn Store>);
    let (_, secret) = world.tenant("acme", None).await;
    set(&world.tenants, &extension(BADGE, &["serial"])).await.unwrap();
    world.clock.pass(Duration::minutes(2));
    for (name, cold) in [(Some("acme"), 1), (None, 3)] {
        for round_trips in [cold, 0] {
            store.take();
            let access = world.tenants.authenticate(name, &secret, soon()).await;
            let catalogs = access.unwrap_or_else(|_| panic!("let in")).catalogs.clone();
            let user = catalogs.at(world.clock.now()).resource_type("User").unwrap();
            assert!(user.extension(BADGE).is_some());
            assert_eq!(store.counts().gets, round_trips, "{name:?}");
            assert_eq!(store.counts().scans, 0);
        }
    }
}

/// Whoever comes second changes what the first one made, or waits for it.
#[tokio::test]
async fn two_operators_lose_nothing() {
    let world = World::new();
    world.tenant("acme", None).await;
    let (here, there) = (&world.tenants, &world.elsewhere());
    let (first, second) = (
        extension(BADGE, &["serial"]),
        extension("urn:example:2.0:Desk", &["room"]),
    );
    let read = here.schemas("acme", soon()).await.unwrap();
    let announced = there.schemas("acme", soon()).await.unwrap();
    there
        .announce(&announced.set(&first).unwrap(), "test", soon())
        .await
        .unwrap();
    let late = here.announce(&read.set(&second).unwrap(), "test", soon()).await;
    assert!(matches!(late, Err(Error::SchemasChanged)), "{late:?}");
    let again = here.schemas("acme", soon()).await.unwrap();
    assert!(
        again.set(&first).unwrap().announced.is_some(),
        "the same may be waited for"
    );
    let Err(Error::SchemasChanging(from)) = set(here, &second).await else {
        panic!("the first is not in force")
    };
    world.clock.pass(from - world.clock.now());
    set(here, &second).await.unwrap();
    world.clock.pass(Duration::minutes(2));
    assert_eq!(urns(there).await, [BADGE, "urn:example:2.0:Desk"]);
    // At the same moment: one of them.
    let changes = [
        extension(BADGE, &["a"]),
        extension(BADGE, &["b"]),
        extension(BADGE, &["c"]),
    ];
    let all = futures::future::join_all(changes.iter().map(|change| set(there, change))).await;
    let (won, lost): (Vec<_>, Vec<_>) = all.iter().partition(|outcome| outcome.is_ok());
    assert_eq!((won.len(), lost.len()), (1, 2));
    let told = |outcome: &&Result<_, _>| matches!(outcome, Err(Error::SchemasChanged | Error::SchemasChanging(_)));
    assert!(lost.iter().all(told), "{lost:?}");
}

#[tokio::test]
async fn extensions_are_kept_in_their_order_and_checked_against_each_other() {
    let world = World::new();
    world.tenant("acme", None).await;
    let desk = "urn:example:2.0:Desk";
    let pass = || world.clock.pass(Duration::minutes(2));
    for new in [
        extension(BADGE, &["serial"]),
        extension(desk, &["room"]),
        extension(BADGE, &["serial", "level"]),
    ] {
        set(&world.tenants, &new).await.unwrap();
        pass();
    }
    assert_eq!(urns(&world.tenants).await, [BADGE, desk]);
    let schemas = world.tenants.schemas("acme", soon()).await.unwrap();
    let same = schemas.set(&extension(desk, &["room"])).unwrap();
    assert!(same.is_nothing());
    let of_groups = NewExtension {
        resource_type: Some("Printer".to_owned()),
        ..extension(desk, &["room"])
    };
    for (new, says) in [
        (
            extension("URN:example:2.0:badge", &["serial"]),
            "id: there is a schema urn:example:2.0:Badge already",
        ),
        (extension("urn:example:2.0:Badge:red", &["serial"]), "begin alike"),
        (extension(desk, &[]), "attributes: expected"),
        (of_groups, "there is no resource type 'Printer'; there are User"),
    ] {
        let error = schemas.set(&new).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(matches!(schemas.remove("urn:x:y"), Err(Error::NoExtension(_))));
    for number in 2..MAX_EXTENSIONS {
        set(&world.tenants, &extension(&format!("urn:example:n{number}"), &["a"]))
            .await
            .unwrap();
        pass();
    }
    let one_more = set(&world.tenants, &extension("urn:example:last", &["a"])).await;
    assert!(matches!(one_more, Err(Error::TooManyExtensions)));
    set(&world.tenants, &extension(desk, &["floor"])).await.unwrap();
}

/// The row is found by the tenant's name, so it goes where the name goes.
#[tokio::test]
async fn extensions_move_with_a_tenant_and_go_with_it() {
    let world = World::new();
    let (_, secret) = world.tenant("acme", None).await;
    set(&world.tenants, &extension(BADGE, &["serial"])).await.unwrap();
    world.clock.pass(Duration::minutes(2));
    let read = world.tenants.schemas("acme", soon()).await.unwrap();
    let change = read.set(&extension(BADGE, &["level"])).unwrap();
    world.tenants.rename("acme", "globex", "test", soon()).await.unwrap();
    let late = world.tenants.announce(&change, "test", soon()).await;
    assert!(matches!(late, Err(Error::SchemasChanged)), "{late:?}");
    let moved = world.tenants.schemas("globex", soon()).await.unwrap();
    assert!(moved.extension(BADGE).unwrap().schema.attribute("serial").is_some());
    let elsewhere = world.elsewhere();
    let access = elsewhere.authenticate(Some("globex"), &secret, soon()).await;
    let catalogs = access.unwrap_or_else(|_| panic!("let in")).catalogs.clone();
    assert!(
        catalogs
            .at(world.clock.now())
            .resource_type("User")
            .unwrap()
            .extension(BADGE)
            .is_some()
    );
    world.tenant("acme", None).await;
    assert!(urns(&world.tenants).await.is_empty(), "another tenant of the old name");
    let mut removal = world.tenants.remove("globex", "test", soon()).await.unwrap();
    world.clock.pass(Duration::minutes(3));
    while removal.step(soon()).await.unwrap() != Progress::Done {}
    let left = world.store.scan(CONTROL, "schemas~", "schemas~~", 10).await.unwrap();
    assert!(left.rows.is_empty());
}

/// While it is renamed over and over, an extension that is set is never left behind.
#[tokio::test]
async fn a_rename_takes_along_what_is_announced_at_the_same_time() {
    let world = World::new();
    world.tenant("acme", None).await;
    let rename = world.tenants.rename("acme", "globex", "test", soon());
    let elsewhere = world.elsewhere();
    let new = extension(BADGE, &["serial"]);
    let (renamed, announced) = futures::join!(rename, set(&elsewhere, &new));
    renamed.unwrap();
    world.clock.pass(Duration::minutes(2));
    let found = world.tenants.schemas("globex", soon()).await.unwrap();
    assert_eq!(found.extensions.len(), usize::from(announced.is_ok()), "{announced:?}");
    let left = world
        .store
        .scan(CONTROL, "schemas~acme", "schemas~acme~", 10)
        .await
        .unwrap();
    assert!(left.rows.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_announcement_whose_answer_is_lost_is_made_once() {
    let faults = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let world = World::on(Arc::clone(&faults) as Arc<dyn Store>);
    world.tenant("acme", None).await;
    faults.inject(Call::Commit, 1..=1, Fault::LoseAnswer);
    set(&world.tenants, &extension(BADGE, &["serial"])).await.unwrap();
    faults.heal();
    let events = world.store.scan(CONTROL, "o~", "o~~", 100).await.unwrap().rows;
    let told: Vec<Value> = events
        .iter()
        .map(|row| serde_json::from_slice(&row.body).unwrap())
        .collect();
    let set: Vec<_> = told.iter().filter(|event| event["kind"] == "schema-set").collect();
    assert_eq!(set.len(), 1);
    assert_eq!((&set[0]["id"], &set[0]["actor"]), (&json!(BADGE), &json!("test")));
}

/// Two versions overlap: the older one must neither guess nor write (design §4, Formats).
#[tokio::test]
async fn a_row_of_a_newer_version_is_refused_and_not_written_over() {
    let world = World::new();
    let (_, secret) = world.tenant("acme", None).await;
    let newer = json!({ "format": rows::FORMAT + 1, "everything": "else" });
    let row = rows::write("schemas~acme".to_owned(), &newer);
    world.store.commit(CONTROL, &[Change::Insert(row)]).await.unwrap();
    let access = world.tenants.authenticate(Some("acme"), &secret, soon()).await;
    assert!(matches!(access, Err(Refusal::Format(_))));
    assert!(matches!(
        set(&world.tenants, &extension(BADGE, &["a"])).await,
        Err(Error::Format(_))
    ));
    assert_eq!(world.tenants.list(soon()).await.unwrap().len(), 1, "others go on");
}
