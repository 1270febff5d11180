//! What is said about one text.

use std::fmt::Write;

use serde_json::{Value, json};

use super::show;
use crate::explain::{Explanation, cause::Reached, query::Filling};

pub(super) fn json(explained: &Explanation<'_>, filling: &Filling) -> Value {
    let (cause, message) = (explained.cause, &explained.message);
    let queries = cause
        .queries
        .iter()
        .map(|query| json!({ "number": query.number(), "shows": query.title(), "query": query.text(filling) }));
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
        let _ = writeln!(text, "{}", show::wrapped(head, body));
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
        part("Advice", &advice(rule.name, rule.advice));
    }
    part("Excludes", cause.excludes);
    part("Lost", explained.lost());
    part("Entra", cause.entra);
    if let Some(again) = message.again {
        part("", &format!("Here, after {} UTC.", show::second(again)));
    }
    part("Look next", cause.next);
    let mut queries = String::new();
    for query in cause.queries {
        let _ = write!(queries, "\n{}\n", query.text(filling));
    }
    let _ = write!(text, "{queries}{}\n{}", open(&queries), customer(explained.customer()));
    text
}

/// What queries have left open, and how it is filled in.
pub(super) fn open(queries: &str) -> String {
    let flags = [("{tenant}", "--tenant <NAME>"), ("{from}", "--at <TIME>")];
    let open = flags.iter().filter(|(mark, _)| queries.contains(mark));
    let open: Vec<_> = open.map(|(_, flag)| *flag).collect();
    if open.is_empty() {
        return String::new();
    }
    format!("\nWhat stands in braces is filled in by {}.\n", open.join(" and "))
}

/// What to do about a rule, and where that stands.
pub(super) fn advice(rule: &str, advice: &str) -> String {
    format!("{advice} (docs/errors.md, {rule})")
}

/// Three sentences to send.
pub(super) fn customer(sentences: [&str; 3]) -> String {
    let said = "(what is said of data holds for scimgate; of another endpoint, check it first)";
    let mut text = show::wrapped("Customer", said);
    for sentence in sentences {
        let _ = write!(text, "\n{}", show::wrapped("", sentence));
    }
    text
}
