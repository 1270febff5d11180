//! Attribute paths: the `attrPath` of filters (RFC 7644 §3.4.2.2) and the `PATH` of PATCH (§3.5.2), resolved against a
//! resource type, so that whoever holds a [`Path`] holds the name of something that exists, in its canonical spelling.

use std::fmt;

use super::error::Error;
use super::filter::{Filter, Parser};
use super::normalize::{Quirk, Trace};
use super::schema::{Attribute, Extension, ResourceType, Type};

/// The name of an attribute, of a part of it, or of a whole extension.
///
/// In a filter between brackets it is relative to one value of the bracketed attribute: `type` in `emails[type eq "work"]`.
#[derive(Clone, PartialEq)]
pub struct Path {
    extension: Option<String>,
    attribute: Option<String>,
    filter: Option<Box<Filter>>,
    sub_attribute: Option<String>,
    leaf: Leaf,
}

/// What a comparison must know of the attribute that a path ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) kind: Type,
    pub(super) case_exact: bool,
}

impl Path {
    /// Reads the `path` of a PATCH operation: `userName`, `name.familyName`, `emails[type eq "work"].value`, each also
    /// qualified by a schema's URN, or an extension's URN alone. Names are case-insensitive. Nothing if the type lacks what
    /// it names.
    ///
    /// # Errors
    /// `invalidPath` when it is malformed ([`Rule::PathSyntax`]); `invalidFilter` when what stands between the brackets is at
    /// fault.
    ///
    /// [`Rule::PathSyntax`]: super::error::Rule::PathSyntax
    pub fn parse(rt: &ResourceType, text: &str, trace: &mut Trace) -> Result<Option<Path>, Error> {
        Parser::new(text, trace).patch_path(rt)
    }

    /// The canonical URN of the extension that the attribute belongs to.
    pub fn extension(&self) -> Option<&str> {
        self.extension.as_deref()
    }

    /// The attribute; none when the path is an extension's URN alone.
    pub fn attribute(&self) -> Option<&str> {
        self.attribute.as_deref()
    }

    /// Which of the attribute's values are meant; none means all. Only in paths of PATCH.
    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_deref()
    }

    /// The sub-attribute that the path ends at.
    pub fn sub_attribute(&self) -> Option<&str> {
        self.sub_attribute.as_deref()
    }

    /// The path without its filter: `emails.value`, `urn:…:User:manager.value`.
    pub fn name(&self) -> String {
        let mut name = self.attribute_name();
        if let Some(sub_attribute) = &self.sub_attribute {
            name.push('.');
            name.push_str(sub_attribute);
        }
        name
    }

    /// The attribute's definition; none when the path is an extension's URN alone.
    pub fn definition<'s>(&self, rt: &'s ResourceType) -> Option<&'s Attribute> {
        let attribute = self.attribute.as_deref()?;
        match &self.extension {
            Some(urn) => rt.extension(urn)?.schema.attribute(attribute),
            None => rt.attribute(attribute),
        }
    }

    pub(super) fn leaf(&self) -> Leaf {
        self.leaf
    }

    pub(super) fn with_filter(mut self, filter: Filter) -> Path {
        self.filter = Some(Box::new(filter));
        self
    }

    pub(super) fn with_sub_attribute(mut self, definition: &Attribute) -> Path {
        self.sub_attribute = Some(definition.name.clone());
        self.leaf = Leaf::of(definition);
        self
    }

    /// The path to what is compared, in filters and in sorting: an attribute with parts is by its `value` (RFC 7644 §3.4.2.2:
    /// `emails co "example.com"`). Without such a part: the path, and a part that could be named.
    pub(super) fn comparable(self, definition: Option<&Attribute>) -> Result<Path, (Path, String)> {
        if self.leaf.kind != Type::Complex {
            return Ok(self);
        }
        if let Some(value) = definition.and_then(|definition| definition.sub_attribute("value")) {
            return Ok(self.with_sub_attribute(value));
        }
        let part = definition.and_then(|definition| definition.sub_attributes.first());
        let part = part.map_or_else(
            || "one of its attributes".to_owned(),
            |part| format!("{}.{}", self.name(), part.name),
        );
        Err((self, part))
    }

    fn of_attribute(extension: Option<&Extension>, definition: &Attribute) -> Path {
        Path {
            extension: extension.map(|extension| extension.schema.id.clone()),
            attribute: Some(definition.name.clone()),
            filter: None,
            sub_attribute: None,
            leaf: Leaf::of(definition),
        }
    }

    fn of_extension(extension: &Extension) -> Path {
        Path {
            extension: Some(extension.schema.id.clone()),
            attribute: None,
            filter: None,
            sub_attribute: None,
            leaf: Leaf {
                kind: Type::Complex,
                case_exact: false,
            },
        }
    }

    /// The path without filter and sub-attribute: `emails`, `urn:…:User:manager`.
    pub(super) fn attribute_name(&self) -> String {
        match (&self.extension, &self.attribute) {
            (Some(urn), Some(attribute)) => format!("{urn}:{attribute}"),
            (Some(name), None) | (None, Some(name)) => name.clone(),
            (None, None) => String::new(),
        }
    }
}

