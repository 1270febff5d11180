use std::{fs, path::PathBuf};

use futures::FutureExt;
use rusqlite::TransactionBehavior;
use tempfile::TempDir;

use super::{
    super::{Write, conformance},
    *,
};

#[tokio::test]
async fn memory_does_what_every_store_does() {
    conformance::run(&SqliteStore::memory().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_does_what_every_store_does() {
    let place = Place::new();
    conformance::run(&place.open()).await;
}

/// A directory for one test's file.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("rows.db")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.file()).unwrap()
    }

    /// As another program has it.
    fn raw(&self) -> Connection {
        let raw = Connection::open(self.file()).unwrap();
        raw.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        raw
    }
}

/// Drops it, and waits until the writer, which may just be going, has let go of its connection.
async fn close(store: SqliteStore) {
    let writer = Arc::clone(&store.writer);
    drop(store);
    while Arc::strong_count(&writer) > 1 {
        tokio::task::yield_now().await;
    }
}

fn insert(key: &str, body: &[u8]) -> Change {
    Change::Insert(Write {
        key: key.to_owned(),
        stamp: Vec::new(),
        body: body.to_owned(),
    })
}

async fn keys(store: &SqliteStore) -> Vec<String> {
    let page = store.scan("p", "", "~", 9).await.unwrap();
    page.rows.into_iter().map(|row| row.key).collect()
}

#[track_caller]
fn unavailable<T>(answer: Result<T, Error>, text: &str) {
    match answer {
        Err(Error::Unavailable(source)) => assert!(source.to_string().contains(text), "{source}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused: {text}"),
    }
}

#[tokio::test]
async fn a_file_outlives_its_store() {
    let place = Place::new();
    place.open().commit("p", &[insert("a", b"1")]).await.unwrap();
    let store = place.open();
    assert_eq!(keys(&store).await, ["a"]);
    let again = store.commit("p", &[insert("a", b"2")]).await;
    assert!(matches!(again, Err(Error::Exists(key)) if key == "a"));
}

#[tokio::test]
async fn a_dropped_store_closes_its_file() {
    let place = Place::new();
    let store = place.open();
    store.commit("p", &[insert("a", b"1")]).await.unwrap();
    let log = place.0.path().join("rows.db-wal");
    assert!(log.exists());
    close(store).await;
    assert!(!log.exists(), "SQLite removes the log when the last connection ends");
}

