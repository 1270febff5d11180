//! What a request costs the server's CPU, beside a bare actix endpoint that does nothing, and what telemetry adds to it:
//! `cargo bench --bench server`.
//!
//! Each server is a process of its own; its CPU time is read from /proc before and after. Machines differ and are noisy:
//! compare the rows of one run.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use tempfile::TempDir;

const REQUESTS: u32 = 20_000;
const CONNECTIONS: u32 = 4;
/// Look-ups of the comparison of telemetry on and off, one after another with a pause: at the greatest rate that there is, most
/// rows would find no room and cost nothing.
const STEADY: u32 = 4_000;
const PAUSE: Duration = Duration::from_millis(2);
const USERS: &str = "/scim/bench/Users";
const TOKEN: &str = "a-token-that-only-this-benchmark-has";
/// Set in the process that is the bare endpoint.
const BARE: &str = "SCIMGATE_BENCH_BARE";

fn main() {
    #[expect(clippy::disallowed_methods, reason = "tells the two roles of this program apart")]
    let bare = std::env::var(BARE);
    if let Ok(port) = bare {
        return serve_bare(port.parse().expect("a port"));
    }
    measure();
    compare_telemetry();
}

fn serve_bare(port: u16) {
    // A body that nobody reads would close the connection.
    let answer = async |_: web::Bytes| HttpResponse::Ok().content_type("application/scim+json").body("{}");
    let server = HttpServer::new(move || App::new().default_service(web::to(answer)));
    let run = server.bind(("127.0.0.1", port)).expect("a free port").run();
    actix_web::rt::System::new()
        .block_on(run)
        .expect("it runs until it is killed");
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).spawn().expect("the server starts");
        let server = Self { child, port };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() || !server.is_ready() {
            assert!(Instant::now() < until, "the server does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn is_ready(&self) -> bool {
        let mut connection = Connection::open(self.port);
        connection.send("GET", "/health/ready", "").starts_with("HTTP/1.1 200")
    }

    /// CPU time of the process so far.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process is there");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|field| field.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in MiB.
    fn memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("the process is there");
        let pages: u64 = text
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse().ok())
            .expect("pages");
        pages * 4_096 / 1_048_576
    }

    /// CPU microseconds and requests per second of `requests` made by `path` and `body` of their number.
    fn cost(
        &self,
        method: &str,
        path: impl Fn(u32) -> String + Sync,
        body: impl Fn(u32) -> String + Sync,
    ) -> (f64, f64) {
        let (cpu, began) = (self.cpu(), Instant::now());
        thread::scope(|scope| {
            for worker in 0..CONNECTIONS {
                let (path, body) = (&path, &body);
                scope.spawn(move || {
                    let mut connection = Connection::open(self.port);
                    for number in (worker..REQUESTS).step_by(CONNECTIONS as usize) {
                        let answer = connection.send(method, &path(number), &body(number));
                        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
                    }
                });
            }
        });
        let micros = self.cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / f64::from(REQUESTS);
        (micros, f64::from(REQUESTS) / began.elapsed().as_secs_f64())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One keep-alive connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Self {
            stream,
            buffer: vec![0; 64 * 1024],
        }
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> String {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = String::new();
        loop {
            let bytes = self.stream.read(&mut self.buffer).expect("the server answers");
            assert!(bytes > 0, "the server closed the connection: {answer}");
            answer.push_str(&String::from_utf8_lossy(&self.buffer[..bytes]));
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                    return answer;
                }
            }
        }
    }
}

fn nobody(number: u32) -> String {
    format!("{USERS}?filter=userName%20eq%20%22nobody{number}%22")
}

/// The service on a file of its own; `telemetry` is where its rows go.
fn serve_scim(folder: &TempDir, telemetry: Option<SocketAddr>) -> Server {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
    command.current_dir(folder).env_clear().envs([
        ("SCIMGATE_PORT", port.to_string().as_str()),
        ("SCIMGATE_BOOTSTRAP_TENANT", "bench"),
        ("SCIMGATE_BOOTSTRAP_TOKEN", TOKEN),
        ("SCIMGATE_TENANT_RATE", "0"),
    ]);
    if let Some(address) = telemetry {
        let connection = format!("InstrumentationKey=1;IngestionEndpoint=http://{address}/");
        command.env("APPLICATIONINSIGHTS_CONNECTION_STRING", connection);
    }
    Server::start(command, port)
}

