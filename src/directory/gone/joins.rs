//! The groups of who comes back: those that it joins, with its own commit and the ones after it, and those that are gone.

use std::collections::HashSet;

use super::{
    super::{
        Directory, Error,
        edit::spreading,
        index,
        memberships::Sizes,
        pause,
        pending::{Joins, members},
        write::Kind as Deed,
    },
    Denied, Remains, Restored,
    rejoin::{self, PER_JOIN, PER_WAIT, Reunion},
};
use crate::{
    directory::edges::Edge,
    rows::{self, EventBody, Operation, Stamp, TraceBody},
    scim::members::Kind,
    store::{self, Change, ETag, MAX_CHANGES, Row, settle},
};

/// Rows of a tombstone that one commit removes beside what else it does.
const MAX_PARTS: usize = 50;

/// Groups that somebody was in.
#[derive(Default)]
pub(super) struct Ways {
    /// Those that are there, and that it is not in yet.
    pub(super) open: Vec<String>,
    /// Those that it is in.
    pub(super) joined: Vec<String>,
    /// Those that are deleted and may come back.
    pub(super) waiting: Vec<String>,
    pub(super) lost: Vec<String>,
    /// The newest stamp among them.
    pub(super) newest: u64,
}

impl Ways {
    /// What a commit does that has room for so many changes.
    pub(super) fn share(&self, member: &str, kind: Kind, room: usize) -> Reunion {
        let joins = (room / PER_JOIN).min(self.open.len());
        let waits = ((room - joins * PER_JOIN) / PER_WAIT).min(self.waiting.len());
        Reunion {
            member: member.to_owned(),
            kind,
            joins: self.open[..joins].to_vec(),
            waits: self.waiting[..waits].to_vec(),
            later: [&self.open[joins..], &self.waiting[waits..]].concat(),
        }
    }

    /// Adds what was done after this was looked at.
    pub(super) fn add(&mut self, later: Self) {
        let decided: HashSet<&String> = later.lost.iter().chain(&later.waiting).collect();
        self.open.retain(|group| !decided.contains(group));
        self.waiting
            .retain(|group| !later.joined.contains(group) && !later.lost.contains(group));
        let known: HashSet<String> = [&self.open[..], &self.joined, &self.waiting]
            .concat()
            .into_iter()
            .collect();
        let is_new = |group: &String| !known.contains(group);
        self.joined.extend(later.joined.into_iter().filter(is_new));
        self.waiting.extend(later.waiting.into_iter().filter(is_new));
        self.lost.extend(later.lost);
    }

    pub(super) fn restored(self, kind: Kind) -> Restored {
        Restored {
            kind,
            inactive: false,
            groups: [self.open, self.joined].concat(),
            waiting_groups: self.waiting,
            lost_groups: self.lost,
            waiting_members: Vec::new(),
            lost_members: Vec::new(),
        }
    }
}

impl Directory {
    /// Finishes what is being spread over these groups, so that they can be joined.
    pub(in crate::directory) async fn open_gates(&self, groups: &[String]) -> Result<(), Error> {
        let gates: Vec<String> = groups.iter().map(|group| rows::closed_gate_key(group)).collect();
        for gate in self.rows(&gates).await?.into_iter().flatten() {
            self.finish(&spreading(&gate)?).await?;
        }
        Ok(())
    }

    /// What has become of these groups.
    pub(super) async fn ways(&self, member: &str, groups: &[String]) -> Result<Ways, Error> {
        loop {
            if let Some(ways) = self.ways_now(member, groups).await? {
                return Ok(ways);
            }
            pause().await;
        }
    }

    /// Nothing if one of them came back while this looked.
    async fn ways_now(&self, member: &str, groups: &[String]) -> Result<Option<Ways>, Error> {
        let mut ways = Ways::default();
        let edges: Vec<String> = groups.iter().map(|group| rows::member_key(group, member)).collect();
        let edges = self.rows(&edges).await?;
        let keys: Vec<String> = groups.iter().map(|group| rows::resource_key("g", group)).collect();
        let stamp_of = |row: Option<&Row>| Ok(row.map(rows::stamp).transpose()?);
        let stamps: Vec<Option<Stamp>> = self.each(&keys, stamp_of).await?;
        let mut gone = Vec::new();
        for ((group, stamp), edge) in groups.iter().zip(stamps).zip(edges) {
            let to = match (&stamp, edge) {
                (None, _) => {
                    gone.push((group.clone(), Kind::Group));
                    continue;
                }
                (Some(_), Some(_)) => &mut ways.joined,
                (Some(_), None) => &mut ways.open,
            };
            to.push(group.clone());
            ways.newest = ways.newest.max(stamp.map_or(0, |stamp| stamp.stamp));
        }
        let Some(kept) = self.kept(gone).await? else {
            return Ok(None);
        };
        (ways.waiting, ways.lost) = kept;
        Ok(Some(ways))
    }

