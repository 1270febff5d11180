//! The checks, in the order in which they run.

use std::future::pending;

use tokio::sync::Notify;

use super::{
    report::Outcome,
    visit::{Spent, Visit},
};

mod burst;
mod connections;
mod entra;
mod probes;
mod reach;
mod versions;
mod watch;

pub(super) use entra::{Made, clean_up};

/// Why a check that somebody stops is broken off.
pub(super) const INTERRUPTED: &str = "interrupted";

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table says what each one does")]
pub enum Check {
    Reach,
    Versions,
    Wire,
    Reuse,
    Unread,
    Streams,
    Burst,
    Entra,
    Idle,
    Watch,
}

/// A row of the table of checks.
#[derive(Debug)]
pub struct Row {
    /// Which one.
    pub check: Check,
    /// Its stable name.
    pub id: &'static str,
    /// For people, while it runs and in the report.
    pub title: &'static str,
    /// What it does.
    pub does: &'static str,
}

const fn row(check: Check, id: &'static str, title: &'static str, does: &'static str) -> Row {
    Row { check, id, title, does }
}

/// The whole table.
pub const CHECKS: &[Row] = &[
    row(
        Check::Reach,
        "reach",
        "Test Connection",
        "Connects and asks for a user that does not exist, as Entra's Test Connection does.",
    ),
    row(
        Check::Versions,
        "versions",
        "TLS and HTTP versions",
        "Asks the same over TLS 1.2 and 1.3, each with no ALPN, http/1.1 and h2 (plain: HTTP/1.1 and HTTP/2), and compares.",
    ),
    row(
        Check::Wire,
        "wire",
        "Bytes of each answer",
        "Every endpoint, every method and every refusal, each answer read byte by byte; then silence, then the connection again.",
    ),
    row(
        Check::Reuse,
        "reuse",
        "Connections used again at once",
        "Several connections with one request after another and no pause, answers with and without bodies mixed.",
    ),
    row(
        Check::Unread,
        "unread",
        "A large body that is refused",
        "5 MB without a token, and more than bulk requests may have with it: the refusal must arrive although nobody reads the body.",
    ),
    row(
        Check::Streams,
        "streams",
        "HTTP/2 with many requests at once",
        "50 requests on one HTTP/2 connection, good ones and refused ones; none may be lost.",
    ),
    row(
        Check::Burst,
        "burst",
        "25 requests a second",
        "The rate that Microsoft asks for, for some seconds; none may be refused or fail.",
    ),
    row(
        Check::Entra,
        "entra",
        "A user's life as Entra lives it",
        "Creates an inactive test user, looks it up, changes it in all dialects, disables and deletes it, and looks again each time.",
    ),
    row(
        Check::Idle,
        "idle",
        "Idle connections",
        "Leaves connections alone for a while, then uses them: who closes first, how, and whether a request is lost.",
    ),
    row(
        Check::Watch,
        "watch",
        "A restart, watched",
        "Asks the same again and again while somebody restarts the service, over HTTP/1.1 and HTTP/2, on connections that are kept and \
         on new ones: what is lost, and for how long. Instead of all but the first of the other checks.",
    ),
];

impl Check {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        let mut rows = CHECKS.iter();
        rows.find(|row| row.check == self).expect("every check has a row")
    }

    /// Whether it is a part of a visit that watches a restart, or of one that does not.
    pub(super) fn is_part(self, is_watch: bool) -> bool {
        self == Self::Reach || (self == Self::Watch) == is_watch
    }

    /// Until its end, or until somebody stops it.
    pub(super) async fn run(self, visit: &Visit, stop: &Notify) -> Outcome {
        visit.begin(self);
        let interrupted = async {
            match self {
                // That is how it ends.
                Self::Watch => pending().await,
                _ => stop.notified().await,
            }
        };
        tokio::select! {
            ended = self.examine(visit, stop) => ended.unwrap_or(Outcome::BrokenOff("time or requests ran out")),
            () = interrupted => Outcome::BrokenOff(INTERRUPTED),
        }
    }

    async fn examine(self, visit: &Visit, stop: &Notify) -> Result<Outcome, Spent> {
        match self {
            Self::Reach => reach::reach(visit).await,
            Self::Versions => versions::versions(visit).await,
            Self::Wire => probes::wire(visit).await,
            Self::Reuse => connections::reuse(visit).await,
            Self::Unread => connections::unread(visit).await,
            Self::Streams => versions::streams(visit).await,
            Self::Burst => burst::burst(visit).await,
            Self::Entra => entra::life(visit).await,
            Self::Idle => connections::idle(visit).await,
            Self::Watch => watch::watch(visit, stop).await,
        }
    }
}
