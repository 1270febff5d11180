//! The second reading: users and groups are made, as many with one commit as fit.

use std::io::{Read, Seek};

use super::{
    Failed, Flight, Import, Portion, Progress, Survey, TRIES,
    conflict::Why,
    is_between, is_made,
    lines::{Line, Lines},
    look::Found,
    parse::Described,
    pause,
    pulse::is_answer_lost,
};
use crate::{
    directory::{
        Error, index,
        memberships::{Memberships, Turn},
        write::{Draft, Imported, Kind as Deed},
    },
    rows::Operation,
    scim::members::Kind,
    store::{Change, MAX_CHANGES, MAX_COMMIT_BYTES, settle},
    totals,
};

/// Bytes of the change of a total, at most.
const COUNT_BYTES: usize = 256;

/// What came of lines.
#[derive(Default)]
struct Outcome {
    made: u64,
    same: u64,
    conflicts: Vec<(u32, Why)>,
}

/// A resource that is to be made.
struct Ready {
    line: u32,
    described: Described,
    /// Its own, or one that was given to it.
    id: String,
}

/// What is to be made with one commit.
#[derive(Default)]
struct Pack {
    ready: Vec<Ready>,
    changes: Vec<Change>,
    bytes: usize,
    operation: Option<Operation>,
}

impl Import {
    /// Makes all users, then all groups, without their members.
    pub(super) async fn make<R: Read + Seek>(
        &self,
        lines: &mut Lines<R>,
        survey: &mut Survey,
        progress: impl Fn(Progress),
    ) -> Result<(), Failed> {
        let all = survey.ledger.entries.iter().filter(|entry| is_made(entry)).count() as u64;
        let mut written = 0;
        for kind in [Kind::User, Kind::Group] {
            let mut flight = Flight::new();
            let mut place = 0;
            let mut total = Outcome::default();
            let mut take = |some: Outcome| {
                written += some.made + some.same + some.conflicts.len() as u64;
                total.made += some.made;
                total.same += some.same;
                total.conflicts.extend(some.conflicts);
                progress(Progress::Written(written, all));
            };
            let entries = &survey.ledger.entries;
            while !self.is_stopped()
                && let Some(portion) = Portion::read(lines, entries, &mut place, |entry| {
                    is_made(entry) && entry.kind == Some(kind)
                })?
            {
                let is_large = portion.is_large();
                flight.room(is_large).await?.into_iter().for_each(&mut take);
                let import = self.clone();
                flight.start(async move { import.make_some(portion).await });
                if is_large {
                    flight.room(true).await?.into_iter().for_each(&mut take);
                }
            }
            while let Some(made) = flight.next().await? {
                take(made);
            }
            let count = survey.count(kind);
            count.made += total.made;
            count.same += total.same;
            for (line, why) in total.conflicts {
                survey.ledger.conflict(line, why);
            }
        }
        Ok(())
    }

    async fn make_some(&self, Portion(lines): Portion) -> Result<Outcome, Failed> {
        let mut outcome = Outcome::default();
        let mut pack = Pack::default();
        for line in lines {
            let ready = self.ready(&line)?;
            drop(line);
            let directory = self.directory();
            let draft = self.draft(&ready);
            let operation = directory.operation(&draft);
            let changes = directory.prepare(&draft, &operation, None).changes;
            let bytes: usize = changes.iter().map(Change::bytes).sum();
            if pack.changes.len() + changes.len() + 1 > MAX_CHANGES
                || pack.bytes + bytes + COUNT_BYTES > MAX_COMMIT_BYTES
            {
                self.commit(std::mem::take(&mut pack), &mut outcome).await?;
                if self.is_stopped() {
                    return Ok(outcome);
                }
            }
            pack.changes.extend(changes);
            pack.bytes += bytes;
            pack.operation.get_or_insert(operation);
            pack.ready.push(ready);
        }
        self.commit(pack, &mut outcome).await?;
        Ok(outcome)
    }

    fn ready(&self, line: &Line) -> Result<Ready, Failed> {
        let described = self.describe(line).map_err(|_| Failed::FileChanged(line.number))?;
        let new_id = || self.directory.ambient.new_id().to_string();
        Ok(Ready {
            line: line.number,
            id: described.id.clone().unwrap_or_else(new_id),
            described,
        })
    }

    fn draft<'r>(&self, ready: &'r Ready) -> Draft<'r> {
        let described = &ready.described;
        Draft {
            of: &described.of,
            id: &ready.id,
            kind: Deed::Import(Imported {
                created: described.created,
                modified: described.modified,
                is_new: self.how.as_new,
            }),
            before: None,
            after: Some(&described.attributes),
            memberships: match described.kind {
                Kind::User => Memberships::Untouched,
                // Its gate.
                Kind::Group => Memberships::Turn(Turn::default()),
            },
            guarded: false,
        }
    }

    async fn commit(&self, mut pack: Pack, outcome: &mut Outcome) -> Result<(), Failed> {
        let (Some(operation), Some(first)) = (&pack.operation, pack.ready.first()) else {
            return Ok(());
        };
        let directory = self.directory();
        let kind = index::kind(&first.described.of);
        let n = pack.ready.len();
        pack.changes
            .push(totals::count(kind, operation, i64::try_from(n).unwrap_or(i64::MAX)));
        let partition = &directory.access.tenant.id;
        let done = settle::settle(&*directory.store, partition, &pack.changes, directory.deadline).await;
        match done.map_err(Error::from) {
            Ok(()) => {
                self.pulse.beat();
                outcome.made += n as u64;
                if totals::is_due(operation) {
                    directory.fold(kind);
                }
                Ok(())
            }
            Err(error) => {
                let is_lost = is_answer_lost(&error);
                // Otherwise somebody has made one of them meanwhile.
                if !is_between(&error) {
                    self.wait_out(first.line, error).await?;
                }
                for ready in &pack.ready {
                    self.make_one(ready, is_lost, outcome).await?;
                    self.pulse.beat();
                }
                Ok(())
            }
        }
    }

    /// `is_lost`: it may be made already, by us.
    async fn make_one(&self, ready: &Ready, mut is_lost: bool, outcome: &mut Outcome) -> Result<(), Failed> {
        let mut tries = 0;
        loop {
            let directory = self.directory();
            let error = match directory.look(&[&ready.described]).await.map(|mut found| found.pop()) {
                Ok(Some(Found::Same(_))) => {
                    *(if is_lost { &mut outcome.made } else { &mut outcome.same }) += 1;
                    return Ok(());
                }
                Ok(Some(Found::Conflict(why))) => {
                    outcome.conflicts.push((ready.line, why));
                    return Ok(());
                }
                Ok(Some(Found::Nothing) | None) => match directory.write(&self.draft(ready)).await {
                    Ok(_) => {
                        outcome.made += 1;
                        return Ok(());
                    }
                    Err(Error::Refused(refused)) => {
                        outcome.conflicts.push((ready.line, Why::refused(&refused)));
                        return Ok(());
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            is_lost |= is_answer_lost(&error);
            if is_between(&error) && tries < TRIES {
                tries += 1;
                pause(tries).await;
            } else {
                self.wait_out(ready.line, error).await?;
            }
        }
    }
}
