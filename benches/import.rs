//! An import into the embedded store, measured against the store itself: the same commits, made beforehand.
//!
//! `cargo bench --bench import -- 100000 1000` imports so many users and groups, each of a hundred members;
//! `cargo bench --bench import -- file 100000 1000` prints the file. Wanted: the second reading, which writes, takes no longer
//! than the store needs for nine tenths of its commits.

use std::{
    collections::{BTreeSet, HashMap},
    io::{Cursor, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use scimgate::{
    ambient::{Ambient, System},
    directory::{
        Directory,
        import::{How, Import, Progress, Pulse},
    },
    scim::schema::Catalog,
    store::{Change, Error, Page, Row, Store, sqlite::SqliteStore},
    tenants::{Access, Catalogs, NewTenant, Tenants, Terms},
};
use serde_json::json;
use tokio::task::JoinSet;

const MEMBERS: usize = 100;
/// Commits under way at a time: as many as an import has of groups.
const AT_ONCE: usize = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match &arguments[..] {
        [file, users, groups] if file == "file" => {
            let file = lines(number(users), number(groups));
            std::io::stdout().write_all(&file).expect("somebody reads");
        }
        [users, groups] => runtime.block_on(measure(number(users), number(groups))),
        _ => runtime.block_on(measure(20_000, 200)),
    }
}

/// Groups first, so that no member is known yet.
fn lines(users: usize, groups: usize) -> Vec<u8> {
    let mut file = Vec::new();
    for group in 0..groups {
        let members = (0..MEMBERS).map(|member| json!({ "value": format!("u-{}", (group * 31 + member * 7) % users) }));
        let line = json!({
            "id": format!("g-{group}"), "displayName": format!("Group {group}"), "externalId": format!("e-g-{group}"),
            "members": members.collect::<Vec<_>>(),
        });
        writeln!(file, "{line}").expect("memory");
    }
    for user in 0..users {
        let name = format!("user{user}@example.com");
        let line = json!({
            "id": format!("u-{user}"), "externalId": format!("e-u-{user}"), "userName": name, "displayName": format!("User {user}"),
            "active": user % 10 > 0,
            "name": { "givenName": "User", "familyName": user.to_string() },
            "emails": [{ "value": name, "type": "work", "primary": true }],
            "meta": { "resourceType": "User", "created": "2024-03-01T08:00:00Z" },
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
                "department": "Tour Operations", "manager": { "value": format!("u-{}", user / 10) },
            },
        });
        writeln!(file, "{line}").expect("memory");
    }
    file
}

async fn measure(users: usize, groups: usize) {
    let file = lines(users, groups);
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let store = SqliteStore::open(&folder.path().join("import.db")).expect("a store");
    let store = Arc::new(Recorded {
        store,
        commits: Mutex::default(),
    });
    let import = import(Arc::clone(&store) as Arc<dyn Store>).await;
    let partition = import.directory.access.tenant.id.clone();
    store.commits.lock().expect("no panic").clear();
    let start = Instant::now();
    let read = AtomicUsize::new(0);
    let told = |progress: Progress| {
        if let Progress::Read(_) = progress {
            read.store(start.elapsed().as_millis().try_into().unwrap_or(usize::MAX), Relaxed);
        }
    };
    let report = import.run(Cursor::new(&file), told).await.expect("it is imported");
    let (all, first) = (start.elapsed(), Duration::from_millis(read.load(Relaxed) as u64));
    import.directory.shared.idle().await;
    let (users, groups, memberships) = (report.users.made, report.groups.made, report.memberships.made);
    println!(
        "{users} users, {groups} groups, {memberships} memberships from {} KiB",
        file.len() / 1024
    );
    println!(
        "{:.1} s, of which {:.1} s for the first reading",
        all.as_secs_f64(),
        first.as_secs_f64()
    );
    let commits = std::mem::take(&mut *store.commits.lock().expect("no panic"));
    let rows: usize = commits.iter().map(Vec::len).sum();
    let count = commits.len();
    let other = SqliteStore::open(&folder.path().join("again.db")).expect("a store");
    let again = replay(Arc::new(other), &partition, commits).await;
    let written = all.saturating_sub(first);
    println!(
        "{count} commits of {rows} changes: {:.1} s by the import, {:.1} s by the store alone ({:.0} % of its rate)",
        written.as_secs_f64(),
        again.as_secs_f64(),
        again.as_secs_f64() / written.as_secs_f64() * 100.0
    );
}