impl Leaf {
    fn of(definition: &Attribute) -> Leaf {
        let case_exact = definition.case_exact || matches!(definition.kind, Type::Reference | Type::Binary);
        Leaf {
            kind: definition.kind,
            case_exact,
        }
    }
}

/// The canonical form: parsing it gives the same path.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attribute_name())?;
        if let Some(filter) = &self.filter {
            write!(f, "[{filter}]")?;
        }
        match &self.sub_attribute {
            Some(sub_attribute) => write!(f, ".{sub_attribute}"),
            None => Ok(()),
        }
    }
}

/// As `Display`, but without what the filter compares with: that is a client's data.
impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attribute_name())?;
        if self.filter.is_some() {
            f.write_str("[...]")?;
        }
        match &self.sub_attribute {
            Some(sub_attribute) => write!(f, ".{sub_attribute}"),
            None => Ok(()),
        }
    }
}

/// What names are looked up in.
#[derive(Clone, Copy)]
pub(super) enum Scope<'s> {
    /// A whole resource.
    Resource(&'s ResourceType),
    /// A whole resource of the first type; what only a later one knows is an attribute that it never has.
    FirstOf(&'s [&'s ResourceType]),
    /// One value of this attribute: between brackets.
    Value(&'s Attribute),
    /// Between the brackets behind an unknown attribute: any name will do, since only the syntax matters.
    Anything,
}

/// Why a name leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It is no attribute path at all.
    Malformed,
    /// It could be one, but the schema has no such attribute.
    Unknown,
}

/// A path without filter, and the definition of its attribute, if it is not an extension's URN alone.
pub(super) struct Resolved<'s> {
    pub(super) path: Path,
    pub(super) definition: Option<&'s Attribute>,
}

impl<'s> Scope<'s> {
    /// Looks up `[URN ":"] name ["." sub-attribute]`.
    pub(super) fn resolve(self, text: &str, trace: &mut Trace) -> Result<Resolved<'s>, Unresolved> {
        let resolved = match self {
            Scope::Resource(rt) => in_resource(rt, text, trace),
            Scope::FirstOf(types) => types.iter().find_map(|rt| in_resource(rt, text, trace)),
            Scope::Value(definition) => in_value(definition, text),
            Scope::Anything => is_well_formed(text).then(|| Resolved {
                path: nameless(text),
                definition: None,
            }),
        };
        resolved.ok_or(if is_well_formed(text) {
            Unresolved::Unknown
        } else {
            Unresolved::Malformed
        })
    }
}

