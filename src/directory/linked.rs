//! Memberships in queries: those that a filter asks for, and those of the resources on a page.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::future::try_join;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    Directory, Error,
    edges::{Edge, Range, Seen, Side},
    in_parallel,
    links::{self, Links},
    page::Listed,
    query::{Ask, Asked},
    sift::{self, SCAN_STEP},
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
    store::Row,
};

/// Resources whose memberships are read one by one beside the resources themselves.
const FEW: usize = 8;
/// Pairs of resources whose membership is looked up by its key: as many as there are rows in a step, so that a filter on one
/// member, or on one group, needs no more however many that one has.
const MAX_PAIRS: usize = SCAN_STEP;
/// Memberships of those whom a filter names that are read otherwise; little of each is kept, and not beside a document.
const MAX_OF_OTHERS: usize = MAX_LISTED_GROUPS;

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
                Some(ids) => {
                    let ids: BTreeSet<&str> = ids.into_iter().collect();
                    Self::Pairs(ids.into_iter().map(str::to_owned).collect())
                }
                None => Self::All,
            },
            _ => Self::Nothing,
        }
    }
}

/// What a query has learnt of the memberships of one type's resources.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    /// How many the filter has looked at so far.
    looked_at: AtomicUsize,
    /// All of those whom the filter names, by the id of the resource at this end.
    of_others: OnceCell<Linked>,
}

/// Memberships that were read, by the id of whose they are.
#[derive(Debug)]
pub(super) struct Linked {
    edges: HashMap<String, Vec<Edge>>,
    /// All that each of them has.
    pub(super) complete: bool,
}

impl Side {
    fn opposite(self) -> Self {
        match self {
            Self::Members => Self::Groups,
            Self::Groups => Self::Members,
        }
    }
}

impl Linked {
    fn new(side: Side, edges: Vec<Edge>, complete: bool) -> Self {
        let mut by_id: HashMap<String, Vec<Edge>> = HashMap::new();
        for edge in edges {
            by_id.entry(side.owner(&edge).to_owned()).or_default().push(edge);
        }
        Self { edges: by_id, complete }
    }

    pub(super) fn of(&self, side: Side, id: &str) -> Links {
        Links::of(side, self.edges.get(id).cloned().unwrap_or_default())
    }

    fn take(&mut self, side: Side, id: &str) -> Links {
        Links::of(side, self.edges.remove(id).unwrap_or_default())
    }
}

impl Directory {
    /// The memberships of resources that are fetched by id, at the same time as these: of few all that are needed or shown,
    /// unless they are many.
    pub(super) async fn linked_ahead(
        &self,
        ask: &Ask<'_>,
        asked: &Asked<'_>,
        ids: &[String],
    ) -> Result<Option<Linked>, Error> {
        if ids.len() > FEW || (asked.needed == Needed::Nothing && !asked.shows_links) {
            return Ok(None);
        }
        if !asked.shows_links {
            return self.needed(ask, asked, ids).await.map(Some);
        }
        let side = links::side(asked.of);
        let edges = self.all_of(side, ids, most(side)).await?;
        Ok(edges.map(|edges| Linked::new(side, edges, true)))
    }

    /// The memberships of these resources that filter and order must know of.
    ///
    /// # Errors
    /// [`Rule::TooMany`] or [`Rule::TooManyToSort`], if these are more than one answer may look at.
    pub(super) async fn needed(&self, ask: &Ask<'_>, asked: &Asked<'_>, ids: &[String]) -> Result<Linked, Error> {
        let side = links::side(asked.of);
        let edges = match &asked.needed {
            Needed::Nothing => Vec::new(),
            Needed::Pairs(others) if ids.len() * others.len() <= MAX_PAIRS => self.pairs(side, ids, others).await?,
            Needed::Pairs(others) => {
                let found = self.of_others(ask, asked, others).await?;
                let edges = ids.iter().filter_map(|id| found.edges.get(id));
                edges.flatten().cloned().collect()
            }
            Needed::All => {
                let looked_at = &asked.memberships.looked_at;
                let left = most(side).saturating_sub(looked_at.load(Ordering::Relaxed));
                let edges = self.all_of(side, ids, left).await?;
                let edges = edges.ok_or_else(|| too_many(ask, most(side)))?;
                looked_at.fetch_add(edges.len(), Ordering::Relaxed);
                edges
            }
        };
        Ok(Linked::new(side, edges, asked.needed == Needed::All))
    }

