//! What a filter compares with: reading it, and bringing it to the attribute's type.

use serde_json::Number;

use super::super::error::{Error, Rule};
use super::super::fold::fold;
use super::super::normalize::{Quirk, Trace};
use super::super::path::{Leaf, Path};
use super::super::resource::parse_date_time;
use super::super::schema::Type;
use super::{Literal, Operator, Ready, Text};

/// A value as it stands in the text.
#[derive(Debug, PartialEq)]
pub(super) enum Operand<'t> {
    /// Between quotation marks; escapes resolved.
    Quoted(String),
    /// Anything else: `true`, `null`, a number, or text whose quotation marks are missing.
    Word(&'t str),
}

/// Why there is no value to read.
#[derive(Debug)]
pub(super) enum Flaw {
    Missing,
    Unterminated,
    BadEscape,
}

impl Flaw {
    pub(super) fn at(self, position: String) -> Error {
        let malformed = |expected| Rule::FilterSyntax.at(&position).with("expected", expected);
        match self {
            Flaw::Missing => malformed("a value"),
            Flaw::Unterminated => Rule::UnterminatedString.at(position),
            Flaw::BadEscape => {
                malformed("a text without control characters, and an escape that JSON knows behind each backslash")
            }
        }
    }
}

/// Reads the value at the beginning of `text`, and says how many bytes it takes.
pub(super) fn read(text: &str) -> Result<(Operand<'_>, usize), Flaw> {
    if text.starts_with('"') {
        let length = quoted_length(text).ok_or(Flaw::Unterminated)?;
        let string = serde_json::from_str(&text[..length]).map_err(|_| Flaw::BadEscape)?;
        return Ok((Operand::Quoted(string), length));
    }
    // By hand: a JSON reader refuses `false)`.
    let end = text
        .find(|c: char| c.is_whitespace() || matches!(c, ')' | ']'))
        .unwrap_or(text.len());
    if end == 0 {
        Err(Flaw::Missing)
    } else {
        Ok((Operand::Word(&text[..end]), end))
    }
}

/// Bytes from the opening quotation mark to the closing one.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// The operand as a value of the type at the path's end, if the type has the operator.
pub(super) fn typed(
    path: &Path,
    operator: Operator,
    operand: &Operand<'_>,
    trace: &mut Trace,
) -> Result<Literal, Error> {
    let kind = path.leaf().kind;
    if !operators(kind).contains(&operator) {
        return Err(Rule::OperatorNotForType
            .at(path.name())
            .with("expected", operator_names(kind)));
    }
    let wrong = |expected: &str| Rule::FilterWrongType.at(path.name()).with("expected", expected);
    if *operand == Operand::Word("null") {
        return Err(wrong("a value; null goes with eq and ne only"));
    }
    let (text, is_quoted) = match operand {
        Operand::Quoted(text) => (text.as_str(), true),
        Operand::Word(text) => (*text, false),
    };
    let quirk = match kind {
        Type::Boolean | Type::Integer | Type::Decimal => is_quoted.then_some(Quirk::QuotedLiteral),
        Type::String | Type::Reference | Type::Binary | Type::DateTime | Type::Complex => {
            // Quotation marks of another language would be part of the value, and nobody's value has them.
            if !is_quoted && text.starts_with('\'') {
                return Err(wrong("a text in double quotation marks"));
            }
            (!is_quoted).then_some(Quirk::UnquotedString)
        }
    };
    let literal = match kind {
        Type::Boolean if text.eq_ignore_ascii_case("true") => Literal::Boolean(true),
        Type::Boolean if text.eq_ignore_ascii_case("false") => Literal::Boolean(false),
        Type::Boolean => return Err(wrong("true or false")),
        Type::Integer | Type::Decimal => {
            Literal::Number(serde_json::from_str::<Number>(text).map_err(|_| wrong("a number"))?)
        }
        Type::String | Type::Reference | Type::Binary | Type::DateTime | Type::Complex => Literal::Text(Text {
            ready: ready(path.leaf(), operator, text)
                .ok_or_else(|| wrong("a date and time such as 2026-01-31T08:00:00Z"))?,
            written: text.to_owned(),
        }),
    };
    if let Some(quirk) = quirk {
        trace.note(quirk, path.name());
    }
    Ok(literal)
}

/// The form in which `text` is compared; none if it should be a date and is not.
fn ready(leaf: Leaf, operator: Operator, text: &str) -> Option<Ready> {
    Some(if leaf.kind == Type::DateTime && is_chronological(operator) {
        Ready::Time(parse_date_time(text)?)
    } else if leaf.case_exact {
        Ready::Exact
    } else {
        Ready::Folded(fold(text))
    })
}

/// Whether a date is compared as a point in time; `co`, `sw` and `ew` look at its text.
fn is_chronological(operator: Operator) -> bool {
    !matches!(operator, Operator::Co | Operator::Sw | Operator::Ew)
}

/// The operators that a type has. RFC 7644 §3.4.2.2 has no order for booleans and binary values; substrings of numbers
/// and booleans mean nothing.
fn operators(kind: Type) -> &'static [Operator] {
    use Operator::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
    match kind {
        Type::Boolean => &[Eq, Ne],
        Type::Binary => &[Eq, Ne, Co, Sw, Ew],
        Type::Integer | Type::Decimal => &[Eq, Ne, Gt, Ge, Lt, Le],
        Type::String | Type::DateTime | Type::Reference | Type::Complex => &[Eq, Ne, Co, Sw, Ew, Gt, Ge, Lt, Le],
    }
}

fn operator_names(kind: Type) -> String {
    let names: Vec<&str> = operators(kind).iter().map(|operator| operator.keyword()).collect();
    format!("{} or pr", names.join(", "))
}
