//! Documents that an operator might bring, and what is said of each.

use serde_json::{Value, json};

use super::super::super::limits::{MAX_NAME_BYTES, MAX_SCHEMA_ATTRIBUTES, MAX_SCHEMA_BYTES, MAX_URN_BYTES};
use super::super::{Catalog, ENTERPRISE_USER_URN, Extension, Mutability, Returned, Schema, Type, Uniqueness};
use super::read;

const BADGE: &str = "urn:example:2.0:Badge";

/// A document with one attribute that has these characteristics.
fn with(attribute: &Value) -> Value {
    json!({ "id": BADGE, "attributes": [attribute] })
}

/// What the tenant has already.
fn catalog() -> Catalog {
    let other = json!({ "id": "urn:example:2.0:Other", "attributes": [{ "name": "badge" }] });
    let extension = Extension {
        schema: Schema::from_json(&other).unwrap().into(),
        required: false,
    };
    Catalog::standard().extended([("User".to_owned(), extension)])
}

#[track_caller]
fn check(document: &Value, fault: &str) {
    let found = read(document, &catalog(), false).expect_err(fault).to_string();
    assert!(found.starts_with(fault), "expected '{fault}', found '{found}'");
}

#[track_caller]
fn check_attribute(attribute: &Value, fault: &str) {
    check(&with(attribute), fault);
}

/// A complex attribute with this one sub-attribute.
fn check_part(part: &Value, fault: &str) {
    check_attribute(
        &json!({ "name": "a", "type": "complex", "subAttributes": [{ "name": "x" }, part] }),
        fault,
    );
}

/// R-GEN-05 (RFC 7643 §2.2): what is left out has its default.
#[test]
fn characteristics_have_the_rfcs_defaults() {
    let schema = read(&with(&json!({ "name": "level" })), &catalog(), false).unwrap();
    let level = schema.attribute("LEVEL").unwrap();
    assert_eq!(
        (level.kind, level.mutability, level.returned, level.uniqueness),
        (Type::String, Mutability::ReadWrite, Returned::Default, Uniqueness::None)
    );
    assert!(!level.required && !level.case_exact && !level.multi_valued);
    assert_eq!((schema.name.as_str(), schema.description.as_str()), (BADGE, ""));
}

/// R-GEN-06, R-SCHEMA-04: every type and characteristic; what is read is what `/Schemas` will say, which can be read again.
#[test]
fn a_full_document_is_read_and_told_again() {
    let document = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": "urn:ietf:params:scim:schemas:extension:example:2.0:User",
        "name": "Badge",
        "description": "Doors and keys.",
        "attributes": [
            { "name": "serial", "caseExact": true, "mutability": "immutable", "returned": "always" },
            { "name": "active", "type": "boolean" },
            { "name": "rate", "type": "decimal", "returned": "request" },
            { "name": "level", "type": "integer" },
            { "name": "issued", "type": "dateTime", "description": "" },
            { "name": "photo", "type": "binary" },
            { "name": "page", "type": "reference", "referenceTypes": ["external"] },
            { "name": "pin", "mutability": "writeOnly", "returned": "never" },
            { "name": "seen", "mutability": "readOnly" },
            { "name": "colour", "multiValued": true, "canonicalValues": ["red", "green"] },
            { "name": "a-1_b$", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "value" },
                { "name": "$ref", "type": "reference", "referenceTypes": ["User"] },
                { "name": "doors", "multiValued": true },
            ] },
        ],
        "meta": { "resourceType": "Schema" },
    });
    let schema = read(&document, &catalog(), false).unwrap();
    assert!(schema.attribute("photo").unwrap().case_exact, "RFC 7643 §2.3.6");
    let told = Value::Object(schema.document());
    assert_eq!(read(&told, &catalog(), false).unwrap(), schema);
    assert_eq!(Schema::from_json(&told).unwrap(), schema, "as a row has it");
    assert!(!told.to_string().contains("null") && told["attributes"][4].get("description").is_none());
}

