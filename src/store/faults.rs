//! A test double: a store that fails as told.

use std::{
    future::Future,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{Change, Error, Page, Row, Store};

/// Wraps a store, and fails as told.
///
/// ```no_run
/// # use scimgate::store::{Store, faults::{Call, Fault, FaultStore}};
/// # fn wrap(store: std::sync::Arc<dyn Store>) {
/// let store = FaultStore::new(store);
/// store.inject(Call::Commit, 2..=2, Fault::LoseAnswer); // the second commit from now
/// store.inject(Call::Any, .., Fault::Unavailable); // everything else, until `heal`
/// # }
/// ```
pub struct FaultStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
}

/// Which calls a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Every call.
    Any,
    /// [`Store::get`].
    Get,
    /// [`Store::scan`].
    Scan,
    /// [`Store::commit`].
    Commit,
}

/// What happens to a call. A lost answer is [`Error::Unknown`] of a commit, [`Error::Unavailable`] of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens; the answer is [`Error::Unavailable`].
    Unavailable,
    /// Nothing happens; the answer is [`Error::Busy`].
    Busy(Option<Duration>),
    /// The call takes place, and the answer is [`Error::Unavailable`] although a store promises otherwise.
    FailAfter,
    /// The call takes place; its answer is lost.
    LoseAnswer,
    /// The call never arrives; nobody knows.
    LoseRequest,
    /// The answer is lost now; the commit takes place before the n-th call from now (1: the next), if nobody calls
    /// [`FaultStore::land`] earlier.
    LandBefore(usize),
    /// The answer is lost now; the commit takes place when somebody calls [`FaultStore::land`].
    LandLater,
    /// The call waits this long (tokio's time) before it starts; adds to whatever else is told for it.
    Delay(Duration),
    /// The call panics, as a store with a bug would.
    Panic,
}

#[derive(Default)]
struct Plan {
    rules: Vec<Rule>,
    adrift: Vec<Adrift>,
}

struct Rule {
    call: Call,
    numbers: (Bound<usize>, Bound<usize>),
    seen: usize,
    fault: Fault,
}

/// A commit whose caller was told [`Error::Unknown`], and which is still to take place.
struct Adrift {
    partition: String,
    changes: Vec<Change>,
    /// Takes place before this many calls from now.
    before: Option<usize>,
}

impl FaultStore {
    /// Without faults, until told.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            plan: Mutex::default(),
        }
    }

    /// The store inside, which never fails.
    #[cfg(test)]
    pub(super) fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    /// Lets calls of this kind fail: those with these numbers, 1 being the first from now. The fault told first wins.
    pub fn inject(&self, call: Call, numbers: impl RangeBounds<usize>, fault: Fault) {
        self.plan().rules.push(Rule {
            call,
            numbers: (numbers.start_bound().cloned(), numbers.end_bound().cloned()),
            seen: 0,
            fault,
        });
    }

    /// Forgets all faults. Commits that are adrift stay so.
    pub fn heal(&self) {
        self.plan().rules.clear();
    }

    /// Lets all commits that are adrift take place now, in the order of their calls; gives what became of each.
    pub async fn land(&self) -> Vec<Result<(), Error>> {
        let adrift = std::mem::take(&mut self.plan().adrift);
        self.apply(adrift).await
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn apply(&self, adrift: Vec<Adrift>) -> Vec<Result<(), Error>> {
        let mut outcomes = Vec::with_capacity(adrift.len());
        for commit in adrift {
            outcomes.push(self.inner.commit(&commit.partition, &commit.changes).await);
        }
        outcomes
    }

    /// What is told for this call, after what has to happen before it.
    async fn arrive(&self, call: Call) -> Option<Fault> {
        let (delay, fault, due) = self.plan().next(call);
        self.apply(due).await;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        fault
    }

    async fn read<T>(&self, call: Call, read: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        match self.arrive(call).await {
            None | Some(Fault::Delay(_)) => read.await,
            Some(Fault::Busy(after)) => Err(Error::Busy(after)),
            Some(Fault::FailAfter | Fault::LoseAnswer) => {
                read.await?;
                Err(Error::Unavailable(INJECTED.into()))
            }
            Some(Fault::Unavailable | Fault::LoseRequest | Fault::LandBefore(_) | Fault::LandLater) => {
                Err(Error::Unavailable(INJECTED.into()))
            }
            Some(Fault::Panic) => panic!("{INJECTED}"),
        }
    }
}