fn in_resource<'s>(rt: &'s ResourceType, text: &str, trace: &mut Trace) -> Option<Resolved<'s>> {
    if let Some(extension) = rt.extension(text) {
        note_typo(extension, text, trace);
        return Some(Resolved {
            path: Path::of_extension(extension),
            definition: None,
        });
    }
    let qualified = rt.split_urn(text);
    let names = qualified.map_or(text, |(_, names)| names);
    let (name, sub_name) = match names.split_once('.') {
        Some((name, sub_name)) => (name, Some(sub_name)),
        None => (names, None),
    };
    let (extension, definition) = match qualified {
        Some((None, _)) => (None, rt.attribute(name)?),
        Some((Some(extension), _)) => (Some(extension), extension.schema.attribute(name)?),
        None => match rt.attribute(name) {
            Some(definition) => (None, definition),
            None => rt
                .extension_of(name)
                .map(|(extension, definition)| (Some(extension), definition))?,
        },
    };
    let mut path = Path::of_attribute(extension, definition);
    // URNs are compared without regard to case (RFC 8141 §3.1).
    path.leaf.case_exact &= path.name() != "schemas";
    let path = match sub_name {
        Some(sub_name) => path.with_sub_attribute(definition.sub_attribute(sub_name)?),
        None => path,
    };
    match extension {
        Some(extension) if qualified.is_some() => note_typo(extension, text, trace),
        Some(_) => trace.note(Quirk::UnqualifiedKey, path.name()),
        None => {}
    }
    Some(Resolved {
        path,
        definition: Some(definition),
    })
}

fn note_typo(extension: &Extension, text: &str, trace: &mut Trace) {
    let urn = &extension.schema.id;
    if !text.get(..urn.len()).is_some_and(|head| head.eq_ignore_ascii_case(urn)) {
        trace.note(Quirk::TypoUrn, urn);
    }
}

fn in_value<'s>(definition: &'s Attribute, name: &str) -> Option<Resolved<'s>> {
    if let Some(part) = definition.sub_attribute(name) {
        return Some(Resolved {
            path: Path::of_attribute(None, part),
            definition: Some(part),
        });
    }
    // A value of a simple multi-valued attribute has no sub-attributes; its `value` is the value itself.
    let is_itself = definition.kind != Type::Complex && name.eq_ignore_ascii_case("value");
    let path = Path {
        attribute: Some("value".to_owned()),
        ..Path::of_attribute(None, definition)
    };
    is_itself.then_some(Resolved { path, definition: None })
}

fn nameless(text: &str) -> Path {
    Path {
        extension: None,
        attribute: Some(text.to_owned()),
        filter: None,
        sub_attribute: None,
        leaf: Leaf {
            kind: Type::String,
            case_exact: true,
        },
    }
}

/// RFC 7644 §3.4.2.2: `attrPath = [URI ":"] ATTRNAME *1subAttr`. What stands behind a URN's last colon may also be the
/// end of the URN itself, as `2.0:User`.
pub(super) fn is_well_formed(text: &str) -> bool {
    let (urn, names) = match text.rsplit_once(':') {
        Some((urn, names)) => (Some(urn), names),
        None => (None, text),
    };
    let (name, sub_name) = match names.split_once('.') {
        Some((name, sub_name)) => (name, Some(sub_name)),
        None => (names, None),
    };
    urn.is_none_or(is_urn) && is_name(name) && sub_name.is_none_or(is_name)
}

fn is_urn(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_graphic() && !matches!(c, '[' | ']' | '(' | ')' | '"'))
        && text.contains(':')
}

/// RFC 7643 §2.1: `ATTRNAME = ALPHA *(nameChar)`, and `$ref`.
pub(super) fn is_name(text: &str) -> bool {
    let text = text.strip_prefix('$').unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$'))
}

#[cfg(test)]
mod tests {
    use super::super::error::Rule;
    use super::super::schema::{Catalog, ENTERPRISE_USER_URN};
    use super::*;

    fn read(text: &str, trace: &mut Trace) -> Result<Option<Path>, Error> {
        Path::parse(Catalog::standard().resource_type("User").unwrap(), text, trace)
    }

