//! Large groups in processes of their own: killed in the middle of a change of 5,000 members, and asked for 100,000.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use scimgate::{
    ambient::{Ambient, System},
    directory::{Directory, Shown},
    rows::{self, EdgeBody, FORMAT},
    scim::{normalize::Trace, schema::Catalog},
    store::{Change, MAX_CHANGES, Store, sqlite::SqliteStore},
    tenants::{NewTenant, Tenants, Terms},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Calls of the store under way at the same time while it is filled.
const WRITERS: usize = 8;
/// Members that a killed request adds or removes.
const CHANGED: usize = 5_000;
/// Members that stay, whatever happens to a request.
const STAY: usize = 10;
/// Members of a group that is read.
const LARGE: usize = 100_000;
/// Seconds that a process has for an answer: it is not optimised, and other tests may keep the machine busy.
const DEADLINE: &str = "60";
/// After this a test gives up.
const LONG: Duration = Duration::from_mins(5);
/// What a process may take while it answers with [`LARGE`] members.
const MOST_MEMORY_KIB: usize = 100 * 1024;

/// A store in a file, with a tenant that has one group.
struct Desk {
    folder: TempDir,
    runtime: Runtime,
    store: Arc<SqliteStore>,
    partition: String,
    secret: String,
    directory: Directory,
    group: String,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let (store, partition, secret, directory, group) = runtime.block_on(async {
            let store = Arc::new(SqliteStore::open(&folder.path().join("rows.db")).unwrap());
            let tenants = Tenants::new(Arc::clone(&store) as Arc<dyn Store>, Arc::new(System));
            let new = NewTenant {
                name: "acme".to_owned(),
                ..NewTenant::default()
            };
            let deadline = soon();
            let created = tenants.create(&new, None, &Terms::default(), "test", deadline).await;
            let (tenant, issued) = created.unwrap();
            let access = tenants.authenticate(Some("acme"), &issued.secret, deadline).await;
            let Ok(access) = access else { panic!("not let in") };
            let directory = Directory {
                store: Arc::clone(&store) as Arc<dyn Store>,
                ambient: Arc::new(System),
                access,
                deadline,
                shared: Arc::default(),
                held: Arc::default(),
                invocation: None,
            };
            let group = make(&directory, "Group", json!({ "displayName": "Employees" })).await;
            (store, tenant.id, issued.secret, directory, group)
        });
        Self {
            folder,
            runtime,
            store,
            partition,
            secret,
            directory,
            group,
        }
    }

    /// Makes users as requests would; gives their ids.
    fn users(&self, number: usize) -> Vec<String> {
        let users =
            (0..number).map(|number| make(&self.directory, "User", json!({ "userName": format!("u{number}") })));
        self.runtime
            .block_on(stream::iter(users).buffered(WRITERS).collect::<Vec<_>>())
    }

    /// Makes members straight through the store, of whom nothing but their membership is there; gives their ids.
    fn fill(&self, number: usize) -> BTreeSet<String> {
        let ids: Vec<String> = (0..number).map(|_| System.new_id().to_string()).collect();
        let commits = ids.chunks(MAX_CHANGES / 2).map(|ids| async {
            let changes: Vec<Change> = ids.iter().flat_map(|id| self.edge(id)).collect();
            self.store.commit(&self.partition, &changes).await.unwrap();
        });
        self.runtime
            .block_on(stream::iter(commits).buffer_unordered(WRITERS).collect::<()>());
        ids.into_iter().collect()
    }

    fn edge(&self, member: &str) -> [Change; 2] {
        let body = EdgeBody {
            format: FORMAT,
            group: self.group.clone(),
            member: member.to_owned(),
            resource_type: "User".to_owned(),
        };
        let keys = [
            rows::member_key(&self.group, member),
            rows::membership_key(member, &self.group),
        ];
        keys.map(|key| Change::Insert(rows::write(key, &body)))
    }

    /// How many edges are written, seen from the group, whatever is decided beside them.
    fn edges(&self) -> usize {
        let (mut from, until) = rows::range(&rows::members_prefix(&self.group));
        // The gate stands among them.
        let is_edge = |key: &str| !key.ends_with(['-', '.']);
        let mut found = 0;
        loop {
            let scan = self.store.scan(&self.partition, &from, &until, usize::MAX);
            let page = self.runtime.block_on(scan).unwrap();
            found += page.rows.iter().filter(|row| is_edge(&row.key)).count();
            match page.rows.last() {
                Some(last) if page.more => from = rows::behind(&last.key),
                _ => return found,
            }
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let store: PathBuf = self.folder.path().join("rows.db");
        let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env_clear()
            .env("SCIMGATE_STORE", format!("sqlite:{}", store.display()))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_mins(5)
}

async fn make(directory: &Directory, kind: &str, mut document: Value) -> String {
    let of = Arc::clone(Catalog::standard().resource_type(kind).unwrap());
    document["schemas"] = json!([of.schema.id]);
    let mut trace = Trace::default();
    let made = directory.create(&of, Shown::default(), document, &mut trace);
    made.await.unwrap().envelope.id
}

/// `scimgate serve` on the store of a [`Desk`]; killed at the latest when the test ends.
struct Server<'d> {
    desk: &'d Desk,
    child: Child,
    port: u16,
    /// Kept open, so that the process can print.
    _log: BufReader<ChildStdout>,
}

