//! An endpoint that is down, slow or full costs rows, and nothing else.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Mode},
    service::Service,
};

/// Rows that wait (`telemetry::export`), and those that are on their way meanwhile.
const MAX_ROWS: usize = 4_096;
const BATCH: usize = 512;
/// More than telemetry may take: its queues are bounded.
const MAX_MEMORY_MIB: u64 = 150;

fn serves(connection: &str) -> (Service, u64) {
    let service = Service::start(&[("APPLICATIONINSIGHTS_CONNECTION_STRING", connection)]);
    for number in 0..300 {
        let user =
            json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": format!("u{number}") });
        assert_eq!(service.ask("POST", "/Users", &user).status, 201);
    }
    let memory = service.memory();
    (service, memory)
}

#[track_caller]
fn check(connection: &str) {
    let (service, memory) = serves(connection);
    assert!(memory < MAX_MEMORY_MIB, "{memory} MiB");
    // How long the end waits for telemetry is proven in `telemetry::export`, where no clock but its own counts.
    let (status, output) = service.stop();
    assert_eq!(status.code(), Some(143), "{output}");
}

#[test]
fn an_endpoint_that_never_answers_costs_rows_only() {
    let endpoint = Endpoint::start(Mode::Hangs);
    check(&endpoint.connection_string());
    assert!(endpoint.posts() > 0);
}

#[test]
fn an_endpoint_that_refuses_costs_rows_only() {
    for status in [503, 502, 401] {
        let endpoint = Endpoint::start(Mode::Fails(status));
        check(&endpoint.connection_string());
        assert!(endpoint.posts() > 0);
    }
}

#[test]
fn an_endpoint_that_is_down_costs_rows_only() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(&format!("InstrumentationKey=1;IngestionEndpoint=http://{gone}/"));
}

#[test]
fn what_makes_no_sense_is_one_warning_and_no_telemetry() {
    let (service, _) = serves("IngestionEndpoint=https://a.example");
    let warnings = service
        .output()
        .matches("APPLICATIONINSIGHTS_CONNECTION_STRING makes no sense")
        .count();
    assert_eq!(warnings, 1, "{}", service.output());
}

#[test]
fn what_was_not_taken_is_sent_again() {
    let endpoint = Endpoint::start(Mode::TakesPart);
    let service = Service::start(&[("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string())]);
    let answer = service.ask("GET", "/Users", &Value::Null);
    let (trace, _) = answer.reference();
    endpoint.wait("the row", |all| {
        all.iter().any(|one| one["tags"]["ai.operation.id"] == trace)
    });
    service.stop();
    assert_eq!(sum(&endpoint.envelopes(), "telemetry.export.failures", None), 1);
}

/// Rows wait for an endpoint that stands still, but not more than a number of them: whatever finds no room is counted, none too
/// many and none too few, and the count arrives as soon as the endpoint goes on (query 16).
#[test]
fn what_finds_no_room_is_counted_and_told() {
    const SENT: usize = MAX_ROWS + 4 * BATCH;
    let endpoint = Endpoint::start(Mode::Waits);
    let service = Service::start(&[
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string()),
        ("SCIMGATE_TENANT_RATE", "0"),
    ]);
    let sent = ask_often(service.address, SENT);
    assert_eq!(sent.len(), SENT);
    assert_eq!(endpoint.envelopes().len(), 0);
    endpoint.go_on();
    // A row that was not answered in time is sent again, and may arrive twice.
    let arrived = |all: &[Value]| -> usize {
        let ids = all.iter().filter(|one| one["data"]["baseType"] == "RequestData");
        let ids = ids.filter_map(|one| one["data"]["baseData"]["id"].as_str());
        ids.filter(|id| sent.contains(*id)).collect::<BTreeSet<_>>().len()
    };
    endpoint.wait("what waited", |all| arrived(all) >= MAX_ROWS);
    service.stop();
    let all = endpoint.envelopes();
    let held = arrived(&all);
    assert!(held <= MAX_ROWS + BATCH, "{held}");
    let dropped = sum(&all, "otel.sdk.processor.span.processed", Some("queue_full"));
    assert_eq!(held + dropped, SENT, "{held} {dropped}");
}

/// What a counter came to, in whole things.
fn sum(all: &[Value], name: &str, why: Option<&str>) -> usize {
    let data = all.iter().map(|one| &one["data"]["baseData"]);
    let of_counter =
        data.filter(|data| data["metrics"][0]["name"] == name && data["properties"]["error.type"].as_str() == why);
    let counts = of_counter.map(|data| data["metrics"][0]["value"].to_string());
    counts
        .map(|count| count.trim_end_matches(".0").parse::<usize>().unwrap())
        .sum()
}

/// Many requests one after another on one connection; the ids of their rows.
fn ask_often(address: SocketAddr, times: usize) -> BTreeSet<String> {
    let stream = TcpStream::connect(address).unwrap();
    let mut reader = BufReader::new(&stream);
    let request = format!("GET /scim/acme/Users HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
    let mut ids = BTreeSet::new();
    for _ in 0..times {
        (&stream).write_all(request.as_bytes()).unwrap();
        let lines = reader
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .map(|line| line.to_ascii_lowercase());
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).unwrap();
        let mut body = vec![0; header("content-length: ").parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        ids.insert(header("x-request-id: ").split('-').next_back().unwrap().to_owned());
    }
    ids
}

/// What is known at the end is sent before it.
#[test]
fn a_signal_loses_no_row() {
    let endpoint = Endpoint::start(Mode::Ok);
    let (service, _) = serves(&endpoint.connection_string());
    let (status, output) = service.stop();
    assert_eq!(status.code(), Some(143), "{output}");
    let is_create = |one: &&Value| one["data"]["baseData"]["name"] == "POST /scim/{tenant}/Users";
    assert_eq!(endpoint.envelopes().iter().filter(is_create).count(), 300);
    assert!(
        endpoint
            .heads()
            .iter()
            .all(|head| head.starts_with("post /v2/track http/1.1")),
        "{:?}",
        endpoint.heads()
    );
}

/// Behind the Functions host every line is a row of its own, which would be paid twice.
#[test]
fn behind_the_host_standard_output_has_failures_only() {
    let endpoint = Endpoint::start(Mode::Ok);
    let settings = [("APPLICATIONINSIGHTS_CONNECTION_STRING", &*endpoint.connection_string())];
    let service = Service::start_behind_the_host(&settings);
    assert_eq!(service.ask("GET", "/Users", &Value::Null).status, 200);
    assert!(!service.output().contains("\"INFO\""), "{}", service.output());
}
