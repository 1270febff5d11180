//! One row of a provisioning log, whatever its spelling.
//!
//! Graph's `provisioningObjectSummary`, the portal's columns and the table `AADProvisioningLogs` name the same things with
//! different words and depths. So a row is flattened first: every text with the path that leads to it, letters and digits in
//! lower case. JSON in a cell is taken apart like any other.

use serde_json::Value;
use time::OffsetDateTime;

use super::moment::moment;
use crate::explain::{explain, message::Message};

/// What Entra did (`provisioningAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A new account or group.
    Create,
    /// A change, also of members.
    Update,
    /// Switched off; also a staged delete.
    Disable,
    /// Removed.
    Delete,
    /// Anything else.
    Other,
}

impl Action {
    /// Entra's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Disable => "disable",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }

    fn of(text: &str) -> Option<Self> {
        let word = letters(text);
        let known: [(&str, Self); 6] = [
            ("stageddelete", Self::Disable),
            ("softdelete", Self::Disable),
            ("create", Self::Create),
            ("update", Self::Update),
            ("disable", Self::Disable),
            ("delete", Self::Delete),
        ];
        let found = known.iter().find(|(known, _)| word.starts_with(known));
        found
            .map(|(_, action)| *action)
            .or((!word.is_empty()).then_some(Self::Other))
    }

    /// The method of the request that writes it.
    fn verb(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("POST"),
            Self::Update | Self::Disable => Some("PATCH"),
            Self::Delete => Some("DELETE"),
            Self::Other => None,
        }
    }
}

/// How it ended (`provisioningStatusInfo.status`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Done.
    Success,
    /// Failed.
    Failure,
    /// Nothing to do, or out of scope.
    Skipped,
    /// Done with a warning.
    Warning,
    /// The row does not say.
    #[default]
    Unknown,
}

impl Status {
    /// Entra's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
        }
    }

    fn of(text: &str) -> Self {
        match letters(text).as_str() {
            "success" | "succeeded" | "0" => Self::Success,
            "failure" | "failed" | "fail" | "error" => Self::Failure,
            "skipped" | "skip" => Self::Skipped,
            "warning" => Self::Warning,
            _ => Self::Unknown,
        }
    }
}

/// A row. Holds no names: of persons only what error texts quote, which is never shown.
#[derive(Debug, Default)]
pub struct Record {
    /// When, in UTC unless the file says otherwise.
    pub at: Option<OffsetDateTime>,
    /// `changeId`
    pub change: String,
    /// What was done.
    pub action: Option<Action>,
    /// How it ended.
    pub status: Status,
    /// How long all of it took, in milliseconds.
    pub duration: Option<u64>,
    /// Entra's own name for the failure (`errorCode`).
    pub code: Option<String>,
    /// What went wrong, the likeliest text first.
    pub texts: Vec<String>,
    /// Whether the step that failed was a look-up.
    pub failed_on_look_up: bool,
    /// Whether anything of a provisioning log was in it.
    pub is_row: bool,
}

impl Record {
    /// What Entra was doing when it got the answer: before a change it looks for the account.
    pub fn answered_action(&self) -> Option<Action> {
        self.action.filter(|_| !self.failed_on_look_up)
    }

