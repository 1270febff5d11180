//! Every kind of row, field by field.

use std::{sync::Arc, time::Duration};

use scimgate::{
    ambient::System,
    store::sqlite::SqliteStore,
    tenants::{Expiry, Tenants, Terms},
};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::time::Instant;

use crate::{
    endpoint::{Endpoint, Mode},
    service::{Answer, Service, TENANT, command},
};

/// How long an operator's change may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a field of an envelope is to be.
enum Is {
    /// This text or number.
    Exactly(Value),
    /// Anything but nothing.
    There,
    /// Not there.
    Absent,
}
use Is::{Absent, Exactly, There};

fn exactly(value: impl Into<Value>) -> Is {
    Exactly(value.into())
}

/// The fields of an envelope, as JSON pointers; a dot in a name needs no escape there.
#[track_caller]
fn check(envelope: &Value, fields: &[(&str, Is)]) {
    for (pointer, is) in fields {
        let found = envelope.pointer(pointer);
        let fits = match is {
            Exactly(value) => found == Some(value),
            There => found.is_some_and(|found| !found.is_null() && found != ""),
            Absent => found.is_none(),
        };
        assert!(fits, "{pointer} is {found:?} in {envelope:#}");
    }
}

/// The request's row; its operation id and its own id are the answer's Reference.
fn is_row_of(answer: &Answer, envelope: &Value) -> bool {
    let (trace, span) = answer.reference();
    envelope["data"]["baseType"] == "RequestData"
        && envelope["tags"]["ai.operation.id"] == trace
        && envelope["data"]["baseData"]["id"] == span
}

#[track_caller]
fn row_of(endpoint: &Endpoint, answer: &Answer) -> Value {
    let is_it = |envelope: &Value| is_row_of(answer, envelope);
    let all = endpoint.wait("the request's row", |all| all.iter().any(is_it));
    let rows: Vec<_> = all.into_iter().filter(is_it).collect();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    rows.into_iter().next().unwrap()
}

fn user(name: &str) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "nonsense": 1 })
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The Functions host says "not sampled" of everything.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[test]
fn a_request_has_a_row_with_every_field() {
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string())]);
    let headers = [
        ("traceparent", PARENT),
        ("x-azure-functions-invocationid", "1b2c3d4e-0000-1111-2222-333344445555"),
        ("client-request-id", "abc-123"),
        ("x-azure-ref", "0aB"),
        ("x-ms-coldstart", "1"),
        ("user-agent", "probe/1"),
    ];
    let body = user("bjensen@example.com").to_string();
    let created = service.ask_with("POST", "/Users", &headers, &body);
    assert_eq!(created.status, 201, "{created:?}");
    let row = row_of(&endpoint, &created);
    let operation = "POST /scim/{tenant}/Users";
    let host = service.address.to_string();
    check(
        &row,
        &[
            ("/name", exactly("Microsoft.ApplicationInsights.Request")),
            ("/iKey", exactly("00000000-0000-0000-0000-000000000001")),
            ("/sampleRate", exactly(100.0)),
            ("/time", There),
            ("/tags/ai.cloud.role", exactly("scim.handler")),
            ("/tags/ai.cloud.roleInstance", exactly("instance-7")),
            ("/tags/ai.application.ver", exactly(env!("CARGO_PKG_VERSION"))),
            ("/tags/ai.operation.id", exactly(TRACE)),
            ("/tags/ai.operation.parentId", exactly("00f067aa0ba902b7")),
            ("/tags/ai.operation.name", exactly(operation)),
            ("/data/baseData/name", exactly(operation)),
            ("/data/baseData/responseCode", exactly("201")),
            ("/data/baseData/success", exactly(true)),
            ("/data/baseData/duration", There),
            ("/data/baseData/url", exactly(format!("http://{host}/scim/acme/Users"))),
        ],
    );
    let properties = &row["data"]["baseData"]["properties"];
    let length = body.len().to_string();
    let (trace, span) = created.reference();
    check(
        properties,
        &[
            ("/http.request.method", exactly("POST")),
            ("/http.route", exactly("/scim/{tenant}/Users")),
            ("/url.scheme", exactly("http")),
            ("/url.path", exactly("/scim/acme/Users")),
            ("/url.query", Absent),
            ("/http.request.header.host", exactly(host)),
            ("/http.response.status_code", exactly("201")),
            ("/http.request.body.size", exactly(length)),
            ("/http.response.body.size", exactly(created.body.len().to_string())),
            ("/network.protocol.version", exactly("1.1")),
            ("/user_agent.original", exactly("probe/1")),
            ("/error.type", Absent),
            ("/scim.tenant", exactly(TENANT)),
            ("/scim.resource_type", exactly("User")),
            ("/scim.operation", exactly("create")),
            ("/scim.inflight", exactly("1")),
            ("/scim.subject", There),
            ("/scim.normalized", exactly("unknown-attribute nonsense")),
            ("/scim.correlation_id", exactly(format!("{trace}-{span}"))),
            ("/faas.invocation_id", exactly("1b2c3d4e-0000-1111-2222-333344445555")),
            ("/faas.coldstart", exactly("1")),
            ("/client_request_id", exactly("abc-123")),
            ("/edge.x_azure_ref", exactly("0aB")),
        ],
    );
}

