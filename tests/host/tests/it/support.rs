//! A host around `echo_handler`, and a client that writes and reads bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use functions_test_host::{Error, Host, Line, Mode, Options};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A script root and how to start a host on it.
pub(crate) struct Fixture {
    root: TempDir,
    pub(crate) options: Options,
    log: Arc<watch::Sender<Vec<Line>>>,
}

impl Fixture {
    /// One anonymous catch-all function, no prefix, and `echo_handler`.
    pub(crate) fn new(mode: Mode) -> Self {
        let fixture = Self::bare();
        fixture.host_json(&json!({
            "version": "2.0",
            "customHandler": {
                "description": { "defaultExecutablePath": env!("CARGO_BIN_EXE_echo_handler") },
                "enableProxyingHttpRequest": mode == Mode::Proxy,
                "enableForwardingHttpRequest": mode == Mode::Forward,
            },
            "extensions": { "http": { "routePrefix": "" } },
        }));
        fixture.function("catch", &json!({ "authLevel": "anonymous", "route": "{*path}" }));
        fixture
    }

    /// An empty script root.
    pub(crate) fn bare() -> Self {
        let root = tempfile::tempdir().unwrap();
        let log = Arc::new(watch::Sender::new(Vec::new()));
        let mut options = Options::new(root.path());
        let lines = Arc::clone(&log);
        options.log = Some(Arc::new(move |line: &Line| {
            lines.send_modify(|lines| lines.push(line.clone()));
        }));
        options.timing.retry_delay = Duration::from_millis(2);
        options.timing.spare_every = 0;
        Self { root, options, log }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn host_json(&self, content: &Value) {
        self.write("host.json", &content.to_string());
    }

    /// A function with an HTTP trigger with these members and an HTTP output.
    pub(crate) fn function(&self, name: &str, trigger: &Value) {
        let mut binding = json!({ "type": "httpTrigger", "direction": "in", "name": "req" });
        binding
            .as_object_mut()
            .unwrap()
            .extend(trigger.as_object().unwrap().clone());
        let output = json!({ "type": "http", "direction": "out", "name": "res" });
        self.write(
            &format!("{name}/function.json"),
            &json!({ "bindings": [binding, output] }).to_string(),
        );
    }

    pub(crate) fn write(&self, file: &str, content: &str) {
        let file = self.root.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.options.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn job_host(self, path: &str, value: &str) -> Self {
        self.set(&format!("AzureFunctionsJobHost__{path}"), value)
    }

    pub(crate) async fn try_start(self) -> Result<Running, Error> {
        let host = Host::start(self.options.clone()).await?;
        Ok(Running { host, fixture: self })
    }

    pub(crate) async fn start(self) -> Running {
        self.try_start().await.unwrap()
    }
}

/// A running host.
pub(crate) struct Running {
    pub(crate) host: Host,
    fixture: Fixture,
}

impl Running {
    /// Sends one request on a connection of its own.
    pub(crate) async fn send(&self, request: impl Into<Request>) -> Answer {
        let mut client = self.connect().await;
        client.write(&request.into().bytes()).await;
        client.read().await
    }

    /// Sends one request and reads what `echo_handler` got of it.
    pub(crate) async fn echo(&self, request: impl Into<Request>) -> Echo {
        let answer = self.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Echo(serde_json::from_slice(&answer.body).unwrap())
    }

    pub(crate) async fn connect(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.host.address()).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    /// Waits for the `count`th line with that text.
    pub(crate) async fn until(&self, text: &str, count: usize) {
        let mut lines = self.fixture.log.subscribe();
        let met = lines.wait_for(|lines| lines.iter().filter(|line| line.text.contains(text)).count() >= count);
        let outcome = timeout(PATIENCE, met).await.map(drop);
        assert!(outcome.is_ok(), "{count} x {text:?} not in {:#?}", self.host.log());
    }

    /// How many lines have that text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.host.log().iter().filter(|line| line.text.contains(text)).count()
    }

    /// Waits until all the handler has printed so far is in the log.
    pub(crate) async fn flush(&self) {
        let flushes = self.count("answered GET /flush");
        self.send("GET /flush").await;
        self.until("answered GET /flush", flushes + 1).await;
    }

    pub(crate) fn line(&self, text: &str) -> Line {
        let log = self.host.log();
        log.iter()
            .find(|line| line.text.contains(text))
            .unwrap_or_else(|| panic!("no {text:?} in {log:#?}"))
            .clone()
    }
}

/// A request, as bytes on the wire.
pub(crate) struct Request {
    line: String,
    headers: Vec<u8>,
    body: Vec<u8>,
}

impl From<&str> for Request {
    /// `METHOD target`, with a `Host`.
    fn from(line: &str) -> Self {
        Self {
            line: line.to_owned(),
            headers: b"Host: scim.example.com\r\n".to_vec(),
            body: Vec::new(),
        }
    }
}

impl Request {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        self
    }

