//! What a write does to memberships, as changes of rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    edges::{Edge, resource_key},
    gone::rejoin::{self, Return},
    index,
    journal::{self, Journal},
    links::Links,
    write::Draft,
};
use crate::{
    rows::{self, FORMAT, JournalBody, MembersBody, Operation, Stamp, TraceBody},
    scim::members::Kind,
    store::{Change, ETag, MAX_CHANGES, Write},
};

/// How much one commit does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Most members that join or leave with one commit; more are decided by one and spread by others.
    pub(super) at_once: usize,
    /// Most changes of any kind.
    pub(super) changes: usize,
}

impl Sizes {
    const REAL: Self = Self {
        at_once: 32,
        changes: MAX_CHANGES,
    };

    pub(super) fn now() -> Self {
        #[cfg(test)]
        if let Some(sizes) = super::linear::SIZES.get() {
            return sizes;
        }
        Self::REAL
    }

    /// Memberships that one commit spreads or ends: three changes each, and one that tells that it is still to be done.
    pub(super) fn chunk(self) -> usize {
        (self.changes - 1) / 3
    }

    /// Memberships that one commit ends and lists: two changes more each, and one that tells that the tombstone is there.
    pub(super) fn listing_chunk(self) -> usize {
        (self.changes - 2) / 5
    }
}

/// What a write does to memberships.
pub(super) enum Memberships {
    /// Nothing.
    Untouched,
    /// A group is made, or its members change.
    Turn(Turn),
    /// The resource goes.
    Removal(Removal),
    /// It comes back.
    Return(Return),
}

/// A change of a group's members.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Who becomes a member.
    pub(super) joins: BTreeMap<String, Kind>,
    /// Who is one no more.
    pub(super) leaves: BTreeSet<String>,
    /// Who was to become a member and is one.
    pub(super) stays: BTreeMap<String, Kind>,
    /// Who was to leave and is not there.
    pub(super) absent: BTreeSet<String>,
    /// `joins` and `stays` are all members there will be.
    pub(super) whole: bool,
    /// It rests on what the group was when it was read: nobody may have changed it since. Otherwise each row asserts its
    /// own part.
    pub(super) guarded: bool,
}

/// What a deleted resource leaves behind.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// Its own memberships, as the edges stand.
    pub(super) memberships: Vec<Edge>,
    /// The groups that it was in, for its restore.
    pub(super) groups: BTreeSet<String>,
    /// Those of the groups that are deleted themselves.
    pub(super) gone: HashSet<String>,
    /// The rows that told which groups it was to join still, as they were read.
    pub(super) joins: Vec<(String, ETag)>,
}

/// The changes of membership rows in a commit.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) rows: Vec<Change>,
    /// The memberships that the event row tells of.
    pub(super) inline: Option<MembersBody>,
    /// The memberships that rows behind the event tell of.
    pub(super) parts: Vec<MembersBody>,
    /// What is to be spread afterwards.
    pub(super) journal: Option<Journal>,
    /// The deleted resource whose memberships are to be ended afterwards.
    pub(super) left: Option<TraceBody>,
    /// The commit may only succeed if the resource is as it was read.
    pub(super) guarded: bool,
}

impl Memberships {
    /// `others`: how many changes there are beside these.
    pub(super) fn changes(&self, draft: &Draft<'_>, operation: &Operation, others: usize) -> Changes {
        match self {
            Self::Untouched => Changes::default(),
            Self::Turn(turn) => turn.changes(draft, operation, others),
            Self::Removal(removal) => removal.changes(draft, operation, others),
            Self::Return(restored) => restored.changes(draft, operation),
        }
    }

    /// The groups that who comes back is a member of again.
    pub(super) fn rejoined(&self) -> Vec<String> {
        match self {
            Self::Return(restored) => restored.reunion.joined(),
            _ => Vec::new(),
        }
    }
}

