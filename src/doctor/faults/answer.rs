//! Of what is answered.

use super::row;
use crate::doctor::fault::{
    Effect, Entry, Fault,
    Severity::{Error, Note, Warning},
};

pub(in crate::doctor) const ENTRIES: &[Entry] = &[
    row(
        Fault::ProxyText,
        "proxy-text",
        Error,
        "Something in front of the application answered in its place",
        Effect::Says("This is what customers see. The fault is in what wrote the text, behind it, or between the two."),
        "'scimgate explain' says more about the text; run doctor against the hop behind what wrote it.",
    ),
    row(
        Fault::ServerError,
        "server-error",
        Error,
        "A server error was answered",
        Effect::Says(
            "Entra counts it as a failure and repeats the change later; most calls failing puts the job into \
         quarantine.",
        ),
        "See the server's log at this time.",
    ),
    row(
        Fault::TenantPaused,
        "tenant-paused",
        Error,
        "The tenant is paused",
        Effect::Says(
            "Every request is answered 503. Identity providers come again by themselves, and go on when the pause is over.",
        ),
        "'scimgate tenant resume <tenant>' lets it go on; come again a minute later. Nothing else was looked at.",
    ),
    row(
        Fault::Throttled,
        "throttled",
        Warning,
        "Requests below 25 a second are refused as too many",
        Effect::Says(
            "Microsoft asks for 25 requests a second and tenant; below that, cycles take long and jobs end in \
         quarantine.",
        ),
        "Raise the limit, and always send Retry-After with 429.",
    ),
    row(
        Fault::CredentialRefused,
        "credential-refused",
        Error,
        "The secret token is refused",
        Effect::Says("Entra says that the credentials are invalid and stops at once."),
        "Give the token as it stands in Entra, without \"Bearer \"; see whether it has expired or was \
         revoked.",
    ),
    row(
        Fault::CredentialIgnored,
        "credential-ignored",
        Error,
        "A request without a valid token is answered with data",
        Effect::Says("Everybody can read and change the accounts."),
        "Refuse with 401, on every path.",
    ),
    row(
        Fault::NoChallenge,
        "no-challenge",
        Note,
        "A 401 has no WWW-Authenticate",
        Effect::Says("Nothing fails with Entra; RFC 6750 asks for it."),
        "Send WWW-Authenticate: Bearer.",
    ),
    row(
        Fault::WrongStatus,
        "wrong-status",
        Warning,
        "A refusal has another status than SCIM says",
        Effect::Says(
            "Identity providers decide by the status: a 404 instead of an empty list, or a 500 instead of a 400, \
         fails what would have worked.",
        ),
        "Answer as RFC 7644 §3.12 says.",
    ),
    row(
        Fault::BrokenAccepted,
        "broken-accepted",
        Error,
        "A create that must be refused is answered with success",
        Effect::Says(
            "Accounts are made that nobody can match to a person; one was perhaps made here, with the id that was seen.",
        ),
        "Refuse with 400 what is no JSON or lacks userName (RFC 7644 §3.12); remove the account by hand where it is still there.",
    ),
    row(
        Fault::ErrorForm,
        "error-form",
        Note,
        "An error is no SCIM error",
        Effect::Says("The provisioning log shows a text that nobody can act on."),
        "Answer with the SCIM error schema, status as a string, and a detail (RFC 7644 §3.12).",
    ),
    row(
        Fault::MediaType,
        "media-type",
        Note,
        "An answer is neither application/scim+json nor application/json",
        Effect::Says("Some clients refuse to parse it."),
        "Answer application/scim+json.",
    ),
    row(
        Fault::TestConnection,
        "test-connection",
        Error,
        "Test Connection fails",
        Effect::Says("Entra refuses to save the credentials: \"appears to be incompatible\"."),
        "A filter that finds nobody is 200 with an empty ListResponse, never 404 (RFC 7644 §3.4.2).",
    ),
    row(
        Fault::CreateFails,
        "create-fails",
        Error,
        "An account cannot be created",
        Effect::Says("Nobody new is provisioned."),
        "See what was answered. Entra's body is not negotiable: accept it.",
    ),
    row(
        Fault::CreatedAnswer,
        "created-answer",
        Warning,
        "The answer to a create lacks what it must have",
        Effect::Says("Entra keeps the id for every later change; without it the account cannot be found again."),
        "Answer 201 with the whole resource, its id and meta.location (RFC 7644 §3.3).",
    ),
    row(
        Fault::LookUpFails,
        "look-up-fails",
        Error,
        "An account that exists is not found",
        Effect::Says("Entra creates it again, and gets 409 for ever."),
        "Filters for userName and externalId must see a create at once; userName whatever its case (RFC 7643 \
         §4.1.1).",
    ),
    row(
        Fault::DuplicateAccepted,
        "duplicate-accepted",
        Error,
        "A second account of the same userName is accepted",
        Effect::Says("A repeated create (after a lost answer) makes a double, and matching fails for both."),
        "userName is unique: answer 409 with scimType uniqueness (RFC 7644 §3.3).",
    ),
    row(
        Fault::PatchFails,
        "patch-fails",
        Error,
        "A change in a dialect of Entra is refused",
        Effect::Says("This kind of change fails in every cycle."),
        "Accept it as it is: capital operations, \"True\" and \"False\", paths with filters, values without a \
         path, dotted keys.",
    ),
    row(
        Fault::PatchLost,
        "patch-lost",
        Error,
        "A change was answered with success, and is not there",
        Effect::Says("Entra believes that it is done and never sends it again."),
        "Apply the change or refuse it; never answer success for what is ignored.",
    ),
    row(
        Fault::DisableLost,
        "disable-lost",
        Error,
        "An account that was disabled is active",
        Effect::Says("Who has left keeps access, and nobody is told."),
        "Understand active as false, \"False\" and \"false\", with and without a path.",
    ),
    row(
        Fault::DeleteFails,
        "delete-fails",
        Error,
        "An account cannot be deleted",
        Effect::Says("Accounts of leavers stay."),
        "Answer DELETE with 204, and 404 when it is gone already.",
    ),
    row(
        Fault::DeletedShown,
        "deleted-shown",
        Error,
        "A deleted account is still answered",
        Effect::Says("Entra believes that it exists: who comes back is never created again."),
        "A deleted resource is 404, and in no list (RFC 7644 §3.6).",
    ),
    row(
        Fault::Slow,
        "slow",
        Warning,
        "An answer takes longer than 5 seconds",
        Effect::Says("Cycles take long; clients give up, repeat a create and get 409."),
        "Look for missing indexes and cold starts.",
    ),
    row(
        Fault::RequestsLost,
        "requests-lost",
        Error,
        "Requests were lost while the endpoint was watched",
        Effect::Says(
            "Whoever asked then got an error: the other findings of this check say which. A write that was under way may have \
             taken effect without an answer; Entra repeats it later.",
        ),
        "Start the new instance before the old one ends. The old one says first that it is not ready, goes on answering until \
         whatever is in front has noticed, ends its connections with Connection: close or GOAWAY, finishes what is under way, and \
         only then stops.",
    ),
    row(
        Fault::AnswerChanges,
        "answer-changes",
        Error,
        "The same request was answered with another status for a while",
        Effect::Says(
            "A host that has not loaded its application yet says 404 or 401: Entra takes the one for an account that is gone, the \
             other for a token that is wrong.",
        ),
        "Let an instance get requests only when it is ready: a health check of what is in front, with a path that the application \
         itself answers.",
    ),
    row(
        Fault::LeftBehind,
        "left-behind",
        Error,
        "A test account could not be removed",
        Effect::Says("It stays, inactive, under example.invalid."),
        "Remove it by hand.",
    ),
];
