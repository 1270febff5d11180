//! What the requests of a process share, and what is done beside them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;

use super::{Directory, journal::Journal, marks::Recent};
use crate::totals;

/// Most errands under way at a time; further ones are not run.
const MAX_ERRANDS: usize = 32;
/// Pending changes of memberships that are remembered: each of up to 10,000 members.
const MAX_JOURNALS: usize = 8;

/// What the requests of a process share. Nothing depends on it but speed.
#[derive(Debug)]
pub struct Shared {
    /// Where pages ended lately.
    pub(super) recent: Recent,
    /// Changes of memberships that were read lately, with their partitions.
    journals: Mutex<VecDeque<(String, Arc<Journal>)>>,
    /// One for each errand under way.
    errands: Arc<Semaphore>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            recent: Recent::default(),
            journals: Mutex::default(),
            errands: Arc::new(Semaphore::new(MAX_ERRANDS)),
        }
    }
}

impl Shared {
    /// Waits until no errand is under way.
    pub async fn idle(&self) {
        let all = u32::try_from(MAX_ERRANDS).unwrap_or(u32::MAX);
        // Never closed, so it never fails.
        let _ = self.errands.acquire_many(all).await;
    }

    pub(super) fn journal(&self, partition: &str, operation: &str) -> Option<Arc<Journal>> {
        let journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = journals.iter();
        let (_, journal) = known.find(|(of, journal)| of == partition && journal.operation == operation)?;
        Some(Arc::clone(journal))
    }

    pub(super) fn remember(&self, partition: &str, journal: &Arc<Journal>) {
        let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        // Several requests may have missed it at once.
        journals.retain(|(of, known)| of != partition || known.operation != journal.operation);
        journals.truncate(MAX_JOURNALS - 1);
        journals.push_front((partition.to_owned(), Arc::clone(journal)));
    }

    /// Runs an errand: work that nobody waits for, on which nothing depends, and which is left out when there is much of
    /// it.
    pub(super) fn run(&self, errand: impl Future<Output = ()> + Send + 'static) {
        let Ok(place) = Arc::clone(&self.errands).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            errand.await;
            drop(place);
        });
    }
}

impl Directory {
    /// Folds a total beside the request.
    pub(super) fn fold(&self, kind: &'static str) {
        let (store, partition) = (Arc::clone(&self.store), self.access.tenant.id.clone());
        self.shared.run(async move {
            if let Err(error) = totals::fold_all(&*store, &partition, kind).await {
                tracing::debug!(?error, "a total was not folded");
            }
        });
    }
}
