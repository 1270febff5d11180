//! Erasing: nothing of a person is kept but ids and times.

use serde_json::Map;
use time::OffsetDateTime;

use super::{
    super::{Directory, Error, Precondition, pause},
    Denied, Remains,
};
use crate::{
    rows::{self, FORMAT, GoneStamp, Operation, ResourceBody, Stamp},
    scim::members::Kind,
    store::{Change, Write, settle},
};

/// Who was erased.
#[derive(Debug)]
pub struct Erased {
    /// It was not deleted before.
    pub was_there: bool,
    /// When it was deleted.
    pub deleted: OffsetDateTime,
}

impl Directory {
    /// Removes a user, and of one that is deleted what is kept: everything but ids and times. Events hold no values, and index
    /// rows go with the user. Of one that is erased already it says so.
    ///
    /// # Errors
    ///
    /// [`Denied::Unknown`], [`Denied::Group`], [`Denied::Failed`].
    pub async fn erase(&self, id: &str) -> Result<Erased, Denied> {
        let mut was_there = false;
        loop {
            let remains = match self.remains(id).await {
                Err(Denied::There(Kind::User)) => {
                    was_there = true;
                    match self.delete(&self.type_of(Kind::User), id, &Precondition::None).await {
                        // Somebody else was faster.
                        Err(Error::Refused(_)) | Ok(()) => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(Denied::There(Kind::Group)) => return Err(Denied::Group),
                remains => remains?,
            };
            let deleted = remains.deleted();
            if remains.erased {
                return Ok(Erased { was_there, deleted });
            }
            if remains.kind == Kind::Group {
                return Err(Denied::Group);
            }
            if self.gather(&remains).await? {
                continue;
            }
            if self.ends_more(&remains).await? {
                continue;
            }
            match self.wipe(remains).await {
                Err(error) if self.worth_another_try(&error) => pause().await,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(Erased { was_there, deleted }),
            }
        }
    }

    /// Leaves of a tombstone that there was one.
    async fn wipe(&self, remains: Remains) -> Result<(), Error> {
        let was = remains.was;
        let operation = Operation::new(self.ambient.now(), was.stamp, self.ambient.secret());
        let event = self.event_of("erase", (remains.kind.keyword(), &was.envelope.id), &operation);
        let stamp = GoneStamp {
            stamp: Stamp {
                format: FORMAT,
                version: was.envelope.version,
                stamp: was.stamp,
                modified: was.envelope.last_modified,
                members: String::new(),
            },
            invocation: None,
            erased: true,
        };
        let body = ResourceBody {
            format: FORMAT,
            id: was.envelope.id.clone(),
            created: was.envelope.created,
            attributes: Map::new(),
            unknown: Map::new(),
        };
        let tombstone = Write {
            key: rows::gone_key(&was.envelope.id),
            stamp: rows::encode(&stamp),
            body: rows::encode(&body),
        };
        let mut changes = vec![
            Change::Insert(rows::write(rows::event_key(&operation), &event)),
            Change::Replace(tombstone, was.etag),
        ];
        let parts = remains.parts.into_iter();
        changes.extend(parts.map(|(key, etag)| Change::Delete(key, Some(etag))));
        Ok(settle::settle(&*self.store, &self.access.tenant.id, &changes, self.deadline).await?)
    }
}
