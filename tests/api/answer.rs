//! What came back, and what every answer must keep to, whoever asks for what.

use std::fmt;

use serde_json::{Map, Value};

use crate::tenant::SCIM_JSON;

const ERROR_URN: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
const LIST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// RFC 7644 §3.12, table 9, and RFC 9865 §2.1.
const SCIM_TYPES: [&str; 13] = [
    "invalidFilter",
    "tooMany",
    "uniqueness",
    "mutability",
    "invalidSyntax",
    "invalidPath",
    "noTarget",
    "invalidValue",
    "invalidVers",
    "sensitive",
    "invalidCursor",
    "expiredCursor",
    "invalidCount",
];

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    method: String,
    path: String,
}

impl Asked {
    pub(crate) fn new(method: &str, path: &str) -> Asked {
        Asked {
            method: method.to_owned(),
            path: path.to_owned(),
        }
    }

    /// The path without its query and without empty segments, as the service spells it.
    fn plain_path(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        format!("/{}", segments.join("/"))
    }

    /// The path up to the endpoint, and the endpoint, if it is one of resources.
    fn endpoint(&self) -> Option<(String, &'static str)> {
        let path = self.plain_path();
        let found = ["/Users", "/Groups"]
            .into_iter()
            .find_map(|endpoint| Some((path.find(endpoint)?, endpoint)));
        found.map(|(at, endpoint)| (path[..at].to_owned(), endpoint))
    }

    /// A method that the endpoint takes, whatever was asked for.
    fn method_there(&self) -> &'static str {
        if self.plain_path().ends_with(".search") || self.plain_path().ends_with("/Bulk") {
            "POST"
        } else {
            "GET"
        }
    }

    /// Whether the client may have asked for a page by cursor.
    fn may_be_by_cursor(&self) -> bool {
        self.path.to_ascii_lowercase().contains("cursor") || self.plain_path().ends_with(".search")
    }

    /// Whether the client wants to see a part of resources only.
    fn selects(&self) -> bool {
        self.path.to_ascii_lowercase().contains("attributes=") || self.plain_path().ends_with(".search")
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: String = self.path.chars().take(300).collect();
        write!(f, "{} {path}", self.method)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) asked: Asked,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The body as JSON; null when it is none.
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(asked: Asked, status: u16, headers: Vec<(String, String)>, bytes: Vec<u8>) -> Answer {
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Answer {
            asked,
            status,
            headers,
            body,
            bytes,
        }
    }

    /// The same answer, if it keeps to what every answer must keep to. `origin` is where the client found the service.
    #[track_caller]
    pub(crate) fn linted(self, origin: &str) -> Answer {
        let breaches = breaches(&self, origin);
        assert!(
            breaches.is_empty(),
            "{self}\n  breaks: {}",
            breaches.join("\n          ")
        );
        self
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// A refusal with this status and `scimType` (empty: none) that says all of these words.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, scim_type: &str, words: &[&str]) -> Answer {
        assert_eq!(self.status, status, "{self}");
        assert_eq!(self.body["scimType"].as_str().unwrap_or_default(), scim_type, "{self}");
        for word in words {
            assert!(self.detail().contains(word), "no '{word}' in: {self}");
        }
        self
    }

    /// All that `expected` has is in the body too; objects there may have more.
    #[track_caller]
    pub(crate) fn has(self, expected: &Value) -> Answer {
        assert!(covers(&self.body, expected), "not {expected} in: {self}");
        self
    }

    pub(crate) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    /// All lines of one header as one value (RFC 9110 §5.3).
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        lines
            .map(|(_, value)| value.clone())
            .reduce(|all, next| format!("{all}, {next}"))
    }

    /// The header lines that are the same every time.
    pub(crate) fn lasting_headers(&self) -> Vec<(String, String)> {
        let lasts = |name: &str| !["connection", "date", "x-ms-request-id", "x-request-id"].contains(&name);
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| lasts(&name.to_ascii_lowercase()));
        headers.sort();
        headers
    }

    /// The text at a JSON pointer.
    #[track_caller]
    pub(crate) fn text(&self, pointer: &str) -> &str {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no text at {pointer}: {self}"))
    }

    #[track_caller]
    pub(crate) fn id(&self) -> &str {
        self.text("/id")
    }

    /// The path of the resource below the Tenant URL.
    #[track_caller]
    pub(crate) fn place(&self) -> String {
        format!("/{}s/{}", self.text("/meta/resourceType"), self.id())
    }

    #[track_caller]
    pub(crate) fn etag(&self) -> String {
        self.header("etag").unwrap_or_else(|| panic!("no ETag: {self}"))
    }

    /// What a list says of each resource at this pointer.
    #[track_caller]
    pub(crate) fn listed(&self, pointer: &str) -> Vec<String> {
        let resources = self.body["Resources"]
            .as_array()
            .unwrap_or_else(|| panic!("no list: {self}"));
        let found = |resource: &Value| {
            resource
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        resources.iter().map(found).collect()
    }

    #[track_caller]
    pub(crate) fn total(&self) -> u64 {
        self.body["totalResults"]
            .as_u64()
            .unwrap_or_else(|| panic!("no total: {self}"))
    }
}

