//! From the edits of a group's members that a client asks for to who joins and who leaves.

use std::collections::{HashMap, HashSet};

use futures::future::try_join;

use super::{
    Directory, Error,
    edges::{Seen, Side},
    index,
    memberships::{Sizes, Turn},
};
use crate::{
    rows::{self, EdgeBody},
    scim::{
        attributes::Accepted,
        error::Rule,
        limits::MAX_MEMBERS,
        members::{Change, Edits, Kind, Member, Plan},
        normalize::{Quirk, Trace},
        schema::ResourceType,
    },
    store::MAX_CHANGES,
};

/// What is known of one who may be, or become, a member of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Neighbour {
    /// The group has this member.
    is_member: bool,
    /// What it is, if it is there at all.
    kind: Option<Kind>,
}

/// Those who were read.
pub(super) type Neighbours = HashMap<String, Neighbour>;

/// Makes memberships what they were at one moment, when they were all `seen`.
pub(super) fn correct(neighbours: &mut Neighbours, seen: &Seen) {
    let members: HashSet<&str> = seen.edges.iter().map(|edge| edge.member.as_str()).collect();
    for (id, neighbour) in neighbours {
        neighbour.is_member = members.contains(id.as_str());
    }
}

impl Directory {
    /// The members of a group that is made, as long as they fit into its commit: each taken for what the client says, or
    /// for a user, as most are. The commit finds out who is not, or is not there at all.
    pub(super) fn likely_turn(&self, of: &ResourceType, id: &str, accepted: &Accepted) -> Option<Turn> {
        let Plan::Named(Change { add, .. }) = accepted.members.plan() else {
            return None;
        };
        let values = index::entries(of, &self.access.tenant, id, &accepted.attributes).len();
        // The event, the group, its gate, its part of the total; three changes a member.
        let fits = add.len() <= Sizes::now().at_once && 4 + values + 3 * add.len() <= MAX_CHANGES;
        let joins = add
            .into_iter()
            .map(|member| (member.id, member.kind.unwrap_or(Kind::User)));
        fits.then(|| Turn {
            joins: joins.collect(),
            ..Turn::default()
        })
    }

    /// What the edits change for a group. `neighbours` may know some of those they name already, `all` are its members
    /// if they are known.
    pub(super) async fn turn(
        &self,
        group: &str,
        edits: &Edits,
        mut neighbours: Neighbours,
        all: Option<&Seen>,
        trace: &mut Trace,
    ) -> Result<Turn, Error> {
        match edits.plan() {
            Plan::Nothing => Ok(Turn::default()),
            Plan::Named(change) => {
                let ids = change.add.iter().map(|member| &member.id).chain(&change.remove);
                self.meet(group, ids, &mut neighbours).await?;
                named(group, &change, &neighbours, trace)
            }
            Plan::Whole(members) => {
                let present = self.present(group, all).await?;
                self.meet_strangers(group, &members, &present, &mut neighbours).await?;
                whole(group, &members, &present, &neighbours, trace)
            }
            Plan::Matching(members) => {
                let present = self.present(group, all).await?;
                self.meet_strangers(group, &members, &present, &mut neighbours).await?;
                let present: Vec<Member> = present
                    .into_iter()
                    .map(|(id, kind)| Member { id, kind: Some(kind) })
                    .collect();
                let kind_of = |id: &str| neighbours.get(id).and_then(|neighbour| neighbour.kind);
                let change = edits.apply(&present, kind_of)?;
                if change.remove.len() > MAX_MEMBERS {
                    return Err(Rule::TooManyMembers
                        .error()
                        .with("limit", MAX_MEMBERS.to_string())
                        .into());
                }
                let mut turn = Turn {
                    guarded: true,
                    ..Turn::default()
                };
                for member in &change.add {
                    turn.joins
                        .insert(member.id.clone(), kind(group, member, &neighbours, trace)?);
                }
                turn.leaves.extend(change.remove);
                Ok(turn)
            }
        }
    }

    /// All members of a group.
    async fn present(&self, group: &str, all: Option<&Seen>) -> Result<HashMap<String, Kind>, Error> {
        let members = |seen: &Seen| seen.edges.iter().map(|edge| (edge.member.clone(), edge.kind)).collect();
        if let Some(all) = all {
            return Ok(members(all));
        }
        let all = self.edges(&Side::Members.of(group), usize::MAX).await?;
        Ok(members(&all))
    }

