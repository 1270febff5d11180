//! Sorting (RFC 7644 §3.4.2.3): what a resource is sorted by, and how two of them compare.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};
use time::OffsetDateTime;

use super::error::{Error, Rule};
use super::fold::fold;
use super::limits::MAX_FILTER_BYTES;
use super::list::SortBy;
use super::normalize::Trace;
use super::path::{Path, Resolved, Scope};
use super::resource::parse_date_time;
use super::schema::{Attribute, ResourceType, Returned, Type};

/// An attribute to sort by.
#[derive(Clone, Debug, PartialEq)]
pub struct Sort {
    /// Ends at something that has no parts.
    path: Path,
    descending: bool,
}

impl Sort {
    /// Whether it looks at the attribute `name` of the core schema.
    pub fn is_by(&self, name: &str) -> bool {
        self.path.extension().is_none() && self.path.attribute() == Some(name)
    }
}

/// What one resource is sorted by; none if it has no such value.
///
/// Values of different types, which only a query on several resource types can meet, are ordered by their types.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Key {
    /// False before true.
    Boolean(bool),
    /// By value: as a floating-point number, then exactly as far as it is whole.
    Number(f64, i128),
    /// Earlier first.
    Time(OffsetDateTime),
    /// By code points; folded unless the attribute is `caseExact`.
    Text(String),
}

impl Sort {
    /// Reads `sortBy` for resources of the first of these types. What only another one has is missing there.
    ///
    /// # Errors
    /// `invalidPath` for what none of the types has, what has parts, or what is never stored; `sensitive` for what is never
    /// returned.
    pub fn parse(types: &[&ResourceType], by: &SortBy, trace: &mut Trace) -> Result<Sort, Error> {
        let name = by.attribute.as_str();
        let unknown = || Rule::UnknownSortAttribute.at(name);
        if name.len() > MAX_FILTER_BYTES {
            return Err(unknown());
        }
        let Resolved { path, definition } = Scope::FirstOf(types).resolve(name, trace).map_err(|_| unknown())?;
        let part = path.sub_attribute().and_then(|name| definition?.sub_attribute(name));
        if [definition, part].into_iter().flatten().any(is_hidden) {
            return Err(Rule::SortSensitive.at(path.name()));
        }
        let name_of_other = definition.and_then(Attribute::name_of_other);
        if part.is_some() && part == name_of_other {
            let value = format!("{}.value", path.attribute_name());
            return Err(Rule::SortByDerived.at(path.name()).with("expected", value));
        }
        let needs_part =
            |(path, part): (Path, String)| Rule::SortNeedsSubAttribute.at(path.name()).with("expected", part);
        Ok(Sort {
            path: path.comparable(definition).map_err(needs_part)?,
            descending: by.descending,
        })
    }

    /// What the complete resource `document` is sorted by: of several values the primary one, else the first.
    pub fn key(&self, document: &Map<String, Value>) -> Option<Key> {
        let holder = match self.path.extension() {
            Some(urn) => document.get(urn)?.as_object()?,
            None => document,
        };
        let mut value = one_of(holder.get(self.path.attribute()?)?)?;
        if let Some(part) = self.path.sub_attribute() {
            value = one_of(value.get(part)?)?;
        }
        let leaf = self.path.leaf();
        Some(match value {
            Value::Bool(boolean) => Key::Boolean(*boolean),
            Value::Number(number) => of_number(number)?,
            Value::String(text) if leaf.kind == Type::DateTime => Key::Time(parse_date_time(text)?),
            Value::String(text) if leaf.case_exact => Key::Text(text.clone()),
            Value::String(text) => Key::Text(fold(text)),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        })
    }

    /// The order of two resources by their keys. Who has none comes last when ascending, first when descending.
    pub fn compare(&self, left: Option<&Key>, right: Option<&Key>) -> Ordering {
        let ascending = match (left, right) {
            (Some(left), Some(right)) => left.order(right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        if self.descending {
            ascending.reverse()
        } else {
            ascending
        }
    }
}

impl Key {
    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) => text.len(),
                Self::Boolean(_) | Self::Number(..) | Self::Time(_) => 0,
            }
    }

    /// Total, as numbers are never NaN: JSON has none.
    fn order(&self, other: &Self) -> Ordering {
        self.partial_cmp(other).unwrap_or(Ordering::Equal)
    }
}

fn is_hidden(attribute: &Attribute) -> bool {
    attribute.returned == Returned::Never
}

