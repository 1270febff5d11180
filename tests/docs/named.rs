//! Which test names which requirement: in the doc comment directly above it, or among a conversation's `covers`.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A test says that it covers a requirement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: String,
    /// From the repository's root; of a conversation the provider's folder.
    pub(crate) place: String,
    pub(crate) test: String,
}

/// What the repository's tests name, and what is wrong with it.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) named: Vec<Named>,
    /// Each with its place: ids where no test is, which prove nothing.
    pub(crate) stray: Vec<String>,
}

/// Reads all sources and conversations below the root.
pub(crate) fn read(root: &Path) -> Found {
    let mut found = Found::default();
    for folder in ["src", "tests"] {
        for file in files(&root.join(folder)) {
            let place = file.strip_prefix(root).expect("it is below the root");
            let place = place.to_string_lossy().replace('\\', "/");
            let text = || fs::read_to_string(&file).unwrap_or_else(|error| panic!("{place}: {error}"));
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => found.source(&place, &text()),
                Some("json") if place.starts_with("tests/idp/") => found.conversation(&place, &text()),
                _ => {}
            }
        }
    }
    found
}

/// All files below a folder, in the order of their paths.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    paths.into_iter().flat_map(below).collect()
}

impl Found {
    /// A Rust file: tests are what the attribute says, what `cases![…]` lists, and functions that a trial is named after.
    fn source(&mut self, place: &str, text: &str) {
        let cases = listed_cases(text);
        let (mut above, mut is_test, mut is_ignored) = (Vec::new(), false, false);
        for (number, line) in (1..).zip(text.lines()).map(|(number, line)| (number, line.trim())) {
            let stray = |id: &str| format!("{place}:{number}: {id} stands above no test");
            if let Some(doc) = line.strip_prefix("///") {
                above.extend(ids(doc));
            } else if line.starts_with("//") {
                self.stray.extend(ids(line).map(stray));
            } else if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                is_ignored |= line.starts_with("#[ignore");
            } else {
                // An ignored test proves nothing.
                let is_trial = |name: &str| cases.contains(&name) || text.contains(&format!("test(\"{name}\", "));
                let named = function(line).filter(|name| is_test && !is_ignored || is_trial(name));
                for id in above.drain(..) {
                    match named {
                        Some(function) => self.named.push(Named {
                            id: id.to_owned(),
                            place: place.to_owned(),
                            test: function.to_owned(),
                        }),
                        None => self.stray.push(stray(id)),
                    }
                }
                (is_test, is_ignored) = (false, false);
            }
        }
    }

    fn conversation(&mut self, place: &str, text: &str) {
        let conversation: serde_json::Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"));
        let (folder, file) = place.rsplit_once('/').unwrap_or(("", place));
        for id in conversation["covers"].as_array().into_iter().flatten() {
            self.named.push(Named {
                id: id.as_str().unwrap_or_default().to_owned(),
                place: folder.to_owned(),
                test: file.trim_end_matches(".json").to_owned(),
            });
        }
    }
}

/// The words of `cases![…]`: the functions that the black box runs, among others.
fn listed_cases(text: &str) -> Vec<&str> {
    let list = text.split_once("\ncases![").and_then(|(_, rest)| rest.split_once("];"));
    let list = list.map_or("", |(list, _)| list);
    list.split(|c: char| !is_name(c))
        .filter(|word| !word.is_empty())
        .collect()
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let mut words = line.split_once("fn ")?.1.split(|c: char| !is_name(c));
    words.next().filter(|name| !name.is_empty())
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The ids in a text: `R-` or `E-`, a subject, and a number.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| {
            let parts: Vec<&str> = word.split('-').collect();
            let &["R" | "E", subject, number] = parts.as_slice() else {
                return false;
            };
            subject.bytes().all(|byte| byte.is_ascii_uppercase()) && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::Found;

    #[track_caller]
    fn check(source: &str, named: &[&str], strays: usize) {
        let mut found = Found::default();
        found.source("src/x.rs", source);
        let spelled: Vec<_> = found
            .named
            .iter()
            .map(|named| format!("{} {}", named.test, named.id))
            .collect();
        assert_eq!(spelled, named, "{source}");
        assert_eq!(found.stray.len(), strays, "{source}: {:?}", found.stray);
    }

    #[test]
    fn an_id_counts_directly_above_a_test_and_nowhere_else() {
        let (one, two) = ("R-ONE-01", "E-TWO-02");
        check(
            &format!("/// {one} (RFC), {two}.\n#[test]\nfn a() {{}}"),
            &[&format!("a {one}"), &format!("a {two}")],
            0,
        );
        check(
            &format!("    /// {one}.\n    #[tokio::test(start_paused = true)]\n    async fn a() {{}}"),
            &[&format!("a {one}")],
            0,
        );
        check(
            &format!("\ncases![\n    a,\n    b.only(X),\n];\n/// {one}.\nasync fn b(t: &Tenant) {{}}"),
            &[&format!("b {one}")],
            0,
        );
        check(
            &format!("\ncases![\n    a,\n];\n/// {one}.\nasync fn b(t: &Tenant) {{}}"),
            &[],
            1,
        );
        check(&format!("/// {one}.\n#[test]\n#[ignore]\nfn a() {{}}"), &[], 1);
        check(&format!("/// {one}.\n\n#[test]\nfn a() {{}}"), &[], 1);
        check(&format!("/// {one}.\nfn a() {{}}"), &[], 1);
        check(&format!("//! {one}.\n#[test]\nfn a() {{\n    // {two}.\n}}"), &[], 2);
        check(&format!("#[test]\nfn a() {{\n    check(\"{one}\");\n}}"), &[], 0);
        check("/// R-1, R-A-B-01, X-ONE-01, UTF-8.\n#[test]\nfn a() {}", &[], 0);
    }
}
