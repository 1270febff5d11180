//! Operations on members, which are kept apart: each becomes an edit, and nobody looks at who is a member now.

use std::collections::HashSet;

use serde_json::Value;

use super::super::attributes::accept_members;
use super::super::error::{Error, Rule};
use super::super::filter::{Filter, Operator};
use super::super::members::{Edits, Member};
use super::super::normalize::{Quirk, Trace};
use super::super::path::Path;
use super::super::schema::Attribute;
use super::message::Kind;

/// The parts of a member that its row has; the address and the name are derived.
const STORED: [&str; 2] = ["value", "type"];

/// A path to all members, or to some.
pub(super) struct Target<'a> {
    definition: &'a Attribute,
    filter: Option<&'a Filter>,
    /// Where the operation stands: for messages.
    place: String,
}

impl<'a> Target<'a> {
    /// # Errors
    /// `mutability` for a path that ends at a part: a member is added or removed, not made another one.
    pub(super) fn new(definition: &'a Attribute, path: &'a Path, number: &str) -> Result<Target<'a>, Error> {
        if path.sub_attribute().is_some() {
            return Err(Rule::MemberChanged.at(path.name()));
        }
        let filter = path.filter();
        let derived = definition
            .sub_attributes
            .iter()
            .find(|part| !STORED.contains(&part.name.as_str()) && filter.is_some_and(|it| it.mentions(&part.name)));
        if let Some(part) = derived {
            let name = format!("{}.{}", definition.name, part.name);
            let value = format!("{}.value", definition.name);
            return Err(Rule::FilterOnDerived.at(name).with("expected", value));
        }
        Ok(Target {
            definition,
            filter,
            place: format!("operation {number}"),
        })
    }

    pub(super) fn set(&self, edits: &mut Edits, kind: Kind, value: Value, trace: &mut Trace) -> Result<(), Error> {
        let members = self.accepted(value, trace)?;
        match (self.filter, kind) {
            (None, Kind::Replace) => edits.replace(members),
            (None, _) => edits.add(members),
            (Some(filter), Kind::Replace) if members.is_empty() => remove_chosen(edits, filter, None),
            (Some(filter), _) => {
                // The chosen member can become no other one, so this can only say that it is a member.
                let chosen = ids(filter).unwrap_or_default();
                if !members.iter().all(|member| chosen.contains(&member.id.as_str())) {
                    return Err(Rule::MemberChanged.at(format!("{}.value", self.definition.name)));
                }
                edits.add(members);
            }
        }
        Ok(())
    }

    /// Without a filter and a list: all. What is no member is removed already.
    pub(super) fn remove(&self, edits: &mut Edits, listed: Option<Value>, trace: &mut Trace) -> Result<(), Error> {
        let listed = match listed {
            Some(listed) => {
                trace.note(Quirk::RemoveWithValue, &self.definition.name);
                let members = self.accepted(listed, trace)?;
                Some(members.into_iter().map(|member| member.id))
            }
            None => None,
        };
        match (self.filter, listed) {
            (None, None) => edits.replace(Vec::new()),
            // Entra: taking it for "all of them" would empty the group.
            (None, Some(listed)) => edits.remove(listed),
            (Some(filter), listed) => remove_chosen(edits, filter, listed.map(Iterator::collect)),
        }
        Ok(())
    }

    fn accepted(&self, value: Value, trace: &mut Trace) -> Result<Vec<Member>, Error> {
        accept_members(self.definition, Some(&self.place), value, trace)
    }
}

fn remove_chosen(edits: &mut Edits, filter: &Filter, among: Option<HashSet<String>>) {
    match ids(filter) {
        Some(ids) => {
            let chosen = ids
                .into_iter()
                .filter(|id| among.as_ref().is_none_or(|among| among.contains(*id)));
            edits.remove(chosen.map(str::to_owned));
        }
        None => edits.remove_matching(filter.clone(), among),
    }
}

/// The ids of all the members that `filter` can match, if it says no more than these: `value eq "…"`, and `or` of such.
fn ids(filter: &Filter) -> Option<Vec<&str>> {
    match filter {
        Filter::Compare {
            path,
            operator: Operator::Eq,
            value,
        } if path.attribute() == Some("value") => Some(vec![value.as_text()?]),
        Filter::Or(filters) => {
            let ids: Option<Vec<Vec<&str>>> = filters.iter().map(ids).collect();
            Some(ids?.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
