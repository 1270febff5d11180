//! Events in the order of time, read page by page.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration as Step,
};

use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use crate::{
    directory::Error,
    rows::{self, CONTROL, EventBody, Key, MembersBody, Operation},
    store::{
        Row, Store,
        settle::{self, BARRED},
    },
};

/// Rows that are read at once: as many as Table Storage gives at once.
const PAGE: usize = 1_000;
/// How far behind the present somebody stays who goes on later: an event has its time before it is sent to the store, and clocks
/// differ.
pub const BEHIND: Duration = Duration::seconds(30);

/// Something that was done, or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Names it; those of later ones sort behind it.
    pub operation: String,
    /// What its row holds.
    pub body: EventBody,
    /// The memberships that changed with it.
    pub members: MembersBody,
}

impl Event {
    /// When it was done, or refused first.
    pub fn time(&self) -> OffsetDateTime {
        self.body
            .refused
            .as_ref()
            .map_or(self.body.time, |refused| refused.first)
    }

    /// When it was done, or refused last.
    pub fn last(&self) -> OffsetDateTime {
        self.body
            .refused
            .as_ref()
            .map_or(self.body.time, |refused| refused.last)
    }

    fn read(operation: &str, row: &Row) -> Result<Self, Error> {
        let mut body: EventBody = rows::body(row)?;
        Ok(Self {
            operation: operation.to_owned(),
            members: body.members.take().unwrap_or_default(),
            body,
        })
    }

    fn add(&mut self, part: MembersBody) {
        self.members.whole |= part.whole;
        self.members.users.extend(part.users);
        self.members.groups.extend(part.groups);
        self.members.leave.extend(part.leave);
    }
}

/// The events of one partition.
struct Log {
    partition: String,
    /// Where the next page begins; nothing behind the last one.
    from: Option<String>,
    until: String,
    rows: VecDeque<Row>,
}

/// What [`Events`] reads.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The tenant's id; without one the deeds of operators to all tenants, gone ones too.
    pub tenant: Option<String>,
    /// Not what ended before this.
    pub since: OffsetDateTime,
    /// Only what began before this.
    pub until: OffsetDateTime,
}

/// Events in the order of time: a tenant's own, and what operators did to it.
pub struct Events {
    store: Arc<dyn Store>,
    /// How long one step may take.
    step: Step,
    scope: Scope,
    logs: Vec<Log>,
    /// The next one of each log.
    heads: Vec<Option<Event>>,
    /// What was refused stands in the log where its hour begins: it waits here for its time, within the hour.
    refused: BTreeMap<(OffsetDateTime, String), Event>,
    /// Rows read so far.
    pub rows: usize,
}

impl Events {
    /// Those of a scope.
    pub fn new(store: Arc<dyn Store>, step: Step, scope: Scope) -> Self {
        Self::from(hour(scope.since), store, step, scope)
    }

    fn from(time: OffsetDateTime, store: Arc<dyn Store>, step: Step, scope: Scope) -> Self {
        let partitions = scope.tenant.iter().map(String::as_str).chain([CONTROL]);
        let logs: Vec<Log> = partitions
            .map(|partition| Log {
                partition: partition.to_owned(),
                from: Some(rows::events_from(time)),
                until: rows::events_from(scope.until),
                rows: VecDeque::new(),
            })
            .collect();
        Self {
            store,
            step,
            scope,
            heads: logs.iter().map(|_| None).collect(),
            logs,
            refused: BTreeMap::new(),
            rows: 0,
        }
    }

