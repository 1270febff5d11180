//! What clients do, what each of them was told, and whether what is there afterwards agrees with it.
//!
//! A client does one thing after another, each of which writes one event. Whatever becomes of its requests, it knows how far
//! it came: what was done stays done, what was refused with 503 is in doubt, and then it stops. In doubt means done or not
//! done, and nothing between.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use reqwest::Method;
use scimgate::{
    ambient::System,
    directory::{Directory, check::Inspection},
    rows::{self, EventBody},
    store::settle::patient_scan_all,
    tenants::{Access, Catalogs},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{Answer, Tenant, World};

/// Clients at once.
const CLIENTS: usize = 16;
/// Users that a client makes, one after another, beside a group.
const LIVES: usize = 3;
/// Members of each client's group: more than one commit takes.
const CROWD: usize = 40;

/// What a client does to a user or to its group, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Create,
    /// Gives a user a title.
    Title,
    /// Makes a user a member of the group that all clients share.
    Join,
    /// Makes everybody a member of a group, or nobody.
    Crowd(bool),
    Delete,
}

const USER: &[Step] = &[Step::Create, Step::Title, Step::Join, Step::Delete];
const GROUP: &[Step] = &[Step::Create, Step::Crowd(true), Step::Crowd(false), Step::Crowd(true)];

/// How far a client came with one of its resources.
struct Life {
    name: String,
    steps: &'static [Step],
    id: Option<String>,
    /// Steps that were answered as done.
    done: usize,
    /// The next one was asked for, and answered 503.
    doubt: bool,
}

/// What was answered: how often with which status, and the longest time.
#[derive(Default)]
pub(crate) struct Told {
    statuses: BTreeMap<u16, usize>,
    longest: Duration,
}

pub(crate) struct Workload<'w> {
    world: &'w World,
    tenant: &'w Tenant,
    /// The group that all clients share.
    shared: String,
    crowd: Vec<String>,
    lives: Vec<Life>,
    pub(crate) told: Mutex<Told>,
}

impl<'w> Workload<'w> {
    /// What is there before anything happens.
    pub(crate) async fn prepare(world: &'w World) -> Self {
        let tenant = &world.tenants[0];
        let mut workload = Self {
            world,
            tenant,
            shared: String::new(),
            crowd: Vec::new(),
            lives: Vec::new(),
            told: Mutex::default(),
        };
        workload.shared = workload.make("Groups", &group("shared")).await;
        for number in 0..CROWD {
            let user = user(&format!("crowd{number}"));
            let id = workload.make("Users", &user).await;
            workload.crowd.push(id);
        }
        workload.told = Mutex::default();
        workload
    }

