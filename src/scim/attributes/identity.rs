//! When two values of an attribute are the same one.

use serde_json::Value;

use super::super::fold::fold;
use super::super::schema::Attribute;

/// What tells the values of an attribute apart (RFC 7643 §2.4: `type` and `value`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in super::super) enum Identity {
    /// A simple value, or one with a `value`, each in the form in which it is compared.
    Named { value: String, kind: Option<String> },
    /// One without, such as an address: all of it.
    Whole(String),
}

impl Identity {
    /// `value` must have passed [`accept_value`](super::accept_value).
    pub(in super::super) fn of(value: &Value, definition: &Attribute) -> Identity {
        let Value::Object(parts) = value else {
            return Identity::Named {
                value: comparable(value, Some(definition)),
                kind: None,
            };
        };
        let part = |name: &str| {
            parts
                .get(name)
                .map(|part| comparable(part, definition.sub_attribute(name)))
        };
        match part("value") {
            Some(value) => Identity::Named {
                value,
                kind: part("type"),
            },
            None => Identity::Whole(value.to_string()),
        }
    }

    pub(in super::super) fn without_type(&self) -> Identity {
        match self {
            Identity::Named { value, .. } => Identity::Named {
                value: value.clone(),
                kind: None,
            },
            whole @ Identity::Whole(_) => whole.clone(),
        }
    }
}

fn comparable(value: &Value, definition: Option<&Attribute>) -> String {
    match value {
        Value::String(text) if definition.is_some_and(|definition| definition.case_exact) => text.clone(),
        Value::String(text) => fold(text),
        value => value.to_string(),
    }
}
