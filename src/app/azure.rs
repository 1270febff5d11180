//! The way to Azure: the one HTTP client, who we are, and what a refusal means.

use std::{sync::Arc, time::Duration};

use azure_core::{
    credentials::TokenCredential,
    http::{ClientOptions, Transport},
};
use azure_data_tables::{DEFAULT_TRY_TIMEOUT, TableClient, TableClientOptions, TableServiceClient, error_code};
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};

use super::{OpenError, connections::Connections};
use crate::{
    config::Settings,
    store::{self, Store, tables::TablesStore},
};

/// A request has the time of so many tries.
const TRIES: u32 = 5;
/// Time to connect; shorter than a try, so that a connection that never was is told from an answer that was lost.
const CONNECT_TIME: Duration = Duration::from_secs(2);

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
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(connections))),
            ..ClientOptions::default()
        },
        try_timeout,
        ..TableClientOptions::default()
    };
    let wrong = |name: &str, error: &dyn std::fmt::Display| OpenError::Setting(format!("{name}: {error}"));
    let service = match (settings.tables_connection(), &settings.tables_endpoint) {
        (Some(text), _) => TableServiceClient::from_connection_string(text, Some(options))
            .map_err(|error| wrong(settings.tables_connection_name(), &error))?,
        (None, Some(endpoint)) => TableServiceClient::new(endpoint, identity(settings)?, Some(options))
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

/// The managed identity where Azure offers one; elsewhere the operator's own sign-in (`az login`, `azd auth login`).
fn identity(settings: &Settings) -> Result<Arc<dyn TokenCredential>, OpenError> {
    let failed = |error: azure_core::Error| OpenError::Setting(format!("no identity: {error}"));
    if !settings.has_managed_identity() {
        return Ok(DeveloperToolsCredential::new(None).map_err(failed)?);
    }
    let user_assigned_id = settings.identity_client_id.clone().map(UserAssignedId::ClientId);
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id,
        client_options: client_options()?,
    };
    Ok(ManagedIdentityCredential::new(Some(options)).map_err(failed)?)
}

fn client_options() -> Result<ClientOptions, OpenError> {
    let client = http_client().map_err(|error| OpenError::Setting(format!("no HTTP client: {error}")))?;
    Ok(ClientOptions {
        transport: Some(Transport::new(Arc::new(client))),
        ..ClientOptions::default()
    })
}

/// A client with pooled connections and the one TLS stack; it follows no redirects.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes HTTP clients")]
pub fn http_client() -> reqwest::Result<reqwest::Client> {
    // Another client may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
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
