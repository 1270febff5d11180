//! What events say that they changed.

use std::collections::HashSet;

use crate::{
    rows::{self, EventBody, FormatError, Key, MembersBody},
    store::{Row, settle},
};

/// Names that a round remembers; one that meets more is not the last.
const MAX_NAMES: usize = 100_000;

/// What events name: what stands in keys for resources' ids, and keyed hashes of what they are called.
#[derive(Default)]
pub(super) struct Names {
    pub(super) names: HashSet<String>,
    /// They name more than is remembered, or somebody whom they don't spell out.
    pub(super) are_more: bool,
}

impl Names {
    pub(super) fn add(&mut self, event: &Event) {
        self.are_more |= event.names_all_members() || self.names.len() > MAX_NAMES;
        if !self.are_more {
            self.names.extend(event.names().map(rows::id_part));
        }
    }

    pub(super) fn meet(&self, event: &Event) -> bool {
        self.are_more
            || event.names_all_members()
            || event.names().any(|name| self.names.contains(&rows::id_part(name)))
    }
}

/// An event, and the row that it stands in.
pub(super) struct Event {
    pub(super) operation: String,
    pub(super) body: EventBody,
}

impl Event {
    /// Nothing if the row changed nothing: what was refused, what never took effect.
    pub(super) fn read(row: &Row) -> Result<Option<Self>, FormatError> {
        let Some(Key::Event(operation)) = Key::parse(&row.key) else {
            return Ok(None);
        };
        if row.stamp == settle::BARRED {
            return Ok(None);
        }
        let body: EventBody = rows::body(row)?;
        let operation = operation.to_owned();
        Ok((body.kind != "refuse").then_some(Self { operation, body }))
    }

    /// Memberships change that the event does not name one by one.
    pub(super) fn names_all_members(&self) -> bool {
        let is_whole = self.body.members.as_ref().is_some_and(|members| members.whole);
        is_whole || self.body.parts > 0 || (!self.is_plain() && self.body.members.is_none())
    }

    /// It says all that it changed.
    pub(super) fn is_plain(&self) -> bool {
        matches!(&*self.body.kind, "create" | "replace" | "patch" | "import")
    }

    /// Others' tombstones may have changed with it.
    pub(super) fn is_restore(&self) -> bool {
        self.body.kind == "restore"
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let members = self.body.members.iter().flat_map(named);
        let own = self
            .body
            .subjects
            .iter()
            .chain(&self.body.groups)
            .chain([&self.body.id]);
        own.map(String::as_str).chain(members)
    }
}

pub(super) fn named(members: &MembersBody) -> impl Iterator<Item = &str> {
    let all = members.users.iter().chain(&members.groups).chain(&members.leave);
    all.map(String::as_str)
}

pub(super) fn is_event(row: &Row) -> bool {
    matches!(Key::parse(&row.key), Some(Key::Event(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::{Ambient, System};

    /// Of a request, or of a line that is imported, everything is read again by what it names; an import has more of them a
    /// second than anybody could follow otherwise.
    #[test]
    fn what_requests_and_imports_change_is_named() {
        for (kind, names_all) in [
            ("create", true),
            ("replace", true),
            ("patch", true),
            ("import", true),
            ("delete", false),
            ("restore", false),
            ("erase", false),
            ("repair", false),
            ("of a later version", false),
        ] {
            let body = EventBody::new(kind, ("User", "bjensen"), "test", System.now());
            let operation = "o".to_owned();
            let event = Event { operation, body };
            assert_eq!(event.names_all_members(), !names_all, "{kind}");
        }
    }
}
