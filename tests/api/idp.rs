//! Conversations with identity providers, as data: what the client sends step by step, and what it must be told.
//!
//! A file of `tests/idp/<provider>/` is one conversation, held in order against a tenant:
//!
//! ```json
//! {"covers": ["E-…"], "title": "…", "source": "…", "steps": [
//!   {"name": "create", "method": "POST", "path": "/Users", "headers": {}, "body": {} or "raw": "sent as it stands",
//!    "expect": {"status": 201, "headers": {}, "body": {}, "absent": ["/manager"], "detail_contains": ["userName"]},
//!    "save": {"id": "/id", "etag": "header:etag"}}]}
//! ```
//!
//! - `path` is percent-encoded as the client sends it and is appended to the Tenant URL.
//! - `{base}` (the Tenant URL), `{unique}` (a fresh word a run) and every saved name are filled in wherever a string
//!   stands. A name nobody saved is a failure, not a literal.
//! - A body goes out as `application/scim+json; charset=utf-8` unless the step names another `Content-Type`.
//! - An expected object names members the answer must have (it may have more); an expected array has the answer's
//!   length and order. An object with one operator of [`pattern`] as its only member stands for a rule instead of a
//!   value. An expected header is matched like a body's string; `null` says that the header must not be there.
//! - What holds for every answer needs no saying: see [`breaches`].

mod file;
mod pattern;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use file::parse;
use pattern::compare;

const SCIM_JSON: &str = "application/scim+json";
const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The way to the service under test: straight, or through a host in front of it.
pub(crate) trait Client {
    /// The Tenant URL as the service itself would print it, without a slash at its end.
    fn base(&self) -> String;

    /// Sends one request with the tenant's credential. `path_and_query` is appended to the Tenant URL as it stands.
    async fn send(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(String, String)],
        body: Option<Vec<u8>>,
    ) -> Answer;

    /// Something that may happen on the other side between two steps, before this one, of which the client must not notice
    /// anything. What was saved may get other values.
    async fn before(&self, _method: &str, _saved: &mut BTreeMap<String, String>) -> Result<(), String> {
        Ok(())
    }
}

/// What came back, unread.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// All lines of one header as one value (RFC 9110 §5.3).
    fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        lines
            .map(|(_, value)| value.clone())
            .reduce(|all, next| format!("{all}, {next}"))
    }
}

/// One file.
pub(crate) struct Conversation {
    pub(crate) file: String,
    /// Ids of the requirements it speaks for, as in docs/conformance.md.
    covers: Vec<String>,
    title: String,
    steps: Vec<Step>,
}

impl Conversation {
    /// What the client remembers of answers: places in a body, and `header:<name>`.
    pub(crate) fn saved(&self) -> impl Iterator<Item = &str> {
        let saved = self.steps.iter().flat_map(|step| &step.save);
        saved.map(|(_, place)| place.as_str())
    }
}

struct Step {
    name: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Body,
    expect: Expect,
    save: Vec<(String, String)>,
}

enum Body {
    None,
    Json(Value),
    Raw(String),
}

struct Expect {
    status: u16,
    headers: Map<String, Value>,
    body: Option<Value>,
    absent: Vec<String>,
    detail_contains: Vec<String>,
}

/// The folders of conversations, one an identity provider.
pub(crate) fn providers() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/idp");
    let entries = folder
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut folders: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// Every conversation of a folder, by file name.
///
/// # Panics
/// When a file is not a conversation: the message names the file, the step and what is wrong, an unknown key included.
pub(crate) fn conversations(folder: &Path) -> Vec<Conversation> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let parsed = files.iter().map(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
        parse(&file, &text).unwrap_or_else(|wrong| panic!("{wrong}"))
    });
    parsed.collect()
}

/// Holds one conversation. The error names the file and the step, what was expected and what came.
pub(crate) async fn run(conversation: &Conversation, client: &impl Client) -> Result<(), String> {
    let mut known = Known::new(client.base());
    for (number, step) in (1..).zip(&conversation.steps) {
        client.before(&step.method, &mut known.names).await?;
        let done = take(step, client, &mut known).await;
        let place = format!(
            "{} ({}): step {number} `{}`",
            conversation.file, conversation.title, step.name
        );
        done.map_err(|wrong| format!("{place}: {wrong}"))?;
    }
    Ok(())
}

