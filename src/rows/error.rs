//! Rows that can't be read.

use std::fmt;

use super::FORMAT;
use crate::store::Row;

/// Why a row could not be read.
#[derive(Debug)]
pub enum FormatError {
    /// A newer version of scimgate wrote it: it may be read again after the upgrade, and must not be overwritten now.
    Newer {
        /// Which row.
        key: String,
        /// Its format; one that this version reads if its kind is what is unknown.
        format: u64,
    },
    /// It is not what this version or an earlier one writes.
    Broken {
        /// Which row.
        key: String,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { key, format } if *format <= u64::from(FORMAT) => {
                write!(
                    f,
                    "row {key} is of a kind that this version does not know: upgrade scimgate"
                )
            }
            Self::Newer { key, format } => {
                write!(
                    f,
                    "row {key} has format {format}, this version reads up to {FORMAT}: upgrade scimgate"
                )
            }
            Self::Broken { key } => write!(f, "row {key} cannot be read"),
        }
    }
}

impl std::error::Error for FormatError {}

/// A row of a kind that this version does not know, where it reads all there are: a newer one wrote it.
pub fn unknown(row: &Row) -> FormatError {
    FormatError::Newer {
        key: row.key.clone(),
        format: 0,
    }
}
