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
    Remains,
};
use crate::{
    rows::{self, FORMAT, TraceBody, TraceStamp},
    scim::members::Kind,
    store::{self, Change, MAX_CHANGES, Row},
};

impl Directory {
    /// Writes the edges of a deleted group's members again and forgets the list of them; returns those who are gone. Hidden as
    /// they are, all show with the commit that brings the group back. It is the caller's to look again: others may be at it.
    pub(super) async fn take_up_members(&self, remains: &Remains) -> Result<BTreeSet<String>, Error> {
        let Some(members) = &remains.members else {
            return Ok(BTreeSet::new());
        };
        let trace = self.hide_again(remains).await?;
        let group = &trace.id;
        let ids: Vec<(&str, Kind)> = members.iter().map(|(id, kind)| (id.as_str(), *kind)).collect();
        loop {
            let Some(hiding) = self.rows(&[trace.edges_left_key()]).await?.pop().flatten() else {
                return Ok(BTreeSet::new());
            };
            let standing = self.standing(&Side::Members.of(group)).await?;
            let standing: HashSet<String> = standing.into_iter().map(|edge| edge.member).collect();
            let there = self.which_exist(&ids).await?;
            let missing = members
                .iter()
                .filter(|(id, _)| there.contains(*id) && !standing.contains(*id));
            let missing: Vec<Edge> = missing
                .map(|(id, kind)| Edge {
                    group: group.clone(),
                    member: id.clone(),
                    kind: *kind,
                })
                .collect();
            if missing.is_empty() {
                self.forget_list(remains, &trace, &hiding).await?;
                let gone = members.keys().filter(|id| !there.contains(*id));
                return Ok(gone.cloned().collect());
            }
            let chunks = missing.chunks(Sizes::now().chunk());
            let chunks = chunks.map(|chunk| self.while_gone(&trace, chunk.iter().flat_map(joins).collect()));
            in_parallel(chunks.collect()).await?;
        }
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
        let changes = [
            Change::Touch(rows::gone_key(&trace.id)),
            Change::Insert(rows::write(trace.edges_left_key(), &trace)),
        ];
        match self.store.commit(&self.access.tenant.id, &changes).await {
            Ok(()) | Err(store::Error::Exists(_) | store::Error::Missing(_) | store::Error::Unknown(_)) => Ok(trace),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets the list, if nobody has done anything since the edges were all there: its first part first, without which it
    /// is none.
    async fn forget_list(&self, remains: &Remains, trace: &TraceBody, hiding: &Row) -> Result<(), Error> {
        let first = rows::gone_members_key(&trace.id, 0);
        let list = remains.parts.iter().map(|(key, _)| key).filter(|key| is_list(key));
        let mut list: Vec<&String> = list.collect();
        list.sort_by_key(|key| **key != first);
        let stamp = rows::encode(&TraceStamp {
            format: FORMAT,
            time: self.ambient.now(),
        });
        for (at, keys) in list.chunks(MAX_CHANGES - 1).enumerate() {
            let guard = (at == 0).then(|| hiding.etag.clone());
            let mut changes = vec![Change::Stamp(trace.edges_left_key(), stamp.clone(), guard)];
            changes.extend(keys.iter().map(|key| Change::Delete((*key).clone(), None)));
            match self.store.commit(&self.access.tenant.id, &changes).await {
                Ok(()) => {}
                Err(store::Error::TooLarge(what)) => return Err(store::Error::TooLarge(what).into()),
                // The next look tells how far this came.
                Err(_) => {
                    pause().await;
                    break;
                }
            }
        }
        Ok(())
    }
}

fn is_list(key: &str) -> bool {
    matches!(rows::Key::parse(key), Some(rows::Key::TombstoneMembers(_)))
}
