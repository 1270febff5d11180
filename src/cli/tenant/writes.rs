//! What `scimgate tenant show` says of a tenant's writes.

use serde_json::{Value, json};

use crate::tenants::{ALL_WRITES, Count};

/// What a tenant wrote in the last 24 hours.
pub(super) struct Writes {
    all: u64,
    /// By rule, the most frequent first.
    failed: Vec<Count>,
}

impl Writes {
    pub(super) fn of(counts: Vec<Count>) -> Self {
        let (all, failed): (Vec<Count>, _) = counts.into_iter().partition(|count| count.name == ALL_WRITES);
        Self {
            all: all.first().map_or(0, |count| count.requests),
            failed,
        }
    }

    fn failures(&self) -> u64 {
        self.failed.iter().map(|count| count.requests).sum()
    }

    pub(super) fn text(&self) -> String {
        let rules = self
            .failed
            .iter()
            .map(|count| format!("{} {}", count.name, count.requests));
        let rules = rules.collect::<Vec<_>>().join(", ");
        let failed = match self.failures() {
            0 => "none failed".to_owned(),
            failed => format!("{failed} failed ({rules}; docs/errors.md explains them)"),
        };
        format!("{} in the last 24 h, {failed}", self.all)
    }

    pub(super) fn json(&self) -> Value {
        let rules = self
            .failed
            .iter()
            .map(|count| (count.name.clone(), json!(count.requests)));
        json!({ "requests": self.all, "failed": self.failures(), "byRule": rules.collect::<serde_json::Map<_, _>>() })
    }
}
