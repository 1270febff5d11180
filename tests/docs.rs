//! What the documents claim and the code decides. `SCIMGATE_WRITE_DOCS=1 cargo test --test docs` writes them anew.

use std::{fs, path::Path};

#[test]
fn the_page_of_errors_is_the_table_in_code() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let generated = scimgate::scim::error::markdown();
    if option_env!("SCIMGATE_WRITE_DOCS").is_some() {
        fs::write(&page, &generated).unwrap();
    }
    let written = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == generated,
        "docs/errors.md is not what the table says: SCIMGATE_WRITE_DOCS=1 cargo test --test docs"
    );
}
