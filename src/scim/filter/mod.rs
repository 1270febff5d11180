//! Filters (RFC 7644 §3.4.2.2): one type for the `filter` parameter and for what stands between the brackets of a path.

mod eval;
mod literal;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Map, Number, Value};
use time::OffsetDateTime;

use super::error::Error;
use super::normalize::Trace;
use super::path::{Path, Scope};
use super::schema::ResourceType;

pub(super) use parse::Parser;

/// A condition on a resource, or, between brackets, on one value of an attribute.
///
/// The parser brings different spellings of one condition to one form, so that there is little to tell apart:
/// `emails co "x"` is `emails.value co "x"`, `emails[type eq "work"].value eq "x"` (Entra) is
/// `emails[type eq "work" and value eq "x"]`, `title eq null` is `not (title pr)`, and an `And` or `Or` never holds its like.
/// `Display` prints a filter that parses to the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them hold.
    And(Vec<Filter>),
    /// At least one of them holds.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// The attribute has a value that is not empty.
    Present(Path),
    /// A value compares as told; of an attribute with several values, any one (for `ne`: none of them equals).
    Compare {
        /// Ends at something that has no parts.
        path: Path,
        /// One that the attribute's type has.
        operator: Operator,
        /// Of the attribute's type.
        value: Literal,
    },
    /// One single value of the attribute fulfils all of `filter`.
    ValuePath {
        /// An attribute, without sub-attribute.
        path: Path,
        /// Its paths are relative to the value.
        filter: Box<Filter>,
    },
}

/// A comparison (RFC 7644, table 3); `pr` is [`Filter::Present`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Contains.
    Co,
    /// Starts with.
    Sw,
    /// Ends with.
    Ew,
    /// Greater, or later.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less, or earlier.
    Lt,
    /// Less or equal.
    Le,
}

/// What an attribute is compared with.
#[derive(Clone, PartialEq)]
pub enum Literal {
    /// For strings, references, binary values and dates.
    Text(Text),
    /// For integers and decimals.
    Number(Number),
    /// For booleans.
    Boolean(bool),
}

/// A text to compare with, made ready once for the many values that it is put to.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// As the client wrote it.
    written: String,
    ready: Ready,
}

/// How a text is compared, by the attribute's type and `caseExact`.
#[derive(Clone, PartialEq, Eq)]
enum Ready {
    /// Byte by byte.
    Exact,
    /// In this form, with values folded too.
    Folded(String),
    /// As this point in time.
    Time(OffsetDateTime),
}

/// An equality that holds for every resource the filter matches; see [`Filter::equalities`].
#[derive(Clone, PartialEq, Eq)]
pub struct Equality<'f> {
    /// The attribute: `userName`, `emails.value`, `urn:…:User:manager.value`.
    pub name: String,
    /// The text that it, or one of its values, equals by the attribute's own rule for upper and lower case.
    pub text: &'f str,
}

/// Reads the `filter` of a query on resources of this type. Attribute names, URNs and operators are case-insensitive.
/// Tolerated and noted: text without quotation marks (authentik, Entra's documentation), a quoted boolean or number
/// (Entra), an extension's attribute without its URN (Entra: `manager eq "…"`).
///
/// # Errors
/// `invalidFilter` naming the position or the attribute, also for one that is never stored; `sensitive` for an attribute that
/// is never returned.
pub fn parse(rt: &ResourceType, text: &str, trace: &mut Trace) -> Result<Filter, Error> {
    Parser::new(text, trace).filter(Scope::Resource(rt))
}

/// Reads the `filter` of a query on several resource types (RFC 7644 §3.4.2.1) for resources of the first of them. What
/// only another one has is an attribute without value (§3.4.2.2).
///
/// # Errors
/// As [`parse()`]; an attribute is unknown when none of the types has it.
pub fn parse_first_of(types: &[&ResourceType], text: &str, trace: &mut Trace) -> Result<Filter, Error> {
    Parser::new(text, trace).filter(Scope::FirstOf(types))
}

impl Filter {
    /// Whether the complete resource `document` fulfils the filter.
    pub fn matches(&self, document: &Map<String, Value>) -> bool {
        eval::matches(self, eval::Node::Object(document))
    }

    /// Whether one value of the attribute, on which the filter stands between brackets, fulfils it.
    pub fn matches_value(&self, value: &Value) -> bool {
        eval::matches(self, eval::Node::of(value))
    }

    /// The filters that must all hold: the parts of an `And`, else this one alone.
    pub fn conjuncts(&self) -> &[Filter] {
        match self {
            Filter::And(filters) => filters,
            filter => std::slice::from_ref(filter),
        }
    }

    /// The filter without what it compares with: `userName eq ? and active eq ?`.
    pub fn shape(&self) -> String {
        let joined = |filters: &[Filter], word| filters.iter().map(Filter::shape).collect::<Vec<_>>().join(word);
        match self {
            Filter::And(filters) => joined(filters, " and "),
            Filter::Or(filters) => format!("({})", joined(filters, " or ")),
            Filter::Not(filter) => format!("not ({})", filter.shape()),
            Filter::Present(path) => format!("{} pr", path.name()),
            Filter::Compare { path, operator, .. } => format!("{} {} ?", path.name(), operator.keyword()),
            Filter::ValuePath { path, filter } => format!("{}[{}]", path.name(), filter.shape()),
        }
    }

