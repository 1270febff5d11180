//! Membership is kept apart from a group's attributes, as a row for each member, so that adding one costs the same in a
//! group of ten and in one of a hundred thousand. So a request makes no new list of members: it makes [`Edits`], and only
//! some of those need to know who is a member now.

mod links;
mod mentioned;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::error::{Error, Rule};
use super::filter::Filter;
use super::limits::{MAX_MEMBER_WORK, MAX_MEMBERS};
use super::resource::is_id;

pub use links::{Link, LongDocument, placeholder};
pub use mentioned::mentioned;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A user.
    User,
    /// A group: its own members are members indirectly.
    Group,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::User, Kind::Group];

    /// The name of the resource type: `type` of a member (RFC 7643 §8.7.1).
    pub fn keyword(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Group => "Group",
        }
    }

    /// The kind of that name, whatever the case.
    pub fn from_keyword(keyword: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.keyword().eq_ignore_ascii_case(keyword))
    }
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The id of a user or a group. Of what a client named, nothing says yet that there is one.
    pub id: String,
    /// What it is: as it is stored, or as the client says. Most clients don't (Entra, Okta).
    pub kind: Option<Kind>,
}

/// What becomes of a group's members: the edits of one request, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits(Vec<Edit>);

#[derive(Clone, Debug, PartialEq)]
enum Edit {
    /// The first one, if there is any: it makes all before it void.
    Replace(Vec<Member>),
    Add(Vec<Member>),
    Remove(Vec<String>),
    RemoveMatching {
        filter: Filter,
        /// Only these of them.
        among: Option<HashSet<String>>,
    },
}

/// What must be known to carry [`Edits`] out.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing is to be done.
    Nothing,
    /// These come and go, whoever is a member now. Some may be in, or out, already.
    Named(Change),
    /// These, and no others, are the members from now on; [`Edits::apply`] tells what that changes.
    Whole(Vec<Member>),
    /// It depends on who is a member now, and what each is: see [`Edits::apply`]. These are the members that may come.
    Matching(Vec<Member>),
}

/// Who comes and who goes; nobody is named twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Members that come.
    pub add: Vec<Member>,
    /// Ids of the members that go.
    pub remove: Vec<String>,
}

impl Edits {
    /// Whether nothing is edited. A clear is an edit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many members they name.
    pub fn mentioned(&self) -> usize {
        let named = |edit: &Edit| match edit {
            Edit::Replace(members) | Edit::Add(members) => members.len(),
            Edit::Remove(ids) => ids.len(),
            Edit::RemoveMatching { among, .. } => among.as_ref().map_or(0, HashSet::len),
        };
        self.0.iter().map(named).sum()
    }

    /// These become members.
    pub fn add(&mut self, members: Vec<Member>) {
        if !members.is_empty() {
            self.0.push(Edit::Add(members));
        }
    }

    /// These are members no longer. What cannot be an id never was one.
    pub fn remove(&mut self, ids: impl IntoIterator<Item = String>) {
        let ids: Vec<String> = ids.into_iter().filter(|id| is_id(id)).collect();
        if !ids.is_empty() {
            self.0.push(Edit::Remove(ids));
        }
    }

    /// Those that `filter` matches are members no longer, or only those of them that are `among` these ids. The filter
    /// is on one member's `value` and `type`.
    pub fn remove_matching(&mut self, filter: Filter, among: Option<HashSet<String>>) {
        self.0.push(Edit::RemoveMatching { filter, among });
    }

    /// These are the members from now on, and no others.
    pub fn replace(&mut self, members: Vec<Member>) {
        self.0 = vec![Edit::Replace(members)];
    }

    /// # Errors
    /// [`Rule::TooManyMembers`]; [`Rule::UnknownMember`] for what can be nobody's id.
    pub(super) fn checked(self) -> Result<Edits, Error> {
        let mut ids = HashSet::new();
        for edit in &self.0 {
            match edit {
                Edit::Replace(members) | Edit::Add(members) => {
                    if let Some(unknown) = members.iter().find(|member| !is_id(&member.id)) {
                        return Err(Rule::UnknownMember.at(&unknown.id));
                    }
                    ids.extend(members.iter().map(|member| member.id.as_str()));
                }
                Edit::Remove(removed) => ids.extend(removed.iter().map(String::as_str)),
                Edit::RemoveMatching { among, .. } => ids.extend(among.iter().flatten().map(String::as_str)),
            }
        }
        if ids.len() > MAX_MEMBERS {
            return Err(Rule::TooManyMembers.error().with("limit", MAX_MEMBERS.to_string()));
        }
        Ok(self)
    }

