//! Requests over real HTTP to a service whose store fails as told: whatever happens to an answer of the store, nothing is
//! lost, doubled, half done, or refused wrongly.

use std::{net::TcpListener, sync::Arc};

use clap::Parser;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::{
    ambient::System,
    app::{self, App},
    config::Settings,
    rows::{self, EventBody},
    store::{
        Change, Store, Write,
        faults::{Call, Fault, FaultStore},
        sqlite::SqliteStore,
    },
    tenants::{Counted, NewTenant, Terms},
};

mod deadlines;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

pub(super) struct World {
    app: Arc<App>,
    pub(super) store: Arc<FaultStore>,
    pub(super) client: reqwest::Client,
    pub(super) url: String,
    pub(super) token: String,
    /// What clients call themselves.
    agent: &'static str,
    partition: String,
}

impl World {
    /// A service in this process, on a port of its own, with a tenant.
    pub(super) async fn start(settings: &[&str]) -> Self {
        let line = [&["scimgate", "--store", "memory:"], settings].concat();
        let app = App::new(Line::parse_from(line).settings, Arc::new(System));
        let store = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
        let service = app.start(app.over(Arc::clone(&store) as Arc<dyn Store>));
        let new = NewTenant {
            name: "acme".to_owned(),
            ..NewTenant::default()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let made = service
            .tenants
            .create(&new, None, &Terms::default(), "test", deadline)
            .await;
        let (tenant, issued) = made.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/scim/acme", listener.local_addr().unwrap());
        tokio::task::spawn_local(app::run(&app, listener).unwrap());
        let world = Self {
            app,
            store,
            client: app::http_client().unwrap(),
            url,
            token: issued.secret,
            agent: "tests/1",
            partition: tenant.id,
        };
        // The credential is known from here on, so that faults meet the request's own calls.
        assert_eq!(world.send("GET", "/Users", None).await.status, 200);
        // So that no fault meets what is written beside a request.
        let seen = format!("seen~{}", world.partition);
        while world.store.get(rows::CONTROL, &[&seen]).await.unwrap()[0].is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self
            .client
            .request(method.parse().unwrap(), format!("{}{path}", self.url));
        request = request
            .bearer_auth(&self.token)
            .header("user-agent", self.agent)
            .header("content-type", "application/scim+json");
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let retry_after = response.headers().contains_key("retry-after");
        let text = response.text().await.unwrap();
        Answer {
            status,
            retry_after,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        }
    }

    /// Whether no more than these bytes of the tenant's memory are held.
    pub(super) fn is_free_but(&self, bytes: usize) -> bool {
        let admission = &self.app.service().unwrap().admission;
        let (_admitted, held, _) = admission.admit(&self.partition, 0, false).unwrap();
        held.add(160 * 1024 * 1024 - bytes).is_ok()
    }

    async fn create(&self, name: &str) -> String {
        let answer = self.send("POST", "/Users", Some(&user(name))).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// What was counted of writes, the rarest first.
    async fn counts(&self) -> Vec<(u64, String)> {
        let tenants = &self.app.service().unwrap().tenants;
        tenants.write_counts().await;
        let deadline = Instant::now() + Duration::from_secs(10);
        let counts = tenants.lately(Counted::Writes, &self.partition, deadline).await;
        let counts = counts.unwrap().into_iter();
        let mut counts: Vec<_> = counts.map(|count| (count.requests, count.name)).collect();
        counts.sort();
        counts
    }

    /// How many events of a kind there are.
    pub(super) async fn events(&self, kind: &str) -> usize {
        let (from, until) = rows::range("o~");
        let page = self.store.scan(&self.partition, &from, &until, 1_000).await.unwrap();
        page.rows
            .iter()
            .filter(|row| rows::body::<EventBody>(row).unwrap().kind == kind)
            .count()
    }

    /// All rows but events: key and body.
    async fn rows(&self) -> Vec<String> {
        let page = self.store.scan(&self.partition, "", "~", 1_000).await.unwrap();
        page.rows
            .into_iter()
            .map(|row| row.key)
            .filter(|key| !key.starts_with("o~"))
            .collect()
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: bool,
    pub(super) body: Value,
}

pub(super) fn user(name: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "externalId": format!("x-{name}"),
        "emails": [{ "value": format!("{name}@example.com"), "type": "work" }],
    })
}

/// The routes that change something, with the event they write and the answer they give when all is well.
const MUTATIONS: [(&str, &str, u16); 4] = [
    ("POST", "create", 201),
    ("PUT", "replace", 200),
    ("PATCH", "patch", 200),
    ("DELETE", "delete", 204),
];

/// Every way in which one call can go wrong, and whether the change may have taken place after all.
pub(super) const FAULTS: [Fault; 8] = [
    Fault::Unavailable,
    Fault::Busy(None),
    Fault::FailAfter,
    Fault::LoseAnswer,
    Fault::LoseRequest,
    Fault::LandBefore(1),
    Fault::LandBefore(2),
    Fault::LandLater,
];

async fn mutate(world: &World, method: &str, id: &str) -> Answer {
    let patch = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "userName", "value": "b" }],
    });
    let one = format!("/Users/{id}");
    match method {
        "POST" => world.send("POST", "/Users", Some(&user("b"))).await,
        "PUT" => world.send("PUT", &one, Some(&user("b"))).await,
        "PATCH" => world.send("PATCH", &one, Some(&patch)).await,
        _ => world.send("DELETE", &one, None).await,
    }
}

