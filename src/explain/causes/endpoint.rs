//! What endpoints answer themselves, what Entra says when nobody answered, and the last resorts.

use super::{ENTRA_RETRIES, MAYBE_DONE, MAYBE_PROCESSED, WAIT};
use crate::explain::{
    cause::{
        Author::{Endpoint, Entra, Proxy, Scimgate, Unknown},
        Cause, Form, OWN, Reached, Sign, says,
    },
    query::Query,
};

const ASK: &str = "Please send us the time of the row (with its time zone) and its change id.";

pub(in crate::explain) const CAUSES: &[Cause] = &[
    Cause {
        name: OWN,
        author: Scimgate,
        signs: &[Sign::Is(Form::Own, &[])],
        reached: Reached::Yes,
        means: "scimgate answered, on purpose: the sentence says what is wrong, and docs/errors.md what to do about it.",
        excludes: "No proxy wrote it, and no time-out: the request arrived, and the answer went all the way back.",
        lost: "Nothing: what was refused was not begun, or (503, 500) is repeated without doing anything twice.",
        entra: ENTRA_RETRIES,
        next: "Open the request by its Reference.",
        queries: &[Query::Reference],
        customer: [
            "Our service received the request and answered it with the reason in the message.",
            "Nothing is lost: what was refused was not begun, and what is repeated is not done twice.",
            "What to do about it is in the advice above.",
        ],
    },
    Cause {
        name: "conflict-on-create",
        author: Endpoint,
        signs: &[Sign::Is(Form::TakenOnCreate, &[])],
        reached: Reached::Yes,
        means: "A create was refused because the account is there already. Either somebody else holds the value, or this is a 502 in \
                disguise: a first attempt made the account, its answer was lost, a proxy sent the request again and passed the 409 \
                on. The look-up before the create found nobody, which speaks for the second.",
        excludes: "The request got to the application, at least once.",
        lost: "In the second case nothing: the account exists, and Entra's next look-up finds it.",
        entra: ENTRA_RETRIES,
        next: "Compare when the account named in the message was made with the time of the row. Seconds apart: an answer was lost, \
               go on as with the 502. Long before: an account holds the value, perhaps a deactivated one; rename it or let Entra \
               match it.",
        queries: &[Query::Around, Query::HostOnly],
        customer: [
            "The account already exists in our service.",
            "If it is the same person, choose Provision on demand for that user: Entra finds the account and goes on with it.",
            "If another person holds the value, please tell us the change id of the row.",
        ],
    },
    Cause {
        name: "missing-on-delete",
        author: Endpoint,
        signs: &[Sign::Is(Form::GoneOnDelete, &[])],
        reached: Reached::Yes,
        means: "A delete found nothing. Either the account was deleted before, or this is a 502 in disguise: a first attempt deleted \
                it, its answer was lost, and a proxy sent the request again. Of another endpoint than scimgate it may also mean that \
                the address is wrong.",
        excludes: "From scimgate: that the account is still there.",
        lost: "Nothing, if the endpoint means the account.",
        entra: ENTRA_RETRIES,
        next: "Look for a DELETE of the same id that succeeded seconds before. If there is one, go on as with the 502.",
        queries: &[Query::Around, Query::HostOnly],
        customer: [
            "The endpoint says that there is no such account, so there was nothing left to delete.",
            "We are looking whether an earlier attempt deleted it.",
            "If the account can still sign in, please tell us the change id of the row.",
        ],
    },
    Cause {
        name: "scim-without-reference",
        author: Endpoint,
        signs: &[Sign::Is(Form::Foreign, &[])],
        reached: Reached::Yes,
        means: "A SCIM error without a Reference: every error of scimgate ends with one, so another or an earlier endpoint wrote \
                this, or the log cut the text off.",
        excludes: "Not a proxy: those do not speak SCIM.",
        lost: "Nothing that the text gives away.",
        entra: ENTRA_RETRIES,
        next: "Check that the Tenant URL leads to the endpoint you think it does, and look at that endpoint's own log.",
        queries: &[Query::Around],
        customer: [
            "An endpoint answered that is not the one we run today, or the message was cut off.",
            "Please send us the complete message, and the Tenant URL under Provisioning > Admin Credentials, without the token.",
            "You need not change anything until we have answered.",
        ],
    },
    Cause {
        name: "entra-no-answer",
        author: Entra,
        signs: &[
            says(&["a task was canceled"]),
            says(&["the operation has timed out"]),
            says(&["the operation was canceled"]),
            says(&["unable to connect to the remote server"]),
            says(&["the remote name could not be resolved"]),
            says(&["no such host is known"]),
            says(&["the underlying connection was closed"]),
            says(&["an error occurred while sending the request"]),
            says(&["could not establish trust relationship for the ssl/tls"]),
            says(&["the ssl connection could not be established"]),
        ],
        reached: Reached::Perhaps,
        means: "Entra's own HTTP client failed: no name, no connection, no valid certificate, or no answer in time. (The wordings are \
                those of .NET, in which Entra's service is written; none was captured for this table.)",
        excludes: "Nobody answered, so no component behind the connection wrote this.",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Check DNS and the certificate of the host name in the Tenant URL from outside, then slow requests and restarts.",
        queries: &[Query::Around, Query::Load, Query::Restarts],
        customer: [
            "Microsoft Entra could not reach our service, or waited too long for its answer.",
            MAYBE_PROCESSED,
            WAIT,
        ],
    },
    Cause {
        name: "empty-answer",
        author: Proxy,
        signs: &[Sign::Otherwise(Form::Empty)],
        reached: Reached::Perhaps,
        means: "An error without a body. scimgate's always have one, and the Functions host sends 500 and 401 without one, never 502, 503 \
                or 504: so with these something before the host answered, or the log leaves the body out.",
        excludes: "Not scimgate's own answer, if the body was really empty. (What is not HTTP at all, or has too many header lines, \
                   its HTTP library answers with an empty 400 or 431.)",
        lost: MAYBE_DONE,
        entra: ENTRA_RETRIES,
        next: "Look whether a request reached the application at that time.",
        queries: &[Query::Around, Query::HostOnly, Query::Restarts],
        customer: [
            "Something between Microsoft Entra and our application answered without saying why.",
            ASK,
            WAIT,
        ],
    },
    Cause {
        name: "unknown-page",
        author: Proxy,
        signs: &[Sign::Otherwise(Form::Page)],
        reached: Reached::Perhaps,
        means: "A page for browsers. scimgate has none, so something before it wrote this: a front end, a gateway, a firewall, or the \
                customer's own way out. Which one is not known here; title and foot of the page often name it.",
        excludes: "Not scimgate's own answer.",
        lost: NOT_DONE_PERHAPS,
        entra: ENTRA_RETRIES,
        next: "Look whether a request reached the application at that time; ask for the complete page.",
        queries: &[Query::Around, Query::HostOnly, Query::Restarts],
        customer: [
            "Something between Microsoft Entra and our application answered in our place.",
            "Please send us the complete text of the message: its title or last line names who wrote it.",
            WAIT,
        ],
    },
    Cause {
        name: "unknown",
        author: Unknown,
        signs: &[Sign::Otherwise(Form::Text)],
        reached: Reached::Perhaps,
        means: "Nobody known here writes this. It has no Reference, so scimgate did not write it, unless the log cut it off.",
        excludes: "Nothing else can be excluded from the text alone.",
        lost: NOT_DONE_PERHAPS,
        entra: ENTRA_RETRIES,
        next: "Look whether a request reached the application at that time. If Entra wrote it (a scoping filter, a missing attribute, \
               a licence), the row's steps say so, and no request was ever sent.",
        queries: &[Query::Around, Query::HostOnly],
        customer: [
            "We do not know the words of the message in your log, and are finding out who wrote it.",
            ASK,
            "You need not change anything until we have answered.",
        ],
    },
];

/// Where not even that is known.
const NOT_DONE_PERHAPS: &str = "Not to be seen from the text; whether the request reached the application decides.";
