//! What the store fails is done again, as long as anything is done anywhere.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{Error, Failed, Import};
use crate::store::Error::{Busy, Unavailable, Unknown};

/// How long nothing may be finished anywhere before what the store says is told.
const PATIENCE: Duration = Duration::from_mins(2);
/// Before a unit of work is done again; it has tried for a step already.
const AGAIN: Duration = Duration::from_secs(1);

/// When anything was finished last, by any of those who work on an import, and what has failed since.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<(Instant, Option<String>)>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), None))))
    }
}

impl Pulse {
    /// What is waited for while nothing is finished anywhere, in words.
    pub fn trouble(&self) -> Option<String> {
        self.last().1.clone()
    }

    /// Something is finished.
    pub(super) fn beat(&self) {
        *self.last() = (Instant::now(), None);
    }

    fn is_lost(&self) -> bool {
        self.last().0.elapsed() >= PATIENCE
    }

    fn last(&self) -> MutexGuard<'_, (Instant, Option<String>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Import {
    /// Waits before a unit of work is done again that has failed at this line. Gives the error back if it is not that the store
    /// is away, if somebody asks to stop, or if nothing was finished anywhere for long.
    pub(super) async fn wait_out(&self, line: u32, error: Error) -> Result<(), Failed> {
        let is_away = matches!(error, Error::Store(Busy(_) | Unavailable(_) | Unknown(_)));
        if !is_away || self.is_stopped() || self.pulse.is_lost() {
            return Err(Failed::Line(line, error));
        }
        self.pulse.last().1 = Some(error.to_string());
        sleep(AGAIN).await;
        Ok(())
    }
}

/// Whether what was to be written may have been, or may still be.
pub(super) fn is_answer_lost(error: &Error) -> bool {
    matches!(error, Error::Store(Unknown(_)))
}
