//! Bringing back: the resource as it was, with the memberships whose other end is there.

use time::Duration;

use super::{
    super::{
        Directory, Error, index,
        memberships::{Memberships, Sizes},
        pause,
        write::{Draft, Kind as Deed},
    },
    Denied, Remains,
    joins::Ways,
    members::Absent,
    rejoin::Return,
};
use crate::scim::members::Kind;

/// Changes of a restore beside those of values and memberships: event, resource, tombstone, part of the total, gate, groups
/// that are to be joined later.
const FIXED: usize = 6;

/// What came back.
#[derive(Debug)]
pub struct Restored {
    /// Its type.
    pub kind: Kind,
    /// It came back as a user who may not come in.
    pub inactive: bool,
    /// The groups that it is a member of again.
    pub groups: Vec<String>,
    /// Deleted groups that it is a member of again when they are restored too.
    pub waiting_groups: Vec<String>,
    /// The groups that it was a member of, and that are gone.
    pub lost_groups: Vec<String>,
    /// Of a group: deleted members that it has again when they are restored too, if that is known of it.
    pub waiting_members: Vec<String>,
    /// Of a group: the members that it had, and that are gone.
    pub lost_members: Vec<String>,
}

impl Directory {
    /// Brings a deleted resource back, if it was deleted less than `retention` ago; with `dry_run` only tells what would come
    /// back. One that came back and could not join all its groups in time joins the others when this is called again.
    ///
    /// # Errors
    ///
    /// Any of [`Denied`].
    pub async fn restore(&self, id: &str, retention: Duration, dry_run: bool) -> Result<Restored, Denied> {
        let mut absent = Absent::default();
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
            if self.gather(&remains).await? {
                continue;
            }
            let groups: Vec<String> = remains.groups.iter().cloned().collect();
            self.open_gates(&groups).await?;
            let mut ways = self.ways(id, &groups).await?;
            if remains.has_members_to_take_up() {
                if let Some(later) = self.take_up_members(&remains).await? {
                    absent.update(&remains.members, later);
                }
                continue;
            }
            if self.ends_more(&remains).await? {
                continue;
            }
            let inactive = remains.is_inactive();
            match self.bring_back(remains, &ways).await {
                Err(error) if self.worth_another_try(&error) => pause().await,
                Err(error) => return Err(error.into()),
                Ok((kind, joins_more)) => {
                    if joins_more && let Some(later) = self.join_later(kind, id).await? {
                        ways.add(later);
                    }
                    return Ok(Restored {
                        inactive,
                        ..absent.tell(ways.restored(kind))
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
        let room = Sizes::now().changes.saturating_sub(FIXED + values + ends.len());
        let reunion = ways.share(&id, kind, room);
        let joins_more = !reunion.later.is_empty();
        let draft = Draft {
            of: &of,
            id: &id,
            kind: Deed::Restore,
            before: Some(&remains.was),
            after: Some(&remains.was.attributes),
            memberships: Memberships::Return(Return { reunion, ends }),
            guarded: true,
        };
        self.write(&draft).await?;
        Ok((kind, joins_more))
    }

    /// What a restore would bring.
    async fn outlook(&self, remains: &Remains) -> Result<Restored, Error> {
        let groups: Vec<String> = remains.groups.iter().cloned().collect();
        let ways = self.ways(&remains.was.envelope.id, &groups).await?;
        let ids: Vec<(&str, Kind)> = remains.members.iter().map(|(id, kind)| (id.as_str(), *kind)).collect();
        let absent = loop {
            let there = self.which_exist(&ids).await?;
            if let Some(absent) = self.absent(&ids, &there).await? {
                break absent;
            }
            pause().await;
        };
        Ok(Restored {
            inactive: remains.is_inactive(),
            ..absent.tell(ways.restored(remains.kind))
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
}
