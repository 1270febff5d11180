//! Which values can be looked up, and how they are spelled in keys: as a keyed hash, so that no personal data stands in
//! a key.

use std::{borrow::Cow, collections::BTreeMap};

use data_encoding::BASE32HEX_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::{
    rows,
    scim::{attributes::Attributes, fold::fold, schema::ResourceType},
    tenants::Tenant,
};

/// An attribute whose values have index rows.
#[derive(Debug)]
pub(super) struct Index {
    /// Resource type.
    resource_type: &'static str,
    /// Attribute and, for a multi-valued one, sub-attribute.
    path: (&'static str, Option<&'static str>),
    /// Another attribute, compared exactly, that makes a pair with the first: together they are looked at for uniqueness
    /// only.
    pair: Option<&'static str>,
    /// First part of the key.
    prefix: &'static str,
    /// One resource per value; the key ends with the hash. Otherwise it ends with the id.
    pub(super) unique: bool,
    /// The schema's `caseExact`.
    case_exact: bool,
}

/// All of them. `email` addresses compare without case (RFC 7643 §4.1.2 leaves it to the schema: `caseExact` false).
///
/// A group is unique by name and `externalId` together: a create that is sent again (Entra after a time-out) and
/// Microsoft's validator get their 409, and two Entra groups of one name don't.
static INDEXES: &[Index] = &[
    Index {
        resource_type: "User",
        path: ("userName", None),
        pair: None,
        prefix: "n",
        unique: true,
        case_exact: false,
    },
    Index {
        resource_type: "User",
        path: ("externalId", None),
        pair: None,
        prefix: "x",
        unique: false,
        case_exact: true,
    },
    Index {
        resource_type: "User",
        path: ("emails", Some("value")),
        pair: None,
        prefix: "e",
        unique: false,
        case_exact: false,
    },
    Index {
        resource_type: "Group",
        path: ("displayName", None),
        pair: None,
        prefix: "d",
        unique: false,
        case_exact: false,
    },
    Index {
        resource_type: "Group",
        path: ("externalId", None),
        pair: None,
        prefix: "y",
        unique: false,
        case_exact: true,
    },
    Index {
        resource_type: "Group",
        path: ("displayName", None),
        pair: Some("externalId"),
        prefix: "q",
        unique: true,
        case_exact: false,
    },
];

/// The indexes of a resource type.
pub(super) fn indexes(of: &ResourceType) -> impl Iterator<Item = &'static Index> {
    INDEXES.iter().filter(|index| index.resource_type == of.name)
}

/// The indexes of an attribute, whatever has it.
pub(super) fn named(attribute: &str) -> impl Iterator<Item = &'static Index> {
    INDEXES.iter().filter(move |index| index.is_of(attribute))
}

/// The letter that begins the keys of a type's resources.
pub(super) fn kind(of: &ResourceType) -> &'static str {
    match of.name.as_str() {
        "Group" => "g",
        _ => "u",
    }
}

/// The index whose rows' keys begin with this letter.
pub(super) fn of_letter(letter: &str) -> Option<&'static Index> {
    INDEXES.iter().find(|index| index.prefix == letter)
}

impl Index {
    /// Whose values it has.
    pub(super) fn resource_type(&self) -> &'static str {
        self.resource_type
    }

    /// The key of a unique value's row, or what the keys of a value's rows begin with.
    pub(super) fn key(&self, tenant: &Tenant, value: &str) -> String {
        let hash = BASE32HEX_NOPAD.encode(&self.hash(tenant, value)).to_ascii_lowercase();
        if self.unique {
            format!("{}~{hash}", self.prefix)
        } else {
            format!("{}~{hash}~", self.prefix)
        }
    }

    /// The hash of a value that its row's key holds.
    pub(super) fn hash(&self, tenant: &Tenant, value: &str) -> [u8; 20] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&tenant.index_key).expect("HMAC takes keys of any length");
        mac.update(self.prefix.as_bytes());
        mac.update(self.normal(value).as_bytes());
        let mut hash = [0; 20];
        hash.copy_from_slice(&mac.finalize().into_bytes()[..20]);
        hash
    }

    /// Whether this is what a filter's equality names: `userName`, `emails.value`.
    pub(super) fn is_of(&self, name: &str) -> bool {
        let (attribute, sub) = self.path;
        self.pair.is_none()
            && match name.split_once('.') {
                Some((head, tail)) => head == attribute && Some(tail) == sub,
                None => name == attribute && sub.is_none(),
            }
    }

    /// The attribute, for refusals.
    pub(super) fn attribute(&self) -> &'static str {
        self.path.0
    }

    /// What stands in it, in words.
    pub(super) fn name(&self) -> &'static str {
        match self.pair {
            Some(_) => "displayName and externalId",
            None => self.path.0,
        }
    }

    /// Whether two values are the same to this attribute.
    pub(super) fn same(&self, one: &str, other: &str) -> bool {
        self.normal(one) == self.normal(other)
    }

    fn normal(&self, value: &str) -> String {
        match value.split_once(PAIR) {
            _ if self.case_exact => value.to_owned(),
            Some((first, second)) if self.pair.is_some() => format!("{}{PAIR}{second}", fold(first)),
            _ => fold(value),
        }
    }

    fn values<'a>(&self, attributes: &'a Attributes) -> Vec<Cow<'a, str>> {
        let (name, sub) = self.path;
        match (attributes.as_map().get(name), sub) {
            (Some(Value::String(value)), None) => match self.pair {
                Some(other) => {
                    let other = attributes.as_map().get(other).and_then(Value::as_str);
                    vec![format!("{value}{PAIR}{}", other.unwrap_or_default()).into()]
                }
                None => vec![value.into()],
            },
            (Some(Value::Array(elements)), Some(sub)) => elements
                .iter()
                .filter_map(|element| element.get(sub)?.as_str().map(Cow::from))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Stands between the two values of a pair.
const PAIR: char = '\u{0}';

/// A row that an index should have.
pub(super) struct Entry {
    pub(super) index: &'static Index,
    pub(super) value: String,
}

/// The index rows that a resource should have, by key.
pub(super) fn entries(
    of: &ResourceType,
    tenant: &Tenant,
    id: &str,
    attributes: &Attributes,
) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    for index in indexes(of) {
        for value in index.values(attributes) {
            let mut key = index.key(tenant, &value);
            if !index.unique {
                key.push_str(&rows::id_part(id));
            }
            let value = value.into_owned();
            entries.entry(key).or_insert(Entry { index, value });
        }
    }
    entries
}
