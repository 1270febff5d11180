//! `scimgate doctor`

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use rustls::pki_types::{CertificateDer, pem::PemObject};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::show;
use crate::{
    ambient::System,
    config::forward_proxy,
    doctor::{
        self, Pace, Plan,
        checks::{Check, Row},
        endpoint::Endpoint,
        fault::Severity,
        proxy::Proxy,
        report::Report,
    },
};

mod text;

/// The exit codes: something fails; what that can't be said of; something fails with others, or now and then.
const ERRORS: u8 = 1;
const NOT_RUN: u8 = 2;
const WARNINGS: u8 = 3;
/// The same for people.
const EXIT_CODES: &str = "Exit code: 0 nothing is wrong, 1 errors were found, 3 warnings only, 2 it can't be said, or not of \
                          everything (as without a token)";
/// Longest that connections are left alone, or a restart is watched.
const MAX_TIME: u64 = 3_600;

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Doctor {
    /// The Tenant URL, as it stands in Entra; or the same path on a hop behind the front end, with http: where that is plain
    #[arg(value_name = "TENANT URL")]
    url: String,
    /// The secret token; better not here, where other users of the machine can see it: without it, it is asked for or read
    /// from standard input, where an empty line means none
    #[arg(long, env = "SCIMGATE_DOCTOR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Make, change and delete one inactive test user under example.invalid
    #[arg(long, conflicts_with = "read_only")]
    write: bool,
    /// Make nothing: only reads, and requests that every server must refuse
    #[arg(long)]
    read_only: bool,
    /// Take seconds instead of a minute; may miss what comes late or seldom
    #[arg(long)]
    quick: bool,
    /// Leave connections alone for as long as this; 245 covers Azure's load balancers
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_TIME))]
    idle: Option<u64>,
    /// Watch for as long as this, instead of all else, while somebody restarts the service or deploys: what is lost, on old
    /// and on new connections, and for how long. Only reads; Ctrl-C ends it with the report
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["write", "quick", "idle"])]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MAX_TIME))]
    watch: Option<u64>,
    /// Believe these certificate authorities, too: a PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    output: show::Output,
}

/// Returns the exit code, as in [`EXIT_CODES`].
pub(super) async fn run(command: &Doctor) -> u8 {
    match visit(command).await {
        Ok(code) => code,
        Err(error) => {
            show::say(format_args!("scimgate: {error:#}\n"));
            NOT_RUN
        }
    }
}

async fn visit(command: &Doctor) -> anyhow::Result<u8> {
    let endpoint = Endpoint::parse(&command.url).map_err(|why| anyhow!(why))?;
    let proxy = proxy(&endpoint)?;
    let authorities = command.ca.as_deref().map(authorities).transpose()?.unwrap_or_default();
    let is_read_only = command.read_only || command.watch.is_some();
    if !command.write && !is_read_only && !io::stdin().is_terminal() {
        bail!("say --write (one inactive test user is made, changed and deleted) or --read-only (nothing is made)");
    }
    let token = match &command.token {
        Some(token) => Some(token.clone()),
        None => ask_for_token()?,
    };
    let token = token
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty());
    if token
        .as_deref()
        .is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        bail!("the token has characters that no token has");
    }
    let may_write = match (command.write, is_read_only) {
        _ if token.is_none() => false,
        (true, _) => true,
        (_, true) => false,
        _ => may_write(&endpoint)?,
    };
    let plan = Plan {
        endpoint,
        token,
        proxy,
        authorities,
        may_write,
        pace: pace(command),
    };
    let stop = Arc::new(Notify::new());
    let signals = Signals::new().context("signals can't be listened to")?;
    let signals = tokio::spawn(pass_signals(signals, Arc::clone(&stop), may_write));
    if command.watch.is_none() {
        show::takes_long(&takes(command, may_write));
    }
    let begins = |row: &Row| match (row.check, command.watch) {
        (Check::Watch, Some(seconds)) => show::say(format_args!(
            "\nWatching for {seconds} s: restart the service now. Ctrl-C ends it with the report.\n"
        )),
        _ => show::progress(&format!("{} …", row.title)),
    };
    let report = doctor::run(plan, Arc::new(System), &begins, &stop).await;
    show::progress("");
    signals.abort();
    let report = report.map_err(|why| anyhow!(why))?;
    command.output.print(&text::json(&report), &text::text(&report))?;
    Ok(code(&report))
}

/// How long it takes, and how it ends sooner.
fn takes(command: &Doctor, may_write: bool) -> String {
    let time = match (command.quick, command.idle) {
        (true, None) => "some seconds".to_owned(),
        (_, idle) => format!("about {} minutes", (idle.unwrap_or(30) + 45).div_ceil(60).max(2)),
    };
    let end = if may_write {
        "still removes what was made"
    } else {
        "ends it with the report"
    };
    format!("This takes {time}; an interrupt (Ctrl-C) {end}.")
}

fn pace(command: &Doctor) -> Pace {
    let pace = if command.quick { Pace::quick() } else { Pace::standard() };
    let pace = match command.idle {
        Some(seconds) => pace.with_idle(Duration::from_secs(seconds)),
        None => pace,
    };
    match command.watch {
        Some(seconds) => pace.with_watch(Duration::from_secs(seconds)),
        None => pace,
    }
}

