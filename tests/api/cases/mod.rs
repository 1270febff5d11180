//! The cases, by subject.

use crate::case::Case;

mod create;
mod delete;
mod etag;
mod paging;
mod patch;
mod projection;
mod query;
mod read;
mod replace;

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    [
        create::cases(),
        delete::cases(),
        etag::cases(),
        paging::cases(),
        patch::cases(),
        projection::cases(),
        query::cases(),
        read::cases(),
        replace::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