/// RFC 7644 §3.4.2.3: "if it's a multi-valued attribute, resources are sorted by the value of the primary attribute, if
/// any, or else the first value in the list, if any".
fn one_of(value: &Value) -> Option<&Value> {
    let Value::Array(values) = value else {
        return Some(value);
    };
    let primary = values
        .iter()
        .find(|value| value.get("primary") == Some(&Value::Bool(true)));
    primary.or(values.first())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the whole part orders numbers whose floats are equal"
)]
fn of_number(number: &Number) -> Option<Key> {
    let float = number.as_f64()?;
    let whole = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    Some(Key::Number(float, whole.unwrap_or(float as i128)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::error::Rule;
    use super::super::list::SortBy;
    use super::super::normalize::{Quirk, Trace};
    use super::super::schema::{Catalog, ENTERPRISE_USER_URN, Extension, ResourceType, Schema};
    use super::Sort;

    const BADGE: &str = "urn:example:badge";

    fn user() -> ResourceType {
        let badge = json!({ "id": BADGE, "attributes": [
            { "name": "floor", "type": "integer" },
            { "name": "height", "type": "decimal" },
            { "name": "issued", "type": "dateTime" },
            { "name": "serial", "caseExact": true },
            { "name": "pin", "returned": "never" },
            { "name": "door", "type": "complex", "subAttributes": [{ "name": "code", "returned": "never" }] },
            { "name": "colours", "multiValued": true },
        ] });
        let mut user = ResourceType::clone(Catalog::standard().resource_type("User").unwrap());
        user.extensions.push(Extension {
            schema: Arc::new(Schema::from_json(&badge).unwrap()),
            required: false,
        });
        user
    }

    fn sort(by: &str, descending: bool) -> Result<Sort, super::Error> {
        let by = SortBy {
            attribute: by.to_owned(),
            descending,
        };
        Sort::parse(&[&user()], &by, &mut Trace::default())
    }

    fn sorted(by: &str, descending: bool, documents: &[Value]) -> Vec<usize> {
        let sort = sort(by, descending).unwrap();
        let keys: Vec<_> = documents
            .iter()
            .map(|document| sort.key(document.as_object().unwrap()))
            .collect();
        let mut order: Vec<usize> = (0..documents.len()).collect();
        order.sort_by(|left, right| sort.compare(keys[*left].as_ref(), keys[*right].as_ref()));
        order
    }

    /// `documents` come in this order when ascending; those that are equal stand together.
    #[track_caller]
    fn check(by: &str, documents: &[Value]) {
        let mixed: Vec<usize> = (0..documents.len()).rev().collect();
        let reversed: Vec<Value> = mixed.iter().map(|at| documents[*at].clone()).collect();
        assert_eq!(sorted(by, false, &reversed), mixed, "{by} ascending");
        assert_eq!(sorted(by, true, documents), mixed, "{by} descending");
    }

    /// RFC 7644 §3.4.2.3.
    #[test]
    fn values_are_ordered_by_their_type() {
        check(
            "userName",
            &[
                json!({ "userName": "ADA" }),
                json!({ "userName": "bob" }),
                json!({ "userName": "Cid" }),
            ],
        );
        check(
            "USERNAME",
            &[json!({ "userName": "stra\u{df}a" }), json!({ "userName": "STRASSE" })],
        );
        check(
            "externalId",
            &[json!({ "externalId": "B" }), json!({ "externalId": "a" })],
        );
        check("active", &[json!({ "active": false }), json!({ "active": true })]);
        let badge = |name: &str, value: Value| json!({ BADGE: { name: value } });
        check(
            &format!("{BADGE}:floor"),
            &[
                badge("floor", json!(-2)),
                badge("floor", json!(9)),
                badge("floor", json!(10)),
            ],
        );
        let (large, larger) = (json!(9_007_199_254_740_992_i64), json!(9_007_199_254_740_993_i64));
        check("floor", &[badge("floor", large), badge("floor", larger)]);
        check(
            "height",
            &[
                badge("height", json!(1)),
                badge("height", json!(1.5)),
                badge("height", json!(2)),
            ],
        );
        check(
            "issued",
            &[
                badge("issued", json!("2026-01-01T01:00:00+02:00")),
                badge("issued", json!("2026-01-01T00:00:00Z")),
            ],
        );
        check("serial", &[badge("serial", json!("B")), badge("serial", json!("a"))]);
        let modified = |time: &str| json!({ "meta": { "lastModified": time } });
        check(
            "meta.lastModified",
            &[
                modified("2010-01-23T04:56:22.000Z"),
                modified("2011-05-13T04:42:34.500Z"),
            ],
        );
    }

    /// RFC 7644 §3.4.2.3: last when ascending, first when descending.
    #[test]
    fn who_has_no_value_comes_last_or_first() {
        check("title", &[json!({ "title": "Guide" }), json!({})]);
        check(
            "name.familyName",
            &[json!({ "name": { "familyName": "Jensen" } }), json!({ "name": {} })],
        );
        assert_eq!(
            sorted("title", false, &[json!({}), json!({})]),
            [0, 1],
            "equal ones stay where they are"
        );
    }

    /// RFC 7644 §3.4.2.3.
    #[test]
    fn of_several_values_the_primary_counts_or_else_the_first() {
        let emails = |values: Value| json!({ "emails": values });
        let documents = [
            emails(json!([{ "value": "z@example.com" }, { "value": "a@example.com", "primary": true }])),
            emails(json!([{ "value": "b@example.com" }, { "value": "A@example.com", "primary": false }])),
            emails(json!([{ "value": "c@example.com", "primary": true }])),
            emails(json!([{ "type": "work" }])),
        ];
        check("emails", &documents);
        check("emails.value", &documents);
        check(
            "colours",
            &[
                json!({ BADGE: { "colours": ["red"] } }),
                json!({ BADGE: { "colours": ["white", "blue"] } }),
            ],
        );
    }

    #[test]
    fn an_attribute_is_named_as_in_filters() {
        let by = SortBy {
            attribute: "manager".to_owned(),
            descending: false,
        };
        let mut trace = Trace::default();
        let sort = Sort::parse(&[&user()], &by, &mut trace).unwrap();
        assert_eq!(trace.notes()[0].quirk, Quirk::UnqualifiedKey);
        let document = json!({ ENTERPRISE_USER_URN: { "manager": { "value": "26118915" } } });
        assert!(sort.key(document.as_object().unwrap()).is_some());
        for by in [
            "urn:ietf:params:scim:schemas:core:2.0:User:userName",
            "addresses.locality",
            "manager.value",
        ] {
            assert!(super::tests::sort(by, false).is_ok(), "{by}");
        }
    }

    #[test]
    fn what_cannot_be_sorted_by_is_refused_by_name() {
        #[track_caller]
        fn check(by: &str, rule: Rule, detail_has: &str) {
            let error = sort(by, false).unwrap_err();
            assert_eq!(error.rule(), rule, "{by}: {error}");
            assert!(error.detail().contains(detail_has), "{by}: {error}");
        }
        check("shoeSize", Rule::UnknownSortAttribute, "shoeSize");
        check("name.nick", Rule::UnknownSortAttribute, "name.nick");
        check("emails[type eq \"work\"].value", Rule::UnknownSortAttribute, "emails");
        check("userName, title", Rule::UnknownSortAttribute, "userName");
        check(&"a".repeat(20_000), Rule::UnknownSortAttribute, "aaa");
        check("name", Rule::SortNeedsSubAttribute, "formatted");
        check("addresses", Rule::SortNeedsSubAttribute, "addresses");
        check(ENTERPRISE_USER_URN, Rule::SortNeedsSubAttribute, "enterprise");
        check("pin", Rule::SortSensitive, "pin");
        check("door.code", Rule::SortSensitive, "door.code");
        check("groups.display", Rule::SortByDerived, "name groups.value instead");
        check("manager.displayName", Rule::SortByDerived, "manager.value");
    }

    /// RFC 7644 §3.4.2.1, §3.4.2.3.
    #[test]
    fn a_type_without_the_attribute_has_no_values_of_it() {
        let printer = json!({ "id": "urn:example:printer", "attributes": [{ "name": "userName", "type": "integer" },
                                                                          { "name": "tray" }] });
        let printer = ResourceType {
            name: "Printer".to_owned(),
            endpoint: "/Printers".to_owned(),
            description: String::new(),
            schema: Arc::new(Schema::from_json(&printer).unwrap()),
            extensions: Vec::new(),
        };
        let user = user();
        let read = |first, other, attribute: &str| {
            let by = SortBy {
                attribute: attribute.to_owned(),
                descending: false,
            };
            Sort::parse(&[first, other], &by, &mut Trace::default())
        };
        let document = json!({ "userName": 7, "tray": "a" });
        let key = |sort: &Sort| sort.key(document.as_object().unwrap());
        assert!(key(&read(&printer, &user, "tray").unwrap()).is_some());
        assert!(key(&read(&printer, &user, "title").unwrap()).is_none());
        assert_eq!(
            read(&printer, &user, "shoeSize").unwrap_err().rule(),
            Rule::UnknownSortAttribute
        );
        let (number, text) = (super::Key::Number(7.0, 7), super::Key::Text("7".to_owned()));
        assert!(number.order(&text).is_lt() && text.order(&number).is_gt());
    }
}
