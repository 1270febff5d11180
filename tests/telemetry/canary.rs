//! No personal data leaves by a side door: a user and a group whose every value is a marker, every refusal provoked with
//! markers in it, storage that breaks off; then no marker is in any envelope, line of output, command's output,
//! `scimgate-normalized`, storage key or URL. A panic's message has doors of its own (`inside`).
//!
//! What an operator typed is no news to the operator, so a command may repeat it, and nothing else: not the e-mail address of
//! whom was asked for by userName. With `--names`, which says so, commands show names; it is not used here.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    endpoint::{Endpoint, Mode},
    service::{Answer, Service, TENANT, TOKEN, command_reading, free_port},
    tables::{Tap, connection_string},
};

/// What every marker has; everything is compared in lower case.
const MARK: &str = "canary7";
/// What stands where an id belongs. By an id a resource is looked up, so it stands in keys and in storage's URLs, whatever a
/// client takes for one; but nowhere else.
const ID_MARK: &str = "canid7";

/// A value that stands for an attribute.
fn mark(attribute: &str) -> String {
    format!("Canary7{attribute}")
}

/// Everything by which something could leave.
#[derive(Default)]
struct Doors(BTreeMap<&'static str, String>);

impl Doors {
    fn add(&mut self, door: &'static str, text: &str) {
        let all = self.0.entry(door).or_default();
        all.push_str(&text.to_lowercase());
        all.push('\n');
    }

    /// The doors by which a marker left.
    fn leaks(&self) -> Vec<&'static str> {
        let leaks = self.0.keys().filter(|door| self.leak(door).is_some());
        leaks.copied().collect()
    }

    /// Where the first marker stands in what left by a door.
    fn leak(&self, door: &str) -> Option<usize> {
        let text = &self.0[door];
        let id = text.find(ID_MARK).filter(|_| !["keys", "urls"].contains(&door));
        text.find(MARK).or(id)
    }

    /// What is around it.
    fn around(&self, door: &str) -> String {
        let (text, at) = (&self.0[door], self.leak(door).unwrap());
        let (from, until) = (at.saturating_sub(400), (at + 200).min(text.len()));
        String::from_utf8_lossy(&text.as_bytes()[from..until]).into_owned()
    }
}

/// The service on a store, and all its doors.
struct Stage {
    endpoint: Endpoint,
    service: Service,
    tap: Option<Tap>,
    folder: TempDir,
    settings: Vec<(String, String)>,
    doors: Doors,
}

