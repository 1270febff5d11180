//! The cases, by subject.

use crate::case::Case;

mod addresses;
mod bad_filters;
mod bad_input;
mod bad_values;
mod base_url;
mod bulk;
mod bulk_groups;
mod concurrency;
mod create;
mod credentials;
mod cursor;
mod delete;
mod dialects;
mod discovery;
mod errors;
mod etag;
mod extensions;
mod framing;
mod groups;
mod host_modes;
mod memberships;
mod migration;
mod names;
mod paging;
mod patch;
mod pause;
mod projection;
mod query;
mod read;
mod replace;
mod schemas;
mod search;
mod sort;
mod wire;

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    [
        addresses::cases(),
        bad_filters::cases(),
        bad_input::cases(),
        bad_values::cases(),
        base_url::cases(),
        bulk::cases(),
        bulk_groups::cases(),
        concurrency::cases(),
        create::cases(),
        credentials::cases(),
        cursor::cases(),
        delete::cases(),
        dialects::cases(),
        discovery::cases(),
        errors::cases(),
        etag::cases(),
        extensions::cases(),
        framing::cases(),
        groups::cases(),
        host_modes::cases(),
        memberships::cases(),
        migration::cases(),
        names::cases(),
        paging::cases(),
        patch::cases(),
        pause::cases(),
        projection::cases(),
        query::cases(),
        read::cases(),
        replace::cases(),
        schemas::cases(),
        search::cases(),
        sort::cases(),
        wire::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
