//! Stores that other versions of scimgate wrote.
//!
//! `tests/fixtures/stores/<version>.db` is an embedded store that this version wrote, `<version>.jsonl` its backup, and
//! `<version>.answers.jsonl` what its clients were told then, one answer a line. From then on every version opens the one, loads
//! the other into either store, and answers the same. All are written once, for the version that `Cargo.toml` names, and never again:
//!
//! ```text
//! cargo test --test api -- --ignored formats::make_the_fixture
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use scimgate::{
    ambient::System,
    backup::Target,
    directory::{Directory, check::Inspection},
    store::{
        Change, Row, Store, Write,
        faults::{Call, Fault, FaultStore},
        sqlite::SqliteStore,
    },
    tenants::{Access, Catalogs, NewTenant, Terms},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, time::Instant};

use crate::{
    answer::Answer,
    moved,
    tenant::{ENTERPRISE_URN, SCIM_JSON, Tenant, encoded, patch_op, user, user_with},
    world::{KINDS, Kind, Setup, Way, World, Worlds},
};

const TENANT: &str = "fixture";
/// Of a tenant that nobody has.
const SECRET: &str = "a-secret-that-is-in-this-repository";
const BADGE: &str = "urn:example:params:scim:schemas:extension:badge:2.0:User";
const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores")
}

/// A trial by its name.
type Trial = Box<dyn FnOnce() -> Result<(), String> + Send>;

pub(crate) fn trials(runtime: &Arc<Runtime>, worlds: &Arc<Worlds>) -> Vec<(Kind, String, Trial)> {
    let mut trials: Vec<(Kind, String, Trial)> = Vec::new();
    let versions = versions();
    if versions.is_empty() {
        let lacking = || Err("there is no fixture".to_owned());
        trials.push((
            Kind::Sqlite,
            "formats::there_is_a_fixture".to_owned(),
            Box::new(lacking),
        ));
    }
    for version in &versions {
        let (runtime, version) = (Arc::clone(runtime), version.clone());
        trials.push((
            Kind::Sqlite,
            format!(
                "sqlite/direct/formats::a_file_of_{}_is_as_it_was",
                version.replace('.', "_")
            ),
            Box::new(move || runtime.block_on(file_as_it_was(&version))),
        ));
    }
    for kind in KINDS {
        for version in &versions {
            let (runtime, worlds, version) = (Arc::clone(runtime), Arc::clone(worlds), version.clone());
            trials.push((
                kind,
                format!(
                    "{kind}/direct/formats::a_store_of_{}_is_as_it_was",
                    version.replace('.', "_")
                ),
                Box::new(move || {
                    runtime.block_on(async {
                        let world = worlds.world(kind, Way::Direct, Setup::PublicUrl).await?;
                        as_it_was(&version, &world).await
                    })
                }),
            ));
        }
        let (first, second) = (
            (Arc::clone(runtime), Arc::clone(worlds)),
            (Arc::clone(runtime), Arc::clone(worlds)),
        );
        trials.push((
            kind,
            format!("{kind}/direct/formats::what_we_do_not_know_outlasts_what_we_write"),
            Box::new(move || {
                first
                    .0
                    .block_on(async { unknown_is_kept(&tenant(&first.1, kind).await?).await })
            }),
        ));
        trials.push((
            kind,
            format!("{kind}/direct/formats::what_is_newer_is_never_written_over"),
            Box::new(move || {
                second
                    .0
                    .block_on(async { newer_is_left(&tenant(&second.1, kind).await?).await })
            }),
        ));
    }
    trials
}

async fn tenant(worlds: &Worlds, kind: Kind) -> Result<Tenant, String> {
    let world = worlds.world(kind, Way::Direct, Setup::Standard).await?;
    Ok(Tenant::create(world).await)
}

/// Of which there are fixtures.
fn versions() -> Vec<String> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut versions: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(".answers.jsonl")?.to_owned()))
        .collect();
    versions.sort();
    versions
}

/// What a client asked, and what it was told.
fn recorded(path: &str, answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    if let Some(body) = body.as_object_mut() {
        // Sealed anew each time, and of one request.
        body.remove("nextCursor");
        if let Some(Value::String(detail)) = body.get_mut("detail") {
            let end = detail.rfind(" Reference ").unwrap_or(detail.len());
            detail.truncate(end);
        }
    }
    json!({ "path": path, "status": answer.status, "etag": answer.header("etag"), "body": body })
}

