//! `$filter` expressions whose literals cannot break out.

use std::fmt;

use crate::entity::{Property, date_time};

/// A `$filter` expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    /// Whether this must be put in parentheses when it becomes part of an `and`.
    loose: bool,
}

/// How a property and a value are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
}

impl Filter {
    /// `name` compared with a literal. The name is the program's, never a user's.
    pub fn new(name: &str, comparison: Comparison, value: impl Into<Property>) -> Self {
        let operator = match comparison {
            Comparison::Eq => "eq",
            Comparison::Ne => "ne",
            Comparison::Gt => "gt",
            Comparison::Ge => "ge",
            Comparison::Lt => "lt",
            Comparison::Le => "le",
        };
        Self {
            text: format!("{name} {operator} {}", literal(&value.into())),
            loose: false,
        }
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            text: format!("{} and {}", self.tight(), other.tight()),
            loose: false,
        }
    }

    /// At least one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            text: [self.text, other.text].join(" or "),
            loose: true,
        }
    }

    fn tight(self) -> String {
        if self.loose {
            format!("({})", self.text)
        } else {
            self.text
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn literal(value: &Property) -> String {
    match value {
        Property::Binary(bytes) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("X'{}'", hex.concat())
        }
        Property::Boolean(value) => value.to_string(),
        Property::DateTime(time) => format!("datetime'{}'", date_time(*time)),
        Property::Double(value) => format!("{value:?}"),
        Property::Guid(id) => format!("guid'{id}'"),
        Property::Int32(value) => value.to_string(),
        Property::Int64(value) => format!("{value}L"),
        Property::String(text) => format!("'{}'", double_quotes(text)),
    }
}

/// A quote inside a quoted literal is written twice.
pub(crate) fn double_quotes(text: &str) -> String {
    text.replace('\'', "''")
}

#[cfg(test)]
mod tests {
    use azure_core::{Uuid, time::parse_rfc3339};

    use super::*;

    #[track_caller]
    fn check(value: impl Into<Property>, expected: &str) {
        assert_eq!(
            Filter::new("x", Comparison::Eq, value).to_string(),
            format!("x eq {expected}")
        );
    }

    #[test]
    fn literals_are_spelled_by_type() {
        check("o'brien", "'o''brien'");
        check("x' or PartitionKey ne '", "'x'' or PartitionKey ne '''");
        check(7_i32, "7");
        check(7_i64, "7L");
        check(7.0, "7.0");
        check(true, "true");
        check(vec![0, 171], "X'00ab'");
        check(
            Uuid::from_u128(0xc9da_6455_213d_42c9_9a79_3e91_49a5_7833),
            "guid'c9da6455-213d-42c9-9a79-3e9149a57833'",
        );
        check(
            parse_rfc3339("2026-11-22T15:00:00Z").unwrap(),
            "datetime'2026-11-22T15:00:00Z'",
        );
    }

    #[test]
    fn an_or_inside_an_and_keeps_its_meaning() {
        let of = |name| Filter::new(name, Comparison::Ge, 1_i32);
        assert_eq!(
            of("a").or(of("b")).and(of("c")).and(of("d")).to_string(),
            "(a ge 1 or b ge 1) and c ge 1 and d ge 1"
        );
        assert_eq!(
            of("a").and(of("b")).or(of("c")).to_string(),
            "a ge 1 and b ge 1 or c ge 1"
        );
    }
}
