//! What the pages for people say and the code decides: links, settings, commands, messages, attributes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory, error::ErrorKind};
use scimgate::{
    cli::Cli,
    explain::{explain, message::Message},
    scim::{error, normalize::Trace, path::Path as Attribute, schema::Catalog},
};

/// Pages whose readers set something or type commands; the others also name what only tests know.
const OPERATED: [&str; 9] = [
    "README.md",
    "docs/502.md",
    "docs/deploy.md",
    "docs/entra-setup.md",
    "docs/front-door.md",
    "docs/migrate.md",
    "docs/operate.md",
    "docs/recovery.md",
    "infra/README.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// All pages, from the repository's root.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "infra", "fuzz"].map(|folder| root().join(folder));
    let entries = folders.iter().flat_map(|folder| folder.read_dir().unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// A page's lines, and whether each stands in a block of code.
fn lines(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut is_code = false;
    text.lines().filter_map(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_fence).then_some((line, is_code))
    })
}

/// Where a line's links lead.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|part| Some(part.split_once(')')?.0))
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

/// The rows of each table whose head is this.
fn rows<'t>(text: &'t str, head: &[&str]) -> Vec<Vec<&'t str>> {
    let mut rows = Vec::new();
    let mut is_below = false;
    for cells in text.lines().map(cells) {
        match cells {
            Some(cells) if cells == head => is_below = true,
            Some(cells) if is_below => rows.push(cells),
            Some(_) => {}
            None => is_below = false,
        }
    }
    rows.retain(|cells| !cells[0].starts_with("---"));
    rows
}

/// By which names a page's headings are linked to, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = lines(text).filter(|(line, is_code)| !is_code && line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let name: String = heading.chars().filter(kept).collect();
        name.trim().to_lowercase().replace(' ', "-")
    };
    headings.map(|(line, _)| anchor(line)).collect()
}

/// Whether the file that a page's link names is there, and its heading.
fn is_there(page: &Path, link: &str) -> bool {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.to_owned(),
        file => page.with_file_name("").join(file),
    };
    match anchor {
        "" => target.exists(),
        anchor => fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor)),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let (mut count, mut dead) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let prose = lines(&text).filter(|(_, is_code)| !is_code);
        let links = prose.flat_map(|(line, _)| links(line));
        for link in links.filter(|link| !link.starts_with("https://")) {
            count += 1;
            if !is_there(&page, link) {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 300, "the links were not found: {count}");
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// Every setting of a command and of those below it.
fn settings(command: &Command) -> Vec<&Arg> {
    let own = command.get_arguments().filter(|argument| argument.get_env().is_some());
    own.chain(command.get_subcommands().flat_map(settings)).collect()
}

fn setting<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    let all = settings(command).into_iter();
    let mut named = all.filter(|argument| argument.get_env().is_some_and(|env| env == name));
    named.next()
}

#[test]
fn every_setting_named_is_one() {
    let command = Cli::command();
    let parameters = text("infra/main.parameters.json") + &text("infra/main.bicep");
    for page in OPERATED {
        let text = text(page);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("SCIMGATE_")) {
            let is_one = setting(&command, word).is_some() || parameters.contains(word);
            assert!(is_one, "{page}: there is no setting {word}");
        }
    }
}

#[test]
fn every_default_is_as_said() {
    let command = Cli::command();
    let text = text("docs/front-door.md");
    let rows = rows(&text, &["setting", "default", "for a hop"]);
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let setting = setting(&command, row[0].trim_matches('`')).unwrap_or_else(|| panic!("{row:?}"));
        let defaults = setting.get_default_values();
        let is_so = match (row[1], defaults) {
            ("none" | "off", defaults) => defaults.is_empty(),
            (said, [default]) => default == said,
            (said, _) => setting.get_help().is_some_and(|help| help.to_string().contains(said)),
        };
        assert!(is_so, "{row:?} is {defaults:?}");
    }
}

