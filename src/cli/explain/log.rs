//! What is said about a provisioning log, and about two.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{
    Log, show,
    text::{advice, customer, open},
};
use crate::explain::{
    cause::{Author, Reached},
    log::{
        compare::{Measure, bursts, compare},
        tally::{Counted, Line, Tally},
    },
};

/// Causes that have a column of their own in the time line.
const COLUMNS: usize = 3;
/// How many times as often something is before it is called a difference.
const DIFFERENCE: f64 = 2.0;

pub(super) fn json(logs: &[Log], tenant: Option<&str>) -> Value {
    let logs_json = logs.iter().map(|log| json_of(log, tenant));
    let mut json = json!({ "logs": logs_json.collect::<Vec<_>>() });
    if let [failing, healthy] = logs {
        let measures = compare(&failing.tally, &healthy.tally);
        json["comparison"] = measures
            .iter()
            .map(|measure| {
                let [failing, healthy] = measure.values;
                json!({ "measure": measure.name, "failing": failing, "healthy": healthy, "ratio": measure.ratio() })
            })
            .collect();
    }
    json
}

fn json_of(log: &Log, tenant: Option<&str>) -> Value {
    let tally = &log.tally;
    let causes = tally.ranking().into_iter().map(|(_, cause)| {
        json!({
            "cause": cause.name,
            "author": cause.cause.author.says(),
            "reachedTheApplication": cause.reached().name(),
            "rows": cause.rows,
            "retriedByProxy": cause.retried,
            "statuses": cause.statuses.iter().map(|(status, rows)| (status.to_string(), json!(rows))).collect::<Map<_, _>>(),
            "first": cause.span.map(|(first, _)| show::exact(first)),
            "last": cause.span.map(|(_, last)| show::exact(last)),
            "advice": cause.rule.map(|rule| rule.advice),
            "customer": cause.customer(),
        })
    });
    let (minutes, lines) = tally.time_line();
    let line = |line: &Line| {
        let causes = line
            .causes
            .iter()
            .map(|(cause, rows)| (tally.causes[*cause].name.clone(), json!(rows)));
        let mut authors = Map::new();
        for (author, rows) in by_author(line.causes.iter().map(|(cause, rows)| (&tally.causes[*cause], *rows))) {
            authors.insert(author.says().to_owned(), rows.into());
        }
        json!({
            "from": show::exact(line.from),
            "rows": line.rows,
            "failed": line.failed,
            "causes": causes.collect::<Map<_, _>>(),
            "authors": authors,
        })
    };
    json!({
        "files": log.names,
        "rows": tally.rows,
        "failed": tally.failed(),
        "rowsWithoutTime": tally.timeless,
        "statuses": tally.statuses.iter().map(|(status, rows)| (status.name().to_owned(), json!(rows))).collect::<Map<_, _>>(),
        "actions": tally.actions.iter().map(|(action, (rows, failed))| {
            (action.name().to_owned(), json!({ "rows": rows, "failed": failed }))
        }).collect::<Map<_, _>>(),
        "causes": causes.collect::<Vec<_>>(),
        "authors": authors(tally).into_iter().map(|(author, rows)| json!({ "author": author.says(), "rows": rows })).collect::<Vec<_>>(),
        "entraCodes": tally.codes,
        "timeLine": { "minutesPerLine": minutes, "lines": lines.iter().map(line).collect::<Vec<_>>() },
        "notReached": {
            "never": rows_that(tally, Reached::No),
            "perhaps": rows_that(tally, Reached::Perhaps),
            "withoutTimeOrMethod": tally.lost_unplaced,
            "inDatatable": tally.lost.len(),
            "query": tally.query(tenant),
        },
        "notes": notes(log),
    })
}

pub(super) fn text(logs: &[Log], tenant: Option<&str>) -> String {
    let mut parts: Vec<String> = logs.iter().map(text_of).collect();
    if let [failing, healthy] = logs {
        parts.push(comparison(&compare(&failing.tally, &healthy.tally)));
    }
    if let Some(query) = logs[0].tally.query(tenant) {
        parts.push(lost(&logs[0].tally, &query));
    }
    parts.join("\n\n")
}

