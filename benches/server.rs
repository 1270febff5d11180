//! What a request costs the server's CPU, beside a bare actix endpoint that does nothing: `cargo bench --bench server`.
//!
//! Each server is a process of its own; its CPU time is read from /proc before and after. Machines differ and are noisy:
//! compare the rows of one run.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};

const REQUESTS: u32 = 20_000;
const CONNECTIONS: u32 = 4;
const TOKEN: &str = "a-token-that-only-this-benchmark-has";
/// Set in the process that is the bare endpoint.
const BARE: &str = "SCIMGATE_BENCH_BARE";

fn main() {
    #[expect(clippy::disallowed_methods, reason = "tells the two roles of this program apart")]
    let bare = std::env::var(BARE);
    match bare {
        Ok(port) => serve_bare(port.parse().expect("a port")),
        Err(_) => measure(),
    }
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
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
    command
        .current_dir(&folder)
        .env_clear()
        .env("SCIMGATE_PORT", port.to_string());
    command
        .env("SCIMGATE_BOOTSTRAP_TENANT", "bench")
        .env("SCIMGATE_BOOTSTRAP_TOKEN", TOKEN);
    let scimgate = Server::start(command, port);

    let users = "/scim/bench/Users";
    let user = |number: u32| {
        format!(
            r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"externalId":"x{number}","userName":"u{number}@example.com","active":true,"emails":[{{"primary":true,"type":"work","value":"u{number}@example.com"}}],"meta":{{"resourceType":"User"}},"name":{{"formatted":"Given Family","familyName":"Family","givenName":"Given"}},"roles":[]}}"#
        )
    };
    let look_up = |number: u32| format!("{users}?filter=userName%20eq%20%22u{number}%40example.com%22");
    let nothing = |_: u32| String::new();
    let nobody = |number: u32| format!("{users}?filter=userName%20eq%20%22nobody{number}%22");
    let rows = [
        ("bare actix, GET", bare.cost("GET", |_| users.to_owned(), nothing)),
        ("bare actix, POST", bare.cost("POST", |_| users.to_owned(), user)),
        (
            "create (SQLite file, fsync)",
            scimgate.cost("POST", |_| users.to_owned(), user),
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
