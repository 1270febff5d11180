//! What a tenant notices of another one that sends twenty times what it may: `cargo bench --bench fairness`.
//!
//! The server is a process of its own on an SQLite file, with the limits it has by itself. Latency is counted from the moment
//! at which a request was due, so that none is left out because the one before it was late.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// What a tenant may send a second by itself.
const RATE: u32 = 200;
/// How many times as much the noisy one sends.
const NOISE: u32 = 20;
const NOISY_CONNECTIONS: u32 = 20;
const HEALTHY_CONNECTIONS: u32 = 4;
/// A quarter of what it may send.
const HEALTHY_RATE: u32 = RATE / 4;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(15);
const SECRET: &str = "sg_a_secret_that_only_this_benchmark_has";

fn main() {
    let server = Server::start();
    let mut healthy = Caller::new(&server, "healthy");
    for number in 0..1_000 {
        let user = user(&format!("old{number}"));
        assert_eq!(healthy.send("POST", "Users", &user).status, 201);
        // Not faster than it may.
        thread::sleep(Duration::from_secs(1) / RATE);
    }
    println!(
        "{:<8}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "", "p50 ms", "p99 ms", "noise/s", "of it 429", "its tests"
    );
    let (mut ratios, mut quiet_all, mut beside_all) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let alone = latencies(&server, 2 * round);
        let quiet = AtomicBool::new(false);
        let (beside, noise, tests) = thread::scope(|scope| {
            let senders: Vec<_> = (0..NOISY_CONNECTIONS)
                .map(|_| scope.spawn(|| make_noise(&server, &quiet)))
                .collect();
            let tests = scope.spawn(|| test_connections(&server, &quiet));
            let beside = latencies(&server, 2 * round + 1);
            quiet.store(true, Ordering::Relaxed);
            let noise = senders.into_iter().map(|one| one.join().expect("noise"));
            let noise = noise.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            (beside, noise, tests.join().expect("tests"))
        });
        for (name, all) in [("alone", &alone), ("beside", &beside)] {
            print!("{name:<8}{:>12.2}{:>12.2}", at(all, 50), at(all, 99));
            if name == "beside" {
                let share = 100 * noise.1 / noise.0;
                print!("{:>12}{share:>10} %{:>9} ok", noise.0 / ROUND.as_secs(), tests);
            }
            println!();
        }
        ratios.push(format!("{:.2}", at(&beside, 99) / at(&alone, 99)));
        quiet_all.extend(alone);
        beside_all.extend(beside);
    }
    let all = [beside_all, quiet_all].map(|mut all| {
        all.sort_by(f64::total_cmp);
        at(&all, 99)
    });
    println!(
        "\np99 beside the noise, times p99 alone: {}; of all rounds together {:.2}",
        ratios.join(", "),
        all[0] / all[1]
    );
}

/// Milliseconds, in order, of a round of the healthy tenant: one create for four reads.
fn latencies(server: &Server, round: usize) -> Vec<f64> {
    let mut all: Vec<f64> = thread::scope(|scope| {
        let callers: Vec<_> = (0..HEALTHY_CONNECTIONS)
            .map(|number| scope.spawn(move || latencies_of_one(server, round, number)))
            .collect();
        callers
            .into_iter()
            .flat_map(|one| one.join().expect("latencies"))
            .collect()
    });
    all.sort_by(f64::total_cmp);
    all
}

fn latencies_of_one(server: &Server, round: usize, number: u32) -> Vec<f64> {
    let mut caller = Caller::new(server, "healthy");
    let pause = Duration::from_secs(1) * HEALTHY_CONNECTIONS / HEALTHY_RATE;
    let (began, mut all) = (Instant::now() + pause * number / HEALTHY_CONNECTIONS, Vec::new());
    for due in (0..).map(|turn| pause * turn).take_while(|due| *due < ROUND) {
        thread::sleep((began + due).saturating_duration_since(Instant::now()));
        let turn = all.len();
        let (status, expected) = if turn.is_multiple_of(5) {
            let user = user(&format!("new{round}-{number}-{turn}"));
            (caller.send("POST", "Users", &user).status, 201)
        } else {
            let look_up = format!("Users?filter=userName%20eq%20%22old{turn}%22");
            (caller.send("GET", &look_up, "").status, 200)
        };
        assert_eq!(status, expected);
        all.push((began + due).elapsed().as_secs_f64() * 1e3);
    }
    all
}

