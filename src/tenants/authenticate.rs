//! From a secret to an [`Access`]: one parallel read, then remembered for up to 60 s.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    AliasBody, Error, SeenBody, Tenant, TenantBody, Tenants, alias_key,
    credentials::{Credential, hash, token_key},
    parse_name,
    schemas::{Catalogs, schemas_key},
    seen_key, tenant_key,
};
use crate::{
    rows::{self, CONTROL, FORMAT, FormatError},
    store::{
        self, Change, Store, settle,
        turns::{Quota, Share},
    },
    telemetry,
};

/// How long a known credential is believed without asking the store: a revocation is in force everywhere after it.
pub const CACHED: Duration = Duration::seconds(60);
/// Most answers remembered, and most credentials that are listed; unknown secrets cost an attacker nothing, so their number must
/// not cost us memory.
const MAX_CACHED: usize = 10_000;

/// Requests at a time whose secrets are looked up and were not known here before; and as many of those that were. As many as are
/// worked on, so that all who come at once after a start find room: they hold nothing but their heads.
pub(super) const MAX_LOOK_UPS: usize = 512;
/// Most of them with the same secret: a quarter.
pub(super) const MAX_LOOK_UPS_OF_ONE: usize = MAX_LOOK_UPS / 4;

/// The right to work on one tenant's resources.
pub struct Access {
    /// Whose resources.
    pub tenant: Tenant,
    /// Which credential was shown; stands in events.
    pub credential: String,
    /// What the resources look like.
    pub catalogs: Catalogs,
}

impl Access {
    /// Whose credential was shown.
    pub fn holder(&self) -> Holder {
        Holder {
            tenant: self.tenant.id.clone(),
            credential: self.credential.clone(),
        }
    }
}

/// Why there is no [`Access`].
#[derive(Debug)]
pub enum Refusal {
    /// No such tenant, no such secret, or another tenant's: never told apart.
    Unknown,
    /// This tenant's secret, but it has expired.
    Expired(OffsetDateTime, Holder),
    /// This tenant's secret, but it was revoked.
    Revoked(OffsetDateTime, Holder),
    /// This tenant's secret, but an operator has paused the tenant.
    Paused(Holder),
    /// As many requests wait for this secret to be looked up as there may be.
    TooMany,
    /// As many requests wait for theirs to be looked up as there may be.
    Full,
    /// The store could not tell.
    Store(store::Error),
    /// A row could not be read.
    Format(FormatError),
}

/// Whose credential it is.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The tenant's id.
    pub tenant: String,
    /// The credential's.
    pub credential: String,
}

/// A credential that is or was this tenant's.
#[derive(Clone)]
struct Known {
    access: Arc<Access>,
    credential: Credential,
}

/// What is known, by (hash of the secret, tenant's name in the URL or nothing). What is unknown is asked for every time:
/// an operator may just be adding it.
pub(super) struct Cache {
    /// Until when it is believed. What is older tells who is no stranger.
    known: Mutex<HashMap<(String, String), (Known, OffsetDateTime)>>,
    /// The hashes of the credentials that there were a while ago, each with its tenant's name. Nobody is believed for it: it tells
    /// who is no stranger, also to a process that has never met him.
    listed: Mutex<HashMap<String, String>>,
    /// For secrets that anybody may have made up.
    strangers: Lane,
    /// For those that were a tenant's when they were looked up or listed last, so that strangers don't keep tenants out.
    familiar: Lane,
    /// What is looked up just now. Who shows the same secret waits for the answer.
    under_way: Mutex<HashMap<(String, String), Weak<LookUp>>>,
}

/// What look-ups may take.
struct Lane {
    /// For requests.
    rooms: Semaphore,
    /// Has a quarter of storage's turns, which leaves room for those who are known.
    store: Arc<dyn Store>,
}

/// Held by who looks a secret up; when somebody last began to, and nobody knew it.
type LookUp = AsyncMutex<Option<Instant>>;

impl Lane {
    fn new(store: &Arc<dyn Store>) -> Self {
        Self {
            rooms: Semaphore::new(MAX_LOOK_UPS),
            store: Share::of(store, &Quota::default()),
        }
    }