impl Stage {
    fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("store.db").display());
        Self::start(folder, None, vec![("SCIMGATE_STORE".to_owned(), store)])
    }

    fn on_tables() -> Option<Self> {
        let connection = connection_string()?;
        let azurite: SocketAddr = connection.split("//").nth(1)?.split('/').next()?.parse().unwrap();
        let tap = Tap::start(azurite);
        let tapped = connection.replace(&azurite.to_string(), &tap.address.to_string());
        let settings = [
            ("SCIMGATE_STORE", "tables:"),
            ("SCIMGATE_TABLES_CONNECTION", &tapped),
            ("SCIMGATE_TABLE", &format!("canary{}", free_port())),
            ("SCIMGATE_DEADLINE", "3"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Self::start(tempfile::tempdir().unwrap(), Some(tap), settings.to_vec()))
    }

    fn start(folder: TempDir, tap: Option<Tap>, settings: Vec<(String, String)>) -> Self {
        let endpoint = Endpoint::start(Mode::Ok);
        let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        let connection = endpoint.connection_string();
        all.push(("APPLICATIONINSIGHTS_CONNECTION_STRING", &connection));
        Self {
            service: Service::start(&all),
            endpoint,
            tap,
            folder,
            settings,
            doors: Doors::default(),
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.ask_with(method, path, &[], &body)
    }

    fn ask_with(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let answer = self.service.ask_with(method, path, headers, body);
        self.doors
            .add("normalized", &answer.header("scimgate-normalized").unwrap_or_default());
        answer
    }

    /// An operator's command, on the same store; how it ended. What was typed is left out of what is printed.
    fn command(&mut self, words: &[&str]) -> Option<i32> {
        self.command_reading("", words).0
    }

    /// The same with this on its standard input; how it ended, and its standard output.
    fn command_reading(&mut self, input: &str, words: &[&str]) -> (Option<i32>, String) {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        let output = command_reading(input, words, &settings);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let printed = format!("{told}{}", String::from_utf8_lossy(&output.stderr)).to_lowercase();
        let typed = words.iter().map(|word| word.to_lowercase());
        let typed = typed.filter(|word| word.contains(MARK) || word.contains(ID_MARK));
        let printed = typed.fold(printed, |printed, word| printed.replace(&word, ""));
        assert!(!printed.is_empty(), "{words:?} prints nothing");
        self.doors.add("command", &printed);
        (output.status.code(), told)
    }

    /// A file of an operator's.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Stops, looks at everything, and names the doors by which a marker left.
    fn end(mut self) -> (Vec<&'static str>, Doors) {
        let database = self.folder.path().join("store.db");
        if let Some(tap) = &self.tap {
            // Keys stand in URLs and, in plain text, in bodies; values in neither.
            let said = tap.said();
            let (urls, rest): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| is_url(line));
            self.doors.add("urls", &urls.join("\n"));
            self.doors.add("keys", &rest.join("\n"));
        } else {
            let store = rusqlite::Connection::open(database).unwrap();
            let mut rows = store.prepare("SELECT partition, key FROM rows").unwrap();
            let keys = rows.query_map([], |row| {
                Ok(format!("{} {}", row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            });
            for key in keys.unwrap() {
                self.doors.add("keys", &key.unwrap());
            }
        }
        let (_, output) = self.service.stop();
        self.doors.add("output", &output);
        self.doors
            .add("envelopes", &json!(self.endpoint.envelopes()).to_string());
        for (door, text) in &self.doors.0 {
            assert!(*door == "normalized" || text.len() > 100, "{door} is empty: {text}");
        }
        (self.doors.leaks(), self.doors)
    }
}

/// A request to storage, also one in the body of a transaction.
fn is_url(line: &str) -> bool {
    line.ends_with(" HTTP/1.1")
}

/// A user with a marker in every attribute that it can have.
fn user(suffix: &str) -> Value {
    let m = |attribute: &str| mark(&format!("{attribute}{suffix}"));
    let address = |attribute: &str| format!("{}@example.com", m(attribute));
    let url = |attribute: &str| format!("https://example.com/{}", m(attribute));
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "userName": address("userName"), "externalId": m("externalId"),
        "name": { "formatted": m("formatted"), "familyName": m("familyName"), "givenName": m("givenName"),
            "middleName": m("middleName"), "honorificPrefix": m("prefix"), "honorificSuffix": m("suffix") },
        "displayName": m("displayName"), "nickName": m("nickName"), "profileUrl": url("profileUrl"),
        "title": m("title"), "userType": m("userType"), "preferredLanguage": m("language"), "locale": m("locale"),
        "timezone": m("timezone"), "active": "True", "password": m("password"),
        "emails": [{ "value": address("email"), "type": "work", "primary": true, "display": m("emailDisplay") },
            { "value": address("home"), "type": m("emailType") }],
        "phoneNumbers": [{ "value": m("phone"), "type": "work", "display": m("phoneDisplay") }],
        "ims": [{ "value": m("im"), "type": "xmpp", "display": m("imDisplay") }],
        "photos": [{ "value": url("photo"), "type": "photo", "display": m("photoDisplay") }],
        "addresses": [{ "formatted": m("address"), "streetAddress": m("street"), "locality": m("locality"),
            "region": m("region"), "postalCode": m("postal"), "country": m("country"), "type": "work" }],
        "entitlements": [{ "value": m("entitlement"), "display": m("entitlementDisplay") }],
        "roles": [{ "value": m("role"), "display": m("roleDisplay"), "type": m("roleType") }],
        "x509Certificates": [{ "value": m("certificate"), "display": m("certificateDisplay") }],
        "nonsense": m("nonsense"),
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "employeeNumber": m("employee"), "costCenter": m("cost"), "organization": m("organization"),
            "division": m("division"), "department": m("department"),
            "manager": { "value": "Canid7-manager", "displayName": m("managerName") } }
    })
}