async fn as_it_was(version: &str, world: &Arc<World>) -> Result<(), String> {
    let loaded = moved::load(&folder().join(format!("{version}.jsonl")), TENANT, world).await?;
    let report = loaded.report.ok_or("it was there already")?;
    if !report.mended.is_empty() {
        return Err(format!("mended: {:?}", report.mended));
    }
    answers_are(version, world).await
}

async fn file_as_it_was(version: &str) -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = place.path().join("scimgate.db");
    fs::copy(folder().join(format!("{version}.db")), &file).map_err(|error| error.to_string())?;
    let store = SqliteStore::open(&file).map_err(|error| error.to_string())?;
    let world = Arc::new(World::over(Arc::new(store)).await?);
    answers_are(version, &world).await
}

/// Its clients are told what they were told then, and can go on.
async fn answers_are(version: &str, world: &Arc<World>) -> Result<(), String> {
    let tenant = Tenant {
        world: Arc::clone(world),
        name: TENANT.to_owned(),
        secret: SECRET.to_owned(),
    };
    let answers =
        fs::read_to_string(folder().join(format!("{version}.answers.jsonl"))).map_err(|error| error.to_string())?;
    let mut count = 0;
    for line in answers.lines() {
        let expected: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let path = expected["path"].as_str().ok_or("an answer to nothing")?;
        let came = recorded(path, &tenant.get(path).await);
        // A cursor of its lives for an hour; afterwards it is known as one still.
        let is_expired = path.contains("cursor=") && came["body"]["scimType"] == "expiredCursor";
        if came != expected && !is_expired {
            return Err(format!("{path}\n  expected {expected}\n  came     {came}"));
        }
        count += 1;
    }
    assert!(count > 20, "only {count} answers");
    written_on(&tenant).await;
    check(&tenant).await
}

/// What is there can be changed, and what is taken stays so.
async fn written_on(t: &Tenant) {
    let found = t.find("userName eq \"user3@example.com\"").await.is(200);
    let id = found.listed("/id").remove(0);
    assert_eq!(t.post("/Users", user("USER3@example.com")).await.status, 409);
    let made = t.user("new@example.com").await.id().to_owned();
    let group = t
        .get(&format!("/Groups?filter={}", encoded("displayName eq \"Pending\"")))
        .await
        .is(200);
    let group = format!("/Groups/{}", group.listed("/id").remove(0));
    let join = json!([{ "op": "add", "path": "members", "value": [{ "value": made }, { "value": id }] }]);
    t.patch(&group, patch_op(join)).await.is(200);
    let members = |answer: &Answer| answer.body["members"].as_array().map_or(0, Vec::len);
    let before = members(&t.get(&group).await.is(200));
    t.delete(&format!("/Users/{id}")).await.is(204);
    t.get(&format!("/Users/{id}")).await.is(404);
    assert_eq!(members(&t.get(&group).await.is(200)), before - 1);
}

/// Nothing is wrong with the tenant's rows.
async fn check(t: &Tenant) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let tenant = t
        .world
        .tenants
        .find(&t.name, deadline)
        .await
        .map_err(|error| error.to_string())?;
    let directory = Directory {
        store: t.world.store(),
        ambient: Arc::new(System),
        access: Arc::new(Access {
            tenant,
            credential: "test".to_owned(),
            catalogs: Catalogs::standard(),
        }),
        deadline,
        shared: Arc::default(),
        held: Arc::default(),
        invocation: None,
    };
    let report = Inspection::new(directory, PATIENCE, 5, |_| {}).check().await;
    let report = report.map_err(|error| error.to_string())?;
    if report.is_sound() {
        Ok(())
    } else {
        Err(format!("{:?}", report.findings))
    }
}

/// A tenant's rows, as another version finds them.
struct Rows {
    store: Arc<dyn Store>,
    partition: String,
}

impl Rows {
    async fn of(t: &Tenant) -> Rows {
        let deadline = Instant::now() + PATIENCE;
        let tenant = t
            .world
            .tenants
            .find(&t.name, deadline)
            .await
            .expect("the tenant is there");
        Rows {
            store: t.world.store(),
            partition: tenant.id,
        }
    }

    fn control(&self) -> Rows {
        Rows {
            store: Arc::clone(&self.store),
            partition: "control".to_owned(),
        }
    }

