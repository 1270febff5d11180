//! Memberships: who the members of a group are that a line names, and making them so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{Read, Seek},
    sync::Arc,
};

use tokio::sync::RwLock;

use super::{
    Failed, Flight, Import, Portion, Progress, Survey, TRIES,
    conflict::Why,
    is_between,
    ledger::Ledger,
    lines::{Line, Lines},
    look::Found,
    parse::Described,
    pause,
    survey::{Strangers, is_filled},
};
use crate::{
    directory::{
        Directory, Error, Stored,
        edges::{Side, resource_key},
        edit::spreading,
        memberships::{Memberships, Sizes, Turn},
        write::{Draft, Imported, Kind as Deed},
    },
    rows::{self, EventBody},
    scim::{
        error::Rule,
        limits::MAX_MEMBERS,
        members::Kind,
        resource::{is_id, is_nobodys_name},
    },
    store,
};

/// Commits that members join with one after another; more members are decided at once, and spread by several commits at a time.
const MAX_COMMITS: usize = 10;

/// Groups that members join at a time: between two commits of one, the store is free for the others' commits.
const GROUPS_AT_ONCE: usize = 32;

/// Members that the file does not have, looked up in one step.
const STRANGERS_AT_ONCE: usize = 1_000;

/// What would become of those whom a line names.
#[derive(Default)]
pub(super) struct Outlook {
    pub(super) line: u32,
    /// Members who are still to become some, and who are some.
    pub(super) missing: u64,
    pub(super) same: u64,
    pub(super) whys: Vec<Why>,
    /// What is no conflict.
    pub(super) notice: Option<Why>,
}

/// A group, and who is to become a member of it.
struct Group {
    described: Described,
    /// Nothing while it is not made.
    stored: Option<Stored>,
    joins: BTreeMap<String, Kind>,
    same: u64,
    whys: Vec<Why>,
}

impl Import {
    pub(super) async fn outlooks(&self, portion: Portion, ledger: &Ledger) -> Result<Vec<Outlook>, Failed> {
        let mut outlooks = Vec::new();
        let mut reports = Vec::new();
        for line in portion.0 {
            if ledger.is_user(line.number) {
                let described = self.described(&line)?;
                let manager = described.manager().ok_or(Failed::FileChanged(line.number))?;
                reports.push((line.number, manager.to_owned()));
                continue;
            }
            let group = loop {
                match self.group(&line, ledger, true).await {
                    Err(Failed::Directory(error)) => self.wait_out(line.number, error).await?,
                    group => break group?,
                }
            };
            self.pulse.beat();
            outlooks.push(Outlook {
                line: line.number,
                missing: group.joins.len() as u64,
                same: group.same,
                whys: group.whys,
                notice: None,
            });
        }
        outlooks.extend(self.managers(reports).await?);
        Ok(outlooks)
    }

    /// Looks whether these are there: lines, with whom they name as their manager.
    async fn managers(&self, reports: Vec<(u32, String)>) -> Result<Vec<Outlook>, Failed> {
        let Some((first, _)) = reports.first() else {
            return Ok(Vec::new());
        };
        let ids: BTreeSet<&String> = reports.iter().map(|(_, manager)| manager).collect();
        let ids: Vec<String> = ids.into_iter().filter(|id| is_id(id)).cloned().collect();
        let there = loop {
            match self.directory().kinds(&ids).await {
                Ok(there) => break there,
                Err(error) => self.wait_out(*first, error).await?,
            }
        };
        self.pulse.beat();
        let outlook = |(line, manager): (u32, String)| Outlook {
            line,
            notice: (!there.contains_key(&manager))
                .then(|| Why::UnknownManager(is_nobodys_name(&manager).then_some(manager))),
            ..Outlook::default()
        };
        Ok(reports.into_iter().map(outlook).collect())
    }

    /// What a line describes that was read before.
    pub(super) fn described(&self, line: &Line) -> Result<Described, Failed> {
        self.describe(line).map_err(|_| Failed::FileChanged(line.number))
    }

