//! `maxOutstandingRequests` and `maxConcurrentRequests`.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::Settings;

/// The most permits tokio's semaphore takes; the limits of host.json are far below.
const MAX_PERMITS: usize = Semaphore::MAX_PERMITS;

pub(crate) struct Throttle {
    outstanding: Option<Arc<Semaphore>>,
    concurrent: Option<Arc<Semaphore>>,
}

/// Held by a request until its response is written.
pub(crate) struct Permit {
    _outstanding: Option<OwnedSemaphorePermit>,
    _concurrent: Option<OwnedSemaphorePermit>,
}

impl Throttle {
    pub(crate) fn new(settings: &Settings) -> Self {
        let semaphore = |limit: Option<usize>| limit.map(|limit| Arc::new(Semaphore::new(limit.min(MAX_PERMITS))));
        Self {
            outstanding: semaphore(settings.max_outstanding),
            concurrent: semaphore(settings.max_concurrent),
        }
    }

    /// `None` when too many are outstanding, waiting ones included: 429. Beyond the concurrent ones a request waits.
    pub(crate) async fn enter(&self) -> Option<Permit> {
        let outstanding = match &self.outstanding {
            Some(semaphore) => Some(Arc::clone(semaphore).try_acquire_owned().ok()?),
            None => None,
        };
        let concurrent = match &self.concurrent {
            Some(semaphore) => Some(Arc::clone(semaphore).acquire_owned().await.ok()?),
            None => None,
        };
        Some(Permit {
            _outstanding: outstanding,
            _concurrent: concurrent,
        })
    }
}
