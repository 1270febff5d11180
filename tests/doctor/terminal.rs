//! Somebody sits at a terminal, is asked for the token and whether the test user may be made, and says yes, no, or Ctrl-C.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{clean::Service, stopped::users, upstream::SECRET};

/// What the terminal shows when the question is asked, and when the test user's life begins.
const QUESTION: &str = "Make the test user? [y/N] ";
const LIFE: &str = "A user's life as Entra lives it …";
const CTRL_C: &str = "\u{3}";
/// How a process ends that Ctrl-C has ended.
const BY_SIGINT: i32 = -2;

/// What is typed, and what comes of it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What is typed behind what is shown.
    typed: &'static [(&'static str, &'static str)],
    code: i32,
    /// Shown in the end, and never.
    says: &'static [&'static str],
    is_silent_of: &'static [&'static str],
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "yes",
        typed: &[(QUESTION, "y\n")],
        code: 0,
        says: &[
            "userName scimgate-doctor-",
            "kinds of changes tried",
            "conditions answered 304, 412",
            "Nothing is wrong with",
        ],
        is_silent_of: &["Stopping"],
    },
    Row {
        name: "no",
        typed: &[(QUESTION, "\n")],
        code: 0,
        says: &["nothing is to be made", "Nothing is wrong with"],
        is_silent_of: &[LIFE],
    },
    Row {
        name: "interrupt_at_the_question",
        typed: &[(QUESTION, CTRL_C)],
        code: BY_SIGINT,
        says: &[],
        is_silent_of: &["Test Connection"],
    },
    Row {
        name: "interrupt_while_it_writes",
        typed: &[(QUESTION, "y\n"), (LIFE, CTRL_C)],
        code: 2,
        says: &["what was made is removed first", "broken off", "Not all was looked at."],
        is_silent_of: &["Left behind"],
    },
];

pub(crate) async fn answered(row: &Row, python: String) -> Result<(), String> {
    let service = Service::start();
    let url = format!("http://{}/scim/acme", service.address);
    let token = format!("{SECRET}\n");
    let mut typed = vec![("Secret token", token.as_str())];
    typed.extend(row.typed);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctor/terminal.py");
    let mut command = Command::new(python);
    command
        .args(["-B", script, &json!(typed).to_string(), env!("CARGO_BIN_EXE_scimgate")])
        .args(["doctor", &url, "--quick"])
        .env_remove("SCIMGATE_DOCTOR_TOKEN")
        .stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let ended = ended.map_err(|error| error.to_string())?;
    let ended = ended.map_err(|error| error.to_string())?;
    let told: Value = serde_json::from_slice(&ended.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&ended.stderr)))?;
    // As it is wrapped for people.
    let shown = told["shown"].as_str().unwrap_or_default();
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_shown = |words: &&&str| shown.contains(**words);
    if told["code"] == row.code
        && told["untyped"] == json!([])
        && row.says.iter().all(|words| is_shown(&words))
        && !row.is_silent_of.iter().any(|words| is_shown(&words))
        && users(service.address).await == 0
    {
        return Ok(());
    }
    Err(format!("{told:#}"))
}
