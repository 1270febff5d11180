//! Whose turn it is to send a request to a storage service.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{Change, Error, Page, Row, Store, Waits, settle};

/// Most requests to storage under way at a time. Each is a connection, and an instance of a Functions app can count on
/// 128 ports to one address.
pub(super) const MAX_REQUESTS: usize = 32;
/// Most of them for those who have a [`Quota`] together: what many of them ask for at once leaves room for others.
pub(super) const MAX_REQUESTS_OF_QUOTA: usize = MAX_REQUESTS / 2;
/// Most of them for one who has a [`Share`], so that a large request leaves room for others.
pub(super) const MAX_REQUESTS_OF_ONE: usize = 8;
/// Most requests that wait for one of those to end; whoever comes later is asked to come back.
pub(super) const MAX_WAITING: usize = 1024;
/// The longest that a request waits; then it is given up unsent.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// What whoever comes too late is asked to wait: about what a healthy service takes for all that wait.
const COME_BACK: Duration = Duration::from_millis(200);

tokio::task_local! {
    static OWN: Own;
}

/// What all requests of one tenant may have under way, together. Cheap to clone; clones are the same quota.
#[derive(Clone, Debug)]
pub struct Quota(Arc<Semaphore>);

impl Default for Quota {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_REQUESTS_OF_QUOTA)))
    }
}

/// The store for one client's request, or one errand: whatever it asks for at once, so many of its requests are under way
/// at a time. They wait for each other before they wait for those of their tenant's other requests, and for these before
/// they wait for those of other tenants.
pub struct Share {
    inner: Arc<dyn Store>,
    own: Own,
}

#[derive(Clone)]
struct Own {
    share: Arc<Semaphore>,
    quota: Quota,
}

impl Share {
    /// A share of this store, inside this quota.
    pub fn of(store: &Arc<dyn Store>, quota: &Quota) -> Arc<dyn Store> {
        Arc::new(Self {
            inner: Arc::clone(store),
            own: Own {
                share: Arc::new(Semaphore::new(MAX_REQUESTS_OF_ONE)),
                quota: quota.clone(),
            },
        })
    }

    async fn scope<F: Future>(&self, call: F) -> F::Output {
        OWN.scope(self.own.clone(), call).await
    }
}

#[async_trait]
impl Store for Share {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        self.scope(self.inner.get(partition, keys)).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        self.scope(self.inner.scan(partition, from, until, limit)).await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        self.scope(self.inner.commit(partition, changes)).await
    }
}

/// The turns of a process.
#[derive(Debug)]
pub(super) struct Turns {
    /// One for each request that waits or is under way.
    places: Semaphore,
    /// One for each request under way.
    permits: Semaphore,
    waits: Mutex<Waits>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            places: Semaphore::new(MAX_REQUESTS + MAX_WAITING),
            permits: Semaphore::new(MAX_REQUESTS),
            waits: Mutex::default(),
        }
    }
}

impl Turns {
    /// Sends one request when it has its turn.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`]: it was never sent, nor will it be.
    pub(super) async fn send<F: Future>(&self, request: F) -> Result<F::Output, Error> {
        let own = OWN.try_with(Own::clone).ok();
        // Always in this order, so that nobody holds what another one waits for.
        let _own = match &own {
            Some(Own { share, quota }) => {
                let share = permit(share, settle::deadline()).await?;
                Some((share, self.turn(&quota.0).await?))
            }
            None => None,
        };
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Error::Busy(Some(COME_BACK)));
        };
        let _permit = self.turn(&self.permits).await?;
        Ok(request.await)
    }

    async fn turn<'a>(&self, of: &'a Semaphore) -> Result<SemaphorePermit<'a>, Error> {
        if let Ok(permit) = of.try_acquire() {
            return Ok(permit);
        }
        let mut wait = Wait {
            turns: self,
            began: Instant::now(),
            is_sent: false,
        };
        let longest = wait.began + MAX_WAIT;
        let too_late = settle::deadline().map_or(longest, |deadline| deadline.min(longest));
        let permit = permit(of, Some(too_late)).await;
        wait.is_sent = permit.is_ok();
        permit
    }

    /// What was counted since the last time.
    pub(super) fn take_waits(&self) -> Waits {
        std::mem::take(&mut *self.waits())
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a turn; counted when it ends, and also when its caller gives it up.
struct Wait<'t> {
    turns: &'t Turns,
    began: Instant,
    is_sent: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.turns.waits().count(self.began.elapsed(), self.is_sent);
    }
}

async fn permit(of: &Semaphore, too_late: Option<Instant>) -> Result<SemaphorePermit<'_>, Error> {
    let Some(too_late) = too_late else {
        return of.acquire().await.map_err(|_| Error::Busy(None));
    };
    match timeout_at(too_late, of.acquire()).await {
        // A permit that was there in time may be noticed late, on a machine that stalls.
        Ok(Ok(permit)) if Instant::now() < too_late => Ok(permit),
        _ => Err(Error::Busy(None)),
    }
}