fn patch(operations: &Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

/// What goes well.
fn good(stage: &mut Stage) -> (String, String) {
    let created = stage.ask("POST", "/Users", &user(""));
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let one = format!("/Users/{id}");
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": mark("group"),
        "externalId": mark("groupExternal"), "members": [{ "value": id, "display": mark("member") }] });
    let made = stage.ask("POST", "/Groups", &group);
    assert_eq!(made.status, 201, "{made:?}");
    let group = made.json()["id"].as_str().unwrap().to_owned();
    let user_name = format!("userName eq \"{}@example.com\"", mark("userName"));
    for filter in [
        user_name.as_str(),
        "emails.value eq \"Canary7email@example.com\" and active eq true",
        "emails[type eq \"work\" and value co \"Canary7\"]",
        "externalId eq Canary7externalId",
        "name.familyName sw \"Canary7\" or not (title pr)",
    ] {
        let query: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        let found = stage.ask("GET", &format!("/Users?filter={query}&sortBy=userName"), &Value::Null);
        assert_eq!(found.status, 200, "{filter}: {found:?}");
    }
    let search = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": user_name });
    let operations = json!([
        { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "Canary7new@example.com" },
        { "op": "add", "value": { "name.givenName": mark("new"), "nickName": "" } },
        { "op": "remove", "path": "phoneNumbers[value eq \"Canary7phone\"]" }
    ]);
    for (method, path, body, status) in [
        ("POST", "/Users/.search", search, 200),
        ("PATCH", one.as_str(), patch(&operations), 200),
        ("PUT", one.as_str(), user(""), 200),
        ("GET", one.as_str(), Value::Null, 200),
        (
            "GET",
            "/Groups?filter=displayName%20eq%20%22Canary7group%22",
            Value::Null,
            200,
        ),
    ] {
        let answer = stage.ask(method, path, &body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    (id, group)
}

/// Resources that are refused.
fn bad_resources(stage: &mut Stage, id: &str) {
    for (attribute, value) in [
        ("active", json!(mark("active"))),
        ("emails", json!(mark("emails"))),
        ("emails", json!([{ "value": { "x": mark("deep") } }])),
        ("emails", json!([[mark("array")]])),
        ("userName", json!([mark("userName")])),
        ("userName", json!("Canary7userName@example.com")),
        ("name", json!(mark("name"))),
        ("profileUrl", json!(format!("{} with spaces", mark("url")))),
        ("schemas", json!([mark("schema")])),
        ("x509Certificates", json!([{ "value": format!("{}!", mark("base64")) }])),
        ("title", json!(mark("title").repeat(40_000))),
    ] {
        let mut user = user("Other");
        user[attribute] = value;
        stage.ask("POST", "/Users", &user);
        stage.ask("PUT", &format!("/Users/{id}"), &user);
    }
    stage.ask("POST", "/Users", &json!([mark("array")]));
    stage.ask("POST", "/Groups", &json!({ "displayName": { "x": mark("group") } }));
    for text in [
        "{\"userName\":\"Canary7",
        "Canary7",
        "{\"userName\":\"Canary7\\q\"}",
        "{\"userName\":Canary7}",
    ] {
        let answer = stage.ask_with("POST", "/Users", &[], text);
        assert_eq!(answer.status, 400, "{text}: {answer:?}");
    }
}

/// Messages that are refused, or half.
fn bad_messages(stage: &mut Stage, id: &str, group: &str) {
    let (one, group) = (format!("/Users/{id}"), format!("/Groups/{group}"));
    for (path, operations) in [
        (
            &one,
            json!([{ "op": mark("op"), "path": "title", "value": mark("title") }]),
        ),
        (
            &one,
            json!([{ "op": "replace", "path": "active", "value": mark("active") }]),
        ),
        (
            &one,
            json!([{ "op": "replace", "path": "emails[value eq \"Canary7@x\"", "value": 1 }]),
        ),
        (
            &one,
            json!([{ "op": "replace", "path": "emails[value eq Canary7@x and].type", "value": 1 }]),
        ),
        (
            &one,
            json!([{ "op": "remove", "path": "emails[value eq \"Canary7none\"]" }]),
        ),
        (&one, json!(mark("operations"))),
        (
            &group,
            json!([{ "op": "add", "path": "members", "value": [{ "value": "Canid7 member@x" }] }]),
        ),
        (
            &group,
            json!([{ "op": "add", "path": "members", "value": [{ "value": "Canid7" }] }]),
        ),
        (
            &group,
            json!([{ "op": "remove", "path": "members[value eq \"Canid7none\"]" }]),
        ),
    ] {
        stage.ask("PATCH", path, &patch(&operations));
    }
    let bulk = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [
        { "method": "POST", "path": "/Users", "bulkId": mark("bulk"), "data": user("") },
        { "method": "POST", "path": "/Users", "bulkId": mark("bulk"), "data": user("") },
        { "method": "PUT", "path": "/Users/Canid7@x", "data": user("") },
        { "method": "DELETE", "path": "/Users/bulkId:Canid7" } ] });
    stage.ask("POST", "/Bulk", &bulk);
}