    async fn look_up(&self, (hash, name): &(String, String), deadline: Instant) -> Result<Option<Known>, Refusal> {
        let began = Instant::now();
        let mut keys = vec![token_key(hash)];
        if !name.is_empty() {
            keys.extend([tenant_key(name), schemas_key(name)]);
        }
        let mut rows = self.control(&keys, deadline).await?.into_iter();
        let Some(token) = rows.next().flatten() else {
            return Ok(None);
        };
        let credential: Credential = rows::body(&token)?;
        if name.is_empty() {
            rows = self.rows_by_id(&credential.tenant, deadline).await?.into_iter();
        }
        let (Some(row), schemas) = (rows.next().flatten(), rows.next().flatten()) else {
            return Ok(None);
        };
        let body: TenantBody = rows::body(&row)?;
        if body.id != credential.tenant || body.deleting.is_some() {
            return Ok(None);
        }
        let access = Access {
            tenant: body.tenant(&row.key)?,
            credential: credential.id.clone(),
            catalogs: Catalogs::new(schemas.as_ref(), began)?,
        };
        Ok(Some(Known {
            access: Arc::new(access),
            credential,
        }))
    }

    /// The rows of the tenant and of its extensions, where the URL does not name it.
    async fn rows_by_id(&self, id: &str, deadline: Instant) -> Result<Vec<Option<store::Row>>, Refusal> {
        let Some(alias) = self.control(&[alias_key(id)], deadline).await?.pop().flatten() else {
            return Ok(Vec::new());
        };
        let AliasBody { name, .. } = rows::body(&alias)?;
        self.control(&[tenant_key(&name), schemas_key(&name)], deadline).await
    }

    async fn control(&self, keys: &[String], deadline: Instant) -> Result<Vec<Option<store::Row>>, Refusal> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        settle::patient_get(&*self.store, CONTROL, &keys, deadline)
            .await
            .map_err(Refusal::Store)
    }
}

impl Cache {
    pub(super) fn new(store: &Arc<dyn Store>) -> Self {
        Self {
            known: Mutex::default(),
            listed: Mutex::default(),
            strangers: Lane::new(store),
            familiar: Lane::new(store),
            under_way: Mutex::default(),
        }
    }

    fn find(&self, key: &(String, String), now: OffsetDateTime) -> Option<Known> {
        let entries = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(key)
            .filter(|(_, until)| now < *until)
            .map(|(known, _)| known.clone())
    }

    fn remember(&self, key: (String, String), known: Known, now: OffsetDateTime) {
        let mut entries = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_CACHED {
            entries.retain(|_, (_, until)| now < *until);
        }
        if entries.len() < MAX_CACHED {
            entries.insert(key, (known, now + CACHED));
        }
    }

    /// Nobody knows it any more.
    fn unlearn(&self, key: &(String, String)) {
        let mut entries = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(key);
        drop(entries);
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if is_listed(&listed, key) {
            listed.remove(&key.0);
        }
    }

    fn lane(&self, key: &(String, String)) -> &Lane {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_familiar = is_listed(&listed, key);
        drop(listed);
        let entries = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if is_familiar || entries.contains_key(key) {
            &self.familiar
        } else {
            &self.strangers
        }
    }

    /// To be held by who looks this up; nothing if too many wait for that.
    fn look_up(&self, key: &(String, String)) -> Option<Arc<LookUp>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, one| one.strong_count() > 0);
        if let Some(one) = under_way.get(key).and_then(Weak::upgrade) {
            return (Arc::strong_count(&one) <= MAX_LOOK_UPS_OF_ONE).then_some(one);
        }
        let one = Arc::default();
        under_way.insert(key.clone(), Arc::downgrade(&one));
        Some(one)
    }

    /// In this process at once, elsewhere after [`CACHED`].
    pub(super) fn forget(&self, hash: &str) {
        let mut entries = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(cached, _), _| cached != hash);
    }
}

