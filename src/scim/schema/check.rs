//! An operator's schema document (RFC 7643 §7), read strictly: it decides what happens to other people's data, so that a
//! slip in it is refused at its position instead of being taken for something else.

mod place;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use self::place::Fault;

use self::place::{Place, quoted};
use super::super::limits::{
    MAX_ATTRIBUTE_DEPTH, MAX_NAME_BYTES, MAX_SCHEMA_ATTRIBUTES, MAX_SCHEMA_BYTES, MAX_URN_BYTES,
};
use super::super::path::is_name;
use super::{Attribute, Catalog, Mutability, Returned, Schema, TYPO_ENTERPRISE_URN, Type, Uniqueness};

/// URN of a schema document itself (RFC 7643 §7).
const SCHEMA_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";

/// What the URNs of the RFCs' own resources and messages begin with.
const RESERVED: &[&str] = &["urn:ietf:params:scim:schemas:core:", "urn:ietf:params:scim:api:"];

/// Members of a schema; `meta` is what `/Schemas` adds.
const SCHEMA_MEMBERS: &[&str] = &["schemas", "id", "name", "description", "attributes", "meta"];

/// Members of an attribute: its characteristics.
const ATTRIBUTE_MEMBERS: &[&str] = &[
    "name",
    "type",
    "multiValued",
    "description",
    "required",
    "canonicalValues",
    "caseExact",
    "mutability",
    "returned",
    "uniqueness",
    "referenceTypes",
    "subAttributes",
];

/// Reads the schema of an extension. `catalog` has the other schemas of the tenant; a schema whose URN equals one of them
/// must not be among them. `allow_required`: the operator knows that resources without a required attribute are refused.
///
/// # Errors
/// The first fault, with its position.
pub fn read(document: &Value, catalog: &Catalog, allow_required: bool) -> Result<Schema, Fault> {
    let place = Place::read(document, String::new(), SCHEMA_MEMBERS)?;
    if place.members.contains_key("schemas") && place.texts("schemas")? != [SCHEMA_URN] {
        return Err(place.fault("schemas", format!("expected [\"{SCHEMA_URN}\"], or nothing")));
    }
    let id = place
        .text("id")?
        .ok_or_else(|| place.fault("id", "is missing: expected the extension's URN"))?;
    check_urn(id, catalog).map_err(|reason| place.fault("id", reason))?;
    let reader = Reader {
        catalog,
        allow_required,
    };
    let schema = Schema {
        id: id.to_owned(),
        name: place.text("name")?.unwrap_or(id).to_owned(),
        description: place.any_text("description")?,
        attributes: reader.attributes(&place, "attributes", 1)?,
    };
    let attributes = schema.attributes.iter().map(|one| 1 + one.sub_attributes.len());
    let (count, bytes) = (
        attributes.sum::<usize>(),
        Value::Object(schema.document()).to_string().len(),
    );
    if count > MAX_SCHEMA_ATTRIBUTES {
        let reason = format!("{count} with the sub-attributes, at most {MAX_SCHEMA_ATTRIBUTES} are allowed");
        return Err(place.fault("attributes", reason));
    }
    if bytes > MAX_SCHEMA_BYTES {
        let reason = format!("is {bytes} bytes long, at most {MAX_SCHEMA_BYTES} are allowed");
        return Err(Fault::at("", reason));
    }
    Ok(schema)
}

