//! What a visit found.

use time::OffsetDateTime;

use super::{
    checks::Check,
    fault::{Fault, Severity},
    wire::Response,
};

/// Places that are kept of a fault that was met more than once.
const MAX_PLACES: usize = 8;

/// One fault, as it was met first.
#[derive(Debug)]
pub struct Finding {
    /// Which row of the table.
    pub fault: Fault,
    /// The check that met it.
    pub check: Check,
    /// The request, or whatever was done.
    pub at: String,
    /// When, in UTC.
    pub when: OffsetDateTime,
    /// Who wrote it, as far as that can be seen from here.
    pub hop: String,
    /// What was seen.
    pub seen: String,
    /// The bytes that show it; none where bytes show nothing.
    pub bytes: Vec<u8>,
    /// How often.
    pub times: usize,
    /// Where else.
    pub also: Vec<String>,
}

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To its end; what is worth telling though nothing is wrong.
    Done(Vec<String>),
    /// Not at all, and why.
    Skipped(&'static str),
    /// It was broken off: time or requests ran out, or somebody pressed Ctrl-C.
    BrokenOff(&'static str),
}

/// The report of a visit.
#[derive(Debug)]
pub struct Report {
    /// The Tenant URL.
    pub url: String,
    /// Each check, and how it went.
    pub checks: Vec<(Check, Outcome)>,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// What was made and could not be removed.
    pub left: Vec<String>,
    /// Requests that were sent.
    pub requests: usize,
    /// Seconds that it took.
    pub seconds: f64,
    /// Whether anything answered at all.
    pub is_reached: bool,
    /// Whether there was a token; without one most of an endpoint is not seen.
    pub has_token: bool,
    /// Whether all of it was done that was to be done.
    pub is_complete: bool,
}

impl Report {
    /// Whether nothing is wrong; notes may be there.
    pub fn is_clean(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.fault.entry().severity == Severity::Note)
    }
}

/// Findings, each fault once.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        let Some(known) = self.0.iter_mut().find(|known| known.fault == finding.fault) else {
            self.0.push(finding);
            return;
        };
        known.times += 1;
        if known.at != finding.at && known.also.len() < MAX_PLACES && !known.also.contains(&finding.at) {
            known.also.push(finding.at);
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.0.iter().any(|finding| finding.fault == fault)
    }

    pub(super) fn faults(&self) -> impl Iterator<Item = Fault> {
        self.0.iter().map(|finding| finding.fault)
    }

    /// Worst first, otherwise as they were met.
    pub(super) fn sorted(self) -> Vec<Finding> {
        let mut findings = self.0;
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.fault.entry().severity));
        findings
    }
}

/// Headers with which components name themselves, and what they are.
const NAMES: &[(&str, &str)] = &[
    ("x-envoy-upstream-service-time", "Envoy"),
    ("x-azure-ref", "Azure Front Door"),
    ("x-azure-functions-instanceid", "the Azure Functions host"),
    ("cf-ray", "Cloudflare"),
    ("x-amzn-trace-id", "an AWS load balancer"),
];

/// Who answered, as far as the answer tells, and how it names the request.
pub(super) fn hop(authority: &str, is_local: bool, response: Option<&Response>) -> String {
    let hop = if is_local {
        format!("the process that listens on {authority}")
    } else {
        format!(
            "whatever ends the connection at {authority} (the front end; from here nothing behind it can be told apart)"
        )
    };
    let Some(response) = response else {
        return hop;
    };
    let says = |name: &str| response.header(name).map(|value| format!("{name}: {value}"));
    let mut words: Vec<_> = ["server", "via"].into_iter().filter_map(says).collect();
    let passed = NAMES.iter().filter(|(header, _)| response.header(header).is_some());
    words.extend(passed.map(|(_, name)| format!("passed {name}")));
    words.extend(
        ["x-request-id", "x-ms-request-id", "request-id"]
            .into_iter()
            .find_map(says),
    );
    if words.is_empty() {
        return hop;
    }
    format!("{hop} [{}]", words.join(", "))
}
