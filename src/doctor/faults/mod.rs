//! The rows of the table of faults.

use super::fault::{Effect, Entry, Fault, Severity};

pub(super) mod answer;
pub(super) mod connection;
pub(super) mod http1;

const fn row(
    fault: Fault,
    id: &'static str,
    severity: Severity,
    title: &'static str,
    effect: Effect,
    advice: &'static str,
) -> Entry {
    Entry {
        fault,
        id,
        severity,
        title,
        effect,
        advice,
    }
}
