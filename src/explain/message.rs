//! Takes a text apart: what Entra wraps around an answer, the answer itself, and the SCIM error in it.

use serde_json::Value;
use time::OffsetDateTime;

use super::log::{moment::moment, record::Action};
use crate::scim::error::{ERROR_URN, Entry, recognise};

/// Names that Entra has for statuses (those of .NET's `HttpStatusCode`), as they read without blanks.
const STATUSES: &[(u16, &str)] = &[
    (400, "badrequest"),
    (401, "unauthorized"),
    (403, "forbidden"),
    (404, "notfound"),
    (405, "methodnotallowed"),
    (406, "notacceptable"),
    (408, "requesttimeout"),
    (409, "conflict"),
    (410, "gone"),
    (411, "lengthrequired"),
    (412, "preconditionfailed"),
    (413, "requestentitytoolarge"),
    (414, "requesturitoolong"),
    (415, "unsupportedmediatype"),
    (429, "toomanyrequests"),
    (431, "requestheaderfieldstoolarge"),
    (500, "internalservererror"),
    (501, "notimplemented"),
    (502, "badgateway"),
    (503, "serviceunavailable"),
    (504, "gatewaytimeout"),
    (504, "gatewaytime-out"),
    (507, "insufficientstorage"),
];

/// What stands before a status in an answer's own text.
const BEFORE_STATUS: &[&str] = &[
    "<title>",
    "<h1>",
    "<h2>",
    "error ",
    "http ",
    "http/1.1 ",
    "http/2 ",
    "status ",
    "status: ",
    "statuscode: ",
];

/// How much of an answer is looked at for a status: pages name it at their beginning.
const HEAD: usize = 600;

/// How many objects of a text are looked at for a SCIM error.
const MAX_OBJECTS: usize = 8;

/// A text, taken apart.
#[derive(Debug)]
pub struct Message<'t> {
    /// The HTTP status, if the text names one.
    pub status: Option<u16>,
    /// What the other side answered: all of the text, or what Entra quotes.
    pub body: &'t str,
    /// Whether Entra's own words surround the answer, so that an empty body is an empty answer.
    pub wrapped: bool,
    /// How often Entra says that it repeated the operation.
    pub retries: Option<u32>,
    /// When Entra says that it will try again.
    pub again: Option<OffsetDateTime>,
    /// What Entra was doing, if that is known.
    pub action: Option<Action>,
    /// The SCIM error in the body.
    pub scim: Option<Scim>,
    /// Trace and span of our own `Reference`.
    pub reference: Option<(&'t str, &'t str)>,
    folded: String,
}

impl Message<'_> {
    /// The rule of scimgate that wrote it, if one did. People copy the sentence alone, too.
    pub fn rule(&self) -> Option<&'static Entry> {
        self.reference?;
        let scim = self.scim.as_ref();
        let status = scim.and_then(|scim| scim.status).or(self.status);
        let alone = || leading_status(self.body).map_or(self.body, |(_, sentence)| sentence);
        let detail = scim.and_then(|scim| scim.detail.as_deref()).unwrap_or_else(alone);
        recognise(detail, status)
    }
}

/// An error message of RFC 7644 §3.12.
#[derive(Debug, Default)]
pub struct Scim {
    /// `status`
    pub status: Option<u16>,
    /// `scimType`
    pub scim_type: Option<String>,
    /// `detail`
    pub detail: Option<String>,
}

impl Scim {
    /// Whether a value is taken already.
    pub fn is_conflict(&self) -> bool {
        self.status == Some(409) && self.scim_type.as_deref() != Some("mutability")
    }
}

impl<'t> Message<'t> {
    /// Takes a text apart, whatever it is.
    pub fn read(text: &'t str) -> Self {
        let text = text.trim().trim_matches('"').trim();
        let wrapping = Wrapping::of(text);
        let (status, mut body) = match &wrapping {
            Some(wrapping) => (wrapping.status, wrapping.body),
            None => (leading_status(text).map(|(status, _)| status), text),
        };
        if wrapping.is_none()
            && let Some((_, rest)) = leading_status(text)
            && rest.is_empty()
        {
            body = "";
        }
        let scim = scim(body);
        let folded = fold(body);
        Self {
            status: status
                .or_else(|| scim.as_ref()?.status)
                .or_else(|| status_of_page(&folded)),
            reference: reference(body),
            body,
            wrapped: wrapping.is_some(),
            retries: wrapping.as_ref().and_then(|wrapping| wrapping.retries),
            again: wrapping.and_then(|wrapping| wrapping.again),
            action: None,
            scim: scim.map(|scim| Scim {
                status: scim.status.or(status),
                ..scim
            }),
            folded,
        }
    }

    /// The same, knowing what Entra was doing.
    #[must_use]
    pub fn during(self, action: Option<Action>) -> Self {
        Self { action, ..self }
    }

    /// Whether the body has these words, in lower case and with single blanks.
    pub fn says(&self, words: &str) -> bool {
        self.folded.contains(words)
    }

    /// Whether the body is a page for browsers.
    pub fn is_page(&self) -> bool {
        ["<html", "<!doctype", "<head", "<body", "<title"]
            .iter()
            .any(|tag| self.says(tag))
    }