async fn import(store: Arc<dyn Store>) -> Import {
    let ambient: Arc<dyn Ambient> = Arc::new(System);
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let new = NewTenant {
        name: "acme".to_owned(),
        ..NewTenant::default()
    };
    let tenants = Tenants::new(Arc::clone(&store), Arc::clone(&ambient));
    let made = tenants.create(&new, None, &Terms::default(), "bench", deadline).await;
    let (tenant, _) = made.expect("a tenant");
    let directory = Directory {
        store,
        ambient,
        access: Arc::new(Access {
            tenant,
            credential: "bench".to_owned(),
            catalogs: Catalogs::standard(),
        }),
        deadline,
        shared: Arc::default(),
        held: Arc::default(),
        invocation: None,
    };
    Import {
        directory,
        catalog: Arc::new(Catalog::standard()),
        step: Duration::from_mins(1),
        how: How::default(),
        stop: Arc::new(AtomicBool::new(false)),
        pulse: Pulse::default(),
    }
}

/// How long the same commits take when nothing else is to be done. They rest on no row's etag, as the other store has others;
/// each waits for the earlier ones with which it has a row in common.
async fn replay(store: Arc<dyn Store>, partition: &str, mut commits: Vec<Vec<Change>>) -> Duration {
    commits.iter_mut().flatten().for_each(rest_on_nothing);
    let behind = behind(&commits);
    let count = commits.len();
    let mut done = vec![false; count];
    let start = Instant::now();
    let mut under_way = JoinSet::new();
    let mut left = Vec::new();
    for (at, (changes, behind)) in commits.into_iter().zip(behind).enumerate() {
        while under_way.len() >= AT_ONCE || behind.iter().any(|earlier| !done[*earlier]) {
            let ended: Option<Result<Ended, _>> = under_way.join_next().await;
            let (ended, failed) = ended.expect("one is under way").expect("no panic");
            done[ended] = true;
            left.extend(failed);
        }
        let (store, partition) = (Arc::clone(&store), partition.to_owned());
        under_way.spawn(async move {
            let is_done = store.commit(&partition, &changes).await.is_ok();
            (at, (!is_done).then_some(changes))
        });
    }
    left.extend(under_way.join_all().await.into_iter().filter_map(|(_, failed)| failed));
    // Two that were answered in the other order than they were done in.
    assert!(
        left.len() * 100 < count,
        "{} of {count} commits are not done again",
        left.len()
    );
    for changes in left {
        store
            .commit(partition, &changes)
            .await
            .expect("what was committed is again");
    }
    start.elapsed()
}

/// Which commit has come to its end, and what it would have changed if it failed.
type Ended = (usize, Option<Vec<Change>>);

/// Of each commit the latest earlier ones that have a row in common with it.
fn behind(commits: &[Vec<Change>]) -> Vec<BTreeSet<usize>> {
    let mut latest: HashMap<&str, usize> = HashMap::new();
    let mut all = Vec::new();
    for (at, changes) in commits.iter().enumerate() {
        let earlier = changes.iter().filter_map(|change| latest.insert(change.key(), at));
        all.push(earlier.filter(|earlier| *earlier < at).collect());
    }
    all
}

fn rest_on_nothing(change: &mut Change) {
    match change {
        Change::Replace(write, _) => *change = Change::Upsert(write.clone()),
        Change::Stamp(.., etag) | Change::Delete(_, etag) => *etag = None,
        Change::Insert(_) | Change::Touch(_) | Change::Upsert(_) => {}
    }
}

/// Remembers what is committed.
struct Recorded {
    store: SqliteStore,
    commits: Mutex<Vec<Vec<Change>>>,
}

#[async_trait]
impl Store for Recorded {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        self.store.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        self.store.scan(partition, from, until, limit).await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        let done = self.store.commit(partition, changes).await;
        if done.is_ok() {
            self.commits.lock().expect("no panic").push(changes.to_owned());
        }
        done
    }
}
