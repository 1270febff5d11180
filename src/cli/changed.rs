//! `scimgate tenant changed`

use clap::Args;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Operator,
    history::{Since, since},
    show,
};
use crate::{
    directory::history::{BEHIND, Events, Scope},
    tenants::Tenant,
};

#[derive(Args)]
pub(super) struct Changed {
    /// From when on: a date (2026-11-01, UTC), a time (2026-11-01T10:00:00Z), or so long ago (90m, 24h, 30d)
    #[arg(long, value_parser = since, value_name = "WHEN")]
    since: Since,
    #[command(flatten)]
    output: show::Output,
}

/// What changed in one tenant.
struct Last {
    tenant: Tenant,
    changes: u64,
    time: OffsetDateTime,
}

pub(super) async fn run(operator: &Operator, command: &Changed) -> anyhow::Result<()> {
    let since = command.since.from(operator.ambient.now());
    let mut found = Vec::new();
    for tenant in operator.tenants.all(operator.deadline()).await? {
        show::progress(&tenant.name);
        found.extend(last(operator, tenant, since).await?);
    }
    show::progress("");
    found.sort_by_key(|last| std::cmp::Reverse(last.time));
    let array = found.iter().map(|last| {
        json!({
            "name": last.tenant.name,
            "contact": last.tenant.contact,
            "changes": last.changes,
            "lastChange": show::exact(last.time),
        })
    });
    let rows: Vec<_> = found
        .iter()
        .map(|last| {
            [
                last.tenant.name.clone(),
                show::minute(last.time),
                last.changes.to_string(),
                show::or_dash(Some(last.tenant.contact.clone())),
            ]
        })
        .collect();
    let text = if rows.is_empty() {
        format!("No tenant changed since {}.", show::minute(since))
    } else {
        show::table(["TENANT", "LAST CHANGE", "CHANGES", "CONTACT"], &rows)
    };
    command.output.print(&Value::Array(array.collect()), &text)
}

/// Nothing if nobody changed a user or group since.
async fn last(operator: &Operator, tenant: Tenant, since: OffsetDateTime) -> anyhow::Result<Option<Last>> {
    let scope = Scope {
        tenant: Some(tenant.id.clone()),
        since,
        until: operator.ambient.now() + BEHIND,
    };
    let mut events = Events::new(operator.store.clone(), operator.settings.deadline(), scope);
    let (mut changes, mut time) = (0, None);
    while let Some(event) = events.next().await? {
        let is_resource = matches!(&*event.body.resource_type, "User" | "Group");
        if is_resource && event.body.refused.is_none() {
            changes += 1;
            time = time.max(Some(event.time()));
        }
    }
    Ok(time.map(|time| Last { tenant, changes, time }))
}