    async fn row(&self, key: &str) -> Row {
        let rows = self
            .store
            .get(&self.partition, &[key])
            .await
            .expect("the store answers");
        rows.into_iter()
            .flatten()
            .next()
            .unwrap_or_else(|| panic!("no row {key}"))
    }

    /// What it says of a member that we don't know.
    async fn unknown(&self, key: &str) -> Value {
        let body: Value = serde_json::from_slice(&self.row(key).await.body).expect("JSON");
        body["fromLater"].clone()
    }

    /// Changes a body as another version would.
    async fn rewrite(&self, key: &str, name: &str, value: Value) -> Row {
        let row = self.row(key).await;
        let mut body: Value = serde_json::from_slice(&row.body).expect("JSON");
        body[name] = value;
        let write = Write {
            key: row.key,
            stamp: row.stamp,
            body: body.to_string().into_bytes(),
        };
        let written = self.store.commit(&self.partition, &[Change::Upsert(write)]).await;
        written.expect("the store writes");
        self.row(key).await
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let page = self
            .store
            .scan(&self.partition, prefix, &format!("{prefix}~"), 1_000)
            .await;
        page.expect("the store answers")
            .rows
            .into_iter()
            .map(|row| row.key)
            .collect()
    }
}

/// Two versions side by side, as at each deployment and after a roll-back: the older one writes rows of the newer one.
async fn unknown_is_kept(t: &Tenant) -> Result<(), String> {
    let rows = Rows::of(t).await;
    let control = rows.control();
    let id = t.user("bjensen@example.com").await.id().to_owned();
    let group = json!({ "schemas": [GROUP_URN], "displayName": "Tour Guides", "members": [{ "value": id }] });
    let group = t.post("/Groups", group).await.is(201).id().to_owned();
    let user_key = format!("u~{id}");
    let group_key = format!("g~{group}");
    let tenant_key = format!("tenant~{}", t.name);
    let later = json!({ "kept": [1, "two"] });
    for key in [&user_key, &group_key] {
        rows.rewrite(key, "fromLater", later.clone()).await;
    }
    control.rewrite(&tenant_key, "fromLater", later.clone()).await;
    let held = control.keys(&format!("of~{}~", rows.partition)).await.remove(0);
    let held: Value = serde_json::from_slice(&control.row(&held).await.body).expect("JSON");
    let token_key = format!("token~{}", held["hash"].as_str().expect("a hash"));
    control.rewrite(&token_key, "fromLater", later.clone()).await;

    let title = patch_op(json!([{ "op": "replace", "path": "title", "value": "Tour Guide" }]));
    t.patch(&format!("/Users/{id}"), title).await.is(200);
    t.put(&format!("/Users/{id}"), user("babs@example.com")).await.is(200);
    let name = patch_op(json!([{ "op": "replace", "path": "displayName", "value": "Guides" }]));
    t.patch(&format!("/Groups/{group}"), name).await.is(200);
    let deadline = || Instant::now() + PATIENCE;
    let tenants = &t.world.tenants;
    tenants
        .limit(&t.name, Some(0), "test", deadline())
        .await
        .expect("it is limited");
    let credential: Value = serde_json::from_slice(&control.row(&token_key).await.body).expect("JSON");
    let other = t.issue(None, &Terms::default()).await;
    t.revoke(credential["id"].as_str().expect("an id")).await;
    for (rows, key) in [
        (&rows, &user_key),
        (&rows, &group_key),
        (&control, &tenant_key),
        (&control, &token_key),
    ] {
        assert_eq!(rows.unknown(key).await, later, "{key}");
    }
    let t = Tenant {
        secret: other.secret,
        name: t.name.clone(),
        world: Arc::clone(&t.world),
    };
    t.delete(&format!("/Users/{id}")).await.is(204);
    assert_eq!(rows.unknown(&format!("gone~{id}")).await, later);
    check(&t).await
}

