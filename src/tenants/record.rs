//! A tenant's rows of the control partition all together: what a backup keeps of it beside its resources.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::{
    AliasBody, Credential, Error, Tenant, TenantBody, Tenants, alias_key,
    credentials::{HeldBody, held_key, parse_hash, token_key},
    is_label,
    lately::Counted,
    parse_name,
    schemas::schemas_key,
    seen_key, tenant_key,
};
use crate::{
    rows::{self, CONTROL, EventBody, FormatError},
    store::{self, Change, MAX_GET_KEYS, Row, Write, settle},
};

/// How often the rows are read until two readings are the same.
const READINGS: usize = 10;
/// Rows written together.
const ROWS_AT_ONCE: usize = 90;

/// Why a tenant cannot be made of rows.
#[derive(Debug)]
pub enum Unfit {
    /// The rows are not a tenant's, or another one's; the text says which.
    Broken(String),
    /// There is a tenant with this id already.
    Id,
    /// There is another tenant of this name.
    Name,
    /// The credential with this id is another tenant's too.
    Credential,
    /// What was to be changed with its rows was changed by somebody else.
    Overtaken,
    /// Something else went wrong.
    Error(Error),
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<store::Error> for Unfit {
    fn from(error: store::Error) -> Self {
        Self::Error(error.into())
    }
}

impl Tenants {
    /// What the control partition has of a tenant, at one moment but for what is only counted. Nothing if it is gone or being
    /// removed.
    pub async fn record(&self, id: &str, deadline: Instant) -> Result<Option<Vec<Row>>, Error> {
        let mut before: Option<Vec<Row>> = None;
        for _ in 0..READINGS {
            let now = self.read_record(id, deadline).await?;
            let steady = |rows: &Vec<Row>| -> Vec<Row> {
                rows.iter().filter(|row| !is_counted(&row.key, id)).cloned().collect()
            };
            if let Some(before) = &before
                && now.as_ref().map(steady).as_ref() == Some(&steady(before))
            {
                return Ok(now);
            }
            if now.is_none() && self.alias(id, deadline).await?.is_none_or(|(_, deleting)| deleting) {
                return Ok(None);
            }
            before = now;
        }
        Err(store::Error::Busy(None).into())
    }

    /// The tenant's name, and whether it is being removed. Between two moments of a renaming there is none.
    pub(super) async fn alias(&self, id: &str, deadline: Instant) -> Result<Option<(String, bool)>, Error> {
        let Some(alias) = self.control_rows(&[alias_key(id)], deadline).await?.pop() else {
            return Ok(None);
        };
        let AliasBody { name, .. } = rows::body(&alias)?;
        let Some(row) = self.control_rows(&[tenant_key(&name)], deadline).await?.pop() else {
            return Ok(Some((name, false)));
        };
        let body: TenantBody = rows::body(&row)?;
        Ok(Some((name, body.deleting.is_some())))
    }

    async fn read_record(&self, id: &str, deadline: Instant) -> Result<Option<Vec<Row>>, Error> {
        let Some((name, false)) = self.alias(id, deadline).await? else {
            return Ok(None);
        };
        let mut keys = vec![tenant_key(&name), alias_key(id), schemas_key(&name), seen_key(id)];
        keys.extend(Counted::EVERY.map(|of| of.key(id)));
        let mut rows = self.control_rows(&keys, deadline).await?;
        if rows.first().is_none_or(|row| row.key != keys[0]) {
            return Ok(None);
        }
        rows.extend(self.rows(&held_key(id, ""), deadline).await?);
        let held = self.held(id, deadline).await?;
        let tokens: Vec<String> = held.iter().map(|(_, hash)| token_key(hash)).collect();
        rows.extend(self.control_rows(&tokens, deadline).await?);
        Ok(Some(rows))
    }

    async fn control_rows(&self, keys: &[String], deadline: Instant) -> Result<Vec<Row>, Error> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut rows = Vec::new();
        for keys in keys.chunks(MAX_GET_KEYS) {
            let some = settle::patient_get(&*self.store, CONTROL, keys, deadline).await?;
            rows.extend(some.into_iter().flatten());
        }
        Ok(rows)
    }

