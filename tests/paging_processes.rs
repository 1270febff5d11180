//! Processes that share a store and answer the pages of one list by turns.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use futures::{StreamExt, stream};
use libtest_mimic::{Arguments, Completion, Trial};
use scimgate::{
    ambient::{Ambient, System},
    app,
    config::Settings,
    directory::{Directory, Shown},
    rows::{self, FORMAT, Operation, ResourceBody, Stamp, SumBaseBody},
    scim::{
        list::{ListQuery, Paging},
        normalize::Trace,
        schema::Catalog,
    },
    store::{Change, MAX_CHANGES, Store, counting::CountingStore},
    tenants::{NewTenant, Tenants, Terms},
    totals,
};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::{runtime::Runtime, time::Instant};

/// The argument that makes this program one of the processes.
const CHILD: &str = "child";
/// Commits under way at the same time while the store is filled.
const WRITERS: usize = 8;
/// Of a user's row.
const MAX_USER_BYTES: usize = 300;
/// Users that the base of the total does not hold yet: enough for the first page to let them be folded.
const LOOSE: usize = 600;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == CHILD) {
        child();
        return ExitCode::SUCCESS;
    }
    let on_a_file = Trial::test("two_processes_take_turns_over_250_000_users_on_one_file", || {
        two_processes_take_turns_over_250_000_users_on_one_file();
        Ok(())
    });
    let on_tables = Trial::ignorable_test("two_processes_take_turns_over_5_000_users_on_tables", || {
        let connection = functions_test_host::process_environment().remove("AZURITE_CONNECTION_STRING");
        let Some(connection) = connection.filter(|text| !text.is_empty()) else {
            let why = "AZURITE_CONNECTION_STRING is not set, so nothing runs on tables";
            return Ok(Completion::ignored_with(why));
        };
        let table = format!("p{:x}", RandomState::new().hash_one("table"));
        let settings = [
            ("STORE", "tables:".to_owned()),
            ("TABLES_CONNECTION", connection),
            ("TABLE", table),
        ];
        take_turns(&settings, 5_000, 50, &[1, 10, 100]);
        Ok(Completion::Completed)
    });
    libtest_mimic::run(&Arguments::from_args(), vec![on_a_file, on_tables]).exit_code()
}

/// R-PAGE-01, E-LIFE-06: by `startIndex`, as Entra discovers accounts.
fn two_processes_take_turns_over_250_000_users_on_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rows.db").display());
    take_turns(&[("STORE", store)], 250_000, 250, &[1, 10, 100, 1_000]);
}

/// Each user is on one page, and a page costs its size wherever it stands.
fn take_turns(settings: &[(&str, String)], users: usize, count: usize, shown: &[usize]) {
    let began = std::time::Instant::now();
    let secret = Runtime::new().unwrap().block_on(fill(settings, users));
    println!("{users} users after {:.1} s", began.elapsed().as_secs_f32());
    let mut two = [Process::start(settings, &secret), Process::start(settings, &secret)];
    let (mut next, mut number) = (0, 0);
    while next < users {
        let page = two[number % 2].page(next + 1, count);
        number += 1;
        assert_eq!(
            (page.first, page.users, page.total),
            (next, count, users),
            "page {number}"
        );
        assert!(page.round_trips <= 2, "page {number}: {page:?}");
        next += page.users;
        if shown.contains(&number) {
            // One that has answered no page before.
            let cold = Process::start(settings, &secret).page((number - 1) * count + 1, count);
            assert!(
                (cold.first, cold.users) == (page.first, page.users) && cold.round_trips <= 2,
                "{cold:?}"
            );
            println!("page {number} of {count} users each: {page}; in a third process {cold}");
            // The first had to add up what nobody had folded yet.
            assert!(number == 1 || page.bytes < 2 * count * MAX_USER_BYTES, "{page:?}");
        }
    }
    let end = two[0].page(users + 1, count);
    assert_eq!((end.users, end.round_trips), (0, 1), "beyond the end");
    println!("{number} pages after {:.1} s", began.elapsed().as_secs_f32());
}

/// A page as a process tells of it: the numbers of the users on it follow one another.
#[derive(Debug)]
struct Page {
    first: usize,
    users: usize,
    total: usize,
    round_trips: usize,
    bytes: usize,
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "round trips {}, {} KiB", self.round_trips, self.bytes / 1024)
    }
}