fn covers(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Object(members), Value::Object(expected)) => expected
            .iter()
            .all(|(name, expected)| members.get(name).is_some_and(|member| covers(member, expected))),
        (Value::Array(elements), Value::Array(expected)) => {
            elements.len() == expected.len()
                && std::iter::zip(elements, expected).all(|(element, expected)| covers(element, expected))
        }
        (value, expected) => value == expected,
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n  {}", self.asked, self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {value}")?;
        }
        let body: String = String::from_utf8_lossy(&self.bytes).chars().take(2_000).collect();
        write!(f, "  {body}")
    }
}

/// Where an answer breaks what holds for every answer.
pub(crate) fn breaches(answer: &Answer, origin: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |holds: bool, rule: &str| {
        if !holds {
            found.push(rule.to_owned());
        }
    };
    let ascii = |(_, value): &(String, String)| value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    check(answer.headers.iter().all(ascii), "headers are printable ASCII");
    check(answer.headers.len() <= 50, "at most 50 header lines");
    let once = |name: &str| {
        answer
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .count()
            <= 1
    };
    check(
        ["content-length", "content-type", "etag", "location"]
            .into_iter()
            .all(once),
        "one line a header",
    );
    status_headers(answer, &mut check);
    check(
        answer.header("x-request-id").is_some() && answer.header("x-request-id") == answer.header("x-ms-request-id"),
        "an answer has our id of its request",
    );
    check(
        answer.header("cache-control").as_deref() == Some("no-store"),
        "nobody keeps an answer",
    );
    let without_body = answer.asked.method == "HEAD" || matches!(answer.status, 204 | 304);
    check(
        !without_body || answer.bytes.is_empty(),
        "no body with HEAD, 204 and 304",
    );
    if matches!(answer.status, 204 | 304) {
        // The host gives a 304 the length of the content it has not got.
        let length = answer.header("content-length");
        check(
            length.is_none() || answer.status == 304 && length.as_deref() == Some("0"),
            "no Content-Length",
        );
        check(
            answer.header("content-type").is_none(),
            "no Content-Type without a body",
        );
        return found;
    }
    let media_type = answer.header("content-type").unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    check(
        essence.eq_ignore_ascii_case(SCIM_JSON),
        "the body is application/scim+json (RFC 7644 §3.8)",
    );
    if without_body {
        return found;
    }
    check(answer.body.is_object(), "the body is a JSON object");
    if answer.status >= 400 {
        error_body(answer, &mut check);
    } else {
        check(
            !has_unassigned(&answer.body, true),
            "no null and no empty array (RFC 7643 §2.5)",
        );
        success_body(answer, origin, &mut check);
    }
    found
}

fn status_headers(answer: &Answer, check: &mut impl FnMut(bool, &str)) {
    let seconds = || answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    match answer.status {
        401 => {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            check(
                challenge.starts_with("Bearer"),
                "401 has WWW-Authenticate (RFC 9110 §15.5.2)",
            );
        }
        405 => check(
            answer
                .header("allow")
                .is_some_and(|allowed| allowed.contains(answer.asked.method_there())),
            "405 has Allow (RFC 9110 §15.5.6)",
        ),
        429 | 503 => check(
            seconds().is_some_and(|seconds| (1..=3_600).contains(&seconds)),
            "429 and 503 have Retry-After in seconds",
        ),
        _ => {}
    }
}

/// RFC 7644 §3.12.
fn error_body(answer: &Answer, check: &mut impl FnMut(bool, &str)) {
    let body = &answer.body;
    check(
        body["schemas"] == serde_json::json!([ERROR_URN]),
        "an error names its schema",
    );
    check(
        body["status"].as_str() == Some(&answer.status.to_string()),
        "an error's status is the HTTP status, as a string",
    );
    check(!answer.detail().is_empty(), "an error has a detail");
    let reference = format!("Reference {}", answer.header("x-request-id").unwrap_or_default());
    check(
        answer.detail().ends_with(&reference),
        "a detail ends with the request's id",
    );
    check(
        answer.detail().is_ascii(),
        "a detail is ASCII, so that every log shows it",
    );
    let scim_type = body.get("scimType");
    let known = |value: &Value| value.as_str().is_some_and(|name| SCIM_TYPES.contains(&name));
    check(scim_type.is_none_or(known), "a scimType is one of the RFC's");
    let unknown = body.as_object().into_iter().flat_map(Map::keys);
    let mut unknown = unknown.filter(|key| !["schemas", "status", "scimType", "detail"].contains(&key.as_str()));
    check(unknown.next().is_none(), "an error has no other members");
}

