//! Connections: used again at once, left alone, and with a body that nobody reads.

use std::{iter::repeat_n, time::Duration};

use futures::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    probes::{broken_create, check, probes},
    reach::test_connection,
};
use crate::doctor::{
    connection::{Connection, MAX_UPLOAD, Quiet, Sent},
    fault::{Fault, Flaw},
    report::Outcome,
    request::{Ask, Who},
    session::Session,
    visit::{Spent, Visit},
    wire::End,
};

/// Connections at once.
const CONNECTIONS: usize = 20;
/// Requests on each.
const REQUESTS: usize = 6;
/// A large body that takes longer is not read at once.
const SLOW_UPLOAD: Duration = Duration::from_secs(1);

pub(super) async fn reuse(visit: &Visit) -> Result<Outcome, Spent> {
    let probes = probes(visit);
    let connections = (0..CONNECTIONS).map(|number| {
        let probes = &probes;
        async move {
            let mut connection = None;
            let mut answered = 0;
            for round in 0..REQUESTS {
                visit.turn().await?;
                let ask = &probes[(number * 5 + round * 7) % probes.len()].ask;
                let Some(mut open) = opened(visit, connection.take(), ask).await else {
                    continue;
                };
                let answer = visit.exchange(&mut open, ask).await;
                answered += usize::from(answer.response.is_some());
                if answer.response.is_some_and(|response| response.keeps) {
                    connection = Some(open);
                }
            }
            Ok::<_, Spent>(answered)
        }
    });
    let mut answered = 0;
    for count in join_all(connections).await {
        answered += count?;
    }
    Ok(Outcome::Done(vec![format!(
        "{answered} of {} answered",
        CONNECTIONS * REQUESTS
    )]))
}

/// The connection, or a new one.
pub(super) async fn opened(visit: &Visit, connection: Option<Connection>, ask: &Ask) -> Option<Connection> {
    if connection.is_some() {
        return connection;
    }
    match visit.connect().await {
        Ok(connection) => Some(connection),
        Err(flaw) => {
            visit.found(&ask.title(), flaw, None);
            None
        }
    }
}

/// An answer that is there before the body is read must arrive.
pub(super) async fn unread(visit: &Visit) -> Result<Outcome, Spent> {
    let ask = Ask::new("POST", "/Users")
        .raw("application/scim+json", &vec![b' '; visit.pace.body])
        .by(Who::Nobody);
    let mut told = Vec::new();
    for ask in repeat_n(ask, visit.pace.unread).chain(too_large(visit).await?) {
        visit.turn().await?;
        let Some(mut connection) = opened(visit, None, &ask).await else {
            continue;
        };
        told.push(one_unread(visit, &mut connection, &ask).await);
    }
    told.sort();
    told.dedup();
    Ok(Outcome::Done(told))
}

/// A bulk request one byte larger than the endpoint says that it takes (RFC 7644 §3.7.4), of spaces, which nobody can act on.
/// Of other requests no endpoint tells its limit.
async fn too_large(visit: &Visit) -> Result<Option<Ask>, Spent> {
    if visit.token.is_none() || visit.has_found(Fault::BrokenAccepted) {
        return Ok(None);
    }
    let response = Session::new(visit).ask(&Ask::get("/ServiceProviderConfig")).await?;
    let config: Value = serde_json::from_slice(&response.unwrap_or_default().body).unwrap_or_default();
    let limit = config["bulk"]["maxPayloadSize"].as_u64();
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| config["bulk"]["supported"] == true && (1..visit.pace.body).contains(limit));
    Ok(limit.map(|limit| Ask::new("POST", "/Bulk").raw("application/scim+json", &vec![b' '; limit + 1])))
}

