//! The report of a visit.

use std::fmt::Write;

use serde_json::{Value, json};

use super::show;
use crate::doctor::{
    fault::Severity,
    report::{Finding, Outcome, Report},
};

pub(super) fn json(report: &Report) -> Value {
    let checks = report.checks.iter().map(|(check, outcome)| {
        let row = check.row();
        let (outcome, told) = match outcome {
            Outcome::Done(told) => ("done", told.clone()),
            Outcome::Skipped(why) => ("skipped", vec![(*why).to_owned()]),
            Outcome::BrokenOff(why) => ("broken off", vec![(*why).to_owned()]),
        };
        json!({ "id": row.id, "title": row.title, "does": row.does, "outcome": outcome, "told": told })
    });
    json!({
        "tenantUrl": report.url,
        "clean": report.is_clean(),
        "reached": report.is_reached,
        "complete": report.is_complete,
        "token": report.has_token,
        "requests": report.requests,
        "seconds": report.seconds,
        "checks": checks.collect::<Vec<_>>(),
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "leftBehind": report.left,
    })
}

fn finding_json(finding: &Finding) -> Value {
    let entry = finding.fault.entry();
    json!({
        "id": entry.id,
        "severity": entry.severity.name(),
        "title": entry.title,
        "check": finding.check.row().id,
        "at": finding.at,
        "also": finding.also,
        "times": finding.times,
        "when": show::exact(finding.when),
        "seen": finding.seen,
        "bytes": bytes(&finding.bytes),
        "hop": finding.hop,
        "causes": entry.effect.says(),
        "cause": entry.effect.cause(),
        "advice": entry.advice,
    })
}

pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    for (check, outcome) in &report.checks {
        let (mark, told) = match outcome {
            Outcome::Done(told) => (worst(report, *check), told.join("; ")),
            Outcome::Skipped(why) => ("skipped", (*why).to_owned()),
            Outcome::BrokenOff(why) => ("broken off", (*why).to_owned()),
        };
        let _ = writeln!(
            text,
            "{}",
            show::wrapped(mark, &format!("{}: {told}", check.row().title))
        );
    }
    for finding in &report.findings {
        describe(&mut text, finding);
    }
    let _ = write!(text, "\n{}", verdict(report));
    text
}

/// How bad what a check met is.
fn worst(report: &Report, check: crate::doctor::checks::Check) -> &'static str {
    let met = report.findings.iter().filter(|finding| finding.check == check);
    match met.map(|finding| finding.fault.entry().severity).max() {
        None | Some(Severity::Note) => "ok",
        Some(severity) => severity.name(),
    }
}

fn describe(text: &mut String, finding: &Finding) {
    let entry = finding.fault.entry();
    let _ = writeln!(
        text,
        "\n{}: {} ({})",
        entry.severity.name().to_uppercase(),
        entry.title,
        entry.id
    );
    let mut part = |head: &str, body: &str| {
        if !body.is_empty() {
            let _ = writeln!(text, "{}", show::wrapped(head, body));
        }
    };
    let mut place = format!("{}, {} UTC", finding.at, show::second(finding.when));
    if finding.times > 1 {
        let _ = write!(place, "; {} times", finding.times);
    }
    if !finding.also.is_empty() {
        let _ = write!(place, ", also: {}", finding.also.join("; "));
    }
    part("  Seen", &finding.seen);
    part("  At", &place);
    part("  Bytes", &bytes(&finding.bytes));
    part("  Written by", &finding.hop);
    part("  Causes", entry.effect.says());
    part("  Do", entry.advice);
    if let Some(cause) = entry.effect.cause() {
        part("  See", &format!("'scimgate explain' calls such an error {cause}."));
    }
}

/// What can be printed as it is: JSON is full of quotation marks.
fn bytes(bytes: &[u8]) -> String {
    let escaped = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => byte.escape_ascii().to_string(),
    };
    bytes.iter().map(escaped).collect()
}

fn verdict(report: &Report) -> String {
    let count = |severity| {
        let of = report.findings.iter();
        of.filter(|finding| finding.fault.entry().severity == severity).count()
    };
    let sent = format!("{} in {:.0} s", show::some(report.requests, "request"), report.seconds);
    let mut verdict = if !report.is_reached {
        format!("Nothing could be said of {}: there is no connection.", report.url)
    } else if report.is_clean() {
        let is_wrong = if report.has_token && report.is_complete {
            "Nothing is wrong with"
        } else {
            "Nothing wrong was seen of"
        };
        format!("{is_wrong} {} ({sent}).", report.url)
    } else {
        let errors = show::some(count(Severity::Error), "error");
        let warnings = show::some(count(Severity::Warning), "warning");
        format!("{}: {errors}, {warnings} ({sent}).", report.url)
    };
    if report.is_reached && !report.has_token {
        verdict += "\nOnly what can be seen without a token was looked at.";
    }
    if report.is_reached && !report.is_complete {
        verdict += "\nNot all was looked at.";
    }
    if !report.left.is_empty() {
        let _ = write!(
            verdict,
            "\nLeft behind, to be removed by hand: {}",
            report.left.join(", ")
        );
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn only_what_cannot_be_printed_is_escaped() {
        assert_eq!(
            bytes(b"HTTP/1.1 200\r\n{\"a\":\"\\u00e9\"}\0\xc3"),
            "HTTP/1.1 200\\r\\n{\"a\":\"\\u00e9\"}\\x00\\xc3"
        );
    }
}
