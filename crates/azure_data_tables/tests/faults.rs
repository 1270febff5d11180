//! The client against a server that misbehaves in every way a network can.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use azure_core::http::{ClientOptions, Transport};
use azure_data_tables::{
    Comparison, Entity, ErrorKind, Filter, IfMatch, QueryEntitiesOptions, Retry, TableClient, TableClientOptions,
    TableServiceClient, TransactionAction, UpdateMode, heals,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// How the server answers one request.
enum Reply {
    /// These bytes, then the next request on the same connection.
    Bytes(String),
    /// These bytes, then silence with the connection open.
    Stall(String),
    /// These bytes, then the end of the stream.
    Close(String),
    /// A TCP reset.
    Reset,
}

struct Seen {
    head: String,
    body: String,
}

struct Server {
    port: u16,
    script: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

impl Server {
    /// Answers the first request with the first reply and so on.
    async fn start(script: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            port: listener.local_addr().unwrap().port(),
            script: Mutex::new(script.into_iter().collect()),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, SeqCst);
                tokio::spawn(Arc::clone(&accepting).serve(stream));
            }
        });
        server
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(seen) = read_request(&mut stream).await {
            self.seen.lock().unwrap().push(seen);
            let reply = self.script.lock().unwrap().pop_front().expect("one request too many");
            match reply {
                Reply::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
                Reply::Stall(bytes) => {
                    stream.write_all(bytes.as_bytes()).await.unwrap();
                    std::future::pending::<()>().await;
                }
                Reply::Close(bytes) => return stream.write_all(bytes.as_bytes()).await.unwrap(),
                Reply::Reset => return stream.get_ref().set_zero_linger().unwrap(),
            }
        }
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn client(&self, try_timeout: Duration) -> TableClient {
        let text = format!(
            "AccountName=account;AccountKey=c2VjcmV0;TableEndpoint=http://127.0.0.1:{}/account/",
            self.port
        );
        table(&text, try_timeout)
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).unwrap();
    Some(Seen { head, body })
}

