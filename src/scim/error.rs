//! Refusals: one type from the parsers to the wire, one table behind it.

use std::fmt;

use serde_json::{Value, json};

pub use super::rules::{Entry, RULES, Rule};

/// URN of the error message (RFC 7644 §3.12).
pub const ERROR_URN: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// Why a request was refused: a [`Rule`] and what fills its sentence. Holds names, positions and limits, never values.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    rule: Rule,
    fills: Vec<(&'static str, String)>,
}

impl Rule {
    /// This rule's row of the table.
    pub fn entry(self) -> &'static Entry {
        &RULES[self as usize]
    }

    /// The refusal by this rule about `subject`: an attribute, a path, a parameter or a position. What could be a value
    /// is taken out of it: the inside of brackets and quotation marks, words with an `@`, all but printable ASCII.
    pub fn at(self, subject: impl Into<String>) -> Error {
        self.error().with("subject", sanitise(&subject.into()))
    }

    /// The refusal by this rule.
    pub fn error(self) -> Error {
        Error {
            rule: self,
            fills: Vec::new(),
        }
    }
}

impl Error {
    /// Fills the placeholder `{name}` of the rule's sentence with a text of this service's own, not the client's; all but
    /// printable ASCII is taken out of it.
    #[must_use]
    pub fn with(mut self, name: &'static str, text: impl Into<String>) -> Error {
        debug_assert!(
            self.rule.entry().sentence.contains(&format!("{{{name}}}")),
            "{} has no placeholder {name}",
            self.rule.entry().name
        );
        self.fills.push((name, printable(&text.into())));
        self
    }

    /// Says behind the subject where in the request it stands: `members (value 3 of operation 2)`.
    #[must_use]
    pub(super) fn within(mut self, place: &str) -> Error {
        for (name, text) in &mut self.fills {
            if *name == "subject" {
                *text = format!("{text} ({place})");
            }
        }
        self
    }

    /// The rule that refused.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Which attribute or parameter was refused, without its position in the request. A name that the client made up may be
    /// one; what it put where an id or a URN belongs is not.
    pub fn attribute(&self) -> Option<&str> {
        match self.rule {
            Rule::UnknownMember | Rule::OwnMember => return Some("members"),
            Rule::UnknownSchema => return Some("schemas"),
            Rule::BulkIdTwice | Rule::BulkIdUnknown => return Some("bulkId"),
            Rule::MethodNotAllowed => return None,
            _ => {}
        }
        let (_, text) = self.fills.iter().rev().find(|(name, _)| *name == "subject")?;
        let name = text.split_once(" (").map_or(text.as_str(), |(path, _)| path);
        Some(name).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
    }

    /// What fills a placeholder of the rule's sentence.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut fills = self.fills.iter().rev();
        fills.find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.rule.entry().status
    }

    /// The `scimType` (RFC 7644 §3.12, table 9), if the rule has one.
    pub fn scim_type(&self) -> Option<&'static str> {
        self.rule.entry().scim_type
    }

    /// The sentence for the client, complete.
    pub fn detail(&self) -> String {
        fill(self.rule.entry().sentence, |name| {
            self.fills
                .iter()
                .rev()
                .find(|(filled, _)| *filled == name)
                .map_or("(unnamed)", |(_, text)| text)
        })
    }

    /// The error message (RFC 7644 §3.12); `suffix` stands behind the detail.
    pub fn body(&self, suffix: Option<&str>) -> Value {
        let mut detail = self.detail();
        if let Some(suffix) = suffix {
            detail.push(' ');
            detail.push_str(suffix);
        }
        let mut body = json!({ "schemas": [ERROR_URN], "status": self.status().to_string() });
        if let Some(scim_type) = self.scim_type() {
            body["scimType"] = scim_type.into();
        }
        body["detail"] = detail.into();
        body
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.rule.entry().name, self.status(), self.detail())
    }
}

impl std::error::Error for Error {}

