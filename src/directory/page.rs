//! One page of an answer while it fills.

use serde_json::{Map, Value};

use super::{
    Error, held,
    sift::{Candidate, Take},
};
use crate::scim::{
    limits::MAX_PAGE_BYTES,
    members::{Member, placeholder},
};

/// One page of a query's answer.
#[derive(Debug)]
pub struct Found {
    /// How many resources there are in all; none when finding out would take more than a page may.
    pub total: Option<usize>,
    /// Those of the page, complete; fewer than asked for when they are large ([`MAX_PAGE_BYTES`]).
    pub resources: Vec<Listed>,
    /// Leads to the next page, if the query was by cursor and there is one.
    pub next_cursor: Option<String>,
}

/// A resource on a page.
#[derive(Debug)]
pub struct Listed {
    /// Its type's number among those that were asked for.
    pub of: usize,
    /// The complete SCIM document.
    pub document: Map<String, Value>,
    /// Its memberships are there, if it has any.
    pub(super) is_linked: bool,
    /// More than a document holds.
    members: Option<(&'static str, Vec<Member>)>,
}

impl Listed {
    pub(super) fn new(of: usize, document: Map<String, Value>, is_linked: bool) -> Self {
        Self {
            of,
            document,
            is_linked,
            members: None,
        }
    }

    /// How many values of an attribute there are in the document.
    pub(super) fn values(&self, attribute: &str) -> usize {
        self.document
            .get(attribute)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    }

    /// Keeps members beside the document, which gets a placeholder for them.
    pub(super) fn keep_members(&mut self, attribute: &'static str, members: Vec<Member>) {
        self.document.insert(attribute.to_owned(), placeholder());
        self.members = Some((attribute, members));
    }

    /// As [`Stored::many_members`](super::Stored::many_members).
    pub fn many_members(&self) -> Option<(&'static str, &[Member])> {
        self.members
            .as_ref()
            .map(|(attribute, members)| (*attribute, &members[..]))
    }
}

/// A page while it fills.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) resources: Vec<Listed>,
    /// Resources that were offered: with those before the page, and, if it counts on, with those behind it.
    pub(super) seen: usize,
    skip: usize,
    count: usize,
    /// Goes on counting when it is full.
    counts_on: bool,
    /// Of the bodies on the page.
    bytes: usize,
    is_full: bool,
}

impl Page {
    /// A page for at most `count` resources.
    pub(super) fn of(count: usize) -> Self {
        Self {
            resources: Vec::new(),
            seen: 0,
            skip: 0,
            count,
            counts_on: false,
            bytes: 0,
            is_full: count == 0,
        }
    }

    /// The page behind the first `skip` resources, which counts all that it is offered.
    pub(super) fn counting(skip: usize, count: usize) -> Self {
        Self {
            skip,
            counts_on: true,
            ..Self::of(count)
        }
    }

    /// How many more resources fit, unless they are large.
    pub(super) fn room(&self) -> usize {
        if self.is_full {
            0
        } else {
            self.count - self.resources.len()
        }
    }

    /// A page for what this one still has room for; [`Self::append`] takes it.
    pub(super) fn rest(&self) -> Self {
        Self {
            bytes: self.bytes,
            ..Self::of(self.room())
        }
    }

    /// Takes what was put on the [`Self::rest`] of this page.
    pub(super) fn append(&mut self, rest: Self) {
        self.resources.extend(rest.resources);
        self.bytes = rest.bytes;
        self.is_full = rest.is_full;
    }

    /// How many of the resources with bodies of these sizes come on the page. The first that does not fit ends the page
    /// although a smaller one may follow: the next page begins with it.
    pub(super) fn admit(&mut self, sizes: impl Iterator<Item = usize>) -> usize {
        let held = self.resources.len();
        let mut admitted = 0;
        for bytes in sizes {
            let taken = held + admitted;
            self.is_full |= taken >= self.count || (self.bytes > 0 && self.bytes + bytes > MAX_PAGE_BYTES);
            if self.is_full {
                break;
            }
            self.bytes += bytes;
            admitted += 1;
        }
        self.is_full |= held + admitted >= self.count;
        admitted
    }
}

impl Take for Page {
    fn take(&mut self, candidate: Candidate) -> Result<bool, Error> {
        self.seen += 1;
        if self.seen <= self.skip {
            return Ok(true);
        }
        if self.admit(std::iter::once(candidate.bytes)) == 1 {
            let listed = Listed::new(candidate.of, candidate.document, candidate.is_linked);
            self.resources.push(listed);
            return Ok(true);
        }
        Ok(self.counts_on)
    }

    fn memory(&self) -> usize {
        held::memory(self.bytes)
    }
}
