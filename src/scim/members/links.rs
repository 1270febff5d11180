//! A group's `members` and a user's `groups` as an answer has them (RFC 7643 §4.1.2, §4.2).

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::super::resource::{endpoint, location};
use super::{Kind, Member};

/// One value of `members` or `groups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    id: &'a str,
    to: Option<Kind>,
    label: Option<&'static str>,
    display: Option<&'a str>,
}

impl<'a> Link<'a> {
    /// A member of a group, with its name if that is known.
    pub fn member(member: &'a Member, display: Option<&'a str>) -> Link<'a> {
        Link {
            id: &member.id,
            to: member.kind,
            label: member.kind.map(Kind::keyword),
            display,
        }
    }

    /// A group that a user is in, directly or through another group.
    pub fn group(id: &'a str, is_direct: bool, display: Option<&'a str>) -> Link<'a> {
        Link {
            id,
            to: Some(Kind::Group),
            label: Some(if is_direct { "direct" } else { "indirect" }),
            display,
        }
    }

    /// The value, complete.
    pub fn to_value(self, base_url: &str) -> Value {
        let parts = self.parts(base_url).into_iter();
        let parts = parts.filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
        Value::Object(parts.collect())
    }

    /// In the order of the schemas.
    fn parts(self, base_url: &str) -> [(&'static str, Option<Cow<'a, str>>); 4] {
        let address = self
            .to
            .map(|kind| location(base_url, &endpoint(kind.keyword()), self.id));
        [
            ("value", Some(self.id.into())),
            ("$ref", address.map(Cow::Owned)),
            ("display", self.display.map(Cow::Borrowed)),
            ("type", self.label.map(Cow::Borrowed)),
        ]
    }
}

/// A document with so many links that they are written one by one: as [`Value`]s, 100,000 members would take
/// about 80 MB, their text takes 16.
#[derive(Debug)]
pub struct LongDocument<'a, L> {
    document: Map<String, Value>,
    name: &'a str,
    links: L,
    base_url: &'a str,
}

/// What stands in a document in the place of its links: one with every part, so that a projection of the document tells
/// which parts the client wants, if any.
pub fn placeholder() -> Value {
    let parts = ["value", "$ref", "display", "type"].map(|name| (name.to_owned(), name.into()));
    Value::Array(vec![Value::Object(Map::from_iter(parts))])
}

impl<'a, L: Iterator<Item = Link<'a>> + Clone> LongDocument<'a, L> {
    /// The projected `document`, with `links` where the attribute `name` has the [`placeholder`]. If it was left
    /// out they are too.
    pub fn new(document: Map<String, Value>, name: &'a str, links: L, base_url: &'a str) -> Self {
        Self {
            document,
            name,
            links,
            base_url,
        }
    }
}

impl<'a, L: Iterator<Item = Link<'a>> + Clone> Serialize for LongDocument<'a, L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_map(None)?;
        for (name, value) in &self.document {
            if name == self.name {
                let links = Every {
                    links: self.links.clone(),
                    wanted: &value[0],
                    base_url: self.base_url,
                };
                document.serialize_entry(name, &links)?;
            } else {
                document.serialize_entry(name, value)?;
            }
        }
        document.end()
    }
}

struct Every<'a, L> {
    links: L,
    wanted: &'a Value,
    base_url: &'a str,
}

impl<'l, L: Iterator<Item = Link<'l>> + Clone> Serialize for Every<'_, L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.links.clone().map(|link| One {
            link,
            wanted: self.wanted,
            base_url: self.base_url,
        }))
    }
}

struct One<'a> {
    link: Link<'a>,
    wanted: &'a Value,
    base_url: &'a str,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = self.link.parts(self.base_url).into_iter();
        serializer.collect_map(parts.filter(|(name, text)| text.is_some() && self.wanted.get(name).is_some()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::super::super::projection::{Selection, project};
    use super::super::super::schema::Catalog;
    use super::{Kind, Link, LongDocument, Member, placeholder};

    const BASE: &str = "https://example.com/scim/demo";

    fn member(id: &str, kind: Kind) -> Member {
        Member {
            id: id.to_owned(),
            kind: Some(kind),
        }
    }

    /// RFC 7643 §8.4 and §8.3, with absolute addresses.
    #[test]
    fn a_link_tells_where_it_leads() {
        let (user, group) = (member("2819c223", Kind::User), member("c3a26dd3", Kind::Group));
        for (link, expected) in [
            (
                Link::member(&user, Some("Babs Jensen")),
                json!({
                    "value": "2819c223", "$ref": format!("{BASE}/Users/2819c223"), "display": "Babs Jensen",
                    "type": "User",
                }),
            ),
            (
                Link::member(&group, None),
                json!({ "value": "c3a26dd3", "$ref": format!("{BASE}/Groups/c3a26dd3"), "type": "Group" }),
            ),
            (
                Link::group("c3a26dd3", true, Some("Tour Guides")),
                json!({
                    "value": "c3a26dd3", "$ref": format!("{BASE}/Groups/c3a26dd3"), "display": "Tour Guides",
                    "type": "direct",
                }),
            ),
            (
                Link::group("c3a26dd3", false, None),
                json!({ "value": "c3a26dd3", "$ref": format!("{BASE}/Groups/c3a26dd3"), "type": "indirect" }),
            ),
        ] {
            assert_eq!(link.to_value(BASE).to_string(), expected.to_string());
        }
    }

    /// RFC 7644 §3.9: what is written one by one is what the projection of the whole would be.
    #[test]
    fn a_long_document_is_the_projected_one() {
        let catalog = Catalog::standard();
        let rt = catalog.resource_type("Group").unwrap();
        let members = [member("2819c223", Kind::User), member("c3a26dd3", Kind::Group)];
        let links = || {
            members
                .iter()
                .zip([None, Some("Guides")])
                .map(|(it, name)| Link::member(it, name))
        };
        let document = |members: Value| {
            let document = json!({
                "schemas": [rt.schema.id], "id": "e9e30dba", "displayName": "Tour Guides", "members": members,
                "meta": { "resourceType": "Group" },
            });
            document.as_object().cloned().unwrap_or_else(Map::new)
        };
        let whole = document(links().map(|link| link.to_value(BASE)).collect());
        for (attributes, excluded) in [
            ("", ""),
            ("members", ""),
            ("members.value", ""),
            ("displayName,members.type,members.display", ""),
            ("displayName", ""),
            ("", "members"),
            ("", "members.display,members.$ref"),
        ] {
            let selection = Selection::parse(rt, Some(attributes), Some(excluded)).unwrap();
            let projected = project(rt, document(placeholder()), &selection);
            let long = LongDocument::new(projected, "members", links(), BASE);
            let expected = project(rt, whole.clone(), &selection);
            assert_eq!(
                serde_json::to_string(&long).unwrap(),
                Value::Object(expected).to_string(),
                "{attributes} {excluded}"
            );
        }
    }
}
