//! What the documents claim and the code decides. `SCIMGATE_WRITE_DOCS=1 cargo test --test docs` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{fs, path::Path};

mod conformance;
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

#[test]
fn the_page_of_conformance_names_the_tests_there_are() {
    let found = named::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    check("conformance.md", &conformance::markdown(&found));
}
