//! Queries by POST (RFC 7644 §3.4.3): the same parameters as in a URL, in a message.

use serde_json::{Map, Value};

use super::error::{Error, Rule};
use super::list::ListQuery;
use super::normalize::{Quirk, Trace};

/// URN of the search message (RFC 7644 §3.4.3).
pub const SEARCH_REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// What a member of the message may be.
#[derive(Clone, Copy)]
enum Kind {
    Names,
    Number,
    Text,
}

/// The message's members beside `schemas`.
const MEMBERS: [(&str, Kind); 8] = [
    ("attributes", Kind::Names),
    ("excludedAttributes", Kind::Names),
    ("filter", Kind::Text),
    ("sortBy", Kind::Text),
    ("sortOrder", Kind::Text),
    ("startIndex", Kind::Number),
    ("count", Kind::Number),
    ("cursor", Kind::Text),
];

/// The parameters of a search message, as a URL would have them. Null is the same as nothing; a name selection may also
/// be one text with commas, a number one with digits.
///
/// # Errors
/// `invalidSyntax` when it is no search message, or naming the member whose value is of the wrong type.
pub fn parameters(message: &Value, trace: &mut Trace) -> Result<Vec<(String, String)>, Error> {
    let members = message.as_object().ok_or_else(|| Rule::BodyNotObject.error())?;
    if !is_search(members) {
        return Err(Rule::NotSearchRequest.error());
    }
    let mut parameters = Vec::new();
    for (name, value) in members {
        let known = MEMBERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        match known {
            _ if value.is_null() || name.eq_ignore_ascii_case("schemas") => {}
            Some((name, kind)) => parameters.push(((*name).to_owned(), kind.text(name, value, trace)?)),
            None => trace.note(Quirk::UnknownAttribute, name),
        }
    }
    Ok(parameters)
}

fn is_search(members: &Map<String, Value>) -> bool {
    let schemas = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("schemas"));
    let urns = schemas.and_then(|(_, urns)| urns.as_array());
    let is_ours = |urn: &Value| {
        urn.as_str()
            .is_some_and(|urn| urn.eq_ignore_ascii_case(SEARCH_REQUEST_URN))
    };
    urns.is_some_and(|urns| urns.iter().any(is_ours))
}

impl Kind {
    fn text(self, name: &str, value: &Value, trace: &mut Trace) -> Result<String, Error> {
        let wrong = |expected| Rule::SearchWrongType.at(name).with("expected", expected);
        match (self, value) {
            (Kind::Text | Kind::Names, Value::String(text)) => Ok(text.clone()),
            (Kind::Number, Value::String(text)) => {
                trace.note(Quirk::NumberString, name);
                Ok(text.clone())
            }
            (Kind::Number, Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
            (Kind::Names, Value::Array(names)) => {
                let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
                Ok(names.ok_or_else(|| wrong("an array of attribute names"))?.join(","))
            }
            (Kind::Names, _) => Err(wrong("an array of attribute names")),
            (Kind::Number, _) => Err(wrong("a whole number")),
            (Kind::Text, _) => Err(wrong("a string")),
        }
    }
}

/// Every parameter of a list can be in the message.
const _: () = assert!(MEMBERS.len() == ListQuery::PARAMETERS.len() + 2);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::error::Rule;
    use super::super::normalize::{Quirk, Trace};
    use super::{SEARCH_REQUEST_URN, parameters};

    fn message(mut members: Value) -> Value {
        members["schemas"] = json!([SEARCH_REQUEST_URN]);
        members
    }

    #[track_caller]
    fn check(members: Value, expected: &[(&str, &str)], quirks: &[Quirk]) {
        let mut trace = Trace::default();
        let found = parameters(&message(members), &mut trace).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(trace.notes().iter().map(|note| note.quirk).collect::<Vec<_>>(), quirks);
    }

    /// RFC 7644 §3.4.3, RFC 9865 §3.
    #[test]
    fn a_message_has_the_parameters_of_a_url() {
        check(json!({}), &[], &[]);
        check(
            json!({ "attributes": ["displayName", "userName"], "filter": "displayName sw \"smith\"", "startIndex": 1,
                    "count": 10, "sortBy": "userName", "sortOrder": "descending" }),
            &[
                ("attributes", "displayName,userName"),
                ("filter", "displayName sw \"smith\""),
                ("startIndex", "1"),
                ("count", "10"),
                ("sortBy", "userName"),
                ("sortOrder", "descending"),
            ],
            &[],
        );
        check(
            json!({ "EXCLUDEDATTRIBUTES": "members,meta", "Cursor": "", "count": -1 }),
            &[("excludedAttributes", "members,meta"), ("cursor", ""), ("count", "-1")],
            &[],
        );
        check(json!({ "filter": null, "attributes": [] }), &[("attributes", "")], &[]);
        check(
            json!({ "count": "5", "shoeSize": 43 }),
            &[("count", "5")],
            &[Quirk::NumberString, Quirk::UnknownAttribute],
        );
    }

    #[test]
    fn what_is_no_search_message_is_refused() {
        for schemas in [
            json!([]),
            json!(SEARCH_REQUEST_URN),
            json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]),
            json!([1]),
            json!(null),
        ] {
            let refused = parameters(&json!({ "schemas": schemas }), &mut Trace::default()).unwrap_err();
            assert_eq!(refused.rule(), Rule::NotSearchRequest, "{schemas}");
        }
        assert_eq!(
            parameters(&json!({}), &mut Trace::default()).unwrap_err().rule(),
            Rule::NotSearchRequest
        );
        let upper = json!({ "SCHEMAS": [SEARCH_REQUEST_URN.to_uppercase()] });
        assert!(parameters(&upper, &mut Trace::default()).is_ok());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_by_name() {
        for (members, name, expected) in [
            (json!({ "filter": 5 }), "filter", "a string"),
            (json!({ "FILTER": ["a"] }), "filter", "a string"),
            (json!({ "sortBy": { "value": "userName" } }), "sortBy", "a string"),
            (json!({ "cursor": 1 }), "cursor", "a string"),
            (json!({ "count": 1.5 }), "count", "a whole number"),
            (json!({ "count": true }), "count", "a whole number"),
            (json!({ "startIndex": [1] }), "startIndex", "a whole number"),
            (
                json!({ "attributes": [1] }),
                "attributes",
                "an array of attribute names",
            ),
            (
                json!({ "excludedAttributes": {} }),
                "excludedAttributes",
                "an array of attribute names",
            ),
        ] {
            let refused = parameters(&message(members), &mut Trace::default()).unwrap_err();
            assert_eq!(refused.rule(), Rule::SearchWrongType, "{name}");
            assert!(
                refused.detail().contains(name) && refused.detail().contains(expected),
                "{refused}"
            );
        }
    }
}