fn table(connection_string: &str, try_timeout: Duration) -> TableClient {
    let options = TableClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(http_client()))),
            ..ClientOptions::default()
        },
        try_timeout,
        ..TableClientOptions::default()
    };
    let service = TableServiceClient::from_connection_string(connection_string, Some(options)).unwrap();
    service.table_client("users").unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this test where HTTP clients are made"
)]
fn http_client() -> reqwest::Client {
    // A second test in this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn ok(status: &str, headers: &str, body: &str) -> Reply {
    Reply::Bytes(response(status, headers, body))
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn odata(code: &str) -> String {
    format!(r#"{{"odata.error":{{"code":"{code}","message":{{"lang":"en-US","value":"Words.\nRequestId:1"}}}}}}"#)
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(250);

/// Sends an insert and expects this failure after one request.
async fn check(reply: Reply, kind: ErrorKind, retry: Retry) {
    let try_timeout = if matches!(reply, Reply::Stall(_)) { SHORT } else { LONG };
    let server = Server::start([reply]).await;
    let client = server.client(try_timeout);
    let error = client.insert_entity(Entity::new("p", "r")).await.unwrap_err();
    assert_eq!((error.kind(), heals(&error)), (kind, retry), "{error:?}");
    assert_eq!(error.is_ambiguous(), matches!(retry, Retry::Ambiguous(_)));
    assert_eq!(server.requests(), 1, "retried behind the caller's back");
}

#[tokio::test]
async fn a_stall_before_the_head_ends_with_the_try() {
    check(Reply::Stall(String::new()), ErrorKind::Timeout, Retry::Ambiguous(None)).await;
}

#[tokio::test]
async fn a_stall_inside_the_head_ends_with_the_try() {
    let half = "HTTP/1.1 204 No Content\r\nETag: ".to_owned();
    check(Reply::Stall(half), ErrorKind::Timeout, Retry::Ambiguous(None)).await;
}

#[tokio::test]
async fn a_stall_inside_the_body_ends_with_the_try() {
    let half = "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"half\":".to_owned();
    check(Reply::Stall(half), ErrorKind::Timeout, Retry::Ambiguous(None)).await;
}

#[tokio::test]
async fn a_reset_is_ambiguous() {
    check(Reply::Reset, ErrorKind::Io, Retry::Ambiguous(None)).await;
}

#[tokio::test]
async fn a_close_without_answer_is_ambiguous() {
    check(Reply::Close(String::new()), ErrorKind::Io, Retry::Ambiguous(None)).await;
}

#[tokio::test]
async fn half_an_answer_is_ambiguous() {
    let framed = "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"half\":".to_owned();
    check(Reply::Close(framed), ErrorKind::Io, Retry::Ambiguous(None)).await;
    let chunked = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ha\r\n".to_owned();
    check(Reply::Close(chunked), ErrorKind::Io, Retry::Ambiguous(None)).await;
    let head = "HTTP/1.1 204 No".to_owned();
    check(Reply::Close(head), ErrorKind::Io, Retry::Ambiguous(None)).await;
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_ambiguous() {
    check(
        Reply::Close("hello\r\n\r\n".to_owned()),
        ErrorKind::Io,
        Retry::Ambiguous(None),
    )
    .await;
}

#[tokio::test]
async fn a_busy_service_is_asked_once_and_its_wish_is_told() {
    let busy = ok("503 Service Unavailable", "Retry-After: 7\r\n", &odata("ServerBusy"));
    check(busy, ErrorKind::Service, Retry::Safe(Some(Duration::from_secs(7)))).await;
    let busy = ok("429 Too Many Requests", "Retry-After: 2\r\n", "");
    check(busy, ErrorKind::Service, Retry::Safe(Some(Duration::from_secs(2)))).await;
}

#[tokio::test]
async fn an_error_of_something_in_between_is_ambiguous() {
    let text = "upstream connect error or disconnect/reset before headers";
    let between = ok("503 Service Unavailable", "", text);
    check(between, ErrorKind::Service, Retry::Ambiguous(None)).await;
    let broken = ok("500 Internal Server Error", "", &odata("InternalError"));
    check(broken, ErrorKind::Service, Retry::Ambiguous(None)).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let moved = ok("307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n", "");
    let server = Server::start([moved]).await;
    let options = ClientOptions {
        transport: Some(Transport::new(Arc::new(strict_client()))),
        ..ClientOptions::default()
    };
    let options = TableClientOptions {
        client_options: options,
        ..TableClientOptions::default()
    };
    let text = format!(
        "AccountName=a;AccountKey=c2VjcmV0;TableEndpoint=http://127.0.0.1:{}",
        server.port
    );
    let service = TableServiceClient::from_connection_string(&text, Some(options)).unwrap();
    let error = service
        .table_client("users")
        .unwrap()
        .get_entity("p", "r")
        .await
        .unwrap_err();
    assert_eq!((error.status(), heals(&error)), (Some(307), Retry::Never));
}

#[expect(clippy::disallowed_methods, reason = "as the application makes its client")]
fn strict_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(redirects)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_refused_connection_was_certainly_not_applied() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = format!("AccountName=account;AccountKey=c2VjcmV0;TableEndpoint=http://127.0.0.1:{port}/");
    let error = table(&text, LONG)
        .insert_entity(Entity::new("p", "r"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), heals(&error)),
        (ErrorKind::Connect, Retry::Safe(None)),
        "{error:?}"
    );
    assert!(
        error.to_string().starts_with("no connection to Table Storage: "),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_without_any_header_of_the_service_is_a_success() {
    let bare = |status: &str| Reply::Bytes(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
    let server = Server::start([
        bare("204 No Content"),
        bare("204 No Content"),
        bare("204 No Content"),
        bare("201 Created"),
        ok("200 OK", "", r#"{"PartitionKey":"p","RowKey":"r","x":1}"#),
        ok("200 OK", "ETag: W/\"1\"\r\n", r#"{"PartitionKey":"p","RowKey":"r"}"#),
        ok("200 OK", "", r#"{"value":[]}"#),
    ])
    .await;
    let client = server.client(LONG);
    let entity = Entity::new("p", "r");
    assert_eq!(client.insert_entity(entity.clone()).await.unwrap(), None);
    let updated = client
        .update_entity(entity.clone(), UpdateMode::Replace, IfMatch::Any)
        .await;
    assert_eq!(updated.unwrap(), None);
    client.delete_entity("p", "r", IfMatch::Any).await.unwrap();
    client.create_table().await.unwrap();
    assert_eq!(client.get_entity("p", "r").await.unwrap(), entity.with("x", 1_i32));
    // Where metadata is missing in the body, the header tells the etag.
    assert_eq!(client.get_entity("p", "r").await.unwrap().etag, Some("W/\"1\"".into()));
    let page = client.query_page(&QueryEntitiesOptions::default()).await.unwrap();
    assert_eq!((page.entities, page.continuation), (Vec::new(), None));
}

#[tokio::test]
async fn a_success_that_can_not_be_read_is_no_success() {
    for body in ["", "[]", "{\"value\":7}", "{\"value\":[7]}", "<html>"] {
        let server = Server::start([ok("200 OK", "", body), ok("200 OK", "", body)]).await;
        let client = server.client(LONG);
        let error = client.query_page(&QueryEntitiesOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Response, "{body}");
        if !body.starts_with('{') {
            let error = client.get_entity("p", "r").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Response, "{body}");
        }
    }
}

#[tokio::test]
async fn an_answer_beyond_all_measure_is_not_read_to_its_end() {
    let endless = "x".repeat(azure_data_tables::MAX_RESPONSE_BYTES + 1);
    let server = Server::start([ok("200 OK", "", &endless)]).await;
    let error = server.client(LONG).get_entity("p", "r").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseTooLarge);
}

#[tokio::test]
async fn fifty_reads_are_one_connection() {
    let found = || ok("200 OK", "", r#"{"PartitionKey":"p","RowKey":"r"}"#);
    let missing = || ok("404 Not Found", "", &odata("ResourceNotFound"));
    let replies = (0..50).map(|i| if i % 2 == 0 { found() } else { missing() });
    let server = Server::start(replies).await;
    let client = server.client(LONG);
    for i in 0..50 {
        assert_eq!(client.get_entity("p", "r").await.is_ok(), i % 2 == 0);
    }
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_write_lost_on_a_used_connection_is_not_sent_again() {
    let found = ok("200 OK", "", r#"{"PartitionKey":"p","RowKey":"r"}"#);
    let server = Server::start([found, Reply::Close(String::new())]).await;
    let client = server.client(LONG);
    client.get_entity("p", "r").await.unwrap();
    let error = client.insert_entity(Entity::new("p", "r")).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error:?}");
    assert_eq!((server.requests(), server.connections.load(SeqCst)), (2, 1));
}

#[tokio::test]
async fn a_request_has_the_documented_form() {
    let server = Server::start([ok("204 No Content", "ETag: W/\"1\"\r\n", ""), ok("200 OK", "", "{}")]).await;
    let client = server.client(LONG);
    let etag = client
        .insert_entity(Entity::new("p", "o'brien").with("n", 1_i64))
        .await
        .unwrap();
    assert_eq!(etag, Some("W/\"1\"".into()));
    client.get_entity("a b", "o'brien%+ü").await.unwrap();

    let seen = server.seen.lock().unwrap();
    assert!(
        seen[0].head.starts_with("POST /account/users HTTP/1.1\r\n"),
        "{}",
        seen[0].head
    );
    assert_eq!(
        seen[0].body,
        r#"{"PartitionKey":"p","RowKey":"o'brien","n@odata.type":"Edm.Int64","n":"1"}"#
    );
    for line in [
        "accept: application/json;odata=minimalmetadata\r\n",
        "authorization: SharedKeyLite account:",
        "content-type: application/json\r\n",
        "dataserviceversion: 3.0\r\n",
        "prefer: return-no-content\r\n",
        "x-ms-date: ",
        "x-ms-version: 2020-12-06\r\n",
    ] {
        assert!(seen[0].head.contains(line), "{line} is missing in {}", seen[0].head);
    }
    let path = "GET /account/users(PartitionKey='a%20b',RowKey='o%27%27brien%25%2B%C3%BC') HTTP/1.1\r\n";
    assert!(seen[1].head.starts_with(path), "{}", seen[1].head);
}

#[tokio::test]
async fn a_query_goes_on_over_empty_pages() {
    let more = "x-ms-continuation-NextPartitionKey: 1!4!cA--\r\nx-ms-continuation-NextRowKey: 1!8!a+b/=\r\n";
    let server = Server::start([
        ok("200 OK", more, r#"{"value":[]}"#),
        ok(
            "200 OK",
            "x-ms-continuation-NextPartitionKey: 1!4!cQ--\r\n",
            r#"{"value":[{"odata.etag":"W/\"1\"","PartitionKey":"p","RowKey":"a"}]}"#,
        ),
        ok("500 Internal Server Error", "", ""),
        ok("200 OK", "", r#"{"value":[{"PartitionKey":"p","RowKey":"b"}]}"#),
    ])
    .await;
    let mut pager = server.client(LONG).query_entities(QueryEntitiesOptions {
        filter: Some(Filter::new("RowKey", Comparison::Ge, "o'b&c")),
        select: vec!["RowKey".to_owned(), "x".to_owned()],
        top: Some(1000),
        continuation: None,
    });
    assert_eq!(pager.next_page().await.unwrap().unwrap().entities, []);
    let page = pager.next_page().await.unwrap().unwrap();
    assert_eq!(page.entities[0].etag, Some("W/\"1\"".into()));
    assert!(pager.next_page().await.unwrap_err().is_ambiguous());
    assert_eq!(pager.next_page().await.unwrap().unwrap().entities[0].row_key, "b");
    assert_eq!(pager.next_page().await.unwrap(), None);

    let seen = server.seen.lock().unwrap();
    let first = "/account/users()?$filter=RowKey%20ge%20%27o%27%27b%26c%27&$select=RowKey%2Cx&$top=1000";
    assert!(
        seen[0].head.starts_with(&format!("GET {first} HTTP/1.1\r\n")),
        "{}",
        seen[0].head
    );
    let second = format!("GET {first}&NextPartitionKey=1%214%21cA--&NextRowKey=1%218%21a%2Bb%2F%3D HTTP/1.1\r\n");
    assert!(seen[1].head.starts_with(&second), "{}", seen[1].head);
    let third = format!("GET {first}&NextPartitionKey=1%214%21cQ-- HTTP/1.1\r\n");
    assert!(seen[2].head.starts_with(&third) && seen[3].head.starts_with(&third));
}

#[tokio::test]
async fn a_page_has_1_to_1000_entities() {
    let server = Server::start([]).await;
    for top in [0, 1001] {
        let options = QueryEntitiesOptions {
            top: Some(top),
            ..QueryEntitiesOptions::default()
        };
        let error = server.client(LONG).query_page(&options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}

fn batch(parts: &[&str]) -> Reply {
    let part = |part: &&str| format!("--c_1\r\nContent-Type: application/http\r\n\r\n{part}\r\n");
    let parts: String = parts.iter().map(part).collect();
    let body = format!("--b_1\r\nContent-Type: multipart/mixed; boundary=c_1\r\n\r\n{parts}--c_1--\r\n--b_1--\r\n");
    ok("202 Accepted", "Content-Type: multipart/mixed; boundary=b_1\r\n", &body)
}

#[tokio::test]
async fn a_failed_transaction_in_an_accepted_answer_is_an_error_that_names_the_action() {
    let actions: Vec<_> = (0..3)
        .map(|i| TransactionAction::Upsert(Entity::new("p", i.to_string()), UpdateMode::Merge))
        .collect();
    for (status, code) in [
        (409, "EntityAlreadyExists"),
        (412, "UpdateConditionNotSatisfied"),
        (404, "ResourceNotFound"),
    ] {
        for index in [0, 2] {
            let json = odata(code).replace("Words", &format!("{index}:Words"));
            let part = format!("HTTP/1.1 {status} Word\r\nContent-Type: application/json\r\n\r\n{json}");
            let server = Server::start([batch(&[&part])]).await;
            let error = server.client(LONG).submit_transaction(&actions).await.unwrap_err();
            assert_eq!(
                (error.status(), error.code(), error.failed_index()),
                (Some(status), Some(code), Some(index))
            );
            assert_eq!(heals(&error), Retry::Never);
        }
    }

    let done = "HTTP/1.1 204 No Content\r\nETag: W/\"1\"\r\n\r\n";
    let server = Server::start([batch(&[done, done, done]), batch(&[done, done])]).await;
    let client = server.client(LONG);
    assert_eq!(
        client.submit_transaction(&actions).await.unwrap(),
        vec![Some("W/\"1\"".into()); 3]
    );
    assert!(client.submit_transaction(&actions).await.unwrap_err().is_ambiguous());
    let seen = server.seen.lock().unwrap();
    assert!(
        seen[0].head.starts_with("POST /account/$batch HTTP/1.1\r\n"),
        "{}",
        seen[0].head
    );
    assert!(
        seen[0].head.contains("content-type: multipart/mixed; boundary=batch_"),
        "{}",
        seen[0].head
    );
    let inner = format!(
        "PATCH http://127.0.0.1:{}/account/users(PartitionKey='p',RowKey='0')",
        server.port
    );
    assert!(seen[0].body.contains(&inner), "{}", seen[0].body);
}

#[tokio::test]
async fn a_table_that_exists_is_fine_and_one_that_goes_away_is_not() {
    let server = Server::start([
        ok("409 Conflict", "", &odata("TableAlreadyExists")),
        ok("409 Conflict", "", &odata("TableBeingDeleted")),
        ok("403 Forbidden", "", &odata("AuthorizationPermissionMismatch")),
    ])
    .await;
    let client = server.client(LONG);
    client.create_table().await.unwrap();
    let error = client.create_table().await.unwrap_err();
    assert_eq!(
        (error.code(), heals(&error)),
        (Some("TableBeingDeleted"), Retry::Safe(None))
    );
    let error = client.create_table().await.unwrap_err();
    assert_eq!(
        (error.status(), error.code()),
        (Some(403), Some("AuthorizationPermissionMismatch"))
    );
    assert_eq!(server.seen.lock().unwrap()[0].body, r#"{"TableName":"users"}"#);
}

#[tokio::test]
async fn a_shared_access_signature_is_sent_and_never_shown() {
    let server = Server::start([
        ok("200 OK", "", r#"{"value":[]}"#),
        ok("200 OK", "", r#"{"PartitionKey":"p","RowKey":"r"}"#),
        Reply::Reset,
    ])
    .await;
    let text = format!(
        "TableEndpoint=http://127.0.0.1:{}/;SharedAccessSignature=?sv=2020-08-04&sig=s3cret%2B%3D",
        server.port
    );
    let client = table(&text, LONG);
    let options = QueryEntitiesOptions {
        top: Some(1),
        ..QueryEntitiesOptions::default()
    };
    client.query_page(&options).await.unwrap();
    client.get_entity("p", "r").await.unwrap();
    let error = client.get_entity("p", "r").await.unwrap_err();
    let shown = format!("{error} {error:?} {client:?} {:?}", client.query_entities(options));
    assert!(!shown.contains("s3cret"), "{shown}");

    let seen = server.seen.lock().unwrap();
    let expected = [
        "GET /users()?$top=1&sv=2020-08-04&sig=s3cret%2B%3D HTTP/1.1",
        "GET /users(PartitionKey='p',RowKey='r')?sv=2020-08-04&sig=s3cret%2B%3D HTTP/1.1",
    ];
    for (seen, expected) in seen.iter().zip(expected) {
        assert_eq!(seen.head.lines().next(), Some(expected));
    }
    assert!(!seen[0].head.contains("authorization"));
}