    async fn make(&self, endpoint: &str, document: &Value) -> String {
        let made = self.send(Method::POST, &format!("/{endpoint}"), Some(document)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.id()
    }

    /// All clients at the same time, each to the end of what it does.
    pub(crate) async fn run(&mut self) {
        let clients = join_all((0..CLIENTS).map(|client| self.client(client))).await;
        self.lives.extend(clients.into_iter().flatten());
    }

    async fn client(&self, client: usize) -> Vec<Life> {
        let mut lives = Vec::new();
        for number in 0..LIVES {
            lives.push(self.live(format!("user{client}-{number}"), USER).await);
        }
        lives.push(self.live(format!("group{client}"), GROUP).await);
        lives
    }

    async fn live(&self, name: String, steps: &'static [Step]) -> Life {
        let mut life = Life {
            name,
            steps,
            id: None,
            done: 0,
            doubt: false,
        };
        for step in steps {
            let answer = self.take(&life, *step).await;
            if answer.status == 503 {
                life.doubt = true;
                return life;
            }
            let context = format!("{step:?} of {}: {}", life.name, answer.body);
            assert_eq!(answer.status, step.status(), "{context}");
            life.done += 1;
            if *step == Step::Create {
                life.id = Some(answer.id());
            }
            self.look(&life).await;
        }
        life
    }

    async fn take(&self, life: &Life, step: Step) -> Answer {
        let endpoint = life.endpoint();
        let own = format!("{endpoint}/{}", life.id.as_deref().unwrap_or_default());
        match step {
            Step::Create => self.send(Method::POST, endpoint, Some(&life.document())).await,
            Step::Title => self.patch(&own, "replace", "title", &json!("Tour Guide")).await,
            Step::Join => {
                let member = json!([{ "value": life.id }]);
                self.patch(&format!("/Groups/{}", self.shared), "add", "members", &member)
                    .await
            }
            Step::Crowd(comes) => {
                let crowd: Vec<_> = self.crowd.iter().map(|id| json!({ "value": id })).collect();
                let op = if comes { "add" } else { "remove" };
                self.patch(&own, op, "members", &json!(crowd)).await
            }
            Step::Delete => self.send(Method::DELETE, &own, None).await,
        }
    }

    async fn patch(&self, path: &str, op: &str, attribute: &str, value: &Value) -> Answer {
        let message = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": op, "path": attribute, "value": value }],
        });
        self.send(Method::PATCH, &format!("{path}?attributes=id"), Some(&message))
            .await
    }

    /// What was done is seen by who looks, if storage answers.
    async fn look(&self, life: &Life) {
        let seen = self.send(Method::GET, &life.search(), None).await;
        if seen.status != 503 {
            assert_eq!(seen.status, 200, "{}", seen.body);
            assert_eq!(
                life.step_seen(&seen, &self.crowd, &self.shared),
                life.done,
                "{}: {}",
                life.name,
                seen.body
            );
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.world.send(self.tenant, method, path, body).await;
        let mut told = self.told.lock().unwrap();
        *told.statuses.entry(answer.status).or_default() += 1;
        told.longest = told.longest.max(answer.took);
        answer
    }

    /// In fair weather: each thing is done as often as its client was told, or once more where it is in doubt; and one event
    /// was written for each. Then whoever is in doubt does it again. Gives how many were in doubt, and how many of these
    /// things were done.
    pub(crate) async fn agrees(&mut self) -> (usize, usize) {
        let mut events = self.events().await;
        let (mut joins, mut in_doubt, mut done_in_doubt) = (0, 0, 0);
        let mut lives = std::mem::take(&mut self.lives);
        for life in &mut lives {
            let seen = self.send(Method::GET, &life.search(), None).await;
            assert_eq!(seen.status, 200, "{}", seen.body);
            let steps = life.step_seen(&seen, &self.crowd, &self.shared);
            let told = life.done..=life.done + usize::from(life.doubt);
            assert!(
                told.contains(&steps),
                "{}: {steps} steps were done of {told:?}: {}",
                life.name,
                seen.body
            );
            in_doubt += usize::from(life.doubt);
            done_in_doubt += steps - life.done;
            let steps = &life.steps[..steps];
            joins += steps.iter().filter(|step| **step == Step::Join).count();
            if life.id.is_none() && !steps.is_empty() {
                life.id = seen.body["Resources"][0]["id"].as_str().map(str::to_owned);
            }
            let id = life.id.clone().unwrap_or_default();
            for kind in ["create", "patch", "delete"] {
                let expected = steps.iter().filter(|step| step.event() == Some(kind)).count();
                let written = events.remove(&(id.clone(), kind.to_owned())).unwrap_or_default();
                assert_eq!(written, expected, "events '{kind}' of {}", life.name);
            }
        }
        let joined = (self.shared.clone(), "patch".to_owned());
        assert_eq!(
            events.remove(&joined).unwrap_or_default(),
            joins,
            "events of the shared group"
        );
        for life in lives.iter().filter(|life| life.doubt) {
            let step = life.steps[life.done];
            let again = self.take(life, step).await;
            let is_done = match step {
                Step::Create => matches!(again.status, 201 | 409),
                Step::Delete => matches!(again.status, 204 | 404),
                Step::Title | Step::Join | Step::Crowd(_) => again.status == 200,
            };
            assert!(
                is_done,
                "{step:?} of {} again: {} {}",
                life.name, again.status, again.body
            );
        }
        (in_doubt, done_in_doubt)
    }

    /// How many events of which kind each resource has.
    async fn events(&self) -> BTreeMap<(String, String), usize> {
        let soon = Instant::now() + Duration::from_mins(1);
        let events = patient_scan_all(&*self.world.store, &self.tenant.tenant.id, &rows::range("o~"), soon).await;
        let mut counts = BTreeMap::new();
        // Parts of an event stand behind it; what stands in an event's place was refused.
        for row in events.unwrap().iter().filter(|row| row.key.matches('~').count() == 1) {
            if row.stamp != scimgate::store::settle::BARRED {
                let event: EventBody = rows::body(row).unwrap();
                *counts.entry((event.id, event.kind)).or_default() += 1;
            }
        }
        counts
    }

    /// As `scimgate check` finds it: users, groups, memberships.
    pub(crate) async fn check(&self) -> (usize, usize, usize) {
        let directory = Directory {
            store: Arc::clone(&self.world.store),
            ambient: Arc::new(System),
            access: Arc::new(Access {
                tenant: self.tenant.tenant.clone(),
                credential: "test".to_owned(),
                catalogs: Catalogs::standard(),
            }),
            deadline: Instant::now(),
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        };
        let inspection = Inspection::new(directory, Duration::from_mins(1), 9, |_| {});
        let report = inspection.check().await.unwrap();
        assert!(report.is_sound(), "{:#?}", report.findings);
        (report.users, report.groups, report.memberships)
    }
}

