//! What may be set once (RFC 7643 §7).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::error::{Error, Rule};
use super::super::schema::{Attribute, Extension, Mutability, ResourceType, Schema};
use super::Attributes;

/// Refuses `after` if it changes what `before` has in an immutable attribute (RFC 7643 §7).
pub fn check_immutable(rt: &ResourceType, before: &Attributes, after: &Attributes) -> Result<(), Error> {
    for attribute in &rt.schema.attributes {
        check_unchanged(
            attribute,
            &attribute.name,
            before.0.get(&attribute.name),
            after.0.get(&attribute.name),
        )?;
    }
    for Extension { schema, .. } in &rt.extensions {
        for attribute in &schema.attributes {
            let path = format!("{}:{}", schema.id, attribute.name);
            let [before, after] = [before, after].map(|of| of.0.get(&schema.id).and_then(|e| e.get(&attribute.name)));
            check_unchanged(attribute, &path, before, after)?;
        }
    }
    Ok(())
}

/// Takes over from `before` what is immutable and left out.
pub(super) fn keep_immutable(rt: &ResourceType, before: &Attributes, after: &mut Attributes) {
    keep_each(&rt.schema, &before.0, &mut after.0);
    for Extension { schema, .. } in &rt.extensions {
        if let Some(Value::Object(before)) = before.0.get(&schema.id) {
            let mut members = after
                .0
                .get_mut(&schema.id)
                .and_then(Value::as_object_mut)
                .map(std::mem::take);
            let kept = members.get_or_insert_default();
            keep_each(schema, before, kept);
            if !kept.is_empty() {
                after.0.insert(schema.id.clone(), Value::Object(std::mem::take(kept)));
            }
        }
    }
}

fn keep_each(schema: &Schema, before: &Map<String, Value>, after: &mut Map<String, Value>) {
    for attribute in schema
        .attributes
        .iter()
        .filter(|attribute| attribute.mutability == Mutability::Immutable)
    {
        if let (Some(kept), None) = (before.get(&attribute.name), after.get(&attribute.name)) {
            after.insert(attribute.name.clone(), kept.clone());
        }
    }
}

fn check_unchanged(
    attribute: &Attribute,
    path: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Result<(), Error> {
    let Some(before) = before else { return Ok(()) };
    if attribute.mutability == Mutability::Immutable && after != Some(before) {
        return Err(Rule::Immutable.at(path));
    }
    let immutable = attribute
        .sub_attributes
        .iter()
        .filter(|sub| sub.mutability == Mutability::Immutable);
    for sub in immutable {
        for (before, after) in counterparts(before, after) {
            if before
                .get(&sub.name)
                .is_some_and(|value| after.get(&sub.name) != Some(value))
            {
                return Err(Rule::Immutable.at(format!("{path}.{}", sub.name)));
            }
        }
    }
    Ok(())
}

/// The values that are the same one before and after: the only one, or those with the same `value`.
fn counterparts<'a>(before: &'a Value, after: Option<&'a Value>) -> Vec<(&'a Value, &'a Value)> {
    match (before, after) {
        (Value::Array(before), Some(Value::Array(after))) => {
            let by_value: HashMap<&str, &Value> =
                after.iter().filter_map(|v| Some((v["value"].as_str()?, v))).collect();
            before
                .iter()
                .filter_map(|v| Some((v, *by_value.get(v["value"].as_str()?)?)))
                .collect()
        }
        (before @ Value::Object(_), Some(after @ Value::Object(_))) => vec![(before, after)],
        _ => Vec::new(),
    }
}
