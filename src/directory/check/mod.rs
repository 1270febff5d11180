//! Whether a tenant's rows fit together, and mending them where they don't, while others go on writing.
//!
//! Every commit leaves the rows sound, so there is nothing to find unless something else wrote them, lost some, or a
//! version had a bug. Reading order: this file (two passes over all rows), `damage` (what can be wrong), `row` (what one
//! row says of others), `ledger` (which rows that leaves in doubt), `judge` (what is wrong with rows that belong together,
//! and what mends it: the only place that knows), `look` (certainty in spite of others who write), `total` (which is no
//! matter of single rows), `mend`, `report`.
//!
//! The first pass brings most rows into no doubt and costs no more than reading them once. The second finds the others
//! again, to be looked at one by one. Where nobody writes and nothing is wrong, there is none.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Directory, Error, pending::Joins, sift::SCAN_STEP};
use crate::{
    rows,
    scim::schema::Catalog,
    store::{Row, settle},
};

mod damage;
mod judge;
mod ledger;
mod look;
mod mend;
mod report;
mod row;
#[cfg(test)]
mod tests;
mod total;

pub use damage::{DAMAGES, Damage, Entry};
pub use report::{Example, Findings, Report};

use ledger::{Doubts, Ledger, Mark};
use row::{Case, Rules};

/// Doubts looked at together.
const CASES_AT_ONCE: usize = 500;
/// Passes of one repair. What one pass mends may show what is wrong behind it; no more than three follow one another.
const PASSES: usize = 6;
/// The bounds of a partition: no key stands before or behind.
const ALL: &str = "";

/// How far an inspection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many rows were read.
    Read(usize),
    /// In the second pass this many rows were passed over, and this many doubts looked at.
    LookedAgain(usize, usize),
}

/// An inspection of one tenant.
pub struct Inspection {
    directory: Directory,
    rules: Rules,
    /// How long one call to the store may take, with all its tries.
    patience: Duration,
    /// Examples kept of each kind of damage.
    examples: usize,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
}

