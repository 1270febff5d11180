//! What is loaded together.

use std::collections::HashSet;

use super::hold::MAX_FENCED;
use crate::store::{Change, MAX_COMMIT_BYTES, Write};

/// Changes that wait to be written together.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) commits: Vec<Vec<Change>>,
    pub(super) current: Vec<Change>,
    /// Of the current one.
    bytes: usize,
    /// The first line of it.
    pub(super) since: u64,
    /// Of all: those that are under way at once must be different.
    pub(super) keys: HashSet<String>,
}

impl Waiting {
    pub(super) fn add(&mut self, write: Write, line: u64) {
        let bytes = write.stamp.len() + write.body.len();
        if self.current.len() == MAX_FENCED || self.bytes + bytes > MAX_COMMIT_BYTES {
            self.close();
        }
        if self.current.is_empty() {
            self.since = line;
        }
        self.bytes += bytes;
        self.keys.insert(write.key.clone());
        self.current.push(Change::Upsert(write));
    }

    pub(super) fn close(&mut self) {
        if !self.current.is_empty() {
            self.commits.push(std::mem::take(&mut self.current));
        }
        self.bytes = 0;
    }
}
