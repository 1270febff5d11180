//! What is known of the request that the current task works for.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, Value};
use time::OffsetDateTime;

use super::row;

tokio::task_local! {
    static CURRENT: Arc<Scope>;
}

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// What every row of a request has, so that rows of any kind can be grouped by tenant without a join.
const SHARED: [&str; 2] = ["scim.tenant", "faas.invocation_id"];

/// A request's place in its trace (W3C Trace Context §3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Trace id.
    pub trace: [u8; 16],
    /// Span id of the request itself.
    pub span: [u8; 8],
    /// Span id of whoever called us, if that is known.
    pub parent: Option<[u8; 8]>,
}

/// One request: its identifiers, and facts for its row by the names of their attributes.
#[derive(Debug)]
pub struct Scope {
    ids: Ids,
    facts: Mutex<Vec<(&'static str, Value)>>,
    /// How often a call of this name to another service failed, since it last did not.
    failed: Mutex<HashMap<String, i64>>,
}

impl Scope {
    /// A request that begins.
    pub fn new(ids: Ids) -> Arc<Self> {
        let before = UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        let scope = Self {
            ids,
            facts: Mutex::default(),
            failed: Mutex::default(),
        };
        scope.note("scim.inflight", i64::try_from(before + 1).unwrap_or(i64::MAX));
        Arc::new(scope)
    }

    /// Sets a fact of this request.
    pub fn note(&self, name: &'static str, value: impl Into<Value>) {
        let (mut facts, value) = (self.facts(), value.into());
        match facts.iter_mut().find(|(known, _)| *known == name) {
            Some(fact) => fact.1 = value,
            None => facts.push((name, value)),
        }
    }

    /// Sends the request's row; `failed` says how we failed, if we did.
    pub fn end(&self, began: OffsetDateTime, took: Duration, failed: Option<Cow<'static, str>>) {
        row::request(self, began, took, failed);
    }

    /// The request that the current task works for.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    pub(super) fn ids(&self) -> Ids {
        self.ids
    }

    /// How often a call was tried before, as far as its name tells.
    pub(super) fn tried(&self, call: &str) -> i64 {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(call).copied().unwrap_or(0)
    }

    /// A call has ended.
    pub(super) fn called(&self, call: &str, failed: bool) {
        let mut all = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed {
            *all.entry(call.to_owned()).or_default() += 1;
        } else {
            all.remove(call);
        }
    }

    pub(super) fn all(&self) -> Vec<KeyValue> {
        let facts = self.facts();
        facts
            .iter()
            .map(|(name, value)| KeyValue::new(*name, value.clone()))
            .collect()
    }

    /// What the request's other rows have of it.
    pub(super) fn shared(&self) -> Vec<KeyValue> {
        let facts = self.facts();
        let found = |name: &str| facts.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let mut shared: Vec<KeyValue> = SHARED
            .into_iter()
            .filter_map(|name| Some(KeyValue::new(name, found(name)?.clone())))
            .collect();
        if let (Some(method), Some(route)) = (found("http.request.method"), found("http.route")) {
            shared.push(KeyValue::new("ai.operation.name", format!("{method} {route}")));
        }
        shared
    }

    fn facts(&self) -> MutexGuard<'_, Vec<(&'static str, Value)>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests that this process works for now; a write that outlives its client's patience counts until it ends.
pub fn requests_under_way() -> usize {
    UNDER_WAY.load(Ordering::Relaxed)
}

/// Runs what works for a request.
pub fn within<F: Future>(scope: Arc<Scope>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(scope, work)
}

/// The same for a task of its own, which would not know whom it works for.
pub fn same_request<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let scope = Scope::current();
    async move {
        match scope {
            Some(scope) => CURRENT.scope(scope, work).await,
            None => work.await,
        }
    }
}

/// Sets a fact of the current request, if there is one. Never a value that a client gave: names of attributes, counts, ids of
/// our own, hashes with a key.
pub fn note(name: &'static str, value: impl Into<Value>) {
    let _ = CURRENT.try_with(|scope| scope.note(name, value));
}

/// The same for a number of things.
pub fn count(name: &'static str, number: usize) {
    note(name, i64::try_from(number).unwrap_or(i64::MAX));
}

/// Sets a fact that the current request does not have yet; what it takes to know it is not done twice.
pub fn note_once(name: &'static str, value: impl FnOnce() -> Option<String>) {
    let _ = CURRENT.try_with(|scope| {
        let is_new = !scope.facts().iter().any(|(known, _)| *known == name);
        if let Some(value) = is_new.then(value).flatten() {
            scope.note(name, value);
        }
    });
}

/// A fact of the current request, as it was noted last.
pub fn noted(name: &'static str) -> Option<String> {
    let found = |scope: &Arc<Scope>| {
        let facts = scope.facts();
        let fact = facts.iter().find(|(known, _)| *known == name);
        fact.map(|(_, value)| value.to_string())
    };
    CURRENT.try_with(found).ok().flatten()
}
