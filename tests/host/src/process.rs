//! The handler's process: environment, output, end.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::identifier;
use crate::log::{Level, Line, Log, Source};
use crate::settings::Settings;

/// How many of the newest stderr lines an error event carries.
const STDERR_LINES: usize = 3;

/// How long the host waits for the process after it killed it.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// How long the last stderr lines may take to arrive after the process ended (a grandchild may hold the pipe).
const OUTPUT_WAIT: Duration = Duration::from_millis(200);

/// A running handler. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    pid: u32,
    newest_errors: Arc<Mutex<VecDeque<String>>>,
    stderr: JoinHandle<()>,
}

/// How a handler ended by itself.
pub(crate) struct Exit {
    /// `None`: by a signal.
    pub(crate) code: Option<i32>,
    /// What the host logs about it.
    pub(crate) text: String,
}

impl Process {
    /// Starts the handler. Its stdin is the host's own.
    pub(crate) fn spawn(settings: &Settings, port: u16, log: &Log) -> io::Result<Self> {
        let id = identifier::guid();
        let port = port.to_string();
        let root = settings.root.display().to_string();
        let mut child = Command::new(&settings.program)
            .args(&settings.arguments)
            .current_dir(&settings.directory)
            .env_clear()
            .envs(&settings.environment)
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", &port)
            .env("FUNCTIONS_HTTPWORKER_PORT", &port)
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", &id)
            .env("FUNCTIONS_HTTPWORKER_ID", &id)
            .env("FUNCTIONS_APP_ROOT_PATH", root)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        let newest_errors = Arc::<Mutex<VecDeque<String>>>::default();
        if let Some(stdout) = child.stdout.take() {
            let (log, minimum) = (log.clone(), settings.console_level);
            tokio::spawn(each_line(stdout, move |text| {
                write(&log, minimum, Level::Information, text);
            }));
        }
        let stderr = child.stderr.take();
        let (log, minimum) = (log.clone(), settings.console_level);
        let (errors_only, newest) = (settings.stderr_for_errors_only, Arc::clone(&newest_errors));
        let stderr = tokio::spawn(async move {
            let Some(stderr) = stderr else { return };
            each_line(stderr, |text| {
                if text.contains("EADDRINUSE") || text.to_lowercase().contains("address already in use") {
                    log.error("Port is already in use. Process cannot start.");
                }
                write(&log, minimum, stderr_level(text, errors_only), text);
                let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
                newest.push_back(text.to_owned());
                let surplus = newest.len().saturating_sub(STDERR_LINES);
                newest.drain(..surplus);
            })
            .await;
        });
        Ok(Self {
            child,
            pid,
            newest_errors,
            stderr,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(&mut self) -> Exit {
        let status = self.child.wait().await;
        let _ = tokio::time::timeout(OUTPUT_WAIT, &mut self.stderr).await;
        let newest = self.newest_errors.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<&str> = newest.iter().map(String::as_str).collect();
        let code = status.as_ref().ok().and_then(ExitStatus::code);
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        Exit {
            code,
            text: format!("Process {} ended ({how}). {}", self.pid, said.join(" "))
                .trim_end()
                .to_owned(),
        }
    }

    /// `SIGKILL`, without a wait: the end is seen by [`Process::ended`] like any crash.
    pub(crate) fn crash(&mut self) {
        // The process may just have ended by itself.
        let _ = self.child.start_kill();
    }

    /// What the host does to stop a handler: `SIGKILL`, never `SIGTERM`.
    pub(crate) async fn kill(mut self) {
        self.crash();
        let _ = tokio::time::timeout(KILL_WAIT, self.child.wait()).await;
    }
}

async fn each_line(output: impl AsyncRead + Unpin, mut take: impl FnMut(&str)) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(output.read_until(b'\n', &mut line).await, Ok(1..)) {
        take(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
}

fn write(log: &Log, minimum: Level, level: Level, text: &str) {
    let system = text.strip_prefix("LanguageWorkerConsoleLog");
    let tooling = text.strip_prefix("azfuncjsonlog:");
    let (source, text) = match (system, tooling) {
        (Some(text), _) => (Source::System, text),
        (None, Some(text)) => (Source::Tooling, text),
        (None, None) => (Source::Console, text),
    };
    if source != Source::Console || level >= minimum {
        log.write(Line {
            level,
            source,
            text: text.to_owned(),
        });
    }
}

fn stderr_level(text: &str, errors_only: bool) -> Level {
    let text = text.to_lowercase();
    let sounds_like_error = ["error", "fail", "severe", "unhandled exception"]
        .iter()
        .any(|word| text.contains(word));
    if text.contains("warn") {
        Level::Warning
    } else if errors_only || sounds_like_error {
        Level::Error
    } else {
        Level::Information
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, errors_only: bool, expected: Level) {
        assert_eq!(stderr_level(text, errors_only), expected, "{text}");
    }

    #[test]
    fn stderr_is_an_error_unless_it_warns() {
        check("anything", true, Level::Error);
        check("WARNING: low", true, Level::Warning);
        check("a warning about an error", true, Level::Warning);
    }

    #[test]
    fn stderr_is_information_unless_it_sounds_like_an_error() {
        check("anything", false, Level::Information);
        check("It Failed", false, Level::Error);
        check("SEVERE", false, Level::Error);
        check("Unhandled exception. x", false, Level::Error);
        check("warn: it failed", false, Level::Warning);
    }
}
