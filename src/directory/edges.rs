//! Memberships as they are read: the edges, and laid over them what is decided but not spread yet.

use std::collections::HashSet;

use futures::future::try_join;
use tokio::time::Instant;

use super::{Directory, Error, MAX_PARALLEL, held, in_parallel, journal::Journal, pending::Pending};
use crate::{
    rows::{self, EdgeBody, FORMAT, GateBody},
    scim::members::{Kind, Member},
    store::{self, MAX_BODY_BYTES, MAX_GET_KEYS, MAX_SCAN_BYTES, Row, settle},
};

/// Rows fetched at a time: what Table Storage returns at most, and at one moment.
const STEP: usize = 1_000;
/// Resources read with one call: those of all calls under way take no more room than a scan.
pub(super) const READ_AT_ONCE: usize = MAX_SCAN_BYTES / MAX_BODY_BYTES / MAX_PARALLEL;

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
    pub(super) fn key(self, edge: &Edge) -> String {
        self.key_of(&edge.group, &edge.member)
    }

    fn key_of(self, group: &str, member: &str) -> String {
        match self {
            Self::Members => rows::member_key(group, member),
            Self::Groups => rows::membership_key(member, group),
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
            owner: Some(id.to_owned()),
        }
    }

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
            owner: None,
        })
    }
}

/// Keys of edges.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) side: Side,
    from: String,
    until: String,
    /// The resource whose edges these are, if it is one.
    pub(super) owner: Option<String>,
}

impl Range {
    /// Whether it holds the edge between these.
    pub(super) fn holds(&self, group: &str, member: &str) -> bool {
        let key = self.side.key_of(group, member);
        (self.from.as_str()..self.until.as_str()).contains(&key.as_str())
    }
}

/// The edges in a range.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In the order of their keys.
    pub(super) edges: Vec<Edge>,
    /// There are more than were asked for.
    pub(super) more: bool,
    /// Of one group: the operation whose work they are, or that and later ones' if they are `split`.
    pub(super) version: String,
    /// They are not of one moment.
    pub(super) split: bool,
}

/// What one look at the rows found.
#[derive(Default)]
struct Scanned {
    edges: Vec<Edge>,
    more: bool,
    /// They are not of one moment.
    split: bool,
    /// The gates of the groups whose members these are.
    gates: Vec<Gate>,
}

/// A group's gate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gate {
    /// Its key without the last letter.
    prefix: String,
    /// The operation that changed the group's memberships last.
    members: String,
    /// What is being spread while it is closed.
    spreading: Option<String>,
    /// What was spread last.
    spread: Option<String>,
}

impl Directory {
    /// The memberships in a range, in one round trip per 1,000 while nothing is being spread there. At most `limit` of
    /// them, or a few more.
    pub(super) async fn edges(&self, range: &Range, limit: usize) -> Result<Seen, Error> {
        let seen = match range.side {
            Side::Members => self.members(range, limit).await,
            Side::Groups => self.memberships(range, limit).await,
        }?;
        self.held.add(seen.edges.len() * held::MEMORY_OF_EDGE)?;
        Ok(seen)
    }

    /// The members of groups. A group's gate stands before its edges, and tells what is being spread over them: that
    /// is seen at one moment with them, unless there are many.
    async fn members(&self, range: &Range, limit: usize) -> Result<Seen, Error> {
        loop {
            let (scanned, pending) = try_join(self.scan_edges(range, limit), self.pending()).await?;
            // Something may have been decided, or spread over some of the edges, between two looks at them.
            if scanned.split && !self.pending().await?.is_quiet() && !self.are_gates(&scanned.gates).await? {
                if Instant::now() >= self.deadline {
                    return Err(store::Error::Busy(None).into());
                }
                continue;
            }
            let mut journals = Vec::new();
            for gate in &scanned.gates {
                if let Some(operation) = &gate.spreading {
                    journals.push(self.known_journal(operation).await?.within(range));
                }
            }
            return self.lay_over(range, limit, scanned, &journals, &pending).await;
        }
    }

