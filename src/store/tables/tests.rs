//! The conformance suite on Azurite or a real account, and what no emulator does, on a service made of answers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use azure_core::http::{AsyncRawResponse, Body, ClientOptions, HttpClient, Request, Transport, headers::Headers};
use azure_data_tables::{MAX_RESPONSE_BYTES, TableClientOptions, TableServiceClient};

use tokio::time::{Instant, timeout_at};

use super::*;
use crate::store::{
    conformance, settle,
    turns::{MAX_REQUESTS, MAX_REQUESTS_OF_QUOTA, MAX_WAITING, Quota, Share},
};

const EMULATOR: &str = "AccountName=devstoreaccount1;\
    AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Runs on Azurite, if there is one. The table stays; every case has partitions of its own.
#[tokio::test]
async fn conforms_on_azurite() {
    if let Some(store) = azurite().await {
        conformance::run(&store).await;
    }
}

/// A table for tests that keep to partitions of their own, when `AZURITE_CONNECTION_STRING` is set, or
/// `AZURITE_TABLE_ENDPOINT` for Azurite's own account.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration but the environment"
)]
pub(crate) async fn azurite() -> Option<TablesStore> {
    let connection_string = std::env::var("AZURITE_CONNECTION_STRING").ok().or_else(|| {
        let endpoint = std::env::var("AZURITE_TABLE_ENDPOINT").ok()?;
        Some(format!("{EMULATOR};TableEndpoint={endpoint}"))
    });
    let Some(connection_string) = connection_string else {
        println!("skipped: neither AZURITE_CONNECTION_STRING nor AZURITE_TABLE_ENDPOINT is set");
        return None;
    };
    // Another test in this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let transport = reqwest::Client::builder().no_proxy().build().unwrap();
    let store = open(&connection_string, Arc::new(transport), "conformance");
    store.create_table().await.unwrap();
    Some(store)
}

fn open(connection_string: &str, transport: Arc<dyn HttpClient>, table: &str) -> TablesStore {
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

/// Gives its answers in turn and keeps what it was asked.
#[derive(Debug, Default)]
struct Service {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<String>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    /// What arrives now is never answered.
    frozen: AtomicBool,
}

#[derive(Debug)]
enum Answer {
    /// A response with status, headers and body.
    Given(u16, Headers, String),
    /// None, for this reason.
    Lost(azure_core::error::ErrorKind),
}

#[async_trait]
impl HttpClient for Service {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let Body::Bytes(body) = request.body() else {
            panic!("a request with a stream")
        };
        let body = String::from_utf8_lossy(body);
        let asked = format!("{} {} {body}", request.method(), request.path_and_query());
        self.asked.lock().unwrap().push(asked);
        if self.frozen.load(SeqCst) {
            return std::future::pending().await;
        }
        let under_way = self.under_way.fetch_add(1, SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, SeqCst);
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.under_way.fetch_sub(1, SeqCst);
        let answer = self.answers.lock().unwrap().pop_front();
        match answer.unwrap_or_else(|| answer_of(404, "ResourceNotFound", "")) {
            Answer::Given(status, headers, body) => Ok(AsyncRawResponse::from_bytes(status.into(), headers, body)),
            Answer::Lost(kind) => Err(azure_core::Error::with_message(kind, "scripted")),
        }
    }
}

fn scripted(answers: impl IntoIterator<Item = Answer>) -> (Arc<Service>, TablesStore) {
    let service = Arc::new(Service {
        answers: Mutex::new(answers.into_iter().collect()),
        ..Service::default()
    });
    let transport: Arc<dyn HttpClient> = Arc::clone(&service) as _;
    let text = "AccountName=account;AccountKey=c2VjcmV0";
    (service, open(text, transport, "users"))
}

