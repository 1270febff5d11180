//! How far a load has come.

use serde::{Deserialize, Serialize};

use super::{Error, Loader};
use crate::{
    rows::{self, CONTROL},
    store::{self, Change, settle},
};

/// How far the load of one tenant has come, or of all.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MarkBody {
    format: u32,
    /// The file's checksum.
    pub(super) file: String,
    /// Up to this line everything is written.
    pub(super) line: u64,
}

/// The mark of a load of all tenants; no tenant's id.
pub(super) const ALL: &str = "-";

pub(super) fn mark_key(id: &str) -> String {
    format!("load~{id}")
}

impl Loader {
    pub(super) async fn mark(&self, id: &str) -> Result<Option<MarkBody>, Error> {
        let key = mark_key(id);
        let row = settle::patient_get(&*self.store, CONTROL, &[&key], self.deadline()).await?;
        let row = row.into_iter().flatten().next();
        Ok(row.as_ref().map(rows::body).transpose()?)
    }

    pub(super) async fn set_mark(&self, id: &str, file: &str, line: u64) -> Result<(), Error> {
        let body = MarkBody {
            format: rows::FORMAT,
            file: file.to_owned(),
            line,
        };
        self.commit(CONTROL, &[Change::Upsert(rows::write(mark_key(id), &body))])
            .await
    }

    pub(super) async fn forget(&self, key: &str) -> Result<(), Error> {
        let delete = [Change::Delete(key.to_owned(), None)];
        match settle::patient_commit(&*self.store, CONTROL, &delete, self.deadline()).await {
            Ok(()) | Err(store::Error::Missing(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
