//! Reading the `BulkRequest` message.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::error::{Error, Rule};
use super::super::limits::MAX_BULK_OPERATIONS;
use super::super::message::{members, names};
use super::super::normalize::{Quirk, Trace};
use super::super::resource::is_id;
use super::super::schema::{Catalog, ResourceType};
use super::{BULK_REQUEST_URN, reference};

/// The message, as far as it can be answered operation by operation.
pub(super) struct Request {
    /// After how many errors no further operation is begun.
    pub(super) fail_on_errors: Option<usize>,
    pub(super) operations: Vec<Operation>,
    /// Which operation makes the resource that a bulkId stands for.
    pub(super) creates: HashMap<String, usize>,
}

pub(super) struct Operation {
    /// As the answer repeats it: upper case, if it is one of the four.
    pub(super) method: String,
    pub(super) bulk_id: Option<String>,
    /// What is to be done, or why that cannot be done.
    pub(super) order: Result<Order, Error>,
}

#[derive(Clone)]
pub(super) struct Order {
    pub(super) of: Arc<ResourceType>,
    pub(super) method: Method,
    /// None in a POST.
    pub(super) target: Option<Target>,
    pub(super) version: Option<String>,
    /// An object, unless it is a DELETE.
    pub(super) data: Value,
    /// The bulkIds that `target` and `data` refer to: each once.
    pub(super) references: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Id(String),
    BulkId(String),
}

impl Method {
    const ALL: [Method; 4] = [Method::Post, Method::Put, Method::Patch, Method::Delete];

    fn name(self) -> &'static str {
        match self {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// # Errors
/// What leaves nothing to answer one by one: the message is none, has no operations or too many, one of them has no
/// method, or two the same bulkId.
pub(super) fn read(catalog: &Catalog, body: Value, trace: &mut Trace) -> Result<Request, Error> {
    let Value::Object(body) = body else {
        return Err(Rule::BodyNotObject.error());
    };
    let [schemas, fail_on_errors, operations] = members(body, ["schemas", "failOnErrors", "Operations"], "", trace)?;
    if !names(schemas.as_ref(), BULK_REQUEST_URN) {
        return Err(Rule::NotBulkRequest.error());
    }
    let fail_on_errors = number_of_errors(fail_on_errors.as_ref(), trace)?;
    let operations = match operations {
        Some(Value::Array(operations)) if !operations.is_empty() => operations,
        _ => return Err(Rule::NoOperations.error()),
    };
    if operations.len() > MAX_BULK_OPERATIONS {
        let limit = MAX_BULK_OPERATIONS.to_string();
        return Err(Rule::TooManyOperations.error().with("limit", limit));
    }
    let mut operations = (1..)
        .zip(operations)
        .map(|(number, operation)| read_one(catalog, number, operation, trace))
        .collect::<Result<Vec<_>, _>>()?;
    let creates = creates(&operations)?;
    for operation in &mut operations {
        operation.check_references(&creates);
    }
    Ok(Request {
        fail_on_errors,
        operations,
        creates,
    })
}

fn number_of_errors(value: Option<&Value>, trace: &mut Trace) -> Result<Option<usize>, Error> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => {
            trace.note(Quirk::NumberString, "failOnErrors");
            text.parse().ok()
        }
        Some(value) => value.as_u64(),
    };
    let malformed = || {
        Rule::WrongType
            .at("failOnErrors")
            .with("expected", "a whole number from 1")
    };
    let number = number.filter(|number| *number > 0).ok_or_else(malformed)?;
    Ok(Some(usize::try_from(number).unwrap_or(usize::MAX)))
}

fn read_one(catalog: &Catalog, number: usize, operation: Value, trace: &mut Trace) -> Result<Operation, Error> {
    let Value::Object(operation) = operation else {
        return Err(malformed(number, "an object"));
    };
    let parts = ["method", "bulkId", "version", "path", "data"];
    let [method, bulk_id, version, path, data] = members(operation, parts, "Operations.", trace)?;
    let Some(Value::String(given)) = method else {
        return Err(malformed(number, "a method"));
    };
    let bulk_id = match bulk_id {
        None | Some(Value::Null) => None,
        Some(Value::String(bulk_id)) => Some(bulk_id).filter(|bulk_id| !bulk_id.is_empty()),
        Some(_) => return Err(malformed(number, "a text as bulkId")),
    };
    let method = Method::ALL
        .into_iter()
        .find(|method| method.name().eq_ignore_ascii_case(&given));
    let order = match method {
        None => Err(malformed(number, "POST, PUT, PATCH or DELETE as method")),
        Some(Method::Post) if bulk_id.is_none() => Err(malformed(number, "a bulkId, as it is a POST")),
        Some(method) => Order::read(catalog, number, method, [version, path, data], trace),
    };
    Ok(Operation {
        method: method.map_or(given, |method| method.name().to_owned()),
        bulk_id,
        order,
    })
}

