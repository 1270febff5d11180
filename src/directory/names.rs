//! The names of other resources in a resource's document. They are never stored, so they are never out of date.

use serde_json::{Map, Value};

use super::{Directory, Error};
use crate::scim::{schema::ENTERPRISE_USER_URN, schema::ResourceType};

/// An attribute that refers to another resource of the same type, and what shows that resource's name.
struct Reference {
    resource_type: &'static str,
    extension: &'static str,
    attribute: &'static str,
    name: &'static str,
}

/// RFC 7643 §4.3.
const MANAGER: Reference = Reference {
    resource_type: "User",
    extension: ENTERPRISE_USER_URN,
    attribute: "manager",
    name: "displayName",
};

/// Whether a document, as it is shown, refers to resources whose names belong into it.
pub fn refers_to_others(of: &ResourceType, document: &Map<String, Value>) -> bool {
    of.name == MANAGER.resource_type
        && document
            .get(MANAGER.extension)
            .is_some_and(|it| it.get(MANAGER.attribute).is_some())
}

impl Directory {
    /// Adds to a document the names of the resources that it refers to, with one round trip if there are any. Who does
    /// not exist, or has no name, is left without.
    pub async fn name_others(&self, of: &ResourceType, document: &mut Map<String, Value>) -> Result<(), Error> {
        if of.name != MANAGER.resource_type {
            return Ok(());
        }
        let manager = document
            .get_mut(MANAGER.extension)
            .and_then(|extension| extension.get_mut(MANAGER.attribute));
        let Some(Value::Object(manager)) = manager else {
            return Ok(());
        };
        let Some(id) = manager.get("value").and_then(Value::as_str) else {
            return Ok(());
        };
        let found = self.read_all(of, &[id]).await?.pop().flatten();
        if let Some(name) = found.and_then(|found| found.attributes.as_map().get("displayName").cloned()) {
            manager.insert(MANAGER.name.to_owned(), name);
        }
        Ok(())
    }
}
