//! Changes of memberships that do not fit into one commit: decided by one, then spread over the edges by many.
//!
//! From the decision on every reader sees the whole change (`edges`). While it is spread the group's gate is closed, so
//! nobody else changes the group's memberships; whoever wants to, finishes the spreading first.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    Directory, Error,
    edges::{self, Edge, Range, Side, resource_key},
    in_parallel,
    memberships::Sizes,
    pause,
    pending::Pending,
};
use crate::{
    rows::{self, EventBody, FORMAT, GateBody, GateStamp, JournalBody, MembersBody, TraceBody},
    scim::members::Kind,
    store::{self, Change, settle::Tries},
};

/// Bytes of ids in one part of an event, so that it fits into a row.
const MAX_PART_BYTES: usize = 384 * 1024;

/// A decided change of one group's memberships.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journal {
    /// What decided it; empty while it is not decided.
    pub(super) operation: String,
    pub(super) group: String,
    /// Who is not in `joins` leaves.
    pub(super) whole: bool,
    pub(super) joins: BTreeMap<String, Kind>,
    pub(super) leaves: BTreeSet<String>,
}

impl Journal {
    /// Whether a member stays.
    pub(super) fn keeps(&self, member: &str) -> bool {
        if self.whole {
            self.joins.contains_key(member)
        } else {
            !self.leaves.contains(member)
        }
    }

    /// The edges that there will be, if `whole` no others.
    pub(super) fn edges(&self) -> impl Iterator<Item = Edge> {
        self.joins.iter().map(|(member, kind)| Edge {
            group: self.group.clone(),
            member: member.clone(),
            kind: *kind,
        })
    }

    /// What it says of the edges in a range.
    pub(super) fn within(&self, range: &Range) -> Self {
        match (range.side, &range.owner) {
            (Side::Groups, Some(member)) => self.of([member]),
            _ => self.of(self.members().filter(|member| range.holds(&self.group, member))),
        }
    }

    /// What it says of these members.
    pub(super) fn of<'m>(&self, members: impl IntoIterator<Item = &'m String>) -> Self {
        let mut part = Self {
            operation: self.operation.clone(),
            group: self.group.clone(),
            whole: self.whole,
            ..Self::default()
        };
        for member in members {
            if let Some(kind) = self.joins.get(member) {
                part.joins.insert(member.clone(), *kind);
            }
            if self.leaves.contains(member) {
                part.leaves.insert(member.clone());
            }
        }
        part
    }

    /// Everybody it names.
    fn members(&self) -> impl Iterator<Item = &String> {
        self.joins.keys().chain(&self.leaves)
    }

    /// As it stands in the event: in as many parts as rows need.
    pub(super) fn parts(&self) -> Vec<MembersBody> {
        let empty = || MembersBody {
            format: FORMAT,
            whole: self.whole,
            ..MembersBody::default()
        };
        let mut parts = vec![empty()];
        let mut bytes = 0;
        let mut part = |id: &String| {
            // Quotation marks and a comma.
            bytes += id.len() + 3;
            let full = bytes > MAX_PART_BYTES;
            if full {
                bytes = id.len() + 3;
            }
            full
        };
        for (id, kind) in &self.joins {
            if part(id) {
                parts.push(empty());
            }
            let last = parts.last_mut().expect("there is always one");
            match kind {
                Kind::User => last.users.push(id.clone()),
                Kind::Group => last.groups.push(id.clone()),
            }
        }
        for id in &self.leaves {
            if part(id) {
                parts.push(empty());
            }
            parts.last_mut().expect("there is always one").leave.push(id.clone());
        }
        parts
    }

    fn add(&mut self, part: MembersBody) {
        self.whole |= part.whole;
        self.joins.extend(part.users.into_iter().map(|id| (id, Kind::User)));
        self.joins.extend(part.groups.into_iter().map(|id| (id, Kind::Group)));
        self.leaves.extend(part.leave);
    }

    fn changes(&self, step: &Step) -> Vec<Change> {
        match step {
            Step::Join(member, kind) => joins(&Edge {
                group: self.group.clone(),
                member: member.clone(),
                kind: *kind,
            }),
            Step::Leave(member) => leaves(&self.group, member),
        }
    }
}