/// The commands in blocks of code, and those named between backticks, and which of the two each is.
fn commands(text: &str) -> Vec<(&str, bool)> {
    let parts = lines(text).flat_map(|(line, is_code)| {
        let (skipped, step) = if is_code { (0, usize::MAX) } else { (1, 2) };
        let parts = line.split('`').skip(skipped).step_by(step);
        parts.map(move |part| (part, is_code))
    });
    // Behind it a comment, or where its input comes from and its output goes.
    let ends = |part: &str| {
        [" # ", " < ", " > "]
            .iter()
            .filter_map(|end| part.find(end))
            .min()
            .unwrap_or(part.len())
    };
    let commands = parts.filter(|(part, _)| part.starts_with("scimgate "));
    commands.map(|(part, is_code)| (&part[..ends(part)], is_code)).collect()
}

/// A command's words; what is quoted is one, and an ellipsis none.
fn words(command: &str) -> Vec<&str> {
    let parts = command.split(['"', '\'']).enumerate();
    let words = parts.flat_map(|(n, part)| match n % 2 {
        0 => part.split_whitespace().filter(|word| *word != "…").collect(),
        _ => vec![part],
    });
    words.collect()
}

#[test]
fn every_command_can_be_said() {
    let mut said = 0;
    for page in OPERATED {
        for (command, is_code) in commands(&text(page)) {
            said += 1;
            let Err(error) = Cli::command().try_get_matches_from(words(command)) else {
                continue;
            };
            let may_be = match error.kind() {
                ErrorKind::DisplayHelp => true,
                // What is only named has no arguments yet.
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                | ErrorKind::MissingRequiredArgument
                | ErrorKind::InvalidValue => !is_code,
                // Something is to be filled in.
                ErrorKind::ValueValidation => command.contains('<'),
                _ => false,
            };
            assert!(may_be, "{page}: {command}: {error}");
        }
    }
    assert!(said > 30, "the commands were not found: {said}");
}

/// What a page says that a message says, and the rule it then links to: a piece in quotation marks before the link, or all of
/// it above.
fn quotations(text: &str) -> Vec<(String, &str)> {
    let rule = |text| Some(str::split_once(text, "](errors.md#")?.1.split_once(')')?.0);
    let parts: Vec<_> = text.split("\" ([").collect();
    let pieces = parts
        .windows(2)
        .map(|pair| (pair[0].rsplit('"').next().unwrap().to_owned(), rule(pair[1])));
    let blocks: Vec<_> = text.split("\n\n").collect();
    let whole = blocks.windows(2).filter_map(|pair| {
        let quoted = pair[0].strip_prefix("> ")?.replace("\n> ", " ");
        Some((quoted, rule(pair[1])))
    });
    pieces
        .chain(whole)
        .filter_map(|(quoted, rule)| Some((quoted, rule?)))
        .collect()
}

#[test]
fn every_message_quoted_is_in_the_table() {
    let table = error::markdown();
    let entry = |rule| table.split("\n### ").find(|entry| entry.lines().next() == Some(rule));
    let text = text("docs/entra-setup.md") + &text("docs/migrate.md");
    let quotations = quotations(&text);
    assert!(quotations.len() > 15, "{quotations:?}");
    for (quoted, rule) in quotations {
        let is_said = entry(rule).is_some_and(|entry| entry.contains(&format!("> {quoted}")));
        assert!(is_said, "{rule} does not say {quoted}");
    }
}

#[test]
fn every_attribute_recommended_is_kept() {
    let text = text("docs/entra-setup.md");
    let catalog = Catalog::standard();
    let (users, groups) = text.split_once("\n### Groups\n").unwrap();
    for (part, kind, count) in [(users, "User", 21), (groups, "Group", 3)] {
        let rows = rows(
            part,
            &["Entra attribute", "SCIM attribute", "what is kept for the application"],
        );
        assert_eq!(rows.len(), count, "{kind}");
        for row in rows {
            let mut trace = Trace::default();
            let rt = catalog.resource_type(kind).unwrap();
            let path = Attribute::parse(rt, row[1].trim_matches('`'), &mut trace).unwrap();
            assert!(path.is_some() && trace.notes().is_empty(), "{row:?}: {trace:?}");
        }
    }
}

#[test]
fn every_text_of_a_hop_is_explained_as_said() {
    let text = text("docs/front-door.md");
    let rows = rows(&text, &["the text has", "it says", "look at"]);
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let cause = explain(Message::read(row[0].trim_matches('"'))).cause;
        assert_eq!(cause.name, row[1].trim_matches('`'), "{row:?}");
    }
}
