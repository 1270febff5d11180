//! Counts the rows of a log: by cause, by author, by minute.

use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;

use super::record::{Action, Record, Status};
use crate::explain::{
    cause::{Cause, OWN, Reached},
    explain,
    message::Message,
    query::{Filling, Query, literal},
};
use crate::scim::error::Entry;

/// Rows that are kept for query 04: the newest, as telemetry is kept for a while only, and a query may not be endless.
pub const MAX_LOST: usize = 500;

/// Error codes that are counted; Entra has a few dozen.
const MAX_CODES: usize = 200;

/// The finest time line has steps of so many minutes, and each coarser one; the first that gives few lines is taken.
const GRAINS: &[i64] = &[1, 5, 15, 60, 4 * 60, 24 * 60, 7 * 24 * 60];
/// Lines of a time line.
const MAX_LINES: i64 = 40;

/// What was counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rows of the log.
    pub rows: u64,
    /// Rows without a time that could be read; they are in no time line.
    pub timeless: u64,
    /// By how they ended.
    pub statuses: BTreeMap<Status, u64>,
    /// By what was done: rows, and failed ones.
    pub actions: BTreeMap<Action, (u64, u64)>,
    /// Entra's own codes of failed rows: the first 200 different ones.
    pub codes: BTreeMap<String, u64>,
    /// What went wrong, in the order in which it was met.
    pub causes: Vec<Counted>,
    /// Milliseconds of rows that succeeded, and of rows that failed.
    pub durations: [Durations; 2],
    /// Failed rows that did not get to the application, or perhaps not: the newest ones.
    pub lost: BTreeMap<(OffsetDateTime, u64), Lost>,
    /// How many of them were met in all, with a time and a method.
    pub lost_in_all: u64,
    /// How many lack a time or a method, so that nothing can be looked up for them.
    pub lost_unplaced: u64,
    minutes: BTreeMap<i64, Minute>,
    steps: HashMap<String, Step>,
}

/// One cause, counted.
#[derive(Debug)]
pub struct Counted {
    /// Its name; of our own answers with the rule's.
    pub name: String,
    /// Its row of the table.
    pub cause: &'static Cause,
    /// The rule, where its name is a part of this one's.
    pub rule: Option<&'static Entry>,
    /// How many rows.
    pub rows: u64,
    /// How many of them the proxy had sent more than once.
    pub retried: u64,
    /// By HTTP status; 0 where the text names none.
    pub statuses: BTreeMap<u16, u64>,
    /// First and last time.
    pub span: Option<(OffsetDateTime, OffsetDateTime)>,
}

impl Counted {
    /// How many rows reached the application, did not, or perhaps; where the proxy tried more than once, an earlier attempt may
    /// have.
    pub fn rows_that(&self, reached: Reached) -> u64 {
        let certain = match self.cause.reached {
            Reached::No => self.rows - self.retried,
            Reached::Perhaps | Reached::Yes => self.rows,
        };
        let of_known = if reached == self.cause.reached { certain } else { 0 };
        let of_retried = if reached == Reached::Perhaps {
            self.rows - certain
        } else {
            0
        };
        of_known + of_retried
    }

    /// The same of all rows together.
    pub fn reached(&self) -> Reached {
        if self.rows_that(Reached::Perhaps) > 0 {
            Reached::Perhaps
        } else {
            self.cause.reached
        }
    }

    /// What to send to the customer.
    pub fn customer(&self) -> [&'static str; 3] {
        self.cause.sentences(self.rule, self.retried > 0)
    }
}

/// A row that perhaps never reached the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The method of its request, as far as the row shows.
    pub verb: &'static str,
    /// Its change id.
    pub change: String,
    /// Status and cause.
    pub error: String,
    /// How long all of it took, in milliseconds.
    pub duration: Option<u64>,
}

#[derive(Debug, Default)]
struct Minute {
    rows: u64,
    failed: u64,
    /// Indices of causes.
    causes: Vec<(usize, u64)>,
}

/// What a failed step says of its row.
#[derive(Debug)]
struct Step {
    text: String,
    on_look_up: bool,
}