const INJECTED: &str = "an injected fault";

impl Plan {
    fn next(&mut self, call: Call) -> (Duration, Option<Fault>, Vec<Adrift>) {
        let mut delay = Duration::ZERO;
        let mut fault = None;
        for rule in &mut self.rules {
            if rule.call != Call::Any && rule.call != call {
                continue;
            }
            rule.seen += 1;
            if !rule.numbers.contains(&rule.seen) {
                continue;
            }
            match rule.fault {
                Fault::Delay(time) => delay += time,
                other => fault = fault.or(Some(other)),
            }
        }
        for commit in &mut self.adrift {
            commit.before = commit.before.map(|calls| calls.saturating_sub(1));
        }
        let due = self.adrift.extract_if(.., |commit| commit.before == Some(0)).collect();
        (delay, fault, due)
    }
}

#[async_trait]
impl Store for FaultStore {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        self.read(Call::Get, self.inner.get(partition, keys)).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        self.read(Call::Scan, self.inner.scan(partition, from, until, limit))
            .await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        let before = match self.arrive(Call::Commit).await {
            None | Some(Fault::Delay(_)) => return self.inner.commit(partition, changes).await,
            Some(Fault::Unavailable) => return Err(Error::Unavailable(INJECTED.into())),
            Some(Fault::Busy(after)) => return Err(Error::Busy(after)),
            Some(Fault::FailAfter) => {
                self.inner.commit(partition, changes).await?;
                return Err(Error::Unavailable(INJECTED.into()));
            }
            Some(Fault::LoseAnswer) => {
                // Whether it took effect or failed, the caller can't know.
                let _ = self.inner.commit(partition, changes).await;
                return Err(Error::Unknown(INJECTED.into()));
            }
            Some(Fault::LoseRequest) => return Err(Error::Unknown(INJECTED.into())),
            Some(Fault::LandBefore(calls)) => Some(calls),
            Some(Fault::LandLater) => None,
            Some(Fault::Panic) => panic!("{INJECTED}"),
        };
        self.plan().adrift.push(Adrift {
            partition: partition.to_owned(),
            changes: changes.to_owned(),
            before,
        });
        Err(Error::Unknown(INJECTED.into()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{
        super::{Write, conformance, sqlite::SqliteStore},
        *,
    };

    fn store() -> FaultStore {
        FaultStore::new(Arc::new(SqliteStore::memory().unwrap()))
    }

    async fn insert(store: &FaultStore, key: &str) -> String {
        let write = Write {
            key: key.to_owned(),
            stamp: Vec::new(),
            body: Vec::new(),
        };
        spelled(&store.commit("p", &[Change::Insert(write)]).await)
    }

    fn spelled<T>(answer: &Result<T, Error>) -> String {
        match answer {
            Ok(_) => "done".to_owned(),
            Err(Error::Unknown(_)) => "unknown".to_owned(),
            Err(Error::Unavailable(_)) => "unavailable".to_owned(),
            Err(other) => other.to_string(),
        }
    }

    async fn keys(store: &FaultStore) -> Vec<String> {
        let page = store.inner.scan("p", "", "~", 99).await.unwrap();
        page.rows.into_iter().map(|row| row.key).collect()
    }

    #[tokio::test]
    async fn without_faults_it_is_the_store_inside() {
        conformance::run(&store()).await;
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says_to_a_commit() {
        for (fault, answer, applied) in [
            (Fault::Unavailable, "unavailable", false),
            (Fault::Busy(None), "the store is busy", false),
            (Fault::FailAfter, "unavailable", true),
            (Fault::LoseAnswer, "unknown", true),
            (Fault::LoseRequest, "unknown", false),
            (Fault::LandLater, "unknown", false),
            (Fault::LandBefore(1), "unknown", false),
            (Fault::Delay(Duration::ZERO), "done", true),
        ] {
            let store = store();
            store.inject(Call::Commit, 1..=1, fault);
            assert_eq!(insert(&store, "row").await, answer, "{fault:?}");
            assert_eq!(!keys(&store).await.is_empty(), applied, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says_to_a_read() {
        for (fault, answer) in [
            (Fault::Unavailable, "unavailable"),
            (Fault::Busy(None), "the store is busy"),
            (Fault::FailAfter, "unavailable"),
            (Fault::LoseAnswer, "unavailable"),
            (Fault::LoseRequest, "unavailable"),
            (Fault::LandLater, "unavailable"),
            (Fault::Delay(Duration::ZERO), "done"),
        ] {
            let store = store();
            store.inject(Call::Any, .., fault);
            assert_eq!(spelled(&store.get("p", &["row"]).await), answer, "{fault:?}");
            assert_eq!(spelled(&store.scan("p", "", "~", 9).await), answer, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn calls_are_counted_by_kind_from_the_injection_on() {
        let store = store();
        assert_eq!(insert(&store, "a").await, "done");
        store.inject(Call::Commit, 2..=3, Fault::Unavailable);
        store.inject(Call::Any, 6.., Fault::Busy(None));
        assert_eq!(insert(&store, "b").await, "done");
        assert_eq!(spelled(&store.get("p", &["a"]).await), "done");
        assert_eq!(insert(&store, "c").await, "unavailable");
        assert_eq!(insert(&store, "d").await, "unavailable");
        assert_eq!(insert(&store, "e").await, "done");
        assert_eq!(spelled(&store.scan("p", "", "~", 9).await), "the store is busy");
        assert_eq!(insert(&store, "f").await, "the store is busy");
        store.heal();
        assert_eq!(insert(&store, "g").await, "done");
        assert_eq!(keys(&store).await, ["a", "b", "e", "g"]);
    }

    #[tokio::test]
    async fn a_commit_adrift_lands_when_told() {
        let store = store();
        store.inject(Call::Commit, 1..=2, Fault::LandLater);
        assert_eq!(insert(&store, "a").await, "unknown");
        assert_eq!(insert(&store, "a").await, "unknown");
        assert_eq!(insert(&store, "b").await, "done");
        assert_eq!(keys(&store).await, ["b"]);
        let landed = store.land().await;
        let landed: Vec<_> = landed.iter().map(spelled).collect();
        assert_eq!(landed, ["done", "row a exists"]);
        assert_eq!(keys(&store).await, ["a", "b"]);
        assert!(store.land().await.is_empty());
    }

    #[tokio::test]
    async fn a_commit_adrift_lands_before_a_later_call() {
        let store = store();
        store.inject(Call::Commit, 1..=1, Fault::LandBefore(2));
        assert_eq!(insert(&store, "a").await, "unknown");
        assert_eq!(store.get("p", &["a"]).await.unwrap(), [None]);
        assert!(store.get("p", &["a"]).await.unwrap()[0].is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn delays_add_to_each_other_and_to_another_fault() {
        let store = store();
        store.inject(Call::Commit, .., Fault::Delay(Duration::from_secs(2)));
        store.inject(Call::Any, .., Fault::Delay(Duration::from_secs(3)));
        store.inject(Call::Any, 1..=1, Fault::LoseAnswer);
        let start = Instant::now();
        assert_eq!(insert(&store, "a").await, "unknown");
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!(spelled(&store.get("p", &["a"]).await), "done");
        assert_eq!(start.elapsed().as_secs(), 8);
    }
}
