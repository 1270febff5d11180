//! The members of a deleted group that were laid down in a list: their edges are written again, still hidden.

use std::collections::{BTreeSet, HashSet};

use super::{
    super::{
        Directory, Error,
        edges::{Edge, Side},
        in_parallel,
        journal::joins,
        memberships::Sizes,
        pause,
    },
    Remains, Restored, is_list,
};
use crate::{
    rows::{self, FORMAT, TraceBody, TraceStamp},
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
    pub(super) fn extend(&mut self, other: Self) {
        self.waiting.extend(other.waiting);
        self.lost.extend(other.lost);
    }

    pub(super) fn tell(self, restored: Restored) -> Restored {
        Restored {
            waiting_members: self.waiting.into_iter().collect(),
            lost_members: self.lost.into_iter().collect(),
            ..restored
        }
    }
}

impl Remains {
    /// Whether members lack their edges.
    pub(super) fn has_members_to_take_up(&self) -> bool {
        self.laid_down || !self.members.is_empty()
    }
}

impl Directory {
    /// Writes the edges of a deleted group's members again and forgets the list of them; returns those who are not there.
    /// Hidden as they are, all show with the commit that brings the group back. It is the caller's to look again: others may
    /// be at it.
    pub(super) async fn take_up_members(&self, remains: &Remains) -> Result<Absent, Error> {
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
                return Ok(Absent::default());
            };
            let list = self.rows(&[rows::gone_members_key(group, 0)]).await?.pop().flatten();
            if list.is_some() != remains.laid_down {
                return Ok(Absent::default());
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
                        return Ok(absent);
                    }
                }
                continue;
            }
            let chunks = missing.chunks(Sizes::now().chunk());
            let chunks = chunks.map(|chunk| self.while_gone(&trace, chunk.iter().flat_map(joins).collect()));
            in_parallel(chunks.collect()).await?;
        }
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
