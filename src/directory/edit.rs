//! Create, replace, patch and delete: read, decide, write, and once more when somebody else came in between.

use std::collections::BTreeSet;

use futures::future::{try_join, try_join3};
use tokio::time::Instant;

use super::{
    Directory, Error, Precondition, Stored,
    edges::{Edge, Seen, Side},
    handover::agreed,
    index,
    links::Shown,
    members::{self, Neighbours},
    memberships::{Memberships, Removal, Sizes, Turn},
    pause,
    pending::Pending,
    write::{self, Draft, Written},
};
use crate::{
    rows::{self, GateBody},
    scim::{
        attributes::{Accepted, Attributes},
        error::{Error as Refused, Rule},
        normalize::Trace,
        schema::ResourceType,
    },
    store, telemetry,
};

/// A change of a resource that is there.
pub(super) struct Request<'r> {
    pub(super) of: &'r ResourceType,
    pub(super) id: &'r str,
    pub(super) kind: write::Kind,
    pub(super) expected: &'r Precondition,
    pub(super) shown: Shown,
    /// Members that the request seems to name, to be read with the resource.
    pub(super) mentioned: Vec<String>,
}

/// A resource before a change, and what else the change may need to know.
struct State {
    before: Stored,
    /// The operation that is being spread over a group's members.
    spreading: Option<String>,
    neighbours: Neighbours,
    /// All members are known, as they are in this version.
    all_are_known: bool,
    /// The memberships that the answer shows, as they are in this version; none if they are not shown or not known.
    links: Option<Seen>,
}

impl Directory {
    /// Makes a resource.
    pub(super) async fn make(
        &self,
        of: &ResourceType,
        id: &str,
        shown: Shown,
        accepted: &Accepted,
        trace: &mut Trace,
    ) -> Result<Stored, Error> {
        note_members(accepted);
        let mut guessed = self.likely_turn(of, id, accepted);
        loop {
            let mut memberships = Memberships::Untouched;
            let is_guess = guessed.is_some();
            if of.members().is_some() {
                memberships = Memberships::Turn(match guessed.take() {
                    Some(guessed) => guessed,
                    None => self.turn(id, &accepted.members, Neighbours::new(), None, trace).await?,
                });
            }
            let draft = Draft {
                of,
                id,
                kind: write::Kind::Create,
                before: None,
                after: Some(&accepted.attributes),
                memberships,
                guarded: false,
            };
            match self.write(&draft).await {
                Err(Error::Store(store::Error::Missing(_))) if is_guess => {}
                Err(error) if self.worth_another_try(&error) => pause().await,
                Err(error) => return Err(error),
                Ok(written) => return Ok(self.answer(&draft, written, shown, Some(Seen::default())).await),
            }
        }
    }

    /// Reads, edits and writes until nobody writes in between. A result equal to what was there is not written: it keeps
    /// version and lastModified and makes no event.
    pub(super) async fn edit(
        &self,
        request: &Request<'_>,
        edit: impl Fn(&ResourceType, &Attributes, &mut Trace) -> Result<Accepted, Refused>,
        trace: &mut Trace,
    ) -> Result<Stored, Error> {
        let of = request.of;
        let mut met = false;
        let held = self.held.bytes();
        loop {
            // What an earlier round has read is gone.
            self.held.keep(held);
            let state = self.state(request).await?;
            self.note_subject(of, Some(state.before.attributes.as_map()));
            request.expected.check(&state.before.envelope.version)?;
            let mut notes = Trace::default();
            let before = &state.before.attributes;
            let otherwise = self.beside(of)?;
            let otherwise = otherwise.map(|of| edit(of, before, &mut Trace::default()));
            let accepted = agreed(edit(of, before, &mut notes), otherwise)?;
            note_members(&accepted);
            if let (Some(operation), false) = (&state.spreading, accepted.members.is_empty()) {
                self.finish(operation).await?;
                continue;
            }
            match self.try_change(request, state, &accepted, met, &mut notes).await {
                Ok(Some(stored)) => {
                    *trace = notes;
                    return Ok(stored);
                }
                Err(error) if !self.worth_another_try(&error) => return Err(error),
                Ok(None) | Err(_) => {
                    met = true;
                    pause().await;
                }
            }
        }
    }

