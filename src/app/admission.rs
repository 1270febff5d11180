//! How much work is taken in: so many requests of one tenant that others notice nothing, and so many of all; and how much
//! memory they hold.
//!
//! Each process counts for itself: with n instances a tenant may send n times as much.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    directory::{Budget, Held},
    store::turns::Quota,
};

/// Most requests of all tenants that are worked on at a time, writes that outlive their request among them.
const MAX_IN_FLIGHT: usize = 512;
/// Most of one tenant: a quarter.
const MAX_IN_FLIGHT_OF_TENANT: usize = MAX_IN_FLIGHT / 4;
/// And as many look-ups beside these, so that Test Connection passes.
const ROOM_FOR_LOOK_UPS: usize = 8;
/// A tenant may send so many seconds' worth at once.
const BURST_SECONDS: f64 = 2.0;
/// Requests that came as one make others wait for so many seconds at most.
const DEBT_SECONDS: f64 = 10.0;
/// Look-ups a second for which there is room while a tenant's bucket is empty: Test Connection is one.
const LOOK_UPS: f64 = 5.0;
/// Bytes of memory that the requests and answers of all tenants hold. Like those of one tenant and what a request may ask for
/// (`scim/limits.rs`) it is computed in docs/reliability.md.
const MAX_HELD: usize = 512 * MIB;
/// Those of one tenant: room for the largest request, a sort.
const MAX_HELD_OF_TENANT: usize = 160 * MIB;
const MIB: usize = 1024 * 1024;
/// Tenants remembered before those are forgotten that have sent nothing lately.
const MANY_TENANTS: usize = 1_000;
/// After how long to come back where another request's end is waited for.
pub const SOON: Duration = Duration::from_secs(1);

/// Why a request is not worked on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Its tenant has sent more than its share; and when there is room again.
    TooMany(Duration),
    /// The process has as much to do as it can hold.
    Full,
}

/// What is under way in this process, and what each tenant may still send.
pub struct Admission {
    in_flight: AtomicUsize,
    memory: Arc<Budget>,
    tenants: Mutex<HashMap<String, Tenant>>,
}

struct Tenant {
    bucket: Bucket,
    in_flight: usize,
    memory: Arc<Budget>,
    quota: Quota,
}

/// The room that a request of a tenant takes; given back when it is dropped.
pub struct Admitted {
    admission: Arc<Admission>,
    tenant: String,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            in_flight: AtomicUsize::default(),
            memory: Arc::new(Budget::new(MAX_HELD, None)),
            tenants: Mutex::default(),
        }
    }
}

impl Admission {
    /// Room for a request of this tenant, which may send `rate` requests a second; 0 means as many as it likes. What it
    /// then holds in memory is counted by what comes back, to the end of its answer; what it asks of storage at once is bounded
    /// by the quota, for all of the tenant's requests. Those whose sender is not known yet have rooms of their own
    /// ([`tenants`](crate::tenants)).
    ///
    /// # Errors
    /// [`Turned`].
    pub fn admit(
        self: &Arc<Self>,
        tenant: &str,
        rate: u32,
        is_look_up: bool,
    ) -> Result<(Admitted, Held, Quota), Turned> {
        let (memory, quota) = self.with(tenant, rate, |tenant, now| {
            // Nobody else takes any meanwhile.
            if self.in_flight.load(Ordering::Relaxed) >= MAX_IN_FLIGHT {
                return Err(Turned::Full);
            }
            let room = if is_look_up { ROOM_FOR_LOOK_UPS } else { 0 };
            if tenant.in_flight >= MAX_IN_FLIGHT_OF_TENANT + room {
                return Err(Turned::TooMany(SOON));
            }
            if rate > 0 {
                tenant.bucket.take(is_look_up, now).map_err(Turned::TooMany)?;
            }
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            tenant.in_flight += 1;
            Ok((Arc::clone(&tenant.memory), tenant.quota.clone()))
        })?;
        let admitted = Admitted {
            admission: Arc::clone(self),
            tenant: tenant.to_owned(),
        };
        Ok((admitted, Held::of(memory), quota))
    }

    fn with<T>(&self, tenant: &str, rate: u32, then: impl FnOnce(&mut Tenant, Instant) -> T) -> T {
        let now = Instant::now();
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= MANY_TENANTS && !tenants.contains_key(tenant) {
            tenants.retain(|_, tenant| {
                Arc::strong_count(&tenant.memory) > 1 || tenant.in_flight > 0 || !tenant.bucket.is_full(now)
            });
        }
        let entry = tenants.entry(tenant.to_owned()).or_insert_with(|| Tenant {
            bucket: Bucket::full(rate, now),
            in_flight: 0,
            memory: Arc::new(Budget::new(MAX_HELD_OF_TENANT, Some(Arc::clone(&self.memory)))),
            quota: Quota::default(),
        });
        if entry.bucket.rate <= 0.0 {
            // It had no limit until now, and owes nothing.
            entry.bucket = Bucket::full(rate, now);
        }
        entry.bucket.rate = f64::from(rate);
        then(entry, now)
    }
}