fn text_of(log: &Log) -> String {
    let tally = &log.tally;
    let ends = tally
        .statuses
        .iter()
        .map(|(status, rows)| format!("{rows} {}", status.name()));
    if tally.rows == 0 {
        let nothing =
            "There is no row in it: nothing happened in that time, or the export's filter let nothing through.";
        return [vec![format!("{}: {nothing}", log.names.join(", "))], notes(log)]
            .concat()
            .join("\n");
    }
    let mut text = format!("{}: {}", log.names.join(", "), show::some(tally.rows, "row"));
    if let Some((first, last)) = tally.span() {
        let _ = write!(text, " from {} to {} UTC", show::minute(first), show::minute(last));
    }
    let _ = write!(text, "; {}.", ends.collect::<Vec<_>>().join(", "));
    for note in notes(log) {
        let _ = write!(text, "\n{note}");
    }
    if tally.causes.is_empty() {
        text.push_str("\nNothing failed.");
        return text;
    }
    let ranking = tally.ranking();
    let causes = ranking.iter().map(|(_, cause)| cause_row(cause)).collect::<Vec<_>>();
    let head = [
        "FAILED BY",
        "WRITTEN BY",
        "ROWS",
        "RETRIED",
        "STATUS",
        "REACHED US",
        "FIRST",
        "LAST",
    ];
    let _ = write!(text, "\n\n{}", show::table(head, &causes));
    let _ = write!(text, "\n\nBy author: {}.", said(&authors(tally)));
    if !tally.codes.is_empty() {
        let codes = tally.codes.iter().map(|(code, rows)| format!("{code} {rows}"));
        let _ = write!(
            text,
            "\nEntra's own codes, which do not tell who wrote it: {}.",
            codes.collect::<Vec<_>>().join("; ")
        );
    }
    if let Some(bursts) = bursts(tally) {
        let _ = write!(text, "\n{bursts}");
    }
    let _ = write!(text, "\n\n{}", time_line(tally));
    if let Some((_, first)) = ranking.first() {
        let _ = write!(text, "\n\n{}", most_frequent(first));
    }
    text
}

fn most_frequent(first: &Counted) -> String {
    let mut text = format!("The most frequent is {}.", first.name);
    let mut part = |head: &str, body: &str| {
        let _ = write!(text, "\n{}", show::wrapped(head, body));
    };
    part("Means", first.cause.means);
    if let Some(rule) = first.rule {
        part("Advice", &advice(rule.name, rule.advice));
    }
    part("Look next", first.cause.next);
    format!("{text}\n{}", customer(first.customer()))
}

fn cause_row(cause: &Counted) -> [String; 8] {
    let statuses = cause.statuses.keys().filter(|status| **status > 0).map(u16::to_string);
    let time = |time: Option<OffsetDateTime>| show::or_dash(time.map(show::second));
    [
        cause.name.clone(),
        cause.cause.author.says().to_owned(),
        cause.rows.to_string(),
        cause.retried.to_string(),
        show::or_dash(Some(statuses.collect::<Vec<_>>().join(" "))),
        cause.reached().name().to_owned(),
        time(cause.span.map(|(first, _)| first)),
        time(cause.span.map(|(_, last)| last)),
    ]
}

/// A line for each stretch of time: rows, failures, the failures of the most frequent causes, and who wrote them all.
fn time_line(tally: &Tally) -> String {
    let (minutes, lines) = tally.time_line();
    let ranking = tally.ranking();
    let columns: Vec<_> = ranking.iter().take(COLUMNS).collect();
    let name = |column: usize| columns.get(column).map_or("-", |(_, cause)| cause.name.as_str());
    let rows = lines.iter().map(|line| {
        let of = |column: usize| {
            let rows = columns.get(column).and_then(|(index, _)| line.causes.get(index));
            show::or_dash(rows.map(u64::to_string))
        };
        let shown: u64 = columns.iter().filter_map(|(index, _)| line.causes.get(index)).sum();
        let authors = by_author(line.causes.iter().map(|(cause, rows)| (&tally.causes[*cause], *rows)));
        [
            show::minute(line.from),
            line.rows.to_string(),
            line.failed.to_string(),
            of(0),
            of(1),
            of(2),
            show::or_dash((line.failed > shown).then(|| (line.failed - shown).to_string())),
            show::or_dash(Some(said(&authors))),
        ]
    });
    let head = [
        "UTC",
        "ROWS",
        "FAILED",
        name(0),
        name(1),
        name(2),
        "OTHERS",
        "WRITTEN BY",
    ];
    let lines = show::table(head, &rows.collect::<Vec<_>>());
    format!("Each line is {minutes} minute(s).\n{lines}")
}

