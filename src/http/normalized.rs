//! How it is told what was rewritten or ignored in a request: in a header, and one record for each note.

use std::fmt::{self, Write};

use actix_web::http::header::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::reference::Reference;
use crate::{scim::normalize::Trace, tenants::Tenant};

/// `unknown-attribute nickname2, boolean-string active`.
pub(super) const NORMALIZED: HeaderName = HeaderName::from_static("scimgate-normalized");

/// Longest value of [`NORMALIZED`]; what is beyond it is counted.
const MAX_NORMALIZED_BYTES: usize = 1_000;

/// What stands in a path as it is: tokens (RFC 9110 §5.6.2) without `%`, and what SCIM's paths are written with. A client's
/// own names may hold commas and spaces, which are between notes and paths here.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b':')
    .remove(b'[')
    .remove(b']')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header's value.
pub(super) fn spell(trace: &Trace) -> String {
    let mut text = String::new();
    let mut left_out = trace.dropped();
    for note in trace.notes() {
        let next = format!("{} {}", note.quirk.name(), escaped(&note.path));
        if text.len() + next.len() > MAX_NORMALIZED_BYTES {
            left_out += 1;
            continue;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&next);
    }
    if left_out > 0 {
        let _ = write!(text, ", and {left_out} more");
    }
    text
}

/// One record for each note, for whoever counts them. In a terminal the request's line says the same.
pub(super) fn record(trace: &Trace, tenant: &Tenant, reference: Option<Reference>) {
    for note in trace.notes() {
        tracing::info!(
            target: "scimgate::normalized",
            quirk = note.quirk.name(),
            path = note.path,
            tenant = tenant.name,
            reference = reference.map(tracing::field::display),
        );
    }
    if trace.dropped() > 0 {
        tracing::info!(
            target: "scimgate::normalized",
            dropped = trace.dropped(),
            tenant = tenant.name,
            reference = reference.map(tracing::field::display),
        );
    }
}

fn escaped(path: &str) -> impl fmt::Display {
    utf8_percent_encode(path, ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::spell;
    use crate::scim::normalize::{Quirk, Trace};

    #[track_caller]
    fn check(paths: &[&str], expected: &str) {
        let mut trace = Trace::default();
        for path in paths {
            trace.note(Quirk::UnknownAttribute, *path);
        }
        assert_eq!(spell(&trace), expected);
    }

    #[test]
    fn commas_and_spaces_stand_between_notes_and_paths_only() {
        check(
            &["badgeColour", "name.nick"],
            "unknown-attribute badgeColour, unknown-attribute name.nick",
        );
        check(&["a, boolean-string b"], "unknown-attribute a%2C%20boolean-string%20b");
        check(
            &["emails[type eq \"work\"].colour"],
            "unknown-attribute emails[...].colour",
        );
        check(
            &["urn:example:2.0:Extra:a_b-c$ref"],
            "unknown-attribute urn:example:2.0:Extra:a_b-c$ref",
        );
        check(
            &["100%", "a=b;c", "é\r\n"],
            "unknown-attribute 100%25, unknown-attribute a%3Db%3Bc, unknown-attribute %3F%3F%3F",
        );
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut trace = Trace::default();
        for number in 0..Trace::MAX_NOTES + 3 {
            trace.note(Quirk::UnknownAttribute, format!("{number:0>100}"));
        }
        let text = spell(&trace);
        let notes = text.matches("unknown-attribute").count();
        assert!(
            text.len() < 1_020 && text.ends_with(&format!(", and {} more", Trace::MAX_NOTES + 3 - notes)),
            "{text}"
        );
    }
}
