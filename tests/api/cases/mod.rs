//! The cases, by subject.

use crate::case::Case;

mod create;

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    [create::cases()].into_iter().flatten().collect()
}
