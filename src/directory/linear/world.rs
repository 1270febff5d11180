//! The directory as the clients of a history meet it, and what they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration as Span,
};

use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    super::{Denied, Directory, Error, Precondition, Shown, Stored, check::Inspection},
    model::{Ask, GROUPS, RESOURCES, Set, USERS},
};
use crate::{
    ambient::Ambient,
    scim::{error::Rule, list::ListQuery, normalize::Trace, projection::Selection, schema::ResourceType},
    store::{self, Store},
    tenants::{Access, Catalogs, Tenant},
};

const PATIENCE: Span = Span::from_mins(1);
const BASE: &str = "https://example.com/scim/acme";

/// What there is beside the store.
pub(super) struct World {
    tenant: Tenant,
    catalogs: Catalogs,
    users: Arc<ResourceType>,
    groups: Arc<ResourceType>,
    /// Counts what happens to clients: their histories' time.
    ticks: AtomicUsize,
    looks: Arc<AtomicU64>,
    start: Instant,
}

/// Time as one process has it, and the id of what one operation makes.
#[derive(Debug)]
struct Own {
    start: Instant,
    looks: Arc<AtomicU64>,
    skew: Span,
    id: usize,
}

impl Ambient for Own {
    fn now(&self) -> OffsetDateTime {
        // Never the same twice, as far as one process goes.
        let look = Span::from_micros(self.looks.fetch_add(1, Ordering::Relaxed));
        let passed = self.start.elapsed();
        OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + passed + look + self.skew
    }

    fn new_id(&self) -> Uuid {
        uuid(self.id)
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        secret[..8].copy_from_slice(&look.to_be_bytes());
        secret
    }
}

fn uuid(resource: usize) -> Uuid {
    Uuid::from_u128(resource as u128 + 1)
}

/// The id of a resource with this number.
pub(super) fn id(resource: usize) -> String {
    uuid(resource).to_string()
}

fn number(id: &str) -> usize {
    let number = Uuid::parse_str(id).map(|id| id.as_u128()).unwrap_or_default();
    usize::try_from(number).expect("ids are small") - 1
}

/// One who asks.
pub(super) struct Caller {
    pub(super) store: Arc<dyn Store>,
    /// Stands in events.
    pub(super) name: String,
    pub(super) skew: Span,
    pub(super) patience: Span,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A group is there, or was made so.
    Group {
        version: String,
        name: u8,
        members: Option<Set>,
    },
    /// A user.
    User {
        version: String,
        name: u8,
        groups: Option<Set>,
    },
    List(Vec<Listed>),
    Done,
    NotFound,
    Taken,
    /// Who was to be restored is there.
    There,
    /// Who was to be restored or erased is neither there nor deleted.
    Unknown,
    Erased,
    BadMember(usize),
    Outdated,
    /// Nobody knows, yet.
    Failed(String),
}

/// A group on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) group: usize,
    pub(super) name: u8,
    pub(super) version: String,
    pub(super) members: Set,
}

impl World {
    /// With these resource types, which take long to read.
    pub(super) fn new(catalogs: Catalogs) -> Self {
        let catalog = catalogs.at(OffsetDateTime::UNIX_EPOCH);
        let of = |name| Arc::clone(catalog.resource_type(name).unwrap());
        let tenant = Tenant {
            rate: None,
            paused: None,
            id: "t".to_owned(),
            name: "acme".to_owned(),
            title: String::new(),
            contact: String::new(),
            created: OffsetDateTime::UNIX_EPOCH,
            index_key: [7; 32],
            cursor_key: [7; 32],
        };
        Self {
            tenant,
            users: of("User"),
            groups: of("Group"),
            catalogs,
            ticks: AtomicUsize::new(0),
            looks: Arc::default(),
            start: Instant::now(),
        }
    }

