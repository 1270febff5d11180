//! The complete resource, as an answer has it before projection.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::attributes::Attributes;
use super::schema::{Attribute, ResourceType, Type};

/// What the service itself knows about a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The id, unique in the tenant and never used again.
    pub id: String,
    /// When it was created.
    pub created: OffsetDateTime,
    /// When it was last changed.
    pub last_modified: OffsetDateTime,
    /// Its version: opaque, another one after each change.
    pub version: String,
}

impl Envelope {
    /// The `ETag` and `meta.version`: weak, since a projection changes the bytes (RFC 7644 §3.14).
    pub fn etag(&self) -> String {
        format!("W/\"{}\"", self.version)
    }
}

/// The resource with everything that is derived: `schemas`, `id`, `meta`, and each `$ref` whose `value` is an id; without
/// what does not fit the schemas in force.
///
/// `base_url` is the request's own, without a slash at the end; nothing derived from it is stored.
pub fn document(rt: &ResourceType, envelope: &Envelope, attributes: &Attributes, base_url: &str) -> Map<String, Value> {
    let attributes = attributes.visible(rt);
    let mut document = Map::new();
    document.insert("schemas".into(), schemas(rt, &attributes).into());
    document.insert("id".into(), envelope.id.clone().into());
    let stored = attributes.as_map();
    if let Some(external_id) = stored.get("externalId") {
        document.insert("externalId".into(), external_id.clone());
    }
    copy(&rt.schema.attributes, stored, &mut document, base_url);
    for extension in &rt.extensions {
        if let Some(Value::Object(stored)) = stored.get(&extension.schema.id) {
            let mut members = Map::new();
            copy(&extension.schema.attributes, stored, &mut members, base_url);
            document.insert(extension.schema.id.clone(), Value::Object(members));
        }
    }
    document.insert("meta".into(), meta(rt, envelope, base_url));
    document
}

/// The URNs of the core schema and of each extension the resource has attributes of (RFC 7643 §3).
fn schemas<'rt>(rt: &'rt ResourceType, attributes: &Attributes) -> Vec<&'rt str> {
    let extensions = rt.extensions.iter().map(|extension| extension.schema.id.as_str());
    std::iter::once(rt.schema.id.as_str())
        .chain(extensions.filter(|urn| attributes.as_map().contains_key(*urn)))
        .collect()
}

/// The address of a resource.
pub fn location(base_url: &str, endpoint: &str, id: &str) -> String {
    format!("{base_url}{endpoint}/{id}")
}

/// `text` as an `xsd:dateTime` (RFC 7643 §2.3.5); without an offset it is taken for UTC.
pub fn parse_date_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .ok()
}

/// An instant as `meta` and every other answer have it: UTC, milliseconds.
pub fn format_date_time(instant: OffsetDateTime) -> String {
    let utc = instant.to_offset(UtcOffset::UTC);
    let (date, (hour, minute, second, millisecond)) = (utc.date(), utc.to_hms_milli());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

fn meta(rt: &ResourceType, envelope: &Envelope, base_url: &str) -> Value {
    json!({
        "resourceType": rt.name,
        "created": format_date_time(envelope.created),
        "lastModified": format_date_time(envelope.last_modified),
        "location": location(base_url, &rt.endpoint, &envelope.id),
        "version": envelope.etag(),
    })
}

/// Copies attributes in the schema's order, with their references.
fn copy(schema: &[Attribute], stored: &Map<String, Value>, to: &mut Map<String, Value>, base_url: &str) {
    for attribute in schema {
        if let Some(value) = stored.get(&attribute.name) {
            to.insert(attribute.name.clone(), with_references(attribute, value, base_url));
        }
    }
}

fn with_references(attribute: &Attribute, value: &Value, base_url: &str) -> Value {
    if attribute.kind != Type::Complex {
        return value.clone();
    }
    match value {
        Value::Array(values) => values
            .iter()
            .map(|value| with_references(attribute, value, base_url))
            .collect(),
        Value::Object(stored) => {
            let mut members = Map::new();
            for sub in &attribute.sub_attributes {
                let derived = sub
                    .refers_to_resources()
                    .then(|| reference(sub, stored, base_url))
                    .flatten();
                if let Some(value) = derived.or_else(|| stored.get(&sub.name).cloned()) {
                    members.insert(sub.name.clone(), value);
                }
            }
            Value::Object(members)
        }
        value => value.clone(),
    }
}

/// The address of the resource a complex value names by its `value`: of the type its `type` says, else of the first
/// type the schema allows. None if `value` cannot be an id: `manager.value` is not checked, so it may be anything.
fn reference(sub: &Attribute, stored: &Map<String, Value>, base_url: &str) -> Option<Value> {
    let id = stored.get("value")?.as_str().filter(|id| is_id(id))?;
    let named = stored.get("type").and_then(Value::as_str);
    let types = &sub.reference_types;
    let name = types
        .iter()
        .find(|t| named.is_some_and(|named| t.eq_ignore_ascii_case(named)))
        .or(types.first())?;
    Some(location(base_url, &endpoint(name), id).into())
}

/// Whether `text` could be a resource's id: 1 to 128 characters that need no escaping in a path.
pub fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._~@:+-".contains(&byte))
}

