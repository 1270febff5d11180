//! Two processes with clocks of their own, writing while a schema comes and goes.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;
use uuid::Uuid;

use super::Directory;
use crate::{
    ambient::Ambient,
    directory::{Error, Precondition, Shown, Stored},
    scim::{error::Rule, normalize::Trace, patch::PATCH_OP_URN, schema::ResourceType},
    store::{Store, sqlite::SqliteStore},
    tenants::{CLOCKS, NewExtension, NewTenant, Tenants, Terms},
};

const BADGE: &str = "urn:example:2.0:Badge";

/// The world's seconds, and how far this process is ahead of them.
#[derive(Debug)]
struct Clock {
    seconds: Arc<AtomicI64>,
    ahead: i64,
    ids: Arc<AtomicU64>,
}

impl Ambient for Clock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
            + Duration::days(20_000)
            + Duration::seconds(self.seconds.load(Ordering::Relaxed) + self.ahead)
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(self.ids.fetch_add(1, Ordering::Relaxed).into())
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&self.ids.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        secret
    }
}

struct Process {
    store: Arc<dyn Store>,
    ambient: Arc<dyn Ambient>,
    tenants: Tenants,
    secret: String,
}

fn soon() -> Instant {
    Instant::now() + std::time::Duration::from_secs(20)
}

impl Process {
    /// A request: what it works with, as `http` puts it together.
    async fn request(&self) -> (Directory, Arc<ResourceType>) {
        let access = self.tenants.authenticate(Some("acme"), &self.secret, soon()).await;
        let access = access.unwrap_or_else(|_| panic!("let in"));
        let catalog = Arc::clone(access.catalogs.at(self.ambient.now()));
        let directory = Directory {
            store: Arc::clone(&self.store),
            ambient: Arc::clone(&self.ambient),
            access,
            deadline: soon(),
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        };
        (directory, Arc::clone(catalog.resource_type("User").unwrap()))
    }

    async fn create(&self) -> &'static str {
        let (directory, users) = self.request().await;
        let name = self.ambient.new_id().to_string();
        let core = "urn:ietf:params:scim:schemas:core:2.0:User";
        let user = json!({ "schemas": [core], "userName": name, BADGE: { "serial": "17" } });
        outcome(
            &directory
                .create(&users, Shown::default(), user, &mut Trace::default())
                .await,
        )
    }

    async fn patch(&self, id: &str, path: &str) -> &'static str {
        let (directory, users) = self.request().await;
        let value = self.ambient.new_id().to_string();
        let operations = json!([{ "op": "replace", "path": path, "value": value }]);
        let message = json!({ "schemas": [PATCH_OP_URN], "Operations": operations });
        let expected = Precondition::None;
        outcome(
            &directory
                .patch(&users, id, &expected, Shown::default(), &message, &mut Trace::default())
                .await,
        )
    }
}

fn outcome(done: &Result<Stored, Error>) -> &'static str {
    match done {
        Ok(stored) if stored.attributes.as_map().get(BADGE).is_some_and(Value::is_object) => "kept",
        Ok(_) => "dropped",
        Err(Error::Refused(error)) if error.rule() == Rule::SchemasChanging => "come back",
        Err(error) => panic!("{error}"),
    }
}

struct World {
    seconds: Arc<AtomicI64>,
    processes: Vec<Process>,
}

impl World {
    async fn new(ahead: &[i64]) -> Self {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::memory().unwrap());
        let (seconds, ids) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicU64::new(1)));
        let mut processes: Vec<Process> = Vec::new();
        for ahead in ahead {
            let clock = Clock {
                seconds: Arc::clone(&seconds),
                ahead: *ahead,
                ids: Arc::clone(&ids),
            };
            let ambient: Arc<dyn Ambient> = Arc::new(clock);
            let tenants = Tenants::new(Arc::clone(&store), Arc::clone(&ambient));
            let secret = if let Some(first) = processes.first() {
                first.secret.clone()
            } else {
                let new = NewTenant {
                    name: "acme".to_owned(),
                    ..NewTenant::default()
                };
                let made = tenants.create(&new, None, &Terms::default(), "test", soon()).await;
                made.unwrap().1.secret
            };
            processes.push(Process {
                store: Arc::clone(&store),
                ambient,
                tenants,
                secret,
            });
        }
        Self { seconds, processes }
    }

    /// Announces that users have the extension, or have it no more; returns how many seconds later all follow.
    async fn announce(&self, is_there: bool) -> i64 {
        let operator = &self.processes[0];
        let schemas = operator.tenants.schemas("acme", soon()).await.unwrap();
        let new = NewExtension {
            document: json!({ "id": BADGE, "attributes": [{ "name": "serial" }] }),
            ..NewExtension::default()
        };
        let change = if is_there {
            schemas.set(&new)
        } else {
            schemas.remove(BADGE)
        };
        let from = operator
            .tenants
            .announce(&change.unwrap(), "test", soon())
            .await
            .unwrap();
        (from + CLOCKS - operator.ambient.now()).whole_seconds()
    }
}

/// R-SCHEMA-04 on several instances: an attribute that one instance kept is dropped by none afterwards, and the other way
/// round; what both schemas agree on always goes on.
#[tokio::test]
async fn instances_change_over_without_losing_a_value() {
    let world = World::new(&[0, 4, -1]).await;
    let (directory, users) = world.processes[0].request().await;
    let core = "urn:ietf:params:scim:schemas:core:2.0:User";
    let user = json!({ "schemas": [core], "userName": "bjensen" });
    let id = directory
        .create(&users, Shown::default(), user, &mut Trace::default())
        .await
        .unwrap()
        .envelope
        .id;
    for (before, after) in [("dropped", "kept"), ("kept", "dropped")] {
        let all_follow = world.announce(after == "kept").await;
        let mut seen = Vec::new();
        for _ in 0..all_follow {
            for process in &world.processes {
                let mut outcomes = vec![process.create().await];
                // What a user has stays stored, unseen, when the extension goes.
                if after == "kept" {
                    outcomes.push(process.patch(&id, &format!("{BADGE}:serial")).await);
                }
                for outcome in outcomes {
                    assert!(outcome != before || !seen.contains(&after), "{seen:?}");
                    seen.push(outcome);
                }
                let other = process.patch(&id, "title").await;
                assert_ne!(other, "come back", "both agree about titles");
            }
            world.seconds.fetch_add(1, Ordering::Relaxed);
        }
        for process in &world.processes {
            assert_eq!(process.create().await, after);
        }
        assert!(seen.contains(&before) && seen.contains(&"come back") && seen.contains(&after));
    }
}