/// A row of a newer format: 503, as it can be read after the upgrade, and nobody writes over it.
async fn newer_is_left(t: &Tenant) -> Result<(), String> {
    let rows = Rows::of(t).await;
    let id = t.user("bjensen@example.com").await.id().to_owned();
    let group = json!({ "schemas": [GROUP_URN], "displayName": "Tour Guides", "members": [{ "value": id }] });
    let group = t.post("/Groups", group).await.is(201).id().to_owned();
    let user_row = rows.rewrite(&format!("u~{id}"), "format", json!(2)).await;
    let group_row = rows.rewrite(&format!("g~{group}"), "format", json!(2)).await;
    for (path, name) in [
        (format!("/Users/{id}"), "title"),
        (format!("/Groups/{group}"), "displayName"),
    ] {
        let change = patch_op(json!([{ "op": "replace", "path": name, "value": "Guide" }]));
        let put = if name == "title" {
            user("babs@example.com")
        } else {
            json!({ "schemas": [GROUP_URN], "displayName": "G" })
        };
        for answer in [
            t.get(&path).await,
            t.patch(&path, change).await,
            t.put(&path, put).await,
            t.delete(&path).await,
        ] {
            assert_eq!(answer.status, 503, "{answer}");
        }
    }
    for row in [user_row, group_row] {
        assert_eq!(rows.row(&row.key).await, row);
    }
    Ok(())
}

/// Writes the fixture of this version; by hand, once.
pub(crate) fn make(runtime: &Runtime) -> Result<(), String> {
    let version = env!("CARGO_PKG_VERSION");
    let [store, rows, answers] =
        ["db", "jsonl", "answers.jsonl"].map(|kind| folder().join(format!("{version}.{kind}")));
    if [&store, &rows, &answers].iter().any(|file| file.exists()) {
        return Err(format!("{} is there: what a version wrote stays", rows.display()));
    }
    fs::create_dir_all(folder()).map_err(|error| error.to_string())?;
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let made = runtime.block_on(filled(&place.path().join("live.db"), &rows))?;
    whole(place.path(), &store)?;
    let lines: Vec<String> = made.iter().map(Value::to_string).collect();
    fs::write(answers, lines.join("\n") + "\n").map_err(|error| error.to_string())
}

