//! What operations cost and what they leave behind, on a store that counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration as Span,
};

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Directory, Error, Precondition};
use crate::{
    ambient::Ambient,
    rows::{self, CONTROL, EventBody},
    scim::{
        list::ListQuery,
        normalize::Trace,
        schema::{Catalog, ResourceType},
    },
    store::{Store, counting::CountingStore, sqlite::SqliteStore},
    tenants::{NewTenant, Tenants, Terms},
};

/// A world that goes on by one second at each look, unless it is stopped.
#[derive(Debug, Default)]
struct Fixed {
    seconds: AtomicU64,
    ids: AtomicU64,
    stopped: bool,
}

impl Ambient for Fixed {
    fn now(&self) -> OffsetDateTime {
        let step = u64::from(!self.stopped);
        let seconds = self.seconds.fetch_add(step, Ordering::Relaxed);
        OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Span::from_secs(seconds)
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

struct World {
    store: Arc<CountingStore>,
    tenants: Tenants,
    directory: Directory,
    secret: String,
    users: Arc<ResourceType>,
}

impl World {
    async fn new() -> Self {
        Self::with(Fixed::default()).await
    }

    async fn with(ambient: Fixed) -> Self {
        let ambient: Arc<dyn Ambient> = Arc::new(ambient);
        let store = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
        let tenants = Tenants::new(Arc::clone(&store) as Arc<dyn Store>, Arc::clone(&ambient));
        let deadline = Instant::now() + Span::from_secs(20);
        let new = NewTenant {
            name: "acme".to_owned(),
            ..NewTenant::default()
        };
        let (_, issued) = tenants
            .create(&new, None, &Terms::default(), "test", deadline)
            .await
            .unwrap();
        let access = tenants
            .authenticate(Some("acme"), &issued.secret, deadline)
            .await
            .unwrap();
        let users = Arc::clone(Catalog::standard().resource_type("User").unwrap());
        let directory = Directory {
            store: Arc::clone(&store) as Arc<dyn Store>,
            ambient,
            access,
            deadline,
        };
        Self {
            store,
            tenants,
            directory,
            secret: issued.secret,
            users,
        }
    }

    async fn create(&self, user: Value) -> Result<String, Error> {
        let mut document = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"] });
        document
            .as_object_mut()
            .unwrap()
            .extend(user.as_object().unwrap().clone());
        let stored = self
            .directory
            .create(&self.users, document, &mut Trace::default())
            .await?;
        Ok(stored.envelope.id)
    }

    async fn patch(&self, id: &str, operations: Value) -> Result<super::Stored, Error> {
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let message = json!({ "schemas": [schema], "Operations": operations });
        self.directory
            .patch(&self.users, id, &Precondition::None, &message, &mut Trace::default())
            .await
    }

    async fn query(&self, filter: Option<&str>, count: usize) -> Result<super::Found, Error> {
        let query = ListQuery {
            filter: filter.map(str::to_owned),
            count,
            ..ListQuery::default()
        };
        self.directory
            .query(
                &self.users,
                &query,
                "https://example.com/scim/acme",
                &mut Trace::default(),
            )
            .await
    }

    /// Round trips of what comes after the last call.
    async fn cost<T>(&self, operation: impl Future<Output = T>) -> usize {
        self.store.take();
        operation.await;
        self.store.take().round_trips
    }

    async fn keys(&self) -> Vec<String> {
        let page = self
            .store
            .scan(&self.directory.access.tenant.id, "-", "~", 1_000)
            .await
            .unwrap();
        page.rows.into_iter().map(|row| row.key).collect()
    }

    async fn events(&self) -> Vec<EventBody> {
        let (from, until) = rows::range("o~");
        let page = self
            .store
            .scan(&self.directory.access.tenant.id, &from, &until, 1_000)
            .await
            .unwrap();
        page.rows.iter().map(|row| rows::body(row).unwrap()).collect()
    }
}

fn refusal(error: &Error) -> &'static str {
    match error {
        Error::Refused(error) => error.rule().entry().name,
        other => panic!("not refused but {other}"),
    }
}

/// design: the table of round trips, its rows about users and credentials.
#[tokio::test]
async fn operations_cost_the_round_trips_of_the_table() {
    let world = World::new().await;
    let user = json!({ "userName": "a@example.com", "externalId": "x1",
                       "emails": [{ "value": "a@example.com", "type": "work" }] });
    assert_eq!(world.cost(world.create(user)).await, 1, "create");
    let id = world
        .query(Some(r#"userName eq "a@example.com""#), 1)
        .await
        .unwrap()
        .documents[0]["id"]
        .clone();
    let id = id.as_str().unwrap();

    let table: [(&str, usize); 8] = [
        (r#"userName eq "nobody@example.com""#, 1),
        (r#"userName eq "A@EXAMPLE.COM""#, 2),
        (r#"externalId eq "x2""#, 1),
        (r#"externalId eq "x1""#, 2),
        (r#"emails[type eq "work"].value eq "nobody@example.com""#, 1),
        (r#"emails[type eq "work"].value eq "a@example.com""#, 2),
        (&format!(r#"id eq "{id}""#), 1),
        (&format!(r#"id eq "{id}" and manager eq "m""#), 1),
    ];
    for (filter, cost) in table {
        assert_eq!(world.cost(world.query(Some(filter), 1)).await, cost, "{filter}");
    }

    let rename = json!([{ "op": "replace", "path": "displayName", "value": "A" }]);
    assert_eq!(world.cost(world.directory.read(&world.users, id)).await, 1, "read");
    let enterprise = crate::scim::schema::ENTERPRISE_USER_URN;
    let mut document = json!({ enterprise: { "manager": { "value": id } } });
    let names = world
        .directory
        .name_others(&world.users, document.as_object_mut().unwrap());
    assert_eq!(world.cost(names).await, 1, "names of others");
    let mut document = json!({ "userName": "nobody's subordinate" });
    let names = world
        .directory
        .name_others(&world.users, document.as_object_mut().unwrap());
    assert_eq!(world.cost(names).await, 0, "no others");
    assert_eq!(world.cost(world.patch(id, rename.clone())).await, 2, "patch");
    assert_eq!(
        world.cost(world.patch(id, rename)).await,
        1,
        "a patch that changes nothing"
    );
    let document = json!({ "schemas": [world.users.schema.id], "userName": "b@example.com" });
    let (of, directory) = (&world.users, &world.directory);
    let mut trace = Trace::default();
    let replace = directory.replace(of, id, &Precondition::None, &document, &mut trace);
    assert_eq!(world.cost(replace).await, 2, "replace");
    assert_eq!(
        world.cost(directory.delete(of, id, &Precondition::None)).await,
        2,
        "delete"
    );
}

#[tokio::test]
async fn a_page_costs_a_round_trip_for_each_thousand_users() {
    let world = World::new().await;
    for user in 0..1_001 {
        world.create(json!({ "userName": format!("u{user}") })).await.unwrap();
    }
    assert_eq!(world.cost(world.query(None, 100)).await, 2);
    assert_eq!(world.query(None, 100).await.unwrap().total, 1_001);
}

/// design §4: 0 when warm, 1 when cold.
#[tokio::test]
async fn a_credential_costs_one_round_trip_and_then_none() {
    let world = World::new().await;
    let cold = Tenants::new(
        Arc::clone(&world.store) as Arc<dyn Store>,
        Arc::new(Fixed {
            stopped: true,
            ..Fixed::default()
        }),
    );
    let deadline = world.directory.deadline;
    for (name, expected) in [("acme", 1), ("ACME", 0), ("nobody", 1), ("nobody", 0)] {
        world.store.take();
        let _ = cold.authenticate(Some(name), &world.secret, deadline).await;
        assert_eq!(world.store.take().gets, expected, "{name}");
    }
    world.store.take();
    assert!(cold.authenticate(None, &world.secret, deadline).await.is_ok());
    assert_eq!(world.store.take().gets, 3, "a base path without tenant");
}

#[tokio::test]
async fn no_personal_data_stands_in_a_key() {
    let world = World::new().await;
    let secrets = ["joan.doe@example.com", "Joan", "ext-4711"];
    world
        .create(
            json!({ "userName": secrets[0], "displayName": secrets[1], "externalId": secrets[2],
                        "emails": [{ "value": secrets[0] }] }),
        )
        .await
        .unwrap();
    let keys = world.keys().await;
    assert_eq!(keys.len(), 5, "event, user, and three indexed values: {keys:?}");
    for key in &keys {
        for secret in secrets {
            assert!(!key.to_lowercase().contains(&secret.to_lowercase()), "{key}");
        }
    }
}

#[tokio::test]
async fn every_change_writes_one_event_and_a_no_op_none() {
    let world = World::new().await;
    let id = world.create(json!({ "userName": "a" })).await.unwrap();
    world
        .patch(&id, json!([{ "op": "replace", "path": "title", "value": "Boss" }]))
        .await
        .unwrap();
    world
        .patch(&id, json!([{ "op": "replace", "path": "title", "value": "Boss" }]))
        .await
        .unwrap();
    world
        .directory
        .delete(&world.users, &id, &Precondition::None)
        .await
        .unwrap();
    let events: Vec<_> = world
        .events()
        .await
        .into_iter()
        .map(|event| (event.kind, event.paths))
        .collect();
    let paths = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        events,
        [
            ("create".to_owned(), paths(&["active", "userName"])),
            ("patch".to_owned(), paths(&["title"])),
            ("delete".to_owned(), paths(&["active", "title", "userName"])),
        ]
    );
}

/// A clock that stands still, or runs behind another instance's, must not mix up the order of a resource's events.
#[tokio::test]
async fn versions_grow_although_the_clock_stands_still() {
    let world = World::with(Fixed {
        stopped: true,
        ..Fixed::default()
    })
    .await;
    let id = world.create(json!({ "userName": "a" })).await.unwrap();
    let mut versions = vec![world.directory.read(&world.users, &id).await.unwrap().envelope.version];
    for title in ["b", "c", "d"] {
        let stored = world
            .patch(&id, json!([{ "op": "replace", "path": "title", "value": title }]))
            .await
            .unwrap();
        versions.push(stored.envelope.version);
    }
    assert!(versions.is_sorted(), "{versions:?}");
    let kinds: Vec<_> = world.events().await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["create", "patch", "patch", "patch"]);
}

/// R-GEN-15: a deleted user's name is free, and its rows are gone but for the tombstone and the events.
#[tokio::test]
async fn a_deleted_user_leaves_a_tombstone_only() {
    let world = World::new().await;
    let user = json!({ "userName": "a", "externalId": "x", "emails": [{ "value": "a@example.com" }] });
    let id = world.create(user.clone()).await.unwrap();
    world
        .directory
        .delete(&world.users, &id, &Precondition::None)
        .await
        .unwrap();
    let keys: Vec<_> = world
        .keys()
        .await
        .into_iter()
        .filter(|key| !key.starts_with("o~"))
        .collect();
    assert_eq!(keys, [rows::gone_key(&id)]);
    assert!(world.create(user).await.is_ok());
}

/// The issue of identity providers that rename people: case, width, composition are no difference; dotless i is.
#[tokio::test]
async fn a_name_is_taken_whatever_its_spelling() {
    let world = World::new().await;
    for (held, asked, taken) in [
        ("Straße", "STRASSE", true),
        ("Bob", "bOB", true),
        ("e\u{301}mile", "\u{c9}mile", true),
        ("\u{ff21}da", "ada", true),
        ("\u{131}rmak", "irmak", false),
    ] {
        let holder = world.create(json!({ "userName": held })).await.unwrap();
        match world.create(json!({ "userName": asked })).await {
            Ok(_) => assert!(!taken, "{held} and {asked}"),
            Err(error) => {
                assert!(taken, "{held} and {asked}: {error}");
                assert_eq!(refusal(&error), "unique-taken");
                assert!(error.to_string().contains(&holder), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_row_of_a_newer_format_is_neither_read_nor_overwritten() {
    let world = World::new().await;
    let id = world.create(json!({ "userName": "a" })).await.unwrap();
    let partition = &world.directory.access.tenant.id;
    let key = rows::resource_key("u", &id);
    let row = world
        .store
        .get(partition, &[&key])
        .await
        .unwrap()
        .pop()
        .flatten()
        .unwrap();
    let newer = String::from_utf8(row.body)
        .unwrap()
        .replace("\"format\":1", "\"format\":2")
        .into_bytes();
    let write = crate::store::Write {
        key: key.clone(),
        stamp: row.stamp,
        body: newer.clone(),
    };
    world
        .store
        .commit(partition, &[crate::store::Change::Upsert(write)])
        .await
        .unwrap();

    let patch = world
        .patch(&id, json!([{ "op": "replace", "path": "title", "value": "b" }]))
        .await;
    assert!(matches!(patch, Err(Error::Format(_))), "{patch:?}");
    assert!(matches!(world.query(None, 10).await, Err(Error::Format(_))));
    let row = world
        .store
        .get(partition, &[&key])
        .await
        .unwrap()
        .pop()
        .flatten()
        .unwrap();
    assert_eq!(row.body, newer);
    assert!(world.store.get(CONTROL, &["x"]).await.is_ok());
    assert_eq!(world.tenants.list(world.directory.deadline).await.unwrap().len(), 1);
}