    /// Envoy says so of itself.
    pub fn was_retried_by_proxy(&self) -> bool {
        self.says("retried and the latest")
    }
}

/// Entra's own words: `StatusCode: Conflict Message: … Web Response: {…}. This operation was retried 0 times. It will be
/// retried again after this date: …`
struct Wrapping<'t> {
    status: Option<u16>,
    body: &'t str,
    retries: Option<u32>,
    again: Option<OffsetDateTime>,
}

impl<'t> Wrapping<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let (_, rest) = text.split_once("StatusCode:")?;
        let status = rest.trim_start().split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        let status = status
            .parse()
            .ok()
            .filter(|status| (100..600).contains(status))
            .or_else(|| named_status(&status.to_ascii_lowercase()));
        let (rest, after) = match rest.rsplit_once("This operation was retried") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let body = if let Some((_, body)) = rest.split_once("Web Response:") {
            body.trim()
        } else {
            // Nobody answered: then Entra's message says why, unless it is the usual one.
            let (_, message) = rest.split_once("Message:")?;
            let usual = message.trim_start().starts_with("Processing of the HTTP request");
            if usual { "" } else { message.trim() }
        };
        let retries = after.and_then(|after| after.split_whitespace().next()?.parse().ok());
        let again = after.and_then(|after| {
            let (_, time) = after.split_once("after this date:")?;
            moment(time.split_whitespace().next()?.trim_end_matches('.'))
        });
        // Entra's full stop behind the answer is not the answer's.
        let body = if after.is_some() {
            body.strip_suffix('.').unwrap_or(body).trim_end()
        } else {
            body
        };
        Some(Self {
            status,
            body,
            retries,
            again,
        })
    }
}

fn named_status(name: &str) -> Option<u16> {
    STATUSES
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(status, _)| *status)
}

/// `502 bad gateway: …`, `HTTP/1.1 502 Bad Gateway`, `500`: the status, and what stands behind it and its name.
fn leading_status(text: &str) -> Option<(u16, &str)> {
    let bare = ["HTTP/1.1 ", "HTTP/2 ", "HTTP "]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    let bare = bare.unwrap_or(text);
    let (number, rest) = bare.split_at_checked(3)?;
    let status = number.parse().ok().filter(|status| (400..600).contains(status))?;
    if rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let rest = rest.trim_start_matches([' ', '-', ':']);
    let name_ends = |end: &usize| {
        let name: String = rest[..*end].to_ascii_lowercase().split_whitespace().collect();
        named_status(&name) == Some(status)
    };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    let end = ends.take_while(|end| *end <= 40).filter(name_ends).last().unwrap_or(0);
    Some((status, rest[end..].trim_start_matches([' ', ':', '.', '-']).trim()))
}

/// The status that a page names itself.
fn status_of_page(folded: &str) -> Option<u16> {
    let head = folded
        .char_indices()
        .nth(HEAD)
        .map_or(folded, |(end, _)| &folded[..end]);
    BEFORE_STATUS.iter().find_map(|before| {
        let (_, rest) = head.split_once(before)?;
        let (number, rest) = rest.split_at_checked(3)?;
        let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        number.parse().ok().filter(|status| ends && (400..600).contains(status))
    })
}

/// The first SCIM error in a body, also where its quotation marks were escaped by whatever it was copied from.
fn scim(body: &str) -> Option<Scim> {
    if !body.contains("detail") && !body.contains(ERROR_URN) {
        return None;
    }
    let found = error_object(body).or_else(|| error_object(&body.replace("\\\"", "\"")));
    // Logs cut long texts off: what is left still says that it was a SCIM error.
    let Some(value) = found else {
        return body.contains(ERROR_URN).then(Scim::default);
    };
    let word = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let status = value.get("status");
    Some(Scim {
        status: status.and_then(|status| match status {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64().and_then(|number| u16::try_from(number).ok()),
        }),
        scim_type: word("scimType"),
        detail: word("detail"),
    })
}

/// The first object in a text that is a SCIM error.
fn error_object(text: &str) -> Option<Value> {
    let is_error = |value: &Value| {
        let schemas = value.get("schemas").and_then(Value::as_array);
        let named = schemas.is_some_and(|schemas| schemas.iter().any(|schema| schema == ERROR_URN));
        named || value.get("detail").is_some_and(Value::is_string) && value.get("status").is_some()
    };
    let starts = text.match_indices('{').map(|(at, _)| at).take(MAX_OBJECTS);
    let objects = starts.filter_map(|at| serde_json::Deserializer::from_str(&text[at..]).into_iter().next()?.ok());
    objects.into_iter().find(is_error)
}

/// `Reference <32 hex>-<16 hex>`, the end of every error of ours.
fn reference(text: &str) -> Option<(&str, &str)> {
    text.match_indices("Reference ").find_map(|(at, word)| {
        let id = text[at + word.len()..].get(..49)?;
        let (trace, span) = id.split_once('-')?;
        let is_hex = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        (trace.len() == 32 && span.len() == 16 && is_hex(trace) && is_hex(span)).then_some((trace, span))
    })
}

/// Lower case, single blanks, plain apostrophes.
fn fold(text: &str) -> String {
    let plain = text
        .replace(['\u{2018}', '\u{2019}'], "'")
        .replace("&#39;", "'")
        .replace("&#x27;", "'");
    plain.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}