    /// The next one.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer in time; [`Error::Format`] for a row that can't be read.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            for log in 0..self.logs.len() {
                if self.heads[log].is_none() {
                    self.heads[log] = self.read(log).await?;
                }
            }
            let heads = self.heads.iter().enumerate();
            let heads = heads.filter_map(|(log, head)| Some((head.as_ref()?, log)));
            let first = heads.min_by(|(one, _), (other, _)| one.operation.cmp(&other.operation));
            // All others are of this time or later.
            let begins = first.and_then(|(event, _)| Operation::time_of(&event.operation));
            let is_next = |key: &(OffsetDateTime, String)| begins.is_none_or(|begins| key.0 <= begins);
            if self.refused.first_key_value().is_some_and(|(key, _)| is_next(key)) {
                return Ok(self.refused.pop_first().map(|(_, event)| event));
            }
            let log = first.map(|(_, log)| log);
            match log.and_then(|log| self.heads[log].take()) {
                Some(event) if event.body.refused.is_some() => {
                    self.refused.insert((event.time(), event.operation.clone()), event);
                }
                event => return Ok(event),
            }
        }
    }

    /// The next one of a log that is in the scope, with all its parts.
    async fn read(&mut self, log: usize) -> Result<Option<Event>, Error> {
        let mut event: Option<Event> = None;
        while let Some(row) = self.row(log).await? {
            match (Key::parse(&row.key), &mut event) {
                (Some(Key::Event(_)), _) if row.stamp == BARRED => {}
                (Some(Key::Event(_)), Some(_)) => {
                    self.logs[log].rows.push_front(row);
                    break;
                }
                (Some(Key::Event(operation)), None) => {
                    event = Some(Event::read(operation, &row)?).filter(|event| self.holds(log, event));
                }
                (Some(Key::EventPart(operation, _)), Some(event)) if operation == event.operation => {
                    event.add(rows::body(&row)?);
                }
                // The part of an event that is not asked for.
                _ => {}
            }
            let is_complete = event.as_ref().is_some_and(|event| event.body.parts == 0);
            if is_complete {
                break;
            }
        }
        Ok(event)
    }

    fn holds(&self, log: usize, event: &Event) -> bool {
        let is_ours = match &self.scope.tenant {
            Some(tenant) if self.logs[log].partition == CONTROL => event.body.tenant.as_ref() == Some(tenant),
            _ => true,
        };
        is_ours && event.last() >= self.scope.since
    }

    async fn row(&mut self, log: usize) -> Result<Option<Row>, Error> {
        let log = &mut self.logs[log];
        if let (true, Some(from)) = (log.rows.is_empty(), &log.from) {
            let range = (from.as_str(), log.until.as_str());
            let deadline = Instant::now() + self.step;
            let page = settle::patient_scan(&*self.store, &log.partition, range, PAGE, deadline).await?;
            let last = page.rows.last().filter(|_| page.more);
            log.from = last.map(|last| rows::behind(&last.key));
            self.rows += page.rows.len();
            log.rows = page.rows.into();
        }
        Ok(log.rows.pop_front())
    }
}

/// How long after its time an event may still come: as long as a step of a command takes that writes it, and a bit.
const LATE: Duration = Duration::minutes(3);

/// Goes on with what comes: each event once, and what was refused again each time that it was.
pub struct Follower {
    store: Arc<dyn Store>,
    step: Step,
    /// What was read so far: all up to its end but what came late.
    scope: Scope,
    /// What was told of the time that is read again; of refusals, of how many.
    told: BTreeMap<String, Option<u64>>,
}

impl Follower {
    /// Of what comes after a scope, all of which it is [told](Self::told).
    pub fn behind(store: Arc<dyn Store>, step: Step, scope: Scope) -> Self {
        Self {
            store,
            step,
            scope,
            told: BTreeMap::new(),
        }
    }

    /// That this was read.
    pub fn told(&mut self, event: &Event) {
        if event.operation.as_str() >= self.read_again(event.body.refused.is_some()).as_str() {
            self.told.insert(event.operation.clone(), count(event));
        }
    }

    /// The first operation that is read again with the next part: refusals stand where their hour begins, and others may be late.
    fn read_again(&self, refusals: bool) -> String {
        let from = rows::events_from(self.first(refusals));
        from["o~".len()..].to_owned()
    }

    fn first(&self, refusals: bool) -> OffsetDateTime {
        let until = self.scope.until;
        if refusals {
            hour(until) - Duration::HOUR
        } else {
            until - LATE
        }
    }

    /// What came until this time, which is [`BEHIND`] the present.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub async fn news(&mut self, until: OffsetDateTime) -> Result<Vec<Event>, Error> {
        let until = until.max(self.scope.until);
        let mut news = Vec::new();
        let mut begin = self.first(true);
        while begin <= until {
            // Where refusals stand, and nothing else.
            self.read(begin, begin + Duration::MICROSECOND, &mut news).await?;
            begin += Duration::HOUR;
        }
        self.read(self.first(false), until, &mut news).await?;
        news.sort_by_key(Event::time);
        self.scope.until = until;
        let (others, refusals) = (self.read_again(false), self.read_again(true));
        let first = |count: Option<u64>| if count.is_some() { &refusals } else { &others };
        self.told.retain(|operation, count| operation >= first(*count));
        Ok(news)
    }

    /// Adds what is new in this part of the log.
    async fn read(&mut self, from: OffsetDateTime, until: OffsetDateTime, news: &mut Vec<Event>) -> Result<(), Error> {
        let scope = Scope {
            since: from.max(self.scope.since),
            until,
            ..self.scope.clone()
        };
        let mut events = Events::from(from, Arc::clone(&self.store), self.step, scope);
        while let Some(event) = events.next().await? {
            let count = count(&event);
            if self.told.insert(event.operation.clone(), count) != Some(count) {
                news.push(event);
            }
        }
        Ok(())
    }
}

/// Of refusals, how many.
fn count(event: &Event) -> Option<u64> {
    event.body.refused.as_ref().map(|refused| refused.count)
}

/// Where the hour of a time begins.
fn hour(time: OffsetDateTime) -> OffsetDateTime {
    let seconds = time.unix_timestamp().div_euclid(3600) * 3600;
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time)
}