    /// `text` reads as the path that is printed as `expected`, which reads as itself.
    #[track_caller]
    fn check(text: &str, expected: &str, quirks: &[Quirk]) {
        let mut trace = Trace::default();
        let path = read(text, &mut trace).unwrap_or_else(|error| panic!("{text}: {error}"));
        let path = path.unwrap_or_else(|| panic!("{text} is unknown"));
        assert_eq!(path.to_string(), expected);
        let noted: Vec<Quirk> = trace.notes().iter().map(|note| note.quirk).collect();
        assert_eq!(noted, quirks, "{text}");
        let mut trace = Trace::default();
        assert!(
            read(expected, &mut trace).unwrap() == Some(path),
            "{expected} reads as something else"
        );
        assert!(trace.notes().is_empty(), "{expected} needs no tolerance");
    }

    #[track_caller]
    fn check_refused(text: &str, rule: Rule, detail_has: &str) {
        let Err(error) = read(text, &mut Trace::default()) else {
            panic!("{text} is read")
        };
        assert_eq!(error.rule(), rule, "{text}: {error}");
        assert!(
            error.detail().contains(detail_has),
            "{text}: {error} should name {detail_has}"
        );
    }

    /// R-GEN-03, R-PATCH-02.
    #[test]
    fn names_get_their_canonical_spelling() {
        check("USERNAME", "userName", &[]);
        check(" name.FamilyName ", "name.familyName", &[]);
        check(
            "Emails[ Type EQ \"work\" ].Value",
            "emails[type eq \"work\"].value",
            &[],
        );
        check("externalid", "externalId", &[]);
        check("profileurl", "profileUrl", &[]);
        check("groups.$REF", "groups.$ref", &[]);
    }

    /// R-FILTER-04.
    #[test]
    fn a_urn_is_one_of_the_types_schemas() {
        // URNs hold ':' and '.' themselves.
        let manager = format!("{ENTERPRISE_USER_URN}:manager");
        check(
            "urn:ietf:params:scim:schemas:core:2.0:User:name.givenName",
            "name.givenName",
            &[],
        );
        check(&manager.to_uppercase(), &manager, &[]);
        check(&format!("{manager}.value"), &format!("{manager}.value"), &[]);
        check(&ENTERPRISE_USER_URN.to_lowercase(), ENTERPRISE_USER_URN, &[]);
        let typo = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User";
        check(typo, ENTERPRISE_USER_URN, &[Quirk::TypoUrn]);
        check(&format!("{typo}:manager"), &manager, &[Quirk::TypoUrn]);
        check("manager", &manager, &[Quirk::UnqualifiedKey]);
        check(
            "manager[value eq \"1\"]",
            &format!("{manager}[value eq \"1\"]"),
            &[Quirk::UnqualifiedKey],
        );
    }

    /// R-PATCH-02.
    #[test]
    fn what_is_malformed_differs_from_what_is_unknown() {
        for unknown in [
            "colour",
            "name.nick",
            "urn:example:2.0:User:colour",
            "urn:example:2.0:User",
            "colour[a eq 1].b",
        ] {
            assert!(read(unknown, &mut Trace::default()).unwrap().is_none(), "{unknown}");
        }
        for malformed in [
            "",
            ".",
            "name.",
            "a b",
            "a..b",
            "a.b.c",
            "1a",
            "$",
            "[a eq 1]",
            "emails[type pr]x",
            "é",
            "a:b",
        ] {
            check_refused(malformed, Rule::PathSyntax, "expected");
        }
        check_refused("userName[value eq \"x\"]", Rule::PathFilterNotAllowed, "userName");
        check_refused("emails[", Rule::PathFilter, "character 8");
        check_refused("emails[type eq \"x\"", Rule::PathFilter, "a closing bracket");
        check_refused("emails[colour pr]", Rule::PathFilter, "colour");
        check_refused(&"a".repeat(20_000), Rule::PathTooLong, "10000");
    }

    #[test]
    fn debug_output_holds_no_values() {
        let path = read("emails[value eq \"secret\"].display", &mut Trace::default()).unwrap();
        assert_eq!(format!("{:?}", path.unwrap()), "emails[...].display");
    }
}
