//! What a filter matches: which rows it needs, a few by an indexed value or all of a type within bounds, and which of them
//! it takes. The filter itself always decides in the end; the plan only narrows what it looks at.

use futures::future::try_join;
use serde_json::{Map, Value};

use super::{
    Directory, Error, held,
    index::{self, Index},
    linked::{Linked, Needed},
    links,
    plan::{Plan, plan},
    query::{Ask, Asked},
};
use crate::{
    rows::{self, IndexBody},
    scim::{error::Rule, filter::Filter, limits::MAX_FILTER_WORK, schema::ResourceType},
    store::{MAX_BODY_BYTES, MAX_GET_KEYS, MAX_SCAN_BYTES, Row, settle},
};

/// Most resources that a filter without an indexed attribute looks at for one answer; beyond it the answer is `tooMany`, or
/// a query by cursor goes on with the next page.
pub const MAX_SCANNED: usize = 10_000;
/// Rows fetched at a time: what Table Storage returns at most.
pub(super) const SCAN_STEP: usize = 1_000;
/// Bytes of bodies whose documents are in memory at a time: a thousand ordinary users.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a membership in a document, about.
const LINK_BYTES: usize = 150;
/// Rows fetched by key at first: large ones are not too much then.
const FIRST_KEYS: usize = MAX_SCAN_BYTES / MAX_BODY_BYTES;

/// A resource that the filter matches.
pub(super) struct Candidate {
    /// Its type's number.
    pub(super) of: usize,
    /// Of its stored body ([`held::size`]).
    pub(super) bytes: usize,
    pub(super) is_linked: bool,
    pub(super) document: Map<String, Value>,
}

/// Who takes what matches.
pub(super) trait Take: Send {
    /// Takes the next one; false when there was no room for it, and there will be none for any other.
    fn take(&mut self, candidate: Candidate) -> Result<bool, Error>;

    /// Bytes of memory that those take which it has taken.
    fn memory(&self) -> usize;
}

/// Rows that are still to be looked at, in ascending order.
enum Source {
    Ids { ids: Vec<String>, stride: Stride },
    Range { from: Option<String>, until: String },
}

/// What became of rows that were put to a filter.
enum Sifted {
    All,
    /// There was no room for a match.
    NoRoom,
    /// One answer may do no more work.
    TooMuch,
}

/// What one answer has looked at.
#[derive(Default)]
struct Spent {
    rows: usize,
    /// Bytes of their bodies, and of the memberships that the filter looks at, times the filter's conditions; at most
    /// [`MAX_FILTER_WORK`].
    work: usize,
}

impl Directory {
    /// Gives what matches to `to`, as far as it has room and as one answer may go. Gives the key behind which to go on, or
    /// none at the end.
    pub(super) async fn sift(&self, ask: &Ask<'_>, to: &mut dyn Take) -> Result<Option<String>, Error> {
        let (first, behind) = ask.behind()?;
        let mut spent = Spent::default();
        let mut passed = behind.map(str::to_owned);
        for (of, asked) in ask.types.iter().enumerate().skip(first) {
            let behind = behind.filter(|_| of == first);
            let mut source = self.source(ask, asked, behind).await?;
            loop {
                if source.is_range() && spent.rows >= MAX_SCANNED {
                    return stop_or_refuse(ask, passed, too_many_resources);
                }
                let most = MAX_SCANNED - spent.rows.min(MAX_SCANNED);
                let (rows, linked) = self.fetch(ask, asked, &mut source, most).await?;
                if rows.is_empty() && source.is_empty() {
                    break;
                }
                let scanned = self.hold_rows(&rows)?;
                let affordable = spent.affordable(&rows, asked);
                let (now, later) = rows.split_at(affordable);
                for batch in batches(now) {
                    let batch = (batch, linked.as_ref());
                    match self.sift_batch(ask, of, batch, to, &mut passed, &mut spent).await? {
                        Sifted::All => {}
                        Sifted::NoRoom => return Ok(passed),
                        Sifted::TooMuch => {
                            let further = passed.filter(|passed| ask.goes_on_from() != Some(passed));
                            return stop_or_refuse(ask, further, too_much_work);
                        }
                    }
                }
                if !later.is_empty() {
                    return stop_or_refuse(ask, passed.filter(|_| spent.rows > 0), too_much_work);
                }
                self.held.give(scanned);
            }
        }
        Ok(None)
    }