    /// One try at a change: the answer, or nothing if somebody came in between. The first one only succeeds if nobody did,
    /// and knows its answer then. Whoever `met` somebody before changes a group's members whatever else is changed, so as
    /// not to meet the next one, and looks again afterwards.
    async fn try_change(
        &self,
        request: &Request<'_>,
        state: State,
        accepted: &Accepted,
        met: bool,
        trace: &mut Trace,
    ) -> Result<Option<Stored>, Error> {
        let Request { of, id, .. } = request;
        let State {
            before,
            links,
            neighbours,
            all_are_known,
            ..
        } = state;
        let all = links.as_ref().filter(|_| all_are_known);
        let mut turn = self.turn(id, &accepted.members, neighbours, all, trace).await?;
        turn.guarded |= all.is_some() && !met;
        if accepted.attributes == before.attributes && turn.is_empty() {
            let links = links.filter(|_| all_are_known || accepted.members.is_empty());
            return self.unchanged(request, before, links, &turn).await;
        }
        let draft = Draft {
            of,
            id,
            kind: request.kind,
            before: Some(&before),
            after: Some(&accepted.attributes),
            memberships: if turn.needs_no_rows() {
                Memberships::Untouched
            } else {
                Memberships::Turn(turn)
            },
            guarded: !met || matches!(request.expected, Precondition::Version(_)),
        };
        let written = self.write(&draft).await?;
        let known = links.filter(|_| !met);
        Ok(Some(self.answer(&draft, written, request.shown, known).await))
    }

