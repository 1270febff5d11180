//! The way to Azure: the one HTTP client, who we are, and what a refusal means.

use std::{sync::Arc, time::Duration};

use azure_core::{
    credentials::TokenCredential,
    http::{ClientOptions, HttpClient, Transport},
};
use azure_data_tables::{DEFAULT_TRY_TIMEOUT, TableClient, TableClientOptions, TableServiceClient, error_code};
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};

use serde_json::Value;
use tokio::time::sleep;

use super::{
    OpenError,
    connections::Connections,
    outgoing::{Callee, Observed},
};
use crate::{
    ambient::{Ambient, System},
    config::{Settings, StoreSetting},
    store::{self, Store, tables::TablesStore},
    telemetry::{Bearer, Export, bearer},
};

/// A request has the time of so many tries.
const TRIES: u32 = 5;
/// Time to connect; shorter than a try, so that a connection that never was is told from an answer that was lost.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Most bytes of an account's name.
const MAX_ACCOUNT_BYTES: usize = 200;

/// How long Application Insights may take to answer.
const EXPORT_TIME: Duration = Duration::from_secs(10);
/// What a token for Application Insights is good for; with two slashes, as Microsoft's own exporters spell it.
const EXPORT_SCOPE: &str = "https://monitor.azure.com//.default";
/// Least pause between two tokens.
const TOKEN_PAUSE: Duration = Duration::from_secs(10);

/// Who changes things, for the log of operators' deeds: on Azure's storage who is signed in with Azure's command line, else the
/// system's user. Both are what the machine says, and no proof.
pub fn operator(settings: &Settings) -> String {
    let on_azure = settings.store() == StoreSetting::Tables;
    let account = on_azure.then(|| account(&std::fs::read(settings.azure_profile()?).ok()?));
    let name = account.flatten().or_else(|| settings.system_user().map(str::to_owned));
    name.map_or_else(|| "operator".to_owned(), |name| format!("operator {name}"))
}

/// Whom the file of Azure's command line names; it begins with a byte-order mark where Windows wrote it.
fn account(profile: &[u8]) -> Option<String> {
    let profile = profile.strip_prefix(b"\xef\xbb\xbf").unwrap_or(profile);
    let profile: Value = serde_json::from_slice(profile).ok()?;
    let all = profile.get("subscriptions")?.as_array()?;
    let current = all
        .iter()
        .find(|one| one.get("isDefault") == Some(&Value::Bool(true)))?;
    let name = current.pointer("/user/name")?.as_str()?;
    let is_plain = name.len() <= MAX_ACCOUNT_BYTES && !name.chars().any(char::is_control);
    is_plain.then(|| name.to_owned())
}

/// The table that is set, made when it is missing.
pub(super) async fn open(settings: &Settings) -> Result<Arc<dyn Store>, OpenError> {
    let store = TablesStore::new(table(settings)?);
    store.create_table().await.map_err(OpenError::Store)?;
    Ok(Arc::new(store))
}

fn table(settings: &Settings) -> Result<TableClient, OpenError> {
    let try_timeout = DEFAULT_TRY_TIMEOUT.min(settings.deadline() / TRIES);
    let connections = Connections::new(CONNECT_TIME.min(try_timeout * 2 / 3));
    let connections = connections.map_err(|error| OpenError::Setting(format!("no TLS: {error}")))?;
    let options = TableClientOptions {
        client_options: client_options(Arc::new(connections), Callee::Tables(settings.table.clone())),
        try_timeout,
        ..TableClientOptions::default()
    };
    let wrong = |name: &str, error: &dyn std::fmt::Display| OpenError::Setting(format!("{name}: {error}"));
    let service = match (settings.tables_connection(), &settings.tables_endpoint) {
        (Some(text), _) => TableServiceClient::from_connection_string(text, Some(options))
            .map_err(|error| wrong(settings.tables_connection_name(), &error))?,
        (None, Some(endpoint)) => TableServiceClient::new(endpoint, identity(settings, None)?, Some(options))
            .map_err(|error| wrong("SCIMGATE_TABLES_ENDPOINT", &error))?,
        (None, None) => {
            return Err(OpenError::Setting(
                "the store is tables:, but nothing says where it is: set SCIMGATE_TABLES_ENDPOINT (with an identity) or \
                 SCIMGATE_TABLES_CONNECTION"
                    .to_owned(),
            ));
        }
    };
    service
        .table_client(&settings.table)
        .map_err(|error| wrong("SCIMGATE_TABLE", &error))
}

