//! One person's story, or a group's: what is there under a name now, and everything that was done to it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration as Step,
};

use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    account::Account,
    log::{Event, Events, Scope},
};
use crate::{
    directory::{Directory, Error, subject},
    scim::resource::is_nobodys_name,
};

/// Most events of a story; the oldest are left out.
const MAX_EVENTS: usize = 10_000;
/// Passes over the log: names lead to ids, and ids to other names.
const PASSES: usize = 3;

/// What an event did to the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// What the event says.
    Own,
    /// It made them a member of a group.
    Joined(String),
    /// It ended that.
    Left(String),
    /// It deleted a group of which they were a member.
    LostGroup(String),
    /// A request was refused.
    Refused,
}

/// One event of a story.
#[derive(Clone, Debug)]
pub struct Told {
    /// Whom it was done to; of a refusal that named no id, nobody.
    pub account: Option<String>,
    /// What it did.
    pub deed: Deed,
    /// The event.
    pub event: Event,
}

/// What is known of whoever has, or had, a name.
#[derive(Debug)]
pub struct Story {
    /// Those of now and of before, in the order in which they were first heard of.
    pub accounts: Vec<Account>,
    /// What was done, in the order of time.
    pub told: Vec<Told>,
    /// By what requests are found in telemetry.
    pub subjects: Vec<String>,
    /// Older events that found no room.
    pub left_out: usize,
    /// Refusals that named nobody: of a credential, of a body that could not be read.
    pub nobodys: Vec<Event>,
    /// When the tenant was paused last, and went on last.
    pub pauses: Vec<Event>,
}

/// What one walk over the log collects, and what it is to go on with.
pub struct Search {
    /// The name's own hashes.
    asked: BTreeSet<String>,
    /// Everything that has the name, or had it.
    ids: BTreeSet<String>,
    /// Hashes of all names of these, for refusals, which often name nothing else.
    subjects: BTreeSet<String>,
    told: VecDeque<Told>,
    left_out: usize,
    nobodys: BTreeMap<String, Event>,
    pauses: BTreeMap<String, Event>,
    /// The groups of each, as far as the log tells.
    groups: HashMap<String, BTreeSet<String>>,
    /// The groups that each is a member of again when both are back, as far as the log tells.
    lost: HashMap<String, BTreeSet<String>>,
    /// Those of them that are deleted.
    deleted: BTreeSet<String>,
}

impl Search {
    fn again(&mut self) {
        self.told.clear();
        self.left_out = 0;
        self.nobodys.clear();
        self.pauses.clear();
        self.groups.clear();
        self.lost.clear();
        self.deleted.clear();
    }

    /// What an event that came later did to whoever is looked for.
    pub fn news(&mut self, event: Event) -> Vec<Told> {
        self.take(event);
        std::mem::take(&mut self.told).into()
    }

    fn size(&self) -> usize {
        self.ids.len() + self.subjects.len()
    }

    fn take(&mut self, event: Event) {
        let has = |names: &BTreeSet<String>| event.body.subjects.iter().any(|subject| names.contains(subject));
        if let Some(refused) = &event.body.refused {
            let id = Some(event.body.id.clone()).filter(|id| self.ids.contains(id));
            if id.is_some() || has(&self.subjects) {
                self.tell(id, Deed::Refused, event);
            } else if event.body.subjects.is_empty() && event.body.id.is_empty() {
                // The last of each rule is enough; there may be one each hour.
                self.nobodys.insert(refused.rule.clone(), event);
            }
            return;
        }
        let is_resource = matches!(event.body.resource_type.as_str(), "User" | "Group");
        if !is_resource {
            if matches!(&*event.body.kind, "tenant-pause" | "tenant-resume") {
                self.pauses.insert(event.body.kind.clone(), event);
            }
            return;
        }
        if has(&self.asked) {
            self.ids.insert(event.body.id.clone());
        }
        for (id, deed) in self.memberships(&event) {
            self.tell(Some(id), deed, event.clone());
        }
        if self.ids.contains(&event.body.id) {
            self.subjects.extend(event.body.subjects.iter().cloned());
            self.goes_or_comes(&event);
            self.tell(Some(event.body.id.clone()), Deed::Own, event);
        }
    }

    /// What somebody's own event says of the groups it is in.
    fn goes_or_comes(&mut self, event: &Event) {
        let id = &event.body.id;
        match &*event.body.kind {
            "delete" => {
                let groups = self.groups.remove(id).unwrap_or_default();
                self.lost.entry(id.clone()).or_default().extend(groups);
                self.deleted.insert(id.clone());
            }
            "restore" => {
                let joined = &event.body.groups;
                self.groups
                    .entry(id.clone())
                    .or_default()
                    .extend(joined.iter().cloned());
                let lost = self.lost.entry(id.clone()).or_default();
                lost.retain(|group| !joined.contains(group));
                self.deleted.remove(id);
            }
            _ => {}
        }
    }