/// RFC 8141 §2, without the characters that mean something in paths and filters; and no schema that is there already.
fn check_urn(urn: &str, catalog: &Catalog) -> Result<(), String> {
    if urn.len() > MAX_URN_BYTES {
        return Err(format!(
            "is {} bytes long, at most {MAX_URN_BYTES} are allowed",
            urn.len()
        ));
    }
    let mut parts = urn.splitn(3, ':');
    let (scheme, space, rest) = (parts.next(), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let is_space = |text: &str| {
        (2..=32).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    };
    let is_part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !part.is_empty() && part.bytes().all(plain)
    };
    let is_urn = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn"));
    if !(is_urn && is_space(space) && rest.split(':').all(is_part)) {
        return Err(format!(
            "{} is no URN of letters, digits, '-', '.', '_' and '~' between colons, such as \
             urn:ietf:params:scim:schemas:extension:example:2.0:User",
            quoted(urn)
        ));
    }
    let lower = urn.to_ascii_lowercase();
    if RESERVED.iter().any(|reserved| lower.starts_with(reserved)) || urn.eq_ignore_ascii_case(TYPO_ENTERPRISE_URN) {
        return Err("belongs to RFC 7643 and 7644: choose a URN of your own".to_owned());
    }
    for other in catalog.schemas() {
        let known = other.id.to_ascii_lowercase();
        if known == lower {
            return Err(format!("there is a schema {} already", other.id));
        }
        // `<urn>:<attribute>` would mean one thing or the other.
        if begins(&known, &lower) || begins(&lower, &known) {
            return Err(format!("and {} begin alike: a path could mean either", other.id));
        }
    }
    Ok(())
}

fn begins(long: &str, short: &str) -> bool {
    long.strip_prefix(short).is_some_and(|rest| rest.starts_with(':'))
}

struct Reader<'c> {
    catalog: &'c Catalog,
    allow_required: bool,
}

impl Reader<'_> {
    /// The attributes in a member of `parent`; at least one.
    fn attributes(&self, parent: &Place<'_>, member: &str, depth: usize) -> Result<Vec<Attribute>, Fault> {
        let values = match parent.members.get(member) {
            Some(Value::Array(values)) if !values.is_empty() => values,
            _ => return Err(parent.fault(member, "expected an array of at least one attribute")),
        };
        let mut attributes: Vec<Attribute> = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let position = format!("{}[{index}]", parent.position_of(member));
            let place = Place::read(value, position, ATTRIBUTE_MEMBERS)?;
            let attribute = self.attribute(&place, depth)?;
            let same = |other: &Attribute| other.name.eq_ignore_ascii_case(&attribute.name);
            if let Some(first) = attributes.iter().position(same) {
                let reason = format!(
                    "{} is the name of {}[{first}] already; case does not tell names apart (RFC 7643 §2.1)",
                    quoted(&attribute.name),
                    parent.position_of(member)
                );
                return Err(place.fault("name", reason));
            }
            attributes.push(attribute);
        }
        if let Some((index, _)) = attributes
            .iter()
            .enumerate()
            .find(|(_, attribute)| attribute.refers_to_resources() && !has_text(&attributes, "value"))
        {
            let position = format!("{}[{index}]", parent.position_of(member));
            let reason = "a $ref to a resource needs a sub-attribute value of type string beside it, the resource's id";
            return Err(Fault::at(position, reason));
        }
        Ok(attributes)
    }

    fn attribute(&self, place: &Place<'_>, depth: usize) -> Result<Attribute, Fault> {
        let kind = place.keyword("type", Type::KEYWORDS, Type::from_keyword, Type::String)?;
        let attribute = Attribute {
            name: name(place, depth)?,
            kind,
            multi_valued: place.flag("multiValued")?.unwrap_or(false),
            description: place.any_text("description")?,
            required: place.flag("required")?.unwrap_or(false),
            canonical_values: place.texts("canonicalValues")?,
            case_exact: case_exact(place, kind)?,
            mutability: place.keyword(
                "mutability",
                Mutability::KEYWORDS,
                Mutability::from_keyword,
                Mutability::ReadWrite,
            )?,
            returned: place.keyword(
                "returned",
                Returned::KEYWORDS,
                Returned::from_keyword,
                Returned::Default,
            )?,
            uniqueness: place.keyword(
                "uniqueness",
                Uniqueness::KEYWORDS,
                Uniqueness::from_keyword,
                Uniqueness::None,
            )?,
            reference_types: self.reference_types(place, kind)?,
            sub_attributes: self.sub_attributes(place, kind, depth)?,
        };
        self.check(place, &attribute)?;
        Ok(attribute)
    }

    fn sub_attributes(&self, place: &Place<'_>, kind: Type, depth: usize) -> Result<Vec<Attribute>, Fault> {
        let are_there = place.members.contains_key("subAttributes");
        match kind {
            Type::Complex if depth >= MAX_ATTRIBUTE_DEPTH => {
                Err(place.fault("type", "a sub-attribute cannot be complex itself (RFC 7643 §2.3.8)"))
            }
            Type::Complex => self.attributes(place, "subAttributes", depth + 1),
            _ if are_there => Err(place.fault("subAttributes", "only an attribute of type complex has them")),
            _ => Ok(Vec::new()),
        }
    }

    fn reference_types(&self, place: &Place<'_>, kind: Type) -> Result<Vec<String>, Fault> {
        let types = place.texts("referenceTypes")?;
        if kind != Type::Reference {
            return if place.members.contains_key("referenceTypes") {
                Err(place.fault("referenceTypes", "only an attribute of type reference has them"))
            } else {
                Ok(types)
            };
        }
        let mut known: Vec<&str> = vec!["external", "uri"];
        known.extend(self.catalog.resource_types.iter().map(|rt| rt.name.as_str()));
        let unknown = types.iter().position(|name| !known.contains(&name.as_str()));
        match unknown {
            Some(index) => Err(place.fault(
                &format!("referenceTypes[{index}]"),
                format!("{} is none of {}", quoted(&types[index]), known.join(", ")),
            )),
            None if types.is_empty() => Err(place.fault(
                "referenceTypes",
                format!("is missing: expected some of {}", known.join(", ")),
            )),
            None => Ok(types),
        }
    }

    /// What the characteristics must be to each other, and what of them this service can keep to.
    fn check(&self, place: &Place<'_>, attribute: &Attribute) -> Result<(), Fault> {
        if attribute.uniqueness != Uniqueness::None {
            let reason = "only userName is kept unique by this service: an extension's attribute has uniqueness none";
            return Err(place.fault("uniqueness", reason));
        }
        if !attribute.canonical_values.is_empty() && attribute.kind != Type::String {
            return Err(place.fault("canonicalValues", "only an attribute of type string has them"));
        }
        if attribute.mutability == Mutability::WriteOnly && attribute.returned != Returned::Never {
            let reason = "a writeOnly value is never shown (RFC 7643 §7): expected never";
            return Err(place.fault("returned", reason));
        }
        if attribute.required && attribute.mutability == Mutability::ReadOnly {
            return Err(place.fault("required", "nobody can give a value to what is readOnly"));
        }
        if attribute.required && !self.allow_required {
            let reason = "resources without it will be refused: say --allow-required if that is what you want";
            return Err(place.fault("required", reason));
        }
        Ok(())
    }
}

