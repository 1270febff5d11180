//! What runs beside the requests: finishing what they decided and had no time, or no process any more, to spread.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{App, Service};
use crate::{
    directory::{self, Directory},
    store::{
        Waits,
        turns::{Quota, Share},
    },
    telemetry,
    tenants::{self, Access, Catalogs, Tenant},
};

/// Pause between two rounds: with a decision's own time, whatever is left behind is finished
/// within a minute, if no tenant before it takes longer.
const PAUSE: Duration = Duration::from_secs(30);
/// How long one tenant's left-overs may take in one round.
const TENANT_TIME: Duration = Duration::from_mins(2);

/// Looks after every tenant, again and again. What fails is tried again in the next round.
pub async fn finish_left_behind(app: &App, service: &Service) -> Infallible {
    loop {
        sleep(PAUSE).await;
        let waits = service.store.take_waits();
        telemetry::storage_waited(waits.longest);
        tell(waits);
        if let Err(error) = round(app, service).await {
            tracing::warn!(%error, "could not look for what requests left behind");
        }
    }
}

/// Requests that wait are slow for a reason that storage itself doesn't show.
fn tell(waits: Waits) {
    if waits.count > 0 {
        tracing::info!(
            metric = "db.client.connection.wait_time",
            count = waits.count,
            in_vain = waits.in_vain,
            total_ms = waits.total.as_millis(),
            longest_ms = waits.longest.as_millis(),
            "requests to storage waited for their turn"
        );
    }
}

async fn round(app: &App, service: &Service) -> Result<(), tenants::Error> {
    let deadline = Instant::now() + app.settings.deadline();
    for tenant in service.tenants.all(deadline).await? {
        if let Err(error) = finish(app, service, tenant).await {
            tracing::warn!(%error, "what a request left behind could not be finished yet");
        }
    }
    Ok(())
}

async fn finish(app: &App, service: &Service, tenant: Tenant) -> Result<usize, directory::Error> {
    let directory = Directory {
        store: Share::of(&service.store, &Quota::default()),
        ambient: Arc::clone(&app.ambient),
        access: Arc::new(Access {
            tenant,
            credential: "scimgate".to_owned(),
            catalogs: Catalogs::standard(),
        }),
        deadline: Instant::now() + TENANT_TIME,
        shared: Arc::clone(&service.shared),
        held: Arc::default(),
        invocation: None,
    };
    directory.finish_pending().await
}