/// The store as one file: of a copy nobody else holds the log open, who may still try to spread a change.
fn whole(place: &Path, store: &Path) -> Result<(), String> {
    let copy = place.join("copy.db");
    for suffix in ["", "-wal"] {
        let [from, to] = ["live", "copy"].map(|name| place.join(format!("{name}.db{suffix}")));
        fs::copy(from, to).map_err(|error| error.to_string())?;
    }
    drop(SqliteStore::open(&copy).map_err(|error| error.to_string())?);
    let log = place.join("copy.db-wal");
    for _ in 0..100 {
        if !log.exists() {
            return fs::copy(copy, store).map(drop).map_err(|error| error.to_string());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("{} stays", log.display()))
}

/// A store with something of everything; what its clients are told.
async fn filled(store: &Path, backup: &Path) -> Result<Vec<Value>, String> {
    let sqlite = SqliteStore::open(store).map_err(|error| error.to_string())?;
    let faulty = Arc::new(FaultStore::new(Arc::new(sqlite)));
    let world = Arc::new(World::over(Arc::clone(&faulty) as Arc<dyn Store>).await?);
    let new = NewTenant {
        name: TENANT.to_owned(),
        title: "Example".to_owned(),
        contact: "help@example.com".to_owned(),
    };
    let deadline = Instant::now() + PATIENCE;
    let secret = Some(SECRET.to_owned());
    let terms = Terms {
        label: "fixture".to_owned(),
        expires: Some(scimgate::tenants::Expiry::Never),
    };
    let made = world.tenants.create(&new, secret, &terms, "test", deadline).await;
    let (tenant, _) = made.map_err(|error| error.to_string())?;
    let t = Tenant {
        world: Arc::clone(&world),
        name: TENANT.to_owned(),
        secret: SECRET.to_owned(),
    };
    let attributes = json!([{ "name": "number", "type": "string", "multiValued": false, "caseExact": true }]);
    let extended = t.extended("User", BADGE, attributes).await;
    let mut paths = people(&extended).await;
    let revoked = t.issue(None, &Terms::default()).await;
    t.revoke(&revoked.credential.id).await;
    // Refusals are written within a minute.
    tokio::time::sleep(Duration::from_secs(65)).await;
    paths.extend(pending(&extended, &faulty).await);
    let mut answers = Vec::new();
    for path in &paths {
        answers.push(recorded(path, &extended.get(path).await));
    }
    let target = Target::file(backup).map_err(|error| error.to_string())?;
    let exported = moved::exporter(faulty).write(Some(&tenant), target).await;
    exported.map_err(|error| error.to_string())?;
    Ok(answers)
}

/// Users, groups within groups, deleted ones, refused requests; what is to be asked of them.
async fn people(t: &Tenant) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for number in 0..12 {
        let name = format!("user{number}@example.com");
        let attributes = json!({
            "externalId": format!("external-{number}"),
            "displayName": format!("Người dùng {number}"),
            "active": number % 4 != 0,
            "emails": [{ "value": name, "type": "work", "primary": true }],
            ENTERPRISE_URN: { "department": "Tour Operations", "manager": ids.first().map(|id| json!({ "value": id })) },
            BADGE: { "number": format!("B{number}") },
        });
        let made = t.post("/Users", user_with(&name, attributes)).await.is(201);
        ids.push(made.id().to_owned());
    }
    let group = async |name: &str, members: &[String]| {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let group = json!({ "schemas": [GROUP_URN], "displayName": name, "externalId": name, "members": members });
        t.post("/Groups", group).await.is(201).id().to_owned()
    };
    let nested = group("Nested", &ids[..3]).await;
    let outer = group("Outer", &[ids[5].clone(), nested.clone()]).await;
    let deleted = group("Deleted", &ids[2..7]).await;
    t.delete(&format!("/Groups/{deleted}")).await.is(204);
    t.delete(&format!("/Users/{}", ids[1])).await.is(204);
    let rename = json!([{ "op": "replace", "path": "userName", "value": "renamed@example.com" }]);
    t.patch(&format!("/Users/{}", ids[2]), patch_op(rename)).await.is(200);
    t.post("/Users", user("user4@example.com")).await.is(409);
    t.post("/Users", user_with("odd@example.com", json!({ "shoeSize": 44 })))
        .await
        .is(201);
    let filters = [
        "userName eq \"USER4@example.com\"",
        "userName eq \"user2@example.com\"",
        "externalId eq \"external-6\"",
        "emails.value eq \"user7@example.com\"",
        "emails[type eq \"work\"].value eq \"user8@example.com\"",
        "active eq false",
        "urn:example:params:scim:schemas:extension:badge:2.0:User:number eq \"B9\"",
        "displayName sw \"Ng\" and active eq true",
    ];
    let mut paths: Vec<String> = ids.iter().map(|id| format!("/Users/{id}")).collect();
    paths.extend([&nested, &outer, &deleted].map(|id| format!("/Groups/{id}")));
    paths.extend(
        filters
            .iter()
            .map(|filter| format!("/Users?filter={}", encoded(filter))),
    );
    let member = encoded(&format!("id eq \"{outer}\" and members eq \"{nested}\""));
    paths.extend([
        format!("/Groups?filter={member}&excludedAttributes=members"),
        "/Groups?filter=displayName+eq+%22outer%22".to_owned(),
        "/Users?count=0".to_owned(),
        "/Groups?count=0".to_owned(),
        "/Users?startIndex=3&count=4".to_owned(),
        "/Users?sortBy=userName&sortOrder=descending&count=5".to_owned(),
        "/Schemas".to_owned(),
        format!("/Users/{}?attributes=groups,userName", ids[0]),
    ]);
    let cursor = t
        .get("/Users?count=5&cursor")
        .await
        .is(200)
        .text("/nextCursor")
        .to_owned();
    paths.push(format!("/Users?count=5&cursor={cursor}"));
    paths
}

/// A change of memberships that is decided, and that nobody spreads.
async fn pending(t: &Tenant, store: &FaultStore) -> Vec<String> {
    let mut members = Vec::new();
    for number in 0..40 {
        let made = t.user(&format!("member{number}@example.com")).await;
        members.push(json!({ "value": made.id() }));
    }
    let group = json!({ "schemas": [GROUP_URN], "displayName": "Pending" });
    let group = t.post("/Groups", group).await.is(201).id().to_owned();
    let path = format!("/Groups/{group}");
    store.inject(Call::Commit, 2.., Fault::Unavailable);
    let join = patch_op(json!([{ "op": "add", "path": "members", "value": members }]));
    let headers = [("Content-Type", SCIM_JSON)];
    t.raw("PATCH", &path, &headers, join.to_string()).await.is(200);
    vec![path, "/Users?filter=userName+eq+%22member7@example.com%22".to_owned()]
}
