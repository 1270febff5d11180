//! The client with an identity: what it sends, and what it does when the token is refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind as CoreErrorKind,
    http::{
        AsyncRawResponse, ClientOptions, HttpClient, Request, Transport,
        headers::{AUTHORIZATION, Headers},
    },
    time::{Duration, OffsetDateTime},
};
use azure_data_tables::{
    Clock, DEFAULT_TRY_TIMEOUT, ErrorKind, Retry, TableClientOptions, TableServiceClient, error_code, heals,
};

const ENDPOINT: &str = "https://account.table.core.windows.net";
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// Gives out `token-1`, `token-2` and so on, or nothing.
#[derive(Debug)]
struct Identity {
    asked: AtomicUsize,
    exists: bool,
}

#[async_trait]
impl TokenCredential for Identity {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let n = self.asked.fetch_add(1, SeqCst) + 1;
        if !self.exists {
            let text = "no identity is assigned";
            return Err(azure_core::Error::with_message(CoreErrorKind::Credential, text));
        }
        Ok(AccessToken::new(format!("token-{n}"), NOW + Duration::hours(1)))
    }
}

/// Refuses `token-1`, as the service does after a revocation.
#[derive(Debug, Default)]
struct Service {
    authorizations: Mutex<Vec<String>>,
}

#[async_trait]
impl HttpClient for Service {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let authorization = request.headers().get_str(&AUTHORIZATION)?.to_owned();
        let refused = authorization.ends_with("token-1");
        self.authorizations.lock().unwrap().push(authorization);
        let (status, body) = if refused {
            (401, r#"{"odata.error":{"code":"InvalidAuthenticationInfo"}}"#)
        } else {
            (200, r#"{"PartitionKey":"p","RowKey":"r"}"#)
        };
        Ok(AsyncRawResponse::from_bytes(status.into(), Headers::new(), body))
    }
}

fn options(service: &Arc<Service>) -> TableClientOptions {
    let http_client: Arc<dyn HttpClient> = Arc::clone(service) as _;
    TableClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(http_client)),
            ..ClientOptions::default()
        },
        clock: Clock::new(|| NOW),
        ..TableClientOptions::default()
    }
}

fn identity(exists: bool) -> Arc<Identity> {
    Arc::new(Identity {
        asked: AtomicUsize::new(0),
        exists,
    })
}

#[tokio::test]
async fn a_refused_token_is_replaced_for_the_next_request() {
    let service = Arc::default();
    let client = TableServiceClient::new(ENDPOINT, identity(true), Some(options(&service))).unwrap();
    let table = client.table_client("users").unwrap();
    let error = table.get_entity("p", "r").await.unwrap_err();
    assert_eq!(error.code(), Some(error_code::INVALID_AUTHENTICATION_INFO));
    assert_eq!(heals(&error), Retry::Never);
    table.get_entity("p", "r").await.unwrap();
    table.get_entity("p", "r").await.unwrap();
    let sent = service.authorizations.lock().unwrap().clone();
    assert_eq!(sent, ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);
    let shown = format!("{client:?} {table:?} {error:?} {error}");
    assert!(!shown.contains("token-"), "{shown}");
}

#[tokio::test]
async fn without_an_identity_nothing_is_sent_and_the_reason_is_told() {
    let service = Arc::default();
    let client = TableServiceClient::new(ENDPOINT, identity(false), Some(options(&service))).unwrap();
    let error = client
        .table_client("users")
        .unwrap()
        .get_entity("p", "r")
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Credential, false));
    assert_eq!(error.to_string(), "no token for Table Storage: no identity is assigned");
    assert!(service.authorizations.lock().unwrap().is_empty());
}

#[test]
fn a_token_is_not_sent_in_clear() {
    for endpoint in ["http://account.table.core.windows.net", "http://127.0.0.1:10002/a"] {
        let error = TableServiceClient::new(endpoint, identity(true), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}

/// An identity endpoint that takes its time; longer than anybody waits for it.
#[derive(Debug)]
struct Slow;

#[async_trait]
impl TokenCredential for Slow {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        Ok(AccessToken::new("token-2", NOW + Duration::hours(1)))
    }
}

/// Whoever asked has been told meanwhile that nothing was done, and may have done it again.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_token_is_given_up_unsent() {
    let service = Arc::<Service>::default();
    let client = TableServiceClient::new(ENDPOINT, Arc::new(Slow), Some(options(&service))).unwrap();
    let table = client.table_client("users").unwrap();
    let began = tokio::time::Instant::now();
    let error = table.get_entity("p", "r").await.unwrap_err();
    assert_eq!(
        (error.kind(), heals(&error)),
        (ErrorKind::Credential, Retry::Safe(None))
    );
    assert_eq!(began.elapsed(), DEFAULT_TRY_TIMEOUT);
    tokio::time::advance(std::time::Duration::from_secs(20)).await;
    assert!(service.authorizations.lock().unwrap().is_empty());
    // The token came for the next one.
    table.get_entity("p", "r").await.unwrap();
    assert_eq!(*service.authorizations.lock().unwrap(), ["Bearer token-2"]);
}
