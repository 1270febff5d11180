//! Every kind of damage, planted into rows: it is found, mended, and not found any more. And nothing is found on a store
//! that others write.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::*;
use crate::{
    ambient::System,
    directory::{Precondition, Shown, edges, index, journal},
    rows::{EventBody, FORMAT, IndexBody, JournalBody, MembersBody, Operation, ResourceBody, TraceBody},
    scim::{members::Kind, normalize::Trace, projection::Selection, schema::ResourceType},
    store::{Change, Store, Write, sqlite::SqliteStore, tables},
    tenants::{Access, Catalogs, NewTenant, Tenants, Terms},
};

mod comeback;
mod copied;
mod damages;
mod live;
mod loaded;
mod rivals;
mod several;

/// A tenant, sound: two users and a nested group are members of a group, another user of the nested one, and there were
/// another group and another user, each with a membership.
struct World {
    store: Arc<dyn Store>,
    directory: Directory,
    inspection: Inspection,
    users: Arc<ResourceType>,
    groups: Arc<ResourceType>,
}

impl World {
    /// An empty tenant.
    async fn new(store: Arc<dyn Store>) -> Self {
        let ambient = Arc::new(System);
        let deadline = Instant::now() + Duration::from_mins(5);
        let tenants = Tenants::new(Arc::clone(&store), ambient.clone());
        let new = NewTenant {
            // Azurite keeps those of earlier runs.
            name: format!(
                "t{}",
                &crate::ambient::Ambient::new_id(&System).simple().to_string()[12..]
            ),
            ..NewTenant::default()
        };
        let terms = Terms::default();
        let (tenant, issued) = tenants.create(&new, None, &terms, "test", deadline).await.unwrap();
        let access = tenants.authenticate(Some(&tenant.name), &issued.secret, deadline).await;
        let directory = Directory {
            store: Arc::clone(&store),
            ambient,
            access: access.unwrap(),
            deadline,
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        };
        let catalog = Catalog::standard();
        let of = |name| Arc::clone(catalog.resource_type(name).unwrap());
        Self {
            store,
            inspection: Inspection::new(directory.clone(), Duration::from_mins(5), 5, |_| {}),
            directory,
            users: of("User"),
            groups: of("Group"),
        }
    }

    /// The same tenant in another store, which has its rows.
    fn over(&self, store: &Arc<dyn Store>) -> Self {
        let Access { tenant, credential, .. } = &*self.directory.access;
        let directory = Directory {
            store: Arc::clone(store),
            shared: Arc::default(),
            access: Arc::new(Access {
                tenant: tenant.clone(),
                credential: credential.clone(),
                // Read now: after a minute nobody believes them.
                catalogs: Catalogs::standard(),
            }),
            ..self.directory()
        };
        Self {
            store: Arc::clone(store),
            inspection: Inspection::new(directory.clone(), Duration::from_mins(5), 5, |_| {}),
            directory,
            users: Arc::clone(&self.users),
            groups: Arc::clone(&self.groups),
        }
    }

    async fn with_damages(store: Arc<dyn Store>) -> (Self, Ids) {
        let world = Self::new(store).await;
        let mut users = Vec::new();
        for name in ["a", "b", "c", "deleted"] {
            users.push(world.user(name).await);
        }
        let nested = world.group("nested", &users[2..3]).await;
        let group = world
            .group("group", &[&users[..2], std::slice::from_ref(&nested)].concat())
            .await;
        let deleted = world.group("deleted", &users[2..]).await;
        world.delete(&world.groups, &deleted).await;
        world.delete(&world.users, &users[3]).await;
        world.commit(event_of(1, "nobody", 2)).await;
        // Totals may just be folded.
        world.directory.shared.idle().await;
        let [a, b, c, _] = users.try_into().unwrap();
        let ids = Ids { a, b, c, group, nested };
        (world, ids)
    }

    async fn user(&self, name: &str) -> String {
        let mail = format!("{name}@example.com");
        let emails = json!([{ "value": mail, "type": "work" }, { "value": "all@example.com" }]);
        let user = json!({ "schemas": [self.users.schema.id], "userName": name, "externalId": name, "emails": emails });
        self.create(&self.users, user).await
    }

    async fn group(&self, name: &str, members: &[String]) -> String {
        let members: Vec<_> = members.iter().map(|id| json!({ "value": id })).collect();
        let schemas = [&self.groups.schema.id];
        let group = json!({ "schemas": schemas, "displayName": name, "externalId": name, "members": members });
        self.create(&self.groups, group).await
    }

    async fn create(&self, of: &ResourceType, document: Value) -> String {
        let shown = Shown::written(of, &Selection::default());
        let made = self
            .directory()
            .create(of, shown, document, &mut Trace::default())
            .await;
        made.unwrap().envelope.id
    }

    async fn patch(&self, of: &ResourceType, id: &str, operations: Value) -> Result<(), Error> {
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let message = json!({ "schemas": [schema], "Operations": operations });
        let shown = Shown::written(of, &Selection::default());
        let (expected, mut trace) = (Precondition::None, Trace::default());
        let patched = self
            .directory()
            .patch(of, id, &expected, shown, &message, &mut trace)
            .await;
        patched.map(drop)
    }

    async fn delete(&self, of: &ResourceType, id: &str) {
        self.directory().delete(of, id, &Precondition::None).await.unwrap();
    }

    fn directory(&self) -> Directory {
        Directory {
            deadline: Instant::now() + Duration::from_mins(5),
            ..self.directory.clone()
        }
    }

    async fn commit(&self, changes: Vec<Change>) {
        let partition = &self.directory.access.tenant.id;
        self.store.commit(partition, &changes).await.unwrap();
    }

    /// All rows but events.
    async fn rows(&self) -> BTreeMap<String, Row> {
        let page = self
            .store
            .scan(&self.directory.access.tenant.id, "", "~", 10_000)
            .await
            .unwrap();
        let rows = page.rows.into_iter().filter(|row| !row.key.starts_with("o~"));
        rows.map(|row| (row.key.clone(), row)).collect()
    }

    async fn row(&self, key: &str) -> Row {
        self.rows().await.remove(key).unwrap_or_else(|| panic!("no row {key}"))
    }
}

/// The resources of [`World::with_damages`].
struct Ids {
    a: String,
    b: String,
    c: String,
    group: String,
    nested: String,
}

/// An operation of long ago.
fn operation(number: u64) -> Operation {
    Operation::new(OffsetDateTime::UNIX_EPOCH, number, [0; 32])
}

fn write(key: String, body: &impl serde::Serialize) -> Write {
    rows::write(key, body)
}

/// An event that says that `c` joined a group, and its parts.
fn event_of(number: u64, group: &str, parts: usize) -> Vec<Change> {
    let operation = operation(number);
    let event = EventBody {
        paths: vec!["members".to_owned()],
        parts,
        ..EventBody::new("patch", ("Group", group), "test", operation.time())
    };
    let mut changes = vec![Change::Insert(write(rows::event_key(&operation), &event))];
    changes.extend((0..parts).map(|part| event_part(number, part, &[])));
    changes
}

fn event_part(number: u64, part: usize, users: &[&str]) -> Change {
    let body = MembersBody {
        format: FORMAT,
        users: users.iter().map(|id| (*id).to_owned()).collect(),
        ..MembersBody::default()
    };
    Change::Insert(write(rows::event_part_key(&operation(number).to_string(), part), &body))
}
