//! The memberships that an answer shows: `members` of a group, `groups` of a user.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    Directory, Error, Stored,
    edges::{Edge, Range, Seen, Side},
    in_parallel,
};
use crate::{
    rows::Operation,
    scim::{
        limits::MAX_GROUP_LEVELS,
        members::{Link, Member},
        projection::Selection,
        schema::ResourceType,
    },
};

/// Looks at a group that is being changed, before its members are shown beside an older version.
const MAX_LOOKS: usize = 5;

/// Members in the answer to a write that did not ask for them by name.
pub(super) const SHOWN_MEMBERS: usize = 100;

/// Which memberships an answer shows: reading them costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Any.
    pub(super) direct: bool,
    /// Of a user, also those through groups in groups.
    indirect: bool,
    /// However many there are.
    pub(super) all: bool,
}

impl Shown {
    /// What the answer to a read shows, as its selection says.
    pub fn read(of: &ResourceType, selection: &Selection) -> Self {
        let Some(attribute) = attribute(of) else {
            return Self::default();
        };
        Self {
            direct: selection.includes(of, attribute),
            indirect: of.members().is_none() && selection.names(attribute),
            all: true,
        }
    }

    /// What the answer to a write shows: as a read, but many members only if they are asked for by name. Entra and Okta
    /// never look at them.
    pub fn written(of: &ResourceType, selection: &Selection) -> Self {
        let named = attribute(of).is_some_and(|attribute| selection.names(attribute));
        Self {
            all: named,
            ..Self::read(of, selection)
        }
    }

    /// How many are read: no more than are shown.
    pub(super) fn limit(self, of: &ResourceType) -> usize {
        match side(of) {
            Side::Members if !self.all => SHOWN_MEMBERS,
            _ => usize::MAX,
        }
    }

    /// Where they are, if any are shown.
    pub(super) fn range(self, of: &ResourceType, id: &str) -> Option<Range> {
        self.direct.then(|| side(of).of(id))
    }
}

/// The attribute that shows memberships.
pub(super) fn attribute(of: &ResourceType) -> Option<&'static str> {
    let attribute = if of.members().is_some() { "members" } else { "groups" };
    of.attribute(attribute).map(|_| attribute)
}

/// From which end a type's memberships are looked at.
pub(super) fn side(of: &ResourceType) -> Side {
    if of.members().is_some() {
        Side::Members
    } else {
        Side::Groups
    }
}

/// Memberships as a document shows them.
#[derive(Clone, Debug)]
pub(super) enum Links {
    /// Of a group.
    Members(Vec<Member>),
    /// Of a user: first the direct ones, then as many others.
    Groups(Vec<String>, Vec<String>),
}

impl Links {
    /// What is shown of one resource's memberships.
    pub(super) fn shown(of: &ResourceType, edges: Seen, shown: Shown) -> Option<Self> {
        if !shown.direct
            || (!shown.all && side(of) == Side::Members && (edges.more || edges.edges.len() > SHOWN_MEMBERS))
        {
            return None;
        }
        Some(Self::of(side(of), edges.edges))
    }

    pub(super) fn of(side: Side, edges: Vec<Edge>) -> Self {
        match side {
            Side::Members => Self::Members(edges.into_iter().map(Edge::into_member).collect()),
            Side::Groups => Self::Groups(edges.into_iter().map(|edge| edge.group).collect(), Vec::new()),
        }
    }

    /// The members, if they are many; with the attribute that shows them.
    pub(super) fn many_members(&self) -> Option<(&'static str, &[Member])> {
        match self {
            Self::Members(members) if members.len() > SHOWN_MEMBERS => Some(("members", members)),
            _ => None,
        }
    }

    /// Adds the attribute to a document.
    pub(super) fn add_to(&self, document: &mut Map<String, Value>, base_url: &str) {
        match self {
            Self::Members(members) => {
                let links = members
                    .iter()
                    .map(|member| Link::member(member, None).to_value(base_url));
                set(document, "members", links.collect());
            }
            Self::Groups(direct, indirect) => {
                let direct = direct.iter().map(|id| Link::group(id, true, None));
                let links = direct.chain(indirect.iter().map(|id| Link::group(id, false, None)));
                set(document, "groups", links.map(|link| link.to_value(base_url)).collect());
            }
        }
    }
}

/// Unassigned and empty are the same (RFC 7643 §2.5).
fn set(document: &mut Map<String, Value>, attribute: &str, values: Vec<Value>) {
    if !values.is_empty() {
        document.insert(attribute.to_owned(), Value::Array(values));
    }
}

impl Directory {
    /// Whether these are a group's members as they are in this version of it, or later, if it is an old one.
    pub(super) fn agree(&self, stored: &Stored, seen: &Seen) -> bool {
        if stored.members.is_empty() {
            // Whatever was read in the same request, the group's last change is in it.
            let changed = Operation::time_of(&stored.envelope.version).unwrap_or(stored.envelope.last_modified);
            return !self.is_recent(changed) && seen.version <= stored.envelope.version;
        }
        stored.members == seen.version
    }

    /// A group and its members one after the other, again if somebody came in between: its version must never be newer
    /// than the members that stand beside it, or nobody would ask for the newer ones.
    pub(super) async fn read_until_they_agree(
        &self,
        of: &ResourceType,
        id: &str,
        (range, limit): (&Range, usize),
    ) -> Result<(Stored, Seen), Error> {
        let (mut stored, mut seen) = (self.read_one(of, id).await?, self.edges(range, limit).await?);
        for _ in 1..MAX_LOOKS {
            // Many members are not of one moment anyway.
            if seen.split {
                break;
            }
            let now = self.read_one(of, id).await?;
            if now.envelope.version == stored.envelope.version {
                break;
            }
            (stored, seen) = (now, self.edges(range, limit).await?);
        }
        Ok((stored, seen))
    }

    /// What is shown of one resource's memberships.
    pub(super) async fn links(&self, of: &ResourceType, seen: Seen, shown: Shown) -> Result<Option<Links>, Error> {
        let mut links = Links::shown(of, seen, shown);
        if let (Some(Links::Groups(direct, indirect)), true) = (&mut links, shown.indirect) {
            *indirect = self.groups_above(direct).await?;
        }
        Ok(links)
    }

    /// The groups that these are members of, and so on: one round trip a level.
    async fn groups_above(&self, direct: &[String]) -> Result<Vec<String>, Error> {
        let mut seen: HashSet<String> = direct.iter().cloned().collect();
        let mut level: Vec<String> = direct.to_vec();
        let mut above = Vec::new();
        for _ in 1..MAX_GROUP_LEVELS {
            let ranges: Vec<Range> = level.iter().map(|id| Side::Groups.of(id)).collect();
            let found = in_parallel(ranges.iter().map(|range| self.edges(range, usize::MAX)).collect()).await?;
            level = found
                .into_iter()
                .flat_map(|edges| edges.edges)
                .map(|edge| edge.group)
                .filter(|group| seen.insert(group.clone()))
                .collect();
            if level.is_empty() {
                break;
            }
            above.extend(level.iter().cloned());
        }
        Ok(above)
    }
}
