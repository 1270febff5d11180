//! The same in all versions of TLS and HTTP, and many requests at once in HTTP/2.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{probes::probes, reach::test_connection};
use crate::doctor::{
    connection::{Answer, Connection, Stream},
    fault::{Fault, Flaw},
    http2::converse,
    report::Outcome,
    request::Ask,
    tls::{Alpn, Version},
    visit::{Spent, Visit},
};

pub(super) async fn versions(visit: &Visit) -> Result<Outcome, Spent> {
    let mut statuses = Vec::new();
    let mut told = Vec::new();
    if visit.endpoint.is_https {
        for version in [Version::Tls12, Version::Tls13] {
            for alpn in Alpn::ALL {
                visit.turn().await?;
                let (words, status) = secured(visit, version, alpn).await;
                told.push(format!("{}, {}: {words}", version.name(), alpn.name()));
                statuses.extend(status.map(|status| (told[told.len() - 1].clone(), status)));
            }
        }
    } else {
        let ask = test_connection(visit);
        for (name, status) in [
            ("HTTP/1.1", plain_http1(visit, &ask).await?),
            ("HTTP/2", plain_http2(visit, &ask).await?),
        ] {
            told.push(status.map_or_else(|| format!("{name}: not spoken"), |status| format!("{name}: {status}")));
            statuses.extend(status.map(|status| (told[told.len() - 1].clone(), status)));
        }
    }
    if let Some((first, status)) = statuses.first()
        && let Some((other, _)) = statuses.iter().find(|(_, other)| other != status)
    {
        let seen = format!("{first}; {other}");
        visit.found("GET /Users?filter=…", Flaw::new(Fault::VersionsDiffer, seen, b""), None);
    }
    Ok(Outcome::Done(told))
}

/// What came of it, for people, and the status.
async fn secured(visit: &Visit, version: Version, alpn: Alpn) -> (String, Option<u16>) {
    let stream = match visit.tls(version, alpn).await {
        Ok(stream) => stream,
        Err(flaw) => return (refused(visit, version, alpn, flaw), None),
    };
    let ask = test_connection(visit);
    let answer = if is_http2(&stream) {
        let at = format!("{} over {}, h2", ask.title(), version.name());
        let conversation = converse(visit, Box::new(stream), std::slice::from_ref(&ask)).await;
        let answer = conversation.answers.into_iter().next().unwrap_or_default();
        visit.judge(&at, &answer);
        answer
    } else {
        if alpn == Alpn::Http2 && !visit.has_found(Fault::Http2Missing) {
            let flaw = Flaw::new(Fault::Http2Missing, "offered in TLS (ALPN), and not chosen", b"");
            visit.found("ALPN h2", flaw, None);
        }
        let mut connection = Connection::new(Box::new(stream));
        visit.exchange(&mut connection, &ask).await
    };
    let status = answer.response.map(|response| response.status);
    (
        status.map_or_else(|| "no answer".to_owned(), |status| status.to_string()),
        status,
    )
}

fn refused(visit: &Visit, version: Version, alpn: Alpn, flaw: Flaw) -> String {
    let words = flaw.seen.clone();
    let fault = match (flaw.fault, version, alpn) {
        // Told already, and not of one version only.
        (Fault::Handshake, _, _) if visit.has_found(Fault::Handshake) => return words,
        (Fault::Handshake, Version::Tls12, Alpn::Nothing) => Fault::Tls12Missing,
        (Fault::Handshake, Version::Tls13, Alpn::Nothing) => Fault::Tls13Missing,
        // A server that knows none of the protocols may say so (RFC 7301 §3.2).
        (Fault::Handshake, _, Alpn::Http2) => Fault::Http2Missing,
        // Told already.
        (Fault::Handshake, Version::Tls12, _) if visit.has_found(Fault::Tls12Missing) => return words,
        (Fault::Handshake, Version::Tls13, _) if visit.has_found(Fault::Tls13Missing) => return words,
        (fault, _, _) => fault,
    };
    visit.found("the TLS handshake", Flaw { fault, ..flaw }, None);
    words
}

fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

async fn plain_http1(visit: &Visit, ask: &Ask) -> Result<Option<u16>, Spent> {
    visit.turn().await?;
    let mut connection = match visit.connect().await {
        Ok(connection) => connection,
        Err(flaw) => {
            visit.found(&ask.title(), flaw, None);
            return Ok(None);
        }
    };
    let answer = visit.exchange(&mut connection, ask).await;
    Ok(answer.response.map(|response| response.status))
}

async fn plain_http2(visit: &Visit, ask: &Ask) -> Result<Option<u16>, Spent> {
    visit.turn().await?;
    let Ok(stream) = visit.plain().await else {
        return Ok(None);
    };
    let conversation = converse(visit, Box::new(stream), std::slice::from_ref(ask)).await;
    let answer = conversation.answers.into_iter().next().unwrap_or_default();
    if !conversation.is_http2 {
        missing(visit, answer);
        return Ok(None);
    }
    visit.judge(&format!("{} in HTTP/2", ask.title()), &answer);
    Ok(answer.response.map(|response| response.status))
}

/// Of many servers HTTP/2 without TLS is not asked, so it is good to know only.
fn missing(visit: &Visit, answer: Answer) {
    let flaw = answer.flaws.into_iter().next();
    let flaw = flaw.unwrap_or_else(|| Flaw::new(Fault::Http2Missing, "not spoken", b""));
    let fault = Fault::Http2Missing;
    visit.found("HTTP/2 with prior knowledge", Flaw { fault, ..flaw }, None);
}

/// A connection to speak HTTP/2 on; none where TLS doesn't agree on it.
pub(super) async fn http2_stream(visit: &Visit) -> Result<Option<Box<dyn Stream>>, Flaw> {
    if !visit.endpoint.is_https {
        return Ok(Some(Box::new(visit.plain().await?)));
    }
    let stream = visit.tls(Version::Any, Alpn::Http2).await?;
    Ok(if is_http2(&stream) {
        Some(Box::new(stream))
    } else {
        None
    })
}

/// 50 requests on one connection.
pub(super) async fn streams(visit: &Visit) -> Result<Outcome, Spent> {
    if visit.has_found(Fault::Http2Missing) {
        return Ok(Outcome::Skipped("HTTP/2 is not spoken"));
    }
    visit.turn().await?;
    let stream = match http2_stream(visit).await {
        Ok(Some(stream)) => stream,
        Ok(None) => return Ok(Outcome::Skipped("HTTP/2 is not spoken")),
        Err(flaw) => {
            visit.found("many requests at once", flaw, None);
            return Ok(Outcome::Skipped("this time there was no connection"));
        }
    };
    let probes = probes(visit).into_iter().map(|probe| probe.ask);
    // What is no target can't be sent.
    let probes = probes.filter(Ask::has_target);
    let asks: Vec<_> = probes
        .collect::<Vec<_>>()
        .into_iter()
        .cycle()
        .take(visit.pace.streams)
        .collect();
    let conversation = converse(visit, stream, &asks).await;
    let mut lost = asks.len() - conversation.answers.len();
    for (ask, answer) in asks.iter().zip(&conversation.answers) {
        visit.judge(
            &format!("{} in HTTP/2, with {} others", ask.title(), asks.len() - 1),
            answer,
        );
        lost += usize::from(answer.response.is_none());
    }
    let told = format!("{} of {} answered", asks.len() - lost, asks.len());
    if lost > 0 {
        let flaw = Flaw::new(Fault::Http2StreamsLost, told.clone(), b"");
        visit.found("many requests at once", flaw, None);
    }
    Ok(Outcome::Done(vec![told]))
}
