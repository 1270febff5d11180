//! Bulk requests (RFC 7644 §3.7): many writes in one message, which may refer to one another.
//!
//! A [`Job`] knows what is to be written next and what became of everything; whoever holds it does the writing. Each
//! operation is a write of its own: what one refuses leaves the others as they are.

mod message;
mod plan;
mod reference;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Value, json};

use super::error::{Error, Rule};
use super::normalize::Trace;
use super::patch::PATCH_OP_URN;
use super::resource::{self, Envelope};
use super::schema::{Catalog, ResourceType};
use super::write::Write;
use message::{Method, Operation, Order, Request, Target};
use plan::{Part, Step, plan};

/// URN of the bulk request (RFC 7644 §3.7).
pub const BULK_REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

/// URN of its answer.
pub const BULK_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// A bulk request being carried out.
pub struct Job {
    request: Request,
    /// What is left to do, the next one last.
    steps: Vec<Step>,
    /// What is being done.
    current: Option<Step>,
    /// One for each operation.
    outcomes: Vec<Outcome>,
    /// What was rewritten in the messages.
    pub trace: Trace,
}

/// What became of an operation.
enum Outcome {
    /// Nothing yet.
    Waiting,
    /// The resource is there, and still lacks what was left out of it.
    Begun(Envelope),
    /// All is done; without a resource after a DELETE.
    Done(Option<Envelope>),
    /// It failed; a resource that was created before that stays.
    Failed(Option<Envelope>, Error),
}

/// A write that is to be done.
#[derive(Debug)]
pub struct Task {
    /// Of which type the resource is.
    pub of: Arc<ResourceType>,
    /// The write, with ids in place of references.
    pub write: Write,
    /// The entity tags that the resource must have one of, as `If-Match` spells them.
    pub version: Option<String>,
}

impl Job {
    /// Reads a `BulkRequest`. What is wrong with one operation is that operation's own failure, and known before
    /// anything is written.
    ///
    /// # Errors
    /// `invalidSyntax` or `invalidValue` when the message as a whole is none, or two operations have the same bulkId;
    /// 413 beyond [`MAX_BULK_OPERATIONS`](super::limits::MAX_BULK_OPERATIONS).
    pub fn read(catalog: &Catalog, body: Value) -> Result<Job, Error> {
        let mut trace = Trace::default();
        let request = message::read(catalog, body, &mut trace)?;
        let needs = |order: &Order| -> Vec<usize> {
            order
                .references
                .iter()
                .map(|bulk_id| request.creates[bulk_id])
                .collect()
        };
        let needs: Vec<Vec<usize>> = request
            .operations
            .iter()
            .map(|operation| operation.order.as_ref().map_or_else(|_| Vec::new(), needs))
            .collect();
        let mut steps = plan(&needs);
        steps.reverse();
        Ok(Job {
            outcomes: request.operations.iter().map(|_| Outcome::Waiting).collect(),
            request,
            steps,
            current: None,
            trace,
        })
    }

    /// How many operations there are.
    pub fn operations(&self) -> usize {
        self.outcomes.len()
    }

    /// What is to be written next; none when all is done. [`Self::finish`] comes before the next call.
    pub fn next_task(&mut self) -> Option<Task> {
        while let Some(step) = self.steps.pop() {
            let task = match (step.part, &self.outcomes[step.operation]) {
                (Part::Most, _) if self.has_stopped() => continue,
                (Part::Most, _) => self.perform(&step),
                (Part::Rest, Outcome::Begun(envelope)) => self.complete(&step, envelope),
                (Part::Rest, _) => continue,
            };
            self.current = Some(step);
            match task {
                Ok(task) => return Some(task),
                Err(error) => self.finish(Err(error)),
            }
        }
        None
    }

    /// What became of the last task: the resource as it is now, or none after a DELETE.
    pub fn finish(&mut self, result: Result<Option<Envelope>, Error>) {
        let Some(step) = self.current.take() else { return };
        let is_incomplete = step.part == Part::Most && !step.without.is_empty();
        let outcome = &mut self.outcomes[step.operation];
        *outcome = match (result, &*outcome) {
            (Ok(Some(envelope)), _) if is_incomplete => Outcome::Begun(envelope),
            (Ok(envelope), _) => Outcome::Done(envelope),
            (Err(error), outcome) => Outcome::Failed(outcome.envelope().cloned(), error),
        };
    }

    /// Time is up: all that is not done has failed, and nothing more is to be written. What the last task still brings
    /// about is not told any more.
    pub fn abandon(&mut self) {
        let has_stopped = self.has_stopped();
        for outcome in &mut self.outcomes {
            let is_unfinished = match outcome {
                Outcome::Waiting => !has_stopped,
                Outcome::Begun(_) => true,
                Outcome::Done(_) | Outcome::Failed(..) => false,
            };
            if is_unfinished {
                *outcome = Outcome::Failed(outcome.envelope().cloned(), Rule::DeadlineExceeded.error());
            }
        }
        self.steps.clear();
        self.current = None;
    }

