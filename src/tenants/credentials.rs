//! Credentials: opaque bearer tokens, stored as hashes only. A tenant may have several at once, so that they can be
//! rotated without a gap.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::{Error, Tenants, parse_name, replace};
use crate::{
    rows::{self, CONTROL, FORMAT},
    store::{self, Change, MAX_GET_KEYS, settle},
};

/// Most bytes of a label.
pub const MAX_LABEL_BYTES: usize = 100;

/// How long a token is valid when nobody says otherwise.
const DEFAULT_LIFETIME: Duration = Duration::days(365);

/// What an operator may choose for a new credential.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// For people; at most [`MAX_LABEL_BYTES`].
    pub label: String,
    /// When it stops working; `None` means in a year.
    pub expires: Option<Expiry>,
}

/// When a credential stops working.
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// At this time.
    At(OffsetDateTime),
    /// Never. Only sensible for an imported secret whose customers must not notice the move.
    Never,
}

/// Where a secret came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Made here.
    Issued,
    /// Brought along from another endpoint.
    Imported,
}

/// A credential as operators see it; never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub(super) format: u32,
    /// Names the tenant.
    pub(super) tenant: String,
    /// Names the credential in commands, events and telemetry.
    pub id: String,
    /// For people.
    pub label: String,
    /// Where its secret came from.
    pub origin: Origin,
    /// Since when it works.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// From when on it is refused.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires: Option<OffsetDateTime>,
    /// Since when it is refused.
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked: Option<OffsetDateTime>,
    /// What a later version wrote beside them.
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

impl Credential {
    /// Neither revoked nor expired.
    pub fn is_valid(&self, now: OffsetDateTime) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

/// A new credential with its secret, which is nowhere else and can't be shown again.
pub struct Issued {
    /// The credential.
    pub credential: Credential,
    /// What the customer's administrator pastes into "Secret Token".
    pub secret: String,
}

/// The row that leads from a tenant to one of its credentials.
#[derive(Serialize, Deserialize)]
pub(super) struct HeldBody {
    format: u32,
    pub(super) hash: String,
}

impl Tenants {
    /// Adds a credential to a tenant; works on the next request. `secret` is one that exists already elsewhere.
    pub async fn add_credential(
        &self,
        name: &str,
        secret: Option<String>,
        terms: &Terms,
        by: &str,
        deadline: Instant,
    ) -> Result<Issued, Error> {
        let issue = |tenant: &str| {
            let (Issued { credential, secret }, rows) = self.issue(tenant, secret.clone(), terms)?;
            Ok((credential, secret, rows))
        };
        let (credential, secret) = self.add(name, issue, by, deadline).await?;
        Ok(Issued { credential, secret })
    }

    /// The same for a secret of which another endpoint has stored the SHA-256 only, in 64 hexadecimal digits, without salt.
    pub async fn add_hashed(
        &self,
        name: &str,
        hash: &str,
        terms: &Terms,
        by: &str,
        deadline: Instant,
    ) -> Result<Credential, Error> {
        let hash = parse_hash(hash)?;
        let import = |tenant: &str| {
            let (credential, rows) = self.credential(tenant, &hash, Origin::Imported, terms)?;
            Ok((credential, (), rows))
        };
        let (credential, ()) = self.add(name, import, by, deadline).await?;
        Ok(credential)
    }

    /// Writes the rows that `make` gives for a tenant's id.
    async fn add<T>(
        &self,
        name: &str,
        make: impl Fn(&str) -> Result<(Credential, T, Vec<Change>), Error>,
        by: &str,
        deadline: Instant,
    ) -> Result<(Credential, T), Error> {
        loop {
            let tenant = self.find(name, deadline).await?;
            let (credential, secret, credential_rows) = make(&tenant.id)?;
            let kind = match credential.origin {
                Origin::Issued => "token-create",
                Origin::Imported => "token-import",
            };
            let mut changes = vec![
                self.event(kind, ("Token", &credential.id), &tenant.id, by),
                // The tenant must still be there when the credential comes into being.
                Change::Touch(super::tenant_key(&tenant.name)),
            ];
            changes.extend(credential_rows);
            match self.settle(&changes, deadline).await {
                Ok(()) => return Ok((credential, secret)),
                Err(store::Error::Exists(_)) => return Err(Error::SecretTaken),
                Err(error) => super::try_again(error, deadline)?,
            }
        }
    }

