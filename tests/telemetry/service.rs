//! The shipped executable, with what it says and what its clients get.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) const TOKEN: &str = "a-token-for-the-tests-of-telemetry";
pub(crate) const TENANT: &str = "acme";
/// How long the process may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that serves tenant `acme`.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    child: Child,
    /// What it wrote to standard output and standard error.
    output: Arc<Mutex<String>>,
}

/// An answer: status, header lines in lower case, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Trace and span of the request, as every answer tells them.
    pub(crate) fn reference(&self) -> (String, String) {
        let id = self.header("x-request-id").expect("every answer has one");
        let (trace, span) = id.split_once('-').unwrap();
        (trace.to_owned(), span.to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}: ");
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    }
}

impl Service {
    /// Starts it; `settings` are environment variables.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let service = Self::spawn("SCIMGATE_PORT", settings);
        service.wait(Self::is_ready);
        service
    }

    /// Starts it as the Functions host does.
    pub(crate) fn start_behind_the_host(settings: &[(&str, &str)]) -> Self {
        let service = Self::spawn("FUNCTIONS_CUSTOMHANDLER_PORT", settings);
        service.wait(Self::is_ready);
        service
    }

    /// Starts it without a store that it can reach.
    pub(crate) fn start_unready(settings: &[(&str, &str)]) -> Self {
        let service = Self::spawn("SCIMGATE_PORT", settings);
        service.wait(|service| TcpStream::connect(service.address).is_ok());
        service
    }

    fn spawn(port_setting: &str, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
        command
            .env_clear()
            .envs([
                ("SCIMGATE_STORE", "memory:"),
                (port_setting, &port.to_string()),
                ("SCIMGATE_BOOTSTRAP_TENANT", TENANT),
                ("SCIMGATE_BOOTSTRAP_TOKEN", TOKEN),
                ("WEBSITE_INSTANCE_ID", "instance-7"),
                ("SCIMGATE_TELEMETRY_SAMPLE", "100"),
                ("SCIMGATE_DRAIN", "0"),
            ])
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        gather(child.stdout.take().unwrap(), &output);
        gather(child.stderr.take().unwrap(), &output);
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            child,
            output,
        }
    }

    fn wait(&self, is_there: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_there(self) {
            assert!(Instant::now() < until, "not ready: {}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        TcpStream::connect(self.address).is_ok() && self.send("GET", "/health/ready", &[], "").status == 200
    }

    /// A request of the tenant's, below its URL.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.ask_with(method, path, &[], &body)
    }

    pub(crate) fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let authorization = format!("Bearer {TOKEN}");
        let mut all = vec![
            ("authorization", authorization.as_str()),
            ("content-type", "application/scim+json"),
        ];
        all.extend(headers);
        self.send(method, &format!("/scim/{TENANT}{path}"), &all, body)
    }

    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(self.address, method, target, headers, body)
    }

    /// What it wrote so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096 / 1_048_576
    }

    /// Asks it to stop; how it ended, and all that it wrote.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        let kill = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.output());
            }
            assert!(Instant::now() < until, "it does not end: {}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(stream: impl Read + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    });
}

/// An operator's command.
pub(crate) fn command(words: &[&str], settings: &[(&str, &str)]) -> Output {
    command_reading("", words, settings)
}

/// An operator's command with this on its standard input.
pub(crate) fn command_reading(input: &str, words: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
    command
        .args(words)
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// One request on a connection of its own.
pub(crate) fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // Who is refused early may be gone before all is sent.
    let _ = stream.write_all(body.as_bytes());
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    Answer {
        status: head[9..12].parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
