//! Several processes on one SQLite file: writing at once, and killed while they write.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use libtest_mimic::{Arguments, Trial};
use scimgate::store::{Change, Error, Store, Write, sqlite::SqliteStore};
use tokio::task::JoinSet;

/// The argument that makes this program one of the processes.
const CHILD: &str = "child";

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == CHILD) {
        child();
        return ExitCode::SUCCESS;
    }
    let trials: [(&str, fn()); 2] = [
        (
            "what_was_acknowledged_outlives_a_kill_and_nothing_is_written_by_half",
            what_was_acknowledged_outlives_a_kill_and_nothing_is_written_by_half,
        ),
        (
            "processes_that_write_at_once_lose_nothing",
            processes_that_write_at_once_lose_nothing,
        ),
    ];
    let trial = |(name, run): (&str, fn())| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().map(trial).collect()).exit_code()
}

/// Commits that a process has under way at the same time.
const CALLERS: usize = 8;
/// Rows of a commit.
const ROWS: [&str; 3] = ["a", "b", "c"];

/// Processes that are killed, one after another on the same file.
const KILLS: usize = 20;

fn what_was_acknowledged_outlives_a_kill_and_nothing_is_written_by_half() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rows.db");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut acknowledged, mut found) = (0, 0);
    for run in 0..KILLS {
        let partition = format!("run-{run}");
        // Every other time another process lives on, and has to go on with what the killed one leaves behind.
        let survivor = (run % 2 == 1).then(|| Survivor::start(&runtime, &file, run));
        let acks = kill_under_load(&file, &partition, fastrand::usize(1..400));
        if let Some(survivor) = survivor {
            survivor.check(&runtime);
        }
        let commits = runtime.block_on(commits(&SqliteStore::open(&file).unwrap(), &partition));
        for (commit, rows) in &commits {
            assert_eq!(*rows, ROWS.len(), "{commit} of {partition} was written by half");
        }
        for ack in &acks {
            assert!(commits.contains_key(ack), "{ack} of {partition} is lost");
        }
        assert!(commits.len() <= acks.len() + CALLERS, "more than was under way");
        acknowledged += acks.len();
        found += commits.len();
    }
    println!("{KILLS} kills: {acknowledged} commits acknowledged, {found} found, 0 lost, 0 by half");
}

fn processes_that_write_at_once_lose_nothing() {
    const PROCESSES: usize = 3;
    const COMMITS: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rows.db");
    // Nobody has made the file yet: all of them try.
    let children: Vec<_> = (0..PROCESSES)
        .map(|number| start(&format!("count {COMMITS} own-{number}"), &file))
        .collect();
    for (mut child, output) in children {
        let acks = acks(output).count();
        assert!(child.wait().unwrap().success());
        assert_eq!(acks, COMMITS);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&file).unwrap();
        for number in 0..PROCESSES {
            assert_eq!(commits(&store, &format!("own-{number}")).await.len(), COMMITS);
        }
        let shared = store.get("shared", &["counter"]).await.unwrap();
        let count = String::from_utf8(shared[0].clone().unwrap().body).unwrap();
        assert_eq!(count, (PROCESSES * COMMITS).to_string());
    });
}

/// Gives the commits that the process acknowledged before it was killed.
fn kill_under_load(file: &Path, partition: &str, acks_before: usize) -> Vec<String> {
    let (mut child, output) = start(&format!("flood 0 {partition}"), file);
    let mut lines = acks(output);
    let mut acknowledged: Vec<_> = lines.by_ref().take(acks_before).collect();
    assert_eq!(acknowledged.len(), acks_before, "the process ended early");
    // SIGKILL: nothing of the process runs after it.
    child.kill().unwrap();
    acknowledged.extend(lines);
    child.wait().unwrap();
    acknowledged
}

/// The commits in a partition, and how many rows of each are there.
async fn commits(store: &SqliteStore, partition: &str) -> BTreeMap<String, usize> {
    let (mut commits, mut from) = (BTreeMap::new(), String::new());
    loop {
        let page = store.scan(partition, &from, "~", usize::MAX).await.unwrap();
        for row in page.rows {
            let (commit, _) = row.key.rsplit_once('.').unwrap();
            *commits.entry(commit.to_owned()).or_default() += 1;
            from = format!("{}-", row.key);
        }
        if !page.more {
            return commits;
        }
    }
}

/// This process, writing to the file beside the one that is killed.
struct Survivor {
    store: Arc<SqliteStore>,
    over: Arc<AtomicBool>,
    written: tokio::task::JoinHandle<usize>,
    partition: String,
}

