//! What storage may do to every request, in a time that passes only while everybody waits: no answer comes later than it
//! may, none is wrong, and afterwards each thing was done once.

use std::sync::Arc;

use actix_web::{
    App as Actix,
    body::MessageBody,
    dev::ServiceResponse,
    test::{TestRequest, init_service},
    web::{self, Data},
};
use clap::Parser;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use super::{Line, user};
use crate::{
    ambient::{Ambient, System},
    app::App,
    directory::{Directory, check::Inspection},
    http::entry,
    rows::{self, EventBody},
    store::{
        Store,
        faults::{Call, Fault, FaultStore},
        settle::patient_scan_all,
        sqlite::SqliteStore,
    },
    tenants::{Access, Catalogs, NewTenant, Tenant, Terms},
};

/// The default of `SCIMGATE_DEADLINE`.
const DEADLINE: Duration = Duration::from_secs(15);
/// Long enough for whatever a request left behind, and for what it promised to be true for a minute.
const LONG: Duration = Duration::from_mins(2);
/// Members of a group that one commit can't take.
const CROWD: usize = 40;

struct World<S> {
    service: S,
    store: Arc<FaultStore>,
    tenant: Tenant,
    secret: String,
    user: String,
    group: String,
    crowd: Vec<String>,
}

/// A clock that stands still with tokio's.
#[derive(Debug)]
struct Clock(Instant);

impl Ambient for Clock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000) + self.0.elapsed()
    }

    fn new_id(&self) -> Uuid {
        System.new_id()
    }

    fn secret(&self) -> [u8; 32] {
        System.secret()
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ask {
    Create,
    Replace,
    Patch,
    Delete,
    /// A group with more members than one commit takes.
    CreateCrowd,
    /// The same of a group that is there.
    Join,
    Read,
    List,
    Find,
}

const ASKS: [Ask; 9] = [
    Ask::Create,
    Ask::Replace,
    Ask::Patch,
    Ask::Delete,
    Ask::CreateCrowd,
    Ask::Join,
    Ask::Read,
    Ask::List,
    Ask::Find,
];

impl Ask {
    /// The status when all is well, and when it was done before.
    fn statuses(self) -> (u16, u16) {
        match self {
            Self::Create | Self::CreateCrowd => (201, 409),
            Self::Delete => (204, 404),
            _ => (200, 200),
        }
    }

    /// The event that it writes.
    fn event(self) -> Option<&'static str> {
        match self {
            Self::Create | Self::CreateCrowd => Some("create"),
            Self::Replace => Some("replace"),
            Self::Patch | Self::Join => Some("patch"),
            Self::Delete => Some("delete"),
            Self::Read | Self::List | Self::Find => None,
        }
    }
}

struct Answer {
    status: u16,
    retry_after: bool,
    body: Value,
    took: Duration,
}

macro_rules! world {
    () => {{
        let settings = Line::parse_from(["scimgate", "--store", "memory:"]).settings;
        let app = App::new(settings, Arc::new(Clock(Instant::now())));
        let store = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
        let (tenant, secret) = tenant(&app, &store).await;
        let routes = Actix::new().app_data(Data::new(app)).default_service(web::to(entry));
        let mut world = World {
            service: init_service(routes).await,
            store,
            tenant,
            secret,
            user: String::new(),
            group: String::new(),
            crowd: Vec::new(),
        };
        world.fill().await;
        world
    }};
}

async fn tenant(app: &Arc<App>, store: &Arc<FaultStore>) -> (Tenant, String) {
    let service = app.start(app.over(Arc::clone(store) as Arc<dyn Store>));
    let new = NewTenant {
        name: "acme".to_owned(),
        ..NewTenant::default()
    };
    let deadline = Instant::now() + LONG;
    let terms = Terms::default();
    let (tenant, issued) = service
        .tenants
        .create(&new, None, &terms, "test", deadline)
        .await
        .unwrap();
    (tenant, issued.secret)
}