    pub(crate) fn raw_header(mut self, line: &[u8]) -> Self {
        self.headers.extend_from_slice(line);
        self.headers.extend_from_slice(b"\r\n");
        self
    }

    /// A body with its `Content-Length`.
    pub(crate) fn body(self, body: &str) -> Self {
        let mut request = self.header("Content-Length", &body.len().to_string());
        request.body = body.as_bytes().to_vec();
        request
    }

    /// A body as two chunks.
    pub(crate) fn chunked(self, body: &str) -> Self {
        let mut request = self.header("Transfer-Encoding", "chunked");
        let (first, second) = body.split_at(1);
        request.body = format!("1\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", second.len()).into_bytes();
        request
    }

    /// Has the handler answer with these bytes.
    pub(crate) fn answered(self, bytes: impl AsRef<[u8]>) -> Self {
        let digits = bytes.as_ref().iter().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").unwrap();
            digits
        });
        self.header("Echo-Raw", &digits)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [
            format!("{} HTTP/1.1\r\n", self.line).as_bytes(),
            &self.headers,
            b"\r\n",
            &self.body,
        ]
        .concat()
    }
}

/// A connection to the host.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads up to and including `end`.
    pub(crate) async fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return self.buffer.drain(..at + end.len()).collect();
            }
            assert!(
                self.more().await.unwrap(),
                "the connection ended after {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
    }

    /// Reads one response, until its framing or the connection ends it.
    pub(crate) async fn read(&mut self) -> Answer {
        let head = String::from_utf8(self.read_until(b"\r\n\r\n").await).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let (status, reason) = lines.next().unwrap()["HTTP/1.1 ".len()..].split_once(' ').unwrap();
        let status = status.parse().unwrap();
        if status == 100 {
            return Box::pin(self.read()).await;
        }
        let headers = lines.map(|line| line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")));
        let headers = headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            reason: reason.to_owned(),
            headers,
            body: Vec::new(),
            is_complete: true,
        };
        if let Some(length) = answer
            .header("content-length")
            .map(|length| length.parse::<usize>().unwrap())
        {
            // A response to HEAD has a length and no body; the tests for it look at the head only.
            while self.buffer.len() < length && self.more().await.unwrap_or(false) {}
            answer.is_complete = self.buffer.len() >= length;
            answer.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else if answer.header("transfer-encoding").is_some() {
            while !self.buffer.ends_with(b"0\r\n\r\n") && self.more().await.unwrap_or(false) {}
            answer.is_complete = self.buffer.ends_with(b"0\r\n\r\n");
            answer.body = std::mem::take(&mut self.buffer);
        }
        answer
    }

    /// Reads one response to HEAD.
    pub(crate) async fn read_head(&mut self) -> String {
        String::from_utf8(self.read_until(b"\r\n\r\n").await)
            .unwrap()
            .to_lowercase()
    }

    /// Whether the host closed the connection, cleanly or not.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !self.more().await.unwrap_or(false)
    }

    /// How the connection ends.
    pub(crate) async fn end(&mut self) -> std::io::Result<()> {
        while self.more().await? {}
        Ok(())
    }

    async fn more(&mut self) -> std::io::Result<bool> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        Ok(read.expect("the host answers in time")? > 0)
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Chunked ones as they came.
    pub(crate) body: Vec<u8>,
    pub(crate) is_complete: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The host's answer to whatever goes wrong with the handler.
    #[track_caller]
    pub(crate) fn assert_bare(&self, status: u16) {
        assert_eq!(
            (self.status, self.body.as_slice()),
            (status, b"".as_slice()),
            "{self:?}"
        );
    }
}

/// What `echo_handler` got.
pub(crate) struct Echo(Value);

impl Echo {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap()
    }

    pub(crate) fn value(&self, name: &str) -> &Value {
        &self.0[name]
    }

    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.0["environment"].clone()).unwrap()
    }

    /// The values of all lines of that name.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.0["headers"].as_array().unwrap().iter();
        let matching = lines.filter(|line| line[0].as_str().unwrap().eq_ignore_ascii_case(name));
        matching.map(|line| line[1].as_str().unwrap()).collect()
    }

    /// The names as they were spelled.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line[0].as_str().unwrap())
            .collect()
    }
}

pub(crate) const BOTH: [Mode; 2] = [Mode::Proxy, Mode::Forward];
