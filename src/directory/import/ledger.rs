//! What is remembered of each line: some sixty bytes, so that a file of a million lines takes as many megabytes.

use sha2::{Digest, Sha256};

use super::conflict::{Conflict, MAX_LISTED, Why};
use crate::scim::members::Kind;

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is not imported.
    Conflict,
    /// It is made.
    Make,
    /// It is there.
    Same,
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) number: u32,
    /// Nothing of a line that makes no sense.
    pub(super) kind: Option<Kind>,
    pub(super) fate: Fate,
    pub(super) has_members: bool,
}

/// Enough of a hash that no two texts share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hash([u8; 16]);

impl Hash {
    pub(super) fn of(text: &str) -> Self {
        let mut hash = [0; 16];
        hash.copy_from_slice(&Sha256::digest(text)[..16]);
        Self(hash)
    }
}

/// All lines, and how to find them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In the order of their numbers, once the file is read.
    pub(super) entries: Vec<Entry>,
    /// With the number of the line.
    ids: Vec<(Hash, u32)>,
    /// Of what only one resource may have.
    names: Vec<(Hash, u32)>,
    pub(super) conflicts: Vec<Conflict>,
    /// Conflicts that are not listed.
    pub(super) unlisted: usize,
    /// Those of them that leave the rest of their lines be.
    partial: usize,
}

impl Ledger {
    pub(super) fn add(&mut self, entry: Entry, id: Option<Hash>, name: Option<Hash>) {
        self.entries.push(entry);
        self.ids.extend(id.map(|id| (id, entry.number)));
        self.names.extend(name.map(|name| (name, entry.number)));
    }

    /// Notes a conflict; returns what was to become of the line, if that is known and comes to nothing now.
    pub(super) fn conflict(&mut self, line: u32, why: Why) -> Option<(Kind, Fate)> {
        let entry = self.entry(line).filter(|_| !why.is_partial());
        let before = entry.and_then(|entry| {
            let fate = std::mem::replace(&mut entry.fate, Fate::Conflict);
            entry.kind.map(|kind| (kind, fate))
        });
        if self.conflicts.len() < MAX_LISTED {
            self.conflicts.push(Conflict { line, why });
        } else {
            self.unlisted += 1;
            self.partial += usize::from(why.is_partial());
        }
        before
    }

    /// Notes conflicts that leave the rest of their lines be, and find no room.
    pub(super) fn more_partial(&mut self, unlisted: usize) {
        self.unlisted += unlisted;
        self.partial += unlisted;
    }

    /// Forgets the conflicts that leave the rest of their lines be: whoever writes it tells them anew.
    pub(super) fn forget_partial(&mut self) {
        self.conflicts.retain(|conflict| !conflict.why.is_partial());
        self.unlisted -= std::mem::take(&mut self.partial);
    }

    fn entry(&mut self, number: u32) -> Option<&mut Entry> {
        let place = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        self.entries.get_mut(place)
    }

    /// How many conflicts there are.
    pub(super) fn conflicting(&self) -> usize {
        self.conflicts.len() + self.unlisted
    }

    /// Puts lines in order, and finds what stands in several of them; to be called once they are all there. Nobody can tell
    /// which of them is meant.
    pub(super) fn complete(&mut self, name_of: fn(Kind) -> &'static str) {
        self.entries.sort_unstable_by_key(|entry| entry.number);
        let mut twins: Vec<(u32, u32, bool)> = Vec::new();
        for (marks, is_id) in [(&mut self.ids, true), (&mut self.names, false)] {
            marks.sort_unstable();
            for alike in marks.chunk_by(|one, other| one.0 == other.0) {
                twins.extend(alike[1..].iter().map(|(_, line)| (alike[0].1, *line, is_id)));
            }
        }
        for (first, line, is_id) in twins {
            let Some(entry) = self.entry(first) else { continue };
            entry.fate = Fate::Conflict;
            let what = match entry.kind {
                Some(kind) if !is_id => name_of(kind),
                _ => "id",
            };
            self.conflict(line, Why::Twice(what, first));
        }
    }

    /// What the resource of this id will be, if the file has it and nothing is in its way.
    pub(super) fn kind_of(&self, id: &str) -> Option<Kind> {
        let hash = Hash::of(id);
        let found = self.ids.binary_search_by_key(&hash, |mark| mark.0).ok()?;
        let (_, number) = self.ids[found];
        let place = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        let entry = self.entries[place];
        entry.kind.filter(|_| entry.fate != Fate::Conflict)
    }

    /// How many lines of a type have this fate.
    pub(super) fn count(&self, kind: Kind, fate: Fate) -> u64 {
        let is_one = |entry: &&Entry| entry.kind == Some(kind) && entry.fate == fate;
        self.entries.iter().filter(is_one).count() as u64
    }
}
