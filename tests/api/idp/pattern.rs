//! What an answer is expected to look like, and where it does not.

use serde_json::Value;

/// What an expected value may say instead of naming the value:
/// - `$contains`: each of these matches an element of the array, or is part of the string
/// - `$in_any_order`: the array has these elements and no other, in any order
/// - `$each`: the array is not empty and every element matches this
/// - `$count`: the array has this many elements
/// - `$min`: the number is at least this
/// - `$one_of`: the value equals one of these
/// - `$not`: the value is there and does not match this
/// - `$starts_with`: the string starts with this
/// - `$type`: `string` (not empty), `number`, `boolean`, `array` or `object`
const OPERATORS: [&str; 9] = [
    "$contains",
    "$in_any_order",
    "$each",
    "$count",
    "$min",
    "$one_of",
    "$not",
    "$starts_with",
    "$type",
];

/// Adds a line for each difference between a pattern and a value; `at` is the value's JSON pointer.
pub(super) fn compare(pattern: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some((operator, argument)) = operator(pattern) {
        return apply(operator, argument, value, at, found);
    }
    match (pattern, value) {
        (Value::Object(wanted), Value::Object(members)) => {
            for (key, wanted) in wanted {
                let at = format!("{at}/{key}");
                match members.get(key) {
                    Some(member) => compare(wanted, member, &at, found),
                    None => found.push(format!("{at}: {wanted}, came nothing")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(elements)) if wanted.len() == elements.len() => {
            for (index, (wanted, element)) in wanted.iter().zip(elements).enumerate() {
                compare(wanted, element, &format!("{at}/{index}"), found);
            }
        }
        _ if pattern == value => {}
        _ => found.push(format!("{at}: {pattern}, came {value}")),
    }
}

/// A key that looks like an operator and would be read as a member's name. `$ref` is SCIM's own.
pub(super) fn stray_operator(pattern: &Value) -> Option<&str> {
    match pattern {
        Value::Array(elements) => elements.iter().find_map(stray_operator),
        Value::Object(members) => {
            let odd = |key: &str| key.starts_with('$') && (members.len() > 1 || !OPERATORS.contains(&key));
            let stray = members
                .keys()
                .map(String::as_str)
                .find(|key| *key != "$ref" && odd(key));
            stray.or_else(|| members.values().find_map(stray_operator))
        }
        _ => None,
    }
}

fn operator(pattern: &Value) -> Option<(&str, &Value)> {
    let members = pattern.as_object().filter(|members| members.len() == 1)?;
    let (name, argument) = members.iter().next()?;
    OPERATORS.contains(&name.as_str()).then_some((name, argument))
}

fn apply(operator: &str, argument: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let arguments = argument.as_array().map_or(&[][..], Vec::as_slice);
    let holds = match (operator, value) {
        ("$contains", Value::Array(elements)) => arguments
            .iter()
            .all(|wanted| elements.iter().any(|element| matches(wanted, element))),
        ("$contains", Value::String(text)) => arguments
            .iter()
            .all(|part| part.as_str().is_some_and(|part| text.contains(part))),
        ("$in_any_order", Value::Array(elements)) => {
            let mut left: Vec<_> = elements.iter().collect();
            let takes_one = |wanted: &Value| {
                let place = left.iter().position(|element| matches(wanted, element));
                place.map(|place| left.swap_remove(place)).is_some()
            };
            arguments.iter().all(takes_one) && arguments.len() == elements.len()
        }
        ("$each", Value::Array(elements)) if !elements.is_empty() => {
            for (index, element) in elements.iter().enumerate() {
                compare(argument, element, &format!("{at}/{index}"), found);
            }
            true
        }
        ("$count", Value::Array(elements)) => argument.as_u64() == u64::try_from(elements.len()).ok(),
        ("$min", Value::Number(number)) => number.as_f64() >= argument.as_f64(),
        ("$one_of", value) => arguments.contains(value),
        ("$not", value) => !matches(argument, value),
        ("$starts_with", Value::String(text)) => argument.as_str().is_some_and(|start| text.starts_with(start)),
        ("$type", value) => argument == type_of(value),
        _ => false,
    };
    if !holds {
        found.push(format!("{at}: {operator} {argument}, came {value}"));
    }
}

fn matches(pattern: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    compare(pattern, value, "", &mut found);
    found.is_empty()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(text) if !text.is_empty() => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        _ => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `wanted` are the differences, one a line.
    #[track_caller]
    fn check(pattern: &str, value: &str, wanted: &str) {
        let mut found = Vec::new();
        compare(
            &serde_json::from_str(pattern).unwrap(),
            &serde_json::from_str(value).unwrap(),
            "",
            &mut found,
        );
        assert_eq!(found.join("\n"), wanted, "{pattern} against {value}");
    }

    #[test]
    fn an_object_matches_by_the_members_named() {
        check(r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#, "");
        check(r#"{"a": {"b": 1}}"#, r#"{"a": {"b": 2}}"#, "/a/b: 1, came 2");
        check(
            r#"{"a": {"b": 1}, "c": 2}"#,
            r#"{"a": {}}"#,
            "/a/b: 1, came nothing\n/c: 2, came nothing",
        );
        check(r#"{"a": 1}"#, "[]", r#": {"a":1}, came []"#);
        check(r#"{"$ref": "x"}"#, r#"{"$ref": "x", "value": "y"}"#, "");
    }

    #[test]
    fn a_value_matches_by_type_and_spelling() {
        check(r#""x""#, r#""X""#, r#": "x", came "X""#);
        check("true", r#""true""#, r#": true, came "true""#);
        check("1", r#""1""#, r#": 1, came "1""#);
        check("null", "{}", ": null, came {}");
    }

    #[test]
    fn an_array_matches_in_order_and_length() {
        check(r#"[1, {"a": 1}]"#, r#"[1, {"a": 1, "b": 2}]"#, "");
        check("[1, 2]", "[2, 1]", "/0: 1, came 2\n/1: 2, came 1");
        check("[1]", "[1, 2]", ": [1], came [1,2]");
        check("[]", "[1]", ": [], came [1]");
    }

    #[test]
    fn an_operator_stands_for_a_rule() {
        check(r#"{"$contains": [2, {"a": 1}]}"#, r#"[{"a": 1, "b": 2}, 2, 3]"#, "");
        check(r#"{"$contains": [4]}"#, "[2]", ": $contains [4], came [2]");
        check(r#"{"$contains": ["ick", "me2"]}"#, r#""nickname2""#, "");
        check(
            r#"{"$contains": ["nick", "you"]}"#,
            r#""nickname2""#,
            r#": $contains ["nick","you"], came "nickname2""#,
        );
        check(r#"{"$in_any_order": [{"a": 1}, 2]}"#, r#"[2, {"a": 1, "b": 2}]"#, "");
        check(
            r#"{"$in_any_order": [1, 1]}"#,
            "[1, 2]",
            ": $in_any_order [1,1], came [1,2]",
        );
        check(r#"{"$in_any_order": [1]}"#, "[1, 1]", ": $in_any_order [1], came [1,1]");
        check(r#"{"$each": {"a": 1}}"#, r#"[{"a": 1}, {"a": 2}]"#, "/1/a: 1, came 2");
        check(r#"{"$each": {"a": 1}}"#, "[]", r#": $each {"a":1}, came []"#);
        check(r#"{"$count": 2}"#, "[1, 2]", "");
        check(r#"{"$count": 2}"#, "[1]", ": $count 2, came [1]");
        check(r#"{"$min": 11}"#, "11", "");
        check(r#"{"$min": 11}"#, "10", ": $min 11, came 10");
        check(r#"{"$min": 11}"#, r#""12""#, r#": $min 11, came "12""#);
        check(r#"{"$one_of": ["a", "b"]}"#, r#""b""#, "");
        check(
            r#"{"$one_of": ["a", "b"]}"#,
            r#""c""#,
            r#": $one_of ["a","b"], came "c""#,
        );
        check(r#"{"$not": {"$one_of": ["a"]}}"#, r#""b""#, "");
        check(r#"{"$not": "a"}"#, r#""a""#, r#": $not "a", came "a""#);
        check(r#"{"a": {"$not": "a"}}"#, "{}", r#"/a: {"$not":"a"}, came nothing"#);
        check(r#"{"$starts_with": "W/"}"#, r#""W/\"1\"""#, "");
        check(
            r#"{"$starts_with": "W/"}"#,
            r#""\"1\"""#,
            r#": $starts_with "W/", came "\"1\"""#,
        );
        check(r#"{"$type": "string"}"#, r#""x""#, "");
        check(r#"{"$type": "string"}"#, r#""""#, r#": $type "string", came """#);
        check(r#"{"$type": "number"}"#, r#""1""#, r#": $type "number", came "1""#);
        check(r#"{"$type": "boolean"}"#, "0", r#": $type "boolean", came 0"#);
    }

    #[test]
    fn a_misspelt_operator_is_seen() {
        let stray = |text: &str| stray_operator(&serde_json::from_str(text).unwrap()).map(str::to_owned);
        assert_eq!(stray(r#"{"a": [{"$contain": []}]}"#).as_deref(), Some("$contain"));
        assert_eq!(stray(r#"{"$not": 1, "b": 2}"#).as_deref(), Some("$not"));
        assert_eq!(stray(r#"{"$ref": "x", "a": {"$not": {"$one_of": []}}}"#), None);
    }
}
