//! The rate that Microsoft asks for.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::{connections::opened, reach::test_connection};
use crate::doctor::{
    fault::{Fault, Flaw},
    report::Outcome,
    session::retry_after,
    visit::{Spent, Visit},
};

/// Between two requests: 25 a second, as Microsoft asks.
const SPACING: Duration = Duration::from_millis(40);
/// Connections that share them.
const CONNECTIONS: usize = 12;

pub(super) async fn burst(visit: &Visit) -> Result<Outcome, Spent> {
    if visit.has_found(Fault::Throttled) {
        return Ok(Outcome::Skipped("throttled already"));
    }
    let until = Instant::now() + visit.pace.burst;
    let connections = (0..CONNECTIONS).map(|_| one(visit, until));
    let mut times = Vec::new();
    for share in join_all(connections).await {
        times.extend(share?);
    }
    times.sort();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
            .as_millis()
    };
    let told = format!(
        "{} answered; half within {} ms, 99 of 100 within {} ms",
        times.len(),
        at(50),
        at(99)
    );
    Ok(Outcome::Done(vec![told]))
}

async fn one(visit: &Visit, until: Instant) -> Result<Vec<Duration>, Spent> {
    let mut connection = None;
    let mut times = Vec::new();
    loop {
        visit.turn_after(SPACING).await?;
        if Instant::now() >= until || visit.has_found(Fault::Throttled) {
            return Ok(times);
        }
        let ask = test_connection(visit);
        let Some(mut open) = opened(visit, connection.take(), &ask).await else {
            continue;
        };
        let answer = visit.exchange(&mut open, &ask).await;
        let Some(response) = answer.response else { continue };
        if response.status == 429 {
            let flaw = Flaw::new(Fault::Throttled, "429 at 25 requests a second", &response.body);
            visit.found(&ask.title(), flaw, Some(&response));
            visit.hold(retry_after(&response));
        }
        times.push(answer.took);
        if response.keeps {
            connection = Some(open);
        }
    }
}
