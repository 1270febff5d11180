//! Schemas as JSON, in and out (RFC 7643 §7).

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Attribute, Mutability, Returned, Schema, Type, Uniqueness};

/// Why a schema's JSON was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError(String);

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SchemaError {}

impl Schema {
    /// Reads a schema resource (RFC 7643 §7); absent characteristics get their defaults (§2.2).
    pub fn from_json(document: &Value) -> Result<Schema, SchemaError> {
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        Ok(Schema {
            id: text("id").ok_or_else(|| SchemaError("a schema without id".into()))?,
            name: text("name").unwrap_or_default(),
            description: text("description").unwrap_or_default(),
            attributes: attributes_from_json(&document["attributes"])?,
        })
    }

    /// The schema as JSON, every characteristic spelled out: what [`Self::from_json`] reads, without `schemas` and
    /// `meta`.
    pub fn document(&self) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("id".into(), self.id.clone().into());
        document.insert("name".into(), self.name.clone().into());
        if !self.description.is_empty() {
            document.insert("description".into(), self.description.clone().into());
        }
        document.insert(
            "attributes".into(),
            self.attributes.iter().map(Attribute::document).collect(),
        );
        document
    }
}

impl Attribute {
    fn from_json(document: &Value) -> Result<Attribute, SchemaError> {
        let name = document["name"]
            .as_str()
            .ok_or_else(|| SchemaError("an attribute without name".into()))?;
        let unknown = |what: &str| SchemaError(format!("attribute {name} has an unknown {what}"));
        let kind = Type::from_keyword(document["type"].as_str().unwrap_or("string")).ok_or_else(|| unknown("type"))?;
        let flag = |name: &str| document[name].as_bool().unwrap_or(false);
        Ok(Attribute {
            name: name.to_owned(),
            kind,
            multi_valued: flag("multiValued"),
            description: document["description"].as_str().unwrap_or_default().to_owned(),
            required: flag("required"),
            canonical_values: strings(&document["canonicalValues"]),
            case_exact: flag("caseExact"),
            mutability: Mutability::from_keyword(document["mutability"].as_str().unwrap_or("readWrite"))
                .ok_or_else(|| unknown("mutability"))?,
            returned: Returned::from_keyword(document["returned"].as_str().unwrap_or("default"))
                .ok_or_else(|| unknown("returned"))?,
            uniqueness: Uniqueness::from_keyword(document["uniqueness"].as_str().unwrap_or("none"))
                .ok_or_else(|| unknown("uniqueness"))?,
            reference_types: strings(&document["referenceTypes"]),
            sub_attributes: attributes_from_json(&document["subAttributes"])?,
        })
    }

    fn document(&self) -> Value {
        let mut document = json!({
            "name": self.name, "type": self.kind.keyword(), "multiValued": self.multi_valued,
        });
        if !self.description.is_empty() {
            document["description"] = self.description.clone().into();
        }
        document["required"] = self.required.into();
        if !self.canonical_values.is_empty() {
            document["canonicalValues"] = json!(self.canonical_values);
        }
        if matches!(self.kind, Type::String | Type::Reference | Type::Binary) {
            document["caseExact"] = self.case_exact.into();
        }
        document["mutability"] = self.mutability.keyword().into();
        document["returned"] = self.returned.keyword().into();
        document["uniqueness"] = self.uniqueness.keyword().into();
        if !self.reference_types.is_empty() {
            document["referenceTypes"] = json!(self.reference_types);
        }
        if !self.sub_attributes.is_empty() {
            document["subAttributes"] = self.sub_attributes.iter().map(Attribute::document).collect();
        }
        document
    }
}

fn attributes_from_json(array: &Value) -> Result<Vec<Attribute>, SchemaError> {
    array
        .as_array()
        .into_iter()
        .flatten()
        .map(Attribute::from_json)
        .collect()
}

fn strings(array: &Value) -> Vec<String> {
    array
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