async fn one_unread(visit: &Visit, connection: &mut Connection, ask: &Ask) -> String {
    visit.count();
    let mut bytes = ask.head(&visit.endpoint, visit.token.as_deref());
    bytes.extend(ask.body.iter().flatten());
    let at = format!("{} with {} bytes", ask.title(), ask.body.as_ref().map_or(0, Vec::len));
    let began = Instant::now();
    let sent = connection.send_large(&bytes, visit.pace.patience).await;
    // What was sent slowly is on its way still, and it is not the server that is slow.
    let is_on_its_way = sent == Sent::All && began.elapsed() > SLOW_UPLOAD;
    let patience = if is_on_its_way { MAX_UPLOAD } else { visit.pace.patience };
    let mut answer = connection.answer(false, patience).await;
    if is_on_its_way {
        answer.took = Duration::ZERO;
    }
    if sent == Sent::Slow && answer.response.is_none() {
        return "the upload is too slow to judge".to_owned();
    }
    let lost = [Fault::ClosedWithoutAnswer, Fault::HeadCutOff, Fault::BodyCutOff];
    for flaw in &mut answer.flaws {
        if lost.contains(&flaw.fault) {
            flaw.fault = Fault::EarlyAnswerLost;
        }
    }
    visit.judge(&at, &answer);
    let Some(response) = answer.response else {
        return "no answer".to_owned();
    };
    let found = |fault, seen: &str| visit.found(&at, Flaw::new(fault, seen, b""), Some(&response));
    let quiet = connection.quiet(visit.pace.silence).await;
    match (sent, quiet) {
        (_, Quiet::Spoke(flaw)) => visit.found(&at, flaw, Some(&response)),
        // Sent to a closed connection, bytes are answered with a reset, and that overtakes the answer.
        (Sent::Refused, _) | (_, Quiet::Ended(End::Reset)) => found(
            Fault::EarlyAnswerLost,
            "the answer came, and the connection was closed with the body unread: on a longer way the reset overtakes the answer",
        ),
        (Sent::Stuck, Quiet::Silent) => found(
            Fault::EarlyAnswerStalls,
            "answered, and the rest of the body is not taken",
        ),
        (Sent::All | Sent::Stuck | Sent::Slow, Quiet::Silent | Quiet::Ended(_)) => {}
    }
    if ask.who == Who::Tenant {
        check(visit, ask, &[413, 400], &response);
    } else if (200..300).contains(&response.status) {
        found(Fault::CredentialIgnored, "5 MB of spaces were answered with success");
    }
    format!("{}: {}", ask.title(), response.status)
}

/// Connections that are left alone, all at the same time.
pub(super) async fn idle(visit: &Visit) -> Result<Outcome, Spent> {
    let used = visit.pace.idle.iter().map(|time| left_alone(visit, *time, true));
    let longest = visit.pace.idle.iter().max().copied().unwrap_or_default();
    let (used, unused) = tokio::join!(join_all(used), left_alone(visit, longest, false));
    let mut told = Vec::new();
    for words in used.into_iter().chain([unused]) {
        told.extend(words?);
    }
    Ok(Outcome::Done(told))
}

async fn left_alone(visit: &Visit, time: Duration, is_used: bool) -> Result<Option<String>, Spent> {
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let ask = test_connection(visit);
    let Some(mut connection) = opened(visit, None, &ask).await else {
        return Ok(None);
    };
    if is_used {
        visit.turn().await?;
        let answer = visit.exchange(&mut connection, &ask).await;
        if !answer.response.is_some_and(|response| response.keeps) {
            return Ok(None);
        }
    }
    let began = Instant::now();
    let kind = if is_used { "an idle" } else { "a never used" };
    let at = format!("{kind} connection, left alone for {}", seconds(time));
    match connection.quiet(time).await {
        Quiet::Silent => {}
        Quiet::Spoke(flaw) => {
            visit.found(&at, flaw, None);
            return Ok(Some(format!("{at}: bytes came")));
        }
        Quiet::Ended(end) => {
            let after = seconds(began.elapsed());
            let (fault, how) = match end {
                End::Reset => (Fault::IdleReset, "reset"),
                End::Open | End::Closed => (Fault::IdleClose, "closed"),
            };
            visit.found(
                &at,
                Flaw::new(fault, format!("{how} by the server after {after}"), b""),
                None,
            );
            return Ok(Some(format!("{at}: {how} after {after}")));
        }
    }
    visit.turn().await?;
    // A write, as clients repeat a GET by themselves.
    let ask = if visit.has_found(Fault::BrokenAccepted) {
        ask
    } else {
        broken_create()
    };
    let answer = visit.exchange(&mut connection, &ask).await;
    let says = if answer.response.is_some() {
        "then answered"
    } else {
        "then not answered"
    };
    Ok(Some(format!("{at}: {says}")))
}
