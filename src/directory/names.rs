//! The names of other resources in a resource's document. They are never stored, so they are never out of date.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Directory, Error, Stored, edges::resource_key};
use crate::{
    scim::{
        members::Kind,
        projection::Selection,
        schema::{Attribute, Extension, ResourceType},
    },
    store::Row,
};

/// Resources whose names are looked up for one answer. An attribute that refers to more is shown without any.
const MAX_NAMED: usize = 100;

/// A value that refers to another resource.
struct Reference<'d> {
    kind: Kind,
    id: String,
    value: &'d mut Map<String, Value>,
    /// Where in the value the name belongs.
    part: &'d str,
}

impl Directory {
    /// Adds to a complete document the names of other resources that the selection shows, with one more round trip for
    /// each 32. Who does not exist, or has no name, is left without.
    pub async fn name_others(
        &self,
        of: &ResourceType,
        document: &mut Map<String, Value>,
        selection: &Selection,
    ) -> Result<(), Error> {
        let references = references(of, document, selection);
        let keys: Vec<String> = references.iter().map(|it| resource_key(&it.id, it.kind)).collect();
        let names: HashMap<String, Value> = self.each(&keys, name).await?.into_iter().flatten().collect();
        for reference in references {
            if let Some(name) = names.get(&reference.id) {
                reference.value.insert(reference.part.to_owned(), name.clone());
            }
        }
        Ok(())
    }
}

/// What people call a resource, and its id.
fn name(row: Option<&Row>) -> Result<Option<(String, Value)>, Error> {
    let Some(stored) = row.map(Stored::read).transpose()? else {
        return Ok(None);
    };
    let name = stored.attributes.as_map().get("displayName").cloned();
    Ok(name.map(|name| (stored.envelope.id, name)))
}

/// The values of a complete document beside which the selection shows names: at most [`MAX_NAMED`], those of attributes with
/// few values before others.
fn references<'d>(
    of: &'d ResourceType,
    document: &'d mut Map<String, Value>,
    selection: &Selection,
) -> Vec<Reference<'d>> {
    let mut found: Vec<Vec<Reference<'d>>> = Vec::new();
    for (name, value) in document {
        match (of.extension(name), value) {
            (Some(extension), Value::Object(attributes)) => {
                for (name, value) in attributes {
                    let attribute = extension.schema.attribute(name);
                    found.extend(attribute.map(|it| of_attribute(Some(extension), it, value, selection)));
                }
            }
            (_, value) => {
                let attribute = of.attribute(name);
                found.extend(attribute.map(|it| of_attribute(None, it, value, selection)));
            }
        }
    }
    found.sort_by_key(Vec::len);
    let mut left = MAX_NAMED;
    found
        .into_iter()
        .take_while(|references| {
            let fits = references.len() <= left;
            left = left.saturating_sub(references.len());
            fits
        })
        .flatten()
        .collect()
}

fn of_attribute<'d>(
    extension: Option<&Extension>,
    attribute: &'d Attribute,
    value: &'d mut Value,
    selection: &Selection,
) -> Vec<Reference<'d>> {
    let shown = attribute
        .name_of_other()
        .filter(|part| selection.includes_part(extension, attribute, &part.name));
    let Some(part) = shown else {
        return Vec::new();
    };
    let values = match value {
        Value::Array(values) => &mut values[..],
        value => std::slice::from_mut(value),
    };
    values
        .iter_mut()
        .filter_map(|value| reference(attribute, &part.name, value))
        .collect()
}

/// What a value refers to: what its attribute always refers to, or what it says itself. The `type` of a user's `groups` says
/// something else.
fn reference<'d>(attribute: &Attribute, part: &'d str, value: &'d mut Value) -> Option<Reference<'d>> {
    let value = value.as_object_mut()?;
    let kind = match &attribute.sub_attribute("$ref")?.reference_types[..] {
        [kind] => Kind::from_keyword(kind)?,
        _ => value
            .get("type")
            .and_then(Value::as_str)
            .and_then(Kind::from_keyword)
            .unwrap_or(Kind::Group),
    };
    Some(Reference {
        kind,
        id: value.get("value")?.as_str()?.to_owned(),
        value,
        part,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::super::{edges::READ_AT_ONCE, tests::World};
    use crate::scim::{projection::Selection, schema::ENTERPRISE_USER_URN};

    /// A user with a manager and so many groups, of whom there are some.
    async fn refers(groups: usize) -> (World, Map<String, Value>) {
        let world = World::new().await;
        let named = |number: usize| (format!("g{number}"), json!({ "displayName": format!("G{number}") }));
        world.fill("g", (0..groups.min(50)).map(named)).await;
        let boss = ("boss".to_owned(), json!({ "userName": "b", "displayName": "B" }));
        world.fill("u", [boss].into_iter()).await;
        let values = (0..groups).map(|number| json!({ "value": format!("g{number}"), "type": "direct" }));
        let user = json!({
            "id": "2819c223", "groups": values.collect::<Vec<_>>(), ENTERPRISE_USER_URN: { "manager": { "value": "boss" } },
        });
        (world, user.as_object().unwrap().clone())
    }

    /// R-PROJ-02, design §4: names that are shown are looked up, at most a hundred, and no others.
    #[tokio::test]
    async fn names_are_looked_up_where_they_are_shown() {
        let manager = format!("{ENTERPRISE_USER_URN}:manager");
        for (groups, attributes, excluded, expected) in [
            (2, "", "", (2, 1)),
            (2, "groups", "", (2, 0)),
            (2, "groups.display", "", (2, 0)),
            (2, "groups.type,manager.value", "", (0, 0)),
            (2, &*format!("{manager}.displayName"), "", (0, 1)),
            (2, "", "groups.display", (0, 1)),
            (2, "", "groups,manager", (0, 0)),
            (99, "", "", (50, 1)),
            (100, "", "", (0, 1)),
            (100, "groups", "", (50, 0)),
            (5_000, "", "", (0, 1)),
            (5_000, "groups.display", "", (0, 0)),
            (5_000, "groups.type,manager.value", "", (0, 0)),
        ] {
            let (world, mut document) = refers(groups).await;
            let selection = Selection::parse(&world.users, Some(attributes), Some(excluded)).unwrap();
            world.store.take();
            let named = world.directory.name_others(&world.users, &mut document, &selection);
            named.await.unwrap();
            let counts = world.store.take();
            let groups = document["groups"].as_array().unwrap();
            let named = groups.iter().filter(|group| group.get("display").is_some()).count();
            let manager = &document[ENTERPRISE_USER_URN]["manager"];
            let boss = usize::from(manager.get("displayName") == Some(&json!("B")));
            let case = format!("{} groups, {attributes} {excluded}", groups.len());
            assert_eq!((named, boss), expected, "{case}");
            let looked_up = match expected {
                (0, managers) => managers,
                (_, managers) => groups.len() + managers,
            };
            assert_eq!(counts.gets, looked_up.div_ceil(READ_AT_ONCE), "{case}");
            assert!(counts.round_trips <= looked_up.div_ceil(32), "{case}");
        }
    }
}
