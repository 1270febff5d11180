//! What requests hold in memory, counted where it grows: the sum is bounded, for each tenant and for the process.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Directory, Error};
use crate::{
    scim::{error::Rule, json},
    store::Row,
};

/// Bytes of memory for each byte of a row of ordinary size: as a document, and once more in the answer.
const MEMORY: usize = 8;
/// Bytes of memory that a membership takes on its way into an answer.
pub(super) const MEMORY_OF_EDGE: usize = 256;

/// Queries of one tenant that read many rows at a time; others wait. Two of the largest fit into what a tenant may hold, so that
/// those which come at once don't all stop each other.
const TURNS: usize = 2;

/// Bytes that may be taken; where they are a part of others, those too.
#[derive(Debug)]
pub struct Budget {
    bytes: usize,
    taken: AtomicUsize,
    of: Option<Arc<Self>>,
    turns: Arc<Semaphore>,
}

/// What one request holds of a budget, or without one; given back when it is dropped.
#[derive(Debug, Default)]
pub struct Held {
    budget: Option<Arc<Budget>>,
    bytes: AtomicUsize,
    turn: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Budget {
    /// So many bytes, as a part of others.
    pub fn new(bytes: usize, of: Option<Arc<Self>>) -> Self {
        Self {
            bytes,
            taken: 0.into(),
            of,
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|all| *all <= self.bytes);
        let taken = self.taken.fetch_update(Relaxed, Relaxed, fits);
        let all = taken.is_ok() && self.of.as_ref().is_none_or(|of| of.take(bytes));
        if taken.is_ok() && !all {
            self.taken.fetch_sub(bytes, Relaxed);
        }
        all
    }

    fn take_anyway(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Relaxed);
        if let Some(of) = &self.of {
            of.take_anyway(bytes);
        }
    }

    fn give(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Relaxed);
        if let Some(of) = &self.of {
            of.give(bytes);
        }
    }
}

impl Held {
    /// Nothing yet.
    pub fn of(budget: Arc<Budget>) -> Self {
        Self {
            budget: Some(budget),
            bytes: 0.into(),
            turn: Mutex::default(),
        }
    }

    /// Waits for its turn to read many rows, which ends with [`Self::keep`].
    pub async fn turn(&self) {
        let Some(budget) = &self.budget else { return };
        // Never closed, so it never fails.
        let turn = Arc::clone(&budget.turns).acquire_owned().await.ok();
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }

    /// Holds so many bytes more.
    ///
    /// # Errors
    /// [`Rule::Overloaded`] while others hold too much.
    pub fn add(&self, bytes: usize) -> Result<(), Error> {
        let Some(budget) = &self.budget else { return Ok(()) };
        if !budget.take(bytes) {
            return Err(Rule::Overloaded.error().into());
        }
        self.bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Holds so many bytes more, which are there in any case: others wait until there is room again.
    pub fn add_anyway(&self, bytes: usize) {
        if let Some(budget) = &self.budget {
            budget.take_anyway(bytes);
            self.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// So many of these bytes, or all, to be held by what outlasts the rest.
    #[must_use]
    pub fn part(&self, bytes: usize) -> Self {
        let rest = |now: usize| now.saturating_sub(bytes);
        let before = self.bytes.fetch_update(Relaxed, Relaxed, |now| Some(rest(now)));
        let before = before.unwrap_or_default();
        Self {
            budget: self.budget.clone(),
            bytes: (before - rest(before)).into(),
            turn: Mutex::default(),
        }
    }

    /// Holds so many bytes less.
    pub fn give(&self, bytes: usize) {
        self.lower(|now| now.saturating_sub(bytes));
    }

    /// So many bytes now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Holds no more than these from now on.
    pub fn keep(&self, bytes: usize) {
        self.lower(|now| now.min(bytes));
        self.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// A write may go on while its request is answered: several threads do this at once.
    fn lower(&self, to: impl Fn(usize) -> usize) {
        let Some(budget) = &self.budget else { return };
        let before = self.bytes.fetch_update(Relaxed, Relaxed, |now| Some(to(now)));
        let before = before.unwrap_or_default();
        budget.give(before - to(before));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keep(0);
    }
}

impl Directory {
    /// Counts these rows as held, until they are given back; says how many bytes they are.
    pub(super) fn hold_rows<'r>(&self, rows: impl IntoIterator<Item = &'r Row>) -> Result<usize, Error> {
        let bytes = rows.into_iter().map(|row| row.body.len()).sum();
        self.held.add(bytes).map(|()| bytes)
    }

    /// Counts the documents of these rows as held; says how many bytes that is.
    pub(super) fn hold<'r>(&self, rows: impl IntoIterator<Item = &'r Row>) -> Result<usize, Error> {
        let bytes = memory(rows.into_iter().map(size).sum());
        self.held.add(bytes).map(|()| bytes)
    }
}

/// Bytes of a row's body, as far as its values are of ordinary size: many very small ones count as what they take in memory.
pub(super) fn size(row: &Row) -> usize {
    row.body.len().max(json::memory(&row.body) / MEMORY)
}

/// The memory that documents take which have this size together.
pub(super) const fn memory(size: usize) -> usize {
    size * MEMORY
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn nobody_holds_more_than_there_is_and_all_is_given_back() {
        let all = Arc::new(Budget::new(100, None));
        let a = Arc::new(Budget::new(60, Some(Arc::clone(&all))));
        let b = Arc::new(Budget::new(60, Some(Arc::clone(&all))));
        let (one, other) = (Held::of(Arc::clone(&a)), Held::of(Arc::clone(&b)));
        one.add(50).unwrap();
        assert!(Held::of(Arc::clone(&a)).add(11).is_err(), "the tenant's share");
        assert!(other.add(51).is_err(), "that of all");
        other.add(50).unwrap();
        one.give(10);
        other.keep(5);
        other.keep(50);
        assert_eq!(all.taken.load(Relaxed), 45);
        let part = one.part(50);
        assert_eq!((one.bytes(), part.bytes(), all.taken.load(Relaxed)), (0, 40, 45));
        part.add_anyway(60);
        assert!(other.add(1).is_err(), "more is held than there is");
        drop((one, part, other));
        let taken = [&all, &a, &b].map(|budget| budget.taken.load(Relaxed));
        assert_eq!(taken, [0; 3]);
        Held::default().add(usize::MAX).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn some_of_a_tenants_large_queries_wait() {
        let tenant = Arc::new(Budget::new(100, None));
        let held: Vec<Held> = (0..=TURNS).map(|_| Held::of(Arc::clone(&tenant))).collect();
        let all = timeout(Duration::from_secs(1), join_all(held.iter().map(Held::turn)));
        assert!(all.await.is_err(), "too many at once");
        held[0].keep(0);
        held[TURNS].turn().await;
    }
}
