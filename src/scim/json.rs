//! A client's bytes become JSON, or are refused by the place where they are none.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::error::{Error, Rule};

/// Reads a JSON text. Unlike `serde_json` alone it refuses an object that has a name twice: whoever looked at the
/// request on its way may have read the other one (RFC 8259 §4 leaves open which one counts; RFC 7493 §2.3 forbids it).
///
/// # Errors
/// `invalidSyntax` with line and column, or naming the member that stands twice.
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    let twice = RefCell::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { twice: &twice }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        if let Some(name) = twice.take() {
            return Rule::AttributeTwice.at(name);
        }
        let position = format!("line {}, column {}", error.line(), error.column());
        Rule::BodyNotJson.error().with("position", position)
    })
}

/// Bytes of memory that a JSON text takes as a [`Value`], at most about: each value, name and growing list costs something beside
/// its text.
pub fn memory(bytes: &[u8]) -> usize {
    const EACH: usize = 256;
    let parts = bytes
        .iter()
        .filter(|byte| matches!(byte, b'{' | b'[' | b':' | b','))
        .count();
    2 * bytes.len() + EACH * parts
}

/// Builds a [`Value`]; a name that stands twice is left in `twice`.
#[derive(Clone, Copy)]
struct Strict<'t> {
    twice: &'t RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if map.contains_key(&name) {
                self.twice.replace(Some(name));
                return Err(A::Error::custom("a name stands twice"));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::{Rule, parse};

    #[track_caller]
    fn check_refused(text: &str, rule: Rule, says: &str) {
        let error = parse(text.as_bytes()).expect_err(text);
        assert_eq!(error.rule(), rule, "{text}");
        assert!(error.detail().contains(says), "{text}: {error}");
    }

    #[test]
    fn it_reads_what_serde_json_reads() {
        for text in [
            "{}",
            r#"{"a":[1,-1,1.5,1e3,18446744073709551615,true,false,null,"\u00e9\"",[],{"b":{}}]}"#,
            r#" { "b" : 1 , "a" : 2 } "#,
            r#""text""#,
        ] {
            let expected: serde_json::Value = serde_json::from_str(text).expect(text);
            let read = parse(text.as_bytes()).expect(text);
            assert_eq!(read.to_string(), expected.to_string(), "{text}");
        }
    }

    #[test]
    fn a_place_that_is_no_json_is_named() {
        check_refused("{\"a\":}", Rule::BodyNotJson, "line 1, column 6");
        check_refused("\n{\"a\":1,}", Rule::BodyNotJson, "line 2, column 8");
        check_refused("{} {}", Rule::BodyNotJson, "line 1, column 4");
        check_refused("", Rule::BodyNotJson, "line 1, column 0");
        check_refused(&"[".repeat(100_000), Rule::BodyNotJson, "line 1, column 128");
    }

    #[test]
    fn a_name_that_stands_twice_is_named() {
        check_refused(r#"{"a":1,"a":1}"#, Rule::AttributeTwice, "a appears twice");
        check_refused(r#"{"a":[{"b":1,"\u0062":2}]}"#, Rule::AttributeTwice, "b appears twice");
    }
}