    /// The method of the request that failed, as far as the row shows: Entra's log does not name it.
    pub fn verb(&self) -> Option<&'static str> {
        if self.failed_on_look_up {
            Some("GET")
        } else {
            self.action?.verb()
        }
    }

    /// The text that names a cause, else the first one.
    pub fn telling(&self) -> Option<&str> {
        let names = |text: &&String| !explain(Message::read(text)).cause.name.starts_with("unknown");
        let text = self.texts.iter().find(names).or(self.texts.first());
        text.map(String::as_str)
    }

    /// Takes what an object of JSON holds.
    pub fn of_json(value: &Value) -> Self {
        let mut record = Self::default();
        record.take("", value);
        record.finished()
    }

    /// Takes what the cells of a line hold, with the folded names of their columns.
    pub fn of_cells<'c>(cells: impl Iterator<Item = (&'c str, &'c str)>) -> Self {
        let mut record = Self::default();
        for (name, text) in cells {
            match nested(text) {
                Some(value) => record.take(name, &value),
                None => record.field(name, text),
            }
        }
        record.finished()
    }

    /// Takes a line of the portal's file of steps, which is one step of the row with the same change id.
    pub fn of_step<'c>(cells: impl Iterator<Item = (&'c str, &'c str)>) -> Self {
        let mut record = Self::default();
        let mut step = Step::default();
        for (name, text) in cells {
            match (name, nested(text)) {
                ("changeid", _) => record.field(name, text),
                (_, Some(value)) => step.of_json(name, &value),
                (_, None) => step.take(name, text),
            }
        }
        record.status = step.status;
        record.step(step);
        record
    }

    fn take(&mut self, path: &str, value: &Value) {
        if UNREAD.contains(&path) {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = format!("{path}{}", letters(name));
                    self.take(&path, value);
                }
            }
            Value::Array(steps) if path.ends_with("provisioningsteps") => {
                for value in steps {
                    let mut step = Step::default();
                    step.of_json("", value);
                    self.step(step);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.take(path, value)),
            Value::String(text) => match nested(text) {
                Some(value) => self.take(path, &value),
                None => self.field(path, text),
            },
            Value::Number(number) => self.field(path, &number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn field(&mut self, name: &str, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let name = name.strip_suffix("utc").unwrap_or(name);
        let name = name.strip_suffix("localtime").unwrap_or(name);
        let known = match name {
            "activitydatetime" | "timegenerated" | "activitydate" | "datetime" | "date" | "time" => {
                self.at = self.at.or_else(|| moment(text));
                self.at.is_some()
            }
            "changeid" => {
                self.change = identifier(text);
                true
            }
            "provisioningaction" | "action" | "activity" => {
                self.action = Action::of(text);
                true
            }
            "status"
            | "resulttype"
            | "result"
            | "provisioningstatusinfostatus"
            | "statusinfostatus"
            | "provisioningstatus" => {
                if self.status == Status::Unknown {
                    self.status = Status::of(text);
                }
                self.status != Status::Unknown
            }
            "resultsignature"
            | "errorcode"
            | "statusinfoerrorcode"
            | "provisioningstatusinfoerrorinformationerrorcode" => {
                self.code = Some(identifier(text)).filter(|code| !code.is_empty());
                false
            }
            "durationinmilliseconds" | "durationms" | "duration" => {
                self.duration = text.parse::<f64>().ok().and_then(milliseconds);
                false
            }
            name => {
                let tells = [
                    "reason",
                    "errormessage",
                    "resultdescription",
                    "errordescription",
                    "additionaldetails",
                    "statusdetails",
                ];
                if tells.iter().any(|tells| name.ends_with(tells)) {
                    self.texts.push(text.to_owned());
                }
                false
            }
        };
        self.is_row |= known;
    }

    fn step(&mut self, step: Step) {
        self.is_row = true;
        if step.status == Status::Failure {
            self.failed_on_look_up = step.is_look_up;
            self.texts.extend(step.texts);
        }
    }

    /// A row that only tells what went wrong has failed.
    fn finished(mut self) -> Self {
        if self.status == Status::Unknown && self.is_row && !self.texts.is_empty() {
            self.status = Status::Failure;
        }
        self
    }
}

/// Parts of a row that say nothing about errors, and much about persons.
const UNREAD: &[&str] = &[
    "modifiedproperties",
    "sourceidentity",
    "targetidentity",
    "sourcesystem",
    "targetsystem",
    "serviceprincipal",
    "initiatedby",
];

/// One step of a row (`provisioningStep`).
#[derive(Default)]
struct Step {
    status: Status,
    is_look_up: bool,
    texts: Vec<String>,
}

impl Step {
    fn of_json(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.of_json(&format!("{path}{}", letters(name)), value);
                }
            }
            Value::String(text) => self.take(path, text),
            _ => {}
        }
    }

    fn take(&mut self, name: &str, text: &str) {
        match name {
            "status" | "provisioningstepstatus" | "stepstatus" => self.status = Status::of(text),
            "provisioningsteptype" | "steptype" | "type" => {
                self.is_look_up = matches!(letters(text).as_str(), "import" | "matching");
            }
            "description" | "stepdescription" => self.texts.push(text.to_owned()),
            // What an answer said comes before what Entra says about it.
            name if name.starts_with("details") => self.texts.insert(0, text.to_owned()),
            _ => {}
        }
    }
}

/// Letters and digits, in lower case.
pub fn letters(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// JSON inside a text.
fn nested(text: &str) -> Option<Value> {
    let text = text.trim();
    let looks_so = text.starts_with('{') && text.ends_with('}') || text.starts_with('[') && text.ends_with(']');
    looks_so.then(|| serde_json::from_str(text).ok())?
}

/// An id without anything that could be something else.
fn identifier(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(64)
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of milliseconds below a century"
)]
fn milliseconds(number: f64) -> Option<u64> {
    (0.0..4e12).contains(&number).then_some(number as u64)
}
