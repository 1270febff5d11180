//! What operations cost, what they leave behind, and what a reader sees while they are half done. One world for all: a
//! store that counts, over one that holds calls, over one that fails as told, over rows in memory.

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

use held::HeldStore;

use super::{Directory, Error, Precondition, Shown, Stored, index};
use crate::{
    ambient::{Ambient, Skewed},
    rows::{self, EventBody, FORMAT, IndexBody, ResourceBody, Stamp, SumBaseBody},
    scim::{
        attributes::Attributes,
        list::ListQuery,
        normalize::Trace,
        projection::Selection,
        schema::{Catalog, ResourceType},
    },
    store::{
        Change, MAX_CHANGES, MAX_COMMIT_BYTES, Row, Store, Write,
        counting::CountingStore,
        faults::{Call, FaultStore},
        sqlite::SqliteStore,
    },
    tenants::{Access, Catalogs, NewTenant, Tenants, Terms},
};

mod bulk;
mod costs;
mod gone;
mod groups;
mod held;
mod journal;
mod large;
mod memory;
mod queries;
mod users;

/// What an answer shows when the client selects nothing.
pub(super) fn shown(of: &ResourceType) -> Shown {
    Shown::read(of, &Selection::default())
}

/// A world that goes on by one second at each look, unless it is stopped.
#[derive(Debug, Default)]
pub(super) struct Fixed {
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

pub(super) struct World {
    /// What the directory sees.
    pub(super) store: Arc<CountingStore>,
    /// Beneath it.
    held: Arc<HeldStore>,
    /// Beneath that.
    pub(super) faults: Arc<FaultStore>,
    /// And at the bottom: what every process sees.
    rows: Arc<dyn Store>,
    pub(super) tenants: Tenants,
    pub(super) directory: Directory,
    secret: String,
    pub(super) users: Arc<ResourceType>,
    pub(super) groups: Arc<ResourceType>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Fixed::default()).await
    }

    pub(super) async fn with(ambient: impl Ambient) -> Self {
        let ambient: Arc<dyn Ambient> = Arc::new(ambient);
        let rows: Arc<dyn Store> = Arc::new(SqliteStore::memory().unwrap());
        // Not counted: when a tenant was last heard of is written beside the request, whenever there is time.
        let tenants = Tenants::new(Arc::clone(&rows), Arc::clone(&ambient));
        let deadline = Instant::now() + Span::from_mins(2);
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
        let catalog = Catalog::standard();
        let [users, groups] = ["User", "Group"].map(|name| Arc::clone(catalog.resource_type(name).unwrap()));
        let directory = Directory {
            store: Arc::clone(&rows),
            ambient,
            access,
            deadline,
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        };
        let (store, held, faults) = layers(&rows);
        Self {
            store,
            held,
            faults,
            rows,
            tenants,
            directory,
            secret: issued.secret,
            users,
            groups,
        }
        .beneath_its_store()
    }

    /// The directory sees the store that counts.
    fn beneath_its_store(mut self) -> Self {
        self.directory.store = Arc::clone(&self.store) as Arc<dyn Store>;
        self
    }

    pub(super) async fn create(&self, user: Value) -> Result<String, Error> {
        Ok(self.directory.make_one(&self.users, user).await?.envelope.id)
    }

    pub(super) async fn delete(&self, id: &str) {
        let deleted = self.directory.delete(&self.users, id, &Precondition::None);
        deleted.await.unwrap();
    }

    pub(super) async fn patch(&self, id: &str, operations: Value) -> Result<Stored, Error> {
        self.directory.change(&self.users, id, operations).await
    }

    pub(super) async fn query(&self, filter: Option<&str>, count: usize) -> Result<super::Found, Error> {
        let query = ListQuery {
            filter: filter.map(str::to_owned),
            count,
            ..ListQuery::default()
        };
        self.find(&query).await
    }

    pub(super) async fn find(&self, query: &ListQuery) -> Result<super::Found, Error> {
        let types = [Arc::clone(&self.users)];
        let base_url = "https://example.com/scim/acme";
        self.directory
            .query(&types, query, &[Shown::default()], base_url, &mut Trace::default())
            .await
    }

    /// The same tenant in another process: what the two share is in the store, beneath this one's faults.
    pub(super) fn elsewhere(&self) -> Self {
        self.over(&self.rows, Duration::ZERO)
    }

    /// The same in another process, and so much later.
    pub(super) fn later(&self, time: Duration) -> Self {
        self.over(&self.rows, time)
    }

    fn over(&self, rows: &Arc<dyn Store>, later: Duration) -> Self {
        let (store, held, faults) = layers(rows);
        let directory = Directory {
            ambient: Arc::new(Skewed(Arc::clone(&self.directory.ambient), later)),
            shared: Arc::default(),
            held: Arc::default(),
            // Let in a moment ago.
            access: Arc::new(Access {
                tenant: self.directory.access.tenant.clone(),
                credential: self.directory.access.credential.clone(),
                catalogs: Catalogs::standard(),
            }),
            ..self.directory.clone()
        };
        Self {
            store,
            held,
            faults,
            rows: Arc::clone(rows),
            tenants: self.tenants.clone(),
            directory,
            secret: self.secret.clone(),
            users: Arc::clone(&self.users),
            groups: Arc::clone(&self.groups),
        }
        .beneath_its_store()
    }

    /// A world in which everything has come as far as in this one, and goes on by itself.
    async fn copy(&self) -> Self {
        let rows: Arc<dyn Store> = Arc::new(SqliteStore::memory().unwrap());
        let copy = self.over(&rows, Duration::ZERO);
        let write = |row: Row| Write {
            key: row.key,
            stamp: row.stamp,
            body: row.body,
        };
        let all = self.rows_of("").await.into_iter();
        copy.write(all.map(write).collect()).await;
        copy
    }

    /// Runs an operation, and another before its call of this kind and number, when all its other calls are done; without
    /// such a call there is no other.
    pub(super) async fn in_the_middle<T, U>(
        &self,
        (call, number): (Call, usize),
        operation: impl Future<Output = T>,
        other: impl Future<Output = U>,
    ) -> (T, Option<U>) {
        self.held.hold(call, number..=number);
        let operation = async {
            let done = operation.await;
            self.held.end();
            done
        };
        let other = async {
            if self.held.settled().await == 0 {
                return None;
            }
            let done = other.await;
            self.held.let_go(1);
            Some(done)
        };
        tokio::join!(operation, other)
    }

    /// Writes resources straight into the store, with the total that belongs to them: id and attributes of each.
    pub(super) async fn fill(&self, kind: &str, resources: impl ExactSizeIterator<Item = (String, Value)>) {
        let partition = &self.directory.access.tenant.id;
        let time = OffsetDateTime::UNIX_EPOCH;
        let stamp = Stamp {
            format: FORMAT,
            version: "1".to_owned(),
            stamp: 1,
            modified: time,
            members: String::new(),
        };
        let sum = SumBaseBody {
            format: FORMAT,
            n: i64::try_from(resources.len()).unwrap(),
            changes: 1,
        };
        let catalog = Catalog::standard();
        let of = catalog
            .resource_types
            .iter()
            .find(|of| index::kind(of) == kind)
            .unwrap();
        let mut changes = vec![
            Change::Upsert(rows::write(rows::sum_base_key(kind), &sum)),
            Change::Upsert(rows::write(rows::sum_seal_key(kind), &sum)),
        ];
        for (id, attributes) in resources {
            let body = ResourceBody {
                format: FORMAT,
                id: id.clone(),
                created: time,
                attributes: attributes.as_object().unwrap().clone(),
                unknown: serde_json::Map::new(),
            };
            let attributes = Attributes::from_stored(body.attributes.clone());
            for (key, entry) in index::entries(of, &self.directory.access.tenant, &id, &attributes) {
                let (format, id, value) = (FORMAT, id.clone(), entry.value);
                changes.push(Change::Insert(rows::write(key, &IndexBody { format, id, value })));
            }
            let mut write = rows::write(rows::resource_key(kind, &id), &body);
            write.stamp = rows::encode(&stamp);
            changes.push(Change::Insert(write));
        }
        let bytes = |change: &Change| match change {
            Change::Insert(write) | Change::Upsert(write) => write.body.len() + write.stamp.len(),
            _ => 0,
        };
        let largest = changes.iter().map(bytes).max().unwrap_or_default();
        for part in changes.chunks(MAX_CHANGES.min(MAX_COMMIT_BYTES / largest)) {
            self.store.commit(partition, part).await.unwrap();
        }
    }

    /// Round trips of an operation, without the errands of earlier ones.
    pub(super) async fn cost<T>(&self, operation: impl Future<Output = T>) -> usize {
        self.directory.shared.idle().await;
        self.store.take();
        operation.await;
        self.store.take().round_trips
    }

    /// The tenant's rows whose keys begin with this.
    pub(super) async fn rows_of(&self, prefix: &str) -> Vec<Row> {
        let (from, until) = rows::range(prefix);
        let partition = &self.directory.access.tenant.id;
        self.rows.scan(partition, &from, &until, usize::MAX).await.unwrap().rows
    }

    pub(super) async fn keys(&self) -> Vec<String> {
        self.rows_of("").await.into_iter().map(|row| row.key).collect()
    }

    pub(super) async fn events(&self) -> Vec<EventBody> {
        // Parts of an event have the longer keys.
        let whole = self.rows_of("o~").await.into_iter();
        let whole = whole.filter(|row| row.key.matches('~').count() == 1);
        whole.map(|row| rows::body(&row).unwrap()).collect()
    }
}