/// One line of the time line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// When it begins.
    pub from: OffsetDateTime,
    /// Rows in it.
    pub rows: u64,
    /// Failed rows.
    pub failed: u64,
    /// By the causes' indices.
    pub causes: BTreeMap<usize, u64>,
}

impl Tally {
    /// Remembers a step of the portal's second file; these come before the rows.
    pub fn add_step(&mut self, record: Record) {
        if record.status != Status::Failure || record.change.is_empty() {
            return;
        }
        let on_look_up = record.failed_on_look_up;
        if let Some(text) = record.telling().map(str::to_owned) {
            self.steps.insert(record.change, Step { text, on_look_up });
        }
    }

    /// Counts a row.
    pub fn add(&mut self, mut record: Record) {
        self.rows += 1;
        *self.statuses.entry(record.status).or_default() += 1;
        let failed = record.status == Status::Failure;
        if let Some(action) = record.action {
            let (rows, failures) = self.actions.entry(action).or_default();
            *rows += 1;
            *failures += u64::from(failed);
        }
        if let Some(duration) = record.duration {
            self.durations[usize::from(failed)].add(duration);
        }
        if failed && let Some(step) = self.steps.remove(&record.change) {
            record.failed_on_look_up |= step.on_look_up;
            record.texts.push(step.text);
        }
        if let Some(code) = record.code.take().filter(|_| failed)
            && (self.codes.len() < MAX_CODES || self.codes.contains_key(&code))
        {
            *self.codes.entry(code).or_default() += 1;
        }
        let cause = failed.then(|| self.count(&record));
        let Some(at) = record.at else {
            self.timeless += 1;
            return;
        };
        let minute = self.minutes.entry(at.unix_timestamp().div_euclid(60)).or_default();
        minute.rows += 1;
        minute.failed += u64::from(failed);
        if let Some(cause) = cause {
            match minute.causes.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, rows)) => *rows += 1,
                None => minute.causes.push((cause, 1)),
            }
        }
    }

    /// Counts what went wrong; returns the cause's index.
    fn count(&mut self, record: &Record) -> usize {
        let text = record.telling().unwrap_or_default();
        let explained = explain(Message::read(text).during(record.answered_action()));
        let name = if text.is_empty() {
            "unknown".to_owned()
        } else {
            explained.name()
        };
        let index = self.causes.iter().position(|known| known.name == name);
        let index = index.unwrap_or_else(|| {
            let known = if text.is_empty() {
                crate::explain::cause::named("unknown")
            } else {
                None
            };
            let cause = known.unwrap_or(explained.cause);
            self.causes.push(Counted {
                name: name.clone(),
                cause,
                rule: explained.rule.filter(|_| cause.name == OWN),
                rows: 0,
                retried: 0,
                statuses: BTreeMap::new(),
                span: None,
            });
            self.causes.len() - 1
        });
        let counted = &mut self.causes[index];
        let retried = explained.message.was_retried_by_proxy();
        counted.rows += 1;
        counted.retried += u64::from(retried);
        *counted
            .statuses
            .entry(explained.message.status.unwrap_or(0))
            .or_default() += 1;
        if let Some(at) = record.at {
            let (first, last) = counted.span.unwrap_or((at, at));
            counted.span = Some((first.min(at), last.max(at)));
        }
        if counted.cause.reached != Reached::Yes {
            let status = explained
                .message
                .status
                .map(|status| format!("{status} "))
                .unwrap_or_default();
            let retried = if retried { ", retried" } else { "" };
            let error = format!("{status}{name}{retried}");
            self.lose(record, error);
        }
        index
    }

    fn lose(&mut self, record: &Record, error: String) {
        let (Some(at), Some(verb)) = (record.at, record.verb()) else {
            self.lost_unplaced += 1;
            return;
        };
        let lost = Lost {
            verb,
            change: record.change.clone(),
            error,
            duration: record.duration,
        };
        self.lost.insert((at, self.lost_in_all), lost);
        self.lost_in_all += 1;
        if self.lost.len() > MAX_LOST {
            self.lost.pop_first();
        }
    }

    /// How many rows failed.
    pub fn failed(&self) -> u64 {
        self.statuses.get(&Status::Failure).copied().unwrap_or(0)
    }

    /// First and last minute.
    pub fn span(&self) -> Option<(OffsetDateTime, OffsetDateTime)> {
        let (first, last) = (self.minutes.first_key_value()?.0, self.minutes.last_key_value()?.0);
        Some((minute(*first), minute(*last)))
    }

    /// The causes, the most frequent first.
    pub fn ranking(&self) -> Vec<(usize, &Counted)> {
        let mut ranking: Vec<_> = self.causes.iter().enumerate().collect();
        ranking.sort_by(|(_, a), (_, b)| b.rows.cmp(&a.rows).then_with(|| a.name.cmp(&b.name)));
        ranking
    }

    /// The time line, and how many minutes each of its lines covers. Times in which nothing happened have no line.
    pub fn time_line(&self) -> (i64, Vec<Line>) {
        let (Some(first), Some(last)) = (self.minutes.keys().next(), self.minutes.keys().last()) else {
            return (1, Vec::new());
        };
        let fits = |grain: &&i64| last.div_euclid(**grain) - first.div_euclid(**grain) < MAX_LINES;
        let grain = GRAINS.iter().find(fits).or(GRAINS.last()).copied().unwrap_or(1);
        let mut lines: Vec<Line> = Vec::new();
        for (at, counted) in &self.minutes {
            let from = minute(at.div_euclid(grain) * grain);
            if lines.last().is_none_or(|line| line.from != from) {
                lines.push(Line {
                    from,
                    rows: 0,
                    failed: 0,
                    causes: BTreeMap::new(),
                });
            }
            let line = lines.last_mut().expect("one was pushed");
            line.rows += counted.rows;
            line.failed += counted.failed;
            for (cause, rows) in &counted.causes {
                *line.causes.entry(*cause).or_default() += rows;
            }
        }
        (grain, lines)
    }

    /// Rows and failed rows of each minute in which anything happened, in order.
    pub(super) fn active_minutes(&self) -> impl Iterator<Item = (i64, u64, u64)> {
        self.minutes
            .iter()
            .map(|(at, minute)| (*at, minute.rows, minute.failed))
    }

    /// Query 04 for the rows that perhaps never reached the application.
    pub fn query(&self, tenant: Option<&str>) -> Option<String> {
        let ((first, _), _) = self.lost.first_key_value()?;
        let ((last, _), _) = self.lost.last_key_value()?;
        let rows = self.lost.iter().map(|((at, _), lost)| {
            let at = at.to_offset(time::UtcOffset::UTC);
            let (date, clock) = (at.date(), at.time());
            let (hour, minute, second) = clock.as_hms();
            format!(
                "    datetime({date} {hour:02}:{minute:02}:{second:02}), \"{}\", \"{}\", \"{}\"",
                lost.verb,
                literal(&lost.change),
                literal(&lost.error)
            )
        });
        let rows = rows.collect::<Vec<_>>().join(",\n");
        let slowest = self.lost.values().filter_map(|lost| lost.duration).max();
        let filling = Filling {
            span: Some((*first, *last)),
            tenant: tenant.map(str::to_owned),
            rows: Some(rows),
            slowest: slowest.unwrap_or(0).div_ceil(1000),
            ..Filling::default()
        };
        Some(Query::Rows.text(&filling))
    }
}

fn minute(number: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(number.saturating_mul(60)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Durations, to two digits each: exact enough for percentiles, and bounded whatever the file.
#[derive(Debug, Default)]
pub struct Durations(BTreeMap<u64, u64>);

impl Durations {
    fn add(&mut self, milliseconds: u64) {
        let digits = milliseconds.checked_ilog10().unwrap_or(0);
        let unit = 10_u64.pow(digits.saturating_sub(1));
        *self.0.entry(milliseconds / unit * unit).or_default() += 1;
    }

    /// The value that so many percent do not exceed.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let all: u64 = self.0.values().sum();
        let wanted = (all * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let reached = |(_, count): &(&u64, &u64)| {
            seen += **count;
            seen >= wanted
        };
        self.0.iter().find(reached).map(|(value, _)| *value)
    }
}
