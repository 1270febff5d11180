//! What is decided, or happened a moment ago, and not to be seen in the edges yet, or not any more.

use std::collections::{BTreeMap, HashMap};

use super::{
    Directory, Error,
    edges::{Edge, Side},
    journal::Journal,
};
use crate::{
    rows::{self, FormatError, JoinsBody, JournalBody, Key, TraceBody},
    scim::members::Kind,
    store::{ETag, Row},
};

/// What is decided but not spread over the edges yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Changes of a group's memberships.
    pub(super) journals: Vec<JournalBody>,
    /// Such changes that were spread a moment ago.
    pub(super) spread: Vec<TraceBody>,
    /// Deleted resources.
    pub(super) gone: HashMap<String, Gone>,
    /// Restored resources that are to join groups still.
    pub(super) joins: Vec<Joins>,
}

/// Groups that a restored resource is to join still; a part of them.
#[derive(Debug)]
pub(super) struct Joins {
    pub(super) body: JoinsBody,
    pub(super) key: String,
    pub(super) etag: ETag,
}

/// A deleted resource whose memberships are hidden.
#[derive(Debug)]
pub(super) struct Gone {
    /// With the time when something happened to it last.
    pub(super) trace: TraceBody,
    /// Changes whenever something happens to it.
    pub(super) etag: ETag,
}

impl Pending {
    fn read(&mut self, row: &Row) -> Result<(), Error> {
        match Key::parse(&row.key) {
            Some(Key::Journal(_)) => self.journals.push(rows::body(row)?),
            Some(Key::Spread) => self.spread.push(rows::body(row)?),
            Some(Key::Joins) => self.joins.push(Joins::read(row)?),
            Some(Key::EdgesLeft) => {
                let gone = Gone::read(row)?;
                self.gone.insert(gone.trace.id.clone(), gone);
            }
            _ => return Err(rows::unknown(row).into()),
        }
        Ok(())
    }

    /// No change of memberships is or was being spread, for longer than any request takes.
    pub(super) fn is_quiet(&self) -> bool {
        self.journals.is_empty() && self.spread.is_empty()
    }

    /// Drops the edges to what is gone. Whether the resource is there that is looked at, its own row tells.
    pub(super) fn drop_gone(&self, side: Side, edges: &mut Vec<Edge>) {
        if !self.gone.is_empty() {
            edges.retain(|edge| !self.gone.contains_key(side.other(edge)));
        }
    }
}

impl Joins {
    pub(super) fn read(row: &Row) -> Result<Self, FormatError> {
        Ok(Self {
            body: rows::body(row)?,
            key: row.key.clone(),
            etag: row.etag.clone(),
        })
    }
}

/// Whose they are.
pub(super) fn members<'j>(joins: impl IntoIterator<Item = &'j Joins>) -> BTreeMap<String, Kind> {
    let of = |joins: &Joins| {
        let kind = Kind::from_keyword(&joins.body.resource_type)?;
        Some((joins.body.member.clone(), kind))
    };
    joins.into_iter().filter_map(of).collect()
}

impl Gone {
    pub(super) fn read(row: &Row) -> Result<Self, FormatError> {
        let mut trace: TraceBody = rows::body(row)?;
        if let Some(ended) = rows::trace_stamp(row)? {
            trace.time = trace.time.max(ended.time);
        }
        let etag = row.etag.clone();
        Ok(Self { trace, etag })
    }
}

impl Directory {
    /// What is pending in this tenant; almost always nothing.
    pub(super) async fn pending(&self) -> Result<Pending, Error> {
        let mut pending = Pending::default();
        let rows = self.all_rows(&rows::range(rows::PENDING_PREFIX)).await?;
        rows.iter().try_for_each(|row| pending.read(row))?;
        Ok(pending)
    }

    /// The edges as they will be when all journals are spread; at most so many who join, up to a key. Tells whether more
    /// would.
    pub(super) async fn laid_over(
        &self,
        side: Side,
        mut edges: Vec<Edge>,
        journals: &[Journal],
        pending: &Pending,
        (limit, until): (usize, Option<&str>),
    ) -> Result<(Vec<Edge>, bool), Error> {
        let mut more = false;
        if !journals.is_empty() {
            let mut by_key: BTreeMap<String, Edge> = edges.into_iter().map(|edge| (side.key(&edge), edge)).collect();
            let mut joining = Vec::new();
            for journal in journals {
                by_key.retain(|_, edge| edge.group != journal.group || journal.keeps(&edge.member));
                let joins = journal.edges().map(|edge| (side.key(&edge), edge));
                joining.extend(joins.filter(|(key, _)| !by_key.contains_key(key)));
            }
            joining.retain(|(key, _)| until.is_none_or(|until| key.as_str() <= until));
            joining.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            more = joining.len() > limit;
            joining.truncate(limit);
            // Who was deleted after the decision does not join any more.
            let ids: Vec<(&str, Kind)> = joining
                .iter()
                .map(|(_, edge)| (edge.member.as_str(), edge.kind))
                .collect();
            let there = self.which_exist(&ids).await?;
            joining.retain(|(_, edge)| there.contains(&edge.member));
            by_key.extend(joining);
            edges = by_key.into_values().collect();
        }
        pending.drop_gone(side, &mut edges);
        Ok((edges, more))
    }
}