impl Service {
    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn frozen() -> (Arc<Service>, TablesStore) {
    let (service, store) = scripted([]);
    service.frozen.store(true, SeqCst);
    (service, store)
}

fn answer_of(status: u16, code: &str, words: &str) -> Answer {
    let message = format!(r#"{{"lang":"en-US","value":"{words}.\nRequestId:1"}}"#);
    let body = format!(r#"{{"odata.error":{{"code":"{code}","message":{message}}}}}"#);
    plain(status, &body)
}

fn plain(status: u16, body: &str) -> Answer {
    Answer::Given(status, Headers::new(), body.to_owned())
}

fn busy(status: u16, code: &str, seconds: &'static str) -> Answer {
    let Answer::Given(status, mut headers, body) = answer_of(status, code, "") else {
        unreachable!("an answer was asked for")
    };
    headers.insert("retry-after", seconds);
    Answer::Given(status, headers, body)
}

/// A transaction's answer with one failure.
fn inside(status: u16, code: &str, words: &str) -> Answer {
    let Answer::Given(status, headers, body) = answer_of(status, code, words) else {
        unreachable!("an answer was asked for")
    };
    let part = format!("HTTP/1.1 {status} Word\r\nContent-Type: application/json\r\n\r\n{body}");
    let body = format!("--b\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\n{part}\r\n--c--\r\n--b--\r\n");
    Answer::Given(202, headers, body)
}

fn row(key: &str) -> Write {
    Write {
        key: key.to_owned(),
        stamp: b"stamp".to_vec(),
        body: b"body".to_vec(),
    }
}

/// One change of each sort on row `x`.
fn each() -> [Change; 8] {
    let etag = || ETag("W/\"1\"".to_owned());
    let key = || "x".to_owned();
    [
        Change::Insert(row("x")),
        Change::Replace(row("x"), etag()),
        Change::Stamp(key(), Vec::new(), None),
        Change::Stamp(key(), Vec::new(), Some(etag())),
        Change::Touch(key()),
        Change::Upsert(row("x")),
        Change::Delete(key(), None),
        Change::Delete(key(), Some(etag())),
    ]
}

/// The error in few words.
fn spelled(error: &Error) -> String {
    match error {
        Error::Exists(key) => format!("{key} exists"),
        Error::Changed(key) => format!("{key} changed"),
        Error::Missing(key) => format!("{key} missing"),
        Error::TooLarge(_) => "too large".to_owned(),
        Error::Busy(after) => format!("busy {after:?}"),
        Error::Unknown(_) => "unknown".to_owned(),
        Error::Unavailable(_) => "unavailable".to_owned(),
    }
}

/// Each sort of change alone, and as the second of three in a transaction.
async fn check_changes(status: u16, code: &str, expected: [&str; 8]) {
    for (change, expected) in each().into_iter().zip(expected) {
        let (_, store) = scripted([answer_of(status, code, "Words"), inside(status, code, "1:Words")]);
        let alone = store.commit("p", std::slice::from_ref(&change)).await.unwrap_err();
        assert_eq!(spelled(&alone), expected, "{code} for {change:?}");
        let three = [Change::Upsert(row("a")), change, Change::Touch("z".to_owned())];
        let joined = store.commit("p", &three).await.unwrap_err();
        assert_eq!(spelled(&joined), expected, "{code} for the second of {three:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_by_the_change_it_met() {
    const BUSY: &str = "busy None";
    const MISSING: &str = "x missing";
    const CHANGED: &str = "x changed";
    let exists = ["x exists", BUSY, BUSY, BUSY, BUSY, BUSY, BUSY, BUSY];
    check_changes(409, "EntityAlreadyExists", exists).await;
    let changed = [BUSY, CHANGED, BUSY, CHANGED, BUSY, BUSY, BUSY, CHANGED];
    check_changes(412, "UpdateConditionNotSatisfied", changed).await;
    check_changes(412, "ConditionNotMet", changed).await;
    let missing = [
        "unavailable",
        CHANGED,
        MISSING,
        MISSING,
        MISSING,
        "unavailable",
        MISSING,
        MISSING,
    ];
    check_changes(404, "ResourceNotFound", missing).await;
}

#[tokio::test]
async fn a_conflict_that_names_no_change_is_a_matter_of_trying_again() {
    let changes = [
        Change::Insert(row("a")),
        Change::Replace(row("b"), ETag("W/\"1\"".to_owned())),
    ];
    for (status, code) in [(409, "EntityAlreadyExists"), (412, "UpdateConditionNotSatisfied")] {
        let (_, store) = scripted([inside(status, code, "Words")]);
        assert_eq!(spelled(&store.commit("p", &changes).await.unwrap_err()), "busy None");
    }
}

/// What a commit, a read and a scan make of an answer, or of none.
async fn check(given: impl Fn() -> Answer, commit: &str, read: &str) {
    let (service, store) = scripted([given(), given(), given()]);
    let error = store.commit("p", &[Change::Touch("x".to_owned())]).await.unwrap_err();
    assert_eq!(spelled(&error), commit, "commit: {error:?}");
    let error = store.get("p", &["x"]).await.unwrap_err();
    assert_eq!(spelled(&error), read, "get: {error:?}");
    let error = store.scan("p", "a", "b", 9).await.unwrap_err();
    assert_eq!(spelled(&error), read, "scan: {error:?}");
    assert_eq!(service.asked.lock().unwrap().len(), 3, "something was tried again");
}

#[tokio::test]
async fn a_lost_answer_is_unknown_for_a_commit_only() {
    use azure_core::error::ErrorKind as Core;
    check(|| Answer::Lost(Core::Io), "unknown", "unavailable").await;
    check(|| answer_of(500, "InternalError", ""), "unknown", "unavailable").await;
    check(|| answer_of(500, "OperationTimedOut", ""), "unknown", "unavailable").await;
    check(|| plain(504, ""), "unknown", "unavailable").await;
    check(|| plain(503, "upstream reset"), "unknown", "busy None").await;
    check(|| Answer::Lost(Core::Connection), "unavailable", "unavailable").await;
}

#[tokio::test]
async fn a_busy_service_says_when_to_come_back() {
    check(|| busy(503, "ServerBusy", "7"), "busy Some(7s)", "busy Some(7s)").await;
    check(|| busy(429, "TooManyRequests", "2"), "busy Some(2s)", "busy Some(2s)").await;
    check(|| answer_of(409, "TableBeingDeleted", ""), "busy None", "busy None").await;
}

#[tokio::test]
async fn a_missing_role_can_be_told_from_the_source() {
    check(
        || answer_of(403, "AuthorizationPermissionMismatch", ""),
        "unavailable",
        "unavailable",
    )
    .await;
    let (_, store) = scripted([answer_of(403, "AuthorizationPermissionMismatch", "")]);
    let Err(Error::Unavailable(source)) = store.create_table().await else {
        panic!("not refused")
    };
    let code = source
        .downcast_ref::<azure_data_tables::Error>()
        .and_then(|error| error.code());
    assert_eq!(code, Some(error_code::AUTHORIZATION_PERMISSION_MISMATCH));
}

#[tokio::test]
async fn an_unknown_answer_without_a_row_is_not_a_missing_row() {
    for body in ["", "<html>404</html>", r#"{"odata.error":{"code":"TableNotReady"}}"#] {
        let (_, store) = scripted([plain(404, body)]);
        let error = store.get("p", &["x"]).await.unwrap_err();
        assert_eq!(spelled(&error), "unavailable", "{body}");
    }
}

#[tokio::test]
async fn a_table_that_was_deleted_is_made_again_once() {
    let gone = || answer_of(404, "TableNotFound", "0:Words");
    for (made, expected) in [
        (plain(204, ""), "busy None"),
        (answer_of(409, "TableAlreadyExists", ""), "busy None"),
        (answer_of(409, "TableBeingDeleted", ""), "busy None"),
        (answer_of(404, "TableNotFound", ""), "unavailable"),
        (answer_of(403, "AuthorizationFailure", ""), "unavailable"),
    ] {
        let (service, store) = scripted([gone(), made]);
        let error = store.get("p", &["x"]).await.unwrap_err();
        assert_eq!(spelled(&error), expected);
        let asked = service.asked.lock().unwrap();
        assert_eq!(asked[1..], [r#"POST /Tables {"TableName":"users"}"#]);
    }
    let (service, store) = scripted([inside(404, "TableNotFound", "0:Words"), plain(204, "")]);
    let changes = [Change::Insert(row("a")), Change::Insert(row("b"))];
    assert_eq!(spelled(&store.commit("p", &changes).await.unwrap_err()), "busy None");
    assert_eq!(service.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_row_that_is_not_of_this_store_is_refused() {
    let part = |bytes: usize| {
        let encoded = azure_core::base64::encode(vec![0; bytes]);
        move |name: &str| format!(r#","{name}@odata.type":"Edm.Binary","{name}":"{encoded}""#)
    };
    let full = part(MAX_PROPERTY_BYTES);
    let body: String = (0..=8).map(|n| full(&format!("b{n}"))).collect();
    for properties in [
        String::new(),
        r#","stamp":"text""#.to_owned(),
        part(MAX_STAMP_BYTES + 1)("stamp"),
        part(1)("stamp") + r#","b0":7"#,
        part(1)("stamp") + &body,
    ] {
        let body = format!(r#"{{"odata.etag":"W/\"1\"","PartitionKey":"p","RowKey":"x"{properties}}}"#);
        let (_, store) = scripted([plain(200, &body)]);
        assert_eq!(spelled(&store.get("p", &["x"]).await.unwrap_err()), "unavailable");
    }
}

#[tokio::test]
async fn changes_are_spelled_as_the_fewest_properties() {
    let (service, store) = scripted([]);
    let long = Write {
        body: vec![0; MAX_PROPERTY_BYTES + 3],
        ..row("x")
    };
    for change in each().into_iter().chain([Change::Insert(long)]) {
        assert!(store.commit("p", &[change]).await.is_err());
    }
    let keys = r#""PartitionKey":"p","RowKey":"x""#;
    let stamp = r#""stamp@odata.type":"Edm.Binary","stamp":"c3RhbXA=""#;
    let whole = format!(r#"{{{keys},"b0@odata.type":"Edm.Binary","b0":"Ym9keQ==",{stamp}}}"#);
    let bare = format!(r#"{{{keys},"stamp@odata.type":"Edm.Binary","stamp":""}}"#);
    let row = "/users(PartitionKey='p',RowKey='x')";
    let asked = service.asked.lock().unwrap();
    assert_eq!(
        asked[..8],
        [
            format!("POST /users {whole}"),
            format!("PUT {row} {whole}"),
            format!("PATCH {row} {bare}"),
            format!("PATCH {row} {bare}"),
            format!("PATCH {row} {{{keys}}}"),
            format!("PUT {row} {whole}"),
            format!("DELETE {row} "),
            format!("DELETE {row} "),
        ]
    );
    assert!(
        asked[8].contains(r#","b1@odata.type":"Edm.Binary","b1":"AAAA",""#),
        "{}",
        &asked[8][..200]
    );
    assert!(!asked[8].contains("b2"));
}

#[tokio::test]
async fn one_key_is_one_request_and_a_scan_is_a_range() {
    let (service, store) = scripted([answer_of(404, "ResourceNotFound", ""), plain(200, r#"{"value":[]}"#)]);
    assert_eq!(store.get("p", &["x"]).await.unwrap(), [None]);
    assert_eq!(store.scan("p", "a", "b", 5000).await.unwrap(), Page::default());
    let filter = "PartitionKey%20eq%20%27p%27%20and%20RowKey%20ge%20%27a%27%20and%20RowKey%20lt%20%27b%27";
    let expected = [
        "GET /users(PartitionKey='p',RowKey='x') ".to_owned(),
        format!("GET /users()?$filter={filter}&$top=1000 "),
    ];
    assert_eq!(*service.asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_page_larger_than_the_client_reads_is_asked_for_in_halves() {
    let too_large = || plain(200, &" ".repeat(MAX_RESPONSE_BYTES + 1));
    let page = |keys: &[&str], more: bool| {
        let rows: Vec<String> = keys
            .iter()
            .map(|key| {
                format!(
                    r#"{{"odata.etag":"W/\"1\"","PartitionKey":"p","RowKey":"{key}","stamp@odata.type":"Edm.Binary","stamp":""}}"#
                )
            })
            .collect();
        let mut headers = Headers::new();
        if more {
            headers.insert("x-ms-continuation-nextpartitionkey", "next");
        }
        Answer::Given(200, headers, format!(r#"{{"value":[{}]}}"#, rows.join(",")))
    };
    let (service, store) = scripted([
        too_large(),
        too_large(),
        page(&["a", "b"], true),
        page(&[], true),
        page(&["c"], true),
        page(&["d"], false),
    ]);
    let found = store.scan("p", "a", "z", 8).await.unwrap();
    let keys: Vec<_> = found.rows.iter().map(|row| &*row.key).collect();
    assert_eq!((keys, found.more), (vec!["a", "b", "c", "d"], false));
    let asked = std::mem::take(&mut *service.asked.lock().unwrap());
    let tops: Vec<_> = asked
        .iter()
        .map(|asked| asked.split("$top=").nth(1).unwrap().trim())
        .collect();
    assert_eq!(
        tops,
        [
            "8",
            "4",
            "2",
            "2&NextPartitionKey=next",
            "2&NextPartitionKey=next",
            "2&NextPartitionKey=next"
        ]
    );

    let (_, store) = scripted([too_large(), too_large()]);
    assert_eq!(spelled(&store.scan("p", "a", "z", 2).await.unwrap_err()), "unavailable");
}

#[tokio::test]
async fn one_call_has_8_requests_under_way_and_all_calls_32() {
    let names: Vec<String> = (0..200).map(|n| format!("row-{n}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let (service, store) = scripted([]);
    store.get("p", &names).await.unwrap();
    assert_eq!(service.most_under_way.load(SeqCst), 8);
    futures::future::join_all((0..10).map(|_| store.get("p", &names))).await;
    assert_eq!(service.most_under_way.load(SeqCst), 32);
    // A caller that goes away while it waits or is served gives its places back.
    for _ in 0..40 {
        let abandoned = tokio::time::timeout(Duration::ZERO, store.get("p", &names));
        assert!(abandoned.await.is_err());
    }
    service.under_way.store(0, SeqCst);
    service.most_under_way.store(0, SeqCst);
    futures::future::join_all((0..10).map(|_| store.get("p", &names))).await;
    assert_eq!(service.most_under_way.load(SeqCst), 32);
}

/// Reads of 200 rows each, this many at once through each of so many shares; the most requests that were under way.
async fn most_under_way(shares: usize, calls: usize) -> usize {
    let names: Vec<String> = (0..200).map(|n| format!("row-{n}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let (service, store) = scripted([]);
    let store: Arc<dyn Store> = Arc::new(store);
    let shares: Vec<_> = (0..shares).map(|_| Share::of(&store, &Quota::default())).collect();
    let reads = shares
        .iter()
        .flat_map(|share| (0..calls).map(|_| share.get("p", &names)));
    let answers = futures::future::join_all(reads).await;
    assert!(answers.iter().all(Result::is_ok));
    service.most_under_way.load(SeqCst)
}

#[tokio::test]
async fn who_has_a_share_has_8_requests_under_way_whatever_they_ask_for_at_once() {
    assert_eq!(most_under_way(1, 8).await, 8);
    assert_eq!(most_under_way(3, 8).await, 24);
    assert_eq!(most_under_way(10, 2).await, 32);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_wants_all_the_turns_leaves_others_theirs() {
    let names: Vec<String> = (0..100).map(|n| format!("row-{n}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let (service, store) = frozen();
    let store: Arc<dyn Store> = Arc::new(store);
    let greedy = Quota::default();
    let shares: Vec<_> = (0..200).map(|_| Share::of(&store, &greedy)).collect();
    let mut reads = futures::future::join_all(shares.iter().map(|share| share.get("p", &names)));
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut reads).await.is_err());
    assert_eq!(service.asked(), MAX_REQUESTS_OF_QUOTA);

    service.frozen.store(false, SeqCst);
    let (now, other) = (Instant::now(), Share::of(&store, &Quota::default()));
    assert_eq!(other.get("q", &["x"]).await.unwrap(), [None]);
    assert_eq!(now.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_by_the_deadline_is_never_sent() {
    let (service, store) = frozen();
    let deadline = Instant::now() + Duration::from_secs(5);
    let commits: Vec<_> = (0..300).map(|n| [Change::Insert(row(&format!("event-{n}")))]).collect();
    let settled = commits
        .iter()
        .map(|commit| settle::settle(&store, "p", commit, deadline));
    let mut all = futures::future::join_all(settled);
    assert!(timeout_at(deadline, &mut all).await.is_err());
    // A try takes 3 s, so each connection was used twice.
    let sent = 2 * MAX_REQUESTS;
    assert_eq!(service.asked(), sent);
    // Whoever has a connection now has no answer yet; whoever hasn't must not use the one that comes free.
    service.frozen.store(false, SeqCst);
    let answers: Vec<_> = all
        .await
        .into_iter()
        .map(|answer| spelled(&answer.unwrap_err()))
        .collect();
    assert_eq!(deadline.elapsed().as_secs(), 1);
    assert_eq!(service.asked(), sent);
    let told = |expected: &str| answers.iter().filter(|answer| **answer == expected).count();
    assert_eq!((told("unknown"), told("busy None")), (sent, commits.len() - sent));

    service.answers.lock().unwrap().push_back(plain(204, ""));
    let now = Instant::now();
    settle::settle(&store, "p", &commits[0], now + Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(now.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_connection_waits_for_2_s_and_not_behind_too_many() {
    let (service, store) = frozen();
    let touch = [Change::Touch("x".to_owned())];
    let start = Instant::now();
    let calls = (0..=MAX_REQUESTS + MAX_WAITING).map(|_| async {
        let error = store.commit("p", &touch).await.unwrap_err();
        (spelled(&error), start.elapsed().as_secs())
    });
    let answers = futures::future::join_all(calls).await;
    assert_eq!(service.asked(), MAX_REQUESTS);
    let (sent, unsent) = answers.split_at(MAX_REQUESTS);
    let (waited, refused) = unsent.split_at(MAX_WAITING);
    assert!(sent.iter().all(|told| *told == ("unknown".to_owned(), 3)));
    assert!(waited.iter().all(|told| *told == ("busy None".to_owned(), 2)));
    assert_eq!(refused, [("busy Some(200ms)".to_owned(), 0)]);
    let many = u64::try_from(MAX_WAITING).unwrap();
    let waits = Waits {
        count: many,
        in_vain: many,
        total: Duration::from_secs(2 * many),
        longest: Duration::from_secs(2),
    };
    assert_eq!((store.take_waits(), store.take_waits()), (waits, Waits::default()));
    // Reads that are cut off while they wait have waited too.
    let reads = futures::future::join_all((0..=MAX_REQUESTS).map(|_| store.get("p", &["x"])));
    assert!(tokio::time::timeout(Duration::from_secs(1), reads).await.is_err());
    let waits = Waits {
        count: 1,
        in_vain: 1,
        total: Duration::from_secs(1),
        longest: Duration::from_secs(1),
    };
    assert_eq!(store.take_waits(), waits);
    // Reads wait no longer; and all of them have given their places back.
    let reads = (0..MAX_REQUESTS + MAX_WAITING).map(|_| async { spelled(&store.get("p", &["x"]).await.unwrap_err()) });
    let answers = futures::future::join_all(reads).await;
    assert_eq!(answers[MAX_REQUESTS..], vec!["busy None"; MAX_WAITING]);

    service.frozen.store(false, SeqCst);
    let now = Instant::now();
    assert_eq!(store.get("p", &["x"]).await.unwrap(), [None]);
    assert_eq!(now.elapsed(), Duration::ZERO);
}
