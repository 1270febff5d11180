//! What is asked, in a form that each HTTP version can send.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{endpoint::Endpoint, wire::Response};

/// How requests call themselves; scimgate leaves those that it refuses out of its tenants' counts (`http/tally.rs`).
const USER_AGENT: &str = concat!("scimgate-doctor/", env!("CARGO_PKG_VERSION"));

/// Bytes of an entity tag that is sent back.
const MAX_TAG: usize = 256;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// With the given token.
    Tenant,
    /// Without one.
    Nobody,
    /// With a token that cannot be one.
    Stranger,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    /// Below the Tenant URL.
    pub(super) path: String,
    pub(super) who: Who,
    pub(super) media_type: &'static str,
    pub(super) body: Option<Vec<u8>>,
    /// `if-match` or `if-none-match`, and its entity tag.
    pub(super) condition: Option<(&'static str, String)>,
    /// Whether it changes something, so that sending it twice is not the same as once.
    pub(super) changes: bool,
}

impl Ask {
    pub(super) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            who: Who::Tenant,
            media_type: "application/scim+json",
            body: None,
            condition: None,
            changes: false,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// The resources that a filter finds.
    pub(super) fn filter(kind: &str, filter: &str) -> Self {
        Self::get(format!(
            "/{kind}?filter={}",
            utf8_percent_encode(filter, NON_ALPHANUMERIC)
        ))
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self
    }

    pub(super) fn raw(mut self, media_type: &'static str, body: &[u8]) -> Self {
        self.media_type = media_type;
        self.body = Some(body.to_vec());
        self
    }

    pub(super) fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    pub(super) fn changing(mut self) -> Self {
        self.changes = true;
        self
    }

    pub(super) fn on(mut self, condition: &'static str, tag: impl Into<String>) -> Self {
        self.condition = Some((condition, tag.into()));
        self
    }

    /// The same unless nothing has changed since this answer: 304. None where the answer has no tag that can be sent back.
    pub(super) fn unless_changed(&self, since: &Response) -> Option<Self> {
        let is_shown = self.method == "GET" && since.status == 200;
        let tag = since.header("etag").filter(|_| is_shown)?;
        let is_sound = (1..=MAX_TAG).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_graphic());
        is_sound.then(|| self.clone().on("if-none-match", tag))
    }

    /// Whether its target can be one: proxies pass on what none is, and HTTP/2 calls it malformed.
    pub(super) fn has_target(&self) -> bool {
        self.path.parse::<http::Uri>().is_ok()
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// For people.
    pub(super) fn title(&self) -> String {
        let who = match self.who {
            Who::Tenant => "",
            Who::Nobody => " without a token",
            Who::Stranger => " with a wrong token",
        };
        let condition = self.condition.as_ref();
        let condition = condition
            .map(|(name, tag)| format!(" with {name}: {tag}"))
            .unwrap_or_default();
        format!("{} {}{condition}{who}", self.method, self.path)
    }

    /// Names in lower case, as HTTP/2 wants them; without host and length.
    pub(super) fn headers(&self, token: Option<&str>) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("accept", "application/scim+json, application/json".to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
        ];
        let token = match self.who {
            Who::Tenant => token,
            Who::Nobody => None,
            Who::Stranger => Some("scimgate-doctor-asks-with-a-token-that-is-none"),
        };
        headers.extend(token.map(|token| ("authorization", format!("Bearer {token}"))));
        headers.extend(
            self.body
                .is_some()
                .then(|| ("content-type", self.media_type.to_owned())),
        );
        headers.extend(self.condition.clone());
        headers
    }

    /// The head in HTTP/1.1.
    pub(super) fn head(&self, endpoint: &Endpoint, token: Option<&str>) -> Vec<u8> {
        let target = endpoint.target(&self.path);
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: {}\r\n", self.method, endpoint.authority);
        let mut headers = self.headers(token);
        let length = self.body.as_ref().map(Vec::len);
        let length = length.or((!matches!(self.method, "GET" | "HEAD" | "DELETE")).then_some(0));
        headers.extend(length.map(|length| ("content-length", length.to_string())));
        for (name, value) in headers {
            head.extend([name, ": ", &value, "\r\n"]);
        }
        (head + "\r\n").into_bytes()
    }
}