impl Survivor {
    fn start(runtime: &tokio::runtime::Runtime, file: &Path, run: usize) -> Self {
        let store = Arc::new(SqliteStore::open(file).unwrap());
        let over = Arc::new(AtomicBool::new(false));
        let partition = format!("survivor-{run}");
        let writing = (Arc::clone(&store), Arc::clone(&over), partition.clone());
        let written = runtime.spawn(async move {
            let (store, over, partition) = writing;
            let mut number = 0;
            while !over.load(Ordering::Relaxed) || number == 0 {
                store.commit(&partition, &changes(0, number)).await.unwrap();
                number += 1;
            }
            number
        });
        Self {
            store,
            over,
            written,
            partition,
        }
    }

    fn check(self, runtime: &tokio::runtime::Runtime) {
        self.over.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            let written = self.written.await.unwrap();
            assert_eq!(commits(&self.store, &self.partition).await.len(), written);
        });
    }
}

fn name(caller: usize, number: usize) -> String {
    format!("{caller}-{number:06}")
}

/// Some of them larger than a page of the file.
fn changes(caller: usize, number: usize) -> [Change; 3] {
    let size = if number.is_multiple_of(10) { 20_000 } else { 300 };
    ROWS.map(|row| {
        Change::Insert(Write {
            key: format!("{}.{row}", name(caller, number)),
            stamp: number.to_le_bytes().to_vec(),
            body: vec![b'x'; size],
        })
    })
}

/// Starts this executable again as [`child`], and tells it what to do.
fn start(what: &str, file: &Path) -> (Child, ChildStdout) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(CHILD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(format!("{what} {}", file.display()).as_bytes())
        .unwrap();
    let output = child.stdout.take().unwrap();
    (child, output)
}

/// Whole lines only: a kill may cut the last one.
fn acks(output: ChildStdout) -> impl Iterator<Item = String> {
    let mut output = BufReader::new(output);
    std::iter::from_fn(move || {
        loop {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            if !line.ends_with('\n') {
                return None;
            }
            if let Some(ack) = line.strip_prefix("ack ") {
                return Some(ack.trim_end().to_owned());
            }
        }
    })
}

/// What the processes run that the tests start: an order comes on standard input.
fn child() {
    let mut order = String::new();
    std::io::stdin().read_to_string(&mut order).unwrap();
    let mut words = order.splitn(4, ' ');
    let mut word = || words.next().map(str::to_owned);
    let (Some(what), Some(count), Some(partition), Some(file)) = (word(), word(), word(), word()) else {
        return;
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Arc::new(SqliteStore::open(Path::new(&file)).unwrap());
        match &*what {
            "flood" => flood(store, partition).await,
            "count" => count_up(&store, &partition, count.parse().unwrap()).await,
            _ => panic!("{what}"),
        }
    });
}

/// Never ends.
async fn flood(store: Arc<SqliteStore>, partition: String) {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (store, partition) = (Arc::clone(&store), partition.clone());
        callers.spawn(async move {
            for number in 0.. {
                store.commit(&partition, &changes(caller, number)).await.unwrap();
                acknowledge(&name(caller, number));
            }
        });
    }
    callers.join_all().await;
}

/// Commits of its own, each with a step of a counter that all processes share.
async fn count_up(store: &SqliteStore, partition: &str, commits: usize) {
    let first = Change::Insert(counter(0));
    match store.commit("shared", &[first]).await {
        Ok(()) | Err(Error::Exists(_)) => {}
        Err(error) => panic!("{error}"),
    }
    for number in 0..commits {
        store.commit(partition, &changes(0, number)).await.unwrap();
        loop {
            let row = store.get("shared", &["counter"]).await.unwrap().remove(0).unwrap();
            let count: usize = String::from_utf8(row.body).unwrap().parse().unwrap();
            match store
                .commit("shared", &[Change::Replace(counter(count + 1), row.etag)])
                .await
            {
                Ok(()) => break,
                Err(Error::Changed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        acknowledge(&name(0, number));
    }
}

fn counter(count: usize) -> Write {
    Write {
        key: "counter".to_owned(),
        stamp: Vec::new(),
        body: count.to_string().into_bytes(),
    }
}

fn acknowledge(commit: &str) {
    // After a line of its own, because the test runner leaves the line with the test's name open.
    let line = format!("\nack {commit}\n");
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).unwrap();
    output.flush().unwrap();
}
