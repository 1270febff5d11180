//! Somebody presses Ctrl-C when the test user has been made and an answer is being waited for, ends the process, or closes the
//! terminal.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    clean::Service,
    upstream::{self, Act, SECRET, When, Wrong},
};

/// How long the executable may take to get to the test user, and to its end.
const PATIENCE: Duration = Duration::from_mins(1);

/// How it ends.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    signals: &'static [&'static str],
    /// Nobody can read what it tells people.
    is_unread: bool,
}

const fn row(name: &'static str, signals: &'static [&'static str], is_unread: bool) -> Row {
    Row {
        name,
        signals,
        is_unread,
    }
}

pub(crate) const ROWS: &[Row] = &[
    row("interrupt", &["-INT"], false),
    row("interrupt_unread", &["-INT"], true),
    row("terminate", &["-TERM"], false),
    row("terminal_is_closed", &["-HUP", "-HUP", "-TERM"], true),
];

pub(crate) async fn nothing_is_left(row: &Row) -> Result<(), String> {
    let service = Service::start();
    let never = Wrong {
        when: When::Asked("PATCH /scim/acme/Users/"),
        act: Act::Say(Vec::new()),
    };
    let upstream = upstream::serve(never, service.address).await;
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_scimgate"))
        .args([
            "doctor",
            &format!("http://{upstream}/scim/acme"),
            "--write",
            "--quick",
            "--json",
        ])
        .env("SCIMGATE_DOCTOR_TOKEN", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if row.is_unread {
        drop(doctor.stderr.take());
    }
    let made = timeout(PATIENCE, async {
        while users(service.address).await != 1 {
            sleep(Duration::from_millis(50)).await;
        }
    });
    made.await.map_err(|_| "no test user is made")?;
    for signal in row.signals {
        let sent = Command::new("kill").args([*signal, &doctor.id().to_string()]).status();
        sent.map_err(|error| error.to_string())?;
    }
    let ended = tokio::task::spawn_blocking(|| doctor.wait_with_output());
    let ended = timeout(PATIENCE, ended).await.map_err(|_| "it does not end")?;
    let ended = ended
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let report: Value = serde_json::from_slice(&ended.stdout).map_err(|error| error.to_string())?;
    let checks = report["checks"].as_array().into_iter().flatten();
    let life: Vec<_> = checks.filter(|check| check["outcome"] == "broken off").collect();
    // That the PATCH is not answered is a finding.
    let is_as_told = ended.status.code() == Some(1)
        && report["leftBehind"] == json!([])
        && matches!(life[..], [life] if life["id"] == "entra" && life["told"] == json!(["interrupted"]));
    if !is_as_told || users(service.address).await != 0 {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("{}: {report:#}\n{said}", ended.status));
    }
    Ok(())
}

/// How many the service has.
pub(crate) async fn users(service: SocketAddr) -> u64 {
    let client = scimgate::app::http_client().expect("a client can be made");
    let request = client.get(format!("http://{service}/scim/acme/Users?count=0"));
    let answer = request.bearer_auth(SECRET).send().await.expect("the service answers");
    let list: Value = serde_json::from_str(&answer.text().await.expect("it is a text")).expect("it is JSON");
    list["totalResults"].as_u64().expect("it is a list")
}
