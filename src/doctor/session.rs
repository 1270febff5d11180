//! Requests one after another on one connection, as a proxy sends them, looking at the connection in between.

use std::time::Duration;

use super::{
    connection::{Answer, Connection, Quiet},
    fault::{Fault, Flaw},
    request::Ask,
    visit::{Spent, Visit},
    wire::{End, Response},
};

/// Tries of a request that is answered 429.
const TRIES: usize = 4;
/// Longest that one `Retry-After` is waited for.
const MAX_WAIT: u64 = 30;

/// A client that keeps its connection.
#[derive(Debug)]
pub(super) struct Session<'v> {
    visit: &'v Visit,
    connection: Option<Connection>,
}

impl<'v> Session<'v> {
    pub(super) fn new(visit: &'v Visit) -> Self {
        Self {
            visit,
            connection: None,
        }
    }

    /// The same on a connection that is there already.
    pub(super) fn on(visit: &'v Visit, connection: Connection) -> Self {
        Self {
            visit,
            connection: Some(connection),
        }
    }

    /// Asks, and waits for bytes that nobody asked for; whatever is wrong is written down. None where no answer came.
    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<Option<Response>, Spent> {
        for _ in 1..TRIES {
            let response = self.once(ask).await?;
            let Some(throttled) = response.as_ref().filter(|response| response.status == 429) else {
                return Ok(response);
            };
            let wait = retry_after(throttled);
            let seen = format!(
                "429 at a slow pace; Retry-After: {}",
                throttled.header("retry-after").unwrap_or("none")
            );
            let flaw = Flaw::new(Fault::Throttled, seen, &throttled.body);
            self.visit.found(&ask.title(), flaw, Some(throttled));
            self.visit.hold(wait);
        }
        self.once(ask).await
    }

    async fn once(&mut self, ask: &Ask) -> Result<Option<Response>, Spent> {
        self.visit.turn().await?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.visit.connect().await {
                Ok(connection) => connection,
                Err(flaw) => {
                    self.visit.found(&ask.title(), flaw, None);
                    return Ok(None);
                }
            },
        };
        let Answer { response, .. } = self.visit.exchange(&mut connection, ask).await;
        let Some(response) = response else {
            return Ok(None);
        };
        if response.keeps && self.is_quiet(&mut connection, ask, &response).await {
            self.connection = Some(connection);
        } else {
            connection.close().await;
        }
        Ok(Some(response))
    }

    /// Whether the connection is silent and stays open.
    async fn is_quiet(&self, connection: &mut Connection, ask: &Ask, response: &Response) -> bool {
        let silence = self.visit.pace.silence;
        let flaw = match connection.quiet(silence).await {
            Quiet::Silent => return true,
            Quiet::Spoke(flaw) => flaw,
            Quiet::Ended(end) => {
                let how = if end == End::Reset { "reset" } else { "closed" };
                let seen = format!("{how} within {} ms", silence.as_millis());
                Flaw::new(Fault::CloseUnannounced, seen, b"")
            }
        };
        let at = format!("behind the {} of {}", response.status, ask.title());
        self.visit.found(&at, flaw, Some(response));
        false
    }
}

/// How long the endpoint asks to be left alone.
pub(super) fn retry_after(response: &Response) -> Duration {
    let seconds = response.header("retry-after").and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2).min(MAX_WAIT))
}