#[cfg(unix)]
#[test]
fn a_new_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let _store = place.open();
    for name in ["rows.db", "rows.db-wal", "rows.db-shm"] {
        let mode = fs::metadata(place.0.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_path_that_cannot_be_a_file_is_refused() {
    let place = Place::new();
    fs::write(place.file(), b"").unwrap();
    let inside = |name: &str| place.0.path().join(name);
    for path in [
        inside("missing/rows.db"),
        inside("rows.db/rows.db"),
        inside(""),
        inside(".."),
        PathBuf::new(),
        PathBuf::from("/proc/rows.db"),
    ] {
        assert!(
            matches!(SqliteStore::open(&path), Err(Error::Unavailable(_))),
            "{}",
            path.display()
        );
    }
}

/// A kill of the process proves nothing about a loss of power: FULL (2) is what makes each commit wait for the disk.
#[test]
fn every_commit_waits_for_the_disk() {
    let place = Place::new();
    let store = place.open();
    let db = lock(&store.writer.db);
    let synchronous: i32 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((synchronous, &*mode), (2, "wal"));
}

/// SQLite takes these for something else than files.
#[tokio::test]
async fn special_names_are_names_of_files() {
    let place = Place::new();
    for name in [":memory:", "file:rows.db?mode=memory", "rows %41.db"] {
        let path = place.0.path().join(name);
        let store = SqliteStore::open(&path).unwrap();
        store.commit("p", &[insert("a", b"1")]).await.unwrap();
        assert!(path.exists(), "{name}");
    }
}

#[test]
fn an_empty_file_becomes_a_store() {
    let place = Place::new();
    fs::write(place.file(), b"").unwrap();
    let _store = place.open();
    let _another = place.open();
}

#[tokio::test]
async fn a_backup_in_another_journal_mode_is_taken() {
    let place = Place::new();
    place.open().commit("p", &[insert("a", b"1")]).await.unwrap();
    let copy = place.0.path().join("copy.db");
    place.raw().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let store = SqliteStore::open(&copy).unwrap();
    store.commit("p", &[insert("b", b"2")]).await.unwrap();
    assert_eq!(keys(&store).await, ["a", "b"]);
    assert!(place.0.path().join("copy.db-wal").exists());
}

#[test]
fn files_of_others_are_refused_and_stay_as_they_are() {
    #[track_caller]
    fn check(sql: &str, text: &str) {
        let place = Place::new();
        place.raw().execute_batch(sql).unwrap();
        let before = fs::read(place.file()).unwrap();
        unavailable(SqliteStore::open(&place.file()), text);
        assert_eq!(fs::read(place.file()).unwrap(), before, "{sql}");
    }
    check("CREATE TABLE rows (key)", "another program's");
    check("PRAGMA application_id = 7", "another program's");
    check("PRAGMA user_version = 1", "another program's");
    check(
        "PRAGMA application_id = 0x7363696D; PRAGMA user_version = 2",
        "format 2",
    );
    check(
        "PRAGMA application_id = 0x7363696D; PRAGMA user_version = -1",
        "format -1",
    );
}

#[test]
fn a_file_that_is_no_database_is_refused_and_stays_as_it_is() {
    let place = Place::new();
    let text = "not a database\n".repeat(1000);
    fs::write(place.file(), &text).unwrap();
    unavailable(SqliteStore::open(&place.file()), "damaged");
    assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
}

#[tokio::test]
async fn damage_inside_the_file_is_an_error_and_no_panic() {
    let place = Place::new();
    let store = place.open();
    for n in 0..50 {
        store
            .commit("p", &[insert(&format!("row-{n:02}"), &[7; 3000])])
            .await
            .unwrap();
    }
    close(store).await;
    let mut bytes = fs::read(place.file()).unwrap();
    assert!(bytes.len() > 100_000, "the log is copied into the file");
    bytes[4096..].fill(0xA5);
    fs::write(place.file(), bytes).unwrap();
    let store = place.open();
    unavailable(store.get("p", &["row-07"]).await, "damaged");
    unavailable(store.scan("p", "", "~", 9).await, "damaged");
    unavailable(store.commit("p", &[insert("new", b"")]).await, "damaged");
}

/// At a deployment the new version's process starts before the old one's ends.
#[tokio::test]
async fn a_format_that_gets_newer_while_the_store_is_open_is_left_alone() {
    let place = Place::new();
    let store = place.open();
    store.commit("p", &[insert("a", b"1")]).await.unwrap();
    place.raw().execute_batch("PRAGMA user_version = 2").unwrap();
    unavailable(store.get("p", &["a"]).await, "newer");
    unavailable(store.scan("p", "", "~", 9).await, "newer");
    unavailable(store.commit("p", &[insert("b", b"2")]).await, "newer");
    place.raw().execute_batch("PRAGMA user_version = 1").unwrap();
    assert_eq!(keys(&store).await, ["a"]);
}

#[tokio::test]
async fn a_commit_takes_place_although_its_caller_went_away() {
    let place = Place::new();
    let store = place.open();
    let _ = store.commit("p", &[insert("a", b"1")]).now_or_never();
    store.commit("p", &[insert("b", b"2")]).await.unwrap();
    assert_eq!(keys(&store).await, ["a", "b"]);
}

#[tokio::test]
async fn a_commit_waits_for_another_process() {
    let place = Place::new();
    let store = place.open();
    let mut raw = place.raw();
    let other = raw.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let changes = [insert("a", b"1")];
    let mut commit = store.commit("p", &changes);
    assert!((&mut commit).now_or_never().is_none());
    // Reads wait for no writer.
    assert_eq!(keys(&store).await, [] as [&str; 0]);
    other.commit().unwrap();
    commit.await.unwrap();
    assert_eq!(keys(&store).await, ["a"]);
}

/// Takes the two seconds for which a commit waits.
#[tokio::test]
async fn a_commit_does_not_wait_for_ever() {
    let place = Place::new();
    let store = place.open();
    let mut raw = place.raw();
    let other = raw.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    assert!(matches!(
        store.commit("p", &[insert("a", b"1")]).await,
        Err(Error::Busy(None))
    ));
    other.rollback().unwrap();
    store.commit("p", &[insert("a", b"1")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_sees_all_of_a_commit_or_nothing() {
    const COMMITS: u8 = 200;
    let place = Place::new();
    let store = Arc::new(place.open());
    let writer = Arc::clone(&store);
    let upsert = |key: &str, n: u8| {
        let (key, stamp, body) = (key.to_owned(), Vec::new(), vec![n]);
        Change::Upsert(Write { key, stamp, body })
    };
    let writing = tokio::spawn(async move {
        for n in 1..=COMMITS {
            let rows = [upsert("first", n), upsert("last", n), insert(&format!("row-{n}"), &[])];
            writer.commit("p", &rows).await.unwrap();
        }
    });
    // As far apart as the keys of one read can be.
    let keys = [&["first"][..], &["between"; 198], &["last"]].concat();
    let body = |row: Option<&Row>| row.map_or(0, |row| row.body[0]);
    let mut seen = 0;
    while seen < COMMITS {
        let rows = store.get("p", &keys).await.unwrap();
        assert_eq!(body(rows[0].as_ref()), body(rows[199].as_ref()));
        let rows = store.scan("p", "", "~", 999).await.unwrap().rows;
        seen = body(rows.first());
        let others = rows.len().saturating_sub(2);
        assert_eq!((body(rows.get(1)), others), (seen, usize::from(seen)));
    }
    writing.await.unwrap();
}

/// Paused time moves on as soon as the runtime has nothing to do: work on a thread that tokio doesn't know of would let
/// every deadline pass at once.
#[tokio::test(start_paused = true)]
async fn paused_time_stands_still_while_the_store_works() {
    let place = Place::new();
    let store = place.open();
    let start = tokio::time::Instant::now();
    let work = async {
        for n in 0..20 {
            store.commit("p", &[insert(&format!("row-{n}"), b"")]).await.unwrap();
            store.get("p", &["row-0"]).await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(1), work)
        .await
        .unwrap();
    assert_eq!(start.elapsed(), std::time::Duration::ZERO);
}

/// SQLite's own checkpoints never end while another process goes on writing: the log grew to 500 MiB within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_short_under_two_writers_and_reads() {
    let place = Place::new();
    // SQLite removes the log when the last connection ends.
    let _open = place.open();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut writing = tokio::task::JoinSet::new();
    let mut reading = tokio::task::JoinSet::new();
    for name in ["one", "two"] {
        let store = Arc::new(place.open());
        for caller in 0..32 {
            let store = Arc::clone(&store);
            writing.spawn(async move {
                for n in 0..50 {
                    let key = format!("{:08x}-{caller}-{n}", fastrand::u32(..));
                    store.commit(name, &[insert(&key, &vec![7; 20_000])]).await.unwrap();
                }
            });
        }
        let over = Arc::clone(&over);
        reading.spawn(async move {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                store.scan(name, "8", "~", 100).await.unwrap();
            }
        });
    }
    writing.join_all().await;
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    reading.join_all().await;
    let log = fs::metadata(place.0.path().join("rows.db-wal")).unwrap().len();
    let file = fs::metadata(place.file()).unwrap().len();
    println!("log of {log} {file}");
    assert!(log < file / 2, "a log of {log} bytes, a file of {file}");
}
