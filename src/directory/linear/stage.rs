//! A store whose calls wait for their turn, so that a history takes the same course whenever it is played.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::pending;
use tokio::{sync::oneshot, task_local, time::sleep};

use crate::{
    rows::{GONE_PREFIX, PENDING_PREFIX},
    store::{Change, ETag, Error, MAX_SCAN_BYTES, Page, Row, Store, check_commit, check_get, check_scan},
};

/// Rows in memory. Nothing happens to them before the stage says whose turn it is; a read of several keys takes several
/// turns, as on Table Storage, and so does a scan of more rows than fit on a page.
#[derive(Default)]
pub(super) struct Stage {
    plot: Mutex<Plot>,
}

#[derive(Default)]
struct Plot {
    partitions: BTreeMap<String, BTreeMap<String, Row>>,
    etags: u64,
    /// Who waits, in the order of their calls; none while the stage is open: then nobody waits.
    waiting: Option<Vec<Waiting>>,
    holds: Vec<Hold>,
    /// Who is next: decides as long as there are any.
    choices: VecDeque<u8>,
    /// Rows on a page of a scan; 0: all.
    page: usize,
}

struct Waiting {
    call: String,
    turn: oneshot::Sender<()>,
}

/// A call that waits until a client has been told everything.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    /// What the call begins with: the number of a client, a kind of call, and a key.
    pub(super) call: String,
    pub(super) until: usize,
}

task_local! {
    /// The client whose call it is.
    static WHO: usize;
}

/// Below this a choice is for the call made last, so that a client often takes several turns in a row.
const GO_ON: u8 = 80;

impl Stage {
    /// From now on calls wait.
    pub(super) fn close(&self, choices: &[u8], page: usize, holds: &[Hold]) {
        let mut plot = self.plot();
        plot.waiting = Some(Vec::new());
        plot.holds = holds.to_vec();
        plot.choices = choices.iter().copied().collect();
        plot.page = page;
    }

    /// From now on nobody waits.
    pub(super) fn open(&self) {
        let mut plot = self.plot();
        plot.waiting = None;
        plot.page = 0;
    }

    /// Lets go on who waited for this client.
    pub(super) fn is_told(&self, client: usize) {
        self.plot().holds.retain(|hold| hold.until != client);
    }

    /// Gives turns until `is_over`, and nobody has called for longer than anyone pauses.
    pub(super) async fn play(&self, is_over: impl Fn() -> bool) {
        let mut idle = 0;
        while idle < 3 {
            // Time passes when everybody waits: for a turn, or for a time.
            let long = idle > 0 && is_over();
            sleep(Duration::from_millis(if long { 700 } else { 1 })).await;
            let next = self.plot().next();
            idle = match next {
                Some(turn) => {
                    // Whoever stopped waiting leaves the turn to the next one.
                    let _ = turn.send(());
                    0
                }
                None if is_over() => idle + 1,
                None => 0,
            };
        }
    }

    async fn turn(&self, call: &str) {
        let turn = {
            let mut plot = self.plot();
            let Some(waiting) = &mut plot.waiting else { return };
            let (turn, given) = oneshot::channel();
            let who = WHO.try_with(ToString::to_string).unwrap_or_default();
            let call = format!("{who} {call}");
            waiting.push(Waiting { call, turn });
            given
        };
        if turn.await.is_err() {
            pending::<()>().await;
        }
    }

    fn plot(&self) -> MutexGuard<'_, Plot> {
        self.plot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All rows of a partition.
    pub(super) fn rows(&self, partition: &str) -> Vec<Row> {
        let plot = self.plot();
        plot.partitions
            .get(partition)
            .into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }
}

impl Plot {
    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        let waiting = self.waiting.as_mut()?;
        waiting.retain(|waiting| !waiting.turn.is_closed());
        let is_held = |waiting: &Waiting| self.holds.iter().any(|hold| waiting.call.starts_with(&hold.call));
        let free: Vec<usize> = (0..waiting.len()).filter(|at| !is_held(&waiting[*at])).collect();
        let last = free.len().checked_sub(1)?;
        let at = match self.choices.pop_front() {
            None => 0,
            Some(choice) if choice < GO_ON => last,
            Some(choice) => usize::from(choice - GO_ON) % free.len(),
        };
        Some(waiting.remove(free[at]).turn)
    }

    fn choice(&mut self) -> u8 {
        match self.waiting {
            // The first key is often the one that is guarded.
            Some(_) if !self.holds.is_empty() => 1,
            Some(_) => self.choices.pop_front().unwrap_or_default(),
            None => 0,
        }
    }

    fn rows(&mut self, partition: &str) -> &mut BTreeMap<String, Row> {
        self.partitions.entry(partition.to_owned()).or_default()
    }

    fn commit(&mut self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        let mut rows = self.rows(partition).clone();
        for change in changes {
            self.etags += 1;
            let etag = ETag(self.etags.to_string());
            let key = change.key().to_owned();
            let before = rows.get(&key);
            let fits = |expected: &ETag| before.is_some_and(|row| row.etag == *expected);
            match change {
                Change::Insert(_) if before.is_some() => return Err(Error::Exists(key)),
                Change::Replace(_, expected) if !fits(expected) => return Err(Error::Changed(key)),
                Change::Stamp(..) | Change::Touch(_) | Change::Delete(..) if before.is_none() => {
                    return Err(Error::Missing(key));
                }
                Change::Stamp(_, _, Some(expected)) | Change::Delete(_, Some(expected)) if !fits(expected) => {
                    return Err(Error::Changed(key));
                }
                Change::Insert(write) | Change::Replace(write, _) | Change::Upsert(write) => {
                    let (stamp, body) = (write.stamp.clone(), write.body.clone());
                    rows.insert(key.clone(), Row { key, etag, stamp, body });
                }
                Change::Stamp(_, stamp, _) => {
                    let row = rows.get_mut(&key).expect("it was there");
                    (row.etag, row.stamp) = (etag, stamp.clone());
                }
                Change::Touch(_) => rows.get_mut(&key).expect("it was there").etag = etag,
                Change::Delete(..) => {
                    rows.remove(&key);
                }
            }
        }
        self.partitions.insert(partition.to_owned(), rows);
        Ok(())
    }
}