    /// Puts the resources in these rows to the filter; `passed` is the last one of which it is known whether it matches.
    async fn sift_batch(
        &self,
        ask: &Ask<'_>,
        of: usize,
        (rows, linked): (&[Row], Option<&Linked>),
        to: &mut dyn Take,
        passed: &mut Option<String>,
        spent: &mut Spent,
    ) -> Result<Sifted, Error> {
        let asked = &ask.types[of];
        let held = self.hold(rows)?;
        let before = to.memory();
        let documents = self.documents(ask, asked, rows, linked).await?;
        let is_linked = linked.map_or(asked.needed == Needed::All, |linked| linked.complete);
        let mut done = 0;
        for (row, document) in rows.iter().zip(documents) {
            let links = asked.links_work(&document);
            if !spent.affords(links) {
                return Ok(Sifted::TooMuch);
            }
            self.spend(&mut done, asked.work(row).saturating_add(links)).await?;
            let matches = asked.filter.as_ref().is_none_or(|filter| filter.matches(&document));
            let bytes = held::size(row);
            let candidate = Candidate {
                of,
                bytes,
                is_linked,
                document,
            };
            if matches && !to.take(candidate)? {
                return Ok(Sifted::NoRoom);
            }
            *passed = Some(row.key.clone());
        }
        self.held.give(held.saturating_sub(to.memory() - before));
        Ok(Sifted::All)
    }

    /// Where the matches of one type are, behind a key.
    async fn source(&self, ask: &Ask<'_>, asked: &Asked<'_>, behind: Option<&str>) -> Result<Source, Error> {
        let kind = index::kind(asked.of);
        let ids = match plan(asked.of, asked.filter.as_ref()) {
            Plan::Nowhere => Some(Vec::new()),
            Plan::Id(id) => Some(vec![id.to_owned()]),
            // Where there are too many to be looked up, all resources are walked through, as far as the client goes.
            Plan::Indexed(index, value) => known_or_walked(ask, self.look_up(index, value).await?)?,
            Plan::Linked(id) => known_or_walked(ask, self.look_up_linked(asked.of, id).await?)?,
            Plan::Scan => None,
        };
        let Some(mut ids) = ids else {
            let (start, until) = rows::range(&rows::resource_key_prefix(kind));
            let from = Some(behind.map_or(start, rows::behind));
            return Ok(Source::Range { from, until });
        };
        // That the ids are theirs need not be checked: what led to them stands in the filter.
        let key = |id: &String| rows::resource_key(kind, id);
        ids.retain(|id| behind.is_none_or(|behind| key(id).as_str() > behind));
        ids.sort_by_cached_key(key);
        ids.dedup();
        let stride = Stride::of(FIRST_KEYS);
        Ok(Source::Ids { ids, stride })
    }

    /// The next rows of a source, of a range at most so many; of few their memberships too.
    async fn fetch(
        &self,
        ask: &Ask<'_>,
        asked: &Asked<'_>,
        source: &mut Source,
        most: usize,
    ) -> Result<(Vec<Row>, Option<Linked>), Error> {
        match source {
            Source::Ids { ids, stride } => {
                let these: Vec<String> = ids.drain(..stride.rows.min(ids.len())).collect();
                let kind = index::kind(asked.of);
                let keys: Vec<String> = these.iter().map(|id| rows::resource_key(kind, id)).collect();
                let (rows, linked) = try_join(self.rows(&keys), self.linked_ahead(ask, asked, &these)).await?;
                let rows: Vec<Row> = rows.into_iter().flatten().collect();
                stride.learn(&rows);
                Ok((rows, linked))
            }
            Source::Range { from, until } => {
                let Some(start) = from.take() else {
                    return Ok((Vec::new(), None));
                };
                let (rows, next) = self.step((&start, until), SCAN_STEP.min(most)).await?;
                *from = next;
                Ok((rows, None))
            }
        }
    }

    /// The ids of the resources that have this one among their members or groups; nothing if they are too many.
    async fn look_up_linked(&self, of: &ResourceType, id: &str) -> Result<Option<Vec<String>>, Error> {
        let found = self.linked_with(of, id, MAX_SCANNED).await?;
        let side = links::side(of);
        let ids = found.edges.iter().map(|edge| side.owner(edge).to_owned());
        Ok((!found.more).then(|| ids.collect()))
    }

    /// The next rows of a range, and where those behind them begin.
    pub(super) async fn step(&self, range: (&str, &str), limit: usize) -> Result<(Vec<Row>, Option<String>), Error> {
        let page = settle::patient_scan(&*self.store, &self.access.tenant.id, range, limit, self.deadline).await?;
        let next = page.rows.last().filter(|_| page.more).map(|row| rows::behind(&row.key));
        Ok((page.rows, next))
    }