/// The rule that wrote a detail, by its sentence and, if that is known, its status; what stands behind the sentence (support,
/// reference) is passed over. Of several that fit, the one whose own words are the most.
pub fn recognise(detail: &str, status: Option<u16>) -> Option<&'static Entry> {
    let fits = |entry: &&Entry| {
        let pieces = pieces(entry.sentence);
        let mut rest = detail;
        let mut is_first = true;
        status.is_none_or(|status| status == entry.status)
            && pieces.iter().all(|piece| {
                let found = if is_first {
                    rest.starts_with(piece).then_some(0)
                } else {
                    rest.find(piece)
                };
                is_first = false;
                rest = found.map_or(rest, |at| &rest[at + piece.len()..]);
                found.is_some()
            })
    };
    RULES
        .iter()
        .filter(fits)
        .max_by_key(|entry| pieces(entry.sentence).concat().len())
}

/// A sentence's own words, around its placeholders.
fn pieces(mut sentence: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while let Some((before, rest)) = sentence.split_once('{') {
        pieces.push(before);
        sentence = rest.split_once('}').map_or("", |(_, after)| after);
    }
    pieces.push(sentence);
    pieces
}

/// The whole table for people: each sentence as the provisioning log shows it, and what to do in Entra's portal.
/// `docs/errors.md` is this text.
pub fn markdown() -> String {
    let mut text = MARKDOWN_HEAD.to_owned();
    for entry in RULES {
        let scim_type = entry
            .scim_type
            .map(|scim_type| format!(", `{scim_type}`"))
            .unwrap_or_default();
        let sentence = fill(entry.sentence, |_| "…");
        let Entry {
            name, status, advice, ..
        } = entry;
        for part in [
            format!("\n### {name}\n\n"),
            format!("> {sentence}\n\n"),
            format!("Status {status}{scim_type}. {advice}\n"),
        ] {
            text.push_str(&part);
        }
    }
    text
}

const MARKDOWN_HEAD: &str = "\
# What the messages mean

<!-- Generated from src/scim/rules.rs. -->

Entra shows the service's message in the provisioning log, under the failed step. Search this page for a piece of it.
The places named here are in the Entra admin center: Enterprise applications, your application, Provisioning. The newer
layout calls Admin Credentials \"Connectivity\" and Mappings \"Attribute mapping\".

Every message ends with `Reference` and an identifier: with it the vendor finds the request. A message without it did
not come from this service, but from something between Entra and it. Every answer has the same identifier in the headers
`x-request-id` and `x-ms-request-id`; a `client-request-id` or `x-ms-client-request-id` of the client's goes back to it.
";

/// A sentence with its placeholders filled.
fn fill<'f>(mut sentence: &str, text: impl Fn(&str) -> &'f str) -> String {
    let mut filled = String::new();
    while let Some((before, (name, after))) = sentence
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        filled.push_str(before);
        filled.push_str(text(name));
        sentence = after;
    }
    filled.push_str(sentence);
    filled
}

/// Longest subject, in characters.
const MAX_SUBJECT: usize = 120;

/// A name or position from a request, fit to be shown: printable, at most [`MAX_SUBJECT`] characters, and without what is
/// a value: between brackets or quotation marks in a path or a filter, or an e-mail address in the place of a name.
pub(super) fn sanitise(text: &str) -> String {
    let hidden = hide(&hide(text, '[', ']'), '"', '"');
    let words: Vec<&str> = hidden
        .split(' ')
        .map(|word| if word.contains('@') { "..." } else { word })
        .collect();
    let mut clean = printable(&words.join(" "));
    if clean.len() > MAX_SUBJECT {
        clean.truncate(MAX_SUBJECT - 3);
        clean.push_str("...");
    }
    clean
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .collect()
}

