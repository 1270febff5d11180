//! Memberships: two rows each, and what they link.

use super::{Damage, Found, Held, Leaves, Look, deleted};
use crate::{
    directory::edges::{Edge, body, resource_key},
    rows,
    scim::members::Kind,
    store::{Change, Row},
};

/// A membership as one look found it.
struct Membership<'l> {
    group: &'l str,
    member: &'l str,
    /// Its rows, seen from the group and from the member, and what each holds if it makes sense.
    forward: Option<&'l Row>,
    reverse: Option<&'l Row>,
    held: [Option<Edge>; 2],
    /// The group.
    owner: Option<&'l Row>,
    /// The group is deleted, and its memberships are kept for its restore.
    owner_is_hidden: bool,
    /// What the member is, if it is there.
    kinds: Vec<Kind>,
    /// The member is deleted, and its memberships are being removed.
    member_is_hidden: bool,
}

pub(super) fn edge(group: &str, member: &str, look: &Look) -> Option<Found> {
    let membership = Membership::read(group, member, look)?;
    match (membership.forward, membership.reverse) {
        (None, None) => None,
        // The group decides: whoever adds or removes a member looks there.
        (None, Some(reverse)) => Some(membership.found(Damage::ForwardMissing, &reverse.key, vec![deleted(reverse)])),
        (Some(forward), reverse) => {
            let known = membership.held.iter().flatten().next()?;
            if membership.lacks_an_end() {
                return Some(membership.removed(forward));
            }
            membership.rewritten(forward, reverse, known)
        }
    }
}

impl<'l> Membership<'l> {
    /// Nothing if a newer version wrote one of its rows.
    fn read(group: &'l str, member: &'l str, look: &'l Look) -> Option<Self> {
        let forward = look.row(&rows::member_key(group, member));
        let reverse = look.row(&rows::membership_key(member, group));
        let is_there = |kind: &Kind| look.row(&resource_key(member, *kind)).is_some();
        let is_hidden = |id: &str| look.hides(id);
        let membership = Self {
            group,
            member,
            forward,
            reverse,
            held: [forward, reverse].map(|row| match row.map(Held::read) {
                Some(Ok(Held::Edge { edge, .. })) => Some(edge),
                _ => None,
            }),
            owner: look.row(&resource_key(group, Kind::Group)),
            owner_is_hidden: is_hidden(group),
            kinds: [Kind::User, Kind::Group].into_iter().filter(is_there).collect(),
            member_is_hidden: is_hidden(member),
        };
        let is_newer = |row: &Row| matches!(Held::read(row), Err(Damage::Newer));
        let newer = forward.is_some_and(is_newer) || reverse.is_some_and(is_newer);
        (!newer).then_some(membership)
    }

    fn lacks_an_end(&self) -> bool {
        let group = self.owner.is_some() || self.owner_is_hidden;
        // What removes the memberships of a deleted member finds them by their reverse rows.
        let member = !self.kinds.is_empty() || (self.member_is_hidden && self.reverse.is_some());
        !group || !member
    }

    fn removed(&self, forward: &Row) -> Found {
        let rows = [Some(forward), self.reverse];
        let ends = rows.into_iter().flatten().map(deleted).collect();
        let mut found = self.found(Damage::EndMissing, &forward.key, ends);
        if let (Some(mend), Some(Ok(Held::Resource(_, owner)))) = (&mut found.mend, self.owner.map(Held::read)) {
            mend.leaves = Some(Leaves {
                member: self.member.to_owned(),
                stamp: owner.stamp.stamp,
            });
        }
        found
    }

    /// Both rows as they should be, if one is not.
    fn rewritten(&self, forward: &Row, reverse: Option<&Row>, known: &Edge) -> Option<Found> {
        let kind = *self
            .kinds
            .iter()
            .find(|kind| **kind == known.kind)
            .or(self.kinds.first())?;
        let right = Edge { kind, ..known.clone() };
        if self.held.iter().all(|held| held.as_ref() == Some(&right)) {
            return None;
        }
        let write = |key: String| rows::write(key, &body(&right));
        let reverse_key = rows::membership_key(self.member, self.group);
        let changes = vec![
            // Written also if it is right already: it must be as it was seen.
            Change::Replace(write(forward.key.clone()), forward.etag.clone()),
            match reverse {
                Some(reverse) => Change::Replace(write(reverse_key.clone()), reverse.etag.clone()),
                None => Change::Insert(write(reverse_key.clone())),
            },
            Change::Touch(resource_key(self.member, kind)),
        ];
        Some(match reverse {
            None => self.found(Damage::ReverseMissing, &reverse_key, changes),
            Some(_) => self.found(Damage::EdgeDiffers, &forward.key, changes),
        })
    }

    fn found(&self, damage: Damage, key: &str, changes: Vec<Change>) -> Found {
        let seen = [self.forward, self.reverse];
        let found = Found::new(damage, key, &[self.group, self.member], seen);
        found.mended(Kind::Group.keyword(), self.group, "members", changes)
    }
}