/// The managed identity where Azure offers one, the user-assigned one with this client id if there is one; elsewhere the
/// operator's own sign-in (`az login`, `azd auth login`).
fn identity(settings: &Settings, client_id: Option<&str>) -> Result<Arc<dyn TokenCredential>, OpenError> {
    let failed = |error: azure_core::Error| OpenError::Setting(format!("no identity: {error}"));
    if !settings.has_managed_identity() {
        return Ok(DeveloperToolsCredential::new(None).map_err(failed)?);
    }
    let client = http_client().map_err(|error| OpenError::Setting(format!("no HTTP client: {error}")))?;
    let client_id = client_id.or(settings.identity_client_id.as_deref());
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: client_id.map(str::to_owned).map(UserAssignedId::ClientId),
        client_options: client_options(Arc::new(client), Callee::Identity),
    };
    Ok(ManagedIdentityCredential::new(Some(options)).map_err(failed)?)
}

fn client_options(client: Arc<dyn HttpClient>, callee: Callee) -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::new(Arc::new(Observed { client, callee }))),
        ..ClientOptions::default()
    }
}

/// Where telemetry goes, if that is set. Not to be called inside an async runtime.
pub fn export(settings: &Settings) -> Option<Export> {
    Some(Export {
        connection: settings.telemetry_connection.clone()?,
        client: export_client().ok()?,
        bearer: settings.telemetry_identity().map(|_| Bearer::default()),
        instance: settings.instance().to_owned(),
        sample: settings.telemetry_sample,
    })
}

/// Keeps the token fresh with which telemetry is sent, where one is asked for. Without it rows wait, and are dropped in the
/// end; that is no reason to stop.
pub async fn prove_who_we_are(settings: &Settings) {
    let (Some(bearer), Some(client_id)) = (bearer(), settings.telemetry_identity()) else {
        return;
    };
    let identity = match identity(settings, client_id) {
        Ok(identity) => identity,
        Err(error) => return tracing::error!(%error, "telemetry can't be sent"),
    };
    loop {
        let pause = match identity.get_token(&[EXPORT_SCOPE], None).await {
            Ok(token) => {
                bearer.set(token.token.secret().to_owned());
                let left = token.expires_on - System.now();
                Duration::try_from(left).unwrap_or_default() / 2
            }
            Err(error) => {
                tracing::warn!(%error, "no token to send telemetry with");
                Duration::ZERO
            }
        };
        sleep(pause.max(TOKEN_PAUSE)).await;
    }
}

/// A client that may wait: the exporter calls it from a thread of its own.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes HTTP clients")]
fn export_client() -> reqwest::Result<reqwest::blocking::Client> {
    install_tls();
    reqwest::blocking::Client::builder()
        .connect_timeout(CONNECT_TIME)
        .timeout(EXPORT_TIME)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

fn install_tls() {
    // Another client may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client with pooled connections and the one TLS stack; it follows no redirects.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes HTTP clients")]
pub fn http_client() -> reqwest::Result<reqwest::Client> {
    install_tls();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIME)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// What an operator does about a store that refuses us; nothing for failures that pass by themselves.
pub(super) fn advice(error: &store::Error) -> Option<&'static str> {
    let store::Error::Unavailable(source) = error else {
        return None;
    };
    let error = source.downcast_ref::<azure_data_tables::Error>()?;
    match error.code()? {
        error_code::AUTHORIZATION_PERMISSION_MISMATCH | error_code::AUTHORIZATION_FAILURE => Some(
            "the identity lacks the role 'Storage Table Data Contributor' on the storage account, or a network rule keeps \
             us out. To grant the role: az role assignment create --role \"Storage Table Data Contributor\" \
             --assignee <object id of the identity> --scope $(az storage account show --name <account> --query id \
             --output tsv); it takes some minutes to take effect",
        ),
        error_code::KEY_BASED_AUTHENTICATION_NOT_PERMITTED => Some(
            "the account has shared keys switched off: set SCIMGATE_TABLES_ENDPOINT instead of a connection string, so \
             that an identity is used",
        ),
        error_code::AUTHENTICATION_FAILED => {
            Some("the account key is not this account's, or the clock of this machine is wrong by more than 15 minutes")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::account;

    #[test]
    fn who_is_signed_in_is_the_current_subscriptions_user() {
        let user = r#"{"subscriptions":[{"isDefault":false,"user":{"name":"other"}},
            {"isDefault":true,"user":{"name":"bjensen@example.com","type":"user"}}]}"#;
        for (profile, expected) in [
            (user.to_owned(), Some("bjensen@example.com")),
            (format!("\u{feff}{user}"), Some("bjensen@example.com")),
            (user.replace("bjensen@", "\\u0007"), None),
            (r#"{"subscriptions":[]}"#.to_owned(), None),
            ("{".to_owned(), None),
        ] {
            assert_eq!(account(profile.as_bytes()).as_deref(), expected, "{profile}");
        }
    }
}
