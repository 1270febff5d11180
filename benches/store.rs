//! The embedded store, measured: commits of one process and of two at once, their waits, and reads.
//!
//! `cargo bench --bench store`; a number behind `--` sets the seconds of each measurement. Wanted: two processes reach
//! together at least half of what one does, and no commit waits for more than 200 ms.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use scimgate::store::{Change, Store, Write, sqlite::SqliteStore};
use tokio::{runtime::Runtime, task::JoinSet};

/// Rows of a commit, as a new user makes them: event, resource, two index rows.
const ROWS: usize = 4;
const BODY_BYTES: usize = 700;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["writer", partition, callers, seconds, file] => {
            let (callers, seconds) = (number(callers), number(seconds));
            writer(Path::new(file), partition, callers, Duration::from_secs(seconds as u64));
        }
        [seconds] if seconds.parse::<usize>().is_ok() => measure(number(seconds)),
        _ => measure(5),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn measure(seconds: usize) {
    println!("commits of {ROWS} rows of {BODY_BYTES} bytes, {seconds} s each; waits in ms\n");
    println!("callers a process | processes | commits/s | share | p50 | p99 | longest | log MiB");
    for callers in [1, 4, 16, 64] {
        let one = Figures::of(1, callers, seconds);
        one.print(callers, 1, 1.0);
        let two = Figures::of(2, callers, seconds);
        two.print(callers, 2, two.rate / one.rate);
    }
    println!();
    Runtime::new().expect("a runtime").block_on(reads(seconds));
}

struct Figures {
    rate: f64,
    waits: Vec<Duration>,
    log_bytes: u64,
}

impl Figures {
    /// Of that many processes at the same time, on a new file.
    fn of(processes: usize, callers: usize, seconds: usize) -> Self {
        let directory = tempfile::tempdir_in(".").expect("a directory");
        let file = directory.path().join("rows.db");
        let store = SqliteStore::open(&file).expect("a store");
        let mut children: Vec<_> = (0..processes)
            .map(|process| start(&format!("own-{process}"), callers, seconds, &file))
            .collect();
        for child in &mut children {
            child
                .stdin
                .take()
                .expect("its input")
                .write_all(b"go\n")
                .expect("it listens");
        }
        let mut waits: Vec<Duration> = children.iter_mut().flat_map(results).collect();
        let log_bytes = std::fs::metadata(directory.path().join("rows.db-wal")).map_or(0, |log| log.len());
        drop(store);
        waits.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rate = waits.len() as f64 / seconds as f64;
        Self { rate, waits, log_bytes }
    }

    fn print(&self, callers: usize, processes: usize, share: f64) {
        let wait = |percent: usize| {
            let wait = self
                .waits
                .get((self.waits.len() * percent / 100).min(self.waits.len().saturating_sub(1)));
            wait.map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
        };
        println!(
            "{callers:17} | {processes:9} | {:9.0} | {:4.0}% | {:5.2} | {:5.1} | {:7.1} | {:7}",
            self.rate,
            share * 100.0,
            wait(50),
            wait(99),
            wait(100),
            self.log_bytes >> 20
        );
    }
}

fn start(partition: &str, callers: usize, seconds: usize, file: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this executable"));
    command.args(["writer", partition, &callers.to_string(), &seconds.to_string()]);
    command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("a process")
}

/// The waits that a process prints at its end, in microseconds.
fn results(child: &mut Child) -> Vec<Duration> {
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let waits = output
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.parse().ok());
    let waits = waits.map(Duration::from_micros).collect();
    assert!(child.wait().expect("it ends").success());
    waits
}

/// What a process does: commits from so many callers, each one after another.
fn writer(file: &Path, partition: &str, callers: usize, time: Duration) {
    let store = Arc::new(SqliteStore::open(file).expect("a store"));
    std::io::stdin().read_line(&mut String::new()).expect("the start");
    let waits = Runtime::new().expect("a runtime").block_on(async {
        let end = Instant::now() + time;
        let mut running = JoinSet::new();
        for caller in 0..callers {
            let (store, partition) = (Arc::clone(&store), partition.to_owned());
            running.spawn(async move {
                let mut waits = Vec::new();
                while Instant::now() < end {
                    let changes = changes(&format!("{caller:03}-{:08}", waits.len()));
                    let start = Instant::now();
                    store.commit(&partition, &changes).await.expect("a commit");
                    waits.push(start.elapsed());
                }
                waits
            });
        }
        running.join_all().await.concat()
    });
    let lines: Vec<String> = waits.iter().map(|wait| format!("{}\n", wait.as_micros())).collect();
    std::io::stdout()
        .write_all(lines.concat().as_bytes())
        .expect("the output");
}

fn changes(name: &str) -> Vec<Change> {
    let row = |row: usize| Write {
        key: format!("{row}~{name}"),
        stamp: vec![b's'; 30],
        body: vec![b'b'; BODY_BYTES],
    };
    (0..ROWS).map(|number| Change::Insert(row(number))).collect()
}

async fn reads(seconds: usize) {
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let store = SqliteStore::open(&directory.path().join("rows.db")).expect("a store");
    let names: Vec<String> = (0..2_500).map(|n| format!("{n:05}")).collect();
    for name in &names {
        store.commit("p", &changes(name)).await.expect("a commit");
    }
    let time = Duration::from_secs(seconds as u64);
    println!("reads of one caller, one after another, of 10,000 rows");
    let mut next = names
        .iter()
        .cycle()
        .map(|name| [format!("0~{name}"), format!("1~{name}"), format!("2~{name}")]);
    let mut keys = || next.next().expect("the names go round");
    timed("get of 3 keys", time, async || {
        let keys = keys();
        let keys = [&*keys[0], &*keys[1], &*keys[2]];
        store.get("p", &keys).await.expect("an answer").len()
    })
    .await;
    for limit in [1, 100, 1_000] {
        let what = format!("scan of {limit} rows");
        timed(&what, time, async || {
            store.scan("p", "1~", "2~", limit).await.expect("an answer").rows.len()
        })
        .await;
    }
}

async fn timed(what: &str, time: Duration, mut read: impl AsyncFnMut() -> usize) {
    let start = Instant::now();
    let (mut calls, mut rows) = (0_u32, 0);
    while start.elapsed() < time {
        rows += read().await;
        calls += 1;
    }
    println!(
        "{what:20} {:8.1} us, {rows} rows in {calls} calls",
        (start.elapsed() / calls).as_secs_f64() * 1e6
    );
}
