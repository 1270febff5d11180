//! The first reading: what would become of each line.

use std::{
    io::{Read, Seek},
    sync::Arc,
};

use super::{
    Count, Failed, Flight, Import, PORTION, PORTION_BYTES, Portion, Progress, Survey,
    conflict::{MAX_LISTED, Why},
    ledger::{Entry, Fate, Hash, Ledger},
    lines::{Line, Lines},
    look::{Found, LOOK_AT_ONCE},
    members::Outlook,
    parse::{Described, describe},
};
use crate::scim::members::Kind;

/// What is found out of a line by itself.
struct Judged {
    entry: Entry,
    id: Option<Hash>,
    name: Option<Hash>,
    why: Option<Why>,
}

impl Import {
    pub(super) async fn survey<R: Read + Seek>(
        &self,
        lines: &mut Lines<R>,
        progress: impl Fn(Progress),
    ) -> Result<Survey, Failed> {
        let mut ledger = Ledger::default();
        let mut flight = Flight::new();
        let mut take = |judged: Vec<Judged>| {
            for one in judged {
                if let Some(why) = one.why {
                    ledger.conflict(one.entry.number, why);
                }
                ledger.add(one.entry, one.id, one.name);
            }
            progress(Progress::Read(ledger.entries.len() as u64));
        };
        while !self.is_stopped()
            && let Some(portion) = next_lines(lines)?
        {
            let is_large = portion.is_large();
            flight.room(is_large).await?.into_iter().for_each(&mut take);
            let import = self.clone();
            flight.start(async move { import.judge(portion).await });
            if is_large {
                flight.room(true).await?.into_iter().for_each(&mut take);
            }
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
        self.survey_members(lines, &mut survey).await?;
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
            };
            let mut judged = Judged {
                entry,
                id: None,
                name: None,
                why: None,
            };
            match self.describe(&line) {
                Err(why) => judged.why = Some(why),
                Ok(mut one) => {
                    judged.entry.kind = Some(one.kind);
                    judged.entry.has_members = !one.members.is_empty();
                    judged.id = one.id.as_deref().map(Hash::of);
                    let name = self.directory.unique_key(&one.of, &one.attributes);
                    judged.name = name.map(|(key, _)| Hash::of(&key));
                    // There may be very many, and they are looked at later.
                    one.members = Vec::new();
                    described.push((all.len(), one));
                }
            }
            all.push(judged);
        }
        for some in described.chunks(LOOK_AT_ONCE) {
            let looked_at: Vec<&Described> = some.iter().map(|(_, one)| one).collect();
            let found = loop {
                match self.directory().look(&looked_at).await {
                    Ok(found) => break found,
                    Err(error) => self.wait_out(all[some[0].0].entry.number, error).await?,
                }
            };
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
    pub(super) fn describe(&self, line: &Line) -> Result<Described, Why> {
        let text = line.text.as_deref().ok_or(Why::TooLong)?;
        describe(text, &self.catalog, self.directory.ambient.now())
    }

    /// Looks whether members are there, once all lines are known.
    async fn survey_members<R: Read + Seek>(&self, lines: &mut Lines<R>, survey: &mut Survey) -> Result<(), Failed> {
        let ledger = Arc::new(std::mem::take(&mut survey.ledger));
        let mut flight = Flight::new();
        let mut found = Strangers::default();
        let mut place = 0;
        while !self.is_stopped()
            && let Some(portion) = Portion::read(lines, &ledger.entries, &mut place, is_filled)?
        {
            let is_large = portion.is_large();
            flight
                .room(is_large)
                .await?
                .into_iter()
                .flatten()
                .for_each(|one| found.take(one));
            let (import, ledger) = (self.clone(), Arc::clone(&ledger));
            flight.start(async move { import.outlooks(portion, &ledger).await });
        }
        while let Some(outlooks) = flight.next().await? {
            for one in outlooks {
                found.take(one);
            }
        }
        survey.ledger = Arc::into_inner(ledger).expect("nothing is under way");
        survey.memberships.made += found.memberships.made;
        survey.memberships.same += found.memberships.same;
        for (line, whys) in found.whys {
            survey.note(line, whys);
        }
        survey.ledger.more_partial(found.unlisted);
        Ok(())
    }
}

/// What was found of groups' members, in bounded memory: a file without its users names one who is unknown with each membership.
#[derive(Default)]
pub(super) struct Strangers {
    pub(super) memberships: Count,
    pub(super) whys: Vec<(u32, Vec<Why>)>,
    listed: usize,
    pub(super) unlisted: usize,
}

impl Strangers {
    pub(super) fn take(&mut self, mut of: Outlook) {
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