    /// What a group's event did to those who are looked for.
    fn memberships(&mut self, event: &Event) -> Vec<(String, Deed)> {
        let group = &event.body.id;
        if event.body.resource_type != "Group" {
            return Vec::new();
        }
        let members = &event.members;
        let mut deeds = Vec::new();
        for id in &self.ids {
            let is_named = members.users.contains(id) || members.groups.contains(id);
            let groups = self.groups.entry(id.clone()).or_default();
            if is_named {
                // Who stays is named too where a change was spread.
                if groups.insert(group.clone()) {
                    deeds.push((id.clone(), Deed::Joined(group.clone())));
                }
            } else if members.leave.contains(id) {
                groups.remove(group);
                deeds.push((id.clone(), Deed::Left(group.clone())));
            } else if event.body.kind == "delete" && groups.remove(group) {
                self.lost.entry(id.clone()).or_default().insert(group.clone());
                deeds.push((id.clone(), Deed::LostGroup(group.clone())));
            } else if event.body.kind == "restore" && !self.deleted.contains(id) {
                // All that it had and who are there.
                let lost = self.lost.entry(id.clone()).or_default();
                if lost.remove(group) && groups.insert(group.clone()) {
                    deeds.push((id.clone(), Deed::Joined(group.clone())));
                }
            } else if members.whole && groups.remove(group) {
                deeds.push((id.clone(), Deed::Left(group.clone())));
            }
        }
        deeds
    }

    fn tell(&mut self, account: Option<String>, deed: Deed, event: Event) {
        // Whom a group lost is told with the group's own event, in short.
        let mut event = event;
        event.members.users.clear();
        event.members.groups.clear();
        event.members.leave.clear();
        if self.told.len() == MAX_EVENTS {
            self.told.pop_front();
            self.left_out += 1;
        }
        self.told.push_back(Told { account, deed, event });
    }
}

impl Directory {
    /// The story of whoever has, or had, this `userName`, `externalId` or id, or a group's `displayName`, as far as the log goes
    /// back, and what goes on with it; `read` is told of each event, maybe several times, and how many rows were read. Without
    /// kept events and rows it is empty.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer for as long as one `step` may take; [`Error::Format`].
    pub async fn story(
        &self,
        name: &str,
        (since, until): (OffsetDateTime, OffsetDateTime),
        step: Step,
        mut read: impl FnMut(&Event, usize),
    ) -> Result<(Story, Search), Error> {
        let directory = self.at(step);
        let asked = subject::subjects(&directory.access.tenant, name);
        let asked: BTreeSet<String> = asked.into_iter().map(|(_, _, subject)| subject).collect();
        let mut ids = directory.holders(name).await?;
        ids.extend(self.deleted_holders(name, step).await?);
        let is_id = is_nobodys_name(name) || ids.contains(name) || (ids.is_empty() && self.is_id(name, step).await?);
        ids.insert(name.to_owned());
        let mut found = Vec::new();
        let mut subjects = asked.clone();
        for id in ids.iter().filter(|id| *id != name || is_id) {
            if let Some((account, names)) = self.at(step).account(id).await? {
                subjects.extend(names);
                found.push(account);
            }
        }
        let mut search = Search {
            asked,
            ids,
            subjects,
            told: VecDeque::new(),
            left_out: 0,
            nobodys: BTreeMap::new(),
            pauses: BTreeMap::new(),
            groups: HashMap::new(),
            lost: HashMap::new(),
            deleted: BTreeSet::new(),
        };
        for _ in 0..PASSES {
            let known = search.size();
            search.again();
            let scope = Scope {
                tenant: Some(self.access.tenant.id.clone()),
                since,
                until,
            };
            let mut events = Events::new(Arc::clone(&self.store), step, scope);
            while let Some(event) = events.next().await? {
                read(&event, events.rows);
                search.take(event);
            }
            if search.size() == known {
                break;
            }
        }
        Ok((self.finish_story(found, &mut search, step).await?, search))
    }

    async fn finish_story(&self, found: Vec<Account>, search: &mut Search, step: Step) -> Result<Story, Error> {
        let mut found: HashMap<String, Account> = found.into_iter().map(|one| (one.id.clone(), one)).collect();
        let mut accounts = Vec::new();
        let mut order: Vec<&String> = Vec::new();
        for id in search
            .told
            .iter()
            .filter_map(|told| told.account.as_ref())
            .chain(search.ids.iter().filter(|id| found.contains_key(*id)))
        {
            if !order.contains(&id) {
                order.push(id);
            }
        }
        for id in order {
            let own = |told: &&Told| told.account.as_ref() == Some(id) && told.deed == Deed::Own;
            let last = search.told.iter().rfind(own).map(|told| told.event.clone());
            let mut account = match found.remove(id) {
                Some(account) => account,
                None => match (self.at(step).account(id).await?, &last) {
                    (Some((account, _)), _) => account,
                    (None, Some(last)) => Account::gone(id, &last.body.resource_type),
                    (None, None) => continue,
                },
            };
            account.last = last;
            accounts.push(account);
        }
        Ok(Story {
            accounts,
            told: std::mem::take(&mut search.told).into(),
            subjects: search.subjects.iter().cloned().collect(),
            left_out: search.left_out,
            nobodys: std::mem::take(&mut search.nobodys).into_values().collect(),
            pauses: std::mem::take(&mut search.pauses).into_values().collect(),
        })
    }

    /// The directory, for calls that begin now.
    pub(super) fn at(&self, step: Step) -> Self {
        Self {
            deadline: Instant::now() + step,
            ..self.clone()
        }
    }
}