/// What must be there when the mutation took place once.
async fn check_done(world: &World, method: &str, kind: &str, context: &str) {
    let events = world.events(kind).await;
    let expected = if method == "POST" { 2 } else { 1 };
    assert_eq!(events, expected, "{context}: events");
    let (users, index_rows) = match method {
        "POST" => (2, 6),
        "DELETE" => (0, 0),
        _ => (1, 3),
    };
    let list = world.send("GET", "/Users", None).await;
    assert_eq!(list.body["totalResults"], users, "{context}");
    let rows = world.rows().await;
    let indexed = rows
        .iter()
        .filter(|key| ["n~", "x~", "e~"].iter().any(|prefix| key.starts_with(prefix)));
    assert_eq!(indexed.count(), index_rows, "{context}: {rows:?}");
    let found = world.send("GET", "/Users?filter=userName%20eq%20%22b%22", None).await;
    assert_eq!(found.body["totalResults"], u8::from(method != "DELETE"), "{context}");
}

/// E-NET-03: the fault table: each mutating route × each fault, at its first commit, its first read, and
/// both.
#[test]
fn one_fault_is_healed_and_nobody_sees_it() {
    actix_web::rt::System::new().block_on(async {
        for (method, kind, status) in MUTATIONS {
            for fault in FAULTS {
                for call in [Call::Commit, Call::Get] {
                    if call == Call::Get && (method == "POST" || !matches!(fault, Fault::Unavailable | Fault::Busy(_)))
                    {
                        continue;
                    }
                    let context = format!("{method}, {fault:?} of {call:?}");
                    let world = World::start(&[]).await;
                    let id = world.create("a").await;
                    world.store.inject(call, 1..=1, fault);
                    let answer = mutate(&world, method, &id).await;
                    assert_eq!(answer.status, status, "{context}: {}", answer.body);
                    world.store.heal();
                    world.store.land().await;
                    check_done(&world, method, kind, &context).await;
                }
            }
        }
    });
}

/// E-LIFE-05: as long as it lasts, an outage is 503 with `Retry-After`, never a 409 or 412; afterwards the change
/// took place once or not at all, and the client's next try settles it.
#[test]
fn an_outage_is_503_and_leaves_all_or_nothing() {
    actix_web::rt::System::new().block_on(async {
        let mut cases = Vec::new();
        for (method, kind, status) in MUTATIONS {
            for fault in [
                Fault::Unavailable,
                Fault::Busy(None),
                Fault::LoseRequest,
                Fault::LandLater,
            ] {
                cases.push(outage(method, kind, status, fault));
            }
        }
        futures::future::join_all(cases).await;
    });
}

async fn outage(method: &str, kind: &str, status: u16, fault: Fault) {
    let context = format!("{method}, lasting {fault:?}");
    let world = World::start(&["--deadline", "1"]).await;
    let id = world.create("a").await;
    world.store.inject(Call::Commit, .., fault);
    let answer = mutate(&world, method, &id).await;
    assert_eq!(answer.status, 503, "{context}: {}", answer.body);
    assert!(answer.retry_after, "{context}");
    world.store.heal();
    world.store.land().await;
    let again = mutate(&world, method, &id).await;
    // Where the first try landed after all, the second finds it done: POST conflicts, DELETE finds nothing.
    let landed = fault == Fault::LandLater;
    let expected = match method {
        "POST" if landed => 409,
        "DELETE" if landed => 404,
        _ => status,
    };
    assert_eq!(again.status, expected, "{context}: {}", again.body);
    check_done(&world, method, kind, &context).await;
}

/// A handler that panics closes its connection without an answer in plain actix: a proxy in front calls that a 502.
#[test]
fn a_panic_is_a_complete_scim_500() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&["--support", "help@vendor.example"]).await;
        world.store.inject(Call::Get, 1..=1, Fault::Panic);
        let answer = world.send("GET", "/Users/1", None).await;
        assert_eq!(answer.status, 500);
        assert_eq!(answer.body["status"], "500");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("Support: help@vendor.example. Reference "), "{detail}");
        world.store.inject(Call::Commit, 1..=1, Fault::Panic);
        let answer = world.send("POST", "/Users", Some(&user("a"))).await;
        assert_eq!(answer.status, 500, "in the task of a write");
        assert_eq!(
            world.send("GET", "/Users", None).await.status,
            200,
            "the server goes on"
        );
    });
}