/// The changes that make somebody a member who exists and is none.
pub(super) fn joins(edge: &Edge) -> Vec<Change> {
    let body = edges::body(edge);
    vec![
        Change::Touch(resource_key(&edge.member, edge.kind)),
        Change::Insert(rows::write(rows::member_key(&edge.group, &edge.member), &body)),
        Change::Insert(rows::write(rows::membership_key(&edge.member, &edge.group), &body)),
    ]
}

/// The changes that end somebody's membership.
pub(super) fn leaves(group: &str, member: &str) -> Vec<Change> {
    vec![
        Change::Delete(rows::member_key(group, member), None),
        Change::Delete(rows::membership_key(member, group), None),
    ]
}

/// The gate's row: open, or closed while this operation is being spread.
pub(super) fn gate(group: &str, operation: Option<&str>) -> store::Write {
    let key = match operation {
        None => rows::gate_key(group),
        Some(_) => rows::closed_gate_key(group),
    };
    let body = GateBody {
        format: FORMAT,
        operation: operation.map(str::to_owned),
        spread: None,
    };
    rows::write(key, &body)
}

/// What a gate tells beside its being open or closed: the operation that changed memberships last.
pub(super) fn gate_stamp(operation: &str) -> Vec<u8> {
    rows::encode(&GateStamp {
        format: FORMAT,
        members: operation.to_owned(),
    })
}

/// What becomes of one edge.
#[derive(Clone, Debug)]
enum Step {
    Join(String, Kind),
    Leave(String),
}

impl Step {
    fn member(&self) -> &str {
        match self {
            Self::Join(member, _) | Self::Leave(member) => member,
        }
    }
}

impl Directory {
    /// What an operation decided for a group's memberships, which never changes; of those that are pending now, most
    /// requests ask for the same.
    pub(super) async fn known_journal(&self, operation: &str) -> Result<Arc<Journal>, Error> {
        let partition = &self.access.tenant.id;
        if let Some(known) = self.shared.journal(partition, operation) {
            return Ok(known);
        }
        let journal = Arc::new(self.journal(operation).await?);
        self.shared.remember(partition, &journal);
        Ok(journal)
    }

    /// What is pending, one after the other, and of each only a part: there may be many large ones.
    pub(super) async fn journals_of(
        &self,
        pending: &Pending,
        part: impl Fn(&Journal) -> Journal,
    ) -> Result<Vec<Journal>, Error> {
        let mut journals = Vec::with_capacity(pending.journals.len());
        for pointer in &pending.journals {
            journals.push(part(&*self.known_journal(&pointer.operation).await?));
        }
        Ok(journals)
    }

    /// What an operation decided for a group's memberships.
    pub(super) async fn journal(&self, operation: &str) -> Result<Journal, Error> {
        let key = rows::event_part_key(operation, 0);
        let broken = || rows::FormatError::Broken { key: key.clone() };
        let rows = self.all_rows(&rows::event_keys(operation)).await?;
        let (event, parts) = rows.split_first().ok_or_else(broken)?;
        let event: EventBody = rows::body(event)?;
        let mut journal = Journal {
            operation: operation.to_owned(),
            group: event.id,
            ..Journal::default()
        };
        if parts.len() != event.parts {
            return Err(broken().into());
        }
        for row in parts {
            journal.add(rows::body(row)?);
        }
        Ok(journal)
    }

    /// Spreads what closed a group's gate, unless somebody else has done so by now.
    pub(super) async fn finish(&self, operation: &str) -> Result<(), Error> {
        let key = rows::journal_key(operation);
        let row = self.rows(&[key]).await?.pop().flatten();
        let Some(row) = row else { return Ok(()) };
        let _: JournalBody = rows::body(&row)?;
        self.spread(&self.journal(operation).await?).await
    }

    /// Writes a decided change over the edges and opens the gate. May be done by several at once, and again.
    pub(super) async fn spread(&self, journal: &Journal) -> Result<(), Error> {
        let steps = self.steps(journal).await?;
        let chunks = steps
            .chunks(Sizes::now().chunk())
            .map(|chunk| self.spread_chunk(journal, chunk));
        in_parallel(chunks.collect()).await?;
        self.end(journal).await
    }

