//! Nothing is wrong with what is sound: the service directly and through both modes of the Functions host, and what others
//! wrote. Of that, what is named is true.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use functions_test_host::{Host, Mode, Options};
use scimgate::doctor::report::Report;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{ids, named, plan, plan_of, upstream::SECRET, visit};

/// How long a service may take to start.
const START_TIME: Duration = Duration::from_mins(1);
/// What a child says in front of its port.
const LISTENS: &str = "scimgate listens on port ";

/// A service in a process of its own; ends with the value.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

/// What the executable is told: to keep one tenant in a file of its own.
fn settings(folder: &TempDir) -> [(&'static str, String); 4] {
    [
        ("store", format!("sqlite:{}", folder.path().join("rows.db").display())),
        ("bootstrap-tenant", "acme".to_owned()),
        ("bootstrap-token", SECRET.to_owned()),
        ("tenant-rate", "0".to_owned()),
    ]
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
        command.args(["serve", "--port", "0"]);
        for (name, value) in settings(&folder) {
            command.arg(format!("--{name}={value}"));
        }
        command.args(arguments);
        Self::spawn(command, folder)
    }

    fn spawn(mut command: Command, folder: TempDir) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the service starts");
        let mut said = BufReader::new(child.stdout.take().expect("its output is ours"));
        let mut line = String::new();
        said.read_line(&mut line).expect("it says where it listens");
        // One line for each request may follow; somebody has to take them.
        std::thread::spawn(move || std::io::copy(&mut said.by_ref(), &mut std::io::sink()));
        let port = line.strip_prefix(LISTENS).unwrap_or(&line);
        let port = port.split(';').next().and_then(|port| port.trim().parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("it says: {line}"));
        Self {
            child,
            address: ([127, 0, 0, 1], port).into(),
            folder,
        }
    }

    /// Asks it to stop, and waits until it has.
    #[cfg(unix)]
    pub(crate) async fn stop(&mut self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "a signal can be sent");
        while self.child.try_wait().expect("it can be asked").is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn directly(service: SocketAddr) -> Result<(), String> {
    nothing(&visit(plan(&format!("http://{service}"), true)).await)
}

/// What an operator did on purpose is told as such, and nothing else.
pub(crate) async fn paused() -> Result<(), String> {
    let service = Service::start();
    let mut pause = Command::new(env!("CARGO_BIN_EXE_scimgate"));
    let store = settings(&service.folder)[0].1.clone();
    let paused = pause.args(["tenant", "pause", "acme", "--no-wait", "--store", &store]);
    let paused = paused.output().map_err(|error| error.to_string())?;
    if !paused.status.success() {
        return Err(format!("{paused:?}"));
    }
    named(
        &visit(plan(&format!("http://{}", service.address), true)).await,
        &["tenant-paused"],
    )
}

/// It is refused on purpose, and nothing of that is taken for the customer's.
#[cfg(unix)]
pub(crate) async fn without_a_trace() -> Result<(), String> {
    let mut service = Service::start_with(&["--drain", "0"]);
    nothing(&visit(plan(&format!("http://{}", service.address), true)).await)?;
    service.stop().await;
    let told = |words: &[&str]| -> Result<Value, String> {
        let store = settings(&service.folder)[0].1.clone();
        let output = Command::new(env!("CARGO_BIN_EXE_scimgate"))
            .args(words)
            .args(["--json", "--store", &store])
            .output();
        let output = output.map_err(|error| error.to_string())?.stdout;
        serde_json::from_slice(&output).map_err(|error| format!("{words:?}: {error}"))
    };
    let shown = told(&["tenant", "show", "acme"])?;
    let story = told(&["history", "acme", "nobody@example.com"])?;
    let is_without = shown["writes"] == json!({ "requests": 0, "failed": 0, "byRule": {} })
        && story["nobodys"] == json!([])
        && story["answer"] == "never-sent";
    is_without.then_some(()).ok_or_else(|| format!("{shown:#}\n{story:#}"))
}

/// The product's own host.json and functions.
pub(crate) async fn behind_host(mode: Mode) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let program = "AzureFunctionsJobHost__customHandler__description__defaultExecutablePath";
    let mut environment = BTreeMap::from([(program.to_owned(), env!("CARGO_BIN_EXE_scimgate").to_owned())]);
    for (name, value) in settings(&folder) {
        environment.insert(format!("SCIMGATE_{}", name.replace('-', "_").to_uppercase()), value);
    }
    let options = Options {
        mode: Some(mode),
        environment,
        ..Options::new(env!("CARGO_MANIFEST_DIR"))
    };
    let host = Host::start(options).await.map_err(|error| error.to_string())?;
    until_ready(host.address()).await?;
    let report = visit(plan(&format!("http://{}", host.address()), true)).await;
    host.stop().await;
    nothing(&report)
}

/// The first tenant is made a moment after `/health/ready` says 200.
async fn until_ready(address: SocketAddr) -> Result<(), String> {
    let client = scimgate::app::http_client().map_err(|error| error.to_string())?;
    let request = client
        .get(format!("http://{address}/scim/acme/Users?count=0"))
        .bearer_auth(SECRET);
    let ask = || request.try_clone().expect("it has no body").send();
    let ready = async {
        while !matches!(ask().await, Ok(answer) if answer.status() == 200) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let ready = timeout(START_TIME, ready).await;
    ready.map_err(|_| format!("not ready after {} s", START_TIME.as_secs()))
}

fn nothing(report: &Report) -> Result<(), String> {
    if report.is_clean() && report.is_complete && report.left.is_empty() {
        return Ok(());
    }
    Err(format!("{report:#?}"))
}

/// A service that others wrote.
#[derive(Clone, Copy)]
pub(crate) struct Foreign {
    pub(crate) server: &'static str,
    /// What is true of it and worse than a note, in a read-only visit and in one that writes.
    pub(crate) finds: [&'static [&'static str]; 2],
}

/// None of them takes a path for the name of an attribute in a `replace` without a path.
pub(crate) const FOREIGN: [Foreign; 3] = [
    Foreign {
        server: "hypercorn",
        finds: [&[], &["patch-fails"]],
    },
    Foreign {
        server: "uvicorn",
        finds: [&[], &["patch-fails"]],
    },
    // It leaves the body of an answer to a HEAD to the application, which leaves it to the server.
    Foreign {
        server: "wsgiref",
        finds: [&["body-of-204"], &["body-of-204", "patch-fails"]],
    },
];

/// The Python that has what `requirements.txt` pins, when somebody said so.
pub(crate) fn python() -> Option<String> {
    let named = functions_test_host::process_environment().remove("SCIMGATE_DOCTOR_PYTHON");
    named.filter(|path| !path.is_empty())
}

impl Foreign {
    pub(crate) async fn examine(self, python: String) -> Result<(), String> {
        let mut command = Command::new(python);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctor/foreign.py");
        command.args(["-B", script, self.server, SECRET]).stderr(Stdio::null());
        let service = Service::spawn(command, tempfile::tempdir().map_err(|error| error.to_string())?);
        for (may_write, finds) in [false, true].into_iter().zip(self.finds) {
            let report = visit(plan_of(&format!("http://{}", service.address), may_write)).await;
            named(&report, finds)?;
            if finds.iter().any(|id| !ids(&report).contains(id)) || !report.is_complete {
                return Err(format!("expected all of {finds:?}: {report:#?}"));
            }
        }
        Ok(())
    }
}