/// The authors of failed rows, the most frequent first.
fn authors(tally: &Tally) -> Vec<(Author, u64)> {
    by_author(tally.causes.iter().map(|cause| (cause, cause.rows)))
}

fn by_author<'t>(failed: impl Iterator<Item = (&'t Counted, u64)>) -> Vec<(Author, u64)> {
    let mut authors = BTreeMap::new();
    for (cause, rows) in failed {
        *authors.entry(cause.cause.author).or_insert(0) += rows;
    }
    let mut authors: Vec<_> = authors.into_iter().collect();
    authors.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    authors
}

fn said(authors: &[(Author, u64)]) -> String {
    let said = authors.iter().map(|(author, rows)| format!("{} {rows}", author.says()));
    said.collect::<Vec<_>>().join("; ")
}

fn rows_that(tally: &Tally, reached: Reached) -> u64 {
    tally.causes.iter().map(|cause| cause.rows_that(reached)).sum()
}

/// What the reader must know to trust the figures.
fn notes(log: &Log) -> Vec<String> {
    let mut notes = Vec::new();
    if log.facts.iter().any(|facts| facts.has_more) {
        notes.push("There are more pages (@odata.nextLink): this is not the whole log.".to_owned());
    }
    if log.facts.iter().any(|facts| facts.local_times) {
        notes.push(
            "The times are local ones of whoever exported them, not UTC: export again in UTC before you compare."
                .to_owned(),
        );
    }
    let strange: u64 = log.facts.iter().map(|facts| facts.strange).sum();
    if strange > 0 {
        notes.push(format!(
            "Entries that are no rows of a provisioning log, and left out: {strange}."
        ));
    }
    if log.tally.timeless > 0 {
        notes.push(format!("Rows without a time that can be read: {}.", log.tally.timeless));
    }
    notes
}

fn comparison(measures: &[Measure]) -> String {
    let value =
        |value: Option<f64>| show::or_dash(value.map(|value| format!("{value:.1}").trim_end_matches(".0").to_owned()));
    let rows = measures.iter().map(|measure| {
        let [failing, healthy] = measure.values;
        let ratio = measure.ratio().map(|ratio| format!("{ratio:.1} x"));
        [
            measure.name.clone(),
            value(failing),
            value(healthy),
            show::or_dash(ratio),
        ]
    });
    let table = show::table(["MEASURE", "FAILING", "HEALTHY", "RATIO"], &rows.collect::<Vec<_>>());
    let differs = |measure: &&Measure| {
        let ratio = measure.ratio();
        measure.is_load && ratio.is_some_and(|ratio| ratio >= DIFFERENCE || ratio <= 1.0 / DIFFERENCE)
    };
    let differ: Vec<_> = measures
        .iter()
        .filter(differs)
        .map(|measure| measure.name.as_str())
        .collect();
    let says = if differ.is_empty() {
        "What the two send differs nowhere by a factor of two or more: load alone does not explain the failures."
            .to_owned()
    } else {
        format!(
            "What the two send differs by a factor of two or more in: {}. That is where to look, not yet a cause.",
            differ.join("; ")
        )
    };
    format!("{table}\n\n{says}")
}

/// The rows to ask telemetry about.
fn lost(tally: &Tally, query: &str) -> String {
    let (never, perhaps) = (rows_that(tally, Reached::No), rows_that(tally, Reached::Perhaps));
    let mut text = format!(
        "Of the failed rows {never} never reached the application, as their texts say; of {perhaps} more the text leaves it open. \
         Query 04 below finds out"
    );
    if tally.lost_in_all > tally.lost.len() as u64 {
        let _ = write!(text, " (the newest {} rows)", tally.lost.len());
    }
    if tally.lost_unplaced > 0 {
        let _ = write!(
            text,
            " (without those that have no time or no method: {})",
            tally.lost_unplaced
        );
    }
    text.push_str(
        ". The method is inferred from what Entra did. A row's time is not exactly its request's: slack is as long as the rows \
         took, at most a minute.",
    );
    format!("{}\n\n{query}{}", show::wrapped("Not reached", &text), open(query))
}
