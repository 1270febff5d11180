//! Memberships in queries: those that a filter asks for, and those of the resources on a page.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::future::try_join;
use serde_json::Value;

use super::{
    Directory, Error,
    edges::{Edge, Range, Seen, Side},
    in_parallel,
    links::{self, Links},
    page::Listed,
    query::{Ask, Asked},
};
use crate::{
    rows::{self, EdgeBody},
    scim::{
        error::Rule,
        filter::Filter,
        limits::{MAX_LISTED_GROUPS, MAX_LISTED_MEMBERS},
        members::Kind,
        schema::ResourceType,
        sort::Sort,
    },
};

/// Resources whose memberships are read one by one beside the resources themselves.
const FEW: usize = 8;

/// What a filter or an order must know of memberships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needed {
    Nothing,
    /// Whether there are those with these ids.
    Pairs(Vec<String>),
    All,
}

impl Needed {
    pub(super) fn by(of: &ResourceType, filter: Option<&Filter>, sort: Option<&Sort>) -> Self {
        let Some(attribute) = links::attribute(of) else {
            return Self::Nothing;
        };
        if sort.is_some_and(|sort| sort.is_by(attribute)) {
            return Self::All;
        }
        match filter {
            Some(filter) if filter.mentions(attribute) => match filter.equals_of(attribute) {
                Some(ids) => Self::Pairs(ids.into_iter().map(str::to_owned).collect()),
                None => Self::All,
            },
            _ => Self::Nothing,
        }
    }
}

/// Memberships that were read, by the id of whose they are.
#[derive(Debug)]
pub(super) struct Linked {
    edges: HashMap<String, Vec<Edge>>,
    /// All that each of them has.
    pub(super) complete: bool,
}

impl Linked {
    pub(super) fn of(&self, side: Side, id: &str) -> Links {
        Links::of(side, self.edges.get(id).cloned().unwrap_or_default())
    }
}

impl Directory {
    /// The memberships of resources that are fetched by id, at the same time as these: of few all that are needed or shown.
    pub(super) async fn linked_ahead(
        &self,
        ask: &Ask<'_>,
        asked: &Asked<'_>,
        ids: &[String],
    ) -> Result<Option<Linked>, Error> {
        if ids.len() > FEW || (asked.needed == Needed::Nothing && !asked.shows_links) {
            return Ok(None);
        }
        let needed = if asked.shows_links { &Needed::All } else { &asked.needed };
        self.linked(ask, asked, ids, needed).await.map(Some)
    }

    /// The memberships of these resources that are needed.
    pub(super) async fn linked(
        &self,
        ask: &Ask<'_>,
        asked: &Asked<'_>,
        ids: &[String],
        needed: &Needed,
    ) -> Result<Linked, Error> {
        let side = links::side(asked.of);
        let edges = match needed {
            Needed::Nothing => Vec::new(),
            Needed::Pairs(others) => self.pairs(side, ids, others).await?,
            Needed::All => self.all_of(ask, asked, ids).await?,
        };
        let mut by_id: HashMap<String, Vec<Edge>> = HashMap::new();
        for edge in edges {
            by_id.entry(side.owner(&edge).to_owned()).or_default().push(edge);
        }
        Ok(Linked {
            edges: by_id,
            complete: *needed == Needed::All,
        })
    }

    /// Adds to the resources of a page the memberships that are shown and not there yet.
    pub(super) async fn show_links(&self, ask: &Ask<'_>, page: &mut [Listed]) -> Result<(), Error> {
        for (of, asked) in ask.types.iter().enumerate().filter(|(_, asked)| asked.shows_links) {
            let without = |listed: &&mut Listed| listed.of == of && !listed.is_linked;
            let ids: Vec<String> = page.iter_mut().filter(without).filter_map(|it| id(it)).collect();
            if ids.is_empty() {
                continue;
            }
            let linked = self.linked(ask, asked, &ids, &Needed::All).await?;
            for listed in page.iter_mut().filter(without) {
                if let Some(id) = id(listed) {
                    let links = linked.of(links::side(asked.of), &id);
                    links.add_to(&mut listed.document, ask.base_url);
                }
            }
        }
        Ok(())
    }