    /// Removes a resource (RFC 7644 §3.6), with its memberships.
    pub async fn delete(&self, of: &ResourceType, id: &str, expected: &Precondition) -> Result<(), Error> {
        loop {
            let mut keys = vec![rows::resource_key(index::kind(of), id), rows::closed_gate_key(id)];
            keys.extend(self.invocation.map(|_| rows::gone_key(id)));
            let range = Side::Groups.of(id);
            let memberships = try_join(self.standing(&range), self.pending());
            let (found, (memberships, pending)) = if of.members().is_some() {
                // A membership made meanwhile is hidden, as the group is gone, and ended later.
                try_join(self.rows(&keys), memberships).await?
            } else {
                // A membership made meanwhile touches the user: it is among those read afterwards, or fails the commit.
                (self.rows(&keys).await?, memberships.await?)
            };
            let mut found = found.into_iter();
            let [resource, gate, gone] = [(); 3].map(|()| found.next().flatten());
            let Some(before) = resource else {
                let done = self.has_deleted(gone.as_ref())?;
                return done
                    .then_some(())
                    .ok_or_else(|| Rule::NotFound.at(of.name.as_str()).into());
            };
            let before = Stored::read(&before)?;
            self.note_subject(of, Some(before.attributes.as_map()));
            expected.check(&before.envelope.version)?;
            if let Some(gate) = gate {
                self.finish(&spreading(&gate)?).await?;
                continue;
            }
            let mut groups = self.groups_with(id, &memberships, &pending).await?;
            // What a restore has not come to yet.
            let joins = pending.joins.iter().filter(|joins| joins.body.member == id);
            groups.extend(joins.clone().flat_map(|joins| joins.body.groups.iter().cloned()));
            let removal = Removal {
                groups,
                memberships,
                joins: joins.map(|joins| (joins.key.clone(), joins.etag.clone())).collect(),
                gone: pending.gone.into_keys().collect(),
            };
            let draft = Draft {
                of,
                id,
                kind: write::Kind::Delete,
                before: Some(&before),
                after: None,
                memberships: Memberships::Removal(removal),
                guarded: true,
            };
            match self.write(&draft).await {
                Err(error) if self.worth_another_try(&error) => pause().await,
                Err(error) => return Err(error),
                Ok(written) => {
                    if let Some(left) = written.left {
                        self.end_in_time(left).await;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// The groups that somebody is in, whose edges stand so: also where what is decided is not spread yet.
    async fn groups_with(&self, id: &str, standing: &[Edge], pending: &Pending) -> Result<BTreeSet<String>, Error> {
        let mut groups: BTreeSet<String> = standing.iter().map(|edge| edge.group.clone()).collect();
        let id = id.to_owned();
        for journal in self.journals_of(pending, |journal| journal.of([&id])).await? {
            if journal.joins.contains_key(&id) {
                groups.insert(journal.group);
            } else if !journal.keeps(&id) {
                groups.remove(&journal.group);
            }
        }
        Ok(groups)
    }

    /// Whether this very request made the tombstone. As a proxy the Functions host sends what has no body again when the
    /// connection to us breaks before the answer, which may be after the deed.
    fn has_deleted(&self, gone: Option<&store::Row>) -> Result<bool, Error> {
        let (Some(invocation), Some(gone)) = (self.invocation, gone) else {
            return Ok(false);
        };
        Ok(rows::gone_stamp(gone)?.invocation == Some(invocation.to_string()))
    }

    /// Everything that a change needs to know, in one round trip.
    async fn state(&self, request: &Request<'_>) -> Result<State, Error> {
        let Request { of, id, mentioned, .. } = request;
        let keys = [rows::resource_key(index::kind(of), id), rows::closed_gate_key(id)];
        let links = async {
            match request.shown.range(of, id) {
                // What joins and leaves with one commit is laid over what was there.
                Some(range) => {
                    let limit = request.shown.limit(of).saturating_add(Sizes::now().at_once);
                    self.edges(&range, limit).await.map(Some)
                }
                None => Ok(None),
            }
        };
        let neighbours = self.neighbours(id, mentioned);
        let (own, mut neighbours, links) = try_join3(self.rows(&keys), neighbours, links).await?;
        self.hold(&own[0])?;
        let before = own[0].as_ref().ok_or_else(|| Rule::NotFound.at(of.name.as_str()))?;
        let before = Stored::read(before)?;
        let links = links.filter(|seen| of.members().is_none() || (self.agree(&before, seen) && !seen.split));
        let all = links.as_ref().filter(|seen| of.members().is_some() && !seen.more);
        if let Some(seen) = all {
            members::correct(&mut neighbours, seen);
        }
        Ok(State {
            all_are_known: all.is_some(),
            before,
            spreading: own[1].as_ref().map(spreading).transpose()?,
            neighbours,
            links,
        })
    }

    /// The answer to a request that changes nothing; none if it would change something by now.
    async fn unchanged(
        &self,
        request: &Request<'_>,
        mut before: Stored,
        links: Option<Seen>,
        turn: &Turn,
    ) -> Result<Option<Stored>, Error> {
        let Request { of, id, shown, .. } = request;
        match links {
            Some(seen) => before.links = self.links(of, seen, *shown).await?,
            None if shown.range(of, id).is_none() => {}
            None => {
                let now = Box::pin(self.read(of, id, *shown)).await?;
                let same = now.envelope.version == before.envelope.version;
                return Ok((same && turn.is_done(now.links.as_ref())).then_some(now));
            }
        }
        Ok(Some(before))
    }

    /// A write's answer: `links` were the memberships before it, if that is known. What is decided but not spread is
    /// spread now, as long as there is time; the answer is the same without.
    async fn answer(&self, draft: &Draft<'_>, written: Written, shown: Shown, links: Option<Seen>) -> Stored {
        let Draft { of, id, .. } = draft;
        let Written {
            mut stored, journal, ..
        } = written;
        let known = match (links, &draft.memberships) {
            _ if journal.is_some() => None,
            (Some(seen), Memberships::Turn(turn)) => Some(after(id, seen, turn)),
            (links, _) => links,
        };
        if let Some(journal) = journal {
            self.spread_in_time(journal).await;
        }
        match known {
            Some(seen) => {
                stored.links = self.links(of, seen, shown).await.unwrap_or_default();
                stored
            }
            None if draft.guarded && shown.range(of, id).is_none() => stored,
            // The write is done: that it can't be read now, or is gone, is no reason to call it failed.
            None => Box::pin(self.read(of, id, shown)).await.unwrap_or(stored),
        }
    }

    /// Somebody else wrote a row after we read it, and there is time to look again.
    pub(super) fn worth_another_try(&self, error: &Error) -> bool {
        use store::Error::{Changed, Exists, Missing};

        let changed = matches!(error, Error::Store(Changed(_) | Missing(_) | Exists(_)));
        changed && Instant::now() < self.deadline
    }
}

/// Which operation has closed a gate.
pub(super) fn spreading(gate: &store::Row) -> Result<String, Error> {
    let body: GateBody = rows::body(gate)?;
    body.operation.ok_or_else(|| {
        let key = gate.key.clone();
        rows::FormatError::Broken { key }.into()
    })
}

/// The members after a change.
fn after(group: &str, mut edges: Seen, turn: &Turn) -> Seen {
    edges
        .edges
        .retain(|edge| !turn.leaves.contains(&edge.member) && !turn.joins.contains_key(&edge.member));
    edges.edges.extend(turn.joins.iter().map(|(member, kind)| Edge {
        group: group.to_owned(),
        member: member.clone(),
        kind: *kind,
    }));
    edges.edges.sort_by_cached_key(|edge| rows::id_part(&edge.member));
    edges
}

fn note_members(accepted: &Accepted) {
    if !accepted.members.is_empty() {
        telemetry::count("scim.members", accepted.members.mentioned());
    }
}