    /// What must be known to carry the edits out. The last edit of a member decides.
    pub fn plan(&self) -> Plan {
        let change = self.net();
        if self.0.is_empty() {
            Plan::Nothing
        } else if self.0.iter().any(|edit| matches!(edit, Edit::RemoveMatching { .. })) {
            Plan::Matching(change.add)
        } else if let Some(Edit::Replace(_)) = self.0.first() {
            Plan::Whole(change.add)
        } else {
            Plan::Named(change)
        }
    }

    /// What the edits change where `present` are the members, each of a known kind; `kind_of` tells what the others are
    /// that come.
    ///
    /// # Errors
    /// [`Rule::PatchTooCostly`] beyond [`MAX_MEMBER_WORK`].
    pub fn apply(&self, present: &[Member], kind_of: impl Fn(&str) -> Option<Kind>) -> Result<Change, Error> {
        if self.work(present.len()) > MAX_MEMBER_WORK {
            return Err(Rule::PatchTooCostly.error());
        }
        let mut roll = Roll::of(present);
        for edit in &self.0 {
            match edit {
                Edit::Replace(members) => {
                    roll.entries.iter_mut().for_each(|entry| entry.is_in = false);
                    roll.add(members, &kind_of);
                }
                Edit::Add(members) => roll.add(members, &kind_of),
                Edit::Remove(ids) => ids.iter().for_each(|id| roll.remove(id)),
                Edit::RemoveMatching { filter, among } => roll.remove_matching(filter, among.as_ref()),
            }
        }
        Ok(roll.into_change())
    }

    /// How many conditions members are put to, at most.
    fn work(&self, present: usize) -> usize {
        let (mut members, mut terms) = (present, 0_usize);
        for edit in &self.0 {
            match edit {
                Edit::Replace(added) | Edit::Add(added) => members += added.len(),
                Edit::Remove(_) => {}
                Edit::RemoveMatching { filter, .. } => terms += filter.terms(),
            }
        }
        members.saturating_mul(terms)
    }

    /// Who comes and who goes as far as names say, by the last edit of each; in the order of the edits.
    fn net(&self) -> Change {
        let mut seen = HashSet::new();
        let mut change = Change::default();
        for edit in self.0.iter().rev() {
            match edit {
                Edit::Replace(members) | Edit::Add(members) => {
                    let last = members.iter().rev().filter(|member| seen.insert(member.id.as_str()));
                    change.add.extend(last.cloned());
                }
                Edit::Remove(ids) => {
                    let last = ids.iter().rev().filter(|id| seen.insert(id.as_str()));
                    change.remove.extend(last.cloned());
                }
                Edit::RemoveMatching { .. } => {}
            }
        }
        change.add.reverse();
        change.remove.reverse();
        change
    }
}

/// Everyone who is or was a member while edits are carried out.
struct Roll<'a> {
    entries: Vec<Entry<'a>>,
    by_id: HashMap<&'a str, usize>,
}

struct Entry<'a> {
    id: &'a str,
    kind: Option<Kind>,
    was_in: bool,
    is_in: bool,
}

impl<'a> Roll<'a> {
    fn of(present: &'a [Member]) -> Roll<'a> {
        let entry = |member: &'a Member| Entry {
            id: &member.id,
            kind: member.kind,
            was_in: true,
            is_in: true,
        };
        Roll {
            entries: present.iter().map(entry).collect(),
            by_id: present
                .iter()
                .enumerate()
                .map(|(at, member)| (member.id.as_str(), at))
                .collect(),
        }
    }

    fn add(&mut self, members: &'a [Member], kind_of: impl Fn(&str) -> Option<Kind>) {
        for member in members {
            let id = member.id.as_str();
            let at = *self.by_id.entry(id).or_insert_with(|| {
                self.entries.push(Entry {
                    id,
                    kind: kind_of(id).or(member.kind),
                    was_in: false,
                    is_in: false,
                });
                self.entries.len() - 1
            });
            self.entries[at].is_in = true;
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(&at) = self.by_id.get(id) {
            self.entries[at].is_in = false;
        }
    }

    fn remove_matching(&mut self, filter: &Filter, among: Option<&HashSet<String>>) {
        // One object for all of them: there may be a hundred thousand.
        let mut value = Value::Object(Map::new());
        for entry in &mut self.entries {
            if entry.is_in && among.is_none_or(|among| among.contains(entry.id)) {
                value["value"] = entry.id.into();
                value["type"] = entry.kind.map(Kind::keyword).into();
                entry.is_in = !filter.matches_value(&value);
            }
        }
    }

    fn into_change(self) -> Change {
        let mut change = Change::default();
        for entry in self.entries {
            match (entry.was_in, entry.is_in) {
                (false, true) => change.add.push(Member {
                    id: entry.id.to_owned(),
                    kind: entry.kind,
                }),
                (true, false) => change.remove.push(entry.id.to_owned()),
                _ => {}
            }
        }
        change
    }
}