/// E-NET-02: a tenant that sends more than its share is told when to come back; Test Connection passes all the same.
#[test]
fn who_sends_too_much_is_429_and_can_still_look_up() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&["--tenant-rate", "25"]).await;
        let answers = futures::stream::repeat(()).then(|()| world.send("GET", "/Users", None));
        let mut answers = std::pin::pin!(answers.take(10_000));
        let refused = loop {
            let answer = answers.next().await.expect("25 a second are fewer than we can send");
            if answer.status != 200 {
                break answer;
            }
        };
        assert_eq!((refused.status, refused.retry_after), (429, true), "{}", refused.body);
        let look_up = format!("/Users?filter={}", "userName%20eq%20%22nobody%22");
        assert_eq!(world.send("GET", &look_up, None).await.status, 200);
    });
}

/// E-LIFE-05: what Entra counts before it puts a job in quarantine is counted here too, by tenant and rule.
#[test]
fn writes_and_failures_are_counted_by_tenant() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&[]).await;
        let id = world.create("a").await;
        for (status, method, path, body) in [
            (409, "POST", "/Users", user("a")),
            (409, "POST", "/Users", user("A")),
            (400, "POST", "/Users", json!({})),
            (200, "PUT", &format!("/Users/{id}"), user("b")),
            (404, "DELETE", "/Users/nobody", json!({})),
        ] {
            assert_eq!(world.send(method, path, Some(&body)).await.status, status);
        }
        assert_eq!(world.send("GET", "/Users/nobody", None).await.status, 404);
        let counts = world.counts().await;
        let counts: Vec<_> = counts.iter().map(|(number, name)| (*number, name.as_str())).collect();
        assert_eq!(
            counts,
            [
                (1, "not-found"),
                (1, "schemas-missing"),
                (2, "unique-taken"),
                (6, "all")
            ]
        );
    });
}

/// It is refused on purpose. Who only says to be the doctor hides nothing that has an effect, that names somebody, or that we
/// failed at.
#[test]
fn what_the_doctor_is_refused_is_not_counted() {
    actix_web::rt::System::new().block_on(async {
        let mut world = World::start(&["--deadline", "1"]).await;
        world.agent = "scimgate-doctor/1";
        world.create("a").await;
        for (status, body) in [(409, user("a")), (400, json!({}))] {
            assert_eq!(world.send("POST", "/Users", Some(&body)).await.status, status);
        }
        world.store.inject(Call::Commit, .., Fault::Unavailable);
        assert_eq!(world.send("POST", "/Users", Some(&user("b"))).await.status, 503);
        world.store.heal();
        assert_eq!(
            world.counts().await,
            [(1, "all".to_owned()), (1, "storage-unavailable".to_owned())]
        );
        assert_eq!(world.events("refuse").await, 1, "it names whose account it was about");
    });
}

/// The store answers, so a repetition heals nothing.
#[test]
fn a_row_that_makes_no_sense_is_500_and_no_outage() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&[]).await;
        let id = world.create("a").await;
        let broken = Write {
            key: rows::resource_key("u", &id),
            stamp: Vec::new(),
            body: b"{}".to_vec(),
        };
        let broken = world.store.commit(&world.partition, &[Change::Upsert(broken)]).await;
        broken.unwrap();
        let answer = world.send("GET", &format!("/Users/{id}"), None).await;
        assert_eq!((answer.status, answer.retry_after), (500, false), "{}", answer.body);
    });
}

/// R-ETAG-01 beside concurrency: without `If-Match` a write that meets another one is applied again; with it, it is 412.
#[test]
fn a_write_in_between_is_412_only_for_who_asked() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&[]).await;
        let id = world.create("a").await;
        let path = format!("/Users/{id}");
        let title = |title: &str| {
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": [{ "op": "replace", "path": "title", "value": title }] })
        };
        let first = world.send("GET", &path, None).await;
        let version = first.body["meta"]["version"].as_str().unwrap().to_owned();
        assert_eq!(world.send("PATCH", &path, Some(&title("b"))).await.status, 200);
        for (if_match, status) in [
            (version.as_str(), 412),
            ("*", 200),
            ("W/\"x\", *", 200),
            ("W/\"x\"", 412),
        ] {
            let request = world
                .client
                .patch(format!("{}{path}", world.url))
                .bearer_auth(&world.token);
            let request = request.header("if-match", if_match).body(title(if_match).to_string());
            assert_eq!(request.send().await.unwrap().status(), status, "{if_match}");
        }
    });
}