async fn take(step: &Step, client: &impl Client, known: &mut Known) -> Result<(), String> {
    let path = known.fill(&step.path)?;
    let mut headers = Vec::new();
    for (name, value) in &step.headers {
        headers.push((name.clone(), known.fill(value)?));
    }
    let body = match &step.body {
        Body::None => None,
        Body::Json(value) => Some(known.fill_in(value)?.to_string().into_bytes()),
        Body::Raw(text) => Some(known.fill(text)?.into_bytes()),
    };
    if body.is_some()
        && !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        headers.push(("Content-Type".to_owned(), format!("{SCIM_JSON}; charset=utf-8")));
    }
    let answer = client.send(&step.method, &path, &headers, body).await;
    let found = judge(step, &answer, known)?;
    if found.is_empty() {
        Ok(())
    } else {
        Err(report(step, &path, &found, &answer))
    }
}

fn report(step: &Step, path: &str, found: &[String], answer: &Answer) -> String {
    let came = answer.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let came = came
        .chain([String::from_utf8_lossy(&answer.body).into_owned()])
        .collect::<Vec<_>>()
        .join("\n    ");
    let expected = found.join("\n    ");
    format!(
        "{} {path}\n  expected\n    {expected}\n  came\n    {}\n    {came}",
        step.method, answer.status
    )
}

/// What is wrong with an answer, by the step's own expectation and by [`breaches`]. Saves what the step says to save
/// first, so that the expectation can name it.
fn judge(step: &Step, answer: &Answer, known: &mut Known) -> Result<Vec<String>, String> {
    let (expect, mut found) = (&step.expect, Vec::new());
    if answer.status != expect.status {
        found.push(format!("status {}, came {}", expect.status, answer.status));
    }
    let document = match answer.body.as_slice() {
        [] => Value::Null,
        bytes => serde_json::from_slice(bytes).unwrap_or_else(|error| {
            found.push(format!("a JSON body ({error})"));
            Value::Null
        }),
    };
    for (name, place) in &step.save {
        let Some(value) = value_at(place, answer, &document) else {
            found.push(format!("{place}: a text to save as `{name}`"));
            return Ok(found);
        };
        known.names.insert(name.clone(), value);
    }
    breaches(answer, &document, &known.names["base"], &mut found);
    for (name, pattern) in &expect.headers {
        match (known.fill_in(pattern)?, answer.header(name)) {
            (Value::Null, None) => {}
            (Value::Null, Some(value)) => found.push(format!("no header {name}, came {value}")),
            (_, None) => found.push(format!("header {name}: {pattern}, came none")),
            (pattern, Some(value)) => compare(&pattern, &Value::String(value), &format!("header {name}"), &mut found),
        }
    }
    if let Some(pattern) = &expect.body {
        compare(&known.fill_in(pattern)?, &document, "", &mut found);
    }
    for pointer in &expect.absent {
        if let Some(value) = document.pointer(&known.fill(pointer)?) {
            found.push(format!("{pointer}: nothing, came {value}"));
        }
    }
    let detail = document["detail"].as_str().unwrap_or_default();
    for part in &expect.detail_contains {
        let part = known.fill(part)?;
        if !detail.contains(&part) {
            found.push(format!("/detail: with `{part}` in it, came `{detail}`"));
        }
    }
    Ok(found)
}

/// What every answer must keep to, whoever asks: the media type (RFC 7644 §3.8), no body with 204, the error body
/// (§3.12), no unassigned value spelled out (RFC 7643 §2.5; `Resources` excepted, which Entra reads), and one
/// spelling of version and location in header and body (§3.1).
fn breaches(answer: &Answer, document: &Value, base: &str, found: &mut Vec<String>) {
    let media_type = answer.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
    if answer.status == 204 && !answer.body.is_empty() {
        found.push("204 without a body".to_owned());
    } else if answer.status != 204 && !media_type.eq_ignore_ascii_case(SCIM_JSON) {
        found.push(format!("a body of type {SCIM_JSON}, came `{media_type}`"));
    }
    if answer.status >= 400 {
        let status = answer.status.to_string();
        let shape = json!({"schemas": [ERROR_SCHEMA], "status": status, "detail": {"$type": "string"}});
        compare(&shape, document, "", found);
    }
    if !document.is_null() {
        unassigned(document, "", found);
    }
    for (header, pointer) in [("etag", "/meta/version"), ("location", "/meta/location")] {
        if let (Some(value), Some(member)) = (answer.header(header), document.pointer(pointer))
            && member != &Value::String(value.clone())
        {
            found.push(format!("{pointer}: {value} as in the header {header}, came {member}"));
        }
    }
    let listed = document["Resources"].as_array().into_iter().flatten();
    for resource in listed.chain([document]) {
        misplaced(resource, base, found);
    }
}