impl Tenants {
    /// Who shows this secret at this tenant's URL; without a name the secret alone names the tenant. The secret is never
    /// compared with anything: its hash is looked up.
    pub async fn authenticate(
        &self,
        name: Option<&str>,
        secret: &str,
        deadline: Instant,
    ) -> Result<Arc<Access>, Refusal> {
        let now = self.ambient.now();
        let name = name.map(parse_name).transpose().map_err(|_| Refusal::Unknown)?;
        let key = (hash(secret), name.unwrap_or_default());
        let known = if let Some(known) = self.cache.find(&key, now) {
            known
        } else {
            self.look_up_once(key, deadline).await?
        };
        note(&known);
        match known.credential {
            Credential {
                revoked: Some(time), ..
            } => Err(Refusal::Revoked(time, known.access.holder())),
            Credential {
                expires: Some(time), ..
            } if time <= now => Err(Refusal::Expired(time, known.access.holder())),
            _ if known.access.tenant.paused.is_some() => Err(Refusal::Paused(known.access.holder())),
            _ => Ok(known.access),
        }
    }

    /// Learns which credentials these tenants have, the first 10,000 of all: who shows one is no stranger here. Those that are
    /// made later are, until the next time.
    ///
    /// # Errors
    /// They could not be read; what was learned before stays.
    pub async fn learn(&self, tenants: &[Tenant], deadline: Instant) -> Result<(), Error> {
        let names: HashMap<&str, &str> = tenants.iter().map(|tenant| (&*tenant.id, &*tenant.name)).collect();
        let prefix = token_key("");
        let (from, until) = rows::range(&prefix);
        let page = settle::patient_scan(&*self.store, CONTROL, (&from, &until), MAX_CACHED, deadline).await?;
        let listed = page.rows.iter().filter_map(|row| {
            // What cannot be read is refused when somebody shows it.
            let credential: Credential = rows::body(row).ok()?;
            let name = names.get(&*credential.tenant)?;
            Some((row.key[prefix.len()..].to_owned(), (*name).to_owned()))
        });
        let listed = listed.collect();
        *self.cache.listed.lock().unwrap_or_else(PoisonError::into_inner) = listed;
        Ok(())
    }

    /// However many requests show a secret at the same time, as after a start, one of them asks the store. That nobody knows
    /// it is believed only if it was asked after the request came.
    async fn look_up_once(&self, key: (String, String), deadline: Instant) -> Result<Known, Refusal> {
        let came = Instant::now();
        let lane = self.cache.lane(&key);
        let _room = lane.rooms.try_acquire().map_err(|_| Refusal::Full)?;
        let look_up = self.cache.look_up(&key).ok_or(Refusal::TooMany)?;
        let turn = timeout_at(deadline, look_up.lock()).await;
        let mut unknown = turn.map_err(|_| Refusal::Store(store::Error::Busy(None)))?;
        let now = self.ambient.now();
        if let Some(known) = self.cache.find(&key, now) {
            return Ok(known);
        }
        if unknown.is_some_and(|asked| asked > came) {
            return Err(Refusal::Unknown);
        }
        let asked = Instant::now();
        let Some(known) = lane.look_up(&key, deadline).await? else {
            *unknown = Some(asked);
            self.cache.unlearn(&key);
            return Err(Refusal::Unknown);
        };
        self.cache.remember(key, known.clone(), now);
        self.note_seen(&known, now);
        Ok(known)
    }

    /// Writes down that the tenant was heard of, beside the request: nobody waits for it and nothing depends on it.
    fn note_seen(&self, known: &Known, now: OffsetDateTime) {
        if !known.credential.is_valid(now) {
            return;
        }
        let body = SeenBody {
            format: FORMAT,
            time: now,
        };
        let change = Change::Upsert(rows::write(seen_key(&known.access.tenant.id), &body));
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            if let Err(error) = store.commit(CONTROL, &[change]).await {
                tracing::debug!(%error, "the time of a tenant's last request was not written");
            }
        });
    }
}

/// Whether the credential is listed, and its tenant's name is the one in the URL, if there is one.
fn is_listed(listed: &HashMap<String, String>, (hash, name): &(String, String)) -> bool {
    listed.get(hash).is_some_and(|of| name.is_empty() || name == of)
}

/// Whose request it is and by which credential, also of one that is refused because the credential has had its time.
fn note(known: &Known) {
    telemetry::note("scim.tenant", known.access.tenant.name.clone());
    telemetry::note("scim.credential", known.credential.id.clone());
    telemetry::note_once("scim.credential.expires", || {
        known.credential.expires?.format(&Rfc3339).ok()
    });
}

impl From<FormatError> for Refusal {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}