fn malformed(number: usize, expected: &str) -> Error {
    Rule::BulkOperation.at(number.to_string()).with("expected", expected)
}

fn creates(operations: &[Operation]) -> Result<HashMap<String, usize>, Error> {
    let mut places = HashMap::new();
    for (place, operation) in operations.iter().enumerate() {
        let Some(bulk_id) = &operation.bulk_id else { continue };
        if places.insert(bulk_id.clone(), place).is_some() {
            return Err(Rule::BulkIdTwice.at(bulk_id));
        }
    }
    places.retain(|_, place| operations[*place].method == Method::Post.name());
    Ok(places)
}

impl Operation {
    fn check_references(&mut self, creates: &HashMap<String, usize>) {
        let Ok(order) = &self.order else { return };
        let unknown = order.references.iter().find(|bulk_id| !creates.contains_key(*bulk_id));
        if let Some(bulk_id) = unknown {
            self.order = Err(Rule::BulkIdUnknown.at(bulk_id));
        } else if order.method == Method::Post && order.has_itself_as_member(self.bulk_id.as_ref()) {
            self.order = Err(Rule::OwnMember.at(self.bulk_id.as_deref().unwrap_or_default()));
        }
    }
}

impl Order {
    fn read(
        catalog: &Catalog,
        number: usize,
        method: Method,
        [version, path, data]: [Option<Value>; 3],
        trace: &mut Trace,
    ) -> Result<Order, Error> {
        let path = path.as_ref().and_then(Value::as_str).unwrap_or_default();
        let expected = "a path such as /Users or /Users/<id>, of a resource type listed under /ResourceTypes";
        let (of, target) = place(catalog, path).ok_or_else(|| malformed(number, expected))?;
        if (method == Method::Post) != target.is_none() {
            let expected = if target.is_none() {
                "POST"
            } else {
                "PUT, PATCH or DELETE"
            };
            return Err(Rule::MethodNotAllowed.at(method.name()).with("expected", expected));
        }
        let version = match version {
            None | Some(Value::Null) => None,
            Some(Value::String(version)) => Some(version),
            Some(_) => return Err(malformed(number, "a text as version")),
        };
        if version.is_some() && method == Method::Post {
            trace.note(Quirk::UnknownMember, "Operations.version");
        }
        let data = match (method, data) {
            (Method::Delete, given) => {
                if given.is_some() {
                    trace.note(Quirk::UnknownMember, "Operations.data");
                }
                Value::Null
            }
            (_, Some(data @ Value::Object(_))) => data,
            _ => return Err(malformed(number, "an object as data")),
        };
        let mut references = reference::all(&data);
        if let Some(Target::BulkId(bulk_id)) = &target
            && !references.contains(bulk_id)
        {
            references.push(bulk_id.clone());
        }
        Ok(Order {
            of,
            method,
            target,
            version,
            data,
            references,
        })
    }

    fn has_itself_as_member(&self, bulk_id: Option<&String>) -> bool {
        let own: Vec<String> = bulk_id.into_iter().cloned().collect();
        let mut members = self.data.as_object().into_iter().flatten();
        members.any(|(key, value)| key.eq_ignore_ascii_case("members") && reference::mentions(key, value, &own))
    }
}

/// What a path names: the endpoint of a resource type, or one resource. It is relative to the Tenant URL, and leads
/// nowhere else: no host, no query, no way up.
fn place(catalog: &Catalog, path: &str) -> Option<(Arc<ResourceType>, Option<Target>)> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (endpoint, id) = path.split_once('/').unwrap_or((path, ""));
    let of = Arc::clone(catalog.by_endpoint(&format!("/{endpoint}"))?);
    let id = percent_encoding::percent_decode_str(id).decode_utf8().ok()?;
    if id.is_empty() {
        return Some((of, None));
    }
    if let Some(bulk_id) = reference::bulk_id(&id) {
        return Some((of, Some(Target::BulkId(bulk_id.to_owned()))));
    }
    let is_dots = id.bytes().all(|byte| byte == b'.');
    (is_id(&id) && !is_dots).then(|| (of, Some(Target::Id(id.into_owned()))))
}
