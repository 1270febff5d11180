//! How many resources of a type a partition holds: exact at any size, without a walk.
//!
//! Each commit that makes resources inserts a row that says how many, each that removes one a row that says -1, under a key of
//! its own. So no two commits meet, and the total is the sum of all rows, whatever the clocks say and in whatever order
//! the commits land. Now and then somebody folds some of them into the base, in one commit that also writes the seal.
//!
//! Base and seal are the ends of the range, and hold how many rows were ever folded. A scan that took several pages may
//! have read the base before a fold and the rows behind it after; then the two ends differ, and it starts again.

use tokio::time::Instant;

use crate::{
    rows::{self, FORMAT, FormatError, Operation, SumBaseBody, SumBody},
    store::{
        self, Change, MAX_CHANGES, Row, Store,
        settle::{self, Tries},
    },
};

/// Most rows that one fold takes: a commit's changes without base and seal.
const MAX_FOLDED: usize = MAX_CHANGES - 2;
/// Rows behind the base from which on whoever reads them folds some: half of what one round trip brings.
const MANY: usize = 500;
/// Of so many operations that add a row, one folds some.
const ONE_IN: u64 = 64;

/// What the rows of a resource type add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What the rows add up to: the number of resources, unless somebody damaged the rows.
    pub sum: i64,
    /// How many were made or removed: while it stays the same, the resources are the same.
    pub changes: u64,
    /// Rows behind the base.
    loose: usize,
}

/// Why a total could not be read.
#[derive(Debug)]
pub enum Error {
    /// The store failed until the deadline.
    Store(store::Error),
    /// A row cannot be read by this version.
    Format(FormatError),
    /// Base and seal disagreed until the deadline: others kept folding, or one of the two was damaged.
    Torn,
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl Tally {
    /// How many resources there are.
    pub fn total(&self) -> u64 {
        u64::try_from(self.sum).unwrap_or(0)
    }

    /// Whether it is time to [`fold`].
    pub fn is_long(&self) -> bool {
        self.loose > MANY
    }
}

/// The change that counts, in the operation's own commit, that it made (`1`) or removed (`-1`) a resource; or, in one commit
/// with other operations, how many they made together.
pub fn count(kind: &str, operation: &Operation, n: i64) -> Change {
    Change::Insert(rows::write(
        rows::sum_key(kind, operation),
        &SumBody { format: FORMAT, n },
    ))
}

/// Whether the operation, which counted something, is the one that [`fold`]s afterwards.
pub fn is_due(operation: &Operation) -> bool {
    operation.is_one_in(ONE_IN)
}

/// The total of a resource type; one round trip, and one more for each 1,000 rows that are not folded yet.
///
/// # Errors
/// Any of [`Error`].
pub async fn tally(store: &dyn Store, partition: &str, kind: &str, deadline: Instant) -> Result<Tally, Error> {
    let range = rows::range(&rows::sum_key_prefix(kind));
    let mut tries = Tries::until(deadline)?;
    loop {
        let rows = settle::patient_scan_all(store, partition, &range, deadline).await?;
        if let Some(tally) = add_up(kind, &rows)? {
            return Ok(tally);
        }
        let torn = tries.pause_after(store::Error::Busy(None)).await;
        torn.map_err(|_| Error::Torn)?;
    }
}

/// Folds the oldest rows into the base, and tells how many: none if there are none, or if somebody else was faster.
///
/// # Errors
/// Any; the total is right all the same, and whoever comes next folds.
pub async fn fold(store: &dyn Store, partition: &str, kind: &str) -> Result<usize, Error> {
    let (from, until) = rows::range(&rows::sum_key_prefix(kind));
    let page = store.scan(partition, &from, &until, MAX_FOLDED + 1).await?;
    let (base, loose, _) = parts(kind, &page.rows);
    let loose = &loose[..loose.len().min(MAX_FOLDED)];
    if loose.is_empty() {
        return Ok(0);
    }
    let mut sum = base.map(rows::body::<SumBaseBody>).transpose()?.unwrap_or(EMPTY);
    for row in loose {
        let SumBody { n, .. } = rows::body(row)?;
        sum.n += n;
        sum.changes += n.unsigned_abs();
    }
    let write = rows::write(rows::sum_base_key(kind), &sum);
    let seal = rows::write(rows::sum_seal_key(kind), &SumBaseBody { n: 0, ..sum });
    let mut changes = vec![
        match base {
            Some(base) => Change::Replace(write, base.etag.clone()),
            None => Change::Insert(write),
        },
        Change::Upsert(seal),
    ];
    changes.extend(loose.iter().map(|row| Change::Delete(row.key.clone(), None)));
    match store.commit(partition, &changes).await {
        Ok(()) => Ok(loose.len()),
        Err(store::Error::Changed(_) | store::Error::Exists(_) | store::Error::Missing(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Folds until little is left or somebody else does it.
///
/// # Errors
/// As [`fold`].
pub async fn fold_all(store: &dyn Store, partition: &str, kind: &str) -> Result<(), Error> {
    while fold(store, partition, kind).await? == MAX_FOLDED {}
    Ok(())
}

const EMPTY: SumBaseBody = SumBaseBody {
    format: FORMAT,
    n: 0,
    changes: 0,
};

/// What the rows add up to; nothing if they were read partly before a fold and partly after.
fn add_up(kind: &str, rows: &[Row]) -> Result<Option<Tally>, FormatError> {
    let (base, loose, seal) = parts(kind, rows);
    let end = |row: Option<&Row>| row.map(rows::body::<SumBaseBody>).transpose();
    let (base, seal) = (end(base)?.unwrap_or(EMPTY), end(seal)?.unwrap_or(EMPTY));
    if base.changes != seal.changes {
        return Ok(None);
    }
    let (mut sum, mut changes) = (base.n, base.changes);
    for row in loose {
        let SumBody { n, .. } = rows::body(row)?;
        sum += n;
        changes += n.unsigned_abs();
    }
    Ok(Some(Tally {
        sum,
        changes,
        loose: loose.len(),
    }))
}

/// Base, rows behind it, and seal.
fn parts<'r>(kind: &str, rows: &'r [Row]) -> (Option<&'r Row>, &'r [Row], Option<&'r Row>) {
    let (base, rows) = match rows {
        [base, rows @ ..] if base.key == rows::sum_base_key(kind) => (Some(base), rows),
        rows => (None, rows),
    };
    match rows {
        [rows @ .., seal] if seal.key == rows::sum_seal_key(kind) => (base, rows, Some(seal)),
        rows => (base, rows, None),
    }
}

#[cfg(test)]
mod tests;
