//! Which rows a query needs: a few by an indexed value, or all of a type within bounds. The filter itself always decides
//! in the end; the plan only narrows what it looks at.

use serde_json::{Map, Value};

use super::{
    Directory, Error, Stored,
    index::{self, Index},
};
use crate::{
    rows::{self, IndexBody},
    scim::{
        error::Rule,
        filter::{self, Filter},
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

/// One page of a query's answer.
#[derive(Debug)]
pub struct Found {
    /// How many resources there are in all.
    pub total: usize,
    /// Those of the page, complete.
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
        let Some(text) = &query.filter else {
            return self.list(of, query, base_url).await;
        };
        let filter = filter::parse(of, text, trace)?;
        let candidates = match plan(of, &filter) {
            Plan::Id(id) => self.read_all(of, &[id]).await?.into_iter().flatten().collect(),
            Plan::Indexed(index, value) => self.look_up(of, index, value).await?,
            Plan::Scan => return self.scan(of, &filter, query, base_url).await,
        };
        let documents = candidates.iter().map(|stored| stored.document(of, base_url));
        let matches: Vec<_> = documents.filter(|document| filter.matches(document)).collect();
        let total = matches.len();
        Ok(Found {
            total,
            documents: matches
                .into_iter()
                .skip(query.start_index - 1)
                .take(query.count)
                .collect(),
        })
    }

    /// A page of all resources of a type.
    async fn list(&self, of: &ResourceType, query: &ListQuery, base_url: &str) -> Result<Found, Error> {
        let mut found = Found {
            total: 0,
            documents: Vec::new(),
        };
        let mut from = None;
        loop {
            let (rows, next) = self.step(of, from).await?;
            for row in rows {
                found.total += 1;
                if found.total >= query.start_index && found.documents.len() < query.count {
                    found.documents.push(Stored::read(&row)?.document(of, base_url));
                }
            }
            if next.is_none() {
                return Ok(found);
            }
            from = next;
        }
    }

    /// Looks at every resource of a type, up to [`MAX_SCANNED`].
    async fn scan(
        &self,
        of: &ResourceType,
        filter: &Filter,
        query: &ListQuery,
        base_url: &str,
    ) -> Result<Found, Error> {
        let mut found = Found {
            total: 0,
            documents: Vec::new(),
        };
        let (mut from, mut scanned) = (None, 0);
        loop {
            let (rows, next) = self.step(of, from).await?;
            scanned += rows.len();
            if scanned > MAX_SCANNED || (scanned == MAX_SCANNED && next.is_some()) {
                return Err(Rule::TooMany.error().with("limit", MAX_SCANNED.to_string()).into());
            }
            for row in rows {
                let document = Stored::read(&row)?.document(of, base_url);
                if filter.matches(&document) {
                    found.total += 1;
                    if found.total >= query.start_index && found.documents.len() < query.count {
                        found.documents.push(document);
                    }
                }
            }
            if next.is_none() {
                return Ok(found);
            }
            from = next;
        }
    }

    /// The next rows of a type, and where the ones behind them begin.
    async fn step(&self, of: &ResourceType, from: Option<String>) -> Result<(Vec<Row>, Option<String>), Error> {
        let (start, until) = rows::range(&rows::resource_key_prefix(index::kind(of)));
        let from = from.unwrap_or(start);
        let page = settle::patient_scan(
            &*self.store,
            &self.access.tenant.id,
            (&from, &until),
            SCAN_STEP,
            self.deadline,
        )
        .await?;
        let next = page.rows.last().filter(|_| page.more).map(|row| rows::behind(&row.key));
        Ok((page.rows, next))
    }

    /// The resources that hold a value, by its index rows.
    async fn look_up(&self, of: &ResourceType, index: &Index, value: &str) -> Result<Vec<Stored>, Error> {
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
                return Err(Rule::TooMany.error().with("limit", MAX_SCANNED.to_string()).into());
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
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MAX_GET_KEYS) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            found.extend(self.read_all(of, &ids).await?.into_iter().flatten());
        }
        Ok(found)
    }
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
        if let Some(equality) = equalities.iter().find(|equality| equality.name == index.name()) {
            return Plan::Indexed(index, equality.text);
        }
    }
    Plan::Scan
}