/// The operations in the words of tests.
impl Directory {
    pub(super) async fn make_one(&self, of: &ResourceType, attributes: Value) -> Result<Stored, Error> {
        let mut document = json!({ "schemas": [of.schema.id] });
        document
            .as_object_mut()
            .unwrap()
            .extend(attributes.as_object().unwrap().clone());
        let written = Shown::written(of, &Selection::default());
        self.create(of, written, document, &mut Trace::default()).await
    }

    pub(super) async fn change(&self, of: &ResourceType, id: &str, operations: Value) -> Result<Stored, Error> {
        let written = Shown::written(of, &Selection::default());
        let message = patch_op(&operations);
        self.patch(of, id, &Precondition::None, written, &message, &mut Trace::default())
            .await
    }
}

/// A store that counts, over one that holds, over one that fails.
fn layers(rows: &Arc<dyn Store>) -> (Arc<CountingStore>, Arc<HeldStore>, Arc<FaultStore>) {
    let faults = Arc::new(FaultStore::new(Arc::clone(rows)));
    let held = Arc::new(HeldStore::new(Arc::clone(&faults) as Arc<dyn Store>));
    let store = Arc::new(CountingStore::new(Arc::clone(&held) as Arc<dyn Store>));
    (store, held, faults)
}

fn patch_op(operations: &Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

pub(super) fn refusal(error: &Error) -> &'static str {
    match error {
        Error::Refused(error) => error.rule().entry().name,
        other => panic!("not refused but {other}"),
    }
}
