//! The first reading: what would become of each line.

use std::{
    io::{Read, Seek},
    sync::Arc,
};

use super::{
    Count, Failed, Flight, Import, PORTION, PORTION_BYTES, Portion, Progress, Survey,
    conflict::{Conflict, MAX_LISTED, Why},
    ledger::{Entry, Fate, Hash, Ledger, Marks},
    lines::{Line, Lines},
    look::{Found, LOOK_AT_ONCE},
    members::Outlook,
    parse::{Described, Odd, describe},
};
use crate::{directory::MAX_PARALLEL, scim::members::Kind};

/// What is found out of a line by itself.
struct Judged {
    entry: Entry,
    marks: Marks,
    why: Option<Why>,
}

impl Import {
    pub(super) async fn survey<R: Read + Seek>(
        &self,
        lines: &mut Lines<R>,
        progress: impl Fn(Progress),
    ) -> Result<Survey, Failed> {
        let mut ledger = Ledger::default();
        let mut flight = Flight::new(MAX_PARALLEL);
        let mut take = |judged: Vec<Judged>| {
            for one in judged {
                if let Some(why) = one.why {
                    ledger.conflict(one.entry.number, why);
                }
                ledger.add(one.entry, one.marks);
            }
            progress(Progress::Read(ledger.entries.len() as u64));
        };
        while !self.is_stopped()
            && let Some(portion) = next_lines(lines)?
        {
            let is_large = portion.is_large();
            let import = self.clone();
            let done = flight.take_on(is_large, async move { import.judge(portion).await });
            done.await?.into_iter().for_each(&mut take);
        }
        while let Some(judged) = flight.next().await? {
            take(judged);
        }
        ledger.complete(|kind| match kind {
            Kind::User => "userName",
            Kind::Group => "displayName and externalId",
        });
        let mut survey = Survey {
            users: count(&ledger, Kind::User),
            groups: count(&ledger, Kind::Group),
            memberships: Count::default(),
            ledger,
        };
        self.survey_others(lines, &mut survey, &progress).await?;
        Ok(survey)
    }

    async fn judge(&self, Portion(lines): Portion) -> Result<Vec<Judged>, Failed> {
        let mut all: Vec<Judged> = Vec::with_capacity(lines.len());
        let mut described: Vec<(usize, Described)> = Vec::new();
        for line in lines {
            let entry = Entry {
                offset: line.offset,
                number: line.number,
                kind: None,
                fate: Fate::Conflict,
                has_members: false,
                has_strange_manager: false,
            };
            let mut judged = Judged {
                entry,
                marks: Marks::default(),
                why: None,
            };
            match self.describe(&line) {
                Err(odd) => {
                    judged.marks.id = odd.id.as_deref().map(Hash::of);
                    judged.why = Some(odd.why);
                }
                Ok(mut one) => {
                    judged.entry.kind = Some(one.kind);
                    judged.entry.has_members = !one.members.is_empty();
                    let name = self.directory.unique_key(&one.of, &one.attributes);
                    judged.marks = Marks {
                        id: one.id.as_deref().map(Hash::of),
                        name: name.map(|(key, _)| Hash::of(&key)),
                        manager: one.manager().map(Hash::of),
                    };
                    // There may be very many, and they are looked at later.
                    one.members = Vec::new();
                    described.push((all.len(), one));
                }
            }
            all.push(judged);
        }
        for some in described.chunks(LOOK_AT_ONCE) {
            let looked_at: Vec<&Described> = some.iter().map(|(_, one)| one).collect();
            let found = self.look_patiently(all[some[0].0].entry.number, &looked_at).await?;
            self.pulse.beat();
            for ((place, _), found) in some.iter().zip(found) {
                let judged = &mut all[*place];
                match found {
                    Found::Nothing => judged.entry.fate = Fate::Make,
                    Found::Same(_) => judged.entry.fate = Fate::Same,
                    Found::Conflict(why) => judged.why = Some(why),
                }
            }
        }
        Ok(all)
    }

    /// What a line describes.
    pub(super) fn describe(&self, line: &Line) -> Result<Described, Odd> {
        let text = line.text.as_deref().ok_or(Why::TooLong)?;
        describe(text, &self.catalog, self.directory.ambient.now())
    }

