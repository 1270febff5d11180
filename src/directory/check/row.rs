//! What one row holds, and what it says of others.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{Damage, ledger::Mark};
use crate::{
    directory::{
        edges::{Edge, resource_key},
        index::{self, Entry, Index},
    },
    rows::{
        self, EdgeBody, EventBody, FormatError, GateBody, IndexBody, JoinsBody, JournalBody, Key, MarkBody,
        MembersBody, Operation, ResourceBody, Stamp, SumBaseBody, SumBody, TraceBody,
    },
    scim::{attributes::Attributes, members::Kind, schema::ResourceType},
    store::{Row, settle::BARRED},
    tenants::Tenant,
};

/// What decides which values have which index rows.
pub(super) struct Rules {
    pub(super) tenant: Tenant,
    pub(super) users: Arc<ResourceType>,
    pub(super) groups: Arc<ResourceType>,
}

impl Rules {
    /// The index rows that a resource should have, by key.
    pub(super) fn entries(&self, kind: Kind, resource: &Resource) -> BTreeMap<String, Entry> {
        let of = match kind {
            Kind::User => &self.users,
            Kind::Group => &self.groups,
        };
        index::entries(of, &self.tenant, &resource.id, &resource.attributes)
    }
}

/// A row that makes sense by itself.
pub(super) enum Held {
    Resource(Kind, Resource),
    Index(&'static Index, IndexBody),
    Gate {
        group: String,
        operation: Option<String>,
        closed: bool,
    },
    /// That an operation never took effect.
    Barred,
    /// Seen from the member, if `reverse`.
    Edge {
        edge: Edge,
        reverse: bool,
    },
    Event {
        operation: String,
        parts: usize,
    },
    EventPart {
        operation: String,
        part: usize,
    },
    Journal(JournalBody),
    Spread,
    EdgesLeft(TraceBody),
    Tombstone,
    /// Of the tombstone with this key.
    TombstonePart(String),
    Joins,
    /// Of a total; the letter of the resource type.
    SumEnd(&'static str, SumBaseBody),
    Sum,
    Mark,
}

/// A resource, as far as its rows matter.
pub(super) struct Resource {
    pub(super) id: String,
    pub(super) attributes: Attributes,
    pub(super) stamp: Stamp,
}

/// What is to be looked at together when one of the rows concerned is in doubt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Case {
    /// A row by itself.
    Row(String),
    /// A group's gate; what stands for its id.
    Gate(String),
    /// A membership.
    Edge { group: String, member: String },
    /// A resource's value.
    Value {
        kind: &'static str,
        id: String,
        key: String,
    },
    /// An index row, which names this resource.
    Indexed {
        kind: &'static str,
        id: String,
        key: String,
    },
    /// A pending change; its operation.
    Journal(String),
    /// A row that says that a deleted resource's edges still stand; its key.
    EdgesLeft(String),
    /// A part of a tombstone.
    TombstonePart { tombstone: String, key: String },
    /// The ends of a total; the letter of the resource type.
    SumEnds(&'static str),
    /// A part of an event.
    EventPart { operation: String, part: usize },
}

impl From<FormatError> for Damage {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Newer { .. } => Self::Newer,
            FormatError::Broken { .. } => Self::Unreadable,
        }
    }
}