impl Admitted {
    /// Counts further requests that came as one: the next ones wait for them.
    pub fn charge(&self, rate: u32, requests: usize) {
        if rate > 0 {
            self.admission
                .with(&self.tenant, rate, |tenant, now| tenant.bucket.charge(requests, now));
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut tenants = self.admission.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        self.admission.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(tenant) = tenants.get_mut(&self.tenant) {
            tenant.in_flight -= 1;
        }
    }
}

/// A token bucket, and beside it a small one for look-ups.
struct Bucket {
    /// Tokens a second.
    rate: f64,
    tokens: f64,
    look_ups: f64,
    /// When both were filled up last.
    filled: Instant,
}

impl Bucket {
    fn full(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate);
        Self {
            rate,
            tokens: rate * BURST_SECONDS,
            look_ups: LOOK_UPS,
            filled: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.rate * BURST_SECONDS);
        self.look_ups = (self.look_ups + passed * LOOK_UPS).min(LOOK_UPS);
        self.filled = now;
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.rate * BURST_SECONDS
    }

    /// Takes one token, or tells when there is one.
    fn take(&mut self, is_look_up: bool, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        if is_look_up && self.look_ups >= 1.0 {
            self.look_ups -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.rate))
    }

    fn charge(&mut self, tokens: usize, now: Instant) {
        self.fill(now);
        self.tokens -= f64::from(u32::try_from(tokens).unwrap_or(u32::MAX));
        self.tokens = self.tokens.max(-self.rate * DEBT_SECONDS);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn admit(admission: &Arc<Admission>, tenant: &str, rate: u32, is_look_up: bool) -> Result<Admitted, Turned> {
        admission.admit(tenant, rate, is_look_up).map(|(admitted, ..)| admitted)
    }

    /// How many requests in a row are let in.
    fn let_in(admission: &Arc<Admission>, tenant: &str, rate: u32, is_look_up: bool) -> usize {
        (0..100_000)
            .take_while(|_| admit(admission, tenant, rate, is_look_up).is_ok())
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_has_its_rate_and_twice_that_at_once() {
        let admission = Arc::default();
        assert_eq!(let_in(&admission, "a", 200, false), 400);
        for (seconds, more) in [(1, 200), (2, 400), (3_600, 400)] {
            advance(Duration::from_secs(seconds)).await;
            assert_eq!(let_in(&admission, "a", 200, false), more, "after {seconds} s");
        }
        assert_eq!(let_in(&admission, "b", 25, false), 50, "another tenant notices nothing");
        assert_eq!(let_in(&admission, "c", 0, false), 100_000, "0 is no limit");
    }

    /// E-NET-02: so Test Connection passes while its tenant sends too much.
    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_look_ups_when_the_bucket_is_empty() {
        let admission = Arc::default();
        let_in(&admission, "a", 25, false);
        assert_eq!(let_in(&admission, "a", 25, true), 5);
        advance(Duration::from_millis(200)).await;
        // The bucket has filled up too, by 5.
        assert_eq!(let_in(&admission, "a", 25, true), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_turned_away_is_told_when_to_come_back() {
        let admission = Arc::default();
        let_in(&admission, "a", 25, false);
        let turned = admit(&admission, "a", 25, false).err();
        assert_eq!(turned, Some(Turned::TooMany(Duration::from_millis(40))));
        advance(Duration::from_millis(40)).await;
        let admitted = admit(&admission, "a", 25, false).unwrap();
        admitted.charge(25, 99);
        let turned = admit(&admission, "a", 25, false).err();
        assert_eq!(
            turned,
            Some(Turned::TooMany(Duration::from_secs(4))),
            "all of a bulk request counts"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_debt_is_bounded_and_none_is_made_without_a_limit() {
        let admission = Arc::default();
        for (rate, wait) in [(0, None), (25, Some(Duration::from_millis(10_040)))] {
            let admitted = admit(&admission, "a", rate, false).unwrap();
            (0..100).for_each(|_| admitted.charge(rate, 99));
            let turned = wait.map(Turned::TooMany);
            assert_eq!(admit(&admission, "a", rate, false).err(), turned, "{rate} a second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenant_never_takes_all_the_room() {
        let admission = Arc::default();
        let a: Vec<Admitted> = (0..MAX_IN_FLIGHT_OF_TENANT)
            .map(|_| admit(&admission, "a", 0, false).unwrap())
            .collect();
        assert_eq!(admit(&admission, "a", 0, false).err(), Some(Turned::TooMany(SOON)));
        assert!(admit(&admission, "a", 0, true).is_ok(), "a look-up");
        let others: Vec<Admitted> = (a.len()..MAX_IN_FLIGHT)
            .map(|number| admit(&admission, &number.to_string(), 0, false).unwrap())
            .collect();
        assert_eq!(admit(&admission, "b", 0, true).err(), Some(Turned::Full));
        drop((a, others));
        assert!(admit(&admission, "a", 0, false).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_is_forgotten() {
        let admission = Arc::default();
        for number in 0..3 * MANY_TENANTS {
            admit(&admission, &number.to_string(), 25, false).unwrap();
            advance(Duration::from_millis(1)).await;
        }
        let known = admission.tenants.lock().unwrap().len();
        assert!(known <= MANY_TENANTS, "{known} tenants");
    }
}
