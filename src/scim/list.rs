//! Queries and their answer (RFC 7644 §3.4.2, RFC 9865).

use serde::Serialize;

use super::error::{Error, Rule};
use super::limits::{DEFAULT_PAGE, MAX_PAGE};

/// URN of the list message (RFC 7644 §3.4.2).
pub const LIST_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A query's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// `filter`, not yet parsed; none if blank.
    pub filter: Option<String>,
    /// `sortBy` and `sortOrder`; none if `sortBy` is blank.
    pub sort: Option<SortBy>,
    /// Which page.
    pub paging: Paging,
    /// Resources wanted, at most [`MAX_PAGE`]; the page may have fewer.
    pub count: usize,
}

/// `sortBy`, not yet parsed, and `sortOrder` (RFC 7644 §3.4.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortBy {
    /// The attribute.
    pub attribute: String,
    /// The greatest first.
    pub descending: bool,
}

/// How a page is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paging {
    /// By the number of its first resource, from 1 (RFC 7644 §3.4.2.4).
    Index(usize),
    /// By the `nextCursor` of the page before; none for the first (RFC 9865).
    Cursor(Option<String>),
}

impl Default for ListQuery {
    fn default() -> ListQuery {
        ListQuery {
            filter: None,
            sort: None,
            paging: Paging::Index(1),
            count: DEFAULT_PAGE,
        }
    }
}

impl ListQuery {
    /// The parameters' names, in canonical spelling.
    pub const PARAMETERS: [&str; 6] = ["filter", "sortBy", "sortOrder", "startIndex", "count", "cursor"];

    /// Reads decoded query parameters. Their names are read in any case; unknown ones are ignored, such as Entra's
    /// `aadOptscim062020` (RFC 7644 §3.4.2); of a name given twice, the last counts.
    ///
    /// # Errors
    /// `invalidValue` for what is no number or no order, or for both ways of paging at once; `invalidCount` (RFC 9865).
    pub fn parse<N, V>(parameters: impl IntoIterator<Item = (N, V)>) -> Result<ListQuery, Error>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        let mut given: [Option<String>; 6] = Default::default();
        for (name, value) in parameters {
            let names = Self::PARAMETERS.iter();
            let known = names
                .zip(&mut given)
                .find(|(known, _)| known.eq_ignore_ascii_case(name.as_ref()));
            if let Some((_, slot)) = known {
                *slot = Some(value.into());
            }
        }
        let [filter, sort_by, sort_order, start_index, count, cursor] = given;
        let descending = is_descending(sort_order.as_deref())?;
        let paging = match (start_index, cursor) {
            (Some(_), Some(_)) => return Err(Rule::CursorAndIndex.error()),
            (Some(start_index), None) => Paging::Index(number("startIndex", &start_index)?.max(1)),
            (None, None) => Paging::Index(1),
            (None, Some(cursor)) => Paging::Cursor(Some(cursor).filter(|cursor| !cursor.is_empty())),
        };
        Ok(ListQuery {
            filter: filter.filter(|filter| !filter.trim().is_empty()),
            sort: sort_by.filter(|by| !by.trim().is_empty()).map(|by| SortBy {
                attribute: by.trim().to_owned(),
                descending,
            }),
            count: count.map_or(Ok(DEFAULT_PAGE), |count| page_size(&paging, &count))?,
            paging,
        })
    }

    /// Whether a parameter of this name, in any case, asks for a list.
    pub fn knows(parameter: &str) -> bool {
        Self::PARAMETERS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(parameter))
    }
}

/// One page (RFC 7644 §3.4.2, RFC 9865 §2).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListResponse<R> {
    schemas: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    total_results: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_index: Option<usize>,
    items_per_page: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(rename = "Resources")]
    resources: Vec<R>,
}

/// One page: the first of `resources` is number `start_index` of `total`.
pub fn list_response<R>(total: usize, start_index: usize, resources: Vec<R>) -> ListResponse<R> {
    ListResponse {
        start_index: Some(start_index),
        ..cursor_response(Some(total), None, resources)
    }
}

/// One page of a query by cursor (RFC 9865 §2). The last one has no `next`; `total` is left out when it is not known.
pub fn cursor_response<R>(total: Option<usize>, next: Option<String>, resources: Vec<R>) -> ListResponse<R> {
    ListResponse {
        schemas: [LIST_RESPONSE_URN],
        total_results: total,
        start_index: None,
        items_per_page: resources.len(),
        next_cursor: next,
        resources,
    }
}

