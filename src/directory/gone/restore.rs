//! Bringing back: the resource as it was, with the memberships whose other end is there.

use std::collections::BTreeSet;

use time::Duration;

use super::{
    super::{
        Directory, Error,
        edit::spreading,
        index,
        memberships::{Memberships, Return, Sizes, left_to_join, rejoins},
        pause,
        write::{Draft, Kind as Deed},
    },
    Denied, Remains,
};
use crate::{
    directory::edges::Edge,
    rows::{self, EventBody, Key, MembersBody, Operation, Stamp},
    scim::members::Kind,
    store::{Change, ETag, Row, settle},
};

/// Changes of a restore beside those of values and memberships: event, resource, tombstone, part of the total, gate, groups
/// that are to be joined later.
const FIXED: usize = 6;
/// Changes for each group that is joined.
const PER_GROUP: usize = 4;

/// What came back.
#[derive(Debug)]
pub struct Restored {
    /// Its type.
    pub kind: Kind,
    /// The groups that it is a member of again.
    pub groups: Vec<String>,
    /// The groups that it was a member of, and that are gone.
    pub lost_groups: Vec<String>,
    /// Of a group: the members that it had, and that are gone.
    pub lost_members: Vec<String>,
}

/// Groups that somebody was in.
struct Ways {
    /// Those that are there, and that it is not in yet.
    open: Vec<String>,
    /// Those that it is in.
    joined: Vec<String>,
    lost: Vec<String>,
    /// The newest stamp among them.
    newest: u64,
}

impl Directory {
    /// Brings a deleted resource back, if it was deleted less than `retention` ago; with `dry_run` only tells what would come
    /// back. One that came back and could not join all its groups in time joins the others when this is called again.
    ///
    /// # Errors
    ///
    /// Any of [`Denied`].
    pub async fn restore(&self, id: &str, retention: Duration, dry_run: bool) -> Result<Restored, Denied> {
        let mut lost_members = BTreeSet::new();
        loop {
            let remains = match self.remains(id).await {
                Err(Denied::There(kind)) if !dry_run => return self.join_the_others(kind, id).await,
                remains => remains?,
            };
            let (deleted, until) = (remains.deleted(), remains.deleted() + retention);
            if remains.erased {
                return Err(Denied::Erased(deleted));
            }
            if until <= self.ambient.now() {
                return Err(Denied::Past(deleted, until));
            }
            if dry_run {
                self.would_be_taken(&remains).await?;
                return Ok(self.outlook(&remains).await?);
            }
            self.open_gates(&remains.groups).await?;
            let mut ways = self.ways(id, &remains.groups).await?;
            if remains.members.is_some() {
                lost_members.extend(self.take_up_members(&remains).await?);
                continue;
            }
            if let (false, Some(hidden)) = (remains.standing.is_empty(), &remains.hidden) {
                self.end_memberships(&hidden.trace).await?;
                continue;
            }
            match self.bring_back(remains, &ways).await {
                Err(error) if self.worth_another_try(&error) => pause().await,
                Err(error) => return Err(error.into()),
                Ok((kind, joins_more)) => {
                    if joins_more {
                        let (_, lost) = self.join_later(kind, id).await?;
                        ways.open.retain(|group| !lost.contains(group));
                        ways.lost.extend(lost);
                    }
                    return Ok(Restored {
                        kind,
                        groups: [ways.open, ways.joined].concat(),
                        lost_groups: ways.lost,
                        lost_members: lost_members.into_iter().collect(),
                    });
                }
            }
        }
    }

    /// One try; tells whether there are groups that it is still to join.
    async fn bring_back(&self, mut remains: Remains, ways: &Ways) -> Result<(Kind, bool), Error> {
        let (kind, id) = (remains.kind, remains.was.envelope.id.clone());
        let of = self.type_of(kind);
        remains.was.stamp = remains.was.stamp.max(ways.newest);
        let ends = [remains.parts, remains.hiding].concat();
        let values = index::entries(&of, &self.access.tenant, &id, &remains.was.attributes).len();
        let room = Sizes::now().changes.saturating_sub(FIXED + values + ends.len()) / PER_GROUP;
        let (now, later) = ways.open.split_at(room.min(ways.open.len()));
        let joins = now.iter().map(|group| edge(group, &id, kind)).collect();
        let later = later.to_vec();
        let joins_more = !later.is_empty();
        let draft = Draft {
            of: &of,
            id: &id,
            kind: Deed::Restore,
            before: Some(&remains.was),
            after: Some(&remains.was.attributes),
            memberships: Memberships::Return(Return { joins, later, ends }),
            guarded: true,
        };
        self.write(&draft).await?;
        Ok((kind, joins_more))
    }

    /// What a restore would bring.
    async fn outlook(&self, remains: &Remains) -> Result<Restored, Error> {
        let ways = self.ways(&remains.was.envelope.id, &remains.groups).await?;
        let mut lost_members = Vec::new();
        if let Some(members) = &remains.members {
            let ids: Vec<(&str, Kind)> = members.iter().map(|(id, kind)| (id.as_str(), *kind)).collect();
            let there = self.which_exist(&ids).await?;
            lost_members.extend(members.keys().filter(|id| !there.contains(*id)).cloned());
        }
        Ok(Restored {
            kind: remains.kind,
            groups: [ways.open, ways.joined].concat(),
            lost_groups: ways.lost,
            lost_members,
        })
    }