/// "Was user X sent, refused, done?": one hash, whatever says who it is, also on what is refused.
#[test]
fn one_users_requests_are_found_by_one_subject() {
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string())]);
    let created = service.ask("POST", "/Users", &user("bjensen@example.com"));
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let patch = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "x@example.com" }] });
    let bad = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "active", "value": "perhaps" }] });
    let wrong = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "USERNAME": "BJensen@example.com", "active": "x" });
    let one = format!("/Users/{id}");
    let answers = [
        (service.ask("POST", "/Users", &user("bjensen@example.com")), 409),
        (
            service.ask(
                "GET",
                "/Users?filter=userName%20eq%20%22BJENSEN@example.com%22",
                &Value::Null,
            ),
            200,
        ),
        (service.ask("GET", &one, &Value::Null), 200),
        (service.ask("PATCH", &one, &patch), 200),
        (service.ask("PATCH", &one, &bad), 400),
        (service.ask("PUT", &one, &wrong), 400),
        (service.ask("DELETE", &one, &Value::Null), 204),
    ];
    let subject = |answer: &Answer| row_of(&endpoint, answer)["data"]["baseData"]["properties"]["scim.subject"].clone();
    let expected = subject(&created);
    assert_eq!(expected.as_str().unwrap().len(), 16);
    for (answer, status) in &answers {
        assert_eq!(answer.status, *status, "{answer:?}");
        assert_eq!(subject(answer), expected, "{answer:?}");
    }
    let another = service.ask("POST", "/Users", &user("mandy@example.com"));
    assert_ne!(subject(&another), expected);
    let patched = row_of(&endpoint, &answers[3].0);
    check(
        &patched["data"]["baseData"]["properties"],
        &[
            ("/scim.patch.operations", exactly("1")),
            ("/scim.patch.paths", exactly("emails.value")),
            ("/url.path", exactly(format!("/scim/acme{one}"))),
            ("/http.route", exactly("/scim/{tenant}/Users/{id}")),
        ],
    );
    let found = row_of(&endpoint, &answers[1].0);
    check(
        &found["data"]["baseData"]["properties"],
        &[
            ("/scim.filter.shape", exactly("userName eq ?")),
            ("/scim.results", exactly("1")),
        ],
    );
    let refused = row_of(&endpoint, &answers[4].0);
    check(
        &refused["data"]["baseData"],
        &[
            ("/success", exactly(true)),
            ("/responseCode", exactly("400")),
            ("/properties/scim.error_type", exactly("invalidValue")),
            ("/properties/scim.error.rule", There),
            ("/properties/scim.error.attribute", exactly("active")),
        ],
    );
}

/// Until a credential proves whose it is, the tenant is the one in the path, and only if it can be one.
#[test]
fn what_is_refused_at_the_door_has_a_row_too() {
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string())]);
    for (target, status, route, tenant) in [
        (
            "/scim/acme/Users/bjensen@example.com",
            401,
            "/scim/{tenant}/Users/{id}",
            exactly("acme"),
        ),
        ("/scim/b@x/Users", 401, "/scim/{tenant}/Users", Absent),
        ("/nowhere", 404, "{unknown}", Absent),
    ] {
        let answer = service.send("GET", target, &[], "");
        assert_eq!(answer.status, status, "{target}");
        let row = row_of(&endpoint, &answer);
        check(
            &row["data"]["baseData"],
            &[
                ("/responseCode", exactly(status.to_string())),
                ("/success", exactly(true)),
                ("/properties/http.route", exactly(route)),
                ("/properties/scim.tenant", tenant),
                ("/properties/scim.error.rule", There),
            ],
        );
        assert!(!row.to_string().contains('@'), "{row:#}");
    }
}

/// "Whose token is refused, which one, and why?" (query 22), and "which token in use stops working soon?" (24).
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_named_whether_it_still_works_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string()),
        ("SCIMGATE_STORE", &format!("sqlite:{}", file.display())),
        ("SCIMGATE_BASE_PATHS", "/old"),
    ]);
    let tenants = Tenants::new(Arc::new(SqliteStore::open(&file).unwrap()), Arc::new(System));
    let deadline = Instant::now() + PATIENCE;
    let add = async |expires| {
        let terms = Terms {
            expires: Some(expires),
            ..Terms::default()
        };
        tenants
            .add_credential(TENANT, None, &terms, "test", deadline)
            .await
            .unwrap()
    };
    let (soon, late) = (datetime!(2999-12-31 00:00 UTC), datetime!(2020-01-02 00:00 UTC));
    let [good, expired, revoked] = [
        add(Expiry::At(soon)).await,
        add(Expiry::At(late)).await,
        add(Expiry::Never).await,
    ];
    tenants
        .revoke(TENANT, &revoked.credential.id, "test", deadline)
        .await
        .unwrap();
    for (issued, status, rule, expires) in [
        (good, 200, Absent, exactly("2999-12-31T00:00:00Z")),
        (expired, 401, exactly("token-expired"), exactly("2020-01-02T00:00:00Z")),
        (revoked, 401, exactly("token-revoked"), Absent),
    ] {
        let authorization = format!("Bearer {}", issued.secret);
        // The path names no tenant; the credential does.
        let answer = service.send("GET", "/old/Users", &[("authorization", &authorization)], "");
        assert_eq!(answer.status, status, "{answer:?}");
        check(
            &row_of(&endpoint, &answer)["data"]["baseData"]["properties"],
            &[
                ("/scim.credential", exactly(issued.credential.id)),
                ("/scim.credential.expires", expires),
                ("/scim.error.rule", rule),
                ("/scim.tenant", exactly(TENANT)),
            ],
        );
    }
}

