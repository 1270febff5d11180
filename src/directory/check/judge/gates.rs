//! Gates, and the changes of memberships that close them.

use super::{Damage, Found, Held, Look, deleted};
use crate::{
    directory::journal::gate,
    rows::{self, JournalBody},
    scim::members::Kind,
    store::{Change, Row},
};

/// The group's open gate, its closed one, and for which operation that is closed.
struct Gates<'l> {
    open: Option<&'l Row>,
    closed: Option<&'l Row>,
    operation: Option<String>,
}

impl<'l> Gates<'l> {
    /// Nothing if a newer version wrote one of them.
    fn read(open: Option<&'l Row>, closed: Option<&'l Row>) -> Option<Self> {
        let newer = |row: Option<&Row>| matches!(row.map(Held::read), Some(Err(Damage::Newer)));
        if newer(open) || newer(closed) {
            return None;
        }
        let operation = match closed.map(Held::read) {
            Some(Ok(Held::Gate { operation, .. })) => operation,
            _ => None,
        };
        Some(Self {
            open,
            closed,
            operation,
        })
    }
}

/// Whether this closed gate is closed for this change.
pub(in super::super) fn is_closed_for(gate: &Row, journal: &JournalBody) -> bool {
    let gates = Gates::read(None, Some(gate));
    gates.is_some_and(|gates| gates.operation.as_ref() == Some(&journal.operation))
}

/// `part`: what stands for the group's id, which its gate does not hold.
pub(super) fn gate_of(part: &str, look: &Look) -> Option<Found> {
    let [group_key, open_key, closed_key] = rows::gate_keys(part);
    let (group, open, closed) = (look.row(&group_key), look.row(&open_key), look.row(&closed_key));
    let gates = Gates::read(open, closed)?;
    // What is pending for the group, but closed no gate, has a case of its own.
    let pending = look
        .journals_of(part)
        .any(|journal| Some(&journal.operation) == gates.operation.as_ref());
    let id = match group.map(Held::read) {
        Some(Ok(Held::Resource(_, group))) => group.id,
        _ => part.to_owned(),
    };
    let found = |damage, key: &str, changes| {
        let found = Found::new(damage, key, &[&id], [group, open, closed]);
        Some(found.mended(Kind::Group.keyword(), &id, "members", changes))
    };
    let opened = || {
        let mut write = gate("", None);
        write.key.clone_from(&open_key);
        Change::Insert(write)
    };
    match (group, open, closed) {
        (None, None, None) | (Some(_), Some(_), None) => None,
        (None, ..) => {
            let changes = open.into_iter().chain(closed).map(deleted).collect();
            let key = if open.is_some() { &open_key } else { &closed_key };
            found(Damage::GateOrphan, key, changes)
        }
        (Some(_), Some(open), Some(closed)) => {
            let change = deleted(if pending { open } else { closed });
            found(Damage::GateDouble, &closed_key, vec![change])
        }
        (Some(_), None, Some(_)) if pending => None,
        (Some(_), None, Some(closed)) => found(Damage::GateStuck, &closed_key, vec![deleted(closed), opened()]),
        (Some(_), None, None) if look.journals_of(part).next().is_some() => None,
        (Some(group), None, None) => {
            let changes = vec![opened(), Change::Touch(group.key.clone())];
            found(Damage::GateMissing, &open_key, changes)
        }
    }
}

pub(super) fn journal(operation: &str, look: &Look) -> Option<Found> {
    let key = rows::journal_key(operation);
    let row = look.row(&key)?;
    let Ok(Held::Journal(body)) = Held::read(row) else {
        return None;
    };
    let [group_key, open_key, closed_key] = rows::gate_keys(&rows::id_part(&body.group));
    let (group, open, closed) = (look.row(&group_key), look.row(&open_key), look.row(&closed_key));
    let mut parts = Vec::with_capacity(body.parts);
    for part in 0..body.parts {
        parts.push(look.row(&rows::event_part_key(operation, part)));
    }
    if parts
        .iter()
        .flatten()
        .any(|part| matches!(Held::read(part), Err(Damage::Newer)))
    {
        return None;
    }
    let gates = Gates::read(open, closed)?;
    let is_ours = gates.operation.as_deref() == Some(operation);
    let ours = gates.closed.filter(|_| is_ours);
    let found = |damage, changes| {
        let found = Found::new(damage, &key, &[&body.group], [Some(row), group, open, closed]);
        Some(found.mended(Kind::Group.keyword(), &body.group, "members", changes))
    };
    let dropped = std::iter::once(row).chain(ours).map(deleted);
    if group.is_none() {
        return found(Damage::JournalOrphan, dropped.collect());
    }
    let is_whole = |part: Option<&Row>| part.is_some_and(|part| Held::read(part).is_ok());
    if body.parts == 0 || !parts.iter().copied().all(is_whole) {
        let reopened = (ours.is_some() && gates.open.is_none()).then(|| Change::Insert(gate(&body.group, None)));
        return found(Damage::JournalLost, dropped.chain(reopened).collect());
    }
    // Another change that is pending comes first.
    let others = look
        .journals_of(&rows::id_part(&body.group))
        .any(|other| other.operation != operation && Some(&other.operation) == gates.operation.as_ref());
    if is_ours || others {
        return None;
    }
    let closing = gate(&body.group, Some(operation));
    let mut changes = vec![
        Change::Touch(key.clone()),
        match gates.closed {
            Some(closed) => Change::Replace(closing, closed.etag.clone()),
            None => Change::Insert(closing),
        },
    ];
    changes.extend(gates.open.map(deleted));
    found(Damage::JournalUngated, changes)
}
