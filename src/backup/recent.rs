//! What changed while a tenant's rows were read, read again until a moment is found as which they all are.
//!
//! Every change of a resource has its event in its own commit, so what no new event tells of is as it was read. A round
//! reads the events that came since the last one, and then everything again that they name. If no event came during the
//! round that names something which the round has read, the rows are those of the moment at which the round began: what others
//! changed meanwhile lies behind it, and is not in the backup. Rounds get shorter and shorter, so there soon is such a one.
//!
//! Two things have no event. A decided change of memberships is spread over the edges later: who was pending when it was
//! last looked at is read again in the next round. And housekeeping (index rows that are mended, totals that are folded, edges
//! that go behind a deletion) changes nothing that was not decided; loading finishes it.
//!
//! What is decided and not done yet, each round reads first. What is done of it may go into the tombstone of whom it is about,
//! without an event, so that is read again in the next round. Who comes back writes into others' tombstones: then all are.
//!
//! A deleted group's members lie in its edges or in its tombstone, and on their way from one to the other in both, in others'
//! tombstones too. Whoever moves them stamps the row that hides the edges; where that was changed, they are read again.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use time::OffsetDateTime;

use super::{
    Error, Line, Range, Saved,
    event::{Event, Names, is_event, named},
    export::{Exporter, Scan},
    file::Writer,
};
use crate::{
    rows::{self, FormatError, Key, TraceBody},
    store::{ETag, MAX_GET_KEYS, Row, behind, settle},
};

/// How old an event may be when it comes to be seen: a request sends its commit again for its whole deadline, and clocks differ,
/// by less than what Table Storage takes from a client.
pub const LATE: Duration = Duration::from_mins(15);
/// Rounds until a backup gives up.
const ROUNDS: usize = 200;

/// What is to be read again of one tenant.
pub(super) struct Recent<'e> {
    exporter: &'e Exporter,
    tenant: &'e str,
    /// Since when events may be new.
    since: OffsetDateTime,
    /// Events from then on that are not.
    seen: HashSet<String>,
    /// Operations that were being spread when they were last looked at.
    pending: BTreeSet<String>,
    /// What there was left to do then.
    left: Left,
}

/// What is left to do for who went or came back.
#[derive(Default)]
struct Left {
    /// For whom; what stands for their ids in keys.
    parts: BTreeSet<String>,
    /// The rows that hide deleted groups' edges, if those are not as the deletion left them.
    moved: BTreeMap<String, ETag>,
}

impl Left {
    fn add(&mut self, row: &Row) -> Result<(), FormatError> {
        let Some(key @ (Key::EdgesLeft | Key::Joins)) = Key::parse(&row.key) else {
            return Ok(());
        };
        self.parts.extend(part_of(&row.key).map(str::to_owned));
        if key == Key::EdgesLeft && !row.stamp.is_empty() && rows::body::<TraceBody>(row)?.resource_type == "Group" {
            self.moved.insert(row.key.clone(), row.etag.clone());
        }
        Ok(())
    }

    /// The groups whose members somebody has moved since it was like `before`.
    fn moved_since<'l>(&'l self, before: &'l Self) -> BTreeSet<&'l str> {
        let differs = |one: &'l Self, other: &'l Self| {
            let rows = one
                .moved
                .iter()
                .filter(|(key, etag)| other.moved.get(*key) != Some(*etag));
            rows.filter_map(|(key, _)| part_of(key)).collect::<BTreeSet<_>>()
        };
        &differs(self, before) | &differs(before, self)
    }
}

/// What a round has read again.
#[derive(Default)]
struct Read {
    names: Names,
    /// Tombstones without a list of members: where somebody moved these meanwhile, they may be nowhere.
    unlisted: BTreeSet<String>,
    /// All tombstones.
    has_all: bool,
}

impl<'e> Recent<'e> {
    /// To be called before the tenant's rows are read.
    pub(super) async fn before(exporter: &'e Exporter, tenant: &'e str) -> Result<Self, Error> {
        let mut recent = Self {
            exporter,
            tenant,
            since: exporter.ambient.now() - LATE,
            seen: HashSet::new(),
            pending: BTreeSet::new(),
            left: Left::default(),
        };
        // Whose event can be seen now, that is in the rows, but for what is still to do, which is looked at after it.
        let mut scan = Scan::new(tenant, recent.events());
        while let Some(rows) = scan.step(exporter).await? {
            let events = rows.into_iter().filter(is_event);
            recent.seen.extend(events.map(|row| row.key));
        }
        let mut scan = Scan::new(tenant, rows::range(rows::PENDING_PREFIX));
        while let Some(rows) = scan.step(exporter).await? {
            for row in rows {
                if let Some(Key::Journal(operation)) = Key::parse(&row.key) {
                    recent.pending.insert(operation.to_owned());
                }
                recent.left.add(&row)?;
            }
        }
        Ok(recent)
    }

