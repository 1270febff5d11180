//! An application that takes SCIM lightly, in one way or another: whatever it does, no account is touched but those that were
//! made, and who is left is named. Changes it only says to make.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    spawn,
    sync::Notify,
    time::sleep,
};

use crate::{ids, pace, plan, upstream, visit};

/// How it is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sloppy {
    /// Nothing.
    Sound,
    /// The id of an answer to a create is that of a job; an account of somebody else has the same.
    JobIds,
    /// The same, and the job is not done before nobody asks any more.
    LateJobs,
    /// Identifiers are numbers.
    Numbers,
    /// Identifiers are longer than a URL may be.
    LongIds,
    /// 201 and no body, and whatever is searched for, the first page of everybody is listed.
    NoBodyNoFilter,
    /// DELETE is 404, whatever its path is.
    NoDelete,
    /// DELETE is 204, and nothing else.
    FakeDelete,
    /// Searches are refused as soon as somebody has been made, and the answer to that is lost.
    SearchRefused,
    /// The same name may be taken again, and the answer to that is lost.
    SecondLost,
    /// A create takes a while, and takes effect though the client has gone.
    Slow,
    /// Whatever JSON is posted is an account.
    Nameless,
    /// Whatever is posted is an account: two requests show it, and are not sent again.
    Bodies,
}

/// What must be said of it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    sloppy: Sloppy,
    may_write: bool,
    /// Worse than a note, all of them.
    finds: &'static [&'static str],
    /// How many test users stay.
    stay: usize,
}

const fn row(name: &'static str, sloppy: Sloppy, may_write: bool, finds: &'static [&'static str], stay: usize) -> Row {
    Row {
        name,
        sloppy,
        may_write,
        finds,
        stay,
    }
}

pub(crate) const ROWS: &[Row] = &[
    row("sound", Sloppy::Sound, true, &[], 0),
    row("job_ids", Sloppy::JobIds, true, &["look-up-fails", "created-answer"], 0),
    row(
        "late_jobs",
        Sloppy::LateJobs,
        true,
        &["look-up-fails", "left-behind", "created-answer"],
        0,
    ),
    row("numbers", Sloppy::Numbers, true, &["created-answer"], 0),
    row("long_ids", Sloppy::LongIds, true, &["create-fails", "left-behind"], 1),
    row(
        "no_body_no_filter",
        Sloppy::NoBodyNoFilter,
        true,
        &["create-fails", "left-behind"],
        1,
    ),
    row("no_delete", Sloppy::NoDelete, true, &["delete-fails", "left-behind"], 1),
    row(
        "fake_delete",
        Sloppy::FakeDelete,
        true,
        &["deleted-shown", "left-behind"],
        1,
    ),
    row(
        "search_refused",
        Sloppy::SearchRefused,
        true,
        &["closed-without-answer", "left-behind"],
        1,
    ),
    row("second_lost", Sloppy::SecondLost, true, &["look-up-fails"], 0),
    row("nameless", Sloppy::Nameless, true, &["broken-accepted"], 0),
    row("nameless_read_only", Sloppy::Nameless, false, &[], 0),
    row("bodies_read_only", Sloppy::Bodies, false, &["broken-accepted"], 2),
];

/// Accounts of others, whose ids are their places.
const OTHERS: usize = 30;

struct Application {
    sloppy: Sloppy,
    accounts: Mutex<BTreeMap<String, Value>>,
    /// A create has come.
    posted: Notify,
}

fn others() -> BTreeMap<String, Value> {
    let other = |id: usize| {
        let account = json!({ "id": id.to_string(), "userName": format!("other{id}@example.com"), "active": true });
        (id.to_string(), account)
    };
    (0..OTHERS).map(other).collect()
}

/// A visit to it; what is told must be what is there.
pub(crate) async fn examine(row: &Row) -> Result<(), String> {
    let (application, address) = serve(row.sloppy).await;
    let report = visit(plan(&format!("http://{address}"), row.may_write)).await;
    let mut rest = application.accounts().clone();
    let is_as_before = others()
        .iter()
        .all(|(id, other)| rest.remove(id).as_ref() == Some(other));
    let all_named = rest.values().filter_map(|made| made["userName"].as_str()).all(|name| {
        let mut left = report.left.iter();
        left.any(|left| left.contains(name))
    });
    let ids = ids(&report);
    let is_told = row.finds.iter().all(|id| ids.contains(id))
        && ids.contains(&"left-behind") == row.finds.contains(&"left-behind");
    if is_as_before && all_named && is_told && rest.len() == row.stay {
        return Ok(());
    }
    Err(format!(
        "others as before: {is_as_before}; there: {rest:#?}; expected {:?}, found {ids:?}: {report:#?}",
        row.finds
    ))
}

/// Somebody presses Ctrl-C while a create is under way that takes effect later.
pub(crate) async fn stopped_while_a_create_is_under_way() -> Result<(), String> {
    let (application, address) = serve(Sloppy::Slow).await;
    let stop = Notify::new();
    let visit = scimgate::doctor::run(
        plan(&format!("http://{address}"), true),
        Arc::new(scimgate::ambient::System),
        &|_| (),
        &stop,
    );
    let (report, ()) = tokio::join!(visit, async {
        application.posted.notified().await;
        stop.notify_one();
    });
    let report = report?;
    let there = application.accounts().len();
    if there == OTHERS && report.left.is_empty() {
        return Ok(());
    }
    Err(format!("{there} accounts: {report:#?}"))
}

async fn serve(sloppy: Sloppy) -> (Arc<Application>, SocketAddr) {
    let application = Arc::new(Application {
        sloppy,
        accounts: Mutex::new(others()),
        posted: Notify::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let served = Arc::clone(&application);
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let application = Arc::clone(&served);
            // Goes on though its client has gone.
            spawn(async move { drop(application.converse(stream).await) });
        }
    });
    (application, address)
}