#[test]
fn a_document_is_an_object_with_known_members() {
    check(&json!([]), "the document: expected an object");
    check(&json!({ "id": BADGE }), "attributes: expected an array");
    check(
        &json!({ "id": BADGE, "attributes": [] }),
        "attributes: expected an array",
    );
    check(
        &json!({ "id": BADGE, "attributes": {} }),
        "attributes: expected an array",
    );
    check(
        &json!({ "id": BADGE, "attributes": [1] }),
        "attributes[0]: expected an object",
    );
    check(
        &json!({ "id": BADGE, "Attributes": [] }),
        "Attributes: is spelled attributes",
    );
    check(
        &json!({ "id": BADGE, "owner": 1 }),
        "owner: no such member; there are schemas, id, ",
    );
    check(&json!({ "id": BADGE, "x\u{1b}[2J": 1 }), "x\\u{1b}[2J: no such member");
    check(
        &json!({ "schemas": ["urn:x:y"], "id": BADGE }),
        "schemas: expected [\"urn:",
    );
    check(&json!({ "id": BADGE, "name": 1 }), "name: expected a text");
    check(
        &json!({ "id": BADGE, "name": "n", "description": 1 }),
        "description: expected a text",
    );
}

/// RFC 8141 §2; RFC 7643 §10.3.
#[test]
fn the_urn_is_one_of_the_operators_own() {
    let long = format!("urn:example:{}", "x".repeat(MAX_URN_BYTES));
    for (id, reason) in [
        (json!(null), "id: expected a text"),
        (json!("badge"), "id: 'badge' is no URN"),
        (
            json!("http://example.com/badge"),
            "id: 'http://example.com/badge' is no URN",
        ),
        (json!("urn:example"), "id: 'urn:example' is no URN"),
        (json!("urn:example:"), "id: 'urn:example:' is no URN"),
        (json!("urn:-x-:a"), "id: 'urn:-x-:a' is no URN"),
        (json!("urn:e:a"), "id: 'urn:e:a' is no URN"),
        (json!("urn:example:a::b"), "id: 'urn:example:a::b' is no URN"),
        (json!("urn:example:a b"), "id: 'urn:example:a b' is no URN"),
        (json!("urn:example:a[b]"), "id: 'urn:example:a[b]' is no URN"),
        (json!("urn:example:é"), "id: 'urn:example:é' is no URN"),
        (json!(long), "id: is 112 bytes long, at most 100 are allowed"),
    ] {
        check(&json!({ "id": id, "attributes": [{ "name": "a" }] }), reason);
    }
    check(&json!({ "attributes": [] }), "id: is missing");
}

/// A schema that is there already, in any case; one of the RFCs'; one that another one's paths begin with.
#[test]
fn the_urn_clashes_with_no_other() {
    for (id, reason) in [
        (ENTERPRISE_USER_URN, "id: there is a schema urn:ietf"),
        (
            "URN:EXAMPLE:2.0:OTHER",
            "id: there is a schema urn:example:2.0:Other already",
        ),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0User",
            "id: belongs to RFC 7643",
        ),
        ("urn:ietf:params:scim:schemas:core:2.0:Badge", "id: belongs to RFC 7643"),
        (
            "urn:ietf:params:SCIM:schemas:core:2.0:User:badge",
            "id: belongs to RFC 7643",
        ),
        (
            "urn:ietf:params:scim:api:messages:2.0:PatchOp",
            "id: belongs to RFC 7643",
        ),
        ("urn:example:2.0", "id: and urn:example:2.0:Other begin alike"),
        (
            "urn:example:2.0:other:badge",
            "id: and urn:example:2.0:Other begin alike",
        ),
    ] {
        check(&json!({ "id": id, "attributes": [{ "name": "a" }] }), reason);
    }
    let id = "urn:example:2.0:Others";
    assert!(read(&json!({ "id": id, "attributes": [{ "name": "a" }] }), &catalog(), false).is_ok());
}

