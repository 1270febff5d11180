//! What runs beside the requests: finishing what they decided and had no time, or no process any more, to spread; and, now
//! and then, doing away with what nobody needs any more.

use std::{collections::HashMap, convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::time::{Instant, sleep};

use super::{App, Service};
use crate::{
    directory::{self, Directory, Kept, Purged, history},
    store::{
        Waits,
        turns::{Quota, Share},
    },
    telemetry,
    tenants::{self, Access, Catalogs, KeptDays, Tenant},
};

/// Pause between two rounds: with a decision's own time, whatever is left behind is finished
/// within a minute, if no tenant before it takes longer.
const PAUSE: Duration = Duration::from_secs(30);
/// How long one tenant's left-overs may take in one round.
const TENANT_TIME: Duration = Duration::from_mins(2);
/// Of so many rounds one, at random, also does away with what nobody needs any more: every hour, by and large, and in no two
/// processes at the same time. A process that lives for minutes does it as often as one that lives for days.
const PURGES_ONE_IN: usize = 120;
/// Steps of a purge in one round and tenant, one after the other, so that requests hardly notice; the next purge goes on
/// behind them. In a day that is at most 240,000 tombstones, and as many events, of each tenant and by each process.
const MAX_STEPS: usize = 100;
/// After so long no more steps are taken, so that other tenants need not wait.
const STEPS_TIME: Duration = Duration::from_secs(20);

/// Where the next purge of a tenant goes on, by its id.
type Places = HashMap<String, String>;

/// Looks after every tenant, again and again. What fails is tried again in the next round.
pub async fn finish_left_behind(app: &App, service: &Service) -> Infallible {
    let mut places = Places::new();
    if let Err(error) = tenants(app, service).await {
        tracing::warn!(%error, "could not learn which tenants there are");
    }
    let mut has_said = false;
    loop {
        // So that operators' commands keep what is past as long.
        if !has_said {
            let said = service
                .tenants
                .note_settings(
                    days(app),
                    app.settings.deadline(),
                    Instant::now() + app.settings.deadline(),
                )
                .await;
            has_said = said.is_ok();
        }
        sleep(PAUSE).await;
        let waits = service.store.take_waits();
        telemetry::storage_waited(waits.longest);
        tell(waits);
        let places = (fastrand::usize(..PURGES_ONE_IN) == 0).then_some(&mut places);
        if let Err(error) = round(app, service, places).await {
            tracing::warn!(%error, "could not look for what requests left behind");
        }
    }
}

fn days(app: &App) -> KeptDays {
    KeptDays {
        deleted: app.settings.retention_days,
        history: app.settings.history_days,
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

/// Purges as well, where there are `places`.
async fn round(app: &App, service: &Service, mut places: Option<&mut Places>) -> Result<(), tenants::Error> {
    let deadline = Instant::now() + app.settings.deadline();
    let kept = Kept {
        deleted: days(app).retention(),
        events: days(app).history(),
    };
    if places.is_some() {
        // What operators did with tenants.
        let store = Share::of(&service.store, &Quota::default());
        let before = app.ambient.now() - kept.events;
        if let Err(error) = history::forget_deeds(&store, before, deadline).await {
            tracing::warn!(%error, "old events could not be removed yet");
        }
    }
    for tenant in tenants(app, service).await? {
        // Nothing of it is used again, and the next round begins with what is stored.
        let directory = directory(app, service, tenant);
        let looked_after = look_after(&directory, kept, places.as_deref_mut());
        match AssertUnwindSafe(looked_after).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what a request left behind could not be finished yet"),
            Err(_) => tracing::error!("finishing what a request left behind panicked"),
        }
    }
    Ok(())
}

/// All tenants. Their credentials are learned beside, so that strangers never keep out whom this process has not met yet.
async fn tenants(app: &App, service: &Service) -> Result<Vec<Tenant>, tenants::Error> {
    let deadline = Instant::now() + app.settings.deadline();
    let mut tenants = Vec::new();
    for (name, tenant) in service.tenants.each(deadline).await? {
        match tenant {
            Ok(tenant) => tenants.push(tenant),
            // It keeps no other from being looked after.
            Err(error) => tracing::warn!(%error, tenant = name, "a tenant cannot be read"),
        }
    }
    if let Err(error) = service.tenants.learn(&tenants, deadline).await {
        tracing::warn!(%error, "could not learn which credentials there are");
    }
    Ok(tenants)
}

async fn look_after(directory: &Directory, kept: Kept, places: Option<&mut Places>) -> Result<(), directory::Error> {
    let left = directory.finish_pending().await.map(drop);
    // What makes no sense keeps nobody from what is due.
    let Some(places) = places.filter(|_| matches!(left, Ok(()) | Err(directory::Error::Format(_)))) else {
        return left;
    };
    let tenant = &directory.access.tenant.id;
    let mut done = Purged::default();
    let mut place = places.remove(tenant);
    let mut ended = left;
    let until = Instant::now() + STEPS_TIME;
    for _ in 0..MAX_STEPS {
        match directory.purge(kept, place.as_deref()).await {
            Ok((purged, next)) => {
                done += purged;
                place = next;
            }
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
        if place.is_none() || Instant::now() >= until {
            break;
        }
    }
    places.extend(place.map(|place| (tenant.clone(), place)));
    if done.removed() > 0 {
        let Purged {
            tombstones,
            memberships,
            marks,
            events,
            ..
        } = done;
        tracing::info!(
            tenant,
            tombstones,
            memberships,
            marks,
            events,
            "what nobody needs any more is gone"
        );
    }
    ended
}

fn directory(app: &App, service: &Service, tenant: Tenant) -> Directory {
    Directory {
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
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::{
        ambient::System,
        config::Settings,
        directory::{Precondition, Shown},
        scim::{normalize::Trace, schema::Catalog},
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

    /// A tenant of this name.
    async fn make(app: &App, service: &Service, name: &str) -> Tenant {
        let new = NewTenant {
            name: name.to_owned(),
            ..NewTenant::default()
        };
        let deadline = Instant::now() + app.settings.deadline();
        let terms = Terms::default();
        let made = service.tenants.create(&new, None, &terms, "test", deadline);
        made.await.unwrap().0
    }

    #[tokio::test]
    async fn now_and_then_a_round_purges() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::memory().unwrap());
        let settings = Line::parse_from(["scimgate", "--retention-days", "0"]).settings;
        let app = App::new(settings, Arc::new(System));
        let service = app.over(Arc::clone(&store));
        let tenant = make(&app, &service, "acme").await;
        let directory = directory(&app, &service, tenant.clone());
        let catalog = Catalog::standard();
        let of = catalog.resource_type("User").unwrap();
        let user = json!({ "schemas": [of.schema.id], "userName": "bjensen" });
        let mut trace = Trace::default();
        let made = directory.create(of, Shown::default(), user, &mut trace);
        let id = made.await.unwrap().envelope.id;
        directory.delete(of, &id, &Precondition::None).await.unwrap();
        let kept = async || store.scan(&tenant.id, "gone~", "gone~~", 10).await.unwrap().rows.len();
        round(&app, &service, None).await.unwrap();
        assert_eq!(kept().await, 1);
        round(&app, &service, Some(&mut Places::new())).await.unwrap();
        assert_eq!(kept().await, 0);
    }

    #[tokio::test]
    async fn a_bug_that_one_tenant_meets_leaves_the_others_theirs() {
        let counting = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
        let faults = Arc::new(FaultStore::new(Arc::clone(&counting) as Arc<dyn Store>));
        let app = App::new(Line::parse_from(["scimgate"]).settings, Arc::new(System));
        let service = app.over(Arc::clone(&faults) as Arc<dyn Store>);
        for name in ["one", "other"] {
            make(&app, &service, name).await;
        }
        counting.take();
        round(&app, &service, None).await.unwrap();
        // One for the list of tenants, one for that of credentials, and as many for each tenant.
        let of_one = (counting.take().scans - 2) / 2;
        assert!(of_one > 0);
        faults.inject(Call::Scan, 3..=3, Fault::Panic);
        round(&app, &service, None).await.unwrap();
        assert!(counting.take().scans > of_one + 1, "only the lists were read");
    }
}
