//! What an inspection comes to.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{Damage, judge::Found};
use crate::{
    rows::Key,
    store::{Change, Row},
};

/// What was looked at, and what is wrong. Ids and keys only, never values.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows of every kind.
    pub rows: usize,
    /// Users.
    pub users: usize,
    /// Groups.
    pub groups: usize,
    /// Memberships.
    pub memberships: usize,
    /// What is wrong; after a repair, what still is.
    pub findings: BTreeMap<Damage, Findings>,
    /// What was mended, and how often.
    pub mended: BTreeMap<Damage, usize>,
    /// Of each finding, by a hash of its key: the rows concerned may each lead to it.
    known: HashSet<u64>,
}

/// Everything wrong of one kind.
#[derive(Debug, Default)]
pub struct Findings {
    /// How often.
    pub count: usize,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Example {
    /// The row that is to blame, or missing.
    pub key: String,
    /// The resources concerned.
    pub ids: Vec<String>,
    /// What repair would do or did, a row each: `insert n~…`.
    pub changes: Vec<String>,
}

impl Report {
    /// Nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Empty, but for what was mended.
    pub(super) fn begin_again(self) -> Self {
        Self {
            mended: self.mended,
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, row: &Row) {
        self.rows += 1;
        match Key::parse(&row.key) {
            Some(Key::Resource("u", _)) => self.users += 1,
            Some(Key::Resource(..)) => self.groups += 1,
            Some(Key::Member) => self.memberships += 1,
            _ => {}
        }
    }

    pub(super) fn add(&mut self, found: &Found, examples: usize) {
        let mut hasher = DefaultHasher::new();
        (found.damage, &found.key, &found.ids).hash(&mut hasher);
        if !self.known.insert(hasher.finish()) {
            return;
        }
        let findings = self.findings.entry(found.damage).or_default();
        findings.count += 1;
        if findings.examples.len() < examples {
            let changes = found.mend.iter().flat_map(|mend| &mend.changes);
            findings.examples.push(Example {
                key: found.key.clone(),
                ids: found.ids.clone(),
                changes: changes.filter_map(spell).collect(),
            });
        }
    }

    pub(super) fn mended(&mut self, damage: Damage) {
        *self.mended.entry(damage).or_default() += 1;
    }
}

/// What a change does to its row; nothing if it only asserts something.
fn spell(change: &Change) -> Option<String> {
    let verb = match change {
        Change::Insert(_) | Change::Upsert(_) => "insert",
        Change::Replace(..) => "replace",
        Change::Delete(..) => "delete",
        Change::Stamp(..) | Change::Touch(_) => return None,
    };
    Some(format!("{verb} {}", change.key()))
}