/// Takes whatever is uploaded; how many bytes of it, packed.
fn ingestion() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let taken = Arc::<AtomicUsize>::default();
    let all = Arc::clone(&taken);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let taken = Arc::clone(&all);
            thread::spawn(move || take(&stream, &taken));
        }
    });
    (address, taken)
}

fn take(stream: &TcpStream, taken: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    loop {
        let head: Vec<String> = reader
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let length = head
            .iter()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let Some(length) = length else { return };
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        taken.fetch_add(length, Ordering::Relaxed);
        let mut writer = stream;
        if writer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .is_err()
        {
            return;
        }
    }
}

/// One of the two that are compared.
struct Side {
    name: &'static str,
    server: Server,
    connection: Connection,
    _folder: TempDir,
    cpu: Duration,
    took: Vec<Duration>,
}

impl Side {
    fn new(name: &'static str, telemetry: Option<SocketAddr>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = serve_scim(&folder, telemetry);
        Self {
            name,
            connection: Connection::open(server.port),
            cpu: server.cpu(),
            server,
            _folder: folder,
            took: Vec::new(),
        }
    }

    fn ask(&mut self, number: u32) {
        let began = Instant::now();
        self.connection.send("GET", &nobody(number), "");
        self.took.push(began.elapsed());
    }
}

/// What telemetry adds: the same look-ups of two servers by turns, so that whatever else the machine does is done to both.
fn compare_telemetry() {
    let (endpoint, taken) = ingestion();
    let mut sides = [Side::new("off", None), Side::new("on", Some(endpoint))];
    for number in 0..STEADY {
        for side in &mut sides {
            thread::sleep(PAUSE);
            side.ask(number);
        }
    }
    // Rows wait for company before they go out.
    thread::sleep(Duration::from_secs(3));
    println!(
        "\n{STEADY} look-ups that find nobody, with pauses of {} ms\n",
        PAUSE.as_millis()
    );
    println!(
        "{:<16}{:>14}{:>10}{:>10}{:>8}",
        "telemetry", "CPU us each", "p50 us", "p99 us", "MiB"
    );
    for mut side in sides {
        let micros = side.server.cpu().saturating_sub(side.cpu).as_secs_f64() * 1e6 / f64::from(STEADY);
        side.took.sort_unstable();
        let at = |percent: usize| side.took[side.took.len() * percent / 100].as_micros();
        let memory = side.server.memory();
        println!("{:<16}{micros:>14.0}{:>10}{:>10}{memory:>8}", side.name, at(50), at(99));
    }
    println!("\n{} KiB uploaded, packed", taken.load(Ordering::Relaxed) / 1_024);
}

fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("a bound socket has an address").port()
}

fn measure() {
    let port = free_port();
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env(BARE, port.to_string());
    let bare = Server::start(command, port);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let scimgate = serve_scim(&folder, None);

    let user = |number: u32| {
        format!(
            r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"externalId":"x{number}","userName":"u{number}@example.com","active":true,"emails":[{{"primary":true,"type":"work","value":"u{number}@example.com"}}],"meta":{{"resourceType":"User"}},"name":{{"formatted":"Given Family","familyName":"Family","givenName":"Given"}},"roles":[]}}"#
        )
    };
    let look_up = |number: u32| format!("{USERS}?filter=userName%20eq%20%22u{number}%40example.com%22");
    let nothing = |_: u32| String::new();
    let rows = [
        ("bare actix, GET", bare.cost("GET", |_| USERS.to_owned(), nothing)),
        ("bare actix, POST", bare.cost("POST", |_| USERS.to_owned(), user)),
        (
            "create (SQLite file, fsync)",
            scimgate.cost("POST", |_| USERS.to_owned(), user),
        ),
        ("look-up by userName, found", scimgate.cost("GET", look_up, nothing)),
        ("look-up by userName, nobody", scimgate.cost("GET", nobody, nothing)),
    ];
    println!("{REQUESTS} requests each, {CONNECTIONS} connections\n");
    println!("{:<32}{:>14}{:>14}{:>10}", "", "CPU us each", "requests/s", "x bare");
    let bare = rows[0].1.0;
    for (name, (micros, rate)) in rows {
        println!("{name:<32}{micros:>14.1}{rate:>14.0}{:>10.1}", micros / bare);
    }
}
