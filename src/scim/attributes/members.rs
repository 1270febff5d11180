//! The members that a client names.

use std::collections::HashMap;

use serde_json::Value;

use super::super::error::{Error, Rule};
use super::super::members::{Kind, Member};
use super::super::normalize::{Quirk, Trace};
use super::super::schema::Attribute;
use super::values::{accept_single, listed, wrong_type};

/// Reads a value of the attribute that [`ResourceType::members`](super::super::schema::ResourceType::members) gives; each
/// member once. `place` says where the value stands, if that needs saying: `operation 2`.
///
/// # Errors
/// `invalidValue` naming the position of what is no member.
pub(in super::super) fn accept_members(
    attribute: &Attribute,
    place: Option<&str>,
    value: Value,
    trace: &mut Trace,
) -> Result<Vec<Member>, Error> {
    let mut members: Vec<Member> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (index, value) in listed(&attribute.name, value, trace).into_iter().enumerate() {
        let member = accept_member(attribute, value, trace).map_err(|error| {
            let number = index + 1;
            error.within(&match place {
                Some(place) => format!("value {number} of {place}"),
                None => format!("value {number}"),
            })
        })?;
        if let Some(&earlier) = known.get(&member.id) {
            trace.note(Quirk::DuplicateValue, &attribute.name);
            members[earlier].kind = member.kind.or(members[earlier].kind);
        } else {
            known.insert(member.id.clone(), members.len());
            members.push(member);
        }
    }
    Ok(members)
}

fn accept_member(attribute: &Attribute, value: Value, trace: &mut Trace) -> Result<Member, Error> {
    let name = &attribute.name;
    let Some(Value::Object(mut parts)) = accept_single(attribute, name, value, trace)? else {
        return Err(Rule::MemberWithoutValue.at(name));
    };
    let Some(Value::String(id)) = parts.shift_remove("value") else {
        return Err(Rule::MemberWithoutValue.at(name));
    };
    let kind = match parts.get("type").and_then(Value::as_str) {
        Some(keyword) => {
            let kind = Kind::from_keyword(keyword);
            Some(kind.ok_or_else(|| wrong_type(&format!("{name}.type"), "User or Group"))?)
        }
        None => None,
    };
    Ok(Member { id, kind })
}