fn name(place: &Place<'_>, depth: usize) -> Result<String, Fault> {
    let name = place
        .text("name")?
        .ok_or_else(|| place.fault("name", "is missing: every attribute has one"))?;
    if name.len() > MAX_NAME_BYTES {
        let reason = format!("is {} bytes long, at most {MAX_NAME_BYTES} are allowed", name.len());
        return Err(place.fault("name", reason));
    }
    let is_reference = name == "$ref" && depth > 1;
    if !is_reference && (name.starts_with('$') || !is_name(name)) {
        let reason = format!(
            "{} is no name: expected a letter, then letters, digits, '-', '_' or '$' (RFC 7643 §2.1)",
            quoted(name)
        );
        return Err(place.fault("name", reason));
    }
    Ok(name.to_owned())
}

/// RFC 7643 §2.3.6 and §2.3.7: binary values and references are case-exact, whatever anyone says.
fn case_exact(place: &Place<'_>, kind: Type) -> Result<bool, Fault> {
    let always = matches!(kind, Type::Binary | Type::Reference);
    match place.flag("caseExact")? {
        Some(false) if always => Err(place.fault("caseExact", "a value of this type is always case-exact")),
        given => Ok(given.unwrap_or(false) || always),
    }
}

fn has_text(attributes: &[Attribute], name: &str) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.name == name && attribute.kind == Type::String && !attribute.multi_valued)
}