    /// Whether a tenant has this id.
    pub async fn is_there(&self, id: &str, deadline: Instant) -> Result<bool, Error> {
        Ok(!self.control_rows(&[alias_key(id)], deadline).await?.is_empty())
    }

    /// Fails if a tenant has this id, or another one this name.
    pub async fn makes_way(&self, id: &str, name: &str, deadline: Instant) -> Result<(), Unfit> {
        if self.is_there(id, deadline).await? {
            return Err(Unfit::Id);
        }
        let name = self.control_rows(&[tenant_key(name)], deadline).await?;
        if name.is_empty() { Ok(()) } else { Err(Unfit::Name) }
    }

    /// Removes what the control partition has of a tenant that is not there: what an adoption that was cut off has inserted, and what
    /// was counted of its last requests after it was removed. Each commit makes the change `holding` too, or does nothing.
    pub async fn disown(&self, id: &str, holding: &Change, deadline: Instant) -> Result<(), Unfit> {
        let mut keys = vec![seen_key(id)];
        keys.extend(Counted::EVERY.map(|of| of.key(id)));
        for (credential, hash) in self.held(id, deadline).await? {
            for token in self.control_rows(&[token_key(&hash)], deadline).await? {
                let is_its = rows::body::<Credential>(&token).map_err(Error::from)?.tenant == id;
                keys.extend(is_its.then_some(token.key));
            }
            // Behind its token, which nothing else leads to.
            keys.push(held_key(id, &credential));
        }
        for row in self.control_rows(&keys, deadline).await? {
            let changes = [holding.clone(), Change::Delete(row.key, None)];
            match settle::patient_commit(&*self.store, CONTROL, &changes, deadline).await {
                Err(store::Error::Missing(key)) if key == holding.key() => return Err(Unfit::Overtaken),
                Ok(()) | Err(store::Error::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The tenant that these rows are of. Nobody else's row is among them: they come from a file.
    pub fn read(id: &str, name: &str, rows: &[Write]) -> Result<Tenant, Unfit> {
        let broken = |key: &str| Unfit::Broken(key.to_owned());
        let own = [tenant_key(name), alias_key(id)];
        let others = [schemas_key(name), seen_key(id)];
        let counted = Counted::EVERY.map(|of| of.key(id));
        let keys: HashSet<&str> = rows.iter().map(|row| &*row.key).collect();
        let mut held = held(id, rows)?;
        let mut tenant = None;
        for row in rows {
            let key = &row.key;
            let is_own = if key.starts_with("token~") {
                let credential: Credential = body(row)?;
                let named = held.remove(&held_key(id, &credential.id));
                named.as_ref() == Some(key) && credential.tenant == id && is_label(&credential.label)
            } else if key.starts_with(&held_key(id, "")) {
                true
            } else if *key == own[0] {
                let body: TenantBody = body(row)?;
                tenant = Some(body.tenant(key).map_err(Error::from)?);
                let is_shown = is_label(&body.title) && is_label(&body.contact);
                is_shown && body.id == id && body.name == name && body.deleting.is_none()
            } else if *key == own[1] {
                body::<AliasBody>(row)?.name == name
            } else {
                others.contains(key) || counted.contains(key)
            };
            if !is_own {
                return Err(broken(key));
            }
        }
        if let Some(key) = held.into_keys().next() {
            return Err(broken(&key));
        }
        let named = parse_name(name).is_ok_and(|parsed| parsed == name);
        match tenant {
            Some(tenant) if named && own.iter().all(|key| keys.contains(&**key)) => Ok(tenant),
            _ => Err(broken(&own[0])),
        }
    }

    /// The name of the tenant whose own row has this key.
    pub fn name_in(key: &str) -> Option<&str> {
        key.strip_prefix("tenant~")
    }

    /// Makes the tenant of its rows; they are in force at once. Each commit makes the first of `marks` too, the
    /// last one the others, or does nothing. What was cut off is finished by doing it again.
    pub async fn adopt(
        &self,
        id: &str,
        name: &str,
        rows: Vec<Write>,
        (holding, mut marks): (Change, Vec<Change>),
        by: &str,
        deadline: Instant,
    ) -> Result<(), Unfit> {
        let (last, first): (Vec<Write>, Vec<Write>) = {
            let own = [tenant_key(name), alias_key(id), schemas_key(name)];
            rows.into_iter().partition(|row| own.contains(&row.key))
        };
        for rows in first.chunks(ROWS_AT_ONCE) {
            self.insert(rows, std::slice::from_ref(&holding), deadline).await?;
        }
        marks.push(self.event("tenant-load", ("Tenant", id), id, by));
        self.insert(&last, &marks, deadline).await
    }

    /// Inserts what is not there yet.
    async fn insert(&self, rows: &[Write], marks: &[Change], deadline: Instant) -> Result<(), Unfit> {
        loop {
            let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
            let there = self.control_rows(&keys, deadline).await?;
            let same = |row: &Write| {
                there
                    .iter()
                    .find(|other| other.key == row.key)
                    .map(|other| other.body == row.body)
            };
            let mut changes = Vec::new();
            for row in rows {
                match same(row) {
                    Some(true) => {}
                    Some(false) if row.key.starts_with("token~") => return Err(Unfit::Credential),
                    Some(false) if row.key.starts_with("tenant~") => return Err(Unfit::Name),
                    Some(false) => return Err(Unfit::Id),
                    None => changes.push(Change::Insert(row.clone())),
                }
            }
            if changes.is_empty() {
                return Ok(());
            }
            changes.extend_from_slice(marks);
            match settle::patient_commit(&*self.store, CONTROL, &changes, deadline).await {
                Ok(()) => return Ok(()),
                // An answer was lost, or somebody else does the same.
                Err(store::Error::Exists(_)) if Instant::now() < deadline => {}
                Err(store::Error::Changed(_) | store::Error::Missing(_)) => return Err(Unfit::Overtaken),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes into the log what an operator did with all of a tenant's rows.
    ///
    /// # Errors
    ///
    /// When storage fails until the deadline.
    pub async fn write_down(&self, kind: &str, tenant: &Tenant, by: &str, deadline: Instant) -> Result<(), Error> {
        let event = self.event(kind, ("Tenant", &tenant.id), &tenant.id, by);
        Ok(self.settle(&[event], deadline).await?)
    }

    /// Which tenant an operator's event is about; none if nothing was done.
    pub fn tenant_of(row: &Row) -> Result<Option<String>, FormatError> {
        if row.stamp == settle::BARRED {
            return Ok(None);
        }
        rows::body::<EventBody>(row).map(|event| event.tenant)
    }
}

/// Which keys of a tenant's credentials lead to which of the credentials, each of which has one.
fn held(id: &str, rows: &[Write]) -> Result<HashMap<String, String>, Unfit> {
    let prefix = held_key(id, "");
    let mut held = HashMap::new();
    for row in rows {
        let Some(credential) = row.key.strip_prefix(&prefix) else {
            continue;
        };
        let hash = body::<HeldBody>(row)?.hash;
        let is_id = (1..=64).contains(&credential.len()) && credential.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_hash = parse_hash(&hash).is_ok_and(|parsed| parsed == hash);
        if !is_id || !is_hash || held.insert(row.key.clone(), token_key(&hash)).is_some() {
            return Err(Unfit::Broken(row.key.clone()));
        }
    }
    Ok(held)
}

fn is_counted(key: &str, id: &str) -> bool {
    key == seen_key(id) || Counted::EVERY.iter().any(|of| of.key(id) == key)
}

fn body<T: serde::de::DeserializeOwned>(row: &Write) -> Result<T, Unfit> {
    rows::body(&row.clone().into()).map_err(|error| match error {
        FormatError::Broken { key } => Unfit::Broken(key),
        newer @ FormatError::Newer { .. } => Unfit::Error(newer.into()),
    })
}
