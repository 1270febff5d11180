//! Refused requests as events in the tenant's log: a row for those that were refused alike in one hour, so that somebody can be
//! told that a change came and why it was not done.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use time::OffsetDateTime;

use super::{Batch, TRIES, TenantBody, hour};
use crate::{
    rows::{self, EventBody, RefusedBody},
    store::{self, Change, ETag, MAX_CHANGES},
    tenants::{AliasBody, Error, Holder, Tenants, alias_key, replace, tenant_key},
};

/// Rows that a process makes for a tenant in an hour; what finds no room is counted in one more.
const MAX_ROWS: usize = 99;
/// Most bytes of a name that a client made up.
const MAX_NAME_BYTES: usize = 200;
/// What events of refusals are called.
const KIND: &str = "refuse";
/// Writes that a row remembers, of as many processes: more than there are in an hour.
const MAX_WRITES: usize = 256;
/// The rule of those that found no room.
pub const MORE: &str = "more";

/// A request that was refused. Names, ids and hashes only, never a value that a client gave.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The rule's name.
    pub rule: &'static str,
    /// The attribute that the rule named.
    pub attribute: Option<String>,
    /// Method and route, without ids.
    pub request: String,
    /// The resource type; empty if it was not known yet.
    pub resource_type: String,
    /// The resource's id, if it can be nobody's name; else empty.
    pub id: String,
    /// Whom it was about, as telemetry has it: by each name that is known.
    pub subjects: Vec<String>,
    /// Who sent it.
    pub holder: Holder,
    /// What the client was told.
    pub reference: Option<String>,
}

impl Refused {
    /// As it stands in the log, by the key of its row.
    fn row(self, now: OffsetDateTime) -> (String, EventBody) {
        let hour = begin(now);
        // As times are shown.
        let now = now.truncate_to_millisecond();
        let key = rows::refusal_key(hour, &[self.rule, &self.subjects.join(" "), &self.id]);
        let name = self.attribute.as_deref().map(shortened);
        let resource = (&*self.resource_type, &*self.id);
        let body = EventBody {
            paths: name.into_iter().collect(),
            subjects: self.subjects,
            reference: self.reference,
            refused: Some(RefusedBody {
                rule: self.rule.to_owned(),
                request: self.request,
                count: 1,
                first: now,
                last: now,
                writes: Vec::new(),
            }),
            ..EventBody::new(KIND, resource, &self.holder.credential, hour)
        };
        (key, body)
    }
}

fn begin(now: OffsetDateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(hour(now) * 3600).unwrap_or(now)
}

