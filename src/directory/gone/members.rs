//! The members of a deleted group that are laid down in a list, so that nobody reads a row which hides their edges any more; and
//! whose edges are written again, still hidden, when it is to come back.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    super::{
        Directory, Error,
        edges::{Edge, Side},
        in_parallel,
        journal::{Journal, joins},
        memberships::Sizes,
        pause,
        pending::Gone,
    },
    Remains, Restored, is_list,
};
use crate::{
    rows::{self, FORMAT, MembersBody, TraceBody, TraceStamp},
    scim::members::Kind,
    store::{Change, ETag, MAX_CHANGES, Row, Write},
};

/// Members that are not there when their group comes back.
#[derive(Default)]
pub(super) struct Absent {
    /// Deleted ones, who may come back.
    waiting: BTreeSet<String>,
    lost: BTreeSet<String>,
}

impl Absent {
    /// With what was learnt later of these members.
    pub(super) fn update(&mut self, members: &BTreeMap<String, Kind>, later: Self) {
        for absent in [&mut self.waiting, &mut self.lost] {
            absent.retain(|id| !members.contains_key(id));
        }
        self.waiting.extend(later.waiting);
        self.lost.extend(later.lost);
    }

    pub(super) fn tell(self, restored: Restored) -> Restored {
        Restored {
            waiting_members: self.waiting.into_iter().collect(),
            lost_members: self.lost.into_iter().collect(),
            ..restored
        }
    }
}

/// A deleted group's list of members.
#[derive(Default)]
struct List {
    members: HashSet<String>,
    keys: HashSet<String>,
    is_complete: bool,
}

impl Remains {
    /// Whether members lack their edges.
    pub(super) fn has_members_to_take_up(&self) -> bool {
        self.laid_down || !self.members.is_empty()
    }
}

impl Directory {
    /// Writes the edges of a deleted group's members again and forgets the list of them; returns those who are not there, if it
    /// came to its end. Hidden as they are, all show with the commit that brings the group back. It is the caller's to look
    /// again: others may be at it.
    pub(super) async fn take_up_members(&self, remains: &Remains) -> Result<Option<Absent>, Error> {
        let members = &remains.members;
        let trace = self.hide_again(remains).await?;
        let group = &trace.id;
        let edge = |id: &String| Edge {
            group: group.clone(),
            member: id.clone(),
            kind: members[id],
        };
        loop {
            let Some(hiding) = self.rows(&[trace.edges_left_key()]).await?.pop().flatten() else {
                return Ok(None);
            };
            let list = self.rows(&[rows::gone_members_key(group, 0)]).await?.pop().flatten();
            if list.is_some() != remains.laid_down {
                return Ok(None);
            }
            let standing = self.standing(&Side::Members.of(group)).await?;
            let standing: HashSet<String> = standing.into_iter().map(|edge| edge.member).collect();
            // A user who has an edge and was deleted since knows of the group. A group may have been deleted without knowing.
            let others = members
                .iter()
                .filter(|(id, kind)| **kind == Kind::Group || !standing.contains(*id));
            let others: Vec<(&str, Kind)> = others.map(|(id, kind)| (id.as_str(), *kind)).collect();
            let there = self.which_exist(&others).await?;
            let missing: Vec<Edge> = there.difference(&standing).map(edge).collect();
            if missing.is_empty() {
                let Some(absent) = self.absent(&others, &there).await? else {
                    pause().await;
                    continue;
                };
                let waiting: Vec<Edge> = absent.waiting.iter().map(edge).collect();
                match self.let_wait(&trace, &waiting).await {
                    // Everything is looked at again.
                    Ok(false) => {}
                    Err(error) if self.worth_another_try(&error) => pause().await,
                    Err(error) => return Err(error),
                    Ok(true) => {
                        self.forget_list(remains, &trace, &hiding).await?;
                        return Ok(Some(absent));
                    }
                }
                continue;
            }
            let chunks = missing.chunks(Sizes::now().chunk());
            let chunks = chunks.map(|chunk| self.while_gone(&trace, chunk.iter().flat_map(joins).collect()));
            in_parallel(chunks.collect()).await?;
        }
    }

    /// Lists the members of a deleted group beside its tombstone, and removes their edges: of those only who are listed by then.
    /// A restore that was cut off may have written the edge of somebody who was in an earlier list and is in none now.
    pub(in crate::directory) async fn lay_down_members(&self, gone: &Gone) -> Result<usize, Error> {
        let edges = self.standing(&Side::Members.of(&gone.trace.id)).await?;
        if edges.is_empty() {
            self.show_again(gone).await?;
            return Ok(1);
        }
        let gone = &gone.trace;
        let list = self.list_of(gone).await?;
        let unlisted: Vec<&Edge> = edges
            .iter()
            .filter(|edge| !list.members.contains(&edge.member))
            .collect();
        if !unlisted.is_empty() {
            self.add_to_list(gone, &list, &unlisted).await?;
        }
        // Somebody else may have been faster.
        let list = self.list_of(gone).await?;
        let listed = edges.into_iter().filter(|edge| list.members.contains(&edge.member));
        let listed: Vec<Edge> = listed.collect();
        self.end_members(gone, &listed, Some(&rows::gone_members_key(&gone.id, 0)))
            .await?;
        Ok(listed.len())
    }

