//! What an error in a provisioning log says, and who wrote it.
//!
//! Entra's log prints what came back, word for word, and every component on the way words its failures differently. One table
//! ([`cause::causes`]) knows the words: who writes them, what they mean and exclude, what was lost, what to look at next, and
//! what to tell the customer. [`explain`] finds a text's row; [`log`] does so for every row of an exported provisioning log.
//! No I/O, no clock: readers and times come from whoever calls. `docs/502.md` is the page for people.

pub mod cause;
pub mod log;
pub mod message;
pub mod query;

mod causes;

use cause::{Cause, Reached, cause_of};
use causes::MAYBE_DONE;
use message::Message;

use crate::scim::error::Entry;

/// What can be said of one text.
#[derive(Debug)]
pub struct Explanation<'t> {
    /// The text, taken apart.
    pub message: Message<'t>,
    /// The row of the table.
    pub cause: &'static Cause,
    /// The rule of this service that wrote the sentence, if it is one of ours.
    pub rule: Option<&'static Entry>,
    /// What else the text gives away.
    pub notes: Vec<&'static str>,
}

impl Explanation<'_> {
    /// What to count it under: the cause's name, and of our own answers the rule's.
    pub fn name(&self) -> String {
        match self.rule {
            Some(rule) if self.cause.name == cause::OWN => format!("{} {}", cause::OWN, rule.name),
            _ => self.cause.name.to_owned(),
        }
    }

    /// Whether the request got to the application. Where the proxy tried more than once, the text tells of the last attempt
    /// only.
    pub fn reached(&self) -> Reached {
        if self.is_of_last_attempt() {
            Reached::Perhaps
        } else {
            self.cause.reached
        }
    }

    /// What may be missing or done twice.
    pub fn lost(&self) -> &'static str {
        if self.is_of_last_attempt() {
            MAYBE_DONE
        } else {
            self.cause.lost
        }
    }

    /// What to send to the customer.
    pub fn customer(&self) -> [&'static str; 3] {
        self.cause.sentences(self.rule, self.message.was_retried_by_proxy())
    }

    fn is_of_last_attempt(&self) -> bool {
        self.cause.is_of_last_attempt(self.message.was_retried_by_proxy())
    }
}

/// Explains a text.
pub fn explain(message: Message<'_>) -> Explanation<'_> {
    let cause = cause_of(&message);
    let rule = message.rule();
    let notes = NOTES.iter().filter(|note| (note.holds)(&message, cause));
    let notes = notes.map(|note| note.says).collect();
    Explanation {
        message,
        cause,
        rule,
        notes,
    }
}

/// A sentence about whatever text it holds for, beside its cause.
struct Note {
    holds: fn(&Message<'_>, &Cause) -> bool,
    says: &'static str,
}

const NOTES: &[Note] = &[
    Note {
        holds: |message, cause| cause.name.starts_with("envoy-") && message.was_retried_by_proxy(),
        says: "\"retried and the latest\": the proxy itself sent the request at least twice, and this is how the last attempt \
               ended; the earlier ones may have ended otherwise. A second attempt heals most single accidents, so look first \
               for what fails each time (the answer to this very request, the HTTP version of the hop), then for many at \
               once. A write may have taken effect in any of the attempts.",
    },
    Note {
        holds: |message, cause| {
            cause.name == "envoy-protocol-error" && message.says("reset reason:") && !message.was_retried_by_proxy()
        },
        says: "The text lacks \"retried and the latest\": the proxy did not send the request again. Retries would hide single \
               accidents of this kind and leave those that the request itself causes.",
    },
    Note {
        holds: |message, _| message.says("tls_error"),
        says: "\"TLS_error\": the connection failed in the TLS handshake (certificate, version, or plain HTTP where TLS was \
               expected), before any HTTP.",
    },
    Note {
        holds: |message, _| message.says("delayed connect error: 111") || message.says("connection refused"),
        says: "\"Connection refused\" (111): a machine answered and nothing listened on the port: a process that is starting, \
               has ended, or listens elsewhere.",
    },
    Note {
        holds: |message, _| message.scim.as_ref().is_some_and(message::Scim::is_conflict) && message.action.is_none(),
        says: "If this was a create, and the look-up before it found nobody, it can be a 502 in disguise: a first attempt made \
               the account, its answer was lost, a proxy sent the request again and got 409. Compare when the account in the \
               message was made with the time of the error: seconds apart means exactly that, and nothing is missing.",
    },
    Note {
        holds: |message, _| message.status == Some(404) && message.scim.is_some() && message.action.is_none(),
        says: "If this was a DELETE, and the first one, it can be a 502 in disguise: a first attempt deleted the account, its \
               answer was lost, and the repeated one found nothing. Nothing is left to do then.",
    },
];

#[cfg(test)]
mod tests;
