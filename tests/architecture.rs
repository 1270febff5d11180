//! Who may import whom, and how long files may be. Fails with file and line.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// A room, and what of `crate::` it may name beside itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("scim", &[]),
    ("store", &[]),
    ("ambient", &[]),
    ("telemetry", &["ambient"]),
    ("doctor", &["ambient", "explain"]),
    ("explain", &["scim::error"]),
    ("rows", &["store"]),
    ("config", &["http::{BasePath, is_host}"]),
    ("totals", &["rows", "store"]),
    ("tenants", &["ambient", "rows", "scim", "store", "telemetry", "totals"]),
    (
        "directory",
        &["ambient", "rows", "scim", "store", "telemetry", "tenants", "totals"],
    ),
    ("backup", &["ambient", "directory", "rows", "store", "tenants"]),
    (
        "http",
        &["ambient", "app", "directory", "scim", "store", "telemetry", "tenants"],
    ),
    (
        "app",
        &[
            "ambient",
            "config",
            "directory",
            "http",
            "rows::CONTROL",
            "store",
            "telemetry",
            "tenants",
        ],
    ),
    (
        "cli",
        &[
            "ambient",
            "app",
            "backup",
            "config",
            "directory",
            "doctor",
            "explain",
            "scim::json",
            "store::Store",
            "telemetry",
            "tenants",
        ],
    ),
];

/// A crate, and the rooms that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("actix_http", &["http"]),
    ("actix_server", &["http"]),
    ("actix_service", &["http"]),
    ("actix_web", &["http", "main"]),
    ("azure_core", &["app"]),
    ("azure_data_tables", &["app", "store"]),
    ("azure_identity", &["app"]),
    ("clap", &["cli", "config", "main"]),
    ("csv", &["explain"]),
    ("hyper", &["app", "http"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_appender_tracing", &["telemetry"]),
    ("opentelemetry_application_insights", &["telemetry"]),
    ("opentelemetry_http", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("reqwest", &["app", "telemetry"]),
    ("rusqlite", &["store"]),
    ("rustls_platform_verifier", &["app", "doctor"]),
    ("tokio_rustls", &["app", "doctor"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// Lines of a file before its tests.
const MAX_LINES: usize = 400;

struct Source {
    path: PathBuf,
    room: String,
    /// Before the tests.
    lines: Vec<String>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![
        root.join("src"),
        root.join("crates/azure_data_tables/src"),
        root.join("tests/host/src"),
    ];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(root).unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(below) {
                sources.push(source(root, &path));
            }
        }
    }
    assert!(sources.len() > 40, "the sources were not found");
    sources
}

fn source(folder: &Path, file: &Path) -> Source {
    let path = file.strip_prefix(folder).unwrap().to_owned();
    let second = path.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs");
    let room = if path.starts_with("src") {
        second
    } else {
        "another package"
    }
    .to_owned();
    let text = fs::read_to_string(file).unwrap();
    let lines = text
        .lines()
        .take_while(|line| *line != "mod tests {")
        .map(str::to_owned)
        .collect();
    Source { path, room, lines }
}

/// Files and folders below a `src` that are compiled for tests only.
fn is_test(path: &Path) -> bool {
    let tests = ["tests.rs", "tests", "conformance", "linear", "bin"];
    let below = path.iter().skip_while(|part| *part != "src");
    below.into_iter().any(|part| tests.iter().any(|name| part == *name))
}

fn room_allows(room: &str, named: &str) -> bool {
    let allowed = ROOMS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, allowed)| *allowed);
    let allowed = allowed.unwrap_or_else(|| panic!("room {room} is not in the table"));
    named.starts_with(room) || allowed.iter().any(|allowed| named.starts_with(allowed))
}

/// What a line names behind `crate::`; braces of a `use` are on lines of their own, see [`imports`].
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).filter(|rest| !rest.starts_with('{'))
}