impl Application {
    fn accounts(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.accounts.lock().expect("nobody panics with it")
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let asked = upstream::head(&mut stream).await?;
            let mut body = vec![0; asked.length];
            stream.read_exact(&mut body).await?;
            let head = String::from_utf8_lossy(&asked.head).into_owned();
            let Some((status, answer)) = self.answer(&head, &body).await else {
                return Ok(());
            };
            let length = answer.len();
            let (form, answer) = match status {
                204 => (String::new(), String::new()),
                _ => (
                    format!("content-type: application/scim+json\r\ncontent-length: {length}\r\n"),
                    answer,
                ),
            };
            let answer = if head.starts_with("HEAD ") { "" } else { &answer };
            let bytes =
                format!("HTTP/1.1 {status} Said\r\nwww-authenticate: Bearer\r\nlocation: /\r\n{form}\r\n{answer}");
            stream.write_all(bytes.as_bytes()).await?;
        }
    }

    /// None: the connection ends.
    async fn answer(&self, head: &str, body: &[u8]) -> Option<(u16, String)> {
        let error = |status: u16| {
            let error =
                json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": status.to_string() });
            Some((status, error.to_string()))
        };
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        if !head.contains(upstream::SECRET) {
            return error(401);
        }
        if !head.contains(" HTTP/1.1\r\n") {
            return None;
        }
        let target = target.strip_prefix("/scim/acme").unwrap_or(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match (method, path.strip_prefix("/Users/")) {
            ("POST", None) if path == "/Users" => self.create(body).await,
            ("GET" | "HEAD", None) if path == "/Users" => Some(self.search(query)),
            ("GET" | "HEAD", None) if ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"].contains(&path) => {
                Some((200, "{}".to_owned()))
            }
            ("GET" | "HEAD", Some(id)) => {
                let accounts = self.accounts();
                accounts
                    .get(id)
                    .map_or_else(|| error(404), |account| Some((200, account.to_string())))
            }
            ("PATCH", Some(id)) => self.change(id, body).map_or_else(|| error(404), Some),
            ("DELETE", Some(id)) => match self.sloppy {
                Sloppy::NoDelete => error(404),
                Sloppy::FakeDelete => Some((204, String::new())),
                _ if self.accounts().remove(id).is_some() => Some((204, String::new())),
                _ => error(404),
            },
            _ => error(404),
        }
    }

    /// It says that it has changed something, and marks the account so that this is seen.
    fn change(&self, id: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut accounts = self.accounts();
        let account = accounts.get_mut(id)?;
        account["changed"] = json!(body.len());
        Some((200, account.to_string()))
    }

    fn search(&self, query: &str) -> (u16, String) {
        let accounts = self.accounts();
        if self.sloppy == Sloppy::SearchRefused && accounts.len() > OTHERS {
            return (403, "{}".to_owned());
        }
        let filter = percent_encoding::percent_decode_str(query)
            .decode_utf8_lossy()
            .to_ascii_lowercase();
        let filter = filter.strip_prefix("filter=").unwrap_or_default().replace('+', " ");
        let mut parts = filter.split('"');
        let attribute = match parts.next().unwrap_or_default().split(' ').next() {
            Some("username") => Some("userName"),
            Some("externalid") => Some("externalId"),
            _ => None,
        };
        let value = parts.next();
        if filter.contains(" eq") && value.is_none() {
            return (
                400,
                r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"]}"#.to_owned(),
            );
        }
        let is_meant = |account: &&Value| match (attribute, value) {
            (Some(attribute), Some(value)) if self.sloppy != Sloppy::NoBodyNoFilter => account[attribute]
                .as_str()
                .is_some_and(|is| is.eq_ignore_ascii_case(value)),
            _ => true,
        };
        let found: Vec<_> = accounts.values().filter(is_meant).collect();
        let page: Vec<_> = found.iter().take(20).collect();
        let list = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": found.len(),
            "Resources": page,
        });
        (200, list.to_string())
    }

    async fn create(&self, body: &[u8]) -> Option<(u16, String)> {
        let refusal = |status| {
            Some((
                status,
                r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"]}"#.to_owned(),
            ))
        };
        let mut account: Value = match serde_json::from_slice(body) {
            Ok(account) => account,
            Err(_) if self.sloppy == Sloppy::Bodies => json!({}),
            Err(_) => return refusal(400),
        };
        let name = account["userName"].as_str().map(str::to_owned);
        if name.is_none() && !matches!(self.sloppy, Sloppy::Nameless | Sloppy::Bodies) {
            return refusal(400);
        }
        self.posted.notify_one();
        if self.sloppy == Sloppy::Slow {
            sleep(pace().silence * 6).await;
        }
        let mut accounts = self.accounts();
        let is_taken = name.is_some() && accounts.values().any(|other| other["userName"] == account["userName"]);
        if is_taken && self.sloppy != Sloppy::SecondLost {
            return refusal(409);
        }
        // Behind the others in every list.
        let id = 90_000 + accounts.len();
        account["id"] = match self.sloppy {
            Sloppy::Numbers => json!(id),
            Sloppy::LongIds => json!(id.to_string().repeat(100_000)),
            _ => json!(id.to_string()),
        };
        account["meta"] = json!({ "location": format!("/Users/{id}") });
        if self.sloppy != Sloppy::LateJobs {
            accounts.insert(id.to_string(), account.clone());
        }
        match self.sloppy {
            Sloppy::JobIds | Sloppy::LateJobs => Some((201, json!({ "id": "17", "state": "queued" }).to_string())),
            Sloppy::NoBodyNoFilter => Some((201, String::new())),
            Sloppy::SearchRefused => None,
            Sloppy::SecondLost if is_taken => None,
            _ => Some((201, account.to_string())),
        }
    }
}