    /// The ids of the resources that hold a value, by its index rows; nothing if they are too many.
    async fn look_up(&self, index: &Index, value: &str) -> Result<Option<Vec<String>>, Error> {
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
                return Ok(None);
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
        Ok(Some(ids))
    }
}

impl Asked<'_> {
    /// What it costs to put a row to the filter.
    fn work(&self, row: &Row) -> usize {
        row.body.len().saturating_mul(self.terms())
    }

    /// What it costs to put a resource's memberships to the filter, if it looks at them.
    fn links_work(&self, document: &Map<String, Value>) -> usize {
        let attribute = links::attribute(self.of).filter(|_| self.needed != Needed::Nothing);
        let values = attribute.and_then(|attribute| document.get(attribute)?.as_array());
        let links = values.map_or(0, Vec::len);
        links.saturating_mul(LINK_BYTES).saturating_mul(self.terms())
    }

    fn terms(&self) -> usize {
        self.filter.as_ref().map_or(1, Filter::terms)
    }
}

impl Source {
    fn is_empty(&self) -> bool {
        match self {
            Self::Ids { ids, .. } => ids.is_empty(),
            Self::Range { from, .. } => from.is_none(),
        }
    }

    /// Whether there are rows of a range to be fetched.
    fn is_range(&self) -> bool {
        matches!(self, Self::Range { from: Some(_), .. })
    }
}

impl Spent {
    /// How many of the rows may still be looked at; counts them. Before the work is done: a single row may be too much.
    fn affordable(&mut self, rows: &[Row], asked: &Asked<'_>) -> usize {
        let mut affordable = 0;
        for row in rows {
            if !self.affords(asked.work(row)) {
                break;
            }
            affordable += 1;
        }
        self.rows += affordable;
        affordable
    }

    /// Adds work, unless it is too much.
    fn affords(&mut self, work: usize) -> bool {
        let work = self.work.saturating_add(work);
        let affords = work <= MAX_FILTER_WORK;
        if affords {
            self.work = work;
        }
        affords
    }
}

/// How many rows to fetch by key at a time: few at first, and then as many as there is room for.
pub(super) struct Stride {
    pub(super) rows: usize,
}

impl Stride {
    pub(super) fn of(rows: usize) -> Self {
        Self { rows }
    }

    pub(super) fn learn(&mut self, rows: &[Row]) {
        let bytes: usize = rows.iter().map(|row| row.body.len()).sum();
        if let Some(fit) = (MAX_SCAN_BYTES * rows.len()).checked_div(bytes) {
            // Those to come may be larger.
            self.rows = fit.clamp(1, MAX_GET_KEYS).min(2 * self.rows);
        }
    }
}

/// Rows in parts whose documents have room in memory.
fn batches(mut rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rows.iter().take_while(|row| {
            let fits = bytes == 0 || bytes + held::size(row) <= BATCH_BYTES;
            bytes += held::size(row);
            fits
        });
        let (batch, others) = rows.split_at(fits.count());
        rows = others;
        (!batch.is_empty()).then_some(batch)
    })
}

/// One answer may look at no more: a query that can go on does so behind what it has `passed`, another is refused.
fn stop_or_refuse(
    ask: &Ask<'_>,
    passed: Option<String>,
    refusal: impl Fn(bool) -> Error,
) -> Result<Option<String>, Error> {
    match passed {
        Some(passed) if ask.can_go_on() => Ok(Some(passed)),
        _ => Err(refusal(ask.is_filtered())),
    }
}

/// The ids that were looked up. If they were too many, a query that can go on does without them, and another is refused.
fn known_or_walked(ask: &Ask<'_>, ids: Option<Vec<String>>) -> Result<Option<Vec<String>>, Error> {
    if ids.is_none() && !ask.can_go_on() {
        return Err(too_many_resources(true));
    }
    Ok(ids)
}

fn too_many_resources(is_filtered: bool) -> Error {
    refusal(is_filtered, format!("{MAX_SCANNED} resources"))
}

fn too_much_work(is_filtered: bool) -> Error {
    let mib = MAX_FILTER_WORK / 1024 / 1024;
    let limit = if is_filtered {
        format!("{mib} MiB of resources, counted once for each of its conditions")
    } else {
        format!("{mib} MiB of resources")
    };
    refusal(is_filtered, limit)
}

pub(super) fn refusal(is_filtered: bool, limit: String) -> Error {
    let rule = if is_filtered {
        Rule::TooMany
    } else {
        Rule::TooManyToSort
    };
    rule.error().with("limit", limit).into()
}