/// RFC 7643 §2.1: `ATTRNAME = ALPHA *(nameChar)`.
#[test]
fn a_name_is_one_that_paths_can_have() {
    for name in [
        "", "1a", "-a", "_a", "a b", "a.b", "a:b", "é", "a[0]", "$ref", "$", "a\"b",
    ] {
        check_attribute(&json!({ "name": name }), "attributes[0].name: ");
    }
    check_attribute(&json!({}), "attributes[0].name: is missing");
    check_attribute(&json!({ "name": 7 }), "attributes[0].name: expected a text");
    check_attribute(
        &json!({ "name": "x".repeat(MAX_NAME_BYTES + 1) }),
        "attributes[0].name: is 61 bytes long",
    );
    check_part(
        &json!({ "name": "$other" }),
        "attributes[0].subAttributes[1].name: '$other' is no name",
    );
    assert!(read(&with(&json!({ "name": "x".repeat(MAX_NAME_BYTES) })), &catalog(), false).is_ok());
}

#[test]
fn no_name_stands_twice_in_any_case() {
    let document = json!({ "id": BADGE, "attributes": [{ "name": "a" }, { "name": "level" }, { "name": "Level" }] });
    check(
        &document,
        "attributes[2].name: 'Level' is the name of attributes[1] already",
    );
    check_part(
        &json!({ "name": "X" }),
        "attributes[0].subAttributes[1].name: 'X' is the name of attributes[0].subAttributes[0] already",
    );
    // A part may be called like the whole, or like a core attribute.
    let document = json!({ "name": "userName", "type": "complex", "subAttributes": [{ "name": "userName" }] });
    assert!(read(&with(&document), &catalog(), false).is_ok());
}

#[test]
fn characteristics_are_known_words() {
    for (member, value, reason) in [
        (
            "type",
            json!("text"),
            "attributes[0].type: 'text' is none of string, boolean, decimal",
        ),
        ("type", json!("Boolean"), "attributes[0].type: 'Boolean' is none of"),
        ("type", json!("datetime"), "attributes[0].type: 'datetime' is none of"),
        ("type", json!(["string"]), "attributes[0].type: expected a text"),
        (
            "multiValued",
            json!("true"),
            "attributes[0].multiValued: expected true or false",
        ),
        ("required", json!(1), "attributes[0].required: expected true or false"),
        (
            "caseExact",
            json!(null),
            "attributes[0].caseExact: expected true or false",
        ),
        (
            "mutability",
            json!("readwrite"),
            "attributes[0].mutability: 'readwrite' is none of readOnly, readWrite",
        ),
        (
            "returned",
            json!("sometimes"),
            "attributes[0].returned: 'sometimes' is none of always, never",
        ),
        (
            "uniqueness",
            json!("tenant"),
            "attributes[0].uniqueness: 'tenant' is none of none, server, global",
        ),
        (
            "canonicalValues",
            json!("red"),
            "attributes[0].canonicalValues: expected an array",
        ),
        (
            "canonicalValues",
            json!(["red", 1]),
            "attributes[0].canonicalValues[1]: expected a text",
        ),
        (
            "multivalued",
            json!(true),
            "attributes[0].multivalued: is spelled multiValued",
        ),
        ("unique", json!(true), "attributes[0].unique: no such member"),
    ] {
        check_attribute(&json!({ "name": "a", member: value }), reason);
    }
    check_part(
        &json!({ "name": "b", "type": "strng" }),
        "attributes[0].subAttributes[1].type: 'strng' is none of",
    );
}

