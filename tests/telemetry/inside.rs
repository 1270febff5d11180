//! What the executable's own stores never do: one that panics, and one that never answers, behind its own server.

use std::{
    env,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    panic,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use actix_web::rt::System as Actix;
use async_trait::async_trait;
use clap::Parser;
use scimgate::{
    ambient::System,
    app::{self, App},
    config::Settings,
    store::{Change, Error, Page, Row, Store, sqlite::SqliteStore},
    telemetry::{self, Setup},
};
use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Mode},
    service::{Answer, TENANT, TOKEN, send},
};

/// What no row, no line and no answer may have.
const SECRET: &str = "a-payload-that-quotes-the-client";
/// Set in a process in which every panic's message is told, as Rust does.
const LEAKS: &str = "SCIMGATE_TEST_LEAKS";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// Fails as it is told.
struct Failing {
    store: SqliteStore,
    how: Arc<Mutex<How>>,
}

/// Calls that hang, or hung.
static HUNG: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    NotAtAll,
    Panics,
    Hangs,
}

impl Failing {
    async fn check(&self) {
        let how = *self.how.lock().unwrap();
        assert!(how != How::Panics, "{SECRET}");
        if how == How::Hangs {
            HUNG.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for Failing {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        self.check().await;
        self.store.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        self.check().await;
        self.store.scan(partition, from, until, limit).await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        self.check().await;
        self.store.commit(partition, changes).await
    }
}

/// A server in this process.
fn serve(settings: Settings, how: &Arc<Mutex<How>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let store = Failing {
        store: SqliteStore::memory().unwrap(),
        how: Arc::clone(how),
    };
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        Actix::new().block_on(async {
            let app = App::new(settings, Arc::new(System));
            let service = app.over(Arc::new(store));
            app::bootstrap(&app, &service).await.unwrap();
            app.start(service);
            let server = app::run(&app, listener).unwrap();
            ready.send(()).unwrap();
            server.await.unwrap();
        });
    });
    is_ready.recv().unwrap();
    address
}

/// One process tells of itself once, so these are one test.
#[test]
fn what_goes_wrong_inside_has_rows() {
    let endpoint = Endpoint::start(Mode::Ok);
    let connection = endpoint.connection_string();
    let line = [
        "scimgate",
        "--store",
        "memory:",
        "--telemetry-connection",
        &connection,
        "--deadline",
        "2",
    ];
    let bootstrap = ["--bootstrap-tenant", TENANT, "--bootstrap-token", TOKEN];
    let settings = Line::parse_from(line.into_iter().chain(bootstrap)).settings;
    telemetry::start(Setup {
        requests: true,
        hosted: true,
        export: app::export(&settings),
    });
    show_panics_of_tests();
    let how = Arc::new(Mutex::new(How::NotAtAll));
    let address = serve(settings, &how);
    let user = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "u" }).to_string();
    assert_eq!(ask(address, "POST", "/scim/acme/Users", &user).status, 201);
    *how.lock().unwrap() = How::Panics;
    // In the handler's own task, and in one that a write has to itself.
    a_panic_is_a_row_and_an_exception_of_one_operation(&endpoint, &ask(address, "GET", "/scim/acme/Users/1", ""));
    a_panic_is_a_row_and_an_exception_of_one_operation(&endpoint, &ask(address, "POST", "/scim/acme/Users", &user));
    *how.lock().unwrap() = How::Hangs;
    storage_that_hangs_is_a_failure(&endpoint, &ask(address, "GET", "/scim/acme/Users/2", ""));
    who_goes_away_is_told_of(&endpoint, address);
    Actix::new().block_on(telemetry::stop());
    assert!(!json!(endpoint.envelopes()).to_string().contains(SECRET));
}

/// The same in a process of its own, of which all lines are looked at; and where the message leaves, it is found.
#[test]
fn a_panics_message_is_in_no_line() {
    let test = "inside::what_goes_wrong_inside_has_rows";
    let lines = |environment: &[(&str, &str)]| {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args([test, "--exact", "--nocapture"])
            .env_remove("SCIMGATE_ROWS");
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let lines = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{lines}");
        assert!(
            lines.contains("tests/telemetry/inside.rs:"),
            "the panic is not told: {lines}"
        );
        lines
    };
    let told = lines(&[]);
    assert!(!told.contains(SECRET), "{told}");
    assert!(lines(&[(LEAKS, "1")]).contains(SECRET));
}

/// The process is one with other tests, which fail by panics that are to be read.
fn show_panics_of_tests() {
    let leaks = functions_test_host::process_environment().contains_key(LEAKS);
    let ours = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        ours(info);
        if leaks || thread::current().name().is_some_and(|name| name.contains("::")) {
            eprintln!("{info}");
        }
    }));
}

fn ask(address: SocketAddr, method: &str, target: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-azure-functions-invocationid", "an-invocation"),
    ];
    send(address, method, target, &headers, body)
}

