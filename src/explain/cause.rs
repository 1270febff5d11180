//! What a row of the table of causes holds, and which row a text belongs to.

use super::{
    causes::{MAYBE_PROCESSED, azure, endpoint, envoy},
    log::record::Action,
    message::Message,
    query::Query,
};
use crate::scim::error::Entry;

/// Name of the cause of our own answers; the rule's name stands behind it.
pub const OWN: &str = "scimgate";

/// One row of the table.
#[derive(Debug)]
pub struct Cause {
    /// Its stable name.
    pub name: &'static str,
    /// Who writes such a text.
    pub author: Author,
    /// How it is known: any of these.
    pub signs: &'static [Sign],
    /// Whether the request got to the application.
    pub reached: Reached,
    /// What it means.
    pub means: &'static str,
    /// What it is not.
    pub excludes: &'static str,
    /// What may be missing or done twice.
    pub lost: &'static str,
    /// What Entra does by itself.
    pub entra: &'static str,
    /// What to look at next.
    pub next: &'static str,
    /// The queries for that.
    pub queries: &'static [Query],
    /// What to send to the customer.
    pub customer: [&'static str; 3],
}

impl Cause {
    /// Whether the words alone give a component between client and application away.
    pub fn is_of_component(&self) -> bool {
        let is_said = self.signs.iter().any(|sign| matches!(sign, Sign::Says { .. }));
        is_said && self.author != Author::Entra
    }

    /// The last attempt did not get to the application; where there was more than one, an earlier one may have.
    pub fn is_of_last_attempt(&self, retried: bool) -> bool {
        retried && self.reached == Reached::No
    }

    /// What to send to the customer; of our own answers the rule's advice is a part.
    pub fn sentences(&self, rule: Option<&Entry>, retried: bool) -> [&'static str; 3] {
        let mut sentences = self.customer;
        if self.is_of_last_attempt(retried) {
            sentences[1] = MAYBE_PROCESSED;
        }
        if let Some(rule) = rule {
            sentences[2] = rule.advice;
        }
        sentences
    }
}

/// A component on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Author {
    /// An Envoy, wherever it stands.
    Envoy,
    /// The Azure Functions host.
    FunctionsHost,
    /// App Service: front end, or the worker's web server.
    AppService,
    /// Application Gateway.
    ApplicationGateway,
    /// Azure Front Door.
    FrontDoor,
    /// Another proxy.
    Proxy,
    /// scimgate.
    Scimgate,
    /// A SCIM endpoint, whichever.
    Endpoint,
    /// Entra's provisioning service itself.
    Entra,
    /// Nobody knows.
    Unknown,
}

impl Author {
    /// For people.
    pub fn says(self) -> &'static str {
        match self {
            Self::Envoy => "a proxy: Envoy",
            Self::FunctionsHost => "the Azure Functions host",
            Self::AppService => "App Service",
            Self::ApplicationGateway => "Application Gateway",
            Self::FrontDoor => "Azure Front Door",
            Self::Proxy => "a proxy or gateway",
            Self::Scimgate => "scimgate",
            Self::Endpoint => "a SCIM endpoint",
            Self::Entra => "Entra's provisioning service",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a request got to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// The text excludes it.
    No,
    /// The text leaves it open: query 04 decides.
    Perhaps,
    /// The application answered.
    Yes,
}

impl Reached {
    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Perhaps => "perhaps",
            Self::Yes => "yes",
        }
    }
}

/// What gives a cause away.
#[derive(Debug)]
pub enum Sign {
    /// The body has all of these words and none of those, folded as [`Message::says`] does.
    Says {
        /// What it has.
        all: &'static [&'static str],
        /// What it has not.
        none: &'static [&'static str],
    },
    /// The answer is of this form, with one of these statuses; none: whatever the status.
    Is(Form, &'static [u16]),
    /// The answer is of this form, and nothing else in the table knows it.
    Otherwise(Form),
}

/// The words, and no exceptions.
pub(super) const fn says(all: &'static [&'static str]) -> Sign {
    Sign::Says { all, none: &[] }
}

/// What kind of answer it is; each is exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With our reference at the end.
    Own,
    /// A SCIM error without one.
    Foreign,
    /// A SCIM 409 that answers a create.
    TakenOnCreate,
    /// A SCIM 404 that answers a delete.
    GoneOnDelete,
    /// Nothing but a status.
    Empty,
    /// A page for browsers.
    Page,
    /// Any other text.
    Text,
}

impl Form {
    fn of(message: &Message<'_>) -> Self {
        let is_answer = message.scim.is_some() || message.reference.is_some();
        let conflict = message.scim.as_ref().is_some_and(super::message::Scim::is_conflict);
        // Ours says more than its status does: an address that is none is 404 too.
        let may_be = |names: &[&str]| message.rule().is_none_or(|rule| names.contains(&rule.name));
        match message.action {
            Some(Action::Create) if conflict && may_be(&["unique-taken", "group-taken"]) => Self::TakenOnCreate,
            Some(Action::Delete) if is_answer && message.status == Some(404) && may_be(&["not-found"]) => {
                Self::GoneOnDelete
            }
            _ if message.reference.is_some() => Self::Own,
            _ if message.scim.is_some() => Self::Foreign,
            _ if message.body.is_empty() => Self::Empty,
            _ if message.is_page() => Self::Page,
            _ => Self::Text,
        }
    }
}

impl Sign {
    fn fits(&self, message: &Message<'_>, form: Form) -> bool {
        match self {
            Self::Says { all, none } => {
                // An answer of an application may quote anything.
                matches!(form, Form::Page | Form::Text)
                    && all.iter().all(|words| message.says(words))
                    && !none.iter().any(|words| message.says(words))
            }
            Self::Is(known, statuses) => {
                *known == form
                    && (statuses.is_empty() || message.status.is_some_and(|status| statuses.contains(&status)))
            }
            Self::Otherwise(_) => false,
        }
    }
}

/// The whole table.
pub fn causes() -> impl Iterator<Item = &'static Cause> {
    [envoy::CAUSES, azure::CAUSES, endpoint::CAUSES].into_iter().flatten()
}

/// The row with this name.
pub fn named(name: &str) -> Option<&'static Cause> {
    causes().find(|cause| cause.name == name)
}

/// All rows that know the text; a test sees to it that it is never more than one.
pub(super) fn known(message: &Message<'_>) -> Vec<&'static Cause> {
    let form = Form::of(message);
    let fits = |cause: &&Cause| cause.signs.iter().any(|sign| sign.fits(message, form));
    causes().filter(fits).collect()
}

pub(super) fn cause_of(message: &Message<'_>) -> &'static Cause {
    if let Some(cause) = known(message).first() {
        return cause;
    }
    let form = Form::of(message);
    let last = |cause: &&Cause| {
        let mut signs = cause.signs.iter();
        signs.any(|sign| matches!(sign, Sign::Otherwise(known) if *known == form))
    };
    causes().find(last).expect("the table has a last resort for every form")
}
