//! `%VAR%` expansion and the handler's command line.

use std::collections::BTreeMap;

/// `%NAME%` replaced by the variable's value; left as it is when there is no such variable.
pub(crate) fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        let value = after
            .split_once('%')
            .and_then(|(name, tail)| Some((environment.get(name)?, tail)));
        if let Some((value, tail)) = value {
            expanded.push_str(value);
            rest = tail;
        } else {
            expanded.push('%');
            rest = after;
        }
    }
    expanded + rest
}

/// The arguments as the process gets them: expanded, joined by single spaces **without quoting**, then the worker
/// path in quotes and the worker arguments; what is still `%…%` deleted; then split again.
pub(crate) fn arguments(
    arguments: &[String],
    worker_path: Option<&str>,
    worker_arguments: &[String],
    environment: &BTreeMap<String, String>,
) -> Vec<String> {
    let join = |list: &[String]| {
        list.iter()
            .map(|text| expand(text, environment))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut line = join(arguments);
    if let Some(path) = worker_path.filter(|path| !path.is_empty()) {
        line.extend([" \"", path, "\""]);
    }
    if !worker_arguments.is_empty() {
        line.extend([" ", &join(worker_arguments)]);
    }
    split(&without_references(&line))
}

fn without_references(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('%') {
        let Some((_, tail)) = after.split_once('%') else { break };
        kept.push_str(before);
        rest = tail;
    }
    kept + rest
}

/// Splits a command line as .NET does on Unix: blanks separate, double quotes group, `\"` is a quote, and
/// backslashes count only in front of a quote.
fn split(line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' if !quoted => arguments.extend(current.take()),
            '"' => {
                quoted = !quoted;
                current.get_or_insert_default();
            }
            '\\' => {
                let mut count = 1;
                while characters.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let argument = current.get_or_insert_default();
                if characters.peek() == Some(&'"') {
                    argument.extend(std::iter::repeat_n('\\', count / 2));
                    if count % 2 == 1 {
                        argument.extend(characters.next());
                    }
                } else {
                    argument.extend(std::iter::repeat_n('\\', count));
                }
            }
            other => current.get_or_insert_default().push(other),
        }
    }
    arguments.extend(current);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        [("HOME".to_owned(), "/home/me".to_owned())].into()
    }

    #[track_caller]
    fn check(list: &[&str], expected: &[&str]) {
        let list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(arguments(&list, None, &[], &environment()), expected);
    }

    #[test]
    fn variables_are_expanded_and_unknown_ones_kept() {
        assert_eq!(
            expand("%HOME%/bin/%WHAT%/100%", &environment()),
            "/home/me/bin/%WHAT%/100%"
        );
    }

    #[test]
    fn arguments_are_joined_without_quoting() {
        check(&["--name", "a b"], &["--name", "a", "b"]);
        check(&["--name", "\"a b\""], &["--name", "a b"]);
        check(&[r#"a\"b"#, r"c\d"], &[r#"a"b"#, r"c\d"]);
    }

    #[test]
    fn unknown_variables_are_deleted_from_arguments() {
        check(&["--home=%HOME%", "--x=%WHAT%y"], &["--home=/home/me", "--x=y"]);
    }

    #[test]
    fn the_worker_path_and_arguments_follow() {
        let list = ["one".to_owned()];
        assert_eq!(
            arguments(&list, Some("two three"), &["four".into()], &environment()),
            ["one", "two three", "four"]
        );
    }
}