impl<'d> Server<'d> {
    fn start(desk: &'d Desk) -> Self {
        let mut command = desk.command(&["serve"]);
        command.env("SCIMGATE_PORT", "0").env("SCIMGATE_DEADLINE", DEADLINE);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("listens on") {
            assert!(log.read_line(&mut greeting).unwrap() > 0, "it ended: {greeting}");
        }
        let port = greeting.split("port ").nth(1).unwrap();
        let port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse();
        Self {
            desk,
            child,
            port: port.unwrap(),
            _log: log,
        }
    }

    /// Sends a request; its answer comes to whoever reads it.
    fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (token, length) = (&self.desk.secret, body.len());
        write!(
            stream,
            "{method} /scim/acme{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Type: application/scim+json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    #[track_caller]
    fn ok(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = answer(self.send(method, path, body));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {path}: {head} {body:.500}");
        serde_json::from_str(body).unwrap()
    }

    fn members(&self) -> BTreeSet<String> {
        links(&self.ok("GET", &format!("/Groups/{}", self.desk.group), ""), "members")
    }

    /// Both ends and the filters agree with what the group's own answer shows.
    fn agrees(&self, members: &BTreeSet<String>, users: &[String]) {
        let group = &self.desk.group;
        for user in [
            &users[0],
            &users[STAY],
            &users[users.len() / 2],
            &users[users.len() - 1],
        ] {
            let is_member = members.contains(user);
            let own = links(&self.ok("GET", &format!("/Users/{user}"), ""), "groups");
            assert_eq!(own.contains(group), is_member, "groups of {user}");
            for filter in [
                format!("members%20eq%20%22{user}%22"),
                format!("id%20eq%20%22{group}%22%20and%20members%20eq%20%22{user}%22"),
            ] {
                let list = self.ok("GET", &format!("/Groups?attributes=id&filter={filter}"), "");
                assert_eq!(list["totalResults"], usize::from(is_member), "{filter}");
            }
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came until the connection ended; nothing, if the process was killed before it answered.
fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn links(document: &Value, attribute: &str) -> BTreeSet<String> {
    let links = document[attribute].as_array().into_iter().flatten();
    links.map(|link| link["value"].as_str().unwrap().to_owned()).collect()
}

/// A message that adds these members or removes them.
fn patch(op: &str, members: &[String]) -> String {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    let operation = json!({ "op": op, "path": "members", "value": members });
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation] }).to_string()
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// When so many edges are changed.
    Edges(usize),
    /// After this part of the time that the first change took.
    Part(f64),
}

impl Moment {
    /// Waits for it, since a request was sent while so many edges stood; the first one took this time.
    fn wait(self, desk: &Desk, before: usize, whole: Duration) {
        let began = Instant::now();
        match self {
            Self::Edges(changed) => {
                while desk.edges().abs_diff(before) < changed {
                    assert!(began.elapsed() < LONG, "nothing happens");
                }
            }
            Self::Part(part) => thread::sleep(whole.mul_f64(part)),
        }
    }
}

/// A process is killed while it changes 5,000 memberships: whoever asks the next one sees all of the change or nothing.
#[test]
fn a_change_of_five_thousand_outlives_a_kill_or_never_was() {
    let desk = Desk::new();
    let users = desk.users(STAY + CHANGED);
    let place = format!("/Groups/{}", desk.group);
    let few: BTreeSet<String> = users[..STAY].iter().cloned().collect();
    let all: BTreeSet<String> = users.iter().cloned().collect();
    let mut server = Server::start(&desk);
    server.ok("PATCH", &place, &patch("add", &users[..STAY]));
    let began = Instant::now();
    server.ok("PATCH", &place, &patch("add", &users[STAY..]));
    let whole = began.elapsed();

    let random = || Moment::Part(fastrand::f64());
    let moments = [
        Moment::Edges(1),
        random(),
        Moment::Edges(CHANGED / 2),
        random(),
        Moment::Edges(CHANGED - 200),
        random(),
    ];
    let (mut is_full, mut by_half, mut done) = (true, 0, 0);
    for (number, moment) in moments.into_iter().enumerate() {
        let before = if is_full { STAY + CHANGED } else { STAY };
        assert_eq!(desk.edges(), before);
        let op = if is_full { "remove" } else { "add" };
        let sent = server.send("PATCH", &place, &patch(op, &users[STAY..]));
        moment.wait(&desk, before, whole);
        server.kill();
        let (edges, answered) = (desk.edges(), answer(sent).starts_with("HTTP/1.1 200 "));
        server = Server::start(&desk);
        let members = server.members();
        assert!(
            members == few || members == all,
            "{moment:?}: {} members",
            members.len()
        );
        let is_done = (members == all) != is_full;
        assert!(is_done || edges == before, "{moment:?}: what was decided is undone");
        assert!(is_done || !answered, "{moment:?}: what was answered is undone");
        by_half += usize::from(edges != STAY && edges != STAY + CHANGED);
        done += usize::from(is_done);
        server.agrees(&members, &users);
        if number % 2 == 0 {
            server.kill();
            assert!(desk.run(&["repair", "acme"]).status.success());
            server = Server::start(&desk);
        } else {
            // Who changes the group next finishes first what was left behind.
            server.ok("PATCH", &place, &patch("remove", &users[..1]));
            server.ok("PATCH", &place, &patch("add", &users[..1]));
        }
        assert_eq!(server.members(), members);
        let check = desk.run(&["check", "acme"]);
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        is_full = members == all;
    }
    assert!(by_half > 0, "no kill in the middle");
    let kills = moments.len();
    println!(
        "{kills} kills while {CHANGED} memberships change ({} ms undisturbed): {by_half} by half in the store, {done} changes \
         made, {} not, 0 seen by half",
        whole.as_millis(),
        kills - done
    );
}

/// pain 8: all members of a large group in one answer, by a process that stays small.
#[test]
fn a_group_of_a_hundred_thousand_is_answered_in_little_memory() {
    let desk = Desk::new();
    let members = desk.fill(LARGE);
    let server = Server::start(&desk);
    let began = Instant::now();
    let shown = server.members();
    let time = began.elapsed();
    assert!(shown == members, "{} members of {LARGE}", shown.len());
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())) else {
        println!("skipped: how much memory it took, as there is no /proc");
        return;
    };
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: usize = most.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{LARGE} members in {} ms, at most {most} KiB", time.as_millis());
    assert!(most <= MOST_MEMORY_KIB, "{most} KiB");
}