    /// Writes the members of all groups.
    pub(super) async fn fill<R: Read + Seek>(
        &self,
        lines: &mut Lines<R>,
        survey: &mut Survey,
        progress: impl Fn(Progress),
    ) -> Result<(), Failed> {
        self.tidy().await;
        survey.ledger.forget_partial();
        let ledger = Arc::new(std::mem::take(&mut survey.ledger));
        let all = ledger.entries.iter().filter(|entry| is_filled(entry)).count() as u64;
        let turns = Arc::new(RwLock::new(()));
        let mut flight = Flight::new(GROUPS_AT_ONCE);
        let (mut found, mut groups, mut place) = (Strangers::default(), 0, 0);
        let mut take = |outlook: Outlook| {
            found.take(outlook);
            groups += 1;
            progress(Progress::Filled(groups, all));
        };
        while !self.is_stopped()
            && let Some(portion) = Portion::read(lines, &ledger.entries, &mut place, is_filled)?
        {
            for line in portion.0 {
                let is_large = line.bytes() > super::PORTION_BYTES / 8;
                let (import, ledger, turns) = (self.clone(), Arc::clone(&ledger), Arc::clone(&turns));
                let done = flight.take_on(is_large, async move { import.fill_one(&line, &ledger, &turns).await });
                done.await?.into_iter().for_each(&mut take);
            }
        }
        while let Some(outlook) = flight.next().await? {
            take(outlook);
        }
        survey.memberships.made = found.memberships.made;
        survey.ledger = Arc::into_inner(ledger).expect("nothing is under way");
        for (line, whys) in found.whys {
            for why in whys {
                survey.ledger.conflict(line, why);
            }
        }
        survey.ledger.more_partial(found.unlisted);
        self.tidy().await;
        Ok(())
    }

    /// Every large group leaves a row behind that all readers of memberships read, until somebody removes it; that may be
    /// long where no service runs yet.
    async fn tidy(&self) {
        let directory = self.directory();
        let done = async { directory.forget_spread(&directory.pending().await?).await };
        if let Err(error) = done.await {
            tracing::warn!(%error, "what is left of imported groups goes later");
        }
    }

    /// `turns`: whoever spreads over many members has as many commits under way as all others together.
    async fn fill_one(&self, line: &Line, ledger: &Ledger, turns: &RwLock<()>) -> Result<Outlook, Failed> {
        let (mut same, mut made, mut tries) = (None, 0, 0);
        // Who met somebody, or lost an answer, looks at everything again.
        let mut is_believed = true;
        loop {
            let before = made;
            let group = self.group(line, ledger, std::mem::take(&mut is_believed)).await;
            let done = match group {
                Ok(group) => self.fill_once(group, turns, (&mut same, &mut made)).await,
                Err(error) => Err(error),
            };
            let whys = match done {
                // It was deleted just now.
                Err(Failed::Directory(Error::Refused(refused))) => Ok(vec![Why::refused(&refused)]),
                Err(Failed::Directory(error)) => Err(error),
                done => Ok(done?),
            };
            let error = match whys {
                Ok(whys) => {
                    self.pulse.beat();
                    return Ok(Outlook {
                        line: line.number,
                        missing: made,
                        same: same.unwrap_or_default(),
                        whys,
                        notice: None,
                    });
                }
                Err(error) => error,
            };
            if made > before {
                tries = 0;
            }
            if is_between(&error) && tries < TRIES {
                tries += 1;
                pause(tries).await;
            } else {
                self.wait_out(line.number, error).await?;
            }
        }
    }

    /// `same`: how many members of the line's there were when it was looked at first; `made`: how many there are since.
    async fn fill_once(
        &self,
        group: Group,
        turns: &RwLock<()>,
        (same, made): (&mut Option<u64>, &mut u64),
    ) -> Result<Vec<Why>, Failed> {
        // Those too whose commit was done although its answer was lost.
        *made = (*made).max(group.same.saturating_sub(*same.get_or_insert(group.same)));
        if group.whys.iter().all(Why::is_partial) {
            let there = group.stored.as_ref();
            let stored = there.ok_or_else(|| Error::from(Rule::NotFound.at(group.described.of.name.as_str())))?;
            self.join(&group, stored, turns, made).await?;
        }
        Ok(group.whys)
    }

