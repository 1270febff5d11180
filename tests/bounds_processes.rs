//! The executable under clients that mean harm, or are only slow: what it answers them, that others are served meanwhile, and
//! how much memory it takes in all (docs/reliability.md has the arithmetic).

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use libtest_mimic::{Arguments, Completion, Trial};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    time::{interval, timeout},
};

const MIB: usize = 1024 * 1024;
/// What a process may take beside what it takes when it has answered its first request.
const BOUND: usize = 256 * MIB;
const CONNECTIONS: usize = 10_000;
/// Long enough for anything on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const SECRET: &str = "sg_a_secret_that_is_long_enough_for_bounds";

fn main() -> ExitCode {
    let trials: [(&str, fn()); 5] = [
        ("slow_bodies_are_408_and_take_no_room_from_others", || run(slow_bodies)),
        ("slow_heads_are_408", || run(slow_heads)),
        ("huge_bodies_are_413_and_are_never_held", || run(huge_bodies)),
        ("bodies_of_very_many_values_are_413", || run(wide_bodies)),
        ("answers_that_nobody_reads_and_sorts_at_once_are_bounded", || {
            run(unread_answers);
        }),
    ];
    let trial = |(name, run): (&str, fn())| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let mut trials: Vec<Trial> = trials.into_iter().map(trial).collect();
    trials.push(Trial::ignorable_test("10_000_connections_are_held", || {
        let files = open_files();
        if files < CONNECTIONS + 200 {
            return Ok(Completion::ignored_with(format!(
                "10,000 connections need as many open files, and there may be {files} (ulimit -n)"
            )));
        }
        run(many_connections);
        Ok(Completion::Completed)
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(usize::MAX)
}

fn run<F: Future<Output = ()>>(trial: fn(Arc<Service>) -> F) {
    Runtime::new().unwrap().block_on(async {
        let service = Arc::new(Service::start());
        service.serves_others().await;
        let base = service.peak();
        timeout(PATIENCE, trial(Arc::clone(&service)))
            .await
            .expect("it goes on for ever");
        service.serves_others().await;
        let taken = service.peak() - base;
        println!("{} MiB beside {} MiB", taken / MIB, base / MIB);
        assert!(taken < BOUND, "{} MiB", taken / MIB);
    });
}

/// The executable on a file of its own, with two tenants; ends with the value.
struct Service {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Service {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("rows.db").display());
        let scimgate = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
            command
                .env_clear()
                .args(words)
                .args(["--store", &store])
                .stdin(Stdio::null());
            command
        };
        for tenant in ["busy", "other"] {
            let made = scimgate(&["tenant", "create", tenant]).output().unwrap();
            assert!(made.status.success(), "{made:?}");
            let mut import = scimgate(&["token", "import", tenant]);
            let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let secret = format!("{SECRET}_{tenant}\n");
            import.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
            assert!(import.wait().unwrap().success());
        }
        let mut child = scimgate(&["serve", "--port", "0", "--tenant-rate", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        // One line for each request follows; somebody has to take them.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let port = line.strip_prefix("scimgate listens on port ").expect(&line);
        let port: u16 = port.split(';').next().unwrap().parse().unwrap();
        Self {
            child,
            address: ([127, 0, 0, 1], port).into(),
            _folder: folder,
        }
    }

    /// The most memory that the process has had so far.
    fn peak(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.unwrap().trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Another tenant's Test Connection.
    async fn serves_others(&self) {
        let answer = self
            .ask("other", "GET", "Users?filter=userName%20eq%20%22nobody%22", "")
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    async fn ask(&self, tenant: &str, method: &str, target: &str, body: &str) -> Answer {
        let mut stream = self.connect().await;
        let request = head(tenant, method, target, &format!("content-length: {}\r\n", body.len())) + body;
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn head(tenant: &str, method: &str, target: &str, headers: &str) -> String {
    format!(
        "{method} /scim/{tenant}/{target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {SECRET}_{tenant}\r\n\
         content-type: application/scim+json\r\n{headers}\r\n"
    )
}

/// An HTTP/1.1 response.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> Self {
        let read = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("an answer"));
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.unwrap();
            let status = head["http/1.1 ".len()..][..3].parse().unwrap();
            Self { status, head, body }
        };
        timeout(PATIENCE, read).await.expect("no answer")
    }

    fn text(&self) -> String {
        format!("{}{}", self.head, String::from_utf8_lossy(&self.body))
    }

    /// A SCIM error of this status that says this.
    #[track_caller]
    fn is_error(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        let error: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let detail = error["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains(says) && detail.contains("Reference "),
            "{}",
            self.text()
        );
    }
}

/// Sends this again and again until there is an answer.
async fn keep_sending(stream: TcpStream, bytes: &[u8], pause: Duration) -> Answer {
    let (reader, mut writer) = stream.into_split();
    let sends = async {
        let mut pause = interval(pause);
        while writer.write_all(bytes).await.is_ok() {
            pause.tick().await;
        }
    };
    tokio::select! { () = sends => {}, answer = reader.readable() => answer.unwrap() }
    Answer::read(&mut reader.reunite(writer).unwrap()).await
}

/// Ninety bodies of a megabyte that come by a byte a second in the end.
async fn slow_bodies(service: Arc<Service>) {
    let slow = (0..90).map(|_| async {
        let mut stream = service.connect().await;
        let start = head("busy", "POST", "Users", "content-length: 1000000\r\n") + &" ".repeat(900_000);
        stream.write_all(start.as_bytes()).await.unwrap();
        let answer = keep_sending(stream, b" ", Duration::from_secs(1)).await;
        answer.is_error(408, "10 seconds");
    });
    let others = async {
        for _ in 0..5 {
            service.serves_others().await;
        }
    };
    futures::join!(join_all(slow), others);
}

/// From the first byte on a head has ten seconds.
async fn slow_heads(service: Arc<Service>) {
    let slow = (0..500).map(|_| async {
        let mut stream = service.connect().await;
        stream
            .write_all(b"GET /scim/busy/Users HTTP/1.1\r\nhost: ")
            .await
            .unwrap();
        let answer = Answer::read(&mut stream).await;
        assert!(
            answer.status == 408 && answer.head.contains("connection: close"),
            "{}",
            answer.text()
        );
    });
    join_all(slow).await;
}

/// Ten gigabytes that are announced, and bodies without end.
async fn huge_bodies(service: Arc<Service>) {
    let announced = head("busy", "POST", "Users", "content-length: 10000000000\r\n");
    let endless = head("busy", "POST", "Users", "transfer-encoding: chunked\r\n");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let all = (0..60).map(async |number| {
        let mut stream = service.connect().await;
        let (start, more) = if number % 2 == 0 {
            (&announced, " ".repeat(0x10000))
        } else {
            (&endless, chunk.clone())
        };
        stream.write_all(start.as_bytes()).await.unwrap();
        let answer = keep_sending(stream, more.as_bytes(), Duration::from_nanos(1)).await;
        answer.is_error(413, "larger than");
    });
    let with_http_2 = async {
        let stream = TokioIo::new(service.connect().await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let all = (0..20).map(|_| {
            let mut sender = sender.clone();
            async move {
                let chunk = hyper::body::Bytes::from(vec![b' '; 0x10000]);
                let body = stream::repeat(chunk).map(|chunk| Ok::<_, std::io::Error>(Frame::data(chunk)));
                let request = hyper::Request::post("http://localhost/scim/busy/Users")
                    .header("authorization", format!("Bearer {SECRET}_busy"))
                    .body(StreamBody::new(body))
                    .unwrap();
                let answer = sender.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 413);
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert!(String::from_utf8_lossy(&body).contains("larger than"));
            }
        });
        join_all(all).await;
    };
    futures::join!(join_all(all), with_http_2);
}

/// As JSON in memory such a body would be ninety times as large.
async fn wide_bodies(service: Arc<Service>) {
    let wide = format!("{{\"a\":[{}0]}}", r#"{"":0},"#.repeat(140_000));
    let within = format!("{{\"a\":[{}0]}}", r#"{"":0},"#.repeat(80_000));
    let all = (0..60).map(async |number| {
        let (body, status) = if number % 2 == 0 { (&wide, 413) } else { (&within, 400) };
        let answer = service.ask("busy", "POST", "Users", body).await;
        // Several of the largest at a time are more than a tenant may hold.
        if status == 413 || answer.status != 503 {
            assert_eq!(answer.status, status, "{}", answer.text());
        }
    });
    join_all(all).await;
}

/// Pages of eight megabytes that nobody reads, and as much to be sorted by many at once.
async fn unread_answers(service: Arc<Service>) {
    const USERS: usize = 300;
    let long = "y".repeat(27_000);
    let made = stream::iter(0..USERS).map(|number| {
        let user = format!(
            r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"u{number}","title":"{long}"}}"#
        );
        let service = &service;
        async move { service.ask("busy", "POST", "Users", &user).await.status }
    });
    let made: Vec<u16> = made.buffer_unordered(8).collect().await;
    assert!(made.iter().all(|status| *status == 201), "{made:?}");
    let page = head("busy", "GET", &format!("Users?count={USERS}"), "");
    let unread = join_all((0..24).map(async |_| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(service.address).await.unwrap();
        stream.write_all(page.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, String::from_utf8(status[9..].to_vec()).unwrap())
    }));
    let unread = unread.await;
    let of = |status: &str| unread.iter().filter(|(_, came)| came == status).count();
    let (given, refused) = (of("200"), of("503"));
    println!("{given} pages are held, {refused} requests were refused");
    assert!(given > 0 && refused > 0 && given + refused == unread.len());
    service.serves_others().await;
    drop(unread);
    // What they held is there again.
    let served = async {
        while service.ask("busy", "GET", "Users?count=100", "").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, served).await.expect("what they held is lost");
    let sorts = join_all((0..8).map(async |_| {
        let sorted = service.ask("busy", "GET", "Users?sortBy=title&count=1", "").await;
        if sorted.status != 200 {
            sorted.is_error(503, "repeat ");
            assert!(sorted.head.contains("retry-after: "), "{}", sorted.text());
        }
        sorted.status
    }));
    let (sorts, ()) = futures::join!(sorts, service.serves_others());
    println!(
        "{} of {} sorts at once",
        sorts.iter().filter(|status| **status == 200).count(),
        sorts.len()
    );
    assert!(sorts.contains(&200));
}

/// Idle ones, and the same with half a head each.
async fn many_connections(service: Arc<Service>) {
    let opened = stream::iter(0..CONNECTIONS).map(|_| async {
        let mut stream = service.connect().await;
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let answer = Answer::read(&mut stream).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        stream
    });
    let mut idle: Vec<TcpStream> = opened.buffer_unordered(100).collect().await;
    service.serves_others().await;
    let half = format!(
        "GET /scim/busy/Users HTTP/1.1\r\nhost: localhost\r\nx-long: {}",
        "x".repeat(900)
    );
    for stream in &mut idle {
        stream.write_all(half.as_bytes()).await.unwrap();
    }
    service.serves_others().await;
    // None of them was closed, and each can go on.
    for stream in idle.iter_mut().step_by(100) {
        stream.write_all(b"\r\n\r\n").await.unwrap();
        Answer::read(stream).await.is_error(401, "");
    }
}
