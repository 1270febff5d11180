//! How commands show what they have to say: text for people, JSON for programs.

use std::{
    fmt::Display,
    io::{BufRead, ErrorKind, IsTerminal, Write},
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

const UNWRITTEN: &str = "the output can't be written";

/// The form of a command's output.
#[derive(Args)]
pub(super) struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Output {
    /// JSON, where there is nothing else to show.
    pub(super) fn json() -> Self {
        Self { json: true }
    }

    /// Prints one of the two; fails when nobody can read it. Whoever has read enough, as `head` has, is no failure.
    pub(super) fn print(&self, json: &Value, text: &str) -> anyhow::Result<()> {
        match self.write(json, text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.context(UNWRITTEN),
        }
    }

    /// Prints one of many, JSON in one line; false when nobody reads any more.
    pub(super) fn print_line(&self, json: &Value, text: &str) -> anyhow::Result<bool> {
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            writeln!(out, "{json}")
        } else {
            writeln!(out, "{text}")
        };
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            written => written.context(UNWRITTEN).map(|()| true),
        }
    }

    fn write(&self, json: &Value, text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{json:#}")?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()
    }

    /// The same for a new secret, which is nowhere else.
    pub(super) fn print_secret(&self, json: &Value, text: &str, token: &str, tenant: &str) -> anyhow::Result<()> {
        let lost = || format!("the token was made, but its secret is lost: scimgate token revoke {tenant} {token}");
        self.write(json, text).context(UNWRITTEN).with_context(lost)
    }
}

/// Shows a person that something goes on, in a line that the next call overwrites; the last one with nothing.
pub(super) fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        // Spaces, as not every terminal erases a line when it is told to.
        say(format_args!("\r{:78}\r{text}", ""));
    }
}

/// Says once that something takes long, where nobody would see a line that changes.
pub(super) fn takes_long(text: &str) {
    if !std::io::stderr().is_terminal() {
        say(format_args!("{text}\n"));
    }
}

/// To a person who may have gone, terminal and all: nothing ends because of that.
pub(super) fn say(text: std::fmt::Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(text);
}

/// Asks for a name or an id again, so that nobody removes something by a slip.
pub(super) fn confirm(what: &str, asked: &str, answer: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("{what}; say --yes to do so without being asked");
    }
    say(format_args!("{what}, and cannot be undone.\nType {asked} to go on: "));
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() != answer {
        bail!("nothing was removed");
    }
    Ok(())
}

/// Columns as wide as their widest cell.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([head[column].len()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec()))
        .chain(body)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Columns of a line of wrapped text, and those before it.
const WIDTH: usize = 110;
const INDENT: usize = 14;

/// A head, and beside it the text in lines.
pub(super) fn wrapped(head: &str, body: &str) -> String {
    let mut lines = vec![format!("{head:<INDENT$}")];
    for word in body.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        let columns = line.chars().count();
        if columns > INDENT && columns + word.chars().count() >= WIDTH {
            lines.push(" ".repeat(INDENT) + word);
        } else {
            if columns > INDENT {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// What others chose to call something, as it may stand in a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// So many of them: `1 user`, `2 users`.
pub(super) fn some(count: impl Display, of: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {of}{plural}")
}

/// The text, or a dash for nothing.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// 2026-11-22
pub(super) fn date(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]"))
        .expect("a time has a date")
}

/// 2026-11-22 10:42
pub(super) fn minute(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day] [hour]:[minute]"))
        .expect("a time has minutes")
}

/// 2026-11-22 10:42:07
pub(super) fn second(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"))
        .expect("a time has seconds")
}

/// As RFC 3339 spells it.
pub(super) fn exact(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).expect("the years we live in have four digits")
}
