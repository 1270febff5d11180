//! Which rows a query needs: a few by an indexed value, or all of a type within bounds. The filter itself always decides
//! in the end; the plan only narrows what it looks at.

use serde_json::{Map, Value};
use tokio::{task::yield_now, time::Instant};

use super::{
    Directory, Error, Stored,
    index::{self, Index},
};
use crate::{
    rows::{self, IndexBody},
    scim::{
        error::Rule,
        filter::{self, Filter},
        limits::{MAX_FILTER_WORK, MAX_PAGE_BYTES},
        list::ListQuery,
        normalize::Trace,
        schema::ResourceType,
    },
    store::{MAX_GET_KEYS, Row, settle},
};

/// Most resources that a filter without an indexed attribute looks at; beyond it the answer is `tooMany`.
pub const MAX_SCANNED: usize = 10_000;
/// Rows fetched at a time: what Table Storage returns at most.
const SCAN_STEP: usize = 1_000;
/// Bytes of bodies to fetch at a time, as far as the rows before tell: ordinary ones never come near.
const STEP_BYTES: usize = 16 * 1024 * 1024;
/// Work (bytes of bodies, times conditions) after which other requests of the same thread have their turn: milliseconds.
const TURN: usize = 1024 * 1024;

/// One page of a query's answer.
#[derive(Debug)]
pub struct Found {
    /// How many resources there are in all.
    pub total: usize,
    /// Those of the page, complete; fewer than asked for when they are large ([`MAX_PAGE_BYTES`]).
    pub documents: Vec<Map<String, Value>>,
}

/// Where a filter's matches can be.
enum Plan<'f> {
    Id(&'f str),
    Indexed(&'static Index, &'f str),
    Scan,
}

impl Directory {
    /// The resources that a query asks for (RFC 7644 §3.4.2), in the order of their keys.
    pub async fn query(
        &self,
        of: &ResourceType,
        query: &ListQuery,
        base_url: &str,
        trace: &mut Trace,
    ) -> Result<Found, Error> {
        let page = Page::of(query);
        let Some(text) = &query.filter else {
            return self.list(of, page, base_url).await;
        };
        let filter = filter::parse(of, text, trace)?;
        let mut sieve = Sieve {
            of,
            base_url,
            filter: &filter,
            terms: filter.terms(),
            work: 0,
            page,
        };
        match plan(of, &filter) {
            Plan::Id(id) => self.sift_these(&mut sieve, &[id.to_owned()]).await?,
            Plan::Indexed(index, value) => {
                let ids = self.look_up(index, value).await?;
                self.sift_these(&mut sieve, &ids).await?;
            }
            Plan::Scan => self.sift_all(&mut sieve).await?,
        }
        Ok(sieve.page.found)
    }

    /// A page of all resources of a type.
    async fn list(&self, of: &ResourceType, mut page: Page<'_>, base_url: &str) -> Result<Found, Error> {
        let (mut from, mut stride, mut work) = (None, Stride::of(SCAN_STEP), 0);
        loop {
            let (rows, next) = self.step(of, from, &mut stride).await?;
            for row in rows {
                if page.takes(row.body.len()) {
                    self.spend(&mut work, row.body.len()).await?;
                    page.found.documents.push(Stored::read(&row)?.document(of, base_url));
                }
            }
            if next.is_none() {
                return Ok(page.found);
            }
            from = next;
        }
    }

    /// Looks at every resource of a type, up to [`MAX_SCANNED`].
    async fn sift_all(&self, sieve: &mut Sieve<'_>) -> Result<(), Error> {
        let (mut from, mut stride, mut scanned) = (None, Stride::of(SCAN_STEP), 0);
        loop {
            let (rows, next) = self.step(sieve.of, from, &mut stride).await?;
            scanned += rows.len();
            if scanned > MAX_SCANNED || (scanned == MAX_SCANNED && next.is_some()) {
                return Err(too_many_resources());
            }
            self.sift(sieve, rows).await?;
            if next.is_none() {
                return Ok(());
            }
            from = next;
        }
    }

    /// Looks at the resources with these ids. That the ids are theirs need not be checked: what led to them stands in
    /// the filter.
    async fn sift_these(&self, sieve: &mut Sieve<'_>, mut ids: &[String]) -> Result<(), Error> {
        let mut stride = Stride::of(MAX_GET_KEYS);
        while !ids.is_empty() {
            let (these, others) = ids.split_at(stride.rows.min(ids.len()));
            let kind = index::kind(sieve.of);
            let keys: Vec<String> = these.iter().map(|id| rows::resource_key(kind, id)).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let rows = settle::patient_get(&*self.store, &self.access.tenant.id, &keys, self.deadline).await?;
            let rows: Vec<Row> = rows.into_iter().flatten().collect();
            stride.learn(&rows);
            self.sift(sieve, rows).await?;
            ids = others;
        }
        Ok(())
    }

    /// Puts the resources in these rows to the filter.
    async fn sift(&self, sieve: &mut Sieve<'_>, rows: Vec<Row>) -> Result<(), Error> {
        for row in rows {
            let work = row.body.len().saturating_mul(sieve.terms);
            // Before the work is done: a single row may be too much.
            if sieve.work.saturating_add(work) > MAX_FILTER_WORK {
                return Err(too_much_work());
            }
            self.spend(&mut sieve.work, work).await?;
            let document = Stored::read(&row)?.document(sieve.of, sieve.base_url);
            if sieve.filter.matches(&document) && sieve.page.takes(row.body.len()) {
                sieve.page.found.documents.push(document);
            }
        }
        Ok(())
    }

