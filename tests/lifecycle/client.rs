//! A customer's client: it makes, changes and removes users and members, and knows what must be there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{SECRET, TENANT};

/// Pause before asking somebody again who did not answer.
const PAUSE: Duration = Duration::from_millis(20);

/// Where the service is, and what all clients have seen of it.
pub(crate) struct Scene {
    http: reqwest::Client,
    /// Scheme and authority; changes when another host takes over.
    pub(crate) origin: Mutex<String>,
    stops: AtomicBool,
    /// Requests that were sent, or meant to be.
    sent: AtomicUsize,
    /// Those that nobody was there to take.
    unreached: AtomicUsize,
    /// Those that somebody took, and that got no answer of ours, or one that it can't be done now.
    cut_off: AtomicUsize,
    /// Writes that were answered with success.
    acknowledged: AtomicUsize,
    /// Writes without an answer of ours that turned out to be done, and not done.
    unanswered: [AtomicUsize; 2],
}

impl Scene {
    pub(crate) fn new(origin: String) -> Arc<Self> {
        Arc::new(Self {
            http: scimgate::app::http_client().unwrap(),
            origin: Mutex::new(origin),
            stops: AtomicBool::default(),
            sent: AtomicUsize::default(),
            unreached: AtomicUsize::default(),
            cut_off: AtomicUsize::default(),
            acknowledged: AtomicUsize::default(),
            unanswered: Default::default(),
        })
    }

    /// The clients, each after what it was at.
    pub(crate) async fn stop(&self, clients: JoinSet<Client>) -> Vec<Client> {
        self.stops.store(true, Ordering::Relaxed);
        clients.join_all().await
    }