/// A resource's location is its own, and a reference to a member or a group is the location of what it names.
fn misplaced(resource: &Value, base: &str, found: &mut Vec<String>) {
    let mut check = |what: &str, kind: &str, id: &Value, location: &Value| {
        let id = id.as_str().unwrap_or_default();
        if id.is_empty() || location != &Value::String(format!("{base}/{kind}s/{id}")) {
            found.push(format!("{what} {base}/{kind}s/<id>, came {location} with id `{id}`"));
        }
    };
    if let Some(kind @ ("User" | "Group")) = resource["meta"]["resourceType"].as_str() {
        check("meta.location", kind, &resource["id"], &resource["meta"]["location"]);
    }
    for (attribute, kind) in [("members", None), ("groups", Some("Group"))] {
        for element in resource[attribute].as_array().into_iter().flatten() {
            let kind = kind.or(element["type"].as_str()).unwrap_or_default();
            if let Some(location) = element.get("$ref") {
                check(attribute, kind, &element["value"], location);
            }
        }
    }
}

fn unassigned(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Null => found.push(format!("{at}: no null")),
        Value::Array(elements) if elements.is_empty() && at != "/Resources" => {
            found.push(format!("{at}: no empty array"));
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                unassigned(element, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                unassigned(member, &format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}

fn value_at(place: &str, answer: &Answer, document: &Value) -> Option<String> {
    match place.strip_prefix("header:") {
        Some(name) => answer.header(name),
        None => document.pointer(place)?.as_str().map(str::to_owned),
    }
}

/// The names that may stand in braces.
struct Known {
    names: BTreeMap<String, String>,
}

impl Known {
    fn new(base: String) -> Known {
        // The standard library's hash keys are random: a fresh word without a clock or a random source of our own.
        let unique = format!("{:016x}", RandomState::new().hash_one(0));
        Known {
            names: BTreeMap::from([("base".to_owned(), base), ("unique".to_owned(), unique)]),
        }
    }

    fn fill(&self, text: &str) -> Result<String, String> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            match after.split_once('}') {
                Some((name, after)) if is_name(name) => {
                    let value = self
                        .names
                        .get(name)
                        .ok_or_else(|| format!("`{{{name}}}` was never saved: {text}"))?;
                    filled.push_str(value);
                    rest = after;
                }
                _ => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        Ok(filled + rest)
    }

    fn fill_in(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill(text)?),
            Value::Array(elements) => elements
                .iter()
                .map(|element| self.fill_in(element))
                .collect::<Result<_, _>>()?,
            Value::Object(members) => {
                let filled = members
                    .iter()
                    .map(|(key, member)| Ok((key.clone(), self.fill_in(member)?)));
                Value::Object(filled.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Answers in the order given and keeps what it was asked.
    struct Scripted {
        answers: RefCell<Vec<Answer>>,
        asked: RefCell<Vec<String>>,
    }

    impl Client for Scripted {
        fn base(&self) -> String {
            "https://scim.example.com/scim/acme".to_owned()
        }

        async fn send(
            &self,
            method: &str,
            path_and_query: &str,
            headers: &[(String, String)],
            body: Option<Vec<u8>>,
        ) -> Answer {
            let body = String::from_utf8(body.unwrap_or_default()).unwrap();
            self.asked
                .borrow_mut()
                .push(format!("{method} {path_and_query} {headers:?} {body}"));
            self.answers.borrow_mut().remove(0)
        }
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Answer {
            status,
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    fn scim(status: u16, body: &str) -> Answer {
        answer(
            status,
            &[("Content-Type", "application/scim+json; charset=utf-8")],
            body,
        )
    }

    async fn hold(steps: &str, answers: Vec<Answer>) -> (Result<(), String>, Vec<String>) {
        let text = format!(r#"{{"covers": ["X"], "title": "t", "source": "s", "steps": {steps}}}"#);
        let client = Scripted {
            answers: RefCell::new(answers),
            asked: RefCell::default(),
        };
        let done = run(&parse("x.json", &text).unwrap(), &client).await;
        (done, client.asked.into_inner())
    }

    /// One GET with this expectation and this answer; `wanted` is part of the failure, or empty when there is none.
    #[track_caller]
    fn check(expect: &str, answer: Answer, wanted: &str) {
        let steps = format!(r#"[{{"name": "look", "method": "GET", "path": "/Users/1", "expect": {expect}}}]"#);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        match runtime.block_on(hold(&steps, vec![answer])).0 {
            Ok(()) => assert_eq!(wanted, "", "nothing was found"),
            Err(wrong) => assert!(!wanted.is_empty() && wrong.contains(wanted), "{wrong}"),
        }
    }

    #[test]
    fn an_answer_as_expected_passes() {
        let body = r#"{"a": {"b": [1, "x"]}, "detail": "say userName"}"#;
        check(
            r#"{"status": 200, "headers": {"content-type": {"$starts_with": "application/scim+json"}, "etag": null},
                "body": {"a": {"b": [1, "x"]}}, "absent": ["/a/c"], "detail_contains": ["userName"]}"#,
            scim(200, body),
            "",
        );
        check(r#"{"status": 204}"#, answer(204, &[], ""), "");
        check(
            r#"{"status": 200, "body": {"at": "{base}/x"}}"#,
            scim(200, r#"{"at": "https://scim.example.com/scim/acme/x"}"#),
            "",
        );
    }

    #[test]
    fn a_difference_is_found() {
        check(r#"{"status": 201}"#, scim(200, "{}"), "status 201, came 200");
        check(
            r#"{"status": 200, "body": {"a": 1}}"#,
            scim(200, r#"{"a": 2}"#),
            "/a: 1, came 2",
        );
        check(
            r#"{"status": 200, "absent": ["/a/b"]}"#,
            scim(200, r#"{"a": {"b": false}}"#),
            "/a/b: nothing, came false",
        );
        check(
            r#"{"status": 200, "headers": {"etag": "x"}}"#,
            scim(200, "{}"),
            "header etag: \"x\", came none",
        );
        check(
            r#"{"status": 200, "headers": {"content-type": "text/html"}}"#,
            scim(200, "{}"),
            "header content-type",
        );
        check(
            r#"{"status": 200, "headers": {"content-type": null}}"#,
            scim(200, "{}"),
            "no header content-type",
        );
        check(
            r#"{"status": 200, "detail_contains": ["x"]}"#,
            scim(200, r#"{"detail": "y"}"#),
            "with `x` in it, came `y`",
        );
        check(
            r#"{"status": 200, "body": {}}"#,
            answer(200, &[("content-type", SCIM_JSON)], ""),
            "{}, came null",
        );
    }

    #[test]
    fn what_every_answer_must_keep_to_is_checked() {
        let error =
            |status: &str| format!(r#"{{"schemas": ["{ERROR_SCHEMA}"], "status": {status}, "detail": "gone"}}"#);
        check(r#"{"status": 404}"#, scim(404, &error("\"404\"")), "");
        check(
            r#"{"status": 404}"#,
            scim(404, &error("404")),
            "/status: \"404\", came 404",
        );
        check(r#"{"status": 404}"#, scim(404, "{}"), "/schemas");
        check(
            r#"{"status": 200}"#,
            answer(200, &[("Content-Type", "application/json")], "{}"),
            "of type",
        );
        check(r#"{"status": 200}"#, scim(200, "<html>"), "a JSON body");
        check(r#"{"status": 204}"#, answer(204, &[], "{}"), "204 without a body");
        check(
            r#"{"status": 200}"#,
            scim(200, r#"{"a": [{"b": null}]}"#),
            "/a/0/b: no null",
        );
        check(r#"{"status": 200}"#, scim(200, r#"{"a": []}"#), "/a: no empty array");
        check(r#"{"status": 200}"#, scim(200, r#"{"Resources": []}"#), "");
        let tagged = answer(
            200,
            &[("content-type", SCIM_JSON), ("ETag", "W/\"1\"")],
            r#"{"meta": {"version": "W/\"2\""}}"#,
        );
        check(r#"{"status": 200}"#, tagged, "as in the header etag");
        let user = |base: &str| {
            let meta = format!(r#"{{"resourceType": "User", "location": "{base}/Users/7"}}"#);
            scim(200, &format!(r#"{{"Resources": [{{"id": "7", "meta": {meta}}}]}}"#))
        };
        check(r#"{"status": 200}"#, user("https://scim.example.com/scim/acme"), "");
        check(r#"{"status": 200}"#, user("http://localhost"), "meta.location");
        let group = |reference: &str| {
            let members = format!(r#"[{{"value": "7", "type": "User", "$ref": "{reference}"}}]"#);
            scim(200, &format!(r#"{{"members": {members}}}"#))
        };
        let (right, wrong) = ("acme/Users/7", "acme/Groups/7");
        check(
            r#"{"status": 200}"#,
            group(&format!("https://scim.example.com/scim/{right}")),
            "",
        );
        check(
            r#"{"status": 200}"#,
            group(&format!("https://scim.example.com/scim/{wrong}")),
            "members",
        );
    }

    #[tokio::test]
    async fn what_is_saved_is_filled_into_later_steps() {
        let steps = r#"[
            {"name": "create", "method": "POST", "path": "/Users", "body": {"userName": "{unique}"},
             "expect": {"status": 201}, "save": {"id": "/id", "etag": "header:etag"}},
            {"name": "look", "method": "GET", "path": "/Users/{id}?x=y", "headers": {"If-None-Match": "{etag}"},
             "expect": {"status": 200, "body": {"id": "{id}"}}},
            {"name": "raw", "method": "POST", "path": "/Users", "headers": {"content-type": "text/xml"},
             "raw": "{\"id\":\"{id}\"}", "expect": {"status": 200}}]"#;
        let created = answer(
            201,
            &[("content-type", SCIM_JSON), ("ETag", "W/\"1\"")],
            r#"{"id": "7"}"#,
        );
        let (done, asked) = hold(steps, vec![created, scim(200, r#"{"id": "7"}"#), scim(200, "{}")]).await;
        assert_eq!(done, Ok(()));
        assert!(asked[0].starts_with("POST /Users [(\"Content-Type\", \"application/scim+json; charset=utf-8\")] "));
        assert!(!asked[0].contains("{unique}"));
        assert_eq!(asked[1], r#"GET /Users/7?x=y [("If-None-Match", "W/\"1\"")] "#);
        assert_eq!(asked[2], r#"POST /Users [("content-type", "text/xml")] {"id":"7"}"#);
    }

    #[tokio::test]
    async fn a_name_nobody_saved_is_a_failure() {
        let get = r#"[{"name": "look", "method": "GET", "path": "/Users/{id}", "expect": {"status": 200}}]"#;
        let (done, asked) = hold(get, Vec::new()).await;
        assert_eq!(
            done.unwrap_err(),
            "x.json (t): step 1 `look`: `{id}` was never saved: /Users/{id}"
        );
        assert_eq!(asked, Vec::<String>::new());
        let saved = get
            .replace("{id}", "7")
            .replace("200}", r#"200}, "save": {"id": "/id"}"#);
        let (done, _) = hold(&saved, vec![scim(200, r#"{"id": 7}"#)]).await;
        assert!(done.unwrap_err().contains("/id: a text to save as `id`"));
    }

    fn all() -> impl Iterator<Item = Conversation> {
        providers().into_iter().flat_map(|folder| conversations(&folder))
    }

    #[test]
    fn every_documented_behaviour_of_entra_is_covered() {
        let ids = [("E-TEST", 2), ("E-USER", 18), ("E-GROUP", 7)]
            .into_iter()
            .flat_map(|(kind, last)| (1..=last).map(move |number| format!("{kind}-{number:02}")));
        let covered: std::collections::BTreeSet<_> = all().flat_map(|conversation| conversation.covers).collect();
        assert_eq!(
            ids.filter(|id| !covered.contains(id)).collect::<Vec<_>>(),
            Vec::<String>::new()
        );
    }

    /// So that they can be interrupted by a move.
    #[test]
    fn most_conversations_go_on_with_an_id() {
        let (going_on, others): (Vec<_>, Vec<_>) =
            all().partition(|conversation| conversation.saved().any(|place| place == "/id"));
        assert!(
            going_on.len() > 2 * others.len(),
            "{} and {}",
            going_on.len(),
            others.len()
        );
    }

    #[test]
    fn every_conversation_ends_by_looking_at_what_it_did() {
        let blind = |conversation: &Conversation| conversation.steps.last().is_none_or(|step| step.method != "GET");
        let files = all().filter(blind).map(|conversation| conversation.file);
        assert_eq!(files.collect::<Vec<_>>(), Vec::<String>::new());
    }
}