    /// Adds work to what a query has done. After every [`TURN`] it lets others go first, and ends when time is up.
    async fn spend(&self, done: &mut usize, work: usize) -> Result<(), Error> {
        let turns = *done / TURN;
        *done = done.saturating_add(work);
        if *done / TURN > turns {
            yield_now().await;
            if Instant::now() >= self.deadline {
                return Err(Rule::DeadlineExceeded.error().into());
            }
        }
        Ok(())
    }

    /// The next rows of a type, and where the ones behind them begin.
    async fn step(
        &self,
        of: &ResourceType,
        from: Option<String>,
        stride: &mut Stride,
    ) -> Result<(Vec<Row>, Option<String>), Error> {
        let (start, until) = rows::range(&rows::resource_key_prefix(index::kind(of)));
        let from = from.unwrap_or(start);
        let page = settle::patient_scan(
            &*self.store,
            &self.access.tenant.id,
            (&from, &until),
            stride.rows,
            self.deadline,
        )
        .await?;
        stride.learn(&page.rows);
        let next = page.rows.last().filter(|_| page.more).map(|row| rows::behind(&row.key));
        Ok((page.rows, next))
    }

    /// The ids of the resources that hold a value, by its index rows.
    async fn look_up(&self, index: &Index, value: &str) -> Result<Vec<String>, Error> {
        let partition = &self.access.tenant.id;
        let key = index.key(&self.access.tenant, value);
        let rows: Vec<Row> = if index.unique {
            settle::patient_get(&*self.store, partition, &[&key], self.deadline)
                .await?
                .into_iter()
                .flatten()
                .collect()
        } else {
            let (from, until) = rows::range(&key);
            let page =
                settle::patient_scan(&*self.store, partition, (&from, &until), MAX_SCANNED, self.deadline).await?;
            if page.more {
                return Err(too_many_resources());
            }
            page.rows
        };
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            let entry: IndexBody = rows::body(row)?;
            // The key is a hash; the value itself decides.
            if index.same(&entry.value, value) {
                ids.push(entry.id);
            }
        }
        Ok(ids)
    }
}

/// What a query with a filter looks for, and what it has found.
struct Sieve<'q> {
    of: &'q ResourceType,
    base_url: &'q str,
    filter: &'q Filter,
    /// The filter's conditions.
    terms: usize,
    /// Bytes of the bodies looked at, times `terms`; at most [`MAX_FILTER_WORK`].
    work: usize,
    page: Page<'q>,
}

/// A page while it fills.
struct Page<'q> {
    query: &'q ListQuery,
    found: Found,
    /// Of the bodies on the page.
    bytes: usize,
    is_full: bool,
}

impl Page<'_> {
    fn of(query: &ListQuery) -> Page<'_> {
        Page {
            query,
            found: Found {
                total: 0,
                documents: Vec::new(),
            },
            bytes: 0,
            is_full: false,
        }
    }

    /// Counts one more resource, and tells whether it belongs on the page. The first that does not fit ends the page
    /// although a smaller one may follow: the next page begins with it.
    fn takes(&mut self, bytes: usize) -> bool {
        self.found.total += 1;
        if self.found.total < self.query.start_index {
            return false;
        }
        let taken = self.found.documents.len();
        self.is_full |= taken >= self.query.count || (taken > 0 && self.bytes + bytes > MAX_PAGE_BYTES);
        if !self.is_full {
            self.bytes += bytes;
        }
        !self.is_full
    }
}

/// How many rows to fetch at a time: as many as one round trip brings, but fewer where rows are large.
pub(super) struct Stride {
    most: usize,
    pub(super) rows: usize,
}

impl Stride {
    pub(super) fn of(most: usize) -> Self {
        Self { most, rows: most }
    }

    pub(super) fn learn(&mut self, rows: &[Row]) {
        let bytes: usize = rows.iter().map(|row| row.body.len()).sum();
        if let Some(fit) = (STEP_BYTES * rows.len()).checked_div(bytes) {
            self.rows = fit.clamp(1, self.most);
        }
    }
}

fn too_many_resources() -> Error {
    let limit = format!("{MAX_SCANNED} resources");
    Rule::TooMany.error().with("limit", limit).into()
}

fn too_much_work() -> Error {
    let limit = format!(
        "{} MiB of resources, counted once for each of its conditions",
        MAX_FILTER_WORK / 1024 / 1024
    );
    Rule::TooMany.error().with("limit", limit).into()
}

/// In an `and`, any indexed equality drives; one that can match a single resource before others.
fn plan<'f>(of: &ResourceType, filter: &'f Filter) -> Plan<'f> {
    let equalities = filter.equalities();
    if let Some(id) = equalities.iter().find(|equality| equality.name == "id") {
        return Plan::Id(id.text);
    }
    let mut indexes: Vec<&'static Index> = index::indexes(of).collect();
    indexes.sort_by_key(|index| !index.unique);
    for index in indexes {
        if let Some(equality) = equalities.iter().find(|equality| index.is_of(&equality.name)) {
            return Plan::Indexed(index, equality.text);
        }
    }
    Plan::Scan
}