    /// All memberships of these resources: in one range where they are all there is, else one by one.
    async fn all_of(&self, ask: &Ask<'_>, asked: &Asked<'_>, ids: &[String]) -> Result<Vec<Edge>, Error> {
        let side = links::side(asked.of);
        let mut found = Vec::new();
        if let (true, Some(first), Some(last)) = (ask.is_a_list() && ids.len() > FEW, ids.first(), ids.last()) {
            let range = side.between(first, last);
            let edges = self.edges(&range, ask.memberships.left(side)).await?;
            ask.memberships.spend(side, &edges)?;
            return Ok(edges.edges);
        }
        for some in ids.chunks(FEW) {
            let ranges: Vec<Range> = some.iter().map(|id| side.of(id)).collect();
            let left = ask.memberships.left(side);
            let reads = ranges.iter().map(|range| self.edges(range, left)).collect();
            for edges in in_parallel(reads).await? {
                ask.memberships.spend(side, &edges)?;
                found.extend(edges.edges);
            }
        }
        Ok(found)
    }

    /// The memberships between each of these resources and each of the others.
    async fn pairs(&self, side: Side, ids: &[String], others: &[String]) -> Result<Vec<Edge>, Error> {
        let mut keys = Vec::with_capacity((ids.len() + 1) * (others.len() + 1));
        for id in ids {
            let (groups, members): (&[String], &[String]) = match side {
                Side::Members => (std::slice::from_ref(id), others),
                Side::Groups => (others, std::slice::from_ref(id)),
            };
            for group in groups {
                keys.push(rows::closed_gate_key(group));
                keys.extend(members.iter().map(|member| rows::member_key(group, member)));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let (found, pending) = try_join(self.rows(&keys), self.pending()).await?;
        let found: Vec<_> = found.into_iter().flatten().collect();
        if !pending.is_quiet() || found.iter().any(|row| row.key.ends_with("~.")) {
            return self.pairs_while_spreading(side, ids, others).await;
        }
        let mut edges = Vec::with_capacity(found.len());
        for row in &found {
            edges.push(Edge::from(rows::body::<EdgeBody>(row)?));
        }
        pending.drop_gone(side, &mut edges);
        Ok(edges)
    }

    async fn pairs_while_spreading(&self, side: Side, ids: &[String], others: &[String]) -> Result<Vec<Edge>, Error> {
        let wanted: HashSet<&str> = others.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        for some in ids.chunks(FEW) {
            let ranges: Vec<Range> = some.iter().map(|id| side.of(id)).collect();
            let reads = ranges.iter().map(|range| self.edges(range, usize::MAX)).collect();
            let edges = in_parallel(reads).await?.into_iter().flat_map(|edges| edges.edges);
            found.extend(edges.filter(|edge| wanted.contains(side.other(edge))));
        }
        Ok(found)
    }

    /// The resources of a type that are linked with this one.
    pub(super) async fn linked_with(&self, of: &ResourceType, id: &str, limit: usize) -> Result<Seen, Error> {
        let (range, kind) = match links::side(of) {
            Side::Members => (Side::Groups.of(id), None),
            Side::Groups => (Side::Members.of(id), Some(Kind::User)),
        };
        let mut edges = self.edges(&range, limit).await?;
        edges.edges.retain(|edge| kind.is_none_or(|kind| edge.kind == kind));
        Ok(edges)
    }
}

/// How many memberships a query has read so far.
#[derive(Debug, Default)]
pub(super) struct Memberships(AtomicUsize);

impl Memberships {
    fn left(&self, side: Side) -> usize {
        most(side).saturating_sub(self.0.load(Ordering::Relaxed))
    }

    /// # Errors
    /// [`Rule::TooManyMemberships`]
    fn spend(&self, side: Side, edges: &Seen) -> Result<(), Error> {
        let spent = self.0.fetch_add(edges.edges.len(), Ordering::Relaxed) + edges.edges.len();
        if edges.more || spent > most(side) {
            let attribute = match side {
                Side::Members => "members",
                Side::Groups => "groups",
            };
            let limit = most(side).to_string();
            return Err(Rule::TooManyMemberships.at(attribute).with("limit", limit).into());
        }
        Ok(())
    }
}

fn most(side: Side) -> usize {
    match side {
        Side::Members => MAX_LISTED_MEMBERS,
        Side::Groups => MAX_LISTED_GROUPS,
    }
}

fn id(listed: &Listed) -> Option<String> {
    listed.document.get("id").and_then(Value::as_str).map(str::to_owned)
}