fn success_body(answer: &Answer, origin: &str, check: &mut impl FnMut(bool, &str)) {
    let body = &answer.body;
    let names = |urn: &str| {
        body["schemas"]
            .as_array()
            .is_some_and(|urns| urns.contains(&urn.into()))
    };
    if names(LIST_URN) {
        let resources = body["Resources"].as_array();
        let items = resources.map(Vec::len);
        let optional = |name: &str| body.get(name).is_none_or(Value::is_u64);
        let required = |name: &str| body[name].is_u64();
        check(
            required("totalResults") && required("startIndex")
                || answer.asked.may_be_by_cursor()
                    && body.get("startIndex").is_none()
                    && optional("totalResults")
                    && body.get("nextCursor").is_none_or(is_cursor),
            "a list has its numbers (RFC 7644 §3.4.2), or pages by cursor (RFC 9865 §2)",
        );
        check(
            items.map(|items| items as u64) == body["itemsPerPage"].as_u64(),
            "itemsPerPage counts Resources",
        );
        for resource in resources.into_iter().flatten() {
            resource_body(&answer.asked, resource, origin, check);
        }
        return;
    }
    resource_body(&answer.asked, body, origin, check);
    if answer.asked.endpoint().is_none() {
        return;
    }
    let version = answer.header("etag");
    check(
        version.as_ref().is_some_and(|etag| etag.starts_with("W/\"")),
        "a resource has an ETag (RFC 7644 §3.14)",
    );
    let same = |pointer: &str, header: Option<String>| {
        let member = body.pointer(pointer).and_then(Value::as_str);
        member.is_none() || member == header.as_deref()
    };
    check(same("/meta/version", version), "ETag is meta.version (RFC 7643 §3.1)");
    if answer.status == 201 {
        check(
            same("/meta/location", answer.header("location")),
            "Location is meta.location (RFC 7644 §3.3)",
        );
        check(answer.header("location").is_some(), "201 has Location (RFC 7644 §3.3)");
    }
}

/// Made of unreserved characters (RFC 9865 §2).
fn is_cursor(value: &Value) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .as_str()
        .is_some_and(|text| !text.is_empty() && text.bytes().all(unreserved))
}

/// RFC 7643 §3.1.
fn resource_body(asked: &Asked, resource: &Value, origin: &str, check: &mut impl FnMut(bool, &str)) {
    let schemas = resource["schemas"].as_array();
    check(
        schemas.is_some_and(|urns| !urns.is_empty()),
        "a resource names its schemas (RFC 7643 §3)",
    );
    let Some((base, endpoint)) = asked.endpoint() else {
        return;
    };
    let id = resource["id"].as_str().unwrap_or_default();
    check(!id.is_empty(), "a resource has an id (RFC 7643 §3.1)");
    let meta = resource.get("meta");
    check(meta.is_some() || asked.selects(), "a resource has meta");
    let expected = |name: &str, wanted: &dyn Fn(&str) -> bool| {
        let member = meta.and_then(|meta| meta.get(name));
        member.map_or(asked.selects(), |value| value.as_str().is_some_and(wanted))
    };
    let location = format!("{origin}{base}{endpoint}/{id}");
    check(
        expected("location", &|at| at == location),
        &format!("meta.location is {location}"),
    );
    check(
        expected("resourceType", &|name| endpoint == format!("/{name}s")),
        "meta.resourceType",
    );
    check(
        expected("version", &|version| version.starts_with("W/\"")),
        "meta.version",
    );
    check(
        expected("created", &is_time) && expected("lastModified", &is_time),
        "times are xsd:dateTime",
    );
}

/// `2011-05-13T04:42:34Z` (RFC 7643 §2.3.5).
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z')
}

/// Whether there is a null or an empty array anywhere; `Resources` at the top may be empty.
fn has_unassigned(value: &Value, is_top: bool) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty() || elements.iter().any(|element| has_unassigned(element, false)),
        Value::Object(members) => members.iter().any(|(name, member)| {
            let allowed = is_top && name == "Resources" && member.as_array().is_some_and(Vec::is_empty);
            !allowed && has_unassigned(member, false)
        }),
        _ => false,
    }
}