impl Step {
    /// The status of its success.
    fn status(self) -> u16 {
        match self {
            Self::Create => 201,
            Self::Title | Self::Join | Self::Crowd(_) => 200,
            Self::Delete => 204,
        }
    }

    /// The event of the resource itself.
    fn event(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("create"),
            Self::Title | Self::Crowd(_) => Some("patch"),
            Self::Join => None,
            Self::Delete => Some("delete"),
        }
    }
}

impl Life {
    fn is_user(&self) -> bool {
        self.steps == USER
    }

    fn endpoint(&self) -> &'static str {
        if self.is_user() { "/Users" } else { "/Groups" }
    }

    fn document(&self) -> Value {
        if self.is_user() {
            user(&self.name)
        } else {
            group(&self.name)
        }
    }

    fn search(&self) -> String {
        let (attribute, shown) = if self.is_user() {
            ("userName", "title,groups")
        } else {
            ("displayName", "members")
        };
        format!(
            "{}?attributes={shown}&filter={attribute}%20eq%20%22{}%22",
            self.endpoint(),
            self.name
        )
    }

    /// After how many steps the resource is as it is seen. What was done half is like none of them.
    #[track_caller]
    fn step_seen(&self, seen: &Answer, crowd: &[String], shared: &str) -> usize {
        let (list, total) = (&seen.body["Resources"], &seen.body["totalResults"]);
        let one = &list[0];
        if *total == 0 {
            return if self.done + usize::from(self.doubt) == USER.len() && self.is_user() {
                USER.len()
            } else {
                0
            };
        }
        assert_eq!(*total, 1, "{}", seen.body);
        if self.is_user() {
            let groups = ids(&one["groups"]);
            assert!(groups.is_empty() || groups == [shared], "{}", seen.body);
            return 1 + usize::from(!one["title"].is_null()) + groups.len();
        }
        let members = ids(&one["members"]);
        assert!(
            members.is_empty() || members.len() == crowd.len(),
            "{} members",
            members.len()
        );
        // Everybody is in it after two steps, and after four.
        match (members.is_empty(), self.done) {
            (true, ..=1) => 1,
            (true, _) => 3,
            (false, ..=2) => 2,
            (false, _) => 4,
        }
    }
}

fn ids(links: &Value) -> Vec<&str> {
    let links = links.as_array().into_iter().flatten();
    links.map(|link| link["value"].as_str().unwrap()).collect()
}

pub(crate) fn user(name: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "externalId": format!("x-{name}"),
        "emails": [{ "value": format!("{name}@example.com"), "type": "work" }],
    })
}

fn group(name: &str) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name })
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let statuses = self
            .statuses
            .iter()
            .map(|(status, number)| format!("{number} × {status}"));
        let statuses = statuses.collect::<Vec<_>>().join(", ");
        write!(f, "{statuses}; the longest took {:.1} s", self.longest.as_secs_f64())
    }
}
