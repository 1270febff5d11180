//! What is remembered of each line: some eighty bytes, and as many again while there is room to grow. A file of a million lines takes
//! 160 MiB.

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
    /// The file says nothing of its manager.
    pub(super) has_strange_manager: bool,
}

/// What a line is known by, and whom it knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub(super) id: Option<Hash>,
    /// What only one resource may have.
    pub(super) name: Option<Hash>,
    pub(super) manager: Option<Hash>,
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
    /// Only until the file is read.
    managers: Vec<(Hash, u32)>,
    pub(super) conflicts: Vec<Conflict>,
    /// Conflicts that are not listed.
    pub(super) unlisted: usize,
    /// Those of them that leave the rest of their lines be.
    partial: usize,
    /// What is in nobody's way, but to be known.
    pub(super) notices: Vec<Conflict>,
    /// Those of them that are not listed.
    pub(super) unlisted_notices: usize,
}

impl Ledger {
    pub(super) fn add(&mut self, entry: Entry, marks: Marks) {
        self.entries.push(entry);
        let Marks { id, name, manager } = marks;
        for (all, one) in [
            (&mut self.ids, id),
            (&mut self.names, name),
            (&mut self.managers, manager),
        ] {
            all.extend(one.map(|one| (one, entry.number)));
        }
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

    fn place(&self, number: u32) -> Option<usize> {
        self.entries.binary_search_by_key(&number, |entry| entry.number).ok()
    }

    fn entry(&mut self, number: u32) -> Option<&mut Entry> {
        self.place(number).map(|place| &mut self.entries[place])
    }

    /// How many conflicts there are.
    pub(super) fn conflicting(&self) -> usize {
        self.conflicts.len() + self.unlisted
    }

    /// Puts lines in order, and finds what stands in several of them, and managers who stand in none; to be called once they
    /// are all there.
    pub(super) fn complete(&mut self, name_of: fn(Kind) -> &'static str) {
        self.entries.sort_unstable_by_key(|entry| entry.number);
        self.ids.sort_unstable();
        self.names.sort_unstable();
        // Nobody can tell which of several is meant.
        let mut twins: Vec<(u32, u32, bool)> = Vec::new();
        for (marks, is_id) in [(&self.ids, true), (&self.names, false)] {
            for alike in marks
                .chunk_by(|one, other| one.0 == other.0)
                .filter(|alike| alike.len() > 1)
            {
                let (first, second) = (alike[0].1, alike[1].1);
                twins.push((first, second, is_id));
                twins.extend(alike[1..].iter().map(|(_, line)| (*line, first, is_id)));
            }
        }
        for (line, other, is_id) in twins {
            let what = match self.entry(line).and_then(|entry| entry.kind) {
                Some(kind) if !is_id => name_of(kind),
                _ => "id",
            };
            self.conflict(line, Why::Twice(what, other));
        }
        for (manager, line) in std::mem::take(&mut self.managers) {
            let is_there = self
                .described(manager)
                .is_some_and(|entry| entry.fate != Fate::Conflict);
            if let Some(entry) = self.entry(line) {
                entry.has_strange_manager = !is_there;
            }
        }
    }

    /// The first line that describes the resource of this id.
    fn described(&self, id: Hash) -> Option<&Entry> {
        let first = self.ids.partition_point(|mark| mark.0 < id);
        let (_, number) = self.ids.get(first).filter(|mark| mark.0 == id)?;
        self.place(*number).map(|place| &self.entries[place])
    }

    /// The number of the line that describes the resource of this id.
    pub(super) fn line_of(&self, id: &str) -> Option<u32> {
        self.described(Hash::of(id)).map(|entry| entry.number)
    }

    pub(super) fn is_user(&self, line: u32) -> bool {
        self.place(line)
            .is_some_and(|place| self.entries[place].kind == Some(Kind::User))
    }

    /// What the resource of this id will be, if the file has it and nothing is in its way.
    pub(super) fn kind_of(&self, id: &str) -> Option<Kind> {
        let entry = self.described(Hash::of(id))?;
        entry.kind.filter(|_| entry.fate != Fate::Conflict)
    }

    /// How many lines of a type have this fate.
    pub(super) fn count(&self, kind: Kind, fate: Fate) -> u64 {
        let is_one = |entry: &&Entry| entry.kind == Some(kind) && entry.fate == fate;
        self.entries.iter().filter(is_one).count() as u64
    }
}
