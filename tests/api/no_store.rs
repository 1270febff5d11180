//! A service whose store can't be reached: it is there, says so, and works as soon as the store is there.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use functions_test_host::Mode;
use libtest_mimic::{Completion, Failed, Trial};
use scimgate::{
    ambient::System,
    app::{self, App},
};
use tokio::{
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    answer::{Answer, Asked},
    http_client,
    world::{self, NO_AZURITE, Running},
};

/// How long the service may take until it notices that its store is there.
const NOTICE_TIME: Duration = Duration::from_secs(20);

const TENANT: &str = "acme";
const SECRET: &str = "a-secret-from-an-earlier-endpoint";

pub(crate) fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    vec![
        trial(
            runtime,
            "direct/no_store::nothing_answers_at_the_stores_address",
            direct,
        ),
        trial(runtime, "proxy/no_store::nothing_answers_at_the_stores_address", || {
            behind(Mode::Proxy)
        }),
        trial(
            runtime,
            "forward/no_store::nothing_answers_at_the_stores_address",
            || behind(Mode::Forward),
        ),
        trial(
            runtime,
            "direct/no_store::the_file_appears_later",
            the_file_appears_later,
        ),
        trial(
            runtime,
            "direct/no_store::a_request_waits_for_a_store_that_appears_soon",
            a_request_waits,
        ),
        trial(
            runtime,
            "direct/no_store::the_tables_appear_later",
            the_tables_appear_later,
        ),
    ]
}

fn trial<F>(runtime: &Arc<Runtime>, name: &str, run: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = Result<Completion, Failed>>,
{
    let runtime = Arc::clone(runtime);
    Trial::ignorable_test(name, move || runtime.block_on(run()))
}

/// Settings of a table store at an address where nothing listens.
fn unreachable_tables(address: SocketAddr) -> Vec<(&'static str, String)> {
    let account = "devstoreaccount1";
    let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let connection = format!(
        "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};TableEndpoint=http://{address}/{account};"
    );
    vec![
        ("store", "tables:".to_owned()),
        ("tables-connection", connection),
        ("table", format!("t{}", world::unique())),
        ("bootstrap-tenant", TENANT.to_owned()),
        ("bootstrap-token", SECRET.to_owned()),
        ("deadline", "3".to_owned()),
    ]
}

/// An address where nothing listens, until somebody does.
fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("a listener has an address")
}

async fn direct() -> Result<Completion, Failed> {
    let (_app, running, address) = start(&unreachable_tables(closed_port()));
    says_that_it_is_starting(address).await;
    running.stop().await;
    Ok(Completion::Completed)
}

async fn behind(mode: Mode) -> Result<Completion, Failed> {
    let host = world::host(mode, &unreachable_tables(closed_port())).await?;
    says_that_it_is_starting(host.address()).await;
    // A handler that exits three times is given up by the host for good.
    assert!(host.handler_pid().is_some(), "the handler is gone: {:#?}", host.log());
    host.stop().await;
    Ok(Completion::Completed)
}

/// Settings of a file in a folder that is not there yet: SQLite makes none.
fn file_in(folder: &Path) -> Vec<(&'static str, String)> {
    let mut settings = unreachable_tables(closed_port());
    settings[0].1 = format!("sqlite:{}", folder.join("rows.db").display());
    // Only behind the Functions host: elsewhere a path that can't be opened ends the process with a clear line.
    settings.push(("functions-port", "1".to_owned()));
    settings
}

async fn the_file_appears_later() -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let later = folder.path().join("later");
    let (_app, running, address) = start(&file_in(&later));
    says_that_it_is_starting(address).await;
    std::fs::create_dir(&later)?;
    works_without_a_restart(address).await;
    running.stop().await;
    Ok(Completion::Completed)
}