/// A process that answers pages.
struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(settings: &[(&str, String)], secret: &str) -> Self {
        let environment = settings.iter().map(|(name, value)| (format!("SCIMGATE_{name}"), value));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(CHILD)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{secret}").unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    fn page(&mut self, start: usize, count: usize) -> Page {
        writeln!(self.input, "{start} {count}").unwrap();
        let line = self.output.next().expect("the process answers").unwrap();
        let numbers: Vec<usize> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [first, users, total, round_trips, bytes] = numbers[..] else {
            panic!("{line}")
        };
        Page {
            first,
            users,
            total,
            round_trips,
            bytes,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

fn id(number: usize) -> String {
    format!("user-{number:06}")
}

/// Makes a tenant with so many users, straight through the store; gives its secret.
async fn fill(settings: &[(&str, String)], users: usize) -> String {
    let flag = |(name, value): &(&str, String)| format!("--{}={value}", name.to_lowercase().replace('_', "-"));
    let flags = std::iter::once("fill".to_owned()).chain(settings.iter().map(flag));
    let store = app::open_store(&CommandLine::parse_from(flags).settings).await.unwrap();
    let tenants = Tenants::new(Arc::clone(&store), Arc::new(System));
    let new = NewTenant {
        name: "acme".to_owned(),
        ..NewTenant::default()
    };
    let (tenant, issued) = tenants
        .create(&new, None, &Terms::default(), "test", soon())
        .await
        .unwrap();
    let numbers: Vec<usize> = (0..users).collect();
    let commits = numbers.chunks(MAX_CHANGES).map(|part| {
        let changes: Vec<Change> = part.iter().map(|number| user(*number)).collect();
        let (store, partition) = (&store, &tenant.id);
        async move { write(&**store, partition, &changes).await }
    });
    stream::iter(commits).buffer_unordered(WRITERS).collect::<()>().await;
    let folded = users - LOOSE;
    let sum = SumBaseBody {
        format: FORMAT,
        n: i64::try_from(folded).unwrap(),
        changes: folded as u64,
    };
    let ends = [rows::sum_base_key("u"), rows::sum_seal_key("u")];
    let mut total = ends.map(|key| Change::Upsert(rows::write(key, &sum))).to_vec();
    total.extend((0..LOOSE).map(|_| {
        let operation = Operation::new(System.now(), 0, System.secret());
        match totals::count("u", &operation, 1) {
            Change::Insert(row) => Change::Upsert(row),
            other => other,
        }
    }));
    for part in total.chunks(MAX_CHANGES) {
        write(&*store, &tenant.id, part).await;
    }
    issued.secret
}

/// Upserts, again while the store does not answer in time.
async fn write(store: &dyn Store, partition: &str, changes: &[Change]) {
    let deadline = soon();
    while let Err(error) = store.commit(partition, changes).await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

fn user(number: usize) -> Change {
    let stamp = Stamp {
        format: FORMAT,
        version: "1".to_owned(),
        stamp: 1,
        modified: OffsetDateTime::UNIX_EPOCH,
        members: String::new(),
    };
    let name = (
        "userName".to_owned(),
        Value::from(format!("{}@example.com", id(number))),
    );
    let body = ResourceBody {
        format: FORMAT,
        id: id(number),
        created: OffsetDateTime::UNIX_EPOCH,
        attributes: Map::from_iter([name, ("active".to_owned(), Value::Bool(true))]),
        unknown: Map::new(),
    };
    let mut write = rows::write(rows::resource_key("u", &id(number)), &body);
    write.stamp = rows::encode(&stamp);
    Change::Upsert(write)
}

/// What the processes run that the test starts: the tenant's secret comes on standard input, then one page a line.
fn child() {
    // One thread, so that what is written beside a page comes after it and is not counted.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(async {
        let mut input = std::io::stdin().lines().map(Result::unwrap);
        let secret = input.next().unwrap();
        let store = app::open_store(&CommandLine::parse_from(["child"]).settings)
            .await
            .unwrap();
        let tenants = Tenants::new(Arc::clone(&store), Arc::new(System));
        let access = tenants.authenticate(Some("acme"), &secret, soon()).await;
        let Ok(access) = access else { panic!("not let in") };
        let store = Arc::new(CountingStore::new(store));
        let mut directory = Directory {
            store: Arc::clone(&store) as Arc<dyn Store>,
            ambient: Arc::new(System),
            access,
            deadline: soon(),
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        };
        for line in input {
            let (start, count) = line.split_once(' ').unwrap();
            directory.deadline = soon();
            let query = ListQuery {
                paging: Paging::Index(start.parse().unwrap()),
                count: count.parse().unwrap(),
                ..ListQuery::default()
            };
            answer(&directory, &store, &query).await;
        }
    });
}

async fn answer(directory: &Directory, store: &CountingStore, query: &ListQuery) {
    let users = [Arc::clone(Catalog::standard().resource_type("User").unwrap())];
    store.take();
    let (base_url, mut trace) = ("https://example.com/scim/acme", Trace::default());
    let found = directory
        .query(&users, query, &[Shown::default()], base_url, &mut trace)
        .await
        .unwrap();
    let cost = store.take();
    // What is written beside the page is there when the next process looks; what becomes of a page when it is not, the
    // tests of `directory::list` tell.
    directory.shared.idle().await;
    let number = |document: &Map<String, Value>| document["id"].as_str().unwrap()["user-".len()..].parse().unwrap();
    let numbers: Vec<usize> = found.resources.iter().map(|shown| number(&shown.document)).collect();
    let first = numbers.first().copied().unwrap_or_default();
    assert!(
        numbers.iter().copied().eq(first..first + numbers.len()),
        "one after another"
    );
    let mut output = std::io::stdout().lock();
    let (total, trips, bytes) = (found.total.unwrap(), cost.round_trips, cost.bytes_read);
    writeln!(output, "{first} {} {total} {trips} {bytes}", numbers.len()).unwrap();
    output.flush().unwrap();
}