/// What an operator types is what rows have, whichever request named the person by what.
#[test]
fn the_command_subject_prints_what_rows_have() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("store.db").display());
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string()),
        ("SCIMGATE_STORE", &store),
    ]);
    let group =
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "g", "externalId": "g-1" });
    let refused = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "bjensen@example.com", "active": "x" });
    for (name, attribute, of, answer) in [
        (
            "BJensen@Example.com",
            "userName",
            "User",
            service.ask("POST", "/Users", &refused),
        ),
        (
            "u-1",
            "externalId",
            "User",
            service.ask("GET", "/Users?filter=externalId%20eq%20%22u-1%22", &Value::Null),
        ),
        ("g-1", "externalId", "Group", service.ask("POST", "/Groups", &group)),
    ] {
        let output = command(&["subject", TENANT, name, "--json"], &[("SCIMGATE_STORE", &store)]);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_it = |one: &&Value| one["attribute"] == attribute && one["resourceType"] == of;
        let found = printed["subjects"].as_array().unwrap().iter().find(is_it).unwrap();
        let row = row_of(&endpoint, &answer);
        assert_eq!(
            row["data"]["baseData"]["properties"]["scim.subject"], found["subject"],
            "{name}: {answer:?}"
        );
        let text =
            String::from_utf8(command(&["subject", TENANT, name], &[("SCIMGATE_STORE", &store)]).stdout).unwrap();
        assert!(text.contains(found["subject"].as_str().unwrap()), "{text}");
        assert!(!text.contains(name), "{text}");
    }
}

#[test]
fn the_process_tells_of_its_start_its_state_and_its_end() {
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[("APPLICATIONINSIGHTS_CONNECTION_STRING", &endpoint.connection_string())]);
    let (status, output) = service.stop();
    assert_eq!(status.code(), Some(143), "{output}");
    let all = endpoint.envelopes();
    let event = |name: &str| {
        all.iter()
            .find(|one| one["data"]["baseType"] == "EventData" && one["data"]["baseData"]["name"] == name)
    };
    for (name, fact) in [
        ("ProcessStarted", "startup.ms"),
        ("ProcessStarted", "config"),
        ("ShutdownStarted", "scim.inflight"),
        ("ShutdownFinished", "scim.inflight"),
    ] {
        let envelope = event(name).unwrap_or_else(|| panic!("no {name} in {all:#?}"));
        check(
            envelope,
            &[
                ("/name", exactly("Microsoft.ApplicationInsights.Event")),
                ("/tags/ai.cloud.role", exactly("scim.handler")),
                ("/tags/ai.application.ver", exactly(env!("CARGO_PKG_VERSION"))),
                (&format!("/data/baseData/properties/{fact}"), There),
            ],
        );
    }
    let metric = |name: &str| {
        all.iter()
            .filter(|one| one["data"]["baseData"]["metrics"][0]["name"] == name)
            .count()
    };
    for (name, least) in [
        ("process.uptime", 1),
        ("process.cpu.utilization", 1),
        ("process.memory.usage", 1),
        ("process.thread.count", 1),
        ("process.open_file_descriptors", 1),
        ("system.network.connections", 5),
        ("tokio.scheduler.lag", 1),
        ("db.client.connection.wait_time", 1),
        ("http.server.active_requests", 1),
        ("telemetry.export.failures", 1),
        ("otel.sdk.processor.span.processed", 1),
    ] {
        assert!(metric(name) >= least, "{name}: {} in {all:#?}", metric(name));
    }
    let of = |name: &str| {
        all.iter()
            .find(|one| one["data"]["baseData"]["metrics"][0]["name"] == name)
            .unwrap()
    };
    check(
        of("process.uptime"),
        &[
            ("/name", exactly("Microsoft.ApplicationInsights.Metric")),
            ("/tags/ai.cloud.role", exactly("scim.handler")),
            ("/tags/ai.cloud.roleInstance", exactly("instance-7")),
            ("/data/baseType", exactly("MetricData")),
            ("/data/baseData/metrics/0/value", There),
        ],
    );
    let state = "/data/baseData/properties/network.connection.state";
    check(of("system.network.connections"), &[(state, There)]);
}