    async fn meet_strangers(
        &self,
        group: &str,
        members: &[Member],
        present: &HashMap<String, Kind>,
        neighbours: &mut Neighbours,
    ) -> Result<(), Error> {
        let strangers = members.iter().map(|member| &member.id);
        self.meet(group, strangers.filter(|id| !present.contains_key(*id)), neighbours)
            .await
    }

    /// Reads those who are not known yet.
    async fn meet<'i>(
        &self,
        group: &str,
        ids: impl Iterator<Item = &'i String>,
        neighbours: &mut Neighbours,
    ) -> Result<(), Error> {
        let unknown: Vec<String> = ids.filter(|id| !neighbours.contains_key(*id)).cloned().collect();
        if !unknown.is_empty() {
            neighbours.extend(self.neighbours(group, &unknown).await?);
        }
        Ok(())
    }

    /// What is known of these, who may be, or become, members of a group.
    pub(super) async fn neighbours(&self, group: &str, ids: &[String]) -> Result<Neighbours, Error> {
        let edges: Vec<String> = ids.iter().map(|id| rows::member_key(group, id)).collect();
        let (edges, kinds) = try_join(self.rows(&edges), self.kinds(ids)).await?;
        let mut neighbours = Neighbours::with_capacity(ids.len());
        for (id, edge) in ids.iter().zip(edges) {
            let edge: Option<EdgeBody> = edge.as_ref().map(rows::body).transpose()?;
            let neighbour = Neighbour {
                is_member: edge.is_some(),
                kind: kinds.get(id).copied(),
            };
            neighbours.insert(id.clone(), neighbour);
        }
        Ok(neighbours)
    }

    /// What those are that there are. Most are users: only who is none is looked for among the groups.
    pub(super) async fn kinds(&self, ids: &[String]) -> Result<HashMap<String, Kind>, Error> {
        let mut kinds = HashMap::with_capacity(ids.len());
        for kind in [Kind::User, Kind::Group] {
            let unknown = ids.iter().filter(|id| !kinds.contains_key(*id));
            let unknown: Vec<(&str, Kind)> = unknown.map(|id| (id.as_str(), kind)).collect();
            let found = self.which_exist(&unknown).await?;
            kinds.extend(found.into_iter().map(|id| (id, kind)));
        }
        Ok(kinds)
    }
}

/// Nothing but the named ones need be known: each row asserts its own part when the change is committed.
fn named(group: &str, change: &Change, neighbours: &Neighbours, trace: &mut Trace) -> Result<Turn, Error> {
    let mut turn = Turn::default();
    for member in &change.add {
        let kind = kind(group, member, neighbours, trace)?;
        let is_member = neighbours[&member.id].is_member;
        let to = if is_member { &mut turn.stays } else { &mut turn.joins };
        to.insert(member.id.clone(), kind);
    }
    for id in &change.remove {
        if neighbours.get(id).is_some_and(|neighbour| neighbour.is_member) {
            turn.leaves.insert(id.clone());
        } else {
            turn.absent.insert(id.clone());
        }
    }
    Ok(turn)
}

fn whole(
    group: &str,
    members: &[Member],
    present: &HashMap<String, Kind>,
    neighbours: &Neighbours,
    trace: &mut Trace,
) -> Result<Turn, Error> {
    let mut turn = Turn {
        whole: true,
        guarded: true,
        ..Turn::default()
    };
    for member in members {
        match present.get(&member.id) {
            Some(kind) => turn.stays.insert(member.id.clone(), *kind),
            None => turn
                .joins
                .insert(member.id.clone(), kind(group, member, neighbours, trace)?),
        };
    }
    let leaves = present.keys().filter(|id| !turn.stays.contains_key(*id));
    turn.leaves = leaves.cloned().collect();
    Ok(turn)
}

/// What a member is, if it may be one.
fn kind(group: &str, member: &Member, neighbours: &Neighbours, trace: &mut Trace) -> Result<Kind, Error> {
    if member.id == group {
        return Err(Rule::OwnMember.at(&member.id).into());
    }
    let kind = neighbours.get(&member.id).and_then(|neighbour| neighbour.kind);
    let kind = kind.ok_or_else(|| Rule::UnknownMember.at(&member.id))?;
    if member.kind.is_some_and(|claimed| claimed != kind) {
        trace.note(Quirk::MemberType, "members.type");
    }
    Ok(kind)
}
