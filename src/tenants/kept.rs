//! How long what is past is kept: as the service says, which notes it in the store, so that operators' commands keep it as long on
//! whichever machine they run.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Error, Tenants};
use crate::{
    rows::{self, CONTROL, FORMAT},
    store::{Change, settle},
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

#[derive(Serialize, Deserialize)]
struct KeptBody {
    format: u32,
    #[serde(flatten)]
    days: KeptDays,
}

impl KeptDays {
    /// How long is kept what was deleted.
    pub fn retention(self) -> time::Duration {
        time::Duration::days(self.deleted.into())
    }

    /// How long the log is kept.
    pub fn history(self) -> std::time::Duration {
        std::time::Duration::from_hours(24 * u64::from(self.history))
    }
}

impl Tenants {
    /// How long the service keeps what is past; nothing before one has said so.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Format`].
    pub async fn kept_days(&self, deadline: Instant) -> Result<Option<KeptDays>, Error> {
        let found = settle::patient_get(&*self.store, CONTROL, &[KEY], deadline).await?;
        let body: Option<KeptBody> = found.first().and_then(Option::as_ref).map(rows::body).transpose()?;
        Ok(body.map(|body| body.days))
    }

    /// Notes how long the service keeps what is past. Of several that say so the last one to start is right.
    ///
    /// # Errors
    /// As [`Self::kept_days`].
    pub async fn keep_days(&self, days: KeptDays, deadline: Instant) -> Result<(), Error> {
        if self.kept_days(deadline).await? == Some(days) {
            return Ok(());
        }
        let body = KeptBody { format: FORMAT, days };
        let written = Change::Upsert(rows::write(KEY.to_owned(), &body));
        Ok(self.store.commit(CONTROL, &[written]).await?)
    }
}

#[cfg(test)]
mod tests {
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
            world.tenants.keep_days(days, soon()).await.unwrap();
            assert_eq!(said().await, Some(days));
        }
    }
}
