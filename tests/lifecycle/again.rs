//! As a proxy the Functions host sends a request without a body again when its connection to us broke before the answer
//! (functions-host.md §2.2), which may be after the deed.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::{
    Desk, SECRET, Server, TENANT,
    client::{new_group, new_user},
};

const HANDLER: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";
const FIRST: &str = "1b4c6a3e-5f0d-4f0e-9a36-0d1c2b3a4f5e";
const OTHER: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

impl Server {
    /// Status and body of the answer, to a request with these lines in its head.
    fn ask(&self, method: &str, path: &str, lines: &[String], body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (lines, length) = (lines.concat(), body.len());
        write!(
            stream,
            "{method} /scim/{TENANT}{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\nConnection: close\r\n\
             Content-Type: application/scim+json\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head[9..12].parse().unwrap(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }

    fn delete(&self, path: &str, invocations: &[&str]) -> u16 {
        let line = |id: &&str| format!("X-Azure-Functions-InvocationId: {id}\r\n");
        let lines: Vec<String> = invocations.iter().map(line).collect();
        self.ask("DELETE", path, &lines, "").0
    }

    fn create(&self, endpoint: &str, new: &Value) -> String {
        let (status, made) = self.ask("POST", endpoint, &[], &new.to_string());
        assert_eq!(status, 201, "{made}");
        format!("{endpoint}/{}", made["id"].as_str().unwrap())
    }
}

fn check(desk: &Desk) {
    let (first, second) = (Server::start(desk, HANDLER), Server::start(desk, HANDLER));
    for (endpoint, new) in [("/Users", new_user("bjensen")), ("/Groups", new_group("Employees"))] {
        let path = first.create(endpoint, &new);
        assert_eq!(first.delete(&path, &[FIRST]), 204);
        for server in [&first, &second] {
            assert_eq!(server.delete(&path, &[FIRST]), 204, "{path}, sent again");
            // FORWARD: the host appends its own to the client's.
            assert_eq!(server.delete(&path, &[OTHER, FIRST]), 204, "{path}, sent again");
            assert_eq!(server.delete(&path, &[FIRST, OTHER]), 404, "{path}, another request");
            assert_eq!(server.delete(&path, &[OTHER]), 404, "{path}, another request");
            assert_eq!(server.delete(&path, &[]), 404, "{path}, without the host");
            assert_eq!(server.ask("GET", &path, &[], "").0, 404);
        }
        // Nobody deleted this one.
        assert_eq!(first.delete(&format!("{endpoint}/{FIRST}"), &[FIRST]), 404);
        // Whose name is taken by somebody else by now.
        let other = first.create(endpoint, &new);
        assert_eq!(first.delete(&path, &[FIRST]), 204);
        assert_eq!(first.ask("GET", &other, &[], "").0, 200);
        assert_eq!(first.delete(&other, &["no id"]), 204);
        assert_eq!(first.delete(&other, &["no id"]), 404, "what is no id is none");
    }
    // Without the host nobody sends anything again, and whoever says so is not believed.
    let direct = Server::start(desk, "SCIMGATE_PORT");
    let path = direct.create("/Users", &new_user("bjensen"));
    assert_eq!(direct.delete(&path, &[FIRST]), 204);
    assert_eq!(direct.delete(&path, &[FIRST]), 404);
}

/// E-USER-06: a second DELETE is 404, unless it is the first one, sent twice.
#[test]
fn a_delete_that_the_host_sends_again_is_answered_204_again() {
    check(&Desk::sqlite());
    match Desk::tables() {
        Some(desk) => check(&desk),
        None => println!("skipped: a DELETE sent again on tables, as AZURITE_CONNECTION_STRING is not set"),
    }
}
