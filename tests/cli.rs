//! The command line, as an operator uses it: the real executable on a store of its own, beside a running server.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::Arc,
};

use data_encoding::HEXUPPER;
use scimgate::{
    ambient::{Ambient, Skewed, System},
    store::sqlite::SqliteStore,
    tenants::{CLOCKS, NewExtension, Tenants},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A folder with an embedded store.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The command ends with a code of its own and one line that has these words.
    #[track_caller]
    fn fails(&self, words: &[&str], code: i32, says: &str) {
        check_failure(&self.run(words), code, says);
    }
}

fn signal(child: &Child, name: &str) {
    let told = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(told.unwrap().success());
}

#[track_caller]
fn check_failure(output: &Output, code: i32, says: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(says), "{said}");
    assert!(code != 1 || said.lines().count() == 1, "more than one line: {said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a tenant at the start.
const BOOTSTRAP: [(&str, &str); 2] = [
    ("SCIMGATE_BOOTSTRAP_TENANT", "acme"),
    ("SCIMGATE_BOOTSTRAP_TOKEN", "a-secret-from-elsewhere"),
];

/// A server on a free port; ends with the test.
struct Server {
    child: Child,
    greeting: String,
    port: u16,
    /// What it prints behind its greeting.
    log: BufReader<ChildStdout>,
}

impl Server {
    fn start(desk: &Desk, environment: &[(&str, &str)]) -> Self {
        let mut command = desk.command(&["serve"]);
        command.env("SCIMGATE_PORT", "0").envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut greeting = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !greeting.contains("listens on") && !greeting.contains("/Users'") {
            assert!(
                lines.read_line(&mut greeting).unwrap() > 0,
                "the server ended: {greeting}"
            );
        }
        let behind = |text: &str| {
            Some(
                greeting
                    .split_once(text)?
                    .1
                    .split(|c: char| !c.is_ascii_digit())
                    .next()?
                    .to_owned(),
            )
        };
        let port = behind("port ").or_else(|| behind("localhost:")).unwrap();
        Self {
            child,
            port: port.parse().unwrap(),
            greeting,
            log: lines,
        }
    }

    /// What the server answers to a body that makes a user.
    fn create(&self, tenant: &str, token: &str, body: &Value) -> String {
        self.ask(&format!("POST /scim/{tenant}/Users"), token, &body.to_string())
    }

    fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    fn status(&self, tenant: &str, token: &str) -> u16 {
        let answer = self.ask(&format!("GET /scim/{tenant}/Users"), token, "");
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The answer as it came: head and body.
    fn ask(&self, method_and_target: &str, token: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method_and_target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             User-Agent: tests/1\r\nContent-Type: application/scim+json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The printed curl line is what a newcomer tries first.
#[test]
fn the_first_start_prints_a_line_that_works_when_pasted() {
    let desk = Desk::new();
    let server = Server::start(&desk, &[]);
    let line = server.greeting.split("Try it:").nth(1).unwrap().trim();
    assert!(line.starts_with("curl "), "{line}");
    let pasted = Command::new("sh").arg("-c").arg(line).output().unwrap();
    let user: Value = serde_json::from_slice(&pasted.stdout).unwrap_or_else(|_| panic!("{}", text(&pasted.stderr)));
    assert_eq!(user["userName"], "bjensen@example.com");
    assert_eq!(desk.json(&["tenant", "list"])[0]["users"], 1);
}

#[test]
fn the_second_start_prints_no_secret() {
    let desk = Desk::new();
    drop(Server::start(&desk, &[]));
    let server = Server::start(&desk, &[]);
    assert!(!server.greeting.contains("sg_"), "{}", server.greeting);
}

/// What customers have pasted for an earlier endpoint, too.
#[test]
fn every_tenant_url_is_printed_at_the_start_and_for_each_tenant() {
    let paths = ("SCIMGATE_BASE_PATHS", "/api/scim,/api/{tenant}/v2,/t/{any}/scim,/");
    let url = ("SCIMGATE_PUBLIC_URL", "https://scim.example.com");
    let desk = Desk::new();
    let first = Server::start(&desk, &[paths]);
    let origin = format!("http://localhost:{}", first.port);
    for path in ["/scim/demo", "/api/scim", "/api/demo/v2", "/t/{any}/scim"] {
        let urls = first.greeting.lines().map(|line| line.split_whitespace().next_back());
        let url = format!("{origin}{path}");
        assert!(
            urls.into_iter().any(|last| last == Some(&url)),
            "{path}: {}",
            first.greeting
        );
    }
    drop(first);
    for environment in [&[paths, url][..], &[paths, url, ("FUNCTIONS_CUSTOMHANDLER_PORT", "0")]] {
        let server = Server::start(&desk, environment);
        let first = server.greeting.lines().next().unwrap();
        assert_eq!(
            first.split_once("; ").unwrap().1,
            "Tenant URLs are https://scim.example.com/scim/<tenant> and https://scim.example.com/api/scim and \
             https://scim.example.com/api/<tenant>/v2 and https://scim.example.com/t/{any}/scim and https://scim.example.com"
        );
    }
    let show = ["tenant", "show", "demo", "--base-paths", "/api/scim,/{tenant}"];
    assert_eq!(
        desk.json(&show)["earlierUrls"],
        json!(["http://localhost:8080/api/scim", "http://localhost:8080/demo"])
    );
    let said = text(&desk.run(&show).stdout);
    let earlier = "\nEarlier URLs  http://localhost:8080/api/scim\n              http://localhost:8080/demo\nTitle";
    assert!(said.contains(earlier), "{said}");
    assert!(!text(&desk.run(&show[..3]).stdout).contains("Earlier"));
}

#[test]
fn a_bootstrap_tenant_takes_the_place_of_demo() {
    let desk = Desk::new();
    for _ in 0..2 {
        let server = Server::start(&desk, &BOOTSTRAP);
        assert_eq!(server.status("acme", "a-secret-from-elsewhere"), 200);
        assert!(!server.greeting.contains("a-secret"), "{}", server.greeting);
    }
    let tenants = desk.json(&["tenant", "list"]);
    assert_eq!(tenants.as_array().unwrap().len(), 1);
    assert_eq!(tenants[0]["name"], "acme");
}

/// Whoever waits for readiness, and then asks, as a front end does.
#[test]
fn a_bootstrap_tenant_is_known_once_the_service_is_ready() {
    for _ in 0..5 {
        let desk = Desk::new();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = desk.command(&["serve"]);
        command.env("SCIMGATE_PORT", port.to_string()).stdout(Stdio::piped());
        command.env("SCIMGATE_BOOTSTRAP_TENANT", "acme");
        command.env("SCIMGATE_BOOTSTRAP_TOKEN", "a-secret-from-elsewhere");
        let mut child = command.spawn().unwrap();
        let server = Server {
            log: BufReader::new(child.stdout.take().unwrap()),
            child,
            greeting: String::new(),
            port,
        };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {}
        while !server.ask("GET /health/ready", "", "").starts_with("HTTP/1.1 200") {}
        assert_eq!(server.status("acme", "a-secret-from-elsewhere"), 200);
    }
}

/// E-AUTH-02.
#[test]
fn tokens_are_rotated_while_the_server_runs() {
    let desk = Desk::new();
    let first = desk.json(&["tenant", "create", "Acme", "--title", "Acme Inc."]);
    let server = Server::start(&desk, &[]);
    let first_secret = first["secretToken"].as_str().unwrap();
    assert!(first_secret.len() <= 64, "{first_secret}");
    assert_eq!(server.status("acme", first_secret), 200);

    let second = desk.json(&["token", "create", "acme", "--label", "rotation", "--expires", "90d"]);
    assert_eq!(server.status("acme", second["secretToken"].as_str().unwrap()), 200);
    let tokens = desk.json(&["token", "list", "acme"]);
    assert_eq!(tokens.as_array().unwrap().len(), 2);
    assert!(!tokens.to_string().contains("sg_"), "{tokens}");

    let id = first["token"]["id"].as_str().unwrap();
    let revoked = desk.json(&["token", "revoke", "acme", id]);
    assert!(revoked["refusedEverywhereFrom"].is_string());
    // Another process believes it for 60 s more; a new one does not.
    drop(server);
    assert_eq!(Server::start(&desk, &[]).status("acme", first_secret), 401);
}

#[test]
fn an_imported_secret_works_whatever_its_length() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let long = "x".repeat(2_000);
    for (secret, ends) in [("short", "\n"), (&long, ""), ("eyJhbGciOi.eyJ.c2ln+/=", "\r\n")] {
        let mut child = desk.command(&["token", "import", "acme", "--json"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(format!("{secret}{ends}").as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(
            !text(&output.stdout).contains(secret),
            "an imported secret is not shown again"
        );
        let server = Server::start(&desk, &[]);
        assert_eq!(server.status("acme", secret), 200, "{} characters", secret.len());
    }
}

/// An earlier endpoint need not know its customers' secrets.
#[test]
fn a_secret_is_imported_by_its_hash() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let hash = HEXUPPER.encode(&Sha256::digest("from-an-earlier-endpoint"));
    let import = |input: &str| {
        piped(
            &desk,
            &["token", "import", "acme", "--sha256", "--json"],
            input.as_bytes(),
        )
    };
    let imported = import(&hash);
    let said: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(
        (&said["token"]["imported"], &said["secretToken"]),
        (&json!(true), &Value::Null)
    );
    let server = Server::start(&desk, &[]);
    assert_eq!(server.status("acme", "from-an-earlier-endpoint"), 200);
    assert_eq!(server.status("acme", &hash), 401);
    assert_eq!(server.status("acme", &hash.to_lowercase()), 401);
    check_failure(&import(&hash), 1, "in use already");
    for name in ["  -\n", " *acme.secret\r\n"] {
        check_failure(&import(&format!("{}{name}", hash.to_lowercase())), 1, "in use already");
    }
    check_failure(&import(&hash[1..]), 1, "64 hexadecimal digits");
    check_failure(&import("from-an-earlier-endpoint"), 1, "64 hexadecimal digits");
}

#[test]
fn a_tenant_is_shown_renamed_and_found_without_case() {
    let desk = Desk::new();
    let made = desk.json(&["tenant", "create", "acme", "--contact", "it@acme.example"]);
    assert_eq!(made["tenantUrl"], "http://localhost:8080/scim/acme");
    assert_eq!(
        desk.json(&["tenant", "create", "ACME", "--if-absent"])["created"],
        false
    );
    desk.json(&["tenant", "rename", "acme", "acme-corp"]);
    let shown = desk.json(&["tenant", "show", "Acme-Corp"]);
    assert_eq!(shown["contact"], "it@acme.example");
    assert_eq!(shown["writes"], json!({ "requests": 0, "failed": 0, "byRule": {} }));
    desk.fails(&["tenant", "show", "acme"], 1, "there is no tenant 'acme'");
    for (rate, limited) in [(Some("25"), json!(25)), (Some("0"), json!(0)), (None, Value::Null)] {
        desk.json(&[&["tenant", "limit", "acme-corp"], rate.as_slice()].concat());
        assert_eq!(desk.json(&["tenant", "show", "acme-corp"])["rate"], limited);
    }
    desk.fails(&["tenant", "limit", "acme-corp", "24"], 2, "a whole number from 25");
    let server = Server::start(&desk, &[]);
    let secret = made["secretToken"].as_str().unwrap();
    assert_eq!(server.status("acme-corp", secret), 200);
    assert_eq!(server.status("acme", secret), 401);
}

/// The wait for other instances is left out, as each tenant is asked for the first time after it.
#[test]
fn a_paused_tenant_is_shown_and_refused_until_it_goes_on() {
    let desk = Desk::new();
    let acme = desk.json(&["tenant", "create", "acme"]);
    let globex = desk.json(&["tenant", "create", "globex"]);
    let paused = desk.json(&["tenant", "pause", "acme", "--no-wait"]);
    assert_eq!(
        desk.json(&["tenant", "pause", "acme", "--no-wait"])[0]["paused"],
        paused[0]["paused"]
    );
    let listed = desk.json(&["tenant", "list"]);
    assert_eq!(listed[0]["paused"], paused[0]["paused"]);
    assert_eq!(listed[1]["paused"], Value::Null);
    for words in [&["tenant", "list"][..], &["tenant", "show", "acme"]] {
        assert!(text(&desk.run(words).stdout).contains("paused since 20"), "{words:?}");
    }
    let server = Server::start(&desk, &[]);
    assert_eq!(server.status("acme", acme["secretToken"].as_str().unwrap()), 503);
    assert_eq!(server.status("globex", globex["secretToken"].as_str().unwrap()), 200);
    desk.json(&["tenant", "pause", "--all", "--no-wait"]);
    for was_paused in [true, false] {
        let both = ["acme", "globex"].map(|name| json!({ "name": name, "wasPaused": was_paused }));
        assert_eq!(desk.json(&["tenant", "resume", "--all"]), json!(both));
    }
    let token = desk.json(&["token", "create", "acme"]);
    assert_eq!(server.status("acme", token["secretToken"].as_str().unwrap()), 200);
    let log = desk.run(&["history", "acme", "--all", "--json"]);
    let events = text(&log.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect::<Vec<Value>>();
    let deeds = events
        .iter()
        .filter(|event| event["actor"].as_str().unwrap().starts_with("operator"));
    let kinds = deeds.map(|event| event["kind"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        kinds,
        ["tenant-create", "tenant-pause", "tenant-resume", "token-create"]
    );
    desk.fails(&["tenant", "pause", "nobody"], 1, "there is no tenant 'nobody'");
    desk.fails(&["tenant", "pause"], 2, "<NAME|--all>");
    desk.fails(&["tenant", "resume", "acme", "--all"], 2, "cannot be used with");
}

/// Whoever reads that it was deleted wants it back, or knows that it can't be.
#[test]
fn history_tells_how_who_was_deleted_comes_back() {
    let desk = Desk::new();
    let server = Server::start(&desk, &BOOTSTRAP);
    let token = BOOTSTRAP[1].1;
    let schema = "urn:ietf:params:scim:schemas:core:2.0:User";
    let user = json!({ "schemas": [schema], "userName": "bjensen@example.com" });
    let made = server.create("acme", token, &user);
    let made: Value = serde_json::from_str(made.split_once("\r\n\r\n").unwrap().1).unwrap();
    let id = made["id"].as_str().unwrap();
    server.ask(&format!("DELETE /scim/acme/Users/{id}"), token, "");
    for name in ["bjensen@example.com", id] {
        let told = text(&desk.run(&["history", "acme", name]).stdout);
        let line = told.lines().find(|line| line.starts_with("It can be restored until "));
        let way_back = format!(" UTC with: scimgate restore acme {id}");
        assert!(line.unwrap().ends_with(&way_back), "{told}");
    }
    let told = desk.json(&["history", "acme", id, "--retention-days", "0"]);
    assert_eq!(told["accounts"][0]["state"], "deleted, still kept");
    assert!(told["accounts"][0]["restorableUntil"].is_string(), "{told}");
    desk.json(&["erase", "acme", id, "--yes"]);
    let told = text(&desk.run(&["history", "acme", id]).stdout);
    assert!(told.contains("\nWhat was kept of it was erased at "), "{told}");
    assert!(!told.contains("scimgate restore"), "{told}");
}

/// A deleted user comes back, is erased, and asked for again.
#[test]
fn what_is_deleted_comes_back_until_it_is_erased() {
    let desk = Desk::new();
    let secret = desk.json(&["tenant", "create", "acme"])["secretToken"].clone();
    let server = Server::start(&desk, &[]);
    let send = |method: &str, path: &str, body: &str| {
        let answer = server.ask(&format!("{method} /scim/acme{path}"), secret.as_str().unwrap(), body);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str::<Value>(body).unwrap_or_default())
    };
    let schema = "urn:ietf:params:scim:schemas:core:2.0:User";
    let user = json!({ "schemas": [schema], "userName": "bjensen@example.com" }).to_string();
    let (status, made) = send("POST", "/Users", &user);
    assert_eq!(status, 201);
    let id = made["id"].as_str().unwrap();
    let path = format!("/Users/{id}");

    desk.fails(&["restore", "acme", id], 1, "not deleted");
    assert_eq!(send("DELETE", &path, "").0, 204);
    let listed = desk.json(&["restore", "acme", "--list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["type"]), (&json!(id), &json!("User")));
    assert!(!listed.to_string().contains("bjensen"), "{listed}");
    let named = desk.json(&["restore", "acme", "--list", "--names"]);
    assert_eq!(named[0]["name"], "bjensen@example.com");
    assert_eq!(desk.json(&["restore", "acme", id, "--dry-run"])["restored"], false);
    assert_eq!(send("GET", &path, "").0, 404);

    let (_, other) = send("POST", "/Users", &user);
    let other = other["id"].as_str().unwrap();
    desk.fails(
        &["restore", "acme", id],
        1,
        &format!("409: its userName was taken meanwhile by {other}"),
    );
    desk.fails(&["restore", "acme"], 1, "restore acme --list");
    assert_eq!(send("DELETE", &format!("/Users/{other}"), "").0, 204);
    assert_eq!(desk.json(&["restore", "acme", id])["restored"], true);
    let (status, back) = send("GET", &path, "");
    assert_eq!((status, &back["meta"]["created"]), (200, &made["meta"]["created"]));
    assert_ne!(back["meta"]["version"], made["meta"]["version"]);

    desk.fails(&["erase", "acme", id], 1, "--yes");
    assert_eq!(desk.json(&["erase", "acme", id, "--yes"])["wasThere"], true);
    let said = text(&desk.run(&["erase", "acme", id, "--yes"]).stdout);
    for part in ["is erased", "still in the identity provider's scope comes back"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(send("GET", &path, "").0, 404);
    desk.fails(&["restore", "acme", id], 1, "erased");
    for words in [
        &["erase", "acme", "bjensen@example.com", "--yes"][..],
        &["restore", "acme", "bjensen@example.com"],
    ] {
        desk.fails(words, 1, "no user or group of that id");
        desk.fails(words, 1, "'scimgate history acme <name>' shows the id");
    }
    desk.fails(&["restore", "globex", id], 1, "globex");
    // As long as the service keeps it, whatever is set where the command runs.
    let purged = desk.json(&["purge", "acme", "--yes", "--retention-days", "0"]);
    assert_eq!(purged[0]["tombstones"], 0);
    drop(server);
    let server = Server::start(&desk, &[("SCIMGATE_RETENTION_DAYS", "0")]);
    // It notes that beside its first requests.
    let mut purged = 0;
    while purged == 0 {
        purged = desk.json(&["purge", "acme", "--yes"])[0]["tombstones"]
            .as_u64()
            .unwrap();
    }
    assert_eq!(purged, 2);
    drop(server);
    let log = text(&desk.run(&["history", "acme", "--all"]).stdout);
    assert_eq!(log.matches("tenant-purge Tenant").count(), 1, "{log}");
    assert_eq!(desk.json(&["purge", "--all", "--yes"])[0]["tombstones"], 0);
    desk.fails(&["restore", "acme", id], 1, "no user or group of that id");
    assert_eq!(desk.json(&["check", "acme"])["sound"], true);
}

/// The backup is made beside a running server, and the other store's server, which runs as well, takes requests with the old
/// token.
#[test]
fn a_backup_brings_a_tenant_back_in_another_store() {
    let [old, new] = [Desk::new(), Desk::new()];
    let secret = old.json(&["tenant", "create", "acme"])["secretToken"].clone();
    let secret = secret.as_str().unwrap();
    let server = Server::start(&old, &[]);
    let user = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "bjensen@example.com" });
    assert!(server.create("acme", secret, &user).starts_with("HTTP/1.1 201"));
    let file = new.folder.path().join("acme.jsonl");
    let file = file.to_str().unwrap();
    let output = old.run(&["export", "acme", "--output", file]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(
        text(&output.stderr).contains("keys and the hashes of their credentials"),
        "{output:?}"
    );
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    let backup = std::fs::read_to_string(file).unwrap();
    assert!(!backup.contains(secret));
    old.fails(&["export", "acme", "--output", file], 1, "is there already");
    old.fails(&["export", "globex"], 1, "no tenant 'globex'");
    assert_eq!(
        std::fs::read_dir(new.folder.path()).unwrap().count(),
        1,
        "nothing else is left"
    );
    let all = old.run(&["export", "--all"]);
    assert!(
        text(&all.stdout).lines().last().unwrap().starts_with("{\"end\""),
        "{all:?}"
    );

    assert!(
        server
            .create(
                "acme",
                secret,
                &json!({ "schemas": user["schemas"], "userName": "later" })
            )
            .contains(" 201 ")
    );
    let changed = old.json(&["tenant", "changed", "--since", "1h"]);
    assert_eq!(
        (&changed[0]["name"], &changed[0]["changes"]),
        (&json!("acme"), &json!(2))
    );
    assert_eq!(old.json(&["tenant", "changed", "--since", "2099-01-01"]), json!([]));

    new.json(&["tenant", "create", "globex"]);
    let other = Server::start(&new, &[]);
    assert_eq!(other.status("acme", secret), 401);
    new.fails(&["load", file, "--all"], 1, "has tenants already");
    new.fails(&["load", file, "--tenant", "initech"], 1, "no tenant 'initech'");
    let loaded = new.json(&["load", file, "--tenant", "acme"]);
    assert_eq!((&loaded[0]["users"], &loaded[0]["sound"]), (&json!(1), &json!(true)));
    assert_eq!(other.status("acme", secret), 200);
    assert!(other.create("acme", secret, &user).starts_with("HTTP/1.1 409"));
    new.fails(&["load", file, "--tenant", "acme"], 1, "in this store already");
    let log = text(&new.run(&["history", "acme", "--all"]).stdout);
    assert_eq!(log.matches("tenant-load Tenant").count(), 1, "{log}");
}

/// From a pipe as well as from a file; and whoever has another file, or takes one command for the other, is told.
#[test]
fn a_backup_comes_through_a_pipe_and_what_is_none_is_refused() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    desk.json(&["tenant", "pause", "acme", "--no-wait"]);
    let backup = desk.run(&["export", "acme"]).stdout;
    let empty = Desk::new();
    empty.fails(&["load", "nowhere.jsonl", "--all"], 1, "nowhere.jsonl");
    assert_eq!(std::fs::read_dir(empty.folder.path()).unwrap().count(), 0);
    // What comes through a pipe can be read once only.
    for file in ["-", "/dev/stdin"].iter().take(if cfg!(unix) { 2 } else { 1 }) {
        let other = Desk::new();
        let output = piped(&other, &["load", file, "--tenant", "acme"], &backup);
        assert!(output.status.success(), "{output:?}");
        let said = text(&output.stdout);
        assert!(said.contains("It is paused, as it was then"), "{said}");
        assert_eq!(other.json(&["tenant", "list"])[0]["name"], "acme");
    }
    std::fs::write(desk.folder.path().join("acme.jsonl"), &backup).unwrap();
    desk.fails(&["import", "acme", "acme.jsonl"], 1, "--tenant acme' brings it back");
    desk.fails(&["import", "--all", "acme.jsonl"], 1, "'scimgate load FILE --all'");
    std::fs::write(desk.folder.path().join("acme.jsonl"), &backup[..backup.len() / 2]).unwrap();
    desk.fails(&["load", "acme.jsonl", "--tenant", "acme"], 1, "no whole backup");
}

/// Exit code 3: one tenant can't be read, and the backup is whole but for it. Whoever looks which tenants changed is told too.
#[tokio::test]
async fn a_backup_without_a_tenant_says_so_by_its_exit_code() {
    use scimgate::{
        rows::CONTROL,
        store::{Change, Store, Write},
    };

    let [desk, other] = [Desk::new(), Desk::new()];
    for tenant in ["acme", "globex", "initech"] {
        desk.json(&["tenant", "create", tenant]);
    }
    piped(&desk, &["import", "globex", "-"], b"{\"userName\":\"a\"}");
    let store = SqliteStore::open(&desk.folder.path().join("scimgate.db")).unwrap();
    let broken = Write {
        key: "tenant~acme".to_owned(),
        stamp: Vec::new(),
        body: b"{}".to_vec(),
    };
    store.commit(CONTROL, &[Change::Upsert(broken)]).await.unwrap();
    let made = desk.run(&["export", "--all", "--output", "all.jsonl"]);
    assert_eq!(made.status.code(), Some(3), "{made:?}");
    assert!(text(&made.stderr).contains("Tenant 'acme' is not in it: "), "{made:?}");
    let file = desk.folder.path().join("all.jsonl");
    let loaded = other.run(&["load", file.to_str().unwrap(), "--all", "--json"]);
    assert_eq!(loaded.status.code(), Some(1), "{loaded:?}");
    let loaded: Value = serde_json::from_slice(&loaded.stdout).unwrap();
    let told = |at: usize| {
        (
            loaded[at]["tenant"].as_str().unwrap(),
            loaded[at]["loaded"].as_str().unwrap(),
        )
    };
    assert_eq!(
        [told(0), told(1), told(2)],
        [("globex", "now"), ("initech", "now"), ("acme", "missing")]
    );
    let purged = desk.run(&["purge", "--all", "--yes", "--json"]);
    check_failure(&purged, 1, "not all of what is due is gone: tenant 'acme': ");
    let purged: Value = serde_json::from_slice(&purged.stdout).unwrap();
    assert_eq!(purged.as_array().unwrap().len(), 3);
    // Just now is looked at too: what was noted before may have landed since.
    let changed = desk.run(&["tenant", "changed", "--since", "0m", "--json"]);
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    let changed: Value = serde_json::from_slice(&changed.stdout).unwrap();
    assert_eq!(
        (&changed[0]["name"], &changed[0]["changes"]),
        (&json!("globex"), &json!(1))
    );
    assert_eq!(changed[1]["name"], "acme");
    assert!(
        changed[1]["unreadable"].is_string() && changed[2].is_null(),
        "{changed}"
    );
}

/// No part of a file is left behind.
#[test]
fn an_export_that_is_interrupted_leaves_nothing() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    std::fs::write(desk.folder.path().join("users.jsonl"), users_of_another_service(3_000)).unwrap();
    desk.json(&["import", "acme", "users.jsonl"]);
    let made = || {
        let files = std::fs::read_dir(desk.folder.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("backup")).count()
    };
    let mut command = desk.command(&["export", "--all", "--output", "backup.jsonl"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while made() == 0 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    signal(&child, "INT");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), made()), (Some(130), 0), "{said}");
    assert!(said.contains("No backup was made"), "{said}");
}

#[test]
fn a_tenant_is_deleted_only_on_purpose_and_in_steps() {
    let desk = Desk::new();
    let made = desk.json(&["tenant", "create", "acme"]);
    desk.fails(&["tenant", "delete", "acme"], 1, "--yes");
    let deleted = desk.json(&["tenant", "delete", "acme", "--yes", "--no-wait"]);
    assert_eq!(deleted["finished"], false);
    desk.fails(&["tenant", "create", "acme"], 1, "is being removed");
    desk.fails(&["token", "create", "acme"], 1, "is being removed");
    assert_eq!(desk.json(&["tenant", "list"])[0]["deleting"], true);
    desk.json(&["tenant", "create", "other"]);
    let server = Server::start(&desk, &[]);
    assert_eq!(server.status("acme", made["secretToken"].as_str().unwrap()), 401);
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    for (words, code, says) in [
        (vec!["tenant", "create", "acme"], 1, "there is a tenant 'acme' already"),
        (vec!["tenant", "create", "a"], 1, "2 to 63 characters"),
        (vec!["tenant", "create", "V2"], 1, "is none of"),
        (vec!["tenant", "create", "x-"], 1, "2 to 63 characters"),
        (vec!["token", "revoke", "acme", "nope"], 1, "has no token 'nope'"),
        (vec!["token", "create", "nobody"], 1, "there is no tenant 'nobody'"),
        (vec!["token", "import", "acme"], 1, "it is empty"),
        (vec!["token", "create", "acme", "--expires", "soon"], 2, "such as 90d"),
        (
            vec!["--store", "bogus:AccountKey=hunter2", "tenant", "list"],
            1,
            "SCIMGATE_STORE is none of",
        ),
        (
            vec!["--store", "sqlite:elsewhere.db", "tenant", "list"],
            1,
            "there is no store at elsewhere.db",
        ),
        (vec!["token", "create", "acme", "--expires", "2001-01-01"], 1, "is over"),
        (
            vec!["tenant", "create", "two", "--title", "a\nb"],
            1,
            "control characters",
        ),
        (
            vec!["--store", "tables:", "tenant", "list"],
            1,
            "SCIMGATE_TABLES_ENDPOINT",
        ),
        (
            vec!["--store", "sqlite:/nonexistent/x.db", "serve", "--port", "0"],
            1,
            "/nonexistent/x.db",
        ),
        (
            vec![
                "--store",
                "tables:",
                "--tables-endpoint",
                "http://x.example",
                "serve",
                "--port",
                "0",
            ],
            1,
            "https",
        ),
        (vec!["--store", "tables:", "serve", "--show-bodies"], 1, "personal data"),
    ] {
        desk.fails(&words, code, says);
    }
}

/// A 403 from storage, as the real service words it for an identity without the role.
#[test]
fn a_missing_role_is_named_with_the_command_that_grants_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let body = r#"{"odata.error":{"code":"AuthorizationPermissionMismatch","message":{"lang":"en-US","value":"This request is not authorized to perform this operation using this permission."}}}"#;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            while head.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    let desk = Desk::new();
    let mut command = desk.command(&["tenant", "list"]);
    command.env("SCIMGATE_STORE", "tables:").env(
        "SCIMGATE_TABLES_CONNECTION",
        format!("AccountName=acme;AccountKey=aHVudGVyMg==;TableEndpoint=http://{address}/acme"),
    );
    let output = command.output().unwrap();
    check_failure(&output, 1, "Storage Table Data Contributor");
    check_failure(&output, 1, "az role assignment create");
    assert!(!text(&output.stderr).contains("aHVudGVyMg"), "{}", text(&output.stderr));
}

/// A malformed connection string names the setting, never its value.
#[test]
fn a_connection_string_is_never_echoed() {
    let desk = Desk::new();
    for words in [["tenant", "list"].as_slice(), &["serve", "--port", "0"]] {
        let mut command = desk.command(words);
        command.env("SCIMGATE_STORE", "tables:");
        command.env("SCIMGATE_TABLES_CONNECTION", "AccountName=acme;AccountKey=hunter2");
        let output = command.output().unwrap();
        check_failure(&output, 1, "SCIMGATE_TABLES_CONNECTION");
        assert!(!text(&output.stderr).contains("hunter2"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_port_that_is_taken_ends_the_server() {
    let desk = Desk::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    desk.fails(
        &["serve", "--port", &port],
        1,
        &format!("can't listen on 127.0.0.1:{port}"),
    );
}

/// functions-host.md §1.4: the host never starts a handler again that ended with 0, and does so at once after 200.
#[test]
fn a_signal_ends_the_server_with_a_code_that_is_not_0() {
    let host = ("FUNCTIONS_CUSTOMHANDLER_PORT", "0");
    for (environment, signal, code) in [
        (vec![], "TERM", 143),
        (vec![], "INT", 130),
        (vec![host], "TERM", 200),
        (vec![host], "INT", 200),
    ] {
        let desk = Desk::new();
        let waits = code == 143;
        // Nobody would wait that long.
        let mut server = Server::start(
            &desk,
            &[&environment[..], &BOOTSTRAP, &[("SCIMGATE_DRAIN", "600")]].concat(),
        );
        let ready = || server.ask("GET /health/ready", "", "");
        assert!(ready().starts_with("HTTP/1.1 200 "), "{}", ready());
        server.signal(signal);
        if waits {
            while !ready().starts_with("HTTP/1.1 503 ") {}
            assert!(ready().contains("about to stop"), "{}", ready());
            // Whoever has not noticed yet loses nothing.
            assert_eq!(server.status(BOOTSTRAP[0].1, BOOTSTRAP[1].1), 200);
            server.signal(signal);
        }
        assert_eq!(server.child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

/// Nobody is sent elsewhere from a server that was never ready.
#[test]
fn a_signal_ends_a_server_that_waits_for_its_storage_at_once() {
    let desk = Desk::new();
    let storage = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/acme", storage.local_addr().unwrap());
    let mut server = desk
        .command(&["serve"])
        .envs([
            ("SCIMGATE_PORT", "0"),
            ("SCIMGATE_STORE", "tables:"),
            ("SCIMGATE_DRAIN", "600"),
        ])
        .env(
            "SCIMGATE_TABLES_CONNECTION",
            format!("AccountName=acme;AccountKey=c2VjcmV0;TableEndpoint={endpoint}"),
        )
        .spawn()
        .unwrap();
    let _asked = storage.accept().unwrap();
    signal(&server, "TERM");
    assert_eq!(server.wait().unwrap().code(), Some(143));
}

#[test]
fn a_signal_more_ends_a_server_that_waits_for_requests() {
    let desk = Desk::new();
    let mut server = Server::start(&desk, &BOOTSTRAP);
    let mut client = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let [(_, tenant), (_, token)] = BOOTSTRAP;
    write!(
        client,
        "POST /scim/{tenant}/Users HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
         Content-Type: application/scim+json\r\nContent-Length: 9\r\n\r\n"
    )
    .unwrap();
    let mut answer = BufReader::new(client);
    let mut head = String::new();
    answer.read_line(&mut head).unwrap();
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    answer.read_line(&mut head).unwrap();
    while server.child.try_wait().unwrap().is_none() {
        server.signal("INT");
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(130));
    // It would have been told 408, 10 s later.
    let mut rest = String::new();
    let _ = answer.read_to_string(&mut rest);
    assert_eq!(rest, "");
}

/// Azure has app settings that are there but empty.
#[test]
fn an_empty_setting_is_none() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let names = [
        "SCIMGATE_STORE",
        "SCIMGATE_TABLES_CONNECTION",
        "SCIMGATE_TABLES_ENDPOINT",
        "SCIMGATE_TABLE",
        "SCIMGATE_PUBLIC_URL",
        "SCIMGATE_PORT",
        "SCIMGATE_ADDRESS",
        "SCIMGATE_BASE_PATHS",
        "SCIMGATE_TRUST_PROXY",
        "SCIMGATE_SUPPORT",
        "SCIMGATE_DEADLINE",
        "SCIMGATE_DRAIN",
        "SCIMGATE_TENANT_RATE",
        "SCIMGATE_BOOTSTRAP_TENANT",
        "SCIMGATE_BOOTSTRAP_TOKEN",
        "FUNCTIONS_CUSTOMHANDLER_PORT",
        "AzureWebJobsStorage",
        "WEBSITE_SITE_NAME",
        "IDENTITY_ENDPOINT",
        "AZURE_CLIENT_ID",
    ];
    for name in names {
        let output = desk
            .command(&["tenant", "list", "--json"])
            .env(name, "")
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("acme"), "{name}");
    }
}

/// R-GEN-17 (RFC 7644 §7.5.2); design §6: what is not printed to a terminal is JSON, with one record for each note and no
/// personal data.
#[test]
fn a_log_tells_what_was_normalized_and_no_names() {
    let desk = Desk::new();
    let created = desk.json(&["tenant", "create", "acme"]);
    let secret = created["secretToken"].as_str().unwrap();
    let mut server = Server::start(&desk, &[]);
    let user = r#"{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "bjensen@example.com",
        "active": "False", "badge, colour": "red"}"#;
    let answer = server.ask("POST /scim/acme/Users", secret, user);
    let notes = "scimgate-normalized: unknown-attribute badge%2C%20colour, boolean-string active\r\n";
    assert!(answer.contains(notes), "{answer}");
    server.ask(
        "GET /scim/acme/Users?filter=userName+eq+%22bjensen@example.com%22",
        secret,
        "",
    );

    let mut log = Vec::<Value>::new();
    while log.iter().filter(|line| line["target"] == "scimgate::request").count() < 2 {
        let mut line = String::new();
        assert!(server.log.read_line(&mut line).unwrap() > 0, "the server ended");
        assert!(!line.contains("bjensen") && !line.contains("red\""), "{line}");
        // The greeting goes on for a line that is for people.
        if line.starts_with('{') {
            log.push(serde_json::from_str(&line).unwrap());
        }
    }
    let (requests, log): (Vec<_>, Vec<_>) = log.into_iter().partition(|line| line["target"] == "scimgate::request");
    assert!(
        requests.iter().all(|line| line["ids"] == "user-agent=tests/1"),
        "{requests:?}"
    );
    let log: Vec<_> = log
        .into_iter()
        .filter(|line| line["target"] == "scimgate::normalized")
        .collect();
    let field = |name: &str| {
        log.iter()
            .map(|record| record[name].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(field("quirk"), ["unknown-attribute", "boolean-string"]);
    assert_eq!(field("path"), ["badge, colour", "active"]);
    assert_eq!(field("tenant"), ["acme", "acme"]);
    let references = field("reference");
    assert!(
        references[0].starts_with("Reference ") && references[0] == references[1],
        "{references:?}"
    );
}

/// As `scimgate tenant list | head` does.
#[test]
fn who_has_read_enough_is_no_failure() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let mut command = desk.command(&["tenant", "list"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// What the operator could not be shown must not stay valid unnoticed.
#[test]
fn a_secret_that_cant_be_shown_is_said_to_be_lost() {
    let desk = Desk::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = desk
        .command(&["tenant", "create", "acme"])
        .stdout(full)
        .output()
        .unwrap();
    check_failure(&output, 1, "scimgate token revoke acme ");
}

/// Every later start would otherwise fail, and the Functions host gives up at the third.
#[test]
fn a_bootstrap_tenant_may_be_renamed_and_removed() {
    let desk = Desk::new();
    drop(Server::start(&desk, &BOOTSTRAP));
    desk.json(&["tenant", "rename", "acme", "globex"]);
    assert_eq!(
        Server::start(&desk, &BOOTSTRAP).status("globex", "a-secret-from-elsewhere"),
        200
    );
    desk.json(&["tenant", "delete", "globex", "--yes", "--no-wait"]);
    assert_eq!(
        Server::start(&desk, &BOOTSTRAP).status("globex", "a-secret-from-elsewhere"),
        401
    );
}

#[test]
fn first_starts_at_once_make_one_tenant() {
    let desk = Desk::new();
    let desk = &desk;
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| Server::start(desk, &[]))).collect();
        let servers: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        assert_eq!(
            servers.iter().filter(|server| server.greeting.contains("sg_")).count(),
            1
        );
    });
    assert_eq!(desk.json(&["tenant", "list"]).as_array().unwrap().len(), 1);
}

/// The reference of all settings is `--help`.
#[test]
fn help_names_every_setting() {
    let desk = Desk::new();
    let help = text(&desk.run(&["--help"]).stdout);
    let settings = [
        "STORE",
        "TABLES_CONNECTION",
        "TABLES_ENDPOINT",
        "TABLE",
        "PUBLIC_URL",
        "PORT",
        "ADDRESS",
        "BASE_PATHS",
        "TRUST_PROXY",
        "SUPPORT",
        "DEADLINE",
        "RETENTION_DAYS",
        "HISTORY_DAYS",
        "BOOTSTRAP_TENANT",
        "BOOTSTRAP_TOKEN",
    ];
    for setting in settings {
        assert!(help.contains(&format!("SCIMGATE_{setting}")), "{setting}: {help}");
    }
}

/// A page of settings would hide what the command itself can do; they work all the same.
#[test]
fn help_of_a_command_names_where_the_settings_are() {
    let desk = Desk::new();
    let help = |words: &[&str]| text(&desk.run(words).stdout);
    let settings = "SCIMGATE_TENANT_RATE";
    assert!(help(&["serve", "--help"]).contains(settings));
    for (command, is_told) in [
        (&["tenant", "create"][..], true),
        (&["history"], true),
        (&["explain"], false),
    ] {
        let help = help(&[command, &["--help"]].concat());
        assert!(!help.contains(settings), "{help}");
        assert_eq!(help.contains("'scimgate --help'"), is_told, "{help}");
    }
    desk.json(&["tenant", "create", "acme", "--store", "sqlite:other.db"]);
    assert_eq!(
        desk.json(&["--store", "sqlite:other.db", "tenant", "list"])[0]["name"],
        "acme"
    );
}

/// Of each of two ways, when neither was said.
#[test]
fn usage_names_each_way() {
    let desk = Desk::new();
    for (words, usage) in [
        (&["export"][..], "scimgate export <TENANT|--all>"),
        (&["purge"], "scimgate purge <TENANT|--all>"),
        (
            &["load", "backup.jsonl"],
            "scimgate load <--tenant <NAME>|--all> <FILE>",
        ),
        (&["tenant", "pause"], "scimgate tenant pause <NAME|--all>"),
        (
            &["history"],
            "scimgate history [OPTIONS] <TENANT> <NAME>\n       scimgate history [OPTIONS] <TENANT>\n       scimgate history [OPTIONS] --all",
        ),
    ] {
        desk.fails(words, 2, &format!("Usage: {usage}\n"));
    }
}

/// As it is counted: one row, and more.
#[test]
fn one_is_told_of_in_the_singular() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let output = piped(
        &desk,
        &["import", "acme", "-"],
        b"{\"userName\":\"a\"}\n{\"displayName\":\"b\"}",
    );
    assert!(output.status.success());
    let backup = desk.run(&["export", "acme", "--output", "backup.jsonl"]);
    assert!(
        text(&backup.stderr).starts_with("1 tenant, "),
        "{}",
        text(&backup.stderr)
    );
    let other = ["load", "backup.jsonl", "--all", "--store", "sqlite:other.db"];
    let loaded = text(&desk.run(&other).stdout);
    assert!(loaded.contains("is back: 1 user, 1 group, 0 memberships."), "{loaded}");
}

const BADGE: &str = "urn:example:2.0:Badge";

fn badge(attributes: Value) -> Value {
    let mut document = json!({ "id": BADGE, "name": "Badge" });
    document["attributes"] = attributes;
    document
}

impl Desk {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Announces an extension of tenant acme as it was done this long ago.
    fn announced(&self, ago: time::Duration, document: Value) -> time::OffsetDateTime {
        let store = SqliteStore::open(&self.folder.path().join("scimgate.db")).unwrap();
        let tenants = Tenants::new(Arc::new(store), Arc::new(Skewed(Arc::new(System), -ago)));
        let new = NewExtension {
            document,
            ..NewExtension::default()
        };
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let schemas = tenants.schemas("acme", deadline).await.unwrap();
            let change = schemas.set(&new).unwrap();
            tenants.announce(&change, "test", deadline).await.unwrap()
        })
    }
}

/// R-SCHEMA-04.
#[test]
fn an_extension_is_announced_and_listed() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let document = badge(json!([{ "name": "serial", "caseExact": true }, { "name": "level", "type": "integer" }]));
    desk.write("badge.json", &document.to_string());
    let dry = desk.json(&["schema", "set", "acme", "badge.json", "--dry-run"]);
    assert_eq!((&dry["changed"], &dry["dryRun"]), (&json!(false), &json!(true)));
    assert_eq!(desk.json(&["schema", "list", "acme"])["coming"], Value::Null);
    let set = ["schema", "set", "acme", "badge.json", "--no-wait"];
    let first = desk.json(&set);
    assert_eq!(
        (&first["urn"], &first["changed"], &first["inForce"]),
        (&json!(BADGE), &json!(true), &json!(false))
    );
    assert_eq!(
        desk.json(&set)["inForceFrom"],
        first["inForceFrom"],
        "the same again is the same change"
    );
    let listed = desk.json(&["schema", "list", "acme"]);
    assert_eq!(
        (&listed["extensions"], &listed["coming"]["urn"]),
        (&json!([]), &json!(BADGE))
    );
    let shown: Value = serde_json::from_slice(&desk.run(&["schema", "show", "acme", BADGE]).stdout).unwrap();
    assert_eq!(shown["attributes"][1]["type"], "integer");
    // What is shown can be set.
    desk.write("again.json", &shown.to_string());
    assert_eq!(
        desk.json(&["schema", "set", "acme", "again.json", "--no-wait"])["inForceFrom"],
        first["inForceFrom"]
    );
    desk.write("other.json", &badge(json!([{ "name": "other" }])).to_string());
    desk.fails(
        &["schema", "set", "acme", "other.json", "--no-wait"],
        1,
        "another change of this tenant's schemas is announced",
    );
}

/// Whoever was interrupted runs the command again: it returns when every instance follows, and no sooner.
#[test]
fn set_returns_when_every_instance_follows() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let document = badge(json!([{ "name": "serial" }]));
    desk.write("badge.json", &document.to_string());
    let from = desk.announced(time::Duration::seconds(94), document);
    let set = desk.json(&["schema", "set", "acme", "badge.json"]);
    assert!(System.now() >= from + CLOCKS);
    assert_eq!(set["inForce"], true);
    assert_eq!(desk.json(&["schema", "set", "acme", "badge.json"])["changed"], false);
}

#[test]
fn data_is_not_made_invalid_by_a_slip() {
    let desk = Desk::new();
    let made = desk.json(&["tenant", "create", "acme"]);
    let token = made["secretToken"].as_str().unwrap();
    desk.announced(
        time::Duration::minutes(10),
        badge(json!([{ "name": "serial" }, { "name": "level" }])),
    );
    let server = Server::start(&desk, &[]);
    let user = |name: &str, values: Value| json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "department2": "Tour", BADGE: values });
    for (name, values) in [
        ("a", json!({ "serial": "17", "level": "3" })),
        ("b", json!({ "level": "4" })),
        ("c", json!({})),
    ] {
        let answer = server.create("acme", token, &user(name, values));
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    desk.fails(
        &["schema", "remove", "acme", BADGE],
        1,
        "2 of 3 resources would not fit any more (urn:example:2.0:Badge:level has a value, and would be gone in 2; \
         urn:example:2.0:Badge:serial has a value, and would be gone in 1)",
    );
    desk.write(
        "badge.json",
        &badge(json!([{ "name": "serial" }, { "name": "level", "type": "integer" }])).to_string(),
    );
    let dry = desk.json(&["schema", "set", "acme", "badge.json", "--dry-run"]);
    assert_eq!(
        (&dry["survey"]["resources"], &dry["survey"]["misfits"]),
        (&json!(3), &json!(2))
    );
    let reason =
        json!({ "attribute": format!("{BADGE}:level"), "reason": "has a value of another type", "resources": 2 });
    assert_eq!(dry["survey"]["reasons"], json!([reason]));
    desk.fails(&["schema", "set", "acme", "badge.json"], 1, "--despite-data");
    desk.write(
        "required.json",
        &badge(json!([{ "name": "serial", "required": true }, { "name": "level" }])).to_string(),
    );
    desk.fails(
        &["schema", "set", "acme", "required.json", "--allow-required"],
        1,
        "1 of 3 resources would not fit any more (urn:example:2.0:Badge:serial has no value, and would be required in 1)",
    );
    let forced = desk.json(&["schema", "set", "acme", "badge.json", "--despite-data", "--no-wait"]);
    assert_eq!(
        (&forced["changed"], &forced["survey"]["misfits"]),
        (&json!(true), &json!(2))
    );
    let dropped = desk.json(&["schema", "list", "acme"])["dropped"].clone();
    assert_eq!(dropped[0]["name"], "department2", "{dropped}");
}

#[test]
fn a_schema_that_cannot_be_is_refused_at_its_position() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let part = |part: Value| badge(json!([{ "name": "a", "type": "complex", "subAttributes": [part] }])).to_string();
    let simple = badge(json!([{ "name": "a" }])).to_string();
    for (text, says) in [
        ("{", "line 1, column 1"),
        ("{\"id\": 1, \"id\": 2}", "id appears twice"),
        (
            &part(json!({ "name": "b", "type": "strng" })),
            "attributes[0].subAttributes[0].type: 'strng' is none of",
        ),
        (
            &part(json!({ "name": "b", "type": "complex" })),
            "attributes[0].subAttributes[0].type: a sub-attribute cannot",
        ),
        (
            &badge(json!([{ "name": "a" }, { "name": "A" }])).to_string(),
            "attributes[1].name: 'A' is the name of attributes[0]",
        ),
        (
            &badge(json!([{ "name": "a", "required": true }])).to_string(),
            "say --allow-required",
        ),
        (
            &badge(json!([{ "name": "a", "uniqueness": "server" }])).to_string(),
            "only userName is kept unique",
        ),
        (
            &simple.replace(BADGE, "urn:ietf:params:scim:schemas:core:2.0:User"),
            "id: belongs to RFC 7643",
        ),
    ] {
        desk.write("badge.json", text);
        desk.fails(&["schema", "set", "acme", "badge.json", "--no-wait"], 1, says);
    }
    desk.write("badge.json", &simple);
    for (words, says) in [
        (
            vec!["schema", "set", "nobody", "badge.json"],
            "there is no tenant 'nobody'",
        ),
        (
            vec!["schema", "set", "acme", "nowhere.json"],
            "nowhere.json can't be used: No such file",
        ),
        (
            vec!["schema", "set", "acme", "badge.json", "--resource-type", "Printer"],
            "there is no resource type 'Printer'",
        ),
        (
            vec!["schema", "remove", "acme", BADGE],
            "has no extension urn:example:2.0:Badge",
        ),
        (
            vec!["schema", "show", "acme", BADGE],
            "has no extension urn:example:2.0:Badge",
        ),
        (vec!["schema", "list", "nobody"], "there is no tenant 'nobody'"),
    ] {
        desk.fails(&words, 1, says);
    }
}

/// A store is looked at and mended beside a running server; what is told has no personal data in it.
#[tokio::test]
async fn a_damaged_tenant_is_found_and_mended_beside_a_running_server() {
    use scimgate::store::{Change, Store, sqlite::SqliteStore};

    let desk = Desk::new();
    let server = Server::start(&desk, &[]);
    let line = server.greeting.split("Try it:").nth(1).unwrap().trim();
    assert!(
        Command::new("sh")
            .arg("-c")
            .arg(line)
            .output()
            .unwrap()
            .status
            .success()
    );
    let sound = desk.json(&["check", "demo"]);
    assert_eq!((&sound["sound"], &sound["users"]), (&true.into(), &1.into()));
    let said = text(&desk.run(&["check", "DEMO"]).stdout);
    assert!(said.contains("Tenant 'demo' is sound ("), "{said}");

    let partition = desk.json(&["tenant", "show", "demo"])["partition"]
        .as_str()
        .unwrap()
        .to_owned();
    let store = SqliteStore::open(&desk.folder.path().join("scimgate.db")).unwrap();
    let rows = store.scan(&partition, "n~", "n~~", 10).await.unwrap().rows;
    let key = rows[0].key.clone();
    store
        .commit(&partition, &[Change::Delete(key.clone(), None)])
        .await
        .unwrap();

    for (words, code) in [(&["check", "demo"][..], 1), (&["repair", "demo", "--dry-run"], 1)] {
        let said = desk.run(words);
        assert_eq!(said.status.code(), Some(code));
        let said = text(&said.stdout);
        for part in ["not sound", "index-missing", &key, "writes the index row"] {
            assert!(said.contains(part), "{words:?}: {part}: {said}");
        }
        assert_eq!(said.contains(&format!("insert {key}")), words.len() == 3, "{said}");
        assert!(!said.contains("bjensen"), "{said}");
    }
    let found = desk.run(&["check", "demo", "--json"]);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["findings"][0]["kind"], "index-missing");
    assert_eq!(found["findings"][0]["examples"][0]["key"], key.as_str());

    let mended = desk.json(&["repair", "demo"]);
    assert_eq!(mended["mended"][0]["kind"], "index-missing");
    assert_eq!(mended["sound"], true);
    assert_eq!(desk.json(&["check", "demo"])["sound"], true);
    assert_eq!(store.scan(&partition, "n~", "n~~", 10).await.unwrap().rows[0].key, key);
    desk.fails(&["check", "nobody"], 1, "there is no tenant 'nobody'");
    desk.fails(&["repair", "nobody"], 1, "there is no tenant 'nobody'");
}