    /// Writes that were answered with success.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Writes without an answer of ours that turned out to be done, and not done.
    pub(crate) fn unanswered(&self) -> [usize; 2] {
        self.unanswered.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Requests, and of them those that were cut off, and those that found nobody.
    pub(crate) fn requests(&self) -> (usize, usize, usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (count(&self.sent), count(&self.cut_off), count(&self.unreached))
    }

    /// Sends a write once: its answer, or nothing if none came from the service, or that it can't do it now.
    pub(crate) async fn write(&self, method: Method, path: &str, body: Option<&Value>) -> Option<Value> {
        let expected = match method {
            Method::POST => 201,
            Method::DELETE => 204,
            _ => 200,
        };
        let (status, answer) = self.send(method.clone(), path, body).await?;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    }

    /// Reads until there is an answer; nothing where nothing is.
    pub(crate) async fn read(&self, path: &str) -> Option<Value> {
        loop {
            match self.send(Method::GET, path, None).await {
                Some((200, answer)) => return Some(answer),
                Some((404, _)) => return None,
                Some(other) => panic!("GET {path}: {other:?}"),
                None => sleep(PAUSE).await,
            }
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let url = format!("{}/scim/{TENANT}{path}", self.origin.lock().unwrap());
        let mut request = self.http.request(method, url).bearer_auth(SECRET);
        if let Some(body) = body {
            let json = ("content-type", "application/scim+json");
            request = request.header(json.0, json.1).body(body.to_string());
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let failed = match answered(request).await {
            Ok((status, text)) if status < 500 || status == 500 && !text.is_empty() => {
                return Some((status, serde_json::from_str(&text).unwrap_or_default()));
            }
            Err(error) if error.is_connect() => &self.unreached,
            Ok(_) | Err(_) => &self.cut_off,
        };
        failed.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Counts how a write without an answer ended.
    fn ended(&self, is_done: bool) -> bool {
        self.unanswered[usize::from(!is_done)].fetch_add(1, Ordering::Relaxed);
        is_done
    }

    /// The user of this name. Every way to it leads to the same complete one, or none does.
    pub(crate) async fn user(&self, name: &str) -> Option<Value> {
        let mut seen = Vec::new();
        for (attribute, end) in [("userName", ""), ("externalId", "-x"), ("emails.value", "@example.com")] {
            let filter = format!("{attribute}%20eq%20%22{name}{end}%22");
            let list = self.read(&format!("/Users?filter={filter}")).await.unwrap();
            seen.push(list["Resources"].get(0).cloned());
        }
        let version = |user: &Option<Value>| user.as_ref().map(|user| user["meta"]["version"].clone());
        assert!(
            seen.iter().all(|user| version(user) == version(&seen[0])),
            "{name}: {seen:?}"
        );
        let path = format!("/Users/{}", seen.pop()??["id"].as_str().unwrap());
        let user = self.read(&path).await;
        assert_eq!(version(&user), version(&seen[0]), "{name}");
        let shown = user.as_ref().unwrap();
        assert_eq!(shown["displayName"], shown["nickName"], "{shown}");
        user
    }

    /// How many resources there are at an endpoint.
    pub(crate) async fn total(&self, endpoint: &str) -> u64 {
        let list = self.read(&format!("/{endpoint}?count=0")).await.unwrap();
        list["totalResults"].as_u64().unwrap()
    }
}

async fn answered(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, String)> {
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// A user with a value for every index, and two values that always change together.
pub(crate) fn new_user(name: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "externalId": format!("{name}-x"),
        "emails": [{ "value": format!("{name}@example.com") }],
        "displayName": "new",
        "nickName": "new",
    })
}

pub(crate) fn new_group(name: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": name,
        "externalId": format!("{name}-x"),
    })
}

pub(crate) fn patch(operations: &Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

/// One client, with a group of its own, and what must be there of it.
pub(crate) struct Client {
    pub(crate) scene: Arc<Scene>,
    name: String,
    group: String,
    group_name: String,
    /// Id and display name of each user, by `userName`; all are members of the group.
    pub(crate) users: BTreeMap<String, (String, String)>,
}

impl Client {
    /// A client with its group, which is made undisturbed.
    pub(crate) async fn new(scene: &Arc<Scene>, name: &str) -> Self {
        let made = scene.write(Method::POST, "/Groups", Some(&new_group(name))).await;
        Self {
            scene: Arc::clone(scene),
            name: name.to_owned(),
            group: made.unwrap()["id"].as_str().unwrap().to_owned(),
            group_name: name.to_owned(),
            users: BTreeMap::new(),
        }
    }

    /// Lives of users until it is told to stop; of each write without an answer it finds out what became of it.
    pub(crate) async fn run(mut self) -> Self {
        for number in 0.. {
            if self.scene.stops.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("{}-{number}", self.name);
            let Some(id) = self.create(&name).await else { continue };
            self.join(&id, &format!("{name}-joined")).await;
            let display = self.rename(&name, &id).await;
            if number % 3 == 0 || !self.delete(&name, &id).await {
                self.users.insert(name, (id, display));
            }
        }
        self
    }

    async fn create(&self, name: &str) -> Option<String> {
        let mut user = self.scene.write(Method::POST, "/Users", Some(&new_user(name))).await;
        if user.is_none() {
            user = self.scene.user(name).await;
            self.scene.ended(user.is_some());
        }
        Some(user?["id"].as_str().unwrap().to_owned())
    }

    /// A member and a new name for the group, in one message.
    async fn join(&mut self, id: &str, name: &str) {
        let message = patch(&json!([
            { "op": "add", "path": "members", "value": [{ "value": id }] },
            { "op": "replace", "path": "displayName", "value": name },
        ]));
        let path = format!("/Groups/{}", self.group);
        loop {
            let answered = self.scene.write(Method::PATCH, &path, Some(&message)).await.is_some();
            let group = self.scene.read(&path).await.unwrap();
            let is_member = members(&group).contains(&id.to_owned());
            let is_named = group["displayName"] == name;
            assert_eq!(is_member, is_named, "half a change: {group}");
            assert!(
                is_named || !answered && group["displayName"] == *self.group_name,
                "{group}"
            );
            if answered || self.scene.ended(is_member) {
                name.clone_into(&mut self.group_name);
                return;
            }
        }
    }

    /// Two values in one message; the value afterwards.
    async fn rename(&self, name: &str, id: &str) -> String {
        let message = patch(&json!([
            { "op": "replace", "path": "displayName", "value": name },
            { "op": "replace", "path": "nickName", "value": name },
        ]));
        let path = format!("/Users/{id}");
        let answered = self.scene.write(Method::PATCH, &path, Some(&message)).await.is_some();
        let user = self.scene.user(name).await.unwrap();
        let is_done = user["displayName"] == name;
        assert!(is_done || !answered && user["displayName"] == "new", "{user}");
        assert!(answered || self.scene.ended(is_done) == is_done);
        user["displayName"].as_str().unwrap().to_owned()
    }

    /// Whether the user is gone, from its group too. One that is deleted is not deleted again: the host may have sent the
    /// request twice, and the second answer is the first one's.
    async fn delete(&self, name: &str, id: &str) -> bool {
        let answered = self
            .scene
            .write(Method::DELETE, &format!("/Users/{id}"), None)
            .await
            .is_some();
        let is_gone = self.scene.user(name).await.is_none();
        assert!(is_gone || !answered, "{name} is deleted and there");
        let group = self.scene.read(&format!("/Groups/{}", self.group)).await.unwrap();
        assert_ne!(members(&group).contains(&id.to_owned()), is_gone, "{group}");
        assert!(answered || self.scene.ended(is_gone) == is_gone);
        is_gone
    }

    /// Everything that must be there is, and nothing else of this client's.
    pub(crate) async fn finds_everything(&self) {
        for (name, (id, display)) in &self.users {
            let user = self.scene.user(name).await.unwrap();
            assert_eq!((&user["id"], &user["displayName"]), (&json!(id), &json!(display)));
            assert_eq!(user["groups"][0]["value"], *self.group, "{user}");
        }
        let group = self.scene.read(&format!("/Groups/{}", self.group)).await.unwrap();
        assert_eq!(group["displayName"], *self.group_name);
        let (mut shown, mut known) = (
            members(&group),
            self.users.values().map(|(id, _)| id.clone()).collect::<Vec<_>>(),
        );
        shown.sort();
        known.sort();
        assert_eq!(shown, known);
    }
}

pub(crate) fn members(group: &Value) -> Vec<String> {
    let members = group["members"].as_array().into_iter().flatten();
    members
        .map(|member| member["value"].as_str().unwrap().to_owned())
        .collect()
}
