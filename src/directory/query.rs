//! Queries (RFC 7644 §3.4.2, RFC 9865): what is asked for, and which of the three ways leads there: `list` for everything,
//! `sift` for what a filter matches, `sorted` for either in another order.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::{task::yield_now, time::Instant};

use super::{
    Directory, Error, Found, Stored,
    cursor::{Place, Seal},
    index,
    linked::{Linked, Memberships, Needed},
    links::{self, Shown},
    page::{Listed, Page},
    plan::{Plan, plan},
};
use crate::{
    rows,
    scim::{
        error::Rule,
        filter::{self, Filter},
        list::{ListQuery, Paging},
        normalize::Trace,
        schema::ResourceType,
        sort::Sort,
    },
    store::Row,
};

/// Work (bytes of bodies, times conditions) after which other requests of the same thread have their turn: milliseconds.
const TURN: usize = 1024 * 1024;

/// What is asked for, read once.
pub(super) struct Ask<'q> {
    /// The types, in the order in which their resources come.
    pub(super) types: Vec<Asked<'q>>,
    pub(super) base_url: &'q str,
    /// Resources on a page.
    pub(super) count: usize,
    pub(super) start: Start,
}

/// What is asked for of one type.
pub(super) struct Asked<'q> {
    pub(super) of: &'q ResourceType,
    pub(super) filter: Option<Filter>,
    pub(super) sort: Option<Sort>,
    /// What both must know of memberships.
    pub(super) needed: Needed,
    /// The answer shows memberships.
    pub(super) shows_links: bool,
    pub(super) memberships: Memberships,
}

/// Where the page begins.
#[derive(Debug)]
pub(super) enum Start {
    /// Behind so many resources; `totalResults` counts all.
    Index(usize),
    /// Behind a place; the answer says where to go on.
    Cursor(Option<Place>),
}

/// What a query comes to.
pub(super) struct Outcome {
    pub(super) resources: Vec<Listed>,
    pub(super) total: Option<usize>,
    /// Where a query by cursor goes on.
    pub(super) next: Option<Place>,
}

impl Ask<'_> {
    /// The key behind which to begin, and the number of its type.
    pub(super) fn behind(&self) -> Result<(usize, Option<&str>), Error> {
        let Some(key) = self.goes_on_from() else {
            return Ok((0, None));
        };
        let is_of = |asked: &Asked<'_>| key.starts_with(&rows::resource_key_prefix(index::kind(asked.of)));
        let of = self.types.iter().position(is_of);
        Ok((of.ok_or_else(|| Rule::InvalidCursor.error())?, Some(key)))
    }

    /// The key behind which to begin, of whatever type.
    pub(super) fn goes_on_from(&self) -> Option<&String> {
        match &self.start {
            Start::Cursor(Some(Place::Behind(key))) => Some(key),
            _ => None,
        }
    }

    /// Whether the query can go on later with the next page where this one ends.
    pub(super) fn is_by_cursor(&self) -> bool {
        matches!(self.start, Start::Cursor(_))
    }

    /// Whether one answer may look at a part only, behind which the next one goes on: what is sorted must all be known.
    pub(super) fn can_go_on(&self) -> bool {
        self.is_by_cursor() && self.types.iter().all(|asked| asked.sort.is_none())
    }

    /// Whether everything is asked for, in the order of the keys.
    pub(super) fn is_a_list(&self) -> bool {
        !self.is_filtered() && self.types.iter().all(|asked| asked.sort.is_none())
    }

    /// Whether it reads many rows, and not only those that an index names.
    fn scans(&self) -> bool {
        let is_scan = |asked: &Asked<'_>| matches!(plan(asked.of, asked.filter.as_ref()), Plan::Scan);
        self.types.iter().any(is_scan)
    }

    pub(super) fn is_filtered(&self) -> bool {
        self.types.iter().any(|asked| asked.filter.is_some())
    }
}

