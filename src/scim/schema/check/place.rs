//! A schema document's parts, each with its position, so that every fault names one.

use std::fmt;

use serde_json::{Map, Value};

use super::super::super::limits::MAX_URN_BYTES;

/// Why a schema document is refused, and where: `attributes[3].subAttributes[0].type: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    position: String,
    reason: String,
}

impl Fault {
    /// At this position in the document; empty for the document as a whole.
    pub fn at(position: impl Into<String>, reason: impl Into<String>) -> Fault {
        Fault {
            position: position.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = if self.position.is_empty() {
            "the document"
        } else {
            &self.position
        };
        write!(f, "{position}: {}", self.reason)
    }
}

impl std::error::Error for Fault {}

/// An object of the document, and where it stands.
pub(super) struct Place<'d> {
    pub(super) members: &'d Map<String, Value>,
    position: String,
}

impl<'d> Place<'d> {
    pub(super) fn read(value: &'d Value, position: String, known: &[&str]) -> Result<Place<'d>, Fault> {
        let Value::Object(members) = value else {
            return Err(Fault::at(position, "expected an object"));
        };
        let place = Place { members, position };
        if let Some(member) = members.keys().find(|member| !known.contains(&member.as_str())) {
            let meant = known.iter().find(|name| name.eq_ignore_ascii_case(member));
            let reason = match meant {
                Some(name) => format!("is spelled {name}"),
                None => format!("no such member; there are {}", known.join(", ")),
            };
            return Err(Fault::at(place.position_of(&printable(member)), reason));
        }
        Ok(place)
    }

    pub(super) fn position_of(&self, member: &str) -> String {
        if self.position.is_empty() {
            member.to_owned()
        } else {
            format!("{}.{member}", self.position)
        }
    }

    pub(super) fn fault(&self, member: &str, reason: impl Into<String>) -> Fault {
        Fault::at(self.position_of(member), reason)
    }

    pub(super) fn text(&self, member: &str) -> Result<Option<&'d str>, Fault> {
        match self.members.get(member) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(_) => Err(self.fault(member, "expected a text that is not empty")),
        }
    }

    /// A text that may be empty or missing.
    pub(super) fn any_text(&self, member: &str) -> Result<String, Fault> {
        match self.members.get(member) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.fault(member, "expected a text")),
        }
    }

    pub(super) fn flag(&self, member: &str) -> Result<Option<bool>, Fault> {
        match self.members.get(member) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.fault(member, "expected true or false")),
        }
    }

    pub(super) fn texts(&self, member: &str) -> Result<Vec<String>, Fault> {
        let values = match self.members.get(member) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(_) => return Err(self.fault(member, "expected an array of texts")),
        };
        let text = |(index, value): (usize, &Value)| match value.as_str() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(self.fault(&format!("{member}[{index}]"), "expected a text that is not empty")),
        };
        values.iter().enumerate().map(text).collect()
    }

    pub(super) fn keyword<T>(
        &self,
        member: &str,
        known: &[&str],
        from_keyword: impl Fn(&str) -> Option<T>,
        default: T,
    ) -> Result<T, Fault> {
        let Some(word) = self.text(member)? else {
            return Ok(default);
        };
        from_keyword(word)
            .ok_or_else(|| self.fault(member, format!("{} is none of {}", quoted(word), known.join(", "))))
    }
}

/// A text of the document as it may stand in a line of a terminal.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", printable(text))
}

fn printable(text: &str) -> String {
    let short: String = text.chars().take(MAX_URN_BYTES).collect();
    short.escape_debug().to_string()
}