    /// Lets members join; counts them as they do. Each commit rests on nobody having changed the group since its members were
    /// looked at, so nobody who left meanwhile is thought of as missing still.
    async fn join(&self, group: &Group, stored: &Stored, turns: &RwLock<()>, made: &mut u64) -> Result<(), Error> {
        let all: Vec<(&String, &Kind)> = group.joins.iter().collect();
        let at_once = Sizes::now().at_once;
        let is_large = all.len() > at_once * MAX_COMMITS;
        let size = if is_large { MAX_MEMBERS } else { at_once };
        let _all = if is_large { Some(turns.write().await) } else { None };
        let _one = if is_large { None } else { Some(turns.read().await) };
        let mut before = stored.clone();
        let mut left = all.len();
        for joins in all.chunks(size) {
            if self.is_stopped() {
                break;
            }
            let directory = self.directory();
            let turn = Turn {
                joins: joins.iter().map(|(id, kind)| ((*id).clone(), **kind)).collect(),
                ..Turn::default()
            };
            let draft = Draft {
                of: &group.described.of,
                id: &before.envelope.id,
                kind: Deed::Import(Imported {
                    created: Some(before.envelope.created),
                    modified: Some(before.envelope.last_modified),
                    is_new: self.how.as_new,
                }),
                before: Some(&before),
                after: Some(&before.attributes),
                memberships: Memberships::Turn(turn),
                guarded: true,
            };
            let written = directory.write(&draft).await?;
            self.pulse.beat();
            *made += joins.len() as u64;
            left -= joins.len();
            if let Some(journal) = &written.journal {
                self.spreading_directory().spread(journal).await?;
            }
            if left > 0 {
                // What lets the next ones join rests on it.
                let now = self.directory().read_one(draft.of, draft.id).await?;
                if now.envelope.version != written.stored.envelope.version {
                    return Err(store::Error::Changed(resource_key(draft.id, Kind::Group)).into());
                }
                before = now;
            }
        }
        Ok(())
    }

    /// A group as it is, and who of those whom the line names are not members yet. That those are there whom the file
    /// describes may be `believed`.
    async fn group(&self, line: &Line, ledger: &Ledger, believed: bool) -> Result<Group, Failed> {
        let mut described = self.described(line)?;
        let members = std::mem::take(&mut described.members);
        let mut group = Group {
            stored: None,
            joins: BTreeMap::new(),
            same: 0,
            whys: Vec::new(),
            described,
        };
        match self.directory().look(&[&group.described]).await?.pop() {
            Some(Found::Same(stored)) => group.stored = Some(*stored),
            Some(Found::Conflict(why)) => {
                group.whys.push(why);
                return Ok(group);
            }
            Some(Found::Nothing) | None => {}
        }
        let mut strangers = Vec::new();
        for member in members {
            match ledger.kind_of(&member.id).filter(|_| believed) {
                Some(kind) => _ = group.joins.insert(member.id, kind),
                None => strangers.push(member.id),
            }
        }
        let mut kinds = HashMap::new();
        for some in strangers.chunks(STRANGERS_AT_ONCE) {
            kinds.extend(self.directory().kinds(some).await?);
        }
        for id in strangers {
            match kinds.get(&id) {
                Some(kind) => _ = group.joins.insert(id, *kind),
                None => group.whys.push(match ledger.line_of(&id) {
                    Some(line) => Why::LostMember(id, line),
                    None => Why::UnknownMember(is_id(&id).then_some(id)),
                }),
            }
        }
        if let Some(stored) = &group.stored {
            let id = stored.envelope.id.clone();
            let whys = self.without_members(&id, &mut group).await?;
            group.whys.extend(whys);
        }
        Ok(group)
    }

    /// Takes those out who are members already. As long as nobody but an import has changed the group, others are missing
    /// because that was cut off; otherwise nobody can tell whether they were removed on purpose.
    async fn without_members(&self, id: &str, group: &mut Group) -> Result<Option<Why>, Error> {
        let Some(stored) = &group.stored else { return Ok(None) };
        if group.joins.remove(id).is_some() {
            return Ok(Some(Why::OwnMember));
        }
        if !self.how.dry_run
            && let Some(gate) = self
                .directory()
                .rows(&[rows::closed_gate_key(id)])
                .await?
                .pop()
                .flatten()
        {
            self.spreading_directory().finish(&spreading(&gate)?).await?;
        }
        let present = self
            .spreading_directory()
            .edges(&Side::Members.of(id), usize::MAX)
            .await?;
        let mut others = false;
        for edge in present.edges {
            match group.joins.remove(&edge.member) {
                Some(_) => group.same += 1,
                None => others = true,
            }
        }
        let differs = others || (!group.joins.is_empty() && !self.directory().is_imported(stored).await?);
        if differs {
            group.joins.clear();
        }
        Ok(differs.then(|| Why::Differs(vec!["members".to_owned()])))
    }

    /// The directory, with time for all members of a large group.
    fn spreading_directory(&self) -> Directory {
        Self {
            step: self.step * 10,
            ..self.clone()
        }
        .directory()
    }
}

impl Directory {
    /// Whether an import has changed it last.
    async fn is_imported(&self, stored: &Stored) -> Result<bool, Error> {
        let (key, _) = rows::event_keys(&stored.envelope.version);
        let event = self.rows(&[key]).await?.pop().flatten();
        let event: Option<EventBody> = event.as_ref().map(rows::body).transpose()?;
        Ok(event.is_some_and(|event| event.kind == "import"))
    }
}