    /// To be called behind them.
    pub(super) async fn catch_up(&mut self, name: &str, out: &mut Writer) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            let read = self.round(out).await?;
            if !self.meets_new(&read.names).await? && !self.has_moved(&read).await? {
                return Ok(());
            }
        }
        Err(Error::Outrun(name.to_owned()))
    }

    /// Reads again what events tell of that were not seen before.
    async fn round(&mut self, out: &mut Writer) -> Result<Read, Error> {
        let began = self.exporter.ambient.now();
        let next = began - LATE;
        let kept = rows::events_from(next);
        let mut waiting = std::mem::take(&mut self.pending);
        let mut read = self.left_to_do(out).await?;
        let mut scan = Scan::new(self.tenant, self.events());
        while let Some(rows) = scan.step(self.exporter).await? {
            for row in rows {
                if !is_event(&row) || self.seen.contains(&row.key) {
                    continue;
                }
                if row.key >= kept {
                    self.seen.insert(row.key.clone());
                }
                let event = Event::read(&row)?;
                out.line(&Line::Row(Saved::of(row)))?;
                if let Some(event) = event {
                    waiting.remove(&event.operation);
                    read.has_all |= event.is_restore();
                    self.again(&event, &mut read, out).await?;
                }
            }
        }
        for operation in waiting {
            let row = self
                .get(&[rows::event_keys(&operation).0])
                .await?
                .pop()
                .and_then(|(_, row)| row);
            if let Some(event) = row.as_ref().map(Event::read).transpose()?.flatten() {
                self.again(&event, &mut read, out).await?;
            }
        }
        if read.has_all {
            let all = rows::range(rows::GONE_PREFIX);
            self.exporter.range(self.tenant, all, out).await?;
            read.names.are_more = true;
        }
        self.since = next;
        self.seen.retain(|key| *key >= kept);
        Ok(read)
    }

    /// Reads again what is decided and not done, and the tombstones that may have taken it up.
    async fn left_to_do(&mut self, out: &mut Writer) -> Result<Read, Error> {
        let all = rows::range(rows::PENDING_PREFIX);
        out.line(&Line::Clear(Range {
            from: all.0.clone(),
            until: all.1.clone(),
        }))?;
        let mut now = Left::default();
        let mut scan = Scan::new(self.tenant, all);
        while let Some(rows) = scan.step(self.exporter).await? {
            for row in rows {
                now.add(&row)?;
                out.line(&Line::Row(Saved::of(row)))?;
            }
        }
        let mut read = Read::default();
        let moved = now.moved_since(&self.left).into_iter().map(str::to_owned);
        let moved: BTreeSet<String> = moved.collect();
        for part in &self.left.parts | &moved {
            let parts = rows::range(&format!("{}~", rows::tombstone_key(&part)));
            let parts = self.exporter.range(self.tenant, parts, out).await?;
            if !parts.contains(&rows::whole_list_key(&part)) {
                read.unlisted.insert(part.clone());
                if moved.contains(&part) {
                    let members = rows::range(&format!("m~{part}~"));
                    self.exporter.range(self.tenant, members, out).await?;
                    read.has_all = true;
                }
            }
            read.names.names.insert(part);
        }
        self.left = now;
        Ok(read)
    }

    /// Whether somebody has moved members while they were read.
    async fn has_moved(&self, read: &Read) -> Result<bool, Error> {
        if read.unlisted.is_empty() && !read.has_all {
            return Ok(false);
        }
        let mut now = Left::default();
        let mut scan = Scan::new(self.tenant, rows::range(rows::PENDING_PREFIX));
        while let Some(rows) = scan.step(self.exporter).await? {
            rows.iter().try_for_each(|row| now.add(row))?;
        }
        let moved = now.moved_since(&self.left);
        Ok(moved.iter().any(|part| read.has_all || read.unlisted.contains(*part)))
    }

    /// Whether an event came that names something of this.
    async fn meets_new(&self, read: &Names) -> Result<bool, Error> {
        let mut scan = Scan::new(self.tenant, self.events());
        while let Some(rows) = scan.step(self.exporter).await? {
            for row in rows.iter().filter(|row| is_event(row) && !self.seen.contains(&row.key)) {
                if Event::read(row)?.is_some_and(|event| read.meet(&event)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn events(&self) -> (String, String) {
        (rows::events_from(self.since), rows::range("o~").1)
    }

    /// Everything that an event tells of, as it is now.
    async fn again(&mut self, event: &Event, read: &mut Read, out: &mut Writer) -> Result<(), Error> {
        let Event { operation, body } = event;
        read.names.add(event);
        let (kind, id) = match &*body.resource_type {
            "User" => ("u", &body.id),
            "Group" => ("g", &body.id),
            _ => return Ok(()),
        };
        // Before the edges: as long as this is there, they may be any that are half changed.
        if body.parts > 0 && self.rows(&[rows::journal_key(operation)], out).await? {
            self.pending.insert(operation.clone());
        }
        let mut keys = vec![rows::resource_key(kind, id)];
        if !event.is_plain() {
            self.whole(id, out).await?;
            keys.push(rows::gone_key(id));
        }
        if kind == "g" {
            keys.extend([rows::gate_key(id), rows::closed_gate_key(id)]);
            for member in body.members.iter().flat_map(named) {
                keys.extend([rows::member_key(id, member), rows::membership_key(member, id)]);
            }
        }
        for group in &body.groups {
            keys.extend([rows::resource_key("g", group), rows::gate_key(group)]);
            keys.extend([rows::closed_gate_key(group), rows::member_key(group, id)]);
            keys.push(rows::membership_key(id, group));
        }
        self.rows(&keys, out).await?;
        if kind == "g" {
            self.members(event, out).await?;
        }
        if !event.is_plain() {
            // Behind the edges: before one goes, it may be told of here.
            let parts = rows::range(&rows::gone_parts_prefix(id));
            self.exporter.range(self.tenant, parts, out).await?;
            read.unlisted.insert(rows::id_part(id));
        }
        Ok(())
    }

    /// What is left to do for a resource that went or came back, and the groups that it is in.
    async fn whole(&self, id: &str, out: &mut Writer) -> Result<(), Error> {
        for prefix in [rows::joins_prefix(id), rows::edges_left_prefix(id)] {
            self.exporter.range(self.tenant, rows::range(&prefix), out).await?;
        }
        let groups = rows::range(&rows::memberships_prefix(id));
        let groups = self.exporter.range(self.tenant, groups, out).await?;
        let members: Vec<String> = groups.iter().filter_map(|key| other_side(key)).collect();
        self.rows(&members, out).await.map(|_| ())
    }

    /// The members of a group where an event does not name them one by one.
    async fn members(&self, event: &Event, out: &mut Writer) -> Result<(), Error> {
        if event.body.parts > 0 {
            let (from, until) = rows::event_keys(&event.operation);
            self.exporter.range(self.tenant, (behind(&from), until), out).await?;
        }
        if event.names_all_members() {
            let members = rows::range(&rows::members_prefix(&event.body.id));
            self.exporter.range(self.tenant, members, out).await?;
        }
        Ok(())
    }

    /// These rows, or that there are none; whether there was any.
    async fn rows(&self, keys: &[String], out: &mut Writer) -> Result<bool, Error> {
        let mut any = false;
        for (key, row) in self.get(keys).await? {
            any |= row.is_some();
            out.line(&match row {
                Some(row) => Line::Row(Saved::of(row)),
                None => Line::Clear(Range {
                    until: behind(&key),
                    from: key,
                }),
            })?;
        }
        Ok(any)
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<(String, Option<Row>)>, Error> {
        let mut all = Vec::with_capacity(keys.len());
        // A few at a time: a row may have 500 KiB.
        for keys in keys.chunks(MAX_GET_KEYS / 4) {
            let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
            let deadline = self.exporter.deadline();
            let rows = settle::patient_get(&*self.exporter.store, self.tenant, &asked, deadline).await?;
            all.extend(keys.iter().cloned().zip(rows));
        }
        Ok(all)
    }
}

/// What stands in the key of what is left to do for the id of whom it is about.
fn part_of(key: &str) -> Option<&str> {
    key.split('~').nth(2)
}

/// The group's row of a membership, by the member's.
fn other_side(key: &str) -> Option<String> {
    let (member, group) = key.strip_prefix("r~")?.split_once('~')?;
    Some(format!("m~{group}~{member}"))
}