    pub(super) fn tick(&self) -> usize {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn partition(&self) -> &str {
        &self.tenant.id
    }

    fn directory(&self, caller: &Caller, ask: &Ask) -> Directory {
        let made = match *ask {
            Ask::CreateUser { user, .. } => user,
            Ask::CreateGroup { group, .. } => USERS + group,
            _ => RESOURCES,
        };
        let ambient = Own {
            start: self.start,
            looks: Arc::clone(&self.looks),
            skew: caller.skew,
            id: made,
        };
        Directory {
            store: Arc::clone(&caller.store),
            ambient: Arc::new(ambient),
            access: Arc::new(Access {
                tenant: self.tenant.clone(),
                credential: caller.name.clone(),
                catalogs: self.catalogs.read_again(),
            }),
            deadline: Instant::now() + caller.patience,
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        }
    }

    /// What is wrong with the rows when nothing is under way.
    pub(super) async fn check(&self, caller: &Caller) -> Result<(), String> {
        let inspection = Inspection::new(self.directory(caller, &Ask::Finish), PATIENCE, 3, |_| {});
        let report = inspection.check().await.map_err(|error| error.to_string())?;
        if report.is_sound() {
            Ok(())
        } else {
            Err(format!("{:?}", report.findings))
        }
    }

    /// Carries an operation out. `expected` is the version that the client saw last, for those that ask for it.
    pub(super) async fn ask(&self, caller: &Caller, ask: &Ask, expected: Option<String>) -> Told {
        let directory = self.directory(caller, ask);
        match self.tell(&directory, ask, expected).await {
            Ok(told) => told,
            Err(Error::Refused(refused)) => match refused.rule() {
                Rule::NotFound => Told::NotFound,
                Rule::UniqueTaken | Rule::GroupTaken => Told::Taken,
                Rule::PreconditionFailed => Told::Outdated,
                Rule::UnknownMember => {
                    let text = refused.to_string();
                    let missing = (0..RESOURCES).find(|resource| text.contains(&id(*resource)));
                    Told::BadMember(missing.expect("the member is named"))
                }
                Rule::DeadlineExceeded => Told::Failed(refused.to_string()),
                _ => panic!("{ask:?}: {refused}"),
            },
            Err(Error::Store(error @ store::Error::TooLarge(_))) => panic!("{ask:?}: {error}"),
            Err(Error::Store(error)) => Told::Failed(error.to_string()),
            Err(Error::Format(error)) => panic!("{ask:?}: {error}"),
        }
    }

    async fn tell(&self, directory: &Directory, ask: &Ask, expected: Option<String>) -> Result<Told, Error> {
        let mut trace = Trace::default();
        let of = match ask {
            Ask::CreateUser { .. } | Ask::RenameUser { .. } => &self.users,
            Ask::Delete { resource } | Ask::Read { resource } if *resource < USERS => &self.users,
            _ => &self.groups,
        };
        let written = Shown::written(of, &Selection::default());
        let stored = match ask {
            Ask::CreateUser { .. } | Ask::CreateGroup { .. } => {
                directory.create(of, written, self.document(ask), &mut trace).await?
            }
            Ask::Put { group, .. } => {
                let expected = expected.map_or(Precondition::None, |version| Precondition::Version(vec![version]));
                let (id, document) = (id(USERS + group), self.document(ask));
                let replace = directory.replace(of, &id, &expected, written, &document, &mut trace);
                replace.await?
            }
            Ask::Delete { resource } => {
                directory.delete(of, &id(*resource), &Precondition::None).await?;
                return Ok(Told::Done);
            }
            Ask::Restore { resource } => {
                let restored = directory.restore(&id(*resource), Duration::DAY, false).await;
                return by_operator(restored.map(|_| ()));
            }
            Ask::Erase { user } => return by_operator(directory.erase(&id(*user)).await.map(|_| ())),
            Ask::Read { resource } => {
                let read = Shown::read(of, &Selection::default());
                directory.read(of, &id(*resource), read).await?
            }
            Ask::List { name } => {
                let filter = name.map(|name| format!(r#"displayName eq "{}""#, spelled(name)));
                return self.list(directory, filter).await;
            }
            Ask::With { member } => {
                let filter = format!(r#"members eq "{}""#, id(*member));
                return self.list(directory, Some(filter)).await;
            }
            Ask::Finish => {
                directory.finish_pending().await?;
                return Ok(Told::Done);
            }
            Ask::RenameUser { .. }
            | Ask::Rename { .. }
            | Ask::Change { .. }
            | Ask::Set { .. }
            | Ask::RemoveUsers { .. } => {
                let (resource, operations) = operations(ask);
                let message = json!({
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": operations,
                });
                let (id, none) = (id(resource), Precondition::None);
                directory.patch(of, &id, &none, written, &message, &mut trace).await?
            }
        };
        Ok(told(of, &stored))
    }

    fn document(&self, ask: &Ask) -> Value {
        match *ask {
            Ask::CreateUser { name, .. } => {
                json!({ "schemas": [self.users.schema.id], "userName": spelled(name) })
            }
            Ask::CreateGroup { name, members, .. } | Ask::Put { name, members, .. } => json!({
                "schemas": [self.groups.schema.id],
                "displayName": spelled(name),
                "members": values(members),
            }),
            _ => unreachable!("{ask:?} has no document"),
        }
    }

    async fn list(&self, directory: &Directory, filter: Option<String>) -> Result<Told, Error> {
        let query = ListQuery {
            filter,
            count: 100,
            ..ListQuery::default()
        };
        let shown = [Shown::read(&self.groups, &Selection::default())];
        let types = [Arc::clone(&self.groups)];
        let mut trace = Trace::default();
        let found = directory.query(&types, &query, &shown, BASE, &mut trace);
        let groups = found.await?.resources.into_iter().map(|listed| {
            let document = listed.document;
            let version = document["meta"]["version"].as_str().unwrap();
            Listed {
                group: number(text(&document, "id")) - USERS,
                name: name_of(&document, "displayName"),
                version: version.trim_start_matches("W/").trim_matches('"').to_owned(),
                members: linked(&document, "members"),
            }
        });
        Ok(Told::List(groups.collect()))
    }
}

fn by_operator(done: Result<(), Denied>) -> Result<Told, Error> {
    Ok(match done {
        Ok(()) => Told::Done,
        Err(Denied::There(_)) => Told::There,
        Err(Denied::Unknown) => Told::Unknown,
        Err(Denied::Erased(_)) => Told::Erased,
        Err(Denied::Taken(..)) => Told::Taken,
        Err(Denied::Failed(error)) => return Err(error),
        Err(denied @ (Denied::Past(..) | Denied::Group)) => panic!("{denied}"),
    })
}

fn operations(ask: &Ask) -> (usize, Value) {
    let rename = |name: u8| json!({ "op": "replace", "path": "displayName", "value": spelled(name) });
    match *ask {
        Ask::RenameUser { user, name } => {
            let rename = json!({ "op": "replace", "path": "userName", "value": spelled(name) });
            (user, json!([rename]))
        }
        Ask::Rename { group, name } => (USERS + group, json!([rename(name)])),
        Ask::Change {
            group,
            add,
            remove,
            name,
        } => {
            let mut operations = Vec::new();
            if add != Set::default() {
                operations.push(json!({ "op": "add", "path": "members", "value": values(add) }));
            }
            if remove != Set::default() {
                operations.push(json!({ "op": "remove", "path": "members", "value": values(remove) }));
            }
            operations.extend(name.map(rename));
            (USERS + group, json!(operations))
        }
        Ask::Set { group, members } => {
            let set = json!({ "op": "replace", "path": "members", "value": values(members) });
            (USERS + group, json!([set]))
        }
        Ask::RemoveUsers { group } => {
            let remove = json!({ "op": "remove", "path": r#"members[type eq "User"]"# });
            (USERS + group, json!([remove]))
        }
        _ => unreachable!("{ask:?} is no PATCH"),
    }
}

fn values(members: Set) -> Vec<Value> {
    members.iter().map(|member| json!({ "value": id(member) })).collect()
}

fn spelled(name: u8) -> String {
    format!("n{name}")
}

fn name_of(document: &Map<String, Value>, attribute: &str) -> u8 {
    text(document, attribute)[1..].parse().unwrap()
}

fn linked(document: &Map<String, Value>, attribute: &str) -> Set {
    let values = document.get(attribute).and_then(Value::as_array).into_iter().flatten();
    values.map(|value| number(value["value"].as_str().unwrap())).collect()
}

fn text<'d>(document: &'d Map<String, Value>, attribute: &str) -> &'d str {
    document[attribute].as_str().unwrap()
}

fn told(of: &ResourceType, stored: &Stored) -> Told {
    let document = stored.document(of, BASE);
    let version = stored.envelope.version.clone();
    let linked = |attribute| stored.links.is_some().then(|| linked(&document, attribute));
    match of.name.as_str() {
        "Group" => Told::Group {
            version,
            name: name_of(&document, "displayName"),
            members: linked("members"),
        },
        _ => Told::User {
            version,
            name: name_of(&document, "userName"),
            groups: linked("groups"),
        },
    }
}

/// Who makes what there is from the start.
pub(super) const SETTER: &str = "set";
/// Who finishes what was left behind.
pub(super) const FINISHER: &str = "finish";

/// All groups.
pub(super) fn all_groups() -> impl Iterator<Item = usize> {
    0..GROUPS
}
