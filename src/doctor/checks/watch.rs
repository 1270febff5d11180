//! A restart, watched: the same request again and again, on connections that are kept and on new ones.

use std::{slice, sync::Mutex, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
    try_join,
};

use super::{reach::test_connection, versions::http2_stream};
use crate::doctor::{
    connection::{Answer, Connection, Quiet},
    fault::{Fault, Flaw},
    http2::{Multiplexed, converse},
    report::Outcome,
    request::Ask,
    session::retry_after,
    visit::{Spent, Visit, lock, of_server},
    wire::{End, Response},
};

mod log;

use log::{Log, Place};

/// Requests of a watch, however long it is.
const REQUESTS: u32 = 4_500;
/// Longer than any watch.
const FOR_EVER: Duration = Duration::from_hours(24);

/// Ends when the time is over or somebody stops it: either is its regular end.
pub(super) async fn watch(visit: &Visit, stop: &Notify) -> Result<Outcome, Spent> {
    let log = Mutex::default();
    let time = visit.pace.watch.unwrap_or_default();
    let ended = tokio::select! {
        Err(spent) = ask_again_and_again(visit, time, &log) => Err(spent),
        () = sleep(time) => Ok(()),
        () = stop.notified() => Ok(()),
    };
    let log = lock(&log);
    if let Some(lost) = log.lost() {
        visit.found("a restart, watched", Flaw::new(Fault::RequestsLost, lost, b""), None);
    }
    ended.map(|()| Outcome::Done(log.told()))
}

async fn ask_again_and_again(visit: &Visit, time: Duration, log: &Mutex<Log>) -> Result<(), Spent> {
    let ask = test_connection(visit);
    let spacing = (visit.pace.spacing * 2).max(time / REQUESTS);
    let lane = |is_http2, is_kept| {
        let lane = Lane {
            visit,
            log,
            ask: &ask,
            is_http2,
            is_kept,
            open: None,
        };
        lane.run(spacing)
    };
    let in_http2 = async {
        visit.turn().await?;
        let Ok(Some(stream)) = http2_stream(visit).await else {
            return Ok(());
        };
        if !converse(visit, stream, slice::from_ref(&ask)).await.is_http2 {
            return Ok(());
        }
        lock(log).is_http2_watched = true;
        try_join!(lane(true, true), lane(true, false)).map(drop)
    };
    try_join!(lane(false, true), lane(false, false), in_http2).map(drop)
}

/// One request at a time.
struct Lane<'w> {
    visit: &'w Visit,
    log: &'w Mutex<Log>,
    ask: &'w Ask,
    is_http2: bool,
    /// Whether its connection is used again.
    is_kept: bool,
    open: Option<Open>,
}

enum Open {
    Http1(Connection),
    Http2(Multiplexed),
}

impl Lane<'_> {
    async fn run(mut self, spacing: Duration) -> Result<(), Spent> {
        loop {
            self.wait(spacing).await?;
            let (began, when) = (Instant::now(), self.visit.ambient.now());
            let place = Place {
                is_old: self.open.is_some(),
                is_http2: self.is_http2,
            };
            let answer = self.answer().await;
            let at = format!("{} on {}", self.ask.title(), place.says());
            self.visit.judge(&at, &answer);
            let lost = match &answer.response {
                Some(response) => self.lost_in_answer(&at, response),
                None => answer.flaws.first().map(|flaw| flaw.fault),
            };
            lock(self.log).note(place, began..Instant::now(), when, lost);
        }
    }

    /// Until its turn, with an eye on the connection.
    async fn wait(&mut self, spacing: Duration) -> Result<(), Spent> {
        let turn = self.visit.turn_after(spacing);
        tokio::pin!(turn);
        if let Some(open) = &mut self.open {
            let quiet = tokio::select! {
                turned = &mut turn => return turned,
                quiet = open.quiet() => quiet,
            };
            self.open = None;
            lock(self.log).ended += 1;
            let flaw = match quiet {
                Quiet::Spoke(flaw) => Some(flaw),
                Quiet::Ended(End::Reset) => Some(Flaw::new(Fault::IdleReset, "reset between two requests", b"")),
                Quiet::Ended(End::Open | End::Closed) | Quiet::Silent => None,
            };
            if let Some(flaw) = flaw {
                self.visit.found("an old connection between two requests", flaw, None);
            }
        }
        turn.await
    }

    async fn answer(&mut self) -> Answer {
        let opened = match self.open.take() {
            Some(open) => Ok(open),
            None => Open::new(self.visit, self.is_http2).await,
        };
        let mut open = match opened {
            Ok(open) => open,
            Err(flaw) => {
                return Answer {
                    flaws: vec![flaw],
                    ..Answer::default()
                };
            }
        };
        let answer = open.ask(self.visit, self.ask).await;
        let keeps = answer.response.as_ref().is_some_and(|response| response.keeps);
        if self.is_kept && keeps {
            self.open = Some(open);
        } else {
            lock(self.log).ended += usize::from(self.is_kept);
            open.close().await;
        }
        answer
    }

    /// What is wrong with an answer that is there, compared with the first one.
    fn lost_in_answer(&self, at: &str, response: &Response) -> Option<Fault> {
        let status = response.status;
        if status == 429 {
            let flaw = Flaw::new(Fault::Throttled, "429 to some requests a second", &response.body);
            self.visit.found(at, flaw, Some(response));
            self.visit.hold(retry_after(response));
            return None;
        }
        let usual = (status < 500).then(|| *lock(self.log).usual.get_or_insert(status));
        if usual == Some(status) {
            return None;
        }
        if let Some(flaw) = of_server(response) {
            return Some(flaw.fault);
        }
        let seen = format!("status {status}, and another one before");
        let flaw = Flaw::new(Fault::AnswerChanges, seen, &response.body);
        self.visit.found(at, flaw, Some(response));
        Some(Fault::AnswerChanges)
    }
}

impl Open {
    async fn new(visit: &Visit, is_http2: bool) -> Result<Self, Flaw> {
        if !is_http2 {
            return visit.connect().await.map(Self::Http1);
        }
        let Some(stream) = http2_stream(visit).await? else {
            let seen = "HTTP/2 was agreed on before, and is not any more";
            return Err(Flaw::new(Fault::VersionsDiffer, seen, b""));
        };
        Multiplexed::open(visit, stream).await.map(Self::Http2)
    }

    async fn ask(&mut self, visit: &Visit, ask: &Ask) -> Answer {
        match self {
            Self::Http1(connection) => visit.send(connection, ask).await,
            Self::Http2(connection) => {
                let mut answers = connection.ask(visit, slice::from_ref(ask)).await;
                answers.pop().unwrap_or_default()
            }
        }
    }

    async fn quiet(&mut self) -> Quiet {
        match self {
            Self::Http1(connection) => connection.quiet(FOR_EVER).await,
            Self::Http2(connection) => connection.quiet(FOR_EVER).await,
        }
    }

    async fn close(self) {
        if let Self::Http1(connection) = self {
            connection.close().await;
        }
    }
}
