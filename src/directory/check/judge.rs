//! What is wrong with rows that belong together, and the changes that mend it. Every change is guarded by the rows that it
//! rests on: if one of them is written in between, nothing is mended.

use super::{
    Damage,
    look::Look,
    row::{Case, Held, Resource, Rules, letter},
};
use crate::{
    directory::edges::resource_key,
    rows::{self, FORMAT, IndexBody, SumBaseBody},
    scim::members::Kind,
    store::{Change, ETag, Row},
};

mod edges;
mod gates;

pub(super) use gates::is_closed_for;

/// The resource type of events that are about no resource.
pub(super) const TENANT: &str = "Tenant";

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) damage: Damage,
    /// The row that is to blame, or missing.
    pub(super) key: String,
    /// The resources concerned.
    pub(super) ids: Vec<String>,
    /// The rows that it was told from, as they were.
    seen: Vec<ETag>,
    pub(super) mend: Option<Mend>,
}

/// How something is mended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mend {
    /// The resource that it is a change of, for its event.
    pub(super) of: &'static str,
    pub(super) id: String,
    /// The attribute that is mended.
    pub(super) path: &'static str,
    /// Who was shown as a member of the group and is not any more; the group changes with it.
    pub(super) leaves: Option<Leaves>,
    pub(super) changes: Vec<Change>,
}

/// A member that leaves a group that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaves {
    pub(super) member: String,
    /// The group's newest stamp.
    pub(super) stamp: u64,
}

impl Found {
    pub(super) fn new<'r>(
        damage: Damage,
        key: &str,
        ids: &[&str],
        seen: impl IntoIterator<Item = Option<&'r Row>>,
    ) -> Self {
        Self {
            damage,
            key: key.to_owned(),
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            seen: seen.into_iter().flatten().map(|row| row.etag.clone()).collect(),
            mend: None,
        }
    }

    pub(super) fn mended(mut self, of: &'static str, id: &str, path: &'static str, changes: Vec<Change>) -> Self {
        self.mend = Some(Mend {
            of,
            id: id.to_owned(),
            path,
            leaves: None,
            changes,
        });
        self
    }
}

/// What is wrong, if anything is. Depends on nothing but the rows that it asks for.
pub(super) fn judge(case: &Case, look: &Look, rules: &Rules) -> Option<Found> {
    match case {
        Case::Row(key) => alone(key, look),
        Case::Gate(group) => gates::gate_of(group, look),
        Case::Edge { group, member } => edges::edge(group, member, look),
        Case::Value { kind, id, key } => value(kind, id, key, look, rules),
        Case::Indexed { kind, id, key } => indexed(kind, id, key, look, rules),
        Case::Journal(operation) => gates::journal(operation, look),
        Case::EdgesLeft(key) => edges_left(key, look),
        Case::TombstonePart { tombstone, key } => tombstone_part(tombstone, key, look),
        Case::SumEnds(kind) => sum_ends(kind, look, rules),
        Case::EventPart { operation, part } => event_part(operation, *part, look),
    }
}

fn alone(key: &str, look: &Look) -> Option<Found> {
    let row = look.row(key)?;
    let damage = Held::read(row).err()?;
    Some(Found::new(damage, key, &[], [Some(row)]))
}

/// A resource's row, if it can be read.
fn resource<'l>(kind: &str, id: &str, look: &'l Look) -> Option<(&'l Row, Kind, Resource)> {
    let row = look.row(&rows::resource_key(kind, id))?;
    match Held::read(row) {
        Ok(Held::Resource(kind, resource)) if resource.id == id => Some((row, kind, resource)),
        _ => None,
    }
}

fn deleted(row: &Row) -> Change {
    Change::Delete(row.key.clone(), Some(row.etag.clone()))
}

/// Changes nothing of the resource, and only succeeds if nobody has.
fn unchanged(row: &Row) -> Change {
    Change::Stamp(row.key.clone(), row.stamp.clone(), Some(row.etag.clone()))
}

fn value(kind: &'static str, id: &str, key: &str, look: &Look, rules: &Rules) -> Option<Found> {
    let index_row = look.row(key);
    let (row, of, claimant) = resource(kind, id, look)?;
    let entry = rules.entries(of, &claimant).remove(key)?;
    let body = IndexBody {
        format: FORMAT,
        id: id.to_owned(),
        value: entry.value,
    };
    let write = rows::write(key.to_owned(), &body);
    let seen = [Some(row), index_row];
    let path = entry.index.attribute();
    let (damage, change) = match index_row.map(|row| (row, Held::read(row))) {
        None => (Damage::IndexMissing, Change::Insert(write)),
        Some((_, Err(Damage::Newer))) => return None,
        Some((_, Ok(Held::Index(_, held)))) if held == body => return None,
        Some((index_row, held)) => {
            if let Ok(Held::Index(_, held)) = held
                && let Some((holder_row, of, holder)) = resource(kind, &held.id, look)
                && held.id != id
                && rules.entries(of, &holder).contains_key(key)
            {
                let seen = seen.into_iter().chain([Some(holder_row)]);
                return Some(Found::new(Damage::UniqueTwice, key, &[&held.id, id], seen));
            }
            (Damage::IndexWrong, Change::Replace(write, index_row.etag.clone()))
        }
    };
    let changes = vec![unchanged(row), change];
    Some(Found::new(damage, key, &[id], seen).mended(of.keyword(), id, path, changes))
}

