//! The Functions host's rows beside the handler's: how they join, what their difference says, and what they cost together.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, thread, time::Duration};

use functions_test_host::{Host, Mode as HostMode, Options};
use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Mode},
    service::{Answer, Service, TENANT, TOKEN, free_port, send},
    tables::{Tap, connection_string},
};

/// A host that runs the handler on tables, with the product's own host.json.
async fn start(mode: HostMode, endpoint: &Endpoint, tables: &str) -> Host {
    let program = "AzureFunctionsJobHost__customHandler__description__defaultExecutablePath";
    let environment = [
        (program, env!("CARGO_BIN_EXE_scimgate")),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string()),
        ("WEBSITE_SITE_NAME", "func-scim"),
        ("WEBSITE_INSTANCE_ID", "instance-7"),
        ("SCIMGATE_STORE", "tables:"),
        ("SCIMGATE_TABLES_CONNECTION", tables),
        ("SCIMGATE_TABLE", &format!("host{}", free_port())),
        ("SCIMGATE_TELEMETRY_SAMPLE", "100"),
        ("SCIMGATE_BOOTSTRAP_TENANT", TENANT),
        ("SCIMGATE_BOOTSTRAP_TOKEN", TOKEN),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = Options {
        mode: Some(mode),
        environment: BTreeMap::from(environment),
        ..Options::new(env!("CARGO_MANIFEST_DIR"))
    };
    let host = Host::start(options).await.unwrap();
    ready(host.address());
    host
}

fn ready(address: SocketAddr) {
    while send(address, "GET", "/health/ready", &[], "").status != 200 {
        thread::sleep(Duration::from_millis(20));
    }
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/scim+json"),
    ];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(address, method, &format!("/scim/{TENANT}{path}"), &headers, &body)
}

fn user(name: &str) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name })
}

/// A request's row, if it is one of the host's.
fn of_host(row: &Value) -> bool {
    row["data"]["baseType"] == "RequestData" && row["tags"]["ai.cloud.role"] == "func-scim"
}

fn properties(row: &Value) -> &Value {
    &row["data"]["baseData"]["properties"]
}

/// The handler's row of an answer.
fn handlers(all: &[Value], answer: &Answer) -> Option<Value> {
    let (_, span) = answer.reference();
    all.iter().find(|row| row["data"]["baseData"]["id"] == span).cloned()
}

/// The host's row of an invocation.
fn hosts(all: &[Value], invocation: &Value) -> Option<Value> {
    let is_it = |row: &&Value| of_host(row) && properties(row)["InvocationId"] == *invocation;
    all.iter().find(is_it).cloned()
}

