//! Entities, and how they are spelled in JSON.

use std::collections::BTreeMap;

use azure_core::{
    Uuid, base64,
    http::Etag,
    time::{OffsetDateTime, parse_rfc3339, to_rfc3339},
};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// One row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// Names the partition: what one transaction can change.
    pub partition_key: String,
    /// Unique inside the partition; queries return entities in its order.
    pub row_key: String,
    /// The version that was read; not sent (an update names the version it expects by [`IfMatch`](crate::IfMatch)).
    pub etag: Option<Etag>,
    /// When the service last wrote the entity; not sent.
    pub timestamp: Option<OffsetDateTime>,
    /// The rest. A property that is null in the service is absent here.
    pub properties: BTreeMap<String, Property>,
}

/// A property's value, one variant for each type of the service.
#[derive(Clone, Debug, PartialEq)]
pub enum Property {
    /// `Edm.Binary`, at most 64 KiB.
    Binary(Vec<u8>),
    /// `Edm.Boolean`.
    Boolean(bool),
    /// `Edm.DateTime`, precise to 100 ns; from the year 1601 on.
    DateTime(OffsetDateTime),
    /// `Edm.Double`.
    Double(f64),
    /// `Edm.Guid`.
    Guid(Uuid),
    /// `Edm.Int32`.
    Int32(i32),
    /// `Edm.Int64`; a string in JSON.
    Int64(i64),
    /// `Edm.String`, at most 64 KiB of UTF-16.
    String(String),
}

impl Entity {
    /// An entity without properties.
    pub fn new(partition_key: impl Into<String>, row_key: impl Into<String>) -> Self {
        Self {
            partition_key: partition_key.into(),
            row_key: row_key.into(),
            etag: None,
            timestamp: None,
            properties: BTreeMap::new(),
        }
    }

    /// The same with one property more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Property>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    pub(crate) fn to_json(&self) -> String {
        let mut json = Map::new();
        json.insert("PartitionKey".to_owned(), self.partition_key.as_str().into());
        json.insert("RowKey".to_owned(), self.row_key.as_str().into());
        for (name, value) in &self.properties {
            if let Some(annotation) = value.annotation() {
                json.insert(format!("{name}@odata.type"), annotation.into());
            }
            json.insert(name.clone(), value.to_json());
        }
        Value::Object(json).to_string()
    }

    pub(crate) fn from_json(mut json: Map<String, Value>) -> Result<Self> {
        let mut entity = Self::new(take_text(&mut json, "PartitionKey"), take_text(&mut json, "RowKey"));
        let etag = take_text(&mut json, "odata.etag");
        entity.etag = (!etag.is_empty()).then(|| etag.into());
        entity.timestamp = parse_rfc3339(&take_text(&mut json, "Timestamp")).ok();
        let (annotations, values): (Vec<_>, Vec<_>) = json.into_iter().partition(|(name, _)| name.contains('@'));
        let types: BTreeMap<String, Value> = annotations.into_iter().collect();
        for (name, value) in values {
            if name.starts_with("odata.") || value.is_null() {
                continue;
            }
            let annotation = types.get(&format!("{name}@odata.type")).and_then(Value::as_str);
            let property = Property::from_json(annotation, value)
                .ok_or_else(|| Error::response(format!("property {name} is not of its type")))?;
            entity.properties.insert(name, property);
        }
        Ok(entity)
    }
}

impl Property {
    /// What the service can't tell from the JSON value alone.
    fn annotation(&self) -> Option<&'static str> {
        match self {
            Self::Binary(_) => Some("Edm.Binary"),
            Self::DateTime(_) => Some("Edm.DateTime"),
            Self::Double(_) => Some("Edm.Double"),
            Self::Guid(_) => Some("Edm.Guid"),
            Self::Int64(_) => Some("Edm.Int64"),
            Self::Boolean(_) | Self::Int32(_) | Self::String(_) => None,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Binary(bytes) => base64::encode(bytes).into(),
            Self::Boolean(value) => (*value).into(),
            Self::DateTime(time) => date_time(*time).into(),
            Self::Double(value) if value.is_finite() => (*value).into(),
            Self::Double(value) => non_finite(*value).into(),
            Self::Guid(id) => id.to_string().into(),
            Self::Int32(value) => (*value).into(),
            Self::Int64(value) => value.to_string().into(),
            Self::String(text) => text.as_str().into(),
        }
    }

    fn from_json(annotation: Option<&str>, value: Value) -> Option<Self> {
        Some(match (annotation, value) {
            (Some("Edm.Binary"), Value::String(text)) => Self::Binary(base64::decode(text).ok()?),
            (Some("Edm.DateTime"), Value::String(text)) => Self::DateTime(parse_rfc3339(&text).ok()?),
            (Some("Edm.Double"), Value::Number(number)) => Self::Double(number.as_f64()?),
            (Some("Edm.Double"), Value::String(text)) => Self::Double(text.parse().ok()?),
            (Some("Edm.Guid"), Value::String(text)) => Self::Guid(text.parse().ok()?),
            (Some("Edm.Int64"), Value::String(text)) => Self::Int64(text.parse().ok()?),
            (_, Value::Bool(value)) => Self::Boolean(value),
            (_, Value::Number(number)) => match number.as_i64().map(i32::try_from) {
                Some(Ok(value)) => Self::Int32(value),
                _ => Self::Double(number.as_f64()?),
            },
            (_, Value::String(text)) => Self::String(text),
            (_, Value::Null | Value::Array(_) | Value::Object(_)) => return None,
        })
    }
}