impl Held {
    /// Reads a row, or tells what is wrong with it by itself.
    pub(super) fn read(row: &Row) -> Result<Self, Damage> {
        let (held, key) = match Key::parse(&row.key).ok_or(Damage::Unknown)? {
            Key::Resource(letter, _) => resource(row, letter)?,
            Key::Index(letter) => {
                let index = index::of_letter(letter).ok_or(Damage::Unknown)?;
                // Whether the key is the value's, nobody can tell but the resource that has it.
                (Self::Index(index, rows::body(row)?), row.key.clone())
            }
            Key::Gate(group) | Key::ClosedGate(group) => {
                let body: GateBody = rows::body(row)?;
                let held = Self::Gate {
                    group: group.to_owned(),
                    operation: body.operation,
                    closed: matches!(Key::parse(&row.key), Some(Key::ClosedGate(_))),
                };
                (held, row.key.clone())
            }
            Key::Member => edge(row, false)?,
            Key::Membership => edge(row, true)?,
            Key::Event(_) if row.stamp == BARRED => (Self::Barred, row.key.clone()),
            Key::Event(operation) => event(row, operation)?,
            Key::EventPart(operation, part) => event_part(row, operation, part)?,
            Key::Journal(_) => {
                let body: JournalBody = rows::body(row)?;
                let key = rows::journal_key(&body.operation);
                let enough = body.parts <= rows::MAX_EVENT_PARTS;
                (enough.then_some(Self::Journal(body)).ok_or(Damage::Unreadable)?, key)
            }
            Key::Spread => {
                let body: TraceBody = rows::body(row)?;
                (Self::Spread, rows::spread_key(&body.id))
            }
            Key::EdgesLeft => {
                let body: TraceBody = rows::body(row)?;
                let key = body.edges_left_key();
                (Self::EdgesLeft(body), key)
            }
            Key::Tombstone(_) => {
                let body: ResourceBody = rows::body(row)?;
                rows::gone_stamp(row)?;
                (Self::Tombstone, rows::gone_key(&body.id))
            }
            Key::SumEnd(kind) => {
                let kind = if kind == "g" { "g" } else { "u" };
                (Self::SumEnd(kind, rows::body(row)?), row.key.clone())
            }
            Key::Sum => {
                let _: SumBody = rows::body(row)?;
                (Self::Sum, row.key.clone())
            }
            Key::Mark(kind) => {
                let body: MarkBody = rows::body(row)?;
                (Self::Mark, rows::mark_key(kind, body.position))
            }
            Key::Joins => joins(row)?,
            Key::TombstoneEdge(part) => tombstone_edge(row, part)?,
            Key::TombstonePart(part) | Key::TombstoneMembers(part) => {
                let _: MembersBody = rows::body(row)?;
                (Self::TombstonePart(rows::tombstone_key(part)), row.key.clone())
            }
        };
        if key == row.key {
            Ok(held)
        } else {
            Err(Damage::Misplaced)
        }
    }

    /// What it says of others, each with what is to be looked at when that is in doubt.
    fn marks(&self, row: &Row, rules: &Rules) -> Vec<(Mark, Case)> {
        match self {
            Self::Resource(kind, resource) => values(*kind, resource, rules),
            Self::Index(index, body) => {
                let case = Case::Indexed {
                    kind: letter(index.resource_type()),
                    id: body.id.clone(),
                    key: row.key.clone(),
                };
                vec![(Mark::Is(hash(&(&row.key, &body.id, &body.value))), case)]
            }
            Self::Gate {
                group, closed: true, ..
            } => vec![(Mark::Doubted, Case::Gate(group.clone()))],
            Self::Edge { edge, reverse } => edge_marks(edge, *reverse),
            Self::Event { operation, parts } => (0..*parts)
                .map(|part| (Mark::Claims(hash(&(operation, part))), event_part_case(operation, part)))
                .collect(),
            Self::EventPart { operation, part } => {
                vec![(Mark::Is(hash(&(operation, part))), event_part_case(operation, *part))]
            }
            // There are few, and nothing else tells whether they belong.
            Self::Journal(body) => vec![(Mark::Doubted, Case::Journal(body.operation.clone()))],
            Self::EdgesLeft(body) => {
                let key = rows::resource_key(letter(&body.resource_type), &body.id);
                let case = Case::EdgesLeft(row.key.clone());
                vec![(Mark::Has(hash(&key)), case.clone()), (Mark::Doubted, case)]
            }
            Self::TombstonePart(tombstone) => {
                let case = Case::TombstonePart {
                    tombstone: tombstone.clone(),
                    key: row.key.clone(),
                };
                vec![(Mark::Needs(hash(tombstone)), case)]
            }
            Self::SumEnd(kind, body) => {
                let changes = hash(&("changes", kind, body.changes));
                let mark = if row.key == rows::sum_base_key(kind) {
                    Mark::Claims(changes)
                } else {
                    Mark::Is(changes)
                };
                vec![(mark, Case::SumEnds(kind))]
            }
            Self::Gate { .. }
            | Self::Barred
            | Self::Spread
            | Self::Joins
            | Self::Tombstone
            | Self::Sum
            | Self::Mark => Vec::new(),
        }
    }
}

/// Groups that a restored resource is to join still, and where that should stand.
fn joins(row: &Row) -> Result<(Held, String), Damage> {
    let body: JoinsBody = rows::body(row)?;
    let is_its = row.key.starts_with(&rows::joins_prefix(&body.member));
    Ok((Held::Joins, if is_its { row.key.clone() } else { String::new() }))
}

/// A membership of what is deleted, and where it should stand: at either of its ends.
fn tombstone_edge(row: &Row, part: &str) -> Result<(Held, String), Damage> {
    let EdgeBody { group, member, .. } = rows::body(row)?;
    let mut keys = [
        rows::gone_edge_key(&group, &member),
        rows::gone_edge_key(&member, &group),
    ]
    .into_iter();
    let key = keys.find(|key| *key == row.key).unwrap_or_default();
    Ok((Held::TombstonePart(rows::tombstone_key(part)), key))
}

