//! Attribute paths: the `attrPath` of filters (RFC 7644 §3.4.2.2) and the `PATH` of PATCH (§3.5.2), resolved against a
//! resource type, so that whoever holds a [`Path`] holds the name of something that exists, in its canonical spelling.

use std::fmt;

use super::error::Error;
use super::filter::{Filter, Parser};
use super::normalize::{Quirk, Trace};
use super::schema::{Attribute, Extension, ResourceType, Type, common};

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
    /// qualified by a schema's URN, or an extension's URN alone. Names are case-insensitive.
    ///
    /// # Errors
    /// `invalidPath` when it is malformed ([`Rule::PathSyntax`]) or names what the type lacks ([`Rule::UnknownPathAttribute`]);
    /// `invalidFilter` when what stands between the brackets is at fault.
    ///
    /// [`Rule::PathSyntax`]: super::error::Rule::PathSyntax
    /// [`Rule::UnknownPathAttribute`]: super::error::Rule::UnknownPathAttribute
    pub fn parse(rt: &ResourceType, text: &str, trace: &mut Trace) -> Result<Path, Error> {
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

    /// A sub-attribute of the value at hand, for a filter between brackets.
    pub(super) fn of_value(definition: &Attribute) -> Path {
        Path::of_attribute(None, definition)
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
        // URNs are compared without regard to case (RFC 8141 §3.1), also in `schemas`, the attribute of every resource.
        let is_urn = common()
            .iter()
            .any(|common| common.name == "schemas" && std::ptr::eq(common, definition));
        let is_exact = definition.case_exact || matches!(definition.kind, Type::Reference | Type::Binary);
        let case_exact = is_exact && !is_urn;
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
    let path = Path::of_attribute(extension, definition);
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

/// A value of a simple multi-valued attribute has no sub-attributes; its `value` is the value itself.
fn in_value<'s>(definition: &'s Attribute, name: &str) -> Option<Resolved<'s>> {
    let mut path = match definition.sub_attribute(name) {
        Some(sub_attribute) => Path::of_value(sub_attribute),
        None if definition.kind != Type::Complex && name.eq_ignore_ascii_case("value") => Path::of_value(definition),
        None => return None,
    };
    if definition.kind != Type::Complex {
        path.attribute = Some("value".to_owned());
    }
    Some(Resolved {
        path,
        definition: definition.sub_attribute(name),
    })
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
fn is_name(text: &str) -> bool {
    let text = text.strip_prefix('$').unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}
