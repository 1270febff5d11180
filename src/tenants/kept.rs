//! What operators' commands must know of the service's settings, on whichever machine they run: it notes them in the store. How long
//! what is past is kept, and how long a request may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Error, Tenants};
use crate::{
    rows::{self, CONTROL, FORMAT},
    store::{self, Change, Row, settle},
};

/// The row that says it.
const KEY: &str = "kept";

/// Days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDays {
    /// What was deleted.
    pub deleted: u16,
    /// The log of changes.
    pub history: u16,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct KeptBody {
    format: u32,
    #[serde(flatten)]
    days: KeptDays,
    /// Seconds; services of earlier versions did not say it.
    #[serde(default)]
    deadline: u64,
}

/// Requests that were let in just before they were refused have ended by then, at least; those which may take longer, so long after
/// their deadline.
const LAST_REQUEST: time::Duration = time::Duration::seconds(60);
const BEHIND_DEADLINE: u64 = 5;
/// What is noted is believed up to a day: it may come from a backup.
const LONGEST: u64 = 24 * 60 * 60;

impl KeptDays {
    /// How long is kept what was deleted.
    pub fn retention(self) -> time::Duration {
        time::Duration::days(self.deleted.into())
    }

    /// How long the log is kept.
    pub fn history(self) -> Duration {
        Duration::from_hours(24 * u64::from(self.history))
    }
}

impl Tenants {
    /// How long the service keeps what is past; nothing before one has said so.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Format`].
    pub async fn kept_days(&self, deadline: Instant) -> Result<Option<KeptDays>, Error> {
        Ok(self.said(deadline).await?.map(|body| body.days))
    }

    /// The row of what the service has noted, for a backup.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn noted(&self, deadline: Instant) -> Result<Option<Row>, Error> {
        let found = settle::patient_get(&*self.store, CONTROL, &[KEY], deadline).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// Notes what a backup says, unless a service has noted something already.
    ///
    /// # Errors
    /// As [`Self::kept_days`].
    pub async fn note_again(&self, row: &Row, deadline: Instant) -> Result<(), Error> {
        let body: KeptBody = rows::body(row)?;
        let noted = Change::Insert(rows::write(KEY.to_owned(), &body));
        match settle::patient_commit(&*self.store, CONTROL, &[noted], deadline).await {
            Ok(()) | Err(store::Error::Exists(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How long after nobody is let in any more a request may still be under way that was let in before.
    ///
    /// # Errors
    /// As [`Self::kept_days`].
    pub(super) async fn last_request(&self, deadline: Instant) -> Result<time::Duration, Error> {
        let said = self.said(deadline).await?.map_or(0, |body| body.deadline);
        let longest = Duration::from_secs(said.min(LONGEST) + BEHIND_DEADLINE);
        Ok(LAST_REQUEST.max(longest.try_into().unwrap_or(LAST_REQUEST)))
    }

    async fn said(&self, deadline: Instant) -> Result<Option<KeptBody>, Error> {
        Ok(self.noted(deadline).await?.as_ref().map(rows::body).transpose()?)
    }

    /// Notes how long the service keeps what is past, and how long its requests may take. Of several that say so the last one to
    /// start is right.
    ///
    /// # Errors
    /// As [`Self::kept_days`].
    pub async fn note_settings(&self, days: KeptDays, longest: Duration, deadline: Instant) -> Result<(), Error> {
        let body = KeptBody {
            format: FORMAT,
            days,
            deadline: longest.as_secs(),
        };
        if self.said(deadline).await?.as_ref() == Some(&body) {
            return Ok(());
        }
        let written = Change::Upsert(rows::write(KEY.to_owned(), &body));
        Ok(self.store.commit(CONTROL, &[written]).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::tests::{World, soon},
        KeptDays,
    };

    #[tokio::test]
    async fn the_last_service_to_start_says_how_long_is_kept() {
        let world = World::new();
        let said = async || world.tenants.kept_days(soon()).await.unwrap();
        assert_eq!(said().await, None);
        for deleted in [30, 7] {
            let days = KeptDays { deleted, history: 365 };
            let noted = world.tenants.note_settings(days, Duration::from_secs(15), soon());
            noted.await.unwrap();
            assert_eq!(said().await, Some(days));
        }
    }
}