fn indexed(kind: &'static str, id: &str, key: &str, look: &Look, rules: &Rules) -> Option<Found> {
    let owner = look.row(&rows::resource_key(kind, id));
    let row = look.row(key)?;
    let Ok(Held::Index(index, body)) = Held::read(row) else {
        return None;
    };
    if body.id != id {
        return None;
    }
    if owner.is_some() {
        let (_, of, resource) = resource(kind, id, look)?;
        if rules.entries(of, &resource).contains_key(key) {
            return None;
        }
    }
    let change = deleted(row);
    let found = Found::new(Damage::IndexOrphan, key, &[id], [Some(row), owner]);
    Some(found.mended(index.resource_type(), id, index.attribute(), vec![change]))
}

fn edges_left(key: &str, look: &Look) -> Option<Found> {
    let row = look.row(key)?;
    let Ok(Held::EdgesLeft(body)) = Held::read(row) else {
        return None;
    };
    let id = &body.id;
    let tombstone = look.row(&rows::gone_key(id));
    let [user, group] = [Kind::User, Kind::Group].map(|kind| look.row(&resource_key(id, kind)));
    let (of, path, there) = match letter(&body.resource_type) {
        "g" => (Kind::Group, "members", group),
        _ => (Kind::User, "groups", user),
    };
    let damage = match (there, tombstone) {
        (Some(_), _) => Damage::HidesExisting,
        (None, None) => Damage::HidesUnknown,
        (None, Some(_)) => return None,
    };
    let mut changes = vec![deleted(row)];
    changes.extend(there.map(|there| Change::Touch(there.key.clone())));
    Some(Found::new(damage, key, &[id], [Some(row)]).mended(of.keyword(), id, path, changes))
}

fn tombstone_part(tombstone: &str, key: &str, look: &Look) -> Option<Found> {
    // Nothing tells whose it was, but what its key says.
    let id = key.split('~').nth(1).unwrap_or_default();
    let (part, tombstone) = (look.row(key), look.row(tombstone));
    let part = part?;
    if tombstone.is_some() || Held::read(part).is_err() {
        return None;
    }
    let found = Found::new(Damage::TombstonePart, key, &[], [Some(part)]);
    Some(found.mended(Kind::Group.keyword(), id, "members", vec![deleted(part)]))
}

/// The base decides: whoever folds counts from there.
fn sum_ends(kind: &'static str, look: &Look, rules: &Rules) -> Option<Found> {
    let keys = [rows::sum_base_key(kind), rows::sum_seal_key(kind)];
    let [base, seal] = [look.row(&keys[0]), look.row(&keys[1])];
    let held = [base, seal].map(|row| row.map(Held::read));
    let [base_body, seal_body] = held.map(|held| match held {
        None => Some(None),
        Some(Ok(Held::SumEnd(_, body))) => Some(Some(body)),
        Some(_) => None,
    });
    let (base_body, seal_body) = (base_body?, seal_body?);
    let changes = |body: &Option<SumBaseBody>| body.as_ref().map(|body| body.changes);
    if changes(&base_body) == changes(&seal_body) {
        return None;
    }
    let known = base_body.or(seal_body)?;
    let write = |key: &String, n, row: Option<&Row>| {
        let body = SumBaseBody { n, ..known.clone() };
        let write = rows::write(key.clone(), &body);
        match row {
            Some(row) => Change::Replace(write, row.etag.clone()),
            None => Change::Insert(write),
        }
    };
    let changes = vec![write(&keys[0], known.n, base), write(&keys[1], 0, seal)];
    let found = Found::new(Damage::TotalTorn, &keys[0], &[], [base, seal]);
    Some(found.mended(TENANT, &rules.tenant.id, "", changes))
}

fn event_part(operation: &str, part: usize, look: &Look) -> Option<Found> {
    let event = look.row(&format!("o~{operation}"));
    let key = rows::event_part_key(operation, part);
    let row = look.row(&key);
    let parts = match event.map(Held::read) {
        Some(Ok(Held::Event { parts, .. })) => parts,
        Some(_) => return None,
        None => 0,
    };
    let damage = match row {
        None if part < parts => Damage::EventPartMissing,
        Some(_) if part >= parts => Damage::EventPartOrphan,
        _ => return None,
    };
    Some(Found::new(damage, &key, &[], [event, row]))
}
