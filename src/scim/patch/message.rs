//! Reading the PATCH message.

use serde_json::Value;

use super::super::error::{Error, Rule};
use super::super::limits::MAX_PATCH_OPERATIONS;
use super::super::message::{members, names};
use super::super::normalize::Trace;
use super::PATCH_OP_URN;

/// One operation, as it came.
#[derive(Debug)]
pub(super) struct Operation {
    /// Counts from 1: for messages.
    pub(super) number: String,
    pub(super) kind: Kind,
    /// Not empty.
    pub(super) path: Option<String>,
    pub(super) value: Option<Value>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Add,
    Remove,
    Replace,
}

pub(super) fn read(body: Value, trace: &mut Trace) -> Result<Vec<Operation>, Error> {
    let Value::Object(body) = body else {
        return Err(Rule::BodyNotObject.error());
    };
    let [schemas, operations] = members(body, ["schemas", "Operations"], "", trace)?;
    if !names(schemas.as_ref(), PATCH_OP_URN) {
        return Err(Rule::NotPatchOp.error());
    }
    let Some(Value::Array(operations)) = operations else {
        return Err(Rule::NoOperations.error());
    };
    if operations.is_empty() {
        return Err(Rule::NoOperations.error());
    }
    if operations.len() > MAX_PATCH_OPERATIONS {
        return Err(Rule::TooManyOperations
            .error()
            .with("limit", MAX_PATCH_OPERATIONS.to_string()));
    }
    operations
        .into_iter()
        .enumerate()
        .map(|(index, operation)| read_one(index + 1, operation, trace))
        .collect()
}

fn read_one(number: usize, operation: Value, trace: &mut Trace) -> Result<Operation, Error> {
    let number = number.to_string();
    let malformed = |expected: &str| Rule::OperationSyntax.at(&number).with("expected", expected);
    let Value::Object(operation) = operation else {
        return Err(malformed("an object"));
    };
    let [op, path, value] = members(operation, ["op", "path", "value"], "Operations.", trace)?;
    let kind = match op.as_ref().map(Value::as_str) {
        None => return Err(malformed("an op")),
        Some(Some(op)) if op.eq_ignore_ascii_case("add") => Kind::Add,
        Some(Some(op)) if op.eq_ignore_ascii_case("remove") => Kind::Remove,
        Some(Some(op)) if op.eq_ignore_ascii_case("replace") => Kind::Replace,
        Some(_) => return Err(Rule::UnknownOp.at(number)),
    };
    let path = match path {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) => Some(path).filter(|path| !path.trim().is_empty()),
        Some(_) => return Err(malformed("a text as path")),
    };
    Ok(Operation {
        number,
        kind,
        path,
        value,
    })
}
