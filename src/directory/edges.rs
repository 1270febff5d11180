//! Memberships as they are read: the edges, and laid over them what is decided but not spread yet.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::future::try_join;
use tokio::time::Instant;

use super::{Directory, Error, in_parallel, journal::Journal};
use crate::{
    rows::{self, EdgeBody, FORMAT, JournalBody, TraceBody},
    scim::members::{Kind, Member},
    store::{self, MAX_GET_KEYS, Row, settle},
};

/// Rows fetched at a time: what Table Storage returns at most, and at one moment.
const STEP: usize = 1_000;

/// One membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) group: String,
    pub(super) member: String,
    pub(super) kind: Kind,
}

impl From<EdgeBody> for Edge {
    fn from(body: EdgeBody) -> Self {
        Self {
            group: body.group,
            member: body.member,
            kind: if body.resource_type == Kind::Group.keyword() {
                Kind::Group
            } else {
                Kind::User
            },
        }
    }
}

impl Edge {
    pub(super) fn into_member(self) -> Member {
        Member {
            id: self.member,
            kind: Some(self.kind),
        }
    }
}

/// From which end memberships are looked at: what their keys begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The members of groups.
    Members,
    /// The groups of members.
    Groups,
}

impl Side {
    fn key(self, edge: &Edge) -> String {
        match self {
            Self::Members => rows::member_key(&edge.group, &edge.member),
            Self::Groups => rows::membership_key(&edge.member, &edge.group),
        }
    }

    /// The edges of one resource.
    pub(super) fn of(self, id: &str) -> Range {
        let prefix = match self {
            Self::Members => rows::members_prefix(id),
            Self::Groups => rows::memberships_prefix(id),
        };
        let (from, until) = rows::range(&prefix);
        Range {
            side: self,
            from,
            until,
        }
    }
}

impl Side {
    /// Whose membership it is, seen from this end.
    pub(super) fn owner(self, edge: &Edge) -> &str {
        match self {
            Self::Members => &edge.group,
            Self::Groups => &edge.member,
        }
    }

    /// Who is at the other end.
    pub(super) fn other(self, edge: &Edge) -> &str {
        match self {
            Self::Members => &edge.member,
            Self::Groups => &edge.group,
        }
    }

    /// The edges of all these resources, and perhaps of others. An id that another one begins with comes before it, but
    /// its edges come behind that one's: what follows an id in their keys sorts behind every letter.
    pub(super) fn around(self, ids: &[String]) -> Option<Range> {
        ids.iter().map(|id| self.of(id)).reduce(|all, one| Range {
            side: self,
            from: all.from.min(one.from),
            until: all.until.max(one.until),
        })
    }
}

/// Keys of edges.
#[derive(Clone, Debug)]
pub(super) struct Range {
    side: Side,
    from: String,
    until: String,
}

impl Range {
    fn holds(&self, key: &str) -> bool {
        (self.from.as_str()..self.until.as_str()).contains(&key)
    }
}

/// The edges in a range.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// In the order of their keys.
    pub(super) edges: Vec<Edge>,
    /// There are more than were asked for.
    pub(super) more: bool,
}

/// What one look at the rows found.
#[derive(Default)]
pub(super) struct Scanned {
    pub(super) edges: Vec<Edge>,
    more: bool,
    /// It took several looks, between which something may have happened.
    pages: usize,
    /// A change of one of these groups was being spread.
    gate_closed: bool,
}

/// What is decided but not spread over the edges yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Changes of a group's memberships.
    pub(super) journals: Vec<JournalBody>,
    /// Such changes that were spread a moment ago.
    pub(super) spread: Vec<TraceBody>,
    /// Deleted resources.
    pub(super) gone: HashMap<String, TraceBody>,
}

