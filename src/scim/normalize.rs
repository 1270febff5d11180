//! What was rewritten or left out of a request, so that nothing is accepted silently.

use std::fmt::Write;

use super::path::is_well_formed;

pub use super::quirks::{Client, Entry, Example, QUIRKS, Quirk, Request};

/// The notes of one request; goes into telemetry and the `scimgate-normalized` header.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    notes: Vec<Note>,
    dropped: usize,
}

/// One thing that was rewritten or ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What was done.
    pub quirk: Quirk,
    /// Where: an attribute's name or path, never a value; sanitised like an error's subject.
    pub path: String,
}

impl Trace {
    /// Notes kept; further ones are only counted.
    pub const MAX_NOTES: usize = 32;

    /// Notes that `quirk` was applied at `path`, once.
    pub fn note(&mut self, quirk: Quirk, path: impl Into<String>) {
        let note = Note {
            quirk,
            path: super::error::sanitise(&path.into()),
        };
        if self.notes.contains(&note) {
            return;
        }
        if self.notes.len() < Self::MAX_NOTES {
            self.notes.push(note);
        } else {
            self.dropped += 1;
        }
    }

    /// Takes over what another trace notes.
    pub fn absorb(&mut self, other: &Trace) {
        for note in &other.notes {
            self.note(note.quirk, &note.path);
        }
        self.dropped += other.dropped;
    }

    /// The notes, in the order they were made, at most [`Self::MAX_NOTES`].
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The attributes that were left out as unknown: paths without filters, `urn:…:User:department2`. What does not look
    /// like one is not among them: keys are the client's to choose.
    pub fn unknown_attributes(&self) -> impl Iterator<Item = String> {
        let unknown = self.notes.iter().filter(|note| note.quirk == Quirk::UnknownAttribute);
        unknown
            .map(|note| note.path.replace("[...]", ""))
            .filter(|path| is_well_formed(path))
    }

    /// How many notes found no room.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

impl Quirk {
    /// This quirk's row of the table.
    pub fn entry(self) -> &'static Entry {
        &QUIRKS[self as usize]
    }

    /// The stable kebab-case name, for headers and telemetry.
    pub fn name(self) -> &'static str {
        self.entry().name
    }
}

/// The whole table for people: who sends what, and what becomes of it. `docs/dialects.md` is this text.
pub fn markdown() -> String {
    let mut text = MARKDOWN_HEAD.to_owned();
    for client in Client::ALL {
        let met = QUIRKS.iter().filter(|entry| entry.clients.contains(client));
        let met: Vec<_> = met.map(|entry| format!("`{}`", entry.name)).collect();
        let met = if met.is_empty() {
            "none known".to_owned()
        } else {
            met.join(", ")
        };
        _ = writeln!(text, "| {} | {met} |", client.name());
    }
    text.push_str(MARKDOWN_EXAMPLES);
    for entry in QUIRKS {
        let Entry {
            name, meaning, example, ..
        } = entry;
        let sent = match example.request {
            Request::CreateUser => "POST /Users",
            Request::CreateGroup => "POST /Groups",
            Request::PatchUser => "PATCH /Users/{id}, an operation",
            Request::PatchGroup => "PATCH /Groups/{id}, an operation",
            Request::FindUsers => "GET /Users, the filter",
            Request::Bulk => "POST /Bulk",
        };
        for part in [
            format!("\n### {name}\n\n{meaning}\n\n"),
            format!("```\n{sent}\n{}\n```\n\n", example.sent),
            format!("Noted as `{name} {}`.\n", example.noted),
        ] {
            text.push_str(&part);
        }
    }
    text
}

const MARKDOWN_HEAD: &str = "\
# Dialects

<!-- Generated from src/scim/quirks.rs. -->

Identity providers do not all speak SCIM as RFC 7643 and 7644 have it. What can only be meant in one way is taken so, for
everybody and without a setting, and is noted; what is ambiguous is refused ([errors.md](errors.md)). This page names every
note there is. Each is proven by a test that sends the example and reads the note.

A note is a name and a path, never a value. An operator sees it