/// What a row says of others, and of itself if it makes no sense. What only its key says counts in any case, so that a row
/// that can't be read puts no others into doubt.
pub(super) fn marks(row: &Row, rules: &Rules) -> Vec<(Mark, Case)> {
    let mut marks = match Held::read(row) {
        Ok(held) => held.marks(row, rules),
        Err(_) => vec![(Mark::Doubted, Case::Row(row.key.clone()))],
    };
    let gate = |part: &str| (hash(&("gate", part)), Case::Gate(part.to_owned()));
    match Key::parse(&row.key) {
        Some(Key::Resource(kind, part)) => {
            marks.push((Mark::Has(hash(&row.key)), Case::Row(row.key.clone())));
            if kind == "g" {
                let (hash, case) = gate(part);
                marks.push((Mark::Claims(hash), case));
            }
        }
        Some(Key::Gate(part) | Key::ClosedGate(part)) => {
            let (hash, case) = gate(part);
            marks.push((Mark::Is(hash), case));
        }
        Some(Key::Tombstone(_)) => marks.push((Mark::Has(hash(&row.key)), Case::Row(row.key.clone()))),
        _ => {}
    }
    marks
}

fn values(kind: Kind, resource: &Resource, rules: &Rules) -> Vec<(Mark, Case)> {
    let entries = rules.entries(kind, resource).into_iter();
    let mark = |(key, entry): (String, Entry)| {
        let mark = Mark::Claims(hash(&(&key, &resource.id, &entry.value)));
        let id = resource.id.clone();
        let kind = letter(kind.keyword());
        (mark, Case::Value { kind, id, key })
    };
    entries.map(mark).collect()
}

fn edge_marks(edge: &Edge, reverse: bool) -> Vec<(Mark, Case)> {
    let case = Case::Edge {
        group: edge.group.clone(),
        member: edge.member.clone(),
    };
    let both = hash(&(&edge.group, &edge.member, edge.kind));
    // Each end where the rows stand side by side.
    let (half, end) = if reverse {
        (Mark::Is(both), resource_key(&edge.member, edge.kind))
    } else {
        (Mark::Claims(both), resource_key(&edge.group, Kind::Group))
    };
    vec![(half, case.clone()), (Mark::Needs(hash(&end)), case)]
}

fn event_part_case(operation: &str, part: usize) -> Case {
    let operation = operation.to_owned();
    Case::EventPart { operation, part }
}

/// A row, and the key that belongs to what it holds.
type Read = Result<(Held, String), Damage>;

fn resource(row: &Row, letter: &str) -> Read {
    let body: ResourceBody = rows::body(row)?;
    let resource = Resource {
        id: body.id,
        attributes: Attributes::from_stored(body.attributes),
        stamp: rows::stamp(row)?,
    };
    let kind = if letter == "g" { Kind::Group } else { Kind::User };
    let key = resource_key(&resource.id, kind);
    Ok((Held::Resource(kind, resource), key))
}

fn edge(row: &Row, reverse: bool) -> Read {
    let body: EdgeBody = rows::body(row)?;
    let kind = [Kind::User, Kind::Group]
        .into_iter()
        .find(|kind| kind.keyword() == body.resource_type)
        .ok_or(Damage::Unreadable)?;
    let key = if reverse {
        rows::membership_key(&body.member, &body.group)
    } else {
        rows::member_key(&body.group, &body.member)
    };
    let edge = Edge {
        group: body.group,
        member: body.member,
        kind,
    };
    Ok((Held::Edge { edge, reverse }, key))
}

fn event(row: &Row, operation: &str) -> Read {
    let body: EventBody = rows::body(row)?;
    if Operation::time_of(operation) != Some(body.time) {
        return Err(Damage::Misplaced);
    }
    if body.parts > rows::MAX_EVENT_PARTS {
        return Err(Damage::Unreadable);
    }
    let held = Held::Event {
        operation: operation.to_owned(),
        parts: body.parts,
    };
    Ok((held, row.key.clone()))
}

fn event_part(row: &Row, operation: &str, part: &str) -> Read {
    let _: MembersBody = rows::body(row)?;
    let part = part.parse().map_err(|_| Damage::Misplaced)?;
    let key = rows::event_part_key(operation, part);
    let operation = operation.to_owned();
    Ok((Held::EventPart { operation, part }, key))
}

/// The letter that begins the keys of a type's resources.
pub(super) fn letter(resource_type: &str) -> &'static str {
    if resource_type == Kind::Group.keyword() {
        "g"
    } else {
        "u"
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