impl Pending {
    fn read(&mut self, row: &Row) -> Result<(), Error> {
        if row.key.starts_with(&rows::journal_key("")) {
            self.journals.push(rows::body(row)?);
        } else if row.key.starts_with(&rows::spread_key("")) {
            self.spread.push(rows::body(row)?);
        } else {
            let gone: TraceBody = rows::body(row)?;
            self.gone.insert(gone.id.clone(), gone);
        }
        Ok(())
    }

    /// No change of memberships is or was being spread, for longer than any request takes.
    pub(super) fn is_quiet(&self) -> bool {
        self.journals.is_empty() && self.spread.is_empty()
    }

    fn operations(&self) -> (Vec<&str>, Vec<&str>) {
        (
            self.journals.iter().map(|journal| journal.operation.as_str()).collect(),
            self.spread.iter().map(|spread| spread.id.as_str()).collect(),
        )
    }

    pub(super) fn drop_gone(&self, edges: &mut Vec<Edge>) {
        if !self.gone.is_empty() {
            edges.retain(|edge| !self.gone.contains_key(&edge.group) && !self.gone.contains_key(&edge.member));
        }
    }
}

impl Directory {
    /// The memberships in a range, in one round trip per 1,000 while nothing is being spread there. At most `limit` of
    /// them, or a few more.
    pub(super) async fn edges(&self, range: &Range, limit: usize) -> Result<Edges, Error> {
        let (scanned, pending) = try_join(self.scan_edges(range, limit), self.pending()).await?;
        let quiet = pending.is_quiet() && !scanned.gate_closed;
        // Between two looks at the edges a change may have been decided, and spread over those not yet seen.
        if quiet && (scanned.pages < 2 || self.pending().await?.is_quiet()) {
            let Scanned { mut edges, more, .. } = scanned;
            pending.drop_gone(&mut edges);
            return Ok(Edges { edges, more });
        }
        self.edges_while_spreading(range, limit).await
    }

    /// As [`Self::edges`], one look after the other: what is pending before and after the edges were read must be the same.
    async fn edges_while_spreading(&self, range: &Range, limit: usize) -> Result<Edges, Error> {
        let mut before = self.pending().await?;
        loop {
            let scanned = self.scan_edges(range, limit).await?;
            let mut journals = Vec::with_capacity(before.journals.len());
            for journal in &before.journals {
                journals.push(self.journal(journal).await?);
            }
            let after = self.pending().await?;
            if before.operations() == after.operations() {
                return self.lay_over(range, scanned, &journals, &after).await;
            }
            if Instant::now() >= self.deadline {
                return Err(store::Error::Busy(None).into());
            }
            before = after;
        }
    }

    /// The edges as they will be when all journals are spread.
    async fn lay_over(
        &self,
        range: &Range,
        scanned: Scanned,
        journals: &[Journal],
        pending: &Pending,
    ) -> Result<Edges, Error> {
        let mut edges: BTreeMap<String, Edge> = scanned
            .edges
            .into_iter()
            .map(|edge| (range.side.key(&edge), edge))
            .collect();
        let mut joining = Vec::new();
        for journal in journals {
            edges.retain(|_, edge| edge.group != journal.group || journal.keeps(&edge.member));
            let joins = journal.joins.iter().map(|(member, kind)| Edge {
                group: journal.group.clone(),
                member: member.clone(),
                kind: *kind,
            });
            joining.extend(joins.filter_map(|edge| {
                let key = range.side.key(&edge);
                (range.holds(&key) && !edges.contains_key(&key)).then_some((key, edge))
            }));
        }
        // Who was deleted after the decision does not join any more.
        let ids: Vec<(&str, Kind)> = joining
            .iter()
            .map(|(_, edge)| (edge.member.as_str(), edge.kind))
            .collect();
        let there = self.which_exist(&ids).await?;
        joining.retain(|(_, edge)| there.contains(&edge.member));
        edges.extend(joining);
        let mut edges: Vec<Edge> = edges.into_values().collect();
        pending.drop_gone(&mut edges);
        Ok(Edges {
            edges,
            more: scanned.more,
        })
    }

