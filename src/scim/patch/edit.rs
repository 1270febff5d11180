//! One operation after the other on a copy of the resource's JSON.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::attributes::ACTIVE;
use super::super::error::{Error, Rule};
use super::super::filter::Filter;
use super::super::members::Edits;
use super::super::normalize::{Quirk, Trace};
use super::super::path::Path;
use super::super::schema::{Attribute, Mutability, ResourceType, Type};
use super::members;
use super::message::{Kind, Operation};
use super::values::Target;

/// Bytes of the values that the operations go through, each time times the bytes of the path's filter: below a second of
/// work. A thousand operations with Entra's filters on a user with 40 e-mail addresses stay below it.
const MAX_WORK: usize = 250_000_000;

/// The copy that is edited. Names in it are canonical, values typed, from the first operation to the last.
pub(super) struct Editor<'a> {
    rt: &'a ResourceType,
    document: Map<String, Value>,
    members: Edits,
    /// The number of the operation that is performed.
    number: String,
    work: usize,
    trace: &'a mut Trace,
}

impl<'a> Editor<'a> {
    pub(super) fn new(rt: &'a ResourceType, document: Map<String, Value>, trace: &'a mut Trace) -> Editor<'a> {
        Editor {
            rt,
            document,
            members: Edits::default(),
            number: String::new(),
            work: 0,
            trace,
        }
    }

    pub(super) fn finish(self) -> (Map<String, Value>, Edits) {
        (self.document, self.members)
    }

    pub(super) fn perform(&mut self, operation: Operation) -> Result<(), Error> {
        let Operation {
            number,
            kind,
            path,
            value,
        } = operation;
        self.number.clone_from(&number);
        match (kind, path, value) {
            (Kind::Remove, None, _) => Err(Rule::RemoveWithoutPath.at(number)),
            (Kind::Remove, Some(path), value) => match self.resolve(&path)? {
                Some(path) => self.remove(&path, value.filter(|value| !value.is_null())),
                None => Ok(()),
            },
            (_, path, None) => {
                let name = path.as_deref().and_then(|path| path.split('[').next());
                let name = name.unwrap_or("its attributes").to_owned();
                Err(Rule::ValueMissing.at(number).with("expected", name))
            }
            (_, Some(path), Some(value)) => match self.resolve(&path)? {
                Some(path) => self.set_explicitly(kind, &path, value),
                None => Ok(()),
            },
            (_, None, Some(Value::Object(members))) => self.set_members(kind, "", members),
            (_, None, Some(_)) => Err(Rule::ValueNotObject.at(number)),
        }
    }

    /// The path, if the schema has the attribute. One it has not is left out and noted: Entra sends what the customer's
    /// mapping names, and one row too many there must not stop all the others.
    fn resolve(&mut self, text: &str) -> Result<Option<Path>, Error> {
        let path = Path::parse(self.rt, text, self.trace)?;
        if path.is_none() {
            self.note_unknown(text);
        }
        Ok(path)
    }

    fn note_unknown(&mut self, text: &str) {
        self.trace.note(Quirk::UnknownAttribute, text.trim());
    }

    fn set_explicitly(&mut self, kind: Kind, path: &Path, value: Value) -> Result<(), Error> {
        if self.is_read_only(path) {
            return Err(Rule::ReadOnly.at(path.name()));
        }
        self.set(kind, path, value)
    }

    /// An operation without path: each member is an operation on its own (RFC 7644 §3.5.2.1). Entra's keys are whole
    /// paths; Okta repeats the `id`. `place` is put before the keys: an extension's URN and a colon, or nothing.
    fn set_members(&mut self, kind: Kind, place: &str, members: Map<String, Value>) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for (key, value) in members {
            let text = format!("{place}{key}");
            let path = match Path::parse(self.rt, &text, self.trace) {
                Ok(Some(path)) => path,
                Ok(None) => {
                    self.note_unknown(&text);
                    continue;
                }
                // Without brackets it was not meant as a path: an attribute nobody knows, as in a new resource.
                Err(error) if error.rule() == Rule::PathSyntax && !key.contains('[') => {
                    self.note_unknown(&text);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !seen.insert(path.to_string()) {
                return Err(Rule::AttributeTwice.at(path.name()));
            }
            if self.is_read_only(&path) {
                self.trace.note(Quirk::ReadOnlyIgnored, path.name());
            } else {
                self.note_key(&key, &path);
                self.set(kind, &path, value)?;
            }
        }
        Ok(())
    }

    fn note_key(&mut self, key: &str, path: &Path) {
        if path.filter().is_some() {
            self.trace.note(Quirk::FilteredKey, path.name());
        } else if path.sub_attribute().is_some() {
            self.trace.note(Quirk::DottedKey, path.name());
        } else if path.attribute().is_some() && key.contains(':') {
            self.trace.note(Quirk::QualifiedKey, path.name());
        }
    }

    /// Whether only the service sets what the path ends at. `schemas` follows from the attributes, so it is such a one.
    fn is_read_only(&self, path: &Path) -> bool {
        let Some(definition) = path.definition(self.rt) else {
            return false;
        };
        let part = path.sub_attribute().and_then(|name| definition.sub_attribute(name));
        definition.mutability == Mutability::ReadOnly
            || part.is_some_and(|part| part.mutability == Mutability::ReadOnly)
            || is_schemas(path)
    }

    /// Whether the path leads to the members, which are no part of the copy.
    fn is_members(&self, path: &Path) -> bool {
        let members = self.rt.members();
        path.extension().is_none() && members.is_some_and(|members| path.attribute() == Some(&members.name))
    }

    fn set(&mut self, kind: Kind, path: &Path, value: Value) -> Result<(), Error> {
        let rt = self.rt;
        let Some(definition) = path.definition(rt) else {
            return self.set_extension(kind, path, value);
        };
        if self.is_members(path) {
            let target = members::Target::new(definition, path, &self.number)?;
            return target.set(&mut self.members, kind, value, self.trace);
        }
        let value = match value {
            Value::Array(mut values)
                if !definition.multi_valued && path.sub_attribute().is_none() && values.len() <= 1 =>
            {
                self.trace.note(Quirk::ArrayForSingle, path.name());
                values.pop().unwrap_or_default()
            }
            value => value,
        };
        self.edit(path, definition, |target, held, trace| {
            match (path.filter(), path.sub_attribute()) {
                (Some(filter), _) => target.set_chosen(kind, filter, held, &value, trace),
                (None, Some(_)) => target.set_parts(kind, held, &value, trace),
                (None, None) if definition.multi_valued && kind == Kind::Add => target.append(held, value, trace),
                (None, None) if is_merged(definition, &value) => target.set_parts(kind, held, &value, trace),
                (None, None) => target.replace_all(held, value, trace),
            }
        })
    }

    /// An extension's URN with an object: its members are the extension's attributes.
    fn set_extension(&mut self, kind: Kind, path: &Path, value: Value) -> Result<(), Error> {
        let urn = path.name();
        match value {
            Value::Object(members) => self.set_members(kind, &format!("{urn}:"), members),
            Value::Null => self.clear_extension(kind, &urn),
            Value::String(text) if text.is_empty() => {
                self.trace.note(Quirk::EmptyStringCleared, &urn);
                self.clear_extension(kind, &urn)
            }
            _ => Err(Rule::WrongType.at(urn).with("expected", "an object")),
        }
    }

    fn clear_extension(&mut self, kind: Kind, urn: &str) -> Result<(), Error> {
        if kind == Kind::Replace {
            self.remove_extension(urn)
        } else {
            Ok(())
        }
    }

    fn remove_extension(&mut self, urn: &str) -> Result<(), Error> {
        if self.rt.extension(urn).is_some_and(|extension| extension.required) {
            return Err(Rule::RequiredRemoved.at(urn));
        }
        self.document.shift_remove(urn);
        Ok(())
    }

    fn remove(&mut self, path: &Path, listed: Option<Value>) -> Result<(), Error> {
        let rt = self.rt;
        if is_schemas(path) {
            return Err(Rule::RequiredRemoved.at(path.name()));
        }
        if self.is_read_only(path) {
            return Err(Rule::ReadOnly.at(path.name()));
        }
        let Some(definition) = path.definition(rt) else {
            return self.remove_extension(&path.name());
        };
        if self.is_members(path) {
            let target = members::Target::new(definition, path, &self.number)?;
            return target.remove(&mut self.members, listed, self.trace);
        }
        self.edit(path, definition, |target, held, trace| {
            target.remove(path.filter(), held, listed, trace)
        })?;
        if definition.required
            && path.name() != ACTIVE
            && self
                .holder(path)
                .is_none_or(|holder| !holder.contains_key(&definition.name))
        {
            return Err(Rule::RequiredRemoved.at(path.name()));
        }
        Ok(())
    }

    /// Hands the attribute's values to `edit` and puts back what it leaves of them.
    fn edit(
        &mut self,
        path: &Path,
        definition: &Attribute,
        edit: impl FnOnce(&Target<'_>, &mut Vec<Value>, &mut Trace) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let part = path.sub_attribute().and_then(|name| definition.sub_attribute(name));
        let target = Target {
            definition,
            part,
            name: path.attribute_name(),
        };
        let mut held = match self
            .holder(path)
            .and_then(|holder| holder.shift_remove(&definition.name))
        {
            None => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
        };
        self.spend(path.filter(), &held)?;
        edit(&target, &mut held, self.trace)?;
        held.retain(|value| !value.is_null() && value.as_object().is_none_or(|parts| !parts.is_empty()));
        let value = match (definition.multi_valued, held.len()) {
            (_, 0) => return Ok(()),
            (true, _) => Value::Array(held),
            (false, _) => held.swap_remove(0),
        };
        let holder = match path.extension() {
            None => &mut self.document,
            Some(urn) => {
                let extension = self.document.entry(urn).or_insert_with(|| Map::new().into());
                extension
                    .as_object_mut()
                    .expect("an extension's attributes are an object")
            }
        };
        holder.insert(definition.name.clone(), value);
        Ok(())
    }

    /// Refuses a message that would keep the processor busy for long: operations, filters and values may all be many.
    fn spend(&mut self, filter: Option<&Filter>, held: &[Value]) -> Result<(), Error> {
        let values: usize = held.iter().map(|value| value.to_string().len()).sum();
        // Without a filter the values are gone through a few times too.
        let filter = filter.map_or(4, |filter| filter.to_string().len());
        self.work = self.work.saturating_add(values.saturating_mul(filter));
        if self.work > MAX_WORK {
            Err(Rule::PatchTooCostly.error())
        } else {
            Ok(())
        }
    }

    /// The object that the path's attribute stands in, if it is there.
    fn holder(&mut self, path: &Path) -> Option<&mut Map<String, Value>> {
        match path.extension() {
            None => Some(&mut self.document),
            Some(urn) => self.document.get_mut(urn)?.as_object_mut(),
        }
    }
}

fn is_schemas(path: &Path) -> bool {
    path.extension().is_none() && path.attribute() == Some("schemas")
}

/// RFC 7644 §3.5.2.3: an object for a complex attribute sets the parts it has, and leaves the others. A text is its
/// `value`.
fn is_merged(definition: &Attribute, value: &Value) -> bool {
    let has_parts = value.is_object() || value.as_str().is_some_and(|text| !text.is_empty());
    definition.kind == Type::Complex && !definition.multi_valued && has_parts
}
