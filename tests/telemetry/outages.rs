//! An endpoint that is down, slow or full costs rows, and nothing else.

use std::{net::TcpListener, time::Duration};

use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Mode},
    service::Service,
};

/// What the end of the process waits for telemetry, and some for everything else.
const END: Duration = Duration::from_secs(5);
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
    let (status, took, output) = service.stop();
    assert_eq!(status.code(), Some(143), "{output}");
    assert!(took < END, "{took:?}: {output}");
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
}

/// What is known at the end is sent before it.
#[test]
fn a_signal_loses_no_row() {
    let endpoint = Endpoint::start(Mode::Ok);
    let (service, _) = serves(&endpoint.connection_string());
    let (status, took, _) = service.stop();
    assert_eq!(status.code(), Some(143));
    assert!(took < END, "{took:?}");
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
