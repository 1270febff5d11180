//! Queries and their answer (RFC 7644 §3.4.2).

use serde_json::{Map, Value, json};

use super::error::{Error, Rule};
use super::limits::{DEFAULT_PAGE, MAX_PAGE};

/// URN of the list message (RFC 7644 §3.4.2).
pub const LIST_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A query's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// `filter`, not yet parsed; none if blank.
    pub filter: Option<String>,
    /// Number of the first resource wanted, from 1.
    pub start_index: usize,
    /// Resources wanted, at most [`MAX_PAGE`]; the page may have fewer.
    pub count: usize,
}

impl Default for ListQuery {
    fn default() -> ListQuery {
        ListQuery {
            filter: None,
            start_index: 1,
            count: DEFAULT_PAGE,
        }
    }
}

impl ListQuery {
    /// Reads decoded query parameters. Their names are read in any case; unknown ones are ignored, such as Entra's
    /// `aadOptscim062020` (RFC 7644 §3.4.2); of a name given twice, the last counts.
    pub fn parse<N, V>(parameters: impl IntoIterator<Item = (N, V)>) -> Result<ListQuery, Error>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        let mut query = ListQuery::default();
        for (name, value) in parameters {
            let value = value.into();
            match name.as_ref().to_ascii_lowercase().as_str() {
                "filter" => query.filter = Some(value).filter(|filter| !filter.trim().is_empty()),
                "startindex" => query.start_index = number("startIndex", &value)?.max(1),
                "count" => query.count = number("count", &value)?.min(MAX_PAGE),
                _ => {}
            }
        }
        Ok(query)
    }
}

/// The answer to a query: one page of `resources`, the first of which is number `start_index` of `total`.
pub fn list_response(total: usize, start_index: usize, resources: Vec<Map<String, Value>>) -> Value {
    let items = resources.len();
    json!({
        "schemas": [LIST_RESPONSE_URN],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": items,
        "Resources": Value::from_iter(resources),
    })
}

/// A whole number; below zero it counts as zero, beyond what fits as the greatest.
fn number(parameter: &str, text: &str) -> Result<usize, Error> {
    let text = text.trim();
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text.strip_prefix('+').unwrap_or(text)), |d| (true, d));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Rule::ParameterNotNumber.at(parameter));
    }
    Ok(if negative {
        0
    } else {
        digits.parse().unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::super::limits::{DEFAULT_PAGE, MAX_PAGE};
    use super::{ListQuery, list_response};

    #[track_caller]
    fn check(parameters: &[(&str, &str)], expected: ListQuery) {
        assert_eq!(ListQuery::parse(parameters.iter().copied()), Ok(expected));
    }

    #[test]
    fn parameters_are_known_in_any_case_and_others_are_ignored() {
        check(&[], ListQuery::default());
        check(
            &[
                ("aadOptscim062020", ""),
                ("Filter", "userName eq \"bjensen\""),
                ("STARTINDEX", "3"),
                ("Count", "7"),
                ("Attributes", "id"),
                ("excludedattributes", "members"),
            ],
            ListQuery {
                filter: Some("userName eq \"bjensen\"".into()),
                start_index: 3,
                count: 7,
            },
        );
        check(&[("filter", " ")], ListQuery::default());
    }

    /// RFC 7644 §3.4.2.4.
    #[test]
    fn numbers_out_of_range_are_brought_into_it() {
        let start = |text, start_index| {
            check(
                &[("startIndex", text)],
                ListQuery {
                    start_index,
                    ..ListQuery::default()
                },
            );
        };
        start("1", 1);
        start("0", 1);
        start("-5", 1);
        start("99999999999999999999999", usize::MAX);
        let count = |text, count| {
            check(
                &[("count", text)],
                ListQuery {
                    count,
                    ..ListQuery::default()
                },
            );
        };
        count("0", 0);
        count("-1", 0);
        count(" 5 ", 5);
        count("+5", 5);
        count("1000000", MAX_PAGE);
        assert_eq!(ListQuery::default().count, DEFAULT_PAGE);
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        for text in ["", "ten", "1.0", "0x10", "-", "1 2"] {
            let error = ListQuery::parse([("COUNT", text)]).unwrap_err();
            assert_eq!(
                (error.scim_type(), error.detail()),
                (
                    Some("invalidValue"),
                    "The parameter count must be a whole number.".to_owned()
                )
            );
        }
    }

    #[test]
    fn a_page_says_what_it_is() {
        let resource = Map::from_iter([("id".to_owned(), json!("2819c223"))]);
        assert_eq!(
            list_response(12, 6, vec![resource]).to_string(),
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                "totalResults": 12,
                "startIndex": 6,
                "itemsPerPage": 1,
                "Resources": [{ "id": "2819c223" }],
            })
            .to_string()
        );
        assert_eq!(list_response(0, 1, Vec::new())["Resources"], json!([]));
    }
}
