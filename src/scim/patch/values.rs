//! The values of one attribute: choosing, setting, adding and removing.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::attributes::{Identity, accept_value};
use super::super::error::{Error, Rule};
use super::super::filter::{Filter, Operator};
use super::super::limits::{MAX_RESOURCE_BYTES, MAX_VALUES};
use super::super::normalize::{Quirk, Trace};
use super::super::schema::{Attribute, Mutability};
use super::listed::Listed;
use super::message::Kind;
use super::part;

/// What a path leads to, apart from its filter. All methods take the attribute's values as a list, that of a
/// single-valued attribute with at most one. A value of which nothing is left stays behind as null or `{}`.
pub(super) struct Target<'a> {
    pub(super) definition: &'a Attribute,
    /// The sub-attribute that the path ends at.
    pub(super) part: Option<&'a Attribute>,
    /// The attribute's name, qualified if it is an extension's: for messages.
    pub(super) name: String,
}

impl Target<'_> {
    /// The attribute as a whole gets this value.
    pub(super) fn replace_all(&self, held: &mut Vec<Value>, value: Value, trace: &mut Trace) -> Result<(), Error> {
        *held = self.accepted(value, trace)?;
        Ok(())
    }

    /// RFC 7644 §3.5.2.1: "add" to a multi-valued attribute; what is already there is not added again.
    pub(super) fn append(&self, held: &mut Vec<Value>, value: Value, trace: &mut Trace) -> Result<(), Error> {
        let mut known = HashMap::new();
        for (index, value) in held.iter().enumerate() {
            let identity = Identity::of(value, self.definition);
            known.entry(identity.without_type()).or_insert(index);
            known.entry(identity).or_insert(index);
        }
        let mut touched = vec![false; held.len()];
        for value in self.accepted(value, trace)? {
            let identity = Identity::of(&value, self.definition);
            if let Some(&index) = known.get(&identity) {
                touched[index] |= is_primary(&value);
                if let (Some(there), Value::Object(parts)) = (held[index].as_object_mut(), value) {
                    there.extend(parts);
                }
            } else {
                known.insert(identity, held.len());
                touched.push(is_primary(&value));
                held.push(value);
            }
        }
        if held.len() > MAX_VALUES {
            return Err(Rule::TooManyValues.at(&self.name).with("limit", MAX_VALUES.to_string()));
        }
        self.move_primary(&touched, held, trace);
        Ok(())
    }

    /// Sets parts of every value, or of a new one if there is none: the part that a path without filter ends at, or those that
    /// an object has for an attribute of one value.
    pub(super) fn set_parts(
        &self,
        kind: Kind,
        held: &mut Vec<Value>,
        value: &Value,
        trace: &mut Trace,
    ) -> Result<(), Error> {
        if held.is_empty() {
            held.push(Map::new().into());
        }
        self.set_each(kind, &vec![true; held.len()], held, value, trace)
    }

    /// A path with a filter. If it matches nothing, the value that it describes is made, where the RFC says `noTarget`:
    /// Entra updates `emails[type eq "work"].value` of a user who has no such address yet.
    pub(super) fn set_chosen(
        &self,
        kind: Kind,
        filter: &Filter,
        held: &mut Vec<Value>,
        value: &Value,
        trace: &mut Trace,
    ) -> Result<(), Error> {
        let mut chosen: Vec<bool> = held.iter().map(|value| filter.matches_value(value)).collect();
        if !chosen.contains(&true) {
            if is_clearing(value) {
                return Ok(());
            }
            let made = self
                .described(filter, value)
                .filter(|_| self.definition.multi_valued || held.is_empty());
            held.push(made.ok_or_else(|| Rule::NoTarget.at(self.full_name()))?.into());
            chosen.push(true);
            trace.note(Quirk::CreatedOnMiss, self.full_name());
        } else if kind == Kind::Replace && self.part.is_none() && value.is_object() {
            // RFC 7644 §3.5.2.3: the value is replaced, but it stays the one that the path chose.
            let kept = described_parts(filter, self.definition).unwrap_or_default();
            for value in chosen_of(held, &chosen).filter_map(Value::as_object_mut) {
                value.retain(|name, _| kept.contains_key(name));
            }
        }
        self.set_each(kind, &chosen, held, value, trace)?;
        self.move_primary(&chosen, held, trace);
        Ok(())
    }

    /// Removes all, the chosen or the listed values, or a part of them. What is not there is removed already.
    pub(super) fn remove(
        &self,
        filter: Option<&Filter>,
        held: &mut Vec<Value>,
        listed: Option<Value>,
        trace: &mut Trace,
    ) -> Result<(), Error> {
        let chosen = held
            .iter()
            .map(|value| filter.is_none_or(|filter| filter.matches_value(value)));
        let mut chosen: Vec<bool> = chosen.collect();
        if self.part.is_some() {
            return self.set_each(Kind::Remove, &chosen, held, &Value::Null, trace);
        }
        if let Some(listed) = listed {
            trace.note(Quirk::RemoveWithValue, &self.name);
            // Of an attribute with one value there is nothing to choose (RFC 7644 §3.5.2.2 has no `value` at all).
            if self.definition.multi_valued {
                // Entra removes members like this: taking it for "all of them" would empty the group.
                let listed = Listed::new(&self.accepted(listed, trace)?, self.definition);
                for (chosen, value) in chosen.iter_mut().zip(held.iter()) {
                    *chosen = *chosen && listed.holds(value, self.definition);
                }
            }
        }
        let mut chosen = chosen.into_iter();
        held.retain(|_| !chosen.next().unwrap_or(false));
        Ok(())
    }

    /// Sets the path's part, or all the parts that `value` has, of every chosen value.
    fn set_each(
        &self,
        kind: Kind,
        chosen: &[bool],
        held: &mut [Value],
        value: &Value,
        trace: &mut Trace,
    ) -> Result<(), Error> {
        let copies = chosen.iter().filter(|chosen| **chosen).count();
        if copies > 1 && copies.saturating_mul(value.to_string().len()) > MAX_RESOURCE_BYTES {
            return Err(Rule::ResourceTooLarge
                .error()
                .with("limit", MAX_RESOURCE_BYTES.to_string()));
        }
        for held in chosen_of(held, chosen) {
            let value = value.clone();
            match (held.as_object_mut(), self.part) {
                (Some(parts), Some(part)) => part::set(kind, parts, self.definition, part, &self.name, value, trace)?,
                (Some(parts), None) => part::merge(kind, parts, self.definition, &self.name, value, trace)?,
                // Of a simple attribute: nothing to set but the value itself.
                (None, _) => {
                    let accepted = self.accepted(Value::Array(vec![value]), trace)?;
                    *held = accepted.into_iter().next().unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// The value in canonical spelling and of the attribute's types; none if it is empty.
    fn accepted(&self, value: Value, trace: &mut Trace) -> Result<Vec<Value>, Error> {
        Ok(match accept_value(self.definition, &self.name, value, trace)? {
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
            None => Vec::new(),
        })
    }

    /// RFC 7644 §3.5.2: when one of the `touched` values is primary now, no other is.
    fn move_primary(&self, touched: &[bool], held: &mut [Value], trace: &mut Trace) {
        let is_moved = held
            .iter()
            .zip(touched)
            .any(|(value, touched)| *touched && is_primary(value));
        for (value, touched) in held.iter_mut().zip(touched) {
            if is_moved && !touched && is_primary(value) {
                value["primary"] = Value::Bool(false);
                trace.note(Quirk::PrimaryMoved, &self.name);
            }
        }
    }

    /// The value that `filter` describes; none when it describes more than one, or another than `value` will make of it.
    fn described(&self, filter: &Filter, value: &Value) -> Option<Map<String, Value>> {
        let parts = described_parts(filter, self.definition)?;
        let is_contradicted = self
            .part
            .is_some_and(|part| parts.get(&part.name).is_some_and(|there| there != value));
        (!is_contradicted).then_some(parts)
    }

    fn full_name(&self) -> String {
        match self.part {
            Some(part) => format!("{}.{}", self.name, part.name),
            None => self.name.clone(),
        }
    }
}

/// The parts that a value must have to fulfil `filter`; none if it does not say so with `eq` and `and` alone.
fn described_parts(filter: &Filter, definition: &Attribute) -> Option<Map<String, Value>> {
    let mut parts = Map::new();
    for condition in filter.conjuncts() {
        let Filter::Compare {
            path,
            operator: Operator::Eq,
            value,
        } = condition
        else {
            return None;
        };
        let part = definition.sub_attribute(path.attribute()?)?;
        if part.mutability == Mutability::ReadOnly {
            return None;
        }
        let value = value.to_value();
        if parts.get(&part.name).is_some_and(|there| *there != value) {
            return None;
        }
        parts.insert(part.name.clone(), value);
    }
    Some(parts)
}

fn chosen_of<'v>(held: &'v mut [Value], chosen: &[bool]) -> impl Iterator<Item = &'v mut Value> {
    held.iter_mut()
        .zip(chosen)
        .filter_map(|(value, chosen)| chosen.then_some(value))
}

fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

/// Whether setting this means to clear (RFC 7643 §2.5; Entra: `""`).
fn is_clearing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(parts) => parts.values().all(is_clearing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
