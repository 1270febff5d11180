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
    rows::{self, CONTROL, EventBody, Key, MembersBody},
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
    /// What was refused stands in the log where its hour begins: it waits here for its time.
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
        for log in 0..self.logs.len() {
            while self.heads[log].is_none() {
                let Some(event) = self.read(log).await? else { break };
                if event.body.refused.is_some() {
                    self.refused.insert((event.time(), event.operation.clone()), event);
                } else {
                    self.heads[log] = Some(event);
                }
            }
        }
        let first = self.heads.iter().enumerate();
        let first = first.filter_map(|(log, head)| Some((head.as_ref()?, log)));
        let first = first.min_by(|(one, _), (other, _)| one.operation.cmp(&other.operation));
        let is_refusal = |key: &(OffsetDateTime, String)| first.is_none_or(|(event, _)| key.0 <= event.time());
        if self.refused.first_key_value().is_some_and(|(key, _)| is_refusal(key)) {
            return Ok(self.refused.pop_first().map(|(_, event)| event));
        }
        let log = first.map(|(_, log)| log);
        Ok(log.and_then(|log| self.heads[log].take()))
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

/// Goes on with what comes: each event once, and what was refused again each time that it was.
pub struct Follower {
    store: Arc<dyn Store>,
    step: Step,
    /// What was told so far: all up to `since`, and of refusals of its hour and the hour before how many.
    scope: Scope,
    told: BTreeMap<String, u64>,
}

impl Follower {
    /// Of what comes after a scope.
    pub fn behind(store: Arc<dyn Store>, step: Step, scope: Scope) -> Self {
        Self {
            store,
            step,
            scope,
            told: BTreeMap::new(),
        }
    }

    /// That this was told.
    pub fn told(&mut self, event: &Event) {
        if let Some(refused) = &event.body.refused {
            self.told.insert(event.operation.clone(), refused.count);
        }
    }

    /// What came until this time, which is [`BEHIND`] the present.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub async fn news(&mut self, until: OffsetDateTime) -> Result<Vec<Event>, Error> {
        let since = self.scope.until;
        let until = until.max(since);
        let first = hour(since) - Duration::HOUR;
        let mut news = Vec::new();
        let mut begin = first;
        while begin <= until {
            // Where refusals stand, and nothing else.
            self.read(begin, begin + Duration::MICROSECOND, first, &mut news)
                .await?;
            begin += Duration::HOUR;
        }
        self.read(since, until, since, &mut news).await?;
        news.sort_by_key(Event::time);
        let first = rows::events_from(first);
        self.told
            .retain(|operation, _| operation.as_str() >= &first["o~".len()..]);
        self.scope.until = until;
        Ok(news)
    }

    /// Adds what is new in this part of the log.
    async fn read(
        &mut self,
        from: OffsetDateTime,
        until: OffsetDateTime,
        since: OffsetDateTime,
        news: &mut Vec<Event>,
    ) -> Result<(), Error> {
        let scope = Scope {
            since,
            until,
            ..self.scope.clone()
        };
        let mut events = Events::from(from, Arc::clone(&self.store), self.step, scope);
        while let Some(event) = events.next().await? {
            let counted = event.body.refused.as_ref().map(|refused| refused.count);
            if counted.is_none() || self.told.get(&event.operation).copied() != counted {
                self.told(&event);
                news.push(event);
            }
        }
        Ok(())
    }
}

/// Where the hour of a time begins.
fn hour(time: OffsetDateTime) -> OffsetDateTime {
    let seconds = time.unix_timestamp().div_euclid(3600) * 3600;
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time)
}
