//! What runs beside the requests: finishing what they decided and had no time, or no process any more, to spread.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
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
        // Nothing of it is used again, and the next round begins with what is stored.
        match AssertUnwindSafe(finish(app, service, tenant)).catch_unwind().await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what a request left behind could not be finished yet"),
            Err(_) => tracing::error!("finishing what a request left behind panicked"),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        ambient::System,
        config::Settings,
        store::{
            Store,
            counting::CountingStore,
            faults::{Call, Fault, FaultStore},
            sqlite::SqliteStore,
        },
        tenants::{NewTenant, Terms},
    };

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[tokio::test]
    async fn a_bug_that_one_tenant_meets_leaves_the_others_theirs() {
        let counting = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
        let faults = Arc::new(FaultStore::new(Arc::clone(&counting) as Arc<dyn Store>));
        let app = App::new(Line::parse_from(["scimgate"]).settings, Arc::new(System));
        let service = app.over(Arc::clone(&faults) as Arc<dyn Store>);
        for name in ["one", "other"] {
            let (new, terms) = (
                NewTenant {
                    name: name.to_owned(),
                    ..NewTenant::default()
                },
                Terms {
                    label: "test".to_owned(),
                    expires: None,
                },
            );
            let deadline = Instant::now() + app.settings.deadline();
            service
                .tenants
                .create(&new, None, &terms, "test", deadline)
                .await
                .unwrap();
        }
        counting.take();
        round(&app, &service).await.unwrap();
        // One for the list of tenants, and as many for each of them.
        let of_one = (counting.take().scans - 1) / 2;
        assert!(of_one > 0);
        faults.inject(Call::Scan, 2..=2, Fault::Panic);
        round(&app, &service).await.unwrap();
        assert!(counting.take().scans > of_one, "only the list was read");
    }
}
