//! The values that a client lists to have them removed.

use std::collections::HashSet;

use serde_json::Value;

use super::super::attributes::Identity;
use super::super::schema::Attribute;

/// The values that a `remove` lists.
pub(super) struct Listed {
    exactly: HashSet<Identity>,
    of_any_type: HashSet<Identity>,
}

impl Listed {
    pub(super) fn new(values: &[Value], definition: &Attribute) -> Listed {
        let exactly: HashSet<Identity> = values.iter().map(|value| Identity::of(value, definition)).collect();
        let of_any_type = exactly.iter().map(Identity::without_type).collect();
        Listed { exactly, of_any_type }
    }

    /// Whether `value` is listed: by its `value`, and by its `type` if both have one.
    pub(super) fn holds(&self, value: &Value, definition: &Attribute) -> bool {
        let identity = Identity::of(value, definition);
        match &identity {
            Identity::Named { kind: None, .. } => self.of_any_type.contains(&identity),
            _ => self.exactly.contains(&identity) || self.exactly.contains(&identity.without_type()),
        }
    }
}