    /// Whether nothing was decided or spread since these gates were seen.
    async fn are_gates(&self, gates: &[Gate]) -> Result<bool, Error> {
        let keys = gates
            .iter()
            .flat_map(|Gate { prefix, .. }| [format!("{prefix}-"), format!("{prefix}.")]);
        let rows = self.rows(&keys.collect::<Vec<_>>()).await?;
        for (gate, rows) in gates.iter().zip(rows.chunks(2)) {
            let now = match (&rows[0], &rows[1]) {
                (_, Some(row)) | (Some(row), None) => Gate::read(row)?,
                (None, None) => None,
            };
            let same = |now: Gate| (now.spreading, now.spread) == (gate.spreading.clone(), gate.spread.clone());
            if !now.is_some_and(same) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The groups of members: what each is in, it is in at some moment of this call.
    async fn memberships(&self, range: &Range, limit: usize) -> Result<Seen, Error> {
        let (scanned, mut pending) = try_join(self.scan_edges(range, limit), self.pending()).await?;
        if scanned.split {
            // What came and went between two looks at the edges has left a trace.
            pending = self.pending().await?;
        }
        if pending.is_quiet() {
            return self.lay_over(range, limit, scanned, &[], &pending).await;
        }
        // Something may have been spread over an edge after it was seen and before we looked for what is pending. What
        // is pending now is known; what was spread until now is seen now.
        let journals = self.journals_of(&pending, |journal| journal.within(range));
        let (scanned, journals) = try_join(self.scan_edges(range, limit), journals).await?;
        self.lay_over(range, limit, scanned, &journals, &pending).await
    }

    /// The edges as they will be when all journals are spread.
    async fn lay_over(
        &self,
        range: &Range,
        limit: usize,
        scanned: Scanned,
        journals: &[Journal],
        pending: &Pending,
    ) -> Result<Seen, Error> {
        let version = match &scanned.gates[..] {
            [gate] => gate.members.clone(),
            _ => String::new(),
        };
        // Beyond what was seen nobody knows who stays; and of many who join, the first tell that there are more.
        let until = scanned.edges.last().filter(|_| scanned.more);
        let until = until.map(|edge| range.side.key(edge));
        let bounds = (limit, until.as_deref());
        let (edges, more) = self
            .laid_over(range.side, scanned.edges, journals, pending, bounds)
            .await?;
        Ok(Seen {
            edges,
            more: scanned.more || more,
            version,
            split: scanned.split,
        })
    }

    /// The edges in a range as they stand, whatever is decided beside them.
    pub(super) async fn standing(&self, range: &Range) -> Result<Vec<Edge>, Error> {
        Ok(self.scan_edges(range, usize::MAX).await?.edges)
    }

    async fn scan_edges(&self, range: &Range, limit: usize) -> Result<Scanned, Error> {
        let mut scanned = Scanned::default();
        let mut from = range.from.clone();
        loop {
            // One more for the gate, and one that tells that there are more.
            let step = STEP.min(limit.saturating_add(2) - scanned.edges.len());
            let partition = &self.access.tenant.id;
            let bounds = (from.as_str(), range.until.as_str());
            let page = settle::patient_scan(&*self.store, partition, bounds, step, self.deadline).await?;
            scanned.split |= page.split;
            for row in &page.rows {
                match Gate::read(row)? {
                    Some(gate) => scanned.gates.push(gate),
                    None if scanned.edges.len() < limit => scanned.edges.push(edge(row)?),
                    None => scanned.more = true,
                }
            }
            match page.rows.last() {
                Some(last) if page.more && !scanned.more => {
                    from = rows::behind(&last.key);
                    scanned.split = true;
                }
                _ => return Ok(scanned),
            }
        }
    }

    /// All rows between these bounds.
    pub(super) async fn all_rows(&self, bounds: &(String, String)) -> Result<Vec<Row>, Error> {
        let partition = &self.access.tenant.id;
        Ok(settle::patient_scan_all(&*self.store, partition, bounds, self.deadline).await?)
    }

    /// Which of these resources there are.
    pub(super) async fn which_exist(&self, ids: &[(&str, Kind)]) -> Result<HashSet<String>, Error> {
        let keys: Vec<String> = ids.iter().map(|(id, kind)| resource_key(id, *kind)).collect();
        let there = self.each(&keys, |row| Ok(row.is_some())).await?;
        let found = there.into_iter().zip(ids).filter(|(is_there, _)| *is_there);
        Ok(found.map(|(_, (id, _))| (*id).to_owned()).collect())
    }

    /// What is read in the rows of each of these resources, which may be many and large: only a few of them are held at a
    /// time, and counted meanwhile.
    pub(super) async fn each<T>(
        &self,
        keys: &[String],
        read: impl Fn(Option<&Row>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let some = async |keys: &[String]| {
            let rows = self.rows(keys).await?;
            let held = self.hold_rows(rows.iter().flatten())?;
            let found: Result<Vec<T>, Error> = rows.iter().map(|row| read(row.as_ref())).collect();
            drop(rows);
            self.held.give(held);
            found
        };
        let found = in_parallel(keys.chunks(READ_AT_ONCE).map(some).collect()).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The rows with these keys, however many: as many reads at a time as one request may have. Those of resources, which
    /// may be large, are read by [`Self::each`].
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

impl Gate {
    /// The gate that this row is, if it is none of the edges.
    fn read(row: &Row) -> Result<Option<Self>, Error> {
        let Some(prefix) = row.key.strip_suffix('-').or_else(|| row.key.strip_suffix('.')) else {
            return Ok(None);
        };
        if !prefix.ends_with('~') {
            return Ok(None);
        }
        let GateBody { operation, spread, .. } = rows::body(row)?;
        // One that was mended has none.
        let members = match &row.stamp[..] {
            [] => String::new(),
            _ => rows::gate_stamp(row)?.members,
        };
        Ok(Some(Self {
            prefix: prefix.to_owned(),
            members,
            spreading: operation,
            spread,
        }))
    }
}

fn edge(row: &Row) -> Result<Edge, Error> {
    let body: EdgeBody = rows::body(row)?;
    Ok(body.into())
}
