//! The names that rows have, in three places that must agree: what is emitted, the tables of docs/telemetry.md, and what
//! queries ask for (tests/infra/contract.json, which `./test infra` compares with the queries themselves).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Mode},
    service::{Service, TENANT, command, free_port},
    tables::{Tap, connection_string},
};

type Names = BTreeSet<String>;

/// Headings of the tables, with the kind of row that each is about.
const TABLES: [(&str, &str); 4] = [
    ("### Requests", "RequestData"),
    ("### Calls to others", "RemoteDependencyData"),
    ("### Events", "EventData"),
    ("### Measurements", "MetricData"),
];
/// And of the one about what every row has.
const EVERY_ROW: &str = "### Every row";
/// What a kernel or a container may not tell.
const SOMETIMES: [&str; 7] = [
    "container.cpu.limit",
    "container.cpu.throttled",
    "container.cpu.utilization",
    "container.memory.limit",
    "container.memory.usage",
    "system.pressure",
    "system.pressure.resource",
];

#[test]
fn rows_have_the_names_that_are_documented_and_asked_for() {
    let Some(connection) = connection_string() else { return };
    let endpoint = Endpoint::start(Mode::Ok);
    provoke(&endpoint.connection_string(), &connection);
    let emitted = names(&endpoint.envelopes());
    let documented = documented();
    let every = &documented[EVERY_ROW];
    for (heading, kind) in TABLES {
        let own = |all: &Names| -> Names {
            let rest = all.difference(every).filter(|name| !SOMETIMES.contains(&name.as_str()));
            rest.cloned().collect()
        };
        let lacks: Vec<_> = every.difference(&emitted[kind]).collect();
        assert!(lacks.is_empty() || kind == "EventData", "{kind} lacks {lacks:?}");
        assert_eq!(
            own(&emitted[kind]),
            own(&documented[heading]),
            "{heading}: left is emitted, right is documented"
        );
    }
    let contract: Value = serde_json::from_str(&read("tests/infra/contract.json")).unwrap();
    let all: Names = emitted.values().chain(documented.values()).flatten().cloned().collect();
    for list in ["attributes", "events", "metrics"] {
        for name in contract[list].as_array().unwrap() {
            assert!(all.contains(name.as_str().unwrap()), "{list}: nobody writes {name}");
        }
    }
    for envelope in endpoint.envelopes() {
        assert_eq!(envelope["tags"]["ai.cloud.role"], contract["role"]);
    }
}

/// The table of questions names what proves each; a proof that is gone or renamed is none.
#[test]
fn proofs_of_the_answers_are_there() {
    let document = read("docs/telemetry.md");
    let (_, questions) = document.split_once("## Questions").unwrap();
    let cases = read("tests/infra/recorded.py") + &read("tests/infra/data.py");
    let mut proofs = 0;
    for row in questions
        .lines()
        .filter(|line| line.starts_with("| ") && line.ends_with(" |"))
    {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for test in last.split('`').skip(1).step_by(2) {
            let (module, name) = test.split_once("::").unwrap();
            let source = read(&format!("tests/telemetry/{module}.rs"));
            assert!(source.contains(&format!("fn {name}(")), "there is no test {test}");
            proofs += 1;
        }
        for case in last.split('*').skip(1).step_by(2) {
            assert!(
                cases.contains(&format!("(\"{case}\"")),
                "./test infra has no case {case:?}"
            );
            proofs += 1;
        }
    }
    assert!(proofs > 20, "{proofs}");
}

/// At least one row of every kind, with everything that each can have.
fn provoke(telemetry: &str, tables: &str) {
    let azurite: SocketAddr = tables
        .split("//")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let tap = Tap::start(azurite);
    let settings = [
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", telemetry),
        ("SCIMGATE_STORE", "tables:"),
        (
            "SCIMGATE_TABLES_CONNECTION",
            &tables.replace(&azurite.to_string(), &tap.address.to_string()),
        ),
        ("SCIMGATE_TABLE", &format!("contract{}", free_port())),
        ("SCIMGATE_TENANT_RATE", "25"),
        ("SCIMGATE_DEADLINE", "2"),
    ];
    let service = Service::start(&settings);
    let user = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "u", "externalId": "e", "nonsense": 1 });
    let created = service.ask_with("POST", "/Users", &identified(), &user.to_string());
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "g", "members": [{ "value": id }] });
    assert_eq!(service.ask("POST", "/Groups", &group).status, 201);
    let patch = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "active", "value": "perhaps" }] });
    assert_eq!(service.ask("PATCH", &format!("/Users/{id}"), &patch).status, 400);
    assert_eq!(
        service
            .ask_with("GET", "/Users", &[("user-agent", "scimgate-doctor/1")], "")
            .status,
        200
    );
    let look_up = "/Users?filter=userName%20eq%20%22u%22";
    assert_eq!(service.ask("GET", look_up, &Value::Null).status, 200);
    // A token that ends some day; the first one never does.
    let issued: Value =
        serde_json::from_slice(&command(&["token", "create", TENANT, "--json"], &settings).stdout).unwrap();
    let authorization = format!("Bearer {}", issued["secretToken"].as_str().unwrap());
    let answer = service.send("GET", "/scim/acme/Users", &[("authorization", &authorization)], "");
    assert_eq!(answer.status, 200);
    // No call to storage slows them down.
    assert!((0..1_000).any(|_| service.ask("GET", "/Schemas", &Value::Null).status == 429));
    tap.cut();
    while service.ask("GET", look_up, &Value::Null).status != 503 {}
    service.stop();
}

/// Every header by which somebody names a request.
fn identified() -> Vec<(&'static str, &'static str)> {
    let mut headers = [
        "client-request-id",
        "request-id",
        "x-request-id",
        "x-ms-request-id",
        "x-ms-correlation-id",
        "x-correlation-id",
        "x-azure-functions-invocationid",
        "x-arr-log-id",
        "x-azure-ref",
        "x-envoy-attempt-count",
        "x-envoy-expected-rq-timeout-ms",
        "x-ms-coldstart",
        "user-agent",
    ]
    .map(|name| (name, "1"))
    .to_vec();
    headers.push(("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"));
    headers
}

/// What rows of each kind have: attributes, and the names of events and measurements.
fn names(envelopes: &[Value]) -> BTreeMap<String, Names> {
    let mut all = BTreeMap::<String, Names>::new();
    for envelope in envelopes {
        let data = &envelope["data"];
        let names = all.entry(data["baseType"].as_str().unwrap().to_owned()).or_default();
        let attributes = data["baseData"]["properties"].as_object();
        names.extend(attributes.into_iter().flat_map(|all| all.keys().cloned()));
        let own = match data["baseType"].as_str() {
            Some("EventData") => &data["baseData"]["name"],
            Some("MetricData") => &data["baseData"]["metrics"][0]["name"],
            _ => &Value::Null,
        };
        names.extend(own.as_str().map(str::to_owned));
    }
    all
}

/// The names in the first column of each table of docs/telemetry.md, by the heading above it.
fn documented() -> BTreeMap<String, Names> {
    let mut all = BTreeMap::<String, Names>::new();
    let mut heading = String::new();
    for line in read("docs/telemetry.md").lines() {
        if line.starts_with('#') {
            line.clone_into(&mut heading);
        }
        let Some((first, _)) = line.strip_prefix("| `").and_then(|row| row.split_once(" |")) else {
            continue;
        };
        let names = first.split('`').step_by(2).map(str::to_owned);
        all.entry(heading.clone()).or_default().extend(names);
    }
    all
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}