    /// Why operations failed.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Failed(_, error) => Some(error),
            _ => None,
        })
    }

    /// The `BulkResponse`, in the order of the request (RFC 7644 §3.7.3). Operations that were never begun, as there
    /// were as many errors as the client accepts, are not in it. `body` makes the error message.
    pub fn response(&self, base_url: &str, body: impl Fn(&Error) -> Value) -> Value {
        let all = 0..self.outcomes.len();
        let operations: Vec<Value> = all
            .filter_map(|operation| self.answer(operation, base_url, &body))
            .collect();
        json!({ "schemas": [BULK_RESPONSE_URN], "Operations": operations })
    }

    fn answer(&self, operation: usize, base_url: &str, body: impl Fn(&Error) -> Value) -> Option<Value> {
        let (envelope, error) = match &self.outcomes[operation] {
            Outcome::Waiting => return None,
            Outcome::Failed(envelope, error) => (envelope.as_ref(), Some(error)),
            outcome => (outcome.envelope(), None),
        };
        let Operation { method, bulk_id, order } = &self.request.operations[operation];
        let order = order.as_ref().ok();
        let location = order.and_then(|order| {
            let created = envelope.map(|envelope| envelope.id.as_str());
            let id = created.or_else(|| self.target_id(order))?;
            Some(resource::location(base_url, &order.of.endpoint, id))
        });
        let status = match (error, order.map(|order| order.method)) {
            (Some(error), _) => error.status(),
            (None, Some(Method::Post)) => 201,
            (None, Some(Method::Delete)) => 204,
            (None, _) => 200,
        };
        let members = [
            ("location", location.map(Value::from)),
            ("method", Some(method.as_str().into())),
            ("bulkId", bulk_id.as_deref().map(Value::from)),
            ("version", envelope.map(|envelope| envelope.etag().into())),
            ("status", Some(status.to_string().into())),
            ("response", error.map(body)),
        ];
        let there = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Some(Value::Object(there.collect()))
    }

    /// As many operations have failed as the client accepts.
    fn has_stopped(&self) -> bool {
        let limit = self.request.fail_on_errors;
        limit.is_some_and(|limit| self.errors().count() >= limit)
    }

    /// The write of an operation, without what refers back to it.
    fn perform(&self, step: &Step) -> Result<Task, Error> {
        let order = self.request.operations[step.operation]
            .order
            .as_ref()
            .map_err(Clone::clone)?;
        let without = self.bulk_ids(order, &step.without);
        for bulk_id in order.references.iter().filter(|bulk_id| !without.contains(bulk_id)) {
            self.check_there(bulk_id, Rule::BulkReferenceFailed)?;
        }
        let (data, _) = self.resolved(order, &without);
        let id = self.target_id(order).unwrap_or_default().to_owned();
        Ok(Task {
            of: Arc::clone(&order.of),
            write: match order.method {
                Method::Post => Write::Create { document: data },
                Method::Put => Write::Replace { id, document: data },
                Method::Patch => Write::Patch { id, message: data },
                Method::Delete => Write::Delete { id },
            },
            version: order.version.clone(),
        })
    }

    /// The write that adds to a new resource what was left out of it.
    fn complete(&self, step: &Step, envelope: &Envelope) -> Result<Task, Error> {
        let order = self.request.operations[step.operation]
            .order
            .as_ref()
            .map_err(Clone::clone)?;
        let without = self.bulk_ids(order, &step.without);
        for bulk_id in &without {
            self.check_there(bulk_id, Rule::BulkReferenceMissing)?;
        }
        let (_, rest) = self.resolved(order, &without);
        let operation = json!({ "op": "add", "value": rest });
        Ok(Task {
            of: Arc::clone(&order.of),
            write: Write::Patch {
                id: envelope.id.clone(),
                message: json!({ "schemas": [PATCH_OP_URN], "Operations": [operation] }),
            },
            version: None,
        })
    }

    /// An operation's data, and apart from it what refers to `without`; both with ids in place of references.
    fn resolved(&self, order: &Order, without: &[String]) -> (Value, Value) {
        let mut data = order.data.clone();
        let rest = match &mut data {
            Value::Object(document) if !without.is_empty() => reference::take_out(document, without).into(),
            _ => Value::Null,
        };
        let id_of = &mut |bulk_id: &str| self.created(bulk_id).map(|envelope| envelope.id.clone());
        (reference::resolved(&data, id_of), reference::resolved(&rest, id_of))
    }

    /// Those of an operation's references that lead to one of `these` operations.
    fn bulk_ids(&self, order: &Order, these: &[usize]) -> Vec<String> {
        let leads_there = |bulk_id: &&String| these.contains(&self.request.creates[*bulk_id]);
        order.references.iter().filter(leads_there).cloned().collect()
    }

    /// The id of the resource that an operation changes.
    fn target_id<'j>(&'j self, order: &'j Order) -> Option<&'j str> {
        match order.target.as_ref()? {
            Target::Id(id) => Some(id),
            Target::BulkId(bulk_id) => self.created(bulk_id).map(|envelope| envelope.id.as_str()),
        }
    }

    /// The resource that stands behind a bulkId, as soon as there is one.
    fn created(&self, bulk_id: &str) -> Option<&Envelope> {
        self.outcomes[self.request.creates[bulk_id]].envelope()
    }

    fn check_there(&self, bulk_id: &str, otherwise: Rule) -> Result<(), Error> {
        match &self.outcomes[self.request.creates[bulk_id]] {
            // The client cannot mend what failed on our side; all it takes is another try, here as there.
            Outcome::Failed(None, error) if error.status() >= 500 => Err(error.clone()),
            outcome if outcome.envelope().is_none() => Err(otherwise.at(bulk_id)),
            _ => Ok(()),
        }
    }
}

impl Outcome {
    /// The resource as it was left.
    fn envelope(&self) -> Option<&Envelope> {
        match self {
            Outcome::Waiting => None,
            Outcome::Begun(envelope) => Some(envelope),
            Outcome::Done(envelope) | Outcome::Failed(envelope, _) => envelope.as_ref(),
        }
    }
}
