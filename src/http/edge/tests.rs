//! Handlers that do everything wrong, behind the edge: what of them is on the socket, with HTTP/1.1 and with HTTP/2.

use std::{future::pending, io, net::SocketAddr, rc::Rc, sync::Arc};

use actix_service::{ServiceFactory, fn_service};
use actix_web::{
    HttpRequest, HttpResponse,
    dev::ServiceResponse,
    http::{Method, StatusCode, header::HeaderValue},
    test::TestRequest,
    web::{self, Bytes, ServiceConfig},
};
use clap::Parser;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, sleep, timeout},
};

use super::{serve, server::drain_time};
use crate::{ambient::System, app::App, config::Settings};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// One bad handler for each path.
fn routes(config: &mut ServiceConfig) {
    config.default_service(web::to(bad));
}

/// A body whose later parts come when the head has long been sent.
fn late(parts: Vec<Result<&'static [u8], io::Error>>) -> impl futures::Stream<Item = Result<Bytes, io::Error>> {
    stream::iter(parts).then(async |part| {
        sleep(Duration::from_millis(5)).await;
        part.map(Bytes::from_static)
    })
}

async fn bad(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, actix_web::Error> {
    let path = request.path();
    if request.method() == Method::PUT {
        assert_eq!(payload.to_bytes().await?, "\r\n\r\n");
    }
    match path {
        "/error" => Err(actix_web::error::ErrorImATeapot("an error of the framework's own")),
        "/panics" => panic!("at once"),
        "/slow" => {
            sleep(Duration::from_millis(20)).await;
            Ok(HttpResponse::Ok().body("one"))
        }
        _ => Ok(status(path).or_else(|| body(path)).unwrap_or_else(|| head(path))),
    }
}

/// Statuses that have no body, or are no final ones.
fn status(path: &str) -> Option<HttpResponse> {
    let endless = stream::repeat_with(|| Ok::<_, io::Error>("x".into()));
    Some(match path {
        "/204-body" => HttpResponse::NoContent().body("stray"),
        "/204-json" => HttpResponse::NoContent().json([1]),
        "/204-late" => HttpResponse::NoContent().streaming(late(vec![Ok(b"stray")])),
        "/204-endless" => HttpResponse::NoContent().streaming(endless),
        "/204-framed" => HttpResponse::NoContent()
            .insert_header(("content-length", "5"))
            .insert_header(("transfer-encoding", "chunked"))
            .finish(),
        "/205-body" => HttpResponse::ResetContent().body("stray"),
        "/304-length" => HttpResponse::NotModified()
            .insert_header(("content-length", "5"))
            .body("stray"),
        "/304-late" => HttpResponse::NotModified().streaming(late(vec![Ok(b"stray")])),
        "/100" => HttpResponse::Continue().finish(),
        "/101" => HttpResponse::SwitchingProtocols().upgrade("h2c").finish(),
        "/999" => HttpResponse::build(StatusCode::from_u16(999).unwrap()).finish(),
        "/nothing" => HttpResponse::NotFound().finish(),
        _ => return None,
    })
}

/// More than goes out in one piece.
const LARGE: &str = match str::from_utf8(&[b'x'; 100_000]) {
    Ok(text) => text,
    Err(_) => "",
};

/// Bodies that do not come, end or fit: nothing but a whole one is sent.
fn body(path: &str) -> Option<HttpResponse> {
    let broken = || io::Error::other("broken");
    let mut ok = HttpResponse::Ok();
    Some(match path {
        "/streams" => ok.streaming(late(vec![Ok(b"one "), Ok(b""), Ok(b"two")])),
        "/fails-first" => ok.streaming(late(vec![Err(broken())])),
        "/fails-later" => ok.streaming(late(vec![Ok(b"one"), Err(broken())])),
        "/panics-later" => {
            ok.streaming(late(vec![Ok(b"one")]).map(|_| -> Result<Bytes, io::Error> { panic!("later") }))
        }
        "/never-ends" => ok.streaming(stream::pending::<Result<Bytes, io::Error>>()),
        "/too-long" => ok.streaming(stream::repeat_with(|| {
            Ok::<_, io::Error>(Bytes::from(vec![b'x'; 65_536]))
        })),
        "/shorter" => ok.no_chunking(10).streaming(late(vec![Ok(b"one")])),
        "/longer" => ok.no_chunking(1).streaming(late(vec![Ok(b"one")])),
        _ => return None,
    })
}

/// Heads that a proxy would refuse.
fn head(path: &str) -> HttpResponse {
    let mut ok = HttpResponse::Ok();
    match path {
        "/lengths" => {
            for (name, value) in [
                ("content-length", "3"),
                ("content-length", "3"),
                ("transfer-encoding", "gzip"),
            ] {
                ok.append_header((name, value));
            }
        }
        "/hop" => {
            for name in [
                "connection",
                "keep-alive",
                "proxy-connection",
                "upgrade",
                "te",
                "trailer",
            ] {
                ok.insert_header((name, "keep-alive"));
            }
        }
        "/values" => {
            ok.insert_header(("x-latin", HeaderValue::from_bytes(b"M\xfcller").unwrap()))
                .insert_header(("x-utf8", "M\u{fc}ller"))
                .insert_header(("x-tab", "a\tb"))
                .insert_header(("x-good", "1"));
        }
        "/large" => return ok.body(LARGE),
        // The builder refuses it, and makes an error of the whole answer.
        "/crlf" => {
            ok.insert_header(("x-split", "a\r\nx-injected: 1"));
        }
        "/60-headers" => {
            for number in 0..60 {
                ok.append_header((format!("x-{number}"), "1"));
            }
            ok.insert_header(("location", "/here"));
        }
        "/long-header" => {
            ok.insert_header(("x-long", "x".repeat(70_000)))
                .insert_header(("etag", "W/\"1\""));
        }
        _ => {}
    }
    ok.body("one")
}

/// What is expected of a path: status, body (none: a SCIM error), and whether there is a `content-length`.
const EXPECTED: [(&str, u16, Option<&str>, bool); 30] = [
    ("/204-body", 204, Some(""), false),
    ("/204-json", 204, Some(""), false),
    ("/204-late", 204, Some(""), false),
    ("/204-endless", 204, Some(""), false),
    ("/204-framed", 204, Some(""), false),
    ("/205-body", 205, Some(""), true),
    ("/304-length", 304, Some(""), false),
    ("/304-late", 304, Some(""), false),
    ("/100", 500, None, true),
    ("/101", 500, None, true),
    ("/999", 500, None, true),
    ("/streams", 500, None, true),
    ("/fails-first", 500, None, true),
    ("/fails-later", 500, None, true),
    ("/panics-later", 500, None, true),
    ("/never-ends", 500, None, true),
    ("/too-long", 500, None, true),
    ("/shorter", 500, None, true),
    ("/longer", 500, None, true),
    ("/large", 200, Some(LARGE), true),
    ("/lengths", 200, Some("one"), true),
    ("/hop", 200, Some("one"), true),
    ("/values", 200, Some("one"), true),
    ("/crlf", 500, None, true),
    ("/60-headers", 200, Some("one"), true),
    ("/long-header", 200, Some("one"), true),
    ("/panics", 500, None, true),
    ("/error", 500, None, true),
    ("/good", 200, Some("one"), true),
    ("/nothing", 404, Some(""), true),
];

/// An answer as it came: status, header lines in lower case, body.
type Came = (u16, Vec<(String, String)>, Vec<u8>);

#[track_caller]
fn check(path: &str, (status, headers, body): &Came, expected: (u16, Option<&str>, bool)) {
    let context = format!("{path}: {status} {headers:?} {}", String::from_utf8_lossy(body));
    assert_eq!(*status, expected.0, "{context}");
    if let Some(text) = expected.1 {
        assert_eq!(body, text.as_bytes(), "{context}");
    } else {
        let error: Value = serde_json::from_slice(body).expect(&context);
        assert_eq!(error["status"], "500", "{context}");
        assert!(error["detail"].as_str().unwrap().contains("Reference "), "{context}");
    }
    let named = |name: &str| headers.iter().filter(|(given, _)| given == name).collect::<Vec<_>>();
    let length = body.len().to_string();
    let lengths: Vec<_> = named("content-length")
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    let expected_lengths = if expected.2 { vec![length.as_str()] } else { vec![] };
    assert_eq!(lengths, expected_lengths, "{context}");
    for never in [
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "te",
        "trailer",
        "x-latin",
        "x-utf8",
        "x-injected",
    ] {
        assert!(named(never).is_empty(), "{never}: {context}");
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    // The date is the protocol's own.
    assert!(headers.len() <= 52 && bytes <= 16 * 1024, "{context}");
    match path {
        "/60-headers" => assert_eq!(named("location").len(), 1, "{context}"),
        "/long-header" => assert_eq!(named("etag").len(), 1, "{context}"),
        "/values" => assert_eq!((named("x-good").len(), named("x-tab").len()), (1, 1), "{context}"),
        _ => {}
    }
}

fn start() -> SocketAddr {
    let line = Line::parse_from(["scimgate", "--store", "memory:"]);
    let app: Arc<App> = App::new(line.settings, Arc::new(System));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(serve(&app, listener, routes).unwrap());
    address
}

/// The next answer, byte by byte: nothing may be behind it.
async fn read(stream: &mut (impl AsyncRead + Unpin), is_head: bool) -> Came {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3]
        .parse()
        .unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; if is_head { 0 } else { length }];
    stream.read_exact(&mut body).await.unwrap();
    (status, headers, body)
}

