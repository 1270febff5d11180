//! What is counted of a tenant's requests, by name, over the last 24 hours: attributes that were sent in vain, and writes with
//! the rules that refused them; and which requests were refused, for the log (`refused`). Gathered in memory and written beside
//! the requests, at most once a minute per tenant and process: nobody waits for it and nothing depends on it. Names only, never
//! values.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::{Duration, Instant, sleep_until};

use super::{Error, TenantBody, Tenants, alias_key, replace};
use crate::{
    rows::{self, CONTROL, FORMAT},
    store::{self, Change, settle},
};

mod refused;
#[cfg(test)]
mod tests;

pub use refused::{MORE, Refused};

/// Names remembered of a tenant: they are the client's to choose. Further ones are counted together.
const MAX_NAMES: usize = 100;
/// Hours that are remembered.
const HOURS: i64 = 24;
/// How long counts are kept together before they are written.
const PAUSE: Duration = Duration::from_mins(1);
/// Tenants whose counts are written at a time when a process stops.
const MAX_AT_ONCE: usize = 8;
/// Tries to add to a row that other processes add to.
const TRIES: usize = 5;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Attributes that no schema has, as the client spelled them.
    Dropped,
    /// Requests that write, as [`ALL_WRITES`], and those that failed by the name of the rule. Entra puts a tenant's job in
    /// quarantine for many of these.
    Writes,
}

/// The name under which every write is counted; no rule has it.
pub const ALL_WRITES: &str = "all";

impl Counted {
    pub(super) const EVERY: [Self; 2] = [Self::Dropped, Self::Writes];

    pub(super) fn key(self, tenant: &str) -> String {
        match self {
            Self::Dropped => format!("dropped~{tenant}"),
            Self::Writes => format!("writes~{tenant}"),
        }
    }

    /// How long the first count waits for others: there are writes all the time, and what is dropped is looked for at once.
    fn first_pause(self) -> Duration {
        match self {
            Self::Dropped => Duration::ZERO,
            Self::Writes => PAUSE,
        }
    }
}

/// What was not written yet, by tenant.
#[derive(Default)]
pub(super) struct Lately {
    pending: Mutex<HashMap<(Counted, String), Pending>>,
    /// What this process is called where it writes.
    process: OnceLock<String>,
}

#[derive(Default)]
struct Pending {
    batch: Batch,
    /// Rows of refusals that were made in this hour.
    made: refused::Made,
    /// A task is about to write it.
    is_waiting: bool,
    /// When it was written last.
    written: Option<Instant>,
    /// Of one tenant, one batch is written at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What is written together.
#[derive(Default)]
struct Batch {
    counts: BTreeMap<String, u64>,
    others: u64,
    refusals: refused::Waiting,
    /// Refusals of which nobody knows whether they are written.
    sending: Vec<refused::Sending>,
}

/// The row of a tenant's counts.
#[derive(Default, Serialize, Deserialize)]
struct CountsBody {
    format: u32,
    names: BTreeMap<String, Hours>,
    /// Of names that found no room.
    others: Hours,
}

/// How often something was counted, by hours since 1970.
#[derive(Default, Serialize, Deserialize)]
struct Hours(BTreeMap<i64, u64>);

/// How often something was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// What; empty for all that found no room.
    pub name: String,
    /// How many requests had it in the last 24 hours, to the hour and within a minute.
    pub requests: u64,
}

impl Hours {
    fn add(&mut self, hour: i64, count: u64) {
        *self.0.entry(hour).or_default() += count;
    }

    fn forget(&mut self, hour: i64) {
        self.0.retain(|then, _| *then > hour - HOURS);
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl Lately {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Counted, String), Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers; tells when to write, if nobody is waiting to do so.
    fn add(&self, of: Counted, tenant: &str, add: impl FnOnce(&mut Pending)) -> Option<Instant> {
        let mut all = self.lock();
        let pending = all.entry((of, tenant.to_owned())).or_default();
        add(pending);
        if std::mem::replace(&mut pending.is_waiting, true) {
            return None;
        }
        let now = Instant::now();
        let first = now + of.first_pause();
        Some(pending.written.map_or(first, |written| (written + PAUSE).max(now)))
    }

    fn turn(&self, of: Counted, tenant: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.lock();
        Arc::clone(&all.entry((of, tenant.to_owned())).or_default().turn)
    }

    /// What is to be written now.
    fn take(&self, of: Counted, tenant: &str) -> Batch {
        let mut all = self.lock();
        let pending = all.entry((of, tenant.to_owned())).or_default();
        pending.is_waiting = false;
        pending.written = Some(Instant::now());
        std::mem::take(&mut pending.batch)
    }

    /// What could not be written.
    fn give_back(&self, of: Counted, tenant: &str, batch: Batch) {
        let mut all = self.lock();
        let pending = &mut all.entry((of, tenant.to_owned())).or_default().batch;
        pending.others += batch.others;
        for (name, count) in batch.counts {
            pending.add(name, count);
        }
        pending.sending.extend(batch.sending);
        for (key, body) in batch.refusals {
            refused::add(&mut pending.refusals, key, body);
        }
    }
}

impl Batch {
    fn add(&mut self, name: String, count: u64) {
        if self.counts.len() < MAX_NAMES || self.counts.contains_key(&name) {
            *self.counts.entry(name).or_default() += count;
        } else {
            self.others += count;
        }
    }
}

impl Tenants {
    /// Counts these names for a request of this tenant.
    pub fn count(&self, of: Counted, tenant: &str, names: impl Iterator<Item = String>) {
        let mut names = names.peekable();
        if names.peek().is_some() {
            self.gather(of, tenant, |pending| {
                for name in names {
                    pending.batch.add(name, 1);
                }
            });
        }
    }

