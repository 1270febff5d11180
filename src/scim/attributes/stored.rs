//! What is stored, seen through the schemas in force. A tenant's extension may have been changed or removed since a value
//! was accepted, or an instance may not know it yet: what does not fit is not shown, and outlasts every change of something
//! else.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::resource::parse_date_time;
use super::super::schema::{Attribute, Extension, Mutability, ResourceType, Type};
use super::Attributes;

#[cfg(test)]
mod tests;

/// Why a stored value has no place in other schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misfit {
    /// They do not have the attribute.
    Removed,
    /// There it has another type.
    OtherType,
    /// There it has several values.
    MultiValued,
    /// There it has one value.
    SingleValued,
    /// There nobody can give it a value.
    ReadOnly,
    /// There it must have a value, and has none.
    Required,
}

impl Misfit {
    /// For people: what stands behind the name of the attribute.
    pub fn reason(self) -> &'static str {
        match self {
            Misfit::Removed => "has a value, and would be gone",
            Misfit::OtherType => "has a value of another type",
            Misfit::MultiValued => "has a single value",
            Misfit::SingleValued => "has an array of values",
            Misfit::ReadOnly => "has a value, and would be read-only",
            Misfit::Required => "has no value, and would be required",
        }
    }
}

/// What in a resource fits the schemas of `now`, and not those of `then`: paths with the reason.
pub fn misfits(now: &ResourceType, then: &ResourceType, stored: &Attributes) -> Vec<(String, Misfit)> {
    let shown = stored.visible(now);
    let mut found = Vec::new();
    for Extension { schema, .. } in &now.extensions {
        let extension = then.extensions.iter().find(|other| other.schema.id == schema.id);
        for (name, value) in members(&shown, &schema.id) {
            let path = format!("{}:{name}", schema.id);
            match extension.and_then(|extension| own(&extension.schema.attributes, name)) {
                Some(attribute) => find_misfits(attribute, &path, value, &mut found),
                None => found.push((path, Misfit::Removed)),
            }
        }
    }
    for extension in &then.extensions {
        find_missing(now, extension, &shown, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

impl Attributes {
    /// What the schemas in force show of it; all of it, but for values of extensions that were changed or removed.
    pub(in super::super) fn visible(&self, rt: &ResourceType) -> Cow<'_, Attributes> {
        let is_whole = |(key, value): (&String, &Value)| match extension(rt, key) {
            Some(extension) => value.as_object().is_some_and(|members| {
                let fits = |(name, value): (&String, &Value)| {
                    own(&extension.schema.attributes, name).is_some_and(|it| fits(it, value) && is_known(it, value))
                };
                members.iter().all(fits)
            }),
            None => is_core(rt, key),
        };
        if self.0.iter().all(is_whole) {
            return Cow::Borrowed(self);
        }
        let shown = self.0.iter().filter_map(|(key, value)| {
            let Some(extension) = extension(rt, key) else {
                return is_core(rt, key).then(|| (key.clone(), value.clone()));
            };
            let members = value.as_object()?.iter().filter_map(|(name, value)| {
                let attribute = own(&extension.schema.attributes, name).filter(|it| fits(it, value))?;
                Some((name.clone(), known_parts(attribute, value)))
            });
            let members: Map<String, Value> = members.collect();
            (!members.is_empty()).then(|| (key.clone(), Value::Object(members)))
        });
        Cow::Owned(Attributes(shown.collect()))
    }

    /// Puts back what `stored` holds and did not show, where a change left alone what it did show: `visible` became this.
    pub(in super::super) fn keep_hidden(&mut self, stored: &Attributes, visible: &Attributes) {
        for (key, value) in stored
            .0
            .iter()
            .filter(|(key, value)| visible.0.get(*key) != Some(value))
        {
            let Value::Object(members) = value else {
                self.0.entry(key).or_insert_with(|| value.clone());
                continue;
            };
            for (name, value) in members {
                let shown = member(visible, key, name);
                if shown != Some(value) && shown == member(self, key, name) {
                    let holder = self.0.entry(key).or_insert_with(|| Map::new().into());
                    if let Some(holder) = holder.as_object_mut() {
                        holder.insert(name.clone(), value.clone());
                    }
                }
            }
        }
    }
}

fn find_misfits(attribute: &Attribute, path: &str, value: &Value, found: &mut Vec<(String, Misfit)>) {
    let values = match (attribute.multi_valued, value) {
        _ if attribute.mutability == Mutability::ReadOnly => return found.push((path.to_owned(), Misfit::ReadOnly)),
        (true, Value::Array(values)) => values.as_slice(),
        (true, _) => return found.push((path.to_owned(), Misfit::MultiValued)),
        (false, Value::Array(_)) => return found.push((path.to_owned(), Misfit::SingleValued)),
        (false, value) => std::slice::from_ref(value),
    };
    for value in values {
        let Value::Object(parts) = value else {
            if !single_fits(attribute, value) {
                found.push((path.to_owned(), Misfit::OtherType));
            }
            continue;
        };
        if attribute.kind != Type::Complex {
            found.push((path.to_owned(), Misfit::OtherType));
            continue;
        }
        for (name, value) in parts {
            let path = format!("{path}.{name}");
            match own(&attribute.sub_attributes, name) {
                Some(part) => find_misfits(part, &path, value, found),
                None => found.push((path, Misfit::Removed)),
            }
        }
        let missing = attribute
            .sub_attributes
            .iter()
            .filter(|part| part.required && !parts.contains_key(&part.name));
        found.extend(missing.map(|part| (format!("{path}.{}", part.name), Misfit::Required)));
    }
}

/// What `then` must have and did not have to have `now`.
fn find_missing(now: &ResourceType, then: &Extension, shown: &Attributes, found: &mut Vec<(String, Misfit)>) {
    let urn = &then.schema.id;
    let before = now.extensions.iter().find(|other| other.schema.id == *urn);
    if members(shown, urn).next().is_none() {
        if then.required && !before.is_some_and(|before| before.required) {
            found.push((urn.clone(), Misfit::Required));
        }
        return;
    }
    for attribute in then.schema.attributes.iter().filter(|attribute| attribute.required) {
        let was_required = before.is_some_and(|before| {
            own(&before.schema.attributes, &attribute.name).is_some_and(|attribute| attribute.required)
        });
        if !was_required && member(shown, urn, &attribute.name).is_none() {
            found.push((format!("{urn}:{}", attribute.name), Misfit::Required));
        }
    }
}

/// Whether the attribute could have accepted the value, apart from parts that it does not have.
fn fits(attribute: &Attribute, value: &Value) -> bool {
    attribute.mutability != Mutability::ReadOnly
        && match (attribute.multi_valued, value) {
            (true, Value::Array(values)) => values.iter().all(|value| single_fits(attribute, value)),
            (true, _) => false,
            (false, value) => single_fits(attribute, value),
        }
}

fn single_fits(attribute: &Attribute, value: &Value) -> bool {
    match attribute.kind {
        Type::String | Type::Binary | Type::Reference => value.is_string(),
        Type::Boolean => value.is_boolean(),
        Type::Integer => value.is_i64(),
        Type::Decimal => value.is_number(),
        Type::DateTime => value.as_str().is_some_and(|text| parse_date_time(text).is_some()),
        Type::Complex => value.as_object().is_some_and(|parts| {
            let known = || {
                attribute
                    .sub_attributes
                    .iter()
                    .filter(|part| parts.contains_key(&part.name))
            };
            known().next().is_some()
                && known().all(|part| fits(part, &parts[&part.name]))
                && attribute
                    .sub_attributes
                    .iter()
                    .all(|part| !part.required || parts.contains_key(&part.name))
        }),
    }
}

/// Whether the attribute has all the parts that the value has.
fn is_known(attribute: &Attribute, value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().all(|value| is_known(attribute, value)),
        Value::Object(parts) => parts.keys().all(|name| own(&attribute.sub_attributes, name).is_some()),
        _ => true,
    }
}

fn known_parts(attribute: &Attribute, value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(|value| known_parts(attribute, value)).collect(),
        Value::Object(parts) => {
            let known = parts
                .iter()
                .filter(|(name, _)| own(&attribute.sub_attributes, name).is_some());
            Value::Object(known.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        value => value.clone(),
    }
}

fn extension<'rt>(rt: &'rt ResourceType, urn: &str) -> Option<&'rt Extension> {
    rt.extensions.iter().find(|extension| extension.schema.id == urn)
}

/// Names in what is stored are canonical: one in another case is another schema's.
fn own<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name == name)
}

fn is_core(rt: &ResourceType, name: &str) -> bool {
    rt.attribute(name).is_some_and(|attribute| attribute.name == name)
}

fn members<'a>(attributes: &'a Attributes, urn: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    attributes.0.get(urn).and_then(Value::as_object).into_iter().flatten()
}

fn member<'a>(attributes: &'a Attributes, urn: &str, name: &str) -> Option<&'a Value> {
    attributes.0.get(urn)?.get(name)
}