/// Takes out what is between the first `open` and the last `close`: a value may hold either itself.
fn hide(text: &str, open: char, close: char) -> String {
    let Some((before, rest)) = text.split_once(open) else {
        return text.to_owned();
    };
    let after = rest.rsplit_once(close).map_or("", |(_, after)| after);
    format!("{before}{open}...{close}{after}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::{MAX_SUBJECT, RULES, Rule, fill, markdown, recognise, sanitise};

    /// The statuses are those of RFC 7644 §3.12, table 9.
    #[test]
    fn the_table_is_sound() {
        let placeholders = ["subject", "expected", "limit", "position", "date", "id", "state"];
        let mut names = HashSet::new();
        for (index, entry) in RULES.iter().enumerate() {
            let name = entry.name;
            assert_eq!(entry.rule as usize, index, "{name}");
            assert!(names.insert(name), "{name} stands twice");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{name}"
            );
            assert!(entry.sentence.is_ascii() && entry.sentence.ends_with('.'), "{name}");
            assert!(entry.advice.is_ascii() && entry.advice.ends_with('.'), "{name}");
            let bare = placeholders
                .iter()
                .fold(entry.sentence.to_owned(), |s, p| s.replace(&format!("{{{p}}}"), ""));
            assert!(!bare.contains(['{', '}']), "{name} has a placeholder nobody fills");
            let status = match entry.scim_type {
                None => continue,
                Some("uniqueness") => 409,
                Some("sensitive") => 403,
                Some(
                    "invalidFilter" | "tooMany" | "mutability" | "invalidSyntax" | "invalidPath" | "noTarget"
                    | "invalidValue"
                    // RFC 9865 §2.1.
                    | "invalidCursor" | "expiredCursor" | "invalidCount",
                ) => 400,
                Some(other) => panic!("{name}: {other} is no scimType"),
            };
            assert_eq!(entry.status, status, "{name}");
        }
    }

    #[test]
    fn an_error_is_the_rfcs_message() {
        let error = Rule::UniqueTaken
            .at("userName")
            .with("state", "inactive")
            .with("id", "2819c223");
        assert_eq!(
            error.body(Some("Reference 0af7-00f0")),
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
                "status": "409",
                "scimType": "uniqueness",
                "detail": "userName is already taken by the inactive resource 2819c223: use another value, or update \
                           that resource. Reference 0af7-00f0",
            })
        );
        assert_eq!(Rule::NotFound.at("User").body(None).get("scimType"), None);
    }

    #[test]
    fn a_detail_leads_back_to_its_rule() {
        for entry in RULES {
            let detail = fill(entry.sentence, |_| "userName");
            for behind in ["", " Support: help.example.com.", " Support: x. Reference 0af7-00f0"] {
                let found = recognise(&format!("{detail}{behind}"), Some(entry.status));
                assert_eq!(found.map(|found| found.name), Some(entry.name));
            }
            assert!(recognise(&detail, Some(299)).is_none());
        }
        assert!(recognise("User must be Active.", Some(409)).is_none());
    }

    #[test]
    fn a_subject_shows_names_and_no_values() {
        let long = "x".repeat(200);
        for (subject, shown) in [
            ("name.givenName", "name.givenName"),
            (
                "emails[type eq \"work\" and value eq \"a@b.c\"].value",
                "emails[...].value",
            ),
            ("emails[value eq \"a]b@example.com\"].value", "emails[...].value"),
            ("emails[value eq \"a@b.c", "emails[...]"),
            ("userName eq \"bjensen\"", "userName eq \"...\""),
            ("user\r\nName\0", "user??Name?"),
            ("Straße", "Stra?e"),
            ("bjensen@example.com", "..."),
            ("userName eq bjensen@example.com", "userName eq ..."),
            (&long, &format!("{}...", &long[..MAX_SUBJECT - 3])),
        ] {
            assert_eq!(sanitise(subject), shown);
        }
    }

    #[test]
    fn what_fills_a_sentence_is_not_a_sentence_itself() {
        assert_eq!(
            Rule::WrongType.at("{expected}").with("expected", "{subject}").detail(),
            { "{expected} has a value of the wrong type: expected {subject}." }
        );
    }

    #[test]
    fn people_find_every_rule_in_the_document() {
        let markdown = markdown();
        for entry in RULES {
            assert!(markdown.contains(&format!("\n### {}\n", entry.name)) && markdown.contains(entry.advice));
        }
        assert!(
            markdown
                .contains("\n> … is required, and is missing or empty: send a value.\n\nStatus 400, `invalidValue`.")
        );
    }
}
