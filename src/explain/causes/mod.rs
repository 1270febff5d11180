//! The rows of the table, by where the texts come from.

pub(super) mod azure;
pub(super) mod endpoint;
pub(super) mod envoy;

/// What Entra does about a failed change, whatever the reason (Microsoft: how provisioning works, quarantine status).
const ENTRA_RETRIES: &str = "\
    Entra keeps the change and tries it again in a later cycle (about every 40 minutes), with growing pauses; \"It will be retried \
    again after this date\" names the next time. When most calls fail, it puts the job into quarantine: then one cycle a day, and \
    after four weeks the job is switched off.";
/// Where a text cannot say whether a write took effect.
pub(super) const MAYBE_DONE: &str = "\
    Perhaps nothing: the answer was lost, and the change itself may have taken effect. A repeated create is then answered 409 or \
    found by the look-up before it; a repeated delete finds nothing.";
/// Where the request ended before the application.
const NOT_DONE: &str =
    "Nothing was written: this request did not get to the application. The change waits for Entra's next try.";
/// The same, for the customer.
pub(super) const MAYBE_PROCESSED: &str = "The change may have been completed all the same; Entra's next try finds out.";
/// The customer need not act.
const WAIT: &str = "\
    You need not change anything in Entra: it repeats the change by itself in a later cycle, and nothing is created twice.";