/// Requests that are refused by what is not their body.
fn bad_heads(stage: &mut Stage, id: &str) {
    for query in [
        "filter=userName%20eq%20%22Canary7",
        "filter=userName%20eq%20Canary7%20and",
        "filter=userName%20xx%20%22Canary7%22",
        "filter=active%20eq%20%22Canary7%22",
        "filter=meta.created%20gt%20%22Canary7%22",
        "filter=%22Canary7%22%20eq%20userName",
        "filter=Canary7%40example.com",
        "startIndex=Canary7",
        "count=Canary7",
        "cursor=Canary7",
        "sortOrder=Canary7",
    ] {
        stage.ask("GET", &format!("/Users?{query}"), &Value::Null);
    }
    for path in [
        "Canid7@example.com",
        "canid7-smith",
        "Canid7%40example.com/x",
        "Canid7/Canid7/Canid7",
    ] {
        for method in ["GET", "PUT", "PATCH", "DELETE", "POST"] {
            stage.ask(method, &format!("/Users/{path}"), &user("Path"));
        }
    }
    for headers in [
        [("if-match", "W/\"Canary7\"")],
        [("if-none-match", "Canary7")],
        [("content-encoding", "Canary7")],
        [("x-forwarded-host", "Canary7")],
        [("accept", "Canary7")],
    ] {
        stage.ask_with("PUT", &format!("/Users/{id}"), &headers, &user("").to_string());
    }
    for credential in [
        "Bearer Canary7",
        "Basic Q2FuYXJ5Nw==Canary7",
        "Bearer Bearer Canary7",
        "Canary7",
        "Bearer Canary7 x",
    ] {
        let answer = stage
            .service
            .send("GET", "/scim/acme/Users", &[("authorization", credential)], "");
        assert_eq!(answer.status, 401, "{credential}: {answer:?}");
    }
    let authorization = format!("Bearer {TOKEN}");
    for target in ["/scim/Canary7@x/Users", "/Users/Canid7", "/v1/Users/Canid7?x=Canary7"] {
        stage
            .service
            .send("GET", target, &[("authorization", &authorization)], "");
    }
}