impl Turn {
    /// Whether nobody joins or leaves.
    pub(super) fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty()
    }

    /// Whether nothing is left to do where these are the members, as far as they are known.
    pub(super) fn is_done(&self, links: Option<&Links>) -> bool {
        let Some(Links::Members(members)) = links else {
            return true;
        };
        let stays = members
            .iter()
            .filter(|member| self.stays.contains_key(&member.id))
            .count();
        let gone = !members.iter().any(|member| self.absent.contains(&member.id));
        gone && stays == self.stays.len() && (!self.whole || stays == members.len())
    }

    /// Whether it neither changes nor asserts a membership.
    pub(super) fn needs_no_rows(&self) -> bool {
        self.is_empty() && (self.guarded || (self.stays.is_empty() && self.absent.is_empty()))
    }

    fn changes(&self, draft: &Draft<'_>, operation: &Operation, others: usize) -> Changes {
        let by = operation.to_string();
        let is_new = draft.before.is_none();
        let gate = if is_new {
            Change::Insert(Write {
                stamp: journal::gate_stamp(&by),
                ..journal::gate(draft.id, None)
            })
        } else {
            Change::Stamp(rows::gate_key(draft.id), journal::gate_stamp(&by), None)
        };
        let mut changes = vec![gate];
        changes.extend(self.joins.iter().flat_map(|(member, kind)| {
            journal::joins(&Edge {
                group: draft.id.to_owned(),
                member: member.clone(),
                kind: *kind,
            })
        }));
        changes.extend(self.leaves.iter().flat_map(|member| journal::leaves(draft.id, member)));
        let sizes = Sizes::now();
        if self.joins.len() + self.leaves.len() > sizes.at_once || others + changes.len() > MAX_CHANGES {
            return self.decision(draft, operation, is_new);
        }
        if !self.guarded {
            // Who stays must be there still when the others join; that somebody is not there, no change can say.
            if !self.absent.is_empty() || others + changes.len() + self.stays.len() > MAX_CHANGES {
                return self.decision(draft, operation, is_new);
            }
            let stays = self.stays.keys();
            changes.extend(stays.map(|id| Change::Touch(rows::member_key(draft.id, id))));
        }
        let body = self.journal(draft.id, operation).parts().swap_remove(0);
        Changes {
            rows: changes,
            inline: (!self.is_empty()).then_some(MembersBody { whole: false, ..body }),
            guarded: self.guarded,
            ..Changes::default()
        }
    }

    fn decision(&self, draft: &Draft<'_>, operation: &Operation, is_new: bool) -> Changes {
        let mut journal = self.journal(draft.id, operation);
        // Whoever is not what they were when they were read becomes what was asked for when it is spread.
        journal.joins.extend(self.stays.clone());
        journal.leaves.extend(self.absent.iter().cloned());
        if self.whole {
            journal.whole = true;
            journal.leaves.clear();
        }
        let parts = journal.parts();
        let pointer = JournalBody {
            format: FORMAT,
            operation: journal.operation.clone(),
            group: draft.id.to_owned(),
            parts: parts.len(),
        };
        let mut changes = vec![
            Change::Insert(Write {
                stamp: journal::gate_stamp(&journal.operation),
                ..journal::gate(draft.id, Some(&journal.operation))
            }),
            Change::Insert(rows::write(rows::journal_key(&journal.operation), &pointer)),
        ];
        if !is_new {
            changes.push(Change::Delete(rows::gate_key(draft.id), None));
        }
        if journal.joins.len() <= Sizes::now().at_once {
            // More than these may be gone before they join, and do not join then.
            let joins = journal.joins.iter();
            changes.extend(joins.map(|(id, kind)| Change::Touch(resource_key(id, *kind))));
        }
        Changes {
            rows: changes,
            inline: None,
            parts,
            journal: Some(journal),
            left: None,
            guarded: true,
        }
    }

    fn journal(&self, group: &str, operation: &Operation) -> Journal {
        Journal {
            operation: operation.to_string(),
            group: group.to_owned(),
            whole: false,
            joins: self.joins.clone(),
            leaves: self.leaves.clone(),
        }
    }
}

impl Removal {
    /// The groups that it was in, in as many rows as they need.
    pub(super) fn parts(&self) -> Vec<MembersBody> {
        rejoin::lists(&self.groups)
    }

    fn changes(&self, draft: &Draft<'_>, operation: &Operation, others: usize) -> Changes {
        let is_group = index::kind(draft.of) == "g";
        let joins = self.joins.iter().cloned();
        let mut changes: Vec<Change> = joins.map(|(key, etag)| Change::Delete(key, Some(etag))).collect();
        for (part, mut body) in self.parts().into_iter().enumerate() {
            body.deletion = operation.to_string();
            changes.push(Change::Upsert(rows::write(rows::gone_part_key(draft.id, part), &body)));
        }
        if is_group {
            changes.push(Change::Delete(rows::gate_key(draft.id), None));
        }
        let edges: Vec<Change> = self
            .memberships
            .iter()
            .flat_map(|edge| self.leaves(edge, operation))
            .collect();
        let fits = others + changes.len() + edges.len() + usize::from(is_group) <= Sizes::now().changes;
        if fits {
            changes.extend(edges);
        }
        let left = TraceBody {
            format: FORMAT,
            id: draft.id.to_owned(),
            operation: operation.to_string(),
            time: operation.time(),
            resource_type: draft.of.name.clone(),
        };
        if is_group || !fits {
            let key = rows::edges_left_key(draft.id, &left.operation);
            changes.push(Change::Insert(rows::write(key, &left)));
        }
        Changes {
            rows: changes,
            left: (!fits).then_some(left),
            ..Changes::default()
        }
    }

    /// The end of one membership; it is a change of the group too, unless that is gone, and stays so until then.
    fn leaves(&self, edge: &Edge, operation: &Operation) -> Vec<Change> {
        let mut changes = journal::leaves(&edge.group, &edge.member);
        changes.push(if self.gone.contains(&edge.group) {
            Change::Touch(rows::gone_key(&edge.group))
        } else {
            let stamp = Stamp::of(operation, String::new());
            let key = rows::resource_key("g", &edge.group);
            Change::Stamp(key, rows::encode(&stamp), None)
        });
        changes
    }
}