    pub(super) async fn scan_edges(&self, range: &Range, limit: usize) -> Result<Scanned, Error> {
        let mut scanned = Scanned::default();
        let mut from = range.from.clone();
        loop {
            // One more for the gate, and one that tells that there are more.
            let step = STEP.min(limit.saturating_add(2) - scanned.edges.len());
            let partition = &self.access.tenant.id;
            let bounds = (from.as_str(), range.until.as_str());
            let page = settle::patient_scan(&*self.store, partition, bounds, step, self.deadline).await?;
            scanned.pages += 1;
            for row in &page.rows {
                match edge(row)? {
                    Seen::Edge(edge) if scanned.edges.len() < limit => scanned.edges.push(edge),
                    Seen::Edge(_) => scanned.more = true,
                    Seen::Gate { closed } => scanned.gate_closed |= closed,
                }
            }
            match page.rows.last() {
                Some(last) if page.more && !scanned.more => from = rows::behind(&last.key),
                _ => return Ok(scanned),
            }
        }
    }

    /// What is pending in this tenant; almost always nothing.
    pub(super) async fn pending(&self) -> Result<Pending, Error> {
        let mut pending = Pending::default();
        let (mut from, until) = rows::range(rows::PENDING_PREFIX);
        loop {
            let bounds = (from.as_str(), until.as_str());
            let partition = &self.access.tenant.id;
            let page = settle::patient_scan(&*self.store, partition, bounds, STEP, self.deadline).await?;
            page.rows.iter().try_for_each(|row| pending.read(row))?;
            match page.rows.last() {
                Some(last) if page.more => from = rows::behind(&last.key),
                _ => return Ok(pending),
            }
        }
    }

    /// Which of these resources there are.
    pub(super) async fn which_exist(&self, ids: &[(&str, Kind)]) -> Result<HashSet<String>, Error> {
        let keys: Vec<String> = ids.iter().map(|(id, kind)| resource_key(id, *kind)).collect();
        let rows = self.rows(&keys).await?;
        let found = rows.iter().zip(ids).filter(|(row, _)| row.is_some());
        Ok(found.map(|(_, (id, _))| (*id).to_owned()).collect())
    }

    /// The rows with these keys, however many: as many reads at a time as one request may have.
    pub(super) async fn rows(&self, keys: &[String]) -> Result<Vec<Option<Row>>, Error> {
        let reads = keys.chunks(MAX_GET_KEYS).map(|keys| self.some_rows(keys)).collect();
        Ok(in_parallel(reads).await?.into_iter().flatten().collect())
    }

    async fn some_rows(&self, keys: &[String]) -> Result<Vec<Option<Row>>, Error> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        Ok(settle::patient_get(&*self.store, &self.access.tenant.id, &keys, self.deadline).await?)
    }
}

/// The key of a resource of this kind.
pub(super) fn resource_key(id: &str, kind: Kind) -> String {
    rows::resource_key(letter(kind), id)
}

/// The letter that begins the keys of resources of this kind.
fn letter(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "u",
        Kind::Group => "g",
    }
}

/// The body of both rows of a membership.
pub(super) fn body(edge: &Edge) -> EdgeBody {
    EdgeBody {
        format: FORMAT,
        group: edge.group.clone(),
        member: edge.member.clone(),
        resource_type: edge.kind.keyword().to_owned(),
    }
}

/// A row among the edges.
enum Seen {
    Edge(Edge),
    Gate { closed: bool },
}

fn edge(row: &Row) -> Result<Seen, Error> {
    if row.key.ends_with("~-") || row.key.ends_with("~.") {
        return Ok(Seen::Gate {
            closed: row.key.ends_with('.'),
        });
    }
    let body: EdgeBody = rows::body(row)?;
    Ok(Seen::Edge(body.into()))
}