/// envoy-502 §5, 1–5: one connection for all of them, so that a byte too many would be the next one's first.
#[test]
fn nothing_a_handler_does_is_a_protocol_error_with_http_1() {
    actix_web::rt::System::new().block_on(async {
        let mut stream = TcpStream::connect(start()).await.unwrap();
        for (path, status, body, length) in EXPECTED {
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let came = read(&mut stream, false).await;
            check(path, &came, (status, body, length));
            let more = timeout(Duration::from_millis(50), stream.read_u8()).await;
            assert!(more.is_err(), "{path}: {more:?} behind the answer");
        }
    });
}

/// RFC 9110 §9.3.2: the same head as of a GET.
#[test]
fn a_head_never_has_a_body_with_http_1() {
    actix_web::rt::System::new().block_on(async {
        let mut stream = TcpStream::connect(start()).await.unwrap();
        for (path, status, body, length) in EXPECTED {
            let request = format!("HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (came, headers, bytes) = read(&mut stream, true).await;
            assert_eq!((came, bytes.len()), (status, 0), "{path}");
            let lengths: Vec<_> = headers.iter().filter(|(name, _)| name == "content-length").collect();
            assert_eq!(lengths.len(), usize::from(length), "{path}: {headers:?}");
            if let (Some(body), [(_, given)]) = (body, lengths.as_slice()) {
                assert_eq!(*given, body.len().to_string(), "{path}");
            }
            let more = timeout(Duration::from_millis(20), stream.read_u8()).await;
            assert!(more.is_err(), "{path}: {more:?} behind the answer");
        }
    });
}

async fn connect(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}

async fn ask(
    sender: &mut http2::SendRequest<Full<Bytes>>,
    method: &str,
    path: &str,
    body: &'static [u8],
) -> Result<Came, hyper::Error> {
    let request = hyper::Request::builder().method(method).uri(format!("http://a{path}"));
    let response = sender.send_request(request.body(Full::from(body)).unwrap()).await?;
    let (head, body) = response.into_parts();
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Ok((
        head.status.as_u16(),
        headers.collect(),
        body.collect().await?.to_bytes().to_vec(),
    ))
}

/// envoy-502 §1.5: with HTTP/2 one invalid response ends all requests of its connection; so all of them at once on one.
#[test]
fn nothing_a_handler_does_is_a_protocol_error_with_http_2() {
    actix_web::rt::System::new().block_on(async {
        let sender = connect(start()).await;
        let all = EXPECTED.map(async |(path, status, body, length)| {
            let came = ask(&mut sender.clone(), "GET", path, b"").await.unwrap();
            check(path, &came, (status, body, length));
            let (head, headers, bytes) = ask(&mut sender.clone(), "HEAD", path, b"").await.unwrap();
            assert_eq!((head, bytes.len()), (status, 0), "HEAD {path}");
            assert_eq!(
                headers.iter().any(|(name, _)| name == "content-length"),
                length,
                "HEAD {path}"
            );
        });
        futures::future::join_all(all).await;
    });
}

/// A body that its handler does not want is taken all the same, so that no proxy has to reset the stream.
#[test]
fn an_unread_body_is_read_before_the_answer_with_http_2() {
    actix_web::rt::System::new().block_on(async {
        let mut sender = connect(start()).await;
        let body: &'static [u8] = vec![b' '; 5_000_000].leak();
        for _ in 0..3 {
            assert_eq!(ask(&mut sender, "POST", "/good", body).await.unwrap().0, 200);
        }
    });
}

#[test]
fn what_is_begun_has_its_deadline_when_the_server_stops() {
    for (deadline, seconds) in [(1, 20), (15, 20), (16, 21), (200, 205)] {
        assert_eq!(
            drain_time(Duration::from_secs(deadline)).as_secs(),
            seconds,
            "{deadline}"
        );
    }
}

/// What is begun when the server stops is answered, and nobody waits for who is idle: with HTTP/2 (which says so, RFC 9113
/// §6.8), with HTTP/1.1, or before either.
#[test]
fn a_server_that_stops_answers_what_is_begun_and_nobody_else() {
    actix_web::rt::System::new().block_on(async {
        let line = Line::parse_from(["scimgate", "--store", "memory:"]);
        let app = App::new(line.settings, Arc::new(System));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(&app, listener, routes).unwrap();
        let handle = server.handle();
        let running = tokio::task::spawn_local(server);
        let (mut busy, mut idle) = (connect(address).await, connect(address).await);
        assert_eq!(ask(&mut idle, "GET", "/good", b"").await.unwrap().0, 200);
        let unused = TcpStream::connect(address).await.unwrap();
        let mut idle_1 = TcpStream::connect(address).await.unwrap();
        idle_1
            .write_all(b"GET /good HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read(&mut idle_1, false).await.0, 200);
        let begun = tokio::task::spawn_local(async move { ask(&mut busy, "GET", "/slow", b"").await });
        sleep(Duration::from_millis(5)).await;
        let stopped = timeout(Duration::from_secs(10), handle.stop(true)).await;
        assert!(stopped.is_ok(), "it waits for somebody who is idle");
        drop(unused);
        running.await.unwrap().unwrap();
        assert_eq!(begun.await.unwrap().unwrap().0, 200);
        assert!(ask(&mut idle, "GET", "/good", b"").await.is_err());
    });
}

/// RFC 9112 §9.6: while somebody in front finds out that we are about to stop, requests are answered as ever, but none is kept
/// waiting for the next one on a connection that will be closed.
#[test]
fn a_server_that_is_about_to_stop_keeps_no_connection() {
    actix_web::rt::System::new().block_on(async {
        let line = Line::parse_from(["scimgate", "--store", "memory:"]);
        let app = App::new(line.settings, Arc::new(System));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(serve(&app, listener, routes).unwrap());
        let mut kept = TcpStream::connect(address).await.unwrap();
        for closes in [false, true] {
            kept.write_all(b"GET /204-body HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .unwrap();
            let (status, headers, _) = read(&mut kept, false).await;
            assert_eq!(status, 204);
            let says = headers.contains(&("connection".to_owned(), "close".to_owned()));
            assert_eq!(says, closes, "{headers:?}");
            app.drain();
        }
        assert_eq!(kept.read(&mut [0]).await.unwrap(), 0);
        let came = ask(&mut connect(address).await, "GET", "/good", b"").await.unwrap();
        check("/good", &came, (200, Some("one"), true));
    });
}

/// RFC 9113 §8.1.1: through a proxy a reset would be a 502, and nobody would look for the reason in the request. An authority
/// with a space, a path with one, no path; more of them on one connection than h2 takes by itself, and a good request behind
/// them.
#[test]
fn a_malformed_request_is_400_with_http_2() {
    actix_web::rt::System::new().block_on(async {
        let mut stream = TcpStream::connect(start()).await.unwrap();
        stream.write_all(BEGINS).await.unwrap();
        // `:method: GET`, `:scheme: http` (RFC 7541, appendix A); literal values of `:authority` and `:path`.
        let bad: [&[u8]; 3] = [b"\x82\x86\x84\x01\x03a b", BAD, b"\x82\x86\x01\x01a"];
        for number in 0..1_101 {
            let block = if number == 1_100 { GOOD } else { bad[number % 3] };
            stream.write_all(&frame(HEADERS, 5, number, block)).await.unwrap();
            let (answered, status) = answered(&mut stream).await;
            assert_eq!(answered, number);
            assert_eq!(status, if number == 1_100 { 0x88 } else { 0x8c }, "{number}");
        }
    });
}

/// RFC 7541 §4.2: whose table is smaller now expects the next block to say so, and ends the connection otherwise, with the requests
/// of everybody whom a proxy has put on it.
#[test]
fn a_malformed_request_is_answered_with_the_table_that_was_asked_for_with_http_2() {
    actix_web::rt::System::new().block_on(async {
        for (size, update) in [(0, &[0x20][..]), (100, &[0x3f, 0x45])] {
            let mut stream = TcpStream::connect(start()).await.unwrap();
            let settings = [&[0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0][..], &[size]].concat();
            stream.write_all(BEGINS).await.unwrap();
            stream.write_all(&settings).await.unwrap();
            for (number, block, update, status) in [
                (0, BAD, update, 0x8c),
                (1, GOOD, update, 0x88),
                (2, BAD, &[], 0x8c),
                (3, GOOD, &[], 0x88),
            ] {
                stream.write_all(&frame(HEADERS, 5, number, block)).await.unwrap();
                let (answered, block) = block_of(&mut stream).await;
                assert_eq!(
                    (answered, &block[..=update.len()]),
                    (number, &[update, &[status]].concat()[..])
                );
            }
        }
    });
}

/// RFC 9113 §6.8: h2 makes an error of a connection with very many malformed requests. It ends long before, as when the server
/// stops: what is on its way is answered.
#[test]
fn a_connection_with_very_many_malformed_requests_ends_without_an_error_with_http_2() {
    const AT_ONCE: usize = 100;
    actix_web::rt::System::new().block_on(async {
        let mut stream = TcpStream::connect(start()).await.unwrap();
        stream.write_all(BEGINS).await.unwrap();
        let (mut asked, mut answered, mut ping) = (0, 0, None);
        // So many that it ends, and then once more, before it is known that nobody will ask any more.
        let mut last = false;
        while !last {
            last = ping.is_some();
            for number in asked..asked + AT_ONCE {
                let block = if number % AT_ONCE == 0 { GOOD } else { BAD };
                stream.write_all(&frame(HEADERS, 5, number, block)).await.unwrap();
            }
            asked += AT_ONCE;
            while answered < asked {
                match come(&mut stream).await.unwrap() {
                    (HEADERS, ..) => answered += 1,
                    (GOAWAY, _, payload) => assert_eq!(payload, b"\x7f\xff\xff\xff\0\0\0\0"),
                    (PING, _, payload) => ping = Some(payload),
                    _ => {}
                }
            }
            assert!(asked < 50_000, "it goes on");
        }
        let answer = [&[0, 0, 8, PING, 1, 0, 0, 0, 0], &ping.unwrap()[..]].concat();
        stream.write_all(&answer).await.unwrap();
        let mut ended = false;
        while let Ok((kind, _, payload)) = come(&mut stream).await {
            if kind == GOAWAY {
                let id = u32::try_from(2 * asked - 1).unwrap();
                assert_eq!(payload, [&id.to_be_bytes()[..], &[0; 4]].concat());
                ended = true;
            }
        }
        assert!(ended, "without a word");
    });
}

/// RFC 9112 §9.3.2: whatever is sent ahead, each request has its own answer, a HEAD one without a body.
#[test]
fn requests_sent_ahead_are_answered_each_by_its_own_answer_with_http_1() {
    // A chunked body that nobody reads, and one that its handler does.
    const CHUNKED: &str = "host: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\na: b\r\n\r\n";
    const REQUESTS: [(&str, &str); 5] = [
        ("GET", "host: a\r\n\r\n"),
        ("HEAD", "host: a\n\n"),
        ("PUT", "host: a\r\ncontent-length: 4\r\n\r\n\r\n\r\n"),
        ("PUT", CHUNKED),
        ("POST", CHUNKED),
    ];
    actix_web::rt::System::new().block_on(async {
        let address = start();
        for number in 0..125 {
            let order = [number % 5, number / 5 % 5, number / 25].map(|one| REQUESTS[one]);
            let bytes = order.map(|(method, rest)| format!("\r\n\r\n{method} /good HTTP/1.1\r\n{rest}"));
            let bytes = bytes.concat();
            for piece in [bytes.len(), 7, 1] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut reader, mut writer) = stream.split();
                let write = async {
                    for piece in bytes.as_bytes().chunks(piece) {
                        writer.write_all(piece).await.unwrap();
                    }
                };
                let read = async {
                    for (method, _) in order {
                        let (status, _, body) = read(&mut reader, method == "HEAD").await;
                        let expected: &[u8] = if method == "HEAD" { b"" } else { b"one" };
                        assert_eq!((status, body.as_slice()), (200, expected), "{method} in {order:?}");
                    }
                };
                futures::join!(write, read);
            }
        }
    });
}

/// Who gives no window for an answer loses it after a time, and its connection goes on.
#[test]
fn an_answer_that_is_not_read_is_given_up_with_http_2() {
    actix_web::rt::System::new().block_on(async {
        tokio::time::pause();
        let (ours, theirs) = tokio::io::duplex(1024);
        let service = fn_service(async |request: actix_http::Request| {
            let bytes = Bytes::from_static(LARGE.as_bytes());
            let body = if request.path() == "/large" {
                bytes
            } else {
                bytes.slice(..1)
            };
            let answer = HttpResponse::Ok().body(super::clean::pieces(body));
            Ok(ServiceResponse::new(TestRequest::default().to_http_request(), answer))
        });
        let service = service.new_service(()).await.unwrap();
        tokio::task::spawn_local(super::h2::serve(ours, None, Rc::new(service), pending()));
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(10_000)
            .handshake(TokioIo::new(theirs))
            .await
            .unwrap();
        tokio::task::spawn_local(connection);
        let request = hyper::Request::get("http://a/large").body(Full::default()).unwrap();
        let unread = sender.send_request(request).await.unwrap();
        assert_eq!(ask(&mut sender, "GET", "/good", b"").await.unwrap().0, 200);
        sleep(Duration::from_mins(6)).await;
        assert_eq!(ask(&mut sender, "GET", "/good", b"").await.unwrap().0, 200);
        assert!(unread.into_body().collect().await.is_err(), "it was kept");
    });
}

/// What comes on a connection that a proxy shares among all: many who give up before we have looked at them, and a good one.
#[test]
fn who_takes_requests_back_does_not_end_those_of_others_with_http_2() {
    actix_web::rt::System::new().block_on(async {
        let mut stream = TcpStream::connect(start()).await.unwrap();
        let mut bytes = BEGINS.to_vec();
        for number in 0..500 {
            bytes.extend(frame(HEADERS, 5, number, GOOD));
            // `CANCEL`.
            bytes.extend(frame(3, 0, number, &[0, 0, 0, 8]));
        }
        bytes.extend(frame(HEADERS, 5, 500, GOOD));
        stream.write_all(&bytes).await.unwrap();
        while answered(&mut stream).await != (500, 0x88) {}
    });
}

/// How a client begins (RFC 9113 §3.4), with empty SETTINGS.
const BEGINS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `GET http://a/good`, spelled as in the test above.
const GOOD: &[u8] = b"\x82\x86\x04\x05/good\x01\x01a";
/// The same with a path that is none.
const BAD: &[u8] = b"\x82\x86\x04\x04/a b\x01\x01a";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// A frame of a client's stream; streams count from 0.
fn frame(kind: u8, flags: u8, number: usize, payload: &[u8]) -> Vec<u8> {
    let (length, id) = (
        u8::try_from(payload.len()).unwrap(),
        u32::try_from(2 * number + 1).unwrap(),
    );
    [&[0, 0, length, kind, flags], &id.to_be_bytes()[..], payload].concat()
}

/// Which stream is answered next, and the first byte of its head: the status (RFC 7541, appendix A).
async fn answered(stream: &mut TcpStream) -> (usize, u8) {
    let (number, block) = block_of(stream).await;
    (number, block[0])
}

/// Which stream is answered next, and its header block.
async fn block_of(stream: &mut TcpStream) -> (usize, Vec<u8>) {
    loop {
        let (kind, number, payload) = come(stream).await.unwrap();
        assert!(kind != GOAWAY, "the connection ends");
        if kind == HEADERS {
            return (number, payload);
        }
    }
}

/// The next frame: its type, its stream, its payload.
async fn come(stream: &mut TcpStream) -> io::Result<(u8, usize, Vec<u8>)> {
    let mut start = [0; 9];
    stream.read_exact(&mut start).await?;
    let length = u32::from_be_bytes([0, start[0], start[1], start[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await?;
    let id = u32::from_be_bytes([start[5], start[6], start[7], start[8]]);
    Ok((start[3], id as usize / 2, payload))
}
