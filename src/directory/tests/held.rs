//! A test double: a store whose calls wait until they are let go, so that something else happens meanwhile.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use tokio::{
    sync::{Semaphore, watch},
    task::yield_now,
};

use crate::store::{Change, Error, Page, Row, Store, faults::Call};

/// Turns of the scheduler after which whoever is not held has gone as far as it can.
const TURNS: usize = 100;

/// Wraps a store.
pub(super) struct HeldStore {
    inner: Arc<dyn Store>,
    rule: Mutex<Option<(Call, RangeInclusive<usize>, usize)>>,
    /// One for each call that may go.
    free: Semaphore,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Calls that wait.
    held: usize,
    /// Calls under way.
    running: usize,
    /// Nobody comes any more.
    over: bool,
}

impl HeldStore {
    pub(super) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            rule: Mutex::default(),
            free: Semaphore::new(0),
            state: watch::Sender::default(),
        }
    }

    /// Holds the calls of this kind that have these numbers, 1 being the next.
    pub(super) fn hold(&self, call: Call, numbers: RangeInclusive<usize>) {
        *self.rule.lock().unwrap() = Some((call, numbers, 0));
        self.state.send_modify(|state| state.over = false);
    }

    /// Lets so many of the held calls go, or of those that come.
    pub(super) fn let_go(&self, calls: usize) {
        self.free.add_permits(calls);
    }

    /// No call comes any more: nobody need wait for one.
    pub(super) fn end(&self) {
        *self.rule.lock().unwrap() = None;
        self.state.send_modify(|state| state.over = true);
    }

    /// Waits until calls are held and all others are done; gives how many are held, 0 when none comes any more.
    pub(super) async fn settled(&self) -> usize {
        let mut states = self.state.subscribe();
        let mut quiet = 0;
        while quiet < TURNS {
            let settled = |state: &State| state.over || (state.held > 0 && state.running == 0);
            let is_settled = settled(&states.borrow_and_update());
            if is_settled {
                quiet += 1;
                yield_now().await;
            } else {
                quiet = 0;
                states.changed().await.unwrap();
            }
        }
        states.borrow().held
    }

    fn is_held(&self, call: Call) -> bool {
        let mut rule = self.rule.lock().unwrap();
        let Some((held, numbers, seen)) = rule.as_mut() else {
            return false;
        };
        if *held != Call::Any && *held != call {
            return false;
        }
        *seen += 1;
        numbers.contains(seen)
    }

    async fn pass<T>(&self, call: Call, work: impl Future<Output = T> + Send) -> T {
        if self.is_held(call) {
            self.state.send_modify(|state| state.held += 1);
            self.free.acquire().await.unwrap().forget();
            self.state.send_modify(|state| state.held -= 1);
        }
        self.state.send_modify(|state| state.running += 1);
        let done = work.await;
        self.state.send_modify(|state| state.running -= 1);
        done
    }
}

#[async_trait]
impl Store for HeldStore {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        self.pass(Call::Get, self.inner.get(partition, keys)).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        self.pass(Call::Scan, self.inner.scan(partition, from, until, limit))
            .await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        self.pass(Call::Commit, self.inner.commit(partition, changes)).await
    }
}