fn code(report: &Report) -> u8 {
    let worst = report
        .findings
        .iter()
        .map(|finding| finding.fault.entry().severity)
        .max();
    match (report, worst) {
        (Report { is_reached: false, .. }, _) => NOT_RUN,
        (_, Some(Severity::Error)) => ERRORS,
        (Report { is_complete: false, .. } | Report { has_token: false, .. }, _) => NOT_RUN,
        (_, Some(Severity::Warning)) => WARNINGS,
        (_, Some(Severity::Note) | None) => 0,
    }
}

/// The signals are told first, and people then: nobody may be there to read it.
async fn pass_signals(mut signals: Signals, stop: Arc<Notify>, may_write: bool) {
    let mut is_stopping = false;
    while let Some(is_interrupt) = signals.next().await {
        // A terminal that is closed sends more than one hang-up, and so does who shuts a machine down.
        if is_interrupt || !is_stopping {
            stop.notify_one();
        }
        is_stopping = true;
        show::progress("");
        show::say(if may_write {
            format_args!("Stopping; what was made is removed first (Ctrl-C again: leave it).\n")
        } else {
            format_args!("Stopping.\n")
        });
    }
}

/// What asks to stop: Ctrl-C, and on Unix also SIGTERM and SIGHUP.
#[cfg(unix)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Whether it is Ctrl-C.
    async fn next(&mut self) -> Option<bool> {
        tokio::select! {
            come = self.interrupt.recv() => come.map(|()| true),
            come = self.terminate.recv() => come.map(|()| false),
            come = self.hang_up.recv() => come.map(|()| false),
        }
    }
}

/// The same where there is only one.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Option<bool> {
        tokio::signal::ctrl_c().await.is_ok().then_some(true)
    }
}

/// As the environment says. To http: addresses, which are hops behind the front end, there is none.
fn proxy(endpoint: &Endpoint) -> anyhow::Result<Option<Proxy>> {
    let address = format!("https://{}/", endpoint.authority);
    let address = address.parse().context("the Tenant URL has a name that can't be one")?;
    let Some(named) = forward_proxy(&address).filter(|_| endpoint.is_https) else {
        return Ok(None);
    };
    let uri = named.uri();
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        bail!(
            "HTTPS_PROXY or ALL_PROXY names a proxy that is not spoken to as http://…; set NO_PROXY={} to do without it",
            endpoint.host
        );
    };
    Ok(Some(Proxy {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: uri.port_u16().unwrap_or(80),
        authorization: named.basic_auth().cloned(),
    }))
}

fn authorities(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{} has no certificates that can be read", file.display()))?;
    if certificates.is_empty() {
        bail!("{} has no certificate in it", file.display());
    }
    Ok(certificates)
}

/// From standard input; an empty line means that there is none.
fn ask_for_token() -> anyhow::Result<Option<String>> {
    if io::stdin().is_terminal() {
        eprint!("Secret token (it is shown as you paste it; empty: go on without): ");
        io::stderr().flush()?;
    }
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("the token can't be read")?;
    Ok(Some(line))
}

fn may_write(endpoint: &Endpoint) -> anyhow::Result<bool> {
    eprintln!(
        "\nTo see what Entra sees, one test user is made at {}, changed and deleted again:\n  userName \
         scimgate-doctor-<random>@example.invalid, active false, work e-mail the same.\nAn application may all the same send \
         an invitation or count a licence. Without it, nothing is made.\n",
        endpoint.authority
    );
    eprint!("Make the test user? [y/N] ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::{ERRORS, NOT_RUN, Report, WARNINGS, code};
    use crate::doctor::{checks::Check, fault::Fault, report::Finding};

    fn report(faults: &[Fault], is_complete: bool) -> Report {
        let finding = |fault: &Fault| Finding {
            fault: *fault,
            check: Check::Wire,
            at: String::new(),
            when: OffsetDateTime::UNIX_EPOCH,
            hop: String::new(),
            seen: String::new(),
            bytes: Vec::new(),
            times: 1,
            also: Vec::new(),
        };
        Report {
            url: String::new(),
            checks: Vec::new(),
            findings: faults.iter().map(finding).collect(),
            left: Vec::new(),
            requests: 1,
            seconds: 1.0,
            is_reached: !faults.contains(&Fault::NoConnection),
            has_token: true,
            is_complete,
        }
    }

    #[test]
    fn the_exit_code_tells_how_bad_it_is() {
        let (note, warning, error) = (Fault::PlainHttp, Fault::Slow, Fault::DeleteFails);
        assert_eq!(code(&report(&[note], true)), 0);
        assert_eq!(code(&report(&[note], false)), NOT_RUN);
        assert_eq!(code(&report(&[note, warning], true)), WARNINGS);
        assert_eq!(
            code(&report(&[warning], false)),
            NOT_RUN,
            "an error may have been missed"
        );
        assert_eq!(code(&report(&[warning, error], true)), ERRORS);
        assert_eq!(code(&report(&[error], false)), ERRORS);
        assert_eq!(code(&report(&[Fault::NoConnection], true)), NOT_RUN);
        let without_token = |faults: &[Fault]| Report {
            has_token: false,
            ..report(faults, true)
        };
        assert_eq!(code(&without_token(&[note])), NOT_RUN);
        assert_eq!(code(&without_token(&[error])), ERRORS);
    }
}
