//! What the documents claim and the code decides. `SCIMGATE_WRITE_DOCS=1 cargo test --test docs` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{fs, path::Path};

use scimgate::explain::{explain, message::Message};

mod conformance;
mod guides;
mod named;
mod requirements;

/// That a page is what the code says; writes it when asked to.
#[track_caller]
fn check(page: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    if option_env!("SCIMGATE_WRITE_DOCS").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "docs/{page} is not what the code says: SCIMGATE_WRITE_DOCS=1 cargo test --test docs"
    );
}

#[test]
fn the_page_of_errors_is_the_table_in_code() {
    check("errors.md", &scimgate::scim::error::markdown());
}

#[test]
fn the_page_of_dialects_is_the_table_in_code() {
    check("dialects.md", &scimgate::scim::normalize::markdown());
}

/// A page that a person under pressure can follow.
#[test]
fn the_runbook_is_one_page() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/502.md")).unwrap();
    assert!(page.lines().count() <= 90, "{} lines", page.lines().count());
}

/// What the runbook says of Envoy's texts is what `explain` says.
#[test]
fn the_runbook_s_table_of_texts_is_known_to_the_code() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/502.md")).unwrap();
    let mut known = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells[2].parse::<u16>().is_err() {
            continue;
        }
        for reason in cells[1].split(", ") {
            let text = match reason.strip_prefix('(') {
                Some(text) => text.trim_end_matches(')').to_owned(),
                None => format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}"),
            };
            known.push(explain(Message::read(&text)).cause.name);
        }
    }
    assert_eq!(known.len(), 9);
    assert!(
        known
            .iter()
            .all(|name| name.starts_with("envoy-") && *name != "envoy-other"),
        "{known:?}"
    );
}

#[test]
fn the_page_of_conformance_names_the_tests_there_are() {
    let found = named::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    check("conformance.md", &conformance::markdown(&found));
}
