//! What is wrong with a SCIM endpoint, seen from outside: any endpoint, on any hop, over sockets of our own.
//!
//! [`visit`](self::run) runs the [`checks`], which read every byte of every answer ([`wire`]) and write down what is in the
//! table of [`fault`]s. It makes one test user at most, and removes it.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::CertificateDer;
use tokio::{sync::Notify, time::Instant};

use crate::ambient::Ambient;

pub mod checks;
pub mod endpoint;
pub mod fault;
pub mod proxy;
pub mod report;
pub mod wire;

mod connection;
mod faults;
mod http2;
mod request;
mod session;
mod tls;
mod visit;

use checks::{CHECKS, Check, INTERRUPTED, Made, Row};
use endpoint::Endpoint;
use fault::{Fault, Flaw};
use proxy::Proxy;
use report::{Outcome, Report};
use visit::{Visit, lock};

/// How long and how much.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Nothing may come for so long behind an answer.
    pub silence: Duration,
    /// An answer must be there after so long.
    pub patience: Duration,
    /// Between two requests.
    pub spacing: Duration,
    /// Connections are left alone for these times.
    pub idle: Vec<Duration>,
    /// 25 requests a second for so long.
    pub burst: Duration,
    /// Requests with a large body.
    pub unread: usize,
    /// Its bytes.
    pub body: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: usize,
    /// A restart is watched for so long, and nothing else is looked at.
    pub watch: Option<Duration>,
    /// No request goes out after so long.
    pub total: Duration,
}

impl Pace {
    /// What finds all that can be found in about a minute.
    pub fn standard() -> Self {
        Self {
            silence: Duration::from_millis(500),
            patience: Duration::from_secs(20),
            spacing: Duration::from_millis(50),
            idle: [4, 6, 30].map(Duration::from_secs).to_vec(),
            burst: Duration::from_secs(10),
            unread: 3,
            body: 5 * 1024 * 1024,
            streams: 50,
            watch: None,
            total: Duration::from_mins(10),
        }
    }

    /// The same in some seconds; what comes late or seldom may be missed.
    pub fn quick() -> Self {
        Self {
            silence: Duration::from_millis(150),
            patience: Duration::from_secs(5),
            idle: vec![Duration::from_secs(2)],
            burst: Duration::from_secs(2),
            unread: 1,
            total: Duration::from_mins(2),
            ..Self::standard()
        }
    }

    /// Also leaves connections alone for as long as this.
    #[must_use]
    pub fn with_idle(mut self, longest: Duration) -> Self {
        let steps = [60, 120, 239, 245].map(Duration::from_secs);
        self.idle.extend(steps);
        self.idle.push(longest);
        self.idle.retain(|time| *time <= longest);
        self.idle.sort_unstable();
        self.idle.dedup();
        self.total += longest;
        self
    }

    /// Watches a restart instead.
    #[must_use]
    pub fn with_watch(mut self, time: Duration) -> Self {
        self.watch = Some(time);
        self.total += time;
        self
    }
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// Where.
    pub endpoint: Endpoint,
    /// The secret token; without one only what needs none is looked at.
    pub token: Option<String>,
    /// The way to it, where it is https and there is no other.
    pub proxy: Option<Proxy>,
    /// Certificate authorities to be believed beside the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Whether the test user may be made.
    pub may_write: bool,
    /// How long and how much.
    pub pace: Pace,
}

/// Runs all checks. `progress` is told which one begins; `stop` ends them early, a second time also the removal of what was
/// made. The error says why nothing could be done.
pub async fn run(
    plan: Plan,
    ambient: Arc<dyn Ambient>,
    progress: &dyn Fn(&Row),
    stop: &Notify,
) -> Result<Report, String> {
    let began = Instant::now();
    let visit = Visit::new(plan, ambient).map_err(|error| format!("TLS can't be set up: {error}"))?;
    let mut checks = Vec::new();
    let is_watch = visit.pace.watch.is_some();
    let mut is_stopped = false;
    // What Test Connection met. What happens later happens now and then, and stops nothing.
    let mut met = Vec::new();
    for row in CHECKS.iter().filter(|row| row.check.is_part(is_watch)) {
        let outcome = match reason_to_skip(&visit, row.check, &met) {
            _ if is_stopped => Outcome::Skipped(INTERRUPTED),
            Some(reason) => Outcome::Skipped(reason),
            None => {
                progress(row);
                row.check.run(&visit, stop).await
            }
        };
        is_stopped |= outcome == Outcome::BrokenOff(INTERRUPTED);
        let outcome = match outcome {
            Outcome::Done(told) => Outcome::Done(told.iter().map(|told| visit.shown(told)).collect()),
            other => other,
        };
        checks.push((row.check, outcome));
        if row.check == Check::Reach {
            met = visit.faults();
        }
    }
    // What was made was made there.
    visit.begin(Check::Entra);
    let left = tokio::select! {
        left = checks::clean_up(&visit) => left,
        () = given_up(stop, is_stopped) => lock(&visit.made).iter().map(Made::describe).collect(),
    };
    let left: Vec<_> = left.iter().map(|left| visit.shown(left)).collect();
    for left in &left {
        visit.found("the end of the visit", Flaw::new(Fault::LeftBehind, left, b""), None);
    }
    let is_broken_off = |(_, outcome): &(Check, Outcome)| matches!(outcome, Outcome::BrokenOff(_));
    Ok(Report {
        url: visit.endpoint.url(),
        has_token: visit.token.is_some(),
        is_reached: !met.contains(&Fault::NoConnection),
        is_complete: !checks.iter().any(is_broken_off),
        findings: visit.take_findings().sorted(),
        checks,
        left,
        requests: visit.requests(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Who has stopped the checks, or could not as they had ended, says once more that what was made may stay.
async fn given_up(stop: &Notify, is_stopped: bool) {
    if !is_stopped {
        stop.notified().await;
    }
    stop.notified().await;
}

/// `met`: the faults of Test Connection.
fn reason_to_skip(visit: &Visit, check: Check, met: &[Fault]) -> Option<&'static str> {
    let has_met = |fault| met.contains(&fault);
    match check {
        Check::Reach => None,
        _ if has_met(Fault::NoConnection) => Some("there is no connection"),
        _ if has_met(Fault::TenantUrl) => Some("the Tenant URL is another one"),
        _ if has_met(Fault::TenantPaused) => Some("the tenant is paused"),
        _ if has_met(Fault::PlainPort) => Some("the port speaks no TLS"),
        Check::Versions => None,
        _ if has_met(Fault::Certificate) => Some("the certificate is not accepted"),
        _ if has_met(Fault::Handshake) => Some("the TLS handshake fails"),
        Check::Streams => None,
        // Waiting for more of it is of no use.
        _ if MUTE.iter().any(|fault| has_met(*fault)) => Some("Test Connection got no answer"),
        Check::Entra | Check::Burst if visit.token.is_none() => Some("no token was given"),
        Check::Entra if !visit.may_write => Some("nothing is to be made"),
        Check::Entra | Check::Burst | Check::Watch if has_met(Fault::CredentialRefused) => Some("the token is refused"),
        Check::Entra | Check::Burst | Check::Watch if has_met(Fault::ProxyText) && has_met(Fault::TestConnection) => {
            Some("something in front of the application refuses Test Connection")
        }
        Check::Wire | Check::Reuse | Check::Unread | Check::Burst | Check::Entra | Check::Idle | Check::Watch => None,
    }
}

/// What makes an endpoint mute.
const MUTE: [Fault; 3] = [Fault::NoAnswer, Fault::Http2Frames, Fault::TlsBytes];

#[cfg(test)]
mod tests;