    /// Of what was not there, what may come back and what is gone for good. Nothing if one of them is there by now: who came back
    /// in between had no row at the first look and has no tombstone at this one, and is not gone.
    pub(in crate::directory) async fn kept(
        &self,
        ids: Vec<(String, Kind)>,
    ) -> Result<Option<(Vec<String>, Vec<String>)>, Error> {
        let keys: Vec<String> = ids.iter().map(|(id, _)| rows::gone_key(id)).collect();
        let is_kept = |row: Option<&Row>| Ok(row.map(rows::gone_stamp).transpose()?.map(|stamp| !stamp.erased));
        let kept: Vec<Option<bool>> = self.each(&keys, is_kept).await?;
        let neither = ids.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
        let neither: Vec<(&str, Kind)> = neither.map(|((id, kind), _)| (id.as_str(), *kind)).collect();
        if !self.which_exist(&neither).await?.is_empty() {
            return Ok(None);
        }
        let mut kept = kept.into_iter();
        let ids = ids.into_iter().map(|(id, _)| id);
        Ok(Some(ids.partition(|_| kept.next().flatten().unwrap_or(false))))
    }

    /// Goes on with a restore that was cut off.
    pub(super) async fn join_the_others(&self, kind: Kind, id: &str) -> Result<Restored, Denied> {
        match self.join_later(kind, id).await? {
            Some(ways) => Ok(ways.restored(kind)),
            None => Err(Denied::There(kind)),
        }
    }