/// RFC 7643 §2.3.8: complex attributes do not recurse.
#[test]
fn only_complex_attributes_have_parts_and_parts_have_none() {
    check_attribute(
        &json!({ "name": "a", "subAttributes": [{ "name": "b" }] }),
        "attributes[0].subAttributes: only an attribute of type complex",
    );
    check_attribute(
        &json!({ "name": "a", "type": "complex" }),
        "attributes[0].subAttributes: expected an array",
    );
    check_attribute(
        &json!({ "name": "a", "type": "complex", "subAttributes": [] }),
        "attributes[0].subAttributes: expected an array",
    );
    let mut deep = json!({ "name": "a", "type": "complex", "subAttributes": [{ "name": "b" }] });
    for _ in 0..50 {
        deep = json!({ "name": "a", "type": "complex", "subAttributes": [deep] });
    }
    check_attribute(
        &deep,
        "attributes[0].subAttributes[0].type: a sub-attribute cannot be complex itself",
    );
}

#[test]
fn characteristics_fit_each_other_and_can_be_kept() {
    for (attribute, reason) in [
        (
            json!({ "uniqueness": "server" }),
            "attributes[0].uniqueness: only userName is kept unique",
        ),
        (
            json!({ "uniqueness": "global" }),
            "attributes[0].uniqueness: only userName is kept unique",
        ),
        (
            json!({ "mutability": "writeOnly" }),
            "attributes[0].returned: a writeOnly value is never shown",
        ),
        (
            json!({ "mutability": "writeOnly", "returned": "request" }),
            "attributes[0].returned: a writeOnly value is never shown",
        ),
        (
            json!({ "type": "integer", "canonicalValues": ["1"] }),
            "attributes[0].canonicalValues: only",
        ),
        (
            json!({ "type": "binary", "caseExact": false }),
            "attributes[0].caseExact: a value of this type",
        ),
        (
            json!({ "referenceTypes": ["User"] }),
            "attributes[0].referenceTypes: only an attribute of type reference",
        ),
        (
            json!({ "type": "reference" }),
            "attributes[0].referenceTypes: is missing: expected some of external, uri, User",
        ),
        (
            json!({ "type": "reference", "referenceTypes": ["uri", "Printer"] }),
            "attributes[0].referenceTypes[1]: 'Printer' is none of external, uri, User",
        ),
        (
            json!({ "required": true, "mutability": "readOnly" }),
            "attributes[0].required: nobody can give",
        ),
    ] {
        let mut attribute = attribute;
        attribute["name"] = json!("a");
        check_attribute(&attribute, reason);
    }
    check_part(
        &json!({ "name": "$ref", "type": "reference", "referenceTypes": ["User"] }),
        "attributes[0].subAttributes[1]: a $ref to a resource needs a sub-attribute value",
    );
}

#[test]
fn an_attribute_is_required_only_on_purpose() {
    let attribute = json!({ "name": "a", "required": true });
    check_attribute(
        &attribute,
        "attributes[0].required: resources without it will be refused: say --allow-required",
    );
    let part = json!({ "name": "b", "required": true });
    check_part(&part, "attributes[0].subAttributes[1].required: resources without it");
    assert!(read(&with(&attribute), &catalog(), true).unwrap().attributes[0].required);
}

#[test]
fn a_schema_has_limits() {
    let many = |count: usize| {
        let attributes: Vec<Value> = (0..count).map(|n| json!({ "name": format!("a{n}") })).collect();
        json!({ "id": BADGE, "attributes": attributes })
    };
    assert!(read(&many(MAX_SCHEMA_ATTRIBUTES), &catalog(), false).is_ok());
    check(
        &many(MAX_SCHEMA_ATTRIBUTES + 1),
        "attributes: 201 with the sub-attributes, at most 200 are allowed",
    );
    let parts: Vec<Value> = (0..MAX_SCHEMA_ATTRIBUTES)
        .map(|n| json!({ "name": format!("a{n}") }))
        .collect();
    check_attribute(
        &json!({ "name": "a", "type": "complex", "subAttributes": parts }),
        "attributes: 201 with the sub-attributes",
    );
    let long = json!({ "name": "a", "description": "x".repeat(MAX_SCHEMA_BYTES) });
    check_attribute(&long, "the document: is ");
}
