//! What was rewritten or left out of a request, so that nothing is accepted silently.

use super::path::is_well_formed;

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

macro_rules! quirks {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal;)+) => {
        /// A tolerance that was applied.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Quirk { $($(#[doc = $doc])+ $variant,)+ }

        impl Quirk {
            /// Every quirk.
            pub const ALL: &[Quirk] = &[$(Quirk::$variant,)+];

            /// The stable kebab-case name, for headers and telemetry.
            pub fn name(self) -> &'static str {
                match self { $(Quirk::$variant => $name,)+ }
            }
        }
    };
}

quirks! {
    /// An attribute the schema does not have was left out.
    UnknownAttribute "unknown-attribute";
    /// A member that messages of its kind do not have was left out.
    UnknownMember "unknown-member";
    /// A boolean came as `"True"` or `"false"` (Entra without the `aadOptscim062020` flag).
    BooleanString "boolean-string";
    /// A number came as a string (Entra's mappings have no numbers).
    NumberString "number-string";
    /// A member's `type` was not what the member is, and was put right; its id decides.
    MemberType "member-type";
    /// A number or a boolean came where the schema has a string; its text was kept.
    TextFromLiteral "text-from-literal";
    /// An empty string cleared the attribute (Entra's validators, `""` for every optional attribute).
    EmptyStringCleared "empty-string-cleared";
    /// `active` was cleared or removed and keeps its value, as it has no third state (Entra's validators clear everything).
    ActiveKept "active-kept";
    /// A value with nothing but a `type` or `primary` was left out (what remains when Entra clears `emails[…].value`).
    EmptyValueDropped "empty-value-dropped";
    /// A `replace` whose filter matched nothing made the value it describes (Entra; RFC 7644 says `noTarget`).
    CreatedOnMiss "created-on-miss";
    /// A key such as `name.givenName` in an operation without path (Entra with the flag).
    DottedKey "dotted-key";
    /// A key such as `emails[type eq "work"].value` in an operation without path (Entra with the flag).
    FilteredKey "filtered-key";
    /// A key qualified by its schema's URN (Entra's custom mappings; legal for extensions in paths only).
    QualifiedKey "qualified-key";
    /// An extension's attribute named without its URN (Entra: `manager`).
    UnqualifiedKey "unqualified-key";
    /// `manager` came as the plain id (Entra).
    ManagerString "manager-string";
    /// A plain string came in place of an object and became its `value` (Entra, for roles and members).
    PlainValue "plain-value";
    /// One value came without its array.
    SingleForArray "single-for-array";
    /// An array of one came for an attribute with one value (Entra, for `manager`).
    ArrayForSingle "array-for-single";
    /// A `remove` listed the values to remove in `value` instead of in the path's filter (Entra without the flag).
    RemoveWithValue "remove-with-value";
    /// The enterprise extension's URN without its last colon (older Entra).
    TypoUrn "typo-urn";
    /// A schema URN of Entra's own in `schemas` was left out (ADSCIM).
    ForeignSchema "foreign-schema";
    /// `schemas` did not name the core schema.
    CoreSchemaMissing "core-schema-missing";
    /// The same (type, value) came twice and was joined (RFC 7643 §2.4).
    DuplicateValue "duplicate-value";
    /// `primary` was taken from the earlier value because a later one got it (RFC 7644 §3.5.2).
    PrimaryMoved "primary-moved";
    /// A value that is no base64 was kept as it came (Microsoft's validator, `x509Certificates`).
    NotBase64 "not-base64";
    /// A value that is no absolute URI was kept as it came (Microsoft's validator, `profileUrl`).
    NotUri "not-uri";
    /// A `$ref` came without `value`; its last segment was taken for it.
    ValueFromReference "value-from-reference";
    /// A filter compared a boolean or a number with a quoted value (Entra: `roles[primary eq "True"]`).
    QuotedLiteral "quoted-literal";
    /// A filter's text value came without quotation marks (authentik, Entra's documentation).
    UnquotedString "unquoted-string";
    /// The service's own attribute in an operation was left out (Okta sends `id` inside a group's `value`).
    ReadOnlyIgnored "read-only-ignored";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Quirk, Trace};

    #[test]
    fn names_are_kebab_case_and_unique() {
        let mut seen = HashSet::new();
        for quirk in Quirk::ALL {
            assert!(
                quirk
                    .name()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(seen.insert(quirk.name()), "{}", quirk.name());
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