    /// Looks whether the members and managers are there whom lines name, once all lines are known.
    async fn survey_others<R: Read + Seek>(
        &self,
        lines: &mut Lines<R>,
        survey: &mut Survey,
        progress: impl Fn(Progress),
    ) -> Result<(), Failed> {
        let ledger = Arc::new(std::mem::take(&mut survey.ledger));
        let names_others = |entry: &Entry| is_filled(entry) || names_strange_manager(entry);
        let all = ledger.entries.iter().filter(|entry| names_others(entry)).count() as u64;
        let mut flight = Flight::new(MAX_PARALLEL);
        let (mut found, mut looked_at, mut place) = (Strangers::default(), 0, 0);
        let mut take = |outlooks: Vec<Outlook>| {
            looked_at += outlooks.len() as u64;
            for one in outlooks {
                found.take(one);
            }
            progress(Progress::LookedUp(looked_at, all));
        };
        while !self.is_stopped()
            && let Some(portion) = Portion::read(lines, &ledger.entries, &mut place, names_others)?
        {
            let is_large = portion.is_large();
            let (import, ledger) = (self.clone(), Arc::clone(&ledger));
            let done = flight.take_on(is_large, async move { import.outlooks(portion, &ledger).await });
            done.await?.into_iter().for_each(&mut take);
        }
        while let Some(outlooks) = flight.next().await? {
            take(outlooks);
        }
        survey.ledger = Arc::into_inner(ledger).expect("nothing is under way");
        survey.memberships.made += found.memberships.made;
        survey.memberships.same += found.memberships.same;
        for (line, whys) in found.whys {
            survey.note(line, whys);
        }
        survey.ledger.more_partial(found.unlisted);
        survey.ledger.notices = found.notices;
        survey.ledger.unlisted_notices = found.unlisted_notices;
        Ok(())
    }
}

/// What was found of those whom lines name, in bounded memory: a file without its users names one who is unknown with each
/// membership.
#[derive(Default)]
pub(super) struct Strangers {
    pub(super) memberships: Count,
    pub(super) whys: Vec<(u32, Vec<Why>)>,
    listed: usize,
    pub(super) unlisted: usize,
    notices: Vec<Conflict>,
    unlisted_notices: usize,
}

impl Strangers {
    pub(super) fn take(&mut self, mut of: Outlook) {
        let line = of.line;
        match of.notice {
            Some(why) if self.notices.len() < MAX_LISTED => self.notices.push(Conflict { line, why }),
            Some(_) => self.unlisted_notices += 1,
            None => {}
        }
        self.memberships.made += of.missing;
        self.memberships.same += of.same;
        of.whys.retain(|why| {
            let is_kept = self.listed < MAX_LISTED || !why.is_partial();
            *(if is_kept { &mut self.listed } else { &mut self.unlisted }) += 1;
            is_kept
        });
        if !of.whys.is_empty() {
            of.whys.shrink_to_fit();
            self.whys.push((of.line, of.whys));
        }
    }
}

impl Survey {
    /// Notes what is wrong with a line that seemed right.
    fn note(&mut self, line: u32, whys: Vec<Why>) {
        for why in whys {
            match self.ledger.conflict(line, why) {
                Some((kind, Fate::Make)) => self.count(kind).made -= 1,
                Some((kind, Fate::Same)) => self.count(kind).same -= 1,
                _ => {}
            }
        }
    }
}

/// Whether members of this line's are imported.
pub(super) fn is_filled(entry: &Entry) -> bool {
    entry.has_members && entry.fate != Fate::Conflict
}

/// Whether nobody knows yet if the manager is there whom this line names.
pub(super) fn names_strange_manager(entry: &Entry) -> bool {
    entry.has_strange_manager && entry.fate != Fate::Conflict
}

fn count(ledger: &Ledger, kind: Kind) -> Count {
    Count {
        made: ledger.count(kind, Fate::Make),
        same: ledger.count(kind, Fate::Same),
    }
}

fn next_lines<R: Read + Seek>(lines: &mut Lines<R>) -> Result<Option<Portion>, Failed> {
    let mut portion = Vec::new();
    let mut bytes = 0;
    while portion.len() < PORTION
        && bytes < PORTION_BYTES
        && let Some(line) = lines.next()?
    {
        bytes += line.bytes();
        portion.push(line);
    }
    Ok((!portion.is_empty()).then_some(Portion(portion)))
}