/// RFC 9865 §2.1 has an error of its own for a `count` that is out of range; RFC 7644 §3.4.2.4 brings it into range.
fn page_size(paging: &Paging, text: &str) -> Result<usize, Error> {
    if let Paging::Index(_) = paging {
        return Ok(number("count", text)?.min(MAX_PAGE));
    }
    let count = number("count", text)
        .ok()
        .filter(|count| (1..=MAX_PAGE).contains(count));
    count.ok_or_else(|| Rule::InvalidCount.error().with("limit", MAX_PAGE.to_string()))
}

fn is_descending(order: Option<&str>) -> Result<bool, Error> {
    match order.unwrap_or("").trim().to_ascii_lowercase().as_str() {
        "" | "ascending" => Ok(false),
        "descending" => Ok(true),
        _ => Err(Rule::UnknownSortOrder.error()),
    }
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
    use serde_json::{Value, json};

    use super::super::error::Rule;
    use super::super::limits::{DEFAULT_PAGE, MAX_PAGE};
    use super::{ListQuery, ListResponse, Paging, SortBy, cursor_response, list_response};

    #[track_caller]
    fn check(parameters: &[(&str, &str)], expected: ListQuery) {
        assert_eq!(ListQuery::parse(parameters.iter().copied()), Ok(expected));
    }

    #[track_caller]
    fn check_refused(parameters: &[(&str, &str)], rule: Rule) {
        let error = ListQuery::parse(parameters.iter().copied()).unwrap_err();
        assert_eq!(error.rule(), rule, "{parameters:?}");
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
                ("sortby", " name.familyName "),
                ("SortOrder", "Descending"),
            ],
            ListQuery {
                filter: Some("userName eq \"bjensen\"".into()),
                sort: Some(SortBy {
                    attribute: "name.familyName".into(),
                    descending: true,
                }),
                paging: Paging::Index(3),
                count: 7,
            },
        );
        check(
            &[("filter", " "), ("sortBy", ""), ("sortOrder", "")],
            ListQuery::default(),
        );
        assert!(ListQuery::knows("SORTBY") && !ListQuery::knows("aadOptscim062020"));
    }

    /// R-PAGE-01; RFC 7644 §3.4.2.4.
    #[test]
    fn numbers_out_of_range_are_brought_into_it() {
        let start = |text, start_index| {
            check(
                &[("startIndex", text)],
                ListQuery {
                    paging: Paging::Index(start_index),
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

    /// RFC 9865 §2 and §2.1.
    #[test]
    fn a_cursor_names_a_page_and_takes_counts_in_range_only() {
        let cursor = |text: &str, expected: Option<&str>| {
            let paging = Paging::Cursor(expected.map(str::to_owned));
            check(
                &[("cursor", text), ("count", "1000")],
                ListQuery {
                    paging,
                    count: 1_000,
                    ..ListQuery::default()
                },
            );
        };
        cursor("", None);
        cursor("VZUTiyhEQJ94IR", Some("VZUTiyhEQJ94IR"));
        cursor(" ", Some(" "));
        for count in ["0", "-1", "1001", "99999999999999999999999", "ten", ""] {
            check_refused(&[("cursor", ""), ("count", count)], Rule::InvalidCount);
        }
        check_refused(&[("startIndex", "1"), ("cursor", "")], Rule::CursorAndIndex);
    }

    /// RFC 7644 §3.4.2.3.
    #[test]
    fn an_order_is_one_of_two() {
        for order in ["up", "asc", "descending,ascending"] {
            check_refused(&[("sortBy", "userName"), ("sortOrder", order)], Rule::UnknownSortOrder);
            check_refused(&[("sortOrder", order)], Rule::UnknownSortOrder);
        }
    }

    #[test]
    fn a_page_says_what_it_is() {
        let resource = || vec![json!({ "id": "2819c223" })];
        let text = |response: ListResponse<Value>| serde_json::to_string(&response).unwrap();
        assert_eq!(
            text(list_response(12, 6, resource())),
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                "totalResults": 12,
                "startIndex": 6,
                "itemsPerPage": 1,
                "Resources": [{ "id": "2819c223" }],
            })
            .to_string()
        );
        assert!(text(list_response(0, 1, Vec::new())).ends_with("\"Resources\":[]}"));
        assert_eq!(
            text(cursor_response(Some(12), Some("VZUTiyhEQJ94IR".into()), resource())),
            json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                "totalResults": 12,
                "itemsPerPage": 1,
                "nextCursor": "VZUTiyhEQJ94IR",
                "Resources": [{ "id": "2819c223" }],
            })
            .to_string()
        );
        let last = serde_json::to_value(cursor_response(None, None, resource())).unwrap();
        assert_eq!(last.as_object().unwrap().keys().len(), 3, "{last}");
    }
}
