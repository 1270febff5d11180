//! Calls to others: each try of a call to storage, each token.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};

use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Mode},
    service::{Answer, Service, free_port},
    tables::connection_string,
};

/// The rows of the calls that a request made.
fn calls_of(endpoint: &Endpoint, answer: &Answer) -> Vec<Value> {
    let (trace, span) = answer.reference();
    let is_one = |one: &Value| {
        one["data"]["baseType"] == "RemoteDependencyData"
            && one["tags"]["ai.operation.id"] == trace
            && one["tags"]["ai.operation.parentId"] == span
    };
    let all = endpoint.wait("a call", |all| all.iter().any(is_one));
    all.into_iter().filter(is_one).collect()
}

fn field<'v>(call: &'v Value, name: &str) -> &'v Value {
    &call["data"]["baseData"][name]
}

#[test]
fn every_call_to_storage_has_a_row() {
    let Some(connection) = connection_string() else { return };
    let table = format!("telemetry{}", free_port());
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string()),
        ("SCIMGATE_STORE", "tables:"),
        ("SCIMGATE_TABLES_CONNECTION", &connection),
        ("SCIMGATE_TABLE", &table),
    ]);
    let user = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "bjensen@example.com" });
    let headers = [("x-azure-functions-invocationid", "an-invocation")];
    let created = service.ask_with("POST", "/Users", &headers, &user.to_string());
    assert_eq!(created.status, 201);
    let calls = calls_of(&endpoint, &created);
    let name = json!(format!("Entity group transaction {table}"));
    let call = calls.iter().find(|call| field(call, "name") == &name);
    let call = call.unwrap_or_else(|| panic!("{calls:#?}"));
    for (name, expected) in [
        ("type", json!("Azure table")),
        ("resultCode", json!("202")),
        ("success", json!(true)),
        ("data", Value::Null),
    ] {
        assert_eq!(field(call, name), &expected, "{name}: {call:#}");
    }
    let target = field(call, "target").as_str().unwrap();
    assert!(connection.contains(target), "{target}");
    for (name, expected) in [
        ("scim.tenant", "acme"),
        ("faas.invocation_id", "an-invocation"),
        ("ai.operation.name", "POST /scim/{tenant}/Users"),
        ("db.namespace", table.as_str()),
        ("db.operation.name", "Entity group transaction"),
        ("http.request.resend_count", "0"),
    ] {
        assert_eq!(field(call, "properties")[name], expected, "{name}: {call:#}");
    }
    let calls = calls_of(&endpoint, &service.ask("GET", "/Users", &Value::Null));
    let shape = "PartitionKey eq ? and RowKey ge ? and RowKey lt ?";
    assert!(calls.iter().any(|call| field(call, "data") == shape), "{calls:#?}");
}

/// Storage that is down: each try is a failure with its kind, the answer is 503, and its row is a failure too.
#[test]
fn calls_that_fail_say_how() {
    let gone = free_port();
    let endpoint = Endpoint::start(Mode::Ok);
    let tables = format!(
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=MDEyMw==;TableEndpoint=http://127.0.0.1:{gone}/a;"
    );
    let service = Service::start_unready(&[
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string()),
        ("SCIMGATE_STORE", "tables:"),
        ("SCIMGATE_TABLES_CONNECTION", &tables),
    ]);
    let is_refused = |one: &Value| one["data"]["baseData"]["properties"]["error.type"] == "connect_refused";
    let all = endpoint.wait("the refused call", |all| all.iter().any(is_refused));
    let call = all.iter().find(|one| is_refused(one)).unwrap();
    assert_eq!(field(call, "success"), false);
    assert_eq!(field(call, "resultCode"), "0");
    assert_eq!(field(call, "name"), "Create table scimgate");
    assert_eq!(field(call, "target"), &json!(format!("127.0.0.1:{gone}")));
    endpoint.wait("the exception", |all| {
        all.iter().any(|one| one["data"]["baseType"] == "ExceptionData")
    });
    let answer = service.ask("GET", "/Users", &Value::Null);
    assert_eq!(answer.status, 503);
    let (trace, _) = answer.reference();
    let is_row = |one: &Value| one["data"]["baseType"] == "RequestData" && one["tags"]["ai.operation.id"] == trace;
    let all = endpoint.wait("the row", |all| all.iter().any(is_row));
    let row = all.iter().find(|one| is_row(one)).unwrap();
    assert_eq!(field(row, "success"), false);
    assert_eq!(field(row, "properties")["error.type"], "http_503");
    assert_eq!(field(row, "properties")["scim.error.rule"], "starting");
    assert!(field(row, "properties")["http.response.header.retry-after"].is_string());
}

/// `APPLICATIONINSIGHTS_AUTHENTICATION_STRING=Authorization=AAD`: another version of the interface, with a token.
#[test]
fn with_an_identity_rows_are_sent_with_a_token() {
    let (issuer, asked) = issuer();
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string()),
        (
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
            "Authorization=AAD;ClientId=an-identity",
        ),
        ("IDENTITY_ENDPOINT", &format!("http://{issuer}/msi/token")),
        ("IDENTITY_HEADER", "the-header"),
    ]);
    let (trace, _) = service.ask("GET", "/Users", &Value::Null).reference();
    endpoint.wait("the row", |all| {
        all.iter().any(|one| one["tags"]["ai.operation.id"] == trace)
    });
    let is_token = |one: &Value| one["data"]["baseData"]["name"] == "Get token";
    let all = endpoint.wait("the call", |all| all.iter().any(is_token));
    assert!(!json!(all).to_string().contains("the-token"));
    for head in endpoint.heads() {
        assert!(head.starts_with("post /v2.1/track http/1.1"), "{head}");
        assert!(head.contains("authorization: bearer the-token"), "{head}");
    }
    let asked = asked.recv().unwrap();
    assert!(asked.contains("monitor.azure.com%2F"), "{asked}");
    assert!(asked.contains("client_id=an-identity"), "{asked}");
    assert!(!service.output().contains("the-token"));
}

/// A fake of what App Service offers a managed identity, and what it was asked.
fn issuer() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let _ = ask.send(lines.next().unwrap_or_default());
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let token = json!({ "access_token": "the-token", "expires_on": "4102444800", "resource": "r", "token_type": "Bearer" });
            let token = token.to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let _ = write!(&stream, "{head}\r\ncontent-length: {}\r\n\r\n{token}", token.len());
        }
    });
    (address, asked)
}
