//! How a request says who is calling: a shared key's signature, a shared access signature, or a token.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    base64,
    credentials::{Secret, SecretBytes},
    error::ErrorKind,
    http::{
        Context, Request,
        headers::{AUTHORIZATION, MS_DATE},
        policies::{Policy, PolicyResult},
    },
    time::to_rfc7231,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    error::{Error, Result},
    options::Clock,
    token::TokenCache,
};

/// A storage account's name and one of its two keys. `Debug` shows the name only.
#[derive(Clone)]
pub struct SharedKeyCredential {
    account: String,
    key: SecretBytes,
}

impl SharedKeyCredential {
    /// From the account's name and the key as the portal shows it, in base64.
    pub fn new(account: impl Into<String>, key: &str) -> Result<Self> {
        let account = account.into();
        if account.is_empty() || !account.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Error::invalid(
                "the account name is empty or has other characters than an account's",
            ));
        }
        match base64::decode(key) {
            Ok(key) if !key.is_empty() => Ok(Self {
                account,
                key: SecretBytes::new(key),
            }),
            _ => Err(Error::invalid("the account key is not base64")),
        }
    }

    /// The `Authorization` header of the scheme "Shared Key Lite for the Table service": date and resource are signed.
    fn sign(&self, date: &str, path: &str, comp: Option<&str>) -> String {
        let mut signed = format!("{date}\n/{}{path}", self.account);
        if let Some(comp) = comp {
            signed.push_str("?comp=");
            signed.push_str(comp);
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.bytes()).expect("HMAC takes a key of any length");
        mac.update(signed.as_bytes());
        let signature = base64::encode(mac.finalize().into_bytes());
        format!("SharedKeyLite {}:{signature}", self.account)
    }
}

impl fmt::Debug for SharedKeyCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeyCredential")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// Signs each try with the time it is sent at.
#[derive(Debug)]
pub(crate) struct SharedKeyPolicy {
    pub(crate) credential: SharedKeyCredential,
    pub(crate) clock: Clock,
}

#[async_trait]
impl Policy for SharedKeyPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let date = to_rfc7231(&self.clock.now());
        let comp = request.url().query_pairs().find(|(name, _)| name == "comp");
        let comp = comp.map(|(_, value)| value.into_owned());
        let authorization = self.credential.sign(&date, request.url().path(), comp.as_deref());
        request.insert_header(MS_DATE, date);
        request.insert_header(AUTHORIZATION, authorization);
        next[0].send(ctx, request, &next[1..]).await
    }
}

/// Adds a shared access signature to the URL, behind everything that could keep or show the URL.
#[derive(Debug)]
pub(crate) struct SasPolicy {
    pub(crate) signature: Secret,
}

#[async_trait]
impl Policy for SasPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let query = match request.url().query() {
            Some(query) => format!("{query}&{}", self.signature.secret()),
            None => self.signature.secret().to_owned(),
        };
        request.url_mut().set_query(Some(&query));
        next[0].send(ctx, request, &next[1..]).await
    }
}

/// Sends a token, which [`TokenCache`] keeps fresh.
#[derive(Debug)]
pub(crate) struct TokenPolicy {
    pub(crate) cache: TokenCache,
    /// The most time that a request waits for a token; then it is given up unsent.
    pub(crate) timeout: Duration,
}

#[async_trait]
impl Policy for TokenPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let token = tokio::time::timeout(self.timeout, self.cache.token()).await;
        let token = token.unwrap_or_else(|_| {
            let text = format!("none after {} ms", self.timeout.as_millis());
            Err(azure_core::Error::with_message(ErrorKind::Credential, text))
        })?;
        request.insert_header(AUTHORIZATION, format!("Bearer {}", token.secret()));
        let response = next[0].send(ctx, request, &next[1..]).await?;
        if response.status() == 401 {
            self.cache.forget(&token);
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Azurite emulator's public account.
    const EMULATOR_KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// The expected signatures come from `openssl dgst -sha256 -mac HMAC` over the documented string to sign.
    #[track_caller]
    fn check(path: &str, comp: Option<&str>, expected: &str) {
        let credential = SharedKeyCredential::new("devstoreaccount1", EMULATOR_KEY).unwrap();
        assert_eq!(
            credential.sign("Sun, 22 Nov 2026 15:00:00 GMT", path, comp),
            format!("SharedKeyLite devstoreaccount1:{expected}")
        );
    }

    #[test]
    fn signatures_are_those_of_an_independent_implementation() {
        check("/Tables", None, "nFHg6wed/ZvJRt/PwpxisP0cJtLunGMYcLXcetjhcKk=");
        check(
            "/scimgate(PartitionKey='p',RowKey='o%27%27brien')",
            None,
            "ofo4+hm16uK7NMs/2+DsiUVmvXRv3qE7kxEFt+UM2eQ=",
        );
        check(
            "/devstoreaccount1/$batch",
            None,
            "P3qb7JzoGYAeaH3cvIl5+jD3otl53/Rusu7n9Fy+ki8=",
        );
        check("/", Some("properties"), "7iNPi6vQ5ifQ0DahBXGNa9VKEP2HYXT5jb/lOihfPxs=");
    }

    #[test]
    fn a_malformed_key_is_refused_and_not_shown() {
        for (account, key) in [("a", "s3cret!"), ("a", ""), ("", "AAAA"), ("a/b", "AAAA")] {
            let error = SharedKeyCredential::new(account, key).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
        let credential = SharedKeyCredential::new("devstoreaccount1", EMULATOR_KEY).unwrap();
        assert_eq!(
            format!("{credential:?}"),
            "SharedKeyCredential { account: \"devstoreaccount1\", .. }"
        );
    }
}