/// Whether a row is of this kind and of this answer's operation.
fn is_of(kind: &'static str, answer: &Answer) -> impl Fn(&Value) -> bool + use<> {
    let (trace, _) = answer.reference();
    move |one| one["data"]["baseType"] == kind && one["tags"]["ai.operation.id"] == trace
}

fn a_panic_is_a_row_and_an_exception_of_one_operation(endpoint: &Endpoint, answer: &Answer) {
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(!format!("{answer:?}").contains(SECRET), "{answer:?}");
    assert!(
        answer.json()["detail"].as_str().unwrap().contains("Reference "),
        "{answer:?}"
    );
    let kinds = ["RequestData", "ExceptionData", "MessageData"].map(|kind| is_of(kind, answer));
    let all = endpoint.wait("all three", |all| kinds.iter().all(|is_it| all.iter().any(is_it)));
    let [row, exception, message] = kinds.map(|is_it| {
        let found: Vec<&Value> = all.iter().filter(|one| is_it(one)).collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].clone()
    });
    let data = |of: &Value| of["data"]["baseData"].clone();
    assert_eq!(data(&row)["responseCode"], "500");
    assert_eq!(data(&row)["success"], false);
    assert_eq!(data(&row)["properties"]["error.type"], "panic");
    assert_eq!(data(&exception)["exceptions"][0]["typeName"], "panic");
    let place = &data(&exception)["exceptions"][0]["message"];
    assert!(
        place.as_str().unwrap().contains("tests/telemetry/inside.rs:"),
        "{place}"
    );
    assert_eq!(data(&exception)["severityLevel"], 3);
    assert_eq!(exception["name"], "Microsoft.ApplicationInsights.Exception");
    assert_eq!(data(&message)["message"], "an answer was no answer");
    assert_eq!(data(&message)["severityLevel"], 2);
    assert_eq!(message["name"], "Microsoft.ApplicationInsights.Message");
    let (_, span) = answer.reference();
    for other in [exception, message] {
        assert_eq!(other["tags"]["ai.operation.parentId"], span);
        assert_eq!(other["tags"]["ai.operation.name"], row["tags"]["ai.operation.name"]);
        assert_eq!(other["tags"]["ai.cloud.role"], "scim.handler");
        assert_eq!(data(&other)["properties"]["scim.tenant"], TENANT);
        assert_eq!(data(&other)["properties"]["faas.invocation_id"], "an-invocation");
    }
}

fn storage_that_hangs_is_a_failure(endpoint: &Endpoint, answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    let kinds = ["RequestData", "ExceptionData"].map(|kind| is_of(kind, answer));
    let all = endpoint.wait("both", |all| kinds.iter().all(|is_it| all.iter().any(is_it)));
    let [row, exception] = kinds.map(|is_it| all.iter().find(|one| is_it(one)).unwrap()["data"]["baseData"].clone());
    assert_eq!(row["success"], false);
    assert_eq!(row["properties"]["error.type"], "http_503");
    assert_eq!(row["properties"]["scim.error.rule"], "storage-unavailable");
    let duration = row["duration"].as_str().unwrap();
    assert!(duration.starts_with("0.00:00:02"), "{duration}");
    assert_eq!(exception["exceptions"][0]["typeName"], "http::answer");
    let message = exception["exceptions"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("a request failed: "), "{message}");
}

/// Whoever hangs up gets no answer, and may never ask again: without a row nobody would know. With HTTP/2 the handler ends
/// with its connection.
fn who_goes_away_is_told_of(endpoint: &Endpoint, address: SocketAddr) {
    let trace = "11111111111111111111111111111111";
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // `:method: GET`, `:scheme: http`, literal `:path`, `:authority`, `authorization`, `traceparent` (RFC 7541, appendix A).
    let block = [
        b"\x82\x86\x04".to_vec(),
        text("/scim/acme/Users/3"),
        b"\x01".to_vec(),
        text("a"),
        b"\x0f\x08".to_vec(),
        text(&format!("Bearer {TOKEN}")),
        b"\x00".to_vec(),
        text("traceparent"),
        text(&format!("00-{trace}-2222222222222222-00")),
    ]
    .concat();
    let length = u8::try_from(block.len()).unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let before = HUNG.load(Ordering::SeqCst);
    let mut stream = TcpStream::connect(address).unwrap();
    let head = [0, 0, length, 1, 5, 0, 0, 0, 1];
    stream.write_all(&[&preface[..], &head, &block].concat()).unwrap();
    while HUNG.load(Ordering::SeqCst) == before {
        thread::yield_now();
    }
    drop(stream);
    let is_row = |one: &Value| one["tags"]["ai.operation.id"] == trace && one["data"]["baseType"] == "RequestData";
    let all = endpoint.wait("the row", |all| all.iter().any(is_row));
    let row = &all.iter().find(|one| is_row(one)).unwrap()["data"]["baseData"];
    assert_eq!(row["success"], false);
    assert_eq!(row["responseCode"], "0");
    assert_eq!(row["properties"]["error.type"], "cancelled");
    assert_eq!(row["properties"]["network.protocol.version"], "2");
}
