//! What is said about one text.

use std::fmt::Write;

use serde_json::{Value, json};

use super::show;
use crate::explain::{Explanation, cause::Reached, query::Filling};

/// Columns of a line.
const WIDTH: usize = 110;
/// Columns before the text.
const INDENT: usize = 12;

pub(super) fn json(explained: &Explanation<'_>, filling: &Filling) -> Value {
    let (cause, message) = (explained.cause, &explained.message);
    let queries = cause
        .queries
        .iter()
        .map(|query| json!({ "shows": query.title(), "query": query.text(filling) }));
    let mut json = json!({
        "cause": cause.name,
        "author": cause.author.says(),
        "status": message.status,
        "reachedTheApplication": explained.reached().name(),
        "means": cause.means,
        "excludes": cause.excludes,
        "lost": explained.lost(),
        "entra": cause.entra,
        "next": cause.next,
        "notes": explained.notes,
        "queries": queries.collect::<Vec<_>>(),
        "customer": explained.customer(),
    });
    if let Some(rule) = explained.rule {
        json["rule"] = rule.name.into();
        json["advice"] = rule.advice.into();
    }
    if let Some((trace, span)) = message.reference {
        json["reference"] = format!("{trace}-{span}").into();
    }
    if message.wrapped {
        json["retriedByEntra"] = message.retries.into();
        json["nextTry"] = message.again.map(show::exact).into();
    }
    json
}

pub(super) fn text(explained: &Explanation<'_>, filling: &Filling) -> String {
    let (cause, message) = (explained.cause, &explained.message);
    let status = message
        .status
        .map_or_else(String::new, |status| format!(", status {status}"));
    let reached = match explained.reached() {
        Reached::No => "no",
        Reached::Perhaps => "the text leaves it open: telemetry decides",
        Reached::Yes => "yes",
    };
    let mut text = String::new();
    let mut part = |head: &str, body: &str| {
        let _ = writeln!(text, "{}", wrapped(head, body));
    };
    part(
        "Written by",
        &format!("{} ({}{status})", cause.author.says(), explained.name()),
    );
    part("Reached us", reached);
    part("Means", cause.means);
    for note in &explained.notes {
        part("", note);
    }
    if let Some(rule) = explained.rule {
        part("Advice", &format!("{} (docs/errors.md, {})", rule.advice, rule.name));
    }
    part("Excludes", cause.excludes);
    part("Lost", explained.lost());
    part("Entra", cause.entra);
    if let Some(again) = message.again {
        part("", &format!("Here, after {} UTC.", show::second(again)));
    }
    part("Look next", cause.next);
    for query in cause.queries {
        let _ = write!(text, "\n// {}\n{}\n", query.title(), query.text(filling));
    }
    let _ = write!(
        text,
        "\n{}",
        wrapped(
            "Customer",
            "(what is said of data holds for scimgate; of another endpoint, check it first)"
        )
    );
    for sentence in explained.customer() {
        let _ = write!(text, "\n{}", wrapped("", sentence));
    }
    text
}

/// A head, and beside it the text in lines.
pub(super) fn wrapped(head: &str, body: &str) -> String {
    let mut lines = vec![format!("{head:<INDENT$}")];
    for word in body.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if line.chars().count() + word.chars().count() >= WIDTH {
            lines.push(" ".repeat(INDENT) + word);
        } else {
            if line.chars().count() > INDENT {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
