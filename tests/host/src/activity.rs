//! YARP's `ActivityTimeout`: a request ends when nothing has moved in either direction for so long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

pub(crate) struct Activity {
    timeout: Duration,
    last: Mutex<Instant>,
}

impl Activity {
    pub(crate) fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            timeout,
            last: Mutex::new(Instant::now()),
        })
    }

    /// Something moved.
    pub(crate) fn touch(&self) {
        *self.last() = Instant::now();
    }

    /// Ends once nothing has moved for the time-out.
    pub(crate) async fn expired(self: Arc<Self>) {
        loop {
            let deadline = *self.last() + self.timeout;
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