impl<S, B> World<S>
where
    S: actix_web::dev::Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    async fn fill(&mut self) {
        self.user = self.make("/Users", &user("a")).await;
        self.group = self.make("/Groups", &group("Employees", &[])).await;
        for number in 0..CROWD {
            let id = self.make("/Users", &user(&format!("crowd{number}"))).await;
            self.crowd.push(id);
        }
        // What the first request left behind it is written.
        sleep(LONG).await;
        self.send("GET", "/Users", None).await;
        sleep(Duration::from_secs(1)).await;
    }

    async fn make(&self, path: &str, document: &Value) -> String {
        let made = self.send("POST", path, Some(document)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["id"].as_str().unwrap().to_owned()
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = TestRequest::with_uri(&format!("/scim/acme{path}"))
            .method(method.parse().unwrap())
            .insert_header(("host", "localhost"))
            .insert_header(("authorization", format!("Bearer {}", self.secret)))
            .insert_header(("content-type", "application/scim+json"));
        if let Some(body) = body {
            request = request.set_payload(body.to_string());
        }
        let began = Instant::now();
        let response = self.service.call(request.to_request()).await.unwrap();
        let took = began.elapsed();
        let (status, retry_after) = (
            response.status().as_u16(),
            response.headers().contains_key("retry-after"),
        );
        let Ok(bytes) = actix_web::body::to_bytes(response.into_body()).await else {
            panic!("a body breaks off")
        };
        Answer {
            status,
            retry_after,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            took,
        }
    }

    async fn ask(&self, ask: Ask) -> Answer {
        let (one, all) = (format!("/Users/{}", self.user), format!("/Groups/{}", self.group));
        match ask {
            Ask::Create => self.send("POST", "/Users", Some(&user("b"))).await,
            Ask::Replace => self.send("PUT", &one, Some(&user("b"))).await,
            Ask::Patch => {
                self.send("PATCH", &one, Some(&patch("replace", "title", &json!("Tour Guide"))))
                    .await
            }
            Ask::Delete => self.send("DELETE", &one, None).await,
            Ask::CreateCrowd => {
                self.send("POST", "/Groups", Some(&group("Tour Guides", &self.crowd)))
                    .await
            }
            Ask::Join => {
                self.send("PATCH", &all, Some(&patch("add", "members", &links(&self.crowd))))
                    .await
            }
            Ask::Read => self.send("GET", &one, None).await,
            Ask::List => self.send("GET", "/Users", None).await,
            Ask::Find => self.send("GET", "/Users?filter=userName%20eq%20%22a%22", None).await,
        }
    }

    /// Events of this kind of all resources.
    async fn events(&self, kind: &str) -> usize {
        let deadline = Instant::now() + LONG;
        let events = patient_scan_all(&*self.store, &self.tenant.id, &rows::range("o~"), deadline).await;
        let events = events.unwrap();
        let events = events.iter().filter(|row| row.key.matches('~').count() == 1);
        events
            .filter(|row| rows::body::<EventBody>(row).unwrap().kind == kind)
            .count()
    }

    async fn is_sound(&self) -> bool {
        let directory = Directory {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            ambient: Arc::new(Clock(Instant::now())),
            access: Arc::new(Access {
                tenant: self.tenant.clone(),
                credential: "test".to_owned(),
                catalogs: Catalogs::standard(),
            }),
            deadline: Instant::now(),
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        };
        Inspection::new(directory, LONG, 9, |_| {})
            .check()
            .await
            .unwrap()
            .is_sound()
    }

    /// Storage does this to every call until the client has its answer.
    async fn check(&self, ask: Ask, faults: &[Fault]) {
        let before = match ask.event() {
            Some(kind) => self.events(kind).await,
            None => 0,
        };
        for fault in faults {
            self.store.inject(Call::Any, .., *fault);
        }
        let context = format!("{ask:?} while {faults:?}");
        let (done, done_before) = ask.statuses();
        let first = self.ask(ask).await;
        assert!(first.took <= DEADLINE, "{context}: answered after {:?}", first.took);
        let is_told = if first.status == 503 {
            first.retry_after
        } else {
            first.status == done
        };
        assert!(is_told, "{context}: {} {}", first.status, first.body);
        self.store.heal();
        // What is under way still goes on as it was told to; the next request does not care.
        let next = self.send("GET", "/Users?count=1", None).await;
        assert_eq!(
            (next.status, next.took),
            (200, Duration::ZERO),
            "{context}: the next request"
        );
        sleep(LONG).await;
        self.store.land().await;
        let again = self.ask(ask).await;
        let expected = if first.status == 503 {
            [done, done_before]
        } else {
            [done_before; 2]
        };
        assert!(
            expected.contains(&again.status),
            "{context}, again: {} {}",
            again.status,
            again.body
        );
        if let Some(kind) = ask.event() {
            assert_eq!(self.events(kind).await, before + 1, "{context}: events '{kind}'");
        }
        assert!(self.is_sound().await, "{context}: something is half done");
    }
}

fn group(name: &str, members: &[String]) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": name,
        "externalId": format!("x-{name}"),
        "members": links(members),
    })
}

fn links(members: &[String]) -> Value {
    members.iter().map(|id| json!({ "value": id })).collect()
}

fn patch(op: &str, path: &str, value: &Value) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": op, "path": path, "value": value }],
    })
}

/// E-NET-03, E-LIFE-05.
#[tokio::test(start_paused = true)]
async fn whatever_storage_does_every_answer_comes_in_time_and_nothing_is_done_twice_or_by_half() {
    let late = |seconds| Fault::Delay(Duration::from_secs(seconds));
    let busy = |seconds| Fault::Busy(Some(Duration::from_secs(seconds)));
    for faults in [
        &[Fault::Unavailable][..],
        &[Fault::Busy(None)],
        &[busy(1)],
        &[busy(30)],
        &[Fault::FailAfter],
        &[Fault::LoseAnswer],
        &[Fault::LoseRequest],
        &[Fault::LandLater],
        &[Fault::LandBefore(2)],
        &[late(1)],
        &[late(2)],
        &[late(5)],
        &[late(10)],
        &[late(14)],
        &[late(30)],
        &[late(3), Fault::LoseAnswer],
        &[late(3), Fault::LandLater],
        &[late(1), busy(1)],
    ] {
        for ask in ASKS {
            world!().check(ask, faults).await;
        }
    }
}