/// A UUID, a number, hexadecimal digits: an id that is nobody's name, so that it may be shown.
pub fn is_nobodys_name(text: &str) -> bool {
    let fits = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    fits && text.bytes().any(|b| b.is_ascii_digit())
}

/// The endpoint of a resource type by its name: the plural, as RFC 7644 §3.2 has it for its own.
pub(super) fn endpoint(name: &str) -> String {
    format!("/{name}s")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::super::attributes::accept;
    use super::super::normalize::Trace;
    use super::super::schema::{Catalog, ENTERPRISE_USER_URN as ENTERPRISE, USER_URN};
    use super::{Envelope, document, format_date_time, is_id, parse_date_time};

    fn bjensen(fields: Value) -> Value {
        let catalog = Catalog::standard();
        let rt = catalog.resource_type("User").unwrap();
        let envelope = Envelope {
            id: "2819c223-7f76-453a-919d-413861904646".into(),
            created: datetime!(2010-01-23 04:56:22 UTC),
            last_modified: datetime!(2011-05-13 06:42:34.5 +2),
            version: "a330bc54f0671c9".into(),
        };
        let attributes = accept(rt, fields, &mut Trace::default()).unwrap().attributes;
        Value::Object(document(rt, &envelope, &attributes, "https://example.com/scim/demo"))
    }

    /// R-GEN-10; RFC 7643 §3.1 and §8.3; the order is the one of every answer.
    #[test]
    fn a_document_is_complete_and_in_order() {
        let user = bjensen(json!({
            ENTERPRISE: { "manager": { "value": "26118915" }, "department": "Tour" },
            "emails": [{ "primary": true, "value": "bjensen@example.com" }],
            "schemas": [USER_URN, ENTERPRISE], "externalId": "701984", "userName": "bjensen",
        }));
        let expected = json!({
            "schemas": [USER_URN, ENTERPRISE],
            "id": "2819c223-7f76-453a-919d-413861904646",
            "externalId": "701984",
            "userName": "bjensen",
            "active": true,
            "emails": [{ "value": "bjensen@example.com", "primary": true }],
            ENTERPRISE: {
                "department": "Tour",
                "manager": { "value": "26118915", "$ref": "https://example.com/scim/demo/Users/26118915" },
            },
            "meta": {
                "resourceType": "User",
                "created": "2010-01-23T04:56:22.000Z",
                "lastModified": "2011-05-13T04:42:34.500Z",
                "location": "https://example.com/scim/demo/Users/2819c223-7f76-453a-919d-413861904646",
                "version": "W/\"a330bc54f0671c9\"",
            },
        });
        assert_eq!(user.to_string(), expected.to_string());
    }

    /// RFC 7643 §3: the schemas of what is there, whatever the client listed.
    #[test]
    fn schemas_are_those_the_resource_has_attributes_of() {
        let user = bjensen(json!({ "schemas": [USER_URN, ENTERPRISE], "userName": "bjensen" }));
        assert_eq!(user["schemas"], json!([USER_URN]));
        let user =
            bjensen(json!({ "schemas": [USER_URN], "userName": "bjensen", ENTERPRISE: { "department": "Tour" } }));
        assert_eq!(user["schemas"], json!([USER_URN, ENTERPRISE]));
    }

    /// Microsoft's validator sends made-up managers.
    #[test]
    fn a_manager_that_cannot_be_an_id_has_no_address() {
        let user = bjensen(json!({ "schemas": [USER_URN], "userName": "b", ENTERPRISE: { "manager": "../a b" } }));
        assert_eq!(user[ENTERPRISE]["manager"], json!({ "value": "../a b" }));
    }

    #[test]
    fn ids_need_no_escaping() {
        for (text, expected) in [
            ("2819c223-7f76-453a-919d-413861904646", true),
            ("b.jensen+1@example.com", true),
            ("a:b~c_d", true),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
            ("", false),
            ("a/b", false),
            ("a b", false),
            ("é", false),
        ] {
            assert_eq!(is_id(text), expected, "{text}");
        }
    }

    /// RFC 7643 §2.3.5.
    #[test]
    fn date_times_are_read_with_and_without_offset() {
        let check =
            |text: &str, expected: Option<OffsetDateTime>| assert_eq!(parse_date_time(text), expected, "{text}");
        check("2008-01-23T04:56:22Z", Some(datetime!(2008-01-23 04:56:22 UTC)));
        check("2008-01-23T04:56:22", Some(datetime!(2008-01-23 04:56:22 UTC)));
        check(
            "2008-01-23T04:56:22.25+01:00",
            Some(datetime!(2008-01-23 03:56:22.25 UTC)),
        );
        for text in [
            "",
            "2008-01-23",
            "2008-01-23T04:56",
            "2008-13-01T00:00:00Z",
            "2008-01-23 04:56:22 UTC",
            "1201064182",
        ] {
            check(text, None);
        }
        let instant = datetime!(2026-12-31 23:59:59.999_999 UTC);
        assert_eq!(format_date_time(instant), "2026-12-31T23:59:59.999Z");
        assert_eq!(
            parse_date_time(&format_date_time(instant)),
            Some(datetime!(2026-12-31 23:59:59.999 UTC))
        );
    }
}
