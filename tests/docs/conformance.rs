//! docs/conformance.md: each requirement, and the tests that name it.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use crate::{
    named::{self, Found, Named},
    requirements::{Requirement, SUBJECTS},
};

const HEAD: &str = "\
# Conformance

<!-- Generated from tests/docs/requirements.rs and from the tests that name an id. -->

What RFC 7643, 7644 and 9865 ask of a service provider (`R-`), what Microsoft Entra does to one (`E-`), and the tests that show
it here. A test names an id in the comment directly above it; a recorded conversation (`tests/idp`) among its `covers`. `./test`
runs all of them, conversations and `tests/api/cases` on both stores, directly and through both modes of the Functions host.
";

fn requirements() -> impl Iterator<Item = &'static Requirement> {
    SUBJECTS.iter().flat_map(|(_, requirements)| *requirements)
}

/// The page.
pub(crate) fn markdown(found: &Found) -> String {
    let mut page = HEAD.to_owned();
    let (not_here, covered): (Vec<_>, Vec<_>) = requirements().partition(|one| one.not_here.is_some());
    let (covered, not_here) = (covered.len(), not_here.len());
    let _ = writeln!(
        page,
        "\n{covered} are covered, {not_here} are not a matter of this service."
    );
    for (subject, requirements) in SUBJECTS {
        let _ = writeln!(page, "\n## {subject}");
        for one in *requirements {
            let _ = write!(page, "\n### {}\n\n{}", one.id, one.what);
            match one.not_here {
                None => page.push_str("\n\n"),
                Some(why) => _ = writeln!(page, " **Not here**: {why}"),
            }
            tests_of(one, found, &mut page);
        }
    }
    page.replace("\n\n\n", "\n\n")
}

/// One line for each file.
fn tests_of(one: &Requirement, found: &Found, page: &mut String) {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Named { place, test, .. } in found.named.iter().filter(|named| named.id == one.id) {
        places.entry(place).or_default().push(test);
    }
    for (place, tests) in places {
        let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
        let _ = writeln!(page, "- [{place}](../{place}): {}", tests.join(", "));
    }
}

/// What is wrong between the requirements and the tests; empty when nothing is.
fn discrepancies(found: &Found) -> Vec<String> {
    let mut wrong = found.stray.clone();
    for named in &found.named {
        if !requirements().any(|one| one.id == named.id) {
            wrong.push(format!(
                "{}: {} names {}, which is no requirement",
                named.place, named.test, named.id
            ));
        }
    }
    for one in requirements() {
        let tests = found.named.iter().filter(|named| named.id == one.id).count();
        match one.not_here {
            None if tests == 0 => wrong.push(format!("{}: no test names it", one.id)),
            Some(_) if tests > 0 => {
                wrong.push(format!("{}: tests name what is said not to be here", one.id));
            }
            _ => {}
        }
    }
    wrong
}

#[test]
fn every_requirement_has_a_test_that_names_it() {
    let found = named::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(found.named.len() > 300, "the tests were not found");
    let wrong = discrepancies(&found);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn requirements_are_in_order_and_said_in_sentences() {
    let mut ids: Vec<_> = requirements().map(|one| one.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id stands twice");
    for one in requirements() {
        for text in [one.what].into_iter().chain(one.not_here) {
            assert!(text.ends_with(['.', ')']) && !text.contains("  "), "{}: {text}", one.id);
        }
    }
}
