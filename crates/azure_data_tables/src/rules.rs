//! The service's limits, checked before anything is sent. Azurite 3.37 accepts what breaks several of them, so nothing
//! but this file keeps local use and Azure alike.
//!
//! Source: "Understanding the Table service data model" and "Performing entity group transactions" in the Azure
//! Storage REST reference.

use crate::{
    entity::{Entity, Property},
    error::{Error, Result},
};

/// Most UTF-16 code units in a partition or row key (1 KiB).
pub const MAX_KEY_UNITS: usize = 512;
/// Most properties of an entity, beside its keys and its timestamp.
pub const MAX_PROPERTIES: usize = 252;
/// Most bytes of one string (counted as UTF-16) or binary property.
pub const MAX_PROPERTY_BYTES: usize = 64 * 1024;
/// Most bytes of one entity, counted as the service does.
pub const MAX_ENTITY_BYTES: usize = 1024 * 1024;
/// Most actions of one transaction.
pub const MAX_TRANSACTION_ACTIONS: usize = 100;
/// Most bytes of one transaction's encoded body.
pub const MAX_TRANSACTION_BYTES: usize = 4 * 1024 * 1024;
/// Most entities in one page of a query.
pub const MAX_PAGE_ENTITIES: u32 = 1000;
/// Most bytes of a response that this client reads; the service's own pages are smaller.
pub const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// Most UTF-16 code units in a property's name.
const MAX_PROPERTY_NAME_UNITS: usize = 255;

/// A key the service takes: no `/ \ # ?`, no control characters, at most [`MAX_KEY_UNITS`].
pub(crate) fn check_key(what: &str, key: &str) -> Result<()> {
    if utf16_len(key) > MAX_KEY_UNITS {
        return Err(Error::invalid(format!(
            "the {what} is longer than {MAX_KEY_UNITS} UTF-16 units"
        )));
    }
    if key
        .chars()
        .any(|c| matches!(c, '/' | '\\' | '#' | '?') || c.is_control())
    {
        return Err(Error::invalid(format!(
            "the {what} has a character that keys must not have"
        )));
    }
    Ok(())
}

/// A table's name: 3 to 63 ASCII letters and digits, a letter first, not the reserved word `tables`.
pub(crate) fn check_table_name(name: &str) -> Result<()> {
    let fits = (3..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
        && !name.eq_ignore_ascii_case("tables");
    if fits {
        return Ok(());
    }
    Err(Error::invalid(
        "a table's name is 3 to 63 ASCII letters and digits, begins with a letter, and is not \"tables\"",
    ))
}

/// Keys, names, number, sizes and sum of the properties.
pub(crate) fn check_entity(entity: &Entity) -> Result<()> {
    check_key("partition key", &entity.partition_key)?;
    check_key("row key", &entity.row_key)?;
    if entity.properties.len() > MAX_PROPERTIES {
        return Err(Error::invalid(format!(
            "an entity of {} properties, {MAX_PROPERTIES} are allowed",
            entity.properties.len()
        )));
    }
    let mut bytes = 4 + 2 * (utf16_len(&entity.partition_key) + utf16_len(&entity.row_key));
    for (name, value) in &entity.properties {
        check_property_name(name)?;
        let size = property_bytes(value);
        if size > MAX_PROPERTY_BYTES {
            return Err(Error::invalid(format!(
                "property {name} has {size} bytes, {MAX_PROPERTY_BYTES} are allowed"
            )));
        }
        bytes += 8 + 2 * utf16_len(name) + 4 + size;
    }
    if bytes > MAX_ENTITY_BYTES {
        return Err(Error::invalid(format!(
            "an entity of {bytes} bytes, {MAX_ENTITY_BYTES} are allowed"
        )));
    }
    Ok(())
}

fn check_property_name(name: &str) -> Result<()> {
    let identifier = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && utf16_len(name) <= MAX_PROPERTY_NAME_UNITS;
    if identifier && !matches!(name, "PartitionKey" | "RowKey" | "Timestamp") {
        return Ok(());
    }
    Err(Error::invalid("a property's name is not one that the service takes"))
}

fn property_bytes(value: &Property) -> usize {
    match value {
        Property::Binary(bytes) => bytes.len(),
        Property::Boolean(_) => 1,
        Property::Int32(_) => 4,
        Property::DateTime(_) | Property::Double(_) | Property::Int64(_) => 8,
        Property::Guid(_) => 16,
        Property::String(text) => 2 * utf16_len(text),
    }
}

fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accepted: bool, entity: &Entity) {
        assert_eq!(check_entity(entity).is_ok(), accepted, "{:?}", check_entity(entity));
    }

    #[test]
    fn keys_have_the_documented_alphabet_and_length() {
        for key in [
            "",
            "o'brien",
            "a b",
            "100%",
            "ü~-._",
            &"k".repeat(512),
            &"😀".repeat(256),
        ] {
            check(true, &Entity::new("p", key));
            check(true, &Entity::new(key, "r"));
        }
        for key in [
            "a/b",
            "a\\b",
            "a#b",
            "a?b",
            "a\u{1f}b",
            "a\u{7f}b",
            "a\u{9f}b",
            &"k".repeat(513),
            &"😀".repeat(257),
        ] {
            check(false, &Entity::new("p", key));
            check(false, &Entity::new(key, "r"));
        }
    }

    #[test]
    fn properties_have_a_number_a_size_and_a_name() {
        let many = |n: usize| (0..n).fold(Entity::new("p", "r"), |entity, i| entity.with(format!("p{i}"), 1_i32));
        check(true, &many(MAX_PROPERTIES));
        check(false, &many(MAX_PROPERTIES + 1));

        let binary = |n: usize| Entity::new("p", "r").with("b", vec![0; n]);
        check(true, &binary(MAX_PROPERTY_BYTES));
        check(false, &binary(MAX_PROPERTY_BYTES + 1));
        check(true, &Entity::new("p", "r").with("s", "x".repeat(32 * 1024)));
        check(false, &Entity::new("p", "r").with("s", "x".repeat(32 * 1024 + 1)));

        for name in [
            "",
            "1st",
            "a-b",
            "a b",
            "odata.etag",
            "PartitionKey",
            "RowKey",
            "Timestamp",
        ] {
            check(false, &Entity::new("p", "r").with(name, true));
        }
        check(false, &Entity::new("p", "r").with("n".repeat(256), true));
    }

    #[test]
    fn an_entity_has_at_most_one_mebibyte() {
        let of = |n: usize| {
            (0..n).fold(Entity::new("p", "r"), |entity, i| {
                entity.with(format!("b{i:02}"), vec![0; MAX_PROPERTY_BYTES])
            })
        };
        check(true, &of(15));
        check(false, &of(16));
    }

    #[test]
    fn a_table_has_an_alphanumeric_name() {
        for (name, accepted) in [
            ("scimgate", true),
            ("a1b", true),
            ("ab", false),
            ("1abc", false),
            ("a_b", false),
            ("Tables", false),
        ] {
            assert_eq!(check_table_name(name).is_ok(), accepted, "{name}");
        }
        assert!(check_table_name(&"a".repeat(63)).is_ok());
        assert!(check_table_name(&"a".repeat(64)).is_err());
    }
}