- in the header `scimgate-normalized` of the answer: `unknown-attribute badgeColour, boolean-string active`. Of a path's
  characters, all but letters, digits and ``!#$&'*+-.:[]^_`|~`` are percent-encoded, so that commas and spaces are only
  between notes and paths. What finds no room (32 notes, 1,000 bytes) is counted: `and 3 more`;
- in a terminal, behind a `|` at the end of the request's line;
- outside of a terminal, as a line of JSON for each note, with `target` `scimgate::normalized`, `quirk`, `path`, `tenant` and
  the `reference` of the request.

## By client

| client | what it is known to send |
|---|---|
";

const MARKDOWN_EXAMPLES: &str = "
Conversations with each of them are recorded or rebuilt in `tests/idp`, with their sources; a test fails when one of them meets
a quirk that is not in its row. Whoever else sends one is understood in the same way.

## By name

An example shows the part that matters. `{id}` is the id of the resource, `{user}` that of a user. A user that is changed has one
e-mail address, of type `work` and primary; a group that is changed has one member, `{user}`.
";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Client, QUIRKS, Quirk, Request, Trace, markdown};

    #[test]
    fn the_table_is_sound() {
        let mut names = HashSet::new();
        for (index, entry) in QUIRKS.iter().enumerate() {
            let name = entry.name;
            assert_eq!(entry.quirk as usize, index, "{name}");
            assert!(names.insert(name), "{name} stands twice");
            let is_kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(name.bytes().all(is_kebab), "{name}");
            assert!(entry.meaning.ends_with(['.', ')']), "{name}");
            let example = &entry.example;
            let is_json = serde_json::from_str::<serde_json::Value>(example.sent).is_ok_and(|value| value.is_object());
            assert_eq!(
                is_json,
                example.request != Request::FindUsers,
                "{name}: {}",
                example.sent
            );
        }
    }

    #[test]
    fn people_find_every_quirk_and_every_client_in_the_document() {
        let page = markdown();
        for entry in QUIRKS {
            let note = format!("Noted as `{} {}`.", entry.name, entry.example.noted);
            assert!(
                page.contains(&format!("\n### {}\n", entry.name)) && page.contains(entry.meaning),
                "{}",
                entry.name
            );
            assert!(
                page.contains(entry.example.sent) && page.contains(&note),
                "{}",
                entry.name
            );
        }
        for client in Client::ALL {
            assert!(page.contains(&format!("\n| {} | ", client.name())), "{client:?}");
        }
    }

    #[test]
    fn a_note_is_kept_once_and_without_values() {
        let mut trace = Trace::default();
        trace.note(Quirk::FilteredKey, "emails[value eq \"bjensen@example.com\"].value");
        trace.note(Quirk::FilteredKey, "emails[value eq \"other@example.com\"].value");
        assert_eq!(trace.notes().len(), 1);
        assert_eq!(trace.notes()[0].path, "emails[...].value");
    }

    #[test]
    fn unknown_attributes_are_told_if_they_look_like_some() {
        let mut trace = Trace::default();
        for path in [
            "department2",
            "urn:example:2.0:User:badge.colour",
            "emails2[type eq \"work\"].value",
            "Barbara Jensen",
            "bjensen@example.com",
            "é",
            "a..b",
            "",
        ] {
            trace.note(Quirk::UnknownAttribute, path);
        }
        trace.note(Quirk::UnknownAttribute, "x".repeat(500));
        trace.note(Quirk::UnknownMember, "Operations.note");
        let told: Vec<String> = trace.unknown_attributes().collect();
        assert_eq!(
            told,
            ["department2", "urn:example:2.0:User:badge.colour", "emails2.value"]
        );
    }

    #[test]
    fn notes_are_bounded_and_the_rest_is_counted() {
        let mut trace = Trace::default();
        for number in 0..Trace::MAX_NOTES + 5 {
            trace.note(Quirk::UnknownAttribute, format!("attribute{number}"));
        }
        assert_eq!((trace.notes().len(), trace.dropped()), (Trace::MAX_NOTES, 5));
    }
}