/// "Which requests did the host have that scimgate never had?" rests on this (query 03).
#[tokio::test(flavor = "multi_thread")]
async fn a_request_behind_the_host_has_two_rows_of_one_invocation() {
    let Some(tables) = connection_string() else { return };
    for mode in [HostMode::Proxy, HostMode::Forward] {
        let endpoint = Endpoint::start(Mode::Ok);
        let host = start(mode, &endpoint, &tables).await;
        let answer = ask(
            host.address(),
            "GET",
            "/Users?filter=userName%20eq%20%22u%22",
            &Value::Null,
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        let all = endpoint.wait("the handler's row", |all| handlers(all, &answer).is_some());
        let ours = handlers(&all, &answer).unwrap();
        let invocation = &properties(&ours)["faas.invocation_id"];
        let all = endpoint.wait("the host's row", |all| hosts(all, invocation).is_some());
        let theirs = hosts(&all, invocation).unwrap();
        for tag in ["ai.operation.id", "ai.cloud.roleInstance"] {
            assert_eq!(ours["tags"][tag], theirs["tags"][tag], "{mode:?} {tag}");
        }
        assert_eq!(ours["tags"]["ai.cloud.role"], "scim.handler");
        let data = &theirs["data"]["baseData"];
        assert_eq!(data["responseCode"], "200");
        assert_eq!(data["success"], true);
        assert!(data["url"].as_str().unwrap().ends_with("/scim/acme/Users"), "{data:#}");
        let contract = fs::read_to_string(root("tests/infra/contract.json")).unwrap();
        let contract: Value = serde_json::from_str(&contract).unwrap();
        for name in contract["host"].as_array().unwrap() {
            assert!(
                properties(&theirs)[name.as_str().unwrap()].is_string(),
                "{name}: {theirs:#}"
            );
        }
        assert_eq!(properties(&theirs)["HttpMethod"], "GET");
        assert_eq!(properties(&theirs)["HttpPath"], "/scim/acme/Users");
        host.stop().await;
    }
}

/// "Why did tenant X see 502 at 10:42?": the host's row says 500, and the handler has none (queries 03 and 18), as whoever
/// was killed tells nothing any more. Beside it another process starts, and none has stopped (query 12).
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_killed_before_its_answer_leaves_a_row_of_the_host_only() {
    let Some(connection) = connection_string() else { return };
    let azurite: SocketAddr = connection
        .split("//")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let tap = Tap::start(azurite);
    let endpoint = Endpoint::start(Mode::Ok);
    let tapped = connection.replace(&azurite.to_string(), &tap.address.to_string());
    let host = start(HostMode::Proxy, &endpoint, &tapped).await;
    let address = host.address();
    let before = ask(address, "POST", "/Users", &user("before"));
    assert_eq!(before.status, 201);
    // What the killed process told until then; its last two seconds go with it.
    endpoint.wait("its start", |all| starts(all) == 1 && handlers(all, &before).is_some());
    tap.hold(true);
    let before = tap.said().len();
    let lost = thread::spawn(move || ask_without_reference(address, &user("lost")));
    // The look-up row of its userName is on its way to storage.
    while !tap.said()[before..].contains("\"n~") {
        thread::sleep(Duration::from_millis(5));
    }
    host.kill_handler().await;
    tap.hold(false);
    assert_eq!(lost.join().unwrap(), 500);
    ready(address);
    let after = ask(address, "GET", "/Users", &Value::Null);
    assert_eq!(after.status, 200);
    let of_lost = |row: &&Value| of_host(row) && row["data"]["baseData"]["responseCode"] == "500";
    let all = endpoint.wait("both rows", |all| {
        handlers(all, &after).is_some() && all.iter().any(|row| of_lost(&row)) && starts(all) == 2
    });
    let lost: Vec<&Value> = all.iter().filter(of_lost).collect();
    assert_eq!(lost.len(), 1, "{lost:#?}");
    assert_eq!(lost[0]["data"]["baseData"]["success"], false);
    assert_eq!(properties(lost[0])["HttpMethod"], "POST");
    let invocation = &properties(lost[0])["InvocationId"];
    let of_ours = |row: &&Value| properties(row)["faas.invocation_id"] == *invocation;
    assert_eq!(all.iter().filter(of_ours).count(), 0);
    assert_eq!(events(&all, "ShutdownFinished"), 0);
    host.stop().await;
}

fn starts(all: &[Value]) -> usize {
    events(all, "ProcessStarted")
}

fn events(all: &[Value], name: &str) -> usize {
    let is_it = |row: &&Value| row["data"]["baseType"] == "EventData" && row["data"]["baseData"]["name"] == name;
    all.iter().filter(is_it).count()
}

/// What is not answered by us has no Reference, and the host's 500 no body.
fn ask_without_reference(address: SocketAddr, body: &Value) -> u16 {
    let answer = ask(address, "POST", "/Users", body);
    assert_eq!((answer.header("x-request-id"), answer.body.as_str()), (None, ""));
    answer.status
}

/// Each with what would be lost without it.
#[test]
fn host_json_keeps_what_the_queries_rest_on() {
    let text = fs::read_to_string(root("host.json")).unwrap();
    let logging = &serde_json::from_str::<Value>(&text).unwrap()["logging"];
    for (pointer, value, why) in [
        (
            "/logLevel/Host.Results",
            json!("Information"),
            "rows of requests that went well: nothing to join with",
        ),
        (
            "/logLevel/Function",
            json!("Information"),
            "the host's log of invocations",
        ),
        (
            "/logLevel/Host.Function.Console",
            json!("Information"),
            "what the handler writes to standard output",
        ),
        (
            "/logLevel/Host.Aggregator",
            json!("Error"),
            "counts that the rows of requests have as well would be paid for",
        ),
        (
            "/applicationInsights/samplingSettings/isEnabled",
            json!(true),
            "the host's own lines would have no bound",
        ),
        (
            "/applicationInsights/samplingSettings/excludedTypes",
            json!("Request;Exception"),
            "each row counts",
        ),
        (
            "/applicationInsights/enableDependencyTracking",
            json!(false),
            "a row for each call to the handler would be paid for",
        ),
        (
            "/applicationInsights/enableLiveMetrics",
            json!(true),
            "the host's requests as they come: sent only while somebody looks, and not paid for",
        ),
        (
            "/applicationInsights/enablePerformanceCountersCollection",
            json!(false),
            "rows that no query reads would be paid for; the container's measurements have the host in them",
        ),
        (
            "/applicationInsights/httpAutoCollectionOptions/enableHttpTriggerExtendedInfoCollection",
            json!(true),
            "method and path of the host's row",
        ),
        (
            "/applicationInsights/httpAutoCollectionOptions/enableW3CDistributedTracing",
            json!(true),
            "one operation id for both rows",
        ),
        (
            "/applicationInsights/httpAutoCollectionOptions/enableResponseHeaderInjection",
            json!(false),
            "answers go out as we made them",
        ),
    ] {
        assert_eq!(logging.pointer(pointer), Some(&value), "{pointer}: {why}");
    }
}

/// What a request costs in Application Insights, which bills the text of rows: printed, and bounded so that it does not grow
/// unseen. A cycle of Entra's for a new user: a look-up that finds nobody, the user, a change, a look-up that finds it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_have_a_price_that_is_known() {
    const CYCLES: usize = 20;
    const REQUESTS: usize = 4 * CYCLES;
    const MAX_REQUEST_BYTES: usize = 3_000;
    const MAX_CALL_BYTES: usize = 1_500;
    const MAX_MEASUREMENTS_BYTES: usize = 30_000;
    let Some(tables) = connection_string() else { return };
    let endpoint = Endpoint::start(Mode::Ok);
    let host = start(HostMode::Proxy, &endpoint, &tables).await;
    let patch = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "Replace", "path": "displayName", "value": "x" }] });
    let answers = (0..CYCLES).map(|number| {
        let name = format!("user{number}@example.com");
        let look_up = format!("/Users?filter=userName%20eq%20%22{name}%22");
        ask(host.address(), "GET", &look_up, &Value::Null);
        let made = ask(host.address(), "POST", "/Users", &user(&name)).json();
        ask(
            host.address(),
            "PATCH",
            &format!("/Users/{}", made["id"].as_str().unwrap()),
            &patch,
        );
        ask(host.address(), "GET", &look_up, &Value::Null)
    });
    let last = answers.collect::<Vec<_>>().pop().unwrap();
    let (trace, _) = last.reference();
    let is_last = |row: &Value| is_call(row) && row["tags"]["ai.operation.id"] == trace;
    let all = endpoint.wait("all rows", |all| {
        let of_hosts = all.iter().filter(|row| is_scim(row) && of_host(row)).count();
        of_hosts == REQUESTS && handlers(all, &last).is_some() && all.iter().any(is_last)
    });
    host.stop().await;
    let (hosts, ours): (Vec<&Value>, Vec<&Value>) = all.iter().filter(|row| is_scim(row)).partition(|row| of_host(row));
    let traces: Vec<&Value> = ours.iter().map(|row| &row["tags"]["ai.operation.id"]).collect();
    let is_ours = |row: &&Value| is_call(row) && traces.contains(&&row["tags"]["ai.operation.id"]);
    let calls: Vec<&Value> = all.iter().filter(is_ours).collect();
    let (per_host, per_request, per_call) = (
        bytes(&hosts) / REQUESTS,
        bytes(&ours) / REQUESTS,
        bytes(&calls) / calls.len(),
    );
    println!("a request: the host's row {per_host} B, the handler's {per_request} B");
    println!("{REQUESTS} requests made {} calls of {per_call} B", calls.len());
    let sampled = per_host + per_request + bytes(&calls) / REQUESTS / 10;
    println!("a request with 10 of 100 calls kept: {sampled} B");
    let (rows, measured) = measurements();
    println!("measurements: {rows} rows, {measured} B, every 30 s in each process");
    assert!(per_host + per_request < MAX_REQUEST_BYTES, "{per_host} + {per_request}");
    assert!(per_call < MAX_CALL_BYTES, "{per_call}");
    assert!(measured < MAX_MEASUREMENTS_BYTES, "{measured}");
}

/// How many rows, and bytes, a process sends each time that it is measured; at its end it is once more.
fn measurements() -> (usize, usize) {
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string())]);
    service.stop();
    let all = endpoint.envelopes();
    let rows: Vec<&Value> = all
        .iter()
        .filter(|row| row["data"]["baseType"] == "MetricData")
        .collect();
    (rows.len(), bytes(&rows))
}

fn bytes(rows: &[&Value]) -> usize {
    rows.iter().map(|row| row.to_string().len()).sum()
}

/// A row of a call to somebody else.
fn is_call(row: &Value) -> bool {
    row["data"]["baseType"] == "RemoteDependencyData"
}

/// A row of a request below the tenant's URL.
fn is_scim(row: &Value) -> bool {
    let url = row["data"]["baseData"]["url"].as_str().unwrap_or_default();
    row["data"]["baseType"] == "RequestData" && url.contains("/scim/")
}

fn root(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}
