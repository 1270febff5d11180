//! Queries by POST (RFC 7644 §3.4.3): the same parameters as in a URL, in a message.

use serde_json::Value;

use super::error::{Error, Rule};
use super::list::ListQuery;
use super::message::{members, names};
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

/// The message's members, `schemas` first.
const MEMBERS: [(&str, Kind); 9] = [
    ("schemas", Kind::Names),
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
pub fn parameters(message: Value, trace: &mut Trace) -> Result<Vec<(String, String)>, Error> {
    let Value::Object(message) = message else {
        return Err(Rule::BodyNotObject.error());
    };
    let [schemas, values @ ..] = members(message, MEMBERS.map(|(name, _)| name), "", trace)?;
    if !names(schemas.as_ref(), SEARCH_REQUEST_URN) {
        return Err(Rule::NotSearchRequest.error());
    }
    let given = MEMBERS[1..].iter().zip(values);
    given
        .filter_map(|((name, kind), value)| Some((name, kind, value.filter(|value| !value.is_null())?)))
        .map(|(name, kind, value)| Ok(((*name).to_owned(), kind.text(name, &value, trace)?)))
        .collect()
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
const _: () = assert!(MEMBERS.len() == ListQuery::PARAMETERS.len() + 3);

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
        let found = parameters(message(members), &mut trace).unwrap();
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
                ("sortBy", "userName"),
                ("sortOrder", "descending"),
                ("startIndex", "1"),
                ("count", "10"),
            ],
            &[],
        );
        check(
            json!({ "EXCLUDEDATTRIBUTES": "members,meta", "Cursor": "", "count": -1 }),
            &[("excludedAttributes", "members,meta"), ("count", "-1"), ("cursor", "")],
            &[],
        );
        check(json!({ "filter": null, "attributes": [] }), &[("attributes", "")], &[]);
        check(
            json!({ "count": "5", "shoeSize": 43 }),
            &[("count", "5")],
            &[Quirk::UnknownMember, Quirk::NumberString],
        );
    }

    #[test]
    fn what_is_no_search_message_is_refused() {
        for schemas in [
            json!([]),
            json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]),
            json!([1]),
            json!(null),
        ] {
            let refused = parameters(json!({ "schemas": schemas }), &mut Trace::default()).unwrap_err();
            assert_eq!(refused.rule(), Rule::NotSearchRequest, "{schemas}");
        }
        assert_eq!(
            parameters(json!({}), &mut Trace::default()).unwrap_err().rule(),
            Rule::NotSearchRequest
        );
        let upper = json!({ "SCHEMAS": [SEARCH_REQUEST_URN.to_uppercase()] });
        assert!(parameters(upper, &mut Trace::default()).is_ok());
        let text = json!({ "schemas": SEARCH_REQUEST_URN });
        assert!(parameters(text, &mut Trace::default()).is_ok());
        let twice = parameters(
            message(json!({ "filter": "id pr", "Filter": "id pr" })),
            &mut Trace::default(),
        );
        assert_eq!(twice.unwrap_err().rule(), Rule::AttributeTwice);
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
            let refused = parameters(message(members), &mut Trace::default()).unwrap_err();
            assert_eq!(refused.rule(), Rule::SearchWrongType, "{name}");
            assert!(
                refused.detail().contains(name) && refused.detail().contains(expected),
                "{refused}"
            );
        }
    }
}
