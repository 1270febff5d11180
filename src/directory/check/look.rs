//! Looking again at what is in doubt, until it is certain, while others go on writing.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    Inspection,
    judge::{Found, judge},
    row::{Case, Held},
};
use crate::{
    directory::Error,
    rows::{self, JournalBody},
    store::Row,
};

/// Looks one after the other that must all find the same.
const LOOKS: usize = 3;
/// The pause before they are repeated.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// How often they are repeated at most. What every one of so many looks found is believed although somebody writes the
/// rows all the time.
const ROUNDS: usize = 6;

/// Rows as one look found them: not all at the same moment.
#[derive(Default)]
pub(super) struct Look {
    rows: BTreeMap<String, Option<Row>>,
    /// Rows that somebody asked for and that were not read yet.
    wanted: RefCell<BTreeSet<String>>,
    /// What is pending, as far as it can be read.
    journals: Vec<JournalBody>,
}

impl Look {
    /// The row with this key. If it was not read yet, there seems to be none, and it is read before the next try.
    pub(super) fn row(&self, key: &str) -> Option<&Row> {
        match self.rows.get(key) {
            Some(row) => row.as_ref(),
            None if key.starts_with(rows::PENDING_PREFIX) => None,
            None => {
                self.wanted.borrow_mut().insert(key.to_owned());
                None
            }
        }
    }

    /// Whether some row says that this deleted resource's edges still stand.
    pub(super) fn hides(&self, id: &str) -> bool {
        let (from, until) = rows::range(&rows::edges_left_prefix(id));
        self.rows.range(from..until).any(|(_, row)| row.is_some())
    }

    /// The pending changes.
    pub(super) fn journals(&self) -> impl Iterator<Item = &JournalBody> {
        self.journals.iter()
    }

    /// Those of a group's members; what stands for its id.
    pub(super) fn journals_of(&self, group: &str) -> impl Iterator<Item = &JournalBody> {
        self.journals()
            .filter(move |journal| rows::id_part(&journal.group) == group)
    }
}

impl Inspection {
    /// What is wrong with these for certain.
    ///
    /// A look reads rows one after the other, so what it finds may never have been so: a membership that comes or goes in
    /// between seems to have one row only. Three looks settle it. They must find the same, with the same etags of the rows
    /// that are to blame; so those stood unchanged during the second look. A row that it missed beside them was missing
    /// while they stood. Of two rows that take one another's place in a commit (a user, and the row that says that it is
    /// gone), the first look saw that one was gone, and the second that the other had not come.
    pub(super) async fn certain(&self, cases: BTreeSet<Case>) -> Result<Vec<Found>, Error> {
        let mut open: Vec<Case> = cases.into_iter().collect();
        let mut certain = Vec::new();
        for round in 0..ROUNDS {
            if open.is_empty() {
                break;
            }
            if round > 0 {
                sleep(PAUSE).await;
            }
            let mut found: Vec<(Case, Found)> = Vec::new();
            let mut steady = vec![true; open.len()];
            for look in 0..LOOKS {
                let seen = self.look(&open).await?;
                let mut still = Vec::with_capacity(open.len());
                for (at, (case, seen)) in open.into_iter().zip(seen).enumerate() {
                    let Some(seen) = seen else { continue };
                    let same = look == 0 || found[at].1 == seen;
                    still.push(((case, seen), steady[at] && same));
                }
                (found, steady) = still.into_iter().unzip();
                open = found.iter().map(|(case, _)| case.clone()).collect();
            }
            open.clear();
            for ((case, found), steady) in found.into_iter().zip(steady) {
                // Once more after a pause, whatever the three looks prove.
                if (steady && round > 0) || round + 1 == ROUNDS {
                    certain.push(found);
                } else {
                    open.push(case);
                }
            }
        }
        Ok(certain)
    }

    /// One look at each.
    async fn look(&self, cases: &[Case]) -> Result<Vec<Option<Found>>, Error> {
        if cases.is_empty() {
            return Ok(Vec::new());
        }
        let mut look = self.pending().await?;
        loop {
            let found = cases.iter().map(|case| judge(case, &look, &self.rules)).collect();
            let wanted: Vec<String> = look.wanted.take().into_iter().collect();
            if wanted.is_empty() {
                return Ok(found);
            }
            let rows = self.directory().rows(&wanted).await?;
            look.rows.extend(wanted.into_iter().zip(rows));
        }
    }

    /// Everything that is pending: a few rows.
    pub(super) async fn pending(&self) -> Result<Look, Error> {
        let mut look = Look::default();
        let mut scan = self.scan(rows::PENDING_PREFIX);
        loop {
            let rows = scan.step().await?;
            if rows.is_empty() {
                return Ok(look);
            }
            for row in rows {
                if let Ok(Held::Journal(body)) = Held::read(&row) {
                    look.journals.push(body);
                }
                look.rows.insert(row.key.clone(), Some(row));
            }
        }
    }
}