    /// What equals a text in every resource that matches: each can be looked up in an index, and what is found there is
    /// then put to [`Self::matches`]. None for `or` and `not`.
    pub fn equalities(&self) -> Vec<Equality<'_>> {
        let mut equalities = Vec::new();
        for filter in self.conjuncts() {
            match filter {
                Filter::Compare {
                    path,
                    operator: Operator::Eq,
                    value: Literal::Text(text),
                } => {
                    equalities.push(Equality {
                        name: path.name(),
                        text: &text.written,
                    });
                }
                Filter::ValuePath { path, filter } => {
                    equalities.extend(filter.equalities().into_iter().map(|within| Equality {
                        name: format!("{}.{}", path.name(), within.name),
                        text: within.text,
                    }));
                }
                _ => {}
            }
        }
        equalities
    }

    /// Whether the filter looks at the attribute `name` (of the core schema, without sub-attribute) anywhere: a document
    /// put to [`Self::matches`] must then hold it.
    pub fn mentions(&self, name: &str) -> bool {
        match self {
            Filter::And(filters) | Filter::Or(filters) => filters.iter().any(|filter| filter.mentions(name)),
            Filter::Not(filter) => filter.mentions(name),
            Filter::Present(path) | Filter::Compare { path, .. } | Filter::ValuePath { path, .. } => {
                path.extension().is_none() && path.attribute() == Some(name)
            }
        }
    }

    /// The texts that the values of the multi-valued attribute `name` are compared with, if nothing else is asked of it
    /// than whether it has a `value` that equals one of them: a document put to [`Self::matches`] need then hold no other
    /// values of it.
    pub fn equals_of(&self, name: &str) -> Option<Vec<&str>> {
        let is_of = |path: &Path| path.extension().is_none() && path.attribute() == Some(name);
        match self {
            Filter::And(filters) | Filter::Or(filters) => {
                let parts: Option<Vec<_>> = filters.iter().map(|filter| filter.equals_of(name)).collect();
                Some(parts?.concat())
            }
            Filter::Not(filter) => filter.equals_of(name),
            Filter::Compare {
                path,
                operator: Operator::Eq | Operator::Ne,
                value: Literal::Text(text),
            } if is_of(path) && path.sub_attribute() == Some("value") => Some(vec![&text.written]),
            Filter::ValuePath { path, filter } if is_of(path) => {
                let equalities = filter.equalities();
                let value = equalities.iter().find(|equality| equality.name == "value")?;
                Some(vec![value.text])
            }
            Filter::Present(path) | Filter::Compare { path, .. } | Filter::ValuePath { path, .. } => {
                (!is_of(path)).then(Vec::new)
            }
        }
    }

    /// How many conditions the filter is made of: comparisons and `pr`. To put a resource to it costs at most as much as
    /// going through the resource this many times.
    pub fn terms(&self) -> usize {
        match self {
            Filter::And(filters) | Filter::Or(filters) => filters.iter().map(Filter::terms).sum(),
            Filter::Not(filter) | Filter::ValuePath { filter, .. } => filter.terms(),
            Filter::Present(_) | Filter::Compare { .. } => 1,
        }
    }

    /// All of `filters`; nested ones joined.
    fn all(filters: Vec<Filter>) -> Filter {
        let mut joined = Vec::with_capacity(filters.len());
        for filter in filters {
            match filter {
                Filter::And(inner) => joined.extend(inner),
                filter => joined.push(filter),
            }
        }
        if joined.len() == 1 {
            joined.remove(0)
        } else {
            Filter::And(joined)
        }
    }

    /// Any of `filters`; nested ones joined.
    fn any(filters: Vec<Filter>) -> Filter {
        let mut joined = Vec::with_capacity(filters.len());
        for filter in filters {
            match filter {
                Filter::Or(inner) => joined.extend(inner),
                filter => joined.push(filter),
            }
        }
        if joined.len() == 1 {
            joined.remove(0)
        } else {
            Filter::Or(joined)
        }
    }
}

impl Operator {
    /// The RFC's keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Operator::Eq => "eq",
            Operator::Ne => "ne",
            Operator::Co => "co",
            Operator::Sw => "sw",
            Operator::Ew => "ew",
            Operator::Gt => "gt",
            Operator::Ge => "ge",
            Operator::Lt => "lt",
            Operator::Le => "le",
        }
    }

    const ALL: [Operator; 9] = [
        Operator::Eq,
        Operator::Ne,
        Operator::Co,
        Operator::Sw,
        Operator::Ew,
        Operator::Gt,
        Operator::Ge,
        Operator::Lt,
        Operator::Le,
    ];

    fn from_keyword(word: &str) -> Option<Operator> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.keyword().eq_ignore_ascii_case(word))
    }
}

impl Literal {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Literal::Text(text) => Some(&text.written),
            Literal::Number(_) | Literal::Boolean(_) => None,
        }
    }

    /// The value as JSON.
    pub fn to_value(&self) -> Value {
        match self {
            Literal::Text(text) => Value::String(text.written.clone()),
            Literal::Number(number) => Value::Number(number.clone()),
            Literal::Boolean(boolean) => Value::Bool(*boolean),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::And(filters) => joined(f, filters, " and "),
            Filter::Or(filters) => joined(f, filters, " or "),
            Filter::Not(filter) => write!(f, "not ({filter})"),
            Filter::Present(path) => write!(f, "{path} pr"),
            Filter::Compare { path, operator, value } => write!(f, "{path} {} {value}", operator.keyword()),
            Filter::ValuePath { path, filter } => write!(f, "{path}[{filter}]"),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, filters: &[Filter], separator: &str) -> fmt::Result {
    for (index, filter) in filters.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        match filter {
            Filter::Or(_) => write!(f, "({filter})")?,
            filter => write!(f, "{filter}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_value())
    }
}

/// Without the value: it is a client's data.
impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Literal::Text(_) => "\"...\"",
            Literal::Number(_) => "(number)",
            Literal::Boolean(_) => "(boolean)",
        })
    }
}

/// Without the text, as [`Literal`].
impl fmt::Debug for Equality<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} eq \"...\"", self.name)
    }
}