    /// Finishes restores that were cut off; tells how many, and what the first of the others failed with.
    pub(in crate::directory) async fn finish_joins<'j>(
        &self,
        joins: impl IntoIterator<Item = &'j Joins>,
    ) -> (usize, Option<Error>) {
        let (mut finished, mut failed) = (0, None);
        for (id, kind) in members(joins) {
            match self.join_later(kind, &id).await {
                Ok(_) => finished += 1,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        (finished, failed)
    }

    /// Joins the groups that did not fit into the restore's commit, a few with each; what is left to do stands beside it.
    /// Nothing if there is nothing to do.
    pub(super) async fn join_later(&self, kind: Kind, id: &str) -> Result<Option<Ways>, Error> {
        let mut all: Option<Ways> = None;
        loop {
            let mut groups = Vec::new();
            let mut left: Vec<(String, ETag)> = Vec::new();
            for row in self.all_rows(&rows::range(&rows::joins_prefix(id))).await? {
                let joins = Joins::read(&row)?;
                groups.extend(joins.body.groups);
                left.push((joins.key, joins.etag));
            }
            if left.is_empty() {
                return Ok(all);
            }
            if self.which_exist(&[(id, kind)]).await?.is_empty() {
                // It was deleted while nobody knew of these.
                match self.keep_groups((id, kind), groups, left).await {
                    Err(error) if self.worth_another_try(&error) => pause().await,
                    done => return done.map(|()| all),
                }
                continue;
            }
            self.open_gates(&groups).await?;
            let ways = self.ways(id, &groups).await?;
            // Beside the event, the member, and the rows that tell what is left.
            let room = Sizes::now().changes.saturating_sub(2 + left.len()).max(PER_JOIN);
            let reunion = ways.share(id, kind, room);
            match self.join_some(&reunion, &left, ways.newest).await {
                Err(error) if self.worth_another_try(&error) => pause().await,
                Err(error) => return Err(error),
                Ok(()) => all.get_or_insert_default().add(Ways {
                    joined: [ways.joined, reunion.joins].concat(),
                    waiting: reunion.waits,
                    lost: ways.lost,
                    ..Ways::default()
                }),
            }
        }
    }

    async fn join_some(&self, reunion: &Reunion, left: &[(String, ETag)], newest: u64) -> Result<(), Error> {
        let of = self.type_of(reunion.kind);
        let operation = Operation::new(self.ambient.now(), newest, self.ambient.secret());
        let event = EventBody {
            paths: vec!["groups".to_owned()],
            groups: reunion.joined(),
            ..self.event_of(Deed::Restore.name(), (&of.name, &reunion.member), &operation)
        };
        let mut changes = vec![
            Change::Insert(rows::write(rows::event_key(&operation), &event)),
            Change::Touch(rows::resource_key(index::kind(&of), &reunion.member)),
        ];
        changes.extend(reunion.changes(&operation, left));
        Ok(settle::settle(&*self.store, &self.access.tenant.id, &changes, self.deadline).await?)
    }

    /// Lets a few rows list the groups that many told of one by one, so that one commit can take them away. False if there are
    /// not many.
    pub(super) async fn gather(&self, remains: &Remains) -> Result<bool, Error> {
        if remains.parts.len() <= MAX_PARTS {
            return Ok(false);
        }
        let edges = remains
            .waiting
            .iter()
            .filter(|(_, edge)| edge.member == remains.was.envelope.id);
        let some: Vec<_> = edges.take(MAX_CHANGES - 2).collect();
        if some.is_empty() {
            return Ok(false);
        }
        let groups = some.iter().map(|(_, edge)| edge.group.clone()).collect();
        let keys: HashSet<&String> = some.iter().map(|(key, _)| key).collect();
        let parts = remains
            .parts
            .iter()
            .filter(|(key, _)| keys.contains(key))
            .cloned()
            .collect();
        let of = (remains.was.envelope.id.as_str(), remains.kind);
        match self.keep_groups(of, groups, parts).await {
            Err(error) if !self.worth_another_try(&error) => Err(error),
            _ => Ok(true),
        }
    }

    /// Lists groups in a deleted resource's tombstone, in the place of other rows.
    async fn keep_groups(
        &self,
        (id, kind): (&str, Kind),
        groups: Vec<String>,
        ends: Vec<(String, ETag)>,
    ) -> Result<(), Error> {
        let tombstone = self.rows(&[rows::gone_key(id)]).await?.pop().flatten();
        if tombstone.is_none() && !self.which_exist(&[(id, kind)]).await?.is_empty() {
            // It came back in between.
            return Err(store::Error::Missing(rows::gone_key(id)).into());
        }
        let ends = ends.into_iter().map(|(key, etag)| Change::Delete(key, Some(etag)));
        let mut changes: Vec<Change> = ends.collect();
        if let Some(tombstone) = tombstone {
            changes.push(Change::Touch(tombstone.key.clone()));
            let taken = self.all_rows(&rows::range(&rows::gone_parts_prefix(id))).await?;
            let is_free = |key: &String| !taken.iter().any(|row| row.key == *key);
            let mut free = (0..rows::MAX_EVENT_PARTS)
                .map(|part| rows::gone_part_key(id, part))
                .filter(is_free);
            for mut list in rejoin::lists(&groups) {
                list.deletion = rows::gone_stamp(&tombstone)?.stamp.version;
                let key = free.next().unwrap_or_else(|| rows::gone_part_key(id, 0));
                changes.push(Change::Insert(rows::write(key, &list)));
            }
        }
        self.commit_patiently(&changes).await
    }

    /// Lets these memberships of a deleted group wait until their members, which are deleted too, come back. Each commit asserts that
    /// the group is gone by that very deletion: one that lands late must give nobody access again. True if all of them waited.
    pub(in crate::directory) async fn let_wait(&self, group: &TraceBody, edges: &[Edge]) -> Result<bool, Error> {
        let keys: Vec<String> = edges
            .iter()
            .map(|edge| rows::gone_edge_key(&edge.member, &edge.group))
            .collect();
        let there = self.rows(&keys).await?;
        let new = edges.iter().zip(there).filter(|(_, row)| row.is_none());
        let new: Vec<&Edge> = new.map(|(edge, _)| edge).collect();
        for some in new.chunks((MAX_CHANGES - 1) / PER_WAIT) {
            let mut changes = vec![Change::Touch(group.edges_left_key())];
            changes.extend(some.iter().flat_map(|edge| rejoin::waits(edge, &edge.member)));
            self.commit_patiently(&changes).await?;
        }
        Ok(new.is_empty())
    }

    /// As [`Self::commit_patiently`]; false if somebody wrote one of the rows, which may have been an earlier try.
    pub(in crate::directory) async fn commit_if_unchanged(&self, changes: &[Change]) -> Result<bool, Error> {
        match self.commit_patiently(changes).await {
            Err(Error::Store(store::Error::Missing(_) | store::Error::Changed(_))) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Commits what may be done twice: each of these commits rests on etags, or does once what it does twice.
    pub(super) async fn commit_patiently(&self, changes: &[Change]) -> Result<(), Error> {
        Ok(settle::patient_commit(&*self.store, &self.access.tenant.id, changes, self.deadline).await?)
    }
}
