//! The memberships of a resource that comes back, as changes of rows.

use super::super::{
    edges::{self, Edge},
    index,
    journal::{self, Journal},
    memberships::Changes,
    write::Draft,
};
use crate::{
    rows::{self, FORMAT, JoinsBody, MembersBody, Operation, Stamp},
    scim::members::Kind,
    store::{Change, ETag, Write},
};

/// Changes for each group that is joined.
pub(in crate::directory) const PER_JOIN: usize = 4;
/// Changes for each group that is to be joined when it comes back too.
pub(in crate::directory) const PER_WAIT: usize = 2;

/// What a deleted resource finds when it comes back.
#[derive(Debug)]
pub(in crate::directory) struct Return {
    /// Its memberships in groups.
    pub(in crate::directory) reunion: Reunion,
    /// The rows that hide its edges, and the parts of its tombstone, as they were read.
    pub(in crate::directory) ends: Vec<(String, ETag)>,
}

/// What one commit does about the groups that a restored resource was in.
#[derive(Debug)]
pub(in crate::directory) struct Reunion {
    pub(in crate::directory) member: String,
    pub(in crate::directory) kind: Kind,
    /// Groups that are there: as many as fit.
    pub(in crate::directory) joins: Vec<String>,
    /// Groups that are deleted and may come back: they are told that it is there.
    pub(in crate::directory) waits: Vec<String>,
    /// Of both, what others do afterwards.
    pub(in crate::directory) later: Vec<String>,
}

impl Return {
    pub(in crate::directory) fn changes(&self, draft: &Draft<'_>, operation: &Operation) -> Changes {
        let mut rows = Vec::new();
        if index::kind(draft.of) == "g" {
            let stamp = journal::gate_stamp(&operation.to_string());
            let gate = journal::gate(draft.id, None);
            rows.push(Change::Insert(Write { stamp, ..gate }));
        }
        let ends = self.ends.iter().cloned();
        rows.extend(ends.map(|(key, etag)| Change::Delete(key, Some(etag))));
        rows.extend(self.reunion.changes(operation, &[]));
        Changes {
            rows,
            ..Changes::default()
        }
    }
}

impl Reunion {
    /// `left`: the rows that told of `later` before, as they were read.
    pub(in crate::directory) fn changes(&self, operation: &Operation, left: &[(String, ETag)]) -> Vec<Change> {
        let joins = self
            .joins
            .iter()
            .flat_map(|group| rejoins(&self.edge(group), operation));
        let waits = self.waits.iter().flat_map(|group| waits(&self.edge(group), group));
        joins.chain(waits).chain(self.left_to_join(operation, left)).collect()
    }

    pub(in crate::directory) fn joined(&self) -> Vec<String> {
        self.joins.clone()
    }

    fn edge(&self, group: &str) -> Edge {
        Edge {
            group: group.to_owned(),
            member: self.member.clone(),
            kind: self.kind,
        }
    }

    fn left_to_join(&self, operation: &Operation, left: &[(String, ETag)]) -> Vec<Change> {
        let parts = lists(&self.later).into_iter().enumerate();
        let parts = parts.map(|(part, list)| {
            let body = JoinsBody {
                format: FORMAT,
                member: self.member.clone(),
                resource_type: self.kind.keyword().to_owned(),
                groups: list.groups,
                time: operation.time(),
            };
            rows::write(rows::joins_key(&self.member, part), &body)
        });
        let parts: Vec<Write> = parts.collect();
        let is_left = |key: &str| parts.iter().any(|part| part.key == key);
        let done = left.iter().filter(|(key, _)| !is_left(key));
        let done = done.map(|(key, etag)| Change::Delete(key.clone(), Some(etag.clone())));
        let mut changes: Vec<Change> = done.collect();
        changes.extend(parts.into_iter().map(|part| {
            let before = left.iter().find(|(key, _)| *key == part.key);
            match before {
                Some((_, etag)) => Change::Replace(part, etag.clone()),
                None => Change::Insert(part),
            }
        }));
        changes
    }
}

/// Groups in as many rows as they need.
pub(in crate::directory) fn lists<'g>(groups: impl IntoIterator<Item = &'g String>) -> Vec<MembersBody> {
    let groups = groups.into_iter().map(|group| (group.clone(), Kind::Group));
    let all = Journal {
        joins: groups.collect(),
        ..Journal::default()
    };
    if all.joins.is_empty() { Vec::new() } else { all.parts() }
}

/// The changes that make somebody a member of a group that is open and there; a change of the group too.
fn rejoins(edge: &Edge, operation: &Operation) -> [Change; PER_JOIN] {
    let body = edges::body(edge);
    let by = operation.to_string();
    let stamp = Stamp::of(operation, by.clone());
    [
        Change::Stamp(rows::gate_key(&edge.group), journal::gate_stamp(&by), None),
        Change::Stamp(rows::resource_key("g", &edge.group), rows::encode(&stamp), None),
        Change::Insert(rows::write(rows::member_key(&edge.group, &edge.member), &body)),
        Change::Insert(rows::write(rows::membership_key(&edge.member, &edge.group), &body)),
    ]
}

/// The changes that let a membership wait until `gone`, one of its ends, comes back; its tombstone must be there.
pub(in crate::directory) fn waits(edge: &Edge, gone: &str) -> [Change; PER_WAIT] {
    let other = if gone == edge.group { &edge.member } else { &edge.group };
    let row = rows::write(rows::gone_edge_key(gone, other), &edges::body(edge));
    [Change::Touch(rows::gone_key(gone)), Change::Upsert(row)]
}
