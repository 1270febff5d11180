//! A test double: counts what a store is asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::task::yield_now;

use super::{Change, Error, Page, Row, Store};

/// Rows that Table Storage gives in one page; a longer scan takes a round trip for each.
const PAGE_ROWS: usize = 1000;

/// Wraps a store, and counts its calls and its round trips: the price of a request.
pub struct CountingStore {
    inner: Arc<dyn Store>,
    tally: Mutex<Tally>,
}

/// What was counted since the start, or since [`CountingStore::take`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Round trips one after another: a call that starts while another is in flight costs nothing extra. A scan costs
    /// one per 1,000 rows.
    pub round_trips: usize,
    /// Calls of [`Store::get`].
    pub gets: usize,
    /// Calls of [`Store::scan`].
    pub scans: usize,
    /// Calls of [`Store::commit`].
    pub commits: usize,
    /// Stamps and bodies that came back.
    pub bytes_read: usize,
    /// Stamps and bodies that were sent.
    pub bytes_written: usize,
}

#[derive(Default)]
struct Tally {
    counts: Counts,
    in_flight: usize,
    /// Round trips counted since the last moment without a call in flight.
    burst: usize,
}

impl Counts {
    /// Calls of every kind.
    pub fn calls(&self) -> usize {
        self.gets + self.scans + self.commits
    }
}

impl CountingStore {
    /// Counts from 0.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            tally: Mutex::default(),
        }
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.tally().counts
    }

    /// What was counted; counting starts again from 0. Between two calls, else the one in flight falls between.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.tally().counts)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self, count: impl FnOnce(&mut Counts)) -> InFlight<'_> {
        let call = {
            let mut tally = self.tally();
            count(&mut tally.counts);
            if tally.in_flight == 0 {
                tally.burst = 0;
            }
            tally.in_flight += 1;
            tally.took(1);
            InFlight(self)
        };
        // A store in memory may answer before its caller has made the next call beside this one.
        yield_now().await;
        call
    }
}

impl Tally {
    /// A call took this many round trips, beside those of the calls that it met.
    fn took(&mut self, round_trips: usize) {
        self.counts.round_trips += round_trips.saturating_sub(self.burst);
        self.burst = self.burst.max(round_trips);
    }
}

/// A call under way; ends also when its caller stops waiting.
struct InFlight<'a>(&'a CountingStore);

impl InFlight<'_> {
    fn read<'r>(&self, rows: impl Iterator<Item = &'r Row>) {
        let bytes = rows.map(Row::bytes).sum::<usize>();
        self.0.tally().counts.bytes_read += bytes;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.tally().in_flight -= 1;
    }
}

#[async_trait]
impl Store for CountingStore {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        let call = self.start(|counts| counts.gets += 1).await;
        let rows = self.inner.get(partition, keys).await?;
        call.read(rows.iter().flatten());
        Ok(rows)
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        let call = self.start(|counts| counts.scans += 1).await;
        let page = self.inner.scan(partition, from, until, limit).await?;
        call.read(page.rows.iter());
        self.tally().took(page.rows.len().div_ceil(PAGE_ROWS));
        Ok(page)
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        let _call = self
            .start(|counts| {
                counts.commits += 1;
                counts.bytes_written += changes.iter().map(written).sum::<usize>();
            })
            .await;
        self.inner.commit(partition, changes).await
    }
}

fn written(change: &Change) -> usize {
    let (stamp, body) = change.sizes();
    stamp + body
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, join};

    use super::{
        super::{
            MAX_CHANGES, Write, conformance,
            faults::{Call, Fault, FaultStore},
            sqlite::SqliteStore,
        },
        *,
    };

    /// Gets take 10 s, scans 25 s, commits no time.
    fn store() -> CountingStore {
        let slow = FaultStore::new(Arc::new(SqliteStore::memory().unwrap()));
        slow.inject(Call::Get, .., Fault::Delay(Duration::from_secs(10)));
        slow.inject(Call::Scan, .., Fault::Delay(Duration::from_secs(25)));
        CountingStore::new(Arc::new(slow))
    }

    fn insert(key: String) -> Change {
        Change::Insert(Write {
            key,
            stamp: vec![1; 10],
            body: vec![2; 100],
        })
    }

    #[tokio::test]
    async fn it_is_the_store_inside() {
        conformance::run(&CountingStore::new(Arc::new(SqliteStore::memory().unwrap()))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn calls_one_after_another_count_each() {
        let store = store();
        store
            .commit("p", &[insert("a".to_owned()), insert("b".to_owned())])
            .await
            .unwrap();
        store.get("p", &["a", "gone"]).await.unwrap();
        store.scan("p", "", "~", 9).await.unwrap();
        assert!(store.commit("p", &[insert("a".to_owned())]).await.is_err());
        let expected = Counts {
            round_trips: 4,
            gets: 1,
            scans: 1,
            commits: 2,
            bytes_read: 330,
            bytes_written: 330,
        };
        assert_eq!((store.counts(), store.counts().calls()), (expected, 4));
        assert_eq!(store.take(), expected);
        assert_eq!(store.take(), Counts::default());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_at_the_same_time_count_once() {
        let store = store();
        let (..) = join!(
            store.get("p", &["a"]),
            store.get("p", &["b"]),
            store.scan("p", "", "~", 9)
        );
        assert_eq!((store.take().round_trips, store.counts().calls()), (1, 0));
        // The second get starts while the scan is in flight.
        let gets = async {
            store.get("p", &["a"]).await.unwrap();
            store.get("p", &["b"]).await.unwrap();
        };
        let (..) = join!(gets, store.scan("p", "", "~", 9));
        assert_eq!((store.counts().round_trips, store.counts().calls()), (1, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_given_up_is_not_in_flight() {
        let store = store();
        assert!(store.get("p", &["a"]).now_or_never().is_none());
        store.get("p", &["a"]).await.unwrap();
        assert_eq!(store.counts().round_trips, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_counts_once_per_1000_rows() {
        let store = store();
        for part in 0..21 {
            let rows: Vec<_> = (0..MAX_CHANGES)
                .map(|n| insert(format!("row-{part:02}{n:02}")))
                .collect();
            store.commit("p", &rows).await.unwrap();
        }
        for (limit, round_trips) in [(1, 1), (1_000, 1), (1_001, 2), (2_000, 2), (9_999, 3)] {
            store.take();
            store.scan("p", "", "~", limit).await.unwrap();
            assert_eq!(store.counts().round_trips, round_trips, "{limit} rows");
        }
        store.take();
        store.scan("p", "x", "~", 9_999).await.unwrap();
        assert_eq!(store.counts().round_trips, 1, "no rows");
        store.take();
        let (..) = join!(store.scan("p", "", "~", 1_500), store.scan("p", "", "~", 9_999));
        assert_eq!(store.counts().round_trips, 3, "the longer of two at the same time");
    }
}
