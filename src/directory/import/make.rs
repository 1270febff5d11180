//! The second reading: users and groups are made, as many with one commit as fit.

use std::io::{Read, Seek};

use super::{
    Failed, Flight, Import, Portion, Progress, Survey, TRIES,
    conflict::Why,
    is_between, is_made,
    lines::{Line, Lines},
    look::{Found, LOOK_AT_ONCE},
    parse::Described,
    pause,
    pulse::is_answer_lost,
};
use crate::{
    directory::{
        Error, MAX_PARALLEL, index,
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
            let mut flight = Flight::new(MAX_PARALLEL);
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
                let import = self.clone();
                let done = flight.take_on(is_large, async move { import.make_some(portion).await });
                done.await?.into_iter().for_each(&mut take);
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
            let (mut changes, mut operation) = self.changes(&ready);
            let bytes: usize = changes.iter().map(Change::bytes).sum();
            if pack.changes.len() + changes.len() + 1 > MAX_CHANGES
                || pack.bytes + bytes + COUNT_BYTES > MAX_COMMIT_BYTES
            {
                self.commit(std::mem::take(&mut pack), &mut outcome).await?;
                if self.is_stopped() {
                    return Ok(outcome);
                }
                // That may have taken minutes, and events are of the moment.
                (changes, operation) = self.changes(&ready);
            }
            pack.changes.extend(changes);
            pack.bytes += bytes;
            pack.operation.get_or_insert(operation);
            pack.ready.push(ready);
        }
        self.commit(pack, &mut outcome).await?;
        Ok(outcome)
    }

    fn changes(&self, ready: &Ready) -> (Vec<Change>, Operation) {
        let draft = self.draft(ready);
        let operation = self.directory.operation(&draft);
        (self.directory.prepare(&draft, &operation, None).changes, operation)
    }

    fn ready(&self, line: &Line) -> Result<Ready, Failed> {
        let described = self.described(line)?;
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

    /// Writes a pack. What of it is there by then, or cannot be, is left out when it is written again.
    async fn commit(&self, mut pack: Pack, outcome: &mut Outcome) -> Result<(), Failed> {
        let (mut tries, mut is_lost) = (0, false);
        while let (Some(operation), Some(first)) = (pack.operation.take(), pack.ready.first()) {
            let first = first.line;
            let error = match self.commit_once(&mut pack, &operation).await {
                Ok(()) => {
                    self.pulse.beat();
                    outcome.made += pack.ready.len() as u64;
                    return Ok(());
                }
                Err(error) => error,
            };
            is_lost |= is_answer_lost(&error);
            if is_between(&error) && tries < TRIES {
                tries += 1;
                pause(tries).await;
            } else {
                self.wait_out(first, error).await?;
            }
            let before = pack.ready.len();
            pack = self.still_missing(pack.ready, is_lost, outcome).await?;
            if pack.ready.len() < before {
                tries = 0;
            }
        }
        Ok(())
    }

    async fn commit_once(&self, pack: &mut Pack, operation: &Operation) -> Result<(), Error> {
        let directory = self.directory();
        let kind = index::kind(&pack.ready[0].described.of);
        let n = i64::try_from(pack.ready.len()).unwrap_or(i64::MAX);
        pack.changes.push(totals::count(kind, operation, n));
        let partition = &directory.access.tenant.id;
        settle::settle(&*directory.store, partition, &pack.changes, directory.deadline).await?;
        if totals::is_due(operation) {
            directory.fold(kind);
        }
        Ok(())
    }

    /// Of these, a pack of those that are neither there nor in conflict. `is_lost`: they may be there by us.
    async fn still_missing(&self, all: Vec<Ready>, is_lost: bool, outcome: &mut Outcome) -> Result<Pack, Failed> {
        let mut found = Vec::with_capacity(all.len());
        for some in all.chunks(LOOK_AT_ONCE) {
            let described: Vec<&Described> = some.iter().map(|ready| &ready.described).collect();
            found.extend(self.look_patiently(some[0].line, &described).await?);
        }
        let mut pack = Pack::default();
        for (ready, found) in all.into_iter().zip(found) {
            match found {
                Found::Same(_) => *(if is_lost { &mut outcome.made } else { &mut outcome.same }) += 1,
                Found::Conflict(why) => outcome.conflicts.push((ready.line, why)),
                Found::Nothing => {
                    let (changes, operation) = self.changes(&ready);
                    pack.changes.extend(changes);
                    pack.operation.get_or_insert(operation);
                    pack.ready.push(ready);
                }
            }
        }
        Ok(pack)
    }

    /// What there is of each of these, at most [`LOOK_AT_ONCE`]; the first is of this line.
    pub(super) async fn look_patiently(&self, line: u32, described: &[&Described]) -> Result<Vec<Found>, Failed> {
        loop {
            match self.directory().look(described).await {
                Ok(found) => return Ok(found),
                Err(error) => self.wait_out(line, error).await?,
            }
        }
    }
}