    /// Has a refusal written into its tenant's log.
    pub fn refused(&self, refused: Refused) {
        let (tenant, now) = (refused.holder.tenant.clone(), self.ambient.now());
        self.gather(Counted::Writes, &tenant, |pending| {
            let (key, body) = pending.made.row(refused, now);
            refused::add(&mut pending.batch.refusals, key, body);
        });
    }

    fn gather(&self, of: Counted, tenant: &str, add: impl FnOnce(&mut Pending)) {
        let Some(at) = self.lately.add(of, tenant, add) else {
            return;
        };
        let (tenants, tenant) = (self.clone(), tenant.to_owned());
        tokio::spawn(async move {
            sleep_until(at).await;
            tenants.write_batch(of, &tenant).await;
        });
    }

    /// Writes down what was gathered so far, for a process that is about to stop; waits for what is being written.
    pub async fn write_counts(&self) {
        let all: Vec<(Counted, String)> = self.lately.lock().keys().cloned().collect();
        let write = async |(of, tenant): (Counted, String)| self.write_batch(of, &tenant).await;
        stream::iter(all).for_each_concurrent(MAX_AT_ONCE, write).await;
    }

    async fn write_batch(&self, of: Counted, tenant: &str) {
        let turn = self.lately.turn(of, tenant);
        let _turn = turn.lock().await;
        let mut batch = self.lately.take(of, tenant);
        let counted = self.add_counts(&of.key(tenant), tenant, &batch).await;
        if is_done(of, counted) {
            (batch.counts, batch.others) = Default::default();
        }
        if is_done(of, self.add_refusals(tenant, &mut batch).await) {
            (batch.refusals, batch.sending) = Default::default();
        }
        // An outage is when failures count. The next one that is counted brings these along.
        self.lately.give_back(of, tenant, batch);
    }

    /// What was counted of a tenant in the last 24 hours, the most frequent first; names that were too many are one without a
    /// name.
    pub async fn lately(&self, of: Counted, tenant: &str, deadline: Instant) -> Result<Vec<Count>, Error> {
        let key = of.key(tenant);
        let row = settle::patient_get(&*self.store, CONTROL, &[&key], deadline)
            .await?
            .pop()
            .flatten();
        let body: CountsBody = row.as_ref().map(rows::body).transpose()?.unwrap_or_default();
        let names = body.current(self.ambient.now());
        let mut counts: Vec<Count> = names
            .names
            .iter()
            .map(|(name, hours)| (name.as_str(), hours))
            .chain([("", &names.others)])
            .map(|(name, hours)| Count {
                name: name.to_owned(),
                requests: hours.total(),
            })
            .filter(|count| count.requests > 0)
            .collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.requests));
        Ok(counts)
    }

    async fn add_counts(&self, key: &str, tenant: &str, batch: &Batch) -> Result<(), Error> {
        let (counts, others) = (&batch.counts, batch.others);
        if counts.is_empty() && others == 0 {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            let row = self.store.get(CONTROL, &[key]).await?.pop().flatten();
            let body: CountsBody = row.as_ref().map(rows::body).transpose()?.unwrap_or_default();
            let now = self.ambient.now();
            let body = body.current(now).with(hour(now), counts, others);
            let written = match row {
                Some(row) => replace(key.to_owned(), row.etag, &body),
                None => Change::Insert(rows::write(key.to_owned(), &body)),
            };
            // Nothing is left behind by a tenant that was removed meanwhile.
            let changes = [Change::Touch(alias_key(tenant)), written];
            tries += 1;
            match self.store.commit(CONTROL, &changes).await {
                Err(store::Error::Changed(_) | store::Error::Exists(_)) if tries < TRIES => {}
                done => return Ok(done?),
            }
        }
    }
}

impl CountsBody {
    fn current(mut self, now: OffsetDateTime) -> Self {
        for hours in self.names.values_mut().chain([&mut self.others]) {
            hours.forget(hour(now));
        }
        self.names.retain(|_, hours| !hours.0.is_empty());
        self
    }

    fn with(mut self, hour: i64, counts: &BTreeMap<String, u64>, others: u64) -> Self {
        self.format = FORMAT;
        if others > 0 {
            self.others.add(hour, others);
        }
        for (name, count) in counts {
            if self.names.len() < MAX_NAMES || self.names.contains_key(name) {
                self.names.entry(name.clone()).or_default().add(hour, *count);
            } else {
                self.others.add(hour, *count);
            }
        }
        self
    }
}

/// Whether there is nothing left to write.
fn is_done(of: Counted, written: Result<(), Error>) -> bool {
    match written {
        // Missing: the tenant is gone.
        Ok(()) | Err(Error::Store(store::Error::Missing(_))) => true,
        Err(error) => {
            tracing::warn!(%error, ?of, "what was counted was not written yet");
            false
        }
    }
}

fn hour(now: OffsetDateTime) -> i64 {
    now.unix_timestamp() / 3600
}