impl Directory {
    /// The resources of these types that a query asks for, in the order of the types and of their keys, or as it sorts
    /// them.
    ///
    /// # Errors
    /// What the query's parts are refused for; [`Rule::TooMany`] and [`Rule::TooManyToSort`] for too much work.
    pub async fn query(
        &self,
        types: &[Arc<ResourceType>],
        query: &ListQuery,
        shown: &[Shown],
        base_url: &str,
        trace: &mut Trace,
    ) -> Result<Found, Error> {
        let seal = Seal {
            key: &self.access.tenant.cursor_key,
            types: types.iter().map(|of| of.name.as_str()).collect(),
            query,
            now: self.ambient.now(),
        };
        let start = match &query.paging {
            Paging::Index(start) => Start::Index(start - 1),
            Paging::Cursor(cursor) => Start::Cursor(cursor.as_deref().map(|cursor| seal.open(cursor)).transpose()?),
        };
        let asked = asked(types, query, shown, trace)?;
        for one in &asked {
            self.note_sought(one.of, one.filter.as_ref());
        }
        let ask = Ask {
            types: asked,
            base_url,
            count: query.count,
            start,
        };
        if ask.scans() {
            self.held.turn().await;
        }
        let mut outcome = if query.sort.is_some() {
            self.sorted(&ask).await?
        } else if ask.is_filtered() {
            self.filtered(&ask).await?
        } else {
            self.list(&ask).await?
        };
        self.show_links(&ask, &mut outcome.resources).await?;
        Ok(Found {
            total: outcome.total,
            resources: outcome.resources,
            next_cursor: outcome.next.map(|place| seal.close(&place)),
        })
    }

    /// A page of what a filter matches.
    async fn filtered(&self, ask: &Ask<'_>) -> Result<Outcome, Error> {
        let mut page = match ask.start {
            Start::Index(skip) => Page::counting(skip, ask.count),
            Start::Cursor(_) => Page::of(ask.count),
        };
        let stopped = self.sift(ask, &mut page).await?;
        let is_all = stopped.is_none() && matches!(ask.start, Start::Index(_) | Start::Cursor(None));
        Ok(Outcome {
            total: is_all.then_some(page.seen),
            resources: page.resources,
            next: stopped.map(Place::Behind),
        })
    }

    /// The complete documents of resources, in the order of their rows. The one place where rows become what a query looks
    /// at and shows: what is stored beside the rows is read here, for all of them at once.
    pub(super) async fn documents(
        &self,
        ask: &Ask<'_>,
        asked: &Asked<'_>,
        rows: &[Row],
        linked: Option<&Linked>,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let stored: Vec<Stored> = rows.iter().map(Stored::read).collect::<Result<_, _>>()?;
        let read;
        let linked = match (linked, &asked.needed) {
            (None, Needed::Nothing) => None,
            (None, _) => {
                let ids: Vec<String> = stored.iter().map(|stored| stored.envelope.id.clone()).collect();
                read = self.needed(ask, asked, &ids).await?;
                Some(&read)
            }
            (linked, _) => linked,
        };
        let mut documents = Vec::with_capacity(rows.len());
        let mut done = 0;
        for (stored, row) in stored.into_iter().zip(rows) {
            self.spend(&mut done, row.body.len()).await?;
            let mut document = stored.document(asked.of, ask.base_url);
            if let Some(linked) = linked {
                let links = linked.of(links::side(asked.of), &stored.envelope.id);
                links.add_to(&mut document, ask.base_url);
            }
            documents.push(document);
        }
        Ok(documents)
    }

    /// Adds work to what a query has done. After every [`TURN`] it lets others go first, and ends when time is up.
    pub(super) async fn spend(&self, done: &mut usize, work: usize) -> Result<(), Error> {
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
}

/// Reads filter and order for each type. What only another type has is without value in this one's resources.
fn asked<'q>(
    types: &'q [Arc<ResourceType>],
    query: &ListQuery,
    shown: &[Shown],
    trace: &mut Trace,
) -> Result<Vec<Asked<'q>>, Error> {
    let all: Vec<&ResourceType> = types.iter().map(Arc::as_ref).collect();
    let read = |(of, shown): (&'q ResourceType, &Shown)| {
        let others = all.iter().copied().filter(|other| other.name != of.name);
        let own_first: Vec<&ResourceType> = std::iter::once(of).chain(others).collect();
        let filter = query.filter.as_deref();
        let filter = filter
            .map(|text| filter::parse_first_of(&own_first, text, trace))
            .transpose()?;
        let sort = query.sort.as_ref();
        let sort = sort.map(|by| Sort::parse(&own_first, by, trace)).transpose()?;
        Ok(Asked {
            of,
            needed: Needed::by(of, filter.as_ref(), sort.as_ref()),
            shows_links: shown.direct,
            memberships: Memberships::default(),
            filter,
            sort,
        })
    };
    types.iter().map(Arc::as_ref).zip(shown).map(read).collect()
}

#[cfg(test)]
mod tests;
