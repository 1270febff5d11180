//! The conformance suite on Azurite or a real account, and what no emulator does, on a service made of answers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient, Request, Transport, headers::Headers,
};
use azure_data_tables::{TableClientOptions, TableServiceClient};

use super::*;
use crate::store::conformance;

const EMULATOR: &str = "AccountName=devstoreaccount1;\
    AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn store(connection_string: &str, transport: Arc<dyn HttpClient>, table: &str) -> TablesStore {
    let options = TableClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(transport)),
            ..ClientOptions::default()
        },
        ..TableClientOptions::default()
    };
    let service = TableServiceClient::from_connection_string(connection_string, Some(options)).unwrap();
    TablesStore::new(service.table_client(table).unwrap())
}

/// Runs when `AZURITE_CONNECTION_STRING` is set, or `AZURITE_TABLE_ENDPOINT` for Azurite's own account. The table
/// stays; every case has partitions of its own.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "tests have no configuration but the environment")]
async fn conforms_on_azurite() {
    let connection_string = std::env::var("AZURITE_CONNECTION_STRING").ok().or_else(|| {
        let endpoint = std::env::var("AZURITE_TABLE_ENDPOINT").ok()?;
        Some(format!("{EMULATOR};TableEndpoint={endpoint}"))
    });
    let Some(connection_string) = connection_string else {
        println!("skipped: neither AZURITE_CONNECTION_STRING nor AZURITE_TABLE_ENDPOINT is set");
        return;
    };
    // Another test in this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let transport = reqwest::Client::builder().no_proxy().build().unwrap();
    let store = store(&connection_string, Arc::new(transport), "conformance");
    store.create_table().await.unwrap();
    conformance::run(&store).await;
}