    async fn steps(&self, journal: &Journal) -> Result<Vec<Step>, Error> {
        let mut joins = journal.joins.clone();
        let mut steps: Vec<Step> = journal.leaves.iter().cloned().map(Step::Leave).collect();
        if journal.whole {
            for edge in self.standing(&Side::Members.of(&journal.group)).await? {
                if joins.remove(&edge.member).is_none() {
                    steps.push(Step::Leave(edge.member));
                }
            }
        }
        steps.extend(joins.into_iter().map(|(id, kind)| Step::Join(id, kind)));
        Ok(steps)
    }

    async fn spread_chunk(&self, journal: &Journal, steps: &[Step]) -> Result<(), Error> {
        let pointer = rows::journal_key(&journal.operation);
        let mut left = steps.to_vec();
        let mut tries = Tries::until(self.deadline)?;
        while !left.is_empty() {
            let mut changes = vec![Change::Touch(pointer.clone())];
            changes.extend(left.iter().flat_map(|step| journal.changes(step)));
            match self.store.commit(&self.access.tenant.id, &changes).await {
                Ok(()) => return Ok(()),
                Err(store::Error::Missing(key)) if key == pointer => return Ok(()),
                Err(error) => self.wait_out(&mut tries, error).await?,
            }
            left = self.left_of(journal, steps).await?;
        }
        Ok(())
    }

    /// Which steps are still to be done: some may have been, by us without an answer or by others.
    async fn left_of(&self, journal: &Journal, steps: &[Step]) -> Result<Vec<Step>, Error> {
        let edge_keys: Vec<String> = steps
            .iter()
            .map(|step| rows::member_key(&journal.group, step.member()))
            .collect();
        let edges = self.rows(&edge_keys).await?;
        let joining: Vec<(&str, Kind)> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Join(id, kind) => Some((id.as_str(), *kind)),
                Step::Leave(_) => None,
            })
            .collect();
        let there: HashSet<String> = self.which_exist(&joining).await?;
        let left = steps.iter().zip(edges).filter(|(step, edge)| match step {
            Step::Join(id, _) => edge.is_none() && there.contains(id),
            Step::Leave(_) => edge.is_some(),
        });
        Ok(left.map(|(step, _)| step.clone()).collect())
    }

    async fn end(&self, journal: &Journal) -> Result<(), Error> {
        let pointer = rows::journal_key(&journal.operation);
        let gate = store::Write {
            stamp: gate_stamp(&journal.operation),
            body: rows::encode(&GateBody {
                format: FORMAT,
                operation: None,
                spread: Some(journal.operation.clone()),
            }),
            key: rows::gate_key(&journal.group),
        };
        let mut tries = Tries::until(self.deadline)?;
        loop {
            // When it happens, not when it was first tried.
            let spread = TraceBody {
                format: FORMAT,
                id: journal.operation.clone(),
                operation: String::new(),
                time: self.ambient.now(),
                resource_type: String::new(),
            };
            let changes = [
                Change::Delete(pointer.clone(), None),
                Change::Insert(rows::write(rows::spread_key(&journal.operation), &spread)),
                Change::Delete(rows::closed_gate_key(&journal.group), None),
                Change::Insert(gate.clone()),
            ];
            match self.store.commit(&self.access.tenant.id, &changes).await {
                Ok(()) => return Ok(()),
                Err(store::Error::Missing(key)) if key == pointer => return Ok(()),
                Err(error) => self.wait_out(&mut tries, error).await?,
            }
        }
    }

    /// Before another look at the rows: soon if somebody was faster, later and later if the store is ill. Gives the error
    /// back when there is no time for another look, or when it would not help.
    pub(super) async fn wait_out(&self, tries: &mut Tries, error: store::Error) -> Result<(), Error> {
        match error {
            store::Error::Exists(_) | store::Error::Missing(_) | store::Error::Changed(_) => {
                if Instant::now() >= self.deadline {
                    return Err(error.into());
                }
                pause().await;
                Ok(())
            }
            store::Error::TooLarge(_) => Err(error.into()),
            _ => Ok(tries.pause_after(error).await?),
        }
    }
}