/// A fixture of a provisioning log.
fn provisioning(name: &str) -> String {
    format!("{}/tests/fixtures/provisioning/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn piped(desk: &Desk, words: &[&str], input: &[u8]) -> Output {
    let mut child = desk.command(words);
    child
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Neither a store nor a setting is needed, and none is made.
#[test]
fn an_error_is_explained_wherever_it_comes_from() {
    let desk = Desk::new();
    let error = "502 bad gateway: upstream connect error or disconnect/reset before headers. retried and the latest reset \
                 reason: protocol error";
    let explained = desk.json(&["explain", error, "--tenant", "acme", "--at", "2026-11-22T10:42:07Z"]);
    assert_eq!(explained["cause"], "envoy-protocol-error");
    assert_eq!(explained["status"], 502);
    assert_eq!(explained["customer"].as_array().unwrap().len(), 3);
    let query = explained["queries"][0]["query"].as_str().unwrap();
    assert!(
        query.contains("\"acme\"") && query.contains("datetime(2026-11-22T10:40:07Z)"),
        "{query}"
    );
    let unquoted: Vec<&str> = ["explain"].into_iter().chain(error.split(' ')).collect();
    assert_eq!(desk.json(&unquoted)["cause"], "envoy-protocol-error");
    for words in [&["explain"][..], &["explain", "-"]] {
        let output = piped(&desk, words, format!("{error}\n").as_bytes());
        let said = text(&output.stdout);
        assert!(
            output.status.success() && said.contains("a proxy: Envoy (envoy-protocol-error, status 502)"),
            "{said}"
        );
        // docs/502.md sends people to these.
        for number in ["03", "05", "12"] {
            assert!(said.contains(&format!("\n// {number} ")), "{number}: {said}");
        }
    }
    assert_eq!(desk.folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn an_error_of_ours_is_explained_with_what_it_refers_to() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let server = Server::start(&desk, &[]);
    let answer = server.create("acme", "wrong", &json!({}));
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let wrapped = format!(
        "StatusCode: Unauthorized Message: Processing of the HTTP request resulted in an exception. Web Response: {body}. \
         This operation was retried 0 times."
    );
    let explained = desk.json(&["explain", &wrapped]);
    assert_eq!(explained["cause"], "scimgate");
    assert_eq!(explained["rule"], "unauthorized");
    let reference = explained["reference"].as_str().unwrap();
    assert!(body.contains(reference));
    let query = explained["queries"][0]["query"].as_str().unwrap();
    assert!(query.starts_with("// 15 ") && query.contains(reference), "{query}");
    let advice = explained["advice"].as_str().unwrap();
    assert_eq!(explained["customer"][2], advice);
    let sentence: Value = serde_json::from_str(body).unwrap();
    let alone = desk.json(&["explain", sentence["detail"].as_str().unwrap()]);
    assert_eq!(
        (&alone["rule"], &alone["advice"]),
        (&json!("unauthorized"), &json!(advice))
    );
}

#[test]
fn a_row_of_a_log_is_explained_like_its_text() {
    let desk = Desk::new();
    let log: Value = serde_json::from_slice(&std::fs::read(provisioning("failing.json")).unwrap()).unwrap();
    // A create that was refused as taken: what Entra did is in the row.
    let output = piped(&desk, &["explain", "--json"], log[7].to_string().as_bytes());
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["cause"], "conflict-on-create");
    let query = explained["queries"][0]["query"].as_str().unwrap();
    assert!(query.contains("datetime(2026-11-22T10:40:11Z)"), "{query}");
}

#[test]
fn a_provisioning_log_is_counted_and_names_nobody() {
    let desk = Desk::new();
    let steps = provisioning("ProvisioningLogs_ProvisioningSteps.csv");
    let csv = provisioning("ProvisioningLogs.csv");
    for words in [
        &["explain", "--log", &provisioning("failing.json")][..],
        &["explain", "--log", &provisioning("graph.json")],
        &["explain", "--log", &provisioning("AADProvisioningLogs.csv")],
        &["explain", "--log", &csv, "--log", &steps],
    ] {
        let counted = &desk.json(words)["logs"][0];
        assert_eq!(
            (&counted["rows"], &counted["failed"]),
            (&json!(15), &json!(9)),
            "{words:?}"
        );
        assert_eq!(counted["causes"][0]["cause"], "envoy-protocol-error");
        assert_eq!(counted["causes"][0]["rows"], 4);
        assert_eq!(counted["notReached"]["never"], 1);
        let said = text(&desk.run(words).stdout);
        assert!(
            said.contains("\"GET\"") && said.contains("502 envoy-protocol-error, retried"),
            "{said}"
        );
        // Who wrote what when, what to send, and the whole query.
        for part in [
            "OTHERS  WRITTEN BY\n",
            "  a proxy: Envoy 5; the Azure Functions host 1; scimgate 1; ",
            "\nCustomer      (what",
            "\n// 04 which rows",
            "| order by at asc",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let ours = counted["causes"].as_array().unwrap();
        let ours = ours
            .iter()
            .find(|cause| cause["cause"] == "scimgate required-missing")
            .unwrap();
        assert!(
            ours["advice"].is_string() && ours["customer"][2] == ours["advice"],
            "{ours}"
        );
        assert!(
            !said.contains("jensen") && !counted.to_string().contains("jensen"),
            "{said}"
        );
    }
}

#[test]
fn a_failing_log_is_compared_with_a_healthy_one() {
    let desk = Desk::new();
    let (failing, healthy) = (provisioning("failing.json"), provisioning("healthy.json"));
    for words in [
        ["explain", "--log", &failing, "--log", &healthy],
        ["explain", "--log", &failing, "--healthy", &healthy],
    ] {
        let compared = desk.json(&words);
        assert_eq!(compared["logs"].as_array().unwrap().len(), 2);
        let failed = compared["comparison"].as_array().unwrap();
        let failed = failed
            .iter()
            .find(|measure| measure["measure"] == "failed rows, %")
            .unwrap();
        assert_eq!(failed["failing"], 60.0);
        assert!(text(&desk.run(&words).stdout).contains("FAILING  HEALTHY"));
    }
}

/// Whoever exported the wrong hour should notice.
#[test]
fn a_log_without_rows_is_told_as_such_and_what_a_query_lacks_too() {
    let desk = Desk::new();
    let output = piped(&desk, &["explain", "--log", "-"], b"[]");
    assert_eq!(
        text(&output.stdout),
        "-: There is no row in it: nothing happened in that time, or the export's filter let nothing through.\n"
    );
    let filled = [
        (&[][..], "by --tenant <NAME> and --at <TIME>."),
        (&["--tenant", "acme"], "by --at <TIME>."),
    ];
    let envoy = "upstream connect error or disconnect/reset before headers. reset reason: protocol error";
    for (flags, hint) in filled {
        let said = text(&desk.run(&[&["explain", envoy], flags].concat()).stdout);
        assert!(
            said.contains(&format!("\nWhat stands in braces is filled in {hint}\n")),
            "{said}"
        );
    }
    let all = desk.run(&["explain", envoy, "--tenant", "acme", "--at", "2026-11-22T10:42:07Z"]);
    assert!(!text(&all.stdout).contains("in braces"));
}

#[test]
fn what_cannot_be_explained_is_told_in_one_line() {
    let desk = Desk::new();
    let cut_off = provisioning("cut_off.json");
    desk.fails(
        &["explain", "--log", &cut_off],
        1,
        "cut_off.json: its JSON is broken behind 7 complete rows",
    );
    desk.fails(&["explain", "--log", "nowhere.json"], 1, "nowhere.json can't be opened");
    desk.fails(
        &[
            "explain",
            "--log",
            &provisioning("ProvisioningLogs_ProvisioningSteps.csv"),
        ],
        1,
        "ProvisioningLogs.csv",
    );
    desk.fails(
        &["explain", "--log", "a", "--log", "b", "--log", "c"],
        1,
        "a can't be opened",
    );
    desk.fails(&["explain", ""], 1, "nothing to explain");
    desk.fails(&["explain", "text", "--log", &cut_off], 2, "cannot be used with");
    desk.fails(&["explain", "502", "--at", "soon"], 2, "a time looks like");
}

#[test]
fn doctor_refuses_to_write_unasked_and_says_what_it_could_not_do() {
    let desk = Desk::new();
    let url = "http://127.0.0.1:1/scim/acme";
    desk.fails(&["doctor", url], 2, "--write");
    desk.fails(
        &["doctor", "example.com/scim", "--read-only"],
        2,
        "the Tenant URL is no URL",
    );
    desk.fails(&["doctor", url, "--read-only", "--ca", "missing.pem"], 2, "missing.pem");
    let output = desk.run(&["doctor", url, "--read-only", "--quick", "--json"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["id"], "no-connection");
}

#[test]
fn doctor_goes_through_the_proxy_that_the_environment_names() {
    let desk = Desk::new();
    let url = "https://127.0.0.1:1/scim/acme";
    let seen = |variables: &[(&str, &str)]| {
        let mut command = desk.command(&["doctor", url, "--read-only", "--quick", "--json"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(!text(&output.stdout).contains("secret"), "{}", text(&output.stdout));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        report["findings"][0]["seen"].as_str().unwrap_or_default().to_owned() + &text(&output.stderr)
    };
    let through = "127.0.0.1:1 through the proxy 127.0.0.1:2: ";
    let named = ("HTTPS_PROXY", "http://bjensen:secret@127.0.0.1:2");
    let said = seen(&[named]);
    assert!(said.contains(through), "{said}");
    let said = seen(&[named, ("NO_PROXY", "127.0.0.0/8")]);
    assert!(!said.contains("proxy"), "{said}");
    let said = seen(&[("HTTPS_PROXY", "socks5://127.0.0.1:2")]);
    assert!(said.contains("set NO_PROXY=127.0.0.1"), "{said}");
}

/// The exit code is 0 where nothing is wrong, and 1 where something is: here the token.
#[test]
fn doctor_reads_its_token_from_standard_input_and_tells_by_its_exit_code() {
    let desk = Desk::new();
    let made = desk.json(&["tenant", "create", "acme"]);
    let secret = made["secretToken"].as_str().unwrap().to_owned();
    let server = Server::start(&desk, &[]);
    let url = format!("http://127.0.0.1:{}/scim/acme", server.port);
    for (token, code, id) in [
        (secret.as_str(), 0, "plain-http"),
        ("a-wrong-one", 1, "credential-refused"),
    ] {
        let mut command = desk.command(&["doctor", &url, "--read-only", "--quick", "--json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{token}").unwrap();
        let output = child.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{report:#}");
        assert_eq!(report["findings"][0]["id"], id);
        assert!(!text(&output.stdout).contains(token), "a report never shows the token");
    }
}

/// Most of an endpoint is not seen without a token: that nothing is wrong with it would be untrue.
#[test]
fn doctor_without_a_token_says_how_little_it_saw() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let server = Server::start(&desk, &[]);
    let url = format!("http://127.0.0.1:{}/scim/acme", server.port);
    let output = desk.run(&["doctor", &url, "--read-only", "--quick"]);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("Only what can be seen without a token was looked at."),
        "{said}"
    );
    assert!(!said.contains("Nothing is wrong"), "{said}");
    assert_eq!(
        told,
        "This takes some seconds; an interrupt (Ctrl-C) ends it with the report.\n"
    );
}

/// The four answers, for who has a name and nothing else. What was refused is written when the server ends, at the latest.
#[test]
fn one_users_story_is_told_and_names_nobody() {
    let desk = Desk::new();
    let made = desk.json(&["tenant", "create", "acme", "--label", "Entra"]);
    let token = made["secretToken"].as_str().unwrap();
    let mut server = Server::start(&desk, &[("SCIMGATE_DRAIN", "0")]);
    let user = |name: &str, active: &str| {
        let urn = "urn:ietf:params:scim:schemas:core:2.0:User";
        json!({ "schemas": [urn], "userName": name, "displayName": "Babs", "active": active })
    };
    let reference = |answer: &str| {
        let behind = answer.split_once("x-request-id: ").unwrap().1;
        behind.split_once("\r\n").unwrap().0.to_owned()
    };
    let done = server.create("acme", token, &user("bjensen@example.com", "true"));
    let refused = server.create("acme", token, &user("jsmith@example.com", "perhaps"));
    let bulk = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [{ "method": "POST", "path": "/Users", "bulkId": "a", "data": user("user2@example.com", "perhaps") }],
    });
    let bulk = server.ask("POST /scim/acme/Bulk", token, &bulk.to_string());
    let gone = server.create("acme", token, &user("user1@example.com", "true"));
    let gone: Value = serde_json::from_str(gone.split_once("\r\n\r\n").unwrap().1).unwrap();
    let id = gone["id"].as_str().unwrap();
    let undone = server.ask(&format!("DELETE /scim/acme/Users/{id}"), token, "");
    server.signal("TERM");
    server.child.wait().unwrap();

    for (name, answer, reference) in [
        ("nobody@example.com", "never-sent", String::new()),
        ("JSmith@example.com", "refused", reference(&refused)),
        ("user2@example.com", "refused", reference(&bulk)),
        ("user1@example.com", "done-and-undone", reference(&undone)),
        (id, "done-and-undone", reference(&undone)),
        ("bjensen@example.com", "done", reference(&done)),
    ] {
        let told = desk.json(&["history", "acme", name]);
        assert_eq!(told["answer"], answer, "{name}: {told}");
        let said = text(&desk.run(&["history", "acme", name]).stdout);
        let head = answer.replace('-', " ").to_uppercase();
        assert!(said.contains(&head) && said.contains(&reference), "{said}");
        for said in [said.replacen(name, "", 1), told.to_string()] {
            assert!(
                !said.contains("@example.com") && !said.contains("Babs"),
                "{name}: {said}"
            );
        }
    }
    let told = desk.json(&["history", "acme", id, "--names"]);
    assert_eq!(told["accounts"][0]["name"], "user1@example.com");
    // What a pause refuses is in no log, and nobody is told that it was not sent without a word of that.
    desk.json(&["tenant", "pause", "acme", "--no-wait"]);
    let mut server = Server::start(&desk, &[("SCIMGATE_DRAIN", "0")]);
    let paused = server.create("acme", token, &user("paused@example.com", "true"));
    assert!(paused.starts_with("HTTP/1.1 503"), "{paused}");
    server.signal("TERM");
    server.child.wait().unwrap();
    let said = text(&desk.run(&["history", "acme", "paused@example.com"]).stdout);
    for part in [
        "NEVER SENT",
        "If the query below finds nothing either",
        "answered 429 or 5xx (a paused tenant",
        "while the tenant is paused is answered 503: 20",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

/// The auditor's export, with what operators did.
#[test]
fn a_log_is_exported_line_by_line() {
    let desk = Desk::new();
    let made = desk.json(&["tenant", "create", "acme"]);
    let (token, id) = (
        made["secretToken"].as_str().unwrap(),
        made["token"]["id"].as_str().unwrap(),
    );
    let mut server = Server::start(&desk, &[("SCIMGATE_DRAIN", "0")]);
    let user = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "bjensen@example.com" });
    for _ in 0..3 {
        server.create("acme", token, &user);
    }
    server.signal("TERM");
    server.child.wait().unwrap();
    desk.json(&["token", "revoke", "acme", id]);
    let mut server = Server::start(&desk, &[("SCIMGATE_DRAIN", "0")]);
    assert_eq!(server.status("acme", token), 401);
    server.signal("TERM");
    server.child.wait().unwrap();
    desk.json(&["tenant", "create", "other"]);
    desk.json(&["tenant", "rename", "acme", "acme2"]);

    let events = |words: &[&str]| {
        let output = text(&desk.run(words).stdout);
        let events: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!output.contains("bjensen") && !output.contains("sg_"), "{output}");
        let kind = |event: &Value| {
            (
                event["kind"].as_str().unwrap().to_owned(),
                event["refused"]["count"].as_u64(),
            )
        };
        events.iter().map(kind).collect::<Vec<_>>()
    };
    let event = |kind: &str| (kind.to_owned(), None);
    let refused = |count| ("refuse".to_owned(), Some(count));
    let expected = [
        event("tenant-create"),
        event("create"),
        refused(2),
        event("token-revoke"),
        // The revoked token was used.
        refused(1),
        event("tenant-rename"),
    ];
    assert_eq!(events(&["history", "acme2", "--all", "--json"]), expected);
    let expected = [
        event("tenant-create"),
        event("token-revoke"),
        event("tenant-create"),
        event("tenant-rename"),
        event("create"),
        refused(2),
        refused(1),
    ];
    assert_eq!(events(&["history", "--all", "--since", "1h", "--json"]), expected);
    assert_eq!(
        events(&["history", "acme2", "--all", "--since", "2099-01-01", "--json"]),
        []
    );
    assert_eq!(
        events(&["history", "acme2", "--json"]),
        events(&["history", "acme2", "--all", "--json"])
    );
    desk.fails(&["history", "acme2", "--names"], 2, "<NAME>");
    desk.fails(&["history", "acme2", "--all", "--since", "yesterday"], 2, "24h");
    desk.fails(&["history", "acme", "--all"], 1, "no tenant 'acme'");
}

#[test]
fn each_line_of_all_logs_names_its_tenant() {
    let desk = Desk::new();
    for tenant in ["acme", "other"] {
        desk.json(&["tenant", "create", tenant]);
    }
    piped(&desk, &["import", "other", "-"], b"{\"userName\":\"a\"}");
    let begins = |words: &[&str]| {
        let output = text(&desk.run(words).stdout);
        let begin = |line: &str| {
            let what = line.split_once("  ").unwrap().1;
            what.split(' ').take(2).collect::<Vec<_>>().join(" ")
        };
        output.lines().map(begin).collect::<Vec<_>>()
    };
    let all = ["acme: tenant-create", "other: tenant-create", "other: import"];
    assert_eq!(begins(&["history", "--all"]), all);
    assert_eq!(
        begins(&["history", "other", "--all"]),
        ["tenant-create Tenant", "import User"]
    );
    // The log outlasts the name.
    desk.json(&["tenant", "delete", "acme", "--yes", "--no-wait"]);
    assert_eq!(begins(&["history", "--all"]).len(), 4);
}

#[test]
fn who_follows_a_log_ends_with_an_interrupt() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let mut command = desk.command(&["history", "acme", "--all", "--follow"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("Following"), "{line}");
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A file of so many users, behind a group of all of them.
fn users_of_another_service(count: usize) -> String {
    let members: Vec<Value> = (0..count)
        .map(|number| json!({ "value": number.to_string() }))
        .collect();
    let group = json!({ "id": "everyone", "displayName": "Everyone", "members": members });
    let user = |number: usize| {
        let name = format!("user{number}@example.com");
        format!(
            "{}\n",
            json!({ "id": number.to_string(), "userName": name, "meta": { "created": "2020-01-02T03:04:05Z" } })
        )
    };
    format!("{group}\n{}", (0..count).map(user).collect::<String>())
}

/// By the ids that an identity provider has remembered, without a change at its end.
#[test]
fn what_is_imported_is_served() {
    let desk = Desk::new();
    let secret = desk.json(&["tenant", "create", "acme"])["secretToken"].clone();
    let file = desk.folder.path().join("users.jsonl");
    let user = json!({ "id": "a@b.c", "userName": "BJensen@example.com", "externalId": "e" });
    std::fs::write(&file, format!("{}{user}\n", users_of_another_service(40))).unwrap();
    let import = ["import", "acme", "users.jsonl"];
    let planned = desk.json(&[&import[..], &["--dry-run"]].concat());
    assert_eq!(
        (&planned["end"], &planned["users"]["made"]),
        (&json!("planned"), &json!(41))
    );
    let server = Server::start(&desk, &[]);
    let send = |request: &str, body: &str| -> Value {
        let answer = server.ask(request, secret.as_str().unwrap(), body);
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    assert_eq!(send("GET /scim/acme/Users", "")["totalResults"], 0);
    let done = desk.json(&import);
    assert_eq!(
        (&done["end"], &done["memberships"]["made"]),
        (&json!("done"), &json!(40))
    );
    assert_eq!(desk.json(&import)["users"], json!({ "made": 0, "unchanged": 41 }));

    assert_eq!(send("GET /scim/acme/Users?count=0", "")["totalResults"], 41);
    let one = send("GET /scim/acme/Users/7", "");
    assert_eq!(one["meta"]["created"], "2020-01-02T03:04:05.000Z");
    assert_eq!(one["groups"][0]["value"], "everyone");
    let found = send(
        "GET /scim/acme/Users?filter=userName%20eq%20%22bjensen@EXAMPLE.com%22",
        "",
    );
    assert_eq!(found["Resources"][0]["id"], "a@b.c");
    let patch = |path: &str, operation: &Value| {
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let body = json!({ "schemas": [schema], "Operations": [operation] }).to_string();
        send(&format!("PATCH /scim/acme{path}"), &body)
    };
    let patched = patch(
        "/Users/a@b.c",
        &json!({ "op": "replace", "path": "active", "value": false }),
    );
    assert_eq!(patched["active"], false);
    patch(
        "/Groups/everyone",
        &json!({ "op": "remove", "path": "members[value eq \"7\"]" }),
    );
    assert!(send("GET /scim/acme/Users/7", "").get("groups").is_none());
    let history = desk.json(&["history", "acme", "a@b.c"]);
    assert!(history.to_string().contains("\"import\""), "{history}");
    // What has changed since is told, and left alone.
    let again = desk.run(&import);
    let said = text(&again.stdout);
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(
        said.contains("line 1: it is there already, with another members"),
        "{said}"
    );
    assert!(
        said.contains("line 42: it is there already, with another active"),
        "{said}"
    );
    assert_eq!(desk.json(&["check", "acme"])["sound"], true);
}

#[test]
fn a_file_that_cannot_be_imported_is_told_line_by_line() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    desk.fails(&["import", "acme", "no.jsonl"], 1, "no.jsonl can't be read");
    desk.fails(&["import", "globex", "no.jsonl"], 1, "globex");
    let bad = "\u{FEFF}{\"userName\":\"a\"}\r\n\r\n{\"userName\":\"A\"}\r\n{\"userName\"";
    let output = piped(&desk, &["import", "acme", "-", "--json"], bad.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["end"], "refused");
    let kinds: Vec<_> = report["conflicts"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = kinds.iter().map(|one| (&one["line"], &one["kind"])).collect();
    let expected = [(1, "twice"), (3, "twice"), (4, "not-json")].map(|(line, kind)| (json!(line), json!(kind)));
    assert_eq!(kinds, expected.each_ref().map(|(line, kind)| (line, kind)));
    let output = piped(&desk, &["import", "acme", "-"], b"{\"userName\":\"a\"}");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_file_that_has_no_lines_is_told_what_to_do() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    let file = |text: &str| std::fs::write(desk.folder.path().join("users.json"), text).unwrap();
    let import = ["import", "acme", "users.json"];
    for (text, says) in [
        ("", "users.json: the file has no line"),
        (
            "{\n  \"Resources\": [{\"userName\": \"a\"}]\n}\n",
            "jq --compact-output '.Resources[]' FILE > LINES",
        ),
        ("[{\"userName\":\"a\"}]", "jq --compact-output '.[]' FILE > LINES"),
    ] {
        file(text);
        desk.fails(&import, 1, says);
    }
    // What it says to do does it.
    file("{\"userName\":\"a\",\"manager\":\"7\"}\n");
    let done = desk.json(&import);
    assert_eq!((&done["users"]["made"], &done["noticeCount"]), (&json!(1), &json!(1)));
    assert_eq!(done["notices"][0]["kind"], "unknown-manager");
    let again = desk.run(&import);
    assert_eq!(again.status.code(), Some(0), "a notice is no conflict");
    let said = text(&again.stdout);
    assert!(said.contains("line 1: its manager 7 is not in the tenant"), "{said}");
    assert!(said.contains("1 notice in 1 line"), "{said}");
}

/// What was imported is there, although nobody has read it.
#[test]
fn an_import_whose_report_finds_no_room_says_so() {
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    std::fs::write(desk.folder.path().join("users.jsonl"), users_of_another_service(3)).unwrap();
    let import = ["import", "acme", "users.jsonl"];
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = desk.command(&import).stdout(full).output().unwrap();
    check_failure(&output, 1, "the import has ended, but its report is lost");
    assert!(text(&output.stderr).contains("No space left on device"));
    assert_eq!(desk.json(&import)["users"], json!({ "made": 0, "unchanged": 3 }));
}

/// The store's file may not grow beyond a limit, as on a disk that is full: that is told while the import waits, and with the
/// line when it is stopped. With room again, the same command goes on.
#[test]
fn an_import_onto_a_full_disk_says_so_and_goes_on() {
    const USERS: usize = 3_000;
    let desk = Desk::new();
    desk.json(&["tenant", "create", "acme"]);
    std::fs::write(desk.folder.path().join("users.jsonl"), users_of_another_service(USERS)).unwrap();
    let import = ["import", "acme", "users.jsonl"];
    // Who ignores the signal is told by the call that wanted to write. In blocks of 512 bytes.
    let mut child = Command::new("/bin/sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_scimgate"),
        ])
        .args(import)
        .current_dir(desk.folder.path())
        .env_clear()
        // So long each step is tried.
        .env("SCIMGATE_DEADLINE", "3")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waits = said.by_ref().find(|line| line.contains("It waits, and tries again"));
    assert!(
        waits.as_ref().is_some_and(|line| line.contains("disk I/O error")),
        "{waits:?}"
    );
    signal(&child, "INT");
    let last = said.filter(|line| !line.is_empty()).last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{last}");
    for words in [
        "not everything is imported",
        "the same command goes on",
        ": line ",
        "disk I/O error",
    ] {
        assert!(last.contains(words), "{last}");
    }
    let again = desk.json(&import);
    let all = |of: &Value| of["made"].as_u64().unwrap() + of["unchanged"].as_u64().unwrap();
    assert_eq!(
        (all(&again["users"]), all(&again["memberships"])),
        (USERS as u64, USERS as u64)
    );
    assert!(
        again["users"]["unchanged"].as_u64().unwrap() > 0,
        "it came as far as there was room"
    );
    assert_eq!(again["conflictCount"], 0);
    let sound = desk.json(&["check", "acme"]);
    assert_eq!((&sound["sound"], &sound["memberships"]), (&json!(true), &json!(USERS)));
    assert_eq!(desk.json(&["tenant", "list"])[0]["users"], USERS);
}

/// Whatever ends it, the same command goes on.
#[test]
fn an_import_that_was_killed_or_interrupted_goes_on() {
    const USERS: usize = 6_000;
    for (how, code) in [("KILL", None), ("INT", Some(130)), ("KILL", None)] {
        let desk = Desk::new();
        desk.json(&["tenant", "create", "acme"]);
        std::fs::write(desk.folder.path().join("users.jsonl"), users_of_another_service(USERS)).unwrap();
        let written = || {
            let files = ["scimgate.db", "scimgate.db-wal"].map(|name| desk.folder.path().join(name));
            files
                .iter()
                .filter_map(|file| Some(file.metadata().ok()?.len()))
                .sum::<u64>()
        };
        let before = written();
        let mut command = desk.command(&["import", "acme", "users.jsonl"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while written() < before + 300_000 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        signal(&child, how);
        assert_eq!(child.wait().unwrap().code(), code, "it was too fast to be ended");
        let again = desk.json(&["import", "acme", "users.jsonl"]);
        let all = |of: &Value| of["made"].as_u64().unwrap() + of["unchanged"].as_u64().unwrap();
        assert_eq!(
            (all(&again["users"]), all(&again["memberships"])),
            (USERS as u64, USERS as u64),
            "{how}"
        );
        assert!(again["users"]["made"].as_u64().unwrap() > 0 || again["memberships"]["made"].as_u64().unwrap() > 0);
        let sound = desk.json(&["check", "acme"]);
        assert_eq!(
            (&sound["sound"], &sound["memberships"]),
            (&json!(true), &json!(USERS)),
            "{how}"
        );
        assert_eq!(desk.json(&["tenant", "list"])[0]["users"], USERS);
    }
}
