//! Looking at every resource of a type before its schemas change.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{Error, Stored, index, sift::SCAN_STEP};
use crate::{
    rows,
    scim::{
        attributes::{Misfit, misfits},
        schema::ResourceType,
    },
    store::{Store, settle},
};

#[cfg(test)]
mod tests;

/// What other schemas would make of the resources there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Resources that were looked at.
    pub resources: usize,
    /// Those of them that would not fit.
    pub misfits: usize,
    /// How many would not fit at an attribute, and why.
    pub reasons: BTreeMap<(String, Misfit), usize>,
}

impl Survey {
    /// Looks at every resource of a type in a partition: what fits it `now` and would not fit it `then`. Each read has the
    /// deadline that the clock gives then; `progress` hears how many were looked at.
    ///
    /// # Errors
    /// The store's, and rows of a newer version.
    pub async fn of(
        store: &dyn Store,
        partition: &str,
        (now, then): (&ResourceType, &ResourceType),
        deadline: impl Fn() -> Instant,
        progress: impl Fn(usize),
    ) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        let (mut from, until) = rows::range(&rows::resource_key_prefix(index::kind(now)));
        loop {
            let page = settle::patient_scan(store, partition, (&from, &until), SCAN_STEP, deadline()).await?;
            for row in &page.rows {
                survey.add(misfits(now, then, &Stored::read(row)?.attributes));
            }
            progress(survey.resources);
            match page.rows.last() {
                Some(row) if page.more => from = rows::behind(&row.key),
                _ => return Ok(survey),
            }
        }
    }

    fn add(&mut self, misfits: Vec<(String, Misfit)>) {
        self.resources += 1;
        self.misfits += usize::from(!misfits.is_empty());
        for reason in misfits {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}