/// Turns that a read of many keys takes.
const MAX_PARTS: usize = 3;

#[async_trait]
impl Store for Stage {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        check_get(partition, keys)?;
        let mut found = vec![None; keys.len()];
        // Which key is read when is nobody's promise.
        let parts = MAX_PARTS.min(keys.len());
        let first = self.plot().choice();
        for part in 0..parts {
            let part = if first.is_multiple_of(2) {
                part
            } else {
                parts - 1 - part
            };
            self.turn(&format!("get {}", keys[part])).await;
            let mut plot = self.plot();
            let rows = plot.rows(partition);
            for at in (part..keys.len()).step_by(MAX_PARTS) {
                found[at] = rows.get(keys[at]).cloned();
            }
        }
        Ok(found)
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        check_scan(partition, from, until)?;
        let (mut found, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
        let mut start = Bound::Included(from.to_owned());
        for answers in 1.. {
            self.turn(&format!("scan {from} {answers}")).await;
            let mut plot = self.plot();
            let page = if plot.page == 0 { usize::MAX } else { plot.page };
            let rows = plot.rows(partition);
            let wanted = page.min(limit - found.len());
            let range = rows.range((start, Bound::Unbounded)).map(|(_, row)| row);
            let mut range = range.take_while(|row| row.key.as_str() < until).peekable();
            let end = found.len().saturating_add(wanted);
            while found.len() < end && bytes < MAX_SCAN_BYTES {
                let Some(row) = range.next() else { break };
                bytes += row.bytes();
                found.push(row.clone());
            }
            let more = range.peek().is_some();
            if !more || found.len() >= limit || bytes >= MAX_SCAN_BYTES {
                return Ok(Page {
                    rows: found,
                    more,
                    split: answers > 1,
                });
            }
            start = Bound::Excluded(found.last().expect("a page has rows").key.clone());
        }
        unreachable!("there is a last page")
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        check_commit(partition, changes)?;
        self.turn("commit").await;
        self.plot().commit(partition, changes)
    }
}

/// What becomes of the process that a client talks to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Lives,
    /// Its n-th call is its last, and never starts.
    DiesBefore(usize),
    /// Its n-th call takes place, and is its last.
    DiesAfter(usize),
}

/// What a bug would do; so that it is known that bugs are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    None,
    /// Whoever changes memberships leaves the gate alone.
    Gate,
    /// Nobody sees what is decided.
    Overlay,
    /// A member may be deleted while it joins.
    Member,
    /// Who brings somebody back does not look for what stands beside the tombstone.
    Beside,
    /// Nobody knows that a scan was not of one moment.
    Split,
}

impl Sabotage {
    fn drops(self, change: &Change) -> bool {
        match change {
            Change::Touch(key) | Change::Stamp(key, ..) => match self {
                Self::Gate => key.ends_with("~-"),
                Self::Member => key.starts_with("u~"),
                _ => false,
            },
            _ => false,
        }
    }
}

/// The store as one process sees it.
pub(super) struct Process {
    number: usize,
    inner: Arc<dyn Store>,
    fate: Fate,
    sabotage: Sabotage,
    life: Mutex<Life>,
}

/// How far a process came.
#[derive(Default)]
pub(super) struct Life {
    calls: usize,
    pub(super) is_over: bool,
}

impl Process {
    pub(super) fn new(number: usize, inner: Arc<dyn Store>, fate: Fate, sabotage: Sabotage) -> Self {
        Self {
            number,
            inner,
            fate,
            sabotage,
            life: Mutex::default(),
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.life().is_over
    }

    async fn call<T>(&self, call: impl Future<Output = T> + Send) -> T {
        let number = {
            let mut life = self.life();
            life.calls += 1;
            life.is_over |= matches!(self.fate, Fate::DiesBefore(last) if last <= life.calls);
            life.calls
        };
        if self.is_dead() {
            return pending().await;
        }
        let answer = WHO.scope(self.number, call).await;
        self.life().is_over |= matches!(self.fate, Fate::DiesAfter(last) if last <= number);
        if self.is_dead() {
            return pending().await;
        }
        answer
    }
}

#[async_trait]
impl Store for Process {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        self.call(self.inner.get(partition, keys)).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        let hides = match self.sabotage {
            Sabotage::Overlay => from.starts_with(PENDING_PREFIX),
            Sabotage::Beside => from.starts_with(GONE_PREFIX),
            _ => false,
        };
        if hides {
            return Ok(Page::default());
        }
        let mut page = self.call(self.inner.scan(partition, from, until, limit)).await?;
        page.split &= self.sabotage != Sabotage::Split;
        Ok(page)
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        let changes: Vec<Change> = changes
            .iter()
            .filter(|change| !self.sabotage.drops(change))
            .cloned()
            .collect();
        self.call(self.inner.commit(partition, &changes)).await
    }
}