impl Inspection {
    /// An inspection of the tenant that `directory` is of; its credential stands in the events of a repair.
    pub fn new(
        directory: Directory,
        patience: Duration,
        examples: usize,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Self {
        let catalog = Catalog::standard();
        let of = |name| Arc::clone(catalog.resource_type(name).expect("every catalog has users and groups"));
        Self {
            rules: Rules {
                tenant: directory.access.tenant.clone(),
                users: of("User"),
                groups: of("Group"),
            },
            directory,
            patience,
            examples,
            progress: Box::new(progress),
        }
    }

    /// Finds what is wrong. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the store fails for longer than the inspection's patience.
    pub async fn check(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        self.pass(&mut report, false).await?;
        Ok(report)
    }

    /// Finishes what is pending and mends what can be mended, until a check finds no more of it. What is left in the
    /// report's findings a person must decide, or somebody kept writing it.
    ///
    /// # Errors
    ///
    /// As [`Self::check`]; what was mended until then stays so.
    pub async fn repair(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        for _ in 0..PASSES {
            let before = report.mended.clone();
            report = report.begin_again();
            self.pass(&mut report, true).await?;
            if self.finish_pending().await? == 0 && report.mended == before {
                break;
            }
        }
        Ok(report)
    }

    async fn pass(&self, report: &mut Report, mends: bool) -> Result<(), Error> {
        let (users, groups) = (self.before_count("u").await?, self.before_count("g").await?);
        let (doubts, cases) = self.first_pass(report).await?;
        self.total("u", users, report.users, (&mut *report, mends)).await?;
        self.total("g", groups, report.groups, (&mut *report, mends)).await?;
        if doubts.is_empty() {
            self.settle(cases, (report, mends)).await
        } else {
            self.second_pass(&doubts, (report, mends)).await
        }
    }

    /// Reads all rows. What is to be looked at in any case comes back at once, if it is not too much.
    async fn first_pass(&self, report: &mut Report) -> Result<(Doubts, BTreeSet<Case>), Error> {
        let mut ledger = Ledger::new();
        let mut cases = BTreeSet::new();
        let mut scan = self.scan(ALL);
        loop {
            let rows = scan.step().await?;
            if rows.is_empty() {
                return Ok((ledger.close(), cases));
            }
            for row in &rows {
                report.count(row);
                for (mark, case) in row::marks(row, &self.rules) {
                    if mark == Mark::Doubted && cases.len() < CASES_AT_ONCE {
                        cases.insert(case);
                    } else {
                        ledger.enter(mark);
                    }
                }
            }
            (self.progress)(Progress::Read(report.rows));
        }
    }

    /// Finds the rows again that are in doubt.
    async fn second_pass(&self, doubts: &Doubts, (report, mends): (&mut Report, bool)) -> Result<(), Error> {
        let (mut rows, mut looked_at) = (0, 0);
        let mut scan = self.scan(ALL);
        let mut cases = BTreeSet::new();
        loop {
            let step = scan.step().await?;
            for row in &step {
                let marks = row::marks(row, &self.rules).into_iter();
                cases.extend(marks.filter(|(mark, _)| doubts.has(*mark)).map(|(_, case)| case));
            }
            if cases.len() >= CASES_AT_ONCE || step.is_empty() {
                looked_at += cases.len();
                self.settle(std::mem::take(&mut cases), (&mut *report, mends)).await?;
            }
            rows += step.len();
            (self.progress)(Progress::LookedAgain(rows, looked_at));
            if step.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reports what is wrong with these, and mends it if it is to be mended.
    async fn settle(&self, cases: BTreeSet<Case>, (report, mends): (&mut Report, bool)) -> Result<(), Error> {
        let found = self.certain(cases).await?;
        for found in &found {
            report.add(found, self.examples);
        }
        if mends { self.mend(&found, report).await } else { Ok(()) }
    }

    /// Finishes every restore that was cut off, and every change of memberships for which a gate is closed; tells how many. What is pending and lacks its
    /// gate can't be finished before that is mended.
    async fn finish_pending(&self) -> Result<usize, Error> {
        let pending = self.pending().await?;
        let gates: Vec<String> = pending
            .journals()
            .map(|journal| rows::closed_gate_key(&journal.group))
            .collect();
        let gates = self.directory().rows(&gates).await?;
        // What can't be read the check has told.
        let joins = self.directory().all_rows(&rows::range(rows::JOINS_PREFIX)).await?;
        let joins: Vec<Joins> = joins.iter().filter_map(|row| Joins::read(row).ok()).collect();
        let (mut finished, failed) = self.directory().finish_joins(&joins).await;
        match failed {
            None | Some(Error::Format(_)) => {}
            Some(error) => return Err(error),
        }
        for (journal, gate) in pending.journals().zip(gates) {
            if gate.is_some_and(|gate| judge::is_closed_for(&gate, journal)) {
                match self.directory().finish(&journal.operation).await {
                    Ok(()) => finished += 1,
                    // What it says was lost since; the next pass tells.
                    Err(Error::Format(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(finished)
    }

    /// The directory, for a call that begins now.
    fn directory(&self) -> Directory {
        Directory {
            deadline: Instant::now() + self.patience,
            ..self.directory.clone()
        }
    }

    /// All rows whose keys begin with this, in steps.
    fn scan(&self, prefix: &str) -> Scan<'_> {
        let (from, until) = rows::range(prefix);
        Scan {
            inspection: self,
            next: Some(from),
            until,
        }
    }
}

/// A walk over many rows.
struct Scan<'i> {
    inspection: &'i Inspection,
    next: Option<String>,
    until: String,
}

impl Scan<'_> {
    /// The next rows; none at the end.
    async fn step(&mut self) -> Result<Vec<Row>, Error> {
        let Some(from) = self.next.take() else {
            return Ok(Vec::new());
        };
        let directory = self.inspection.directory();
        let page = settle::patient_scan(
            &*directory.store,
            &directory.access.tenant.id,
            (&from, &self.until),
            SCAN_STEP,
            directory.deadline,
        )
        .await?;
        let last = page.rows.last().filter(|_| page.more);
        self.next = last.map(|row| rows::behind(&row.key));
        Ok(page.rows)
    }
}
