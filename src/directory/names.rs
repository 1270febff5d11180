//! The names of other resources in a resource's document. They are never stored, so they are never out of date.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Directory, Error, Stored, edges::resource_key, links};
use crate::scim::{
    members::Kind,
    schema::{ENTERPRISE_USER_URN, ResourceType},
};

/// Resources whose names are looked up for one answer; one that refers to more has no names at all.
const MAX_NAMED: usize = 100;

/// The values of a document that refer to other resources: what each refers to, and where its name belongs.
fn references<'d>(
    of: &ResourceType,
    document: &'d mut Map<String, Value>,
) -> Vec<(Kind, String, &'d mut Map<String, Value>)> {
    let mut found = Vec::new();
    let linked = links::attribute(of);
    for (name, value) in document {
        match value {
            // RFC 7643 §4.3.
            Value::Object(extension) if name == ENTERPRISE_USER_URN => {
                if let Some(Value::Object(manager)) = extension.get_mut("manager") {
                    found.extend(reference(Kind::User, manager));
                }
            }
            Value::Array(values) if Some(name.as_str()) == linked => {
                found.extend(values.iter_mut().filter_map(|value| {
                    let value = value.as_object_mut()?;
                    let member = value.get("type").and_then(Value::as_str).and_then(Kind::from_keyword);
                    reference(member.unwrap_or(Kind::Group), value)
                }));
            }
            _ => {}
        }
    }
    found
}

fn reference(kind: Kind, value: &mut Map<String, Value>) -> Option<(Kind, String, &mut Map<String, Value>)> {
    let id = value.get("value")?.as_str()?.to_owned();
    Some((kind, id, value))
}

/// Whether a document refers to resources whose names belong into it, and to few enough.
pub fn refers_to_others(of: &ResourceType, document: &mut Map<String, Value>) -> bool {
    (1..=MAX_NAMED).contains(&references(of, document).len())
}

impl Directory {
    /// Adds to a document the names of the resources that it refers to, with one round trip. Who does not exist, or has
    /// no name, is left without.
    pub async fn name_others(&self, of: &ResourceType, document: &mut Map<String, Value>) -> Result<(), Error> {
        let references = references(of, document);
        let keys: Vec<String> = references.iter().map(|(kind, id, _)| resource_key(id, *kind)).collect();
        let mut names = HashMap::new();
        for row in self.rows(&keys).await?.into_iter().flatten() {
            let stored = Stored::read(&row)?;
            if let Some(name) = name(&stored) {
                names.insert(stored.envelope.id, name);
            }
        }
        for (_, id, value) in references {
            if let Some(name) = names.get(&id) {
                // `manager` spells it differently (RFC 7643 §4.3).
                let attribute = if value.contains_key("type") {
                    "display"
                } else {
                    "displayName"
                };
                value.insert(attribute.to_owned(), name.clone());
            }
        }
        Ok(())
    }
}

/// What people call a resource.
fn name(stored: &Stored) -> Option<Value> {
    stored.attributes.as_map().get("displayName").cloned()
}
