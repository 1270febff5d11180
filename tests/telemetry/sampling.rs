//! What is kept where only some calls are: every request, every failure, and of the fast successes a part that stands for all.

use std::{collections::BTreeMap, net::SocketAddr, thread};

use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Mode},
    service::{Answer, Service, free_port},
    tables::{Tap, connection_string},
};

/// Of 100 calls, those that are kept.
const SAMPLE: u8 = 10;
const LOOK_UPS: usize = 200;
/// Look-ups once storage has broken off: of them some would be kept, if they went well, and some not.
const CUT: usize = 30;
/// What takes longer is kept always (`telemetry::export`).
const SLOW_MICROS: u64 = 500_000;

/// Traces follow one another, so that any rule that keeps some of 100 keeps as many of each 100 of them.
fn trace(number: usize) -> String {
    format!("{number:032x}")
}

fn look_up(service: &Service, number: usize) -> Answer {
    let parent = format!("00-{}-00f067aa0ba902b7-00", trace(number));
    let path = "/Users?filter=userName%20eq%20%22bjensen%22";
    service.ask_with("GET", path, &[("traceparent", &parent)], "")
}

/// What the tap has seen begin.
fn calls(tap: &Tap) -> usize {
    tap.said().matches(" HTTP/1.1\r\n").count()
}

/// The rows of calls that belong to a request, by its trace.
fn calls_of<'r>(all: &'r [Value], trace: &str) -> Vec<&'r Value> {
    let is_one = |row: &&Value| {
        row["data"]["baseType"] == "RemoteDependencyData" && row["tags"]["ai.operation.id"].as_str() == Some(trace)
    };
    all.iter().filter(is_one).collect()
}

fn is_failure(call: &Value) -> bool {
    !call["data"]["baseData"]["properties"]["error.type"].is_null()
}

/// `0.00:00:00.123456`
fn micros(call: &Value) -> u64 {
    let text = call["data"]["baseData"]["duration"].as_str().unwrap();
    let (minutes, seconds) = text.rsplit_once(':').unwrap();
    assert_eq!(minutes, "0.00:00", "{text}");
    seconds.replace('.', "").parse().unwrap()
}

/// Every answer has its row, which stands for nothing but itself.
#[track_caller]
fn check_requests(all: &[Value], answers: &[Answer]) {
    for answer in answers {
        let (_, span) = answer.reference();
        let is_it = |row: &&Value| row["data"]["baseType"] == "RequestData" && row["data"]["baseData"]["id"] == span;
        let rows: Vec<_> = all.iter().filter(is_it).collect();
        assert_eq!(rows.len(), 1, "{answer:?}");
        assert_eq!(rows[0]["sampleRate"], 100.0, "{:#}", rows[0]);
    }
}

/// Every failure is there: tries of one call are counted, and none is missing between the first and the last one.
#[track_caller]
fn check_failures(all: &[Value]) {
    for number in LOOK_UPS + 1..=LOOK_UPS + CUT {
        let mut tries: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for call in calls_of(all, &trace(number))
            .into_iter()
            .filter(|call| is_failure(call))
        {
            let data = &call["data"]["baseData"];
            assert_eq!(
                (&data["success"], &call["sampleRate"]),
                (&json!(false), &json!(100.0)),
                "{call:#}"
            );
            let before = data["properties"]["http.request.resend_count"].as_str().unwrap();
            let tries = tries.entry(data["name"].as_str().unwrap()).or_default();
            tries.push(before.parse().unwrap());
        }
        assert!(!tries.is_empty(), "a 503 without a call that failed: look-up {number}");
        for (name, mut tries) in tries {
            tries.sort_unstable();
            assert!(tries.iter().copied().eq(0..tries.len()), "{number} {name}: {tries:?}");
        }
    }
}

/// Of the look-ups that went well, `each` of which made as many calls, as many are kept as is said, whole, and each row says for
/// how many it stands.
#[track_caller]
fn check_successes(all: &[Value], each: usize) {
    let expected = LOOK_UPS * usize::from(SAMPLE) / 100;
    let (mut kept, mut slow, mut rows) = (0, 0, 0);
    for number in 1..=LOOK_UPS {
        let calls = calls_of(all, &trace(number));
        let (slower, fast): (Vec<&Value>, Vec<&Value>) = calls.iter().partition(|call| micros(call) > SLOW_MICROS);
        for (calls, rate) in [(&slower, 100.0), (&fast, f64::from(SAMPLE))] {
            for call in calls {
                assert!(!is_failure(call), "{call:#}");
                assert_eq!(call["sampleRate"], rate, "{call:#}");
            }
        }
        assert!(
            fast.is_empty() || fast.len() + slower.len() == each,
            "look-up {number} made {each} calls: {calls:#?}"
        );
        kept += usize::from(!fast.is_empty());
        slow += usize::from(!slower.is_empty());
        rows += fast.len();
    }
    println!(
        "{rows} rows of {} calls, {kept} look-ups of {LOOK_UPS}, {slow} slow",
        each * LOOK_UPS
    );
    assert!(2 * rows < each * LOOK_UPS, "{rows} of {LOOK_UPS} times {each}");
    // One may be kept of which all calls were slow.
    assert!((kept..=kept + slow).contains(&expected), "{kept} of {LOOK_UPS}");
}

#[test]
fn sampling_keeps_every_request_and_every_failure() {
    let Some(connection) = connection_string() else { return };
    let azurite = connection.split("//").nth(1).unwrap().split('/').next().unwrap();
    let azurite: SocketAddr = azurite.parse().unwrap();
    let tap = Tap::start(azurite);
    let endpoint = Endpoint::start(Mode::Ok);
    let service = Service::start(&[
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &*endpoint.connection_string()),
        ("SCIMGATE_TELEMETRY_SAMPLE", &SAMPLE.to_string()),
        ("SCIMGATE_STORE", "tables:"),
        (
            "SCIMGATE_TABLES_CONNECTION",
            &connection.replace(&azurite.to_string(), &tap.address.to_string()),
        ),
        ("SCIMGATE_TABLE", &format!("sampling{}", free_port())),
        ("SCIMGATE_TENANT_RATE", "0"),
        ("SCIMGATE_DEADLINE", "2"),
    ]);
    let user = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "bjensen" });
    assert_eq!(service.ask("POST", "/Users", &user).status, 201);
    let mut answers = Vec::new();
    let mut made = Vec::new();
    for number in 1..=LOOK_UPS {
        let before = calls(&tap);
        let answer = look_up(&service, number);
        assert_eq!(answer.json()["totalResults"], 1, "{answer:?}");
        made.push(calls(&tap) - before);
        answers.push(answer);
    }
    // Now and then the service asks for something on its own account.
    made.sort_unstable();
    let each = made[LOOK_UPS / 2];
    assert!(
        each > 1,
        "with one call each, 'all of them or none' says nothing: {made:?}"
    );
    tap.cut();
    let cut = thread::scope(|scope| {
        let service = &service;
        let cut: Vec<_> = (LOOK_UPS + 1..=LOOK_UPS + CUT)
            .map(|number| scope.spawn(move || look_up(service, number)))
            .collect();
        cut.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in &cut {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    answers.extend(cut);
    // What waits is sent.
    service.stop();
    let all = endpoint.envelopes();
    check_requests(&all, &answers);
    check_failures(&all);
    check_successes(&all, each);
}