fn shortened(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

/// Which rows a process has made for a tenant in this hour.
#[derive(Default)]
pub(super) struct Made {
    hour: i64,
    keys: BTreeSet<String>,
}

impl Made {
    /// The row for a refusal: its own while there is room, then that of all others.
    pub(super) fn row(&mut self, refused: Refused, now: OffsetDateTime) -> (String, EventBody) {
        if self.hour != hour(now) {
            *self = Self {
                hour: hour(now),
                keys: BTreeSet::new(),
            };
        }
        let (key, mut body) = refused.row(now);
        if self.keys.contains(&key) || self.keys.len() < MAX_ROWS {
            self.keys.insert(key.clone());
            return (key, body);
        }
        body.resource_type.clear();
        body.id.clear();
        body.subjects.clear();
        body.paths.clear();
        if let Some(refused) = &mut body.refused {
            MORE.clone_into(&mut refused.rule);
            refused.request.clear();
        }
        (rows::refusal_key(begin(now), &[MORE]), body)
    }
}

/// What waits to be written, by the key of its row.
pub(super) type Waiting = BTreeMap<String, EventBody>;

/// Adds what was refused alike.
pub(super) fn add(waiting: &mut Waiting, key: String, body: EventBody) {
    match waiting.remove(&key) {
        Some(before) => waiting.insert(key, together(before, body)),
        // In an outage nothing grows without end.
        None if waiting.len() > 2 * MAX_ROWS => None,
        None => waiting.insert(key, body),
    };
}

/// Two tellings of the same refusals: all of them, and of the last one how it was.
fn together(one: EventBody, other: EventBody) -> EventBody {
    let (Some(a), Some(b)) = (&one.refused, &other.refused) else {
        return other;
    };
    let (first, last, count) = (a.first.min(b.first), a.last.max(b.last), a.count + b.count);
    let mut newer = if a.last > b.last { one } else { other };
    if let Some(refused) = &mut newer.refused {
        (refused.first, refused.last, refused.count) = (first, last, count);
    }
    newer
}

/// What one commit writes. Once it was sent, nobody knows whether it is written until it is looked for: it stays as it is, and
/// each of its rows names it, as the last one of its process, which sends the next one only then.
pub(super) struct Sending {
    /// Begins with what its process is called.
    name: String,
    rows: Waiting,
}

impl Tenants {
    /// Writes refusals into their tenant's log, to what is there of other processes. What is not written stays.
    pub(super) async fn add_refusals(&self, tenant: &str, batch: &mut Batch) -> Result<(), Error> {
        if batch.refusals.is_empty() && batch.sending.is_empty() {
            return Ok(());
        }
        if !self.is_kept(tenant).await? {
            (batch.refusals, batch.sending) = Default::default();
            return Ok(());
        }
        loop {
            if batch.sending.is_empty() && !batch.refusals.is_empty() {
                batch.sending.push(self.first(&mut batch.refusals));
            }
            let Some(sending) = batch.sending.first() else {
                return Ok(());
            };
            self.send(tenant, sending).await?;
            batch.sending.remove(0);
        }
    }

    /// As many as one commit writes.
    fn first(&self, refusals: &mut Waiting) -> Sending {
        let rest = refusals.keys().nth(MAX_CHANGES).cloned();
        let rest = rest.map(|key| refusals.split_off(&key)).unwrap_or_default();
        Sending {
            name: format!("{}{}", self.process(), self.random()),
            rows: std::mem::replace(refusals, rest),
        }
    }

    /// What this process is called where it writes.
    fn process(&self) -> &str {
        self.lately.process.get_or_init(|| self.random())
    }

    fn random(&self) -> String {
        HEXLOWER.encode(&self.ambient.secret()[..8])
    }

    /// A try whose answer was lost may land until another has: each rests on the rows as they were read.
    async fn send(&self, tenant: &str, sending: &Sending) -> Result<(), Error> {
        let keys: Vec<&str> = sending.rows.keys().map(String::as_str).collect();
        let mut tries = 0;
        loop {
            let mut changes = Vec::with_capacity(keys.len());
            for ((key, body), row) in sending.rows.iter().zip(self.store.get(tenant, &keys).await?) {
                let there: Option<(ETag, EventBody)> = match row {
                    Some(row) => Some((row.etag.clone(), rows::body(&row)?)),
                    None => None,
                };
                let writes = there.as_ref().and_then(|(_, there)| there.refused.as_ref());
                let mut writes = writes.map(|there| there.writes.clone()).unwrap_or_default();
                if writes.contains(&sending.name) {
                    return Ok(());
                }
                writes.retain(|write| !write.starts_with(self.process()));
                writes.push(sending.name.clone());
                writes.drain(..writes.len().saturating_sub(MAX_WRITES));
                let (etag, mut body) = match there {
                    Some((etag, there)) => (Some(etag), together(there, body.clone())),
                    None => (None, body.clone()),
                };
                if let Some(refused) = &mut body.refused {
                    refused.writes = writes;
                }
                changes.push(match etag {
                    Some(etag) => replace(key.clone(), etag, &body),
                    None => Change::Insert(rows::write(key.clone(), &body)),
                });
            }
            tries += 1;
            match self.store.commit(tenant, &changes).await {
                Err(store::Error::Changed(_) | store::Error::Exists(_) | store::Error::Unknown(_)) if tries < TRIES => {
                }
                done => return Ok(done?),
            }
        }
    }

    /// Whether the tenant is there and not being removed: nothing may be left behind in its partition. A removal waits
    /// longer before it is done than one write takes.
    async fn is_kept(&self, tenant: &str) -> Result<bool, Error> {
        let row = |key: String| async move {
            let found = self.store.get(rows::CONTROL, &[&key]).await?;
            Ok::<_, store::Error>(found.into_iter().next().flatten())
        };
        let Some(alias) = row(alias_key(tenant)).await? else {
            return Ok(false);
        };
        let AliasBody { name, .. } = rows::body(&alias)?;
        let Some(found) = row(tenant_key(&name)).await? else {
            return Ok(false);
        };
        let body: TenantBody = rows::body(&found)?;
        Ok(body.deleting.is_none())
    }
}