/// Whoever stands in front sends requests as soon as the port is open.
async fn a_request_waits() -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let soon = folder.path().join("soon");
    let mut settings = file_in(&soon);
    settings.retain(|(name, _)| *name != "deadline");
    settings.push(("deadline", "60".to_owned()));
    let (_app, running, address) = start(&settings);
    let waiting = tokio::spawn(ask(address, "/scim/acme/Users"));
    ask(address, "/health/ready").await.refused(503, "", &["starting"]);
    assert!(!waiting.is_finished());
    std::fs::create_dir(&soon)?;
    waiting.await?.is(200);
    running.stop().await;
    Ok(Completion::Completed)
}

async fn the_tables_appear_later() -> Result<Completion, Failed> {
    let Some(azurite) = world::azurite() else {
        return Ok(Completion::ignored_with(NO_AZURITE));
    };
    let port = closed_port();
    let (_app, running, address) = start(&unreachable_tables(port));
    says_that_it_is_starting(address).await;
    let up = tokio::spawn(relay(port, authority(azurite)));
    works_without_a_restart(address).await;
    // And gone again, while it runs; the connections that were open break.
    up.abort();
    let _ = up.await;
    ask(address, "/scim/acme/Users").await.refused(503, "", &["storage"]);
    // By now it is longer than a second ago that storage was asked.
    ask(address, "/health/ready").await.refused(503, "", &["storage"]);
    let up = tokio::spawn(relay(port, authority(azurite)));
    works_without_a_restart(address).await;
    up.abort();
    running.stop().await;
    Ok(Completion::Completed)
}

/// As `scimgate serve` does it: first the port, then the store, however long that takes.
fn start(settings: &[(&'static str, String)]) -> (Arc<App>, Running, SocketAddr) {
    let app = App::new(world::parse(settings), Arc::new(System));
    let (running, address) = world::serve(&app);
    let opening = Arc::clone(&app);
    tokio::spawn(async move {
        let store = app::open_store_patiently(&opening.settings).await;
        let store = store.unwrap_or_else(|error| panic!("the store can never be opened: {error}"));
        let service = opening.over(store);
        app::bootstrap(&opening, &service)
            .await
            .unwrap_or_else(|error| panic!("no first tenant: {error}"));
        opening.start(service);
    });
    (app, running, address)
}

/// `/` and `/health/live` answer, everything else is 503 with Retry-After.
async fn says_that_it_is_starting(address: SocketAddr) {
    for path in ["/", "/health/live"] {
        ask(address, path).await.is(200);
    }
    for path in [
        "/health/ready",
        "/scim/acme/Users",
        "/scim/acme/ServiceProviderConfig",
        "/scim/acme/Users/1",
    ] {
        ask(address, path)
            .await
            .linted(&format!("http://{address}"))
            .refused(503, "", &["starting"]);
    }
}

async fn works_without_a_restart(address: SocketAddr) {
    let ready = async {
        // Readiness is a second behind at most.
        for path in ["/scim/acme/Users", "/health/ready"] {
            while ask(address, path).await.status != 200 {
                sleep(Duration::from_millis(100)).await;
            }
        }
    };
    timeout(NOTICE_TIME, ready)
        .await
        .expect("the service notices that its store is there");
}

async fn ask(address: SocketAddr, path: &str) -> Answer {
    let request = http_client().get(format!("http://{address}{path}")).bearer_auth(SECRET);
    let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
    let status = answer.status().as_u16();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = answer.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
        .collect();
    let body = answer.bytes().await.expect("a body");
    Answer::new(Asked::new("GET", path), status, headers, body.to_vec())
}

/// Host and port of a connection string's table endpoint.
fn authority(connection: &str) -> String {
    let rest = connection.split_once("TableEndpoint=").map_or("", |(_, rest)| rest);
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    rest.split(['/', ';']).next().unwrap_or_default().to_owned()
}

/// Passes on what comes to `port`.
async fn relay(port: SocketAddr, to: String) {
    let listener = tokio::net::TcpListener::bind(port)
        .await
        .expect("the port is still free");
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        let to = to.clone();
        connections.spawn(async move {
            let mut onward = TcpStream::connect(to).await.expect("Azurite is there");
            // An end on either side ends both.
            let _ = tokio::io::copy_bidirectional(&mut from, &mut onward).await;
        });
    }
}