    /// A tenant's credentials, the oldest first.
    pub async fn credentials(&self, name: &str, deadline: Instant) -> Result<Vec<Credential>, Error> {
        let tenant = self.find(name, deadline).await?;
        let keys: Vec<String> = self
            .held(&tenant.id, deadline)
            .await?
            .iter()
            .map(|(_, hash)| token_key(hash))
            .collect();
        let mut credentials: Vec<Credential> = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MAX_GET_KEYS) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            for row in settle::patient_get(&*self.store, CONTROL, &keys, deadline)
                .await?
                .iter()
                .flatten()
            {
                credentials.push(rows::body(row)?);
            }
        }
        credentials.sort_by_key(|credential| credential.created);
        Ok(credentials)
    }

    /// Refuses a credential from now on; in force everywhere within 60 s. Revoking twice changes nothing.
    pub async fn revoke(&self, name: &str, id: &str, by: &str, deadline: Instant) -> Result<Credential, Error> {
        let tenant = self.find(&parse_name(name)?, deadline).await?;
        let held = self.held(&tenant.id, deadline).await?;
        let no_credential = || Error::NoCredential(id.to_owned());
        let (_, hash) = held
            .into_iter()
            .find(|(held_id, _)| held_id == id)
            .ok_or_else(no_credential)?;
        let key = token_key(&hash);
        loop {
            let row = settle::patient_get(&*self.store, CONTROL, &[&key], deadline)
                .await?
                .pop()
                .flatten();
            let row = row.ok_or_else(no_credential)?;
            let mut credential: Credential = rows::body(&row)?;
            if credential.revoked.is_some() {
                return Ok(credential);
            }
            credential.revoked = Some(self.ambient.now());
            let changes = [
                self.event("token-revoke", ("Token", id), &tenant.id, by),
                replace(key.clone(), row.etag, &credential),
            ];
            match self.settle(&changes, deadline).await {
                Ok(()) => {
                    self.cache.forget(&hash);
                    return Ok(credential);
                }
                Err(error) => super::try_again(error, deadline)?,
            }
        }
    }

    /// The rows of a new credential; nothing is written yet.
    pub(super) fn issue(
        &self,
        tenant: &str,
        secret: Option<String>,
        terms: &Terms,
    ) -> Result<(Issued, Vec<Change>), Error> {
        let origin = if secret.is_some() {
            Origin::Imported
        } else {
            Origin::Issued
        };
        let secret = match secret {
            Some(secret) => parse_secret(secret)?,
            None => format!(
                "sg_{}",
                BASE32_NOPAD.encode(&self.ambient.secret()).to_ascii_lowercase()
            ),
        };
        let (credential, changes) = self.credential(tenant, &hash(&secret), origin, terms)?;
        Ok((Issued { credential, secret }, changes))
    }

    fn credential(
        &self,
        tenant: &str,
        hash: &str,
        origin: Origin,
        terms: &Terms,
    ) -> Result<(Credential, Vec<Change>), Error> {
        if !super::is_label(&terms.label) {
            return Err(Error::BadLabel);
        }
        let now = self.ambient.now();
        let credential = Credential {
            format: FORMAT,
            tenant: tenant.to_owned(),
            id: BASE32_NOPAD.encode(&self.ambient.secret()[..5]).to_ascii_lowercase(),
            label: terms.label.clone(),
            origin,
            created: now,
            expires: match terms.expires {
                None => Some(now + DEFAULT_LIFETIME),
                Some(Expiry::At(time)) => Some(time),
                Some(Expiry::Never) => None,
            },
            revoked: None,
            unknown: Map::new(),
        };
        let held = HeldBody {
            format: FORMAT,
            hash: hash.to_owned(),
        };
        let changes = vec![
            Change::Insert(rows::write(token_key(hash), &credential)),
            Change::Insert(rows::write(held_key(tenant, &credential.id), &held)),
        ];
        Ok((credential, changes))
    }

    /// A tenant's credentials as (id, hash).
    pub(super) async fn held(&self, tenant: &str, deadline: Instant) -> Result<Vec<(String, String)>, Error> {
        let prefix = held_key(tenant, "");
        let mut held = Vec::new();
        for row in self.rows(&prefix, deadline).await? {
            let body: HeldBody = rows::body(&row)?;
            held.push((row.key[prefix.len()..].to_owned(), body.hash));
        }
        Ok(held)
    }

    /// Every credential of every tenant, with the tenant's id.
    pub(super) async fn all_credentials(&self, deadline: Instant) -> Result<Vec<(String, Credential)>, Error> {
        let mut all = Vec::new();
        for row in self.rows("token~", deadline).await? {
            let credential: Credential = rows::body(&row)?;
            all.push((credential.tenant.clone(), credential));
        }
        Ok(all)
    }
}

/// What is stored of a secret. Issued ones have 256 random bits, so a plain hash cannot be reversed.
pub(super) fn hash(secret: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(secret))
}

pub(super) fn token_key(hash: &str) -> String {
    format!("token~{hash}")
}

pub(super) fn held_key(tenant: &str, credential: &str) -> String {
    format!("of~{tenant}~{credential}")
}

pub(super) fn parse_hash(text: &str) -> Result<String, Error> {
    let hash = text.to_ascii_lowercase();
    let fits = HEXLOWER.decode(hash.as_bytes()).is_ok_and(|bytes| bytes.len() == 32);
    fits.then_some(hash)
        .ok_or(Error::BadSecret("a SHA-256 hash has 64 hexadecimal digits"))
}

/// A secret from elsewhere: anything that fits into `Authorization: Bearer …` (RFC 6750 §2.1 is narrower; some
/// endpoints were not).
fn parse_secret(secret: String) -> Result<String, Error> {
    if secret.is_empty() {
        return Err(Error::BadSecret("it is empty"));
    }
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::BadSecret(
            "it has a space, a line end or a character outside ASCII",
        ));
    }
    Ok(secret)
}
