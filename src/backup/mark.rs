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
    /// The tenant takes requests; what is left is the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) adopted: bool,
}

/// The mark of a load of all tenants; no tenant's id.
pub(super) const ALL: &str = "-";

pub(super) fn mark_key(id: &str) -> String {
    format!("load~{id}")
}

pub(super) fn another_file(what: &str) -> Error {
    Error::NotEmpty(format!(
        "another file was being loaded into {what} and is not finished: finish that, or remove what it left with --discard"
    ))
}

/// What says of a tenant that it takes requests.
pub(super) fn adopted(id: &str, file: &str, line: u64) -> Change {
    write(id, file, line, true)
}

fn write(id: &str, file: &str, line: u64, adopted: bool) -> Change {
    let body = MarkBody {
        format: rows::FORMAT,
        file: file.to_owned(),
        line,
        adopted,
    };
    Change::Upsert(rows::write(mark_key(id), &body))
}

impl Loader {
    pub(super) async fn mark(&self, id: &str) -> Result<Option<MarkBody>, Error> {
        let key = mark_key(id);
        let row = settle::patient_get(&*self.store, CONTROL, &[&key], self.deadline()).await?;
        let row = row.into_iter().flatten().next();
        Ok(row.as_ref().map(rows::body).transpose()?)
    }

    pub(super) async fn set_mark(&self, id: &str, file: &str, line: u64) -> Result<(), Error> {
        let mark = write(id, file, line, false);
        self.commit(CONTROL, &[mark]).await
    }

    pub(super) async fn forget(&self, key: &str) -> Result<(), Error> {
        let delete = [Change::Delete(key.to_owned(), None)];
        match settle::patient_commit(&*self.store, CONTROL, &delete, self.deadline()).await {
            Ok(()) | Err(store::Error::Missing(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
