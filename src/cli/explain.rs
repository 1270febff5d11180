//! `scimgate explain`

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use time::OffsetDateTime;

use super::show;
use crate::explain::{
    explain,
    log::{
        moment::moment,
        read::{self, Facts, Kind},
        record::Record,
        tally::Tally,
    },
    message::Message,
    query::Filling,
};

mod log;
mod text;

/// Bytes of a text that is explained.
const MAX_TEXT: u64 = 1024 * 1024;
/// Bytes of a file that are read at a time; its first line must fit.
const BUFFER: usize = 256 * 1024;

#[derive(Args)]
pub(super) struct Explain {
    /// The error's text, as the provisioning log shows it; without one, or with '-', standard input is read
    #[arg(conflicts_with = "log")]
    text: Vec<String>,
    /// A provisioning log, as the portal (JSON or CSV), Graph or Log Analytics export it; a second one is that of a healthy
    /// customer
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// The log of a customer without failures, to compare with; then all of --log belong to the failing one
    #[arg(long, value_name = "FILE", requires = "log")]
    healthy: Vec<PathBuf>,
    /// The tenant, to be filled into the query
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// When it was, in UTC: 2026-11-22T10:42:07Z, to be filled into the query
    #[arg(long, value_parser = time_of, value_name = "TIME")]
    at: Option<OffsetDateTime>,
    #[command(flatten)]
    output: show::Output,
}

fn time_of(text: &str) -> Result<OffsetDateTime, &'static str> {
    moment(text).ok_or("a time looks like 2026-11-22T10:42:07Z")
}

pub(super) fn run(command: &Explain) -> anyhow::Result<u8> {
    if command.log.is_empty() {
        explain_text(command)
    } else {
        explain_logs(command)
    }
}

fn explain_text(command: &Explain) -> anyhow::Result<u8> {
    let text = match command.text.join(" ") {
        text if text.is_empty() || text == "-" => from_standard_input()?,
        text => text,
    };
    if text.trim().is_empty() {
        bail!("there is nothing to explain: give the error's text in quotation marks, or on standard input");
    }
    // A row of a log tells more than its text.
    let row = serde_json::from_str(text.trim()).map(|value| Record::of_json(&value));
    let row = row.ok().filter(|row| row.is_row && !row.texts.is_empty());
    let (text, action, at) = match &row {
        Some(row) => (row.telling().unwrap_or_default(), row.answered_action(), row.at),
        None => (text.as_str(), None, None),
    };
    let explained = explain(Message::read(text).during(action));
    let reference = explained.message.reference;
    let filling = Filling {
        span: command.at.or(at).map(|at| (at, at)),
        tenant: command.tenant.clone(),
        reference: reference.map(|(trace, span)| format!("{trace}-{span}")),
        ..Filling::default()
    };
    command
        .output
        .print(&text::json(&explained, &filling), &text::text(&explained, &filling))?;
    Ok(0)
}

fn from_standard_input() -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        eprintln!("Paste the error's text, then press Ctrl-D (Windows: Ctrl-Z and Enter).");
    }
    let mut bytes = Vec::new();
    let mut input = io::stdin().lock().take(MAX_TEXT + 1);
    input.read_to_end(&mut bytes).context("standard input can't be read")?;
    if bytes.len() as u64 > MAX_TEXT {
        bail!("the text is larger than 1 MiB: give a provisioning log with --log FILE");
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The log of one customer, from one or several files.
struct Log {
    /// The files' names.
    names: Vec<String>,
    tally: Tally,
    facts: Vec<Facts>,
}

fn explain_logs(command: &Explain) -> anyhow::Result<u8> {
    let mut failing = open(&command.log)?;
    let mut healthy = open(&command.healthy)?;
    let rows = |sources: &[Source]| sources.iter().filter(|source| source.kind == Kind::Log).count();
    if healthy.is_empty() {
        match rows(&failing) {
            0 => bail!("that is the portal's file of steps, which belong to rows: give ProvisioningLogs.csv, too"),
            1 => {}
            2 => {
                // What follows the second log is its steps.
                let second = failing.iter().rposition(|source| source.kind == Kind::Log);
                healthy = failing.split_off(second.unwrap_or(failing.len()));
            }
            _ => bail!("these are more than two logs: say with --healthy which files are of the healthy customer"),
        }
    }
    let mut logs = vec![count(failing)?];
    if !healthy.is_empty() {
        logs.push(count(healthy)?);
    }
    let tenant = command.tenant.as_deref();
    command
        .output
        .print(&log::json(&logs, tenant), &log::text(&logs, tenant))?;
    Ok(0)
}

/// A file, opened and looked into.
struct Source {
    name: String,
    kind: Kind,
    reader: BufReader<Box<dyn Read>>,
}

fn open(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let source = |path: &PathBuf| {
        let name = path.display().to_string();
        let file: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).with_context(|| format!("{name} can't be opened"))?)
        };
        let mut reader = BufReader::with_capacity(BUFFER, file);
        let head = reader.fill_buf().with_context(|| format!("{name} can't be read"))?;
        let kind = read::kind(head);
        Ok(Source { name, kind, reader })
    };
    paths.iter().map(source).collect()
}

fn count(mut sources: Vec<Source>) -> anyhow::Result<Log> {
    let mut log = Log {
        names: sources.iter().map(|source| source.name.clone()).collect(),
        tally: Tally::default(),
        facts: Vec::new(),
    };
    sources.sort_by_key(|source| source.kind != Kind::Steps);
    for source in sources {
        let mut rows: u64 = 0;
        let tally = &mut log.tally;
        let facts = read::read(source.reader, &mut |kind, record| {
            rows += 1;
            if rows.is_multiple_of(10_000) {
                show::progress(&format!("{} read", show::some(rows, "row")));
            }
            match kind {
                Kind::Log => tally.add(record),
                Kind::Steps => tally.add_step(record),
            }
        });
        show::progress("");
        log.facts.push(facts.with_context(|| source.name.clone())?);
    }
    Ok(log)
}
