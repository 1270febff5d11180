//! Rows of two customers of one service, one of whom fails: what queries compare is told apart nowhere else (tests/infra/recorded.py).

use std::{net::SocketAddr, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Mode},
    service::{Answer, Service, TENANT, command, free_port},
    tables::{Tap, connection_string},
};

/// A customer with a token of its own.
struct Customer {
    tenant: &'static str,
    authorization: String,
}

impl Customer {
    fn new(tenant: &'static str, words: &[&str], settings: &[(&str, &str)]) -> Self {
        let output = command(words, settings);
        let issued: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let authorization = format!("Bearer {}", issued["secretToken"].as_str().unwrap());
        Self { tenant, authorization }
    }

    fn ask(&self, service: &Service, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [
            ("authorization", self.authorization.as_str()),
            ("content-type", "application/scim+json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        service.send(method, &format!("/scim/{}{path}", self.tenant), &headers, &body)
    }
}

fn user(name: &str) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name })
}

/// A look-up of Entra's, by a token that ends in nine days; who is there, and who is refused: the same row says all of it.
#[test]
fn a_customer_who_fails_stands_beside_one_who_is_well() {
    const REFUSED: usize = 12;
    const FAILED: usize = 6;
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
    let settings = [
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", &*endpoint.connection_string()),
        ("SCIMGATE_STORE", "tables:"),
        (
            "SCIMGATE_TABLES_CONNECTION",
            &connection.replace(&azurite.to_string(), &tap.address.to_string()),
        ),
        ("SCIMGATE_TABLE", &format!("questions{}", free_port())),
        ("SCIMGATE_DEADLINE", "2"),
    ];
    let service = Service::start(&settings);
    let calm = Customer::new("calm", &["tenant", "create", "calm", "--json"], &settings);
    let acme = Customer::new(
        TENANT,
        &["token", "create", TENANT, "--expires", "9d", "--json"],
        &settings,
    );
    let look_up = "/Users?filter=userName%20eq%20%22bjensen%40example.com%22";
    assert_eq!(calm.ask(&service, "GET", look_up, &Value::Null).status, 200);
    assert_eq!(
        calm.ask(&service, "POST", "/Users", &user("bjensen@example.com"))
            .status,
        201
    );

    let mut unmapped = user("kept@example.com");
    unmapped["favouriteColour"] = json!("green");
    let made = acme.ask(&service, "POST", "/Users", &unmapped);
    assert_eq!(made.status, 201, "{made:?}");
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "g",
        "members": [{ "value": made.json()["id"] }] });
    assert_eq!(acme.ask(&service, "POST", "/Groups", &group).status, 201);
    let mut refused = user("bjensen@example.com");
    refused["active"] = json!("perhaps");
    for _ in 0..REFUSED {
        assert_eq!(
            acme.ask(&service, "GET", look_up, &Value::Null).json()["totalResults"],
            0
        );
        assert_eq!(acme.ask(&service, "POST", "/Users", &refused).status, 400);
    }
    at_once(3, &tap, || {
        assert_eq!(acme.ask(&service, "GET", look_up, &Value::Null).status, 200);
    });
    tap.cut();
    for _ in 0..FAILED {
        assert_eq!(acme.ask(&service, "GET", look_up, &Value::Null).status, 503);
    }
    service.stop();
}

/// The same request as many times at one moment: storage answers when all have asked it.
fn at_once(times: usize, tap: &Tap, ask: impl Fn() + Sync) {
    let asked = || tap.said().matches("GET /").count();
    let before = asked();
    tap.hold(true);
    thread::scope(|scope| {
        for _ in 0..times {
            scope.spawn(&ask);
        }
        while asked() < before + times {
            thread::sleep(Duration::from_millis(5));
        }
        tap.hold(false);
    });
}