/// One connection's part of twenty times the rate; how many requests were sent, and how many of them answered 429.
fn make_noise(server: &Server, quiet: &AtomicBool) -> (u64, u64) {
    let mut caller = Caller::new(server, "noisy");
    let pause = Duration::from_secs(1) * NOISY_CONNECTIONS / (RATE * NOISE);
    let (began, mut sent, mut refused) = (Instant::now(), 0, 0);
    while !quiet.load(Ordering::Relaxed) {
        thread::sleep((began + pause * sent).saturating_duration_since(Instant::now()));
        sent += 1;
        let answer = caller.send("GET", "Users?count=10", "");
        match answer.status {
            200 => {}
            429 => {
                assert!(answer.text.contains("retry-after: "), "{}", answer.text);
                refused += 1;
            }
            _ => panic!("{}", answer.text),
        }
    }
    (sent.into(), refused)
}

/// The noisy tenant's own Test Connections; each must pass.
fn test_connections(server: &Server, quiet: &AtomicBool) -> u32 {
    let mut caller = Caller::new(server, "noisy");
    let mut passed = 0;
    while !quiet.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(500));
        let answer = caller.send("GET", "Users?filter=userName%20eq%20%22nobody%22", "");
        assert_eq!(answer.status, 200, "{}", answer.text);
        passed += 1;
    }
    passed
}

/// The percentile of numbers in order.
fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn user(name: &str) -> String {
    format!(r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"{name}","active":true}}"#)
}

/// The executable on a file of its own, with two tenants; ends with the value.
struct Server {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let scimgate = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
            command.env_clear().current_dir(&folder).args(words);
            command
        };
        for tenant in ["healthy", "noisy"] {
            let secret = folder.path().join("secret");
            fs::write(&secret, format!("{SECRET}_{tenant}")).expect("a file");
            let create = scimgate(&["tenant", "create", tenant]).output();
            let import = scimgate(&["token", "import", tenant])
                .stdin(fs::File::open(secret).expect("the file"))
                .output();
            assert!([create, import].map(|one| one.expect("it runs").status.success()) == [true; 2]);
        }
        let mut child = scimgate(&["serve", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut said = BufReader::new(child.stdout.take().expect("its output is ours"));
        let mut line = String::new();
        said.read_line(&mut line).expect("it says where it is");
        // One line for each request follows; somebody has to take them.
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let port = line.strip_prefix("scimgate listens on port ");
        let port = port.and_then(|rest| rest.split(';').next()?.parse().ok());
        Self {
            child,
            port: port.expect("a port"),
            _folder: folder,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One keep-alive connection of a tenant.
struct Caller {
    stream: BufReader<TcpStream>,
    tenant: &'static str,
}

struct Answer {
    status: u16,
    text: String,
}

impl Caller {
    fn new(server: &Server, tenant: &'static str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Self {
            stream: BufReader::new(stream),
            tenant,
        }
    }

    fn send(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let tenant = self.tenant;
        let request = format!(
            "{method} /scim/{tenant}/{target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}_{tenant}\r\n\
             Content-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream
            .get_mut()
            .write_all(request.as_bytes())
            .expect("the server reads");
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut text).expect("the server answers");
            assert!(read > 0, "the server closed the connection: {text}");
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        self.stream.read_exact(&mut body).expect("all of the answer");
        Answer {
            status: text[9..12].parse().expect("a status"),
            text,
        }
    }
}