    /// The members that a deleted group has laid down; none as long as the list is not complete.
    async fn list_of(&self, gone: &TraceBody) -> Result<List, Error> {
        let mut list = List::default();
        for row in self
            .all_rows(&rows::range(&rows::gone_members_prefix(&gone.id)))
            .await?
        {
            let body: MembersBody = rows::body(&row)?;
            list.is_complete |= row.key == rows::gone_members_key(&gone.id, 0) && body.is_of(&gone.operation);
            list.members.extend(body.users.into_iter().chain(body.groups));
            list.keys.insert(row.key);
        }
        if !list.is_complete {
            list.members.clear();
        }
        Ok(list)
    }

    /// Writes no part again: edges of those in it may have gone since.
    async fn add_to_list(&self, gone: &TraceBody, list: &List, members: &[&Edge]) -> Result<(), Error> {
        let members = Journal {
            joins: members.iter().map(|edge| (edge.member.clone(), edge.kind)).collect(),
            ..Journal::default()
        };
        let first = rows::gone_members_key(&gone.id, 0);
        let free = (0..rows::MAX_EVENT_PARTS).map(|part| rows::gone_members_key(&gone.id, part));
        let free = free.filter(|key| !list.keys.contains(key));
        let parts: Vec<_> = free.zip(members.parts()).collect();
        // The first part is written last: with it the list is complete.
        for (key, mut body) in parts.into_iter().rev() {
            body.deletion.clone_from(&gone.operation);
            let mut changes = vec![Change::Insert(rows::write(key, &body))];
            changes.extend(list.is_complete.then(|| Change::Touch(first.clone())));
            self.while_gone(gone, changes).await?;
        }
        Ok(())
    }

    /// Which of these members are not there; nothing if one of them came back while this looked.
    pub(super) async fn absent(
        &self,
        members: &[(&str, Kind)],
        there: &HashSet<String>,
    ) -> Result<Option<Absent>, Error> {
        let absent = members.iter().filter(|(id, _)| !there.contains(*id));
        let kept = self
            .kept(absent.map(|(id, kind)| ((*id).to_owned(), *kind)).collect())
            .await?;
        Ok(kept.map(|(waiting, lost)| Absent {
            waiting: waiting.into_iter().collect(),
            lost: lost.into_iter().collect(),
        }))
    }

    /// The row that hides the edges, written again if it is there no more.
    async fn hide_again(&self, remains: &Remains) -> Result<TraceBody, Error> {
        if let Some(hidden) = &remains.hidden {
            return Ok(hidden.trace.clone());
        }
        let trace = TraceBody {
            format: FORMAT,
            id: remains.was.envelope.id.clone(),
            operation: remains.was.envelope.version.clone(),
            time: self.ambient.now(),
            resource_type: remains.kind.keyword().to_owned(),
        };
        // Stamped: it tells that the edges are not as the deletion has left them.
        let row = Write {
            stamp: rows::encode(&TraceStamp {
                format: FORMAT,
                time: trace.time,
            }),
            ..rows::write(trace.edges_left_key(), &trace)
        };
        let changes = [Change::Touch(rows::gone_key(&trace.id)), Change::Insert(row)];
        match self.commit_patiently(&changes).await {
            Err(error) if !self.worth_another_try(&error) => Err(error),
            _ => Ok(trace),
        }
    }

    /// Forgets the list as it was read, if nobody has done anything since the edges were all there: its first part first,
    /// without which it is none.
    async fn forget_list(&self, remains: &Remains, trace: &TraceBody, hiding: &Row) -> Result<(), Error> {
        let first = rows::gone_members_key(&trace.id, 0);
        let goes = |(key, _): &&(String, ETag)| {
            let listed = remains.laid_down && is_list(key);
            listed
                || remains
                    .waiting
                    .iter()
                    .any(|(row, edge)| row == key && edge.group == trace.id)
        };
        let mut list: Vec<&(String, ETag)> = remains.parts.iter().filter(goes).collect();
        list.sort_by_key(|(key, _)| *key != first);
        let stamp = rows::encode(&TraceStamp {
            format: FORMAT,
            time: self.ambient.now(),
        });
        for (at, keys) in list.chunks(MAX_CHANGES - 1).enumerate() {
            let guard = (at == 0).then(|| hiding.etag.clone());
            let mut changes = vec![Change::Stamp(trace.edges_left_key(), stamp.clone(), guard)];
            changes.extend(
                keys.iter()
                    .map(|(key, etag)| Change::Delete(key.clone(), Some(etag.clone()))),
            );
            match self.commit_patiently(&changes).await {
                Ok(()) => {}
                // The next look tells how far this came.
                Err(error) if self.worth_another_try(&error) => {
                    pause().await;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
