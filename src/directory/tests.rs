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

use super::{Directory, Error, MAX_SCANNED, Precondition, Shown, index};
use crate::{
    ambient::Ambient,
    rows::{self, CONTROL, EventBody, FORMAT, IndexBody, ResourceBody, Stamp, SumBaseBody},
    scim::{
        attributes::Attributes,
        limits::{MAX_FILTER_WORK, MAX_PAGE_BYTES},
        list::{ListQuery, Paging},
        normalize::Trace,
        projection::Selection,
        schema::{Catalog, ResourceType},
    },
    store::{Change, ETag, MAX_CHANGES, MAX_COMMIT_BYTES, Row, Store, counting::CountingStore, sqlite::SqliteStore},
    tenants::{NewTenant, Tenants, Terms},
};

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
    pub(super) store: Arc<CountingStore>,
    pub(super) tenants: Tenants,
    pub(super) directory: Directory,
    secret: String,
    pub(super) users: Arc<ResourceType>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Fixed::default()).await
    }

    pub(super) async fn with(ambient: impl Ambient) -> Self {
        let ambient: Arc<dyn Ambient> = Arc::new(ambient);
        let inner: Arc<dyn Store> = Arc::new(SqliteStore::memory().unwrap());
        // Not counted: when a tenant was last heard of is written beside the request, whenever there is time.
        let tenants = Tenants::new(Arc::clone(&inner), Arc::clone(&ambient));
        let store = Arc::new(CountingStore::new(inner));
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
        let users = Arc::clone(Catalog::standard().resource_type("User").unwrap());
        let directory = Directory {
            store: Arc::clone(&store) as Arc<dyn Store>,
            ambient,
            access,
            deadline,
            shared: Arc::default(),
        };
        Self {
            store,
            tenants,
            directory,
            secret: issued.secret,
            users,
        }
    }

    pub(super) async fn create(&self, user: Value) -> Result<String, Error> {
        let mut document = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"] });
        document
            .as_object_mut()
            .unwrap()
            .extend(user.as_object().unwrap().clone());
        let stored = self
            .directory
            .create(&self.users, shown(&self.users), document, &mut Trace::default())
            .await?;
        Ok(stored.envelope.id)
    }

    pub(super) async fn delete(&self, id: &str) {
        let deleted = self.directory.delete(&self.users, id, &Precondition::None);
        deleted.await.unwrap();
    }

    pub(super) async fn patch(&self, id: &str, operations: Value) -> Result<super::Stored, Error> {
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let message = json!({ "schemas": [schema], "Operations": operations });
        self.directory
            .patch(
                &self.users,
                id,
                &Precondition::None,
                shown(&self.users),
                &message,
                &mut Trace::default(),
            )
            .await
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

    /// The same tenant in another process: what the two share is in the store.
    pub(super) fn elsewhere(&self) -> Self {
        let store = Arc::new(CountingStore::new(Arc::clone(&self.store) as Arc<dyn Store>));
        Self {
            directory: Directory {
                store: Arc::clone(&store) as Arc<dyn Store>,
                ambient: Arc::clone(&self.directory.ambient),
                access: Arc::clone(&self.directory.access),
                deadline: self.directory.deadline,
                shared: Arc::default(),
            },
            store,
            tenants: self.tenants.clone(),
            secret: self.secret.clone(),
            users: Arc::clone(&self.users),
        }
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

    pub(super) async fn keys(&self) -> Vec<String> {
        let page = self
            .store
            .scan(&self.directory.access.tenant.id, "-", "~", 1_000)
            .await
            .unwrap();
        page.rows.into_iter().map(|row| row.key).collect()
    }

    pub(super) async fn events(&self) -> Vec<EventBody> {
        let (from, until) = rows::range("o~");
        let page = self
            .store
            .scan(&self.directory.access.tenant.id, &from, &until, 1_000)
            .await
            .unwrap();
        page.rows.iter().map(|row| rows::body(row).unwrap()).collect()
    }
}

pub(super) fn refusal(error: &Error) -> &'static str {
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
        .resources[0]
        .document["id"]
        .clone();
    let id = id.as_str().unwrap();

    let table: [(&str, usize); 9] = [
        (r#"userName eq "nobody@example.com""#, 1),
        (r#"userName eq "A@EXAMPLE.COM""#, 2),
        (r#"externalId eq "x2""#, 1),
        (r#"externalId eq "X1""#, 1),
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
    assert_eq!(
        world
            .cost(world.directory.read(&world.users, id, shown(&world.users)))
            .await,
        1,
        "read"
    );
    let (enterprise, every) = (crate::scim::schema::ENTERPRISE_USER_URN, Selection::default());
    let mut document = json!({ enterprise: { "manager": { "value": id } } });
    let names = world
        .directory
        .name_others(&world.users, document.as_object_mut().unwrap(), &every);
    assert_eq!(world.cost(names).await, 1, "names of others");
    let mut document = json!({ "userName": "nobody's subordinate" });
    let names = world
        .directory
        .name_others(&world.users, document.as_object_mut().unwrap(), &every);
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
    let replace = directory.replace(of, id, &Precondition::None, shown(of), &document, &mut trace);
    assert_eq!(world.cost(replace).await, 2, "replace");
    assert_eq!(
        world.cost(directory.delete(of, id, &Precondition::None)).await,
        3,
        "delete"
    );
}

#[tokio::test]
async fn a_page_costs_a_round_trip_for_each_thousand_users_on_it() {
    let world = World::new().await;
    for user in 0..1_001 {
        world.create(json!({ "userName": format!("u{user}") })).await.unwrap();
    }
    for count in [0, 1, 100, 1_000] {
        // The first finds that the total takes many rows, and lets it be folded.
        assert_eq!(world.query(None, count).await.unwrap().total, Some(1_001));
        assert_eq!(world.cost(world.query(None, count)).await, 1, "{count} users");
    }
}

impl World {
    /// Makes a user of so many KiB; the names sort in no particular order.
    async fn create_large(&self, name: &str, kib: usize) -> String {
        let entitlements: Vec<_> = (0..kib.div_ceil(16))
            .map(|n| json!({ "value": format!("{n}{}", "y".repeat(16 * 1024)) }))
            .collect();
        let emails = json!([{ "value": "info@example.com" }]);
        let user = json!({ "userName": name, "emails": emails, "entitlements": entitlements });
        self.create(user).await.unwrap()
    }
}

/// A filter that no user of [`World::create_large`] fulfils, and says so by its first condition.
fn conditions(number: usize) -> String {
    let mut filter = "title pr".to_owned();
    filter.push_str(&" and roles co z".repeat(number - 1));
    filter
}

/// RFC 7644 §3.4.2.4: a page may be shorter than asked for; whoever goes on behind it meets each resource once.
#[tokio::test]
async fn pages_of_large_users_are_shorter_and_miss_none() {
    let world = World::new().await;
    let mut all = Vec::new();
    for number in 0..45 {
        // Small ones between the large ones must not slip into the page before.
        let kib = if number % 5 == 4 { 1 } else { 448 };
        all.push(world.create_large(&format!("u{number}"), kib).await);
    }
    for filter in [
        None,
        Some(r#"userName sw "u""#),
        Some(r#"emails eq "info@example.com""#),
    ] {
        let (mut seen, mut pages) = (Vec::new(), Vec::new());
        while seen.len() < all.len() {
            let query = ListQuery {
                filter: filter.map(str::to_owned),
                paging: Paging::Index(seen.len() + 1),
                count: 1_000,
                ..ListQuery::default()
            };
            let found = world.find(&query).await.unwrap();
            assert_eq!(found.total, Some(all.len()));
            let users = found.resources.iter().map(|user| &user.document);
            let bytes: usize = users.clone().map(|user| json!(user).to_string().len()).sum();
            assert!(bytes < MAX_PAGE_BYTES + 64 * 1024, "{bytes} bytes on a page");
            assert!(!found.resources.is_empty());
            pages.push(found.resources.len());
            seen.extend(users.map(|user| user["id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(seen, all, "{filter:?}");
        assert_eq!(pages, [22, 23], "{filter:?}");
    }
    assert_eq!(world.query(None, 7).await.unwrap().resources.len(), 7);
}

/// Rows known to be large are fetched in smaller steps.
#[tokio::test]
async fn rows_are_fetched_by_key_as_many_as_there_is_room_for() {
    let row = |bytes| Row {
        key: String::new(),
        etag: ETag(String::new()),
        stamp: Vec::new(),
        body: vec![0; bytes],
    };
    for (bytes, rows) in [(0, 32), (2_048, 64), (80 * 1024, 64), (448 * 1024, 36), (32 << 20, 1)] {
        let mut stride = super::sift::Stride::of(32);
        stride.learn(&[row(bytes), row(bytes)]);
        assert_eq!(stride.rows, rows, "{bytes} bytes each");
        stride.learn(&[]);
        assert_eq!(stride.rows, rows, "no rows tell nothing");
    }
}

/// R-FILTER-09; RFC 7644, table 9: tooMany.
#[tokio::test]
async fn a_filter_that_is_too_much_work_is_refused() {
    const {
        assert!(
            5 * MAX_SCANNED * 2048 < MAX_FILTER_WORK,
            "ordinary filters on ordinary users pass"
        );
    };
    let world = World::new().await;
    for number in 0..10 {
        world.create_large(&format!("u{number}"), 400).await;
    }
    // 10 users of 400 KiB: 3.9 MiB for each condition, of which 128 MiB are allowed.
    for (terms, passes) in [(1, true), (5, true), (32, true), (33, false), (500, false)] {
        for start in ["", r#"emails eq "info@example.com" and "#] {
            let terms = if start.is_empty() { terms } else { terms - 1 };
            let filter = if terms == 0 {
                start.trim_end_matches(" and ").to_owned()
            } else {
                format!("{start}{}", conditions(terms))
            };
            match world.query(Some(&filter), 10).await {
                Ok(_) => assert!(passes, "{terms} conditions"),
                Err(error) => {
                    assert!(!passes, "{terms} conditions: {error}");
                    assert_eq!(refusal(&error), "too-many");
                    assert!(error.to_string().contains("128 MiB of resources"), "{error}");
                }
            }
        }
    }
}

/// design §7: nobody waits for an answer behind the deadline.
#[tokio::test(start_paused = true)]
async fn a_filter_ends_at_the_deadline_between_two_users() {
    let world = World::new().await;
    for number in 0..10 {
        world.create_large(&format!("u{number}"), 400).await;
    }
    world.store.take();
    let filter = conditions(10);
    let passing_time = async {
        while world.store.counts().bytes_read == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Span::from_mins(3)).await;
    };
    let (found, ()) = futures::join!(world.query(Some(&filter), 10), passing_time);
    assert_eq!(refusal(&found.unwrap_err()), "deadline-exceeded");
    assert_eq!(world.store.take().scans, 1);
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
    for (name, expected) in [("acme", 1), ("ACME", 0), ("nobody", 1), ("nobody", 1)] {
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
    let secrets = ["bjensen@example.com", "Babs", "ext-4711"];
    world
        .create(
            json!({ "userName": secrets[0], "displayName": secrets[1], "externalId": secrets[2],
                        "emails": [{ "value": secrets[0] }] }),
        )
        .await
        .unwrap();
    let keys = world.keys().await;
    assert_eq!(
        keys.len(),
        6,
        "event, user, three indexed values, one in the total: {keys:?}"
    );
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
    let mut versions = vec![
        world
            .directory
            .read(&world.users, &id, shown(&world.users))
            .await
            .unwrap()
            .envelope
            .version,
    ];
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

/// What a user no longer has must not be found by, nor be in the way of others.
#[tokio::test]
async fn a_changed_value_leaves_no_index_row_behind() {
    let world = World::new().await;
    let user = json!({ "userName": "a", "externalId": "x", "emails": [{ "value": "a@example.com", "type": "work" }] });
    let id = world.create(user).await.unwrap();
    let before = world.keys().await;
    let changes = json!([
        { "op": "replace", "path": "userName", "value": "b" },
        { "op": "replace", "path": "externalId", "value": "y" },
        { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "b@example.com" },
    ]);
    world.patch(&id, changes).await.unwrap();
    let after = world.keys().await;
    for prefix in ["n~", "x~", "e~"] {
        let of = |keys: &[String]| {
            keys.iter()
                .filter(|key| key.starts_with(prefix))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&after).len(), 1, "{prefix}: {after:?}");
        assert_ne!(of(&before), of(&after), "{prefix}");
    }
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
        .filter(|key| !key.starts_with("o~") && !key.starts_with("sum~"))
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
    world.store.commit(partition, &[Change::Upsert(write)]).await.unwrap();

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