    /// Adds to the resources of a page the memberships that are shown and not there yet.
    ///
    /// # Errors
    /// [`Rule::TooManyMemberships`], but never for a single resource of a type: it is shown as if it had been asked for by
    /// its id. `OneLogin` and Azure's Logic Apps look groups up by name, and cannot leave out the members.
    pub(super) async fn show_links(&self, ask: &Ask<'_>, page: &mut [Listed]) -> Result<(), Error> {
        for (of, asked) in ask.types.iter().enumerate().filter(|(_, asked)| asked.shows_links) {
            let Some(attribute) = links::attribute(asked.of) else {
                continue;
            };
            let side = links::side(asked.of);
            let mut listed: Vec<&mut Listed> = page.iter_mut().filter(|listed| listed.of == of).collect();
            let most = if listed.len() == 1 { usize::MAX } else { most(side) };
            let too_many = || Rule::TooManyMemberships.at(attribute).with("limit", most.to_string());
            let known = listed.iter().filter(|listed| listed.is_linked);
            let known: usize = known.map(|listed| listed.values(attribute)).sum();
            let left = most.checked_sub(known).ok_or_else(too_many)?;
            listed.retain(|listed| !listed.is_linked);
            let ids: Vec<String> = listed.iter().filter_map(|listed| id(listed)).collect();
            if ids.is_empty() {
                continue;
            }
            let edges = if ask.is_a_list() && ids.len() > FEW {
                self.all_around(side, &ids, left).await?
            } else {
                self.all_of(side, &ids, left).await?
            };
            let edges = edges.ok_or_else(too_many)?;
            let mut linked = Linked::new(side, edges, true);
            for (listed, id) in listed.into_iter().zip(&ids) {
                match linked.take(side, id) {
                    Links::Members(members) if members.len() > MAX_LISTED_MEMBERS => {
                        listed.keep_members(attribute, members);
                    }
                    links => links.add_to(&mut listed.document, ask.base_url),
                }
            }
        }
        Ok(())
    }

    /// As [`Self::all_of`], of resources that follow one another: in one range.
    async fn all_around(&self, side: Side, ids: &[String], most: usize) -> Result<Option<Vec<Edge>>, Error> {
        let Some(range) = side.around(ids) else {
            return Ok(Some(Vec::new()));
        };
        let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let Seen { mut edges, more, .. } = self.edges(&range, most).await?;
        let read = edges.len();
        edges.retain(|edge| wanted.contains(side.owner(edge)));
        match (more, edges.len() < read) {
            (false, _) => Ok(Some(edges)),
            (true, false) => Ok(None),
            // It may be others who have so many.
            (true, true) => self.all_of(side, ids, most).await,
        }
    }

    /// All memberships of these resources. Nothing if there are more than `most`.
    async fn all_of(&self, side: Side, ids: &[String], most: usize) -> Result<Option<Vec<Edge>>, Error> {
        let mut found = Vec::new();
        for some in ids.chunks(FEW) {
            let ranges: Vec<Range> = some.iter().map(|id| side.of(id)).collect();
            let left = most - found.len();
            let reads = ranges.iter().map(|range| self.edges(range, left)).collect();
            for Seen { edges, more, .. } in in_parallel(reads).await? {
                if more || found.len() + edges.len() > most {
                    return Ok(None);
                }
                found.extend(edges);
            }
        }
        Ok(Some(found))
    }

    /// All memberships of those whom a filter names, read once.
    async fn of_others<'q>(&self, ask: &Ask<'_>, asked: &'q Asked<'_>, others: &[String]) -> Result<&'q Linked, Error> {
        let side = links::side(asked.of);
        let read = async || {
            let edges = self.all_of(side.opposite(), others, MAX_OF_OTHERS).await?;
            let edges = edges.ok_or_else(|| too_many(ask, MAX_OF_OTHERS))?;
            Ok(Linked::new(side, edges, false))
        };
        asked.memberships.of_others.get_or_try_init(read).await
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
        if !pending.is_quiet() || found.iter().any(is_closed_gate) {
            return self.pairs_while_spreading(side, &keys, (ids, others)).await;
        }
        let mut edges = read(&found)?;
        pending.drop_gone(side, &mut edges);
        Ok(edges)
    }

    /// As [`Self::pairs`]: what is pending is known before the edges are read again, so that what was spread by then is seen
    /// in them.
    async fn pairs_while_spreading(
        &self,
        side: Side,
        keys: &[String],
        (ids, others): (&[String], &[String]),
    ) -> Result<Vec<Edge>, Error> {
        let pending = self.pending().await?;
        let (groups, members) = match side {
            Side::Members => (ids, others),
            Side::Groups => (others, ids),
        };
        let journals = self.journals_of(&pending, |journal| {
            let is_asked = groups.contains(&journal.group);
            journal.of(members.iter().filter(|_| is_asked))
        });
        let (found, journals) = try_join(self.rows(keys), journals).await?;
        let found: Vec<Row> = found.into_iter().flatten().collect();
        let bounds = (usize::MAX, None);
        let (edges, _) = self.laid_over(side, read(&found)?, &journals, &pending, bounds).await?;
        Ok(edges)
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

/// The edges among these rows; the others are gates.
fn read(rows: &[Row]) -> Result<Vec<Edge>, Error> {
    let edges = rows.iter().filter(|row| !is_closed_gate(row));
    edges.map(|row| Ok(Edge::from(rows::body::<EdgeBody>(row)?))).collect()
}

fn is_closed_gate(row: &Row) -> bool {
    row.key.ends_with("~.")
}

fn too_many(ask: &Ask<'_>, most: usize) -> Error {
    sift::refusal(ask.is_filtered(), format!("{most} memberships"))
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

#[cfg(test)]
mod tests;