/// The service keeps 7 digits of a second and refuses more.
pub(crate) fn date_time(time: OffsetDateTime) -> String {
    let nanosecond = time.nanosecond() / 100 * 100;
    to_rfc3339(&time.replace_nanosecond(nanosecond).unwrap_or(time))
}

fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn take_text(json: &mut Map<String, Value>, name: &str) -> String {
    match json.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

impl From<&str> for Property {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

macro_rules! property_from {
    ($($source:ty => $variant:ident),*) => {
        $(impl From<$source> for Property {
            fn from(value: $source) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

property_from!(
    Vec<u8> => Binary, bool => Boolean, OffsetDateTime => DateTime, f64 => Double,
    Uuid => Guid, i32 => Int32, i64 => Int64, String => String
);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Entity> {
        Entity::from_json(serde_json::from_str(json).unwrap())
    }

    #[track_caller]
    fn check(value: impl Into<Property>, json: &str) {
        let entity = Entity::new("p", "r").with("x", value);
        assert_eq!(
            entity.to_json(),
            format!(r#"{{"PartitionKey":"p","RowKey":"r",{json}}}"#)
        );
        assert_eq!(parse(&entity.to_json()).unwrap(), entity);
    }

    #[test]
    fn every_type_is_spelled_as_documented_and_read_back() {
        check(vec![0, 1, 255], r#""x@odata.type":"Edm.Binary","x":"AAH/""#);
        check(Vec::new(), r#""x@odata.type":"Edm.Binary","x":"""#);
        check(true, r#""x":true"#);
        check(
            parse_rfc3339("2026-11-22T15:00:00.1234567Z").unwrap(),
            r#""x@odata.type":"Edm.DateTime","x":"2026-11-22T15:00:00.1234567Z""#,
        );
        check(3.0, r#""x@odata.type":"Edm.Double","x":3.0"#);
        check(f64::NEG_INFINITY, r#""x@odata.type":"Edm.Double","x":"-Infinity""#);
        check(
            Uuid::from_u128(0xc9da_6455_213d_42c9_9a79_3e91_49a5_7833),
            r#""x@odata.type":"Edm.Guid","x":"c9da6455-213d-42c9-9a79-3e9149a57833""#,
        );
        check(-7_i32, r#""x":-7"#);
        check(i64::MAX, r#""x@odata.type":"Edm.Int64","x":"9223372036854775807""#);
        check("a\r\n\"ü😀", "\"x\":\"a\\r\\n\\\"ü😀\"");
    }

    #[test]
    fn times_are_cut_to_what_the_service_keeps() {
        let time = parse_rfc3339("2026-11-22T15:00:00.123456789Z").unwrap();
        assert_eq!(date_time(time), "2026-11-22T15:00:00.1234567Z");
    }

    #[test]
    fn minimal_metadata_as_the_service_sends_it_is_read() {
        let entity = parse(
            r#"{"odata.metadata":"https://account.table.core.windows.net/$metadata#t/@Element",
                "odata.etag":"W/\"datetime'2026-11-22T15%3A00%3A00.1234567Z'\"",
                "PartitionKey":"p","RowKey":"r","Timestamp":"2026-11-22T15:00:00.1234567Z",
                "age":39,"even":3.0,"gone":null,"b@odata.type":"Edm.Binary","b":"YmluYXJ5"}"#,
        )
        .unwrap();
        assert_eq!(
            entity.etag,
            Some("W/\"datetime'2026-11-22T15%3A00%3A00.1234567Z'\"".into())
        );
        assert_eq!(entity.timestamp, parse_rfc3339("2026-11-22T15:00:00.1234567Z").ok());
        let expected: BTreeMap<_, _> = [
            ("age".to_owned(), 39_i32.into()),
            ("even".to_owned(), 3.0.into()),
            ("b".to_owned(), b"binary".to_vec().into()),
        ]
        .into();
        assert_eq!(entity.properties, expected);
    }

    #[test]
    fn a_value_that_is_not_of_its_type_is_an_error_without_the_value() {
        for json in [
            r#"{"x@odata.type":"Edm.Binary","x":"s3cret!"}"#,
            r#"{"x@odata.type":"Edm.Int64","x":"s3cret!"}"#,
            r#"{"x":["s3cret!"]}"#,
        ] {
            let error = parse(json).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret!"), "{error:?}");
        }
    }
}