    /// Fails if somebody holds one of its unique values.
    async fn would_be_taken(&self, remains: &Remains) -> Result<(), Denied> {
        let of = self.type_of(remains.kind);
        let id = &remains.was.envelope.id;
        for (key, entry) in index::entries(&of, &self.access.tenant, id, &remains.was.attributes) {
            if entry.index.unique
                && let Some(refused) = self.taken(&of, &key, entry.index.attribute()).await?
            {
                return Err(Error::from(refused).into());
            }
        }
        Ok(())
    }

    /// Finishes what is being spread over these groups, so that they can be joined.
    async fn open_gates(&self, groups: &[String]) -> Result<(), Error> {
        let gates: Vec<String> = groups.iter().map(|group| rows::closed_gate_key(group)).collect();
        for gate in self.rows(&gates).await?.into_iter().flatten() {
            self.finish(&spreading(&gate)?).await?;
        }
        Ok(())
    }

    /// What has become of these groups.
    async fn ways(&self, member: &str, groups: &[String]) -> Result<Ways, Error> {
        let mut ways = Ways {
            open: Vec::new(),
            joined: Vec::new(),
            lost: Vec::new(),
            newest: 0,
        };
        let edges: Vec<String> = groups.iter().map(|group| rows::member_key(group, member)).collect();
        let edges = self.rows(&edges).await?;
        let keys: Vec<String> = groups.iter().map(|group| rows::resource_key("g", group)).collect();
        let stamp_of = |row: Option<&Row>| Ok(row.map(rows::stamp).transpose()?);
        let stamps: Vec<Option<Stamp>> = self.each(&keys, stamp_of).await?;
        for ((group, stamp), edge) in groups.iter().zip(stamps).zip(edges) {
            let to = match (&stamp, edge) {
                (None, _) => &mut ways.lost,
                (Some(_), Some(_)) => &mut ways.joined,
                (Some(_), None) => &mut ways.open,
            };
            to.push(group.clone());
            ways.newest = ways.newest.max(stamp.map_or(0, |stamp| stamp.stamp));
        }
        Ok(ways)
    }

    /// Goes on with a restore that was cut off.
    async fn join_the_others(&self, kind: Kind, id: &str) -> Result<Restored, Denied> {
        let (groups, lost_groups) = self.join_later(kind, id).await?;
        if groups.is_empty() && lost_groups.is_empty() {
            return Err(Denied::There(kind));
        }
        Ok(Restored {
            kind,
            groups,
            lost_groups,
            lost_members: Vec::new(),
        })
    }

    /// Joins the groups that did not fit into the restore's commit, a few with each; what is left to do stands beside it.
    /// Returns those it has joined, and those that are gone.
    async fn join_later(&self, kind: Kind, id: &str) -> Result<(Vec<String>, Vec<String>), Error> {
        let (mut joined, mut lost) = (Vec::new(), Vec::new());
        loop {
            let mut parts = self.all_rows(&rows::range(&rows::gone_parts_prefix(id))).await?;
            // Lists of members are no groups to join.
            parts.retain(|row| !matches!(Key::parse(&row.key), Some(Key::TombstoneMembers(_))));
            let mut groups = Vec::new();
            for row in &parts {
                groups.extend(rows::body::<MembersBody>(row)?.groups);
            }
            if parts.is_empty() {
                return Ok((joined, lost));
            }
            let ends: Vec<(String, ETag)> = parts.into_iter().map(|row| (row.key, row.etag)).collect();
            self.open_gates(&groups).await?;
            let ways = self.ways(id, &groups).await?;
            // Event, member, and the rows that tell what is left.
            let room = (Sizes::now().changes.saturating_sub(2 + ends.len()) / PER_GROUP).max(1);
            let (now, later) = ways.open.split_at(room.min(ways.open.len()));
            match self
                .join_some(kind, id, now, left_to_join(id, later, &ends), ways.newest)
                .await
            {
                Err(error) if self.worth_another_try(&error) => pause().await,
                Err(error) => return Err(error),
                Ok(()) => {
                    joined.extend(now.iter().cloned());
                    lost.extend(ways.lost);
                }
            }
        }
    }

    async fn join_some(
        &self,
        kind: Kind,
        id: &str,
        groups: &[String],
        left: Vec<Change>,
        newest: u64,
    ) -> Result<(), Error> {
        let of = self.type_of(kind);
        let operation = Operation::new(self.ambient.now(), newest, self.ambient.secret());
        let event = EventBody {
            paths: vec!["groups".to_owned()],
            ..self.event_of(Deed::Restore.name(), (&of.name, id), &operation)
        };
        let mut changes = vec![
            Change::Insert(rows::write(rows::event_key(&operation), &event)),
            Change::Touch(rows::resource_key(index::kind(&of), id)),
        ];
        changes.extend(
            groups
                .iter()
                .flat_map(|group| rejoins(&edge(group, id, kind), &operation)),
        );
        changes.extend(left);
        Ok(settle::settle(&*self.store, &self.access.tenant.id, &changes, self.deadline).await?)
    }
}

fn edge(group: &str, member: &str, kind: Kind) -> Edge {
    Edge {
        group: group.to_owned(),
        member: member.to_owned(),
        kind,
    }
}