/// The paths of `use crate::{…}` blocks, with their line numbers: rustfmt puts each on a line of its own.
fn imports(lines: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in lines.iter().enumerate() {
        if let Some(rest) = line.strip_prefix("use crate::{") {
            inside = !rest.ends_with("};");
            let inner = rest.trim_end_matches("};");
            let names = if rest.ends_with("};") {
                top_level(inner)
            } else {
                Vec::new()
            };
            found.extend(names.into_iter().map(|name| (number, name)));
        } else if inside && line == "};" {
            inside = false;
        } else if inside && line.starts_with("    ") && !line.starts_with("     ") && !line.starts_with("    }") {
            found.push((number, line.trim().to_owned()));
        }
    }
    found
}

/// Splits at the commas that are in no braces.
fn top_level(text: &str) -> Vec<String> {
    let mut depth = 0;
    let parts = text.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut wrong = String::new();
    for source in sources().iter().filter(|source| source.room != "another package") {
        if matches!(source.room.as_str(), "lib" | "main") {
            continue;
        }
        let code = source
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"));
        let inline = code.flat_map(|(number, line)| named(line).map(move |name| (number, name.to_owned())));
        for (number, name) in inline.chain(imports(&source.lines)) {
            if !room_allows(&source.room, &name) {
                writeln!(
                    wrong,
                    "{}:{}: {} may not import {name}",
                    source.path.display(),
                    number + 1,
                    source.room
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn crates_are_named_in_their_rooms_only() {
    let mut wrong = String::new();
    for source in sources().iter().filter(|source| source.room != "another package") {
        for (number, line) in source
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for (name, rooms) in CRATES {
                if line.contains(&format!("{name}::")) && !rooms.contains(&source.room.as_str()) {
                    writeln!(
                        wrong,
                        "{}:{}: {name} in {}",
                        source.path.display(),
                        number + 1,
                        source.room
                    )
                    .unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_core_is_pure() {
    let mut wrong = String::new();
    let impure = [
        "async ",
        "std::fs",
        "std::net",
        "std::env",
        "std::time",
        "tokio",
        "now_utc",
        "println!",
    ];
    let is_pure = |source: &&Source| matches!(source.room.as_str(), "scim" | "explain");
    for source in sources().iter().filter(is_pure) {
        for (number, line) in source
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            if let Some(word) = impure.iter().find(|word| line.contains(**word)) {
                writeln!(wrong, "{}:{}: {word}", source.path.display(), number + 1).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn files_are_short() {
    let too_long = |source: &&Source| source.lines.len() > MAX_LINES;
    let long: Vec<_> = sources()
        .iter()
        .filter(too_long)
        .map(|source| (source.path.clone(), source.lines.len()))
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

/// `docs/errors.md` and `docs/dialects.md` explain what can be met, and nothing else.
#[test]
fn every_rule_and_every_quirk_is_used() {
    let code: Vec<_> = sources()
        .into_iter()
        .filter(|source| !source.path.ends_with("rules.rs") && !source.path.ends_with("quirks.rs"))
        .collect();
    let is_used = |word: &str| {
        code.iter()
            .any(|source| source.lines.iter().any(|line| line.contains(word)))
    };
    let rules = scimgate::scim::error::RULES
        .iter()
        .map(|entry| format!("Rule::{:?}", entry.rule));
    let quirks = scimgate::scim::normalize::QUIRKS
        .iter()
        .map(|entry| format!("Quirk::{:?}", entry.quirk));
    let unused: Vec<_> = rules.chain(quirks).filter(|word| !is_used(word)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// The checks above find what they look for.
#[test]
fn a_forbidden_import_is_found() {
    let block = "use crate::{\n    app::App,\n    scim::{\n        error,\n    },\n};";
    let lines: Vec<String> = block.lines().map(str::to_owned).collect();
    let names: Vec<String> = imports(&lines).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["app::App,", "scim::{"]);
    assert!(!room_allows("store", &names[0]));
    assert!(!room_allows("directory", "http::edge"));
    assert!(room_allows("directory", &names[1]));
    assert_eq!(named("let x = crate::http::y();").count(), 1);
    assert_eq!(
        top_level("app::App, scim::{error, list}"),
        ["app::App", "scim::{error, list}"]
    );
}