/// Requests of which there is too much: in one, and of them.
fn too_much(stage: &mut Stage) {
    let mut large = user("Large");
    large["title"] = json!(mark("title").repeat(200_000));
    for (method, path) in [("POST", "/Users"), ("POST", "/Bulk"), ("PATCH", "/Users/Canid7")] {
        assert_eq!(stage.ask(method, path, &large).status, 413, "{method} {path}");
    }
    let operation = json!({ "op": "replace", "path": "emails[value eq \"Canary7\"].value", "value": mark("email") });
    stage.ask("PATCH", "/Users/Canid7", &patch(&json!(vec![operation; 5_000])));
    let mut settings: Vec<(&str, &str)> = stage.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    let connection = stage.endpoint.connection_string();
    settings.push(("APPLICATIONINSIGHTS_CONNECTION_STRING", &connection));
    settings.push(("SCIMGATE_TENANT_RATE", "25"));
    let hurried = Service::start(&settings);
    let head = format!("host: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 0\r\n");
    let often =
        format!("GET /scim/{TENANT}/Users?filter=userName%20eq%20%22Canary7 HTTP/1.1\r\n{head}\r\n").repeat(400);
    let last = format!("GET /health HTTP/1.1\r\n{head}connection: close\r\n\r\n");
    let mut stream = TcpStream::connect(hurried.address).unwrap();
    stream.write_all((often + &last).as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert!(answers.contains("HTTP/1.1 429 "));
    let (_, output) = hurried.stop();
    stage.doors.add("output", &output);
}

/// An operator's whole day: every command that reads what a customer sent, and a schema with mistakes in it.
fn operate(stage: &mut Stage, id: &str) {
    let (user_name, external) = (format!("{}@example.com", mark("userName")), mark("externalId"));
    import(stage, id);
    hand_over(stage);
    for (words, code) in [
        (&["tenant", "list"][..], 0),
        (&["tenant", "show", TENANT], 0),
        (&["token", "create", TENANT, "--json"], 0),
        (&["token", "list", TENANT], 0),
        (&["schema", "list", TENANT], 0),
        (&["history", TENANT, "--all"], 0),
        (&["history", TENANT, "--all", "--json"], 0),
        (&["history", TENANT, &user_name], 0),
        (&["history", TENANT, &external, "--json"], 0),
        (&["history", TENANT, id], 0),
        (&["history", TENANT, &mark("nobody")], 0),
        (&["check", TENANT], 0),
        (&["repair", TENANT], 0),
        (&["subject", TENANT, &user_name], 0),
        (&["restore", TENANT, "--list"], 0),
        (&["restore", TENANT, "Canid7-nobody"], 1),
        (&["restore", TENANT, id, "--dry-run"], 0),
        (&["restore", TENANT, id], 0),
        (&["erase", TENANT, "Canid7-nobody", "--yes"], 1),
        (&["erase", TENANT, id, "--yes"], 0),
        (&["purge", TENANT, "--yes"], 0),
        (&["purge", "--all", "--yes", "--json"], 0),
    ] {
        assert_eq!(stage.command(words), Some(code), "{words:?}");
    }
    wrong_schemas(stage);
    explain(stage);
    let url = format!("http://{}/scim/{TENANT}", stage.service.address);
    stage.command(&["doctor", &url, "--token", TOKEN, "--read-only", "--quick"]);
}

/// A user as another service would have it.
fn described(id: &str, attribute: &str, value: &Value) -> Value {
    let mut user = user(id);
    for unknown in ["nonsense", "password"] {
        user.as_object_mut().unwrap().remove(unknown);
    }
    user["id"] = id.into();
    user[attribute] = value.clone();
    user
}

/// A group as another service would have it.
fn described_group(id: &str, member: &str) -> Value {
    json!({ "id": id, "displayName": mark(id), "externalId": mark(id), "members": [{ "value": member }] })
}

/// Lines that are not imported, each with the kind of its conflict; `deleted` is the id of a user who was.
fn conflicting(deleted: &str) -> Vec<(String, &'static str)> {
    let refused = [
        ("active", json!(mark("active"))),
        ("emails", json!([[mark("array")]])),
        ("userName", json!({ "x": mark("deep") })),
        ("schemas", json!([mark("schema")])),
        ("title", json!(mark("title").repeat(40_000))),
        ("profileUrl", json!({ "x": mark("url") })),
        ("x509Certificates", json!([{ "value": { "x": mark("base64") } }])),
    ];
    let refused = refused.iter().enumerate();
    let mut lines: Vec<(String, &'static str)> = refused
        .map(|(number, (attribute, value))| (described(&format!("r{number}"), attribute, value), "refused"))
        .chain([
            (described("taken", "userName", &user("there")["userName"]), "taken"),
            (described("also", "title", &json!(mark("other"))), "differs"),
            (described("one", "userName", &json!(mark("twice"))), "twice"),
            (described("two", "userName", &json!(mark("twice"))), "twice"),
            (
                described("unknown", "nonsense", &json!(mark("nonsense"))),
                "unknown-attribute",
            ),
            (
                described("secret", "password", &json!(mark("password"))),
                "unknown-attribute",
            ),
            (described("time", "meta", &json!({ "created": mark("time") })), "time"),
            (described("x", "id", &json!(mark("with spaces"))), "id"),
            (described(deleted, "title", &json!(mark("title"))), "deleted"),
            (described("others", "title", &json!(mark("title"))), "other-type"),
            (described_group("lonely", "nobody"), "unknown-member"),
            (described_group("odd", "Canary7 who has no id"), "unknown-member"),
            (described_group("own", "own"), "own-member"),
            (json!([mark("array")]), "no-type"),
            (json!({ "title": mark("title") }), "refused"),
            (json!({ "externalId": mark("e") }), "no-type"),
        ])
        .map(|(line, kind)| (line.to_string(), kind))
        .collect();
    lines.extend([
        ("{\"userName\":\"Canary7".to_owned(), "not-json"),
        ("Canary7".to_owned(), "not-json"),
        (
            "{\"userName\":\"Canary7a\",\"userName\":\"Canary7b\"}".to_owned(),
            "refused",
        ),
    ]);
    lines
}

/// What another service had: first what comes in, then every reason why something does not.
fn import(stage: &mut Stage, deleted: &str) {
    let lines = [
        described("there", "title", &json!(mark("title"))).to_string(),
        described("also", "title", &json!(mark("title"))).to_string(),
        described_group("others", "there").to_string(),
    ];
    let file = stage.file("users.jsonl", &lines.join("\n"));
    for words in [&["import", TENANT, &file, "--dry-run"][..], &["import", TENANT, &file]] {
        let (code, told) = stage.command_reading("", words);
        assert_eq!(code, Some(0), "{words:?}: {told}");
    }
    let lines = conflicting(deleted);
    let text: Vec<&str> = lines.iter().map(|(line, _)| line.as_str()).collect();
    let file = stage.file("conflicts.jsonl", &text.join("\n"));
    let (code, told) = stage.command_reading("", &["import", TENANT, &file, "--json"]);
    assert_eq!(code, Some(1), "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let kinds = told["conflicts"].as_array().unwrap().iter();
    let kinds: Vec<_> = kinds
        .map(|one| (one["line"].as_u64().unwrap(), one["kind"].as_str().unwrap()))
        .collect();
    let expected = (1..).zip(&lines).map(|(number, (_, kind))| (number, *kind));
    let expected: Vec<_> = expected.collect();
    assert_eq!(kinds, expected, "{told:#}");
    for (words, input) in [
        (&["import", TENANT, &file][..], ""),
        (&["import", TENANT, "-", "--dry-run"], &*text.join("\n")),
        (&["import", TENANT, &file, "--skip-conflicts", "--as-new"], ""),
    ] {
        assert_eq!(stage.command_reading(input, words).0, Some(1), "{words:?}");
    }
}

/// Backups, whole and damaged, where they have no place; a tenant at rest; a secret that somebody else has made.
fn hand_over(stage: &mut Stage) {
    let path = |name: &str| stage.folder.path().join(name).to_str().unwrap().to_owned();
    let backup = path("backup.jsonl");
    assert_eq!(stage.command(&["export", TENANT, "--output", &backup]), Some(0));
    let whole = std::fs::read_to_string(&backup).unwrap();
    assert!(whole.to_lowercase().contains(MARK), "the backup holds what was sent");
    let cut = stage.file("cut.jsonl", &whole[..whole.len() / 2]);
    let changed = stage.file("changed.jsonl", &whole.replacen("Canary7", "Canary7x", 1));
    let strange = stage.file("strange.jsonl", &whole.replacen("\n{\"row\"", "\n{\"Canary7\"", 1));
    let typed = stage.file(
        "typed.jsonl",
        &whole.replacen("\"body\":", "\"body\":7,\"Canary7\":", 1),
    );
    for (words, code) in [
        // It is there already.
        (&["export", TENANT, "--output", &backup][..], 1),
        (&["load", &backup, "--tenant", TENANT], 1),
        (&["load", &backup, "--tenant", TENANT, "--discard", "--json"], 1),
        (&["load", &backup, "--tenant", "other"], 1),
        (&["load", &backup, "--all"], 1),
        (&["load", &cut, "--tenant", TENANT], 1),
        (&["load", &changed, "--tenant", TENANT], 1),
        (&["load", &strange, "--tenant", TENANT], 1),
        (&["load", &typed, "--tenant", TENANT], 1),
        (&["tenant", "pause", TENANT, "--no-wait"], 0),
        (&["tenant", "resume", TENANT], 0),
    ] {
        assert_eq!(stage.command(words), Some(code), "{words:?}");
    }
    let secret = mark("-a-secret-of-another-service");
    let (code, told) = stage.command_reading(&secret, &["token", "import", TENANT, "--json"]);
    assert_eq!(code, Some(0), "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let id = told["token"]["id"].as_str().unwrap();
    for (input, words, code) in [
        // It is in use already; it is none; it is no hash.
        (&*secret, &["token", "import", TENANT][..], 1),
        ("Canary7 with spaces\u{1}", &["token", "import", TENANT], 1),
        (&secret, &["token", "import", TENANT, "--sha256"], 1),
        ("", &["token", "revoke", TENANT, id], 0),
        ("", &["token", "revoke", TENANT, "nobody"], 1),
    ] {
        let (ended, told) = stage.command_reading(input, words);
        assert_eq!(ended, Some(code), "{words:?}: {told}");
    }
}

/// Schema documents with mistakes, and one that is looked at beside all that is stored. What is in them the operator wrote, so
/// any marker would come from the store.
fn wrong_schemas(stage: &mut Stage) {
    let urn = "urn:ietf:params:scim:schemas:extension:example:2.0:User";
    let schema =
        |urn: &str, attributes: Value| json!({ "id": urn, "name": "Example", "attributes": attributes }).to_string();
    let attribute = |kind: &str| json!([{ "name": "a", "type": kind, "description": "One" }]);
    for (text, flag, code) in [
        ("nothing".to_owned(), "--no-wait", 1),
        ("{\"id\":\"urn".to_owned(), "--no-wait", 1),
        (schema("wrong", attribute("string")), "--no-wait", 1),
        (schema(urn, json!("wrong")), "--no-wait", 1),
        (schema(urn, attribute("wrong")), "--no-wait", 1),
        (
            schema("urn:ietf:params:scim:schemas:core:2.0:User", attribute("string")),
            "--no-wait",
            1,
        ),
        (schema(urn, attribute("string")), "--dry-run", 0),
    ] {
        let file = stage.folder.path().join("schema.json");
        std::fs::write(&file, &text).unwrap();
        let ended = stage.command(&["schema", "set", TENANT, file.to_str().unwrap(), flag]);
        assert_eq!(ended, Some(code), "{text}");
    }
}

/// What a customer's log says, with names in every column that can have one.
fn explain(stage: &mut Stage) {
    let person = json!({ "displayName": mark("person"), "id": mark("id"), "identityType": "User",
        "details": { "UserPrincipalName": format!("{}@example.com", mark("upn")) } });
    let log = json!([{ "activityDateTime": "2026-11-22T10:42:07Z", "changeId": "1", "durationInMilliseconds": 9,
        "provisioningAction": "create", "sourceIdentity": person, "targetIdentity": person,
        "statusInfo": { "status": "failure", "errorInformation": { "errorCode": "UnexpectedStatusCode",
            "reason": "StatusCode: BadGateway Message: Canary7@example.com Web Response: upstream connect error" } } }]);
    let file = stage.folder.path().join("log.json");
    std::fs::write(&file, log.to_string()).unwrap();
    for words in [
        &["explain", "--log", file.to_str().unwrap()][..],
        &["explain", "--log", file.to_str().unwrap(), "--json"],
        &[
            "explain",
            "StatusCode: Conflict. Web Response: {\"detail\":\"Canary7@example.com is taken\"} for",
            "Canary7",
            "502",
        ],
    ] {
        stage.command(words);
    }
}

fn all(mut stage: Stage) -> (Vec<&'static str>, Doors) {
    let (id, group) = good(&mut stage);
    bad_resources(&mut stage, &id);
    bad_messages(&mut stage, &id, &group);
    bad_heads(&mut stage, &id);
    too_much(&mut stage);
    stage.ask("DELETE", &format!("/Users/{id}"), &Value::Null);
    stage.ask("DELETE", &format!("/Groups/{group}"), &Value::Null);
    operate(&mut stage, &id);
    if let Some(tap) = &stage.tap {
        tap.cut();
        for (method, path) in [
            ("POST", "/Users"),
            ("GET", "/Users?filter=userName%20eq%20%22Canary7%22"),
        ] {
            let answer = stage.ask(method, path, &user("Cut"));
            assert_eq!(answer.status, 503, "{answer:?}");
        }
        stage.command(&["history", TENANT, &mark("userName")]);
    }
    stage.end()
}

#[track_caller]
fn check(stage: Stage) {
    let (leaks, doors) = all(stage);
    let around: Vec<String> = leaks.iter().map(|door| doors.around(door)).collect();
    assert!(leaks.is_empty(), "{leaks:?}: {around:#?}");
}

#[test]
fn no_value_of_a_user_leaves_by_a_side_door_with_sqlite() {
    check(Stage::on_sqlite());
}

#[test]
fn no_value_of_a_user_leaves_by_a_side_door_with_tables() {
    if let Some(stage) = Stage::on_tables() {
        check(stage);
    }
}

/// The tests above find what they look for: markers where values are not expected, one for each door.
#[test]
fn a_leak_by_any_door_is_found() {
    let stages = [Some(Stage::on_sqlite()), Stage::on_tables()];
    for mut stage in stages.into_iter().flatten() {
        // An attribute's name, which is told.
        let unknown =
            json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "u", "Canary7": 1 });
        assert_eq!(stage.ask("POST", "/Users", &unknown).status, 201);
        // What a client calls itself, which is told too.
        stage.ask_with("GET", "/Users", &[("user-agent", "Canary7")], "");
        // A tenant's name stands in a key, and in the URL of who asks for it; and it is shown.
        stage.command(&["tenant", "create", "canary7"]);
        stage.command(&["tenant", "list"]);
        stage.command(&["tenant", "show", "canary7"]);
        let urls = stage.tap.is_some().then_some("urls");
        let doors = ["command", "envelopes", "keys", "normalized", "output"];
        let (leaks, _) = stage.end();
        assert!(leaks.iter().eq(doors.iter().chain(&urls)), "{leaks:?}");
    }
}
